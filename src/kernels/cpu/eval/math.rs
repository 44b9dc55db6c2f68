//! Functions of numbers.

use arrow_array::types::{ArrowPrimitiveType, Decimal128Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};

use super::native::by_integer;
use super::operand::{Operand, common_nulls, logical, natives, physical, primitive, shape, shaped, valid};
use super::{Apply, Scope, Site, cast};
use crate::columnar::DataType;
use crate::error::Result;
use crate::expr::Function;

pub(super) fn prepare(function: &Function, to: &DataType) -> Apply {
    let (function, to) = (function.clone(), to.clone());
    Box::new(move |operands, scope, site| {
        if operands.iter().any(Operand::is_null_constant) {
            return Ok(Operand::null(&to));
        }
        let operands = operands.iter().map(Operand::decoded).collect::<Result<Vec<_>>>()?;
        match function {
            Function::Sqrt => real(&operands[0], f64::sqrt),
            Function::Exp => real(&operands[0], f64::exp),
            Function::Ln => real(&operands[0], f64::ln),
            Function::Log => real_pair(&operands, logarithm),
            Function::Pow => real_pair(&operands, f64::powf),
            _ => rounding(&function, &operands[0], scope, site),
        }
    })
}

/// Exactly rounded for the bases for which there is such a function.
#[expect(clippy::float_cmp, reason = "exactly these bases")]
fn logarithm(value: f64, base: f64) -> f64 {
    if base == 2.0 {
        value.log2()
    } else if base == 10.0 {
        value.log10()
    } else {
        value.ln() / base.ln()
    }
}

fn real(operand: &Operand, function: impl Fn(f64) -> f64) -> Result<Operand> {
    let array = cast::lossy(operand.array(), &DataType::Float64)?;
    let values = natives::<Float64Type>(&array)?.iter().map(|value| function(*value)).collect();
    Ok(operand.with(primitive::<Float64Type>(values, array.nulls().cloned())))
}

fn real_pair(operands: &[Operand], function: impl Fn(f64, f64) -> f64) -> Result<Operand> {
    let (rows, constant) = shape(operands);
    let left = cast::lossy(operands[0].array(), &DataType::Float64)?;
    let right = cast::lossy(operands[1].array(), &DataType::Float64)?;
    let (a, b) = (natives::<Float64Type>(&left)?, natives::<Float64Type>(&right)?);
    let values = match operands[1] {
        Operand::Constant(_) if !constant => a.iter().map(|a| function(*a, b[0])).collect(),
        _ => (0..rows).map(|row| function(a[operands[0].at(row)], b[operands[1].at(row)])).collect(),
    };
    Ok(shaped(primitive::<Float64Type>(values, common_nulls(operands)), constant))
}

/// `Abs`, `Round`, `Floor` and `Ceil`, which keep the type.
fn rounding(function: &Function, operand: &Operand, scope: &Scope<'_>, site: &Site) -> Result<Operand> {
    let array = physical(operand.array())?;
    let answer = match array.data_type() {
        DataType::Float64 => floats(&array, function)?,
        DataType::Float32 => {
            let wide = cast::lossy(&array, &DataType::Float64)?;
            match function {
                Function::Round(digits) => {
                    let values = natives::<Float32Type>(&array)?.iter().map(|value| round_f32(*value, *digits));
                    primitive::<Float32Type>(values.collect(), array.nulls().cloned())
                }
                _ => cast::lossy(&floats(&wide, function)?, &DataType::Float32)?,
            }
        }
        DataType::Decimal128(_, _) => decimals(&array, function, scope, site)?,
        DataType::Null => array,
        other => match function {
            Function::Abs => by_integer!(other, T => absolute::<T>(&array, scope, site)?, _ => {
                return Err(site.unknown(other));
            }),
            _ => array,
        },
    };
    Ok(operand.with(logical(&answer, &site.data_type)?))
}

fn floats(array: &ArrayRef, function: &Function) -> Result<ArrayRef> {
    let values = natives::<Float64Type>(array)?.iter();
    let values = match function {
        Function::Abs => values.map(|value| value.abs()).collect(),
        Function::Floor => values.map(|value| value.floor()).collect(),
        Function::Ceil => values.map(|value| value.ceil()).collect(),
        Function::Round(0) => values.map(|value| value.round()).collect(),
        Function::Round(digits) => {
            let scale = 10_f64.powi(i32::try_from(*digits).unwrap_or(i32::MAX));
            values.map(|value| round_scaled(*value, scale)).collect()
        }
        _ => values.copied().collect(),
    };
    Ok(primitive::<Float64Type>(values, array.nulls().cloned()))
}

/// Values too large to have digits there stay as they are.
fn round_scaled(value: f64, scale: f64) -> f64 {
    let rounded = (value * scale).round() / scale;
    if rounded.is_finite() { rounded } else { value }
}

#[expect(clippy::cast_possible_truncation, reason = "the result is rounded to the type of the input")]
fn round_f32(value: f32, digits: u32) -> f32 {
    round_scaled(f64::from(value), 10_f64.powi(i32::try_from(digits).unwrap_or(i32::MAX))) as f32
}

/// The absolute value of integers, wrapped, and whether it left the range.
trait Absolute: Copy {
    fn absolute(self) -> (Self, bool);
}

macro_rules! absolute {
    (signed: $($signed:ty),*; unsigned: $($unsigned:ty),*) => {
        $(impl Absolute for $signed {
            fn absolute(self) -> (Self, bool) {
                (self.wrapping_abs(), self == Self::MIN)
            }
        })*
        $(impl Absolute for $unsigned {
            fn absolute(self) -> (Self, bool) {
                (self, false)
            }
        })*
    };
}

absolute!(signed: i8, i16, i32, i64; unsigned: u8, u16, u32, u64);

fn absolute<T: ArrowPrimitiveType>(array: &ArrayRef, scope: &Scope<'_>, site: &Site) -> Result<ArrayRef>
where
    T::Native: Absolute,
{
    let values = natives::<T>(array)?;
    let fault = |row: &usize| values[*row].absolute().1 && valid(array.nulls(), *row);
    if values.iter().any(|value| value.absolute().1)
        && let Some(row) = (0..values.len()).find(fault)
    {
        return Err(site.overflow(scope.origin(row)));
    }
    Ok(primitive::<T>(values.iter().map(|value| value.absolute().0).collect(), array.nulls().cloned()))
}

fn decimals(array: &ArrayRef, function: &Function, scope: &Scope<'_>, site: &Site) -> Result<ArrayRef> {
    let DataType::Decimal128(precision, scale) = array.data_type() else { return Err(site.unknown(function)) };
    let keep = match function {
        Function::Round(digits) => *digits,
        _ => 0,
    };
    let dropped = u32::try_from(*scale).unwrap_or(0).saturating_sub(keep);
    let step = 10_i128.pow(dropped);
    let bound = 10_i128.pow((*precision).into());
    let round = |value: i128| match function {
        Function::Abs => value.abs(),
        Function::Floor => value.div_euclid(step) * step,
        Function::Ceil => -((-value).div_euclid(step) * step),
        // Half a step is added away from zero; a step of 1 has no half.
        _ if step == 1 => value,
        _ => (value + value.signum() * (step / 2)) / step * step,
    };
    let mut values = Vec::with_capacity(array.len());
    for (row, value) in natives::<Decimal128Type>(array)?.iter().enumerate() {
        let known = valid(array.nulls(), row);
        let result = if known { round(*value) } else { 0 };
        if result.abs() >= bound {
            return Err(site.overflow(scope.origin(row)));
        }
        values.push(result);
    }
    logical(&primitive::<Decimal128Type>(values, array.nulls().cloned()), array.data_type())
}
