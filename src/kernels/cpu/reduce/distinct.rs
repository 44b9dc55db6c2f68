//! `distinct`: the first row of each group of rows that are equal in some columns.

use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_buffer::BooleanBufferBuilder;
use arrow_schema::Schema;

use crate::error::{Error, Result};
use crate::kernels::cpu::group_ids::GroupIds;

/// The rows seen so far, by the columns compared. For several partitions, what they gave goes through one more of these,
/// in the order of the partitions.
#[derive(Debug)]
pub struct Distinct {
    columns: Vec<usize>,
    group_ids: GroupIds,
    row_ids: Vec<u32>,
}

impl Distinct {
    /// Nothing seen yet; `columns` are compared.
    ///
    /// # Errors
    /// `Unsupported` for a column of lists or structs.
    pub fn new(schema: &Schema, columns: &[usize]) -> Result<Self> {
        let fields: Vec<_> = columns.iter().filter_map(|&column| schema.fields().get(column)).collect();
        if fields.len() != columns.len() || fields.is_empty() {
            return Err(Error::internal("distinct compares columns that are not there"));
        }
        let group_ids = GroupIds::new(fields.iter().map(|field| field.data_type()))?;
        Ok(Self { columns: columns.to_vec(), group_ids, row_ids: Vec::new() })
    }

    /// The rows of the batch that equal no earlier row, in order.
    ///
    /// # Errors
    /// `Unsupported` when there are more different rows than group ids.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let keys: Vec<ArrayRef> = self.columns.iter().map(|&column| ArrayRef::clone(batch.column(column))).collect();
        let mut next = self.group_ids.len();
        self.group_ids.assign(&keys, &mut self.row_ids)?;
        // New ids come in the order of their first rows, so the next one marks a new row.
        let mut is_new = BooleanBufferBuilder::new(batch.num_rows());
        for &id in &self.row_ids {
            let is_next = id as usize == next;
            next += usize::from(is_next);
            is_new.append(is_next);
        }
        Ok(arrow_select::filter::filter_record_batch(batch, &BooleanArray::new(is_new.finish(), None))?)
    }
}
