//! `[[stream]]`: rows from sources or other streams, and what is done with them.

use super::document::{Node, Value};
use super::keys::Keys;
use super::names::Names;
use super::step;
use crate::error::Result;

pub(super) const KEYS: &[&str] = &["name", "from", "steps"];

/// Describes a stream.
pub(super) fn describe(node: &Node, names: &mut Names) -> Result<()> {
    let keys = Keys::of(node, "a [[stream]]")?;
    keys.only(&[KEYS])?;
    let name = keys.required("name")?;
    let mut stream = names.streams(keys.required("from")?)?;
    let steps = match keys.optional("steps") {
        None => &[],
        Some(Node { value: Value::Array(steps), .. }) => steps.as_slice(),
        Some(other) => return Err(other.expected("a list of steps such as { filter = \"age > 18\" }")),
    };
    for step in steps {
        stream = step::add(&stream, step, names)?;
    }
    names.add_stream(name, stream)
}
