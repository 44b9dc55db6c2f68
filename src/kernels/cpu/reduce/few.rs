//! Sums of numbers of rows of a few groups: each group has a mask, and its sum is that of all numbers under it.
//!
//! A row that adds to the lanes of its group waits for the row before it, if that is of the same group; with few groups it mostly is.
//! Under masks no row waits for another, and the sums stay in registers.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "there are few groups; masks are all bits or none"
)]

use arrow_array::ArrayRef;
use fearless_simd::{Select, Simd, SimdBase, dispatch, i64x4};
use fearless_simd_macros::simd;

use super::lane_ordered::sum_kept;
use super::lane_sum::Bound;
use super::laned::{Laned, What};
use super::lanes::Act;
use super::state::Ids;
use super::{Groups, KeyedReduce};
use crate::kernels::cpu::simd;

/// So many groups are few.
pub(in crate::kernels::cpu) const GROUPS_MAX: usize = 8;

/// Rows that are taken in at once, at most.
pub(in crate::kernels::cpu) const ROWS: usize = 512;

/// Sums of the numbers of so many rows fit 64 bits if none is further from zero.
pub(in crate::kernels::cpu) const NUMBER_MAX: u64 = 1 << 52;

/// Rows of a word of bits.
const WORD_ROWS: usize = u64::BITS as usize;

/// Rows of a part of the masks.
pub(super) const PART: usize = 4;

/// Numbers of some rows.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels::cpu) enum Made<'a> {
    /// None is further from zero than this.
    Wholes(&'a [i64], u64),
    Floats(&'a [f64]),
}

/// The sums of one input for each group, in each of its lanes, and a bound on what is added to one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums {
    pub(super) lanes: [[i64; GROUPS_MAX]; 2],
    pub(super) bound: Bound,
}

/// Which of a few groups each of some rows belongs to.
#[derive(Debug, Default)]
pub(in crate::kernels::cpu) struct Masks {
    rows: usize,
    groups: usize,
    /// Of more groups than one, four rows after four rows: for each of `stride()` groups four numbers, all bits set for a row of it,
    /// none for another.
    parts: Vec<i64>,
    /// How many rows each group has.
    counts: [i64; GROUPS_MAX],
    /// All bits set for a row that counts, none for another.
    keep: Vec<i64>,
    /// The same, a bit a row.
    words: [u64; ROWS / WORD_ROWS],
    /// The group of each row; of a row that does not count, any.
    ids: Vec<u32>,
}

impl Masks {
    /// All of so many rows belong to one group.
    pub(in crate::kernels::cpu) fn set_all(&mut self, rows: usize) {
        self.start(rows, 1);
        self.keep[..rows].fill(-1);
        self.keep[rows..].fill(0);
        self.words.fill(u64::MAX);
        self.counts[0] = rows as i64;
    }

    /// The rows whose bits are set belong to one group, the others to none.
    pub(in crate::kernels::cpu) fn set_kept(&mut self, rows: usize, words: &[u64]) {
        self.start(rows, 1);
        self.expand(words);
    }

    /// Each row belongs to the group of this number, if its bit is set.
    pub(in crate::kernels::cpu) fn set_groups(&mut self, ids: &[u32], groups: usize, words: &[u64]) {
        self.start(ids.len(), groups);
        self.expand(words);
        self.ids.clear();
        self.ids.extend(ids.iter().zip(&self.keep).map(|(&id, &keep)| id & keep as u32));
        if groups == 1 {
            return;
        }
        let Self { parts, keep, ids, counts, .. } = self;
        let padded = ids.len().next_multiple_of(PART);
        ids.resize(padded, 0);
        let keep = &keep[..padded];
        *counts = match stride(groups) {
            2 => dispatch!(simd::level(), simd => part_groups::<_, 2>(simd, ids, keep, parts)),
            4 => dispatch!(simd::level(), simd => part_groups::<_, 4>(simd, ids, keep, parts)),
            _ => dispatch!(simd::level(), simd => part_groups::<_, GROUPS_MAX>(simd, ids, keep, parts)),
        };
        ids.truncate(self.rows);
    }

    fn start(&mut self, rows: usize, groups: usize) {
        debug_assert!(rows <= ROWS && (1..=GROUPS_MAX).contains(&groups), "more than were promised");
        (self.rows, self.groups) = (rows, groups);
        self.counts = [0; GROUPS_MAX];
        self.keep.resize(rows.next_multiple_of(WORD_ROWS), 0);
        if groups > 1 {
            self.parts.resize(stride(groups) * rows.next_multiple_of(PART), 0);
        }
    }

    /// Sets which rows count, and counts them as if they were of the first group.
    fn expand(&mut self, words: &[u64]) {
        let words = &words[..self.keep.len() / WORD_ROWS];
        self.words[..words.len()].copy_from_slice(words);
        let last = u64::MAX >> (self.keep.len() - self.rows).min(WORD_ROWS - 1);
        self.counts[0] = words.iter().map(|word| i64::from(word.count_ones())).sum();
        if let Some(word) = words.last() {
            self.counts[0] -= i64::from((word & !last).count_ones());
        }
        dispatch!(simd::level(), simd => expand(simd, words, &mut self.keep));
        self.keep[self.rows..].fill(0);
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn counts(&self) -> &[i64; GROUPS_MAX] {
        &self.counts
    }

    /// All bits set for a row that counts, none for another; padded with none.
    pub(super) fn keep(&self) -> &[i64] {
        &self.keep
    }

    /// The same, if there is one group.
    pub(super) fn of_one_group(&self) -> Option<&[[i64; PART]]> {
        (self.groups == 1).then(|| self.keep[..self.rows.next_multiple_of(PART)].as_chunks().0)
    }

    /// The masks, and for how many groups they are; see [`by_stride`].
    fn parts(&self) -> (&[[i64; PART]], usize) {
        let parts = if self.groups == 1 { &self.keep[..self.rows.next_multiple_of(PART)] } else { &self.parts };
        (parts.as_chunks().0, stride(self.groups))
    }
}

/// For how many groups there are masks if there are so many groups.
fn stride(groups: usize) -> usize {
    groups.next_power_of_two()
}

/// Runs an expression in which `$masks` is a slice of arrays of the masks of all groups for four rows, and `$groups` their number.
macro_rules! by_stride {
    ($of:expr, ($masks:ident, $groups:ident) => $run:expr) => {{
        let (parts, stride) = $of.parts();
        macro_rules! with {
            ($number:literal) => {{
                const $groups: usize = $number;
                let $masks: &[[[i64; PART]; $groups]] = parts.as_chunks::<$groups>().0;
                $run
            }};
        }
        match stride {
            1 => with!(1),
            2 => with!(2),
            4 => with!(4),
            _ => with!(8),
        }
    }};
}

/// For each bit: all bits set if it is.
#[simd]
fn expand<S: Simd>(_: S, words: &[u64], keep: &mut [i64]) {
    for (word, keep) in words.iter().zip(keep.as_chunks_mut::<WORD_ROWS>().0) {
        for (bit, keep) in keep.iter_mut().enumerate() {
            *keep = -(((word >> bit) & 1) as i64);
        }
    }
}

/// Writes the masks of the groups; gives how many rows each has.
#[simd]
fn part_groups<S: Simd, const GROUPS: usize>(
    simd: S,
    ids: &[u32],
    keep: &[i64],
    parts: &mut [i64],
) -> [i64; GROUPS_MAX] {
    let (none, all) = (i64x4::splat(simd, 0), i64x4::splat(simd, -1));
    let mut counts = [none; GROUPS];
    let parts = parts.as_chunks_mut::<PART>().0.as_chunks_mut::<GROUPS>().0;
    for ((ids, keep), part) in ids.as_chunks::<PART>().0.iter().zip(keep.as_chunks::<PART>().0).zip(parts) {
        let ids = i64x4::load_array(simd, ids.map(i64::from));
        let keep = i64x4::load_array_ref(simd, keep);
        for (group, (mask, count)) in part.iter_mut().zip(&mut counts).enumerate() {
            let found = ids.simd_eq(i64x4::splat(simd, group as i64)).select(all, none) & keep;
            *count -= found;
            found.store_array(mask);
        }
    }
    totals(counts)
}

/// The sum of the numbers of each vector.
#[inline(always)]
pub(super) fn totals<S: Simd, const GROUPS: usize>(sums: [i64x4<S>; GROUPS]) -> [i64; GROUPS_MAX] {
    let mut totals = [0; GROUPS_MAX];
    for (total, sum) in totals.iter_mut().zip(sums) {
        *total = sum.to_array().iter().fold(0, |total: i64, &number| total.wrapping_add(number));
    }
    totals
}

/// The sum of the numbers of each group.
pub(super) fn sum_wholes(numbers: &[i64], masks: &Masks) -> [i64; GROUPS_MAX] {
    by_stride!(masks, (parts, GROUPS) => {
        dispatch!(simd::level(), simd => sum_under::<_, GROUPS>(simd, numbers, parts))
    })
}

#[simd]
fn sum_under<S: Simd, const GROUPS: usize>(
    simd: S,
    numbers: &[i64],
    masks: &[[[i64; PART]; GROUPS]],
) -> [i64; GROUPS_MAX] {
    let mut sums = [i64x4::splat(simd, 0); GROUPS];
    let (whole, rest) = numbers.as_chunks::<PART>();
    for (numbers, masks) in whole.iter().zip(masks) {
        add_under(simd, i64x4::load_array_ref(simd, numbers), masks, &mut sums);
    }
    if let Some(masks) = masks.get(whole.len()) {
        add_under(simd, i64x4::load_array(simd, padded(rest)), masks, &mut sums);
    }
    totals(sums)
}

/// Adds four numbers to the sums of their groups.
#[inline(always)]
fn add_under<S: Simd, const GROUPS: usize>(
    simd: S,
    numbers: i64x4<S>,
    masks: &[[i64; PART]; GROUPS],
    sums: &mut [i64x4<S>; GROUPS],
) {
    for (sum, mask) in sums.iter_mut().zip(masks) {
        *sum += numbers & i64x4::load_array_ref(simd, mask);
    }
}

/// The last rows, and zeros.
#[inline(always)]
pub(super) fn padded<N: Copy + Default>(rest: &[N]) -> [N; PART] {
    let mut four = [N::default(); PART];
    four.iter_mut().zip(rest).for_each(|(slot, &number)| *slot = number);
    four
}

impl Laned {
    /// Whether all that is kept here is made of sums and counts of rows without filters.
    fn is_of_sums(&self) -> bool {
        let are_sums = |what| !matches!(what, What::Min | What::Max);
        self.parts.iter().all(|part| part.is_some_and(|part| are_sums(part.what)))
    }

    /// Takes rows in whose numbers are at hand, by the place of the aggregate; no value is null. If it cannot, nothing is taken in.
    fn take_made<'a>(&mut self, groups: usize, masks: &Masks, mut made: impl FnMut(usize) -> Option<Made<'a>>) -> bool {
        self.lanes.grow(groups);
        let Self { lanes, feeds, .. } = self;
        for feed in &mut *feeds {
            if let Some((sum, first)) = &mut feed.sum {
                feed.sums = made(feed.place).and_then(|made| sum.sum_up(made, masks, lanes, *first));
                if feed.sums.is_none() {
                    return false;
                }
            }
            if let Some((ordered, lane)) = &mut feed.ordered {
                let Some(Made::Floats(floats)) = made(feed.place) else { return false };
                match groups {
                    1 => feed.ordered_sum = sum_kept(lanes.float(0, *lane), floats, &masks.words),
                    _ => ordered.take_made(floats, &masks.keep),
                }
            }
        }
        for feed in &mut *feeds {
            if let (Some((sum, first)), Some(sums)) = (&mut feed.sum, feed.sums.take()) {
                let count = sum.lanes();
                sum.make_room(sums.bound, lanes, *first);
                for (lane, sums) in sums.lanes.iter().take(count).enumerate() {
                    sums.iter()
                        .take(groups)
                        .enumerate()
                        .for_each(|(group, &more)| lanes.add(group, *first + lane, more));
                }
            }
        }
        if let Some(lane) = self.rows {
            masks.counts.iter().take(groups).enumerate().for_each(|(group, &rows)| lanes.add(group, lane, rows));
        }
        if groups == 1 {
            let sums = feeds.iter().filter_map(|feed| feed.ordered.as_ref().map(|(_, lane)| (*lane, feed.ordered_sum)));
            sums.for_each(|(lane, sum)| lanes.set_float(0, lane, sum));
        } else {
            let floats = feeds.iter().filter_map(|feed| feed.floats(0..masks.rows));
            lanes.take_in((Act::AddFloat, 0), Ids::Each(&masks.ids), floats);
        }
        true
    }
}

impl KeyedReduce {
    /// Whether its groups can take rows in as numbers, by [`Groups::take_made`].
    pub(in crate::kernels::cpu) fn takes_numbers(&self) -> bool {
        let aggregates = &self.0.aggregates;
        let has_filters = aggregates.iter().any(|aggregate| aggregate.filter.is_some());
        !has_filters && !aggregates.is_empty() && Laned::new(aggregates, !self.0.keys.is_empty()).is_of_sums()
    }
}

impl Groups {
    /// How many groups there are, if these are few and rows are not put off.
    pub(in crate::kernels::cpu) fn few(&self) -> Option<usize> {
        Some(self.slots()).filter(|groups| !self.defers && (1..=GROUPS_MAX).contains(groups))
    }

    /// Finds the groups of rows with these keys; false if one has none yet, or they are not found without much ado.
    pub(in crate::kernels::cpu) fn find(&mut self, keys: &[ArrayRef]) -> bool {
        self.ids.find(keys, &mut self.row_ids)
    }

    /// The groups found last, of so many rows from this one on.
    pub(in crate::kernels::cpu) fn found(&self, from: usize, rows: usize) -> Option<&[u32]> {
        self.row_ids.get(from..from + rows)
    }

    /// Takes rows of the groups that there are in, as numbers by the place of their aggregate; no value is null. Says whether it
    /// could; if not, nothing has been taken in.
    pub(in crate::kernels::cpu) fn take_made<'a>(
        &mut self,
        masks: &Masks,
        made: impl FnMut(usize) -> Option<Made<'a>>,
    ) -> bool {
        let groups = self.slots();
        self.laned.take_made(groups, masks, made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_under_masks_are_those_of_rows_one_by_one() {
        let mut masks = Masks::default();
        for level in simd::available() {
            for groups in 1..=GROUPS_MAX {
                for rows in [0, 1, 3, 4, 5, 63, 64, 65, 127, 511, 512] {
                    let number = |row: usize| (row as i64 + 3).wrapping_mul(0x5851_f42d_4c95_7f2d) >> 12;
                    let ids: Vec<u32> = (0..rows).map(|row| (number(row) as u64 >> 7) as u32 % groups as u32).collect();
                    let is_kept = |row: usize| number(row) % 7 != 0;
                    let mut words = vec![0_u64; rows.div_ceil(64)];
                    (0..rows).filter(|&row| is_kept(row)).for_each(|row| words[row / 64] |= 1 << (row % 64));
                    let numbers: Vec<i64> = (0..rows).map(number).collect();
                    let (mut counts, mut sums) = ([0; GROUPS_MAX], [0_i64; GROUPS_MAX]);
                    for row in (0..rows).filter(|&row| is_kept(row)) {
                        counts[ids[row] as usize] += 1;
                        sums[ids[row] as usize] += numbers[row];
                    }
                    simd::with_level(level, || {
                        masks.set_groups(&ids, groups, &words);
                        assert_eq!(masks.counts, counts, "{groups} groups, {rows} rows");
                        assert_eq!(sum_wholes(&numbers, &masks), sums, "{groups} groups, {rows} rows");
                        masks.set_kept(rows, &words);
                        assert_eq!(masks.counts[0], counts.iter().sum::<i64>());
                        assert_eq!(sum_wholes(&numbers, &masks)[0], sums.iter().sum::<i64>());
                        masks.set_all(rows);
                        assert_eq!(sum_wholes(&numbers, &masks)[0], numbers.iter().sum::<i64>());
                    });
                }
            }
        }
    }
}
