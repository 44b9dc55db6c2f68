//! Spark's estimator of the rate at which a source may be read, from how long batches took.
//!
//! It is the PID controller of `spark.streaming.backpressure.*`, with the same defaults. With the rate `r` that was
//! allowed, `p` rows a second that the latest batch got through, and a batch that was cut `d` after it was due:
//!
//! ```text
//! error      = r − p                       what was allowed too much
//! backlog    = d · p / interval            rows that wait because of earlier batches, by the interval
//! slope      = (error − error before) / time since then
//! next rate  = max(r − proportional · error − integral · backlog − derivative · slope, minimum)
//! ```
//!
//! The first batch with rows only sets `r = p`. Batches without rows teach nothing.

use std::time::Duration;

/// How sources are slowed down when batches take longer than the interval. The defaults are Spark's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backpressure {
    /// Weight of the difference between the rate that was allowed and that of the latest batch
    /// (`spark.streaming.backpressure.pid.proportional`).
    pub proportional: f64,
    /// Weight of what waits because of earlier batches (`spark.streaming.backpressure.pid.integral`).
    pub integral: f64,
    /// Weight of the change of the difference (`spark.streaming.backpressure.pid.derived`).
    pub derivative: f64,
    /// The lowest rate, in rows a second (`spark.streaming.backpressure.pid.minRate`).
    pub min_rate: f64,
    /// The rate before anything is known, in rows a second (`spark.streaming.backpressure.initialRate`); none: no bound.
    pub initial_rate: Option<f64>,
}

impl Default for Backpressure {
    fn default() -> Self {
        Self { proportional: 1.0, integral: 0.2, derivative: 0.0, min_rate: 100.0, initial_rate: None }
    }
}

impl Backpressure {
    /// What is wrong with these numbers, if anything.
    pub(crate) fn mistake(&self) -> Option<&'static str> {
        let is_weight = |weight: f64| weight.is_finite() && weight >= 0.0;
        let is_rate = |rate: f64| rate.is_finite() && rate > 0.0;
        if ![self.proportional, self.integral, self.derivative].into_iter().all(is_weight) {
            return Some("the weights of backpressure are numbers from 0 on");
        }
        let rates = [self.min_rate].into_iter().chain(self.initial_rate);
        (!rates.into_iter().all(is_rate)).then_some("the rates of backpressure are numbers above 0")
    }
}

/// What a batch showed of a source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Observed {
    /// When it was done.
    pub(super) at: Duration,
    pub(super) rows: u64,
    /// How long it took.
    pub(super) took: Duration,
    /// How late it was cut.
    pub(super) delay: Duration,
}

/// The rate of one source.
#[derive(Debug)]
pub(super) struct RateEstimator {
    options: Backpressure,
    interval: f64,
    latest: Option<Latest>,
    /// Rows a second that are allowed.
    allowed: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    at: Duration,
    rate: f64,
    error: f64,
}

impl RateEstimator {
    pub(super) fn new(options: Backpressure, interval: Duration) -> Self {
        Self { options, interval: interval.as_secs_f64(), latest: None, allowed: options.initial_rate }
    }

    /// Rows that a batch may have; at least one, so that there is something to learn from.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rates are above 0, and saturate")]
    pub(super) fn rows(&self, interval: Duration) -> Option<u64> {
        self.allowed.map(|rate| ((rate * interval.as_secs_f64()) as u64).max(1))
    }

    #[expect(clippy::cast_precision_loss, reason = "a rate is an estimate")]
    pub(super) fn learn(&mut self, seen: &Observed) {
        let since = seen.at.saturating_sub(self.latest.map_or(Duration::ZERO, |latest| latest.at)).as_secs_f64();
        if seen.rows == 0 || seen.took.is_zero() || since <= 0.0 || self.interval <= 0.0 {
            return;
        }
        let processed = seen.rows as f64 / seen.took.as_secs_f64();
        let Some(latest) = self.latest else {
            self.latest = Some(Latest { at: seen.at, rate: processed, error: 0.0 });
            return;
        };
        let error = latest.rate - processed;
        let backlog = seen.delay.as_secs_f64() * processed / self.interval;
        let slope = (error - latest.error) / since;
        let Backpressure { proportional, integral, derivative, min_rate, .. } = self.options;
        let rate = latest.rate - proportional * error - integral * backlog - derivative * slope;
        let rate = rate.max(min_rate);
        self.latest = Some(Latest { at: seen.at, rate, error });
        self.allowed = Some(rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seen(at: u64, rows: u64, took: u64, delay: u64) -> Observed {
        let millis = Duration::from_millis;
        Observed { at: millis(at), rows, took: millis(took), delay: millis(delay) }
    }

    #[test]
    fn the_rate_is_that_of_sparks_formula() {
        let options = Backpressure { derivative: 0.5, ..Backpressure::default() };
        let mut rate = RateEstimator::new(options, SECOND);
        assert_eq!(rate.rows(SECOND), None);
        rate.learn(&seen(1_000, 1_000, 500, 0));
        assert_eq!(rate.rows(SECOND), None, "the first batch says how fast it was, and bounds nothing");
        // r = 2000, p = 1000, error 1000, backlog 0.3 · 1000, slope 1000 / 2 s.
        rate.learn(&seen(3_000, 1_000, 1_000, 300));
        assert_eq!(rate.rows(SECOND), Some(2_000 - 1_000 - 60 - 250));
        // r = 690, p = 1380, error −690, slope −1690 a second.
        rate.learn(&seen(4_000, 690, 500, 0));
        assert_eq!(rate.rows(SECOND), Some(690 + 690 + 845));
        assert_eq!(rate.rows(SECOND / 5), Some((690 + 690 + 845) / 5));
        rate.learn(&seen(5_000, 0, 10, 0));
        rate.learn(&seen(4_000, 10, 10, 0));
        assert_eq!(rate.rows(SECOND), Some(2_225), "neither a batch without rows nor a clock that was set back counts");
    }

    #[test]
    fn the_rate_does_not_fall_below_the_minimum_and_may_begin_with_a_bound() {
        let options = Backpressure { initial_rate: Some(500.0), ..Backpressure::default() };
        let mut rate = RateEstimator::new(options, SECOND);
        assert_eq!(rate.rows(SECOND), Some(500));
        rate.learn(&seen(1_000, 500, 1_000, 0));
        for second in 2..10 {
            rate.learn(&seen(second * 1_000, 10, 4_000, 60_000));
        }
        assert_eq!(rate.rows(SECOND), Some(100));
    }

    #[test]
    fn a_source_that_is_too_fast_is_held_at_what_batches_get_through() {
        // 800 rows a second are computed, however many come.
        let mut rate = RateEstimator::new(Backpressure::default(), SECOND);
        let (mut at, mut due) = (0.0, 0.0_f64);
        let mut latest = (0, 0.0);
        for _ in 0..60 {
            let rows = rate.rows(SECOND).map_or(5_000, |rows| rows.min(5_000));
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let took = rows as f64 / 800.0;
            let delay = f64::max(at - due, 0.0);
            at = f64::max(at, due) + took;
            due += 1.0;
            let seconds = Duration::from_secs_f64;
            rate.learn(&Observed { at: seconds(at), rows, took: seconds(took), delay: seconds(delay) });
            latest = (rows, delay);
        }
        assert!(latest.0 > 700 && latest.0 <= 800, "{latest:?}");
        assert!(latest.1 < 1.0, "batches come to be in time: {latest:?}");
    }

    #[test]
    fn numbers_that_mean_nothing_are_refused() {
        assert_eq!(Backpressure::default().mistake(), None);
        assert!(Backpressure { min_rate: 0.0, ..Backpressure::default() }.mistake().is_some());
        assert!(Backpressure { integral: -1.0, ..Backpressure::default() }.mistake().is_some());
        assert!(Backpressure { initial_rate: Some(f64::NAN), ..Backpressure::default() }.mistake().is_some());
    }
}
