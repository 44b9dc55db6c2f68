//! A clock that leaps to the moment that somebody sleeps for, so that hours pass at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pelton::clock::{Clock, Wake};

/// Time that passes only by sleeping, and by [`LeapClock::pass`].
#[derive(Debug, Clone)]
pub(crate) struct LeapClock(Arc<Mutex<Duration>>);

impl LeapClock {
    pub(crate) fn at(now: Duration) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// Lets time pass, as work would.
    pub(crate) fn pass(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for LeapClock {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn sleep_until(&self, deadline: Duration, wake: &Wake) {
        if !wake.is_rung() {
            let mut now = self.0.lock().unwrap();
            *now = deadline.max(*now);
        }
    }
}
