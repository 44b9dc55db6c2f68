//! Values of fixed width as `u64` words that are equal where the values are equal and ordered as the values are.
//!
//! Integers get their sign turned over, floats are laid out so that all their orders agree with that of integers: every
//! NaN is one word above all others, -0.0 is 0.0. Hash tables and sorts then know one type instead of fifteen.

use arrow_array::Array;
use arrow_buffer::{ArrowNativeType, ScalarBuffer};
use arrow_schema::DataType;

/// Runs an expression with the words of an array (an iterator, one word a row, any word where there is no value) and
/// gives `Some` of its result; `None` for types that do not fit a word.
macro_rules! with_words {
    ($array:expr, $words:ident => $body:expr) => {{
        let array: &dyn arrow_array::Array = $array;
        macro_rules! primitive {
            ($native:ty, $word:expr) => {{
                let values = crate::kernels::cpu::words::values::<$native>(array);
                let $words = values.iter().map($word);
                Some($body)
            }};
        }
        use crate::kernels::cpu::words::{Width, float, signed};
        match crate::kernels::cpu::words::width(array.data_type()) {
            Some(Width::Bit) => {
                let values = arrow_array::cast::AsArray::as_boolean(array).values();
                let $words = values.iter().map(u64::from);
                Some($body)
            }
            Some(Width::I8) => primitive!(i8, |&value| signed(value.into())),
            Some(Width::I16) => primitive!(i16, |&value| signed(value.into())),
            Some(Width::I32) => primitive!(i32, |&value| signed(value.into())),
            Some(Width::I64) => primitive!(i64, |&value| signed(value)),
            Some(Width::U8) => primitive!(u8, |&value| u64::from(value)),
            Some(Width::U16) => primitive!(u16, |&value| u64::from(value)),
            Some(Width::U32) => primitive!(u32, |&value| u64::from(value)),
            Some(Width::U64) => primitive!(u64, |&value| value),
            Some(Width::F32) => primitive!(f32, |&value| float(value.into())),
            Some(Width::F64) => primitive!(f64, |&value| float(value)),
            None => None,
        }
    }};
}
pub(super) use with_words;

/// How a type lies in memory.
#[derive(Debug, Clone, Copy)]
pub(super) enum Width {
    Bit,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F32,
    F64,
}

pub(super) fn width(data_type: &DataType) -> Option<Width> {
    Some(match data_type {
        DataType::Boolean => Width::Bit,
        DataType::Int8 => Width::I8,
        DataType::Int16 => Width::I16,
        DataType::Int32 | DataType::Date32 => Width::I32,
        DataType::Int64 | DataType::Timestamp(_, _) | DataType::Duration(_) => Width::I64,
        DataType::UInt8 => Width::U8,
        DataType::UInt16 => Width::U16,
        DataType::UInt32 => Width::U32,
        DataType::UInt64 => Width::U64,
        DataType::Float32 => Width::F32,
        DataType::Float64 => Width::F64,
        _ => return None,
    })
}

/// The values of a primitive array whose type is laid out as `T`.
pub(super) fn values<T: ArrowNativeType>(array: &dyn Array) -> ScalarBuffer<T> {
    let data = array.to_data();
    ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
}

pub(super) fn signed(value: i64) -> u64 {
    value.cast_unsigned() ^ (1 << 63)
}

/// Adding 0.0 turns -0.0 into 0.0. Negative numbers count down from the middle: all their bits are turned over.
pub(super) fn float(value: f64) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    let bits = (value + 0.0).to_bits();
    let turned = (bits.cast_signed() >> 63).cast_unsigned() | (1 << 63);
    bits ^ turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_floats_are_ordered_as_the_floats() {
        let ordered = [f64::NEG_INFINITY, f64::MIN, -1.0, -f64::MIN_POSITIVE, -5e-324, 0.0, 5e-324, 1.0, f64::INFINITY];
        let words: Vec<u64> = ordered.map(float).to_vec();
        assert!(words.is_sorted_by(|a, b| a < b));
        assert_eq!(float(-0.0), float(0.0));
        assert_eq!(float(f64::NAN), float(-f64::NAN));
        assert!(float(f64::NAN) > float(f64::INFINITY));
    }

    #[test]
    fn words_of_slices_start_at_the_slice() {
        let array = arrow_array::Int32Array::from(vec![5, -6, 7]).slice(1, 2);
        let words = with_words!(&array, words => words.collect::<Vec<_>>());
        assert_eq!(words, Some(vec![signed(-6), signed(7)]));
    }
}
