//! The fused unit given to a backend: plain data, so that it can be printed, compared, sent to another machine and run
//! by any backend.
//!
//! A stage takes record batches of one schema, runs its [`Step`]s on each in turn without storing what lies between,
//! and ends in one of the ways of [`End`]. What cannot be plain data (closures, tables) is named by an id and looked up
//! in the [`Registry`] when a backend prepares the stage.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::asof::AsofJoin;
use super::fold_function::FoldFunction;
use super::keep::{Keep, WatermarkId, Windows};
use super::operator::{DropDuplicates, FoldWindows, JoinStreams, MapState, Operator};
use super::rules::{TypedRule, TypedTest};
use super::state_function::StateFunction;
use super::table_origin::{TableVersion, Watched};
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, Result};
use crate::expr::{TypedAggregate, TypedExpr};

/// Which stage of a query; also its place in the order of running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StageId(pub usize);

/// Which source of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceId(pub usize);

/// Which of the functions in a [`Registry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FunctionId(pub usize);

/// Which of the static tables in a [`Registry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableId(pub usize);

/// A fused run of operations without regrouping, and how it ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its id; stages run in rising order.
    pub id: StageId,
    /// Where its rows come from: all inputs one after another, in this order.
    pub inputs: Vec<StageInput>,
    /// The schema of all its inputs.
    pub input_schema: SchemaRef,
    /// What is done to each batch, in order.
    pub steps: Vec<Step>,
    /// What becomes of the rows that leave the last step.
    pub end: End,
    /// The schema of what it gives.
    pub output_schema: SchemaRef,
}

/// Where rows of a stage come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum StageInput {
    /// A source of the query.
    Source(SourceId),
    /// What an earlier stage gave.
    Stage(StageId),
}

/// An expression and the name of the column it makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedExpr {
    /// Name of the column.
    pub name: String,
    /// What it holds.
    pub expr: TypedExpr,
}

/// One operation on one batch, needing nothing but that batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Step {
    /// Keeps the rows for which the predicate is true, in order.
    Filter {
        /// A `Boolean`.
        predicate: TypedExpr,
    },
    /// Replaces the columns by these.
    Project {
        /// The new columns.
        columns: Vec<NamedExpr>,
        /// Their schema.
        schema: SchemaRef,
    },
    /// Counts the rows that break rules, and keeps those whose verdict lets them through, in order.
    Validate {
        /// The rules.
        rules: Vec<TypedRule>,
    },
    /// A row for each item of a list; the other columns are repeated. Null and empty lists give no row.
    Explode {
        /// Index of the list column, replaced by its items.
        column: usize,
        /// The schema afterwards.
        schema: SchemaRef,
    },
    /// A function of the user's, from batch to batch. It may change the number of rows.
    Map {
        /// The function.
        function: FunctionId,
        /// The schema of what it gives.
        schema: SchemaRef,
    },
    /// Looks rows up in a static table.
    Join(Join),
    /// Looks rows up in a static table by time.
    JoinAsof(AsofJoin),
    /// Looks how far event time has come; rows pass as they are.
    Watermark {
        /// Which watermark.
        id: WatermarkId,
        /// The column of event time, by index.
        column: usize,
    },
    /// Keeps the rows that windows do not take: their pane is null, or belongs to closed windows only.
    Late {
        /// The pane of a row: an `Int64`.
        pane: TypedExpr,
        /// The windows.
        windows: Windows,
        /// The watermarks that say which windows are closed.
        watermarks: Vec<WatermarkId>,
    },
}

/// A join with a static table: rows in order; the matches of one row in the order of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// The table.
    pub table: TableId,
    /// Which rows come out.
    pub kind: JoinKind,
    /// Key columns of the stream, by index. Null never matches.
    pub left_keys: Vec<usize>,
    /// Key columns of the table, by index, of the same types.
    pub right_keys: Vec<usize>,
    /// Columns of the table to add, by index; none for semi and anti joins.
    pub right_columns: Vec<usize>,
    /// The schema afterwards: all columns of the stream, then those added.
    pub schema: SchemaRef,
}

/// Which rows a join gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JoinKind {
    /// Each pair of matching rows.
    Inner,
    /// Each pair of matching rows, and rows of the stream without a match beside nulls.
    Left,
    /// Rows of the stream that have a match, once.
    Semi,
    /// Rows of the stream that have no match.
    Anti,
}

/// What becomes of the rows that leave the last step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum End {
    /// They are passed on as they are, partition by partition.
    Emit,
    /// One row a group: the keys, then the aggregates. Groups come in the order of their first row. Without keys there
    /// is exactly one group, even without rows; without aggregates this is `distinct`.
    Reduce {
        /// What rows are grouped by. Null is a key; NaN equals NaN, -0.0 equals 0.0 (and comes out as 0.0).
        keys: Vec<NamedExpr>,
        /// What is made of each group.
        aggregates: Vec<TypedAggregate>,
    },
    /// As `Reduce`, of groups that outlive the batch.
    Keep(Keep),
    /// What a function of the user's makes of the rows of each key and of what it remembers of the key. One partition.
    MapState(MapState),
    /// One row a key, made by a function of the user's of the rows of the latest batches. One partition.
    FoldWindows(FoldWindows),
    /// As `Distinct`, over all batches. One partition.
    DropDuplicates(DropDuplicates),
    /// Rows of two streams beside each other. One partition.
    JoinStreams(JoinStreams),
    /// The first row of each group of rows that are equal in some columns, all columns kept, in order.
    Distinct {
        /// The columns compared, by index.
        columns: Vec<usize>,
    },
    /// One row a group: the key columns, then what the user's associative function made of the group's rows.
    ReduceWith {
        /// What rows are grouped by.
        keys: Vec<NamedExpr>,
        /// The function.
        function: FunctionId,
    },
    /// All rows in order; equal rows stay in the order they came. One partition.
    Sort {
        /// What they are ordered by, most significant first.
        by: Vec<SortKey>,
        /// How many rows to keep.
        limit: Option<usize>,
    },
    /// The first rows, in order. One partition.
    Limit(usize),
    /// The same rows in this many partitions of nearly equal size, in order.
    Repartition(usize),
    /// A function of the user's that sees the whole micro-batch at once. One partition.
    Transform {
        /// The function.
        function: FunctionId,
    },
}

/// One column of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SortKey {
    /// What is compared. NaN is greater than every number; -0.0 equals 0.0.
    pub expr: TypedExpr,
    /// Largest first.
    pub descending: bool,
    /// Nulls before all values; else after them.
    pub nulls_first: bool,
}

/// A function of the user's from batch to batch.
pub trait BatchFunction: Send + Sync {
    /// The batch it makes of this one; of the schema that was declared with it.
    ///
    /// # Errors
    /// Whatever the user's code says.
    fn call(&self, batch: &RecordBatch) -> Result<RecordBatch>;
}

impl<F: Fn(&RecordBatch) -> Result<RecordBatch> + Send + Sync> BatchFunction for F {
    fn call(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        self(batch)
    }
}

/// A user's associative function of the rows of a group, as the engine sees it.
///
/// # Contract
/// 1. Associative: `call` on the rows of a group cut anywhere, then on the results, gives the same. *Cannot be checked:
///    the answer then depends on how a batch is cut.*
/// 2. It sees rows of one group, in order, at least one, and gives exactly one row of the same schema. *Asserted.*
pub trait GroupFunction: Send + Sync {
    /// One row made of several.
    ///
    /// # Errors
    /// Whatever the user's code says.
    fn call(&self, rows: &RecordBatch) -> Result<RecordBatch>;
}

impl<F: Fn(&RecordBatch) -> Result<RecordBatch> + Send + Sync> GroupFunction for F {
    fn call(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        self(rows)
    }
}

/// What stages name by id because it cannot be plain data.
#[derive(Clone, Default)]
pub struct Registry {
    functions: Vec<(String, Arc<dyn BatchFunction>)>,
    group_functions: Vec<(String, Arc<dyn GroupFunction>)>,
    state_functions: Vec<(String, Arc<dyn StateFunction>)>,
    fold_functions: Vec<(String, Arc<dyn FoldFunction>)>,
    tables: Vec<(String, RecordBatch)>,
    /// Those that are read again when they change.
    watched: BTreeMap<usize, Watched>,
}

impl Registry {
    /// Adds a function; the name is shown by `explain` and in errors.
    pub fn add_function(&mut self, name: impl Into<String>, function: Arc<dyn BatchFunction>) -> FunctionId {
        self.functions.push((name.into(), function));
        FunctionId(self.functions.len() - 1)
    }

    /// Adds a function of groups.
    pub fn add_group_function(&mut self, name: impl Into<String>, function: Arc<dyn GroupFunction>) -> FunctionId {
        self.group_functions.push((name.into(), function));
        FunctionId(self.group_functions.len() - 1)
    }

    /// Adds a function of keys and what is remembered of them.
    pub fn add_state_function(&mut self, name: impl Into<String>, function: Arc<dyn StateFunction>) -> FunctionId {
        self.state_functions.push((name.into(), function));
        FunctionId(self.state_functions.len() - 1)
    }

    /// Adds a function that makes one value of two.
    pub fn add_fold_function(&mut self, name: impl Into<String>, function: Arc<dyn FoldFunction>) -> FunctionId {
        self.fold_functions.push((name.into(), function));
        FunctionId(self.fold_functions.len() - 1)
    }

    /// Adds a static table.
    pub fn add_table(&mut self, name: impl Into<String>, table: RecordBatch) -> TableId {
        self.tables.push((name.into(), table));
        TableId(self.tables.len() - 1)
    }

    /// Says that a table is read again when it changes.
    pub fn watch_table(&mut self, id: TableId, watched: Watched) {
        self.watched.insert(id.0, watched);
    }

    /// The tables that are read again when they change.
    pub fn watched_tables(&self) -> impl Iterator<Item = (TableId, &str, &Watched)> {
        let named = self.watched.iter().filter_map(|(&id, watched)| Some((id, &self.tables.get(id)?.0, watched)));
        named.map(|(id, name, watched)| (TableId(id), name.as_str(), watched))
    }

    /// Puts a new version in the place of a table.
    pub fn replace_table(&mut self, id: TableId, rows: RecordBatch, version: TableVersion) {
        if let (Some(table), Some(watched)) = (self.tables.get_mut(id.0), self.watched.get_mut(&id.0)) {
            (table.1, watched.version) = (rows, version);
        }
    }

    /// The function of this id, with its name.
    ///
    /// # Errors
    /// `Internal` if the stage was planned for another registry.
    pub fn function(&self, id: FunctionId) -> Result<(&str, &Arc<dyn BatchFunction>)> {
        self.functions.get(id.0).map(|(name, function)| (name.as_str(), function)).ok_or_else(unknown)
    }

    /// The function of groups of this id, with its name.
    ///
    /// # Errors
    /// `Internal` if the stage was planned for another registry.
    pub fn group_function(&self, id: FunctionId) -> Result<(&str, &Arc<dyn GroupFunction>)> {
        self.group_functions.get(id.0).map(|(name, function)| (name.as_str(), function)).ok_or_else(unknown)
    }

    /// The function of keys of this id, with its name.
    ///
    /// # Errors
    /// `Internal` if the stage was planned for another registry.
    pub fn state_function(&self, id: FunctionId) -> Result<(&str, &Arc<dyn StateFunction>)> {
        self.state_functions.get(id.0).map(|(name, function)| (name.as_str(), function)).ok_or_else(unknown)
    }

    /// The function of this id that makes one value of two, with its name.
    ///
    /// # Errors
    /// `Internal` if the stage was planned for another registry.
    pub fn fold_function(&self, id: FunctionId) -> Result<(&str, &Arc<dyn FoldFunction>)> {
        self.fold_functions.get(id.0).map(|(name, function)| (name.as_str(), function)).ok_or_else(unknown)
    }

    /// The table of this id, with its name.
    ///
    /// # Errors
    /// `Internal` if the stage was planned for another registry.
    pub fn table(&self, id: TableId) -> Result<(&str, &RecordBatch)> {
        self.tables.get(id.0).map(|(name, table)| (name.as_str(), table)).ok_or_else(unknown)
    }
}

fn unknown() -> Error {
    Error::internal("a stage names something that is not in its registry")
}

impl Stage {
    /// The watermarks that the stage asks how far event time has come.
    pub fn asks(&self) -> BTreeSet<WatermarkId> {
        let of_steps = self.steps.iter().filter_map(|step| match step {
            Step::Late { watermarks, .. } => Some(watermarks),
            _ => None,
        });
        let of_end = self.operator().map(Operator::watermarks);
        of_steps.map(Vec::as_slice).chain(of_end).flatten().copied().collect()
    }

    /// The watermarks that it moves on.
    pub fn watermarks(&self) -> impl Iterator<Item = WatermarkId> + '_ {
        self.steps.iter().filter_map(|step| if let Step::Watermark { id, .. } = step { Some(*id) } else { None })
    }

    /// Whether it looks rows up in a table.
    pub fn reads_table(&self, table: TableId) -> bool {
        self.steps.iter().any(|step| match step {
            Step::Join(join) => join.table == table,
            Step::JoinAsof(join) => join.table == table,
            Step::Validate { rules } => {
                rules.iter().any(|rule| matches!(&rule.test, TypedTest::Found(join) if join.table == table))
            }
            _ => false,
        })
    }

    /// Whether its answer depends on where its rows are cut: whether it makes ordered sums.
    pub fn is_ordered(&self) -> bool {
        let aggregates = match &self.end {
            End::Reduce { aggregates, .. } => aggregates,
            End::Keep(keep) => &keep.aggregates,
            _ => return false,
        };
        aggregates.iter().any(|aggregate| aggregate.function.is_ordered())
    }

    /// What it is, if it keeps something from batch to batch.
    pub fn operator(&self) -> Option<&dyn Operator> {
        match &self.end {
            End::Keep(keep) => Some(keep),
            End::MapState(map) => Some(map),
            End::FoldWindows(fold) => Some(fold),
            End::DropDuplicates(drop) => Some(drop),
            End::JoinStreams(join) => Some(join),
            _ => None,
        }
    }

    /// The keyed reduce whose groups outlive the batch.
    pub fn keep(&self) -> Option<&Keep> {
        if let End::Keep(keep) = &self.end { Some(keep) } else { None }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("functions", &self.functions.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("group_functions", &self.group_functions.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("state_functions", &self.state_functions.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("tables", &self.tables.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish()
    }
}
