//! Keys that are held from batch to batch, each with a value and with times at which it is due.
//!
//! A key is held as one string of bytes (`row_keys`), in a slot that is free again once the key is forgotten: memory follows
//! the keys that are held, and a batch costs what it touches. Slots say nothing of order; that is the business of `since`,
//! a number that rises with each key that is new. Keys for which there is no room in memory are put away by [`put_away`],
//! and a checkpoint is taken back by [`restart`].

#![expect(clippy::cast_possible_truncation, reason = "slots and groups fit u32: checked when slots are made")]

mod put_away;
mod restart;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, UInt64Array};
use arrow_row::{RowConverter, SortField};
use hashbrown::HashTable;

use self::put_away::Spread;
pub(super) use self::put_away::{KeepsKeys, Size};
pub(super) use self::restart::TakesBack;
use super::prefetch::prefetch;
use super::row_keys::canonical;
use crate::columnar::{DataType, Field};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::Moment;
use crate::kernels::map_state::micros;
use crate::limits::GROUPS_MAX;

/// The columns behind the keys of what is stored.
const SINCE: &str = "since";
const UNTIL: &str = "until";
const UNTIL_EVENT: &str = "until event";

/// Keys that are looked for at once.
const AT_ONCE: usize = 32;

/// Keys that fit into a cache, beside what is held of them.
const NEAR_MAX: usize = 1 << 12;

/// When something is due, in microseconds since the Unix epoch: by the time of batches, and by event time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) until: Option<i64>,
    pub(super) until_event: Option<i64>,
}

/// What is held of a key.
#[derive(Debug)]
pub(super) struct Held<T> {
    pub(super) since: u64,
    pub(super) due: Due,
    pub(super) value: T,
}

struct Slot<T> {
    hash: u64,
    key: Box<[u8]>,
    held: Option<Held<T>>,
    /// The batch that it was in last, and the group that it was there.
    batch: u64,
    group: u32,
}

/// The keys of a batch.
pub(super) struct Grouped {
    /// The slot of each key, in the order of their first rows.
    pub(super) slots: Vec<u32>,
    /// The key of each row, by its place in `slots`.
    pub(super) groups: Vec<u32>,
}

/// Keys that are held.
pub(super) struct HeldKeys<T> {
    names: Vec<String>,
    types: Vec<DataType>,
    /// None without key columns: then there is one key.
    converter: Option<RowConverter>,
    table: HashTable<u32>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// Slots that may hold nothing; they stay until the next batch, for those who look at what it changed.
    loose: Vec<u32>,
    next_since: u64,
    batch: u64,
    held: usize,
    by_time: BTreeSet<(i64, u32)>,
    by_event: BTreeSet<(i64, u32)>,
    /// Where keys may be put away, how they are spread over key groups.
    spread: Option<Box<Spread<T>>>,
}

impl<T> HeldKeys<T> {
    /// None yet, of these names and types.
    pub(super) fn new<'a>(keys: impl IntoIterator<Item = (&'a str, &'a DataType)>) -> Result<Self> {
        let (names, types): (Vec<_>, Vec<_>) =
            keys.into_iter().map(|(name, data_type)| (name.to_owned(), data_type.clone())).unzip();
        let plain = types.iter().map(|data_type| match data_type {
            DataType::Dictionary(_, values) => SortField::new(values.as_ref().clone()),
            other => SortField::new(other.clone()),
        });
        let converter = if types.is_empty() { None } else { Some(RowConverter::new(plain.collect())?) };
        Ok(Self {
            names,
            types,
            converter,
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            loose: Vec::new(),
            next_since: 0,
            batch: 0,
            held: 0,
            by_time: BTreeSet::new(),
            by_event: BTreeSet::new(),
            spread: None,
        })
    }

    /// How many are held.
    pub(super) fn len(&self) -> usize {
        self.held + self.spread.as_ref().map_or(0, |spread| spread.keys_away())
    }

    /// How many of them are in memory.
    pub(super) fn len_here(&self) -> usize {
        self.held
    }

    /// Begins a batch: finds the slot of each row's key. Those that are new hold nothing yet.
    pub(super) fn group(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Grouped> {
        self.tidy();
        self.batch += 1;
        let mut grouped = Grouped { slots: Vec::new(), groups: Vec::with_capacity(rows) };
        let columns = canonical(keys)?;
        let encoded = self.converter.as_ref().map(|converter| converter.convert_columns(&columns)).transpose()?;
        let mut hashes = [0; AT_ONCE];
        for from in (0..rows).step_by(AT_ONCE) {
            let hashes = &mut hashes[..AT_ONCE.min(rows - from)];
            let key = |row: usize| encoded.as_ref().map_or(&[][..], |rows| rows.row(from + row).data());
            hashes.iter_mut().enumerate().for_each(|(row, hash)| *hash = hash_of(key(row)));
            if self.slots.len() > NEAR_MAX {
                self.ask_for(hashes);
            }
            for (row, &hash) in hashes.iter().enumerate() {
                let slot = self.slot_of(hash, key(row))?;
                let place = &mut self.slots[slot as usize];
                if place.batch != self.batch {
                    (place.batch, place.group) = (self.batch, grouped.slots.len() as u32);
                    grouped.slots.push(slot);
                }
                grouped.groups.push(place.group);
            }
        }
        Ok(grouped)
    }

    /// Asks for the memory of keys with these hashes: a key is three places away, of which each is known by the one before,
    /// and asked for one key at a time each would be waited for.
    fn ask_for(&self, hashes: &[u64]) {
        let mut slots = [0; AT_ONCE];
        let mut count = 0;
        for &hash in hashes {
            if let Some(&slot) = self.table.iter_hash(hash).next() {
                slots[count] = slot as usize;
                count += 1;
            }
        }
        let slots = &slots[..count];
        slots.iter().for_each(|&slot| prefetch(&self.slots[slot..=slot]));
        slots.iter().for_each(|&slot| prefetch(&self.slots[slot].key));
    }

    fn slot_of(&mut self, hash: u64, key: &[u8]) -> Result<u32> {
        let slots = &self.slots;
        if let Some(&slot) = self.table.find(hash, |&slot| *slots[slot as usize].key == *key) {
            return Ok(slot);
        }
        let new = Slot { hash, key: key.into(), held: None, batch: 0, group: 0 };
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = new;
            slot
        } else {
            if self.slots.len() >= GROUPS_MAX {
                let message = format!("more than {GROUPS_MAX} keys are to be held");
                return Err(Error::new(ErrorKind::Unsupported, message).advice("give them a ttl, or take coarser keys"));
            }
            self.slots.push(new);
            (self.slots.len() - 1) as u32
        };
        self.loose.push(slot);
        let slots = &self.slots;
        self.table.insert_unique(hash, slot, |&slot| slots[slot as usize].hash);
        Ok(slot)
    }

    /// Frees the slots that hold nothing.
    fn tidy(&mut self) {
        for slot in std::mem::take(&mut self.loose) {
            let place = &mut self.slots[slot as usize];
            // A slot may be loose twice.
            if place.held.is_none()
                && let Ok(entry) = self.table.find_entry(place.hash, |&other| other == slot)
            {
                entry.remove();
                place.key = Box::default();
                self.free.push(slot);
            }
        }
    }

    /// Calls for the hash of the key of each row.
    fn each_hash(&self, keys: &[ArrayRef], rows: usize, mut each: impl FnMut(u64)) -> Result<()> {
        match &self.converter {
            _ if rows == 0 => {}
            Some(converter) => {
                let encoded = converter.convert_columns(&canonical(keys)?)?;
                (0..rows).for_each(|row| each(hash_of(encoded.row(row).data())));
            }
            None => (0..rows).for_each(|_| each(hash_of(&[]))),
        }
        Ok(())
    }

    /// The slot of a key, a row for each of its columns, if something is held of it.
    pub(super) fn find(&self, key: &[ArrayRef]) -> Result<Option<u32>> {
        let columns = canonical(key)?;
        let encoded = self.converter.as_ref().map(|converter| converter.convert_columns(&columns)).transpose()?;
        let key = encoded.as_ref().map_or(&[][..], |rows| rows.row(0).data());
        let hash = hash_of(key);
        let slot = self.table.find(hash, |&slot| *self.slots[slot as usize].key == *key).copied();
        Ok(slot.filter(|&slot| self.get(slot).is_some()))
    }

    /// What is held of a key.
    pub(super) fn get(&self, slot: u32) -> Option<&Held<T>> {
        self.slots[slot as usize].held.as_ref()
    }

    /// Changes the value that is held of a key, if one is.
    pub(super) fn change(&mut self, slot: u32, change: impl FnOnce(&mut T)) {
        let place = &mut self.slots[slot as usize];
        let Some(held) = &mut place.held else { return };
        match &mut self.spread {
            Some(spread) => spread.change(place.hash, &mut held.value, change),
            None => change(&mut held.value),
        }
    }

    /// Whether the key has rows in the present batch.
    pub(super) fn is_in_batch(&self, slot: u32) -> bool {
        self.slots[slot as usize].batch == self.batch
    }

    /// Holds this of a key from now on.
    pub(super) fn put(&mut self, slot: u32, due: Due, value: T) {
        let since = self.get(slot).map(|held| held.since);
        let since = since.unwrap_or_else(|| {
            self.next_since += 1;
            self.next_since - 1
        });
        self.put_since(slot, since, due, value);
    }

    fn put_since(&mut self, slot: u32, since: u64, due: Due, value: T) {
        let place = &mut self.slots[slot as usize];
        if let Some(spread) = &mut self.spread {
            let before = place.held.as_ref().map(|held| &held.value);
            spread.put((slot, place.hash, &place.key), before, &value);
        }
        let before = place.held.replace(Held { since, due, value });
        let before = before.map(|held| held.due);
        self.held += usize::from(before.is_none());
        let moves = |set: &mut BTreeSet<(i64, u32)>, before: Option<i64>, after: Option<i64>| {
            if before != after {
                before.map(|at| set.remove(&(at, slot)));
                after.map(|at| set.insert((at, slot)));
            }
        };
        let before = before.unwrap_or_default();
        moves(&mut self.by_time, before.until, due.until);
        moves(&mut self.by_event, before.until_event, due.until_event);
    }

    /// Takes what is held of a key; nothing is held of it any more.
    pub(super) fn take(&mut self, slot: u32) -> Option<T> {
        let place = &mut self.slots[slot as usize];
        let held = place.held.take()?;
        if let Some(spread) = &mut self.spread {
            spread.take(place.hash, &place.key, &held.value);
        }
        held.due.until.map(|at| self.by_time.remove(&(at, slot)));
        held.due.until_event.map(|at| self.by_event.remove(&(at, slot)));
        self.held -= 1;
        self.loose.push(slot);
        Some(held.value)
    }

    /// Holds nothing of a key any more.
    pub(super) fn forget(&mut self, slot: u32) {
        drop(self.take(slot));
    }

    /// The keys that are due, in the order in which they are held since.
    pub(super) fn due(&self, moment: &Moment) -> Vec<u32> {
        let by_time = self.by_time.range(..=(micros(moment.time), u32::MAX));
        let by_event = moment.horizon.map(|horizon| self.by_event.range(..=(horizon, u32::MAX)));
        let due: BTreeSet<u32> = by_time.chain(by_event.into_iter().flatten()).map(|(_, slot)| *slot).collect();
        self.in_order(due.into_iter().collect())
    }

    /// When the first key is due by the time of batches.
    pub(super) fn first_due(&self) -> Option<i64> {
        let away = self.spread.as_ref().and_then(|spread| spread.first_due());
        self.by_time.first().map(|(at, _)| *at).into_iter().chain(away).min()
    }

    /// When the last key in memory is due by event time.
    pub(super) fn last_due_event(&self) -> Option<i64> {
        self.by_event.last().map(|(at, _)| *at)
    }

    /// All keys in memory, in the order in which they are held since.
    pub(super) fn all(&self) -> Vec<u32> {
        let slots = (0_u32..).zip(&self.slots).filter(|(_, slot)| slot.held.is_some());
        self.in_order(slots.map(|(slot, _)| slot).collect())
    }

    fn in_order(&self, mut slots: Vec<u32>) -> Vec<u32> {
        slots.sort_unstable_by_key(|&slot| self.get(slot).map_or(u64::MAX, |held| held.since));
        slots
    }

    /// The keys in these slots, as columns.
    pub(super) fn keys(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        let plain = converter.convert_rows(slots.iter().map(|&slot| parser.parse(&self.slots[slot as usize].key)))?;
        let declared = plain.into_iter().zip(&self.types).map(|(column, data_type)| {
            if column.data_type() == data_type { Ok(column) } else { Ok(arrow_cast::cast(&column, data_type)?) }
        });
        declared.collect()
    }

    /// The fields of [`HeldKeys::store`].
    pub(super) fn stored_fields(&self) -> Vec<Field> {
        let keys = self.names.iter().zip(&self.types);
        let mut fields = keys.map(|(name, data_type)| Field::new(name, data_type.clone(), true)).collect::<Vec<_>>();
        fields.push(Field::new(SINCE, DataType::UInt64, true));
        fields.push(Field::new(UNTIL, DataType::Int64, true));
        fields.push(Field::new(UNTIL_EVENT, DataType::Int64, true));
        fields
    }

    /// These keys as columns: since when they are held (null: not any more), and when they are due.
    pub(super) fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let held = || slots.iter().map(|&slot| self.get(slot));
        let mut columns = self.keys(slots)?;
        columns.push(Arc::new(held().map(|held| held.map(|held| held.since)).collect::<UInt64Array>()));
        columns.push(Arc::new(held().map(|held| held?.due.until).collect::<Int64Array>()));
        columns.push(Arc::new(held().map(|held| held?.due.until_event).collect::<Int64Array>()));
        Ok(columns)
    }

    /// Becomes what was stored: of several rows of a key the last one counts. `value` reads the value in a row. Gives the slots
    /// of the keys.
    pub(super) fn restore(&mut self, rows: &RecordBatch, mut value: impl FnMut(usize) -> T) -> Result<Vec<u32>> {
        let keys = self.types.len();
        let grouped = self.group(&rows.columns()[..keys], rows.num_rows())?;
        let since = rows.column(keys).as_primitive::<UInt64Type>();
        let at = |column: usize, row: usize| {
            let times = rows.column(column).as_primitive::<Int64Type>();
            times.is_valid(row).then(|| times.value(row))
        };
        for (row, &group) in grouped.groups.iter().enumerate() {
            let slot = grouped.slots[group as usize];
            if since.is_null(row) {
                self.forget(slot);
            } else {
                let due = Due { until: at(keys + 1, row), until_event: at(keys + 2, row) };
                self.put_since(slot, since.value(row), due, value(row));
                self.next_since = self.next_since.max(since.value(row) + 1);
            }
        }
        Ok(grouped.slots)
    }
}

/// Of the rows of each key the least number.
pub(super) fn least_numbers(grouped: &Grouped, numbers: &[u64]) -> Vec<u64> {
    let mut least = vec![u64::MAX; grouped.slots.len()];
    for (&group, &number) in grouped.groups.iter().zip(numbers) {
        let least = &mut least[group as usize];
        *least = number.min(*least);
    }
    least
}

/// A hash of bytes alone.
fn hash_of(bytes: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = foldhash::fast::FixedState::default().build_hasher();
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use arrow_array::StringArray;

    use super::*;

    fn texts(texts: &[&str]) -> Vec<ArrayRef> {
        vec![Arc::new(StringArray::from(texts.to_vec()))]
    }

    #[test]
    fn slots_are_used_again_and_order_stays_that_of_arrival() {
        let mut held = HeldKeys::new([("key", &DataType::Utf8)]).unwrap();
        let grouped = held.group(&texts(&["a", "b", "a", "c"]), 4).unwrap();
        assert_eq!(grouped.groups, [0, 1, 0, 2]);
        grouped.slots.iter().for_each(|&slot| held.put(slot, Due::default(), ()));
        held.forget(grouped.slots[0]);
        let again = held.group(&texts(&["d", "a", "b"]), 3).unwrap();
        again.slots.iter().for_each(|&slot| held.put(slot, Due::default(), ()));
        assert_eq!((held.len(), held.slots.len()), (4, 4), "the slot of the forgotten key is used again");
        let keys = held.keys(&held.all()).unwrap();
        assert_eq!(keys[0].as_string::<i32>(), &StringArray::from(vec!["b", "c", "d", "a"]));
    }

    #[test]
    fn keys_that_were_only_seen_leave_nothing_behind() {
        let mut held = HeldKeys::<()>::new([("key", &DataType::Utf8)]).unwrap();
        for round in 0..100 {
            held.group(&texts(&[&format!("{round}"), "x"]), 2).unwrap();
        }
        assert_eq!((held.len(), held.slots.len(), held.table.len()), (0, 2, 2));
    }
}
