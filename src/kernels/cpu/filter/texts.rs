//! Texts and byte strings of the kept rows: new offsets, and the bytes as runs of kept rows.

use arrow_buffer::{ArrowNativeType, Buffer, ScalarBuffer};
use arrow_data::ArrayData;

use super::lanes::{self, Lane};
use super::mask::Picker;
use crate::kernels::cpu::bytes::{SHORT, append};

/// An offset into bytes, and the number of the same width that a length is.
pub(super) trait Offset: ArrowNativeType {
    type Length: Lane;
    fn length(from: Self, to: Self) -> Self::Length;
    fn plus(self, length: Self::Length) -> Self;
}

macro_rules! offsets {
    ($($offset:ty, $length:ty);*) => { $(impl Offset for $offset {
        type Length = $length;
        #[inline(always)]
        fn length(from: Self, to: Self) -> $length {
            (to - from).cast_unsigned()
        }
        #[inline(always)]
        fn plus(self, length: $length) -> Self {
            self + length.cast_signed()
        }
    })* };
}

offsets!(i32, u32; i64, u64);

/// Offsets and bytes of the kept rows; always `Some`.
pub(super) fn pick<O: Offset>(picker: &Picker<'_>, data: &ArrayData) -> Option<Vec<Buffer>> {
    if data.is_empty() {
        return None;
    }
    let offsets = ScalarBuffer::<O>::new(data.buffers()[0].clone(), data.offset(), data.len() + 1);
    let bytes = data.buffers()[1].as_slice();
    let kept = kept_offsets(picker, &offsets);
    let total = kept[kept.len() - 1].as_usize();
    let mut out = Vec::with_capacity(total + SHORT);
    let mut copy = |first: usize, rows: usize| {
        append(&mut out, bytes, offsets[first].as_usize(), offsets[first + rows].as_usize());
    };
    match &picker.numbers {
        Some(numbers) => numbers.iter().for_each(|row| copy(*row as usize, 1)),
        None => each_run(&picker.words, copy),
    }
    Some(vec![Buffer::from_vec(kept), Buffer::from_vec(out)])
}

/// Sums of the lengths of the kept rows.
fn kept_offsets<O: Offset>(picker: &Picker<'_>, offsets: &[O]) -> Vec<O> {
    let mut sums = Vec::with_capacity(picker.kept() + 1);
    let mut sum = O::default();
    sums.push(sum);
    let mut add = |length| {
        sum = sum.plus(length);
        sum
    };
    match &picker.numbers {
        Some(numbers) => sums.extend(numbers.iter().map(|row| {
            let row = *row as usize;
            add(O::length(offsets[row], offsets[row + 1]))
        })),
        None => {
            let lengths: Vec<_> = offsets.iter().zip(&offsets[1..]).map(|(from, to)| O::length(*from, *to)).collect();
            let lengths = ScalarBuffer::<O::Length>::from(lanes::pick(picker, &lengths));
            sums.extend(lengths.iter().map(|length| add(*length)));
        }
    }
    sums
}

/// Calls with the first row and the length of each run of set bits; a run ends with its word.
#[inline(always)]
fn each_run(words: &[u64], mut call: impl FnMut(usize, usize)) {
    for (index, word) in words.iter().enumerate() {
        let (mut left, mut row) = (*word, index * 64);
        while left != 0 {
            let skipped = left.trailing_zeros();
            left >>= skipped;
            let run = left.trailing_ones();
            call(row + skipped as usize, run as usize);
            row += (skipped + run) as usize;
            left = left.checked_shr(run).unwrap_or(0);
        }
    }
}
