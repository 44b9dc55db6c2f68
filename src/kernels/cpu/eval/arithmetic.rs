//! `+ - * / // %` and minus on integers, floats and times; decimals go to [`super::decimal`].

use arrow_array::types::{ArrowPrimitiveType, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;

use super::checked::{Checked, checked, wrapped};
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
