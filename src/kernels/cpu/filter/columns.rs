//! One column's kept rows: which kernel for which type.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::{ArrowNativeType, Buffer, NullBuffer, ScalarBuffer};
use arrow_data::ArrayData;

use super::mask::Picker;
use super::{bitmaps, lanes, texts};
use crate::columnar::DataType;
use crate::error::{Error, Result};
use crate::kernels::cpu::native::with_buffers;

/// The values of the kept rows, in order.
pub(super) fn pick(picker: &Picker<'_>, column: &ArrayRef) -> Result<ArrayRef> {
    if column.len() != picker.rows() {
        return Err(Error::internal(format!("a mask of {} rows met {} values", picker.rows(), column.len())));
    }
    let data_type = column.data_type();
    match data_type {
        DataType::Boolean => {
            let values = bitmaps::pick(picker, column.as_boolean().values());
            return Ok(Arc::new(BooleanArray::new(values, nulls(picker, column))));
        }
        DataType::Interval(_) => return picker.pick_by_arrow(column), // laid out as structs, not as one number
        _ => {}
    }
    let data = column.to_data();
    let buffers = match data_type {
        DataType::Utf8 | DataType::Binary => texts::pick::<i32>(picker, &data),
        DataType::LargeUtf8 | DataType::LargeBinary => texts::pick::<i64>(picker, &data),
        DataType::Utf8View | DataType::BinaryView => {
            let views = fixed_width(picker, &data, size_of::<u128>());
            views.map(|views| [vec![views], data.buffers()[1..].to_vec()].concat())
        }
        DataType::Dictionary(keys, _) => fixed_width(picker, &data, keys.primitive_width().unwrap_or(0)).map(one),
        other => fixed_width(picker, &data, other.primitive_width().unwrap_or(0)).map(one),
    };
    match buffers {
        Some(buffers) => {
            let nulls = nulls(picker, column);
            // SAFETY: each value is one of `column`'s (a number, a code, a view, a whole text), and each kernel gives as
            // many as the mask keeps.
            Ok(unsafe { with_buffers(&data, picker.kept(), buffers, nulls) })
        }
        None => picker.pick_by_arrow(column),
    }
}

fn one(buffer: Buffer) -> Vec<Buffer> {
    vec![buffer]
}

/// The first buffer's values; `None` if there is no number of this width.
fn fixed_width(picker: &Picker<'_>, data: &ArrayData, width: usize) -> Option<Buffer> {
    Some(match width {
        1 => lanes::pick::<u8>(picker, &values(data)),
        2 => lanes::pick::<u16>(picker, &values(data)),
        4 => lanes::pick::<u32>(picker, &values(data)),
        8 => lanes::pick::<u64>(picker, &values(data)),
        16 => lanes::pick_pairs(picker, &values(data)),
        _ => return None,
    })
}

fn values<N: ArrowNativeType>(data: &ArrayData) -> ScalarBuffer<N> {
    ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
}

/// The validity of the kept rows; none if all of them have a value.
fn nulls(picker: &Picker<'_>, column: &dyn Array) -> Option<NullBuffer> {
    let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0)?;
    Some(NullBuffer::new(bitmaps::pick(picker, nulls.inner()))).filter(|nulls| nulls.null_count() > 0)
}
