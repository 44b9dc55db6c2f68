//! Random streams against `kernels::keep::reference` (of sessions: `kernels::sessions`, of
//! windows by the number of rows: `kernels::count_windows`), which looks at all rows of all batches anew.

use std::sync::Arc;
use std::time::Duration;

use pelton::clock::VirtualClock;
use pelton::connectors::generator::{GeneratorSource, Pace};
use pelton::connectors::memory::MemorySink;
use pelton::kernels::keep::{self, Moment};
use pelton::kernels::project;
use pelton::kernels::reduce::ReduceInput;
use pelton::plan::keep::Keep;
use pelton::prelude::*;

use crate::common::{Random, assert_batches_equal};
use crate::{seconds, visits};

pub(crate) const BATCHES: usize = 12;

/// The rows of batch `number`: times rise, with rows out of order.
pub(crate) fn batch(seed: u64, number: usize) -> RecordBatch {
    let mut random = Random::new(seed * 1_000 + number as u64);
    let rows = [0, 1, 7, 40, 64, 65][random.below(6)];
    let cities = ["Oslo", "Rome", "Lima", "Bonn"];
    let row = |random: &mut Random| {
        let time = i64::try_from(number * 5 + random.below(8)).unwrap() - i64::try_from(random.below(14)).unwrap();
        (time.max(-1), random.pick(&cities), i64::try_from(random.below(50)).unwrap() - 20)
    };
    let rows = (0..rows).map(|_| row(&mut random)).collect::<Vec<_>>();
    visits(&rows)
}

fn aggregates() -> Vec<Aggregate> {
    let n = || col("n");
    vec![
        len().alias("len"),
        n().sum().alias("sum"),
        n().cast(DataType::Float64).mean().alias("mean"),
        n().min().filter(n().gt(0)).alias("least"),
        n().std(1).alias("std"),
        n().quantile(0.25).alias("quarter"),
        n().first().alias("first"),
        n().last().alias("last"),
        col("city").n_unique().alias("cities"),
    ]
}

/// Those of which windows that overlap are put together by stacks.
fn put_together() -> Vec<Aggregate> {
    let n = || col("n");
    let float = || n().cast(DataType::Float64);
    let every = vec![n().max().alias("most"), float().sum().alias("sum of floats"), float().var(1).alias("var")];
    aggregates().into_iter().filter(|one| one.output_name() != "cities").chain(every).collect()
}

type Describe = fn(&DStream) -> DStream;

const QUERIES: &[(&str, Describe)] = &[
    ("running", |visits| visits.key_by([col("city")]).running(aggregates())),
    ("all", |visits| visits.key_by([col("city")]).output_mode(OutputMode::Complete).running(aggregates())),
    ("total", |visits| visits.key_by([]).running(aggregates())),
    ("running, for a while", |visits| visits.key_by([col("city"), col("n")]).ttl(seconds(3)).running(aggregates())),
    ("all, for a while", |visits| {
        let keyed = visits.key_by([col("n")]).output_mode(OutputMode::Complete);
        keyed.ttl(seconds(2)).running(aggregates())
    }),
    ("tumbling", |visits| {
        let visits = visits.with_watermark("time", seconds(4));
        visits.key_by([col("city"), window(col("time"), seconds(6))]).aggregate(aggregates())
    }),
    ("tumbling, updated", |visits| {
        let visits = visits.with_watermark("time", seconds(4));
        let keyed = visits.key_by([col("city"), window(col("time"), seconds(6))]);
        keyed.output_mode(OutputMode::Update).aggregate(aggregates())
    }),
    ("tumbling, without a watermark", |visits| {
        visits.key_by([window(col("time"), seconds(6))]).aggregate(aggregates())
    }),
    ("sliding", |visits| {
        let visits = visits.with_watermark("time", seconds(4));
        visits.key_by([col("city"), sliding_window(col("time"), seconds(9), seconds(6))]).aggregate(aggregates())
    }),
    ("sliding, updated", |visits| {
        let visits = visits.with_watermark("time", seconds(4));
        let keyed = visits.key_by([col("city"), sliding_window(col("time"), seconds(8), seconds(2))]);
        keyed.output_mode(OutputMode::Update).aggregate(aggregates())
    }),
    ("sliding, all", |visits| {
        let keyed = visits.key_by([sliding_window(col("time"), seconds(8), seconds(4))]);
        keyed.output_mode(OutputMode::Complete).aggregate(aggregates())
    }),
    ("sliding, many panes", |visits| {
        let visits = visits.with_watermark("time", seconds(4));
        let windows = sliding_window(col("time"), seconds(16), seconds(1));
        visits.key_by([col("city"), windows]).aggregate(put_together())
    }),
    ("sliding, many panes and steps", |visits| {
        let visits = visits.with_watermark("time", seconds(4));
        let windows = sliding_window(col("time"), seconds(33), seconds(4));
        visits.key_by([col("city"), windows]).aggregate(put_together())
    }),
    ("sliding, many panes, in a fixed order", |visits| {
        let visits = visits.with_watermark("time", seconds(4));
        let windows = sliding_window(col("time"), seconds(16), seconds(1));
        let sum = col("n").cast(DataType::Float64).ordered_sum().alias("sum");
        visits.key_by([col("city"), windows]).aggregate([sum])
    }),
    ("sliding, many panes, updated", |visits| {
        let visits = visits.with_watermark("time", seconds(4));
        let keyed = visits.key_by([col("city"), sliding_window(col("time"), seconds(14), seconds(1))]);
        keyed.output_mode(OutputMode::Update).aggregate(put_together())
    }),
    ("sliding, many panes, all", |visits| {
        let keyed = visits.key_by([sliding_window(col("time"), seconds(12), seconds(1))]);
        keyed.output_mode(OutputMode::Complete).aggregate(put_together())
    }),
    ("sessions", |visits| {
        let visits = visits.with_watermark("time", seconds(4));
        visits.key_by([col("city"), session_window(col("time"), seconds(3))]).aggregate(aggregates())
    }),
    ("sessions of many keys", |visits| {
        let visits = visits.with_watermark("time", seconds(4));
        let keyed = visits.key_by([col("n"), session_window(col("time"), seconds(9))]);
        keyed.aggregate([len().alias("len"), col("n").cast(DataType::Float64).mean().alias("mean")])
    }),
    ("sessions, updated", |visits| {
        let visits = visits.with_watermark("time", seconds(4));
        let keyed = visits.key_by([session_window(col("time"), seconds(2))]);
        keyed.output_mode(OutputMode::Update).aggregate(aggregates())
    }),
    ("sessions, all", |visits| {
        let keyed = visits.key_by([col("city"), session_window(col("time"), seconds(2))]);
        keyed.output_mode(OutputMode::Complete).aggregate(aggregates())
    }),
    ("batches", |visits| visits.reduce_by_key_and_window([col("city")], seconds(3), None, aggregates())),
    ("many batches", |visits| visits.reduce_by_key_and_window([col("city")], seconds(9), None, put_together())),
    ("many batches that slide", |visits| {
        visits.reduce_by_key_and_window([col("city")], seconds(9), Some(seconds(2)), put_together())
    }),
    ("every seven rows", |visits| visits.key_by([col("city")]).count_window(7, aggregates())),
    ("the latest nine rows, every six", |visits| visits.key_by([col("city")]).count_window_sliding(9, 6, aggregates())),
    ("the latest hundred rows, every thirty", |visits| visits.key_by([]).count_window_sliding(100, 30, aggregates())),
    ("pairs of many keys", |visits| visits.key_by([col("city"), col("n")]).count_window(2, aggregates())),
    ("batches that slide", |visits| visits.reduce_by_window(seconds(4), Some(seconds(3)), aggregates())),
];

/// What the reference gives for each batch.
fn expected(seed: u64, stream: &DStream) -> Vec<RecordBatch> {
    let plan = pelton::plan::plan(&[Arc::clone(stream.plan())]).unwrap();
    let stage = plan.stages.iter().find(|stage| stage.keep().is_some()).unwrap();
    let keep: &Keep = stage.keep().unwrap();
    let mut history = Vec::new();
    let mut horizon: Option<i64> = None;
    let answers = (0..BATCHES).map(|number| {
        let rows = batch(seed, number);
        let picked = rows.project(&picked_columns(&rows, stage)).unwrap();
        let evaluate = |expr| project::reference(expr, &picked).unwrap();
        let input = ReduceInput {
            keys: keep.keys.iter().map(|key| evaluate(&key.expr)).collect(),
            inputs: keep.aggregates.iter().map(|one| one.input.as_ref().map(evaluate)).collect(),
            filters: keep
                .aggregates
                .iter()
                .map(|one| one.filter.as_ref().map(|filter| evaluate(filter).as_any().downcast_ref().cloned().unwrap()))
                .collect(),
            rows: rows.num_rows(),
        };
        let newest = arrow_cast::cast(rows.column(0), &DataType::Int64).unwrap();
        let newest = (0..rows.num_rows()).map(|row| Scalar::from_array(&newest, row).unwrap());
        let newest = newest.filter_map(|time| if let Scalar::Int64(time) = time { Some(time) } else { None }).max();
        let before = horizon;
        if let (false, Some(newest)) = (keep.watermarks.is_empty(), newest) {
            horizon = horizon.max(Some((newest - 4) * 1_000_000));
        }
        let time = Duration::from_secs(number as u64 + 1);
        let previous = number.checked_sub(1).map(|before| Duration::from_secs(before as u64 + 1));
        history.push((input, Moment { time, previous, horizon_before: before, horizon }));
        keep::reference(keep, &stage.output_schema, &history).unwrap()
    });
    answers.collect()
}

/// The columns that the optimizer left, by their place in the rows.
fn picked_columns(rows: &RecordBatch, stage: &pelton::plan::stage::Stage) -> Vec<usize> {
    use pelton::plan::stage::Step;
    let mut names: Vec<String> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    for step in &stage.steps {
        if let Step::Project { columns, .. } = step {
            names = columns.iter().map(|column| column.name.clone()).collect();
        }
    }
    names.iter().map(|name| rows.schema().index_of(name).unwrap()).collect()
}

/// Runs the query on a checkpoint, `lives` batches a life, with other partitions in each.
pub(crate) fn run(seed: u64, describe: impl Fn(&DStream) -> DStream, batches_a_life: usize) -> Vec<RecordBatch> {
    let folder = tempfile::tempdir().unwrap();
    let sink = MemorySink::new();
    let clock = VirtualClock::at(Duration::ZERO);
    let mut number = 0;
    while number < BATCHES {
        let context = StreamingContext::builder("oracle")
            .trigger(Trigger::Manual)
            .clock(clock.clone())
            .partitions(1 + number % 4)
            .checkpoint_at(pelton::runtime::CheckpointPlace {
                store: Arc::new(pelton::checkpoint::FolderStore::new(folder.path()).sync(false)),
                options: pelton::checkpoint::CheckpointOptions { snapshot_every: 5, retain: 100 },
            })
            .build()
            .unwrap();
        // Each row of the generator stands for a batch, which a function makes of it.
        let numbers = |first: u64, rows: usize| {
            let numbers: arrow_array::ArrayRef = Arc::new(
                (first..first + rows as u64).map(|n| i64::try_from(n).unwrap()).collect::<arrow_array::Int64Array>(),
            );
            Ok(RecordBatch::try_from_iter([("batch", numbers)]).unwrap())
        };
        let schema = numbers(0, 0).unwrap().schema();
        let source = GeneratorSource::from_fn(schema, Pace::PerBatch(1), numbers);
        let expand = move |rows: &RecordBatch| match Scalar::from_array(rows.column(0), 0)? {
            Scalar::Int64(number) => Ok(batch(seed, usize::try_from(number).unwrap())),
            _ => Ok(visits(&[])),
        };
        let stream = context.source("numbers", source).unwrap().map_batches(visits(&[]).schema(), expand);
        describe(&stream).write(sink.clone()).unwrap();
        let query = context.start().unwrap();
        for _ in 0..batches_a_life.min(BATCHES - number) {
            clock.advance(seconds(1));
            query.tick().unwrap().unwrap();
            number += 1;
        }
        query.stop(StopMode::Now);
        query.await_termination().unwrap();
    }
    sink.batches().into_iter().map(|(_, rows)| rows).collect()
}

#[test]
fn every_answer_is_that_of_the_reference_in_one_life_or_in_many() {
    let seeds = std::env::var("PELTON_SEEDS").map_or(2, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        for (name, describe) in QUERIES {
            let context = StreamingContext::builder("plan").build().unwrap();
            let source = pelton::connectors::queue::QueueSource::of(visits(&[]).schema(), []).unwrap();
            let expected = expected(seed, &describe(&context.source("visits", source).unwrap()));
            for batches_a_life in [BATCHES, 1, 5] {
                let answers = run(seed, *describe, batches_a_life);
                assert_eq!(answers.len(), expected.len());
                for (number, (answer, expected)) in answers.iter().zip(&expected).enumerate() {
                    let place = format!("{name}, seed {seed}, batch {number}, {batches_a_life} batches a life");
                    assert_eq!(crate::lines(answer), crate::lines(expected), "{place}");
                    assert_batches_equal(answer, expected);
                }
            }
        }
    }
}
