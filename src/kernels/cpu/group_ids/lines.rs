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

use fearless_simd::{Bytes, Simd, SimdBase, SimdMask, dispatch, u32x16, u64x8};
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
    /// How many slots are taken.
    fn taken<S: Simd>(&self, simd: S) -> usize;
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
    fn taken<S: Simd>(&self, simd: S) -> usize {
        taken::<S, 8>(u32x16::load_array_ref(simd, &self.0))
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
    fn taken<S: Simd>(&self, simd: S) -> usize {
        taken::<S, 10>(u64x8::load_array_ref(simd, &self.0).bitcast())
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
    fn taken<S: Simd>(&self, simd: S) -> usize {
        taken::<S, 12>(u64x8::load_array_ref(simd, &self.0).bitcast())
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

/// How many of the halves of words from `FIRST` on are ids.
#[inline(always)]
fn taken<S: Simd, const FIRST: u32>(line: u32x16<S>) -> usize {
    (u16::BITS - FIRST - (line.simd_eq(NONE).to_bitmask() >> FIRST).count_ones()) as usize
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

/// If more than one key in so many has no id by the first look, most of these are new, and whoever inserts them looks again anyway.
const FEW_ELSEWHERE: usize = 8;

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
        dispatch!(simd::level(), simd => find_or_insert(simd, self, key, next))
    }

    /// Gives those of the keys that lie in these rows their ids; those that were not there get `next` and the ids after it, in the
    /// order of `rows`. Says how many these are.
    pub(super) fn find_or_insert_all(&mut self, keys: &[W], rows: &[u8], ids: &mut [u32], next: u32) -> usize {
        dispatch!(simd::level(), simd => find_or_insert_all(simd, self, keys, rows, ids, next))
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

#[simd]
fn find_or_insert<S: Simd, W: Word>(simd: S, lines: &mut Lines<W>, key: W, next: u32) -> Option<u32> {
    let (mask, mut place) = (lines.lines.len() - 1, lines.place(key));
    loop {
        let line = &mut lines.lines[place & mask];
        // How many keys a line has cannot be foretold: all slots are looked at.
        let taken = line.taken(simd);
        let same = line.same(simd, key) & ((1 << taken) - 1);
        if same != 0 {
            return Some(line.id(same.trailing_zeros() as usize));
        }
        if taken < W::Line::KEYS {
            line.put(taken, key, next);
            return None;
        }
        place += 1;
    }
}

#[simd]
fn find_or_insert_all<S: Simd, W: Word>(
    simd: S,
    lines: &mut Lines<W>,
    keys: &[W],
    rows: &[u8],
    ids: &mut [u32],
    next: u32,
) -> usize {
    let mut new = 0;
    for row in rows.iter().copied().map(usize::from) {
        let id = next + new;
        let found = find_or_insert(simd, lines, keys[row], id);
        ids[row] = found.unwrap_or(id);
        new += u32::from(found.is_none());
    }
    new as usize
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
    if count * FEW_ELSEWHERE > keys.len() {
        return true;
    }
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
            // Where many are new, those that lie in other lines are left to whoever inserts.
            assert!(ids.iter().zip(0..).all(|(&id, key)| id == NONE || id == key && key < keys.len() as u32));
            // Few elsewhere are found: the last ones of a full line among those of others.
            let (near, far) = (keys.iter().position(|key| lines.place(*key) != lines.place(keys[0])), keys.len() - 1);
            let near = near.unwrap_or(0);
            let mut some = vec![keys[near]; 64];
            (some[7], some[63]) = (keys[far], keys[0]);
            let expected = some.iter().map(|key| keys.iter().position(|one| one == key).unwrap() as u32);
            let expected: Vec<u32> = expected.collect();
            let found = &mut ids[..64];
            assert!(!lines.find_all(&some, found));
            assert_eq!(found, expected);
            some[9] = absent[0];
            assert!(lines.find_all(&some, found));
            assert!(
                found
                    .iter()
                    .zip(&expected)
                    .enumerate()
                    .all(|(row, (id, key))| id == key && row != 9 || row == 9 && *id == NONE)
            );
            let mut found: Vec<(u64, u32)> = lines.all().collect();
            found.sort_by_key(|(_, id)| *id);
            assert_eq!(found, keys.iter().copied().zip(0..).collect::<Vec<_>>());
            lines.clear();
            assert_eq!(lines.all().count(), 0);
            assert!(lines.find_all(&keys, &mut ids[..keys.len()]) && ids[..keys.len()].iter().all(|&id| id == NONE));
        }
    }

    #[test]
    fn keys_that_are_inserted_together_are_those_inserted_one_by_one() {
        fn check<W: Word>(key: impl Fn(u64) -> W) {
            let keys: Vec<W> = (0..AT_ONCE as u64).map(|row| key(row * row % 97)).collect();
            let rows: Vec<u8> = (0..AT_ONCE as u8).filter(|row| row % 5 != 3).collect();
            for level in simd::available() {
                simd::with_level(level, || {
                    let (mut together, mut alone) = (Lines::<W>::for_keys(200), Lines::<W>::for_keys(200));
                    for already in (0..40).map(|number| key(3 * number)) {
                        assert_eq!(together.find_or_insert(already, 7), alone.find_or_insert(already, 7));
                    }
                    let (mut ids, mut expected, mut next) = ([NONE; AT_ONCE], [NONE; AT_ONCE], 1000);
                    for row in rows.iter().copied().map(usize::from) {
                        let found = alone.find_or_insert(keys[row], next);
                        expected[row] = found.unwrap_or(next);
                        next += u32::from(found.is_none());
                    }
                    assert_eq!(together.find_or_insert_all(&keys, &rows, &mut ids, 1000), next as usize - 1000);
                    assert_eq!(ids, expected);
                    assert!(together.all().eq(alone.all()));
                });
            }
        }
        check(|number| number as u32);
        check(|number| number << 40);
        check(|number| [number % 7, number]);
    }

    #[test]
    fn a_line_of_each_kind_of_key_is_a_line_of_the_cache() {
        assert_eq!([size_of::<<u32 as Word>::Line>(), align_of::<<u32 as Word>::Line>()], [64; 2]);
        assert_eq!([size_of::<<u64 as Word>::Line>(), align_of::<<u64 as Word>::Line>()], [64; 2]);
        assert_eq!([size_of::<<[u64; 2] as Word>::Line>(), align_of::<<[u64; 2] as Word>::Line>()], [64; 2]);
    }
}
