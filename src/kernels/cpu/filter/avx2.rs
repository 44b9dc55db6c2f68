//! Moving chosen lanes to the front of a vector with AVX2: the bits of the mask choose a row of a table, which says which
//! lane goes where. A mask in a register, as other levels want it, costs as many instructions again.

use fearless_simd::{Avx2, SimdInto, u32x8, u64x4};

/// For each four bits the halves of lanes of eight bytes, those whose bits are set first.
static FOURS: [[u32; 8]; 16] = fours();

/// For each eight bits the lanes of four bytes, those whose bits are set first. In bytes, the table is 2 KiB and stays
/// in a first-level cache.
static EIGHTS: [[u8; 8]; 256] = eights();

const fn fours() -> [[u32; 8]; 16] {
    let mut table = [[0; 8]; 16];
    let mut bits = 0;
    while bits < 16 {
        let (mut lane, mut next) = (0, 0);
        while lane < 4 {
            if bits >> lane & 1 == 1 {
                table[bits][next] = 2 * lane;
                table[bits][next + 1] = 2 * lane + 1;
                next += 2;
            }
            lane += 1;
        }
        bits += 1;
    }
    table
}

const fn eights() -> [[u8; 8]; 256] {
    let mut table = [[0; 8]; 256];
    let mut bits = 0;
    while bits < 256 {
        let (mut lane, mut next) = (0, 0);
        while lane < 8 {
            if bits >> lane & 1 == 1 {
                table[bits][next] = lane;
                next += 1;
            }
            lane += 1;
        }
        bits += 1;
    }
    table
}

/// The lanes whose bits are set, in front; of `bits` the lowest four count.
#[inline(always)]
pub(super) fn front_of_four(avx2: Avx2, vector: u64x4<Avx2>, bits: u64) -> u64x4<Avx2> {
    permuted_fours(avx2, vector, &FOURS[(bits & 15) as usize])
}

/// The lanes whose bits are set, in front; of `bits` the lowest eight count.
#[inline(always)]
pub(super) fn front_of_eight(avx2: Avx2, vector: u32x8<Avx2>, bits: u64) -> u32x8<Avx2> {
    permuted_eights(avx2, vector, EIGHTS[(bits & 255) as usize])
}

fearless_simd::kernel!(
    #[inline(always)]
    fn permuted_fours(avx2: Avx2, vector: u64x4<Avx2>, order: &[u32; 8]) -> u64x4<Avx2> {
        use core::arch::x86_64::_mm256_permutevar8x32_epi32;
        let order = <u32x8<Avx2> as fearless_simd::SimdBase<Avx2>>::load_array_ref(avx2, order);
        _mm256_permutevar8x32_epi32(vector.into(), order.into()).simd_into(avx2)
    }
);

fearless_simd::kernel!(
    #[inline(always)]
    fn permuted_eights(avx2: Avx2, vector: u32x8<Avx2>, order: [u8; 8]) -> u32x8<Avx2> {
        use core::arch::x86_64::{_mm_cvtsi64_si128, _mm256_cvtepu8_epi32, _mm256_permutevar8x32_epi32};
        let order = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(order)));
        _mm256_permutevar8x32_epi32(vector.into(), order).simd_into(avx2)
    }
);

#[cfg(test)]
mod tests {
    use fearless_simd::{Level, SimdBase};

    use super::*;

    #[test]
    fn each_mask_moves_its_lanes_to_the_front() {
        let Some(avx2) = Level::new().as_avx2() else { return };
        let (four, eight) = ([10, 11, 12, 13], [20, 21, 22, 23, 24, 25, 26, 27]);
        for bits in 0..256 {
            let chosen = |lanes: usize| (0..lanes).filter(move |lane| bits >> lane & 1 == 1);
            let front = front_of_four(avx2, u64x4::from_slice(avx2, &four), bits);
            let expected: Vec<u64> = chosen(4).map(|lane| four[lane]).collect();
            assert_eq!(front.as_slice()[..expected.len()], expected, "{bits:b}");
            let front = front_of_eight(avx2, u32x8::from_slice(avx2, &eight), bits);
            let expected: Vec<u32> = chosen(8).map(|lane| eight[lane]).collect();
            assert_eq!(front.as_slice()[..expected.len()], expected, "{bits:b}");
        }
    }
}
