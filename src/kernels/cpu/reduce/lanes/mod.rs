//! The slots of all aggregates that add whole numbers or keep the least one: a row of lanes for each group.
//!
//! Sums, means, counts, minima and maxima of numbers all come down to 64-bit lanes: each row of a batch adds a number to
//! some lanes of its group and offers one to others. The lanes of a group lie side by side, so that a row touches one
//! line of the cache, however many aggregates there are. What the numbers mean is the business of `feed`.

mod merge;

use fearless_simd::{Bytes, Simd, SimdBase, dispatch, f64x2, i64x2};
use fearless_simd_macros::simd;

#[cfg(target_arch = "x86_64")]
use super::fours::{Mix, scatter_fours, scatter_mixed};
#[cfg(target_arch = "x86_64")]
use super::plain::Fours;
use super::state::Ids;
use crate::kernels::cpu::simd;

/// Rows worked on at once, at most: what is computed for them stays in a first-level cache until it is added.
pub(super) const ROWS: usize = 1024;

/// The same while the lanes fit the cache, too: the next columns are on their way from memory while these are added.
/// Measured: a tenth less time than with 1,024.
const ROWS_OF_FEW: usize = 256;

/// Bytes of lanes that share a second-level cache with tables and columns. Of more, most rows wait for their lanes; then
/// many rows at once keep many such waits under way. Measured with 100,000 groups: a quarter less time than with 256.
const FEW_BYTES: usize = 1 << 18;

/// Lanes handled by one loop over the rows.
pub(super) const AT_ONCE: usize = 4;

/// What rows that all count add to the lane of those that do not, and to a lane that nobody reads.
pub(super) static ZEROS: [i64; ROWS] = [0; ROWS];

/// What each row adds to the lane that counts rows.
pub(super) static ONES: [i64; ROWS] = [1; ROWS];

/// Lanes of all groups: first those that keep the least number, then those that add floats, then those that add whole
/// numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Lanes {
    leasts: usize,
    floats: usize,
    adds: usize,
    groups: usize,
    /// `groups` rows of `width()` numbers.
    slots: Vec<i64>,
}

/// What a lane does with a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Add,
    /// Numbers are the bits of floats.
    AddFloat,
    Least,
}

/// Which lanes got the values of some rows as these lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    All,
    /// The same, and each of their groups had a row before.
    AllOfKnown,
    /// Those that add floats: whatever a float is, it is added.
    Floats,
    Nothing,
}

/// An [`Act`] that a loop is compiled for.
pub(super) trait Step {
    /// Whether it adds whole numbers.
    const ADDS: bool = false;
    /// What is in the lane afterwards.
    fn number(present: i64, number: i64) -> i64;
    /// The same for two lanes.
    fn pair<S: Simd>(present: i64x2<S>, numbers: i64x2<S>) -> i64x2<S>;
}

pub(super) struct Adds;
pub(super) struct AddsFloats;
pub(super) struct KeepsLeast;

impl Step for Adds {
    const ADDS: bool = true;
    #[inline(always)]
    fn number(present: i64, number: i64) -> i64 {
        present.wrapping_add(number)
    }
    #[inline(always)]
    fn pair<S: Simd>(present: i64x2<S>, numbers: i64x2<S>) -> i64x2<S> {
        present + numbers
    }
}

impl Step for AddsFloats {
    #[inline(always)]
    fn number(present: i64, number: i64) -> i64 {
        (f64::from_bits(present.cast_unsigned()) + f64::from_bits(number.cast_unsigned())).to_bits().cast_signed()
    }
    #[inline(always)]
    fn pair<S: Simd>(present: i64x2<S>, numbers: i64x2<S>) -> i64x2<S> {
        (present.bitcast::<f64x2<S>>() + numbers.bitcast::<f64x2<S>>()).bitcast()
    }
}

impl Step for KeepsLeast {
    #[inline(always)]
    fn number(present: i64, number: i64) -> i64 {
        present.min(number)
    }
    #[inline(always)]
    fn pair<S: Simd>(present: i64x2<S>, numbers: i64x2<S>) -> i64x2<S> {
        present.min(numbers)
    }
}

impl Lanes {
    /// Lanes for no groups yet.
    pub(super) fn new(leasts: usize, floats: usize, adds: usize) -> Self {
        Self { leasts, floats, adds, groups: 0, slots: Vec::new() }
    }

    /// Numbers a group, some of them unused where that makes rows of whole vectors.
    fn width(&self) -> usize {
        match self.leasts + self.floats + self.adds {
            lanes @ 0..=2 => lanes,
            lanes => lanes.next_multiple_of(AT_ONCE),
        }
    }

    /// Whether one lane more would make the rows of lanes longer, and all that loops need is there without it.
    pub(super) fn grows_by_one(&self) -> bool {
        let lanes = self.leasts + self.floats + self.adds;
        lanes == 1 || lanes.is_multiple_of(AT_ONCE)
    }

    /// How many rows should be worked on at once. Those that are added as they lie ask for later ones themselves.
    pub(super) fn rows_at_once(&self, are_plain: bool) -> usize {
        if self.are_far() || are_plain { ROWS } else { ROWS_OF_FEW }
    }

    /// Whether most rows wait for their lanes.
    fn are_far(&self) -> bool {
        self.slots.len() * size_of::<i64>() > FEW_BYTES
    }

    /// How many groups there is room for.
    pub(super) fn groups(&self) -> usize {
        self.groups
    }

    /// Forgets all groups, but keeps the memory.
    pub(super) fn clear(&mut self) {
        self.groups = 0;
        self.slots.clear();
    }

    /// Makes room for new groups.
    pub(super) fn grow(&mut self, groups: usize) {
        if groups > self.groups {
            let (width, leasts) = (self.width(), self.leasts);
            self.slots.resize(groups * width, 0);
            if leasts > 0 {
                let new = self.slots[self.groups * width..].chunks_exact_mut(width);
                new.for_each(|slot| slot[..leasts].fill(i64::MAX));
            }
            self.groups = groups;
        }
    }

    /// How many lanes of a group add whole numbers.
    pub(super) fn adds(&self) -> usize {
        self.adds
    }

    /// Gives each group so many more lanes that add whole numbers, behind the others; they hold nothing yet.
    pub(super) fn widen(&mut self, more: usize) {
        let (narrow, lanes) = (self.width(), self.first_add() + self.adds);
        self.adds += more;
        let width = self.width();
        if width > narrow {
            let slots = std::mem::replace(&mut self.slots, vec![0; self.groups * width]);
            let wide = self.slots.chunks_exact_mut(width);
            wide.zip(slots.chunks_exact(narrow.max(1)))
                .for_each(|(wide, slot)| wide[..lanes].copy_from_slice(&slot[..lanes]));
        }
    }

    /// The first of the lanes that add whole numbers.
    fn first_add(&self) -> usize {
        self.leasts + self.floats
    }

    /// The number in an adding lane of a group.
    pub(super) fn sum(&self, group: usize, lane: usize) -> i64 {
        self.slots[group * self.width() + self.first_add() + lane]
    }

    /// The number in an adding lane of each group.
    pub(super) fn sums(&self, lane: usize) -> impl Iterator<Item = i64> {
        let (width, lane) = (self.width(), self.first_add() + lane);
        self.slots.chunks_exact(width.max(1)).map(move |slot| slot[lane])
    }

    /// The float in a lane that adds floats.
    pub(super) fn float(&self, group: usize, lane: usize) -> f64 {
        f64::from_bits(self.slots[group * self.width() + self.leasts + lane].cast_unsigned())
    }

    /// Puts a float into a lane that adds floats.
    pub(super) fn set_float(&mut self, group: usize, lane: usize, float: f64) {
        let at = group * self.width() + self.leasts + lane;
        self.slots[at] = float.to_bits().cast_signed();
    }

    /// The bits of the float in a lane that adds floats, of each group; they may be changed.
    pub(super) fn floats_mut(&mut self, lane: usize) -> impl Iterator<Item = &mut i64> {
        let (width, lane) = (self.width(), self.leasts + lane);
        self.slots.chunks_exact_mut(width.max(1)).map(move |slot| &mut slot[lane])
    }

    /// The number in an adding lane of each group; they may be changed.
    pub(super) fn sums_mut(&mut self, lane: usize) -> impl Iterator<Item = &mut i64> {
        let (width, lane) = (self.width(), self.first_add() + lane);
        self.slots.chunks_exact_mut(width.max(1)).map(move |slot| &mut slot[lane])
    }

    /// The number in a lane that keeps the least, of each group; they may be changed.
    pub(super) fn leasts_mut(&mut self, lane: usize) -> impl Iterator<Item = &mut i64> {
        let width = self.width();
        self.slots.chunks_exact_mut(width.max(1)).map(move |slot| &mut slot[lane])
    }

    /// Adds to the adding lane of a group.
    pub(super) fn add(&mut self, group: usize, lane: usize, more: i64) {
        let at = group * self.width() + self.first_add() + lane;
        self.slots[at] = self.slots[at].wrapping_add(more);
    }

    /// Offers a number to a lane that keeps the least.
    #[cfg(feature = "gpu")]
    pub(super) fn offer(&mut self, group: usize, lane: usize, number: i64) {
        let at = group * self.width() + lane;
        self.slots[at] = self.slots[at].min(number);
    }

    /// The number in a lane that keeps the least.
    pub(super) fn least(&self, group: usize, lane: usize) -> i64 {
        self.slots[group * self.width() + lane]
    }

    /// Gives the numbers of up to [`ROWS`] rows to the lanes of a kind, from this one of them on to as many as there are
    /// sources.
    pub(super) fn take_in<'a>(
        &mut self,
        (act, from): (Act, usize),
        ids: Ids<'_>,
        sources: impl Iterator<Item = &'a [i64]>,
    ) {
        let mut lane = from
            + match act {
                Act::Least => 0,
                Act::AddFloat => self.leasts,
                Act::Add => self.first_add(),
            };
        let mut sources = sources.peekable();
        while sources.peek().is_some() {
            let mut some: [&[i64]; AT_ONCE] = [&[]; AT_ONCE];
            let mut count = 0;
            for (place, source) in some.iter_mut().zip(&mut sources) {
                *place = source;
                count += 1;
            }
            // Three are four where there is room: vectors have no size between.
            if count == 3 && lane + AT_ONCE <= self.width() && act == Act::Add {
                (some[3], count) = (&ZEROS[..some[0].len()], AT_ONCE);
            }
            match ids {
                Ids::One => self.take_in_one(act, lane, &some[..count]),
                Ids::Each(ids) => dispatch!(simd::level(), simd => self.scatter(simd, act, lane, ids, &some[..count])),
            }
            lane += count;
        }
    }

    /// Gives numbers to all lanes that keep the least or add floats and to as many of the others as make a row of four, in one
    /// loop; says how many of those, or none, and nothing done, where there is no such loop.
    pub(super) fn take_in_mixed<'a>(
        &mut self,
        ids: Ids<'_>,
        firsts: impl Iterator<Item = &'a [i64]>,
        adds: &mut impl Iterator<Item = &'a [i64]>,
    ) -> Option<usize> {
        #[cfg(target_arch = "x86_64")]
        if let (Ids::Each(ids), Some(avx2)) = (ids, simd::level().as_avx2())
            && let Some(mix) = Mix::of(self.leasts, self.floats)
            && self.width() >= AT_ONCE
        {
            let (count, width) = (self.first_add(), self.width());
            let mut sources = [&ZEROS[..ids.len()]; AT_ONCE];
            sources.iter_mut().zip(firsts).for_each(|(place, source)| *place = source);
            let free = sources[count..].iter_mut();
            let taken = free.zip(adds).map(|(place, source)| *place = source).count();
            let are_far = self.are_far();
            scatter_mixed(avx2, mix, &mut self.slots, (width, are_far), ids, sources);
            return Some(taken);
        }
        let _ = (ids, firsts, adds);
        None
    }

    /// Whether there are loops for these rows that look at values while they are added; `are_whole` says that each sum has one lane.
    pub(super) fn take_plain(&self, ids: Ids<'_>, are_whole: bool) -> bool {
        #[cfg(target_arch = "x86_64")]
        let is_there = simd::level().as_avx2().is_some();
        #[cfg(not(target_arch = "x86_64"))]
        let is_there = false;
        is_there && (self.has_fours() || are_whole && self.is_narrow()) && matches!(ids, Ids::Each(_))
    }

    /// Whether a group has one lane or two, which add whole numbers.
    fn is_narrow(&self) -> bool {
        self.first_add() == 0 && (1..=2).contains(&self.adds)
    }

    /// Whether all lanes of a group are fours of those that such loops know.
    fn has_fours(&self) -> bool {
        self.leasts == 0 && self.floats <= 1 && self.width().is_multiple_of(AT_ONCE)
    }

    /// Adds the first `rows` of the rows with these groups to all lanes; but to those that add floats alone if others are not what
    /// they should be.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn add_plain(&mut self, ids: Ids<'_>, rows: usize, fours: &Fours<'_>) -> Added {
        let (Ids::Each(ids), Some(avx2)) = (ids, simd::level().as_avx2()) else { return Added::Nothing };
        let (width, are_far) = (self.width(), self.are_far());
        fours.add(avx2, (&mut self.slots, width), ids, rows, are_far)
    }

    /// All rows belong to one group: each source becomes one number first.
    fn take_in_one(&mut self, act: Act, first: usize, sources: &[&[i64]]) {
        for (slot, source) in self.slots[first..].iter_mut().zip(sources) {
            *slot = dispatch!(simd::level(), simd => match act {
                Act::Add => sum(simd, *slot, source),
                // In the order of the rows.
                Act::AddFloat => source.iter().fold(*slot, |sum, &number| AddsFloats::number(sum, number)),
                Act::Least => least(simd, *slot, source),
            });
        }
    }

    #[inline(always)]
    fn scatter<S: Simd>(&mut self, simd: S, act: Act, first: usize, ids: &[u32], sources: &[&[i64]]) {
        macro_rules! of_width {
            ($($width:literal)*) => {
                match (self.width(), act) {
                    $(
                        ($width, Act::Add) => scatter::<S, Adds, $width>(simd, &mut self.slots, first, ids, sources),
                        ($width, Act::AddFloat) => {
                            scatter::<S, AddsFloats, $width>(simd, &mut self.slots, first, ids, sources);
                        }
                        ($width, Act::Least) => {
                            scatter::<S, KeepsLeast, $width>(simd, &mut self.slots, first, ids, sources);
                        }
                    )*
                    (width, act) => scatter_any(&mut self.slots, width, act, first, ids, sources),
                }
            };
        }
        of_width!(1 2 4 8);
    }
}

#[simd]
fn sum<S: Simd>(_: S, start: i64, numbers: &[i64]) -> i64 {
    numbers.iter().fold(start, |sum, &number| sum.wrapping_add(number))
}

#[simd]
fn least<S: Simd>(_: S, start: i64, numbers: &[i64]) -> i64 {
    numbers.iter().fold(start, |least, &number| least.min(number))
}

/// Chooses the loop for the number of sources.
#[simd]
fn scatter<S: Simd, A: Step, const WIDTH: usize>(
    simd: S,
    slots: &mut [i64],
    first: usize,
    ids: &[u32],
    sources: &[&[i64]],
) {
    let (slots, _) = slots.as_chunks_mut::<WIDTH>();
    match *sources {
        [a] => scatter_some::<A, WIDTH, 1>(slots, first, ids, [a]),
        [a, b] => scatter_pairs::<S, A, WIDTH>(simd, slots, first, ids, [a, b]),
        [a, b, c] => scatter_some::<A, WIDTH, 3>(slots, first, ids, [a, b, c]),
        [a, b, c, d] => {
            #[cfg(target_arch = "x86_64")]
            if A::ADDS
                && let Some(avx2) = simd.level().as_avx2()
            {
                return scatter_fours::<Adds, WIDTH>(avx2, slots, (first, false), ids, [a, b, c, d]);
            }
            scatter_pairs::<S, A, WIDTH>(simd, slots, first, ids, [a, b]);
            scatter_pairs::<S, A, WIDTH>(simd, slots, first + 2, ids, [c, d]);
        }
        _ => {}
    }
}

/// Two sources: two rows at once are turned from columns into a vector each.
#[inline(always)]
fn scatter_pairs<S: Simd, A: Step, const WIDTH: usize>(
    simd: S,
    slots: &mut [[i64; WIDTH]],
    first: usize,
    ids: &[u32],
    sources: [&[i64]; 2],
) {
    if first + 2 > WIDTH {
        return;
    }
    let [a, b] = sources.map(|source| &source[..ids.len()]);
    let (pairs, rest) = ids.as_chunks::<2>();
    let ((a_pairs, a_rest), (b_pairs, b_rest)) = (a.as_chunks::<2>(), b.as_chunks::<2>());
    for ((ids, a), b) in pairs.iter().zip(a_pairs).zip(b_pairs) {
        let (a, b) = (i64x2::load_array_ref(simd, a), i64x2::load_array_ref(simd, b));
        for (id, numbers) in ids.iter().zip([a.zip_low(b), a.zip_high(b)]) {
            let Some(slot) = slots[*id as usize][first..].first_chunk_mut::<2>() else { return };
            A::pair(i64x2::load_array_ref(simd, slot), numbers).store_array(slot);
        }
    }
    scatter_some::<A, WIDTH, 2>(slots, first, rest, [a_rest, b_rest]);
}

#[inline(always)]
fn scatter_some<A: Step, const WIDTH: usize, const SOURCES: usize>(
    slots: &mut [[i64; WIDTH]],
    first: usize,
    ids: &[u32],
    sources: [&[i64]; SOURCES],
) {
    if first + SOURCES > WIDTH {
        return;
    }
    let sources = sources.map(|source| &source[..ids.len()]);
    for (row, &id) in ids.iter().enumerate() {
        let Some(slot) = slots[id as usize][first..].first_chunk_mut::<SOURCES>() else { return };
        for (number, source) in slot.iter_mut().zip(sources) {
            *number = A::number(*number, source[row]);
        }
    }
}

/// The loop for rows of lanes wider than any that has a loop of its own.
fn scatter_any(slots: &mut [i64], width: usize, act: Act, first: usize, ids: &[u32], sources: &[&[i64]]) {
    for (row, &id) in ids.iter().enumerate() {
        let slot = &mut slots[id as usize * width + first..][..sources.len()];
        for (number, source) in slot.iter_mut().zip(sources) {
            *number = match act {
                Act::Add => Adds::number(*number, source[row]),
                Act::AddFloat => AddsFloats::number(*number, source[row]),
                Act::Least => KeepsLeast::number(*number, source[row]),
            };
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "any numbers will do"
)]
mod tests {
    use super::*;

    #[test]
    fn lanes_of_all_kinds_taken_in_together_are_those_taken_in_apart() {
        let shapes =
            [(0, 1, 2), (0, 1, 3), (0, 1, 5), (2, 0, 2), (2, 0, 3), (2, 0, 6), (2, 1, 1), (2, 1, 3), (2, 1, 7)];
        for (leasts, floats, adds) in shapes {
            for rows in [0, 1, 3, 4, 5, 1000, 1001] {
                let number = |row: usize, lane: usize| {
                    (row as i64 + 3).wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(lane as i64 * 77) >> (5 * lane)
                };
                let ids: Vec<u32> = (0..rows).map(|row| (number(row, 1) as u32) % 13).collect();
                let odd = [-0.0, f64::INFINITY, 5e-324, -1e300];
                let float = |row: usize| if row % 100 == 7 { odd[row / 100 % 4] } else { number(row, 1) as f64 / 1e9 };
                let column = |lane: usize| -> Vec<i64> {
                    let is_float = (leasts..leasts + floats).contains(&lane);
                    let bits = |row: usize| float(row).to_bits().cast_signed();
                    (0..rows).map(|row| if is_float { bits(row) } else { number(row, lane) }).collect()
                };
                let columns: Vec<Vec<i64>> = (0..leasts + floats + adds).map(column).collect();
                let sources = |lanes: std::ops::Range<usize>| columns[lanes].iter().map(Vec::as_slice);
                let (first_float, first_add) = (leasts, leasts + floats);
                let mut lanes = Lanes::new(leasts, floats, adds);
                lanes.grow(13);
                let (mut apart, ids) = (lanes.clone(), Ids::Each(&ids));
                apart.take_in((Act::Least, 0), ids, sources(0..first_float));
                apart.take_in((Act::AddFloat, 0), ids, sources(first_float..first_add));
                apart.take_in((Act::Add, 0), ids, sources(first_add..columns.len()));
                let mut rest = sources(first_add..columns.len());
                let taken = lanes.take_in_mixed(ids, sources(0..first_add), &mut rest);
                assert_eq!(taken.is_some(), cfg!(target_arch = "x86_64") && simd::level().as_avx2().is_some());
                if let Some(taken) = taken {
                    lanes.take_in((Act::Add, taken), ids, rest);
                    assert_eq!(lanes.slots, apart.slots, "{leasts} {floats} {adds}, {rows} rows");
                }
            }
        }
    }
}
