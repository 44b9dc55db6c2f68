//! Groups of the CPU's as words: the other way round of what `reduction` reads.

#![expect(clippy::cast_possible_truncation, reason = "halves of wider numbers, and places of bits")]

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::layout::{Layout, Slots, slots_of};
use crate::error::{Error, Result};
use crate::kernels::cpu::native;
use crate::kernels::cpu::reduce::absorb::{Made, MadeMoments, Reduced, Totals};
use crate::kernels::exact_sum::{Fixed, FloatTotal};
use crate::kernels::gpu::feed::{Feed, Part, Squares, Sum};
use crate::kernels::gpu::grid::Span;
use crate::kernels::gpu::groups::ROWS;
use crate::kernels::gpu::kind::Kind;
use crate::kernels::gpu::reduction::{FloatSlots, Limbs};

/// Bits of a limb.
const LIMB_BITS: usize = 64;

/// Writes what groups hold.
pub(super) fn write(layout: &Layout, reduced: &Reduced, groups: &mut [Slots<'_>]) -> Result<()> {
    if layout.parts.len() != reduced.parts.len() {
        return Err(mixed());
    }
    for (group, &rows) in groups.iter_mut().zip(&reduced.rows) {
        group.set(ROWS, rows.cast_unsigned());
    }
    for (&(feed, part), made) in layout.parts.iter().zip(&reduced.parts) {
        let feed = &layout.feeds[feed];
        // Who does not count values knows whether there is one: of several the one who counts is right.
        for (group, &seen) in groups.iter_mut().zip(&made.seen) {
            let most = group.get(feed.seen).max(seen.cast_unsigned());
            group.set(feed.seen, most);
        }
        match part {
            Part::Count => {}
            Part::Total => write_totals(layout, feed, made, groups)?,
            Part::Moments => write_moments(feed, made, groups)?,
            Part::Min => write_best(feed, feed.min, made, true, groups)?,
            Part::Max => write_best(feed, feed.max, made, false, groups)?,
        }
    }
    Ok(())
}

/// What of floats the sums of some groups need, by the number of their sum.
pub(super) fn spans(layout: &Layout, reduced: &Reduced) -> Vec<(usize, Span)> {
    let mut spans = Vec::new();
    for (&(feed, _), made) in layout.parts.iter().zip(&reduced.parts) {
        if let (Some(Sum::Float { number, .. }), Some(Totals::Float(totals))) = (layout.feeds[feed].sum, &made.totals) {
            spans.push((number, totals.iter().map(span).fold(Span::NONE, Span::and)));
        }
    }
    spans
}

fn span(total: &FloatTotal) -> Span {
    let (_, limbs) = total.finite.magnitude();
    let bit = |limb: usize, bit: u32| (LIMB_BITS * limb) as u32 + bit;
    let lowest = limbs.iter().position(|&limb| limb != 0).map(|at| bit(at, limbs[at].trailing_zeros()));
    let highest = limbs.iter().rposition(|&limb| limb != 0).map(|at| bit(at, 63 - limbs[at].leading_zeros()));
    match (lowest, highest) {
        (Some(lowest), Some(highest)) => Span::of_bits(lowest, highest),
        _ => Span::NONE,
    }
}

fn write_totals(layout: &Layout, feed: &Feed, made: &Made, groups: &mut [Slots<'_>]) -> Result<()> {
    match (feed.sum, &made.totals) {
        (Some(Sum::Whole { first, limbs }), Some(Totals::Whole(totals))) => {
            groups.iter_mut().zip(totals).for_each(|(group, total)| write_limbs(group, Limbs { first, limbs }, total));
            Ok(())
        }
        (Some(Sum::Float { flags, number }), Some(Totals::Float(totals))) => {
            let slots = layout.floats.iter().find(|slots| slots.number == number).ok_or_else(mixed)?;
            for (group, total) in groups.iter_mut().zip(totals) {
                group.set(flags, total.special.flags().into());
                write_float(group, slots, total);
            }
            Ok(())
        }
        _ => Err(mixed()),
    }
}

/// A number in two's complement; what is missing above is the sign.
fn write_limbs<const N: usize>(group: &mut Slots<'_>, to: Limbs, number: &Fixed<N>) {
    let above = if number.0[N - 1] >> 63 == 1 { u64::MAX } else { 0 };
    for limb in 0..to.limbs {
        group.set(to.first + limb, number.0.get(limb).copied().unwrap_or(above));
    }
}

/// A sum of floats, from the lowest bit of its grid on: below there is nothing.
fn write_float(group: &mut Slots<'_>, slots: &FloatSlots, total: &FloatTotal) {
    let from = (slots.grid - 1) as usize / LIMB_BITS;
    let limbs = &total.finite.0;
    let above = if limbs[limbs.len() - 1] >> 63 == 1 { u64::MAX } else { 0 };
    for limb in 0..slots.sum.limbs {
        group.set(slots.sum.first + limb, limbs.get(from + limb).copied().unwrap_or(above));
    }
}

fn write_moments(feed: &Feed, made: &Made, groups: &mut [Slots<'_>]) -> Result<()> {
    let (Some(Sum::Whole { first, limbs }), Some(MadeMoments::Whole(moments))) = (feed.sum, &made.moments) else {
        return Err(mixed());
    };
    let Some(Squares::Whole { first: squares, limbs: of_squares }) = feed.squares else { return Err(mixed()) };
    for (group, moments) in groups.iter_mut().zip(moments) {
        write_limbs(group, Limbs { first, limbs }, &moments.sum);
        write_limbs(group, Limbs { first: squares, limbs: of_squares }, &moments.squares);
    }
    Ok(())
}

fn write_best(feed: &Feed, slot: Option<usize>, made: &Made, is_least: bool, groups: &mut [Slots<'_>]) -> Result<()> {
    let (Some(slot), Some(kind), Some(best)) = (slot, feed.kind(), &made.best) else { return Err(mixed()) };
    let slots = slots_of(kind);
    let turned = u128::MAX >> (128 - 32 * kind.words());
    for ((group, rank), &seen) in groups.iter_mut().zip(ranks(kind, best)?).zip(&made.seen) {
        // NaN has no rank, and a group without values has none either.
        let Some(rank) = rank.filter(|_| seen > 0) else { continue };
        let rank = if is_least { !rank & turned } else { rank };
        for place in 0..slots {
            group.set(slot + place, (rank >> (LIMB_BITS * (slots - 1 - place))) as u64);
        }
    }
    Ok(())
}

/// The rank of each value, which rises with it; none for NaN.
fn ranks(kind: Kind, values: &ArrayRef) -> Result<Vec<Option<u128>>> {
    const TOP: u32 = 1 << 31;
    let narrow = |value: i32| Some(u128::from(value.cast_unsigned() ^ TOP));
    let known = |value: u64| Some(u128::from(value));
    let turned = |bits: u64, top: u64| if bits & top == 0 { bits | top } else { !bits & (top | (top - 1)) };
    macro_rules! each {
        ($native:ty, $rank:expr) => {
            native::values::<$native>(values)?.iter().map(|&value| $rank(value)).collect()
        };
    }
    Ok(match (kind, values.data_type()) {
        (Kind::Bool, DataType::Boolean) => {
            let bits = values.as_boolean().values();
            (0..values.len()).map(|row| Some(u128::from(bits.value(row)))).collect()
        }
        (Kind::Signed(8), _) => each!(i8, |value| narrow(i32::from(value))),
        (Kind::Signed(16), _) => each!(i16, |value| narrow(i32::from(value))),
        (Kind::Signed(_), _) => each!(i32, narrow),
        (Kind::Unsigned(8), _) => each!(u8, |value| known(u64::from(value))),
        (Kind::Unsigned(16), _) => each!(u16, |value| known(u64::from(value))),
        (Kind::Unsigned(_), _) => each!(u32, |value| known(u64::from(value))),
        (Kind::I64, _) => each!(i64, |value: i64| known(value.cast_unsigned() ^ (1 << 63))),
        (Kind::U64, _) => each!(u64, known),
        (Kind::F32, _) => {
            each!(f32, |value: f32| { known(turned(value.to_bits().into(), TOP.into())).filter(|_| !value.is_nan()) })
        }
        (Kind::F64, _) => each!(f64, |value: f64| known(turned(value.to_bits(), 1 << 63)).filter(|_| !value.is_nan())),
        (Kind::I128, _) => each!(i128, |value: i128| Some(value.cast_unsigned() ^ (1 << 127))),
        (Kind::Bool, _) => return Err(mixed()),
    })
}

fn mixed() -> Error {
    Error::internal("groups of the CPU's do not fit those of a device")
}
