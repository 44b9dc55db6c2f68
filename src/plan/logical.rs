//! What the user said, operation by operation, before any of it is checked.
//!
//! A plan is a tree whose branches may share inputs: a `DStream` used twice is one `Arc` used twice.

use std::sync::Arc;
use std::time::Duration;

use super::asof::AsofStrategy;
use super::initial::InitialState;
use super::keep::OutputMode;
use super::operator::StreamJoinKind;
use super::rules::Rule;
use super::stage::{FunctionId, JoinKind, SourceId, TableId};
use crate::columnar::{DataType, Field, SchemaRef};
use crate::expr::{Aggregate, Expr};

/// One operation on a stream, above its inputs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LogicalPlan {
    /// The rows of a source.
    Source {
        /// Which.
        source: SourceId,
        /// Its name.
        name: String,
        /// Its schema.
        schema: SchemaRef,
    },
    /// These columns and no others.
    Select {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// The columns.
        columns: Vec<Expr>,
    },
    /// All columns, and these; one of the same name is replaced.
    WithColumns {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// The columns.
        columns: Vec<Expr>,
    },
    /// The rows for which the predicate is true.
    Filter {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// The condition.
        predicate: Expr,
    },
    /// The rows that keep rules, and those that break them as far as the rules' verdicts let them through.
    Validate {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// The rules.
        rules: Vec<Rule>,
    },
    /// A row for each item of a list column.
    Explode {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// The list column.
        column: String,
    },
    /// A function of the user's, batch by batch.
    Map {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// The function.
        function: FunctionId,
        /// Its name.
        name: String,
        /// What it takes.
        takes: MapInput,
        /// The schema of what it gives.
        schema: SchemaRef,
    },
    /// A function of the user's that sees a whole micro-batch.
    Transform {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// The function.
        function: FunctionId,
        /// Its name.
        name: String,
        /// The schema of what it gives.
        schema: SchemaRef,
    },
    /// A join with a static table.
    Join {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// The table.
        table: TableId,
        /// Its name.
        name: String,
        /// Its schema.
        schema: SchemaRef,
        /// Pairs of columns that must be equal: of the stream, of the table.
        on: Vec<(String, String)>,
        /// Which rows come out.
        kind: JoinKind,
    },
    /// A join with a static table by time.
    JoinAsof(JoinAsofDescribed),
    /// One row a group.
    Reduce {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// What they are grouped by.
        keys: Vec<Expr>,
        /// What is made of each group.
        aggregates: Vec<Aggregate>,
    },
    /// The same rows, whose event time says how far the stream has come.
    Watermark {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// The column of event time.
        column: String,
        /// Rows may come this much later than the newest one.
        delay: Duration,
        /// A stream without rows for this long is not waited for.
        idle_after: Option<Duration>,
    },
    /// The rows that windows do not take: those that come after their window was closed, and those without a time.
    Late {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// The windows.
        window: Expr,
    },
    /// One row a group, made of the rows of several batches.
    Keep {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// What a checkpoint calls it.
        name: Option<String>,
        /// What they are grouped by; one of them is a window if `over` says so.
        keys: Vec<Expr>,
        /// What is made of each group.
        aggregates: Vec<Aggregate>,
        /// Which rows a group is made of.
        over: Over,
        /// A group without rows for this long is forgotten.
        ttl: Option<Duration>,
        /// What groups begin with.
        initial: Option<InitialState>,
        /// Which rows come out.
        mode: Option<OutputMode>,
    },
    /// What a function of the user's makes of the rows of each key and of what it remembers of the key.
    MapState(MapStateDescribed),
    /// One row a key, made by a function of the user's of the rows of the latest batches.
    FoldWindows(FoldWindowsDescribed),
    /// The first of rows that are equal in these columns, of all batches; in all columns if there are none.
    DropDuplicates {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// What a checkpoint calls it.
        name: Option<String>,
        /// The columns.
        columns: Vec<String>,
        /// How long a key is remembered.
        memory: Remember,
    },
    /// Rows of two streams beside each other whose keys are equal and whose times are close.
    JoinStreams(JoinStreamsDescribed),
    /// One row a group, made by a function of the user's.
    ReduceWith {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// What they are grouped by.
        keys: Vec<Expr>,
        /// The values the function sees.
        values: Vec<Expr>,
        /// The function.
        function: FunctionId,
        /// Its name.
        name: String,
    },
    /// The first of rows that are equal in these columns; in all if there are none.
    Distinct {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// The columns.
        columns: Vec<String>,
    },
    /// The rows of several streams of one schema.
    Union {
        /// The streams.
        inputs: Vec<Arc<LogicalPlan>>,
        /// Whether all belong to one query; analysis refuses others.
        same_query: bool,
    },
    /// All rows in order.
    Sort {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// The order.
        by: Vec<SortBy>,
        /// How many rows to keep.
        limit: Option<usize>,
    },
    /// The first rows.
    Limit {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// How many.
        rows: usize,
    },
    /// The same rows in another number of partitions.
    Repartition {
        /// The rows.
        input: Arc<LogicalPlan>,
        /// How many.
        partitions: usize,
    },
    /// The same rows, computed once however many operations use them.
    Cache {
        /// The rows.
        input: Arc<LogicalPlan>,
    },
}

/// Which rows the groups of an operator that keeps state are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// All rows since the query began.
    Always,
    /// The rows of a window of event time, which stands among the keys.
    Event,
    /// The rows of the latest batches.
    Batches {
        /// How far back batches count.
        size: Duration,
        /// From one answer to the next; none: one with each batch.
        slide: Option<Duration>,
    },
    /// Every so many rows of a key, the latest of them.
    Rows {
        /// The rows of a window.
        size: u64,
        /// From one window to the next.
        slide: u64,
    },
}

/// How long keys are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remember {
    /// For good.
    Always,
    /// As long as they have had rows in the batches of this time.
    Batches(Duration),
    /// Until no row is expected any more that could be equal, by the watermark of the stream.
    WithinWatermark,
    /// As long as rows of its window of event time may come: a key may come once in each window of this length, which begins
    /// at a multiple of it since 1970.
    Window(Duration),
}

/// Rows of two streams beside each other whose keys are equal and whose times are close.
#[derive(Debug, Clone)]
pub struct JoinStreamsDescribed {
    /// The streams: left and right.
    pub inputs: [Arc<LogicalPlan>; 2],
    /// Whether both belong to one query; analysis refuses others.
    pub same_query: bool,
    /// What a checkpoint calls it.
    pub name: Option<String>,
    /// Pairs of columns that must be equal: of the left stream, of the right one.
    pub on: Vec<(String, String)>,
    /// The columns of their times.
    pub times: (String, String),
    /// A row of the right stream is at most this much older than one of the left.
    pub before: Duration,
    /// And at most this much newer.
    pub after: Duration,
    /// Which rows come out.
    pub kind: StreamJoinKind,
    /// Whether each row of the left stream takes the latest of the right one alone.
    pub takes_latest: bool,
}

/// A join with a static table by time.
#[derive(Debug, Clone)]
pub struct JoinAsofDescribed {
    /// The rows.
    pub input: Arc<LogicalPlan>,
    /// The table.
    pub table: TableId,
    /// Its name.
    pub name: String,
    /// Its schema.
    pub schema: SchemaRef,
    /// Pairs of columns that must be equal: of the stream, of the table.
    pub on: Vec<(String, String)>,
    /// The columns of their times.
    pub times: (String, String),
    /// Which row of the table is taken.
    pub strategy: AsofStrategy,
    /// How far apart the times may be.
    pub tolerance: Option<Duration>,
}

/// A function of the user's over the rows of each key and what it remembers of the key.
#[derive(Debug, Clone)]
pub struct MapStateDescribed {
    /// The rows.
    pub input: Arc<LogicalPlan>,
    /// What a checkpoint calls it.
    pub name: Option<String>,
    /// What rows are grouped by.
    pub keys: Vec<Expr>,
    /// The types in which the function takes the keys.
    pub key_types: Vec<DataType>,
    /// The values the function sees.
    pub values: Vec<Expr>,
    /// The types in which it takes them.
    pub value_types: Vec<DataType>,
    /// The function.
    pub function: FunctionId,
    /// What users call the operation.
    pub operation: &'static str,
    /// The Rust type of what it remembers.
    pub state_type: String,
    /// What is remembered of a key without rows for this long is timed out.
    pub ttl: Option<Duration>,
    /// What is remembered in the beginning.
    pub initial: Option<InitialState>,
    /// The columns that come out behind the keys.
    pub gives: Vec<Field>,
    /// Which rows come out.
    pub mode: Option<OutputMode>,
    /// Whether all that is remembered can come out.
    pub shows_all: bool,
}

/// A function of the user's that makes one value of two, over the latest batches.
#[derive(Debug, Clone)]
pub struct FoldWindowsDescribed {
    /// The rows.
    pub input: Arc<LogicalPlan>,
    /// What a checkpoint calls it.
    pub name: Option<String>,
    /// What rows are grouped by.
    pub keys: Vec<Expr>,
    /// The values that become one.
    pub values: Vec<Expr>,
    /// The columns that they become, in the types in which the function takes them.
    pub gives: Vec<Field>,
    /// The function.
    pub function: FunctionId,
    /// The Rust type of the values.
    pub value_type: String,
    /// How far back batches count.
    pub size: Duration,
    /// From one answer to the next; none: one with each batch.
    pub slide: Option<Duration>,
    /// Whether what leaves a window is taken out of its value.
    pub has_inverse: bool,
    /// The types of keys that a function sees which says of them whether they stay.
    pub asks: Option<Vec<DataType>>,
    /// What was said of it that means nothing here, if anything.
    pub refused: Option<&'static str>,
}

/// What a function of the user's takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapInput {
    /// Any batch.
    Batch,
    /// A batch with exactly one column, of text.
    Lines,
}

/// One column of an order.
///
/// ```
/// use pelton::expr::col;
/// use pelton::plan::logical::SortBy;
///
/// let newest_first = SortBy::from(col("time")).descending().nulls_first();
/// assert!(newest_first.descending);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SortBy {
    /// What is compared.
    pub expr: Expr,
    /// Largest first.
    pub descending: bool,
    /// Nulls before all values.
    pub nulls_first: bool,
}

impl SortBy {
    /// Largest first.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// Nulls before all values.
    #[must_use]
    pub fn nulls_first(mut self) -> Self {
        self.nulls_first = true;
        self
    }
}

/// Smallest first, nulls last.
impl From<Expr> for SortBy {
    fn from(expr: Expr) -> Self {
        Self { expr, descending: false, nulls_first: false }
    }
}

/// The column of this name, smallest first, nulls last.
impl From<&str> for SortBy {
    fn from(column: &str) -> Self {
        Self::from(crate::expr::col(column))
    }
}

/// A pair of columns that must be equal: of the stream, of the table. A single name stands for both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinOn(pub(crate) String, pub(crate) String);

impl From<&str> for JoinOn {
    fn from(name: &str) -> Self {
        Self(name.to_owned(), name.to_owned())
    }
}

impl From<String> for JoinOn {
    fn from(name: String) -> Self {
        Self(name.clone(), name)
    }
}

impl<L: Into<String>, R: Into<String>> From<(L, R)> for JoinOn {
    fn from((left, right): (L, R)) -> Self {
        Self(left.into(), right.into())
    }
}

impl LogicalPlan {
    /// The operation's name, as users write it.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::Source { .. } => "source",
            Self::Select { .. } => "select",
            Self::WithColumns { .. } => "with_columns",
            Self::Filter { .. } => "filter",
            Self::Validate { .. } => "validate",
            Self::Explode { .. } => "flat_map",
            Self::Map { takes: MapInput::Lines, .. } => "map_lines",
            Self::Map { .. } => "map_batches",
            Self::Transform { .. } => "transform",
            Self::Join { .. } => "join_static",
            Self::Reduce { keys, .. } if keys.is_empty() => "aggregate",
            Self::Reduce { .. } => "key_by.aggregate",
            Self::Watermark { .. } => "with_watermark",
            Self::Late { .. } => "late_rows",
            Self::Keep { over: Over::Always, .. } => "running",
            Self::Keep { over: Over::Event, .. } => "key_by(window).aggregate",
            Self::Keep { over: Over::Batches { .. }, .. } => "reduce_by_key_and_window",
            Self::Keep { over: Over::Rows { .. }, .. } => "count_window",
            Self::MapState(described) => described.operation,
            Self::FoldWindows(described) if described.keys.is_empty() => "reduce_by_window_with",
            Self::FoldWindows(_) => "reduce_by_key_and_window_with",
            Self::JoinStreams(described) if described.takes_latest => "join_asof_stream",
            Self::JoinStreams(_) => "join_within",
            Self::JoinAsof(_) => "join_asof",
            Self::DropDuplicates { .. } => "drop_duplicates",
            Self::ReduceWith { .. } => "key_by.reduce",
            Self::Distinct { .. } => "distinct",
            Self::Union { .. } => "union",
            Self::Sort { limit: None, .. } => "sort",
            Self::Sort { .. } => "top_n",
            Self::Limit { .. } => "limit",
            Self::Repartition { .. } => "repartition",
            Self::Cache { .. } => "cache",
        }
    }

    /// The plans below, in order.
    pub fn inputs(&self) -> Vec<&Arc<Self>> {
        match self {
            Self::Source { .. } => Vec::new(),
            Self::Union { inputs, .. } => inputs.iter().collect(),
            Self::JoinStreams(described) => described.inputs.iter().collect(),
            Self::Select { input, .. }
            | Self::WithColumns { input, .. }
            | Self::Filter { input, .. }
            | Self::Validate { input, .. }
            | Self::Explode { input, .. }
            | Self::Map { input, .. }
            | Self::Transform { input, .. }
            | Self::Join { input, .. }
            | Self::Reduce { input, .. }
            | Self::Watermark { input, .. }
            | Self::Late { input, .. }
            | Self::Keep { input, .. }
            | Self::JoinAsof(JoinAsofDescribed { input, .. })
            | Self::MapState(MapStateDescribed { input, .. })
            | Self::FoldWindows(FoldWindowsDescribed { input, .. })
            | Self::DropDuplicates { input, .. }
            | Self::ReduceWith { input, .. }
            | Self::Distinct { input, .. }
            | Self::Sort { input, .. }
            | Self::Limit { input, .. }
            | Self::Repartition { input, .. }
            | Self::Cache { input } => vec![input],
        }
    }
}
