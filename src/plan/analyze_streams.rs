//! Names and types of a join of two streams: both become one stream whose rows say which side they are of.

use std::sync::Arc;

use super::analyze::{Given, Node, Op, all_columns, field, index_of, joinable, plain_key, project, union, unique};
use super::analyze_keep::{operator_name, watermarks_of};
use super::keep::nanos_of;
use super::logical::JoinStreamsDescribed;
use super::operator::{self, JoinStreams, StreamJoinKind};
use super::stage::NamedExpr;
use crate::columnar::{DataType, Scalar, Schema, TimeUnit};
use crate::error::{Error, Result};
use crate::expr::{TypedExpr, col};

const SIDE: &str = "(side)";
const TIME: &str = "(time)";

pub(super) fn join_streams(
    left: &Arc<Node>,
    right: &Arc<Node>,
    described: &JoinStreamsDescribed,
    given: &mut Given,
) -> Result<Node> {
    let JoinStreamsDescribed { on, times, before, after, kind, takes_latest, .. } = described;
    if on.is_empty() {
        return Err(Error::invalid_query("there must be at least one column to join on"));
    }
    let mut pairs = Vec::new();
    for (left_name, right_name) in on {
        let (of_left, of_right) = (index_of(&left.schema, left_name)?, index_of(&right.schema, right_name)?);
        let (left_type, right_type) =
            (left.schema.field(of_left).data_type(), right.schema.field(of_right).data_type());
        if !joinable(left_type, right_type) {
            let message = format!("column \"{left_name}\" is {left_type}, but \"{right_name}\" is {right_type}");
            return Err(Error::invalid_query(message).advice("cast one of them to the type of the other"));
        }
        pairs.push((of_left, of_right));
    }
    let unit = finer(unit_of(&left.schema, &times.0)?, unit_of(&right.schema, &times.1)?);
    // Without a tolerance any distance will do.
    let spans = [*before, *after].map(|span| i64::try_from(span.as_nanos()).ok());
    if spans.iter().flatten().any(|span| span % nanos_of(unit) != 0) {
        let message = "the span between the times of matching rows is finer than the times";
        return Err(Error::invalid_query(message).advice("cast the times to timestamps of a finer unit"));
    }
    let watermarks = check_watermarks(left, right, *kind)?;
    if *takes_latest {
        check_latest(*kind, &watermarks)?;
    }

    let all = (all_columns(&left.schema), all_columns(&right.schema));
    let rest = |columns: &[NamedExpr], keys: &dyn Fn(usize) -> bool| -> Vec<NamedExpr> {
        (0..columns.len()).filter(|&index| !keys(index)).map(|index| columns[index].clone()).collect()
    };
    let left_rest = rest(&all.0, &|index| pairs.iter().any(|pair| pair.0 == index));
    let right_rest = rest(&all.1, &|index| pairs.iter().any(|pair| pair.1 == index));
    let names = all.0.iter().chain(&right_rest).map(|column| column.name.as_str());
    unique(names).map_err(|error| error.advice("rename columns of one stream first, with select or with_columns"))?;

    let nulls = |columns: &[NamedExpr]| {
        let null = |column: &NamedExpr| NamedExpr {
            name: column.name.clone(),
            expr: TypedExpr::literal(Scalar::Null, column.expr.data_type.clone()),
        };
        columns.iter().map(null).collect::<Vec<_>>()
    };
    let mut keys = pairs.iter().map(|pair| all.0[pair.0].clone()).collect::<Vec<_>>();
    keys.iter().try_for_each(plain_key)?;
    let right_keys = pairs.iter().zip(&keys).map(|(pair, key)| {
        let cast = col(all.1[pair.1].name.as_str()).cast(key.expr.data_type.clone()).typed(&right.schema)?;
        Ok(NamedExpr { name: key.name.clone(), expr: cast })
    });
    let right_keys = right_keys.collect::<Result<Vec<_>>>()?;
    let head = |node: &Node, is_right: bool, time: &str| -> Result<Vec<NamedExpr>> {
        let side = TypedExpr::literal(Scalar::Boolean(is_right), DataType::Boolean);
        let time = col(time).epoch(unit).typed(&node.schema)?;
        Ok(vec![NamedExpr { name: SIDE.to_owned(), expr: side }, NamedExpr { name: TIME.to_owned(), expr: time }])
    };
    let left_all = [head(left, false, &times.0)?, keys.clone(), left_rest.clone(), nulls(&right_rest)].concat();
    let right_all = [head(right, true, &times.1)?, right_keys, nulls(&left_rest), right_rest.clone()].concat();
    let both = [project(Arc::clone(left), left_all), project(Arc::clone(right), right_all)];
    let both = Arc::new(union(both.into_iter().map(Arc::new).collect())?);

    // From here on keys are columns of what has come together.
    for (place, key) in keys.iter_mut().enumerate() {
        let index = JoinStreams::KEYS_FROM + place;
        key.expr = TypedExpr::column(index, both.schema.field(index));
    }
    let join = JoinStreams {
        name: operator_name(described.name.as_deref(), "join", given)?,
        keys,
        columns: format!("{} | {}", operator::columns(&left_rest), operator::columns(&right_rest)),
        left: left_rest.len(),
        before: spans[0].map_or(i64::MAX, |span| span / nanos_of(unit)),
        after: spans[1].map_or(i64::MAX, |span| span / nanos_of(unit)),
        unit,
        kind: *kind,
        takes_latest: *takes_latest,
        watermarks,
    };
    let joined = joined_schema(&both.schema, &join);
    let node = Arc::new(Node { op: Op::JoinStreams { input: both, join }, schema: Arc::new(joined) });
    let wanted = all.0.iter().chain(&right_rest).map(|column| {
        let index = index_of(&node.schema, &column.name)?;
        Ok(NamedExpr { name: column.name.clone(), expr: TypedExpr::column(index, node.schema.field(index)) })
    });
    let wanted = wanted.collect::<Result<Vec<_>>>()?;
    Ok(project(node, wanted))
}

/// Keys and columns of both sides, with what can be null.
fn joined_schema(both: &Schema, join: &JoinStreams) -> Schema {
    let right_from = JoinStreams::KEYS_FROM + join.keys.len() + join.left;
    let fields = both.fields().iter().enumerate().skip(JoinStreams::KEYS_FROM);
    // The nulls of the other side have made all columns nullable already.
    let fields = fields.map(|(index, one)| {
        let is_key = index < JoinStreams::KEYS_FROM + join.keys.len();
        let is_right = index >= right_from;
        let nullable = one.is_nullable() || (!is_key && join.kind.gives_unmatched(!is_right));
        field(one.name(), &TypedExpr::column(index, &one.as_ref().clone().with_nullable(nullable)))
    });
    Schema::new(fields.collect::<Vec<_>>())
}

pub(super) fn unit_of(schema: &Schema, time: &str) -> Result<TimeUnit> {
    let index = index_of(schema, time)?;
    match schema.field(index).data_type() {
        DataType::Timestamp(unit, _) => Ok(*unit),
        other => {
            let message = format!("column \"{time}\" is {other}, not a timestamp");
            Err(Error::invalid_query(message).advice("cast it to a timestamp first, with with_columns"))
        }
    }
}

pub(super) fn finer(one: TimeUnit, other: TimeUnit) -> TimeUnit {
    if nanos_of(one) < nanos_of(other) { one } else { other }
}

/// Refuses what means nothing where each row of the left stream takes the latest of the right one.
fn check_latest(kind: StreamJoinKind, watermarks: &[super::keep::WatermarkId]) -> Result<()> {
    if !matches!(kind, StreamJoinKind::Inner | StreamJoinKind::Left) {
        let message = "an as-of join gives rows of the left stream alone: it is inner or left";
        return Err(Error::invalid_query(message));
    }
    if watermarks.is_empty() {
        let message = "without watermarks it is never known which row was the latest";
        return Err(
            Error::invalid_query(message).advice("say of both streams how late rows may come, with with_watermark")
        );
    }
    Ok(())
}

fn check_watermarks(left: &Node, right: &Node, kind: StreamJoinKind) -> Result<Vec<super::keep::WatermarkId>> {
    let (of_left, of_right) = (watermarks_of(left), watermarks_of(right));
    if of_left.is_empty() != of_right.is_empty() {
        let message = "one of the streams has no watermark: its rows may be of any time, and those of the other could not be forgotten";
        return Err(Error::invalid_query(message).advice("say of both how late rows may come, with with_watermark"));
    }
    if of_left.is_empty() && kind != StreamJoinKind::Inner {
        let message = "without watermarks it is never known that a row has no match";
        return Err(
            Error::invalid_query(message).advice("say of both streams how late rows may come, with with_watermark")
        );
    }
    let all: std::collections::BTreeSet<_> = of_left.into_iter().chain(of_right).collect();
    Ok(all.into_iter().collect())
}
