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
