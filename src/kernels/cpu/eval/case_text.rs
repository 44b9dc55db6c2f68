//! One of two texts for each row: offsets first, then the bytes, each text as one move where it is short.

use arrow_array::{Array, ArrayRef, OffsetSizeTrait};
use arrow_buffer::{BooleanBuffer, Buffer, ScalarBuffer};

use super::operand::{Operand, selected_nulls};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cpu::bytes::{CHUNK, Copied};
use crate::kernels::cpu::native::with_buffers;

/// For each row the text (or byte string) of one side; both sides are of one type, with offsets of type `O`.
pub(super) fn select_texts<O: OffsetSizeTrait>(first: &BooleanBuffer, yes: &Operand, no: &Operand) -> Result<ArrayRef> {
    if first.is_empty() {
        return Ok(yes.array().slice(0, 0)); // offsets of no rows may be left out
    }
    let sides = [Side::<O>::of(no), Side::<O>::of(yes)];
    let length = |(row, bit)| {
        let (from, to) = sides[usize::from(bit)].range(row);
        to - from
    };
    let total: usize = first.iter().enumerate().map(length).sum();
    if O::from_usize(total).is_none() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("a column of {} is to hold {total} bytes", yes.data_type()),
        )
        .advice("bound the batch, for example with max_bytes_per_batch"));
    }
    let mut offsets = Vec::with_capacity(first.len() + 1);
    let mut bytes = Copied::with_room(total);
    offsets.push(O::zero());
    for (row, bit) in first.iter().enumerate() {
        let chosen = &sides[usize::from(bit)];
        let (from, to) = chosen.range(row);
        bytes.push(&chosen.bytes, from, to);
        offsets.push(O::usize_as(bytes.len()));
    }
    let nulls = selected_nulls(first, yes, no);
    let buffers = vec![Buffer::from_vec(offsets), Buffer::from_vec(bytes.into_vec())];
    // SAFETY: one whole text of a valid array of this type for each bit of `first`; the offsets fit, as was checked.
    Ok(unsafe { with_buffers(&yes.array().to_data(), first.len(), buffers, nulls) })
}

/// Where the texts of one side lie.
struct Side<O: OffsetSizeTrait> {
    offsets: ScalarBuffer<O>,
    bytes: Buffer,
    /// How far the place of a text moves from row to row: not at all for a constant.
    step: usize,
}

impl<O: OffsetSizeTrait> Side<O> {
    fn of(operand: &Operand) -> Self {
        let data = operand.array().to_data();
        let offsets = ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len() + 1);
        let bytes = data.buffers()[1].clone();
        if !operand.is_constant() {
            return Self { offsets, bytes, step: 1 };
        }
        // Short constants are moved with what follows them, so something must.
        let mut padded = bytes.as_slice()[offsets[0].as_usize()..offsets[1].as_usize()].to_vec();
        let offsets = vec![O::zero(), O::usize_as(padded.len())].into();
        padded.resize(padded.len() + CHUNK, 0);
        Self { offsets, bytes: Buffer::from_vec(padded), step: 0 }
    }

    #[inline(always)]
    fn range(&self, row: usize) -> (usize, usize) {
        let place = row * self.step;
        (self.offsets[place].as_usize(), self.offsets[place + 1].as_usize())
    }
}
