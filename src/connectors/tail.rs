//! One growing file, as `tail -F` follows it.
//!
//! Complete lines are read as they are written. A file that does not exist yet is waited for. When another file takes
//! its name (rotation), the old one is read to its end first, and left once the new one has content: a writer that
//! reopens its log late loses nothing. When the file becomes shorter (truncation), reading begins anew at its start.
//!
//! What no follower can see is lost here, too: lines that were truncated away before they were looked at, a file cut
//! and refilled beyond the old place between two looks, and of several rotations while the query was down all but the
//! last file and the one that was being read.
//!
//! One record a line: a record with line ends inside (quoted CSV) may be cut.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::columnar::SchemaRef;
use crate::connectors::chain::identity;
use crate::connectors::{Available, Backlog, OffsetRange, ReadLimits, Replay, Source};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::{BatchReader, LineFormat};
use crate::limits::PARTITION_BYTES_MIN;

/// Bytes looked at in one go when searching for a line end.
const BLOCK_BYTES: u64 = 64 << 10;

/// Follows a growing file of lines.
#[derive(Debug)]
pub struct TailSource {
    path: PathBuf,
    format: Arc<dyn LineFormat>,
    split_bytes: u64,
    current: Option<Followed>,
    /// Ranges that are not committed, with the files they lie in, which may have lost their names.
    planned: VecDeque<(TailRange, Arc<File>)>,
}

/// Lines of the file with this identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct TailRange {
    identity: u64,
    start: u64,
    end: u64,
}

/// The file that is being followed.
#[derive(Debug)]
struct Followed {
    file: Arc<File>,
    identity: u64,
    /// Where the next range begins.
    next: u64,
    /// There is no line end between `next` and here.
    searched: u64,
}

impl Followed {
    fn at(file: Arc<File>, identity: u64, next: u64) -> Self {
        Self { file, identity, next, searched: next }
    }

    /// The end of the complete lines that lie within the limit, or of the first line if it is longer.
    fn lines_end(&mut self, length: u64, bytes_max: u64) -> io::Result<Option<u64>> {
        let bound = length.min(self.next.saturating_add(bytes_max));
        let from = self.searched.max(self.next);
        let mut end = last_line_end(&self.file, from, bound)?;
        if end.is_none() {
            end = first_line_end(&self.file, bound.max(from), length)?;
        }
        if end.is_none() {
            self.searched = length;
        }
        Ok(end)
    }

    fn take(&mut self, end: u64) -> TailRange {
        let range = TailRange { identity: self.identity, start: self.next, end };
        (self.next, self.searched) = (end, end);
        range
    }
}

impl TailSource {
    /// Follows the file at `path`, from its start.
    pub fn new(path: impl Into<PathBuf>, format: Arc<dyn LineFormat>) -> Self {
        Self { path: path.into(), format, split_bytes: PARTITION_BYTES_MIN, current: None, planned: VecDeque::new() }
    }

    /// The bytes that a partition should hold at least. Default: 1 MiB.
    #[must_use]
    pub fn split_bytes(mut self, split_bytes: u64) -> Self {
        self.split_bytes = split_bytes.max(1);
        self
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::io(&self.path, "follow a file", error)
    }

    /// The file that now stands under the name; `None` if there is none.
    fn open_named(&self) -> Result<Option<(File, u64)>> {
        match File::open(&self.path) {
            Ok(file) => {
                let metadata = file.metadata().map_err(|error| self.failed(error))?;
                if !metadata.is_file() {
                    let message = "only a file can be followed, and this is none";
                    return Err(Error::new(ErrorKind::Connector, message).at(Place::file(&self.path)));
                }
                Ok(Some((file, identity(&metadata))))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The next lines of the file that is followed; `None` if it has no more for now.
    fn next_of_current(&mut self, bytes_max: u64) -> Result<Option<TailRange>> {
        let path = &self.path;
        let failed = |error| Error::io(path, "follow a file", error);
        let Some(current) = &mut self.current else { return Ok(None) };
        let length = current.file.metadata().map_err(failed)?.len();
        if length < current.next {
            *current = Followed::at(Arc::clone(&current.file), current.identity, 0);
        }
        Ok(current.lines_end(length, bytes_max).map_err(failed)?.map(|end| current.take(end)))
    }

    /// Goes over to the file that took the name; gives what the old one ends with, if that is not a complete line.
    /// The flag says whether there is a new file to look at.
    fn follow_rotation(&mut self) -> Result<(bool, Option<TailRange>)> {
        let Some((file, new)) = self.open_named()? else { return Ok((false, None)) };
        let length = file.metadata().map_err(|error| self.failed(error))?.len();
        if let Some(current) = &mut self.current {
            if current.identity == new || length == 0 {
                return Ok((false, None));
            }
            let path = &self.path;
            let end = current.file.metadata().map_err(|error| Error::io(path, "follow a file", error))?.len();
            if end > current.next {
                return Ok((true, Some(current.take(end))));
            }
        }
        self.current = Some(Followed::at(Arc::new(file), new, 0));
        Ok((true, None))
    }

    /// The file that a range lies in, wherever it stands now.
    fn file_of(&self, wanted: u64) -> Result<Option<Arc<File>>> {
        let planned = self.planned.iter().find(|(range, _)| range.identity == wanted).map(|(_, file)| file);
        let current = self.current.as_ref().filter(|current| current.identity == wanted).map(|current| &current.file);
        if let Some(file) = current.or(planned) {
            return Ok(Some(Arc::clone(file)));
        }
        if let Some((file, _)) = self.open_named()?.filter(|(_, found)| *found == wanted) {
            return Ok(Some(Arc::new(file)));
        }
        // Rotation gives the file another name, usually in the same directory.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let Ok(entries) = std::fs::read_dir(folder) else { return Ok(None) };
        for entry in entries.flatten() {
            let is_wanted = entry.metadata().is_ok_and(|metadata| metadata.is_file() && identity(&metadata) == wanted);
            if is_wanted {
                let file = File::open(entry.path()).map_err(|error| Error::io(entry.path(), "follow a file", error))?;
                return Ok(Some(Arc::new(file)));
            }
        }
        Ok(None)
    }
}

impl Source for TailSource {
    fn schema(&self) -> SchemaRef {
        self.format.schema()
    }

    fn replay(&self) -> Replay {
        Replay::Always
    }

    fn may_quarantine(&self) -> bool {
        self.format.may_quarantine()
    }

    fn next_range(&mut self, limits: &ReadLimits) -> Result<Available> {
        let bytes_max = limits.bytes_max.unwrap_or(u64::MAX);
        loop {
            let mut range = self.next_of_current(bytes_max)?;
            let mut goes_on = false;
            if range.is_none() {
                (goes_on, range) = self.follow_rotation()?;
            }
            if let Some((range, current)) = range.zip(self.current.as_ref()) {
                self.planned.push_back((range, Arc::clone(&current.file)));
                return Ok(Available::Range(OffsetRange::write(&range)?));
            }
            if !goes_on {
                return Ok(Available::Nothing);
            }
        }
    }

    fn read(&mut self, range: &OffsetRange, partitions: usize) -> Result<Vec<Box<dyn BatchReader>>> {
        let range: TailRange = range.parse()?;
        let Some(file) = self.file_of(range.identity)? else {
            let message = "the file that held these lines is gone: it was rotated away and removed, or compressed";
            return Err(Error::new(ErrorKind::NotFound, message)
                .at(Place::file(&self.path).byte(range.start))
                .advice("keep rotated files until the query has read them (logrotate: delaycompress)"));
        };
        let length = file.metadata().map_err(|error| self.failed(error))?.len();
        if length < range.end || range.start > range.end {
            return Err(Error::new(ErrorKind::Corrupt, "the file became shorter before its lines were read")
                .at(Place::file(&self.path).byte(range.start))
                .advice("rotate by renaming instead of truncating (logrotate: no copytruncate)"));
        }
        let borders = cut(&file, range, partitions, self.split_bytes).map_err(|error| self.failed(error))?;
        Ok(borders
            .windows(2)
            .map(|pair| {
                let lines = FileRange { file: Arc::clone(&file), at: pair[0], end: pair[1] };
                self.format.reader_of(Box::new(lines), Place::file(&self.path).byte(pair[0]))
            })
            .collect())
    }

    fn commit(&mut self, range: &OffsetRange) -> Result<()> {
        let range: TailRange = range.parse()?;
        if let Some(index) = self.planned.iter().position(|(planned, _)| *planned == range) {
            self.planned.drain(..=index);
        }
        Ok(())
    }

    fn resume(&mut self, committed: &[OffsetRange]) -> Result<()> {
        let Some(last) = committed.last() else { return Ok(()) };
        let last: TailRange = last.parse()?;
        if let Some(file) = self.file_of(last.identity)? {
            // If it is shorter now, the next look finds that out.
            self.current = Some(Followed::at(file, last.identity, last.end));
        }
        Ok(())
    }

    fn compact(&self, mut committed: Vec<OffsetRange>) -> Result<Vec<OffsetRange>> {
        Ok(committed.pop().into_iter().collect())
    }

    fn backlog(&self) -> Backlog {
        let bytes = self.current.as_ref().and_then(|current| {
            let length = current.file.metadata().ok()?.len();
            Some(length.saturating_sub(current.next))
        });
        Backlog { files: None, bytes, rows: None }
    }
}

/// Where to cut a range into at most `parts` parts of at least `bytes_min`: at line borders.
fn cut(file: &File, range: TailRange, parts: usize, bytes_min: u64) -> io::Result<Vec<u64>> {
    let bytes = range.end - range.start;
    let parts = (bytes / bytes_min).clamp(1, parts.max(1) as u64);
    let mut borders = vec![range.start];
    for part in 1..parts {
        let target = range.start + bytes / parts * part;
        let from = target.max(borders[borders.len() - 1]);
        match first_line_end(file, from, range.end)? {
            Some(end) if end < range.end => borders.push(end),
            _ => break,
        }
    }
    borders.push(range.end);
    Ok(borders)
}

/// The byte behind the first line end in `from..to`.
fn first_line_end(file: &File, from: u64, to: u64) -> io::Result<Option<u64>> {
    let mut at = from;
    while at < to {
        let block = read_block(file, at, to.min(at + BLOCK_BYTES))?;
        if let Some(found) = memchr::memchr(b'\n', &block) {
            return Ok(Some(at + found as u64 + 1));
        }
        if block.is_empty() {
            break;
        }
        at += block.len() as u64;
    }
    Ok(None)
}

/// The byte behind the last line end in `from..to`.
fn last_line_end(file: &File, from: u64, to: u64) -> io::Result<Option<u64>> {
    let mut end = to;
    while end > from {
        let start = end.saturating_sub(BLOCK_BYTES).max(from);
        let block = read_block(file, start, end)?;
        if let Some(found) = memchr::memrchr(b'\n', &block) {
            return Ok(Some(start + found as u64 + 1));
        }
        end = start;
    }
    Ok(None)
}

/// The bytes `from..to`, or as many of them as there are.
fn read_block(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut block = Vec::with_capacity(usize::try_from(to - from).unwrap_or(0));
    FileRange { file, at: from, end: to }.read_to_end(&mut block)?;
    Ok(block)
}

/// Reads a part of a file without moving the place at which others read it.
struct FileRange<F> {
    file: F,
    at: u64,
    end: u64,
}

impl<F: Borrow<File>> Read for FileRange<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = read_at(self.file.borrow(), &mut buffer[..left], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, at)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, at)
}
