//! Cutting a CSV file between records.
//!
//! A line end inside quotes is not a border, and whether one is inside quotes is known only from the start of the file.
//! So the file is read once, at the speed of a search for quotes: on all cores until one is found, and if there is none,
//! every line end is a border. Else from the start again, where only the records around quotes are taken apart.
//!
//! That costs as much as a fifth of all the work of a query that does little with each line. Where readers of a whole file
//! can check each other, a line end is believed to be a border, unless the first split shows one in quotes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::formats::Split;
use crate::formats::csv::scan::{Marks, Scanner};
use crate::formats::input;
use crate::formats::lines::{Extent, extent};

const BLOCK_BYTES: usize = 1 << 20;

/// Bytes looked at for the end of one line: most are shorter.
const LINE_BYTES: usize = 4 << 10;

/// Bytes of a file for which another thread is worth starting.
const BYTES_PER_THREAD_MIN: u64 = 16 << 20;

/// The cuts of the latest files: a file is cut when a batch is planned, and again when it is read.
#[derive(Debug, Default)]
pub(super) struct Cuts(Mutex<VecDeque<(Cut, Vec<Split>)>>);

/// A file as it was when it was cut, and how it was cut.
#[derive(Debug, PartialEq)]
struct Cut {
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
    target: u64,
}

impl Cuts {
    /// Files that are remembered at most.
    const FILES_MAX: usize = 64;

    /// The splits of a file, found by `make` unless they are known.
    pub(super) fn of(
        &self,
        path: &Path,
        bytes: u64,
        target: u64,
        make: impl FnOnce() -> Result<Vec<Split>>,
    ) -> Result<Vec<Split>> {
        let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
        let Ok(modified) = modified else { return make() };
        let cut = Cut { path: path.to_owned(), bytes, modified, target };
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, splits)) = lock().iter().find(|(known, _)| *known == cut) {
            return Ok(splits.clone());
        }
        let splits = make()?;
        let mut known = lock();
        known.truncate(Self::FILES_MAX - 1);
        known.push_front((cut, splits.clone()));
        Ok(splits)
    }
}

/// Cuts a file that is not compressed into splits of about `target` bytes, the first cut not before `first_cut`.
pub(super) fn split_between_records(
    path: &Path,
    file_bytes: u64,
    target: u64,
    first_cut: u64,
    marks: Marks,
) -> Result<Vec<Split>> {
    if marks.quote.map_or(Ok(false), |quote| holds(path, file_bytes, quote))? {
        return cut_smaller(&input::whole_split(path, file_bytes), target, first_cut, marks);
    }
    split_at_line_ends(path, file_bytes, target, first_cut)
}

/// The same at line ends, whether they are in quotes or not.
pub(super) fn split_at_line_ends(path: &Path, file_bytes: u64, target: u64, first_cut: u64) -> Result<Vec<Split>> {
    let mut lines = input::open_file(path)?;
    cut(&input::whole_split(path, file_bytes), target, first_cut, |wanted| {
        line_border(&mut lines, wanted, file_bytes).map_err(|error| Error::io(path, "read", error))
    })
}

/// Cuts a split, which begins with a record, into smaller ones of about `target` bytes, the first cut not before `first_cut`.
pub(super) fn cut_smaller(split: &Split, target: u64, first_cut: u64, marks: Marks) -> Result<Vec<Split>> {
    let mut borders = Borders::from(&split.path, marks, split.range.start)?;
    cut(split, target, first_cut, |wanted| borders.first_from(wanted, split.range.end))
}

/// Cuts at the first border from each wanted byte on.
fn cut(
    Split { path, range, .. }: &Split,
    target: u64,
    first_cut: u64,
    mut border_from: impl FnMut(u64) -> Result<u64>,
) -> Result<Vec<Split>> {
    let mut cuts = vec![range.start];
    let mut wanted = range.start.saturating_add(target.max(1)).max(first_cut);
    while wanted < range.end {
        let border = border_from(wanted)?;
        if border >= range.end {
            break;
        }
        cuts.push(border);
        wanted = border.saturating_add(target.max(1));
    }
    cuts.push(range.end);
    let split = |pair: &[u64]| Split { path: path.clone(), range: pair[0]..pair[1], bytes: pair[1] - pair[0] };
    Ok(cuts.windows(2).map(split).collect())
}

/// Whether a line end is inside quotes in the first `bytes` of a file, of which only so many are looked at as are soon read.
pub(super) fn begins_with_inner_lines(path: &Path, bytes: u64, marks: Marks) -> Result<bool> {
    let mut first = Vec::new();
    let read = input::open_file(path)?.take(bytes.min(BLOCK_BYTES as u64)).read_to_end(&mut first);
    read.map_err(|error| Error::io(path, "read", error))?;
    let mut rest = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&first);
    let mut scanner = Scanner::new(marks);
    while let Some(at) = marks.quote.and_then(|quote| memchr::memchr(quote, rest)) {
        // Before the first quote every line end is a border.
        rest = &rest[memchr::memrchr(b'\n', &rest[..at]).map_or(0, |end| end + 1)..];
        match scanner.length(rest, false) {
            Some(length) if scanner.inner_lines == 0 => rest = &rest[length..],
            Some(_) => return Ok(true),
            // What is not ended there may be in quotes, and then so are the line ends behind them.
            None => return Ok(memchr::memchr(b'\n', rest).is_some()),
        }
    }
    Ok(false)
}

/// The first end of a line at or after `wanted`, which is not 0; the end of the file if there is none.
fn line_border(file: &mut File, wanted: u64, file_bytes: u64) -> std::io::Result<u64> {
    let mut at = wanted - 1;
    file.seek(SeekFrom::Start(at))?;
    let mut buffer = [0; LINE_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if let Some(end) = memchr::memchr(b'\n', &buffer[..read]) {
            return Ok(at + end as u64 + 1);
        }
        at += read as u64;
        if read == 0 {
            return Ok(file_bytes);
        }
    }
}

/// Whether the byte occurs in the file. Looked for by as many threads as there are cores, if the file is large.
fn holds(path: &Path, file_bytes: u64, wanted: u8) -> Result<bool> {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let threads = (file_bytes / BYTES_PER_THREAD_MIN).clamp(1, threads);
    let found = AtomicBool::new(false);
    let search = |thread: u64| -> Result<()> {
        let failed = |error| Error::io(path, "read", error);
        let end = file_bytes * (thread + 1) / threads;
        let mut at = file_bytes * thread / threads;
        let mut file = input::open_file(path)?;
        file.seek(SeekFrom::Start(at)).map_err(failed)?;
        let mut buffer = vec![0; BLOCK_BYTES];
        while at < end && !found.load(Ordering::Relaxed) {
            let read = file.read(&mut buffer).map_err(failed)?;
            if memchr::memchr(wanted, &buffer[..read]).is_some() {
                found.store(true, Ordering::Relaxed);
            }
            if read == 0 {
                break;
            }
            at += read as u64;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || search(thread))).collect();
        let own = search(0);
        let others = others.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => Err(Error::internal("a thread that looked for quotes did not come back")),
        });
        others.fold(own, Result::and)
    })?;
    Ok(found.load(Ordering::Relaxed))
}

/// Walks over the borders of records.
struct Borders<'a> {
    path: &'a Path,
    file: File,
    scanner: Scanner,
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
    drained: bool,
    /// The place of `buffer[start]`, always a border (or inside a record too long to be one).
    byte: u64,
    in_long_line: bool,
    /// No border is before this: the record behind a byte order mark belongs to whoever has the mark.
    first: u64,
}

impl<'a> Borders<'a> {
    /// From this border on.
    fn from(path: &'a Path, marks: Marks, byte: u64) -> Result<Self> {
        let mut file = input::open_file(path)?;
        file.seek(SeekFrom::Start(byte)).map_err(|error| Error::io(path, "read", error))?;
        Ok(Self {
            path,
            file,
            scanner: Scanner::new(marks),
            buffer: vec![0; BLOCK_BYTES],
            start: 0,
            filled: 0,
            drained: false,
            byte,
            in_long_line: false,
            first: 0,
        })
    }

    /// The first border at or after `wanted`, which does not fall from call to call.
    fn first_from(&mut self, wanted: u64, file_bytes: u64) -> Result<u64> {
        while self.byte < wanted.max(self.first) || self.in_long_line {
            if self.start == self.filled {
                if self.drained {
                    return Ok(file_bytes);
                }
                self.fill()?;
            } else if !self.step(wanted.max(self.first)) {
                self.fill()?;
            }
        }
        Ok(self.byte)
    }

    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.start = 0;
        if self.filled == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = self.file.read(&mut self.buffer[self.filled..]);
        let read = read.map_err(|error| Error::io(self.path, "read", error))?;
        self.drained = read == 0;
        self.filled += read;
        if self.byte == 0 && self.buffer[..self.filled].starts_with(b"\xef\xbb\xbf") {
            self.advance(3);
            self.first = self.byte + 1;
        }
        Ok(())
    }

    fn advance(&mut self, bytes: usize) {
        self.start += bytes;
        self.byte += bytes as u64;
    }

    /// Goes on to a later border in the buffer. Gives whether there was one.
    fn step(&mut self, wanted: u64) -> bool {
        let waiting = &self.buffer[self.start..self.filled];
        if self.in_long_line {
            let end = memchr::memchr(b'\n', waiting);
            self.in_long_line = end.is_none();
            self.advance(end.map_or(waiting.len(), |end| end + 1));
            return true;
        }
        let quote = self.scanner.marks.quote.and_then(|quote| memchr::memchr(quote, waiting));
        let plain = &waiting[..quote.unwrap_or(waiting.len())];
        let short = usize::try_from(wanted - self.byte).unwrap_or(usize::MAX);
        // Without quotes every line end is a border: the one that ends at the wanted byte or after it, else the last.
        let end = plain
            .get(short - 1..)
            .and_then(|late| memchr::memchr(b'\n', late).map(|end| end + short - 1))
            .or_else(|| memchr::memrchr(b'\n', plain));
        let length = match end {
            Some(end) => end + 1,
            None => match extent(self.scanner.length(waiting, self.drained), waiting, self.drained) {
                Extent::Record(length) | Extent::Line { length, .. } => length,
                Extent::More => return false,
                Extent::TooLong => {
                    self.in_long_line = true;
                    0
                }
            },
        };
        self.advance(length);
        true
    }
}
