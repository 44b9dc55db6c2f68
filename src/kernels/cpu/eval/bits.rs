//! Answers of a test on every row, as a bitmap: 64 tests into bytes, which compilers turn into vector code, then 8
//! bytes into 8 bits by one multiplication.
//!
//! Comparisons of numbers have another form for AVX-512 and AVX2: each answer is shifted to its place, which becomes a
//! comparison into a mask register, five to eight times as fast. Without these levels that form is no faster.

use arrow_buffer::{BooleanBuffer, Buffer};

use crate::kernels::cpu::simd::compiled_for;

/// As [`test_each`], for a test of a few instructions.
pub(crate) fn compare_each<A: Copy>(values: &[A], test: impl Fn(A) -> bool) -> BooleanBuffer {
    compiled_for!([as_avx512, as_avx2], shift_each(values, test), else test_each(values, test))
}

/// As [`test_pairs`], for a test of a few instructions.
pub(crate) fn compare_pairs<A: Copy>(left: &[A], right: &[A], test: impl Fn(A, A) -> bool) -> BooleanBuffer {
    compiled_for!([as_avx512, as_avx2], shift_pairs(left, right, test), else test_pairs(left, right, test))
}

#[inline(always)]
fn shift_each<A: Copy>(values: &[A], test: impl Fn(A) -> bool) -> BooleanBuffer {
    let (chunks, rest) = values.as_chunks::<64>();
    let mut bits = Vec::with_capacity(values.len().div_ceil(64));
    for chunk in chunks {
        let mut word = 0;
        for (place, value) in chunk.iter().enumerate() {
            word |= u64::from(test(*value)) << place;
        }
        bits.push(word);
    }
    finish(bits, rest.iter().map(|value| test(*value)), values.len())
}

#[inline(always)]
fn shift_pairs<A: Copy>(left: &[A], right: &[A], test: impl Fn(A, A) -> bool) -> BooleanBuffer {
    let (left_chunks, left_rest) = left.as_chunks::<64>();
    let (right_chunks, right_rest) = right.as_chunks::<64>();
    let mut bits = Vec::with_capacity(left.len().div_ceil(64));
    for (left, right) in left_chunks.iter().zip(right_chunks) {
        let mut word = 0;
        for (place, (left, right)) in left.iter().zip(right).enumerate() {
            word |= u64::from(test(*left, *right)) << place;
        }
        bits.push(word);
    }
    finish(bits, left_rest.iter().zip(right_rest).map(|(left, right)| test(*left, *right)), left.len())
}

/// One bit for each value.
pub(crate) fn test_each<A: Copy>(values: &[A], test: impl Fn(A) -> bool) -> BooleanBuffer {
    let (chunks, rest) = values.as_chunks::<64>();
    let mut bits = Vec::with_capacity(values.len().div_ceil(64));
    bits.extend(chunks.iter().map(|chunk| {
        let mut bytes = [0; 64];
        for (byte, value) in bytes.iter_mut().zip(chunk) {
            *byte = u8::from(test(*value));
        }
        gather(&bytes)
    }));
    finish(bits, rest.iter().map(|value| test(*value)), values.len())
}

/// One bit for each pair of values; both sides are equally long.
pub(crate) fn test_pairs<A: Copy>(left: &[A], right: &[A], test: impl Fn(A, A) -> bool) -> BooleanBuffer {
    let (left_chunks, left_rest) = left.as_chunks::<64>();
    let (right_chunks, right_rest) = right.as_chunks::<64>();
    let mut bits = Vec::with_capacity(left.len().div_ceil(64));
    bits.extend(left_chunks.iter().zip(right_chunks).map(|(left, right)| {
        let mut bytes = [0; 64];
        for (byte, (left, right)) in bytes.iter_mut().zip(left.iter().zip(right)) {
            *byte = u8::from(test(*left, *right));
        }
        gather(&bytes)
    }));
    finish(bits, left_rest.iter().zip(right_rest).map(|(left, right)| test(*left, *right)), left.len())
}

/// A bitmap of whole words and what is left of the last one.
fn finish(mut bits: Vec<u64>, rest: impl Iterator<Item = bool>, len: usize) -> BooleanBuffer {
    let last = rest.enumerate().fold(0, |word, (index, bit)| word | u64::from(bit) << index);
    if !len.is_multiple_of(64) {
        bits.push(last);
    }
    BooleanBuffer::new(Buffer::from_vec(bits), 0, len)
}

/// The lowest bit of each byte, one after another.
fn gather(bytes: &[u8; 64]) -> u64 {
    /// Moves the lowest bit of byte `i` to bit `56 + i`, without carries.
    const MOVE: u64 = 0x0102_0408_1020_4080;
    let (eights, _) = bytes.as_chunks::<8>();
    eights.iter().enumerate().fold(0, |word, (index, eight)| {
        let bits = u64::from_le_bytes(*eight).wrapping_mul(MOVE) >> 56;
        word | bits << (8 * index)
    })
}
