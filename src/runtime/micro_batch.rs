//! What a micro-batch is.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::connectors::OffsetRange;
use crate::plan::table_origin::TableVersion;

/// The unit of scheduling and of recovery: everything needed to run it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MicroBatch {
    /// Dense and rising from 0.
    pub id: u64,
    /// When it was cut, as time since the Unix epoch.
    pub time: Duration,
    /// What it reads of each source, in the order of the sources; nothing from those that had nothing.
    pub ranges: Vec<Option<OffsetRange>>,
    /// Whether it is the end of the rows, with which what is still open is closed.
    #[serde(default)]
    pub is_last: bool,
    /// The versions of tables that may change, by their names, with which it was cut.
    #[serde(default)]
    pub tables: BTreeMap<String, TableVersion>,
}
