//! The steps of a stage, ready to run: each makes a batch of a batch.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatchOptions};

use super::event_time;
use super::explode::explode;
use super::filter::Filter;
use super::function::Function;
use super::join::PreparedJoin;
use super::join_asof::PreparedAsof;
use super::project::{Program, picked};
use super::seen::{Effect, Seen};
use super::validate::Validate;
use crate::columnar::{DataType, RecordBatch, SchemaRef, TimeUnit, data_type};
use crate::error::{Error, Result};
use crate::expr::{TypedExpr, TypedNode};
use crate::plan::keep::{WatermarkId, Windows};
use crate::plan::stage::{NamedExpr, Registry, Step};

/// A step, ready to run.
pub(super) enum Ready {
    /// Columns as they are, by index.
    Pick(Vec<usize>, SchemaRef),
    /// The kept rows, and of them these columns if not all are wanted.
    Filter(Filter, Option<(Vec<usize>, SchemaRef)>),
    Project(Vec<Program>, SchemaRef),
    Validate(Validate),
    Explode(usize, SchemaRef),
    Map(Function),
    Join(PreparedJoin),
    JoinAsof(Box<PreparedAsof>),
    Watermark {
        id: WatermarkId,
        column: usize,
        unit: TimeUnit,
    },
    Late {
        pane: Program,
        windows: Windows,
    },
}

impl Ready {
    pub(super) fn prepare(step: &Step, input: &SchemaRef, registry: &Registry) -> Result<(Self, SchemaRef)> {
        let picked = |column: &NamedExpr| match column.expr.node {
            TypedNode::Column(index, _) => Some(index),
            _ => None,
        };
        Ok(match step {
            Step::Filter { predicate } => (Self::Filter(Filter::prepare(predicate)?, None), Arc::clone(input)),
            Step::Project { columns, schema } => match columns.iter().map(picked).collect() {
                Some(picked) => (Self::Pick(picked, Arc::clone(schema)), Arc::clone(schema)),
                None => (Self::Project(programs(columns)?, Arc::clone(schema)), Arc::clone(schema)),
            },
            Step::Validate { rules } => (Self::Validate(Validate::prepare(rules, registry)?), Arc::clone(input)),
            Step::Explode { column, schema } => (Self::Explode(*column, Arc::clone(schema)), Arc::clone(schema)),
            Step::Map { function, schema } => {
                let (name, call) = registry.function(*function)?;
                let function = Function { name: name.to_owned(), call: Arc::clone(call), schema: Arc::clone(schema) };
                (Self::Map(function), Arc::clone(schema))
            }
            Step::Join(join) => {
                let (_, table) = registry.table(join.table)?;
                (Self::Join(PreparedJoin::prepare(join, table)?), Arc::clone(&join.schema))
            }
            Step::JoinAsof(join) => {
                let (_, table) = registry.table(join.table)?;
                (Self::JoinAsof(Box::new(PreparedAsof::prepare(join, table)?)), Arc::clone(&join.schema))
            }
            Step::Watermark { id, column } => {
                let DataType::Timestamp(unit, _) = input.field(*column).data_type() else {
                    return Err(Error::internal("a watermark over a column that is no time"));
                };
                (Self::Watermark { id: *id, column: *column, unit: *unit }, Arc::clone(input))
            }
            Step::Late { pane, windows, .. } => {
                (Self::Late { pane: Program::prepare(pane)?, windows: windows.clone() }, Arc::clone(input))
            }
        })
    }

    /// What it does to the number of rows.
    pub(super) fn effect(&self) -> Effect {
        match self {
            Self::Filter(..) | Self::Late { .. } | Self::Join(_) => Effect::Filters,
            Self::Explode(..) | Self::Map(_) => Effect::Changes,
            _ => Effect::None,
        }
    }

    /// Runs the step; `horizon` is how far event time had come before the batch.
    pub(super) fn run(
        &self,
        batch: &RecordBatch,
        horizon: Option<i64>,
        Seen { sighting, findings, .. }: &mut Seen,
    ) -> Result<RecordBatch> {
        match self {
            Self::Validate(validate) => validate.apply(batch, findings),
            Self::Watermark { id, column, unit } => {
                event_time::note_newest(batch.column(*column), *unit, *id, sighting)?;
                Ok(batch.clone())
            }
            Self::Late { pane, windows } => {
                let open = horizon.map(|horizon| windows.first_open_pane(horizon));
                event_time::late_rows(batch, &pane.evaluate(batch)?, open)
            }
            Self::Pick(columns, schema) => picked(batch, columns, schema),
            Self::Filter(filter, None) => filter.apply(batch),
            Self::Filter(filter, Some((columns, schema))) => {
                filter.mask(batch)?.apply(&picked(batch, columns, schema)?)
            }
            Self::Project(programs, schema) => {
                let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                let columns = evaluate(programs, batch)?;
                Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
            }
            Self::Explode(column, schema) => explode(batch, *column, schema),
            Self::Map(function) => function.call(batch),
            Self::Join(join) => join.probe(batch),
            Self::JoinAsof(join) => join.probe(batch),
        }
    }
}

pub(super) fn programs(columns: &[NamedExpr]) -> Result<Vec<Program>> {
    columns.iter().map(|column| Program::prepare(&column.expr)).collect()
}

/// As [`programs`]; of a dictionary that is cast to the type of its values the codes, by which groups are found as well.
pub(super) fn key_programs(keys: &[NamedExpr]) -> Result<Vec<Program>> {
    keys.iter().map(|key| Program::prepare(read_key(&key.expr))).collect()
}

/// A key as it is read: a text that comes as codes stays codes.
pub(super) fn read_key(key: &TypedExpr) -> &TypedExpr {
    match &key.node {
        TypedNode::Cast(input, _) if data_type::is_text(&key.data_type) && codes_of(&key.data_type, input) => input,
        _ => key,
    }
}

fn codes_of(values: &DataType, codes: &TypedExpr) -> bool {
    matches!(&codes.data_type, DataType::Dictionary(_, of) if **of == *values)
}

pub(super) fn evaluate(programs: &[Program], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    programs.iter().map(|program| program.evaluate(batch)).collect()
}
