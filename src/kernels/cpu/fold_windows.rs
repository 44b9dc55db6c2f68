//! The CPU twin of [`crate::kernels::fold_windows`]: each batch is made one value a key, and the values of a batch are a piece of the
//! window that leaves as a whole. What becomes of them is the business of [`Folds`], in the user's own types.
//!
//! ```text
//! pieces    batch 3: a b     batch 4: b     batch 6: a c        in columns: these are stored
//! folds     a: 3, 6   b: 3, 4   c: 6                            in Rust: follows from them, but for what an inverse left
//! ```

#![expect(clippy::cast_possible_truncation, reason = "rows of a batch fit u32: checked when they come")]

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, BooleanArray, Int64Array, TimestampMicrosecondArray, UInt32Array};
use arrow_select::concat::{concat, concat_batches};
use arrow_select::take::take;
use rayon::prelude::*;

use super::held_keys::{Due, Grouped, HeldKeys};
use super::keep::{OVER_ENTRY, over_entry};
use super::map_state::{KEYS_AT_ONCE, in_key_order};
use crate::columnar::{ArrayRef, DataType, Field, RecordBatch, Schema, SchemaRef, TimeUnit};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::keep::{has_slid, under};
use crate::kernels::map_state::micros;
use crate::kernels::user_function::panic_text;
use crate::kernels::{Kept, Moment, Partial, Partitions, row_number, stored};
use crate::plan::fold_function::{FoldFunction, FoldedKeys, Folds};
use crate::plan::operator::FoldWindows;

/// The columns of what is stored, between keys and values: the time of the batch of a value, or nothing for the total of a
/// key; and whether the key is held at all.
const TIME: &str = "batch";
const HELD: &str = "held";

/// A function of the user's, with its name.
pub(super) type NamedFold = (String, Arc<dyn FoldFunction>);

/// The values of windows over the latest batches.
pub(super) struct KeptFolds {
    fold: FoldWindows,
    /// None where a checkpoint is looked at: then nothing is called.
    function: Option<(NamedFold, Box<dyn Folds>)>,
    /// Of the rows that come, and of those that go out.
    schemas: (SchemaRef, SchemaRef),
    held: HeldKeys<KeyHeld>,
    pieces: BTreeMap<i64, Vec<Piece>>,
    /// The number of the next value, and of the next key: the order in which they came.
    next: u64,
    /// The time of the latest batch.
    now: i64,
    latest: Latest,
}

/// What is known of a key beside its values.
#[derive(Debug, Default)]
struct KeyHeld {
    /// Tells the key from an earlier one in its slot.
    life: u64,
    /// The numbers of its values in the window, rising.
    values: VecDeque<u64>,
}

/// The values of a batch, one a key.
struct Piece {
    slots: Vec<u32>,
    lives: Vec<u64>,
    columns: Vec<ArrayRef>,
}

/// What the latest batch changed.
#[derive(Default)]
struct Latest {
    over_before: Option<i64>,
    /// The columns of the values that came, keys and all.
    came: Option<RecordBatch>,
    /// Keys whose totals are others.
    moved: Vec<u32>,
}

impl KeptFolds {
    pub(super) fn new(
        fold: &FoldWindows,
        function: Option<NamedFold>,
        schemas: (SchemaRef, SchemaRef),
    ) -> Result<Self> {
        let held = HeldKeys::new(fold.keys.iter().map(|key| (key.name.as_str(), &key.expr.data_type)))?;
        let function = function.map(|function| {
            let folds = function.1.begin(micros(fold.size));
            (function, folds)
        });
        let (pieces, latest) = (BTreeMap::new(), Latest::default());
        Ok(Self { fold: fold.clone(), function, schemas, held, pieces, next: 0, now: 0, latest })
    }

    /// Lets the user's code run: a panic is an error that names it.
    fn guarded<T>(&mut self, work: impl FnOnce(&dyn FoldFunction, &mut dyn Folds) -> Result<T>) -> Result<T> {
        let operator = &self.fold.name;
        let Some(((name, function), folds)) = &mut self.function else {
            return Err(Error::internal("a function is to be called that is not there"));
        };
        // After a panic the batch has failed, and nobody looks at what it left behind.
        let called = catch_unwind(AssertUnwindSafe(|| work(function.as_ref(), folds.as_mut())));
        called.unwrap_or_else(|panic| Err(panicked(name, operator, panic.as_ref())))
    }

    /// One value for each key of the batch that has one, on all threads.
    fn folded(&mut self, rows: &RecordBatch, grouped: &Grouped) -> Result<FoldedKeys> {
        let (order, ends) = in_key_order(&grouped.groups, grouped.slots.len());
        let values = rows.columns()[self.fold.keys.len()..].to_vec();
        self.guarded(|function, _| {
            let one = |(number, ends_here): (usize, &[usize])| {
                let from = (number * KEYS_AT_ONCE).checked_sub(1).map_or(0, |before| ends[before]);
                let chosen = UInt32Array::from(order[from..ends_here.last().copied().unwrap_or(from)].to_vec());
                let values = values.iter().map(|column| take(column, &chosen, None)).collect::<Result<Vec<_>, _>>()?;
                let ends_here = ends_here.iter().map(|end| end - from).collect::<Vec<_>>();
                let mut folded = function.fold(&values, &ends_here)?;
                if folded.columns.iter().any(|column| column.len() != folded.keys.len()) {
                    return Err(Error::internal("a function gave another number of values than of keys"));
                }
                folded.keys.iter_mut().for_each(|key| *key += (number * KEYS_AT_ONCE) as u32);
                Ok(folded)
            };
            let parts = ends.par_chunks(KEYS_AT_ONCE).enumerate().map(one).collect::<Result<Vec<_>>>()?;
            let Some(first) = parts.first() else { return Ok(FoldedKeys::default()) };
            let column =
                |place: usize| concat(&parts.iter().map(|part| part.columns[place].as_ref()).collect::<Vec<_>>());
            let columns = (0..first.columns.len()).map(column).collect::<Result<_, _>>()?;
            Ok(FoldedKeys { columns, keys: parts.iter().flat_map(|part| part.keys.iter().copied()).collect() })
        })
    }

    /// Takes the values out that the window has left behind.
    fn leave(&mut self, now: i64) -> Result<()> {
        let over_before = now.saturating_sub(micros(self.fold.size)).saturating_add(1);
        let later = self.pieces.split_off(&over_before);
        let over = std::mem::replace(&mut self.pieces, later);
        self.latest.over_before = Some(over_before);
        for piece in over.into_values().flatten() {
            let piece = self.alive(piece)?;
            self.guarded(|_, folds| folds.leave(&piece.slots, now, &piece.columns))?;
            for &slot in &piece.slots {
                if let Some(held) = self.held.get_mut(slot) {
                    held.values.pop_front();
                }
            }
            self.latest.moved.extend(piece.slots);
        }
        Ok(())
    }

    /// The values of a piece whose keys have not been let go of since.
    fn alive(&self, piece: Piece) -> Result<Piece> {
        let lives = |(slot, life): (&u32, &u64)| self.held.get(*slot).is_some_and(|held| held.value.life == *life);
        let alive = piece.slots.iter().zip(&piece.lives).map(lives).collect::<Vec<_>>();
        if !alive.contains(&false) {
            return Ok(piece);
        }
        let chosen = (0_u32..).zip(&alive).filter(|(_, alive)| **alive).map(|(row, _)| row).collect::<Vec<_>>();
        let rows = UInt32Array::from(chosen.clone());
        Ok(Piece {
            slots: chosen.iter().map(|&row| piece.slots[row as usize]).collect(),
            lives: chosen.iter().map(|&row| piece.lives[row as usize]).collect(),
            columns: piece.columns.iter().map(|column| take(column, &rows, None)).collect::<Result<_, _>>()?,
        })
    }

    /// Takes in a value for each of these keys.
    fn add(&mut self, slots: Vec<u32>, time: i64, columns: Vec<ArrayRef>) -> Result<()> {
        let mut lives = Vec::with_capacity(slots.len());
        for &slot in &slots {
            if self.held.get(slot).is_none() {
                self.held.put(slot, Due::default(), KeyHeld { life: self.next, values: VecDeque::new() });
            }
            if let Some(held) = self.held.get_mut(slot) {
                held.values.push_back(self.next);
                lives.push(held.life);
            }
            self.next += 1;
        }
        self.guarded(|_, folds| folds.add(&slots, time, &columns))?;
        self.latest.moved.extend(&slots);
        self.pieces.entry(time).or_default().push(Piece { slots, lives, columns });
        Ok(())
    }

    fn let_go(&mut self, slots: &[u32]) -> Result<()> {
        slots.iter().for_each(|&slot| self.held.forget(slot));
        self.latest.moved.extend(slots);
        self.guarded(|_, folds| {
            folds.clear(slots);
            Ok(())
        })
    }

    /// All keys in the order of the first values that they have; before them those that have none.
    fn in_order(&self) -> Vec<u32> {
        let mut all = self.held.all();
        let first = |slot: u32| self.held.get(slot).and_then(|held| held.value.values.front().copied());
        all.sort_by_key(|&slot| first(slot));
        all
    }

    /// The answer, without the keys that the user lets go of.
    fn answer(&mut self) -> Result<RecordBatch> {
        let mut all = self.in_order();
        let now = self.now;
        let asked = self.function.as_ref().and_then(|((_, function), _)| function.asks());
        if let Some(types) = asked.filter(|_| self.fold.has_inverse) {
            let keys = self.held.keys(&all)?;
            let keys = keys.iter().zip(&types).map(|(key, data_type)| arrow_cast::cast(key, data_type));
            let keys = keys.collect::<Result<Vec<_>, _>>()?;
            let keeps = self.guarded(|_, folds| folds.keeps(&keys, &all))?;
            let mut stays = keeps.iter().copied();
            let (stay, go): (Vec<u32>, Vec<u32>) = all.iter().partition(|_| stays.next().unwrap_or(true));
            self.let_go(&go)?;
            all = stay;
        }
        let mut columns = self.held.keys(&all)?;
        columns.extend(self.guarded(|_, folds| folds.totals(&all, now))?);
        under(&self.schemas.1, columns, all.len())
    }

    fn value_fields(&self) -> impl Iterator<Item = Field> + '_ {
        let fields = self.schemas.1.fields().iter().skip(self.fold.keys.len());
        fields.map(|field| field.as_ref().clone().with_nullable(true))
    }

    fn stored_schema(&self) -> SchemaRef {
        let keys = self.fold.keys.iter().map(|key| Field::new(&key.name, key.expr.data_type.clone(), true));
        let mut fields = keys.collect::<Vec<_>>();
        fields.push(Field::new(TIME, DataType::Int64, true));
        fields.push(Field::new(HELD, DataType::Boolean, false));
        fields.extend(self.value_fields());
        stored::stamped(Schema::new(fields))
    }

    fn stored_rows(
        &self,
        slots: &[u32],
        time: Option<i64>,
        held: Vec<bool>,
        values: Vec<ArrayRef>,
    ) -> Result<RecordBatch> {
        let mut columns = self.held.keys(slots)?;
        columns.push(Arc::new(Int64Array::from(vec![time; slots.len()])));
        columns.push(Arc::new(BooleanArray::from(held)));
        columns.extend(values);
        under(&self.stored_schema(), columns, slots.len())
    }

    /// Totals of keys, where they do not follow from the values that are left; and which keys are not held any more.
    fn stored_totals(&mut self, mut slots: Vec<u32>) -> Result<RecordBatch> {
        let mut seen = std::collections::BTreeSet::new();
        slots.retain(|&slot| seen.insert(slot));
        let (held, gone): (Vec<u32>, Vec<u32>) = slots.iter().partition(|&&slot| self.held.get(slot).is_some());
        if !self.fold.has_inverse {
            // A key without values is not held: that follows from the values.
            return Ok(RecordBatch::new_empty(self.stored_schema()));
        }
        let now = self.now;
        let totals = self.guarded(|_, folds| folds.totals(&held, now))?;
        let kept = self.stored_rows(&held, None, vec![true; held.len()], totals)?;
        let nulls = self.value_fields().map(|field| arrow_array::new_null_array(field.data_type(), gone.len()));
        let forgotten = self.stored_rows(&gone, None, vec![false; gone.len()], nulls.collect())?;
        Ok(concat_batches(&self.stored_schema(), [&kept, &forgotten])?)
    }

    fn stamped_over(&self, rows: RecordBatch) -> Result<Vec<RecordBatch>> {
        let Some(over_before) = self.latest.over_before else { return Ok(vec![rows]) };
        let mut metadata = rows.schema().metadata().clone();
        metadata.insert(OVER_ENTRY.to_owned(), over_before.to_string());
        let schema = rows.schema().as_ref().clone().with_metadata(metadata);
        Ok(vec![rows.with_schema(Arc::new(schema))?])
    }

    /// What stays of stored rows: of each key those since it was last let go of.
    fn restore_rows(&mut self, rows: &RecordBatch, over_before: i64) -> Result<()> {
        let keys = self.fold.keys.len();
        let grouped = self.held.group(&rows.columns()[..keys], rows.num_rows())?;
        let times = rows.column(keys).as_primitive::<Int64Type>();
        let is_held = rows.column(keys + 1).as_boolean();
        let mut known: Vec<Known> = grouped.slots.iter().map(|_| Known::default()).collect();
        for (row, &group) in (0_u32..).zip(&grouped.groups) {
            let one = &mut known[group as usize];
            match (times.is_valid(row as usize), is_held.value(row as usize)) {
                (_, false) => *one = Known::default(),
                (true, true) => {
                    one.since.get_or_insert(row);
                    one.values.push(row);
                }
                (false, true) => {
                    one.since.get_or_insert(row);
                    one.total = Some(row);
                }
            }
        }
        let mut by_since = (0..known.len()).filter(|&key| known[key].since.is_some()).collect::<Vec<_>>();
        by_since.sort_by_key(|&key| known[key].since);
        // Values first, so that they are numbered in their order; each piece in the order of its rows.
        let mut pieces: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        for row in known.iter().flat_map(|one| &one.values) {
            let time = times.value(*row as usize);
            if time >= over_before {
                pieces.entry(time).or_default().push(*row);
            }
        }
        if self.fold.has_inverse {
            for &key in &by_since {
                self.held.put(grouped.slots[key], Due::default(), KeyHeld { life: self.next, values: VecDeque::new() });
                self.next += 1;
            }
        }
        let taken = |rows_taken: &[u32]| {
            let chosen = UInt32Array::from(rows_taken.to_vec());
            let columns = rows.columns()[keys + 2..].iter().map(|column| take(column, &chosen, None));
            columns.collect::<Result<Vec<_>, _>>()
        };
        for (time, mut piece) in pieces {
            piece.sort_unstable();
            let slots =
                piece.iter().map(|&row| grouped.slots[grouped.groups[row as usize] as usize]).collect::<Vec<_>>();
            let columns = taken(&piece)?;
            if self.function.is_some() {
                self.add(slots, time, columns)?;
            } else {
                let lives = vec![0; slots.len()];
                for &slot in &slots {
                    if self.held.get(slot).is_none() {
                        self.held.put(slot, Due::default(), KeyHeld::default());
                    }
                }
                self.pieces.entry(time).or_default().push(Piece { slots, lives, columns });
            }
        }
        if self.fold.has_inverse && self.function.is_some() {
            let totals = by_since.iter().filter_map(|&key| Some((grouped.slots[key], known[key].total?)));
            let (slots, rows): (Vec<u32>, Vec<u32>) = totals.unzip();
            let columns = taken(&rows)?;
            self.guarded(|_, folds| folds.set(&slots, &columns))?;
        }
        self.latest = Latest::default();
        Ok(())
    }

    /// The values of the window for people, where there is no function to put them together.
    fn shown_values(&self) -> Result<RecordBatch> {
        let keys = self.fold.keys.iter().map(|key| Field::new(&key.name, key.expr.data_type.clone(), true));
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let mut fields = keys.collect::<Vec<_>>();
        fields.push(Field::new(TIME, time, false));
        fields.extend(self.value_fields());
        let schema = Arc::new(Schema::new(fields));
        let mut rows = Vec::new();
        for (&time, pieces) in &self.pieces {
            for piece in pieces {
                let mut columns = self.held.keys(&piece.slots)?;
                let times = TimestampMicrosecondArray::from(vec![time; piece.slots.len()]).with_timezone("UTC");
                columns.push(Arc::new(times));
                columns.extend(piece.columns.iter().cloned());
                rows.push(under(&schema, columns, piece.slots.len())?);
            }
        }
        Ok(concat_batches(&schema, &rows)?)
    }
}

/// What stored rows say of a key, by their numbers.
#[derive(Default)]
struct Known {
    since: Option<u32>,
    values: Vec<u32>,
    total: Option<u32>,
}

impl Kept for KeptFolds {
    fn absorb(&mut self, partials: Vec<Partial>, moment: &Moment) -> Result<Partitions> {
        let parts = partials.into_iter().map(Partial::into_rows).collect::<Result<Vec<_>>>()?;
        let rows = concat_batches(&self.schemas.0, parts.iter().flatten())?;
        row_number(rows.num_rows())?;
        let grouped = self.held.group(&rows.columns()[..self.fold.keys.len()], rows.num_rows())?;
        let FoldedKeys { columns, keys } = self.folded(&rows, &grouped)?;
        self.now = micros(moment.time);
        self.latest = Latest::default();
        self.leave(self.now)?;
        if !keys.is_empty() {
            let slots = keys.iter().map(|&key| grouped.slots[key as usize]).collect::<Vec<_>>();
            let held = vec![true; slots.len()];
            self.latest.came = Some(self.stored_rows(&slots, Some(self.now), held, columns.clone())?);
            self.add(slots, self.now, columns)?;
        }
        if !self.fold.has_inverse {
            let is_empty = |slot: &u32| self.held.get(*slot).is_some_and(|held| held.value.values.is_empty());
            let mut empty = self.latest.moved.iter().copied().filter(is_empty).collect::<Vec<_>>();
            empty.sort_unstable();
            empty.dedup();
            self.let_go(&empty)?;
        }
        let answer = match self.fold.slide.is_none_or(|slide| has_slid(moment, slide)) {
            true => self.answer()?,
            false => RecordBatch::new_empty(Arc::clone(&self.schemas.1)),
        };
        Ok(vec![vec![answer]])
    }

    fn changes(&mut self) -> Result<Vec<RecordBatch>> {
        let totals = self.stored_totals(self.latest.moved.clone())?;
        let came = self.latest.came.iter().chain([&totals]);
        self.stamped_over(concat_batches(&self.stored_schema(), came)?)
    }

    /// Totals first, so that keys without values keep their order.
    fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        let mut rows = vec![self.stored_totals(self.held.all())?];
        let pieces = std::mem::take(&mut self.pieces);
        for (time, pieces) in pieces {
            for piece in pieces {
                let piece = self.alive(piece)?;
                let held = vec![true; piece.slots.len()];
                rows.push(self.stored_rows(&piece.slots, Some(time), held, piece.columns.clone())?);
                self.pieces.entry(time).or_default().push(piece);
            }
        }
        self.stamped_over(concat_batches(&self.stored_schema(), &rows)?)
    }

    fn restore(&mut self, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Result<()> {
        let schema = self.stored_schema();
        let all = snapshot.iter().chain(changes.iter().flatten()).collect::<Vec<_>>();
        let mut over_before = None;
        for rows in &all {
            stored::check(rows, &schema)?;
            over_before = over_before.max(over_entry(rows.schema_ref())?);
        }
        let rows = concat_batches(&schema, all)?;
        let over_before = over_before.unwrap_or(i64::MIN);
        self.now = over_before.saturating_add(micros(self.fold.size)).saturating_sub(1);
        self.restore_rows(&rows, over_before)
    }

    fn groups(&self) -> u64 {
        self.held.len() as u64
    }

    fn scan(&self) -> Result<RecordBatch> {
        let Some(((name, _), folds)) = &self.function else { return self.shown_values() };
        let all = self.in_order();
        let mut columns = self.held.keys(&all)?;
        let totals = catch_unwind(AssertUnwindSafe(|| folds.totals(&all, self.now)));
        columns.extend(totals.unwrap_or_else(|panic| Err(panicked(name, &self.fold.name, panic.as_ref())))?);
        under(&self.schemas.1, columns, all.len())
    }
}

fn panicked(name: &str, operator: &str, panic: &(dyn std::any::Any + Send)) -> Error {
    let message = format!("the function \"{name}\" of \"{operator}\" panicked: {}", panic_text(panic));
    Error::new(ErrorKind::Function, message)
}
