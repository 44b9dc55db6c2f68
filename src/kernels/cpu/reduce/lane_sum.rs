//! Sums in lanes: what the numbers of each row are, and what happens before a lane could overflow.
//!
//! A lane holds 64 bits, so a bound on its size is kept; when the bound comes near, the lanes are looked at, and emptied
//! into wide totals if they have really grown. Values too large for a lane go to the wide totals at once.

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

use super::float_split::{BITS, Grid};
use super::lanes::{Lanes, ROWS};
use super::state::{Ids, Mapping};
use crate::error::Result;
use crate::kernels::cpu::native;
use crate::kernels::cpu::simd;
use crate::kernels::exact_sum::{self, F64_GRID, Fixed, FloatTotal};

/// A total that no number of rows can make overflow.
pub(super) type Wide = Fixed<3>;

/// How large a number of a row may be in a lane: 2^22 of them fit.
const NUMBER_MAX: i64 = 1 << 40;

/// Lanes are looked at before they could be larger than this, so that the numbers of a few more rows always fit.
const LANE_MAX: u64 = 1 << 62;

/// A bound on the numbers in some lanes.
#[derive(Debug, Clone, Copy, Default)]
struct Bound(u64);

impl Bound {
    /// Of rows of numbers up to `most`.
    fn of(most: u64, rows: usize) -> Self {
        Self(most * rows as u64)
    }

    /// Whether lanes may grow by this much; if not, they must be looked at first.
    fn allows(self, more: Self) -> bool {
        self.0 + more.0 <= LANE_MAX
    }

    /// Sets the bound to what the lanes really hold; false if that is so much that they must be emptied.
    fn settles(&mut self, lanes: &mut Lanes, first: usize, count: usize) -> bool {
        let largest = |lane| lanes.sums_mut(lane).map(|number| number.unsigned_abs()).max().unwrap_or(0);
        self.0 = (first..first + count).map(largest).max().unwrap_or(0);
        self.0 <= LANE_MAX / 2
    }
}

/// The rows that a sum is fed with at once.
pub(super) struct Fed<'a> {
    /// Places in the batch.
    pub(super) rows: Range<usize>,
    pub(super) ids: Ids<'a>,
    /// All bits set for a row that counts, none for another; all count if none.
    pub(super) keep: Option<&'a [i64]>,
}

impl Fed<'_> {
    fn group(&self, row: usize) -> u32 {
        self.ids.of(row)
    }
}

/// The sum of one column, in one or two lanes.
pub(super) trait LaneSum: Send + Sync + std::any::Any {
    /// How many lanes it adds to.
    fn lanes(&self) -> usize;

    /// The values of the next batch.
    fn start(&mut self, input: &ArrayRef) -> Result<()>;

    /// Computes the numbers of up to [`ROWS`] rows. `first` is the first of its lanes.
    fn feed(&mut self, fed: &Fed<'_>, lanes: &mut Lanes, first: usize);

    /// The numbers computed last for one of its lanes, those of the `rows` of the batch.
    fn numbers(&self, lane: usize, rows: Range<usize>) -> &[i64];

    /// Prepares both sides for the addition of their lanes, and takes over what of the later one is not in lanes.
    fn merge(&mut self, later: &dyn LaneSum, lanes: &mut Lanes, first: usize, mapping: &Mapping<'_>) -> Result<()>;

    /// The total of a group.
    fn total(&self, lanes: &Lanes, first: usize, group: usize) -> Total;
}

/// The sum of a group's values.
pub(super) enum Total {
    Whole(Wide),
    /// So many times 2 to this power.
    Scaled(Wide, i32),
    /// With values of any size.
    Float(Box<FloatTotal>),
}

impl Total {
    /// The nearest float to the total of floats divided by `count`.
    pub(super) fn quotient(&self, count: u64) -> f64 {
        match self {
            Self::Whole(total) => exact_sum::whole_mean(total, count, 0),
            Self::Scaled(total, exponent) => match total.to_i128() {
                Some(whole) => {
                    exact_sum::quotient_of_two(&Fixed([whole as u64, (whole >> 64) as u64]), *exponent, count)
                }
                None => {
                    let (negative, limbs) = total.magnitude();
                    exact_sum::quotient(negative, &limbs, *exponent, &[count])
                }
            },
            Self::Float(total) => total.divided(count),
        }
    }
}

/// A native type of whole numbers.
pub(super) trait WholeNative: ArrowNativeType + Into<i128> {
    /// The number for a lane, and whether it is the whole value.
    fn number(self) -> (i64, bool);

    /// The values as numbers for a lane, if that is what they are as they lie there.
    fn plain(_values: &[Self]) -> Option<&[i64]> {
        None
    }
}

macro_rules! narrow {
    ($($native:ty)*) => {$(
        impl WholeNative for $native {
            #[inline(always)]
            fn number(self) -> (i64, bool) {
                (i64::from(self), true)
            }
        }
    )*};
}
narrow!(i8 i16 i32 u8 u16 u32);

impl WholeNative for i64 {
    #[inline(always)]
    fn number(self) -> (i64, bool) {
        (self, (-NUMBER_MAX..=NUMBER_MAX).contains(&self))
    }

    fn plain(values: &[Self]) -> Option<&[i64]> {
        Some(values)
    }
}

/// All bits that the numbers have but the signs.
#[simd]
fn bits_of_all<S: Simd>(_: S, values: &[i64]) -> i64 {
    values.iter().fold(0, |bits, &value| bits | (value ^ (value >> 63)))
}

impl WholeNative for u64 {
    #[inline(always)]
    fn number(self) -> (i64, bool) {
        (self as i64, self <= NUMBER_MAX as u64)
    }
}

impl WholeNative for i128 {
    #[inline(always)]
    fn number(self) -> (i64, bool) {
        let low = self as i64;
        (low, i128::from(low) == self && (-NUMBER_MAX..=NUMBER_MAX).contains(&low))
    }
}

/// The sum of whole numbers, in one lane.
pub(super) struct WholeLaneSum<N: ArrowNativeType> {
    values: ScalarBuffer<N>,
    numbers: Vec<i64>,
    /// Whether the values themselves are the numbers of the rows worked on.
    is_direct: bool,
    bound: Bound,
    /// For each group what does not lie in its lane; no groups while there is nothing.
    wide: Vec<Wide>,
}

impl<N: WholeNative> WholeLaneSum<N> {
    pub(super) fn new() -> Self {
        let (values, numbers) = (Vec::new().into(), vec![0; ROWS]);
        Self { values, numbers, is_direct: false, bound: Bound::default(), wide: Vec::new() }
    }

    /// Makes sure that the lane can grow by this much.
    fn make_room(&mut self, more: Bound, lanes: &mut Lanes, lane: usize) {
        if !self.bound.allows(more) && !self.bound.settles(lanes, lane, 1) {
            for (group, number) in lanes.sums_mut(lane).enumerate() {
                wide_of(&mut self.wide, group as u32).add_whole(i128::from(std::mem::take(number)));
            }
            self.bound = Bound::default();
        }
        // At most half of the limit and the limit itself: still below what a lane can hold.
        self.bound.0 += more.0;
    }
}

/// The wide total of a group.
fn wide_of(wide: &mut Vec<Wide>, group: u32) -> &mut Wide {
    let group = group as usize;
    if group >= wide.len() {
        wide.resize((group + 1).next_power_of_two(), Wide::default());
    }
    &mut wide[group]
}

/// Writes the number of each value, zero for one that does not fit; gives all bits that they have but the signs, and
/// whether all fit.
#[simd]
fn number_all<S: Simd, N: WholeNative>(_: S, values: &[N], numbers: &mut [i64]) -> (i64, bool) {
    let (mut bits, mut all_fit) = (0, true);
    for (slot, &value) in numbers.iter_mut().zip(values) {
        let (number, fits) = value.number();
        let number = if fits { number } else { 0 };
        *slot = number;
        bits |= number ^ (number >> 63);
        all_fit &= fits;
    }
    (bits, all_fit)
}

impl<N: WholeNative> LaneSum for WholeLaneSum<N> {
    fn lanes(&self) -> usize {
        1
    }

    fn start(&mut self, input: &ArrayRef) -> Result<()> {
        self.values = native::values::<N>(input)?;
        Ok(())
    }

    fn feed(&mut self, fed: &Fed<'_>, lanes: &mut Lanes, first: usize) {
        let values = &self.values[fed.rows.clone()];
        let plain = N::plain(values).filter(|_| fed.keep.is_none());
        let bits = plain.map(|numbers| dispatch!(simd::level(), simd => bits_of_all(simd, numbers)));
        let direct = bits.filter(|&bits| bits < NUMBER_MAX);
        self.is_direct = direct.is_some();
        if let Some(bits) = direct {
            return self.make_room(Bound::of(bits as u64 + 1, fed.rows.len()), lanes, first);
        }
        let numbers = &mut self.numbers[..values.len()];
        let (bits, all_fit) = dispatch!(simd::level(), simd => number_all(simd, values, numbers));
        if let Some(keep) = fed.keep {
            numbers.iter_mut().zip(keep).for_each(|(number, keep)| *number &= keep);
        }
        if !all_fit {
            for (row, &value) in values.iter().enumerate().filter(|(_, value)| !value.number().1) {
                if fed.keep.is_none_or(|keep| keep[row] != 0) {
                    wide_of(&mut self.wide, fed.group(row)).add_whole(value.into());
                }
            }
        }
        self.make_room(Bound::of(bits as u64 + 1, fed.rows.len()), lanes, first);
    }

    fn numbers(&self, _: usize, rows: Range<usize>) -> &[i64] {
        match N::plain(&self.values[rows.clone()]) {
            Some(numbers) if self.is_direct => numbers,
            _ => &self.numbers[..rows.len()],
        }
    }

    fn merge(&mut self, later: &dyn LaneSum, lanes: &mut Lanes, first: usize, mapping: &Mapping<'_>) -> Result<()> {
        let later = same::<Self>(later)?;
        self.make_room(later.bound, lanes, first);
        for (from, to) in mapping.pairs().filter(|&(from, _)| from < later.wide.len()) {
            wide_of(&mut self.wide, to as u32).add_same(&later.wide[from]);
        }
        Ok(())
    }

    fn total(&self, lanes: &Lanes, first: usize, group: usize) -> Total {
        let mut total = self.wide.get(group).copied().unwrap_or_default();
        total.add_whole(i128::from(lanes.sum(group, first)));
        Total::Whole(total)
    }
}

/// The later sum as one of the same kind.
fn same<S: LaneSum>(later: &dyn LaneSum) -> Result<&S> {
    let later: &dyn std::any::Any = later;
    later.downcast_ref().ok_or_else(|| crate::error::Error::internal("sums of different columns were merged"))
}

/// Wide totals may have units this far below those of the lanes, and lanes units this far above: 105 bits of lanes, twice
/// this and the sums of many flushes fit 192 bits.
const UNIT_SPAN: i32 = 40;

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
            values: Vec::new().into(),
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
        if !self.wide.is_empty() && !(self.unit..=self.unit + 2 * UNIT_SPAN).contains(&low) {
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

    /// Makes sure that the lanes can grow by this much.
    fn make_room(&mut self, more: Bound, lanes: &mut Lanes, first: usize) {
        if !self.bound.allows(more) && !self.bound.settles(lanes, first, 2) {
            let grid = self.grid;
            self.empty(lanes, first);
            self.grid = grid;
        }
        self.bound.0 += more.0;
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

impl<N: FloatNative> LaneSum for FloatLaneSum<N> {
    fn lanes(&self) -> usize {
        2
    }

    fn start(&mut self, input: &ArrayRef) -> Result<()> {
        self.values = native::values::<N>(input)?;
        Ok(())
    }

    fn feed(&mut self, fed: &Fed<'_>, lanes: &mut Lanes, first: usize) {
        let rows = fed.rows.len();
        if let (Some(grid), None, Some(floats)) = (self.grid, fed.keep, N::plain(&self.values[fed.rows.clone()])) {
            if grid.split(floats, &mut self.highs, &mut self.lows) {
                self.rows_on_grid += rows;
                return self.make_room(Bound::of(1 << BITS, rows), lanes, first);
            }
        }
        self.read(fed);
        if self.grid.is_none() {
            self.grid = Grid::for_values(&self.floats[..rows]);
            self.rows_on_grid = 0;
        }
        // Without a grid all values are zero or far from any: one will do.
        let mut grid = self.grid.unwrap_or(Grid::ANY);
        let mut all_fit = grid.split(&self.floats[..rows], &mut self.highs, &mut self.lows);
        if !all_fit && self.deserves_another(rows, lanes.groups(), grid) {
            if let Some(other) = Grid::for_values(&self.floats[..rows]).filter(|&other| other != grid) {
                self.empty(lanes, first);
                (self.grid, self.rows_on_grid, grid) = (Some(other), 0, other);
                all_fit = grid.split(&self.floats[..rows], &mut self.highs, &mut self.lows);
            }
        }
        if !all_fit {
            self.add_misfits(fed, grid);
        }
        self.rows_on_grid += rows;
        self.make_room(Bound::of(1 << BITS, rows), lanes, first);
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
            Some(wide) if (self.unit..=self.unit + 2 * UNIT_SPAN).contains(&low) => {
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
