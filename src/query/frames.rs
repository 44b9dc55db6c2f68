//! `transform`: any lazy query of Polars, on each micro-batch as a whole.

use std::sync::Arc;

use polars::prelude::{DataFrame, IntoLazy, LazyFrame};

use super::dstream::DStream;
use super::table::StaticTable;
use crate::columnar::polars::{from_frame_whole, to_frame};
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::LogicalPlan;

impl DStream {
    /// Any lazy query of Polars, run on each micro-batch as a whole. Values go in and out without a copy.
    ///
    /// The query is tried once on a frame without rows, to learn the schema of what it gives.
    ///
    /// # Errors
    /// `InvalidQuery`: any mistake in the stream so far; `Function`: what Polars says of the query.
    pub fn transform(&self, query: impl Fn(LazyFrame) -> LazyFrame + Send + Sync + 'static) -> Result<Self> {
        let run = move |batch: &RecordBatch| -> Result<RecordBatch> {
            let answer = query(to_frame(batch)?.lazy()).collect();
            let answer = answer.map_err(|error| Error::new(ErrorKind::Function, error.to_string()).because(error))?;
            from_frame_whole(&answer)
        };
        let empty = RecordBatch::new_empty(self.schema()?);
        let schema: SchemaRef = run(&empty).map_err(|error| error.context("in transform"))?.schema();
        let function = self.register_function("polars", Arc::new(run));
        let name = "polars".to_owned();
        Ok(self.with(|input| LogicalPlan::Transform { input, function, name, schema }))
    }
}

impl TryFrom<&DataFrame> for StaticTable {
    type Error = Error;

    /// The rows of a Polars frame, without a copy where it is in one piece.
    fn try_from(frame: &DataFrame) -> Result<Self> {
        Ok(Self::from(from_frame_whole(frame)?))
    }
}
