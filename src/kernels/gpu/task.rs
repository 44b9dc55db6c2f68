//! The work of a stage on one partition: batches are gathered until they are worth a submission, and handed to the CPU's end
//! of the stage when they come back. What the device cannot finish, the CPU runs again from the same rows.
//!
//! ```text
//! push ▶ gather ▶ pack and submit ▶ ┄ on their way, up to three ┄ ▶ land ▶ the CPU's end, in order
//! ```
//!
//! While one batch comes up, the device works on the one before, and the host makes rows of the one before that. Each has
//! buffers of its own, and lands when there are too many, or when somebody has to know what the task has done.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef};

use super::device::Device;
use super::kept::{LEFT_BYTES_MAX, Left, Part, Parts};
use super::line::{Line, UnderWay};
use super::pack::Gathered;
use super::pipelines::Pipelines;
use super::plan::Work;
use super::reduce::{Room, Run, Scratch};
use super::reduction::{Reduction, rows_at};
use super::rows::{self, Guess};
use super::stage::{OnItsWay, Shared};
use super::trouble::Trouble;
use super::worker::{Role, Worker};
use crate::columnar::RecordBatch;
use crate::error::{Error, Result};
use crate::kernels::cpu::stage::CpuTask;
use crate::kernels::{Flow, Partial, Sighting, StageTask};

/// Bytes that are gathered for a batch: many times what a submission costs, and small beside a device's memory.
pub const GATHERED_BYTES_MAX: usize = 64 << 20;

/// The work on one partition.
pub struct GpuTask {
    shared: Arc<Shared>,
    /// The end of the stage, and the way round the device.
    cpu: Box<CpuTask>,
    pieces: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    rows_max: usize,
    room: Room,
    guess: Guess,
    /// Batches on their way, in order.
    flights: VecDeque<Flight>,
    /// Where groups stay on the device: what has been done so far, but for what the CPU holds.
    left: Option<Parts>,
    /// Bytes of rows and groups that were left there.
    left_bytes: u64,
    /// Whether the CPU has done something since.
    cpu_has_rows: bool,
    /// What rows that come now are a part of.
    span: u64,
    /// Rows of each span that the CPU did in the device's stead, until somebody asks.
    fallen_back: BTreeMap<u64, u64>,
    /// Batches that a device could not finish.
    troubles: u64,
}

/// Rows that were submitted.
struct Submitted {
    /// Before the line, so that its thread does not wait for help of somebody who lets go of it.
    under_way: UnderWay<Done>,
    line: Line,
    rows: usize,
}

/// What comes of rows, and what was found out on the way.
type Done = (Result<Given, Trouble>, Room, Guess);

/// Rows that were not, and the device that is in trouble.
struct Failed {
    trouble: Trouble,
    device: Option<Arc<Device>>,
}

/// Rows that go to a device together.
struct Load {
    pieces: Vec<RecordBatch>,
    bytes: u64,
    /// What they are a part of, for who tells spans of rows apart.
    span: u64,
}

/// A batch on its way.
struct Flight {
    submitted: Submitted,
    load: Load,
    way: OnItsWay,
}

/// What a device gave.
enum Given {
    Rows(rows::Made),
    Groups(Reduction, usize),
    Left(Scratch),
}

impl fmt::Debug for GpuTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GpuTask").field("rows", &self.rows).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl StageTask for GpuTask {
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let most = self.shared.fit.rows().clamp(1, self.rows_max);
            if self.rows >= most {
                // Others have found out meanwhile that fewer fit.
                self.set_off()?;
            }
            let len = (most - self.rows).min(batch.num_rows() - from);
            let piece = batch.slice(from, len);
            from += len;
            self.rows += len;
            self.bytes += gathered_bytes(&piece);
            self.pieces.push(piece);
            if self.rows == most || self.bytes >= GATHERED_BYTES_MAX {
                self.set_off()?;
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

    /// Rows that wait, or are on their way, are not accounted for.
    fn flow(&self) -> Option<Flow> {
        if self.rows == 0 && self.flights.is_empty() { self.cpu.flow() } else { None }
    }

    fn finish(mut self: Box<Self>) -> Result<Partial> {
        self.flush()?;
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
    pub(super) fn new(
        shared: Arc<Shared>,
        cpu: Box<CpuTask>,
        rows_max: usize,
        room: Room,
        left: Option<Parts>,
    ) -> Self {
        Self {
            shared,
            cpu,
            pieces: Vec::new(),
            rows: 0,
            bytes: 0,
            rows_max,
            room,
            guess: Guess::default(),
            flights: VecDeque::new(),
            left,
            left_bytes: 0,
            cpu_has_rows: false,
            span: 0,
            fallen_back: BTreeMap::new(),
            troubles: 0,
        }
    }

    /// Rows of a span that the device was to do and the CPU did in its stead, since somebody last asked.
    pub fn take_fallen_back(&mut self, span: u64) -> u64 {
        self.fallen_back.remove(&span).unwrap_or_default()
    }

    /// Sends rows to the device and waits for none of them. They are a span; the numbers of spans only grow.
    ///
    /// # Errors
    /// As [`StageTask::push`].
    pub fn send_span(&mut self, span: u64, pieces: &[RecordBatch]) -> Result<()> {
        self.set_off()?;
        self.span = span;
        pieces.iter().try_for_each(|piece| self.push(piece))?;
        self.set_off()
    }

    /// Waits until all rows of spans up to this one are done.
    ///
    /// # Errors
    /// As [`StageTask::push`].
    pub fn land_span(&mut self, span: u64) -> Result<()> {
        while self.flights.front().is_some_and(|flight| flight.load.span <= span) {
            self.land()?;
        }
        Ok(())
    }

    /// Whether rows that are sent now have to wait for others of this task.
    pub fn is_full(&self) -> bool {
        !self.flights.is_empty() && (self.waits_for_first() || self.shared.is_full())
    }

    /// Whether a batch of groups is on its way that finds out what others need not.
    fn waits_for_first(&self) -> bool {
        let is_grouped = matches!(self.shared.plan.work, Work::Groups(_));
        is_grouped && !self.flights.is_empty() && !self.room.is_known()
    }

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
            left.parts.push(Part::Here(Box::new(self.cpu.take_groups()?)));
            self.cpu_has_rows = false;
        }
        Ok(())
    }

    /// Runs on the device what has been gathered, and waits for all that is on its way.
    ///
    /// # Errors
    /// As [`StageTask::push`].
    pub fn flush(&mut self) -> Result<()> {
        self.set_off()?;
        self.land_all()
    }

    /// Sends off what has been gathered.
    fn set_off(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let pieces = std::mem::take(&mut self.pieces);
        let bytes = std::mem::take(&mut self.bytes) as u64;
        self.rows = 0;
        self.send_off(Load { pieces, bytes, span: self.span })
    }

    /// Sends rows off behind those that are on their way; in trouble the CPU runs them, after these.
    fn send_off(&mut self, load: Load) -> Result<()> {
        while self.waits_for_first() {
            self.land()?;
        }
        let way = loop {
            match self.shared.set_off(!self.flights.is_empty()) {
                Some(way) => break way,
                None => self.land()?,
            }
        };
        let mut submitted = self.submit(&load);
        if let (Err(Failed { device: Some(device), .. }), false) = (&submitted, self.flights.is_empty()) {
            let before = self.troubles;
            self.land_all()?;
            // The trouble may have been that of a batch before.
            if device.is_lost() && self.troubles > before {
                submitted = self.submit(&load);
            }
        }
        match submitted {
            Ok(submitted) => {
                self.flights.push_back(Flight { submitted, load, way });
                Ok(())
            }
            Err(Failed { trouble, device }) => {
                drop(way);
                self.land_all()?;
                self.run_otherwise(&trouble, device.as_deref(), load)
            }
        }
    }

    /// Packs rows and submits them.
    fn submit(&mut self, load: &Load) -> Result<Submitted, Failed> {
        let pipelines = self.shared.pipelines().map_err(|trouble| Failed { trouble, device: None })?;
        let device = Arc::clone(pipelines.device());
        self.begin(pipelines, load).map_err(|trouble| Failed { trouble, device: Some(device) })
    }

    fn begin(&mut self, pipelines: Arc<Pipelines>, load: &Load) -> Result<Submitted, Trouble> {
        let shared = Arc::clone(&self.shared);
        let leaves = self.leaves(load.bytes);
        let fault = shared.faults.next();
        pipelines.device().trip(fault)?;
        // What the host cannot compute, the CPU cannot either: it makes the error.
        let gathered = Arc::new(shared.packer.gather(&load.pieces).map_err(|_| Trouble::Value)?);
        shared.sent(gathered.bits());
        let (rows, is_much) = (gathered.rows, gathered.is_much());
        let mut line = shared.line(pipelines.device())?;
        let (mut room, mut guess) = (self.room, self.guess);
        let mut under_way = line.begin(fault, move |worker| {
            if let (true, Some(slots)) = (leaves && worker.size(Role::State) == 0, shared.slots(&worker.device)) {
                worker.put(Role::State, slots);
            }
            let given = given(&shared, &pipelines, worker, (&gathered, leaves), (&mut room, &mut guess));
            if given.is_ok() {
                worker.device.keep_pipelines();
            }
            Ok((given, room, guess))
        })?;
        if is_much {
            line.help(&mut under_way);
        }
        Ok(Submitted { under_way, line, rows })
    }

    /// Whether the groups of so many bytes more may stay on the device.
    fn leaves(&self, bytes: u64) -> bool {
        let most = self.shared.holder.wish().left_bytes.unwrap_or(LEFT_BYTES_MAX);
        let on_their_way = self.flights.iter().map(|flight| flight.load.bytes).sum::<u64>();
        let is_planned = matches!(&self.shared.plan.work, Work::Groups(plan) if matches!(plan.kept, Some(Ok(_))));
        is_planned && self.left.is_some() && self.left_bytes + on_their_way + bytes <= most
    }

    fn land_all(&mut self) -> Result<()> {
        while !self.flights.is_empty() {
            self.land()?;
        }
        Ok(())
    }

    /// Waits for the first batch that is on its way, and hands it over.
    fn land(&mut self) -> Result<()> {
        let Some(flight) = self.flights.pop_front() else { return Ok(()) };
        let Flight { submitted, load, way } = flight;
        let Submitted { under_way, mut line, rows } = submitted;
        let given = line.wait(under_way).and_then(|done| self.learn(done));
        drop(way);
        match given {
            Ok(given) => {
                self.shared.record.done();
                self.shared.fit.fitted(rows);
                self.shared.keep_line(line);
                self.hand_over(given, load)
            }
            Err(trouble) => {
                let device = Arc::clone(line.device());
                let is_gone = matches!(trouble, Trouble::Lost(_) | Trouble::Late(_));
                if !is_gone && !matches!(trouble, Trouble::OutOfMemory(_)) {
                    self.shared.keep_line(line);
                }
                let mut behind = std::mem::take(&mut self.flights);
                self.run_otherwise(&trouble, Some(&device), load)?;
                if !is_gone {
                    // Halves come before them.
                    self.flights.append(&mut behind);
                }
                // Those behind it are gone, too: they set off anew, and the CPU runs them as long as there is no other device.
                let behind = behind.into_iter().map(|flight| flight.load).collect::<Vec<_>>();
                behind.into_iter().try_for_each(|load| self.send_off(load))
            }
        }
    }

    fn learn(&mut self, (given, room, guess): Done) -> Result<Given, Trouble> {
        self.guess = guess;
        self.room.take_over(room);
        if matches!(given, Ok(Given::Groups(..) | Given::Left(_))) {
            self.shared.learn(&self.room);
        }
        given
    }

    /// Rows that a device could not run: the halves of what does not fit it go there one after the other, all else to the CPU.
    fn run_otherwise(&mut self, trouble: &Trouble, device: Option<&Device>, load: Load) -> Result<()> {
        self.troubles += 1;
        let halves = if trouble.is_of_size() { self.shared.halve(&load.pieces, trouble) } else { None };
        let Some(halves) = halves else { return self.fall_back(trouble, device, &load) };
        halves.into_iter().try_for_each(|pieces| {
            let bytes = pieces.iter().map(gathered_bytes).sum::<usize>() as u64;
            self.send_off(Load { pieces, bytes, span: load.span })
        })
    }

    /// Has the CPU run what a device could not.
    fn fall_back(&mut self, trouble: &Trouble, device: Option<&Device>, load: &Load) -> Result<()> {
        if let (Trouble::Lost(_) | Trouble::Late(_), Some(device)) = (trouble, device) {
            // Nothing that it still says can be trusted.
            device.give_up();
        }
        if *trouble != Trouble::Value {
            self.shared.fell_back(trouble)?;
        }
        self.push_instead(load.span, &load.pieces)
    }

    /// Has the CPU run what the device was to do.
    fn push_instead(&mut self, span: u64, pieces: &[RecordBatch]) -> Result<()> {
        *self.fallen_back.entry(span).or_default() += pieces.iter().map(|piece| piece.num_rows() as u64).sum::<u64>();
        pieces.iter().try_for_each(|piece| self.push_on_cpu(piece))
    }

    fn hand_over(&mut self, given: Given, load: Load) -> Result<()> {
        let Load { pieces, bytes, span } = load;
        let shared = Arc::clone(&self.shared);
        match (given, &shared.plan.work, &shared.assembler) {
            (Given::Rows(made), _, Some(assembler)) => {
                let batches = assembler.rows(&made, &pieces);
                let Ok(batches) = batches else {
                    // A text that cannot be made: nothing has been handed over yet.
                    return self.push_instead(span, &pieces);
                };
                self.note(&pieces, batches.iter().map(RecordBatch::num_rows).sum())?;
                batches.into_iter().try_for_each(|batch| self.cpu.push_done(batch))
            }
            (Given::Groups(reduction, slot_bits), Work::Groups(plan), _) => {
                self.note(&pieces, reduction.rows())?;
                self.cpu_has_rows = true;
                reduction.hand_over(&mut self.cpu, plan, &pieces, slot_bits)
            }
            (Given::Left(scratch), ..) => {
                self.note(&pieces, scratch.rows)?;
                self.set_aside()?;
                self.left_bytes += bytes + scratch.slots.size();
                let keys = match scratch.groups.is_empty() {
                    true => Vec::new(),
                    false => self.cpu.keys_of(rows_at(&pieces, &scratch.first_rows)?, scratch.rows)?,
                };
                let Scratch { slots, stride, floats, groups, .. } = scratch;
                if let (Some(left), false) = (&mut self.left, groups.is_empty()) {
                    left.parts.push(Part::Left(Left { slots, stride, floats, groups, keys, pieces }));
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

/// Has a device run a batch, whose groups may stay there, and waits for what it gives.
fn given(
    shared: &Shared,
    pipelines: &Pipelines,
    worker: &mut Worker,
    (gathered, leaves): (&Arc<Gathered>, bool),
    (room, guess): (&mut Room, &mut Guess),
) -> Result<Given, Trouble> {
    if let Work::Rows(plan) = &shared.plan.work {
        let begun = rows::begin(plan, worker, pipelines, gathered, guess)?;
        return rows::end(&begun, plan, worker, gathered, guess).map(Given::Rows);
    }
    let (run, slot_bits) = (run(shared, pipelines, leaves)?, worker.device.tier.slot_bits());
    let begun = run.begin(worker, gathered, room)?;
    if leaves {
        return run.leave(begun, worker, gathered, room).map(Given::Left);
    }
    Ok(Given::Groups(run.reduction(begun, worker, gathered, room)?, slot_bits))
}

/// What runs the groups of a batch, which stay on the device or come back.
fn run<'a>(shared: &'a Shared, pipelines: &'a Pipelines, leaves: bool) -> Result<Run<'a>, Trouble> {
    let Work::Groups(plan) = &shared.plan.work else {
        return Err(Trouble::Rejected("rows are no groups".to_owned()));
    };
    let firsts = match &plan.kept {
        Some(Ok(kept)) if leaves => Some(&kept.firsts),
        _ => None,
    };
    Ok(Run { stage: &shared.plan, plan, pipelines, firsts })
}
