//! Held keys that are taken back from a checkpoint: key group by key group where they may be put away, so that a restart needs no
//! more room than a batch.

use std::ops::Range;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;

use super::HeldKeys;
use super::put_away::{KEY_GROUPS, KeepsKeys, group_byte};
use crate::error::Result;
use crate::kernels::row_number;

/// Stored rows whose keys are looked at at once.
const ROWS_AT_ONCE: usize = if cfg!(debug_assertions) { 64 } else { 1 << 16 };

/// The rows of a batch of stored ones, by key group.
struct DealtRows {
    order: Vec<u32>,
    /// Where each key group begins, and the last one ends.
    ends: Vec<usize>,
}

impl DealtRows {
    fn rows(&self, group: usize) -> &[u32] {
        &self.order[self.ends[group]..self.ends[group + 1]]
    }
}

impl<T> HeldKeys<T> {
    fn dealt(&self, keys: &[ArrayRef], rows: usize) -> Result<DealtRows> {
        let mut groups = Vec::with_capacity(rows);
        for from in (0..rows).step_by(ROWS_AT_ONCE) {
            let count = ROWS_AT_ONCE.min(rows - from);
            let keys = keys.iter().map(|key| key.slice(from, count)).collect::<Vec<_>>();
            self.each_hash(&keys, count, |hash| groups.push(group_byte(hash)))?;
        }
        let mut ends = vec![0; KEY_GROUPS + 1];
        groups.iter().for_each(|&group| ends[usize::from(group) + 1] += 1);
        for group in 0..KEY_GROUPS {
            ends[group + 1] += ends[group];
        }
        let (mut next, mut order) = (ends.clone(), vec![0; rows]);
        for (row, &group) in (0_u32..).zip(&groups) {
            let place = &mut next[usize::from(group)];
            order[*place] = row;
            *place += 1;
        }
        Ok(DealtRows { order, ends })
    }
}

/// What keeps single keys, and takes them back.
pub(in crate::kernels::cpu) trait TakesBack: KeepsKeys {
    /// Becomes what was stored by a checkpoint, in rows that have their keys in these columns: at once, or key group by key
    /// group where keys may be put away, so that those without room leave before others come.
    fn restore_keys(&mut self, stored: &[&RecordBatch], keys: Range<usize>) -> Result<()> {
        let schema = self.schema_restored()?;
        let rows = stored.iter().map(|stored| stored.num_rows()).sum::<usize>();
        row_number(rows)?;
        if self.held().spread.is_none() {
            let numbers = (0_u64..).take(rows).collect::<Vec<_>>();
            return self.restore_rows(&concat_batches(&schema, stored.iter().copied())?, &numbers);
        }
        let dealt = stored.iter().map(|stored| self.held().dealt(&stored.columns()[keys.clone()], stored.num_rows()));
        let dealt = dealt.collect::<Result<Vec<_>>>()?;
        for group in 0..KEY_GROUPS {
            let (mut parts, mut numbers, mut first) = (Vec::new(), Vec::new(), 0);
            for (stored, dealt) in stored.iter().zip(&dealt) {
                let mine = dealt.rows(group);
                if !mine.is_empty() {
                    numbers.extend(mine.iter().map(|&row| first + u64::from(row)));
                    parts.push(take_record_batch(stored, &UInt32Array::from(mine.to_vec()))?);
                }
                first += stored.num_rows() as u64;
            }
            if numbers.is_empty() {
                continue;
            }
            let rows = concat_batches(&schema, &parts)?;
            drop(parts);
            self.restore_rows(&rows, &numbers)?;
            if let Some(spread) = &mut self.held_mut().spread {
                spread.changes = None;
                spread.see_size(Some(&rows))?;
            }
            if let Some((touched, room)) = self.held_mut().weighed() {
                self.put_groups_away(&touched, &room)?;
            }
        }
        Ok(())
    }
}

impl<K: KeepsKeys> TakesBack for K {}
