//! Rows whose predicate holds: the fast twin of [`crate::kernels::filter`].

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_select::filter::{filter_record_batch, prep_null_mask_filter};

use super::project::Program;
use crate::columnar::RecordBatch;
use crate::error::Result;
use crate::expr::TypedExpr;

/// A predicate, ready to run on many batches.
#[derive(Debug)]
pub struct Filter {
    predicate: Program,
}

impl Filter {
    /// Does all work that does not depend on data.
    ///
    /// # Errors
    /// As for [`Program::prepare`].
    pub fn prepare(predicate: &TypedExpr) -> Result<Self> {
        Ok(Self { predicate: Program::prepare(predicate)? })
    }

    /// The rows of `batch` for which the predicate is true, in order. Nothing is copied if that is all or none.
    ///
    /// # Errors
    /// As for [`Program::evaluate`].
    pub fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let answers = self.predicate.evaluate(batch)?;
        let answers = answers.as_boolean();
        let mask = if answers.null_count() > 0 { &prep_null_mask_filter(answers) } else { answers };
        let kept = mask.values().count_set_bits();
        if kept == batch.num_rows() {
            return Ok(batch.clone());
        }
        if kept == 0 {
            return Ok(batch.slice(0, 0));
        }
        Ok(filter_record_batch(batch, mask)?)
    }
}
