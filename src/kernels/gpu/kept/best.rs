//! The best groups of those that are kept, picked on the device, where the reader of a stage takes no others
//! (`plan/best.rs`): which value they are ranked by, what the shaders are asked, and what comes back.
//!
//! Ranks are no finer than the order of what comes out, so that ties are in, and the host's sort tells them apart as ever.
//! If a total could be out of range, or too many groups are equal, nothing is picked and all groups come back.

#![expect(clippy::cast_possible_truncation, reason = "numbers of groups and places in buffers are words of 32 bits")]

use super::layout::{Layout, SLOT_BITS};
use crate::columnar::DataType;
use crate::expr::{AggregateFunction, TypedAggregate};
use crate::kernels::gpu::code::Refusal;
use crate::kernels::gpu::feed::{Part, Sum};
use crate::kernels::gpu::groups::ROWS;
use crate::kernels::gpu::kind::Kind;
use crate::kernels::gpu::shader::{Operation, Shader};
use crate::plan::keep::{Best, Keep};

/// Groups that are picked at most: what is more had better come back as a whole.
const ROWS_MAX: usize = 1 << 16;

/// Groups beyond those that are wanted for which there is room at least: they are equal, or nearly so.
const TIES: usize = 256;

/// Words of `found` before those of groups, as `shaders/best.wgsl` lays them.
const FOUND_WORDS: usize = 264;

/// The places in `found` that the host looks at.
const PICKED: usize = 5;
const UNSURE: usize = 6;

/// Passes that settle all digits of a rank.
pub(super) const DIGITS: usize = 8;

/// What a value is, as `shaders/best_rank.wgsl` knows it.
const COUNT: u32 = 0;
const WHOLE: u32 = 1;
const FLOAT: u32 = 2;
const EXTREME: u32 = 3;

/// The value is never null.
const NEVER_NULL: u32 = u32::MAX;

/// How far the rank of a float sum may lie from that of the rounded one: by rounding, and by the complement.
const FLOAT_ERROR: u32 = 2;

/// The bit of a float sum from which on it is infinite, in units of the lowest exponent of all.
const INFINITE: u32 = 2099;

/// How the best groups are picked.
#[derive(Debug, Clone)]
pub(in crate::kernels::gpu) struct BestPlan {
    best: Best,
    /// The feed whose value ranks groups, and what of it.
    by: (usize, Part),
    /// Feeds whose sums must fit so many bits.
    sums: Vec<(usize, u32)>,
    pub(super) rank: Shader,
    pub(super) digit: Shader,
    pub(super) bound: Shader,
    pub(super) pick: Shader,
}

/// What is asked of the shaders.
pub(super) struct Question {
    /// Before the list of groups.
    pub(super) head: Vec<u32>,
    /// How many groups there are to choose from.
    pub(super) items: usize,
    /// How many there is room for.
    pub(super) room: usize,
    /// Words of a group.
    words: usize,
}

/// Groups that were picked, in their order: their places among those that there were to choose from, and their words.
#[derive(Debug, Clone, Default)]
pub(super) struct Picked {
    pub(super) places: Vec<u32>,
    pub(super) words: Vec<u32>,
}

impl BestPlan {
    /// For what is taken of the groups of a stage; none if all are.
    ///
    /// # Errors
    /// Why they are not picked on a device, in one sentence.
    pub(super) fn of(keep: &Keep, layout: &Layout) -> Option<Result<Self, Refusal>> {
        let best = keep.best?;
        Some(Self::by(best, keep, layout))
    }

    fn by(best: Best, keep: &Keep, layout: &Layout) -> Result<Self, Refusal> {
        if best.rows > ROWS_MAX {
            return Err(format!("more than {ROWS_MAX} are asked for"));
        }
        let place = best.column.checked_sub(keep.keys.len()).filter(|_| !keep.keys.is_empty());
        let place = place.ok_or_else(|| "they are ordered by a key, which the host has".to_owned())?;
        let by = *layout.parts.get(place).ok_or_else(|| "their order is not known".to_owned())?;
        let aggregate = &keep.aggregates[place];
        match (by.1, &aggregate.function) {
            (Part::Count | Part::Min | Part::Max, _) | (Part::Total, AggregateFunction::Sum) => {}
            (_, function) => {
                return Err(format!("\"{}\" is a {}, which the host makes", aggregate.name, function.name()));
            }
        }
        let mut sums = Vec::new();
        for (&(feed, part), aggregate) in layout.parts.iter().zip(&keep.aggregates) {
            if part == Part::Total
                && aggregate.function == AggregateFunction::Sum
                && matches!(layout.feeds[feed].sum, Some(Sum::Whole { .. }))
            {
                sums.push((feed, bits_of(aggregate)));
            }
        }
        let shader =
            |operation, bindings: &[u32]| Shader { operation, bindings: bindings.to_vec(), ..Shader::default() };
        Ok(Self {
            best,
            by,
            sums,
            rank: shader(Operation::BestRank, &[3, 5, 6]),
            digit: shader(Operation::BestDigit, &[3, 5]),
            bound: shader(Operation::BestBound, &[5]),
            pick: shader(Operation::BestPick, &[3, 5, 6]),
        })
    }

    pub(super) fn shaders(&mut self) -> [&mut Shader; 4] {
        [&mut self.rank, &mut self.digit, &mut self.bound, &mut self.pick]
    }

    /// What to ask of so many groups of this layout, which are the first ones or those of a list behind the question.
    pub(super) fn ask(&self, layout: &Layout, items: usize, is_listed: bool) -> Question {
        let wanted = self.best.rows.min(items);
        let room = (self.best.rows + self.best.rows.max(TIES)).min(items);
        let given = layout.as_given();
        let word = |slot: usize| given.word(slot);
        let feed = &layout.feeds[self.by.0];
        let (what, first, words, more) = match (self.by.1, feed.sum) {
            (Part::Total, Some(Sum::Whole { first, limbs })) => (WHOLE, first, 2 * limbs, [0, 0]),
            (Part::Total, Some(Sum::Float { flags, number })) => {
                let slots = layout.floats.iter().find(|slots| slots.number == number);
                let (first, limbs, grid) =
                    slots.map_or((ROWS, 0, 1), |slots| (slots.sum.first, slots.sum.limbs, slots.grid));
                (FLOAT, first, 2 * limbs, [word(flags), INFINITE.saturating_sub(grid)])
            }
            (Part::Min, _) => extreme(feed.min, feed.kind(), true),
            (Part::Max, _) => extreme(feed.max, feed.kind(), false),
            _ => (COUNT, feed.seen, 2, [0, 0]),
        };
        let seen = if what == COUNT || feed.seen == ROWS { NEVER_NULL } else { word(feed.seen) };
        let error = if what == FLOAT { FLOAT_ERROR } else { 0 };
        let Best { descending, nulls_first, .. } = self.best;
        let mut head = vec![items as u32, layout.words() as u32, 0, wanted as u32, room as u32];
        head.extend([what, word(first), words as u32, seen, more[0], more[1]]);
        head.extend([u32::from(!descending), u32::from(nulls_first), error, self.sums.len() as u32]);
        for &(feed, bits) in &self.sums {
            if let Some(Sum::Whole { first, limbs }) = layout.feeds[feed].sum {
                head.extend([word(first), 2 * limbs as u32, bits]);
            }
        }
        if is_listed {
            head[2] = head.len() as u32;
        }
        Question { head, items, room, words: layout.words() }
    }
}

/// What, first slot, words, and what else there is to know of an extreme.
fn extreme(slot: Option<usize>, kind: Option<Kind>, is_least: bool) -> (u32, usize, usize, [u32; 2]) {
    let float = match kind {
        Some(Kind::F32) => 1,
        Some(Kind::F64) => 2,
        _ => 0,
    };
    let words = kind.map_or(1, Kind::words);
    (EXTREME, slot.unwrap_or(ROWS), words, [u32::from(is_least), float])
}

/// Bits, with the sign, that a sum may take and fits its type for certain.
fn bits_of(aggregate: &TypedAggregate) -> u32 {
    match &aggregate.data_type {
        // Below 2^126 there are at most 38 digits.
        DataType::Decimal128(..) => 127,
        _ => SLOT_BITS as u32,
    }
}

impl Question {
    /// Whether there is room for all groups, so that their ranks do not matter.
    pub(super) fn takes_all(&self) -> bool {
        self.room == self.items
    }

    /// Bytes of `found`, and how many of them are zero at first.
    pub(super) fn found_bytes(&self) -> (u64, u64) {
        let words = FOUND_WORDS + self.room * (self.words + 1);
        (4 * words as u64, 4 * FOUND_WORDS as u64)
    }

    /// What was found; none if all groups have to come back.
    pub(super) fn answer(&self, found: &[u32]) -> Option<Picked> {
        let picked = *found.get(PICKED)? as usize;
        if picked > self.room || found[UNSURE] != 0 {
            return None;
        }
        let groups = found[FOUND_WORDS..].chunks_exact(self.words + 1).take(picked);
        let mut groups = groups.filter_map(<[u32]>::split_first).collect::<Vec<_>>();
        groups.sort_unstable_by_key(|(place, _)| **place);
        let places = groups.iter().map(|(place, _)| **place).collect();
        Some(Picked { places, words: groups.into_iter().flat_map(|(_, words)| words).copied().collect() })
    }
}
