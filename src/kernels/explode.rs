//! A row for each item of a list.
//!
//! Rows keep their order, and the items of a row theirs. The other columns are repeated. A null list and an empty list
//! give no row; a null item gives a row with a null.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, UInt32Array, new_empty_array};
use arrow_select::concat::concat;
use arrow_select::take::take;

use super::row_number;
use crate::columnar::{ArrayRef, DataType, RecordBatch, SchemaRef};
use crate::error::{Error, Result};

/// The items of each row of a list column; none for null.
fn items(lists: &dyn Array, row: usize) -> Result<Option<ArrayRef>> {
    if lists.is_null(row) {
        return Ok(None);
    }
    match lists.data_type() {
        DataType::List(_) => Ok(Some(lists.as_list::<i32>().value(row))),
        DataType::LargeList(_) => Ok(Some(lists.as_list::<i64>().value(row))),
        other => Err(Error::internal(format!("a column of type {other} was to be exploded"))),
    }
}

/// The contract above, row by row. `schema` is the schema afterwards.
///
/// # Errors
/// `Internal` if the column is not a list.
pub fn reference(batch: &RecordBatch, column: usize, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut rows: Vec<u32> = Vec::new();
    let mut parts: Vec<ArrayRef> = vec![new_empty_array(schema.field(column).data_type())];
    for row in 0..batch.num_rows() {
        let Some(items) = items(batch.column(column), row)? else { continue };
        rows.extend(std::iter::repeat_n(row_number(row)?, items.len()));
        parts.push(items);
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let exploded = concat(&parts)?;
    let rows = UInt32Array::from(rows);
    let columns = batch.columns().iter().enumerate().map(|(index, values)| {
        if index == column { Ok(Arc::clone(&exploded)) } else { Ok(take(values, &rows, None)?) }
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_>>()?)?)
}
