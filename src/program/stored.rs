//! Partials of a program as batches, so that rows that lie on several machines have one answer.
//!
//! The batch says in its metadata which chain it is of; another chain refuses it and says what differs. The columns are
//! the business of the backend: [`kernels::stored`](crate::kernels::stored).

use std::sync::Arc;

use arrow_schema::Schema;

use super::compile::Program;
use super::intake::Intake;
use super::run::Partial;
use crate::columnar::RecordBatch;
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::hash;
use crate::kernels::stored::FORMAT_ENTRY;
use crate::plan::explain;
use crate::runtime::task::guarded;

/// The entry that holds the [`Program::fingerprint`].
const FINGERPRINT_ENTRY: &str = "pelton.fingerprint";

/// The entry that holds the chain in words, for messages.
const CHAIN_ENTRY: &str = "pelton.chain";

impl Partial {
    /// The partial as a batch, for another process or another day: [`Program::partial_from_batch`] takes it back. Its
    /// schema carries the format and the fingerprint of the chain in its metadata, which a transport must keep, as
    /// Arrow IPC and Parquet do.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use arrow_array::{ArrayRef, Float64Array};
    /// use pelton::prelude::*;
    ///
    /// let batch = |values: Vec<f64>| RecordBatch::try_from_iter([("x", Arc::new(Float64Array::from(values)) as ArrayRef)]);
    /// let (here, there) = (batch(vec![0.1, 0.2])?, batch(vec![0.3])?);
    /// let sum = Chain::new().aggregate([col("x").sum().alias("sum")]);
    /// let compile = || Program::compile(&here.schema(), &sum, Device::Auto);
    ///
    /// let sent = compile()?.partial(&there)?.into_batch()?; // on another machine
    /// let program = compile()?;
    /// let mut all = program.partial(&here)?;
    /// all.merge(program.partial_from_batch(&sent)?)?;
    /// assert_eq!(all.finish()?, program.run_all(&[here.clone(), there])?);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// What merging says; `Unsupported` by a backend whose partials cannot be stored; `Overflow` for texts larger than
    /// a column of their type can hold.
    pub fn into_batch(self) -> Result<RecordBatch> {
        let (program, parts) = self.close()?;
        let stage = &program.0.placed[0].stage;
        let batch = guarded(|| stage.store(parts)).map_err(|error| error.context("in stage 0"))?;
        let mut metadata = batch.schema_ref().metadata.clone();
        metadata.insert(FINGERPRINT_ENTRY.to_owned(), program.fingerprint()?);
        metadata.insert(CHAIN_ENTRY.to_owned(), program.words());
        let schema = Schema::new(batch.schema_ref().fields().clone()).with_metadata(metadata);
        Ok(batch.with_schema(Arc::new(schema))?)
    }
}

impl Program {
    /// The partial that [`Partial::into_batch`] made a batch of, by a program of the same chain, compiled for the same
    /// schema, in this or another process.
    ///
    /// # Errors
    /// `InvalidOption` for a batch of another chain, saying what differs, or for one that is no stored partial;
    /// `Unsupported` for another format; `Corrupt` for what nothing can have stored.
    pub fn partial_from_batch(&self, batch: &RecordBatch) -> Result<Partial> {
        let metadata = &batch.schema_ref().metadata;
        if let (Some(_), Some(got)) = (metadata.get(FORMAT_ENTRY), metadata.get(FINGERPRINT_ENTRY))
            && *got != self.fingerprint()?
        {
            let difference = difference(metadata.get(CHAIN_ENTRY).map_or("", String::as_str), &self.words());
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("a stored partial is of another chain: {difference}"),
            )
            .advice("compile the chain that stored it, for the same schema"));
        }
        let stage = &self.0.placed[0].stage;
        let part = guarded(|| stage.restore(batch)).map_err(|error| error.context("in stage 0"))?;
        Ok(self.partial_of(Intake::of(part)))
    }

    /// What tells this chain, compiled for this schema, from others: the same in every process. Functions and static
    /// tables count by their names, tables also by their schemas: what they hold cannot be compared.
    ///
    /// # Errors
    /// None: a stage is plain data.
    pub fn fingerprint(&self) -> Result<String> {
        let plan = serde_json::to_vec(&self.0.plan.stages)
            .map_err(|error| Error::internal("a plan cannot be written").because(error))?;
        let hash = |seed| hash::fold_bytes(hash::fold_bytes(seed, &plan), self.words().as_bytes());
        Ok(format!("{:016x}{:016x}", hash(hash::SEED), hash(hash::NULL)))
    }

    /// The chain as it was said, above the columns of its rows.
    fn words(&self) -> String {
        explain::logical(&self.0.logical)
    }
}

/// The first line in which two chains differ.
fn difference(got: &str, wanted: &str) -> String {
    let (mut got, mut wanted) = (got.lines(), wanted.lines());
    loop {
        match (got.next(), wanted.next()) {
            (None, None) => {
                return "it reads the same, but other columns may be null, or another version planned it".to_owned();
            }
            (Some(got), Some(wanted)) if got == wanted => {}
            (got, wanted) => {
                let line =
                    |line: Option<&str>| line.map_or("nothing".to_owned(), |line| format!("\"{}\"", line.trim()));
                return format!("it has {} in the place of {}", line(got), line(wanted));
            }
        }
    }
}
