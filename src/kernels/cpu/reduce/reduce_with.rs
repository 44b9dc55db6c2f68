//! A keyed reduce by a function of the user's: rows are gathered by group, and the function makes one row of each.

#![expect(clippy::cast_possible_truncation, reason = "rows of a partition fit u32: checked when they are gathered")]

use std::fmt;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_schema::{DataType, SchemaRef};

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cpu::group_ids::GroupIds;
use crate::kernels::user_function::call_group;
use crate::plan::stage::GroupFunction;

/// The rows of one partition, gathered by group.
pub struct ReduceWith {
    name: String,
    function: Arc<dyn GroupFunction>,
    schema: SchemaRef,
    group_ids: GroupIds,
    batches: Vec<RecordBatch>,
    /// The group of each row of all batches.
    groups: Vec<u32>,
    row_ids: Vec<u32>,
}

/// The groups of one partition: their keys, and the row that the function made of each.
#[derive(Debug, Clone)]
pub struct Folded {
    /// A column for each key.
    pub keys: Vec<ArrayRef>,
    /// A row for each group.
    pub rows: RecordBatch,
}

impl ReduceWith {
    /// No rows yet. `name` is the function's, for messages; `schema` that of the rows.
    ///
    /// # Errors
    /// `Unsupported` for a type that cannot be a key.
    pub fn new(name: &str, function: Arc<dyn GroupFunction>, keys: &[DataType], schema: SchemaRef) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            function,
            schema,
            group_ids: GroupIds::new(keys)?,
            batches: Vec::new(),
            groups: Vec::new(),
            row_ids: Vec::new(),
        })
    }

    /// Gathers the rows of a batch under their keys.
    ///
    /// # Errors
    /// `Unsupported` when a partition has 2^32 rows or more.
    pub fn push(&mut self, keys: &[ArrayRef], rows: &RecordBatch) -> Result<()> {
        if self.groups.len() + rows.num_rows() > u32::MAX as usize {
            return Err(Error::new(ErrorKind::Unsupported, "a reduce by a function gathers more than 2^32 rows")
                .advice("cut the batch into more partitions"));
        }
        if keys.is_empty() {
            self.groups.resize(self.groups.len() + rows.num_rows(), 0);
        } else {
            self.group_ids.assign(keys, &mut self.row_ids)?;
            self.groups.extend_from_slice(&self.row_ids);
        }
        self.batches.push(rows.clone());
        Ok(())
    }

    /// Takes what an earlier or later partition made of its groups in, as rows.
    ///
    /// # Errors
    /// As for [`ReduceWith::push`].
    pub fn push_folded(&mut self, folded: &Folded) -> Result<()> {
        self.push(&folded.keys, &folded.rows)
    }

    /// Runs the function on each group of two rows or more, and on each single row too if `fold_single`: a row that the
    /// function has made already need not go through it again.
    ///
    /// # Errors
    /// `Function` when the function fails, panics or gives anything but one row of the schema.
    pub fn finish(self, fold_single: bool) -> Result<Folded> {
        let count = if self.groups.is_empty() { 0 } else { self.groups.iter().max().map_or(0, |&id| id as usize + 1) };
        let all = arrow_select::concat::concat_batches(&self.schema, &self.batches)?;
        let mut ends = vec![0_usize; count + 1];
        self.groups.iter().for_each(|&group| ends[group as usize + 1] += 1);
        for group in 0..count {
            ends[group + 1] += ends[group];
        }
        let mut next = ends.clone();
        let mut order = vec![0_u32; self.groups.len()];
        for (row, &group) in self.groups.iter().enumerate() {
            let place = &mut next[group as usize];
            order[*place] = row as u32;
            *place += 1;
        }
        let sorted = arrow_select::take::take_record_batch(&all, &UInt32Array::from(order))?;
        let rows = ends.windows(2).map(|range| {
            let group = sorted.slice(range[0], range[1] - range[0]);
            if group.num_rows() == 1 && !fold_single {
                Ok(group)
            } else {
                call_group(&self.name, self.function.as_ref(), &group)
            }
        });
        let rows = rows.collect::<Result<Vec<_>>>()?;
        let rows = arrow_select::concat::concat_batches(&self.schema, &rows)?;
        Ok(Folded { keys: self.group_ids.keys()?, rows })
    }
}

impl fmt::Debug for ReduceWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReduceWith").field("name", &self.name).field("rows", &self.groups.len()).finish_non_exhaustive()
    }
}
