//! The time that a device takes for work whose rows lie in its memory: from a submission to its answer on the host.
//!
//! Only benchmarks have one. It waits until rows have gone up before it starts the clock, which nobody else would do.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;

/// Adds up the time of submissions.
#[derive(Clone)]
pub struct Stopwatch {
    clock: Arc<dyn Clock>,
    nanos: Arc<AtomicU64>,
}

impl Stopwatch {
    /// One that stands at zero.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, nanos: Arc::default() }
    }

    /// The time since somebody last asked.
    pub fn take(&self) -> Duration {
        Duration::from_nanos(self.nanos.swap(0, Ordering::Relaxed))
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    pub(super) fn add_since(&self, started: Duration) {
        let spent = self.clock.now().saturating_sub(started);
        self.nanos.fetch_add(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl fmt::Debug for Stopwatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopwatch").field("nanos", &self.nanos).finish_non_exhaustive()
    }
}
