//! Groups as columns and back, so that they can leave the process.
//!
//! One row a group, in the order of the groups, so that a part of the groups is a part of the rows: first the keys as
//! they are; then what the lanes hold, feed by feed (`stored_lanes`); then a column for each other aggregate, made by
//! its [`State`](super::state::State). The columns say what was seen, not how this version keeps it: totals are whole
//! numbers with their exponent (`stored_total`), whatever grid the lanes had.

#![expect(clippy::cast_possible_truncation, reason = "group ids fit u32: given out by GroupIds")]

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::take::take;

use super::{Groups, KeyedReduce};
use crate::error::Result;
use crate::kernels::stored;

impl KeyedReduce {
    /// The schema of stored groups: see [`Groups::store`].
    ///
    /// # Errors
    /// None after [`KeyedReduce::prepare`] went well.
    pub fn stored_schema(&self) -> Result<SchemaRef> {
        Ok(self.begin()?.store()?.schema())
    }

    /// The groups that were stored by [`Groups::store`], by this or another process, under the same keys and aggregates.
    ///
    /// # Errors
    /// `InvalidOption` for columns that this reduce does not store, `Unsupported` for another format, `Corrupt` for what
    /// nothing can have stored.
    pub fn restore(&self, batch: &RecordBatch) -> Result<Groups> {
        stored::check(batch, self.stored_schema()?.as_ref())?;
        let mut groups = self.begin()?;
        let (keys, mut states) = batch.columns().split_at(self.0.keys.len());
        if keys.is_empty() {
            if batch.num_rows() != 1 {
                return Err(stored::corrupt(format!("without keys there is one group, not {}", batch.num_rows())));
            }
        } else {
            let mut ids = Vec::new();
            groups.ids.assign(keys, &mut ids)?;
            if ids.iter().enumerate().any(|(row, &id)| id != row as u32) {
                return Err(stored::corrupt("a key occurs twice"));
            }
        }
        groups.laned.restore(&mut states, batch.num_rows())?;
        for (state, column) in groups.states.iter_mut().flatten().zip(states) {
            state.restore(column)?;
        }
        Ok(groups)
    }

    /// The groups of stored rows, which have been checked: of several rows of a key the last one counts, and groups are in
    /// the order of the first ones. Gives the first row of each group too, unless each row is a group.
    ///
    /// # Errors
    /// `Corrupt` for what nothing can have stored.
    pub(in crate::kernels::cpu) fn restore_latest(
        &self,
        columns: &[ArrayRef],
        rows: usize,
    ) -> Result<(Groups, Option<Vec<u32>>)> {
        self.restore_into(self.begin()?.settled()?, columns, rows)
    }

    /// As [`KeyedReduce::restore_latest`], for keys that are a few of many, anywhere among them.
    pub(in crate::kernels::cpu) fn restore_share(
        &self,
        columns: &[ArrayRef],
        rows: usize,
    ) -> Result<(Groups, Option<Vec<u32>>)> {
        self.restore_into(self.begin()?.settled()?.scattered(), columns, rows)
    }

    fn restore_into(
        &self,
        mut groups: Groups,
        columns: &[ArrayRef],
        rows: usize,
    ) -> Result<(Groups, Option<Vec<u32>>)> {
        let (keys, columns) = columns.split_at(self.0.keys.len());
        let (mut last, mut first): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        if keys.is_empty() {
            let Some(row) = rows.checked_sub(1) else { return Ok((groups, None)) };
            last.push(row as u32);
        } else {
            let mut ids = Vec::new();
            groups.ids.assign(keys, &mut ids)?;
            if groups.len() < rows {
                last.resize(groups.len(), 0);
                for (row, id) in (0_u32..).zip(ids) {
                    last[id as usize] = row;
                    if id as usize == first.len() {
                        first.push(row);
                    }
                }
            }
        }
        let is_each = last.is_empty() || last.len() == rows;
        let latest = UInt32Array::from(last);
        let column = |column: &ArrayRef| if is_each { Ok(Arc::clone(column)) } else { take(column, &latest, None) };
        let columns = columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let mut states = &columns[..];
        let count = groups.len();
        groups.laned.restore(&mut states, count)?;
        for (state, column) in groups.states.iter_mut().flatten().zip(states) {
            state.restore(column)?;
        }
        Ok((groups, (!is_each).then_some(first)))
    }
}

impl Groups {
    /// The groups as columns, a row a group; the groups stay as they are. [`KeyedReduce::restore`] takes them back.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use arrow_array::{ArrayRef, StringArray};
    /// use pelton::columnar::{DataType, Field};
    /// use pelton::expr::{AggregateFunction, TypedAggregate};
    /// use pelton::kernels::cpu::reduce::KeyedReduce;
    ///
    /// let visits = TypedAggregate {
    ///     function: AggregateFunction::Len,
    ///     input: None,
    ///     filter: None,
    ///     name: "visits".into(),
    ///     data_type: DataType::Int64,
    /// };
    /// let by_city = KeyedReduce::prepare(&[Field::new("city", DataType::Utf8, false)], &[visits])?;
    /// let cities: ArrayRef = Arc::new(StringArray::from(vec!["Oslo", "Rome", "Oslo"]));
    /// let mut here = by_city.begin()?;
    /// here.update(&[cities], &[None], &[None], 3)?;
    ///
    /// let stored = here.store()?; // to a file, or over the network
    /// let there = by_city.restore(&stored)?;
    /// assert_eq!(there.finish()?, here.finish()?);
    /// # Ok::<(), pelton::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Unsupported` when rows that were put off bring more groups than ids; `Overflow` for texts larger than their type
    /// can hold.
    pub fn store(&mut self) -> Result<RecordBatch> {
        self.settle()?;
        let groups = self.len();
        let aggregates = &self.prepared.aggregates;
        let mut fields: Vec<Field> = self.prepared.keys.clone();
        let mut columns: Vec<ArrayRef> = self.ids.keys()?;
        for (name, column) in self.laned.store(aggregates, groups)? {
            fields.push(Field::new(name, column.data_type().clone(), true));
            columns.push(column);
        }
        for (state, aggregate) in self.states.iter().zip(aggregates) {
            if let Some(state) = state {
                let column = state.store()?;
                let name = format!("{}: {}", aggregate.name, aggregate.function.name());
                fields.push(Field::new(name, column.data_type().clone(), true));
                columns.push(column);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(groups));
        Ok(RecordBatch::try_new_with_options(stored::stamped(Schema::new(fields)), columns, &options)?)
    }
}
