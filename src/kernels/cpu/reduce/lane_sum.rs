//! Sums in lanes: what they have in common, whatever the values are.
//!
//! A lane holds 64 bits, so a bound on its size is kept; when the bound comes near, the lanes are looked at, and emptied
//! into wide totals if they have really grown. Values too large for a lane go to the wide totals at once.

#![expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "halves of a wider number")]

use std::ops::Range;

use arrow_array::ArrayRef;

#[cfg(feature = "gpu")]
use super::absorb::Totals;
use super::few::{Made, Masks, Sums};
use super::float_split::{BITS, Grid};
use super::lanes::Lanes;
use super::state::{Ids, Mapping};
use crate::error::{Error, Result};
use crate::kernels::exact_sum::{self, Fixed, FloatTotal};
use crate::kernels::stored;

/// A total that no number of rows can make overflow.
pub(super) type Wide = Fixed<3>;

/// Lanes are looked at before they could be larger than this, so that the numbers of a few more rows always fit.
pub(super) const LANE_MAX: u64 = 1 << 62;

/// A bound on the numbers in some lanes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bound(pub(super) u64);

impl Bound {
    /// Of rows of numbers up to `most`.
    pub(super) fn of(most: u64, rows: usize) -> Self {
        Self(most * rows as u64)
    }

    /// Whether lanes may grow by this much; if not, they must be looked at first.
    pub(super) fn allows(self, more: Self) -> bool {
        self.0 + more.0 <= LANE_MAX
    }

    /// Sets the bound to what the lanes really hold; false if that is so much that they must be emptied.
    pub(super) fn settles(&mut self, lanes: &mut Lanes, first: usize, count: usize) -> bool {
        let largest = |lane| lanes.sums_mut(lane).map(|number| number.unsigned_abs()).max().unwrap_or(0);
        self.0 = (first..first + count).map(largest).max().unwrap_or(0);
        self.0 <= LANE_MAX / 2
    }
}

/// The rows that a sum is fed with at once.
pub(super) struct Fed<'a> {
    /// Places in the batch.
    pub(super) rows: Range<usize>,
    pub(super) ids: Ids<'a>,
    /// All bits set for a row that counts, none for another; all count if none.
    pub(super) keep: Option<&'a [i64]>,
}

impl Fed<'_> {
    pub(super) fn group(&self, row: usize) -> u32 {
        self.ids.of(row)
    }
}

/// What a sum gets from some rows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    /// Whole numbers, for one lane. None has other bits than these, but for its sign, if all is well.
    Wholes(&'a [i64], u64),
    /// Floats on this grid, for two lanes.
    Floats(&'a [f64], Grid),
    /// The bits of any floats, for a lane that adds floats.
    Ordered(&'a [i64]),
    /// One for each row, for one lane.
    Ones,
}

impl Source<'_> {
    /// By how much lanes grow if all is well.
    pub(super) fn bound(&self, rows: usize) -> Bound {
        match self {
            Source::Wholes(_, bits) => Bound::of(bits + 1, rows),
            Source::Floats(..) => Bound::of(1 << BITS, rows),
            Source::Ordered(_) | Source::Ones => Bound::default(),
        }
    }
}

/// The sum of one column, in one or two lanes.
pub(super) trait LaneSum: Send + Sync + std::any::Any {
    /// How many lanes it adds to.
    fn lanes(&self) -> usize;

    /// The values of the next batch.
    fn start(&mut self, input: &ArrayRef) -> Result<()>;

    /// The values of some rows, if they need only be taken for what those before them were.
    fn plain(&self, rows: Range<usize>) -> Option<Source<'_>>;

    /// So many rows were added as they lie.
    fn took_plain(&mut self, _rows: usize) {}

    /// Computes the numbers of up to [`ROWS`] rows. `first` is the first of its lanes.
    fn feed(&mut self, fed: &Fed<'_>, lanes: &mut Lanes, first: usize);

    /// Adds up the numbers of each group, if that is possible without looking at them one by one. Nothing is taken in. `first` is the
    /// first of its lanes, which may be emptied.
    fn sum_up(&mut self, made: Made<'_>, masks: &Masks, lanes: &mut Lanes, first: usize) -> Option<Sums>;

    /// Makes sure that its lanes can grow by this much. `first` is the first of them.
    fn make_room(&mut self, more: Bound, lanes: &mut Lanes, first: usize);

    /// The numbers computed last for one of its lanes, those of the `rows` of the batch.
    fn numbers(&self, lane: usize, rows: Range<usize>) -> &[i64];

    /// Prepares both sides for the addition of their lanes, and takes over what of the later one is not in lanes.
    fn merge(&mut self, later: &dyn LaneSum, lanes: &mut Lanes, first: usize, mapping: &Mapping<'_>) -> Result<()>;

    /// Takes totals in that were made elsewhere, one for each of these groups.
    #[cfg(feature = "gpu")]
    fn absorb(&mut self, groups: &[u32], totals: &Totals) -> Result<()>;

    /// Whether all totals are whole numbers that lie in its first lane as they are.
    fn is_plain(&self) -> bool {
        false
    }

    /// As floats the totals of so many groups, or the totals divided by these counts, where all lie in lanes and that is faster than one by one.
    fn floats(&self, _lanes: &Lanes, _first: usize, _groups: usize, _counts: Option<&[i64]>) -> Option<Vec<f64>> {
        None
    }

    /// The total of a group.
    fn total(&self, lanes: &Lanes, first: usize, group: usize) -> Total;

    /// Forgets all groups and the batch, but keeps the memory.
    fn clear(&mut self);

    /// Takes totals back, one a group, when nothing else has been taken in yet.
    fn restore(&mut self, totals: &[Total], lanes: &mut Lanes, first: usize) -> Result<()>;
}

/// The sum of a group's values.
pub(super) enum Total {
    Whole(Wide),
    /// So many times 2 to this power.
    Scaled(Wide, i32),
    /// With values of any size.
    Float(Box<FloatTotal>),
}

impl Total {
    /// The nearest float to the total of floats divided by `count`.
    pub(super) fn quotient(&self, count: u64) -> f64 {
        match self {
            Self::Whole(total) => exact_sum::whole_mean(total, count, 0),
            Self::Scaled(total, exponent) => match total.to_i128() {
                Some(whole) => {
                    exact_sum::quotient_of_two(&Fixed([whole as u64, (whole >> 64) as u64]), *exponent, count)
                }
                None => {
                    let (negative, limbs) = total.magnitude();
                    exact_sum::quotient(negative, &limbs, *exponent, &[count])
                }
            },
            Self::Float(total) => total.divided(count),
        }
    }
}

/// The error for totals that another kind of sum has stored.
pub(super) fn mixed() -> Error {
    stored::corrupt("totals of floats and of whole numbers are mixed up")
}

/// The later sum as one of the same kind.
pub(super) fn same<S: LaneSum>(later: &dyn LaneSum) -> Result<&S> {
    let later: &dyn std::any::Any = later;
    later.downcast_ref().ok_or_else(|| Error::internal("sums of different columns were merged"))
}
