//! Counts, sums and sums of squares as bytes, and back.
//!
//! Those of whole numbers are their limbs, little end first, at a fixed width. Those of floats are either inside a
//! window of exponents, which is then named, or of any size; a first byte says which.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "numbers of limbs and windows are small"
)]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray};
use arrow_buffer::Buffer;

use super::stored_total::limbs;
use super::window::Window;
use crate::error::Result;
use crate::kernels::exact_sum::{F64_LIMBS, F64_SQUARE_LIMBS, Fixed, FloatMoments, Moments};
use crate::kernels::stored::corrupt;

/// Inside a window; two bytes name its lowest exponent field, 0 if there is none yet.
const IN_WINDOW: u8 = 0;

/// Of any size.
const ANY_SIZE: u8 = 1;

/// Moments of floats.
pub(super) enum StoredMoments {
    InWindow(Moments<2, 4>, Option<Window>),
    AnySize(Box<FloatMoments>),
}

fn words<const L: usize, const M: usize>(moments: &Moments<L, M>) -> impl Iterator<Item = u64> {
    std::iter::once(moments.count).chain(moments.sum.0).chain(moments.squares.0)
}

fn from_bytes<const L: usize, const M: usize>(bytes: &[u8]) -> Option<Moments<L, M>> {
    let (count, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, squares) = rest.split_at_checked(8 * L)?;
    (squares.len() == 8 * M).then(|| Moments {
        count: u64::from_le_bytes(*count),
        sum: Fixed(limbs(sum)),
        squares: Fixed(limbs(squares)),
    })
}

/// The column of moments of whole numbers.
pub(super) fn whole_column<const L: usize, const M: usize>(slots: &[Moments<L, M>]) -> Result<ArrayRef> {
    let words: Vec<u64> = slots.iter().flat_map(words).map(u64::to_le).collect();
    Ok(Arc::new(FixedSizeBinaryArray::try_new(width::<L, M>(), Buffer::from_vec(words), None)?))
}

pub(super) const fn width<const L: usize, const M: usize>() -> i32 {
    8 * (1 + L + M) as i32
}

/// The moments of whole numbers in a column.
pub(super) fn whole<const L: usize, const M: usize>(column: &ArrayRef) -> Result<Vec<Moments<L, M>>> {
    let column = column.as_fixed_size_binary_opt().filter(|column| column.null_count() == 0);
    let column = column.ok_or_else(|| corrupt("moments are null or of another type"))?;
    let moments = (0..column.len()).map(|row| from_bytes(column.value(row)));
    moments.collect::<Option<_>>().ok_or_else(|| corrupt("moments are of another width"))
}

/// The bytes of moments inside a window.
pub(super) fn in_window(slot: &Moments<2, 4>, window: Option<Window>) -> Vec<u8> {
    let mut bytes = vec![IN_WINDOW];
    bytes.extend_from_slice(&(window.map_or(0, Window::low) as u16).to_le_bytes());
    bytes.extend(words(slot).flat_map(u64::to_le_bytes));
    bytes
}

/// The bytes of moments of any size.
pub(super) fn of_any_size(moments: &FloatMoments) -> Vec<u8> {
    let mut bytes = vec![ANY_SIZE];
    bytes.extend_from_slice(&moments.infinite_or_nan.to_le_bytes());
    bytes.extend(words(&moments.finite).flat_map(u64::to_le_bytes));
    bytes
}

/// Moments of floats from their bytes.
pub(super) fn read(bytes: &[u8]) -> Result<StoredMoments> {
    let read = match bytes.split_first() {
        Some((&IN_WINDOW, rest)) => rest.split_first_chunk::<2>().and_then(|(low, moments)| {
            let window = match u16::from_le_bytes(*low) {
                0 => None,
                low => Some(Window::with_low(u32::from(low))?),
            };
            Some(StoredMoments::InWindow(from_bytes(moments)?, window))
        }),
        Some((&ANY_SIZE, rest)) => rest.split_first_chunk::<8>().and_then(|(others, moments)| {
            let finite: Moments<F64_LIMBS, F64_SQUARE_LIMBS> = from_bytes(moments)?;
            let infinite_or_nan = u64::from_le_bytes(*others);
            Some(StoredMoments::AnySize(Box::new(FloatMoments { finite, infinite_or_nan })))
        }),
        _ => None,
    };
    read.ok_or_else(|| corrupt("moments of floats cannot be read"))
}
