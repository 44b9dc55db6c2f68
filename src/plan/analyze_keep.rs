//! Names and types of what keeps state: watermarks, windows, groups that outlive their batch, and which output modes mean
//! something for them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::analyze::{Given, Node, Op, field, index_of, named, plain_key, unique};
use super::analyze_state::check_ttl;
use super::initial::{self, InitialState};
use super::keep::{Keep, OutputMode, RowWindows, Span, Watermark, WatermarkId, Windows, nanos_of};
use super::logical::Over;
use super::stage::NamedExpr;
use crate::columnar::{DataType, Field, Scalar, Schema};
use crate::error::{Error, Result};
use crate::expr::{Aggregate, Expr, Function, TypedAggregate, TypedExpr, lit};

/// The name of the key that holds the number of a pane.
pub(super) const PANE: &str = "pane";

pub(super) fn watermark(
    input: Arc<Node>,
    column: &str,
    delay: Duration,
    idle_after: Option<Duration>,
    given: &mut Given,
) -> Result<Node> {
    let index = index_of(&input.schema, column)?;
    let data_type = input.schema.field(index).data_type();
    if !matches!(data_type, DataType::Timestamp(..)) {
        let message = format!("column \"{column}\" is {data_type}, not a timestamp");
        return Err(Error::invalid_query(message).advice("cast it to a timestamp first, with with_columns"));
    }
    let id = WatermarkId(given.watermarks);
    given.watermarks += 1;
    let watermark = Watermark { id, column: column.to_owned(), delay, idle_after };
    let schema = Arc::clone(&input.schema);
    Ok(Node { op: Op::Watermark { input, watermark, column: index }, schema })
}

/// The watermarks that say how far the event time of these rows has come. What an operator gives that keeps state has a
/// time of its own.
fn watermarks_below(node: &Node, found: &mut BTreeSet<WatermarkId>) {
    match &node.op {
        Op::Keep { .. } | Op::MapState { .. } | Op::FoldWindows { .. } | Op::JoinStreams { .. } => {}
        Op::Watermark { watermark, input, .. } => {
            found.insert(watermark.id);
            watermarks_below(input, found);
        }
        _ => node.inputs().into_iter().for_each(|input| watermarks_below(input, found)),
    }
}

pub(super) fn watermarks_of(input: &Node) -> Vec<WatermarkId> {
    let mut found = BTreeSet::new();
    watermarks_below(input, &mut found);
    found.into_iter().collect()
}

/// The slide of a session: no window has it.
const SESSION: i64 = i64::MIN;

/// The time, size and slide of a window among the keys, with the name it was given.
fn window_of(key: &Expr) -> Option<(&Expr, i64, i64, Option<&str>)> {
    match key {
        Expr::Alias(inner, name) => {
            window_of(inner).map(|(time, size, slide, _)| (time, size, slide, Some(name.as_str())))
        }
        Expr::Call(Function::Window { size, slide }, arguments) => Some((arguments.first()?, *size, *slide, None)),
        Expr::Call(Function::Session { gap }, arguments) => Some((arguments.first()?, *gap, SESSION, None)),
        _ => None,
    }
}

/// The windows, and the number of the pane that a row belongs to.
pub(super) fn panes(time: &Expr, size: i64, slide: i64, schema: &Schema) -> Result<(Windows, TypedExpr)> {
    let typed = time.typed(schema)?;
    let DataType::Timestamp(unit, zone) = &typed.data_type else {
        let message = format!("a window is over time, but `{typed}` is {}, not a timestamp", typed.data_type);
        return Err(Error::invalid_query(message).advice("cast it to a timestamp first"));
    };
    let nanos = nanos_of(*unit);
    let slide = if slide == SESSION { nanos } else { slide };
    if size <= 0 || slide <= 0 {
        return Err(Error::invalid_query("a window is longer than nothing, and so is its slide"));
    }
    if size % nanos != 0 || slide % nanos != 0 {
        let message = format!("the window is finer than its time, which is {}", typed.data_type);
        return Err(Error::invalid_query(message).advice("cast the time to a timestamp of a finer unit"));
    }
    if slide > size {
        let error = Error::invalid_query("the slide of a window is longer than its size: rows between would be lost");
        return Err(error.advice("filter them out first, if that is meant"));
    }
    let windows = Windows::new(*unit, zone.clone(), size / nanos, slide / nanos);
    let pane = time.clone().epoch(*unit).floor_div(lit(windows.pane)).alias(PANE).typed(schema)?;
    Ok((windows, pane))
}

pub(super) fn late(input: Arc<Node>, window: &Expr) -> Result<Node> {
    let Some((time, size, slide, _)) = window_of(window) else {
        let message = format!("`{window}` is no window");
        return Err(Error::invalid_query(message).advice("give the window that the rows are too late for"));
    };
    let (windows, pane) = panes(time, size, slide, &input.schema)?;
    let watermarks = watermarks_of(&input);
    if watermarks.is_empty() {
        let error = Error::invalid_query("without a watermark no row is late");
        return Err(error.advice("say how late rows may come, with with_watermark"));
    }
    let schema = Arc::clone(&input.schema);
    Ok(Node { op: Op::Late { input, pane, windows, watermarks }, schema })
}

pub(super) fn keep(
    input: Arc<Node>,
    name: Option<&str>,
    (keys, aggregates): (&[Expr], &[Aggregate]),
    (over, ttl, initial): (Over, Option<Duration>, Option<&InitialState>),
    mode: Option<OutputMode>,
    given: &mut Given,
) -> Result<Node> {
    check_memory(keys, over, ttl)?;
    check_beginning(keys, over, initial)?;
    let (window, plain): (Vec<&Expr>, Vec<&Expr>) = keys.iter().partition(|key| key.is_window());
    let plain = plain.into_iter().cloned().collect::<Vec<_>>();
    let mut keys = named(&plain, &input.schema)?;
    keys.iter().try_for_each(plain_key)?;
    let mut fields = keys.iter().map(|key| field(&key.name, &key.expr)).collect::<Vec<_>>();
    let aggregates = aggregates.iter().map(|one| one.typed(&input.schema)).collect::<Result<Vec<_>>>()?;
    if aggregates.is_empty() {
        return Err(Error::invalid_query("there are no aggregates").advice("add one, such as len()"));
    }
    let initial = initial.map(|initial| initial::of_aggregates(initial, &fields, &aggregates)).transpose()?;
    let watermarks = watermarks_of(&input);
    let span = match (over, window.as_slice()) {
        (Over::Always, []) => {
            if ttl.is_some() {
                keys.push(no_pane());
            }
            Span::Always
        }
        (Over::Batches { size, slide }, []) => {
            if size.is_zero() || slide.is_some_and(|slide| slide.is_zero()) {
                return Err(Error::invalid_query("a window is longer than nothing, and so is its slide"));
            }
            keys.push(no_pane());
            Span::Batches { size, slide }
        }
        (Over::Rows { size, slide }, []) => {
            keys.push(no_pane());
            Span::Rows(row_windows(size, slide)?)
        }
        (Over::Event, [window]) => {
            let Some((time, size, slide, name)) = window_of(window) else {
                return Err(Error::internal("a window that is none"));
            };
            let (windows, expr) = panes(time, size, slide, &input.schema)?;
            let is_session = slide == SESSION;
            let name = name.unwrap_or(if is_session { "session" } else { "window" });
            let time_type = windows.time_type();
            fields.push(Field::new(format!("{name}_start"), time_type.clone(), false));
            fields.push(Field::new(format!("{name}_end"), time_type, false));
            keys.push(NamedExpr { name: PANE.to_owned(), expr });
            if is_session { Span::Sessions(windows) } else { Span::Event(windows) }
        }
        (Over::Event, []) => {
            let message =
                "an output mode chooses among groups that outlive their batch, and these do not: all come out";
            return Err(Error::invalid_query(message).advice("leave it out, use running, or group by a window"));
        }
        (Over::Event, _) => {
            return Err(Error::invalid_query("there are several windows among the keys").advice("keep one of them"));
        }
        (Over::Always | Over::Batches { .. } | Over::Rows { .. }, _) => {
            let error = Error::invalid_query("a window of event time among the keys says already which rows count");
            return Err(error.advice("use aggregate, or take the window out of the keys"));
        }
    };
    let mode = check_mode(&span, mode, &watermarks)?;
    fields.extend(aggregates.iter().map(TypedAggregate::field));
    unique(fields.iter().map(|field| field.name().as_str()))?;
    let kind = match span {
        Span::Always => "running",
        Span::Event(_) => "windows",
        Span::Sessions(_) => "sessions",
        Span::Batches { .. } => "batches",
        Span::Rows(_) => "rows",
    };
    let name = operator_name(name, kind, given)?;
    let keep = Keep { name, keys, aggregates, span, ttl, initial, mode, best: None, watermarks };
    Ok(Node { op: Op::Keep { input, keep }, schema: Arc::new(Schema::new(fields)) })
}

fn row_windows(size: u64, slide: u64) -> Result<RowWindows> {
    if size == 0 || slide == 0 {
        return Err(Error::invalid_query("a window has at least one row, and so has its slide"));
    }
    if slide > size {
        let error = Error::invalid_query("the slide of a window is longer than its size: rows between would be lost");
        return Err(error.advice("make the size as long as the slide"));
    }
    if i64::try_from(size).is_err() {
        return Err(Error::invalid_query(format!("{size} rows are more than a window can have")));
    }
    Ok(RowWindows::new(size, slide))
}

/// A key whose value is given when groups are taken in.
fn no_pane() -> NamedExpr {
    NamedExpr { name: PANE.to_owned(), expr: TypedExpr::literal(Scalar::Int64(0), DataType::Int64) }
}

/// Refuses a time to live where something else says how long groups live.
fn check_memory(keys: &[Expr], over: Over, ttl: Option<Duration>) -> Result<()> {
    let says = match (ttl, over) {
        (None, _) => return Ok(()),
        (Some(ttl), Over::Always) if !keys.is_empty() => return check_ttl(Some(ttl)),
        (_, Over::Always) => "without keys there is one group, which always has rows",
        (_, Over::Rows { .. }) => "the size of the window says how many rows count",
        (_, Over::Batches { .. }) => "the size of the window says how long batches count",
        (_, Over::Event) if keys.iter().any(Expr::is_window) => "the watermark says when a window is over",
        (_, Over::Event) => "no group outlives its batch",
    };
    Err(Error::invalid_query(format!("a ttl means nothing here: {says}")).advice("leave it out"))
}

/// Refuses an initial state where state begins with nothing.
fn check_beginning(keys: &[Expr], over: Over, initial: Option<&InitialState>) -> Result<()> {
    let says = match (initial, over) {
        (None, _) | (_, Over::Always) => return Ok(()),
        (_, Over::Event) if !keys.iter().any(Expr::is_window) => "no group outlives its batch",
        (_, Over::Event | Over::Batches { .. } | Over::Rows { .. }) => {
            "a window has the rows that came in it, and no others"
        }
    };
    let error = Error::invalid_query(format!("an initial state means nothing here: {says}"));
    Err(error.advice("leave it out, or use running, map_with_state or update_state_by_key"))
}

/// The mode, or the one that suits; refuses those that mean nothing.
fn check_mode(span: &Span, mode: Option<OutputMode>, watermarks: &[WatermarkId]) -> Result<OutputMode> {
    let has_watermark = !watermarks.is_empty();
    match (span, mode) {
        (Span::Always, Some(OutputMode::Append)) => {
            let message = "append gives what is final, and an aggregate over all batches never is";
            Err(Error::invalid_query(message).advice("use update or complete, or group by a window of event time"))
        }
        (Span::Event(_) | Span::Sessions(_), Some(OutputMode::Append)) if !has_watermark => {
            let message = "append gives windows once they are final, and without a watermark they never are";
            Err(Error::invalid_query(message).advice("say how late rows may come, with with_watermark, or use update"))
        }
        (Span::Rows(_), Some(OutputMode::Update | OutputMode::Complete)) => {
            let message = "a window by the number of rows comes once, when it has them all";
            Err(Error::invalid_query(message).advice("leave the output mode out"))
        }
        (Span::Rows(_), None) => Ok(OutputMode::Append),
        (Span::Batches { .. }, Some(OutputMode::Append | OutputMode::Update)) => {
            let message = "a window over batches gives all its groups each time it slides";
            Err(Error::invalid_query(message).advice("leave the output mode out"))
        }
        (_, Some(mode)) => Ok(mode),
        (Span::Always, None) => Ok(OutputMode::Update),
        (Span::Batches { .. }, None) => Ok(OutputMode::Complete),
        (Span::Event(_) | Span::Sessions(_), None) => {
            Ok(if has_watermark { OutputMode::Append } else { OutputMode::Update })
        }
    }
}

/// Whether it can be the name of a folder everywhere.
pub(super) fn can_name_operator(name: &str) -> bool {
    let is_plain = |letter: char| letter.is_alphanumeric() || letter == '-' || letter == '_';
    !name.is_empty() && name.chars().all(is_plain)
}

/// The name that was given, or one made of its kind and its place among them.
pub(super) fn operator_name(name: Option<&str>, kind: &str, given: &mut Given) -> Result<String> {
    let numbered = |number: usize| format!("{kind}-{number}");
    let name = match name {
        Some(name) => name.to_owned(),
        None => (1..).map(numbered).find(|name| !given.operators.contains(name)).unwrap_or_default(),
    };
    if !can_name_operator(&name) {
        let message = format!("\"{name}\" cannot be the name of what keeps state: it becomes a folder");
        return Err(Error::invalid_query(message).advice("use letters, digits, - and _"));
    }
    if !given.operators.insert(name.clone()) {
        let message = format!("two operators that keep state are called \"{name}\"");
        return Err(Error::invalid_query(message).advice("give each a name of its own"));
    }
    Ok(name)
}
