//! Pelton without a stream: a chain of operations compiled once, then run on batch after batch from any thread.
//!
//! ```text
//! Chain ──compile──▶ Program ──run──▶ RecordBatch
//! what to do         checked,   │
//!                    fused      └──begin────▶ Partial ──push, merge──▶ Partial ──finish──▶ RecordBatch
//!                                               │ ▲
//!                                               ▼ │ to and from other processes
//!                                            RecordBatch
//! ```
//!
//! A [`Chain`] is a description without rows. [`Program::compile`] finds every mistake in it, with the words that a
//! stream would use, and places its stages as a query does. [`Program::run`] cuts its input for the threads of the
//! current rayon pool; a small batch stays on the calling thread. A [`Partial`] is what a program made of some rows,
//! not yet finished: it takes in batch after batch, and is merged with others, so that rows that lie or arrive apart have one
//! answer.
//!
//! Nothing here knows sources, sinks, triggers or time: that is [`query`](crate::query).

mod chain;
mod compile;
mod cuts;
mod intake;
mod pieces;
mod run;
mod stored;
mod work;

#[cfg(feature = "polars")]
mod frames;

pub use chain::{Chain, KeyedChain};
pub use compile::Program;
pub use run::Partial;
