//! Small streams whose answers were worked out by hand.

use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::prelude::*;

use crate::{Stage, lines, seconds, visits};

#[test]
fn a_running_aggregate_gives_the_groups_that_a_batch_changed() {
    let stage =
        Stage::new(|visits| visits.key_by([col("city")]).running([len().alias("visits"), col("n").sum().alias("n")]));
    assert_eq!(stage.batch(&[(0, "Oslo", 1), (0, "Rome", 2), (0, "Oslo", 3)]), "Oslo 2 4\nRome 1 2");
    assert_eq!(stage.batch(&[(0, "Lima", 5), (0, "Rome", 10)]), "Lima 1 5\nRome 2 12");
    assert_eq!(stage.batch(&[]), "");
    assert_eq!(stage.batch(&[(0, "Oslo", -4)]), "Oslo 3 0");
}

#[test]
fn complete_gives_all_groups_in_the_order_in_which_they_came() {
    let stage = Stage::new(|visits| {
        visits.key_by([col("city")]).output_mode(OutputMode::Complete).running([len().alias("visits")])
    });
    assert_eq!(stage.batch(&[(0, "Oslo", 1), (0, "Rome", 2)]), "Oslo 1\nRome 1");
    assert_eq!(stage.batch(&[(0, "Lima", 1), (0, "Rome", 2)]), "Oslo 1\nRome 2\nLima 1");
    assert_eq!(stage.batch(&[]), "Oslo 1\nRome 2\nLima 1");
}

/// So many rows of so few integers that their places in the range become their ids within the batch.
#[test]
fn groups_come_in_the_order_of_their_first_rows_however_their_ids_were_found() {
    let rows: Vec<(i64, &str, i64)> = (0..150_000).map(|row| (0, "Oslo", 99 - row % 100)).collect();
    let expected = (0..100).map(|rank| format!("{} 1500", 99 - rank)).collect::<Vec<_>>().join("\n");
    for partitions in [1, 2] {
        let context = StreamingContext::builder("order").trigger(Trigger::AvailableNow).partitions(partitions);
        let context = context.build().unwrap();
        let source = QueueSource::of(visits(&[]).schema(), [visits(&rows)]).unwrap();
        let sink = MemorySink::new();
        let running = context.source("visits", source).unwrap().key_by([col("n")]).running([len().alias("visits")]);
        running.write(sink.clone()).unwrap();
        context.start().unwrap().await_termination().unwrap();
        assert_eq!(lines(&sink.rows().unwrap().unwrap()), expected, "{partitions} partitions");
    }
}

#[test]
fn without_keys_there_is_one_group_from_the_beginning() {
    let stage = Stage::new(|visits| visits.key_by([]).running([len().alias("visits"), col("n").max().alias("most")]));
    assert_eq!(stage.batch(&[]), "0 ");
    assert_eq!(stage.batch(&[(0, "Oslo", 1), (0, "Rome", 2)]), "2 2");
    assert_eq!(stage.batch(&[(0, "Oslo", 1)]), "3 2");
}

#[test]
fn windows_come_out_once_when_no_row_of_theirs_is_expected_any_more() {
    let stage = Stage::new(|visits| {
        let visits = visits.with_watermark("time", seconds(5));
        visits.key_by([col("city"), window(col("time"), seconds(10))]).aggregate([len().alias("visits")])
    });
    assert_eq!(stage.batch(&[(3, "Oslo", 1), (12, "Rome", 1)]), "", "the watermark is at 7");
    assert_eq!(stage.batch(&[(4, "Oslo", 1), (14, "Oslo", 1)]), "", "at 9");
    assert_eq!(stage.batch(&[(15, "Lima", 1), (5, "Lima", 1)]), "Oslo 0 10 2\nLima 0 10 1", "at 10");
    let progress = stage.progress(&[(9, "Oslo", 1), (16, "Oslo", 1), (-1, "Oslo", 1)]);
    assert_eq!((progress.late, progress.untimed, progress.groups), (1, 1, 3));
    assert_eq!(stage.batch(&[(40, "Oslo", 1)]), "Rome 10 20 1\nOslo 10 20 2\nLima 10 20 1", "at 35");
    assert_eq!(stage.batch(&[(60, "Oslo", 1)]), "Oslo 40 50 1", "windows without rows are not there");
}

#[test]
fn windows_that_overlap_share_their_rows() {
    let stage = Stage::new(|visits| {
        let visits = visits.with_watermark("time", seconds(0));
        let windows = sliding_window(col("time"), seconds(10), seconds(5));
        visits.key_by([windows.alias("w")]).aggregate([col("n").sum().alias("n")])
    });
    assert_eq!(stage.batch(&[(1, "", 1), (6, "", 10), (11, "", 100)]), "-5 5 1\n0 10 11");
    assert_eq!(stage.batch(&[(16, "", 1000)]), "5 15 110");
    assert_eq!(stage.batch(&[(30, "", 0)]), "10 20 1100\n15 25 1000");
}

#[test]
fn a_total_too_large_for_a_window_that_slides_names_its_key() {
    let stage = Stage::new(|visits| {
        let visits = visits.with_watermark("time", seconds(0));
        let windows = sliding_window(col("time"), seconds(10), seconds(1));
        visits.key_by([col("city"), windows.alias("w")]).aggregate([col("n").sum().alias("n")])
    });
    assert_eq!(stage.batch(&[(1, "Oslo", 7), (1, "Rome", i64::MAX)]), "");
    assert!(stage.batch(&[(2, "Rome", 0), (3, "Lima", 1)]).starts_with("Oslo -8 2 7\nRome -8 2 9223372036854775807"));
    stage.clock.advance(seconds(1));
    stage.queue.push(vec![visits(&[(4, "Rome", 1), (9, "Oslo", 1)])]).unwrap();
    let said = stage.query.tick().unwrap_err().to_string();
    assert!(said.contains("city = Rome") && said.contains("9223372036854775808"), "{said}");
}

#[test]
fn keys_that_come_and_go_are_in_the_windows_of_their_rows_alone() {
    let stage = Stage::new(|visits| {
        let visits = visits.with_watermark("time", seconds(0));
        let windows = sliding_window(col("time"), seconds(8), seconds(1));
        visits.key_by([col("city"), col("n"), windows.alias("w")]).aggregate([len().alias("visits")])
    });
    // Two keys of each second are those of the second before, one is new; of each window in the order of first rows.
    for second in 0..60_i64 {
        let names = (second..second + 3).map(|name| name.to_string()).collect::<Vec<_>>();
        let rows = names.iter().map(|name| (second, name.as_str(), second % 2)).collect::<Vec<_>>();
        let (from, end) = (second - 8, second);
        let mut expected: Vec<(String, i64, usize)> = Vec::new();
        for at in from.max(0)..end {
            for name in at..at + 3 {
                let (name, parity) = (name.to_string(), at % 2);
                match expected.iter_mut().find(|(known, n, _)| (known, *n) == (&name, parity)) {
                    Some((.., visits)) => *visits += 1,
                    None => expected.push((name, parity, 1)),
                }
            }
        }
        let line = |(name, n, visits): &(String, i64, usize)| format!("{name} {n} {from} {end} {visits}");
        let expected = expected.iter().map(line).collect::<Vec<_>>().join("\n");
        assert_eq!(stage.batch(&rows), expected, "second {second}");
    }
}

#[test]
fn update_gives_windows_as_they_change_and_lets_go_of_those_that_are_closed() {
    let stage = Stage::new(|visits| {
        let visits = visits.with_watermark("time", seconds(0));
        let windows = sliding_window(col("time"), seconds(4), seconds(2));
        visits.key_by([col("city"), windows]).output_mode(OutputMode::Update).aggregate([len().alias("visits")])
    });
    assert_eq!(stage.batch(&[(1, "Oslo", 1), (2, "Rome", 1)]), "Oslo -2 2 1\nOslo 0 4 1\nRome 0 4 1\nRome 2 6 1");
    assert_eq!(stage.batch(&[(3, "Oslo", 1), (1, "Lima", 1)]), "Lima 0 4 1\nOslo 0 4 2\nOslo 2 6 1");
    let progress = stage.progress(&[(9, "Oslo", 1), (1, "Oslo", 1)]);
    assert_eq!(progress.late, 0, "the window from 0 to 4 is still open: the watermark was at 3");
    assert_eq!(progress.groups, 1);
}

#[test]
fn late_rows_can_be_kept_apart() {
    let late = MemorySink::new();
    let apart = late.clone();
    let stage = Stage::new(move |visits| {
        let visits = visits.with_watermark("time", seconds(0));
        let by_ten = || window(col("time"), seconds(10));
        visits.late_rows(by_ten()).write(apart).unwrap();
        visits.key_by([by_ten()]).aggregate([len().alias("visits")])
    });
    assert_eq!(stage.batch(&[(1, "a", 1), (12, "b", 2)]), "0 10 1");
    let progress = stage.progress(&[(3, "c", 3), (13, "d", 4), (-1, "e", 5)]);
    assert_eq!((progress.late, progress.untimed), (1, 1));
    let rows = late.rows().unwrap().unwrap();
    assert_eq!(lines(&rows.project(&[1, 2]).unwrap()), "c 3\ne 5");
}

#[test]
fn of_two_streams_the_slower_one_says_when_windows_are_closed() {
    use pelton::connectors::queue::QueueSource;
    let context = StreamingContext::builder("two").trigger(Trigger::Manual).build().unwrap();
    let sink = MemorySink::new();
    let mut queues = Vec::new();
    let mut streams = Vec::new();
    for name in ["fast", "slow"] {
        let (queue, source) = QueueSource::new(visits(&[]).schema());
        queues.push(queue);
        streams.push(context.source(name, source).unwrap().with_watermark("time", seconds(0)));
    }
    let both = streams[0].union(&streams[1]);
    both.key_by([window(col("time"), seconds(10))]).aggregate([len().alias("visits")]).write(sink.clone()).unwrap();
    let query = context.start().unwrap();
    let tick = |fast: &[crate::Row<'_>], slow: &[crate::Row<'_>]| {
        queues[0].push(vec![visits(fast)]).unwrap();
        queues[1].push(vec![visits(slow)]).unwrap();
        query.tick().unwrap().unwrap();
        lines(&sink.batches().pop().unwrap().1)
    };
    assert_eq!(tick(&[(1, "", 1), (50, "", 1)], &[]), "", "nothing is known of the slow one");
    assert_eq!(tick(&[], &[(5, "", 1)]), "");
    assert_eq!(tick(&[], &[(12, "", 1)]), "0 10 2");
}

#[test]
fn a_row_that_comes_late_joins_two_sessions() {
    let stage = Stage::new(|visits| {
        let visits = visits.with_watermark("time", seconds(10));
        visits.key_by([col("city"), session_window(col("time"), seconds(5))]).aggregate([
            len().alias("visits"),
            col("n").sum().alias("n"),
            col("n").first().alias("first"),
        ])
    });
    assert_eq!(stage.batch(&[(10, "Oslo", 1), (14, "Oslo", 2), (18, "Rome", 3)]), "");
    // 20 lies a whole gap behind 14 and more: a session of its own. 15 joins both; Rome's ends at 23.
    assert_eq!(stage.batch(&[(20, "Oslo", 4)]), "");
    assert_eq!(stage.batch(&[(16, "Oslo", 5)]), "");
    // The horizon is 25 now: both are closed, the earlier one first.
    assert_eq!(stage.batch(&[(35, "Lima", 6)]), "Oslo 10 25 4 12 1\nRome 18 23 1 3 3");
    let late = stage.progress(&[(20, "Oslo", 7), (21, "Oslo", 8)]);
    assert_eq!((late.late, late.groups), (1, 2), "a session of the row at 20 would be over, one at 21 not");
}

#[test]
fn what_is_open_at_the_end_is_given_if_that_is_wanted() {
    let run = |on_end| {
        let builder = StreamingContext::builder("end").trigger(Trigger::AvailableNow).on_end(on_end);
        let context = builder.build().unwrap();
        let rows = visits(&[(3, "Oslo", 1), (12, "Oslo", 2), (14, "Rome", 4)]);
        let source = QueueSource::of(rows.schema(), [rows]).unwrap();
        let sink = MemorySink::new();
        let windows = context.source("visits", source).unwrap().with_watermark("time", seconds(1));
        let windows = windows.key_by([sliding_window(col("time"), seconds(10), seconds(5))]);
        windows.aggregate([col("n").sum().alias("n")]).write(sink.clone()).unwrap();
        context.start().unwrap().await_termination().unwrap();
        lines(&sink.rows().unwrap().unwrap())
    };
    assert_eq!(run(OnEnd::Keep), "-5 5 1\n0 10 1");
    assert_eq!(run(OnEnd::Flush), "-5 5 1\n0 10 1\n5 15 6\n10 20 6");
}

#[test]
fn windows_over_batches_may_begin_without_rows() {
    for slide in [None, Some(seconds(2))] {
        let stage =
            Stage::new(|visits| visits.reduce_by_key_and_window([col("city")], seconds(4), slide, [col("n").sum()]));
        assert_eq!(stage.batch(&[]), "");
        assert_eq!(stage.batch(&[(1, "Oslo", 5)]), "Oslo 5");
        let ends: Vec<String> = (0..4).map(|_| stage.batch(&[])).collect();
        assert_eq!(ends[3], "", "and may end so");
    }
}
