//! The reference backend: whole stages by the slow, obvious kernels that all others are tested against.
//!
//! It gathers all rows of a partition, runs one step after the other over them, and then the end over all partitions.
//! Nothing is fused, nothing is clever. Choose it (`device = "reference"`) to find out who is wrong.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatchOptions};
use arrow_select::concat::concat_batches;

use super::reduce::ReduceInput;
use super::{Backend, Partial, Partitions, PreparedStage, StageTask};
use super::{explode, filter, group_ids, join, join_asof, project, reduce, repartition, sort, stored, user_function};
use crate::columnar::{Field, RecordBatch, SchemaRef};
use crate::error::{Error, Result};
use crate::expr::{TypedAggregate, TypedExpr};
use crate::plan::stage::{End, FunctionId, NamedExpr, Registry, Stage, Step};

/// The backend that runs the references.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReferenceBackend;

impl ReferenceBackend {
    /// The backend.
    pub fn new() -> Self {
        Self
    }
}

impl Backend for ReferenceBackend {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn supports(&self, stage: &Stage) -> Result<(), String> {
        let asks = stage.steps.iter().any(|step| matches!(step, Step::Late { .. } | Step::Watermark { .. }));
        if stage.steps.iter().any(|step| matches!(step, Step::Validate { .. })) {
            return Err("it counts nothing".to_owned());
        }
        match asks || stage.operator().is_some() {
            true => Err("it keeps nothing from batch to batch".to_owned()),
            false => Ok(()),
        }
    }

    fn prepare(&self, stage: &Stage, registry: &Registry) -> Result<Arc<dyn PreparedStage>> {
        Ok(Arc::new(ReferenceStage { stage: stage.clone(), registry: registry.clone() }))
    }
}

struct ReferenceStage {
    stage: Stage,
    registry: Registry,
}

/// Gathers the rows of a partition; all work is done when the partitions are merged.
struct Gather(Vec<RecordBatch>);

impl StageTask for Gather {
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.push(batch.clone());
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Partial> {
        Ok(Partial::Rows(self.0))
    }
}

impl PreparedStage for ReferenceStage {
    fn begin(&self) -> Result<Box<dyn StageTask>> {
        Ok(Box::new(Gather(Vec::new())))
    }

    fn merge(&self, partials: Vec<Partial>) -> Result<Partitions> {
        let mut partitions = Partitions::new();
        for partial in partials {
            let rows = partial.into_rows()?.into_iter();
            partitions.push(rows.map(|batch| self.steps(batch)).collect::<Result<_>>()?);
        }
        match &self.stage.end {
            End::Emit => Ok(partitions),
            End::Reduce { keys, aggregates } => Ok(vec![vec![reduced(&partitions, keys, aggregates)?]]),
            _ => self.end(&partitions.concat()),
        }
    }

    fn store(&self, partials: Vec<Partial>) -> Result<RecordBatch> {
        let rows = partials.into_iter().map(Partial::into_rows).collect::<Result<Partitions>>()?.concat();
        let rows = concat_batches(&self.stage.input_schema, &rows)?;
        Ok(rows.with_schema(stored::stamped(self.stage.input_schema.as_ref().clone()))?)
    }

    fn restore(&self, batch: &RecordBatch) -> Result<Partial> {
        stored::check(batch, &self.stage.input_schema)?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::clone(&self.stage.input_schema);
        Ok(Partial::Rows(vec![RecordBatch::try_new_with_options(schema, batch.columns().to_vec(), &options)?]))
    }
}

impl ReferenceStage {
    /// The schema of the rows that reach the end.
    fn end_schema(&self) -> SchemaRef {
        let after = |step: &Step| match step {
            Step::Filter { .. } | Step::Validate { .. } | Step::Watermark { .. } | Step::Late { .. } => None,
            Step::Project { schema, .. } | Step::Explode { schema, .. } | Step::Map { schema, .. } => {
                Some(Arc::clone(schema))
            }
            Step::Join(join) => Some(Arc::clone(&join.schema)),
            Step::JoinAsof(join) => Some(Arc::clone(&join.schema)),
        };
        self.stage.steps.iter().rev().find_map(after).unwrap_or_else(|| Arc::clone(&self.stage.input_schema))
    }

    fn steps(&self, batch: RecordBatch) -> Result<RecordBatch> {
        self.stage.steps.iter().try_fold(batch, |batch, step| match step {
            Step::Filter { predicate } => filter::reference(&batch, predicate),
            Step::Project { columns, schema } => {
                let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                Ok(RecordBatch::try_new_with_options(Arc::clone(schema), named(columns, &batch)?, &options)?)
            }
            Step::Explode { column, schema } => explode::reference(&batch, *column, schema),
            Step::Map { function, schema } => self.call(*function, &batch, schema),
            Step::Join(join) => join::reference(join, self.registry.table(join.table)?.1, &batch),
            Step::JoinAsof(join) => join_asof::reference(join, self.registry.table(join.table)?.1, &batch),
            Step::Validate { .. } | Step::Watermark { .. } | Step::Late { .. } => Err(refused()),
        })
    }

    fn call(&self, function: FunctionId, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        let (name, function) = self.registry.function(function)?;
        user_function::call(name, function.as_ref(), batch, schema)
    }

    fn end(&self, rows: &[RecordBatch]) -> Result<Partitions> {
        let schema = self.end_schema();
        let one = |batch: RecordBatch| Ok(vec![vec![batch]]);
        match &self.stage.end {
            End::Emit => Ok(vec![rows.to_vec()]),
            End::Limit(limit) => Ok(vec![repartition::reference_limit(rows, *limit)]),
            End::Repartition(partitions) => Ok(repartition::reference(rows, *partitions)),
            End::Transform { function } => {
                one(self.call(*function, &concat_batches(&schema, rows)?, &self.stage.output_schema)?)
            }
            End::Distinct { columns } => one(distinct(&concat_batches(&schema, rows)?, columns)?),
            End::Reduce { keys, aggregates } => one(reduced(&[rows.to_vec()], keys, aggregates)?),
            End::Keep(_) | End::MapState(_) | End::FoldWindows(_) | End::DropDuplicates(_) | End::JoinStreams(_) => {
                Err(refused())
            }
            End::ReduceWith { keys, function } => {
                let all = concat_batches(&schema, rows)?;
                let mut groups = group_ids::Reference::default();
                let ids = groups.assign(&named(keys, &all)?, all.num_rows())?;
                let (name, function) = self.registry.group_function(*function)?;
                let made = (0..groups.keys.len())
                    .map(|group| user_function::call_group(name, function.as_ref(), &rows_of(&all, &ids, group)?));
                one(concat_batches(&schema, &made.collect::<Result<Vec<_>>>()?)?)
            }
            End::Sort { by, limit } => {
                let keys = rows.iter().map(|batch| {
                    by.iter().map(|key| project::reference(&key.expr, batch)).collect::<Result<Vec<ArrayRef>>>()
                });
                one(sort::reference(&schema, rows, &keys.collect::<Result<Vec<_>>>()?, &sort::options(by), *limit)?)
            }
        }
    }
}

fn refused() -> Error {
    Error::internal("the reference backend was given a stage that it had refused")
}

fn named(columns: &[NamedExpr], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    columns.iter().map(|column| project::reference(&column.expr, batch)).collect()
}

fn reduced(partitions: &[Vec<RecordBatch>], keys: &[NamedExpr], aggregates: &[TypedAggregate]) -> Result<RecordBatch> {
    let optional =
        |expr: Option<&TypedExpr>, batch: &RecordBatch| expr.map(|expr| project::reference(expr, batch)).transpose();
    let input = |batch: &RecordBatch| {
        let filter =
            |one: &TypedAggregate| Ok(optional(one.filter.as_ref(), batch)?.map(|filter| filter.as_boolean().clone()));
        Ok(ReduceInput {
            keys: named(keys, batch)?,
            inputs: aggregates.iter().map(|one| optional(one.input.as_ref(), batch)).collect::<Result<_>>()?,
            filters: aggregates.iter().map(filter).collect::<Result<_>>()?,
            rows: batch.num_rows(),
        })
    };
    let cuts = partitions.iter().map(|rows| rows.iter().map(input).collect::<Result<Vec<_>>>());
    let cuts = cuts.collect::<Result<Vec<_>>>()?;
    let field = |key: &NamedExpr| Field::new(key.name.as_str(), key.expr.data_type.clone(), key.expr.nullable);
    reduce::reference_of_cuts(&keys.iter().map(field).collect::<Vec<_>>(), aggregates, &cuts)
}

/// The rows of one group, in order.
fn rows_of(all: &RecordBatch, ids: &[usize], group: usize) -> Result<RecordBatch> {
    let rows = (0..all.num_rows()).filter(|&row| ids[row] == group).map(|row| all.slice(row, 1)).collect::<Vec<_>>();
    Ok(concat_batches(all.schema_ref(), &rows)?)
}

fn distinct(all: &RecordBatch, columns: &[usize]) -> Result<RecordBatch> {
    let keys = columns.iter().map(|&column| Arc::clone(all.column(column))).collect::<Vec<_>>();
    let mut groups = group_ids::Reference::default();
    let ids = groups.assign(&keys, all.num_rows())?;
    let firsts = (0..groups.keys.len()).map(|group| Ok(rows_of(all, &ids, group)?.slice(0, 1)));
    Ok(concat_batches(all.schema_ref(), &firsts.collect::<Result<Vec<_>>>()?)?)
}
