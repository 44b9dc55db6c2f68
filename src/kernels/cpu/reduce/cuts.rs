//! Ordered sums cut by cut: a partition hands the sums of a cut over to those of the cuts before, and goes on with another cut.
//!
//! It keeps its groups, so that a key has to be looked up over there only once, and its lanes, which stay in the cache: a table
//! for each cut would be read from memory at the next one. Only lanes are handed over, since there adding the number of a
//! group that had no row changes nothing.

#![expect(clippy::cast_possible_truncation, reason = "group ids fit u32")]

use std::sync::Arc;

use arrow_array::UInt32Array;
use arrow_select::take::take;

use super::Groups;
use super::state::{Mapping, NOT_TAKEN};
use crate::error::Result;
use crate::limits::GROUPS_KEPT_MAX;

/// Where the groups of a partition are among those of the cuts before.
#[derive(Debug, Default)]
pub(super) struct Handed {
    /// Groups here, by their ids, and their ids there.
    from: Vec<u32>,
    to: Vec<u32>,
    /// For each id here the one there.
    ids: Vec<u32>,
    /// Whether ids were places of a range.
    were_places: bool,
    /// The mark of the groups over there.
    over: Option<Arc<()>>,
    /// The mark of the groups here, if some were handed over to them, as long as they keep their ids.
    mark: Option<Arc<()>>,
}

impl Handed {
    /// The groups here have other ids, or there are none.
    pub(super) fn clear(&mut self) {
        (self.over, self.mark) = (None, None);
        self.from.clear();
        self.to.clear();
        self.ids.clear();
    }
}

impl Groups {
    /// Whether its cuts can be handed over, or those of others be handed to it: neither rows that were put off nor states
    /// that cannot be added up again and again, and so few groups that going through all of them costs little.
    pub(in crate::kernels::cpu) fn hands_over(&self) -> bool {
        let has_lanes_alone = self.states.iter().all(Option::is_none);
        has_lanes_alone && self.deferred.rows() == 0 && !self.defers && self.len() <= GROUPS_KEPT_MAX
    }

    /// Adds the rows since the last such call to those before, and forgets them.
    ///
    /// # Errors
    /// As for [`Groups::merge`].
    pub(in crate::kernels::cpu) fn hand_over(&mut self, before: &mut Self) -> Result<()> {
        if self.laned.lanes.groups() == 0 {
            return Ok(()); // no row has ever come
        }
        before.tell_values_like(self);
        self.find_new_groups(before)?;
        let Handed { from, to, .. } = &*self.handed;
        let mapping = Mapping { from, to, later_groups: self.slots(), groups: before.slots() };
        before.laned.take_over(&mut self.laned, &mapping)
    }

    /// Looks up over there the groups that are new here, in the order of their first rows.
    fn find_new_groups(&mut self, before: &mut Self) -> Result<()> {
        let (order, mark) = (self.ids.order(), before.handed.mark.get_or_insert_default());
        let is_known = self.handed.over.as_ref().is_some_and(|over| Arc::ptr_eq(over, mark));
        if !is_known || self.handed.were_places != order.is_some() {
            self.handed.clear();
            (self.handed.over, self.handed.were_places) = (Some(Arc::clone(mark)), order.is_some());
        }
        let (known, groups) = (self.handed.from.len(), self.len());
        if known == groups && known > 0 {
            return Ok(());
        }
        let new = match order {
            Some(order) => order[known..].to_vec(),
            None => (known as u32..groups as u32).collect(),
        };
        let rows = UInt32Array::from(new.clone());
        let keys = self.ids.keys()?;
        let keys = keys.iter().map(|key| take(key, &rows, None)).collect::<Result<Vec<_>, _>>()?;
        let there = before.ids_of_all(&keys, new.len())?;
        let Handed { from, to, ids, .. } = &mut *self.handed;
        ids.resize(self.ids.len().max(groups), NOT_TAKEN);
        new.iter().zip(there).for_each(|(&id, there)| ids[id as usize] = there);
        // By ids, so that the lanes are gone through from their beginning to their end.
        from.clear();
        from.extend((0..ids.len() as u32).filter(|&id| ids[id as usize] != NOT_TAKEN));
        to.clear();
        to.extend(from.iter().map(|&id| ids[id as usize]));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use arrow_schema::{DataType, Field};

    use super::super::KeyedReduce;
    use super::*;
    use crate::expr::{AggregateFunction, TypedAggregate, TypedExpr, TypedNode};

    fn aggregate(function: AggregateFunction, data_type: DataType) -> TypedAggregate {
        let node = TypedNode::Column(0, "x".to_owned());
        let input = Some(TypedExpr { node, data_type: DataType::Float64, nullable: true });
        TypedAggregate { name: function.name().to_owned(), function, input, filter: None, data_type }
    }

    /// Rows of a cut: ever more keys from cut to cut, and others in odd ones; some keys and values are null.
    fn rows(cut: usize, len: usize, kinds: usize) -> (Vec<ArrayRef>, ArrayRef) {
        let word = |row: usize| ((cut * 1_000_003 + row + 1) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24;
        let key = |row: usize| (word(row) % (40 + 30 * cut as u64) + 25 * (cut as u64 % 2)).cast_signed();
        let whole: ArrayRef = Arc::new((0..len).map(|row| (row % 19 != 7).then(|| key(row))).collect::<Int64Array>());
        let text: ArrayRef = Arc::new((0..len).map(|row| Some(format!("t{}", key(row) % 31))).collect::<StringArray>());
        let value =
            |row: usize| (word(row) >> 5) as f64 * 10_f64.powi(i32::try_from(word(row) & 31).unwrap() - 16) - 1e9;
        let values: ArrayRef =
            Arc::new((0..len).map(|row| (row % 5 != 1).then(|| value(row))).collect::<Float64Array>());
        (
            match kinds {
                0 => vec![whole],
                1 => vec![text],
                2 => vec![whole, text],
                _ => Vec::new(),
            },
            values,
        )
    }

    #[test]
    fn cuts_that_are_handed_over_are_cuts_that_are_merged() {
        use AggregateFunction::{Count, Max, Mean, Min, OrderedMean, OrderedSum, Sum};
        let float = DataType::Float64;
        let aggregates =
            [OrderedSum, OrderedMean, Sum, Mean, Min, Max].map(|function| aggregate(function, float.clone()));
        let aggregates: Vec<_> = aggregates.into_iter().chain([aggregate(Count, DataType::Int64)]).collect();
        let fields = [Field::new("k", DataType::Int64, true), Field::new("t", DataType::Utf8, true)];
        for (kinds, keys) in [&fields[..1], &fields[1..], &fields[..], &[]].into_iter().enumerate() {
            let reduce = KeyedReduce::prepare(keys, &aggregates).unwrap();
            // The long ones make keys of a range places, in one of the tasks first.
            let lengths = [200, 0, 1, 70_000, 64, 5, 70_000, 300, 0, 4_097, 9];
            let update = |groups: &mut Groups, cut: usize| {
                let (keys, values) = rows(cut, lengths[cut], kinds);
                let inputs = vec![Some(values); aggregates.len()];
                groups.update(&keys, &inputs, &vec![None; aggregates.len()], lengths[cut]).unwrap();
            };
            let mut merged = reduce.begin().unwrap();
            update(&mut merged, 0);
            for cut in 1..lengths.len() {
                let mut later = reduce.begin().unwrap();
                update(&mut later, cut);
                merged.merge(later).unwrap();
            }
            let mut before = reduce.begin().unwrap();
            update(&mut before, 0);
            let mut tasks = [reduce.begin().unwrap(), reduce.begin().unwrap()];
            for cut in 1..lengths.len() {
                let task = &mut tasks[cut % 3 / 2];
                update(task, cut);
                assert!(task.hands_over() && before.hands_over());
                task.hand_over(&mut before).unwrap();
                if cut == 7 {
                    before.settle().unwrap();
                }
            }
            let (found, expected) = (before.finish().unwrap(), merged.finish().unwrap());
            for (found, expected) in found.columns().iter().zip(expected.columns()) {
                assert_eq!(found.to_data(), expected.to_data(), "keys {keys:?}");
            }
        }
    }
}
