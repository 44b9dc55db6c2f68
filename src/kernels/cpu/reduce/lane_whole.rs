//! Sums of whole numbers, in one lane each.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "group ids fit 32 bits; bits of one number are read as another"
)]

use std::ops::Range;

use arrow_array::ArrayRef;
use arrow_buffer::{ArrowNativeType, ScalarBuffer};
use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;

#[cfg(feature = "gpu")]
use super::absorb::{Totals, foreign_totals};
use super::few::{GROUPS_MAX, Made, Masks, NUMBER_MAX, Sums, sum_wholes};
use super::lane_sum::{Bound, Fed, LANE_MAX, LaneSum, Source, Total, Wide, mixed, same};
use super::lanes::{Lanes, ROWS};
use super::state::Mapping;
use crate::error::Result;
use crate::kernels::cpu::native;
use crate::kernels::cpu::simd;

/// How large a number of a row may be in a lane: 2^22 of them fit.
const IN_LANE_MAX: i64 = 1 << 40;

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
        (self, (-IN_LANE_MAX..=IN_LANE_MAX).contains(&self))
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

/// The same of the numbers that are kept, which are written down; the others are zero.
#[simd]
fn keep_all<S: Simd>(_: S, values: &[i64], keep: &[i64], numbers: &mut [i64]) -> i64 {
    let kept = values.iter().zip(keep).zip(numbers);
    kept.fold(0, |bits, ((&value, &keep), number)| {
        *number = value & keep;
        bits | (*number ^ (*number >> 63))
    })
}

impl WholeNative for u64 {
    #[inline(always)]
    fn number(self) -> (i64, bool) {
        (self as i64, self <= IN_LANE_MAX as u64)
    }
}

impl WholeNative for i128 {
    #[inline(always)]
    fn number(self) -> (i64, bool) {
        let low = self as i64;
        (low, i128::from(low) == self && (-IN_LANE_MAX..=IN_LANE_MAX).contains(&low))
    }
}

/// The sum of whole numbers, in one lane.
pub(super) struct WholeLaneSum<N: ArrowNativeType> {
    values: ScalarBuffer<N>,
    numbers: Vec<i64>,
    /// Whether the values themselves are the numbers of the rows worked on.
    is_direct: bool,
    /// All bits of the numbers so far and those below them, but for the signs, if these were small.
    reach: Option<u64>,
    bound: Bound,
    /// For each group what does not lie in its lane; no groups while there is nothing.
    wide: Vec<Wide>,
}

impl<N: WholeNative> WholeLaneSum<N> {
    pub(super) fn new() -> Self {
        let (values, numbers) = (native::no_values(), vec![0; ROWS]);
        Self { values, numbers, is_direct: false, reach: None, bound: Bound::default(), wide: Vec::new() }
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

    fn plain(&self, rows: Range<usize>) -> Option<Source<'_>> {
        Some(Source::Wholes(N::plain(&self.values[rows])?, self.reach?))
    }

    fn feed(&mut self, fed: &Fed<'_>, lanes: &mut Lanes, first: usize) {
        let values = &self.values[fed.rows.clone()];
        let numbers = &mut self.numbers[..values.len()];
        let bits = N::plain(values).map(|plain| match fed.keep {
            None => dispatch!(simd::level(), simd => bits_of_all(simd, plain)),
            Some(keep) => dispatch!(simd::level(), simd => keep_all(simd, plain, keep, numbers)),
        });
        let small = bits.filter(|&bits| bits < IN_LANE_MAX);
        self.is_direct = small.is_some() && fed.keep.is_none();
        if let Some(bits) = small {
            let below = u64::MAX.checked_shr((bits | 1).leading_zeros()).unwrap_or(0);
            self.reach = Some(self.reach.unwrap_or(0) | below);
            return self.make_room(Bound::of(bits as u64 + 1, fed.rows.len()), lanes, first);
        }
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

    fn sum_up(&mut self, made: Made<'_>, masks: &Masks, _: &mut Lanes, _: usize) -> Option<Sums> {
        let Made::Wholes(numbers, most) = made else { return None };
        let bound = (most <= NUMBER_MAX).then(|| Bound::of(most, masks.rows()))?;
        Some(Sums { lanes: [sum_wholes(numbers, masks), [0; GROUPS_MAX]], bound })
    }

    fn make_room(&mut self, more: Bound, lanes: &mut Lanes, first: usize) {
        if !self.bound.allows(more) && !self.bound.settles(lanes, first, 1) {
            for (group, number) in lanes.sums_mut(first).enumerate() {
                wide_of(&mut self.wide, group as u32).add_whole(i128::from(std::mem::take(number)));
            }
            self.bound = Bound::default();
        }
        // At most half of the limit and the limit itself: still below what a lane can hold.
        self.bound.0 += more.0;
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

    #[cfg(feature = "gpu")]
    fn absorb(&mut self, groups: &[u32], totals: &Totals) -> Result<()> {
        let Totals::Whole(totals) = totals else { return Err(foreign_totals()) };
        groups.iter().zip(totals).for_each(|(&group, total)| wide_of(&mut self.wide, group).add_same(total));
        Ok(())
    }

    fn is_plain(&self) -> bool {
        self.wide.is_empty()
    }

    fn total(&self, lanes: &Lanes, first: usize, group: usize) -> Total {
        let mut total = self.wide.get(group).copied().unwrap_or_default();
        total.add_whole(i128::from(lanes.sum(group, first)));
        Total::Whole(total)
    }

    fn clear(&mut self) {
        self.values = native::no_values();
        (self.bound, self.reach) = (Bound::default(), None);
        self.wide.clear();
    }

    fn restore(&mut self, totals: &[Total], lanes: &mut Lanes, first: usize) -> Result<()> {
        for (group, (slot, total)) in lanes.sums_mut(first).zip(totals).enumerate() {
            let Total::Whole(total) = total else { return Err(mixed()) };
            match total.to_i128().and_then(|whole| i64::try_from(whole).ok()) {
                Some(number) if number.unsigned_abs() <= LANE_MAX / 2 => *slot = number,
                _ => wide_of(&mut self.wide, group as u32).add_same(total),
            }
        }
        self.bound.settles(lanes, first, 1);
        Ok(())
    }
}
