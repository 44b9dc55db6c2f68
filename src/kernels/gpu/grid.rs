//! The grid on which the floats of a batch are whole numbers: its lowest exponent, and how many limbs hold their sum.

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_schema::DataType;

use crate::columnar::Scalar;
use crate::expr::{TypedExpr, TypedNode};

/// The lowest and the highest biased exponent of some floats that are neither zero nor infinite nor NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    low: u32,
    high: u32,
}

/// The exponents that whole numbers of 64 bits have as floats.
const WHOLE: Span = Span { low: 1023, high: 1023 + 64 };

/// Bits of the significand.
const DIGITS: u32 = 53;

impl Span {
    /// Of no floats.
    pub(super) const NONE: Self = Self { low: u32::MAX, high: 0 };

    fn of(value: f64) -> Self {
        let field = (value.to_bits() >> 52) as u32 & 0x7ff;
        if value == 0.0 || field == 0x7ff {
            return Self::NONE;
        }
        Self { low: field.max(1), high: field.max(1) }
    }

    /// Of these floats and those.
    pub(super) fn and(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// Of a whole number of units of the lowest exponent, by its lowest and its highest bit: as if it were one value.
    pub(super) fn of_bits(lowest: u32, highest: u32) -> Self {
        Self { low: lowest + 1, high: (highest + 2).saturating_sub(DIGITS).max(lowest + 1) }
    }

    /// The same from a lower exponent on, so that two grids lie a multiple of so many bits apart.
    pub(super) fn aligned(self, bits: u32) -> Self {
        if self.high == 0 { self } else { Self { low: (self.low - 1) / bits * bits + 1, ..self } }
    }

    /// Of the values of a column; those under nulls may count.
    pub(super) fn of_column(column: &ArrayRef) -> Self {
        match column.data_type() {
            DataType::Float64 => {
                column.as_primitive::<Float64Type>().values().iter().fold(Self::NONE, |span, &v| span.and(Self::of(v)))
            }
            DataType::Float32 => {
                let values = column.as_primitive::<Float32Type>().values();
                values.iter().fold(Self::NONE, |span, &value| span.and(Self::of(value.into())))
            }
            _ => Self::NONE,
        }
    }

    /// Of what an expression makes beside the values of columns: literals, and whole numbers turned into floats.
    pub(super) fn of_constants(expr: &TypedExpr) -> Self {
        let own = match &expr.node {
            TypedNode::Literal(Scalar::Float64(value)) => Self::of(*value),
            TypedNode::Cast(input, _) if expr.data_type.is_floating() && !input.data_type.is_floating() => WHOLE,
            _ => Self::NONE,
        };
        expr.children().into_iter().fold(own, |span, child| span.and(Self::of_constants(child)))
    }

    /// The lowest and the highest biased exponent; none without floats that have some.
    pub(super) fn ends(self) -> Option<(u32, u32)> {
        (self.high > 0).then_some((self.low, self.high))
    }

    /// How many limbs of so many bits hold the sum of the squares of `rows` values, on the square of the grid.
    pub(super) fn square_limbs(self, rows: usize, limb_bits: usize) -> usize {
        let growth = usize::BITS - rows.leading_zeros();
        let bits = 2 * (self.high.saturating_sub(self.low) + DIGITS) + growth + 1;
        (bits as usize).div_ceil(limb_bits)
    }

    /// The exponent of the grid's lowest bit, and how many limbs of so many bits hold the sum of `rows` values.
    pub(super) fn grid(self, rows: usize, limb_bits: usize) -> (u32, usize) {
        if self.high == 0 {
            return (1, 1);
        }
        let growth = usize::BITS - rows.leading_zeros();
        // And a bit for the sign.
        let bits = self.high - self.low + DIGITS + growth + 1;
        (self.low, (bits as usize).div_ceil(limb_bits))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Float64Array;

    use super::*;

    #[test]
    fn zeros_and_what_is_not_finite_do_not_count() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, f64::INFINITY, 1.0, -4.0]));
        assert_eq!(Span::of_column(&column), Span { low: 1023, high: 1025 });
    }

    #[test]
    fn subnormal_values_have_the_lowest_exponent() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![5e-324, f64::MAX]));
        let span = Span::of_column(&column);
        assert_eq!(span, Span { low: 1, high: 2046 });
        assert_eq!(span.grid(1, 32), (1, (2045_usize + 53 + 1 + 1).div_ceil(32)));
    }
}
