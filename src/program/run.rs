//! Rows through a program: taken in by the first stage, merged, and given from stage to stage.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow_array::{Array, RecordBatchOptions};
use arrow_select::concat::concat;
use rayon::prelude::*;

use super::compile::Program;
use super::intake::Intake;
use super::pieces;
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, ErrorKind, Place, Result};
use crate::kernels;
use crate::limits::ROWS_PER_THREAD_MIN;
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
        let mut partial = self.begin();
        partial.intake.push_all(&self.0, &self.conformed(batches)?)?;
        Ok(partial)
    }

    /// A partial of no rows yet, for batches that come one after another: see [`Partial::push`].
    pub fn begin(&self) -> Partial {
        self.partial_of(Intake::new(0))
    }

    /// A partial of what its first stage has taken in.
    pub(super) fn partial_of(&self, intake: Intake) -> Partial {
        Partial { program: self.clone(), intake, has_failed: false }
    }
}

/// What a [`Program`] made of some rows. It takes in more rows, batch by batch, and can be merged with what the program made
/// of others.
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
/// assert_eq!(days.finish()?, program.run_all(&[monday.clone(), tuesday.clone()])?);
///
/// let mut days = program.begin();
/// days.push(&monday)?;
/// days.push(&tuesday)?;
/// assert_eq!(days.finish()?, program.run_all(&[monday, tuesday])?);
/// # Ok::<(), Error>(())
/// ```
pub struct Partial {
    program: Program,
    intake: Intake,
    has_failed: bool,
}

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partial").field("parts", &self.intake.parts()).finish_non_exhaustive()
    }
}

impl Partial {
    /// Takes in a batch of rows that come after these. The answer is that of [`Program::run_all`] of all batches, and it costs
    /// about as much: a keyed reduce has nothing to merge for each batch, unless an aggregate follows the order of rows.
    ///
    /// Rows wait until there are enough for all threads of the current rayon pool: 32,768 each, or 1,048,576 where an aggregate
    /// follows the order of rows. Their columns are held so long.
    ///
    /// # Errors
    /// As [`Program::run`], about this batch or one that has waited. There is no answer afterwards.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        self.check()?;
        let batches = self.program.conformed(std::slice::from_ref(batch))?;
        let done = batches.iter().try_for_each(|batch| self.intake.push(&self.program.0, batch));
        self.noted(done)
    }

    /// Takes in what the same program made of rows that come after these.
    ///
    /// # Errors
    /// `InvalidOption` for a partial of another program; else what merging says, after which there is no answer.
    pub fn merge(&mut self, later: Self) -> Result<()> {
        self.check()?;
        later.check()?;
        if !Arc::ptr_eq(&self.program.0, &later.program.0) {
            let message = "partials of different programs cannot be merged";
            return Err(Error::new(ErrorKind::InvalidOption, message)
                .advice("compile the chain once, and give clones of the program to all who make partials; those of other processes come as batches"));
        }
        let done = self.intake.merge(&self.program.0, later.intake);
        self.noted(done)
    }

    /// The answer of all rows that were taken in.
    ///
    /// # Errors
    /// As [`Program::run`].
    pub fn finish(self) -> Result<RecordBatch> {
        let (program, parts) = self.close()?;
        let mut rows = program.end_stage(0, parts)?;
        for stage in 1..program.0.placed.len() {
            let mut intake = Intake::new(stage);
            intake.push_all(&program.0, &rows)?;
            rows = program.end_stage(stage, intake.close(&program.0)?)?;
        }
        whole(&program.output_schema(), rows)
    }

    /// The program, and what its first stage gave, in the order of the rows.
    pub(super) fn close(self) -> Result<(Program, Vec<kernels::Partial>)> {
        self.check()?;
        let Self { program, intake, .. } = self;
        let parts = intake.close(&program.0)?;
        Ok((program, parts))
    }

    /// What failed half-way has no answer.
    fn check(&self) -> Result<()> {
        match self.has_failed {
            true => {
                Err(Error::new(ErrorKind::InvalidOption, "a partial that failed takes no rows and gives no answer")
                    .advice("begin another one, and give it all rows"))
            }
            false => Ok(()),
        }
    }

    /// Remembers that something failed, and lets go of what there was.
    fn noted(&mut self, done: Result<()>) -> Result<()> {
        if done.is_err() {
            (self.has_failed, self.intake) = (true, Intake::new(0));
        }
        done
    }
}

/// Stage by stage.
impl Program {
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
