//! Numbers for the keys of panes, so that windows are put together without looking at keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, UInt32Array};

use super::group_ids::GroupIds;
use super::key_groups::KeyGroups;
use crate::columnar::DataType;
use crate::error::Result;

/// Gives each key a number, the same in all panes.
pub(super) struct KeyNumbers {
    /// None without keys: then the one key has the number 0.
    ids: Option<GroupIds>,
    /// The key of each number, as of so many numbers.
    keys: (usize, Vec<ArrayRef>),
    /// Of panes that were asked for: the number of each group.
    of_panes: BTreeMap<i64, ArrayRef>,
}

impl KeyNumbers {
    /// For keys of these types.
    pub(super) fn new<'a>(data_types: impl ExactSizeIterator<Item = &'a DataType>) -> Result<Self> {
        let ids = if data_types.len() > 0 { Some(GroupIds::new(data_types)?) } else { None };
        Ok(Self { ids, keys: (0, Vec::new()), of_panes: BTreeMap::new() })
    }

    /// How many keys have a number.
    pub(super) fn len(&self) -> usize {
        self.ids.as_ref().map_or(1, GroupIds::len)
    }

    /// Forgets all numbers.
    pub(super) fn clear(&mut self) {
        self.ids.iter_mut().for_each(GroupIds::clear);
        self.keys = (0, Vec::new());
        self.of_panes.clear();
    }

    /// The groups of a pane are others from now on.
    pub(super) fn forget(&mut self, pane: i64) {
        self.of_panes.remove(&pane);
    }

    /// Panes before this one are not asked for any more.
    pub(super) fn forget_before(&mut self, first: i64) {
        while let Some(pane) = self.of_panes.first_entry()
            && *pane.key() < first
        {
            pane.remove();
        }
    }

    /// The number of each group of a pane, whose last key is the pane.
    pub(super) fn of(&mut self, pane: i64, groups: &KeyGroups) -> Result<&ArrayRef> {
        if !self.of_panes.contains_key(&pane) {
            let keys = groups.keys()?;
            let numbers = self.of_keys(&keys[..keys.len().saturating_sub(1)], groups.len())?;
            self.of_panes.insert(pane, numbers);
        }
        Ok(&self.of_panes[&pane])
    }

    /// The number of each of so many rows of keys.
    pub(super) fn of_keys(&mut self, keys: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let mut numbers = Vec::new();
        match &mut self.ids {
            Some(ids) => ids.assign(keys, &mut numbers)?,
            None => numbers.resize(rows, 0),
        }
        Ok(Arc::new(UInt32Array::from(numbers)))
    }

    /// The key of each number: a column for each key.
    pub(super) fn keys(&mut self) -> Result<&[ArrayRef]> {
        if let Some(ids) = &self.ids
            // Of no keys there are columns all the same.
            && (self.keys.0 != ids.len() || self.keys.1.is_empty())
        {
            self.keys = (ids.len(), ids.keys()?);
        }
        Ok(&self.keys.1)
    }
}
