//! Decimals: exact integers with a scale. Results that a scale cannot hold are rounded half away from zero; results
//! that the precision cannot hold are an error.

use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::i256;

use super::checked::wrapped;
use super::operand::{Operand, common_nulls, logical, natives, primitive, shape, valid};
use super::{Scope, Site};
use crate::columnar::DataType;
use crate::error::Result;
use crate::expr::BinaryOp;

/// `left op right` in the precision and scale of the site.
pub(super) fn calculate(operands: &[Operand; 2], op: BinaryOp, scope: &Scope<'_>, site: &Site) -> Result<ArrayRef> {
    let (DataType::Decimal128(precision, scale), DataType::Decimal128(_, left), DataType::Decimal128(_, right)) =
        (&site.data_type, operands[0].data_type(), operands[1].data_type())
    else {
        return Err(site.unknown(&op));
    };
    let scales = Scales { left: *left, right: *right, result: *scale };
    let bound = power(i32::from(*precision)).and_then(i256::to_i128).unwrap_or(i128::MAX);
    let (left, right) =
        (natives::<Decimal128Type>(operands[0].array())?, natives::<Decimal128Type>(operands[1].array())?);
    let nulls = common_nulls(operands);
    if let Some(values) = scales.all(operands, (left, right), op, bound) {
        return logical(&primitive::<Decimal128Type>(values, nulls), &site.data_type);
    }
    let (rows, _) = shape(operands);
    let mut values = Vec::with_capacity(rows);
    let mut zero_divisors = Vec::new();
    for row in 0..rows {
        let (a, b) = (left[operands[0].at(row)], right[operands[1].at(row)]);
        if !valid(nulls.as_ref(), row) {
            values.push(0);
        } else if b == 0 && matches!(op, BinaryOp::Divide | BinaryOp::FloorDivide | BinaryOp::Modulo) {
            zero_divisors.push(row);
            values.push(0);
        } else {
            let result = scales.quick(a, op, b).or_else(|| scales.wide(a, op, b)).filter(|v| v.abs() < bound);
            values.push(result.ok_or_else(|| site.overflow(scope.origin(row)))?);
        }
    }
    let nulls = without(nulls, rows, &zero_divisors);
    logical(&primitive::<Decimal128Type>(values, nulls), &site.data_type)
}

fn without(
    nulls: Option<arrow_buffer::NullBuffer>,
    rows: usize,
    dropped: &[usize],
) -> Option<arrow_buffer::NullBuffer> {
    if dropped.is_empty() {
        return nulls;
    }
    let mut kept: Vec<bool> = (0..rows).map(|row| valid(nulls.as_ref(), row)).collect();
    for row in dropped {
        kept[*row] = false;
    }
    Some(kept.into())
}

struct Scales {
    left: i8,
    right: i8,
    result: i8,
}

impl Scales {
    /// All rows at once, if sizes alone say that no result is out of range: sums, differences and products that need no
    /// rounding. Of rows without a value, anything.
    fn all(
        &self,
        operands: &[Operand; 2],
        (left, right): (&[i128], &[i128]),
        op: BinaryOp,
        bound: i128,
    ) -> Option<Vec<i128>> {
        let raised = |scale: i8| power(i32::from(self.result) - i32::from(scale))?.to_i128();
        let factors = match op {
            BinaryOp::Add | BinaryOp::Subtract if self.result == self.left.max(self.right) => {
                (raised(self.left)?, raised(self.right)?)
            }
            BinaryOp::Multiply if self.left.checked_add(self.right) == Some(self.result) => (1, 1),
            _ => return None,
        };
        let most = |values: &[i128], factor: i128| reach(values).checked_mul(factor.unsigned_abs());
        let (most_left, most_right) = (most(left, factors.0)?, most(right, factors.1)?);
        let (by_left, by_right) = factors;
        let fit = |most: Option<u128>| most.is_some_and(|most| most < bound.unsigned_abs());
        let are_small = most_left.max(most_right) <= u128::from(i64::MAX.unsigned_abs());
        match op {
            BinaryOp::Multiply if !fit(most_left.checked_mul(most_right)) => None,
            BinaryOp::Multiply if are_small => each(operands, |a, b| i128::from(low(a)) * i128::from(low(b))),
            BinaryOp::Multiply => each(operands, |a, b| a * b),
            _ if !fit(most_left.checked_add(most_right)) => None,
            BinaryOp::Add => each(operands, |a, b| a * by_left + b * by_right),
            _ => each(operands, |a, b| a * by_left - b * by_right),
        }
    }

    /// The usual case in 128 bits: nothing has to be rescaled or rounded. `None` sends the row to [`Self::wide`].
    #[inline]
    fn quick(&self, a: i128, op: BinaryOp, b: i128) -> Option<i128> {
        let alike = self.left == self.right && self.left == self.result;
        match op {
            BinaryOp::Add if alike => a.checked_add(b),
            BinaryOp::Subtract if alike => a.checked_sub(b),
            BinaryOp::Multiply if self.left.checked_add(self.right) == Some(self.result) => a.checked_mul(b),
            _ => None,
        }
    }

    /// Any case, in 256 bits. `None` when even those, or 128 bits in the end, do not hold it.
    fn wide(&self, a: i128, op: BinaryOp, b: i128) -> Option<i128> {
        let (a, b) = (i256::from_i128(a), i256::from_i128(b));
        let [left, right, result] = [self.left, self.right, self.result].map(i32::from);
        let common = left.max(right);
        let (a_common, b_common) = (raise(a, common - left), raise(b, common - right));
        match op {
            BinaryOp::Add => rescale(a_common?.checked_add(b_common?)?, common, result),
            BinaryOp::Subtract => rescale(a_common?.checked_sub(b_common?)?, common, result),
            BinaryOp::Multiply => rescale(a.checked_mul(b)?, left + right, result),
            BinaryOp::Divide => {
                let shift = result - left + right;
                let (a, b) = (raise(a, shift.max(0))?, raise(b, (-shift).max(0))?);
                divide_rounded(a, b)?.to_i128()
            }
            BinaryOp::FloorDivide => rescale(divide_floor(a_common?, b_common?)?, 0, result),
            BinaryOp::Modulo => {
                let (a, b) = (a_common?, b_common?);
                rescale(a.checked_sub(divide_floor(a, b)?.checked_mul(b)?)?, common, result)
            }
            _ => None,
        }
    }
}

/// A number that no value's magnitude is above; less than twice the greatest of them.
fn reach(values: &[i128]) -> u128 {
    let bits = values.iter().fold(0, |bits, value| bits | (value ^ (value >> 127)));
    bits.unsigned_abs() + 1
}

/// A value that is known to fit 64 bits.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "it was looked at before")]
fn low(value: i128) -> i64 {
    value as i64
}

/// What is made of each pair, none of which leaves the range.
#[inline(always)]
fn each(operands: &[Operand; 2], of: impl Fn(i128, i128) -> i128) -> Option<Vec<i128>> {
    wrapped::<Decimal128Type>(operands, |a, b| (of(a, b), false)).ok().map(|(values, _)| values)
}

fn power(exponent: i32) -> Option<i256> {
    let ten = i256::from_i128(10);
    (0..exponent).try_fold(i256::ONE, |product, _| product.checked_mul(ten))
}

fn raise(value: i256, by: i32) -> Option<i256> {
    value.checked_mul(power(by)?)
}

/// `value` of scale `from`, in scale `to`, rounded half away from zero.
pub(super) fn rescale(value: i256, from: i32, to: i32) -> Option<i128> {
    if to >= from { raise(value, to - from)?.to_i128() } else { divide_rounded(value, power(from - to)?)?.to_i128() }
}

fn divide_rounded(a: i256, b: i256) -> Option<i256> {
    let (quotient, remainder) = (a.checked_div(b)?, a.checked_rem(b)?);
    let twice = remainder.wrapping_abs().checked_mul(i256::from_i128(2))?;
    if twice < b.wrapping_abs() {
        return Some(quotient);
    }
    let away = if (a < i256::ZERO) == (b < i256::ZERO) { i256::ONE } else { i256::MINUS_ONE };
    quotient.checked_add(away)
}

fn divide_floor(a: i256, b: i256) -> Option<i256> {
    let (quotient, remainder) = (a.checked_div(b)?, a.checked_rem(b)?);
    let below = remainder != i256::ZERO && (remainder < i256::ZERO) != (b < i256::ZERO);
    if below { quotient.checked_sub(i256::ONE) } else { Some(quotient) }
}

/// Minus: never out of range, because the range is symmetric.
pub(super) fn negate(array: &ArrayRef) -> Result<ArrayRef> {
    let values = natives::<Decimal128Type>(array)?.iter().map(|value| value.wrapping_neg()).collect();
    logical(&primitive::<Decimal128Type>(values, array.logical_nulls()), array.data_type())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Decimal128Array;

    use super::*;

    /// What is made of all rows at once is what each gives by itself, and nothing is made where one of them fails.
    #[test]
    fn all_rows_at_once_are_those_one_by_one() {
        let edges = |unit: i128| [0, 1, -1, 7, -99, unit - 1, 1 - unit, unit / 3];
        let large = [10_i128.pow(18), i128::from(i64::MAX), 10_i128.pow(37)];
        let columns: Vec<Vec<i128>> = large.iter().map(|unit| edges(*unit).to_vec()).collect();
        let operand = |values: &[i128]| -> ArrayRef { Arc::new(Decimal128Array::from(values.to_vec())) };
        let (mut at_once, mut refused) = (0, 0);
        for (left, right, result) in [(2, 2, 2), (0, 2, 2), (2, 0, 2), (2, 3, 5), (4, 1, 4), (2, 2, 1), (0, 38, 38)] {
            let scales = Scales { left, right, result };
            for op in [BinaryOp::Add, BinaryOp::Subtract, BinaryOp::Multiply, BinaryOp::Divide] {
                for (a, b) in columns.iter().flat_map(|a| columns.iter().map(move |b| (a, b))) {
                    for one in [a.as_slice(), &a[1..2]] {
                        for digits in [15_u32, 38] {
                            let bound = 10_i128.pow(digits);
                            let is_constant = one.len() == 1;
                            let first = operand(one);
                            let first = if is_constant { Operand::Constant(first) } else { Operand::Column(first) };
                            let operands = [first, Operand::Column(operand(b))];
                            let each = (0..b.len()).map(|row| {
                                let (a, b) = (one[if is_constant { 0 } else { row }], b[row]);
                                let slow = scales.quick(a, op, b).or_else(|| scales.wide(a, op, b));
                                slow.filter(|value| value.abs() < bound)
                            });
                            match scales.all(&operands, (one, b), op, bound) {
                                Some(values) => {
                                    at_once += 1;
                                    assert_eq!(
                                        values.into_iter().map(Some).collect::<Vec<_>>(),
                                        each.collect::<Vec<_>>()
                                    );
                                }
                                None => refused += 1,
                            }
                        }
                    }
                }
            }
        }
        assert!(at_once > 50 && refused > 50, "{at_once} and {refused}");
    }
}
