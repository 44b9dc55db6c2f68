//! Tables that streams are joined with: read once, before the stream starts.

use std::path::Path;
use std::sync::Arc;

use arrow_select::concat::concat_batches;

use crate::columnar::RecordBatch;
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::Format;
pub use crate::plan::logical::JoinOn;

/// A table that does not change while a query runs.
#[derive(Debug, Clone)]
pub struct StaticTable {
    /// Its name, in plans and errors.
    pub(crate) name: String,
    pub(crate) rows: RecordBatch,
}

impl StaticTable {
    /// The rows of a batch.
    pub fn new(name: impl Into<String>, rows: RecordBatch) -> Self {
        Self { name: name.into(), rows }
    }

    /// The rows of a file.
    ///
    /// # Errors
    /// A file that cannot be read, or a record that cannot: see the format's policy for bad records.
    pub fn read(path: impl AsRef<Path>, format: &Arc<dyn Format>) -> Result<Self> {
        let path = path.as_ref();
        if format.may_quarantine() {
            return Err(Error::new(ErrorKind::InvalidOption, "a table has no quarantine")
                .at(Place::file(path))
                .advice("read it with the policy \"fail\", \"drop\" or \"null\""));
        }
        let name = path.file_stem().map_or_else(|| "table".to_owned(), |stem| stem.to_string_lossy().into_owned());
        let metadata = std::fs::metadata(path).map_err(|error| Error::io(path, "read the table", error))?;
        let mut batches = Vec::new();
        for split in format.splits(path, metadata.len(), u64::MAX)? {
            let mut reader = format.open(&split)?;
            while let Some(batch) = reader.next_batch()? {
                batches.push(batch);
            }
        }
        Ok(Self { name, rows: concat_batches(&format.schema(), &batches)? })
    }

    /// The same under another name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The rows.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }
}

impl From<RecordBatch> for StaticTable {
    fn from(rows: RecordBatch) -> Self {
        Self::new("table", rows)
    }
}
