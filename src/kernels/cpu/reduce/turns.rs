//! Partitions that take turns: each takes in stretches of the rows over and over, so that its groups, and the rows that it puts
//! off, are not all before or behind those of another one.
//!
//! Groups in the order of their first rows, and then the rows that were put off, are the *arrivals* of a partition, and have
//! numbers. A partition notes which arrival was the first of each turn; all arrivals of all partitions then have a place in one
//! order, that of their rows. A partition that took no turns has all of its arrivals in turn 0.

use std::borrow::Borrow;
use std::ops::Range;

use super::Groups;

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
pub(super) fn took_turns(partials: &[&mut Groups]) -> bool {
    partials.iter().any(|partial| !partial.turns.begun.is_empty())
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
            let some = numbers.partition_point(|&number| (number as usize) < end);
            for (&id, &number) in ids[..some].iter().zip(&numbers[..some]) {
                let first = &mut firsts[id as usize];
                *first = (*first).min(number as usize + further);
            }
            (ids, numbers) = (&ids[some..], &numbers[some..]);
        }
    }

    /// As [`Walk::note`], of arrivals that are all behind those that came before: only groups that are new appear first in one of them.
    /// New ids rise by one, mostly: then each row is noted where the next group has its place, and stays there if it is of that group.
    pub(super) fn note_later(&mut self, firsts: &mut Vec<usize>, groups: usize, ids: &[u32], numbers: &[u32]) {
        let known = firsts.len();
        let (mut walk, mut next) = (Walk { stretches: self.stretches }, known);
        firsts.resize(groups + 1, usize::MAX);
        let (mut ids_left, mut numbers_left) = (ids, numbers);
        while let Some(&number) = numbers_left.first() {
            let (further, end) = walk.stretch(number);
            let some = numbers_left.partition_point(|&number| (number as usize) < end);
            for (&id, &number) in ids_left[..some].iter().zip(&numbers_left[..some]) {
                firsts[next] = number as usize + further;
                next += usize::from(id as usize == next);
            }
            (ids_left, numbers_left) = (&ids_left[some..], &numbers_left[some..]);
        }
        if next == groups {
            firsts.truncate(groups);
            *self = walk;
        } else {
            firsts.truncate(known);
            self.note(firsts, groups, ids, numbers);
        }
    }
}
