//! Groups over all batches with a time to live: the part of [`super::keep`] that forgets.
//!
//! A group is known by its key and by a number that a key gets when it is new. A key that was forgotten and comes again has
//! another number and thus another group; what is left of the first one goes when there is more of that than of the rest.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, BooleanArray, Int64Array};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;

use super::held_keys::{Due, HeldKeys};
use super::keep::{KeptGroups, latest_rows, over_entry};
use super::key_groups::KeyGroups;
use super::reduce::Groups;
use crate::columnar::{RecordBatch, Schema, SchemaRef};
use crate::error::{Error, Result};
use crate::kernels::keep::under;
use crate::kernels::map_state::micros;
use crate::kernels::{Moment, stored};

/// Below this many groups that are over, clearing them away costs more than it gains.
const OVER_WORTH_CLEARING: usize = 1_024;

impl KeptGroups {
    fn ages(&self) -> Result<&HeldKeys<i64>> {
        self.ages.as_ref().ok_or_else(|| Error::internal("groups without a time to live were asked for their age"))
    }

    /// Gives the keys of a batch's groups their numbers, and lets them live on. Does nothing without a time to live.
    pub(super) fn number_by_age(&mut self, keys: &mut [ArrayRef], groups: usize, moment: &Moment) -> Result<()> {
        let (Some(ages), Some(ttl)) = (&mut self.ages, self.keep.ttl) else { return Ok(()) };
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
        let Some(ages) = &mut self.ages else { return Ok(()) };
        ages.due(moment).into_iter().for_each(|slot| ages.forget(slot));
        self.over_before = Some(micros(moment.time));
        let alive = ages.len();
        if self.panes.get(&0).is_some_and(|groups| groups.len() > 2 * alive + OVER_WORTH_CLEARING) {
            let all = self.ages()?.all();
            let cleared = self.chosen(&all)?;
            self.panes.insert(0, KeyGroups::of_one(&self.ground, cleared));
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
        let ages = self.ages()?;
        let mut keys = ages.keys(slots)?;
        keys.push(Arc::new(slots.iter().map(|&slot| ages.get(slot).map(|held| held.value)).collect::<Int64Array>()));
        Ok(keys)
    }

    /// All groups that live, in the order of their first rows.
    pub(super) fn alive(&self) -> Result<RecordBatch> {
        let all = self.ages()?.all();
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
        let ages = self.ages()?.stored_fields().into_iter().skip(self.keep.keys.len() - 1);
        let fields = schema.fields().iter().map(|field| field.as_ref().clone()).chain(ages).collect::<Vec<_>>();
        Ok(stored::stamped(Schema::new(fields)))
    }

    /// Stored groups with the ages of their keys beside them. Without a time to live they are as they were.
    pub(super) fn with_ages(&self, rows: RecordBatch, slots: &[u32]) -> Result<RecordBatch> {
        let Some(ages) = &self.ages else { return Ok(rows) };
        let ages = ages.store(slots)?.into_iter().skip(self.keep.keys.len() - 1);
        let columns = rows.columns().iter().cloned().chain(ages).collect();
        under(&self.aged_schema()?, columns, slots.len())
    }

    pub(super) fn restore_aged(&mut self, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Result<()> {
        let (schema, groups) = (self.aged_schema()?, self.reduce.stored_schema()?);
        let all = snapshot.iter().chain(changes.iter().flatten()).collect::<Vec<_>>();
        let mut over_before = None;
        for rows in &all {
            stored::check(rows, &schema)?;
            over_before = over_before.max(over_entry(rows.schema_ref())?);
        }
        let (keys, columns) = (self.keep.keys.len() - 1, groups.fields().len());
        let rows = latest_rows(&concat_batches(&schema, all)?, keys)?;
        let until = rows.column(columns + 1).as_primitive::<Int64Type>();
        let lives = |until: Option<i64>| until.is_some_and(|until| over_before.is_none_or(|over| until > over));
        let rows = filter_record_batch(&rows, &until.iter().map(|until| Some(lives(until))).collect::<BooleanArray>())?;
        let stored = under(&groups, rows.columns()[..columns].to_vec(), rows.num_rows())?;
        self.panes.clear();
        self.panes.insert(0, KeyGroups::of_one(&self.ground, self.reduce.restore(&stored)?.settled()?));
        let fields = schema.fields();
        let fields = fields.iter().take(keys).chain(fields.iter().skip(columns)).cloned().collect::<Vec<_>>();
        let of_ages = rows.columns()[..keys].iter().chain(&rows.columns()[columns..]).cloned().collect();
        let of_ages = under(&Arc::new(Schema::new(fields)), of_ages, rows.num_rows())?;
        let numbers = rows.column(keys).as_primitive::<Int64Type>();
        match &mut self.ages {
            Some(ages) => ages.restore(&of_ages, |row| numbers.value(row)),
            None => Ok(()),
        }
    }
}
