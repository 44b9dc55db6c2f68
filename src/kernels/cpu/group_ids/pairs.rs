//! Ids of pairs of ids: how keys of several columns become one.

#![expect(clippy::cast_possible_truncation, reason = "ids fit u32: the caller has checked")]

use super::table::{NONE, Table};

/// Pairs up to this many possible ones get a plain table: 16 MiB.
const GRID_MAX: usize = 1 << 22;

/// Ids of pairs.
pub(crate) struct Pairs {
    /// The pair of each id.
    pairs: Vec<(u32, u32)>,
    index: Index,
}

enum Index {
    /// The id of `(a, b)` lies at `a << width | b`.
    Grid {
        width: u32,
        ids: Vec<u32>,
    },
    Hash(Table<u64>),
}

impl Pairs {
    pub(crate) fn new() -> Self {
        Self { pairs: Vec::new(), index: Index::Grid { width: 0, ids: Vec::new() } }
    }

    pub(crate) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// The pair of each id.
    pub(crate) fn pairs(&self) -> &[(u32, u32)] {
        &self.pairs
    }

    /// Appends the id of each pair; the first parts are below `firsts`, the second ones below `seconds`.
    pub(crate) fn assign(
        &mut self,
        pairs: impl Iterator<Item = (u32, u32)>,
        firsts: usize,
        seconds: usize,
        ids: &mut Vec<u32>,
    ) {
        self.cover(firsts, seconds);
        let known = &mut self.pairs;
        match &mut self.index {
            Index::Grid { width, ids: grid } => {
                let width = *width;
                ids.extend(pairs.map(|(first, second)| {
                    let slot = &mut grid[(first as usize) << width | second as usize];
                    if *slot == NONE {
                        *slot = known.len() as u32;
                        known.push((first, second));
                    }
                    *slot
                }));
            }
            Index::Hash(table) => ids.extend(pairs.map(|(first, second)| {
                let next = known.len() as u32;
                let id = table.find_or_insert(word(first, second), next);
                if id == next {
                    known.push((first, second));
                }
                id
            })),
        }
    }

    fn cover(&mut self, firsts: usize, seconds: usize) {
        let Index::Grid { width, ids } = &self.index else { return };
        if firsts << width <= ids.len() && seconds <= 1 << width {
            return;
        }
        let wanted = seconds.next_power_of_two().max(1 << width);
        let width = wanted.trailing_zeros();
        // As many rows as fit twice the wish, so that a grid that grows is not moved every time.
        let rows = firsts.next_power_of_two();
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
            grid[(first as usize) << width | second as usize] = id as u32;
        }
        self.index = Index::Grid { width, ids: grid };
    }
}

fn word(first: u32, second: u32) -> u64 {
    u64::from(first) << 32 | u64::from(second)
}
