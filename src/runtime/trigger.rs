//! When a batch is cut.

use std::time::Duration;

/// The rule that says when a batch is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trigger {
    /// One every so often, counted from the start; if a batch takes longer, the next follows at once. Zero: as fast as
    /// data comes.
    Interval(Duration),
    /// As many as it takes for what is there, within the read limits, then the query ends.
    AvailableNow,
    /// One with all that is there, whatever the limits, then the query ends.
    Once,
    /// One for each call of `tick`.
    Manual,
}

/// What becomes of windows and sessions that are open when a query has read all that its sources have and ends by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnEnd {
    /// They stay open; with a checkpoint they are there when the query goes on.
    #[default]
    Keep,
    /// They are closed and given, as if event time had come to the end of the last of them. Rows for them that come in
    /// another life of the query are late.
    Flush,
}

/// How long an idle query with interval zero waits before it looks at its sources again.
pub const IDLE_WAIT: Duration = Duration::from_millis(10);

impl Default for Trigger {
    /// One a second.
    fn default() -> Self {
        Self::Interval(Duration::from_secs(1))
    }
}

impl Trigger {
    /// Whether batches are due at times of a grid.
    pub(super) fn has_grid(self) -> bool {
        matches!(self, Self::Interval(interval) if !interval.is_zero())
    }

    /// When the next batch is due. Due times stay on the grid of the interval that begins at `start`; of those that
    /// were missed while a batch took too long, only the latest is made up for.
    pub fn next_due(self, start: Duration, last_due: Duration, now: Duration, was_idle: bool) -> Duration {
        let Self::Interval(interval) = self else { return now };
        if interval.is_zero() {
            return if was_idle { now + IDLE_WAIT } else { now };
        }
        let next = last_due + interval;
        if next >= now {
            return next;
        }
        let missed = now.saturating_sub(start).as_nanos() / interval.as_nanos();
        (start + interval * u32::try_from(missed).unwrap_or(u32::MAX)).max(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(last: u64, now: u64) -> u64 {
        let at = Duration::from_secs;
        Trigger::Interval(at(10)).next_due(at(100), at(last), at(now), false).as_secs()
    }

    #[test]
    fn batches_keep_to_the_grid_of_the_interval() {
        assert_eq!(due(100, 103), 110);
        assert_eq!(due(110, 110), 120);
    }

    #[test]
    fn of_missed_batches_only_the_latest_is_made_up_for() {
        assert_eq!(due(100, 117), 110, "one missed: due in the past, so at once");
        assert_eq!(due(100, 147), 140, "four missed");
    }

    #[test]
    fn without_an_interval_an_idle_query_waits_a_little() {
        let now = Duration::from_secs(5);
        let trigger = Trigger::Interval(Duration::ZERO);
        assert_eq!(trigger.next_due(now, now, now, false), now);
        assert_eq!(trigger.next_due(now, now, now, true), now + IDLE_WAIT);
    }
}
