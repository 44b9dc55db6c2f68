//! A part of the groups of a pane: in memory, or put away while there is no room for it.

use std::ops::Deref;

use arrow_array::{Array, ArrayRef};

use super::key_groups::Ground;
use super::reduce::Groups;
use crate::columnar::RecordBatch;
use crate::error::{Error, Result};
use crate::kernels::spill::{Away, Room, Weight};
use crate::kernels::stored;

/// Bytes that a group takes beside what would be stored of it: its places in tables, and its rank.
const BYTES_BESIDE: u64 = 48;

/// After so many batches that touch a part the size of its groups is looked at again.
const BATCHES_BETWEEN_SIZES: u32 = 16;

/// A part of the groups of a pane.
pub(super) struct Part {
    place: Place,
    /// About how many bytes a group takes, and for how many batches that has been taken for granted.
    bytes_per_group: u64,
    batches_since_size: u32,
    /// When each group came, among all of the pane. Empty where there is one part: then ids are ranks.
    pub(super) ranks: Vec<u32>,
}

enum Place {
    Here(Box<Groups>, Option<Weight>),
    Away(Away),
}

/// Groups to look at.
pub(super) enum Look<'a> {
    Here(&'a Groups),
    Copy(Box<Groups>),
}

impl Deref for Look<'_> {
    type Target = Groups;

    fn deref(&self) -> &Groups {
        match self {
            Self::Here(groups) => groups,
            Self::Copy(groups) => groups,
        }
    }
}

impl Part {
    pub(super) fn new(groups: Groups, ranks: Vec<u32>) -> Self {
        Self { place: Place::Here(Box::new(groups), None), bytes_per_group: 0, batches_since_size: 0, ranks }
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        match &self.place {
            Place::Here(groups, _) => groups.len(),
            Place::Away(away) => away.len(),
        }
    }

    /// The groups, which may be changed: read back if they were put away.
    pub(super) fn here(&mut self, ground: &Ground) -> Result<&mut Groups> {
        if let Place::Away(away) = &self.place {
            self.place = Place::Here(Box::new(self.read_back(ground, away)?), None);
        }
        match &mut self.place {
            Place::Here(groups, _) => Ok(groups),
            Place::Away(_) => Err(Error::internal("groups that were read back are not there")),
        }
    }

    /// The groups; those that were put away stay there.
    pub(super) fn look(&self, ground: &Ground) -> Result<Look<'_>> {
        match &self.place {
            Place::Here(groups, _) => Ok(Look::Here(groups)),
            Place::Away(away) => Ok(Look::Copy(Box::new(self.read_back(ground, away)?))),
        }
    }

    fn read_back(&self, ground: &Ground, away: &Away) -> Result<Groups> {
        let rows = away.get()?;
        stored::check(&rows, &ground.schema)?;
        let is_share = !self.ranks.is_empty();
        let (groups, _) = match is_share {
            true => ground.reduce.restore_share(rows.columns(), rows.num_rows())?,
            false => ground.reduce.restore_latest(rows.columns(), rows.num_rows())?,
        };
        if groups.len() == away.len() { Ok(groups) } else { Err(stored::corrupt("a key occurs twice")) }
    }

    /// The groups as columns.
    pub(super) fn store(&mut self) -> Result<RecordBatch> {
        match &mut self.place {
            Place::Here(groups, _) => groups.store(),
            Place::Away(away) => away.get(),
        }
    }

    /// About how many bytes a group takes; none where that is not known.
    pub(super) fn bytes_per_group(&self) -> u64 {
        self.bytes_per_group
    }

    /// Whether the size of a group is not known, or has not been looked at for long.
    pub(super) fn wants_size(&mut self) -> bool {
        self.batches_since_size += 1;
        self.bytes_per_group == 0 || self.batches_since_size > BATCHES_BETWEEN_SIZES
    }

    /// Counts what the part takes in memory, by the size of groups that is now seen or was known; puts it away if there is no
    /// room for it.
    pub(super) fn settle(&mut self, room: &Room, bytes_per_group: Option<u64>) -> Result<()> {
        if let Some(bytes) = bytes_per_group {
            (self.bytes_per_group, self.batches_since_size) = (bytes, 0);
        }
        let Place::Here(groups, weight) = &mut self.place else { return Ok(()) };
        // What was counted before is counted anew.
        *weight = None;
        if groups.is_empty() {
            return Ok(());
        }
        *weight = Some(room.weigh(groups.len() as u64 * self.bytes_per_group));
        if room.is_full() {
            self.place = Place::Away(room.put(&groups.store()?)?);
        }
        Ok(())
    }
}

/// How many bytes a group takes in memory, about, if so many groups are stored as these columns.
pub(super) fn bytes_per_group(columns: &[ArrayRef], groups: usize) -> Result<u64> {
    let bytes = columns.iter().map(|column| column.to_data().get_slice_memory_size());
    let bytes = bytes.sum::<Result<usize, _>>()? as u64;
    Ok(bytes.div_ceil(groups.max(1) as u64) + BYTES_BESIDE)
}
