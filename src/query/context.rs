//! A streaming query in the making: its options, its sources and its outputs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::builder::ContextBuilder;
use super::dstream::DStream;
use crate::clock::Clock;
use crate::columnar::Schema;
use crate::connectors::directory::DirectorySource;
use crate::connectors::{Repeat, Replay, Sink, Source};
use crate::dispatch::{Dispatcher, Placement};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::{Format, FormatKind, FormatOptions};
use crate::kernels::cpu::group_ids;
use crate::plan::codes::codable;
use crate::plan::explain;
use crate::plan::stage::{Registry, SourceId};
use crate::plan::{self, LogicalPlan, QueryPlan};
use crate::profile::{self, Profile};
use crate::runtime::executor::Executor;
use crate::runtime::quarantine;
use crate::runtime::{QueryDefinition, QueryOptions, RunningQuery};
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
    pub(super) options: QueryOptions,
    pub(super) placement: Placement,
    pub(super) draft: Arc<Mutex<Draft>>,
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
                let on_cpu = if backend.name().starts_with("cpu") { group_ids::possible(stage) } else { None };
                let group_ids =
                    on_cpu.or_else(|| backend.group_ids(stage)).map_or(String::new(), |text| format!("\n  {text}"));
                format!("{} ({reason}){group_ids}", backend.name())
            }
            Err(error) => error.message().to_owned(),
        };
        text.push_str(&explain::physical(&plan, &draft.registry, &names, &runs_on));
        for (source, coded) in &planned(&draft, &dispatcher)?.coded {
            let columns = coded.columns.iter().map(|&index| coded.plain.input_schema.field(index).name().as_str());
            let columns = columns.collect::<Vec<_>>().join(", ");
            text.push_str(&format!("source \"{}\" is read with codes for {columns}\n", names[source.0]));
        }
        for (output, stage) in draft.outputs.iter().zip(&plan.outputs) {
            text.push_str(&format!("output \"{}\" takes stage {}\n", output.name, stage.0));
        }
        let may_spill = plan.stages.iter().filter_map(|stage| Some((stage.id.0, stage.operator()?)));
        for (stage, _) in may_spill.filter(|(_, operator)| operator.may_spill()) {
            if let Some((bytes, folder)) = self.options.room() {
                let folder = folder.display();
                text.push_str(&format!(
                    "stage {stage} keeps about {bytes} bytes in memory, and what is more in \"{folder}\"\n"
                ));
            }
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
            source.read_as_codes(&executor.columns_coded(SourceId(index)));
            source.narrow(&executor.columns_read(SourceId(index)));
            source.bound(&executor.bounds(SourceId(index)));
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
    let dispatcher = Dispatcher::new(placement.clone());
    let executor = Executor::prepare(planned(draft, &dispatcher)?, &draft.registry, &dispatcher)?;
    if draft.quarantine.is_none() && executor.may_quarantine() {
        return Err(quarantine::missing("a rule"));
    }
    Ok(executor)
}

/// The plan of all outputs. Texts of which codes are enough are read as codes where the CPU runs what reads them; a profile
/// is of the texts.
fn planned(draft: &Draft, dispatcher: &Dispatcher) -> Result<QueryPlan> {
    let plans = draft.outputs.iter().map(|output| Arc::clone(&output.plan)).collect::<Vec<_>>();
    let mut plan = plan::plan(&plans)?;
    for (index, (_, source)) in draft.sources.iter().enumerate() {
        let id = SourceId(index);
        let Some(reader) = plan.only_reader(id) else { continue };
        let is_profiled = draft.profiled.iter().any(|(profiled, _)| *profiled == id);
        let wanted = codable(reader);
        if !wanted.is_empty() && !is_profiled && dispatcher.choose(reader)?.0.name() == "cpu" {
            plan.read_as_codes(id, source.codable(&wanted));
        }
    }
    Ok(plan)
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
