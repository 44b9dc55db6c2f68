//! Names and types of the operators that keep state and are no keyed reduce: functions with a memory, and rows that come
//! once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::analyze::{Given, Node, Op, column, comparable, field, index_of, named, plain_key, project, unique};
use super::analyze_keep::{PANE, can_name_operator, operator_name, panes, watermarks_of};
use super::initial;
use super::keep::{OutputMode, Watermark};
use super::logical::{FoldWindowsDescribed, MapStateDescribed, Remember};
use super::operator::columns;
use super::operator::{DropDuplicates, FoldWindows, MapState, Memory};
use super::rules::RuleLabel;
use super::stage::NamedExpr;
use crate::columnar::{DataType, Schema, TimeUnit};
use crate::error::{Error, Result};
use crate::expr::{Expr, col};

pub(super) fn map_state(input: Arc<Node>, described: &MapStateDescribed, given: &mut Given) -> Result<Node> {
    let MapStateDescribed { name, function, state_type, ttl, mode, shows_all, .. } = described;
    let keys = cast(&described.keys, &described.key_types, "key")?;
    let values = cast(&described.values, &described.value_types, "value")?;
    check_ttl(*ttl)?;
    let mode = match mode {
        Some(OutputMode::Append) => {
            let message = "append gives what is final, and what a function remembers never is";
            return Err(Error::invalid_query(message).advice("leave the output mode out"));
        }
        Some(OutputMode::Complete) if !shows_all => {
            let message = "complete gives all that is remembered, and this function gives rows of its own";
            return Err(Error::invalid_query(message).advice("leave the output mode out, or use update_state_by_key"));
        }
        mode => mode.unwrap_or(OutputMode::Update),
    };
    let watermarks = watermarks_of(&input);
    let (projected, keys) = keyed(&input, &keys, values)?;
    let mut fields = keys.iter().map(|key| field(&key.name, &key.expr)).collect::<Vec<_>>();
    let initial = described.initial.as_ref();
    let initial =
        initial.map(|one| initial::of_function(one, &fields, &described.key_types, state_type)).transpose()?;
    fields.extend(described.gives.iter().cloned());
    unique(fields.iter().map(|field| field.name().as_str()))?;
    let map = MapState {
        name: operator_name(name.as_deref(), "state", given)?,
        keys,
        function: *function,
        state_type: state_type.clone(),
        ttl: *ttl,
        initial,
        mode,
        watermarks,
    };
    Ok(Node { op: Op::MapState { input: projected, map }, schema: Arc::new(Schema::new(fields)) })
}

/// A projection of keys and values, and its keys.
fn keyed(input: &Arc<Node>, keys: &[Expr], values: Vec<Expr>) -> Result<(Arc<Node>, Vec<NamedExpr>)> {
    // A value may have the name of a key, or of another value: the function sees places, not names.
    let numbered = |(place, expr): (usize, Expr)| expr.alias(format!("value {}", place + 1));
    let values = values.into_iter().enumerate().map(numbered);
    let both = keys.iter().cloned().chain(values).collect::<Vec<_>>();
    let projected = Arc::new(project(Arc::clone(input), named(&both, &input.schema)?));
    let names = projected.schema.fields().iter().take(keys.len()).map(|field| col(field.name().as_str()));
    let keys = named(&names.collect::<Vec<_>>(), &projected.schema)?;
    keys.iter().try_for_each(plain_key)?;
    Ok((projected, keys))
}

pub(super) fn fold_windows(input: Arc<Node>, described: &FoldWindowsDescribed, given: &mut Given) -> Result<Node> {
    let FoldWindowsDescribed { function, value_type, size, slide, has_inverse, .. } = described;
    if let Some(refused) = described.refused {
        let error = Error::invalid_query(format!(
            "{refused} means nothing here: a window gives all its keys each time it slides"
        ));
        return Err(error.advice("leave it out"));
    }
    if size.as_micros() == 0 || slide.is_some_and(|slide| slide.is_zero()) {
        return Err(Error::invalid_query("a window is longer than nothing, and so is its slide"));
    }
    if described.keys.iter().any(Expr::is_window) {
        let error = Error::invalid_query("a window of event time among the keys says already which rows count");
        return Err(error.advice("take the window out of the keys, or use aggregate"));
    }
    let types = described.gives.iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
    let values = cast(&described.values, &types, "value")?;
    let (projected, keys) = keyed(&input, &described.keys, values)?;
    if let Some(asks) = &described.asks {
        if !has_inverse {
            let error = Error::invalid_query("without an inverse, keys are let go of when their rows have left");
            return Err(error.advice("leave keep_if out, and filter what comes out"));
        }
        let can_be = |(key, to): (&NamedExpr, &DataType)| arrow_cast::can_cast_types(&key.expr.data_type, to);
        if asks.len() != keys.len() || !keys.iter().zip(asks).all(can_be) {
            let message = format!("keep_if takes keys of the types {asks:?}, but the keys are [{}]", columns(&keys));
            return Err(Error::invalid_query(message).advice("take a tuple of as many, or () for none"));
        }
    }
    let mut fields = keys.iter().map(|key| field(&key.name, &key.expr)).collect::<Vec<_>>();
    fields.extend(described.gives.iter().cloned());
    unique(fields.iter().map(|field| field.name().as_str()))?;
    let fold = FoldWindows {
        name: operator_name(described.name.as_deref(), "batches", given)?,
        keys,
        function: *function,
        value_type: value_type.clone(),
        size: *size,
        slide: *slide,
        has_inverse: *has_inverse,
    };
    Ok(Node { op: Op::FoldWindows { input: projected, fold }, schema: Arc::new(Schema::new(fields)) })
}

/// The expressions in the types in which the function takes them.
fn cast(exprs: &[Expr], types: &[DataType], what: &str) -> Result<Vec<Expr>> {
    if exprs.len() != types.len() {
        let (given, taken) = (exprs.len(), types.len());
        let message = format!("there are {given} expressions for the {what}, but the function takes {taken}");
        return Err(Error::invalid_query(message).advice("take a tuple of as many, or () for none"));
    }
    let one = |(expr, data_type): (&Expr, &DataType)| expr.clone().cast(data_type.clone()).alias(expr.output_name());
    Ok(exprs.iter().zip(types).map(one).collect())
}

pub(super) fn check_ttl(ttl: Option<Duration>) -> Result<()> {
    match ttl {
        Some(ttl) if ttl.as_micros() == 0 => Err(Error::invalid_query("what is kept for no time cannot be kept")
            .advice("give a ttl of a microsecond or more")),
        _ => Ok(()),
    }
}

pub(super) fn drop_duplicates(
    input: Arc<Node>,
    name: Option<&str>,
    columns: &[String],
    remember: Remember,
    given: &mut Given,
) -> Result<Node> {
    let name = operator_name(name, "duplicates", given)?;
    rows_seen(input, name, columns, remember, None)
}

/// The rows that come once, of a rule: the others go the way of its verdict. A checkpoint calls it by the name of the rule,
/// if that was given and can be a folder's.
pub(super) fn unique_rule(
    input: Arc<Node>,
    name: Option<&str>,
    (columns, remember): (&[String], Remember),
    rule: &RuleLabel,
    given: &mut Given,
) -> Result<Node> {
    let name = operator_name(name.filter(|name| can_name_operator(name)), "unique", given)?;
    rows_seen(input, name, columns, remember, Some(rule.clone()))
}

fn rows_seen(
    input: Arc<Node>,
    name: String,
    columns: &[String],
    remember: Remember,
    rule: Option<RuleLabel>,
) -> Result<Node> {
    let columns = comparable(&input.schema, columns)?.into_iter().map(|index| column(&input.schema, index)).collect();
    let (memory, watermarks) = match remember {
        Remember::Always => (Memory::Always, Vec::new()),
        Remember::Batches(ttl) => {
            check_ttl(Some(ttl))?;
            (Memory::Batches(ttl), Vec::new())
        }
        Remember::WithinWatermark => {
            let (time, unit, delay) = time_of_watermark(&input)?;
            (Memory::Watermark { time, unit, delay }, watermarks_of(&input))
        }
        Remember::Window(size) => {
            let (time, ..) = time_of_watermark(&input)?;
            let size = i64::try_from(size.as_nanos()).map_err(|_| {
                Error::invalid_query(format!("a window of {size:?} is too long")).advice("give at most 292 years")
            })?;
            let (windows, pane) = panes(&col(time.name.as_str()), size, size, &input.schema)?;
            (Memory::Window { pane: NamedExpr { name: PANE.to_owned(), expr: pane }, windows }, watermarks_of(&input))
        }
    };
    let schema = Arc::clone(&input.schema);
    let drop = DropDuplicates { name, columns, memory, rule, watermarks };
    Ok(Node { op: Op::DropDuplicates { input, drop }, schema })
}

/// The time of the watermark, which the rows must still have, its unit, and the delay.
fn time_of_watermark(input: &Arc<Node>) -> Result<(NamedExpr, TimeUnit, Duration)> {
    let wanted: BTreeSet<_> = watermarks_of(input).into_iter().collect();
    let mut found = Vec::new();
    watermark_nodes(input, &mut found);
    found.retain(|watermark| wanted.contains(&watermark.id));
    let Some(first) = found.first() else {
        let error = Error::invalid_query("without a watermark rows would be remembered for good");
        return Err(error.advice("say how late rows may come, with with_watermark, or use drop_duplicates"));
    };
    if let Some(other) = found.iter().find(|other| other.column != first.column) {
        let message = format!("the streams have their times in columns \"{}\" and \"{}\"", first.column, other.column);
        return Err(Error::invalid_query(message).advice("give both the same name before their watermarks"));
    }
    let index = index_of(&input.schema, &first.column)?;
    let DataType::Timestamp(unit, _) = input.schema.field(index).data_type() else {
        let message = format!("column \"{}\" is not the time of the watermark any more", first.column);
        return Err(Error::invalid_query(message).advice("keep the column as it is up to here"));
    };
    let delay = found.iter().map(|watermark| watermark.delay).max().unwrap_or_default();
    Ok((column(&input.schema, index), *unit, delay))
}

fn watermark_nodes<'a>(node: &'a Node, found: &mut Vec<&'a Watermark>) {
    if let Op::Watermark { watermark, .. } = &node.op {
        found.push(watermark);
    }
    node.inputs().into_iter().for_each(|input| watermark_nodes(input, found));
}
