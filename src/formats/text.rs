//! Plain text: one row a line, in one column named `line`.
//!
//! Lines end with LF or CRLF; the last one need not. An empty line is a row with an empty text. A line that is not
//! UTF-8 is a bad record.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::columnar::{DataType, Field, Schema, SchemaRef};
use crate::error::{Error, Place, Result};
use crate::formats::column::{Rows, Values, coded_schema};
use crate::formats::input;
use crate::formats::input::Input;
use crate::formats::lines::{Fault, LineFormat, Outcome, Portion, RecordDecoder, RecordReader, Room, Taken};
use crate::formats::lines::{line_length, shown, without_line_end};
use crate::formats::marks::Marked;
use crate::formats::{BadRecordPolicy, BatchReader, Format, Split};
use crate::limits::RECORD_BYTES_MAX;

/// The name of the column that holds the lines of a text file.
pub const LINE_COLUMN: &str = "line";

/// Plain text.
#[derive(Debug)]
pub(super) struct TextFormat {
    schema: SchemaRef,
    policy: BadRecordPolicy,
}

impl TextFormat {
    pub(super) fn new(policy: BadRecordPolicy) -> Self {
        // Only a line that could not be read has no text.
        let nullable = policy == BadRecordPolicy::Null;
        let schema = Arc::new(Schema::new(vec![Field::new(LINE_COLUMN, DataType::Utf8, nullable)]));
        Self { schema, policy }
    }

    fn reader(&self, input: Input, portion: Portion) -> Result<Box<dyn BatchReader>> {
        Ok(Box::new(RecordReader::new(input, LineDecoder, &self.schema, portion)?))
    }
}

impl Format for TextFormat {
    fn name(&self) -> &'static str {
        "text"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn coded(&self, columns: &BTreeSet<usize>) -> Option<Arc<dyn Format>> {
        let schema = coded_schema(&self.schema, columns)?;
        Some(Arc::new(Self { schema, policy: self.policy }))
    }

    fn may_quarantine(&self) -> bool {
        self.policy == BadRecordPolicy::Quarantine
    }

    fn splits(&self, path: &Path, file_bytes: u64, target_bytes: u64) -> Result<Vec<Split>> {
        split_by_lines(path, file_bytes, target_bytes)
    }

    fn smaller(&self, split: &Split, target_bytes: u64) -> Result<Vec<Split>> {
        cut_smaller(split, target_bytes)
    }

    fn open(&self, split: &Split) -> Result<Box<dyn BatchReader>> {
        let (input, portion) = open_lines(split, self.policy)?;
        self.reader(input, portion)
    }
}

impl LineFormat for TextFormat {
    fn reader_of(&self, input: Box<dyn Read + Send>, place: Place) -> Box<dyn BatchReader> {
        let portion = Portion::everything(place, self.policy);
        or_broken(self.reader(Input::plain(input), portion))
    }
}

/// Cuts a file of lines: evenly, since a reader finds the line borders itself. A compressed file is one split.
pub(super) fn split_by_lines(path: &Path, file_bytes: u64, target_bytes: u64) -> Result<Vec<Split>> {
    cut_smaller(&input::whole_split(path, file_bytes), target_bytes)
}

/// Cuts a split of a file of lines likewise.
pub(super) fn cut_smaller(split: &Split, target_bytes: u64) -> Result<Vec<Split>> {
    let Split { path, range, bytes } = split;
    if *bytes == 0 || input::compression_of(path)?.is_some() {
        return Ok(vec![split.clone()]);
    }
    let parts = bytes.div_ceil(target_bytes.max(1));
    let cut = |part: u64| u64::try_from(u128::from(*bytes) * u128::from(part) / u128::from(parts));
    let cut = |part| cut(part).map_err(|_| Error::internal("a cut lies behind the end of its file"));
    (0..parts)
        .map(|part| {
            let range = range.start + cut(part)?..range.start + cut(part + 1)?;
            Ok(Split { path: path.clone(), bytes: range.end - range.start, range })
        })
        .collect()
}

/// Opens a split of a file of lines, one byte early: if that byte ends a line, the split's first line is its own.
pub(super) fn open_lines(split: &Split, policy: BadRecordPolicy) -> Result<(Input, Portion)> {
    let place = Place::file(&split.path);
    if input::compression_of(&split.path)?.is_some() {
        return Ok((input::open_whole(&split.path)?, Portion::everything(place.byte(0), policy)));
    }
    let from = split.range.start.saturating_sub(1);
    let input = input::open_at(&split.path, from)?;
    let skip_line = split.range.start > 0;
    Ok((input, Portion { place: place.byte(from), end: split.range.end, skip_line, policy }))
}

/// A reader, or one that tells why there is none: `reader_of` itself cannot fail.
pub(super) fn or_broken(reader: Result<Box<dyn BatchReader>>) -> Box<dyn BatchReader> {
    reader.unwrap_or_else(|error| Box::new(BrokenReader(Some(error))))
}

struct BrokenReader(Option<Error>);

impl BatchReader for BrokenReader {
    fn next_batch(&mut self) -> Result<Option<crate::columnar::RecordBatch>> {
        self.0.take().map_or(Ok(None), Err)
    }

    fn report(&self) -> crate::formats::ReadReport {
        crate::formats::ReadReport::default()
    }
}

struct LineDecoder;

impl RecordDecoder for LineDecoder {
    fn length(&mut self, bytes: &[u8], all: bool) -> Option<usize> {
        line_length(bytes, all)
    }

    fn take_good(&mut self, bytes: &[u8], room: &Room, rows: &mut Rows) -> Taken {
        let taken = match rows.columns.first_mut().map(|column| &mut column.values) {
            Some(Values::Text(values)) => take_lines(bytes, room, |start, end| values.push_within(bytes, start, end)),
            Some(Values::Coded(codes)) => take_lines(bytes, room, |start, end| codes.push_within(bytes, start, end)),
            _ => return Taken::default(),
        };
        if let Some(column) = rows.columns.first_mut() {
            column.pushed_all(taken.rows);
        }
        rows.took(taken.rows);
        taken
    }

    fn decode(&mut self, record: &[u8], rows: &mut Rows) -> Result<Outcome> {
        let line = without_line_end(record);
        if let Err(error) = std::str::from_utf8(line) {
            return Ok(Outcome::Bad(Box::new(not_utf8(line, error))));
        }
        let column = rows.columns.first_mut().ok_or_else(|| Error::internal("text without its column"))?;
        column.push_text(line).map_err(|_| Error::internal("a line did not fit a text column"))?;
        Ok(Outcome::Row)
    }
}

/// Gives `push` where each of as many lines as there is room for begins and ends.
#[inline(always)]
fn take_lines(bytes: &[u8], room: &Room, mut push: impl FnMut(usize, usize)) -> Taken {
    let mut taken = Taken::default();
    for end in Marked::new(bytes, [b'\n'; 3]) {
        let start = taken.bytes;
        if taken.rows == room.rows || start >= room.bytes || end - start > RECORD_BYTES_MAX {
            break;
        }
        let has_return = end > start && bytes[end - 1] == b'\r';
        push(start, end - usize::from(has_return));
        taken = Taken { rows: taken.rows + 1, bytes: end + 1 };
    }
    taken
}

/// Says where a text stops being UTF-8.
pub(super) fn not_utf8(text: &[u8], error: std::str::Utf8Error) -> Fault {
    let at = error.valid_up_to();
    let byte = text.get(at).copied().unwrap_or_default();
    Fault::new(at, format!("byte {byte:#04x} is not UTF-8 in {}", shown(&text[at.saturating_sub(20)..])))
}
