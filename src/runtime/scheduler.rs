//! Starting, watching and stopping a query, from any thread.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

use super::budget::MemoryBudget;
use super::executor::Executor;
use super::journal::{CheckpointPlace, Journal, Recovery};
use super::life::Life;
use super::pace::BatchSize;
use super::progress::{Listener, Progress, ProgressLog, SourceProfile, Totals};
use super::quarantine::{self, BadRecordsMax};
use super::rate::Backpressure;
use super::spill;
use super::states::StateHandle;
use super::trigger::{OnEnd, Trigger};
use crate::clock::{Clock, Wake};
use crate::connectors::{ReadLimits, Sink, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::user_function::panic_text;

/// How a query runs.
#[derive(Clone)]
pub struct QueryOptions {
    /// Its name, in progress records and errors.
    pub name: String,
    /// When batches are cut.
    pub trigger: Trigger,
    /// Partitions of a batch, at most.
    pub partitions: usize,
    /// How much of each source a batch may take.
    pub limits: ReadLimits,
    /// How often a step that failed for a cause that may pass is tried again.
    pub retries_max: u32,
    /// The wait before the first such try; each further wait is twice as long.
    pub retry_wait: Duration,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The threads that tasks run on; none: the query's own thread alone.
    pub pool: Option<Arc<rayon::ThreadPool>>,
    /// Told about each batch.
    pub listeners: Vec<Listener>,
    /// Where the query writes down how far it has come; none: it begins anew each time.
    pub checkpoint: Option<CheckpointPlace>,
    /// How many bad records a batch may have before the query stops.
    pub bad_records_max: BadRecordsMax,
    /// What becomes of what is open when the query ends by itself.
    pub on_end: OnEnd,
    /// How large a batch may become.
    pub batch_size: BatchSize,
    /// How sources are slowed down when batches take longer than the interval; none: they are not.
    pub backpressure: Option<Backpressure>,
    /// The most rows a second that are read of a source, by its name.
    pub max_rows_per_second: BTreeMap<String, u64>,
    /// How many bytes may be in flight; none: any number.
    pub memory: Option<MemoryBudget>,
    /// How many bytes of state operators may keep in memory; none: half of `memory`, or any number without it.
    pub state_memory: Option<u64>,
    /// The folder for what they keep beyond that; none: one of the system's temporary folder.
    pub spill_folder: Option<PathBuf>,
}

impl QueryOptions {
    /// How many bytes of state may be in memory, and the folder for what is more; none if there is no bound.
    pub fn room(&self) -> Option<(u64, PathBuf)> {
        let bytes = self.state_memory.or(self.memory.as_ref().map(|memory| memory.total() / 2))?;
        let folder = self.spill_folder.clone();
        Some((bytes, folder.unwrap_or_else(|| std::env::temp_dir().join(spill::FOLDER))))
    }
}

impl fmt::Debug for QueryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryOptions").field("name", &self.name).field("trigger", &self.trigger).finish_non_exhaustive()
    }
}

/// All that a query consists of, ready to start.
#[derive(Debug)]
pub struct QueryDefinition {
    /// The stages.
    pub executor: Executor,
    /// The sources, in the order of their ids, with their names.
    pub sources: Vec<(String, Box<dyn Source>)>,
    /// The sinks, one for each output, with their names.
    pub sinks: Vec<(String, Box<dyn Sink>)>,
    /// Where records go that are left out and kept.
    pub quarantine: Option<Box<dyn Sink>>,
}

impl QueryDefinition {
    /// All sinks with their names: those of the outputs, then that of the quarantine.
    pub(super) fn all_sinks(&mut self) -> impl Iterator<Item = (&str, &mut Box<dyn Sink>)> {
        let outputs = self.sinks.iter_mut().map(|(name, sink)| (name.as_str(), sink));
        outputs.chain(self.quarantine.iter_mut().map(|sink| (quarantine::NAME, sink)))
    }
}

/// How a query is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// What was taken in is finished: the current batch, and what sources that cannot replay hold in their hands.
    Graceful,
    /// The current batch is abandoned; nothing more of it is written, nothing committed.
    Now,
}

/// A query that was started. Dropping it stops the query gracefully.
#[derive(Debug)]
pub struct RunningQuery {
    shared: Arc<Shared>,
    ticks: Sender<Tick>,
    states: Vec<StateHandle>,
}

/// A request for one batch, and where to send the answer.
pub(super) type Tick = Sender<Result<Option<Progress>>>;

/// What the query's thread and its holders share.
#[derive(Debug)]
pub(super) struct Shared {
    name: String,
    stopping: AtomicBool,
    pub(super) abandon: AtomicBool,
    pub(super) wake: Wake,
    pub(super) log: ProgressLog,
    recovery: OnceLock<Recovery>,
    /// How the query ended, once it has.
    ended: Mutex<Option<Ended>>,
    end: Condvar,
}

#[derive(Debug)]
enum Ended {
    Well,
    /// The error is handed to the first who waits; later ones get its text.
    Badly(Option<Error>, ErrorKind, String),
}

impl Shared {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandon.load(Ordering::SeqCst)
    }

    pub(super) fn end(&self, result: Result<()>) {
        let ended = match result {
            Ok(()) => Ended::Well,
            // A stop that was asked for is not a failure, whatever it interrupted.
            Err(error) if self.is_abandoned() && error.kind() == ErrorKind::Closed => Ended::Well,
            Err(error) => {
                let error = error.context(format!("query \"{}\"", self.name));
                let (kind, text) = (error.kind(), error.to_string());
                Ended::Badly(Some(error), kind, text)
            }
        };
        *lock(&self.ended) = Some(ended);
        self.end.notify_all();
    }
}

impl RunningQuery {
    /// Goes to where the checkpoint stands, if there is one, opens the sinks and starts the query's thread.
    ///
    /// # Errors
    /// A checkpoint of another query or that is damaged or in use, a sink that cannot be opened, or a thread that cannot
    /// be started.
    pub fn start(mut definition: QueryDefinition, options: QueryOptions) -> Result<Self> {
        let schemas = definition.executor.output_schemas();
        let shared = Arc::new(Shared {
            name: options.name.clone(),
            stopping: AtomicBool::new(false),
            abandon: AtomicBool::new(false),
            wake: Wake::new(),
            log: ProgressLog::default(),
            recovery: OnceLock::new(),
            ended: Mutex::new(None),
            end: Condvar::new(),
        });
        if let Some((bytes, folder)) = options.room().filter(|_| definition.executor.can_spill()) {
            definition.executor.spill_to(spill::room(bytes, &folder)?);
        }
        let place = options.checkpoint.as_ref();
        let resumed = place.map(|place| Journal::open(place, &options, &shared, &mut definition)).transpose()?;
        if let Some(resumed) = &resumed {
            shared.recovery.get_or_init(|| resumed.recovery.clone());
        }
        let kept = quarantine::schema();
        for ((name, sink), schema) in definition.all_sinks().zip(schemas.iter().chain([&kept])) {
            sink.open(schema).map_err(|error| error.context(format!("while opening sink \"{name}\"")))?;
        }
        let states = definition.executor.handles();
        let (ticks, ticked) = bounded(0);
        let life = Life::new(definition, schemas, options, Arc::clone(&shared), ticked, resumed);
        let thread = std::thread::Builder::new().name(format!("pelton-{}", shared.name));
        let guard = Arc::clone(&shared);
        let work = move || {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| life.run())) {
                let text = panic_text(panic.as_ref());
                guard.end(Err(Error::new(ErrorKind::Function, format!("a connector or listener panicked: {text}"))));
            }
        };
        thread.spawn(work).map_err(|error| {
            Error::new(ErrorKind::Connector, format!("cannot start a thread: {error}")).because(error).retry_later()
        })?;
        Ok(Self { shared, ticks, states })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Where the query went on from its checkpoint; `None` without a checkpoint.
    pub fn recovery(&self) -> Option<&Recovery> {
        self.shared.recovery.get()
    }

    /// What an operator of the query keeps, to be looked at while the query runs: of a running aggregate, a window, a function
    /// with a memory. Its name is the one it was [named](crate::query::KeyedDStream::named), or that of [`RunningQuery::states`].
    ///
    /// ```
    /// use pelton::connectors::queue::QueueSource;
    /// use pelton::prelude::*;
    ///
    /// # fn main() -> Result<()> {
    /// # use std::sync::Arc;
    /// # let cities: Arc<dyn arrow_array::Array> = Arc::new(arrow_array::StringArray::from(vec!["Oslo", "Rome", "Oslo"]));
    /// # let batch = RecordBatch::try_from_iter([("city", cities)])?;
    /// let context = StreamingContext::builder("visits").trigger(Trigger::Manual).build()?;
    /// let (queue, source) = QueueSource::new(batch.schema());
    /// let visits = context.source("visits", source)?.key_by([col("city")]).named("cities").running([len().alias("visits")]);
    /// visits.foreach_batch(|_, _| Ok(()))?;
    /// let query = context.start()?;
    /// let cities = query.state("cities")?;
    /// queue.push(vec![batch])?;
    /// query.tick()?;
    /// assert_eq!(cities.scan()?.num_rows(), 2);
    /// let oslo = cities.get(["Oslo"])?;
    /// assert_eq!(Scalar::from_array(oslo.column(1), 0)?, Scalar::Int64(2));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `InvalidOption` if nothing of this name is kept.
    pub fn state(&self, name: &str) -> Result<StateHandle> {
        self.states.iter().find(|state| state.name() == name).cloned().ok_or_else(|| {
            let names = self.states().iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
            let there = if names.is_empty() { "it keeps nothing".to_owned() } else { format!("it keeps {names}") };
            Error::new(ErrorKind::InvalidOption, format!("query \"{}\" keeps no \"{name}\": {there}", self.name()))
        })
    }

    /// The names of all that the query keeps from batch to batch.
    pub fn states(&self) -> Vec<&str> {
        self.states.iter().map(StateHandle::name).collect()
    }

    /// Runs one batch now, if there is anything to read, and says what it did. For queries with [`Trigger::Manual`].
    ///
    /// # Errors
    /// What ended the query during this batch; `Closed` if it does not take ticks.
    pub fn tick(&self) -> Result<Option<Progress>> {
        let closed = || {
            let message =
                format!("query \"{}\" takes no ticks: it has ended, or its trigger is not manual", self.name());
            Error::new(ErrorKind::Closed, message)
        };
        let (reply, answer) = bounded(1);
        self.ticks.send(reply).map_err(|_gone| closed())?;
        answer.recv().map_err(|_gone| closed())?
    }

    /// Asks the query to stop. Returns at once; see [`RunningQuery::await_termination`].
    pub fn stop(&self, mode: StopMode) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        if mode == StopMode::Now {
            self.shared.abandon.store(true, Ordering::SeqCst);
        }
        self.shared.wake.ring();
    }

    /// Waits until the query has ended: by itself, by [`RunningQuery::stop`], or by an error.
    ///
    /// # Errors
    /// What ended the query. The first caller gets the error itself, later ones its kind and text.
    pub fn await_termination(&self) -> Result<Totals> {
        let mut ended = lock(&self.shared.ended);
        loop {
            match ended.as_mut() {
                Some(Ended::Well) => return Ok(self.totals()),
                Some(Ended::Badly(error, kind, text)) => {
                    return Err(error.take().unwrap_or_else(|| Error::new(*kind, text.clone())));
                }
                None => ended = self.shared.end.wait(ended).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Whether the query still runs.
    pub fn is_running(&self) -> bool {
        lock(&self.shared.ended).is_none()
    }

    /// What the latest batches did, oldest first.
    pub fn progress(&self) -> Vec<Progress> {
        self.shared.log.latest()
    }

    /// What the profiled columns of its sources held so far, over all batches of this process.
    ///
    /// # Errors
    /// A value that cannot be shown.
    pub fn profiles(&self) -> Result<Vec<SourceProfile>> {
        self.shared.log.profiles()
    }

    /// The sums over all batches.
    pub fn totals(&self) -> Totals {
        self.shared.log.totals()
    }
}

impl Drop for RunningQuery {
    fn drop(&mut self) {
        self.stop(StopMode::Graceful);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
