//! One step of a stream: an operation, named by its key.

use super::document::{Entry, Node, Value};
use super::expressions::{aggregate, column, condition, order};
use super::keys::Keys;
use super::stream::Names;
use crate::error::{Error, Result};
use crate::expr::Expr;
use crate::plan::logical::SortBy;
use crate::plan::stage::JoinKind;
use crate::query::{DStream, KeyedDStream};

/// Operations: each is the key of its step.
pub(super) const OPERATIONS: &[&str] = &[
    "select",
    "with_columns",
    "filter",
    "flat_map",
    "distinct",
    "key_by",
    "aggregate",
    "count",
    "count_by_value",
    "join",
    "sort",
    "top_n",
    "limit",
    "repartition",
    "cache",
];

/// The keys that go with an operation.
fn partners(operation: &str) -> &'static [&'static str] {
    match operation {
        "key_by" => &["aggregate", "count"],
        "join" => &["on", "how"],
        "top_n" => &["by"],
        _ => &[],
    }
}

/// The stream with one more step.
pub(super) fn add(stream: &DStream, node: &Node, names: &Names) -> Result<DStream> {
    let keys = Keys::of(node, "a step")?;
    let said = |&&operation: &&&str| keys.optional(operation).is_some();
    let Some(&operation) = OPERATIONS.iter().find(said) else {
        keys.only(&[OPERATIONS])?;
        let error = Error::invalid_query("a step does nothing");
        return Err(node.spot.blame(error.advice("write an operation, such as { filter = \"age > 18\" }")));
    };
    let value = keys.required(operation)?;
    let is_alone = |other: &&&str| **other != operation && !partners(operation).contains(*other);
    if let Some(&other) = OPERATIONS.iter().filter(is_alone).find(said) {
        let error = Error::invalid_query(format!("a step does one thing, not \"{operation}\" and \"{other}\""));
        return Err(node.spot.blame(error.advice("write two steps, in the order in which they should happen")));
    }
    let keys = keys.is(format!("a step \"{operation}\""));
    keys.only(&[&[operation], partners(operation)])?;
    let next = operate(stream, operation, value, &keys, names)?;
    // Whatever could not be said of one expression alone.
    next.schema().map_err(|error| value.spot.blame(error))?;
    Ok(next)
}

fn operate(stream: &DStream, operation: &str, value: &Node, keys: &Keys<'_>, names: &Names) -> Result<DStream> {
    Ok(match operation {
        "select" => stream.select(columns(stream, value)?),
        "with_columns" => stream.with_columns(columns(stream, value)?),
        "filter" => filter(stream, value)?,
        "flat_map" => stream.flat_map(column(value)?),
        "distinct" => distinct(stream, value)?,
        "key_by" => key_by(stream, value, keys)?,
        "aggregate" => aggregates(&stream.key_by([]), value)?,
        "count" => value.presence().map(|()| stream.count())?,
        "count_by_value" => stream.count_by_value(column(value)?),
        "join" => join(stream, value, keys, names)?,
        "sort" => stream.sort(orders(stream, value)?),
        "top_n" => stream.top_n(value.count(0)?, orders(stream, keys.required("by")?)?),
        "limit" => stream.limit(value.count(0)?),
        "repartition" => stream.repartition(value.count(1)?),
        _ => value.presence().map(|()| stream.cache())?,
    })
}

fn orders(stream: &DStream, value: &Node) -> Result<Vec<SortBy>> {
    let checked = |node: &Node| {
        let order = order(node)?;
        stream.sort([order.clone()]).schema().map_err(|error| node.spot.blame(error))?;
        Ok(order)
    };
    value.texts()?.into_iter().map(checked).collect()
}

/// Expressions on the stream's columns; each is checked by itself, so that the error says which one is wrong.
fn columns(stream: &DStream, value: &Node) -> Result<Vec<Expr>> {
    let checked = |node: &Node| {
        let column = column(node)?;
        stream.select([column.clone()]).schema().map_err(|error| node.spot.blame(error))?;
        Ok(column)
    };
    value.texts()?.into_iter().map(checked).collect()
}

/// Rows for which all conditions hold.
fn filter(stream: &DStream, value: &Node) -> Result<DStream> {
    let mut filtered = stream.clone();
    for node in value.texts()? {
        filtered = filtered.filter(condition(node)?);
        filtered.schema().map_err(|error| node.spot.blame(error))?;
    }
    Ok(filtered)
}

fn distinct(stream: &DStream, value: &Node) -> Result<DStream> {
    if matches!(value.value, Value::Boolean(_)) {
        value.presence()?;
        return Ok(stream.distinct());
    }
    let columns = value.texts()?.into_iter().map(|node| node.text().map(str::to_owned));
    Ok(stream.distinct_by(columns.collect::<Result<Vec<_>>>()?))
}

fn key_by(stream: &DStream, value: &Node, keys: &Keys<'_>) -> Result<DStream> {
    let keyed = stream.key_by(columns(stream, value)?);
    match (keys.optional("aggregate"), keys.optional("count")) {
        (Some(node), None) => aggregates(&keyed, node),
        (None, Some(node)) => {
            node.presence()?;
            Ok(keyed.count())
        }
        (Some(_), Some(node)) => {
            let error = Error::invalid_query("\"aggregate\" and \"count\" stand side by side");
            Err(node.spot.blame(error.advice("write aggregate = [\"count(*) AS count\", ...]")))
        }
        (None, None) => {
            let error = Error::invalid_query("nothing is made of the groups of \"key_by\"");
            let advice = "add aggregate = [\"count(*) AS rows\", ...] or count = true to the same step";
            Err(value.spot.blame(error.advice(advice)))
        }
    }
}

fn aggregates(keyed: &KeyedDStream, value: &Node) -> Result<DStream> {
    let one = |node: &Node| {
        let one = aggregate(node)?;
        keyed.clone().aggregate([one.clone()]).schema().map_err(|error| node.spot.blame(error))?;
        Ok(one)
    };
    let all = value.texts()?.into_iter().map(one).collect::<Result<Vec<_>>>()?;
    Ok(keyed.clone().aggregate(all))
}

fn join(stream: &DStream, value: &Node, keys: &Keys<'_>, names: &Names) -> Result<DStream> {
    let kinds =
        [("inner", JoinKind::Inner), ("left", JoinKind::Left), ("semi", JoinKind::Semi), ("anti", JoinKind::Anti)];
    let kind = keys.choice("how", &kinds)?.unwrap_or(JoinKind::Inner);
    let on = keys.required("on")?;
    let pairs = match &on.value {
        Value::Table(pairs) => {
            let pair = |entry: &Entry| Ok((entry.value.key.clone(), entry.value.text()?.to_owned()));
            pairs.0.iter().map(pair).collect::<Result<Vec<_>>>()?
        }
        _ => {
            let same = |node: &Node| node.text().map(|name| (name.to_owned(), name.to_owned()));
            on.texts()?.into_iter().map(same).collect::<Result<Vec<_>>>()?
        }
    };
    stream.join_static(names.table(value)?, pairs, kind).map_err(|error| on.spot.blame(error))
}
