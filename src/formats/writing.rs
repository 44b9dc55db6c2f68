//! What all encoders share.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// Bytes of text that an encoder gathers before it hands them on.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// How the pages of Parquet files are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParquetCompression {
    /// Small files, fast enough.
    #[default]
    Zstd,
    /// Larger files, faster still.
    Snappy,
    /// As they are.
    None,
}

/// Writes row after row.
pub(super) fn written_by_rows(rows: usize, write: impl FnMut(usize) -> Result<()>) -> Result<()> {
    (0..rows).try_for_each(write)
}

/// The error of a writer whose file only its owner knows.
pub(super) fn writer_failed(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Connector, format!("cannot write: {error}")).because(error).retry_later()
}
