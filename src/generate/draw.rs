//! Random numbers that are looked up instead of drawn in order: a hash of seed, column and row.
//!
//! The hash is `SplitMix64` (Steele, Lea, Flood 2014), whose n-th number needs none of those before it.

use super::{Options, Skew};

/// The odd number nearest to 2^64 divided by the golden ratio.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The random numbers of one column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draw {
    start: u64,
}

impl Draw {
    /// Columns of one stream have different numbers.
    pub(crate) fn new(seed: u64, column: u64) -> Self {
        Self { start: mix(mix(seed) ^ column.wrapping_mul(STEP)) }
    }

    /// 64 random bits.
    #[inline]
    pub(crate) fn bits(self, row: u64) -> u64 {
        mix(self.start.wrapping_add(row.wrapping_mul(STEP)))
    }

    /// A number below `end`, each equally often (up to `end` / 2^64).
    #[inline]
    pub(crate) fn below(self, row: u64, end: u64) -> u64 {
        scale(self.bits(row), end)
    }

    /// A number in `first ..= last`.
    #[inline]
    #[expect(clippy::cast_possible_wrap, reason = "ranges of sample data are far below 2^63")]
    pub(crate) fn between(self, row: u64, first: i64, last: i64) -> i64 {
        first + self.below(row, first.abs_diff(last) + 1) as i64
    }

    /// One of these.
    #[inline]
    pub(crate) fn pick(self, row: u64, choices: &[&'static str]) -> &'static str {
        choices[index(self.below(row, choices.len() as u64))]
    }

    /// Index of one of these parts, each as often as its weight says.
    #[inline]
    pub(crate) fn weighted(self, row: u64, weights: &[u64]) -> usize {
        let mut left = self.below(row, weights.iter().sum());
        weights
            .iter()
            .position(|&weight| {
                left < weight || {
                    left -= weight;
                    false
                }
            })
            .unwrap_or(weights.len() - 1)
    }

    /// A number in 0 .. 1, all 53 bits of it random.
    #[inline]
    pub(crate) fn unit(self, row: u64) -> f64 {
        const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.bits(row) >> 11) as f64 * UNIT
    }

    /// A number from about the normal distribution with mean 0 and standard deviation 1: the sum of twelve uniform
    /// ones. No logarithm and no cosine, whose last bits differ between machines.
    #[inline]
    pub(crate) fn normal(self, row: u64) -> f64 {
        const PIECE: u64 = 0xFFFF;
        let mut sum = 0;
        let mut bits = self.bits(row);
        for _ in 0..3 {
            sum += (bits & PIECE) + (bits >> 16 & PIECE) + (bits >> 32 & PIECE) + (bits >> 48);
            bits = mix(bits.wrapping_add(STEP));
        }
        (sum as f64 - 6.0 * PIECE as f64) / PIECE as f64
    }
}

/// Which of `keys` keys (fewer than 2^32) a row has.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyDraw {
    draw: Draw,
    keys: u64,
    skew: Skew,
}

impl KeyDraw {
    pub(super) fn new(seed: u64, column: u64, keys: u64, options: &Options) -> Self {
        Self { draw: Draw::new(seed, column), keys, skew: options.skew }
    }

    /// A key below `keys`. With skew, 0 is the most frequent one.
    #[inline]
    pub(super) fn key(self, row: u64) -> u64 {
        let bits = self.draw.bits(row);
        match self.skew {
            Skew::Uniform => scale(bits, self.keys),
            Skew::Zipf => self.zipf(bits),
        }
    }

    /// Ranks 1, 2–3, 4–7, … have equal shares; the last step, cut off at `keys`, has one that fits its length.
    fn zipf(self, bits: u64) -> u64 {
        const SHARE: u64 = 1 << 32;
        let steps = self.keys.ilog2();
        let last_first = 1_u64 << steps;
        let last_length = self.keys - last_first + 1;
        let last_share = (last_length * SHARE) >> steps;
        let place = scale(bits, u64::from(steps) * SHARE + last_share);
        let step_first = 1_u64 << (place / SHARE);
        let step_length = step_first.min(self.keys - step_first + 1);
        step_first - 1 + scale(mix(bits), step_length)
    }
}

#[inline]
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// `bits` of 2^64, as a share of `end`.
#[inline]
fn scale(bits: u64, end: u64) -> u64 {
    ((u128::from(bits) * u128::from(end)) >> 64) as u64
}

/// A small number as an index.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "tables of sample data have fewer than 2^32 entries")]
pub(super) fn index(number: u64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_reaches_both_ends_and_stays_inside() {
        let draw = Draw::new(1, 2);
        let seen: std::collections::BTreeSet<u64> = (0..1000).map(|row| draw.below(row, 7)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), (0..7).collect::<Vec<_>>());
        assert!((0..100).all(|row| draw.below(row, 1) == 0));
        assert!((0..1000).all(|row| (-2..=3).contains(&draw.between(row, -2, 3))));
    }

    #[test]
    fn columns_and_seeds_have_different_numbers() {
        let numbers = [Draw::new(1, 0), Draw::new(1, 1), Draw::new(2, 0), Draw::new(0, 0)].map(|draw| draw.bits(0));
        let distinct: std::collections::BTreeSet<u64> = numbers.into_iter().collect();
        assert_eq!(distinct.len(), 4);
    }

    #[test]
    fn normal_has_mean_0_and_deviation_1() {
        let draw = Draw::new(3, 0);
        let (mut sum, mut squares) = (0.0, 0.0);
        for row in 0..100_000 {
            let value = draw.normal(row);
            sum += value;
            squares += value * value;
        }
        assert!((sum / 1e5).abs() < 0.02, "mean {}", sum / 1e5);
        assert!((squares / 1e5 - 1.0).abs() < 0.02, "variance {}", squares / 1e5);
    }

    #[test]
    fn unit_is_spread_over_0_to_1() {
        let draw = Draw::new(3, 0);
        let mean = (0..100_000).map(|row| draw.unit(row)).sum::<f64>() / 1e5;
        assert!((mean - 0.5).abs() < 0.01, "mean {mean}");
        assert!((0..100_000).all(|row| (0.0..1.0).contains(&draw.unit(row))));
    }

    #[test]
    fn zipf_halves_as_the_rank_doubles_and_reaches_every_key() {
        let options = Options { skew: Skew::Zipf, ..Options::default() };
        for keys in [1, 2, 3, 4, 5, 100, 127, 128, 129] {
            let draw = KeyDraw::new(5, 0, keys, &options);
            let mut counts = vec![0_u32; index(keys)];
            (0..200_000).for_each(|row| counts[index(draw.key(row))] += 1);
            assert!(counts.iter().all(|&count| count > 0), "{keys} keys: {counts:?}");
            if keys >= 100 {
                let ratio = f64::from(counts[0]) / f64::from(counts[10]);
                assert!((7.0..9.0).contains(&ratio), "rank 1 is {ratio} times as frequent as rank 11");
            }
        }
    }
}
