//! What operations of a stream do, end to end.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, UInt64Type};
use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::prelude::*;

use crate::visits;

/// Runs one batch through what `describe` makes of the stream, on a device with a number of partitions.
fn run(batch: &RecordBatch, device: Device, describe: impl Fn(DStream) -> Result<DStream>) -> Result<RecordBatch> {
    let context =
        StreamingContext::builder("test").trigger(Trigger::AvailableNow).device(device).partitions(2).build()?;
    let source = QueueSource::of(batch.schema(), [batch.clone()])?;
    let sink = MemorySink::new();
    describe(context.source("visits", source)?)?.write(sink.clone())?;
    context.start()?.await_termination()?;
    sink.rows()?.ok_or_else(|| Error::internal("no batch was written"))
}

/// The same answer from both backends.
fn answer(batch: &RecordBatch, describe: impl Fn(DStream) -> Result<DStream>) -> RecordBatch {
    let cpu = run(batch, Device::Cpu, &describe).unwrap();
    let reference = run(batch, Device::Reference, &describe).unwrap();
    assert_eq!(cpu, reference, "the CPU and the reference differ");
    cpu
}

fn texts(batch: &RecordBatch, column: usize) -> Vec<&str> {
    batch.column(column).as_string::<i32>().iter().map(Option::unwrap).collect()
}

fn numbers(batch: &RecordBatch, column: usize) -> Vec<Option<i64>> {
    batch.column(column).as_primitive::<Int64Type>().iter().collect()
}

fn sample() -> RecordBatch {
    visits(&[("Oslo", 3), ("Rome", 5), ("Oslo", 1), ("Bern", 5), ("Rome", 2)])
}

#[test]
fn filter_and_with_columns_keep_the_order_of_rows() {
    let rows =
        answer(&sample(), |stream| Ok(stream.filter(col("n").gt(2)).with_columns([(col("n") * 10).alias("tenfold")])));
    assert_eq!(texts(&rows, 0), ["Oslo", "Rome", "Bern"]);
    assert_eq!(numbers(&rows, 2), [Some(30), Some(50), Some(50)]);
}

#[test]
fn a_keyed_reduce_gives_groups_in_the_order_of_their_first_rows() {
    let rows = answer(&sample(), |stream| {
        Ok(stream.key_by([col("city")]).aggregate([len().alias("visits"), col("n").sum().alias("total")]))
    });
    assert_eq!(texts(&rows, 0), ["Oslo", "Rome", "Bern"]);
    assert_eq!(numbers(&rows, 1), [Some(2), Some(2), Some(1)]);
    assert_eq!(numbers(&rows, 2), [Some(4), Some(7), Some(5)]);
}

#[test]
fn a_closure_reduces_groups() {
    let rows = answer(&sample(), |stream| Ok(stream.key_by([col("city")]).reduce(col("n"), |a: i64, b: i64| a.max(b))));
    assert_eq!(texts(&rows, 0), ["Oslo", "Rome", "Bern"]);
    assert_eq!(numbers(&rows, 1), [Some(3), Some(5), Some(5)]);
}

#[test]
fn sort_top_n_limit_and_distinct() {
    let sorted = answer(&sample(), |stream| Ok(stream.sort([SortBy::from("n").descending(), SortBy::from("city")])));
    assert_eq!(texts(&sorted, 0), ["Bern", "Rome", "Oslo", "Rome", "Oslo"]);
    let top = answer(&sample(), |stream| Ok(stream.top_n(2, [SortBy::from("n").descending()])));
    assert_eq!(texts(&top, 0), ["Rome", "Bern"], "equal rows stay in the order they came");
    let first = answer(&sample(), |stream| Ok(stream.limit(2)));
    assert_eq!(texts(&first, 0), ["Oslo", "Rome"]);
    let cities = answer(&sample(), |stream| Ok(stream.select([col("city")]).distinct()));
    assert_eq!(texts(&cities, 0), ["Oslo", "Rome", "Bern"]);
    let firsts = answer(&sample(), |stream| Ok(stream.distinct_by(["city"])));
    assert_eq!(numbers(&firsts, 1), [Some(3), Some(5), Some(5)]);
}

#[test]
fn joins_add_the_columns_of_the_table() {
    let table = visits(&[("Oslo", 47), ("Rome", 39)]);
    let inner = |stream: DStream| {
        let table = StaticTable::new("countries", table.clone());
        stream.select([col("city"), col("n").alias("visits")]).join_static(table, ["city"], JoinKind::Inner)
    };
    let rows = answer(&sample(), inner);
    assert_eq!(texts(&rows, 0), ["Oslo", "Rome", "Oslo", "Rome"]);
    assert_eq!(numbers(&rows, 2), [Some(47), Some(39), Some(47), Some(39)]);
    let left = answer(&sample(), |stream| {
        let stream = stream.select([col("city"), col("n").alias("visits")]);
        stream.join_static(table.clone(), [("city", "city")], JoinKind::Left)
    });
    assert_eq!(numbers(&left, 2)[3], None);
    let anti = answer(&sample(), |stream| stream.join_static(table.clone(), ["city"], JoinKind::Anti));
    assert_eq!(texts(&anti, 0), ["Bern"]);
    let semi = answer(&sample(), |stream| stream.join_static(table.clone(), ["city"], JoinKind::Semi));
    assert_eq!(semi.num_rows(), 4);
}

#[test]
fn flat_map_gives_a_row_for_each_item() {
    let rows = answer(&visits(&[("a b", 1), ("", 2), ("c", 3)]), |stream| {
        Ok(stream.flat_map(col("city").split_whitespace().alias("word")).select([col("word"), col("n")]))
    });
    assert_eq!(texts(&rows, 0), ["a", "b", "c"]);
    assert_eq!(numbers(&rows, 1), [Some(1), Some(1), Some(3)]);
}

#[test]
fn closures_on_lines_give_values_and_tuples() {
    let lines = |stream: DStream| stream.select([col("city")]);
    let lengths = answer(&sample(), |stream| Ok(lines(stream).map_lines(|line| line.len() as u64)));
    assert_eq!(lengths.column(0).as_primitive::<UInt64Type>().values().to_vec(), [4; 5]);
    let letters = answer(&visits(&[("ab", 1), ("c", 1)]), |stream| {
        Ok(lines(stream).flat_map_lines(|line| line.chars().map(|c| (c.to_string(), 1_i64)).collect::<Vec<_>>()))
    });
    assert_eq!(texts(&letters, 0), ["a", "b", "c"]);
    assert_eq!(letters.schema().field(1).name(), "_2");
}

#[test]
fn union_repartition_and_count() {
    let rows = answer(&sample(), |stream| {
        let big = stream.filter(col("n").gt(4));
        let small = stream.filter(col("n").lt(2));
        Ok(big.union(&small).repartition(3))
    });
    assert_eq!(numbers(&rows, 1), [Some(5), Some(5), Some(1)]);
    let count = answer(&sample(), |stream| Ok(stream.filter(col("n").gt(100)).count()));
    assert_eq!(numbers(&count, 0), [Some(0)], "no rows are one row that says 0");
    let values = answer(&sample(), |stream| Ok(stream.count_by_value(col("n"))));
    assert_eq!(numbers(&values, 1), [Some(1), Some(2), Some(1), Some(1)]);
}

#[test]
fn branches_of_a_cache_see_the_same_rows() {
    let context = StreamingContext::builder("test").trigger(Trigger::Once).partitions(1).build().unwrap();
    let source = QueueSource::of(sample().schema(), [sample()]).unwrap();
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&calls);
    let schema = sample().schema();
    let cached = context
        .source("visits", source)
        .unwrap()
        .map_batches(schema, move |batch| {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(batch.clone())
        })
        .cache();
    let (left, right) = (MemorySink::new(), MemorySink::new());
    cached.filter(col("n").gt(2)).write(left.clone()).unwrap();
    cached.count().write(right.clone()).unwrap();
    context.start().unwrap().await_termination().unwrap();
    assert_eq!(left.rows().unwrap().unwrap().num_rows(), 3);
    assert_eq!(numbers(&right.rows().unwrap().unwrap(), 0), [Some(5)]);
    assert_eq!(calls.load(std::sync::atomic::Ordering::SeqCst), 1, "the closure ran once for both outputs");
}

#[test]
fn a_failing_closure_is_an_error_that_names_it() {
    let failed = run(&sample(), Device::Cpu, |stream| {
        Ok(stream.map_batches(sample().schema(), |_| -> Result<RecordBatch> { panic!("no luck") }))
    });
    let error = failed.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Function);
    assert!(error.to_string().contains("the function \"closure\" panicked: no luck"), "{error}");
}

#[test]
fn mistakes_are_found_before_the_start_and_name_the_operation() {
    type Describe = fn(DStream) -> DStream;
    let message =
        |describe: Describe| run(&sample(), Device::Cpu, |stream| Ok(describe(stream))).unwrap_err().to_string();
    let cases: [(Describe, &str); 6] = [
        (|s| s.filter(col("nn").gt(1)), "in filter: "),
        (|s| s.filter(col("n") + 1), "in filter: the predicate"),
        (|s| s.select([col("n"), col("city").alias("n")]), "in select: two columns would be called \"n\""),
        (|s| s.union(&s.select([col("city")])), "in union: stream 2 has city Utf8"),
        (|s| s.map_lines(|line| line.len() as u64), "in map_lines: a function of lines needs"),
        (|s| s.key_by([col("city")]).aggregate([col("city").sum()]), "in key_by.aggregate: "),
    ];
    for (describe, start) in cases {
        let message = message(describe);
        assert!(message.starts_with(start), "{message}");
    }
}

#[test]
fn streams_of_different_contexts_do_not_unite() {
    let stream = || {
        let context = StreamingContext::builder("test").build().unwrap();
        context.source("visits", QueueSource::of(sample().schema(), [sample()]).unwrap()).unwrap()
    };
    let error = stream().union(&stream()).schema().unwrap_err();
    assert!(error.to_string().contains("different contexts"), "{error}");
}
