//! Calling functions of the user's: a panic is an error, and a promise of a schema is held to.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::stage::{BatchFunction, GroupFunction};

/// Calls a function of batches.
///
/// # Errors
/// `Function` when it fails, panics, or gives columns other than those it promised.
pub fn call(name: &str, function: &dyn BatchFunction, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let failed = |how: String| Error::new(ErrorKind::Function, format!("the function \"{name}\" {how}"));
    // The function is called again only if the caller ignores this error: what it left behind is its own affair.
    let called = catch_unwind(AssertUnwindSafe(|| function.call(batch)));
    let given = called.map_err(|panic| failed(format!("panicked: {}", panic_text(panic.as_ref()))))?;
    let given = given.map_err(|error| error.context(format!("in the function \"{name}\"")))?;
    let same = given.num_columns() == schema.fields().len()
        && given.schema().fields().iter().zip(schema.fields()).all(|(got, want)| got.data_type() == want.data_type());
    if !same {
        return Err(failed(format!("promised {schema}, but gave {}", given.schema())));
    }
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(given.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), given.columns().to_vec(), &options)
        .map_err(|error| failed(format!("broke its promise of a schema: {error}")))
}

/// Calls a function of the rows of a group, which gives one row of their schema.
///
/// # Errors
/// `Function` when it fails, panics, or gives anything but one such row.
pub fn call_group(name: &str, function: &dyn GroupFunction, rows: &RecordBatch) -> Result<RecordBatch> {
    let failed = |how: String| {
        Error::new(ErrorKind::Function, format!("the function \"{name}\" {how}"))
            .advice("a reduce needs an associative function that makes one row, of the same columns, of several")
    };
    // The function is called again only if the caller ignores this error: what it left behind is its own affair.
    let called = catch_unwind(AssertUnwindSafe(|| function.call(rows)));
    let row = called.map_err(|panic| failed(format!("panicked: {}", panic_text(panic.as_ref()))))?;
    let row = row.map_err(|error| error.context(format!("in the function \"{name}\"")))?;
    if row.num_rows() != 1 {
        return Err(failed(format!("gave {} rows for a group instead of one", row.num_rows())));
    }
    RecordBatch::try_new(rows.schema(), row.columns().to_vec())
        .map_err(|error| failed(format!("gave a row of another schema: {error}")))
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
