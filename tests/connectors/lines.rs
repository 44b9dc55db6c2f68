//! The slowest reader of text lines that can be thought of: it reads the whole file and picks the lines.

use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use pelton::error::{Error, Place, Result};
use pelton::formats::{BatchReader, Format, LineFormat, ReadReport, Split};

use crate::tables::{line_schema, text};

/// Lines as a format.
#[derive(Debug)]
pub(crate) struct SlowLines;

impl SlowLines {
    pub(crate) fn shared() -> Arc<dyn Format> {
        Arc::new(Self)
    }

    pub(crate) fn of_streams() -> Arc<dyn LineFormat> {
        Arc::new(Self)
    }
}

impl Format for SlowLines {
    fn name(&self) -> &'static str {
        "slow-lines"
    }

    fn schema(&self) -> SchemaRef {
        line_schema()
    }

    fn smaller(&self, split: &Split, target_bytes: u64) -> Result<Vec<Split>> {
        let starts = (split.range.start..split.range.end).step_by(usize::try_from(target_bytes).unwrap());
        let ranges = starts.map(|start| start..split.range.end.min(start + target_bytes));
        Ok(ranges.map(|range| Split { path: split.path.clone(), bytes: range.end - range.start, range }).collect())
    }

    fn splits(&self, path: &Path, file_bytes: u64, target_bytes: u64) -> Result<Vec<Split>> {
        let starts = (0..file_bytes).step_by(usize::try_from(target_bytes).unwrap());
        Ok(starts
            .map(|start| start..file_bytes.min(start + target_bytes))
            .map(|range| Split { path: path.to_owned(), bytes: range.end - range.start, range })
            .collect())
    }

    fn open(&self, split: &Split) -> Result<Box<dyn BatchReader>> {
        let content = std::fs::read_to_string(&split.path).map_err(|error| Error::io(&split.path, "read", error))?;
        let rows = text(&starting_in(&content, &split.range));
        let report = ReadReport { bytes: split.bytes, ..ReadReport::default() };
        Ok(Box::new(OneBatch { rows: Some(rows), report }))
    }
}

impl LineFormat for SlowLines {
    fn reader_of(&self, mut input: Box<dyn Read + Send>, _: Place) -> Box<dyn BatchReader> {
        let mut content = String::new();
        input.read_to_string(&mut content).unwrap();
        Box::new(OneBatch { rows: Some(text(&content.lines().collect::<Vec<_>>())), report: ReadReport::default() })
    }
}

fn starting_in<'a>(content: &'a str, range: &Range<u64>) -> Vec<&'a str> {
    let mut at = 0;
    let lines = content.split_inclusive('\n').filter(|line| {
        let start = at;
        at += line.len() as u64;
        range.contains(&start)
    });
    lines.map(|line| line.trim_end_matches('\n')).collect()
}

struct OneBatch {
    rows: Option<RecordBatch>,
    report: ReadReport,
}

impl BatchReader for OneBatch {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let rows = self.rows.take();
        self.report.rows += rows.as_ref().map_or(0, |rows| rows.num_rows() as u64);
        Ok(rows)
    }

    fn report(&self) -> ReadReport {
        self.report.clone()
    }
}
