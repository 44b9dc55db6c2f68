//! The filter: a value of a column between two bounds, for as many columns as there are; a bit a row.
//!
//! A column is asked only where the ones before have left something, eight rows at a time: numbers of eight rows are one or
//! two lines of the cache, and lines that nobody asks for need not come from memory. Lines that will be asked are named some
//! time before.

#![expect(
    clippy::cast_possible_truncation,
    reason = "a tile has fewer rows than u16 can count; halves of wider numbers"
)]

use fearless_simd::{Simd, SimdBase, SimdMask, dispatch, f32x8, f64x4, i32x8, i64x4};
use fearless_simd_macros::simd;

use super::source::Source;
use crate::columnar::{DataType, Scalar};
use crate::expr::{BinaryOp, TypedExpr, TypedNode};
use crate::kernels::cpu::prefetch::{prefetch, prefetch_behind};
use crate::kernels::cpu::simd;

/// Rows that are asked at once.
pub(super) const LINE: usize = 8;

/// Lines between the one that is named and the one that is asked: where all are asked, and where some are.
const LINES_AHEAD: usize = 64;
const AHEAD: usize = 24;

/// What must hold for a row to be kept: all of these.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Terms(Vec<Term>);

/// The values of a column that are kept.
#[derive(Debug, Clone, PartialEq)]
struct Term {
    /// First the column, then its place among the sources.
    column: usize,
    range: Range,
}

/// From the least to the greatest value that is kept, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Range {
    Int32(Between<i32>),
    Int64(Between<i64>),
    Decimal(Between<i128>),
    Float32(Between<f32>),
    Float64(Between<f64>),
}

/// Two bounds. Values that are not numbers lie above every bound but the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Between<N> {
    least: N,
    most: N,
    /// Of floats: whether there is no upper bound, so that what is not a number is kept, too.
    has_no_most: bool,
}

impl Terms {
    /// The terms of a predicate, if that is all it is made of. `source` gives the place of a column among the sources.
    pub(super) fn compile(predicate: &TypedExpr, source: &mut impl FnMut(usize) -> usize) -> Option<Self> {
        let mut terms = Vec::new();
        collect(predicate, &mut terms)?;
        terms.iter_mut().for_each(|term| term.column = source(term.column));
        Some(Self(terms))
    }

    /// Whether every row is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The place of the column that is asked in every row.
    pub(super) fn first(&self) -> Option<usize> {
        self.0.first().map(|term| term.column)
    }

    /// Writes a bit for each of so many rows, set if it is kept, in bytes; false if the sources are of other types. `lines` is
    /// kept for its memory.
    pub(super) fn ask(&self, sources: &[Source<'_>], rows: usize, bits: &mut Vec<u8>, lines: &mut Vec<u16>) -> bool {
        bits.clear();
        bits.resize(rows.div_ceil(64) * 8, 0);
        for (place, term) in self.0.iter().enumerate() {
            lines.clear();
            if place > 0 {
                list(bits, lines);
                if lines.is_empty() {
                    break;
                }
            }
            let asked = if place == 0 { None } else { Some(&lines[..]) };
            match (term.range, sources[term.column]) {
                (Range::Int32(range), Source::Int32(values)) => ask(values, range, asked, bits),
                (Range::Int64(range), Source::Int64(values)) => ask(values, range, asked, bits),
                (Range::Decimal(range), Source::Decimal(values)) => ask(values, range, asked, bits),
                (Range::Float32(range), Source::Float32(values)) => ask(values, range, asked, bits),
                (Range::Float64(range), Source::Float64(values)) => ask(values, range, asked, bits),
                _ => return false,
            }
        }
        true
    }
}

/// The numbers of the lines in which a row is kept.
fn list(bits: &[u8], lines: &mut Vec<u16>) {
    lines.resize(bits.len(), 0);
    let mut count = 0;
    for (line, &byte) in bits.iter().enumerate() {
        lines[count] = line as u16;
        count += usize::from(byte != 0);
    }
    lines.truncate(count);
}

/// Takes a predicate apart.
fn collect(expr: &TypedExpr, terms: &mut Vec<Term>) -> Option<()> {
    let TypedNode::Binary(left, op, right) = &expr.node else { return None };
    if *op == BinaryOp::And {
        collect(left, terms)?;
        return collect(right, terms);
    }
    let (column, op, literal) = match (&left.node, &right.node) {
        (TypedNode::Column(..), TypedNode::Literal(_)) => (left, *op, right),
        (TypedNode::Literal(_), TypedNode::Column(..)) => (right, op.swapped(), left),
        _ => return None,
    };
    let (TypedNode::Column(index, _), Some(value)) = (&column.node, literal.as_literal()) else { return None };
    if column.data_type != literal.data_type {
        return None;
    }
    let range = range(&column.data_type, op, value)?;
    match terms.iter_mut().find(|term| term.column == *index) {
        Some(term) => term.range = term.range.and(range)?,
        None => terms.push(Term { column: *index, range }),
    }
    Some(())
}

fn range(data_type: &DataType, op: BinaryOp, value: &Scalar) -> Option<Range> {
    Some(match (data_type, value) {
        (DataType::Date32, Scalar::Date32(value)) => Range::Int32(whole(op, *value, (i32::MIN, i32::MAX))?),
        (DataType::Int32, Scalar::Int64(value)) => {
            Range::Int32(whole(op, i32::try_from(*value).ok()?, (i32::MIN, i32::MAX))?)
        }
        (DataType::Int64, Scalar::Int64(value)) => Range::Int64(whole(op, *value, (i64::MIN, i64::MAX))?),
        (DataType::Timestamp(unit, _), Scalar::Timestamp(value, of, _)) if unit == of => {
            Range::Int64(whole(op, *value, (i64::MIN, i64::MAX))?)
        }
        (DataType::Decimal128(_, scale), Scalar::Decimal128 { unscaled, scale: of, .. }) if scale == of => {
            Range::Decimal(whole(op, *unscaled, (i128::MIN, i128::MAX))?)
        }
        #[expect(clippy::float_cmp, reason = "a literal that the narrower type holds")]
        (DataType::Float32, Scalar::Float64(value)) if f64::from(*value as f32) == *value => {
            Range::Float32(float(op, *value as f32)?)
        }
        (DataType::Float64, Scalar::Float64(value)) => Range::Float64(float(op, *value)?),
        _ => return None,
    })
}

trait Whole: Copy + Ord {
    fn before(self) -> Option<Self>;
    fn after(self) -> Option<Self>;
}

macro_rules! wholes {
    ($($native:ty)*) => {$(
        impl Whole for $native {
            fn before(self) -> Option<Self> {
                self.checked_sub(1)
            }
            fn after(self) -> Option<Self> {
                self.checked_add(1)
            }
        }
    )*};
}
wholes!(i32 i64 i128);

fn whole<N: Whole>(op: BinaryOp, value: N, (lowest, highest): (N, N)) -> Option<Between<N>> {
    let (least, most) = match op {
        BinaryOp::Eq => (value, value),
        BinaryOp::LtEq => (lowest, value),
        BinaryOp::GtEq => (value, highest),
        // Below the lowest number there is none.
        BinaryOp::Lt => value.before().map_or((highest, lowest), |most| (lowest, most)),
        BinaryOp::Gt => value.after().map_or((highest, lowest), |least| (least, highest)),
        _ => return None,
    };
    Some(Between { least, most, has_no_most: false })
}

trait Float: Copy + PartialOrd {
    const LOWEST: Self;
    const HIGHEST: Self;
    fn is_finite(self) -> bool;
    fn before(self) -> Self;
    fn after(self) -> Self;
}

macro_rules! floats {
    ($($native:ty)*) => {$(
        impl Float for $native {
            const LOWEST: Self = <$native>::NEG_INFINITY;
            const HIGHEST: Self = <$native>::INFINITY;
            fn is_finite(self) -> bool {
                <$native>::is_finite(self)
            }
            fn before(self) -> Self {
                self.next_down()
            }
            fn after(self) -> Self {
                self.next_up()
            }
        }
    )*};
}
floats!(f32 f64);

/// Only for finite bounds: next to them there is always another float.
fn float<N: Float>(op: BinaryOp, value: N) -> Option<Between<N>> {
    if !value.is_finite() {
        return None;
    }
    Some(match op {
        BinaryOp::Eq => Between { least: value, most: value, has_no_most: false },
        BinaryOp::Lt => Between { least: N::LOWEST, most: value.before(), has_no_most: false },
        BinaryOp::LtEq => Between { least: N::LOWEST, most: value, has_no_most: false },
        BinaryOp::Gt => Between { least: value.after(), most: N::HIGHEST, has_no_most: true },
        BinaryOp::GtEq => Between { least: value, most: N::HIGHEST, has_no_most: true },
        _ => return None,
    })
}

impl<N: PartialOrd> Between<N> {
    fn and(self, other: Self) -> Self {
        Self {
            least: if other.least > self.least { other.least } else { self.least },
            most: if other.most < self.most { other.most } else { self.most },
            has_no_most: self.has_no_most && other.has_no_most,
        }
    }
}

impl Range {
    fn and(self, other: Self) -> Option<Self> {
        Some(match (self, other) {
            (Self::Int32(one), Self::Int32(other)) => Self::Int32(one.and(other)),
            (Self::Int64(one), Self::Int64(other)) => Self::Int64(one.and(other)),
            (Self::Decimal(one), Self::Decimal(other)) => Self::Decimal(one.and(other)),
            (Self::Float32(one), Self::Float32(other)) => Self::Float32(one.and(other)),
            (Self::Float64(one), Self::Float64(other)) => Self::Float64(one.and(other)),
            _ => return None,
        })
    }
}

/// A native type that is asked.
trait Asked: Copy {
    /// The answer for a row.
    fn one(self, range: &Between<Self>) -> bool;

    /// The answers for a line, a bit each.
    fn line<S: Simd>(simd: S, values: &[Self; LINE], range: &Between<Self>) -> u8;
}

macro_rules! asked {
    ($($native:ty, $vector:ident, $lanes:literal);*) => { $(impl Asked for $native {
        #[inline(always)]
        fn one(self, range: &Between<Self>) -> bool {
            let is_below = self < range.least;
            !is_below & (self <= range.most || range.has_no_most)
        }

        #[inline(always)]
        fn line<S: Simd>(simd: S, values: &[Self; LINE], range: &Between<Self>) -> u8 {
            let (least, most) = ($vector::splat(simd, range.least), $vector::splat(simd, range.most));
            let any = u8::from(range.has_no_most).wrapping_neg();
            let (mut below, mut not_above) = (0, 0);
            for (place, part) in values.as_chunks::<$lanes>().0.iter().enumerate() {
                let part = $vector::load_array_ref(simd, part);
                below |= (part.simd_lt(least).to_bitmask() as u8) << (place * $lanes);
                not_above |= (part.simd_le(most).to_bitmask() as u8) << (place * $lanes);
            }
            !below & (not_above | any)
        }
    })* };
}
asked!(i32, i32x8, 8; i64, i64x4, 4; f32, f32x8, 8; f64, f64x4, 4);

impl Asked for i128 {
    #[inline(always)]
    fn one(self, range: &Between<Self>) -> bool {
        self >= range.least && self <= range.most
    }

    /// Nearly all decimals are 64-bit numbers, which vectors can compare.
    #[inline(always)]
    fn line<S: Simd>(simd: S, values: &[Self; LINE], range: &Between<Self>) -> u8 {
        let (mut lows, mut rest) = ([0; LINE], 0);
        for (low, &value) in lows.iter_mut().zip(values) {
            *low = value as i64;
            rest |= (value >> 64) as i64 ^ (*low >> 63);
        }
        if rest != 0 {
            return values.iter().rev().fold(0, |bits, value| bits << 1 | u8::from(value.one(range)));
        }
        let within = |bound: i128| bound.clamp(i64::MIN.into(), i64::MAX.into());
        // A range that ends below or begins above all 64-bit numbers keeps none of them.
        if range.least > within(range.least) || range.most < within(range.most) {
            return 0;
        }
        let (least, most) = (within(range.least) as i64, within(range.most) as i64);
        i64::line(simd, &lows, &Between { least, most, has_no_most: false })
    }
}

/// Asks the values of the lines, or of all.
fn ask<N: Asked>(values: &[N], range: Between<N>, lines: Option<&[u16]>, bits: &mut [u8]) {
    match lines {
        None => dispatch!(simd::level(), simd => ask_all(simd, values, &range, bits)),
        Some(lines) => dispatch!(simd::level(), simd => ask_lines(simd, values, &range, lines, bits)),
    }
}

#[simd]
fn ask_all<S: Simd, N: Asked>(simd: S, values: &[N], range: &Between<N>, bits: &mut [u8]) {
    let (lines, rest) = values.as_chunks::<LINE>();
    for (line, bits) in lines.iter().zip(&mut *bits) {
        prefetch_behind(line, LINE * LINES_AHEAD, LINE);
        *bits = N::line(simd, line, range);
    }
    if !rest.is_empty() {
        bits[lines.len()] = ask_rest(rest, range);
    }
}

#[simd]
fn ask_lines<S: Simd, N: Asked>(simd: S, values: &[N], range: &Between<N>, lines: &[u16], bits: &mut [u8]) {
    let (whole, rest) = values.as_chunks::<LINE>();
    for (place, &line) in lines.iter().enumerate() {
        if let Some(next) = lines.get(place + AHEAD).and_then(|&line| whole.get(usize::from(line))) {
            prefetch(next);
        }
        let line = usize::from(line);
        bits[line] &= match whole.get(line) {
            Some(values) => N::line(simd, values, range),
            None => ask_rest(rest, range),
        };
    }
}

/// The answers for a line that is not full.
#[inline(always)]
fn ask_rest<N: Asked>(rest: &[N], range: &Between<N>) -> u8 {
    rest.iter().rev().fold(0, |bits, value| bits << 1 | u8::from(value.one(range)))
}
