//! Numbers of the kept rows: 1 to 16 bytes each.
//!
//! Where the machine moves chosen lanes of a vector to its front (AVX-512, AVX2, and NEON and SSE for small numbers), a
//! whole vector is stored and the next one begins where its kept values end. Elsewhere each value is stored and the next
//! one begins behind it if it is kept. No branch depends on the data but the one that skips 64 rows without a kept one.

use arrow_buffer::{ArrowNativeType, Buffer, MutableBuffer, ScalarBuffer};
#[cfg(target_arch = "x86_64")]
use fearless_simd::Avx2;
use fearless_simd::{Level, Simd, SimdBase, SimdMask, dispatch};
use fearless_simd_macros::simd;

#[cfg(target_arch = "x86_64")]
use super::avx2;
use super::mask::Picker;

/// A number as vector registers know it.
pub(super) trait Lane: ArrowNativeType {
    /// The numbers whose bits in `words` are set.
    fn compact(level: Level, values: &[Self], words: &[u64]) -> Buffer;
}

macro_rules! lanes {
    ($($lane:ty, $vector:ident $(, $front:ident)?);*) => { $(impl Lane for $lane {
        fn compact(level: Level, values: &[Self], words: &[u64]) -> Buffer {
            #[simd]
            fn run<S: Simd>(simd: S, values: &[$lane], words: &[u64]) -> Buffer {
                $(
                    #[cfg(target_arch = "x86_64")]
                    if let (Some(avx2), None) = (simd.level().as_avx2(), simd.level().as_avx512()) {
                        return compact::<Avx2, _>(avx2, values, words, |vector, bits| avx2::$front(avx2, vector, bits));
                    }
                )?
                compact::<S, S::$vector>(simd, values, words, |vector, bits| {
                    vector.compress(<S::$vector as SimdBase<S>>::Mask::from_bitmask(simd, bits))
                })
            }
            dispatch!(level, simd => run(simd, values, words))
        }
    })* };
}

lanes!(u8, u8s; u16, u16s; u32, u32s, front_of_eight; u64, u64s, front_of_four);

/// The numbers of the kept rows.
pub(super) fn pick<L: Lane>(picker: &Picker<'_>, values: &[L]) -> Buffer {
    match &picker.numbers {
        Some(numbers) => gather(values, numbers),
        None => L::compact(picker.level, values, &picker.words),
    }
}

/// The same for numbers of 16 bytes, as pairs of 8: each bit of the mask stands for two lanes.
pub(super) fn pick_pairs(picker: &Picker<'_>, values: &ScalarBuffer<u128>) -> Buffer {
    match &picker.numbers {
        Some(numbers) => gather(values, numbers),
        None => {
            let halves = ScalarBuffer::<u64>::new(values.inner().clone(), 0, values.len() * 2);
            let words: Vec<u64> = picker.words.iter().flat_map(|word| [doubled(*word), doubled(word >> 32)]).collect();
            u64::compact(picker.level, &halves, &words[..halves.len().div_ceil(64)])
        }
    }
}

/// Each of the lower 32 bits twice.
fn doubled(word: u64) -> u64 {
    let spread = [(16, 0x0000_FFFF_0000_FFFF), (8, 0x00FF_00FF_00FF_00FF), (4, 0x0F0F_0F0F_0F0F_0F0F)]
        .into_iter()
        .chain([(2, 0x3333_3333_3333_3333), (1, 0x5555_5555_5555_5555)])
        .fold(word & 0xFFFF_FFFF, |bits, (shift, mask)| (bits | bits << shift) & mask);
    spread | spread << 1
}

fn gather<N: ArrowNativeType>(values: &[N], numbers: &[u32]) -> Buffer {
    Buffer::from_vec(numbers.iter().map(|row| values[*row as usize]).collect::<Vec<N>>())
}

/// `front` moves the lanes whose bits are set to the front of a vector.
#[inline(always)]
fn compact<S: Simd, V: SimdBase<S>>(
    simd: S,
    values: &[V::Element],
    words: &[u64],
    front: impl Fn(V, u64) -> V,
) -> Buffer
where
    V::Element: ArrowNativeType,
{
    let kept: usize = words.iter().map(|word| word.count_ones() as usize).sum();
    if !moves_lanes::<S, V>(simd) {
        return one_by_one(values, words, kept);
    }
    let mut out = MutableBuffer::with_capacity((kept + V::LEN) * size_of::<V::Element>());
    let start = out.as_mut_ptr().cast::<V::Element>();
    let mut at = 0;
    let (chunks, rest) = values.as_chunks::<64>();
    let last = padded(rest);
    for (chunk, word) in chunks.iter().chain([&last]).zip(words) {
        if *word == 0 {
            continue;
        }
        for (index, part) in chunk.chunks_exact(V::LEN).enumerate() {
            let bits = word >> (index * V::LEN) & (u64::MAX >> (64 - V::LEN));
            let front = front(V::from_slice(simd, part), bits);
            let (from, to) = (front.as_slice().as_ptr(), start.wrapping_add(at));
            // SAFETY: `at` counts set bits of `words`, so it is at most `kept`, and behind `kept` values there is room
            // for a vector. The buffer is aligned for every number. Storing into slices instead needs the room to be
            // zeroed first and takes up to twice the time.
            unsafe { to.copy_from_nonoverlapping(from, V::LEN) };
            at += bits.count_ones() as usize;
        }
    }
    // SAFETY: the first `at` values have been written, and fit.
    unsafe { out.set_len(at * size_of::<V::Element>()) };
    out.into()
}

/// Up to 63 numbers and zeros behind them.
#[inline(always)]
fn padded<N: ArrowNativeType>(values: &[N]) -> [N; 64] {
    let mut padded = [N::default(); 64];
    padded[..values.len()].copy_from_slice(values);
    padded
}

/// Each value is stored, and the next one over it if it is not kept.
fn one_by_one<N: ArrowNativeType>(values: &[N], words: &[u64], kept: usize) -> Buffer {
    let mut out = MutableBuffer::with_capacity(kept * size_of::<N>());
    let (chunks, rest) = values.as_chunks::<64>();
    let last = padded(rest);
    for (chunk, word) in chunks.iter().chain([&last]).zip(words) {
        match *word {
            0 => {}
            u64::MAX => out.extend_from_slice(chunk),
            word => {
                let (mut front, mut count) = ([N::default(); 64], 0);
                for (lane, value) in chunk.iter().enumerate() {
                    front[count & 63] = *value;
                    count += usize::from(word >> lane & 1 == 1);
                }
                out.extend_from_slice(&front[..count]);
            }
        }
    }
    out.into()
}

/// Whether moving lanes beats storing them one by one: not on SSE2, which cannot permute bytes, and not for two lanes.
#[inline(always)]
fn moves_lanes<S: Simd, V: SimdBase<S>>(simd: S) -> bool {
    let level = simd.level();
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let permutes = !matches!(level, Level::Sse2(_));
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
    let permutes = !level.is_fallback();
    permutes && V::LEN >= 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_is_doubled() {
        for word in [0, 1, 0x8000_0000, 0xFFFF_FFFF, 0xDEAD_BEEF, 0x1_0000_0001] {
            let expected = (0..32).fold(0, |bits, bit| bits | (((word >> bit) & 1) * 3) << (2 * bit));
            assert_eq!(doubled(word), expected, "{word:x}");
        }
    }
}
