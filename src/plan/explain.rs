//! Plans as text, for people: what was said, what was made of it, and what runs where.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::fuse::QueryPlan;
use super::initial::Initial;
use super::keep::{Best, Keep};
use super::logical::{FoldWindowsDescribed, LogicalPlan, MapInput, Over, Remember};
use super::operator::{Memory, Operator};
use super::stage::{End, Join, JoinKind, NamedExpr, Registry, SortKey, Stage, StageInput, Step};
use crate::columnar::{Field, Schema};

/// The logical plan, an operation a line, inputs indented below.
pub fn logical(plan: &Arc<LogicalPlan>) -> String {
    let mut text = String::new();
    logical_into(plan, 0, &mut text);
    text
}

fn logical_into(plan: &LogicalPlan, depth: usize, text: &mut String) {
    let detail = match plan {
        LogicalPlan::Source { name, schema, .. } => format!("{name}: {}", columns(schema)),
        LogicalPlan::Select { columns, .. } | LogicalPlan::WithColumns { columns, .. } => list(columns),
        LogicalPlan::Filter { predicate, .. } => predicate.to_string(),
        LogicalPlan::Validate { rules, .. } => list(rules),
        LogicalPlan::Explode { column, .. } => column.clone(),
        LogicalPlan::Map { name, takes: MapInput::Lines | MapInput::Batch, schema, .. }
        | LogicalPlan::Transform { name, schema, .. } => format!("{name} -> {}", columns(schema)),
        LogicalPlan::Join { name, on, kind, .. } => {
            let on = on.iter().map(|(left, right)| format!("{left} = {name}.{right}")).collect::<Vec<_>>();
            format!("{} {name} on {}", kind_name(*kind), on.join(", "))
        }
        LogicalPlan::JoinAsof(described) => {
            let name = &described.name;
            let on = described.on.iter().map(|(left, right)| format!("{left} = {name}.{right}, ")).collect::<String>();
            let tolerance = described.tolerance.map(|most| format!(" within {most:?}")).unwrap_or_default();
            let ((left, right), strategy) = (&described.times, described.strategy);
            format!("{name} on {on}{strategy} from {left} to {name}.{right}{tolerance}")
        }
        LogicalPlan::Reduce { keys, aggregates, .. } if keys.is_empty() => list(aggregates),
        LogicalPlan::Reduce { keys, aggregates, .. } => format!("[{}] {}", list(keys), list(aggregates)),
        LogicalPlan::Watermark { column, delay, idle_after, .. } => {
            let idle = idle_after.map(|idle| format!(", idle after {idle:?}")).unwrap_or_default();
            format!("{column}, {delay:?} late at most{idle}")
        }
        LogicalPlan::Late { window, .. } => window.to_string(),
        LogicalPlan::Keep { keys, aggregates, over, ttl, initial, mode, .. } => {
            let over = match over {
                Over::Always | Over::Event => String::new(),
                Over::Rows { size, slide } => format!(" over {size} rows every {slide}"),
                Over::Batches { size, slide: None } => format!(" over {size:?}"),
                Over::Batches { size, slide: Some(slide) } => format!(" over {size:?} every {slide:?}"),
            };
            let mode = mode.map(|mode| format!(", {mode}")).unwrap_or_default();
            let ttl = ttl.map(|ttl| format!(", for {ttl:?} without rows")).unwrap_or_default();
            let from = initial.as_ref().map(|initial| format!(", from {}", initial.name)).unwrap_or_default();
            format!("[{}] {}{over}{ttl}{from}{mode}", list(keys), list(aggregates))
        }
        LogicalPlan::MapState(described) => {
            let (keys, values) = (list(&described.keys), list(&described.values));
            let mode = described.mode.map(|mode| format!(", {mode}")).unwrap_or_default();
            let from = described.initial.as_ref().map(|initial| format!(", from {}", initial.name)).unwrap_or_default();
            format!("[{keys}] closure({values}) with {}{from}{mode}", described.state_type)
        }
        LogicalPlan::FoldWindows(described) => fold_windows(described),
        LogicalPlan::JoinStreams(described) => {
            let on = described.on.iter().map(|(left, right)| format!("{left} = {right}")).collect::<Vec<_>>();
            let ((left, right), before, after) = (&described.times, described.before, described.after);
            let (kind, on) = (described.kind.name(), on.join(", "));
            match (described.takes_latest, before) {
                (false, _) => format!("{kind} on {on}, {right} from {before:?} before to {after:?} after {left}"),
                (true, Duration::MAX) => format!("{kind} on {on}, backward from {left} to {right}"),
                (true, _) => format!("{kind} on {on}, backward from {left} to {right} within {before:?}"),
            }
        }
        LogicalPlan::DropDuplicates { columns, memory, .. } => {
            let columns = if columns.is_empty() { "all columns".to_owned() } else { columns.join(", ") };
            match memory {
                Remember::Always => columns,
                Remember::Batches(ttl) => format!("{columns}, for {ttl:?}"),
                Remember::WithinWatermark => format!("{columns}, within the watermark"),
                Remember::Window(size) => format!("{columns}, in windows of {size:?}"),
            }
        }
        LogicalPlan::ReduceWith { keys, values, name, .. } => format!("[{}] {name}({})", list(keys), list(values)),
        LogicalPlan::Distinct { columns, .. } if columns.is_empty() => "all columns".to_owned(),
        LogicalPlan::Distinct { columns, .. } => columns.join(", "),
        LogicalPlan::Sort { by, limit, .. } => {
            let by = by.iter().map(|key| order(&key.expr, key.descending, key.nulls_first)).collect::<Vec<_>>();
            let limit = limit.map(|rows| format!(", first {rows}")).unwrap_or_default();
            format!("{}{limit}", by.join(", "))
        }
        LogicalPlan::Limit { rows, .. } => rows.to_string(),
        LogicalPlan::Repartition { partitions, .. } => partitions.to_string(),
        LogicalPlan::Union { .. } | LogicalPlan::Cache { .. } => String::new(),
    };
    let line = format!("{:indent$}{} {detail}", "", plan.operation(), indent = depth * 2);
    text.push_str(line.trim_end());
    text.push('\n');
    plan.inputs().into_iter().for_each(|input| logical_into(input, depth + 1, text));
}

fn fold_windows(described: &FoldWindowsDescribed) -> String {
    let (keys, values) = (list(&described.keys), list(&described.values));
    let slide = described.slide.map(|slide| format!(" every {slide:?}")).unwrap_or_default();
    let inverse = if described.has_inverse { " and its inverse" } else { "" };
    format!("[{keys}] closure({values}){inverse} over {:?}{slide}", described.size)
}

/// The stages, each with its inputs, its steps, its end, and what `runs_on` says of it.
pub fn physical(
    plan: &QueryPlan,
    registry: &Registry,
    source_names: &[String],
    runs_on: &dyn Fn(&Stage) -> String,
) -> String {
    let mut text = String::new();
    for stage in &plan.stages {
        let inputs = stage.inputs.iter().map(|input| match input {
            StageInput::Source(id) => source_names.get(id.0).map_or_else(|| format!("source {}", id.0), Clone::clone),
            StageInput::Stage(id) => format!("stage {}", id.0),
        });
        let inputs = inputs.collect::<Vec<_>>().join(" + ");
        let _ = writeln!(text, "stage {} of {inputs}, on {}", stage.id.0, runs_on(stage));
        for step in &stage.steps {
            let _ = writeln!(text, "  {}", describe_step(step, registry));
        }
        let _ = writeln!(text, "  {}", describe_end(stage, registry));
    }
    text
}

fn describe_step(step: &Step, registry: &Registry) -> String {
    match step {
        Step::Filter { predicate } => format!("filter {predicate}"),
        Step::Project { columns, .. } => format!("project {}", named(columns)),
        Step::Validate { rules } => {
            let rules =
                rules.iter().map(|rule| format!("{} or {}", rule.label.name, rule.label.verdict)).collect::<Vec<_>>();
            format!("validate {}", rules.join(", "))
        }
        Step::Explode { schema, column } => format!("explode {}", schema.field(*column).name()),
        Step::Map { function, .. } => {
            let name = registry.function(*function).map_or("?", |(name, _)| name);
            format!("map {name}, a closure: runs on the CPU")
        }
        Step::Join(Join { kind, table, .. }) => {
            let (name, rows) = registry.table(*table).map_or(("?", 0), |(name, table)| (name, table.num_rows()));
            format!("join {} {name}, {rows} rows", kind_name(*kind))
        }
        Step::JoinAsof(join) => {
            let (name, rows) = registry.table(join.table).map_or(("?", 0), |(name, table)| (name, table.num_rows()));
            format!("join {} {name} by time, {rows} rows", join.strategy)
        }
        Step::Watermark { id, .. } => format!("watermark {}", id.0),
        Step::Late { windows, .. } => format!("rows too late for {windows}"),
    }
}

fn describe_end(stage: &Stage, registry: &Registry) -> String {
    match &stage.end {
        End::Emit => format!("emit {}", columns(&stage.output_schema)),
        End::Reduce { keys, aggregates } if aggregates.is_empty() => format!("reduce by [{}]", named(keys)),
        End::Reduce { keys, aggregates } => format!("reduce by [{}] to {}", named(keys), list(aggregates)),
        End::Keep(keep) => format!(
            "keep \"{}\" by [{}]: {} {}{}{}, {}{}",
            keep.name,
            named(&keep.keys),
            list(&keep.aggregates),
            keep.span,
            keep.ttl.map(|ttl| format!(", for {ttl:?} without rows")).unwrap_or_default(),
            begins(keep.initial.as_ref(), registry),
            keep.mode,
            taken(keep, &stage.output_schema)
        ),
        End::MapState(map) => {
            let name = registry.state_function(map.function).map_or("?", |(name, _)| name);
            let ttl = map.ttl.map(|ttl| format!(", for {ttl:?} without rows")).unwrap_or_default();
            let (keys, state) = (named(&map.keys), &map.state_type);
            let from = begins(map.initial.as_ref(), registry);
            format!("keep \"{}\" by [{keys}]: {state}{ttl}{from}, by {name}, a closure: runs on the CPU", map.name)
        }
        End::FoldWindows(fold) => {
            let name = registry.fold_function(fold.function).map_or("?", |(name, _)| name);
            format!("keep \"{}\": {}, by {name}, a closure: runs on the CPU", fold.name, fold.description())
        }
        End::JoinStreams(join) => {
            let how = if join.takes_latest { ", as of" } else { "" };
            let (keys, kind) = (named(&join.keys), join.kind.name());
            format!("keep \"{}\": rows of two streams by [{keys}], {kind}{how}", join.name)
        }
        End::DropDuplicates(drop) => {
            let memory = match &drop.memory {
                Memory::Always => String::new(),
                Memory::Batches(ttl) => format!(", for {ttl:?}"),
                Memory::Watermark { time, delay, .. } => format!(", within {delay:?} of {}", time.name),
                Memory::Window { windows, .. } => format!(", in {windows}"),
            };
            let rule = drop.rule.as_ref();
            let rule = rule.map(|rule| format!(", {} or {}", rule.name, rule.verdict)).unwrap_or_default();
            format!("keep \"{}\": rows seen by [{}]{memory}{rule}", drop.name, named(&drop.columns))
        }
        End::Distinct { columns } => {
            let names = columns.iter().map(|&index| stage.output_schema.field(index).name().as_str());
            format!("distinct by {}", names.collect::<Vec<_>>().join(", "))
        }
        End::ReduceWith { keys, function } => {
            let name = registry.group_function(*function).map_or("?", |(name, _)| name);
            format!("reduce by [{}] with {name}, a closure: runs on the CPU", named(keys))
        }
        End::Sort { by, limit } => {
            let order_of = |key: &SortKey| order(&key.expr, key.descending, key.nulls_first);
            let by = by.iter().map(order_of).collect::<Vec<_>>().join(", ");
            limit.map_or_else(|| format!("sort by {by}"), |rows| format!("first {rows} by {by}"))
        }
        End::Limit(rows) => format!("first {rows}"),
        End::Repartition(partitions) => format!("repartition to {partitions}"),
        End::Transform { function } => {
            let name = registry.function(*function).map_or("?", |(name, _)| name);
            format!("transform by {name}, a closure on the whole batch: runs on the CPU")
        }
    }
}

/// Which rows are taken, if not all are.
fn taken(keep: &Keep, schema: &Schema) -> String {
    let column = |best: &Best| schema.fields().get(best.column).map_or("?", |field| field.name().as_str()).to_owned();
    let text =
        |best: &Best| format!(", first {} by {}", best.rows, order(&column(best), best.descending, best.nulls_first));
    keep.best.as_ref().map(text).unwrap_or_default()
}

/// What state begins with.
fn begins(initial: Option<&Initial>, registry: &Registry) -> String {
    let table =
        initial.map(|initial| registry.table(initial.table).map_or(("?", 0), |(name, rows)| (name, rows.num_rows())));
    table.map(|(name, rows)| format!(", from {name}, {rows} rows")).unwrap_or_default()
}

fn order(expr: &dyn std::fmt::Display, descending: bool, nulls_first: bool) -> String {
    format!("{expr}{}{}", if descending { " desc" } else { "" }, if nulls_first { " nulls first" } else { "" })
}

fn kind_name(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::Inner => "inner",
        JoinKind::Left => "left",
        JoinKind::Semi => "semi",
        JoinKind::Anti => "anti",
    }
}

fn named(columns: &[NamedExpr]) -> String {
    let one = |column: &NamedExpr| {
        let text = column.expr.to_string();
        if text == column.name { text } else { format!("{text} AS {}", column.name) }
    };
    columns.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The columns of a schema, with their types.
pub(super) fn columns(schema: &Schema) -> String {
    let one = |field: &Arc<Field>| format!("{} {}", field.name(), field.data_type());
    schema.fields().iter().map(one).collect::<Vec<_>>().join(", ")
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
