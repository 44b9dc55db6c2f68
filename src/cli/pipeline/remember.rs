//! Rows that come once: by which columns they are compared, and how long they are remembered.

use super::document::{Node, Value};
use super::keys::Keys;
use crate::error::Result;
use crate::plan::logical::Remember;

/// The columns in which rows are compared; none if all are.
pub(super) fn compared(value: &Node) -> Result<Vec<String>> {
    if matches!(value.value, Value::Boolean(_)) {
        return value.presence().map(|()| Vec::new());
    }
    value.texts()?.into_iter().map(|node| node.text().map(str::to_owned)).collect()
}

/// The keys that say how long rows are remembered that come once.
pub(super) const MEMORIES: [&str; 3] = ["within_watermark", "window", "ttl"];

/// How long rows are remembered that come once, if something says it.
pub(super) fn memory(keys: &Keys<'_>) -> Result<Option<Remember>> {
    let said = MEMORIES.into_iter().filter_map(|key| keys.optional(key)).collect::<Vec<_>>();
    match said.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(match one.key.as_str() {
            "within_watermark" => one.presence().map(|()| Remember::WithinWatermark)?,
            "window" => Remember::Window(one.duration()?),
            _ => Remember::Batches(one.duration()?),
        })),
        [first, second, ..] => {
            Err(second.spot.mistake(format!("\"{}\" and \"{}\" exclude each other", first.key, second.key)))
        }
    }
}
