//! A row for each item of a list: one pass over the offsets, then one `take` for each other column.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, OffsetSizeTrait, UInt32Array};
use arrow_select::take::take;

use crate::columnar::{DataType, RecordBatch, SchemaRef};
use crate::error::{Error, Result};
use crate::kernels::row_number;

/// The contract of [`crate::kernels::explode`].
///
/// # Errors
/// `Internal` if the column is not a list, `Unsupported` for more rows than can be numbered.
pub fn explode(batch: &RecordBatch, column: usize, schema: &SchemaRef) -> Result<RecordBatch> {
    let lists = batch.column(column);
    let (items, rows) = match lists.data_type() {
        DataType::List(_) => exploded::<i32>(lists)?,
        DataType::LargeList(_) => exploded::<i64>(lists)?,
        other => return Err(Error::internal(format!("a column of type {other} was to be exploded"))),
    };
    let columns =
        batch.columns().iter().enumerate().map(|(index, values)| {
            if index == column { Ok(Arc::clone(&items)) } else { Ok(take(values, &rows, None)?) }
        });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<_>>()?)?)
}

/// All items in order, and the row each comes from.
fn exploded<Offset: OffsetSizeTrait>(lists: &dyn Array) -> Result<(ArrayRef, UInt32Array)> {
    let lists = lists.as_list::<Offset>();
    let offsets = lists.value_offsets();
    let (first, last) = (offsets[0].as_usize(), offsets[lists.len()].as_usize());
    row_number(last - first)?;
    row_number(lists.len())?;
    let mut rows: Vec<u32> = Vec::with_capacity(last - first);
    let mut hidden = false;
    for (row, bounds) in (0u32..).zip(offsets.windows(2)) {
        let length = (bounds[1] - bounds[0]).as_usize();
        if lists.is_null(row as usize) {
            hidden |= length > 0;
        } else {
            rows.extend(std::iter::repeat_n(row, length));
        }
    }
    let values = lists.values().slice(first, last - first);
    let items = if hidden { take(&values, &shown_items(lists, rows.len())?, None)? } else { values };
    Ok((items, UInt32Array::from(rows)))
}

/// Where the items of rows that are not null lie: Arrow allows a null row to cover items.
fn shown_items<Offset: OffsetSizeTrait>(
    lists: &arrow_array::GenericListArray<Offset>,
    length: usize,
) -> Result<UInt32Array> {
    let offsets = lists.value_offsets();
    let mut items = Vec::with_capacity(length);
    for row in (0..lists.len()).filter(|&row| lists.is_valid(row)) {
        let from = row_number((offsets[row] - offsets[0]).as_usize())?;
        let to = row_number((offsets[row + 1] - offsets[0]).as_usize())?;
        items.extend(from..to);
    }
    Ok(UInt32Array::from(items))
}
