//! Partitions that take turns: each takes in stretches of the rows over and over, so that its groups, and the rows that it puts
//! off, are not all before or behind those of another one.
//!
//! Groups in the order of their first rows, and then the rows that were put off, are the *arrivals* of a partition, and have
//! numbers. A partition notes which arrival was the first of each turn; all arrivals of all partitions then have a place in one
//! order, that of their rows. A partition that took no turns has all of its arrivals in turn 0.

#![expect(clippy::cast_possible_truncation, reason = "ids fit u32")]

use std::borrow::Borrow;
use std::ops::Range;

use fearless_simd::{Simd, SimdBase, SimdMask, dispatch, u32x16};
use fearless_simd_macros::simd;

use super::Groups;
use crate::kernels::cpu::simd;

/// Ids that are compared at once.
const AT_ONCE: usize = 16;

/// Which arrivals of a partition came in which turn.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// For each turn but the first that had one: the turn, and the number of its first arrival.
    begun: Vec<(u64, usize)>,
}

impl Turns {
    /// A turn begins after so many arrivals.
    fn begin(&mut self, turn: u64, arrivals: usize) {
        match self.begun.last_mut() {
            Some((last, first)) if *first == arrivals => *last = turn,
            _ => self.begun.push((turn, arrivals)),
        }
    }

    /// What was put off and is now taken in: a turn that began with one arrival begins with another one now.
    pub(super) fn settle(&mut self, before: usize, now: usize) {
        self.begun
            .iter_mut()
            .rev()
            .take_while(|(_, first)| *first >= before)
            .filter(|(_, first)| *first == before)
            .for_each(|(_, first)| *first = now);
    }

    pub(super) fn clear(&mut self) {
        self.begun.clear();
    }

    /// The arrivals of each turn that had some, of so many in all.
    fn stretches(&self, arrivals: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
        let begun = std::iter::once((0, 0)).chain(self.begun.iter().copied());
        let ends = self.begun.iter().map(|(_, first)| *first).chain([arrivals]);
        begun.zip(ends).map(|((turn, first), end)| (turn, first..end)).filter(|(_, stretch)| !stretch.is_empty())
    }
}

impl Groups {
    /// The rows from now on belong to this turn.
    pub(in crate::kernels::cpu) fn begin_turn(&mut self, turn: u64) {
        let arrivals = self.arrivals();
        self.turns.begin(turn, arrivals);
    }

    fn arrivals(&self) -> usize {
        self.len() + self.deferred.rows()
    }
}

/// Whether one of them took a second turn.
pub(super) fn took_turns<G: Borrow<Groups>>(partials: &[G]) -> bool {
    partials.iter().any(|partial| !partial.borrow().turns.begun.is_empty())
}

/// The arrivals of all partitions in the order of their rows.
pub(super) struct Order {
    /// By turns and, within a turn, by partitions.
    stretches: Vec<(usize, Range<usize>)>,
    /// For each partition the first arrival of each of its stretches, and the place of that one.
    places: Vec<Vec<(usize, usize)>>,
    len: usize,
}

impl Order {
    pub(super) fn of<G: Borrow<Groups>>(partials: &[G]) -> Self {
        let mut by_turn = Vec::new();
        for (partition, partial) in partials.iter().map(Borrow::borrow).enumerate() {
            by_turn
                .extend(partial.turns.stretches(partial.arrivals()).map(|(turn, stretch)| (turn, partition, stretch)));
        }
        by_turn.sort_by_key(|(turn, ..)| *turn);
        let (mut places, mut len) = (vec![Vec::new(); partials.len()], 0);
        for (_, partition, stretch) in &by_turn {
            places[*partition].push((stretch.start, len));
            len += stretch.len();
        }
        let stretches = by_turn.into_iter().map(|(_, partition, stretch)| (partition, stretch)).collect();
        Self { stretches, places, len }
    }

    /// Partitions, and arrivals of them that come one after another.
    pub(super) fn stretches(&self) -> impl Iterator<Item = (usize, Range<usize>)> {
        self.stretches.iter().cloned()
    }

    /// The places in the same range of integers that are the groups of all partitions; some come more than once.
    pub(super) fn appeared<G: Borrow<Groups>>(&self, partials: &[G]) -> Vec<u32> {
        let all = self.stretches().flat_map(|(partition, stretch)| {
            let appeared = partials[partition].borrow().ids.places().map_or(&[][..], |(_, appeared)| appeared);
            appeared.get(stretch).unwrap_or_default()
        });
        all.copied().collect()
    }

    /// How many arrivals there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The way through the arrivals of a partition.
    pub(super) fn walk(&self, partition: usize) -> Walk<'_> {
        Walk { stretches: &self.places[partition] }
    }
}

/// Goes from arrival to arrival of a partition.
#[derive(Default)]
pub(super) struct Walk<'a> {
    /// Those that are not behind. If there are none, each arrival has its own number as its place.
    stretches: &'a [(usize, usize)],
}

impl Walk<'_> {
    /// The place of an arrival in the order of all; no later call may ask for an earlier one.
    pub(super) fn place(&mut self, arrival: u32) -> usize {
        let (further, _) = self.stretch(arrival);
        arrival as usize + further
    }

    /// Where the stretch of an arrival ends, and how much further on than their numbers its arrivals have their places; none may
    /// be asked for later that lies before.
    fn stretch(&mut self, arrival: u32) -> (usize, usize) {
        let arrival = arrival as usize;
        while let [_, (next, _), ..] = self.stretches
            && *next <= arrival
        {
            self.stretches = &self.stretches[1..];
        }
        let end = self.stretches.get(1).map_or(usize::MAX, |(next, _)| *next);
        (self.stretches.first().map_or(0, |(first, place)| place - first), end)
    }

    /// Notes where groups appeared first, of which there are so many by now: arrivals with these ids and numbers, which rise, came.
    pub(super) fn note(&mut self, firsts: &mut Vec<usize>, groups: usize, ids: &[u32], numbers: &[u32]) {
        firsts.resize(groups, usize::MAX);
        let (mut ids, mut numbers) = (ids, numbers);
        while let Some(&number) = numbers.first() {
            let (further, end) = self.stretch(number);
            let some = before(numbers, end);
            for (&id, &number) in ids[..some].iter().zip(&numbers[..some]) {
                let first = &mut firsts[id as usize];
                *first = (*first).min(number as usize + further);
            }
            (ids, numbers) = (&ids[some..], &numbers[some..]);
        }
    }

    /// As [`Walk::note`], of arrivals that are all behind those that came before: only groups that are new appear first in one of them.
    /// New ids rise by one, mostly, so that each is looked for where the one before it was found.
    pub(super) fn note_later(&mut self, firsts: &mut Vec<usize>, groups: usize, ids: &[u32], numbers: &[u32]) {
        let known = firsts.len();
        let mut walk = Walk { stretches: self.stretches };
        firsts.reserve(groups - known);
        let (mut ids_left, mut numbers_left) = (ids, numbers);
        while let Some(&number) = numbers_left.first()
            && firsts.len() < groups
        {
            let (further, end) = walk.stretch(number);
            let some = before(numbers_left, end);
            let (ids, numbers) = (&ids_left[..some], &numbers_left[..some]);
            dispatch!(simd::level(), simd => note_new(simd, firsts, ids, numbers, further));
            (ids_left, numbers_left) = (&ids_left[some..], &numbers_left[some..]);
        }
        if firsts.len() == groups {
            *self = walk;
        } else {
            firsts.truncate(known);
            self.note(firsts, groups, ids, numbers);
        }
    }
}

/// How many of these numbers, which rise, are below an end: mostly all, and then a search would only wait for the memory again and again.
fn before(numbers: &[u32], end: usize) -> usize {
    match numbers.last() {
        Some(&last) if last as usize >= end => numbers.partition_point(|&number| (number as usize) < end),
        _ => numbers.len(),
    }
}

/// Notes each id that is the next new one, so much further on than its number says. Which rows have a new one cannot be foretold, and
/// most have none: a bit says it for each.
#[simd]
fn note_new<S: Simd>(simd: S, firsts: &mut Vec<usize>, ids: &[u32], numbers: &[u32], further: usize) {
    let mut note = |row: usize| {
        if ids[row] as usize == firsts.len() {
            firsts.push(numbers[row] as usize + further);
        }
        firsts.len() as u32
    };
    let (whole, rest) = ids.as_chunks::<AT_ONCE>();
    let mut next = note(0);
    for (chunk, some) in whole.iter().enumerate() {
        let mut left = u32x16::load_array_ref(simd, some).simd_ge(next).to_bitmask();
        while left != 0 {
            next = note(chunk * AT_ONCE + left.trailing_zeros() as usize);
            left &= left - 1;
        }
    }
    for row in ids.len() - rest.len()..ids.len() {
        note(row);
    }
}
