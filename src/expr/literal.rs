//! How literals bend: the same value in the type of what it meets, or the type it needs at least.
//!
//! `col("i8") + lit(1)` is an `Int8` because 1 bends to `Int8`; `col("i8") + lit(300)` is an `Int16` because 300 does
//! not, and needs 16 bits. Text bends to times. A literal bends only if its value stays the same, except for a float
//! beside a `Float32`, which is rounded to what the column can hold.

use std::str::FromStr;
use std::sync::Arc;

use arrow_array::timezone::Tz;
use arrow_cast::parse::string_to_datetime;
use chrono::{DateTime, NaiveDate, Utc};

use super::span;
use crate::columnar::data_type::{is_binary, is_text, leaf};
use crate::columnar::{DataType, Scalar, TimeUnit};
use crate::error::{Error, Result};

const NANOS_PER_DAY: i128 = 86_400_000_000_000;

/// The value as `target` holds it, or none if the type cannot hold it.
///
/// # Errors
/// Text that meets a time but cannot be read as one.
pub(super) fn bend(value: &Scalar, target: &DataType) -> Result<Option<Scalar>> {
    Ok(match (value, leaf(target)) {
        (Scalar::Null, _) => Some(Scalar::Null),
        (Scalar::Boolean(_), DataType::Boolean) => Some(value.clone()),
        (Scalar::Int64(_) | Scalar::UInt64(_), target) if target.is_integer() => integer(value, target),
        (Scalar::Decimal128 { unscaled, scale, .. }, target) if target.is_integer() => {
            rescale(*unscaled, *scale, 0).and_then(whole).and_then(|value| integer(&value, target))
        }
        (_, DataType::Float64) => as_f64(value).map(Scalar::Float64),
        (_, DataType::Float32) => as_f32(value).map(|value| Scalar::Float64(value.into())),
        (_, DataType::Decimal128(precision, scale)) => as_decimal(value, *precision, *scale),
        (Scalar::Utf8(_), target) if is_text(target) => Some(value.clone()),
        (Scalar::Binary(_), target) if is_binary(target) => Some(value.clone()),
        (Scalar::Utf8(text), target) if is_binary(target) => Some(Scalar::Binary(text.clone().into_bytes())),
        (Scalar::Utf8(text), DataType::Timestamp(unit, zone)) => {
            let nanos = timestamp_nanos(text, zone.as_deref())?;
            per_unit(nanos, *unit).map(|value| Scalar::Timestamp(value, *unit, zone.clone()))
        }
        (Scalar::Utf8(text), DataType::Date32) => as_date(timestamp_nanos(text, None)?),
        (Scalar::Utf8(text), DataType::Duration(unit)) => {
            per_unit(span::parse(text)?.into(), *unit).map(|value| Scalar::Duration(value, *unit))
        }
        (Scalar::Date32(_), DataType::Date32) => Some(value.clone()),
        (Scalar::Date32(days), DataType::Timestamp(unit, zone)) => {
            let nanos = local_nanos(i128::from(*days) * NANOS_PER_DAY, zone.as_deref())?;
            nanos.and_then(|nanos| per_unit(nanos, *unit)).map(|v| Scalar::Timestamp(v, *unit, zone.clone()))
        }
        (Scalar::Timestamp(value, from, None), DataType::Date32) => as_date(nanos(*value, *from)),
        (Scalar::Timestamp(value, from, from_zone), DataType::Timestamp(unit, zone)) => {
            let nanos = match (from_zone, zone) {
                (None, Some(zone)) => local_nanos(nanos(*value, *from), Some(zone))?,
                (Some(_), None) => None,
                _ => Some(nanos(*value, *from)),
            };
            nanos.and_then(|nanos| per_unit(nanos, *unit)).map(|v| Scalar::Timestamp(v, *unit, zone.clone()))
        }
        (Scalar::Duration(value, from), DataType::Duration(unit)) => {
            per_unit(nanos(*value, *from), *unit).map(|value| Scalar::Duration(value, *unit))
        }
        (_, target) => (value.data_type() == *target).then(|| value.clone()),
    })
}

/// The narrowest type that holds the literal, of the kind that can meet `other`.
///
/// # Errors
/// Text that meets a time but cannot be read as one.
pub(super) fn needed_type(value: &Scalar, other: &DataType) -> Result<DataType> {
    let other = leaf(other);
    Ok(match value {
        Scalar::Int64(_) | Scalar::UInt64(_) if other.is_integer() => narrowest_integer(value),
        Scalar::Int64(_) | Scalar::UInt64(_) if matches!(other, DataType::Decimal128(..)) => shortest_decimal(value),
        Scalar::Float64(_) if matches!(other, DataType::Decimal128(..)) => shortest_decimal(value),
        Scalar::Utf8(text) => match other {
            DataType::Timestamp(_, zone) => {
                DataType::Timestamp(coarsest_unit(timestamp_nanos(text, zone.as_deref())?), zone.clone())
            }
            DataType::Date32 => DataType::Timestamp(coarsest_unit(timestamp_nanos(text, None)?), None),
            DataType::Duration(_) => DataType::Duration(coarsest_unit(span::parse(text)?.into())),
            _ => DataType::Utf8,
        },
        Scalar::Duration(value, unit) => DataType::Duration(coarsest_unit(nanos(*value, *unit))),
        other => other.data_type(),
    })
}

/// The type of decimal that holds an integer or float literal and no more: 0.05 is a `Decimal128(2, 2)`.
pub(super) fn shortest_decimal(value: &Scalar) -> DataType {
    match decimal_digits(value) {
        Some((unscaled, scale)) => {
            let digits = unscaled.unsigned_abs().checked_ilog10().map_or(1, |log| log + 1);
            let precision = u8::try_from(digits).unwrap_or(38).max(scale.unsigned_abs()).max(1);
            DataType::Decimal128(precision.min(38), scale)
        }
        None => value.data_type(),
    }
}

fn integer(value: &Scalar, target: &DataType) -> Option<Scalar> {
    let wide = match value {
        Scalar::Int64(value) => i128::from(*value),
        Scalar::UInt64(value) => i128::from(*value),
        _ => return None,
    };
    let bits = target.primitive_width()? * 8;
    if target.is_signed_integer() {
        let largest = (1i128 << (bits - 1)) - 1;
        (-largest - 1..=largest).contains(&wide).then(|| i64::try_from(wide).ok().map(Scalar::Int64))?
    } else {
        (0..1i128 << bits).contains(&wide).then(|| u64::try_from(wide).ok().map(Scalar::UInt64))?
    }
}

fn narrowest_integer(value: &Scalar) -> DataType {
    let kinds = match value {
        // Signed first: a small positive literal then widens a signed column least.
        Scalar::Int64(_) => [DataType::Int8, DataType::Int16, DataType::Int32, DataType::Int64],
        _ => [DataType::UInt8, DataType::UInt16, DataType::UInt32, DataType::UInt64],
    };
    kinds.into_iter().find(|kind| integer(value, kind).is_some()).unwrap_or_else(|| value.data_type())
}

#[expect(clippy::cast_precision_loss, reason = "a literal beside a float is that float")]
fn as_f64(value: &Scalar) -> Option<f64> {
    match value {
        Scalar::Int64(value) => Some(*value as f64),
        Scalar::UInt64(value) => Some(*value as f64),
        Scalar::Float64(value) => Some(*value),
        Scalar::Decimal128 { unscaled, scale, .. } => format!("{unscaled}e{}", -i32::from(*scale)).parse().ok(),
        _ => None,
    }
}

/// Floats are rounded; integers only if a `Float32` holds them exactly.
#[expect(clippy::cast_possible_truncation, reason = "rounding to the column's type is meant")]
fn as_f32(value: &Scalar) -> Option<f32> {
    const EXACT_MAX: u64 = 1 << 24;
    match value {
        Scalar::Int64(whole) if whole.unsigned_abs() > EXACT_MAX => None,
        Scalar::UInt64(whole) if *whole > EXACT_MAX => None,
        _ => as_f64(value)
            .map(|float| (float, float as f32))
            .filter(|(f, near)| near.is_finite() || !f.is_finite())
            .map(|(_, near)| near),
    }
}

/// The digits of an integer, a decimal, or the shortest decimal text of a float, and how many stand after the point.
fn decimal_digits(value: &Scalar) -> Option<(i128, i8)> {
    match value {
        Scalar::Int64(value) => Some(((*value).into(), 0)),
        Scalar::UInt64(value) => Some(((*value).into(), 0)),
        Scalar::Decimal128 { unscaled, scale, .. } => Some((*unscaled, *scale)),
        Scalar::Float64(value) if value.is_finite() => {
            let text = value.to_string();
            let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
            let scale = i8::try_from(fraction.len()).ok().filter(|scale| *scale <= 38)?;
            format!("{whole}{fraction}").parse().ok().map(|unscaled| (unscaled, scale))
        }
        _ => None,
    }
}

fn as_decimal(value: &Scalar, precision: u8, scale: i8) -> Option<Scalar> {
    let (unscaled, from) = decimal_digits(value)?;
    let unscaled = rescale(unscaled, from, scale)?;
    let limit = 10u128.checked_pow(precision.into())?;
    (unscaled.unsigned_abs() < limit).then_some(Scalar::Decimal128 { unscaled, precision, scale })
}

/// The same number with another count of digits after the point, if no digit is lost.
fn rescale(unscaled: i128, from: i8, to: i8) -> Option<i128> {
    let shift = i32::from(to) - i32::from(from);
    let factor = 10i128.checked_pow(shift.unsigned_abs())?;
    if shift >= 0 { unscaled.checked_mul(factor) } else { (unscaled % factor == 0).then(|| unscaled / factor) }
}

fn whole(value: i128) -> Option<Scalar> {
    i64::try_from(value).map(Scalar::Int64).or_else(|_| u64::try_from(value).map(Scalar::UInt64)).ok()
}

/// Nanoseconds in one unit.
pub(super) fn unit_nanos(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

fn nanos(value: i64, unit: TimeUnit) -> i128 {
    i128::from(value) * i128::from(unit_nanos(unit))
}

fn per_unit(nanos: i128, unit: TimeUnit) -> Option<i64> {
    let unit = i128::from(unit_nanos(unit));
    (nanos % unit == 0).then(|| i64::try_from(nanos / unit).ok())?
}

fn as_date(nanos: i128) -> Option<Scalar> {
    (nanos % NANOS_PER_DAY == 0).then(|| i32::try_from(nanos / NANOS_PER_DAY).ok().map(Scalar::Date32))?
}

/// The coarsest unit that holds this many nanoseconds exactly.
fn coarsest_unit(nanos: i128) -> TimeUnit {
    [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond]
        .into_iter()
        .find(|unit| nanos % i128::from(unit_nanos(*unit)) == 0)
        .unwrap_or(TimeUnit::Nanosecond)
}

/// Nanoseconds since the epoch of a time written as text; without an offset it is a local time in `zone`, or in no
/// zone at all.
fn timestamp_nanos(text: &str, zone: Option<&str>) -> Result<i128> {
    let trimmed = text.trim();
    let moment: Option<DateTime<Utc>> = match zone {
        None => string_to_datetime(&Utc, trimmed).ok(),
        Some(zone) => string_to_datetime(&time_zone(zone)?, trimmed).ok().map(|moment| moment.with_timezone(&Utc)),
    };
    moment.map(whole_nanos).ok_or_else(|| {
        Error::invalid_query(format!("the text '{text}' is not a time"))
            .advice("write it as '2024-01-31' or '2024-01-31 10:00:00'")
    })
}

/// Nanoseconds since the epoch of a local time in a zone; none for an hour that the clock skips there.
fn local_nanos(nanos: i128, zone: Option<&str>) -> Result<Option<i128>> {
    let Some(zone) = zone else { return Ok(Some(nanos)) };
    let zone = time_zone(zone)?;
    let split = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    let local = i64::try_from(split.0).ok().zip(u32::try_from(split.1).ok());
    let local = local.and_then(|(seconds, nanos)| DateTime::from_timestamp(seconds, nanos));
    Ok(local
        .and_then(|local| local.naive_utc().and_local_timezone(zone).earliest())
        .map(|moment| whole_nanos(moment.with_timezone(&Utc))))
}

fn whole_nanos(moment: DateTime<Utc>) -> i128 {
    i128::from(moment.timestamp()) * 1_000_000_000 + i128::from(moment.timestamp_subsec_nanos())
}

/// The time zone of this name: `UTC`, `Europe/Berlin` or `+02:00`.
///
/// # Errors
/// There is no such zone.
pub(super) fn time_zone(name: &str) -> Result<Tz> {
    Tz::from_str(name).map_err(|_| {
        Error::invalid_query(format!("there is no time zone \"{name}\""))
            .advice("write it as 'UTC', 'Europe/Berlin' or '+02:00'")
    })
}

/// The date or timestamp literal that a text stands for.
///
/// # Errors
/// The text cannot be read.
pub fn date(text: &str) -> Result<Scalar> {
    NaiveDate::parse_from_str(text.trim(), "%Y-%m-%d")
        .ok()
        .and_then(|date| i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok())
        .map(Scalar::Date32)
        .ok_or_else(|| {
            Error::invalid_query(format!("the text '{text}' is not a date")).advice("write it as '2024-01-31'")
        })
}

/// The timestamp literal that a text stands for, in microseconds, or in nanoseconds if it needs them. With `zone`, text
/// without an offset is a local time in it.
///
/// # Errors
/// The text cannot be read, or lies outside what the unit can hold.
pub fn timestamp(text: &str, zone: Option<&str>) -> Result<Scalar> {
    let nanos = timestamp_nanos(text, zone)?;
    let unit = if nanos % 1_000 == 0 { TimeUnit::Microsecond } else { TimeUnit::Nanosecond };
    let value = per_unit(nanos, unit).ok_or_else(|| {
        Error::invalid_query(format!("the timestamp '{text}' is out of range")).advice("use a year near the present")
    })?;
    Ok(Scalar::Timestamp(value, unit, zone.map(Arc::from)))
}

/// The value of this type that a text stands for, where a type stands before a text: `DECIMAL(5, 2) '1.50'`.
///
/// # Errors
/// Text that should be a time but cannot be read as one.
#[cfg(feature = "sql")]
pub(super) fn read(text: &str, data_type: &DataType) -> Result<Option<Scalar>> {
    let trimmed = text.trim();
    let number = match data_type {
        DataType::Decimal128(..) => digits(trimmed),
        DataType::Float32 | DataType::Float64 => trimmed.parse().ok().map(Scalar::Float64),
        DataType::Boolean => trimmed.to_ascii_lowercase().parse().ok().map(Scalar::Boolean),
        other if other.is_integer() => {
            trimmed.parse().map(Scalar::Int64).or_else(|_| trimmed.parse().map(Scalar::UInt64)).ok()
        }
        _ => Some(Scalar::Utf8(text.to_owned())),
    };
    number.map_or(Ok(None), |value| bend(&value, data_type))
}

/// The decimal written by a sign, digits and a point.
#[cfg(feature = "sql")]
fn digits(text: &str) -> Option<Scalar> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let unscaled = format!("{whole}{fraction}").parse().ok()?;
    Some(Scalar::Decimal128 { unscaled, precision: 38, scale: i8::try_from(fraction.len()).ok()? })
}
