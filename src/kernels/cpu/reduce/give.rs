//! Groups of the CPU's for a device, exactly: the other way round of [`absorb`](super::absorb).

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::Groups;
use super::absorb::{Made, MadeMoments, Reduced, Totals, foreign_totals};
use super::lane_sum::{Total, Wide};
use super::laned::{Laned, What, values};
use super::state::State;
use super::stored_moments;
use crate::error::Result;
use crate::expr::{AggregateFunction, TypedAggregate};
use crate::kernels::exact_sum::{F64_GRID, FloatTotal, Moments};

impl Groups {
    /// What the groups hold, a row a group; they are settled. Where nobody counts rows or values, 1 stands for some.
    ///
    /// # Errors
    /// `Internal` for an aggregate that a device cannot make.
    pub(crate) fn reduced(&self) -> Result<Reduced> {
        let (groups, aggregates) = (self.len(), &self.prepared.aggregates);
        let parts = self.states.iter().zip(aggregates).enumerate().map(|(place, (state, aggregate))| match state {
            Some(state) => give_state(&**state, aggregate),
            None => self.laned.give(place, aggregate, groups),
        });
        let some = i64::from(!self.prepared.keys.is_empty());
        let rows = self.laned.rows.map_or_else(
            || vec![some; groups],
            |lane| (0..groups).map(|group| self.laned.lanes.sum(group, lane)).collect(),
        );
        Ok(Reduced { rows, parts: parts.collect::<Result<_>>()? })
    }
}

/// Of states only those that a device can make are asked.
fn give_state(state: &dyn State, aggregate: &TypedAggregate) -> Result<Made> {
    let stored = state.store()?;
    match &aggregate.function {
        AggregateFunction::Variance(_) | AggregateFunction::StdDev(_) => {
            let moments = moments(&stored)?;
            let seen = moments.iter().map(|moments| moments.count.cast_signed()).collect();
            Ok(Made { seen, moments: Some(MadeMoments::Whole(moments)), ..Made::default() })
        }
        AggregateFunction::Min | AggregateFunction::Max | AggregateFunction::Any | AggregateFunction::All => {
            let seen = (0..stored.len()).map(|group| i64::from(stored.is_valid(group))).collect();
            Ok(Made { seen, best: Some(stored), ..Made::default() })
        }
        _ => Err(foreign_totals()),
    }
}

/// Moments of whole numbers, of whatever width.
fn moments(stored: &ArrayRef) -> Result<Vec<Moments<3, 6>>> {
    fn wide<const L: usize, const M: usize>(moments: &[Moments<L, M>]) -> Vec<Moments<3, 6>> {
        let widened = |moments: &Moments<L, M>| {
            let mut wide = Moments::default();
            wide.add_moments(moments, 0);
            wide
        };
        moments.iter().map(widened).collect()
    }
    match stored.data_type() {
        DataType::FixedSizeBinary(width) if *width == stored_moments::width::<3, 6>() => {
            stored_moments::whole::<3, 6>(stored)
        }
        DataType::FixedSizeBinary(_) => Ok(wide(&stored_moments::whole::<2, 4>(stored)?)),
        _ => Err(foreign_totals()),
    }
}

impl Laned {
    fn give(&self, place: usize, aggregate: &TypedAggregate, groups: usize) -> Result<Made> {
        let part = self.parts[place].ok_or_else(foreign_totals)?;
        let feed = &self.feeds[part.feed];
        let seen = self.counts(feed, groups).unwrap_or_else(|| vec![1; groups]);
        let input = aggregate.input.as_ref().map_or(&aggregate.data_type, |input| values(&input.data_type));
        let mut made = Made::default();
        match (part.what, &feed.sum, &feed.min, &feed.max) {
            (What::Count, ..) => {}
            (What::Sum | What::Mean, Some((sum, first)), ..) => {
                let totals = (0..groups).map(|group| sum.total(&self.lanes, *first, group));
                made.totals = Some(match input.is_floating() {
                    true => Totals::Float(totals.map(float).collect()),
                    false => Totals::Whole(totals.map(whole).collect::<Result<_>>()?),
                });
            }
            (What::Min, _, Some((least, lane)), _) | (What::Max, _, _, Some((least, lane))) => {
                let present = seen.iter().map(|&seen| seen > 0).collect::<Vec<_>>();
                made.best = Some(least.values(input, &self.lanes, *lane, &present)?);
            }
            _ => return Err(foreign_totals()),
        }
        made.seen = seen;
        Ok(made)
    }
}

fn whole(total: Total) -> Result<Wide> {
    if let Total::Whole(total) = total { Ok(total) } else { Err(foreign_totals()) }
}

fn float(total: Total) -> FloatTotal {
    let mut all = FloatTotal::default();
    let mut add = |total: &Wide, exponent: i32| all.finite.add_fixed(total, (exponent - F64_GRID).unsigned_abs());
    match total {
        Total::Whole(total) => add(&total, 0),
        Total::Scaled(total, exponent) => add(&total, exponent),
        Total::Float(total) => return *total,
    }
    all
}
