//! The work of a stage on one partition, on the CPU or on the GPU.
//!
//! A task decides for each span of rows: as many as a device takes in one submission, or all that the task is given. How
//! many there will be is guessed from the task before; rows for the CPU go through it as they come, rows for the GPU are
//! gathered. Both ends are one task of the CPU, so the order of rows and the answer do not depend on what is chosen.
//!
//! Where the device is preferred, up to three spans are on their way to it, as with `device = "gpu"`. What one of them costs is
//! the time that its task spends on it: packing it and sending it off, and later waiting for it and taking in what it gives.
//! Meanwhile the task reads and packs what comes next, and so does not wait as long as the device works. So the times of spans
//! add up to what the task could have spent otherwise, as those of spans on the CPU do, and none counts twice. A span of a size
//! that was not measured yet, and one that only tries the device, is waited for at once: it tells what it takes alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::auto::Shared;
use super::chooser::{Choice, Side, Work};
use crate::clock::Clock;
use crate::columnar::RecordBatch;
use crate::error::Result;
use crate::kernels::gpu::{GATHERED_BYTES_MAX, GpuTask, gathered_bytes};
use crate::kernels::{Flow, Partial, Sighting, StageTask};

/// The work on one partition.
pub(super) struct AutoTask {
    shared: Arc<Shared>,
    task: Box<GpuTask>,
    rows_max: usize,
    span: Span,
    /// How many spans went to the device.
    sent: u64,
    /// Those that are on their way, in order.
    pub(super) under_way: VecDeque<UnderWay>,
}

/// A span on its way to the device and back.
pub(super) struct UnderWay {
    number: u64,
    choice: Choice,
    work: Work,
    /// What the task has spent on it so far.
    seconds: f64,
}

/// Rows that one decision is about.
#[derive(Default)]
struct Span {
    rows: usize,
    way: Option<Way>,
}

/// What becomes of the rows of a span.
enum Way {
    /// They run on the CPU as they come; so far they took so many seconds.
    Stream(Choice, f64),
    /// They wait until it is known how many there are; with the bytes that they take.
    Gather(Vec<RecordBatch>, usize),
}

impl StageTask for AutoTask {
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let len = (self.rows_max - self.span.rows).min(batch.num_rows() - from);
            let is_whole = len == batch.num_rows();
            let piece = if is_whole { batch.clone() } else { batch.slice(from, len) };
            from += len;
            self.take(piece)?;
            let is_much = matches!(self.span.way, Some(Way::Gather(_, bytes)) if bytes >= GATHERED_BYTES_MAX);
            if is_much || self.span.rows == self.rows_max {
                self.close()?;
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        self.close()?;
        self.land_all()?;
        self.task.settle()
    }

    fn sighting(&self) -> Sighting {
        self.task.sighting()
    }

    fn flow(&self) -> Option<Flow> {
        match &self.span.way {
            Some(Way::Gather(..)) => None,
            _ => self.task.flow(),
        }
    }

    fn finish(mut self: Box<Self>) -> Result<Partial> {
        self.close()?;
        self.land_all()?;
        self.task.finish()
    }
}

impl AutoTask {
    pub(super) fn new(shared: Arc<Shared>, task: Box<GpuTask>, rows_max: usize) -> Self {
        Self { shared, task, rows_max, span: Span::default(), sent: 0, under_way: VecDeque::new() }
    }

    /// Waits for all spans that are on their way, so that the CPU's rows come behind them and its time is its own.
    fn land_all(&mut self) -> Result<()> {
        while !self.under_way.is_empty() {
            self.land()?;
        }
        Ok(())
    }

    /// Waits for the first span that is on its way, and learns.
    fn land(&mut self) -> Result<()> {
        let Some(UnderWay { number, choice, work, seconds }) = self.under_way.pop_front() else { return Ok(()) };
        let started = self.shared.clock.now();
        let run = self.task.land_span(number);
        let seconds = seconds + self.shared.clock.now().saturating_sub(started).as_secs_f64();
        let fallen_back = self.task.take_fallen_back(number);
        self.shared.done(&choice, work, run.map(|()| (seconds, fallen_back)))
    }

    /// Sends a span to the device; what the task spends on those before it is theirs.
    fn send(&mut self, pieces: &[RecordBatch], choice: Choice, work: Work) -> Result<()> {
        while !self.under_way.is_empty() && self.task.is_full() {
            self.land()?;
        }
        self.sent += 1;
        let number = self.sent;
        let started = self.shared.clock.now();
        let run = self.task.send_span(number, pieces);
        let seconds = self.shared.clock.now().saturating_sub(started).as_secs_f64();
        if let Err(error) = run {
            return self.shared.done(&choice, work, Err(error));
        }
        self.under_way.push_back(UnderWay { number, choice, work, seconds });
        let is_alone = choice.is_trial || !choice.measured[Side::Gpu as usize];
        if is_alone { self.land_all() } else { Ok(()) }
    }

    fn take(&mut self, piece: RecordBatch) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let Some(both) = shared.both() else { return self.task.push_beside(&piece) };
        self.span.rows += piece.num_rows();
        both.gpu.look_at(&piece);
        if self.span.way.is_none() {
            let expected = both.expected.load(Ordering::Relaxed);
            let choice = (expected > 0).then(|| both.peek(both.work(expected.max(piece.num_rows()))));
            self.span.way = Some(match choice {
                Some(choice) if choice.side == Side::Cpu => {
                    self.land_all()?;
                    Way::Stream(choice, 0.0)
                }
                _ => Way::Gather(Vec::new(), 0),
            });
        }
        match &mut self.span.way {
            Some(Way::Stream(_, seconds)) => {
                let started = shared.clock.now();
                self.task.push_beside(&piece)?;
                *seconds += shared.clock.now().saturating_sub(started).as_secs_f64();
            }
            Some(Way::Gather(pieces, bytes)) => {
                *bytes += gathered_bytes(&piece);
                pieces.push(piece);
            }
            None => {}
        }
        Ok(())
    }

    /// Ends a span: what was gathered runs, or sets off.
    fn close(&mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let Span { rows, way } = std::mem::take(&mut self.span);
        let (Some(way), Some(both)) = (way, shared.both()) else { return Ok(()) };
        both.expected.store(rows, Ordering::Relaxed);
        let work = both.work(rows);
        let pieces = match way {
            Way::Stream(choice, seconds) => return shared.done(&choice, work, Ok((seconds, 0))),
            Way::Gather(pieces, _) => pieces,
        };
        let choice = both.choose(work);
        if choice.side == Side::Gpu {
            return self.send(&pieces, choice, work);
        }
        self.land_all()?;
        let started = shared.clock.now();
        let run = pieces.iter().try_for_each(|piece| self.task.push_beside(piece));
        let seconds = shared.clock.now().saturating_sub(started).as_secs_f64();
        shared.done(&choice, work, run.map(|()| (seconds, 0)))
    }
}
