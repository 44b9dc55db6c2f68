//! The thread that writes a query's checkpoint while the loop goes on.
//!
//! The loop hands over notes, each with a number, and waits for a number only where a promise depends on it. Notes are
//! written in the order in which they were handed over, so that the folder holds at every moment what it would hold if the
//! loop wrote it itself. After the first note that cannot be written none is: a query whose checkpoint fails ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::scheduler::Shared;
use crate::checkpoint::{Checkpoint, CommitEntry, OffsetEntry, Positions, StatePart};
use crate::clock::Clock;
use crate::columnar::RecordBatch;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::kernels::user_function::panic_text;

/// Something to write down.
#[derive(Debug)]
pub(super) enum Note {
    /// What a batch reads.
    Offsets(OffsetEntry),
    /// What a batch made of the state of an operator.
    State { operator: String, batch: u64, part: StatePart, rows: Vec<RecordBatch> },
    /// That a batch is done; with the positions of the sources, if they are due.
    Commit(CommitEntry, Option<Positions>),
}

/// What writing goes by.
#[derive(Debug)]
pub(super) struct Patience {
    /// How often a note is tried again that failed for a cause that may pass.
    pub(super) retries_max: u32,
    /// The wait before the first such try; each further wait is twice as long.
    pub(super) retry_wait: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shared: Arc<Shared>,
}

/// The loop's end of the thread. Dropping it waits until all notes are written, and frees the checkpoint.
#[derive(Debug)]
pub(super) struct Scribe {
    /// Gone once no more notes come.
    notes: Option<Sender<Note>>,
    written: Arc<Written>,
    thread: Option<JoinHandle<()>>,
    /// The number of the latest note.
    handed_over: u64,
}

/// How far the thread has come.
#[derive(Debug, Default)]
struct Written {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Notes that are on the storage.
    done: u64,
    /// Notes that were tried again, since somebody last asked.
    retries: u32,
    /// The least number that somebody waits for: before it is written nobody is woken, who would take time from the batch
    /// that is computed meanwhile.
    awaited: Option<u64>,
    failed: Option<Failed>,
}

#[derive(Debug)]
struct Failed {
    /// The error is handed to the first who waits; later ones get its text.
    error: Option<Error>,
    kind: ErrorKind,
    text: String,
}

impl Scribe {
    /// Starts the thread.
    ///
    /// # Errors
    /// A system that has no thread to give.
    pub(super) fn start(checkpoint: Checkpoint, patience: Patience) -> Result<Self> {
        let (notes, received) = unbounded();
        let written = Arc::<Written>::default();
        let state = Arc::clone(&written);
        let name = format!("pelton-{}-checkpoint", patience.shared.name());
        let thread = std::thread::Builder::new().name(name);
        let thread = thread.spawn(move || write_all(checkpoint, &received, &state, &patience)).map_err(|error| {
            Error::new(ErrorKind::Connector, format!("cannot start a thread: {error}")).because(error).retry_later()
        })?;
        Ok(Self { notes: Some(notes), written, thread: Some(thread), handed_over: 0 })
    }

    /// Hands a note over; gives its number.
    pub(super) fn note(&mut self, note: Note) -> u64 {
        // The thread ends before the channel is closed only by a failure, which whoever waits is told.
        if let Some(notes) = &self.notes {
            drop(notes.send(note));
        }
        self.handed_over += 1;
        self.handed_over
    }

    /// Waits until the note of this number, and so all before it, are on the storage.
    ///
    /// # Errors
    /// The storage's, for the first note that could not be written.
    pub(super) fn wait_for(&self, number: u64) -> Result<()> {
        let mut state = self.written.lock();
        loop {
            if state.done >= number {
                return Ok(());
            }
            if let Some(failed) = &mut state.failed {
                return Err(failed.error.take().unwrap_or_else(|| Error::new(failed.kind, failed.text.clone())));
            }
            state.awaited = Some(state.awaited.map_or(number, |other| other.min(number)));
            state = self.written.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether the note of this number is on the storage.
    pub(super) fn has_written(&self, number: u64) -> bool {
        self.written.lock().done >= number
    }

    /// How often notes were tried again since the last call.
    pub(super) fn take_retries(&self) -> u32 {
        std::mem::take(&mut self.written.lock().retries)
    }
}

impl Drop for Scribe {
    fn drop(&mut self) {
        self.notes = None;
        // The thread catches panics, and has told of them.
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Written {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes notes until no more come or one fails. The checkpoint is free when this returns.
fn write_all(mut checkpoint: Checkpoint, notes: &Receiver<Note>, written: &Written, patience: &Patience) {
    for note in notes {
        let result = catch_unwind(AssertUnwindSafe(|| write_patiently(&mut checkpoint, &note, written, patience)));
        let result = result.unwrap_or_else(|panic| {
            let text = panic_text(panic.as_ref());
            Err(Error::new(ErrorKind::Function, format!("the storage of a checkpoint panicked: {text}")))
        });
        let mut state = written.lock();
        let has_failed = result.is_err();
        match result {
            Ok(()) => state.done += 1,
            Err(error) => {
                let (kind, text) = (error.kind(), error.to_string());
                state.failed = Some(Failed { error: Some(error), kind, text });
            }
        }
        let is_awaited = state.awaited.is_some_and(|number| has_failed || number <= state.done);
        if is_awaited {
            state.awaited = None;
        }
        drop(state);
        if is_awaited {
            written.changed.notify_all();
        }
        if has_failed {
            break;
        }
    }
}

/// Writes a note, again after growing waits while it fails for causes that may pass.
fn write_patiently(checkpoint: &mut Checkpoint, note: &Note, written: &Written, patience: &Patience) -> Result<()> {
    let mut wait = patience.retry_wait;
    let mut tried = 0;
    loop {
        match write(checkpoint, note) {
            Err(error)
                if error.retry() == Retry::Later && tried < patience.retries_max && !patience.shared.is_stopping() =>
            {
                tried += 1;
                written.lock().retries += 1;
                patience.clock.sleep_until(patience.clock.now() + wait, &patience.shared.wake);
                wait = wait.saturating_mul(2);
            }
            result => return result,
        }
    }
}

fn write(checkpoint: &mut Checkpoint, note: &Note) -> Result<()> {
    match note {
        Note::Offsets(entry) => checkpoint.begin_batch(entry),
        Note::State { operator, batch, part, rows } => checkpoint.save_state(operator, *batch, *part, rows),
        Note::Commit(entry, positions) => checkpoint.commit_batch(entry, positions.as_ref()),
    }
}
