//! Sample streams as text files.
//!
//! The forms are those the peers' benchmarks use, one for each kind. Anything else (Parquet, other separators,
//! compression) is the business of `formats`.

use std::io::Write;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};

use super::Generator;
use crate::columnar::{ArrayRef, DataType, RecordBatch};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::ROWS_PER_READ_MAX;

/// How rows are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextForm {
    /// The one text column, a line each.
    Lines,
    /// The columns with this byte between them. Values that hold it, a quote or a line's end are quoted.
    Separated {
        /// What stands between the columns.
        separator: u8,
        /// Whether the first line names the columns.
        header: bool,
    },
    /// A JSON object a line.
    Json,
}

/// Writes rows as a text file of the generator's usual form; gives the number of bytes written.
///
/// ```
/// use pelton::generate::{Options, generator, write_text};
///
/// let people = generator("people", 7, &Options::default())?;
/// let mut file = Vec::new();
/// let bytes = write_text(&*people, 0, 2, &mut file)?;
/// assert_eq!(bytes, file.len() as u64);
/// assert!(file.starts_with(b"name,age,city\n"));
/// assert_eq!(file.split(|&byte| byte == b'\n').count(), 1 + 2 + 1);
/// # Ok::<(), pelton::error::Error>(())
/// ```
///
/// # Errors
/// What the writer says, and those of [`Generator::rows`].
pub fn write_text(generator: &dyn Generator, first_row: u64, rows: u64, out: &mut dyn Write) -> Result<u64> {
    let form = generator.text_form();
    let mut text = Vec::new();
    if let TextForm::Separated { separator, header: true } = form {
        let schema = generator.schema();
        add_header(&mut text, schema.fields().iter().map(|field| field.name().as_str()), separator);
    }
    let mut bytes = 0;
    let mut done = 0;
    loop {
        write_all(out, &text)?;
        bytes += text.len() as u64;
        if done == rows {
            return Ok(bytes);
        }
        text.clear();
        let next = usize::try_from(rows - done).map_or(ROWS_PER_READ_MAX, |left| left.min(ROWS_PER_READ_MAX));
        let start = first_row.saturating_add(done);
        add_batch(&mut text, &generator.rows(start, next)?, form)?;
        done += next as u64;
    }
}

/// Writes a whole batch as separated text with a header, for tables such as [`super::campaigns`]; gives the number of
/// bytes written.
///
/// # Errors
/// What the writer says; `Unsupported` for a column type that sample data does not use.
pub fn write_table(batch: &RecordBatch, out: &mut dyn Write) -> Result<u64> {
    let mut text = Vec::new();
    add_header(&mut text, batch.schema().fields().iter().map(|field| field.name().as_str()), b',');
    add_batch(&mut text, batch, TextForm::Separated { separator: b',', header: true })?;
    write_all(out, &text)?;
    Ok(text.len() as u64)
}

pub(super) fn write_all(out: &mut dyn Write, text: &[u8]) -> Result<()> {
    out.write_all(text).map_err(|error| Error::io(Path::new("generated text"), "write", error))
}

fn add_header<'a>(text: &mut Vec<u8>, names: impl Iterator<Item = &'a str>, separator: u8) {
    for (place, name) in names.enumerate() {
        if place > 0 {
            text.push(separator);
        }
        add_quoted(text, name, separator);
    }
    text.push(b'\n');
}

fn add_batch(text: &mut Vec<u8>, batch: &RecordBatch, form: TextForm) -> Result<()> {
    let columns = batch.columns().iter().map(Cells::of).collect::<Result<Vec<_>>>()?;
    let names: Vec<String> = match form {
        TextForm::Json => batch.schema().fields().iter().map(|field| json_string(field.name())).collect(),
        _ => Vec::new(),
    };
    for row in 0..batch.num_rows() {
        if form == TextForm::Json {
            text.push(b'{');
        }
        for (place, column) in columns.iter().enumerate() {
            match form {
                TextForm::Lines => {}
                TextForm::Separated { separator, .. } if place > 0 => text.push(separator),
                TextForm::Separated { .. } => {}
                TextForm::Json => {
                    if place > 0 {
                        text.push(b',');
                    }
                    text.extend_from_slice(names[place].as_bytes());
                    text.push(b':');
                }
            }
            column.add(text, row, form);
        }
        if form == TextForm::Json {
            text.push(b'}');
        }
        text.push(b'\n');
    }
    Ok(())
}

/// A column, its type looked at once.
enum Cells<'a> {
    Text(&'a arrow_array::StringArray),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
}

impl<'a> Cells<'a> {
    fn of(column: &'a ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Utf8 => Self::Text(column.as_string()),
            DataType::Int32 => Self::Int32(column.as_primitive::<Int32Type>().values()),
            DataType::Int64 => Self::Int64(column.as_primitive::<Int64Type>().values()),
            DataType::Float32 => Self::Float32(column.as_primitive::<Float32Type>().values()),
            DataType::Float64 => Self::Float64(column.as_primitive::<Float64Type>().values()),
            other => {
                return Err(Error::new(ErrorKind::Unsupported, format!("sample text cannot hold a {other}"))
                    .advice("write it with one of the formats instead"));
            }
        })
    }

    fn add(&self, text: &mut Vec<u8>, row: usize, form: TextForm) {
        // Writing to a vector cannot fail. A float has as many digits as it takes to read it back, at least one
        // after the point.
        let written = match self {
            Self::Text(values) => {
                match form {
                    TextForm::Lines => text.extend_from_slice(values.value(row).as_bytes()),
                    TextForm::Separated { separator, .. } => add_quoted(text, values.value(row), separator),
                    TextForm::Json => text.extend_from_slice(json_string(values.value(row)).as_bytes()),
                }
                Ok(())
            }
            Self::Int32(values) => write!(text, "{}", values[row]),
            Self::Int64(values) => write!(text, "{}", values[row]),
            Self::Float32(values) => write!(text, "{:?}", values[row]),
            Self::Float64(values) => write!(text, "{:?}", values[row]),
        };
        debug_assert!(written.is_ok(), "writing to a vector cannot fail");
    }
}

fn add_quoted(text: &mut Vec<u8>, value: &str, separator: u8) {
    if !value.bytes().any(|byte| byte == separator || matches!(byte, b'"' | b'\n' | b'\r')) {
        text.extend_from_slice(value.as_bytes());
        return;
    }
    text.push(b'"');
    text.extend_from_slice(value.replace('"', "\"\"").as_bytes());
    text.push(b'"');
}

fn json_string(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_hold_the_separator_or_a_quote_are_quoted() {
        let mut text = Vec::new();
        for value in ["plain", "a,b", "say \"hi\"", "two\nlines", ""] {
            add_quoted(&mut text, value, b',');
            text.push(b'|');
        }
        assert_eq!(text, b"plain|\"a,b\"|\"say \"\"hi\"\"\"|\"two\nlines\"||");
    }
}
