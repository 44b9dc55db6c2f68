//! How many bytes may be in flight: read, and not yet committed.
//!
//! A [`MemoryBudget`] is shared by the queries of a process that are given the same one. A batch takes a [`Credit`] when it
//! is cut, of as much as it may read at most; it is corrected once it is known what was read, and given back when the batch
//! is committed. A source that cannot be cut as small as asked may read more than is left: that is counted too, and the
//! next batch waits until it has been committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that may be in flight at the same time. Clones share the budget.
///
/// ```
/// use pelton::runtime::MemoryBudget;
///
/// let budget = MemoryBudget::new(1_000);
/// let mut credit = budget.take(800);
/// assert_eq!((budget.in_flight(), budget.left()), (800, 200));
/// credit.becomes(1_300); // it could not be cut smaller
/// assert_eq!((budget.in_flight(), budget.left()), (1_300, 0));
/// drop(credit);
/// assert_eq!(budget.left(), 1_000);
/// ```
#[derive(Debug, Clone)]
pub struct MemoryBudget(Arc<Bytes>);

#[derive(Debug)]
struct Bytes {
    total: u64,
    in_flight: AtomicU64,
}

/// Bytes that are in flight until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Credit {
    budget: MemoryBudget,
    bytes: u64,
}

impl MemoryBudget {
    /// A budget of this many bytes.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(Bytes { total: bytes, in_flight: AtomicU64::new(0) }))
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.0.total
    }

    /// Bytes that are in flight now; more than the total if something could not be cut small enough.
    pub fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Ordering::SeqCst)
    }

    /// Bytes that may still be read.
    pub fn left(&self) -> u64 {
        self.0.total.saturating_sub(self.in_flight())
    }

    /// Takes a credit of at most this many bytes, and of at most what is left.
    pub fn take(&self, wanted: u64) -> Credit {
        let granted = |in_flight: u64| wanted.min(self.0.total.saturating_sub(in_flight));
        let take = |in_flight: u64| Some(in_flight + granted(in_flight));
        let before = self.0.in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        let taken = granted(before.unwrap_or_else(|now| now));
        Credit { budget: self.clone(), bytes: taken }
    }
}

impl Credit {
    /// What was given.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Says what was read in truth, be it more or less.
    pub fn becomes(&mut self, bytes: u64) {
        let in_flight = &self.budget.0.in_flight;
        if bytes >= self.bytes {
            in_flight.fetch_add(bytes - self.bytes, Ordering::SeqCst);
        } else {
            in_flight.fetch_sub(self.bytes - bytes, Ordering::SeqCst);
        }
        self.bytes = bytes;
    }
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.becomes(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_are_never_more_than_what_is_left_and_all_come_back() {
        let budget = MemoryBudget::new(100);
        let mut credits: Vec<Credit> = [60, 60, 1].map(|wanted| budget.take(wanted)).into();
        assert_eq!(credits.iter().map(Credit::bytes).collect::<Vec<_>>(), [60, 40, 0]);
        credits[0].becomes(10);
        assert_eq!((budget.left(), budget.take(u64::MAX).bytes()), (50, 50));
        credits[1].becomes(500);
        assert_eq!((budget.in_flight(), budget.left()), (510, 0));
        credits.clear();
        assert_eq!((budget.in_flight(), budget.left()), (0, 100));
    }

    #[test]
    fn queries_on_other_threads_share_a_budget() {
        let budget = MemoryBudget::new(1_000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..1_000 {
                        let mut credit = budget.take(round % 400);
                        assert!(budget.in_flight() <= 1_000);
                        credit.becomes(credit.bytes() / 2);
                    }
                });
            }
        });
        assert_eq!(budget.in_flight(), 0);
    }
}
