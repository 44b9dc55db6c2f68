//! Values of groups in sorted runs, which states share: how quantiles are put together without their values being moved.
//!
//! A run is sorted once. States that are merged share runs, and a value by its rank is found by cutting all runs of a group at
//! pivots, until few values are left. Values are held as numbers whose order is that of the values, NaN last: so they are sorted
//! and searched as integers are.

#![expect(clippy::cast_possible_truncation, reason = "group ids fit u32: given out by GroupIds")]

use std::sync::Arc;

use super::state::NOT_TAKEN;

/// So few values are sorted instead of searched; fewer in debug builds.
const VALUES_WORTH_SEARCH: usize = if cfg!(debug_assertions) { 4 } else { 64 };

/// Runs that are about as long are put together when there are so many.
const RUNS_ALIKE: usize = if cfg!(debug_assertions) { 3 } else { 8 };

/// The number of infinity with a sign, if numbers are in the order of [`f64::total_cmp`]: with it they begin here.
const FIRST: u64 = !f64::NEG_INFINITY.to_bits();

/// A number for a value: all have the order of values, then come NaN, those with a sign last.
#[inline]
fn number(value: f64) -> u64 {
    let bits = value.to_bits();
    let in_order = if value.is_sign_negative() { !bits } else { bits | 1 << 63 };
    in_order.wrapping_sub(FIRST)
}

/// The value of a number.
#[inline]
fn value(number: u64) -> f64 {
    let in_order = number.wrapping_add(FIRST);
    f64::from_bits(if in_order >> 63 == 1 { in_order & !(1 << 63) } else { !in_order })
}

/// Values of some groups, sorted in each group.
#[derive(Debug, Default)]
struct Sorted {
    /// Where the values of each group begin, and the last ones end.
    ends: Vec<usize>,
    values: Vec<u64>,
}

impl Sorted {
    /// Sorts the values of groups that lie one after another, ending there.
    fn sorting(ends: Vec<usize>, mut values: Vec<u64>) -> Self {
        for range in ends.windows(2) {
            // Runs one after another are merged by it.
            values[range[0]..range[1]].sort();
        }
        Self { ends, values }
    }

    /// Those of a group; none of one that came later.
    fn of(&self, group: usize) -> &[u64] {
        match self.ends.get(group..).and_then(|ends| ends.first_chunk()) {
            Some(&[start, end]) => &self.values[start..end],
            None => &[],
        }
    }

    fn groups(&self) -> usize {
        self.ends.len() - 1
    }
}

/// Sorted values, as those of the groups of a state.
#[derive(Debug, Clone)]
pub(super) struct Run {
    sorted: Arc<Sorted>,
    /// The group of the state for each group of the values, or [`NOT_TAKEN`]; if nothing, they are the same.
    to: Option<Arc<[u32]>>,
}

impl Run {
    /// Sorts values, each with its group, of which there are so many.
    pub(super) fn of(groups: usize, values: &[(u32, f64)]) -> Self {
        let mut ends = vec![0; groups + 1];
        values.iter().for_each(|&(group, _)| ends[group as usize + 1] += 1);
        let mut next = added_up(&mut ends);
        let mut sorted = vec![0; values.len()];
        for &(group, value) in values {
            let place = &mut next[group as usize];
            sorted[*place] = number(value);
            *place += 1;
        }
        Self { sorted: Arc::new(Sorted::sorting(ends, sorted)), to: None }
    }

    /// The values of several runs, of so many groups.
    pub(super) fn together(groups: usize, runs: &[Self]) -> Self {
        let by_group = ByGroup::of(groups, runs);
        let mut ends = Vec::with_capacity(groups + 1);
        let mut values = Vec::with_capacity(runs.iter().map(Self::len).sum());
        ends.push(0);
        for group in 0..groups {
            by_group.slices(group).iter().for_each(|slice| values.extend_from_slice(slice));
            ends.push(values.len());
        }
        Self { sorted: Arc::new(Sorted::sorting(ends, values)), to: None }
    }

    /// Puts the last runs together as long as enough of them are about as long. So there are a few for each power of their number,
    /// and a value is moved as often as that power says.
    pub(super) fn compact(groups: usize, runs: &mut Vec<Self>) {
        while let Some(last) = runs.last().map(Self::len) {
            let alike = runs.iter().rev().take_while(|run| run.len() <= 2 * last).count();
            if alike < RUNS_ALIKE {
                return;
            }
            let together = Self::together(groups, &runs[runs.len() - alike..]);
            runs.truncate(runs.len() - alike);
            runs.push(together);
        }
    }

    /// How many values there are, also of groups that are not taken.
    fn len(&self) -> usize {
        self.sorted.values.len()
    }

    /// Where the values of each group end, and the values; of a run of the state's own groups.
    pub(super) fn values(&self) -> (&[usize], impl Iterator<Item = f64>) {
        (&self.sorted.ends, self.sorted.values.iter().map(|&number| value(number)))
    }

    /// Whether the groups are those of the state.
    pub(super) fn is_plain(&self) -> bool {
        self.to.is_none()
    }

    fn target(&self, group: usize) -> u32 {
        self.to.as_ref().map_or(group as u32, |to| to[group])
    }

    /// The same as a run of another state, in which each group is another one, or [`NOT_TAKEN`]; none if none is taken.
    pub(super) fn moved(&self, table: &[u32]) -> Option<Self> {
        let to = (0..self.sorted.groups()).map(|group| match self.target(group) {
            NOT_TAKEN => NOT_TAKEN,
            target => table[target as usize],
        });
        let to = to.collect::<Vec<_>>();
        let taken = to.iter().filter(|&&target| target != NOT_TAKEN).count();
        if 2 * taken < to.len() {
            let pairs = to.iter().enumerate().filter(|(_, target)| **target != NOT_TAKEN);
            return self.chosen(pairs.map(|(group, &target)| (group, target)));
        }
        let is_same = to.iter().zip(0..).all(|(&target, group)| target == group);
        Some(Self { sorted: Arc::clone(&self.sorted), to: (!is_same).then(|| to.into()) })
    }

    /// A copy of the values of some groups, as those of other groups; none of no groups.
    pub(super) fn chosen(&self, groups: impl Iterator<Item = (usize, u32)>) -> Option<Self> {
        let (mut sorted, mut to) = (Sorted { ends: vec![0], values: Vec::new() }, Vec::new());
        for (group, target) in groups {
            sorted.values.extend_from_slice(self.sorted.of(group));
            sorted.ends.push(sorted.values.len());
            to.push(target);
        }
        (!to.is_empty()).then(|| Self { sorted: Arc::new(sorted), to: Some(to.into()) })
    }
}

/// Makes how many there are of each, behind a zero, into where they end; gives where each begins.
fn added_up(ends: &mut [usize]) -> Vec<usize> {
    for group in 1..ends.len() {
        ends[group] += ends[group - 1];
    }
    ends.to_vec()
}

/// The sorted values of each group, from all runs.
pub(super) struct ByGroup<'a> {
    ends: Vec<usize>,
    slices: Vec<&'a [u64]>,
}

impl<'a> ByGroup<'a> {
    pub(super) fn of(groups: usize, runs: &'a [Run]) -> Self {
        let mut ends = vec![0; groups + 1];
        for run in runs {
            each(run, |target, _| ends[target + 1] += 1);
        }
        let mut next = added_up(&mut ends);
        let mut slices: Vec<&[u64]> = vec![&[]; ends[groups]];
        for run in runs {
            each(run, |target, values| {
                slices[next[target]] = values;
                next[target] += 1;
            });
        }
        Self { ends, slices }
    }

    pub(super) fn slices(&self, group: usize) -> &[&'a [u64]] {
        &self.slices[self.ends[group]..self.ends[group + 1]]
    }
}

/// Calls back with each group of the state that has values in a run.
fn each<'a>(run: &'a Run, mut call: impl FnMut(usize, &'a [u64])) {
    for group in 0..run.sorted.groups() {
        let (target, values) = (run.target(group), run.sorted.of(group));
        if target != NOT_TAKEN && !values.is_empty() {
            call(target as usize, values);
        }
    }
}

/// Finds values in several runs by their rank. Kept for its memory.
#[derive(Default)]
pub(super) struct Search<'a> {
    slices: Vec<&'a [u64]>,
    /// Of each slice how many values are less than the pivot, and how many are not greater.
    cuts: Vec<(usize, usize)>,
    /// A value of each slice, and how long the slice is.
    candidates: Vec<(u64, usize)>,
    /// The values that are left in the end.
    rest: Vec<u64>,
}

impl<'a> Search<'a> {
    /// The value that has so many before it in the order of all of these, of which there are more, and the one after it; of the
    /// last one the same twice.
    pub(super) fn pair_at(&mut self, slices: &[&'a [u64]], mut rank: usize) -> (f64, f64) {
        let values = |low, high| (value(low), value(high));
        if let [only] = slices {
            return values(only[rank], only[(rank + 1).min(only.len() - 1)]);
        }
        self.slices.clear();
        self.slices.extend_from_slice(slices);
        // The least of those that were left out for being too large.
        let mut above = None;
        let mut halves = false;
        loop {
            let left = self.slices.iter().map(|slice| slice.len()).sum::<usize>();
            if left <= VALUES_WORTH_SEARCH {
                let rest = &mut self.rest;
                rest.clear();
                self.slices.iter().for_each(|slice| rest.extend_from_slice(slice));
                rest.sort_unstable();
                return values(rest[rank], rest.get(rank + 1).copied().or(above).unwrap_or(rest[rank]));
            }
            // Whatever the values are, a quarter of them goes every other time.
            let aim = if halves { left / 2 } else { beyond(rank, left) };
            halves = !halves;
            let pivot = self.cut(aim, left);
            let smaller = self.cuts.iter().map(|(from, _)| from).sum::<usize>();
            let not_larger = self.cuts.iter().map(|(_, to)| to).sum::<usize>();
            let slices = self.slices.iter_mut().zip(&self.cuts);
            if rank < smaller {
                slices.for_each(|(slice, &(from, _))| *slice = &slice[..from]);
                above = Some(pivot);
            } else if rank >= not_larger {
                slices.for_each(|(slice, &(_, to))| *slice = &slice[to..]);
                rank -= not_larger;
            } else {
                let next = slices.filter_map(|(slice, &(_, to))| slice.get(to).copied()).chain(above).min();
                return values(pivot, if rank + 1 < not_larger { pivot } else { next.unwrap_or(pivot) });
            }
            self.slices.retain(|slice| !slice.is_empty());
        }
    }

    /// Cuts all slices at a pivot that has about `aim` of all `left` values before it: the median, weighted by their lengths, of
    /// the values in the same part of each slice.
    fn cut(&mut self, aim: usize, left: usize) -> u64 {
        self.candidates.clear();
        self.candidates.extend(self.slices.iter().map(|slice| (slice[slice.len() * aim / left], slice.len())));
        self.candidates.sort_unstable();
        let mut weight = 0;
        let middle = self.candidates.iter().find(|(_, len)| {
            weight += len;
            2 * weight >= left
        });
        // The last one has all the weight.
        let pivot = middle.map_or(0, |(value, _)| *value);
        self.cuts.clear();
        self.cuts.extend(self.slices.iter().map(|slice| {
            let from = slice.partition_point(|&value| value < pivot);
            let is_there = slice.get(from) == Some(&pivot);
            (from, if is_there { from + slice[from..].partition_point(|&value| value == pivot) } else { from })
        }));
        pivot
    }
}

/// A rank a little nearer to the middle: then the smaller part is left, most times (Floyd and Rivest, "Expected Time Bounds for
/// Selection", 1975).
fn beyond(rank: usize, left: usize) -> usize {
    let reach = left.isqrt();
    if rank < left / 2 { rank + reach.min(left - 1 - rank) } else { rank.saturating_sub(reach) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that repeat, with some of all kinds.
    fn numbers(count: usize, mut state: u64) -> Vec<f64> {
        let odd = [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, f64::MIN_POSITIVE, f64::MAX];
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let mut one = move |_| match next() % 10 {
            0 => odd[next() % odd.len()],
            1..5 => f64::from(next() as u32 % 7),
            _ => f64::from(next() as u32) / 3.0 - 1e8,
        };
        (0..count).map(&mut one).collect()
    }

    fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<u64> {
        let mut numbers = values.into_iter().map(number).collect::<Vec<_>>();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn numbers_are_in_the_order_of_their_values() {
        let kind = |value: f64| (value.is_nan(), value.is_nan() && value.is_sign_negative());
        let values = numbers(2_000, 77);
        for &a in &values {
            assert_eq!(value(number(a)).to_bits(), a.to_bits());
            for &b in &values[..60] {
                let expected = kind(a).cmp(&kind(b)).then(a.total_cmp(&b));
                assert_eq!(number(a).cmp(&number(b)), expected, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_value_by_its_rank_is_that_of_all_values_sorted() {
        let mut search = Search::default();
        let lengths: [&[usize]; 9] =
            [&[1], &[0, 3], &[64, 1], &[65], &[33, 32], &[400, 1, 7, 400], &[1000, 1000, 1000], &[90; 40], &[3000, 2]];
        for (seed, lengths) in (0_u64..).zip(lengths) {
            let slices = lengths.iter().zip(1..).map(|(&len, number)| sorted(numbers(len, seed * 64 + number)));
            let slices = slices.collect::<Vec<_>>();
            let mut all = slices.concat();
            all.sort_unstable();
            for rank in 0..all.len() {
                let slices = slices.iter().map(Vec::as_slice).collect::<Vec<_>>();
                let (low, high) = Search::default().pair_at(&slices, rank);
                let next = all[(rank + 1).min(all.len() - 1)];
                let found = (number(low), number(high));
                assert_eq!(found, (all[rank], next), "{rank} of {lengths:?}");
            }
        }
        // What was searched before leaves no trace.
        let (many, few) = (sorted(numbers(500, 1)), sorted(numbers(9, 2)));
        assert_eq!(search.pair_at(&[&many, &many], 0).0.to_bits(), value(many[0]).to_bits());
        assert_eq!(search.pair_at(&[&few, &few], 17).1.to_bits(), value(few[8]).to_bits());
    }

    #[test]
    fn equal_values_and_values_in_order_are_searched_as_well() {
        let equal = vec![7; 5_000];
        let rising = (0..5_000).collect::<Vec<_>>();
        let later = (5_000..10_000).collect::<Vec<_>>();
        let numbers = |(low, high)| (number(low), number(high));
        for rank in [0, 1, 6, 7, 8, 4_999, 5_000, 9_999] {
            assert_eq!(numbers(Search::default().pair_at(&[&equal, &equal], rank)), (7, 7));
            let (low, high) = numbers(Search::default().pair_at(&[&later, &rising], rank));
            assert_eq!((low, high), (rank as u64, (rank as u64 + 1).min(9_999)));
        }
    }

    #[test]
    fn runs_move_with_their_groups_however_few_are_taken() {
        let values = numbers(300, 9).into_iter().zip((0..10).cycle()).map(|(value, group)| (group, value));
        let values = values.collect::<Vec<_>>();
        let run = Run::of(10, &values);
        let of = |group: u32| sorted(values.iter().filter(|(of, _)| *of == group).map(|(_, value)| *value));
        for taken in [0, 1, 3, 4, 5, 6, 10] {
            // The last ones become the first ones, in turned order, and are moved once more.
            let table = (0..10).map(|group| if group < 10 - taken { NOT_TAKEN } else { 9 - group }).collect::<Vec<_>>();
            let Some(moved) = run.moved(&table) else {
                assert_eq!(taken, 0);
                continue;
            };
            let again = moved.moved(&(0..taken).map(|group| group + 1).collect::<Vec<_>>()).unwrap();
            let groups = taken as usize + 1;
            let runs = [again.clone(), again];
            let by_group = ByGroup::of(groups, &runs);
            assert!(by_group.slices(0).is_empty());
            for group in 0..taken {
                let expected = of(9 - group);
                assert_eq!(by_group.slices(group as usize + 1), [&expected[..], &expected[..]]);
            }
            let together = Run::together(groups, &runs);
            let (ends, all) = together.values();
            let all = all.map(number).collect::<Vec<_>>();
            assert_eq!((ends.len(), all.len()), (groups + 1, 60 * taken as usize));
            assert!(ends.windows(2).all(|ends| all[ends[0]..ends[1]].is_sorted()));
        }
    }

    #[test]
    fn runs_stay_few_and_keep_their_values() {
        let mut runs = Vec::new();
        let mut all = Vec::new();
        for number in 0..200 {
            let values = numbers(20, number).into_iter().map(|value| (0, value)).collect::<Vec<_>>();
            all.extend(values.iter().map(|(_, value)| *value));
            runs.push(Run::of(1, &values));
            Run::compact(1, &mut runs);
            assert!(runs.len() <= RUNS_ALIKE * 6, "{number}");
        }
        let together = Run::together(1, &runs);
        assert_eq!(together.values().1.map(number).collect::<Vec<_>>(), sorted(all));
    }
}
