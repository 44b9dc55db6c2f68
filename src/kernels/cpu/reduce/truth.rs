//! `any` and `all`, which are also the maximum and the minimum of booleans.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;

use super::state::{Mapping, Refusal, Rows, Seen, State, each_row, merge_slots, needed, same};
use crate::error::{Error, Result};

/// Whether one value was true, or whether one was false.
pub(super) struct Truth<const IS_ANY: bool> {
    /// Whether a value that decides was met: true for `any`, false for `all`.
    decided: Vec<bool>,
    seen: Seen,
}

impl<const IS_ANY: bool> Truth<IS_ANY> {
    pub(super) fn new() -> Self {
        Self { decided: Vec::new(), seen: Seen::default() }
    }

    fn column(&self) -> ArrayRef {
        let values = BooleanBuffer::collect_bool(self.decided.len(), |group| self.decided[group] == IS_ANY);
        Arc::new(BooleanArray::new(values, self.seen.validity()))
    }
}

impl<const IS_ANY: bool> State for Truth<IS_ANY> {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        let input = needed(input)?.as_boolean_opt().ok_or_else(|| Error::internal("any and all take booleans"))?;
        let values = input.values();
        self.decided.resize(rows.groups, false);
        each_row(&mut self.decided, rows, |decided, row| *decided |= values.value(row) == IS_ANY);
        self.seen.mark(rows);
        Ok(())
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        let later = same::<Self>(later)?;
        merge_slots(&mut self.decided, &later.decided, mapping, |decided, later| *decided |= later);
        self.seen.merge(&later.seen, mapping);
        Ok(())
    }

    fn store(&self) -> Result<ArrayRef> {
        Ok(self.column())
    }

    fn restore(&mut self, column: &ArrayRef) -> Result<()> {
        let values = column.as_boolean_opt().ok_or_else(|| Error::internal("any and all are stored as booleans"))?;
        self.decided = values.iter().map(|value| value == Some(IS_ANY)).collect();
        self.seen.restore(column);
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, Refusal> {
        Ok(self.column())
    }
}
