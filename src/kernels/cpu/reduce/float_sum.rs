//! Exact sums and means of floats.
//!
//! While the exponents of the values lie inside a window of [`WINDOW`] powers of two, a value is its mantissa shifted to
//! the window's grid, and its addition one of 128 bits. The window is chosen by the first batch; it has no influence on
//! the answer, only on the speed. What lies outside goes to the group's [`FloatTotal`], which takes everything.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "exponents and group ids fit 32 bits; halves of wider numbers are cut on purpose"
)]

use std::marker::PhantomData;

use arrow_array::ArrayRef;
use arrow_buffer::ArrowNativeType;
use arrow_schema::DataType;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::state::{Mapping, Refusal, Rows, State, each, merge_slots, needed, same};
use crate::error::Result;
use crate::kernels::cpu::native;
use crate::kernels::exact_sum::{self, F64_GRID, Fixed, FloatTotal};

/// How many exponents the window has. 53 bits of mantissa and 44 of shift leave room for 2^29 values of the largest size.
const WINDOW: u32 = 44;
/// No slot may be larger than this: one more addition must fit.
const SLOT_MAX: u128 = 1 << 126;
/// The largest value inside the window, in units of its grid.
const VALUE_MAX: u128 = 1 << (53 + WINDOW);

/// Which exponents the window holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// The lowest exponent field of an `f64` inside.
    low: u32,
}

impl Window {
    /// A window for values like these: the largest lies near its upper end. On a coarse raster, so that the partitions
    /// of a batch choose the same.
    pub(super) fn for_values(values: impl Iterator<Item = f64>) -> Option<Self> {
        let field = |value: f64| (value.to_bits() >> 52) as u32 & 0x7ff;
        let highest = values.map(field).filter(|&field| field < 0x7ff).max().filter(|&field| field > 0)?;
        Some(Self { low: highest.next_multiple_of(16).saturating_sub(WINDOW).max(1) })
    }

    /// The exponent of the grid's unit.
    pub(super) fn grid(self) -> i32 {
        F64_GRID + self.low as i32 - 1
    }

    /// Sign, mantissa and shift of a value inside.
    #[inline]
    pub(super) fn place(self, bits: u64) -> Option<(bool, u64, u32)> {
        let shift = ((bits >> 52) as u32 & 0x7ff).wrapping_sub(self.low);
        let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
        (shift <= WINDOW).then_some((bits >> 63 == 1, mantissa, shift))
    }
}

/// Which result is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Sum,
    Mean,
}

/// The exact sum of values of type `N`.
pub(super) struct FloatSum<N> {
    wanted: Wanted,
    window: Option<Window>,
    /// Sum of what lies inside the window, in units of its grid, and the number of all values.
    slots: Vec<(Fixed<2>, u64)>,
    /// No slot is larger than this.
    bound: u128,
    /// What lies outside the window, for the groups that have some.
    outside: Outside,
    values: PhantomData<N>,
}

type Outside = HashMap<u32, Box<FloatTotal>, FixedState>;

impl<N> FloatSum<N> {
    pub(super) fn new(wanted: Wanted) -> Self {
        let outside = HashMap::with_hasher(FixedState::default());
        Self { wanted, window: None, slots: Vec::new(), bound: 0, outside, values: PhantomData }
    }

    /// Empties the slots into the totals, before they could overflow.
    fn flush(&mut self) {
        let Some(window) = self.window else { return };
        for (group, (total, _)) in self.slots.iter_mut().enumerate().filter(|(_, slot)| slot.0 != Fixed::default()) {
            add_outside(&mut self.outside, group, total, window);
            *total = Fixed::default();
        }
        self.bound = 0;
    }
}

fn add_outside(outside: &mut Outside, group: usize, total: &Fixed<2>, window: Window) {
    let shift = (window.grid() - F64_GRID) as u32;
    outside.entry(group as u32).or_default().finite.add_fixed(total, shift);
}

impl<N: ArrowNativeType + Into<f64>> State for FloatSum<N> {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        let values = native::values::<N>(needed(input)?)?;
        self.slots.resize(rows.groups, (Fixed::default(), 0));
        if self.window.is_none() {
            self.window = Window::for_values(values.iter().map(|&value| value.into()));
        }
        let window = self.window.unwrap_or(Window { low: 1023 });
        let most = VALUE_MAX * rows.len as u128;
        if self.bound + most > SLOT_MAX {
            self.flush();
        }
        self.bound += most;
        let mut outside = Vec::new();
        each(&mut self.slots, rows, &values, |(total, count), value, row| {
            *count += 1;
            let value: f64 = value.into();
            match window.place(value.to_bits()) {
                Some((negative, mantissa, shift)) => total.add_shifted(negative, mantissa, shift),
                None if value == 0.0 => {}
                None => outside.push(row),
            }
        });
        for row in outside {
            self.outside.entry(rows.ids.of(row)).or_default().add(values[row].into());
        }
        Ok(())
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        let later = same::<Self>(later)?;
        self.window = self.window.or(later.window);
        if self.bound + later.bound > SLOT_MAX {
            self.flush();
        }
        if self.window == later.window && self.bound + later.bound <= SLOT_MAX {
            self.bound += later.bound;
            merge_slots(&mut self.slots, &later.slots, mapping, |(total, count), later| {
                total.add_same(&later.0);
                *count += later.1;
            });
        } else {
            self.slots.resize(mapping.groups, (Fixed::default(), 0));
            for (from, to) in mapping.pairs() {
                let (total, count) = later.slots[from];
                self.slots[to].1 += count;
                if let Some(window) = later.window.filter(|_| total != Fixed::default()) {
                    add_outside(&mut self.outside, to, &total, window);
                }
            }
        }
        if !later.outside.is_empty() {
            for (from, to) in mapping.pairs() {
                if let Some(total) = later.outside.get(&(from as u32)) {
                    self.outside.entry(to as u32).or_default().merge(total);
                }
            }
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<ArrayRef, Refusal> {
        let grid = self.window.map_or(0, Window::grid);
        let result = |(group, &(inside, count)): (usize, &(Fixed<2>, u64))| {
            let divisor = if self.wanted == Wanted::Mean { count } else { 1 };
            match self.outside.get(&(group as u32)) {
                _ if count == 0 => 0.0,
                None => exact_sum::quotient_of_two(&inside, grid, divisor),
                Some(outside) => {
                    let mut total = **outside;
                    total.finite.add_fixed(&inside, (grid.max(F64_GRID) - F64_GRID) as u32);
                    total.divided(divisor)
                }
            }
        };
        let results: Vec<f64> = self.slots.iter().enumerate().map(result).collect();
        let present: Vec<bool> = self.slots.iter().map(|slot| slot.1 > 0).collect();
        Ok(native::column(&DataType::Float64, results, native::validity(&present))?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Float64Type;
    use arrow_array::{ArrayRef, Float64Array};

    use super::super::state::Ids;
    use super::*;

    fn take_in(sum: &mut FloatSum<f64>, values: &[f64]) {
        let rows = Rows { ids: Ids::One, len: values.len(), groups: 1, selection: None };
        let column: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        assert!(sum.update(&rows, Some(&column)).is_ok());
    }

    fn result(sum: FloatSum<f64>) -> f64 {
        let column = Box::new(sum).finish().unwrap_or_else(|_| panic!("a float sum is always in range"));
        column.as_primitive::<Float64Type>().value(0)
    }

    #[test]
    fn slots_that_could_overflow_are_emptied_first_and_nothing_is_lost() {
        let mut sum = FloatSum::new(Wanted::Sum);
        take_in(&mut sum, &[0.1, 1e6]);
        // As after 2^29 values of the largest size.
        sum.bound = SLOT_MAX;
        take_in(&mut sum, &[0.2, -1e6]);
        assert_eq!(sum.outside.len(), 1);
        assert_eq!(sum.bound, 2 * VALUE_MAX);
        let mut later = FloatSum::new(Wanted::Sum);
        take_in(&mut later, &[0.3]);
        later.bound = SLOT_MAX;
        let mapping = Mapping { from: &[0], to: &[0], later_groups: 1, groups: 1 };
        assert!(sum.merge(&later, &mapping).is_ok());
        assert!(sum.bound <= SLOT_MAX);
        let mut plain = FloatTotal::default();
        [0.1, 1e6, 0.2, -1e6, 0.3].into_iter().for_each(|value| plain.add(value));
        assert_eq!(result(sum).to_bits(), plain.divided(1).to_bits());
    }

    #[test]
    fn partitions_with_different_windows_merge_exactly() {
        let mut sum = FloatSum::new(Wanted::Sum);
        take_in(&mut sum, &[1e300, 0.0]);
        let mut later = FloatSum::new(Wanted::Sum);
        take_in(&mut later, &[1e-300, -1e300]);
        take_in(&mut later, &[1.0, -1.0]);
        let mut third = FloatSum::new(Wanted::Sum);
        take_in(&mut third, &[5e-301]);
        let mapping = Mapping { from: &[0], to: &[0], later_groups: 1, groups: 1 };
        assert!(sum.merge(&later, &mapping).is_ok() && sum.merge(&third, &mapping).is_ok());
        assert_ne!(sum.window, third.window);
        assert_eq!(result(sum), 1e-300 + 5e-301);
    }
}
