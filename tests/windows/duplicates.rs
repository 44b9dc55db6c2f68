//! Rows that come once, against `kernels::drop_duplicates::reference`, in one life and in many.

use std::time::Duration;

use pelton::kernels::drop_duplicates;
use pelton::kernels::keep::Moment;
use pelton::plan::stage::End;
use pelton::prelude::*;

use crate::oracle::{BATCHES, batch, run};
use crate::{Stage, lines, seconds, visits};

type Describe = fn(&DStream) -> DStream;

const QUERIES: &[(&str, Describe)] = &[
    ("all columns", |visits| visits.drop_duplicates([""; 0])),
    ("for good", |visits| visits.drop_duplicates(["city", "n"])),
    ("for a while", |visits| visits.drop_duplicates_by(["n"], Remember::Batches(seconds(3)), Some("recent"))),
    ("within the watermark", |visits| {
        visits.with_watermark("time", seconds(4)).drop_duplicates_within_watermark(["city"])
    }),
    ("within the watermark, by time", |visits| {
        visits.with_watermark("time", seconds(4)).drop_duplicates_within_watermark(["time", "city"])
    }),
    ("in windows", |visits| {
        visits.with_watermark("time", seconds(4)).drop_duplicates_by(["city"], Remember::Window(seconds(3)), None)
    }),
    ("a rule that keeps", |visits| visits.validate([Rule::unique(["city", "n"])])),
    ("a rule for a while", |visits| {
        visits.validate([Rule::unique_by(["n"], Remember::Batches(seconds(3))).or_drop().named("n once")])
    }),
    ("a rule in windows", |visits| {
        let rule = Rule::unique_by(["city"], Remember::Window(seconds(5))).or_drop().named("once");
        visits.with_watermark("time", seconds(4)).validate([rule])
    }),
    ("a rule within the watermark", |visits| {
        let rule = Rule::unique_by(["city"], Remember::WithinWatermark);
        visits.with_watermark("time", seconds(4)).validate([rule])
    }),
];

fn expected(seed: u64, describe: Describe) -> Vec<RecordBatch> {
    let context = StreamingContext::builder("plan").build().unwrap();
    let source = pelton::connectors::queue::QueueSource::of(visits(&[]).schema(), []).unwrap();
    let stream = describe(&context.source("visits", source).unwrap());
    let plan = pelton::plan::plan(&[std::sync::Arc::clone(stream.plan())]).unwrap();
    let drop = plan.stages.iter().find_map(|stage| match &stage.end {
        End::DropDuplicates(drop) => Some(drop.clone()),
        _ => None,
    });
    let drop = drop.unwrap();
    let (mut history, mut horizon) = (Vec::new(), None);
    let answers = (0..BATCHES).map(|number| {
        let rows = batch(seed, number);
        let times = arrow_cast::cast(rows.column(0), &DataType::Int64).unwrap();
        let times = (0..rows.num_rows()).filter_map(|row| match Scalar::from_array(&times, row).unwrap() {
            Scalar::Int64(time) => Some(time),
            _ => None,
        });
        let (horizon_before, newest) = (horizon, times.max());
        if let (false, Some(newest)) = (drop.watermarks.is_empty(), newest) {
            horizon = horizon.max(Some((newest - 4) * 1_000_000));
        }
        let time = Duration::from_secs(number as u64 + 1);
        history.push((rows, Moment { time, previous: None, horizon_before, horizon }));
        drop_duplicates::reference(&drop, &history).unwrap().0
    });
    answers.collect()
}

#[test]
fn every_answer_is_that_of_the_reference_in_one_life_or_in_many() {
    for seed in 0..4 {
        for (name, describe) in QUERIES {
            let expected = expected(seed, *describe);
            for batches_a_life in [BATCHES, 1, 5] {
                let answers = run(seed, describe, batches_a_life);
                assert_eq!(answers.len(), expected.len());
                for (number, (answer, expected)) in answers.iter().zip(&expected).enumerate() {
                    let place = format!("{name}, seed {seed}, batch {number}, {batches_a_life} batches a life");
                    assert_eq!(lines(answer), lines(expected), "{place}");
                }
            }
        }
    }
}

#[test]
fn a_duplicate_is_dropped_as_long_as_the_watermark_lets_one_come() {
    let stage =
        Stage::new(|visits| visits.with_watermark("time", seconds(10)).drop_duplicates_within_watermark(["city"]));
    assert_eq!(stage.batch(&[(100, "Oslo", 1), (100, "Oslo", 2), (101, "Rome", 3)]), "100 Oslo 1\n101 Rome 3");
    assert_eq!(stage.batch(&[(105, "Oslo", 4), (119, "Lima", 5)]), "119 Lima 5");
    // The horizon is 109: Oslo is remembered until 110.
    assert_eq!(stage.batch(&[(112, "Oslo", 6), (120, "Bonn", 7)]), "120 Bonn 7");
    assert_eq!(stage.batch(&[(113, "Oslo", 8)]), "113 Oslo 8");
    let progress = stage.progress(&[(109, "Kyiv", 9), (-1, "Kyiv", 10), (110, "Kyiv", 11)]);
    assert_eq!((progress.late, progress.untimed, progress.rows_out), (1, 1, 1));
    assert_eq!(progress.groups, 5);
    assert_eq!(stage.progress(&[(121, "Lima", 12)]).groups, 4, "Rome is over");
}

#[test]
fn a_key_comes_once_in_each_window_until_that_is_closed() {
    let stage = Stage::new(|visits| {
        let memory = Remember::Window(seconds(10));
        visits.with_watermark("time", seconds(5)).drop_duplicates_by(["city"], memory, None)
    });
    assert_eq!(stage.batch(&[(109, "Oslo", 1), (110, "Oslo", 2), (119, "Oslo", 3)]), "109 Oslo 1\n110 Oslo 2");
    // The horizon was 114: the window that ends at 110 is closed.
    let progress = stage.progress(&[(109, "Rome", 4), (110, "Rome", 5), (-1, "Rome", 6), (124, "Bonn", 7)]);
    assert_eq!((progress.late, progress.untimed, progress.rows_out, progress.groups), (1, 1, 2, 3));
    // It is 119 now, and 120 with the next row: the second window is closed with this batch.
    let progress = stage.progress(&[(118, "Oslo", 8), (125, "Bonn", 9), (111, "Lima", 10)]);
    assert_eq!((progress.late, progress.rows_out, progress.groups), (0, 1, 1));
    assert_eq!(stage.progress(&[(119, "Kyiv", 11)]).late, 1);
}

#[test]
fn what_cannot_be_is_refused() {
    let error = |describe: Describe| {
        let context = StreamingContext::builder("mistakes").build().unwrap();
        let source = pelton::connectors::queue::QueueSource::of(visits(&[]).schema(), []).unwrap();
        describe(&context.source("visits", source).unwrap()).schema().unwrap_err().to_string()
    };
    assert!(error(|visits| visits.drop_duplicates(["cty"])).contains("city"));
    let said = error(|visits| visits.drop_duplicates_within_watermark(["city"]));
    assert!(said.contains("remembered for good") && said.contains("with_watermark"), "{said}");
    let said = error(|visits| {
        visits.with_watermark("time", seconds(1)).select([col("city")]).drop_duplicates_within_watermark(["city"])
    });
    assert!(said.contains("time"), "{said}");
    let said = error(|visits| visits.drop_duplicates_by(["city"], Remember::Batches(Duration::ZERO), None));
    assert!(said.contains("no time"), "{said}");
    let said = error(|visits| visits.drop_duplicates_by(["city"], Remember::Window(seconds(1)), None));
    assert!(said.contains("with_watermark"), "{said}");
    for size in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let context = StreamingContext::builder("mistakes").build().unwrap();
        let source = pelton::connectors::queue::QueueSource::of(visits(&[]).schema(), []).unwrap();
        let visits = context.source("visits", source).unwrap().with_watermark("time", seconds(1));
        let said = visits.validate([Rule::unique_by(["city"], Remember::Window(size))]).schema().unwrap_err();
        assert!(said.to_string().contains("window") && said.to_string().contains("unique city"), "{said}");
    }
}
