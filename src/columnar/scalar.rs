//! One value of one row, for literals and for the reference kernels.
//!
//! All integers share a variant, as do all floats: the width lives in the [`DataType`] beside the value. This keeps the
//! reference kernels short enough to be believed.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Decimal128Builder, LargeBinaryBuilder, LargeStringBuilder, PrimitiveBuilder,
    StringBuilder, StringViewBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types as arrow;
use arrow_array::{Array, ArrayRef, ListArray, StructArray, new_null_array};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, FieldRef, Fields, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// A single value. `Null` belongs to every type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Scalar {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// Any integer that is not above the largest `i64`.
    Int64(i64),
    /// An integer above the largest `i64`, or any value of an unsigned column.
    UInt64(u64),
    /// A float; `f32` values are held exactly.
    Float64(#[serde(with = "float_bits")] f64),
    /// `unscaled / 10^scale`.
    Decimal128 {
        /// The digits, as an integer.
        unscaled: i128,
        /// Digits in total, at most 38.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// Text.
    Utf8(String),
    /// Bytes.
    Binary(Vec<u8>),
    /// Days since 1970-01-01.
    Date32(i32),
    /// Units since 1970-01-01T00:00:00Z.
    Timestamp(i64, TimeUnit, Option<Arc<str>>),
    /// A span of time.
    Duration(i64, TimeUnit),
    /// The values of a list.
    List(Vec<Scalar>),
    /// The fields of a struct, in the order of its type.
    Struct(Vec<Scalar>),
}

impl Scalar {
    /// The type a literal of this value has when nothing else decides it.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Boolean(_) => DataType::Boolean,
            Self::Int64(_) => DataType::Int64,
            Self::UInt64(_) => DataType::UInt64,
            Self::Float64(_) => DataType::Float64,
            Self::Decimal128 { precision, scale, .. } => DataType::Decimal128(*precision, *scale),
            Self::Utf8(_) => DataType::Utf8,
            Self::Binary(_) => DataType::Binary,
            Self::Date32(_) => DataType::Date32,
            Self::Timestamp(_, unit, zone) => DataType::Timestamp(*unit, zone.clone()),
            Self::Duration(_, unit) => DataType::Duration(*unit),
            Self::List(values) => {
                let item = values.iter().map(Self::data_type).find(|t| *t != DataType::Null);
                DataType::new_list(item.unwrap_or(DataType::Null), true)
            }
            Self::Struct(values) => DataType::Struct(
                values
                    .iter()
                    .enumerate()
                    .map(|(index, value)| arrow_schema::Field::new(format!("f{index}"), value.data_type(), true))
                    .collect(),
            ),
        }
    }

    /// Whether this is `Null`.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// The value of `array` at `row`.
    ///
    /// # Errors
    /// `Unsupported` for a type that the engine does not take.
    pub fn from_array(array: &dyn Array, row: usize) -> Result<Self> {
        macro_rules! primitive {
            ($($type:ident)::+) => { array.as_primitive::<$($type)::+>().value(row) };
        }
        if array.is_null(row) {
            return Ok(Self::Null);
        }
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(array.as_boolean().value(row)),
            DataType::Int8 => Self::Int64(primitive!(arrow::Int8Type).into()),
            DataType::Int16 => Self::Int64(primitive!(arrow::Int16Type).into()),
            DataType::Int32 => Self::Int64(primitive!(arrow::Int32Type).into()),
            DataType::Int64 => Self::Int64(primitive!(arrow::Int64Type)),
            DataType::UInt8 => Self::UInt64(primitive!(arrow::UInt8Type).into()),
            DataType::UInt16 => Self::UInt64(primitive!(arrow::UInt16Type).into()),
            DataType::UInt32 => Self::UInt64(primitive!(arrow::UInt32Type).into()),
            DataType::UInt64 => Self::UInt64(primitive!(arrow::UInt64Type)),
            DataType::Float32 => Self::Float64(primitive!(arrow::Float32Type).into()),
            DataType::Float64 => Self::Float64(primitive!(arrow::Float64Type)),
            DataType::Decimal128(precision, scale) => {
                Self::Decimal128 { unscaled: primitive!(arrow::Decimal128Type), precision: *precision, scale: *scale }
            }
            DataType::Date32 => Self::Date32(primitive!(arrow::Date32Type)),
            DataType::Timestamp(unit, zone) => Self::Timestamp(
                match unit {
                    TimeUnit::Second => primitive!(arrow::TimestampSecondType),
                    TimeUnit::Millisecond => primitive!(arrow::TimestampMillisecondType),
                    TimeUnit::Microsecond => primitive!(arrow::TimestampMicrosecondType),
                    TimeUnit::Nanosecond => primitive!(arrow::TimestampNanosecondType),
                },
                *unit,
                zone.clone(),
            ),
            DataType::Duration(unit) => Self::Duration(
                match unit {
                    TimeUnit::Second => primitive!(arrow::DurationSecondType),
                    TimeUnit::Millisecond => primitive!(arrow::DurationMillisecondType),
                    TimeUnit::Microsecond => primitive!(arrow::DurationMicrosecondType),
                    TimeUnit::Nanosecond => primitive!(arrow::DurationNanosecondType),
                },
                *unit,
            ),
            DataType::Utf8 => Self::Utf8(array.as_string::<i32>().value(row).to_owned()),
            DataType::LargeUtf8 => Self::Utf8(array.as_string::<i64>().value(row).to_owned()),
            DataType::Utf8View => Self::Utf8(array.as_string_view().value(row).to_owned()),
            DataType::Binary => Self::Binary(array.as_binary::<i32>().value(row).to_owned()),
            DataType::LargeBinary => Self::Binary(array.as_binary::<i64>().value(row).to_owned()),
            DataType::BinaryView => Self::Binary(array.as_binary_view().value(row).to_owned()),
            DataType::Dictionary(_, _) => {
                let dictionary = array.as_any_dictionary();
                Self::from_array(dictionary.values(), dictionary.normalized_keys()[row])?
            }
            DataType::List(_) => Self::list(&array.as_list::<i32>().value(row))?,
            DataType::LargeList(_) => Self::list(&array.as_list::<i64>().value(row))?,
            DataType::Struct(_) => {
                let fields = array.as_struct().columns().iter();
                Self::Struct(fields.map(|field| Self::from_array(field, row)).collect::<Result<_>>()?)
            }
            other => return Err(unsupported(other)),
        })
    }

    fn list(values: &ArrayRef) -> Result<Self> {
        Ok(Self::List((0..values.len()).map(|row| Self::from_array(values, row)).collect::<Result<_>>()?))
    }

    /// An array of `data_type` with these values, one a row.
    ///
    /// # Errors
    /// `Overflow` when an integer does not fit the type, `Unsupported` for a type that the engine does not take, and
    /// `Internal` when a value is of another type.
    pub fn to_array(values: &[Self], data_type: &DataType) -> Result<ArrayRef> {
        macro_rules! integers {
            ($type:ty) => {{
                let mut builder = PrimitiveBuilder::<$type>::with_capacity(values.len());
                for value in values {
                    builder.append_option(match value {
                        Self::Null => None,
                        Self::Int64(value) => Some((*value).try_into().map_err(|_| out_of_range(value, data_type))?),
                        Self::UInt64(value) => Some((*value).try_into().map_err(|_| out_of_range(value, data_type))?),
                        other => return Err(mismatch(other, data_type)),
                    });
                }
                Arc::new(builder.finish().with_data_type(data_type.clone())) as ArrayRef
            }};
        }
        macro_rules! each {
            ($builder:expr, $variant:pat => $value:expr) => {{
                let mut builder = $builder;
                for value in values {
                    match value {
                        Self::Null => builder.append_null(),
                        $variant => builder.append_value($value),
                        other => return Err(mismatch(other, data_type)),
                    }
                }
                Arc::new(builder.finish()) as ArrayRef
            }};
        }
        macro_rules! units {
            ($type:ty, $variant:pat => $value:expr) => {
                each!(PrimitiveBuilder::<$type>::new().with_data_type(data_type.clone()), $variant => $value)
            };
        }
        Ok(match data_type {
            DataType::Null => new_null_array(data_type, values.len()),
            DataType::Boolean => each!(BooleanBuilder::new(), Self::Boolean(v) => *v),
            DataType::Int8 => integers!(arrow::Int8Type),
            DataType::Int16 => integers!(arrow::Int16Type),
            DataType::Int32 => integers!(arrow::Int32Type),
            DataType::Int64 => integers!(arrow::Int64Type),
            DataType::UInt8 => integers!(arrow::UInt8Type),
            DataType::UInt16 => integers!(arrow::UInt16Type),
            DataType::UInt32 => integers!(arrow::UInt32Type),
            DataType::UInt64 => integers!(arrow::UInt64Type),
            #[expect(clippy::cast_possible_truncation, reason = "the value is an f32 held in an f64")]
            DataType::Float32 => each!(PrimitiveBuilder::<arrow::Float32Type>::new(), Self::Float64(v) => *v as f32),
            DataType::Float64 => each!(PrimitiveBuilder::<arrow::Float64Type>::new(), Self::Float64(v) => *v),
            DataType::Decimal128(_, _) => each!(
                Decimal128Builder::new().with_data_type(data_type.clone()),
                Self::Decimal128 { unscaled, .. } => *unscaled
            ),
            DataType::Date32 => each!(PrimitiveBuilder::<arrow::Date32Type>::new(), Self::Date32(v) => *v),
            DataType::Timestamp(unit, _) => match unit {
                TimeUnit::Second => units!(arrow::TimestampSecondType, Self::Timestamp(v, ..) => *v),
                TimeUnit::Millisecond => units!(arrow::TimestampMillisecondType, Self::Timestamp(v, ..) => *v),
                TimeUnit::Microsecond => units!(arrow::TimestampMicrosecondType, Self::Timestamp(v, ..) => *v),
                TimeUnit::Nanosecond => units!(arrow::TimestampNanosecondType, Self::Timestamp(v, ..) => *v),
            },
            DataType::Duration(unit) => match unit {
                TimeUnit::Second => units!(arrow::DurationSecondType, Self::Duration(v, _) => *v),
                TimeUnit::Millisecond => units!(arrow::DurationMillisecondType, Self::Duration(v, _) => *v),
                TimeUnit::Microsecond => units!(arrow::DurationMicrosecondType, Self::Duration(v, _) => *v),
                TimeUnit::Nanosecond => units!(arrow::DurationNanosecondType, Self::Duration(v, _) => *v),
            },
            DataType::Utf8 => each!(StringBuilder::new(), Self::Utf8(v) => v),
            DataType::LargeUtf8 => each!(LargeStringBuilder::new(), Self::Utf8(v) => v),
            DataType::Utf8View => each!(StringViewBuilder::new(), Self::Utf8(v) => v),
            DataType::Binary => each!(BinaryBuilder::new(), Self::Binary(v) => v),
            DataType::LargeBinary => each!(LargeBinaryBuilder::new(), Self::Binary(v) => v),
            DataType::Dictionary(_, item) => {
                let plain = Self::to_array(values, item)?;
                arrow_cast::cast(&plain, data_type)?
            }
            DataType::List(item) => lists(values, item, data_type)?,
            DataType::Struct(fields) => structs(values, fields)?,
            other => return Err(unsupported(other)),
        })
    }
}

fn lists(values: &[Scalar], item: &FieldRef, data_type: &DataType) -> Result<ArrayRef> {
    let mut rows = Vec::new();
    let mut lengths = Vec::with_capacity(values.len());
    for value in values {
        match value {
            Scalar::Null => lengths.push(0),
            Scalar::List(row) => {
                rows.extend_from_slice(row);
                lengths.push(row.len());
            }
            other => return Err(mismatch(other, data_type)),
        }
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    let items = Scalar::to_array(&rows, item.data_type())?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, validity(values))?))
}

fn structs(values: &[Scalar], fields: &Fields) -> Result<ArrayRef> {
    let columns = fields.iter().enumerate().map(|(index, field)| {
        let column = values.iter().map(|value| match value {
            Scalar::Struct(row) => row.get(index).cloned().unwrap_or(Scalar::Null),
            _ => Scalar::Null,
        });
        Scalar::to_array(&column.collect::<Vec<_>>(), field.data_type())
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, validity(values), values.len())?))
}

fn validity(values: &[Scalar]) -> Option<NullBuffer> {
    let validity = NullBuffer::from_iter(values.iter().map(|value| !value.is_null()));
    (validity.null_count() > 0).then_some(validity)
}

fn out_of_range(value: &dyn std::fmt::Display, data_type: &DataType) -> Error {
    Error::new(ErrorKind::Overflow, format!("{value} does not fit {data_type}"))
}

fn mismatch(value: &Scalar, data_type: &DataType) -> Error {
    Error::internal(format!("a value {value:?} met a column of type {data_type}"))
}

fn unsupported(data_type: &DataType) -> Error {
    Error::new(ErrorKind::Unsupported, format!("columns of type {data_type} are not supported"))
}

/// Floats travel as their bits: text formats such as JSON have no NaN and no infinities, and readers of them may be off
/// in the last digit.
pub(crate) mod float_bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    pub(crate) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        value.to_bits().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}

macro_rules! from_native {
    ($($native:ty => $variant:ident),* $(,)?) => {
        $(impl From<$native> for Scalar {
            fn from(value: $native) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from_native! {
    bool => Boolean,
    i8 => Int64, i16 => Int64, i32 => Int64, i64 => Int64,
    u8 => UInt64, u16 => UInt64, u32 => UInt64, u64 => UInt64,
    f32 => Float64, f64 => Float64,
    &str => Utf8, String => Utf8,
    Vec<u8> => Binary,
}

impl<T: Into<Self>> From<Option<T>> for Scalar {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
