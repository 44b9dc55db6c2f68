//! Which key a row has: all equally often, or as in Zipf's law.
//!
//! Zipf's law in steps: keys of rank `2^l ..= 2^(l+1) - 1` occur equally often, as often as the first of them would by
//! the law. That needs no power and no logarithm, so the keys are the same on every machine.

use super::suite::Skew;
use crate::generate::draw::Draw;

/// Keys below a bound, drawn by the number of the row.
#[derive(Debug)]
pub(super) struct KeyDraw {
    rank: Draw,
    step: Draw,
    keys: u64,
    /// For each step of ranks, the share of rows up to its end; empty if all keys occur equally often.
    ends: Vec<f64>,
}

impl KeyDraw {
    /// The keys `0 .. keys`, of at least one.
    pub(super) fn new(seed: u64, keys: u64, skew: Skew) -> Self {
        let ends = match skew {
            Skew::Uniform => Vec::new(),
            Skew::Zipf10 => step_ends(keys, 0.5),
            Skew::Zipf15 => step_ends(keys, 0.5 * std::f64::consts::FRAC_1_SQRT_2),
        };
        Self { rank: Draw::new(seed, 1), step: Draw::new(seed, 2), keys, ends }
    }

    /// The key of a row. Frequent keys do not lie side by side.
    pub(super) fn key(&self, row: u64) -> u64 {
        if self.ends.is_empty() {
            return self.rank.below(row, self.keys);
        }
        let share = self.step.unit(row);
        let step = self.ends.partition_point(|end| *end <= share).min(self.ends.len() - 1);
        let first = 1_u64 << step;
        let rank = first - 1 + self.rank.below(row, first.min(self.keys - first + 1));
        scattered(rank, self.keys)
    }
}

/// The share of rows up to the end of each step, if a rank twice as large is `ratio` as frequent.
#[expect(clippy::cast_precision_loss, reason = "shares of rows")]
fn step_ends(keys: u64, ratio: f64) -> Vec<f64> {
    let (mut total, mut frequency) = (0.0, 1.0);
    let mut ends = Vec::new();
    for step in 0..=keys.ilog2() {
        let first = 1_u64 << step;
        total += frequency * first.min(keys - first + 1) as f64;
        frequency *= ratio;
        ends.push(total);
    }
    ends.iter_mut().for_each(|end| *end /= total);
    ends
}

/// Another number below `end` for each number below it.
fn scattered(number: u64, end: u64) -> u64 {
    /// A prime above every number of keys: multiplying by it modulo that number gives each key once.
    const PRIME: u128 = 2_654_435_761;
    let scattered = u128::from(number) * PRIME % u128::from(end);
    u64::try_from(scattered).unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn counts(keys: u64, skew: Skew, rows: u64) -> Vec<u64> {
        let draw = KeyDraw::new(3, keys, skew);
        let mut counts = vec![0; usize::try_from(keys).unwrap()];
        (0..rows).for_each(|row| counts[usize::try_from(draw.key(row)).unwrap()] += 1);
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    }

    #[test]
    fn every_key_occurs_whatever_the_skew() {
        for skew in [Skew::Uniform, Skew::Zipf10, Skew::Zipf15] {
            for keys in [1, 2, 3, 100, 127, 128, 129] {
                assert!(counts(keys, skew, 100_000).iter().all(|count| *count > 0), "{skew:?}, {keys} keys");
            }
        }
    }

    #[test]
    fn the_most_frequent_key_has_the_share_that_is_said() {
        let share = |skew| {
            let first = counts(100_000, skew, 100_000)[0];
            f64::from(u32::try_from(first).unwrap()) / 100_000.0
        };
        assert!(share(Skew::Uniform) < 0.001);
        assert!((1.0 / 19.0..1.0 / 15.0).contains(&share(Skew::Zipf10)), "{}", share(Skew::Zipf10));
        assert!((0.28..0.32).contains(&share(Skew::Zipf15)), "{}", share(Skew::Zipf15));
    }

    #[test]
    fn scattering_loses_no_key() {
        for end in [1, 2, 100, 4096, 100_000] {
            assert_eq!((0..end).map(|number| scattered(number, end)).collect::<BTreeSet<_>>().len() as u64, end);
        }
    }
}
