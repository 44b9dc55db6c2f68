//! Places in a range of integers as ids: no table is looked at, and ids of two partitions can be the same.
//!
//! Not all of the range need have appeared: places without a key are holes, ids that no group has. The places that have
//! appeared are written down in the order of their first rows, which is the order of an answer.

#![expect(clippy::cast_possible_truncation, reason = "places lie in a range that fits 32 bits")]

use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;

use super::primitive::{KeyNative, LOOKED_UP};
use crate::kernels::cpu::prefetch::prefetch_rows;
use crate::kernels::cpu::simd;

/// Groups for each of which there may be [`PLACES_PER_GROUP_OF_MANY`] places: so many, with more to come, would have their
/// rows put off, and that takes more memory than holes do.
const MANY: usize = 1 << 17;
const PLACES_PER_GROUP_OF_MANY: i128 = 8;

/// Places that there may be for each group.
const PLACES_PER_GROUP: i128 = 4;

/// Ranges with holes begin and end at a multiple of about so many parts of themselves, so that partitions in which not
/// quite the same keys appeared have the same places.
const PARTS: i128 = 16;

/// Ids of the values from `low` on.
pub(super) struct Places<N> {
    low: N,
    count: u32,
    /// A bit for each place, set if its integer has appeared.
    seen: Vec<u32>,
    /// The places of those bits, in the order of their first rows. There is at least one.
    appeared: Vec<u32>,
    /// The least and the greatest of them.
    ends: (u32, u32),
}

/// Writes `first` and the distance of each value from `low` as ids; says whether all distances are below `count`.
#[simd]
fn places_all<S: Simd, N: KeyNative>(_: S, values: &[N], low: N, first: u32, count: u32, ids: &mut [u32]) -> bool {
    let mut furthest = 0;
    for (chunk, (ids, some)) in ids.chunks_mut(LOOKED_UP).zip(values.chunks(LOOKED_UP)).enumerate() {
        prefetch_rows(values, (chunk + 1) * LOOKED_UP, LOOKED_UP);
        for (slot, value) in ids.iter_mut().zip(some) {
            let place = value.distance(low);
            // Distances of 64 bits are cut in the ids alone.
            furthest = furthest.max(place);
            *slot = (place as u32).wrapping_add(first);
        }
    }
    furthest < count as usize
}

/// Ids that are asked about at once.
const ASKED: usize = 64;

/// Where the first of the pieces of [`ASKED`] ids begins that has one whose bit is not set; their number if none has.
#[simd]
fn first_unseen<S: Simd>(_: S, seen: &[u32], ids: &[u32]) -> usize {
    let Some(last) = seen.len().checked_sub(1) else { return 0 };
    let is_seen = |&id: &u32| seen[((id >> 5) as usize).min(last)] >> (id & 31);
    let pieces = ids.chunks(ASKED);
    let seen_pieces = pieces.take_while(|piece| piece.iter().map(is_seen).fold(1, |all, bit| all & bit) == 1).count();
    (seen_pieces * ASKED).min(ids.len())
}

impl<N: KeyNative> Places<N> {
    /// Places for all integers from `least` to `most`, if enough of them are among these keys, whose order is that of
    /// their first rows.
    pub(super) fn for_keys(keys: &[N], least: i128, most: i128) -> Option<Self> {
        let (span, groups) = (most - least + 1, keys.len() as i128);
        let allowed = if keys.len() >= MANY { PLACES_PER_GROUP_OF_MANY } else { PLACES_PER_GROUP };
        if keys.is_empty() || span > groups * allowed {
            return None;
        }
        let grain = if span == groups { 1 } else { (span / PARTS).max(1).cast_unsigned().next_power_of_two() };
        let grain = grain.cast_signed();
        let low = N::narrow(least.div_euclid(grain) * grain);
        let high = N::narrow((most.div_euclid(grain) + 1) * grain - 1);
        let count = high.distance(low) as u32 + 1;
        let appeared: Vec<u32> = keys.iter().map(|key| key.distance(low) as u32).collect();
        let mut seen = vec![0; count as usize / 32 + 1];
        appeared.iter().for_each(|&place| seen[(place >> 5) as usize] |= 1 << (place & 31));
        let place = |value: i128| N::narrow(value).distance(low) as u32;
        Some(Self { low, count, seen, appeared, ends: (place(least), place(most)) })
    }

    /// The integer at a place.
    fn at(&self, place: u32) -> N {
        N::narrow(self.low.widen() + i128::from(place))
    }

    /// The integers of all places.
    pub(super) fn keys(&self) -> Vec<N> {
        (0..self.count).map(|place| self.at(place)).collect()
    }

    pub(super) fn low(&self) -> N {
        self.low
    }

    /// How many places there are.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The places that have appeared, in the order of their first rows.
    pub(super) fn appeared(&self) -> &[u32] {
        &self.appeared
    }

    pub(super) fn has_appeared(&self, place: u32) -> bool {
        self.seen.get((place >> 5) as usize).is_some_and(|word| word >> (place & 31) & 1 == 1)
    }

    /// The least and the greatest integer that has appeared.
    pub(super) fn bounds(&self) -> (i128, i128) {
        (self.at(self.ends.0).widen(), self.at(self.ends.1).widen())
    }

    /// Appends the place of each value; false, and nothing changed, if one has none.
    pub(super) fn find(&mut self, values: &[N], ids: &mut Vec<u32>) -> bool {
        let before = ids.len();
        ids.resize(before + values.len(), 0);
        let found = &mut ids[before..];
        let (least, most) = self.ends;
        let between = most - least + 1;
        if self.appeared.len() == between as usize {
            // Nothing can be new between the ends.
            let first = self.at(least);
            if dispatch!(simd::level(), simd => places_all(simd, values, first, least, between, found)) {
                return true;
            }
        }
        let (low, count) = (self.low, self.count);
        let all = dispatch!(simd::level(), simd => places_all(simd, values, low, 0, count, found));
        if all {
            self.note(found);
        } else {
            ids.truncate(before);
        }
        all
    }

    /// Writes down which of these places appear for the first time.
    pub(super) fn note(&mut self, mut ids: &[u32]) {
        loop {
            let known = dispatch!(simd::level(), simd => first_unseen(simd, &self.seen, ids));
            let rest = &ids[known..];
            let (piece, later) = rest.split_at(rest.len().min(ASKED));
            if piece.is_empty() {
                return;
            }
            for &place in piece.iter().filter(|&&place| place < self.count) {
                let (word, bit) = (&mut self.seen[(place >> 5) as usize], 1 << (place & 31));
                if *word & bit == 0 {
                    *word |= bit;
                    self.appeared.push(place);
                    self.ends = (self.ends.0.min(place), self.ends.1.max(place));
                }
            }
            ids = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_holes_until_all_have_appeared() {
        let mut places = Places::<i32>::for_keys(&[7, -3, 0, 2], -3, 7).unwrap();
        assert_eq!((places.low(), places.count(), places.appeared()), (-3, 11, &[10, 0, 3, 5][..]));
        let mut ids = vec![9];
        assert!(!places.find(&[2, 8], &mut ids), "beyond the range");
        assert!(!places.find(&[2, i32::MIN], &mut ids), "below the range");
        assert_eq!((&ids[..], places.appeared().len()), (&[9][..], 4), "nothing has changed");
        assert!(places.find(&[2, 1, 1, 0], &mut ids));
        assert_eq!(ids, [9, 5, 4, 4, 3]);
        assert_eq!(places.appeared(), [10, 0, 3, 5, 4]);
        ids.clear();
        assert!(places.find(&(-3..=7).rev().collect::<Vec<_>>(), &mut ids));
        assert_eq!(ids, (0..11).rev().collect::<Vec<_>>());
        assert_eq!(places.appeared(), [10, 0, 3, 5, 4, 9, 8, 7, 6, 2, 1]);
        assert!(places.find(&[7, -3], &mut ids));
        assert_eq!(places.appeared().len(), 11);
    }

    #[test]
    fn ranges_with_holes_begin_and_end_at_round_numbers_and_stay_within_their_type() {
        let keys: Vec<i64> = (1..1000).step_by(2).collect();
        let places = Places::for_keys(&keys, 1, 999).unwrap();
        assert_eq!((places.low(), places.count()), (0, 1024));
        let keys: Vec<i8> = (-128..=127).filter(|key| key % 3 != 0).collect();
        let places = Places::for_keys(&keys, -128, 127).unwrap();
        assert_eq!((places.low(), places.count(), places.bounds()), (-128, 256, (-128, 127)));
        let keys: Vec<u64> = (u64::MAX - 99..=u64::MAX).filter(|key| key % 2 == 1).collect();
        let mut places = Places::for_keys(&keys, (u64::MAX - 98).into(), u64::MAX.into()).unwrap();
        let mut ids = Vec::new();
        assert!(places.find(&[u64::MAX, u64::MAX - 1], &mut ids) && !places.find(&[0], &mut ids));
        assert_eq!(ids, [places.count() - 1, places.count() - 2]);
        assert!(Places::for_keys(&[0_i32, 8], 0, 8).is_none(), "too few of the range have appeared");
    }

    #[test]
    fn firsts_are_noted_in_order_however_many_rows_are_asked_about() {
        for rows in [0, 1, 63, 64, 65, 127, 128, 1000, 4097] {
            let mut places = Places::for_keys(&[0_u32, 4095], 0, 4095);
            assert!(places.is_none());
            let keys: Vec<u32> = (0..4096).filter(|key| key % 2 == 0 || *key == 4095).collect();
            places = Places::for_keys(&keys, 0, 4095);
            let mut places = places.unwrap();
            let values: Vec<u32> = (0..rows).map(|row| row * 37 % 4096).collect();
            let mut expected = keys.clone();
            for &value in &values {
                if !expected.contains(&value) {
                    expected.push(value);
                }
            }
            let mut ids = Vec::new();
            assert!(places.find(&values, &mut ids));
            assert_eq!(ids, values);
            assert_eq!(places.appeared(), expected, "{rows} rows");
        }
    }
}
