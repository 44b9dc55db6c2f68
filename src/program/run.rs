//! Rows through a program: cut for the threads, pushed through the stages, merged in the order of the cuts.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow_array::{Array, RecordBatchOptions};
use arrow_select::concat::concat;
use rayon::prelude::*;

use super::compile::Program;
use super::pieces;
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::kernels;
use crate::limits::{PARTIALS_HELD_MAX, ROWS_PER_ORDERED_CUT, ROWS_PER_THREAD_MIN};
use crate::runtime::task::{guarded, under_schema};

/// Running.
impl Program {
    /// The answer of one batch. Up to 32,768 rows are computed on the calling thread; of more, each thread of the
    /// current rayon pool takes a part. The answer is the same.
    ///
    /// The batch needs the columns that the program was compiled for, by name and type; others are not looked at.
    ///
    /// # Errors
    /// `InvalidOption` for a batch of another schema; else a value that cannot be computed or a closure that failed.
    pub fn run(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        self.run_all(std::slice::from_ref(batch))
    }

    /// The answer of many batches, taken as one input.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn run_all(&self, batches: &[RecordBatch]) -> Result<RecordBatch> {
        self.partial_all(batches)?.finish()
    }

    /// What the program makes of a batch, up to where the rows of other batches count.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn partial(&self, batch: &RecordBatch) -> Result<Partial> {
        self.partial_all(std::slice::from_ref(batch))
    }

    /// As [`Program::partial`], of many batches.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn partial_all(&self, batches: &[RecordBatch]) -> Result<Partial> {
        let parts = self.begin_stage(0, &self.conformed(batches)?)?;
        Ok(Partial { program: self.clone(), parts })
    }
}

/// What a [`Program`] made of some rows, to be merged with what it made of others.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array};
/// use pelton::prelude::*;
///
/// let batch = |values: Vec<i64>| RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(values)) as ArrayRef)]);
/// let (monday, tuesday) = (batch(vec![1, 2])?, batch(vec![6])?);
///
/// let mean = Chain::new().aggregate([col("n").mean().alias("mean")]);
/// let program = Program::compile(&monday.schema(), &mean, Device::Auto)?;
/// let mut days = program.partial(&monday)?;
/// days.merge(program.partial(&tuesday)?)?;
/// assert_eq!(days.finish()?, program.run_all(&[monday, tuesday])?);
/// # Ok::<(), Error>(())
/// ```
pub struct Partial {
    pub(super) program: Program,
    /// Of the first stage, in the order of the rows.
    pub(super) parts: Vec<kernels::Partial>,
}

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partial").field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl Partial {
    /// Takes in what the same program made of rows that come after these.
    ///
    /// # Errors
    /// `InvalidOption` for a partial of another program; else what merging says, after which the partial is empty.
    pub fn merge(&mut self, later: Self) -> Result<()> {
        if !Arc::ptr_eq(&self.program.0, &later.program.0) {
            let message = "partials of different programs cannot be merged";
            return Err(Error::new(ErrorKind::InvalidOption, message)
                .advice("compile the chain once, and give clones of the program to all who make partials; those of other processes come as batches"));
        }
        self.parts.extend(later.parts);
        if self.parts.len() > PARTIALS_HELD_MAX {
            let parts = std::mem::take(&mut self.parts);
            let stage = &self.program.0.placed[0].stage;
            self.parts = guarded(|| stage.combine(parts)).map_err(|error| error.context("in stage 0"))?;
        }
        Ok(())
    }

    /// The answer of all rows that were taken in.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn finish(self) -> Result<RecordBatch> {
        let Self { program, parts } = self;
        let mut rows = program.end_stage(0, parts)?;
        for stage in 1..program.0.placed.len() {
            let parts = program.begin_stage(stage, &rows)?;
            rows = program.end_stage(stage, parts)?;
        }
        whole(&program.output_schema(), rows)
    }
}

/// Stage by stage.
impl Program {
    /// Pushes rows through a stage, a piece a thread.
    fn begin_stage(&self, stage: usize, rows: &[RecordBatch]) -> Result<Vec<kernels::Partial>> {
        let (prepared, schema) = (&self.0.placed[stage].stage, &self.0.plan.stages[stage].input_schema);
        let work = |batches: &[RecordBatch]| {
            let mut task = prepared.begin()?;
            batches.iter().try_for_each(|batch| task.push(&*under_schema(batch, schema)?))?;
            task.finish()
        };
        let work = |batches: &[RecordBatch]| {
            guarded(|| work(batches)).map_err(|error| error.context(format!("in stage {stage}")))
        };
        let (count, is_ordered) = (pieces::rows(rows), self.0.plan.stages[stage].is_ordered());
        let pieces = match pieces::worth(count) {
            _ if is_ordered && count > ROWS_PER_ORDERED_CUT => pieces::cut_every(rows, ROWS_PER_ORDERED_CUT),
            _ if is_ordered => return Ok(vec![work(rows)?]),
            1 => return Ok(vec![work(rows)?]),
            pieces => pieces::cut(rows, pieces),
        };
        let done = pieces.par_iter().map(|piece| work(piece)).collect::<Vec<_>>();
        done.into_iter().collect() // of several errors, that of the first piece
    }

    /// The rows that a stage gives.
    fn end_stage(&self, stage: usize, parts: Vec<kernels::Partial>) -> Result<Vec<RecordBatch>> {
        let merged = guarded(|| self.0.placed[stage].stage.merge(parts));
        let mut partitions = merged.map_err(|error| error.context(format!("in stage {stage}")))?;
        Ok(if partitions.len() == 1 { partitions.swap_remove(0) } else { partitions.into_iter().flatten().collect() })
    }

    /// The batches with the columns that the program was compiled for.
    fn conformed<'a>(&self, batches: &'a [RecordBatch]) -> Result<Cow<'a, [RecordBatch]>> {
        let schema = &self.0.input_schema;
        let fits = |batch: &RecordBatch| Arc::ptr_eq(batch.schema_ref(), schema) || batch.schema_ref() == schema;
        if batches.iter().all(fits) {
            return Ok(Cow::Borrowed(batches));
        }
        batches.iter().map(|batch| conformed(batch, schema)).collect::<Result<_>>().map(Cow::Owned)
    }
}

/// The columns of this schema, found by name.
fn conformed(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let wrong = |name: &str, message: String| {
        Error::new(ErrorKind::InvalidOption, message)
            .at(Place::default().column(name))
            .advice("compile the program for the schema of its batches, or change the batch")
    };
    let column = |field: &arrow_schema::FieldRef| {
        let name = field.name();
        let column = batch
            .column_by_name(name)
            .ok_or_else(|| wrong(name, "the batch lacks a column that the program was compiled for".to_owned()))?;
        if column.data_type() != field.data_type() {
            let (got, wanted) = (column.data_type(), field.data_type());
            return Err(wrong(name, format!("the batch has {got} where the program was compiled for {wanted}")));
        }
        if !field.is_nullable() && column.is_nullable() {
            return Err(wrong(name, "the batch has nulls where the program was compiled for none".to_owned()));
        }
        Ok(Arc::clone(column))
    };
    let columns = schema.fields().iter().map(column).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// One batch of several, column by column on the threads of the current pool if it is worth it.
fn whole(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Result<RecordBatch> {
    if let [batch] = batches.as_slice() {
        return under_schema(batch, schema).map(Cow::into_owned);
    }
    let rows = pieces::rows(&batches);
    let column = |index: usize| {
        let parts = batches.iter().map(|batch| batch.column(index).as_ref()).collect::<Vec<&dyn Array>>();
        if parts.is_empty() {
            return Ok(arrow_array::new_empty_array(schema.field(index).data_type()));
        }
        Ok(concat(&parts)?)
    };
    let all = 0..schema.fields().len();
    let columns = if rows > ROWS_PER_THREAD_MIN {
        all.into_par_iter().map(column).collect::<Result<_>>()
    } else {
        all.map(column).collect::<Result<_>>()
    };
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns?, &options)?)
}
