//! Cuts a plan into stages: the longest runs of operations that need no regrouping.
//!
//! A run goes on through filters, projections, explosions, functions and joins with static tables. It ends where rows
//! must be regrouped (reduce, distinct, sort, limit, repartition, transform), where they are cached, and where streams
//! come together. A source that several stages read gets a stage of its own, so that it is read once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::analyze::{Node, Op};
use super::codes::Coded;
use super::keep::{Watermark, WatermarkId};
use super::rules::RuleLabel;
use super::stage::{End, SourceId, Stage, StageId, StageInput, Step};
use crate::columnar::{Schema, SchemaRef};

/// The stages of a query, in the order they run, and which of them its outputs take.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct QueryPlan {
    /// The stages; each reads only sources and earlier ones.
    pub stages: Vec<Stage>,
    /// The stage each output takes its rows from.
    pub outputs: Vec<StageId>,
    /// How far event time has come is said by these, in the order of their ids.
    pub watermarks: Vec<Watermark>,
    /// Sources that give columns of texts as codes.
    pub coded: BTreeMap<SourceId, Coded>,
}

impl QueryPlan {
    /// The columns of a source that any stage looks at, by index.
    pub fn columns_read(&self, source: SourceId) -> BTreeSet<usize> {
        self.read_of(StageInput::Source(source))
    }

    fn read_of(&self, input: StageInput) -> BTreeSet<usize> {
        let mut read = BTreeSet::new();
        for stage in self.stages.iter().filter(|stage| stage.inputs.contains(&input)) {
            let all = 0..stage.input_schema.fields().len();
            match (stage.steps.first(), &stage.end) {
                (Some(Step::Project { columns, .. }), _) => {
                    read.extend(columns.iter().flat_map(|column| column.expr.columns()));
                }
                // Rows that are passed on as they are.
                (None, End::Emit) if !self.outputs.contains(&stage.id) => {
                    read.extend(self.read_of(StageInput::Stage(stage.id)));
                }
                _ => read.extend(all),
            }
        }
        read
    }

    /// The rules of all stages, in the order of their ids.
    pub fn rules(&self) -> Vec<&RuleLabel> {
        let steps = self.stages.iter().flat_map(|stage| &stage.steps);
        let rules = steps.filter_map(|step| if let Step::Validate { rules } = step { Some(rules) } else { None });
        let of_ends = self.stages.iter().filter_map(|stage| match &stage.end {
            End::DropDuplicates(drop) => drop.rule.as_ref(),
            _ => None,
        });
        let rules = rules.flatten().map(|rule| &rule.label).chain(of_ends);
        rules.map(|rule| (rule.id, rule)).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// The stage of this id.
    pub fn stage(&self, id: StageId) -> &Stage {
        &self.stages[id.0]
    }
}

/// Cuts the plans of all outputs into stages.
pub fn fuse(outputs: &[Arc<Node>]) -> QueryPlan {
    let mut readers = BTreeMap::new();
    let mut seen = BTreeMap::new();
    for output in outputs {
        count_readers(output, &mut readers, &mut seen);
    }
    let mut fuser = Fuser {
        stages: Vec::new(),
        readers,
        sources: BTreeMap::new(),
        caches: BTreeMap::new(),
        watermarks: BTreeMap::new(),
    };
    let outputs = outputs.iter().map(|output| fuser.finished(output)).collect();
    QueryPlan {
        stages: fuser.stages,
        outputs,
        watermarks: fuser.watermarks.into_values().collect(),
        coded: BTreeMap::new(),
    }
}

/// How many operations read each source. What lies above a cache is counted once however often it is used.
fn count_readers(node: &Arc<Node>, readers: &mut BTreeMap<SourceId, usize>, caches: &mut BTreeMap<*const Node, ()>) {
    match &node.op {
        Op::Source { source, .. } => *readers.entry(*source).or_default() += 1,
        Op::Cache { .. } if caches.insert(Arc::as_ptr(node), ()).is_some() => {}
        _ => node.inputs().into_iter().for_each(|input| count_readers(input, readers, caches)),
    }
}

/// A stage that has not ended yet.
struct Open {
    inputs: Vec<StageInput>,
    input_schema: SchemaRef,
    steps: Vec<Step>,
    schema: SchemaRef,
}

struct Fuser {
    stages: Vec<Stage>,
    readers: BTreeMap<SourceId, usize>,
    sources: BTreeMap<SourceId, StageId>,
    caches: BTreeMap<*const Node, StageId>,
    watermarks: BTreeMap<WatermarkId, Watermark>,
}

impl Fuser {
    /// The stage whose rows are those of `node`.
    fn finished(&mut self, node: &Arc<Node>) -> StageId {
        let open = self.open(node);
        match (open.inputs.as_slice(), open.steps.is_empty()) {
            ([StageInput::Stage(id)], true) => *id,
            _ => self.close(open, End::Emit, &node.schema),
        }
    }

    fn close(&mut self, open: Open, end: End, output_schema: &SchemaRef) -> StageId {
        let id = StageId(self.stages.len());
        self.stages.push(Stage {
            id,
            inputs: open.inputs,
            input_schema: open.input_schema,
            steps: open.steps,
            end,
            output_schema: Arc::clone(output_schema),
        });
        id
    }

    fn after(id: StageId, schema: &SchemaRef) -> Open {
        Open {
            inputs: vec![StageInput::Stage(id)],
            input_schema: Arc::clone(schema),
            steps: Vec::new(),
            schema: Arc::clone(schema),
        }
    }

    /// Ends the stage of `input` and starts the next one behind it.
    fn cut(&mut self, input: &Arc<Node>, end: End, schema: &SchemaRef) -> Open {
        let open = self.open(input);
        let id = self.close(open, end, schema);
        Self::after(id, schema)
    }

    fn step(&mut self, input: &Arc<Node>, step: Step, schema: &SchemaRef) -> Open {
        let mut open = self.open(input);
        open.steps.push(step);
        open.schema = Arc::clone(schema);
        open
    }

    fn open(&mut self, node: &Arc<Node>) -> Open {
        let schema = &node.schema;
        match &node.op {
            Op::Source { source, .. } => self.source(*source, schema),
            Op::Filter { input, predicate } => self.step(input, Step::Filter { predicate: predicate.clone() }, schema),
            Op::Project { input, columns } => {
                self.step(input, Step::Project { columns: columns.clone(), schema: Arc::clone(schema) }, schema)
            }
            Op::Validate { input, rules } => self.step(input, Step::Validate { rules: rules.clone() }, schema),
            Op::Explode { input, column } => {
                self.step(input, Step::Explode { column: *column, schema: Arc::clone(schema) }, schema)
            }
            Op::Map { input, function, .. } => {
                self.step(input, Step::Map { function: *function, schema: Arc::clone(schema) }, schema)
            }
            Op::Join { input, join, .. } => self.step(input, Step::Join(join.clone()), schema),
            Op::JoinAsof { input, join, .. } => self.step(input, Step::JoinAsof(join.clone()), schema),
            Op::Transform { input, function, .. } => self.cut(input, End::Transform { function: *function }, schema),
            Op::Reduce { input, keys, aggregates } => {
                let end = End::Reduce { keys: keys.clone(), aggregates: aggregates.clone() };
                self.cut(input, end, schema)
            }
            Op::Watermark { input, watermark, column } => {
                self.watermarks.insert(watermark.id, watermark.clone());
                self.step(input, Step::Watermark { id: watermark.id, column: *column }, schema)
            }
            Op::Late { input, pane, windows, watermarks } => {
                let (pane, windows, watermarks) = (pane.clone(), windows.clone(), watermarks.clone());
                self.step(input, Step::Late { pane, windows, watermarks }, schema)
            }
            Op::Keep { input, keep } => self.cut(input, End::Keep(keep.clone()), schema),
            Op::MapState { input, map, .. } => self.cut(input, End::MapState(map.clone()), schema),
            Op::FoldWindows { input, fold } => self.cut(input, End::FoldWindows(fold.clone()), schema),
            Op::JoinStreams { input, join } => self.cut(input, End::JoinStreams(join.clone()), schema),
            Op::DropDuplicates { input, drop } => self.cut(input, End::DropDuplicates(drop.clone()), schema),
            Op::ReduceWith { input, keys, function, .. } => {
                self.cut(input, End::ReduceWith { keys: keys.clone(), function: *function }, schema)
            }
            Op::Distinct { input, columns } => self.cut(input, End::Distinct { columns: columns.clone() }, schema),
            Op::Sort { input, by, limit } => self.cut(input, End::Sort { by: by.clone(), limit: *limit }, schema),
            Op::Limit { input, rows } => self.cut(input, End::Limit(*rows), schema),
            Op::Repartition { input, partitions } => self.cut(input, End::Repartition(*partitions), schema),
            Op::Cache { input } => {
                let id = match self.caches.get(&Arc::as_ptr(node)) {
                    Some(id) => *id,
                    None => self.finished(input),
                };
                self.caches.insert(Arc::as_ptr(node), id);
                Self::after(id, schema)
            }
            Op::Union { inputs } => self.union(inputs, schema),
        }
    }

    fn source(&mut self, source: SourceId, schema: &SchemaRef) -> Open {
        let direct = Open {
            inputs: vec![StageInput::Source(source)],
            input_schema: Arc::clone(schema),
            steps: Vec::new(),
            schema: Arc::clone(schema),
        };
        if self.readers.get(&source).is_none_or(|&readers| readers < 2) {
            return direct;
        }
        let id = match self.sources.get(&source) {
            Some(id) => *id,
            None => self.close(direct, End::Emit, schema),
        };
        self.sources.insert(source, id);
        Self::after(id, schema)
    }

    /// Streams without steps of their own come together without a stage between.
    fn union(&mut self, inputs: &[Arc<Node>], schema: &SchemaRef) -> Open {
        let mut all = Vec::new();
        for input in inputs {
            let open = self.open(input);
            if open.steps.is_empty() {
                all.extend(open.inputs);
            } else {
                let own: &Arc<Schema> = &input.schema;
                all.push(StageInput::Stage(self.close(open, End::Emit, own)));
            }
        }
        Open { inputs: all, input_schema: Arc::clone(schema), steps: Vec::new(), schema: Arc::clone(schema) }
    }
}
