//! Ids of pairs of ids: how keys of several columns become one.

#![expect(clippy::cast_possible_truncation, reason = "ids fit u32: the caller has checked")]

use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;

use super::method::Method;
use super::primitive::PIECE;
use super::table::{NONE, Table};
use crate::kernels::cpu::simd;

/// Pairs up to this many possible ones get a plain table: 16 MiB.
const GRID_MAX: usize = 1 << 22;

/// Ids of pairs.
pub(crate) struct Pairs {
    /// The pair of each id.
    pairs: Vec<(u32, u32)>,
    index: Index,
    /// Ids of the latest piece of rows; kept for its memory.
    found: Vec<u32>,
}

enum Index {
    /// The id of `(a, b)` lies at `b << width | a`: the last part of a key is often the same for many rows on end (a pane,
    /// a day), and what these look at then lies together.
    Grid {
        width: u32,
        ids: Vec<u32>,
    },
    Hash(Table<u64>),
}

/// The ids of pairs of ids that are known.
#[derive(Clone, Copy)]
pub(crate) struct Grid<'a> {
    width: u32,
    ids: &'a [u32],
}

impl Grid<'_> {
    /// The id of a pair, [`NONE`] if it has none yet.
    #[inline(always)]
    pub(super) fn id(&self, first: u32, second: u32) -> u32 {
        self.ids.get((second as usize) << self.width | first as usize).copied().unwrap_or(NONE)
    }
}

impl Pairs {
    pub(crate) fn new() -> Self {
        Self { pairs: Vec::new(), index: Index::Grid { width: 0, ids: Vec::new() }, found: Vec::new() }
    }

    /// Finds pairs by their hashes from now on. There are none yet.
    pub(crate) fn scatter(&mut self) {
        self.index = Index::Hash(Table::new());
    }

    /// How ids are found at present.
    pub(crate) fn method(&self) -> Method {
        match &self.index {
            Index::Grid { ids, .. } => Method::Grid(ids.len()),
            Index::Hash(_) => Method::PairTable,
        }
    }

    /// Forgets all pairs, but keeps the memory for about as many.
    pub(crate) fn clear(&mut self) {
        match &mut self.index {
            Index::Grid { width, ids } => {
                for &(first, second) in &self.pairs {
                    ids[(second as usize) << *width | first as usize] = NONE;
                }
            }
            Index::Hash(table) => table.clear(),
        }
        self.pairs.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// The pair of each id.
    pub(crate) fn pairs(&self) -> &[(u32, u32)] {
        &self.pairs
    }

    /// Turns each id, which is the first part of a pair, into the id of the pair; the first parts are below `counts.0`,
    /// the second ones below `counts.1`.
    pub(crate) fn assign(&mut self, ids: &mut [u32], seconds: &[u32], counts: (usize, usize)) {
        self.cover(counts.0, counts.1);
        let known = &mut self.pairs;
        match &mut self.index {
            Index::Grid { width, ids: grid } => {
                let width = *width;
                self.found.resize(PIECE.min(ids.len()), 0);
                for (ids, seconds) in ids.chunks_mut(PIECE).zip(seconds.chunks(PIECE)) {
                    let found = &mut self.found[..ids.len()];
                    if dispatch!(simd::level(), simd => look_up(simd, ids, seconds, width, grid, found)) {
                        ids.copy_from_slice(found);
                        continue;
                    }
                    for (id, &second) in ids.iter_mut().zip(seconds) {
                        let slot = &mut grid[(second as usize) << width | *id as usize];
                        if *slot == NONE {
                            *slot = known.len() as u32;
                            known.push((*id, second));
                        }
                        *id = *slot;
                    }
                }
            }
            Index::Hash(table) => {
                for (id, &second) in ids.iter_mut().zip(seconds) {
                    let next = known.len() as u32;
                    let found = table.find_or_insert(word(*id, second), next);
                    if found == next {
                        known.push((*id, second));
                    }
                    *id = found;
                }
            }
        }
    }

    /// The ids of pairs whose first parts are below `counts.0` and whose second ones are below `counts.1`, if they lie in a grid.
    pub(crate) fn grid(&self, (firsts, seconds): (usize, usize)) -> Option<Grid<'_>> {
        let Index::Grid { width, ids } = &self.index else { return None };
        let covers = seconds << width <= ids.len() && firsts <= 1 << width;
        covers.then_some(Grid { width: *width, ids })
    }

    /// As [`Pairs::assign`]; false, and anything there, if a pair has no id yet.
    pub(crate) fn find(&self, ids: &mut [u32], seconds: &[u32], (firsts, of_seconds): (usize, usize)) -> bool {
        let Some(Grid { width, ids: grid }) = self.grid((firsts, of_seconds)) else { return false };
        dispatch!(simd::level(), simd => replace(simd, ids, seconds, width, grid))
    }

    fn cover(&mut self, firsts: usize, seconds: usize) {
        let Index::Grid { width, ids } = &self.index else { return };
        if seconds << width <= ids.len() && firsts <= 1 << width {
            return;
        }
        let wanted = firsts.next_power_of_two().max(1 << width);
        let width = wanted.trailing_zeros();
        // As many rows as fit twice the wish, so that a grid that grows is not moved every time.
        let rows = seconds.next_power_of_two().max(ids.len() >> width);
        if rows.saturating_mul(wanted) > GRID_MAX {
            let mut table = Table::for_keys(self.pairs.len());
            for (id, &(first, second)) in self.pairs.iter().enumerate() {
                table.find_or_insert(word(first, second), id as u32);
            }
            self.index = Index::Hash(table);
            return;
        }
        let mut grid = vec![NONE; rows << width];
        for (id, &(first, second)) in self.pairs.iter().enumerate() {
            grid[(second as usize) << width | first as usize] = id as u32;
        }
        self.index = Index::Grid { width, ids: grid };
    }
}

/// The id of each pair; false if one has none yet.
#[simd]
fn look_up<S: Simd>(_: S, firsts: &[u32], seconds: &[u32], width: u32, grid: &[u32], found: &mut [u32]) -> bool {
    let mut largest = 0;
    for ((id, &first), &second) in found.iter_mut().zip(firsts).zip(seconds) {
        *id = grid[(second as usize) << width | first as usize];
        largest = largest.max(*id);
    }
    largest != NONE
}

/// Replaces the first part of each pair by its id; false if one has none yet.
#[simd]
fn replace<S: Simd>(_: S, firsts: &mut [u32], seconds: &[u32], width: u32, grid: &[u32]) -> bool {
    let mut largest = 0;
    for (first, &second) in firsts.iter_mut().zip(seconds) {
        *first = grid[(second as usize) << width | *first as usize];
        largest = largest.max(*first);
    }
    largest != NONE
}

fn word(first: u32, second: u32) -> u64 {
    u64::from(first) << 32 | u64::from(second)
}
