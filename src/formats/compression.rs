//! Compressed files: gzip (of one or several members) and zstd (of one or several frames). Feature `compression`.
//!
//! A stream that ends early or contradicts itself is an error of kind `UnexpectedEof` or `InvalidData`, which readers
//! turn into [`ErrorKind::Corrupt`](crate::error::ErrorKind::Corrupt) with the file and the decompressed byte. An empty
//! file is an empty stream.

use std::io::Read;
use std::path::Path;

use crate::error::Result;
use crate::formats::input::Counting;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    pub(super) fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "gz" | "gzip" => Some(Self::Gzip),
            "zst" | "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    pub(super) fn of_first_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
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
            below: |decoder| decoder.get_ref(),
        }),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(input)
                .map_err(|error| crate::error::Error::io("", "start zstd", error))?;
            Box::new(Checked { decoder, below: |decoder| decoder.get_ref() })
        }
    })
}

/// Gives the errors of decompressors one meaning, and empty files theirs.
#[cfg(feature = "compression")]
struct Checked<D> {
    decoder: D,
    below: fn(&D) -> &std::io::BufReader<Counting>,
}

#[cfg(feature = "compression")]
impl<D: Read> Read for Checked<D> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        use std::io::{Error, ErrorKind};
        self.decoder.read(to).or_else(|error| {
            let from_the_system = error.raw_os_error().is_some() || error.kind() == ErrorKind::Interrupted;
            match error.kind() {
                _ if from_the_system => Err(error),
                ErrorKind::UnexpectedEof if (self.below)(&self.decoder).get_ref().is_empty => Ok(0),
                ErrorKind::UnexpectedEof => {
                    Err(Error::new(ErrorKind::UnexpectedEof, format!("the compressed data ends early: {error}")))
                }
                _ => Err(Error::new(ErrorKind::InvalidData, format!("the compressed data is damaged: {error}"))),
            }
        })
    }
}
