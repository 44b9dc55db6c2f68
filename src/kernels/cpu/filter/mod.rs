//! Rows whose predicate holds: the fast twin of [`crate::kernels::filter`].
//!
//! A predicate becomes a [`Mask`], one bit a row; the mask picks the kept rows out of each column, 64 rows a word. Numbers
//! go through vector registers (`lanes`), bits through the machine's own bit gathering (`bitmaps`), texts as runs of
//! bytes (`texts`). A caller that reads only some columns of the kept rows asks for the mask and picks those.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod bitmaps;
mod columns;
mod lanes;
mod mask;
mod texts;

use arrow_array::cast::AsArray;

pub use self::mask::{Mask, Picker};
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
        self.mask(batch)?.apply(batch)
    }

    /// Which rows of `batch` the predicate is true for. Nothing is copied at all.
    ///
    /// # Errors
    /// As for [`Program::evaluate`].
    pub fn mask(&self, batch: &RecordBatch) -> Result<Mask> {
        Ok(Mask::of(self.predicate.evaluate(batch)?.as_boolean()))
    }
}
