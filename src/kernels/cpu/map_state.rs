//! The CPU twin of [`crate::kernels::map_state`]: the rows of a batch are put in the order of their keys, and the function is
//! called for many keys at a time, on all threads.
//!
//! What is remembered lies here as the bytes that the function gave, so that a query that was started again sees what one
//! that ran on sees.

#![expect(clippy::cast_possible_truncation, reason = "rows of a batch fit u32: checked when they come")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::builder::LargeBinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Int64Array, StringArray, TimestampMicrosecondArray, UInt32Array};
use arrow_select::concat::concat_batches;
use arrow_select::take::{take, take_record_batch};
use rayon::prelude::*;

use super::held_keys::{Due, Grouped, HeldKeys, KeepsKeys, Size, TakesBack};
use super::initial::InitialRows;
use crate::columnar::{ArrayRef, DataType, Field, RecordBatch, Schema, SchemaRef, TimeUnit};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::keep::under;
use crate::kernels::map_state::{check_answers, micros};
use crate::kernels::spill::Room;
use crate::kernels::user_function::panic_text;
use crate::kernels::{Kept, Moment, Partial, Partitions, row_number, stored};
use crate::plan::keep::OutputMode;
use crate::plan::operator::MapState;
use crate::plan::state_function::{KeyAnswers, KeyCalls, StateFunction};

/// Keys that the function is called for at once.
pub(super) const KEYS_AT_ONCE: usize = 2_048;

/// A function of the user's, with its name.
pub(super) type NamedFunction = (String, Arc<dyn StateFunction>);

/// What a function remembers.
pub(super) struct KeptStates {
    map: MapState,
    /// None where a checkpoint is looked at: then nothing is called.
    function: Option<NamedFunction>,
    /// Of the rows that come, and of those that go out.
    schemas: (SchemaRef, SchemaRef),
    held: HeldKeys<Box<[u8]>>,
    /// The keys that the latest batch changed.
    changed: Vec<u32>,
    /// What is remembered with the first batch: keys and states.
    initial: Option<(InitialRows, Vec<Vec<u8>>)>,
    /// The keys that were remembered so, until a batch has been taken in.
    begun: Vec<u32>,
}

/// Some keys, and what the function gave for them.
type Answered = (Vec<u32>, KeyAnswers);

impl KeptStates {
    pub(super) fn new(
        map: &MapState,
        function: Option<NamedFunction>,
        schemas: (SchemaRef, SchemaRef),
    ) -> Result<Self> {
        let held = HeldKeys::new(map.keys.iter().map(|key| (key.name.as_str(), &key.expr.data_type)))?;
        Ok(Self { map: map.clone(), function, schemas, held, changed: Vec::new(), initial: None, begun: Vec::new() })
    }

    /// The same, with states to begin with.
    pub(super) fn beginning(mut self, initial: Option<&InitialRows>) -> Result<Self> {
        let Some(initial) = initial else { return Ok(self) };
        let function = self.function()?.1;
        let (names, columns) = initial.others();
        let states = match columns {
            [stored] if initial.is_stored => stored.as_binary::<i64>().iter().flatten().map(<[u8]>::to_vec).collect(),
            _ => function.begin(&names, columns)?,
        };
        states.iter().try_for_each(|state| function.check(state))?;
        if states.len() != initial.rows {
            return Err(Error::internal(format!("{} rows made {} states", initial.rows, states.len())));
        }
        self.initial = Some((initial.clone(), states));
        Ok(self)
    }

    /// Remembers what there is in the beginning, before the first batch.
    fn begin(&mut self, moment: &Moment) -> Result<()> {
        let Some((initial, states)) = self.initial.take() else { return Ok(()) };
        let slots = self.held.group(initial.keys(), initial.rows)?.slots;
        let until = self.map.ttl.map(|ttl| micros(moment.time).saturating_add(micros(ttl)));
        for (&slot, state) in slots.iter().zip(states) {
            self.held.put(slot, Due { until, until_event: None }, state.into());
        }
        self.begun = slots;
        Ok(())
    }

    fn function(&self) -> Result<(&str, &dyn StateFunction)> {
        let function = self.function.as_ref().map(|(name, function)| (name.as_str(), function.as_ref()));
        function.ok_or_else(|| Error::internal("a function is to be called that is not there"))
    }

    fn call(&self, calls: &KeyCalls<'_>) -> Result<KeyAnswers> {
        let (name, function) = self.function()?;
        let failed = |how: &str| {
            Error::new(ErrorKind::Function, format!("the function \"{name}\" of \"{}\" {how}", self.map.name))
        };
        // After a panic nothing of the batch is taken in: what the function left behind is its own affair.
        let called = catch_unwind(AssertUnwindSafe(|| function.call(calls)));
        let answers = called.map_err(|panic| failed(&format!("panicked: {}", panic_text(panic.as_ref()))))?;
        let answers =
            answers.map_err(|error| error.context(format!("in the function \"{name}\" of \"{}\"", self.map.name)))?;
        check_answers(name, &answers, calls.ends.len())?;
        Ok(answers)
    }

    /// Calls the function for all keys of the batch.
    fn call_rows(&self, rows: &RecordBatch, grouped: &Grouped, moment: &Moment) -> Result<Vec<Answered>> {
        let (order, ends) = in_key_order(&grouped.groups, grouped.slots.len());
        let values = &rows.columns()[self.map.keys.len()..];
        let one = |(number, slots): (usize, &[u32])| {
            let first_key = number * KEYS_AT_ONCE;
            let first_row = first_key.checked_sub(1).map_or(0, |before| ends[before]);
            let ends = ends[first_key..first_key + slots.len()].iter().map(|end| end - first_row).collect::<Vec<_>>();
            let places = &order[first_row..first_row + ends.last().copied().unwrap_or(0)];
            let chosen = UInt32Array::from(places.to_vec());
            let values = values.iter().map(|column| take(column, &chosen, None)).collect::<Result<Vec<_>, _>>()?;
            let calls = KeyCalls {
                keys: &self.held.keys(slots)?,
                values: &values,
                ends: &ends,
                places,
                states: &self.states(slots),
                is_timed_out: false,
                has_watermark: !self.map.watermarks.is_empty(),
                time: moment.time,
                horizon: moment.horizon_before,
            };
            Ok((slots.to_vec(), self.call(&calls)?))
        };
        let all: Vec<Result<Answered>> = grouped.slots.par_chunks(KEYS_AT_ONCE).enumerate().map(one).collect();
        all.into_iter().collect()
    }

    /// Calls the function for keys whose time is over.
    fn call_due(&self, moment: &Moment) -> Result<Vec<Answered>> {
        let mut due = self.held.due(moment);
        due.retain(|&slot| !self.held.is_in_batch(slot));
        let fields = self.schemas.0.fields().iter().skip(self.map.keys.len());
        let none = fields.map(|field| arrow_array::new_empty_array(field.data_type())).collect::<Vec<_>>();
        let one = |slots: &[u32]| {
            let calls = KeyCalls {
                keys: &self.held.keys(slots)?,
                values: &none,
                ends: &vec![0; slots.len()],
                places: &[],
                states: &self.states(slots),
                is_timed_out: true,
                has_watermark: !self.map.watermarks.is_empty(),
                time: moment.time,
                horizon: moment.horizon,
            };
            Ok((slots.to_vec(), self.call(&calls)?))
        };
        let all: Vec<Result<Answered>> = due.par_chunks(KEYS_AT_ONCE).map(one).collect();
        all.into_iter().collect()
    }

    fn states(&self, slots: &[u32]) -> Vec<Option<&[u8]>> {
        slots.iter().map(|&slot| self.held.get(slot).map(|held| &*held.value)).collect()
    }

    /// Remembers what the function left behind, and gives the rows that it gave, with their places.
    fn take_in(&mut self, answered: Vec<Answered>) -> Result<(Vec<RecordBatch>, Vec<u32>)> {
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        for (slots, answers) in answered {
            rows.push(under(&self.schemas.1, answers.rows, answers.places.len())?);
            places.extend(answers.places);
            for (slot, after) in slots.into_iter().zip(answers.states) {
                if let Some(state) = after.state {
                    let due = Due { until: after.until, until_event: after.until_event };
                    self.held.put(slot, due, state.into());
                    self.changed.push(slot);
                } else if self.held.get(slot).is_some() {
                    self.held.forget(slot);
                    self.changed.push(slot);
                }
            }
        }
        Ok((rows, places))
    }

    /// All that is remembered.
    fn show(&mut self) -> Result<RecordBatch> {
        self.bring_all()?;
        let all = self.held.all();
        let states = self.states(&all).into_iter().flatten().collect::<Vec<_>>();
        under(&self.schemas.1, self.function()?.1.show(&self.held.keys(&all)?, &states)?, all.len())
    }

    fn stored_schema(&self) -> SchemaRef {
        let mut fields = self.held.stored_fields();
        fields.push(Field::new("state", DataType::LargeBinary, true));
        stored::stamped(Schema::new(fields))
    }

    fn stored(&self, slots: &[u32]) -> Result<RecordBatch> {
        let mut columns = self.held.store(slots)?;
        let mut states = LargeBinaryBuilder::new();
        self.states(slots).into_iter().for_each(|state| states.append_option(state));
        columns.push(Arc::new(states.finish()));
        under(&self.stored_schema(), columns, slots.len())
    }
}

impl Kept for KeptStates {
    fn absorb(&mut self, partials: Vec<Partial>, moment: &Moment) -> Result<Partitions> {
        let parts = partials.into_iter().map(Partial::into_rows).collect::<Result<Vec<_>>>()?;
        let rows = concat_batches(&self.schemas.0, parts.iter().flatten())?;
        row_number(rows.num_rows())?;
        self.begin(moment)?;
        let keys = &rows.columns()[..self.map.keys.len()];
        self.bring(keys, rows.num_rows(), moment)?;
        let grouped = self.held.group(keys, rows.num_rows())?;
        // All is called before anything is remembered: if the function fails, the batch can be run again.
        let of_rows = self.call_rows(&rows, &grouped, moment)?;
        let of_due = self.call_due(moment)?;
        self.changed = std::mem::take(&mut self.begun);
        let (given, places) = self.take_in(of_rows)?;
        let given = in_places(&concat_batches(&self.schemas.1, &given)?, &places)?;
        let (timed_out, _) = self.take_in(of_due)?;
        let answer = match self.map.mode {
            OutputMode::Complete => self.show()?,
            _ => concat_batches(&self.schemas.1, std::iter::once(&given).chain(&timed_out))?,
        };
        self.settle(None)?;
        Ok(vec![vec![answer]])
    }

    fn changes(&mut self) -> Result<Vec<RecordBatch>> {
        Ok(vec![self.changes_stored()?])
    }

    fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        Ok(vec![self.all_stored()?])
    }

    fn restore(&mut self, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Result<()> {
        self.initial = None;
        let schema = self.stored_schema();
        let all = snapshot.iter().chain(changes.iter().flatten()).collect::<Vec<_>>();
        all.iter().try_for_each(|rows| stored::check(rows, &schema))?;
        self.restore_keys(&all, 0..self.map.keys.len())?;
        self.settle(None)
    }

    fn can_spill(&self) -> bool {
        true
    }

    fn spill_to(&mut self, room: &Room) {
        self.held.spread(room, |state| Size { bytes: state.len() as u64, groups: 0 });
    }

    fn end(&self) -> Option<i64> {
        self.held.last_due_event().max(self.held.end_away())
    }

    fn due(&self) -> Option<i64> {
        self.held.first_due()
    }

    fn groups(&self) -> u64 {
        self.held.len() as u64
    }

    fn scan(&self) -> Result<RecordBatch> {
        let whole = self.whole()?;
        let kept = whole.as_ref().unwrap_or(self);
        kept.shown(&kept.held.all())
    }

    fn get(&self, key: &[ArrayRef]) -> Result<RecordBatch> {
        let near = self.near(key)?;
        let kept = near.as_ref().unwrap_or(self);
        kept.shown(&kept.held.find(key)?.into_iter().collect::<Vec<_>>())
    }
}

impl KeepsKeys for KeptStates {
    type Value = Box<[u8]>;

    fn held(&self) -> &HeldKeys<Box<[u8]>> {
        &self.held
    }

    fn held_mut(&mut self) -> &mut HeldKeys<Box<[u8]>> {
        &mut self.held
    }

    fn schema_stored(&self) -> Result<SchemaRef> {
        Ok(self.stored_schema())
    }

    fn store_keys(&mut self, slots: &[u32]) -> Result<(RecordBatch, Vec<u32>)> {
        Ok((self.stored(slots)?, slots.to_vec()))
    }

    fn take_back(&mut self, rows: &RecordBatch, _: &[u64]) -> Result<()> {
        self.remember(rows)?;
        Ok(())
    }

    fn restore_rows(&mut self, rows: &RecordBatch, _: &[u64]) -> Result<()> {
        let slots = self.remember(rows)?;
        self.check_states(&slots)
    }

    fn changed_rows(&mut self) -> Result<RecordBatch> {
        self.stored(&self.changed)
    }

    fn without_keys(&self) -> Result<Self> {
        Self::new(&self.map, self.function.clone(), self.schemas.clone())
    }

    fn with_keys_here(&self) -> Result<Self> {
        let mut copy = self.without_keys()?;
        copy.remember(&self.stored(&self.held.all())?)?;
        Ok(copy)
    }

    fn end_of(&self, slots: &[u32]) -> Option<i64> {
        slots.iter().filter_map(|&slot| self.held.get(slot)?.due.until_event).max()
    }
}

impl KeptStates {
    /// Remembers what was stored; gives the slots of the keys.
    fn remember(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let states = rows.column(rows.num_columns() - 1).as_binary::<i64>();
        self.held.restore(rows, |row| states.value(row).into())
    }

    /// Holds what is remembered of keys to the type that the function has now.
    fn check_states(&self, slots: &[u32]) -> Result<()> {
        let Some((_, function)) = &self.function else { return Ok(()) };
        let check = |&slot: &u32| self.held.get(slot).map_or(Ok(()), |held| function.check(&held.value));
        slots.iter().try_for_each(check).map_err(|error| {
            let message = format!("what is remembered is no {} any more: {}", self.map.state_type, error.message());
            let advice = "let the type read what was stored (serde's `default` for what is new), or start anew with a new checkpoint";
            Error::invalid_query(message).advice(advice).because(error)
        })
    }

    /// The keys, what is remembered as JSON, and when its time is over.
    fn shown(&self, all: &[u32]) -> Result<RecordBatch> {
        let held = || all.iter().filter_map(|&slot| self.held.get(slot));
        let keys = self.map.keys.iter().map(|key| Field::new(&key.name, key.expr.data_type.clone(), true));
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let mut fields = keys.collect::<Vec<_>>();
        fields.push(Field::new("state", DataType::Utf8, false));
        fields.push(Field::new("until", time, true));
        fields.push(Field::new("until_event", DataType::Timestamp(TimeUnit::Microsecond, None), true));
        let mut columns = self.held.keys(all)?;
        columns.push(Arc::new(held().map(|held| Some(as_json(&held.value))).collect::<StringArray>()));
        let until = held().map(|held| held.due.until).collect::<TimestampMicrosecondArray>();
        columns.push(Arc::new(until.with_timezone("UTC")));
        let until_event = held().map(|held| held.due.until_event).collect::<Int64Array>();
        columns.push(Arc::new(until_event.reinterpret_cast::<arrow_array::types::TimestampMicrosecondType>()));
        under(&Arc::new(Schema::new(fields)), columns, all.len())
    }
}

/// The rows in the order of their keys, rows of a key in their own; and where each key ends.
pub(super) fn in_key_order(groups: &[u32], keys: usize) -> (Vec<u32>, Vec<usize>) {
    let mut ends = vec![0_usize; keys];
    groups.iter().for_each(|&group| ends[group as usize] += 1);
    let mut total = 0;
    let mut next = Vec::with_capacity(keys);
    for end in &mut ends {
        next.push(total);
        total += *end;
        *end = total;
    }
    let mut order = vec![0_u32; groups.len()];
    for (row, &group) in groups.iter().enumerate() {
        let place = &mut next[group as usize];
        order[*place] = row as u32;
        *place += 1;
    }
    (order, ends)
}

/// The rows in the order of their places; of one place in their own.
fn in_places(rows: &RecordBatch, places: &[u32]) -> Result<RecordBatch> {
    if places.is_sorted() {
        return Ok(rows.clone());
    }
    let mut order = (0..places.len() as u32).collect::<Vec<_>>();
    order.sort_by_key(|&row| places[row as usize]);
    Ok(take_record_batch(rows, &UInt32Array::from(order))?)
}

/// What is remembered, for people: the bytes say by themselves what they are.
fn as_json(state: &[u8]) -> String {
    rmp_serde::from_slice::<serde_json::Value>(state)
        .map_or_else(|_| format!("\"{} bytes\"", state.len()), |value| value.to_string())
}
