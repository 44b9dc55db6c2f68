//! A fused stage on a device: batches are gathered until they are worth a submission, run, and handed to the CPU's end
//! of the stage. What the device cannot finish, the CPU runs again from the same rows.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array, ArrayRef};

use super::adapters::{AdapterInfo, Wish, open};
use super::device::Device;
use super::kept::{GpuKept, LEFT_BYTES_MAX, Left, Part, Parts, StatePlace};
use super::pack::{Gathered, Packer};
use super::pipelines::Pipelines;
use super::plan::{StagePlan, Work};
use super::reduce::{self, Added, Room, Scratch};
use super::reduction::{Reduction, rows_at};
use super::rows::{self, Assembler, Guess};
use super::stopwatch::Stopwatch;
use super::traffic::Traffic;
use super::trouble::{Fault, Faults, Record, Trouble};
use super::worker::{Role, Worker};
use crate::columnar::RecordBatch;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cpu::project::Program;
use crate::kernels::cpu::stage::{CpuStage, CpuTask};
use crate::kernels::{Flow, Kept, Moment, Notice, Partial, Partitions, PreparedStage, Sighting, StageTask};

/// Rows of a batch on a device at most: with 256 a workgroup, as many workgroups as every device runs.
pub(super) const ROWS_MAX: usize = 1 << 22;

/// Bytes that are gathered for a batch: many times what a submission costs, and small beside a device's memory.
pub const GATHERED_BYTES_MAX: usize = 64 << 20;

/// Tasks whose buffers are kept for the next batch.
const WORKERS_KEPT_MAX: usize = 16;

/// How often a lost device is replaced.
const REPLACEMENTS_MAX: u32 = 3;

/// The device of a backend: opened once, and again when it was lost.
#[derive(Debug)]
pub(super) struct Holder {
    wish: Wish,
    pub(super) adapter: AdapterInfo,
    current: Mutex<Arc<Device>>,
    replacements: AtomicU32,
    stopwatch: Option<Stopwatch>,
}

impl Holder {
    pub(super) fn open(wish: Wish, stopwatch: Option<Stopwatch>) -> Result<Self> {
        let (adapter, device) = open(&wish)?;
        let current = Mutex::new(Arc::new(device));
        Ok(Self { wish, adapter, current, replacements: AtomicU32::new(0), stopwatch })
    }

    pub(super) fn stopwatch(&self) -> Option<Stopwatch> {
        self.stopwatch.clone()
    }

    pub(super) fn wish(&self) -> &Wish {
        &self.wish
    }

    /// The device, or the one that replaces it.
    pub(super) fn device(&self) -> Arc<Device> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_lost() && self.replacements.fetch_add(1, Ordering::Relaxed) < REPLACEMENTS_MAX {
            // What was compiled before could be why it was lost.
            let wish = Wish { adapter: Some(self.adapter.name.clone()), pipelines: None, ..self.wish.clone() };
            if let Ok((_, device)) = open(&wish) {
                *current = Arc::new(device);
            }
        }
        Arc::clone(&current)
    }
}

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
    packer: Packer,
    assembler: Option<Assembler>,
    /// What each watermark sees.
    times: Vec<Program>,
    /// Of the present device.
    pipelines: Mutex<Option<Arc<Pipelines>>>,
    /// Groups that some task had to make room for: the next one need not find out.
    groups: AtomicUsize,
    /// How the groups of the latest batch were added up.
    added: Mutex<Option<Added>>,
    /// Buffers that wait for the next batch: the first use of a new one is dear.
    workers: Mutex<Vec<Worker>>,
    /// Buffers of groups that have been taken in where they are kept, for those of the next batch.
    slots: Mutex<Vec<(Arc<Device>, wgpu::Buffer)>>,
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
                added: Mutex::default(),
                workers: Mutex::default(),
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
        let shared = Arc::clone(&self.shared);
        let wish = shared.holder.wish();
        let mut room = Room::new(wish.groups_first, wish.spread);
        room.learn(shared.groups.load(Ordering::Relaxed), shared.added());
        let cpu = shared.cpu.begin_task(moment)?;
        let (rows_max, pieces) = (self.rows_max(), Vec::new());
        let guess = Guess::default();
        let left = shared.keeps_groups.load(Ordering::Relaxed).then(|| Parts::at(moment));
        Ok(Box::new(GpuTask {
            shared,
            cpu,
            worker: None,
            pieces,
            rows: 0,
            bytes: 0,
            rows_max,
            room,
            guess,
            left,
            left_bytes: 0,
            cpu_has_rows: false,
        }))
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
        Ok(())
    }

    fn added(&self) -> Option<Added> {
        *self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Buffers on this device, of an earlier task if there are some.
    fn worker(&self, device: &Arc<Device>) -> Worker {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.retain(|worker| Arc::ptr_eq(&worker.device, device));
        workers.pop().unwrap_or_else(|| Worker::new(Arc::clone(device), self.holder.stopwatch.clone()))
    }

    fn keep_worker(&self, worker: Worker) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if workers.len() < WORKERS_KEPT_MAX && !worker.device.is_lost() {
            workers.push(worker);
        }
    }

    /// Keeps a buffer of groups that nobody needs any more.
    pub(super) fn keep_slots(&self, device: Arc<Device>, slots: wgpu::Buffer) {
        let mut kept = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, _)| Arc::ptr_eq(of, &device));
        if kept.len() < WORKERS_KEPT_MAX {
            kept.push((device, slots));
        }
    }

    /// A buffer of groups on this device that nobody needs any more, if there is one.
    fn slots(&self, device: &Arc<Device>) -> Option<wgpu::Buffer> {
        let mut kept = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, _)| Arc::ptr_eq(of, device));
        kept.pop().map(|(_, slots)| slots)
    }

    /// The pipelines on the present device.
    pub(super) fn pipelines(&self) -> Arc<Pipelines> {
        let device = self.holder.device();
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        match &*pipelines {
            Some(ready) if Arc::ptr_eq(ready.device(), &device) => Arc::clone(ready),
            _ => Arc::clone(pipelines.insert(Arc::new(Pipelines::new(device)))),
        }
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
                Some(format!("on the gpu {added}{}", beside.map(|text| format!("; {text}")).unwrap_or_default()))
            }
            None => beside,
        }
    }

    fn notice(&self) -> Notice {
        self.shared.record.notice()
    }
}

/// The work on one partition.
pub struct GpuTask {
    shared: Arc<Shared>,
    /// The end of the stage, and the way round the device.
    cpu: Box<CpuTask>,
    worker: Option<Worker>,
    pieces: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    rows_max: usize,
    room: Room,
    guess: Guess,
    /// Where groups stay on the device: what has been done so far, but for what the CPU holds.
    left: Option<Parts>,
    /// Bytes of rows and groups that were left there.
    left_bytes: u64,
    /// Whether the CPU has done something since.
    cpu_has_rows: bool,
}

impl fmt::Debug for GpuTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GpuTask").field("rows", &self.rows).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// What a device gave.
enum Given {
    Rows(rows::Made),
    Groups(Reduction, usize),
    Left(Scratch, Arc<Device>),
}

impl StageTask for GpuTask {
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let len = (self.rows_max - self.rows).min(batch.num_rows() - from);
            let piece = batch.slice(from, len);
            from += len;
            self.rows += len;
            self.bytes += gathered_bytes(&piece);
            self.pieces.push(piece);
            if self.rows == self.rows_max || self.bytes >= GATHERED_BYTES_MAX {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        self.flush()
    }

    fn sighting(&self) -> Sighting {
        self.cpu.sighting()
    }

    /// Rows that wait are not accounted for.
    fn flow(&self) -> Option<Flow> {
        if self.rows == 0 { self.cpu.flow() } else { None }
    }

    fn finish(mut self: Box<Self>) -> Result<Partial> {
        self.flush()?;
        if let Some(worker) = self.worker.take() {
            self.shared.keep_worker(worker);
        }
        if self.left.is_some() {
            self.set_aside()?;
        }
        match self.left {
            Some(left) => Ok(Partial::Groups(Box::new(left))),
            None => self.cpu.finish(),
        }
    }
}

/// Bytes of the values of a piece, texts too, without what lies beside it in the buffers that it was cut from.
pub fn gathered_bytes(piece: &RecordBatch) -> usize {
    // A layout whose size nobody tells is held as a whole.
    let bytes = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(column.get_array_memory_size());
    piece.columns().iter().map(bytes).sum()
}

impl GpuTask {
    /// Runs rows on the CPU, after those that have been gathered.
    ///
    /// # Errors
    /// As [`StageTask::push`].
    pub fn push_beside(&mut self, batch: &RecordBatch) -> Result<()> {
        self.flush()?;
        self.push_on_cpu(batch)
    }

    fn push_on_cpu(&mut self, batch: &RecordBatch) -> Result<()> {
        self.cpu_has_rows = true;
        self.cpu.push(batch)
    }

    /// Puts what the CPU holds behind what was done before.
    fn set_aside(&mut self) -> Result<()> {
        if let (Some(left), true) = (&mut self.left, self.cpu_has_rows) {
            left.parts.push(Part::Here(self.cpu.take_groups()?));
            self.cpu_has_rows = false;
        }
        Ok(())
    }

    /// Runs on the device what has been gathered.
    ///
    /// # Errors
    /// As [`StageTask::push`].
    pub fn flush(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let pieces = std::mem::take(&mut self.pieces);
        let bytes = std::mem::take(&mut self.bytes) as u64;
        self.rows = 0;
        let trouble = match self.on_device(&pieces, bytes) {
            Ok(given) => {
                self.shared.record.done();
                self.worker.iter().for_each(|worker| worker.device.keep_pipelines());
                return self.hand_over(given, pieces, bytes);
            }
            Err(trouble) => trouble,
        };
        if matches!(trouble, Trouble::Lost(_) | Trouble::Late(_)) {
            // Nothing that it still says can be trusted.
            if let Some(worker) = self.worker.take() {
                worker.device.give_up();
            }
        }
        if trouble != Trouble::Value {
            self.shared.fell_back(&trouble)?;
        }
        pieces.iter().try_for_each(|piece| self.push_on_cpu(piece))
    }

    /// Whether the groups of so many bytes more may stay on the device.
    fn leaves(&self, bytes: u64) -> bool {
        let most = self.shared.holder.wish().left_bytes.unwrap_or(LEFT_BYTES_MAX);
        self.left.is_some() && self.left_bytes + bytes <= most
    }

    fn on_device(&mut self, pieces: &[RecordBatch], bytes: u64) -> Result<Given, Trouble> {
        let leaves = self.leaves(bytes);
        let pipelines = self.shared.pipelines();
        let device = pipelines.device();
        if device.is_lost() {
            return Err(Trouble::Lost("and no other could be opened".to_owned()));
        }
        let worker = match &mut self.worker {
            Some(worker) if Arc::ptr_eq(&worker.device, device) => worker,
            worker => worker.insert(self.shared.worker(device)),
        };
        if let (true, Some(slots)) = (leaves && worker.size(Role::State) == 0, self.shared.slots(device)) {
            worker.put(Role::State, slots);
        }
        worker.fault = self.shared.faults.next();
        if worker.fault == Some(Fault::Confuse) {
            device.pipeline("confused", "this is no shader", &[])?;
        }
        // What the host cannot compute, the CPU cannot either: it makes the error.
        let gathered: Gathered = self.shared.packer.gather(pieces).map_err(|_| Trouble::Value)?;
        match &self.shared.plan.work {
            Work::Rows(plan) => rows::run(plan, worker, &pipelines, &gathered, &mut self.guess).map(Given::Rows),
            Work::Groups(plan) => {
                let (stage, room) = (&self.shared.plan, &mut self.room);
                let given = match &plan.kept {
                    Some(Ok(kept)) if leaves => {
                        let pipelines = (&*pipelines, &kept.firsts);
                        let scratch = reduce::leave(stage, plan, worker, pipelines, &gathered, room)?;
                        Given::Left(scratch, Arc::clone(device))
                    }
                    _ => {
                        let reduction = reduce::run(stage, plan, worker, &pipelines, &gathered, room)?;
                        Given::Groups(reduction, device.tier.slot_bits())
                    }
                };
                self.shared.groups.fetch_max(self.room.groups(), Ordering::Relaxed);
                *self.shared.added.lock().unwrap_or_else(PoisonError::into_inner) = self.room.latest;
                Ok(given)
            }
        }
    }

    fn hand_over(&mut self, given: Given, pieces: Vec<RecordBatch>, bytes: u64) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        match (given, &shared.plan.work, &shared.assembler) {
            (Given::Rows(made), _, Some(assembler)) => {
                let batches = assembler.rows(&made, &pieces);
                let Ok(batches) = batches else {
                    // A text that cannot be made: nothing has been handed over yet.
                    return pieces.iter().try_for_each(|piece| self.cpu.push(piece));
                };
                self.note(&pieces, batches.iter().map(RecordBatch::num_rows).sum())?;
                batches.into_iter().try_for_each(|batch| self.cpu.push_done(batch))
            }
            (Given::Groups(reduction, slot_bits), Work::Groups(plan), _) => {
                self.note(&pieces, reduction.rows())?;
                self.cpu_has_rows = true;
                reduction.hand_over(&mut self.cpu, plan, &pieces, slot_bits)
            }
            (Given::Left(scratch, device), ..) => {
                self.note(&pieces, scratch.rows)?;
                self.set_aside()?;
                self.left_bytes += bytes + scratch.slots.size();
                let keys = match scratch.groups.is_empty() {
                    true => Vec::new(),
                    false => self.cpu.keys_of(rows_at(&pieces, &scratch.first_rows)?, scratch.rows)?,
                };
                let Scratch { slots, stride, floats, groups, .. } = scratch;
                if let (Some(left), false) = (&mut self.left, groups.is_empty()) {
                    left.parts.push(Part::Left(Left { device, slots, stride, floats, groups, keys, pieces }));
                }
                Ok(())
            }
            _ => Err(Error::internal("a device gave something else than its plan says")),
        }
    }

    /// Notes what is to be told of rows that the device has done, of which so many stayed.
    fn note(&mut self, pieces: &[RecordBatch], stayed: usize) -> Result<()> {
        self.cpu.note_done(pieces.iter().map(RecordBatch::num_rows).sum(), stayed);
        for (watermark, time) in self.shared.plan.watermarks.iter().zip(&self.shared.times) {
            for piece in pieces {
                self.cpu.note_times(&time.evaluate(piece)?, watermark.unit, watermark.id)?;
            }
        }
        Ok(())
    }
}
