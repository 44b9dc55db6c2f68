//! Streams whose rows have a time, and windows over batches, with Spark's names.

use std::sync::Arc;
use std::time::Duration;

use super::cell::Row;
use super::dstream::DStream;
use super::fold::WindowReduce;
use super::table::JoinOn;
use crate::expr::{Aggregate, Expr, len};
use crate::plan::LogicalPlan;
use crate::plan::logical::JoinStreamsDescribed;
use crate::plan::operator::StreamJoinKind;

/// Event time.
impl DStream {
    /// Says that the rows of this stream come at most `delay` later than the newest one, by the time in `column`. Windows
    /// over event time are final once no row is expected any more; rows that come later still are counted and left out.
    #[must_use]
    pub fn with_watermark(&self, column: impl Into<String>, delay: Duration) -> Self {
        let column = column.into();
        self.with(|input| LogicalPlan::Watermark { input, column, delay, idle_after: None })
    }

    /// As [`DStream::with_watermark`], for one of several streams that are put together: once it has had no rows for
    /// `idle_after`, the others do not wait for it. What it brings afterwards may be late. The same of the parts of a source
    /// whose event times are told apart, as those of
    /// [`event_time_by_folder`](crate::connectors::directory::DirectorySource::event_time_by_folder).
    #[must_use]
    pub fn with_watermark_or_idle(&self, column: impl Into<String>, delay: Duration, idle_after: Duration) -> Self {
        let column = column.into();
        self.with(|input| LogicalPlan::Watermark { input, column, delay, idle_after: Some(idle_after) })
    }

    /// The rows that a [`window`](crate::expr::window) does not take: those that come after all their windows were closed,
    /// and those that have no time.
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # use std::time::Duration;
    /// # fn example(ads: DStream, late: pelton::connectors::memory::MemorySink) -> Result<DStream> {
    /// let ads = ads.with_watermark("event_time", Duration::from_secs(10));
    /// let by_minute = || window(col("event_time"), Duration::from_secs(60));
    /// ads.late_rows(by_minute()).write(late)?;
    /// Ok(ads.key_by([col("campaign"), by_minute()]).count())
    /// # }
    /// ```
    #[must_use]
    pub fn late_rows(&self, window: Expr) -> Self {
        self.with(|input| LogicalPlan::Late { input, window })
    }
}

/// Two streams.
impl DStream {
    /// Rows of this stream beside those of another whose keys are equal and whose times are close: that of the other row
    /// lies from `before` before to `after` after the time of this row. Rows wait for others as long as the watermarks of
    /// both streams say that some can come; with `left`, `right` or `full`, those that none has matched come out then, beside
    /// nulls. The other stream's columns come after this one's, without those joined on.
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # use std::time::Duration;
    /// # fn example(views: DStream, clicks: DStream) -> DStream {
    /// let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    /// let views = views.with_watermark("viewed", minutes(1));
    /// let clicks = clicks.with_watermark("clicked", minutes(1));
    /// let times = ("viewed", "clicked");
    /// views.join_within(&clicks, ["ad"], times, (minutes(0), minutes(10)), StreamJoinKind::Left)
    /// # }
    /// ```
    #[must_use]
    pub fn join_within<O: Into<JoinOn>>(
        &self,
        other: &Self,
        on: impl IntoIterator<Item = O>,
        times: (impl Into<String>, impl Into<String>),
        (before, after): (Duration, Duration),
        kind: StreamJoinKind,
    ) -> Self {
        let on = on.into_iter().map(Into::into).map(|JoinOn(left, right)| (left, right)).collect();
        self.join_within_as(other, on, (times.0.into(), times.1.into()), (before, after), kind, None)
    }

    /// Each row of this stream beside the latest row of another one, as of its time: of the rows whose keys are equal the
    /// last one whose time is not later, and not older than `tolerance` if there is one. A row comes once the watermarks of
    /// both streams say that no other can come that it would take; `inner` leaves rows out that find none, `left` puts them
    /// beside nulls. Without a tolerance the latest row of each key is held for good.
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # use std::time::Duration;
    /// # fn example(trades: DStream, quotes: DStream) -> DStream {
    /// let trades = trades.with_watermark("traded", Duration::from_secs(1));
    /// let quotes = quotes.with_watermark("quoted", Duration::from_secs(1));
    /// let tolerance = Some(Duration::from_secs(60));
    /// trades.join_asof_stream(&quotes, ["symbol"], ("traded", "quoted"), tolerance, StreamJoinKind::Left)
    /// # }
    /// ```
    #[must_use]
    pub fn join_asof_stream<O: Into<JoinOn>>(
        &self,
        other: &Self,
        on: impl IntoIterator<Item = O>,
        times: (impl Into<String>, impl Into<String>),
        tolerance: Option<Duration>,
        kind: StreamJoinKind,
    ) -> Self {
        let on = on.into_iter().map(Into::into).map(|JoinOn(left, right)| (left, right)).collect();
        self.join_asof_stream_as(other, on, (times.0.into(), times.1.into()), tolerance, kind, None)
    }

    /// As [`DStream::join_asof_stream`], with what a checkpoint calls it.
    #[must_use]
    pub fn join_asof_stream_as(
        &self,
        other: &Self,
        on: Vec<(String, String)>,
        times: (String, String),
        tolerance: Option<Duration>,
        kind: StreamJoinKind,
        name: Option<&str>,
    ) -> Self {
        let inputs = [Arc::clone(self.plan()), Arc::clone(other.plan())];
        let (same_query, name) = (self.is_of_query(other), name.map(str::to_owned));
        let (before, after) = (tolerance.unwrap_or(Duration::MAX), Duration::ZERO);
        let described =
            JoinStreamsDescribed { inputs, same_query, name, on, times, before, after, kind, takes_latest: true };
        self.with(|_| LogicalPlan::JoinStreams(described))
    }

    /// As [`DStream::join_within`], with what a checkpoint calls it.
    #[must_use]
    pub fn join_within_as(
        &self,
        other: &Self,
        on: Vec<(String, String)>,
        times: (String, String),
        (before, after): (Duration, Duration),
        kind: StreamJoinKind,
        name: Option<&str>,
    ) -> Self {
        let inputs = [Arc::clone(self.plan()), Arc::clone(other.plan())];
        let (same_query, name) = (self.is_of_query(other), name.map(str::to_owned));
        let described =
            JoinStreamsDescribed { inputs, same_query, name, on, times, before, after, kind, takes_latest: false };
        self.with(|_| LogicalPlan::JoinStreams(described))
    }
}

/// Windows over batches: the rows of the batches that were cut not longer than `size` before the present one. The answer
/// comes every `slide`; without it, with each batch.
impl DStream {
    /// One row: the number of rows, as `count`.
    #[must_use]
    pub fn count_by_window(&self, size: Duration, slide: Option<Duration>) -> Self {
        self.reduce_by_window(size, slide, [len().alias("count")])
    }

    /// One row: the aggregates of all rows.
    #[must_use]
    pub fn reduce_by_window(
        &self,
        size: Duration,
        slide: Option<Duration>,
        aggregates: impl IntoIterator<Item = Aggregate>,
    ) -> Self {
        self.key_by([]).over_batches(size, slide, aggregates)
    }

    /// One row a group. What batches share is reduced once, so that aggregates need no inverse function.
    #[must_use]
    pub fn reduce_by_key_and_window(
        &self,
        keys: impl IntoIterator<Item = Expr>,
        size: Duration,
        slide: Option<Duration>,
        aggregates: impl IntoIterator<Item = Aggregate>,
    ) -> Self {
        self.key_by(keys).over_batches(size, slide, aggregates)
    }

    /// One row a key: the keys, then one value, which a closure makes of all values, two by two; with an inverse closure, a
    /// window is made of the one before. See [`KeyedDStream::reduce_over_batches`](super::KeyedDStream::reduce_over_batches).
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # use std::time::Duration;
    /// # fn example(words: DStream) -> DStream {
    /// // Spark's reduceByKeyAndWindow(_ + _, _ - _, Seconds(30), Seconds(10), filterFunc = _._2 > 0)
    /// let sums = WindowReduce::by(|a: i64, b: i64| a + b).inverse(|sum, left| sum - left);
    /// let sums = sums.keep_if(|_: &String, sum: &i64| *sum > 0);
    /// let seconds = Duration::from_secs;
    /// words.reduce_by_key_and_window_with([col("word")], [col("n")], seconds(30), Some(seconds(10)), sums)
    /// # }
    /// ```
    #[must_use]
    pub fn reduce_by_key_and_window_with<V: Row + Clone>(
        &self,
        keys: impl IntoIterator<Item = Expr>,
        values: impl IntoIterator<Item = Expr>,
        size: Duration,
        slide: Option<Duration>,
        reduce: WindowReduce<V>,
    ) -> Self {
        self.key_by(keys).reduce_over_batches(values, size, slide, reduce)
    }

    /// One value, which a closure makes of all values, two by two: a row, or none if the window holds no value.
    #[must_use]
    pub fn reduce_by_window_with<V: Row + Clone>(
        &self,
        values: impl IntoIterator<Item = Expr>,
        size: Duration,
        slide: Option<Duration>,
        reduce: WindowReduce<V>,
    ) -> Self {
        self.key_by([]).reduce_over_batches(values, size, slide, reduce)
    }

    /// How often each value of an expression occurs, as `count`.
    #[must_use]
    pub fn count_by_value_and_window(&self, value: Expr, size: Duration, slide: Option<Duration>) -> Self {
        self.key_by([value]).over_batches(size, slide, [len().alias("count")])
    }
}
