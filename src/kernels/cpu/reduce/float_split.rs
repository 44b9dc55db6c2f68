//! Floats as two whole numbers on a common grid, by additions alone: the way in which exact sums
//! are as fast as the memory.
//!
//! A value is rounded to a multiple of the high unit by adding and taking off a large constant; what is left over is
//! exact, and is a multiple of the low unit unless the value has bits below the grid. All of it is what every vector unit
//! does well.

#![expect(
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "bits of floats are read as integers; exponents fit 32 bits"
)]

use fearless_simd::{Bytes, Simd, SimdBase, SimdMask, dispatch, f64x4, i64x4, mask64x4};
use fearless_simd_macros::simd;

use super::few::{GROUPS_MAX, Masks, PART, padded, sum_wholes, totals};
use super::lane_sum::Wide;
use crate::kernels::cpu::simd;

/// Bits of each of the two numbers. Together they hold 84 bits below the top of the grid: mantissas of 53 bits of
/// values that differ by up to 2^31, or 2^23 when the top has just been rounded up.
pub(super) const BITS: u32 = 42;

/// Tops lie this many powers of two apart, so that batches of like values choose the same.
const RASTER: i32 = 8;

/// Bits of a restored total: its high number then has 60 at most.
const TOTAL_BITS: i32 = BITS as i32 + 60;

/// The exponents of low units: the units, and the numbers that round to their multiples, must be floats.
const LOWEST: i32 = -840 - 2 * BITS as i32;
const HIGHEST: i32 = 1023 - 53 - BITS as i32;

/// Adding this many units rounds a float below 2^51 units to a multiple of them, whose number then stands in the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// Values below so many high units are split. Rounded up, the largest would otherwise have a bit too many.
const TOP: f64 = ((1_u64 << BITS) - 1) as f64;

/// The units of the two numbers: `2^low` and `2^(low + BITS)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    low: i32,
}

pub(super) fn power(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

impl Grid {
    /// A grid for values about 1.
    pub(super) const ANY: Self = Self { low: -2 * BITS as i32 };

    /// A grid whose top lies just above the largest of these values; none if all are zero, subnormal, or not finite.
    pub(super) fn for_values(values: &[f64]) -> Option<Self> {
        let field = |value: &f64| (value.to_bits() >> 52) as i32 & 0x7ff;
        let highest = values.iter().map(field).map(|field| if field == 0x7ff { 0 } else { field }).max()?;
        // A value with this exponent field lies below 2^(field - 1022).
        let top = (highest - 1022 + RASTER - 1).div_euclid(RASTER) * RASTER;
        (highest > 0).then(|| Self { low: (top - 2 * BITS as i32).clamp(LOWEST, HIGHEST) })
    }

    /// A grid for the lanes of restored totals, which lie between these powers of two: much like the one that they were
    /// added on, and with all of their bits if that is possible.
    pub(super) fn for_totals(extents: impl Iterator<Item = (i32, i32)>) -> Option<Self> {
        let wider = |(least, most): (i32, i32), (low, top): (i32, i32)| (least.min(low), most.max(top));
        let (least, most) = extents.reduce(wider)?;
        // A total has a few bits more than its values.
        let like_values = (most + RASTER - 1).div_euclid(RASTER) * RASTER - RASTER - 2 * BITS as i32;
        let low = if most - least <= TOTAL_BITS { like_values.min(least) } else { like_values };
        Some(Self { low: low.clamp(LOWEST, HIGHEST) })
    }

    /// A total in low units, if lanes can hold it and grow. `top` is the power of two above it.
    pub(super) fn whole(self, total: &Wide, exponent: i32, top: i32) -> Option<i128> {
        if exponent < self.low || top - self.low > TOTAL_BITS {
            return None;
        }
        total.to_i128().map(|whole| whole << (exponent - self.low))
    }

    /// The exponent of the low unit.
    pub(super) fn low(self) -> i32 {
        self.low
    }

    /// Writes the two numbers of each value, both zero for a value off the grid; says whether all were on it.
    pub(super) fn split(self, values: &[f64], highs: &mut [i64], lows: &mut [i64]) -> bool {
        dispatch!(simd::level(), simd => split_all(simd, self.scale(), values, highs, lows))
    }

    /// The sums of the two numbers of the values of each group; none if a value of one is not on the grid. There is room for
    /// the numbers.
    pub(super) fn sum_up(
        self,
        values: &[f64],
        masks: &Masks,
        (highs, lows): (&mut [i64], &mut [i64]),
    ) -> Option<[[i64; GROUPS_MAX]; 2]> {
        let scale = self.scale();
        let mut sums = if let Some(keep) = masks.of_one_group() {
            dispatch!(simd::level(), simd => sum_kept(simd, scale, values, keep))?
        } else {
            // Sums of several groups need all registers, which leaves none for what makes the numbers.
            let (highs, lows) = (&mut highs[..values.len()], &mut lows[..values.len()]);
            let keep = masks.keep();
            dispatch!(simd::level(), simd => round_kept(simd, scale, values, keep, highs, lows)).then_some(())?;
            [sum_wholes(highs, masks), sum_wholes(lows, masks)]
        };
        // What was added to round each value is taken off all of them at once.
        for (sums, rounder) in sums.iter_mut().zip([scale.high, scale.low]) {
            let of_rounder = |rows: i64| rows.wrapping_mul(rounder.to_bits() as i64);
            sums.iter_mut().zip(masks.counts()).for_each(|(sum, &rows)| *sum = sum.wrapping_sub(of_rounder(rows)));
        }
        Some(sums)
    }

    /// What values are split by.
    pub(super) fn scale(self) -> Scale {
        let (high, low) = (power(self.low + BITS as i32), power(self.low));
        Scale { high: ROUNDER * high, low: ROUNDER * low, top: TOP * high }
    }

    /// Whether the value lies on the grid.
    pub(super) fn fits(self, value: f64) -> bool {
        split(value, &self.scale()).2
    }
}

/// What a value is split by.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    /// Rounds to multiples of the high unit.
    high: f64,
    /// Rounds to multiples of the low unit.
    low: f64,
    /// Below this a value is not too large.
    top: f64,
}

#[simd]
fn split_all<S: Simd>(_: S, scale: Scale, values: &[f64], highs: &mut [i64], lows: &mut [i64]) -> bool {
    let (highs, lows) = (&mut highs[..values.len()], &mut lows[..values.len()]);
    let mut all = true;
    for ((value, high), low) in values.iter().zip(&mut *highs).zip(&mut *lows) {
        let fits;
        (*high, *low, fits) = split(*value, &scale);
        all &= fits;
    }
    // A second pass, where it is needed, is cheaper than a choice in each row of the first one.
    if !all {
        for ((value, high), low) in values.iter().zip(highs).zip(lows) {
            if !split(*value, &scale).2 {
                (*high, *low) = (0, 0);
            }
        }
    }
    all
}

/// The sums of the bits of the rounded values that are kept; none if one is not on the grid.
#[simd]
fn sum_kept<S: Simd>(simd: S, scale: Scale, values: &[f64], keep: &[[i64; PART]]) -> Option<[[i64; GROUPS_MAX]; 2]> {
    let mut round = Round::new(simd, scale);
    let [mut highs, mut lows] = [i64x4::splat(simd, 0); 2];
    let (whole, rest) = values.as_chunks::<PART>();
    for (values, keep) in whole.iter().zip(keep) {
        let keep = i64x4::load_array_ref(simd, keep);
        let [rounded, rounded_rest] = round.numbers(f64x4::load_array_ref(simd, values), keep);
        highs += rounded & keep;
        lows += rounded_rest & keep;
    }
    if let Some(keep) = keep.get(whole.len()) {
        let keep = i64x4::load_array_ref(simd, keep);
        let [rounded, rounded_rest] = round.numbers(f64x4::load_array(simd, padded(rest)), keep);
        highs += rounded & keep;
        lows += rounded_rest & keep;
    }
    round.all_fit().then(|| [totals([highs]), totals([lows])])
}

/// Writes the bits of the rounded values; those that are not kept count as zeros. False if one is not on the grid.
#[simd]
fn round_kept<S: Simd>(
    simd: S,
    scale: Scale,
    values: &[f64],
    keep: &[i64],
    highs: &mut [i64],
    lows: &mut [i64],
) -> bool {
    let mut round = Round::new(simd, scale);
    let ((values, rest), keep) = (values.as_chunks::<PART>(), keep.as_chunks::<PART>().0);
    let (high_parts, high_rest) = highs.as_chunks_mut::<PART>();
    let (low_parts, low_rest) = lows.as_chunks_mut::<PART>();
    for (((values, keep), high), low) in values.iter().zip(keep).zip(high_parts).zip(low_parts) {
        let keep = i64x4::load_array_ref(simd, keep);
        let [rounded, rounded_rest] = round.numbers(f64x4::load_array_ref(simd, values), keep);
        rounded.store_array(high);
        rounded_rest.store_array(low);
    }
    if let Some(keep) = keep.get(values.len()).filter(|_| !rest.is_empty()) {
        let keep = i64x4::load_array_ref(simd, keep);
        let [rounded, rounded_rest] = round.numbers(f64x4::load_array(simd, padded(rest)), keep);
        high_rest.copy_from_slice(&rounded.to_array()[..rest.len()]);
        low_rest.copy_from_slice(&rounded_rest.to_array()[..rest.len()]);
    }
    round.all_fit()
}

/// As [`split`], four values at once; whether they fit is told at the end.
pub(super) struct Round<S: Simd> {
    high: f64x4<S>,
    low: f64x4<S>,
    top: f64x4<S>,
    all: mask64x4<S>,
    /// The largest magnitudes; of what is not a number, anything.
    largest: f64x4<S>,
}

impl<S: Simd> Round<S> {
    #[inline(always)]
    pub(super) fn new(simd: S, scale: Scale) -> Self {
        let [high, low, top] = [scale.high, scale.low, scale.top].map(|bound| f64x4::splat(simd, bound));
        Self { high, low, top, all: mask64x4::splat(simd, true), largest: f64x4::splat(simd, 0.0) }
    }

    /// The bits of the rounded values and of their rounded rests; of those that are not kept, those of zeros.
    #[inline(always)]
    fn numbers(&mut self, values: f64x4<S>, keep: i64x4<S>) -> [i64x4<S>; 2] {
        self.rounded((values.bitcast::<i64x4<S>>() & keep).bitcast())
    }

    /// High and low numbers of the values.
    #[inline(always)]
    pub(super) fn split(&mut self, values: f64x4<S>) -> [i64x4<S>; 2] {
        let [high, low] = self.rounded(values);
        [high - self.high.bitcast::<i64x4<S>>(), low - self.low.bitcast::<i64x4<S>>()]
    }

    /// The bits of the rounded values and of their rounded rests.
    #[inline(always)]
    fn rounded(&mut self, values: f64x4<S>) -> [i64x4<S>; 2] {
        let rounded = values + self.high;
        let rest = values - (rounded - self.high);
        let rounded_rest = rest + self.low;
        // What is not a number equals nothing.
        self.all &= (rounded_rest - self.low).simd_eq(rest);
        self.largest = values.abs().max(self.largest);
        [rounded.bitcast(), rounded_rest.bitcast()]
    }

    /// Whether all were on the grid.
    #[inline(always)]
    pub(super) fn all_fit(self) -> bool {
        (self.all & self.largest.simd_lt(self.top)).all_true()
    }
}

/// High and low number of a value, and whether they are the whole value. Five additions: what is taken off is exact, since
/// a float and its nearest multiple of a larger unit are close (Sterbenz).
#[inline(always)]
fn split(value: f64, scale: &Scale) -> (i64, i64, bool) {
    let high = value + scale.high;
    let rest = value - (high - scale.high);
    let low = rest + scale.low;
    // NaN equals nothing.
    let is_whole = low - scale.low == rest;
    let number = |rounded: f64, rounder: f64| (rounded.to_bits() as i64).wrapping_sub(rounder.to_bits() as i64);
    (number(high, scale.high), number(low, scale.low), is_whole & (value.abs() < scale.top))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_numbers_are_the_value_or_the_value_is_refused() {
        let mut values = vec![0.0, -0.0, 1.0, -1.0, 0.1, 1e-5, -123.456, 127.99, 128.0, 300.5, f64::NAN, f64::INFINITY];
        values.extend([f64::MIN_POSITIVE, 5e-324, 1e-300, f64::MAX, f64::MIN, 1e17, 2f64.powi(-40), 2f64.powi(-70)]);
        for largest in [1e-300, 1e-200, 1e-3, 1.0, 100.0, 1e10, 1e200, f64::MAX] {
            let grid = Grid::for_values(&[largest, f64::INFINITY]).unwrap();
            let mut all = values.clone();
            all.extend(values.iter().map(|value| value * largest));
            let (mut highs, mut lows) = (vec![7; all.len()], vec![7; all.len()]);
            let fit = grid.split(&all, &mut highs, &mut lows);
            assert_eq!(fit, all.iter().all(|&value| grid.fits(value)));
            for ((&value, &high), &low) in all.iter().zip(&highs).zip(&lows) {
                if grid.fits(value) {
                    let units = (i128::from(high) << BITS) + i128::from(low);
                    let (negative, mantissa, exponent) = crate::kernels::exact_sum::parts(value);
                    let mantissa = if negative { -i128::from(mantissa) } else { i128::from(mantissa) };
                    let shift = exponent - grid.low();
                    let same = if mantissa == 0 {
                        units == 0
                    } else if shift >= 0 {
                        mantissa << shift == units
                    } else {
                        mantissa == units << -shift
                    };
                    assert!(same, "{value:e} became {units} times 2^{}", grid.low());
                } else {
                    assert_eq!((high, low), (0, 0));
                }
            }
            // The largest float would be rounded up beyond all floats; very small ones lie below the lowest grid.
            assert!(grid.fits(largest) || largest < 1e-250 || largest == f64::MAX, "{largest:e}");
        }
    }
}
