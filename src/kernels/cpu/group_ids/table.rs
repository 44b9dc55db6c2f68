//! An open-addressing table from small fixed-size keys to group ids: key and id lie side by side, so that a look-up
//! touches one cache line.

#![expect(clippy::cast_possible_truncation, reason = "a hash is cut to the bits that a table or a word has")]

use super::apart::{Apart, KEYS_MAX};
use crate::kernels::cpu::prefetch::prefetch_behind;

/// Marks a free slot, and a key without an id.
pub(super) const NONE: u32 = u32::MAX;

const SMALLEST: usize = 64;

/// Keys that are looked for at once.
pub(super) const AT_ONCE: usize = 128;

/// A key that fits in a slot.
pub(super) trait Word: Copy + Eq + Default + Send + Sync {
    /// Another key than the default.
    const OTHER: Self;
    /// A hash whose high bits are good.
    fn hash(self) -> u64;
    /// The low bits of a product, with any odd factor: bits of the key move those above them.
    fn product(self, factor: u64) -> u64;
    /// Zero for the same key.
    fn difference(self, other: Self) -> u64;
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
    const OTHER: Self = 1;
    #[inline]
    fn hash(self) -> u64 {
        fold(u64::from(self) ^ SALT, MULTIPLIER)
    }
    #[inline]
    fn product(self, factor: u64) -> u64 {
        u64::from(self).wrapping_mul(factor)
    }
    #[inline]
    fn difference(self, other: Self) -> u64 {
        u64::from(self ^ other)
    }
}

impl Word for u64 {
    const OTHER: Self = 1;
    #[inline]
    fn hash(self) -> u64 {
        fold(self ^ SALT, MULTIPLIER)
    }
    #[inline]
    fn product(self, factor: u64) -> u64 {
        self.wrapping_mul(factor)
    }
    #[inline]
    fn difference(self, other: Self) -> u64 {
        self ^ other
    }
}

impl Word for [u64; 2] {
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
    #[inline]
    fn difference(self, other: Self) -> u64 {
        self[0] ^ other[0] | self[1] ^ other[1]
    }
}

/// Keys and their ids.
#[derive(Debug, Clone)]
pub(super) struct Table<W> {
    slots: Vec<(W, u32)>,
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

/// Keys between the one that is looked for and the one whose slot is asked for, in a table further away.
const SLOTS_AHEAD: usize = 32;

/// The same for a table further away: first all places are computed, so that each slot is asked for some time before.
///
/// Measured with 4 MiB, beside lanes of nearly as much: as fast as eight looks by a gathering instruction, and as looks that nobody
/// announces, while the machine is quiet; beside somebody else who uses its memory those took a tenth and a third more.
fn find_first_afar<W: Word>(slots: &[(W, u32)], shift: u32, keys: &[W], ids: &mut [u32]) -> bool {
    let Some(mask) = slots.len().checked_sub(1) else { return true };
    let mut places = [0_u32; AT_ONCE + SLOTS_AHEAD];
    for (place, key) in places.iter_mut().zip(keys) {
        *place = ((key.hash() >> shift) as usize & mask) as u32;
    }
    let ask = |place: u32| prefetch_behind(slots, place as usize, 1);
    places[..SLOTS_AHEAD].iter().copied().for_each(ask);
    let mut largest = 0;
    for (((id, key), &place), &next) in ids.iter_mut().zip(keys).zip(&places).zip(&places[SLOTS_AHEAD..]) {
        ask(next);
        let slot = &slots[place as usize];
        *id = slot.1 | 0_u32.wrapping_sub(u32::from(slot.0 != *key));
        largest = largest.max(*id);
    }
    largest == NONE
}

/// Bytes of a table that shares a second-level cache with the columns.
const NEAR_BYTES: usize = 1 << 18;

/// How many keys a table of this size may have. In a small table a second look costs more than the memory: a branch
/// that nobody can foresee. Measured with 64 keys: 99 million rows a second at a load of a half, 471 at a sixteenth.
fn most_keys<W>(slots: usize) -> usize {
    /// Bytes of a table that shares a second-level cache with the columns and the states.
    const SMALL: usize = 1 << 18;
    match slots * size_of::<(W, u32)>() {
        bytes if bytes <= SMALL => slots / 16,
        bytes if bytes <= 4 * SMALL => slots * 3 / 8,
        _ => slots / 2,
    }
}

/// Rows after which it pays to look for a table of keys that lie apart: it takes as long as looking for about as many. Tables that come and go with a batch, as
/// those of many small key groups do, never get there.
const LOOKS_PER_SEARCH: usize = 1 << 14;

/// Searches in vain for each size of a table.
const SEARCHES: u8 = 4;

impl<W: Word> Table<W> {
    pub(super) fn new() -> Self {
        Self::with_slots(SMALLEST)
    }

    /// A table for this many keys.
    pub(super) fn for_keys(keys: usize) -> Self {
        let mut slots = (2 * keys).next_power_of_two().max(SMALLEST);
        while most_keys::<W>(slots) < keys {
            slots *= 2;
        }
        Self::with_slots(slots)
    }

    fn with_slots(slots: usize) -> Self {
        let most = most_keys::<W>(slots);
        let shift = 64 - slots.trailing_zeros();
        Self {
            slots: vec![(W::default(), NONE); slots],
            len: 0,
            most,
            shift,
            apart: Apart::new(),
            searches: SEARCHES,
            looks: 0,
        }
    }

    /// Forgets all keys. A table that has become much too large for them gives its memory back: cleaning it would cost
    /// more than the next keys do.
    pub(super) fn clear(&mut self) {
        /// A table grows when it holds a sixteenth or more of its slots.
        const SLOTS_PER_KEY_MAX: usize = 256;
        if self.slots.len() > SMALLEST && self.len * SLOTS_PER_KEY_MAX < self.slots.len() {
            *self = Self::new();
        } else if self.len > 0 {
            self.slots.fill((W::default(), NONE));
            self.len = 0;
            self.apart.clear();
        }
    }

    /// A table in which one look says whether a key is there, if there is one.
    pub(super) fn apart(&self) -> Option<&Apart<W>> {
        Some(&self.apart).filter(|apart| apart.is_whole())
    }

    /// The id of each of up to [`AT_ONCE`] keys, [`NONE`] for one that is not there; says whether there are such.
    ///
    /// All are looked for where their hashes say, without a branch that hangs on the data, so that many looks into
    /// memory are under way at once; then those that were not there one place further on, and so on.
    pub(super) fn find_all(&self, keys: &[W], ids: &mut [u32]) -> bool {
        if self.apart.find(keys.iter().copied(), ids) {
            return false;
        }
        let is_some_left = if size_of_val(self.slots.as_slice()) <= NEAR_BYTES {
            find_first(&self.slots, self.shift, keys, ids)
        } else {
            find_first_afar(&self.slots, self.shift, keys, ids)
        };
        if !is_some_left {
            return false;
        }
        let mask = self.slots.len() - 1;
        let (mut rows, mut places) = ([0_u8; AT_ONCE], [0; AT_ONCE]);
        let mut count = 0;
        for (row, &id) in ids.iter().enumerate() {
            rows[count] = row as u8;
            count += usize::from(id == NONE);
        }
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
        let mask = self.slots.len() - 1;
        let mut place = (key.hash() >> self.shift) as usize & mask;
        loop {
            let slot = &mut self.slots[place & mask];
            if slot.1 == NONE {
                *slot = (key, next);
                self.len += 1;
                self.apart.insert(key, next);
                if self.len > self.most {
                    self.grow();
                }
                return next;
            }
            if slot.0 == key {
                return slot.1;
            }
            place += 1;
        }
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
        for (key, slot) in keys.iter_mut().zip(self.slots.iter().filter(|slot| slot.1 != NONE)) {
            *key = *slot;
            count += 1;
        }
        self.apart.make(&keys[..count]);
        self.searches -= u8::from(!self.apart.is_whole());
    }

    #[cold]
    fn grow(&mut self) {
        // Small tables grow in larger steps: they are moved more often than they are looked into.
        let least = self.slots.len() * if self.slots.len() < 1 << 16 { 4 } else { 2 };
        let mut larger = Self::for_keys(self.len);
        if larger.slots.len() < least {
            larger = Self::with_slots(least);
        }
        for &(key, id) in self.slots.iter().filter(|slot| slot.1 != NONE) {
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
                    let expected = |number: usize| if number < keys { 7 * number as u32 } else { NONE };
                    assert_eq!(ids, (from..from + rows).map(expected).collect::<Vec<_>>(), "{keys} keys");
                    assert_eq!(is_new, from + rows > keys);
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
                assert!(apart.find([key(number), key(number / 2)].into_iter(), &mut ids));
                assert_eq!(ids[..2], [number as u32, number as u32 / 2]);
            }
        }
        table.find_or_insert(key(KEYS_MAX), KEYS_MAX as u32);
        assert!(table.apart().is_none(), "too many");
        assert!(!table.find_all(&[key(KEYS_MAX), key(0)], &mut ids) && ids[..2] == [KEYS_MAX as u32, 0]);
    }
}
