//! Groups taken out of other groups, and put into others, by their ids: what state that outlives its batch is made of.

use arrow_array::ArrayRef;

use super::{Groups, KeyedReduce, merge};
use crate::error::Result;

impl Groups {
    /// The keys of all groups: a column for each key.
    pub(crate) fn keys(&self) -> Result<Vec<ArrayRef>> {
        self.ids.keys()
    }

    /// The same, made ready for [`Groups::keys`] and for being taken from.
    pub(crate) fn settled(mut self) -> Result<Self> {
        self.settle()?;
        Ok(self)
    }

    /// Takes the groups `from` of later ones in, under these keys; gives their ids here. Costs follow `from`, not the
    /// groups that are here.
    pub(crate) fn take_groups(&mut self, later: &Self, from: &[u32], keys: &[ArrayRef]) -> Result<Vec<u32>> {
        merge::take_in(self, later, from, keys)
    }

    /// The id of each row of keys. Keys that are not here become groups.
    pub(crate) fn ids_of(&mut self, keys: &[ArrayRef]) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.ids.assign(keys, &mut ids)?;
        Ok(ids)
    }
}

impl KeyedReduce {
    /// A copy of some groups, whose keys these are.
    pub(crate) fn select(&self, groups: &Groups, ids: &[u32], keys: &[ArrayRef]) -> Result<Groups> {
        let mut selected = self.begin()?.settled()?;
        selected.take_groups(groups, ids, keys)?;
        Ok(selected)
    }
}
