//! Integer operations that say when a result leaves the range: loops wrap and collect one flag. Only when it is set is
//! the first row looked for that is at fault, since what lies under a null may overflow.

use arrow_array::ArrayRef;
use arrow_array::types::{ArrowPrimitiveType, Int64Type};

use super::operand::{Operand, common_nulls, natives, primitive, valid};
use super::{Scope, Site};
use crate::error::Result;
use crate::expr::BinaryOp;

/// What a checked operation gives, wrapped, and whether it left the range.
pub(super) trait Checked: Copy + PartialEq {
    const ZERO: Self;
    fn plus(self, other: Self) -> (Self, bool);
    fn minus(self, other: Self) -> (Self, bool);
    fn times(self, other: Self) -> (Self, bool);
    /// Quotient rounded down; the divisor is not 0.
    fn floor_divided(self, other: Self) -> (Self, bool);
    /// What the division rounded down leaves; the divisor is not 0.
    fn modulo(self, other: Self) -> (Self, bool);
}

macro_rules! signed {
    ($($native:ty, $wide:ty);*) => { $(impl Checked for $native {
        const ZERO: Self = 0;
        // Overflow shows in the sign bit: a form that compilers turn into vector code, which `overflowing_add` is not.
        #[inline(always)]
        fn plus(self, other: Self) -> (Self, bool) {
            let sum = self.wrapping_add(other);
            (sum, ((self ^ sum) & (other ^ sum)) < 0)
        }
        #[inline(always)]
        fn minus(self, other: Self) -> (Self, bool) {
            let difference = self.wrapping_sub(other);
            (difference, ((self ^ other) & (self ^ difference)) < 0)
        }
        #[inline(always)]
        fn times(self, other: Self) -> (Self, bool) {
            // Narrow products fit a wider vector; for 64 bits the machine's own flag is faster than 128 bits.
            if size_of::<Self>() == size_of::<i64>() {
                return self.overflowing_mul(other);
            }
            let product = <$wide>::from(self) * <$wide>::from(other);
            let low = self.wrapping_mul(other);
            (low, <$wide>::from(low) != product)
        }
        #[inline(always)]
        fn floor_divided(self, other: Self) -> (Self, bool) {
            let (quotient, overflow) = self.overflowing_div(other);
            let remainder = self.wrapping_rem(other);
            (quotient - Self::from(remainder != 0 && (remainder < 0) != (other < 0)), overflow)
        }
        #[inline(always)]
        fn modulo(self, other: Self) -> (Self, bool) {
            let remainder = self.wrapping_rem(other);
            (if remainder != 0 && (remainder < 0) != (other < 0) { remainder + other } else { remainder }, false)
        }
    })* };
}

macro_rules! unsigned {
    ($($native:ty),*) => { $(impl Checked for $native {
        const ZERO: Self = 0;
        #[inline(always)]
        fn plus(self, other: Self) -> (Self, bool) {
            let sum = self.wrapping_add(other);
            (sum, sum < self)
        }
        #[inline(always)]
        fn minus(self, other: Self) -> (Self, bool) {
            (self.wrapping_sub(other), self < other)
        }
        #[inline(always)]
        fn times(self, other: Self) -> (Self, bool) {
            self.overflowing_mul(other)
        }
        #[inline(always)]
        fn floor_divided(self, other: Self) -> (Self, bool) {
            (self / other, false)
        }
        #[inline(always)]
        fn modulo(self, other: Self) -> (Self, bool) {
            (self % other, false)
        }
    })* };
}

signed!(i8, i16; i16, i32; i32, i64; i64, i128);
unsigned!(u8, u16, u32, u64);

/// The results of `operation`, and whether any of them, null or not, left the range.
pub(super) fn wrapped<T: ArrowPrimitiveType>(
    operands: &[Operand; 2],
    operation: impl Fn(T::Native, T::Native) -> (T::Native, bool),
) -> Result<(Vec<T::Native>, bool)> {
    let (left, right) = (natives::<T>(operands[0].array())?, natives::<T>(operands[1].array())?);
    Ok(match (&operands[0], &operands[1]) {
        (Operand::Column(_), Operand::Constant(_)) => {
            let right = right[0];
            gathered(left.iter().map(|left| operation(*left, right)))
        }
        (Operand::Constant(_), Operand::Column(_)) => {
            let left = left[0];
            gathered(right.iter().map(|right| operation(left, *right)))
        }
        _ => gathered(left.iter().zip(right).map(|(left, right)| operation(*left, *right))),
    })
}

/// The values, and whether any flag was set. Nobody else borrows the flag, so it stays in a register: in memory, it
/// made a multiplication five times slower.
#[inline(always)]
fn gathered<N>(results: impl Iterator<Item = (N, bool)>) -> (Vec<N>, bool) {
    let mut any = false;
    let values = results.map(|(value, flag)| {
        any |= flag;
        value
    });
    (values.collect(), any)
}

pub(super) fn checked<T: ArrowPrimitiveType>(
    operands: &[Operand; 2],
    operation: impl Fn(T::Native, T::Native) -> (T::Native, bool) + Copy,
    scope: &Scope<'_>,
    site: &Site,
) -> Result<ArrayRef> {
    let nulls = common_nulls(operands);
    let (values, any) = wrapped::<T>(operands, operation)?;
    if any {
        let (left, right) = (natives::<T>(operands[0].array())?, natives::<T>(operands[1].array())?);
        let fault = |row: &usize| {
            valid(nulls.as_ref(), *row) && operation(left[operands[0].at(*row)], right[operands[1].at(*row)]).1
        };
        if let Some(row) = (0..values.len()).find(fault) {
            return Err(site.overflow(scope.origin(row)));
        }
    }
    Ok(primitive::<T>(values, nulls))
}

/// Sums and differences of times in one unit.
pub(super) fn checked_i64(operands: &[Operand; 2], op: BinaryOp, scope: &Scope<'_>, site: &Site) -> Result<ArrayRef> {
    match op {
        BinaryOp::Add => checked::<Int64Type>(operands, Checked::plus, scope, site),
        BinaryOp::Subtract => checked::<Int64Type>(operands, Checked::minus, scope, site),
        other => Err(site.unknown(&other)),
    }
}
