//! `IN`: whether a value is one of some literals. Few members are compared one by one, many stand in a set.

use std::hash::Hash;

use arrow_array::cast::AsArray;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use foldhash::fast::FixedState;
use hashbrown::HashSet;

use super::Apply;
use super::bits::test_each;
use super::native::by_number;
use super::operand::{Operand, boolean, natives, once_per_value, physical};
use super::text::with_bytes;
use crate::columnar::{DataType, Scalar};
use crate::error::{Error, Result};
use crate::kernels::hash::halves;

/// Up to this many members are compared one by one.
const FEW: usize = 8;

/// The members, as values that can be compared bit by bit.
enum Members {
    Booleans { with_true: bool, with_false: bool },
    Words(Set<u64>),
    Wide(Set<i128>),
    Bytes(Set<Box<[u8]>>),
}

enum Set<T> {
    Few(Vec<T>),
    Many(HashSet<T, FixedState>),
}

impl<T: Eq + Hash> Set<T> {
    fn of(members: Vec<T>) -> Self {
        if members.len() <= FEW { Self::Few(members) } else { Self::Many(members.into_iter().collect()) }
    }
}

pub(super) fn prepare(data_type: &DataType, members: &[Scalar]) -> Result<Apply> {
    let plain = match data_type {
        DataType::Dictionary(_, values) => values,
        other => other,
    };
    let null_member = members.iter().any(Scalar::is_null);
    let present: Vec<Scalar> = members.iter().filter(|member| !member.is_null()).cloned().collect();
    if *plain == DataType::Null {
        return Ok(Box::new(|_, _, _| Ok(Operand::null(&DataType::Boolean))));
    }
    let set = collect(&Scalar::to_array(&present, plain)?)?;
    Ok(Box::new(move |operands, _, _| {
        once_per_value(operands, |operands| {
            let values = &operands[0];
            let array = physical(values.array())?;
            let found = find(&array, &set)?;
            let nulls = array.logical_nulls();
            let nulls = if null_member {
                // Not found among members of which one is unknown: unknown.
                NullBuffer::union(nulls.as_ref(), Some(&NullBuffer::new(found.clone())))
            } else {
                nulls
            };
            Ok(values.with(boolean(found, nulls)))
        })
    }))
}

/// A native number as bits that are equal exactly if the numbers are.
trait Word: Copy {
    fn word(self) -> u64;
}

macro_rules! words {
    ($($native:ty as $wide:ty),*) => { $(impl Word for $native {
        fn word(self) -> u64 {
            <$wide>::from(self).cast_unsigned()
        }
    })* };
}

words!(i8 as i64, i16 as i64, i32 as i64, i64 as i64);

macro_rules! unsigned_words {
    ($($native:ty),*) => { $(impl Word for $native {
        fn word(self) -> u64 {
            self.into()
        }
    })* };
}

unsigned_words!(u8, u16, u32, u64);

impl Word for f64 {
    fn word(self) -> u64 {
        // Adding 0.0 turns -0.0 into 0.0.
        if self.is_nan() { Self::NAN.to_bits() } else { (self + 0.0).to_bits() }
    }
}

impl Word for f32 {
    fn word(self) -> u64 {
        f64::from(self).word()
    }
}

/// Decimals have a set of their own; this is the low half.
impl Word for i128 {
    fn word(self) -> u64 {
        halves(self)[0]
    }
}

fn collect(members: &ArrayRef) -> Result<Members> {
    let members = physical(members)?;
    Ok(match members.data_type() {
        DataType::Boolean => {
            let values = members.as_boolean();
            Members::Booleans { with_true: values.has_true(), with_false: values.has_false() }
        }
        DataType::Decimal128(_, _) => {
            Members::Wide(Set::of(natives::<arrow_array::types::Decimal128Type>(&members)?.to_vec()))
        }
        other => by_number!(other, T => {
            Members::Words(Set::of(natives::<T>(&members)?.iter().map(|value| value.word()).collect()))
        }, _ => with_bytes!(&members, values => {
            Members::Bytes(Set::of(values.iter().flatten().map(|value| AsRef::<[u8]>::as_ref(value).into()).collect()))
        }, else => return Err(Error::internal(format!("no set of values of type {}", members.data_type()))))),
    })
}

fn find(array: &ArrayRef, members: &Members) -> Result<BooleanBuffer> {
    Ok(match members {
        Members::Booleans { with_true, with_false } => {
            let values = array.as_boolean().values();
            match (with_true, with_false) {
                (true, true) => BooleanBuffer::new_set(values.len()),
                (true, false) => values.clone(),
                (false, true) => !values,
                (false, false) => BooleanBuffer::new_unset(values.len()),
            }
        }
        Members::Wide(set) => {
            let values = natives::<arrow_array::types::Decimal128Type>(array)?;
            match set {
                Set::Few(few) => test_each(values, |value| few.contains(&value)),
                Set::Many(many) => test_each(values, |value| many.contains(&value)),
            }
        }
        Members::Words(set) => by_number!(array.data_type(), T => find_words::<T>(array, set)?, _ => {
            return Err(Error::internal("a set of numbers met other values"));
        }),
        Members::Bytes(set) => with_bytes!(array, values => {
            let bytes = |row| AsRef::<[u8]>::as_ref(values.value(row));
            match set {
                Set::Few(few) => BooleanBuffer::collect_bool(values.len(), |row| {
                    few.iter().any(|member| **member == *bytes(row))
                }),
                Set::Many(many) => BooleanBuffer::collect_bool(values.len(), |row| many.contains(bytes(row))),
            }
        }, else => return Err(Error::internal("a set of texts met other values"))),
    })
}

fn find_words<T: ArrowPrimitiveType>(array: &ArrayRef, set: &Set<u64>) -> Result<BooleanBuffer>
where
    T::Native: Word,
{
    let values = natives::<T>(array)?;
    Ok(match set {
        Set::Few(few) => {
            let mut found = BooleanBuffer::new_unset(values.len());
            for member in few {
                found = &found | &test_each(values, |value| value.word() == *member);
            }
            found
        }
        Set::Many(many) => test_each(values, |value| many.contains(&value.word())),
    })
}
