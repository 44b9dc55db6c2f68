//! Rows on their way into a stage: cut for the threads, and taken in by tasks that may stay open for more.
//!
//! ```text
//! batches ──▶ waiting ──(enough for all threads)──▶ tasks, a thread each ──close──▶ partials, in the order of the rows
//! ```
//!
//! Tasks of a stage that takes turns stay open: each has a stretch of every wave of rows, and there is nothing to merge until
//! the end, however many batches come. Ordered sums are cut at fixed rows, and what follows the order of rows is cut
//! anywhere; there each piece has a task of its own. A single task runs on the calling thread.

use rayon::prelude::*;

use super::compile::Compiled;
use super::cuts::{self, Cuts};
use super::pieces;
use super::work::Work;
use crate::columnar::RecordBatch;
use crate::error::{Error, Result};
use crate::kernels::{Partial, StageTask};
use crate::limits::{PARTIALS_HELD_MAX, ROWS_PER_ORDERED_CUT, ROWS_PER_THREAD_MIN, THREADS_WAITED_FOR_MAX};
use crate::plan::stage::{End, Stage};
use crate::runtime::task::guarded;

/// What a stage has taken in.
#[derive(Default)]
pub(super) struct Intake {
    stage: usize,
    /// What tasks gave that are done, in the order of the rows.
    closed: Vec<Partial>,
    /// Tasks that take more, of rows after those: of a stage with ordered sums, one, whose cut is not full; else some that
    /// take turns.
    open: Vec<Box<dyn StageTask>>,
    /// Waves of rows that the open tasks have taken in by turns.
    waves: u64,
    /// Rows of the cut that is not full.
    rows_of_cut: usize,
    /// Tasks that have handed their cuts over to the closed ones, and may go on with others.
    free: Vec<Box<dyn StageTask>>,
    waiting: Vec<RecordBatch>,
    rows_waiting: usize,
}

impl Intake {
    /// Nothing yet.
    pub(super) fn new(stage: usize) -> Self {
        Self { stage, ..Self::default() }
    }

    /// What a task gave that is done.
    pub(super) fn of(part: Partial) -> Self {
        Self { closed: vec![part], ..Self::default() }
    }

    /// How many partials and open tasks there are.
    pub(super) fn parts(&self) -> usize {
        self.closed.len() + self.open.len()
    }

    /// Takes a batch in, now or once there are enough rows for all threads.
    ///
    /// # Errors
    /// What a task says of these rows or those that have waited.
    pub(super) fn push(&mut self, program: &Compiled, batch: &RecordBatch) -> Result<()> {
        let rows_each = rows_each(&program.plan.stages[self.stage]);
        let rows = self.rows_waiting + batch.num_rows();
        // A pool is not asked for threads as long as one is enough.
        let threads =
            if rows < rows_each { usize::MAX } else { rayon::current_num_threads().min(THREADS_WAITED_FOR_MAX) };
        if rows >= rows_each.saturating_mul(threads) && self.waiting.is_empty() {
            self.take(program, std::slice::from_ref(batch), threads == 1)?;
            return self.combine_many(program);
        }
        self.waiting.push(batch.clone());
        self.rows_waiting = rows;
        if rows >= rows_each.saturating_mul(threads) {
            self.take_waiting(program, threads == 1)?;
            return self.combine_many(program);
        }
        Ok(())
    }

    /// Takes batches in, and all that waits.
    ///
    /// # Errors
    /// What a task says.
    pub(super) fn push_all(&mut self, program: &Compiled, batches: &[RecordBatch]) -> Result<()> {
        if self.waiting.is_empty() {
            return self.take(program, batches, true);
        }
        self.waiting.extend_from_slice(batches);
        self.take_waiting(program, true)
    }

    /// Takes in what another intake of the same stage has, whose rows come after these. A cut that is not full ends here.
    ///
    /// # Errors
    /// What a task says, or merging.
    pub(super) fn merge(&mut self, program: &Compiled, mut later: Self) -> Result<()> {
        self.push_all(program, &[])?;
        later.push_all(program, &[])?;
        self.close_open(program)?;
        self.closed.append(&mut later.closed);
        (self.open, self.waves, self.rows_of_cut) = (later.open, later.waves, later.rows_of_cut);
        self.combine_many(program)
    }

    /// All that was taken in, in the order of the rows. There is at least one partial.
    ///
    /// # Errors
    /// What a task says.
    pub(super) fn close(mut self, program: &Compiled) -> Result<Vec<Partial>> {
        self.push_all(program, &[])?;
        let place = |error: Error| error.context(format!("in stage {}", self.stage));
        if self.parts() == 0 {
            self.open.push(program.placed[self.stage].stage.begin().map_err(place)?);
        }
        let free = std::mem::take(&mut self.free).into_iter();
        free.flat_map(StageTask::finish).for_each(|part| program.placed[self.stage].stage.give_back(part));
        let open = std::mem::take(&mut self.open).into_iter();
        open.map(|task| guarded(|| task.finish()).map_err(place)).try_for_each(|part| {
            self.closed.push(part?);
            Ok::<_, Error>(())
        })?;
        Ok(self.closed)
    }

    /// Ends the open tasks: other rows come behind theirs.
    fn close_open(&mut self, program: &Compiled) -> Result<()> {
        let parts = std::mem::take(&mut self.open).into_iter().map(|task| guarded(|| task.finish()));
        let parts = parts.collect::<Result<Vec<_>>>();
        let waves = std::mem::take(&mut self.waves);
        self.rows_of_cut = 0;
        // Tasks that took a single turn each have their rows one after the other.
        let parts = parts.and_then(|parts| if waves > 1 { combined(program, self.stage, parts) } else { Ok(parts) });
        self.closed.extend(parts.map_err(|error| error.context(format!("in stage {}", self.stage)))?);
        Ok(())
    }

    /// A long row of batches does not hold all its partials.
    fn combine_many(&mut self, program: &Compiled) -> Result<()> {
        if self.closed.len() > PARTIALS_HELD_MAX {
            let parts = std::mem::take(&mut self.closed);
            let parts = combined(program, self.stage, parts);
            self.closed = parts.map_err(|error| error.context(format!("in stage {}", self.stage)))?;
        }
        Ok(())
    }

    fn take_waiting(&mut self, program: &Compiled, is_all: bool) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        self.rows_waiting = 0;
        self.take(program, &waiting, is_all)?;
        // What still waits is in a list of its own.
        if self.waiting.is_empty() {
            waiting.clear();
            self.waiting = waiting;
        }
        Ok(())
    }

    /// Has tasks take rows in: all of them, or as many as are whole cuts.
    fn take(&mut self, program: &Compiled, rows: &[RecordBatch], is_all: bool) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let work = Work::new(program, self.stage);
        let taken = match program.plan.stages[self.stage].is_ordered() {
            true => self.take_cuts(work, rows, is_all),
            false => {
                self.take_turns(work, rows).and_then(|done| if done { Ok(()) } else { self.take_pieces(work, rows) })
            }
        };
        taken.map_err(|error| error.context(format!("in stage {}", self.stage)))
    }

    /// Gives each open task a stretch of the rows; says whether the stage takes turns.
    fn take_turns(&mut self, work: Work<'_>, rows: &[RecordBatch]) -> Result<bool> {
        let wanted = pieces::worth(pieces::rows(rows));
        while self.open.len() < wanted {
            let Some(task) = work.stage().begin_turns()? else { break };
            self.open.push(task);
        }
        if self.open.is_empty() {
            return Ok(false);
        }
        if self.waves > 0 {
            self.open.iter_mut().try_for_each(|task| task.begin_turn(self.waves))?;
        }
        self.waves += 1;
        match wanted.min(self.open.len()) {
            1 => work.push(&mut *self.open[0], rows)?,
            wanted => {
                let stretches = pieces::cut(rows, wanted);
                let tasks = self.open.par_iter_mut().zip(&stretches);
                let done = tasks.map(|(task, rows)| work.push(&mut **task, rows)).collect::<Vec<_>>();
                done.into_iter().collect::<Result<()>>()?; // of several errors, that of the first stretch
            }
        }
        Ok(true)
    }

    /// Gives each piece of the rows a task of its own.
    fn take_pieces(&mut self, work: Work<'_>, rows: &[RecordBatch]) -> Result<()> {
        let run = |rows: &[RecordBatch]| {
            let mut task = work.stage().begin()?;
            work.push(&mut *task, rows)?;
            guarded(|| task.finish())
        };
        match pieces::worth(pieces::rows(rows)) {
            1 => self.closed.push(run(rows)?),
            wanted => {
                let pieces = pieces::cut(rows, wanted);
                let done = pieces.par_iter().map(|rows| run(rows)).collect::<Vec<_>>();
                done.into_iter().try_for_each(|part| {
                    self.closed.push(part?);
                    Ok::<_, Error>(())
                })?;
            }
        }
        Ok(())
    }

    /// Fills the cut that is not full, and cuts what comes after it; of the last cut, the task stays open, or the rows wait.
    fn take_cuts(&mut self, work: Work<'_>, rows: &[RecordBatch], is_all: bool) -> Result<()> {
        let first = ROWS_PER_ORDERED_CUT - self.rows_of_cut;
        let count = pieces::rows(rows);
        let mut cuts =
            if count <= first { vec![rows.to_vec()] } else { pieces::cut_every(rows, first, ROWS_PER_ORDERED_CUT) };
        let rows_of_last =
            if count <= first { self.rows_of_cut + count } else { (count - first - 1) % ROWS_PER_ORDERED_CUT + 1 };
        let is_full = rows_of_last == ROWS_PER_ORDERED_CUT;
        if !is_full && !is_all {
            self.waiting = cuts.pop().unwrap_or_default();
            self.rows_waiting = pieces::rows(&self.waiting);
        }
        let stage = Cuts {
            closed: std::mem::take(&mut self.closed),
            open: self.open.pop(),
            free: std::mem::take(&mut self.free),
        };
        let stays_open = !is_full && is_all;
        let stage = cuts::take(work, stage, &cuts, stays_open)?;
        (self.closed, self.open, self.free) = (stage.closed, stage.open.into_iter().collect(), stage.free);
        if !cuts.is_empty() {
            self.rows_of_cut = if stays_open { rows_of_last } else { 0 };
        }
        Ok(())
    }
}

/// Rows for each thread that are worth waiting for. Where there is something to merge for each piece of the rows, pieces are
/// large.
fn rows_each(stage: &Stage) -> usize {
    let has_groups = matches!(&stage.end, End::Reduce { aggregates, .. } if aggregates.iter().any(|one| one.function.follows_order()));
    if has_groups { ROWS_PER_ORDERED_CUT } else { ROWS_PER_THREAD_MIN }
}

fn combined(program: &Compiled, stage: usize, parts: Vec<Partial>) -> Result<Vec<Partial>> {
    guarded(|| program.placed[stage].stage.combine(parts))
}
