//! What the files of a checkpoint say, and how they are called.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::frame;
use super::store::Store;
use crate::connectors::OffsetRange;
use crate::error::{Error, ErrorKind, Place, Result};
use crate::formats::Checksum;
use crate::plan::table_origin::TableVersion;

/// The file that says whose checkpoint it is.
pub(super) const QUERY: &str = "query";

/// The folder that says what each operator keeps; also the kind of its files.
pub(super) const OPERATORS: &str = "operators";

pub(super) fn definition_file(operator: &str) -> String {
    format!("{OPERATORS}/{operator}")
}

/// What of a query must stay the same from one life to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The name of the query.
    pub query: String,
    /// The names of its sources; each is another.
    pub sources: Vec<String>,
    /// Those of them that tell the event times of their parts apart.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub sources_of_parts: BTreeSet<String>,
    /// Its operators that keep state: the name of each, and what it keeps.
    pub operators: BTreeMap<String, String>,
}

/// What a batch will read, written before it is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetEntry {
    /// The batch.
    pub batch: u64,
    /// When it was cut, as time since the Unix epoch.
    pub time: Duration,
    /// What it reads of the sources, by their names; sources that had nothing are missing.
    pub ranges: BTreeMap<String, OffsetRange>,
    /// What was read there, once it has been: checksums by the names of the sources.
    #[serde(default)]
    pub checksums: BTreeMap<String, Checksum>,
    /// Whether it is the end of the rows, with which what is still open is closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_last: bool,
    /// The versions of static tables that may change, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, TableVersion>,
}

/// That a batch is in all sinks, and its state is safe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitEntry {
    /// The batch.
    pub batch: u64,
    /// Rows that were written.
    pub rows_out: u64,
    /// How far event time has come after the batch, in words of the runtime's own.
    #[serde(default)]
    pub event_time: serde_json::Value,
}

/// What was read of the sources up to a batch, in as few ranges as the sources need to go on from there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    /// Ranges by the names of the sources.
    pub ranges: BTreeMap<String, Vec<OffsetRange>>,
}

/// The folders that hold a file for each batch, or for some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    Offsets,
    Commits,
    Positions,
}

impl Log {
    pub(super) const ALL: [Self; 3] = [Self::Offsets, Self::Commits, Self::Positions];

    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Offsets => "offsets",
            Self::Commits => "commits",
            Self::Positions => "positions",
        }
    }

    pub(super) fn file(self, batch: u64) -> String {
        format!("{}/{}", self.folder(), number(batch))
    }

    /// The batches that have a file, rising.
    pub(super) fn batches(self, store: &dyn Store) -> Result<Vec<u64>> {
        let names = store.list(self.folder())?;
        let batch = |name: &String| {
            name.parse().ok().filter(|&batch| number(batch) == *name).ok_or_else(|| {
                let message = format!("\"{name}\" is no file of a checkpoint");
                Error::new(ErrorKind::Corrupt, message)
                    .at(store.place(self.folder()))
                    .advice("move it away: nothing but the engine may write here")
            })
        };
        names.iter().map(batch).collect()
    }
}

/// A batch's number in names of files, which then sort as numbers do.
pub(super) fn number(batch: u64) -> String {
    format!("{batch:020}")
}

/// Writes an entry.
pub(super) fn write(store: &dyn Store, name: &str, kind: &str, entry: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(entry).map_err(|error| {
        Error::internal(format!("an entry of a checkpoint cannot be written down: {error}")).because(error)
    })?;
    store.write(name, &frame::seal(kind, &text))
}

/// Reads an entry.
pub(super) fn read<T: DeserializeOwned>(store: &dyn Store, name: &str, kind: &str) -> Result<T> {
    let place: Place = store.place(name);
    let text = frame::open(kind, &place, &store.read(name)?)?;
    serde_json::from_slice(&text).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("the entry is not what this release writes: {error}"))
            .at(place)
            .because(error)
    })
}
