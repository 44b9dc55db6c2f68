//! How far event time has come: what each stream says, and what follows for who asks several of them.
//!
//! A watermark is the newest time seen less the delay that rows are allowed. Who asks several waits for the slowest, except
//! for those that have had no rows for their idle time. A horizon never goes back. All of it moves with batches only, so
//! that a batch that is run again sees the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::kernels::Sighting;
use crate::plan::keep::{Watermark, WatermarkId};

/// What is known after a batch; part of the commit log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTime {
    /// By the number of the watermark.
    streams: BTreeMap<usize, Stream>,
    /// Horizons by the numbers of the watermarks that are asked, in microseconds since the Unix epoch.
    horizons: BTreeMap<String, i64>,
    /// When the batch was cut.
    cut_at: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stream {
    /// The watermark, in microseconds since the Unix epoch; nothing before the first row.
    reached: Option<i64>,
    /// The time of the latest batch that had rows, or of the first one.
    active_at: Duration,
}

impl EventTime {
    /// When the latest batch was cut.
    pub(super) fn cut_at(&self) -> Option<Duration> {
        self.cut_at
    }

    /// How far event time has come for who asks these.
    pub(super) fn horizon(&self, asked: &BTreeSet<WatermarkId>) -> Option<i64> {
        self.horizons.get(&name(asked)).copied()
    }

    /// Moves on with what a batch saw, cut at `now`.
    pub(super) fn see(&mut self, watermarks: &[Watermark], seen: &Sighting, now: Duration) {
        self.cut_at = Some(now);
        for watermark in watermarks {
            let stream = self.streams.entry(watermark.id.0).or_insert(Stream { reached: None, active_at: now });
            if let Some(&newest) = seen.newest.get(&watermark.id) {
                let reached = newest.saturating_sub(micros(watermark.delay));
                stream.reached = stream.reached.max(Some(reached));
                stream.active_at = now;
            }
        }
    }

    /// Event time has come so far for who asks these, whatever the streams say.
    pub(super) fn raise(&mut self, asked: &BTreeSet<WatermarkId>, to: i64) {
        let horizon = self.horizons.entry(name(asked)).or_insert(to);
        *horizon = to.max(*horizon);
    }

    /// How far event time has come now for who asks these; remembered, so that it never goes back.
    pub(super) fn advance(
        &mut self,
        watermarks: &[Watermark],
        asked: &BTreeSet<WatermarkId>,
        now: Duration,
    ) -> Option<i64> {
        let streams = watermarks.iter().filter(|watermark| asked.contains(&watermark.id));
        let streams = streams.filter_map(|watermark| Some((watermark, self.streams.get(&watermark.id.0)?)));
        let is_idle = |(watermark, stream): &(&Watermark, &Stream)| {
            watermark.idle_after.is_some_and(|idle| now.saturating_sub(stream.active_at) >= idle)
        };
        let awaited = streams.filter(|one| !is_idle(one)).map(|(_, stream)| stream.reached);
        // Of those that are waited for, one without any row holds all up.
        let slowest = awaited.min().flatten();
        let name = name(asked);
        let horizon = slowest.max(self.horizons.get(&name).copied());
        if let Some(horizon) = horizon {
            self.horizons.insert(name, horizon);
        }
        horizon
    }
}

fn name(asked: &BTreeSet<WatermarkId>) -> String {
    asked.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(",")
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watermark(id: usize, idle: Option<u64>) -> Watermark {
        let idle_after = idle.map(Duration::from_secs);
        Watermark { id: WatermarkId(id), column: "t".to_owned(), delay: Duration::from_micros(10), idle_after }
    }

    fn saw(newest: &[(usize, i64)]) -> Sighting {
        let newest = newest.iter().map(|&(id, newest)| (WatermarkId(id), newest)).collect();
        Sighting { newest, ..Sighting::default() }
    }

    #[test]
    fn the_slowest_stream_holds_the_horizon() {
        let all = [watermark(0, None), watermark(1, None)];
        let both = BTreeSet::from([WatermarkId(0), WatermarkId(1)]);
        let mut time = EventTime::default();
        let mut at = |newest: &[(usize, i64)], now: u64| {
            time.see(&all, &saw(newest), Duration::from_secs(now));
            time.advance(&all, &both, Duration::from_secs(now))
        };
        assert_eq!(at(&[(0, 100)], 0), None, "nothing is known of the second stream");
        assert_eq!(at(&[(1, 50)], 1), Some(40));
        assert_eq!(at(&[(0, 30), (1, 200)], 2), Some(90), "older rows do not set it back");
        assert_eq!(at(&[], 100), Some(90));
    }

    #[test]
    fn an_idle_stream_is_not_waited_for_and_cannot_set_the_horizon_back() {
        let all = [watermark(0, Some(5)), watermark(1, Some(5))];
        let both = BTreeSet::from([WatermarkId(0), WatermarkId(1)]);
        let mut time = EventTime::default();
        let mut at = |newest: &[(usize, i64)], now: u64| {
            time.see(&all, &saw(newest), Duration::from_secs(now));
            time.advance(&all, &both, Duration::from_secs(now))
        };
        assert_eq!(at(&[(0, 100)], 0), None);
        assert_eq!(at(&[(0, 110)], 4), None);
        assert_eq!(at(&[(0, 120)], 5), Some(110), "the second stream has been idle for five seconds");
        assert_eq!(at(&[(1, 20)], 6), Some(110), "and is late when it comes");
        assert_eq!(at(&[], 60), Some(110), "when all are idle, time stands still");
    }
}
