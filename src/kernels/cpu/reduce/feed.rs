//! Some values under some filter, and the lanes that they feed.

use std::ops::Range;

use arrow_array::ArrayRef;
use arrow_buffer::BooleanBuffer;

use super::lane_least::LaneLeast;
use super::lane_sum::{Fed, LaneSum};
use super::lanes::Lanes;
use super::state::{Ids, needed};
use crate::error::Result;

/// What of the same values under the same filter is kept in lanes.
pub(super) struct Feed {
    /// The first aggregate that asked for it: whose input and filter are taken.
    pub(super) place: usize,
    /// The sum, and the first of its lanes.
    pub(super) sum: Option<(Box<dyn LaneSum>, usize)>,
    pub(super) min: Option<(Box<dyn LaneLeast>, usize)>,
    pub(super) max: Option<(Box<dyn LaneLeast>, usize)>,
    /// The lane of the rows that do not count, if there can be some.
    pub(super) missed: Option<usize>,
    /// The rows of the present batch that count; all if none.
    selection: Option<BooleanBuffer>,
    /// Of the rows worked on: all bits set for each that counts, none for another.
    keep: Vec<i64>,
    /// Of the rows worked on: one for each that does not count.
    misses: Vec<i64>,
}

impl Feed {
    pub(super) fn new(place: usize) -> Self {
        Self {
            place,
            sum: None,
            min: None,
            max: None,
            missed: None,
            selection: None,
            keep: Vec::new(),
            misses: Vec::new(),
        }
    }

    /// The values of the next batch, and which of them count.
    pub(super) fn start(&mut self, input: Option<&ArrayRef>, selection: Option<BooleanBuffer>) -> Result<()> {
        if let Some((sum, _)) = &mut self.sum {
            sum.start(needed(input)?)?;
        }
        for (least, _) in self.min.iter_mut().chain(&mut self.max) {
            least.start(needed(input)?)?;
        }
        self.selection = selection;
        Ok(())
    }

    /// Forgets all groups and the batch, but keeps the memory.
    pub(super) fn clear(&mut self) {
        if let Some((sum, _)) = &mut self.sum {
            sum.clear();
        }
        for (least, _) in self.min.iter_mut().chain(&mut self.max) {
            least.clear();
        }
        self.selection = None;
    }

    /// Whether rows of the present batch do not count.
    pub(super) fn misses_rows(&self) -> bool {
        self.selection.is_some()
    }

    /// Computes the numbers for up to [`ROWS`](super::lanes::ROWS) rows from row `from` of the batch on.
    pub(super) fn work(&mut self, ids: Ids<'_>, from: usize, rows: usize, lanes: &mut Lanes) {
        let keep = match &self.selection {
            None => None,
            Some(selection) => {
                expand(&selection.slice(from, rows), &mut self.keep);
                self.misses.clear();
                self.misses.extend(self.keep.iter().map(|keep| keep + 1));
                Some(&self.keep[..rows])
            }
        };
        if let Some((sum, first)) = &mut self.sum {
            sum.feed(&Fed { rows: from..from + rows, ids, keep }, lanes, *first);
        }
        for (least, _) in self.min.iter_mut().chain(&mut self.max) {
            least.feed(from..from + rows, keep);
        }
    }

    /// The numbers of the rows worked on, for the lanes that keep the least.
    pub(super) fn leasts(&self) -> impl Iterator<Item = &[i64]> {
        self.min.iter().chain(&self.max).map(|(least, _)| least.numbers())
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
        self.missed.map(|_| if self.selection.is_some() { &self.misses[..] } else { none })
    }
}

/// All bits set for each bit that is set.
fn expand(bits: &BooleanBuffer, masks: &mut Vec<i64>) {
    masks.clear();
    for word in bits.bit_chunks().iter_padded() {
        masks.extend((0..64).map(|bit| ((word >> bit) & 1).cast_signed().wrapping_neg()));
    }
}
