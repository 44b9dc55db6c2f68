//! Compressed files: gzip (of one or several members), zstd and lz4 (of one or several frames) and snappy (framed). Feature
//! `compression`.
//!
//! A stream that ends early or contradicts itself is an error of kind `UnexpectedEof` or `InvalidData`, which readers
//! turn into [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) with the file and the decompressed byte. An empty
//! file is an empty stream. Snappy alone does not say where it ends: one that is cut off between two of its chunks cannot
//! be told from a shorter one.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "compression")]
use lz4_flex::frame::FrameDecoder;

use crate::error::Result;
#[cfg(feature = "compression")]
use crate::formats::untrusted;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
    Lz4,
    Snappy,
}

impl Compression {
    pub(super) fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "gz" | "gzip" => Some(Self::Gzip),
            "zst" | "zstd" => Some(Self::Zstd),
            "lz4" => Some(Self::Lz4),
            "sz" | "snappy" => Some(Self::Snappy),
            _ => None,
        }
    }

    pub(super) fn of_first_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0x04, 0x22, 0x4d, 0x18, ..] => Some(Self::Lz4),
            [0xff, 0x06, 0x00, 0x00, b's', b'N', b'a', b'P', b'p', b'Y', ..] => Some(Self::Snappy),
            _ => None,
        }
    }
}

/// Counts the bytes that a decompressor takes.
pub(super) struct Counting {
    file: File,
    taken: Arc<AtomicU64>,
    is_empty: bool,
}

impl Counting {
    pub(super) fn new(file: File, taken: Arc<AtomicU64>) -> Self {
        Self { file, taken, is_empty: true }
    }
}

impl Read for Counting {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(to)?;
        self.is_empty &= read == 0;
        self.taken.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(not(feature = "compression"))]
pub(super) fn decoder(compression: Compression, input: Counting) -> Result<Box<dyn Read + Send>> {
    let _ = input;
    let message = format!("the file is compressed ({compression:?}), which this program was built without");
    Err(crate::error::Error::new(crate::error::ErrorKind::Unsupported, message)
        .advice("build it with the feature `compression`"))
}

/// The decompressed bytes of `input`.
#[cfg(feature = "compression")]
pub(super) fn decoder(compression: Compression, input: Counting) -> Result<Box<dyn Read + Send>> {
    use std::io::BufReader;

    const BLOCK_BYTES: usize = 128 << 10;
    let input = BufReader::with_capacity(BLOCK_BYTES, input);
    Ok(match compression {
        Compression::Gzip => Box::new(Checked {
            decoder: flate2::bufread::MultiGzDecoder::new(input),
            is_empty: |decoder| decoder.get_ref().get_ref().is_empty,
        }),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(input)
                .map_err(|error| crate::error::Error::io("", "start zstd", error))?;
            Box::new(Checked { decoder, is_empty: |decoder| decoder.get_ref().get_ref().is_empty })
        }
        Compression::Lz4 => Box::new(Checked {
            decoder: Lz4Frames(Some(FrameDecoder::new(input))),
            is_empty: |decoder| decoder.0.as_ref().is_some_and(|frame| frame.get_ref().get_ref().is_empty),
        }),
        Compression::Snappy => {
            let decoder = snap::read::FrameDecoder::new(input);
            Box::new(Checked { decoder, is_empty: |decoder| decoder.get_ref().get_ref().is_empty })
        }
    })
}

/// One frame after another, each by a decoder of its own: they may differ in the size of their blocks.
#[cfg(feature = "compression")]
struct Lz4Frames(Option<FrameDecoder<std::io::BufReader<Counting>>>);

#[cfg(feature = "compression")]
impl Read for Lz4Frames {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        use std::io::BufRead;
        while let Some(frame) = &mut self.0 {
            let read = frame.read(to)?;
            if read > 0 || to.is_empty() || frame.get_mut().fill_buf()?.is_empty() {
                return Ok(read);
            }
            self.0 = self.0.take().map(|frame| FrameDecoder::new(frame.into_inner()));
        }
        Ok(0)
    }
}

/// Gives the errors of decompressors one meaning, and empty files theirs.
#[cfg(feature = "compression")]
struct Checked<D> {
    decoder: D,
    /// Whether there was nothing below.
    is_empty: fn(&D) -> bool,
}

#[cfg(feature = "compression")]
impl<D: Read> Read for Checked<D> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        use std::io::{Error, ErrorKind};
        let read = untrusted::call(|| self.decoder.read(to)).unwrap_or_else(|| Err(ErrorKind::InvalidData.into()));
        read.or_else(|error| {
            let from_the_system = error.raw_os_error().is_some() || error.kind() == ErrorKind::Interrupted;
            match error.kind() {
                _ if from_the_system => Err(error),
                ErrorKind::UnexpectedEof if (self.is_empty)(&self.decoder) => Ok(0),
                ErrorKind::UnexpectedEof => {
                    Err(Error::new(ErrorKind::UnexpectedEof, format!("the compressed data ends early: {error}")))
                }
                _ => Err(Error::new(ErrorKind::InvalidData, format!("the compressed data is damaged: {error}"))),
            }
        })
    }
}
