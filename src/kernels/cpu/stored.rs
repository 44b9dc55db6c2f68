//! The CPU twin of [`crate::kernels::stored`]: what a stage holds at its end as columns, and back.
//!
//! Groups have columns of their own (`reduce::stored`). Rows are stored as they are; sorted ones get their keys
//! computed again, and those that a function of the user's made keep the keys of their groups beside them.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatchOptions};
use arrow_schema::{Field, Schema};
use arrow_select::concat::concat_batches;

use super::reduce::reduce_with::{Folded, ReduceWith};
use super::sort::{Keyed, merge_keyed};
use super::stage::{CpuStage, Ending, Held, held};
use super::step::evaluate;
use crate::columnar::{DataType, RecordBatch, SchemaRef};
use crate::error::Result;
use crate::kernels::stored::{check, stamped};
use crate::kernels::{Partial, PreparedStage};

/// One batch of what the partials of a stage hold.
pub(super) fn store(stage: &CpuStage, partials: Vec<Partial>) -> Result<RecordBatch> {
    let schema = &stage.end_schema;
    match stage.end.as_ref() {
        Ending::Reduce { reduce, .. } => match stage.combined(partials)? {
            Some(mut all) => all.groups()?.store(),
            None => reduce.begin()?.store(),
        },
        Ending::Sort { options, limit, .. } => {
            let runs = held(partials, |held| if let Held::Run(run) = held { Some(run) } else { None })?;
            with_columns(schema, Vec::new(), &merge_keyed(schema, runs, options, *limit)?.batch)
        }
        Ending::ReduceWith { key_types, name, call, .. } => {
            let parts = held(partials, |held| if let Held::Folded(rows) = held { Some(rows) } else { None })?;
            let mut all = ReduceWith::new(name, Arc::clone(call), key_types, Arc::clone(schema))?;
            parts.iter().try_for_each(|part| all.push_folded(part))?;
            let Folded { keys, rows } = all.finish(false)?;
            with_columns(schema, key_fields(key_types).zip(keys).collect(), &rows)
        }
        Ending::Emit
        | Ending::Limit(_)
        | Ending::Distinct(_)
        | Ending::Repartition(_)
        | Ending::Transform(_)
        | Ending::CountWindows(..)
        | Ending::MapState(..)
        | Ending::FoldWindows(..)
        | Ending::DropDuplicates(..)
        | Ending::JoinStreams(..) => {
            let all = stage.combine(partials)?.into_iter().map(Partial::into_rows).collect::<Result<Vec<_>>>()?;
            with_columns(schema, Vec::new(), &concat_batches(schema, all.iter().flatten())?)
        }
    }
}

/// What [`store`] stored.
pub(super) fn restore(stage: &CpuStage, batch: &RecordBatch) -> Result<Partial> {
    let held = match stage.end.as_ref() {
        Ending::Reduce { reduce, .. } => return Ok(stage.partial_of(reduce.restore(batch)?)),
        Ending::Sort { keys, .. } => {
            let batch = rows(&stage.end_schema, batch)?;
            Held::Run(Keyed { keys: evaluate(keys, &batch)?, batch })
        }
        Ending::ReduceWith { key_types, .. } => {
            let fields = key_fields(key_types).map(Arc::new).chain(stage.end_schema.fields().iter().cloned());
            check(batch, &Schema::new(fields.collect::<Vec<_>>()))?;
            let (keys, columns) = batch.columns().split_at(key_types.len());
            Held::Folded(Folded { keys: keys.to_vec(), rows: under(&stage.end_schema, columns, batch.num_rows())? })
        }
        Ending::Emit
        | Ending::Limit(_)
        | Ending::Distinct(_)
        | Ending::Repartition(_)
        | Ending::Transform(_)
        | Ending::CountWindows(..)
        | Ending::MapState(..)
        | Ending::FoldWindows(..)
        | Ending::DropDuplicates(..)
        | Ending::JoinStreams(..) => {
            return Ok(Partial::Rows(vec![rows(&stage.end_schema, batch)?]));
        }
    };
    Ok(Partial::Groups(Box::new(held)))
}

/// Rows that are stored as they are.
pub(super) fn rows(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    check(batch, schema)?;
    under(schema, batch.columns(), batch.num_rows())
}

fn under(schema: &SchemaRef, columns: &[ArrayRef], rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns.to_vec(), &options)?)
}

/// The keys that rows are stored beside.
fn key_fields(types: &[DataType]) -> impl Iterator<Item = Field> {
    types.iter().enumerate().map(|(place, data_type)| Field::new(format!("key {place}"), data_type.clone(), true))
}

/// Rows under the schema of what is stored, with columns before them.
fn with_columns(schema: &Schema, before: Vec<(Field, ArrayRef)>, rows: &RecordBatch) -> Result<RecordBatch> {
    let (fields, mut columns): (Vec<_>, Vec<_>) = before.into_iter().map(|(field, key)| (Arc::new(field), key)).unzip();
    let fields: Vec<_> = fields.into_iter().chain(schema.fields().iter().cloned()).collect();
    columns.extend_from_slice(rows.columns());
    under(&stamped(Schema::new(fields)), &columns, rows.num_rows())
}
