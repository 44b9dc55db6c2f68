//! Static tables that are read again when their files change: looked at between batches.

use std::collections::BTreeMap;

use crate::columnar::RecordBatch;
use crate::dispatch::Dispatcher;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::stage::{Registry, TableId};
use crate::plan::table_origin::{TableVersion, Watched};

/// The versions of tables that are in use, by names.
pub(super) type TableVersions = BTreeMap<String, TableVersion>;

/// What stages are prepared with, anew when a table has changed.
pub(super) struct Tables {
    pub(super) registry: Registry,
    pub(super) dispatcher: Dispatcher,
    /// Versions that could not be read: told once.
    unreadable: BTreeMap<TableId, Option<TableVersion>>,
}

impl Tables {
    pub(super) fn new(registry: &Registry, dispatcher: &Dispatcher) -> Self {
        Self { registry: registry.clone(), dispatcher: dispatcher.clone(), unreadable: BTreeMap::new() }
    }

    /// The tables that have changed, which are read, and what there is to tell. A table that cannot be read stays as it was.
    pub(super) fn look(&mut self) -> (Vec<TableId>, Vec<String>) {
        let watched = self.registry.watched_tables();
        let watched = watched.map(|(id, name, watched)| (id, name.to_owned(), watched.clone())).collect::<Vec<_>>();
        let (mut changed, mut told) = (Vec::new(), Vec::new());
        for (id, name, table) in watched {
            let version = table.origin.version();
            if version.as_ref().is_ok_and(|version| *version == table.version) {
                self.unreadable.remove(&id);
                continue;
            }
            match version.as_ref().map(|version| read_whole(&table, *version)) {
                Ok(Ok((rows, version))) => {
                    let (before, now) = (self.rows_of(id), rows.num_rows());
                    let notice = format!("table \"{name}\" has changed and was read again: {now} rows, after {before}");
                    // One that is joined in several places is there several times.
                    if !told.contains(&notice) {
                        told.push(notice);
                    }
                    self.registry.replace_table(id, rows, version);
                    self.unreadable.remove(&id);
                    changed.push(id);
                }
                Ok(Err(error)) => self.tell_unreadable((id, &name), version.ok(), &error, &mut told),
                Err(error) => self.tell_unreadable((id, &name), None, error, &mut told),
            }
        }
        (changed, told)
    }

    fn rows_of(&self, id: TableId) -> usize {
        self.registry.table(id).map_or(0, |(_, rows)| rows.num_rows())
    }

    fn tell_unreadable(
        &mut self,
        (id, name): (TableId, &str),
        version: Option<TableVersion>,
        error: &Error,
        told: &mut Vec<String>,
    ) {
        if self.unreadable.insert(id, version) != Some(version) {
            told.push(format!("table \"{name}\" has changed and cannot be read, so that it stays as it was: {error}"));
        }
    }

    /// The versions in use.
    pub(super) fn versions(&self) -> TableVersions {
        self.registry.watched_tables().map(|(_, name, watched)| (name.to_owned(), watched.version)).collect()
    }
}

/// The rows of a version, unless it changes while it is read.
fn read_whole(table: &Watched, version: TableVersion) -> Result<(RecordBatch, TableVersion)> {
    let rows = table.origin.read()?;
    if table.origin.version()? == version {
        return Ok((rows, version));
    }
    Err(Error::new(ErrorKind::Connector, "it changed while it was read")
        .advice("write it elsewhere and rename it into place"))
}

/// What to tell of a batch that runs again with other versions of tables than the first time.
pub(super) fn differences(batch: u64, first: &TableVersions, now: &TableVersions) -> Vec<String> {
    let others = first.iter().filter(|(name, version)| now.get(*name) != Some(version));
    let tell = |(name, _): (&String, &TableVersion)| {
        format!(
            "batch {batch} runs again with another version of table \"{name}\": its rows may differ from those of before"
        )
    };
    others.map(tell).collect()
}
