//! What operators take and give.

use super::coerce::{Purpose, common_type, condition, convert, decoded, describe, finer, number};
use super::display::symbol;
use super::literal::shortest_decimal;
use super::{BinaryOp, TypedExpr, TypedNode, UnaryOp};
use crate::columnar::data_type::{is_number, is_plain, is_text, leaf};
use crate::columnar::{DataType, Scalar, TimeUnit};
use crate::error::{Error, Result};

const PRECISION_MAX: i16 = 38;

/// An operation on one value.
pub(super) fn unary(op: UnaryOp, input: TypedExpr) -> Result<TypedExpr> {
    let (input, data_type, nullable) = match op {
        UnaryOp::Not => {
            let input = condition(input, "the operand of NOT")?;
            let nullable = input.nullable;
            (input, DataType::Boolean, nullable)
        }
        UnaryOp::IsNull | UnaryOp::IsNotNull => (input, DataType::Boolean, false),
        UnaryOp::IsNan => {
            let input = number(input, "isnan")?;
            let input = if input.data_type.is_floating() { input } else { convert(input, &DataType::Float64)? };
            let nullable = input.nullable;
            (input, DataType::Boolean, nullable)
        }
        UnaryOp::Negate => return negate(input),
    };
    Ok(TypedExpr { node: TypedNode::Unary(op, Box::new(input)), data_type, nullable })
}

fn negate(input: TypedExpr) -> Result<TypedExpr> {
    let negated = match input.as_literal() {
        Some(Scalar::Int64(value)) => value.checked_neg().map(Scalar::Int64),
        Some(Scalar::UInt64(value)) => 0i64.checked_sub_unsigned(*value).map(Scalar::Int64),
        Some(Scalar::Float64(value)) => Some(Scalar::Float64(-value)),
        Some(Scalar::Duration(value, unit)) => value.checked_neg().map(|value| Scalar::Duration(value, *unit)),
        _ => None,
    };
    if let Some(value) = negated {
        let data_type = value.data_type();
        return Ok(TypedExpr::literal(value, data_type));
    }
    let input = match leaf(&input.data_type) {
        DataType::Duration(_) => decoded(input)?,
        // Unsigned values need a sign.
        DataType::UInt8 => convert(input, &DataType::Int16)?,
        DataType::UInt16 => convert(input, &DataType::Int32)?,
        DataType::UInt32 | DataType::UInt64 => convert(input, &DataType::Int64)?,
        _ => number(input, "minus")?,
    };
    let (data_type, nullable) = (input.data_type.clone(), input.nullable);
    Ok(TypedExpr { node: TypedNode::Unary(UnaryOp::Negate, Box::new(input)), data_type, nullable })
}

/// An operation on two values.
pub(super) fn binary(left: TypedExpr, op: BinaryOp, right: TypedExpr) -> Result<TypedExpr> {
    if op.is_logical() {
        let whose = if op == BinaryOp::And { "an operand of AND" } else { "an operand of OR" };
        let (left, right) = (condition(left, whose)?, condition(right, whose)?);
        return Ok(made(left, op, right, DataType::Boolean));
    }
    if op.is_comparison() {
        return comparison(left, op, right);
    }
    let is_span = |value: &TypedExpr| matches!(leaf(&value.data_type), DataType::Duration(_));
    let is_point = |value: &TypedExpr| matches!(leaf(&value.data_type), DataType::Date32 | DataType::Timestamp(..));
    if is_point(&left) || is_point(&right) || is_span(&left) || is_span(&right) {
        return time(decoded(left)?, op, decoded(right)?);
    }
    arithmetic(left, op, right)
}

fn made(left: TypedExpr, op: BinaryOp, right: TypedExpr, data_type: DataType) -> TypedExpr {
    let nullable = left.nullable || right.nullable || can_lack_quotient(op, &right);
    TypedExpr { node: TypedNode::Binary(Box::new(left), op, Box::new(right)), data_type, nullable }
}

/// Whether the result can be null because the divisor can be 0.
fn can_lack_quotient(op: BinaryOp, divisor: &TypedExpr) -> bool {
    let divides = matches!(op, BinaryOp::Divide | BinaryOp::FloorDivide | BinaryOp::Modulo);
    let never_zero = match divisor.as_literal() {
        Some(Scalar::Int64(value)) => *value != 0,
        Some(Scalar::UInt64(value)) => *value != 0,
        Some(Scalar::Decimal128 { unscaled, .. }) => *unscaled != 0,
        _ => divisor.data_type.is_floating(),
    };
    divides && !never_zero
}

/// Refuses values that have no order.
pub(super) fn comparable(value: &TypedExpr, doing: &str) -> Result<()> {
    if is_plain(&value.data_type) {
        return Ok(());
    }
    let message = format!("{doing} cannot compare {}", describe(value));
    Err(Error::invalid_query(message).advice("lists and structs have no order: compare an item or a field"))
}

fn comparison(left: TypedExpr, op: BinaryOp, right: TypedExpr) -> Result<TypedExpr> {
    comparable(&left, symbol(op))?;
    comparable(&right, symbol(op))?;
    // Two columns in one dictionary layout are compared as they are.
    let same = left.data_type == right.data_type;
    let data_type = match common_type(&[&left, &right], Purpose::Compare, "compare")? {
        DataType::Null => DataType::Boolean,
        _ if same => left.data_type.clone(),
        met => met,
    };
    let literal = left.as_literal().is_some() || right.as_literal().is_some();
    let side = |value: TypedExpr| match leaf(&value.data_type) == &data_type && literal {
        true => Ok(value),
        false => convert(value, &data_type),
    };
    Ok(made(side(left)?, op, side(right)?, DataType::Boolean))
}

fn arithmetic(left: TypedExpr, op: BinaryOp, right: TypedExpr) -> Result<TypedExpr> {
    for value in [&left, &right] {
        if !is_number(leaf(&value.data_type)) && leaf(&value.data_type) != &DataType::Null {
            return Err(not_a_number(value, op));
        }
    }
    let is_decimal = |value: &TypedExpr| matches!(leaf(&value.data_type), DataType::Decimal128(..));
    if is_decimal(&left) || is_decimal(&right) {
        return decimal(left, op, right);
    }
    let mut data_type = common_type(&[&left, &right], Purpose::Compute, "compute with")?;
    if data_type == DataType::Null {
        data_type = DataType::Int64;
    }
    if op == BinaryOp::Divide && data_type.is_integer() {
        data_type = DataType::Float64;
    }
    Ok(made(convert(left, &data_type)?, op, convert(right, &data_type)?, data_type))
}

fn not_a_number(value: &TypedExpr, op: BinaryOp) -> Error {
    let message = format!("`{}` takes numbers, but {} is none", symbol(op), describe(value));
    Error::invalid_query(message).advice(match leaf(&value.data_type) {
        text if is_text(text) && op == BinaryOp::Add => "join texts with `||`, or cast: cast(x as double)",
        text if is_text(text) => "cast it: cast(x as double)",
        DataType::Boolean => "count conditions with `case when x then 1 else 0 end`",
        _ => "take a field or an item of it",
    })
}

/// Decimals: each side keeps its own precision and scale; literals take no more digits than they need.
fn decimal(left: TypedExpr, op: BinaryOp, right: TypedExpr) -> Result<TypedExpr> {
    let Some((left, right)) = decimal_sides(left, right)? else {
        return Err(Error::internal("decimal arithmetic met a type that is no number"));
    };
    if !matches!((&left.data_type, &right.data_type), (DataType::Decimal128(..), DataType::Decimal128(..))) {
        let (left, right) = (convert(left, &DataType::Float64)?, convert(right, &DataType::Float64)?);
        return Ok(made(left, op, right, DataType::Float64));
    }
    let data_type = decimal_result(&left.data_type, op, &right.data_type)?;
    Ok(made(left, op, right, data_type))
}

/// Both sides as decimals, or as they are if one of them is a float.
fn decimal_sides(left: TypedExpr, right: TypedExpr) -> Result<Option<(TypedExpr, TypedExpr)>> {
    let side = |value: TypedExpr| -> Result<Option<TypedExpr>> {
        Ok(match (value.as_literal(), leaf(&value.data_type)) {
            (Some(Scalar::Null), _) | (_, DataType::Null) => Some(convert(value, &DataType::Decimal128(1, 0))?),
            (Some(literal), _) => {
                let to = shortest_decimal(literal);
                Some(if matches!(to, DataType::Decimal128(..)) { convert(value, &to)? } else { value })
            }
            (None, DataType::Decimal128(..) | DataType::Float32 | DataType::Float64) => Some(decoded(value)?),
            (None, integer) => match super::coerce::decimal_shape(integer) {
                Some((precision, scale)) => Some(convert(value, &DataType::Decimal128(precision, scale))?),
                None => None,
            },
        })
    };
    Ok(side(left)?.zip(side(right)?))
}

/// Precision and scale as `arrow-arith` makes them.
fn decimal_result(left: &DataType, op: BinaryOp, right: &DataType) -> Result<DataType> {
    let (DataType::Decimal128(p1, s1), DataType::Decimal128(p2, s2)) = (left, right) else {
        return Err(Error::internal("decimal arithmetic met a type that is no decimal"));
    };
    let (p1, s1, p2, s2) = (i16::from(*p1), i16::from(*s1), i16::from(*p2), i16::from(*s2));
    let (precision, scale) = match op {
        BinaryOp::Add | BinaryOp::Subtract => (s1.max(s2) + (p1 - s1).max(p2 - s2) + 1, s1.max(s2)),
        BinaryOp::Multiply => (p1 + p2 + 1, s1 + s2),
        BinaryOp::Divide => {
            let scale = (s1 + 4).min(PRECISION_MAX);
            (p1 + scale - s1 + s2, scale)
        }
        // The quotient is a whole number.
        BinaryOp::FloorDivide => (p1 - s1 + s2 + 1, 0),
        _ => (s1.max(s2) + (p1 - s1).min(p2 - s2), s1.max(s2)),
    };
    if scale > PRECISION_MAX {
        let message = format!("`{}` of {left} and {right} needs {scale} digits after the point", symbol(op));
        return Err(Error::invalid_query(message).advice("38 are the most: cast one side to fewer digits first"));
    }
    let precision = precision.clamp(scale.max(1), PRECISION_MAX);
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision), Ok(scale)) => Ok(DataType::Decimal128(precision, scale)),
        _ => Err(Error::internal(format!("a decimal of {precision} digits, {scale} after the point"))),
    }
}

/// Points and spans of time.
fn time(left: TypedExpr, op: BinaryOp, right: TypedExpr) -> Result<TypedExpr> {
    use BinaryOp::{Add, Divide, Multiply, Subtract};
    let is_point = |t: &DataType| matches!(t, DataType::Date32 | DataType::Timestamp(..));
    let (l, r) = (left.data_type.clone(), right.data_type.clone());
    match (&l, op, &r) {
        (DataType::Date32, Subtract, DataType::Date32) => {
            Ok(made(left, op, right, DataType::Duration(TimeUnit::Second)))
        }
        // A text or null beside a time is a time.
        (_, Subtract, _) if is_point(&l) && !matches!(r, DataType::Duration(_)) || is_point(&r) && op == Subtract => {
            let both = common_type(&[&left, &right], Purpose::Compute, "subtract")?;
            if both == DataType::Date32 {
                return time(convert(left, &both)?, op, convert(right, &both)?);
            }
            let DataType::Timestamp(unit, _) = both else { return Err(wrong_time(&left, op, &right)) };
            Ok(made(convert(left, &both)?, op, convert(right, &both)?, DataType::Duration(unit)))
        }
        (DataType::Duration(_), Add, _) if is_point(&r) => time(right, op, left),
        (_, Add | Subtract, DataType::Duration(span)) if is_point(&l) => {
            let (unit, zone) = match &l {
                DataType::Timestamp(unit, zone) => {
                    let bends =
                        right.as_literal().is_some_and(|_| convert(right.clone(), &DataType::Duration(*unit)).is_ok());
                    (if bends { *unit } else { finer(*unit, *span) }, zone.clone())
                }
                _ => (*span, None),
            };
            let point = DataType::Timestamp(unit, zone);
            Ok(made(convert(left, &point)?, op, convert(right, &DataType::Duration(unit))?, point))
        }
        (DataType::Duration(_), Add | Subtract, DataType::Duration(_)) => {
            let both = common_type(&[&left, &right], Purpose::Compute, "compute with")?;
            Ok(made(convert(left, &both)?, op, convert(right, &both)?, both))
        }
        (DataType::Duration(_), Divide, DataType::Duration(_)) => {
            let both = common_type(&[&left, &right], Purpose::Compute, "divide")?;
            let count = |span| convert(units(convert(span, &both)?)?, &DataType::Float64);
            Ok(made(count(left)?, op, count(right)?, DataType::Float64))
        }
        // Spans are scaled as whole numbers of their unit.
        (DataType::Duration(_), Multiply, integer) if integer.is_integer() => scaled(left, op, right),
        (integer, Multiply, DataType::Duration(_)) if integer.is_integer() => scaled(right, op, left),
        (DataType::Duration(_), Divide, integer) if integer.is_integer() => scaled(left, BinaryOp::FloorDivide, right),
        _ => Err(wrong_time(&left, op, &right)),
    }
}

fn scaled(span: TypedExpr, op: BinaryOp, factor: TypedExpr) -> Result<TypedExpr> {
    let to = span.data_type.clone();
    convert(made(units(span)?, op, convert(factor, &DataType::Int64)?, DataType::Int64), &to)
}

/// A span as the number of its units.
fn units(span: TypedExpr) -> Result<TypedExpr> {
    match span.as_literal() {
        Some(Scalar::Duration(units, _)) => Ok(TypedExpr::literal(Scalar::Int64(*units), DataType::Int64)),
        _ => convert(span, &DataType::Int64),
    }
}

fn wrong_time(left: &TypedExpr, op: BinaryOp, right: &TypedExpr) -> Error {
    let message = format!("`{}` has no meaning for {} and {}", symbol(op), describe(left), describe(right));
    let number = |value: &TypedExpr| is_number(leaf(&value.data_type));
    Error::invalid_query(message).advice(if number(left) || number(right) {
        "write spans of time with their unit: interval '10 seconds'"
    } else {
        "times can be subtracted; spans can be added to times and to each other"
    })
}
