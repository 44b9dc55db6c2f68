//! CSV: records of fields, perhaps quoted, perhaps with a header.
//!
//! With a header, a schema names the columns to read: others in the file are passed over, in whatever order they stand.
//! Without one, the schema gives all columns in their order. A record with too few or too many fields is bad. Empty
//! lines are passed over, unless records have a single field.
//!
//! An empty field without quotes is null (or what `null_values` says); an empty field in quotes is an empty text.

mod at_once;
mod decode;
pub(super) mod header;
pub(super) mod scan;
mod split;
mod walk;
pub(super) mod write;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::columnar::SchemaRef;
use crate::error::{ErrorKind, Place, Result};
use crate::formats::bad_records::Policies;
use crate::formats::column::{BinaryText, Rows, coded_schema, idle_columns};
use crate::formats::csv::decode::{CsvDecoder, Layout};
use crate::formats::csv::scan::Marks;
use crate::formats::csv::split::Cuts;
use crate::formats::input;
use crate::formats::input::Input;
use crate::formats::lines::{LineFormat, Portion, RecordReader};
use crate::formats::text::{open_lines, or_broken};
use crate::formats::{BatchReader, Bound, CheckedRows, Format, Split};

/// How a CSV file is written.
#[derive(Debug)]
pub(super) struct CsvOptions {
    pub(super) marks: Marks,
    pub(super) header: bool,
    pub(super) null_words: Vec<Vec<u8>>,
    pub(super) binary: BinaryText,
    pub(super) allow_missing_columns: bool,
    pub(super) policies: Policies,
    /// Whether columns of a file that are not in the schema are told.
    pub(super) watches_columns: bool,
    pub(super) checked_rows: CheckedRows,
}

/// CSV files of one schema.
#[derive(Debug, Clone)]
pub(super) struct CsvFormat {
    schema: SchemaRef,
    options: Arc<CsvOptions>,
    /// Columns, by index, that nobody looks at: they are checked, and null.
    idle: BTreeSet<usize>,
    /// Rows that do not keep all of these need not be read.
    bounds: Vec<Bound>,
    cuts: Arc<Cuts>,
}

impl CsvFormat {
    pub(super) fn new(schema: SchemaRef, options: CsvOptions) -> Self {
        let (idle, bounds, cuts) = (BTreeSet::new(), Vec::new(), Arc::default());
        Self { schema, options: Arc::new(options), idle, bounds, cuts }
    }

    /// How the fields lie for a reader that starts at this place; nothing if it will see the header itself.
    fn layout_at(&self, place: &Place) -> Result<Option<Layout>> {
        let by_position = || Layout::by_position(self.schema.fields().len());
        if !self.options.header {
            return Ok(Some(by_position()));
        }
        if place.byte.unwrap_or(0) == 0 {
            return Ok(None);
        }
        let Some(path) = place.file.as_deref().filter(|path| path.is_file()) else { return Ok(Some(by_position())) };
        let header = header::first_record(path, self.options.marks)?;
        let names = header.map_or_else(Vec::new, |header| header.names);
        let layout = header::layout(&names, &self.schema, self.options.allow_missing_columns);
        layout.map(Some).map_err(|error| error.at(Place::file(path).line(1)))
    }

    /// Where a file may be cut first: the header belongs to the first split, even if long comments stand before it. Nothing
    /// if it cannot be read: a reader of the whole file says what it makes of it.
    fn first_cut(&self, path: &Path) -> Result<Option<u64>> {
        match self.options.header.then(|| header::first_record(path, self.options.marks)).transpose() {
            Err(error) if error.kind() == ErrorKind::BadRecord => Ok(None),
            header => Ok(Some(header?.flatten().map_or(0, |header| header.end))),
        }
    }

    fn reader(&self, input: Input, portion: Portion) -> Result<Box<dyn BatchReader>> {
        let layout = self.layout_at(&portion.place)?;
        let decoder = CsvDecoder::new(&self.options, &self.schema, layout);
        let rows = Rows::new(&self.schema, self.options.binary, &self.idle)?.keeping(&self.bounds);
        Ok(Box::new(RecordReader::with_rows(input, decoder, rows, portion)?))
    }
}

impl Format for CsvFormat {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn narrowed(&self, columns: &BTreeSet<usize>) -> Option<Arc<dyn Format>> {
        let idle = idle_columns(&self.schema, columns);
        (!idle.is_empty()).then(|| Arc::new(Self { idle, ..self.clone() }) as Arc<dyn Format>)
    }

    fn coded(&self, columns: &BTreeSet<usize>) -> Option<Arc<dyn Format>> {
        let schema = coded_schema(&self.schema, columns)?;
        Some(Arc::new(Self { schema, ..self.clone() }))
    }

    fn bounded(&self, bounds: &[Bound]) -> Option<Arc<dyn Format>> {
        let may_pass = self.options.checked_rows == CheckedRows::Kept && !bounds.is_empty();
        may_pass.then(|| Arc::new(Self { bounds: bounds.to_vec(), ..self.clone() }) as Arc<dyn Format>)
    }

    fn may_quarantine(&self) -> bool {
        self.options.policies.may_quarantine()
    }

    fn splits(&self, path: &Path, file_bytes: u64, target_bytes: u64) -> Result<Vec<Split>> {
        if file_bytes <= target_bytes || input::compression_of(path)?.is_some() {
            return Ok(vec![input::whole_split(path, file_bytes)]);
        }
        self.cuts.of(path, file_bytes, target_bytes, || {
            let Some(first_cut) = self.first_cut(path)? else { return Ok(vec![input::whole_split(path, file_bytes)]) };
            split::split_between_records(path, file_bytes, target_bytes, first_cut, self.options.marks)
        })
    }

    fn believed_splits(&self, path: &Path, file_bytes: u64, target_bytes: u64) -> Result<Option<Vec<Split>>> {
        let marks = self.options.marks;
        let needs_search = marks.quote.is_some() && input::compression_of(path)?.is_none();
        let is_cut = file_bytes > target_bytes;
        if !needs_search || is_cut && split::begins_with_inner_lines(path, target_bytes, marks)? {
            return Ok(None);
        }
        let Some(first_cut) = self.first_cut(path)? else {
            return Ok(Some(vec![input::whole_split(path, file_bytes)]));
        };
        split::split_at_line_ends(path, file_bytes, target_bytes, first_cut).map(Some)
    }

    fn smaller(&self, split: &Split, target_bytes: u64) -> Result<Vec<Split>> {
        if input::compression_of(&split.path)?.is_some() {
            return Ok(vec![split.clone()]);
        }
        let header = match self.options.header && split.range.start == 0 {
            true => match header::first_record(&split.path, self.options.marks) {
                Err(error) if error.kind() == ErrorKind::BadRecord => return Ok(vec![split.clone()]),
                header => header?,
            },
            false => None,
        };
        split::cut_smaller(split, target_bytes, header.map_or(0, |header| header.end), self.options.marks)
    }

    fn open(&self, split: &Split) -> Result<Box<dyn BatchReader>> {
        let (input, portion) = if split.range.start == 0 {
            open_lines(split, self.options.policies.record)?
        } else {
            // Cut between records: the split starts with one.
            let place = Place::file(&split.path).byte(split.range.start);
            let portion =
                Portion { place, end: split.range.end, skip_line: false, policy: self.options.policies.record };
            (input::open_at(&split.path, split.range.start)?, portion)
        };
        self.reader(input, portion)
    }
}

impl LineFormat for CsvFormat {
    fn reader_of(&self, input: Box<dyn Read + Send>, place: Place) -> Box<dyn BatchReader> {
        let portion = Portion::everything(place, self.options.policies.record);
        or_broken(self.reader(Input::plain(input), portion))
    }
}
