//! What a keyed reduce takes of a tile: its expressions, evaluated.

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray};

use crate::columnar::RecordBatch;
use crate::error::Result;
use crate::kernels::cpu::project::Program;

/// The columns of the latest tile; kept for their memory.
#[derive(Default)]
pub(in crate::kernels::cpu) struct Columns {
    pub(in crate::kernels::cpu) keys: Vec<ArrayRef>,
    pub(in crate::kernels::cpu) inputs: Vec<Option<ArrayRef>>,
    pub(in crate::kernels::cpu) filters: Vec<Option<BooleanArray>>,
}

impl Columns {
    pub(in crate::kernels::cpu) fn clear(&mut self) {
        self.keys.clear();
        self.inputs.clear();
        self.filters.clear();
    }

    pub(in crate::kernels::cpu) fn evaluate(
        &mut self,
        batch: &RecordBatch,
        keys: &[Program],
        inputs: &[Option<Program>],
        filters: &[Option<Program>],
    ) -> Result<()> {
        self.clear();
        for key in keys {
            self.keys.push(key.evaluate(batch)?);
        }
        for input in inputs {
            self.inputs.push(input.as_ref().map(|input| input.evaluate(batch)).transpose()?);
        }
        for filter in filters {
            let filter = filter.as_ref().map(|filter| filter.evaluate(batch)).transpose()?;
            self.filters.push(filter.map(|filter| filter.as_boolean().clone()));
        }
        Ok(())
    }
}
