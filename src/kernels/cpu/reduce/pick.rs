//! `first` and `last`: the value in one row of each group, whatever its type, nulls included.

#![expect(clippy::cast_possible_truncation, reason = "a column of picked values is kept below 2^32 rows")]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StructArray, UInt32Array, new_empty_array};
use arrow_schema::{DataType, Field, Fields};

use super::state::{Mapping, Refusal, Rows, State, needed, same};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cpu::native;

/// Picked values beyond this many per group are forgotten ones: then only the valid are kept.
const STALE_FACTOR: usize = 4;
/// Below this many it is not worth the while.
const STALE_MIN: usize = 1 << 16;

const NOTHING: u32 = u32::MAX;

/// The first value, or the last.
pub(super) struct Pick<const IS_LAST: bool> {
    data_type: DataType,
    /// Values picked, batch by batch.
    picked: Vec<ArrayRef>,
    len: usize,
    /// Where in `picked`, as one column, the value of each group lies.
    places: Vec<u32>,
}

impl<const IS_LAST: bool> Pick<IS_LAST> {
    pub(super) fn new(data_type: DataType) -> Self {
        Self { data_type, picked: Vec::new(), len: 0, places: Vec::new() }
    }

    /// Appends the values at these rows, and returns the place of the first.
    fn append(&mut self, column: &ArrayRef, rows: Vec<u32>) -> Result<()> {
        self.len += rows.len();
        if self.len >= NOTHING as usize {
            return Err(Error::new(ErrorKind::Unsupported, "first and last hold more than 2^32 values"));
        }
        self.picked.push(arrow_select::take::take(column, &UInt32Array::from(rows), None)?);
        Ok(())
    }

    fn column(&self) -> Result<ArrayRef> {
        let picked: Vec<&dyn Array> = self.picked.iter().map(AsRef::as_ref).collect();
        if picked.is_empty() {
            return Ok(new_empty_array(&self.data_type));
        }
        Ok(arrow_select::concat::concat(&picked)?)
    }

    /// The value of each group.
    fn values(&self) -> Result<ArrayRef> {
        let places = self.places.iter().map(|&place| (place != NOTHING).then_some(place));
        Ok(arrow_select::take::take(&self.column()?, &UInt32Array::from_iter(places), None)?)
    }

    fn forget_stale(&mut self) -> Result<()> {
        if self.len < STALE_MIN || self.len < STALE_FACTOR * self.places.len() {
            return Ok(());
        }
        let values = self.values()?;
        for (group, place) in self.places.iter_mut().enumerate().filter(|(_, place)| **place != NOTHING) {
            *place = group as u32;
        }
        self.len = values.len();
        self.picked = vec![values];
        Ok(())
    }
}

impl<const IS_LAST: bool> State for Pick<IS_LAST> {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        let before = self.len as u32;
        self.places.resize(rows.groups, NOTHING);
        let mut winners: Vec<u32> = Vec::new();
        let places = &mut self.places;
        let mut offer = |row: usize| {
            let place = &mut places[rows.ids.of(row) as usize];
            if *place == NOTHING || (IS_LAST && *place < before) {
                *place = before + winners.len() as u32;
                winners.push(row as u32);
            } else if IS_LAST {
                winners[(*place - before) as usize] = row as u32;
            }
        };
        match &rows.selection {
            None => (0..rows.len).for_each(&mut offer),
            Some(selection) => selection.set_indices().for_each(&mut offer),
        }
        self.append(needed(input)?, winners)?;
        self.forget_stale()
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        let later = same::<Self>(later)?;
        let before = self.len as u32;
        self.places.resize(mapping.groups, NOTHING);
        let mut winners = Vec::new();
        for (from, to) in mapping.pairs() {
            if later.places[from] != NOTHING && (IS_LAST || self.places[to] == NOTHING) {
                self.places[to] = before + winners.len() as u32;
                winners.push(later.places[from]);
            }
        }
        self.append(&later.column()?, winners)?;
        self.forget_stale()
    }

    /// Null where no row was seen, else the value, which may be null itself.
    fn store(&self) -> Result<ArrayRef> {
        let value = Field::new("value", self.data_type.clone(), true);
        let seen: Vec<bool> = self.places.iter().map(|&place| place != NOTHING).collect();
        let (fields, columns) = (Fields::from(vec![value]), vec![self.values()?]);
        Ok(Arc::new(StructArray::try_new_with_length(fields, columns, native::validity(&seen), seen.len())?))
    }

    fn restore(&mut self, column: &ArrayRef) -> Result<()> {
        let seen = column.as_struct_opt().filter(|seen| seen.num_columns() == 1);
        let seen = seen.ok_or_else(|| Error::internal("first and last are stored as structs"))?;
        self.len = seen.len();
        self.picked = vec![Arc::clone(seen.column(0))];
        let place = |group: usize| if seen.is_valid(group) { group as u32 } else { NOTHING };
        self.places = (0..seen.len()).map(place).collect();
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, Refusal> {
        Ok(self.values()?)
    }
}
