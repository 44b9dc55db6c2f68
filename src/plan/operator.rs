//! Operators that keep something from batch to batch, as plain data: what the engine asks of each of them, and those that
//! are no keyed reduce. The keyed reduce is [`Keep`](super::keep::Keep).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::initial::Initial;
use super::keep::{OutputMode, WatermarkId, Windows};
use super::rules::RuleLabel;
use super::stage::{FunctionId, NamedExpr};
use crate::columnar::TimeUnit;

/// What every operator that keeps something from batch to batch says of itself.
pub trait Operator {
    /// The name by which a checkpoint knows it.
    fn name(&self) -> &str;

    /// What a checkpoint remembers of it: another text is another state.
    fn description(&self) -> String;

    /// The watermarks that say how far event time has come for it.
    fn watermarks(&self) -> &[WatermarkId];

    /// Whether parts of what it keeps can be put away where there is no room in memory.
    fn may_spill(&self) -> bool {
        true
    }
}

/// A function of the user's over the rows of a key and what is remembered of the key.
///
/// The rows that reach it have the key columns first, then the values that the function sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapState {
    /// The operator's name.
    pub name: String,
    /// The key columns.
    pub keys: Vec<NamedExpr>,
    /// The function.
    pub function: FunctionId,
    /// The Rust type of what is remembered, without the paths of modules.
    pub state_type: String,
    /// What is remembered of a key without rows for this long is timed out.
    pub ttl: Option<Duration>,
    /// What is remembered in the beginning.
    #[serde(default)]
    pub initial: Option<Initial>,
    /// `Update` gives what the function gives; `Complete` all that is remembered.
    pub mode: OutputMode,
    /// The watermarks that the function may ask.
    pub watermarks: Vec<WatermarkId>,
}

impl Operator for MapState {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> String {
        format!("[{}] a state of type {}", columns(&self.keys), self.state_type)
    }

    fn watermarks(&self) -> &[WatermarkId] {
        &self.watermarks
    }
}

/// One value for each key, which a function of the user's makes of the rows of the latest batches.
///
/// The rows that reach it have the key columns first, then the values that the function sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldWindows {
    /// The operator's name.
    pub name: String,
    /// The key columns.
    pub keys: Vec<NamedExpr>,
    /// The function.
    pub function: FunctionId,
    /// The Rust type of the values, without the paths of modules.
    pub value_type: String,
    /// How far back batches count.
    pub size: Duration,
    /// From one answer to the next; none: one with each batch.
    pub slide: Option<Duration>,
    /// Whether what leaves a window is taken out of its value.
    pub has_inverse: bool,
}

impl Operator for FoldWindows {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> String {
        let slide = self.slide.map(|slide| format!(" every {slide:?}")).unwrap_or_default();
        let inverse = if self.has_inverse { ", with an inverse" } else { "" };
        let (keys, size) = (columns(&self.keys), self.size);
        format!("[{keys}] values of type {} over the batches of {size:?}{slide}{inverse}", self.value_type)
    }

    fn watermarks(&self) -> &[WatermarkId] {
        &[]
    }

    /// Values are those of the user's type, and lie batch by batch.
    fn may_spill(&self) -> bool {
        false
    }
}

/// The first of rows that are equal in some columns, of all batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DropDuplicates {
    /// The operator's name.
    pub name: String,
    /// The columns that are compared: each is a column of the rows.
    pub columns: Vec<NamedExpr>,
    /// When a key is forgotten.
    pub memory: Memory,
    /// The rule that rows break whose key has come before. Without one they are left out, and nobody counts them.
    #[serde(default)]
    pub rule: Option<RuleLabel>,
    /// The watermarks that say when.
    pub watermarks: Vec<WatermarkId>,
}

/// How long a key is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Memory {
    /// For good.
    Always,
    /// As long as it has had rows in the batches of this time.
    Batches(Duration),
    /// Until the watermark has passed the time of its first row by the delay that rows are allowed.
    Watermark {
        /// The column of event time.
        time: NamedExpr,
        /// Its unit.
        unit: TimeUnit,
        /// The delay.
        delay: Duration,
    },
    /// Until the watermark has passed the end of the window that the time of its first row lies in. The same key in another
    /// window is another key.
    Window {
        /// The number of the window of a row.
        pane: NamedExpr,
        /// The windows, none of which overlap.
        windows: Windows,
    },
}

impl Memory {
    /// What it reads of rows.
    fn time(&self) -> Option<&NamedExpr> {
        match self {
            Self::Watermark { time, .. } => Some(time),
            Self::Window { pane, .. } => Some(pane),
            Self::Always | Self::Batches(_) => None,
        }
    }
}

impl DropDuplicates {
    /// The columns it reads, by index.
    pub fn reads(&self) -> BTreeSet<usize> {
        self.columns.iter().chain(self.memory.time()).flat_map(|column| column.expr.columns()).collect()
    }

    /// The same over rows whose columns lie elsewhere.
    #[must_use]
    pub fn map_columns(&self, to: &dyn Fn(usize) -> usize) -> Self {
        let moved = |column: &NamedExpr| NamedExpr { name: column.name.clone(), expr: column.expr.map_columns(to) };
        let mut drop = Self { columns: self.columns.iter().map(moved).collect(), ..self.clone() };
        if let Memory::Watermark { time, .. } | Memory::Window { pane: time, .. } = &mut drop.memory {
            *time = moved(time);
        }
        drop
    }

    /// What rows are compared by: the columns, and the window if there are windows.
    pub fn keys(&self) -> Vec<&NamedExpr> {
        let pane = if let Memory::Window { pane, .. } = &self.memory { Some(pane) } else { None };
        self.columns.iter().chain(pane).collect()
    }
}

impl Operator for DropDuplicates {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> String {
        let memory = match &self.memory {
            Memory::Always | Memory::Batches(_) => "rows seen".to_owned(),
            Memory::Watermark { .. } => "rows seen within the watermark".to_owned(),
            Memory::Window { windows, .. } => format!("rows seen in {windows}"),
        };
        format!("[{}] {memory}", columns(&self.columns))
    }

    fn watermarks(&self) -> &[WatermarkId] {
        &self.watermarks
    }
}

/// Names and types of columns, as descriptions have them.
pub(super) fn columns(columns: &[NamedExpr]) -> String {
    columns.iter().map(|key| format!("{} {}", key.name, key.expr.data_type)).collect::<Vec<_>>().join(", ")
}

/// Rows of two streams whose keys are equal and whose times are close.
///
/// The rows that reach it are those of both streams in one schema: whether it is a row of the right stream (`Boolean`), its
/// time as a whole number, the keys, the columns of the left stream and those of the right one, which are null in rows of
/// the other. What comes out are the keys and the columns of both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinStreams {
    /// The operator's name.
    pub name: String,
    /// The keys.
    pub keys: Vec<NamedExpr>,
    /// Names and types of the columns of both, for descriptions.
    pub columns: String,
    /// How many columns of the left stream there are.
    pub left: usize,
    /// A row of the right stream is at most this much older than one of the left, in units of time.
    pub before: i64,
    /// And at most this much newer.
    pub after: i64,
    /// The unit.
    pub unit: TimeUnit,
    /// Which rows come out.
    pub kind: StreamJoinKind,
    /// Whether each row of the left stream waits until no other can come that it would match, and takes the latest: `before`
    /// is then how old that may be, and `after` is 0.
    #[serde(default)]
    pub takes_latest: bool,
    /// The watermarks of both streams; without them nothing is forgotten.
    pub watermarks: Vec<WatermarkId>,
}

/// Which rows a join of two streams gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StreamJoinKind {
    /// Each pair of matching rows.
    Inner,
    /// Also rows of the left stream without a match, beside nulls.
    Left,
    /// Also rows of the right stream without a match.
    Right,
    /// Also rows of both streams without a match.
    Full,
}

impl StreamJoinKind {
    /// Whether rows of the right stream, or of the left one, come out without a match.
    pub fn gives_unmatched(self, of_right: bool) -> bool {
        match self {
            Self::Inner => false,
            Self::Left => !of_right,
            Self::Right => of_right,
            Self::Full => true,
        }
    }

    /// Its name in plans and pipelines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inner => "inner",
            Self::Left => "left",
            Self::Right => "right",
            Self::Full => "full",
        }
    }
}

impl JoinStreams {
    /// The columns before the keys.
    pub const KEYS_FROM: usize = 2;

    /// How long a row waits for others, after its time.
    pub fn waits(&self, is_right: bool) -> i64 {
        if is_right { self.before } else { self.after }
    }
}

impl Operator for JoinStreams {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> String {
        let how = if self.takes_latest { ", as of" } else { "" };
        format!("[{}] rows of two streams, {}{how}: {}", columns(&self.keys), self.kind.name(), self.columns)
    }

    fn watermarks(&self) -> &[WatermarkId] {
        &self.watermarks
    }
}
