//! A fused stage on a device: batches are gathered until they are worth a submission, run, and handed to the CPU's end
//! of the stage. What the device cannot finish, the CPU runs again from the same rows.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::adapters::{AdapterInfo, Wish, open};
use super::device::Device;
use super::pack::{Gathered, Packer};
use super::pipelines::Pipelines;
use super::plan::{StagePlan, Work};
use super::reduce::{self, Room};
use super::rows::{self, Assembler, Guess};
use super::trouble::{Fault, Faults, Record, Trouble};
use super::worker::Worker;
use crate::columnar::RecordBatch;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cpu::stage::{CpuStage, CpuTask};
use crate::kernels::{Moment, Notice, Partial, Partitions, PreparedStage, StageTask};

/// Rows of a batch on a device at most: with 256 a workgroup, as many workgroups as every device runs.
pub(super) const ROWS_MAX: usize = 1 << 22;

/// Bytes that are gathered for a batch: many times what a submission costs, and small beside a device's memory.
const BYTES_MAX: usize = 64 << 20;

/// How often a lost device is replaced.
const REPLACEMENTS_MAX: u32 = 3;

/// The device of a backend: opened once, and again when it was lost.
#[derive(Debug)]
pub(super) struct Holder {
    wish: Wish,
    pub(super) adapter: AdapterInfo,
    current: Mutex<Arc<Device>>,
    replacements: AtomicU32,
}

impl Holder {
    pub(super) fn open(wish: Wish) -> Result<Self> {
        let (adapter, device) = open(&wish)?;
        let current = Mutex::new(Arc::new(device));
        Ok(Self { wish, adapter, current, replacements: AtomicU32::new(0) })
    }

    pub(super) fn wish(&self) -> &Wish {
        &self.wish
    }

    /// The device, or the one that replaces it.
    pub(super) fn device(&self) -> Arc<Device> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_lost() && self.replacements.fetch_add(1, Ordering::Relaxed) < REPLACEMENTS_MAX {
            let wish = Wish { adapter: Some(self.adapter.name.clone()), ..self.wish.clone() };
            if let Ok((_, device)) = open(&wish) {
                *current = Arc::new(device);
            }
        }
        Arc::clone(&current)
    }
}

/// A stage whose shaders are written; they are made ready when they are first needed.
pub(super) struct GpuStage {
    shared: Arc<Shared>,
}

/// What the tasks of a stage share.
struct Shared {
    holder: Arc<Holder>,
    record: Arc<Record>,
    faults: Faults,
    is_strict: bool,
    plan: StagePlan,
    packer: Packer,
    assembler: Option<Assembler>,
    /// Of the present device.
    pipelines: Mutex<Option<Arc<Pipelines>>>,
    /// Groups that some task had to make room for: the next one need not find out.
    groups: AtomicUsize,
    cpu: CpuStage,
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
                pipelines,
                groups,
                cpu,
            }),
        })
    }
}

impl Shared {
    /// The pipelines on the present device.
    fn pipelines(&self) -> Arc<Pipelines> {
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
        let shared = Arc::clone(&self.shared);
        let mut room = Room::new(shared.holder.wish().groups_first);
        room.learn(shared.groups.load(Ordering::Relaxed));
        let cpu = shared.cpu.begin_task(&Moment::default())?;
        let (rows_max, pieces) = (shared.holder.wish().rows_max.unwrap_or(ROWS_MAX).clamp(1, ROWS_MAX), Vec::new());
        let guess = Guess::default();
        Ok(Box::new(GpuTask { shared, cpu, worker: None, pieces, rows: 0, bytes: 0, rows_max, room, guess }))
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

    fn notice(&self) -> Notice {
        self.shared.record.notice()
    }
}

/// The work on one partition.
struct GpuTask {
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
}

/// What a device gave.
enum Given {
    Rows(rows::Made),
    Groups(reduce::Reduction, usize),
}

impl StageTask for GpuTask {
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let len = (self.rows_max - self.rows).min(batch.num_rows() - from);
            let piece = batch.slice(from, len);
            from += len;
            self.rows += len;
            self.bytes += piece.get_array_memory_size().min(len * BYTES_PER_ROW_MAX * piece.num_columns().max(1));
            self.pieces.push(piece);
            if self.rows == self.rows_max || self.bytes >= BYTES_MAX {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Partial> {
        self.flush()?;
        self.cpu.finish()
    }
}

/// A slice counts the memory of all that it was cut from: no column of fixed width has more bytes a row.
const BYTES_PER_ROW_MAX: usize = 32;

impl GpuTask {
    /// Runs what has been gathered.
    fn flush(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let pieces = std::mem::take(&mut self.pieces);
        (self.rows, self.bytes) = (0, 0);
        let trouble = match self.on_device(&pieces) {
            Ok(given) => {
                self.shared.record.done();
                return self.hand_over(&given, &pieces);
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
            self.shared.record.fell_back(&trouble);
            if self.shared.is_strict {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("a batch did not run on the device: {trouble}"),
                )
                .advice("leave out strict to run such batches on the CPU"));
            }
        }
        pieces.iter().try_for_each(|piece| self.cpu.push(piece))
    }

    fn on_device(&mut self, pieces: &[RecordBatch]) -> Result<Given, Trouble> {
        let pipelines = self.shared.pipelines();
        let device = pipelines.device();
        if device.is_lost() {
            return Err(Trouble::Lost("and no other could be opened".to_owned()));
        }
        let worker = match &mut self.worker {
            Some(worker) if Arc::ptr_eq(&worker.device, device) => worker,
            worker => worker.insert(Worker::new(Arc::clone(device))),
        };
        worker.fault = self.shared.faults.next();
        if worker.fault == Some(Fault::Confuse) {
            device.pipeline("confused", "this is no shader", &[])?;
        }
        // What the host cannot compute, the CPU cannot either: it makes the error.
        let gathered: Gathered = self.shared.packer.gather(pieces).map_err(|_| Trouble::Value)?;
        match &self.shared.plan.work {
            Work::Rows(plan) => rows::run(plan, worker, &pipelines, &gathered, &mut self.guess).map(Given::Rows),
            Work::Groups(plan) => {
                let plan = (&self.shared.plan, plan);
                let reduction = reduce::run(plan.0, plan.1, worker, &pipelines, &gathered, &mut self.room)?;
                self.shared.groups.fetch_max(self.room.groups(), Ordering::Relaxed);
                Ok(Given::Groups(reduction, device.tier.slot_bits()))
            }
        }
    }

    fn hand_over(&mut self, given: &Given, pieces: &[RecordBatch]) -> Result<()> {
        match (given, &self.shared.plan.work, &self.shared.assembler) {
            (Given::Rows(made), _, Some(assembler)) => {
                let batches = assembler.rows(made, pieces);
                let Ok(batches) = batches else {
                    // A text that cannot be made: nothing has been handed over yet.
                    return pieces.iter().try_for_each(|piece| self.cpu.push(piece));
                };
                batches.into_iter().try_for_each(|batch| self.cpu.push_done(batch))
            }
            (Given::Groups(reduction, slot_bits), Work::Groups(plan), _) => {
                reduce::absorb(&mut self.cpu, reduction, plan, pieces, *slot_bits)
            }
            _ => Err(Error::internal("a device gave something else than its plan says")),
        }
    }
}
