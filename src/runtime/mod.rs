//! The life of a query, and of each of its micro-batches.
//!
//! ```text
//!            ┌──────────── once per micro-batch, on the query's own thread ─────────────┐
//! trigger ──▶ cut ──▶ read and compute ──────────────▶ write ──▶ commit ──▶ progress ──▶ trigger …
//! when        sources' one task a partition, on the     sinks     sources    record for
//!             ranges   pool: decode, steps, reduce                            listeners
//! ```
//!
//! | file | what it decides |
//! |---|---|
//! | [`trigger`] | when a batch is cut |
//! | `pace`, `rate` | how much a batch may take of each source |
//! | `budget` | how many bytes may be in flight |
//! | [`micro_batch`] | what a batch is: id, time, a range of each source |
//! | [`scheduler`] | the loop above, retries, stopping |
//! | [`executor`] | how stages run over a batch's partitions |
//! | `task` | how one partition goes through one stage |
//! | [`states`] | what others may see of what is kept |
//! | `spill` | where that lies which is kept and has no room in memory |
//! | `tables` | when static tables are read again |
//! | [`progress`] | what is told about a batch |
//! | [`quarantine`] | what is kept of what a batch leaves out, and when there is too much of it |
//! | [`watermarks`] | how far event time has come |
//! | [`journal`] | what is written to the checkpoint around a batch, and how a query goes on from it |
//! | `scribe` | the thread that writes it while the loop goes on |
//!
//! A batch is written only when all of it has been computed, and its ranges are committed only when all sinks have
//! written it. With a checkpoint, what a batch reads is on storage before a sink is written, and that it is done after all
//! sinks have it: a query that was killed runs the batches in between again, with the same cuts. If reading or computing
//! fails in a way that may pass, the batch runs again from its ranges; if a sink fails so, that sink alone is tried again.

mod budget;
pub mod executor;
pub mod journal;
mod life;
pub mod micro_batch;
mod pace;
pub mod progress;
pub mod quarantine;
mod rate;
pub mod scheduler;
mod scribe;
mod spill;
pub mod states;
mod tables;
pub(crate) mod task;
pub mod trigger;
pub mod watermarks;

pub use budget::{Credit, MemoryBudget};
pub use journal::{CheckpointPlace, Recovery};
pub use micro_batch::MicroBatch;
pub use pace::{BatchSize, SourceRead};
pub use progress::{Progress, Totals};
pub use quarantine::BadRecordsMax;
pub use rate::Backpressure;
pub use scheduler::{QueryDefinition, QueryOptions, RunningQuery, StopMode};
pub use states::StateHandle;
pub use trigger::{OnEnd, Trigger};
