//! An open-addressing table from small fixed-size keys to group ids: key and id lie side by side, so that a look-up
//! touches one cache line. Thousands of keys go on in [`Lines`].

#![expect(clippy::cast_possible_truncation, reason = "a hash is cut to the bits that a table or a word has")]

use std::fmt::Debug;

use fearless_simd::{Simd, SimdBase, SimdMask, dispatch, u32x16};

use super::apart::{Apart, KEYS_MAX, as_found};
use super::lines::{Line, LineOf32, LineOf64, LineOf128, Lines};
use crate::kernels::cpu::simd;

/// Marks a free slot, and a key without an id.
pub(super) const NONE: u32 = u32::MAX;

const SMALLEST: usize = 64;

/// Ids that are compared at once.
const IDS: usize = 16;

/// Keys that are looked for at once.
pub(super) const AT_ONCE: usize = 128;

/// A key that fits in a slot.
pub(super) trait Word: Copy + Debug + Eq + Default + Send + Sync {
    /// The keys of a line of the cache.
    type Line: Line<Self>;
    /// Another key than the default.
    const OTHER: Self;
    /// A hash whose high bits are good.
    fn hash(self) -> u64;
    /// The low bits of a product, with any odd factor: bits of the key move those above them.
    fn product(self, factor: u64) -> u64;
}

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const SALT: u64 = 0xd6e8_feb8_6659_fd93;

/// High and low half of a product, folded: each bit of the result depends on all bits of both.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

impl Word for u32 {
    type Line = LineOf32;
    const OTHER: Self = 1;
    #[inline]
    fn hash(self) -> u64 {
        fold(u64::from(self) ^ SALT, MULTIPLIER)
    }
    #[inline]
    fn product(self, factor: u64) -> u64 {
        u64::from(self).wrapping_mul(factor)
    }
}

impl Word for u64 {
    type Line = LineOf64;
    const OTHER: Self = 1;
    #[inline]
    fn hash(self) -> u64 {
        fold(self ^ SALT, MULTIPLIER)
    }
    #[inline]
    fn product(self, factor: u64) -> u64 {
        self.wrapping_mul(factor)
    }
}

impl Word for [u64; 2] {
    type Line = LineOf128;
    const OTHER: Self = [1, 0];
    #[inline]
    fn hash(self) -> u64 {
        // The first fold alone would map every key with a first half of SALT to one value.
        fold(fold(self[0] ^ SALT, MULTIPLIER) ^ self[1], MULTIPLIER)
    }
    #[inline]
    fn product(self, factor: u64) -> u64 {
        self[0].wrapping_add(self[1].rotate_left(u64::BITS / 2)).wrapping_mul(factor)
    }
}

/// Keys and their ids.
#[derive(Debug, Clone)]
pub(super) struct Table<W: Word> {
    /// None once there are lines.
    slots: Vec<(W, u32)>,
    /// All keys, once they are many.
    lines: Option<Lines<W>>,
    len: usize,
    /// How many keys there may be.
    most: usize,
    /// Where in a hash the bits lie that say where to look first.
    shift: u32,
    /// All keys once more, if they are few and lie apart.
    apart: Apart<W>,
    /// How often that may still be tried in vain, also after the keys were forgotten.
    searches: u8,
    /// Rows that were looked for since it was tried.
    looks: usize,
}

/// The id of each key that lies where its hash says, [`NONE`] for the others; says whether there are others.
#[inline(always)]
fn find_first<W: Word>(slots: &[(W, u32)], shift: u32, keys: &[W], ids: &mut [u32]) -> bool {
    let Some(mask) = slots.len().checked_sub(1) else { return true };
    let mut largest = 0;
    for (id, key) in ids.iter_mut().zip(keys) {
        let slot = &slots[(key.hash() >> shift) as usize & mask];
        // All bits for another key: a branch could not be foreseen.
        *id = slot.1 | 0_u32.wrapping_sub(u32::from(slot.0 != *key));
        largest = largest.max(*id);
    }
    largest == NONE
}

/// As [`list_each_none`].
pub(super) fn list_none(ids: &[u32], rows: &mut [u8; AT_ONCE]) -> usize {
    dispatch!(simd::level(), simd => list_each_none(simd, ids, rows))
}

/// Lists the rows that have no id among those of up to [`AT_ONCE`]; gives how many. Which ones they are cannot be foretold: a bit for each
/// row says it, and a branch for each is saved.
#[inline(always)]
pub(super) fn list_each_none<S: Simd>(simd: S, ids: &[u32], rows: &mut [u8; AT_ONCE]) -> usize {
    let mut count = 0;
    for (word, ids) in ids.chunks(u64::BITS as usize).enumerate() {
        let (whole, rest) = ids.as_chunks::<IDS>();
        let mut left = 0;
        for (part, some) in whole.iter().enumerate() {
            left |= u32x16::load_array_ref(simd, some).simd_eq(NONE).to_bitmask() << (IDS * part);
        }
        for (row, &id) in (IDS * whole.len()..).zip(rest) {
            left |= u64::from(id == NONE) << row;
        }
        while left != 0 {
            rows[count] = (word * u64::BITS as usize + left.trailing_zeros() as usize) as u8;
            count += 1;
            left &= left - 1;
        }
    }
    count
}

/// Bytes of slots that share a second-level cache with columns and states. More keys than these may have are many.
const SLOTS_BYTES_MAX: usize = 1 << 18;

/// One slot in so many has a key at most. A second look costs more than memory that is near: it is a branch that nobody can foresee.
/// Measured with 64 keys: 99 million rows a second at a load of a half, 471 at a sixteenth.
const SLOTS_PER_KEY: usize = 16;

/// Rows after which it pays to look for a table of keys that lie apart: it takes as long as looking for about as many. Tables that come and go with a batch, as
/// those of many small key groups do, never get there.
const LOOKS_PER_SEARCH: usize = 1 << 14;

/// Searches in vain for each size of a table.
const SEARCHES: u8 = 4;

impl<W: Word> Table<W> {
    pub(super) fn new() -> Self {
        Self::for_keys(0)
    }

    /// A table for this many keys.
    pub(super) fn for_keys(keys: usize) -> Self {
        let slots = (SLOTS_PER_KEY * keys).next_power_of_two().max(SMALLEST);
        let lines = (slots * size_of::<(W, u32)>() > SLOTS_BYTES_MAX).then(|| Lines::for_keys(keys));
        let slots = if lines.is_some() { 0 } else { slots };
        Self {
            most: lines.as_ref().map_or(slots / SLOTS_PER_KEY, Lines::most),
            slots: vec![(W::default(), NONE); slots],
            lines,
            len: 0,
            shift: u64::BITS - slots.trailing_zeros().min(u64::BITS - 1),
            apart: Apart::new(),
            searches: SEARCHES,
            looks: 0,
        }
    }

    /// Forgets all keys. A table that has become much too large for them gives its memory back: cleaning it would cost
    /// more than the next keys do.
    pub(super) fn clear(&mut self) {
        /// Where there is room for so many keys for each that there was, it was made for others.
        const ROOM_MAX: usize = 16;
        if self.most > SMALLEST / SLOTS_PER_KEY && self.len * ROOM_MAX < self.most {
            *self = Self::new();
        } else if self.len > 0 {
            self.slots.fill((W::default(), NONE));
            if let Some(lines) = &mut self.lines {
                lines.clear();
            }
            self.len = 0;
            self.apart.clear();
        }
    }

    /// A table in which one look says whether a key is there, if there is one.
    pub(super) fn apart(&self) -> Option<&Apart<W>> {
        Some(&self.apart).filter(|apart| apart.is_whole())
    }

    /// The id of each of up to [`AT_ONCE`] keys, [`NONE`] for one that is not there; says whether there are such, or are taken to be:
    /// among many that are new others may be left without their ids.
    ///
    /// All are looked for where their hashes say, without a branch that hangs on the data, so that many looks into
    /// memory are under way at once; then those that were not there one place further on, and so on.
    pub(super) fn find_all(&self, keys: &[W], ids: &mut [u32]) -> bool {
        if self.apart.find(keys.iter().copied(), as_found, ids) {
            return false;
        }
        if let Some(lines) = &self.lines {
            return lines.find_all(keys, ids);
        }
        if !find_first(&self.slots, self.shift, keys, ids) {
            return false;
        }
        let mask = self.slots.len() - 1;
        let (mut rows, mut places) = ([0_u8; AT_ONCE], [0; AT_ONCE]);
        let mut count = list_none(ids, &mut rows);
        for (place, &row) in places.iter_mut().zip(&rows[..count]) {
            *place = (keys[usize::from(row)].hash() >> self.shift) as usize & mask;
        }
        let mut is_new = false;
        for step in 0.. {
            let mut left = 0;
            for looked in 0..count {
                let (row, place) = (usize::from(rows[looked]), places[looked]);
                let slot = &self.slots[(place + step) & mask];
                let (is_free, is_same) = (slot.1 == NONE, slot.0 == keys[row]);
                ids[row] = if is_same { slot.1 } else { NONE };
                is_new |= is_free;
                (rows[left], places[left]) = (rows[looked], place);
                left += usize::from(!is_free && !is_same);
            }
            if left == 0 {
                break;
            }
            count = left;
        }
        is_new
    }

    /// The id of `key`; a new key gets `next`.
    #[inline]
    pub(super) fn find_or_insert(&mut self, key: W, next: u32) -> u32 {
        if let Some(lines) = &mut self.lines {
            return match lines.find_or_insert(key, next) {
                Some(id) => id,
                None => self.inserted(key, next),
            };
        }
        let mask = self.slots.len() - 1;
        let mut place = (key.hash() >> self.shift) as usize & mask;
        loop {
            let slot = &mut self.slots[place & mask];
            if slot.1 == NONE {
                *slot = (key, next);
                return self.inserted(key, next);
            }
            if slot.0 == key {
                return slot.1;
            }
            place += 1;
        }
    }

    /// As [`Table::find_or_insert`] for those of up to [`AT_ONCE`] keys that lie in these rows: new keys get `next` and the ids after it.
    #[inline]
    pub(super) fn find_or_insert_all(&mut self, keys: &[W], rows: &[u8], ids: &mut [u32], next: u32) {
        if let Some(lines) = &mut self.lines
            && self.len + rows.len() <= self.most
            && !self.apart.is_whole()
        {
            self.len += lines.find_or_insert_all(keys, rows, ids, next);
            return;
        }
        let mut next = next;
        for row in rows.iter().copied().map(usize::from) {
            ids[row] = self.find_or_insert(keys[row], next);
            next += u32::from(ids[row] == next);
        }
    }

    fn inserted(&mut self, key: W, id: u32) -> u32 {
        self.len += 1;
        self.apart.insert(key, id);
        if self.len > self.most {
            self.grow();
        }
        id
    }

    /// All keys and their ids.
    fn all(&self) -> impl Iterator<Item = (W, u32)> {
        let slots = self.slots.iter().copied().filter(|(_, id)| *id != NONE);
        slots.chain(self.lines.iter().flat_map(Lines::all))
    }

    /// Takes note that so many rows were looked for, so that few keys are put apart if it pays.
    #[inline]
    pub(super) fn looked(&mut self, rows: usize) {
        self.looks += rows;
        if self.looks >= LOOKS_PER_SEARCH {
            self.looks = 0;
            if !self.apart.is_whole() && self.searches > 0 && (1..=KEYS_MAX).contains(&self.len) {
                self.put_apart();
            }
        }
    }

    #[cold]
    fn put_apart(&mut self) {
        let (mut keys, mut count) = ([(W::default(), NONE); KEYS_MAX], 0);
        for (key, one) in keys.iter_mut().zip(self.all()) {
            *key = one;
            count += 1;
        }
        self.apart.make(&keys[..count]);
        self.searches -= u8::from(!self.apart.is_whole());
    }

    #[cold]
    fn grow(&mut self) {
        // Small tables grow in larger steps: they are moved more often than they are looked into.
        let room = if self.lines.is_none() { 4 * self.most } else { self.most + 1 };
        let mut larger = Self::for_keys(room);
        for (key, id) in self.all() {
            larger.find_or_insert(key, id);
        }
        larger.apart = std::mem::replace(&mut self.apart, Apart::new());
        *self = larger;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys without a pattern.
    fn key(number: usize) -> u64 {
        (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(SALT)
    }

    #[test]
    fn each_key_keeps_its_id_however_the_table_grows_and_wherever_it_looks() {
        for keys in [0, 1, 4, 5, 64, 65, 100, 181, 182, 300, 5000] {
            let mut table = Table::<u64>::new();
            for round in 0..3 {
                for number in 0..keys {
                    assert_eq!(table.find_or_insert(key(number), 7 * number as u32), 7 * number as u32);
                    table.looked(if number % 3 == 0 { LOOKS_PER_SEARCH } else { 1 });
                    // Those before have not been lost.
                    let earlier = number / 2;
                    assert_eq!(table.find_or_insert(key(earlier), NONE - 1), 7 * earlier as u32);
                }
                for from in (0..keys + 3).step_by(AT_ONCE) {
                    let rows = AT_ONCE.min(keys + 3 - from);
                    let wanted: Vec<u64> = (from..from + rows).map(key).collect();
                    let mut ids = vec![0; rows];
                    let is_new = table.find_all(&wanted, &mut ids);
                    assert_eq!(is_new, from + rows > keys);
                    for (&id, number) in ids.iter().zip(from..) {
                        let expected = if number < keys { 7 * number as u32 } else { NONE };
                        // Among new ones others may be left to whoever inserts.
                        assert!(id == expected || is_new && id == NONE, "{number} of {keys} keys");
                    }
                }
                if round == 1 {
                    table.clear();
                }
            }
        }
    }

    #[test]
    fn few_keys_are_put_apart_and_stay_so_as_long_as_they_can() {
        let mut table = Table::<u64>::new();
        let mut ids = [0; AT_ONCE];
        for number in 0..KEYS_MAX {
            table.find_or_insert(key(number), number as u32);
            table.looked(LOOKS_PER_SEARCH);
            let was_apart = table.apart().is_some();
            assert!(was_apart || number > 60, "{number}");
            if let Some(apart) = table.apart() {
                assert!(apart.find([key(number), key(number / 2)].into_iter(), as_found, &mut ids));
                assert_eq!(ids[..2], [number as u32, number as u32 / 2]);
            }
        }
        table.find_or_insert(key(KEYS_MAX), KEYS_MAX as u32);
        assert!(table.apart().is_none(), "too many");
        assert!(!table.find_all(&[key(KEYS_MAX), key(0)], &mut ids) && ids[..2] == [KEYS_MAX as u32, 0]);
    }
}
