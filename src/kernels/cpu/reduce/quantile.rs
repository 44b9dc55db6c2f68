//! Quantiles: all values are kept with their group, as they came or in sorted [`runs`](super::runs), in which they are searched
//! at the end.

use std::cell::LazyCell;
use std::sync::OnceLock;

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_schema::DataType;

use super::runs::{ByGroup, Run, Search};
use super::state::{Mapping, NOT_TAKEN, Refusal, Rows, State, needed, same};
use super::stored_lists;
use crate::error::Result;
use crate::kernels::cpu::native;
use crate::kernels::reduce::interpolate_pair;

/// Fewer values than this are handed on as they came. Debug builds begin early, so that tests of few rows have runs.
const VALUES_WORTH_A_RUN: usize = if cfg!(debug_assertions) { 3 } else { 64 };

/// So many runs are kept before they are put together, where nobody asks for it.
const RUNS_MAX: usize = if cfg!(debug_assertions) { 8 } else { 256 };

pub(super) struct Quantile {
    share: f64,
    groups: usize,
    /// Values that are in no run yet.
    loose: Vec<(u32, f64)>,
    /// The same as a run, once somebody asks.
    loose_run: OnceLock<Run>,
    runs: Vec<Run>,
}

impl Quantile {
    pub(super) fn new(share: f64) -> Self {
        Self { share, groups: 0, loose: Vec::new(), loose_run: OnceLock::new(), runs: Vec::new() }
    }

    /// What the loose values are as a run.
    fn loose_run(&self) -> Option<&Run> {
        (!self.loose.is_empty()).then(|| self.loose_run.get_or_init(|| Run::of(self.groups, &self.loose)))
    }

    /// Makes a run of the loose values.
    fn gather(&mut self) {
        let run = self.loose_run().cloned();
        self.runs.extend(run);
        self.loose.clear();
        self.loose_run.take();
    }

    /// All values as runs.
    fn all_runs(&self) -> Vec<Run> {
        self.runs.iter().chain(self.loose_run()).cloned().collect()
    }

    fn push(&mut self, values: impl Iterator<Item = (u32, f64)>) {
        self.loose_run.take();
        self.loose.extend(values);
    }
}

impl State for Quantile {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        self.groups = rows.groups;
        let input = arrow_cast::cast(needed(input)?, &DataType::Float64)?;
        let values = input.as_primitive::<Float64Type>().values();
        let of = |row: usize| (rows.ids.of(row), values[row]);
        match &rows.selection {
            None => self.push((0..rows.len).map(of)),
            Some(selection) => self.push(selection.set_indices().map(of)),
        }
        Ok(())
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        let later = same::<Self>(later)?;
        self.groups = mapping.groups;
        let table = LazyCell::new(|| mapping.table());
        let is_worth_a_run = later.loose.len() >= VALUES_WORTH_A_RUN;
        for run in later.runs.iter().chain(later.loose_run().filter(|_| is_worth_a_run)) {
            let takes_few = run.is_plain() && 2 * mapping.from.len() < later.groups;
            self.runs.extend(match takes_few {
                // Costs follow the groups that are taken.
                true => run.chosen(mapping.from.iter().zip(mapping.to).map(|(&from, &to)| (from as usize, to))),
                false => run.moved(&table),
            });
        }
        if !is_worth_a_run && !later.loose.is_empty() {
            let taken = later.loose.iter().map(|&(group, value)| (table[group as usize], value));
            self.push(taken.filter(|&(group, _)| group != NOT_TAKEN));
        }
        if self.runs.len() > RUNS_MAX {
            self.runs = vec![Run::together(self.groups, &self.runs)];
        }
        Ok(())
    }

    fn compact(&mut self) {
        if self.loose.len() >= VALUES_WORTH_A_RUN {
            self.gather();
        }
        Run::compact(self.groups, &mut self.runs);
    }

    /// Sorted: what is stored does not depend on how values came together.
    fn store(&self) -> Result<ArrayRef> {
        let run = Run::together(self.groups, &self.all_runs());
        let (ends, values) = run.values();
        let values = native::column::<f64>(&DataType::Float64, values.collect(), None)?;
        stored_lists::of_ends(ends, &values)
    }

    fn restore(&mut self, column: &ArrayRef) -> Result<()> {
        self.groups = column.len();
        let (values, groups) = stored_lists::items(column)?;
        let values = native::values::<f64>(&values)?;
        self.push(groups.into_iter().zip(values.iter().copied()));
        self.gather();
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, Refusal> {
        self.gather();
        let by_group = ByGroup::of(self.groups, &self.runs);
        let mut search = Search::default();
        let results = (0..self.groups).map(|group| {
            let slices = by_group.slices(group);
            let values = slices.iter().map(|slice| slice.len()).sum();
            interpolate_pair(values, self.share, |rank| search.pair_at(slices, rank))
        });
        let results: Vec<Option<f64>> = results.collect();
        let present: Vec<bool> = results.iter().map(Option::is_some).collect();
        let values: Vec<f64> = results.into_iter().map(Option::unwrap_or_default).collect();
        Ok(native::column(&DataType::Float64, values, native::validity(&present))?)
    }
}
