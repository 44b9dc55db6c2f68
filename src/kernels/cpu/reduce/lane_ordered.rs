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

/// The sum of this start and the floats whose bits are set, in their order. Each addition waits for the one before: floats that are left
/// out must not be among them.
pub(super) fn sum_kept(start: f64, floats: &[f64], words: &[u64]) -> f64 {
    dispatch!(simd::level(), simd => sum_each_kept(simd, start, floats, words))
}

#[simd]
fn sum_each_kept<S: Simd>(_: S, start: f64, floats: &[f64], words: &[u64]) -> f64 {
    let mut sum = start;
    for (&word, floats) in words.iter().zip(floats.chunks(u64::BITS as usize)) {
        let mut left = word & u64::MAX >> (u64::BITS as usize - floats.len());
        while left != 0 {
            sum += floats[left.trailing_zeros() as usize];
            left &= left - 1;
        }
    }
    sum
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_floats_are_added_one_by_one_in_their_order() {
        for rows in [0, 1, 63, 64, 65, 127, 128, 511, 512] {
            let float = |row: usize| [1e300, -1e300, 0.1, -0.0, 5e-324, 3.0][row * 7 % 6] * (row + 1) as f64;
            let floats: Vec<f64> = (0..rows).map(float).collect();
            for pattern in [0, 1, u64::MAX, 0x8000_0000_0000_0001, 0x5555_1234_0f0f_ff00] {
                // Bits behind the last row say nothing.
                let words = [pattern; 8];
                let mut sum = 0.25;
                for (row, float) in floats.iter().enumerate().filter(|(row, _)| pattern >> (row % 64) & 1 == 1) {
                    assert!(row < rows);
                    sum += float;
                }
                for level in simd::available() {
                    let found = simd::with_level(level, || sum_kept(0.25, &floats, &words));
                    assert_eq!(found.to_bits(), sum.to_bits(), "{rows} rows, {pattern:x}");
                }
            }
        }
    }
}
