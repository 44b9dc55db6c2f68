//! Values as text: what CSV and NDJSON write, and read back as the same value.

use arrow_array::cast::AsArray;
use arrow_array::types as arrow;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, TimeUnit};
use std::io::Write as _;

use crate::error::{Error, ErrorKind, Result};
use crate::formats::cell::per_second;

/// Appends the text of the value in a row, which must not be null.
pub(super) type Printer = Box<dyn Fn(usize, &mut Vec<u8>) + Send>;

/// The array in a layout that printers know: dictionaries become their values.
pub(super) fn plain_layout(array: &ArrayRef) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::Dictionary(_, values) => arrow_cast::cast(array, values)?,
        DataType::LargeUtf8 | DataType::Utf8View => arrow_cast::cast(array, &DataType::Utf8)?,
        DataType::LargeBinary | DataType::BinaryView => arrow_cast::cast(array, &DataType::Binary)?,
        _ => ArrayRef::clone(array),
    })
}

/// A printer for the values of an array (in plain layout) of anything but lists and structs. Floats print so that they
/// read back the same; those that are not finite as `NaN`, `inf` and `-inf`.
pub(super) fn printer(array: &ArrayRef, column: &str) -> Result<Printer> {
    macro_rules! display {
        ($type:ty, $format:literal) => {{
            let array = array.as_primitive::<$type>().clone();
            // Writing to a vector cannot fail.
            Box::new(move |row, to: &mut Vec<u8>| drop(write!(to, $format, array.value(row))))
        }};
    }
    macro_rules! timestamps {
        ($type:ty, $unit:expr, $zoned:expr) => {{
            let (array, unit, zoned) = (array.as_primitive::<$type>().clone(), $unit, $zoned);
            Box::new(move |row, to: &mut Vec<u8>| print_timestamp(array.value(row), unit, zoned, to))
        }};
    }
    Ok(match array.data_type() {
        DataType::Null => Box::new(|_, _| {}),
        DataType::Boolean => {
            let array = array.as_boolean().clone();
            Box::new(move |row, to| to.extend_from_slice(if array.value(row) { b"true" } else { b"false" }))
        }
        DataType::Int8 => display!(arrow::Int8Type, "{}"),
        DataType::Int16 => display!(arrow::Int16Type, "{}"),
        DataType::Int32 => display!(arrow::Int32Type, "{}"),
        DataType::Int64 => display!(arrow::Int64Type, "{}"),
        DataType::UInt8 => display!(arrow::UInt8Type, "{}"),
        DataType::UInt16 => display!(arrow::UInt16Type, "{}"),
        DataType::UInt32 => display!(arrow::UInt32Type, "{}"),
        DataType::UInt64 => display!(arrow::UInt64Type, "{}"),
        // `{:?}` is the shortest text that reads back the same, with an exponent where that is shorter.
        DataType::Float32 => display!(arrow::Float32Type, "{:?}"),
        DataType::Float64 => display!(arrow::Float64Type, "{:?}"),
        DataType::Decimal128(_, scale) => {
            let (array, scale) = (array.as_primitive::<arrow::Decimal128Type>().clone(), *scale);
            Box::new(move |row, to| print_decimal(array.value(row), scale, to))
        }
        DataType::Date32 => {
            let array = array.as_primitive::<arrow::Date32Type>().clone();
            Box::new(move |row, to| print_date(i64::from(array.value(row)), to))
        }
        DataType::Timestamp(unit, zone) => match unit {
            TimeUnit::Second => timestamps!(arrow::TimestampSecondType, *unit, zone.is_some()),
            TimeUnit::Millisecond => timestamps!(arrow::TimestampMillisecondType, *unit, zone.is_some()),
            TimeUnit::Microsecond => timestamps!(arrow::TimestampMicrosecondType, *unit, zone.is_some()),
            TimeUnit::Nanosecond => timestamps!(arrow::TimestampNanosecondType, *unit, zone.is_some()),
        },
        DataType::Duration(unit) => match unit {
            TimeUnit::Second => display!(arrow::DurationSecondType, "{}"),
            TimeUnit::Millisecond => display!(arrow::DurationMillisecondType, "{}"),
            TimeUnit::Microsecond => display!(arrow::DurationMicrosecondType, "{}"),
            TimeUnit::Nanosecond => display!(arrow::DurationNanosecondType, "{}"),
        },
        DataType::Utf8 => {
            let array = array.as_string::<i32>().clone();
            Box::new(move |row, to| to.extend_from_slice(array.value(row).as_bytes()))
        }
        DataType::Binary => {
            let array = array.as_binary::<i32>().clone();
            Box::new(move |row, to| array.value(row).iter().for_each(|byte| drop(write!(to, "{byte:02x}"))))
        }
        other => {
            let message = format!("column \"{column}\" of type {other} cannot be written as text");
            return Err(Error::new(ErrorKind::Unsupported, message).advice("write NDJSON, Parquet or Arrow instead"));
        }
    })
}

fn print_decimal(unscaled: i128, scale: i8, to: &mut Vec<u8>) {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs().to_string();
    let places = usize::try_from(scale).unwrap_or(0);
    let zeros = usize::from(scale.unsigned_abs()) * usize::from(scale < 0 && unscaled != 0);
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    let point = if places > 0 { "." } else { "" };
    drop(write!(to, "{sign}{whole}{:0<zeros$}{point}{fraction}", ""));
}

fn print_date(days: i64, to: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    if (0..=9999).contains(&year) {
        drop(write!(to, "{year:04}-{month:02}-{day:02}"));
    } else {
        drop(write!(to, "{year:+05}-{month:02}-{day:02}"));
    }
}

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// In UTC, with `Z` if the column has a zone.
fn print_timestamp(units: i64, unit: TimeUnit, zoned: bool, to: &mut Vec<u8>) {
    let per_second = per_second(unit);
    let (seconds, parts) = (units.div_euclid(per_second), units.rem_euclid(per_second));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    print_date(days, to);
    drop(write!(to, "T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60));
    if parts != 0 {
        let width = match unit {
            TimeUnit::Second => 0,
            TimeUnit::Millisecond => 3,
            TimeUnit::Microsecond => 6,
            TimeUnit::Nanosecond => 9,
        };
        drop(write!(to, ".{parts:0width$}"));
    }
    if zoned {
        to.push(b'Z');
    }
}
