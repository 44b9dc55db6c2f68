//! Pelton is Spark Streaming's model at hardware speed, in one library: a stream is cut into micro-batches, each batch is
//! packed into columns, and map, filter and keyed reduce over those columns run fused, on all cores, with the same answer
//! everywhere.
//!
//! ```
//! use pelton::prelude::*;
//! use pelton::connectors::memory::MemorySink;
//! use pelton::connectors::queue::QueueSource;
//! use std::sync::Arc;
//! use arrow_array::{ArrayRef, Int64Array, StringArray};
//!
//! # fn main() -> Result<()> {
//! let cities: ArrayRef = Arc::new(StringArray::from(vec!["Oslo", "Rome", "Oslo"]));
//! let ages: ArrayRef = Arc::new(Int64Array::from(vec![17, 30, 40]));
//! let people = RecordBatch::try_from_iter([("city", cities), ("age", ages)])?;
//!
//! let context = StreamingContext::builder("adults").trigger(Trigger::AvailableNow).build()?;
//! let answer = MemorySink::new();
//! context
//!     .source("people", QueueSource::of(people.schema(), [people])?)?
//!     .filter(col("age").gt_eq(18))
//!     .key_by([col("city")])
//!     .aggregate([len().alias("adults"), col("age").mean().alias("age")])
//!     .write(answer.clone())?;
//! let totals = context.start()?.await_termination()?;
//! assert_eq!((totals.rows_in, totals.rows_out), (3, 2));
//! # Ok(())
//! # }
//! ```
//!
//! # The tour, in the order of the flow
//!
//! | module | what it holds |
//! |---|---|
//! | [`query`] | what a user writes: [`StreamingContext`](query::StreamingContext), [`DStream`](query::DStream) |
//! | [`program`] | the same without a stream: [`Chain`](program::Chain), [`Program`](program::Program) |
//! | [`expr`] | what is computed per row, typed once against a schema |
//! | [`plan`] | from description to fused stages |
//! | [`runtime`] | the loop around one micro-batch: cut, read, compute, write, commit |
//! | [`checkpoint`] | what a query leaves on storage so that it can go on after any death |
//! | [`connectors`] | where rows come from and go to |
//! | [`formats`] | bytes to columns and back |
//! | [`dispatch`] | which backend runs a stage, and why |
//! | [`kernels`] | what can be done to a batch: contracts, references, the fast CPU twins, the GPU |
//! | [`columnar`] | Arrow columns, single values, tables for people, Polars frames |
//! | [`generate`] | seeded sample streams |
//! | [`error`], [`limits`], [`clock`] | what goes wrong, fixed numbers, time |
//!
//! A module uses only what stands below it in ARCHITECTURE.md's table; `tests/tidy` checks that.
//!
//! # Features
//!
//! `cli` (default) is everything a pipeline file can say, with `sql`, `parquet` and `compression`. `polars` takes Polars
//! frames in and out and adds `DStream::transform`. `gpu` (default) runs stages as compute shaders where that is asked for. Without default features the core builds in about a minute.

pub mod error;
pub mod limits;
mod suggest;

pub mod clock;

// What flows: columns, and what is computed on them.
pub mod columnar;
pub mod expr;

// Once per query: from description to stages.
pub mod plan;

// Once per micro-batch: bytes to columns, columns to answers, answers to the outside.
pub mod connectors;
pub mod formats;
pub mod generate;
pub mod kernels;

// What outlives a process.
pub mod checkpoint;

// The loop around micro-batches, and what users write: with a stream, and without.
pub mod dispatch;
pub mod profile;
pub mod program;
pub mod query;
pub mod runtime;

// What a person types.
#[cfg(feature = "cli")]
pub mod cli;

pub mod prelude;
