//! Spark Streaming's model at hardware speed, in one library.

pub mod error;
pub mod limits;

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

// The loop around micro-batches, and what users write.
pub mod dispatch;
pub mod query;
pub mod runtime;

pub mod prelude;
