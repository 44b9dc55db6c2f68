//! One step of a stream: an operation, named by its key.

use std::time::Duration;

use super::document::Node;
use super::expressions::{aggregate, column, condition, order};
use super::keys::Keys;
use super::names::Names;
use super::remember::{compared, memory};
use super::rules;
use crate::error::{Error, Result};
use crate::expr::{Aggregate, Expr};
use crate::plan::asof::AsofStrategy;
use crate::plan::keep::OutputMode;
use crate::plan::logical::{Remember, SortBy};
use crate::plan::operator::StreamJoinKind;
use crate::plan::stage::JoinKind;
use crate::query::{DStream, KeyedDStream};

/// Operations: each is the key of its step.
pub(super) const OPERATIONS: &[&str] = &[
    "select",
    "with_columns",
    "filter",
    "validate",
    "flat_map",
    "distinct",
    "drop_duplicates",
    "key_by",
    "aggregate",
    "count",
    "count_by_value",
    "watermark",
    "late_rows",
    "join",
    "join_within",
    "join_asof",
    "sort",
    "top_n",
    "limit",
    "repartition",
    "cache",
];

pub(super) const KEY_BY: &[&str] = &[
    "aggregate",
    "count",
    "running",
    "over",
    "every",
    "over_rows",
    "every_rows",
    "mode",
    "name",
    "ttl",
    "initial_state",
];
pub(super) const DROP_DUPLICATES: &[&str] = &["within_watermark", "window", "ttl", "name"];
pub(super) const JOIN_WITHIN: &[&str] = &["on", "times", "before", "after", "how", "name"];
pub(super) const JOIN_ASOF: &[&str] = &["on", "times", "strategy", "tolerance", "how", "name"];
pub(super) const WATERMARK: &[&str] = &["delay", "idle"];

/// The keys that go with an operation.
fn partners(operation: &str) -> &'static [&'static str] {
    match operation {
        "key_by" => KEY_BY,
        "aggregate" => &["over", "every", "over_rows", "every_rows"],
        "drop_duplicates" => DROP_DUPLICATES,
        "watermark" => WATERMARK,
        "join" => &["on", "how"],
        "join_within" => JOIN_WITHIN,
        "join_asof" => JOIN_ASOF,
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
        "validate" => rules::validate(stream, value, names)?,
        "flat_map" => stream.flat_map(column(value)?),
        "distinct" => stream.distinct_by(compared(value)?),
        "drop_duplicates" => drop_duplicates(stream, value, keys)?,
        "key_by" => key_by(stream, value, keys, names)?,
        "aggregate" => grouped(&stream.key_by([]), value, keys, false)?,
        "watermark" => {
            let delay = keys.required("delay")?.duration()?;
            match keys.optional("idle") {
                None => stream.with_watermark(value.text()?, delay),
                Some(idle) => stream.with_watermark_or_idle(value.text()?, delay, idle.duration()?),
            }
        }
        "late_rows" => stream.late_rows(column(value)?),
        "count" => value.presence().map(|()| stream.count())?,
        "count_by_value" => stream.count_by_value(column(value)?),
        "join" => join(stream, value, keys, names)?,
        "join_within" => join_within(stream, value, keys, names)?,
        "join_asof" => join_asof(stream, value, keys, names)?,
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

fn drop_duplicates(stream: &DStream, value: &Node, keys: &Keys<'_>) -> Result<DStream> {
    let memory = memory(keys)?.unwrap_or(Remember::Always);
    let name = keys.optional("name").map(Node::text).transpose()?;
    Ok(stream.drop_duplicates_by(compared(value)?, memory, name))
}

fn key_by(stream: &DStream, value: &Node, keys: &Keys<'_>, names: &Names) -> Result<DStream> {
    let mut keyed = stream.key_by(key_columns(stream, value)?);
    if let Some(name) = keys.optional("name") {
        keyed = keyed.named(name.text()?);
    }
    if let Some(ttl) = keys.optional("ttl") {
        keyed = keyed.ttl(ttl.duration()?);
    }
    if let Some(table) = keys.optional("initial_state") {
        keyed = keyed.initial_state(names.table(table)?);
    }
    let modes = [("append", OutputMode::Append), ("update", OutputMode::Update), ("complete", OutputMode::Complete)];
    if let Some(mode) = keys.choice("mode", &modes)? {
        keyed = keyed.output_mode(mode);
    }
    let made = ["aggregate", "running", "count"].into_iter().filter_map(|key| keys.optional(key)).collect::<Vec<_>>();
    match made.as_slice() {
        [one] if one.key == "count" => {
            one.presence()?;
            if let Some(initial) = keys.optional("initial_state") {
                return Err(initial
                    .spot
                    .mistake("\"initial_state\" goes with \"running\": nothing else outlives its batch"));
            }
            Ok(keyed.count())
        }
        [one] => grouped(&keyed, one, keys, one.key == "running"),
        [_, second, ..] => {
            let error = Error::invalid_query("\"aggregate\", \"running\" and \"count\" stand side by side");
            Err(second.spot.blame(error.advice("write aggregate = [\"count(*) AS count\", ...]")))
        }
        [] => {
            let error = Error::invalid_query("nothing is made of the groups of \"key_by\"");
            let advice = "add aggregate = [\"count(*) AS rows\", ...] or count = true to the same step";
            Err(value.spot.blame(error.advice(advice)))
        }
    }
}

/// Keys; each that is no window is checked by itself.
fn key_columns(stream: &DStream, value: &Node) -> Result<Vec<Expr>> {
    let checked = |node: &Node| {
        let column = column(node)?;
        if !column.is_window() {
            stream.select([column.clone()]).schema().map_err(|error| node.spot.blame(error))?;
        }
        Ok(column)
    };
    value.texts()?.into_iter().map(checked).collect()
}

/// The aggregates of groups: of the batch or a window, of the latest batches, or of all so far.
fn grouped(keyed: &KeyedDStream, value: &Node, keys: &Keys<'_>, is_running: bool) -> Result<DStream> {
    if let (false, Some(initial)) = (is_running, keys.optional("initial_state")) {
        return Err(initial.spot.mistake("\"initial_state\" goes with \"running\": nothing else outlives its batch"));
    }
    let one = |node: &Node| {
        let one = aggregate(node)?;
        let says = |key: &str| keys.optional(key).is_some();
        // A ttl, a beginning and a mode mean nothing for groups of a batch.
        let alone = match is_running && (says("ttl") || says("initial_state") || says("mode")) {
            true => keyed.clone().running([one.clone()]),
            false if says("mode") && says("over_rows") => keyed.clone().count_window(1, [one.clone()]),
            false if says("mode") && says("over") => {
                keyed.clone().over_batches(Duration::from_secs(1), None, [one.clone()])
            }
            false => keyed.clone().aggregate([one.clone()]),
        };
        alone.schema().map_err(|error| node.spot.blame(error))?;
        Ok(one)
    };
    let all = value.texts()?.into_iter().map(one).collect::<Result<Vec<_>>>()?;
    if let Some(rows) = keys.optional("over_rows") {
        return row_windows(keyed, rows, keys, is_running, all);
    }
    if let Some(every) = keys.optional("every_rows") {
        return Err(every.spot.mistake("\"every_rows\" goes with \"over_rows\""));
    }
    let every = keys.optional("every").map(Node::duration).transpose()?;
    match keys.optional("over") {
        Some(over) if is_running => {
            Err(over.spot.mistake("\"over\" goes with \"aggregate\": \"running\" is over all batches"))
        }
        Some(over) => Ok(keyed.clone().over_batches(over.duration()?, every, all)),
        None if every.is_some() => Err(keys.spot.mistake("\"every\" goes with \"over\"")),
        None if is_running => Ok(keyed.clone().running(all)),
        None => Ok(keyed.clone().aggregate(all)),
    }
}

/// Windows by the number of rows.
fn row_windows(
    keyed: &KeyedDStream,
    rows: &Node,
    keys: &Keys<'_>,
    is_running: bool,
    aggregates: Vec<Aggregate>,
) -> Result<DStream> {
    if is_running {
        return Err(rows.spot.mistake("\"over_rows\" goes with \"aggregate\": \"running\" is over all batches"));
    }
    if let Some(other) = ["over", "every"].into_iter().find_map(|key| keys.optional(key)) {
        let message = format!("\"over_rows\" and \"{}\" exclude each other", other.key);
        return Err(other.spot.mistake(message));
    }
    let count = |node: &Node| node.count(1).map(|count| count as u64);
    let size = count(rows)?;
    let slide = keys.optional("every_rows").map_or(Ok(size), count)?;
    Ok(keyed.clone().count_window_sliding(size, slide, aggregates))
}

fn join(stream: &DStream, value: &Node, keys: &Keys<'_>, names: &Names) -> Result<DStream> {
    let kinds =
        [("inner", JoinKind::Inner), ("left", JoinKind::Left), ("semi", JoinKind::Semi), ("anti", JoinKind::Anti)];
    let kind = keys.choice("how", &kinds)?.unwrap_or(JoinKind::Inner);
    let on = keys.required("on")?;
    stream.join_static(names.table(value)?, on.pairs()?, kind).map_err(|error| on.spot.blame(error))
}

fn join_within(stream: &DStream, value: &Node, keys: &Keys<'_>, names: &Names) -> Result<DStream> {
    let kinds = [StreamJoinKind::Inner, StreamJoinKind::Left, StreamJoinKind::Right, StreamJoinKind::Full];
    let kind = keys.choice("how", &kinds.map(|kind| (kind.name(), kind)))?.unwrap_or(StreamJoinKind::Inner);
    let of_times = times_of(keys)?;
    let span = |key: &str| keys.optional(key).map_or(Ok(Duration::ZERO), Node::duration);
    let (within, on) = ((span("before")?, span("after")?), keys.required("on")?.pairs()?);
    let name = keys.optional("name").map(Node::text).transpose()?;
    Ok(stream.join_within_as(names.stream(value)?, on, of_times, within, kind, name))
}

/// The names of two columns of time, this and the other.
fn times_of(keys: &Keys<'_>) -> Result<(String, String)> {
    let times = keys.required("times")?;
    let [pair] = <[(String, String); 1]>::try_from(times.pairs()?)
        .map_err(|_| times.expected("a column of time, or a pair of them: { viewed = \"clicked\" }"))?;
    Ok(pair)
}

/// A join by time with a table, or with another stream.
fn join_asof(stream: &DStream, value: &Node, keys: &Keys<'_>, names: &Names) -> Result<DStream> {
    let times = times_of(keys)?;
    let on = keys.optional("on").map_or_else(|| Ok(Vec::new()), Node::pairs)?;
    let strategies = [AsofStrategy::Backward, AsofStrategy::Forward, AsofStrategy::Nearest];
    let strategy = keys.choice("strategy", &strategies.map(|one| (one.name(), one)))?;
    let strategy = strategy.unwrap_or(AsofStrategy::Backward);
    let tolerance = keys.optional("tolerance").map(Node::duration).transpose()?;
    if names.has_table(value)? {
        let only_streams = ["how", "name"].into_iter().find_map(|key| keys.optional(key));
        if let Some(key) = only_streams {
            let message =
                format!("\"{}\" goes with a stream: a row that finds none in a table stands beside nulls", key.key);
            return Err(key.spot.mistake(message));
        }
        let joined = stream.join_asof(names.table(value)?, on, times, strategy, tolerance);
        return joined.map_err(|error| value.spot.blame(error));
    }
    if let (AsofStrategy::Forward | AsofStrategy::Nearest, Some(key)) = (strategy, keys.optional("strategy")) {
        return Err(key.spot.mistake("rows of a stream are taken \"backward\"; other strategies need a table"));
    }
    let kinds = [StreamJoinKind::Inner, StreamJoinKind::Left];
    let kind = keys.choice("how", &kinds.map(|kind| (kind.name(), kind)))?.unwrap_or(StreamJoinKind::Left);
    let name = keys.optional("name").map(Node::text).transpose()?;
    Ok(stream.join_asof_stream_as(names.stream(value)?, on, times, tolerance, kind, name))
}
