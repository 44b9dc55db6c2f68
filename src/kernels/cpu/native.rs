//! The values of primitive columns as plain slices, and columns made of plain vectors.
//!
//! Dates, timestamps, durations and decimals are integers here: a kernel is written once per native type, not once per
//! Arrow type.

use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, PrimitiveArray, downcast_primitive, make_array};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_data::ArrayData;
use arrow_schema::DataType;

use crate::error::{Error, Result};

/// Runs an expression with `$native` standing for the native type of a primitive column's values; `$other` runs for
/// columns of other types.
macro_rules! with_native {
    ($data_type:expr, $native:ident => $run:expr, _ => $other:expr) => {{
        use arrow_schema::DataType as Type;
        macro_rules! run {
            ($type:ty) => {{
                type $native = $type;
                $run
            }};
        }
        match $data_type {
            Type::Int8 => run!(i8),
            Type::Int16 => run!(i16),
            Type::Int32 | Type::Date32 => run!(i32),
            Type::Int64 | Type::Timestamp(_, _) | Type::Duration(_) => run!(i64),
            Type::UInt8 => run!(u8),
            Type::UInt16 => run!(u16),
            Type::UInt32 => run!(u32),
            Type::UInt64 => run!(u64),
            Type::Float32 => run!(f32),
            Type::Float64 => run!(f64),
            Type::Decimal128(_, _) => run!(i128),
            _ => $other,
        }
    }};
}
pub(super) use with_native;

/// The values of a primitive column, those under nulls included.
pub(crate) fn values<N: ArrowNativeType>(array: &dyn Array) -> Result<ScalarBuffer<N>> {
    match buffer(array) {
        Some(buffer) if array.data_type().primitive_width() == Some(size_of::<N>()) => {
            Ok(ScalarBuffer::new(buffer, 0, array.len()))
        }
        _ => Err(Error::internal(format!("a column of type {} met a kernel of another type", array.data_type()))),
    }
}

/// The bytes of the values, without asking for memory as [`Array::to_data`] does.
fn buffer(array: &dyn Array) -> Option<Buffer> {
    macro_rules! of_type {
        ($arrow:ty) => {
            array.as_primitive_opt::<$arrow>().map(|array| array.values().inner().clone())
        };
    }
    downcast_primitive! {
        array.data_type() => (of_type),
        _ => None
    }
}

/// The values of no batch, without asking for memory.
pub(super) fn no_values<N: ArrowNativeType>() -> ScalarBuffer<N> {
    static NOTHING: LazyLock<Buffer> = LazyLock::new(|| Buffer::from_vec(Vec::<u128>::new()));
    ScalarBuffer::new(NOTHING.clone(), 0, 0)
}

/// A primitive column with these values.
pub(crate) fn column<N: ArrowNativeType>(
    data_type: &DataType,
    values: Vec<N>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    if data_type.primitive_width() != Some(size_of::<N>()) {
        return Err(Error::internal(format!("values of another type were made a column of type {data_type}")));
    }
    let len = values.len();
    array(data_type, Buffer::from_vec(values), len, nulls)
}

/// The column over the bytes of its values.
fn array(data_type: &DataType, values: Buffer, len: usize, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    macro_rules! of_type {
        ($arrow:ty) => {{
            let values = ScalarBuffer::new(values, 0, len);
            Ok(Arc::new(PrimitiveArray::<$arrow>::try_new(values, nulls)?.with_data_type(data_type.clone())))
        }};
    }
    downcast_primitive! {
        data_type => (of_type),
        other => Err(Error::internal(format!("{other} is not a primitive type")))
    }
}

/// A column of the same type with other values; children and what else the type has stay as they are.
///
/// # Safety
/// The buffers hold `len` values, each of which (number, code of the same dictionary, view into the same buffers, whole
/// text) is a value of a column of this type that was valid; `nulls` has `len` bits. Nothing is checked again: that would
/// read every text and cost more than most kernels.
pub(super) unsafe fn with_buffers(
    like: &ArrayData,
    len: usize,
    buffers: Vec<Buffer>,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    let children = like.child_data().to_vec();
    let builder = ArrayData::builder(like.data_type().clone()).len(len).buffers(buffers).child_data(children);
    // SAFETY: promised by the caller.
    make_array(unsafe { builder.nulls(nulls).build_unchecked() })
}

/// The bitmap of a column whose values are there where `present` says so; none if all are.
pub(crate) fn validity(present: &[bool]) -> Option<NullBuffer> {
    let all = present.iter().all(|&is_present| is_present);
    (!all).then(|| NullBuffer::new(BooleanBuffer::collect_bool(present.len(), |row| present[row])))
}
