//! Where the work of a device goes on: rows that have been through all steps, and groups that were reduced, come into the
//! end of a stage here, with what is to be told of them.

use arrow_select::filter::filter;

use super::event_time::{groups_in_time, note_newest};
use super::reduce::Groups;
use super::reduce::absorb::Reduced;
use super::reduce_tasks::combined;
use super::stage::{CpuStage, CpuTask, Ending, State};
use super::step::evaluate;
use crate::columnar::{ArrayRef, RecordBatch, TimeUnit};
use crate::error::{Error, Result};
use crate::kernels::Partial;
use crate::kernels::keep::first_open_pane;
use crate::plan::keep::{Keep, Span, WatermarkId};

impl CpuStage {
    /// The groups in a partial, which are settled.
    pub(crate) fn groups_of(partial: Partial) -> Result<Groups> {
        match combined(vec![partial], drop)? {
            Some(mut task) => task.take_groups(),
            None => Err(Error::internal("a partial without groups")),
        }
    }
}

impl CpuTask {
    /// Counts rows that went through all steps elsewhere, of which so many stayed.
    pub(crate) fn note_done(&mut self, came: usize, stayed: usize) {
        self.seen.flow.rows_in += came as u64;
        self.seen.flow.filter(came, stayed);
    }

    /// Notes the times that a watermark sees of such rows.
    pub(crate) fn note_times(&mut self, times: &ArrayRef, unit: TimeUnit, watermark: WatermarkId) -> Result<()> {
        note_newest(times, unit, watermark, &mut self.seen.sighting)
    }

    /// Takes rows that have been through all steps elsewhere.
    pub(crate) fn push_done(&mut self, batch: RecordBatch) -> Result<()> {
        self.push_tile(&[], batch)
    }

    /// The keys of groups that were made elsewhere and stay there, of so many rows: `firsts` has the first row of each, as
    /// it came into the stage.
    pub(crate) fn keys_of(&mut self, firsts: RecordBatch, rows: usize) -> Result<Vec<ArrayRef>> {
        let Ending::Reduce { keys, .. } = self.end.as_ref() else {
            return Err(Error::internal("a stage that does not group was given groups"));
        };
        let (horizon, seen) = (self.horizon, &mut self.seen);
        let firsts = self.steps.iter().try_fold(firsts, |batch, step| step.run(&batch, horizon, seen))?;
        seen.flow.rows_end += rows as u64;
        evaluate(keys, &firsts)
    }

    /// The groups so far, which are settled; there are none afterwards.
    pub(crate) fn take_groups(&mut self) -> Result<Groups> {
        match (&mut self.state, self.end.as_ref()) {
            (State::Reduce(groups), Ending::Reduce { reduce, .. }) => {
                std::mem::replace(groups, reduce.begin()?).settled()
            }
            _ => Err(Error::internal("a stage that does not group was asked for groups")),
        }
    }

    /// Takes groups that were made elsewhere: `firsts` has the first row of each, as it came into the stage. Groups of
    /// panes that are over are left out, and their rows counted as late.
    pub(crate) fn absorb(&mut self, firsts: RecordBatch, mut reduced: Reduced) -> Result<()> {
        let Ending::Reduce { keys, keep, .. } = self.end.as_ref() else {
            return Err(Error::internal("a stage that does not group was given groups"));
        };
        let (horizon, seen) = (self.horizon, &mut self.seen);
        let firsts = self.steps.iter().try_fold(firsts, |batch, step| step.run(&batch, horizon, seen))?;
        let mut keys = evaluate(keys, &firsts)?;
        if let Some((keep @ Keep { span: Span::Event(_) | Span::Sessions(_), .. }, ..)) = keep
            && let Some(panes) = keys.last()
            && let Some(kept) =
                groups_in_time(panes, &reduced.rows, first_open_pane(keep, horizon), &mut seen.sighting)?
        {
            keys = keys.iter().map(|key| filter(key, &kept)).collect::<Result<_, _>>()?;
            reduced.keep_only(&kept)?;
        }
        seen.flow.rows_end += reduced.rows.iter().map(|rows| rows.unsigned_abs()).sum::<u64>();
        match &mut self.state {
            State::Reduce(groups) => groups.absorb(&keys, &reduced),
            _ => Err(Error::internal("the state of a stage does not fit its end")),
        }
    }
}
