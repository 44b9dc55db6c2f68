//! What a user says about files, checked.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::columnar::SchemaRef;
use crate::error::{Error, ErrorKind, Result};
use crate::formats::BadRecordPolicy;
use crate::formats::bad_records::Policies;
use crate::formats::column::BinaryText;
use crate::formats::csv::CsvOptions;
use crate::formats::csv::scan::Marks;
use crate::formats::writing::ParquetCompression;

/// The kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FormatKind {
    /// Lines of text.
    Text,
    /// Fields between delimiters.
    Csv,
    /// A JSON object a line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, also known as Feather.
    Arrow,
}

impl FormatKind {
    /// Its name in pipeline files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }

    /// The kind that the end of a file name speaks of, compressed or not: `visits.csv.gz` is CSV.
    pub fn of_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = [".gz", ".gzip", ".zst", ".zstd", ".lz4", ".sz", ".snappy"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(&name);
        Some(match name.rsplit_once('.')?.1 {
            "txt" | "log" | "text" => Self::Text,
            "csv" | "tsv" => Self::Csv,
            "ndjson" | "jsonl" | "json" => Self::Ndjson,
            "parquet" | "pq" => Self::Parquet,
            "arrow" | "arrows" | "feather" | "ipc" => Self::Arrow,
            _ => return None,
        })
    }
}

/// What a user says about files of one kind. What is left out has a default; what does not belong to the kind is
/// refused.
///
/// ```
/// use std::sync::Arc;
/// use pelton::columnar::{DataType, Field, Schema};
/// use pelton::formats::{BadRecordPolicy, FormatKind, FormatOptions};
///
/// let schema = Schema::new(vec![Field::new("city", DataType::Utf8, true), Field::new("age", DataType::Int64, true)]);
/// let mut options = FormatOptions::new(FormatKind::Csv).with_schema(Arc::new(schema));
/// options.delimiter = Some(";".into());
/// options.on_bad_record = Some(BadRecordPolicy::Null);
/// let format = options.build(None)?;
/// assert_eq!(format.name(), "csv");
/// # Ok::<(), pelton::error::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormatOptions {
    /// The kind of file.
    pub kind: FormatKind,
    /// The columns to read. Without it they are taken from a sample file.
    #[serde(skip)]
    pub schema: Option<SchemaRef>,
    /// CSV: the character between fields; a comma if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// CSV: the character around fields that hold a delimiter or a line end; `"` if not given, none if empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// CSV: whether the first record holds the names of the columns; true if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// CSV: lines that begin with this character are passed over; none if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// CSV: fields (without quotes) that stand for null; the empty one if not given. The first one is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_values: Option<Vec<String>>,
    /// CSV: how bytes are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<BinaryText>,
    /// All with names: whether a column that a file does not have is null in all its rows; false if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_missing_columns: Option<bool>,
    /// Text, CSV and NDJSON: what happens to records that cannot be read; `fail` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_bad_record: Option<BadRecordPolicy>,
    /// CSV and NDJSON: what happens to a record whose value of this column cannot be read; `on_bad_record` if not given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub on_bad_value: BTreeMap<String, BadRecordPolicy>,
    /// CSV and NDJSON: of which rows all values are checked; of all if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_rows: Option<CheckedRows>,
    /// CSV and NDJSON: how many records are looked at to find the types of columns; 1000 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infer_records: Option<usize>,
    /// Parquet, writing: how pages are compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<ParquetCompression>,
}

/// Of which rows all values are checked, whoever looks at them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckedRows {
    /// Of all: which records are bad does not depend on the query.
    #[default]
    All,
    /// Of those that the comparisons of columns with constants at the start of a query keep. Of others no more is read than
    /// these columns.
    Kept,
}

impl FormatOptions {
    /// Files of this kind, with the defaults.
    pub fn new(kind: FormatKind) -> Self {
        Self {
            kind,
            schema: None,
            delimiter: None,
            quote: None,
            header: None,
            comment: None,
            null_values: None,
            binary: None,
            allow_missing_columns: None,
            on_bad_record: None,
            on_bad_value: BTreeMap::new(),
            checked_rows: None,
            infer_records: None,
            compression: None,
        }
    }

    /// The same, with the columns to read.
    #[must_use]
    pub fn with_schema(mut self, schema: SchemaRef) -> Self {
        self.schema = Some(schema);
        self
    }

    /// The same, with what happens to records that cannot be read.
    #[must_use]
    pub fn with_policy(mut self, policy: BadRecordPolicy) -> Self {
        self.on_bad_record = Some(policy);
        self
    }

    /// The policy for records that cannot be read.
    pub fn policy(&self) -> BadRecordPolicy {
        self.on_bad_record.unwrap_or_default()
    }

    /// That policy, and those of columns.
    pub(super) fn policies(&self) -> Policies {
        Policies { record: self.policy(), columns: self.on_bad_value.clone() }
    }

    /// Refuses options that do not belong to the kind.
    pub(super) fn check(&self) -> Result<()> {
        use FormatKind::{Arrow, Csv, Ndjson, Parquet, Text};
        let given: [(&str, bool, &[FormatKind]); 12] = [
            ("delimiter", self.delimiter.is_some(), &[Csv]),
            ("quote", self.quote.is_some(), &[Csv]),
            ("header", self.header.is_some(), &[Csv]),
            ("comment", self.comment.is_some(), &[Csv]),
            ("null_values", self.null_values.is_some(), &[Csv]),
            ("binary", self.binary.is_some(), &[Csv]),
            ("allow_missing_columns", self.allow_missing_columns.is_some(), &[Csv, Parquet, Arrow]),
            ("on_bad_record", self.on_bad_record.is_some(), &[Text, Csv, Ndjson]),
            ("on_bad_value", !self.on_bad_value.is_empty(), &[Csv, Ndjson]),
            ("checked_rows", self.checked_rows.is_some(), &[Csv, Ndjson]),
            ("infer_records", self.infer_records.is_some(), &[Csv, Ndjson]),
            ("compression", self.compression.is_some(), &[Parquet]),
        ];
        for (option, is_given, kinds) in given {
            if is_given && !kinds.contains(&self.kind) {
                let kinds: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                let message = format!("{option} is an option of {}, not of {}", kinds.join(", "), self.kind.name());
                return Err(invalid(message).advice(format!("leave {option} out")));
            }
        }
        if self.infer_records == Some(0) {
            return Err(invalid("infer_records is 0").advice("look at one record at least"));
        }
        Ok(())
    }

    pub(super) fn csv_options(&self) -> Result<CsvOptions> {
        let delimiter = one_byte("delimiter", self.delimiter.as_deref().unwrap_or(","))?;
        let Some(delimiter) = delimiter else {
            return Err(invalid("delimiter is empty").advice("give a character such as \",\" or \"\\t\""));
        };
        let marks = Marks {
            delimiter,
            quote: one_byte("quote", self.quote.as_deref().unwrap_or("\""))?,
            comment: one_byte("comment", self.comment.as_deref().unwrap_or(""))?,
        };
        let all = [Some(marks.delimiter), marks.quote, marks.comment];
        for (index, mark) in all.iter().enumerate().filter(|(_, mark)| mark.is_some()) {
            if all[..index].contains(mark) {
                return Err(invalid("delimiter, quote and comment are not different characters"));
            }
        }
        let null_words = self.null_values.clone().unwrap_or_else(|| vec![String::new()]);
        let unsafe_word =
            |word: &&String| word.bytes().any(|byte| all.contains(&Some(byte)) || matches!(byte, b'\n' | b'\r'));
        if let Some(word) = null_words.iter().find(unsafe_word) {
            let message =
                format!("null_values holds \"{}\", which cannot be a field without quotes", word.escape_debug());
            return Err(invalid(message).advice("leave it out"));
        }
        Ok(CsvOptions {
            marks,
            header: self.header.unwrap_or(true),
            null_words: null_words.into_iter().map(String::into_bytes).collect(),
            binary: self.binary.unwrap_or_default(),
            allow_missing_columns: self.allow_missing_columns.unwrap_or(false),
            policies: self.policies(),
            watches_columns: false,
            checked_rows: self.checked_rows.unwrap_or_default(),
        })
    }
}

fn one_byte(option: &str, text: &str) -> Result<Option<u8>> {
    match text.as_bytes() {
        [] => Ok(None),
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(Some(*byte)),
        _ => Err(invalid(format!("{option} is \"{}\"", text.escape_debug()))
            .advice("give a single ASCII character that does not end a line")),
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOption, message)
}

#[cfg(not(feature = "parquet"))]
pub(super) fn without_parquet() -> Error {
    Error::new(ErrorKind::Unsupported, "this program was built without Parquet")
        .advice("build it with the feature `parquet`")
}
