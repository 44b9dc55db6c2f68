//! What branches share is computed once, whatever the optimizer makes of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::prelude::*;

use crate::random::{rows, schema};

#[test]
fn a_cache_is_computed_once_even_if_a_filter_moves_in_one_of_its_branches() {
    let context = StreamingContext::builder("branches").trigger(Trigger::Once).partitions(1).build().unwrap();
    let source = context.source("rows", QueueSource::of(schema(), [rows(1, 100)]).unwrap()).unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let mapped = source.map_batches(schema(), move |batch| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(batch.clone())
    });
    let cached = mapped.cache();
    let (moved, still) = (MemorySink::new(), MemorySink::new());
    let positive = || col("k").gt(0);
    cached.with_columns([(col("k") + 1).alias("next")]).filter(positive()).write(moved.clone()).unwrap();
    cached.filter(positive()).write(still.clone()).unwrap();
    context.start().unwrap().await_termination().unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 1, "the closure ran once for both outputs");
    let (moved, still) = (moved.rows().unwrap().unwrap(), still.rows().unwrap().unwrap());
    assert!(still.num_rows() > 10);
    assert_eq!(moved.columns()[..7], *still.columns());
}

#[test]
fn filters_over_filters_over_projections_of_several_branches_keep_to_their_own_rows() {
    let context = StreamingContext::builder("branches").trigger(Trigger::Once).partitions(2).build().unwrap();
    let source = context.source("rows", QueueSource::of(schema(), [rows(2, 500)]).unwrap()).unwrap();
    // Many short-lived plans: none may be taken for another.
    let sinks = (0..40).map(|number| {
        let sink = MemorySink::new();
        let wide = (0..number % 5).fold(source.clone(), |stream, place| {
            stream.with_columns([(col("k") * place).alias(format!("wide{place}"))]).filter(col("k").gt(-9))
        });
        wide.filter(col("k").gt(-9)).select([col("k")]).filter(col("k").is_not_null()).write(sink.clone()).unwrap();
        sink
    });
    let sinks = sinks.collect::<Vec<_>>();
    context.start().unwrap().await_termination().unwrap();
    let first = sinks[0].rows().unwrap().unwrap();
    assert!(first.num_rows() > 100);
    assert!(sinks.iter().all(|sink| sink.rows().unwrap().unwrap() == first));
}

/// A Parquet file of random rows: what nobody looks at is not read, and changes no answer.
#[cfg(feature = "parquet")]
#[test]
fn columns_that_no_branch_looks_at_change_nothing() {
    use pelton::formats::{FormatKind, FormatOptions, encoder};

    let file = tempfile::Builder::new().suffix(".parquet").tempfile().unwrap();
    let parquet = FormatOptions::new(FormatKind::Parquet);
    let batch = rows(3, 2000);
    let mut writer = encoder(&parquet, &batch.schema(), Box::new(file.reopen().unwrap())).unwrap();
    writer.write(&batch).unwrap();
    drop(writer.finish().unwrap());
    type Branch = fn(&DStream) -> DStream;
    let branches: [Branch; 5] = [
        |stream| stream.select([col("k")]),
        |stream| stream.filter(col("k").gt(2)).key_by([col("k") % 3]).aggregate([len().alias("rows")]),
        |stream| stream.count(),
        |stream| stream.clone(),
        |stream| stream.sort([col("k")]).select([col("k") + 1]),
    ];
    for mask in 1..1 << branches.len() {
        let taken = branches.iter().enumerate().filter(|(index, _)| (mask >> index) & 1 == 1).map(|(_, branch)| branch);
        let taken = taken.collect::<Vec<_>>();
        let answers = |from_file: bool| {
            let context = StreamingContext::builder("branches").trigger(Trigger::Once).partitions(1).build().unwrap();
            let stream = match from_file {
                true => context.file_stream(file.path(), parquet.build(Some(file.path())).unwrap()).unwrap(),
                false => context.source("rows", QueueSource::of(schema(), [batch.clone()]).unwrap()).unwrap(),
            };
            let sinks = taken.iter().map(|branch| {
                let sink = MemorySink::new();
                branch(&stream).write(sink.clone()).unwrap();
                sink
            });
            let sinks = sinks.collect::<Vec<_>>();
            context.start().unwrap().await_termination().unwrap();
            sinks.iter().map(|sink| sink.rows().unwrap().unwrap().columns().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(answers(true), answers(false), "{mask:b}");
    }
}
