//! NDJSON: one object a line.
//!
//! Fields stand in any order; those that the schema does not name are passed over, missing ones are null, and of two
//! with the same name the last one counts. Empty lines are passed over.

mod decode;
mod left_out;
mod syntax;
mod template;
pub(super) mod write;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::columnar::SchemaRef;
use crate::error::{Place, Result};
use crate::formats::bad_records::Policies;
use crate::formats::column::{BinaryText, Rows, coded_schema, idle_columns};
use crate::formats::input::Input;
use crate::formats::json::decode::JsonDecoder;
use crate::formats::lines::{LineFormat, Portion, RecordReader};
use crate::formats::text::{cut_smaller, open_lines, or_broken, split_by_lines};
use crate::formats::{BatchReader, Bound, CheckedRows, Format, Split};

/// NDJSON files of one schema.
#[derive(Debug, Clone)]
pub(super) struct JsonFormat {
    schema: SchemaRef,
    policies: Policies,
    /// Whether fields that are not in the schema are told.
    watches_columns: bool,
    checked_rows: CheckedRows,
    /// Columns, by index, that nobody looks at: they are checked, and null.
    idle: BTreeSet<usize>,
    /// Rows that do not keep all of these need not be read.
    bounds: Vec<Bound>,
}

impl JsonFormat {
    pub(super) fn new(schema: SchemaRef, policies: Policies, watches_columns: bool, checked_rows: CheckedRows) -> Self {
        Self { schema, policies, watches_columns, checked_rows, idle: BTreeSet::new(), bounds: Vec::new() }
    }

    fn reader(&self, input: Input, portion: Portion) -> Result<Box<dyn BatchReader>> {
        let rows = Rows::new(&self.schema, BinaryText::Hex, &self.idle)?.keeping(&self.bounds);
        let decoder = JsonDecoder::new(&self.schema, &self.policies, self.watches_columns, &rows.tests);
        Ok(Box::new(RecordReader::with_rows(input, decoder, rows, portion)?))
    }
}

impl Format for JsonFormat {
    fn name(&self) -> &'static str {
        "ndjson"
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
        let may_pass = self.checked_rows == CheckedRows::Kept && !bounds.is_empty();
        may_pass.then(|| Arc::new(Self { bounds: bounds.to_vec(), ..self.clone() }) as Arc<dyn Format>)
    }

    fn may_quarantine(&self) -> bool {
        self.policies.may_quarantine()
    }

    fn splits(&self, path: &Path, file_bytes: u64, target_bytes: u64) -> Result<Vec<Split>> {
        split_by_lines(path, file_bytes, target_bytes)
    }

    fn smaller(&self, split: &Split, target_bytes: u64) -> Result<Vec<Split>> {
        cut_smaller(split, target_bytes)
    }

    fn open(&self, split: &Split) -> Result<Box<dyn BatchReader>> {
        let (input, portion) = open_lines(split, self.policies.record)?;
        self.reader(input, portion)
    }
}

impl LineFormat for JsonFormat {
    fn reader_of(&self, input: Box<dyn Read + Send>, place: Place) -> Box<dyn BatchReader> {
        let portion = Portion::everything(place, self.policies.record);
        or_broken(self.reader(Input::plain(input), portion))
    }
}
