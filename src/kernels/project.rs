//! New columns from columns (map).
//!
//! # Contract
//! A typed expression and a batch give one value for each row, of the type of the expression. What each operation
//! means is told in `docs/semantics.md`, section "Expressions", and for functions in [`crate::expr::function`].
//!
//! 1. A row's value depends on that row only: however a stream is cut into batches, the values are the same. *(tested)*
//! 2. What the type of an operation cannot hold is an error that names the expression, its column and the row; nothing
//!    wraps, and nothing becomes null unless the operation says so. *(tested)*
//! 3. Values that nobody chooses raise no error: the branches of `CASE` are computed for the rows that take them. All
//!    other operations compute all their operands, also those of `AND`, `OR` and `COALESCE`. *(tested)*
//! 4. What stands under a null has no influence. *(tested)*
//!
//! The fast twin is [`crate::kernels::cpu::project`].

use super::reference;
use crate::columnar::{ArrayRef, RecordBatch, Scalar};
use crate::error::Result;
use crate::expr::TypedExpr;

/// One value for each row of `batch`, worked out one at a time.
///
/// # Errors
/// `Overflow` for a value that the type of its expression cannot hold.
pub fn reference(expr: &TypedExpr, batch: &RecordBatch) -> Result<ArrayRef> {
    let values = (0..batch.num_rows()).map(|row| reference::value(expr, batch, row)).collect::<Result<Vec<_>>>()?;
    Scalar::to_array(&values, &expr.data_type)
}
