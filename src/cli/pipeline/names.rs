//! The names that sources, streams and tables were given so far.

use std::collections::BTreeMap;

use super::document::{Node, Value};
use crate::error::{Error, Result};
use crate::query::{DStream, StaticTable};

/// Everything that was given a name so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Sources and streams.
    streams: BTreeMap<String, DStream>,
    tables: BTreeMap<String, StaticTable>,
    /// Streams that come later in the file.
    later: Vec<String>,
}

impl Names {
    /// Takes note of the names of all streams, so that one which is used too early can be told from a typing error.
    pub(super) fn foresee(&mut self, streams: &[&Node]) {
        let name = |node: &&Node| match &node.value {
            Value::Table(table) => table.get("name").and_then(|name| name.text().ok()).map(str::to_owned),
            _ => None,
        };
        self.later = streams.iter().filter_map(name).collect();
    }

    pub(super) fn add_stream(&mut self, name: &Node, stream: DStream) -> Result<()> {
        match self.streams.insert(name.text()?.to_owned(), stream) {
            None => Ok(()),
            Some(_) => Err(taken(name, "source or stream")),
        }
    }

    pub(super) fn add_table(&mut self, name: &Node, table: StaticTable) -> Result<()> {
        match self.tables.insert(name.text()?.to_owned(), table) {
            None => Ok(()),
            Some(_) => Err(taken(name, "table")),
        }
    }

    pub(super) fn table(&self, name: &Node) -> Result<StaticTable> {
        let wanted = name.text()?;
        let names = self.tables.keys().map(String::as_str);
        self.tables.get(wanted).cloned().ok_or_else(|| name.unknown_name("table", "tables", wanted, names))
    }

    /// Whether a table has this name.
    pub(super) fn has_table(&self, name: &Node) -> Result<bool> {
        Ok(self.tables.contains_key(name.text()?))
    }

    /// The stream of a `from`: that of one name, or the union of several.
    pub(super) fn streams(&self, from: &Node) -> Result<DStream> {
        let mut union: Option<DStream> = None;
        for name in from.texts()? {
            let next = self.stream(name)?;
            let Some(so_far) = union else {
                union = Some(next.clone());
                continue;
            };
            let both = so_far.union(next);
            both.schema().map_err(|error| name.spot.blame(error))?;
            union = Some(both);
        }
        union.ok_or_else(|| from.expected("the name of a source or stream"))
    }

    pub(super) fn stream(&self, name: &Node) -> Result<&DStream> {
        let wanted = name.text()?;
        self.streams.get(wanted).ok_or_else(|| {
            if self.later.iter().any(|later| later == wanted) {
                let error = Error::invalid_query(format!("the stream \"{wanted}\" comes only later"));
                return name.spot.blame(error.advice("put a stream below those it takes its rows from"));
            }
            let names = self.streams.keys().map(String::as_str);
            name.unknown_name("source or stream", "sources and streams", wanted, names)
        })
    }
}

fn taken(name: &Node, what: &str) -> Error {
    let error = Error::invalid_query(format!("there already is a {what} of this name"));
    name.spot.blame(error.advice("give each a name of its own"))
}
