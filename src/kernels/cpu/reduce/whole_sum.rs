//! Sums and means of integers, decimals and durations: exact in two or three limbs, checked once at the end.

use std::marker::PhantomData;

use arrow_array::ArrayRef;
use arrow_buffer::ArrowNativeType;
use arrow_schema::DataType;

use super::state::{Mapping, Refusal, Rows, Seen, State, each, merge_slots, needed, same};
use crate::error::Result;
use crate::kernels::cpu::native;
use crate::kernels::exact_sum::{self, Fixed};
use crate::kernels::reduce;

/// The sum of values of type `N`, in `L` limbs: one more than the values have.
pub(super) struct WholeSum<N, const L: usize> {
    data_type: DataType,
    totals: Vec<Fixed<L>>,
    seen: Seen,
    values: PhantomData<N>,
}

impl<N, const L: usize> WholeSum<N, L> {
    /// A sum of type `data_type`.
    pub(super) fn new(data_type: DataType) -> Self {
        Self { data_type, totals: Vec::new(), seen: Seen::default(), values: PhantomData }
    }

    /// All totals as the native type of the result; `limit` bounds the digits of decimals.
    fn narrowed<T: TryFrom<i128> + ArrowNativeType>(&self, limit: i128) -> Result<ArrayRef, Refusal> {
        let mut sums = Vec::with_capacity(self.totals.len());
        for (group, total) in self.totals.iter().enumerate() {
            let whole = total.to_i128().filter(|whole| (-limit..=limit).contains(whole));
            match whole.and_then(|whole| T::try_from(whole).ok()) {
                Some(sum) => sums.push(sum),
                None => return Err(self.out_of_range(group)),
            }
        }
        Ok(native::column(&self.data_type, sums, self.seen.validity())?)
    }

    fn out_of_range(&self, group: usize) -> Refusal {
        let scale = if let DataType::Decimal128(_, scale) = self.data_type { scale } else { 0 };
        let value = reduce::total_text(&self.totals[group], &self.data_type, scale);
        Refusal::OutOfRange { group, value, data_type: self.data_type.clone() }
    }
}

impl<N: ArrowNativeType + Into<i128>, const L: usize> State for WholeSum<N, L> {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        let values = native::values::<N>(needed(input)?)?;
        self.totals.resize(rows.groups, Fixed::default());
        each(&mut self.totals, rows, &values, |total, value, _| total.add_whole(value.into()));
        self.seen.mark(rows);
        Ok(())
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        let later = same::<Self>(later)?;
        merge_slots(&mut self.totals, &later.totals, mapping, |total, later| total.add_same(&later));
        self.seen.merge(&later.seen, mapping);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<ArrayRef, Refusal> {
        match &self.data_type {
            DataType::UInt64 => self.narrowed::<u64>(i128::MAX),
            DataType::Decimal128(_, _) => self.narrowed::<i128>(10_i128.pow(38) - 1),
            _ => self.narrowed::<i64>(i128::MAX),
        }
    }
}

/// The mean of values of type `N`.
pub(super) struct WholeMean<N, const L: usize> {
    /// Decimal digits after the point.
    scale: i8,
    slots: Vec<(Fixed<L>, u64)>,
    values: PhantomData<N>,
}

impl<N, const L: usize> WholeMean<N, L> {
    pub(super) fn new(scale: i8) -> Self {
        Self { scale, slots: Vec::new(), values: PhantomData }
    }
}

impl<N: ArrowNativeType + Into<i128>, const L: usize> State for WholeMean<N, L> {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        let values = native::values::<N>(needed(input)?)?;
        self.slots.resize(rows.groups, (Fixed::default(), 0));
        each(&mut self.slots, rows, &values, |(total, count), value, _| {
            total.add_whole(value.into());
            *count += 1;
        });
        Ok(())
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        merge_slots(&mut self.slots, &same::<Self>(later)?.slots, mapping, |(total, count), later| {
            total.add_same(&later.0);
            *count += later.1;
        });
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<ArrayRef, Refusal> {
        let mean = |&(total, count): &(Fixed<L>, u64)| {
            if count == 0 { 0.0 } else { exact_sum::whole_mean(&total, count, self.scale) }
        };
        let means: Vec<f64> = self.slots.iter().map(mean).collect();
        let present: Vec<bool> = self.slots.iter().map(|slot| slot.1 > 0).collect();
        Ok(native::column(&DataType::Float64, means, native::validity(&present))?)
    }
}
