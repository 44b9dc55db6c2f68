//! Which state an aggregate needs, by its function and the type of its input.

use arrow_schema::DataType;

use super::concat::Concat;
use super::extreme_bytes::ExtremeBytes;
use super::extreme_decimal::ExtremeDecimal;
use super::n_unique::NUnique;
use super::nothing::Nothing;
use super::ordered_spread::OrderedSpread;
use super::pick::Pick;
use super::quantile::Quantile;
use super::state::State;
use super::truth::Truth;
use super::variance::{self, FloatVariance, WholeVariance};
use crate::columnar::data_type;
use crate::error::{Error, ErrorKind, Result};
use crate::expr::{AggregateFunction, TypedAggregate, TypedExpr};

/// Whether rows with a null are seen, too.
pub(super) fn is_null_kept(function: &AggregateFunction) -> bool {
    matches!(function, AggregateFunction::Len | AggregateFunction::First | AggregateFunction::Last)
}

/// An empty state for this aggregate, which is not in lanes.
pub(super) fn make(aggregate: &TypedAggregate) -> Result<Box<dyn State>> {
    use AggregateFunction as Function;
    let Some(TypedExpr { data_type: input, .. }) = &aggregate.input else {
        return Err(refuse(aggregate, "nothing"));
    };
    let values = match input {
        DataType::Dictionary(_, values) => values,
        other => other,
    };
    let state: Option<Box<dyn State>> = match &aggregate.function {
        Function::First => Some(Box::new(Pick::<false>::new(input.clone()))),
        Function::Last => Some(Box::new(Pick::<true>::new(input.clone()))),
        Function::NUnique => Some(Box::new(NUnique::new(values)?)),
        _ if *values == DataType::Null => Some(Box::new(Nothing::new(aggregate.data_type.clone()))),
        Function::OrderedVariance(ddof) => {
            ordered_spread(values, variance::Wanted { ddof: *ddof, is_deviation: false })
        }
        Function::OrderedStdDev(ddof) => ordered_spread(values, variance::Wanted { ddof: *ddof, is_deviation: true }),
        Function::Variance(ddof) => spread(values, variance::Wanted { ddof: *ddof, is_deviation: false }),
        Function::StdDev(ddof) => spread(values, variance::Wanted { ddof: *ddof, is_deviation: true }),
        Function::Min => extreme::<false>(values),
        Function::Max => extreme::<true>(values),
        Function::Quantile(share) if data_type::is_number(values) => Some(Box::new(Quantile::new(*share))),
        Function::Any if *values == DataType::Boolean => Some(Box::new(Truth::<true>::new())),
        Function::All if *values == DataType::Boolean => Some(Box::new(Truth::<false>::new())),
        Function::Concat(separator) if data_type::is_text(values) => {
            Some(Box::new(Concat::new(values.clone(), separator.clone())))
        }
        _ => None,
    };
    state.ok_or_else(|| refuse(aggregate, &input.to_string()))
}

fn refuse(aggregate: &TypedAggregate, input: &str) -> Error {
    let message = format!("{} of {input} is not defined", aggregate.function.name());
    Error::new(ErrorKind::Unsupported, message)
        .at(crate::error::Place::default().column(&aggregate.name))
        .advice("cast the input first")
}

/// Runs an expression for each type of whole numbers, with its native type and the limbs of its sum.
macro_rules! with_whole {
    ($data_type:expr, $native:ident, $limbs:ident, $square_limbs:ident => $run:expr, _ => $other:expr) => {{
        macro_rules! run {
            ($type:ty, $sum:literal, $squares:literal) => {{
                type $native = $type;
                const $limbs: usize = $sum;
                const $square_limbs: usize = $squares;
                $run
            }};
        }
        match $data_type {
            DataType::Int8 => run!(i8, 2, 4),
            DataType::Int16 => run!(i16, 2, 4),
            DataType::Int32 => run!(i32, 2, 4),
            DataType::Int64 | DataType::Duration(_) => run!(i64, 2, 4),
            DataType::UInt8 => run!(u8, 2, 4),
            DataType::UInt16 => run!(u16, 2, 4),
            DataType::UInt32 => run!(u32, 2, 4),
            DataType::UInt64 => run!(u64, 2, 4),
            DataType::Decimal128(_, _) => run!(i128, 3, 6),
            _ => $other,
        }
    }};
}

fn spread(values: &DataType, wanted: variance::Wanted) -> Option<Box<dyn State>> {
    let scale = scale(values)?;
    with_whole!(values, Native, LIMBS, SQUARE_LIMBS => {
        Some(Box::new(WholeVariance::<Native, LIMBS, SQUARE_LIMBS>::new(wanted, scale)))
    }, _ => match values {
        DataType::Float32 => Some(Box::new(FloatVariance::<f32>::new(wanted))),
        DataType::Float64 => Some(Box::new(FloatVariance::<f64>::new(wanted))),
        _ => None,
    })
}

fn ordered_spread(values: &DataType, wanted: variance::Wanted) -> Option<Box<dyn State>> {
    match values {
        DataType::Float32 => Some(Box::new(OrderedSpread::<f32>::new(wanted))),
        DataType::Float64 => Some(Box::new(OrderedSpread::<f64>::new(wanted))),
        _ => None,
    }
}

/// Decimal digits after the point; none for what is not a number.
pub(super) fn scale(values: &DataType) -> Option<i8> {
    match values {
        DataType::Decimal128(_, scale) => Some(*scale),
        other => data_type::is_number(other).then_some(0),
    }
}

fn extreme<const IS_MAX: bool>(values: &DataType) -> Option<Box<dyn State>> {
    Some(match values {
        DataType::Boolean if IS_MAX => Box::new(Truth::<true>::new()),
        DataType::Boolean => Box::new(Truth::<false>::new()),
        DataType::Decimal128(..) => Box::new(ExtremeDecimal::<IS_MAX>::new(values.clone())),
        other if data_type::is_text(other) || data_type::is_binary(other) => {
            Box::new(ExtremeBytes::<IS_MAX>::new(values.clone()))
        }
        _ => return None,
    })
}
