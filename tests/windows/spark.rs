//! Spark's windowed operations: the batches at 1, 2, 3, … seconds hold the rows that came since the batch before.

use pelton::prelude::*;

use crate::{Stage, seconds};

#[test]
fn a_window_holds_the_latest_batches_and_slides_with_each() {
    let stage = Stage::new(|visits| visits.count_by_window(seconds(3), None));
    let rows = [(0, "a", 1)];
    assert_eq!(stage.batch(&rows), "1");
    assert_eq!(stage.batch(&[(0, "a", 1), (0, "b", 1)]), "3");
    assert_eq!(stage.batch(&rows), "4");
    assert_eq!(stage.batch(&[]), "3", "the first batch has left");
    assert_eq!(stage.batch(&[]), "1");
    assert_eq!(stage.batch(&[]), "0");
}

#[test]
fn a_window_of_three_that_slides_by_two_answers_every_second_batch() {
    let stage = Stage::new(|visits| {
        visits.reduce_by_key_and_window([col("city")], seconds(3), Some(seconds(2)), [col("n").sum().alias("n")])
    });
    assert_eq!(stage.batch(&[(0, "a", 1), (0, "b", 1)]), "");
    assert_eq!(stage.batch(&[(0, "a", 10)]), "a 11\nb 1", "the batches at 1 and 2");
    assert_eq!(stage.batch(&[(0, "b", 100)]), "");
    assert_eq!(stage.batch(&[(0, "c", 1000)]), "a 10\nb 100\nc 1000", "the batches at 2, 3 and 4");
    assert_eq!(stage.batch(&[]), "");
    assert_eq!(stage.batch(&[]), "c 1000", "the batches at 4, 5 and 6");
}

#[test]
fn values_are_counted_over_the_window() {
    let stage = Stage::new(|visits| visits.count_by_value_and_window(col("city"), seconds(2), None));
    assert_eq!(stage.batch(&[(0, "a", 1), (0, "b", 1), (0, "a", 1)]), "a 2\nb 1");
    assert_eq!(stage.batch(&[(0, "b", 1)]), "a 2\nb 2");
    assert_eq!(stage.batch(&[(0, "c", 1)]), "b 1\nc 1");
}

#[test]
fn extremes_leave_with_their_batch() {
    let stage = Stage::new(|visits| {
        visits.reduce_by_window(
            seconds(2),
            None,
            [col("n").max().alias("most"), col("n").quantile(0.5).alias("median")],
        )
    });
    assert_eq!(stage.batch(&[(0, "a", 9), (0, "a", 1)]), "9 5.0");
    assert_eq!(stage.batch(&[(0, "a", 3)]), "9 3.0");
    assert_eq!(stage.batch(&[(0, "a", 4)]), "4 3.5");
}

#[test]
fn time_alone_moves_a_window_when_nothing_comes() {
    let stage = Stage::new(|visits| visits.count_by_window(seconds(2), None));
    assert_eq!(stage.batch(&[(0, "a", 1)]), "1");
    for left in ["1", "0"] {
        stage.clock.advance(seconds(1));
        let progress = stage.query.tick().unwrap().unwrap();
        assert_eq!(progress.rows_in, 0);
        assert_eq!(crate::lines(&stage.sink.batches().pop().unwrap().1), left);
    }
}
