//! Ordered sums on all threads: rows are cut at places of their own, each thread takes the next cut, and what was made of a cut is
//! added to what was made of those before once all of these are done.
//!
//! Adding is the work of whoever has finished the cut whose turn it is, while others are at later cuts: with many groups it is a
//! fifth of all work.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::work::Work;
use crate::columnar::RecordBatch;
use crate::error::{Error, Result};
use crate::kernels::{Partial, StageTask};
use crate::runtime::task::guarded;

type Task = Box<dyn StageTask>;

/// What a stage has of the cuts.
#[derive(Default)]
pub(super) struct Cuts {
    /// What tasks gave that are done, in the order of the rows.
    pub(super) closed: Vec<Partial>,
    /// Has taken in the first rows of the first cut, or of the last one, which is not full then.
    pub(super) open: Option<Task>,
    /// Tasks that have handed their cuts over, and may go on with others.
    pub(super) free: Vec<Task>,
}

/// Cuts that threads are at.
struct Line<'a> {
    work: Work<'a>,
    cuts: &'a [Vec<RecordBatch>],
    /// Whether the task of the last cut stays open.
    stays_open: bool,
    threads: usize,
    state: Mutex<State>,
    /// A cut was handed over, or all is over.
    moved: Condvar,
}

struct State {
    stage: Cuts,
    /// The cut that is begun next.
    next: usize,
    /// The cut whose turn it is to be added.
    turn: usize,
    /// Cuts that are done and wait for their turn.
    done: BTreeMap<usize, Partial>,
    /// What went wrong, for the earliest cut of which something did: all before it were begun, and are finished.
    failed: Option<(usize, Error)>,
}

/// Takes cuts in; of the last one the task stays open if that is not full.
///
/// # Errors
/// What a task says, or merging: of several errors, that of the first cut.
pub(super) fn take(work: Work<'_>, stage: Cuts, cuts: &[Vec<RecordBatch>], stays_open: bool) -> Result<Cuts> {
    let threads = if cuts.len() > 1 { rayon::current_num_threads().min(cuts.len()) } else { 1 };
    let state = State { stage, next: 0, turn: 0, done: BTreeMap::new(), failed: None };
    let line = Line { work, cuts, stays_open, threads, state: Mutex::new(state), moved: Condvar::new() };
    match threads {
        1 => line.run(),
        _ => rayon::scope(|scope| (0..threads).for_each(|_| scope.spawn(|_| line.run()))),
    }
    let state = line.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.failed {
        Some((_, error)) => Err(error),
        None => Ok(state.stage),
    }
}

impl Line<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on one cut after another until there is none left.
    fn run(&self) {
        while let Some((cut, task)) = self.begin() {
            // A panic would leave others waiting for this cut.
            let made = guarded(|| self.make(cut, task));
            let mut state = self.state();
            match made {
                Ok((None, task)) => state.stage.open = task,
                Ok((Some(part), _)) => {
                    state.done.insert(cut, part);
                    state.add(self.work);
                }
                Err(error) => state.fail(cut, error),
            }
            drop(state);
            self.moved.notify_all();
        }
    }

    /// The next cut, and a task for it if there is one. Waits while as many cuts as there are threads are held because another
    /// thread is slow with an earlier one.
    fn begin(&self) -> Option<(usize, Option<Task>)> {
        let mut state = self.state();
        while state.done.len() >= self.threads && state.failed.is_none() {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let cut = state.next;
        if cut == self.cuts.len() || state.failed.is_some() {
            return None;
        }
        state.next += 1;
        let open = if cut == 0 { state.stage.open.take() } else { None };
        Some((cut, open.or_else(|| state.stage.free.pop())))
    }

    /// Takes a cut in, and gives what it came to, or the task that stays open.
    fn make(&self, cut: usize, task: Option<Task>) -> Result<(Option<Partial>, Option<Task>)> {
        let mut task = task.map_or_else(|| self.work.stage().begin(), Ok)?;
        self.work.push(&mut *task, &self.cuts[cut])?;
        if self.stays_open && cut + 1 == self.cuts.len() {
            return Ok((None, Some(task)));
        }
        Ok((Some(task.finish()?), None))
    }
}

impl State {
    /// Adds the cuts whose turn it is.
    fn add(&mut self, work: Work<'_>) {
        while self.failed.is_none()
            && let Some(part) = self.done.remove(&self.turn)
        {
            let before = self.stage.closed.pop();
            match guarded(|| work.stage().add_cuts(before, vec![part])) {
                Ok((closed, free)) => {
                    self.stage.closed.extend(closed);
                    self.stage.free.extend(free);
                    self.turn += 1;
                }
                Err(error) => self.fail(self.turn, error),
            }
        }
    }

    fn fail(&mut self, cut: usize, error: Error) {
        if self.failed.as_ref().is_none_or(|(earliest, _)| cut < *earliest) {
            self.failed = Some((cut, error));
        }
    }
}
