//! How much a batch takes: by latency, by rate, by memory; and that none of it touches batches that were cut before.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pelton::checkpoint::{CheckpointOptions, FolderStore};
use pelton::connectors::generator::{GeneratorSource, Pace};
use pelton::generate::{Options, generator};
use pelton::prelude::*;
use pelton::query::ContextBuilder;
use pelton::runtime::{Backpressure, BatchSize, CheckpointPlace, MemoryBudget};

use crate::common::leap_clock::LeapClock;

/// Made-up people, all that are due in each batch.
fn people(rows: u64, per_batch: u64) -> GeneratorSource {
    let people = generator("people", 7, &Options::default()).unwrap();
    GeneratorSource::new(people, Pace::PerBatch(per_batch)).rows_total(rows)
}

/// Runs a query over people to its end, each of whose batches takes so many microseconds a row, and gives its records.
fn run(builder: ContextBuilder, source: GeneratorSource, micros_per_row: fn(u64) -> u64) -> Vec<Progress> {
    let clock = LeapClock::at(Duration::from_secs(1_000));
    let records = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&records);
    let context = builder.clock(clock.clone()).on_progress(move |one| told.lock().unwrap().push(one.clone()));
    let context = context.build().unwrap();
    let stream = context.source("people", source.clock(Arc::clone(context.clock()))).unwrap();
    stream
        .foreach_batch(move |batch, rows| {
            let rows: usize = rows.iter().map(RecordBatch::num_rows).sum();
            clock.pass(Duration::from_micros(micros_per_row(batch) * rows as u64));
            Ok(())
        })
        .unwrap();
    context.start().unwrap().await_termination().unwrap();
    let records = records.lock().unwrap();
    records.clone()
}

fn rows(records: &[Progress]) -> Vec<u64> {
    records.iter().map(|record| record.rows_in).collect()
}

#[test]
fn batches_take_nearly_as_long_as_wanted_also_when_rows_become_dearer() {
    let size = BatchSize { max_latency: Some(Duration::from_millis(200)), ..BatchSize::default() };
    let builder = || StreamingContext::builder("latency").trigger(Trigger::AvailableNow).batch_size(size);
    let records = run(builder(), people(1_000_000, 1_000_000), |batch| if batch < 20 { 10 } else { 40 });
    assert_eq!(rows(&records).iter().sum::<u64>(), 1_000_000);
    let latency = |record: &Progress| record.phases.total;
    for record in records[10..20].iter().chain(&records[30..records.len() - 1]) {
        let took = latency(record);
        assert!(took > Duration::from_millis(140) && took <= Duration::from_millis(200), "{record:?}");
        assert!(record.allowed.bytes.is_some());
    }
    assert!(latency(&records[20]) > Duration::from_millis(500), "the first dear batch could not be foreseen");
    let again = run(builder(), people(1_000_000, 1_000_000), |batch| if batch < 20 { 10 } else { 40 });
    assert_eq!(rows(&again), rows(&records), "the same times give the same cuts");
}

#[test]
fn the_whole_batch_is_bounded_by_rows_and_bytes() {
    let size = BatchSize { max_rows: Some(300), ..BatchSize::default() };
    let builder = |size| StreamingContext::builder("size").trigger(Trigger::AvailableNow).batch_size(size);
    assert_eq!(rows(&run(builder(size), people(1_000, 900), |_| 0)), [300, 300, 300, 100]);
    let size = BatchSize { max_bytes: Some(4_000), ..BatchSize::default() };
    let records = run(builder(size), people(1_000, 900), |_| 0);
    assert!(records.len() > 5 && records.iter().all(|record| record.bytes_in < 5_000), "{:?}", rows(&records));
}

#[test]
fn a_plain_maximum_of_rows_a_second_holds_whatever_the_trigger() {
    let clock = LeapClock::at(Duration::from_secs(1_000));
    let context =
        StreamingContext::builder("rate").trigger(Trigger::AvailableNow).clock(clock.clone()).build().unwrap();
    context.source("people", people(1_000, 1_000)).unwrap().foreach_batch(|_, _| Ok(())).unwrap();
    assert!(context.max_rows_per_second("persons", 1).is_err());
    assert!(context.max_rows_per_second("people", 0).is_err());
    context.max_rows_per_second("people", 50).unwrap();
    let query = context.start().unwrap();
    let totals = query.await_termination().unwrap();
    assert_eq!(totals.rows_in, 1_000);
    let took = pelton::clock::Clock::now(&clock) - Duration::from_secs(1_000);
    assert!(took >= Duration::from_secs(18) && took <= Duration::from_secs(20), "{took:?}");

    let context = StreamingContext::builder("rate").trigger(Trigger::Manual).clock(clock.clone()).build().unwrap();
    context.source("people", people(1_000, 1_000)).unwrap().foreach_batch(|_, _| Ok(())).unwrap();
    context.max_rows_per_second("people", 50).unwrap();
    let query = context.start().unwrap();
    let tick = |seconds| {
        clock.pass(Duration::from_secs(seconds));
        query.tick().unwrap().map(|record| record.rows_in)
    };
    assert_eq!([tick(0), tick(0), tick(1), tick(60)], [Some(50), None, Some(50), Some(50)]);
}

#[test]
fn backpressure_holds_a_source_that_is_too_fast_at_what_batches_get_through() {
    let builder = || StreamingContext::builder("pid").batch_interval(Duration::from_secs(1));
    // 2,000 rows a second come and 1,000 can be computed; after a while 10,000 can.
    let source = || people(100_000, 2_000);
    let dear = |batch| if batch < 40 { 1_000 } else { 100 };
    let records = run(builder().backpressure(Backpressure::default()), source(), dear);
    let is_too_long = |record: &Progress| record.phases.total > Duration::from_secs(1);
    let is_right = |record: &Progress| record.rows_in >= 900 && !is_too_long(record);
    assert!(records[25..40].iter().all(is_right), "{:?}", rows(&records));
    assert!(records[45..50].iter().all(|record| record.rows_in == 2_000), "{:?}", rows(&records));
    let without = run(builder(), source(), dear);
    assert!(without[25..40].iter().all(is_too_long), "the case is one");
    let no_interval = StreamingContext::builder("pid").trigger(Trigger::Once).backpressure(Backpressure::default());
    assert!(no_interval.build().unwrap_err().to_string().contains("interval"));
}

#[test]
fn bytes_in_flight_stay_within_the_budget_and_all_credits_come_back() {
    let budget = MemoryBudget::new(20_000);
    let builder = StreamingContext::builder("memory").trigger(Trigger::AvailableNow).memory_budget(budget.clone());
    let records = run(builder, people(5_000, 5_000), |_| 0);
    assert_eq!(rows(&records).iter().sum::<u64>(), 5_000);
    for record in &records {
        let memory = record.memory.unwrap();
        assert!(memory.in_flight >= record.bytes_in && memory.budget == 20_000, "{memory:?}");
        assert!(record.bytes_in < 12_000, "half of it, as far as the bytes of a row are known: {record:?}");
    }
    assert!(records.len() > 10 && budget.in_flight() == 0);
}

#[test]
fn without_memory_left_no_source_is_read() {
    let budget = MemoryBudget::new(1_000);
    let context = StreamingContext::builder("wait").trigger(Trigger::Manual).memory_budget(budget.clone());
    let context = context.build().unwrap();
    context.source("people", people(10, 10)).unwrap().foreach_batch(|_, _| Ok(())).unwrap();
    let query = context.start().unwrap();
    let held_by_another_query = budget.take(1_000);
    assert_eq!(query.tick().unwrap(), None);
    drop(held_by_another_query);
    assert!(query.tick().unwrap().unwrap().rows_in > 0);
    assert_eq!(budget.in_flight(), 0);
}

#[test]
fn batches_that_were_cut_before_a_death_are_run_as_they_were_whatever_the_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let life = |size: BatchSize, dies: bool| {
        let store = Arc::new(FolderStore::new(folder.path()).sync(false));
        let builder = StreamingContext::builder("cuts").trigger(Trigger::AvailableNow).batch_size(size);
        let place = CheckpointPlace { store, options: CheckpointOptions::default() };
        let builder = builder.checkpoint_at(place).memory_budget(MemoryBudget::new(100_000)).retries(0, Duration::ZERO);
        let records = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&records);
        let context = builder.on_progress(move |one| told.lock().unwrap().push(one.rows_in)).build().unwrap();
        context
            .source("people", people(100, 100))
            .unwrap()
            .foreach_batch(move |batch, _| if dies && batch == 2 { Err(Error::internal("dead")) } else { Ok(()) })
            .unwrap();
        context.max_rows_per_second("people", if dies { 1_000 } else { 1_000_000 }).unwrap();
        let result = context.start().unwrap().await_termination();
        assert_eq!(result.is_err(), dies);
        let records = records.lock().unwrap();
        records.clone()
    };
    let rows = |rows| BatchSize { max_rows: Some(rows), ..BatchSize::default() };
    assert_eq!(life(rows(13), true), [13, 13]);
    let later =
        life(BatchSize { max_rows: Some(5), max_latency: Some(Duration::from_millis(1)), max_bytes: None }, false);
    assert_eq!(later[0], 13, "batch 2 had been cut");
    assert_eq!(later[1], 5);
    assert_eq!(later.iter().sum::<u64>(), 100 - 26);
}
