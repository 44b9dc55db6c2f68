//! Sums of floats by plain additions, in the order of the rows, in one lane each: what other engines call a sum.
//!
//! A partition adds up from its first row on; sums of later partitions are added to those of earlier ones. So the answer
//! hangs on the cuts between partitions and on nothing else, and whoever cuts has to do so at places of their own.

#![expect(clippy::cast_possible_wrap, reason = "a lane holds 64 bits, whatever they stand for")]

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::ScalarBuffer;
use arrow_schema::DataType;
use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;

use super::lane_float::FloatNative;
use super::lanes::{Lanes, ROWS};
use crate::error::Result;
use crate::kernels::cpu::native;
use crate::kernels::cpu::simd;
use crate::kernels::stored::corrupt;

/// The bits of -0.0, which changes no sum.
const NOTHING: i64 = i64::MIN;

/// An ordered sum, whatever its floats are.
pub(super) trait LaneOrdered: Send + Sync {
    /// The values of the next batch.
    fn start(&mut self, input: &ArrayRef) -> Result<()>;

    /// Makes the numbers of up to [`ROWS`] rows; `keep` has all bits set for a row that counts and none for another.
    fn feed(&mut self, rows: Range<usize>, keep: Option<&[i64]>);

    /// Makes the numbers of floats that are at hand.
    fn take_made(&mut self, floats: &[f64], keep: &[i64]);

    /// The numbers of the `rows` of the batch that were made last.
    fn numbers(&self, rows: Range<usize>) -> &[i64];

    /// Forgets the batch.
    fn clear(&mut self);
}

/// Of values of type `N`.
pub(super) struct OrderedLane<N: FloatNative> {
    values: ScalarBuffer<N>,
    /// The bits of the values, if as they lie there they are numbers.
    bits: Option<ScalarBuffer<i64>>,
    numbers: Vec<i64>,
    /// Whether these bits are the numbers of the rows worked on.
    is_direct: bool,
}

impl<N: FloatNative> OrderedLane<N> {
    pub(super) fn new() -> Self {
        Self { values: native::no_values(), bits: None, numbers: vec![NOTHING; ROWS], is_direct: false }
    }
}

#[simd]
fn number_all<S: Simd, N: FloatNative>(_: S, values: &[N], keep: Option<&[i64]>, numbers: &mut [i64]) {
    let bits = |value: N| value.into().to_bits() as i64;
    match keep {
        None => numbers.iter_mut().zip(values).for_each(|(number, &value)| *number = bits(value)),
        Some(keep) => {
            for ((number, &value), &keep) in numbers.iter_mut().zip(values).zip(keep) {
                *number = bits(value) & keep | NOTHING & !keep;
            }
        }
    }
}

impl<N: FloatNative> LaneOrdered for OrderedLane<N> {
    fn start(&mut self, input: &ArrayRef) -> Result<()> {
        self.values = native::values::<N>(input)?;
        self.bits = N::plain(&self.values).map(|_| ScalarBuffer::from(self.values.inner().clone()));
        Ok(())
    }

    fn feed(&mut self, rows: Range<usize>, keep: Option<&[i64]>) {
        self.is_direct = keep.is_none() && self.bits.is_some();
        if self.is_direct {
            return;
        }
        let values = &self.values[rows];
        let numbers = &mut self.numbers[..values.len()];
        dispatch!(simd::level(), simd => number_all(simd, values, keep, numbers));
    }

    fn take_made(&mut self, floats: &[f64], keep: &[i64]) {
        self.is_direct = false;
        let numbers = &mut self.numbers[..floats.len()];
        dispatch!(simd::level(), simd => number_all(simd, floats, Some(keep), numbers));
    }

    fn numbers(&self, rows: Range<usize>) -> &[i64] {
        match &self.bits {
            Some(bits) if self.is_direct => &bits[rows],
            _ => &self.numbers[..rows.len()],
        }
    }

    fn clear(&mut self) {
        (self.values, self.bits, self.is_direct) = (native::no_values(), None, false);
    }
}

/// The sum of each group, whatever it is for groups without values. Which of several NaN comes out is left to processors:
/// one stands for all.
fn sums(lanes: &Lanes, lane: usize, groups: usize) -> impl Iterator<Item = f64> {
    (0..groups).map(move |group| lanes.float(group, lane)).map(|sum| if sum.is_nan() { f64::NAN } else { sum })
}

/// The sums, or the means, of the groups; null where there is no value.
#[expect(clippy::cast_precision_loss, reason = "a mean is rounded anyway")]
pub(super) fn finish(lanes: &Lanes, lane: usize, counts: &[i64], is_mean: bool) -> Result<ArrayRef> {
    let value = |(sum, &count): (f64, &i64)| match count {
        0 => 0.0,
        count if is_mean => sum / count as f64,
        _ => sum,
    };
    let present: Vec<bool> = counts.iter().map(|&count| count > 0).collect();
    let values = sums(lanes, lane, counts.len()).zip(counts).map(value).collect();
    native::column::<f64>(&DataType::Float64, values, native::validity(&present))
}

/// The sums as a column to be stored.
pub(super) fn store(lanes: &Lanes, lane: usize, groups: usize) -> Result<ArrayRef> {
    native::column::<f64>(&DataType::Float64, sums(lanes, lane, groups).collect(), None)
}

/// Takes the sums of a stored column back.
pub(super) fn restore(lanes: &mut Lanes, lane: usize, column: &ArrayRef) -> Result<()> {
    let sums = column.as_primitive_opt::<Float64Type>().filter(|sums| sums.null_count() == 0);
    let sums = sums.ok_or_else(|| corrupt("an ordered sum has no sum"))?;
    lanes.floats_mut(lane).zip(sums.values()).for_each(|(slot, sum)| *slot = sum.to_bits() as i64);
    Ok(())
}
