//! Rows that lie in a file of text, which each run reads anew: what a stream of files costs beyond its computation.
//!
//! The file is made before anything is timed, so it comes from the system's cache, not from a disk. Threads take splits of
//! it in turn, read the columns that the query asks for, and compute; what they made is merged in the order of the splits.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::chain::TypedQuery;
use super::data::sample;
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, Result};
use crate::formats::{Format, FormatKind, FormatOptions, Split};
use crate::generate::{TextForm, write_text};

/// Bytes that a thread reads in one go: many for each thread, so that all end at the same time.
const SPLIT_BYTES: u64 = 2 << 20;

/// A file of rows, which goes away with this.
#[derive(Debug)]
pub(super) struct TextFile {
    path: PathBuf,
    format: Arc<dyn Format>,
    splits: Vec<Split>,
    #[cfg(feature = "polars")]
    form: TextForm,
    bytes: u64,
}

/// Numbers the files of this process.
static FILES: AtomicUsize = AtomicUsize::new(0);

impl TextFile {
    /// Writes so many rows of the sample stream `kind`.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn make(kind: &str, rows: usize) -> Result<Self> {
        let generator = sample(kind)?;
        let name = format!("pelton-bench-{}-{}", std::process::id(), FILES.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let form = generator.text_form();
        let format = options(form, generator.schema()).build(None)?;
        let mut file = Self {
            path,
            format,
            splits: Vec::new(),
            #[cfg(feature = "polars")]
            form,
            bytes: 0,
        };
        let failed = |path: &Path, error| Error::io(path, "write the rows", error);
        let mut out = BufWriter::new(File::create(&file.path).map_err(|error| failed(&file.path, error))?);
        file.bytes = write_text(&*generator, 0, rows as u64, &mut out)?;
        out.flush().map_err(|error| failed(&file.path, error))?;
        file.splits = file.format.splits(&file.path, file.bytes, SPLIT_BYTES)?;
        Ok(file)
    }

    /// The same file for readers that look at the columns of this query only.
    pub(super) fn narrowed(mut self, query: &TypedQuery) -> Self {
        let columns = query.columns(&self.format.schema());
        if let Some(narrowed) = self.format.narrowed(&columns) {
            self.format = narrowed;
        }
        self
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The parts of the file, in order.
    pub(super) fn splits(&self) -> &[Split] {
        &self.splits
    }

    /// The rows of a part.
    ///
    /// # Errors
    /// What reading says.
    pub(super) fn read(&self, split: &Split) -> Result<Vec<RecordBatch>> {
        let mut reader = self.format.open(split)?;
        std::iter::from_fn(|| reader.next_batch().transpose()).collect()
    }

    #[cfg(feature = "polars")]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    #[cfg(feature = "polars")]
    pub(super) fn form(&self) -> TextForm {
        self.form
    }

    #[cfg(feature = "polars")]
    pub(super) fn schema(&self) -> SchemaRef {
        self.format.schema()
    }
}

impl Drop for TextFile {
    fn drop(&mut self) {
        // What cannot be removed is in a folder for such files.
        drop(std::fs::remove_file(&self.path));
    }
}

/// How files of this form are read.
fn options(form: TextForm, schema: SchemaRef) -> FormatOptions {
    match form {
        TextForm::Lines => FormatOptions::new(FormatKind::Text),
        TextForm::Json => FormatOptions::new(FormatKind::Ndjson).with_schema(schema),
        TextForm::Separated { separator, header } => {
            let mut options = FormatOptions::new(FormatKind::Csv).with_schema(schema);
            options.delimiter = Some(char::from(separator).to_string());
            options.header = Some(header);
            options
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::chain::Query;
    use crate::cli::bench::data;
    use crate::cli::bench::suite::{Rows, TEXT};

    #[test]
    fn files_hold_the_rows_of_their_cases_and_go_away() {
        for case in TEXT.cases {
            let Rows::Text(kind) = case.rows else { panic!("{} has no text", case.name) };
            let query = Query::parse(&case.chain).unwrap().typed(&sample(kind).unwrap().schema()).unwrap();
            for rows in [0, 1, 5000] {
                let file = TextFile::make(kind, rows).unwrap().narrowed(&query);
                let path = file.path.clone();
                assert_eq!(std::fs::metadata(&path).unwrap().len(), file.bytes());
                let read = file.splits().iter().flat_map(|split| file.read(split).unwrap());
                let made = data::make(case.rows, rows).unwrap();
                assert_eq!(read.map(|batch| batch.num_rows()).sum::<usize>(), made.num_rows());
                drop(file);
                assert!(!path.exists());
            }
        }
    }
}
