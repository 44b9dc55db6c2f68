//! Names and types of the operators that keep state and are no keyed reduce: functions with a memory, and rows that come
//! once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::analyze::{Given, Node, Op, column, comparable, field, index_of, named, plain_key, project, unique};
use super::analyze_keep::{operator_name, watermarks_of};
use super::keep::{OutputMode, Watermark};
use super::logical::{MapStateDescribed, Remember};
use super::operator::{DropDuplicates, MapState, Memory};
use crate::columnar::{DataType, Schema};
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
    // A value may have the name of a key, or of another value: the function sees places, not names.
    let numbered = |(place, expr): (usize, Expr)| expr.alias(format!("value {}", place + 1));
    let values = values.into_iter().enumerate().map(numbered);
    let both = keys.iter().cloned().chain(values).collect::<Vec<_>>();
    let projected = Arc::new(project(Arc::clone(&input), named(&both, &input.schema)?));
    let names = projected.schema.fields().iter().take(keys.len()).map(|field| col(field.name().as_str()));
    let keys = named(&names.collect::<Vec<_>>(), &projected.schema)?;
    keys.iter().try_for_each(plain_key)?;
    let mut fields = keys.iter().map(|key| field(&key.name, &key.expr)).collect::<Vec<_>>();
    fields.extend(described.gives.iter().cloned());
    unique(fields.iter().map(|field| field.name().as_str()))?;
    let map = MapState {
        name: operator_name(name.as_deref(), "state", given)?,
        keys,
        function: *function,
        state_type: state_type.clone(),
        ttl: *ttl,
        mode,
        watermarks,
    };
    Ok(Node { op: Op::MapState { input: projected, map }, schema: Arc::new(Schema::new(fields)) })
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
    let columns = comparable(&input.schema, columns)?.into_iter().map(|index| column(&input.schema, index)).collect();
    let (memory, watermarks) = match remember {
        Remember::Always => (Memory::Always, Vec::new()),
        Remember::Batches(ttl) => {
            check_ttl(Some(ttl))?;
            (Memory::Batches(ttl), Vec::new())
        }
        Remember::WithinWatermark => (within_watermark(&input)?, watermarks_of(&input)),
    };
    let name = operator_name(name, "duplicates", given)?;
    let schema = Arc::clone(&input.schema);
    Ok(Node { op: Op::DropDuplicates { input, drop: DropDuplicates { name, columns, memory, watermarks } }, schema })
}

/// The time of the watermark, which the rows must still have.
fn within_watermark(input: &Arc<Node>) -> Result<Memory> {
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
    Ok(Memory::Watermark { time: column(&input.schema, index), unit: *unit, delay })
}

fn watermark_nodes<'a>(node: &'a Node, found: &mut Vec<&'a Watermark>) {
    if let Op::Watermark { watermark, .. } = &node.op {
        found.push(watermark);
    }
    node.inputs().into_iter().for_each(|input| watermark_nodes(input, found));
}
