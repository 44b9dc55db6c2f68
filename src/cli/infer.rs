//! `pelton infer`: the columns of a file, as TOML for a pipeline.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::answer;
use super::exit::Exit;
use crate::columnar::{Schema, SchemaRef};
use crate::error::{Error, ErrorKind, Result};
use crate::expr::display::type_name;
use crate::formats::{self, FormatKind, FormatOptions};

/// Says which columns a file has, as a [[source]] for a pipeline file.
///
/// Parquet and Arrow files say it themselves; of CSV and NDJSON files the first records are looked at. Types are the
/// narrowest of boolean, int64, double, date, timestamp and text that all values have. Look at them before you rely on
/// them: a later value of another type is a bad record.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pelton infer visits.csv
  pelton infer logs/today.ndjson.gz --records 100000 >> pipeline.toml
  pelton infer lineitem.tbl --format csv --delimiter '|' --no-header")]
pub(super) struct Infer {
    /// The file
    file: PathBuf,
    /// text, csv, ndjson, parquet or arrow [default: by the ending of the file]
    #[arg(long, value_name = "FORMAT", value_parser = kind)]
    format: Option<FormatKind>,
    /// How many records are looked at
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    records: usize,
    /// CSV: the character between fields
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<String>,
    /// CSV: the first record holds values, not names
    #[arg(long)]
    no_header: bool,
}

fn kind(name: &str) -> Result<FormatKind, String> {
    let kinds = [FormatKind::Text, FormatKind::Csv, FormatKind::Ndjson, FormatKind::Parquet, FormatKind::Arrow];
    let found = kinds.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| format!("take one of {}", kinds.map(FormatKind::name).join(", ")))
}

impl Infer {
    pub(super) fn execute(&self) -> Result<Exit> {
        let kind = self.format.or_else(|| FormatKind::of_name(&self.file)).ok_or_else(|| {
            let message = format!("the ending of \"{}\" says nothing of its format", self.file.display());
            Error::new(ErrorKind::InvalidOption, message).advice("add --format")
        })?;
        let mut options = FormatOptions::new(kind);
        if matches!(kind, FormatKind::Csv | FormatKind::Ndjson) {
            options.infer_records = Some(self.records);
        }
        options.delimiter.clone_from(&self.delimiter);
        options.header = self.no_header.then_some(false);
        // Whatever would keep a pipeline from reading the file with these columns is said now.
        let schema = formats::infer(&options, &self.file)?;
        let mut read = options.clone();
        if kind != FormatKind::Text {
            read = read.with_schema(SchemaRef::clone(&schema));
        }
        read.build(None)?;
        answer(&document(&self.file, &options, &schema))?;
        Ok(Exit::Well)
    }
}

/// A source that reads the file with these columns.
fn document(file: &Path, options: &FormatOptions, schema: &Schema) -> String {
    let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let stem = name.split('.').next().filter(|stem| !stem.is_empty()).unwrap_or("source");
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    line("[[source]]".to_owned());
    line(format!("name = {}", quoted(stem)));
    line("type = \"files\"".to_owned());
    line(format!("path = {}", quoted(&file.to_string_lossy())));
    line(format!("format = {}", quoted(options.kind.name())));
    if let Some(delimiter) = &options.delimiter {
        line(format!("delimiter = {}", quoted(delimiter)));
    }
    if options.header == Some(false) {
        line("header = false".to_owned());
    }
    if options.kind != FormatKind::Text {
        line("[source.schema]".to_owned());
        for field in schema.fields() {
            line(format!("{} = {}", key(field.name()), quoted(&type_name(field.data_type()))));
        }
    }
    text
}

/// A key of TOML.
fn key(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(is_plain) { name.to_owned() } else { quoted(name) }
}

/// A text of TOML, whose escapes are those of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
