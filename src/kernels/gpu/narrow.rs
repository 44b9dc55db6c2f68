//! Whole numbers in as few bits as a batch needs: each goes up as its distance from the least one of the batch.
//!
//! The distances have 1, 2, 4, 8, 16, 32 or 64 bits, so that none lies in two words, and the device adds the least value again.
//! Bits and least value are numbers of the
//! header, so that a shader serves batches of any range; finding the least and the greatest value is one more look at values that
//! the link would have to carry in full.

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::Decimal128Type;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::ArrowNativeType;
use arrow_data::ArrayData;
use bytemuck::Pod;
use rayon::prelude::*;

use super::kind::Kind;
use crate::columnar::DataType;
use crate::error::Result;
use crate::kernels::cpu::native;

/// Bits that distances may have.
const BITS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Rows that a thread looks at in a row.
const PART_ROWS: usize = 1 << 16;

/// Values that are made narrow in a row, before they are written: mapped memory wants whole lines.
const BLOCK: usize = 512;

/// The least and the greatest value; of none the greatest is less.
pub(super) type Extremes = (i128, i128);

/// Of no values.
const NONE: Extremes = (i128::MAX, i128::MIN);

/// How the values of a column travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Width {
    /// Bits of a value.
    pub(super) bits: usize,
    /// The lowest 64 bits of what the device adds to each; those above them are those of its sign.
    base: u64,
}

impl Width {
    /// As the values lie.
    pub(super) fn whole(kind: Kind) -> Self {
        Self { bits: kind.bits(), base: 0 }
    }

    /// As narrow as it goes.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the bits are what is asked for")]
    pub(super) fn of(kind: Kind, (low, high): Extremes) -> Self {
        let (low, high) = if low > high { (0, 0) } else { (low, high) };
        // Decimals of many digits may lie further from zero than a base can.
        let has_base = kind == Kind::U64 || i64::try_from(low).is_ok();
        let distance = high.wrapping_sub(low) as u128;
        let bits = BITS.into_iter().find(|&bits| has_base && bits < kind.bits() && distance >> bits == 0);
        bits.map_or(Self::whole(kind), |bits| Self { bits, base: low as u64 })
    }

    /// Whether values travel as they lie.
    pub(super) fn is_whole(self, kind: Kind) -> bool {
        self.bits == kind.bits()
    }

    /// Bits and base, as the header has them.
    #[expect(clippy::cast_possible_truncation, reason = "halves of a wider number; bits are few")]
    pub(super) fn words(self) -> [u32; 3] {
        [self.bits as u32, self.base as u32, (self.base >> 32) as u32]
    }

    /// The same distances in a byte each, of which [`Tight`] makes fewer bits.
    pub(super) fn in_bytes(self) -> Self {
        Self { bits: 8, ..self }
    }

    /// Writes the distances of some rows, of 8 bits or more; `write` gets them in order, with the byte at which they begin.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "distances fit the bits that they have"
    )]
    pub(super) fn write(self, values: &ArrayData, rows: Range<usize>, kind: Kind, write: impl FnMut(usize, &[u8])) {
        let (base, wide_base) = (self.base, i128::from(self.base.cast_signed()) as u128);
        match (kind.bits(), self.bits) {
            (32, 8) => cut(&values.buffer::<u32>(0)[rows], |value| value.wrapping_sub(base as u32) as u8, write),
            (32, _) => cut(&values.buffer::<u32>(0)[rows], |value| value.wrapping_sub(base as u32) as u16, write),
            (64, 8) => cut(&values.buffer::<u64>(0)[rows], |value| value.wrapping_sub(base) as u8, write),
            (64, 16) => cut(&values.buffer::<u64>(0)[rows], |value| value.wrapping_sub(base) as u16, write),
            (64, _) => cut(&values.buffer::<u64>(0)[rows], |value| value.wrapping_sub(base) as u32, write),
            (_, bits) => {
                let values = &values.buffer::<i128>(0)[rows];
                let distance = move |value: i128| (value as u128).wrapping_sub(wide_base);
                match bits {
                    8 => cut(values, |value| distance(value) as u8, write),
                    16 => cut(values, |value| distance(value) as u16, write),
                    32 => cut(values, |value| distance(value) as u32, write),
                    _ => cut(values, |value| distance(value) as u64, write),
                }
            }
        }
    }
}

fn cut<N: Copy, W: Pod>(values: &[N], narrow: impl Fn(N) -> W, mut write: impl FnMut(usize, &[u8])) {
    let mut block = [W::zeroed(); BLOCK];
    for (number, values) in values.chunks(BLOCK).enumerate() {
        block.iter_mut().zip(values).for_each(|(place, &value)| *place = narrow(value));
        write(number * BLOCK * size_of::<W>(), bytemuck::cast_slice(&block[..values.len()]));
    }
}

/// Distances of fewer than 8 bits, put together across the pieces of a column.
pub(super) struct Tight {
    bits: usize,
    /// Those that wait, a byte each.
    block: [u8; BLOCK],
    filled: usize,
    /// Bytes that were written.
    at: usize,
}

impl Tight {
    pub(super) fn new(bits: usize) -> Self {
        Self { bits, block: [0; BLOCK], filled: 0, at: 0 }
    }

    /// Takes distances of a byte each; `write` gets those that are put together, with the byte at which they begin.
    pub(super) fn push(&mut self, mut distances: &[u8], write: &mut impl FnMut(usize, &[u8])) {
        while !distances.is_empty() {
            let (now, later) = distances.split_at(distances.len().min(BLOCK - self.filled));
            self.block[self.filled..][..now.len()].copy_from_slice(now);
            self.filled += now.len();
            distances = later;
            if self.filled == BLOCK {
                self.flush(write);
            }
        }
    }

    /// Writes those that wait; there are no more but whole bytes of them.
    #[expect(clippy::cast_possible_truncation, reason = "all that counts has come together in the byte that stays")]
    pub(super) fn flush(&mut self, write: &mut impl FnMut(usize, &[u8])) {
        debug_assert!(
            self.block.iter().all(|distance| distance >> self.bits == 0),
            "a distance lies in another's bits"
        );
        self.block[self.filled..].fill(0);
        let mut tight = [0; BLOCK / 2];
        match self.bits {
            // Each factor's bit takes one of the eight to its place in the highest byte.
            1 => put::<8>(&self.block, &mut tight, |all| {
                (u64::from_le_bytes(all).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
            }),
            2 => put::<4>(&self.block, &mut tight, |all| {
                let pairs = u32::from_le_bytes(all) | u32::from_le_bytes(all) >> 6;
                (pairs | pairs >> 12) as u8
            }),
            _ => put::<2>(&self.block, &mut tight, |[low, high]| low | high << 4),
        }
        let bytes = (self.filled * self.bits).div_ceil(8);
        write(self.at, &tight[..bytes]);
        (self.at, self.filled) = (self.at + bytes, 0);
    }
}

/// Makes one byte of `N` each.
fn put<const N: usize>(distances: &[u8; BLOCK], tight: &mut [u8], one: impl Fn([u8; N]) -> u8) {
    for (all, place) in distances.as_chunks::<N>().0.iter().zip(tight) {
        *place = one(*all);
    }
}

/// Whether values may be made narrow. Those of 16 bits and fewer are as they lie.
pub(super) fn may_be_narrow(kind: Kind) -> bool {
    matches!(kind, Kind::Signed(32) | Kind::Unsigned(32) | Kind::I64 | Kind::U64 | Kind::I128)
}

/// The least and the greatest value of a column of whole numbers, by several threads if they are many; those under nulls may
/// count.
pub(super) fn extremes(pieces: &[ArrayRef]) -> Result<Extremes> {
    let part = |piece: &ArrayRef, from: usize| of_piece(&piece.slice(from, PART_ROWS.min(piece.len() - from)));
    let parts = pieces.iter().flat_map(|piece| (0..piece.len()).step_by(PART_ROWS).map(move |from| (piece, from)));
    let both = |(low, high): Extremes, (least, most): Extremes| (low.min(least), high.max(most));
    match pieces.iter().map(|piece| piece.len()).sum::<usize>() >= 2 * PART_ROWS && rayon::current_num_threads() > 1 {
        true => {
            let parts = parts.collect::<Vec<_>>();
            let found = parts.into_par_iter().map(|(piece, from)| part(piece, from));
            found.try_reduce(|| NONE, |all, one| Ok(both(all, one)))
        }
        false => parts.map(|(piece, from)| part(piece, from)).try_fold(NONE, |all, one| Ok(both(all, one?))),
    }
}

fn of_piece(column: &ArrayRef) -> Result<Extremes> {
    fn of<N: ArrowNativeType + Into<i128>>(column: &ArrayRef) -> Result<Extremes> {
        Ok(of_values(&native::values::<N>(column)?))
    }
    match column.data_type() {
        DataType::Boolean => Ok((0, 1)),
        DataType::Int8 => of::<i8>(column),
        DataType::Int16 => of::<i16>(column),
        DataType::Int32 | DataType::Date32 => of::<i32>(column),
        DataType::UInt8 => of::<u8>(column),
        DataType::UInt16 => of::<u16>(column),
        DataType::UInt32 => of::<u32>(column),
        DataType::UInt64 => of::<u64>(column),
        DataType::Decimal128(_, _) => Ok(of_values(column.as_primitive::<Decimal128Type>().values())),
        _ => of::<i64>(column),
    }
}

fn of_values<N: Copy + PartialOrd + Into<i128>>(values: &[N]) -> Extremes {
    let Some(&first) = values.first() else { return NONE };
    let (low, high) = values.iter().fold((first, first), |(low, high), &value| {
        (if value < low { value } else { low }, if value > high { value } else { high })
    });
    (low.into(), high.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Decimal128Array, Int64Array, UInt64Array};

    use super::*;

    #[test]
    fn as_few_bits_as_the_range_needs() {
        let bits = |kind, low: i128, high: i128| Width::of(kind, (low, high)).bits;
        for (distance, expected) in [
            (0, 1),
            (1, 1),
            (2, 2),
            (3, 2),
            (4, 4),
            (15, 4),
            (16, 8),
            (255, 8),
            (256, 16),
            (65_535, 16),
            (65_536, 32),
            (u32::MAX.into(), 32),
            (1 << 32, 64),
        ] {
            for low in [i64::MIN.into(), -1, 0, i128::from(i64::MAX) - distance] {
                assert_eq!(bits(Kind::I64, low, low + distance), expected, "{distance} from {low}");
                assert_eq!(bits(Kind::I128, low, low + distance), expected, "{distance} from {low}");
            }
            assert_eq!(bits(Kind::U64, i128::from(u64::MAX) - distance, u64::MAX.into()), expected);
            assert_eq!(bits(Kind::Signed(32), i32::MIN.into(), i128::from(i32::MIN) + distance), expected.min(32));
        }
        assert_eq!(bits(Kind::I128, i128::MIN, i128::MAX), 128);
        assert_eq!(bits(Kind::I128, 1 << 63, 1 << 63), 128, "a base has 64 bits");
        assert_eq!(bits(Kind::I64, NONE.0, NONE.1), 1);
    }

    #[test]
    fn extremes_of_many_pieces_are_those_of_all_rows() {
        let piece = |from: i64| Arc::new((from..from + 70_001).collect::<Int64Array>()) as ArrayRef;
        assert_eq!(extremes(&[piece(-5), piece(1 << 40), piece(7)]).unwrap(), (-5, (1 << 40) + 70_000));
        assert_eq!(extremes(&[]).unwrap(), NONE);
        let unsigned: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, 3]));
        assert_eq!(extremes(&[unsigned]).unwrap(), (3, u64::MAX.into()));
    }

    #[test]
    fn distances_of_few_bits_are_put_together_across_pieces() {
        for bits in [1, 2, 4] {
            for len in [0, 1, 7, 8, 511, 512, 513, 1600] {
                let distances =
                    (0..len).map(|row| u8::try_from(row * 7919 % 1009 % (1 << bits)).unwrap()).collect::<Vec<_>>();
                let (mut tight, mut written) = (Tight::new(bits), Vec::new());
                let mut write = |at: usize, bytes: &[u8]| {
                    assert_eq!(at, written.len());
                    written.extend_from_slice(bytes);
                };
                distances.chunks(333).for_each(|piece| tight.push(piece, &mut write));
                tight.flush(&mut write);
                assert_eq!(written.len(), (len * bits).div_ceil(8));
                for (row, &distance) in distances.iter().enumerate() {
                    let found = written[row * bits / 8] >> (row * bits % 8) & ((1 << bits) - 1);
                    assert_eq!(found, distance, "row {row} of {len} in {bits} bits");
                }
            }
        }
    }

    #[test]
    fn distances_are_written_in_their_order() {
        let values: ArrayRef = Arc::new((0..2000).map(|row| 300 * row - 7).collect::<Decimal128Array>());
        let width = Width::of(Kind::I128, extremes(&[Arc::clone(&values)]).unwrap());
        assert_eq!(width.words(), [32, (-7_i32).cast_unsigned(), u32::MAX]);
        let mut written = Vec::new();
        width.write(&values.slice(100, 1900).to_data(), 1..1900, Kind::I128, |at, bytes| {
            assert_eq!(at, written.len());
            written.extend_from_slice(bytes);
        });
        let expected = (101..2000).flat_map(|row: u32| (300 * row).to_ne_bytes()).collect::<Vec<_>>();
        assert_eq!(written, expected);
    }
}
