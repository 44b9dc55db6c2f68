//! `len` and `count`: how many rows or values, which the selection tells apart.

use arrow_array::ArrayRef;
use arrow_schema::DataType;

use super::state::{Mapping, Refusal, Rows, State, each_row, merge_slots, same};
use crate::error::Result;
use crate::kernels::cpu::native;

#[derive(Default)]
pub(super) struct Count {
    counts: Vec<i64>,
}

impl State for Count {
    fn update(&mut self, rows: &Rows<'_>, _: Option<&ArrayRef>) -> Result<()> {
        self.counts.resize(rows.groups, 0);
        each_row(&mut self.counts, rows, |count, _| *count += 1);
        Ok(())
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        merge_slots(&mut self.counts, &same::<Self>(later)?.counts, mapping, |count, later| *count += later);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<ArrayRef, Refusal> {
        Ok(native::column(&DataType::Int64, self.counts, None)?)
    }
}
