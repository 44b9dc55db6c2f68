//! Our side of a measurement: the one place where the harness calls the engine.

use std::sync::Arc;

use rayon::ThreadPool;

use super::chain::Query;
use crate::columnar::{RecordBatch, SchemaRef};
use crate::connectors::memory::MemorySink;
use crate::connectors::queue::QueueSource;
use crate::dispatch::Device;
use crate::error::{Error, Result};
use crate::query::StreamingContext;
use crate::runtime::Trigger;

/// A chain that is ready to run on rows of one schema.
#[derive(Debug)]
pub(super) struct Engine {
    schema: SchemaRef,
    query: Query,
    device: Device,
    pool: Arc<ThreadPool>,
}

impl Engine {
    pub(super) fn compile(schema: &SchemaRef, query: &Query, device: Device, pool: &Arc<ThreadPool>) -> Result<Self> {
        Ok(Self { schema: Arc::clone(schema), query: query.clone(), device, pool: Arc::clone(pool) })
    }

    /// The answer for all rows of these batches.
    pub(super) fn run(&self, batches: &[RecordBatch]) -> Result<RecordBatch> {
        let context = StreamingContext::builder("bench")
            .trigger(Trigger::AvailableNow)
            .device(self.device)
            .pool(Arc::clone(&self.pool))
            .build()?;
        let (queue, source) = QueueSource::new(Arc::clone(&self.schema));
        queue.push(batches.to_vec())?;
        queue.close();
        let mut stream = context.source("rows", source)?;
        if let Some(filter) = &self.query.filter {
            stream = stream.filter(filter.clone());
        }
        if !self.query.select.is_empty() {
            stream = stream.select(self.query.select.clone());
        }
        if !self.query.aggregates.is_empty() {
            stream = stream.key_by(self.query.keys.clone()).aggregate(self.query.aggregates.clone());
        }
        let sink = MemorySink::new();
        stream.write(sink.clone())?;
        context.start()?.await_termination()?;
        sink.rows()?.ok_or_else(|| Error::internal("a query over given rows gave no answer"))
    }
}
