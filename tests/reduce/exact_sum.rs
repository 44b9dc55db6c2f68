//! Exact sums against arithmetic of this file's own: digits to the base of ten, slow and unlike the kernel's.

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use pelton::columnar::DataType;
use pelton::expr::AggregateFunction;
use pelton::kernels::cpu::reduce::KeyedReduce;
use pelton::kernels::exact_sum::{Fixed, quotient, quotient_of_two, whole_mean};
use pelton::kernels::reduce::ReduceInput;

use crate::data::{Random, aggregate, array, fast};

/// A number as decimal digits, least first: 1074 behind the point, because 2^-1074 has so many.
#[derive(Clone, PartialEq, PartialOrd)]
struct Digits(Vec<u8>);

const BEHIND: usize = 1080;
const ALL: usize = BEHIND + 340;

impl Digits {
    /// The exact value of a finite float that is not negative. The standard library prints it in full.
    fn of(value: f64) -> Self {
        let text = format!("{value:.BEHIND$}");
        let digits = text.bytes().rev().filter(u8::is_ascii_digit).map(|digit| digit - b'0');
        let mut digits: Vec<u8> = digits.collect();
        digits.resize(ALL, 0);
        Self(digits)
    }

    fn add(&mut self, other: &Self) {
        let mut carry = 0;
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            let sum = *a + b + carry;
            (*a, carry) = (sum % 10, sum / 10);
        }
    }

    /// Self minus a number that is not larger.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = 0;
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            let difference = 10 + *a - b - borrow;
            (*a, borrow) = (difference % 10, 1 - difference / 10);
        }
    }

    fn is_below(&self, other: &Self) -> bool {
        self.0.iter().rev().lt(other.0.iter().rev())
    }

    /// The nearest float, by the standard library's own reading of decimal text, which rounds correctly.
    fn nearest(&self) -> f64 {
        let text: String = self.0.iter().rev().map(|digit| char::from(digit + b'0')).collect();
        format!("{}.{}", &text[..ALL - BEHIND], &text[ALL - BEHIND..]).parse().unwrap()
    }

    /// The number divided by a small one, with one more digit that is not zero if something is left over.
    fn divided(&self, count: u32) -> f64 {
        let mut rest = 0;
        let mut text = String::new();
        for digit in self.0.iter().rev() {
            let part = rest * 10 + u64::from(*digit);
            text.push(char::from_digit((part / u64::from(count)) as u32, 10).unwrap());
            rest = part % u64::from(count);
        }
        text.insert(ALL - BEHIND, '.');
        text.push(if rest > 0 { '1' } else { '0' });
        text.parse().unwrap()
    }
}

/// The exact sum, rounded once, and the exact mean, rounded once.
fn oracle(values: &[f64]) -> (f64, f64) {
    let zero = Digits(vec![0; ALL]);
    let (mut plus, mut minus) = (zero.clone(), zero);
    for &value in values {
        if value < 0.0 { minus.add(&Digits::of(-value)) } else { plus.add(&Digits::of(value.abs())) }
    }
    let is_negative = plus.is_below(&minus);
    let (mut large, small) = if is_negative { (minus, plus) } else { (plus, minus) };
    large.subtract(&small);
    let sign = if is_negative { -1.0 } else { 1.0 };
    let mean = large.divided(values.len() as u32);
    let sum = large.nearest();
    (if sum == 0.0 { 0.0 } else { sign * sum }, if mean == 0.0 && sum == 0.0 { 0.0 } else { sign * mean })
}

fn kernel(values: &[f64], rows: usize, partitions: usize) -> (f64, f64) {
    let of = |function| aggregate(function, Some(&DataType::Float64), DataType::Float64);
    let aggregates = [of(AggregateFunction::Sum), of(AggregateFunction::Mean)];
    let column = array(values.iter().copied());
    let batch = ReduceInput {
        keys: Vec::new(),
        inputs: vec![Some(ArrayRef::clone(&column)), Some(column)],
        filters: vec![None, None],
        rows: values.len(),
    };
    let answer = fast(&KeyedReduce::prepare(&[], &aggregates).unwrap(), &batch, rows, partitions).unwrap();
    let float = |column: usize| answer.column(column).as_primitive::<Float64Type>().value(0);
    (float(0), float(1))
}

fn check(values: &[f64]) {
    let (sum, mean) = oracle(values);
    let mut reversed = values.to_vec();
    reversed.reverse();
    for (values, rows, partitions) in [(values, values.len(), 1), (values, 3, 4), (&reversed, 5, 2)] {
        let (fast_sum, fast_mean) = kernel(values, rows, partitions);
        assert_eq!(fast_sum.to_bits(), sum.to_bits(), "sum {fast_sum:e} instead of {sum:e} of {values:?}");
        assert_eq!(fast_mean.to_bits(), mean.to_bits(), "mean {fast_mean:e} instead of {mean:e} of {values:?}");
    }
}

#[test]
fn sums_that_cancel_keep_what_is_left() {
    check(&[1e16, 1.0, -1e16]);
    check(&[1e308, 1e-308, -1e308]);
    check(&[f64::MAX, f64::MAX, -f64::MAX]);
    check(&[0.1, 0.2, -0.3]);
    check(&[1.0, -1.0, -0.0]);
    check(&[5e-324, 5e-324, -5e-324]);
}

#[test]
fn ties_go_to_the_even_mantissa() {
    let half = f64::EPSILON / 2.0;
    check(&[1.0, half]);
    check(&[1.0 + f64::EPSILON, half]);
    check(&[1.0, half, 5e-324]);
    check(&[-1.0, -half, -5e-324]);
    check(&[f64::MIN_POSITIVE, -5e-324, 5e-324]);
}

#[test]
fn a_sum_beyond_the_largest_float_is_infinite_but_its_mean_is_not() {
    check(&[f64::MAX, f64::MAX]);
    check(&[-f64::MAX, -f64::MAX, -f64::MAX]);
    check(&[f64::MAX, 2_f64.powi(970)]);
    check(&[f64::MAX, 2_f64.powi(969)]);
}

#[test]
fn values_over_six_hundred_decades_are_summed_exactly() {
    let mut random = Random(1);
    for round in 0..60 {
        let values: Vec<f64> = (0..20)
            .map(|_| {
                let bits = random.next();
                // Fields from 0 to 2046: subnormal to the largest.
                f64::from_bits(bits & !(0x7ff << 52) | random.below(0x7ff) << 52)
            })
            .collect();
        check(&values);
        // The same with a twin of opposite sign for most.
        let twins = values.iter().skip(round % 5).map(|value| -value);
        check(&values.iter().copied().chain(twins).collect::<Vec<_>>());
    }
}

#[test]
fn values_of_like_size_are_summed_exactly() {
    let mut random = Random(2);
    for _ in 0..40 {
        let values: Vec<f64> =
            (0..33).map(|_| (random.next() as i64 >> random.below(40)) as f64 * 2_f64.powi(-60)).collect();
        check(&values);
    }
}

#[test]
fn what_is_not_finite_follows_ieee() {
    let infinity = f64::INFINITY;
    assert_eq!(kernel(&[1.0, infinity, 1e300], 1, 3).0, infinity);
    assert_eq!(kernel(&[-infinity, 1.0], 2, 1).1, -infinity);
    assert!(kernel(&[infinity, 1.0, -infinity], 1, 3).0.is_nan());
    assert!(kernel(&[1.0, f64::NAN], 1, 2).0.is_nan());
}

#[test]
fn the_mean_of_equal_values_is_that_value_and_their_variance_zero() {
    for value in [0.1, -1e-310, 1e308, 5e-324] {
        assert_eq!(kernel(&[value; 7], 2, 2).1.to_bits(), f64::to_bits(value));
        let variance = aggregate(AggregateFunction::Variance(1), Some(&DataType::Float64), DataType::Float64);
        let batch = ReduceInput { keys: vec![], inputs: vec![Some(array([value; 7]))], filters: vec![None], rows: 7 };
        let answer = fast(&KeyedReduce::prepare(&[], &[variance]).unwrap(), &batch, 3, 2).unwrap();
        assert_eq!(answer.column(0).as_primitive::<Float64Type>().value(0).to_bits(), 0);
    }
}

#[test]
fn quick_quotients_of_two_limbs_equal_the_long_division() {
    let mut random = Random(11);
    for round in 0..20_000 {
        let count = 1 + (random.next() >> 32 >> random.below(32));
        // A number of 54 bits whose last is set lies just between two floats; times the count, and one more or less,
        // it lies between them but not in the middle.
        let middle = u128::from(random.next() >> 10 | 1 << 53 | 1) << random.below(40);
        let near = (middle * u128::from(count)).saturating_add(u128::from(random.below(3))).wrapping_sub(1);
        let any = u128::from(random.next()) << 62 | u128::from(random.next());
        let magnitude = if round % 2 == 0 { near & (u128::MAX >> 2) } else { any >> random.below(100) };
        let mut total = Fixed::<2>::default();
        let is_negative = random.below(2) == 0;
        total.add(is_negative, magnitude, 0);
        let exponent = random.below(2000) as i32 - 1074;
        let quick = quotient_of_two(&total, exponent, count);
        let limbs = [magnitude as u64, (magnitude >> 64) as u64];
        let long = quotient(is_negative, &limbs, exponent, &[count]);
        assert_eq!(quick.to_bits(), long.to_bits(), "{magnitude} × 2^{exponent} / {count}: {quick:e}, {long:e}");
    }
}

/// Nearly nothing is left of values near 1e-271 that cancel: a power of two was taken for one of a normal number.
#[test]
fn quick_quotients_of_little_on_a_low_grid_are_right() {
    for exponent in (-930..-820).chain(780..820) {
        for (magnitude, count) in [1_u64, 2, 3, 7, 15, 16, 1 << 60].into_iter().zip([1, 3, 2, 5, 7, 11, 3].repeat(7)) {
            let mut total = Fixed::<2>::default();
            total.add(false, magnitude.into(), 0);
            let (quick, long) =
                (quotient_of_two(&total, exponent, count), quotient(false, &[magnitude], exponent, &[count]));
            assert_eq!(quick.to_bits(), long.to_bits(), "{magnitude} × 2^{exponent} / {count}: {quick:e}, {long:e}");
        }
    }
}

#[test]
fn means_of_decimals_are_rounded_once() {
    let mut random = Random(12);
    for _ in 0..20_000 {
        let magnitude = (u128::from(random.next()) << 40 | u128::from(random.next())) >> random.below(104);
        let (count, scale) = (1 + (random.next() >> random.below(64)), random.below(24) as i8 - 2);
        let mut total = Fixed::<3>::default();
        total.add(true, magnitude, 0);
        let (mut limbs, mut divisors) = (vec![magnitude as u64, (magnitude >> 64) as u64, 0], vec![count]);
        match scale {
            0.. => divisors.extend(std::iter::repeat_n(10, scale.unsigned_abs().into())),
            _ => {
                let large = magnitude * 10_u128.pow(scale.unsigned_abs().into());
                limbs = vec![large as u64, (large >> 64) as u64];
            }
        }
        let long = quotient(true, &limbs, 0, &divisors);
        assert_eq!(whole_mean(&total, count, scale).to_bits(), long.to_bits(), "{magnitude} / {count} / 10^{scale}");
    }
}
