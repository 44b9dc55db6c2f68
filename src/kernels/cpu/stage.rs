//! A fused stage on the CPU: each batch goes through all steps while it lies in the cache, and into the end.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::SortOptions;

use super::count_windows::KeptCounts;
use super::direct::{Direct, Scratch};
use super::drop_duplicates::KeptRows;
use super::event_time::{self, TooLate};
use super::fold_windows::{KeptFolds, NamedFold};
use super::function::Function;
use super::group_ids::method::{Chosen, possible};
use super::initial::InitialRows;
use super::join_streams::KeptStreams;
use super::keep::KeptGroups;
use super::map_state::{KeptStates, NamedFunction};
use super::project::Program;
use super::reduce::columns::Columns;
use super::reduce::distinct::Distinct;
use super::reduce::reduce_with::{Folded, ReduceWith};
use super::reduce::{Groups, KeyedReduce};
use super::reduce_tasks::{add_cuts, combined, reduce_tasks};
use super::repartition::{limit, repartition};
use super::seen::Seen;
use super::sessions::KeptSessions;
use super::sort::{Keyed, Sorter, merge as merge_runs, merge_keyed};
use super::spare::Spare;
use super::step::{Ready, evaluate, key_programs, programs};
use super::stored;
use crate::columnar::{DataType, Field, RecordBatch, SchemaRef};
use crate::error::{Error, Result};
use crate::expr::TypedAggregate;
use crate::kernels::keep::first_open_pane;
use crate::kernels::sort as sort_contract;
use crate::kernels::{
    AddedCuts, Findings, Flow, Kept, Moment, Partial, Partitions, PreparedStage, Sighting, StageTask,
};
use crate::limits::ROWS_PER_READ_MAX;
use crate::plan::keep::{Keep, RowWindows, Span};
use crate::plan::operator::{DropDuplicates, FoldWindows, JoinStreams, MapState, Memory};
use crate::plan::stage::{End, GroupFunction, NamedExpr, Registry, SortKey, Stage};

/// A stage whose expressions are compiled and whose join tables are built.
pub(crate) struct CpuStage {
    steps: Arc<[Ready]>,
    pub(super) end: Arc<Ending>,
    /// The short way from the first picks to the end, if there is one.
    direct: Option<Arc<Direct>>,
    /// Of the rows that reach the end.
    pub(super) end_schema: SchemaRef,
    /// Of a keyed reduce.
    spare: Spare,
    /// How a keyed reduce has found its groups in the latest run.
    chosen: Mutex<Option<Chosen>>,
}

/// The end of a stage, ready to run.
pub(super) enum Ending {
    Emit,
    Limit(usize),
    Repartition(usize),
    Transform(Function),
    Reduce {
        keys: Vec<Program>,
        inputs: Vec<Option<Program>>,
        filters: Vec<Option<Program>>,
        reduce: KeyedReduce,
        /// Of groups that outlive their batch, the schema of what they give, and what they begin with.
        keep: Option<(Keep, SchemaRef, Option<InitialRows>)>,
    },
    /// Groups of windows by the number of rows, which is known only once all rows are there.
    CountWindows(Box<Keep>, RowWindows, SchemaRef),
    /// The function is missing where only its state is looked at; then the schema of what comes out, and what is
    /// remembered in the beginning.
    MapState(MapState, Option<NamedFunction>, SchemaRef, Option<InitialRows>),
    /// Likewise.
    FoldWindows(FoldWindows, Option<NamedFold>, SchemaRef),
    DropDuplicates(DropDuplicates, TooLate, SchemaRef),
    JoinStreams(JoinStreams, SchemaRef),
    Distinct(Vec<usize>),
    ReduceWith {
        keys: Vec<Program>,
        key_types: Vec<DataType>,
        name: String,
        call: Arc<dyn GroupFunction>,
    },
    Sort {
        keys: Vec<Program>,
        options: Vec<SortOptions>,
        limit: Option<usize>,
    },
}

/// What a task of a stage that groups hands over; a keyed reduce hands over the task itself.
pub(super) enum Held {
    Folded(Folded),
    Run(Keyed),
}

impl CpuStage {
    pub(crate) fn prepare(stage: &Stage, registry: &Registry) -> Result<Self> {
        let mut end_schema = Arc::clone(&stage.input_schema);
        let mut steps = Vec::with_capacity(stage.steps.len());
        for step in &stage.steps {
            let (ready, schema) = Ready::prepare(step, &end_schema, registry)?;
            match (steps.last_mut(), ready) {
                (Some(Ready::Filter(_, pick @ None)), Ready::Pick(columns, schema)) => *pick = Some((columns, schema)),
                (_, ready) => steps.push(ready),
            }
            end_schema = schema;
        }
        let end = Arc::new(Ending::prepare(stage, registry)?);
        let direct = match end.as_ref() {
            Ending::Reduce { reduce, .. } => Direct::compile(stage, reduce).map(Arc::new),
            _ => None,
        };
        Ok(Self { steps: steps.into(), end, direct, end_schema, spare: Spare::default(), chosen: Mutex::default() })
    }

    fn task(&self, state: State) -> Box<CpuTask> {
        let (steps, end, direct) = (Arc::clone(&self.steps), Arc::clone(&self.end), self.direct.clone());
        let (columns, scratch) = (Columns::default(), Scratch::default());
        Box::new(CpuTask { steps, end, direct, state, columns, scratch, horizon: None, seen: Seen::default() })
    }

    /// The partial that is these groups.
    pub(in crate::kernels) fn partial_of(&self, groups: Groups) -> Partial {
        Partial::Groups(self.task(State::Reduce(groups)))
    }

    /// All groups in one task, in the order of the partials; none without partials.
    pub(super) fn combined(&self, partials: Vec<Partial>) -> Result<Option<Box<CpuTask>>> {
        combined(partials, |task| self.spare.keep(task))
    }

    /// The schema of the rows that reach the end.
    #[cfg(feature = "gpu")]
    pub(crate) fn end_schema(&self) -> &SchemaRef {
        &self.end_schema
    }

    /// The keyed reduce at its end, what is kept of it from batch to batch, and the schema of what comes out, if that is so.
    #[cfg(feature = "gpu")]
    pub(crate) fn kept_reduce(&self) -> Option<(&KeyedReduce, &Keep, &SchemaRef)> {
        match self.end.as_ref() {
            Ending::Reduce { reduce, keep: Some((keep, schema, _)), .. } => Some((reduce, keep, schema)),
            _ => None,
        }
    }

    /// Starts the work on one partition.
    pub(crate) fn begin_task(&self, moment: &Moment) -> Result<Box<CpuTask>> {
        let mut task = match self.spare.take() {
            Some(task) => task,
            None => self.task(self.end.begin(&self.end_schema)?),
        };
        (task.horizon, task.seen) = (moment.horizon_before, Seen::default());
        Ok(task)
    }
}

impl PreparedStage for CpuStage {
    fn begin(&self) -> Result<Box<dyn StageTask>> {
        self.begin_at(&Moment::default())
    }

    fn begin_at(&self, moment: &Moment) -> Result<Box<dyn StageTask>> {
        Ok(self.begin_task(moment)?)
    }

    fn begin_turns(&self) -> Result<Option<Box<dyn StageTask>>> {
        match self.end.as_ref() {
            Ending::Reduce { reduce, keep: None, .. } if !reduce.follows_order() => Ok(Some(self.begin()?)),
            _ => Ok(None),
        }
    }

    fn keep(&self) -> Result<Box<dyn Kept>> {
        match self.end.as_ref() {
            Ending::Reduce { keep: Some((keep, schema, initial)), .. } => match &keep.span {
                Span::Sessions(windows) => Ok(Box::new(KeptSessions::new(keep, windows, schema)?)),
                _ => Ok(Box::new(KeptGroups::new(keep, schema)?.beginning(initial.as_ref())?)),
            },
            Ending::CountWindows(keep, windows, schema) => {
                let schemas = (Arc::clone(&self.end_schema), Arc::clone(schema));
                Ok(Box::new(KeptCounts::new(keep, windows, schemas)?))
            }
            Ending::MapState(map, function, schema, initial) => {
                let schemas = (Arc::clone(&self.end_schema), Arc::clone(schema));
                Ok(Box::new(KeptStates::new(map, function.clone(), schemas)?.beginning(initial.as_ref())?))
            }
            Ending::FoldWindows(fold, function, schema) => {
                let schemas = (Arc::clone(&self.end_schema), Arc::clone(schema));
                Ok(Box::new(KeptFolds::new(fold, function.clone(), schemas)?))
            }
            Ending::DropDuplicates(drop, _, schema) => Ok(Box::new(KeptRows::new(drop, schema)?)),
            Ending::JoinStreams(join, schema) => {
                let schemas = (Arc::clone(&self.end_schema), Arc::clone(schema));
                Ok(Box::new(KeptStreams::new(join, schemas)?))
            }
            _ => Err(Error::internal("a stage was asked for state that keeps none")),
        }
    }

    fn merge(&self, partials: Vec<Partial>) -> Result<Partitions> {
        let rows =
            |partials: Vec<Partial>| partials.into_iter().map(Partial::into_rows).collect::<Result<Partitions>>();
        match self.end.as_ref() {
            Ending::Emit => rows(partials),
            Ending::Limit(count) => Ok(vec![limit(&rows(partials)?.concat(), *count)]),
            Ending::Repartition(count) => Ok(repartition(&rows(partials)?.concat(), *count)),
            Ending::Transform(function) => {
                let all = rows(partials)?.concat();
                let whole = arrow_select::concat::concat_batches(&self.end_schema, &all)?;
                Ok(vec![vec![function.call(&whole)?]])
            }
            Ending::Distinct(columns) => {
                let mut partitions = rows(partials)?;
                if partitions.len() > 1 {
                    let mut distinct = Distinct::new(&self.end_schema, columns)?;
                    let all = partitions.concat();
                    partitions = vec![all.iter().map(|batch| distinct.push(batch)).collect::<Result<_>>()?];
                }
                Ok(partitions)
            }
            Ending::Reduce { keep: Some(_), .. }
            | Ending::CountWindows(..)
            | Ending::MapState(..)
            | Ending::FoldWindows(..)
            | Ending::DropDuplicates(..)
            | Ending::JoinStreams(..) => Err(Error::internal("what outlives its batch was merged")),
            Ending::Reduce { reduce, keep: None, .. } => {
                let mut tasks = reduce_tasks(partials)?;
                if let (Some(task), false) = (tasks.first_mut(), reduce.keys().is_empty()) {
                    let mut chosen = self.chosen.lock().unwrap_or_else(PoisonError::into_inner);
                    task.groups()?.tell(chosen.get_or_insert_default());
                }
                let groups = tasks.iter_mut().map(|task| task.groups()).collect::<Result<Vec<_>>>();
                let answer = reduce.finish_each(&mut groups?)?;
                tasks.into_iter().for_each(|task| self.spare.keep(task));
                Ok(vec![vec![answer]])
            }
            Ending::ReduceWith { key_types, name, call, .. } => {
                let mut folded = held(partials, |held| if let Held::Folded(rows) = held { Some(rows) } else { None })?;
                if folded.len() > 1 {
                    let schema = Arc::clone(&self.end_schema);
                    let mut all = ReduceWith::new(name, Arc::clone(call), key_types, schema)?;
                    folded.iter().try_for_each(|part| all.push_folded(part))?;
                    folded = vec![all.finish(false)?];
                }
                Ok(vec![folded.into_iter().map(|folded| folded.rows).collect()])
            }
            Ending::Sort { options, limit, .. } => {
                let runs = held(partials, |held| if let Held::Run(run) = held { Some(run) } else { None })?;
                Ok(vec![vec![merge_runs(&self.end_schema, runs, options, *limit)?]])
            }
        }
    }

    fn combine(&self, partials: Vec<Partial>) -> Result<Vec<Partial>> {
        match self.end.as_ref() {
            // What these make of rows they can make of their own answer again.
            Ending::Limit(_) | Ending::Distinct(_) => {
                Ok(vec![Partial::Rows(self.merge(partials)?.into_iter().flatten().collect())])
            }
            Ending::Emit
            | Ending::Repartition(_)
            | Ending::Transform(_)
            | Ending::CountWindows(..)
            | Ending::MapState(..)
            | Ending::FoldWindows(..)
            | Ending::DropDuplicates(..)
            | Ending::JoinStreams(..) => {
                let rows = partials.into_iter().map(Partial::into_rows).collect::<Result<Partitions>>()?;
                Ok(vec![Partial::Rows(rows.into_iter().flatten().collect())])
            }
            Ending::Reduce { .. } => {
                let all = self.combined(partials)?;
                Ok(all.into_iter().map(|task| Partial::Groups(task)).collect())
            }
            Ending::Sort { options, limit: limit @ Some(_), .. } => {
                let runs = held(partials, |held| if let Held::Run(run) = held { Some(run) } else { None })?;
                let run = merge_keyed(&self.end_schema, runs, options, *limit)?;
                Ok(vec![Partial::Groups(Box::new(Held::Run(run)))])
            }
            Ending::Sort { limit: None, .. } | Ending::ReduceWith { .. } => Ok(partials),
        }
    }

    fn add_cuts(&self, before: Option<Partial>, cuts: Vec<Partial>) -> Result<AddedCuts> {
        if !matches!(self.end.as_ref(), Ending::Reduce { .. }) {
            return Ok((before.into_iter().chain(cuts).collect(), Vec::new()));
        }
        add_cuts(before.into_iter().chain(cuts).collect())
    }

    fn give_back(&self, partial: Partial) {
        if let (Ending::Reduce { .. }, Partial::Groups(any)) = (self.end.as_ref(), partial)
            && let Ok(task) = any.downcast()
        {
            self.spare.keep(task);
        }
    }

    fn group_ids(&self) -> Option<String> {
        let Ending::Reduce { reduce, .. } = self.end.as_ref() else { return None };
        let names = reduce.keys().iter().map(|key| key.name().as_str());
        match &*self.chosen.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(chosen) => Some(chosen.text(names)),
            None => possible(names.zip(reduce.keys().iter().map(Field::data_type))),
        }
    }

    fn store(&self, partials: Vec<Partial>) -> Result<RecordBatch> {
        stored::store(self, partials)
    }

    fn restore(&self, batch: &RecordBatch) -> Result<Partial> {
        stored::restore(self, batch)
    }
}

/// Takes partials back in the type they were handed over in.
pub(super) fn held<T>(partials: Vec<Partial>, pick: impl Fn(Held) -> Option<T>) -> Result<Vec<T>> {
    let one = |partial| match partial {
        Partial::Groups(any) => any.downcast::<Held>().ok().and_then(|held| pick(*held)).ok_or_else(foreign),
        Partial::Rows(_) => Err(foreign()),
    };
    partials.into_iter().map(one).collect()
}

pub(super) fn foreign() -> Error {
    Error::internal("a stage was given the partials of another")
}

impl Ending {
    fn prepare(stage: &Stage, registry: &Registry) -> Result<Self> {
        Ok(match &stage.end {
            End::Emit => Self::Emit,
            End::Limit(rows) => Self::Limit(*rows),
            End::Repartition(partitions) => Self::Repartition(*partitions),
            End::Distinct { columns } => Self::Distinct(columns.clone()),
            End::Transform { function } => {
                let (name, call) = registry.function(*function)?;
                let schema = Arc::clone(&stage.output_schema);
                Self::Transform(Function { name: name.to_owned(), call: Arc::clone(call), schema })
            }
            End::Reduce { keys, aggregates } => Self::reduce(keys, aggregates, None)?,
            End::Keep(keep @ Keep { span: Span::Rows(windows), .. }) => {
                Self::CountWindows(Box::new(keep.clone()), *windows, Arc::clone(&stage.output_schema))
            }
            End::Keep(keep) => {
                let types = stage.output_schema.fields().iter().map(|field| field.data_type().clone());
                let types = types.collect::<Vec<_>>();
                let initial = InitialRows::find(keep.initial.as_ref(), registry, (keep.plain_keys().len(), &types))?;
                let kept = (keep.clone(), Arc::clone(&stage.output_schema), initial);
                Self::reduce(&keep.keys, &keep.aggregates, Some(kept))?
            }
            End::MapState(map) => {
                let function = registry.state_function(map.function).ok();
                let function = function.map(|(name, call)| (name.to_owned(), Arc::clone(call)));
                let types = map.keys.iter().map(|key| key.expr.data_type.clone()).collect::<Vec<_>>();
                let initial = InitialRows::find(map.initial.as_ref(), registry, (types.len(), &types))?;
                Self::MapState(map.clone(), function, Arc::clone(&stage.output_schema), initial)
            }
            End::FoldWindows(fold) => {
                let function = registry.fold_function(fold.function).ok();
                let function = function.map(|(name, call)| (name.to_owned(), Arc::clone(call)));
                Self::FoldWindows(fold.clone(), function, Arc::clone(&stage.output_schema))
            }
            End::JoinStreams(join) => Self::JoinStreams(join.clone(), Arc::clone(&stage.output_schema)),
            End::DropDuplicates(drop) => {
                let late = match &drop.memory {
                    Memory::Watermark { time, unit, .. } => TooLate::ByTime(Program::prepare(&time.expr)?, *unit),
                    Memory::Window { pane, windows } => {
                        TooLate::ByWindow(Program::prepare(&pane.expr)?, windows.clone())
                    }
                    Memory::Always | Memory::Batches(_) => TooLate::Never,
                };
                Self::DropDuplicates(drop.clone(), late, Arc::clone(&stage.output_schema))
            }
            End::ReduceWith { keys, function } => {
                let (name, call) = registry.group_function(*function)?;
                let key_types = keys.iter().map(|key| key.expr.data_type.clone()).collect();
                Self::ReduceWith { keys: programs(keys)?, key_types, name: name.to_owned(), call: Arc::clone(call) }
            }
            End::Sort { by, limit } => Self::Sort {
                keys: by.iter().map(|key: &SortKey| Program::prepare(&key.expr)).collect::<Result<_>>()?,
                options: sort_contract::options(by),
                limit: *limit,
            },
        })
    }

    fn reduce(
        keys: &[NamedExpr],
        aggregates: &[TypedAggregate],
        keep: Option<(Keep, SchemaRef, Option<InitialRows>)>,
    ) -> Result<Self> {
        let fields = keys.iter().map(key_field).collect::<Vec<_>>();
        let program = |expr: Option<&_>| expr.map(Program::prepare).transpose();
        Ok(Self::Reduce {
            keys: key_programs(keys)?,
            inputs: aggregates.iter().map(|one| program(one.input.as_ref())).collect::<Result<_>>()?,
            filters: aggregates.iter().map(|one| program(one.filter.as_ref())).collect::<Result<_>>()?,
            reduce: KeyedReduce::prepare(&fields, aggregates)?,
            keep,
        })
    }

    fn begin(&self, schema: &SchemaRef) -> Result<State> {
        Ok(match self {
            Self::Emit
            | Self::Repartition(_)
            | Self::Transform(_)
            | Self::CountWindows(..)
            | Self::MapState(..)
            | Self::FoldWindows(..)
            | Self::DropDuplicates(..)
            | Self::JoinStreams(..) => State::Rows { rows: Vec::new(), wanted: usize::MAX },
            Self::Limit(rows) => State::Rows { rows: Vec::new(), wanted: *rows },
            Self::Distinct(columns) => State::Distinct(Distinct::new(schema, columns)?, Vec::new()),
            Self::Reduce { reduce, .. } => State::Reduce(reduce.begin()?),
            Self::ReduceWith { key_types, name, call, .. } => {
                State::ReduceWith(ReduceWith::new(name, Arc::clone(call), key_types, Arc::clone(schema))?)
            }
            Self::Sort { options, limit, .. } => State::Sort(Sorter::new(Arc::clone(schema), options.clone(), *limit)),
        })
    }
}

fn key_field(key: &NamedExpr) -> Field {
    Field::new(key.name.as_str(), key.expr.data_type.clone(), key.expr.nullable)
}

/// The work on one partition.
pub(crate) struct CpuTask {
    pub(super) steps: Arc<[Ready]>,
    pub(super) end: Arc<Ending>,
    pub(super) direct: Option<Arc<Direct>>,
    pub(super) state: State,
    pub(super) columns: Columns,
    pub(super) scratch: Scratch,
    /// How far event time had come before the batch, in microseconds.
    pub(super) horizon: Option<i64>,
    pub(super) seen: Seen,
}

/// What the end of a stage has gathered.
pub(super) enum State {
    /// Rows as they are, until there are enough.
    Rows {
        rows: Vec<RecordBatch>,
        wanted: usize,
    },
    Distinct(Distinct, Vec<RecordBatch>),
    Reduce(Groups),
    ReduceWith(ReduceWith),
    Sort(Sorter),
}

impl StageTask for CpuTask {
    /// A large batch is taken in tiles, so that what one step writes is still in the cache when the next one reads it.
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let steps = Arc::clone(&self.steps);
        // Columns are left behind before there are tiles: what nobody reads need not be cut.
        let picks = steps.iter().take_while(|step| matches!(step, Ready::Pick(..))).count();
        let (picks, steps) = steps.split_at(picks);
        let Self { horizon, seen, .. } = self;
        let batch = picks
            .iter()
            .try_fold(Cow::Borrowed(batch), |batch, pick| pick.run(&batch, *horizon, seen).map(Cow::Owned))?;
        let rows = batch.num_rows();
        self.seen.flow.rows_in += rows as u64;
        if rows <= ROWS_PER_READ_MAX || (steps.is_empty() && !matches!(self.state, State::Reduce(_))) {
            return self.push_shortest(steps, batch.into_owned());
        }
        let mut start = 0;
        while start < rows {
            // Rows that are put off go nowhere but into memory, where they may already lie: the rest is put off as it is.
            let rest = rows - start;
            let puts_off = |state: &State| matches!(state, State::Reduce(groups) if groups.puts_off(rest));
            let len = if steps.is_empty() && puts_off(&self.state) { rest } else { ROWS_PER_READ_MAX.min(rest) };
            self.push_shortest(steps, batch.slice(start, len))?;
            start += len;
        }
        Ok(())
    }

    fn begin_turn(&mut self, turn: u64) -> Result<()> {
        self.groups()?.begin_turn(turn);
        Ok(())
    }

    fn sighting(&self) -> Sighting {
        self.seen.sighting.clone()
    }

    fn flow(&self) -> Option<Flow> {
        Some(self.seen.flow())
    }

    fn take_findings(&mut self) -> Findings {
        self.seen.take_findings()
    }

    fn finish(mut self: Box<Self>) -> Result<Partial> {
        if matches!(self.state, State::Reduce(_)) {
            self.columns.clear();
            return Ok(Partial::Groups(self));
        }
        let held = match self.state {
            State::Rows { rows, .. } | State::Distinct(_, rows) => return Ok(Partial::Rows(rows)),
            State::Reduce(_) => return Err(foreign()),
            State::ReduceWith(reduce) => Held::Folded(reduce.finish(true)?),
            State::Sort(sorter) => Held::Run(sorter.finish()?),
        };
        Ok(Partial::Groups(Box::new(held)))
    }
}

impl CpuTask {
    /// The groups of a keyed reduce.
    pub(super) fn groups(&mut self) -> Result<&mut Groups> {
        if let State::Reduce(groups) = &mut self.state { Ok(groups) } else { Err(foreign()) }
    }

    pub(super) fn push_tile(&mut self, steps: &[Ready], mut batch: RecordBatch) -> Result<()> {
        for step in steps {
            if batch.num_rows() == 0 {
                return Ok(());
            }
            let came = batch.num_rows();
            batch = step.run(&batch, self.horizon, &mut self.seen)?;
            self.seen.note(step.effect(), came, batch.num_rows());
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let sighting = &mut self.seen.sighting;
        let in_time = match self.end.as_ref() {
            Ending::DropDuplicates(_, TooLate::ByTime(time, unit), _) => {
                event_time::not_behind(&batch, &time.evaluate(&batch)?, *unit, self.horizon, sighting)?
            }
            Ending::DropDuplicates(_, TooLate::ByWindow(pane, windows), _) => {
                let first_open = self.horizon.map(|horizon| windows.first_open_pane(horizon));
                event_time::in_time(&batch, &pane.evaluate(&batch)?, first_open, sighting)?
            }
            Ending::JoinStreams(join, _) => {
                event_time::not_behind(&batch, batch.column(1), join.unit, self.horizon, sighting)?
            }
            _ => None,
        };
        batch = in_time.unwrap_or(batch);
        self.seen.flow.rows_end += batch.num_rows() as u64;
        match (&mut self.state, self.end.as_ref()) {
            (State::Rows { rows, wanted }, _) => {
                let kept = batch.num_rows().min(*wanted);
                if kept > 0 {
                    *wanted -= if *wanted == usize::MAX { 0 } else { kept };
                    rows.push(batch.slice(0, kept));
                }
                Ok(())
            }
            (State::Distinct(distinct, rows), _) => {
                rows.push(distinct.push(&batch)?);
                Ok(())
            }
            (State::Reduce(groups), Ending::Reduce { keys, inputs, filters, keep, .. }) => {
                self.columns.evaluate(&batch, keys, inputs, filters)?;
                if let Some((keep @ Keep { span: Span::Event(_) | Span::Sessions(_), .. }, ..)) = keep
                    && let Some(pane) = self.columns.keys.last()
                    && let Some(kept) =
                        event_time::in_time(&batch, pane, first_open_pane(keep, self.horizon), &mut self.seen.sighting)?
                {
                    self.seen.flow.rows_end -= (batch.num_rows() - kept.num_rows()) as u64;
                    batch = kept;
                    self.columns.evaluate(&batch, keys, inputs, filters)?;
                }
                let Columns { keys, inputs, filters } = &self.columns;
                groups.update(keys, inputs, filters, batch.num_rows())
            }
            (State::ReduceWith(reduce), Ending::ReduceWith { keys, .. }) => {
                reduce.push(&evaluate(keys, &batch)?, &batch)
            }
            (State::Sort(sorter), Ending::Sort { keys, .. }) => {
                let keys = evaluate(keys, &batch)?;
                sorter.push(batch, keys)
            }
            _ => Err(Error::internal("the state of a stage does not fit its end")),
        }
    }
}
