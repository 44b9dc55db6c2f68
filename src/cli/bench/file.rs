//! A file of the user's, read into memory as one batch; and one that the answer goes to.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow_select::concat::concat_batches;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::columnar::RecordBatch;
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::{FormatKind, FormatOptions, Split, encoder};

/// Bytes that one thread reads in one go, about.
const SPLIT_BYTES: u64 = 16 << 20;

fn kind_of(path: &Path) -> Result<FormatKind> {
    FormatKind::of_name(path).ok_or_else(|| {
        Error::new(ErrorKind::InvalidOption, "the name of the file does not say its format")
            .at(Place::file(path))
            .advice("let it end in .parquet, .arrow, .csv or .ndjson")
    })
}

/// A file that waits for the answer: that it cannot be written is found out before anything is measured.
#[derive(Debug)]
pub(super) struct Answer {
    path: PathBuf,
    kind: FormatKind,
    file: File,
}

impl Answer {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let kind = kind_of(path)?;
        let file = File::create(path).map_err(|error| Error::io(path, "write the answer", error))?;
        Ok(Self { path: path.to_owned(), kind, file })
    }

    pub(super) fn write(&self, answer: &RecordBatch) -> Result<()> {
        let failed = |error| Error::io(&self.path, "write the answer", error);
        let writer = BufWriter::new(self.file.try_clone().map_err(failed)?);
        let mut encoder = encoder(&FormatOptions::new(self.kind), &answer.schema(), Box::new(writer))?;
        encoder.write(answer)?;
        encoder.finish()?.flush().map_err(failed)
    }
}

/// All rows, in order.
pub(super) fn read(path: &Path) -> Result<RecordBatch> {
    let kind = kind_of(path)?;
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
