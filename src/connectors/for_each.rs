//! A closure as a sink.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::columnar::{RecordBatch, SchemaRef};
use crate::connectors::{OutputBatch, Repeat, Sink, WriteReport};
use crate::error::{Error, ErrorKind, Result};

/// What is called with the id and the rows of a micro-batch.
type Function = dyn FnMut(u64, &[RecordBatch]) -> Result<()> + Send;

/// Calls a closure with the id and all rows of each micro-batch, one call a batch, also for a batch without rows.
///
/// A batch may come twice with the same id, after a crash: the closure should let the second replace the first.
pub struct ForEachSink {
    function: Box<Function>,
}

impl ForEachSink {
    /// A sink that calls `function`.
    pub fn new(function: impl FnMut(u64, &[RecordBatch]) -> Result<()> + Send + 'static) -> Self {
        Self { function: Box::new(function) }
    }
}

impl std::fmt::Debug for ForEachSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ForEachSink")
    }
}

impl Sink for ForEachSink {
    fn open(&mut self, _: &SchemaRef) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, batch: &OutputBatch<'_>) -> Result<WriteReport> {
        let batches: Vec<RecordBatch> = batch.partitions.iter().flatten().cloned().collect();
        let call = AssertUnwindSafe(|| (self.function)(batch.batch_id, &batches));
        let answer = catch_unwind(call).unwrap_or_else(|panic| {
            let what = panic.downcast_ref::<&str>().map(ToString::to_string);
            let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(Error::new(ErrorKind::Function, format!("the function for each batch panicked: {what}")))
        });
        answer.map_err(|error| error.context(format!("in the function for each batch, batch {}", batch.batch_id)))?;
        Ok(WriteReport { rows: batches.iter().map(|batch| batch.num_rows() as u64).sum(), bytes: 0 })
    }

    fn repeat(&self) -> Repeat {
        Repeat::Appends
    }
}
