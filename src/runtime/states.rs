//! What a running query keeps from batch to batch, for others to look at: as the latest finished batch left it, never in the
//! middle of one.
//!
//! The executor works on it under a lock that it takes for the time of a merge alone. From the first merge of a batch until
//! the batch is done, others wait; and while somebody looks, a merge waits for them.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use crate::columnar::{Field, RecordBatch, Scalar};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::Kept;

/// What the stages of a query keep, in their order.
pub(super) type AllKept = Vec<Option<Box<dyn Kept>>>;

/// What a query keeps, shared between its thread and those who look.
pub(super) struct States {
    inside: Mutex<Inside>,
    settled: Condvar,
}

struct Inside {
    kept: AllKept,
    /// Whether a batch has been taken in that is not done.
    is_unsettled: bool,
    /// The thread of the query, once it has taken a batch in.
    thread: Option<ThreadId>,
    has_ended: bool,
}

/// The kept states, for the executor.
pub(super) struct Held<'a>(MutexGuard<'a, Inside>);

impl Held<'_> {
    pub(super) fn all(&self) -> &AllKept {
        &self.0.kept
    }

    pub(super) fn all_mut(&mut self) -> &mut AllKept {
        &mut self.0.kept
    }

    /// What a stage keeps, to take a batch in.
    pub(super) fn taking_in(&mut self, stage: usize) -> Option<&mut Box<dyn Kept>> {
        let inside = &mut *self.0;
        let kept = inside.kept.get_mut(stage)?.as_mut()?;
        (inside.is_unsettled, inside.thread) = (true, Some(thread::current().id()));
        Some(kept)
    }
}

impl States {
    pub(super) fn new(kept: AllKept) -> Self {
        let inside = Inside { kept, is_unsettled: false, thread: None, has_ended: false };
        Self { inside: Mutex::new(inside), settled: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // What a panic left behind is not looked at: the batch is never done.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hold(&self) -> Held<'_> {
        Held(self.lock())
    }

    /// The batch is done.
    pub(super) fn settle(&self) {
        self.lock().is_unsettled = false;
        self.settled.notify_all();
    }

    /// No batch comes any more.
    pub(super) fn end(&self) {
        self.lock().has_ended = true;
        self.settled.notify_all();
    }

    /// Looks at what a stage keeps.
    fn look<T>(&self, stage: usize, look: impl FnOnce(&dyn Kept) -> Result<T>) -> Result<T> {
        let mut inside = self.lock();
        while inside.is_unsettled {
            if inside.has_ended {
                return Err(Error::new(ErrorKind::Closed, "the query ended in the middle of a batch")
                    .advice("look at its checkpoint, which holds what the latest batch left"));
            }
            if inside.thread == Some(thread::current().id()) {
                return Err(Error::new(
                    ErrorKind::InvalidOption,
                    "what a query keeps was looked at in the middle of a batch",
                )
                .advice(
                    "look from another thread, or from a listener of on_progress, which is called between batches",
                ));
            }
            inside = self.settled.wait(inside).unwrap_or_else(PoisonError::into_inner);
        }
        match inside.kept.get(stage).and_then(Option::as_ref) {
            Some(kept) => look(kept.as_ref()),
            None => Err(Error::internal("what keeps nothing was looked at")),
        }
    }
}

/// What one operator of a query keeps, while the query runs and after it. Made by
/// [`RunningQuery::state`](super::RunningQuery::state).
///
/// Whatever is seen is what the latest finished batch left: who looks while a batch runs waits until it is done, and the next
/// batch waits for who looks: functions of the query itself must not look. To look at one key costs little; to look at all costs as much as giving them all out.
#[derive(Clone)]
pub struct StateHandle {
    pub(super) name: String,
    pub(super) stage: usize,
    /// The columns by which keys are looked up; none where rows have no key of their own.
    pub(super) keys: Vec<Field>,
    pub(super) states: Arc<States>,
}

impl StateHandle {
    /// The operator's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many groups, keys or rows are kept.
    ///
    /// # Errors
    /// `Closed` if the query ended in the middle of a batch.
    pub fn len(&self) -> Result<u64> {
        self.states.look(self.stage, |kept| Ok(kept.groups()))
    }

    /// Whether nothing is kept.
    ///
    /// # Errors
    /// As for [`StateHandle::len`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Everything: of aggregates a row a group, as it would come out now; of functions a row a key, with what is remembered
    /// as JSON.
    ///
    /// # Errors
    /// As for [`StateHandle::len`]; overflow of a total.
    pub fn scan(&self) -> Result<RecordBatch> {
        self.states.look(self.stage, |kept| kept.scan())
    }

    /// What is kept of one key, in the columns of [`StateHandle::scan`]: no row if there is nothing, several if there is
    /// something for each of several windows. The key has a value for each key column, in their order.
    ///
    /// # Errors
    /// As for [`StateHandle::scan`]; `InvalidOption` for values that are no key.
    pub fn get<K: Into<Scalar>>(&self, key: impl IntoIterator<Item = K>) -> Result<RecordBatch> {
        let key = key.into_iter().map(Into::into).collect::<Vec<Scalar>>();
        if self.keys.is_empty() {
            let message = format!("\"{}\" has no keys to look up", self.name);
            return Err(Error::new(ErrorKind::InvalidOption, message).advice("look at all of it with scan"));
        }
        if key.len() != self.keys.len() {
            let names = self.keys.iter().map(|field| format!("\"{}\"", field.name())).collect::<Vec<_>>().join(", ");
            let message =
                format!("a key of \"{}\" has a value for each of {names}, not {} values", self.name, key.len());
            return Err(Error::new(ErrorKind::InvalidOption, message));
        }
        let column = |(value, field): (&Scalar, &Field)| {
            let column = Scalar::to_array(std::slice::from_ref(&canonical(value)), field.data_type());
            column.map_err(|error| {
                let message = format!("\"{}\" is {}, and {value:?} is none", field.name(), field.data_type());
                Error::new(ErrorKind::InvalidOption, message).because(error)
            })
        };
        let key = key.iter().zip(&self.keys).map(column).collect::<Result<Vec<_>>>()?;
        self.states.look(self.stage, |kept| kept.get(&key))
    }
}

/// The value by which all equal ones are kept.
fn canonical(value: &Scalar) -> Scalar {
    match value {
        Scalar::Float64(float) if float.is_nan() => Scalar::Float64(f64::NAN),
        Scalar::Float64(float) => Scalar::Float64(float + 0.0),
        other => other.clone(),
    }
}

impl fmt::Debug for StateHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateHandle").field("name", &self.name).field("keys", &self.keys).finish_non_exhaustive()
    }
}
