//! Made-up rows at a set pace, the same on each run: for trying things out, for tests and for measuring.
//!
//! Rows are addressed by number, so a range is a range of numbers and can be made again in any process. What the rows
//! hold is the business of [`generate`](crate::generate) or of a closure.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::columnar::{RecordBatch, SchemaRef};
use crate::connectors::held_rows::bytes_of;
use crate::connectors::{Available, Backlog, OffsetRange, ReadLimits, Replay, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::{BatchReader, ReadReport};
use crate::generate::Generator;
use crate::limits::ROWS_PER_READ_MAX;

/// Rows from which the bytes of a row are estimated.
const SAMPLE_ROWS: u64 = 256;

/// How fast rows come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// This many in each second since the first batch was asked for.
    PerSecond(u64),
    /// This many in each micro-batch, however often one is cut.
    PerBatch(u64),
}

/// Makes rows by number: equal arguments, equal rows.
type MakeRows = dyn Fn(u64, usize) -> Result<RecordBatch> + Send + Sync;

/// Gives made-up rows at a [`Pace`].
///
/// ```
/// use pelton::connectors::generator::{GeneratorSource, Pace};
/// use pelton::connectors::{Available, ReadLimits, Source};
/// use pelton::generate::{Options, generator};
///
/// let people = generator("people", 7, &Options::default())?;
/// let mut source = GeneratorSource::new(people, Pace::PerBatch(1_000)).rows_total(1_500);
/// let mut batches = 0;
/// while let Available::Range(_) = source.next_range(&ReadLimits::default())? {
///     batches += 1;
/// }
/// assert_eq!(batches, 2);
/// # Ok::<(), pelton::error::Error>(())
/// ```
pub struct GeneratorSource {
    schema: SchemaRef,
    rows: Arc<MakeRows>,
    pace: Pace,
    clock: Arc<dyn Clock>,
    total: u64,
    /// The next row to give out.
    next: u64,
    /// When the first range was asked for, and the row that was next then.
    began: Option<(Duration, u64)>,
    /// Bytes of a row, about; known once a bound on bytes asks for it.
    row_bytes: Option<u64>,
}

impl GeneratorSource {
    /// The rows of a sample stream.
    pub fn new(generator: Arc<dyn Generator>, pace: Pace) -> Self {
        Self::from_fn(generator.schema(), pace, move |first_row, rows| generator.rows(first_row, rows))
    }

    /// The rows that a closure makes: `rows` of them, from number `first_row` on. It must give the same rows each time.
    pub fn from_fn(
        schema: SchemaRef,
        pace: Pace,
        rows: impl Fn(u64, usize) -> Result<RecordBatch> + Send + Sync + 'static,
    ) -> Self {
        Self {
            schema,
            rows: Arc::new(rows),
            pace,
            clock: Arc::new(SystemClock::new()),
            total: u64::MAX,
            next: 0,
            began: None,
            row_bytes: None,
        }
    }

    /// How many rows there are; then the source ends. Default: it does not end.
    #[must_use]
    pub fn rows_total(mut self, rows: u64) -> Self {
        self.total = rows;
        self
    }

    /// The clock for [`Pace::PerSecond`].
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How many rows are due now.
    fn due(&mut self) -> u64 {
        let by_pace = match self.pace {
            Pace::PerBatch(rows) => rows,
            Pace::PerSecond(rate) => {
                let now = self.clock.now();
                let (start, first) = *self.began.get_or_insert((now, self.next));
                let so_far = u128::from(rate) * now.saturating_sub(start).as_nanos() / 1_000_000_000;
                u64::try_from(so_far).unwrap_or(u64::MAX).saturating_add(first).saturating_sub(self.next)
            }
        };
        by_pace.min(self.total - self.next)
    }

    fn rows_in(&mut self, bytes: u64) -> Result<u64> {
        let row_bytes = match self.row_bytes {
            Some(row_bytes) => row_bytes,
            None => {
                let rows = SAMPLE_ROWS.min(self.total);
                let sample = make(&self.rows, &self.schema, 0, rows)?;
                *self.row_bytes.insert((bytes_of(&sample) / rows.max(1)).max(1))
            }
        };
        Ok(bytes / row_bytes)
    }
}

impl Source for GeneratorSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn replay(&self) -> Replay {
        Replay::Always
    }

    fn counts_rows(&self) -> bool {
        true
    }

    fn next_range(&mut self, limits: &ReadLimits) -> Result<Available> {
        if self.next == self.total {
            return Ok(Available::Ended);
        }
        // All that is there, whatever the pace, is all rows to come, if they have an end.
        let has_end = self.total < u64::MAX;
        let mut rows = if limits.is_lifted && has_end { self.total - self.next } else { self.due() };
        if rows == 0 {
            return Ok(Available::Nothing);
        }
        rows = rows.min(limits.rows_max.unwrap_or(u64::MAX));
        if let Some(bytes) = limits.bytes_max {
            rows = rows.min(self.rows_in(bytes)?);
        }
        let start = self.next;
        self.next += rows.max(1);
        Ok(Available::Range(OffsetRange::write(&(start..self.next))?))
    }

    fn read(&mut self, range: &OffsetRange, partitions: usize) -> Result<Vec<Box<dyn BatchReader>>> {
        let range: Range<u64> = range.parse()?;
        if range.start > range.end || range.end > self.total {
            let message = format!("rows {} to {} are not made here, only {}", range.start, range.end, self.total);
            return Err(Error::new(ErrorKind::Corrupt, message)
                .advice("keep rows_total as it was when the query was first started"));
        }
        let rows = u128::from(range.end - range.start);
        let readers = (partitions.max(1) as u128).min(rows.max(1));
        let border = |index: u128| range.start + u64::try_from(rows * index / readers).unwrap_or(u64::MAX);
        Ok((0..readers)
            .map(|index| {
                Box::new(MadeRows {
                    rows: Arc::clone(&self.rows),
                    schema: Arc::clone(&self.schema),
                    waiting: border(index)..border(index + 1),
                    report: ReadReport::default(),
                }) as Box<dyn BatchReader>
            })
            .collect())
    }

    fn commit(&mut self, _: &OffsetRange) -> Result<()> {
        Ok(())
    }

    fn resume(&mut self, committed: &[OffsetRange]) -> Result<()> {
        for range in committed {
            self.next = range.parse::<Range<u64>>()?.end.min(self.total);
        }
        Ok(())
    }

    fn compact(&self, mut committed: Vec<OffsetRange>) -> Result<Vec<OffsetRange>> {
        Ok(committed.pop().into_iter().collect())
    }

    fn backlog(&self) -> Backlog {
        Backlog { files: None, bytes: None, rows: (self.total < u64::MAX).then_some(self.total - self.next) }
    }
}

impl fmt::Debug for GeneratorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GeneratorSource").field("pace", &self.pace).field("next", &self.next).finish_non_exhaustive()
    }
}

struct MadeRows {
    rows: Arc<MakeRows>,
    schema: SchemaRef,
    waiting: Range<u64>,
    report: ReadReport,
}

impl BatchReader for MadeRows {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let rows = (self.waiting.end - self.waiting.start).min(ROWS_PER_READ_MAX as u64);
        if rows == 0 {
            return Ok(None);
        }
        let batch = make(&self.rows, &self.schema, self.waiting.start, rows)?;
        self.waiting.start += rows;
        self.report.rows += rows;
        self.report.bytes += bytes_of(&batch);
        Ok(Some(batch))
    }

    fn report(&self) -> ReadReport {
        self.report.clone()
    }
}

/// Makes rows, and checks what a closure made of the request.
fn make(rows: &Arc<MakeRows>, schema: &SchemaRef, first: u64, count: u64) -> Result<RecordBatch> {
    let wanted = usize::try_from(count).unwrap_or(ROWS_PER_READ_MAX);
    let batch = rows(first, wanted)?;
    if batch.num_rows() == wanted && batch.schema_ref().fields() == schema.fields() {
        return Ok(batch);
    }
    let message = format!(
        "asked for {wanted} rows from row {first} on, the generator gave {} rows of {}",
        batch.num_rows(),
        batch.schema_ref()
    );
    Err(Error::new(ErrorKind::Function, message).advice("give as many rows as asked for, in the schema of the source"))
}
