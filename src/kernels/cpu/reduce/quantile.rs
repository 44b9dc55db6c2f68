//! Quantiles: all values are kept with their group, and sorted at the end.

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_schema::DataType;

use super::state::{Mapping, NOT_TAKEN, Refusal, Rows, State, needed, same};
use super::stored_lists;
use crate::error::Result;
use crate::kernels::cpu::native;
use crate::kernels::reduce::interpolate;

pub(super) struct Quantile {
    share: f64,
    groups: usize,
    values: Vec<(u32, f64)>,
}

impl Quantile {
    pub(super) fn new(share: f64) -> Self {
        Self { share, groups: 0, values: Vec::new() }
    }
}

impl State for Quantile {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        self.groups = rows.groups;
        let input = arrow_cast::cast(needed(input)?, &DataType::Float64)?;
        let values = input.as_primitive::<Float64Type>().values();
        let kept = &mut self.values;
        let mut keep = |row: usize| kept.push((rows.ids.of(row), values[row]));
        match &rows.selection {
            None => (0..rows.len).for_each(&mut keep),
            Some(selection) => selection.set_indices().for_each(&mut keep),
        }
        Ok(())
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        let later = same::<Self>(later)?;
        self.groups = mapping.groups;
        let groups = mapping.table();
        let taken = later.values.iter().map(|&(group, value)| (groups[group as usize], value));
        self.values.extend(taken.filter(|&(group, _)| group != NOT_TAKEN));
        Ok(())
    }

    fn store(&self) -> Result<ArrayRef> {
        let values = self.values.iter().map(|&(_, value)| value).collect();
        let values = native::column::<f64>(&DataType::Float64, values, None)?;
        stored_lists::column(self.groups, self.values.iter().map(|&(group, _)| group), &values)
    }

    fn restore(&mut self, column: &ArrayRef) -> Result<()> {
        self.groups = column.len();
        let (values, groups) = stored_lists::items(column)?;
        let values = native::values::<f64>(&values)?;
        self.values = groups.into_iter().zip(values.iter().copied()).collect();
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, Refusal> {
        // Values lie group by group: `ends` says where each group's end.
        let mut ends = vec![0_usize; self.groups + 1];
        self.values.iter().for_each(|&(group, _)| ends[group as usize + 1] += 1);
        for group in 0..self.groups {
            ends[group + 1] += ends[group];
        }
        let mut next = ends.clone();
        let mut sorted = vec![0.0; self.values.len()];
        for &(group, value) in &self.values {
            let place = &mut next[group as usize];
            sorted[*place] = value;
            *place += 1;
        }
        let results = ends.windows(2).map(|range| {
            let values = &mut sorted[range[0]..range[1]];
            values.sort_unstable_by(total_order);
            interpolate(values, self.share)
        });
        let results: Vec<Option<f64>> = results.collect();
        let present: Vec<bool> = results.iter().map(Option::is_some).collect();
        let values: Vec<f64> = results.into_iter().map(Option::unwrap_or_default).collect();
        Ok(native::column(&DataType::Float64, values, native::validity(&present))?)
    }
}

/// NaN after every number, whatever its sign.
fn total_order(a: &f64, b: &f64) -> std::cmp::Ordering {
    a.is_nan().cmp(&b.is_nan()).then(a.total_cmp(b))
}
