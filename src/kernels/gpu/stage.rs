//! A fused stage on a device, and what its tasks (`task`) share: the device, pipelines, buffers, and the CPU's end of the
//! stage.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::device::{Device, Lent};
use super::fit::{Fit, ROWS_MIN, halves};
use super::holder::Holder;
use super::kept::{GpuKept, Parts, StatePlace};
use super::line::Line;
use super::pack::Packer;
use super::pipelines::Pipelines;
use super::plan::{StagePlan, Work};
use super::reduce::{Added, Room};
use super::rows::Assembler;
use super::task::GpuTask;
use super::traffic::Traffic;
use super::trouble::{Faults, Record, Trouble};
use crate::columnar::RecordBatch;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cpu::project::Program;
use crate::kernels::cpu::stage::CpuStage;
use crate::kernels::{Kept, Moment, Notice, Partial, Partitions, PreparedStage, StageTask};

/// Rows of a batch on a device at most: with 256 a workgroup, as many workgroups as every device runs.
pub(super) const ROWS_MAX: usize = 1 << 22;

/// Batches of a stage on their way to a device, through it and back at a time; each task has one at least.
const ON_THEIR_WAY_MAX: usize = 3;

/// Lines that are kept for the next batch: those of so many tasks.
const LINES_KEPT_MAX: usize = 16 + ON_THEIR_WAY_MAX;

/// A stage whose shaders are written; they are made ready when they are first needed.
pub struct GpuStage {
    shared: Arc<Shared>,
}

/// What the tasks of a stage share.
pub(super) struct Shared {
    pub(super) holder: Arc<Holder>,
    pub(super) record: Arc<Record>,
    pub(super) faults: Faults,
    is_strict: bool,
    pub(super) plan: StagePlan,
    pub(super) packer: Packer,
    pub(super) assembler: Option<Assembler>,
    /// What each watermark sees.
    pub(super) times: Vec<Program>,
    /// Of the present device.
    pipelines: Mutex<Option<Arc<Pipelines>>>,
    /// Groups that some task had to make room for: the next one need not find out.
    groups: AtomicUsize,
    /// Rows of a batch that fit the device.
    pub(super) fit: Fit,
    /// Bits of a row of the latest batch as it travelled; 0 before there was one.
    sent_bits: AtomicU64,
    /// How the groups of the latest batch were added up.
    added: Mutex<Option<Added>>,
    /// Batches on their way.
    on_their_way: AtomicUsize,
    /// Lines that wait for the next batch: the first use of a new buffer is dear.
    lines: Mutex<Vec<Line>>,
    /// Buffers of groups that have been taken in where they are kept, for those of the next batch.
    slots: Mutex<Vec<Lent>>,
    /// Whether somebody keeps groups on the device, so that tasks leave theirs there.
    pub(super) keeps_groups: AtomicBool,
    pub(super) cpu: CpuStage,
}

impl fmt::Debug for GpuStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GpuStage").field("plan", &self.shared.plan).finish_non_exhaustive()
    }
}

impl GpuStage {
    pub(super) fn new(
        holder: Arc<Holder>,
        record: Arc<Record>,
        faults: Faults,
        is_strict: bool,
        plan: StagePlan,
        cpu: CpuStage,
    ) -> Result<Self> {
        let packer = Packer::new(&plan.columns)?;
        let assembler = match &plan.work {
            Work::Rows(rows) => Some(Assembler::new(rows, Arc::clone(cpu.end_schema()))?),
            Work::Groups(_) => None,
        };
        let times = plan.watermarks.iter().map(|watermark| Program::prepare(&watermark.time)).collect::<Result<_>>()?;
        let (pipelines, groups) = (Mutex::new(None), AtomicUsize::new(0));
        Ok(Self {
            shared: Arc::new(Shared {
                holder,
                record,
                faults,
                is_strict,
                plan,
                packer,
                assembler,
                times,
                pipelines,
                groups,
                fit: Fit::default(),
                sent_bits: AtomicU64::new(0),
                added: Mutex::default(),
                on_their_way: AtomicUsize::new(0),
                lines: Mutex::default(),
                slots: Mutex::default(),
                keeps_groups: AtomicBool::new(false),
                cpu,
            }),
        })
    }

    /// Starts the work on one partition; the task can be told what to run where.
    ///
    /// # Errors
    /// As [`PreparedStage::begin`].
    pub fn begin_task(&self, moment: &Moment) -> Result<Box<GpuTask>> {
        let shared = &self.shared;
        let wish = shared.holder.wish();
        let mut room = Room::new(wish.groups_first, wish.spread);
        room.learn(shared.groups.load(Ordering::Relaxed), shared.added());
        let cpu = shared.cpu.begin_task(moment)?;
        let left = shared.keeps_groups.load(Ordering::Relaxed).then(|| Parts::at(moment));
        Ok(Box::new(GpuTask::new(Arc::clone(shared), cpu, self.rows_max(), room, left)))
    }

    /// Whether there is a device at the moment: if it is lost, another one is being opened from now on.
    pub fn is_there(&self) -> bool {
        self.shared.holder.device(&self.shared.faults, false).is_ok()
    }

    /// Rows that run on the device in one submission, at most.
    pub fn rows_max(&self) -> usize {
        self.shared.holder.wish().rows_max.unwrap_or(ROWS_MAX).clamp(1, ROWS_MAX)
    }

    /// Why what the stage keeps from batch to batch does not lie on the device, in one sentence; none if it can.
    pub fn kept_refusal(&self) -> Option<String> {
        match self.shared.plan.kept() {
            Some(Ok(_)) => None,
            Some(Err(reason)) => Some(reason.clone()),
            None => Some("it keeps no groups".to_owned()),
        }
    }

    /// Whether only the first groups come back of those that are kept there.
    pub fn picks_first(&self) -> bool {
        matches!(self.shared.plan.kept(), Some(Ok(plan)) if matches!(plan.best, Some(Ok(_))))
    }

    /// What the CPU has kept so far; from now on it lies where the other says.
    ///
    /// # Errors
    /// `Internal` for a stage that keeps no groups.
    pub fn keep_placed(&self, cpu: Box<dyn Kept>, place: Box<dyn StatePlace>) -> Result<Box<dyn Kept>> {
        Ok(Box::new(GpuKept::led_by(&self.shared, cpu, Some(place))?))
    }

    /// The way beside the device, which also ends what the device has begun.
    pub fn beside(&self) -> &dyn PreparedStage {
        &self.shared.cpu
    }

    /// What moves for each row that runs on the device.
    pub fn traffic(&self) -> Traffic {
        Traffic::of(&self.shared.plan)
    }

    /// Bits of a row as those of the latest batch travelled; before there was one, as the first rows would that were looked
    /// at; none before that.
    pub fn sent_bits(&self) -> Option<u64> {
        Some(self.shared.sent_bits.load(Ordering::Relaxed)).filter(|&bits| bits > 0)
    }

    /// Looks how rows would travel, if nothing is known of that.
    pub fn look_at(&self, rows: &RecordBatch) {
        if self.sent_bits().is_none() && rows.num_rows() > 0 {
            self.shared.sent(self.shared.packer.bits_of(rows));
        }
    }
}

/// A batch that is counted as long as it is on its way.
pub(super) struct OnItsWay(Arc<Shared>);

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.on_their_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Counts trouble. An error where it is one.
    pub(super) fn fell_back(&self, trouble: &Trouble) -> Result<()> {
        self.record.fell_back(trouble);
        if self.is_strict {
            let message = format!("a batch did not run on the device: {trouble}");
            return Err(
                Error::new(ErrorKind::Unsupported, message).advice("leave out strict to run such batches on the CPU")
            );
        }
        // A lost device is opened anew at once, not with the next batch.
        self.is_opening();
        Ok(())
    }

    /// With a stopwatch one batch is to be measured at a time.
    fn on_their_way_max(&self) -> usize {
        if self.holder.stopwatch().is_some() { 1 } else { ON_THEIR_WAY_MAX }
    }

    /// Whether as many batches are on their way as may be.
    pub(super) fn is_full(&self) -> bool {
        self.on_their_way.load(Ordering::Relaxed) >= self.on_their_way_max()
    }

    /// A batch is to go to the device; none if so many are on their way that it had better wait for one of its own task's.
    pub(super) fn set_off(self: &Arc<Self>, has_others: bool) -> Option<OnItsWay> {
        let most = self.on_their_way_max();
        let before = self.on_their_way.fetch_add(1, Ordering::Relaxed);
        let way = OnItsWay(Arc::clone(self));
        let may_go = before < most || !has_others;
        if may_go {
            self.record.are_on_their_way(before + 1);
        }
        may_go.then_some(way)
    }

    /// A batch of so many rows does not fit the device, unless halves of it would be too few to be worth it: then it counts
    /// as trouble.
    pub(super) fn halve(&self, pieces: &[RecordBatch], trouble: &Trouble) -> Option<[Vec<RecordBatch>; 2]> {
        let halves = halves(pieces, self.holder.wish().rows_min.unwrap_or(ROWS_MIN))?;
        self.record.halved();
        self.fit.was_too_large(pieces.iter().map(RecordBatch::num_rows).sum());
        if matches!(trouble, Trouble::OutOfMemory(_)) {
            // What waits for later batches may be what is missing.
            self.lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        Some(halves)
    }

    /// Rows travel in so many bits.
    pub(super) fn sent(&self, bits: u64) {
        self.sent_bits.store(bits, Ordering::Relaxed);
    }

    /// What is known of the groups of a batch.
    pub(super) fn learn(&self, room: &Room) {
        self.groups.fetch_max(room.groups(), Ordering::Relaxed);
        *self.added.lock().unwrap_or_else(PoisonError::into_inner) = room.latest;
    }

    fn added(&self) -> Option<Added> {
        *self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line to this device, of an earlier batch if there is one.
    pub(super) fn line(&self, device: &Arc<Device>) -> Result<Line, Trouble> {
        let found = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.retain(|line| Arc::ptr_eq(line.device(), device));
            lines.pop()
        };
        found.map_or_else(|| Line::open(device, self.holder.stopwatch()), Ok)
    }

    pub(super) fn keep_line(&self, line: Line) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES_KEPT_MAX && line.is_sound() {
            lines.push(line);
        }
    }

    /// Keeps a buffer of groups that nobody needs any more.
    pub(super) fn keep_slots(&self, slots: Lent) {
        let mut kept = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|other| Arc::ptr_eq(other.device(), slots.device()));
        if kept.len() < LINES_KEPT_MAX {
            kept.push(slots);
        }
    }

    /// A buffer of groups on this device that nobody needs any more, if there is one.
    pub(super) fn slots(&self, device: &Arc<Device>) -> Option<wgpu::Buffer> {
        let mut kept = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|slots| Arc::ptr_eq(slots.device(), device));
        kept.pop().and_then(Lent::take)
    }

    /// Whether the device is lost and batches need not wait until another one is there.
    pub(super) fn is_opening(&self) -> bool {
        !self.is_strict && self.holder.is_opening(&self.faults)
    }

    /// The pipelines on the present device. Who is strict waits for one that is being opened.
    pub(super) fn pipelines(&self) -> Result<Arc<Pipelines>, Trouble> {
        let device = self.holder.device(&self.faults, self.is_strict)?;
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        match &*pipelines {
            Some(ready) if Arc::ptr_eq(ready.device(), &device) => Ok(Arc::clone(ready)),
            _ => Ok(Arc::clone(pipelines.insert(Arc::new(Pipelines::new(device))))),
        }
    }
}

/// With the last task and the stage, nobody needs what is still being opened for them.
impl Drop for Shared {
    fn drop(&mut self) {
        self.holder.settle();
    }
}

impl PreparedStage for GpuStage {
    fn begin(&self) -> Result<Box<dyn StageTask>> {
        self.begin_at(&Moment::default())
    }

    fn begin_at(&self, moment: &Moment) -> Result<Box<dyn StageTask>> {
        Ok(self.begin_task(moment)?)
    }

    fn keep(&self) -> Result<Box<dyn Kept>> {
        match GpuKept::new(&self.shared)? {
            Some(kept) => {
                self.shared.keeps_groups.store(true, Ordering::Relaxed);
                Ok(Box::new(kept))
            }
            None => self.shared.cpu.keep(),
        }
    }

    fn merge(&self, partials: Vec<Partial>) -> Result<Partitions> {
        self.shared.cpu.merge(partials)
    }

    fn combine(&self, partials: Vec<Partial>) -> Result<Vec<Partial>> {
        self.shared.cpu.combine(partials)
    }

    fn store(&self, partials: Vec<Partial>) -> Result<RecordBatch> {
        self.shared.cpu.store(partials)
    }

    fn restore(&self, batch: &RecordBatch) -> Result<Partial> {
        self.shared.cpu.restore(batch)
    }

    fn group_ids(&self) -> Option<String> {
        let beside = self.shared.cpu.group_ids();
        match self.shared.added() {
            Some(added) => {
                let cut = Some(self.shared.fit.rows()).filter(|&rows| rows < self.rows_max());
                let cut = cut.map(|rows| format!(", {rows} rows at a time, since more did not fit there"));
                let beside = beside.map(|text| format!("; {text}"));
                Some(format!("on the gpu {added}{}{}", cut.unwrap_or_default(), beside.unwrap_or_default()))
            }
            None => self.shared.plan.group_ids().or(beside),
        }
    }

    fn notice(&self) -> Notice {
        Notice { failures: self.shared.holder.failures(), ..self.shared.record.notice() }
    }
}
