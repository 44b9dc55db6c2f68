//! Comparisons of numbers in vector registers: whole vectors are compared, and each mask is some bits of a word.
//!
//! Compilers make of 64 comparisons and shifts what they make of them; with AVX2 that was twice as many instructions, through
//! memory.

use arrow_buffer::{BooleanBuffer, Buffer};
use fearless_simd::{Simd, SimdBase, SimdMask, dispatch};
use fearless_simd_macros::simd;

use super::bits::{test_each, test_pairs};
use super::native::Ordered;
use crate::kernels::cpu::simd;

/// Rows of a word of answers.
const WORD_ROWS: usize = 64;

/// What is asked of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Same,
    Below,
}

/// Two values for each row, of which one may be the same for all.
pub(super) enum Pairs<'a, N> {
    Each(&'a [N], &'a [N]),
    RightConstant(&'a [N], N),
    LeftConstant(N, &'a [N]),
}

/// A native type that can be compared.
pub(super) trait Compared: Ordered {
    /// The answer for each row, a bit.
    fn compare(question: Question, pairs: &Pairs<'_, Self>) -> BooleanBuffer;
}

macro_rules! vectors {
    ($($native:ty, $vector:ident);*) => { $(impl Compared for $native {
        fn compare(question: Question, pairs: &Pairs<'_, Self>) -> BooleanBuffer {
            #[simd]
            fn run<S: Simd>(
                simd: S,
                question: Question,
                pairs: &Pairs<'_, $native>,
                        ) -> BooleanBuffer {
                match question {
                    Question::Same => compare::<S, S::$vector>(simd, pairs, same, <$native>::same),
                    Question::Below => compare::<S, S::$vector>(simd, pairs, below, <$native>::below),
                }
            }
            dispatch!(simd::level(), simd => run(simd, question, pairs))
        }
    })* };
}

vectors!(i8, i8s; i16, i16s; i32, i32s; i64, i64s; u8, u8s; u16, u16s; u32, u32s; u64, u64s; f32, f32s; f64, f64s);

/// No vector has lanes of this width.
impl Compared for i128 {
    fn compare(question: Question, pairs: &Pairs<'_, Self>) -> BooleanBuffer {
        let test = if question == Question::Same { Self::same } else { Self::below };
        match *pairs {
            Pairs::Each(left, right) => test_pairs(left, right, test),
            Pairs::RightConstant(left, right) => test_each(left, |left| test(left, right)),
            Pairs::LeftConstant(left, right) => test_each(right, |right| test(left, right)),
        }
    }
}

/// Where the lanes are equal: as [`Ordered::same`]. Only what is not a number differs from itself.
#[inline(always)]
fn same<S: Simd, V: SimdBase<S>>(left: V, right: V) -> V::Mask {
    left.simd_eq(right) | (left.simd_ne(left) & right.simd_ne(right))
}

/// Where the left lane is less: as [`Ordered::below`].
#[inline(always)]
fn below<S: Simd, V: SimdBase<S>>(left: V, right: V) -> V::Mask {
    left.simd_lt(right) | (left.simd_eq(left) & right.simd_ne(right))
}

#[inline(always)]
fn compare<S: Simd, V: SimdBase<S>>(
    simd: S,
    pairs: &Pairs<'_, V::Element>,
    ask: impl Fn(V, V) -> V::Mask,
    ask_one: impl Fn(V::Element, V::Element) -> bool,
) -> BooleanBuffer {
    match *pairs {
        Pairs::Each(left, right) => {
            let (left_chunks, left_rest) = left.as_chunks::<WORD_ROWS>();
            let (right_chunks, right_rest) = right.as_chunks::<WORD_ROWS>();
            let words = left_chunks.iter().zip(right_chunks).map(|(left, right)| {
                let parts = left.chunks_exact(V::LEN).zip(right.chunks_exact(V::LEN));
                word::<S, V>(parts.map(|(left, right)| ask(V::from_slice(simd, left), V::from_slice(simd, right))))
            });
            let rest = left_rest.iter().zip(right_rest).map(|(&left, &right)| ask_one(left, right));
            bits(words, rest, left.len())
        }
        Pairs::RightConstant(left, right) => {
            let constant = V::splat(simd, right);
            each::<S, V>(simd, left, |left| ask(left, constant), |left| ask_one(left, right))
        }
        Pairs::LeftConstant(left, right) => {
            let constant = V::splat(simd, left);
            each::<S, V>(simd, right, |right| ask(constant, right), |right| ask_one(left, right))
        }
    }
}

#[inline(always)]
fn each<S: Simd, V: SimdBase<S>>(
    simd: S,
    values: &[V::Element],
    ask: impl Fn(V) -> V::Mask,
    ask_one: impl Fn(V::Element) -> bool,
) -> BooleanBuffer {
    let (chunks, rest) = values.as_chunks::<WORD_ROWS>();
    let words =
        chunks.iter().map(|chunk| word::<S, V>(chunk.chunks_exact(V::LEN).map(|part| ask(V::from_slice(simd, part)))));
    bits(words, rest.iter().map(|&value| ask_one(value)), values.len())
}

/// The bits of masks, one behind another.
#[inline(always)]
fn word<S: Simd, V: SimdBase<S>>(masks: impl Iterator<Item = V::Mask>) -> u64 {
    masks.enumerate().fold(0, |word, (part, mask)| word | mask.to_bitmask() << (part * V::LEN))
}

/// A bitmap of whole words, and what is left.
#[inline(always)]
fn bits(words: impl Iterator<Item = u64>, rest: impl Iterator<Item = bool>, len: usize) -> BooleanBuffer {
    // Written into place: pushing may ask for memory, and what is at hand would be put aside for that.
    let mut bits = vec![0; len.div_ceil(WORD_ROWS)];
    bits.iter_mut().zip(words).for_each(|(slot, word)| *slot = word);
    if let Some(last) = bits.last_mut().filter(|_| !len.is_multiple_of(WORD_ROWS)) {
        *last = rest.enumerate().fold(0, |word, (index, bit)| word | u64::from(bit) << index);
    }
    BooleanBuffer::new(Buffer::from_vec(bits), 0, len)
}
