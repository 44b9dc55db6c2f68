//! Hashes of values: what [`Function::Hash`](crate::expr::Function::Hash) means.
//!
//! # Contract
//! A hash is 64 bits, the same on every machine, in every run and for every layout of equal values. *(tested)*
//!
//! A value is a sequence of 64-bit words. The words of all arguments of a row are folded, one after another, into a
//! state that starts as [`SEED`]: `state = mix(state ^ word)`. The last state is the hash. The words are:
//!
//! | value | words |
//! |---|---|
//! | null | [`NULL`] |
//! | Boolean | 0 or 1 |
//! | integer, date, timestamp, duration | the value in 64 bits, two's complement |
//! | float | the bits as a 64-bit float; every NaN is one NaN, -0.0 is 0.0 |
//! | decimal | the unscaled value's low 64 bits, then the high ones |
//! | text, bytes | each 8 bytes, little end first, zeros after the last; then the length in bytes |
//! | list | the words of all items, then the number of items |
//! | struct | the words of all fields |
//!
//! `mix` needs nothing but shifts and products of 64 bits, so that every device can do it.

use std::sync::Arc;

use arrow_array::{ArrayRef, UInt64Array};

use crate::columnar::Scalar;
use crate::error::{Error, Result};

/// The state before the first word: the fractional bits of the golden ratio.
pub const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

/// The word of null: the fractional bits of the square root of 2.
pub const NULL: u64 = 0x6A09_E667_F3BC_C908;

/// A bijection of 64 bits in which every bit in changes half of the bits out (the finaliser of `SplitMix64`).
#[inline]
pub const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// The state after one more word.
#[inline]
pub const fn fold(state: u64, word: u64) -> u64 {
    mix(state ^ word)
}

/// The state after the words of a text or of bytes.
#[inline]
pub fn fold_bytes(state: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = words.iter().fold(state, |state, word| fold(state, u64::from_le_bytes(*word)));
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        state = fold(state, u64::from_le_bytes(word));
    }
    fold(state, bytes.len() as u64)
}

/// The word of a float.
#[inline]
pub fn float_word(value: f64) -> u64 {
    // Adding 0.0 turns -0.0 into 0.0.
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

/// The hash of each row of some columns, which are equally long.
///
/// # Errors
/// `Unsupported` for types that the engine does not take.
pub fn reference(columns: &[ArrayRef], rows: usize) -> Result<UInt64Array> {
    (0..rows)
        .map(|row| {
            let values = columns.iter().map(|column| Scalar::from_array(column, row));
            let state = values
                .map(|value| value.map(|value| words(&value)))
                .try_fold(SEED, |state, words| Ok::<_, Error>(words??.into_iter().fold(state, fold)));
            state.map(Some)
        })
        .collect()
}

/// The words of a value.
///
/// # Errors
/// `Internal` for a kind of value that the table above does not have.
pub fn words(value: &Scalar) -> Result<Vec<u64>> {
    Ok(match value {
        Scalar::Null => vec![NULL],
        Scalar::Boolean(value) => vec![u64::from(*value)],
        Scalar::Int64(value) | Scalar::Timestamp(value, ..) | Scalar::Duration(value, _) => vec![value.cast_unsigned()],
        Scalar::UInt64(value) => vec![*value],
        Scalar::Date32(days) => vec![i64::from(*days).cast_unsigned()],
        Scalar::Float64(value) => vec![float_word(*value)],
        Scalar::Decimal128 { unscaled, .. } => halves(*unscaled).to_vec(),
        Scalar::Utf8(text) => bytes_words(text.as_bytes()),
        Scalar::Binary(bytes) => bytes_words(bytes),
        Scalar::List(items) => {
            let mut all = Vec::new();
            for item in items {
                all.extend(words(item)?);
            }
            all.push(items.len() as u64);
            all
        }
        Scalar::Struct(fields) => fields.iter().map(words).collect::<Result<Vec<_>>>()?.concat(),
    })
}

/// The low and the high half of a decimal.
#[expect(clippy::cast_possible_truncation, reason = "taken apart on purpose")]
pub const fn halves(unscaled: i128) -> [u64; 2] {
    let bits = unscaled.cast_unsigned();
    [bits as u64, (bits >> 64) as u64]
}

fn bytes_words(bytes: &[u8]) -> Vec<u64> {
    let padded = bytes.chunks(8).map(|chunk| chunk.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte)));
    padded.chain([bytes.len() as u64]).collect()
}

/// The hashes as a column.
///
/// # Errors
/// As for [`reference()`].
pub fn reference_column(columns: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
    Ok(Arc::new(reference(columns, rows)?))
}
