//! Tables that streams are joined with: read before the stream starts, and again when their files change if that is wanted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_select::concat::concat_batches;

use crate::columnar::RecordBatch;
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::Format;
pub use crate::plan::logical::JoinOn;
use crate::plan::stage::{Registry, TableId};
use crate::plan::table_origin::{TableOrigin, TableVersion, Watched};

/// A table that does not change while a query runs, unless it is [watched](StaticTable::watched).
#[derive(Debug, Clone)]
pub struct StaticTable {
    /// Its name, in plans and errors.
    pub(crate) name: String,
    pub(crate) rows: RecordBatch,
    /// Where it comes from, if it is read again when that changes.
    watched: Option<Watched>,
}

/// A file that holds a table.
struct TableFile {
    path: PathBuf,
    format: Arc<dyn Format>,
}

impl StaticTable {
    /// The rows of a batch.
    pub fn new(name: impl Into<String>, rows: RecordBatch) -> Self {
        Self { name: name.into(), rows, watched: None }
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
        let file = TableFile { path: path.to_owned(), format: Arc::clone(format) };
        Ok(Self { name, rows: file.read()?, watched: None })
    }

    /// As [`StaticTable::read`], of a file that may change while a query runs: between batches the query looks at the time of
    /// its modification and its size, and reads it again if they are others. A warning in the progress record of the next
    /// batch tells so. A file that is gone or cannot be read leaves the table as it was; that is told likewise. Write it
    /// elsewhere and rename it into place.
    ///
    /// # Errors
    /// As for [`StaticTable::read`].
    pub fn watched(path: impl AsRef<Path>, format: &Arc<dyn Format>) -> Result<Self> {
        let path = path.as_ref();
        let origin = TableFile { path: path.to_owned(), format: Arc::clone(format) };
        // Before it is read: what changes in between is noticed then.
        let version = origin.version()?;
        let table = Self::read(path, format)?;
        Ok(Self { watched: Some(Watched { origin: Arc::new(origin), version }), ..table })
    }

    /// Enters the table into a query.
    pub(super) fn enter(self, registry: &mut Registry) -> TableId {
        let id = registry.add_table(self.name, self.rows);
        if let Some(watched) = self.watched {
            registry.watch_table(id, watched);
        }
        id
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

impl TableOrigin for TableFile {
    fn version(&self) -> Result<TableVersion> {
        let failed = |error| Error::io(&self.path, "look at the table", error);
        let metadata = std::fs::metadata(&self.path).map_err(failed)?;
        let modified = metadata.modified().map_err(failed)?;
        let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let modified = u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX);
        Ok(TableVersion { modified, bytes: metadata.len() })
    }

    fn read(&self) -> Result<RecordBatch> {
        let (path, format) = (&self.path, &self.format);
        let metadata = std::fs::metadata(path).map_err(|error| Error::io(path, "read the table", error))?;
        let mut batches = Vec::new();
        for split in format.splits(path, metadata.len(), u64::MAX)? {
            let mut reader = format.open(&split)?;
            while let Some(batch) = reader.next_batch()? {
                batches.push(batch);
            }
        }
        Ok(concat_batches(&format.schema(), &batches)?)
    }
}

impl From<RecordBatch> for StaticTable {
    fn from(rows: RecordBatch) -> Self {
        Self::new("table", rows)
    }
}
