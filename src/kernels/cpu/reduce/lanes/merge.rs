//! Lanes of later rows become part of those of earlier ones.

use super::super::state::Mapping;
use super::{Adds, AddsFloats, KeepsLeast, Lanes, Step};

/// Runs what there is for these lanes, or what goes for any.
macro_rules! of_kind {
    ($lanes:expr, $run:ident, $run_any:ident) => {
        match ($lanes.width(), $lanes.leasts, $lanes.floats) {
            (0, ..) => {}
            (1, 0, 0) => $run!(1, 0, 0),
            (1, 0, 1) => $run!(1, 0, 1),
            (2, 0, 0) => $run!(2, 0, 0),
            (2, 0, 1) => $run!(2, 0, 1),
            (2, 2, 0) => $run!(2, 2, 0),
            (4, 0, 0) => $run!(4, 0, 0),
            (4, 0, 1) => $run!(4, 0, 1),
            (4, 2, 0) => $run!(4, 2, 0),
            (4, 2, 1) => $run!(4, 2, 1),
            (8, 0, 0) => $run!(8, 0, 0),
            (8, 0, 1) => $run!(8, 0, 1),
            (8, 2, 0) => $run!(8, 2, 0),
            (8, 2, 1) => $run!(8, 2, 1),
            _ => $run_any!(),
        }
    };
}

impl Lanes {
    /// Takes the groups of later lanes of the same kind in.
    pub(in crate::kernels::cpu::reduce) fn merge(&mut self, later: &Self, mapping: &Mapping<'_>) {
        self.grow(mapping.groups);
        macro_rules! merge {
            ($width:literal, $leasts:literal, $floats:literal) => {
                merge_all::<$width, $leasts, $floats>(&mut self.slots, &later.slots, mapping)
            };
        }
        macro_rules! merge_any {
            () => {
                for (from, to) in mapping.pairs() {
                    self.merge_one(to, later.slot(from));
                }
            };
        }
        of_kind!(self, merge, merge_any);
    }

    /// As [`Lanes::merge`], and the later lanes of these groups hold nothing any more.
    pub(in crate::kernels::cpu::reduce) fn take_over(&mut self, later: &mut Self, mapping: &Mapping<'_>) {
        self.grow(mapping.groups);
        macro_rules! take {
            ($width:literal, $leasts:literal, $floats:literal) => {
                take_all::<$width, $leasts, $floats>(&mut self.slots, &mut later.slots, mapping)
            };
        }
        macro_rules! take_any {
            () => {
                for (from, to) in mapping.pairs() {
                    self.merge_one(to, later.slot(from));
                    let (width, leasts) = (later.width(), later.leasts);
                    let slot = later.slots[from * width..][..width].iter_mut().enumerate();
                    slot.for_each(|(lane, number)| *number = start(lane, leasts));
                }
            };
        }
        of_kind!(self, take, take_any);
    }

    fn slot(&self, group: usize) -> &[i64] {
        &self.slots[group * self.width()..][..self.width()]
    }

    /// Takes a group of later lanes in, whatever the lanes.
    fn merge_one(&mut self, to: usize, later: &[i64]) {
        let (width, leasts, first_add) = (self.width(), self.leasts, self.first_add());
        for (lane, (number, &later)) in self.slots[to * width..][..width].iter_mut().zip(later).enumerate() {
            *number = merged(lane, (leasts, first_add), *number, later);
        }
    }
}

/// What is in a lane of a group before its first row.
#[inline(always)]
fn start(lane: usize, leasts: usize) -> i64 {
    if lane < leasts { i64::MAX } else { 0 }
}

/// A number of a lane and a later one, where the lanes up to the first of these keep the least, and those up to the other one add floats.
#[inline(always)]
fn merged(lane: usize, (leasts, first_add): (usize, usize), number: i64, later: i64) -> i64 {
    match lane {
        lane if lane < leasts => KeepsLeast::number(number, later),
        lane if lane < first_add => AddsFloats::number(number, later),
        _ => Adds::number(number, later),
    }
}

/// Takes groups in of which so many lanes keep the least, the next ones add floats, and the others whole numbers.
fn merge_all<const WIDTH: usize, const LEASTS: usize, const FLOATS: usize>(
    slots: &mut [i64],
    later: &[i64],
    mapping: &Mapping<'_>,
) {
    let ((slots, _), (later, _)) = (slots.as_chunks_mut::<WIDTH>(), later.as_chunks::<WIDTH>());
    for (from, to) in mapping.pairs() {
        for (lane, (number, &later)) in slots[to].iter_mut().zip(&later[from]).enumerate() {
            *number = merged(lane, (LEASTS, LEASTS + FLOATS), *number, later);
        }
    }
}

/// As [`merge_all`], and nothing is left behind.
fn take_all<const WIDTH: usize, const LEASTS: usize, const FLOATS: usize>(
    slots: &mut [i64],
    later: &mut [i64],
    mapping: &Mapping<'_>,
) {
    let ((slots, _), (later, _)) = (slots.as_chunks_mut::<WIDTH>(), later.as_chunks_mut::<WIDTH>());
    for (from, to) in mapping.pairs() {
        for (lane, (number, later)) in slots[to].iter_mut().zip(&mut later[from]).enumerate() {
            *number = merged(lane, (LEASTS, LEASTS + FLOATS), *number, *later);
            *later = start(lane, LEASTS);
        }
    }
}
