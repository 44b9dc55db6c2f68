//! A table of few keys of which no two want the same slot: one look says whether a key is there, and by what id.
//!
//! Where a key lies is said by one product, as D. E. Knuth, *The Art of Computer Programming* 3 (1973), 6.4; factors are tried until
//! all keys lie apart, which M. L. Fredman, J. Komlós and E. Szemerédi, *Storing a sparse table with O(1) worst case access time*
//! (1984), show to be soon with as many slots as pairs of keys. Here there are fewer, and more tries.

use super::table::{NONE, Word};

/// The first factor that is tried.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Factors tried for each number of slots.
const FACTORS: u64 = 128;

/// Most keys that a table is looked for.
pub(super) const KEYS_MAX: usize = 192;

/// Most slots: 64 KiB where keys have eight bytes.
const SLOTS_MAX: usize = 1 << 12;

/// Slots for each key from which on they may lie apart.
const SLOTS_PER_KEY: usize = 4;

/// Few keys and their ids, if they lie apart.
#[derive(Debug, Clone)]
pub(super) struct Apart<W> {
    /// As many as `shift` leaves places for. In a slot without a key there is one that belongs elsewhere.
    slots: Vec<W>,
    /// The id in each slot.
    ids: Vec<u32>,
    factor: u64,
    shift: u32,
    len: usize,
    /// Whether all keys that there are lie here; if not, nothing else here means anything.
    is_whole: bool,
}

impl<W: Word> Apart<W> {
    /// None yet, and no memory.
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), ids: Vec::new(), factor: FACTOR, shift: 0, len: 0, is_whole: false }
    }

    /// Makes a table of these keys, if one is found; that asks for memory only if it has less than it needs.
    pub(super) fn make(&mut self, keys: &[(W, u32)]) {
        self.is_whole = false;
        let mut slots = (SLOTS_PER_KEY * keys.len()).next_power_of_two();
        while keys.len() <= KEYS_MAX && (2..=SLOTS_MAX).contains(&slots) {
            let shift = u64::BITS - slots.trailing_zeros();
            let factors = (0..FACTORS).map(|number| FACTOR.wrapping_mul(2 * number + 1));
            if let Some(factor) = factors.into_iter().find(|&factor| lie_apart(keys, factor, shift)) {
                (self.factor, self.shift) = (factor, shift);
                self.slots.resize(slots, W::default());
                self.ids.resize(slots, NONE);
                (self.is_whole, self.len) = (true, 0);
                self.clear();
                keys.iter().for_each(|&(key, id)| self.insert(key, id));
                return;
            }
            slots *= 2;
        }
    }

    /// Whether all keys are here.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Forgets all keys. Later ones are often the same.
    pub(super) fn clear(&mut self) {
        if self.is_whole {
            self.slots.fill(W::default());
            self.ids.fill(NONE);
            // The place of the default is the first one.
            self.slots[0] = W::OTHER;
            self.len = 0;
        }
    }

    /// Adds a key that is not there. If its slot is taken, or there are too many, the table is of no use any more.
    pub(super) fn insert(&mut self, key: W, id: u32) {
        if self.is_whole {
            let place = place(key, self.factor, self.shift);
            self.is_whole = self.ids[place] == NONE && self.len < KEYS_MAX;
            (self.slots[place], self.ids[place], self.len) = (key, id, self.len + 1);
        }
    }

    /// Replaces each of `ids` by the id of the key beside it, or by what `turned` makes of both; false, and anything there, if a key has
    /// no id or [`NONE`] is made of it. Keys are best computed by the way: what would be written down and read again takes longer than
    /// a look.
    ///
    /// No look is asked whether its slot is there, and the first key without an id ends the loop.
    #[inline(always)]
    pub(super) fn find(
        &self,
        keys: impl Iterator<Item = W>,
        turned: impl Fn(u32, u32) -> u32,
        ids: &mut [u32],
    ) -> bool {
        if !self.is_whole {
            return false;
        }
        for (slot, key) in ids.iter_mut().zip(keys) {
            let place = place(key, self.factor, self.shift);
            // SAFETY: there are 1 << (64 - shift) slots, since `make` that chose the shift; what is shifted is less.
            let found = unsafe { *self.slots.get_unchecked(place) };
            if found != key {
                return false;
            }
            // SAFETY: there are as many ids as slots.
            let id = turned(*slot, unsafe { *self.ids.get_unchecked(place) });
            if id == NONE {
                return false;
            }
            *slot = id;
        }
        true
    }
}

/// Leaves ids as they are found.
#[inline(always)]
pub(super) fn as_found(_: u32, id: u32) -> u32 {
    id
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "as many bits as there are slots are left")]
fn place<W: Word>(key: W, factor: u64, shift: u32) -> usize {
    (key.product(factor) >> shift) as usize
}

/// Whether no two of the keys want the same slot, and what stands in that of the default wants another one.
fn lie_apart<W: Word>(keys: &[(W, u32)], factor: u64, shift: u32) -> bool {
    const WORD_SLOTS: usize = u64::BITS as usize;
    let mut taken = [0_u64; SLOTS_MAX / WORD_SLOTS];
    let mut take = |key: W| {
        let place = place(key, factor, shift);
        let (word, bit) = (&mut taken[place / WORD_SLOTS], 1 << (place % WORD_SLOTS));
        let was_taken = *word & bit != 0;
        *word |= bit;
        !was_taken
    };
    place(W::OTHER, factor, shift) != 0 && keys.iter().all(|&(key, _)| take(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart<W: Word>(keys: &[(W, u32)]) -> Apart<W> {
        let mut apart = Apart::new();
        apart.make(keys);
        assert_eq!(apart.is_whole(), !keys.is_empty());
        apart
    }

    #[test]
    fn keys_that_lie_apart_are_found_and_no_others() {
        for keys in [1, 2, 5, 64, 100, 150] {
            for step in [1, 256, 7919, 1 << 40, 0x0101_0101] {
                let wanted: Vec<u64> = (0..keys).map(|key| key * step).collect();
                let numbered: Vec<(u64, u32)> = wanted.iter().copied().zip(0..).collect();
                let apart = apart(&numbered);
                let mut ids = vec![0; wanted.len()];
                assert!(apart.find(wanted.iter().copied(), as_found, &mut ids));
                assert!(ids.iter().copied().eq(0..u32::try_from(keys).unwrap()));
                for other in (0..3 * keys).map(|key| key * step + 1).chain([u64::MAX, u64::OTHER, 0]) {
                    let is_there = wanted.contains(&other);
                    assert_eq!(
                        apart.find(std::iter::once(other), as_found, &mut ids),
                        is_there,
                        "{other} of {keys} by {step}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_free_slot_is_no_key() {
        // Neither what lies in free slots nor what belongs to the first one.
        for keys in [vec![], vec![(3_u32, 0)], vec![(0, 0), (1, 1)], vec![(1, 0)]] {
            let mut apart = apart(&keys);
            let mut ids = [0];
            for key in 0..5_u32 {
                let expected = keys.iter().find(|(one, _)| *one == key);
                assert_eq!(
                    apart.find(std::iter::once(key), as_found, &mut ids),
                    expected.is_some(),
                    "{key} of {keys:?}"
                );
                assert!(expected.is_none_or(|(_, id)| ids == [*id]));
            }
            apart.clear();
            assert!((0..5).all(|key| !apart.find(std::iter::once(key), as_found, &mut ids)), "all are forgotten");
        }
    }

    #[test]
    fn keys_of_two_words_lie_apart_by_either() {
        let keys: Vec<([u64; 2], u32)> =
            (0..60).map(|key| ([u64::from(key % 6), u64::from(key / 6) << 50], key)).collect();
        let apart = apart(&keys);
        let mut ids = vec![0; keys.len()];
        assert!(apart.find(keys.iter().map(|(key, _)| *key), as_found, &mut ids) && ids.iter().copied().eq(0..60));
        assert!(
            !apart.find([[6, 0]].into_iter(), as_found, &mut ids)
                && !apart.find([[0, 1]].into_iter(), as_found, &mut ids)
        );
    }
}
