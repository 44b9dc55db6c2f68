//! The CPU twin of [`crate::kernels::reduce`]: ticket, then aggregate.
//!
//! [`GroupIds`] gives each row of a batch a dense id; then each aggregate updates its own state at those ids. An
//! aggregate knows nothing of keys, a key nothing of aggregates.
//!
//! Counts, sums, means, minima and maxima of numbers live in `laned`: `lanes` holds a row of 64-bit numbers a group
//! (`fours` are its loops over four of them, `plain` and `narrow` those that look at values on the way, `few` sums the rows of a few groups), `feed` knows the values under one filter, `lane_whole`, `lane_float`,
//! `lane_ordered` and `lane_least` say what numbers a row brings, `total` makes the results, `float_mean` those of floats many at once.
//! The other aggregates have a file each, over the loop in `state`. `merge` puts the groups of partitions together, and the rows that
//! were `deferred`, in an order that `turns` knows and `appearance` brings about; `cuts` adds up ordered sums;
//! `stored` turns groups into columns that can leave the process, and back; `seeded` makes groups of answers; `select`
//! takes groups out of others.

#[cfg(feature = "gpu")]
pub(crate) mod absorb;
mod appearance;
pub(in crate::kernels::cpu) mod columns;
mod concat;
mod cuts;
mod deferred;
pub mod distinct;
mod extreme_bytes;
mod extreme_decimal;
mod feed;
pub(in crate::kernels::cpu) mod few;
mod float_mean;
mod float_split;
#[cfg(target_arch = "x86_64")]
mod fours;
#[cfg(feature = "gpu")]
mod give;
mod lane_float;
mod lane_least;
mod lane_ordered;
mod lane_sum;
mod lane_whole;
mod laned;
mod lanes;
mod make;
mod merge;
mod n_unique;
#[cfg(target_arch = "x86_64")]
mod narrow;
mod nothing;
mod ordered_spread;
mod pick;
#[cfg(target_arch = "x86_64")]
mod plain;
mod quantile;
pub mod reduce_with;
mod runs;
mod seeded;
mod select;
mod state;
mod stored;
mod stored_lanes;
mod stored_lists;
mod stored_moments;
mod stored_total;
mod total;
mod truth;
mod turns;
mod variance;
mod window;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use self::cuts::Handed;
pub(in crate::kernels::cpu) use self::deferred::gather_column;
use self::deferred::{Deferred, Piece};
use self::laned::Laned;
use self::make::{is_null_kept, make};
use self::state::{Ids, Mapping, Refusal, Rows, State};
use self::turns::Turns;
use crate::error::{Error, Place, Result};
use crate::expr::TypedAggregate;
use crate::kernels::cpu::group_ids::GroupIds;
use crate::kernels::cpu::group_ids::method::Chosen;
use crate::kernels::reduce;

/// Rows taken in at once: more are cut, so that no accumulator can overflow inside one call.
const ROWS_AT_ONCE: usize = 1 << 24;

/// A keyed reduce, ready to run in many partitions.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, StringArray};
/// use pelton::columnar::{DataType, Field};
/// use pelton::expr::{AggregateFunction, TypedAggregate, TypedExpr, TypedNode};
/// use pelton::kernels::cpu::reduce::KeyedReduce;
///
/// let visits = TypedExpr { node: TypedNode::Column(1, "visits".into()), data_type: DataType::Int64, nullable: false };
/// let total = TypedAggregate {
///     function: AggregateFunction::Sum,
///     input: Some(visits),
///     filter: None,
///     name: "visits".into(),
///     data_type: DataType::Int64,
/// };
/// let by_city = KeyedReduce::prepare(&[Field::new("city", DataType::Utf8, false)], &[total])?;
///
/// let cities: ArrayRef = Arc::new(StringArray::from(vec!["Oslo", "Rome", "Oslo"]));
/// let visits: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
/// let mut groups = by_city.begin()?;
/// groups.update(&[cities], &[Some(visits)], &[None], 3)?;
/// let answer = groups.finish()?;
/// assert_eq!(answer.column(1).as_ref(), &Int64Array::from(vec![4, 2]));
/// # Ok::<(), pelton::error::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct KeyedReduce(Arc<Prepared>);

#[derive(Debug)]
struct Prepared {
    keys: Vec<Field>,
    aggregates: Vec<TypedAggregate>,
    schema: SchemaRef,
    /// Inputs and filters of no rows.
    no_inputs: Vec<Option<ArrayRef>>,
    no_filters: Vec<Option<BooleanArray>>,
    /// Whether sums are ordered. Partitions are then added up each for itself, whatever else would be faster.
    is_ordered: bool,
    /// Whether an aggregate follows the order of rows.
    follows_order: bool,
    /// Whether the latest partition put rows off. Ordered sums have a partition each million rows: the next one begins with that, as
    /// long as it pays.
    puts_off: AtomicBool,
}

impl KeyedReduce {
    /// A keyed reduce by these keys, which makes these aggregates.
    ///
    /// # Errors
    /// `Unsupported` for a type that cannot be a key or that an aggregate does not take.
    pub fn prepare(keys: &[Field], aggregates: &[TypedAggregate]) -> Result<Self> {
        let schema = Arc::new(Schema::new(reduce::output_fields(keys, aggregates)));
        let input = |one: &TypedAggregate| Some(arrow_array::new_empty_array(&one.input.as_ref()?.data_type));
        let prepared = Self(Arc::new(Prepared {
            keys: keys.to_vec(),
            aggregates: aggregates.to_vec(),
            schema,
            no_inputs: aggregates.iter().map(input).collect(),
            no_filters: vec![None; aggregates.len()],
            is_ordered: aggregates.iter().any(|aggregate| aggregate.function.is_ordered()),
            follows_order: aggregates.iter().any(|aggregate| aggregate.function.follows_order()),
            puts_off: AtomicBool::new(false),
        }));
        prepared.begin()?;
        Ok(prepared)
    }

    /// No groups yet.
    ///
    /// # Errors
    /// None after [`KeyedReduce::prepare`] went well.
    pub fn begin(&self) -> Result<Groups> {
        let ids = GroupIds::new(self.0.keys.iter().map(Field::data_type))?;
        let laned = Laned::new(&self.0.aggregates, !self.0.keys.is_empty());
        let state = |(place, aggregate)| if laned.holds(place) { Ok(None) } else { make(aggregate).map(Some) };
        let states = self.0.aggregates.iter().enumerate().map(state).collect::<Result<_>>()?;
        let mut groups = Groups {
            prepared: Arc::clone(&self.0),
            ids,
            laned,
            states,
            row_ids: Vec::new(),
            inputs: Vec::new(),
            may_defer: true,
            defers: false,
            deferred: Deferred::default(),
            turns: Turns::default(),
            handed: Box::default(),
        };
        if self.0.keys.is_empty() {
            groups.take_in_nothing()?;
        }
        Ok(groups)
    }

    /// Whether the order of a group's rows counts.
    pub(in crate::kernels::cpu) fn follows_order(&self) -> bool {
        self.0.follows_order
    }

    /// The aggregates, in order.
    pub(in crate::kernels) fn aggregates(&self) -> &[TypedAggregate] {
        &self.0.aggregates
    }

    /// The keys, in order.
    pub(in crate::kernels) fn keys(&self) -> &[Field] {
        &self.0.keys
    }

    /// The schema of the answer: keys, then aggregates.
    pub fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }
}

/// The groups of one partition: the keys seen so far, and the states of the aggregates.
pub struct Groups {
    prepared: Arc<Prepared>,
    ids: GroupIds,
    laned: Laned,
    /// Of the aggregates that are not in lanes.
    states: Vec<Option<Box<dyn State>>>,
    /// Ids of the rows of the latest batch; kept for its memory.
    row_ids: Vec<u32>,
    /// Inputs of the aggregates without dictionaries; kept for its memory.
    inputs: Vec<Option<ArrayRef>>,
    may_defer: bool,
    /// Whether rows are put off from now on.
    defers: bool,
    /// Rows after those of the groups.
    deferred: Deferred,
    turns: Turns,
    handed: Box<Handed>,
}

impl Groups {
    /// Takes a batch in: an array for each key, and for each aggregate its input and filter, of `rows` rows each.
    ///
    /// # Errors
    /// `Unsupported` when there are more groups than ids.
    pub fn update(
        &mut self,
        keys: &[ArrayRef],
        inputs: &[Option<ArrayRef>],
        filters: &[Option<BooleanArray>],
        rows: usize,
    ) -> Result<()> {
        if inputs.len() != self.states.len() || filters.len() != self.states.len() {
            return Err(Error::internal("a keyed reduce got another number of inputs than it has aggregates"));
        }
        if filters.iter().zip(&self.prepared.aggregates).any(|(filter, one)| filter.is_some() != one.filter.is_some()) {
            return Err(Error::internal("a keyed reduce got other filters than its aggregates have"));
        }
        let lengths = keys.iter().chain(inputs.iter().flatten()).map(|array| array.len());
        if lengths.chain(filters.iter().flatten().map(Array::len)).any(|len| len != rows) {
            return Err(Error::internal("a keyed reduce got columns of different lengths"));
        }
        if rows <= ROWS_AT_ONCE {
            return self.take_in(keys, inputs, filters, rows);
        }
        (0..rows).step_by(ROWS_AT_ONCE).try_for_each(|from| {
            let len = ROWS_AT_ONCE.min(rows - from);
            let keys: Vec<_> = keys.iter().map(|key| key.slice(from, len)).collect();
            let inputs: Vec<_> =
                inputs.iter().map(|input| input.as_ref().map(|input| input.slice(from, len))).collect();
            let filters: Vec<_> =
                filters.iter().map(|filter| filter.as_ref().map(|filter| filter.slice(from, len))).collect();
            self.take_in(&keys, &inputs, &filters, len)
        })
    }

    /// Without keys there is a group before there is a row: the states must know.
    fn take_in_nothing(&mut self) -> Result<()> {
        let prepared = Arc::clone(&self.prepared);
        self.take_in(&[], &prepared.no_inputs, &prepared.no_filters, 0)
    }

    fn take_in(
        &mut self,
        keys: &[ArrayRef],
        inputs: &[Option<ArrayRef>],
        filters: &[Option<BooleanArray>],
        len: usize,
    ) -> Result<()> {
        self.defers |= self.is_to_put_off_at_once(len);
        if self.defers {
            if self.deferred.has_room(len) {
                // Keys that came as codes are put together with others, of other dictionaries.
                let plain = |(key, field): (&ArrayRef, &Field)| match key.data_type() == field.data_type() {
                    true => Ok(Arc::clone(key)),
                    false => arrow_cast::cast(key, field.data_type()),
                };
                let keys = keys.iter().zip(&self.prepared.keys).map(plain).collect::<Result<_, _>>()?;
                let (inputs, filters) = (inputs.to_vec(), filters.to_vec());
                self.deferred.push(Piece { keys, inputs, filters, rows: len });
                return Ok(());
            }
            self.settle()?;
        }
        let has_keys = !self.prepared.keys.is_empty();
        let (before, known) = (self.slots(), self.len());
        // Lanes tell which rows are the first of their groups cheaper than places that have to be asked about each.
        let unnoted = has_keys && self.laned.sees_firsts() && self.ids.place(keys, &mut self.row_ids);
        if has_keys && !unnoted {
            self.ids.assign(keys, &mut self.row_ids)?;
        }
        let groups = self.slots();
        let can_defer = self.may_defer && has_keys;
        self.defers = can_defer && deferred::is_worth_it(groups, groups - before, len);
        if self.defers && self.prepared.is_ordered {
            self.prepared.puts_off.store(true, Relaxed);
        }
        // Rows of a single group are added up in registers, not one after the other in its lanes.
        let ids = if has_keys && groups != 1 { Ids::Each(&self.row_ids) } else { Ids::One };
        let aggregates = &self.prepared.aggregates;
        self.inputs.clear();
        for (input, aggregate) in inputs.iter().zip(aggregates) {
            self.inputs.push(input.as_ref().map(|input| plain(input, aggregate)).transpose()?);
        }
        let inputs = &self.inputs;
        let selection = |place: usize| {
            let values = inputs[place].as_ref().filter(|_| !is_null_kept(&aggregates[place].function));
            selection(values, filters[place].as_ref())
        };
        let known = || self.ids.order().map_or_else(|| (0..).take(known).collect(), |order| order[..known].to_vec());
        self.laned.take_in(ids, (len, groups), inputs, selection, known)?;
        if unnoted {
            self.laned.firsts().iter().for_each(|rows| self.ids.note(&self.row_ids[rows.clone()]));
        }
        for (place, state) in self.states.iter_mut().enumerate() {
            if let Some(state) = state {
                state.update(&Rows { ids, len, groups, selection: selection(place) }, inputs[place].as_ref())?;
            }
        }
        if self.may_defer
            && has_keys
            && let Some(to) = self.ids.renumber()
        {
            let from: Vec<u32> = (0_u32..).take(to.len()).collect();
            self.move_groups(&from, &to, groups)?;
            self.defers = false;
        }
        Ok(())
    }

    /// Whether the first rows, so many, are put off, because those of the partition before were.
    fn is_to_put_off_at_once(&self, rows: usize) -> bool {
        let is_first = self.may_defer && self.is_empty() && self.deferred.rows() == 0;
        is_first && deferred::is_worth_a_start(rows) && self.prepared.puts_off.load(Relaxed)
    }

    /// As [`Groups::tell_values`], if later groups do that are going to be merged into these: before their keys have ids here.
    fn tell_values_like(&mut self, later: &Self) {
        if later.laned.has_missed() {
            self.tell_values();
        }
    }

    /// Tells groups with values from groups without any from now on. All that have ids have had values.
    pub(crate) fn tell_values(&mut self) {
        if self.laned.may_wait && !self.laned.has_missed() {
            let held = self.laned.lanes.groups();
            let known = self.ids.order().unwrap_or_else(|| (0..).take(held).collect());
            self.laned.make_missed(known.into_iter().filter(|&group| (group as usize) < held));
        }
    }

    /// Gives each of the groups `from`, among so many, another id: there are as many ids now as their keys have.
    fn move_groups(&mut self, from: &[u32], to: &[u32], before: usize) -> Result<()> {
        self.handed.clear();
        let mapping = Mapping { from, to, later_groups: before, groups: self.slots() };
        let empty = KeyedReduce(Arc::clone(&self.prepared)).begin()?;
        let laned = std::mem::replace(&mut self.laned, empty.laned);
        self.laned.merge(&laned, &mapping)?;
        for (state, empty) in self.states.iter_mut().zip(empty.states) {
            let before = std::mem::replace(state, empty);
            if let (Some(state), Some(before)) = (state, before) {
                state.merge(&*before, &mapping)?;
            }
        }
        Ok(())
    }

    /// Makes the ids those of the groups' first rows again.
    fn renumber_back(&mut self) -> Result<()> {
        let before = self.slots();
        let Some(from) = self.ids.renumber_back() else { return Ok(()) };
        let to: Vec<u32> = (0_u32..).take(from.len()).collect();
        self.move_groups(&from, &to, before)
    }

    /// Whether so many rows more would be put off.
    pub(in crate::kernels::cpu) fn puts_off(&self, rows: usize) -> bool {
        self.defers && self.deferred.has_room(rows)
    }

    /// Takes in what was put off, and makes the ids those of the groups' first rows. From now on nothing is put off, and
    /// ids stay as they are: others may look at them.
    pub(in crate::kernels::cpu) fn settle(&mut self) -> Result<()> {
        (self.may_defer, self.defers) = (false, false);
        self.renumber_back()?;
        let (known, mut taken) = (self.len(), 0);
        for piece in std::mem::take(&mut self.deferred).into_tiles() {
            // Rows become groups. No piece has rows of two turns.
            self.turns.settle(known + taken, self.len());
            self.take_in(&piece.keys, &piece.inputs, &piece.filters, piece.rows)?;
            taken += piece.rows;
        }
        self.turns.settle(known + taken, self.len());
        if taken > 0 && !deferred::is_worth_it(self.len(), self.len(), known + taken) {
            self.prepared.puts_off.store(false, Relaxed);
        }
        Ok(())
    }

    /// How many groups there are, without those of rows that were put off. Without keys it is always one.
    pub fn len(&self) -> usize {
        self.slots() - self.ids.holes()
    }

    /// How many ids there are, also those that belong to no group.
    fn slots(&self) -> usize {
        if self.prepared.keys.is_empty() { 1 } else { self.ids.len() }
    }

    /// Writes down how the ids of the groups are found.
    pub(in crate::kernels::cpu) fn tell(&self, chosen: &mut Chosen) {
        chosen.columns.clear();
        chosen.columns.extend(self.ids.methods());
        (chosen.groups, chosen.put_off) = (self.len(), self.deferred.rows());
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the groups of a later partition in.
    ///
    /// # Errors
    /// `Unsupported` when there are more groups than ids.
    pub fn merge(&mut self, mut later: Self) -> Result<()> {
        self.take_over(&mut later)
    }

    /// As [`Groups::merge`]; the later groups are not needed any more, but their memory may be.
    fn take_over(&mut self, later: &mut Self) -> Result<()> {
        self.settle()?;
        later.settle()?;
        merge::merge(self, later)
    }

    /// The first takes the others over, in their order and that of their turns; their memory may still be needed.
    ///
    /// # Errors
    /// As for [`Groups::merge`].
    pub(in crate::kernels::cpu) fn combine(all: &mut [&mut Self]) -> Result<()> {
        let took_turns = turns::took_turns(all);
        let Some((first, later)) = all.split_first_mut() else { return Ok(()) };
        if took_turns && !later.is_empty() {
            all.iter_mut().try_for_each(|groups| groups.settle())?;
            let merged = merge::in_turn(all)?;
            *all[0] = merged;
        } else {
            later.iter_mut().try_for_each(|later| first.take_over(later))?;
            first.turns.clear();
        }
        Ok(())
    }

    /// The lanes of these aggregates, for groups that are looked up here.
    fn begin_lanes(&self) -> Laned {
        Laned::new(&self.prepared.aggregates, !self.prepared.keys.is_empty())
    }

    /// Forgets all groups and rows, but keeps the memory for about as many.
    ///
    /// # Errors
    /// None after [`KeyedReduce::prepare`] went well.
    pub(in crate::kernels::cpu) fn clear(&mut self) -> Result<()> {
        self.ids.clear();
        self.laned.clear();
        for (state, aggregate) in self.states.iter_mut().zip(&self.prepared.aggregates) {
            if let Some(state) = state {
                *state = make(aggregate)?;
            }
        }
        self.row_ids.clear();
        self.inputs.clear();
        (self.may_defer, self.defers, self.deferred) = (true, false, Deferred::default());
        self.turns.clear();
        self.handed.clear();
        if self.prepared.keys.is_empty() { self.take_in_nothing() } else { Ok(()) }
    }

    /// One row a group, in the order of the groups' first rows: the keys, then the aggregates.
    ///
    /// # Errors
    /// `Overflow`, naming column and key, when a total does not fit its type.
    pub fn finish(mut self) -> Result<RecordBatch> {
        self.renumber_back()?;
        if self.deferred.rows() > 0 {
            return KeyedReduce(Arc::clone(&self.prepared)).finish_all(vec![self]);
        }
        self.answer()
    }

    /// As [`Groups::finish`], of groups without rows that are put off; they must be cleared before they take rows in again.
    fn answer(&mut self) -> Result<RecordBatch> {
        self.answer_under(&Arc::clone(&self.prepared), self.ids.keys()?)
    }

    /// The same, as if these were the keys: those of another reduce, which makes the same aggregates.
    fn answer_under(&mut self, prepared: &Prepared, keys: Vec<ArrayRef>) -> Result<RecordBatch> {
        let groups = self.len();
        let mut columns = keys;
        columns.reserve_exact(self.states.len());
        for (place, (state, aggregate)) in self.states.iter_mut().zip(&prepared.aggregates).enumerate() {
            let column = match state {
                Some(state) => state.finish(),
                None => self.laned.finish(place, aggregate, groups),
            };
            let column = column.map_err(|refusal| explain(refusal, aggregate, &prepared.keys, &columns))?;
            columns.push(if column.data_type() == &aggregate.data_type {
                column
            } else {
                arrow_cast::cast(&column, &aggregate.data_type)?
            });
        }
        let schema = Arc::clone(&prepared.schema);
        let options =
            arrow_array::RecordBatchOptions::new().with_row_count(Some(columns.first().map_or(1, |c| c.len())));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("groups", &self.len()).field("aggregates", &self.states.len()).finish()
    }
}

/// The values of a dictionary column, where the aggregate looks at values.
fn plain(input: &ArrayRef, aggregate: &TypedAggregate) -> Result<ArrayRef> {
    match input.data_type() {
        DataType::Dictionary(_, values) if !is_null_kept(&aggregate.function) => Ok(arrow_cast::cast(input, values)?),
        _ => Ok(Arc::clone(input)),
    }
}

/// The rows whose value is there and whose filter is true; none if these are all.
fn selection(values: Option<&ArrayRef>, filter: Option<&BooleanArray>) -> Option<BooleanBuffer> {
    let present = values.and_then(|values| values.logical_nulls()).filter(|nulls| nulls.null_count() > 0);
    let present = present.map(|nulls| nulls.inner().clone());
    let kept = filter.map(|filter| match filter.nulls() {
        None => filter.values().clone(),
        Some(nulls) => filter.values() & nulls.inner(),
    });
    match (present, kept) {
        (Some(present), Some(kept)) => Some(&present & &kept),
        (present, kept) => present.or(kept),
    }
}

/// The error for people: which column, which key, which value.
fn explain(refusal: Refusal, aggregate: &TypedAggregate, keys: &[Field], columns: &[ArrayRef]) -> Error {
    match refusal {
        Refusal::Other(error) => error.at(Place::default().column(&aggregate.name)),
        Refusal::OutOfRange { group, value, data_type } => {
            let key = reduce::key_text(keys, columns, group);
            reduce::out_of_range(aggregate, &key, &value, &data_type)
        }
    }
}
