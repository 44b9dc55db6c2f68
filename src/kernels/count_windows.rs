//! Keyed reduce over windows by the number of rows: every so many rows of a key, the last so many of them.
//!
//! What is kept is that of [`super::keep`]; this is what differs.
//!
//! # Contract
//! 1. The rows of a key are counted from 1 in the order of rows: of batches, of partitions in a batch, of rows in a
//!    partition. At each multiple of the slide a window comes out, which holds the latest rows of the key: as many as the
//!    size, or all while there are fewer. It comes in the batch of its last row, and never again. *(tested)*
//! 2. Windows come in the order of their last rows. *(tested)*
//! 3. `first`, `last`, `concat` and ordered sums see the rows of a window in their order; ordered sums put it together from
//!    pieces as long as the greatest common divisor of size and slide. *(tested)*

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{BooleanArray, Int64Array};
use arrow_select::concat::concat_batches;

use super::group_ids;
use super::keep::{Moment, chosen, fields, under};
use super::reduce::{self, ReduceInput};
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::Result;
use crate::plan::keep::{Keep, RowWindows};

/// The answer to the last of several batches, by the book: all rows are counted anew.
///
/// # Errors
/// Overflow of a total.
pub fn reference(
    keep: &Keep,
    windows: &RowWindows,
    schema: &SchemaRef,
    history: &[(ReduceInput, Moment)],
) -> Result<RecordBatch> {
    let place = keep.keys.len() - 1;
    let mut numbers = group_ids::Reference::default();
    let mut rows_of: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    let mut given = Vec::new();
    for (batch, (input, _)) in history.iter().enumerate() {
        given.clear();
        for (row, key) in numbers.assign(&input.keys[..place], input.rows)?.into_iter().enumerate() {
            let rows = rows_of.entry(key).or_default();
            rows.push((batch, row));
            if (rows.len() as u64).is_multiple_of(windows.slide) {
                let size = usize::try_from(windows.size).unwrap_or(usize::MAX);
                given.push(rows[rows.len().saturating_sub(size)..].to_vec());
            }
        }
    }
    let answers = given.iter().map(|rows| {
        let inputs = rows.iter().map(|&(batch, row)| single(&history[batch].0, row)).collect::<Result<Vec<_>>>()?;
        let window = reduce::reference(&fields(keep), &keep.aggregates, &inputs)?;
        let mut columns = window.columns().to_vec();
        columns.remove(place);
        under(schema, columns, 1)
    });
    Ok(concat_batches(schema, &answers.collect::<Result<Vec<_>>>()?)?)
}

/// One row, whatever its pane.
fn single(input: &ReduceInput, row: usize) -> Result<ReduceInput> {
    let mut one = chosen(input, &(0..input.rows).map(|other| Some(other == row)).collect::<BooleanArray>())?;
    if let Some(pane) = one.keys.last_mut() {
        *pane = Arc::new(Int64Array::from(vec![0]));
    }
    Ok(one)
}
