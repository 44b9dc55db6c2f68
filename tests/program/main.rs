//! Programs: chains compiled once and run on batches, without a stream. Their answers are those of a stream and of the
//! reference, whatever the threads and the cuts; their mistakes are told in the words of a stream.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod allocations;
mod answers;
mod chains;
#[cfg(feature = "sql")]
mod direct;
#[cfg(feature = "polars")]
mod frames;
mod mistakes;
mod open;
mod ordered;
mod partials;
mod random;
mod stored;
mod threads;

#[path = "../common/mod.rs"]
mod common;
