//! Sums and means of floats by plain additions, in the order of the rows: what other engines call a sum.
//!
//! A partition adds up from its first row on; sums of later partitions are added to those of earlier ones. So the answer
//! hangs on the cuts between partitions and on nothing else, and whoever cuts has to do so at places of their own.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray};
use arrow_buffer::{ArrowNativeType, Buffer};
use arrow_schema::DataType;

use super::state::{Mapping, Refusal, Rows, State, each, merge_slots, needed, same};
use crate::error::Result;
use crate::kernels::cpu::native;
use crate::kernels::stored::corrupt;

/// Bytes of a stored total: count and sum.
const STORED_BYTES: i32 = 16;

/// The sum of a group's values so far, and how many there were.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    count: u64,
    sum: f64,
}

/// Sums or means of values of type `N`.
pub(super) struct OrderedTotal<N> {
    is_mean: bool,
    slots: Vec<Slot>,
    values: PhantomData<N>,
}

impl<N> OrderedTotal<N> {
    pub(super) fn new(is_mean: bool) -> Self {
        Self { is_mean, slots: Vec::new(), values: PhantomData }
    }
}

impl<N: ArrowNativeType + Into<f64>> State for OrderedTotal<N> {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        let values = native::values::<N>(needed(input)?)?;
        self.slots.resize(rows.groups, Slot::default());
        each(&mut self.slots, rows, &values, |slot, value, _| {
            slot.sum += value.into();
            slot.count += 1;
        });
        Ok(())
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        let later = same::<Self>(later)?;
        merge_slots(&mut self.slots, &later.slots, mapping, |slot, later| {
            slot.sum += later.sum;
            slot.count += later.count;
        });
        Ok(())
    }

    fn store(&self) -> Result<ArrayRef> {
        let words = self.slots.iter().flat_map(|slot| [slot.count.to_le(), slot.sum.to_bits().to_le()]);
        let words = Buffer::from_vec(words.collect::<Vec<u64>>());
        Ok(Arc::new(FixedSizeBinaryArray::try_new(STORED_BYTES, words, None)?))
    }

    fn restore(&mut self, column: &ArrayRef) -> Result<()> {
        let stored = column.as_fixed_size_binary_opt().filter(|stored| stored.value_length() == STORED_BYTES);
        let stored =
            stored.filter(|stored| stored.null_count() == 0).ok_or_else(|| corrupt("an ordered sum has no sum"))?;
        let word = |bytes: &[u8]| bytes.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let slot = |row: usize| {
            let (count, sum) = stored.value(row).split_at(8);
            Slot { count: word(count), sum: f64::from_bits(word(sum)) }
        };
        self.slots = (0..stored.len()).map(slot).collect();
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, Refusal> {
        #[expect(clippy::cast_precision_loss, reason = "a mean is rounded anyway")]
        let value = |slot: &Slot| match slot {
            Slot { count: 0, .. } => 0.0,
            // Which of several NaN comes out is left to processors: one stands for all.
            Slot { sum, .. } if sum.is_nan() => f64::NAN,
            Slot { count, sum } if self.is_mean => sum / *count as f64,
            Slot { sum, .. } => *sum,
        };
        let present: Vec<bool> = self.slots.iter().map(|slot| slot.count > 0).collect();
        let values = self.slots.iter().map(value).collect();
        Ok(native::column::<f64>(&DataType::Float64, values, native::validity(&present))?)
    }
}
