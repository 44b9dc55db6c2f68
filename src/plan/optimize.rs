//! Rewrites that leave the answer as it is and make less work: one function each, in a fixed order.
//!
//! 1. `push_filters`: a filter moves below a projection whose columns it does not need, so that fewer rows are
//!    projected. Rows that are filtered out can then no longer raise an error in that projection.
//! 2. `first_of_sorted`: the first rows of all rows in order are found without putting the others in order.
//! 3. `prune`: columns that nobody looks at are left behind at the source, so that filters and joins do not copy them.
//!
//! Sources and caches are shared between branches and stay so: all rewrites stop there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::analyze::{self, Node, Op};
use super::asof::AsofJoin;
use super::keep::Keep;
use super::rules::{TypedRule, Verdict};
use super::stage::{Join, NamedExpr, SortKey};
use crate::columnar::{Schema, SchemaRef};
use crate::expr::{TypedAggregate, TypedExpr, TypedNode};

/// All rewrites, for all outputs of a query.
pub fn optimize(outputs: &[Arc<Node>]) -> Vec<Arc<Node>> {
    let mut pushed = BTreeMap::new();
    let outputs = outputs.iter().map(|node| push_filters(node, &mut pushed)).collect::<Vec<_>>();
    let mut pruner = Pruner { caches: BTreeMap::new() };
    outputs.iter().map(|node| pruner.exactly(node, &all(&node.schema))).collect()
}

/// What became of nodes, by their addresses. The nodes are kept as well: an address is a name only as long as its node
/// lives.
type Rewritten = BTreeMap<*const Node, (Arc<Node>, Arc<Node>)>;

/// Moves filters below projections, and limits into sorts. `done` keeps shared nodes shared.
fn push_filters(node: &Arc<Node>, done: &mut Rewritten) -> Arc<Node> {
    if let Some((_, rewritten)) = done.get(&Arc::as_ptr(node)) {
        return Arc::clone(rewritten);
    }
    let rewritten = if let Op::Source { .. } = node.op {
        Arc::clone(node)
    } else {
        let below = rebuilt(node, &mut |input| push_filters(input, done));
        match swapped(&below) {
            Some(swapped) => push_filters(&Arc::new(swapped), done),
            None => Arc::new(first_of_sorted(below)),
        }
    };
    // What has been rewritten is met again below a filter that moved, and must not become another node.
    for node in [node, &rewritten] {
        done.insert(Arc::as_ptr(node), (Arc::clone(node), Arc::clone(&rewritten)));
    }
    rewritten
}

/// `filter(project(rows))` as `project(filter(rows))`, if the predicate reads only columns that are passed through.
fn swapped(node: &Node) -> Option<Node> {
    let Op::Filter { input, predicate } = &node.op else { return None };
    let Op::Project { input: rows, columns } = &input.op else { return None };
    let passed = |index: usize| match &columns[index].expr.node {
        TypedNode::Column(source, _) => Some(*source),
        _ => None,
    };
    let sources = predicate.columns().into_iter().map(|index| Some((index, passed(index)?)));
    let sources = sources.collect::<Option<BTreeMap<_, _>>>()?;
    let predicate = predicate.map_columns(&|index| sources[&index]);
    let filter = Node { op: Op::Filter { input: Arc::clone(rows), predicate }, schema: Arc::clone(&rows.schema) };
    Some(Node {
        op: Op::Project { input: Arc::new(filter), columns: columns.clone() },
        schema: Arc::clone(&node.schema),
    })
}

/// `limit(sort(rows))` as a sort that keeps the first rows; anything else as it is.
fn first_of_sorted(node: Node) -> Node {
    let Op::Limit { input, rows } = &node.op else { return node };
    let Op::Sort { input, by, limit } = &input.op else { return node };
    let limit = Some(limit.map_or(*rows, |limit| limit.min(*rows)));
    Node { op: Op::Sort { input: Arc::clone(input), by: by.clone(), limit }, schema: Arc::clone(&node.schema) }
}

/// The same operation over other inputs of the same schema.
pub(super) fn rebuilt(node: &Node, with: &mut dyn FnMut(&Arc<Node>) -> Arc<Node>) -> Node {
    let op = match &node.op {
        Op::Source { source, name } => Op::Source { source: *source, name: name.clone() },
        Op::Filter { input, predicate } => Op::Filter { input: with(input), predicate: predicate.clone() },
        Op::Project { input, columns } => Op::Project { input: with(input), columns: columns.clone() },
        Op::Validate { input, rules } => Op::Validate { input: with(input), rules: rules.clone() },
        Op::Explode { input, column } => Op::Explode { input: with(input), column: *column },
        Op::Map { input, function, name } => Op::Map { input: with(input), function: *function, name: name.clone() },
        Op::Transform { input, function, name } => {
            Op::Transform { input: with(input), function: *function, name: name.clone() }
        }
        Op::Join { input, join, name } => Op::Join { input: with(input), join: join.clone(), name: name.clone() },
        Op::JoinAsof { input, join, name } => {
            Op::JoinAsof { input: with(input), join: join.clone(), name: name.clone() }
        }
        Op::Reduce { input, keys, aggregates } => {
            Op::Reduce { input: with(input), keys: keys.clone(), aggregates: aggregates.clone() }
        }
        Op::Watermark { input, watermark, column } => {
            Op::Watermark { input: with(input), watermark: watermark.clone(), column: *column }
        }
        Op::Late { input, pane, windows, watermarks } => Op::Late {
            input: with(input),
            pane: pane.clone(),
            windows: windows.clone(),
            watermarks: watermarks.clone(),
        },
        Op::Keep { input, keep } => Op::Keep { input: with(input), keep: keep.clone() },
        Op::MapState { input, map } => Op::MapState { input: with(input), map: map.clone() },
        Op::FoldWindows { input, fold } => Op::FoldWindows { input: with(input), fold: fold.clone() },
        Op::JoinStreams { input, join } => Op::JoinStreams { input: with(input), join: join.clone() },
        Op::DropDuplicates { input, drop } => Op::DropDuplicates { input: with(input), drop: drop.clone() },
        Op::ReduceWith { input, keys, function, name } => {
            Op::ReduceWith { input: with(input), keys: keys.clone(), function: *function, name: name.clone() }
        }
        Op::Distinct { input, columns } => Op::Distinct { input: with(input), columns: columns.clone() },
        Op::Union { inputs } => Op::Union { inputs: inputs.iter().map(with).collect() },
        Op::Sort { input, by, limit } => Op::Sort { input: with(input), by: by.clone(), limit: *limit },
        Op::Limit { input, rows } => Op::Limit { input: with(input), rows: *rows },
        Op::Repartition { input, partitions } => Op::Repartition { input: with(input), partitions: *partitions },
        Op::Cache { input } => Op::Cache { input: with(input) },
    };
    Node { op, schema: Arc::clone(&node.schema) }
}

type Columns = BTreeSet<usize>;

/// Where each wanted column of the old node is in the new one.
type Moved = BTreeMap<usize, usize>;

struct Pruner {
    /// Rewritten caches by the address of the old one.
    caches: Rewritten,
}

impl Pruner {
    /// The node with exactly these columns, in their order.
    fn exactly(&mut self, node: &Arc<Node>, wanted: &Columns) -> Arc<Node> {
        let (pruned, moved) = self.prune(node, wanted);
        let in_place = wanted.iter().enumerate().all(|(position, index)| moved[index] == position);
        if in_place && pruned.schema.fields().len() == wanted.len() {
            return pruned;
        }
        let columns = wanted.iter().map(|index| passed(&pruned.schema, moved[index])).collect();
        Arc::new(analyze::project(pruned, columns))
    }

    /// The node with at least these columns.
    fn prune(&mut self, node: &Arc<Node>, wanted: &Columns) -> (Arc<Node>, Moved) {
        match &node.op {
            Op::Source { .. } => source(node, wanted),
            Op::Cache { input } => {
                let rewritten = if let Some((_, done)) = self.caches.get(&Arc::as_ptr(node)) {
                    Arc::clone(done)
                } else {
                    let input = self.exactly(input, &all(&input.schema));
                    let schema = Arc::clone(&input.schema);
                    let cache = Arc::new(Node { op: Op::Cache { input }, schema });
                    self.caches.insert(Arc::as_ptr(node), (Arc::clone(node), Arc::clone(&cache)));
                    cache
                };
                (rewritten, unmoved(wanted))
            }
            Op::Filter { input, predicate } => {
                let (input, moved) = self.prune(input, &union(wanted, predicate.columns()));
                let predicate = predicate.map_columns(&|index| moved[&index]);
                let (filter, moved) = over(input, moved, |input| Op::Filter { input, predicate });
                dropped(filter, moved, wanted)
            }
            Op::Validate { input, rules } => self.validate(input, rules, wanted),
            Op::Sort { input, by, limit } => {
                let read = by.iter().flat_map(|key| key.expr.columns());
                let (input, moved) = self.prune(input, &union(wanted, read));
                let by = by
                    .iter()
                    .map(|key| SortKey { expr: key.expr.map_columns(&|index| moved[&index]), ..key.clone() })
                    .collect();
                over(input, moved, |input| Op::Sort { input, by, limit: *limit })
            }
            Op::Distinct { input, columns } => self.distinct(input, columns, wanted),
            Op::Limit { input, rows } => {
                let (input, moved) = self.prune(input, wanted);
                over(input, moved, |input| Op::Limit { input, rows: *rows })
            }
            Op::Repartition { input, partitions } => {
                let (input, moved) = self.prune(input, wanted);
                over(input, moved, |input| Op::Repartition { input, partitions: *partitions })
            }
            Op::Project { input, columns } => self.project(input, columns, wanted),
            Op::Explode { input, column } => self.explode(node, input, *column, wanted),
            Op::Join { input, join, name } => self.join(node, input, join, name, wanted),
            Op::JoinAsof { input, join, name } => self.join_asof(node, input, join, name, wanted),
            Op::Union { inputs } => self.union(node, inputs, wanted),
            Op::Reduce { input, keys, aggregates } => self.reduce(node, input, (keys, aggregates), wanted),
            Op::Watermark { input, watermark, column } => {
                let (input, moved) = self.prune(input, &union(wanted, [*column]));
                let (watermark, column) = (watermark.clone(), moved[column]);
                over(input, moved, |input| Op::Watermark { input, watermark, column })
            }
            Op::Late { input, pane, windows, watermarks } => {
                let (input, moved) = self.prune(input, &union(wanted, pane.columns()));
                let pane = pane.map_columns(&|index| moved[&index]);
                let (windows, watermarks) = (windows.clone(), watermarks.clone());
                over(input, moved, |input| Op::Late { input, pane, windows, watermarks })
            }
            Op::Keep { input, keep } => self.keep(node, input, keep, wanted),
            Op::DropDuplicates { input, drop } => {
                let shows_rows = drop.rule.as_ref().is_some_and(|rule| rule.verdict >= Verdict::Quarantine);
                let needed = if shows_rows { all(&input.schema) } else { union(wanted, drop.reads()) };
                let (input, moved) = self.prune(input, &needed);
                let drop = drop.map_columns(&|index| moved[&index]);
                over(input, moved, |input| Op::DropDuplicates { input, drop })
            }
            Op::Map { .. }
            | Op::Transform { .. }
            | Op::ReduceWith { .. }
            | Op::MapState { .. }
            | Op::FoldWindows { .. }
            | Op::JoinStreams { .. } => {
                let whole = rebuilt(node, &mut |input| self.exactly(input, &all(&input.schema)));
                (Arc::new(whole), unmoved(wanted))
            }
        }
    }

    fn reduce(
        &mut self,
        node: &Node,
        input: &Arc<Node>,
        (keys, aggregates): (&[NamedExpr], &[TypedAggregate]),
        wanted: &Columns,
    ) -> (Arc<Node>, Moved) {
        let read = keys.iter().flat_map(|key| key.expr.columns());
        let read = read.chain(aggregates.iter().flat_map(|one| one.columns())).collect::<Columns>();
        let (input, moved) = self.prune(input, &at_least_one(read, &input.schema));
        let keys = keys.iter().map(|key| renumbered(key, &moved)).collect();
        let aggregates = aggregates.iter().map(|one| one.map_columns(&|index| moved[&index])).collect();
        let op = Op::Reduce { input, keys, aggregates };
        (Arc::new(Node { op, schema: Arc::clone(&node.schema) }), unmoved(wanted))
    }

    fn keep(&mut self, node: &Node, input: &Arc<Node>, keep: &Keep, wanted: &Columns) -> (Arc<Node>, Moved) {
        let read = keep.keys.iter().flat_map(|key| key.expr.columns());
        let read = read.chain(keep.aggregates.iter().flat_map(|one| one.columns())).collect::<Columns>();
        let (input, moved) = self.prune(input, &at_least_one(read, &input.schema));
        let keys = keep.keys.iter().map(|key| renumbered(key, &moved)).collect();
        let aggregates = keep.aggregates.iter().map(|one| one.map_columns(&|index| moved[&index])).collect();
        let op = Op::Keep { input, keep: Keep { keys, aggregates, ..keep.clone() } };
        (Arc::new(Node { op, schema: Arc::clone(&node.schema) }), unmoved(wanted))
    }

    fn project(&mut self, input: &Arc<Node>, columns: &[NamedExpr], wanted: &Columns) -> (Arc<Node>, Moved) {
        let wanted = if wanted.is_empty() { Columns::from([0]) } else { wanted.clone() };
        let read = wanted.iter().flat_map(|&index| columns[index].expr.columns()).collect::<Columns>();
        let (input, moved) = self.prune(input, &at_least_one(read, &input.schema));
        let kept = wanted.iter().map(|&index| renumbered(&columns[index], &moved)).collect::<Vec<_>>();
        let moved = positions(&wanted);
        if is_identity(&kept, &input.schema) {
            return (input, moved);
        }
        (Arc::new(analyze::project(input, kept)), moved)
    }

    fn distinct(&mut self, input: &Arc<Node>, columns: &[usize], wanted: &Columns) -> (Arc<Node>, Moved) {
        let (input, moved) = self.prune(input, &union(wanted, columns.iter().copied()));
        let columns = columns.iter().map(|index| moved[index]).collect();
        over(input, moved, |input| Op::Distinct { input, columns })
    }

    /// What is shown or kept of a row that breaks a rule is all of it.
    fn validate(&mut self, input: &Arc<Node>, rules: &[TypedRule], wanted: &Columns) -> (Arc<Node>, Moved) {
        let shows_rows = rules.iter().any(|rule| rule.label.verdict >= Verdict::Quarantine);
        let read = rules.iter().flat_map(|rule| rule.test.columns());
        let needed = if shows_rows { all(&input.schema) } else { union(wanted, read) };
        let (input, moved) = self.prune(input, &at_least_one(needed, &input.schema));
        let moved_test = |rule: &TypedRule| rule.test.moved(&input.schema, &|index| moved[&index]);
        let rules = rules.iter().map(|rule| TypedRule { test: moved_test(rule), ..rule.clone() }).collect();
        let (node, moved) = over(input, moved, |input| Op::Validate { input, rules });
        dropped(node, moved, wanted)
    }

    fn explode(&mut self, node: &Node, input: &Arc<Node>, column: usize, wanted: &Columns) -> (Arc<Node>, Moved) {
        let (input, moved) = self.prune(input, &union(wanted, [column]));
        let mut fields = input.schema.fields().to_vec();
        fields[moved[&column]] = Arc::clone(&node.schema.fields()[column]);
        let op = Op::Explode { input, column: moved[&column] };
        (Arc::new(Node { op, schema: Arc::new(Schema::new(fields)) }), moved)
    }

    fn join(
        &mut self,
        node: &Node,
        input: &Arc<Node>,
        join: &Join,
        name: &str,
        wanted: &Columns,
    ) -> (Arc<Node>, Moved) {
        let left_columns = input.schema.fields().len();
        let from_left = wanted.iter().copied().filter(|&index| index < left_columns).collect::<Columns>();
        let (input, mut moved) = self.prune(input, &union(&from_left, join.left_keys.iter().copied()));
        let (schema, right_columns) = beside(&input, node, (left_columns, &join.right_columns), wanted, &mut moved);
        let join = Join {
            left_keys: join.left_keys.iter().map(|index| moved[index]).collect(),
            right_columns,
            schema: Arc::clone(&schema),
            ..join.clone()
        };
        (Arc::new(Node { op: Op::Join { input, join, name: name.to_owned() }, schema }), moved)
    }

    fn join_asof(
        &mut self,
        node: &Node,
        input: &Arc<Node>,
        join: &AsofJoin,
        name: &str,
        wanted: &Columns,
    ) -> (Arc<Node>, Moved) {
        let left_columns = input.schema.fields().len();
        let from_left = wanted.iter().copied().filter(|&index| index < left_columns).collect::<Columns>();
        let (input, mut moved) = self.prune(input, &union(&from_left, join.reads()));
        let left_time = join.left_time.map_columns(&|index| moved[&index]);
        let left_keys = join.left_keys.iter().map(|index| moved[index]).collect();
        let (schema, right_columns) = beside(&input, node, (left_columns, &join.right_columns), wanted, &mut moved);
        let join = AsofJoin { left_time, left_keys, right_columns, schema: Arc::clone(&schema), ..join.clone() };
        (Arc::new(Node { op: Op::JoinAsof { input, join, name: name.to_owned() }, schema }), moved)
    }

    fn union(&mut self, node: &Node, inputs: &[Arc<Node>], wanted: &Columns) -> (Arc<Node>, Moved) {
        let wanted = at_least_one(wanted.clone(), &node.schema);
        let inputs = inputs.iter().map(|input| self.exactly(input, &wanted)).collect();
        let fields = wanted.iter().map(|&index| Arc::clone(&node.schema.fields()[index])).collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(fields));
        (Arc::new(Node { op: Op::Union { inputs }, schema }), positions(&wanted))
    }
}

/// A source keeps its identity; what is not wanted is dropped right above it.
fn source(node: &Arc<Node>, wanted: &Columns) -> (Arc<Node>, Moved) {
    let wanted = at_least_one(wanted.clone(), &node.schema);
    if wanted.len() == node.schema.fields().len() {
        return (Arc::clone(node), unmoved(&wanted));
    }
    let columns = wanted.iter().map(|&index| passed(&node.schema, index)).collect();
    (Arc::new(analyze::project(Arc::clone(node), columns)), positions(&wanted))
}

/// An operation whose rows have the schema of its input.
fn over(input: Arc<Node>, moved: Moved, op: impl FnOnce(Arc<Node>) -> Op) -> (Arc<Node>, Moved) {
    let schema = Arc::clone(&input.schema);
    (Arc::new(Node { op: op(input), schema }), moved)
}

/// Leaves behind what only a filter has read: it need not be copied for the rows that are kept.
fn dropped(filter: Arc<Node>, moved: Moved, wanted: &Columns) -> (Arc<Node>, Moved) {
    let kept: Columns = at_least_one(wanted.iter().map(|index| moved[index]).collect(), &filter.schema);
    if wanted.is_empty() || kept.len() == filter.schema.fields().len() {
        return (filter, moved);
    }
    let columns = kept.iter().map(|&index| passed(&filter.schema, index)).collect();
    let place = positions(&kept);
    let moved = wanted.iter().map(|index| (*index, place[&moved[index]])).collect();
    (Arc::new(analyze::project(filter, columns)), moved)
}

fn passed(schema: &Schema, index: usize) -> NamedExpr {
    let field = schema.field(index);
    NamedExpr { name: field.name().clone(), expr: TypedExpr::column(index, field) }
}

fn renumbered(column: &NamedExpr, moved: &Moved) -> NamedExpr {
    NamedExpr { name: column.name.clone(), expr: column.expr.map_columns(&|index| moved[&index]) }
}

fn is_identity(columns: &[NamedExpr], schema: &SchemaRef) -> bool {
    columns.len() == schema.fields().len()
        && columns.iter().enumerate().all(|(position, column)| {
            matches!(&column.expr.node, TypedNode::Column(index, _) if *index == position)
                && column.name == *schema.field(position).name()
        })
}

fn all(schema: &Schema) -> Columns {
    (0..schema.fields().len()).collect()
}

fn union(wanted: &Columns, more: impl IntoIterator<Item = usize>) -> Columns {
    wanted.iter().copied().chain(more).collect()
}

/// A batch knows its rows by its columns: counting needs one.
fn at_least_one(wanted: Columns, schema: &Schema) -> Columns {
    if !wanted.is_empty() || schema.fields().is_empty() {
        return wanted;
    }
    let width = |index: &usize| schema.field(*index).data_type().primitive_width().unwrap_or(usize::MAX);
    (0..schema.fields().len()).min_by_key(width).into_iter().collect()
}

fn unmoved(columns: &Columns) -> Moved {
    columns.iter().map(|&index| (index, index)).collect()
}

fn positions(columns: &Columns) -> Moved {
    columns.iter().enumerate().map(|(position, &index)| (index, position)).collect()
}

/// The columns of a join's table that are wanted beside those that are left of its input: the schema of all, and which of
/// `right_columns`, which come after so many of the input, they are. `moved` learns where they lie.
fn beside(
    input: &Node,
    node: &Node,
    (left_columns, right_columns): (usize, &[usize]),
    wanted: &Columns,
    moved: &mut Moved,
) -> (SchemaRef, Vec<usize>) {
    let mut fields = input.schema.fields().to_vec();
    let mut picked = Vec::new();
    for &index in wanted.iter().filter(|&&index| index >= left_columns) {
        moved.insert(index, fields.len());
        fields.push(Arc::clone(&node.schema.fields()[index]));
        picked.push(right_columns[index - left_columns]);
    }
    (Arc::new(Schema::new(fields)), picked)
}
