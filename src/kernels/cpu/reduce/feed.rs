//! Some values under some filter, and the lanes that they feed.

use std::ops::Range;

use arrow_array::ArrayRef;
use arrow_buffer::BooleanBuffer;

use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;

use super::few::Sums;
use super::lane_least::LaneLeast;
use super::lane_ordered::LaneOrdered;
#[cfg(target_arch = "x86_64")]
use super::lane_sum::Source;
use super::lane_sum::{Fed, LaneSum};
use super::lanes::{Lanes, ROWS};
use super::state::{Ids, needed};
use crate::error::Result;
use crate::kernels::cpu::simd;

/// Rows of a word of a selection.
const WORD_ROWS: usize = u64::BITS as usize;

/// What of the same values under the same filter is kept in lanes.
pub(super) struct Feed {
    /// The first aggregate that asked for it: whose input and filter are taken.
    pub(super) place: usize,
    /// The sum, and the first of its lanes.
    pub(super) sum: Option<(Box<dyn LaneSum>, usize)>,
    /// The ordered sum, and its lane.
    pub(super) ordered: Option<(Box<dyn LaneOrdered>, usize)>,
    pub(super) min: Option<(Box<dyn LaneLeast>, usize)>,
    pub(super) max: Option<(Box<dyn LaneLeast>, usize)>,
    /// Whether there can be rows that do not count.
    pub(super) can_miss: bool,
    /// The lane of the rows that do not count, once there have been some.
    pub(super) missed: Option<usize>,
    /// Whether rows of the present batch do not count.
    misses_rows: bool,
    /// Whether the values of the rows worked on go to the sum's lanes as they lie.
    is_plain: bool,
    /// A bit for each row of such a batch, set if it counts.
    selection: Vec<u64>,
    /// Of the rows worked on: all bits set for each that counts, none for another.
    keep: Vec<[i64; WORD_ROWS]>,
    /// Of the rows worked on: one for each that does not count.
    misses: Vec<[i64; WORD_ROWS]>,
    /// Of rows of a few groups, until all of their sums are known.
    pub(super) sums: Option<Sums>,
    /// The same of the ordered sum of a single group: what it will be with these rows.
    pub(super) ordered_sum: f64,
}

impl Feed {
    pub(super) fn new(place: usize) -> Self {
        Self {
            place,
            sum: None,
            ordered: None,
            min: None,
            max: None,
            can_miss: false,
            missed: None,
            misses_rows: false,
            is_plain: false,
            selection: Vec::new(),
            keep: Vec::new(),
            misses: Vec::new(),
            sums: None,
            ordered_sum: 0.0,
        }
    }

    /// The values of the next batch, and which of them count.
    pub(super) fn start(&mut self, input: Option<&ArrayRef>, selection: Option<BooleanBuffer>) -> Result<()> {
        if let Some((sum, _)) = &mut self.sum {
            sum.start(needed(input)?)?;
        }
        if let Some((ordered, _)) = &mut self.ordered {
            ordered.start(needed(input)?)?;
        }
        for (least, _) in self.min.iter_mut().chain(&mut self.max) {
            least.start(needed(input)?)?;
        }
        self.misses_rows = selection.is_some();
        if let Some(selection) = selection {
            let words = selection.len().div_ceil(WORD_ROWS);
            self.selection.clear();
            self.selection.extend(selection.bit_chunks().iter_padded().take(words));
            self.keep.resize(ROWS / WORD_ROWS, [0; WORD_ROWS]);
            self.misses.resize(ROWS / WORD_ROWS, [0; WORD_ROWS]);
        }
        Ok(())
    }

    /// Forgets all groups and the batch, but keeps the memory.
    pub(super) fn clear(&mut self) {
        if let Some((sum, _)) = &mut self.sum {
            sum.clear();
        }
        if let Some((ordered, _)) = &mut self.ordered {
            ordered.clear();
        }
        for (least, _) in self.min.iter_mut().chain(&mut self.max) {
            least.clear();
        }
        self.misses_rows = false;
    }

    /// Whether rows of the present batch do not count.
    pub(super) fn misses_rows(&self) -> bool {
        self.misses_rows
    }

    /// Computes the numbers for up to [`ROWS`] rows from row `from` of the batch on, which is a multiple of 64. Those of the sum are
    /// left where they are if they can be added as they lie, and `may_be_plain`.
    pub(super) fn work(&mut self, ids: Ids<'_>, from: usize, rows: usize, lanes: &mut Lanes, may_be_plain: bool) {
        self.is_plain = may_be_plain && !self.misses_rows && self.has_room_for_plain(from..from + rows, lanes);
        let keep = if self.misses_rows {
            let words = &self.selection[from / WORD_ROWS..][..rows.div_ceil(WORD_ROWS)];
            dispatch!(simd::level(), simd => expand(simd, words, &mut self.keep, &mut self.misses));
            Some(&self.keep.as_flattened()[..rows])
        } else {
            None
        };
        if let Some((sum, first)) = self.sum.as_mut().filter(|_| !self.is_plain) {
            sum.feed(&Fed { rows: from..from + rows, ids, keep }, lanes, *first);
        }
        if let Some((ordered, _)) = &mut self.ordered {
            ordered.feed(from..from + rows, keep);
        }
        for (least, _) in self.min.iter_mut().chain(&mut self.max) {
            least.feed(from..from + rows, keep);
        }
    }

    /// Makes room in the lanes for values as they lie; false if they cannot be added so.
    fn has_room_for_plain(&mut self, rows: Range<usize>, lanes: &mut Lanes) -> bool {
        let Some((sum, first)) = &mut self.sum else { return false };
        let Some(bound) = sum.plain(rows.clone()).map(|source| source.bound(rows.len())) else { return false };
        sum.make_room(bound, lanes, *first);
        true
    }

    /// Whether the values of the rows worked on are to be added as they lie.
    pub(super) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// Those of the rows worked on that were to be added as they lie have been; if not, their numbers are computed.
    pub(super) fn settle_plain(&mut self, are_added: bool, ids: Ids<'_>, rows: Range<usize>, lanes: &mut Lanes) {
        if let Some((sum, first)) = self.sum.as_mut().filter(|_| self.is_plain) {
            if are_added {
                sum.took_plain(rows.len());
            } else {
                sum.feed(&Fed { rows, ids, keep: None }, lanes, *first);
            }
        }
        self.is_plain = false;
    }

    /// What the lanes of the sum get from the rows worked on.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn sources(&self, rows: Range<usize>) -> impl Iterator<Item = Source<'_>> {
        let plain = self.sum.as_ref().filter(|_| self.is_plain).and_then(|(sum, _)| sum.plain(rows.clone()));
        let made = self.sums(rows).map(|numbers| Source::Wholes(numbers, u64::MAX));
        plain.into_iter().chain(made.filter(move |_| plain.is_none()))
    }

    /// The numbers of the rows worked on, for the lanes that keep the least.
    pub(super) fn leasts(&self) -> impl Iterator<Item = &[i64]> + Clone {
        self.min.iter().chain(&self.max).map(|(least, _)| least.numbers())
    }

    /// The numbers of the `rows` worked on, for the lane of the ordered sum.
    pub(super) fn floats(&self, rows: Range<usize>) -> Option<&[i64]> {
        self.ordered.as_ref().map(|(ordered, _)| ordered.numbers(rows))
    }

    /// The numbers of the `rows` worked on, for the lanes of the sum.
    pub(super) fn sums(&self, rows: Range<usize>) -> impl Iterator<Item = &[i64]> {
        self.sum.iter().flat_map(move |(sum, _)| {
            let rows = rows.clone();
            (0..sum.lanes()).map(move |lane| sum.numbers(lane, rows.clone()))
        })
    }

    /// The numbers of the rows worked on, for the lane of rows that do not count, if there is one: `none` if all count.
    pub(super) fn misses<'a>(&'a self, none: &'a [i64]) -> Option<&'a [i64]> {
        self.missed.map(|_| if self.misses_rows { self.misses.as_flattened() } else { none })
    }
}

/// For each bit: all bits set if it is, and one if it is not.
#[simd]
fn expand<S: Simd>(_: S, words: &[u64], keep: &mut [[i64; WORD_ROWS]], misses: &mut [[i64; WORD_ROWS]]) {
    for ((word, keep), misses) in words.iter().zip(keep).zip(misses) {
        // Arrays of a fixed size: compilers turn their loops into shifts of whole vectors.
        for (bit, (keep, miss)) in keep.iter_mut().zip(misses).enumerate() {
            let counts = ((word >> bit) & 1).cast_signed();
            (*keep, *miss) = (-counts, 1 - counts);
        }
    }
}
