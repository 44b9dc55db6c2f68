//! A mark for each place of a range: a bit, so that those of a hundred thousand places lie in a first-level cache.

use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;

#[cfg(target_arch = "x86_64")]
use fearless_simd::{Avx2, SimdBase, u32x8};

use crate::kernels::cpu::simd;

/// Places that are asked about at once.
pub(super) const ASKED: usize = 32;

/// Which places have a mark.
pub(super) struct Seen(Vec<u32>);

impl Seen {
    /// No place, of so many, has one.
    pub(super) fn new(places: usize) -> Self {
        Self(vec![0; places / 32 + 1])
    }

    pub(super) fn has(&self, place: u32) -> bool {
        self.0.get((place >> 5) as usize).is_some_and(|word| word >> (place & 31) & 1 == 1)
    }

    pub(super) fn mark(&mut self, place: u32) {
        self.0[(place >> 5) as usize] |= 1 << (place & 31);
    }

    /// Where the first of the pieces of [`ASKED`] places begins that has one without a mark; their number if none has. A place behind the
    /// last word is taken for one of that word.
    pub(super) fn first_without(&self, places: &[u32]) -> usize {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = simd::level().as_avx2() {
            return first_without_by_gathers(avx2, &self.0, places);
        }
        dispatch!(simd::level(), simd => first_without(simd, &self.0, places))
    }
}

#[simd]
fn first_without<S: Simd>(_: S, words: &[u32], places: &[u32]) -> usize {
    whole_pieces(places, |piece| are_marked(words, piece))
}

/// How many places the first pieces have of which this says that all have a mark.
#[inline(always)]
fn whole_pieces(places: &[u32], are_marked: impl Fn(&[u32]) -> bool) -> usize {
    let unmarked = places.chunks(ASKED).position(|piece| !are_marked(piece));
    unmarked.map_or(places.len(), |piece| piece * ASKED)
}

#[inline(always)]
fn are_marked(words: &[u32], piece: &[u32]) -> bool {
    let last = words.len() - 1;
    let mark = |&place: &u32| words[((place >> 5) as usize).min(last)] >> (place & 31);
    piece.iter().map(mark).fold(1, |all, mark| all & mark) == 1
}

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    /// Eight words at once. Measured with 100,000 places: 0.32 ns a place instead of 0.57.
    fn first_without_by_gathers(avx2: Avx2, words: &[u32], places: &[u32]) -> usize {
        whole_pieces(places, |piece| {
            let (eights, rest) = piece.as_chunks::<8>();
            let mut all = u32x8::splat(avx2, 1);
            for eight in eights {
                all = marks(avx2, words, u32x8::load_array_ref(avx2, eight), all);
            }
            all.to_array() == [1; 8] && are_marked(words, rest)
        })
    }
);

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    /// Of these bits those that are set in the marks of the places.
    #[inline(always)]
    fn marks(avx2: Avx2, words: &[u32], places: u32x8<Avx2>, bits: u32x8<Avx2>) -> u32x8<Avx2> {
        use core::arch::x86_64::{
            _mm256_and_si256, _mm256_i32gather_epi32, _mm256_min_epu32, _mm256_set1_epi32, _mm256_srli_epi32,
            _mm256_srlv_epi32,
        };
        let last = _mm256_set1_epi32(i32::try_from(words.len() - 1).unwrap_or(i32::MAX));
        let at = _mm256_min_epu32(_mm256_srli_epi32::<5>(places.into()), last);
        // SAFETY: there is a word at least, and each is looked for where the last one lies, or before it.
        let words = unsafe { _mm256_i32gather_epi32::<4>(words.as_ptr().cast(), at) };
        let shifts = _mm256_and_si256(places.into(), _mm256_set1_epi32(31));
        fearless_simd::SimdInto::simd_into(_mm256_and_si256(_mm256_srlv_epi32(words, shifts), bits.into()), avx2)
    }
);
