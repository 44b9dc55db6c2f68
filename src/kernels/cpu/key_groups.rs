//! The groups of a pane, dealt out to key groups once they are many.
//!
//! Few groups lie in one table. Once there are many, they are dealt out by the highest bits of a hash of their keys to a fixed
//! number of key groups ([`KEY_GROUPS`]), each with a table of its own: a batch is merged and a snapshot is taken back key
//! group by key group, on all threads of the pool, and each works on a part that is in the cache. Which key group a
//! key belongs to follows from the key alone, so that nothing hangs on the number of threads.
//!
//! Whatever comes out comes in the order in which keys came first, as if there were one table: each group has a rank.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatchOptions, UInt32Array};
use arrow_select::concat::concat;
use arrow_select::take::take;
use rayon::prelude::*;

use super::hash::hash_rows;
use super::key_group::{Look, Part, bytes_per_group};
use super::reduce::{Groups, KeyedReduce, gather_column};
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::row_number;
use crate::kernels::spill::Room;
use crate::limits::GROUPS_MAX;

/// Into how many key groups many groups are dealt out: one for each value of the highest byte of a hash.
const KEY_GROUPS: usize = 256;

/// From so many groups on they are dealt out. Debug builds begin early, so that each test of state also runs this way.
const GROUPS_WORTH_DEALING: usize = if cfg!(debug_assertions) { 24 } else { 1 << 16 };

/// Fewer groups of a batch than this are merged by one thread: the hand-over to others costs more.
const GROUPS_WORTH_THREADS: usize = if cfg!(debug_assertions) { 16 } else { 1 << 12 };

/// Stored rows that are dealt out at once: what is moved stays in the cache.
const ROWS_AT_ONCE: usize = if cfg!(debug_assertions) { 64 } else { 1 << 16 };

/// Marks a rank that no group has.
const NO_GROUP: u32 = u32::MAX;

/// What the groups of all panes of an operator have in common.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) reduce: KeyedReduce,
    /// Of stored groups.
    pub(super) schema: SchemaRef,
    /// Whether many groups are dealt out; if not they stay in one table, see [`KeyGroups::one`].
    pub(super) may_deal: bool,
    /// How much memory the groups may take, if there is a bound.
    pub(super) room: Option<Room>,
}

/// The groups of a pane.
pub(super) struct KeyGroups {
    ground: Arc<Ground>,
    /// One, or one for each key group.
    parts: Vec<Part>,
    /// The rank of the next group that is new.
    next_rank: usize,
}

/// Some groups as they were left by a batch, in the order in which the batch gave them.
pub(super) struct Touched {
    parts: Vec<TouchedPart>,
    /// Where in the parts, one after another, each group lies; none if there is one part that is in order.
    order: Option<UInt32Array>,
}

/// Those of one part.
struct TouchedPart {
    /// Which part.
    of: usize,
    ids: Vec<u32>,
    keys: Vec<ArrayRef>,
    /// A copy, made when it is asked for; at once where the groups themselves may be gone by then.
    copy: Option<Groups>,
    /// As they are stored, if that was asked for to know their size.
    stored: Option<RecordBatch>,
}

impl TouchedPart {
    fn groups(&mut self, all: &KeyGroups) -> Result<&mut Groups> {
        let copy = match self.copy.take() {
            Some(copy) => copy,
            None => all.ground.reduce.select(&*all.parts[self.of].look(&all.ground)?, &self.ids, &self.keys)?,
        };
        Ok(self.copy.insert(copy))
    }

    fn rows(&mut self, all: &KeyGroups) -> Result<RecordBatch> {
        self.groups(all)?.rows()
    }

    fn store(&mut self, all: &KeyGroups) -> Result<RecordBatch> {
        if let Some(stored) = self.stored.take() {
            return Ok(stored);
        }
        self.groups(all)?.store()
    }
}

/// Rows in the order of their key groups.
struct Dealt {
    order: Vec<u32>,
    /// Where each key group begins, and the last one ends.
    ends: Vec<usize>,
}

impl Dealt {
    fn of(keys: &[ArrayRef], rows: usize) -> Result<Self> {
        let hashes = hash_rows(keys, rows)?;
        let mut ends = vec![0; KEY_GROUPS + 1];
        hashes.values().iter().for_each(|&hash| ends[key_group(hash) + 1] += 1);
        for group in 0..KEY_GROUPS {
            ends[group + 1] += ends[group];
        }
        let mut next = ends.clone();
        let mut order = vec![0; rows];
        for (row, &hash) in (0_u32..).zip(hashes.values()) {
            let place = &mut next[key_group(hash)];
            order[*place] = row;
            *place += 1;
        }
        Ok(Self { order, ends })
    }

    fn rows(&self, group: usize) -> std::ops::Range<usize> {
        self.ends[group]..self.ends[group + 1]
    }
}

/// The highest bits: the tables of key groups go by the lower ones of other hashes.
fn key_group(hash: u64) -> usize {
    usize::from(hash.to_be_bytes()[0])
}

impl KeyGroups {
    /// None yet.
    pub(super) fn new(ground: &Arc<Ground>) -> Result<Self> {
        Ok(Self::of_one(ground, ground.reduce.begin()?.settled()?))
    }

    /// Those of one table.
    pub(super) fn of_one(ground: &Arc<Ground>, groups: Groups) -> Self {
        let next_rank = groups.len();
        Self { ground: Arc::clone(ground), parts: vec![Part::new(groups, Vec::new())], next_rank }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    /// Whether they are many, so that threads are of use.
    pub(super) fn is_dealt(&self) -> bool {
        self.parts.len() > 1
    }

    /// About how many bytes a group takes; none where that is not known.
    pub(super) fn bytes_per_group(&self) -> u64 {
        self.parts.iter().map(Part::bytes_per_group).max().unwrap_or(0)
    }

    /// The one table of groups that may not be dealt out.
    pub(super) fn one(&self) -> Result<Look<'_>> {
        match &self.parts[..] {
            [part] => part.look(&self.ground),
            _ => Err(Error::internal("groups in key groups were taken for one table")),
        }
    }

    /// As [`KeyGroups::one`].
    pub(super) fn one_mut(&mut self) -> Result<&mut Groups> {
        match &mut self.parts[..] {
            [part] => part.here(&self.ground),
            _ => Err(Error::internal("groups in key groups were taken for one table")),
        }
    }

    /// Takes the groups `from` of a batch in, under these keys; gives them as they are now, and until they change again.
    /// Costs follow `from`.
    pub(super) fn take_in(&mut self, batch: &Groups, from: &[u32], keys: &[ArrayRef]) -> Result<Touched> {
        let ground = Arc::clone(&self.ground);
        if from.is_empty() {
            let copy = Some(ground.reduce.begin()?.settled()?);
            let none = TouchedPart { of: 0, ids: Vec::new(), keys: keys.to_vec(), copy, stored: None };
            return Ok(Touched { parts: vec![none], order: None });
        }
        if let [part] = &mut self.parts[..] {
            let mut touched = merge((0, part), &ground, batch, from, keys)?;
            self.next_rank = part.len();
            if ground.may_deal && self.next_rank >= GROUPS_WORTH_DEALING && !ground.reduce.keys().is_empty() {
                touched.groups(self)?;
                self.deal()?;
            }
            return Ok(Touched { parts: vec![touched], order: None });
        }
        let dealt = Dealt::of(keys, from.len())?;
        let keys = taken(keys, &UInt32Array::from(dealt.order.clone()))?;
        let from = dealt.order.iter().map(|&row| from[row as usize]).collect::<Vec<_>>();
        let one = |(group, part): (usize, &mut Part)| {
            let rows = dealt.rows(group);
            if rows.is_empty() {
                return Ok(None);
            }
            let keys = keys.iter().map(|key| key.slice(rows.start, rows.len())).collect::<Vec<_>>();
            let before = part.len();
            let touched = merge((group, part), &ground, batch, &from[rows.clone()], &keys)?;
            let is_new = touched.ids.iter().zip(&dealt.order[rows]).filter(|(id, _)| **id as usize >= before);
            let new = is_new.map(|(_, &row)| row).collect::<Vec<_>>();
            Ok(Some((group, touched, new)))
        };
        let done =
            on_all(self.parts.iter_mut().enumerate().collect::<Vec<_>>(), from.len() >= GROUPS_WORTH_THREADS, one)?;
        let mut parts = Vec::new();
        let mut new = Vec::new();
        for (group, touched, rows) in done.into_iter().flatten() {
            parts.push(touched);
            new.push((group, rows));
        }
        self.rank(from.len(), &new)?;
        let mut order = vec![0; from.len()];
        dealt.order.iter().zip(0_u32..).for_each(|(&row, place)| order[row as usize] = place);
        Ok(Touched { parts, order: Some(order.into()) })
    }

    /// Gives groups that are new their ranks: in the order of the rows that brought them.
    fn rank(&mut self, rows: usize, new: &[(usize, Vec<u32>)]) -> Result<()> {
        let mut ranks = vec![NO_GROUP; rows];
        new.iter().flat_map(|(_, rows)| rows).for_each(|&row| ranks[row as usize] = 0);
        for rank in ranks.iter_mut().filter(|rank| **rank != NO_GROUP) {
            if self.next_rank > GROUPS_MAX {
                let message = format!("more than {GROUPS_MAX} groups are to be kept");
                return Err(Error::new(ErrorKind::Unsupported, message)
                    .advice("group by fewer or coarser keys, or give them a ttl"));
            }
            *rank = row_number(self.next_rank)?;
            self.next_rank += 1;
        }
        for (group, rows) in new {
            self.parts[*group].ranks.extend(rows.iter().map(|&row| ranks[row as usize]));
        }
        Ok(())
    }

    /// Deals the groups of the one table out.
    fn deal(&mut self) -> Result<()> {
        let ground = Arc::clone(&self.ground);
        let [part] = &mut self.parts[..] else { return Ok(()) };
        let whole = &*part.here(&ground)?;
        let keys = whole.keys()?;
        let dealt = Dealt::of(&keys, whole.len())?;
        let keys = taken(&keys, &UInt32Array::from(dealt.order.clone()))?;
        let one = |group: usize| {
            let rows = dealt.rows(group);
            let keys = keys.iter().map(|key| key.slice(rows.start, rows.len())).collect::<Vec<_>>();
            let mut groups = ground.reduce.begin()?.settled()?.scattered();
            groups.take_groups(whole, &dealt.order[rows.clone()], &keys)?;
            let mut part = Part::new(groups, dealt.order[rows].to_vec());
            if let Some(room) = &ground.room {
                let bytes = bytes_per_group(part.store()?.columns(), part.len())?;
                part.settle(room, Some(bytes))?;
            }
            Ok(part)
        };
        self.parts = on_all(0..KEY_GROUPS, true, one)?;
        Ok(())
    }

    /// Where in the parts, one after another, the group of each rank lies; none if there is one part.
    fn order(&self) -> Option<UInt32Array> {
        self.is_dealt().then(|| {
            let mut places = vec![NO_GROUP; self.next_rank];
            let ranks = self.parts.iter().flat_map(|part| &part.ranks);
            ranks.zip(0_u32..).for_each(|(&rank, place)| places[rank as usize] = place);
            // Of stored rows only those have a rank that were the first ones of their keys.
            places.retain(|&place| place != NO_GROUP);
            places.into()
        })
    }

    /// The keys of all groups.
    pub(super) fn keys(&self) -> Result<Vec<ArrayRef>> {
        let parts = self.parts.iter().map(|part| part.look(&self.ground)?.keys());
        keys_in_order(&parts.collect::<Result<Vec<_>>>()?, self.order().as_ref())
    }

    /// One row a group; the groups stay as they are.
    pub(super) fn rows(&self) -> Result<RecordBatch> {
        let rows = |part: &Part| part.look(&self.ground)?.copied_rows();
        together(on_all(&self.parts, self.is_dealt(), rows)?, self.order().as_ref())
    }

    /// The groups as columns, for storage.
    pub(super) fn store(&mut self) -> Result<RecordBatch> {
        let is_dealt = self.is_dealt();
        together(on_all(&mut self.parts, is_dealt, Part::store)?, self.order().as_ref())
    }

    /// The groups of the key group that this key belongs to.
    pub(super) fn near(&self, key: &[ArrayRef]) -> Result<Look<'_>> {
        let hash = if self.is_dealt() { hash_rows(key, 1)?.values().first().copied() } else { None };
        self.parts[hash.map_or(0, key_group)].look(&self.ground)
    }

    /// Takes all groups into others, under these keys, which are those of [`KeyGroups::keys`] but for the pane.
    pub(super) fn merge_into(&self, all: &mut Groups, keys: &[ArrayRef]) -> Result<()> {
        let Some(order) = self.order() else {
            let groups = self.one()?;
            let from: Vec<u32> = (0..).take(groups.len()).collect();
            return all.take_groups(&groups, &from, keys).map(drop);
        };
        // All groups get ids before it is known whether a part tells groups without values.
        all.tell_values();
        let ids = all.ids_of_all(keys, self.len())?;
        let mut to = vec![0; ids.len()];
        order.values().iter().zip(ids).for_each(|(&place, id)| to[place as usize] = id);
        let mut rest = &to[..];
        for part in &self.parts {
            let (to, later) = rest.split_at(part.len());
            let groups = part.look(&self.ground)?;
            all.take_at(&groups, to)?;
            rest = later;
        }
        Ok(())
    }

    /// The groups of stored rows, which have passed [`crate::kernels::stored::check`]: of several rows of a key the last one
    /// counts, and the first one says when it came.
    pub(super) fn restore(ground: &Arc<Ground>, stored: &[RecordBatch]) -> Result<Self> {
        let Ground { reduce, schema, may_deal, room } = &**ground;
        let rows = stored.iter().map(RecordBatch::num_rows).sum::<usize>();
        row_number(rows)?;
        if !may_deal || reduce.keys().is_empty() || rows < GROUPS_WORTH_DEALING {
            let columns = concatenated(stored, schema)?;
            let (groups, _) = reduce.restore_latest(&columns, rows)?;
            let mut one = Self::of_one(ground, groups);
            if let (Some(room), [part]) = (room, &mut one.parts[..]) {
                part.settle(room, Some(bytes_per_group(&columns, rows)?))?;
            }
            return Ok(one);
        }
        let mut blocks = Vec::new();
        let mut first = 0;
        for stored in stored {
            for from in (0..stored.num_rows()).step_by(ROWS_AT_ONCE) {
                let rows = stored.slice(from, ROWS_AT_ONCE.min(stored.num_rows() - from));
                blocks.push((row_number(first + from)?, rows));
            }
            first += stored.num_rows();
        }
        let keys = reduce.keys().len();
        let dealt = |(first, rows): (u32, RecordBatch)| {
            let Dealt { order, ends } = Dealt::of(&rows.columns()[..keys], rows.num_rows())?;
            let order = UInt32Array::from(order);
            let columns = taken(rows.columns(), &order)?;
            Ok((columns, order.values().iter().map(|row| first + row).collect::<Vec<_>>(), ends))
        };
        let blocks = on_all(blocks, true, dealt)?;
        let part = |group: usize| {
            let pieces =
                || blocks.iter().map(|(columns, numbers, ends)| (columns, numbers, ends[group]..ends[group + 1]));
            let numbers = pieces().flat_map(|(_, numbers, rows)| &numbers[rows]).copied().collect::<Vec<_>>();
            let column = |place: usize| {
                let parts = pieces().filter(|(.., rows)| !rows.is_empty());
                let parts = parts.map(|(columns, _, rows)| columns[place].slice(rows.start, rows.len()));
                concatenated_column(&parts.collect::<Vec<_>>(), schema, place)
            };
            let columns = (0..schema.fields().len()).map(column).collect::<Result<Vec<_>>>()?;
            let (groups, firsts) = reduce.restore_share(&columns, numbers.len())?;
            let ranks =
                firsts.map_or(numbers.clone(), |firsts| firsts.iter().map(|&row| numbers[row as usize]).collect());
            let mut part = Part::new(groups, ranks);
            if let Some(room) = room {
                part.settle(room, Some(bytes_per_group(&columns, numbers.len())?))?;
            }
            Ok(part)
        };
        let parts = on_all(0..KEY_GROUPS, true, part)?;
        Ok(Self { ground: Arc::clone(ground), parts, next_rank: rows })
    }
}

impl Touched {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.ids.len()).sum()
    }

    /// Their keys.
    pub(super) fn keys(&self) -> Result<Vec<ArrayRef>> {
        let keys = self.parts.iter().map(|part| part.keys.clone());
        keys_in_order(&keys.collect::<Vec<_>>(), self.order.as_ref())
    }

    /// They are some of all these, which may change from now on.
    pub(super) fn hold(&mut self, all: &KeyGroups) -> Result<()> {
        self.each(all, |part, all| part.groups(all).map(drop)).map(drop)
    }

    /// One row a group; the groups stay as they are. They are some of all these.
    pub(super) fn rows(&mut self, all: &KeyGroups) -> Result<RecordBatch> {
        together(self.each(all, TouchedPart::rows)?, self.order.as_ref())
    }

    /// The groups as columns, for storage. They are some of all these.
    pub(super) fn store(&mut self, all: &KeyGroups) -> Result<RecordBatch> {
        together(self.each(all, TouchedPart::store)?, self.order.as_ref())
    }

    fn each<R: Send>(
        &mut self,
        all: &KeyGroups,
        work: fn(&mut TouchedPart, &KeyGroups) -> Result<R>,
    ) -> Result<Vec<R>> {
        let is_worth = self.len() >= GROUPS_WORTH_THREADS;
        on_all(&mut self.parts, is_worth, |part| work(part, all))
    }
}

/// Takes groups of a batch into a part, of this number.
fn merge(
    (of, part): (usize, &mut Part),
    ground: &Ground,
    batch: &Groups,
    from: &[u32],
    keys: &[ArrayRef],
) -> Result<TouchedPart> {
    let groups = part.here(ground)?;
    let ids = groups.take_groups(batch, from, keys)?;
    groups.compact();
    let mut touched = TouchedPart { of, ids, keys: keys.to_vec(), copy: None, stored: None };
    if let Some(room) = &ground.room {
        let copy = touched.copy.insert(ground.reduce.select(groups, &touched.ids, keys)?);
        if !copy.is_empty() {
            let mut bytes = None;
            if part.wants_size() {
                let rows = copy.store()?;
                bytes = Some(bytes_per_group(rows.columns(), rows.num_rows())?);
                touched.stored = Some(rows);
            }
            part.settle(room, bytes)?;
        }
    }
    Ok(touched)
}

/// Does something with each item: on the threads of the pool that this runs in, if it runs in one and that is worth it.
/// Of several errors gives that of the first item, whichever thread was the first to fail.
fn on_all<T: Send, R: Send>(
    items: impl IntoParallelIterator<Item = T> + IntoIterator<Item = T>,
    is_worth_threads: bool,
    work: impl Fn(T) -> Result<R> + Send + Sync,
) -> Result<Vec<R>> {
    if !is_worth_threads || rayon::current_thread_index().is_none() {
        return items.into_iter().map(work).collect();
    }
    let results: Vec<Result<R>> = items.into_par_iter().map(work).collect();
    results.into_iter().collect()
}

pub(super) fn taken(columns: &[ArrayRef], rows: &UInt32Array) -> Result<Vec<ArrayRef>> {
    Ok(columns.iter().map(|column| take(column, rows, None)).collect::<Result<_, _>>()?)
}

fn keys_in_order(parts: &[Vec<ArrayRef>], order: Option<&UInt32Array>) -> Result<Vec<ArrayRef>> {
    let columns = parts.first().map_or(0, Vec::len);
    (0..columns)
        .map(|place| gathered(&parts.iter().map(|part| part[place].as_ref()).collect::<Vec<_>>(), order))
        .collect()
}

/// The rows of all parts in this order.
fn together(mut parts: Vec<RecordBatch>, order: Option<&UInt32Array>) -> Result<RecordBatch> {
    let (Some(order), Some(first)) = (order, parts.first()) else {
        return parts.pop().ok_or_else(|| Error::internal("groups without a part"));
    };
    let column =
        |place: usize| gathered(&parts.iter().map(|part| part.column(place).as_ref()).collect::<Vec<_>>(), Some(order));
    let columns = on_all(0..first.num_columns(), order.len() >= GROUPS_WORTH_THREADS, column)?;
    let options = RecordBatchOptions::new().with_row_count(Some(order.len()));
    Ok(RecordBatch::try_new_with_options(first.schema(), columns, &options)?)
}

/// The values of all parts, in this order if there is one.
fn gathered(parts: &[&dyn Array], order: Option<&UInt32Array>) -> Result<ArrayRef> {
    match order {
        Some(order) => gather_column(parts, order),
        None => Ok(concat(parts)?),
    }
}

/// The columns of stored rows.
fn concatenated(stored: &[RecordBatch], schema: &SchemaRef) -> Result<Vec<ArrayRef>> {
    let parts = |place: usize| stored.iter().map(|rows| Arc::clone(rows.column(place))).collect::<Vec<_>>();
    (0..schema.fields().len()).map(|place| concatenated_column(&parts(place), schema, place)).collect()
}

/// One column of some rows; of no rows an empty one.
fn concatenated_column(parts: &[ArrayRef], schema: &SchemaRef, place: usize) -> Result<ArrayRef> {
    if parts.is_empty() {
        return Ok(arrow_array::new_empty_array(schema.field(place).data_type()));
    }
    Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{Int64Array, StringArray};

    use super::*;
    use crate::columnar::{DataType, Field};
    use crate::expr::{AggregateFunction, TypedAggregate, TypedExpr, TypedNode};
    use crate::kernels::spill::Shelf;

    fn aggregate(function: AggregateFunction, input: DataType, data_type: DataType) -> TypedAggregate {
        let node = TypedNode::Column(0, "x".to_owned());
        let input = Some(TypedExpr { node, data_type: input, nullable: true });
        TypedAggregate { name: function.name().to_owned(), function, input, filter: None, data_type }
    }

    /// By a text and a number; sums in lanes, and states beside them.
    fn reduce() -> KeyedReduce {
        use AggregateFunction::{Last, Sum, Variance};
        let keys = [Field::new("text", DataType::Utf8, true), Field::new("number", DataType::Int64, true)];
        let (int, float) = (DataType::Int64, DataType::Float64);
        let aggregates = [
            aggregate(Sum, int.clone(), int.clone()),
            aggregate(Sum, float.clone(), float.clone()),
            aggregate(Last, int.clone(), int.clone()),
            aggregate(Variance(1), float.clone(), float),
        ];
        KeyedReduce::prepare(&keys, &aggregates).unwrap()
    }

    fn ground(may_deal: bool, room: Option<Room>) -> Arc<Ground> {
        let reduce = reduce();
        let schema = reduce.stored_schema().unwrap();
        Arc::new(Ground { reduce, schema, may_deal, room })
    }

    type Key = (Option<String>, Option<i64>);

    /// The rows of a batch: keys from a range that grows with the batches, now and then null.
    fn rows(batch: u64, count: usize) -> Vec<(Key, i64)> {
        let mut state = batch + 1;
        let mut next = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let one = |_| {
            let key = next(20 + batch * 40);
            let text = (key % 13 != 5).then(|| format!("t{}", key / 3));
            let number = (key % 11 != 7).then(|| i64::try_from(key * 1_000_003).unwrap());
            ((text, number), i64::try_from(next(1_000)).unwrap() - 300)
        };
        (0..count).map(one).collect()
    }

    fn batch(reduce: &KeyedReduce, rows: &[(Key, i64)]) -> Groups {
        let texts: ArrayRef = Arc::new(rows.iter().map(|((text, _), _)| text.clone()).collect::<StringArray>());
        let numbers: ArrayRef = Arc::new(rows.iter().map(|((_, number), _)| *number).collect::<Int64Array>());
        let values: ArrayRef = Arc::new(rows.iter().map(|(_, value)| Some(*value)).collect::<Int64Array>());
        let floats = arrow_cast::cast(&values, &DataType::Float64).unwrap();
        let inputs = [&values, &floats, &values, &floats].map(|input| Some(Arc::clone(input)));
        let mut groups = reduce.begin().unwrap();
        groups.update(&[texts, numbers], &inputs, &vec![None; 4], rows.len()).unwrap();
        groups.settled().unwrap()
    }

    fn keys_and_sums(rows: &RecordBatch) -> Vec<(Key, i64)> {
        let (texts, numbers) = (rows.column(0).as_string::<i32>(), rows.column(1).as_primitive::<Int64Type>());
        let sums = rows.column(2).as_primitive::<Int64Type>();
        let key = |row: usize| {
            let text = texts.is_valid(row).then(|| texts.value(row).to_owned());
            (text, numbers.is_valid(row).then(|| numbers.value(row)))
        };
        (0..rows.num_rows()).map(|row| (key(row), sums.value(row))).collect()
    }

    /// What there is by the book: keys in the order of their first rows, with their sums.
    #[derive(Default)]
    struct Model {
        sums: BTreeMap<Key, i64>,
        order: Vec<Key>,
    }

    impl Model {
        fn take_in(&mut self, rows: &[(Key, i64)]) -> Vec<(Key, i64)> {
            let mut touched: Vec<Key> = Vec::new();
            for (key, value) in rows {
                if !self.sums.contains_key(key) {
                    self.order.push(key.clone());
                }
                *self.sums.entry(key.clone()).or_default() += value;
                if !touched.contains(key) {
                    touched.push(key.clone());
                }
            }
            touched.into_iter().map(|key| (key.clone(), self.sums[&key])).collect()
        }

        fn all(&self) -> Vec<(Key, i64)> {
            self.order.iter().map(|key| (key.clone(), self.sums[key])).collect()
        }
    }

    fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
    }

    /// A shelf in memory, which holds what lies on it to what was put there.
    #[derive(Debug, Default)]
    struct Drawer(Mutex<BTreeMap<u64, RecordBatch>>);

    impl Shelf for Drawer {
        fn put(&self, number: u64, rows: &RecordBatch) -> Result<u64> {
            match self.0.lock().unwrap().insert(number, rows.clone()) {
                None => Ok(1 + rows.num_rows() as u64),
                Some(_) => Err(Error::internal("a number came twice")),
            }
        }

        fn get(&self, number: u64) -> Result<RecordBatch> {
            Ok(self.0.lock().unwrap()[&number].clone())
        }

        fn remove(&self, number: u64) {
            self.0.lock().unwrap().remove(&number).unwrap();
        }
    }

    #[test]
    fn groups_come_in_the_order_of_their_first_rows_however_they_are_dealt_out() {
        let room = || Room::new(400, Box::<Drawer>::default());
        let (ground, plain) = (ground(true, None), ground(false, None));
        let reduce = &ground.reduce;
        let mut model = Model::default();
        let mut dealt = KeyGroups::new(&ground).unwrap();
        let mut whole = KeyGroups::new(&plain).unwrap();
        // With room for next to nothing.
        let rooms = [room(), room()];
        let cramped = rooms.clone().map(|room| Arc::new(Ground { room: Some(room), ..Ground::clone(&ground) }));
        let mut away = KeyGroups::new(&cramped[0]).unwrap();
        // What each batch changed, since the groups were stored as a whole.
        let (mut snapshot, mut changes) = (Vec::new(), Vec::new());
        for number in 0..12 {
            let rows = rows(number, 10 + 17 * usize::try_from(number).unwrap());
            let groups = batch(reduce, &rows);
            let from = (0..u32::try_from(groups.len()).unwrap()).collect::<Vec<_>>();
            let keys = groups.keys().unwrap();
            let mut touched = dealt.take_in(&groups, &from, &keys).unwrap();
            let mut by_one = whole.take_in(&groups, &from, &keys).unwrap();
            let mut from_away = in_pool(2, || away.take_in(&groups, &from, &keys).unwrap());
            assert_eq!(from_away.store(&away).unwrap(), touched.store(&dealt).unwrap(), "batch {number}");
            assert_eq!(away.store().unwrap(), dealt.store().unwrap(), "batch {number}");
            assert_eq!(away.rows().unwrap(), dealt.rows().unwrap(), "batch {number}");
            assert_eq!(away.keys().unwrap(), dealt.keys().unwrap(), "batch {number}");
            let expected = model.take_in(&rows);
            assert_eq!(keys_and_sums(&touched.rows(&dealt).unwrap()), expected, "batch {number}");
            assert_eq!(touched.rows(&dealt).unwrap(), by_one.rows(&whole).unwrap(), "batch {number}");
            assert_eq!((touched.keys().unwrap(), touched.len()), (by_one.keys().unwrap(), expected.len()));
            assert_eq!(keys_and_sums(&dealt.rows().unwrap()), model.all(), "batch {number}");
            assert_eq!(dealt.rows().unwrap(), whole.rows().unwrap(), "batch {number}");
            assert_eq!((dealt.keys().unwrap(), dealt.len()), (whole.keys().unwrap(), whole.len()));
            changes.push(touched.store(&dealt).unwrap());
            if number == 6 {
                snapshot = vec![dealt.store().unwrap()];
                changes.clear();
            }
            let stored = snapshot.iter().chain(&changes).cloned().collect::<Vec<_>>();
            for threads in [1, 3] {
                let restored = || KeyGroups::restore(&ground, &stored).unwrap();
                let mut restored = in_pool(threads, restored);
                assert_eq!(restored.rows().unwrap(), whole.rows().unwrap(), "batch {number}, {threads} threads");
                assert_eq!(restored.store().unwrap(), dealt.store().unwrap(), "batch {number}, {threads} threads");
            }
            // One life in two: what was restored goes on as what was not.
            if number % 2 == 1 {
                dealt = in_pool(2, || KeyGroups::restore(&ground, &stored).unwrap());
                away = in_pool(2, || KeyGroups::restore(&cramped[1], &stored).unwrap());
            }
        }
        assert!(dealt.is_dealt() && !whole.is_dealt());
        // Nothing is left of groups that are gone; of those that are there, few are in memory.
        let [before, now] = rooms.map(|room| room.spilled());
        assert_eq!((before.key_groups, before.bytes, before.in_memory), (0, 0, 0));
        assert!(now.key_groups > 100 && now.in_memory <= 400 && now.read_back > 0, "{now:?}");
    }

    #[test]
    fn groups_are_dealt_out_when_there_are_enough_and_a_key_is_near_its_like() {
        let ground = ground(true, None);
        let reduce = &ground.reduce;
        for count in [0, GROUPS_WORTH_DEALING - 1, GROUPS_WORTH_DEALING, GROUPS_WORTH_DEALING + 1] {
            let rows = (0_i64..).take(count).map(|n| ((Some(n.to_string()), Some(n)), n)).collect::<Vec<_>>();
            let groups = batch(reduce, &rows);
            let from = (0_u32..).take(count).collect::<Vec<_>>();
            let mut kept = KeyGroups::new(&ground).unwrap();
            kept.take_in(&groups, &from, &groups.keys().unwrap()).unwrap();
            assert_eq!((kept.len(), kept.is_dealt()), (count, count >= GROUPS_WORTH_DEALING));
            assert_eq!(keys_and_sums(&kept.rows().unwrap()), rows);
            for (row, expected) in rows.iter().enumerate() {
                let key = taken(&groups.keys().unwrap(), &vec![u32::try_from(row).unwrap()].into()).unwrap();
                let near = keys_and_sums(&kept.near(&key).unwrap().copied_rows().unwrap());
                assert!(near.contains(expected), "{row} of {count}");
            }
            let mut all = reduce.begin().unwrap().settled().unwrap();
            kept.merge_into(&mut all, &kept.keys().unwrap()).unwrap();
            kept.merge_into(&mut all, &kept.keys().unwrap()).unwrap();
            let twice = rows.iter().map(|(key, sum)| (key.clone(), 2 * sum)).collect::<Vec<_>>();
            assert_eq!(keys_and_sums(&all.copied_rows().unwrap()), twice);
        }
    }
}
