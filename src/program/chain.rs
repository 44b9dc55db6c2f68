//! Operations one after another, described before there are rows; with the names they have on a stream.

use std::fmt;
use std::sync::Arc;

use crate::columnar::{RecordBatch, Schema, SchemaRef};
use crate::error::Result;
use crate::expr::{Aggregate, Expr, col, len};
use crate::plan::LogicalPlan;
use crate::plan::explain;
use crate::plan::logical::{JoinOn, MapInput, SortBy};
use crate::plan::stage::{JoinKind, Registry, SourceId};

/// Puts one operation above the plan of its input.
type Operation = Arc<dyn Fn(Arc<LogicalPlan>) -> LogicalPlan + Send + Sync>;

/// What is to be done to rows, operation by operation. Nothing is checked before [`Program::compile`], since a chain
/// does not know its rows: the same one can be compiled for several schemas.
///
/// ```
/// use pelton::prelude::*;
///
/// let adults = Chain::new().filter(col("age").gt_eq(18));
/// let by_city = adults.clone().key_by([col("city")]).aggregate([len().alias("adults")]).sort(["city"]);
/// assert!(format!("{by_city:?}").contains("filter age >= 18"));
/// ```
///
/// [`Program::compile`]: super::Program::compile
#[derive(Clone, Default)]
pub struct Chain {
    operations: Vec<Operation>,
    registry: Registry,
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&explain::logical(&self.plan(&Arc::new(Schema::empty()))))
    }
}

/// Row by row.
impl Chain {
    /// The rows as they are.
    pub fn new() -> Self {
        Self::default()
    }

    /// These columns and no others. `map` of expressions.
    #[must_use]
    pub fn select(self, columns: impl IntoIterator<Item = Expr>) -> Self {
        let columns = columns.into_iter().collect::<Vec<_>>();
        self.with(move |input| LogicalPlan::Select { input, columns: columns.clone() })
    }

    /// The same as [`Chain::select`], by the name Spark gives it.
    #[must_use]
    pub fn map(self, columns: impl IntoIterator<Item = Expr>) -> Self {
        self.select(columns)
    }

    /// All columns, and these; one of the same name is replaced.
    #[must_use]
    pub fn with_columns(self, columns: impl IntoIterator<Item = Expr>) -> Self {
        let columns = columns.into_iter().collect::<Vec<_>>();
        self.with(move |input| LogicalPlan::WithColumns { input, columns: columns.clone() })
    }

    /// The rows for which the predicate is true.
    #[must_use]
    pub fn filter(self, predicate: Expr) -> Self {
        self.with(move |input| LogicalPlan::Filter { input, predicate: predicate.clone() })
    }

    /// A row for each item of a list, beside the other columns. Null and empty lists give no row.
    #[must_use]
    pub fn flat_map(self, list: Expr) -> Self {
        let column = list.output_name();
        let chain = if list == col(column.as_str()) { self } else { self.with_columns([list]) };
        chain.with(move |input| LogicalPlan::Explode { input, column: column.clone() })
    }

    /// Any Rust closure from a record batch to a record batch of this schema. It sees the rows in pieces, whose borders
    /// mean nothing.
    #[must_use]
    pub fn map_batches(
        mut self,
        schema: SchemaRef,
        function: impl Fn(&RecordBatch) -> Result<RecordBatch> + Send + Sync + 'static,
    ) -> Self {
        let function = self.registry.add_function("closure", Arc::new(function));
        self.with(move |input| {
            let (name, schema) = ("closure".to_owned(), Arc::clone(&schema));
            LogicalPlan::Map { input, function, name, takes: MapInput::Batch, schema }
        })
    }

    /// A join with a table, which plans and errors call by this name. The table's columns come after the chain's,
    /// without those joined on.
    #[must_use]
    pub fn join_static<O: Into<JoinOn>>(
        mut self,
        name: impl Into<String>,
        table: RecordBatch,
        on: impl IntoIterator<Item = O>,
        kind: JoinKind,
    ) -> Self {
        let (name, schema) = (name.into(), table.schema());
        let table = self.registry.add_table(name.clone(), table);
        let on = on.into_iter().map(|on| on.into()).map(|JoinOn(left, right)| (left, right)).collect::<Vec<_>>();
        self.with(move |input| {
            let (name, schema, on) = (name.clone(), Arc::clone(&schema), on.clone());
            LogicalPlan::Join { input, table, name, schema, on, kind }
        })
    }
}

/// Regrouping rows.
impl Chain {
    /// Groups rows by keys.
    #[must_use]
    pub fn key_by(self, keys: impl IntoIterator<Item = Expr>) -> KeyedChain {
        KeyedChain { chain: self, keys: keys.into_iter().collect() }
    }

    /// One row a group: `key_by(keys).aggregate(aggregates)`.
    #[must_use]
    pub fn reduce_by_key(
        self,
        keys: impl IntoIterator<Item = Expr>,
        aggregates: impl IntoIterator<Item = Aggregate>,
    ) -> Self {
        self.key_by(keys).aggregate(aggregates)
    }

    /// One row: the aggregates of all rows.
    #[must_use]
    pub fn aggregate(self, aggregates: impl IntoIterator<Item = Aggregate>) -> Self {
        self.key_by([]).aggregate(aggregates)
    }

    /// The number of rows, as `count`.
    #[must_use]
    pub fn count(self) -> Self {
        self.key_by([]).count()
    }

    /// How often each value of an expression occurs, as `count`.
    #[must_use]
    pub fn count_by_value(self, value: Expr) -> Self {
        self.key_by([value]).count()
    }

    /// The first of rows that are equal in all columns.
    #[must_use]
    pub fn distinct(self) -> Self {
        self.distinct_by([""; 0])
    }

    /// The first of rows that are equal in these columns.
    #[must_use]
    pub fn distinct_by<S: Into<String>>(self, columns: impl IntoIterator<Item = S>) -> Self {
        let columns = columns.into_iter().map(Into::into).collect::<Vec<_>>();
        self.with(move |input| LogicalPlan::Distinct { input, columns: columns.clone() })
    }

    /// All rows in order.
    #[must_use]
    pub fn sort<S: Into<SortBy>>(self, by: impl IntoIterator<Item = S>) -> Self {
        self.ordered(by.into_iter().map(Into::into).collect(), None)
    }

    /// The first `rows` rows in order.
    #[must_use]
    pub fn top_n<S: Into<SortBy>>(self, rows: usize, by: impl IntoIterator<Item = S>) -> Self {
        self.ordered(by.into_iter().map(Into::into).collect(), Some(rows))
    }

    fn ordered(self, by: Vec<SortBy>, limit: Option<usize>) -> Self {
        self.with(move |input| LogicalPlan::Sort { input, by: by.clone(), limit })
    }

    /// The first rows.
    #[must_use]
    pub fn limit(self, rows: usize) -> Self {
        self.with(move |input| LogicalPlan::Limit { input, rows })
    }
}

/// For compilation.
impl Chain {
    fn with(mut self, operation: impl Fn(Arc<LogicalPlan>) -> LogicalPlan + Send + Sync + 'static) -> Self {
        self.operations.push(Arc::new(operation));
        self
    }

    /// The chain above rows of this schema.
    pub(super) fn plan(&self, schema: &SchemaRef) -> Arc<LogicalPlan> {
        let rows = LogicalPlan::Source { source: SourceId(0), name: "rows".to_owned(), schema: Arc::clone(schema) };
        self.operations.iter().fold(Arc::new(rows), |input, operation| Arc::new(operation(input)))
    }

    /// The closures and tables that the plan names by id.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// A chain grouped by keys, waiting to be told what to make of each group. Made by [`Chain::key_by`].
///
/// ```
/// use pelton::prelude::*;
///
/// let visits = Chain::new().key_by([col("city")]).count();
/// # drop(visits);
/// ```
#[derive(Debug, Clone)]
pub struct KeyedChain {
    chain: Chain,
    keys: Vec<Expr>,
}

impl KeyedChain {
    /// One row a group: the keys, then the aggregates.
    #[must_use]
    pub fn aggregate(self, aggregates: impl IntoIterator<Item = Aggregate>) -> Chain {
        let (keys, aggregates) = (self.keys, aggregates.into_iter().collect::<Vec<_>>());
        self.chain.with(move |input| LogicalPlan::Reduce { input, keys: keys.clone(), aggregates: aggregates.clone() })
    }

    /// The number of rows of each group, as `count`.
    #[must_use]
    pub fn count(self) -> Chain {
        self.aggregate([len().alias("count")])
    }
}
