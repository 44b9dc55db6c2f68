//! One contract, run on every connector, and what is particular to each.

#![expect(clippy::unwrap_used, reason = "in a test a failure is a panic, also in the functions that tests share")]

mod believed;
mod channel;
#[path = "../common/mod.rs"]
mod common;
mod contract;
mod directory;
mod files;
mod formats;
mod functions;
mod generator;
mod lines;
#[cfg(feature = "postgres")]
mod postgres;
mod print;
mod queue;
mod socket;
mod tables;
mod tail;
