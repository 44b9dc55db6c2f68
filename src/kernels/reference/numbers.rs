//! Functions of numbers.

#![expect(clippy::cast_possible_truncation, reason = "32-bit floats are held exactly in 64-bit ones")]

use super::At;
use super::arithmetic::{fit, integer};
use super::cast::cast;
use crate::columnar::{DataType, Scalar};
use crate::error::Result;
use crate::expr::Function;

pub(super) fn call(function: &Function, values: &[Scalar], at: &At<'_>) -> Result<Scalar> {
    match function {
        Function::Sqrt => real(&values[0], at).map(|x| Scalar::Float64(x.sqrt())),
        Function::Exp => real(&values[0], at).map(|x| Scalar::Float64(x.exp())),
        Function::Ln => real(&values[0], at).map(|x| Scalar::Float64(x.ln())),
        Function::Pow => Ok(Scalar::Float64(real(&values[0], at)?.powf(real(&values[1], at)?))),
        Function::Log => {
            let (x, base) = (real(&values[0], at)?, real(&values[1], at)?);
            Ok(Scalar::Float64(match base {
                2.0 => x.log2(),
                10.0 => x.log10(),
                base => x.ln() / base.ln(),
            }))
        }
        _ => same_type(function, &values[0], at),
    }
}

fn real(value: &Scalar, at: &At<'_>) -> Result<f64> {
    match cast(value, &value.data_type(), &DataType::Float64)? {
        Some(Scalar::Float64(value)) => Ok(value),
        _ => Err(at.unknown(value)),
    }
}

fn same_type(function: &Function, value: &Scalar, at: &At<'_>) -> Result<Scalar> {
    if let Scalar::Float64(value) = value {
        let result = match function {
            Function::Abs => value.abs(),
            Function::Floor => value.floor(),
            Function::Ceil => value.ceil(),
            Function::Round(digits) => {
                let scale = 10_f64.powi(i32::try_from(*digits).unwrap_or(i32::MAX));
                let rounded = (value * scale).round() / scale;
                if rounded.is_finite() { rounded } else { *value }
            }
            _ => return Err(at.unknown(function)),
        };
        let narrow = *at.to() == DataType::Float32;
        return Ok(Scalar::Float64(if narrow { f64::from(result as f32) } else { result }));
    }
    let stored = integer(value).ok_or_else(|| at.unknown(value))?;
    let scale = match value {
        Scalar::Decimal128 { scale, .. } => u32::try_from(*scale).unwrap_or(0),
        _ => 0,
    };
    let digits = if let Function::Round(digits) = function { *digits } else { 0 };
    let step = 10_i128.pow(scale.saturating_sub(digits));
    let below = stored.div_euclid(step) * step;
    let result = match function {
        Function::Abs => stored.abs(),
        _ if below == stored => stored,
        Function::Floor => below,
        Function::Ceil => below + step,
        // The nearer neighbour; of two equally near ones the one further from zero.
        _ => match (stored - below).cmp(&(below + step - stored)) {
            std::cmp::Ordering::Less => below,
            std::cmp::Ordering::Greater => below + step,
            std::cmp::Ordering::Equal if stored < 0 => below,
            std::cmp::Ordering::Equal => below + step,
        },
    };
    fit(result, at.to()).ok_or_else(|| at.overflow())
}
