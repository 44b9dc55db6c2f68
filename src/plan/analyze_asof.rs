//! Names and types of a join by time with a static table.

use std::sync::Arc;

use super::analyze::{Node, Op, index_of, joinable, unique};
use super::analyze_streams::{finer, unit_of};
use super::asof::AsofJoin;
use super::keep::nanos_of;
use super::logical::JoinAsofDescribed;
use crate::columnar::Schema;
use crate::error::{Error, Result};
use crate::expr::col;

pub(super) fn join_asof(input: Arc<Node>, described: &JoinAsofDescribed) -> Result<Node> {
    let JoinAsofDescribed { table, name, schema: right, on, times, strategy, tolerance, .. } = described;
    let of_table = |error: Error| error.context(format!("table \"{name}\""));
    let (mut left_keys, mut right_keys) = (Vec::new(), Vec::new());
    for (left_name, right_name) in on {
        let (of_left, of_right) = (index_of(&input.schema, left_name)?, index_of(right, right_name).map_err(of_table)?);
        let (left_type, right_type) = (input.schema.field(of_left).data_type(), right.field(of_right).data_type());
        if !joinable(left_type, right_type) {
            let message = format!(
                "column \"{left_name}\" is {left_type}, but \"{right_name}\" of table \"{name}\" is {right_type}"
            );
            return Err(Error::invalid_query(message).advice("cast one of them to the type of the other"));
        }
        left_keys.push(of_left);
        right_keys.push(of_right);
    }
    let unit = finer(unit_of(&input.schema, &times.0)?, unit_of(right, &times.1).map_err(of_table)?);
    let tolerance = tolerance.map(|span| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX));
    if tolerance.is_some_and(|span| span % nanos_of(unit) != 0) {
        let message = "the tolerance between times is finer than the times";
        return Err(Error::invalid_query(message).advice("cast the times to timestamps of a finer unit"));
    }
    let mut fields = input.schema.fields().to_vec();
    let mut right_columns = Vec::new();
    // What is equal stands there once; the time of the table's row is another one, unless it has the same name.
    let is_added = |index: usize, name: &str| !(right_keys.contains(&index) || name == times.1 && times.0 == times.1);
    for (index, field) in right.fields().iter().enumerate().filter(|(index, field)| is_added(*index, field.name())) {
        right_columns.push(index);
        fields.push(Arc::new(field.as_ref().clone().with_nullable(true)));
    }
    unique(fields.iter().map(|field| field.name().as_str()))?;
    let schema = Arc::new(Schema::new(fields));
    let join = AsofJoin {
        table: *table,
        left_time: col(times.0.as_str()).epoch(unit).typed(&input.schema)?,
        right_time: col(times.1.as_str()).epoch(unit).typed(right)?,
        left_keys,
        right_keys,
        strategy: *strategy,
        tolerance: tolerance.map(|span| span / nanos_of(unit)),
        right_columns,
        schema: Arc::clone(&schema),
    };
    Ok(Node { op: Op::JoinAsof { input, join, name: name.clone() }, schema })
}
