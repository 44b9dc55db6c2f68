//! How much the next batch may take of each source, after what the latest ones took and how long that lasted.
//!
//! | what | how it decides |
//! |---|---|
//! | [`BatchSize::max_latency`] | [`Latency`]: bytes a batch, so that a batch takes nearly that long |
//! | [`BatchSize::max_bytes`], [`BatchSize::max_rows`] | bounds of the whole batch, an equal share for each source |
//! | [`Backpressure`](super::rate::Backpressure) | rows a second of each source ([`super::rate`]) |
//! | a plain maximum of a source | rows a second, from a bucket that holds those of one interval |
//!
//! The tightest of them holds. They bound new batches only: what an earlier life of the query has cut is run as it was.
//! Rows are turned into bytes, by what the rows of the source took so far, where a source cannot count rows before it reads
//! them.

use std::time::Duration;

use super::rate::{Backpressure, Observed, RateEstimator};
use crate::connectors::ReadLimits;
use crate::limits::{BATCH_BYTES_FIRST, BATCH_BYTES_MIN, ROW_BYTES_GUESS};

/// How large a batch may become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchSize {
    /// How long a batch may take from its cut to its commit: the size of batches is chosen so that they take nearly that
    /// long, or less if there is less to read.
    pub max_latency: Option<Duration>,
    /// Bytes of all sources together.
    pub max_bytes: Option<u64>,
    /// Rows of all sources together.
    pub max_rows: Option<u64>,
}

/// What a source gave in a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceRead {
    /// Rows.
    pub rows: u64,
    /// Bytes, before decompression.
    pub bytes: u64,
}

/// What is known of a batch once it is committed.
#[derive(Debug)]
pub(super) struct Done<'a> {
    /// Now.
    pub(super) at: Duration,
    /// Of each source, in their order.
    pub(super) read: &'a [SourceRead],
    /// From the cut to the commit.
    pub(super) took: Duration,
    /// How late the batch was cut, after it was due.
    pub(super) delay: Duration,
}

/// The pace of a query.
#[derive(Debug)]
pub(super) struct Pace {
    size: BatchSize,
    latency: Option<Latency>,
    sources: Vec<SourcePace>,
    interval: Duration,
}

#[derive(Debug, Default)]
struct SourcePace {
    bucket: Option<Bucket>,
    rate: Option<RateEstimator>,
    /// What was read of it since the start.
    so_far: SourceRead,
}

impl Pace {
    /// `rates` has the plain maximum of each source, in rows a second; `interval` is from batch to batch.
    pub(super) fn new(
        size: BatchSize,
        backpressure: Option<Backpressure>,
        rates: impl IntoIterator<Item = Option<u64>>,
        interval: Duration,
    ) -> Self {
        let source = |rate: Option<u64>| SourcePace {
            bucket: rate.map(|rate| Bucket::new(rate, interval.max(Duration::from_secs(1)))),
            rate: backpressure.map(|options| RateEstimator::new(options, interval)),
            so_far: SourceRead::default(),
        };
        let sources = rates.into_iter().map(source).collect();
        Self { size, latency: size.max_latency.map(Latency::new), sources, interval }
    }

    /// How much a batch that is cut now may take of a source, within these bounds and what is left of the memory.
    ///
    /// # Errors
    /// The time from which on it may take anything.
    pub(super) fn limits(
        &mut self,
        source: usize,
        within: &ReadLimits,
        counts_rows: bool,
        memory: Option<u64>,
        now: Duration,
    ) -> Result<ReadLimits, Duration> {
        if within.is_lifted {
            return Ok(*within);
        }
        let share = |all: Option<u64>| all.map(|all| (all / self.sources.len().max(1) as u64).max(1));
        let by_latency = self.latency.as_ref().map(|latency| latency.bytes);
        let bytes = [within.bytes_max, share(self.size.max_bytes), share(by_latency), share(memory)];
        let mut bytes = bytes.into_iter().flatten().min();
        let whole = share(self.size.max_rows);
        let Some(pace) = self.sources.get_mut(source) else { return Ok(*within) };
        let by_bucket = pace.bucket.as_mut().map(|bucket| bucket.rows(now)).transpose()?;
        let by_rate = pace.rate.as_ref().and_then(|rate| rate.rows(self.interval));
        let paced = [whole, by_bucket, by_rate].into_iter().flatten().min();
        if let (Some(rows), false) = (paced, counts_rows) {
            bytes = bytes.into_iter().chain([pace.bytes_of(rows)]).min();
        }
        let rows_max = [within.rows_max, paced].into_iter().flatten().min();
        Ok(ReadLimits { bytes_max: bytes, rows_max, ..*within })
    }

    /// Learns from a batch.
    pub(super) fn learn(&mut self, done: &Done<'_>) {
        for (pace, read) in self.sources.iter_mut().zip(done.read) {
            pace.so_far.rows += read.rows;
            pace.so_far.bytes += read.bytes;
            if let Some(bucket) = &mut pace.bucket {
                bucket.take(read.rows);
            }
            if let Some(rate) = &mut pace.rate {
                rate.learn(&Observed { at: done.at, rows: read.rows, took: done.took, delay: done.delay });
            }
        }
        if let Some(latency) = &mut self.latency {
            latency.learn(done.read.iter().map(|read| read.bytes).sum(), done.took);
        }
    }
}

impl SourcePace {
    /// About how many bytes these rows take.
    fn bytes_of(&self, rows: u64) -> u64 {
        let SourceRead { rows: seen, bytes } = self.so_far;
        let bytes = match seen {
            0 => u128::from(rows) * u128::from(ROW_BYTES_GUESS),
            seen => u128::from(rows) * u128::from(bytes) / u128::from(seen),
        };
        u64::try_from(bytes).unwrap_or(u64::MAX).max(1)
    }
}

/// Chooses the bytes of a batch so that it takes nearly as long as wanted.
///
/// A batch of `b` bytes that took `t` says that `b · wanted / t` bytes would have taken as long as wanted; nine tenths of
/// that are aimed at. A batch that was too long always counts; one that was short only if it was about as large as it
/// might have been. A batch is never more than twice as large as the largest before it, so that one lucky measurement
/// cannot make one that takes for ever. What each batch costs whatever its size makes this settle slower, not elsewhere.
#[derive(Debug)]
struct Latency {
    wanted: Duration,
    bytes: u64,
}

impl Latency {
    fn new(wanted: Duration) -> Self {
        Self { wanted, bytes: BATCH_BYTES_FIRST }
    }

    fn learn(&mut self, bytes: u64, took: Duration) {
        if bytes == 0 || took.is_zero() {
            return;
        }
        let fitting = u128::from(bytes) * self.wanted.as_nanos() * 9 / (took.as_nanos() * 10);
        let fitting = u64::try_from(fitting).unwrap_or(u64::MAX);
        let was_full = bytes >= self.bytes / 4 * 3;
        if took > self.wanted || was_full {
            let most = self.bytes.max(bytes).saturating_mul(2);
            self.bytes = fitting.min(most).max(BATCH_BYTES_MIN);
        }
    }
}

/// Rows that may be read, which come at a fixed rate; those of more than some time are not kept.
#[derive(Debug)]
struct Bucket {
    rows_per_second: u64,
    /// In rows times nanoseconds a second, so that nothing is lost by rounding. Below zero if more was read than allowed.
    level: i128,
    most: i128,
    filled_at: Option<Duration>,
}

const ONE_ROW: i128 = 1_000_000_000;

impl Bucket {
    fn new(rows_per_second: u64, keeps: Duration) -> Self {
        let most = i128::from(rows_per_second) * i128::try_from(keeps.as_nanos()).unwrap_or(i128::MAX >> 64);
        Self { rows_per_second, level: most, most, filled_at: None }
    }

    /// How many rows may be read now; if none, when the bucket is full again: batches of a row each help nobody.
    fn rows(&mut self, now: Duration) -> Result<u64, Duration> {
        let since = now.saturating_sub(self.filled_at.unwrap_or(now));
        self.filled_at = Some(now.max(self.filled_at.unwrap_or(now)));
        let new = i128::from(self.rows_per_second) * i128::try_from(since.as_nanos()).unwrap_or(i128::MAX >> 64);
        self.level = (self.level + new).min(self.most);
        if self.level < ONE_ROW {
            let missing = (self.most - self.level).unsigned_abs();
            let wait = missing.div_ceil(u128::from(self.rows_per_second.max(1)));
            return Err(now + Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)));
        }
        Ok(u64::try_from(self.level / ONE_ROW).unwrap_or(u64::MAX))
    }

    fn take(&mut self, rows: u64) {
        self.level -= i128::from(rows) * ONE_ROW;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Runs batches whose time is `fixed` and so many nanoseconds a byte; gives the bytes and time of each.
    fn simulate(latency: &mut Latency, batches: usize, fixed: Duration, nanos_per_byte: u64) -> Vec<(u64, Duration)> {
        let mut all = Vec::new();
        for _ in 0..batches {
            let bytes = latency.bytes;
            let took = fixed + Duration::from_nanos(bytes * nanos_per_byte);
            latency.learn(bytes, took);
            all.push((bytes, took));
        }
        all
    }

    #[test]
    fn batches_grow_and_shrink_until_they_take_nearly_as_long_as_wanted() {
        for (fixed, nanos_per_byte) in [(0, 1), (0, 50), (20, 2), (90, 10), (1, 3_000)] {
            let mut latency = Latency::new(millis(200));
            let batches = simulate(&mut latency, 40, millis(fixed), nanos_per_byte);
            for (bytes, took) in &batches[30..] {
                assert!(*took > millis(150) && *took <= millis(200), "{fixed} {nanos_per_byte}: {bytes} took {took:?}");
            }
            for pair in batches.windows(2) {
                assert!(pair[1].0 <= pair[0].0 * 2, "{pair:?}");
            }
            // The machine becomes ten times slower, and fast again.
            let slow = simulate(&mut latency, 15, millis(fixed), nanos_per_byte * 10);
            assert!(slow[14].1 <= millis(200) || slow[14].0 == BATCH_BYTES_MIN, "{:?}", slow[14]);
            let fast = simulate(&mut latency, 40, millis(fixed), nanos_per_byte);
            assert!(fast[39].1 > millis(150) && fast[39].1 <= millis(200), "{:?}", fast[39]);
        }
    }

    #[test]
    fn a_batch_that_had_little_to_read_says_nothing_unless_it_was_too_long() {
        let mut latency = Latency::new(millis(100));
        latency.learn(1_000, millis(1));
        latency.learn(0, millis(500));
        assert_eq!(latency.bytes, BATCH_BYTES_FIRST);
        latency.learn(1 << 20, millis(200));
        assert_eq!(latency.bytes, (1 << 20) * 9 / 20);
        latency.learn(10, millis(900));
        assert_eq!(latency.bytes, BATCH_BYTES_MIN);
    }

    #[test]
    fn a_plain_maximum_holds_over_any_time() {
        let mut bucket = Bucket::new(10, Duration::from_secs(1));
        assert_eq!(bucket.rows(millis(5_000)), Ok(10));
        bucket.take(10);
        assert_eq!(bucket.rows(millis(5_000)), Err(millis(6_000)));
        assert_eq!(bucket.rows(millis(5_099)), Err(millis(6_000)));
        assert_eq!(bucket.rows(millis(5_250)), Ok(2));
        bucket.take(2);
        assert_eq!(bucket.rows(millis(60_000)), Ok(10), "what was not read is not made up for");
        bucket.take(25);
        assert_eq!(bucket.rows(millis(61_500)), Err(millis(62_500)), "what was read too much is");
        assert_eq!(bucket.rows(millis(61_000)), Err(millis(62_000)), "a clock that is set back gives nothing");
    }

    #[test]
    fn the_tightest_bound_holds_and_rows_become_bytes_where_they_must() {
        let size = BatchSize { max_bytes: Some(4_000), max_rows: Some(100), ..BatchSize::default() };
        let mut pace = Pace::new(size, None, [None, Some(7)], millis(1_000));
        let within = ReadLimits { files_max: Some(3), rows_max: Some(60), ..ReadLimits::default() };
        let all = |pace: &mut Pace, source, counts| pace.limits(source, &within, counts, None, millis(0)).unwrap();
        let limits = all(&mut pace, 0, true);
        assert_eq!((limits.files_max, limits.bytes_max, limits.rows_max), (Some(3), Some(2_000), Some(50)));
        assert_eq!(
            all(&mut pace, 0, false).bytes_max,
            Some(50 * 8),
            "rows are thought to be short before there are some"
        );
        assert_eq!(all(&mut pace, 1, true).rows_max, Some(7));
        let read = [SourceRead { rows: 10, bytes: 200 }, SourceRead { rows: 7, bytes: 70 }];
        pace.learn(&Done { at: millis(500), read: &read, took: millis(100), delay: millis(0) });
        assert_eq!(all(&mut pace, 0, false).bytes_max, Some(50 * 20));
        assert_eq!(pace.limits(1, &within, true, None, millis(0)), Err(millis(1_000)));
        assert_eq!(pace.limits(0, &within, true, Some(30), millis(0)).map(|limits| limits.bytes_max), Ok(Some(15)));
        let lifted = ReadLimits { is_lifted: true, ..ReadLimits::default() };
        assert_eq!(pace.limits(1, &lifted, true, Some(30), millis(0)), Ok(lifted), "all that is there is wanted");
    }
}
