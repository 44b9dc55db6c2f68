//! Each row beside the row of a static table that was there at its time.
//!
//! # Contract
//! 1. Every row of the stream comes out once, in order, beside at most one row of the table, or beside nulls. *(tested)*
//! 2. A row of the table can be taken if all keys are equal by value, none of them null, both times are there, and these
//!    are not further apart than the tolerance. *(tested)*
//! 3. Of those, ordered by time and then by their place in the table: `backward` takes the last one that is not later than
//!    the row, `forward` the first one that is not earlier, `nearest` the last one of the least distance. *(tested)*

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatchOptions, UInt32Array};
use arrow_select::take::take;

use super::join::{all_equal, keys};
use super::{project, row_number};
use crate::columnar::RecordBatch;
use crate::error::Result;
use crate::plan::asof::{AsofJoin, AsofStrategy};

/// The contract above: every row of the stream is compared with every row of the table.
///
/// # Errors
/// `Unsupported` for a key of a type that the engine does not take, `Overflow` for a time that has no number.
pub fn reference(join: &AsofJoin, table: &RecordBatch, batch: &RecordBatch) -> Result<RecordBatch> {
    let (left_times, right_times) =
        (project::reference(&join.left_time, batch)?, project::reference(&join.right_time, table)?);
    let (left_times, right_times) = (left_times.as_primitive::<Int64Type>(), right_times.as_primitive::<Int64Type>());
    let table_keys = (0..table.num_rows()).map(|row| keys(table, &join.right_keys, row)).collect::<Result<Vec<_>>>()?;
    let mut taken = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let key = keys(batch, &join.left_keys, row)?;
        let mut best: Option<(i128, i64, usize)> = None;
        for right in (0..table.num_rows()).filter(|&right| right_times.is_valid(right) && left_times.is_valid(row)) {
            let (left_time, right_time) = (left_times.value(row), right_times.value(right));
            let distance = i128::from(right_time) - i128::from(left_time);
            let is_on_side = match join.strategy {
                AsofStrategy::Backward => distance <= 0,
                AsofStrategy::Forward => distance >= 0,
                AsofStrategy::Nearest => true,
            };
            let is_close = join.tolerance.is_none_or(|tolerance| distance.abs() <= i128::from(tolerance));
            if !is_on_side || !is_close || !all_equal(&key, &table_keys[right]) {
                continue;
            }
            let this = (distance.abs(), right_time, right);
            let is_better = best.is_none_or(|best| match join.strategy {
                AsofStrategy::Forward => this < best,
                AsofStrategy::Backward | AsofStrategy::Nearest => {
                    this.0 < best.0 || this.0 == best.0 && (this.1, this.2) > (best.1, best.2)
                }
            });
            if is_better {
                best = Some(this);
            }
        }
        taken.push(best.map(|(_, _, right)| row_number(right)).transpose()?);
    }
    let taken = UInt32Array::from(taken);
    let from_table = join.right_columns.iter().map(|&index| Ok(take(table.column(index), &taken, None)?));
    let columns = batch.columns().iter().cloned().map(Ok).chain(from_table).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(&join.schema), columns, &options)?)
}
