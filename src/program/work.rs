//! The stage of a program that rows go to.

use super::compile::Compiled;
use crate::columnar::RecordBatch;
use crate::error::Result;
use crate::kernels::{PreparedStage, StageTask};
use crate::runtime::task::{guarded, under_schema};

/// A stage of a program.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    program: &'a Compiled,
    stage: usize,
}

impl<'a> Work<'a> {
    pub(super) fn new(program: &'a Compiled, stage: usize) -> Self {
        Self { program, stage }
    }

    /// What runs it.
    pub(super) fn stage(self) -> &'a dyn PreparedStage {
        &*self.program.placed[self.stage].stage
    }

    /// Has a task take rows in.
    ///
    /// # Errors
    /// What it says.
    pub(super) fn push(self, task: &mut dyn StageTask, rows: &[RecordBatch]) -> Result<()> {
        let schema = &self.program.plan.stages[self.stage].input_schema;
        guarded(|| rows.iter().try_for_each(|batch| task.push(&*under_schema(batch, schema)?)))
    }
}
