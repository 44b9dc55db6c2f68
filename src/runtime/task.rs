//! A task: one partition of a batch on its way through a stage, on one thread.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow_array::RecordBatchOptions;

use super::quarantine::{self, AsideBytes, Quarantined};
use crate::clock::Clock;
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::{BatchReader, ReadReport};
use crate::kernels::user_function::panic_text;
use crate::kernels::{Findings, Flow, Moment, Partial, PreparedStage, Sighting};
use crate::plan::stage::{SourceId, Stage};
use crate::profile::Profile;

/// What a task takes its batches from.
pub(super) enum Feed {
    Reader(SourceId, Box<dyn BatchReader>),
    Batches(Vec<RecordBatch>),
}

impl Feed {
    /// The part of its source whose event times are told apart, under a name that no part of another source has.
    fn part(&self) -> Option<String> {
        match self {
            Self::Reader(source, reader) => reader.source_part().map(|part| format!("{}/{part}", source.0)),
            Self::Batches(_) => None,
        }
    }
}

/// What a task gave.
pub(super) struct TaskDone {
    pub(super) partial: Partial,
    pub(super) seen: Sighting,
    pub(super) report: ReadReport,
    pub(super) reading: Duration,
    /// Records that could not be read.
    pub(super) quarantined: Vec<Arc<Quarantined>>,
    /// Rows that broke rules.
    pub(super) broken: Vec<Arc<Quarantined>>,
    pub(super) findings: Findings,
    pub(super) flow: Option<Flow>,
    pub(super) source: Option<SourceId>,
    pub(super) profile: Option<Profile>,
}

/// What all tasks of a stage are given.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub(super) moment: &'a Moment,
    pub(super) clock: &'a dyn Clock,
    pub(super) abandon: &'a AtomicBool,
    pub(super) aside: &'a AsideBytes,
    pub(super) profiled: &'a BTreeMap<SourceId, Profile>,
}

/// Runs one: batch by batch through the stage.
pub(super) fn run_task(
    stage: &Stage,
    prepared: &dyn PreparedStage,
    feed: Feed,
    Surroundings { moment, clock, abandon, aside, profiled }: Surroundings<'_>,
) -> Result<TaskDone> {
    let work = || {
        let mut task = prepared.begin_at(moment)?;
        let mut report = ReadReport::default();
        let mut reading = Duration::ZERO;
        let mut quarantined = Vec::new();
        let mut findings = Findings::default();
        let mut broken = Vec::new();
        let mut given = 0;
        let part = feed.part();
        let source = if let Feed::Reader(source, _) = &feed { Some(*source) } else { None };
        let mut profile = source.and_then(|source| profiled.get(&source)).cloned();
        let mut push = |batch: &RecordBatch| {
            if abandon.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Closed, "the query was stopped"));
            }
            task.push(under_schema(batch, &stage.input_schema)?.as_ref())?;
            given += batch.num_rows() as u64;
            let mut found = task.take_findings();
            broken.extend(quarantine::rows_aside(&mut found, aside)?);
            findings.absorb(found);
            Ok(())
        };
        match feed {
            Feed::Batches(batches) => batches.iter().try_for_each(&mut push)?,
            Feed::Reader(source, mut reader) => {
                loop {
                    let started = clock.now();
                    let batch = reader.next_batch()?;
                    reading += clock.now().saturating_sub(started);
                    let records = reader.take_aside();
                    aside.add(records.iter())?;
                    let bad =
                        records.into_iter().map(|record| Quarantined { source: Some(source), rule: None, record });
                    quarantined.extend(bad.map(Arc::new));
                    let Some(batch) = batch else { break };
                    profile.as_mut().map_or(Ok(()), |profile| profile.push(&batch))?;
                    push(&batch)?;
                }
                report = reader.report();
                if report.rows != given {
                    let message = format!("a source reports {} rows, and its reader gave {given}", report.rows);
                    return Err(Error::internal(message));
                }
            }
        }
        task.settle()?;
        let (mut seen, flow) = (task.sighting(), task.flow());
        part.iter().for_each(|part| seen.belongs_to(part, stage.watermarks()));
        flow.map_or(Ok(()), |flow| flow.check(given))?;
        Ok(TaskDone {
            partial: task.finish()?,
            seen,
            report,
            reading,
            quarantined,
            broken,
            findings,
            flow,
            source,
            profile,
        })
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
