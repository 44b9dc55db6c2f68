//! Groups taken out of other groups, and put into others, by their ids: what state that outlives its batch is made of.

use arrow_array::ArrayRef;

use super::state::Mapping;
use super::{Groups, KeyedReduce, merge};
use crate::columnar::{DataType, Field, RecordBatch};
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

    /// None, as settled ones that are new, but with memory for about as many.
    pub(crate) fn emptied(mut self) -> Result<Self> {
        self.clear()?;
        self.settled()
    }

    /// Made ready for being merged into others again and again.
    pub(crate) fn compact(&mut self) {
        self.states.iter_mut().flatten().for_each(|state| state.compact());
    }

    /// One row a group, of settled groups that are emptied next; as if these were their keys, and they groups of `whole`,
    /// which makes the same aggregates.
    pub(crate) fn last_rows_under(&mut self, whole: &KeyedReduce, keys: Vec<ArrayRef>) -> Result<RecordBatch> {
        self.answer_under(&whole.0, keys)
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

    /// As [`Groups::ids_of`], also without keys: then all of so many rows are of the one group.
    pub(crate) fn ids_of_all(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u32>> {
        if keys.is_empty() { Ok(vec![0; rows]) } else { self.ids_of(keys) }
    }

    /// Takes all groups of later ones in, under their keys. These are settled.
    pub(crate) fn take_all(&mut self, later: &Self) -> Result<()> {
        let from: Vec<u32> = (0..).take(later.len()).collect();
        self.take_groups(later, &from, &later.keys()?).map(drop)
    }

    /// A copy; the groups are settled.
    pub(crate) fn copied(&self) -> Result<Self> {
        let mut copy = KeyedReduce(std::sync::Arc::clone(&self.prepared)).begin()?.settled()?;
        copy.take_all(self)?;
        Ok(copy)
    }

    /// Takes all groups of later ones in, as those that have these ids here.
    pub(crate) fn take_at(&mut self, later: &Self, to: &[u32]) -> Result<()> {
        let from: Vec<u32> = (0..).take(later.len()).collect();
        let mapping = Mapping { from: &from, to, later_groups: later.len(), groups: self.len() };
        merge::merge_states(self, later, &mapping)
    }

    /// Made ready for keys that are a few of many, anywhere among them: no table is as large as the range of all.
    pub(crate) fn scattered(mut self) -> Self {
        self.ids.scatter();
        self
    }

    /// One row a group; the groups stay as they are. They are settled.
    pub(crate) fn rows(&mut self) -> Result<RecordBatch> {
        // What lies in lanes is read off them; other states are worn by that.
        if self.states.iter().all(Option::is_none) { self.answer() } else { self.copied_rows() }
    }

    /// As [`Groups::rows`], by way of a copy.
    pub(crate) fn copied_rows(&self) -> Result<RecordBatch> {
        self.copied()?.answer()
    }
}

impl KeyedReduce {
    /// The same aggregates, by a number instead of the keys.
    pub(crate) fn by_number(&self) -> Result<Self> {
        Self::prepare(&[Field::new("number", DataType::UInt32, false)], &self.0.aggregates)
    }

    /// A copy of some groups, whose keys these are.
    pub(crate) fn select(&self, groups: &Groups, ids: &[u32], keys: &[ArrayRef]) -> Result<Groups> {
        let mut selected = self.begin()?.settled()?;
        selected.take_groups(groups, ids, keys)?;
        Ok(selected)
    }
}
