//! Bits of the kept rows: Booleans and the validity of every other type.

use arrow_buffer::{BooleanBuffer, Buffer};

use super::mask::Picker;

/// The bits of the kept rows, one after another.
pub(super) fn pick(picker: &Picker<'_>, bits: &BooleanBuffer) -> BooleanBuffer {
    let words: Vec<u64> = bits.bit_chunks().iter_padded().take(picker.words.len()).collect();
    let mut out = Vec::with_capacity(picker.kept() / 64 + 2);
    #[cfg(target_arch = "x86_64")]
    match picker.level.as_avx2() {
        Some(avx2) => squeeze_by_machine(avx2, &words, &picker.words, &mut out),
        None => squeeze(&words, &picker.words, &mut out, gathered),
    }
    #[cfg(not(target_arch = "x86_64"))]
    squeeze(&words, &picker.words, &mut out, gathered);
    BooleanBuffer::new(Buffer::from_vec(out), 0, picker.kept())
}

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    /// By one instruction a word: every machine with AVX2 has it.
    fn squeeze_by_machine(_avx2: Avx2, values: &[u64], mask: &[u64], out: &mut Vec<u64>) {
        squeeze(values, mask, out, |bits, mask| core::arch::x86_64::_pext_u64(bits, mask));
    }
);

/// The bits of `values` at the set bits of `mask`, with `gather` for one word.
#[inline(always)]
fn squeeze(values: &[u64], mask: &[u64], out: &mut Vec<u64>, gather: impl Fn(u64, u64) -> u64) {
    let (mut word, mut filled) = (0, 0);
    for (values, mask) in values.iter().zip(mask) {
        let (bits, count) = (gather(*values, *mask), mask.count_ones());
        word |= bits << filled;
        filled += count;
        if filled >= 64 {
            out.push(word);
            filled -= 64;
            word = bits.checked_shr(count - filled).unwrap_or(0);
        }
    }
    out.push(word);
}

/// The bits of one word at the set bits of `mask`, moved to its low end: in step `i`, each bit moves by 2 to the `i` if
/// bit `i` of the number of holes below it is set (Hacker's Delight, 7-4).
fn gathered(bits: u64, mut mask: u64) -> u64 {
    let mut bits = bits & mask;
    let mut holes = !mask << 1;
    for step in 0..6 {
        let mut odd = holes;
        for shift in [1, 2, 4, 8, 16, 32] {
            odd ^= odd << shift;
        }
        let moved = odd & mask;
        mask = (mask ^ moved) | moved >> (1 << step);
        let moving = bits & moved;
        bits = (bits ^ moving) | moving >> (1 << step);
        holes &= !odd;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_gathered_as_one_by_one() {
        let mut word: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut next = || {
            word = word.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
            word ^ word >> 29
        };
        for _ in 0..1000 {
            for (bits, mask) in [(next(), next()), (next(), next() & next() & next()), (next(), u64::MAX), (next(), 0)]
            {
                let kept = (0..64).filter(|bit| mask >> bit & 1 == 1);
                let expected = kept.enumerate().fold(0, |word, (to, from)| word | (bits >> from & 1) << to);
                assert_eq!(gathered(bits, mask), expected, "{bits:x} at {mask:x}");
            }
        }
    }
}
