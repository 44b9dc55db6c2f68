//! The keys of windows by closures, which may be put away: the part of [`super::fold_windows`] that says what is stored of a key,
//! and how it is taken back.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt64Type;
use arrow_array::{Array, RecordBatch, UInt64Array};
use arrow_select::concat::concat_batches;

use super::fold_pieces::{Piece, Pieces};
use super::fold_windows::{KeptFolds, KeyHeld};
use super::held_keys::{Due, HeldKeys, KeepsKeys};
use crate::columnar::{DataType, Field, Schema, SchemaRef};
use crate::error::{Error, Result};
use crate::kernels::keep::under;
use crate::kernels::map_state::micros;
use crate::kernels::stored;

/// Behind what is stored of a value that is put away: its number; of a total, the life of its key.
const NUMBER: &str = "number";

impl KeepsKeys for KeptFolds {
    type Value = KeyHeld;

    fn held(&self) -> &HeldKeys<KeyHeld> {
        &self.held
    }

    fn held_mut(&mut self) -> &mut HeldKeys<KeyHeld> {
        &mut self.held
    }

    fn schema_stored(&self) -> Result<SchemaRef> {
        let schema = self.stored_schema();
        let fields = schema.fields().iter().map(|field| field.as_ref().clone());
        let fields = fields.chain([Field::new(NUMBER, DataType::UInt64, false)]).collect::<Vec<_>>();
        Ok(stored::stamped(Schema::new(fields)))
    }

    fn schema_restored(&self) -> Result<SchemaRef> {
        Ok(self.stored_schema())
    }

    /// Of some key groups, all keys.
    fn store_keys(&mut self, slots: &[u32]) -> Result<(RecordBatch, Vec<u32>)> {
        let schema = self.schema_stored()?;
        let mut parts = Vec::new();
        let mut push = |rows: RecordBatch, numbers: Vec<u64>| -> Result<()> {
            let mut columns = rows.columns().to_vec();
            columns.push(Arc::new(UInt64Array::from(numbers)));
            parts.push(under(&schema, columns, rows.num_rows())?);
            Ok(())
        };
        let totals = self.stored_totals(slots.to_vec())?;
        let mut slots_of_rows = Vec::new();
        if totals.num_rows() > 0 {
            slots_of_rows.extend_from_slice(slots);
            push(totals, slots.iter().map(|&slot| self.held.get(slot).map_or(0, |held| held.value.life)).collect())?;
        }
        let mut groups = slots.iter().map(|&slot| self.held.key_group_of(slot)).collect::<Vec<_>>();
        groups.sort_unstable();
        groups.dedup();
        for piece in groups.into_iter().flat_map(|group| self.pieces[group].all()) {
            let Piece { slots, numbers, times, columns, .. } = self.alive(piece.clone())?;
            push(self.stored_rows(&slots, Some(&times), true, columns)?, numbers)?;
            slots_of_rows.extend(slots);
        }
        Ok((concat_batches(&schema, &parts)?, slots_of_rows))
    }

    fn take_back(&mut self, rows: &RecordBatch, since: &[u64]) -> Result<()> {
        let columns = rows.num_columns() - 1;
        let numbers = rows.column(columns).as_primitive::<UInt64Type>().clone();
        let rows = under(&self.stored_schema(), rows.columns()[..columns].to_vec(), rows.num_rows())?;
        // Nothing has come or changed.
        let latest = std::mem::take(&mut self.latest);
        let taken = self.restore_numbered(&rows, numbers.values(), since);
        self.latest = latest;
        taken
    }

    fn restore_rows(&mut self, rows: &RecordBatch, numbers: &[u64]) -> Result<()> {
        self.restore_numbered(rows, numbers, numbers)
    }

    fn changed_rows(&mut self) -> Result<RecordBatch> {
        let totals = self.stored_totals(self.latest.moved.clone())?;
        Ok(concat_batches(&self.stored_schema(), self.latest.came.iter().chain([&totals]))?)
    }

    /// Totals by their keys, values in the order in which they came.
    fn order_stored(&self, rows: &RecordBatch, since: &[u64]) -> Vec<u32> {
        let times = rows.column(self.fold.keys.len());
        let numbers = rows.column(self.stored_schema().fields().len()).as_primitive::<UInt64Type>();
        let place = |&row: &u32| {
            let row = row as usize;
            (times.is_valid(row), if times.is_valid(row) { numbers.value(row) } else { since[row] })
        };
        let mut order = (0_u32..).take(rows.num_rows()).collect::<Vec<_>>();
        order.sort_by_key(place);
        order
    }

    fn without_keys(&self) -> Result<Self> {
        let function = self.function.as_ref().map(|(function, _)| function.clone());
        let mut copy = Self::new(&self.fold, function, self.schemas.clone())?;
        copy.now = self.now;
        Ok(copy)
    }

    fn with_keys_here(&self) -> Result<Self> {
        Err(Error::internal("the keys of windows by functions are looked at key group by key group"))
    }

    /// A key group comes back when its first value leaves the window.
    fn first_due_of(&self, group: usize, _: &[u32]) -> Due {
        let first = self.pieces[group].first_time();
        Due { until: first.map(|time| time.saturating_add(micros(self.fold.size))), until_event: None }
    }

    fn let_leave(&mut self, group: usize, slots: &[u32]) {
        self.pieces[group] = Pieces::default();
        if let Some((_, folds)) = &mut self.function {
            folds.clear(slots);
        }
    }
}
