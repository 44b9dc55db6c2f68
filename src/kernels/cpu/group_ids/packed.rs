//! Texts packed into words: those of up to 7 bytes into one, those of up to 15 into two, each with their number, so that words are the
//! same where texts are.

#![expect(clippy::cast_possible_truncation, reason = "what is left of words and lengths fits")]

use arrow_buffer::ArrowNativeType;
use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;

use crate::kernels::cpu::simd;

/// Bytes that fit a word beside their number.
pub(super) const SHORT_MAX: usize = 7;

/// Bytes that fit two words beside their number.
pub(super) const MIDDLE_MAX: usize = 15;

/// The bits of the first and of the last eight of this many bytes.
const MASKS: [[u64; 2]; MIDDLE_MAX + 1] = {
    let mut masks = [[0; 2]; MIDDLE_MAX + 1];
    let mut len = 0;
    while len <= MIDDLE_MAX {
        let all = (1_u128 << (8 * len)) - 1;
        masks[len] = [all as u64, (all >> 64) as u64];
        len += 1;
    }
    masks
};

/// The number of bytes in the place that it has in a word, for each number.
const LENGTHS: [u64; SHORT_MAX + 1] = {
    let mut lengths = [0; SHORT_MAX + 1];
    let mut len = 0;
    while len <= SHORT_MAX {
        lengths[len] = (len as u64) << 56;
        len += 1;
    }
    lengths
};

/// What long texts are packed as, and no text that has an id.
const NO_MIDDLE: [u64; 2] = [0, u64::MAX];

/// Some texts of a column.
pub(super) struct Texts<'a, O> {
    bytes: &'a [u8],
    /// Where the first one begins, and where each ends.
    ends: &'a [O],
    longest: usize,
}

impl<'a, O: ArrowNativeType> Texts<'a, O> {
    /// Those that end here, behind the start of the first one.
    pub(super) fn of(bytes: &'a [u8], ends: &'a [O]) -> Self {
        Self { bytes, ends, longest: dispatch!(simd::level(), simd => longest(simd, ends)) }
    }

    /// How many there are.
    pub(super) fn rows(&self) -> usize {
        self.ends.len().saturating_sub(1)
    }

    /// The bytes of the longest one.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Whether each fits a word.
    pub(super) fn are_short(&self) -> bool {
        self.longest <= SHORT_MAX
    }

    /// The text of this number.
    pub(super) fn get(&self, row: usize) -> &'a [u8] {
        &self.bytes[self.ends[row].as_usize()..self.ends[row + 1].as_usize()]
    }

    /// Each text as by [`pack_short`], by a load of eight bytes; none if one is long, or so many do not lie behind the last one.
    ///
    /// That no load is asked whether its bytes are there saves a third of what texts of a hundred groups take: a question for the range
    /// is two comparisons, and keeps a second way at hand.
    #[inline(always)]
    pub(super) fn words(&self) -> Option<impl Iterator<Item = u64> + use<'a, O>> {
        let (bytes, (first, ends)) = (self.bytes, self.ends.split_first()?);
        let (mut start, last) = (first.as_usize(), ends.last()?.as_usize());
        bytes.get(last..)?.first_chunk::<8>()?;
        // A map of a slice: loops over it and another slice count once.
        (self.are_short() && start <= last).then_some(ends.iter().map(move |end| {
            let (from, end) = (std::mem::replace(&mut start, end.as_usize()), end.as_usize());
            let len = end.wrapping_sub(from);
            // SAFETY: the longest text is short. What is known of the length saves an instruction of twenty.
            unsafe { std::hint::assert_unchecked(len <= SHORT_MAX) };
            let eight = bytes.as_ptr().wrapping_add(from).cast::<[u8; 8]>();
            // SAFETY: all ends are at most 7 bytes apart, and the first one does not lie behind the last: so none of them does, and
            // behind that eight bytes lie.
            word(u64::from_le_bytes(unsafe { eight.read() }), len)
        }))
    }

    /// Short texts as by [`pack_short`].
    pub(super) fn pack_words(&self, words: &mut [u64]) {
        dispatch!(simd::level(), simd => pack_all_words(simd, self, words));
    }

    /// Texts as by [`pack`]: one load of sixteen bytes each where there are so many; for a long one, what no other is packed as.
    pub(super) fn pack_pairs(&self, pairs: &mut [[u64; 2]]) {
        dispatch!(simd::level(), simd => pack_all_pairs(simd, self, pairs));
    }
}

/// The length of the longest text; of one that ends before it begins, more than any has.
#[simd]
fn longest<S: Simd, O: ArrowNativeType>(_: S, ends: &[O]) -> usize {
    let lengths =
        ends.iter().zip(ends.iter().skip(1)).map(|(start, end)| end.as_usize().wrapping_sub(start.as_usize()));
    lengths.fold(0, |longest, len| longest.max(len))
}

#[simd]
fn pack_all_words<S: Simd, O: ArrowNativeType>(_: S, texts: &Texts<'_, O>, words: &mut [u64]) {
    match texts.words() {
        Some(packed) => words.iter_mut().zip(packed).for_each(|(word, packed)| *word = packed),
        None => words.iter_mut().enumerate().for_each(|(row, word)| *word = pack_short(texts.get(row))),
    }
}

#[simd]
fn pack_all_pairs<S: Simd, O: ArrowNativeType>(_: S, texts: &Texts<'_, O>, pairs: &mut [[u64; 2]]) {
    let Texts { bytes, ends, .. } = texts;
    let Some((first, ends)) = ends.split_first() else { return };
    let mut start = first.as_usize();
    for (words, end) in pairs.iter_mut().zip(ends) {
        let len = end.as_usize() - start;
        *words = if len > MIDDLE_MAX {
            NO_MIDDLE
        } else if let Some(sixteen) = bytes[start..].first_chunk::<16>() {
            let both = u128::from_le_bytes(*sixteen);
            let [first, second] = MASKS[len];
            [both as u64 & first, (both >> 64) as u64 & second | (len as u64) << 56]
        } else {
            pack(&bytes[start..start + len])
        };
        start += len;
    }
}

/// The first ones of eight bytes, at most 7, and their number.
#[inline(always)]
fn word(eight: u64, len: usize) -> u64 {
    eight & !(u64::MAX << (8 * len as u32)) | LENGTHS[len]
}

/// Up to 7 bytes and their number as a word, different for different bytes.
#[inline]
pub(super) fn pack_short(value: &[u8]) -> u64 {
    let [word, length] = pack(value);
    word | length
}

/// Up to 15 bytes and their number as two words, different for different bytes. Without a copy of unknown length.
#[inline]
pub(super) fn pack(value: &[u8]) -> [u64; 2] {
    let len = value.len();
    let length = (len as u64) << 56;
    if let (Some(first), Some(last)) = (value.first_chunk::<8>(), value.last_chunk::<8>()) {
        // The bytes from the eighth on: those of `last` that are not in `first` already.
        let rest = (u64::from_le_bytes(*last) >> 1) >> (8 * (16 - len) - 1);
        return [u64::from_le_bytes(*first), rest | length];
    }
    if let (Some(first), Some(last)) = (value.first_chunk::<4>(), value.last_chunk::<4>()) {
        let rest = u64::from(u32::from_le_bytes(*last)) >> (8 * (8 - len));
        return [u64::from(u32::from_le_bytes(*first)) | rest << 32, length];
    }
    let word = value.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    [word, length]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_texts_packed_one_by_one_wherever_they_lie() {
        let bytes: Vec<u8> = (1..=100).chain([0, 0, 255]).collect();
        let mut ends = vec![0_i32, 0, 7, 8, 8, 10, 17, 20, 26, 31, 35];
        ends.extend((42..=i32::try_from(bytes.len()).unwrap()).step_by(6));
        // Eight bytes lie behind the last text, or fewer.
        for end in 1..=ends.len() {
            let ends = &ends[..end];
            let rows = ends.len() - 1;
            let expected: Vec<u64> =
                (0..rows).map(|row| pack_short(&bytes[ends[row].as_usize()..ends[row + 1].as_usize()])).collect();
            for level in simd::available() {
                simd::with_level(level, || {
                    let texts = Texts::of(&bytes, ends);
                    let mut words = vec![0; rows];
                    texts.pack_words(&mut words);
                    assert_eq!(words, expected);
                    let is_room_behind = rows > 0 && ends[rows].as_usize() + 8 <= bytes.len();
                    assert_eq!(texts.words().map(Iterator::collect), is_room_behind.then(|| expected.clone()));
                });
            }
        }
    }

    #[test]
    fn different_short_texts_are_different_words() {
        let texts: Vec<Vec<u8>> = (0..=SHORT_MAX)
            .flat_map(|len| [vec![0; len], vec![1; len], vec![255; len], (0..len as u8).collect()])
            .collect();
        for (one, text) in texts.iter().enumerate() {
            for other in &texts[one..] {
                assert_eq!(pack_short(text) == pack_short(other), text == other, "{text:?} {other:?}");
            }
        }
    }

    #[test]
    fn long_texts_and_ends_that_fall_are_no_words() {
        let bytes = [7; 64];
        assert!(Texts::of(&bytes, &[0_i32, 8]).words().is_none());
        assert!(Texts::of(&bytes, &[0_i32, 5, 4]).words().is_none());
        assert!(Texts::of(&bytes, &[-3_i32, 2]).words().is_none());
        assert!(Texts::of(&bytes, &[0_i64, 5, 70]).words().is_none());
        assert!(Texts::of(&bytes, &[] as &[i32]).words().is_none());
    }
}
