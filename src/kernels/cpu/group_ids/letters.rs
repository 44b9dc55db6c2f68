//! Ids of texts of one byte at most, as flags and codes often are: the byte says where the id lies, and nothing is hashed.

use arrow_buffer::ArrowNativeType;
use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;

use super::table::NONE;
use crate::kernels::cpu::simd;

/// Bytes of a text that has an id here.
pub(super) const LETTER_MAX: usize = 1;

/// Places: the empty text's, one for each byte, and more that nobody asks for, so that a place needs no check.
const PLACES: usize = 512;

/// The id of each text of one byte at most, [`NONE`] for one that has not been met here.
pub(super) struct Letters(Box<[u32; PLACES]>);

/// Where the id of a text lies that begins at `start` and is `len` bytes long.
#[inline(always)]
fn place(bytes: &[u8], start: usize, len: usize) -> usize {
    let byte = bytes.get(start).map_or(0, |&byte| usize::from(byte));
    ((byte + 1) * len) % PLACES
}

#[simd]
fn find_each<S: Simd, O: ArrowNativeType>(
    _: S,
    bytes: &[u8],
    ends: &[O],
    letters: &[u32; PLACES],
    ids: &mut [u32],
) -> bool {
    let Some((first, ends)) = ends.split_first() else { return false };
    let (mut start, mut largest) = (first.as_usize(), 0);
    for (id, end) in ids.iter_mut().zip(ends) {
        let len = end.as_usize() - start;
        *id = letters[place(bytes, start, len)];
        largest = largest.max(*id);
        start += len;
    }
    largest == NONE
}

/// With so many groups or fewer, rows are compared with all of them.
pub(super) const GROUPS_MAX: usize = 8;

/// Appends the id of each row, which is the place of its two letters among those of the groups, none where others stand
/// for a group; false, and anything there, if a row has other letters.
pub(super) fn find_pairs(
    (firsts, lasts): (&[u8], &[u8]),
    groups: impl Iterator<Item = Option<(u8, u8)>> + Clone,
    ids: &mut Vec<u32>,
) -> bool {
    let before = ids.len();
    ids.resize(before + firsts.len(), 0);
    let mut found = [0; PIECE];
    let pieces = firsts.chunks(PIECE).zip(lasts.chunks(PIECE)).zip(ids[before..].chunks_mut(PIECE));
    for ((firsts, lasts), ids) in pieces {
        let found = &mut found[..firsts.len()];
        found.fill(u8::MAX);
        for (id, letters) in (0..).zip(groups.clone()) {
            if let Some(letters) = letters {
                dispatch!(simd::level(), simd => mark(simd, firsts, lasts, letters, id, found));
            }
        }
        if !dispatch!(simd::level(), simd => widen(simd, found, ids)) {
            return false;
        }
    }
    true
}

/// Rows that are compared at once: they stay in a first-level cache until all groups have been asked.
const PIECE: usize = 2048;

/// Writes the id where the letters stand.
#[simd]
fn mark<S: Simd>(_: S, firsts: &[u8], lasts: &[u8], (first, last): (u8, u8), id: u8, found: &mut [u8]) {
    for ((found, &a), &b) in found.iter_mut().zip(firsts).zip(lasts) {
        *found = if (a == first) & (b == last) { id } else { *found };
    }
}

/// The ids as they are used; false if there is one that is none.
#[simd]
fn widen<S: Simd>(_: S, found: &[u8], ids: &mut [u32]) -> bool {
    for (id, &found) in ids.iter_mut().zip(found) {
        *id = found.into();
    }
    found.iter().fold(0, |all, &found| all | found) != u8::MAX
}

impl Letters {
    pub(super) fn new() -> Self {
        Self(Box::new([NONE; PLACES]))
    }

    /// The id of each text, whose ends in `bytes` these are, behind the start of the first one; says whether one has none.
    pub(super) fn find_all<O: ArrowNativeType>(&self, bytes: &[u8], ends: &[O], ids: &mut [u32]) -> bool {
        dispatch!(simd::level(), simd => find_each(simd, bytes, ends, &self.0, ids))
    }

    /// Remembers the id of a text.
    pub(super) fn set(&mut self, text: &[u8], id: u32) {
        self.0[place(text, 0, text.len())] = id;
    }

    pub(super) fn clear(&mut self) {
        self.0.fill(NONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_the_empty_text_have_places_of_their_own() {
        let mut letters = Letters::new();
        letters.set(b"", 1000);
        (0..=255).for_each(|byte: u8| letters.set(&[byte], byte.into()));
        let bytes: Vec<u8> = (0..=255).collect();
        // An empty text in the beginning, in the middle and behind the last byte.
        let ends: Vec<i32> = [0, 0].into_iter().chain(1..=100).chain([100]).chain(101..=256).chain([256]).collect();
        let mut ids = vec![0; ends.len() - 1];
        assert!(!letters.find_all(&bytes, &ends, &mut ids));
        let expected = std::iter::once(1000).chain(0..100).chain([1000]).chain(100..256).chain([1000]);
        assert_eq!(ids, expected.collect::<Vec<u32>>());
        letters.clear();
        assert!(letters.find_all(&bytes, &ends[..3], &mut ids[..2]));
        assert_eq!(ids[..2], [NONE; 2]);
        assert!(!letters.find_all::<i32>(&[], &[], &mut []));
    }
}
