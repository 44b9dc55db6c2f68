//! Which columns of texts a source should give as codes, and the stages that take them so.
//!
//! A text that is only grouped by, compared with constants, or looked up in a table is never looked at as a text: its
//! code says as much, and costs a small part. What leaves a query, or is computed with, stays as it is. Columns of
//! outputs keep their types.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::QueryPlan;
use super::keep::{Keep, Span};
use super::rules::{TypedRule, TypedTest, Verdict};
use super::stage::{End, Join, NamedExpr, SourceId, Stage, StageInput, Step};
use crate::columnar::data_type::{coded_text, with_coded};
use crate::columnar::{DataType, SchemaRef};
use crate::expr::{CastMode, TypedAggregate, TypedExpr, TypedNode, UnaryOp};

type Columns = BTreeSet<usize>;

/// A source that gives some columns as codes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coded {
    /// These, by index.
    pub columns: BTreeSet<usize>,
    /// The stage that reads it, as it would be without codes: what it keeps is known by this.
    pub plain: Stage,
}

impl QueryPlan {
    /// The one stage that reads a source, if it reads nothing else.
    pub fn only_reader(&self, source: SourceId) -> Option<&Stage> {
        let input = StageInput::Source(source);
        let mut readers = self.stages.iter().filter(|stage| stage.inputs.contains(&input));
        let reader = readers.next().filter(|stage| stage.inputs.len() == 1)?;
        readers.next().is_none().then_some(reader)
    }

    /// Has these columns of a source, which are [`codable`] for its only reader, taken as codes.
    pub fn read_as_codes(&mut self, source: SourceId, columns: BTreeSet<usize>) {
        let Some(plain) = self.only_reader(source).cloned() else { return };
        if let Some(stage) = self.stages.get_mut(plain.id.0)
            && !columns.is_empty()
        {
            *stage = with_codes(&plain, &columns);
            self.coded.insert(source, Coded { columns, plain });
        }
    }

    /// The stage as it would be without codes.
    pub fn plain<'a>(&'a self, stage: &'a Stage) -> &'a Stage {
        self.coded.values().map(|coded| &coded.plain).find(|plain| plain.id == stage.id).unwrap_or(stage)
    }
}

/// The columns of a stage's input, by index, of which codes are enough.
pub fn codable(stage: &Stage) -> Columns {
    let texts = stage.input_schema.fields().iter().enumerate();
    let at = texts.map(|(index, field)| (*field.data_type() == DataType::Utf8).then_some(index));
    let mut uses = Uses { at: at.collect(), useful: Columns::new(), barred: Columns::new() };
    stage.steps.iter().for_each(|step| uses.step(step));
    uses.end(&stage.end);
    &uses.useful - &uses.barred
}

/// What is known of the columns of a stage's input after some of its steps.
struct Uses {
    /// For each column at present the text column of the input that it is, if it is one.
    at: Vec<Option<usize>>,
    /// Looked at in a way that codes make cheaper.
    useful: Columns,
    /// Looked at as texts.
    barred: Columns,
}

impl Uses {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Filter { predicate } => self.expression(predicate),
            Step::Project { columns, .. } => {
                let passed = |column: &NamedExpr| column.expr.as_column().and_then(|index| self.at[index]);
                let at = columns.iter().map(passed).collect();
                let computed = columns.iter().filter(|column| column.expr.as_column().is_none());
                computed.for_each(|column| self.expression(&column.expr));
                self.at = at;
            }
            Step::Validate { rules } => rules.iter().for_each(|rule| self.rule(rule)),
            Step::Join(join) => {
                self.lookup(join);
                self.at.resize(join.schema.fields().len(), None);
            }
            Step::Watermark { .. } => {}
            Step::Late { pane, .. } => self.expression(pane),
            Step::Explode { schema, .. } | Step::Map { schema, .. } => self.bar_all(schema.fields().len()),
            Step::JoinAsof(join) => self.bar_all(join.schema.fields().len()),
        }
    }

    /// A row that breaks a rule is shown, or kept, as a whole.
    fn rule(&mut self, rule: &TypedRule) {
        match &rule.test {
            TypedTest::Holds(condition) => self.expression(condition),
            TypedTest::Found(join) => self.lookup(join),
        }
        if rule.label.verdict >= Verdict::Quarantine {
            self.bar_all(self.at.len());
        }
    }

    /// Codes are looked up if they are all that is looked up.
    fn lookup(&mut self, join: &Join) {
        let keys = join.left_keys.iter().filter_map(|key| self.at[*key]);
        let into = if join.left_keys.len() == 1 { &mut self.useful } else { &mut self.barred };
        into.extend(keys);
    }

    fn end(&mut self, end: &End) {
        match end {
            End::Reduce { keys, aggregates } => self.groups(keys, aggregates),
            End::Keep(Keep { span: Span::Rows(_), .. }) => self.bar_all(0),
            End::Keep(keep) => self.groups(&keep.keys, &keep.aggregates),
            _ => self.bar_all(0),
        }
    }

    fn groups(&mut self, keys: &[NamedExpr], aggregates: &[TypedAggregate]) {
        for key in keys {
            match key.expr.as_column() {
                Some(index) => self.useful.extend(self.at[index]),
                None => self.expression(&key.expr),
            }
        }
        let exprs = aggregates.iter().flat_map(|one| one.input.iter().chain(&one.filter));
        exprs.for_each(|expr| self.expression(expr));
    }

    fn expression(&mut self, expr: &TypedExpr) {
        let text = |of: &TypedExpr| of.as_column().and_then(|index| self.at[index]);
        let by_code = match &expr.node {
            TypedNode::Binary(left, op, right) if op.is_comparison() => match (text(left), text(right)) {
                (Some(column), None) if right.as_literal().is_some() => Some(column),
                (None, Some(column)) if left.as_literal().is_some() => Some(column),
                _ => None,
            },
            TypedNode::IsIn(input, _) | TypedNode::Unary(UnaryOp::IsNull | UnaryOp::IsNotNull, input) => text(input),
            _ => None,
        };
        match (by_code, expr.as_column()) {
            (Some(column), _) => {
                self.useful.insert(column);
            }
            (None, Some(index)) => self.barred.extend(self.at[index]),
            (None, None) => expr.children().into_iter().for_each(|child| self.expression(child)),
        }
    }

    /// All columns are looked at as texts; after that there are so many, and none is known.
    fn bar_all(&mut self, columns: usize) {
        let barred = std::mem::replace(&mut self.at, vec![None; columns]);
        self.barred.extend(barred.into_iter().flatten());
    }
}

/// The stage over an input of which these columns, all of them [`codable`], are codes.
fn with_codes(stage: &Stage, columns: &Columns) -> Stage {
    let mut coded = Renewed(columns.clone());
    let input_schema = coded.schema(&stage.input_schema);
    let steps = stage.steps.iter().map(|step| coded.step(step)).collect();
    Stage { input_schema, steps, end: coded.end(&stage.end), ..stage.clone() }
}

/// The columns that are codes after some steps, by index.
struct Renewed(Columns);

impl Renewed {
    fn schema(&self, schema: &SchemaRef) -> SchemaRef {
        with_coded(schema, &self.0)
    }

    /// The expression over these columns. Where texts are compared with constants, codes may stand as well.
    fn expression(&self, expr: &TypedExpr) -> TypedExpr {
        expr.replace_columns(&|column| match column.as_column() {
            Some(index) if self.0.contains(&index) => TypedExpr { data_type: coded_text(), ..column.clone() },
            _ => column.clone(),
        })
    }

    fn step(&mut self, step: &Step) -> Step {
        match step {
            Step::Filter { predicate } => Step::Filter { predicate: self.expression(predicate) },
            Step::Project { columns, schema } => {
                let renewed = |column: &NamedExpr| NamedExpr { expr: self.expression(&column.expr), ..column.clone() };
                let columns: Vec<NamedExpr> = columns.iter().map(renewed).collect();
                let passed = |column: &NamedExpr| column.expr.as_column().is_some_and(|index| self.0.contains(&index));
                let places = columns.iter().enumerate().filter(|(_, column)| passed(column));
                self.0 = places.map(|(place, _)| place).collect();
                Step::Project { columns, schema: self.schema(schema) }
            }
            Step::Validate { rules } => {
                let rule = |rule: &TypedRule| TypedRule { test: self.test(&rule.test), ..rule.clone() };
                Step::Validate { rules: rules.iter().map(rule).collect() }
            }
            Step::Join(join) => Step::Join(self.join(join)),
            Step::Late { pane, windows, watermarks } => {
                let (windows, watermarks) = (windows.clone(), watermarks.clone());
                Step::Late { pane: self.expression(pane), windows, watermarks }
            }
            // Columns of texts go through these as texts, or not at all.
            Step::Watermark { .. } | Step::Explode { .. } | Step::Map { .. } | Step::JoinAsof(_) => step.clone(),
        }
    }

    fn test(&self, test: &TypedTest) -> TypedTest {
        match test {
            TypedTest::Holds(condition) => TypedTest::Holds(self.expression(condition)),
            TypedTest::Found(join) => TypedTest::Found(self.join(join)),
        }
    }

    /// What a join adds stands behind the columns of the stream.
    fn join(&self, join: &Join) -> Join {
        Join { schema: self.schema(&join.schema), ..join.clone() }
    }

    fn end(&self, end: &End) -> End {
        match end {
            End::Reduce { keys, aggregates } => {
                End::Reduce { keys: self.keys(keys), aggregates: self.aggregates(aggregates) }
            }
            End::Keep(keep) => End::Keep(Keep {
                keys: self.keys(&keep.keys),
                aggregates: self.aggregates(&keep.aggregates),
                ..keep.clone()
            }),
            other => other.clone(),
        }
    }

    /// Groups have texts for keys, whatever finds them.
    fn keys(&self, keys: &[NamedExpr]) -> Vec<NamedExpr> {
        let key = |key: &NamedExpr| {
            let expr = self.expression(&key.expr);
            let is_coded = key.expr.as_column().is_some_and(|index| self.0.contains(&index));
            let (data_type, nullable) = (key.expr.data_type.clone(), expr.nullable);
            let text =
                |expr| TypedExpr { node: TypedNode::Cast(Box::new(expr), CastMode::Checked), data_type, nullable };
            NamedExpr { expr: if is_coded { text(expr) } else { expr }, ..key.clone() }
        };
        keys.iter().map(key).collect()
    }

    fn aggregates(&self, aggregates: &[TypedAggregate]) -> Vec<TypedAggregate> {
        let renewed = |expr: &Option<TypedExpr>| expr.as_ref().map(|expr| self.expression(expr));
        let one = |one: &TypedAggregate| TypedAggregate {
            input: renewed(&one.input),
            filter: renewed(&one.filter),
            ..one.clone()
        };
        aggregates.iter().map(one).collect()
    }
}
