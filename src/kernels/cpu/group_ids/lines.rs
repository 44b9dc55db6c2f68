//! A table of thousands of keys: each line of the cache holds several of them and their ids, so that one line mostly says whether a
//! key is there.
//!
//! Where a look waits for the memory, what counts is how many lines it touches and how many there are. Keys that may lie in any
//! slot of their line leave few lines full, although these are filled to a half and more; a key whose line is full lies in the
//! next one that is not. (Buckets of the size of a line, as in "Hash Join on modern processors", Shatdal et al., 1994,
//! and S. Richter, V. Alvarez and J. Dittrich, "A Seven-Dimensional Analysis of Hashing Methods", 2015.) Measured with
//! 100,000 short texts: five sixths of the time of a reduce by them with slots of one key each, filled to three eighths.

#![expect(clippy::cast_possible_truncation, reason = "a hash is cut to the bits that a table has")]

use std::fmt::Debug;

use fearless_simd::{Simd, SimdBase, SimdMask, dispatch, u32x16, u64x8};
use fearless_simd_macros::simd;

use super::table::{AT_ONCE, NONE, Word, list_each_none};
use crate::kernels::cpu::prefetch::prefetch_behind;
use crate::kernels::cpu::simd;

/// Some keys and their ids: as many as fit a line. Slots are taken from the first one on; one that is free has no id.
pub(super) trait Line<W>: Copy + Debug + Send + Sync {
    /// How many.
    const KEYS: usize;
    /// A line without any.
    const FREE: Self;

    /// A bit for each slot that holds the key, the lowest for the first. Free slots may hold any.
    fn same<S: Simd>(&self, simd: S, key: W) -> u64;
    fn key(&self, slot: usize) -> W;
    /// The id in a slot; [`NONE`] behind the last one.
    fn id(&self, slot: usize) -> u32;
    /// Takes a slot.
    fn put(&mut self, slot: usize, key: W, id: u32);

    /// The id of a key, [`NONE`] if it is not here.
    #[inline(always)]
    fn find<S: Simd>(&self, simd: S, key: W) -> u32 {
        // Before a free slot that seems to hold the key lies the one that does. The one behind the last stops all others.
        self.id(((self.same(simd, key) & ((1 << Self::KEYS) - 1)) | 1 << Self::KEYS).trailing_zeros() as usize)
    }

    #[inline(always)]
    fn is_full(&self) -> bool {
        self.id(Self::KEYS - 1) != NONE
    }
}

/// Seven keys and eight ids, of which the last is none.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct LineOf32([u32; 16]);

impl Line<u32> for LineOf32 {
    const KEYS: usize = 7;
    const FREE: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE]);

    #[inline(always)]
    fn same<S: Simd>(&self, simd: S, key: u32) -> u64 {
        u32x16::load_array_ref(simd, &self.0).simd_eq(key).to_bitmask()
    }

    #[inline(always)]
    fn key(&self, slot: usize) -> u32 {
        self.0[slot]
    }

    #[inline(always)]
    fn id(&self, slot: usize) -> u32 {
        self.0[8 + (slot & 7)]
    }

    #[inline(always)]
    fn put(&mut self, slot: usize, key: u32, id: u32) {
        (self.0[slot], self.0[8 + slot]) = (key, id);
    }
}

/// Five keys of a word each, and six ids, of which the last is none.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct LineOf64([u64; 8]);

impl Line<u64> for LineOf64 {
    const KEYS: usize = 5;
    const FREE: Self = Self([0, 0, 0, 0, 0, u64::MAX, u64::MAX, u64::MAX]);

    #[inline(always)]
    fn same<S: Simd>(&self, simd: S, key: u64) -> u64 {
        u64x8::load_array_ref(simd, &self.0).simd_eq(key).to_bitmask()
    }

    #[inline(always)]
    fn key(&self, slot: usize) -> u64 {
        self.0[slot]
    }

    #[inline(always)]
    fn id(&self, slot: usize) -> u32 {
        half(self.0[(5 + slot / 2) & 7], slot)
    }

    #[inline(always)]
    fn put(&mut self, slot: usize, key: u64, id: u32) {
        self.0[slot] = key;
        put_half(&mut self.0[5 + slot / 2], slot, id);
    }
}

/// Three keys of two words each, first all first words, and four ids, of which the last is none.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct LineOf128([u64; 8]);

impl Line<[u64; 2]> for LineOf128 {
    const KEYS: usize = 3;
    const FREE: Self = Self([0, 0, 0, 0, 0, 0, u64::MAX, u64::MAX]);

    #[inline(always)]
    fn same<S: Simd>(&self, simd: S, key: [u64; 2]) -> u64 {
        let line = u64x8::load_array_ref(simd, &self.0);
        line.simd_eq(key[0]).to_bitmask() & line.simd_eq(key[1]).to_bitmask() >> 3
    }

    #[inline(always)]
    fn key(&self, slot: usize) -> [u64; 2] {
        [self.0[slot], self.0[3 + slot]]
    }

    #[inline(always)]
    fn id(&self, slot: usize) -> u32 {
        half(self.0[(6 + slot / 2) & 7], slot)
    }

    #[inline(always)]
    fn put(&mut self, slot: usize, key: [u64; 2], id: u32) {
        [self.0[slot], self.0[3 + slot]] = key;
        put_half(&mut self.0[6 + slot / 2], slot, id);
    }
}

/// The id of a slot, two of which share a word.
#[inline(always)]
fn half(word: u64, slot: usize) -> u32 {
    (word >> (32 * (slot & 1))) as u32
}

#[inline(always)]
fn put_half(word: &mut u64, slot: usize, id: u32) {
    let shift = 32 * (slot & 1);
    *word = *word & !(u64::from(u32::MAX) << shift) | u64::from(id) << shift;
}

/// Keys whose lines are asked for before the one that is looked for.
const AHEAD: usize = 32;

/// Keys and their ids.
#[derive(Debug, Clone)]
pub(super) struct Lines<W: Word> {
    /// A power of two of them.
    lines: Vec<W::Line>,
    /// Where in a hash the bits lie that say in which line to look first.
    shift: u32,
}

impl<W: Word> Lines<W> {
    /// Room for so many keys, and for twice as many at most.
    pub(super) fn for_keys(keys: usize) -> Self {
        let mut lines = keys.div_ceil(W::Line::KEYS).next_power_of_two().max(2);
        while most_keys::<W>(lines) < keys {
            lines *= 2;
        }
        Self { lines: vec![W::Line::FREE; lines], shift: u64::BITS - lines.trailing_zeros() }
    }

    /// How many keys there may be.
    pub(super) fn most(&self) -> usize {
        most_keys::<W>(self.lines.len())
    }

    #[inline(always)]
    fn place(&self, key: W) -> usize {
        (key.hash() >> self.shift) as usize & (self.lines.len() - 1)
    }

    /// As [`super::table::Table::find_all`].
    pub(super) fn find_all(&self, keys: &[W], ids: &mut [u32]) -> bool {
        dispatch!(simd::level(), simd => find_all(simd, self, keys, ids))
    }

    /// The id of a key; none, and its id is `next` from now on, if it was not there.
    #[inline]
    pub(super) fn find_or_insert(&mut self, key: W, next: u32) -> Option<u32> {
        let mask = self.lines.len() - 1;
        let mut place = self.place(key);
        loop {
            let line = &mut self.lines[place & mask];
            // How many keys a line has cannot be foretold: all slots are looked at.
            let (mut found, mut taken) = (NONE, 0);
            for slot in 0..W::Line::KEYS {
                let id = line.id(slot);
                found &= id | 0_u32.wrapping_sub(u32::from(line.key(slot) != key));
                taken += usize::from(id != NONE);
            }
            if found != NONE {
                return Some(found);
            }
            if taken < W::Line::KEYS {
                line.put(taken, key, next);
                return None;
            }
            place += 1;
        }
    }

    /// All keys and their ids.
    pub(super) fn all(&self) -> impl Iterator<Item = (W, u32)> {
        let of_line = |line: &W::Line| {
            let line = *line;
            (0..W::Line::KEYS).map(move |slot| (line.key(slot), line.id(slot))).filter(|(_, id)| *id != NONE)
        };
        self.lines.iter().flat_map(of_line)
    }

    /// Forgets all keys.
    pub(super) fn clear(&mut self) {
        self.lines.fill(W::Line::FREE);
    }
}

/// First all are looked for where their hashes say, without a branch that hangs on the data, so that many looks into memory are
/// under way at once; then those that were not there one line further on, and so on.
#[simd]
fn find_all<S: Simd, W: Word>(simd: S, lines: &Lines<W>, keys: &[W], ids: &mut [u32]) -> bool {
    let mut places = [0_u32; AT_ONCE + AHEAD];
    find_first(simd, lines, keys, ids, &mut places);
    let mask = lines.lines.len() - 1;
    let mut rows = [0_u8; AT_ONCE];
    let mut count = list_each_none(simd, ids, &mut rows);
    let mut is_new = false;
    for step in 0.. {
        let mut left = 0;
        for looked in 0..count {
            let row = usize::from(rows[looked]);
            let line = &lines.lines[(places[row] as usize + step) & mask];
            let (id, is_full) = (line.find(simd, keys[row]), line.is_full());
            ids[row] = id;
            is_new |= (id == NONE) & !is_full;
            rows[left] = rows[looked];
            left += usize::from((id == NONE) & is_full);
        }
        if left == 0 {
            break;
        }
        count = left;
    }
    is_new
}

/// The id of each key that lies in the line that its hash says, [`NONE`] for the others. All places are computed first, so that each
/// line is asked for some time before.
#[inline(always)]
fn find_first<S: Simd, W: Word>(
    simd: S,
    lines: &Lines<W>,
    keys: &[W],
    ids: &mut [u32],
    places: &mut [u32; AT_ONCE + AHEAD],
) {
    let mask = lines.lines.len() - 1;
    for (place, &key) in places.iter_mut().zip(keys) {
        *place = lines.place(key) as u32;
    }
    let ask = |place: u32| prefetch_behind(&lines.lines, place as usize, 1);
    places[..AHEAD].iter().copied().for_each(ask);
    for (((id, &key), &place), &next) in ids.iter_mut().zip(keys).zip(&places[..]).zip(&places[AHEAD..]) {
        ask(next);
        *id = lines.lines[place as usize & mask].find(simd, key);
    }
}

/// How many keys so many lines may have: with five a line, one key in twenty lies in another line than its own then.
fn most_keys<W: Word>(lines: usize) -> usize {
    lines * W::Line::KEYS * 5 / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys whose hashes say the same line as that of `first`, or one of the last three.
    fn crowded(lines: &Lines<u64>, first: u64) -> Vec<u64> {
        let (place, last) = (lines.place(first), lines.lines.len() - 3);
        (first..).filter(|&key| lines.place(key) == place || lines.place(key) >= last).take(23).collect()
    }

    #[test]
    fn keys_of_a_full_line_lie_in_the_next_ones_also_around_the_end() {
        for first in [0, 1, 77] {
            let mut lines = Lines::<u64>::for_keys(100);
            let keys = crowded(&lines, first);
            for (id, &key) in (0..).zip(&keys) {
                assert_eq!(lines.find_or_insert(key, id), None);
                assert_eq!(lines.find_or_insert(key, NONE - 1), Some(id));
            }
            let absent: Vec<u64> = (first..).filter(|key| !keys.contains(key)).take(AT_ONCE - keys.len()).collect();
            let all: Vec<u64> = keys.iter().chain(&absent).copied().collect();
            let mut ids = vec![0; all.len()];
            assert!(lines.find_all(&all, &mut ids));
            let expected = (0..).take(keys.len()).chain(std::iter::repeat_n(NONE, absent.len()));
            assert_eq!(ids, expected.collect::<Vec<u32>>());
            assert!(!lines.find_all(&keys, &mut ids[..keys.len()]));
            let mut found: Vec<(u64, u32)> = lines.all().collect();
            found.sort_by_key(|(_, id)| *id);
            assert_eq!(found, keys.iter().copied().zip(0..).collect::<Vec<_>>());
            lines.clear();
            assert_eq!(lines.all().count(), 0);
            assert!(lines.find_all(&keys, &mut ids[..keys.len()]) && ids[..keys.len()].iter().all(|&id| id == NONE));
        }
    }

    #[test]
    fn a_line_of_each_kind_of_key_is_a_line_of_the_cache() {
        assert_eq!([size_of::<<u32 as Word>::Line>(), align_of::<<u32 as Word>::Line>()], [64; 2]);
        assert_eq!([size_of::<<u64 as Word>::Line>(), align_of::<<u64 as Word>::Line>()], [64; 2]);
        assert_eq!([size_of::<<[u64; 2] as Word>::Line>(), align_of::<<[u64; 2] as Word>::Line>()], [64; 2]);
    }
}
