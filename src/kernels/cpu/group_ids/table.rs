//! An open-addressing table from small fixed-size keys to group ids: key and id lie side by side, so that a look-up
//! touches one cache line.

#![expect(clippy::cast_possible_truncation, reason = "a hash is cut to the bits that a table or a word has")]

/// Marks a free slot, and a key without an id.
pub(super) const NONE: u32 = u32::MAX;

const SMALLEST: usize = 64;

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
    shift: u32,
}

impl<W: Word> Table<W> {
    pub(super) fn new() -> Self {
        Self::with_slots(SMALLEST)
    }

    /// A table for this many keys.
    pub(super) fn for_keys(keys: usize) -> Self {
        Self::with_slots((2 * keys).next_power_of_two().max(SMALLEST))
    }

    fn with_slots(slots: usize) -> Self {
        Self { slots: vec![(W::default(), NONE); slots], len: 0, shift: 64 - slots.trailing_zeros() }
    }

    /// The id of `key`; a new key gets `next`.
    #[inline]
    pub(super) fn find_or_insert(&mut self, key: W, next: u32) -> u32 {
        let mask = self.slots.len() - 1;
        let mut place = (key.hash() >> self.shift) as usize;
        loop {
            let slot = &mut self.slots[place & mask];
            if slot.1 == NONE {
                *slot = (key, next);
                self.len += 1;
                if self.len * 2 > self.slots.len() {
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
        let factor = if self.slots.len() < 1 << 16 { 8 } else { 2 };
        let mut larger = Self::with_slots(self.slots.len() * factor);
        for &(key, id) in self.slots.iter().filter(|slot| slot.1 != NONE) {
            larger.find_or_insert(key, id);
        }
        *self = larger;
    }
}
