//! Tables for people, on standard output or wherever else one can write.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use chrono::DateTime;

use crate::columnar::{RecordBatch, SchemaRef, pretty};
use crate::connectors::{OutputBatch, Repeat, Sink, WriteReport};
use crate::error::{Error, ErrorKind, Result};

/// Prints the first rows of each micro-batch as a table, under a line with the batch's id, its time and its rows.
///
/// ```
/// use pelton::connectors::print::PrintSink;
///
/// let errors = PrintSink::new(20).named("errors"); // batch 0 of "errors" at 2026-03-01 09:30:00.000 UTC, 7 rows
/// ```
pub struct PrintSink {
    name: Option<String>,
    rows_max: usize,
    output: Box<dyn Write + Send>,
}

impl PrintSink {
    /// Prints at most `rows_max` rows of each batch on standard output.
    pub fn new(rows_max: usize) -> Self {
        Self::to(Box::new(io::stdout()), rows_max)
    }

    /// Prints at most `rows_max` rows of each batch on `output`.
    pub fn to(output: Box<dyn Write + Send>, rows_max: usize) -> Self {
        Self { name: None, rows_max, output }
    }

    /// Says this name above each table, to tell the tables of several sinks apart.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl Sink for PrintSink {
    fn open(&mut self, _: &SchemaRef) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, batch: &OutputBatch<'_>) -> Result<WriteReport> {
        let batches: Vec<RecordBatch> = batch.partitions.iter().flatten().cloned().collect();
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let counted = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
        let name = self.name.as_ref().map_or_else(String::new, |name| format!(" of \"{name}\""));
        let mut text = format!("batch {}{name} at {}, {counted}\n", batch.batch_id, show_time(batch.time));
        if rows > 0 {
            text.push_str(pretty::table(&batches, self.rows_max).trim_end_matches('\n'));
            text.push('\n');
        }
        text.push('\n');
        // In one piece, so that what other threads print does not stand in between.
        self.output.write_all(text.as_bytes()).and_then(|()| self.output.flush()).map_err(cannot_print)?;
        Ok(WriteReport { rows: rows as u64, bytes: text.len() as u64 })
    }

    fn repeat(&self) -> Repeat {
        Repeat::Appends
    }
}

impl fmt::Debug for PrintSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("PrintSink");
        shown.field("name", &self.name).field("rows_max", &self.rows_max).finish_non_exhaustive()
    }
}

/// A time since the Unix epoch, in UTC, to the millisecond.
fn show_time(time: Duration) -> String {
    let milliseconds = i64::try_from(time.as_millis()).ok();
    match milliseconds.and_then(DateTime::from_timestamp_millis) {
        Some(time) => time.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string(),
        None => format!("{} ms", time.as_millis()),
    }
}

fn cannot_print(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Error::new(ErrorKind::Closed, "nobody reads the printed batches any more").because(error);
    }
    Error::new(ErrorKind::Connector, format!("cannot print: {error}")).retry_later().because(error)
}
