//! The options of a streaming query, gathered before there is one.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::context::StreamingContext;
use crate::checkpoint::{CheckpointOptions, FolderStore};
use crate::clock::{Clock, SystemClock};
use crate::connectors::ReadLimits;
use crate::dispatch::{Device, Placement};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::THREADS_MAX;
use crate::runtime::progress::Listener;
use crate::runtime::{
    Backpressure, BadRecordsMax, BatchSize, CheckpointPlace, MemoryBudget, OnEnd, Progress, QueryOptions, Trigger,
};

/// The options of a query. Made by [`StreamingContext::builder`].
#[derive(Debug, Clone)]
pub struct ContextBuilder {
    options: QueryOptions,
    placement: Placement,
    threads: Option<NonZeroUsize>,
    partitions: Option<usize>,
}
impl ContextBuilder {
    pub(super) fn new(name: String) -> Self {
        let options = QueryOptions {
            name,
            trigger: Trigger::default(),
            partitions: 1,
            limits: ReadLimits::default(),
            retries_max: 3,
            retry_wait: Duration::from_millis(100),
            clock: Arc::new(SystemClock::new()),
            pool: None,
            listeners: Vec::new(),
            checkpoint: None,
            bad_records_max: BadRecordsMax::default(),
            on_end: OnEnd::default(),
            batch_size: BatchSize::default(),
            backpressure: None,
            max_rows_per_second: BTreeMap::new(),
            memory: None,
            state_memory: None,
            spill_folder: None,
        };
        Self { options, placement: Placement::default(), threads: None, partitions: None }
    }

    /// A batch every so often. The same as `trigger(Trigger::Interval(interval))`.
    #[must_use]
    pub fn batch_interval(self, interval: Duration) -> Self {
        self.trigger(Trigger::Interval(interval))
    }

    /// When batches are cut.
    #[must_use]
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.options.trigger = trigger;
        self
    }

    /// Partitions of a batch at most. Without it: one a thread.
    #[must_use]
    pub fn partitions(mut self, partitions: usize) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// Threads that the query computes on. Without it: one a core.
    #[must_use]
    pub fn threads(mut self, threads: NonZeroUsize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Threads that the query computes on, shared with other queries of the process.
    #[must_use]
    pub fn pool(mut self, pool: Arc<rayon::ThreadPool>) -> Self {
        self.options.pool = Some(pool);
        self
    }

    /// How much of each source a batch may take.
    #[must_use]
    pub fn limits(mut self, limits: ReadLimits) -> Self {
        self.options.limits = limits;
        self
    }

    /// How often a step that failed for a cause that may pass is tried again, and the wait before the first time.
    #[must_use]
    pub fn retries(mut self, times: u32, wait: Duration) -> Self {
        self.options.retries_max = times;
        self.options.retry_wait = wait;
        self
    }

    /// What the query runs on.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.placement.device = device;
        self
    }

    /// What stages run on, in full: also which adapter, and whether it is an error if they cannot.
    #[must_use]
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Where the query takes the time from; tests bring a clock of their own.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.options.clock = Arc::new(clock);
        self
    }

    /// A folder in which the query writes down how far it has come. Started again with the same folder, it goes on there:
    /// with the same cuts, and files that are the same byte for byte.
    #[must_use]
    pub fn checkpoint(self, directory: impl AsRef<Path>) -> Self {
        let store = Arc::new(FolderStore::new(directory.as_ref()));
        self.checkpoint_at(CheckpointPlace { store, options: CheckpointOptions::default() })
    }

    /// As [`ContextBuilder::checkpoint`], on any storage and with options.
    #[must_use]
    pub fn checkpoint_at(mut self, place: CheckpointPlace) -> Self {
        self.options.checkpoint = Some(place);
        self
    }

    /// How many bad records a batch may have. One with more stops the query before anything of it is written; the error
    /// has the first examples.
    #[must_use]
    pub fn bad_records_max(mut self, most: BadRecordsMax) -> Self {
        self.options.bad_records_max = most;
        self
    }

    /// What becomes of windows and sessions that are open when the query has read all there is and ends by itself, as it
    /// does with [`Trigger::AvailableNow`] and [`Trigger::Once`]. Without it they stay open.
    #[must_use]
    pub fn on_end(mut self, on_end: OnEnd) -> Self {
        self.options.on_end = on_end;
        self
    }

    /// How large a batch may become: by how long it takes, by its bytes, by its rows.
    #[must_use]
    pub fn batch_size(mut self, size: BatchSize) -> Self {
        self.options.batch_size = size;
        self
    }

    /// Slows sources down when batches take longer than the interval, as `spark.streaming.backpressure.enabled` does.
    /// Needs a trigger with an interval.
    #[must_use]
    pub fn backpressure(mut self, backpressure: Backpressure) -> Self {
        self.options.backpressure = Some(backpressure);
        self
    }

    /// How many bytes may be in flight: read, and not yet committed. Queries that are given clones share it. A batch takes
    /// at most half of it, so that the next one can be read while it is written.
    #[must_use]
    pub fn memory_budget(mut self, budget: MemoryBudget) -> Self {
        self.options.memory = Some(budget);
        self
    }

    /// About how many bytes may be kept in memory from batch to batch; what is more goes to the
    /// [spill folder](Self::spill_folder), by key group. Default: half of the [memory budget](Self::memory_budget), beside what
    /// is in flight; any number without a budget.
    #[must_use]
    pub fn state_memory(mut self, bytes: u64) -> Self {
        self.options.state_memory = Some(bytes);
        self
    }

    /// The folder for what is kept from batch to batch and has no room in memory. The query has a folder of its own in it,
    /// which is emptied when it starts and gone when it ends. Default: `pelton-spill` in the system's temporary folder.
    #[must_use]
    pub fn spill_folder(mut self, folder: impl Into<std::path::PathBuf>) -> Self {
        self.options.spill_folder = Some(folder.into());
        self
    }

    /// Calls a closure with the progress record of each batch, on the query's thread.
    #[must_use]
    pub fn on_progress(mut self, listener: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        let listener: Listener = Arc::new(listener);
        self.options.listeners.push(listener);
        self
    }

    /// The context.
    ///
    /// # Errors
    /// `InvalidOption`: an option outside its range.
    pub fn build(mut self) -> Result<StreamingContext> {
        if self.options.name.is_empty() {
            return Err(Error::new(ErrorKind::InvalidOption, "the query's name is empty"));
        }
        let threads = match (&self.options.pool, self.threads) {
            (Some(pool), _) => pool.current_num_threads(),
            (None, Some(threads)) => threads.get(),
            (None, None) => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        };
        self.options.partitions = self.partitions.unwrap_or(threads);
        if self.options.partitions == 0 {
            return Err(Error::new(ErrorKind::InvalidOption, "0 partitions cannot hold rows").advice("give at least 1"));
        }
        if let Some(share) = self.options.bad_records_max.share
            && !(0.0..=1.0).contains(&share)
        {
            return Err(Error::new(ErrorKind::InvalidOption, format!("{share} is no share of bad records"))
                .advice("give a number from 0 to 1"));
        }
        check_pace(&self.options)?;
        if threads > THREADS_MAX {
            return Err(Error::new(ErrorKind::InvalidOption, format!("{threads} threads are too many"))
                .advice(format!("give at most {THREADS_MAX}; one a core is best")));
        }
        if self.options.pool.is_none() {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("pelton-{index}"));
            let pool = pool.build().map_err(|error| {
                Error::new(ErrorKind::Connector, format!("cannot start {threads} threads: {error}")).because(error)
            })?;
            self.options.pool = Some(Arc::new(pool));
        }
        Ok(StreamingContext { options: self.options, placement: self.placement, draft: Arc::default() })
    }
}

/// Refuses bounds of batches that nothing could keep.
fn check_pace(options: &QueryOptions) -> Result<()> {
    let refused = |message: &str| Err(Error::new(ErrorKind::InvalidOption, message));
    let BatchSize { max_latency, max_bytes, max_rows } = options.batch_size;
    if max_latency.is_some_and(|latency| latency.is_zero()) || max_bytes == Some(0) || max_rows == Some(0) {
        return refused("a batch of no time, bytes or rows is none");
    }
    if options.memory.as_ref().is_some_and(|memory| memory.total() == 0) {
        return refused("without any memory nothing can be read");
    }
    let Some(backpressure) = options.backpressure else { return Ok(()) };
    if let Some(mistake) = backpressure.mistake() {
        return refused(mistake);
    }
    match options.trigger {
        Trigger::Interval(interval) if !interval.is_zero() => Ok(()),
        _ => Err(Error::new(ErrorKind::InvalidOption, "backpressure needs a trigger with an interval")
            .advice("give an interval, or bound batches by max_latency")),
    }
}
