//! The CPU twin of [`crate::kernels::count_windows`]: the rows of a key are numbered as they come, and a number of rows says
//! in which pane it is, as a time would.
//!
//! Rows come here as they are: which number a row has is known only once those of earlier partitions are counted. Groups are
//! known by key and pane; what no window to come needs is cleared away now and then.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;

use super::held_keys::{Due, HeldKeys, KeepsKeys, Size, TakesBack, least_numbers};
use super::keep::latest_rows;
use super::project::Program;
use super::reduce::columns::Columns;
use super::reduce::{Groups, KeyedReduce};
use super::step::programs;
use crate::columnar::{DataType, Field, RecordBatch, Schema, SchemaRef};
use crate::error::{Error, Result};
use crate::kernels::keep::{fields, under};
use crate::kernels::spill::Room;
use crate::kernels::{Kept, Moment, Partial, Partitions, row_number, stored};
use crate::plan::keep::{Keep, RowWindows};

/// Below this many groups that are over, clearing them away costs more than it gains.
const OVER_WORTH_CLEARING: u64 = 1_024;

/// Beside what is stored of a group: how many rows its key has had.
const ROWS: &str = "rows";

/// A window: a key, and its first and last panes.
type Window = (u32, u64, u64);

/// The rows of each key that windows to come need, in panes.
pub(super) struct KeptCounts {
    keep: Keep,
    windows: RowWindows,
    /// Of the rows that come, and of those that go out.
    schemas: (SchemaRef, SchemaRef),
    keys: Vec<Program>,
    inputs: Vec<Option<Program>>,
    filters: Vec<Option<Program>>,
    columns: Columns,
    reduce: KeyedReduce,
    /// By key and pane.
    groups: Groups,
    /// How many rows each key has had.
    held: HeldKeys<u64>,
    /// From where keys are counted that are new: what is left of one that was let go of has lower numbers.
    base: u64,
    /// Panes that windows to come need.
    open: usize,
    /// What the latest batch changed: key, pane, and how many rows the key has had.
    changed: Vec<(u32, u64, u64)>,
}

impl KeptCounts {
    pub(super) fn new(keep: &Keep, windows: &RowWindows, schemas: (SchemaRef, SchemaRef)) -> Result<Self> {
        let Some((_, keys)) = keep.keys.split_last() else { return Err(Error::internal("windows without panes")) };
        let reduce = KeyedReduce::prepare(&fields(keep), &keep.aggregates)?;
        let program = |expr: Option<&_>| expr.map(Program::prepare).transpose();
        Ok(Self {
            windows: *windows,
            schemas,
            keys: programs(keys)?,
            inputs: keep.aggregates.iter().map(|one| program(one.input.as_ref())).collect::<Result<_>>()?,
            filters: keep.aggregates.iter().map(|one| program(one.filter.as_ref())).collect::<Result<_>>()?,
            columns: Columns::default(),
            groups: reduce.begin()?.settled()?,
            reduce,
            held: HeldKeys::new(keys.iter().map(|key| (key.name.as_str(), &key.expr.data_type)))?,
            keep: keep.clone(),
            base: 0,
            open: 0,
            changed: Vec::new(),
        })
    }

    /// Numbers the rows of a batch and takes them in; gives the windows that they complete, in the order of their last rows.
    fn take_in(&mut self, rows: &RecordBatch, moment: &Moment) -> Result<Vec<Window>> {
        self.columns.evaluate(rows, &self.keys, &self.inputs, &self.filters)?;
        let keys = self.columns.keys.clone();
        self.bring(&keys, rows.num_rows(), moment)?;
        let grouped = self.held.group(&self.columns.keys, rows.num_rows())?;
        let counts = grouped.slots.iter().map(|&slot| self.held.get(slot).map_or(self.base, |held| held.value));
        let mut counts = counts.collect::<Vec<_>>();
        let before = counts.clone();
        let mut panes = Vec::with_capacity(rows.num_rows());
        let mut complete = Vec::new();
        for &group in &grouped.groups {
            let count = &mut counts[group as usize];
            panes.push(number(*count / self.windows.pane));
            *count += 1;
            if count.is_multiple_of(self.windows.slide) {
                let (first, last) = self.windows.panes_of(*count);
                complete.push((grouped.slots[group as usize], first, last));
            }
        }
        self.columns.keys.push(Arc::new(Int64Array::from(panes)));
        let Columns { keys, inputs, filters } = &self.columns;
        self.groups.update(keys, inputs, filters, rows.num_rows())?;
        self.changed.clear();
        for ((&slot, before), count) in grouped.slots.iter().zip(before).zip(counts) {
            let panes = before / self.windows.pane..count.div_ceil(self.windows.pane);
            self.changed.extend(panes.map(|pane| (slot, pane, count)));
            self.hold(slot, count, None);
        }
        Ok(complete)
    }

    /// Notes how many rows a key has had; since when it is held may be known. One of which no window to come needs a row is let
    /// go of.
    fn hold(&mut self, slot: u32, count: u64, since: Option<u64>) {
        let needed = |count: u64| self.windows.needed(count).count();
        let before = self.held.get(slot).map_or(0, |held| needed(held.value));
        let after = needed(count);
        self.open = self.open + after - before;
        match after {
            0 => {
                self.base = self.base.max(count);
                self.held.forget(slot);
            }
            _ => match since {
                Some(since) => self.held.put_back(slot, since, Due::default(), count),
                None => self.held.put(slot, Due::default(), count),
            },
        }
    }

    /// The answers of windows, in their order.
    fn answer(&mut self, windows: &[Window]) -> Result<RecordBatch> {
        let mut all = self.reduce.begin()?.settled()?;
        let places = self.numbered((0_u64..).zip(windows).map(|(place, &(slot, ..))| (slot, place)))?;
        all.ids_of(&places)?;
        let longest = windows.iter().map(|(_, first, last)| last - first).max().unwrap_or(0);
        // In a round each window takes one pane in, so that it takes them in their order: counted from its last pane, which is
        // that of no other window of its key. A pane can be taken in once only in a round.
        for before_last in (0..=longest).rev() {
            let with_pane = (0_u64..).zip(windows).filter_map(|(place, &(slot, first, last))| {
                Some((slot, last.checked_sub(before_last).filter(|pane| *pane >= first)?, place))
            });
            let with_pane = with_pane.collect::<Vec<_>>();
            let from = self.numbered(with_pane.iter().map(|&(slot, pane, _)| (slot, pane)))?;
            let ids = self.groups.ids_of(&from)?;
            let to = self.numbered(with_pane.iter().map(|&(slot, _, place)| (slot, place)))?;
            all.take_groups(&self.groups, &ids, &to)?;
        }
        let rows = all.finish()?;
        let mut columns = rows.columns().to_vec();
        columns.remove(self.keep.keys.len() - 1);
        under(&self.schemas.1, columns, windows.len())
    }

    /// Keys with numbers beside them.
    fn numbered(&self, pairs: impl Iterator<Item = (u32, u64)>) -> Result<Vec<ArrayRef>> {
        let (slots, numbers): (Vec<u32>, Vec<i64>) = pairs.map(|(slot, one)| (slot, number(one))).unzip();
        let mut keys = self.held.keys(&slots)?;
        keys.push(Arc::new(Int64Array::from(numbers)));
        Ok(keys)
    }

    /// The panes of keys that windows to come need: key, pane, and how many rows the key has had.
    fn needed(&self, slots: &[u32]) -> Vec<(u32, u64, u64)> {
        let counted = slots.iter().filter_map(|&slot| Some((slot, self.held.get(slot)?.value)));
        counted.flat_map(|(slot, count)| self.windows.needed(count).map(move |pane| (slot, pane, count))).collect()
    }

    fn chosen(&mut self, panes: &[(u32, u64, u64)]) -> Result<Groups> {
        let keys = self.numbered(panes.iter().map(|&(slot, pane, _)| (slot, pane)))?;
        let ids = self.groups.ids_of(&keys)?;
        self.reduce.select(&self.groups, &ids, &keys)
    }

    fn clear_away(&mut self) -> Result<()> {
        let open = self.open as u64 - self.held.groups_away();
        if self.groups.len() as u64 > 2 * open + OVER_WORTH_CLEARING {
            self.clear_left()?;
        }
        Ok(())
    }

    /// The groups in stored rows.
    fn groups_in(&self, rows: &RecordBatch) -> Result<Groups> {
        let columns = rows.columns()[..rows.num_columns() - 1].to_vec();
        let stored = under(&self.reduce.stored_schema()?, columns, rows.num_rows())?;
        self.reduce.restore(&stored)?.settled()
    }

    /// Takes the groups in stored rows in, none of which are there.
    fn take_groups(&mut self, rows: &RecordBatch) -> Result<()> {
        let back = self.groups_in(rows)?;
        if self.groups.is_empty() {
            self.groups = back;
            return Ok(());
        }
        self.groups.take_all(&back)
    }

    fn stored_schema(&self) -> Result<SchemaRef> {
        let schema = self.reduce.stored_schema()?;
        let fields = schema.fields().iter().map(|field| field.as_ref().clone());
        let fields = fields.chain([Field::new(ROWS, DataType::Int64, true)]).collect::<Vec<_>>();
        Ok(stored::stamped(Schema::new(fields)))
    }

    fn stored(&mut self, panes: &[(u32, u64, u64)]) -> Result<RecordBatch> {
        let mut columns = self.chosen(panes)?.store()?.columns().to_vec();
        columns.push(Arc::new(panes.iter().map(|(_, _, count)| Some(number(*count))).collect::<Int64Array>()));
        under(&self.stored_schema()?, columns, panes.len())
    }
}

impl Kept for KeptCounts {
    fn absorb(&mut self, partials: Vec<Partial>, moment: &Moment) -> Result<Partitions> {
        let parts = partials.into_iter().map(Partial::into_rows).collect::<Result<Vec<_>>>()?;
        let rows = concat_batches(&self.schemas.0, parts.iter().flatten())?;
        row_number(rows.num_rows())?;
        // Not after the batch: what windows needed must still be there for those who ask what has changed.
        self.clear_away()?;
        let complete = self.take_in(&rows, moment)?;
        let answer = self.answer(&complete)?;
        self.settle_groups()?;
        Ok(vec![vec![answer]])
    }

    fn changes(&mut self) -> Result<Vec<RecordBatch>> {
        Ok(vec![self.changes_stored()?])
    }

    fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        Ok(vec![self.all_stored()?])
    }

    fn restore(&mut self, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Result<()> {
        let schema = self.stored_schema()?;
        let all = snapshot.iter().chain(changes.iter().flatten()).collect::<Vec<_>>();
        all.iter().try_for_each(|rows| stored::check(rows, &schema))?;
        self.restore_keys(&all, 0..self.keep.keys.len() - 1)?;
        self.changed.clear();
        self.settle(None)
    }

    fn can_spill(&self) -> bool {
        true
    }

    fn spill_to(&mut self, room: &Room) {
        let windows = self.windows;
        self.held.spread(room, move |&count| Size { bytes: 0, groups: windows.needed(count).count() as u64 });
    }

    fn groups(&self) -> u64 {
        self.open as u64
    }

    /// The rows of the window of each key that comes next.
    fn scan(&self) -> Result<RecordBatch> {
        // Ids are looked up in a copy: looking may make groups.
        let mut copy = match self.whole()? {
            Some(whole) => whole,
            None => self.with_keys_here()?,
        };
        let windows = copy.held.all().into_iter().filter_map(|slot| {
            let needed = self.windows.needed(copy.held.get(slot)?.value);
            Some((slot, needed.start, needed.end.checked_sub(1)?))
        });
        let windows = windows.collect::<Vec<_>>();
        copy.answer(&windows)
    }
}

impl KeepsKeys for KeptCounts {
    type Value = u64;

    fn held(&self) -> &HeldKeys<u64> {
        &self.held
    }

    fn held_mut(&mut self) -> &mut HeldKeys<u64> {
        &mut self.held
    }

    fn schema_stored(&self) -> Result<SchemaRef> {
        self.stored_schema()
    }

    fn store_keys(&mut self, slots: &[u32]) -> Result<(RecordBatch, Vec<u32>)> {
        let needed = self.needed(slots);
        Ok((self.stored(&needed)?, needed.iter().map(|(slot, ..)| *slot).collect()))
    }

    fn take_back(&mut self, rows: &RecordBatch, since: &[u64]) -> Result<()> {
        let place = self.keep.keys.len() - 1;
        let grouped = self.held.group(&rows.columns()[..place], rows.num_rows())?;
        let counts = rows.column(rows.num_columns() - 1).as_primitive::<Int64Type>();
        for ((&group, &since), &count) in grouped.groups.iter().zip(since).zip(counts.values()) {
            self.held.put_back(grouped.slots[group as usize], since, Due::default(), count.unsigned_abs());
        }
        self.take_groups(rows)
    }

    fn restore_rows(&mut self, all: &RecordBatch, numbers: &[u64]) -> Result<()> {
        let place = self.keep.keys.len() - 1;
        // How many rows a key has had is said last by its last row.
        let known = self.held.group(&all.columns()[..place], all.num_rows())?;
        let said = all.column(all.num_columns() - 1).as_primitive::<Int64Type>();
        let mut counts = vec![0; known.slots.len()];
        for (row, &group) in known.groups.iter().enumerate() {
            let count = said.is_valid(row).then(|| said.value(row));
            let count = count.and_then(|count| u64::try_from(count).ok());
            counts[group as usize] = count.ok_or_else(|| stored::corrupt("a number of rows is none"))?;
        }
        let since = least_numbers(&known, numbers);
        let open_before = self.open;
        for ((&slot, &count), since) in known.slots.iter().zip(&counts).zip(since) {
            self.hold(slot, count, Some(since));
        }
        let (rows, _) = latest_rows(all, place + 1, numbers)?;
        let grouped = self.held.group(&rows.columns()[..place], rows.num_rows())?;
        let panes = rows.column(place).as_primitive::<Int64Type>();
        let needed = grouped.groups.iter().enumerate().map(|(row, &group)| {
            let count = self.held.get(grouped.slots[group as usize]).map_or(0, |held| held.value);
            Some(u64::try_from(panes.value(row)).is_ok_and(|pane| self.windows.needed(count).contains(&pane)))
        });
        let rows = filter_record_batch(&rows, &needed.collect::<BooleanArray>())?;
        if rows.num_rows() != self.open - open_before {
            return Err(stored::corrupt("rows of windows to come are missing"));
        }
        self.take_groups(&rows)
    }

    fn changed_rows(&mut self) -> Result<RecordBatch> {
        let changed = std::mem::take(&mut self.changed);
        let rows = self.stored(&changed);
        self.changed = changed;
        rows
    }

    fn without_keys(&self) -> Result<Self> {
        Self::new(&self.keep, &self.windows, self.schemas.clone())
    }

    fn with_keys_here(&self) -> Result<Self> {
        let mut copy = self.without_keys()?;
        copy.groups = self.groups.copied()?;
        self.held.copy_to(&mut copy.held)?;
        Ok(copy)
    }

    fn clear_left(&mut self) -> Result<()> {
        let needed = self.needed(&self.held.all());
        self.groups = self.chosen(&needed)?;
        Ok(())
    }
}

/// Numbers of rows as they stand in columns.
fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
