//! Windows over the latest batches, whose values a function of the user's makes one of, two by two.
//!
//! # Contract
//! 1. A window holds the rows of the batches whose time is later than the present one's less its size. Each time it slides,
//!    one row comes out for each key: the key, and all of its values together, the earlier before the later. *(tested)*
//! 2. Of a function without an inverse: keys that have a value in the window, in the order of the batches of their first
//!    values, and of one batch in that of their first rows there, whatever these hold. *(tested)*
//! 3. Of one with an inverse, also keys whose values have all left, before the others, in the order in which they are held
//!    since; but keys that the user lets go of are forgotten with all their values. *(tested)*
//! 4. What is called follows from the values, their order and the times of batches: not from partitions, nor from whether
//!    the state has been stored and restored in between. *(tested)*

use std::sync::Arc;

use arrow_array::{ArrayRef, UInt32Array};
use arrow_select::concat::concat_batches;
use arrow_select::take::take;

use super::group_ids;
use super::keep::{Moment, has_slid, under};
use super::map_state::canonical_key;
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::Result;
use crate::plan::fold_function::FoldFunction;
use crate::plan::operator::FoldWindows;

/// The answer to the last of several batches, by the book, of a function without an inverse: all values that the window holds
/// are put together anew. The rows are those that reach the function, keys first.
///
/// # Errors
/// What the function says.
pub fn reference(
    fold: &FoldWindows,
    function: &dyn FoldFunction,
    schemas: (&SchemaRef, &SchemaRef),
    history: &[(RecordBatch, Moment)],
) -> Result<RecordBatch> {
    let nothing = || Ok(RecordBatch::new_empty(Arc::clone(schemas.1)));
    let Some((_, now)) = history.last() else { return nothing() };
    if !fold.slide.is_none_or(|slide| has_slid(now, slide)) {
        return nothing();
    }
    let inside = history.iter().filter(|(_, moment)| moment.time + fold.size > now.time).map(|(rows, _)| rows);
    let rows = concat_batches(schemas.0, inside.clone())?;
    let mut starts = vec![0];
    inside.for_each(|batch| starts.extend(starts.last().map(|start| start + batch.num_rows())));
    let (keys, values) = rows.columns().split_at(fold.keys.len());
    let mut numbers = group_ids::Reference::default();
    let ids = numbers.assign(keys, rows.num_rows())?;
    let mut answers = Vec::new();
    for key in 0..ids.iter().max().map_or(0, |last| last + 1) {
        let mine = (0_u32..).zip(&ids).filter(|(_, id)| **id == key).map(|(row, _)| row).collect::<Vec<_>>();
        // The batch of the first value says where the key stands, and there its first row.
        let first = mine.iter().position(|&row| {
            let one = values.iter().map(|column| column.slice(row as usize, 1)).collect::<Vec<_>>();
            function.fold(&one, &[1]).is_ok_and(|folded| !folded.keys.is_empty())
        });
        let Some(first) = first else { continue };
        let start = starts.iter().rfind(|start| **start <= mine[first] as usize).copied().unwrap_or(0);
        let first = mine.iter().position(|&row| row as usize >= start).unwrap_or(first);
        let taken = |column: &ArrayRef, rows: &[u32]| take(column, &UInt32Array::from(rows.to_vec()), None);
        let all = values.iter().map(|column| taken(column, &mine)).collect::<Result<Vec<_>, _>>()?;
        let mut columns = if keys.is_empty() { Vec::new() } else { canonical_key(&numbers.keys[key], &fold.keys)? };
        columns.extend(function.fold(&all, &[mine.len()])?.columns);
        answers.push((mine[first], under(schemas.1, columns, 1)?));
    }
    answers.sort_by_key(|(first, _)| *first);
    Ok(concat_batches(schemas.1, answers.iter().map(|(_, row)| row))?)
}
