//! The CPU twin of [`crate::kernels::fold_windows`]: each batch is made one value a key, and these are held in columns
//! ([`Pieces`]) until the window has left them behind. What becomes of them is the business of [`Folds`], in the user's own types.
//!
//! ```text
//! pieces    batch 3: a b     batch 4: b     batch 6: a c        in columns: these are stored
//! folds     a: 3, 6   b: 3, 4   c: 6                            in Rust: follows from them, but for what an inverse left
//! ```
//!
//! Where keys may be put away, each key group has pieces of its own. All keys come out when a window slides: those that are
//! put away are then looked at one key group after another, and stay where they are.

#![expect(clippy::cast_possible_truncation, reason = "rows of a batch fit u32: checked when they come")]

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, BooleanArray, Int64Array, TimestampMicrosecondArray, UInt32Array};
use arrow_select::concat::{concat, concat_batches};
use arrow_select::take::take;
use rayon::prelude::*;

use super::fold_pieces::{Piece, Pieces};
use super::held_keys::{Due, Grouped, HeldKeys, KeepsKeys, Size, TakesBack};
use super::keep::{OVER_ENTRY, over_entry};
use super::key_groups::taken;
use super::map_state::{KEYS_AT_ONCE, in_key_order};
use super::reduce::gather_column;
use crate::columnar::{ArrayRef, DataType, Field, RecordBatch, Schema, SchemaRef, TimeUnit};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::keep::{has_slid, under};
use crate::kernels::map_state::micros;
use crate::kernels::spill::Room;
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
    pub(super) fold: FoldWindows,
    /// None where a checkpoint is looked at: then nothing is called.
    pub(super) function: Option<(NamedFold, Box<dyn Folds>)>,
    /// Of the rows that come, and of those that go out.
    pub(super) schemas: (SchemaRef, SchemaRef),
    pub(super) held: HeldKeys<KeyHeld>,
    /// The values of each key group.
    pub(super) pieces: Vec<Pieces>,
    /// The number of the next value, and of the next key: the order in which they came.
    pub(super) next: u64,
    /// The time of the latest batch.
    pub(super) now: i64,
    pub(super) latest: Latest,
}

/// What is known of a key beside its values.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyHeld {
    /// Tells the key from an earlier one in its slot.
    pub(super) life: u64,
    /// The numbers of its values in the window, rising.
    pub(super) values: VecDeque<u64>,
}

/// The answer for some keys: where each stands among all, and the columns.
type Part = (Vec<(Option<u64>, u64)>, Vec<ArrayRef>);

/// What the latest batch changed.
#[derive(Default)]
pub(super) struct Latest {
    pub(super) over_before: Option<i64>,
    /// The columns of the values that came, keys and all.
    pub(super) came: Option<RecordBatch>,
    /// Keys whose totals are others.
    pub(super) moved: Vec<u32>,
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
        let (pieces, latest) = (vec![Pieces::default()], Latest::default());
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
        self.latest.over_before = Some(over_before);
        for group in 0..self.pieces.len() {
            for piece in self.pieces[group].leave(over_before) {
                let piece = self.alive(piece)?;
                self.guarded(|_, folds| folds.leave(&piece.slots, now, &piece.columns))?;
                for &slot in &piece.slots {
                    self.held.change(slot, |key| {
                        key.values.pop_front();
                    });
                }
                self.latest.moved.extend(piece.slots);
            }
        }
        Ok(())
    }

    /// The values of a piece whose keys have not been let go of since.
    pub(super) fn alive(&self, piece: Piece) -> Result<Piece> {
        let lives = |(slot, life): (&u32, &u64)| self.held.get(*slot).is_some_and(|held| held.value.life == *life);
        let alive = piece.slots.iter().zip(&piece.lives).map(lives).collect::<Vec<_>>();
        if !alive.contains(&false) {
            return Ok(piece);
        }
        let chosen = (0_u32..).zip(&alive).filter(|(_, alive)| **alive).map(|(row, _)| row).collect::<Vec<_>>();
        piece.chosen(&chosen)
    }

    /// Takes in a value for each of these keys, with its number and the time of its batch; none is earlier than what is there.
    fn add(&mut self, slots: Vec<u32>, numbers: Vec<u64>, times: Vec<i64>, columns: Vec<ArrayRef>) -> Result<()> {
        let mut lives = Vec::with_capacity(slots.len());
        for (&slot, &number) in slots.iter().zip(&numbers) {
            if self.held.get(slot).is_none() {
                self.held.put(slot, Due::default(), KeyHeld { life: number, values: VecDeque::new() });
            }
            self.held.change(slot, |key| key.values.push_back(number));
            lives.extend(self.held.get(slot).map(|held| held.value.life));
            self.next = self.next.max(number + 1);
        }
        if self.function.is_some() {
            let mut first = 0;
            for same in times.chunk_by(|a, b| a == b) {
                let values = columns.iter().map(|column| column.slice(first, same.len())).collect::<Vec<_>>();
                let slots = &slots[first..first + same.len()];
                self.guarded(|_, folds| folds.add(slots, same[0], &values))?;
                first += same.len();
            }
        }
        self.latest.moved.extend(&slots);
        let piece = Piece { slots, lives, numbers, times, columns };
        if let [pieces] = &mut self.pieces[..] {
            return pieces.push(piece);
        }
        let mut of_group = vec![Vec::new(); self.pieces.len()];
        for (row, &slot) in (0_u32..).zip(&piece.slots) {
            of_group[self.held.key_group_of(slot)].push(row);
        }
        for (pieces, rows) in self.pieces.iter_mut().zip(of_group).filter(|(_, rows)| !rows.is_empty()) {
            pieces.push(piece.chosen(&rows)?)?;
        }
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

    /// The keys in memory that the user lets go of.
    fn let_go_of(&mut self) -> Result<Vec<u32>> {
        let asked = self.function.as_ref().and_then(|((_, function), _)| function.asks());
        let Some(types) = asked.filter(|_| self.fold.has_inverse) else { return Ok(Vec::new()) };
        let all = self.held.all();
        let keys = self.held.keys(&all)?;
        let keys = keys.iter().zip(&types).map(|(key, data_type)| arrow_cast::cast(key, data_type));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let keeps = self.guarded(|_, folds| folds.keeps(&keys, &all))?;
        Ok(all.into_iter().zip(keeps).filter(|(_, keeps)| !keeps).map(|(slot, _)| slot).collect())
    }

    /// The keys in memory, in the order of the first values that they have, before them those that have none; and what their
    /// values are together.
    fn part(&self) -> Result<Part> {
        let Some(((name, _), folds)) = &self.function else {
            return Err(Error::internal("a function is to be called that is not there"));
        };
        let place = |slot: u32| {
            let held = self.held.get(slot);
            (held.and_then(|held| held.value.values.front().copied()), held.map_or(u64::MAX, |held| held.since))
        };
        let mut all = self.held.all();
        all.sort_by_key(|&slot| place(slot));
        let mut columns = self.held.keys(&all)?;
        let totals = catch_unwind(AssertUnwindSafe(|| folds.totals(&all, self.now)));
        columns.extend(totals.unwrap_or_else(|panic| Err(panicked(name, &self.fold.name, panic.as_ref())))?);
        Ok((all.into_iter().map(place).collect(), columns))
    }

    /// Parts of the answer put together.
    fn together(&self, mut parts: Vec<Part>) -> Result<RecordBatch> {
        parts.retain(|(places, _)| !places.is_empty());
        if parts.len() < 2 {
            let Some((places, columns)) = parts.pop() else {
                return Ok(RecordBatch::new_empty(Arc::clone(&self.schemas.1)));
            };
            return under(&self.schemas.1, columns, places.len());
        }
        let places = parts.iter().flat_map(|(places, _)| places).collect::<Vec<_>>();
        let mut order = (0_u32..).take(places.len()).collect::<Vec<_>>();
        order.sort_by_key(|&row| places[row as usize]);
        let order = UInt32Array::from(order);
        let column = |place: usize| {
            let parts = parts.iter().map(|(_, columns)| columns[place].as_ref()).collect::<Vec<_>>();
            gather_column(&parts, &order)
        };
        let columns = (0..self.schemas.1.fields().len()).map(column).collect::<Result<_>>()?;
        under(&self.schemas.1, columns, places.len())
    }

    /// The answer, without the keys that the user lets go of.
    fn answer(&mut self) -> Result<RecordBatch> {
        let (mut parts, mut back) = (Vec::new(), Vec::new());
        for group in self.held.numbers_away() {
            let mut copy = self.copy_away(group)?;
            match copy.let_go_of()?.is_empty() {
                true => parts.push(copy.part()?),
                // What changes must be here.
                false => back.push(group),
            }
        }
        self.bring_groups(&back)?;
        let go = self.let_go_of()?;
        self.let_go(&go)?;
        parts.push(self.part()?);
        self.together(parts)
    }

    fn value_fields(&self) -> impl Iterator<Item = Field> + '_ {
        let fields = self.schemas.1.fields().iter().skip(self.fold.keys.len());
        fields.map(|field| field.as_ref().clone().with_nullable(true))
    }

    pub(super) fn stored_schema(&self) -> SchemaRef {
        let keys = self.fold.keys.iter().map(|key| Field::new(&key.name, key.expr.data_type.clone(), true));
        let mut fields = keys.collect::<Vec<_>>();
        fields.push(Field::new(TIME, DataType::Int64, true));
        fields.push(Field::new(HELD, DataType::Boolean, false));
        fields.extend(self.value_fields());
        stored::stamped(Schema::new(fields))
    }

    /// Values with the times of their batches, or totals without.
    pub(super) fn stored_rows(
        &self,
        slots: &[u32],
        times: Option<&[i64]>,
        is_held: bool,
        values: Vec<ArrayRef>,
    ) -> Result<RecordBatch> {
        let mut columns = self.held.keys(slots)?;
        columns.push(match times {
            Some(times) => Arc::new(Int64Array::from(times.to_vec())),
            None => arrow_array::new_null_array(&DataType::Int64, slots.len()),
        });
        columns.push(Arc::new(BooleanArray::from(vec![is_held; slots.len()])));
        columns.extend(values);
        under(&self.stored_schema(), columns, slots.len())
    }

    /// Totals of keys, where they do not follow from the values that are left; and which keys are not held any more.
    pub(super) fn stored_totals(&mut self, mut slots: Vec<u32>) -> Result<RecordBatch> {
        let mut seen = std::collections::BTreeSet::new();
        slots.retain(|&slot| seen.insert(slot));
        let (held, gone): (Vec<u32>, Vec<u32>) = slots.iter().partition(|&&slot| self.held.get(slot).is_some());
        if !self.fold.has_inverse {
            // A key without values is not held: that follows from the values.
            return Ok(RecordBatch::new_empty(self.stored_schema()));
        }
        let now = self.now;
        let totals = self.guarded(|_, folds| folds.totals(&held, now))?;
        let kept = self.stored_rows(&held, None, true, totals)?;
        let nulls = self.value_fields().map(|field| arrow_array::new_null_array(field.data_type(), gone.len()));
        let forgotten = self.stored_rows(&gone, None, false, nulls.collect())?;
        Ok(concat_batches(&self.stored_schema(), [&kept, &forgotten])?)
    }

    fn stamped_over(&self, rows: RecordBatch) -> Result<Vec<RecordBatch>> {
        let Some(over_before) = self.latest.over_before else { return Ok(vec![rows]) };
        let mut metadata = rows.schema().metadata().clone();
        metadata.insert(OVER_ENTRY.to_owned(), over_before.to_string());
        let schema = rows.schema().as_ref().clone().with_metadata(metadata);
        Ok(vec![rows.with_schema(Arc::new(schema))?])
    }

    /// What stays of stored rows, of each key those since it was last let go of. Each row has a number, which says when it came;
    /// and a key is held since the `since` of its first row.
    pub(super) fn restore_numbered(&mut self, rows: &RecordBatch, numbers: &[u64], since: &[u64]) -> Result<()> {
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
        if self.fold.has_inverse {
            for (&slot, one) in grouped.slots.iter().zip(&known) {
                let Some(row) = one.since else { continue };
                let (life, since) = (numbers[row as usize], since[row as usize]);
                self.held.put_back(slot, since, Due::default(), KeyHeld { life, values: VecDeque::new() });
                self.next = self.next.max(life + 1);
            }
        }
        // Values come in the order of their batches; those of a batch in that of their rows.
        let is_inside = |row: &u32| self.latest.over_before.is_none_or(|over| times.value(*row as usize) >= over);
        let mut values = known.iter().flat_map(|one| &one.values).copied().filter(is_inside).collect::<Vec<_>>();
        values.sort_unstable_by_key(|&row| (times.value(row as usize), row));
        let of = |row: &u32| *row as usize;
        let slots = values.iter().map(|row| grouped.slots[grouped.groups[of(row)] as usize]).collect();
        let numbers_of_values = values.iter().map(|row| numbers[of(row)]).collect();
        let times = values.iter().map(|row| times.value(of(row))).collect();
        let columns = &rows.columns()[keys + 2..];
        self.add(slots, numbers_of_values, times, taken(columns, &UInt32Array::from(values))?)?;
        if self.fold.has_inverse && self.function.is_some() {
            let totals = grouped.slots.iter().zip(&known).filter_map(|(&slot, one)| Some((slot, one.total?)));
            let (slots, totals): (Vec<u32>, Vec<u32>) = totals.unzip();
            let columns = taken(columns, &UInt32Array::from(totals))?;
            self.guarded(|_, folds| folds.set(&slots, &columns))?;
        }
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
        for piece in self.pieces.iter().flat_map(Pieces::all) {
            let mut columns = self.held.keys(&piece.slots)?;
            columns.push(Arc::new(TimestampMicrosecondArray::from(piece.times.clone()).with_timezone("UTC")));
            columns.extend(piece.columns.iter().cloned());
            rows.push(under(&schema, columns, piece.slots.len())?);
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
        let keys = &rows.columns()[..self.fold.keys.len()];
        self.bring(keys, rows.num_rows(), moment)?;
        let grouped = self.held.group(keys, rows.num_rows())?;
        let FoldedKeys { columns, keys } = self.folded(&rows, &grouped)?;
        self.now = micros(moment.time);
        self.latest = Latest::default();
        self.leave(self.now)?;
        if !keys.is_empty() {
            let slots = keys.iter().map(|&key| grouped.slots[key as usize]).collect::<Vec<_>>();
            let times = vec![self.now; slots.len()];
            self.latest.came = Some(self.stored_rows(&slots, Some(&times), true, columns.clone())?);
            let numbers = (self.next..).take(slots.len()).collect();
            self.add(slots, numbers, times, columns)?;
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
        self.settle_groups()?;
        Ok(vec![vec![answer]])
    }

    fn changes(&mut self) -> Result<Vec<RecordBatch>> {
        let rows = self.changes_stored()?;
        self.stamped_over(rows)
    }

    /// Totals first, so that keys without values keep their order.
    fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        let rows = self.all_stored()?;
        let schema = self.stored_schema();
        let columns = rows.columns()[..schema.fields().len()].to_vec();
        self.stamped_over(under(&schema, columns, rows.num_rows())?)
    }

    fn restore(&mut self, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Result<()> {
        let schema = self.stored_schema();
        let all = snapshot.iter().chain(changes.iter().flatten()).collect::<Vec<_>>();
        let mut over_before = None;
        for rows in &all {
            stored::check(rows, &schema)?;
            over_before = over_before.max(over_entry(rows.schema_ref())?);
        }
        let before = over_before.unwrap_or(i64::MIN);
        self.now = before.saturating_add(micros(self.fold.size)).saturating_sub(1);
        self.latest = Latest { over_before: Some(before), ..Latest::default() };
        self.restore_keys(&all, 0..self.fold.keys.len())?;
        self.latest = Latest::default();
        Ok(())
    }

    fn can_spill(&self) -> bool {
        true
    }

    fn spill_to(&mut self, room: &Room) {
        // A value is there twice: in columns, and in what the function holds of it.
        self.held.spread(room, |key: &KeyHeld| {
            let values = key.values.len() as u64;
            Size { bytes: values * size_of::<u64>() as u64, groups: 2 * values + 1 }
        });
        self.pieces.resize_with(self.held.key_groups(), Pieces::default);
    }

    fn groups(&self) -> u64 {
        self.held.len() as u64
    }

    fn scan(&self) -> Result<RecordBatch> {
        if self.function.is_none() {
            return self.shown_values();
        }
        let away = self.held.numbers_away().into_iter().map(|group| self.copy_away(group)?.part());
        self.together(away.chain([self.part()]).collect::<Result<_>>()?)
    }
}

fn panicked(name: &str, operator: &str, panic: &(dyn std::any::Any + Send)) -> Error {
    let message = format!("the function \"{name}\" of \"{operator}\" panicked: {}", panic_text(panic));
    Error::new(ErrorKind::Function, message)
}
