//! Which type two values meet in, and how they get there.
//!
//! | meeting | type |
//! |---|---|
//! | integers, both signed or both unsigned | the wider |
//! | signed and unsigned | the next wider signed; with `UInt64`: `Int64`, checked (compared as `Decimal128(20, 0)`, which holds both) |
//! | `Float32` and `Float64`, float and integer or decimal | `Float64` |
//! | decimals, decimal and integer | the decimal that holds both, at most 38 digits |
//! | text in different layouts | `Utf8` |
//! | date and timestamp | the timestamp (midnight, in its zone) |
//! | timestamps, durations | the finer unit; different zones meet in UTC, but a zone never meets none |
//! | null and anything | that |
//!
//! Literals do not widen the other side as long as they fit it: see [`super::literal`].

use std::sync::Arc;

use super::literal::{bend, needed_type};
use super::{CastMode, TypedExpr, TypedNode};
use crate::columnar::data_type::{is_binary, is_number, is_text, leaf};
use crate::columnar::{DataType, TimeUnit};
use crate::error::{Error, Result};

/// What two values meet for; it decides where an unsigned 64-bit integer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// They are compared: any type that holds both exactly.
    Compare,
    /// A value comes out: a type the user expects.
    Compute,
}

/// The type in which values of both types can be held, if there is one.
pub(super) fn unify(left: &DataType, right: &DataType, purpose: Purpose) -> Option<DataType> {
    let (left, right) = (leaf(left), leaf(right));
    Some(match (left, right) {
        _ if left.equals_datatype(right) => left.clone(),
        (DataType::Null, other) | (other, DataType::Null) => other.clone(),
        _ if left.is_integer() && right.is_integer() => integers(left, right, purpose),
        (DataType::Decimal128(..), other) | (other, DataType::Decimal128(..)) if other.is_floating() => {
            DataType::Float64
        }
        _ if left.is_numeric() && right.is_numeric() && (left.is_floating() || right.is_floating()) => {
            DataType::Float64
        }
        (DataType::Decimal128(..), _) | (_, DataType::Decimal128(..)) => {
            let ((p1, s1), (p2, s2)) = (decimal_shape(left)?, decimal_shape(right)?);
            let scale = s1.max(s2);
            let whole = (i16::from(p1) - i16::from(s1)).max(i16::from(p2) - i16::from(s2));
            let precision = (whole + i16::from(scale)).clamp(1, 38);
            DataType::Decimal128(u8::try_from(precision).ok()?, scale)
        }
        _ if is_text(left) && is_text(right) => DataType::Utf8,
        _ if is_binary(left) && is_binary(right) => DataType::Binary,
        (DataType::Date32, timestamp @ DataType::Timestamp(..))
        | (timestamp @ DataType::Timestamp(..), DataType::Date32) => timestamp.clone(),
        (DataType::Timestamp(u1, z1), DataType::Timestamp(u2, z2)) => {
            let zone = match (z1, z2) {
                (None, None) => None,
                (Some(z1), Some(z2)) if z1 == z2 => Some(Arc::clone(z1)),
                (Some(_), Some(_)) => Some(Arc::from("UTC")),
                _ => return None,
            };
            DataType::Timestamp(finer(*u1, *u2), zone)
        }
        (DataType::Duration(u1), DataType::Duration(u2)) => DataType::Duration(finer(*u1, *u2)),
        _ => return None,
    })
}

fn integers(left: &DataType, right: &DataType, purpose: Purpose) -> DataType {
    let width = |data_type: &DataType| data_type.primitive_width().unwrap_or(8);
    let wider = if width(left) >= width(right) { left } else { right };
    if left.is_signed_integer() == right.is_signed_integer() {
        return wider.clone();
    }
    let (signed, unsigned) = if left.is_signed_integer() { (left, right) } else { (right, left) };
    match (width(signed).max(2 * width(unsigned)), purpose) {
        (2, _) => DataType::Int16,
        (4, _) => DataType::Int32,
        (8, _) | (_, Purpose::Compute) => DataType::Int64,
        (_, Purpose::Compare) => DataType::Decimal128(20, 0),
    }
}

/// Precision and scale of the decimal that holds every value of an exact number type.
pub(super) fn decimal_shape(data_type: &DataType) -> Option<(u8, i8)> {
    Some(match data_type {
        DataType::Decimal128(precision, scale) => (*precision, *scale),
        DataType::Int8 | DataType::UInt8 => (3, 0),
        DataType::Int16 | DataType::UInt16 => (5, 0),
        DataType::Int32 | DataType::UInt32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::UInt64 => (20, 0),
        _ => return None,
    })
}

pub(super) fn finer(left: TimeUnit, right: TimeUnit) -> TimeUnit {
    left.max(right)
}

/// The type in which all values meet: columns first, then literals, which widen it only if they do not fit.
///
/// # Errors
/// Two values have no type in common; the message names both.
pub(super) fn common_type(values: &[&TypedExpr], purpose: Purpose, doing: &str) -> Result<DataType> {
    let mut found: Option<(DataType, &TypedExpr)> = None;
    for value in values.iter().filter(|value| value.as_literal().is_none()) {
        found = Some(match found {
            None => (leaf(&value.data_type).clone(), value),
            Some((met, first)) => {
                let both = unify(&met, &value.data_type, purpose);
                (both.ok_or_else(|| cannot_meet(doing, first, value))?, first)
            }
        });
    }
    for value in values.iter() {
        let Some(literal) = value.as_literal() else { continue };
        found = Some(match found {
            None => (value.data_type.clone(), value),
            Some((DataType::Null, first)) => (value.data_type.clone(), first),
            Some((met, first)) => match bend(literal, &met)? {
                Some(_) => (met, first),
                None => {
                    let both = unify(&met, &needed_type(literal, &met)?, purpose);
                    (both.ok_or_else(|| cannot_meet(doing, first, value))?, first)
                }
            },
        });
    }
    Ok(found.map_or(DataType::Null, |(data_type, _)| data_type))
}

/// The value as another type: unchanged if it has that type, bent if it is a literal, else a checked cast.
///
/// # Errors
/// A literal that the type cannot hold.
pub(super) fn convert(value: TypedExpr, to: &DataType) -> Result<TypedExpr> {
    if value.data_type == *to {
        return Ok(value);
    }
    if let Some(literal) = value.as_literal() {
        return match bend(literal, to)? {
            Some(bent) => Ok(TypedExpr::literal(bent, to.clone())),
            None => Err(Error::invalid_query(format!("{} does not fit {to}", describe(&value)))),
        };
    }
    let nullable = value.nullable;
    Ok(TypedExpr { node: TypedNode::Cast(Box::new(value), CastMode::Checked), data_type: to.clone(), nullable })
}

/// The value out of its dictionary.
pub(super) fn decoded(value: TypedExpr) -> Result<TypedExpr> {
    let to = leaf(&value.data_type).clone();
    convert(value, &to)
}

/// A value that must be `Boolean`.
pub(super) fn condition(value: TypedExpr, whose: &str) -> Result<TypedExpr> {
    if !matches!(leaf(&value.data_type), DataType::Boolean | DataType::Null) {
        let message = format!("{whose} must be true or false, but {} is not", describe(&value));
        return Err(
            Error::invalid_query(message).advice("compare it with something, for example `x > 0` or `x is not null`")
        );
    }
    convert(value, &DataType::Boolean)
}

/// The value out of its dictionary, if it can be counted with.
pub(super) fn number(value: TypedExpr, whose: &str) -> Result<TypedExpr> {
    match leaf(&value.data_type) {
        DataType::Null => convert(value, &DataType::Float64),
        other if is_number(other) => decoded(value),
        other => {
            let hint = if is_text(other) { "cast it: cast(x as double)" } else { "use a column of numbers" };
            let message = format!("{whose} takes a number, but {} is none", describe(&value));
            Err(Error::invalid_query(message).advice(hint))
        }
    }
}

/// How messages name a value: what it is and its type.
pub(super) fn describe(value: &TypedExpr) -> String {
    match &value.node {
        TypedNode::Column(_, name) => format!("column \"{name}\" ({})", value.data_type),
        TypedNode::Literal(literal) if literal.is_null() => "NULL".to_owned(),
        TypedNode::Literal(_) if is_text(&value.data_type) => format!("the text {value}"),
        TypedNode::Literal(_) => format!("the literal {value} ({})", value.data_type),
        _ => format!("{value} ({})", value.data_type),
    }
}

fn cannot_meet(doing: &str, left: &TypedExpr, right: &TypedExpr) -> Error {
    let message = format!("cannot {doing} {} and {}", describe(left), describe(right));
    Error::invalid_query(message).advice(meeting_advice(left, right))
}

fn meeting_advice(left: &TypedExpr, right: &TypedExpr) -> String {
    let (l, r) = (leaf(&left.data_type), leaf(&right.data_type));
    let text_literal = |value: &TypedExpr| value.as_literal().is_some() && is_text(&value.data_type);
    match (l, r) {
        _ if (text_literal(left) && r.is_numeric()) || (text_literal(right) && l.is_numeric()) => {
            "write numbers without quotes, or cast the column to text".to_owned()
        }
        (DataType::Timestamp(..), DataType::Timestamp(..)) => {
            "one has a time zone and the other has none: cast one of them".to_owned()
        }
        _ if (is_text(l) && matches!(r, DataType::Timestamp(..) | DataType::Date32))
            || (is_text(r) && matches!(l, DataType::Timestamp(..) | DataType::Date32)) =>
        {
            "read the text as a time first: strptime(text, '%Y-%m-%d %H:%M:%S')".to_owned()
        }
        (DataType::Boolean, _) | (_, DataType::Boolean) => {
            "true and false are not numbers or text: cast one of them".to_owned()
        }
        _ => format!(
            "cast one of them: cast(x as {})",
            super::display::type_name(if right.as_literal().is_some() { l } else { r })
        ),
    }
}
