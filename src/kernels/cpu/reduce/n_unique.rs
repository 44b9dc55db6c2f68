//! `n_unique`: values get ids of their own, pairs of group and value are counted.

use arrow_array::{ArrayRef, BooleanArray, UInt32Array};
use arrow_schema::DataType;

use super::state::{Ids, Mapping, NOT_TAKEN, Refusal, Rows, State, needed, same};
use super::stored_lists;
use crate::error::Result;
use crate::kernels::cpu::group_ids::pairs::Pairs;
use crate::kernels::cpu::group_ids::{self, Ticket};
use crate::kernels::cpu::native;

pub(super) struct NUnique {
    values: Box<dyn Ticket>,
    /// Group and value.
    pairs: Pairs,
    groups: usize,
}

impl NUnique {
    pub(super) fn new(data_type: &DataType) -> Result<Self> {
        Ok(Self { values: group_ids::ticket(data_type)?, pairs: Pairs::new(), groups: 0 })
    }
}

impl State for NUnique {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        self.groups = rows.groups;
        let mut values = Vec::with_capacity(rows.len);
        let input = needed(input)?;
        let selected: Vec<u32>;
        let ids = match (&rows.selection, rows.ids) {
            (None, ids) => {
                self.values.assign(input, &mut values)?;
                ids
            }
            (Some(selection), ids) => {
                let filter = BooleanArray::new(selection.clone(), None);
                self.values.assign(&arrow_select::filter::filter(input, &filter)?, &mut values)?;
                selected = selection.set_indices().map(|row| ids.of(row)).collect();
                Ids::Each(&selected)
            }
        };
        let mut known: Vec<u32> = (0..values.len()).map(|row| ids.of(row)).collect();
        self.pairs.assign(&mut known, &values, (rows.groups, self.values.len()));
        Ok(())
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        let later = same::<Self>(later)?;
        self.groups = mapping.groups;
        let groups = mapping.table();
        let taken: Vec<(u32, u32)> =
            later.pairs.pairs().iter().copied().filter(|pair| groups[pair.0 as usize] != NOT_TAKEN).collect();
        let keys = arrow_select::take::take(
            &later.values.keys()?,
            &taken.iter().map(|pair| pair.1).collect::<UInt32Array>(),
            None,
        )?;
        let mut values = Vec::with_capacity(taken.len());
        self.values.assign(&keys, &mut values)?;
        let mut known: Vec<u32> = taken.iter().map(|pair| groups[pair.0 as usize]).collect();
        self.pairs.assign(&mut known, &values, (mapping.groups, self.values.len()));
        Ok(())
    }

    fn store(&self) -> Result<ArrayRef> {
        let values: UInt32Array = self.pairs.pairs().iter().map(|pair| pair.1).collect();
        let values = arrow_select::take::take(&self.values.keys()?, &values, None)?;
        stored_lists::column(self.groups, self.pairs.pairs().iter().map(|pair| pair.0), &values)
    }

    fn restore(&mut self, column: &ArrayRef) -> Result<()> {
        self.groups = column.len();
        let (values, mut groups) = stored_lists::items(column)?;
        let mut ids = Vec::with_capacity(groups.len());
        self.values.assign(&values, &mut ids)?;
        self.pairs.assign(&mut groups, &ids, (self.groups, self.values.len()));
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, Refusal> {
        let mut counts = vec![0_i64; self.groups];
        self.pairs.pairs().iter().for_each(|pair| counts[pair.0 as usize] += 1);
        Ok(native::column(&DataType::Int64, counts, None)?)
    }
}
