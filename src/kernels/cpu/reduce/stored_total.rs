//! Totals as bytes, and back: exactly, whatever the lanes looked like.
//!
//! The total of whole numbers is a number of 192 bits in two's complement, little end first (`FixedSizeBinary(24)`).
//! The total of floats is `Binary`: a byte of flags, an exponent in two bytes, and the bytes of an odd whole number,
//! little end first, without the highest ones that are zero. Equal totals are equal bytes, however they came about.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the width of a total and the exponents of floats fit 16 bits"
)]

use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, FixedSizeBinaryArray};
use arrow_buffer::Buffer;
use arrow_schema::DataType;

use super::lane_sum::{Total, Wide};
use crate::error::Result;
use crate::kernels::exact_sum::{F64_GRID, F64_LIMBS, Fixed, FloatTotal, Special};
use crate::kernels::stored::corrupt;

/// Bytes of a total of whole numbers.
const WHOLE_BYTES: usize = 24;

/// The flag of a total below zero, beside those of [`Special`].
const NEGATIVE: u8 = 8;

/// Flags and exponent of a total of floats.
const HEAD_BYTES: usize = 3;

/// The column of these totals, all of floats or all of whole numbers.
pub(super) fn column(totals: impl Iterator<Item = Total>, are_floats: bool) -> Result<ArrayRef> {
    if !are_floats {
        let limbs = totals.flat_map(|total| match total {
            Total::Whole(total) => total.0.map(u64::to_le),
            Total::Scaled(..) | Total::Float(_) => [0; 3],
        });
        let limbs = Buffer::from_vec(limbs.collect::<Vec<u64>>());
        return Ok(Arc::new(FixedSizeBinaryArray::try_new(WHOLE_BYTES as i32, limbs, None)?));
    }
    let mut column = BinaryBuilder::new();
    let mut bytes = Vec::new();
    for total in totals {
        bytes.clear();
        match total {
            Total::Whole(total) => write(&mut bytes, Special::default(), &total, 0),
            Total::Scaled(total, exponent) => write(&mut bytes, Special::default(), &total, exponent),
            Total::Float(total) => write(&mut bytes, total.special, &total.finite, F64_GRID),
        }
        column.append_value(&bytes);
    }
    Ok(Arc::new(column.finish()))
}

fn write<const N: usize>(bytes: &mut Vec<u8>, special: Special, total: &Fixed<N>, exponent: i32) {
    let (negative, limbs) = total.magnitude();
    let lowest = limbs.iter().position(|&limb| limb != 0);
    let zeros = lowest.map_or(0, |limb| 64 * limb + limbs[limb].trailing_zeros() as usize);
    let exponent = if lowest.is_some() { exponent + zeros as i32 } else { 0 };
    bytes.push(special.flags() | if negative { NEGATIVE } else { 0 });
    bytes.extend_from_slice(&(exponent as i16).to_le_bytes());
    let limb = |place: usize| limbs.get(place).copied().unwrap_or(0);
    for place in zeros / 64..N {
        let both = u128::from(limb(place + 1)) << 64 | u128::from(limb(place));
        bytes.extend_from_slice(&((both >> (zeros % 64)) as u64).to_le_bytes());
    }
    while bytes.len() > HEAD_BYTES && bytes.last() == Some(&0) {
        bytes.pop();
    }
}

/// The totals of a column.
pub(super) fn totals(column: &ArrayRef) -> Result<Vec<Total>> {
    if column.null_count() > 0 {
        return Err(corrupt("a total is null"));
    }
    match column.data_type() {
        DataType::FixedSizeBinary(width) if *width == WHOLE_BYTES as i32 => {
            let column = column.as_fixed_size_binary();
            Ok((0..column.len()).map(|row| Total::Whole(Fixed(limbs(column.value(row))))).collect())
        }
        DataType::Binary => column.as_binary::<i32>().iter().map(|bytes| read(bytes.unwrap_or_default())).collect(),
        other => Err(corrupt(format!("a total is of type {other}"))),
    }
}

/// Bytes, little end first, as limbs.
pub(super) fn limbs<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut limbs = [0; N];
    for (limb, bytes) in limbs.iter_mut().zip(bytes.chunks(8)) {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        *limb = u64::from_le_bytes(word);
    }
    limbs
}

fn read(bytes: &[u8]) -> Result<Total> {
    /// Bits of [`FloatTotal`] but the sign.
    const BITS_MAX: usize = 64 * F64_LIMBS - 1;
    let Some((&[flags, low, high], magnitude)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Err(corrupt("a total of floats is too short"));
    };
    let exponent = i32::from(i16::from_le_bytes([low, high]));
    let negative = flags & NEGATIVE != 0;
    let special =
        Special::from_flags(flags & !NEGATIVE).ok_or_else(|| corrupt("a total of floats has unknown flags"))?;
    let shift = exponent.checked_sub(F64_GRID).and_then(|shift| u32::try_from(shift).ok());
    let fits = |shift: u32| shift as usize + 8 * magnitude.len() <= BITS_MAX;
    if !magnitude.is_empty() && !shift.is_some_and(fits) {
        return Err(corrupt("a total of floats is out of range"));
    }
    if special == Special::default() && magnitude.len() < WHOLE_BYTES {
        let mut total = Wide::default();
        total.add_limbs(negative, &limbs::<3>(magnitude), 0);
        return Ok(Total::Scaled(total, exponent));
    }
    let mut total = FloatTotal { special, ..FloatTotal::default() };
    if let Some(shift) = shift {
        total.finite.add_limbs(negative, &limbs::<F64_LIMBS>(magnitude), shift);
    }
    Ok(Total::Float(Box::new(total)))
}
