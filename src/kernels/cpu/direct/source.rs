//! The values of a column, as the native numbers that they are.

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types as arrow;

use crate::columnar::DataType;
use crate::kernels::cpu::prefetch::prefetch_behind;

/// The values of a column; none of them is null.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    Decimal(&'a [i128]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
}

impl<'a> Source<'a> {
    /// The values of a column, if they are numbers of these and none is null.
    pub(super) fn of(column: &'a dyn Array) -> Option<Self> {
        if column.null_count() > 0 {
            return None;
        }
        macro_rules! values {
            ($kind:ident, $arrow:ty) => {
                Self::$kind(column.as_primitive_opt::<$arrow>()?.values())
            };
        }
        use arrow_schema::TimeUnit;
        Some(match column.data_type() {
            DataType::Int8 => values!(Int8, arrow::Int8Type),
            DataType::Int16 => values!(Int16, arrow::Int16Type),
            DataType::Int32 => values!(Int32, arrow::Int32Type),
            DataType::Date32 => values!(Int32, arrow::Date32Type),
            DataType::Int64 => values!(Int64, arrow::Int64Type),
            DataType::Timestamp(TimeUnit::Second, _) => values!(Int64, arrow::TimestampSecondType),
            DataType::Timestamp(TimeUnit::Millisecond, _) => values!(Int64, arrow::TimestampMillisecondType),
            DataType::Timestamp(TimeUnit::Microsecond, _) => values!(Int64, arrow::TimestampMicrosecondType),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => values!(Int64, arrow::TimestampNanosecondType),
            DataType::UInt8 => values!(UInt8, arrow::UInt8Type),
            DataType::UInt16 => values!(UInt16, arrow::UInt16Type),
            DataType::UInt32 => values!(UInt32, arrow::UInt32Type),
            DataType::Decimal128(_, _) => values!(Decimal, arrow::Decimal128Type),
            DataType::Float32 => values!(Float32, arrow::Float32Type),
            DataType::Float64 => values!(Float64, arrow::Float64Type),
            _ => return None,
        })
    }

    /// Asks for the memory of so many values from this one on.
    pub(super) fn prefetch(self, from: usize, rows: usize) {
        match self {
            Self::Int8(values) => prefetch_behind(values, from, rows),
            Self::Int16(values) => prefetch_behind(values, from, rows),
            Self::Int32(values) => prefetch_behind(values, from, rows),
            Self::Int64(values) => prefetch_behind(values, from, rows),
            Self::UInt8(values) => prefetch_behind(values, from, rows),
            Self::UInt16(values) => prefetch_behind(values, from, rows),
            Self::UInt32(values) => prefetch_behind(values, from, rows),
            Self::Decimal(values) => prefetch_behind(values, from, rows),
            Self::Float32(values) => prefetch_behind(values, from, rows),
            Self::Float64(values) => prefetch_behind(values, from, rows),
        }
    }
}
