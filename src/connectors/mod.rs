//! The outside world: where rows come from and where they go.
//!
//! There is one trait for each direction. A [`Source`] says what there is to read as [`OffsetRange`]s, plain text that
//! the engine can store, and reads a range again whenever it is asked. A [`Sink`] takes the rows of a micro-batch with
//! its id, so that a repeated batch replaces itself. `tests/connectors` runs one suite over all connectors.

// Sources.
pub mod channel;
pub mod directory;
pub mod generator;
pub mod queue;
pub mod socket;
pub mod tail;

// Sinks.
pub mod files;
pub mod for_each;
pub mod manifest;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod print;

// What they are made of.
mod chain;
mod held_lines;
mod held_rows;
mod listing;

pub use held_rows::read_batches;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::columnar::SchemaRef;
use crate::error::{Error, ErrorKind, Result};
use crate::formats::{BatchReader, Bound};
use crate::kernels::Partitions;

/// What a source has to read for one micro-batch, in words of its own. Enough to read the same rows again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OffsetRange(pub String);

impl OffsetRange {
    /// Writes down, as JSON, what a source needs to read a range again.
    ///
    /// # Errors
    /// `Unsupported`, for what JSON cannot hold: a path that is not UTF-8.
    pub fn write(offsets: &impl Serialize) -> Result<Self> {
        serde_json::to_string(offsets).map(Self).map_err(|error| {
            Error::new(ErrorKind::Unsupported, format!("an offset cannot be written down: {error}")).because(error)
        })
    }

    /// Reads what [`OffsetRange::write`] wrote.
    ///
    /// # Errors
    /// `Corrupt`, for a range that another kind of source wrote.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(&self.0).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("\"{}\" is no offset range of this source: {error}", self.0))
                .advice("the checkpoint belongs to another query: give this query a checkpoint of its own")
                .because(error)
        })
    }
}

/// How much of a source a micro-batch may take. A source that can be cut gives at most this much; one record, or what
/// cannot be cut, is given even if it is more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadLimits {
    /// Files at most.
    pub files_max: Option<usize>,
    /// Bytes at most.
    pub bytes_max: Option<u64>,
    /// Rows at most, for sources that count rows before reading them.
    pub rows_max: Option<u64>,
    /// Whether bounds that a source was given for itself do not hold either: all that is there is wanted.
    pub is_lifted: bool,
}

/// What a source answers when asked for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Available {
    /// This much, now.
    Range(OffsetRange),
    /// Nothing now, perhaps later.
    Nothing,
    /// Nothing, ever again.
    Ended,
}

/// Whether a range can be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// In another process too, as long as the outside keeps the data: files, generators.
    Always,
    /// In this process, until the range is committed: sockets, channels.
    UntilCommitted,
}

/// Where rows come from. `examples/custom_source.rs` is one of less than 60 lines.
///
/// # Contract
/// 1. `next_range` never gives the same rows twice, and the rows of all ranges in order are all rows of the source.
///    *(tested)*
/// 2. `read` of a range gives the same rows in the same order each time, in however many partitions, until the range
///    is committed. *(tested)*
/// 3. After `resume(ranges)` on a fresh source, `next_range` continues after the last of them. Called at most once,
///    before anything else. Sources that cannot replay in another process start anew. `compact(ranges)` does as well.
///    *(tested)*
/// 4. Nothing is lost: what cannot be read is an error or is counted in the reader's report. *(tested)*
/// 5. Calls return soon. A source that waits for its peer does so on a thread of its own. *(cannot be checked: the
///    query then stops slowly)*
pub trait Source: Send {
    /// The schema of its rows; the same for its whole life, but for [`Source::read_as_codes`].
    fn schema(&self) -> SchemaRef;

    /// Whether ranges can be read again.
    fn replay(&self) -> Replay;

    /// Whether its readers put bad records aside: the query then needs a place for them.
    fn may_quarantine(&self) -> bool {
        false
    }

    /// Whether it counts rows before it reads them, so that a bound on rows in [`ReadLimits`] holds. Of other sources rows
    /// are bounded by bytes, about.
    fn counts_rows(&self) -> bool {
        false
    }

    /// Says that nobody looks at other columns than these, by index. A source may save the work of reading them: it gives
    /// any values of their types then. Called at most once, before anything is read.
    fn narrow(&mut self, columns: &BTreeSet<usize>) {
        let _ = columns;
    }

    /// Which of these columns of texts, by index, it could give as codes, see [`Source::read_as_codes`].
    fn codable(&self, columns: &BTreeSet<usize>) -> BTreeSet<usize> {
        let _ = columns;
        BTreeSet::new()
    }

    /// Has these columns, which it said are [`codable`](Source::codable), given as codes: in the type
    /// [`coded_text`](crate::columnar::data_type::coded_text), which is that of its schema from now on. Called at most once,
    /// before anything is read.
    fn read_as_codes(&mut self, columns: &BTreeSet<usize>) {
        let _ = columns;
    }

    /// Says that only rows are looked at that keep all these bounds. A source may leave others out without reading them, and
    /// counts these in its reader's report. Called at most once, before anything is read.
    fn bound(&mut self, bounds: &[Bound]) {
        let _ = bounds;
    }

    /// Whether the event times of its parts are told apart, by what its readers say in
    /// [`source_part`](BatchReader::source_part). The same for its whole life, and for all lives of a query.
    fn has_parts(&self) -> bool {
        false
    }

    /// Cuts off the next range.
    ///
    /// # Errors
    /// A source that is gone or cannot be looked at.
    fn next_range(&mut self, limits: &ReadLimits) -> Result<Available>;

    /// Opens a range as at least one and at most `partitions` readers of about equally many bytes, in the order of the
    /// rows. A source of several parts whose event times are told apart
    /// ([`source_part`](BatchReader::source_part)) opens one reader a part at least.
    ///
    /// # Errors
    /// Data that is gone or cannot be opened.
    fn read(&mut self, range: &OffsetRange, partitions: usize) -> Result<Vec<Box<dyn BatchReader>>>;

    /// The same, but a source may believe what it would have to find out first, and says whether it does. The readers then
    /// give the same, unless the first of them that fails does so with an error of kind `Corrupt`: it may be that nothing
    /// counts that any of them gave, and only [`Source::read`] tells.
    ///
    /// # Errors
    /// As for [`Source::read`].
    fn read_believing(&mut self, range: &OffsetRange, partitions: usize) -> Result<(Vec<Box<dyn BatchReader>>, bool)> {
        Ok((self.read(range, partitions)?, false))
    }

    /// Says that the range's rows are safely in all sinks. Ranges are committed in order.
    ///
    /// # Errors
    /// A peer that cannot be told.
    fn commit(&mut self, range: &OffsetRange) -> Result<()>;

    /// Says which ranges were committed in an earlier life, in order.
    ///
    /// # Errors
    /// `Corrupt` for ranges that this source did not write.
    fn resume(&mut self, committed: &[OffsetRange]) -> Result<()> {
        let _ = committed;
        Ok(())
    }

    /// Makes committed ranges into fewer ones that mean the same to [`Source::resume`]. What is kept of a long life stays
    /// short by this.
    ///
    /// # Errors
    /// `Corrupt` for ranges that this source did not write.
    fn compact(&self, committed: Vec<OffsetRange>) -> Result<Vec<OffsetRange>> {
        Ok(committed)
    }

    /// What waits to be read, if the source knows.
    fn backlog(&self) -> Backlog {
        Backlog::default()
    }

    /// Ends what the source does in the background. Rows that are already in its hands can still be read.
    fn stop(&mut self) {}
}

/// What waits in a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Files that wait.
    pub files: Option<u64>,
    /// Bytes that wait.
    pub bytes: Option<u64>,
    /// Rows that wait.
    pub rows: Option<u64>,
}

/// The rows of one micro-batch on their way to a sink.
#[derive(Debug)]
pub struct OutputBatch<'a> {
    /// Dense and rising from 0.
    pub batch_id: u64,
    /// When the batch was cut, as time since the Unix epoch. The same if the batch is repeated.
    pub time: Duration,
    /// The schema of all batches.
    pub schema: &'a SchemaRef,
    /// The rows.
    pub partitions: &'a Partitions,
}

/// What a sink did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteReport {
    /// Rows written.
    pub rows: u64,
    /// Bytes written, if the sink knows.
    pub bytes: u64,
}

/// What a sink does when a batch is given a second time with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The first is replaced: readers see each row once.
    Replaces,
    /// The first stays, and the same rows again change nothing: readers see each row once. Other rows are refused.
    Keeps,
    /// Readers may see rows twice.
    Appends,
}

/// Where rows go. `examples/custom_sink.rs` is one of less than 60 lines.
///
/// # Contract
/// 1. `open` comes first, once; `close` last, once, unless an error ended the query. *(asserted by the runtime)*
/// 2. When `write` returns, the rows are where readers find them, all of them. When it fails, readers see no part of a
///    file of this batch. *(tested)*
/// 3. A batch without rows is written too, so that a sink may note that it was there. *(tested)*
/// 4. `repeat` keeps its word. *(tested)*
/// 5. After `resume(next)`, before `open`, what batches before `next` wrote is kept. Batches from `next` on may have been
///    written by an earlier life of the query; they come again. *(tested)*
pub trait Sink: Send {
    /// Says that an earlier life of the query wrote the batches before this one, and perhaps some from it on. Called at
    /// most once, before [`Sink::open`].
    ///
    /// # Errors
    /// A place that does not hold what was written.
    fn resume(&mut self, next_batch: u64) -> Result<()> {
        let _ = next_batch;
        Ok(())
    }

    /// Prepares for rows of this schema.
    ///
    /// # Errors
    /// A place that cannot be written to, or a schema that it cannot hold.
    fn open(&mut self, schema: &SchemaRef) -> Result<()>;

    /// Writes a micro-batch.
    ///
    /// # Errors
    /// A full disk, a broken connection, a receiver that is gone.
    fn write(&mut self, batch: &OutputBatch<'_>) -> Result<WriteReport>;

    /// Ends the output.
    ///
    /// # Errors
    /// As for [`Sink::write`].
    fn close(&mut self) -> Result<()> {
        Ok(())
    }

    /// What happens when a batch comes again.
    fn repeat(&self) -> Repeat;
}

impl fmt::Debug for dyn Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

impl fmt::Debug for dyn Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}
