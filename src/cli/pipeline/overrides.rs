//! `--set key=value`: a value of the pipeline file, said anew on the command line.
//!
//! A key is a path with dots. In lists of tables a step of the path is the `name` of a table, or its place counted
//! from 0: `source.log.path`, `stream.requests.steps.0.filter`.

use super::document::{Entry, Node, Spot, Table, Value, parse_value};
use crate::error::{Error, Result};
use crate::suggest;

/// Changes the document as the argument `key=value` says.
pub(super) fn apply(root: &mut Node, argument: &str) -> Result<()> {
    let shown = format!("--set {argument}");
    let Some((path, value)) = argument.split_once('=') else {
        return Err(Error::invalid_query(format!("\"{argument}\" gives no value"))
            .advice("write --set key=value, for example --set trigger=once")
            .context(shown));
    };
    let steps = path.trim().split('.').collect::<Vec<_>>();
    if steps.iter().any(|step| step.is_empty()) {
        return Err(Error::invalid_query(format!("\"{path}\" is not a key"))
            .advice("write keys with dots between, for example source.log.path")
            .context(shown));
    }
    let key = steps.iter().rev().find(|step| step.parse::<usize>().is_err()).unwrap_or(&"");
    let value = parse_value(&shown, key, value.trim())?;
    put(root, &steps, value)
}

fn put(node: &mut Node, path: &[&str], value: Node) -> Result<()> {
    let Some((&step, rest)) = path.split_first() else {
        node.value = value.value;
        node.spot = value.spot;
        return Ok(());
    };
    let spot = value.spot.clone();
    match &mut node.value {
        Value::Table(table) => put(entry(table, step, &spot), rest, value),
        Value::Array(items) => {
            let index = find(items, step).ok_or_else(|| {
                let names = items.iter().filter_map(name_of).collect::<Vec<_>>();
                let error = Error::invalid_query(format!("there is no {} \"{step}\"", node.key));
                spot.blame(error.advice(suggest::advice(step, "names", names.iter().copied())))
            })?;
            put(&mut items[index], rest, value)
        }
        _ => {
            let message = format!("\"{}\" is a single value and has no \"{step}\"", node.key);
            Err(spot.mistake(message))
        }
    }
}

/// The value of this key; a new table if there is none.
fn entry<'a>(table: &'a mut Table, key: &str, spot: &Spot) -> &'a mut Node {
    let index = table.0.iter().position(|entry| entry.value.key == key).unwrap_or_else(|| {
        let value = Node { key: key.to_owned(), spot: spot.clone(), value: Value::Table(Table::default()) };
        table.0.push(Entry { spot: spot.clone(), value });
        table.0.len() - 1
    });
    &mut table.0[index].value
}

fn find(items: &[Node], step: &str) -> Option<usize> {
    let named = items.iter().position(|item| name_of(item) == Some(step));
    named.or_else(|| step.parse().ok().filter(|&index| index < items.len()))
}

fn name_of(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Table(table) => table.get("name").and_then(|name| name.text().ok()),
        _ => None,
    }
}
