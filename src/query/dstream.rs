//! A described stream of micro-batches, with Spark's operations in Rust's spelling.
//!
//! Operations only describe. Mistakes are found when an output operation closes the description, before anything runs.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cell::Row;
use super::context::Draft;
use super::keyed::KeyedDStream;
use super::lines;
use super::rule::{Rule, RuleTest};
use super::table::{JoinOn, StaticTable};
use crate::columnar::{RecordBatch, SchemaRef};
use crate::connectors::Sink;
use crate::connectors::for_each::ForEachSink;
use crate::connectors::print::PrintSink;
use crate::error::Result;
use crate::expr::{Aggregate, Expr, col, len};
use crate::plan::LogicalPlan;
use crate::plan::analyze;
use crate::plan::asof::AsofStrategy;
use crate::plan::explain;
use crate::plan::fold_function::FoldFunction;
use crate::plan::initial::InitialState;
use crate::plan::logical::{JoinAsofDescribed, MapInput, Remember, SortBy};
use crate::plan::rules::{self, Test};
use crate::plan::stage::{BatchFunction, FunctionId, GroupFunction, JoinKind};
use crate::plan::state_function::StateFunction;

/// A stream of micro-batches, described but not yet running. Cloning it is cheap and makes a branch.
#[derive(Clone)]
pub struct DStream {
    draft: Arc<Mutex<Draft>>,
    plan: Arc<LogicalPlan>,
}

impl fmt::Debug for DStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&explain::logical(&self.plan))
    }
}

/// Row by row.
impl DStream {
    pub(super) fn new(draft: Arc<Mutex<Draft>>, plan: LogicalPlan) -> Self {
        Self { draft, plan: Arc::new(plan) }
    }

    /// The stream with one more operation.
    pub(super) fn with(&self, operation: impl FnOnce(Arc<LogicalPlan>) -> LogicalPlan) -> Self {
        Self { draft: Arc::clone(&self.draft), plan: Arc::new(operation(Arc::clone(&self.plan))) }
    }

    /// These columns and no others. `map` of expressions.
    #[must_use]
    pub fn select(&self, columns: impl IntoIterator<Item = Expr>) -> Self {
        self.with(|input| LogicalPlan::Select { input, columns: columns.into_iter().collect() })
    }

    /// The same as [`DStream::select`], by the name Spark gives it.
    #[must_use]
    pub fn map(&self, columns: impl IntoIterator<Item = Expr>) -> Self {
        self.select(columns)
    }

    /// All columns, and these; one of the same name is replaced.
    #[must_use]
    pub fn with_columns(&self, columns: impl IntoIterator<Item = Expr>) -> Self {
        self.with(|input| LogicalPlan::WithColumns { input, columns: columns.into_iter().collect() })
    }

    /// The rows for which the predicate is true.
    #[must_use]
    pub fn filter(&self, predicate: Expr) -> Self {
        self.with(|input| LogicalPlan::Filter { input, predicate })
    }

    /// The rows that keep these rules; of those that break one, each goes where the rule's verdict sends it. All rules are
    /// counted, in the progress record of each batch.
    ///
    /// ```
    /// use pelton::connectors::memory::MemorySink;
    /// use pelton::connectors::queue::QueueSource;
    /// use pelton::prelude::*;
    ///
    /// # fn main() -> Result<()> {
    /// # use std::sync::Arc;
    /// let ages: Arc<dyn arrow_array::Array> = Arc::new(arrow_array::Int64Array::from(vec![Some(7), Some(-1), None]));
    /// let batch = RecordBatch::try_from_iter_with_nullable([("age", ages, true)])?;
    /// let context = StreamingContext::builder("ages").trigger(Trigger::AvailableNow).build()?;
    /// let good = MemorySink::new();
    /// let (queue, source) = QueueSource::new(batch.schema());
    /// queue.push(vec![batch])?;
    /// queue.close();
    /// context
    ///     .source("ages", source)?
    ///     .validate([Rule::between("age", 0, 150).or_drop(), Rule::not_null(["age"])])
    ///     .write(good.clone())?;
    /// let query = context.start()?;
    /// query.await_termination()?;
    /// let counts = query.progress()[0].rules.iter().map(|rule| (rule.name.clone(), rule.broken)).collect::<Vec<_>>();
    /// assert_eq!(counts, [("age >= 0 AND age <= 150".into(), 1), ("age IS NOT NULL".into(), 1)]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn validate(&self, rules: impl IntoIterator<Item = Rule>) -> Self {
        let rules = rules.into_iter().map(|rule| self.planned(rule)).collect();
        self.with(|input| LogicalPlan::Validate { input, rules })
    }

    /// The rule with its table entered into the query.
    fn planned(&self, Rule { name, test, verdict }: Rule) -> rules::Rule {
        let test = match test {
            RuleTest::Holds(condition) => Test::Holds(condition),
            RuleTest::Found(on, table) => {
                let on = on.into_iter().map(|JoinOn(stream, table)| (stream, table)).collect();
                let (name, schema) = (table.name.clone(), table.rows.schema());
                let table = self.edit(|draft| table.enter(&mut draft.registry));
                Test::Found { table, name, schema, on }
            }
            RuleTest::Unique(columns, memory) => Test::Unique { columns, memory },
        };
        rules::Rule { name, test, verdict }
    }

    /// A row for each item of a list, beside the other columns. Null and empty lists give no row.
    #[must_use]
    pub fn flat_map(&self, list: Expr) -> Self {
        let column = list.output_name();
        let stream = if list == col(column.as_str()) { self.clone() } else { self.with_columns([list]) };
        stream.with(|input| LogicalPlan::Explode { input, column })
    }

    /// Any Rust closure from a line of text to a row; the stream must have one column, of text.
    ///
    /// A single value becomes the column `value`, a tuple the columns `_1`, `_2`, …
    #[must_use]
    pub fn map_lines<R: Row>(&self, function: impl Fn(&str) -> R + Send + Sync + 'static) -> Self {
        self.lines(move |line, rows| rows.push(function(line)))
    }

    /// Any Rust closure from a line of text to any number of rows; the stream must have one column, of text.
    #[must_use]
    pub fn flat_map_lines<R: Row, I: IntoIterator<Item = R>>(
        &self,
        function: impl Fn(&str) -> I + Send + Sync + 'static,
    ) -> Self {
        self.lines(move |line, rows| rows.extend(function(line)))
    }

    fn lines<R: Row>(&self, function: impl Fn(&str, &mut Vec<R>) + Send + Sync + 'static) -> Self {
        let function = self.register_function("closure", Arc::new(lines::of_lines(function)));
        let (name, schema) = ("closure".to_owned(), lines::row_schema::<R>());
        self.with(|input| LogicalPlan::Map { input, function, name, takes: MapInput::Lines, schema })
    }

    /// Any Rust closure from a record batch to a record batch of this schema. It sees a micro-batch in pieces, whose
    /// borders mean nothing: see `transform` (feature `polars`) for a whole micro-batch.
    #[must_use]
    pub fn map_batches(
        &self,
        schema: SchemaRef,
        function: impl Fn(&RecordBatch) -> Result<RecordBatch> + Send + Sync + 'static,
    ) -> Self {
        let function = self.register_function("closure", Arc::new(function));
        let name = "closure".to_owned();
        self.with(|input| LogicalPlan::Map { input, function, name, takes: MapInput::Batch, schema })
    }
}

/// Regrouping rows within a micro-batch.
impl DStream {
    /// Groups rows by keys.
    #[must_use]
    pub fn key_by(&self, keys: impl IntoIterator<Item = Expr>) -> KeyedDStream {
        KeyedDStream::new(self.clone(), keys.into_iter().collect())
    }

    /// One row a group: `key_by(keys).aggregate(aggregates)`.
    #[must_use]
    pub fn reduce_by_key(
        &self,
        keys: impl IntoIterator<Item = Expr>,
        aggregates: impl IntoIterator<Item = Aggregate>,
    ) -> Self {
        self.key_by(keys).aggregate(aggregates)
    }

    /// One row: the aggregates of all rows of the batch.
    #[must_use]
    pub fn aggregate(&self, aggregates: impl IntoIterator<Item = Aggregate>) -> Self {
        self.key_by([]).aggregate(aggregates)
    }

    /// The number of rows of the batch, as `count`.
    #[must_use]
    pub fn count(&self) -> Self {
        self.key_by([]).count()
    }

    /// How often each value of an expression occurs, as `count`.
    #[must_use]
    pub fn count_by_value(&self, value: Expr) -> Self {
        self.key_by([value]).aggregate([len().alias("count")])
    }

    /// The first of rows that are equal in all columns.
    #[must_use]
    pub fn distinct(&self) -> Self {
        self.distinct_by([""; 0])
    }

    /// The first of rows that are equal in these columns.
    #[must_use]
    pub fn distinct_by<S: Into<String>>(&self, columns: impl IntoIterator<Item = S>) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        self.with(|input| LogicalPlan::Distinct { input, columns })
    }

    /// The first of rows that are equal in these columns, of all batches; in all columns if none are named. Every key is
    /// remembered for good.
    #[must_use]
    pub fn drop_duplicates<S: Into<String>>(&self, columns: impl IntoIterator<Item = S>) -> Self {
        self.drop_duplicates_by(columns, Remember::Always, None)
    }

    /// As [`DStream::drop_duplicates`], of rows whose times are no further apart than the delay of the stream's watermark:
    /// a key is forgotten once no row is expected that could be its duplicate. Rows that come too late, and rows without a
    /// time, are counted and left out.
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # use std::time::Duration;
    /// # fn example(ads: DStream) -> DStream {
    /// ads.with_watermark("event_time", Duration::from_secs(60)).drop_duplicates_within_watermark(["id"])
    /// # }
    /// ```
    #[must_use]
    pub fn drop_duplicates_within_watermark<S: Into<String>>(&self, columns: impl IntoIterator<Item = S>) -> Self {
        self.drop_duplicates_by(columns, Remember::WithinWatermark, None)
    }

    /// As [`DStream::drop_duplicates`], saying how long keys are remembered and what a checkpoint calls them.
    #[must_use]
    pub fn drop_duplicates_by<S: Into<String>>(
        &self,
        columns: impl IntoIterator<Item = S>,
        memory: Remember,
        name: Option<&str>,
    ) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        let name = name.map(str::to_owned);
        self.with(|input| LogicalPlan::DropDuplicates { input, name, columns, memory })
    }

    /// All rows of the batch in order.
    #[must_use]
    pub fn sort<S: Into<SortBy>>(&self, by: impl IntoIterator<Item = S>) -> Self {
        let by = by.into_iter().map(Into::into).collect();
        self.with(|input| LogicalPlan::Sort { input, by, limit: None })
    }

    /// The first `rows` rows of the batch in order.
    #[must_use]
    pub fn top_n<S: Into<SortBy>>(&self, rows: usize, by: impl IntoIterator<Item = S>) -> Self {
        let by = by.into_iter().map(Into::into).collect();
        self.with(|input| LogicalPlan::Sort { input, by, limit: Some(rows) })
    }

    /// The first rows of the batch.
    #[must_use]
    pub fn limit(&self, rows: usize) -> Self {
        self.with(|input| LogicalPlan::Limit { input, rows })
    }

    /// The same rows in this many partitions.
    #[must_use]
    pub fn repartition(&self, partitions: usize) -> Self {
        self.with(|input| LogicalPlan::Repartition { input, partitions })
    }
}

/// Several streams.
impl DStream {
    /// The rows of this stream, then those of the other; both must have the same columns.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let inputs = vec![Arc::clone(&self.plan), Arc::clone(&other.plan)];
        let same_query = self.is_of_query(other);
        self.with(|_| LogicalPlan::Union { inputs, same_query })
    }

    pub(super) fn is_of_query(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.draft, &other.draft)
    }

    /// A join with a static table. The table's columns come after the stream's, without those joined on.
    ///
    /// # Errors
    /// `InvalidQuery` for columns that do not exist or cannot be equal.
    pub fn join_static<O: Into<JoinOn>>(
        &self,
        table: impl Into<StaticTable>,
        on: impl IntoIterator<Item = O>,
        kind: JoinKind,
    ) -> Result<Self> {
        let table: StaticTable = table.into();
        let (name, schema) = (table.name.clone(), table.rows.schema());
        let table = self.edit(|draft| table.enter(&mut draft.registry));
        let on = on.into_iter().map(|on| on.into()).map(|JoinOn(left, right)| (left, right)).collect();
        let joined = self.with(|input| LogicalPlan::Join { input, table, name, schema, on, kind });
        joined.schema()?;
        Ok(joined)
    }

    /// Each row beside the row of a table that was there at its time: of the rows whose keys are equal the one that
    /// `strategy` says, not further away than `tolerance` if there is one. Rows that find none stand beside nulls. The
    /// table's columns come after the stream's, without those joined on, and without its time if both have one name. As
    /// `join_asof` of Polars, but that the table need not be sorted.
    ///
    /// ```
    /// # use pelton::prelude::*;
    /// # use std::time::Duration;
    /// # fn example(trades: DStream, prices: StaticTable) -> Result<DStream> {
    /// let day = Some(Duration::from_secs(86_400));
    /// trades.join_asof(prices, ["symbol"], ("traded", "since"), AsofStrategy::Backward, day)
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`DStream::join_static`].
    pub fn join_asof<O: Into<JoinOn>>(
        &self,
        table: impl Into<StaticTable>,
        on: impl IntoIterator<Item = O>,
        times: (impl Into<String>, impl Into<String>),
        strategy: AsofStrategy,
        tolerance: Option<Duration>,
    ) -> Result<Self> {
        let table: StaticTable = table.into();
        let (name, schema) = (table.name.clone(), table.rows.schema());
        let table = self.edit(|draft| table.enter(&mut draft.registry));
        let on = on.into_iter().map(|on| on.into()).map(|JoinOn(left, right)| (left, right)).collect();
        let times = (times.0.into(), times.1.into());
        let joined = self.with(|input| {
            LogicalPlan::JoinAsof(JoinAsofDescribed { input, table, name, schema, on, times, strategy, tolerance })
        });
        joined.schema()?;
        Ok(joined)
    }

    /// The same stream, computed once for all that follows, however many branches there are. Without it, branches share
    /// the reading of the source and each computes the rest for itself.
    #[must_use]
    pub fn cache(&self) -> Self {
        self.with(|input| LogicalPlan::Cache { input })
    }
}

/// Output operations: they check the stream and make it part of the query.
impl DStream {
    /// Writes each micro-batch to a sink.
    ///
    /// # Errors
    /// `InvalidQuery` or `Unsupported`: any mistake in the stream's description; `Closed` if the query has started.
    pub fn write(&self, sink: impl Sink + 'static) -> Result<()> {
        self.write_named("sink", Box::new(sink))
    }

    /// Writes each micro-batch to a sink that progress records and errors call by this name.
    ///
    /// # Errors
    /// As [`DStream::write`].
    pub fn write_named(&self, name: impl Into<String>, sink: Box<dyn Sink>) -> Result<()> {
        self.schema()?;
        let name = name.into();
        self.edit(|draft| draft.add_output(name, Arc::clone(&self.plan), sink))
    }

    /// Prints the first rows of each micro-batch as a table on the standard output.
    ///
    /// # Errors
    /// As [`DStream::write`].
    pub fn print(&self, rows: usize) -> Result<()> {
        self.write_named("print", Box::new(PrintSink::new(rows)))
    }

    /// Calls a closure with each micro-batch: its id and its record batches.
    ///
    /// # Errors
    /// As [`DStream::write`].
    pub fn foreach_batch(
        &self,
        function: impl FnMut(u64, &[RecordBatch]) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        self.write_named("foreach_batch", Box::new(ForEachSink::new(function)))
    }

    /// The schema of the stream.
    ///
    /// # Errors
    /// `InvalidQuery` or `Unsupported`: any mistake in the stream's description.
    pub fn schema(&self) -> Result<SchemaRef> {
        analyze::schema_of(&self.plan)
    }

    /// What was described, as data: what [`plan`](crate::plan::plan()) makes stages of.
    pub fn plan(&self) -> &Arc<LogicalPlan> {
        &self.plan
    }

    /// What was described, an operation a line.
    pub fn explain(&self) -> String {
        explain::logical(&self.plan)
    }
}

/// Entering things into the query's draft.
impl DStream {
    fn edit<T>(&self, change: impl FnOnce(&mut Draft) -> T) -> T {
        change(&mut self.draft.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    pub(super) fn register_function(&self, name: &str, function: Arc<dyn BatchFunction>) -> FunctionId {
        self.edit(|draft| draft.registry.add_function(name, function))
    }

    pub(super) fn register_state_function(&self, function: Arc<dyn StateFunction>) -> FunctionId {
        self.edit(|draft| draft.registry.add_state_function("closure", function))
    }

    pub(super) fn register_initial_state(&self, table: StaticTable, state_type: Option<String>) -> InitialState {
        let (name, schema) = (table.name.clone(), table.rows.schema());
        let table = self.edit(|draft| draft.registry.add_table(table.name, table.rows));
        InitialState { table, name, schema, state_type }
    }

    pub(super) fn register_fold_function(&self, function: Arc<dyn FoldFunction>) -> FunctionId {
        self.edit(|draft| draft.registry.add_fold_function("closure", function))
    }

    pub(super) fn register_group_function(&self, name: &str, function: Arc<dyn GroupFunction>) -> FunctionId {
        self.edit(|draft| draft.registry.add_group_function(name, function))
    }
}
