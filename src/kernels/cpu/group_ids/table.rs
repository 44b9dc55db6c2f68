//! An open-addressing table from small fixed-size keys to group ids: key and id lie side by side, so that a look-up
//! touches one cache line.

#![expect(clippy::cast_possible_truncation, reason = "a hash is cut to the bits that a table or a word has")]

use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;

use crate::kernels::cpu::simd;

/// Marks a free slot, and a key without an id.
pub(super) const NONE: u32 = u32::MAX;

const SMALLEST: usize = 64;

/// Keys that are looked for at once.
pub(super) const AT_ONCE: usize = 128;

/// A key that fits in a slot.
pub(super) trait Word: Copy + Eq + Default + Send + Sync {
    /// A hash whose high bits are good.
    fn hash(self) -> u64;
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
    #[inline]
    fn hash(self) -> u64 {
        fold(u64::from(self) ^ SALT, MULTIPLIER)
    }
}

impl Word for u64 {
    #[inline]
    fn hash(self) -> u64 {
        fold(self ^ SALT, MULTIPLIER)
    }
}

impl Word for [u64; 2] {
    #[inline]
    fn hash(self) -> u64 {
        // The first fold alone would map every key with a first half of SALT to one value.
        fold(fold(self[0] ^ SALT, MULTIPLIER) ^ self[1], MULTIPLIER)
    }
}

/// Keys and their ids.
#[derive(Debug, Clone)]
pub(super) struct Table<W> {
    slots: Vec<(W, u32)>,
    len: usize,
    /// How many keys there may be.
    most: usize,
    shift: u32,
}

/// The id of each key that lies where its hash says, [`NONE`] for the others; says whether there are others.
#[simd]
fn find_first<S: Simd, W: Word>(
    _: S,
    slots: &[(W, u32)],
    shift: u32,
    keys: &[W],
    hashes: &[u64],
    ids: &mut [u32],
) -> bool {
    let mask = slots.len() - 1;
    let mut largest = 0;
    for ((id, key), hash) in ids.iter_mut().zip(keys).zip(hashes) {
        let slot = &slots[(hash >> shift) as usize & mask];
        *id = if slot.0 == *key { slot.1 } else { NONE };
        largest = largest.max(*id);
    }
    largest == NONE
}

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
        Self { slots: vec![(W::default(), NONE); slots], len: 0, most, shift: 64 - slots.trailing_zeros() }
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
        }
    }

    /// The id of each of up to [`AT_ONCE`] keys, [`NONE`] for one that is not there; says whether there are such.
    ///
    /// All are looked for where their hashes say, without a branch that hangs on the data, so that many looks into
    /// memory are under way at once; then those that were not there one place further on, and so on.
    pub(super) fn find_all(&self, keys: &[W], hashes: &[u64], ids: &mut [u32]) -> bool {
        if !dispatch!(simd::level(), simd => find_first(simd, &self.slots, self.shift, keys, hashes, ids)) {
            return false;
        }
        let mask = self.slots.len() - 1;
        let mut rows = [0_u8; AT_ONCE];
        let mut count = 0;
        for (row, &id) in ids.iter().enumerate() {
            rows[count] = row as u8;
            count += usize::from(id == NONE);
        }
        let mut is_new = false;
        for step in 0.. {
            let mut left = 0;
            for place in 0..count {
                let row = usize::from(rows[place]);
                let slot = &self.slots[((hashes[row] >> self.shift) as usize + step) & mask];
                let (is_free, is_same) = (slot.1 == NONE, slot.0 == keys[row]);
                ids[row] = if is_same { slot.1 } else { NONE };
                is_new |= is_free;
                rows[left] = rows[place];
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
        self.find_or_insert_hashed(key, key.hash(), next)
    }

    /// The id of `key`, whose hash is known; a new key gets `next`.
    #[inline]
    pub(super) fn find_or_insert_hashed(&mut self, key: W, hash: u64, next: u32) -> u32 {
        let mask = self.slots.len() - 1;
        let mut place = (hash >> self.shift) as usize;
        loop {
            let slot = &mut self.slots[place & mask];
            if slot.1 == NONE {
                *slot = (key, next);
                self.len += 1;
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
        *self = larger;
    }
}
