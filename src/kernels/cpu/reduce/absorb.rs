//! What a device has reduced goes on here: its groups become groups of the CPU's, exactly.
//!
//! A device hands over a row a group: how many rows it had, and for each aggregate how many values and their exact total
//! or their best. Aggregates that do not live in lanes are none of its business.

use std::ops::Range;

use arrow_array::ArrayRef;

use super::Groups;
use super::lane_least::LaneLeast;
use super::lane_sum::Wide;
use super::lanes::{Lanes, ROWS};
use crate::error::{Error, Result};
use crate::kernels::exact_sum::FloatTotal;

/// Groups that were made elsewhere, in the order of their first rows.
pub(crate) struct Reduced {
    /// How many rows each has.
    pub(crate) rows: Vec<i64>,
    /// What is known for each aggregate of the reduce.
    pub(crate) parts: Vec<Made>,
}

/// What was made of the values of an aggregate, a row a group.
#[derive(Default)]
pub(crate) struct Made {
    /// How many values counted.
    pub(crate) seen: Vec<i64>,
    /// For sums and means.
    pub(crate) totals: Option<Totals>,
    /// For minima and maxima: of the type of the values, whatever it is for groups without any.
    pub(crate) best: Option<ArrayRef>,
}

/// Exact totals, one a group.
pub(crate) enum Totals {
    /// Of whole numbers and decimals.
    Whole(Vec<Wide>),
    /// Of floats.
    Float(Vec<FloatTotal>),
}

pub(super) fn foreign_totals() -> Error {
    Error::internal("a device made other totals than its aggregates need")
}

impl Groups {
    /// Takes in what was reduced elsewhere; `keys` has a row for each of its groups.
    ///
    /// # Errors
    /// `Unsupported` when there are more groups than ids; `Internal` for an aggregate that a device cannot make.
    pub(crate) fn absorb(&mut self, keys: &[ArrayRef], reduced: &Reduced) -> Result<()> {
        self.settle()?;
        let mut to = Vec::new();
        if keys.is_empty() {
            to.resize(reduced.rows.len(), 0);
        } else {
            self.ids.assign(keys, &mut to)?;
        }
        let lengths = reduced.parts.iter().map(|made| made.seen.len());
        if to.len() != reduced.rows.len() || lengths.into_iter().any(|len| len != to.len()) {
            return Err(Error::internal("a device handed over groups of different lengths"));
        }
        if self.states.iter().any(Option::is_some) || reduced.parts.len() != self.states.len() {
            return Err(foreign_totals());
        }
        let groups = self.len();
        self.laned.absorb(&to, groups, reduced)
    }
}

/// Offers the best value of each group to its lane.
pub(super) fn absorb_least(
    least: &mut dyn LaneLeast,
    made: &Made,
    to: &[u32],
    lanes: &mut Lanes,
    lane: usize,
) -> Result<()> {
    least.start(made.best.as_ref().ok_or_else(foreign_totals)?)?;
    for from in (0..to.len()).step_by(ROWS) {
        let rows: Range<usize> = from..to.len().min(from + ROWS);
        let keep: Vec<i64> = made.seen[rows.clone()].iter().map(|&seen| if seen > 0 { -1 } else { 0 }).collect();
        least.feed(rows.clone(), Some(&keep));
        for (&group, &number) in to[rows].iter().zip(least.numbers()) {
            lanes.offer(group as usize, lane, number);
        }
    }
    Ok(())
}
