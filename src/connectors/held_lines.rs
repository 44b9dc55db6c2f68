//! Lines that lie in memory until they are committed: what came over a connection, not yet taken apart.
//!
//! Bytes are numbered from 0 in the order of their arrival, and a range is a range of numbers that begins and ends at a
//! line border.

use std::collections::VecDeque;
use std::ops::Range;

use crate::connectors::ReadLimits;
use crate::error::{Error, ErrorKind, Result};

/// Lines that came in and are not committed yet.
#[derive(Debug, Default)]
pub(crate) struct HeldLines {
    /// Complete lines, oldest first, without gaps.
    blocks: VecDeque<Block>,
    /// The number of the next byte to come.
    end: u64,
    /// The number of the next byte to give out.
    next: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Block {
    first: u64,
    lines: Vec<u8>,
}

impl Block {
    fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    /// The bytes of this block that lie in a range.
    fn part(&self, range: &Range<u64>) -> &[u8] {
        let from = range.start.saturating_sub(self.first);
        let to = range.end.saturating_sub(self.first);
        let inside = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.lines.len());
        &self.lines[inside(from)..inside(to)]
    }
}

impl HeldLines {
    /// Bytes that are not committed.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of the next byte to come.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes that wait to be given out.
    pub(crate) fn waiting(&self) -> u64 {
        self.end - self.next
    }

    /// Takes in complete lines, the last of them with its line end.
    pub(crate) fn push(&mut self, lines: Vec<u8>) {
        if lines.is_empty() {
            return;
        }
        self.bytes += lines.len() as u64;
        let block = Block { first: self.end, lines };
        self.end = block.end();
        self.blocks.push_back(block);
    }

    /// Cuts off the next lines within the limits, at least one; `None` if none wait.
    pub(crate) fn take(&mut self, limits: &ReadLimits) -> Option<Range<u64>> {
        let start = self.next;
        let mut rows_left = limits.rows_max.unwrap_or(u64::MAX);
        let mut bytes_left = limits.bytes_max.unwrap_or(u64::MAX);
        for block in &self.blocks {
            let waiting = block.part(&(self.next..u64::MAX));
            let (bytes, rows) = lines_within(waiting, bytes_left, rows_left, self.next == start);
            self.next += bytes;
            bytes_left = bytes_left.saturating_sub(bytes);
            rows_left = rows_left.saturating_sub(rows);
            if bytes < waiting.len() as u64 {
                break;
            }
        }
        (self.next > start).then_some(start..self.next)
    }

    /// The lines of a range.
    pub(crate) fn lines(&self, range: &Range<u64>) -> Result<Vec<u8>> {
        let known = self.blocks.front().map_or(self.end, |block| block.first);
        if range.start < known || range.end > self.end || range.start > range.end {
            let message = format!("bytes {} to {} are not held any more", range.start, range.end);
            return Err(Error::new(ErrorKind::NotFound, message)
                .advice("a connection cannot replay what an earlier process read; use a source that keeps its data"));
        }
        let mut lines = Vec::new();
        for block in self.blocks.iter().filter(|block| block.first < range.end) {
            lines.extend_from_slice(block.part(range));
        }
        Ok(lines)
    }

    /// Forgets all lines before the end of the range, as far as whole blocks go.
    pub(crate) fn commit(&mut self, range: &Range<u64>) {
        while let Some(block) = self.blocks.front().filter(|block| block.end() <= range.end) {
            self.bytes -= block.lines.len() as u64;
            self.blocks.pop_front();
        }
    }
}

/// How many bytes and lines at the front lie within the bounds; if `at_least_one`, the first line whatever it holds.
fn lines_within(lines: &[u8], bytes_max: u64, rows_max: u64, at_least_one: bool) -> (u64, u64) {
    let (mut bytes, mut rows) = (0, 0);
    for end in memchr::memchr_iter(b'\n', lines) {
        let end = end as u64 + 1;
        let fits = end <= bytes_max && rows < rows_max;
        if !(fits || at_least_one && rows == 0) {
            break;
        }
        (bytes, rows) = (end, rows + 1);
    }
    (bytes, rows)
}

/// Cuts lines into at least one and at most `parts` parts of about equally many bytes, at line borders.
pub(crate) fn cut(lines: &[u8], parts: usize) -> Vec<Range<usize>> {
    let mut borders = vec![0];
    for part in 1..parts {
        let target = lines.len() / parts * part;
        let from = target.max(borders[borders.len() - 1]);
        match memchr::memchr(b'\n', &lines[from..]) {
            Some(end) if from + end + 1 < lines.len() => borders.push(from + end + 1),
            _ => break,
        }
    }
    borders.push(lines.len());
    borders.windows(2).map(|pair| pair[0]..pair[1]).collect()
}
