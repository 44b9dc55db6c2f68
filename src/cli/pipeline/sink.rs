//! `[[sink]]`: where rows go. `[quarantine]`: where records go that are left out and kept.

use std::io;
use std::sync::Arc;

use super::Surroundings;
use super::document::Node;
use super::files;
use super::keys::Keys;
use super::names::Names;
use crate::columnar::SchemaRef;
use crate::connectors::Sink;
use crate::connectors::files::{Existing, FilesSink};
use crate::connectors::print::PrintSink;
use crate::error::Result;
use crate::formats;
use crate::formats::FormatKind;
use crate::query::StreamingContext;
use crate::runtime::quarantine;

/// Rows of a batch that are printed if nobody says how many.
const ROWS_PRINTED: usize = 20;

pub(super) const KEYS: &[&str] = &["name", "from", "type"];
pub(super) const PRINT_KEYS: &[&str] = &["rows"];
pub(super) const FILES_KEYS: &[&str] = &["sync", "existing", "manifest"];
pub(super) const POSTGRES_KEYS: &[&str] = &["connection", "password_env", "table", "key", "create", "existing"];

#[derive(Debug, Clone, Copy)]
enum Type {
    Print,
    Files,
    Postgres,
}

/// Makes a sink the end of a stream.
pub(super) fn add(node: &Node, surroundings: &Surroundings, names: &Names, query: &str) -> Result<()> {
    let keys = Keys::of(node, "a [[sink]]")?;
    let kind = keys.required("type")?;
    let chosen = kind.choice(&[("print", Type::Print), ("files", Type::Files), ("postgres", Type::Postgres)])?;
    let keys = keys.is(format!("a [[sink]] of type \"{}\"", kind.text()?));
    let name = keys.optional("name").unwrap_or(kind).text()?;
    let known = match chosen {
        Type::Print => [KEYS, PRINT_KEYS].concat(),
        Type::Files => [KEYS, files::KEYS, files::WRITER_KEYS, FILES_KEYS].concat(),
        Type::Postgres => [KEYS, POSTGRES_KEYS].concat(),
    };
    keys.only(&[&known])?;
    let stream = names.streams(keys.required("from")?)?;
    let sink: Box<dyn Sink> = match chosen {
        Type::Print => {
            let rows = keys.optional("rows").map_or(Ok(ROWS_PRINTED), |node| node.count(0))?;
            let sink = PrintSink::to((surroundings.standard_output)(), rows);
            Box::new(if keys.optional("name").is_some() { sink.named(name) } else { sink })
        }
        Type::Files => Box::new(files_sink(&keys, &stream.schema()?, None)?),
        Type::Postgres => postgres_sink(&keys, &stream.schema()?, query)?,
    };
    keys.built(stream.write_named(name, sink))
}

/// Gives the query a place for records that are left out and kept.
pub(super) fn add_quarantine(node: &Node, context: &StreamingContext) -> Result<()> {
    let keys = Keys::of(node, "the [quarantine]")?;
    keys.only(&[files::KEYS, files::WRITER_KEYS, FILES_KEYS])?;
    let sink = files_sink(&keys, &quarantine::schema(), Some(FormatKind::Ndjson))?;
    keys.built(context.quarantine(sink))
}

#[cfg(not(feature = "postgres"))]
fn postgres_sink(keys: &Keys<'_>, _: &SchemaRef, _: &str) -> Result<Box<dyn Sink>> {
    let error = crate::error::Error::invalid_query("this program was built without PostgreSQL");
    Err(keys.spot.blame(error.advice("build it with --features postgres")))
}

#[cfg(feature = "postgres")]
fn postgres_sink(keys: &Keys<'_>, schema: &SchemaRef, query: &str) -> Result<Box<dyn Sink>> {
    use crate::connectors::postgres::{Earlier, PostgresSink};

    let (connection, table) = (keys.required("connection")?, keys.required("table")?);
    let mut sink = keys.built(PostgresSink::new(connection.text()?, query, table.text()?))?;
    // Without a name it is that of the table, so that two sinks of a query differ.
    if let Some(name) = keys.optional("name") {
        sink = sink.named(name.text()?);
    }
    if let Some(node) = keys.optional("password_env") {
        let variable = node.text()?;
        let password = std::env::var(variable)
            .map_err(|_| node.spot.mistake(format!("the environment variable \"{variable}\" has no text")))?;
        sink = sink.password(password);
    }
    if let Some(node) = keys.optional("key") {
        let columns = node.texts()?.into_iter().map(Node::text).collect::<Result<Vec<_>>>()?;
        sink = sink.key(columns);
    }
    let choices = [("refuse", Earlier::Refuse), ("append", Earlier::Append), ("remove", Earlier::Remove)];
    let sink = sink.earlier(keys.choice("existing", &choices)?.unwrap_or_default());
    let sink = sink.create(keys.boolean("create")?.unwrap_or(true));
    keys.built(sink.check(schema))?;
    Ok(Box::new(sink))
}

fn files_sink(keys: &Keys<'_>, schema: &SchemaRef, usual: Option<FormatKind>) -> Result<FilesSink> {
    let options = files::to_write(keys, usual)?;
    // What the format cannot hold is told now, and not when the first file is written.
    keys.built(formats::encoder(&options, schema, Box::new(io::sink())))?;
    let extension = options.kind.name();
    let make = Arc::new(move |writer, schema: &SchemaRef| formats::encoder(&options, schema, writer));
    let choices = [("refuse", Existing::Refuse), ("remove", Existing::Remove), ("continue", Existing::Continue)];
    let sink = FilesSink::new(files::path(keys)?, extension, make);
    let sink = sink.sync(keys.boolean("sync")?.unwrap_or(false));
    let sink = sink.manifest(keys.boolean("manifest")?.unwrap_or(true));
    Ok(sink.existing(keys.choice("existing", &choices)?.unwrap_or_default()))
}
