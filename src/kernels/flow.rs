//! Where the rows of a stage went: none may be lost without a reason.
//!
//! A task counts its rows where they come in, where steps leave some out or add some, and where they reach the end; rules
//! and windows count for themselves what they leave out. What comes in must be what is accounted for. The executor checks
//! that for every batch, and that the rows a reader reports are those it gave.

use serde::Serialize;

use super::Findings;
use crate::error::{Error, Result};

/// Where the rows of a task, or of all tasks of a stage, went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// Rows that came in.
    pub rows_in: u64,
    /// Rows that filters and joins left out.
    pub filtered: u64,
    /// Rows that joins, lists taken apart and functions added, less those that functions left out.
    pub added: i64,
    /// Rows left out because they broke a rule.
    pub rejected: u64,
    /// Rows left out because they broke a rule, and kept in the quarantine.
    pub quarantined: u64,
    /// Rows left out because they came too late for their windows, or have no time.
    pub late: u64,
    /// Rows that reached the end of the stage.
    pub rows_end: u64,
}

impl Flow {
    /// Adds where the rows of another task went.
    pub fn absorb(&mut self, other: &Self) {
        self.rows_in += other.rows_in;
        self.filtered += other.filtered;
        self.added += other.added;
        self.rejected += other.rejected;
        self.quarantined += other.quarantined;
        self.late += other.late;
        self.rows_end += other.rows_end;
    }

    /// A step left rows out: this many came, and this many went on.
    pub(crate) fn filter(&mut self, came: usize, went: usize) {
        self.filtered += came.saturating_sub(went) as u64;
        self.change(came.min(went), went);
    }

    /// A step made this many rows of that many.
    pub(crate) fn change(&mut self, came: usize, went: usize) {
        let count = |rows: usize| i64::try_from(rows).unwrap_or(i64::MAX);
        self.added = self.added.saturating_add(count(went) - count(came));
    }

    /// The end of the stage left out, by a rule, some of the rows that reached it.
    pub(crate) fn reject_at_end(&mut self, found: &Findings) {
        self.rejected += found.dropped;
        self.quarantined += found.quarantined;
        self.rows_end = self.rows_end.saturating_sub(found.dropped + found.quarantined);
    }

    /// Whether every row is accounted for, of `given` rows that the task was given.
    ///
    /// # Errors
    /// `Internal`, if one is not.
    pub fn check(&self, given: u64) -> Result<()> {
        let came = i128::from(self.rows_in) + i128::from(self.added);
        let left_out = [self.filtered, self.rejected, self.quarantined, self.late];
        let gone = i128::from(self.rows_end) + left_out.into_iter().map(i128::from).sum::<i128>();
        if self.rows_in == given && came == gone {
            return Ok(());
        }
        Err(Error::internal(format!("of {given} rows that came in, not all are accounted for: {self:?}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_must_go_somewhere() {
        let mut flow = Flow { rows_in: 10, rows_end: 2, rejected: 1, quarantined: 1, late: 1, ..Flow::default() };
        flow.filter(10, 6);
        flow.change(6, 5);
        flow.filter(3, 5);
        flow.change(0, 0);
        assert_eq!((flow.filtered, flow.added), (4, 1));
        flow.rows_end = 4;
        flow.check(10).unwrap();
        for wrong in [Flow { rows_end: 3, ..flow }, Flow { late: 0, ..flow }, Flow { filtered: 5, ..flow }] {
            assert_eq!(wrong.check(10).unwrap_err().kind(), crate::error::ErrorKind::Internal);
        }
        assert!(flow.check(11).is_err());
        let mut twice = flow;
        twice.absorb(&flow);
        twice.check(20).unwrap();
    }
}
