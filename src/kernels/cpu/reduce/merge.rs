//! The groups of several partitions become one.
//!
//! Few groups are merged one partition after another. Many are first dealt out by a hash of their keys to as many
//! shares as there are threads; each share is merged on its own, and the order of first appearance is restored at the end.

#![expect(clippy::cast_possible_truncation, reason = "group ids and numbers of partitions fit u32")]

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use rayon::prelude::*;

use super::state::Mapping;
use super::{Groups, KeyedReduce};
use crate::error::Result;

/// Below this many groups in all, dealing them out costs more than it gains.
const GROUPS_WORTH_DEALING: usize = 1 << 16;

impl KeyedReduce {
    /// The answer of all partitions, given in their order. Runs on the threads of the current rayon pool.
    ///
    /// # Errors
    /// As for [`Groups::merge`] and [`Groups::finish`].
    pub fn finish_all(&self, partials: Vec<Groups>) -> Result<RecordBatch> {
        let threads = rayon::current_num_threads();
        let groups: usize = partials.iter().map(Groups::len).sum();
        if partials.len() > 1 && threads > 1 && groups >= GROUPS_WORTH_DEALING && !self.0.keys.is_empty() {
            return finish_dealt(self, &partials, threads);
        }
        let mut partials = partials.into_iter();
        let Some(mut first) = partials.next() else { return self.begin()?.finish() };
        partials.try_for_each(|later| first.merge(later))?;
        first.finish()
    }
}

/// Takes all groups of a later partition in.
pub(super) fn merge(groups: &mut Groups, later: &Groups) -> Result<()> {
    let from: Vec<u32> = (0..later.len() as u32).collect();
    take_in(groups, later, &from, &later.ids.keys()?).map(drop)
}

/// Takes the groups `from` of a later partition in, whose keys these are; gives their ids here.
fn take_in(groups: &mut Groups, later: &Groups, from: &[u32], keys: &[ArrayRef]) -> Result<Vec<u32>> {
    let mut to = Vec::new();
    if keys.is_empty() {
        to.resize(from.len(), 0);
    } else {
        groups.ids.assign(keys, &mut to)?;
    }
    let mapping = Mapping { from, to: &to, later_groups: later.len(), groups: groups.len() };
    for (state, later) in groups.states.iter_mut().zip(&later.states) {
        state.merge(&**later, &mapping)?;
    }
    Ok(to)
}

/// Groups of all partitions whose keys hash alike, merged.
struct Share {
    answer: RecordBatch,
    /// The partition and the group in it where each group appeared first.
    origins: Vec<(u32, u32)>,
}

fn finish_dealt(reduce: &KeyedReduce, partials: &[Groups], shares: usize) -> Result<RecordBatch> {
    let dealt = partials.par_iter().map(|partial| deal(partial, shares)).collect::<Result<Vec<_>>>()?;
    let shares = (0..shares).into_par_iter().map(|share| {
        let mut groups = reduce.begin()?;
        let mut origins = Vec::new();
        for (place, (partial, hands)) in partials.iter().zip(&dealt).enumerate() {
            let hand = &hands[share];
            let to = take_in(&mut groups, partial, &hand.groups, &hand.keys)?;
            for (&from, to) in hand.groups.iter().zip(to) {
                if to as usize == origins.len() {
                    origins.push((place as u32, from));
                }
            }
        }
        Ok(Share { answer: groups.finish()?, origins })
    });
    let shares = shares.collect::<Result<Vec<_>>>()?;
    let order = first_appearance(partials, &shares);
    let columns = (0..reduce.0.schema.fields().len()).into_par_iter().map(|column| {
        let parts: Vec<&dyn Array> = shares.iter().map(|share| share.answer.column(column).as_ref()).collect();
        Ok(arrow_select::interleave::interleave(&parts, &order)?)
    });
    Ok(RecordBatch::try_new(Arc::clone(&reduce.0.schema), columns.collect::<Result<_>>()?)?)
}

/// The groups of one partition that belong to one share.
struct Hand {
    groups: Vec<u32>,
    keys: Vec<ArrayRef>,
}

fn deal(partial: &Groups, shares: usize) -> Result<Vec<Hand>> {
    let mut groups = vec![Vec::with_capacity(partial.len() / shares * 5 / 4); shares];
    for (group, hash) in partial.ids.hashes().into_iter().enumerate() {
        // The low half of the hash: the tables of group ids use the high one.
        let share = ((hash & 0xffff_ffff) * shares as u64) >> 32;
        groups[share as usize].push(group as u32);
    }
    let keys = partial.ids.keys()?;
    let hands = groups.into_iter().map(|groups| {
        let rows = UInt32Array::from(groups.clone());
        let keys = keys.iter().map(|key| arrow_select::take::take(key, &rows, None)).collect::<Result<_, _>>()?;
        Ok(Hand { groups, keys })
    });
    hands.collect()
}

/// Share and place of each group, in the order of first appearance.
fn first_appearance(partials: &[Groups], shares: &[Share]) -> Vec<(usize, usize)> {
    const ELSEWHERE: (u32, u32) = (u32::MAX, u32::MAX);
    let mut places: Vec<Vec<(u32, u32)>> = partials.iter().map(|partial| vec![ELSEWHERE; partial.len()]).collect();
    for (share, content) in shares.iter().enumerate() {
        for (place, &(partial, group)) in content.origins.iter().enumerate() {
            places[partial as usize][group as usize] = (share as u32, place as u32);
        }
    }
    let first = places.into_iter().flatten().filter(|&place| place != ELSEWHERE);
    first.map(|(share, place)| (share as usize, place as usize)).collect()
}
