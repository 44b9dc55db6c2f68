//! Quantiles, from counts of values that are about equal: whose floats agree in all but their last bits. How many bits are
//! not looked at is the least number by which there are few counts, which hangs on nothing but the values: no cut of the rows
//! can change an answer. It is never more than leaves seven bits of the fraction, so a value is told to 1/256 of itself.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

/// Bits of a fraction that are not looked at, at most.
const DROPPED_MAX: u32 = f64::MANTISSA_DIGITS - 1 - 7;

/// Counts that are kept before more bits are dropped.
const SLOTS_MAX: usize = 4096;

#[derive(Debug, Clone, Default)]
pub(super) struct Quantiles {
    counts: HashMap<i64, u64, FixedState>,
    /// Bits that are not looked at.
    dropped: u32,
    total: u64,
}

impl Quantiles {
    /// Takes a value in that is not NaN.
    #[inline]
    pub(super) fn push(&mut self, value: f64) {
        *self.counts.entry(place(value) >> self.dropped).or_default() += 1;
        self.total += 1;
        if self.counts.len() > SLOTS_MAX {
            self.drop_bits(self.dropped);
        }
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        self.drop_bits(other.dropped);
        for (slot, count) in &other.counts {
            *self.counts.entry(*slot >> (self.dropped - other.dropped)).or_default() += count;
        }
        self.total += other.total;
        self.drop_bits(self.dropped);
    }

    /// Drops bits until they are so many, and then until there are few counts.
    fn drop_bits(&mut self, least: u32) {
        while self.dropped < least || self.counts.len() > SLOTS_MAX && self.dropped < DROPPED_MAX {
            let more = least.saturating_sub(self.dropped).max(1);
            let fine = std::mem::take(&mut self.counts);
            for (slot, count) in fine {
                *self.counts.entry(slot >> more).or_default() += count;
            }
            self.dropped += more;
        }
    }

    /// For each share, which rise, about the least value that at least so large a share of all values does not exceed.
    pub(super) fn at(&self, shares: &[f64]) -> Vec<f64> {
        let mut slots: Vec<(i64, u64)> = self.counts.iter().map(|(slot, count)| (*slot, *count)).collect();
        slots.sort_unstable();
        let mut found = Vec::with_capacity(shares.len());
        let mut seen = 0;
        for (slot, count) in slots {
            seen += count;
            while let Some(share) = shares.get(found.len())
                && seen >= rank(*share, self.total)
            {
                found.push(middle(slot, self.dropped));
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

/// The bits of a float as a number that is in the order of the values.
#[inline]
fn place(value: f64) -> i64 {
    let magnitude = value.abs().to_bits().cast_signed();
    if value < 0.0 { -magnitude - 1 } else { magnitude }
}

/// The value in the middle of a slot.
fn middle(slot: i64, dropped: u32) -> f64 {
    if slot == 0 {
        return 0.0;
    }
    let place = (slot << dropped) + (1 << dropped) / 2;
    let (negative, magnitude) = if place < 0 { (true, -(place + 1)) } else { (false, place) };
    // Behind infinity there are no numbers.
    let value = f64::from_bits(magnitude.cast_unsigned()).min(f64::INFINITY);
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
    fn few_values_and_near_ones_are_told_finely() {
        let mut sketch = Quantiles::default();
        // Milliseconds of a minute of 2023: a 256th of them would be months.
        (0..60_000).for_each(|millisecond| sketch.push(1.7e12 + f64::from(millisecond)));
        let found = sketch.at(&[0.25, 0.5]);
        assert!(
            (found[0] - 1.7e12 - 15_000.0).abs() < 20.0 && (found[1] - 1.7e12 - 30_000.0).abs() < 20.0,
            "{found:?}"
        );
        let mut few = Quantiles::default();
        (0..100_000).for_each(|n| few.push(f64::from(n % 4000) - 2000.0));
        assert_eq!(few.at(&[0.5, 1.0]), [-1.0, 1999.0]);
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
