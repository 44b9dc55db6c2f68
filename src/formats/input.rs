//! Files as streams of bytes: opened at a byte, or decompressed as a whole.
//!
//! Whether a file is compressed is told by the end of its name or by its first bytes. A compressed file can only be
//! read from its start, so it is always one split.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::Split;
use crate::formats::compression;
use crate::formats::compression::{Compression, Counting};

/// As many bytes as tell how a file is compressed.
const HEAD_BYTES: usize = 10;

/// A stream of bytes that knows how many bytes it took from below, where these differ.
pub(super) struct Input {
    pub(super) bytes: Box<dyn Read + Send>,
    /// For compressed input: the number of compressed bytes taken so far.
    pub(super) compressed: Option<Arc<AtomicU64>>,
}

impl Input {
    pub(super) fn plain(bytes: Box<dyn Read + Send>) -> Self {
        Self { bytes, compressed: None }
    }
}

/// Opens a file, and refuses directories: these can be opened, but not read.
pub(super) fn open_file(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|error| Error::io(path, "open the file", error))?;
    let about = file.metadata().map_err(|error| Error::io(path, "look at the file", error))?;
    if about.is_dir() {
        let error = Error::new(ErrorKind::Connector, "cannot read a directory as a file").at(Place::file(path));
        return Err(error.advice("name a file in it, or use a directory source"));
    }
    Ok(file)
}

/// How the file is compressed, if it is.
pub(super) fn compression_of(path: &Path) -> Result<Option<Compression>> {
    if let Some(compression) = Compression::of_name(path) {
        return Ok(Some(compression));
    }
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let read = open_file(path)?.take(HEAD_BYTES as u64).read_to_end(&mut head);
    read.map_err(|error| Error::io(path, "read", error))?;
    Ok(Compression::of_first_bytes(&head))
}

/// Opens the whole file, decompressed if need be.
pub(super) fn open_whole(path: &Path) -> Result<Input> {
    match compression_of(path)? {
        None => Ok(Input::plain(Box::new(open_file(path)?))),
        Some(compression) => {
            let taken = Arc::new(AtomicU64::new(0));
            let counting = Counting::new(open_file(path)?, Arc::clone(&taken));
            let bytes = compression::decoder(compression, counting).map_err(|error| error.at(Place::file(path)))?;
            Ok(Input { bytes, compressed: Some(taken) })
        }
    }
}

/// Opens a file that is not compressed, at this byte.
pub(super) fn open_at(path: &Path, byte: u64) -> Result<Input> {
    let mut file = open_file(path)?;
    file.seek(SeekFrom::Start(byte)).map_err(|error| Error::io(path, "seek", error))?;
    Ok(Input::plain(Box::new(file)))
}

/// A file as one split.
pub(super) fn whole_split(path: &Path, file_bytes: u64) -> Split {
    Split { path: path.to_owned(), range: 0..file_bytes, bytes: file_bytes }
}
