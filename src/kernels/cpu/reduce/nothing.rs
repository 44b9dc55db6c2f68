//! Aggregates of a column that is null in every row and of no other type: null for every group.

use arrow_array::{ArrayRef, new_null_array};
use arrow_schema::DataType;

use super::state::{Mapping, Refusal, Rows, State};
use crate::error::Result;

pub(super) struct Nothing {
    data_type: DataType,
    groups: usize,
}

impl Nothing {
    pub(super) fn new(data_type: DataType) -> Self {
        Self { data_type, groups: 0 }
    }
}

impl State for Nothing {
    fn update(&mut self, rows: &Rows<'_>, _: Option<&ArrayRef>) -> Result<()> {
        self.groups = rows.groups;
        Ok(())
    }

    fn merge(&mut self, _: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        self.groups = mapping.groups;
        Ok(())
    }

    fn store(&self) -> Result<ArrayRef> {
        Ok(new_null_array(&DataType::Null, self.groups))
    }

    fn restore(&mut self, column: &ArrayRef) -> Result<()> {
        self.groups = column.len();
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, Refusal> {
        Ok(new_null_array(&self.data_type, self.groups))
    }
}
