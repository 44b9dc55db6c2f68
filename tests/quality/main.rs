//! Data one can trust: what a query leaves out is counted, kept where it was asked for, and the same after a restart.

#![expect(clippy::unwrap_used, clippy::panic_in_result_fn, reason = "a failed step fails the test")]

mod believed_borders;
mod changed_input;
#[path = "../common/mod.rs"]
mod common;
mod drift;
mod ledger;
mod profile;
mod quarantine;
mod rules;
mod twins;

use std::fs;
use std::path::Path;

use pelton::connectors::files::FilesSink;
use pelton::connectors::memory::MemorySink;
use pelton::formats::{BadRecordPolicy, FormatKind, FormatOptions};
use pelton::prelude::*;

/// CSV files of `city` and `n`.
fn visits() -> FormatOptions {
    let fields = vec![Field::new("city", DataType::Utf8, true), Field::new("n", DataType::Int64, true)];
    FormatOptions::new(FormatKind::Csv).with_schema(Schema::new(fields).into())
}

/// The rows of a sink as NDJSON, a batch after the other.
fn lines(sink: &MemorySink) -> Vec<String> {
    sink.batches().iter().flat_map(|(_, batch)| rows(batch)).collect()
}

fn rows(batch: &RecordBatch) -> Vec<String> {
    let mut writer = arrow_json::LineDelimitedWriter::new(Vec::new());
    writer.write(batch).unwrap();
    let text = String::from_utf8(writer.into_inner()).unwrap();
    text.lines().map(str::to_owned).collect()
}
