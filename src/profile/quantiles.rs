//! Quantiles, from counts of values that are about equal: whose floats agree in sign, exponent and the first seven bits of the
//! fraction. A count is added to, never moved, so no cut of the rows can change an answer, and a value is told to 1/256 of
//! itself.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Bits of a fraction that are not looked at.
const DROPPED_BITS: u32 = f64::MANTISSA_DIGITS - 1 - 7;

#[derive(Debug, Clone, Default)]
pub(super) struct Quantiles {
    counts: HashMap<i32, u64, FixedState>,
    total: u64,
}

impl Quantiles {
    /// Takes a value in that is not NaN.
    #[inline]
    pub(super) fn push(&mut self, value: f64) {
        *self.counts.entry(slot(value)).or_default() += 1;
        self.total += 1;
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        for (slot, count) in &other.counts {
            *self.counts.entry(*slot).or_default() += count;
        }
        self.total += other.total;
    }

    /// For each share, which rise, about the least value that at least so large a share of all values does not exceed.
    pub(super) fn at(&self, shares: &[f64]) -> Vec<f64> {
        let mut slots: Vec<(i32, u64)> = self.counts.iter().map(|(slot, count)| (*slot, *count)).collect();
        slots.sort_unstable();
        let mut found = Vec::with_capacity(shares.len());
        let mut seen = 0;
        for (slot, count) in slots {
            seen += count;
            while let Some(share) = shares.get(found.len())
                && seen >= rank(*share, self.total)
            {
                found.push(middle(slot));
            }
        }
        found
    }
}

/// Which value, counted from 1, the share stands for.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count"
)]
fn rank(share: f64, total: u64) -> u64 {
    ((share * total as f64).ceil() as u64).clamp(1, total.max(1))
}

/// Slots are in the order of their values.
#[inline]
fn slot(value: f64) -> i32 {
    let magnitude = i32::try_from(value.abs().to_bits() >> DROPPED_BITS).unwrap_or(i32::MAX);
    if value < 0.0 { -magnitude - 1 } else { magnitude }
}

/// The value in the middle of a slot.
fn middle(slot: i32) -> f64 {
    let (negative, magnitude) = if slot < 0 { (true, -(slot + 1)) } else { (false, slot) };
    let bits = u64::from(magnitude.unsigned_abs()) << DROPPED_BITS;
    // Zero and infinity are slots of their own.
    let value = match f64::from_bits(bits) {
        low if low == 0.0 || low.is_infinite() => low,
        _ => f64::from_bits(bits | 1 << (DROPPED_BITS - 1)),
    };
    if negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::QUANTILE_ERROR;

    #[test]
    fn quantiles_are_near_those_of_the_sorted_values_whatever_the_cut() {
        let shares = [0.001, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0];
        let spread = |n: u32| (f64::from(n.wrapping_mul(2_654_435_761)) - 2e9) / 1e4;
        let tiny = |n: u32| 1e-300 * f64::from(n % 1000 + 1);
        let few = |n: u32| f64::from(n % 3) - 1.0;
        let make: [&dyn Fn(u32) -> f64; 3] = [&spread, &tiny, &few];
        for make in make {
            let values: Vec<f64> = (0..10_001).map(make).collect();
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let expected = shares.map(|share| sorted[usize::try_from(rank(share, 10_001)).unwrap() - 1]);
            for part in [1, 333, 10_001] {
                let mut whole = Quantiles::default();
                for values in values.chunks(part) {
                    let mut sketch = Quantiles::default();
                    values.iter().for_each(|value| sketch.push(*value));
                    whole.absorb(&sketch);
                }
                for (found, expected) in whole.at(&shares).into_iter().zip(expected) {
                    assert!((found - expected).abs() <= QUANTILE_ERROR * expected.abs(), "{found} for {expected}");
                }
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_have_slots() {
        for value in [0.0, -0.0, f64::MAX, f64::MIN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE] {
            let mut sketch = Quantiles::default();
            sketch.push(value);
            let found = sketch.at(&[0.5]);
            assert!(found[0] == value || (found[0] / value - 1.0).abs() <= QUANTILE_ERROR, "{value}: {found:?}");
        }
        assert!(Quantiles::default().at(&[0.5]).is_empty());
    }
}
