//! Minimum and maximum of primitive values: each value becomes an integer key whose order is the wanted one, so that one
//! loop serves all types, and NaN and the zeros need no thought in it.

#![expect(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "bits of floats are read as integers")]

use arrow_array::ArrayRef;
use arrow_buffer::ArrowNativeType;
use arrow_schema::DataType;

use super::state::{Mapping, Refusal, Rows, Seen, State, each, needed, same};
use crate::error::Result;
use crate::kernels::cpu::native;

/// A native type with an order.
pub(super) trait Ordered: ArrowNativeType {
    /// Its keys.
    type Key: Ord + Copy + Send + Sync;
    /// Above or equal to all keys.
    const TOP: Self::Key;
    /// Below or equal to all keys.
    const BOTTOM: Self::Key;
    /// The key of a value, NaN as `nan`.
    fn key(self, nan: Self::Key) -> Self::Key;
    /// The value of a key; NaN if it is `nan`.
    fn from_key(key: Self::Key, nan: Self::Key) -> Self;
}

macro_rules! ordered_integers {
    ($($native:ty)*) => {$(
        impl Ordered for $native {
            type Key = $native;
            const TOP: $native = <$native>::MAX;
            const BOTTOM: $native = <$native>::MIN;
            #[inline]
            fn key(self, _: $native) -> $native {
                self
            }
            fn from_key(key: $native, _: $native) -> Self {
                key
            }
        }
    )*};
}
ordered_integers!(i8 i16 i32 i64 u8 u16 u32 u64 i128);

macro_rules! ordered_floats {
    ($float:ty, $signed:ty, $unsigned:ty) => {
        impl Ordered for $float {
            type Key = $signed;
            const TOP: $signed = <$signed>::MAX;
            const BOTTOM: $signed = <$signed>::MIN;
            #[inline]
            fn key(self, nan: $signed) -> $signed {
                if self.is_nan() {
                    return nan;
                }
                // Negative floats fall as their bits rise: all bits but the sign are turned over.
                let bits = self.to_bits() as $signed;
                bits ^ (((bits >> (<$signed>::BITS - 1)) as $unsigned) >> 1) as $signed
            }
            fn from_key(key: $signed, nan: $signed) -> Self {
                if key == nan {
                    return <$float>::NAN;
                }
                let bits = key ^ (((key >> (<$signed>::BITS - 1)) as $unsigned) >> 1) as $signed;
                <$float>::from_bits(bits as $unsigned)
            }
        }
    };
}
ordered_floats!(f32, i32, u32);
ordered_floats!(f64, i64, u64);

/// The minimum, or the maximum, of values of type `N`.
pub(super) struct Extreme<N: Ordered, const IS_MAX: bool> {
    data_type: DataType,
    keys: Vec<N::Key>,
    seen: Seen,
}

impl<N: Ordered, const IS_MAX: bool> Extreme<N, IS_MAX> {
    /// What loses against every value, and therefore also stands for NaN.
    const WORST: N::Key = if IS_MAX { N::BOTTOM } else { N::TOP };

    pub(super) fn new(data_type: DataType) -> Self {
        Self { data_type, keys: Vec::new(), seen: Seen::default() }
    }

    #[inline]
    fn better(a: N::Key, b: N::Key) -> N::Key {
        if IS_MAX { a.max(b) } else { a.min(b) }
    }
}

impl<N: Ordered, const IS_MAX: bool> State for Extreme<N, IS_MAX> {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        let values = native::values::<N>(needed(input)?)?;
        self.keys.resize(rows.groups, Self::WORST);
        each(&mut self.keys, rows, &values, |best, value, _| *best = Self::better(*best, value.key(Self::WORST)));
        self.seen.mark(rows);
        Ok(())
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        let later = same::<Self>(later)?;
        self.keys.resize(mapping.groups, Self::WORST);
        for (from, to) in mapping.pairs() {
            self.keys[to] = Self::better(self.keys[to], later.keys[from]);
        }
        self.seen.merge(&later.seen, mapping);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<ArrayRef, Refusal> {
        let values: Vec<N> = self.keys.iter().map(|&key| N::from_key(key, Self::WORST)).collect();
        Ok(native::column(&self.data_type, values, self.seen.validity())?)
    }
}
