//! Rows that lie in memory until they are committed: what sources without a past hand out.
//!
//! Rows are numbered from 0 in the order of their arrival, and a range is a range of numbers. This is bookkeeping only:
//! who may push how much, and who waits for whom, is the business of the source.

use std::collections::VecDeque;
use std::ops::Range;

use arrow_array::Array;

use crate::columnar::RecordBatch;
use crate::connectors::ReadLimits;
use crate::error::{Error, ErrorKind, Result};
use crate::formats::{BatchReader, ReadReport};
use crate::limits::ROWS_PER_READ_MAX;

/// Rows that came in and are not committed yet.
#[derive(Debug, Default)]
pub(crate) struct HeldRows {
    /// Oldest first, without gaps.
    blocks: VecDeque<Block>,
    /// The number of the next row to come.
    end: u64,
    /// The number of the next row to give out.
    next: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Block {
    first: u64,
    batch: RecordBatch,
    bytes: u64,
}

impl Block {
    fn end(&self) -> u64 {
        self.first + self.batch.num_rows() as u64
    }
}

impl HeldRows {
    /// Bytes of all rows that are not committed.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Rows that wait to be given out.
    pub(crate) fn waiting(&self) -> u64 {
        self.end - self.next
    }

    /// Takes in rows; `bytes` is what they count for.
    pub(crate) fn push(&mut self, batch: RecordBatch, bytes: u64) {
        if batch.num_rows() == 0 {
            return;
        }
        let block = Block { first: self.end, batch, bytes };
        self.end = block.end();
        self.bytes += bytes;
        self.blocks.push_back(block);
    }

    /// Cuts off the next rows within the limits, at least one; `None` if none wait.
    pub(crate) fn take(&mut self, limits: &ReadLimits) -> Option<Range<u64>> {
        let start = self.next;
        let mut rows_left = limits.rows_max.unwrap_or(u64::MAX);
        let mut bytes_left = limits.bytes_max.unwrap_or(u64::MAX);
        for block in self.blocks.iter().filter(|block| block.end() > start) {
            let rows = block.end() - self.next;
            let by_bytes = rows_in(bytes_left, block);
            let fitting = rows.min(rows_left).min(by_bytes);
            self.next += fitting;
            rows_left -= fitting;
            bytes_left = bytes_left.saturating_sub(share(block, fitting));
            if fitting < rows {
                break;
            }
        }
        if self.next == start && self.end > start {
            self.next += 1;
        }
        (self.next > start).then_some(start..self.next)
    }

    /// The rows of a range, as slices of what was pushed.
    pub(crate) fn rows(&self, range: &Range<u64>) -> Result<Vec<RecordBatch>> {
        let known = self.blocks.front().map_or(self.end, |block| block.first);
        if range.start < known || range.end > self.end || range.start > range.end {
            return Err(gone(range));
        }
        let blocks = self.blocks.iter().filter(|block| block.first < range.end && block.end() > range.start);
        Ok(blocks
            .map(|block| {
                let from = range.start.max(block.first) - block.first;
                let to = range.end.min(block.end()) - block.first;
                slice(&block.batch, from, to)
            })
            .collect())
    }

    /// Forgets all rows before the end of the range, as far as whole blocks go.
    pub(crate) fn commit(&mut self, range: &Range<u64>) {
        while let Some(block) = self.blocks.front().filter(|block| block.end() <= range.end) {
            self.bytes -= block.bytes;
            self.blocks.pop_front();
        }
    }
}

fn rows_in(bytes: u64, block: &Block) -> u64 {
    let rows = block.batch.num_rows() as u64;
    let fitting = u128::from(bytes) * u128::from(rows) / u128::from(block.bytes.max(1));
    u64::try_from(fitting).unwrap_or(u64::MAX)
}

fn share(block: &Block, rows: u64) -> u64 {
    let bytes = u128::from(block.bytes) * u128::from(rows) / block.batch.num_rows().max(1) as u128;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "both lie within the batch, whose rows are counted in a usize")]
fn slice(batch: &RecordBatch, from: u64, to: u64) -> RecordBatch {
    batch.slice(from as usize, (to - from) as usize)
}

fn gone(range: &Range<u64>) -> Error {
    let message = format!("rows {} to {} are not held any more", range.start, range.end);
    Error::new(ErrorKind::NotFound, message).advice(
        "this source cannot replay what an earlier process read; use a source that keeps its data, such as files",
    )
}

/// Bytes that the rows of a batch take, counting of shared buffers only what the batch shows.
pub(crate) fn bytes_of(batch: &RecordBatch) -> u64 {
    let columns = batch.columns().iter();
    columns
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or(column.get_array_memory_size()) as u64)
        .sum()
}

/// Readers of batches in memory, for sources of one's own: at least one and at most `partitions`, with equal shares of the
/// rows, in order, without copying.
pub fn read_batches(batches: &[RecordBatch], partitions: usize) -> Vec<Box<dyn BatchReader>> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let readers = partitions.clamp(1, rows.max(1));
    (0..readers)
        .map(|index| {
            let (from, to) = (rows * index / readers, rows * (index + 1) / readers);
            Box::new(RowsReader { batches: cut(batches, from, to), report: ReadReport::default() })
                as Box<dyn BatchReader>
        })
        .collect()
}

/// The rows `from..to` of all batches together, in batches of at most [`ROWS_PER_READ_MAX`].
fn cut(batches: &[RecordBatch], from: usize, to: usize) -> VecDeque<RecordBatch> {
    let mut cuts = VecDeque::new();
    let mut first = 0;
    for batch in batches {
        let end = first + batch.num_rows();
        let mut at = from.max(first);
        while at < to.min(end) {
            let rows = ROWS_PER_READ_MAX.min(to.min(end) - at);
            cuts.push_back(batch.slice(at - first, rows));
            at += rows;
        }
        first = end;
    }
    cuts
}

struct RowsReader {
    batches: VecDeque<RecordBatch>,
    report: ReadReport,
}

impl BatchReader for RowsReader {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let batch = self.batches.pop_front();
        if let Some(batch) = &batch {
            self.report.rows += batch.num_rows() as u64;
            self.report.bytes += bytes_of(batch);
        }
        Ok(batch)
    }

    fn report(&self) -> ReadReport {
        self.report.clone()
    }
}
