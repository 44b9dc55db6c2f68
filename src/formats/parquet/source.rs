//! The bytes of one column chunk, read ahead.
//!
//! Memory that was read into is used again, by whoever reads next: pages have a megabyte, and memory that is new for each of them is
//! filled with zeros by the system first, which takes as long as the copy.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::parquet::errors::{ParquetError, Result};
use ::parquet::file::reader::{ChunkReader, Length};
use bytes::Bytes;

/// Bytes that are read at once: a few pages, which stay in the cache until they are looked at.
const AHEAD_BYTES: u64 = 128 << 10;

/// Blocks of memory that wait to be read into, at most, and bytes that one of them has at most.
const SPARE_MAX: usize = 32;
const SPARE_BYTES_MAX: usize = 4 << 20;

/// Memory that nobody reads any more, for all readers of a format.
#[derive(Debug, Clone, Default)]
pub(super) struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

/// Bytes whose memory goes back when the last one lets go of them.
struct Lent {
    bytes: Vec<u8>,
    spare: Spare,
}

impl Spare {
    fn blocks(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for so many bytes.
    fn take(&self, bytes: usize) -> Vec<u8> {
        let mut blocks = self.blocks();
        let fitting = blocks.iter().rposition(|block| block.capacity() >= bytes);
        fitting.map_or_else(|| Vec::with_capacity(bytes), |place| blocks.swap_remove(place))
    }

    fn lend(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { bytes, spare: self.clone() })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut blocks = self.spare.blocks();
        if blocks.len() < SPARE_MAX && self.bytes.capacity() <= SPARE_BYTES_MAX {
            self.bytes.clear();
            blocks.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// A part of a file, for one reader.
pub(super) struct Source(Arc<Mutex<Window>>);

struct Window {
    file: File,
    spare: Spare,
    /// Where the part ends.
    end: u64,
    /// What was read last, and where it begins.
    start: u64,
    bytes: Bytes,
}

impl Window {
    /// The bytes from `start` on, at least so many if the part is as long.
    fn at(&mut self, start: u64, length: u64) -> Result<Bytes> {
        let within = start.checked_sub(self.start).and_then(|skipped| usize::try_from(skipped).ok());
        if let Some(skipped) = within
            && skipped < self.bytes.len()
            && (self.bytes.len() - skipped) as u64 >= length
        {
            return Ok(self.bytes.slice(skipped..));
        }
        let there = self.end.saturating_sub(start);
        let wanted = there.min(length.max(AHEAD_BYTES));
        // What was read before makes room first.
        self.bytes = Bytes::new();
        // In steps, so that the pages of a column fit into each other's memory.
        let mut bytes = self.spare.take(usize::try_from(wanted.next_multiple_of(AHEAD_BYTES))?);
        self.file.seek(SeekFrom::Start(start))?;
        Read::by_ref(&mut self.file).take(wanted).read_to_end(&mut bytes)?;
        (self.start, self.bytes) = (start, self.spare.lend(bytes));
        Ok(self.bytes.clone())
    }
}

impl Source {
    /// The bytes of an open file up to `end`, which lies in it.
    pub(super) fn new(file: File, end: u64, spare: &Spare) -> Self {
        Self(Arc::new(Mutex::new(Window { file, spare: spare.clone(), end, start: 0, bytes: Bytes::new() })))
    }
}

fn at(window: &Mutex<Window>, start: u64, length: u64) -> Result<Bytes> {
    window.lock().unwrap_or_else(PoisonError::into_inner).at(start, length)
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).end
    }
}

impl ChunkReader for Source {
    type T = Ahead;

    fn get_read(&self, start: u64) -> Result<Ahead> {
        Ok(Ahead { window: Arc::clone(&self.0), next: start, bytes: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = at(&self.0, start, length as u64)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("the file ends {} bytes too early", length - bytes.len())));
        }
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// The bytes of a source from some place on.
pub(super) struct Ahead {
    window: Arc<Mutex<Window>>,
    next: u64,
    bytes: Bytes,
}

impl Read for Ahead {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        if self.bytes.is_empty() {
            self.bytes = at(&self.window, self.next, 1).map_err(std::io::Error::other)?;
        }
        let some = self.bytes.split_to(to.len().min(self.bytes.len()));
        to[..some.len()].copy_from_slice(&some);
        self.next += some.len() as u64;
        Ok(some.len())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn any_part_is_read_in_any_order() {
        let all: Vec<u8> = (0..=250).cycle().take(700_000).collect();
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&all).expect("room");
        let source = Source::new(file, 650_000, &Spare::default());
        for (start, length) in [(0, 10), (5, 300_000), (100, 0), (649_999, 1), (300_000, 300_000), (0, 650_000)] {
            assert_eq!(source.get_bytes(start as u64, length).expect("bytes"), all[start..start + length]);
            let mut some = vec![0; length.min(600_000)];
            source.get_read(start as u64).expect("a reader").read_exact(&mut some).expect("bytes");
            assert_eq!(some, all[start..start + some.len()]);
        }
        for (start, length) in [(650_000, 1), (649_999, 2), (u64::MAX, 1), (0, 650_001)] {
            assert!(source.get_bytes(start, length).is_err(), "{start} {length}");
        }
        let mut rest = Vec::new();
        source.get_read(650_000).expect("a reader").read_to_end(&mut rest).expect("nothing");
        assert!(rest.is_empty());
    }

    #[test]
    fn memory_is_read_into_again_once_nobody_looks_at_it() {
        let all: Vec<u8> = (0..=250).cycle().take(700_000).collect();
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&all).expect("room");
        let spare = Spare::default();
        let source = Source::new(file, 700_000, &spare);
        let first = source.get_bytes(0, 200_000).expect("bytes");
        let second = source.get_bytes(200_000, 200_000).expect("bytes");
        assert_ne!(first.as_ptr(), second.as_ptr(), "the first one is still looked at");
        let memory = first.as_ptr();
        drop(first);
        let third = source.get_bytes(400_000, 150_000).expect("bytes");
        assert_eq!((third.as_ptr(), &third[..]), (memory, &all[400_000..550_000]));
        assert_eq!(second, all[200_000..400_000]);
        drop((second, third, source));
        assert_eq!(spare.blocks().len(), 2);
        drop(spare.lend(Vec::with_capacity(SPARE_BYTES_MAX + 1)));
        (0..2 * SPARE_MAX).map(|_| spare.lend(Vec::with_capacity(1))).for_each(drop);
        assert_eq!(spare.blocks().len(), SPARE_MAX, "and none that is too large");
    }
}
