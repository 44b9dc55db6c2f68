//! Groups over all batches with a time to live: the part of [`super::keep`] that forgets.
//!
//! A group is known by its key and by a number that a key gets when it is new. A key that was forgotten and comes again has
//! another number and thus another group; what is left of the first one goes when there is more of that than of the rest.

use std::collections::btree_map::Entry;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, BooleanArray, Int64Array};
use arrow_select::filter::filter_record_batch;

use super::held_keys::{Due, HeldKeys, KeepsKeys, TakesBack};
use super::keep::{KeptGroups, latest_rows, over_entry};
use super::key_groups::KeyGroups;
use super::reduce::Groups;
use crate::columnar::{RecordBatch, Schema, SchemaRef};
use crate::error::{Error, Result};
use crate::kernels::keep::under;
use crate::kernels::map_state::micros;
use crate::kernels::{Moment, stored};
use crate::plan::keep::OutputMode;

/// Below this many groups that are over, clearing them away costs more than it gains.
const OVER_WORTH_CLEARING: usize = 1_024;

impl KeptGroups {
    /// Whether groups have a time to live.
    pub(super) fn is_aged(&self) -> bool {
        self.keep.ttl.is_some()
    }

    /// Brings the groups of a batch back that are put away. Does nothing without a time to live.
    pub(super) fn bring_aged(&mut self, groups: &Groups, moment: &Moment) -> Result<()> {
        if !self.is_aged() || !self.ages.has_away() {
            return Ok(());
        }
        self.bring(&groups.keys()?[..self.keep.keys.len() - 1], groups.len(), moment)?;
        if self.keep.mode == OutputMode::Complete { self.bring_all() } else { Ok(()) }
    }

    /// Gives the keys of a batch's groups their numbers, and lets them live on. Does nothing without a time to live.
    pub(super) fn number_by_age(&mut self, keys: &mut [ArrayRef], groups: usize, moment: &Moment) -> Result<()> {
        let (ages, Some(ttl)) = (&mut self.ages, self.keep.ttl) else { return Ok(()) };
        let Some((number, keys)) = keys.split_last_mut() else {
            return Err(Error::internal("groups without a number"));
        };
        let now = micros(moment.time);
        let due = Due { until: Some(now.saturating_add(micros(ttl))), until_event: None };
        let slots = ages.group(keys, groups)?.slots;
        let mut numbers = Vec::with_capacity(groups);
        for &slot in &slots {
            let known = ages.get(slot).filter(|held| held.due.until.is_some_and(|until| until > now));
            let known = known.map(|held| held.value);
            if known.is_none() {
                ages.forget(slot);
            }
            // What was forgotten is older than now, so that no number comes twice for a key.
            let value = known.unwrap_or(now);
            ages.put(slot, due, value);
            numbers.push(value);
        }
        *number = Arc::new(Int64Array::from(numbers));
        self.touched_ages = slots;
        Ok(())
    }

    /// Forgets the groups whose time is over.
    pub(super) fn forget_aged(&mut self, moment: &Moment) -> Result<()> {
        let ages = &mut self.ages;
        ages.due(moment).into_iter().for_each(|slot| ages.forget(slot));
        self.over_before = Some(micros(moment.time));
        let alive = ages.len_here();
        if self.panes.get(&0).is_some_and(|groups| groups.len() > 2 * alive + OVER_WORTH_CLEARING) {
            self.clear_left()?;
        }
        Ok(())
    }

    /// The groups of these keys, as they are now.
    pub(super) fn chosen(&mut self, slots: &[u32]) -> Result<Groups> {
        let keys = self.numbered(slots)?;
        let Some(groups) = self.panes.get_mut(&0) else { return self.reduce.begin()?.settled() };
        let groups = groups.one_mut()?;
        let ids = groups.ids_of(&keys)?;
        self.reduce.select(groups, &ids, &keys)
    }

    /// The keys with their numbers.
    fn numbered(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let ages = &self.ages;
        let mut keys = ages.keys(slots)?;
        keys.push(Arc::new(slots.iter().map(|&slot| ages.get(slot).map(|held| held.value)).collect::<Int64Array>()));
        Ok(keys)
    }

    /// All groups that live, in the order of their first rows.
    pub(super) fn alive(&self) -> Result<RecordBatch> {
        if let Some(whole) = self.whole()? {
            return whole.alive();
        }
        let all = self.ages.all();
        let keys = self.numbered(&all)?;
        let Some(groups) = self.panes.get(&0) else { return Ok(RecordBatch::new_empty(Arc::clone(&self.schema))) };
        let groups = &*groups.one()?;
        // Ids are looked up in a copy: that of the groups themselves would have to change.
        let everything: Vec<u32> = (0_u32..).take(groups.len()).collect();
        let mut copy = self.reduce.select(groups, &everything, &groups.keys()?)?;
        let ids = copy.ids_of(&keys)?;
        self.finished(&self.reduce.select(groups, &ids, &keys)?.finish()?)
    }

    fn aged_schema(&self) -> Result<SchemaRef> {
        let schema = self.reduce.stored_schema()?;
        let ages = self.ages.stored_fields().into_iter().skip(self.keep.keys.len() - 1);
        let fields = schema.fields().iter().map(|field| field.as_ref().clone()).chain(ages).collect::<Vec<_>>();
        Ok(stored::stamped(Schema::new(fields)))
    }

    /// Stored groups with the ages of their keys beside them.
    fn with_ages(&self, rows: &RecordBatch, slots: &[u32]) -> Result<RecordBatch> {
        let ages = self.ages.store(slots)?.into_iter().skip(self.keep.keys.len() - 1);
        let columns = rows.columns().iter().cloned().chain(ages).collect();
        under(&self.aged_schema()?, columns, slots.len())
    }

    pub(super) fn restore_aged(&mut self, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Result<()> {
        let schema = self.aged_schema()?;
        let all = snapshot.iter().chain(changes.iter().flatten()).collect::<Vec<_>>();
        self.over_before = None;
        for rows in &all {
            stored::check(rows, &schema)?;
            self.over_before = self.over_before.max(over_entry(rows.schema_ref())?);
        }
        self.panes.clear();
        self.restore_keys(&all, 0..self.keep.keys.len() - 1)?;
        self.settle(None)
    }

    /// The groups in stored rows.
    fn groups_in(&self, rows: &RecordBatch) -> Result<Groups> {
        let schema = self.reduce.stored_schema()?;
        let columns = rows.columns()[..schema.fields().len()].to_vec();
        self.reduce.restore(&under(&schema, columns, rows.num_rows())?)?.settled()
    }

    /// Holds the ages in stored rows.
    fn hold_ages(&mut self, rows: &RecordBatch) -> Result<()> {
        let (keys, columns) = (self.keep.keys.len() - 1, self.ground.schema.fields().len());
        let schema = rows.schema();
        let fields = schema.fields();
        let fields = fields.iter().take(keys).chain(fields.iter().skip(columns)).cloned().collect::<Vec<_>>();
        let of_ages = rows.columns()[..keys].iter().chain(&rows.columns()[columns..]).cloned().collect();
        let of_ages = under(&Arc::new(Schema::new(fields)), of_ages, rows.num_rows())?;
        let numbers = rows.column(keys).as_primitive::<Int64Type>();
        self.ages.restore(&of_ages, |row| numbers.value(row))?;
        Ok(())
    }
}

/// Of groups with a time to live only.
impl KeepsKeys for KeptGroups {
    type Value = i64;

    fn held(&self) -> &HeldKeys<i64> {
        &self.ages
    }

    fn held_mut(&mut self) -> &mut HeldKeys<i64> {
        &mut self.ages
    }

    fn schema_stored(&self) -> Result<SchemaRef> {
        self.aged_schema()
    }

    fn store_keys(&mut self, slots: &[u32]) -> Result<(RecordBatch, Vec<u32>)> {
        let rows = self.chosen(slots)?.store()?;
        Ok((self.with_ages(&rows, slots)?, slots.to_vec()))
    }

    fn take_back(&mut self, rows: &RecordBatch, _: &[u64]) -> Result<()> {
        self.hold_ages(rows)?;
        let back = self.groups_in(rows)?;
        match self.panes.entry(0) {
            Entry::Occupied(mut groups) => groups.get_mut().one_mut()?.take_all(&back),
            Entry::Vacant(free) => {
                free.insert(KeyGroups::of_one(&self.ground, back));
                Ok(())
            }
        }
    }

    fn restore_rows(&mut self, rows: &RecordBatch, numbers: &[u64]) -> Result<()> {
        let (rows, _) = latest_rows(rows, self.keep.keys.len() - 1, numbers)?;
        let until = rows.column(self.ground.schema.fields().len() + 1).as_primitive::<Int64Type>();
        let lives = |until: Option<i64>| until.is_some_and(|until| self.over_before.is_none_or(|over| until > over));
        let lives = until.iter().map(|until| Some(lives(until))).collect::<BooleanArray>();
        self.take_back(&filter_record_batch(&rows, &lives)?, &[])
    }

    fn changed_rows(&mut self) -> Result<RecordBatch> {
        let rows = self.touched_rows()?;
        self.with_ages(&rows, &self.touched_ages)
    }

    fn without_keys(&self) -> Result<Self> {
        Self::new(&self.keep, &self.schema)
    }

    fn with_keys_here(&self) -> Result<Self> {
        let mut copy = self.without_keys()?;
        self.ages.copy_to(&mut copy.ages)?;
        if let Some(groups) = self.panes.get(&0) {
            copy.panes.insert(0, KeyGroups::of_one(&self.ground, groups.one()?.copied()?));
        }
        Ok(copy)
    }

    fn clear_left(&mut self) -> Result<()> {
        let all = self.ages.all();
        let left = self.chosen(&all)?;
        self.panes.insert(0, KeyGroups::of_one(&self.ground, left));
        Ok(())
    }
}
