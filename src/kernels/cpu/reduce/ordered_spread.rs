//! Variance and standard deviation of floats by plain arithmetic, in the order of the rows: one pass, which keeps the mean
//! so far and the squared distances from it.
//!
//! Row by row as B. P. Welford, *Note on a method for calculating corrected sums of squares and products* (1962); partitions
//! are put together as T. F. Chan, G. H. Golub and R. J. `LeVeque`, *Updating formulae and a pairwise algorithm for
//! computing sample variances* (1979). As for ordered sums, the answer hangs on the cuts between partitions.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray};
use arrow_buffer::{ArrowNativeType, Buffer};

use super::state::{Mapping, Refusal, Rows, State, each, merge_slots, needed, same};
use super::variance::Wanted;
use crate::error::Result;
use crate::kernels::cpu::native;
use crate::kernels::stored::corrupt;

/// Bytes of a stored group: count, mean and squares.
const STORED_BYTES: i32 = 24;

/// What is known of a group's values so far. Counts are floats: they only meet floats, and are exact up to 2^53.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    count: f64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
}

impl Slot {
    #[inline(always)]
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let distance = value - self.mean;
        self.mean += distance / self.count;
        self.squares += distance * (value - self.mean);
    }

    fn add_all(&mut self, later: Self) {
        if self.count == 0.0 {
            *self = later;
        } else if later.count > 0.0 {
            let (count, distance) = (self.count + later.count, later.mean - self.mean);
            let share = later.count / count;
            self.mean += distance * share;
            self.squares = self.squares + later.squares + distance * distance * (self.count * share);
            self.count = count;
        }
    }

    /// Null if nothing is left to divide by. Which of several NaN comes out is left to processors: one stands for all.
    fn variance(&self, ddof: u8) -> Option<f64> {
        let left = self.count - f64::from(ddof);
        let variance = self.squares / left;
        (left > 0.0).then_some(if variance.is_nan() { f64::NAN } else { variance })
    }
}

/// Variances or standard deviations of values of type `N`.
pub(super) struct OrderedSpread<N> {
    wanted: Wanted,
    slots: Vec<Slot>,
    values: PhantomData<N>,
}

impl<N> OrderedSpread<N> {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self { wanted, slots: Vec::new(), values: PhantomData }
    }
}

impl<N: ArrowNativeType + Into<f64>> State for OrderedSpread<N> {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        let values = native::values::<N>(needed(input)?)?;
        self.slots.resize(rows.groups, Slot::default());
        each(&mut self.slots, rows, &values, |slot, value, _| slot.add(value.into()));
        Ok(())
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        merge_slots(&mut self.slots, &same::<Self>(later)?.slots, mapping, |slot, later| slot.add_all(later));
        Ok(())
    }

    fn store(&self) -> Result<ArrayRef> {
        let words = self.slots.iter().flat_map(|slot| [slot.count, slot.mean, slot.squares]);
        let words = words.map(|word| word.to_bits().to_le()).collect::<Vec<u64>>();
        Ok(Arc::new(FixedSizeBinaryArray::try_new(STORED_BYTES, Buffer::from_vec(words), None)?))
    }

    fn restore(&mut self, column: &ArrayRef) -> Result<()> {
        let stored = column.as_fixed_size_binary_opt().filter(|stored| stored.value_length() == STORED_BYTES);
        let stored = stored.filter(|stored| stored.null_count() == 0);
        let stored = stored.ok_or_else(|| corrupt("an ordered variance has no count, mean and squares"))?;
        let slot = |row: usize| {
            let (words, _) = stored.value(row).as_chunks::<8>();
            let word = |place: usize| words.get(place).map_or(0.0, |bytes| f64::from_le_bytes(*bytes));
            Slot { count: word(0), mean: word(1), squares: word(2) }
        };
        self.slots = (0..stored.len()).map(slot).collect();
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, Refusal> {
        self.wanted.column(self.slots.iter().map(|slot| slot.variance(self.wanted.ddof)).collect())
    }
}
