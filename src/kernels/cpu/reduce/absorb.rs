//! What a device has reduced goes on here: its groups become groups of the CPU's, exactly.
//!
//! A device hands over a row a group: how many rows it had, and for each aggregate how many values and their exact total
//! their moments, or their best. Those that do not live in lanes take them in as they would take in rows of these values.

use std::ops::Range;

use arrow_array::{ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use arrow_select::filter::filter;

use super::Groups;
use super::lane_least::LaneLeast;
use super::lane_sum::Wide;
use super::lanes::{Lanes, ROWS};
use super::state::{Ids, Rows, State};
use crate::error::{Error, Result};
use crate::kernels::exact_sum::{F64_LIMBS, F64_SQUARE_LIMBS, FloatTotal, Moments};

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
    /// For variances and standard deviations.
    pub(crate) moments: Option<MadeMoments>,
    /// For minima and maxima: of the type of the values, whatever it is for groups without any.
    pub(crate) best: Option<ArrayRef>,
}

/// Counts, exact sums and sums of squares, one a group.
pub(crate) enum MadeMoments {
    /// Of whole numbers and decimals.
    Whole(Vec<Moments<3, 6>>),
    /// Of floats: how many were not finite, and the others in units of the lowest exponent.
    Float {
        /// The lowest and the highest biased exponent; none if all are zero.
        ends: Option<(u32, u32)>,
        spread: FloatSpread,
        odd: Vec<i64>,
    },
}

/// Moments of floats, as wide as they need to be.
pub(crate) enum FloatSpread {
    Narrow(Vec<Moments<2, 4>>),
    Wide(Vec<Moments<F64_LIMBS, F64_SQUARE_LIMBS>>),
}

/// Exact totals, one a group.
pub(crate) enum Totals {
    /// Of whole numbers and decimals.
    Whole(Vec<Wide>),
    /// Of floats.
    Float(Vec<FloatTotal>),
}

impl Reduced {
    /// Leaves the other groups out.
    pub(crate) fn keep_only(&mut self, kept: &BooleanArray) -> Result<()> {
        let kept_of = kept.values();
        retain(&mut self.rows, kept_of);
        for made in &mut self.parts {
            retain(&mut made.seen, kept_of);
            match &mut made.totals {
                Some(Totals::Whole(totals)) => retain(totals, kept_of),
                Some(Totals::Float(totals)) => retain(totals, kept_of),
                None => {}
            }
            match &mut made.moments {
                Some(MadeMoments::Whole(moments)) => retain(moments, kept_of),
                Some(MadeMoments::Float { spread, odd, .. }) => {
                    retain(odd, kept_of);
                    match spread {
                        FloatSpread::Narrow(moments) => retain(moments, kept_of),
                        FloatSpread::Wide(moments) => retain(moments, kept_of),
                    }
                }
                None => {}
            }
            if let Some(best) = &mut made.best {
                *best = filter(best, kept)?;
            }
        }
        Ok(())
    }
}

fn retain<T>(values: &mut Vec<T>, kept: &BooleanBuffer) {
    let mut kept = kept.iter();
    values.retain(|_| kept.next().unwrap_or(false));
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
        if reduced.parts.len() != self.states.len() {
            return Err(foreign_totals());
        }
        let groups = self.len();
        for (state, made) in self.states.iter_mut().zip(&reduced.parts) {
            if let Some(state) = state {
                absorb_state(&mut **state, made, &to, groups)?;
            }
        }
        self.laned.absorb(&to, groups, reduced)
    }
}

/// The best value of each group counts as a row of it; moments are added.
fn absorb_state(state: &mut dyn State, made: &Made, to: &[u32], groups: usize) -> Result<()> {
    match (&made.best, &made.moments) {
        (Some(best), None) => {
            let seen = BooleanBuffer::collect_bool(to.len(), |group| made.seen[group] > 0);
            let selection = Some(seen).filter(|seen| seen.count_set_bits() < to.len());
            state.update(&Rows { ids: Ids::Each(to), len: to.len(), groups, selection }, Some(best))
        }
        (None, Some(moments)) => state.absorb(to, groups, moments),
        _ => Err(foreign_totals()),
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
