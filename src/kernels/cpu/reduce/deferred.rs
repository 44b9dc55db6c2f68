//! Rows put off until all are there, because nearly each of them brings a group of its own.
//!
//! One table for millions of groups misses the cache with every row, and the tables of several partitions have to be
//! merged, group by group. Once there are many groups and most rows bring new ones, a partition therefore only keeps its
//! columns. At the end all rows are dealt out by a hash of their keys (`merge`), into shares whose groups fit the
//! cache; each share is reduced on its own, and nothing is left to merge. (Radix partitioning, as in "Main-Memory Hash
//! Joins on Multi-Core CPUs", Balkesen et al., 2013.)

#![expect(clippy::cast_possible_truncation, reason = "numbers of rows and shares fit u32: the rows are bounded")]

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array, make_array};
use arrow_buffer::ArrowNativeType;
use arrow_select::concat::concat;
use arrow_select::take::take;

use crate::error::{Error, Result};
use crate::kernels::cpu::hash::hash_rows;
use crate::kernels::cpu::native::{self, with_native};
use crate::kernels::cpu::prefetch::prefetch_behind;
use crate::limits::ROWS_PER_READ_MAX;

/// Below this many groups a table is fast enough.
const GROUPS_WORTH_DEFERRING: usize = 1 << 17;

/// One row in so many must bring a new group.
const ROWS_PER_NEW_GROUP: usize = 4;

/// Half of the rows that a stage takes in at once.
const ROWS_WORTH_A_START: usize = ROWS_PER_READ_MAX / 2;

/// Rows that a partition puts off at most: their columns stay in memory.
const ROWS_MAX: usize = 1 << 25;

/// Rows dealt out at once: enough that the part of each share is worth a call.
const ROWS_DEALT_AT_ONCE: usize = 1 << 18;

/// The columns of some rows.
pub(super) struct Piece {
    pub(super) keys: Vec<ArrayRef>,
    pub(super) inputs: Vec<Option<ArrayRef>>,
    pub(super) filters: Vec<Option<BooleanArray>>,
    pub(super) rows: usize,
}

/// Rows that are put off, in order.
#[derive(Default)]
pub(super) struct Deferred {
    pieces: Vec<Piece>,
    rows: usize,
}

/// Whether rows should be put off, by what the latest ones did.
pub(super) fn is_worth_it(groups: usize, new_groups: usize, rows: usize) -> bool {
    groups >= GROUPS_WORTH_DEFERRING && new_groups * ROWS_PER_NEW_GROUP > rows
}

/// Whether so many rows at once are worth putting off before there is a group: fewer are a small batch.
pub(super) fn is_worth_a_start(rows: usize) -> bool {
    rows >= ROWS_WORTH_A_START
}

impl Deferred {
    /// How many rows there are.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether so many rows more can be put off.
    pub(super) fn has_room(&self, rows: usize) -> bool {
        self.rows + rows <= ROWS_MAX
    }

    pub(super) fn push(&mut self, piece: Piece) {
        self.rows += piece.rows;
        self.pieces.push(piece);
    }

    /// All rows, in order, as many at once as a stage takes in.
    pub(super) fn into_tiles(self) -> Vec<Piece> {
        let tiles = |piece: &Piece| {
            let starts = (0..piece.rows).step_by(ROWS_PER_READ_MAX);
            starts.map(|from| piece.slice(from, ROWS_PER_READ_MAX.min(piece.rows - from))).collect::<Vec<_>>()
        };
        self.pieces.iter().flat_map(tiles).collect()
    }

    /// The rows in blocks that are dealt out at once, each with the number of its first row.
    pub(super) fn blocks(&self) -> Vec<(usize, Vec<Piece>)> {
        let (mut blocks, mut block, mut first, mut rows) = (Vec::new(), Vec::new(), 0, 0);
        for piece in &self.pieces {
            let mut from = 0;
            while from < piece.rows {
                let len = (ROWS_DEALT_AT_ONCE - rows).min(piece.rows - from);
                block.push(piece.slice(from, len));
                (from, rows) = (from + len, rows + len);
                if rows == ROWS_DEALT_AT_ONCE {
                    blocks.push((first, std::mem::take(&mut block)));
                    (first, rows) = (first + rows, 0);
                }
            }
        }
        if rows > 0 {
            blocks.push((first, block));
        }
        blocks
    }
}

impl Piece {
    /// Some of the rows.
    fn slice(&self, from: usize, rows: usize) -> Self {
        let Self { keys, inputs, filters, .. } = self;
        Self {
            keys: keys.iter().map(|key| key.slice(from, rows)).collect(),
            inputs: inputs.iter().map(|input| input.as_ref().map(|input| input.slice(from, rows))).collect(),
            filters: filters.iter().map(|filter| filter.as_ref().map(|filter| filter.slice(from, rows))).collect(),
            rows,
        }
    }
}

/// The rows of a block in the order of their shares, and in their own order in each.
pub(super) struct Dealt {
    columns: Piece,
    /// For each row its number among those of the partition.
    pub(super) numbers: Vec<u32>,
    /// Where each share begins, and the last one ends.
    ends: Vec<usize>,
}

/// The share of a hash. By its low half: it must not agree with the order in the tables of the shares.
pub(super) fn share_of(hash: u64, shares: usize) -> usize {
    (((hash & 0xffff_ffff) * shares as u64) >> 32) as usize
}

/// Deals the rows of a block out; `first` is the number of its first row.
pub(super) fn deal(block: &[Piece], first: usize, shares: usize) -> Result<Dealt> {
    let mut ends = vec![0; shares + 1];
    let mut places = Vec::with_capacity(block.iter().map(|piece| piece.rows).sum());
    for piece in block {
        for &hash in hash_rows(&piece.keys, piece.rows)?.values() {
            let share = share_of(hash, shares);
            ends[share + 1] += 1;
            places.push(share as u32);
        }
    }
    for share in 0..shares {
        ends[share + 1] += ends[share];
    }
    let mut next: Vec<u32> = ends.iter().map(|&end| end as u32).collect();
    let mut numbers = vec![0_u32; places.len()];
    for (number, place) in (first as u32..).zip(&mut places) {
        let slot = &mut next[*place as usize];
        *place = *slot;
        *slot += 1;
        numbers[*place as usize] = number;
    }
    let spread = Spread { places: &places, numbers: &numbers, first: first as u32 };
    Ok(Dealt { columns: spread.columns(block)?, numbers, ends })
}

/// Where rows go.
struct Spread<'a> {
    /// For each row its place.
    places: &'a [u32],
    /// For each place the number of its row, counted from `first`.
    numbers: &'a [u32],
    first: u32,
}

impl Spread<'_> {
    /// The columns of a block, with their rows at their places.
    fn columns(&self, block: &[Piece]) -> Result<Piece> {
        let keys =
            (0..block[0].keys.len()).map(|key| self.column(block.iter().map(|piece| &piece.keys[key]).collect()));
        let inputs = (0..block[0].inputs.len()).map(|input| {
            let parts: Vec<&ArrayRef> = block.iter().filter_map(|piece| piece.inputs[input].as_ref()).collect();
            if parts.is_empty() { Ok(None) } else { self.column(parts).map(Some) }
        });
        let filters = (0..block[0].filters.len()).map(|filter| {
            let parts = block.iter().filter_map(|piece| piece.filters[filter].as_ref().map(|part| part as &dyn Array));
            let parts: Vec<&dyn Array> = parts.collect();
            if parts.is_empty() {
                Ok(None)
            } else {
                self.gathered(&parts).map(|filter| Some(filter.as_boolean().clone()))
            }
        });
        Ok(Piece {
            keys: keys.collect::<Result<_>>()?,
            inputs: inputs.collect::<Result<_>>()?,
            filters: filters.collect::<Result<_>>()?,
            rows: self.places.len(),
        })
    }

    /// Numbers go from where they lie to their places: there are as many of these at a time as shares, so that they stay in
    /// the cache, while rows of a share lie far apart.
    fn column(&self, parts: Vec<&ArrayRef>) -> Result<ArrayRef> {
        if parts.iter().all(|part| part.null_count() == 0) {
            with_native!(parts[0].data_type(), Native => return self.spread::<Native>(&parts), _ => {});
        }
        self.gathered(&parts.iter().map(|part| part.as_ref()).collect::<Vec<_>>())
    }

    fn spread<N: ArrowNativeType>(&self, parts: &[&ArrayRef]) -> Result<ArrayRef> {
        let mut spread = Vec::with_capacity(self.places.len());
        let room = &mut spread.spare_capacity_mut()[..self.places.len()];
        let mut places = self.places;
        for part in parts {
            let (here, later) = places.split_at(part.len());
            for (&value, &place) in native::values::<N>(part)?.iter().zip(here) {
                room[place as usize].write(value);
            }
            places = later;
        }
        if !places.is_empty() {
            return Err(Error::internal("rows that were put off have no value"));
        }
        // SAFETY: there is room for that many, and each was written: places are those of a permutation (see `deal`), and all of
        // them have had a row. It saves clearing them first, a twentieth of the time of a reduce to millions of groups.
        unsafe { spread.set_len(self.places.len()) };
        native::column(parts[0].data_type(), spread, None)
    }

    fn gathered(&self, parts: &[&dyn Array]) -> Result<ArrayRef> {
        let order: UInt32Array = self.numbers.iter().map(|number| number - self.first).collect::<Vec<_>>().into();
        gather_column(parts, &order)
    }
}

/// The values of all parts, one part after another, in this order. One copy in order and one by numbers of 32 bits are
/// together faster than one by pairs of numbers.
pub(in crate::kernels::cpu) fn gather_column(parts: &[&dyn Array], order: &UInt32Array) -> Result<ArrayRef> {
    let whole = if let [part] = parts { make_array(part.to_data()) } else { concat(parts)? };
    Ok(take(&whole, order, None)?)
}

impl Dealt {
    /// Asks for the memory of the rows of a share, which are few, and far from those before them.
    pub(super) fn ask_for(&self, share: usize) {
        let (from, rows) = (self.ends[share], self.ends[share + 1] - self.ends[share]);
        for column in self.columns.keys.iter().chain(self.columns.inputs.iter().flatten()) {
            with_native!(column.data_type(), Native => {
                if let Ok(values) = native::values::<Native>(column) {
                    prefetch_behind(&values, from, rows);
                }
            }, _ => {});
        }
    }

    /// The rows of a share, and where they begin among those of all shares.
    pub(super) fn share(&self, share: usize) -> (usize, Piece) {
        let (from, rows) = (self.ends[share], self.ends[share + 1] - self.ends[share]);
        let piece = self.columns.slice(from, rows);
        (from, piece)
    }
}
