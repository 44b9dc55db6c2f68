//! Pipeline files: streaming queries in TOML.
//!
//! ```text
//! text ─▶ document ─▶ overrides ─▶ sources, tables ─▶ streams, step by step ─▶ sinks ─▶ StreamingContext
//!         a tree of     --set       each opened         each checked at once
//!         values with               and named           against its input's columns
//!         their places
//! ```
//!
//! A pipeline says all that a [`DStream`](crate::query::DStream) can do, except for closures. It is checked from top to
//! bottom while it is built, and the first mistake is told with line and column. `docs/pipelines.md` lists every key.
//! Paths are relative to the directory in which the program runs, as on a command line.

mod checkpoint;
mod document;
mod expressions;
mod files;
mod keys;
mod names;
mod overrides;
mod pace;
mod quantity;
mod remember;
mod rules;
mod sink;
mod source;
mod step;
mod stream;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use document::{Node, Value};
use keys::Keys;
use names::Names;

use crate::dispatch::{Device, Placement};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::THREADS_MAX;
use crate::query::ContextBuilder;
use crate::query::StreamingContext;
use crate::runtime::progress::Listener;
use crate::runtime::{BadRecordsMax, OnEnd, Progress, Trigger};
use crate::suggest;

const KEYS: &[&str] = &[
    "name",
    "trigger",
    "partitions",
    "threads",
    "retries",
    "device",
    "adapter",
    "strict",
    "limits",
    "checkpoint",
    "bad_records_max",
    "quarantine",
    "on_end",
    "batch",
    "backpressure",
    "memory",
    "spill",
];
const BAD_RECORDS_KEYS: &[&str] = &["records", "share"];
const TABLES: &[&str] = &["source", "table", "stream", "sink"];

/// A pipeline file that has been read: TOML, not yet understood.
///
/// ```
/// use pelton::cli::pipeline::{Pipeline, Surroundings};
///
/// let text = r#"
/// trigger = "available_now"
/// [[source]]
/// name = "people"
/// type = "generator"
/// kind = "people"
/// rows = 1000
/// [[stream]]
/// name = "cities"
/// from = "people"
/// steps = [{ filter = "age >= 18" }, { key_by = "city", count = true }, { sort = "count DESC" }]
/// [[sink]]
/// type = "print"
/// from = "cities"
/// "#;
/// let mut pipeline = Pipeline::parse("cities.toml", text)?;
/// pipeline.set("source.people.rows=500")?;
/// let totals = pipeline.context(&Surroundings::default())?.start()?.await_termination()?;
/// assert_eq!(totals.rows_in, 500);
/// # Ok::<(), pelton::error::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Pipeline {
    root: Node,
    /// The name, if the file gives none.
    file_stem: String,
}

/// What a pipeline does not say itself.
pub struct Surroundings {
    standard_output: Box<dyn Fn() -> Box<dyn Write + Send>>,
    listener: Option<Listener>,
}

impl Default for Surroundings {
    /// Sinks of type `print` write to standard output; nobody listens.
    fn default() -> Self {
        Self { standard_output: Box::new(|| Box::new(io::stdout())), listener: None }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Sinks of type `print` write to what this gives.
    #[must_use]
    pub fn print_to(mut self, output: impl Fn() -> Box<dyn Write + Send> + 'static) -> Self {
        self.standard_output = Box::new(output);
        self
    }

    /// Called with the progress record of each batch.
    #[must_use]
    pub fn on_progress(mut self, listener: impl Fn(&Progress) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }
}

impl Pipeline {
    /// Reads a file.
    ///
    /// # Errors
    /// `InvalidOption` if it cannot be read, `InvalidQuery` if it is not TOML.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("cannot read the pipeline file \"{}\": {error}", path.display());
            Error::new(ErrorKind::InvalidOption, message).because(error)
        })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads the text of a file of this name.
    ///
    /// # Errors
    /// `InvalidQuery` if it is not TOML.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let stem = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        Ok(Self { root: document::parse(file, text)?, file_stem: stem.unwrap_or_else(|| "pipeline".to_owned()) })
    }

    /// Says a value anew, as `key=value` with the key as a path: `source.log.path=logs/`.
    ///
    /// # Errors
    /// `InvalidQuery` for a path that leads nowhere. Whether the value fits is found by [`Pipeline::context`].
    pub fn set(&mut self, key_and_value: &str) -> Result<()> {
        overrides::apply(&mut self.root, key_and_value)
    }

    /// Understands the pipeline: opens sources, reads tables, checks streams. Nothing runs yet.
    ///
    /// # Errors
    /// The first mistake, with its place; a table or directory that cannot be read.
    pub fn context(&self, surroundings: &Surroundings) -> Result<StreamingContext> {
        let keys = Keys::of(&self.root, "a pipeline")?;
        keys.only(&[KEYS, TABLES])?;
        let builder = self.options(&keys)?;
        let (sources, tables) = (keys.tables("source")?, keys.tables("table")?);
        let (streams, sinks) = (keys.tables("stream")?, keys.tables("sink")?);
        for (key, tables) in [("source", &sources), ("sink", &sinks)] {
            if tables.is_empty() {
                let error = Error::invalid_query(format!("a pipeline has no [[{key}]]"));
                return Err(self.root.spot.blame(error.advice("add one; docs/pipelines.md shows how")));
            }
        }
        let builder = match &surroundings.listener {
            Some(listener) => {
                let listener = Arc::clone(listener);
                builder.on_progress(move |progress| listener(progress))
            }
            None => builder,
        };
        let context = builder.build()?;
        let mut names = Names::default();
        names.foresee(&streams);
        sources.iter().try_for_each(|node| source::add(node, &context, &mut names))?;
        tables.iter().try_for_each(|node| source::add_table(node, &mut names))?;
        streams.iter().try_for_each(|node| stream::describe(node, &mut names))?;
        let query = keys.optional("name").map_or(Ok(self.file_stem.as_str()), Node::text)?;
        sinks.iter().try_for_each(|node| sink::add(node, surroundings, &names, query))?;
        keys.optional("quarantine").map_or(Ok(()), |node| sink::add_quarantine(node, &context))?;
        Ok(context)
    }

    /// The keys that stand above all tables.
    fn options(&self, keys: &Keys<'_>) -> Result<ContextBuilder> {
        let name = keys.optional("name").map_or(Ok(self.file_stem.as_str()), Node::text)?;
        let mut builder = StreamingContext::builder(name);
        if let Some(node) = keys.optional("trigger") {
            builder = builder.trigger(trigger(node)?);
        }
        let ends = [("keep", OnEnd::Keep), ("flush", OnEnd::Flush)];
        builder = builder.on_end(keys.choice("on_end", &ends)?.unwrap_or_default());
        if let Some(node) = keys.optional("partitions") {
            builder = builder.partitions(node.count(1)?);
        }
        if let Some(node) = keys.optional("threads") {
            let threads = node.count(1)?;
            if threads > THREADS_MAX {
                return Err(node.expected(&format!("a whole number from 1 to {THREADS_MAX}")));
            }
            let threads = std::num::NonZeroUsize::new(threads);
            builder = builder.threads(threads.unwrap_or(std::num::NonZeroUsize::MIN));
        }
        if let Some(node) = keys.optional("retries") {
            let retries = u32::try_from(node.whole(0)?).map_err(|_| node.expected("a smaller number"))?;
            builder = builder.retries(retries, Duration::from_millis(100));
        }
        if let Some(node) = keys.optional("checkpoint") {
            builder = builder.checkpoint_at(checkpoint::place(node)?);
        }
        if let Some(node) = keys.optional("bad_records_max") {
            builder = builder.bad_records_max(bad_records_max(node)?);
        }
        builder = pace::set(keys, builder.placement(placement(keys)?))?;
        Ok(builder.limits(source::limits(keys)?))
    }
}

/// How many bad records a batch may have: a number, or a table with a number, a share, or both.
fn bad_records_max(node: &Node) -> Result<BadRecordsMax> {
    if !matches!(node.value, Value::Table(_)) {
        return Ok(BadRecordsMax { records: Some(node.whole(0)?), share: None });
    }
    let keys = Keys::of(node, "bad_records_max")?;
    keys.only(&[BAD_RECORDS_KEYS])?;
    let share = keys.optional("share").map(Node::share).transpose()?;
    Ok(BadRecordsMax { records: keys.whole("records", 0)?, share })
}

/// What stages run on.
fn placement(keys: &Keys<'_>) -> Result<Placement> {
    let devices =
        [("auto", Device::Auto), ("cpu", Device::Cpu), ("gpu", Device::Gpu), ("reference", Device::Reference)];
    Ok(Placement {
        device: keys.choice("device", &devices)?.unwrap_or_default(),
        adapter: keys.optional("adapter").map(Node::text).transpose()?.map(str::to_owned),
        strict: keys.boolean("strict")?.unwrap_or_default(),
        ..Placement::default()
    })
}

/// `available_now`, `once`, or an interval.
fn trigger(node: &Node) -> Result<Trigger> {
    match node.text()? {
        "available_now" => Ok(Trigger::AvailableNow),
        "once" => Ok(Trigger::Once),
        text if text.starts_with(|first: char| first.is_ascii_digit()) => node.duration().map(Trigger::Interval),
        text => {
            let error = Error::invalid_query(format!("\"trigger\" cannot be \"{text}\""));
            let otherwise = "take \"available_now\", \"once\", or an interval such as \"1s\"";
            let advice = suggest::meant(text, ["available_now", "once"], otherwise);
            Err(node.spot.blame(error.advice(advice)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented() {
        let documentation = include_str!("../../../docs/pipelines.md");
        let all = [
            KEYS,
            TABLES,
            source::KEYS,
            source::FILES_KEYS,
            source::TAIL_KEYS,
            source::SOCKET_KEYS,
            source::GENERATOR_KEYS,
            source::LIMITS_KEYS,
            source::TABLE_KEYS,
            checkpoint::KEYS,
            BAD_RECORDS_KEYS,
            pace::BATCH_KEYS,
            pace::BACKPRESSURE_KEYS,
            pace::SPILL_KEYS,
            files::KEYS,
            files::READER_KEYS,
            files::WRITER_KEYS,
            stream::KEYS,
            step::OPERATIONS,
            step::KEY_BY,
            step::DROP_DUPLICATES,
            step::JOIN_WITHIN,
            step::JOIN_ASOF,
            step::WATERMARK,
            rules::KEYS,
            &["on", "how", "by"],
            sink::KEYS,
            sink::PRINT_KEYS,
            sink::FILES_KEYS,
            sink::POSTGRES_KEYS,
        ];
        let is_missing = |key: &&str| !documentation.contains(&format!("`{key}`"));
        let missing = all.into_iter().flatten().copied().filter(is_missing).collect::<Vec<_>>();
        assert!(missing.is_empty(), "docs/pipelines.md says nothing of {missing:?}");
    }
}
