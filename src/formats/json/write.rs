//! Batches to NDJSON.
//!
//! Nulls are written as `null`. Floats that JSON has no number for are the strings `NaN`, `Infinity` and `-Infinity`,
//! which a float column reads back.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types as arrow;
use arrow_array::{Array, ArrayRef};

use crate::columnar::{DataType, RecordBatch};
use crate::error::Result;
use crate::formats::Encoder;
use crate::formats::printer::{Printer, plain_layout, printer};
use crate::formats::writing::{BLOCK_BYTES, writer_failed, written_by_rows};

pub(in crate::formats) struct JsonEncoder {
    writer: Box<dyn Write + Send>,
    bytes: Vec<u8>,
}

impl JsonEncoder {
    pub(in crate::formats) fn new(writer: Box<dyn Write + Send>) -> Self {
        Self { writer, bytes: Vec::new() }
    }

    fn flush_bytes(&mut self) -> Result<()> {
        let written = self.writer.write_all(&self.bytes);
        self.bytes.clear();
        written.map_err(writer_failed)
    }
}

impl Encoder for JsonEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let print = fields(batch.schema().fields(), batch.columns())?;
        written_by_rows(batch.num_rows(), |row| {
            print(row, &mut self.bytes);
            self.bytes.push(b'\n');
            if self.bytes.len() >= BLOCK_BYTES { self.flush_bytes() } else { Ok(()) }
        })?;
        self.flush_bytes()
    }

    fn finish(mut self: Box<Self>) -> Result<Box<dyn Write + Send>> {
        self.writer.flush().map_err(writer_failed)?;
        Ok(self.writer)
    }
}

/// Each row as a JSON object, as NDJSON has it, without the line end.
///
/// # Errors
/// `Unsupported` for a column of a type that NDJSON cannot hold.
pub fn json_objects(batch: &RecordBatch) -> Result<Vec<Vec<u8>>> {
    let print = fields(batch.schema().fields(), batch.columns())?;
    let object = |row| {
        let mut bytes = Vec::new();
        print(row, &mut bytes);
        bytes
    };
    Ok((0..batch.num_rows()).map(object).collect())
}

/// A printer of objects with these fields.
fn fields(fields: &arrow_schema::Fields, columns: &[ArrayRef]) -> Result<Printer> {
    let mut printers = Vec::with_capacity(columns.len());
    for (field, column) in fields.iter().zip(columns) {
        let mut name = Vec::new();
        quoted(field.name().as_bytes(), &mut name);
        name.push(b':');
        printers.push((name, value(column, field.name())?));
    }
    Ok(Box::new(move |row, to| {
        to.push(b'{');
        for (index, (name, print)) in printers.iter().enumerate() {
            if index > 0 {
                to.push(b',');
            }
            to.extend_from_slice(name);
            print(row, to);
        }
        to.push(b'}');
    }))
}

/// A printer of values, null or not.
fn value(array: &ArrayRef, column: &str) -> Result<Printer> {
    let array = plain_layout(array)?;
    let nulls = array.logical_nulls();
    let print = not_null(&array, column)?;
    Ok(Box::new(move |row, to| match &nulls {
        Some(nulls) if nulls.is_null(row) => to.extend_from_slice(b"null"),
        _ => print(row, to),
    }))
}

fn not_null(array: &ArrayRef, column: &str) -> Result<Printer> {
    Ok(match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let ends = list.offsets().iter().map(|offset| i64::from(*offset)).collect();
            items(ends, value(list.values(), column)?)
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            items(list.offsets().to_vec(), value(list.values(), column)?)
        }
        DataType::Struct(children) => fields(children, array.as_struct().columns())?,
        DataType::Float32 => {
            let values = array.as_primitive::<arrow::Float32Type>().clone();
            finite_or_named(move |row| f64::from(values.value(row)), printer(array, column)?)
        }
        DataType::Float64 => {
            let values = array.as_primitive::<arrow::Float64Type>().clone();
            finite_or_named(move |row| values.value(row), printer(array, column)?)
        }
        DataType::Null | DataType::Boolean | DataType::Decimal128(_, _) | DataType::Duration(_) => {
            printer(array, column)?
        }
        other if other.is_integer() => printer(array, column)?,
        DataType::Utf8 => {
            let texts = array.as_string::<i32>().clone();
            Box::new(move |row, to| quoted(texts.value(row).as_bytes(), to))
        }
        _ => {
            // Dates, times and hexadecimal digits need no escapes.
            let print = printer(array, column)?;
            Box::new(move |row, to| {
                to.push(b'"');
                print(row, to);
                to.push(b'"');
            })
        }
    })
}

fn items(offsets: Vec<i64>, print: Printer) -> Printer {
    Box::new(move |row, to| {
        to.push(b'[');
        let place = |index: usize| usize::try_from(offsets[index]).unwrap_or_default();
        for item in place(row)..place(row + 1) {
            if item > place(row) {
                to.push(b',');
            }
            print(item, to);
        }
        to.push(b']');
    })
}

fn finite_or_named(value: impl Fn(usize) -> f64 + Send + 'static, print: Printer) -> Printer {
    Box::new(move |row, to| {
        let value = value(row);
        if value.is_finite() {
            print(row, to);
        } else if value.is_nan() {
            to.extend_from_slice(b"\"NaN\"");
        } else if value > 0.0 {
            to.extend_from_slice(b"\"Infinity\"");
        } else {
            to.extend_from_slice(b"\"-Infinity\"");
        }
    })
}

/// Writes a text as a string.
fn quoted(text: &[u8], to: &mut Vec<u8>) {
    to.push(b'"');
    for byte in text {
        match byte {
            b'"' => to.extend_from_slice(b"\\\""),
            b'\\' => to.extend_from_slice(b"\\\\"),
            b'\n' => to.extend_from_slice(b"\\n"),
            b'\r' => to.extend_from_slice(b"\\r"),
            b'\t' => to.extend_from_slice(b"\\t"),
            // Writing to a vector cannot fail.
            0..0x20 => drop(write!(to, "\\u{byte:04x}")),
            _ => to.push(*byte),
        }
    }
    to.push(b'"');
}
