//! How many different values there are: `HyperLogLog` with 4,096 registers, estimated as Ertl does ("New cardinality
//! estimation algorithms for `HyperLogLog` sketches", 2017), without bias over the whole range.

/// Bits of a hash that choose its register.
const PLACE_BITS: u32 = 12;

/// Bits of a hash that are left.
const REST_BITS: usize = 64 - PLACE_BITS as usize;

#[derive(Debug, Clone)]
pub(super) struct Distinct {
    registers: Box<[u8]>,
}

impl Distinct {
    pub(super) fn new() -> Self {
        Self { registers: vec![0; 1 << PLACE_BITS].into() }
    }

    #[inline]
    pub(super) fn push(&mut self, hash: u64) {
        let place = usize::try_from(hash >> REST_BITS).unwrap_or_default();
        let rest = hash << PLACE_BITS | 1 << (PLACE_BITS - 1);
        let rank = u8::try_from(rest.leading_zeros() + 1).unwrap_or(u8::MAX);
        if let Some(register) = self.registers.get_mut(place) {
            *register = rank.max(*register);
        }
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        for (register, other) in self.registers.iter_mut().zip(&other.registers) {
            *register = (*register).max(*other);
        }
    }

    pub(super) fn estimate(&self) -> f64 {
        let mut counts = [0.0; REST_BITS + 2];
        for register in &self.registers {
            if let Some(count) = counts.get_mut(usize::from(*register)) {
                *count += 1.0;
            }
        }
        let registers = f64::from(1 << PLACE_BITS);
        let mut sum = registers * tau(1.0 - counts[REST_BITS + 1] / registers);
        for count in counts[1..=REST_BITS].iter().rev() {
            sum = 0.5 * (sum + count);
        }
        sum += registers * sigma(counts[0] / registers);
        registers * registers / (2.0 * std::f64::consts::LN_2 * sum)
    }
}

/// The share of registers that are 0, as what they add to the sum.
fn sigma(share: f64) -> f64 {
    if share >= 1.0 {
        return f64::INFINITY;
    }
    let (mut power, mut weight, mut sum) = (share, 1.0, share);
    loop {
        power *= power;
        let before = sum;
        sum += power * weight;
        weight += weight;
        if sum <= before {
            return sum;
        }
    }
}

/// The share of registers that are not full, as what the full ones add to the sum.
fn tau(share: f64) -> f64 {
    if share <= 0.0 || share >= 1.0 {
        return 0.0;
    }
    let (mut root, mut weight, mut sum) = (share, 1.0, 1.0 - share);
    loop {
        root = root.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - root) * (1.0 - root) * weight;
        if sum >= before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;
    use crate::profile::DISTINCT_ERROR;

    #[test]
    fn estimates_are_within_four_standard_errors_from_one_to_millions() {
        let state = foldhash::quality::FixedState::default();
        assert!(Distinct::new().estimate().abs() < 1e-9);
        let (mut sketch, mut next) = (Distinct::new(), 1u64);
        for number in 1..=3_000_000u64 {
            sketch.push(state.hash_one(number));
            if number == next {
                let share = sketch.estimate() / number as f64 - 1.0;
                assert!(share.abs() < 4.0 * DISTINCT_ERROR, "{number}: off by {share}");
                next = number * 5 / 4 + 1;
            }
        }
    }

    #[test]
    fn parts_make_the_sketch_of_the_whole_whatever_comes_twice() {
        let state = foldhash::quality::FixedState::default();
        let sketch = |numbers: std::ops::Range<u32>| {
            let mut sketch = Distinct::new();
            numbers.for_each(|number| sketch.push(state.hash_one(number)));
            sketch
        };
        let mut parts = sketch(0..6000);
        parts.absorb(&sketch(4000..10_000));
        assert_eq!(parts.registers, sketch(0..10_000).registers);
    }
}
