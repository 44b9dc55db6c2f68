//! How stages run over the partitions of a batch.
//!
//! Stages run one after another; within a stage each partition is a task of its own on the pool: it pulls a batch from
//! its reader, pushes it through the fused steps while it is warm in the cache, and goes on. Partials are merged in the
//! order of the partitions, so that the answer does not depend on who finished first. A single partition runs on the
//! calling thread, without any hand-over.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow_array::RecordBatchOptions;
use rayon::prelude::*;

use crate::clock::Clock;
use crate::columnar::{RecordBatch, SchemaRef};
use crate::dispatch::{Dispatcher, Placed};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::{BatchReader, ReadReport};
use crate::kernels::user_function::panic_text;
use crate::kernels::{Notice, Partial, Partitions, PreparedStage};
use crate::plan::QueryPlan;
use crate::plan::stage::{Registry, Stage, StageInput};

/// The readers of one source's range, in the order of its rows.
pub type Readers = Vec<Box<dyn BatchReader>>;

/// The stages of a query, ready to run on batch after batch.
#[derive(Debug)]
pub struct Executor {
    plan: QueryPlan,
    placed: Vec<Placed>,
}

/// What running the stages over a batch gave.
#[derive(Debug, Default)]
pub struct Computed {
    /// The rows for each output.
    pub outputs: Vec<Partitions>,
    /// What the readers did.
    pub report: ReadReport,
    /// Time spent reading, the sum over all threads.
    pub reading: Duration,
    /// Partitions that were read.
    pub partitions: usize,
    /// Trouble with devices, which changed no answer.
    pub notice: Notice,
}

/// What a task takes its batches from.
enum Feed {
    Reader(Box<dyn BatchReader>),
    Batches(Vec<RecordBatch>),
}

struct TaskDone {
    partial: Partial,
    report: ReadReport,
    reading: Duration,
}

impl Executor {
    /// Places and prepares all stages.
    ///
    /// # Errors
    /// A stage that no backend can run, or that is not what its functions say.
    pub fn prepare(plan: QueryPlan, registry: &Registry, dispatcher: &Dispatcher) -> Result<Self> {
        let placed = plan.stages.iter().map(|stage| dispatcher.place(stage, registry)).collect::<Result<_>>()?;
        Ok(Self { plan, placed })
    }

    /// The stages that keep state from batch to batch: the name of each, and what it keeps.
    pub fn operators(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// The schema of each output.
    pub fn output_schemas(&self) -> Vec<SchemaRef> {
        self.plan.outputs.iter().map(|&id| Arc::clone(&self.plan.stage(id).output_schema)).collect()
    }

    /// Runs all stages over a batch. `sources` holds the readers of each source. Ends early, with an error of kind
    /// `Closed`, once `abandon` is set.
    ///
    /// # Errors
    /// Whatever a reader, a kernel or a function of the user's says; of several, that of the first partition.
    pub fn run(
        &self,
        sources: Vec<Readers>,
        pool: Option<&rayon::ThreadPool>,
        clock: &dyn Clock,
        abandon: &AtomicBool,
    ) -> Result<Computed> {
        let mut sources = sources.into_iter().map(Some).collect::<Vec<_>>();
        let mut uses = self.uses();
        let mut results: Vec<Partitions> = vec![Vec::new(); self.plan.stages.len()];
        let mut computed = Computed::default();
        for (stage, placed) in self.plan.stages.iter().zip(&self.placed) {
            let feeds = feeds(stage, &mut sources, &mut results, &mut uses)?;
            computed.partitions += feeds.iter().filter(|feed| matches!(feed, Feed::Reader(_))).count();
            let run_one = |feed| run_task(stage, placed.stage.as_ref(), feed, clock, abandon);
            let done: Vec<Result<TaskDone>> = match pool {
                Some(pool) if feeds.len() > 1 => pool.install(|| feeds.into_par_iter().map(run_one).collect()),
                _ => feeds.into_iter().map(run_one).collect(),
            };
            let mut partials = Vec::with_capacity(done.len());
            for task in done {
                let task = task?;
                computed.report.absorb(task.report);
                computed.reading += task.reading;
                partials.push(task.partial);
            }
            results[stage.id.0] = merge(stage, placed, partials, pool)?;
            computed.notice.add(placed.stage.notice());
        }
        computed.outputs = self.plan.outputs.iter().map(|id| take(&mut results[id.0], &mut uses[id.0])).collect();
        Ok(computed)
    }

    /// How often each stage's rows are used.
    fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.plan.stages.len()];
        let inputs = self.plan.stages.iter().flat_map(|stage| &stage.inputs);
        let stages = inputs.filter_map(|input| if let StageInput::Stage(id) = input { Some(id) } else { None });
        stages.chain(&self.plan.outputs).for_each(|id| uses[id.0] += 1);
        uses
    }
}

fn merge(
    stage: &Stage,
    placed: &Placed,
    partials: Vec<Partial>,
    pool: Option<&rayon::ThreadPool>,
) -> Result<Partitions> {
    let merge = || guarded(|| placed.stage.merge(partials));
    let merged = match pool {
        Some(pool) => pool.install(merge),
        None => merge(),
    };
    merged.map_err(|error| error.context(format!("in stage {}", stage.id.0)))
}

/// The rows, given away to the last who uses them so that they are freed early.
fn take(result: &mut Partitions, uses: &mut usize) -> Partitions {
    *uses -= 1;
    if *uses == 0 { std::mem::take(result) } else { result.clone() }
}

fn feeds(
    stage: &Stage,
    sources: &mut [Option<Readers>],
    results: &mut [Partitions],
    uses: &mut [usize],
) -> Result<Vec<Feed>> {
    let mut feeds = Vec::new();
    for input in &stage.inputs {
        match input {
            StageInput::Source(id) => {
                let readers = sources.get_mut(id.0).and_then(Option::take);
                let readers = readers.ok_or_else(|| Error::internal("two stages read the same source"))?;
                feeds.extend(readers.into_iter().map(Feed::Reader));
            }
            StageInput::Stage(id) => {
                let partitions = take(&mut results[id.0], &mut uses[id.0]);
                feeds.extend(partitions.into_iter().map(Feed::Batches));
            }
        }
    }
    Ok(feeds)
}

fn run_task(
    stage: &Stage,
    prepared: &dyn PreparedStage,
    feed: Feed,
    clock: &dyn Clock,
    abandon: &AtomicBool,
) -> Result<TaskDone> {
    let work = || {
        let mut task = prepared.begin()?;
        let mut report = ReadReport::default();
        let mut reading = Duration::ZERO;
        let mut push = |batch: &RecordBatch| {
            if abandon.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Closed, "the query was stopped"));
            }
            task.push(under_schema(batch, &stage.input_schema)?.as_ref())
        };
        match feed {
            Feed::Batches(batches) => batches.iter().try_for_each(&mut push)?,
            Feed::Reader(mut reader) => {
                loop {
                    let started = clock.now();
                    let batch = reader.next_batch()?;
                    reading += clock.now().saturating_sub(started);
                    let Some(batch) = batch else { break };
                    push(&batch)?;
                }
                report = reader.report();
            }
        }
        Ok(TaskDone { partial: task.finish()?, report, reading })
    };
    guarded(work).map_err(|error| error.context(format!("in stage {}", stage.id.0)))
}

/// The batch under the schema that the stage was planned for: inputs of a union may differ in what can be null.
pub(crate) fn under_schema<'a>(batch: &'a RecordBatch, schema: &SchemaRef) -> Result<Cow<'a, RecordBatch>> {
    if Arc::ptr_eq(batch.schema_ref(), schema) || batch.schema_ref() == schema {
        return Ok(Cow::Borrowed(batch));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let renamed = RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options);
    renamed.map(Cow::Owned).map_err(|error| {
        Error::internal(format!("a source or function broke its promise of a schema: {error}")).because(error)
    })
}

/// A panic on the way becomes an error: the query ends, the process goes on.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(panic) => Err(Error::internal(format!("a task panicked: {}", panic_text(panic.as_ref())))),
    }
}
