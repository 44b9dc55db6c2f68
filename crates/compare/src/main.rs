//! `pelton bench` beside DataFusion: the same rows, chains, threads, answer check and reports.
//!
//! DataFusion gets the chain as SQL over a table in memory, cut into one partition a thread and batches of the size that
//! it chooses itself; the cut costs no copy and is made before anything is timed. Its plan is made with each run, as
//! Polars' is.

use std::any::Any;
use std::process::ExitCode;
use std::sync::Arc;

use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};
use pelton::cli::bench::{ChainText, OtherChain, OtherEngine};
use pelton::error::{Error, ErrorKind, Result};
use tokio::runtime::Runtime;

/// As in the command line, so that both engines ask the same allocator for memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// DataFusion, to be measured beside Pelton.
struct DataFusion;

/// A query that is ready to run.
struct Query {
    runtime: Runtime,
    frame: DataFrame,
}

impl OtherEngine for DataFusion {
    fn name(&self) -> &'static str {
        "DataFusion"
    }

    fn prepare(&self, chain: &ChainText, rows: &RecordBatch, threads: usize) -> Result<Box<dyn OtherChain>> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
        let runtime = runtime.map_err(|error| Error::io("", "start threads for DataFusion", error))?;
        let config = SessionConfig::new().with_target_partitions(threads);
        let partitions = partitions(rows, threads, config.batch_size());
        let context = SessionContext::new_with_config(config);
        let table = MemTable::try_new(rows.schema(), partitions).map_err(refused)?;
        context.register_table("rows", Arc::new(table)).map_err(refused)?;
        let frame = runtime.block_on(context.sql(&chain.query("rows"))).map_err(refused)?;
        Ok(Box::new(Query { runtime, frame }))
    }
}

impl OtherChain for Query {
    fn run(&self) -> Result<Box<dyn Any>> {
        let batches = self.runtime.block_on(self.frame.clone().collect()).map_err(refused)?;
        Ok(Box::new(batches))
    }

    fn answer(&self) -> Result<RecordBatch> {
        let batches = self.runtime.block_on(self.frame.clone().collect()).map_err(refused)?;
        let schema = batches.first().map_or_else(|| Arc::clone(self.frame.schema().inner()), RecordBatch::schema);
        Ok(concat_batches(&schema, &batches)?)
    }
}

/// The rows in order: a partition a thread, in batches of this size.
fn partitions(rows: &RecordBatch, threads: usize, batch: usize) -> Vec<Vec<RecordBatch>> {
    let all = rows.num_rows();
    let each = all.div_ceil(threads).max(1);
    let partition = |from: usize| {
        let end = all.min(from + each);
        (from..end).step_by(batch.max(1)).map(|start| rows.slice(start, batch.min(end - start))).collect()
    };
    (0..all.max(1)).step_by(each).map(partition).collect()
}

fn refused(error: DataFusionError) -> Error {
    Error::new(ErrorKind::Unsupported, format!("DataFusion refuses the query: {error}")).because(error)
}

fn main() -> ExitCode {
    pelton::cli::bench_beside(&DataFusion)
}
