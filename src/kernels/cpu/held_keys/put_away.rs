//! Held keys that are put away while there is no room for them in memory.
//!
//! Each key belongs to one of [`KEY_GROUPS`] key groups, by a hash of it. A batch brings back those in which it has a key or
//! something is due ([`KeepsKeys::bring`]), so that whoever works on keys finds them as if none had ever left. After the
//! batch each key group that it changed is weighed, and put away as what would be stored of it if there is no room
//! ([`KeepsKeys::settle`]). What the batch changed is stored before that: the slots of keys that leave are free again.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{ArrayRef, RecordBatch, UInt32Array, UInt64Array};
use arrow_select::concat::concat_batches;
use arrow_select::take::take;

use super::{Due, HeldKeys, SINCE};
use crate::columnar::{DataType, Field, Schema, SchemaRef};
use crate::error::Result;
use crate::kernels::cpu::key_group::bytes_per_group;
use crate::kernels::keep::under;
use crate::kernels::map_state::micros;
use crate::kernels::spill::{Away, Room, Weight};
use crate::kernels::{Moment, stored};

/// Into how many key groups keys are dealt.
pub(super) const KEY_GROUPS: usize = 256;

/// After so many batches the size of groups is looked at again, if nobody has asked for what they changed.
const BATCHES_BETWEEN_SIZES: u32 = 16;

/// Fewer keys than this that have left are not worth clearing away what is left of them.
const LEFT_WORTH_CLEARING: usize = if cfg!(debug_assertions) { 8 } else { 1_024 };

/// Bytes that a key takes beside itself and what is held of it: its place in tables, and what an allocation takes.
const BYTES_BESIDE: u64 = 48;

/// What a value takes in memory.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::kernels::cpu) struct Size {
    /// Bytes of its own, beyond those of its type.
    pub(in crate::kernels::cpu) bytes: u64,
    /// Groups, or rows, whose size is that of others of their kind.
    pub(in crate::kernels::cpu) groups: u64,
}

type Measure<T> = Box<dyn Fn(&T) -> Size + Send + Sync>;

/// How keys are spread over key groups.
pub(super) struct Spread<T> {
    room: Room,
    measure: Measure<T>,
    groups: Vec<KeyGroup>,
    /// The key groups that have changed since they were weighed, or came back.
    touched: Vec<usize>,
    /// About how many bytes each of [`Size::groups`] takes, and for how many batches that has been taken for granted.
    bytes_per_group: u64,
    batches_since_size: u32,
    /// The key groups of which something is left beside the keys that are held, and how many keys those had.
    left: Vec<usize>,
    keys_left: usize,
    /// What the latest batch changed, as it is stored, if that has been asked for.
    pub(super) changes: Option<RecordBatch>,
}

#[derive(Default)]
struct KeyGroup {
    /// The slots of its keys. Some may be there twice, or have been let go of.
    slots: Vec<u32>,
    keys: usize,
    size: Size,
    is_touched: bool,
    weight: Option<Weight>,
    away: Option<KeysAway>,
}

/// The keys of a key group that is put away.
struct KeysAway {
    rows: Away,
    keys: usize,
    groups: u64,
    first_due: Due,
    /// See [`KeepsKeys::end_of`].
    end: Option<i64>,
}

/// Not the bits that the table goes by: of hashes those are the lowest and the seven highest.
fn key_group(hash: u64) -> usize {
    usize::from(group_byte(hash))
}

pub(super) fn group_byte(hash: u64) -> u8 {
    hash.to_be_bytes()[1]
}

fn earlier(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.into_iter().chain(b).min()
}

impl<T> Spread<T> {
    /// Counts what a key holds now; `before` is what it held until now.
    pub(super) fn put(&mut self, (slot, hash, key): (u32, u64, &[u8]), before: Option<&T>, after: &T) {
        let (lost, won) = (before.map(&self.measure).unwrap_or_default(), (self.measure)(after));
        let group = self.touch(hash);
        group.size.bytes = group.size.bytes + won.bytes - lost.bytes;
        group.size.groups = group.size.groups + won.groups - lost.groups;
        if before.is_none() {
            group.size.bytes += bytes_of_key::<T>(key);
            group.keys += 1;
            group.slots.push(slot);
        }
    }

    /// Counts that a key holds nothing any more.
    pub(super) fn take(&mut self, hash: u64, key: &[u8], value: &T) {
        let lost = (self.measure)(value);
        let group = self.touch(hash);
        group.size.bytes -= lost.bytes + bytes_of_key::<T>(key);
        group.size.groups -= lost.groups;
        group.keys -= 1;
    }

    fn touch(&mut self, hash: u64) -> &mut KeyGroup {
        let number = key_group(hash);
        let group = &mut self.groups[number];
        if !std::mem::replace(&mut group.is_touched, true) {
            self.touched.push(number);
        }
        group
    }

    /// Counts what a key holds after a change in place.
    pub(super) fn change(&mut self, hash: u64, value: &mut T, change: impl FnOnce(&mut T)) {
        let lost = (self.measure)(value);
        change(value);
        let won = (self.measure)(value);
        let group = self.touch(hash);
        group.size.bytes = group.size.bytes + won.bytes - lost.bytes;
        group.size.groups = group.size.groups + won.groups - lost.groups;
    }

    /// Learns from rows about how many bytes a group takes.
    pub(super) fn see_size(&mut self, like: Option<&RecordBatch>) -> Result<()> {
        if let Some(like) = like.filter(|like| like.num_rows() > 0) {
            self.bytes_per_group = bytes_per_group(like.columns(), like.num_rows())?;
            self.batches_since_size = 0;
        }
        Ok(())
    }

    /// Whether the size of a group is not known, or has not been looked at for long.
    fn wants_size(&mut self) -> bool {
        self.batches_since_size += 1;
        self.bytes_per_group == 0 || self.batches_since_size > BATCHES_BETWEEN_SIZES
    }

    pub(super) fn keys_away(&self) -> usize {
        self.away().map(|away| away.keys).sum()
    }

    pub(super) fn first_due(&self) -> Option<i64> {
        self.away().filter_map(|away| away.first_due.until).min()
    }

    fn away(&self) -> impl Iterator<Item = &KeysAway> {
        self.groups.iter().filter_map(|group| group.away.as_ref())
    }

    fn numbers_away(&self) -> Vec<usize> {
        (0..KEY_GROUPS).filter(|&group| self.groups[group].away.is_some()).collect()
    }
}

fn bytes_of_key<T>(key: &[u8]) -> u64 {
    (key.len() + size_of::<super::Slot<T>>()) as u64 + BYTES_BESIDE
}

impl<T> HeldKeys<T> {
    /// Puts keys away for which there is no room from now on. None are held yet. `measure` tells the size of a value.
    pub(in crate::kernels::cpu) fn spread(
        &mut self,
        room: &Room,
        measure: impl Fn(&T) -> Size + Send + Sync + 'static,
    ) {
        let mut groups = Vec::new();
        groups.resize_with(KEY_GROUPS, KeyGroup::default);
        let (room, measure) = (room.clone(), Box::new(measure));
        self.spread = Some(Box::new(Spread {
            room,
            measure,
            groups,
            touched: Vec::new(),
            bytes_per_group: 0,
            batches_since_size: 0,
            left: Vec::new(),
            keys_left: 0,
            changes: None,
        }));
    }

    /// Whether any key is put away.
    pub(in crate::kernels::cpu) fn has_away(&self) -> bool {
        self.spread.iter().any(|spread| spread.away().next().is_some())
    }

    /// How many of [`Size::groups`] are put away.
    pub(in crate::kernels::cpu) fn groups_away(&self) -> u64 {
        self.spread.iter().flat_map(|spread| spread.away()).map(|away| away.groups).sum()
    }

    /// The latest of [`KeepsKeys::end_of`] of the keys that are put away.
    pub(in crate::kernels::cpu) fn end_away(&self) -> Option<i64> {
        self.spread.iter().flat_map(|spread| spread.away()).filter_map(|away| away.end).max()
    }

    /// The key groups that are put away and have one of these keys, or something that is due.
    fn asked(&self, keys: &[ArrayRef], rows: usize, moment: &Moment) -> Result<Vec<usize>> {
        let Some(spread) = &self.spread else { return Ok(Vec::new()) };
        let mut asked = spread.numbers_away();
        if asked.is_empty() {
            return Ok(asked);
        }
        let mut has_key = [false; KEY_GROUPS];
        self.each_hash(keys, rows, |hash| has_key[key_group(hash)] = true)?;
        let is_over = |at: Option<i64>, now: Option<i64>| at.zip(now).is_some_and(|(at, now)| at <= now);
        asked.retain(|&group| {
            let due = spread.groups[group].away.as_ref().map_or(Due::default(), |away| away.first_due);
            has_key[group] || is_over(due.until, Some(micros(moment.time))) || is_over(due.until_event, moment.horizon)
        });
        Ok(asked)
    }

    /// The numbers of the key groups that are put away.
    pub(in crate::kernels::cpu) fn numbers_away(&self) -> Vec<usize> {
        self.spread.as_ref().map(|spread| spread.numbers_away()).unwrap_or_default()
    }

    /// Into how many key groups keys are dealt: one if they are never put away.
    pub(in crate::kernels::cpu) fn key_groups(&self) -> usize {
        if self.spread.is_some() { KEY_GROUPS } else { 1 }
    }

    /// The key group of a key.
    pub(in crate::kernels::cpu) fn key_group_of(&self, slot: u32) -> usize {
        if self.spread.is_some() { key_group(self.slots[slot as usize].hash) } else { 0 }
    }

    /// Whether something is left of one of these key groups beside the keys that are held.
    fn has_left(&self, groups: &[usize]) -> bool {
        self.spread.iter().any(|spread| spread.left.iter().any(|left| groups.contains(left)))
    }

    /// The rows of a key group that is put away.
    fn rows_away(&self, group: usize, schema: &SchemaRef) -> Result<RecordBatch> {
        let away = self.spread.as_ref().and_then(|spread| spread.groups[group].away.as_ref());
        let Some(away) = away else { return Ok(RecordBatch::new_empty(with_since(schema))) };
        let rows = away.rows.get()?;
        stored::check(&rows, &with_since(schema))?;
        Ok(rows)
    }

    /// The slots of the keys of a key group.
    fn slots_in(&self, group: usize) -> Vec<u32> {
        let slots = self.spread.iter().flat_map(|spread| &spread.groups[group].slots).copied();
        let is_here = |&slot: &u32| {
            let place = &self.slots[slot as usize];
            place.held.is_some() && key_group(place.hash) == group
        };
        let mut slots = slots.filter(is_here).collect::<Vec<_>>();
        slots.sort_unstable();
        slots.dedup();
        self.in_order(slots)
    }

    /// Weighs the key groups that have changed; gives them, and the room, if it is full.
    pub(super) fn weighed(&mut self) -> Option<(Vec<usize>, Room)> {
        let spread = self.spread.as_mut()?;
        let mut touched = std::mem::take(&mut spread.touched);
        touched.sort_unstable();
        for &number in &touched {
            let group = &mut spread.groups[number];
            (group.is_touched, group.weight) = (false, None);
            if group.keys > 0 {
                let bytes = group.size.bytes + group.size.groups * spread.bytes_per_group;
                group.weight = Some(spread.room.weigh(bytes));
            }
        }
        let room = spread.room.clone();
        for &number in &touched {
            let group = &self.spread.as_ref()?.groups[number];
            if group.slots.len() > 2 * group.keys + 64 {
                let slots = self.slots_in(number);
                self.spread.as_mut()?.groups[number].slots = slots;
            }
        }
        room.is_full().then_some((touched, room))
    }

    /// When the first of these keys is due.
    fn first_due_of(&self, slots: &[u32]) -> Due {
        let mut first = Due::default();
        for held in slots.iter().filter_map(|&slot| self.get(slot)) {
            first.until = earlier(first.until, held.due.until);
            first.until_event = earlier(first.until_event, held.due.until_event);
        }
        first
    }

    /// Lets go of the keys of a key group, which is put away.
    fn leave(&mut self, group: usize, slots: &[u32], rows: Away, (first_due, end): (Due, Option<i64>)) {
        let groups = self.spread.as_ref().map_or(0, |spread| spread.groups[group].size.groups);
        slots.iter().for_each(|&slot| self.forget(slot));
        self.tidy();
        let Some(spread) = &mut self.spread else { return };
        spread.touched.retain(|&touched| touched != group);
        spread.left.push(group);
        spread.keys_left += slots.len();
        spread.groups[group] = KeyGroup {
            away: Some(KeysAway { rows, keys: slots.len(), groups, first_due, end }),
            ..KeyGroup::default()
        };
    }

    /// A key group is put away no more.
    fn come_back(&mut self, group: usize) {
        if let Some(spread) = &mut self.spread {
            spread.groups[group].away = None;
        }
    }

    /// Holds what was put away of a key.
    pub(in crate::kernels::cpu) fn put_back(&mut self, slot: u32, since: u64, due: Due, value: T) {
        self.put_since(slot, since, due, value);
        self.next_since = self.next_since.max(since + 1);
    }
}

impl<T: Clone> HeldKeys<T> {
    /// Holds in another, which has no keys yet, what is in memory here.
    pub(in crate::kernels::cpu) fn copy_to(&self, copy: &mut Self) -> Result<()> {
        let all = self.all();
        let slots = copy.group(&self.keys(&all)?, all.len())?.slots;
        for (held, slot) in all.iter().filter_map(|&slot| self.get(slot)).zip(slots) {
            copy.put_back(slot, held.since, held.due, held.value.clone());
        }
        Ok(())
    }
}

/// What keeps single keys, and can do without those that are put away.
pub(in crate::kernels::cpu) trait KeepsKeys: Sized {
    /// What is held of a key.
    type Value;

    fn held(&self) -> &HeldKeys<Self::Value>;

    fn held_mut(&mut self) -> &mut HeldKeys<Self::Value>;

    /// Of what is stored.
    fn schema_stored(&self) -> Result<SchemaRef>;

    /// What is stored of these keys, and whose each row is.
    fn store_keys(&mut self, slots: &[u32]) -> Result<(RecordBatch, Vec<u32>)>;

    /// Holds what was stored of keys, which are held since then; nothing is held of them now.
    fn take_back(&mut self, rows: &RecordBatch, since: &[u64]) -> Result<()>;

    /// Holds what was stored of keys by a checkpoint: of a snapshot and of changes after it, all rows of these keys, in their
    /// order, with the number that each has among the rows of all keys.
    fn restore_rows(&mut self, rows: &RecordBatch, numbers: &[u64]) -> Result<()>;

    /// What the latest batch changed, as it is stored.
    fn changed_rows(&mut self) -> Result<RecordBatch>;

    /// The same without keys, and without bounds.
    fn without_keys(&self) -> Result<Self>;

    /// The same with the keys that are in memory, without bounds.
    fn with_keys_here(&self) -> Result<Self>;

    /// The event time at which all that is open of these keys would have been given.
    fn end_of(&self, _slots: &[u32]) -> Option<i64> {
        None
    }

    /// When the first of these keys, which are all of a key group, is to be brought back even if no batch has it.
    fn first_due_of(&self, _group: usize, slots: &[u32]) -> Due {
        self.held().first_due_of(slots)
    }

    /// Lets go of what lies beside the keys of a key group, which are about to leave.
    fn let_leave(&mut self, _group: usize, _slots: &[u32]) {}

    /// Clears away what is left of keys beside those that are held.
    fn clear_left(&mut self) -> Result<()> {
        Ok(())
    }

    /// As [`KeepsKeys::clear_left`], and notes that it has been done.
    fn clear_all_left(&mut self) -> Result<()> {
        self.clear_left()?;
        if let Some(spread) = &mut self.held_mut().spread {
            spread.left.clear();
            spread.keys_left = 0;
        }
        Ok(())
    }

    /// Brings the keys of a batch back, and those for which something is due.
    fn bring(&mut self, keys: &[ArrayRef], rows: usize, moment: &Moment) -> Result<()> {
        let asked = self.held().asked(keys, rows, moment)?;
        self.bring_groups(&asked)
    }

    /// Brings all keys back.
    fn bring_all(&mut self) -> Result<()> {
        self.bring_groups(&self.held().numbers_away())
    }

    fn bring_groups(&mut self, groups: &[usize]) -> Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        if self.held().has_left(groups) {
            self.clear_all_left()?;
        }
        let schema = self.schema_stored()?;
        for &group in groups {
            let rows = self.held().rows_away(group, &schema)?;
            self.held_mut().come_back(group);
            take_rows(self, &rows, &schema)?;
        }
        Ok(())
    }

    /// Puts keys away for which there is no room. What the batch changed is asked for by [`KeepsKeys::changes_stored`] from now
    /// on. `like` has rows of about the size of [`Size::groups`].
    fn settle(&mut self, like: Option<&RecordBatch>) -> Result<()> {
        let Some(spread) = &mut self.held_mut().spread else { return Ok(()) };
        spread.changes = None;
        spread.see_size(like)?;
        self.put_touched_away()
    }

    /// As [`KeepsKeys::settle`], where the size of groups is known only from what is stored of them: that is looked at now
    /// and then.
    fn settle_groups(&mut self) -> Result<()> {
        let Some(spread) = &mut self.held_mut().spread else { return Ok(()) };
        spread.changes = None;
        if spread.wants_size() {
            self.store_changes()?;
        }
        self.put_touched_away()
    }

    /// Has what the batch changed at hand, and learns from it.
    fn store_changes(&mut self) -> Result<()> {
        let changes = self.changes_stored()?;
        if let Some(spread) = &mut self.held_mut().spread {
            spread.see_size(Some(&changes))?;
            spread.changes = Some(changes);
        }
        Ok(())
    }

    fn put_touched_away(&mut self) -> Result<()> {
        let Some((touched, room)) = self.held_mut().weighed() else { return Ok(()) };
        self.store_changes()?;
        self.put_groups_away(&touched, &room)
    }

    /// Puts these key groups away, one after another, until there is room.
    fn put_groups_away(&mut self, groups: &[usize], room: &Room) -> Result<()> {
        for &group in groups {
            let slots = self.held().slots_in(group);
            if slots.is_empty() || !room.is_full() {
                continue;
            }
            let rows = store_with_since(self, &slots)?;
            let due = (self.first_due_of(group, &slots), self.end_of(&slots));
            let rows = room.put(&rows)?;
            self.let_leave(group, &slots);
            self.held_mut().leave(group, &slots, rows, due);
        }
        let here = self.held().len_here();
        let is_worth = |spread: &Spread<Self::Value>| spread.keys_left > here + LEFT_WORTH_CLEARING;
        if self.held().spread.as_ref().is_some_and(|spread| is_worth(spread)) { self.clear_all_left() } else { Ok(()) }
    }

    /// Of what a checkpoint stores: [`KeepsKeys::schema_stored`], unless more has to be known of what is put away.
    fn schema_restored(&self) -> Result<SchemaRef> {
        self.schema_stored()
    }

    /// What the latest batch changed, as it is stored.
    fn changes_stored(&mut self) -> Result<RecordBatch> {
        let known = self.held().spread.as_ref().and_then(|spread| spread.changes.clone());
        known.map_or_else(|| self.changed_rows(), Ok)
    }

    /// What is stored of all keys, in the order in which they are held since.
    fn all_stored(&mut self) -> Result<RecordBatch> {
        let here = self.held().all();
        if self.held().spread.is_none() {
            return Ok(self.store_keys(&here)?.0);
        }
        let away = self.held().numbers_away();
        let schema = self.schema_stored()?;
        let mut parts = vec![store_with_since(self, &here)?];
        for group in away {
            parts.push(self.held().rows_away(group, &schema)?);
        }
        let rows = concat_batches(&with_since(&schema), &parts)?;
        drop(parts);
        let since = rows.column(schema.fields().len()).as_primitive::<UInt64Type>().values();
        let order = UInt32Array::from(self.order_stored(&rows, since));
        let columns = rows.columns()[..schema.fields().len()].iter().map(|column| in_order(column, &order));
        under(&schema, columns.collect::<Result<_>>()?, rows.num_rows())
    }

    /// The order in which rows are stored that came from several key groups.
    fn order_stored(&self, rows: &RecordBatch, since: &[u64]) -> Vec<u32> {
        let mut order = (0_u32..).take(rows.num_rows()).collect::<Vec<_>>();
        order.sort_by_key(|&row| since[row as usize]);
        order
    }

    /// A copy with all keys in memory, if some are put away.
    fn whole(&self) -> Result<Option<Self>> {
        let away = self.held().numbers_away();
        if away.is_empty() {
            return Ok(None);
        }
        let schema = self.schema_stored()?;
        let mut copy = self.with_keys_here()?;
        if self.held().has_left(&away) {
            copy.clear_left()?;
        }
        for group in away {
            take_rows(&mut copy, &self.held().rows_away(group, &schema)?, &schema)?;
        }
        Ok(Some(copy))
    }

    /// A copy with the keys of the key group of this one, if it is put away.
    fn near(&self, key: &[ArrayRef]) -> Result<Option<Self>> {
        let mut group = None;
        self.held().each_hash(key, 1, |hash| group = Some(key_group(hash)))?;
        let group = group.filter(|group| self.held().numbers_away().contains(group));
        group.map(|group| self.copy_away(group)).transpose()
    }

    /// A copy with the keys of a key group that is put away, and stays there.
    fn copy_away(&self, group: usize) -> Result<Self> {
        let schema = self.schema_stored()?;
        let mut copy = self.without_keys()?;
        take_rows(&mut copy, &self.held().rows_away(group, &schema)?, &schema)?;
        Ok(copy)
    }
}

/// Rows of this schema, and since when their keys are held.
fn with_since(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone());
    let fields = fields.chain([Field::new(SINCE, DataType::UInt64, false)]).collect::<Vec<_>>();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn store_with_since<K: KeepsKeys>(kept: &mut K, slots: &[u32]) -> Result<RecordBatch> {
    let (rows, slots) = kept.store_keys(slots)?;
    let since = slots.iter().map(|&slot| kept.held().get(slot).map_or(0, |held| held.since));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(since.collect::<UInt64Array>()));
    under(&with_since(&kept.schema_stored()?), columns, rows.num_rows())
}

fn take_rows<K: KeepsKeys>(kept: &mut K, rows: &RecordBatch, schema: &SchemaRef) -> Result<()> {
    let (columns, since) = rows.columns().split_at(schema.fields().len());
    let rows = under(schema, columns.to_vec(), rows.num_rows())?;
    kept.take_back(&rows, since[0].as_primitive::<UInt64Type>().values())
}

/// The values in this order. A dictionary has its values in the order in which they come, as if they were stored at once.
fn in_order(column: &ArrayRef, order: &UInt32Array) -> Result<ArrayRef> {
    let DataType::Dictionary(_, values) = column.data_type() else { return Ok(take(column, order, None)?) };
    let plain = take(&arrow_cast::cast(column, values)?, order, None)?;
    Ok(arrow_cast::cast(&plain, column.data_type())?)
}
