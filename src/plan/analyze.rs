//! Names and types resolved. Every mistake of the user's is found here, before the stream starts, and none later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::analyze_asof;
use super::analyze_keep;
use super::analyze_state;
use super::analyze_streams;
use super::asof::AsofJoin;
use super::explain::columns;
use super::keep::{Keep, Watermark, WatermarkId, Windows};
use super::logical::{LogicalPlan, MapInput, SortBy};
use super::operator::{DropDuplicates, FoldWindows, JoinStreams, MapState};
use super::rules::{self, TypedRule};
use super::stage::{FunctionId, Join, JoinKind, NamedExpr, SortKey, SourceId, TableId};
use crate::columnar::data_type;
use crate::columnar::{DataType, Field, Schema, SchemaRef};
use crate::error::{Error, Result};
use crate::expr::{Aggregate, Expr, TypedAggregate, TypedExpr, col};

/// A checked operation and the schema of what it gives.
#[derive(Debug)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// The schema of its rows.
    pub schema: SchemaRef,
}

/// The operations that are left once names are resolved.
#[derive(Debug)]
#[expect(missing_docs, reason = "they mirror `LogicalPlan` and `stage::{Step, End}`, where each field is explained")]
pub enum Op {
    Source { source: SourceId, name: String },
    Filter { input: Arc<Node>, predicate: TypedExpr },
    Project { input: Arc<Node>, columns: Vec<NamedExpr> },
    Validate { input: Arc<Node>, rules: Vec<TypedRule> },
    Explode { input: Arc<Node>, column: usize },
    Map { input: Arc<Node>, function: FunctionId, name: String },
    Transform { input: Arc<Node>, function: FunctionId, name: String },
    Join { input: Arc<Node>, join: Join, name: String },
    JoinAsof { input: Arc<Node>, join: AsofJoin, name: String },
    Reduce { input: Arc<Node>, keys: Vec<NamedExpr>, aggregates: Vec<TypedAggregate> },
    Watermark { input: Arc<Node>, watermark: Watermark, column: usize },
    Late { input: Arc<Node>, pane: TypedExpr, windows: Windows, watermarks: Vec<WatermarkId> },
    Keep { input: Arc<Node>, keep: Keep },
    MapState { input: Arc<Node>, map: MapState },
    FoldWindows { input: Arc<Node>, fold: FoldWindows },
    DropDuplicates { input: Arc<Node>, drop: DropDuplicates },
    JoinStreams { input: Arc<Node>, join: JoinStreams },
    ReduceWith { input: Arc<Node>, keys: Vec<NamedExpr>, function: FunctionId, name: String },
    Distinct { input: Arc<Node>, columns: Vec<usize> },
    Union { inputs: Vec<Arc<Node>> },
    Sort { input: Arc<Node>, by: Vec<SortKey>, limit: Option<usize> },
    Limit { input: Arc<Node>, rows: usize },
    Repartition { input: Arc<Node>, partitions: usize },
    Cache { input: Arc<Node> },
}

impl Node {
    /// The nodes below, in order.
    pub(super) fn inputs(&self) -> Vec<&Arc<Self>> {
        match &self.op {
            Op::Source { .. } => Vec::new(),
            Op::Union { inputs } => inputs.iter().collect(),
            Op::Filter { input, .. }
            | Op::Project { input, .. }
            | Op::Validate { input, .. }
            | Op::Explode { input, .. }
            | Op::Map { input, .. }
            | Op::Transform { input, .. }
            | Op::Join { input, .. }
            | Op::JoinAsof { input, .. }
            | Op::Reduce { input, .. }
            | Op::Watermark { input, .. }
            | Op::Late { input, .. }
            | Op::Keep { input, .. }
            | Op::MapState { input, .. }
            | Op::FoldWindows { input, .. }
            | Op::DropDuplicates { input, .. }
            | Op::JoinStreams { input, .. }
            | Op::ReduceWith { input, .. }
            | Op::Distinct { input, .. }
            | Op::Sort { input, .. }
            | Op::Limit { input, .. }
            | Op::Repartition { input, .. }
            | Op::Cache { input } => vec![input],
        }
    }
}

/// Checks all outputs of a query. What they share stays shared.
///
/// # Errors
/// `InvalidQuery` or `Unsupported`, with the operation the mistake stands in.
pub fn analyze_all(outputs: &[Arc<LogicalPlan>]) -> Result<Vec<Arc<Node>>> {
    let mut analyzer = Analyzer { done: BTreeMap::new(), given: Given::default() };
    outputs.iter().map(|plan| analyzer.node(plan)).collect()
}

/// The schema a plan would give.
///
/// # Errors
/// As [`analyze_all`].
pub fn schema_of(plan: &Arc<LogicalPlan>) -> Result<SchemaRef> {
    let mut analyzer = Analyzer { done: BTreeMap::new(), given: Given::default() };
    Ok(Arc::clone(&analyzer.node(plan)?.schema))
}

struct Analyzer {
    /// Nodes by the address of their plan, which lives as long as the analyzer.
    done: BTreeMap<*const LogicalPlan, Arc<Node>>,
    given: Given,
}

/// What has been given out so far.
#[derive(Default)]
pub(super) struct Given {
    pub(super) watermarks: usize,
    pub(super) rules: usize,
    /// Names of operators that keep state.
    pub(super) operators: BTreeSet<String>,
}

impl Analyzer {
    fn node(&mut self, plan: &Arc<LogicalPlan>) -> Result<Arc<Node>> {
        if let Some(node) = self.done.get(&Arc::as_ptr(plan)) {
            return Ok(Arc::clone(node));
        }
        let inputs = plan.inputs().into_iter().map(|input| self.node(input)).collect::<Result<Vec<_>>>()?;
        let node =
            check(plan, inputs, &mut self.given).map_err(|error| error.context(format!("in {}", plan.operation())))?;
        let node = Arc::new(node);
        self.done.insert(Arc::as_ptr(plan), Arc::clone(&node));
        Ok(node)
    }
}

fn check(plan: &LogicalPlan, mut inputs: Vec<Arc<Node>>, given: &mut Given) -> Result<Node> {
    if matches!(plan, LogicalPlan::Union { .. } | LogicalPlan::JoinStreams(_)) {
        return check_several(plan, inputs, given);
    }
    let Some(input) = inputs.pop() else {
        let LogicalPlan::Source { source, name, schema } = plan else {
            return Err(Error::internal("an operation without input that is not a source"));
        };
        schema.fields().iter().try_for_each(|field| data_type::check(field.name(), field.data_type()))?;
        return Ok(Node { op: Op::Source { source: *source, name: name.clone() }, schema: Arc::clone(schema) });
    };
    let same = Arc::clone(&input.schema);
    match plan {
        LogicalPlan::Source { .. } | LogicalPlan::Union { .. } | LogicalPlan::JoinStreams(_) => {
            Err(Error::internal("a source with an input"))
        }
        LogicalPlan::Select { columns, .. } => select(input, columns),
        LogicalPlan::WithColumns { columns, .. } => with_columns(input, columns),
        LogicalPlan::Filter { predicate, .. } => {
            let predicate = predicate.typed(&input.schema)?;
            if !matches!(predicate.data_type, DataType::Boolean | DataType::Null) {
                return Err(Error::invalid_query(format!(
                    "the predicate `{predicate}` is {}, not Boolean",
                    predicate.data_type
                ))
                .advice("write a comparison, for example `column > 0`"));
            }
            Ok(Node { op: Op::Filter { input, predicate }, schema: same })
        }
        LogicalPlan::Validate { rules, .. } => rules::validate(input, rules, given),
        LogicalPlan::Explode { column, .. } => explode(input, column),
        LogicalPlan::Map { function, name, takes, schema, .. } => {
            if *takes == MapInput::Lines {
                one_text_column(&input.schema)?;
            }
            let schema = Arc::clone(schema);
            Ok(Node { op: Op::Map { input, function: *function, name: name.clone() }, schema })
        }
        LogicalPlan::Transform { function, name, schema, .. } => {
            let schema = Arc::clone(schema);
            Ok(Node { op: Op::Transform { input, function: *function, name: name.clone() }, schema })
        }
        LogicalPlan::Join { table, name, schema, on, kind, .. } => join(input, *table, name, schema, on, *kind),
        LogicalPlan::JoinAsof(described) => analyze_asof::join_asof(input, described),
        LogicalPlan::Reduce { keys, aggregates, .. } => reduce(input, keys, aggregates),
        LogicalPlan::Watermark { column, delay, idle_after, .. } => {
            analyze_keep::watermark(input, column, *delay, *idle_after, given)
        }
        LogicalPlan::Late { window, .. } => analyze_keep::late(input, window),
        LogicalPlan::Keep { name, keys, aggregates, over, ttl, initial, mode, .. } => {
            let memory = (*over, *ttl, initial.as_ref());
            analyze_keep::keep(input, name.as_deref(), (keys, aggregates), memory, *mode, given)
        }
        LogicalPlan::MapState(described) => analyze_state::map_state(input, described, given),
        LogicalPlan::FoldWindows(described) => analyze_state::fold_windows(input, described, given),
        LogicalPlan::DropDuplicates { name, columns, memory, .. } => {
            analyze_state::drop_duplicates(input, name.as_deref(), columns, *memory, given)
        }
        LogicalPlan::ReduceWith { keys, values, function, name, .. } => {
            reduce_with(input, keys, values, *function, name)
        }
        LogicalPlan::Distinct { columns, .. } => distinct(input, columns),
        LogicalPlan::Sort { by, limit, .. } => {
            let by = by.iter().map(|key| sort_key(key, &input.schema)).collect::<Result<Vec<_>>>()?;
            if by.is_empty() {
                return Err(Error::invalid_query("there must be at least one column to sort by"));
            }
            Ok(Node { op: Op::Sort { input, by, limit: *limit }, schema: same })
        }
        LogicalPlan::Limit { rows, .. } => Ok(Node { op: Op::Limit { input, rows: *rows }, schema: same }),
        LogicalPlan::Repartition { partitions: 0, .. } => {
            Err(Error::invalid_query("0 partitions cannot hold rows").advice("give at least 1"))
        }
        LogicalPlan::Repartition { partitions, .. } => {
            Ok(Node { op: Op::Repartition { input, partitions: *partitions }, schema: same })
        }
        LogicalPlan::Cache { .. } => Ok(Node { op: Op::Cache { input }, schema: same }),
    }
}

/// Operations of several streams, which must be those of one query.
fn check_several(plan: &LogicalPlan, inputs: Vec<Arc<Node>>, given: &mut Given) -> Result<Node> {
    match (plan, inputs.as_slice()) {
        (LogicalPlan::JoinStreams(described), [left, right]) if described.same_query => {
            analyze_streams::join_streams(left, right, described, given)
        }
        (LogicalPlan::Union { same_query: true, .. }, _) => union(inputs),
        _ => Err(Error::invalid_query("the streams belong to different contexts, which run as different queries")),
    }
}

fn select(input: Arc<Node>, columns: &[Expr]) -> Result<Node> {
    let columns = named(columns, &input.schema)?;
    if columns.is_empty() {
        return Err(Error::invalid_query("there must be at least one column"));
    }
    Ok(project(input, columns))
}

fn with_columns(input: Arc<Node>, columns: &[Expr]) -> Result<Node> {
    let mut all = all_columns(&input.schema);
    for column in named(columns, &input.schema)? {
        match all.iter_mut().find(|old| old.name == column.name) {
            Some(old) => *old = column,
            None => all.push(column),
        }
    }
    Ok(project(input, all))
}

pub(super) fn field(name: &str, expr: &TypedExpr) -> Field {
    Field::new(name, expr.data_type.clone(), expr.nullable)
}

/// Expressions with the names of their columns, which must differ.
pub(super) fn named(exprs: &[Expr], schema: &Schema) -> Result<Vec<NamedExpr>> {
    let columns = exprs
        .iter()
        .map(|expr| Ok(NamedExpr { name: expr.output_name(), expr: expr.typed(schema)? }))
        .collect::<Result<Vec<_>>>()?;
    unique(columns.iter().map(|column| column.name.as_str()))?;
    Ok(columns)
}

pub(super) fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Error::invalid_query(format!("two columns would be called \"{name}\""))
                .advice("give one of them another name with alias (AS in text)"));
        }
    }
    Ok(())
}

/// Every column as it is.
pub(super) fn all_columns(schema: &Schema) -> Vec<NamedExpr> {
    let column = |(index, field): (usize, &Arc<Field>)| NamedExpr {
        name: field.name().clone(),
        expr: TypedExpr::column(index, field),
    };
    schema.fields().iter().enumerate().map(column).collect()
}

/// The index of a column, or an error that names the nearest.
pub(super) fn index_of(schema: &Schema, name: &str) -> Result<usize> {
    if let Ok(index) = schema.index_of(name) {
        return Ok(index);
    }
    // Typing knows how to say it. A dotted name is a field of a struct, which is no column yet.
    col(name).typed(schema)?;
    Err(Error::invalid_query(format!("\"{name}\" is a part of a struct, not a column"))
        .advice("make it a column first, with with_columns"))
}

/// A projection, with the schema its columns make.
pub(super) fn project(input: Arc<Node>, columns: Vec<NamedExpr>) -> Node {
    let fields = columns.iter().map(|column| field(&column.name, &column.expr)).collect::<Vec<_>>();
    Node { op: Op::Project { input, columns }, schema: Arc::new(Schema::new(fields)) }
}

fn explode(input: Arc<Node>, column: &str) -> Result<Node> {
    let index = index_of(&input.schema, column)?;
    let old = input.schema.field(index);
    let (DataType::List(item) | DataType::LargeList(item)) = old.data_type() else {
        let message = format!("column \"{column}\" is {}, not a list", old.data_type());
        return Err(Error::invalid_query(message).advice("make a list first, for example with split"));
    };
    let mut fields = input.schema.fields().to_vec();
    fields[index] = Arc::new(Field::new(column, item.data_type().clone(), item.is_nullable()));
    let schema = Arc::new(Schema::new(fields));
    Ok(Node { op: Op::Explode { input, column: index }, schema })
}

fn one_text_column(schema: &Schema) -> Result<()> {
    match schema.fields().as_ref() {
        [field] if data_type::is_text(field.data_type()) => Ok(()),
        _ => Err(Error::invalid_query(format!(
            "a function of lines needs a stream with one column of text; this one has {}",
            columns(schema)
        ))
        .advice("select the text first, or use map_batches")),
    }
}

pub(super) fn join(
    input: Arc<Node>,
    table: TableId,
    name: &str,
    right: &SchemaRef,
    on: &[(String, String)],
    kind: JoinKind,
) -> Result<Node> {
    if on.is_empty() {
        return Err(Error::invalid_query("there must be at least one column to join on"));
    }
    let mut left_keys = Vec::new();
    let mut right_keys = Vec::new();
    for (left_name, right_name) in on {
        let left_index = index_of(&input.schema, left_name)?;
        let right_index = index_of(right, right_name).map_err(|error| error.context(format!("table \"{name}\"")))?;
        let (left_type, right_type) =
            (input.schema.field(left_index).data_type(), right.field(right_index).data_type());
        if !joinable(left_type, right_type) {
            return Err(Error::invalid_query(format!(
                "column \"{left_name}\" is {left_type}, but \"{right_name}\" of table \"{name}\" is {right_type}"
            ))
            .advice("cast one of them to the type of the other"));
        }
        left_keys.push(left_index);
        right_keys.push(right_index);
    }
    let mut fields = input.schema.fields().to_vec();
    let mut right_columns = Vec::new();
    if matches!(kind, JoinKind::Inner | JoinKind::Left) {
        for (index, field) in right.fields().iter().enumerate().filter(|(index, _)| !right_keys.contains(index)) {
            right_columns.push(index);
            let nullable = field.is_nullable() || kind == JoinKind::Left;
            fields.push(Arc::new(field.as_ref().clone().with_nullable(nullable)));
        }
    }
    unique(fields.iter().map(|field| field.name().as_str()))?;
    let schema = Arc::new(Schema::new(fields));
    let join = Join { table, kind, left_keys, right_keys, right_columns, schema: Arc::clone(&schema) };
    Ok(Node { op: Op::Join { input, join, name: name.to_owned() }, schema })
}

/// Whether values of these types can be equal without a cast: all layouts of text are one type here.
pub(super) fn joinable(left: &DataType, right: &DataType) -> bool {
    fn plain(data_type: &DataType) -> &DataType {
        match data_type {
            DataType::Dictionary(_, values) => plain(values),
            text if data_type::is_text(text) => &DataType::Utf8,
            bytes if data_type::is_binary(bytes) => &DataType::Binary,
            other => other,
        }
    }
    data_type::is_plain(left) && plain(left) == plain(right)
}

pub(super) fn plain_key(key: &NamedExpr) -> Result<()> {
    if data_type::is_plain(&key.expr.data_type) {
        return Ok(());
    }
    let message = format!("\"{}\" is {}, which cannot be a key", key.name, key.expr.data_type);
    Err(Error::invalid_query(message).advice("use one of its parts, or its text"))
}

fn reduce(input: Arc<Node>, keys: &[Expr], aggregates: &[Aggregate]) -> Result<Node> {
    let keys = named(keys, &input.schema)?;
    keys.iter().try_for_each(plain_key)?;
    let aggregates = aggregates.iter().map(|one| one.typed(&input.schema)).collect::<Result<Vec<_>>>()?;
    if keys.is_empty() && aggregates.is_empty() {
        return Err(Error::invalid_query("there are neither keys nor aggregates"));
    }
    let mut fields = keys.iter().map(|key| field(&key.name, &key.expr)).collect::<Vec<_>>();
    fields.extend(aggregates.iter().map(TypedAggregate::field));
    unique(fields.iter().map(|field| field.name().as_str()))?;
    let schema = Arc::new(Schema::new(fields));
    Ok(Node { op: Op::Reduce { input, keys, aggregates }, schema })
}

/// The values become columns of their own first, so that the function sees the columns it was promised.
fn reduce_with(input: Arc<Node>, keys: &[Expr], values: &[Expr], function: FunctionId, name: &str) -> Result<Node> {
    let both = keys.iter().chain(values).cloned().collect::<Vec<_>>();
    let projected = Arc::new(project(Arc::clone(&input), named(&both, &input.schema)?));
    let names = projected.schema.fields().iter().take(keys.len()).map(|field| col(field.name().as_str()));
    let keys = named(&names.collect::<Vec<_>>(), &projected.schema)?;
    keys.iter().try_for_each(plain_key)?;
    let schema = Arc::clone(&projected.schema);
    Ok(Node { op: Op::ReduceWith { input: projected, keys, function, name: name.to_owned() }, schema })
}

fn distinct(input: Arc<Node>, columns: &[String]) -> Result<Node> {
    let columns = comparable(&input.schema, columns)?;
    let schema = Arc::clone(&input.schema);
    Ok(Node { op: Op::Distinct { input, columns }, schema })
}

/// Columns that can be compared, by index; all if none are named.
pub(super) fn comparable(schema: &Schema, columns: &[String]) -> Result<Vec<usize>> {
    let columns = if columns.is_empty() {
        (0..schema.fields().len()).collect()
    } else {
        columns.iter().map(|name| index_of(schema, name)).collect::<Result<Vec<_>>>()?
    };
    columns.iter().try_for_each(|&index| plain_key(&column(schema, index)))?;
    Ok(columns)
}

/// A column as it is.
pub(super) fn column(schema: &Schema, index: usize) -> NamedExpr {
    let field = schema.field(index);
    NamedExpr { name: field.name().clone(), expr: TypedExpr::column(index, field) }
}

pub(super) fn union(inputs: Vec<Arc<Node>>) -> Result<Node> {
    let Some(first) = inputs.first() else {
        return Err(Error::invalid_query("there must be at least one stream"));
    };
    let mut fields = first.schema.fields().iter().map(|field| field.as_ref().clone()).collect::<Vec<_>>();
    for (number, other) in inputs.iter().enumerate().skip(1) {
        let same = other.schema.fields().len() == fields.len()
            && other
                .schema
                .fields()
                .iter()
                .zip(&fields)
                .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
        if !same {
            return Err(Error::invalid_query(format!(
                "stream {} has {}, but the first has {}",
                number + 1,
                columns(&other.schema),
                columns(&first.schema)
            ))
            .advice("select the same columns, in the same order, with the same types, from each"));
        }
        for (field, more) in fields.iter_mut().zip(other.schema.fields()) {
            field.set_nullable(field.is_nullable() || more.is_nullable());
        }
    }
    let schema = Arc::new(Schema::new(fields));
    Ok(Node { op: Op::Union { inputs }, schema })
}

fn sort_key(key: &SortBy, schema: &Schema) -> Result<SortKey> {
    let expr = key.expr.typed(schema)?;
    if !data_type::is_plain(&expr.data_type) {
        return Err(Error::invalid_query(format!("`{expr}` is {}, which has no order", expr.data_type)));
    }
    Ok(SortKey { expr, descending: key.descending, nulls_first: key.nulls_first })
}
