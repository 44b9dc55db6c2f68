//! Looking rows up in a static table.
//!
//! Rows of the stream come out in order, the matches of one row in the order of the table. Rows match if all their keys
//! are equal by value, whatever the Arrow layout (dictionary, view, large): NaN equals NaN, -0.0 equals 0.0, and null
//! equals nothing. Inner and left joins add columns of the table; semi and anti joins keep or drop rows of the stream.

use std::sync::Arc;

use arrow_array::{RecordBatchOptions, UInt32Array};
use arrow_select::take::take;

use super::row_number;
use crate::columnar::{RecordBatch, Scalar};
use crate::error::Result;
use crate::plan::stage::{Join, JoinKind};

/// The contract above: every row of the stream beside every row of the table.
///
/// # Errors
/// `Unsupported` for a key of a type that the engine does not take.
pub fn reference(join: &Join, table: &RecordBatch, batch: &RecordBatch) -> Result<RecordBatch> {
    let table_keys: Vec<Vec<Scalar>> =
        (0..table.num_rows()).map(|row| keys(table, &join.right_keys, row)).collect::<Result<_>>()?;
    let mut pairs: Vec<(u32, Option<u32>)> = Vec::new();
    for row in 0..batch.num_rows() {
        let left = row_number(row)?;
        let key = keys(batch, &join.left_keys, row)?;
        let matches: Vec<usize> = (0..table.num_rows()).filter(|&right| all_equal(&key, &table_keys[right])).collect();
        match join.kind {
            JoinKind::Inner | JoinKind::Left if !matches.is_empty() => {
                for right in matches {
                    pairs.push((left, Some(row_number(right)?)));
                }
            }
            JoinKind::Left => pairs.push((left, None)),
            JoinKind::Semi if !matches.is_empty() => pairs.push((left, None)),
            JoinKind::Anti if matches.is_empty() => pairs.push((left, None)),
            JoinKind::Inner | JoinKind::Semi | JoinKind::Anti => {}
        }
    }
    let left: UInt32Array = pairs.iter().map(|(left, _)| Some(*left)).collect();
    let right: UInt32Array = pairs.iter().map(|(_, right)| *right).collect();
    let from_batch = batch.columns().iter().map(|values| Ok(take(values, &left, None)?));
    let from_table = join.right_columns.iter().map(|&index| Ok(take(table.column(index), &right, None)?));
    let columns = from_batch.chain(from_table).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(pairs.len()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(&join.schema), columns, &options)?)
}

pub(super) fn keys(batch: &RecordBatch, columns: &[usize], row: usize) -> Result<Vec<Scalar>> {
    columns.iter().map(|&column| Scalar::from_array(batch.column(column), row)).collect()
}

pub(super) fn all_equal(left: &[Scalar], right: &[Scalar]) -> bool {
    left.iter().zip(right).all(|(left, right)| match (left, right) {
        (Scalar::Null, _) | (_, Scalar::Null) => false,
        (Scalar::Float64(left), Scalar::Float64(right)) => left == right || (left.is_nan() && right.is_nan()),
        (left, right) => left == right,
    })
}
