//! Loops over rows of which each adds to four lanes of its group at once, as one vector of AVX2.
//!
//! Four rows at once are turned from columns into such vectors. Lanes of several kinds are worked on in the same loop: it
//! looks for the group of a row once, and its lanes come from memory once.

use fearless_simd::{Avx2, SimdBase, SimdInto, i64x4};

use super::lanes::{AT_ONCE, Adds, AddsFloats, KeepsLeast, Step};
use crate::kernels::cpu::prefetch::prefetch_behind;

/// Rows between the one that is added and the one whose lanes are asked for, where these are far away.
const LANES_AHEAD: usize = 32;

/// Which lanes stand before those that add whole numbers, where one loop does the first four of all.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mix {
    Float,
    /// Two.
    Leasts,
    LeastsAndFloat,
}

impl Mix {
    /// For so many lanes that keep the least, and so many that add floats.
    pub(super) fn of(leasts: usize, floats: usize) -> Option<Self> {
        match (leasts, floats) {
            (0, 1) => Some(Self::Float),
            (2, 0) => Some(Self::Leasts),
            (2, 1) => Some(Self::LeastsAndFloat),
            _ => None,
        }
    }
}

fearless_simd::kernel!(
    /// Four sources for the first four lanes: one loop for what would take two or three, each of which looks for the group.
    pub(super) fn scatter_mixed(
        avx2: Avx2,
        mix: Mix,
        slots: &mut [i64],
        place: (usize, bool),
        ids: &[u32],
        sources: [&[i64]; 4],
    ) {
        let (width, is_far) = place;
        macro_rules! of_width {
            ($($width:literal)*) => {
                match (width, mix) {
                    $(
                        ($width, Mix::Float) => {
                            let slots = slots.as_chunks_mut::<$width>().0;
                            scatter_fours::<FloatThenAdds, $width>(avx2, slots, (0, is_far), ids, sources);
                        }
                        ($width, Mix::Leasts) => {
                            let slots = slots.as_chunks_mut::<$width>().0;
                            scatter_fours::<LeastsThenAdds, $width>(avx2, slots, (0, is_far), ids, sources);
                        }
                        ($width, Mix::LeastsAndFloat) => {
                            let slots = slots.as_chunks_mut::<$width>().0;
                            scatter_fours::<LeastsFloatThenAdds, $width>(avx2, slots, (0, is_far), ids, sources);
                        }
                    )*
                    _ => {
                        for (row, &id) in ids.iter().enumerate() {
                            let slot = &mut slots[id as usize * width..][..AT_ONCE];
                            for (lane, (number, source)) in slot.iter_mut().zip(sources).enumerate() {
                                *number = match mix {
                                    Mix::Float => FloatThenAdds::one(lane, *number, source[row]),
                                    Mix::Leasts => LeastsThenAdds::one(lane, *number, source[row]),
                                    Mix::LeastsAndFloat => LeastsFloatThenAdds::one(lane, *number, source[row]),
                                };
                            }
                        }
                    }
                }
            };
        }
        of_width!(4 8);
    }
);

/// What four lanes do with the numbers of a row.
pub(super) trait Four {
    /// What is in the lanes afterwards.
    fn four(avx2: Avx2, present: i64x4<Avx2>, numbers: i64x4<Avx2>) -> i64x4<Avx2>;
    /// The same for the number in one of them.
    fn one(lane: usize, present: i64, number: i64) -> i64;
}

struct FloatThenAdds;
struct LeastsThenAdds;
struct LeastsFloatThenAdds;

impl Four for Adds {
    #[inline(always)]
    fn four(_: Avx2, present: i64x4<Avx2>, numbers: i64x4<Avx2>) -> i64x4<Avx2> {
        present + numbers
    }
    #[inline(always)]
    fn one(_: usize, present: i64, number: i64) -> i64 {
        Self::number(present, number)
    }
}

impl Four for FloatThenAdds {
    #[inline(always)]
    fn four(avx2: Avx2, present: i64x4<Avx2>, numbers: i64x4<Avx2>) -> i64x4<Avx2> {
        float_then_adds(avx2, present, numbers)
    }
    #[inline(always)]
    fn one(lane: usize, present: i64, number: i64) -> i64 {
        if lane == 0 { AddsFloats::number(present, number) } else { Adds::number(present, number) }
    }
}

impl Four for LeastsThenAdds {
    #[inline(always)]
    fn four(avx2: Avx2, present: i64x4<Avx2>, numbers: i64x4<Avx2>) -> i64x4<Avx2> {
        leasts_then_adds(avx2, present, numbers)
    }
    #[inline(always)]
    fn one(lane: usize, present: i64, number: i64) -> i64 {
        if lane < 2 { KeepsLeast::number(present, number) } else { Adds::number(present, number) }
    }
}

impl Four for LeastsFloatThenAdds {
    #[inline(always)]
    fn four(avx2: Avx2, present: i64x4<Avx2>, numbers: i64x4<Avx2>) -> i64x4<Avx2> {
        leasts_float_then_adds(avx2, present, numbers)
    }
    #[inline(always)]
    fn one(lane: usize, present: i64, number: i64) -> i64 {
        if lane == 2 { AddsFloats::number(present, number) } else { LeastsThenAdds::one(lane, present, number) }
    }
}

fearless_simd::kernel!(
    /// The first two lanes keep the least.
    #[inline(always)]
    fn leasts_then_adds(avx2: Avx2, present: i64x4<Avx2>, numbers: i64x4<Avx2>) -> i64x4<Avx2> {
        use core::arch::x86_64::{_mm256_add_epi64, _mm256_blend_epi32, _mm256_blendv_epi8, _mm256_cmpgt_epi64};
        let whole = _mm256_add_epi64(present.into(), numbers.into());
        let is_less = _mm256_cmpgt_epi64(present.into(), numbers.into());
        let least = _mm256_blendv_epi8(present.into(), numbers.into(), is_less);
        _mm256_blend_epi32::<0b1111>(whole, least).simd_into(avx2)
    }
);

fearless_simd::kernel!(
    /// The first two lanes keep the least, the third one adds floats.
    #[inline(always)]
    fn leasts_float_then_adds(avx2: Avx2, present: i64x4<Avx2>, numbers: i64x4<Avx2>) -> i64x4<Avx2> {
        use core::arch::x86_64::{
            _mm_add_sd, _mm256_blend_pd, _mm256_castpd_si256, _mm256_castpd128_pd256, _mm256_castsi256_pd,
            _mm256_extractf128_pd, _mm256_insertf128_pd,
        };
        let others = leasts_then_adds(avx2, present, numbers);
        let upper = |four: i64x4<Avx2>| _mm256_extractf128_pd::<1>(_mm256_castsi256_pd(four.into()));
        let float = _mm_add_sd(upper(present), upper(numbers));
        let float = _mm256_insertf128_pd::<1>(_mm256_castpd128_pd256(float), float);
        let all = _mm256_blend_pd::<0b100>(_mm256_castsi256_pd(others.into()), float);
        _mm256_castpd_si256(all).simd_into(avx2)
    }
);

fearless_simd::kernel!(
    /// The first lane adds floats. The others must not be read as floats: small whole numbers are subnormal ones, which
    /// some processors add slowly.
    #[inline(always)]
    pub(super) fn float_then_adds(avx2: Avx2, present: i64x4<Avx2>, numbers: i64x4<Avx2>) -> i64x4<Avx2> {
        use core::arch::x86_64::{
            _mm_add_sd, _mm256_add_epi64, _mm256_blend_pd, _mm256_castpd_si256, _mm256_castpd128_pd256,
            _mm256_castpd256_pd128, _mm256_castsi256_pd,
        };
        let whole = _mm256_add_epi64(present.into(), numbers.into());
        let (present, numbers) = (_mm256_castsi256_pd(present.into()), _mm256_castsi256_pd(numbers.into()));
        let float = _mm_add_sd(_mm256_castpd256_pd128(present), _mm256_castpd256_pd128(numbers));
        let both = _mm256_blend_pd::<1>(_mm256_castsi256_pd(whole), _mm256_castpd128_pd256(float));
        _mm256_castpd_si256(both).simd_into(avx2)
    }
);

/// The groups of rows some way behind these, four by four: their lanes are asked for while these are added.
#[inline(always)]
pub(super) fn behind(ids: &[u32]) -> &[[u32; AT_ONCE]] {
    ids.get(LANES_AHEAD..).unwrap_or_default().as_chunks().0
}

/// Asks for the lanes of four rows, if there are such. Without a loop over what may not be there, which takes as many instructions as
/// adding the rows.
#[inline(always)]
pub(super) fn ask_for_lanes(slots: &[i64], (width, first): (usize, usize), groups: Option<&[u32; AT_ONCE]>) {
    let Some(groups) = groups else { return };
    for id in groups {
        prefetch_behind(slots, *id as usize * width + first, 1);
    }
}

/// Four sources: four rows at once are turned from columns into a vector each, by two moves a row. The compiler's own
/// way from four columns to one vector takes seven; measured with 100 groups, a fifth of a whole query.
#[inline(always)]
pub(super) fn scatter_fours<F: Four, const WIDTH: usize>(
    avx2: Avx2,
    slots: &mut [[i64; WIDTH]],
    (first, is_far): (usize, bool),
    ids: &[u32],
    sources: [&[i64]; 4],
) {
    if first + 4 > WIDTH {
        return;
    }
    let sources = sources.map(|source| source[..ids.len()].as_chunks::<4>());
    let (fours, rest) = ids.as_chunks::<4>();
    let [a, b, c, d] = sources.map(|(fours, _)| fours);
    let behind = behind(ids);
    for (four, ((((ids_here, a), b), c), d)) in fours.iter().zip(a).zip(b).zip(c).zip(d).enumerate() {
        if is_far {
            ask_for_lanes(slots.as_flattened(), (WIDTH, first), behind.get(four));
        }
        // Nothing here is left to `map`: calls that are not inlined would pass vectors through memory.
        let (a, b) = (i64x4::load_array_ref(avx2, a), i64x4::load_array_ref(avx2, b));
        let (c, d) = (i64x4::load_array_ref(avx2, c), i64x4::load_array_ref(avx2, d));
        for (id, numbers) in ids_here.iter().zip(turned(avx2, a, b, c, d)) {
            let Some(slot) = slots[*id as usize][first..].first_chunk_mut::<4>() else { return };
            F::four(avx2, i64x4::load_array_ref(avx2, slot), numbers).store_array(slot);
        }
    }
    let sources = sources.map(|(_, rest)| rest);
    for (row, &id) in rest.iter().enumerate() {
        let Some(slot) = slots[id as usize][first..].first_chunk_mut::<4>() else { return };
        for (lane, (number, source)) in slot.iter_mut().zip(sources).enumerate() {
            *number = F::one(lane, *number, source[row]);
        }
    }
}

fearless_simd::kernel!(
    /// Rows of four columns.
    #[inline(always)]
    pub(super) fn turned(
        avx2: Avx2,
        a: i64x4<Avx2>,
        b: i64x4<Avx2>,
        c: i64x4<Avx2>,
        d: i64x4<Avx2>,
    ) -> [i64x4<Avx2>; 4] {
        use core::arch::x86_64::{_mm256_permute2x128_si256, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64};
        let (even, odd) = (_mm256_unpacklo_epi64(a.into(), b.into()), _mm256_unpackhi_epi64(a.into(), b.into()));
        let (even_rest, odd_rest) =
            (_mm256_unpacklo_epi64(c.into(), d.into()), _mm256_unpackhi_epi64(c.into(), d.into()));
        [
            _mm256_permute2x128_si256::<0x20>(even, even_rest).simd_into(avx2),
            _mm256_permute2x128_si256::<0x20>(odd, odd_rest).simd_into(avx2),
            _mm256_permute2x128_si256::<0x31>(even, even_rest).simd_into(avx2),
            _mm256_permute2x128_si256::<0x31>(odd, odd_rest).simd_into(avx2),
        ]
    }
);
