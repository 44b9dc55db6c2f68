//! Texts and byte strings of the kept rows: new offsets, then the bytes.

use arrow_buffer::{ArrowNativeType, Buffer, ScalarBuffer};
use arrow_data::ArrayData;

use super::mask::Picker;
use crate::kernels::cpu::bytes::Copied;

/// An offset into bytes, and the number of the same width that a length is.
pub(super) trait Offset: ArrowNativeType {
    type Length: Copy;
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
    let mut out = Copied::with_room(kept[kept.len() - 1].as_usize());
    each_range(picker, |first, rows| out.push(bytes, offsets[first].as_usize(), offsets[first + rows].as_usize()));
    Some(vec![Buffer::from_vec(kept), Buffer::from_vec(out.into_vec())])
}

/// Sums of the lengths of the kept rows.
fn kept_offsets<O: Offset>(picker: &Picker<'_>, offsets: &[O]) -> Vec<O> {
    let mut sums = Vec::with_capacity(picker.kept() + 1);
    let mut sum = O::default();
    sums.push(sum);
    each_range(picker, |first, rows| {
        let (before, start) = (sum, offsets[first]);
        sums.extend(offsets[first + 1..=first + rows].iter().map(|end| before.plus(O::length(start, *end))));
        sum = before.plus(O::length(start, offsets[first + rows]));
    });
    sums
}

/// Calls with the first row and the length of ranges of kept rows that make up all of them, in order: 64 rows where all
/// these are kept, else each row by itself. Where rows are kept at random, a loop that looks for the ends of runs waits for
/// mispredicted branches longer than it saves copies.
#[inline(always)]
fn each_range(picker: &Picker<'_>, mut call: impl FnMut(usize, usize)) {
    if let Some(numbers) = &picker.numbers {
        return numbers.iter().for_each(|row| call(*row as usize, 1));
    }
    for (index, word) in picker.words.iter().enumerate() {
        let (mut left, row) = (*word, index * 64);
        if left == u64::MAX {
            call(row, 64);
            continue;
        }
        while left != 0 {
            call(row + left.trailing_zeros() as usize, 1);
            left &= left - 1;
        }
    }
}
