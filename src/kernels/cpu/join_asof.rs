//! The CPU twin of [`crate::kernels::join_asof`]: the rows of the table lie by key, then by time; one probe and one binary
//! search a row.

use std::fmt;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, RecordBatchOptions, UInt32Array, new_null_array};
use arrow_select::take::take;

use super::join_index::{KeyIndex, NONE, comparable};
use super::project::Program;
use super::row_keys::plain;
use crate::columnar::{DataType, RecordBatch};
use crate::error::{Error, Result};
use crate::kernels::row_number;
use crate::plan::asof::{AsofJoin, AsofStrategy};

/// A static table, ready to be looked up by time from many threads.
pub struct PreparedAsof {
    join: AsofJoin,
    key_types: Vec<DataType>,
    /// None without keys: then all rows have the entry 0.
    index: Option<KeyIndex>,
    /// Of each entry, where its rows begin in `rows`; at the end, where the last ones end.
    starts: Vec<usize>,
    /// Time and place in the table, in order within an entry.
    rows: Vec<(i64, u32)>,
    left_time: Program,
    /// The columns of the table that are added.
    added: Vec<ArrayRef>,
}

impl PreparedAsof {
    /// Sorts the table.
    ///
    /// # Errors
    /// `Unsupported` for a table of more rows than can be numbered, `Overflow` for a time that has no number.
    pub fn prepare(join: &AsofJoin, table: &RecordBatch) -> Result<Self> {
        row_number(table.num_rows())?;
        let keys: Vec<ArrayRef> =
            join.right_keys.iter().map(|&column| plain(table.column(column))).collect::<Result<_>>()?;
        let (index, entries) = if keys.is_empty() {
            (None, vec![0; table.num_rows()])
        } else {
            let (index, entries) = KeyIndex::build(&keys)?;
            (Some(index), entries)
        };
        let times = Program::prepare(&join.right_time)?.evaluate(table)?;
        let times = times.as_primitive::<Int64Type>();
        let numbered = (0_u32..).zip(&entries).enumerate();
        let mut rows: Vec<(u32, i64, u32)> = numbered
            .filter(|(row, (_, entry))| **entry != NONE && times.is_valid(*row))
            .map(|(row, (number, &entry))| (entry, times.value(row), number))
            .collect();
        rows.sort_unstable();
        let count = entries.iter().filter(|&&entry| entry != NONE).max().map_or(0, |&last| last as usize + 1);
        let starts = (0..=count).map(|entry| rows.partition_point(|row| (row.0 as usize) < entry)).collect();
        Ok(Self {
            join: join.clone(),
            key_types: keys.iter().map(|key| key.data_type().clone()).collect(),
            index,
            starts,
            rows: rows.into_iter().map(|(_, time, row)| (time, row)).collect(),
            left_time: Program::prepare(&join.left_time)?,
            added: join.right_columns.iter().map(|&column| Arc::clone(table.column(column))).collect(),
        })
    }

    /// Looks up the rows of a batch.
    ///
    /// # Errors
    /// `Overflow` for a time that has no number, `Internal` for keys of other types than the table's.
    pub fn probe(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let entries = self.find(batch)?;
        let times = self.left_time.evaluate(batch)?;
        let times = times.as_primitive::<Int64Type>();
        let taken = entries.iter().enumerate().map(|(row, &entry)| {
            if times.is_null(row) { None } else { self.pick(self.rows_of(entry), times.value(row)) }
        });
        let taken = taken.collect::<UInt32Array>();
        let mut columns = batch.columns().to_vec();
        for values in &self.added {
            let nothing = taken.null_count() == taken.len();
            columns.push(match nothing {
                true => new_null_array(values.data_type(), taken.len()),
                false => take(values, &taken, None)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.join.schema), columns, &options)?)
    }

    fn find(&self, batch: &RecordBatch) -> Result<Vec<u32>> {
        let Some(index) = &self.index else { return Ok(vec![0; batch.num_rows()]) };
        let keys = self.join.left_keys.iter().map(|&column| plain(batch.column(column))).collect::<Result<Vec<_>>>()?;
        for (key, of_table) in keys.iter().zip(&self.key_types) {
            if !comparable(key.data_type(), of_table) {
                let types = format!("{} and {of_table}", key.data_type());
                return Err(Error::internal(format!("a join compares keys of the types {types}")));
            }
        }
        index.find(&keys)
    }

    fn rows_of(&self, entry: u32) -> &[(i64, u32)] {
        match (self.starts.get(entry as usize), self.starts.get((entry as usize).saturating_add(1))) {
            (Some(&from), Some(&to)) if entry != NONE => &self.rows[from..to],
            _ => &[],
        }
    }

    /// The row that is taken of those of a key.
    fn pick(&self, rows: &[(i64, u32)], time: i64) -> Option<u32> {
        let later = rows.partition_point(|row| row.0 <= time);
        let not_earlier = rows.partition_point(|row| row.0 < time);
        let before = later.checked_sub(1).map(|place| rows[place]);
        let (found, number) = match self.join.strategy {
            AsofStrategy::Backward => before?,
            AsofStrategy::Forward => *rows.get(not_earlier)?,
            AsofStrategy::Nearest => {
                // Of those that come next the last one of their time.
                let after = rows.get(later).map(|next| rows[rows.partition_point(|row| row.0 <= next.0) - 1]);
                match (before, after) {
                    (Some(before), Some(after)) if before.0.abs_diff(time) < after.0.abs_diff(time) => before,
                    (before, after) => after.or(before)?,
                }
            }
        };
        let is_close = |tolerance: i64| u64::try_from(tolerance).is_ok_and(|most| found.abs_diff(time) <= most);
        self.join.tolerance.is_none_or(is_close).then_some(number)
    }
}

impl fmt::Debug for PreparedAsof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedAsof").field("join", &self.join).finish_non_exhaustive()
    }
}
