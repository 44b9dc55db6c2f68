//! Rows of two streams beside each other: `kernels::join_streams::reference` for the kernel, worked cases and other lives for
//! what users write.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::keep::Moment;
use pelton::kernels::{Backend, Kept, join_streams};
use pelton::plan::operator::JoinStreams;
use pelton::plan::stage::{End, Registry, Stage as PlannedStage};
use pelton::prelude::*;

use crate::common::{Random, assert_batches_equal};
use crate::oracle::{BATCHES, run};
use crate::{Stage, lines, seconds, visits};

/// The visits with small numbers, and the others under other names, each with rows at most `delay` late.
fn both(visits: &DStream, delay: u64) -> (DStream, DStream) {
    let few = visits.filter(col("n").lt(10)).with_watermark("time", seconds(delay));
    let many = visits.filter(col("n").gt_eq(5)).select([
        col("time").alias("seen"),
        col("city").alias("town"),
        col("n").alias("m"),
    ]);
    (few, many.with_watermark("seen", seconds(delay)))
}

fn joined(visits: &DStream, delay: u64, kind: StreamJoinKind) -> DStream {
    let (few, many) = both(visits, delay);
    few.join_within(&many, [("city", "town")], ("time", "seen"), (seconds(2), seconds(3)), kind)
}

const KINDS: [StreamJoinKind; 4] =
    [StreamJoinKind::Inner, StreamJoinKind::Left, StreamJoinKind::Right, StreamJoinKind::Full];

#[test]
fn rows_meet_within_the_interval_and_those_that_met_nobody_come_out_once_nobody_can_come() {
    let stage = Stage::new(|visits| joined(visits, 10, StreamJoinKind::Full));
    // Left are the visits of less than 10: Oslo at 100. Right, of 10 and more: from 2 before to 3 after.
    let met =
        stage.batch(&[(100, "Oslo", 1), (98, "Oslo", 20), (103, "Oslo", 30), (97, "Oslo", 40), (104, "Oslo", 50)]);
    assert_eq!(met, "100 Oslo 1 98 20\n100 Oslo 1 103 30");
    assert_eq!(stage.batch(&[(101, "Rome", 2), (101, "Oslo", 3)]), "101 Oslo 3 103 30\n101 Oslo 3 104 50");
    // The left horizon is 110 with this, the right one still 94: that of both is the earlier one.
    assert_eq!(stage.batch(&[(120, "Lima", 4)]), "");
    // Both stand at 110: Rome at 101 waited until 104, the right row of 97 until 99. Its key is that of both.
    assert_eq!(stage.batch(&[(120, "Lima", 60)]), "120 Lima 4 120 60\n Oslo  97 40\n101 Rome 2  ");
    let progress = stage.progress(&[(109, "Oslo", 1), (110, "Oslo", 70)]);
    assert_eq!((progress.late, progress.rows_out), (1, 0));
}

#[test]
fn rows_meet_inside_a_window_that_is_among_their_keys() {
    let stage = Stage::new(|visits| {
        let (few, many) = both(visits, 5);
        let window = |time: &str| [col(time).truncate(seconds(10)).alias("window")];
        let (few, many) = (few.with_columns(window("time")), many.with_columns(window("seen")));
        let on = [("city", "town"), ("window", "window")];
        few.join_within(&many, on, ("time", "seen"), (seconds(10), seconds(10)), StreamJoinKind::Full)
    });
    // From 100 to 110: Oslo at 101 and 109. At 110 the next one begins.
    let met = stage.batch(&[(101, "Oslo", 1), (109, "Oslo", 20), (110, "Oslo", 30), (105, "Rome", 2)]);
    assert_eq!(met, "101 Oslo 1 100 109 20");
    assert_eq!(stage.batch(&[(112, "Oslo", 3), (119, "Rome", 40)]), "112 Oslo 3 110 110 30");
    // Rome was there in both windows, and met nobody: what was alone comes out once both streams are far enough.
    let last = stage.batch(&[(140, "Lima", 4), (140, "Lima", 50)]);
    assert_eq!(last, "140 Lima 4 140 140 50\n105 Rome 2 100  \n Rome  110 119 40");
}

#[test]
fn lives_and_partitions_change_nothing() {
    for kind in KINDS {
        for seed in 0..3 {
            let whole = run(seed, |visits| joined(visits, 4, kind), BATCHES);
            assert!(whole.iter().map(RecordBatch::num_rows).sum::<usize>() > 20, "there is something to compare");
            for batches_a_life in [1, 5] {
                let parts = run(seed, |visits| joined(visits, 4, kind), batches_a_life);
                for (number, (one, other)) in whole.iter().zip(&parts).enumerate() {
                    assert_eq!(lines(one), lines(other), "{kind:?}, seed {seed}, batch {number}");
                }
            }
        }
    }
}

/// Which rows meet.
#[derive(Debug, Clone, Copy)]
enum Meets {
    Within,
    /// The latest row, not older than this.
    Latest(Option<Duration>),
}

/// The stage of a join of streams with a float and a text as keys, a column on the left and two on the right.
fn stage(kind: StreamJoinKind, has_watermarks: bool, meets: Meets) -> PlannedStage {
    let time: ArrayRef = Arc::new(arrow_array::TimestampMillisecondArray::from(Vec::<Option<i64>>::new()));
    let a: ArrayRef = Arc::new(Float64Array::from(Vec::<Option<f64>>::new()));
    let b: ArrayRef = Arc::new(StringArray::from(Vec::<Option<&str>>::new()));
    let n: ArrayRef = Arc::new(Int64Array::from(Vec::<Option<i64>>::new()));
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("time", time, true),
        ("a", a, true),
        ("b", b, true),
        ("n", n, true),
    ]);
    let context = StreamingContext::builder("plan").build().unwrap();
    let source = pelton::connectors::queue::QueueSource::of(rows.as_ref().unwrap().schema(), []).unwrap();
    let rows = context.source("rows", source).unwrap();
    let right = rows.select([
        col("time").alias("t"),
        col("a"),
        col("b").alias("c"),
        col("n").alias("m"),
        col("b").alias("text"),
    ]);
    let (left, right) = match has_watermarks {
        true => (rows.with_watermark("time", seconds(1)), right.with_watermark("t", seconds(1))),
        false => (rows, right),
    };
    let within = (Duration::from_millis(7), Duration::from_millis(4));
    let on = [("a", "a"), ("b", "c")];
    let stream = match meets {
        Meets::Within => left.join_within(&right, on, ("time", "t"), within, kind),
        Meets::Latest(tolerance) => left.join_asof_stream(&right, on, ("time", "t"), tolerance, kind),
    };
    let plan = pelton::plan::plan(&[Arc::clone(stream.plan())]).unwrap();
    plan.stages.into_iter().find(|stage| matches!(stage.end, End::JoinStreams(_))).unwrap()
}

/// Rows as they reach the operator.
fn arrivals(random: &mut Random, stage: &PlannedStage, rows: usize, now: i64) -> RecordBatch {
    let sides: Vec<bool> = (0..rows).map(|_| random.below(2) == 1).collect();
    let floats = [None, Some(f64::NAN), Some(0.0), Some(-0.0), Some(1.5)];
    let texts = [None, Some("x"), Some("y")];
    let whole = |random: &mut Random, most| i64::try_from(random.below(most)).unwrap();
    let times = (0..rows).map(|_| (random.below(12) > 0).then(|| now + whole(random, 30) - 20));
    let times: ArrayRef = Arc::new(times.collect::<Int64Array>());
    let columns = stage.input_schema.fields().iter().enumerate().map(|(place, field)| -> ArrayRef {
        let is_right = place > 2 + 2 + 1;
        match (place, field.data_type()) {
            (0, _) => Arc::new(BooleanArray::from(sides.clone())),
            (1, _) => Arc::clone(&times),
            (2, _) => Arc::new((0..rows).map(|_| random.pick(&floats)).collect::<Float64Array>()),
            (3, _) => Arc::new((0..rows).map(|_| random.pick(&texts)).collect::<StringArray>()),
            (_, DataType::Utf8) => {
                Arc::new(sides.iter().map(|side| (*side == is_right).then_some("text")).collect::<StringArray>())
            }
            (_, DataType::Timestamp(..)) => {
                let own = sides
                    .iter()
                    .enumerate()
                    .map(|(row, side)| (*side == is_right).then(|| i64::try_from(row).unwrap()));
                Arc::new(own.collect::<arrow_array::TimestampMillisecondArray>())
            }
            _ => {
                let own = sides.iter().map(|side| (*side == is_right).then(|| whole(random, 1_000)));
                Arc::new(own.collect::<Int64Array>())
            }
        }
    });
    RecordBatch::try_new(Arc::clone(&stage.input_schema), columns.collect()).unwrap()
}

#[test]
fn the_kernel_gives_what_its_reference_gives() {
    for (kind, has_watermarks) in KINDS.map(|kind| (kind, true)).into_iter().chain([(StreamJoinKind::Inner, false)]) {
        let stage = stage(kind, has_watermarks, Meets::Within);
        let End::JoinStreams(join) = &stage.end else { panic!("another stage") };
        for seed in 0..5 {
            compare(&stage, join, seed, has_watermarks);
        }
    }
}

#[test]
fn the_kernel_takes_the_latest_rows_that_its_reference_takes() {
    for kind in [StreamJoinKind::Inner, StreamJoinKind::Left] {
        for tolerance in [None, Some(0), Some(9)] {
            let stage = stage(kind, true, Meets::Latest(tolerance.map(Duration::from_millis)));
            let End::JoinStreams(join) = &stage.end else { panic!("another stage") };
            for seed in 0..5 {
                compare(&stage, join, seed, true);
            }
        }
    }
}

fn as_of(visits: &DStream, delay: u64, tolerance: Option<u64>, kind: StreamJoinKind) -> DStream {
    let (few, many) = both(visits, delay);
    few.join_asof_stream(&many, [("city", "town")], ("time", "seen"), tolerance.map(seconds), kind)
}

#[test]
fn each_row_takes_the_latest_one_once_it_is_known_which_that_was() {
    let stage = Stage::new(|visits| as_of(visits, 10, Some(20), StreamJoinKind::Left));
    // Left are the visits of less than 10, right those of 5 and more.
    assert_eq!(stage.batch(&[(100, "Oslo", 1), (90, "Oslo", 20), (95, "Oslo", 30), (101, "Oslo", 40)]), "");
    assert_eq!(stage.batch(&[(100, "Rome", 2), (99, "Oslo", 50), (99, "Oslo", 60)]), "");
    // Both horizons are at 110 now: the rows of 100 are known. Of two rows of one time the later one counts.
    assert_eq!(stage.batch(&[(120, "Oslo", 3), (120, "Bonn", 70)]), "100 Oslo 1 99 60\n100 Rome 2  ");
    // The row of 101 is 19 older than that of 120, and too old for that of 122.
    let progress = stage.progress(&[(122, "Oslo", 4), (109, "Oslo", 80), (140, "Bonn", 90), (140, "Bonn", 1)]);
    assert_eq!(progress.late, 1);
    let (_, rows) = stage.sink.batches().pop().unwrap();
    assert_eq!(lines(&rows), "120 Oslo 3 101 40\n122 Oslo 4  ");
}

#[test]
fn what_is_held_for_the_latest_row_does_not_grow() {
    let stage = Stage::new(|visits| as_of(visits, 0, None, StreamJoinKind::Inner));
    for second in 1..50 {
        let progress = stage.progress(&[(second, "Oslo", 20), (second, "Rome", 30), (second, "Oslo", 1)]);
        assert!(progress.groups <= 5, "{} rows are held", progress.groups);
    }
}

#[test]
fn lives_and_partitions_change_no_latest_row() {
    for (kind, tolerance) in [(StreamJoinKind::Left, Some(6)), (StreamJoinKind::Inner, None)] {
        for seed in 0..2 {
            let whole = run(seed, |visits| as_of(visits, 4, tolerance, kind), BATCHES);
            assert!(whole.iter().map(RecordBatch::num_rows).sum::<usize>() > 20, "there is something to compare");
            for batches_a_life in [1, 5] {
                let parts = run(seed, |visits| as_of(visits, 4, tolerance, kind), batches_a_life);
                for (number, (one, other)) in whole.iter().zip(&parts).enumerate() {
                    assert_eq!(lines(one), lines(other), "{kind:?}, seed {seed}, batch {number}");
                }
            }
        }
    }
}

fn compare(stage: &PlannedStage, join: &JoinStreams, seed: u64, has_watermarks: bool) {
    let mut random = Random::new(seed);
    let prepared = CpuBackend::new().prepare(stage, &Registry::default()).unwrap();
    let mut kept = prepared.keep().unwrap();
    let (mut history, mut saved): (Vec<(RecordBatch, Moment)>, Vec<Vec<RecordBatch>>) = (Vec::new(), Vec::new());
    let mut horizon = None;
    for number in 0..15_i64 {
        let rows = random.pick(&[0, 1, 10, 40]);
        let rows = arrivals(&mut random, stage, rows, number * 6);
        let before = horizon;
        if has_watermarks {
            horizon = Some((number * 6 - 15) * 1_000 + 1);
        }
        let moment = Moment { horizon_before: before, horizon, ..Moment::default() };
        history.push((rows.clone(), moment));
        let expected = join_streams::reference(join, &stage.output_schema, &history).unwrap();
        let cut = random.below(rows.num_rows() + 1);
        let partials = [rows.slice(0, cut), rows.slice(cut, rows.num_rows() - cut)].map(|part| {
            let mut task = prepared.begin_at(&moment).unwrap();
            task.push(&part).unwrap();
            task.finish().unwrap()
        });
        let answer = kept.absorb(partials.into_iter().collect(), &moment).unwrap().concat();
        let answer = arrow_select::concat::concat_batches(&stage.output_schema, &answer).unwrap();
        assert_batches_equal(&answer, &expected);
        saved.push(kept.changes().unwrap());
        match random.below(4) {
            0 => kept = restored(prepared.keep().unwrap(), &[], &saved),
            1 => {
                let snapshot = kept.snapshot().unwrap();
                kept = restored(prepared.keep().unwrap(), &snapshot, &[]);
            }
            _ => {}
        }
    }
}

fn restored(mut kept: Box<dyn Kept>, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Box<dyn Kept> {
    kept.restore(snapshot, changes).unwrap();
    kept
}

#[test]
fn joins_that_cannot_be_are_refused() {
    let error = |describe: fn(&DStream) -> DStream| {
        let context = StreamingContext::builder("mistakes").build().unwrap();
        let source = pelton::connectors::queue::QueueSource::of(visits(&[]).schema(), []).unwrap();
        describe(&context.source("visits", source).unwrap()).schema().unwrap_err().to_string()
    };
    let within = || (seconds(1), seconds(1));
    let said = error(|visits| {
        let other = visits.select([col("time").alias("t"), col("city")]);
        visits.join_within(&other, ["city"], ("time", "t"), (seconds(1), seconds(1)), StreamJoinKind::Left)
    });
    assert!(said.contains("never known that a row has no match"), "{said}");
    let said = error(|visits| {
        let other = visits.select([col("time").alias("t"), col("city")]).with_watermark("t", seconds(1));
        visits.join_within(&other, ["city"], ("time", "t"), (seconds(1), seconds(1)), StreamJoinKind::Inner)
    });
    assert!(said.contains("one of the streams has no watermark"), "{said}");
    let said = error(|visits| {
        visits.join_within(visits, ["city"], ("time", "time"), (seconds(1), seconds(1)), StreamJoinKind::Inner)
    });
    assert!(said.contains("two columns would be called \"time\"") && said.contains("rename"), "{said}");
    let said = error(|visits| {
        let other = visits.select([col("city"), col("n").alias("m")]);
        visits.join_within(&other, ["city"], ("time", "m"), (seconds(1), seconds(1)), StreamJoinKind::Inner)
    });
    assert!(said.contains("not a timestamp"), "{said}");
    let latest = |visits: &DStream, kind| {
        let other = visits.select([col("time").alias("t"), col("city"), col("n").alias("m")]);
        visits.join_asof_stream(&other.with_watermark("t", seconds(1)), ["city"], ("time", "t"), None, kind)
    };
    let said = error(|visits| {
        let other = visits.select([col("time").alias("t"), col("city"), col("n").alias("m")]);
        visits.join_asof_stream(&other, ["city"], ("time", "t"), None, StreamJoinKind::Inner)
    });
    assert!(said.contains("which row was the latest"), "{said}");
    let marked = |kind| {
        let context = StreamingContext::builder("mistakes").build().unwrap();
        let source = pelton::connectors::queue::QueueSource::of(visits(&[]).schema(), []).unwrap();
        let visits = context.source("visits", source).unwrap().with_watermark("time", seconds(1));
        latest(&visits, kind).schema()
    };
    assert!(marked(StreamJoinKind::Left).is_ok());
    assert!(marked(StreamJoinKind::Full).unwrap_err().to_string().contains("inner or left"));
    let context = StreamingContext::builder("one").build().unwrap();
    let source = || pelton::connectors::queue::QueueSource::of(visits(&[]).schema(), []).unwrap();
    let one = context.source("visits", source()).unwrap();
    let other = StreamingContext::builder("other").build().unwrap().source("visits", source()).unwrap();
    let said = one.join_within(&other, ["city"], ("time", "time"), within(), StreamJoinKind::Inner).schema();
    assert!(said.unwrap_err().to_string().contains("different contexts"));
}
