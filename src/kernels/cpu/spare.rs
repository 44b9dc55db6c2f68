//! Tasks that have done their work and wait for the next batch: their tables and columns are memory that a program that
//! runs on batch after batch need not ask for again.
//!
//! What is kept is empty: no row, key or total of an earlier batch, and no hold on its columns. Tasks that became large
//! are let go.

use std::sync::{Mutex, PoisonError};

use super::stage::CpuTask;
use crate::limits::{GROUPS_KEPT_MAX, TASKS_KEPT_MAX};

/// The tasks of a stage that nobody needs at the moment. The lock is taken once a batch.
#[derive(Default)]
#[expect(
    clippy::vec_box,
    reason = "tasks come and go in their boxes: a box less here would be one more request a batch"
)]
pub(super) struct Spare(Mutex<Vec<Box<CpuTask>>>);

impl Spare {
    /// One of them.
    pub(super) fn take(&self) -> Option<Box<CpuTask>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Empties a task and keeps it.
    pub(super) fn keep(&self, mut task: Box<CpuTask>) {
        // A task that cannot be emptied is no loss.
        let is_empty = task.groups().is_ok_and(|groups| groups.len() <= GROUPS_KEPT_MAX && groups.clear().is_ok());
        if is_empty {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < TASKS_KEPT_MAX {
                kept.push(task);
            }
        }
    }
}
