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

/// Batches with what comes of each, written side by side.
fn table<'a>(stream: impl FnOnce(&DStream) -> DStream, batches: &[(&[crate::Row<'a>], &str)]) {
    let stage = Stage::new(stream);
    for (number, (rows, expected)) in batches.iter().enumerate() {
        assert_eq!(stage.batch(rows), *expected, "batch {}", number + 1);
    }
}

/// The running word count of Spark's guide: `updateStateByKey(lambda new, last: sum(new, last or 0))`. Spark gives all keys
/// with each batch.
#[test]
fn a_running_count_keeps_its_state_from_batch_to_batch() {
    let running = |words: &DStream| {
        let words = words.with_columns([lit(1_i64).alias("n")]).key_by([col("city")]).output_mode(OutputMode::Complete);
        words.update_state_by_key([col("n")], |_: &String, new: Vec<i64>, last: Option<i64>| {
            Some(new.iter().sum::<i64>() + last.unwrap_or(0))
        })
    };
    table(
        running,
        &[
            (&[(0, "hello", 1), (0, "world", 1), (0, "hello", 1)], "hello 2\nworld 1"),
            (&[(0, "world", 1)], "hello 2\nworld 2"),
            (&[], "hello 2\nworld 2"),
            (&[(0, "spark", 1), (0, "hello", 1)], "hello 3\nworld 2\nspark 1"),
        ],
    );
}

/// What `mapWithState` gives: for each row the word and its count so far, and nothing for keys without rows.
#[test]
fn map_with_state_gives_a_row_for_each_row() {
    let counted = |words: &DStream| {
        words.key_by([col("city")]).map_with_state([col("n")], |_: &String, one: Option<i64>, sum: &mut State<i64>| {
            sum.set(one.unwrap_or(0) + sum.get().unwrap_or(&0));
            *sum.get().unwrap_or(&0)
        })
    };
    table(
        counted,
        &[
            (&[(0, "hello", 1), (0, "world", 1), (0, "hello", 1)], "hello 1\nworld 1\nhello 2"),
            (&[], ""),
            (&[(0, "hello", 1)], "hello 3"),
        ],
    );
}

/// `reduceByKeyAndWindow(a + b, a - b, 3, 1)`: what the inverse function makes of the answer before, of the batch that comes
/// and of the one that leaves, is what Pelton gives without an inverse; but a key whose rows have all left is not there.
#[test]
fn a_sliding_sum_is_that_of_the_inverse_function() {
    let batches: [&[crate::Row<'_>]; 6] = [
        &[(0, "a", 1), (0, "b", 10)],
        &[(0, "a", 2)],
        &[(0, "a", 4), (0, "b", 20)],
        &[(0, "b", 40)],
        &[],
        &[(0, "a", 8)],
    ];
    let expected = ["a 1\nb 10", "a 3\nb 10", "a 7\nb 30", "a 6\nb 60", "a 4\nb 60", "b 40\na 8"];
    let sum =
        |batch: &[crate::Row<'_>], city: &str| batch.iter().filter(|row| row.1 == city).map(|row| row.2).sum::<i64>();
    let mut inverse = std::collections::BTreeMap::from([("a", 0), ("b", 0)]);
    let stage = Stage::new(|visits| {
        visits.reduce_by_key_and_window([col("city")], seconds(3), None, [col("n").sum().alias("n")])
    });
    for (number, (batch, expected)) in batches.iter().zip(expected).enumerate() {
        let given = stage.batch(batch);
        assert_eq!(given, expected, "batch {}", number + 1);
        for (city, total) in &mut inverse {
            let leaving = number.checked_sub(3).map_or(0, |leaving| sum(batches[leaving], city));
            *total += sum(batch, city) - leaving;
            let line = format!("{city} {total}");
            assert!(*total == 0 || given.lines().any(|given| given == line), "batch {}: {line}", number + 1);
        }
    }
}

/// `reduceByKeyAndWindow((a, b) => a + b, (a, b) => a - b, Seconds(2), Seconds(1))`, worked by hand after Spark's own: without a
/// filter a key stays with what is left of it, and with `filterFunc` it goes.
#[test]
fn an_inverse_function_keeps_keys_unless_a_filter_lets_them_go() {
    let batches: [&[crate::Row<'_>]; 7] =
        [&[], &[(0, "a", 1)], &[(0, "a", 1), (0, "b", 1)], &[(0, "b", 1)], &[], &[], &[(0, "b", 1), (0, "b", 1)]];
    let sums = || WindowReduce::by(|a: i64, b: i64| a + b).inverse(|a, b| a - b);
    let window = |reduce: WindowReduce<i64>| {
        move |visits: &DStream| {
            visits.reduce_by_key_and_window_with([col("city")], [col("n")], seconds(2), None, reduce)
        }
    };
    let given = ["", "a 1", "a 2\nb 1", "a 1\nb 2", "a 0\nb 1", "a 0\nb 0", "a 0\nb 2"];
    table(window(sums()), &batches.into_iter().zip(given).collect::<Vec<_>>());
    let given = ["", "a 1", "a 2\nb 1", "a 1\nb 2", "b 1", "", "b 2"];
    let kept = sums().keep_if(|_: &String, sum: &i64| *sum != 0);
    table(window(kept), &batches.into_iter().zip(given).collect::<Vec<_>>());
    // And `reduceByKeyAndWindow(_ + _, Seconds(2), Seconds(2))`: every other batch, keys with rows alone.
    let given = ["", "a 1", "", "a 1\nb 2", "", "", ""];
    let every_other = |visits: &DStream| {
        let sums = WindowReduce::by(|a: i64, b: i64| a + b);
        visits.reduce_by_key_and_window_with([col("city")], [col("n")], seconds(2), Some(seconds(2)), sums)
    };
    table(every_other, &batches.into_iter().zip(given).collect::<Vec<_>>());
}

/// `reduceByWindow(_ + _, Seconds(3), Seconds(1))` of texts, which are put together in the order of batches.
#[test]
fn a_reduce_by_window_keeps_the_order_of_batches() {
    let joined = |visits: &DStream| {
        let joined = WindowReduce::by(|a: String, b: String| a + &b);
        visits.reduce_by_window_with([col("city")], seconds(3), None, joined)
    };
    table(
        joined,
        &[
            (&[(0, "a", 1), (0, "b", 1)], "ab"),
            (&[(0, "c", 1)], "abc"),
            (&[], "abc"),
            (&[(0, "d", 1)], "cd"),
            (&[], "d"),
            (&[], "d"),
            (&[], ""),
        ],
    );
}

/// `window(3, 2)` of the guide's drawing, as the rows that it holds.
#[test]
fn a_window_of_three_batches_every_two_holds_their_rows() {
    let window = |visits: &DStream| {
        let cities = col("city").concat("").alias("cities");
        visits.reduce_by_window(seconds(3), Some(seconds(2)), [cities, len().alias("rows")])
    };
    table(
        window,
        &[
            (&[(0, "a", 1)], ""),
            (&[(0, "b", 1)], "ab 2"),
            (&[(0, "c", 1)], ""),
            (&[(0, "d", 1)], "bcd 3"),
            (&[], ""),
            (&[(0, "f", 1)], "df 2"),
        ],
    );
}

/// `transform(rdd => rdd.join(spamInfo).filter(...))`: each batch beside a table.
#[test]
fn transform_cleans_each_batch_by_a_table() {
    let spam: arrow_array::ArrayRef = std::sync::Arc::new(arrow_array::StringArray::from(vec!["spam", "scam"]));
    let spam = RecordBatch::try_from_iter([("city", spam)]).unwrap();
    let cleaned =
        |visits: &DStream| visits.select([col("city"), col("n")]).join_static(spam, ["city"], JoinKind::Anti).unwrap();
    table(
        cleaned,
        &[
            (&[(0, "news", 1), (0, "spam", 2), (0, "mail", 3)], "news 1\nmail 3"),
            (&[(0, "scam", 4)], ""),
            (&[(0, "news", 5)], "news 5"),
        ],
    );
}

/// Two streams of one query, a batch of each a tick.
fn both(make: impl FnOnce(&DStream, &DStream) -> DStream, batches: &[(&[crate::Row<'_>], &[crate::Row<'_>], &str)]) {
    use pelton::connectors::memory::MemorySink;
    use pelton::connectors::queue::QueueSource;

    let context = StreamingContext::builder("both").trigger(Trigger::Manual).build().unwrap();
    let sink = MemorySink::new();
    let (left_queue, left) = QueueSource::new(crate::visits(&[]).schema());
    let (right_queue, right) = QueueSource::new(crate::visits(&[]).schema());
    let (left, right) = (context.source("left", left).unwrap(), context.source("right", right).unwrap());
    make(&left, &right).write(sink.clone()).unwrap();
    let query = context.start().unwrap();
    for (number, (left, right, expected)) in batches.iter().enumerate() {
        left_queue.push(vec![crate::visits(left)]).unwrap();
        right_queue.push(vec![crate::visits(right)]).unwrap();
        query.tick().unwrap().unwrap();
        assert_eq!(crate::lines(&sink.batches().pop().unwrap().1), *expected, "batch {}", number + 1);
    }
}

/// `union`: the rows of both batches.
#[test]
fn a_union_holds_the_rows_of_both_streams_batch_by_batch() {
    both(
        |left, right| left.union(right).select([col("city"), col("n")]),
        &[
            (&[(0, "a", 1), (0, "b", 2)], &[(0, "a", 10)], "a 1\nb 2\na 10"),
            (&[], &[(0, "c", 20)], "c 20"),
            (&[(0, "d", 3)], &[], "d 3"),
        ],
    );
}

/// `cogroup`, and with it `join`, `leftOuterJoin`, `fullOuterJoin` of what is one row a key in a batch: both sides of each key.
#[test]
fn a_cogroup_puts_both_sides_of_a_key_beside_each_other_batch_by_batch() {
    both(
        |left, right| {
            let side =
                |stream: &DStream, is_left: bool| stream.select([col("city"), col("n"), lit(is_left).alias("is_left")]);
            let sum = |is_left: Expr, name: &str| col("n").sum().filter(is_left).alias(name);
            let both = side(left, true).union(&side(right, false)).key_by([col("city")]);
            both.aggregate([sum(col("is_left"), "left"), sum(!col("is_left"), "right")])
        },
        &[
            (&[(0, "a", 1), (0, "b", 2)], &[(0, "a", 10), (0, "c", 30)], "a 1 10\nb 2 \nc  30"),
            (&[(0, "a", 4)], &[], "a 4 "),
            (&[(0, "b", 5)], &[(0, "b", 50)], "b 5 50"),
        ],
    );
}
