//! Pelton inside another program: batches are handed in through a channel with backpressure, answers come back as
//! batches. Run it with `cargo run --example library`.

#![expect(clippy::print_stdout, reason = "a program may print")]

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use pelton::connectors::channel::channel;
use pelton::connectors::memory::MemorySink;
use pelton::prelude::*;

fn main() -> Result<()> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("city", DataType::Utf8, false),
        Field::new("amount", DataType::Int64, false),
    ]));
    let (sender, source) = channel(Arc::clone(&schema), 64 << 20);
    let answers = MemorySink::new();

    let context = StreamingContext::builder("sales").trigger(Trigger::Manual).build()?;
    context
        .source("sales", source)?
        .filter(col("amount").gt(lit(0)))
        .key_by([col("city")])
        .aggregate([col("amount").sum().alias("total")])
        .sort(["city"])
        .write(answers.clone())?;
    let query = context.start()?;

    for amounts in [[3, -1, 4], [10, 20, 30]] {
        let cities: ArrayRef = Arc::new(StringArray::from(vec!["Isola", "Arden", "Arden"]));
        let amounts: ArrayRef = Arc::new(Int64Array::from(amounts.to_vec()));
        sender.send(RecordBatch::try_new(Arc::clone(&schema), vec![cities, amounts])?)?; // waits while the queue is full
        query.tick()?; // one micro-batch, now
    }
    query.stop(StopMode::Graceful);
    query.await_termination()?;

    for (batch_id, rows) in answers.batches() {
        println!("batch {batch_id}\n{}", pelton::columnar::pretty::table(&[rows], 10));
    }
    Ok(())
}
