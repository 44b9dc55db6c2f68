//! Rows whose predicate holds.
//!
//! # Contract
//! The rows for which the predicate is true are kept, in order; those for which it is false or null are not. *(tested)*
//!
//! The fast twin is [`crate::kernels::cpu::filter`].

use std::sync::Arc;

use arrow_array::RecordBatchOptions;

use super::reference;
use crate::columnar::{RecordBatch, Scalar};
use crate::error::Result;
use crate::expr::TypedExpr;

/// The rows of `batch` for which the predicate is true, looked at one by one.
///
/// # Errors
/// As for [`super::project::reference`].
pub fn reference(batch: &RecordBatch, predicate: &TypedExpr) -> Result<RecordBatch> {
    let mut kept = Vec::new();
    for row in 0..batch.num_rows() {
        if reference::value(predicate, batch, row)? == Scalar::Boolean(true) {
            kept.push(row);
        }
    }
    let columns = batch.columns().iter().map(|column| {
        let values = kept.iter().map(|row| Scalar::from_array(column, *row)).collect::<Result<Vec<_>>>()?;
        Scalar::to_array(&values, column.data_type())
    });
    let options = RecordBatchOptions::new().with_row_count(Some(kept.len()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(batch.schema_ref()), columns.collect::<Result<_>>()?, &options)?)
}
