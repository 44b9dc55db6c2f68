//! The CPU twin of [`crate::kernels::join_streams`]: the rows that wait lie by key and time, each as one string of bytes.
//!
//! A row looks among the rows of the other stream that have its key, in the range of times that it matches, and then waits
//! with those of its own. A join that takes the latest row alone answers when rows of the left stream leave, and of the rows
//! of the right stream holds those that may still be the latest. Without keys that are held for long a batch costs its rows and their matches.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, UInt64Array};
use arrow_row::{RowConverter, RowParser, SortField};
use arrow_select::concat::concat_batches;

use super::held_keys::{Due, HeldKeys, KeepsKeys, Size, TakesBack, least_numbers};
use super::keep::{OVER_ENTRY, latest_rows, over_entry};
use crate::columnar::{DataType, Field, RecordBatch, Schema, SchemaRef};
use crate::error::Result;
use crate::kernels::join_streams::forgotten_at;
use crate::kernels::keep::under;
use crate::kernels::spill::Room;
use crate::kernels::{Kept, Moment, Partial, Partitions, row_number, stored};
use crate::plan::operator::JoinStreams;

/// A row's time, and its number among all rows that came.
type Stamp = (i64, u64);

#[derive(Debug, Clone)]
pub(super) struct Waiting {
    bytes: Arc<[u8]>,
    is_matched: bool,
}

/// The rows of a key that wait: those of the left stream, and those of the right.
type Bucket = [BTreeMap<Stamp, Waiting>; 2];

/// The columns of one stream as bytes.
struct Side {
    converter: RowConverter,
    parser: RowParser,
    nulls: Arc<[u8]>,
}

/// The rows that wait for others.
pub(super) struct KeptStreams {
    join: JoinStreams,
    /// Of the rows that come, and of those that go out.
    schemas: (SchemaRef, SchemaRef),
    sides: [Side; 2],
    held: HeldKeys<Bucket>,
    next: u64,
    count: usize,
    /// The rows that the latest batch changed: key, side, and which.
    changed: Vec<(u32, bool, Stamp)>,
    /// What was forgotten by then.
    over: Option<i64>,
}

/// A row of the left stream and the one it takes of the right: when it came, the key, and both.
type Answer = (Stamp, u32, Arc<[u8]>, Arc<[u8]>);

/// What comes out: the key, the row of the left stream, and that of the right one.
#[derive(Default)]
struct Given {
    slots: Vec<u32>,
    rows: [Vec<Arc<[u8]>>; 2],
}

impl Given {
    fn push(&mut self, slot: u32, left: &Arc<[u8]>, right: &Arc<[u8]>) {
        self.slots.push(slot);
        self.rows[0].push(Arc::clone(left));
        self.rows[1].push(Arc::clone(right));
    }
}

impl Side {
    /// Columns are not compared: what a dictionary stands for is another column.
    fn new(fields: &[Arc<Field>]) -> Result<Self> {
        let converter =
            RowConverter::new(fields.iter().map(|field| SortField::new(plain(field.data_type()))).collect())?;
        let nulls = fields.iter().map(|field| arrow_array::new_null_array(&plain(field.data_type()), 1));
        let nulls = match fields.is_empty() {
            true => Arc::from(&[][..]),
            false => Arc::from(converter.convert_columns(&nulls.collect::<Vec<_>>())?.row(0).data()),
        };
        Ok(Self { parser: converter.parser(), converter, nulls })
    }

    fn write(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<Arc<[u8]>>> {
        if columns.is_empty() {
            return Ok(vec![Arc::clone(&self.nulls); rows]);
        }
        let columns = columns.iter().map(|column| Ok(arrow_cast::cast(column, &plain(column.data_type()))?));
        let written = self.converter.convert_columns(&columns.collect::<Result<Vec<_>>>()?)?;
        Ok(written.iter().map(|row| Arc::from(row.data())).collect())
    }

    fn read(&self, rows: &[Arc<[u8]>], fields: &[Arc<Field>]) -> Result<Vec<ArrayRef>> {
        if fields.is_empty() {
            return Ok(Vec::new());
        }
        let columns = self.converter.convert_rows(rows.iter().map(|row| self.parser.parse(row)))?;
        columns.iter().zip(fields).map(|(column, field)| Ok(arrow_cast::cast(column, field.data_type())?)).collect()
    }
}

fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        other => other.clone(),
    }
}

impl KeptStreams {
    pub(super) fn new(join: &JoinStreams, schemas: (SchemaRef, SchemaRef)) -> Result<Self> {
        let fields = &schemas.1.fields()[join.keys.len()..];
        let (left, right) = fields.split_at(join.left);
        Ok(Self {
            join: join.clone(),
            sides: [Side::new(left)?, Side::new(right)?],
            held: HeldKeys::new(join.keys.iter().map(|key| (key.name.as_str(), &key.expr.data_type)))?,
            schemas,
            next: 0,
            count: 0,
            changed: Vec::new(),
            over: None,
        })
    }

    fn fields(&self, is_right: bool) -> &[Arc<Field>] {
        let (left, right) = self.schemas.1.fields()[self.join.keys.len()..].split_at(self.join.left);
        if is_right { right } else { left }
    }

    /// Takes the rows of a batch in, and gives the pairs that they make.
    fn take_in(&mut self, rows: &RecordBatch) -> Result<Given> {
        let keys_to = JoinStreams::KEYS_FROM + self.join.keys.len();
        let (keys, columns) = (&rows.columns()[JoinStreams::KEYS_FROM..keys_to], &rows.columns()[keys_to..]);
        let (left, right) = columns.split_at(self.join.left);
        let bytes = [self.sides[0].write(left, rows.num_rows())?, self.sides[1].write(right, rows.num_rows())?];
        let (sides, times) = (rows.column(0).as_boolean(), rows.column(1).as_primitive::<Int64Type>());
        let grouped = self.held.group(keys, rows.num_rows())?;
        let mut buckets: Vec<Bucket> =
            grouped.slots.iter().map(|&slot| self.held.take(slot).unwrap_or_default()).collect();
        let mut given = Given::default();
        for (row, &group) in grouped.groups.iter().enumerate() {
            let (slot, bucket) = (grouped.slots[group as usize], &mut buckets[group as usize]);
            let (is_right, time) = (sides.value(row), times.value(row));
            let own = &bytes[usize::from(is_right)][row];
            let mut is_matched = false;
            let has_key = keys.iter().all(|key| key.is_valid(row));
            if self.join.takes_latest && is_right && !has_key {
                // Nobody will look for it.
                continue;
            }
            if has_key && !self.join.takes_latest {
                // The other row may be this much older, and this much newer.
                let (older, newer) = match is_right {
                    true => (self.join.after, self.join.before),
                    false => (self.join.before, self.join.after),
                };
                let range = (time.saturating_sub(older), 0)..=(time.saturating_add(newer), u64::MAX);
                for (&stamp, other) in bucket[usize::from(!is_right)].range_mut(range) {
                    is_matched = true;
                    if is_right {
                        given.push(slot, &other.bytes, own);
                    } else {
                        given.push(slot, own, &other.bytes);
                    }
                    if !std::mem::replace(&mut other.is_matched, true) {
                        self.changed.push((slot, !is_right, stamp));
                    }
                }
            }
            let stamp = (time, self.next);
            self.next += 1;
            bucket[usize::from(is_right)].insert(stamp, Waiting { bytes: Arc::clone(own), is_matched });
            self.changed.push((slot, is_right, stamp));
            self.count += 1;
        }
        for (slot, bucket) in grouped.slots.into_iter().zip(buckets) {
            self.hold(slot, bucket);
        }
        Ok(given)
    }

    /// Lets the rows of a key wait; none is as good as forgetting it.
    fn hold(&mut self, slot: u32, bucket: Bucket) {
        match self.due_of(&bucket) {
            None => self.held.forget(slot),
            Some(due) => self.held.put(slot, due, bucket),
        }
    }

    /// When the first of these rows is due; none if there are no rows.
    fn due_of(&self, bucket: &Bucket) -> Option<Due> {
        let first = |is_right: bool| {
            let ((time, _), _) = bucket[usize::from(is_right)].first_key_value()?;
            Some(forgotten_at(&self.join, is_right, *time))
        };
        // Of several rows of the right stream the first goes once the second is the latest for all that can come.
        let second = bucket[1].keys().nth(1).filter(|_| self.join.takes_latest);
        let second = second.map(|(time, _)| forgotten_at(&self.join, false, *time));
        let first = [first(false), first(true), second].into_iter().flatten().min()?;
        let until_event = (!self.join.watermarks.is_empty()).then_some(first);
        Some(Due { until: None, until_event })
    }

    /// Forgets the rows that no other can match any more; those without a match are given, if the join wants them.
    fn forget(&mut self, horizon: Option<i64>) -> Given {
        let mut over: Vec<(Stamp, bool, u32, Arc<[u8]>)> = Vec::new();
        let mut answers: Vec<Answer> = Vec::new();
        let moment = Moment { horizon, ..Moment::default() };
        for slot in if horizon.is_some() { self.held.due(&moment) } else { Vec::new() } {
            let Some(mut bucket) = self.held.take(slot) else { continue };
            if self.join.takes_latest {
                self.answer(slot, &mut bucket, horizon, &mut answers);
                self.hold(slot, bucket);
                continue;
            }
            for (is_right, rows) in [false, true].into_iter().zip(&mut bucket) {
                while let Some(entry) = rows.first_entry() {
                    let (time, _) = *entry.key();
                    if horizon.is_none_or(|horizon| horizon < forgotten_at(&self.join, is_right, time)) {
                        break;
                    }
                    let (stamp, waiting) = entry.remove_entry();
                    self.count -= 1;
                    if !waiting.is_matched && self.join.kind.gives_unmatched(is_right) {
                        over.push((stamp, is_right, slot, waiting.bytes));
                    }
                }
            }
            self.hold(slot, bucket);
        }
        over.sort_unstable_by_key(|(stamp, ..)| *stamp);
        answers.sort_unstable_by_key(|(stamp, ..)| *stamp);
        let mut given = Given::default();
        for (_, slot, left, right) in answers {
            given.push(slot, &left, &right);
        }
        for (_, is_right, slot, bytes) in over {
            match is_right {
                true => given.push(slot, &self.sides[0].nulls, &bytes),
                false => given.push(slot, &bytes, &self.sides[1].nulls),
            }
        }
        given
    }

    /// Gives each row of the left stream, for which no other can come any more, the latest of the right one; forgets those of
    /// the right one that cannot be the latest again.
    fn answer(&mut self, slot: u32, bucket: &mut Bucket, horizon: Option<i64>, answers: &mut Vec<Answer>) {
        let is_over = |is_right: bool, time: i64| {
            horizon.is_some_and(|horizon| horizon >= forgotten_at(&self.join, is_right, time))
        };
        let [lefts, rights] = bucket;
        while let Some(entry) = lefts.first_entry() {
            let (time, _) = *entry.key();
            if !is_over(false, time) {
                break;
            }
            let (stamp, waiting) = entry.remove_entry();
            self.count -= 1;
            let range = (time.saturating_sub(self.join.before), 0)..=(time, u64::MAX);
            let latest = rights.range(range).next_back().map(|(_, right)| &right.bytes);
            let right = latest.or(self.join.kind.gives_unmatched(false).then_some(&self.sides[1].nulls));
            answers.extend(right.map(|right| (stamp, slot, waiting.bytes, Arc::clone(right))));
        }
        let is_of_no_use = |rights: &BTreeMap<Stamp, Waiting>| {
            let mut first = rights.keys().map(|(time, _)| *time);
            let (one, next) = (first.next(), first.next());
            one.is_some_and(|time| is_over(true, time)) || next.is_some_and(|time| is_over(false, time))
        };
        while is_of_no_use(rights) {
            rights.pop_first();
            self.count -= 1;
        }
    }

    fn rows(&self, given: &Given) -> Result<RecordBatch> {
        let mut columns = self.held.keys(&given.slots)?;
        columns.extend(self.sides[0].read(&given.rows[0], self.fields(false))?);
        columns.extend(self.sides[1].read(&given.rows[1], self.fields(true))?);
        under(&self.schemas.1, columns, given.slots.len())
    }

    /// Number, side, time and whether it was matched; then keys and columns.
    fn stored_schema(&self) -> SchemaRef {
        let mut fields = vec![
            Field::new("number", DataType::UInt64, true),
            Field::new("is right", DataType::Boolean, true),
            Field::new("time", DataType::Int64, true),
            Field::new("is matched", DataType::Boolean, true),
        ];
        fields.extend(self.schemas.1.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)));
        stored::stamped(Schema::new(fields))
    }

    /// The rows of these that still wait.
    fn stored(&self, rows: &[(u32, bool, Stamp)]) -> Result<RecordBatch> {
        let mut given = Given::default();
        let (mut numbers, mut sides, mut times, mut matched) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for &(slot, is_right, stamp) in rows {
            let bucket = self.held.get(slot).map(|held| &held.value);
            let Some(waiting) = bucket.and_then(|bucket| bucket[usize::from(is_right)].get(&stamp)) else { continue };
            match is_right {
                true => given.push(slot, &self.sides[0].nulls, &waiting.bytes),
                false => given.push(slot, &waiting.bytes, &self.sides[1].nulls),
            }
            numbers.push(stamp.1);
            sides.push(is_right);
            times.push(stamp.0);
            matched.push(waiting.is_matched);
        }
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(numbers)),
            Arc::new(BooleanArray::from(sides)),
            Arc::new(Int64Array::from(times)),
            Arc::new(BooleanArray::from(matched)),
        ];
        columns.extend(self.held.keys(&given.slots)?);
        columns.extend(self.sides[0].read(&given.rows[0], self.fields(false))?);
        columns.extend(self.sides[1].read(&given.rows[1], self.fields(true))?);
        under(&self.stored_schema(), columns, given.slots.len())
    }

    /// The rows of keys that wait.
    fn rows_of(&self, slots: &[u32]) -> Vec<(u32, bool, Stamp)> {
        let mut all = Vec::with_capacity(slots.len());
        for &slot in slots {
            let sides = self.held.get(slot).into_iter().flat_map(|held| [false, true].into_iter().zip(&held.value));
            all.extend(sides.flat_map(|(is_right, rows)| rows.keys().map(move |&stamp| (slot, is_right, stamp))));
        }
        all
    }

    /// Rows that were stored, by their keys: the slot of each key, the least number of its rows, and the rows.
    fn buckets(&mut self, rows: &RecordBatch, numbers_of_rows: &[u64]) -> Result<Vec<(u32, u64, Bucket)>> {
        let keys_to = 4 + self.join.keys.len();
        let grouped = self.held.group(&rows.columns()[4..keys_to], rows.num_rows())?;
        let (left, right) = rows.columns()[keys_to..].split_at(self.join.left);
        let bytes = [self.sides[0].write(left, rows.num_rows())?, self.sides[1].write(right, rows.num_rows())?];
        let (numbers, times) =
            (rows.column(0).as_primitive::<UInt64Type>(), rows.column(2).as_primitive::<Int64Type>());
        let (sides, matched) = (rows.column(1).as_boolean(), rows.column(3).as_boolean());
        let mut buckets = vec![Bucket::default(); grouped.slots.len()];
        for (row, &group) in grouped.groups.iter().enumerate() {
            let side = usize::from(sides.value(row));
            let waiting = Waiting { bytes: Arc::clone(&bytes[side][row]), is_matched: matched.value(row) };
            buckets[group as usize][side].insert((times.value(row), numbers.value(row)), waiting);
            self.next = self.next.max(numbers.value(row) + 1);
        }
        let least = least_numbers(&grouped, numbers_of_rows);
        Ok(grouped
            .slots
            .into_iter()
            .zip(least)
            .zip(buckets)
            .map(|((slot, least), bucket)| (slot, least, bucket))
            .collect())
    }
}

impl Kept for KeptStreams {
    fn absorb(&mut self, partials: Vec<Partial>, moment: &Moment) -> Result<Partitions> {
        let parts = partials.into_iter().map(Partial::into_rows).collect::<Result<Vec<_>>>()?;
        let rows = concat_batches(&self.schemas.0, parts.iter().flatten())?;
        row_number(rows.num_rows())?;
        self.changed.clear();
        let keys = JoinStreams::KEYS_FROM..JoinStreams::KEYS_FROM + self.join.keys.len();
        self.bring(&rows.columns()[keys], rows.num_rows(), moment)?;
        let pairs = self.take_in(&rows)?;
        let over = self.forget(moment.horizon);
        self.over = moment.horizon;
        let answer = vec![vec![self.rows(&pairs)?, self.rows(&over)?]];
        self.settle(Some(&rows))?;
        Ok(answer)
    }

    fn changes(&mut self) -> Result<Vec<RecordBatch>> {
        let rows = self.changes_stored()?;
        let Some(over) = self.over else { return Ok(vec![rows]) };
        let mut metadata = rows.schema().metadata().clone();
        metadata.insert(OVER_ENTRY.to_owned(), over.to_string());
        let schema = rows.schema().as_ref().clone().with_metadata(metadata);
        Ok(vec![rows.with_schema(Arc::new(schema))?])
    }

    fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        Ok(vec![self.all_stored()?])
    }

    fn restore(&mut self, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Result<()> {
        let schema = self.stored_schema();
        let all = snapshot.iter().chain(changes.iter().flatten()).collect::<Vec<_>>();
        let mut over = None;
        for rows in &all {
            stored::check(rows, &schema)?;
            over = over.max(over_entry(rows.schema_ref())?);
        }
        self.restore_keys(&all, 4..4 + self.join.keys.len())?;
        // What a batch has forgotten it has given as well.
        self.bring(&[], 0, &Moment { horizon: over, ..Moment::default() })?;
        self.forget(over);
        self.changed.clear();
        self.settle(None)
    }

    fn can_spill(&self) -> bool {
        true
    }

    fn spill_to(&mut self, room: &Room) {
        self.held.spread(room, |bucket| Size { bytes: 0, groups: bucket.iter().map(|rows| rows.len() as u64).sum() });
    }

    fn groups(&self) -> u64 {
        self.count as u64
    }

    /// The rows that wait; the columns of the other stream are null.
    fn scan(&self) -> Result<RecordBatch> {
        let whole = self.whole()?;
        let kept = whole.as_ref().unwrap_or(self);
        let stored = kept.stored(&kept.rows_of(&kept.held.all()))?;
        let schema = stored.schema();
        let fields = schema.fields().iter().skip(1).cloned().collect::<Vec<_>>();
        under(&Arc::new(Schema::new(fields)), stored.columns()[1..].to_vec(), stored.num_rows())
    }

    fn end(&self) -> Option<i64> {
        self.end_of(&self.held.all()).max(self.held.end_away())
    }
}

impl KeepsKeys for KeptStreams {
    type Value = Bucket;

    fn held(&self) -> &HeldKeys<Bucket> {
        &self.held
    }

    fn held_mut(&mut self) -> &mut HeldKeys<Bucket> {
        &mut self.held
    }

    fn schema_stored(&self) -> Result<SchemaRef> {
        Ok(self.stored_schema())
    }

    fn store_keys(&mut self, slots: &[u32]) -> Result<(RecordBatch, Vec<u32>)> {
        let rows = self.rows_of(slots);
        Ok((self.stored(&rows)?, rows.iter().map(|(slot, ..)| *slot).collect()))
    }

    fn take_back(&mut self, rows: &RecordBatch, since: &[u64]) -> Result<()> {
        for (slot, since, bucket) in self.buckets(rows, since)? {
            if let Some(due) = self.due_of(&bucket) {
                self.held.put_back(slot, since, due, bucket);
            }
        }
        Ok(())
    }

    fn restore_rows(&mut self, rows: &RecordBatch, numbers: &[u64]) -> Result<()> {
        let (rows, numbers) = latest_rows(rows, 1, numbers)?;
        self.count += rows.num_rows();
        self.take_back(&rows, &numbers)
    }

    fn changed_rows(&mut self) -> Result<RecordBatch> {
        self.stored(&self.changed)
    }

    fn without_keys(&self) -> Result<Self> {
        Self::new(&self.join, self.schemas.clone())
    }

    fn with_keys_here(&self) -> Result<Self> {
        let mut copy = self.without_keys()?;
        self.held.copy_to(&mut copy.held)?;
        Ok(copy)
    }

    fn end_of(&self, slots: &[u32]) -> Option<i64> {
        let takes_latest = self.join.takes_latest;
        let waits = |is_right: bool| self.join.kind.gives_unmatched(is_right) || takes_latest && !is_right;
        let [left, right] = [false, true].map(waits);
        if !left && !right {
            return None;
        }
        let last = self.rows_of(slots).into_iter().filter(|(_, is_right, _)| if *is_right { right } else { left });
        last.map(|(_, is_right, (time, _))| forgotten_at(&self.join, is_right, time)).max()
    }
}
