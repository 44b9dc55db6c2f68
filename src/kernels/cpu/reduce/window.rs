//! The range of exponents in which exact moments of floats are kept as whole numbers of 128 bits and their squares.

#![expect(clippy::cast_possible_wrap, reason = "exponents fit 32 bits")]

use crate::kernels::exact_sum::F64_GRID;

/// How many exponents the window has. 53 bits of mantissa and 44 of shift leave room for 2^29 values of the largest size.
const WINDOW: u32 = 44;

/// Which exponents the window holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    /// The lowest exponent field of an `f64` inside.
    low: u32,
}

impl Window {
    /// A window for values like these: the largest lies near its upper end. On a coarse raster, so that the partitions
    /// of a batch choose the same.
    pub(super) fn for_values(values: impl Iterator<Item = f64>) -> Option<Self> {
        let field = |value: f64| (value.to_bits() >> 52) as u32 & 0x7ff;
        let highest = values.map(field).filter(|&field| field < 0x7ff).max().filter(|&field| field > 0)?;
        Some(Self::below(highest))
    }

    /// The window for values of which the largest has this exponent field.
    pub(super) fn below(highest: u32) -> Self {
        Self { low: highest.next_multiple_of(16).saturating_sub(WINDOW).max(1) }
    }

    /// Whether all exponent fields between these lie inside.
    #[cfg(feature = "gpu")]
    pub(super) fn holds(self, lowest: u32, highest: u32) -> bool {
        lowest >= self.low && highest <= self.low + WINDOW
    }

    /// The window from this exponent field on; none if there cannot be one.
    pub(super) fn with_low(low: u32) -> Option<Self> {
        (1..=2047 - WINDOW).contains(&low).then_some(Self { low })
    }

    /// The lowest exponent field inside.
    pub(super) fn low(self) -> u32 {
        self.low
    }

    /// The exponent of the grid's unit.
    pub(super) fn grid(self) -> i32 {
        F64_GRID + self.low as i32 - 1
    }

    /// Sign, mantissa and shift of a value inside.
    #[inline]
    pub(super) fn place(self, bits: u64) -> Option<(bool, u64, u32)> {
        let shift = ((bits >> 52) as u32 & 0x7ff).wrapping_sub(self.low);
        let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
        (shift <= WINDOW).then_some((bits >> 63 == 1, mantissa, shift))
    }
}
