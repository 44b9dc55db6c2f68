//! The names in the first record of a CSV file, and where their columns go.

use std::path::Path;

use crate::columnar::Schema;
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::csv::decode::Layout;
use crate::formats::csv::scan::{Kind, Marks, Scanner, Span, unescape};
use crate::formats::input;
use crate::limits::{FIELDS_MAX, RECORD_BYTES_MAX};
use crate::suggest;

/// The texts of a record.
pub(super) fn names(record: &[u8], spans: &[Span], quote: Option<u8>) -> Vec<String> {
    let mut unescaped = Vec::new();
    let name = |span: &Span| {
        let text = &record[span.start..span.end];
        match (span.kind, quote) {
            (Kind::Escaped, Some(quote)) => {
                unescape(text, quote, &mut unescaped);
                String::from_utf8_lossy(&unescaped).into_owned()
            }
            _ => String::from_utf8_lossy(text).into_owned(),
        }
    };
    spans.iter().map(name).collect()
}

/// Finds the schema's columns among the names. Fields that the schema does not name are not read: naming the columns
/// is choosing them.
pub(super) fn layout(names: &[String], schema: &Schema, allow_missing: bool) -> Result<Layout> {
    let mut layout = Layout { targets: vec![None; names.len()], missing: Vec::new() };
    for (column, field) in schema.fields().iter().enumerate() {
        let mut places = names.iter().enumerate().filter(|(_, name)| *name == field.name());
        match (places.next(), places.next()) {
            (Some((place, _)), None) => layout.targets[place] = Some(column),
            (None, _) if allow_missing && field.is_nullable() => layout.missing.push(column),
            (None, _) => return Err(missing(names, field.name(), field.is_nullable())),
            (Some(_), Some(_)) => {
                let message = format!("the header names the column \"{}\" twice", field.name());
                return Err(Error::new(ErrorKind::BadRecord, message)
                    .at(Place::default().column(field.name()))
                    .advice("give the columns of the file different names"));
            }
        }
    }
    Ok(layout)
}

/// The error of a header with more fields than a record may have.
pub(super) fn too_many() -> Error {
    Error::new(ErrorKind::BadRecord, format!("the header has more than {FIELDS_MAX} fields"))
        .advice("look whether the delimiter is right, and whether the file is CSV at all")
}

fn missing(names: &[String], column: &str, nullable: bool) -> Error {
    let message = format!("the header has no column \"{column}\"; it has \"{}\"", names.join("\", \""));
    let otherwise = if nullable {
        "mend the schema, or set allow_missing_columns to read it as null"
    } else {
        "mend the schema or the file"
    };
    let advice = suggest::meant(column, names.iter().map(String::as_str), otherwise);
    Error::new(ErrorKind::BadRecord, message).at(Place::default().column(column)).advice(advice)
}

/// The first record of a file.
pub(in crate::formats) struct FirstRecord {
    /// Its texts.
    pub(in crate::formats) names: Vec<String>,
    /// The byte behind it.
    pub(in crate::formats) end: u64,
}

/// The first record of a file; nothing if it has none.
pub(in crate::formats) fn first_record(path: &Path, marks: Marks) -> Result<Option<FirstRecord>> {
    const BLOCK_BYTES: usize = 64 << 10;
    let mut input = input::open_whole(path)?.bytes;
    let mut scanner = Scanner::new(marks);
    let mut bytes = Vec::new();
    loop {
        let filled = bytes.len();
        bytes.resize(filled + BLOCK_BYTES, 0);
        let read = input.read(&mut bytes[filled..]).map_err(|error| Error::io(path, "read the header", error))?;
        bytes.truncate(filled + read);
        let all = read == 0;
        let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        while !rest.is_empty() {
            let Some(length) = scanner.length(rest, all) else { break };
            if scanner.has_too_many() {
                return Err(too_many().at(Place::file(path).line(1)));
            }
            if !scanner.spans.is_empty() && !scanner.is_blank() {
                let end = (bytes.len() - rest.len() + length) as u64;
                return Ok(Some(FirstRecord { names: names(rest, &scanner.spans, marks.quote), end }));
            }
            rest = &rest[length..];
        }
        if all && rest.is_empty() {
            return Ok(None);
        }
        if all || bytes.len() > RECORD_BYTES_MAX {
            let error = Error::new(ErrorKind::BadRecord, "the header does not end: a quoted name is not closed");
            return Err(error.at(Place::file(path).line(1)).advice("mend the header, or set the quote"));
        }
    }
}
