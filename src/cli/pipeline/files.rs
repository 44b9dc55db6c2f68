//! What is said about files: where they are, what kind, with which columns.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::document::{Node, Value};
use super::expressions;
use super::keys::Keys;
use crate::columnar::{Field, Schema, SchemaRef};
use crate::error::{Error, Result};
use crate::expr::parse;
use crate::formats::{BadRecordPolicy, BinaryText, CheckedRows, FormatKind, FormatOptions, ParquetCompression};

const KINDS: [(&str, FormatKind); 5] = [
    ("text", FormatKind::Text),
    ("csv", FormatKind::Csv),
    ("ndjson", FormatKind::Ndjson),
    ("parquet", FormatKind::Parquet),
    ("arrow", FormatKind::Arrow),
];

const POLICIES: [(&str, BadRecordPolicy); 4] = [
    ("fail", BadRecordPolicy::Fail),
    ("drop", BadRecordPolicy::Drop),
    ("null", BadRecordPolicy::Null),
    ("quarantine", BadRecordPolicy::Quarantine),
];

/// What readers and writers of files have in common.
pub(super) const KEYS: &[&str] = &["path", "format", "delimiter", "quote", "header", "null_values", "binary"];

/// What only readers know.
pub(super) const READER_KEYS: &[&str] =
    &["schema", "comment", "allow_missing_columns", "on_bad_record", "on_bad_value", "checked_rows", "infer_records"];

/// What only writers know.
pub(super) const WRITER_KEYS: &[&str] = &["compression"];

/// A path as it was given, relative to the directory in which the program was started.
pub(super) fn path(keys: &Keys<'_>) -> Result<PathBuf> {
    keys.required("path")?.text().map(PathBuf::from)
}

/// The format of files that are read, and their columns.
pub(super) fn to_read(keys: &Keys<'_>, path: Option<&Path>) -> Result<FormatOptions> {
    let mut options = common(keys, path.and_then(FormatKind::of_name))?;
    options.schema = keys.optional("schema").map(schema).transpose()?;
    options.comment = keys.optional("comment").map(Node::mark).transpose()?;
    options.allow_missing_columns = keys.boolean("allow_missing_columns")?;
    options.infer_records = keys.optional("infer_records").map(|node| node.count(1)).transpose()?;
    options.on_bad_record = keys.choice("on_bad_record", &POLICIES)?;
    options.checked_rows = keys.choice("checked_rows", &[("all", CheckedRows::All), ("kept", CheckedRows::Kept)])?;
    if let Some(node) = keys.optional("on_bad_value") {
        let Value::Table(columns) = &node.value else {
            return Err(node.expected("columns with their policies, such as { age = \"null\" }"));
        };
        let policy = |column: &Node| Ok((column.key.clone(), column.choice(&POLICIES)?));
        options.on_bad_value = columns.0.iter().map(|entry| policy(&entry.value)).collect::<Result<_>>()?;
    }
    Ok(options)
}

/// The format of files that are written; one is needed unless there is a usual one.
pub(super) fn to_write(keys: &Keys<'_>, usual: Option<FormatKind>) -> Result<FormatOptions> {
    let mut options = common(keys, usual)?;
    let compressions = [
        ("zstd", ParquetCompression::Zstd),
        ("snappy", ParquetCompression::Snappy),
        ("none", ParquetCompression::None),
    ];
    options.compression = keys.choice("compression", &compressions)?;
    Ok(options)
}

fn common(keys: &Keys<'_>, usual: Option<FormatKind>) -> Result<FormatOptions> {
    let kind = match (keys.choice("format", &KINDS)?, usual) {
        (Some(kind), _) | (None, Some(kind)) => kind,
        (None, None) => keys.required("format")?.choice(&KINDS)?,
    };
    let mut options = FormatOptions::new(kind);
    options.delimiter = keys.optional("delimiter").map(Node::mark).transpose()?;
    options.quote = keys.optional("quote").map(Node::mark).transpose()?;
    options.header = keys.boolean("header")?;
    options.null_values = keys.optional("null_values").map(words).transpose()?;
    options.binary = keys.choice("binary", &[("hex", BinaryText::Hex), ("raw", BinaryText::Raw)])?;
    Ok(options)
}

fn words(node: &Node) -> Result<Vec<String>> {
    match &node.value {
        Value::Array(items) => items.iter().map(Node::mark).collect(),
        _ => node.mark().map(|word| vec![word]),
    }
}

/// Columns and their types: `{ name = "text", age = "int" }`, or as SQL: `"name text, age int not null"`.
fn schema(node: &Node) -> Result<SchemaRef> {
    if let Value::Text(text) = &node.value {
        return parse::parse_schema(text).map(Arc::new).map_err(|error| node.spot.blame(error));
    }
    let Value::Table(columns) = &node.value else {
        return Err(node.expected("columns with their types, such as { name = \"text\", age = \"int\" }"));
    };
    let field = |column: &Node| Ok(Field::new(&column.key, expressions::data_type(column)?, true));
    let fields = columns.0.iter().map(|entry| field(&entry.value)).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// A file that shows which columns the files under `path` have, if the format and the user do not say: the first one.
pub(super) fn sample(options: &FormatOptions, path: &Path, keys: &Keys<'_>) -> Result<Option<PathBuf>> {
    if options.schema.is_some() || options.kind == FormatKind::Text {
        return Ok(None);
    }
    let found = if path.is_dir() { first_in(path) } else { first_under(path) };
    found.map(Some).ok_or_else(|| {
        let error =
            Error::invalid_query(format!("there is no file yet under \"{}\" that shows its columns", path.display()));
        keys.spot.blame(error.advice("give a schema, such as schema = { name = \"text\", age = \"int\" }"))
    })
}

fn first_in(directory: &Path) -> Option<PathBuf> {
    let is_shown = |path: &PathBuf| path.is_file() && !path.file_name().is_some_and(is_hidden);
    std::fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path())).filter(is_shown).min()
}

fn is_hidden(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().first().is_some_and(|first| matches!(first, b'.' | b'_'))
}

fn first_under(pattern: &Path) -> Option<PathBuf> {
    let found = glob::glob(pattern.to_str()?).ok()?;
    found.filter_map(std::result::Result::ok).find(|path| path.is_file())
}
