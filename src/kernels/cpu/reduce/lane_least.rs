//! Minima and maxima in lanes: each value becomes a 64-bit number, the lower the better, so that one loop serves all
//! types and both directions. What loses against everything stands for rows that do not count, and for NaN.

#![expect(
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    reason = "bits of one number are read as another; a number came from the type that it goes back to"
)]

use std::ops::Range;

use arrow_array::ArrayRef;
use arrow_buffer::{ArrowNativeType, ScalarBuffer};
use arrow_schema::DataType;
use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;

use super::lanes::{Lanes, ROWS};
use crate::error::Result;
use crate::kernels::cpu::native;
use crate::kernels::cpu::simd;

/// Loses against every other number.
const WORST: i64 = i64::MAX;

/// A native type that fits a lane.
pub(super) trait Rank: ArrowNativeType {
    /// A number that rises with the value.
    fn rank(self) -> i64;
    /// The value of a number.
    fn value(rank: i64) -> Self;
    /// Whether the value has a place in the order; NaN has none.
    fn is_ranked(self) -> bool {
        true
    }
    /// What a group has all of whose values are without a place.
    fn unranked() -> Self {
        Self::default()
    }
}

macro_rules! rank_integers {
    ($($native:ty)*) => {$(
        impl Rank for $native {
            #[inline(always)]
            fn rank(self) -> i64 {
                i64::from(self)
            }
            fn value(rank: i64) -> Self {
                rank as $native
            }
        }
    )*};
}
rank_integers!(i8 i16 i32 u8 u16 u32);

impl Rank for i64 {
    #[inline(always)]
    fn rank(self) -> i64 {
        self
    }
    fn value(rank: i64) -> Self {
        rank
    }
}

impl Rank for u64 {
    #[inline(always)]
    fn rank(self) -> i64 {
        (self ^ (1 << 63)) as i64
    }
    fn value(rank: i64) -> Self {
        rank as u64 ^ (1 << 63)
    }
}

impl Rank for f64 {
    #[inline(always)]
    fn rank(self) -> i64 {
        // Negative floats fall as their bits rise: all bits but the sign are turned over.
        let bits = self.to_bits() as i64;
        bits ^ ((bits >> 63) as u64 >> 1) as i64
    }
    fn value(rank: i64) -> Self {
        Self::from_bits((rank ^ ((rank >> 63) as u64 >> 1) as i64) as u64)
    }
    #[inline(always)]
    fn is_ranked(self) -> bool {
        !self.is_nan()
    }
    fn unranked() -> Self {
        Self::NAN
    }
}

impl Rank for f32 {
    #[inline(always)]
    fn rank(self) -> i64 {
        f64::from(self).rank()
    }
    fn value(rank: i64) -> Self {
        f64::value(rank) as Self
    }
    #[inline(always)]
    fn is_ranked(self) -> bool {
        !self.is_nan()
    }
    fn unranked() -> Self {
        Self::NAN
    }
}

/// The least, or the greatest, value of one column, in one lane.
pub(super) trait LaneLeast: Send + Sync {
    /// The values of the next batch.
    fn start(&mut self, input: &ArrayRef) -> Result<()>;

    /// Computes the numbers of up to [`ROWS`] rows; `keep` has all bits set for a row that counts and none for another.
    fn feed(&mut self, rows: Range<usize>, keep: Option<&[i64]>);

    /// Forgets the batch.
    fn clear(&mut self);

    /// The numbers computed last.
    fn numbers(&self) -> &[i64];

    /// The value of each group, whatever it is for groups without values.
    fn values(&self, data_type: &DataType, lanes: &Lanes, lane: usize, present: &[bool]) -> Result<ArrayRef>;
}

/// Of values of type `N`.
pub(super) struct LeastOf<N: ArrowNativeType, const IS_MAX: bool> {
    values: ScalarBuffer<N>,
    numbers: Vec<i64>,
}

impl<N: Rank, const IS_MAX: bool> LeastOf<N, IS_MAX> {
    pub(super) fn new() -> Self {
        Self { values: native::no_values(), numbers: vec![0; ROWS] }
    }

    #[inline(always)]
    fn number(value: N) -> i64 {
        let rank = value.rank();
        // All bits turned over, the order is the other way round.
        let number = if IS_MAX { !rank } else { rank };
        if value.is_ranked() { number } else { WORST }
    }

    fn value(number: i64) -> N {
        N::value(if IS_MAX { !number } else { number })
    }
}

#[simd]
fn number_all<S: Simd, N: Rank, const IS_MAX: bool>(_: S, values: &[N], keep: Option<&[i64]>, numbers: &mut [i64]) {
    numbers.iter_mut().zip(values).for_each(|(number, &value)| *number = LeastOf::<N, IS_MAX>::number(value));
    if let Some(keep) = keep {
        for (number, &keep) in numbers.iter_mut().zip(keep) {
            *number = if keep == 0 { WORST } else { *number };
        }
    }
}

impl<N: Rank, const IS_MAX: bool> LaneLeast for LeastOf<N, IS_MAX> {
    fn start(&mut self, input: &ArrayRef) -> Result<()> {
        self.values = native::values::<N>(input)?;
        Ok(())
    }

    fn feed(&mut self, rows: Range<usize>, keep: Option<&[i64]>) {
        let values = &self.values[rows];
        let numbers = &mut self.numbers[..values.len()];
        dispatch!(simd::level(), simd => number_all::<_, N, IS_MAX>(simd, values, keep, numbers));
    }

    fn clear(&mut self) {
        self.values = native::no_values();
    }

    fn numbers(&self) -> &[i64] {
        &self.numbers
    }

    fn values(&self, data_type: &DataType, lanes: &Lanes, lane: usize, present: &[bool]) -> Result<ArrayRef> {
        // A whole number may itself be the worst; a float may not, but stands for NaN then.
        let has_unranked = !N::unranked().is_ranked();
        let value = |(group, &is_present): (usize, &bool)| match lanes.least(group, lane) {
            _ if !is_present => N::default(),
            WORST if has_unranked => N::unranked(),
            number => Self::value(number),
        };
        let values: Vec<N> = present.iter().enumerate().map(value).collect();
        native::column(data_type, values, native::validity(present))
    }
}
