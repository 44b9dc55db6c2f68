//! Numbers, Booleans and dates from text. Nothing is trimmed: white space is not part of a number.

use std::str::FromStr;

use arrow_array::types::{ArrowPrimitiveType, Date32Type, Decimal128Type};
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer};

use super::calendar::{Date, days_in_month, days_of};
use super::native::by_integer;
use super::operand::{boolean, logical, primitive};
use super::text::with_text;
use crate::columnar::DataType;
use crate::error::{Error, Result};

/// Values read from text; null where the text is null or not a value of the type.
pub(super) fn parse(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    match to {
        DataType::Boolean => {
            let text = with_text!(array, texts => texts.iter().map(|t| t.and_then(parse_boolean)).collect::<BooleanArray>(),
                else => return Err(unreadable(array, to)));
            Ok(boolean(text.values().clone(), text.nulls().cloned()))
        }
        DataType::Float64 => values::<arrow_array::types::Float64Type>(array, to, parse_std),
        DataType::Float32 => values::<arrow_array::types::Float32Type>(array, to, parse_std),
        DataType::Date32 => values::<Date32Type>(array, to, |text| parse_date(text.as_bytes())),
        DataType::Decimal128(precision, scale) => {
            let bound = 10_i128.checked_pow((*precision).into()).unwrap_or(i128::MAX);
            let scale = u32::try_from(*scale).unwrap_or(0);
            logical(&values::<Decimal128Type>(array, to, |text| parse_decimal(text.as_bytes(), scale, bound))?, to)
        }
        other => by_integer!(other, T => values::<T>(array, to, Integer::read), _ => Err(unreadable(array, to))),
    }
}

fn unreadable(array: &ArrayRef, to: &DataType) -> Error {
    Error::internal(format!("no way to read {to} from {}", array.data_type()))
}

fn values<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    to: &DataType,
    read: impl Fn(&str) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let mut values = Vec::with_capacity(array.len());
    let mut known = BooleanBufferBuilder::new(array.len());
    with_text!(array, texts => {
        let nulls = texts.nulls();
        for row in 0..texts.len() {
            let value = if nulls.is_none_or(|nulls| nulls.is_valid(row)) { read(texts.value(row)) } else { None };
            known.append(value.is_some());
            values.push(value.unwrap_or_default());
        }
    }, else => return Err(unreadable(array, to)));
    let nulls = NullBuffer::new(known.finish());
    Ok(primitive::<T>(values, Some(nulls).filter(|nulls| nulls.null_count() > 0)))
}

fn parse_std<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

/// `true` or `false`, in any case.
fn parse_boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    text.eq_ignore_ascii_case("false").then_some(false)
}

/// Integers that read themselves.
trait Integer: Sized {
    fn read(text: &str) -> Option<Self>;
}

macro_rules! integers {
    ($($native:ty),*) => { $(impl Integer for $native {
        fn read(text: &str) -> Option<Self> {
            text.parse().ok()
        }
    })* };
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64);

/// `YYYY-MM-DD`.
pub(super) fn parse_date(text: &[u8]) -> Option<i32> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = *text else { return None };
    let year = digits(&[y0, y1, y2, y3])?;
    let (month, day) = (digits(&[m0, m1])?, digits(&[d0, d1])?);
    let fits = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    fits.then(|| days_of(Date { year, month, day })).and_then(|days| days.try_into().ok())
}

/// A run of decimal digits; `None` if there is anything else.
#[inline]
pub(super) fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value: i64, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| value * 10 + i64::from(digit))
    })
}

/// `[+-]digits[.digits]`, rounded half away from zero to `scale` digits after the point.
fn parse_decimal(text: &[u8], scale: u32, bound: i128) -> Option<i128> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (mut value, mut seen, mut after, mut point, mut round_up) = (0_i128, false, 0, false, false);
    for byte in text {
        match byte {
            b'.' if !point => point = true,
            b'0'..=b'9' => {
                seen = true;
                if point && after >= scale {
                    round_up |= after == scale && *byte >= b'5';
                } else {
                    value = value.checked_mul(10)?.checked_add((byte - b'0').into())?;
                }
                after += u32::from(point);
            }
            _ => return None,
        }
    }
    let missing = scale.saturating_sub(after);
    let value = value.checked_mul(10_i128.checked_pow(missing)?)? + i128::from(round_up);
    (seen && value < bound).then_some(if negative { -value } else { value })
}
