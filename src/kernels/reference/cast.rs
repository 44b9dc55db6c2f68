//! Casts of one value.

use std::sync::LazyLock;

use arrow_cast::{CastOptions, cast_with_options};
use chrono::NaiveDate;
use regex::{Captures, Regex};

use super::arithmetic::{fit, integer};
use super::time::{instant_of, nanos_of, of_nanos, wall_of};
use crate::columnar::data_type::{is_text, is_time};
use crate::columnar::{DataType, Scalar};
use crate::error::Result;

/// The value as another type; `None` if that type cannot hold it.
///
/// Text made of values, and casts of lists, structs and bytes, are Arrow's.
pub(super) fn cast(value: &Scalar, from: &DataType, to: &DataType) -> Result<Option<Scalar>> {
    if let DataType::Dictionary(_, values) = to {
        return cast(value, from, values);
    }
    Ok(match (value, to) {
        (Scalar::Null, _) => Some(Scalar::Null),
        _ if from == to => Some(value.clone()),
        (Scalar::Utf8(text), to) if !is_text(to) && (to.is_numeric() || is_time(to) || *to == DataType::Boolean) => {
            read(text, to)
        }
        (Scalar::Utf8(_), to) if is_text(to) => Some(value.clone()),
        (value, to) if is_time(from) && is_time(to) => between_times(value, to),
        (Scalar::Boolean(_) | Scalar::Int64(_) | Scalar::UInt64(_), to) if to.is_integer() || is_time(to) => {
            integer(value).and_then(|value| fit(value, to))
        }
        (value, to) if is_time(from) && to.is_integer() => integer(value).and_then(|value| fit(value, to)),
        (Scalar::Boolean(_) | Scalar::Int64(_) | Scalar::UInt64(_), DataType::Boolean) => {
            Some(Scalar::Boolean(integer(value) != Some(0)))
        }
        (Scalar::Int64(value), DataType::Float32) => Some(Scalar::Float64((*value as f32).into())),
        (Scalar::UInt64(value), DataType::Float32) => Some(Scalar::Float64((*value as f32).into())),
        (Scalar::Boolean(value), DataType::Float32 | DataType::Float64) => Some(Scalar::Float64((*value).into())),
        (Scalar::Int64(value), DataType::Float64) => Some(Scalar::Float64(*value as f64)),
        (Scalar::UInt64(value), DataType::Float64) => Some(Scalar::Float64(*value as f64)),
        (Scalar::Float64(value), to) => from_float(*value, from, to)?,
        (Scalar::Int64(_) | Scalar::UInt64(_), DataType::Decimal128(_, scale)) => {
            integer(value).and_then(|value| value.checked_mul(ten_to(*scale)?)).and_then(|value| fit(value, to))
        }
        (Scalar::Decimal128 { unscaled, scale, .. }, to) => from_decimal(*unscaled, *scale, from, to)?,
        _ => by_arrow(value, from, to)?,
    })
}

fn by_arrow(value: &Scalar, from: &DataType, to: &DataType) -> Result<Option<Scalar>> {
    let array = Scalar::to_array(std::slice::from_ref(value), from)?;
    let array = cast_with_options(&array, to, &CastOptions { safe: true, ..CastOptions::default() })?;
    Ok(Some(Scalar::from_array(&array, 0)?).filter(|value| !value.is_null()))
}

fn ten_to(scale: i8) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(scale).ok()?)
}

#[expect(clippy::cast_possible_truncation, reason = "ranges are checked, and floats narrowed on purpose")]
fn from_float(value: f64, from: &DataType, to: &DataType) -> Result<Option<Scalar>> {
    let whole = |value: f64| (value.abs() < 1e38).then_some(value as i128);
    Ok(match to {
        DataType::Boolean => Some(Scalar::Boolean(value != 0.0)),
        DataType::Float64 => Some(Scalar::Float64(value)),
        DataType::Float32 => Some(Scalar::Float64((value as f32).into())),
        DataType::Decimal128(_, scale) => {
            whole((value * 10_f64.powi((*scale).into())).round()).and_then(|value| fit(value, to))
        }
        to if to.is_integer() => whole(value.trunc()).and_then(|value| fit(value, to)),
        _ => by_arrow(&Scalar::Float64(value), from, to)?,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "floats are narrowed on purpose")]
fn from_decimal(unscaled: i128, scale: i8, from: &DataType, to: &DataType) -> Result<Option<Scalar>> {
    let float = unscaled as f64 / 10_f64.powi(scale.into());
    Ok(match to {
        DataType::Float64 => Some(Scalar::Float64(float)),
        DataType::Float32 => Some(Scalar::Float64((float as f32).into())),
        DataType::Decimal128(_, to_scale) if *to_scale >= scale => {
            ten_to(to_scale - scale).and_then(|factor| unscaled.checked_mul(factor)).and_then(|value| fit(value, to))
        }
        DataType::Decimal128(_, to_scale) => {
            // Half a step added away from zero, then cut.
            let step = ten_to(scale - to_scale);
            step.and_then(|step| fit((unscaled + unscaled.signum() * (step / 2)) / step, to))
        }
        to if to.is_integer() => ten_to(scale).and_then(|step| fit(unscaled / step, to)),
        _ => by_arrow(&Scalar::Decimal128 { unscaled, precision: 38, scale }, from, to)?,
    })
}

/// Between instants and wall clocks the zone decides; everything else keeps the time and rounds it down.
fn between_times(value: &Scalar, to: &DataType) -> Option<Scalar> {
    let nanos = nanos_of(value)?;
    let from_zone = match value {
        Scalar::Timestamp(_, _, zone) => zone.as_ref(),
        _ => None,
    };
    let to_zone = match to {
        DataType::Timestamp(_, zone) => zone.as_ref(),
        _ => None,
    };
    let is_utc = |zone: &&std::sync::Arc<str>| &***zone == "UTC";
    let nanos = match (from_zone.filter(|zone| !is_utc(zone)), to_zone.filter(|zone| !is_utc(zone))) {
        (Some(zone), None) if to_zone.is_none() => wall_of(nanos, Some(zone))?,
        (None, Some(zone)) if from_zone.is_none() => instant_of(nanos, Some(zone))?,
        _ => nanos,
    };
    of_nanos(nanos, to)
}

fn read(text: &str, to: &DataType) -> Option<Scalar> {
    match to {
        DataType::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" => Some(true.into()),
            "false" => Some(false.into()),
            _ => None,
        },
        DataType::Float64 => text.parse::<f64>().ok().map(Scalar::from),
        DataType::Float32 => text.parse::<f32>().ok().map(Scalar::from),
        DataType::UInt64 | DataType::UInt32 | DataType::UInt16 | DataType::UInt8 => {
            text.parse::<u64>().ok().and_then(|value| fit(value.into(), to))
        }
        to if to.is_integer() => text.parse::<i64>().ok().and_then(|value| fit(value.into(), to)),
        DataType::Decimal128(_, scale) => read_decimal(text, *scale).and_then(|value| fit(value, to)),
        DataType::Date32 => of_nanos(date(&DATE.captures(text)?)?, to),
        DataType::Timestamp(_, zone) => read_timestamp(text, zone.as_ref()).and_then(|nanos| of_nanos(nanos, to)),
        _ => None,
    }
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the patterns of this file are regular expressions, as its tests show")
}

static DATE: LazyLock<Regex> = LazyLock::new(|| pattern("^([0-9]{4})-([0-9]{2})-([0-9]{2})$"));
static TIMESTAMP: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        "^([0-9]{4})-([0-9]{2})-([0-9]{2})(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2}))?(?:[.]([0-9]{1,9}))?\
         (Z|([+-])([0-9]{2}):([0-9]{2}))?)?$",
    )
});
static DECIMAL: LazyLock<Regex> = LazyLock::new(|| pattern("^([+-]?)([0-9]*)(?:[.]([0-9]*))?$"));

fn group(captures: &Captures<'_>, index: usize) -> Option<i64> {
    captures.get(index)?.as_str().parse().ok()
}

fn small(captures: &Captures<'_>, index: usize) -> Option<u32> {
    group(captures, index)?.try_into().ok()
}

/// The midnight of a date, in nanoseconds since the epoch.
fn date(captures: &Captures<'_>) -> Option<i128> {
    let year = i32::try_from(group(captures, 1)?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, small(captures, 2)?, small(captures, 3)?)?;
    Some(i128::from(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp()) * 1_000_000_000)
}

fn read_timestamp(text: &str, zone: Option<&std::sync::Arc<str>>) -> Option<i128> {
    let captures = TIMESTAMP.captures(text)?;
    let below = |index: usize, limit: i64| Some(group(&captures, index).unwrap_or(0)).filter(|value| *value < limit);
    let seconds = below(4, 24)? * 3_600 + below(5, 60)? * 60 + below(6, 60)?;
    let fraction = captures.get(7).map_or("", |digits| digits.as_str());
    let nanos: i128 = format!("{fraction:0<9}").parse().ok()?;
    let shown = date(&captures)? + i128::from(seconds) * 1_000_000_000 + nanos;
    let Some(offset) = captures.get(8) else { return instant_of(shown, zone) };
    let ahead = below(10, 24)? * 3_600 + below(11, 60)? * 60;
    let ahead = if offset.as_str().starts_with('-') { -ahead } else { ahead };
    Some(shown - i128::from(ahead) * 1_000_000_000)
}

/// `[+-]digits[.digits]` as an integer of `10^-scale`, rounded half away from zero.
fn read_decimal(text: &str, scale: i8) -> Option<i128> {
    let captures = DECIMAL.captures(text)?;
    let (whole, fraction) = (captures.get(2)?.as_str(), captures.get(3).map_or("", |digits| digits.as_str()));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let scale = usize::try_from(scale).ok()?;
    let kept: String = fraction.chars().chain("0".repeat(scale).chars()).take(scale).collect();
    let up = fraction.as_bytes().get(scale).is_some_and(|digit| *digit >= b'5');
    let value = format!("0{whole}{kept}").parse::<i128>().ok()? + i128::from(up);
    Some(if captures.get(1)?.as_str() == "-" { -value } else { value })
}
