//! The values of a column as few kinds of numbers and bytes, and back to text.

use arrow_array::cast::AsArray;
use arrow_array::types as arrow;
use arrow_array::{Array, ArrayRef, BooleanArray, Float32Array, Float64Array, make_array};
use arrow_buffer::Buffer;
use arrow_cast::display::{ArrayFormatter, DurationFormat, FormatOptions};
use arrow_data::ArrayData;

use crate::columnar::{DataType, TimeUnit};
use crate::error::{Error, Result};

/// Bytes of a text that are kept.
pub(super) const KEPT_BYTES: usize = 64;

/// A value as it is met.
#[derive(Debug, Clone, Copy)]
pub(super) enum Met<'a> {
    /// An integer, a decimal without its point, a time as a count of units, or a boolean.
    Whole(i128),
    Real(f64),
    /// The bytes of a text, too.
    Bytes(&'a [u8]),
}

/// A value as it is kept: of bytes the first ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Whole(i128),
    Real(Real),
    Bytes(Box<[u8]>),
}

/// A float in the order of IEEE 754; there is one NaN and one zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Real(f64);

impl Real {
    pub(super) fn new(value: f64) -> Self {
        // -0.0 + 0.0 is 0.0.
        Self(if value.is_nan() { f64::NAN } else { value + 0.0 })
    }

    pub(super) fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Real {}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Real {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Met<'_> {
    pub(super) fn kept(self) -> Value {
        match self {
            Self::Whole(value) => Value::Whole(value),
            Self::Real(value) => Value::Real(Real::new(value)),
            Self::Bytes(bytes) => Value::Bytes(bytes[..bytes.len().min(KEPT_BYTES)].into()),
        }
    }
}

/// Whether more than rows and nulls can be told of columns of this type.
pub(super) fn is_known(data_type: &DataType) -> bool {
    match plain(data_type) {
        DataType::Boolean
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Binary
        | DataType::Decimal128(..)
        | DataType::Date32
        | DataType::Timestamp(..)
        | DataType::Duration(_) => true,
        other => other.is_integer(),
    }
}

/// The type of a column's values in the layout that is walked over.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// Calls `take` with each value that is not null.
pub(super) fn each(array: &ArrayRef, mut take: impl FnMut(Met<'_>)) -> Result<()> {
    let plain = plain(array.data_type());
    let array = if plain == *array.data_type() { ArrayRef::clone(array) } else { arrow_cast::cast(array, &plain)? };
    macro_rules! whole {
        ($type:ty) => {
            array.as_primitive::<$type>().iter().flatten().for_each(|value| take(Met::Whole(value.into())))
        };
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().iter().flatten().for_each(|value| take(Met::Whole(value.into()))),
        DataType::Int8 => whole!(arrow::Int8Type),
        DataType::Int16 => whole!(arrow::Int16Type),
        DataType::Int32 => whole!(arrow::Int32Type),
        DataType::Int64 => whole!(arrow::Int64Type),
        DataType::UInt8 => whole!(arrow::UInt8Type),
        DataType::UInt16 => whole!(arrow::UInt16Type),
        DataType::UInt32 => whole!(arrow::UInt32Type),
        DataType::UInt64 => whole!(arrow::UInt64Type),
        DataType::Decimal128(..) => whole!(arrow::Decimal128Type),
        DataType::Date32 => whole!(arrow::Date32Type),
        DataType::Timestamp(TimeUnit::Second, _) => whole!(arrow::TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => whole!(arrow::TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => whole!(arrow::TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => whole!(arrow::TimestampNanosecondType),
        DataType::Duration(TimeUnit::Second) => whole!(arrow::DurationSecondType),
        DataType::Duration(TimeUnit::Millisecond) => whole!(arrow::DurationMillisecondType),
        DataType::Duration(TimeUnit::Microsecond) => whole!(arrow::DurationMicrosecondType),
        DataType::Duration(TimeUnit::Nanosecond) => whole!(arrow::DurationNanosecondType),
        DataType::Float32 => {
            let values = array.as_primitive::<arrow::Float32Type>().iter().flatten();
            values.for_each(|value| take(Met::Real(value.into())));
        }
        DataType::Float64 => {
            array.as_primitive::<arrow::Float64Type>().iter().flatten().for_each(|value| take(Met::Real(value)));
        }
        DataType::Utf8 => {
            array.as_string::<i32>().iter().flatten().for_each(|value| take(Met::Bytes(value.as_bytes())));
        }
        DataType::Binary => array.as_binary::<i32>().iter().flatten().for_each(|value| take(Met::Bytes(value))),
        other => return Err(Error::internal(format!("a column of type {other} was to be walked over"))),
    }
    Ok(())
}

/// A value of a column of this type, as Arrow prints it.
pub(super) fn text(value: &Value, data_type: &DataType) -> Result<String> {
    let data_type = plain(data_type);
    let array: ArrayRef = match (value, &data_type) {
        (Value::Bytes(bytes), DataType::Utf8) => return Ok(String::from_utf8_lossy(bytes).into_owned()),
        (Value::Bytes(bytes), _) => return Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        #[expect(clippy::cast_possible_truncation, reason = "it comes from such a column, or is near to a value of it")]
        (Value::Real(value), DataType::Float32) => std::sync::Arc::new(Float32Array::from(vec![value.get() as f32])),
        (Value::Real(value), _) => std::sync::Arc::new(Float64Array::from(vec![value.get()])),
        (Value::Whole(value), DataType::Boolean) => std::sync::Arc::new(BooleanArray::from(vec![*value != 0])),
        (Value::Whole(value), data_type) => {
            let width = data_type.primitive_width().unwrap_or(size_of::<i128>());
            let bytes = Buffer::from(value.to_le_bytes().get(..width).unwrap_or_default());
            make_array(ArrayData::builder(data_type.clone()).len(1).add_buffer(bytes).build()?)
        }
    };
    let options = FormatOptions::new().with_duration_format(DurationFormat::Pretty);
    Ok(ArrayFormatter::try_new(array.as_ref(), &options)?.value(0).try_to_string()?)
}
