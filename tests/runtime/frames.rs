//! Polars on the way: whole micro-batches through a lazy query, and frames as static tables.

use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::prelude::*;
use polars::prelude as pl;

use crate::{table, visits};

#[test]
fn transform_sees_each_micro_batch_as_a_whole() {
    let context = StreamingContext::builder("frames").trigger(Trigger::AvailableNow).partitions(3).build().unwrap();
    let batches = [visits(&[("Oslo", 1), ("Rome", 2), ("Oslo", 3)]), visits(&[("Bern", 10)])];
    let source = QueueSource::of(visits(&[]).schema(), batches).unwrap();
    let sink = MemorySink::new();
    let stream = context.source("visits", source).unwrap().filter(col("n").not_eq(2));
    let stream = stream
        .transform(|frame| {
            frame
                .group_by_stable([pl::col("city")])
                .agg([pl::col("n").sum().alias("total"), pl::len().cast(pl::DataType::Int64).alias("visits")])
        })
        .unwrap();
    assert_eq!(stream.schema().unwrap().field(1).name(), "total", "the schema is known before the start");
    stream.filter(col("total").gt(3)).write(sink.clone()).unwrap();
    context.start().unwrap().await_termination().unwrap();
    let batches = sink.batches();
    assert_eq!(batches.len(), 2);
    let text = table(&sink);
    assert!(text.contains("Oslo") && text.contains("Bern") && !text.contains("Rome"), "{text}");
}

#[test]
fn a_mistake_in_the_lazy_query_is_found_before_the_start() {
    let context = StreamingContext::builder("frames").build().unwrap();
    let source = QueueSource::of(visits(&[]).schema(), [visits(&[])]).unwrap();
    let stream = context.source("visits", source).unwrap();
    let error = stream.transform(|frame| frame.select([pl::col("nn")])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Function);
    assert!(error.to_string().contains("nn"), "{error}");
}

#[test]
fn a_frame_is_a_static_table() {
    let frame = pl::df!("city" => ["Oslo", "Rome"], "country" => ["Norway", "Italy"]).unwrap();
    let context = StreamingContext::builder("frames").trigger(Trigger::AvailableNow).build().unwrap();
    let source = QueueSource::of(visits(&[]).schema(), [visits(&[("Rome", 1), ("Bern", 2)])]).unwrap();
    let sink = MemorySink::new();
    let countries = StaticTable::try_from(&frame).unwrap().named("countries");
    let stream = context.source("visits", source).unwrap();
    stream.join_static(countries, ["city"], JoinKind::Inner).unwrap().write(sink.clone()).unwrap();
    context.start().unwrap().await_termination().unwrap();
    let text = table(&sink);
    assert!(text.contains("Italy") && !text.contains("Bern"), "{text}");
}
