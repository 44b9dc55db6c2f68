//! How stages run over the partitions of a batch.
//!
//! Stages run one after another; within a stage each partition is a task of its own on the pool: it pulls a batch from
//! its reader, pushes it through the fused steps while it is warm in the cache, and goes on. Partials are merged in the
//! order of the partitions, so that the answer does not depend on who finished first. A single partition runs on the
//! calling thread, without any hand-over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rayon::prelude::*;

use super::micro_batch::MicroBatch;
use super::pace::SourceRead;
use super::progress::{StageDevice, StageFlow};
use super::quarantine::{self, AsideBytes, Quarantined};
use super::states::{StateHandle, States};
use super::tables::{TableVersions, Tables};
use super::task::{Feed, Surroundings, TaskDone, guarded, run_task};
use super::watermarks::EventTime;
use crate::checkpoint::{StatePart, StateParts};
use crate::clock::Clock;
use crate::columnar::{Field, RecordBatch, SchemaRef};
use crate::dispatch::{Device, Dispatcher, Placed};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::{BatchReader, Bound, Checksum, ReadReport};
use crate::kernels::spill::{Room, Spilled};
use crate::kernels::{Findings, Flow, Moment, Notice, Partial, Partitions, Sighting};
use crate::plan::QueryPlan;
use crate::plan::keep::Span;
use crate::plan::operator::Operator;
use crate::plan::rules::{RuleLabel, Verdict};
use crate::plan::stage::{End, NamedExpr, Registry, SourceId, Stage, StageInput};
use crate::profile::Profile;

/// Takes what an operator's state has become: its name, which part of it, and the rows.
type SaveState<'a> = &'a mut dyn FnMut(&str, StatePart, Vec<RecordBatch>) -> Result<()>;

/// The readers of one source's range, in the order of its rows.
pub type Readers = Vec<Box<dyn BatchReader>>;

/// The stages of a query, ready to run on batch after batch, and what they keep from one to the next.
pub struct Executor {
    plan: QueryPlan,
    placed: Vec<Placed>,
    tables: Tables,
    /// What stages keep, in their order.
    states: Arc<States>,
    /// How far event time had come after the latest batch that was done.
    time: EventTime,
    /// What has been done of a batch that is not done: it may run again.
    attempt: Option<Attempt>,
    /// What is to be known of the columns of sources: the profiles of no rows.
    profiled: BTreeMap<SourceId, Profile>,
    /// How much memory what stages keep may take, if there is a bound.
    room: Option<Room>,
}

/// What stages that keep state gave in a batch. They have taken it in, and must not again if the batch runs again.
struct Attempt {
    batch: u64,
    done: Vec<Option<Done>>,
}

#[derive(Clone, Default)]
struct Done {
    rows: Partitions,
    seen: Sighting,
    report: ReadReport,
    reading: Duration,
    partitions: usize,
    quarantined: Vec<Arc<Quarantined>>,
    findings: Findings,
    flow: Option<Flow>,
    checksums: BTreeMap<SourceId, Checksum>,
    read: BTreeMap<SourceId, SourceRead>,
    profiles: BTreeMap<SourceId, Profile>,
    /// How far event time was moved on, so that all that was open was closed.
    raised: Option<i64>,
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
    /// Whether all of it was read once before, and nothing of that counted.
    pub read_again: bool,
    /// Partitions that were read.
    pub partitions: usize,
    /// Trouble with devices, which changed no answer.
    pub notice: Notice,
    /// What was seen of event time.
    pub seen: Sighting,
    /// Groups that are kept from batch to batch.
    pub groups: u64,
    /// What of them is put away, if that may be.
    pub spilled: Option<Spilled>,
    /// How far event time has come with the batch.
    pub event_time: EventTime,
    /// What was left out and is kept.
    pub quarantined: Vec<Arc<Quarantined>>,
    /// What rules found; the rows that are kept are above.
    pub findings: Findings,
    /// Checksums of what was read of each source.
    pub checksums: BTreeMap<SourceId, Checksum>,
    /// How much was read of each source.
    pub read: BTreeMap<SourceId, SourceRead>,
    /// What the columns of sources hold of which that is asked.
    pub profiles: BTreeMap<SourceId, Profile>,
    /// Where the rows of each stage went.
    pub flows: Vec<StageFlow>,
    /// What the stages ran on that may run on either device.
    pub devices: Vec<StageDevice>,
}

impl Executor {
    /// Places and prepares all stages.
    ///
    /// # Errors
    /// A stage that no backend can run, or that is not what its functions say.
    pub fn prepare(plan: QueryPlan, registry: &Registry, dispatcher: &Dispatcher) -> Result<Self> {
        let placed: Vec<Placed> =
            plan.stages.iter().map(|stage| dispatcher.place(stage, registry)).collect::<Result<_>>()?;
        let keep = |(stage, placed): (&Stage, &Placed)| stage.operator().map(|_| placed.stage.keep()).transpose();
        let kept = plan.stages.iter().zip(&placed).map(keep).collect::<Result<_>>()?;
        let (tables, states) = (Tables::new(registry, dispatcher), Arc::new(States::new(kept)));
        let time = EventTime::default();
        Ok(Self { plan, placed, tables, states, time, attempt: None, profiled: BTreeMap::new(), room: None })
    }

    /// The stages that keep state from batch to batch: the name of each, and what it keeps.
    pub fn operators(&self) -> BTreeMap<String, String> {
        let kept = self.plan.stages.iter().filter_map(Stage::operator);
        kept.map(|operator| (operator.name().to_owned(), operator.description())).collect()
    }

    /// Reads the tables again that have changed, and prepares the stages anew that look rows up in them; gives what there is
    /// to tell.
    pub(super) fn reload_tables(&mut self) -> Result<Vec<String>> {
        let (changed, told) = self.tables.look();
        for (stage, placed) in self.plan.stages.iter().zip(&mut self.placed) {
            if changed.iter().any(|table| stage.reads_table(*table)) {
                *placed = self.tables.dispatcher.place(stage, &self.tables.registry)?;
            }
        }
        Ok(told)
    }

    /// The versions of tables that are in use.
    pub(super) fn table_versions(&self) -> TableVersions {
        self.tables.versions()
    }

    /// What may be looked at of what the stages keep.
    pub(super) fn handles(&self) -> Vec<StateHandle> {
        let handle = |(stage, placed): (usize, &Stage)| {
            let name = placed.operator()?.name().to_owned();
            let keys = match &placed.end {
                End::Keep(keep) => keep.plain_keys(),
                End::MapState(map) => &map.keys,
                End::FoldWindows(fold) => &fold.keys,
                End::DropDuplicates(drop) => &drop.columns,
                _ => &[],
            };
            let field = |key: &NamedExpr| Field::new(&key.name, key.expr.data_type.clone(), true);
            let keys = keys.iter().map(field).collect();
            Some(StateHandle { name, stage, keys, states: Arc::clone(&self.states) })
        };
        self.plan.stages.iter().enumerate().filter_map(handle).collect()
    }

    /// What the stages that keep state keep: their names, and each stage as text, without steps, for [`kept_groups`].
    pub(super) fn definitions(&self) -> Result<Vec<(String, String)>> {
        let kept = self.plan.stages.iter().filter_map(|stage| Some((stage, stage.operator()?)));
        let define = |(stage, operator): (&Stage, &dyn Operator)| {
            let bare = Stage { inputs: Vec::new(), steps: Vec::new(), ..self.plan.plain(stage).clone() };
            let text = serde_json::to_string(&bare)
                .map_err(|error| Error::internal(format!("a stage cannot be written down: {error}")).because(error))?;
            Ok((operator.name().to_owned(), text))
        };
        kept.map(define).collect()
    }

    /// Whether something that is kept may be put away.
    pub(super) fn can_spill(&self) -> bool {
        self.states.hold().all().iter().flatten().any(|kept| kept.can_spill())
    }

    /// Puts away what is kept and has no room in memory. Nothing is kept yet.
    pub(super) fn spill_to(&mut self, room: Room) {
        self.states.hold().all_mut().iter_mut().flatten().for_each(|kept| kept.spill_to(&room));
        self.room = Some(room);
    }

    /// Becomes what it was after a batch: `load` gives what was stored of an operator.
    pub(super) fn restore(
        &mut self,
        event_time: EventTime,
        pool: Option<&rayon::ThreadPool>,
        mut load: impl FnMut(&str) -> Result<StateParts>,
    ) -> Result<()> {
        self.time = event_time;
        for (stage, kept) in self.plan.stages.iter().zip(self.states.hold().all_mut()) {
            if let (Some(operator), Some(kept)) = (stage.operator(), kept) {
                let StateParts { snapshot, changes } = load(operator.name())?;
                let restore = || kept.restore(&snapshot.unwrap_or_default(), &changes);
                let restored = match pool {
                    Some(pool) => pool.install(restore),
                    None => restore(),
                };
                restored
                    .map_err(|error| error.context(format!("while restoring the state of \"{}\"", operator.name())))?;
            }
        }
        Ok(())
    }

    /// Gives what the batch changed of the state of each operator, and all of it if a snapshot is due, to `save`.
    pub(super) fn save(
        &mut self,
        is_snapshot_due: bool,
        pool: Option<&rayon::ThreadPool>,
        save: SaveState<'_>,
    ) -> Result<()> {
        for (stage, kept) in self.plan.stages.iter().zip(self.states.hold().all_mut()) {
            if let (Some(operator), Some(kept)) = (stage.operator(), kept) {
                let pool = pool.filter(|_| kept.uses_threads());
                let mut take =
                    || -> Result<_> { Ok((kept.changes()?, is_snapshot_due.then(|| kept.snapshot()).transpose()?)) };
                let (changes, snapshot) = match pool {
                    Some(pool) => pool.install(take),
                    None => take(),
                }?;
                save(operator.name(), StatePart::Changes, changes)?;
                if let Some(snapshot) = snapshot {
                    save(operator.name(), StatePart::Snapshot, snapshot)?;
                }
            }
        }
        Ok(())
    }

    /// The batch is in all sinks, and will not run again.
    pub(super) fn finish_batch(&mut self, event_time: EventTime) {
        self.time = event_time;
        self.attempt = None;
        self.states.settle();
    }

    /// When the latest batch was cut.
    pub(super) fn cut_at(&self) -> Option<Duration> {
        self.time.cut_at()
    }

    /// Whether time alone changes the answer, so that a batch without rows has to run as well, cut now.
    pub(super) fn waits_for_time(&self, now: Duration) -> bool {
        let due = self.states.hold().all().iter().flatten().filter_map(|kept| kept.due()).min();
        let spans = self.plan.stages.iter().filter_map(Stage::keep).map(|keep| &keep.span);
        spans.into_iter().any(|span| matches!(span, Span::Batches { .. }))
            || self.plan.stages.iter().any(|stage| matches!(stage.end, End::FoldWindows(_)))
            || self.plan.watermarks.iter().any(|watermark| watermark.idle_after.is_some())
            || due.is_some_and(|due| due <= i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
    }

    /// Whether something is open that event time would close.
    pub(super) fn has_open(&self) -> bool {
        self.states.hold().all().iter().flatten().any(|kept| kept.end().is_some())
    }

    /// The rules of the query, in the order of their ids.
    pub(super) fn rules(&self) -> Vec<&RuleLabel> {
        self.plan.rules()
    }

    /// The columns of a source that are looked at, by index.
    pub fn columns_read(&self, source: SourceId) -> BTreeSet<usize> {
        let mut columns = self.plan.columns_read(source);
        columns.extend(self.profiled.get(&source).into_iter().flat_map(Profile::places));
        columns
    }

    /// The columns of a source that it is to give as codes, by index.
    pub fn columns_coded(&self, source: SourceId) -> BTreeSet<usize> {
        self.plan.coded.get(&source).map(|coded| coded.columns.clone()).unwrap_or_default()
    }

    /// What rows of a source must keep to be looked at; nothing if all are profiled.
    pub fn bounds(&self, source: SourceId) -> Vec<Bound> {
        if self.profiled.contains_key(&source) { Vec::new() } else { self.plan.bounds(source) }
    }

    /// Has the columns of a source profiled that this profile of no rows is of.
    pub fn profile(&mut self, source: SourceId, empty: Profile) {
        self.profiled.insert(source, empty);
    }

    /// Whether a rule puts rows in quarantine.
    pub fn may_quarantine(&self) -> bool {
        self.rules().iter().any(|rule| rule.verdict == Verdict::Quarantine)
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
        &mut self,
        batch: &MicroBatch,
        sources: Vec<Readers>,
        pool: Option<&rayon::ThreadPool>,
        clock: &dyn Clock,
        abandon: &AtomicBool,
    ) -> Result<Computed> {
        let mut sources = sources.into_iter().map(Some).collect::<Vec<_>>();
        let mut uses = self.uses();
        let mut results: Vec<Partitions> = vec![Vec::new(); self.plan.stages.len()];
        let mut raised = Vec::new();
        let mut computed = Computed { event_time: self.time.clone(), ..Computed::default() };
        let mut attempt = self
            .attempt
            .take()
            .filter(|attempt| attempt.batch == batch.id)
            .unwrap_or_else(|| Attempt { batch: batch.id, done: vec![None; self.plan.stages.len()] });
        for index in 0..self.plan.stages.len() {
            let feeds = feeds(&self.plan.stages[index], &mut sources, &mut results, &mut uses)?;
            let mut done = match attempt.done[index].take() {
                Some(done) => done,
                None => {
                    let done = self.run_stage(index, batch, feeds, &computed, (pool, clock, abandon));
                    // What other stages have taken in is remembered even if this one fails.
                    done.inspect_err(|_| self.attempt = Some(Attempt { batch: batch.id, done: attempt.done.clone() }))?
                }
            };
            computed.seen.absorb(&done.seen);
            computed.report.absorb(done.report.clone());
            computed.reading += done.reading;
            computed.partitions += done.partitions;
            computed.quarantined.extend(done.quarantined.iter().cloned());
            computed.findings.absorb(done.findings.clone());
            computed.checksums.extend(done.checksums.clone());
            computed.read.extend(done.read.clone());
            computed.profiles.extend(done.profiles.clone());
            computed.flows.extend(done.flow.map(|flow| StageFlow { stage: index, flow }));
            if let Some(to) = done.raised {
                raised.push((self.plan.stages[index].asks(), to));
            }
            results[index] = if self.plan.stages[index].operator().is_some() {
                attempt.done[index].insert(done).rows.clone()
            } else {
                std::mem::take(&mut done.rows)
            };
            computed.notice.add(self.placed[index].stage.notice());
            let choice = self.placed[index].stage.choice();
            computed.devices.extend(choice.map(|choice| StageDevice { stage: index, choice }));
        }
        self.attempt = Some(attempt);
        computed.outputs = self.plan.outputs.iter().map(|id| take(&mut results[id.0], &mut uses[id.0])).collect();
        computed.event_time.see(&self.plan.watermarks, &computed.seen, batch.time);
        for asked in self.plan.stages.iter().map(Stage::asks).filter(|asked| !asked.is_empty()) {
            computed.event_time.advance(&self.plan.watermarks, &asked, batch.time);
        }
        raised.iter().for_each(|(asked, to)| computed.event_time.raise(asked, *to));
        computed.event_time.forget_idle(&self.plan.watermarks, batch.time);
        computed.groups = self.states.hold().all().iter().flatten().map(|kept| kept.groups()).sum();
        computed.spilled = self.room.as_ref().map(Room::spilled);
        Ok(computed)
    }

    fn run_stage(
        &mut self,
        index: usize,
        batch: &MicroBatch,
        feeds: Vec<Feed>,
        so_far: &Computed,
        (pool, clock, abandon): (Option<&rayon::ThreadPool>, &dyn Clock, &AtomicBool),
    ) -> Result<Done> {
        let (stage, placed) = (&self.plan.stages[index], &self.placed[index]);
        let partitions = feeds.iter().filter(|feed| matches!(feed, Feed::Reader(..))).count();
        let asked = stage.asks();
        let mut moment = Moment {
            time: batch.time,
            previous: self.time.cut_at(),
            horizon_before: self.time.horizon(&asked),
            horizon: None,
        };
        let aside = AsideBytes::default();
        let surroundings = Surroundings { moment: &moment, clock, abandon, aside: &aside, profiled: &self.profiled };
        let run_one = |feed| run_task(stage, placed.stage.as_ref(), feed, surroundings);
        let tasks: Vec<Result<TaskDone>> = match pool {
            Some(pool) if feeds.len() > 1 => pool.install(|| feeds.into_par_iter().map(run_one).collect()),
            _ => feeds.into_iter().map(run_one).collect(),
        };
        let mut done = Done { partitions, ..Done::default() };
        let mut partials = Vec::with_capacity(tasks.len());
        let mut broken = Vec::new();
        done.flow = Some(Flow::default());
        for task in tasks {
            let task = task?;
            if let Some(source) = task.source {
                let read = done.checksums.entry(source).or_default();
                *read = read.then(task.report.checksum);
                let read = done.read.entry(source).or_default();
                read.rows += task.report.rows;
                read.bytes += task.report.bytes;
                if let Some(part) = task.profile {
                    done.profiles.entry(source).and_modify(|whole| whole.absorb(&part)).or_insert(part);
                }
            }
            done.report.absorb(task.report);
            done.reading += task.reading;
            done.seen.absorb(&task.seen);
            done.quarantined.extend(task.quarantined);
            done.findings.absorb(task.findings);
            broken.extend(task.broken);
            done.flow = done.flow.zip(task.flow).map(|(mut all, one)| {
                all.absorb(&one);
                all
            });
            partials.push(task.partial);
        }
        // Rows that broke rules come after records that could not be read, so that the order is free of the cut.
        done.quarantined.append(&mut broken);
        let mut held = self.states.hold();
        done.rows = match held.taking_in(index) {
            None => merge(stage, placed, partials, pool)?,
            Some(kept) => {
                let mut seen = so_far.seen.clone();
                seen.absorb(&done.seen);
                let mut event_time = self.time.clone();
                event_time.see(&self.plan.watermarks, &seen, batch.time);
                moment.horizon = event_time.advance(&self.plan.watermarks, &asked, batch.time);
                if batch.is_last
                    && let Some(end) = kept.end()
                {
                    moment.horizon = moment.horizon.max(Some(end));
                    done.raised = moment.horizon;
                }
                let in_pool = uses_threads(&stage.end) || kept.uses_threads();
                let absorb = || guarded(|| kept.absorb(partials, &moment));
                let absorbed = match pool.filter(|_| in_pool) {
                    Some(pool) => pool.install(absorb),
                    None => absorb(),
                };
                let rows = absorbed.map_err(|error| error.context(format!("in stage {}", stage.id.0)))?;
                let mut found = kept.take_findings();
                done.quarantined.extend(quarantine::rows_aside(&mut found, &aside)?);
                if let Some(flow) = &mut done.flow {
                    flow.reject_at_end(&found);
                }
                done.findings.absorb(found);
                rows
            }
        };
        check_rows(stage, done.flow.as_ref(), &done.rows)?;
        Ok(done)
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

impl Drop for Executor {
    fn drop(&mut self) {
        self.states.end();
        // Others may still hold what is kept; what lies on disk goes with the query.
        self.room.iter().for_each(Room::end);
    }
}

/// The groups of an operator, as they would come out now: from what a checkpoint says that it keeps, and its state.
///
/// # Errors
/// `Corrupt` for what no query of this release writes.
pub fn kept_groups(definition: &str, state: &StateParts) -> Result<RecordBatch> {
    let stage: Stage = serde_json::from_str(definition).map_err(|error| {
        let message = format!("what an operator keeps is not what this release writes: {error}");
        Error::new(ErrorKind::Corrupt, message).because(error)
    })?;
    let placed = Dispatcher::new(Device::Cpu).place(&stage, &Registry::default())?;
    let mut kept = placed.stage.keep()?;
    kept.restore(state.snapshot.as_deref().unwrap_or_default(), &state.changes)?;
    kept.scan()
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("plan", &self.plan).field("placed", &self.placed).finish_non_exhaustive()
    }
}

/// Whether an end that passes all rows on has passed on all that reached it.
fn check_rows(stage: &Stage, flow: Option<&Flow>, rows: &Partitions) -> Result<()> {
    let passes_all = match &stage.end {
        End::Emit | End::Repartition(_) | End::Sort { limit: None, .. } => true,
        // What its rule left out does not count as having reached the end.
        End::DropDuplicates(drop) => drop.rule.is_some(),
        _ => false,
    };
    let Some(flow) = flow.filter(|_| passes_all) else { return Ok(()) };
    let given = rows.iter().flatten().map(|batch| batch.num_rows() as u64).sum::<u64>();
    match given == flow.rows_end {
        true => Ok(()),
        false => Err(Error::internal(format!(
            "{} rows reached the end of stage {}, which gave {given}",
            flow.rows_end, stage.id.0
        ))),
    }
}

/// Whether what ends a stage may run on several threads; all else is done here, without the hand-over to the pool, which
/// costs more than a batch with few rows.
fn uses_threads(end: &End) -> bool {
    match end {
        End::Reduce { .. }
        | End::MapState(_)
        | End::FoldWindows(_)
        | End::ReduceWith { .. }
        | End::Transform { .. } => true,
        End::Emit
        | End::Keep(_)
        | End::DropDuplicates(_)
        | End::JoinStreams(_)
        | End::Distinct { .. }
        | End::Sort { .. }
        | End::Limit(_)
        | End::Repartition(_) => false,
    }
}

fn merge(
    stage: &Stage,
    placed: &Placed,
    partials: Vec<Partial>,
    pool: Option<&rayon::ThreadPool>,
) -> Result<Partitions> {
    let merge = || guarded(|| placed.stage.merge(partials));
    let merged = match pool.filter(|_| uses_threads(&stage.end)) {
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
                feeds.extend(readers.into_iter().map(|reader| Feed::Reader(*id, reader)));
            }
            StageInput::Stage(id) => {
                let partitions = take(&mut results[id.0], &mut uses[id.0]);
                feeds.extend(partitions.into_iter().map(Feed::Batches));
            }
        }
    }
    Ok(feeds)
}
