//! What an operator that keeps state begins with: rows of a static table, or keyed pairs. Names and types are resolved here;
//! values are looked at when the query starts, and taken in with its first batch.
//!
//! A query that goes on from a checkpoint has what it kept, and never takes these in a second time.

use serde::{Deserialize, Serialize};

use super::analyze::{index_of, joinable};
use super::stage::TableId;
use crate::columnar::{DataType, Field, SchemaRef};
use crate::error::{Error, Result};
use crate::expr::{AggregateFunction, TypedAggregate};

/// What state begins with, as it was said.
#[derive(Debug, Clone)]
pub struct InitialState {
    /// The table.
    pub table: TableId,
    /// Its name.
    pub name: String,
    /// Its schema.
    pub schema: SchemaRef,
    /// Of keyed pairs, the Rust type of the states: the table then has the keys in order, and a column of their bytes.
    pub state_type: Option<String>,
}

/// What state begins with, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Initial {
    /// The table.
    pub table: TableId,
    /// Its columns, by index: those of the keys, then those of the state.
    pub columns: Vec<usize>,
    /// Whether there is one column of state, with bytes as a function of the user's left them.
    pub is_stored: bool,
}

/// What aggregates begin with: a column for each key and for each aggregate, by their names.
pub(super) fn of_aggregates(initial: &InitialState, keys: &[Field], aggregates: &[TypedAggregate]) -> Result<Initial> {
    if initial.state_type.is_some() {
        let error =
            Error::invalid_query("pairs of keys and states are for functions that remember, not for aggregates");
        return Err(error.advice("give a table with a column for each key and each aggregate"));
    }
    if let Some(other) = aggregates.iter().find(|one| !begins(&one.function)) {
        let message =
            format!("\"{}\" cannot begin with an answer: {} keeps more than that", other.name, other.function.name());
        return Err(Error::invalid_query(message)
            .advice("keep what it is made of, such as sums and counts, and compute it from these"));
    }
    let answers = aggregates.iter().map(TypedAggregate::field);
    let columns = keys.iter().cloned().chain(answers).map(|field| column(initial, &field)).collect::<Result<_>>()?;
    Ok(Initial { table: initial.table, columns, is_stored: false })
}

/// What a function begins with: a column for each key by its name, and all others; or keyed pairs.
pub(super) fn of_function(
    initial: &InitialState,
    keys: &[Field],
    key_types: &[DataType],
    state_type: &str,
) -> Result<Initial> {
    let all = 0..initial.schema.fields().len();
    if let Some(given) = &initial.state_type {
        if given != state_type {
            let message = format!("the pairs hold states of type {given}, and the function remembers {state_type}");
            return Err(Error::invalid_query(message).advice("give pairs of the type that the function takes"));
        }
        let types = initial.schema.fields().iter().map(|field| field.data_type()).take(key_types.len());
        if all.len() != key_types.len() + 1 || !types.eq(key_types) {
            let message = format!("the keys of the pairs are not of the types that the function takes: {key_types:?}");
            return Err(
                Error::invalid_query(message).advice("give pairs with keys of the type that the function takes")
            );
        }
        return Ok(Initial { table: initial.table, columns: all.collect(), is_stored: true });
    }
    let mut columns = keys.iter().map(|key| column(initial, key)).collect::<Result<Vec<_>>>()?;
    let others = all.filter(|index| !columns.contains(index)).collect::<Vec<_>>();
    if others.is_empty() {
        let message = format!("the table \"{}\" has the keys and nothing beside them to begin with", initial.name);
        return Err(Error::invalid_query(message).advice("add the columns that make up the state of a key"));
    }
    columns.extend(others);
    Ok(Initial { table: initial.table, columns, is_stored: false })
}

/// Whether the answer says all that is kept.
fn begins(function: &AggregateFunction) -> bool {
    match function {
        AggregateFunction::Len
        | AggregateFunction::Count
        | AggregateFunction::Sum
        | AggregateFunction::Min
        | AggregateFunction::Max
        | AggregateFunction::First
        | AggregateFunction::Last
        | AggregateFunction::Any
        | AggregateFunction::All => true,
        AggregateFunction::Mean
        | AggregateFunction::OrderedSum
        | AggregateFunction::OrderedMean
        | AggregateFunction::Variance(_)
        | AggregateFunction::StdDev(_)
        | AggregateFunction::OrderedVariance(_)
        | AggregateFunction::OrderedStdDev(_)
        | AggregateFunction::NUnique
        | AggregateFunction::Quantile(_)
        | AggregateFunction::Concat(_) => false,
    }
}

fn column(initial: &InitialState, wanted: &Field) -> Result<usize> {
    let InitialState { name, schema, .. } = initial;
    let index = index_of(schema, wanted.name())
        .map_err(|error| error.context(format!("in the initial state, table \"{name}\"")))?;
    let (found, wanted_type) = (schema.field(index).data_type(), wanted.data_type());
    if joinable(found, wanted_type) || found == wanted_type || (found.is_integer() && wanted_type.is_integer()) {
        return Ok(index);
    }
    let message = format!(
        "in the initial state, column \"{}\" of table \"{name}\" is {found}, but the query has {wanted_type} there",
        wanted.name()
    );
    Err(Error::invalid_query(message).advice("give the table a schema with the types of the query"))
}
