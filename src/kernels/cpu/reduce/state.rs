//! What every aggregate is made of: state columns with one slot a group, and the one loop that updates them.

#![expect(clippy::cast_possible_truncation, reason = "positions of groups fit u32")]

use std::any::Any;

use arrow_array::ArrayRef;
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::DataType;

#[cfg(feature = "gpu")]
use super::absorb::{MadeMoments, foreign_totals};
use crate::error::{Error, Result};
use crate::kernels::cpu::native;

/// The state of one aggregate over all groups.
pub(super) trait State: Send + Sync + Any {
    /// Takes the selected rows of a batch in.
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()>;

    /// Takes some groups of another state of the same kind in, whose rows come after those of this one.
    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()>;

    /// Takes moments in that were made elsewhere: row `n` of them belongs to the group `to[n]`.
    #[cfg(feature = "gpu")]
    fn absorb(&mut self, _to: &[u32], _groups: usize, _moments: &MadeMoments) -> Result<()> {
        Err(foreign_totals())
    }

    /// Makes itself ready for being merged into many others, where that is worth something.
    fn compact(&mut self) {}

    /// What was seen, as a column with a row a group.
    fn store(&self) -> Result<ArrayRef>;

    /// Takes the groups of a stored column in; there are none yet.
    fn restore(&mut self, column: &ArrayRef) -> Result<()>;

    /// One value a group. Nothing may be taken in afterwards.
    fn finish(&mut self) -> Result<ArrayRef, Refusal>;
}

/// Why there is no result.
pub(super) enum Refusal {
    /// The value of this group does not fit the type.
    OutOfRange { group: usize, value: String, data_type: DataType },
    /// Something else.
    Other(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<arrow_schema::ArrowError> for Refusal {
    fn from(error: arrow_schema::ArrowError) -> Self {
        Self::Other(error.into())
    }
}

/// The groups of the rows of a batch.
#[derive(Clone, Copy)]
pub(super) enum Ids<'a> {
    /// All rows belong to group 0.
    One,
    /// The group of each row.
    Each(&'a [u32]),
}

impl Ids<'_> {
    /// Those of some rows.
    pub(super) fn slice(self, from: usize, rows: usize) -> Self {
        match self {
            Ids::One => Ids::One,
            Ids::Each(ids) => Ids::Each(&ids[from..from + rows]),
        }
    }

    pub(super) fn of(self, row: usize) -> u32 {
        match self {
            Ids::One => 0,
            Ids::Each(ids) => ids[row],
        }
    }
}

/// The rows of a batch, as an aggregate sees them.
pub(super) struct Rows<'a> {
    pub(super) ids: Ids<'a>,
    pub(super) len: usize,
    /// How many groups there are, those of this batch included.
    pub(super) groups: usize,
    /// The rows that count; all if none.
    pub(super) selection: Option<BooleanBuffer>,
}

/// Which groups of a later state become which groups of this one.
pub(super) struct Mapping<'a> {
    /// Groups of the later state.
    pub(super) from: &'a [u32],
    /// The group here, for each of `from`.
    pub(super) to: &'a [u32],
    /// How many groups the later state has.
    pub(super) later_groups: usize,
    /// How many groups this state has afterwards.
    pub(super) groups: usize,
}

/// Marks a group that is not taken.
pub(super) const NOT_TAKEN: u32 = u32::MAX;

impl Mapping<'_> {
    pub(super) fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.from.iter().zip(self.to).map(|(&from, &to)| (from as usize, to as usize))
    }

    /// For each group of the later state the group here, or [`NOT_TAKEN`].
    pub(super) fn table(&self) -> Vec<u32> {
        let mut table = vec![NOT_TAKEN; self.later_groups];
        for (from, to) in self.pairs() {
            table[from] = to as u32;
        }
        table
    }
}

/// The other state as one of the same kind.
pub(super) fn same<S: State>(later: &dyn State) -> Result<&S> {
    let later: &dyn Any = later;
    later.downcast_ref().ok_or_else(|| Error::internal("states of different aggregates were merged"))
}

/// Adds the slots of a later state to those here.
pub(super) fn merge_slots<S: Copy + Default>(
    slots: &mut Vec<S>,
    later: &[S],
    mapping: &Mapping<'_>,
    mut merge: impl FnMut(&mut S, S),
) {
    slots.resize(mapping.groups, S::default());
    for (from, to) in mapping.pairs() {
        merge(&mut slots[to], later[from]);
    }
}

/// Runs `step` on the slot and the value of each selected row, in order: the one loop that all aggregates of primitive
/// values run in. It is compiled once per step, so that nothing is decided per row that can be decided per batch.
#[inline]
pub(super) fn each<S: Copy, V: Copy>(
    slots: &mut [S],
    rows: &Rows<'_>,
    values: &[V],
    mut step: impl FnMut(&mut S, V, usize),
) {
    match (rows.ids, &rows.selection) {
        (Ids::Each(ids), None) => {
            for (row, (&id, &value)) in ids.iter().zip(values).enumerate() {
                step(&mut slots[id as usize], value, row);
            }
        }
        (Ids::Each(ids), Some(selection)) => {
            each_selected(selection, |row| step(&mut slots[ids[row] as usize], values[row], row));
        }
        (Ids::One, selection) => {
            // A copy of the slot can live in registers.
            let mut slot = slots[0];
            match selection {
                None => values.iter().enumerate().for_each(|(row, &value)| step(&mut slot, value, row)),
                Some(selection) => each_selected(selection, |row| step(&mut slot, values[row], row)),
            }
            slots[0] = slot;
        }
    }
}

/// Runs `step` on the slot of each selected row, in order.
#[inline]
pub(super) fn each_row<S: Copy>(slots: &mut [S], rows: &Rows<'_>, mut step: impl FnMut(&mut S, usize)) {
    match rows.ids {
        Ids::Each(ids) => each(slots, rows, ids, |slot, _, row| step(slot, row)),
        Ids::One => match &rows.selection {
            None => (0..rows.len).for_each(|row| step(&mut slots[0], row)),
            Some(selection) => each_selected(selection, |row| step(&mut slots[0], row)),
        },
    }
}

/// Runs `step` on each row that is set, 64 rows at a time.
#[inline]
fn each_selected(selection: &BooleanBuffer, mut step: impl FnMut(usize)) {
    let chunks = selection.bit_chunks();
    for (chunk, mut word) in chunks.iter_padded().enumerate() {
        let first = 64 * chunk;
        if word == u64::MAX {
            (first..first + 64).for_each(&mut step);
            continue;
        }
        while word != 0 {
            step(first + word.trailing_zeros() as usize);
            word &= word - 1;
        }
    }
}

/// Which groups have seen a value.
#[derive(Default)]
pub(super) struct Seen {
    flags: Vec<bool>,
    /// How many of `flags` are set, at least: if all are, nothing needs to be set any more.
    is_complete: bool,
}

impl Seen {
    /// Remembers the groups of the selected rows.
    pub(super) fn mark(&mut self, rows: &Rows<'_>) {
        let before = self.flags.len();
        if rows.selection.is_none() && rows.len > 0 && (self.is_complete || before == 0) {
            // Each new group has a row in this batch: it would not be there otherwise.
            self.flags.resize(rows.groups, true);
            self.is_complete = true;
            return;
        }
        self.flags.resize(rows.groups, false);
        each_row(&mut self.flags, rows, |flag, _| *flag = true);
        self.is_complete = false;
    }

    pub(super) fn merge(&mut self, later: &Self, mapping: &Mapping<'_>) {
        self.is_complete = (self.is_complete || self.flags.is_empty()) && later.is_complete;
        merge_slots(&mut self.flags, &later.flags, mapping, |flag, later| *flag |= later);
    }

    /// The groups that have a value, in a column with a row a group.
    pub(super) fn restore(&mut self, column: &ArrayRef) {
        self.flags = (0..column.len()).map(|group| column.is_valid(group)).collect();
        self.is_complete = column.null_count() == 0;
    }

    pub(super) fn validity(&self) -> Option<NullBuffer> {
        if self.is_complete { None } else { native::validity(&self.flags) }
    }
}

/// The input of an aggregate that must have one.
pub(super) fn needed(input: Option<&ArrayRef>) -> Result<&ArrayRef> {
    input.ok_or_else(|| Error::internal("an aggregate came without its input"))
}
