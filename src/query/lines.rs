//! Closures on lines of text as functions on batches.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_cast::cast;

use super::cell::Row;
use crate::columnar::{DataType, RecordBatch, Schema, SchemaRef};
use crate::error::Result;

/// The schema of a stream of these rows.
pub(super) fn row_schema<R: Row>() -> SchemaRef {
    Arc::new(Schema::new(R::fields()))
}

/// A function that gives rows for each line. Lines that are null give none.
pub(super) fn of_lines<R: Row>(
    function: impl Fn(&str, &mut Vec<R>) + Send + Sync,
) -> impl Fn(&RecordBatch) -> Result<RecordBatch> + Send + Sync {
    let schema = row_schema::<R>();
    move |batch: &RecordBatch| {
        let lines = cast(batch.column(0), &DataType::Utf8)?;
        let mut rows = Vec::with_capacity(batch.num_rows());
        for line in lines.as_string::<i32>().iter().flatten() {
            function(line, &mut rows);
        }
        Ok(RecordBatch::try_new(Arc::clone(&schema), R::columns(rows))?)
    }
}
