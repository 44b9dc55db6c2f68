//! Rows in the text form that PostgreSQL's `COPY` reads: a line a row, columns between tabs.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_cast::display::{ArrayFormatter, FormatOptions};

use crate::columnar::{DataType, Field, RecordBatch, SchemaRef, TimeUnit};
use crate::error::{Error, ErrorKind, Result};

/// Rows as text.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub(super) text: Vec<u8>,
    pub(super) rows: u64,
    /// CRC-32 of the text: the same for the same rows in the same order, however they are cut into batches.
    pub(super) checksum: u32,
}

/// The type of a column in a table that is made for it.
///
/// # Errors
/// `Unsupported` for what no column holds.
pub(super) fn sql_type(field: &Field) -> Result<String> {
    Ok(match field.data_type() {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint".to_owned(),
        DataType::Int32 | DataType::UInt16 => "integer".to_owned(),
        DataType::Int64 | DataType::UInt32 => "bigint".to_owned(),
        DataType::UInt64 => "numeric(20)".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        DataType::Decimal128(precision, scale) => format!("numeric({precision}, {scale})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
        other => {
            let message = format!("the column \"{}\" is {other}, which the sink cannot write to a table", field.name());
            return Err(Error::new(ErrorKind::Unsupported, message).advice("cast it, for example to text"));
        }
    })
}

/// Rows as text; `numbered`: with the number of each row before its columns.
pub(super) fn copied<'a>(
    schema: &SchemaRef,
    batches: impl Iterator<Item = &'a RecordBatch>,
    numbered: bool,
) -> Result<Copied> {
    let mut copied = Copied::default();
    for batch in batches {
        let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| stored(column, field));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = FormatOptions::new().with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.f%:z"));
        let printers = columns.iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let printers = printers.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            if numbered {
                copied.text.extend(copied.rows.to_string().bytes());
            }
            for (place, (column, printer)) in columns.iter().zip(&printers).enumerate() {
                if place > 0 || numbered {
                    copied.text.push(b'\t');
                }
                put(&mut copied.text, column, printer, row)?;
            }
            copied.text.push(b'\n');
            copied.rows += 1;
        }
    }
    copied.checksum = crc32fast::hash(&copied.text);
    Ok(copied)
}

/// The column in a type whose text PostgreSQL reads: times in microseconds, which is what it keeps, rounded down.
fn stored(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    let data_type = match field.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            let nanos = arrow_cast::cast(column, &DataType::Int64)?;
            let nanos = nanos.as_primitive::<arrow_array::types::Int64Type>();
            let micros: ArrayRef =
                std::sync::Arc::new(nanos.unary::<_, arrow_array::types::Int64Type>(|nanos| nanos.div_euclid(1_000)));
            return Ok(arrow_cast::cast(&micros, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?);
        }
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        _ => return Ok(ArrayRef::clone(column)),
    };
    Ok(arrow_cast::cast(column, &data_type)?)
}

fn put(text: &mut Vec<u8>, column: &ArrayRef, printer: &ArrayFormatter<'_>, row: usize) -> Result<()> {
    if column.is_null(row) {
        text.extend(b"\\N");
        return Ok(());
    }
    match column.data_type() {
        DataType::Float64 => put_float(text, column.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => {
            let value = column.as_primitive::<Float32Type>().value(row);
            // Printed as what it is, not as the double that is next to it.
            if value.is_finite() { text.extend(format!("{value:e}").bytes()) } else { put_float(text, value.into()) }
        }
        DataType::Utf8 => put_escaped(text, column.as_string::<i32>().value(row).as_bytes()),
        DataType::LargeUtf8 => put_escaped(text, column.as_string::<i64>().value(row).as_bytes()),
        DataType::Binary => put_bytes(text, column.as_binary::<i32>().value(row)),
        DataType::LargeBinary => put_bytes(text, column.as_binary::<i64>().value(row)),
        _ => text.extend(printer.value(row).try_to_string()?.bytes()),
    }
    Ok(())
}

fn put_float(text: &mut Vec<u8>, value: f64) {
    let word = match value {
        value if value.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        value => format!("{value:e}"),
    };
    text.extend(word.bytes());
}

fn put_bytes(text: &mut Vec<u8>, bytes: &[u8]) {
    text.extend(b"\\\\x");
    bytes.iter().for_each(|byte| text.extend(format!("{byte:02x}").bytes()));
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
    use std::sync::Arc;

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
        let expected = "a\\tb\\nc\\\\N\\r\tNaN\t\\\\x00ff\t1969-12-31T23:59:59.999999\n\
            \\N\t-Infinity\t\\\\x\t1970-01-01T00:00:00.000001\n\
            \t1e-1\t\\\\x5c\t1970-01-01T00:00:01\n";
        assert_eq!(String::from_utf8(all.text).unwrap(), expected);
        let halves = [rows.slice(0, 1), rows.slice(1, 2)];
        assert_eq!(copied(rows.schema_ref(), halves.iter(), false).unwrap().checksum, all.checksum);
        let numbered = copied(rows.schema_ref(), halves.iter(), true).unwrap();
        assert!(String::from_utf8(numbered.text).unwrap().starts_with("0\ta"));
    }
}
