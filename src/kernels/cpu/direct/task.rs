//! A task's tiles: as many rows as can go the short way do, the others go step by step.

use crate::columnar::RecordBatch;
use crate::error::{Error, Result};
use crate::kernels::cpu::seen::{Effect, Seen};
use crate::kernels::cpu::stage::{CpuTask, Ending, State};
use crate::kernels::cpu::step::Ready;

impl CpuTask {
    /// A tile behind the first picks, on the shortest way there is.
    pub(in crate::kernels::cpu) fn push_shortest(&mut self, steps: &[Ready], tile: RecordBatch) -> Result<()> {
        let (Some(direct), State::Reduce(groups)) = (&self.direct, &mut self.state) else {
            return self.push_tile(steps, tile);
        };
        let taken = direct.take_in(&tile, groups, &mut self.scratch);
        if direct.filters() && taken.rows > 0 {
            self.seen.note(Effect::Filters, taken.rows, taken.kept);
        }
        self.seen.flow.rows_end += taken.kept as u64;
        let left = tile.num_rows() - taken.rows;
        if taken.rows == 0 || left == 0 {
            return if left == 0 { Ok(()) } else { self.push_tile(steps, tile) };
        }
        self.push_tile(steps, tile.slice(taken.rows, left)).map_err(|error| self.refusal(steps, &tile).unwrap_or(error))
    }

    /// Why a tile cannot be computed, in the words of the whole tile: errors tell the number of the row.
    fn refusal(&mut self, steps: &[Ready], tile: &RecordBatch) -> Option<Error> {
        let mut seen = Seen::default();
        let kept = steps.iter().try_fold(tile.clone(), |tile, step| step.run(&tile, self.horizon, &mut seen));
        let Ending::Reduce { keys, inputs, filters, .. } = self.end.as_ref() else { return None };
        kept.and_then(|kept| self.columns.evaluate(&kept, keys, inputs, filters)).err()
    }
}
