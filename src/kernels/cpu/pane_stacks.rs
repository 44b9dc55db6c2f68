//! Windows that overlap, put together from their panes by two stacks: a window costs a few merges of its groups, however
//! many panes it has.
//!
//! ```text
//! panes      0  1  2  3  4  5  6  7  8        the window 3..=8
//! front               3‥5 4‥5 5               each pane with those after it, up to the border; built when it has run out
//! back                          6‥8           those behind the border, taken in as windows reach them
//! window              3‥5   +   6‥8
//! ```
//!
//! Nothing is ever taken out of a total, so that minima and maxima are as good as sums; and panes are merged in their order
//! alone, so that `first` and `last` and the order of groups are what they are without. What the stacks hold can be made
//! of the panes at any time: it is never stored.
//!
//! They are of no use where a merge costs the rows and not the groups (a quantile keeps its values), where panes hold few
//! of the groups of a window, and not allowed where the order of additions is fixed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array};

use super::key_groups::KeyGroups;
use super::reduce::{Groups, KeyedReduce};
use crate::error::Result;
use crate::expr::{AggregateFunction, TypedAggregate};
use crate::kernels::spill::{Room, Weight};

/// Below this many groups of panes for each group of the window, merging all panes is as good.
const OVERLAP_WORTH_STACKS: usize = 6;

/// The front may hold this many groups for each of the panes it is made of.
const COPIES_MAX: usize = 8;

/// Emptied groups that are kept for their memory.
const SPARE_MAX: usize = 64;

/// What windows that overlap have in common.
#[derive(Default)]
pub(super) struct PaneStacks {
    /// By falling start: the panes from there on up to the border, together.
    front: Vec<(i64, Groups)>,
    /// Those from the border on that a window has reached, together.
    back: Option<Groups>,
    /// Where the window may begin that comes next; none if nothing is held.
    from: Option<i64>,
    border: i64,
    /// The first pane that is in neither.
    reached: i64,
    weight: Option<Weight>,
    /// Emptied groups: to put groups together again and again asks for little new memory.
    spare: Vec<Groups>,
}

impl PaneStacks {
    /// Whether windows of these aggregates can be put together so, and gain by it.
    pub(super) fn suit(aggregates: &[TypedAggregate]) -> bool {
        aggregates.iter().all(|aggregate| match &aggregate.function {
            AggregateFunction::OrderedSum
            | AggregateFunction::OrderedMean
            | AggregateFunction::OrderedVariance(_)
            | AggregateFunction::OrderedStdDev(_) => false,
            AggregateFunction::NUnique | AggregateFunction::Quantile(_) | AggregateFunction::Concat(_) => false,
            AggregateFunction::Len
            | AggregateFunction::Count
            | AggregateFunction::Sum
            | AggregateFunction::Min
            | AggregateFunction::Max
            | AggregateFunction::Mean
            | AggregateFunction::Variance(_)
            | AggregateFunction::StdDev(_)
            | AggregateFunction::First
            | AggregateFunction::Last
            | AggregateFunction::Any
            | AggregateFunction::All => true,
        })
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        let front = std::mem::take(&mut self.front).into_iter().map(|(_, groups)| groups);
        front.chain(self.back.take()).for_each(|groups| self.give_back(groups));
        (self.from, self.border, self.reached, self.weight) = (None, 0, 0, None);
    }

    /// Takes groups back that are not needed any more.
    pub(super) fn give_back(&mut self, groups: Groups) {
        if self.spare.len() < SPARE_MAX {
            // Groups that cannot be emptied are not used again.
            self.spare.extend(groups.emptied().ok());
        }
    }

    fn empty(&mut self, reduce: &KeyedReduce) -> Result<Groups> {
        self.spare.pop().map_or_else(|| reduce.begin()?.settled(), Ok)
    }

    /// Counts what is held in memory, so many bytes a group; lets go of it if there is no room for it.
    pub(super) fn settle(&mut self, room: &Room, bytes_per_group: u64) {
        let groups = self.front.iter().map(|(_, groups)| groups).chain(&self.back).map(Groups::len).sum::<usize>();
        self.weight = None;
        self.weight = (groups > 0).then(|| room.weigh(groups as u64 * bytes_per_group));
        if room.is_full() {
            self.clear();
        }
        self.spare.clear();
    }

    /// A pane is another one from now on.
    pub(super) fn touch(&mut self, pane: i64) {
        if self.from.is_none_or(|from| pane < from) || pane >= self.reached {
            return;
        }
        if pane < self.border {
            self.clear();
        } else {
            self.reached = self.border;
            if let Some(back) = self.back.take() {
                self.give_back(back);
            }
        }
    }

    /// The groups of the panes from `first` to `last`, under the pane 0. Windows begin `step` panes after each other, or a
    /// multiple of that; asked for in rising order they are cheap.
    pub(super) fn window(
        &mut self,
        reduce: &KeyedReduce,
        panes: &BTreeMap<i64, KeyGroups>,
        (first, last): (i64, i64),
        step: i64,
    ) -> Result<Groups> {
        let holds = self.from.is_some_and(|from| from <= first)
            && first <= self.border
            && last.saturating_add(1) >= self.reached;
        if !holds {
            self.clear();
            let all = merged(self.empty(reduce)?, between(panes, first, last).map(|(_, groups)| groups.into()))?;
            self.build(reduce, panes, (first, last), step, all.len())?;
            return Ok(all);
        }
        while let Some((_, groups)) = self.front.pop_if(|(start, _)| *start < first) {
            self.give_back(groups);
        }
        self.from = Some(first);
        for (_, groups) in between(panes, self.reached, last) {
            if self.back.is_none() {
                self.back = Some(self.empty(reduce)?);
            }
            if let Some(back) = &mut self.back {
                Together::from(groups).put_into(back)?;
            }
        }
        self.reached = last.saturating_add(1);
        let all = self.empty(reduce)?;
        let front = self.front.last().map(|(_, groups)| groups);
        merged(all, front.into_iter().chain(&self.back).map(Together::Groups))
    }

    /// Fills the front with what the windows after this one, whose groups are so many, have in common with it.
    fn build(
        &mut self,
        reduce: &KeyedReduce,
        panes: &BTreeMap<i64, KeyGroups>,
        (first, last): (i64, i64),
        step: i64,
        groups: usize,
    ) -> Result<()> {
        let of_panes: usize = between(panes, first, last).map(|(_, groups)| groups.len()).sum();
        let mut blocks: BTreeMap<i64, Vec<Together<'_>>> = BTreeMap::new();
        for (pane, groups) in between(panes, first.saturating_add(step), last) {
            blocks.entry(first + (pane - first) / step * step).or_default().push(groups.into());
        }
        if of_panes < OVERLAP_WORTH_STACKS * groups || blocks.len() * groups > COPIES_MAX * of_panes {
            return Ok(());
        }
        for (start, block) in blocks.into_iter().rev() {
            let all = self.empty(reduce)?;
            let later = self.front.last().map(|(_, groups)| Together::Groups(groups));
            let all = merged(all, block.into_iter().chain(later))?;
            self.front.push((start, all));
        }
        (self.from, self.border, self.reached) = (Some(first), last.saturating_add(1), last.saturating_add(1));
        Ok(())
    }
}

/// The panes from one to another; none if that lies before it.
fn between(panes: &BTreeMap<i64, KeyGroups>, first: i64, last: i64) -> impl Iterator<Item = (i64, &KeyGroups)> {
    panes.range(first..).map(|(&pane, groups)| (pane, groups)).take_while(move |(pane, _)| *pane <= last)
}

/// Groups that are put together with others.
#[derive(Clone, Copy)]
pub(super) enum Together<'a> {
    /// Of one pane.
    Pane(&'a KeyGroups),
    /// Of several panes.
    Groups(&'a Groups),
}

impl<'a> From<&'a KeyGroups> for Together<'a> {
    fn from(groups: &'a KeyGroups) -> Self {
        Self::Pane(groups)
    }
}

impl Together<'_> {
    /// Takes them into others, under the pane 0.
    fn put_into(self, all: &mut Groups) -> Result<()> {
        match self {
            Self::Pane(groups) => {
                let mut keys = groups.keys()?;
                set_pane(&mut keys, 0, groups.len());
                groups.merge_into(all, &keys)
            }
            Self::Groups(groups) => {
                let mut keys = groups.keys()?;
                set_pane(&mut keys, 0, groups.len());
                all.take_groups(groups, &(0_u32..).take(groups.len()).collect::<Vec<_>>(), &keys).map(drop)
            }
        }
    }
}

/// The groups of several panes together, under the pane 0, in groups that are empty yet.
pub(super) fn merged<'a>(mut all: Groups, mut panes: impl Iterator<Item = Together<'a>>) -> Result<Groups> {
    panes.try_for_each(|groups| groups.put_into(&mut all))?;
    Ok(all)
}

/// Gives all keys this pane.
pub(super) fn set_pane(keys: &mut [ArrayRef], pane: i64, rows: usize) {
    if let Some(last) = keys.last_mut() {
        *last = Arc::new(Int64Array::from(vec![pane; rows]));
    }
}
