//! Operators on numbers and times, in integers wide enough that nothing is lost before the result is checked.

#![expect(clippy::cast_possible_truncation, reason = "32-bit floats are held exactly in 64-bit ones")]

use arrow_buffer::i256;

use super::At;
use super::time::{nanos_of, of_nanos};
use crate::columnar::{DataType, Scalar};
use crate::error::Result;
use crate::expr::BinaryOp;

/// The integer that a number or a time is stored as.
pub(super) fn integer(value: &Scalar) -> Option<i128> {
    Some(match value {
        Scalar::Boolean(value) => i128::from(*value),
        Scalar::Int64(value) | Scalar::Timestamp(value, ..) | Scalar::Duration(value, _) => i128::from(*value),
        Scalar::UInt64(value) => i128::from(*value),
        Scalar::Date32(value) => i128::from(*value),
        Scalar::Decimal128 { unscaled, .. } => *unscaled,
        _ => return None,
    })
}

/// An integer or stored time as a value of this type, if it fits.
pub(super) fn fit(value: i128, to: &DataType) -> Option<Scalar> {
    let signed =
        |low: i64, high: i64| i64::try_from(value).ok().filter(|value| (low..=high).contains(value)).map(Scalar::Int64);
    let unsigned = |high: u64| u64::try_from(value).ok().filter(|value| *value <= high).map(Scalar::UInt64);
    match to {
        DataType::Int8 => signed(i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => signed(i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => signed(i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => signed(i64::MIN, i64::MAX),
        DataType::UInt8 => unsigned(u8::MAX.into()),
        DataType::UInt16 => unsigned(u16::MAX.into()),
        DataType::UInt32 => unsigned(u32::MAX.into()),
        DataType::UInt64 => unsigned(u64::MAX),
        DataType::Date32 => i32::try_from(value).ok().map(Scalar::Date32),
        DataType::Timestamp(unit, zone) => i64::try_from(value).ok().map(|v| Scalar::Timestamp(v, *unit, zone.clone())),
        DataType::Duration(unit) => i64::try_from(value).ok().map(|value| Scalar::Duration(value, *unit)),
        DataType::Decimal128(precision, scale) => {
            let fits = value.unsigned_abs() < 10_u128.pow((*precision).into());
            fits.then_some(Scalar::Decimal128 { unscaled: value, precision: *precision, scale: *scale })
        }
        _ => None,
    }
}

pub(super) fn negate(value: &Scalar, at: &At<'_>) -> Result<Scalar> {
    match value {
        Scalar::Float64(value) => Ok(Scalar::Float64(-value)),
        other => {
            let value = integer(other).ok_or_else(|| at.unknown(other))?;
            fit(-value, at.to()).ok_or_else(|| at.overflow())
        }
    }
}

pub(super) fn calculate(a: &Scalar, op: BinaryOp, b: &Scalar, at: &At<'_>) -> Result<Scalar> {
    let unknown = || at.unknown(&(a.clone(), op, b.clone()));
    if let (Some(a), Some(b)) = (nanos_of(a), nanos_of(b)) {
        let nanos = if op == BinaryOp::Subtract { a - b } else { a + b };
        return of_nanos(nanos, at.to()).ok_or_else(|| at.overflow());
    }
    match at.to() {
        DataType::Float32 => {
            let (a, b) = (float(a).ok_or_else(unknown)? as f32, float(b).ok_or_else(unknown)? as f32);
            Ok(Scalar::Float64(
                match op {
                    BinaryOp::Add => a + b,
                    BinaryOp::Subtract => a - b,
                    BinaryOp::Multiply => a * b,
                    BinaryOp::Divide => a / b,
                    BinaryOp::FloorDivide => (a / b).floor(),
                    _ if a % b != 0.0 && (a % b < 0.0) != (b < 0.0) => a % b + b,
                    _ => a % b,
                }
                .into(),
            ))
        }
        DataType::Float64 => {
            let (a, b) = (float(a).ok_or_else(unknown)?, float(b).ok_or_else(unknown)?);
            Ok(Scalar::Float64(match op {
                BinaryOp::Add => a + b,
                BinaryOp::Subtract => a - b,
                BinaryOp::Multiply => a * b,
                BinaryOp::Divide => a / b,
                BinaryOp::FloorDivide => (a / b).floor(),
                _ if a % b != 0.0 && (a % b < 0.0) != (b < 0.0) => a % b + b,
                _ => a % b,
            }))
        }
        DataType::Decimal128(..) => decimals(a, op, b, at),
        to => {
            let (a, b) = (integer(a).ok_or_else(unknown)?, integer(b).ok_or_else(unknown)?);
            let divides = matches!(op, BinaryOp::FloorDivide | BinaryOp::Modulo);
            if divides && b == 0 {
                return Ok(Scalar::Null);
            }
            let result = match op {
                BinaryOp::Add => Some(a + b),
                BinaryOp::Subtract => Some(a - b),
                // The only one that can leave 128 bits.
                BinaryOp::Multiply => a.checked_mul(b),
                BinaryOp::FloorDivide => Some(floor_divide(a, b)),
                _ => Some(a - floor_divide(a, b) * b),
            };
            result.and_then(|result| fit(result, to)).ok_or_else(|| at.overflow())
        }
    }
}

fn floor_divide(a: i128, b: i128) -> i128 {
    if a % b != 0 && (a < 0) != (b < 0) { a / b - 1 } else { a / b }
}

fn float(value: &Scalar) -> Option<f64> {
    match value {
        Scalar::Float64(value) => Some(*value),
        Scalar::Int64(value) => Some(*value as f64),
        Scalar::UInt64(value) => Some(*value as f64),
        _ => None,
    }
}

/// A fraction of 256-bit integers, worked out with the usual rules for fractions and rounded once.
fn decimals(a: &Scalar, op: BinaryOp, b: &Scalar, at: &At<'_>) -> Result<Scalar> {
    let (
        Scalar::Decimal128 { unscaled: a, scale: a_scale, .. },
        Scalar::Decimal128 { unscaled: b, scale: b_scale, .. },
        DataType::Decimal128(_, scale),
    ) = (a, b, at.to())
    else {
        return Err(at.unknown(&op));
    };
    if *b == 0 && matches!(op, BinaryOp::Divide | BinaryOp::FloorDivide | BinaryOp::Modulo) {
        return Ok(Scalar::Null);
    }
    let result = || {
        let (wide_a, wide_b) = (i256::from_i128(*a), i256::from_i128(*b));
        let common = (*a_scale).max(*b_scale);
        let a = wide_a.checked_mul(ten_to(common - a_scale)?)?;
        let b = wide_b.checked_mul(ten_to(common - b_scale)?)?;
        let (value, from) = match op {
            BinaryOp::Add => (a.checked_add(b)?, common),
            BinaryOp::Subtract => (a.checked_sub(b)?, common),
            BinaryOp::Multiply => (wide_a.checked_mul(wide_b)?, a_scale + b_scale),
            BinaryOp::Divide => return round_quotient(a.checked_mul(ten_to(*scale)?)?, b)?.to_i128(),
            BinaryOp::FloorDivide => (floor_quotient(a, b)?, 0),
            _ => (a.checked_sub(floor_quotient(a, b)?.checked_mul(b)?)?, common),
        };
        if *scale >= from {
            value.checked_mul(ten_to(scale - from)?)?.to_i128()
        } else {
            round_quotient(value, ten_to(from - scale)?)?.to_i128()
        }
    };
    result().and_then(|value| fit(value, at.to())).ok_or_else(|| at.overflow())
}

fn ten_to(exponent: i8) -> Option<i256> {
    (0..exponent).try_fold(i256::ONE, |product, _| product.checked_mul(i256::from_i128(10)))
}

fn floor_quotient(a: i256, b: i256) -> Option<i256> {
    let quotient = a.checked_div(b)?;
    let exact = a.checked_rem(b)? == i256::ZERO;
    if exact || (a < i256::ZERO) == (b < i256::ZERO) { Some(quotient) } else { quotient.checked_sub(i256::ONE) }
}

/// Half away from zero.
fn round_quotient(a: i256, b: i256) -> Option<i256> {
    let negative = (a < i256::ZERO) != (b < i256::ZERO);
    let (a, b) = (a.checked_abs()?, b.checked_abs()?);
    let rest = a.checked_rem(b)?;
    let up = rest >= b.checked_sub(rest)?;
    let quotient = a.checked_div(b)?.checked_add(if up { i256::ONE } else { i256::ZERO })?;
    Some(if negative { quotient.checked_neg()? } else { quotient })
}
