//! Answers of shares, put together in the order in which their groups appeared first.
//!
//! Neighbours in a share lie far apart in the whole answer, and the other way round: copied one after the other, each value would take a
//! line of the cache for itself, once to be read or once to be written. So the answer is made in stretches that stay in the cache, each
//! from a run of the groups of each share.

#![expect(clippy::cast_possible_truncation, reason = "ids of groups and their numbers fit u32, those in a stretch u16")]

use std::ops::Range;
use std::sync::OnceLock;

use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_buffer::ArrowNativeType;
use rayon::prelude::*;

use super::deferred::gather_column;
use crate::error::Result;
use crate::kernels::cpu::native::{self, with_native};
use crate::kernels::cpu::prefetch::prefetch_behind;

/// Places of a stretch, at each of which a group may have appeared first. The groups have numbers of 16 bits then, and 64-bit values of
/// all of them lie in a second-level cache.
const STRETCH: usize = 1 << 16;

/// Runs between the one that is copied and the one whose memory is asked for: each waits for the memory by itself otherwise.
const AHEAD: usize = 4;

/// Bits of a word of marks.
const WORD: usize = u64::BITS as usize;

/// Where the groups of all shares stand in the answer.
pub(super) struct Appearance {
    stretches: Vec<Stretch>,
    /// Each group's number, counted through all shares, in the order of the answer; made when it is asked for.
    order: OnceLock<UInt32Array>,
}

/// The groups that appeared first at some places that follow each other.
struct Stretch {
    /// For each share those of its groups that are here.
    runs: Vec<Range<u32>>,
    /// For each of these groups, share by share, its number among all groups here.
    to: Vec<u16>,
}

/// The groups that appeared first at these places in an order in which their stretches rise, if that is not their own.
pub(super) fn by_stretch(origins: &[usize]) -> Option<Vec<u32>> {
    let stretches = || origins.iter().map(|place| place / STRETCH);
    if stretches().is_sorted() {
        return None;
    }
    let mut next = vec![0_u32; stretches().max()? + 2];
    stretches().for_each(|stretch| next[stretch + 1] += 1);
    next.iter_mut().fold(0, |before, next| {
        *next += before;
        *next
    });
    let mut order = vec![0; origins.len()];
    for (group, stretch) in (0..).zip(stretches()) {
        order[next[stretch] as usize] = group;
        next[stretch] += 1;
    }
    Some(order)
}

/// Where the run of a share in each stretch begins, and that in the last one ends.
fn begins(origins: &[usize], stretches: usize) -> Vec<u32> {
    let mut begins = Vec::with_capacity(stretches + 1);
    for (group, &place) in (0..).zip(origins) {
        while begins.len() <= place / STRETCH {
            begins.push(group);
        }
    }
    begins.resize(stretches + 1, origins.len() as u32);
    begins
}

impl Stretch {
    /// The one of this number, of shares whose groups appeared first at these places, and whose runs in the stretches begin there.
    fn new(stretch: usize, shares: &[&[usize]], begins: &[Vec<u32>]) -> Self {
        let runs: Vec<Range<u32>> = begins.iter().map(|begins| begins[stretch]..begins[stretch + 1]).collect();
        let slices: Vec<&[usize]> =
            runs.iter().zip(shares).map(|(run, share)| &share[run.start as usize..run.end as usize]).collect();
        let here = || slices.iter().copied().flatten().map(|place| place % STRETCH);
        let mut marks = [0_u64; STRETCH / WORD];
        here().for_each(|place| marks[place / WORD] |= 1 << (place % WORD));
        let mut before = [0_u16; STRETCH / WORD];
        marks.iter().zip(&mut before).fold(0_u32, |all, (word, before)| {
            *before = all as u16;
            all + word.count_ones()
        });
        let number = |place: usize| {
            let below = marks[place / WORD] & ((1 << (place % WORD)) - 1);
            before[place / WORD] + below.count_ones() as u16
        };
        let to = here().map(number).collect();
        Self { runs, to }
    }

    /// Values of these groups, given those of each share.
    fn values<N: ArrowNativeType>(&self, shares: &[&[N]], values: &mut [N]) {
        let mut to = &self.to[..];
        for (at, (share, run)) in shares.iter().zip(&self.runs).enumerate() {
            if let (Some(share), Some(run)) = (shares.get(at + AHEAD), self.runs.get(at + AHEAD)) {
                prefetch_behind(share, run.start as usize, run.len());
            }
            let (here, later) = to.split_at(run.len());
            for (&value, &to) in share[run.start as usize..].iter().zip(here) {
                values[usize::from(to)] = value;
            }
            to = later;
        }
    }
}

impl Appearance {
    /// Of shares whose groups appeared first at these places, which are below `places`, and whose stretches rise ([`by_stretch`]); no two
    /// groups at the same one.
    pub(super) fn new(places: usize, shares: &[&[usize]]) -> Self {
        let stretches = places.div_ceil(STRETCH);
        let begins: Vec<Vec<u32>> = shares.par_iter().map(|origins| begins(origins, stretches)).collect();
        let stretches = (0..stretches).into_par_iter().map(|stretch| Stretch::new(stretch, shares, &begins)).collect();
        Self { stretches, order: OnceLock::new() }
    }

    /// A column of all groups, given that of each share.
    pub(super) fn column(&self, shares: &[&ArrayRef]) -> Result<ArrayRef> {
        if let [first, ..] = shares
            && shares.iter().all(|share| share.null_count() == 0)
        {
            with_native!(first.data_type(), Native => {
                let values = shares.iter().map(|share| native::values::<Native>(share)).collect::<Result<Vec<_>>>()?;
                let values: Vec<&[Native]> = values.iter().map(|values| &values[..]).collect();
                return native::column(first.data_type(), self.in_order(&values), None);
            }, _ => {});
        }
        let order = self.order.get_or_init(|| self.order(shares.iter().map(|share| share.len())));
        gather_column(&shares.iter().map(|share| share.as_ref()).collect::<Vec<_>>(), order)
    }

    /// Of shares that have so many groups.
    fn order(&self, groups: impl Iterator<Item = usize>) -> UInt32Array {
        let mut next = 0..;
        let numbers = groups.map(|groups| next.by_ref().take(groups).collect::<Vec<u32>>()).collect::<Vec<_>>();
        self.in_order(&numbers.iter().map(Vec::as_slice).collect::<Vec<_>>()).into()
    }

    /// Values of the groups of each share in the order of the answer.
    fn in_order<N: ArrowNativeType>(&self, shares: &[&[N]]) -> Vec<N> {
        let mut all = vec![N::default(); self.stretches.iter().map(|stretch| stretch.to.len()).sum()];
        let mut rest = &mut all[..];
        let parts = self.stretches.iter().map(|stretch| {
            let (part, later) = std::mem::take(&mut rest).split_at_mut(stretch.to.len());
            rest = later;
            (stretch, part)
        });
        parts.collect::<Vec<_>>().into_par_iter().for_each(|(stretch, part)| stretch.values(shares, part));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{StringArray, UInt64Array};
    use arrow_select::concat::concat;
    use arrow_select::take::take;

    use super::*;

    #[test]
    fn groups_stand_where_they_appeared_first() {
        let sizes = [(0, 1), (1, 1), (5, 3), (9, 20), (STRETCH, 7), (STRETCH + 1, 7), (3 * STRETCH - 1, 40)];
        for (groups, shares) in sizes {
            // Of all places a third is free.
            let place = |group: usize| group * 3 / 2;
            let mut origins: Vec<Vec<usize>> = vec![Vec::new(); shares];
            for group in 0..groups {
                let any = (group.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % shares;
                origins[any].push(place(group));
            }
            // A share may have its groups in no order.
            origins.iter_mut().step_by(2).for_each(|share| share.reverse());
            for share in &mut origins {
                let order = by_stretch(share);
                assert_eq!(order.is_none(), share.is_sorted_by_key(|place| place / STRETCH));
                if let Some(order) = order {
                    *share = order.iter().map(|&group| share[group as usize]).collect();
                }
            }
            let slices: Vec<&[usize]> = origins.iter().map(Vec::as_slice).collect();
            let appearance = Appearance::new(place(groups) + 1, &slices);
            let column = |share: &Vec<usize>| -> ArrayRef {
                Arc::new(share.iter().map(|&at| at as u64).collect::<UInt64Array>())
            };
            let text = |share: &Vec<usize>| -> ArrayRef {
                Arc::new(share.iter().map(|at| (at % 7 != 3).then(|| at.to_string())).collect::<StringArray>())
            };
            for columns in [origins.iter().map(column).collect::<Vec<_>>(), origins.iter().map(text).collect()] {
                let all = concat(&columns.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>()).unwrap();
                let places = origins.concat();
                let mut order: Vec<u32> = (0..places.len() as u32).collect();
                order.sort_by_key(|&group| places[group as usize]);
                let expected = take(&all, &UInt32Array::from(order), None).unwrap();
                assert_eq!(
                    &appearance.column(&columns.iter().collect::<Vec<_>>()).unwrap(),
                    &expected,
                    "{groups} {shares}"
                );
            }
        }
    }
}
