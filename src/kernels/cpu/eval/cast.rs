//! Casts. Each is written once, as the lossy one; the checked one looks for values that became null.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "floats are cast to integers after their range was checked, and narrowed on purpose"
)]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types as arrow;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer};
use arrow_cast::{CastOptions, cast_with_options};

use super::bits::test_each;
use super::native::by_integer;
use super::operand::{boolean, natives, physical, primitive};
use super::time_cast::{between_times, is_time_cast};
use super::{Apply, Scope, Site, parse_number};
use crate::columnar::data_type::{is_text, is_time};
use crate::columnar::{DataType, Scalar};
use crate::error::Result;
use crate::expr::CastMode;
use crate::kernels::site::show;

pub(super) fn prepare(to: &DataType, mode: CastMode) -> Apply {
    let to = to.clone();
    Box::new(move |operands, scope, site| {
        let before = operands[0].array();
        let after = lossy(before, &to)?;
        if mode == CastMode::Checked {
            refuse_lost(before, &after, scope, site)?;
        }
        Ok(operands[0].with(after))
    })
}

/// An error for the first value that became null.
fn refuse_lost(before: &ArrayRef, after: &ArrayRef, scope: &Scope<'_>, site: &Site) -> Result<()> {
    if after.logical_null_count() == before.logical_null_count() {
        return Ok(());
    }
    let (before_nulls, after_nulls) = (before.logical_nulls(), after.logical_nulls());
    let is_null = |nulls: &Option<NullBuffer>, row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let lost = (0..before.len()).find(|row| is_null(&after_nulls, *row) && !is_null(&before_nulls, *row));
    match lost {
        Some(row) => Err(site.uncastable(&show(&Scalar::from_array(before, row)?), scope.origin(row))),
        None => Ok(()),
    }
}

/// The values as another type; null where it cannot hold them.
pub(super) fn lossy(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let from = array.data_type();
    if from == to {
        return Ok(Arc::clone(array));
    }
    match (from, to) {
        (DataType::Null, _) => Ok(new_null_array(to, array.len())),
        (DataType::Dictionary(_, values), _) if **values != *to => lossy(&arrow_cast::cast(array, values)?, to),
        (_, DataType::Dictionary(_, values)) if **values != *from => arrow_lossy(&lossy(array, values)?, to),
        (DataType::Boolean, to) if is_native(to) => from_boolean(array, to),
        (from, DataType::Boolean) if is_native(from) => to_boolean(array),
        (from, to) if is_native(from) && is_native(to) => numbers(array, to),
        (from, to) if is_time_cast(from, to) => between_times(array, to),
        (from, to) if is_time(from) && to.is_integer() => lossy(&physical(array)?, to),
        (from, DataType::Duration(_) | DataType::Timestamp(_, _)) if from.is_integer() => {
            super::operand::logical(&lossy(array, &DataType::Int64)?, to)
        }
        (from, DataType::Date32) if from.is_integer() => super::operand::logical(&lossy(array, &DataType::Int32)?, to),
        (from, DataType::Timestamp(unit, zone)) if is_text(from) => {
            super::time_pattern::parse_iso(array, *unit, zone.as_deref(), to)
        }
        (from, to) if is_text(from) && is_read(to) => parse_number::parse(array, to),
        _ => arrow_lossy(array, to),
    }
}

/// Types that are read from text by [`parse_number`].
fn is_read(to: &DataType) -> bool {
    is_native(to) || matches!(to, DataType::Boolean | DataType::Date32 | DataType::Decimal128(_, _))
}

fn arrow_lossy(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    Ok(cast_with_options(array, to, &CastOptions { safe: true, ..CastOptions::default() })?)
}

/// Integers and floats: what the machine counts with.
fn is_native(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// Runs `$body` with `$T` as the Arrow type of a native number, else `$other`.
macro_rules! by_native {
    ($data_type:expr, $T:ident => $body:expr, _ => $other:expr) => {
        by_integer!($data_type, $T => $body, _ => match $data_type {
            DataType::Float32 => {
                type $T = arrow::Float32Type;
                $body
            }
            DataType::Float64 => {
                type $T = arrow::Float64Type;
                $body
            }
            _ => $other,
        })
    };
}

/// Integers that can be made of any native number.
trait Whole:
    Copy
    + Default
    + TryFrom<i8>
    + TryFrom<i16>
    + TryFrom<i32>
    + TryFrom<i64>
    + TryFrom<u8>
    + TryFrom<u16>
    + TryFrom<u32>
    + TryFrom<u64>
{
    fn from_float(value: f64) -> Option<Self>;
}

macro_rules! wholes {
    ($($native:ty),*) => { $(impl Whole for $native {
        fn from_float(value: f64) -> Option<Self> {
            // The bounds are powers of two (or 0), which floats hold exactly; the upper one is already out of range.
            const LOW: f64 = <$native>::MIN as f64;
            const ABOVE: f64 = (<$native>::MAX / 2 + 1) as f64 * 2.0;
            let whole = value.trunc();
            (LOW..ABOVE).contains(&whole).then_some(whole as $native)
        }
    })* };
}

wholes!(i8, i16, i32, i64, u8, u16, u32, u64);

/// What every native number can become.
trait Number: Copy {
    fn to_f64(self) -> f64;
    fn to_f32(self) -> f32;
    /// The number without its fraction; `None` for NaN and what is out of range.
    fn to_whole<T: Whole>(self) -> Option<T>;
}

macro_rules! integers {
    ($($native:ty),*) => { $(impl Number for $native {
        fn to_f64(self) -> f64 {
            self as f64
        }
        fn to_f32(self) -> f32 {
            self as f32
        }
        fn to_whole<T: Whole>(self) -> Option<T> {
            T::try_from(self).ok()
        }
    })* };
}

macro_rules! floats {
    ($($native:ty => $narrow:expr),*) => { $(impl Number for $native {
        fn to_f64(self) -> f64 {
            self.into()
        }
        fn to_f32(self) -> f32 {
            let narrow: fn($native) -> f32 = $narrow;
            narrow(self)
        }
        fn to_whole<T: Whole>(self) -> Option<T> {
            T::from_float(self.into())
        }
    })* };
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64);
floats!(f32 => |value| value, f64 => |value| value as f32);

fn numbers(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    by_native!(array.data_type(), F => {
        let values = natives::<F>(array)?;
        let nulls = || array.nulls().cloned();
        match to {
            DataType::Float64 => {
                Ok(primitive::<arrow::Float64Type>(values.iter().map(|value| value.to_f64()).collect(), nulls()))
            }
            DataType::Float32 => {
                Ok(primitive::<arrow::Float32Type>(values.iter().map(|value| value.to_f32()).collect(), nulls()))
            }
            other => by_integer!(other, T => Ok(to_integers::<F, T>(values, nulls())), _ => arrow_lossy(array, to)),
        }
    }, _ => arrow_lossy(array, to))
}

fn to_integers<F: ArrowPrimitiveType, T: ArrowPrimitiveType>(
    values: &[F::Native],
    nulls: Option<NullBuffer>,
) -> ArrayRef
where
    F::Native: Number,
    T::Native: Whole,
{
    let mut lost = false;
    let convert = |value: F::Native| value.to_whole::<T::Native>();
    let converted = values.iter().map(|value| {
        convert(*value).unwrap_or_else(|| {
            lost = true;
            T::Native::default()
        })
    });
    let converted: Vec<T::Native> = converted.collect();
    if !lost {
        return primitive::<T>(converted, nulls);
    }
    let mut fits = BooleanBufferBuilder::new(values.len());
    values.iter().for_each(|value| fits.append(convert(*value).is_some()));
    primitive::<T>(converted, NullBuffer::union(nulls.as_ref(), Some(&NullBuffer::new(fits.finish()))))
}

fn from_boolean(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let bits: Vec<u8> = array.as_boolean().values().iter().map(u8::from).collect();
    lossy(&primitive::<arrow::UInt8Type>(bits, array.nulls().cloned()), to)
}

fn to_boolean(array: &ArrayRef) -> Result<ArrayRef> {
    by_native!(array.data_type(), F => {
        let bits = test_each(natives::<F>(array)?, |value| value.to_f64() != 0.0);
        Ok(boolean(bits, array.nulls().cloned()))
    }, _ => arrow_lossy(array, &DataType::Boolean))
}
