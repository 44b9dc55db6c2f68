//! Minimum and maximum of decimals, which are wider than a lane.

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::state::{Mapping, Refusal, Rows, Seen, State, each, needed, same};
use crate::error::Result;
use crate::kernels::cpu::native;

/// The minimum, or the maximum.
pub(super) struct ExtremeDecimal<const IS_MAX: bool> {
    data_type: DataType,
    best: Vec<i128>,
    seen: Seen,
}

impl<const IS_MAX: bool> ExtremeDecimal<IS_MAX> {
    /// Loses against every value.
    const WORST: i128 = if IS_MAX { i128::MIN } else { i128::MAX };

    pub(super) fn new(data_type: DataType) -> Self {
        Self { data_type, best: Vec::new(), seen: Seen::default() }
    }

    #[inline]
    fn better(a: i128, b: i128) -> i128 {
        if IS_MAX { a.max(b) } else { a.min(b) }
    }
}

impl<const IS_MAX: bool> State for ExtremeDecimal<IS_MAX> {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        let values = native::values::<i128>(needed(input)?)?;
        self.best.resize(rows.groups, Self::WORST);
        each(&mut self.best, rows, &values, |best, value, _| *best = Self::better(*best, value));
        self.seen.mark(rows);
        Ok(())
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        let later = same::<Self>(later)?;
        self.best.resize(mapping.groups, Self::WORST);
        for (from, to) in mapping.pairs() {
            self.best[to] = Self::better(self.best[to], later.best[from]);
        }
        self.seen.merge(&later.seen, mapping);
        Ok(())
    }

    fn store(&self) -> Result<ArrayRef> {
        native::column(&self.data_type, self.best.clone(), self.seen.validity())
    }

    fn restore(&mut self, column: &ArrayRef) -> Result<()> {
        let values = native::values::<i128>(column)?;
        let best = |(group, &value): (usize, &i128)| if column.is_valid(group) { value } else { Self::WORST };
        self.best = values.iter().enumerate().map(best).collect();
        self.seen.restore(column);
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, Refusal> {
        let validity = self.seen.validity();
        Ok(native::column(&self.data_type, std::mem::take(&mut self.best), validity)?)
    }
}
