//! The columns of a file when nobody gave them.
//!
//! Parquet and Arrow files say what they hold. For CSV and NDJSON the first records are looked at; every column may be
//! null. A type fits if all values looked at have it: booleans; integers, then floats; dates, then timestamps (in
//! microseconds, UTC); else text. A later value of another type is a bad record, so name the types where they matter.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_schema::TimeUnit;

use crate::columnar::{DataType, Field, Schema, SchemaRef};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::arrow_ipc;
use crate::formats::bad_records::Policies;
use crate::formats::cell;
use crate::formats::csv::CsvFormat;
use crate::formats::csv::header;
use crate::formats::input;
use crate::formats::options::{FormatKind, FormatOptions};
use crate::formats::text::{LINE_COLUMN, TextFormat};
use crate::formats::{BadRecordPolicy, Format};

const RECORDS_DEFAULT: usize = 1000;

/// The columns of a file of this kind.
///
/// # Errors
/// A file that cannot be read, or that says nothing: an empty one, a record that is not of its kind.
pub fn infer(options: &FormatOptions, file: &Path) -> Result<SchemaRef> {
    options.check()?;
    let records = options.infer_records.unwrap_or(RECORDS_DEFAULT);
    match options.kind {
        FormatKind::Text => Ok(TextFormat::new(options.policy()).schema()),
        FormatKind::Csv => infer_csv(options, file, records),
        FormatKind::Ndjson => infer_json(file, records),
        FormatKind::Arrow => arrow_ipc::schema_of(file),
        #[cfg(feature = "parquet")]
        FormatKind::Parquet => super::parquet::schema_of(file),
        #[cfg(not(feature = "parquet"))]
        FormatKind::Parquet => Err(super::options::without_parquet()),
    }
}

/// The columns that a file certainly has: those of a Parquet or Arrow file as it says, those of a CSV file by its
/// header, all text.
///
/// # Errors
/// A file that cannot be read, or whose kind does not name columns.
pub fn schema_of(options: &FormatOptions, file: &Path) -> Result<SchemaRef> {
    match options.kind {
        FormatKind::Csv => csv_names(options, file),
        FormatKind::Ndjson => {
            Err(Error::new(ErrorKind::Unsupported, "an NDJSON file does not say which columns it has")
                .at(Place::file(file))
                .advice("give a schema, or infer one from its first records"))
        }
        FormatKind::Text | FormatKind::Arrow | FormatKind::Parquet => infer(options, file),
    }
}

/// All columns of a CSV file, as text. Without a header they are named `column_1`, `column_2` and so on.
fn csv_names(options: &FormatOptions, file: &Path) -> Result<SchemaRef> {
    let csv = options.csv_options()?;
    let Some(first) = header::first_record(file, csv.marks)? else { return Err(says_nothing(file)) };
    let name = |(index, name): (usize, String)| if csv.header { name } else { format!("column_{}", index + 1) };
    let names = first.names.into_iter().enumerate().map(name);
    Ok(Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>())))
}

fn says_nothing(file: &Path) -> Error {
    Error::new(ErrorKind::InvalidOption, "the file holds no record to learn its columns from")
        .at(Place::file(file))
        .advice("give a schema")
}

fn infer_csv(options: &FormatOptions, file: &Path, records: usize) -> Result<SchemaRef> {
    let texts = csv_names(options, file)?;
    let mut csv = options.csv_options()?;
    csv.policies = Policies { record: BadRecordPolicy::Drop, ..Policies::default() };
    let bytes = file.metadata().map_err(|error| Error::io(file, "look at the file", error))?.len();
    let mut reader = CsvFormat::new(Arc::clone(&texts), csv).open(&input::whole_split(file, bytes))?;
    let mut guesses = vec![Guess::default(); texts.fields().len()];
    let mut left = records;
    while left > 0
        && let Some(batch) = reader.next_batch()?
    {
        let rows = batch.num_rows().min(left);
        left -= rows;
        for (guess, column) in guesses.iter_mut().zip(batch.columns()) {
            let column = column.as_string::<i32>();
            (0..rows).filter(|row| column.is_valid(*row)).for_each(|row| guess.see_text(column.value(row)));
        }
    }
    let fields = texts.fields().iter().zip(guesses);
    let fields = fields.map(|(field, guess)| field.as_ref().clone().with_data_type(guess.data_type()));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// Takes the first lines apart as JSON values and looks at these. Columns are in the order of their names.
fn infer_json(file: &Path, records: usize) -> Result<SchemaRef> {
    let bytes = file.metadata().map_err(|error| Error::io(file, "look at the file", error))?.len();
    let lines = TextFormat::new(BadRecordPolicy::Drop);
    let mut reader = lines.open(&input::whole_split(file, bytes))?;
    let mut whole = Guess::default();
    let mut left = records;
    while left > 0
        && let Some(batch) = reader.next_batch()?
    {
        let column = batch.column_by_name(LINE_COLUMN).map(|column| column.as_string::<i32>().clone());
        let Some(column) = column else { break };
        for line in column.iter().flatten().filter(|line| !line.trim().is_empty()).take(left) {
            // A line that is not JSON is for the reader's policy to judge.
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(line) {
                whole.see_json(&value);
            }
        }
        left = left.saturating_sub(column.len());
    }
    if whole.fields.is_empty() {
        return Err(says_nothing(file));
    }
    let fields = whole.fields.into_iter().map(|(name, guess)| Field::new(name, guess.data_type(), true));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// What the values seen so far may be.
#[derive(Debug, Clone, Default)]
struct Guess {
    seen: u64,
    booleans: u64,
    integers: u64,
    /// Integers among them.
    floats: u64,
    dates: u64,
    /// Dates among them.
    timestamps: u64,
    objects: u64,
    fields: BTreeMap<String, Guess>,
    items: Option<Box<Guess>>,
    lists: u64,
}

impl Guess {
    fn see_text(&mut self, text: &str) {
        let text = text.as_bytes();
        self.seen += 1;
        let integer = cell::integer::<i64>(text).is_ok();
        self.integers += u64::from(integer);
        self.floats += u64::from(integer || cell::float64(text).is_ok());
        self.booleans += u64::from(cell::boolean(text).is_ok());
        self.see_time(text);
    }

    fn see_time(&mut self, text: &[u8]) {
        self.dates += u64::from(cell::date(text).is_ok());
        self.timestamps += u64::from(cell::timestamp(text, TimeUnit::Microsecond, None).is_ok());
    }

    fn see_json(&mut self, value: &serde_json::Value) {
        use serde_json::Value;
        self.seen += u64::from(!value.is_null());
        match value {
            Value::Null => {}
            Value::Bool(_) => self.booleans += 1,
            Value::Number(number) => {
                self.integers += u64::from(number.is_i64());
                self.floats += 1;
            }
            Value::String(text) => self.see_time(text.as_bytes()),
            Value::Array(values) => {
                self.lists += 1;
                let items = self.items.get_or_insert_default();
                values.iter().for_each(|value| items.see_json(value));
            }
            Value::Object(values) => {
                self.objects += 1;
                for (name, value) in values {
                    self.fields.entry(name.clone()).or_default().see_json(value);
                }
            }
        }
    }

    fn data_type(&self) -> DataType {
        let all = |count: u64| self.seen > 0 && count == self.seen;
        if all(self.booleans) {
            DataType::Boolean
        } else if all(self.integers) {
            DataType::Int64
        } else if all(self.floats) {
            DataType::Float64
        } else if all(self.dates) {
            DataType::Date32
        } else if all(self.timestamps) {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        } else if all(self.lists) {
            DataType::new_list(self.items.as_ref().map_or(DataType::Utf8, |items| items.data_type()), true)
        } else if all(self.objects) && !self.fields.is_empty() {
            let fields = self.fields.iter().map(|(name, guess)| Field::new(name, guess.data_type(), true));
            DataType::Struct(fields.collect())
        } else {
            DataType::Utf8
        }
    }
}
