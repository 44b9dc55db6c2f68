//! Records from any stream of bytes: the part that text, CSV and NDJSON share.
//!
//! Bytes are read in large blocks into one buffer. A [`RecordDecoder`] says where the record at the front of the buffer
//! ends and takes it apart; [`RecordReader`] does the rest: blocks, batches, the bounds of a split, the longest record,
//! lines and bytes counted, bad records by policy.
//!
//! Most records are good and written like the one before. A decoder takes as many of these as it can at once
//! ([`RecordDecoder::take_good`]); the first one that needs a closer look, and every bad one, goes the careful way alone.
//! What comes out is the same either way.
//!
//! A record never begins before, or ends behind, what its decoder says: results do not depend on how a file is cut into
//! blocks or splits.

use std::collections::BTreeSet;
use std::io::Read;

use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, Place, Result};
use crate::formats::bad_records::new_column;
use crate::formats::column::{BinaryText, Rows};
use crate::formats::input::Input;
use crate::formats::{Aside, BadRecord, BadRecordPolicy, BatchReader, Checksum, Format, ReadReport, SetAside};
use crate::limits::{LONG_RECORD_KEPT_BYTES, RECORD_BYTES_MAX, ROWS_PER_READ_MAX};

/// Bytes asked of the input at once: large enough to make calls rare, small enough to stay in a second-level cache.
const BLOCK_BYTES: usize = 512 << 10;

/// Bytes of records in one batch at most, before the last record: keeps 32-bit offsets and memory in bounds.
const BATCH_BYTES_MAX: u64 = 64 << 20;

/// A format whose records can be read from any stream of bytes, not only from files.
///
/// This is what sources that are not files use: a socket, a growing file, bytes handed in by the program. A block of
/// complete lines held in memory is a stream, too:
///
/// ```
/// use std::io::Cursor;
/// use pelton::error::Place;
/// use pelton::formats::{FormatKind, FormatOptions};
///
/// let lines = FormatOptions::new(FormatKind::Text).build_lines(None)?;
/// let block = b"first\nsecond\n".to_vec();
/// // The place is where the first byte stands: it shows up in errors and examples of bad records.
/// let mut reader = lines.reader_of(Box::new(Cursor::new(block)), Place::file("peer:9000").line(1).byte(0));
/// assert_eq!(reader.next_batch()?.map(|batch| batch.num_rows()), Some(2));
/// assert!(reader.next_batch()?.is_none());
/// # Ok::<(), pelton::error::Error>(())
/// ```
pub trait LineFormat: Format {
    /// Reads all records of `input`. Its first byte must begin a record, and stands at `place`: the file or address,
    /// the byte offset and the line, as far as they are known (bytes count from 0 if not).
    ///
    /// At byte 0 a byte order mark is skipped and a CSV header, if there should be one, is read. Later in a CSV file
    /// with a header, the header is read from the start of `place.file`; if there is no such file, the fields are taken
    /// to stand in the order of the schema.
    ///
    /// A call of `next_batch` returns when a batch is full or the input has ended: an input that waits makes it wait.
    fn reader_of(&self, input: Box<dyn Read + Send>, place: Place) -> Box<dyn BatchReader>;
}

/// What is wrong with a record.
#[derive(Debug)]
pub(super) struct Fault {
    /// Where in the record, in bytes.
    pub(super) byte: usize,
    pub(super) column: Option<String>,
    pub(super) reason: String,
    /// What happens to the record, if the column says so and not the source.
    pub(super) policy: Option<BadRecordPolicy>,
}

impl Fault {
    pub(super) fn new(byte: usize, reason: impl Into<String>) -> Self {
        Self { byte, column: None, reason: reason.into(), policy: None }
    }

    pub(super) fn in_column(byte: usize, column: &str, reason: impl Into<String>) -> Self {
        Self { column: Some(column.to_owned()), ..Self::new(byte, reason) }
    }
}

/// What became of a record.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A row.
    Row,
    /// A row in which some fields are null because they could not be read: the policy is `null`.
    Mended(Box<Fault>),
    /// Not a row: a header, a comment, an empty line.
    Nothing,
    /// It cannot be taken apart. Columns may hold parts of it.
    Bad(Box<Fault>),
}

/// How many records a decoder may take at once.
pub(super) struct Room {
    /// Rows at most.
    pub(super) rows: usize,
    /// Only records that begin before this byte.
    pub(super) bytes: usize,
}

/// What a decoder took at once.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// As many records: each a row and a line.
    pub(super) rows: usize,
    /// Their bytes, with line ends.
    pub(super) bytes: usize,
}

/// Knows one kind of record.
pub(super) trait RecordDecoder: Send {
    /// The length of the record at the front of `bytes` (not empty), with its line end. Nothing if the record does not
    /// end in `bytes`; if these are `all` there are, then the record never ends.
    fn length(&mut self, bytes: &[u8], all: bool) -> Option<usize>;

    /// How many line ends are in the record just measured.
    fn lines(&self) -> u64 {
        1
    }

    /// What to say of a record without an end.
    fn endless(&self) -> &'static str {
        "the record does not end"
    }

    /// The first column it met that is new, if it looks for such.
    fn new_column(&self) -> Option<&str> {
        None
    }

    /// How often a name came again in a record, so that an earlier value was overwritten.
    fn repeated(&self) -> u64 {
        0
    }

    /// Appends the rows of records at the front of `bytes`, which are UTF-8, as long as they are good, end in `bytes`, and
    /// are a line each that is no longer than a record may be. It may stop earlier at any record: what it leaves is
    /// decoded one by one.
    fn take_good(&mut self, bytes: &[u8], room: &Room, rows: &mut Rows) -> Taken {
        let _ = (bytes, room, rows);
        Taken::default()
    }

    /// Takes the record just measured apart and appends it to the columns.
    ///
    /// # Errors
    /// What makes all following records unreadable, such as a header that lacks a column.
    fn decode(&mut self, record: &[u8], rows: &mut Rows) -> Result<Outcome>;
}

/// The length of the line at the front of `bytes`, with its line end.
pub(super) fn line_length(bytes: &[u8], all: bool) -> Option<usize> {
    match memchr::memchr(b'\n', bytes) {
        Some(end) => Some(end + 1),
        None => all.then_some(bytes.len()),
    }
}

/// How far the record at the front of some bytes reaches.
pub(super) enum Extent {
    /// This many bytes, with its line end.
    Record(usize),
    /// Further than these bytes.
    More,
    /// It has no end. The first line of it is taken for a bad record, so that one stray quote costs one line.
    Line {
        length: usize,
        /// Whether a line end is part of it.
        ended: bool,
    },
    /// Its first line alone is longer than a record may be. It ends with that line.
    TooLong,
}

/// How far the record at the front of `waiting` reaches, given the length that its decoder `measured`. The answer does
/// not depend on how many bytes of what follows are already there; `waiting` is not empty, and `all` if nothing follows.
#[inline]
pub(super) fn extent(measured: Option<usize>, waiting: &[u8], all: bool) -> Extent {
    // Room for a record and its line end.
    const WAIT_BYTES_MAX: usize = RECORD_BYTES_MAX + 2;
    match measured {
        Some(length) if length <= RECORD_BYTES_MAX => return Extent::Record(length),
        Some(length) if without_line_end(&waiting[..length]).len() <= RECORD_BYTES_MAX => {
            return Extent::Record(length);
        }
        None if !all && waiting.len() < WAIT_BYTES_MAX => return Extent::More,
        _ => {}
    }
    match memchr::memchr(b'\n', &waiting[..waiting.len().min(WAIT_BYTES_MAX)]) {
        Some(end) if without_line_end(&waiting[..=end]).len() <= RECORD_BYTES_MAX => {
            Extent::Line { length: end + 1, ended: true }
        }
        None if all && waiting.len() <= RECORD_BYTES_MAX => Extent::Line { length: waiting.len(), ended: false },
        _ => Extent::TooLong,
    }
}

/// The line without its end, LF or CRLF.
pub(super) fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Which records to read, and what to do with bad ones.
pub(super) struct Portion {
    /// Where the first byte of the input stands.
    pub(super) place: Place,
    /// Records that start at this byte or later belong to others.
    pub(super) end: u64,
    /// Whether the input starts in the middle of a line that belongs to others.
    pub(super) skip_line: bool,
    pub(super) policy: BadRecordPolicy,
}

impl Portion {
    /// All records of an input that begins with a record.
    pub(super) fn everything(place: Place, policy: BadRecordPolicy) -> Self {
        Self { place, end: u64::MAX, skip_line: false, policy }
    }
}

/// Reads batches of records.
pub(super) struct RecordReader<D> {
    input: Input,
    decoder: D,
    rows: Rows,
    buffer: Vec<u8>,
    /// The part of the buffer that holds bytes not yet used.
    start: usize,
    filled: usize,
    /// The input has no more bytes.
    drained: bool,
    /// Where `buffer[start]` stands.
    byte: u64,
    line: Option<u64>,
    /// Bytes up to the next line end are to be passed over.
    skip_line: bool,
    /// Whether passed bytes are part of a record of this portion.
    skip_counts: bool,
    portion: Portion,
    report: ReadReport,
    aside: Aside,
    /// Where in the buffer the bytes of records begin that are not in the checksum yet.
    unsummed: usize,
    /// The bytes from `start` up to here are known to be UTF-8.
    utf8_end: usize,
    /// How much of the buffer was there when that was looked at.
    utf8_seen: usize,
    /// How many records are decoded one by one before the decoder may take many at once again.
    detour: Detour,
}

/// Keeps input whose records all need a closer look from being looked at twice.
#[derive(Debug, Default)]
struct Detour {
    left: u32,
    length: u32,
}

impl Detour {
    const LENGTH_MAX: u32 = 63;

    /// Whether this record is decoded by itself.
    fn goes_on(&mut self) -> bool {
        let goes_on = self.left > 0;
        self.left = self.left.saturating_sub(1);
        goes_on
    }

    /// Notes whether records could be taken at once.
    fn tried(&mut self, taken: Taken) {
        self.length = if taken.rows > 0 { 0 } else { (2 * self.length + 1).min(Self::LENGTH_MAX) };
        self.left = self.length;
    }
}

impl<D: RecordDecoder> RecordReader<D> {
    /// Fills all columns of a schema.
    pub(super) fn new(input: Input, decoder: D, schema: &SchemaRef, portion: Portion) -> Result<Self> {
        Self::with_rows(input, decoder, Rows::new(schema, BinaryText::Hex, &BTreeSet::new())?, portion)
    }

    /// One that fills these columns.
    pub(super) fn with_rows(input: Input, decoder: D, rows: Rows, portion: Portion) -> Result<Self> {
        Ok(Self {
            input,
            decoder,
            rows,
            buffer: vec![0; BLOCK_BYTES],
            start: 0,
            filled: 0,
            drained: false,
            byte: portion.place.byte.unwrap_or(0),
            line: portion.place.line.or((portion.place.byte.unwrap_or(0) == 0).then_some(1)),
            skip_line: portion.skip_line,
            skip_counts: false,
            portion,
            report: ReadReport::default(),
            aside: Aside::default(),
            unsummed: 0,
            utf8_end: 0,
            utf8_seen: 0,
            detour: Detour::default(),
        })
    }

    /// Reads one more block behind the bytes not yet used, which move to the front.
    fn fill(&mut self) -> Result<()> {
        self.report.checksum = self.checksum();
        let rest = self.start..self.filled;
        self.filled = rest.len();
        self.buffer.copy_within(rest, 0);
        self.utf8_end = self.utf8_end.saturating_sub(self.start);
        self.utf8_seen -= self.start.min(self.utf8_seen);
        (self.start, self.unsummed) = (0, 0);
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let at_start = self.byte == 0 && self.filled == 0;
        loop {
            match self.input.bytes.read(&mut self.buffer[self.filled..]) {
                Ok(0) => self.drained = true,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(error)),
            }
            // A byte order mark can only be told from a record once three bytes are there.
            if !(at_start && self.filled < BYTE_ORDER_MARK.len() && !self.drained) {
                break;
            }
        }
        if at_start && self.buffer[..self.filled].starts_with(BYTE_ORDER_MARK) {
            self.advance(BYTE_ORDER_MARK.len());
            self.unsummed = self.start;
            // The record behind the mark belongs to whoever has the file's first byte.
            self.portion.end = self.portion.end.max(self.byte + 1);
        }
        Ok(())
    }

    /// The checksum of all records so far. Taken a block at a time: records may be short.
    fn checksum(&self) -> Checksum {
        self.report.checksum.then(Checksum::of(&self.buffer[self.unsummed..self.start]))
    }

    fn failed(&self, error: std::io::Error) -> Error {
        let place = self.place(self.filled - self.start);
        let file = place.file.clone().unwrap_or_default();
        let made = Error::io(&file, "read", error);
        let advice = "the data behind this byte cannot be read: bring the file again in full";
        if made.kind() == crate::error::ErrorKind::Corrupt { made.at(place).advice(advice) } else { made.at(place) }
    }

    /// The place of a byte counted from `buffer[start]`. The line is that of `buffer[start]`.
    fn place(&self, offset: usize) -> Place {
        Place {
            file: self.portion.place.file.clone(),
            line: self.line,
            byte: Some(self.byte + offset as u64),
            column: None,
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.start += bytes;
        self.byte += bytes as u64;
    }

    fn finish_record(&mut self, bytes: usize, lines: u64) {
        self.advance(bytes);
        self.line = self.line.map(|line| line + lines);
        self.report.bytes += bytes as u64;
    }

    /// Passes over the rest of a line. Gives whether its end was found or the input ended.
    fn pass_line(&mut self) {
        let waiting = &self.buffer[self.start..self.filled];
        let (passed, ended) = match memchr::memchr(b'\n', waiting) {
            Some(end) => (end + 1, true),
            None => (waiting.len(), false),
        };
        if self.skip_counts {
            self.finish_record(passed, u64::from(ended));
        } else {
            self.advance(passed);
            self.unsummed = self.start;
        }
        self.skip_line = !ended;
    }

    /// Handles a record that has no end, or none within the longest record allowed.
    #[cold]
    fn endless(&mut self, line: Option<(usize, bool)>) -> Result<()> {
        let (length, ended, reason) = match line {
            Some((length, ended)) => (length, ended, self.decoder.endless().to_owned()),
            None => (0, false, format!("the record is longer than {RECORD_BYTES_MAX} bytes")),
        };
        let kept = if line.is_some() { length } else { LONG_RECORD_KEPT_BYTES.min(self.filled - self.start) };
        self.bad(Fault::new(0, reason), kept)?;
        self.finish_record(length, u64::from(ended));
        if line.is_none() {
            self.skip_line = true;
            self.skip_counts = true;
        }
        Ok(())
    }

    /// Applies the policy to a record of this length that gave no row.
    #[cold]
    fn bad(&mut self, fault: Fault, length: usize) -> Result<()> {
        self.rows.abandon_row();
        if self.count(fault, length)? == BadRecordPolicy::Null {
            self.rows.push_null_row();
        }
        Ok(())
    }

    /// Counts a bad record of this length, and puts it aside if that is the policy.
    #[cold]
    fn count(&mut self, fault: Fault, length: usize) -> Result<BadRecordPolicy> {
        let policy = fault.policy.unwrap_or(self.portion.policy);
        let mut place = self.place(fault.byte);
        let before = &self.buffer[self.start..(self.start + fault.byte).min(self.filled)];
        let lines = memchr::memchr_iter(b'\n', before).count() as u64;
        place.line = place.line.map(|line| line + lines);
        place.column = fault.column;
        let record = BadRecord { place, reason: fault.reason };
        if policy == BadRecordPolicy::Quarantine {
            let bytes = without_line_end(&self.buffer[self.start..self.start + length]).to_vec();
            self.aside.push(SetAside { record: record.clone(), bytes })?;
        }
        self.report.bad_record(policy, record)?;
        Ok(policy)
    }

    /// Lets the decoder take records at once. Gives whether it took any.
    fn take_good(&mut self, batch_end: u64) -> bool {
        if self.utf8_end < self.start || self.utf8_seen < self.filled {
            let from = self.utf8_end.max(self.start);
            let new = std::str::from_utf8(&self.buffer[from..self.filled]);
            self.utf8_end = from + new.map_or_else(|error| error.valid_up_to(), str::len);
            self.utf8_seen = self.filled;
        }
        let bytes = &self.buffer[self.start..self.utf8_end];
        let limit = (self.portion.end - self.byte).min(batch_end.saturating_sub(self.report.bytes));
        let room = Room {
            rows: ROWS_PER_READ_MAX - self.rows.count,
            bytes: usize::try_from(limit).map_or(bytes.len(), |limit| limit.min(bytes.len())),
        };
        let taken = self.decoder.take_good(bytes, &room, &mut self.rows);
        self.finish_record(taken.bytes, taken.rows as u64);
        self.detour.tried(taken);
        taken.rows > 0
    }

    /// The next rows, of which the filter may keep none; nothing at the end.
    fn read_batch(&mut self) -> Result<Option<RecordBatch>> {
        let batch_end = self.report.bytes + BATCH_BYTES_MAX;
        // However many records are dropped, only the end of the input gives no batch.
        while self.rows.count < ROWS_PER_READ_MAX && (self.report.bytes < batch_end || self.rows.count == 0) {
            match self.step(batch_end)? {
                Step::Next => {}
                Step::Fill => self.fill()?,
                Step::End => break,
            }
        }
        if self.rows.count == 0 {
            return Ok(None);
        }
        self.rows.finish().map(Some)
    }

    /// Reads records, if they are here.
    fn step(&mut self, batch_end: u64) -> Result<Step> {
        if self.start == self.filled {
            return Ok(if self.drained { Step::End } else { Step::Fill });
        }
        if self.skip_line {
            self.pass_line();
            return Ok(Step::Next);
        }
        if self.byte >= self.portion.end {
            return Ok(Step::End);
        }
        if !self.detour.goes_on() && self.take_good(batch_end) {
            return Ok(Step::Next);
        }
        let waiting = &self.buffer[self.start..self.filled];
        let length = match extent(self.decoder.length(waiting, self.drained), waiting, self.drained) {
            Extent::Record(length) => length,
            Extent::More => return Ok(Step::Fill),
            Extent::Line { length, ended } => {
                self.endless(Some((length, ended)))?;
                return Ok(Step::Next);
            }
            Extent::TooLong => {
                self.endless(None)?;
                return Ok(Step::Next);
            }
        };
        let lines = self.decoder.lines();
        match self.decoder.decode(&waiting[..length], &mut self.rows) {
            Ok(Outcome::Row) => self.rows.count += 1,
            Ok(Outcome::Nothing) => {}
            Ok(Outcome::Mended(fault)) => {
                self.rows.count += 1;
                self.count(*fault, length)?;
            }
            Ok(Outcome::Bad(fault)) => self.bad(*fault, length)?,
            Err(error) => return Err(error.at(self.place(0))),
        }
        self.finish_record(length, lines);
        Ok(Step::Next)
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

enum Step {
    Next,
    Fill,
    End,
}

impl<D: RecordDecoder> BatchReader for RecordReader<D> {
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some(batch) = self.read_batch()? else { return Ok(None) };
            if batch.num_rows() > 0 {
                self.report.rows += batch.num_rows() as u64;
                return Ok(Some(batch));
            }
        }
    }

    fn report(&self) -> ReadReport {
        let (checksum, repeated) = (self.checksum(), self.decoder.repeated());
        let mut report = ReadReport { checksum, repeated, pruned: self.rows.pruned, ..self.report.clone() };
        if let Some(name) = self.decoder.new_column() {
            report.notice(new_column(name));
        }
        if let Some(compressed) = &self.input.compressed {
            report.bytes = compressed.load(std::sync::atomic::Ordering::Relaxed);
        }
        report
    }

    fn take_aside(&mut self) -> Vec<SetAside> {
        self.aside.take()
    }

    fn ended_at(&self) -> Option<u64> {
        Some(self.byte)
    }
}

/// A text of the data as shown in errors: quoted, and cut to a length that fits a line.
pub(super) fn shown(text: &[u8]) -> String {
    const CHARS_MAX: usize = 60;
    // A character has at most four bytes: more need not be decoded.
    let head = String::from_utf8_lossy(&text[..text.len().min(4 * CHARS_MAX + 4)]);
    let cut: String = head.chars().take(CHARS_MAX).collect();
    let dots =
        if cut.len() < text.len() && cut.len() < head.len() || text.len() > 4 * CHARS_MAX + 4 { "…" } else { "" };
    format!("\"{}{dots}\"", cut.escape_debug())
}
