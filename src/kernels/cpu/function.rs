//! A function of the user's in a stage, held to the schema it promised.

use std::sync::Arc;

use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::Result;
use crate::kernels::user_function;
use crate::plan::stage::BatchFunction;

/// A function with its name and the schema of what it gives.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) call: Arc<dyn BatchFunction>,
    pub(super) schema: SchemaRef,
}

impl Function {
    /// Calls the user's code.
    pub(super) fn call(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        user_function::call(&self.name, self.call.as_ref(), batch, &self.schema)
    }
}
