//! Places in a range of integers as ids: no table is looked at, and ids of two partitions can be the same.
//!
//! The null has the place behind the range. Not all of the range need have appeared: places without a key are holes, ids
//! that no group has. The places that have appeared are written down in the order of their first rows, which is the order
//! of an answer.

#![expect(clippy::cast_possible_truncation, reason = "places lie in a range that fits 32 bits")]

use arrow_buffer::NullBuffer;
use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;

use super::primitive::{AHEAD, KeyNative, LOOKED_UP, each_null};
use super::seen::{ASKED, Seen};
use super::table::NONE;
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

/// Ids of the values from `low` on, and of the null.
pub(super) struct Places<N> {
    low: N,
    /// Of integers; it is the place of the null, too.
    count: u32,
    /// Which have appeared.
    seen: Seen,
    /// Those, in the order of their first rows. There is at least one integer.
    appeared: Vec<u32>,
    /// The least and the greatest integer's.
    ends: (u32, u32),
}

/// Writes `first` and the distance of each value from `low` as ids; says whether all distances are below `count`.
#[simd]
fn places_all<S: Simd, N: KeyNative>(_: S, values: &[N], low: N, first: u32, count: u32, ids: &mut [u32]) -> bool {
    let mut furthest = 0;
    for (chunk, (ids, some)) in ids.chunks_mut(LOOKED_UP).zip(values.chunks(LOOKED_UP)).enumerate() {
        prefetch_rows(values, chunk * LOOKED_UP + AHEAD, LOOKED_UP);
        for (slot, value) in ids.iter_mut().zip(some) {
            let place = value.distance(low);
            // Distances of 64 bits are cut in the ids alone.
            furthest = furthest.max(place);
            *slot = (place as u32).wrapping_add(first);
        }
    }
    furthest < count as usize
}

/// Writes the distance of each value from `low`, or [`NONE`] for one that is not below `count`, which may lie under a null.
#[simd]
fn places_or_none<S: Simd, N: KeyNative>(_: S, values: &[N], low: N, count: u32, ids: &mut [u32]) {
    for (slot, value) in ids.iter_mut().zip(values) {
        let place = value.distance(low);
        *slot = if place < count as usize { place as u32 } else { NONE };
    }
}

impl<N: KeyNative> Places<N> {
    /// Places for all integers from `least` to `most`, if enough of them are among these keys, whose order is that of
    /// their first rows. One of them may be the null, at this place.
    pub(super) fn for_keys(keys: &[N], null: Option<u32>, least: i128, most: i128) -> Option<Self> {
        let groups = keys.len() - usize::from(null.is_some());
        let allowed = if groups >= MANY { PLACES_PER_GROUP_OF_MANY } else { PLACES_PER_GROUP };
        let (span, groups) = (most - least + 1, groups as i128);
        if groups == 0 || span > groups * allowed {
            return None;
        }
        let grain = if span == groups { 1 } else { (span / PARTS).max(1).cast_unsigned().next_power_of_two() };
        let grain = grain.cast_signed();
        let low = N::narrow(least.div_euclid(grain) * grain);
        let high = N::narrow((most.div_euclid(grain) + 1) * grain - 1);
        let count = high.distance(low) as u32 + 1;
        let place_of = |(id, key): (u32, &N)| if Some(id) == null { count } else { key.distance(low) as u32 };
        let appeared: Vec<u32> = (0..).zip(keys).map(place_of).collect();
        let mut seen = Seen::new(count as usize + 1);
        appeared.iter().for_each(|&place| seen.mark(place));
        let place = |value: i128| N::narrow(value).distance(low) as u32;
        Some(Self { low, count, seen, appeared, ends: (place(least), place(most)) })
    }

    /// The integer at a place.
    fn at(&self, place: u32) -> N {
        N::narrow(self.low.widen() + i128::from(place))
    }

    /// The integers of all places, and anything for the null.
    pub(super) fn keys(&self) -> Vec<N> {
        (0..self.count).map(|place| self.at(place)).chain([N::default()]).collect()
    }

    pub(super) fn low(&self) -> N {
        self.low
    }

    /// How many places there are, with the null's.
    pub(super) fn slots(&self) -> u32 {
        self.count + 1
    }

    /// The place of the null.
    pub(super) fn null(&self) -> u32 {
        self.count
    }

    /// The places that have appeared, in the order of their first rows.
    pub(super) fn appeared(&self) -> &[u32] {
        &self.appeared
    }

    pub(super) fn has_appeared(&self, place: u32) -> bool {
        self.seen.has(place)
    }

    /// The least and the greatest integer that has appeared.
    pub(super) fn bounds(&self) -> (i128, i128) {
        (self.at(self.ends.0).widen(), self.at(self.ends.1).widen())
    }

    /// How many integers lie between the ends, these included.
    fn between(&self) -> u32 {
        self.ends.1 - self.ends.0 + 1
    }

    /// Whether nothing can be new between the ends.
    pub(super) fn is_full(&self) -> bool {
        let integers = self.appeared.len() - usize::from(self.has_appeared(self.count));
        integers == self.between() as usize
    }

    /// Appends the place of each value; false, and nothing changed, if one has none.
    pub(super) fn find(&mut self, values: &[N], ids: &mut Vec<u32>) -> bool {
        let before = ids.len();
        if self.is_full() {
            ids.resize(before + values.len(), 0);
            let (found, (least, _), between) = (&mut ids[before..], self.ends, self.between());
            let first = self.at(least);
            if dispatch!(simd::level(), simd => places_all(simd, values, first, least, between, found)) {
                return true;
            }
            ids.truncate(before);
        }
        let all = self.place(values, ids);
        if all {
            self.note(&ids[before..]);
        }
        all
    }

    /// As [`Places::find`], but it is left to [`Places::note`] to write down which have appeared.
    pub(super) fn place(&self, values: &[N], ids: &mut Vec<u32>) -> bool {
        let before = ids.len();
        ids.resize(before + values.len(), 0);
        let (found, low, count) = (&mut ids[before..], self.low, self.count);
        let all = dispatch!(simd::level(), simd => places_all(simd, values, low, 0, count, found));
        if !all {
            ids.truncate(before);
        }
        all
    }

    /// As [`Places::find`], of values of which some are null.
    pub(super) fn find_with_nulls(&mut self, values: &[N], nulls: &NullBuffer, ids: &mut Vec<u32>) -> bool {
        let before = ids.len();
        ids.resize(before + values.len(), 0);
        let found = &mut ids[before..];
        let (low, count) = (self.low, self.count);
        dispatch!(simd::level(), simd => places_or_none(simd, values, low, count, found));
        each_null(nulls, |row| found[row] = count);
        let all = found.iter().max().is_none_or(|&place| place != NONE);
        if all {
            self.note(found);
        } else {
            ids.truncate(before);
        }
        all
    }

    /// Nothing has appeared, but for the ends.
    pub(super) fn forget(&mut self) {
        self.seen = Seen::new(self.slots() as usize);
        self.appeared.clear();
    }

    /// Writes down which of these places appear for the first time.
    pub(super) fn note(&mut self, mut ids: &[u32]) {
        loop {
            let known = self.seen.first_without(ids);
            let rest = &ids[known..];
            let (piece, later) = rest.split_at(rest.len().min(ASKED));
            if piece.is_empty() {
                return;
            }
            for &place in piece.iter().filter(|&&place| place <= self.count) {
                if !self.seen.has(place) {
                    self.seen.mark(place);
                    self.appeared.push(place);
                    if place < self.count {
                        self.ends = (self.ends.0.min(place), self.ends.1.max(place));
                    }
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
        let mut places = Places::<i32>::for_keys(&[7, -3, 0, 2], None, -3, 7).unwrap();
        assert_eq!((places.low(), places.null(), places.appeared()), (-3, 11, &[10, 0, 3, 5][..]));
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
        let places = Places::for_keys(&keys, None, 1, 999).unwrap();
        assert_eq!((places.low(), places.slots()), (0, 1025));
        let keys: Vec<i8> = (-128..=127).filter(|key| key % 3 != 0).collect();
        let places = Places::for_keys(&keys, None, -128, 127).unwrap();
        assert_eq!((places.low(), places.null(), places.bounds()), (-128, 256, (-128, 127)));
        let keys: Vec<u64> = (u64::MAX - 99..=u64::MAX).filter(|key| key % 2 == 1).collect();
        let mut places = Places::for_keys(&keys, None, (u64::MAX - 98).into(), u64::MAX.into()).unwrap();
        let mut ids = Vec::new();
        assert!(places.find(&[u64::MAX, u64::MAX - 1], &mut ids) && !places.find(&[0], &mut ids));
        assert_eq!(ids, [places.null() - 1, places.null() - 2]);
        assert!(Places::for_keys(&[0_i32, 8], None, 0, 8).is_none(), "too few of the range have appeared");
    }

    #[test]
    fn firsts_are_noted_in_order_however_many_rows_are_asked_about() {
        for (rows, most) in
            [0, 1, 63, 64, 65, 127, 128, 1000, 4097].into_iter().flat_map(|rows| [(rows, 4095), (rows, 200_000)])
        {
            assert!(Places::for_keys(&[0_u32, most], None, 0, most.into()).is_none());
            let keys: Vec<u32> = (0..=most).filter(|key| key % 2 == 0 || *key == most).collect();
            let mut places = Places::for_keys(&keys, None, 0, most.into()).unwrap();
            let values: Vec<u32> = (0..rows).map(|row| row * 37 % 4096).collect();
            let mut expected = keys.clone();
            let mut is_there: std::collections::BTreeSet<u32> = keys.iter().copied().collect();
            expected.extend(values.iter().filter(|&&value| is_there.insert(value)));
            for level in simd::available() {
                places.forget();
                places.note(&keys);
                let mut ids = Vec::new();
                assert!(simd::with_level(level, || places.find(&values, &mut ids)));
                assert_eq!(ids, values);
                assert_eq!(places.appeared(), expected, "{rows} rows");
            }
        }
    }

    #[test]
    fn the_null_has_the_place_behind_the_range_whatever_lies_under_it() {
        let mut places = Places::<u64>::for_keys(&[3, 9, 1], Some(1), 1, 3).unwrap();
        assert_eq!((places.low(), places.null(), places.appeared()), (1, 3, &[2, 3, 0][..]));
        let mut ids = Vec::new();
        let nulls = NullBuffer::from(vec![true, false, true, false]);
        // Cut to 32 bits, the values under the nulls would be places; 4 would be the null's, if it counted.
        let values = [2, (1 << 32) + 1, 3, u64::MAX];
        assert!(places.find_with_nulls(&values, &nulls, &mut ids));
        assert_eq!((&ids[..], places.appeared()), (&[1, 3, 2, 3][..], &[2, 3, 0, 1][..]));
        for beyond in [0, 4, (1 << 32) + 1] {
            assert!(!places.find_with_nulls(&[beyond, 9], &NullBuffer::from(vec![true, false]), &mut ids));
        }
        assert_eq!((ids.len(), places.bounds()), (4, (1, 3)));
        let mut places = Places::<i8>::for_keys(&[0, 1], None, 0, 1).unwrap();
        assert!(places.find_with_nulls(&[1, 5, 0], &NullBuffer::from(vec![true, false, true]), &mut ids));
        assert_eq!((&ids[4..], places.appeared()), (&[1, 2, 0][..], &[0, 1, 2][..]));
        assert!(places.find(&[0, 1, 1], &mut ids));
        assert!(Places::for_keys(&[7_i32], Some(0), 0, 0).is_none(), "a null alone is no range");
    }
}
