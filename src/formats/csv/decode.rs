//! CSV records to rows.

use std::sync::Arc;

use arrow_schema::SchemaRef;

use crate::columnar::data_type;
use crate::error::Result;
use crate::formats::BadRecordPolicy;
use crate::formats::cell::Wrong;
use crate::formats::column::{Column, Rows};
use crate::formats::csv::CsvOptions;
use crate::formats::csv::at_once;
use crate::formats::csv::header;
use crate::formats::csv::scan::{Kind, Scanner, Span, unescape};
use crate::formats::csv::walk::Walk;
use crate::formats::lines::{Fault, Outcome, RecordDecoder, Room, Taken, shown};
use crate::formats::wording::reason;

/// Which field goes to which column.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// For each field of the file, the column it goes to.
    pub(super) targets: Vec<Option<usize>>,
    /// Columns that the file does not have: null in every row.
    pub(super) missing: Vec<usize>,
}

impl Layout {
    /// Fields in the order of the schema.
    pub(super) fn by_position(columns: usize) -> Self {
        Self { targets: (0..columns).map(Some).collect(), missing: Vec::new() }
    }
}

pub(super) struct CsvDecoder {
    options: Arc<CsvOptions>,
    schema: SchemaRef,
    scanner: Scanner,
    /// Unknown until the header has been read.
    layout: Option<Layout>,
    /// Whether any column holds text, so that records must be checked for UTF-8.
    has_text: bool,
    unescaped: Vec<u8>,
    /// What happens to records with a bad value in each column.
    policies: Vec<BadRecordPolicy>,
    new_column: Option<String>,
    walk: Walk,
}

impl CsvDecoder {
    /// Without a layout, the first record is the header.
    pub(super) fn new(options: &Arc<CsvOptions>, schema: &SchemaRef, layout: Option<Layout>) -> Self {
        let holds_text = |field: &Arc<arrow_schema::Field>| match field.data_type() {
            arrow_schema::DataType::Dictionary(_, values) => data_type::is_text(values),
            other => data_type::is_text(other),
        };
        Self {
            options: Arc::clone(options),
            schema: Arc::clone(schema),
            scanner: Scanner::new(options.marks),
            layout,
            has_text: schema.fields().iter().any(holds_text),
            unescaped: Vec::new(),
            policies: options.policies.of_columns(schema),
            new_column: None,
            walk: Walk::new(),
        }
    }

    /// Whether the filter leaves the record out, by the columns that are tested; if one of their values is bad it is not
    /// known. Nothing of it stays in the columns.
    fn is_left_out(&mut self, record: &[u8], rows: &mut Rows, check_text: bool) -> bool {
        let mut is_good = true;
        let targets = self.layout.iter().flat_map(|layout| &layout.targets);
        for (span, target) in self.scanner.spans.iter().zip(targets) {
            if let Some(target) = target
                && rows.tests.iter().any(|test| test.column == *target)
            {
                let text = unquoted(record, span, self.options.marks.quote, &mut self.unescaped);
                let column = &mut rows.columns[*target];
                is_good &= push_field(column, text, span.kind, check_text, &self.options).is_ok();
            }
        }
        let is_left_out = is_good && rows.leave_out_latest();
        rows.abandon_row();
        is_left_out
    }
}

impl RecordDecoder for CsvDecoder {
    #[inline]
    fn length(&mut self, bytes: &[u8], all: bool) -> Option<usize> {
        self.scanner.length(bytes, all)
    }

    fn lines(&self) -> u64 {
        1 + self.scanner.inner_lines
    }

    fn new_column(&self) -> Option<&str> {
        self.new_column.as_deref()
    }

    fn endless(&self) -> &'static str {
        "a quoted field is not closed"
    }

    fn take_good(&mut self, bytes: &[u8], room: &Room, rows: &mut Rows) -> Taken {
        match &self.layout {
            Some(layout) => at_once::take_good(bytes, room, (&self.options, layout, &mut self.walk), rows),
            None => Taken::default(),
        }
    }

    fn decode(&mut self, record: &[u8], rows: &mut Rows) -> Result<Outcome> {
        let spans = self.scanner.spans.as_slice();
        if spans.is_empty() {
            return Ok(Outcome::Nothing);
        }
        let Some(layout) = &self.layout else {
            if self.scanner.has_too_many() {
                return Err(header::too_many());
            }
            if !self.scanner.is_blank() {
                let names = header::names(record, spans, self.options.marks.quote);
                if self.options.watches_columns {
                    self.new_column = names.iter().find(|name| self.schema.column_with_name(name).is_none()).cloned();
                }
                self.layout = Some(header::layout(&names, &self.schema, self.options.allow_missing_columns)?);
            }
            return Ok(Outcome::Nothing);
        };
        if layout.targets.len() != 1 && self.scanner.is_blank() {
            return Ok(Outcome::Nothing);
        }
        if spans.len() != layout.targets.len() {
            let (has, needs) = (spans.len(), layout.targets.len());
            let more = if self.scanner.has_too_many() { "at least " } else { "" };
            let reason = format!(
                "the record has {more}{has} fields where {needs} are expected: {}",
                shown(record.trim_ascii_end())
            );
            return Ok(Outcome::Bad(Box::new(Fault::new(0, reason))));
        }
        let check_text = self.has_text && std::str::from_utf8(record).is_err();
        if !rows.tests.is_empty() && self.is_left_out(record, rows, check_text) {
            rows.pruned += 1;
            return Ok(Outcome::Nothing);
        }
        let (Some(layout), spans) = (&self.layout, self.scanner.spans.as_slice()) else { return Ok(Outcome::Nothing) };
        let mut mended = None;
        for (span, target) in spans.iter().zip(&layout.targets) {
            let Some((target, column)) = target.and_then(|target| Some((target, rows.columns.get_mut(target)?))) else {
                continue;
            };
            let text = unquoted(record, span, self.options.marks.quote, &mut self.unescaped);
            if let Err(wrong) = push_field(column, text, span.kind, check_text, &self.options) {
                let mut fault = fault(column, text, span, wrong);
                fault.policy = self.policies.get(target).copied();
                if fault.policy != Some(BadRecordPolicy::Null) {
                    return Ok(Outcome::Bad(fault));
                }
                column.push_null();
                mended.get_or_insert(fault);
            }
        }
        for missing in &layout.missing {
            rows.columns[*missing].push_null();
        }
        Ok(mended.map_or(Outcome::Row, Outcome::Mended))
    }
}

/// The text of a field, without what quotes it.
#[inline]
fn unquoted<'a>(record: &'a [u8], span: &Span, quote: Option<u8>, unescaped: &'a mut Vec<u8>) -> &'a [u8] {
    let text = &record[span.start..span.end];
    match (span.kind, quote) {
        (Kind::Escaped, Some(quote)) => {
            unescape(text, quote, unescaped);
            unescaped
        }
        _ => text,
    }
}

/// What keeps a field from being a value.
enum Trouble {
    Value(Wrong),
    Broken,
    NotUtf8,
}

#[inline]
fn push_field(
    column: &mut Column,
    text: &[u8],
    kind: Kind,
    check_text: bool,
    options: &CsvOptions,
) -> Result<(), Trouble> {
    // A quoted text is a text even if it reads like a null; a quoted number cannot be meant so.
    let may_be_null = kind == Kind::Plain || !column.may_be_empty();
    if may_be_null && options.null_words.iter().any(|word| word.as_slice() == text) {
        if !column.field.is_nullable() {
            return Err(Trouble::Value(Wrong::Missing));
        }
        column.push_null();
        return Ok(());
    }
    if kind == Kind::Broken {
        return Err(Trouble::Broken);
    }
    if check_text && column.holds_text() && std::str::from_utf8(text).is_err() {
        return Err(Trouble::NotUtf8);
    }
    column.push_text(text).map_err(Trouble::Value)
}

#[cold]
fn fault(column: &Column, text: &[u8], span: &Span, trouble: Trouble) -> Box<Fault> {
    let mut byte = span.start;
    let reason = match trouble {
        Trouble::Value(wrong) => reason(wrong, &shown(text), column.field.data_type()),
        Trouble::Broken => format!("something follows the closing quote in {}", shown(text)),
        Trouble::NotUtf8 => match std::str::from_utf8(text) {
            Err(error) => {
                let fault = crate::formats::text::not_utf8(text, error);
                // Behind doubled quotes the offset in the record is unknown: the field's start is near enough.
                byte += if span.kind == Kind::Escaped { 0 } else { fault.byte };
                fault.reason
            }
            Ok(_) => String::from("the text is not UTF-8"),
        },
    };
    Box::new(Fault::in_column(byte, column.field.name(), reason))
}
