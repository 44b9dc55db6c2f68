use std::sync::Arc;
use std::time::Duration;

use pelton::clock::VirtualClock;
use pelton::columnar::RecordBatch;
use pelton::connectors::generator::{GeneratorSource, Pace};
use pelton::connectors::{Available, ReadLimits, Source};
use pelton::error::{ErrorKind, Result};
use pelton::generate::{Options, generator};

use crate::contract::check_source;
use crate::tables::{next, number_schema, numbers, rows};

fn count_up(first: u64, rows: usize) -> Result<RecordBatch> {
    let first = i64::try_from(first).unwrap();
    Ok(numbers(first..first + i64::try_from(rows).unwrap()))
}

fn counting(pace: Pace) -> GeneratorSource {
    GeneratorSource::from_fn(number_schema(), pace, count_up)
}

#[test]
fn a_generator_keeps_the_contract() {
    check_source(&mut || Box::new(counting(Pace::PerBatch(70)).rows_total(301)), &numbers(0..301));
    check_source(&mut || Box::new(counting(Pace::PerBatch(u64::MAX)).rows_total(65)), &numbers(0..65));
}

#[test]
fn a_large_batch_is_made_in_parts_by_all_readers() {
    let mut source = counting(Pace::PerBatch(40_001));
    let range = next(&mut source);
    for partitions in [1, 2, 7] {
        assert_eq!(rows(&mut source, &range, partitions), numbers(0..40_001));
    }
}

#[test]
fn without_limits_all_rows_come_at_once_whatever_the_pace() {
    let once = ReadLimits { is_lifted: true, ..ReadLimits::default() };
    for pace in [Pace::PerBatch(10), Pace::PerSecond(1)] {
        let mut source = counting(pace).rows_total(100);
        let Available::Range(range) = source.next_range(&once).unwrap() else { panic!("there are rows") };
        assert_eq!(rows(&mut source, &range, 2), numbers(0..100));
        assert_eq!(source.next_range(&once).unwrap(), Available::Ended);
    }
}

#[test]
fn a_sample_stream_keeps_the_contract() {
    let people = generator("people", 1, &Options::default()).unwrap();
    let all = people.rows(0, 500).unwrap();
    check_source(&mut || Box::new(GeneratorSource::new(Arc::clone(&people), Pace::PerBatch(99)).rows_total(500)), &all);
}

#[test]
fn rows_come_at_their_rate_and_none_are_forgotten() {
    let clock = VirtualClock::at(Duration::from_secs(1_000));
    let mut source = counting(Pace::PerSecond(3)).clock(Arc::new(clock.clone())).rows_total(12);
    let none = ReadLimits::default();
    assert_eq!(source.next_range(&none).unwrap(), Available::Nothing, "the first rows are not due yet");
    clock.advance(Duration::from_millis(500));
    let range = next(&mut source);
    assert_eq!(rows(&mut source, &range, 1), numbers(0..1));
    assert_eq!(source.next_range(&none).unwrap(), Available::Nothing);
    clock.advance(Duration::from_millis(2_500));
    let range = next(&mut source);
    assert_eq!(rows(&mut source, &range, 2), numbers(1..9), "9 rows in 3 seconds");
    clock.advance(Duration::from_secs(100));
    let range = next(&mut source);
    assert_eq!(rows(&mut source, &range, 2), numbers(9..12));
    assert_eq!(source.next_range(&none).unwrap(), Available::Ended);
}

#[test]
fn a_second_life_goes_on_at_the_rate_from_where_the_first_stopped() {
    let clock = VirtualClock::at(Duration::ZERO);
    let fresh = || counting(Pace::PerSecond(10)).clock(Arc::new(clock.clone()));
    let mut first = fresh();
    first.next_range(&ReadLimits::default()).unwrap();
    clock.advance(Duration::from_secs(1));
    let done = next(&mut first);
    let mut second = fresh();
    second.resume(&[done]).unwrap();
    assert_eq!(second.next_range(&ReadLimits::default()).unwrap(), Available::Nothing);
    clock.advance(Duration::from_secs(2));
    let range = next(&mut second);
    assert_eq!(rows(&mut second, &range, 1), numbers(10..30));
}

#[test]
fn a_closure_that_gives_too_few_rows_or_other_columns_is_told() {
    let mut short = GeneratorSource::from_fn(number_schema(), Pace::PerBatch(5), |_, _| Ok(numbers(0..3)));
    let range = next(&mut short);
    let error = short.read(&range, 1).unwrap().remove(0).next_batch().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Function);
    assert!(error.to_string().contains("asked for 5 rows"), "{error}");
}
