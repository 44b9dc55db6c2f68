//! Cutting a run of rows at row numbers: batches are sliced, values are never copied.

use crate::columnar::RecordBatch;
use crate::kernels::Partitions;

/// The contract of [`crate::kernels::repartition`]. No partitions are asked for: none come out.
///
/// ```
/// use std::sync::Arc;
/// use pelton::columnar::{ArrayRef, RecordBatch};
/// use pelton::kernels::cpu::repartition::repartition;
///
/// let values: ArrayRef = Arc::new(arrow_array::Int64Array::from(vec![1, 2, 3, 4, 5]));
/// let batch = RecordBatch::try_from_iter([("n", values)])?;
/// let partitions = repartition(&[batch], 2);
/// assert_eq!(partitions[0][0].num_rows(), 3);
/// assert_eq!(partitions[1][0].num_rows(), 2);
/// # Ok::<(), arrow_schema::ArrowError>(())
/// ```
pub fn repartition(batches: &[RecordBatch], partitions: usize) -> Partitions {
    let total: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut rest = batches.to_vec();
    rest.reverse();
    (0..partitions)
        .map(|index| take_front(&mut rest, total / partitions + usize::from(index < total % partitions)))
        .collect()
}

/// The first rows, in order.
pub fn limit(batches: &[RecordBatch], limit: usize) -> Vec<RecordBatch> {
    let mut left = limit;
    let mut kept = Vec::new();
    for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
        if left == 0 {
            break;
        }
        let rows = batch.num_rows().min(left);
        kept.push(if rows == batch.num_rows() { batch.clone() } else { batch.slice(0, rows) });
        left -= rows;
    }
    kept
}

/// Takes rows off the front of a run of batches that is held back to front.
fn take_front(rest: &mut Vec<RecordBatch>, mut rows: usize) -> Vec<RecordBatch> {
    let mut taken = Vec::new();
    while rows > 0 {
        let Some(batch) = rest.pop() else { break };
        if batch.num_rows() > rows {
            rest.push(batch.slice(rows, batch.num_rows() - rows));
            taken.push(batch.slice(0, rows));
            break;
        }
        rows -= batch.num_rows();
        if batch.num_rows() > 0 {
            taken.push(batch);
        }
    }
    taken
}
