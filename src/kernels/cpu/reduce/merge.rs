//! The groups of several partitions become one.
//!
//! Few groups are merged one partition after another. Many, and rows that were put off, are first dealt out by a hash of
//! their keys; each share is merged and reduced on its own, and the order of first appearance is restored at the end.

#![expect(clippy::cast_possible_truncation, reason = "group ids and numbers of partitions fit u32")]

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use rayon::prelude::*;

use super::appearance::{Appearance, by_stretch};
use super::deferred::{Dealt, deal, is_worth_it, share_of};
use super::state::Mapping;
use super::turns::{Order, Walk, took_turns};
use super::{Groups, KeyedReduce};
use crate::error::Result;
use crate::kernels::cpu::hash::hash_rows;

/// Below this many groups in all, dealing them out costs more than it gains.
const GROUPS_WORTH_DEALING: usize = 1 << 16;

/// Rows and groups a share, about: its table, keys and lanes then fit a second-level cache.
const ROWS_PER_SHARE: usize = 1 << 15;

/// More shares than this would be too many places to write to at once: a line of the cache for each fills half of a first-level cache.
const SHARES_MAX: usize = 256;

impl KeyedReduce {
    /// The answer of all partitions, given in their order. Runs on the threads of the current rayon pool.
    ///
    /// # Errors
    /// As for [`Groups::merge`] and [`Groups::finish`].
    pub fn finish_all(&self, mut partials: Vec<Groups>) -> Result<RecordBatch> {
        self.finish_each(&mut partials.iter_mut().collect::<Vec<_>>())
    }

    /// As [`KeyedReduce::finish_all`]; the groups are not needed any more, but their memory may be.
    pub(in crate::kernels::cpu) fn finish_each(&self, partials: &mut [&mut Groups]) -> Result<RecordBatch> {
        let partials = merge_alike(partials)?;
        partials.par_iter_mut().try_for_each(|partial| partial.renumber_back())?;
        let threads = rayon::current_num_threads();
        let groups: usize = partials.iter().map(|partial| partial.len()).sum();
        let deferred: usize = partials.iter().map(|partial| partial.deferred.rows()).sum();
        let is_large = partials.len() > 1 && threads > 1 && groups >= GROUPS_WORTH_DEALING;
        if !self.0.keys.is_empty() && (is_large || deferred > 0) {
            let shares = (groups + deferred).div_ceil(ROWS_PER_SHARE).max(threads).min(SHARES_MAX);
            return finish_dealt(self, &partials.iter().map(|partial| &**partial).collect::<Vec<_>>(), shares);
        }
        Groups::combine(partials)?;
        partials.first_mut().map_or_else(|| self.begin()?.finish(), |all| all.answer())
    }
}

/// Merges the first partitions whose ids are the same places of the same range, as they are; gives those that are left.
fn merge_alike<'a, 'b>(partials: &'a mut [&'b mut Groups]) -> Result<&'a mut [&'b mut Groups]> {
    let range = |groups: &Groups| {
        let (low, _) = groups.ids.places().filter(|_| groups.deferred.rows() == 0)?;
        Some((low, groups.slots()))
    };
    let first = partials.first().and_then(|first| range(first));
    let alike = partials.iter().take_while(|partial| first.is_some() && range(partial) == first).count();
    // Of partitions that took turns, some alone have no order.
    let order = match took_turns(partials) {
        true if alike == partials.len() => Some(Order::of(partials).appeared(partials)),
        true => return Ok(partials),
        false => None,
    };
    let Some((groups, later)) = partials[..alike].split_first_mut() else { return Ok(partials) };
    for later in later {
        let Some((_, appeared)) = later.ids.places() else { continue };
        // By place, so that both partitions are gone through from their beginning to their end.
        let mut is_there = vec![false; later.slots()];
        appeared.iter().for_each(|&place| is_there[place as usize] = true);
        let ids: Vec<u32> = (0..is_there.len() as u32).filter(|&place| is_there[place as usize]).collect();
        let mapping = Mapping { from: &ids, to: &ids, later_groups: later.slots(), groups: groups.slots() };
        groups.tell_values_like(later);
        merge_states(groups, later, &mapping)?;
        groups.ids.note(appeared);
    }
    if let Some(order) = order {
        groups.ids.note_anew(&order);
    }
    partials.swap(0, alike - 1);
    Ok(&mut partials[alike - 1..])
}

/// The groups of partitions that took turns and are settled, in the order of their first rows.
pub(super) fn in_turn(partials: &[&mut Groups]) -> Result<Groups> {
    let keys = partials.iter().map(|partial| partial.ids.keys()).collect::<Result<Vec<_>>>()?;
    let mut all = KeyedReduce(Arc::clone(&partials[0].prepared)).begin()?;
    all.settle()?;
    partials.iter().for_each(|partial| all.tell_values_like(partial));
    let mut to: Vec<Vec<u32>> = partials.iter().map(|partial| Vec::with_capacity(partial.len())).collect();
    for (partition, stretch) in Order::of(partials).stretches() {
        let keys: Vec<_> = keys[partition].iter().map(|key| key.slice(stretch.start, stretch.len())).collect();
        to[partition].extend(all.ids_of_all(&keys, stretch.len())?);
    }
    for (partial, to) in partials.iter().zip(&to) {
        let from: Vec<u32> = (0..partial.len() as u32).collect();
        let mapping = Mapping { from: &from, to, later_groups: partial.len(), groups: all.len() };
        merge_states(&mut all, partial, &mapping)?;
    }
    Ok(all)
}

/// Takes all groups of a later partition in.
pub(super) fn merge(groups: &mut Groups, later: &Groups) -> Result<()> {
    let from: Vec<u32> = (0..later.len() as u32).collect();
    take_in(groups, later, &from, &later.ids.keys()?).map(drop)
}

/// Takes the groups `from` of a later partition in, whose keys these are; gives their ids here.
pub(super) fn take_in(groups: &mut Groups, later: &Groups, from: &[u32], keys: &[ArrayRef]) -> Result<Vec<u32>> {
    groups.tell_values_like(later);
    let to = groups.ids_of_all(keys, from.len())?;
    let mapping = Mapping { from, to: &to, later_groups: later.len(), groups: groups.len() };
    merge_states(groups, later, &mapping)?;
    Ok(to)
}

/// Takes the states of some groups of a later partition in.
pub(super) fn merge_states(groups: &mut Groups, later: &Groups, mapping: &Mapping<'_>) -> Result<()> {
    groups.laned.merge(&later.laned, mapping)?;
    for (state, later) in groups.states.iter_mut().zip(&later.states) {
        if let (Some(state), Some(later)) = (state, later) {
            state.merge(&**later, mapping)?;
        }
    }
    Ok(())
}

/// Groups of all partitions whose keys hash alike, merged.
struct Share {
    answer: RecordBatch,
    /// Where each group appeared first, in the order of all partitions.
    origins: Vec<usize>,
}

impl Share {
    /// With its groups in an order in which they can be put together: if partitions took turns, a later one may bring what was before.
    fn by_appearance(self) -> Result<Self> {
        let Self { answer, origins } = self;
        let Some(order) = by_stretch(&origins) else { return Ok(Self { answer, origins }) };
        let origins = order.iter().map(|&group| origins[group as usize]).collect();
        Ok(Self { answer: arrow_select::take::take_record_batch(&answer, &UInt32Array::from(order))?, origins })
    }
}

/// What a partition hands out: its groups, and then the rows that it put off.
struct Hands {
    groups: Vec<Hand>,
    rows: Vec<Dealt>,
}

/// The groups of one partition that belong to one share.
struct Hand {
    groups: Vec<u32>,
    keys: Vec<ArrayRef>,
}

fn finish_dealt(reduce: &KeyedReduce, partials: &[&Groups], shares: usize) -> Result<RecordBatch> {
    let hands = partials.par_iter().map(|partial| {
        let blocks = partial.deferred.blocks();
        let rows = blocks.into_par_iter().map(|(first, block)| deal(&block, partial.len() + first, shares));
        Ok(Hands { rows: rows.collect::<Result<_>>()?, groups: deal_groups(partial, shares)? })
    });
    let hands = hands.collect::<Result<Vec<_>>>()?;
    // Tables and lanes of one share serve the next one.
    let spare = Mutex::new(Vec::new());
    let take = || spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let order = Order::of(partials);
    let shares = (0..shares).into_par_iter().map(|share| {
        let mut groups = take().map_or_else(|| reduce.begin(), Ok)?;
        groups.may_defer = false;
        let share = reduce_share(&mut groups, partials, (&hands, &order), share)?.by_appearance()?;
        groups.clear()?;
        spare.lock().unwrap_or_else(PoisonError::into_inner).push(groups);
        Ok(share)
    });
    let shares = shares.collect::<Result<Vec<_>>>()?;
    let origins: Vec<&[usize]> = shares.iter().map(|share| share.origins.as_slice()).collect();
    let groups = origins.iter().map(|origins| origins.len()).sum();
    if !is_worth_it(groups, groups, order.len()) {
        reduce.0.puts_off.store(false, Relaxed);
    }
    let appearance = Appearance::new(order.len(), &origins);
    let columns = (0..reduce.0.schema.fields().len())
        .into_par_iter()
        .map(|column| appearance.column(&shares.iter().map(|share| share.answer.column(column)).collect::<Vec<_>>()));
    Ok(RecordBatch::try_new(Arc::clone(&reduce.0.schema), columns.collect::<Result<_>>()?)?)
}

fn deal_groups(partial: &Groups, shares: usize) -> Result<Vec<Hand>> {
    let keys = partial.ids.keys()?;
    let mut groups = vec![Vec::with_capacity(partial.len() / shares * 5 / 4); shares];
    for (group, &hash) in hash_rows(&keys, partial.len())?.values().iter().enumerate() {
        groups[share_of(hash, shares)].push(group as u32);
    }
    let hands = groups.into_iter().map(|groups| {
        let rows = UInt32Array::from(groups.clone());
        let keys = keys.iter().map(|key| arrow_select::take::take(key, &rows, None)).collect::<Result<_, _>>()?;
        Ok(Hand { groups, keys })
    });
    hands.collect()
}

fn reduce_share(
    groups: &mut Groups,
    partials: &[&Groups],
    (hands, order): (&[Hands], &Order),
    share: usize,
) -> Result<Share> {
    if groups.prepared.is_ordered {
        return reduce_share_in_order(groups, partials, (hands, order), share);
    }
    let mut origins = Vec::new();
    let took_turns = took_turns(partials);
    for (partition, (partial, hands)) in partials.iter().zip(hands).enumerate() {
        let mut walk = order.walk(partition);
        let hand = &hands.groups[share];
        // Partitions that took turns have rows before and behind those of the first.
        let mut note = |groups: usize, ids: &[u32], numbers: &[u32]| match took_turns && partition > 0 {
            false => walk.note_later(&mut origins, groups, ids, numbers),
            true => walk.note(&mut origins, groups, ids, numbers),
        };
        let to = take_in(groups, partial, &hand.groups, &hand.keys)?;
        note(groups.len(), &to, &hand.groups);
        take_in_rows(groups, &hands.rows, share, |groups, numbers| note(groups.len(), &groups.row_ids, numbers))?;
    }
    Ok(Share { answer: groups.answer()?, origins })
}

/// As [`reduce_share`], but each partition is added up for itself before it is added to those before it.
fn reduce_share_in_order(
    groups: &mut Groups,
    partials: &[&Groups],
    (hands, order): (&[Hands], &Order),
    share: usize,
) -> Result<Share> {
    if groups.states.iter().any(Option::is_some) || groups.laned.may_wait {
        return reduce_share_apart(groups, partials, (hands, order), share);
    }
    let mut origins = Vec::new();
    let mut of_one = groups.begin_lanes();
    let mut touched = Touched::default();
    for (partition, (partial, hands)) in partials.iter().zip(hands).enumerate() {
        let mut walk = order.walk(partition);
        // Keys are looked up among those of all partitions, once; only lanes are for one.
        std::mem::swap(&mut groups.laned, &mut of_one);
        let hand = &hands.groups[share];
        let to = take_in(groups, partial, &hand.groups, &hand.keys)?;
        walk.note_later(&mut origins, groups.len(), &to, &hand.groups);
        touched.begin(&to, groups.slots());
        take_in_rows(groups, &hands.rows, share, |groups, numbers| {
            walk.note_later(&mut origins, groups.len(), &groups.row_ids, numbers);
            touched.note(&groups.row_ids, groups.slots());
        })?;
        std::mem::swap(&mut groups.laned, &mut of_one);
        let ids = touched.ids();
        let mapping = Mapping { from: ids, to: ids, later_groups: groups.slots(), groups: groups.slots() };
        groups.laned.take_over(&mut of_one, &mapping)?;
    }
    Ok(Share { answer: groups.answer()?, origins })
}

/// As [`reduce_share_in_order`], of groups that have more than lanes: with a table for each partition.
fn reduce_share_apart(
    groups: &mut Groups,
    partials: &[&Groups],
    (hands, order): (&[Hands], &Order),
    share: usize,
) -> Result<Share> {
    let mut origins = Vec::new();
    let mut of_one = KeyedReduce(Arc::clone(&groups.prepared)).begin()?;
    for (partition, (partial, hands)) in partials.iter().zip(hands).enumerate() {
        of_one.may_defer = false;
        let hand = &hands.groups[share];
        let (mut numbers, mut firsts) = (Walk::default(), Vec::new());
        let to = take_in(&mut of_one, partial, &hand.groups, &hand.keys)?;
        numbers.note(&mut firsts, of_one.len(), &to, &hand.groups);
        take_in_rows(&mut of_one, &hands.rows, share, |of_one, dealt| {
            numbers.note(&mut firsts, of_one.len(), &of_one.row_ids, dealt);
        })?;
        let all: Vec<u32> = (0..of_one.len() as u32).collect();
        let to = take_in(groups, &of_one, &all, &of_one.ids.keys()?)?;
        let mut walk = order.walk(partition);
        origins.resize(groups.len(), usize::MAX);
        for (first, to) in firsts.into_iter().zip(to) {
            let origin: &mut usize = &mut origins[to as usize];
            *origin = walk.place(first as u32).min(*origin);
        }
        of_one.clear()?;
    }
    Ok(Share { answer: groups.answer()?, origins })
}

/// Takes in the rows of a partition that belong to a share; tells of each piece once it has ids.
fn take_in_rows(
    groups: &mut Groups,
    rows: &[Dealt],
    share: usize,
    mut taken: impl FnMut(&Groups, &[u32]),
) -> Result<()> {
    for (at, dealt) in rows.iter().enumerate() {
        if let Some(next) = rows.get(at + 1) {
            next.ask_for(share);
        }
        let (from, piece) = dealt.share(share);
        if piece.rows > 0 {
            groups.take_in(&piece.keys, &piece.inputs, &piece.filters, piece.rows)?;
            taken(groups, &dealt.numbers[from..][..piece.rows]);
        }
    }
    Ok(())
}

/// The groups of which a partition has rows, each once.
#[derive(Default)]
struct Touched {
    ids: Vec<u32>,
    /// For each id the latest partition that had it, counted from 1.
    latest: Vec<u32>,
    partition: u32,
}

impl Touched {
    /// Another partition begins, with these groups among so many.
    fn begin(&mut self, ids: &[u32], groups: usize) {
        self.ids.clear();
        self.partition += 1;
        self.note(ids, groups);
    }

    fn note(&mut self, ids: &[u32], groups: usize) {
        self.latest.resize(groups, 0);
        let mut count = self.ids.len();
        self.ids.resize(count + ids.len(), 0);
        for &id in ids {
            // Each is written, and stays if it is new: which it is cannot be foretold.
            self.ids[count] = id;
            let latest = &mut self.latest[id as usize];
            count += usize::from(*latest != self.partition);
            *latest = self.partition;
        }
        self.ids.truncate(count);
    }

    fn ids(&self) -> &[u32] {
        &self.ids
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field, TimeUnit};

    use super::*;
    use crate::columnar::Scalar;
    use crate::expr::{AggregateFunction, TypedAggregate, TypedExpr, TypedNode};

    /// Texts of numbers, now and then null, as a column of the type.
    fn column(data_type: &DataType, from: usize) -> ArrayRef {
        let text = |row: usize| (row % 7 != 3).then(|| format!("{}", row * row % 41));
        let texts: Vec<Scalar> = (from..from + 100).map(|row| text(row).into()).collect();
        let texts = Scalar::to_array(&texts, &DataType::Utf8).unwrap();
        match data_type {
            DataType::Null => arrow_array::new_null_array(data_type, 100),
            DataType::Boolean => arrow_cast::cast(&column(&DataType::Int64, from), data_type).unwrap(),
            DataType::Date32 | DataType::Timestamp(_, _) | DataType::Duration(_) => {
                let wide = column(&DataType::Int64, from);
                let wide = if *data_type == DataType::Date32 { column(&DataType::Int32, from) } else { wide };
                arrow_cast::cast(&wide, data_type).unwrap()
            }
            other => arrow_cast::cast(&texts, other).unwrap(),
        }
    }

    fn aggregate(function: AggregateFunction, input: &DataType, data_type: DataType) -> TypedAggregate {
        let node = TypedNode::Column(0, "x".to_owned());
        let input = Some(TypedExpr { node, data_type: input.clone(), nullable: true });
        TypedAggregate { name: function.name().to_owned(), function, input, filter: None, data_type }
    }

    fn partials(reduce: &KeyedReduce, keys: &[&DataType], inputs: &[&DataType]) -> Vec<Groups> {
        let partial = |from: usize| {
            let mut groups = reduce.begin().unwrap();
            let keys: Vec<_> = keys.iter().map(|key| column(key, from)).collect();
            let inputs: Vec<_> = inputs.iter().map(|input| Some(column(input, from))).collect();
            groups.update(&keys, &inputs, &vec![None; inputs.len()], 100).unwrap();
            groups
        };
        [0, 37, 500].map(partial).into_iter().collect()
    }

    #[test]
    fn dealt_groups_equal_those_merged_one_partition_after_another() {
        use AggregateFunction::{Concat, First, Last, Max, NUnique, Quantile, Sum, Variance};
        use DataType::{Binary, Boolean, Date32, Decimal128, Float64, Int8, Int64, Null, UInt32, Utf8, Utf8View};
        let dictionary = DataType::Dictionary(Box::new(DataType::Int16), Box::new(Utf8));
        let duration = DataType::Duration(TimeUnit::Second);
        let types = [
            Null,
            Boolean,
            Int8,
            UInt32,
            Float64,
            Decimal128(10, 2),
            Date32,
            duration,
            Utf8,
            Utf8View,
            Binary,
            dictionary,
        ];
        for key in &types {
            for second in [None, Some(&Int64), Some(&Utf8)] {
                let keys: Vec<&DataType> = std::iter::once(key).chain(second).collect();
                let fields: Vec<Field> = keys.iter().map(|key| Field::new("k", (*key).clone(), true)).collect();
                let aggregates = [
                    aggregate(First, key, key.clone()),
                    aggregate(Last, key, key.clone()),
                    aggregate(Max, key, key.clone()),
                    aggregate(NUnique, key, Int64),
                    aggregate(Concat("-".to_owned()), &Utf8, Utf8),
                    aggregate(Quantile(0.3), &Int64, Float64),
                    aggregate(Sum, &Float64, Float64),
                    aggregate(Variance(1), &Float64, Float64),
                ];
                let inputs = [key, key, key, key, &Utf8, &Int64, &Float64, &Float64];
                let reduce = KeyedReduce::prepare(&fields, &aggregates).unwrap();
                let dealt =
                    finish_dealt(&reduce, &partials(&reduce, &keys, &inputs).iter().collect::<Vec<_>>(), 3).unwrap();
                let mut whole = reduce.begin().unwrap();
                for partial in partials(&reduce, &keys, &inputs) {
                    whole.merge(partial).unwrap();
                }
                assert_eq!(dealt, whole.finish().unwrap(), "keys {keys:?}");
            }
        }
    }

    /// Rows with ever more keys, of which some are null; `values` are floats of many sizes, and null now and then from `nulls` on.
    fn rows(from: usize, len: usize, (keys, nulls): (u64, usize)) -> (ArrayRef, ArrayRef) {
        let word = |row: usize| (row as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let key = |row: usize| (row % 97 != 5).then(|| (word(row) % keys).cast_signed() << 20);
        let value = |row: usize| {
            let is_there = row < nulls || row % 5 != 1;
            is_there.then(|| (word(row) >> 9) as f64 * 10_f64.powi(i32::try_from(word(row) & 31).unwrap() - 16) - 1e9)
        };
        let keys = (from..from + len).map(key).collect::<arrow_array::Int64Array>();
        (Arc::new(keys), Arc::new((from..from + len).map(value).collect::<arrow_array::Float64Array>()))
    }

    /// A reduce with ordered sums, whose groups are lanes alone, or not.
    fn ordered(has_states: bool) -> KeyedReduce {
        use AggregateFunction::{Count, Max, Mean, Min, OrderedMean, OrderedSum, OrderedVariance, Sum};
        let float = DataType::Float64;
        let floats =
            [OrderedSum, OrderedMean, Sum, Mean, Min, Max].map(|function| aggregate(function, &float, float.clone()));
        let variance = has_states.then(|| aggregate(OrderedVariance(1), &float, float.clone()));
        let count = aggregate(Count, &float, DataType::Int64);
        let aggregates: Vec<_> = floats.into_iter().chain([count]).chain(variance).collect();
        KeyedReduce::prepare(&[Field::new("k", DataType::Int64, true)], &aggregates).unwrap()
    }

    fn take_rows(groups: &mut Groups, (keys, values): (ArrayRef, ArrayRef)) {
        let (aggregates, rows) = (groups.prepared.aggregates.len(), keys.len());
        groups.update(&[keys], &vec![Some(values); aggregates], &vec![None; aggregates], rows).unwrap();
    }

    #[test]
    fn ordered_sums_of_rows_put_off_are_those_of_partitions_merged() {
        for (has_states, nulls) in [(false, usize::MAX), (false, 0), (false, 150_000), (true, 0)] {
            let reduce = ordered(has_states);
            let partition = |number: usize, defers: bool| {
                let mut groups = reduce.begin().unwrap();
                for piece in 0..5 {
                    // The first piece of some is groups already.
                    groups.defers = defers && (piece > 0 || number % 2 == 1);
                    take_rows(&mut groups, rows(number * 50_000 + piece * 9_999, 9_999, (31_000, nulls)));
                }
                groups
            };
            let dealt = reduce.finish_all((0..5).map(|number| partition(number, true)).collect()).unwrap();
            let mut whole = partition(0, false);
            (1..5).for_each(|number| whole.merge(partition(number, false)).unwrap());
            let whole = whole.finish().unwrap();
            assert_eq!(dealt.num_rows(), whole.num_rows());
            for (dealt, whole) in dealt.columns().iter().zip(whole.columns()) {
                assert_eq!(dealt.to_data(), whole.to_data(), "states: {has_states}, nulls from {nulls}");
            }
        }
    }

    #[test]
    fn partitions_begin_with_putting_off_as_long_as_it_pays() {
        let reduce = ordered(false);
        let mut first = reduce.begin().unwrap();
        let mut from = 0;
        while !first.defers {
            take_rows(&mut first, rows(from, 16_384, (u64::MAX, 0)));
            from += 16_384;
        }
        let mut second = reduce.begin().unwrap();
        take_rows(&mut second, rows(from, 16_384, (u64::MAX, 0)));
        assert_eq!(second.deferred.rows(), 16_384);
        let mut small = reduce.begin().unwrap();
        take_rows(&mut small, rows(from, 100, (u64::MAX, 0)));
        assert_eq!(small.deferred.rows(), 0);
        assert!(reduce.finish_all(vec![first, second]).unwrap().num_rows() > from);

        // Few groups: the first partition puts their rows off, those after it do not.
        let mut third = reduce.begin().unwrap();
        take_rows(&mut third, rows(0, 16_384, (10, 0)));
        assert_eq!(third.deferred.rows(), 16_384);
        assert_eq!(reduce.finish_all(vec![third]).unwrap().num_rows(), 11);
        let mut fourth = reduce.begin().unwrap();
        take_rows(&mut fourth, rows(0, 16_384, (10, 0)));
        assert_eq!((fourth.deferred.rows(), fourth.len()), (0, 11));
    }
}
