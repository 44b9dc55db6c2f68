//! The loops over lanes: reading columns, whole or row by row, and adding, subtracting, multiplying and dividing.

#![expect(clippy::cast_possible_truncation, reason = "halves of wider numbers, and numbers with proven bounds")]

use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;

use super::numbers::{Rows, Step};
use super::source::Source;
use crate::kernels::cpu::prefetch::prefetch_rows;
use crate::kernels::cpu::reduce::few::ROWS;
use crate::kernels::cpu::simd;

/// Rows between the one whose value is named and the one that is read.
const AHEAD: usize = 32;

/// The results of an expression.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Of whole numbers, else nothing.
    pub(super) wholes: Vec<i64>,
    /// None of them is further from zero.
    pub(super) most: u64,
    /// Of floats, else nothing.
    pub(super) floats: Vec<f64>,
}

impl Lane {
    /// Notes a bound; always true.
    pub(super) fn note(&mut self, most: u64) -> bool {
        self.most = most;
        true
    }

    pub(super) fn fill_wholes(&mut self, value: i64, rows: usize) -> bool {
        // Filled once, since nothing else is ever written here.
        if self.wholes.is_empty() {
            self.wholes.resize(ROWS, value);
        }
        debug_assert!(rows <= ROWS, "a lane is too short");
        self.note(value.unsigned_abs())
    }

    pub(super) fn fill_floats(&mut self, value: f64, rows: usize) -> bool {
        if self.floats.is_empty() {
            self.floats.resize(ROWS, value);
        }
        debug_assert!(rows <= ROWS, "a lane is too short");
        true
    }

    fn wholes_mut(&mut self, rows: usize) -> &mut [i64] {
        self.wholes.resize(ROWS, 0);
        &mut self.wholes[..rows]
    }

    fn floats_mut(&mut self, rows: usize) -> &mut [f64] {
        self.floats.resize(ROWS, 0.0);
        &mut self.floats[..rows]
    }
}

/// Reads the values of some rows; gives a magnitude that none exceeds. None if one does not fit 64 bits.
pub(super) fn read(source: Source<'_>, rows: Rows<'_>, lane: &mut Lane) -> Option<u64> {
    macro_rules! wholes {
        ($values:expr) => {
            read_wholes($values, rows, lane.wholes_mut(rows.len()))
        };
    }
    match source {
        Source::Int8(values) => wholes!(values),
        Source::Int16(values) => wholes!(values),
        Source::Int32(values) => wholes!(values),
        Source::Int64(values) => wholes!(values),
        Source::UInt8(values) => wholes!(values),
        Source::UInt16(values) => wholes!(values),
        Source::UInt32(values) => wholes!(values),
        Source::Decimal(values) => wholes!(values),
        Source::Float32(values) => read_floats(values, rows, lane.floats_mut(rows.len())),
        Source::Float64(values) => read_floats(values, rows, lane.floats_mut(rows.len())),
    }
}

/// A magnitude that none of the numbers exceeds.
pub(super) fn reach(numbers: &[i64]) -> u64 {
    #[simd]
    fn bits<S: Simd>(_: S, numbers: &[i64]) -> i64 {
        numbers.iter().fold(0, |bits, &number| bits | (number ^ (number >> 63)))
    }
    dispatch!(simd::level(), simd => bits(simd, numbers)).unsigned_abs() + 1
}

/// A native type of whole numbers.
trait Whole: Copy {
    /// The number, and what of it that does not say: zero if that is nothing.
    fn number(self) -> (i64, i64);
}

macro_rules! narrow {
    ($($native:ty)*) => {$(
        impl Whole for $native {
            #[inline(always)]
            fn number(self) -> (i64, i64) {
                (i64::from(self), 0)
            }
        }
    )*};
}
narrow!(i8 i16 i32 i64 u8 u16 u32);

impl Whole for i128 {
    #[inline(always)]
    fn number(self) -> (i64, i64) {
        let low = self as i64;
        (low, (self >> 64) as i64 ^ (low >> 63))
    }
}

fn read_wholes<N: Whole>(values: &[N], rows: Rows<'_>, numbers: &mut [i64]) -> Option<u64> {
    let (bits, rest) = match rows {
        Rows::Span(from, len) => {
            let values = &values[from..from + len];
            dispatch!(simd::level(), simd => copy_wholes(simd, values, numbers))
        }
        Rows::Numbered(places) => {
            each_of(values, places, numbers, |value: N| value.number().0);
            let rest = places.iter().fold(0, |rest, &row| rest | values[row as usize].number().1);
            (numbers.iter().fold(0, |bits, &number| bits | (number ^ (number >> 63))), rest)
        }
    };
    (rest == 0).then(|| bits.unsigned_abs() + 1)
}

fn read_floats<N: Copy + Into<f64>>(values: &[N], rows: Rows<'_>, floats: &mut [f64]) -> Option<u64> {
    match rows {
        Rows::Span(from, len) => {
            let values = &values[from..from + len];
            dispatch!(simd::level(), simd => copy_floats(simd, values, floats));
        }
        Rows::Numbered(places) => each_of(values, places, floats, N::into),
    }
    Some(0)
}

#[simd]
fn copy_wholes<S: Simd, N: Whole>(_: S, values: &[N], numbers: &mut [i64]) -> (i64, i64) {
    let (mut bits, mut rests) = (0, 0);
    for (slot, &value) in numbers.iter_mut().zip(values) {
        let (number, rest) = value.number();
        *slot = number;
        bits |= number ^ (number >> 63);
        rests |= rest;
    }
    (bits, rests)
}

#[simd]
fn copy_floats<S: Simd, N: Copy + Into<f64>>(_: S, values: &[N], floats: &mut [f64]) {
    floats.iter_mut().zip(values).for_each(|(slot, &value)| *slot = value.into());
}

/// Reads the values of some rows, which lie here and there: those that come next are named before.
fn each_of<N: Copy, T>(values: &[N], places: &[u32], slots: &mut [T], read: impl Fn(N) -> T) {
    for (place, (slot, &row)) in slots.iter_mut().zip(places).enumerate() {
        if let Some(&next) = places.get(place + AHEAD) {
            prefetch_rows(values, next as usize, 1);
        }
        *slot = read(values[row as usize]);
    }
}

/// What is made of whole numbers, each multiplied by its factor before, none of which leaves 64 bits.
pub(super) fn wholes(
    step: Step,
    a: &[i64],
    b: &[i64],
    (by_left, by_right): (i64, i64),
    are_halves: bool,
    into: &mut Lane,
) {
    let numbers = into.wholes_mut(a.len());
    dispatch!(simd::level(), simd => match step {
        Step::Multiply if are_halves => each(simd, a, b, numbers, |a, b| i64::from(a as i32) * i64::from(b as i32)),
        Step::Multiply => each(simd, a, b, numbers, i64::wrapping_mul),
        Step::Add if by_left == 1 && by_right == 1 => each(simd, a, b, numbers, i64::wrapping_add),
        Step::Add => each(simd, a, b, numbers, |a, b| (a * by_left).wrapping_add(b * by_right)),
        _ if by_left == 1 && by_right == 1 => each(simd, a, b, numbers, i64::wrapping_sub),
        _ => each(simd, a, b, numbers, |a, b| (a * by_left).wrapping_sub(b * by_right)),
    });
}

/// What is made of floats.
pub(super) fn floats(step: Step, a: &[f64], b: &[f64], into: &mut Lane) {
    let floats = into.floats_mut(a.len());
    dispatch!(simd::level(), simd => match step {
        Step::Add => each(simd, a, b, floats, |a, b| a + b),
        Step::Subtract => each(simd, a, b, floats, |a, b| a - b),
        Step::Multiply => each(simd, a, b, floats, |a, b| a * b),
        Step::Divide => each(simd, a, b, floats, |a, b| a / b),
    });
}

#[simd]
fn each<S: Simd, N: Copy>(_: S, left: &[N], right: &[N], slots: &mut [N], of: impl Fn(N, N) -> N) {
    for ((slot, &a), &b) in slots.iter_mut().zip(left).zip(right) {
        *slot = of(a, b);
    }
}
