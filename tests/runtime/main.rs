//! Whole queries through the runtime: triggers, clocks, stopping, retries, branches, closures.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

#[cfg(feature = "polars")]
mod frames;
mod life;
mod operations;
mod pace;
mod tables;

#[path = "../common/mod.rs"]
mod common;

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use pelton::columnar::pretty;
use pelton::connectors::memory::MemorySink;
use pelton::prelude::*;

/// `city` and `n`.
fn visits(rows: &[(&str, i64)]) -> RecordBatch {
    let cities: ArrayRef = Arc::new(rows.iter().map(|(city, _)| Some(*city)).collect::<StringArray>());
    let numbers: ArrayRef = Arc::new(rows.iter().map(|(_, n)| Some(*n)).collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([("city", cities, false), ("n", numbers, true)]).unwrap()
}

/// All rows of a sink as a table.
fn table(sink: &MemorySink) -> String {
    let rows = sink.rows().unwrap().unwrap();
    let text = pretty::table(&[rows], 100);
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
