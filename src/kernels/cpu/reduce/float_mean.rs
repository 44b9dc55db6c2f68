//! Exact totals of floats divided by the numbers of their values, many groups at once.
//!
//! A total is two whole numbers on a grid. Mostly both are floats, too; then the quotient is taken apart into one float and what is left
//! over, by additions and products that are exact (T. J. Dekker, *A floating-point technique for extending the available
//! precision*, 1971). Both together are nearer to the true quotient than 2^-100 of it, so it is known which float is nearest, unless the
//! quotient lies as near as that to the middle between two (the test is that of A. Ziv, *Fast evaluation of elementary mathematical
//! functions with correctly rounded last bit*, 1991). Such a group goes the long way. Measured with 5 million groups, by a profile: 5 ns a
//! group instead of 22.

#![expect(clippy::cast_precision_loss, reason = "whole numbers that are converted are floats, or are not looked at")]

use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;

use super::float_split::{BITS, power};
use crate::kernels::cpu::simd;

/// Whole numbers up to this are floats.
const EXACT: u64 = 1 << 53;

/// Divisors below this, times half of the bits of a float, are floats.
const DIVISOR_MAX: i64 = 1 << 26;

/// Takes the upper half of the bits of a float: 2^27 + 1.
const SPLITTER: f64 = 134_217_729.0;

/// Units of the grid with which neither totals nor quotients are too large for a float, or so small that they would lose bits.
const UNITS: std::ops::Range<i32> = -850..800;

/// By how much what is left over is made larger for the test: more than its error, 2^-49 of it.
const STRETCH: f64 = 1.0 + 1.0 / (1_u64 << 40) as f64;

/// Groups worked on at once.
const GROUPS: usize = 64;

/// Totals and the numbers that they are divided by. A divisor that is NaN makes a quotient that is.
struct Some {
    highs: [f64; GROUPS],
    lows: [f64; GROUPS],
    divisors: [f64; GROUPS],
    quotients: [f64; GROUPS],
}

/// High and low number of a total as floats, if that is what they are; in units of the low one.
fn floats((high, low): (i64, i64)) -> Option<(f64, f64)> {
    let is_exact = high.unsigned_abs() <= EXACT && low.unsigned_abs() <= EXACT;
    is_exact.then_some((high as f64 * (1_u64 << BITS) as f64, low as f64))
}

/// The nearest float to each total, given as high and low number on a grid whose low unit is `2^low`; `slowly` makes those of groups
/// that are not computed here. None if there are none.
pub(super) fn sums(
    totals: impl Iterator<Item = (i64, i64)>,
    low: i32,
    slowly: impl Fn(usize) -> f64,
) -> Option<Vec<f64>> {
    let unit = UNITS.contains(&low).then(|| power(low))?;
    // Of two floats the sum is the nearest one, and by a power of two it stays that.
    let sum = |(group, total)| floats(total).map_or_else(|| slowly(group), |(high, low)| (high + low) * unit);
    Some(totals.enumerate().map(sum).collect())
}

/// As [`sums`], divided by the counts; zero for a count of zero.
pub(super) fn means(
    mut totals: impl Iterator<Item = (i64, i64)>,
    low: i32,
    counts: &[i64],
    slowly: impl Fn(usize) -> f64,
) -> Option<Vec<f64>> {
    let unit = UNITS.contains(&low).then(|| power(low))?;
    let nothing = [0.0; GROUPS];
    let mut some = Some { highs: nothing, lows: nothing, divisors: [1.0; GROUPS], quotients: nothing };
    let mut means = Vec::with_capacity(counts.len());
    for counts in counts.chunks(GROUPS) {
        for (place, (&count, total)) in counts.iter().zip(&mut totals).enumerate() {
            let divided = floats(total).filter(|_| (0..DIVISOR_MAX).contains(&count));
            let (high, low) = divided.unwrap_or_default();
            let divisor = if divided.is_some() { count.max(1) as f64 } else { f64::NAN };
            (some.highs[place], some.lows[place], some.divisors[place]) = (high, low, divisor);
        }
        dispatch!(simd::level(), simd => divide(simd, &mut some, unit));
        for quotient in &some.quotients[..counts.len()] {
            means.push(if quotient.is_nan() { slowly(means.len()) } else { *quotient });
        }
    }
    Some(means)
}

/// The quotients times `unit`; NaN for one that is not sure to be the nearest float.
#[simd]
fn divide<S: Simd>(_: S, some: &mut Some, unit: f64) {
    let Some { highs, lows, divisors, quotients } = some;
    for (((quotient, &high), &low), &divisor) in quotients.iter_mut().zip(&*highs).zip(&*lows).zip(&*divisors) {
        let total = high + low;
        let back = total - high;
        let total_rest = (high - (total - back)) + (low - back);
        let first = total / divisor;
        // Each half times the divisor is a float.
        let lifted = first * SPLITTER;
        let upper = lifted - (lifted - first);
        let rest = (total - upper * divisor) - (first - upper) * divisor;
        let second = (rest + total_rest) / divisor;
        let nearest = first + second;
        let left_over = second - (nearest - first);
        let is_sure = nearest + left_over * STRETCH == nearest;
        *quotient = if is_sure { nearest * unit } else { f64::NAN };
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "any numbers will do, and the long way takes limbs"
)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::kernels::exact_sum::quotient;

    /// The long way.
    fn slow((high, low): (i64, i64), unit: i32, count: u64) -> f64 {
        let total = (i128::from(high) << BITS) + i128::from(low);
        let limbs = [total.unsigned_abs() as u64, (total.unsigned_abs() >> 64) as u64];
        quotient(total < 0, &limbs, unit, &[count])
    }

    fn word(number: u64) -> u64 {
        let mixed = number.wrapping_add(1).wrapping_mul(0x5851_f42d_4c95_7f2d);
        (mixed ^ (mixed >> 29)).wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Totals of many sizes, and such that lie on or beside the middle between two floats.
    fn totals() -> Vec<(i64, i64)> {
        let any = (0..20_000_u64).map(|row| {
            let [high, low] = [word(2 * row) as i64, word(2 * row + 1) as i64];
            (high >> (word(row) % 60), low >> (word(row + 7) % 60))
        });
        let middles = (0..64).flat_map(|shift| {
            let beside = [-1, 0, 1].map(|more| (1_i128 << 55) + (1 << 54) + 1 + more);
            let cut = |total: i128| ((total >> BITS) as i64, (total & ((1 << BITS) - 1)) as i64);
            beside
                .into_iter()
                .flat_map(move |total| [cut(total << shift), cut(-(total << shift)), cut((total << shift) + 1)])
        });
        let odd = [(0, 0), (1, 0), (0, 1), (0, -1), (1, -(1 << BITS)), (-1, 1), (1 << 62, 1 << 62), (EXACT as i64, 1)];
        any.chain(middles).chain(odd).collect()
    }

    #[test]
    fn quotients_are_those_of_the_long_way() {
        let totals = totals();
        for (unit, first) in [(-84, 1), (0, 2), (-850, 3), (799, 1), (-60, 1 << 20), (-60, DIVISOR_MAX - 1)] {
            for step in [0, 1, 7] {
                let counts: Vec<i64> = (0..totals.len() as i64).map(|row| first + row * step).collect();
                let expected: Vec<f64> =
                    totals.iter().zip(&counts).map(|(&total, &count)| slow(total, unit, count as u64)).collect();
                let gone_slowly = Cell::new(0);
                let slowly = |group: usize| {
                    gone_slowly.set(gone_slowly.get() + 1);
                    expected[group]
                };
                for level in simd::available() {
                    let means =
                        simd::with_level(level, || means(totals.iter().copied(), unit, &counts, slowly)).unwrap();
                    assert!(
                        means.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()),
                        "{unit} {first} {step}"
                    );
                }
                let is_large = counts.iter().any(|&count| count >= DIVISOR_MAX);
                let is_mostly_quick = gone_slowly.get() < totals.len() * simd::available().len() / 2;
                assert!(is_large || is_mostly_quick, "{first} {step}: {gone_slowly:?}");
            }
            let expected: Vec<f64> = totals.iter().map(|&total| slow(total, unit, 1)).collect();
            let sums = sums(totals.iter().copied(), unit, |group| expected[group]).unwrap();
            assert!(sums.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()));
        }
    }

    #[test]
    fn no_values_and_units_without_room() {
        let slowly = |_| unreachable!();
        assert_eq!(means([(0, 0), (0, 6)].into_iter(), 0, &[0, 2], slowly), Some(vec![0.0, 3.0]));
        assert_eq!(means([(0, 6)].into_iter(), -851, &[2], slowly), None);
        assert_eq!(sums([(0, 6)].into_iter(), 800, slowly), None);
        assert_eq!(means(std::iter::empty(), 0, &[], slowly), Some(vec![]));
    }
}
