//! How far event time has come: what each stream says, and what follows for who asks several of them.
//!
//! A watermark is the newest time seen less the delay that rows are allowed; of a source of several parts whose event times
//! are told apart (folders, partitions of a log), each part has its own. Who asks several waits for the slowest, except for
//! those that have had no rows for their idle time. A horizon never goes back. All of it moves with batches only, so that a
//! batch that is run again sees the same.

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
    /// By the number of the watermark, then by the name of the part of a source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    parts: BTreeMap<usize, BTreeMap<String, Stream>>,
    /// Horizons by the numbers of the watermarks that are asked, in microseconds since the Unix epoch.
    horizons: BTreeMap<String, i64>,
    /// When the batch was cut.
    cut_at: Option<Duration>,
}

/// A stream, or what comes of it from one part of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Stream {
    /// The watermark, in microseconds since the Unix epoch; nothing before the first row.
    reached: Option<i64>,
    /// The time of the latest batch that had rows, or of the first one.
    active_at: Duration,
}

impl Stream {
    /// At a batch, before any row.
    fn new(now: Duration) -> Self {
        Self { reached: None, active_at: now }
    }

    fn see(&mut self, newest: i64, delay: Duration, now: Duration) {
        self.reached = self.reached.max(Some(newest.saturating_sub(micros(delay))));
        self.active_at = now;
    }

    fn is_idle(&self, watermark: &Watermark, now: Duration) -> bool {
        watermark.idle_after.is_some_and(|idle| now.saturating_sub(self.active_at) >= idle)
    }
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
            let stream = self.streams.entry(watermark.id.0).or_insert(Stream::new(now));
            if let Some(&newest) = seen.newest.get(&watermark.id) {
                stream.see(newest, watermark.delay, now);
            }
            for ((_, part), newest) in seen.newest_of_parts.iter().filter(|((id, _), _)| *id == watermark.id) {
                let parts = self.parts.entry(watermark.id.0).or_default();
                let part = parts.entry(part.clone()).or_insert(Stream::new(now));
                newest.iter().for_each(|newest| part.see(*newest, watermark.delay, now));
            }
        }
    }

    /// What a watermark consists of: its parts, and what is of none of them, if anything is.
    fn streams_of(&self, watermark: &Watermark) -> impl Iterator<Item = &Stream> {
        let parts = self.parts.get(&watermark.id.0);
        let whole = self.streams.get(&watermark.id.0);
        let whole = whole.filter(|whole| parts.is_none_or(BTreeMap::is_empty) || whole.reached.is_some());
        parts.into_iter().flat_map(BTreeMap::values).chain(whole)
    }

    /// Forgets parts that nobody waits for and whose time has passed for all who ask: when one comes again, it is as if it had
    /// been remembered. So a folder an hour does not add up.
    pub(super) fn forget_idle(&mut self, watermarks: &[Watermark], now: Duration) {
        if self.parts.is_empty() {
            return;
        }
        for watermark in watermarks {
            let asks = |name: &&String| name.split(',').any(|id| id == watermark.id.0.to_string());
            let horizons = self.horizons.iter().filter(|(name, _)| asks(name)).map(|(_, horizon)| *horizon);
            if let (Some(horizon), Some(parts)) = (horizons.min(), self.parts.get_mut(&watermark.id.0)) {
                let has_passed = |part: &Stream| part.reached.is_none_or(|reached| reached <= horizon);
                parts.retain(|_, part| !part.is_idle(watermark, now) || !has_passed(part));
            }
        }
        self.parts.retain(|_, parts| !parts.is_empty());
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
        let watermarks = watermarks.iter().filter(|watermark| asked.contains(&watermark.id));
        let awaited = watermarks
            .flat_map(|watermark| self.streams_of(watermark).filter(|stream| !stream.is_idle(watermark, now)))
            .map(|stream| stream.reached);
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

    fn saw_parts(newest: &[(&str, Option<i64>)]) -> Sighting {
        let newest_of_parts =
            newest.iter().map(|&(part, newest)| ((WatermarkId(0), part.to_owned()), newest)).collect();
        Sighting { newest_of_parts, ..Sighting::default() }
    }

    #[test]
    fn the_slowest_part_of_a_source_holds_the_horizon_until_it_is_idle() {
        let all = [watermark(0, Some(5))];
        let asked = BTreeSet::from([WatermarkId(0)]);
        let mut time = EventTime::default();
        let mut at = |newest: &[(&str, Option<i64>)], now: u64| {
            time.see(&all, &saw_parts(newest), Duration::from_secs(now));
            let horizon = time.advance(&all, &asked, Duration::from_secs(now));
            time.forget_idle(&all, Duration::from_secs(now));
            let known = time.parts.get(&0).map_or(0, BTreeMap::len);
            // What is written down and read again goes on as what was not.
            time = serde_json::from_str(&serde_json::to_string(&time).unwrap()).unwrap();
            (horizon, known)
        };
        assert_eq!(at(&[("a", Some(100)), ("b", None)], 0), (None, 2), "nothing was seen of b, but it is there");
        assert_eq!(at(&[("b", Some(50))], 1), (Some(40), 2));
        assert_eq!(at(&[("a", Some(300)), ("b", Some(20))], 2), (Some(40), 2), "older rows do not set it back");
        assert_eq!(at(&[("a", Some(310))], 6), (Some(40), 2));
        assert_eq!(
            at(&[("a", Some(320))], 7),
            (Some(310), 1),
            "b has been idle for five seconds, and its time is over"
        );
        assert_eq!(at(&[("b", Some(60)), ("a", Some(400))], 8), (Some(310), 2), "it is late, and waited for again");
        assert_eq!(at(&[("b", Some(350))], 9), (Some(340), 2));
        assert_eq!(at(&[], 14), (Some(340), 1), "of idle parts those that are ahead are remembered");
        assert_eq!(at(&[], 60), (Some(340), 1), "when all are idle, time stands still");
    }

    #[test]
    fn rows_of_no_part_are_waited_for_as_a_part_is() {
        let all = [watermark(0, None)];
        let asked = BTreeSet::from([WatermarkId(0)]);
        let mut time = EventTime::default();
        let both = Sighting { newest: BTreeMap::from([(WatermarkId(0), 70)]), ..saw_parts(&[("a", Some(100))]) };
        time.see(&all, &both, Duration::ZERO);
        assert_eq!(time.advance(&all, &asked, Duration::ZERO), Some(60));
    }
}
