//! Static tables that may change while a query runs: where they come from, and which version of them is in use.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::columnar::RecordBatch;
use crate::error::Result;

/// What tells one version of a table from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableVersion {
    /// When its file was modified, in nanoseconds since the Unix epoch.
    pub modified: u64,
    /// The size of the file.
    pub bytes: u64,
}

/// Where a table comes from.
pub trait TableOrigin: Send + Sync {
    /// The version that is there now.
    ///
    /// # Errors
    /// A file that is not there.
    fn version(&self) -> Result<TableVersion>;

    /// The rows that are there now.
    ///
    /// # Errors
    /// A file or a record that cannot be read.
    fn read(&self) -> Result<RecordBatch>;
}

/// A table that is read again when it changes: where it comes from, and the version in use.
#[derive(Clone)]
pub struct Watched {
    /// Where it comes from.
    pub origin: Arc<dyn TableOrigin>,
    /// The version whose rows are in use.
    pub version: TableVersion,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("version", &self.version).finish_non_exhaustive()
    }
}
