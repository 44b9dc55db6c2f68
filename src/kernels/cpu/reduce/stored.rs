//! Groups as columns and back, so that they can leave the process.
//!
//! One row a group, in the order of the groups, so that a part of the groups is a part of the rows: first the keys as
//! they are; then what the lanes hold, feed by feed (`stored_lanes`); then a column for each other aggregate, made by
//! its [`State`](super::state::State). The columns say what was seen, not how this version keeps it: totals are whole
//! numbers with their exponent (`stored_total`), whatever grid the lanes had.

#![expect(clippy::cast_possible_truncation, reason = "group ids fit u32: given out by GroupIds")]

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{Field, Schema, SchemaRef};

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
