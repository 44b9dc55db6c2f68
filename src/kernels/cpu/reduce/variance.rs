//! Variance and standard deviation: exact sums of the values and of their squares, put together and rounded once.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "exponents, counts and group ids fit 32 bits"
)]

use std::marker::PhantomData;
use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::ArrowNativeType;
use arrow_schema::DataType;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

#[cfg(feature = "gpu")]
use super::absorb::{FloatSpread, MadeMoments, foreign_totals};
use super::state::{Mapping, Refusal, Rows, State, each, merge_slots, needed, same};
use super::stored_moments::{self, StoredMoments};
use super::window::Window;
use crate::error::{Error, Result};
use crate::kernels::cpu::native;
use crate::kernels::exact_sum::{F64_GRID, FloatMoments, Moments};

/// Which result is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Taken off the count before dividing.
    pub(super) ddof: u8,
    /// The square root of the variance.
    pub(super) is_deviation: bool,
}

impl Wanted {
    pub(super) fn column(self, variances: Vec<Option<f64>>) -> Result<ArrayRef, Refusal> {
        let root = |variance: f64| if self.is_deviation { variance.sqrt() } else { variance };
        let present: Vec<bool> = variances.iter().map(Option::is_some).collect();
        let values = variances.into_iter().map(|variance| variance.map_or(0.0, root)).collect();
        Ok(native::column::<f64>(&DataType::Float64, values, native::validity(&present))?)
    }
}

/// Of integers and decimals, whose sums need `L` limbs and whose squares `M`.
pub(super) struct WholeVariance<N, const L: usize, const M: usize> {
    wanted: Wanted,
    /// Decimal digits after the point.
    scale: i8,
    slots: Vec<Moments<L, M>>,
    values: PhantomData<N>,
}

impl<N, const L: usize, const M: usize> WholeVariance<N, L, M> {
    pub(super) fn new(wanted: Wanted, scale: i8) -> Self {
        Self { wanted, scale, slots: Vec::new(), values: PhantomData }
    }
}

impl<N: ArrowNativeType + Into<i128>, const L: usize, const M: usize> State for WholeVariance<N, L, M> {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        let values = native::values::<N>(needed(input)?)?;
        self.slots.resize(rows.groups, Moments::default());
        each(&mut self.slots, rows, &values, |slot, value, _| slot.add_whole(value.into()));
        Ok(())
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        merge_slots(&mut self.slots, &same::<Self>(later)?.slots, mapping, |slot, later| slot.merge(&later));
        Ok(())
    }

    #[cfg(feature = "gpu")]
    fn absorb(&mut self, to: &[u32], groups: usize, moments: &MadeMoments) -> Result<()> {
        let MadeMoments::Whole(moments) = moments else { return Err(foreign_totals()) };
        self.slots.resize(groups, Moments::default());
        to.iter().zip(moments).for_each(|(&group, moments)| self.slots[group as usize].add_moments(moments, 0));
        Ok(())
    }

    fn store(&self) -> Result<ArrayRef> {
        stored_moments::whole_column(&self.slots)
    }

    fn restore(&mut self, column: &ArrayRef) -> Result<()> {
        self.slots = stored_moments::whole(column)?;
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, Refusal> {
        let variance = |slot: &Moments<L, M>| slot.variance(0, self.scale, self.wanted.ddof);
        self.wanted.column(self.slots.iter().map(variance).collect())
    }
}

/// Of floats: inside a window of exponents as for sums, outside of it in full.
pub(super) struct FloatVariance<N> {
    wanted: Wanted,
    window: Option<Window>,
    slots: Vec<Moments<2, 4>>,
    /// Rows taken into the slots since they were last empty, at most.
    rows: u64,
    outside: HashMap<u32, Box<FloatMoments>, FixedState>,
    values: PhantomData<N>,
}

/// Values that a slot can take before it may overflow: 97 bits a value in 127.
const ROWS_MAX: u64 = 1 << 29;

impl<N> FloatVariance<N> {
    pub(super) fn new(wanted: Wanted) -> Self {
        let outside = HashMap::with_hasher(FixedState::default());
        Self { wanted, window: None, slots: Vec::new(), rows: 0, outside, values: PhantomData }
    }

    /// All values of a group: those outside and those of its slot.
    fn with_slot(&self, outside: &FloatMoments, slot: &Moments<2, 4>) -> FloatMoments {
        let mut all = outside.clone();
        all.finite.add_moments(slot, self.window.map_or(0, |window| (window.grid() - F64_GRID) as u32));
        all
    }

    /// Moves the groups of `slots` into the totals outside.
    fn move_outside(
        outside: &mut HashMap<u32, Box<FloatMoments>, FixedState>,
        slots: impl Iterator<Item = (usize, Moments<2, 4>)>,
        window: Option<Window>,
    ) {
        let shift = window.map_or(0, |window| (window.grid() - F64_GRID) as u32);
        for (group, slot) in slots.filter(|(_, slot)| slot.count > 0) {
            outside.entry(group as u32).or_default().finite.add_moments(&slot, shift);
        }
    }
}

#[cfg(feature = "gpu")]
impl<N> FloatVariance<N> {
    /// Takes moments in whose unit has the lowest exponent: into the slots if the window holds them.
    fn absorb_narrow(&mut self, to: &[u32], ends: Option<(u32, u32)>, moments: &[Moments<2, 4>]) {
        // Of zeros only the count counts, in every window.
        let (lowest, highest) =
            ends.unwrap_or_else(|| self.window.map_or((1, 1), |window| (window.low(), window.low())));
        if self.window.is_none() && ends.is_some() {
            self.window = Some(Window::below(highest));
        }
        let rows: u64 = moments.iter().map(|moments| moments.count).sum();
        let inside = self.window.filter(|window| window.holds(lowest, highest) && self.rows + rows <= ROWS_MAX);
        if inside.is_some() || ends.is_none() {
            self.rows += rows;
            let shift = inside.map_or(0, |window| lowest - window.low());
            for (&group, moments) in to.iter().zip(moments) {
                self.slots[group as usize].add_moments(moments, shift);
            }
            return;
        }
        for (&group, moments) in to.iter().zip(moments).filter(|(_, moments)| moments.count > 0) {
            self.outside.entry(group).or_default().finite.add_moments(moments, lowest - 1);
        }
    }
}

impl<N: ArrowNativeType + Into<f64>> State for FloatVariance<N> {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        let values = native::values::<N>(needed(input)?)?;
        self.slots.resize(rows.groups, Moments::default());
        if self.window.is_none() {
            self.window = Window::for_values(values.iter().map(|&value| value.into()));
        }
        if self.rows + rows.len as u64 > ROWS_MAX {
            Self::move_outside(&mut self.outside, self.slots.iter().copied().enumerate(), self.window);
            self.slots.fill(Moments::default());
            self.rows = 0;
        }
        self.rows += rows.len as u64;
        let mut outside = Vec::new();
        let window = self.window;
        each(&mut self.slots, rows, &values, |slot, value, row| {
            let value: f64 = value.into();
            match window.and_then(|window| window.place(value.to_bits())) {
                Some((negative, mantissa, shift)) => slot.add(negative, u128::from(mantissa), shift),
                None if value == 0.0 => slot.count += 1,
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
        self.slots.resize(mapping.groups, Moments::default());
        if self.window == later.window && self.rows + later.rows <= ROWS_MAX {
            self.rows += later.rows;
            merge_slots(&mut self.slots, &later.slots, mapping, |slot, later| slot.merge(&later));
        } else {
            let slots = mapping.pairs().map(|(from, to)| (to, later.slots[from]));
            Self::move_outside(&mut self.outside, slots, later.window);
        }
        if !later.outside.is_empty() {
            for (from, to) in mapping.pairs() {
                if let Some(moments) = later.outside.get(&(from as u32)) {
                    self.outside.entry(to as u32).or_default().merge(moments);
                }
            }
        }
        Ok(())
    }

    #[cfg(feature = "gpu")]
    fn absorb(&mut self, to: &[u32], groups: usize, moments: &MadeMoments) -> Result<()> {
        let MadeMoments::Float { ends, spread, odd } = moments else { return Err(foreign_totals()) };
        self.slots.resize(groups, Moments::default());
        match spread {
            FloatSpread::Narrow(moments) => self.absorb_narrow(to, *ends, moments),
            FloatSpread::Wide(moments) => {
                let shift = ends.map_or(0, |(lowest, _)| lowest - 1);
                for (&group, moments) in to.iter().zip(moments) {
                    self.outside.entry(group).or_default().finite.add_moments(moments, shift);
                }
            }
        }
        for (&group, &odd) in to.iter().zip(odd).filter(|(_, odd)| **odd > 0) {
            self.outside.entry(group).or_default().infinite_or_nan += odd as u64;
        }
        Ok(())
    }

    fn store(&self) -> Result<ArrayRef> {
        let mut column = BinaryBuilder::new();
        for (group, slot) in self.slots.iter().enumerate() {
            column.append_value(match self.outside.get(&(group as u32)) {
                None => stored_moments::in_window(slot, self.window),
                Some(outside) => stored_moments::of_any_size(&self.with_slot(outside, slot)),
            });
        }
        Ok(Arc::new(column.finish()))
    }

    fn restore(&mut self, column: &ArrayRef) -> Result<()> {
        let column = column.as_binary_opt::<i32>().ok_or_else(|| Error::internal("variances are stored as bytes"))?;
        self.slots = vec![Moments::default(); column.len()];
        for (group, bytes) in column.iter().enumerate() {
            match stored_moments::read(bytes.unwrap_or_default())? {
                StoredMoments::AnySize(moments) => drop(self.outside.insert(group as u32, moments)),
                StoredMoments::InWindow(slot, window) => {
                    self.window = self.window.or(window);
                    if window.is_none() || window == self.window {
                        self.slots[group] = slot;
                        self.rows = self.rows.max(slot.count);
                    } else {
                        Self::move_outside(&mut self.outside, std::iter::once((group, slot)), window);
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, Refusal> {
        let grid = self.window.map_or(F64_GRID, Window::grid);
        let variance = |(group, slot): (usize, &Moments<2, 4>)| match self.outside.get(&(group as u32)) {
            None => slot.variance(grid, 0, self.wanted.ddof),
            Some(outside) => self.with_slot(outside, slot).variance(self.wanted.ddof),
        };
        self.wanted.column(self.slots.iter().enumerate().map(variance).collect())
    }
}
