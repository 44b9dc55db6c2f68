//! Rows in the text form that PostgreSQL's `COPY` reads: a line a row, columns between tabs.
//!
//! Times are written here, and not by way of a calendar library: PostgreSQL counts years before Christ, and years of more than
//! four digits without a sign.

use std::io::Write as _;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Decimal128Type, DecimalType, Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, Int64Array};

use crate::columnar::{DataType, Field, RecordBatch, Schema, SchemaRef, TimeUnit};
use crate::error::{Error, Place, Result};
use crate::formats::json_objects;

const MICROS_A_DAY: i64 = 86_400_000_000;

/// Rows as text.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub(super) text: Vec<u8>,
    pub(super) rows: u64,
    /// CRC-32 of the text: the same for the same rows in the same order, however they are cut into batches.
    pub(super) checksum: u32,
}

/// Rows as text; `numbered`: with the number of each row before its columns.
///
/// # Errors
/// `Overflow` for a time that is too large to be written.
pub(super) fn copied<'a>(
    schema: &SchemaRef,
    batches: impl Iterator<Item = &'a RecordBatch>,
    numbered: bool,
) -> Result<Copied> {
    let mut copied = Copied::default();
    for batch in batches {
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns.map(|(column, field)| Column::of(column, field)).collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            if numbered {
                write!(copied.text, "{}", copied.rows).map_err(unwritten)?;
            }
            for (place, column) in columns.iter().enumerate() {
                if place > 0 || numbered {
                    copied.text.push(b'\t');
                }
                column.put(&mut copied.text, row)?;
            }
            copied.text.push(b'\n');
            copied.rows += 1;
        }
    }
    copied.checksum = crc32fast::hash(&copied.text);
    Ok(copied)
}

fn unwritten(error: std::io::Error) -> Error {
    Error::internal(format!("a value was not written to memory: {error}")).because(error)
}

/// A column in one of the forms that are written, and its nulls.
struct Column {
    nulls: Option<arrow_buffer::NullBuffer>,
    values: Values,
}

enum Values {
    /// All are null.
    None,
    Booleans(ArrayRef),
    Signed(ArrayRef),
    Unsigned(ArrayRef),
    Single(ArrayRef),
    Double(ArrayRef),
    Decimal(ArrayRef, u8, i8),
    Text(ArrayRef),
    Bytes(ArrayRef),
    /// Days since 1970.
    Days(ArrayRef),
    /// Microseconds since 1970, on a wall clock or in UTC.
    Moments(ArrayRef, bool),
    /// Microseconds.
    Spans(ArrayRef),
    /// JSON of lists and structs.
    Json(Vec<Vec<u8>>),
}

impl Column {
    fn of(column: &ArrayRef, field: &Field) -> Result<Self> {
        let cast = |to: &DataType| arrow_cast::cast(column, to).map_err(Error::from);
        let plain = match column.data_type() {
            DataType::Dictionary(_, values) => &cast(values)?,
            _ => column,
        };
        let cast = |to: &DataType| arrow_cast::cast(plain, to).map_err(Error::from);
        let values = match plain.data_type() {
            DataType::Null => Values::None,
            DataType::Boolean => Values::Booleans(Arc::clone(plain)),
            unsigned if unsigned.is_unsigned_integer() => Values::Unsigned(cast(&DataType::UInt64)?),
            signed if signed.is_signed_integer() => Values::Signed(cast(&DataType::Int64)?),
            DataType::Float32 => Values::Single(Arc::clone(plain)),
            DataType::Float64 => Values::Double(Arc::clone(plain)),
            DataType::Decimal128(precision, scale) => Values::Decimal(Arc::clone(plain), *precision, *scale),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Values::Text(cast(&DataType::LargeUtf8)?),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                Values::Bytes(cast(&DataType::LargeBinary)?)
            }
            DataType::Date32 => Values::Days(Arc::clone(plain)),
            DataType::Timestamp(unit, zone) => Values::Moments(micros(plain, *unit, field)?, zone.is_some()),
            DataType::Duration(unit) => Values::Spans(micros(plain, *unit, field)?),
            DataType::List(_) | DataType::LargeList(_) | DataType::Struct(_) => Values::Json(json(plain)?),
            other => return Err(Error::internal(format!("a column of type {other} was not refused"))),
        };
        Ok(Self { nulls: plain.logical_nulls(), values })
    }

    fn put(&self, text: &mut Vec<u8>, row: usize) -> Result<()> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            text.extend(b"\\N");
            return Ok(());
        }
        match &self.values {
            Values::None => text.extend(b"\\N"),
            Values::Booleans(column) => text.push(if column.as_boolean().value(row) { b't' } else { b'f' }),
            Values::Signed(column) => {
                write!(text, "{}", column.as_primitive::<Int64Type>().value(row)).map_err(unwritten)?;
            }
            Values::Unsigned(column) => {
                write!(text, "{}", column.as_primitive::<UInt64Type>().value(row)).map_err(unwritten)?;
            }
            Values::Single(column) => {
                // Printed as what it is, not as the double that is next to it.
                let value = column.as_primitive::<Float32Type>().value(row);
                match value.is_finite() {
                    true => write!(text, "{value:e}").map_err(unwritten)?,
                    false => put_float(text, value.into())?,
                }
            }
            Values::Double(column) => put_float(text, column.as_primitive::<Float64Type>().value(row))?,
            Values::Decimal(column, precision, scale) => {
                let value = column.as_primitive::<Decimal128Type>().value(row);
                text.extend(Decimal128Type::format_decimal(value, *precision, *scale).bytes());
            }
            Values::Text(column) => put_escaped(text, column.as_string::<i64>().value(row).as_bytes()),
            Values::Bytes(column) => {
                text.extend(b"\\\\x");
                for byte in column.as_binary::<i64>().value(row) {
                    write!(text, "{byte:02x}").map_err(unwritten)?;
                }
            }
            Values::Days(column) => put_day(text, column.as_primitive::<Date32Type>().value(row).into(), |_| Ok(()))?,
            Values::Moments(column, has_zone) => {
                let moment = column.as_primitive::<Int64Type>().value(row);
                let of_day = moment.rem_euclid(MICROS_A_DAY);
                put_day(text, moment.div_euclid(MICROS_A_DAY), |text| {
                    text.push(b' ');
                    put_clock(text, of_day)?;
                    text.extend(if *has_zone { b"+00".as_slice() } else { b"" });
                    Ok(())
                })?;
            }
            Values::Spans(column) => {
                let span = column.as_primitive::<Int64Type>().value(row);
                text.extend(if span < 0 { b"-".as_slice() } else { b"" });
                // The least one has no positive twin, but its hours, minutes and seconds have.
                let (whole, rest) = (span / 1_000_000, (span % 1_000_000).unsigned_abs());
                let seconds = whole.unsigned_abs();
                write!(text, "{}:{:02}:{:02}.{rest:06}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
                    .map_err(unwritten)?;
            }
            Values::Json(objects) => put_escaped(text, objects.get(row).map_or(b"null".as_slice(), Vec::as_slice)),
        }
        Ok(())
    }
}

/// Times in microseconds, which is what PostgreSQL keeps, rounded down.
fn micros(column: &ArrayRef, unit: TimeUnit, field: &Field) -> Result<ArrayRef> {
    let counts = arrow_cast::cast(column, &DataType::Int64)?;
    let counts: &Int64Array = counts.as_primitive();
    let factor = match unit {
        TimeUnit::Nanosecond => return Ok(Arc::new(counts.unary::<_, Int64Type>(|nanos| nanos.div_euclid(1_000)))),
        TimeUnit::Microsecond => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Second => 1_000_000,
    };
    let micros = counts.try_unary::<_, Int64Type, Error>(|count| {
        count.checked_mul(factor).ok_or_else(|| {
            let message = format!("the time {count} of \"{}\" is beyond what PostgreSQL keeps", field.name());
            Error::new(crate::error::ErrorKind::Overflow, message).at(Place::default().column(field.name()))
        })
    });
    Ok(Arc::new(micros?))
}

/// The values of a column as JSON.
fn json(column: &ArrayRef) -> Result<Vec<Vec<u8>>> {
    let field = Field::new("v", column.data_type().clone(), true);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::clone(column)])?;
    let inner = |object: Vec<u8>| {
        let inner = object.strip_prefix(b"{\"v\":").and_then(|rest| rest.strip_suffix(b"}"));
        inner.map(<[u8]>::to_vec).ok_or_else(|| Error::internal("an object of one column was written otherwise"))
    };
    json_objects(&batch)?.into_iter().map(inner).collect()
}

fn put_float(text: &mut Vec<u8>, value: f64) -> Result<()> {
    match value {
        value if value.is_nan() => text.extend(b"NaN"),
        f64::INFINITY => text.extend(b"Infinity"),
        f64::NEG_INFINITY => text.extend(b"-Infinity"),
        value => write!(text, "{value:e}").map_err(unwritten)?,
    }
    Ok(())
}

/// A day of the calendar that holds for all time, then what `clock` puts, then the era.
fn put_day(text: &mut Vec<u8>, days: i64, clock: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
    // Counted from 0000-03-01 in eras of 400 years, so that the leap day ends a year.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let of_years = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_years + of_years / 4 - of_years / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = of_years + 400 * era + i64::from(month <= 2);
    // The year 0 is the year 1 before Christ.
    let shown = if year > 0 { year } else { 1 - year };
    write!(text, "{shown:04}-{month:02}-{day:02}").map_err(unwritten)?;
    clock(text)?;
    text.extend(if year > 0 { b"".as_slice() } else { b" BC" });
    Ok(())
}

fn put_clock(text: &mut Vec<u8>, micros: i64) -> Result<()> {
    let seconds = micros / 1_000_000;
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    write!(text, "{hours:02}:{minutes:02}:{rest:02}.{:06}", micros % 1_000_000).map_err(unwritten)
}

fn put_escaped(text: &mut Vec<u8>, value: &[u8]) {
    for &byte in value {
        match byte {
            b'\\' => text.extend(b"\\\\"),
            b'\t' => text.extend(b"\\t"),
            b'\n' => text.extend(b"\\n"),
            b'\r' => text.extend(b"\\r"),
            byte => text.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{BinaryArray, Float64Array, StringArray, TimestampNanosecondArray};

    use super::*;

    #[test]
    fn values_are_written_so_that_nothing_in_them_ends_a_column_or_a_line() {
        let columns: [(&str, ArrayRef); 4] = [
            ("text", Arc::new(StringArray::from(vec![Some("a\tb\nc\\N\r"), None, Some("")]))),
            ("float", Arc::new(Float64Array::from(vec![f64::NAN, f64::NEG_INFINITY, 0.1]))),
            ("bytes", Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..], b"", b"\\"]))),
            ("time", Arc::new(TimestampNanosecondArray::from(vec![-1, 1_999, 1_000_000_000]))),
        ];
        let rows =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
        let all = copied(rows.schema_ref(), std::iter::once(&rows), false).unwrap();
        let expected = "a\\tb\\nc\\\\N\\r\tNaN\t\\\\x00ff\t1969-12-31 23:59:59.999999\n\
            \\N\t-Infinity\t\\\\x\t1970-01-01 00:00:00.000001\n\
            \t1e-1\t\\\\x5c\t1970-01-01 00:00:01.000000\n";
        assert_eq!(String::from_utf8(all.text).unwrap(), expected);
        let halves = [rows.slice(0, 1), rows.slice(1, 2)];
        assert_eq!(copied(rows.schema_ref(), halves.iter(), false).unwrap().checksum, all.checksum);
        let numbered = copied(rows.schema_ref(), halves.iter(), true).unwrap();
        assert!(String::from_utf8(numbered.text).unwrap().starts_with("0\ta"));
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let shown = |days: i64| {
            let mut text = Vec::new();
            put_day(&mut text, days, |_| Ok(())).unwrap();
            String::from_utf8(text).unwrap()
        };
        let known = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (-719_162, "0001-01-01"),
            (-719_163, "0001-12-31 BC"),
            (-719_528, "0001-01-01 BC"),
            (2_932_897, "10000-01-01"),
        ];
        known.into_iter().for_each(|(days, expected)| assert_eq!(shown(days), expected));
    }
}
