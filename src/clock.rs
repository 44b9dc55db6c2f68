//! The only place that asks for the time. Tests bring a clock of their own and move it by hand.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time as the engine sees it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Time since the Unix epoch.
    fn now(&self) -> Duration;

    /// Blocks until `now() >= deadline`, or until `wake` says so, whichever is first.
    fn sleep_until(&self, deadline: Duration, wake: &Wake);
}

/// The clock on the wall; it never runs backwards within a process.
#[derive(Debug, Clone)]
pub struct SystemClock {
    started_at: Duration,
    started: Instant,
}

impl SystemClock {
    /// A clock that starts at the system's time and counts on monotonically from there.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's clocks")]
    pub fn new() -> Self {
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started_at, started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.started_at + self.started.elapsed()
    }

    fn sleep_until(&self, deadline: Duration, wake: &Wake) {
        let state = wake.lock();
        if state.0 {
            return;
        }
        let wait = deadline.saturating_sub(self.now());
        drop(wake.0.ring.wait_timeout_while(state, wait, |state| !state.0));
    }
}

/// A clock that stands still until it is moved.
///
/// ```
/// use pelton::clock::{Clock, VirtualClock};
/// use std::time::Duration;
///
/// let clock = VirtualClock::at(Duration::from_secs(100));
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now(), Duration::from_secs(105));
/// ```
#[derive(Debug, Clone)]
pub struct VirtualClock(Arc<VirtualTime>);

#[derive(Debug)]
struct VirtualTime {
    now: Mutex<(Duration, Vec<Wake>)>,
}

impl VirtualClock {
    /// A clock that shows this time since the Unix epoch.
    pub fn at(now: Duration) -> Self {
        Self(Arc::new(VirtualTime { now: Mutex::new((now, Vec::new())) }))
    }

    /// Moves the clock and wakes everyone who sleeps on it.
    pub fn advance(&self, by: Duration) {
        let mut state = recover(self.0.now.lock());
        state.0 += by;
        for sleeper in state.1.drain(..) {
            sleeper.nudge();
        }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        recover(self.0.now.lock()).0
    }

    fn sleep_until(&self, deadline: Duration, wake: &Wake) {
        loop {
            let nudges = {
                let mut state = recover(self.0.now.lock());
                if state.0 >= deadline || wake.is_rung() {
                    return;
                }
                state.1.push(wake.clone());
                wake.lock().1
            };
            let state = wake.lock();
            drop(wake.0.ring.wait_while(state, |state| !state.0 && state.1 == nudges));
        }
    }
}

/// A bell that ends a sleep early, from any thread.
#[derive(Debug, Clone, Default)]
pub struct Wake(Arc<Bell>);

#[derive(Debug, Default)]
struct Bell {
    /// Whether the bell was rung, and how often a virtual clock moved.
    state: Mutex<(bool, u64)>,
    ring: Condvar,
}

impl Wake {
    /// A bell that has not been rung.
    pub fn new() -> Self {
        Self::default()
    }

    /// Rings: present and future sleeps with this bell end at once, until [`Wake::reset`].
    pub fn ring(&self) {
        self.lock().0 = true;
        self.0.ring.notify_all();
    }

    /// Makes the bell silent again, and says whether it had been rung.
    pub fn reset(&self) -> bool {
        std::mem::take(&mut self.lock().0)
    }

    /// Whether the bell has been rung.
    pub fn is_rung(&self) -> bool {
        self.lock().0
    }

    fn nudge(&self) {
        self.lock().1 += 1;
        self.0.ring.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, (bool, u64)> {
        recover(self.0.state.lock())
    }
}

/// The lock's content even if another thread panicked while holding it: all states above are valid at every moment.
fn recover<'a, T>(lock: Result<MutexGuard<'a, T>, PoisonError<MutexGuard<'a, T>>>) -> MutexGuard<'a, T> {
    lock.unwrap_or_else(PoisonError::into_inner)
}
