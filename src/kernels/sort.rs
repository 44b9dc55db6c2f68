//! Rows in order.
//!
//! Rows are ordered by the first key, equal ones by the second, and so on; rows that are equal in all keys stay in the
//! order they came. NaN is greater than every number, -0.0 equals 0.0, text goes by its bytes, false comes before true.
//! A key may be turned around (`descending`); nulls then still stand where `nulls_first` says. With a limit only the
//! first rows come out.
//!
//! The keys of a batch are arrays as long as the batch; whoever calls has evaluated them.

use std::cmp::Ordering;

use arrow_array::{ArrayRef, UInt32Array};
use arrow_schema::SortOptions;
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;

use super::row_number;
use crate::columnar::{RecordBatch, Scalar, SchemaRef};
use crate::error::Result;
use crate::plan::stage::SortKey;

/// How each key is ordered, as the kernels take it.
pub fn options(by: &[SortKey]) -> Vec<SortOptions> {
    by.iter().map(|key| SortOptions { descending: key.descending, nulls_first: key.nulls_first }).collect()
}

/// The contract above, by comparing rows value by value. `keys[i]` are those of `batches[i]`.
///
/// # Errors
/// `Unsupported` for a key of a type that the engine does not take.
pub fn reference(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    keys: &[Vec<ArrayRef>],
    options: &[SortOptions],
    limit: Option<usize>,
) -> Result<RecordBatch> {
    let mut rows: Vec<(Vec<Scalar>, u32)> = Vec::new();
    for (batch, keys) in batches.iter().zip(keys) {
        for row in 0..batch.num_rows() {
            let key = keys.iter().map(|key| Scalar::from_array(key, row)).collect::<Result<_>>()?;
            rows.push((key, row_number(rows.len())?));
        }
    }
    rows.sort_by(|(left, _), (right, _)| {
        let keys = left.iter().zip(right).zip(options);
        keys.map(|((left, right), options)| compare(left, right, *options))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    });
    rows.truncate(limit.unwrap_or(usize::MAX));
    let indices = UInt32Array::from_iter_values(rows.into_iter().map(|(_, row)| row));
    Ok(take_record_batch(&concat_batches(schema, batches)?, &indices)?)
}

fn compare(left: &Scalar, right: &Scalar, options: SortOptions) -> Ordering {
    let values = match (left, right) {
        (Scalar::Null, _) | (_, Scalar::Null) => {
            let nulls_last = left.is_null().cmp(&right.is_null());
            return if options.nulls_first { nulls_last.reverse() } else { nulls_last };
        }
        (Scalar::Boolean(left), Scalar::Boolean(right)) => left.cmp(right),
        (Scalar::Int64(left), Scalar::Int64(right)) => left.cmp(right),
        (Scalar::UInt64(left), Scalar::UInt64(right)) => left.cmp(right),
        (Scalar::Float64(left), Scalar::Float64(right)) => {
            left.partial_cmp(right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
        }
        (Scalar::Decimal128 { unscaled: left, .. }, Scalar::Decimal128 { unscaled: right, .. }) => left.cmp(right),
        (Scalar::Utf8(left), Scalar::Utf8(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Scalar::Binary(left), Scalar::Binary(right)) => left.cmp(right),
        (Scalar::Date32(left), Scalar::Date32(right)) => left.cmp(right),
        (Scalar::Timestamp(left, ..), Scalar::Timestamp(right, ..)) => left.cmp(right),
        (Scalar::Duration(left, _), Scalar::Duration(right, _)) => left.cmp(right),
        _ => Ordering::Equal,
    };
    if options.descending { values.reverse() } else { values }
}
