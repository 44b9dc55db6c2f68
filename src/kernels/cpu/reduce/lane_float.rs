//! Exact sums of floats, in two lanes each: [`Grid`] says which two numbers a value is.
//!
//! The grid is chosen by the first values and moved when too many of the later ones lie off it; it has no influence on
//! the answer, only on the speed. What lies off the grid goes to the group's [`FloatTotal`], which takes everything.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "group ids fit 32 bits; shifts are small; bits of numbers are read as other numbers"
)]

use std::ops::Range;

use arrow_array::ArrayRef;
use arrow_buffer::{ArrowNativeType, ScalarBuffer};
use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

#[cfg(feature = "gpu")]
use super::absorb::{Totals, foreign_totals};
use super::few::{Made, Masks, Sums};
use super::float_mean::{means, sums};
use super::float_split::{BITS, Grid};
use super::lane_sum::{Bound, Fed, LaneSum, Source, Total, Wide, mixed, same};
use super::lanes::{Lanes, ROWS};
use super::state::Mapping;
use crate::error::Result;
use crate::kernels::cpu::native;
use crate::kernels::cpu::simd;
use crate::kernels::exact_sum::{F64_GRID, FloatTotal};

/// New wide totals have a unit this far below that of the lanes, for grids that come later.
const UNIT_SPAN: i32 = 40;

/// The lanes' unit may lie this far above that of the wide totals: 104 bits of full lanes, shifted by this, leave 27 of the
/// 191 bits for the number of times that lanes are emptied, each time after a million rows or more of one group.
const SHIFT_MAX: i32 = 60;

/// How far above its unit a restored wide total may reach: 27 of the 191 bits are left, as above.
const WIDE_RESTORED_MAX: i32 = 164;

/// A value off the grid costs about as much as this many rows on it: that many of them make another grid worth while.
const ROWS_PER_MISFIT: usize = 16;

/// The exact sum of floats, in two lanes.
pub(super) struct FloatLaneSum<N: ArrowNativeType> {
    values: ScalarBuffer<N>,
    floats: Vec<f64>,
    highs: Vec<i64>,
    lows: Vec<i64>,
    /// Of the numbers in the lanes; none while they are all zero.
    grid: Option<Grid>,
    /// Rows taken in since the grid was chosen.
    rows_on_grid: usize,
    bound: Bound,
    /// What was emptied from the lanes, in units of `2^unit`; no groups while there is nothing.
    wide: Vec<Wide>,
    unit: i32,
    /// What no grid holds, for the groups that have some.
    outside: HashMap<u32, Box<FloatTotal>, FixedState>,
}

/// A native type of floats.
pub(super) trait FloatNative: ArrowNativeType + Into<f64> {
    /// The values as the widest floats, if that is what they are as they lie there.
    fn plain(_values: &[Self]) -> Option<&[f64]> {
        None
    }
}

impl FloatNative for f32 {}

impl FloatNative for f64 {
    fn plain(values: &[Self]) -> Option<&[f64]> {
        Some(values)
    }
}

impl<N: FloatNative> FloatLaneSum<N> {
    pub(super) fn new() -> Self {
        let floats = vec![0.0; ROWS];
        let outside = HashMap::with_hasher(FixedState::default());
        Self {
            values: native::no_values(),
            floats,
            highs: vec![0; ROWS],
            lows: vec![0; ROWS],
            grid: None,
            rows_on_grid: 0,
            bound: Bound::default(),
            wide: Vec::new(),
            unit: 0,
            outside,
        }
    }

    /// The values of some rows as floats, zero for those that do not count.
    fn read(&mut self, fed: &Fed<'_>) {
        let values = &self.values[fed.rows.clone()];
        dispatch!(simd::level(), simd => read_all(simd, values, fed.keep, &mut self.floats[..values.len()]));
    }

    /// Empties the lanes, so that they can have another grid.
    fn empty(&mut self, lanes: &mut Lanes, first: usize) {
        self.bound = Bound::default();
        let Some(grid) = self.grid.take() else { return };
        self.make_wide(grid.low());
        let shift = (grid.low() - self.unit) as u32;
        let highs: Vec<i64> = lanes.sums_mut(first).map(std::mem::take).collect();
        self.wide.resize(self.wide.len().max(highs.len()), Wide::default());
        for ((low, high), wide) in lanes.sums_mut(first + 1).zip(highs).zip(&mut self.wide) {
            let total = whole(high, std::mem::take(low));
            if total != 0 {
                wide.add(total < 0, total.unsigned_abs(), shift);
            }
        }
    }

    /// Makes the wide totals fit for lanes with this unit.
    fn make_wide(&mut self, low: i32) {
        if !self.wide.is_empty() && !(self.unit..=self.unit + SHIFT_MAX).contains(&low) {
            let shift = (self.unit - F64_GRID) as u32;
            for (group, total) in std::mem::take(&mut self.wide).iter().enumerate() {
                if *total != Wide::default() {
                    self.outside.entry(group as u32).or_default().finite.add_fixed(total, shift);
                }
            }
        }
        if self.wide.is_empty() {
            self.unit = (low - UNIT_SPAN).max(F64_GRID);
        }
    }

    /// Adds the values off the grid one by one.
    fn add_misfits(&mut self, fed: &Fed<'_>, grid: Grid) {
        for (row, &value) in self.floats[..fed.rows.len()].iter().enumerate() {
            if !grid.fits(value) {
                self.outside.entry(fed.group(row)).or_default().add(value);
            }
        }
    }

    /// Whether so many values are off the grid that another one would pay for the emptying of the lanes.
    fn deserves_another(&self, rows: usize, groups: usize, grid: Grid) -> bool {
        let misfits = self.floats[..rows].iter().filter(|&&value| value.is_finite() && !grid.fits(value)).count();
        misfits * ROWS_PER_MISFIT > rows && self.rows_on_grid > ROWS_PER_MISFIT * groups
    }
}

#[simd]
fn read_all<S: Simd, N: ArrowNativeType + Into<f64>>(_: S, values: &[N], keep: Option<&[i64]>, floats: &mut [f64]) {
    match keep {
        None => floats.iter_mut().zip(values).for_each(|(float, &value)| *float = value.into()),
        Some(keep) => {
            for ((float, &value), &keep) in floats.iter_mut().zip(values).zip(keep) {
                *float = f64::from_bits(value.into().to_bits() & keep as u64);
            }
        }
    }
}

/// High and low number as one, in units of the low one.
fn whole(high: i64, low: i64) -> i128 {
    (i128::from(high) << BITS) + i128::from(low)
}

/// Between which powers of two the bits of a total lie that is not zero and has a unit of its own.
fn extent(total: &Total) -> Option<(i32, i32)> {
    let Total::Scaled(total, exponent) = total else { return None };
    let limbs = total.magnitude().1;
    let top = limbs.iter().rposition(|&limb| limb != 0)?;
    Some((*exponent, exponent + 64 * top as i32 + 64 - limbs[top].leading_zeros() as i32))
}

impl<N: FloatNative> LaneSum for FloatLaneSum<N> {
    fn lanes(&self) -> usize {
        2
    }

    fn start(&mut self, input: &ArrayRef) -> Result<()> {
        self.values = native::values::<N>(input)?;
        Ok(())
    }

    fn plain(&self, rows: Range<usize>) -> Option<Source<'_>> {
        Some(Source::Floats(N::plain(&self.values[rows])?, self.grid?))
    }

    fn took_plain(&mut self, rows: usize) {
        self.rows_on_grid += rows;
    }

    fn feed(&mut self, fed: &Fed<'_>, lanes: &mut Lanes, first: usize) {
        let rows = fed.rows.len();
        if let (Some(grid), None, Some(floats)) = (self.grid, fed.keep, N::plain(&self.values[fed.rows.clone()]))
            && grid.split(floats, &mut self.highs, &mut self.lows)
        {
            self.rows_on_grid += rows;
            return self.make_room(Bound::of(1 << BITS, rows), lanes, first);
        }
        self.read(fed);
        if self.grid.is_none() {
            self.grid = Grid::for_values(&self.floats[..rows]);
            self.rows_on_grid = 0;
        }
        // Without a grid all values are zero or far from any: one will do.
        let mut grid = self.grid.unwrap_or(Grid::ANY);
        let mut all_fit = grid.split(&self.floats[..rows], &mut self.highs, &mut self.lows);
        if !all_fit
            && self.deserves_another(rows, lanes.groups(), grid)
            && let Some(other) = Grid::for_values(&self.floats[..rows]).filter(|&other| other != grid)
        {
            self.empty(lanes, first);
            (self.grid, self.rows_on_grid, grid) = (Some(other), 0, other);
            all_fit = grid.split(&self.floats[..rows], &mut self.highs, &mut self.lows);
        }
        if !all_fit {
            self.add_misfits(fed, grid);
        }
        self.rows_on_grid += rows;
        self.make_room(Bound::of(1 << BITS, rows), lanes, first);
    }

    fn sum_up(&mut self, made: Made<'_>, masks: &Masks, lanes: &mut Lanes, first: usize) -> Option<Sums> {
        let Made::Floats(floats) = made else { return None };
        let sum_up = |grid: Grid, into: &mut Self| grid.sum_up(floats, masks, (&mut into.highs, &mut into.lows));
        if self.grid.is_none() {
            (self.grid, self.rows_on_grid) = (Grid::for_values(floats), 0);
        }
        let grid = self.grid.unwrap_or(Grid::ANY);
        let sums = sum_up(grid, self).or_else(|| {
            let other = Grid::for_values(floats).filter(|&other| other != grid)?;
            let sums = sum_up(other, self)?;
            self.empty(lanes, first);
            (self.grid, self.rows_on_grid) = (Some(other), 0);
            Some(sums)
        })?;
        self.rows_on_grid += floats.len();
        Some(Sums { lanes: sums, bound: Bound::of(1 << BITS, floats.len()) })
    }

    fn make_room(&mut self, more: Bound, lanes: &mut Lanes, first: usize) {
        if !self.bound.allows(more) && !self.bound.settles(lanes, first, 2) {
            let grid = self.grid;
            self.empty(lanes, first);
            self.grid = grid;
        }
        self.bound.0 += more.0;
    }

    fn numbers(&self, lane: usize, rows: Range<usize>) -> &[i64] {
        if lane == 0 { &self.highs[..rows.len()] } else { &self.lows[..rows.len()] }
    }

    fn merge(&mut self, later: &dyn LaneSum, lanes: &mut Lanes, first: usize, mapping: &Mapping<'_>) -> Result<()> {
        let later = same::<Self>(later)?;
        if later.grid.is_some() && self.grid != later.grid {
            self.empty(lanes, first);
            self.grid = later.grid;
        }
        self.make_room(later.bound, lanes, first);
        if !later.wide.is_empty() {
            self.make_wide(later.unit + UNIT_SPAN);
            self.wide.resize(self.wide.len().max(mapping.groups), Wide::default());
            // Units that differ are a matter of luck with the first values; then the totals of any size take over.
            let shift = (later.unit - F64_GRID) as u32;
            for (from, to) in mapping.pairs().filter(|&(from, _)| from < later.wide.len()) {
                if later.unit == self.unit {
                    self.wide[to].add_same(&later.wide[from]);
                } else {
                    self.outside.entry(to as u32).or_default().finite.add_fixed(&later.wide[from], shift);
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

    fn clear(&mut self) {
        self.values = native::no_values();
        (self.grid, self.bound, self.rows_on_grid) = (None, Bound::default(), 0);
        self.wide.clear();
        self.outside.clear();
    }

    fn restore(&mut self, totals: &[Total], lanes: &mut Lanes, first: usize) -> Result<()> {
        self.grid = Grid::for_totals(totals.iter().filter_map(extent));
        if let Some(grid) = self.grid {
            self.unit = (grid.low() - UNIT_SPAN).max(F64_GRID);
        }
        let (mut highs, mut lows) = (vec![0; totals.len()], vec![0; totals.len()]);
        for (group, total) in totals.iter().enumerate() {
            match (total, extent(total)) {
                (Total::Whole(_), _) => return Err(mixed()),
                (Total::Float(total), _) => self.outside.entry(group as u32).or_default().merge(total),
                (Total::Scaled(..), None) => {}
                (Total::Scaled(total, exponent), Some((_, top))) => {
                    if let Some(whole) = self.grid.and_then(|grid| grid.whole(total, *exponent, top)) {
                        highs[group] = (whole >> BITS) as i64;
                        lows[group] = (whole - (whole >> BITS << BITS)) as i64;
                    } else if *exponent >= self.unit && top - self.unit <= WIDE_RESTORED_MAX {
                        self.wide.resize(totals.len(), Wide::default());
                        self.wide[group].add_fixed(total, (exponent - self.unit) as u32);
                    } else {
                        let outside = self.outside.entry(group as u32).or_default();
                        outside.finite.add_fixed(total, (exponent - F64_GRID) as u32);
                    }
                }
            }
        }
        lanes.sums_mut(first).zip(highs).for_each(|(slot, high)| *slot = high);
        lanes.sums_mut(first + 1).zip(lows).for_each(|(slot, low)| *slot = low);
        self.bound.settles(lanes, first, 2);
        Ok(())
    }

    #[cfg(feature = "gpu")]
    fn absorb(&mut self, groups: &[u32], totals: &Totals) -> Result<()> {
        let Totals::Float(totals) = totals else { return Err(foreign_totals()) };
        groups.iter().zip(totals).for_each(|(&group, total)| self.outside.entry(group).or_default().merge(total));
        Ok(())
    }

    fn floats(&self, lanes: &Lanes, first: usize, groups: usize, counts: Option<&[i64]>) -> Option<Vec<f64>> {
        let are_in_lanes = self.wide.is_empty() && self.outside.is_empty();
        let low = self.grid.filter(|_| are_in_lanes)?.low();
        let totals = lanes.sums(first).zip(lanes.sums(first + 1)).take(groups);
        match counts {
            None => sums(totals, low, |group| self.total(lanes, first, group).quotient(1)),
            Some(counts) => means(totals, low, counts, |group| {
                self.total(lanes, first, group).quotient(counts[group].cast_unsigned())
            }),
        }
    }

    fn total(&self, lanes: &Lanes, first: usize, group: usize) -> Total {
        let low = self.grid.map_or(0, Grid::low);
        let in_lanes = whole(lanes.sum(group, first), lanes.sum(group, first + 1));
        let wide = self.wide.get(group).filter(|&&wide| wide != Wide::default());
        if let Some(outside) = self.outside.get(&(group as u32)) {
            let mut total = **outside;
            total.finite.add(in_lanes < 0, in_lanes.unsigned_abs(), (low.max(F64_GRID) - F64_GRID) as u32);
            if let Some(wide) = wide {
                total.finite.add_fixed(wide, (self.unit - F64_GRID) as u32);
            }
            return Total::Float(Box::new(total));
        }
        match wide {
            None => {
                let mut total = Wide::default();
                total.add_whole(in_lanes);
                Total::Scaled(total, low)
            }
            Some(wide) if in_lanes == 0 => Total::Scaled(*wide, self.unit),
            // The grid may have changed since the lanes were last emptied.
            Some(wide) if (self.unit..=self.unit + SHIFT_MAX).contains(&low) => {
                let mut total = *wide;
                total.add(in_lanes < 0, in_lanes.unsigned_abs(), (low - self.unit) as u32);
                Total::Scaled(total, self.unit)
            }
            Some(wide) => {
                let mut total = FloatTotal::default();
                total.finite.add(in_lanes < 0, in_lanes.unsigned_abs(), (low - F64_GRID) as u32);
                total.finite.add_fixed(wide, (self.unit - F64_GRID) as u32);
                Total::Float(Box::new(total))
            }
        }
    }
}
