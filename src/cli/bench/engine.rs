//! Our side of a measurement: the one place where the harness calls the engine.

use std::sync::Arc;

use rayon::ThreadPool;

use super::chain::Query;
use crate::columnar::{RecordBatch, SchemaRef};
use crate::dispatch::Device;
use crate::error::Result;
use crate::program::{Chain, Program};

/// A chain that is ready to run on rows of one schema, on the threads of a pool.
#[derive(Debug)]
pub(super) struct Engine {
    program: Program,
    pool: Arc<ThreadPool>,
}

impl Engine {
    pub(super) fn compile(schema: &SchemaRef, query: &Query, device: Device, pool: &Arc<ThreadPool>) -> Result<Self> {
        let mut chain = Chain::new();
        if let Some(filter) = &query.filter {
            chain = chain.filter(filter.clone());
        }
        if !query.select.is_empty() {
            chain = chain.select(query.select.clone());
        }
        if !query.aggregates.is_empty() {
            chain = chain.key_by(query.keys.clone()).aggregate(query.aggregates.clone());
        }
        Ok(Self { program: Program::compile(schema, &chain, device)?, pool: Arc::clone(pool) })
    }

    /// How the groups of the latest run were found.
    pub(super) fn group_ids(&self) -> Option<String> {
        self.program.group_ids()
    }

    /// The answer for all rows of these batches, which the engine gets at once.
    pub(super) fn run(&self, batches: &[RecordBatch]) -> Result<RecordBatch> {
        self.pool.install(|| self.program.run_all(batches))
    }

    /// The same, of batches that the engine gets one after another.
    pub(super) fn run_in_turn(&self, batches: &[RecordBatch]) -> Result<RecordBatch> {
        let Some((first, later)) = batches.split_first() else { return self.run(batches) };
        self.pool.install(|| {
            let mut all = self.program.partial(first)?;
            later.iter().try_for_each(|batch| all.merge(self.program.partial(batch)?))?;
            all.finish()
        })
    }
}
