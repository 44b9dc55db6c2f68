//! A sink that keeps everything in memory, for tests and notebooks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_select::concat::concat_batches;

use crate::columnar::{RecordBatch, SchemaRef};
use crate::connectors::{OutputBatch, Repeat, Sink, WriteReport};
use crate::error::Result;

/// Keeps all micro-batches, each as one batch of rows. Clones share what they keep: give one to the query.
#[derive(Debug, Clone, Default)]
pub struct MemorySink {
    batches: Arc<Mutex<BTreeMap<u64, RecordBatch>>>,
}

impl MemorySink {
    /// An empty sink.
    pub fn new() -> Self {
        Self::default()
    }

    /// The micro-batches so far, by rising id.
    pub fn batches(&self) -> Vec<(u64, RecordBatch)> {
        self.lock().iter().map(|(id, batch)| (*id, batch.clone())).collect()
    }

    /// All rows so far, in order; `None` before the first batch.
    ///
    /// # Errors
    /// More text than one column can hold.
    pub fn rows(&self) -> Result<Option<RecordBatch>> {
        let batches = self.lock();
        let Some(first) = batches.values().next() else { return Ok(None) };
        Ok(Some(concat_batches(first.schema_ref(), batches.values())?))
    }

    /// The map is valid at every moment, even if another thread panicked while holding it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, RecordBatch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for MemorySink {
    fn open(&mut self, _: &SchemaRef) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, batch: &OutputBatch<'_>) -> Result<WriteReport> {
        let rows = concat_batches(batch.schema, batch.partitions.iter().flatten())?;
        let report = WriteReport { rows: rows.num_rows() as u64, bytes: rows.get_array_memory_size() as u64 };
        self.lock().insert(batch.batch_id, rows);
        Ok(report)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Replaces
    }
}
