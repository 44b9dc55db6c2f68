//! The aggregates of a keyed reduce that live in lanes: which lanes there are, what feeds them, and what is read off
//! them at the end.
//!
//! Aggregates that look at the same values under the same filter share a [`Feed`], and its lanes: a mean is a sum and
//! a count, and each of them is kept once. How many values a group has is the number of its rows, one lane for
//! everybody, less the rows that do not count, a lane of its own that is made when the first of these comes: columns that
//! may be null mostly are not, and the lanes of a group are half as many then. Where nobody asks how many rows there are, only whether
//! there was a value, the lane of rows may wait for that, too: until then each group has had a value.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use arrow_array::ArrayRef;
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;

#[cfg(feature = "gpu")]
use super::absorb::{Reduced, absorb_least, foreign_totals};
use super::feed::Feed;
use super::lane_float::FloatLaneSum;
use super::lane_least::{LaneLeast, LeastOf};
use super::lane_ordered::{self, LaneOrdered, OrderedLane};
use super::lane_sum::LaneSum;
#[cfg(target_arch = "x86_64")]
use super::lane_sum::Source;
use super::lane_whole::WholeLaneSum;
use super::lanes::{Act, Added, Lanes, ONES, ZEROS};
use super::make::scale;
#[cfg(target_arch = "x86_64")]
use super::plain::Fours;
use super::state::{Ids, Mapping, Refusal};
use super::total::{is_whole_64, means, of_no_value, sums};
use crate::error::{Error, Result};
use crate::expr::{AggregateFunction, TypedAggregate};
use crate::kernels::cpu::native;

/// After rows that were not what they should be so many pieces of others, of as many rows, go the other way: data that never is costs
/// little more then.
const DETOURS: u32 = 16;

/// The aggregates in lanes.
pub(super) struct Laned {
    pub(super) lanes: Lanes,
    pub(super) feeds: Vec<Feed>,
    /// The lane that counts rows, if there is one yet.
    pub(super) rows: Option<usize>,
    /// Whether somebody asks for it, at least when a row does not count.
    pub(super) needs_rows: bool,
    /// Whether it is only asked whether there was a value: then one row stands for those that came before the lane.
    pub(super) may_wait: bool,
    /// For each aggregate of the reduce what it is made of, if it is in lanes.
    pub(super) parts: Vec<Option<Part>>,
    /// The feeds that have a sum, in the order of its lanes.
    of_sums: Vec<usize>,
    /// Whether each of these has one lane.
    are_whole: bool,
    /// How many times rows go the other way before some are added as they lie again.
    detours: u32,
    /// Apart, since a task holds few bytes itself.
    firsts: Box<Firsts>,
}

/// Of the latest batch the rows that may be the first of their groups.
#[derive(Default)]
struct Firsts {
    rows: Vec<Range<usize>>,
}

/// What an aggregate is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) feed: usize,
    pub(super) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Count,
    Sum,
    Mean,
    OrderedSum,
    OrderedMean,
    Min,
    Max,
}

impl Laned {
    /// The lanes for those of the aggregates that can be kept in some.
    pub(super) fn new(aggregates: &[TypedAggregate], has_keys: bool) -> Self {
        let mut feeds = Vec::new();
        let parts: Vec<_> = (0..aggregates.len()).map(|place| part(aggregates, place, &mut feeds)).collect();
        let can_miss: Vec<bool> = feeds.iter().map(|feed| can_miss(&aggregates[feed.place])).collect();
        let counts = |part: &Option<Part>| {
            part.is_some_and(|part| {
                matches!(part.what, What::Count | What::Mean | What::OrderedSum | What::OrderedMean)
            })
        };
        let is_counted = !has_keys || parts.iter().any(counts);
        let needs_rows = (is_counted || can_miss.contains(&true)) && !feeds.is_empty();
        let (mut leasts, mut floats, mut adds) = (0, 0, 0);
        let next = |lanes: &mut usize, more: usize| {
            *lanes += more;
            *lanes - more
        };
        for feed in &mut feeds {
            for (_, lane) in feed.min.iter_mut().chain(&mut feed.max) {
                *lane = next(&mut leasts, 1);
            }
            if let Some((_, lane)) = &mut feed.ordered {
                *lane = next(&mut floats, 1);
            }
        }
        // Pairs of lanes come first, so that four that lie side by side hold them as a whole.
        let mut of_sums: Vec<usize> = (0..feeds.len()).filter(|&place| feeds[place].sum.is_some()).collect();
        let count = |feed: &Feed| feed.sum.as_ref().map_or(0, |(sum, _)| sum.lanes());
        of_sums.sort_by_key(|&place| std::cmp::Reverse(count(&feeds[place])));
        for &place in &of_sums {
            let count = count(&feeds[place]);
            if let Some((_, lane)) = &mut feeds[place].sum {
                *lane = next(&mut adds, count);
            }
        }
        let may_wait = !is_counted && Lanes::new(leasts, floats, adds).grows_by_one();
        let rows = (needs_rows && !may_wait).then(|| next(&mut adds, 1));
        feeds.iter_mut().zip(can_miss).for_each(|(feed, can_miss)| feed.can_miss = can_miss);
        let lanes = Lanes::new(leasts, floats, adds);
        let are_whole = of_sums.iter().all(|&place| count(&feeds[place]) == 1);
        Self { are_whole, lanes, feeds, rows, needs_rows, may_wait, parts, of_sums, detours: 0, firsts: Box::default() }
    }

    /// Whether an aggregate is kept here.
    pub(super) fn holds(&self, place: usize) -> bool {
        self.parts[place].is_some()
    }

    /// Forgets all groups and the batch, but keeps the memory.
    pub(super) fn clear(&mut self) {
        self.lanes.clear();
        self.feeds.iter_mut().for_each(Feed::clear);
    }

    /// Whether it may be seen in the lanes which rows are the first of their groups, see [`Laned::firsts`].
    pub(super) fn sees_firsts(&self) -> bool {
        self.rows.is_some() && !self.feeds.is_empty()
    }

    /// The rows of the latest batch among which all are that were the first of a group whose lanes held nothing.
    pub(super) fn firsts(&self) -> &[Range<usize>] {
        &self.firsts.rows
    }

    /// Whether there are lanes of rows that do not count.
    pub(super) fn has_missed(&self) -> bool {
        self.feeds.iter().any(|feed| feed.missed.is_some())
    }

    /// Makes the lanes of rows that do not count. If that of rows has waited for them, the groups `known` are those that had rows.
    pub(super) fn make_missed(&mut self, known: impl Iterator<Item = u32>) {
        if self.may_wait && self.rows.is_none() {
            let lane = self.lanes.adds();
            self.lanes.widen(1);
            self.rows = Some(lane);
            known.for_each(|group| self.lanes.add(group as usize, lane, 1));
        }
        let had = self.lanes.adds();
        let missing = self.feeds.iter_mut().filter(|feed| feed.can_miss && feed.missed.is_none());
        let made = missing.zip(had..).map(|(feed, lane)| feed.missed = Some(lane)).count();
        self.lanes.widen(made);
    }

    /// Takes a batch in, by the ids of its rows; `selection` tells which rows count for an aggregate, `known` the groups that had rows
    /// before.
    pub(super) fn take_in(
        &mut self,
        ids: Ids<'_>,
        (len, groups): (usize, usize),
        inputs: &[Option<ArrayRef>],
        selection: impl Fn(usize) -> Option<BooleanBuffer>,
        known: impl Fn() -> Vec<u32>,
    ) -> Result<()> {
        if self.feeds.is_empty() {
            return Ok(());
        }
        self.firsts.rows.clear();
        let held = self.lanes.groups();
        self.lanes.grow(groups);
        for place in 0..self.feeds.len() {
            let selection = selection(self.feeds[place].place);
            if selection.is_some() && self.feeds[place].missed.is_none() {
                if !self.feeds[place].can_miss {
                    return Err(Error::internal("a column that is never null has nulls"));
                }
                self.make_missed(known().into_iter().filter(|&group| (group as usize) < held));
            }
            let feed = &mut self.feeds[place];
            feed.start(inputs[feed.place].as_ref(), selection)?;
        }
        let is_plain = |feed: &Feed| !feed.misses_rows();
        let are_plain = self.lanes.take_plain(ids, self.are_whole) && self.feeds.iter().all(is_plain);
        let at_once = self.lanes.rows_at_once(are_plain);
        for from in (0..len).step_by(at_once) {
            let rows = at_once.min(len - from);
            self.work(ids.slice(from, len - from), from, rows);
        }
        Ok(())
    }

    /// Feeds the lanes with up to [`ROWS`] rows: the first of those that have these groups.
    fn work(&mut self, later: Ids<'_>, from: usize, rows: usize) {
        let ids = later.slice(0, rows);
        let may_be_plain = self.detours == 0 && self.lanes.take_plain(ids, self.are_whole);
        let mut are_floats_added = false;
        self.detours = self.detours.saturating_sub(1);
        for feed in &mut self.feeds {
            feed.work(ids, from, rows, &mut self.lanes, may_be_plain);
        }
        if self.feeds.iter().any(Feed::is_plain) {
            let added = self.add_plain(later, from..from + rows);
            let are_added = matches!(added, Added::All | Added::AllOfKnown);
            for feed in &mut self.feeds {
                feed.settle_plain(are_added, ids, from..from + rows, &mut self.lanes);
            }
            if added != Added::AllOfKnown {
                self.note_firsts(from..from + rows);
            }
            if are_added {
                return;
            }
            self.detours = DETOURS;
            are_floats_added = added == Added::Floats;
        } else {
            self.note_firsts(from..from + rows);
        }
        let range = from..from + rows;
        let leasts = self.feeds.iter().flat_map(Feed::leasts).map(|numbers| &numbers[..rows]);
        let floats = self.feeds.iter().filter_map(|feed| feed.floats(range.clone()));
        let sums = self.of_sums.iter().flat_map(|&feed| self.feeds[feed].sums(range.clone()));
        let mut sums = sums.chain(counts_of(&self.feeds, self.rows.is_some(), rows));
        if are_floats_added {
            return self.lanes.take_in((Act::Add, 0), ids, sums);
        }
        let taken = self.lanes.take_in_mixed(ids, leasts.clone().chain(floats.clone()), &mut sums);
        if taken.is_none() {
            self.lanes.take_in((Act::Least, 0), ids, leasts);
            self.lanes.take_in((Act::AddFloat, 0), ids, floats);
        }
        self.lanes.take_in((Act::Add, taken.unwrap_or(0)), ids, sums);
    }

    /// Among these rows may be the first ones of groups.
    fn note_firsts(&mut self, rows: Range<usize>) {
        match self.firsts.rows.last_mut().filter(|last| last.end == rows.start) {
            Some(last) => last.end = rows.end,
            None => self.firsts.rows.push(rows),
        }
    }

    /// Adds the rows worked on, some of whose values lie in their columns.
    #[cfg(target_arch = "x86_64")]
    fn add_plain(&mut self, later: Ids<'_>, rows: Range<usize>) -> Added {
        let floats = self.feeds.iter().filter_map(|feed| feed.floats(rows.clone())).map(Source::Ordered);
        let sums = self.of_sums.iter().flat_map(|&feed| self.feeds[feed].sources(rows.clone()));
        let misses = misses_of(&self.feeds, rows.len()).map(|numbers| Source::Wholes(numbers, u64::MAX));
        let counts = self.rows.map(|_| Source::Ones).into_iter().chain(misses);
        let Some(fours) = Fours::new(floats.chain(sums).chain(counts)) else { return Added::Nothing };
        self.lanes.add_plain(later, rows.len(), &fours)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn add_plain(&mut self, _: Ids<'_>, _: Range<usize>) -> Added {
        Added::Nothing
    }

    /// Takes some groups of later lanes of the same aggregates in.
    pub(super) fn merge(&mut self, later: &Self, mapping: &Mapping<'_>) -> Result<()> {
        let held = self.lanes.groups();
        self.merge_sums(later, mapping)?;
        // Only one of the two may have had rows that do not count.
        let mut lanes = Cow::Borrowed(&later.lanes);
        match self.lanes.adds().cmp(&later.lanes.adds()) {
            Ordering::Less if self.may_wait && held > 0 => {
                return Err(Error::internal("it was asked too late which groups have values"));
            }
            Ordering::Less => self.make_missed(std::iter::empty()),
            Ordering::Equal => {}
            Ordering::Greater => {
                let lanes = lanes.to_mut();
                lanes.widen(self.lanes.adds() - later.lanes.adds());
                if let (Some(lane), None) = (self.rows, later.rows) {
                    mapping.pairs().for_each(|(from, _)| lanes.add(from, lane, 1));
                }
            }
        }
        self.lanes.merge(&lanes, mapping);
        Ok(())
    }

    /// As [`Laned::merge`] with all groups of the later lanes that had rows; these hold nothing any more, but their memory, and that
    /// there are such groups.
    pub(super) fn take_over(&mut self, later: &mut Self, mapping: &Mapping<'_>) -> Result<()> {
        if self.lanes.adds() != later.lanes.adds() {
            self.merge(later, mapping)?;
            later.clear();
            return Ok(());
        }
        self.merge_sums(later, mapping)?;
        self.lanes.take_over(&mut later.lanes, mapping);
        later.feeds.iter_mut().for_each(Feed::clear);
        Ok(())
    }

    /// Takes in what sums of later lanes have beside these.
    fn merge_sums(&mut self, later: &Self, mapping: &Mapping<'_>) -> Result<()> {
        self.lanes.grow(mapping.groups);
        for (feed, later) in self.feeds.iter_mut().zip(&later.feeds) {
            if let (Some((sum, first)), Some((later, _))) = (&mut feed.sum, &later.sum) {
                sum.merge(&**later, &mut self.lanes, *first, mapping)?;
            }
        }
        Ok(())
    }

    #[cfg(feature = "gpu")]
    /// Takes in what was reduced elsewhere: row `n` of it belongs to the group `to[n]`.
    pub(super) fn absorb(&mut self, to: &[u32], groups: usize, reduced: &Reduced) -> Result<()> {
        let held = self.lanes.groups();
        self.lanes.grow(groups);
        let mut seen = self.parts.iter().zip(&reduced.parts).filter(|(part, _)| part.is_some());
        if seen.any(|(_, made)| made.seen != reduced.rows) {
            self.make_missed((0..).take(held));
        }
        if let Some(lane) = self.rows {
            to.iter().zip(&reduced.rows).for_each(|(&group, &rows)| self.lanes.add(group as usize, lane, rows));
        }
        for (place, feed) in self.feeds.iter_mut().enumerate() {
            let of_feed = self.parts.iter().zip(&reduced.parts);
            let mut of_feed = of_feed.filter_map(|(part, made)| part.filter(|part| part.feed == place).zip(Some(made)));
            let first_of = |wanted: &[What]| of_feed.clone().find(|(part, _)| wanted.contains(&part.what));
            if let Some((sum, _)) = &mut feed.sum {
                let made = first_of(&[What::Sum, What::Mean]).and_then(|(_, made)| made.totals.as_ref());
                sum.absorb(to, made.ok_or_else(foreign_totals)?)?;
            }
            for (wanted, least) in [(What::Min, &mut feed.min), (What::Max, &mut feed.max)] {
                if let Some((least, lane)) = least {
                    let made = first_of(&[wanted]).ok_or_else(foreign_totals)?.1;
                    absorb_least(&mut **least, made, to, &mut self.lanes, *lane)?;
                }
            }
            if let (Some(lane), Some((_, made))) = (feed.missed, of_feed.next()) {
                for ((&group, rows), seen) in to.iter().zip(&reduced.rows).zip(&made.seen) {
                    self.lanes.add(group as usize, lane, rows - seen);
                }
            }
        }
        Ok(())
    }

    /// The column of an aggregate that is kept here, a row a group.
    pub(super) fn finish(&self, place: usize, aggregate: &TypedAggregate, groups: usize) -> Result<ArrayRef, Refusal> {
        let Some(part) = self.parts[place] else {
            return Err(Error::internal("an aggregate was looked for in lanes that are not there").into());
        };
        let feed = &self.feeds[part.feed];
        let counts = self.counts(feed, groups);
        if let (What::OrderedSum | What::OrderedMean, Some((_, lane))) = (part.what, &feed.ordered) {
            let counts = counts.unwrap_or_default();
            return Ok(lane_ordered::finish(&self.lanes, *lane, &counts, part.what == What::OrderedMean)?);
        }
        let column = match (part.what, &feed.sum, &feed.min, &feed.max) {
            (What::Count, ..) => {
                return Ok(native::column(&DataType::Int64, counts.unwrap_or_default(), None)?);
            }
            (What::Sum, Some((sum, first)), ..) if sum.is_plain() && is_whole_64(&aggregate.data_type) => {
                let nulls = counts.and_then(|counts| of_no_value(&counts));
                native::column(&aggregate.data_type, self.lanes.sums(*first).take(groups).collect::<Vec<_>>(), nulls)
            }
            (What::Sum, Some((sum, first)), ..) => {
                if let Some(sums) = sum.floats(&self.lanes, *first, groups, None) {
                    return Ok(native::column(
                        &DataType::Float64,
                        sums,
                        counts.and_then(|counts| of_no_value(&counts)),
                    )?);
                }
                let total = |group| sum.total(&self.lanes, *first, group);
                return sums(groups, total, counts.as_deref(), &aggregate.data_type);
            }
            (What::Mean, Some((sum, first)), ..) => {
                let counts = counts.unwrap_or_default();
                if let Some(means) = sum.floats(&self.lanes, *first, groups, Some(&counts)) {
                    return Ok(native::column(&DataType::Float64, means, of_no_value(&counts))?);
                }
                let scale = aggregate.input.as_ref().and_then(|input| scale(values(&input.data_type))).unwrap_or(0);
                let total = |group| sum.total(&self.lanes, *first, group);
                means(groups, total, &counts, scale)
            }
            (What::Min, _, Some((least, lane)), _) | (What::Max, _, _, Some((least, lane))) => {
                let present = counts.map_or_else(|| vec![true; groups], |c| c.iter().map(|&count| count > 0).collect());
                let data_type = aggregate.input.as_ref().map_or(&aggregate.data_type, |input| values(&input.data_type));
                least.values(data_type, &self.lanes, *lane, &present)
            }
            _ => Err(Error::internal("an aggregate has no lane")),
        };
        Ok(column?)
    }

    /// How many values each group has, or at least whether it has some; none if each has some for sure and nobody asks how many.
    pub(super) fn counts(&self, feed: &Feed, groups: usize) -> Option<Vec<i64>> {
        let rows = self.lanes.sums(self.rows?).take(groups);
        Some(match feed.missed {
            None => rows.collect(),
            Some(missed) => rows.zip(self.lanes.sums(missed)).map(|(rows, missed)| rows - missed).collect(),
        })
    }
}

/// What rows add to the lanes that count: one that counts all, if there is one, and those of rows that do not count.
fn counts_of(feeds: &[Feed], has_rows: bool, rows: usize) -> impl Iterator<Item = &[i64]> {
    has_rows.then_some(&ONES[..rows]).into_iter().chain(misses_of(feeds, rows))
}

/// What rows add to the lanes of those that do not count, which are left alone while all do.
fn misses_of(feeds: &[Feed], rows: usize) -> impl Iterator<Item = &[i64]> {
    let are_missing = feeds.iter().any(Feed::misses_rows);
    let misses = feeds.iter().filter_map(|feed| feed.misses(&ZEROS)).filter(move |_| are_missing);
    misses.map(move |numbers| &numbers[..rows])
}

/// Whether rows may not count for this aggregate.
fn can_miss(aggregate: &TypedAggregate) -> bool {
    aggregate.filter.is_some() || sees_values(aggregate) && aggregate.input.as_ref().is_some_and(|input| input.nullable)
}

/// The type of the values of a column, which may be a dictionary.
pub(super) fn values(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => values,
        other => other,
    }
}

/// What an aggregate is made of, and its feed, which is shared or new.
fn part(aggregates: &[TypedAggregate], place: usize, feeds: &mut Vec<Feed>) -> Option<Part> {
    let aggregate = &aggregates[place];
    let input = aggregate.input.as_ref().map(|input| values(&input.data_type));
    let (mut sum, mut ordered, mut least) = (None, None, None);
    let what = match &aggregate.function {
        AggregateFunction::Len | AggregateFunction::Count => What::Count,
        AggregateFunction::Sum => {
            sum = Some(lane_sum(input?)?);
            What::Sum
        }
        AggregateFunction::Mean => {
            scale(input?)?;
            sum = Some(lane_sum(input?)?);
            What::Mean
        }
        AggregateFunction::OrderedSum => {
            ordered = Some(lane_ordered(input?)?);
            What::OrderedSum
        }
        AggregateFunction::OrderedMean => {
            ordered = Some(lane_ordered(input?)?);
            What::OrderedMean
        }
        AggregateFunction::Min => {
            least = Some(lane_least::<false>(input?)?);
            What::Min
        }
        AggregateFunction::Max => {
            least = Some(lane_least::<true>(input?)?);
            What::Max
        }
        _ => return None,
    };
    let is_same = |feed: &Feed| {
        let other = &aggregates[feed.place];
        let (both, neither) =
            (sees_values(other) && sees_values(aggregate), !sees_values(other) && !sees_values(aggregate));
        other.filter == aggregate.filter && (neither || both && other.input == aggregate.input)
    };
    let found = feeds.iter().position(is_same).unwrap_or_else(|| {
        feeds.push(Feed::new(place));
        feeds.len() - 1
    });
    let feed = &mut feeds[found];
    if let Some(sum) = sum {
        feed.sum.get_or_insert((sum, 0));
    }
    if let Some(ordered) = ordered {
        feed.ordered.get_or_insert((ordered, 0));
    }
    if let Some(least) = least {
        let slot = if what == What::Max { &mut feed.max } else { &mut feed.min };
        slot.get_or_insert((least, 0));
    }
    Some(Part { feed: found, what })
}

fn sees_values(aggregate: &TypedAggregate) -> bool {
    aggregate.function != AggregateFunction::Len
}

fn lane_sum(values: &DataType) -> Option<Box<dyn LaneSum>> {
    Some(match values {
        DataType::Int8 => Box::new(WholeLaneSum::<i8>::new()),
        DataType::Int16 => Box::new(WholeLaneSum::<i16>::new()),
        DataType::Int32 => Box::new(WholeLaneSum::<i32>::new()),
        DataType::Int64 | DataType::Duration(_) => Box::new(WholeLaneSum::<i64>::new()),
        DataType::UInt8 => Box::new(WholeLaneSum::<u8>::new()),
        DataType::UInt16 => Box::new(WholeLaneSum::<u16>::new()),
        DataType::UInt32 => Box::new(WholeLaneSum::<u32>::new()),
        DataType::UInt64 => Box::new(WholeLaneSum::<u64>::new()),
        DataType::Decimal128(_, _) => Box::new(WholeLaneSum::<i128>::new()),
        DataType::Float32 => Box::new(FloatLaneSum::<f32>::new()),
        DataType::Float64 => Box::new(FloatLaneSum::<f64>::new()),
        _ => return None,
    })
}

fn lane_ordered(values: &DataType) -> Option<Box<dyn LaneOrdered>> {
    match values {
        DataType::Float32 => Some(Box::new(OrderedLane::<f32>::new())),
        DataType::Float64 => Some(Box::new(OrderedLane::<f64>::new())),
        _ => None,
    }
}

fn lane_least<const IS_MAX: bool>(values: &DataType) -> Option<Box<dyn LaneLeast>> {
    Some(match values {
        DataType::Int8 => Box::new(LeastOf::<i8, IS_MAX>::new()),
        DataType::Int16 => Box::new(LeastOf::<i16, IS_MAX>::new()),
        DataType::Int32 | DataType::Date32 => Box::new(LeastOf::<i32, IS_MAX>::new()),
        DataType::Int64 | DataType::Timestamp(_, _) | DataType::Duration(_) => Box::new(LeastOf::<i64, IS_MAX>::new()),
        DataType::UInt8 => Box::new(LeastOf::<u8, IS_MAX>::new()),
        DataType::UInt16 => Box::new(LeastOf::<u16, IS_MAX>::new()),
        DataType::UInt32 => Box::new(LeastOf::<u32, IS_MAX>::new()),
        DataType::UInt64 => Box::new(LeastOf::<u64, IS_MAX>::new()),
        DataType::Float32 => Box::new(LeastOf::<f32, IS_MAX>::new()),
        DataType::Float64 => Box::new(LeastOf::<f64, IS_MAX>::new()),
        _ => return None,
    })
}
