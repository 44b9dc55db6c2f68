//! `batch`, `backpressure`, `memory` and `spill`: how much a batch may take, and what is kept may.

use super::document::{Node, Value};
use super::keys::Keys;
use crate::error::Result;
use crate::query::ContextBuilder;
use crate::runtime::{Backpressure, BatchSize, MemoryBudget};

pub(super) const BATCH_KEYS: &[&str] = &["max_latency", "max_bytes", "max_rows"];
pub(super) const SPILL_KEYS: &[&str] = &["folder", "above"];
pub(super) const BACKPRESSURE_KEYS: &[&str] = &["proportional", "integral", "derivative", "min_rate", "initial_rate"];

/// Gives the query what the keys above all tables say.
pub(super) fn set(keys: &Keys<'_>, mut builder: ContextBuilder) -> Result<ContextBuilder> {
    if let Some(node) = keys.optional("batch") {
        builder = builder.batch_size(batch_size(node)?);
    }
    if let Some(node) = keys.optional("backpressure")
        && let Some(backpressure) = backpressure(node)?
    {
        let words = keys.optional("trigger").map(Node::text).transpose()?;
        if words.is_some_and(|words| !words.starts_with(|first: char| first.is_ascii_digit())) {
            return Err(node.spot.mistake("\"backpressure\" needs a \"trigger\" that is an interval, such as \"1s\""));
        }
        builder = builder.backpressure(backpressure);
    }
    if let Some(node) = keys.optional("memory") {
        builder = builder.memory_budget(MemoryBudget::new(node.bytes()?));
    }
    if let Some(node) = keys.optional("spill") {
        builder = spill(node, builder, keys.optional("memory").is_some())?;
    }
    Ok(builder)
}

/// The path of a folder, or a table that says what may stay in memory, too.
fn spill(node: &Node, mut builder: ContextBuilder, has_memory: bool) -> Result<ContextBuilder> {
    let (folder, above) = if let Value::Text(_) = node.value {
        (Some(node.text()?), None)
    } else {
        let keys = Keys::of(node, "spill")?;
        keys.only(&[SPILL_KEYS])?;
        (keys.optional("folder").map(Node::text).transpose()?, keys.bytes("above")?)
    };
    if above.is_none() && !has_memory {
        let message = "without \"memory\" or \"above\" all state stays in memory: say how much may, such as { above = \"1 GiB\" }";
        return Err(node.spot.mistake(message));
    }
    if let Some(folder) = folder {
        builder = builder.spill_folder(folder);
    }
    Ok(match above {
        Some(above) => builder.state_memory(above),
        None => builder,
    })
}

fn batch_size(node: &Node) -> Result<BatchSize> {
    let keys = Keys::of(node, "batch")?;
    keys.only(&[BATCH_KEYS])?;
    let latency = keys.optional("max_latency").map(|node| match node.duration() {
        Ok(latency) if latency.is_zero() => Err(node.expected("more than no time")),
        latency => latency,
    });
    Ok(BatchSize {
        max_latency: latency.transpose()?,
        max_bytes: keys.bytes("max_bytes")?,
        max_rows: keys.whole("max_rows", 1)?,
    })
}

/// `true` for Spark's numbers, or a table with numbers of one's own.
fn backpressure(node: &Node) -> Result<Option<Backpressure>> {
    if let Value::Boolean(wanted) = node.value {
        return Ok(wanted.then(Backpressure::default));
    }
    let usual = Backpressure::default();
    let keys = Keys::of(node, "backpressure").map_err(|_| node.expected("true, false or a table"))?;
    keys.only(&[BACKPRESSURE_KEYS])?;
    let number = |key: &str| keys.optional(key).map(number).transpose();
    let chosen = Backpressure {
        proportional: number("proportional")?.unwrap_or(usual.proportional),
        integral: number("integral")?.unwrap_or(usual.integral),
        derivative: number("derivative")?.unwrap_or(usual.derivative),
        min_rate: number("min_rate")?.unwrap_or(usual.min_rate),
        initial_rate: number("initial_rate")?,
    };
    match chosen.mistake() {
        None => Ok(Some(chosen)),
        Some(mistake) => Err(node.spot.mistake(mistake)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a weight or a rate is an estimate")]
fn number(node: &Node) -> Result<f64> {
    match node.value {
        Value::Float(value) => Ok(value),
        Value::Integer(value) => Ok(value as f64),
        _ => Err(node.expected("a number")),
    }
}
