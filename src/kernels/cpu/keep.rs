//! The CPU twin of [`crate::kernels::keep`]: [`KeyGroups`] for each pane, so that costs follow the groups a batch touches,
//! and what is over goes pane by pane.
//!
//! Sessions ([`super::sessions`]) and windows by the number of rows ([`super::count_windows`]) are kept elsewhere, groups with a time to live with help from [`super::aged`].
//!
//! A batch's groups, reduced as in any other keyed reduce, are dealt out to their panes and merged there. Windows are put
//! together from panes when they are asked for, those that overlap by [`super::pane_stacks`]. For storage, groups become columns as [`crate::kernels::stored`] says.

#![expect(clippy::cast_possible_truncation, reason = "group ids fit u32: given out by GroupIds")]

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, UInt32Array};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use arrow_select::take::take_record_batch;

use super::group_ids::GroupIds;
use super::held_keys::{HeldKeys, KeepsKeys, Size};
use super::initial::InitialRows;
use super::key_groups::{Ground, KeyGroups, Touched, taken};
use super::pane_stacks::{PaneStacks, same_pane, suit};
use super::reduce::{Groups, KeyedReduce};
use super::reduce_tasks::combined;
use crate::columnar::{DataType, RecordBatch, Schema, SchemaRef};
use crate::error::{Error, Result};
use crate::expr::{AggregateFunction, TypedAggregate};
use crate::kernels::keep::{Kept, Moment, fields, first_open_pane, has_key, has_slid, under, windowed};
use crate::kernels::map_state::micros;
use crate::kernels::spill::Room;
use crate::kernels::{Partial, Partitions, stored};
use crate::plan::keep::{Keep, OutputMode, Span, Windows};

/// A pane of a batch, which of the batch's groups fall into it, and their keys.
type Dealt = (i64, Vec<u32>, Vec<ArrayRef>);

/// The entry of stored changes that says which panes are over: those before this number.
pub(super) const OVER_ENTRY: &str = "pelton.over_before";

/// The groups of an operator, pane by pane; without windows all are in pane 0.
pub(super) struct KeptGroups {
    pub(super) keep: Keep,
    pub(super) reduce: KeyedReduce,
    /// Of what comes out.
    pub(super) schema: SchemaRef,
    pub(super) panes: BTreeMap<i64, KeyGroups>,
    /// The groups that the latest batch touched, as they are now, by pane.
    touched: BTreeMap<i64, Touched>,
    /// How the groups of all panes lie.
    pub(super) ground: Arc<Ground>,
    /// What windows of several panes are put together with.
    stacks: Option<PaneStacks>,
    /// Panes before this one are over; of groups with a time to live, those that were due by then.
    pub(super) over_before: Option<i64>,
    /// Of groups with a time to live: which number each key has at present, and when it is due.
    pub(super) ages: HeldKeys<i64>,
    /// The keys that the latest batch touched, in the order of its groups.
    pub(super) touched_ages: Vec<u32>,
    /// What is taken in with the first batch: stored groups.
    initial: Option<RecordBatch>,
    /// Whether that was taken in since changes were asked for, so that all is changed.
    has_begun: bool,
}

impl KeptGroups {
    pub(super) fn new(keep: &Keep, schema: &SchemaRef) -> Result<Self> {
        let reduce = KeyedReduce::prepare(&fields(keep), &keep.aggregates)?;
        let keys = if keep.ttl.is_some() { keep.plain_keys() } else { &[] };
        let keys = keys.iter().map(|key| (key.name.as_str(), &key.expr.data_type));
        let overlaps = match &keep.span {
            Span::Event(windows) => windows.slide < windows.size,
            Span::Batches { .. } => true,
            Span::Always | Span::Sessions(_) | Span::Rows(_) => false,
        };
        let stored = reduce.stored_schema()?;
        let may_deal = keep.ttl.is_none() && may_be_dealt(keep, &stored);
        let ground = Ground { reduce: reduce.clone(), schema: stored, may_deal, room: None };
        let stacks = if overlaps { Some(PaneStacks::new(&reduce, suit(&keep.aggregates))?) } else { None };
        Ok(Self {
            keep: keep.clone(),
            reduce,
            schema: Arc::clone(schema),
            panes: BTreeMap::new(),
            touched: BTreeMap::new(),
            ground: Arc::new(ground),
            stacks,
            over_before: None,
            ages: HeldKeys::new(keys)?,
            touched_ages: Vec::new(),
            initial: None,
            has_begun: false,
        })
    }

    /// The same, with groups to begin with.
    pub(super) fn beginning(mut self, initial: Option<&InitialRows>) -> Result<Self> {
        let Some(initial) = initial else { return Ok(self) };
        let mut keys = initial.keys().to_vec();
        if self.is_aged() {
            keys.push(Arc::new(Int64Array::from(vec![0; initial.rows])));
        }
        let stored = self.reduce.seeded(&keys, initial.others().1, initial.rows)?;
        self.reduce.restore(&stored)?;
        self.initial = Some(stored);
        Ok(self)
    }

    /// Takes in what groups begin with, before the first batch.
    fn begin(&mut self, moment: &Moment) -> Result<()> {
        let Some(mut rows) = self.initial.take() else { return Ok(()) };
        let mut columns = rows.columns().to_vec();
        self.number_by_age(&mut columns[..self.keep.keys.len()], rows.num_rows(), moment)?;
        rows = under(&rows.schema(), columns, rows.num_rows())?;
        self.panes.insert(0, KeyGroups::restore(&self.ground, std::slice::from_ref(&rows))?);
        self.has_begun = true;
        Ok(())
    }

    /// Takes the groups of a batch in.
    fn take_in(&mut self, groups: &mut Groups, moment: &Moment) -> Result<RecordBatch> {
        groups.settle()?;
        self.begin(moment)?;
        self.bring_aged(groups, moment)?;
        self.touched.clear();
        for (pane, from, keys) in self.dealt(groups, moment)? {
            let kept = match self.panes.entry(pane) {
                Entry::Occupied(kept) => kept.into_mut(),
                Entry::Vacant(free) => free.insert(KeyGroups::new(&self.ground)?),
            };
            let mut touched = kept.take_in(groups, &from, &keys)?;
            if self.keep.ttl.is_some() {
                // What is too old is taken out next.
                touched.hold(kept)?;
            }
            self.touched.insert(pane, touched);
            if let Some(stacks) = &mut self.stacks {
                stacks.touch(pane);
            }
        }
        if self.is_aged() {
            self.forget_aged(moment)?;
            let answer = self.answer(moment)?;
            self.settle_groups()?;
            return Ok(answer);
        }
        let rows = self.answer(moment)?;
        self.forget(moment);
        if let (Some(stacks), Some(room)) = (&mut self.stacks, &self.ground.room) {
            stacks.settle(room, self.panes.values().map(KeyGroups::bytes_per_group).max().unwrap_or(0));
        }
        Ok(rows)
    }

    /// The groups of a batch by pane: which ones, and their keys.
    fn dealt(&mut self, groups: &Groups, moment: &Moment) -> Result<Vec<Dealt>> {
        let mut keys = groups.keys()?;
        let all = || (0..groups.len() as u32).collect::<Vec<_>>();
        match &self.keep.span {
            Span::Always => {
                self.number_by_age(&mut keys, groups.len(), moment)?;
                Ok(vec![(0, all(), keys)])
            }
            // A batch without rows has no pane: an idle stream costs the same, however many batches its window holds.
            Span::Batches { .. } if groups.is_empty() => Ok(Vec::new()),
            Span::Batches { .. } => {
                let pane = micros(moment.time);
                keys.pop();
                keys.push(same_pane(pane, groups.len()));
                Ok(vec![(pane, all(), keys)])
            }
            Span::Event(_) | Span::Sessions(_) => {
                let Some(panes) = keys.last() else { return Err(Error::internal("windows without panes")) };
                let mut by_pane: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
                let mut group = 0;
                for panes in panes.as_primitive::<Int64Type>().values().chunk_by(|one, next| one == next) {
                    let next = group + panes.len() as u32;
                    by_pane.entry(panes[0]).or_default().extend(group..next);
                    group = next;
                }
                let dealt = by_pane.into_iter().map(|(pane, from)| {
                    let keys =
                        if from.len() == groups.len() { keys.clone() } else { taken(&keys, &from.clone().into())? };
                    Ok((pane, from, keys))
                });
                dealt.collect()
            }
            Span::Rows(_) => Err(kept_elsewhere()),
        }
    }

    /// The rows that the mode asks for.
    fn answer(&mut self, moment: &Moment) -> Result<RecordBatch> {
        match &self.keep.span {
            Span::Always if self.is_aged() && self.keep.mode == OutputMode::Complete => self.alive(),
            Span::Always => {
                let rows = match self.keep.mode {
                    OutputMode::Complete => self.panes.get(&0).map(KeyGroups::rows),
                    OutputMode::Append | OutputMode::Update => rows_of(&mut self.touched, &self.panes, 0),
                };
                rows.map_or_else(|| Ok(RecordBatch::new_empty(Arc::clone(&self.schema))), |rows| self.finished(&rows?))
            }
            &Span::Batches { size, slide } => match slide.is_none_or(|slide| has_slid(moment, slide)) {
                true => {
                    let Some(stacks) = &mut self.stacks else { return Err(Error::internal("no stacks of panes")) };
                    let rows = joined(stacks, &self.panes, size, moment)?;
                    self.latest(&rows)
                }
                false => Ok(RecordBatch::new_empty(Arc::clone(&self.schema))),
            },
            Span::Event(windows) | Span::Sessions(windows) => {
                let closed = |horizon: Option<i64>| horizon.map_or(i64::MIN, |horizon| windows.last_closed(horizon));
                let (before, now) = (closed(moment.horizon_before), closed(moment.horizon));
                let wanted: BTreeSet<i64> = match self.keep.mode {
                    OutputMode::Complete => windows_of(windows, &self.panes).collect(),
                    OutputMode::Append => {
                        windows_of(windows, &self.panes).filter(|&window| window > before && window <= now).collect()
                    }
                    OutputMode::Update => {
                        windows_of(windows, &self.touched).filter(|&window| window > before).collect()
                    }
                };
                let windows = windows.clone();
                let answers = wanted.into_iter().map(|window| self.window(&windows, window));
                let answers = answers.collect::<Result<Vec<_>>>()?;
                // In other modes the next batch asks for the same windows again, which it has changed.
                if let (Some(stacks), false) = (&mut self.stacks, self.keep.mode == OutputMode::Append) {
                    stacks.clear();
                }
                Ok(concat_batches(&self.schema, &answers)?)
            }
            Span::Rows(_) => Err(kept_elsewhere()),
        }
    }

    /// The answer of one window: all its groups, or those that the batch touched.
    fn window(&mut self, windows: &Windows, window: i64) -> Result<RecordBatch> {
        let (first, last) = windows.panes_of(window);
        let place = self.keep.keys.len() - 1;
        let is_update = self.keep.mode == OutputMode::Update;
        let rows = match &mut self.stacks {
            Some(stacks) if first < last => {
                let mut all = stacks.window(&self.panes, (first, last), windows.slide / windows.pane)?;
                if is_update {
                    let keys = |(_, touched): (_, &Touched)| {
                        let mut keys = touched.keys()?;
                        keys.pop();
                        Ok((keys, touched.len()))
                    };
                    let keys = self.touched.range(first..=last).map(keys).collect::<Result<Vec<_>>>()?;
                    all = stacks.chosen(all, &keys)?;
                }
                stacks.rows(all)?
            }
            _ => {
                let rows = match is_update {
                    true => rows_of(&mut self.touched, &self.panes, first),
                    false => self.panes.get(&first).map(KeyGroups::rows),
                };
                rows.unwrap_or_else(|| self.reduce.begin()?.finish())?
            }
        };
        windowed(&rows, place, windows, window, &self.schema)
    }

    /// The answer of the latest batches, of which these are the rows.
    fn latest(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let keys = self.keep.keys.len() - 1;
        if keys == 0 && rows.num_rows() == 0 {
            // Without keys there is one group, also of no rows.
            let rows = KeyedReduce::prepare(&[], &self.keep.aggregates)?.begin()?.finish()?;
            return under(&self.schema, rows.columns().to_vec(), 1);
        }
        let mut columns = rows.columns().to_vec();
        columns.remove(keys);
        under(&self.schema, columns, rows.num_rows())
    }

    /// The rows of groups as they come out.
    pub(super) fn finished(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = rows.columns().to_vec();
        if self.is_aged() {
            columns.remove(self.keep.keys.len() - 1);
        }
        under(&self.schema, columns, rows.num_rows())
    }

    /// Lets go of the panes that are over.
    fn forget(&mut self, moment: &Moment) {
        let over_before = match &self.keep.span {
            Span::Always | Span::Rows(_) => None,
            Span::Event(_) | Span::Sessions(_) => first_open_pane(&self.keep, moment.horizon),
            Span::Batches { size, .. } => Some(micros(moment.time).saturating_sub(micros(*size)).saturating_add(1)),
        };
        self.over_before = over_before;
        if let Some(over_before) = over_before {
            self.panes = self.panes.split_off(&over_before);
            self.touched = self.touched.split_off(&over_before);
        }
    }

    /// The groups that the latest batch touched, as they are stored.
    pub(super) fn touched_rows(&mut self) -> Result<RecordBatch> {
        let panes = &self.panes;
        let gone = || Error::internal("a pane is gone that a batch touched");
        let touched = self.touched.iter_mut();
        let touched = touched.map(|(pane, touched)| touched.store(panes.get(pane).ok_or_else(gone)?));
        let touched = touched.collect::<Result<_>>()?;
        self.stored(touched)
    }

    /// The stored groups of all panes.
    fn stored(&self, mut panes: Vec<RecordBatch>) -> Result<RecordBatch> {
        match (panes.len(), panes.pop()) {
            (1, Some(one)) => Ok(one),
            (_, last) => Ok(concat_batches(&self.reduce.stored_schema()?, panes.iter().chain(&last))?),
        }
    }
}

impl Kept for KeptGroups {
    fn absorb(&mut self, partials: Vec<Partial>, moment: &Moment) -> Result<Partitions> {
        let answer = match combined(partials, drop)? {
            Some(mut all) => self.take_in(all.groups()?, moment)?,
            None => self.take_in(&mut self.reduce.begin()?, moment)?,
        };
        Ok(vec![vec![answer]])
    }

    fn changes(&mut self) -> Result<Vec<RecordBatch>> {
        if std::mem::take(&mut self.has_begun) {
            return self.snapshot();
        }
        let rows = if self.is_aged() { self.changes_stored()? } else { self.touched_rows()? };
        let Some(over_before) = self.over_before else { return Ok(vec![rows]) };
        let mut metadata = rows.schema().metadata().clone();
        metadata.insert(OVER_ENTRY.to_owned(), over_before.to_string());
        let schema = rows.schema().as_ref().clone().with_metadata(metadata);
        Ok(vec![rows.with_schema(Arc::new(schema))?])
    }

    fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        if self.is_aged() {
            return Ok(vec![self.all_stored()?]);
        }
        let panes = self.panes.values_mut().map(KeyGroups::store).collect::<Result<_>>()?;
        Ok(vec![self.stored(panes)?])
    }

    fn restore(&mut self, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Result<()> {
        self.initial = None;
        if self.is_aged() {
            return self.restore_aged(snapshot, changes);
        }
        let schema = self.reduce.stored_schema()?;
        let all = snapshot.iter().chain(changes.iter().flatten()).collect::<Vec<_>>();
        let mut over_before = None;
        for rows in &all {
            stored::check(rows, &schema)?;
            over_before = over_before.max(over_entry(rows.schema_ref())?);
        }
        self.panes.clear();
        self.stacks.iter_mut().for_each(PaneStacks::clear);
        let all = all.into_iter().filter(|rows| rows.num_rows() > 0).cloned();
        if self.keep.span == Span::Always {
            let all = all.collect::<Vec<_>>();
            if !all.is_empty() {
                self.panes.insert(0, KeyGroups::restore(&self.ground, &all)?);
            }
            return Ok(());
        }
        let mut by_pane: BTreeMap<i64, Vec<RecordBatch>> = BTreeMap::new();
        for rows in all {
            let panes = rows.column(self.keep.keys.len() - 1).as_primitive::<Int64Type>();
            let mut of_pane: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
            for (row, &pane) in panes.values().iter().enumerate() {
                if over_before.is_none_or(|over| pane >= over) {
                    of_pane.entry(pane).or_default().push(row as u32);
                }
            }
            for (pane, chosen) in of_pane {
                let rows = take_record_batch(&rows, &UInt32Array::from(chosen))?;
                by_pane.entry(pane).or_default().push(rows);
            }
        }
        for (pane, rows) in by_pane {
            self.panes.insert(pane, KeyGroups::restore(&self.ground, &rows)?);
        }
        Ok(())
    }

    fn can_spill(&self) -> bool {
        true
    }

    fn spill_to(&mut self, room: &Room) {
        if self.is_aged() {
            self.ages.spread(room, |_| Size { bytes: 0, groups: 1 });
        } else {
            self.ground = Arc::new(Ground { room: Some(room.clone()), ..Ground::clone(&self.ground) });
        }
    }

    fn uses_threads(&self) -> bool {
        self.panes.values().any(KeyGroups::is_dealt)
    }

    fn end(&self) -> Option<i64> {
        match &self.keep.span {
            Span::Event(windows) if self.keep.mode == OutputMode::Append => {
                let (&pane, _) = self.panes.last_key_value()?;
                Some(windows.micros(windows.end(windows.windows_of(pane).1)))
            }
            _ => None,
        }
    }

    fn groups(&self) -> u64 {
        if self.is_aged() {
            return self.ages.len() as u64;
        }
        self.panes.values().map(|groups| groups.len() as u64).sum()
    }

    fn scan(&self) -> Result<RecordBatch> {
        match &self.keep.span {
            Span::Always if self.is_aged() => self.alive(),
            Span::Always => match self.panes.get(&0) {
                Some(groups) => self.finished(&groups.rows()?),
                None => Ok(RecordBatch::new_empty(Arc::clone(&self.schema))),
            },
            Span::Batches { size, .. } => {
                let newest = self.panes.last_key_value().map_or(0, |(pane, _)| pane.unsigned_abs());
                let moment = Moment { time: Duration::from_micros(newest), ..Moment::default() };
                let mut stacks = PaneStacks::new(&self.reduce, false)?;
                self.latest(&joined(&mut stacks, &self.panes, *size, &moment)?)
            }
            Span::Event(windows) | Span::Sessions(windows) => {
                let wanted: BTreeSet<i64> = windows_of(windows, &self.panes).collect();
                let place = self.keep.keys.len() - 1;
                let mut stacks = PaneStacks::new(&self.reduce, false)?;
                let one = |window| {
                    let all = stacks.window(&self.panes, windows.panes_of(window), 1)?;
                    windowed(&stacks.rows(all)?, place, windows, window, &self.schema)
                };
                Ok(concat_batches(&self.schema, &wanted.into_iter().map(one).collect::<Result<Vec<_>>>()?)?)
            }
            Span::Rows(_) => Err(kept_elsewhere()),
        }
    }

    /// Without windows one group alone is made a row of.
    fn get(&self, key: &[ArrayRef]) -> Result<RecordBatch> {
        let (Span::Always, false) = (&self.keep.span, self.is_aged()) else {
            let all = self.scan()?;
            return Ok(filter_record_batch(&all, &has_key(all.columns(), key, all.num_rows())?)?);
        };
        let Some(groups) = self.panes.get(&0) else { return Ok(RecordBatch::new_empty(Arc::clone(&self.schema))) };
        let groups = groups.near(key)?;
        let keys = groups.keys()?;
        let ids = has_key(&keys, key, groups.len())?.values().set_indices().map(|id| id as u32).collect::<Vec<_>>();
        self.finished(&self.reduce.select(&groups, &ids, &taken(&keys, &ids.clone().into())?)?.finish()?)
    }
}

/// The rows of what the latest batch touched of a pane.
fn rows_of(
    touched: &mut BTreeMap<i64, Touched>,
    panes: &BTreeMap<i64, KeyGroups>,
    pane: i64,
) -> Option<Result<RecordBatch>> {
    Some(touched.get_mut(&pane)?.rows(panes.get(&pane)?))
}

/// The groups of the batches of the latest `size`, under the pane 0.
fn joined(
    stacks: &mut PaneStacks,
    panes: &BTreeMap<i64, KeyGroups>,
    size: Duration,
    moment: &Moment,
) -> Result<RecordBatch> {
    let now = micros(moment.time);
    let oldest = now.saturating_sub(micros(size)).saturating_add(1);
    // A clock that was set back leaves panes that are later than now.
    let newest = panes.last_key_value().map_or(now, |(&pane, _)| pane.max(now));
    let all = stacks.window(panes, (oldest, newest), 1)?;
    stacks.rows(all)
}

fn kept_elsewhere() -> Error {
    Error::internal("windows by the number of rows were given to what keeps those of time")
}

/// Of stored rows with equal keys the last one, in the order in which keys came first, with the number of the first one.
pub(super) fn latest_rows(rows: &RecordBatch, keys: usize, numbers: &[u64]) -> Result<(RecordBatch, Vec<u64>)> {
    let (last, first): (Vec<u32>, Vec<u64>) = if keys == 0 {
        let last = rows.num_rows().checked_sub(1).map(|row| row as u32);
        last.into_iter().zip(numbers.first().copied()).unzip()
    } else {
        let columns = &rows.columns()[..keys];
        let mut ids = Vec::new();
        let mut group_ids = GroupIds::new(columns.iter().map(|column| column.data_type()))?;
        group_ids.assign(columns, &mut ids)?;
        let (mut last, mut first) = (vec![0; group_ids.len()], vec![u64::MAX; group_ids.len()]);
        for (row, (&id, &number)) in (0_u32..).zip(ids.iter().zip(numbers)) {
            last[id as usize] = row;
            first[id as usize] = first[id as usize].min(number);
        }
        (last, first)
    };
    Ok((take_record_batch(rows, &UInt32Array::from(last))?, first))
}

pub(super) fn over_entry(schema: &Schema) -> Result<Option<i64>> {
    let entry = schema.metadata().get(OVER_ENTRY);
    entry.map(|text| text.parse().map_err(|_| stored::corrupt("a number of a pane is none"))).transpose()
}

fn windows_of<'a, T>(windows: &'a Windows, panes: &'a BTreeMap<i64, T>) -> impl Iterator<Item = i64> + 'a {
    panes.keys().flat_map(|&pane| {
        let (first, last) = windows.windows_of(pane);
        first..=last
    })
}

/// Whether groups may be dealt out to key groups: not where a part alone could be about as large as the whole, as with
/// dictionaries and with tables of all values.
fn may_be_dealt(keep: &Keep, stored: &Schema) -> bool {
    let has_table = |one: &TypedAggregate| matches!(one.function, AggregateFunction::NUnique);
    !keep.aggregates.iter().any(has_table) && !stored.fields().iter().any(|field| has_dictionary(field.data_type()))
}

fn has_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_dictionary(field.data_type())),
        DataType::List(item) | DataType::LargeList(item) => has_dictionary(item.data_type()),
        _ => false,
    }
}
