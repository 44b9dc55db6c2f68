//! A streaming query in the making: its options, its sources and its outputs.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::dstream::DStream;
use crate::checkpoint::{CheckpointOptions, FolderStore};
use crate::clock::{Clock, SystemClock};
use crate::columnar::Schema;
use crate::connectors::directory::DirectorySource;
use crate::connectors::{ReadLimits, Repeat, Replay, Sink, Source};
use crate::dispatch::{Device, Dispatcher, Placement};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::{Format, FormatKind, FormatOptions};
use crate::kernels::cpu::group_ids;
use crate::limits::THREADS_MAX;
use crate::plan::explain;
use crate::plan::stage::{Registry, SourceId};
use crate::plan::{self, LogicalPlan};
use crate::profile::{self, Profile};
use crate::runtime::executor::Executor;
use crate::runtime::progress::Listener;
use crate::runtime::quarantine;
use crate::runtime::{
    Backpressure, BadRecordsMax, BatchSize, CheckpointPlace, MemoryBudget, OnEnd, Progress, QueryDefinition,
    QueryOptions, RunningQuery, Trigger,
};
use crate::suggest;

/// Where a streaming query begins.
///
/// ```
/// use pelton::prelude::*;
/// use pelton::connectors::memory::MemorySink;
///
/// # fn main() -> Result<()> {
/// let folder = tempfile::tempdir().map_err(|error| Error::io("", "make a folder", error))?;
/// std::fs::write(folder.path().join("numbers.txt"), "1 2 3\n10 20\n").map_err(|error| Error::io("", "write", error))?;
///
/// let context = StreamingContext::builder("average").trigger(Trigger::AvailableNow).build()?;
/// let averages = MemorySink::new();
/// context
///     .text_file_stream(folder.path())?
///     .map_lines(|line| {
///         let numbers: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
///         numbers.iter().sum::<f64>() / numbers.len() as f64
///     })
///     .write(averages.clone())?;
/// let totals = context.start()?.await_termination()?;
/// assert_eq!((totals.batches, totals.rows_in, totals.rows_out), (1, 2, 2));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StreamingContext {
    options: QueryOptions,
    placement: Placement,
    draft: Arc<Mutex<Draft>>,
}

/// What streams enter into while a query is described.
#[derive(Debug, Default)]
pub(super) struct Draft {
    sources: Vec<(String, Box<dyn Source>)>,
    pub(super) registry: Registry,
    outputs: Vec<Output>,
    quarantine: Option<Box<dyn Sink>>,
    max_rows_per_second: BTreeMap<String, u64>,
    profiled: Vec<(SourceId, Profile)>,
    started: bool,
}

#[derive(Debug)]
struct Output {
    name: String,
    plan: Arc<LogicalPlan>,
    sink: Box<dyn Sink>,
}

impl Draft {
    pub(super) fn add_output(&mut self, name: String, plan: Arc<LogicalPlan>, sink: Box<dyn Sink>) -> Result<()> {
        if self.started {
            return Err(already_started());
        }
        self.outputs.push(Output { name, plan, sink });
        Ok(())
    }
}

fn already_started() -> Error {
    Error::new(ErrorKind::Closed, "the query has been started").advice("build another context for another query")
}

/// The options of a query. Made by [`StreamingContext::builder`].
#[derive(Debug, Clone)]
pub struct ContextBuilder {
    options: QueryOptions,
    placement: Placement,
    threads: Option<NonZeroUsize>,
    partitions: Option<usize>,
}

impl StreamingContext {
    /// Starts a query of this name. Without options: a batch a second, a partition a core, whatever device is fastest.
    pub fn builder(name: impl Into<String>) -> ContextBuilder {
        ContextBuilder::new(name.into())
    }

    /// A query that goes on where its checkpoint stands, or begins anew if there is none yet. `create` describes it, each
    /// time alike; it is given the builder with name and checkpoint.
    ///
    /// ```
    /// use pelton::prelude::*;
    ///
    /// # fn main() -> Result<()> {
    /// let folder = tempfile::tempdir().map_err(|error| Error::io("", "make a folder", error))?;
    /// let rows = || -> Result<u64> {
    ///     let context = StreamingContext::get_or_create("lines", folder.path().join("checkpoint"), |builder| {
    ///         let context = builder.trigger(Trigger::AvailableNow).build()?;
    ///         context.text_file_stream(folder.path())?.print(0)?;
    ///         Ok(context)
    ///     })?;
    ///     Ok(context.start()?.await_termination()?.rows_in)
    /// };
    /// std::fs::write(folder.path().join("a.txt"), "1\n2\n").map_err(|error| Error::io("", "write", error))?;
    /// assert_eq!(rows()?, 2);
    /// std::fs::write(folder.path().join("b.txt"), "3\n").map_err(|error| Error::io("", "write", error))?;
    /// assert_eq!(rows()?, 1, "what was read before is not read again");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `create` says.
    pub fn get_or_create(
        name: impl Into<String>,
        checkpoint: impl AsRef<Path>,
        create: impl FnOnce(ContextBuilder) -> Result<Self>,
    ) -> Result<Self> {
        create(Self::builder(name).checkpoint(checkpoint))
    }

    /// A stream of the rows of any source.
    ///
    /// # Errors
    /// `Closed` if the query has started.
    pub fn source(&self, name: impl Into<String>, source: impl Source + 'static) -> Result<DStream> {
        self.boxed_source(name, Box::new(source))
    }

    /// As [`StreamingContext::source`], for a source chosen at run time.
    ///
    /// # Errors
    /// `Closed` if the query has started.
    pub fn boxed_source(&self, name: impl Into<String>, source: Box<dyn Source>) -> Result<DStream> {
        let (name, schema) = (name.into(), source.schema());
        let mut draft = self.draft();
        if draft.started {
            return Err(already_started());
        }
        draft.sources.push((name.clone(), source));
        let source = SourceId(draft.sources.len() - 1);
        drop(draft);
        Ok(DStream::new(Arc::clone(&self.draft), LogicalPlan::Source { source, name, schema }))
    }

    /// A stream of the records of the files that appear in a directory, under a glob pattern, or of one file.
    ///
    /// # Errors
    /// A directory that does not exist or cannot be listed.
    pub fn file_stream(&self, path: impl AsRef<Path>, format: Arc<dyn Format>) -> Result<DStream> {
        let name = path.as_ref().display().to_string();
        let source = DirectorySource::new(path, format)?.clock(Arc::clone(&self.options.clock));
        self.source(name, source)
    }

    /// Has columns of a source profiled in the pass that reads them: of these names, or all of them. What they hold is in
    /// each batch's [`Progress`](crate::runtime::Progress), and for all batches in [`RunningQuery::profiles`]. A source that
    /// is named again has the columns profiled that are named last.
    ///
    /// # Errors
    /// `InvalidOption` for a source or a column that there is not, `Closed` if the query has started.
    pub fn profile(&self, source: &str, columns: Option<&[String]>) -> Result<()> {
        let mut draft = self.draft();
        if draft.started {
            return Err(already_started());
        }
        let Some(index) = draft.sources.iter().position(|(name, _)| name == source) else {
            let names = draft.sources.iter().map(|(name, _)| name.as_str());
            let message = format!("there is no source \"{source}\" that could be profiled");
            let advice = suggest::advice(source, "sources", names);
            return Err(Error::new(ErrorKind::InvalidOption, message).advice(advice));
        };
        let schema = draft.sources[index].1.schema();
        let empty = Profile::new(&schema, &profile::places(&schema, columns)?)?;
        draft.profiled.push((SourceId(index), empty));
        Ok(())
    }

    /// Where records go that are left out and kept: those of sources whose policy is
    /// [`Quarantine`](crate::formats::BadRecordPolicy::Quarantine), and rows that break a rule with that verdict. They are written under the batch's id, as rows of
    /// [`quarantine::schema`](crate::runtime::quarantine::schema()).
    ///
    /// ```
    /// use pelton::connectors::memory::MemorySink;
    /// use pelton::formats::{BadRecordPolicy, FormatKind, FormatOptions};
    /// use pelton::prelude::*;
    ///
    /// # fn main() -> Result<()> {
    /// # let folder = tempfile::tempdir().map_err(|error| Error::io("", "make a folder", error))?;
    /// let file = folder.path().join("ages.csv");
    /// std::fs::write(&file, "age\n41\nold\n").map_err(|error| Error::io("", "write", error))?;
    /// let schema = Schema::new(vec![Field::new("age", DataType::Int64, true)]);
    /// let csv = FormatOptions::new(FormatKind::Csv).with_schema(schema.into()).with_policy(BadRecordPolicy::Quarantine);
    ///
    /// let context = StreamingContext::builder("ages").trigger(Trigger::AvailableNow).build()?;
    /// let aside = MemorySink::new();
    /// context.quarantine(aside.clone())?;
    /// context.file_stream(&file, csv.build(None)?)?.print(0)?;
    /// let totals = context.start()?.await_termination()?;
    /// assert_eq!((totals.rows_out, totals.quarantined), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Closed` if the query has started, `InvalidQuery` if it has a quarantine.
    pub fn quarantine(&self, sink: impl Sink + 'static) -> Result<()> {
        let mut draft = self.draft();
        if draft.started {
            return Err(already_started());
        }
        if draft.quarantine.is_some() {
            return Err(Error::invalid_query("the query has a quarantine already"));
        }
        draft.quarantine = Some(Box::new(sink));
        Ok(())
    }

    /// The most rows a second that are read of the source of this name, over any time: what is not read in one second is
    /// not made up for in the next. Of sources that cannot count rows before they read them (files), it holds on average.
    ///
    /// # Errors
    /// `InvalidOption` for zero rows, or without such a source.
    pub fn max_rows_per_second(&self, source: &str, rows: u64) -> Result<()> {
        let mut draft = self.draft();
        if rows == 0 {
            return Err(Error::new(ErrorKind::InvalidOption, "with 0 rows a second nothing is ever read")
                .advice("give at least 1"));
        }
        if !draft.sources.iter().any(|(name, _)| name == source) {
            let message = format!("there is no source \"{source}\" whose rows a second could be bounded");
            return Err(Error::new(ErrorKind::InvalidOption, message).advice("add the source first"));
        }
        draft.max_rows_per_second.insert(source.to_owned(), rows);
        Ok(())
    }

    /// What will run: the logical plan of each output, the fused stages, and what each runs on and why.
    ///
    /// # Errors
    /// As [`StreamingContext::start`].
    pub fn explain(&self) -> Result<String> {
        let draft = self.draft();
        let mut text = String::new();
        for output in &draft.outputs {
            text.push_str(&format!("output \"{}\"\n{}\n", output.name, explain::logical(&output.plan)));
        }
        let plans = draft.outputs.iter().map(|output| Arc::clone(&output.plan)).collect::<Vec<_>>();
        let plan = plan::plan(&plans)?;
        let dispatcher = Dispatcher::new(self.placement.clone());
        let names = draft.sources.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let runs_on = |stage: &plan::stage::Stage| match dispatcher.choose(stage) {
            Ok((backend, reason)) => {
                let group_ids = if backend.name() == "cpu" { group_ids::possible(stage) } else { None };
                let group_ids = group_ids.map_or(String::new(), |text| format!("\n  {text}"));
                format!("{} ({reason}){group_ids}", backend.name())
            }
            Err(error) => error.message().to_owned(),
        };
        text.push_str(&explain::physical(&plan, &draft.registry, &names, &runs_on));
        for (output, stage) in draft.outputs.iter().zip(&plan.outputs) {
            text.push_str(&format!("output \"{}\" takes stage {}\n", output.name, stage.0));
        }
        Ok(text)
    }

    /// Checks all that can be checked without reading data: plans, stages, and what they run on.
    ///
    /// # Errors
    /// As [`StreamingContext::start`].
    pub fn check(&self) -> Result<()> {
        let draft = self.draft();
        prepare(&draft, &self.placement).map(drop)
    }

    /// Where a query with a checkpoint does not give each row exactly once after a crash: a sentence for each source and
    /// sink that cannot. Without a checkpoint nothing is promised.
    pub fn weaknesses(&self) -> Vec<String> {
        if self.options.checkpoint.is_none() {
            return Vec::new();
        }
        let draft = self.draft();
        let forgets = |(_, source): &&(String, Box<dyn Source>)| source.replay() != Replay::Always;
        let sources = draft.sources.iter().filter(forgets).map(|(name, _)| {
            format!("source \"{name}\" cannot be read again: what was read and not committed is lost with the process")
        });
        let sinks = draft.outputs.iter().filter(|output| output.sink.repeat() == Repeat::Appends).map(|output| {
            let name = &output.name;
            format!("sink \"{name}\" gives at least once: the batch that a crash interrupts comes a second time")
        });
        sources.chain(sinks).collect()
    }

    /// Starts the query.
    ///
    /// # Errors
    /// `InvalidQuery` without outputs, `Closed` if it was started before, and a sink that cannot be opened.
    pub fn start(&self) -> Result<RunningQuery> {
        let mut draft = self.draft();
        if draft.started {
            return Err(already_started());
        }
        let mut executor = prepare(&draft, &self.placement)?;
        draft.started = true;
        draft.profiled.drain(..).for_each(|(source, empty)| executor.profile(source, empty));
        let mut sources = std::mem::take(&mut draft.sources);
        for (index, (_, source)) in sources.iter_mut().enumerate() {
            source.narrow(&executor.columns_read(SourceId(index)));
        }
        let sinks = draft.outputs.drain(..).map(|output| (output.name, output.sink)).collect();
        let quarantine = draft.quarantine.take();
        let max_rows_per_second = std::mem::take(&mut draft.max_rows_per_second);
        let options = QueryOptions { max_rows_per_second, ..self.options.clone() };
        RunningQuery::start(QueryDefinition { executor, sources, sinks, quarantine }, options)
    }

    /// The clock of the query.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.options.clock
    }

    fn draft(&self) -> MutexGuard<'_, Draft> {
        self.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn prepare(draft: &Draft, placement: &Placement) -> Result<Executor> {
    if draft.outputs.is_empty() {
        return Err(
            Error::invalid_query("the query has no output").advice("end a stream with write, print or foreach_batch")
        );
    }
    if draft.quarantine.is_none()
        && let Some((name, _)) = draft.sources.iter().find(|(_, source)| source.may_quarantine())
    {
        return Err(quarantine::missing(&format!("source \"{name}\"")));
    }
    let plans = draft.outputs.iter().map(|output| Arc::clone(&output.plan)).collect::<Vec<_>>();
    let executor = Executor::prepare(plan::plan(&plans)?, &draft.registry, &Dispatcher::new(placement.clone()))?;
    if draft.quarantine.is_none() && executor.may_quarantine() {
        return Err(quarantine::missing("a rule"));
    }
    Ok(executor)
}

impl ContextBuilder {
    fn new(name: String) -> Self {
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

/// The schema of text lines is known; that of other files is given or read from a file.
impl StreamingContext {
    /// A stream of the lines of text files, as the column `line`.
    ///
    /// # Errors
    /// As [`StreamingContext::file_stream`].
    pub fn text_file_stream(&self, path: impl AsRef<Path>) -> Result<DStream> {
        self.file_stream(path, FormatOptions::new(FormatKind::Text).build(None)?)
    }

    /// A stream of the rows of CSV files with a header.
    ///
    /// # Errors
    /// As [`StreamingContext::file_stream`].
    pub fn csv_file_stream(&self, path: impl AsRef<Path>, schema: Schema) -> Result<DStream> {
        self.file_stream(path, FormatOptions::new(FormatKind::Csv).with_schema(Arc::new(schema)).build(None)?)
    }

    /// A stream of the objects of NDJSON files.
    ///
    /// # Errors
    /// As [`StreamingContext::file_stream`].
    pub fn json_file_stream(&self, path: impl AsRef<Path>, schema: Schema) -> Result<DStream> {
        self.file_stream(path, FormatOptions::new(FormatKind::Ndjson).with_schema(Arc::new(schema)).build(None)?)
    }
}
