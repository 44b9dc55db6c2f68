//! A file of the user's, read into memory as one batch.

use std::path::Path;

use arrow_select::concat::concat_batches;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::columnar::RecordBatch;
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::{FormatKind, FormatOptions, Split};

/// Bytes that one thread reads in one go, about.
const SPLIT_BYTES: u64 = 16 << 20;

/// All rows, in order.
pub(super) fn read(path: &Path) -> Result<RecordBatch> {
    let kind = FormatKind::of_name(path).ok_or_else(|| {
        Error::new(ErrorKind::InvalidOption, "the name of the file does not say its format")
            .at(Place::file(path))
            .advice("let it end in .parquet, .arrow, .csv or .ndjson")
    })?;
    let bytes = std::fs::metadata(path).map_err(|error| Error::io(path, "look at the file", error))?.len();
    let format = FormatOptions::new(kind).build(Some(path))?;
    let read = |split: Split| -> Result<Vec<RecordBatch>> {
        let mut reader = format.open(&split)?;
        std::iter::from_fn(|| reader.next_batch().transpose()).collect()
    };
    let splits = format.splits(path, bytes, SPLIT_BYTES)?;
    let batches = splits.into_par_iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(concat_batches(&format.schema(), batches.iter().flatten())?)
}
