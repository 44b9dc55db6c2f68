//! Hashes of whole columns: the fast twin of [`crate::kernels::hash`].
//!
//! One column after another is folded into the states of all rows, each in a loop that knows its type.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Decimal128Type};
use arrow_array::{Array, ArrayRef, UInt64Array};
use arrow_buffer::NullBuffer;

use super::eval::native::by_number;
use super::eval::operand::{Operand, natives, physical, shape, shaped};
use super::eval::text::with_bytes;
use crate::columnar::DataType;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::hash::{NULL, SEED, float_word, fold, fold_bytes, halves};

/// The hash of each row of some columns, which are equally long.
///
/// # Errors
/// `Unsupported` for types that the engine does not take.
pub fn hash_rows(columns: &[ArrayRef], rows: usize) -> Result<UInt64Array> {
    let mut states = vec![SEED; rows];
    for column in columns {
        fold_column(&mut states, column)?;
    }
    Ok(states.into())
}

/// As [`hash_rows`], for operands of an expression.
pub(crate) fn hash_operands(operands: &[Operand]) -> Result<Operand> {
    let (rows, constant) = shape(operands);
    let columns = operands.iter().map(|operand| operand.clone().into_column(rows)).collect::<Result<Vec<_>>>()?;
    Ok(shaped(Arc::new(hash_rows(&columns, rows)?), constant))
}

/// A native number as its word.
trait Word: Copy {
    fn word(self) -> u64;
}

macro_rules! words {
    ($($native:ty => |$value:ident| $word:expr),* $(,)?) => {
        $(impl Word for $native {
            fn word(self) -> u64 {
                let $value = self;
                $word
            }
        })*
    };
}

words! {
    i8 => |v| i64::from(v).cast_unsigned(), i16 => |v| i64::from(v).cast_unsigned(),
    i32 => |v| i64::from(v).cast_unsigned(), i64 => |v| v.cast_unsigned(),
    u8 => |v| v.into(), u16 => |v| v.into(), u32 => |v| v.into(), u64 => |v| v,
    f32 => |v| float_word(v.into()), f64 => |v| float_word(v),
    // Decimals have two words and are folded by a loop of their own; this one would be the low half.
    i128 => |v| halves(v)[0],
}

/// Folds the words of a column into the states of its rows.
fn fold_column(states: &mut [u64], column: &ArrayRef) -> Result<()> {
    let column = physical(column)?;
    let nulls = column.nulls();
    match column.data_type() {
        DataType::Null => states.iter_mut().for_each(|state| *state = fold(*state, NULL)),
        DataType::Boolean => {
            let values = column.as_boolean().values();
            each(states, nulls, |state, row| fold(state, values.value(row).into()));
        }
        DataType::Decimal128(_, _) => {
            let values = natives::<Decimal128Type>(&column)?;
            each(states, nulls, |state, row| halves(values[row]).into_iter().fold(state, fold));
        }
        DataType::Dictionary(_, _) => fold_dictionary(states, &column)?,
        DataType::List(_) | DataType::LargeList(_) => fold_lists(states, &column)?,
        DataType::Struct(_) => {
            let fields = column.as_struct().columns();
            let before = states.to_vec();
            for field in fields {
                fold_column(states, field)?;
            }
            let null_rows = (0..states.len()).filter(|row| nulls.is_some_and(|nulls| nulls.is_null(*row)));
            null_rows.for_each(|row| states[row] = fold(before[row], NULL));
        }
        other => by_number!(other, T => fold_numbers::<T>(states, natives::<T>(&column)?, nulls), _ => {
            with_bytes!(&column, values => {
                each(states, nulls, |state, row| fold_bytes(state, AsRef::<[u8]>::as_ref(values.value(row))));
            }, else => return Err(unsupported(other)));
        }),
    }
    Ok(())
}

fn unsupported(data_type: &DataType) -> Error {
    Error::new(ErrorKind::Unsupported, format!("values of type {data_type} cannot be hashed"))
}

fn each(states: &mut [u64], nulls: Option<&NullBuffer>, next: impl Fn(u64, usize) -> u64) {
    for (row, state) in states.iter_mut().enumerate() {
        let known = nulls.is_none_or(|nulls| nulls.is_valid(row));
        *state = if known { next(*state, row) } else { fold(*state, NULL) };
    }
}

fn fold_numbers<T: ArrowPrimitiveType>(states: &mut [u64], values: &[T::Native], nulls: Option<&NullBuffer>)
where
    T::Native: Word,
{
    match nulls {
        // Without nulls there is no branch, and the loop becomes vector code.
        None => states.iter_mut().zip(values).for_each(|(state, value)| *state = fold(*state, value.word())),
        Some(_) => each(states, nulls, |state, row| fold(state, values[row].word())),
    }
}

fn fold_dictionary(states: &mut [u64], column: &ArrayRef) -> Result<()> {
    let DataType::Dictionary(_, values) = column.data_type() else { return Ok(()) };
    fold_column(states, &arrow_cast::cast(column, values)?)
}

/// Items of a list follow one another, so each list goes through its items alone.
fn fold_lists(states: &mut [u64], column: &ArrayRef) -> Result<()> {
    for (row, state) in states.iter_mut().enumerate() {
        if column.is_null(row) {
            *state = fold(*state, NULL);
            continue;
        }
        let items = match column.data_type() {
            DataType::List(_) => column.as_list::<i32>().value(row),
            _ => column.as_list::<i64>().value(row),
        };
        for item in 0..items.len() {
            fold_column(std::slice::from_mut(state), &items.slice(item, 1))?;
        }
        *state = fold(*state, items.len() as u64);
    }
    Ok(())
}
