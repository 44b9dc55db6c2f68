//! Answers of a test on every row, as a bitmap: 64 tests into bytes, which compilers turn into vector code, then 8
//! bytes into 8 bits by one multiplication. Comparisons of numbers have a form of their own, `vectors`.

use arrow_buffer::{BooleanBuffer, Buffer};

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
