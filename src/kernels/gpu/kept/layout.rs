//! How what a group keeps lies in device memory, and in the host's copy of it: slots of 64 bits, whatever the tier.
//!
//! The fields are those of a batch's groups ([`GroupPlan`]), but wide enough for any number of rows, and without the first
//! row. Float sums lie last, on the grid that all batches so far have needed; a batch whose grid goes beyond it makes the
//! layout wider. Grids begin at multiples of a slot, so that the limbs of two of them are added as they are.

#![expect(clippy::cast_possible_truncation, reason = "places in a group are words of 32 bits; halves of slots")]

use super::encode;
use crate::error::Result;
use crate::kernels::cpu::reduce::absorb::Reduced;
use crate::kernels::gpu::code::Refusal;
use crate::kernels::gpu::feed::{Feed, Part, Squares, Sum};
use crate::kernels::gpu::grid::Span;
use crate::kernels::gpu::groups::{GroupPlan, ROWS};
use crate::kernels::gpu::kind::Kind;
use crate::kernels::gpu::reduction::{FloatSlots, Limbs, Reduction};

/// Bits of a slot.
pub(super) const SLOT_BITS: usize = 64;

/// Words of a slot.
const SLOT_WORDS: usize = 2;

/// The words that say what becomes of a field, as `shaders/keep_merge.wgsl` reads them.
pub(super) type Field = [u32; 6];

const ADD: u32 = 0;
const GREATEST: u32 = 1;
const FLAGS: u32 = 2;

/// Where the fields of a group lie. As in a batch, slot 1 counts rows; slot 0 would be the first row and is left out.
#[derive(Debug, Clone)]
pub(in crate::kernels::gpu) struct Layout {
    pub(super) feeds: Vec<Feed>,
    pub(super) parts: Vec<(usize, Part)>,
    pub(super) floats: Vec<FloatSlots>,
    /// Slots before those of float sums.
    fixed: usize,
    /// All slots, with the first.
    stride: usize,
}

/// Where groups to be merged lie: those of a batch on a device, or of this layout.
pub(super) struct Given<'a> {
    pub(super) feeds: &'a [Feed],
    pub(super) floats: &'a [FloatSlots],
    /// Words of a slot.
    pub(super) slot_words: usize,
    /// The slot that comes first.
    first: usize,
}

impl<'a> Given<'a> {
    /// As a device of so many bits a slot has left them.
    pub(super) fn by_device(plan: &'a GroupPlan, floats: &'a [FloatSlots], slot_bits: usize) -> Self {
        Self { feeds: &plan.feeds, floats, slot_words: slot_bits / 32, first: 0 }
    }

    /// The first word of a slot.
    pub(super) fn word(&self, slot: usize) -> u32 {
        ((slot - self.first) * self.slot_words) as u32
    }
}

impl Layout {
    /// For the groups of a plan; before there are floats.
    ///
    /// # Errors
    /// Which aggregate cannot stay on a device, in one sentence.
    pub(super) fn of(plan: &GroupPlan, names: &[&str]) -> Result<Self, Refusal> {
        let refuse = |feed: usize, what: &str| {
            let place = plan.parts.iter().position(|(of, _)| *of == feed);
            let name = place.and_then(|place| names.get(place)).copied().unwrap_or_default();
            format!("\"{name}\" {what}")
        };
        let mut stride = ROWS + 1;
        let mut take = |slots: usize| {
            stride += slots;
            stride - slots
        };
        let (mut feeds, mut floats) = (plan.feeds.clone(), Vec::new());
        for (place, feed) in feeds.iter_mut().enumerate() {
            if feed.is_ranked() {
                return Err(refuse(place, "compares texts, which never travel"));
            }
            if matches!(feed.squares, Some(Squares::Float { .. })) {
                return Err(refuse(place, "squares floats"));
            }
            if feed.seen != ROWS {
                feed.seen = take(1);
            }
            let Some(kind) = feed.kind() else { continue };
            let limbs = |words: usize| (32 * words + SLOT_BITS).div_ceil(SLOT_BITS);
            feed.sum = match feed.sum {
                Some(Sum::Whole { .. }) => {
                    let limbs = limbs(kind.words());
                    Some(Sum::Whole { first: take(limbs), limbs })
                }
                Some(Sum::Float { number, .. }) => {
                    floats.push(no_floats(number));
                    Some(Sum::Float { flags: take(1), number })
                }
                None => None,
            };
            if let Some(Squares::Whole { .. }) = feed.squares {
                let limbs = limbs(2 * kind.words());
                feed.squares = Some(Squares::Whole { first: take(limbs), limbs });
            }
            feed.min = feed.min.map(|_| take(kind.slots(SLOT_BITS)));
            feed.max = feed.max.map(|_| take(kind.slots(SLOT_BITS)));
        }
        let mut layout = Self { feeds, parts: plan.parts.clone(), floats, fixed: stride, stride };
        layout.place_floats();
        Ok(layout)
    }

    /// Words of a group.
    pub(super) fn words(&self) -> usize {
        (self.stride - ROWS) * SLOT_WORDS
    }

    /// Gives float sums their places, behind all others.
    fn place_floats(&mut self) {
        self.stride = self.fixed;
        for slots in &mut self.floats {
            let (grid, limbs) = slots.span.grid(usize::MAX, SLOT_BITS);
            let limbs = if slots.span == Span::NONE { 0 } else { limbs };
            (slots.grid, slots.sum) = (grid, Limbs { first: self.stride, limbs });
            self.stride += limbs;
        }
    }

    /// The layout that also holds floats like these, by the number of their sum; none if this one does.
    pub(super) fn widened(&self, more: &[(usize, Span)]) -> Option<Self> {
        let mut wider = self.clone();
        for slots in &mut wider.floats {
            for (_, span) in more.iter().filter(|(number, _)| *number == slots.number) {
                slots.span = slots.span.and(span.aligned(SLOT_BITS as u32));
            }
        }
        wider.place_floats();
        let lies = |slots: &FloatSlots| (slots.grid, slots.sum.limbs);
        let is_same = wider.floats.iter().zip(&self.floats).all(|(wider, slots)| lies(wider) == lies(slots));
        (!is_same).then_some(wider)
    }

    /// The words of groups of this layout in a wider one.
    pub(super) fn moved(&self, words: &[u32], wider: &Self) -> Vec<u32> {
        let (old, new) = (self.words(), wider.words());
        let fixed = (self.fixed - ROWS) * SLOT_WORDS;
        let mut moved = vec![0; words.len() / old * new];
        for (from, to) in words.chunks_exact(old).zip(moved.chunks_exact_mut(new)) {
            to[..fixed].copy_from_slice(&from[..fixed]);
            for (slots, wide) in self.floats.iter().zip(&wider.floats).filter(|(slots, _)| slots.sum.limbs > 0) {
                let range = |limbs: Limbs| {
                    let first = (limbs.first - ROWS) * SLOT_WORDS;
                    first..first + limbs.limbs * SLOT_WORDS
                };
                let (limbs, to) = (&from[range(slots.sum)], &mut to[range(wide.sum)]);
                let above = if limbs[limbs.len() - 1] >> 31 == 1 { u32::MAX } else { 0 };
                let shift = (slots.grid - wide.grid) as usize / 32;
                to[shift..].fill(above);
                to[shift..shift + limbs.len()].copy_from_slice(limbs);
            }
        }
        moved
    }

    /// This layout as one that groups come in.
    pub(super) fn as_given(&self) -> Given<'_> {
        Given { feeds: &self.feeds, floats: &self.floats, slot_words: SLOT_WORDS, first: ROWS }
    }

    /// What becomes of each field of groups that lie like this.
    pub(super) fn fields(&self, given: &Given<'_>) -> Vec<Field> {
        let kept = self.as_given();
        let words = given.slot_words;
        let count = |from: usize, to: usize| [ADD, given.word(from), words as u32, kept.word(to), SLOT_WORDS as u32, 0];
        let sum = |from: Limbs, to: Limbs| {
            let sizes = ((from.limbs * words) as u32, (to.limbs * SLOT_WORDS) as u32);
            [ADD, given.word(from.first), sizes.0, kept.word(to.first), sizes.1, 1]
        };
        let mut fields = vec![count(ROWS, ROWS)];
        for (from, to) in given.feeds.iter().zip(&self.feeds) {
            if to.seen != ROWS {
                fields.push(count(from.seen, to.seen));
            }
            match (from.sum, to.sum) {
                (Some(Sum::Whole { first, limbs }), Some(Sum::Whole { first: kept, limbs: of_kept })) => {
                    fields.push(sum(Limbs { first, limbs }, Limbs { first: kept, limbs: of_kept }));
                }
                (Some(Sum::Float { flags, number }), Some(Sum::Float { flags: to, .. })) => {
                    fields.push([FLAGS, given.word(flags), 1, kept.word(to), 1, 0]);
                    let find = |all: &[FloatSlots]| all.iter().find(|slots| slots.number == number).copied();
                    if let (Some(from), Some(to)) = (find(given.floats), find(&self.floats))
                        && from.span != Span::NONE
                    {
                        let shift = (from.grid - to.grid) / 32;
                        let [what, first, size, to, most, sign] = sum(from.sum, to.sum);
                        fields.push([what, first, size, to + shift, most - shift, sign]);
                    }
                }
                _ => {}
            }
            if let (Some(Squares::Whole { first, limbs }), Some(Squares::Whole { first: to, limbs: of_kept })) =
                (from.squares, to.squares)
            {
                fields.push(sum(Limbs { first, limbs }, Limbs { first: to, limbs: of_kept }));
            }
            let Some(kind) = to.kind() else { continue };
            let size = |slot_words: usize| (kind.slots(32 * slot_words) * slot_words) as u32;
            for (from, to) in [(from.min, to.min), (from.max, to.max)] {
                if let (Some(from), Some(to)) = (from, to) {
                    let sizes = (size(words), size(SLOT_WORDS));
                    fields.push([GREATEST, given.word(from), sizes.0, kept.word(to), sizes.1, words as u32]);
                }
            }
        }
        fields
    }

    /// What groups with these words hold, as the CPU goes on with it.
    pub(super) fn reduced(&self, words: &[u32]) -> Result<Reduced> {
        let mut slots = Vec::with_capacity(words.len() / self.words() * self.stride);
        for group in words.chunks_exact(self.words()) {
            // The first row, which is not kept.
            slots.resize(slots.len() + ROWS, 0);
            slots.extend(group.chunks_exact(SLOT_WORDS).map(|pair| u64::from(pair[1]) << 32 | u64::from(pair[0])));
        }
        Reduction::of_slots(slots, self.stride, self.floats.clone()).reduced(&self.feeds, &self.parts, SLOT_BITS)
    }

    /// The words of groups that the CPU holds; the layout is wide enough for their floats.
    pub(super) fn encode(&self, reduced: &Reduced) -> Result<Vec<u32>> {
        let mut words = vec![0; reduced.rows.len() * self.words()];
        let mut groups = words.chunks_exact_mut(self.words().max(1)).map(Slots).collect::<Vec<_>>();
        encode::write(self, reduced, &mut groups)?;
        Ok(words)
    }
}

/// The words of a group, to be written slot by slot.
pub(super) struct Slots<'a>(&'a mut [u32]);

impl Slots<'_> {
    pub(super) fn get(&self, slot: usize) -> u64 {
        let at = (slot - ROWS) * SLOT_WORDS;
        u64::from(self.0[at + 1]) << 32 | u64::from(self.0[at])
    }

    pub(super) fn set(&mut self, slot: usize, value: u64) {
        let at = (slot - ROWS) * SLOT_WORDS;
        (self.0[at], self.0[at + 1]) = (value as u32, (value >> 32) as u32);
    }
}

/// The place of a float sum before there are floats.
fn no_floats(number: usize) -> FloatSlots {
    FloatSlots { number, span: Span::NONE, grid: 1, sum: Limbs { first: 0, limbs: 0 }, squares: None }
}

/// How many slots a value of a kind takes.
pub(super) fn slots_of(kind: Kind) -> usize {
    kind.slots(SLOT_BITS)
}
