//! Cutting a run of rows at row numbers: the first rows (`limit`), and partitions of nearly equal size (`repartition`).
//!
//! Rows keep their order: the partitions one after another are the input. Of `n` rows in `m` partitions the first
//! `n % m` hold one row more than the others. Batches without rows are left out.

use super::Partitions;
use crate::columnar::RecordBatch;

/// Both contracts, row by row: each row goes to the partition that its number says, `limit` is the first of two.
pub fn reference(batches: &[RecordBatch], partitions: usize) -> Partitions {
    let total: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let sizes = (0..partitions).map(|index| total / partitions + usize::from(index < total % partitions));
    let mut rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| batch.slice(row, 1)));
    sizes.map(|size| rows.by_ref().take(size).collect()).collect()
}

/// The first rows, row by row.
pub fn reference_limit(batches: &[RecordBatch], limit: usize) -> Vec<RecordBatch> {
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| batch.slice(row, 1)));
    rows.take(limit).collect()
}
