//! Windows put together from their panes; those that overlap by two stacks: a window costs a few merges of its groups,
//! however many panes it has.
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
//! of the panes at any time: it is never stored. Groups are kept under the numbers of their keys ([`KeyNumbers`]): a key
//! is looked up once a pane, not once a merge.
//!
//! A quantile keeps its values, in sorted runs that are shared and not copied when panes are put together. What a stack holds
//! is compacted as it grows, so that a window has a few runs for each power of two of its panes, and a value is moved as often.
//!
//! Stacks are of no use where a merge costs the rows and not the groups (texts one after another), where panes hold few of the
//! groups of a window, and not allowed where the order of additions is fixed. Then a window merges all its panes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Int64Array};

use super::key_groups::{KeyGroups, taken};
use super::key_numbers::KeyNumbers;
use super::reduce::{Groups, KeyedReduce};
use crate::columnar::{Field, RecordBatch};
use crate::error::Result;
use crate::expr::{AggregateFunction, TypedAggregate};
use crate::kernels::spill::{Room, Weight};

/// Below this many groups of panes for each group of the window, merging all panes is as good.
const OVERLAP_WORTH_STACKS: usize = 6;

/// The front may hold this many groups for each of the panes it is made of.
const COPIES_MAX: usize = 8;

/// Emptied groups that are kept for their memory.
const SPARE_MAX: usize = 64;

/// What windows are put together with, and what those that overlap have in common.
pub(super) struct PaneStacks {
    /// What windows are groups of.
    whole: KeyedReduce,
    /// The same aggregates, by the numbers of keys.
    reduce: KeyedReduce,
    numbers: KeyNumbers,
    /// Whether anything may be held for the next window.
    may_hold: bool,
    /// Whether an aggregate keeps all its values.
    keeps_values: bool,
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
    /// For panes of such groups: their last key is the pane. If nothing may be held, each window merges all its panes.
    pub(super) fn new(whole: &KeyedReduce, may_hold: bool) -> Result<Self> {
        let keys = &whole.keys()[..whole.keys().len().saturating_sub(1)];
        Ok(Self {
            whole: whole.clone(),
            reduce: whole.by_number()?,
            numbers: KeyNumbers::new(keys.iter().map(Field::data_type))?,
            may_hold,
            keeps_values: whole.aggregates().iter().any(|one| matches!(one.function, AggregateFunction::Quantile(_))),
            front: Vec::new(),
            back: None,
            from: None,
            border: 0,
            reached: 0,
            weight: None,
            spare: Vec::new(),
        })
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        let front = std::mem::take(&mut self.front).into_iter().map(|(_, groups)| groups);
        front.chain(self.back.take()).for_each(|groups| self.give_back(groups));
        self.numbers.clear();
        (self.from, self.border, self.reached, self.weight) = (None, 0, 0, None);
    }

    /// Takes groups back that are not needed any more.
    fn give_back(&mut self, groups: Groups) {
        if self.spare.len() < SPARE_MAX {
            // Groups that cannot be emptied are not used again.
            self.spare.extend(groups.emptied().ok());
        }
    }

    fn empty(&mut self) -> Result<Groups> {
        self.spare.pop().map_or_else(|| self.reduce.begin()?.settled(), Ok)
    }

    /// Counts what is held in memory, so many bytes a group; lets go of it if there is no room for it.
    pub(super) fn settle(&mut self, room: &Room, bytes_per_group: u64) {
        let groups = self.front.iter().map(|(_, groups)| groups).chain(&self.back).map(Groups::len).sum::<usize>();
        // Values that are kept are there once for each length of runs.
        let copies =
            if self.keeps_values { u64::from(usize::BITS - self.front.len().leading_zeros()).max(1) } else { 1 };
        self.weight = None;
        self.weight = (groups > 0).then(|| room.weigh(groups as u64 * copies * bytes_per_group));
        if room.is_full() {
            self.clear();
        }
        self.spare.clear();
    }

    /// A pane is another one from now on.
    pub(super) fn touch(&mut self, pane: i64) {
        self.numbers.forget(pane);
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

    /// The groups of the panes from `first` to `last`, by numbers. Windows begin `step` panes after each other, or a
    /// multiple of that; asked for in rising order, each once, they are cheap.
    pub(super) fn window(
        &mut self,
        panes: &BTreeMap<i64, KeyGroups>,
        (first, last): (i64, i64),
        step: i64,
    ) -> Result<Groups> {
        let holds = self.from.is_some_and(|from| from <= first)
            && first <= self.border
            && last.saturating_add(1) >= self.reached;
        if !holds {
            return self.rebuilt(panes, (first, last), step);
        }
        self.numbers.forget_before(first);
        while let Some((_, groups)) = self.front.pop_if(|(start, _)| *start < first) {
            self.give_back(groups);
        }
        for (pane, groups) in between(panes, self.reached, last) {
            let mut back = self.back.take().map_or_else(|| self.empty(), Ok)?;
            self.put(&mut back, pane, groups)?;
            back.compact();
            self.back = Some(back);
        }
        self.reached = last.saturating_add(1);
        let Some(mut all) = self.front_from(first)? else {
            // No later window begins before the border.
            self.from = None;
            return self.back.take().map_or_else(|| self.empty(), Ok);
        };
        if let Some(back) = &self.back {
            all.take_all(back)?;
        }
        Ok(all)
    }

    /// What the front holds of a window: none if it has run out.
    fn front_from(&mut self, first: i64) -> Result<Option<Groups>> {
        if let Some((_, groups)) = self.front.pop_if(|(start, _)| *start == first) {
            // The next window begins later.
            self.from = first.checked_add(1);
            return Ok(Some(groups));
        }
        if self.front.is_empty() {
            return Ok(None);
        }
        self.from = Some(first);
        let mut copy = self.empty()?;
        self.front.last().map_or(Ok(()), |(_, groups)| copy.take_all(groups))?;
        Ok(Some(copy))
    }

    /// All panes of a window together, when nothing is held for it; holds what the windows after it have in common with it.
    fn rebuilt(&mut self, panes: &BTreeMap<i64, KeyGroups>, (first, last): (i64, i64), step: i64) -> Result<Groups> {
        self.clear();
        let mut blocks: BTreeMap<i64, Vec<(i64, &KeyGroups)>> = BTreeMap::new();
        let mut of_panes = 0;
        for (pane, groups) in between(panes, first, last) {
            blocks.entry(first + (pane - first) / step * step).or_default().push((pane, groups));
            self.numbers.of(pane, groups)?;
            of_panes += groups.len();
        }
        let groups = self.numbers.len();
        let is_worth = of_panes >= OVERLAP_WORTH_STACKS * groups && blocks.len() * groups <= COPIES_MAX * of_panes;
        if !self.may_hold || !is_worth {
            let mut all = self.empty()?;
            blocks.into_values().flatten().try_for_each(|(pane, groups)| self.put(&mut all, pane, groups))?;
            return Ok(all);
        }
        for (start, block) in blocks.into_iter().rev() {
            let mut all = self.empty()?;
            block.into_iter().try_for_each(|(pane, groups)| self.put(&mut all, pane, groups))?;
            if let Some((_, later)) = self.front.last() {
                all.take_all(later)?;
            }
            all.compact();
            self.front.push((start, all));
        }
        (self.border, self.reached) = (last.saturating_add(1), last.saturating_add(1));
        self.front_from(first)?.map_or_else(|| self.empty(), Ok)
    }

    /// Takes the groups of a pane into others.
    fn put(&mut self, all: &mut Groups, pane: i64, groups: &KeyGroups) -> Result<()> {
        groups.merge_into(all, std::slice::from_ref(self.numbers.of(pane, groups)?))
    }

    /// Of the groups of a window those with these keys: each once, in the order in which they come first here.
    pub(super) fn chosen(&mut self, mut all: Groups, keys: &[(Vec<ArrayRef>, usize)]) -> Result<Groups> {
        let mut ids = Vec::new();
        for (keys, rows) in keys {
            let numbers = self.numbers.of_keys(keys, *rows)?;
            ids.extend(all.ids_of(&[numbers])?);
        }
        let mut is_chosen = vec![false; all.len()];
        ids.retain(|&id| !std::mem::replace(&mut is_chosen[id as usize], true));
        let chosen = self.reduce.select(&all, &ids, &taken(&all.keys()?, &ids.clone().into())?)?;
        self.give_back(all);
        Ok(chosen)
    }

    /// The rows of the groups of a window, under the pane 0.
    pub(super) fn rows(&mut self, mut all: Groups) -> Result<RecordBatch> {
        let numbers = all.keys()?;
        let mut keys = taken(self.numbers.keys()?, numbers[0].as_primitive())?;
        keys.push(same_pane(0, all.len()));
        let rows = all.last_rows_under(&self.whole, keys)?;
        self.give_back(all);
        if self.from.is_none() {
            // Nothing is held by numbers: the next window gives its own.
            self.numbers.clear();
        }
        Ok(rows)
    }
}

/// A column that is this pane in all rows.
pub(super) fn same_pane(pane: i64, rows: usize) -> ArrayRef {
    Arc::new(Int64Array::from(vec![pane; rows]))
}

/// Whether windows of these aggregates can be put together by stacks, and gain by it.
pub(super) fn suit(aggregates: &[TypedAggregate]) -> bool {
    aggregates.iter().all(|aggregate| match &aggregate.function {
        AggregateFunction::OrderedSum
        | AggregateFunction::OrderedMean
        | AggregateFunction::OrderedVariance(_)
        | AggregateFunction::OrderedStdDev(_) => false,
        AggregateFunction::NUnique | AggregateFunction::Concat(_) => false,
        AggregateFunction::Len
        | AggregateFunction::Count
        | AggregateFunction::Sum
        | AggregateFunction::Min
        | AggregateFunction::Max
        | AggregateFunction::Mean
        | AggregateFunction::Variance(_)
        | AggregateFunction::StdDev(_)
        | AggregateFunction::Quantile(_)
        | AggregateFunction::First
        | AggregateFunction::Last
        | AggregateFunction::Any
        | AggregateFunction::All => true,
    })
}

/// The panes from one to another; none if that lies before it.
fn between(panes: &BTreeMap<i64, KeyGroups>, first: i64, last: i64) -> impl Iterator<Item = (i64, &KeyGroups)> {
    panes.range(first..).map(|(&pane, groups)| (pane, groups)).take_while(move |(pane, _)| *pane <= last)
}
