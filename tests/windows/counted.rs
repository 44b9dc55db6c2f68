//! Windows by the number of rows: worked cases, and any cut into batches and partitions against a model.

use std::collections::BTreeMap;

use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::prelude::*;

use crate::common::Random;
use crate::{Row, Stage, lines, visits};

#[test]
fn a_window_comes_with_its_last_row_and_what_is_left_waits() {
    let stage = Stage::new(|visits| {
        visits.key_by([col("city")]).count_window(3, [col("n").sum().alias("n"), col("n").last().alias("last")])
    });
    assert_eq!(stage.batch(&[(0, "Oslo", 1), (0, "Rome", 10), (0, "Oslo", 2)]), "");
    assert_eq!(stage.progress(&[]).groups, 2);
    let all = stage.batch(&[(0, "Rome", 20), (0, "Oslo", 3), (0, "Rome", 30), (0, "Oslo", 4), (0, "Rome", 40)]);
    assert_eq!(all, "Oslo 6 3\nRome 60 30");
    assert_eq!(stage.batch(&[(0, "Oslo", 5), (0, "Oslo", 6)]), "Oslo 15 6");
    assert_eq!(stage.progress(&[(0, "Rome", 50), (0, "Rome", 60)]).groups, 0, "nothing waits");
    assert_eq!(stage.batch(&[]), "");
}

#[test]
fn a_key_may_complete_several_windows_in_a_batch() {
    let stage = Stage::new(|visits| visits.key_by([col("city")]).count_window(2, [col("n").sum().alias("n")]));
    let rows: Vec<Row<'_>> = (1..=7).map(|n| (0, if n == 4 { "Rome" } else { "Oslo" }, n)).collect();
    assert_eq!(stage.batch(&rows), "Oslo 3\nOslo 8\nOslo 13");
}

/// Flink's count trigger with a count evictor.
#[test]
fn windows_that_slide_begin_with_the_rows_there_are() {
    let stage = Stage::new(|visits| {
        visits.key_by([]).count_window_sliding(5, 2, [len().alias("rows"), col("n").sum().alias("n")])
    });
    assert_eq!(stage.batch(&[(0, "", 1), (0, "", 10), (0, "", 100)]), "2 11");
    assert_eq!(stage.batch(&[(0, "", 1_000)]), "4 1111");
    assert_eq!(stage.batch(&[(0, "", 10_000)]), "");
    assert_eq!(stage.batch(&[(0, "", 100_000), (0, "", 0), (0, "", 0)]), "5 111110\n5 111000");
}

#[test]
fn rows_that_an_aggregate_does_not_see_count_all_the_same() {
    let stage = Stage::new(|visits| {
        visits.key_by([col("city")]).count_window(2, [col("n").max().filter(col("n").gt(5)).alias("n")])
    });
    assert_eq!(stage.batch(&[(0, "Oslo", 1), (0, "Oslo", 2), (0, "Oslo", 9), (0, "Oslo", 3)]), "Oslo \nOslo 9");
}

#[test]
fn the_first_windows_of_a_batch_begin_with_the_same_rows() {
    let stage = Stage::new(|visits| {
        let median = col("n").quantile(0.5).alias("median");
        visits.key_by([]).count_window_sliding(10, 3, [median, col("n").n_unique().alias("different")])
    });
    let rows: Vec<Row<'_>> = (1..=9).map(|n| (0, "", n)).collect();
    assert_eq!(stage.batch(&rows), "2.0 3\n3.5 6\n5.0 9");
}

/// What comes of rows in this order, whatever the cut.
fn model(rows: &[Row<'_>], size: usize, slide: usize) -> Vec<String> {
    let mut of_city: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let mut windows = Vec::new();
    for (_, city, n) in rows {
        let numbers = of_city.entry(city).or_default();
        numbers.push(*n);
        if numbers.len().is_multiple_of(slide) {
            let window = &numbers[numbers.len().saturating_sub(size)..];
            let (first, sum) = (window[0], window.iter().sum::<i64>());
            windows.push(format!("{city} {} {first} {n} {sum}", window.len()));
        }
    }
    windows
}

#[test]
fn no_cut_into_batches_and_partitions_changes_a_window() {
    let mut random = Random::new(7);
    let cities = ["Oslo", "Rome", "Lima"];
    for (size, slide) in [(1, 1), (4, 4), (10, 3), (6, 4), (50, 1)] {
        let whole = |random: &mut Random| (0, random.pick(&cities), i64::try_from(random.below(1_000)).unwrap());
        let rows: Vec<Row<'_>> = (0..400).map(|_| whole(&mut random)).collect();
        let expected = model(&rows, size, slide);
        for partitions in [1, 2, 5] {
            let context = StreamingContext::builder("cuts").trigger(Trigger::Manual).partitions(partitions);
            let context = context.build().unwrap();
            let (queue, source) = QueueSource::new(visits(&[]).schema());
            let sink = MemorySink::new();
            let aggregates = [
                len().alias("rows"),
                col("n").first().alias("first"),
                col("n").last().alias("last"),
                col("n").sum().alias("sum"),
            ];
            let stream = context.source("visits", source).unwrap().key_by([col("city")]);
            stream.count_window_sliding(size as u64, slide as u64, aggregates).write(sink.clone()).unwrap();
            let query = context.start().unwrap();
            let mut rest = &rows[..];
            while !rest.is_empty() {
                let mut pieces = Vec::new();
                for _ in 0..=random.below(6) {
                    let (piece, later) = rest.split_at(random.below(20).min(rest.len()));
                    pieces.push(visits(piece));
                    rest = later;
                }
                queue.push(pieces).unwrap();
                query.tick().unwrap().unwrap();
            }
            let given = lines(&sink.rows().unwrap().unwrap());
            assert_eq!(given.lines().collect::<Vec<_>>(), expected, "{size} every {slide}, {partitions} partitions");
        }
    }
}
