//! `[[source]]` and `[[table]]`: where rows come from.

use std::sync::Arc;

use super::document::{Node, Value};
use super::files;
use super::keys::Keys;
use super::names::Names;
use crate::connectors::directory::DirectorySource;
use crate::connectors::generator::{GeneratorSource, Pace};
use crate::connectors::socket::SocketSource;
use crate::connectors::tail::TailSource;
use crate::connectors::{ReadLimits, Source};
use crate::error::Result;
use crate::generate;
use crate::generate::Skew;
use crate::query::{StaticTable, StreamingContext};

pub(super) const KEYS: &[&str] = &["name", "type", "max_rows_per_second", "profile"];
pub(super) const FILES_KEYS: &[&str] = &["recursive", "manifest", "settle", "split_bytes", "event_time_by", "limits"];
pub(super) const TAIL_KEYS: &[&str] = &["split_bytes"];
pub(super) const SOCKET_KEYS: &[&str] = &["address", "buffer", "ends_with_peer", "attempts"];
pub(super) const GENERATOR_KEYS: &[&str] =
    &["kind", "seed", "rows", "rows_per_second", "rows_per_batch", "keys", "skew", "events_per_second", "late_ms"];
pub(super) const LIMITS_KEYS: &[&str] = &["files", "bytes", "rows"];

/// Rows that a generator gives to each batch if nobody says how many.
const ROWS_PER_BATCH: u64 = 100_000;

#[derive(Debug, Clone, Copy)]
enum Type {
    Files,
    Tail,
    Socket,
    Generator,
}

/// Makes a source and the stream of its rows.
pub(super) fn add(node: &Node, context: &StreamingContext, names: &mut Names) -> Result<()> {
    let types =
        [("files", Type::Files), ("tail", Type::Tail), ("socket", Type::Socket), ("generator", Type::Generator)];
    let keys = Keys::of(node, "a [[source]]")?;
    let kind = keys.required("type")?;
    let chosen = kind.choice(&types)?;
    let keys = keys.is(format!("a [[source]] of type \"{}\"", kind.text()?));
    let name = keys.required("name")?;
    let source = match chosen {
        Type::Files => directory(&keys, context)?,
        Type::Tail => tail(&keys)?,
        Type::Socket => socket(&keys)?,
        Type::Generator => generator(&keys, context)?,
    };
    names.add_stream(name, context.boxed_source(name.text()?, source)?)?;
    if let Some(rows) = keys.whole("max_rows_per_second", 1)? {
        keys.built(context.max_rows_per_second(name.text()?, rows))?;
    }
    match keys.optional("profile") {
        Some(node) => profile(node, name.text()?, context),
        None => Ok(()),
    }
}

/// Has all columns of a source profiled, or those that are named.
fn profile(node: &Node, source: &str, context: &StreamingContext) -> Result<()> {
    let profiled = match &node.value {
        Value::Boolean(false) => return Ok(()),
        Value::Boolean(true) => context.profile(source, None),
        _ => {
            let columns = node.texts()?.into_iter().map(|column| column.text().map(str::to_owned));
            context.profile(source, Some(&columns.collect::<Result<Vec<_>>>()?))
        }
    };
    profiled.map_err(|error| node.spot.blame(error))
}

fn directory(keys: &Keys<'_>, context: &StreamingContext) -> Result<Box<dyn Source>> {
    keys.only(&[KEYS, files::KEYS, files::READER_KEYS, FILES_KEYS])?;
    let path = files::path(keys)?;
    let options = files::to_read(keys, Some(&path))?;
    let sample = files::sample(&options, &path, keys)?;
    let format = keys.built(options.build(sample.as_deref()))?;
    let mut source = keys
        .built(DirectorySource::new(&path, format))?
        .clock(Arc::clone(context.clock()))
        .recursive(keys.boolean("recursive")?.unwrap_or(false))
        .limits(limits(keys)?);
    let by = keys.choice("event_time_by", &[("source", false), ("folder", true)])?;
    source = source.event_time_by_folder(by.unwrap_or(false));
    if let Some(node) = keys.optional("manifest") {
        source = source.manifest(node.boolean()?).map_err(|error| node.spot.blame(error))?;
    }
    if let Some(settle) = keys.optional("settle") {
        source = source.settle(settle.duration()?);
    }
    if let Some(bytes) = keys.bytes("split_bytes")? {
        source = source.split_bytes(bytes);
    }
    Ok(Box::new(source))
}

fn tail(keys: &Keys<'_>) -> Result<Box<dyn Source>> {
    keys.only(&[KEYS, files::KEYS, files::READER_KEYS, TAIL_KEYS])?;
    let path = files::path(keys)?;
    let options = files::to_read(keys, Some(&path))?;
    // The file need not be there yet; its columns must then be said.
    let sample = path.is_file().then_some(path.as_path());
    let mut source = TailSource::new(&path, keys.built(options.build_lines(sample))?);
    if let Some(bytes) = keys.bytes("split_bytes")? {
        source = source.split_bytes(bytes);
    }
    Ok(Box::new(source))
}

fn socket(keys: &Keys<'_>) -> Result<Box<dyn Source>> {
    // A path is what a socket does not have.
    let format_keys = files::KEYS.iter().copied().filter(|key| *key != "path").collect::<Vec<_>>();
    keys.only(&[KEYS, SOCKET_KEYS, &format_keys, files::READER_KEYS])?;
    let format = keys.built(files::to_read(keys, None)?.build_lines(None))?;
    let ends_with_peer = keys.boolean("ends_with_peer")?.unwrap_or(false);
    let mut source = SocketSource::new(keys.required("address")?.text()?, format).ends_with_peer(ends_with_peer);
    if let Some(bytes) = keys.bytes("buffer")? {
        source = source.buffer_bytes(bytes);
    }
    if let Some(attempts) = keys.whole("attempts", 1)? {
        source = source.attempts(u32::try_from(attempts).unwrap_or(u32::MAX));
    }
    Ok(Box::new(source))
}

fn generator(keys: &Keys<'_>, context: &StreamingContext) -> Result<Box<dyn Source>> {
    keys.only(&[KEYS, GENERATOR_KEYS])?;
    let kinds = generate::kinds().map(|(name, _)| (name, name)).collect::<Vec<_>>();
    let kind = keys.required("kind")?.choice(&kinds)?;
    let skews = [("uniform", Skew::Uniform), ("zipf", Skew::Zipf)];
    let options = generate::Options {
        keys: keys.whole("keys", 1)?,
        skew: keys.choice("skew", &skews)?.unwrap_or_default(),
        events_per_second: keys.whole("events_per_second", 1)?,
        late_ms: keys.whole("late_ms", 0)?.unwrap_or(0),
    };
    let rows = keys.built(generate::generator(kind, keys.whole("seed", 0)?.unwrap_or(1), &options))?;
    let pace = match (keys.whole("rows_per_second", 1)?, keys.whole("rows_per_batch", 1)?) {
        (Some(_), Some(_)) => {
            return Err(keys.spot.mistake("\"rows_per_second\" and \"rows_per_batch\" exclude each other"));
        }
        (Some(rows), None) => Pace::PerSecond(rows),
        (None, rows) => Pace::PerBatch(rows.unwrap_or(ROWS_PER_BATCH)),
    };
    let mut source = GeneratorSource::new(rows, pace).clock(Arc::clone(context.clock()));
    if let Some(rows) = keys.whole("rows", 0)? {
        source = source.rows_total(rows);
    }
    Ok(Box::new(source))
}

/// How much of a source a batch may take.
pub(super) fn limits(keys: &Keys<'_>) -> Result<ReadLimits> {
    let Some(node) = keys.optional("limits") else { return Ok(ReadLimits::default()) };
    let keys = Keys::of(node, "limits")?;
    keys.only(&[LIMITS_KEYS])?;
    Ok(ReadLimits {
        files_max: keys.optional("files").map(|node| node.count(1)).transpose()?,
        bytes_max: keys.bytes("bytes")?,
        rows_max: keys.whole("rows", 1)?,
        is_lifted: false,
    })
}

/// What a table is beside its file.
pub(super) const TABLE_KEYS: &[&str] = &["name", "reload"];

/// Reads a static table.
pub(super) fn add_table(node: &Node, names: &mut Names) -> Result<()> {
    let keys = Keys::of(node, "a [[table]]")?;
    keys.only(&[TABLE_KEYS, files::KEYS, files::READER_KEYS])?;
    let name = keys.required("name")?;
    let path = files::path(&keys)?;
    let options = files::to_read(&keys, Some(&path))?;
    let format = keys.built(options.build(Some(&path)))?;
    let table = match keys.boolean("reload")? {
        Some(true) => StaticTable::watched(&path, &format),
        _ => StaticTable::read(&path, &format),
    };
    let table = keys.built(table)?;
    names.add_table(name, table.named(name.text()?))
}
