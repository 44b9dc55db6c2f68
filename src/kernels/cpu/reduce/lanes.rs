//! The slots of all aggregates that add whole numbers or keep the least one: a row of lanes for each group.
//!
//! Sums, means, counts, minima and maxima of numbers all come down to 64-bit lanes: each row of a batch adds a number to
//! some lanes of its group and offers one to others. The lanes of a group lie side by side, so that a row touches one
//! line of the cache, however many aggregates there are. What the numbers mean is the business of `feed`.

#[cfg(target_arch = "x86_64")]
use fearless_simd::{Avx2, SimdInto, i64x4};
use fearless_simd::{Bytes, Simd, SimdBase, dispatch, f64x2, i64x2};
use fearless_simd_macros::simd;

use super::state::{Ids, Mapping};
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
const AT_ONCE: usize = 4;

/// What rows that all count add to the lane of those that do not, and to a lane that nobody reads.
pub(super) static ZEROS: [i64; ROWS] = [0; ROWS];

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

/// An [`Act`] that a loop is compiled for.
trait Step {
    /// Whether it adds whole numbers.
    const ADDS: bool = false;
    /// What is in the lane afterwards.
    fn number(present: i64, number: i64) -> i64;
    /// The same for two lanes.
    fn pair<S: Simd>(present: i64x2<S>, numbers: i64x2<S>) -> i64x2<S>;
}

struct Adds;
struct AddsFloats;
struct KeepsLeast;

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

    /// Numbers a group, some of them unused where that makes rows of a size for which there is a loop.
    fn width(&self) -> usize {
        match self.leasts + self.floats + self.adds {
            lanes @ 0..=2 => lanes,
            lanes => lanes.next_multiple_of(if (5..=8).contains(&lanes) { 2 } else { 4 }),
        }
    }

    /// How many rows should be worked on at once.
    pub(super) fn rows_at_once(&self) -> usize {
        if self.slots.len() * size_of::<i64>() > FEW_BYTES { ROWS } else { ROWS_OF_FEW }
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

    /// The first of the lanes that add whole numbers.
    fn first_add(&self) -> usize {
        self.leasts + self.floats
    }

    /// The number in an adding lane of a group.
    pub(super) fn sum(&self, group: usize, lane: usize) -> i64 {
        self.slots[group * self.width() + self.first_add() + lane]
    }

    /// The float in a lane that adds floats.
    pub(super) fn float(&self, group: usize, lane: usize) -> f64 {
        f64::from_bits(self.slots[group * self.width() + self.leasts + lane].cast_unsigned())
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
    #[cfg(feature = "gpu")]
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

    /// Gives the numbers of up to [`ROWS`] rows to the lanes of a kind, from the first one to as many as there are sources.
    pub(super) fn take_in<'a>(&mut self, act: Act, ids: Ids<'_>, sources: impl Iterator<Item = &'a [i64]>) {
        let mut lane = match act {
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
        of_width!(1 2 4 6 8);
    }

    /// Takes the groups of later lanes of the same kind in.
    pub(super) fn merge(&mut self, later: &Self, mapping: &Mapping<'_>) {
        self.grow(mapping.groups);
        let (width, leasts, first_add) = (self.width(), self.leasts, self.first_add());
        if width == 0 {
            return;
        }
        for (from, to) in mapping.pairs() {
            let (slot, later) = (&mut self.slots[to * width..][..width], &later.slots[from * width..][..width]);
            for (lane, (number, &later)) in slot.iter_mut().zip(later).enumerate() {
                *number = match lane {
                    lane if lane < leasts => KeepsLeast::number(*number, later),
                    lane if lane < first_add => AddsFloats::number(*number, later),
                    _ => Adds::number(*number, later),
                };
            }
        }
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
                return scatter_fours::<WIDTH>(avx2, slots, first, ids, [a, b, c, d]);
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

#[cfg(target_arch = "x86_64")]
/// Four sources: four rows at once are turned from columns into a vector each, by two moves a row. The compiler's own
/// way from four columns to one vector takes seven; measured with 100 groups, a fifth of a whole query.
#[inline(always)]
fn scatter_fours<const WIDTH: usize>(
    avx2: Avx2,
    slots: &mut [[i64; WIDTH]],
    first: usize,
    ids: &[u32],
    sources: [&[i64]; 4],
) {
    if first + 4 > WIDTH {
        return;
    }
    let sources = sources.map(|source| source[..ids.len()].as_chunks::<4>());
    let (fours, rest) = ids.as_chunks::<4>();
    let [a, b, c, d] = sources.map(|(fours, _)| fours);
    for ((((ids, a), b), c), d) in fours.iter().zip(a).zip(b).zip(c).zip(d) {
        // Nothing here is left to `map`: calls that are not inlined would pass vectors through memory.
        let (a, b) = (i64x4::load_array_ref(avx2, a), i64x4::load_array_ref(avx2, b));
        let (c, d) = (i64x4::load_array_ref(avx2, c), i64x4::load_array_ref(avx2, d));
        for (id, numbers) in ids.iter().zip(turned(avx2, a, b, c, d)) {
            let Some(slot) = slots[*id as usize][first..].first_chunk_mut::<4>() else { return };
            (i64x4::load_array_ref(avx2, slot) + numbers).store_array(slot);
        }
    }
    scatter_some::<Adds, WIDTH, 4>(slots, first, rest, sources.map(|(_, rest)| rest));
}

#[cfg(target_arch = "x86_64")]
fearless_simd::kernel!(
    /// Rows of four columns.
    #[inline(always)]
    fn turned(avx2: Avx2, a: i64x4<Avx2>, b: i64x4<Avx2>, c: i64x4<Avx2>, d: i64x4<Avx2>) -> [i64x4<Avx2>; 4] {
        use core::arch::x86_64::{_mm256_permute2x128_si256, _mm256_unpackhi_epi64, _mm256_unpacklo_epi64};
        let (even, odd) = (_mm256_unpacklo_epi64(a.into(), b.into()), _mm256_unpackhi_epi64(a.into(), b.into()));
        let (even_rest, odd_rest) =
            (_mm256_unpacklo_epi64(c.into(), d.into()), _mm256_unpackhi_epi64(c.into(), d.into()));
        [
            _mm256_permute2x128_si256::<0x20>(even, even_rest).simd_into(avx2),
            _mm256_permute2x128_si256::<0x20>(odd, odd_rest).simd_into(avx2),
            _mm256_permute2x128_si256::<0x31>(even, even_rest).simd_into(avx2),
            _mm256_permute2x128_si256::<0x31>(odd, odd_rest).simd_into(avx2),
        ]
    }
);

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
