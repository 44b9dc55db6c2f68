//! What a stage keeps from batch to batch, as plain data: groups for good, windows over event time, windows over batches.
//!
//! ```text
//! time ──────────▶ panes of equal length; a row belongs to exactly one          ┆ 0 ┆ 1 ┆ 2 ┆ 3 ┆ 4 ┆
//! windows         are whole panes, so that what overlapping windows share       [  window 0 ]
//!                 is reduced once: here size = 3 panes, slide = 1 pane              [  window 1 ]
//! horizon         a window is closed once its end does not lie behind it
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::initial::Initial;
use super::operator::{self, Operator};
use super::stage::NamedExpr;
use crate::columnar::{DataType, TimeUnit};
use crate::expr::TypedAggregate;

/// A keyed reduce whose groups outlive their batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Keep {
    /// The operator's name, by which a checkpoint knows it.
    pub name: String,
    /// What rows are grouped by; of windows, the last key is the number of the pane (`Int64`).
    pub keys: Vec<NamedExpr>,
    /// What is made of each group.
    pub aggregates: Vec<TypedAggregate>,
    /// Which rows a group is made of.
    pub span: Span,
    /// A group without rows for this long, by the time of batches, is forgotten. Then the last key is an `Int64`, too: it
    /// tells a group from an earlier one of the same key.
    pub ttl: Option<Duration>,
    /// What groups begin with.
    #[serde(default)]
    pub initial: Option<Initial>,
    /// Which rows come out.
    pub mode: OutputMode,
    /// Which of these are taken, if not all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// The watermarks that say how far event time has come.
    pub watermarks: Vec<WatermarkId>,
}

/// The rows of a stage that are taken: the first by an order, of which this is what is compared first. To give others, too,
/// does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Best {
    /// How many are taken.
    pub rows: usize,
    /// The column that is compared first, by index.
    pub column: usize,
    /// Largest first.
    pub descending: bool,
    /// Nulls before all values; else after them.
    pub nulls_first: bool,
}

impl Keep {
    /// The keys without the pane, or whatever else tells groups of one key apart.
    pub fn plain_keys(&self) -> &[NamedExpr] {
        let has_number = self.ttl.is_some() || !matches!(self.span, Span::Always);
        &self.keys[..self.keys.len().saturating_sub(usize::from(has_number))]
    }
}

impl Operator for Keep {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> String {
        let aggregates =
            self.aggregates.iter().map(|one| format!("{} {}({:?})", one.name, one.function.name(), one.data_type));
        let aggregates = aggregates.collect::<Vec<_>>();
        format!("[{}] {} {}", operator::columns(&self.keys), aggregates.join(", "), self.span)
    }

    fn watermarks(&self) -> &[WatermarkId] {
        &self.watermarks
    }
}

/// Which rows a group is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Span {
    /// All rows since the query began.
    Always,
    /// The rows whose event time lies in a window.
    Event(Windows),
    /// The rows of a session. As windows these are what a row alone would make: as long as the gap, and one a unit of time,
    /// so that the pane of a row is its time.
    Sessions(Windows),
    /// The rows of the latest batches: of those whose time is not older than `size`, before the present one's. The answer
    /// comes with the first batch at or after each multiple of `slide` since 1970; with each batch without it.
    Batches {
        /// How far back batches count.
        size: Duration,
        /// From one answer to the next.
        slide: Option<Duration>,
    },
    /// Every so many rows of a key, the latest of them.
    Rows(RowWindows),
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("over all batches"),
            Self::Event(windows) => write!(f, "over {windows}"),
            Self::Sessions(windows) => {
                let gap = windows.size.saturating_mul(nanos_of(windows.unit));
                write!(f, "over sessions with gaps of {}", crate::expr::span::format(gap))
            }
            Self::Rows(windows) => write!(f, "over {windows}"),
            Self::Batches { size, slide: None } => write!(f, "over the batches of {size:?}"),
            Self::Batches { size, slide: Some(slide) } => write!(f, "over the batches of {size:?} every {slide:?}"),
        }
    }
}

/// Windows over event time: each begins at a multiple of `slide` since 1970 and is `size` long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// The unit of all numbers here, and of the time.
    pub unit: TimeUnit,
    /// The zone of the time.
    pub zone: Option<Arc<str>>,
    /// The length of a window.
    pub size: i64,
    /// From the start of one window to that of the next; at most `size`.
    pub slide: i64,
    /// The length of a pane: divides both.
    pub pane: i64,
}

impl Windows {
    /// Windows of this size, one every `slide`.
    pub fn new(unit: TimeUnit, zone: Option<Arc<str>>, size: i64, slide: i64) -> Self {
        let (mut pane, mut rest) = (size, slide);
        while rest != 0 {
            (pane, rest) = (rest, pane % rest);
        }
        Self { unit, zone, size, slide, pane }
    }

    /// The type of the times at which windows begin and end.
    pub fn time_type(&self) -> DataType {
        DataType::Timestamp(self.unit, self.zone.clone())
    }

    /// The first pane that belongs to an open window; those before it are final.
    pub fn first_open_pane(&self, horizon: i64) -> i64 {
        let start = (i128::from(self.last_closed(horizon)) + 1) * i128::from(self.slide / self.pane);
        i64::try_from(start).unwrap_or(i64::MAX)
    }

    /// The number of the last window that is closed. Window `n` begins at `n * slide`.
    pub fn last_closed(&self, horizon: i64) -> i64 {
        let horizon = i128::from(horizon) * 1_000;
        let nanos = i128::from(nanos_of(self.unit));
        let closed = (horizon.div_euclid(nanos) - i128::from(self.size)).div_euclid(i128::from(self.slide));
        i64::try_from(closed).unwrap_or(if closed < 0 { i64::MIN / 2 } else { i64::MAX / 2 })
    }

    /// The windows that a pane belongs to: first and last.
    pub fn windows_of(&self, pane: i64) -> (i64, i64) {
        let start = i128::from(pane) * i128::from(self.pane);
        let slide = i128::from(self.slide);
        let last = start.div_euclid(slide);
        let first = -(i128::from(self.size - self.pane) - start).div_euclid(slide);
        let narrow = |window: i128| i64::try_from(window).unwrap_or(0);
        (narrow(first), narrow(last))
    }

    /// The panes of a window: first and last.
    pub fn panes_of(&self, window: i64) -> (i64, i64) {
        let first = window.saturating_mul(self.slide / self.pane);
        (first, first.saturating_add(self.size / self.pane - 1))
    }

    /// A time in microseconds since the Unix epoch, rounded up.
    pub fn micros(&self, time: i64) -> i64 {
        let micros = -(-(i128::from(time) * i128::from(nanos_of(self.unit)))).div_euclid(1_000);
        i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX })
    }

    /// When a window begins.
    pub fn start(&self, window: i64) -> i64 {
        window.saturating_mul(self.slide)
    }

    /// When a window ends: the first moment that does not belong to it.
    pub fn end(&self, window: i64) -> i64 {
        self.start(window).saturating_add(self.size)
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |count: i64| crate::expr::span::format(count.saturating_mul(nanos_of(self.unit)));
        write!(f, "windows of {}", length(self.size))?;
        if self.slide == self.size { Ok(()) } else { write!(f, " every {}", length(self.slide)) }
    }
}

/// Windows by the number of rows: one at each multiple of `slide`, of the latest `size` rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowWindows {
    /// The rows of a window; of the first windows, fewer.
    pub size: u64,
    /// From one window to the next; at most `size`.
    pub slide: u64,
    /// The length of a pane: divides both.
    pub pane: u64,
}

impl RowWindows {
    /// Windows of this size, one every `slide` rows; neither is 0.
    pub fn new(size: u64, slide: u64) -> Self {
        let (mut pane, mut rest) = (size, slide);
        while rest != 0 {
            (pane, rest) = (rest, pane % rest);
        }
        Self { size, slide, pane }
    }

    /// The panes of the window whose last row is the one of this number, counted from 1: first and last.
    pub fn panes_of(&self, last_row: u64) -> (u64, u64) {
        (last_row.saturating_sub(self.size) / self.pane, (last_row - 1) / self.pane)
    }

    /// The panes, of a key that has had so many rows, that the windows to come need.
    pub fn needed(&self, rows: u64) -> std::ops::Range<u64> {
        let next = (rows / self.slide + 1) * self.slide;
        next.saturating_sub(self.size) / self.pane..rows.div_ceil(self.pane)
    }
}

impl fmt::Display for RowWindows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the latest {} rows of each key, every {}", self.size, self.slide)
    }
}

/// Nanoseconds of a unit.
pub fn nanos_of(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// Which rows an operator that keeps state gives with each batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OutputMode {
    /// Windows once they are final, each once.
    Append,
    /// Groups that the batch changed, as they are now.
    Update,
    /// All groups, as they are now. Nothing is ever forgotten.
    Complete,
}

impl fmt::Display for OutputMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Append => "append",
            Self::Update => "update",
            Self::Complete => "complete",
        })
    }
}

/// Which of a query's watermarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WatermarkId(pub usize);

/// How a stream says how far its event time has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// Which.
    pub id: WatermarkId,
    /// The column, for people.
    pub column: String,
    /// Rows may come this much later than the newest one.
    pub delay: Duration,
    /// A stream without rows for this long is not waited for.
    pub idle_after: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(size: i64, slide: i64) -> Windows {
        Windows::new(TimeUnit::Second, None, size, slide)
    }

    #[test]
    fn panes_and_windows_know_each_other() {
        for (size, slide) in [(10, 10), (10, 5), (10, 4), (9, 6), (7, 1), (60, 1)] {
            let windows = windows(size, slide);
            for pane in -100..100 {
                let start = pane * windows.pane;
                let all = (-300..300).filter(|&window| windows.start(window) <= start && start < windows.end(window));
                let all: Vec<i64> = all.collect();
                assert_eq!(windows.windows_of(pane), (all[0], all[all.len() - 1]), "{size} {slide} {pane}");
                for window in all {
                    let (first, last) = windows.panes_of(window);
                    assert!(first <= pane && pane <= last, "{size} {slide} {pane} {window}");
                    assert_eq!((last + 1 - first) * windows.pane, size);
                }
            }
        }
    }

    #[test]
    fn windows_of_rows_need_the_panes_that_later_windows_have() {
        for (size, slide) in [(1, 1), (4, 4), (6, 4), (9, 1), (10, 5), (7, 3)] {
            let windows = RowWindows::new(size, slide);
            for rows in 0..60 {
                let row_needed =
                    |row: u64| (rows + 1..200).any(|end| end % slide == 0 && row + size > end - 1 && row < end);
                let mut needed: Vec<u64> =
                    (0..rows).filter(|&row| row_needed(row)).map(|row| row / windows.pane).collect();
                needed.dedup();
                assert_eq!(windows.needed(rows).collect::<Vec<_>>(), needed, "{size} {slide} {rows}");
            }
        }
    }

    #[test]
    fn a_window_is_closed_exactly_when_its_end_is_not_behind_the_horizon() {
        for (size, slide) in [(10, 10), (10, 4), (7, 1)] {
            let windows = windows(size, slide);
            for horizon in -50..50 {
                let last = windows.last_closed(horizon * 1_000_000);
                assert!(windows.end(last) <= horizon && windows.end(last + 1) > horizon, "{size} {slide} {horizon}");
                let open = windows.first_open_pane(horizon * 1_000_000);
                assert!(windows.windows_of(open).1 > last && windows.windows_of(open - 1).1 <= last);
            }
            windows.first_open_pane(i64::MAX);
            windows.first_open_pane(i64::MIN);
        }
    }
}
