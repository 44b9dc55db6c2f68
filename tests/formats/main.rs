//! Reading and writing files: every cut gives the same rows, every bad input an error with its place, and what is
//! written reads back the same.

#![expect(clippy::unwrap_used, clippy::panic_in_result_fn, reason = "a test may fail where it stands")]

mod at_once;
mod bad_input;
#[cfg(feature = "compression")]
mod compressed;
#[cfg(feature = "parquet")]
mod containers;
mod cuts;
mod hostile;
mod options;
mod peers;
mod policies;
mod random_bytes;
mod round_trips;
mod support;
