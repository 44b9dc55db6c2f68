//! `+ - * / // %` and minus on integers, floats and times; decimals go to [`super::decimal`].
//!
//! Integer loops wrap and collect one flag. Only when it is set is the first row looked for that is at fault: what
//! lies under a null may overflow.

use arrow_array::types::{ArrowPrimitiveType, Float32Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;

use super::native::by_integer;
use super::operand::{Operand, common_nulls, logical, natives, physical, primitive, shape, shaped};
use super::{Apply, Scope, Site, cast, decimal, time};
use crate::columnar::DataType;
use crate::columnar::data_type::is_time;
use crate::error::{Error, Result};
use crate::expr::BinaryOp;

pub(super) fn prepare(left: &DataType, op: BinaryOp, right: &DataType, to: &DataType) -> Apply {
    let (clock, to) = (is_time(left) || is_time(right), to.clone());
    Box::new(move |operands, scope, site| {
        if operands.iter().any(Operand::is_null_constant) {
            return Ok(Operand::null(&to));
        }
        let operands = [operands[0].decoded()?, operands[1].decoded()?];
        let (_, constant) = shape(&operands);
        let answer = match &to {
            _ if clock => time::add(&operands, op, scope, site)?,
            DataType::Decimal128(_, _) => decimal::calculate(&operands, op, scope, site)?,
            DataType::Float64 => floats::<Float64Type>(&as_floats(&operands, &to)?, op, site)?,
            DataType::Float32 => floats::<Float32Type>(&as_floats(&operands, &to)?, op, site)?,
            other => by_integer!(other, T => integers::<T>(&operands, op, scope, site)?,
                _ => return Err(site.unknown(&op))),
        };
        Ok(shaped(answer, constant))
    })
}

/// Integers under a division that gives floats.
fn as_floats(operands: &[Operand; 2], to: &DataType) -> Result<[Operand; 2]> {
    let as_float = |operand: &Operand| Ok::<_, Error>(operand.with(cast::lossy(operand.array(), to)?));
    Ok([as_float(&operands[0])?, as_float(&operands[1])?])
}

/// What a checked operation gives, wrapped, and whether it left the range.
pub(super) trait Checked: Copy + PartialEq {
    const ZERO: Self;
    fn plus(self, other: Self) -> (Self, bool);
    fn minus(self, other: Self) -> (Self, bool);
    fn times(self, other: Self) -> (Self, bool);
    /// Quotient rounded down; the divisor is not 0.
    fn floor_divided(self, other: Self) -> (Self, bool);
    /// What the division rounded down leaves; the divisor is not 0.
    fn modulo(self, other: Self) -> (Self, bool);
}

macro_rules! signed {
    ($($native:ty, $wide:ty);*) => { $(impl Checked for $native {
        const ZERO: Self = 0;
        // Overflow shows in the sign bit: a form that compilers turn into vector code, which `overflowing_add` is not.
        #[inline(always)]
        fn plus(self, other: Self) -> (Self, bool) {
            let sum = self.wrapping_add(other);
            (sum, ((self ^ sum) & (other ^ sum)) < 0)
        }
        #[inline(always)]
        fn minus(self, other: Self) -> (Self, bool) {
            let difference = self.wrapping_sub(other);
            (difference, ((self ^ other) & (self ^ difference)) < 0)
        }
        #[inline(always)]
        fn times(self, other: Self) -> (Self, bool) {
            // Narrow products fit a wider vector; for 64 bits the machine's own flag is faster than 128 bits.
            if size_of::<Self>() == size_of::<i64>() {
                return self.overflowing_mul(other);
            }
            let product = <$wide>::from(self) * <$wide>::from(other);
            let low = self.wrapping_mul(other);
            (low, <$wide>::from(low) != product)
        }
        #[inline(always)]
        fn floor_divided(self, other: Self) -> (Self, bool) {
            let (quotient, overflow) = self.overflowing_div(other);
            let remainder = self.wrapping_rem(other);
            (quotient - Self::from(remainder != 0 && (remainder < 0) != (other < 0)), overflow)
        }
        #[inline(always)]
        fn modulo(self, other: Self) -> (Self, bool) {
            let remainder = self.wrapping_rem(other);
            (if remainder != 0 && (remainder < 0) != (other < 0) { remainder + other } else { remainder }, false)
        }
    })* };
}

macro_rules! unsigned {
    ($($native:ty),*) => { $(impl Checked for $native {
        const ZERO: Self = 0;
        #[inline(always)]
        fn plus(self, other: Self) -> (Self, bool) {
            let sum = self.wrapping_add(other);
            (sum, sum < self)
        }
        #[inline(always)]
        fn minus(self, other: Self) -> (Self, bool) {
            (self.wrapping_sub(other), self < other)
        }
        #[inline(always)]
        fn times(self, other: Self) -> (Self, bool) {
            self.overflowing_mul(other)
        }
        #[inline(always)]
        fn floor_divided(self, other: Self) -> (Self, bool) {
            (self / other, false)
        }
        #[inline(always)]
        fn modulo(self, other: Self) -> (Self, bool) {
            (self % other, false)
        }
    })* };
}

signed!(i8, i16; i16, i32; i32, i64; i64, i128);
unsigned!(u8, u16, u32, u64);

fn integers<T: ArrowPrimitiveType>(
    operands: &[Operand; 2],
    op: BinaryOp,
    scope: &Scope<'_>,
    site: &Site,
) -> Result<ArrayRef>
where
    T::Native: Checked,
{
    match op {
        BinaryOp::Add => checked::<T>(operands, T::Native::plus, scope, site),
        BinaryOp::Subtract => checked::<T>(operands, T::Native::minus, scope, site),
        BinaryOp::Multiply => checked::<T>(operands, T::Native::times, scope, site),
        BinaryOp::FloorDivide => divided::<T>(operands, T::Native::floor_divided, scope, site),
        BinaryOp::Modulo => divided::<T>(operands, T::Native::modulo, scope, site),
        other => Err(site.unknown(&other)),
    }
}

/// The results of `operation`, and whether any of them, null or not, left the range.
pub(super) fn wrapped<T: ArrowPrimitiveType>(
    operands: &[Operand; 2],
    operation: impl Fn(T::Native, T::Native) -> (T::Native, bool),
) -> Result<(Vec<T::Native>, bool)> {
    let (left, right) = (natives::<T>(operands[0].array())?, natives::<T>(operands[1].array())?);
    Ok(match (&operands[0], &operands[1]) {
        (Operand::Column(_), Operand::Constant(_)) => {
            let right = right[0];
            gathered(left.iter().map(|left| operation(*left, right)))
        }
        (Operand::Constant(_), Operand::Column(_)) => {
            let left = left[0];
            gathered(right.iter().map(|right| operation(left, *right)))
        }
        _ => gathered(left.iter().zip(right).map(|(left, right)| operation(*left, *right))),
    })
}

/// The values, and whether any flag was set. Nobody else borrows the flag, so it stays in a register: in memory, it
/// made a multiplication five times slower.
#[inline(always)]
fn gathered<N>(results: impl Iterator<Item = (N, bool)>) -> (Vec<N>, bool) {
    let mut any = false;
    let values = results.map(|(value, flag)| {
        any |= flag;
        value
    });
    (values.collect(), any)
}

pub(super) fn checked<T: ArrowPrimitiveType>(
    operands: &[Operand; 2],
    operation: impl Fn(T::Native, T::Native) -> (T::Native, bool) + Copy,
    scope: &Scope<'_>,
    site: &Site,
) -> Result<ArrayRef> {
    let nulls = common_nulls(operands);
    let (values, any) = wrapped::<T>(operands, operation)?;
    if any {
        let (left, right) = (natives::<T>(operands[0].array())?, natives::<T>(operands[1].array())?);
        let fault = |row: &usize| {
            valid(nulls.as_ref(), *row) && operation(left[operands[0].at(*row)], right[operands[1].at(*row)]).1
        };
        if let Some(row) = (0..values.len()).find(fault) {
            return Err(site.overflow(scope.origin(row)));
        }
    }
    Ok(primitive::<T>(values, nulls))
}

pub(super) fn valid(nulls: Option<&NullBuffer>, row: usize) -> bool {
    nulls.is_none_or(|nulls| nulls.is_valid(row))
}

/// As [`checked`]; null where the divisor is 0.
fn divided<T: ArrowPrimitiveType>(
    operands: &[Operand; 2],
    operation: impl Fn(T::Native, T::Native) -> (T::Native, bool) + Copy,
    scope: &Scope<'_>,
    site: &Site,
) -> Result<ArrayRef>
where
    T::Native: Checked,
{
    let zero = T::Native::ZERO;
    let guarded = |left, right| if right == zero { (zero, false) } else { operation(left, right) };
    let answer = checked::<T>(operands, guarded, scope, site)?;
    let divisors = natives::<T>(operands[1].array())?;
    if !divisors.contains(&zero) {
        return Ok(answer);
    }
    let zeros = NullBuffer::from_iter((0..answer.len()).map(|row| divisors[operands[1].at(row)] != zero));
    let nulls = NullBuffer::union(answer.nulls(), Some(&zeros));
    Ok(primitive::<T>(natives::<T>(&answer)?.to_vec(), nulls))
}

/// Operations on floats.
trait Float: Copy {
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn divided(self, other: Self) -> Self;
    fn floor_divided(self, other: Self) -> Self;
    fn modulo(self, other: Self) -> Self;
}

macro_rules! floats {
    ($($native:ty),*) => { $(impl Float for $native {
        fn plus(self, other: Self) -> Self {
            self + other
        }
        fn minus(self, other: Self) -> Self {
            self - other
        }
        fn times(self, other: Self) -> Self {
            self * other
        }
        fn divided(self, other: Self) -> Self {
            self / other
        }
        fn floor_divided(self, other: Self) -> Self {
            (self / other).floor()
        }
        fn modulo(self, other: Self) -> Self {
            let remainder = self % other;
            if remainder != 0.0 && (remainder < 0.0) != (other < 0.0) { remainder + other } else { remainder }
        }
    })* };
}

floats!(f32, f64);

fn floats<T: ArrowPrimitiveType>(operands: &[Operand; 2], op: BinaryOp, site: &Site) -> Result<ArrayRef>
where
    T::Native: Float,
{
    let exact = |operation: fn(T::Native, T::Native) -> T::Native| {
        Ok::<_, Error>(wrapped::<T>(operands, |left, right| (operation(left, right), false))?.0)
    };
    // One call each, so that each becomes a loop of its own.
    let values = match op {
        BinaryOp::Add => wrapped::<T>(operands, |left, right| (left.plus(right), false))?.0,
        BinaryOp::Subtract => wrapped::<T>(operands, |left, right| (left.minus(right), false))?.0,
        BinaryOp::Multiply => wrapped::<T>(operands, |left, right| (left.times(right), false))?.0,
        BinaryOp::Divide => wrapped::<T>(operands, |left, right| (left.divided(right), false))?.0,
        BinaryOp::FloorDivide => exact(T::Native::floor_divided)?,
        BinaryOp::Modulo => exact(T::Native::modulo)?,
        other => return Err(site.unknown(&other)),
    };
    Ok(primitive::<T>(values, common_nulls(operands)))
}

/// Minus.
pub(super) fn negate(operand: &Operand, scope: &Scope<'_>, site: &Site) -> Result<Operand> {
    let operand = operand.decoded()?;
    let array = physical(operand.array())?;
    let nulls = array.logical_nulls();
    let answer = match array.data_type() {
        DataType::Float64 => {
            primitive::<Float64Type>(natives::<Float64Type>(&array)?.iter().map(|value| -value).collect(), nulls)
        }
        DataType::Float32 => {
            primitive::<Float32Type>(natives::<Float32Type>(&array)?.iter().map(|value| -value).collect(), nulls)
        }
        DataType::Decimal128(_, _) => return Ok(operand.with(decimal::negate(&array)?)),
        DataType::Null => array,
        other => by_integer!(other, T => {
            let zero = Operand::Constant(primitive::<T>(vec![Checked::ZERO], None));
            checked::<T>(&[zero, operand.with(array)], Checked::minus, scope, site)?
        }, _ => return Err(site.unknown(other))),
    };
    Ok(operand.with(logical(&answer, &site.data_type)?))
}

/// Sums and differences of times in one unit.
pub(super) fn checked_i64(operands: &[Operand; 2], op: BinaryOp, scope: &Scope<'_>, site: &Site) -> Result<ArrayRef> {
    match op {
        BinaryOp::Add => checked::<Int64Type>(operands, Checked::plus, scope, site),
        BinaryOp::Subtract => checked::<Int64Type>(operands, Checked::minus, scope, site),
        other => Err(site.unknown(&other)),
    }
}

/// The arrays of both operands as their stored integers.
pub(super) fn stored(operands: &[Operand; 2]) -> Result<[Operand; 2]> {
    let [left, right] = operands;
    Ok([left.with(physical(left.array())?), right.with(physical(right.array())?)])
}
