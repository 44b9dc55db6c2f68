//! What the groups of a keyed reduce hold, as it comes back from a device.
//!
//! Keys do not come back; each group's first row does, and the CPU makes the keys of it. Totals are handed over exactly,
//! as whole numbers, so that they go on as groups of the CPU's.

#![expect(clippy::cast_possible_truncation, reason = "numbers of rows and places in buffers are words of 32 bits")]

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow_select::interleave::interleave_record_batch;
use arrow_select::take::take;

use super::feed::{Feed, Part, Squares, Sum};
use super::grid::Span;
use super::groups::{FIRST, GroupPlan, ROWS};
use super::kind::Kind;
use super::rows::column;
use crate::error::{Error, Result};
use crate::kernels::cpu::reduce::absorb::{FloatSpread, Made, MadeMoments, Reduced, Totals};
use crate::kernels::cpu::stage::CpuTask;
use crate::kernels::exact_sum::{Fixed, FloatTotal, Moments};

/// What a device made of the rows of a batch.
pub(super) struct Reduction {
    /// The slots of each group that has rows, `stride` of them, in the order of the first rows.
    slots: Vec<u64>,
    stride: usize,
    first_rows: Vec<usize>,
    floats: Vec<FloatSlots>,
    /// For each feed the values that are kept by their ranks, least first.
    texts: Vec<Option<ArrayRef>>,
}

/// Some slots side by side, the lowest limb first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limbs {
    pub(super) first: usize,
    pub(super) limbs: usize,
}

/// Where a float sum lies, for one batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct FloatSlots {
    /// The number in the header by which it is known.
    pub(super) number: usize,
    pub(super) span: Span,
    pub(super) grid: u32,
    pub(super) sum: Limbs,
    pub(super) squares: Option<Limbs>,
}

impl Reduction {
    /// Of the groups that have rows, in the order of these. A group has `stride` slots of `words` words each.
    pub(super) fn new(
        slots: &[u32],
        (stride, words): (usize, usize),
        floats: Vec<FloatSlots>,
        texts: Vec<Option<ArrayRef>>,
    ) -> Self {
        let slot = |group: &[u32], place: usize| {
            let low = u64::from(group[place * words]);
            if words == 2 { u64::from(group[place * words + 1]) << 32 | low } else { low }
        };
        let groups = slots.chunks_exact(stride * words).filter(|group| slot(group, FIRST) != 0);
        // The complement of the first row's number.
        let mut found: Vec<(usize, &[u32])> =
            groups.map(|group| (!(slot(group, FIRST) as u32) as usize, group)).collect();
        found.sort_unstable_by_key(|(row, _)| *row);
        let slots = found.iter().flat_map(|&(_, group)| (0..stride).map(move |place| slot(group, place))).collect();
        Self { slots, stride, first_rows: found.into_iter().map(|(row, _)| row).collect(), floats, texts }
    }

    /// Of groups whose slots are these, so many each; of no rows at hand.
    pub(super) fn of_slots(slots: Vec<u64>, stride: usize, floats: Vec<FloatSlots>) -> Self {
        Self { slots, stride, first_rows: Vec::new(), floats, texts: Vec::new() }
    }

    /// Hands it over to the CPU's end of the stage; the groups' first rows are a part of the input.
    pub(super) fn hand_over(
        &self,
        task: &mut CpuTask,
        plan: &GroupPlan,
        pieces: &[RecordBatch],
        slot_bits: usize,
    ) -> Result<()> {
        if self.slots.is_empty() {
            return Ok(());
        }
        task.absorb(rows_at(pieces, &self.first_rows)?, self.reduced(&plan.feeds, &plan.parts, slot_bits)?)
    }

    /// How many rows the groups have.
    pub(super) fn rows(&self) -> usize {
        self.groups().map(|group| group[ROWS] as usize).sum()
    }

    fn groups(&self) -> impl Iterator<Item = &[u64]> {
        self.slots.chunks_exact(self.stride)
    }

    /// What the CPU goes on with.
    pub(super) fn reduced(&self, feeds: &[Feed], parts: &[(usize, Part)], slot_bits: usize) -> Result<Reduced> {
        let parts = parts.iter().map(|&(feed, part)| {
            let texts = self.texts.get(feed).and_then(Option::as_ref);
            self.made(&feeds[feed], part, texts, slot_bits)
        });
        Ok(Reduced { rows: self.counts(ROWS), parts: parts.collect::<Result<_>>()? })
    }

    fn counts(&self, slot: usize) -> Vec<i64> {
        self.groups().map(|group| group[slot].cast_signed()).collect()
    }

    fn made(&self, feed: &Feed, part: Part, texts: Option<&ArrayRef>, slot_bits: usize) -> Result<Made> {
        let seen = self.counts(feed.seen);
        let mut made = Made { seen, ..Made::default() };
        match (part, feed.sum, feed.min, feed.max) {
            (Part::Total, Some(Sum::Whole { first, limbs }), ..) => {
                let total = |group: &[u64]| Limbs { first, limbs }.of(group, slot_bits);
                made.totals = Some(Totals::Whole(self.groups().map(total).collect()));
            }
            (Part::Total, Some(Sum::Float { flags, number }), ..) => {
                let slots = self.float_slots(number)?;
                let total = |group: &[u64]| slots.total(group, flags, slot_bits);
                made.totals = Some(Totals::Float(self.groups().map(total).collect()));
            }
            (Part::Moments, Some(sum), ..) => made.moments = Some(self.moments(feed, sum, &made.seen, slot_bits)?),
            (Part::Min, _, Some(slot), _) => made.best = Some(self.best(feed, slot, true, texts, slot_bits)?),
            (Part::Max, _, _, Some(slot)) => made.best = Some(self.best(feed, slot, false, texts, slot_bits)?),
            _ => {}
        }
        Ok(made)
    }

    fn float_slots(&self, number: usize) -> Result<&FloatSlots> {
        self.floats.iter().find(|slots| slots.number == number).ok_or_else(|| Error::internal("a sum has no place"))
    }

    fn moments(&self, feed: &Feed, sum: Sum, seen: &[i64], slot_bits: usize) -> Result<MadeMoments> {
        match (sum, feed.squares) {
            (Sum::Whole { first, limbs }, Some(Squares::Whole { first: squares, limbs: of_squares })) => {
                let (sum, squares) = (Limbs { first, limbs }, Limbs { first: squares, limbs: of_squares });
                Ok(MadeMoments::Whole(self.spread(sum, squares, seen.iter().copied(), slot_bits)))
            }
            (Sum::Float { number, .. }, Some(Squares::Float { odd, .. })) => {
                let slots = self.float_slots(number)?;
                let squares = slots.squares.ok_or_else(|| Error::internal("squares have no place"))?;
                let odd = self.counts(odd);
                let finite = seen.iter().zip(&odd).map(|(seen, odd)| seen - odd);
                let spread = if slots.sum.fits::<2>(slot_bits) && squares.fits::<4>(slot_bits) {
                    FloatSpread::Narrow(self.spread(slots.sum, squares, finite, slot_bits))
                } else {
                    FloatSpread::Wide(self.spread(slots.sum, squares, finite, slot_bits))
                };
                Ok(MadeMoments::Float { ends: slots.span.ends(), spread, odd })
            }
            _ => Err(Error::internal("a device kept sums and squares of different types")),
        }
    }

    fn spread<const L: usize, const M: usize>(
        &self,
        sum: Limbs,
        squares: Limbs,
        counts: impl Iterator<Item = i64>,
        slot_bits: usize,
    ) -> Vec<Moments<L, M>> {
        let of = |(group, count): (&[u64], i64)| Moments {
            count: count.cast_unsigned(),
            sum: sum.of(group, slot_bits),
            squares: squares.of(group, slot_bits),
        };
        self.groups().zip(counts).map(of).collect()
    }

    /// The values that were kept, as a column of the values' type.
    fn best(
        &self,
        feed: &Feed,
        slot: usize,
        is_least: bool,
        texts: Option<&ArrayRef>,
        slot_bits: usize,
    ) -> Result<ArrayRef> {
        let internal = || Error::internal("a device kept values of a type that it does not know");
        let (data_type, kind) = (feed.data_type().ok_or_else(internal)?, feed.kind().ok_or_else(internal)?);
        let slots = kind.slots(slot_bits);
        // The highest word came first.
        let kept = |group: &[u64]| {
            group[slot..slot + slots].iter().fold(0_u128, |wide, &part| wide << slot_bits | u128::from(part))
        };
        let words = self.groups().flat_map(|group| value(kind, kept(group), is_least)).collect::<Vec<u32>>();
        if let Some(texts) = texts {
            // Groups without values have ranks that nobody has given.
            let known = |&rank: &u32| Some(rank).filter(|&rank| (rank as usize) < texts.len());
            return Ok(take(texts, &words.iter().map(known).collect::<UInt32Array>(), None)?);
        }
        if kind == Kind::Bool {
            return Ok(Arc::new(words.iter().map(|&word| Some(word == 1)).collect::<BooleanArray>()));
        }
        column(data_type, kind, &words, None)
    }
}

/// Rows by their numbers, which rise, as they came into the stage.
pub(super) fn rows_at(pieces: &[RecordBatch], rows: &[usize]) -> Result<RecordBatch> {
    let (mut piece, mut before) = (0, 0);
    let mut places = Vec::with_capacity(rows.len());
    for &row in rows {
        while row >= before + pieces[piece].num_rows() {
            before += pieces[piece].num_rows();
            piece += 1;
        }
        places.push((piece, row - before));
    }
    Ok(interleave_record_batch(&pieces.iter().collect::<Vec<_>>(), &places)?)
}

/// The words of the value whose rank was kept; NaN if none was.
fn value(kind: Kind, kept: u128, is_least: bool) -> Vec<u32> {
    let rank = if is_least { !kept } else { kept };
    let (narrow, wide) = (rank as u32, rank as u64);
    let halves = |wide: u64| vec![wide as u32, (wide >> 32) as u32];
    match kind {
        Kind::F32 if kept == 0 => vec![f32::NAN.to_bits()],
        Kind::F64 if kept == 0 => halves(f64::NAN.to_bits()),
        Kind::F32 => vec![if narrow >> 31 == 1 { narrow ^ (1 << 31) } else { !narrow }],
        Kind::F64 => halves(if wide >> 63 == 1 { wide ^ (1 << 63) } else { !wide }),
        Kind::Signed(_) => vec![narrow ^ (1 << 31)],
        Kind::I64 => halves(wide ^ (1 << 63)),
        Kind::U64 => halves(wide),
        Kind::I128 => [halves(wide), halves((rank >> 64) as u64 ^ (1 << 63))].concat(),
        Kind::Bool | Kind::Unsigned(_) => vec![narrow],
    }
}

impl Limbs {
    /// The number in two's complement; it must fit.
    fn of<const N: usize>(self, group: &[u64], slot_bits: usize) -> Fixed<N> {
        Fixed(limbs_of(&group[self.first..self.first + self.limbs], slot_bits))
    }

    /// Whether any number of so many limbs fits `N` limbs of 64 bits.
    fn fits<const N: usize>(self, slot_bits: usize) -> bool {
        self.limbs * slot_bits <= 64 * N
    }
}

/// Slots as limbs of 64 bits, the sign spread to the highest.
fn limbs_of<const N: usize>(slots: &[u64], slot_bits: usize) -> [u64; N] {
    let negative = slots.last().is_some_and(|last| last >> (slot_bits - 1) == 1);
    let sign = if negative { u64::MAX } else { 0 };
    let mut limbs = [sign; N];
    for (place, &slot) in slots.iter().enumerate() {
        let Some(limb) = limbs.get_mut(place * slot_bits / 64) else { break };
        *limb = match (slot_bits, place % 2) {
            (64, _) => slot,
            (_, 0) => sign << 32 | slot,
            (_, _) => *limb & 0xffff_ffff | slot << 32,
        };
    }
    limbs
}

impl FloatSlots {
    fn total(&self, group: &[u64], flags: usize, slot_bits: usize) -> FloatTotal {
        let mut total = FloatTotal::default();
        for (bit, value) in [(1, f64::NAN), (2, f64::INFINITY), (4, f64::NEG_INFINITY)] {
            if group[flags] & bit != 0 {
                total.special.add(value);
            }
        }
        // 2,046 exponents, 53 digits and what many rows add fit 34 limbs, and so does every grid.
        total.finite.add_fixed(&self.sum.of::<36>(group, slot_bits), self.grid - 1);
        total
    }
}
