//! Our side of a measurement: the one place where the harness calls the engine.

use std::sync::Arc;

use rayon::ThreadPool;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::chain::Query;
use super::text::TextFile;
use crate::columnar::{RecordBatch, SchemaRef};
use crate::dispatch::{Dispatcher, Placement};
use crate::error::Result;
use crate::kernels::DeviceChoice;
use crate::program::{Chain, Program};

/// A chain that is ready to run on rows of one schema, on the threads of a pool.
#[derive(Debug)]
pub(super) struct Engine {
    program: Program,
    pool: Arc<ThreadPool>,
}

impl Engine {
    pub(super) fn compile(
        schema: &SchemaRef,
        query: &Query,
        device: impl Into<Placement>,
        pool: &Arc<ThreadPool>,
    ) -> Result<Self> {
        Self::compile_on(schema, query, &Dispatcher::new(device), pool)
    }

    /// As [`Engine::compile`], on what this dispatcher has.
    pub(super) fn compile_on(
        schema: &SchemaRef,
        query: &Query,
        dispatcher: &Dispatcher,
        pool: &Arc<ThreadPool>,
    ) -> Result<Self> {
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
        Ok(Self { program: Program::compile_on(schema, &chain, dispatcher)?, pool: Arc::clone(pool) })
    }

    /// How the groups of the latest run were found.
    pub(super) fn group_ids(&self) -> Option<String> {
        self.program.group_ids()
    }

    /// What was chosen in the runs since somebody last asked.
    pub(super) fn choices(&self) -> Vec<DeviceChoice> {
        self.program.choices()
    }

    /// The answer for all rows of these batches, which the engine gets at once.
    pub(super) fn run(&self, batches: &[RecordBatch]) -> Result<RecordBatch> {
        self.pool.install(|| self.program.run_all(batches))
    }

    /// The same, of all rows of a file, which is read on all threads.
    pub(super) fn run_file(&self, file: &TextFile) -> Result<RecordBatch> {
        self.pool.install(|| {
            let part = |split| self.program.partial_all(&file.read(split)?);
            let parts = file.splits().par_iter().map(part).collect::<Result<Vec<_>>>()?;
            let mut parts = parts.into_iter();
            let Some(mut all) = parts.next() else { return self.program.run_all(&[]) };
            parts.try_for_each(|part| all.merge(part))?;
            all.finish()
        })
    }

    /// The same, of batches that the engine gets one after another.
    pub(super) fn run_in_turn(&self, batches: &[RecordBatch]) -> Result<RecordBatch> {
        self.pool.install(|| {
            let mut all = self.program.begin();
            batches.iter().try_for_each(|batch| all.push(batch))?;
            all.finish()
        })
    }
}
