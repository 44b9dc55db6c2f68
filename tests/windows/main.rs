//! State from batch to batch: running aggregates, windows over event time and over batches, watermarks, late rows.
//!
//! `worked` has cases whose tables were worked out by hand; `spark` those of Spark's windowed operations; `oracle` compares
//! random streams with `kernels::keep::reference`, and with lives that end after every batch; `remembered` has closures with a
//! memory, `looking` sees what is kept from outside, `cramped` gives it no room in memory, `counted` has windows by the number of rows, `folded` windows by closures, `folders` a watermark for each part of a source, `beginning` state that begins with a table, `duplicates` rows that come once, `streams` two that are joined, both against models; `mistakes` says what is refused before the start.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod beginning;
mod counted;
mod cramped;
mod duplicates;
mod folded;
mod folders;
mod looking;
mod mistakes;
mod oracle;
mod remembered;
mod spark;
mod streams;
mod worked;

#[path = "../common/mod.rs"]
mod common;

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, StringArray, TimestampSecondArray};
use pelton::clock::VirtualClock;
use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::{Queue, QueueSource};
use pelton::prelude::*;
use pelton::query::ContextBuilder;

/// `time` in seconds, `city` and `n`.
type Row<'a> = (i64, &'a str, i64);

fn visits(rows: &[Row<'_>]) -> RecordBatch {
    let times: ArrayRef =
        Arc::new(rows.iter().map(|row| (row.0 >= 0).then_some(row.0)).collect::<TimestampSecondArray>());
    let cities: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>());
    let numbers: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([("time", times, true), ("city", cities, true), ("n", numbers, true)])
        .unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A query over visits that runs a batch a tick, on a clock of its own.
struct Stage {
    queue: Queue,
    clock: VirtualClock,
    sink: MemorySink,
    query: RunningQuery,
}

impl Stage {
    fn new(stream: impl FnOnce(&DStream) -> DStream) -> Self {
        Self::with(|builder| builder, stream)
    }

    fn with(options: impl FnOnce(ContextBuilder) -> ContextBuilder, stream: impl FnOnce(&DStream) -> DStream) -> Self {
        let clock = VirtualClock::at(Duration::ZERO);
        let builder = StreamingContext::builder("stage").trigger(Trigger::Manual).clock(clock.clone());
        let context = options(builder).build().unwrap();
        let (queue, source) = QueueSource::new(visits(&[]).schema());
        let sink = MemorySink::new();
        stream(&context.source("visits", source).unwrap()).write(sink.clone()).unwrap();
        Self { queue, clock, sink, query: context.start().unwrap() }
    }

    /// Runs a batch of these rows a second later; what it gives, a row a line.
    fn batch(&self, rows: &[Row<'_>]) -> String {
        self.progress(rows);
        let (_, rows) = self.sink.batches().pop().unwrap();
        lines(&rows)
    }

    fn progress(&self, rows: &[Row<'_>]) -> Progress {
        self.clock.advance(seconds(1));
        self.queue.push(vec![visits(rows)]).unwrap();
        self.query.tick().unwrap().unwrap()
    }
}

/// The rows, a line each, values separated by blanks; times as seconds.
fn lines(rows: &RecordBatch) -> String {
    let plain = rows.columns().iter().map(|column| match column.data_type() {
        DataType::Timestamp(..) => arrow_cast::cast(column, &DataType::Int64).unwrap(),
        _ => Arc::clone(column),
    });
    let columns = plain.collect::<Vec<_>>();
    let cell = |column: &ArrayRef, row| arrow_cast::display::array_value_to_string(column, row).unwrap();
    let line = |row| columns.iter().map(|column| cell(column, row)).collect::<Vec<_>>().join(" ");
    (0..rows.num_rows()).map(line).collect::<Vec<_>>().join("\n")
}
