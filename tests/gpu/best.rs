//! The first groups of those that are kept in device memory: picked there, and those that the CPU picks, bit by bit.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use pelton::clock::VirtualClock;
use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::dispatch::{Dispatcher, Placement};
use pelton::kernels::Backend;
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::gpu::{Fault, Faults, GpuBackend, OpeningFault, Tier, Wish};
use pelton::kernels::reference_stage::ReferenceBackend;
use pelton::plan::logical::{Over, SortBy};
use pelton::plan::stage::{End, Stage};
use pelton::prelude::*;

use crate::common::{Random, Range, assert_batches_equal, ranged_batch};
use crate::state::{Life, tiny};
use crate::support::{Chain, Everywhere, adapter, cut, narrow_schema, run, wish};

/// What is kept, and who takes the first of it.
type Stages = [Stage; 2];

fn stages(chain: Chain) -> Stages {
    let stages: Stages = chain.stages().try_into().unwrap();
    let End::Keep(keep) = &stages[0].end else { panic!("{:?} keeps nothing", stages[0]) };
    assert!(keep.best.is_some(), "all groups are taken");
    stages
}

/// What a batch gives in the end.
fn first(life: &mut Life, stages: &Stages, batch: &RecordBatch) -> (usize, Result<RecordBatch>) {
    match life.run(&cut(batch)) {
        Ok(rows) => (rows.num_rows(), run(&CpuBackend::new(), &stages[1], &[vec![rows]])),
        Err(error) => (0, Err(error)),
    }
}

#[track_caller]
fn same_first(one: &mut Life, other: &mut Life, stages: &Stages, batch: &RecordBatch, what: &str) -> usize {
    let ((rows, given), (_, expected)) = (first(one, stages, batch), first(other, stages, batch));
    match (given, expected) {
        (Ok(given), Ok(expected)) => {
            if given != expected {
                eprintln!("{what}: another answer");
            }
            assert_batches_equal(&given, &expected);
        }
        (given, expected) => assert_eq!(given.unwrap_err().to_string(), expected.unwrap_err().to_string(), "{what}"),
    }
    rows
}

/// Rows of a key beside columns of all types.
fn keyed(seed: u64, rows: usize, keys: usize, range: Range) -> RecordBatch {
    let names = ["u8", "i32", "i64", "u64", "f32", "f64", "price", "at", "flag", "day", "id"];
    let values = ranged_batch(seed, rows, &narrow_schema(&names), 0.4, range);
    let mut random = Random::new(seed + 1000);
    let key: ArrayRef = Arc::new((0..rows).map(|_| random.below(keys) as i64 - 5).collect::<Int64Array>());
    let named = values.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let columns = named.into_iter().zip(values.columns().iter().cloned()).map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable([("key".to_owned(), key, true)].into_iter().chain(columns)).unwrap()
}

/// What groups are ordered by, and the range of values with which no total leaves its own.
fn orders() -> Vec<(Aggregate, Range)> {
    let (mut all, tame, wild) = (vec![(len(), Range::Tame)], Range::Tame, Range::Wild);
    for name in ["u8", "i32", "i64", "price", "u64"] {
        all.push((col(name).sum(), tame));
    }
    for name in ["f32", "f64"] {
        all.extend([(col(name).sum(), tame), (col(name).sum(), wild)]);
    }
    for name in ["u8", "i32", "i64", "u64", "f32", "f64", "price", "at", "day"] {
        all.extend([(col(name).min(), wild), (col(name).max(), wild)]);
    }
    all.extend([(col("f64").count(), wild), (col("flag").any(), wild), (col("id").max().filter(col("flag")), wild)]);
    all
}

#[test]
fn the_first_groups_by_every_kind_of_value_are_those_of_the_cpu() {
    let Some(everywhere) = Everywhere::with(|wish| Wish { groups_first: Some(9), ..wish }) else { return };
    for (place, (aggregate, range)) in orders().into_iter().enumerate() {
        let mode = if place % 2 == 0 { OutputMode::Complete } else { OutputMode::Update };
        let aggregates = vec![len().alias("n"), aggregate.alias("x"), col("f64").max().alias("m")];
        let orders = [(true, false), (false, place % 3 == 0), (true, true)];
        for (number, (descending, nulls_first)) in orders.into_iter().enumerate() {
            // Every tier with every value, and the tiers in turn with the other orders.
            let gpus = if number == 0 { &everywhere.gpus[..] } else { &everywhere.gpus[(place + number) % 3..][..1] };
            let by = [SortBy { expr: col("x"), descending, nulls_first }, SortBy::from(col("n"))];
            let kept = |schema| Chain::new(schema).kept([col("key")], aggregates.clone(), Over::Always, mode);
            let batches = [(1, 900), (2, 700), (3, 30), (4, 800)];
            let batches = batches.map(|(seed, rows)| keyed(seed + place as u64, rows, 1200, range));
            let stages = stages(kept(&batches[0].schema()).first(7, by.clone()));
            for gpu in gpus {
                let (mut life, mut by_cpu) = (Life::new(gpu, &stages[0]), Life::new(&CpuBackend::new(), &stages[0]));
                for (number, batch) in batches.iter().enumerate() {
                    let what =
                        format!("order {place}, {descending}, {nulls_first}, batch {number}, {:?}", gpu.manner());
                    same_first(&mut life, &mut by_cpu, &stages, batch, &what);
                }
                assert_eq!(gpu.counts().fallen_back, 0, "{:?}", gpu.counts());
                assert_batches_equal(&life.kept.scan().unwrap(), &by_cpu.kept.scan().unwrap());
            }
            if mode == OutputMode::Complete {
                // By the book: all rows so far at once, group by group, and all groups in order.
                let rows = Chain::new(&batches[0].schema()).reduce([col("key")], aggregates.clone()).first(7, by);
                let slow = rows
                    .stages()
                    .iter()
                    .fold(batches.to_vec(), |rows, stage| vec![run(&ReferenceBackend::new(), stage, &[rows]).unwrap()]);
                let mut life = Life::new(&everywhere.gpus[place % 3], &stages[0]);
                let fast = batches.iter().map(|batch| first(&mut life, &stages, batch).1.unwrap()).collect::<Vec<_>>();
                assert_batches_equal(&fast[3], &slow[0]);
            }
        }
    }
}

#[test]
fn hundreds_of_batches_of_changing_sizes_give_the_same_first_groups() {
    let Some(everywhere) = Everywhere::with(|wish| Wish { rows_max: Some(701), groups_first: Some(5), ..wish }) else {
        return;
    };
    let mut random = Random::new(17);
    let mut batch = |number: u64| {
        let rows = [0, 1, 63, 64, 65, 255, 256, 257, 900][random.below(9)];
        keyed(number, rows, 20 + 9 * number as usize, Range::Tame)
    };
    let batches: Vec<RecordBatch> = (0..220).map(&mut batch).collect();
    let totals = vec![len().alias("n"), col("i64").sum().alias("x"), col("f64").max().alias("m")];
    let by = [SortBy { expr: col("x"), descending: true, nulls_first: false }, SortBy::from(col("n"))];
    let kept = Chain::new(&batches[0].schema()).kept([col("key")], totals, Over::Always, OutputMode::Complete);
    let stages = stages(kept.first(7, by));
    for gpu in &everywhere.gpus {
        let (mut life, mut by_cpu) = (Life::new(gpu, &stages[0]), Life::new(&CpuBackend::new(), &stages[0]));
        for (number, batch) in batches.iter().enumerate() {
            same_first(&mut life, &mut by_cpu, &stages, batch, &format!("batch {number}, {:?}", gpu.manner()));
        }
        assert_eq!(gpu.counts().fallen_back, 0, "{:?}", gpu.counts());
        assert_batches_equal(&life.kept.scan().unwrap(), &by_cpu.kept.scan().unwrap());
    }
}

#[test]
fn only_about_as_many_groups_come_back_as_are_asked_for() {
    let Some(everywhere) = Everywhere::with(|wish| wish) else { return };
    let batches = [1, 2, 3].map(|seed| keyed(seed, 12_000, 30_000, Range::Tame));
    for mode in [OutputMode::Complete, OutputMode::Update] {
        let aggregates = vec![col("i64").sum().alias("total"), len().alias("n")];
        let kept = Chain::new(&batches[0].schema()).kept([col("key")], aggregates, Over::Always, mode);
        let chosen = kept.select([col("total"), col("key")]);
        let stages = stages(chosen.first(10, [SortBy::from(col("total")).descending(), SortBy::from(col("key"))]));
        for gpu in &everywhere.gpus {
            let before = gpu.counts().groups_read;
            let (mut life, mut by_cpu) = (Life::new(gpu, &stages[0]), Life::new(&CpuBackend::new(), &stages[0]));
            for batch in &batches {
                let rows = same_first(&mut life, &mut by_cpu, &stages, batch, "few of many");
                assert!((10..300).contains(&rows), "{rows} rows come out");
            }
            let read = gpu.counts().groups_read - before;
            assert!(read < 900, "{read} groups came back, {mode}");
            // Whoever looks at all of them gets all of them, once.
            assert_batches_equal(&life.kept.scan().unwrap(), &by_cpu.kept.scan().unwrap());
            let all = gpu.counts().groups_read - before;
            assert!(all - read == life.kept.groups(), "{all}, {}", life.kept.groups());
            life.kept.scan().unwrap();
            assert_eq!(gpu.counts().groups_read - before, all);
        }
    }
}

/// A row a group: a batch of keys and floats.
fn floats(values: impl IntoIterator<Item = (i64, f64)>) -> RecordBatch {
    let (keys, values): (Vec<i64>, Vec<f64>) = values.into_iter().unzip();
    let keys: ArrayRef = Arc::new(Int64Array::from(keys));
    RecordBatch::try_from_iter([("key", keys), ("x", Arc::new(Float64Array::from(values)) as ArrayRef)]).unwrap()
}

#[test]
fn ties_that_only_rounding_or_signs_make_are_kept_in_their_order() {
    let Some(everywhere) = Everywhere::with(|wish| wish) else { return };
    let tiny = 2.0_f64.powi(-60);
    // The first groups are a hair below 2, later ones are 2: all are 2 once they are rounded.
    let near = (0..4).flat_map(|key| [(key, 2.0), (key, -tiny)]);
    let near = near.chain((10..15).map(|key| (key, 2.0))).chain((100..700).map(|key| (key, 1.0 + key as f64 / 1e6)));
    let negative = (0..4).flat_map(|key| [(key, -2.0), (key, tiny)]);
    let negative =
        negative.chain((10..15).map(|key| (key, -2.0))).chain((100..700).map(|key| (key, -1.0 - key as f64 / 1e6)));
    // Of 110 zeros every other one is negative.
    let zeros = (0..110).map(|key| (key, if key % 2 == 0 { -0.0 } else { 0.0 }));
    let zeros = zeros.chain((200..500).map(|key| (key, -(key as f64)))).chain((500..510).map(|key| (key, key as f64)));
    let huge = (0..6).flat_map(|key| [(key, f64::MAX), (key, if key % 2 == 0 { f64::MAX } else { 1.0 })]);
    let huge = huge.chain([(7, f64::INFINITY), (8, f64::NAN), (9, f64::NEG_INFINITY), (9, f64::INFINITY)]);
    let huge = huge.chain([(10, f64::NEG_INFINITY), (11, -f64::MAX), (11, -f64::MAX)]);
    let huge = huge.chain((100..700).map(|key| (key, key as f64 - 400.0)));
    let batches = [floats(near), floats(negative), floats(zeros), floats(huge)];
    for batch in &batches {
        for (aggregate, descending) in [
            (col("x").sum(), true),
            (col("x").sum(), false),
            (col("x").min(), true),
            (col("x").max(), false),
            (col("x").max(), true),
        ] {
            let chain = Chain::new(&batch.schema());
            let kept = chain.kept([col("key")], vec![aggregate.alias("v")], Over::Always, OutputMode::Complete);
            for rows in [1, 3, 20] {
                let kept = Chain::clone(&kept);
                let by = SortBy { expr: col("v"), descending, nulls_first: false };
                let stages = stages(kept.first(rows, [by]));
                for gpu in &everywhere.gpus {
                    let mut life = Life::new(gpu, &stages[0]);
                    let mut by_cpu = Life::new(&CpuBackend::new(), &stages[0]);
                    let what = format!("first {rows}, {descending}, {:?}", gpu.manner());
                    same_first(&mut life, &mut by_cpu, &stages, batch, &what);
                }
            }
        }
    }
}

#[test]
fn a_total_out_of_range_is_the_same_error_although_its_group_is_not_among_the_first() {
    let Some(everywhere) = Everywhere::with(|wish| wish) else { return };
    let rows = |last: i64| {
        let keys: ArrayRef = Arc::new((0..1000).collect::<Int64Array>());
        let values: ArrayRef = Arc::new((0..1000).map(|key| if key == 7 { last } else { key }).collect::<Int64Array>());
        RecordBatch::try_from_iter([("key", keys), ("value", values)]).unwrap()
    };
    let aggregates = vec![col("value").sum().alias("total"), len().alias("n"), col("value").max().alias("most")];
    for by in ["n", "most", "total"] {
        let chain = Chain::new(&rows(0).schema());
        let kept = chain.kept([col("key")], aggregates.clone(), Over::Always, OutputMode::Complete);
        let stages = stages(kept.first(3, [SortBy::from(col(by))]));
        for gpu in &everywhere.gpus {
            let (mut life, mut by_cpu) = (Life::new(gpu, &stages[0]), Life::new(&CpuBackend::new(), &stages[0]));
            for last in [i64::MAX, i64::MIN, 1, i64::MAX, i64::MAX] {
                same_first(&mut life, &mut by_cpu, &stages, &rows(last), by);
            }
        }
    }
}

#[test]
fn a_fault_at_any_submission_changes_no_byte_whoever_looks_when() {
    let Some(adapter) = adapter() else { return };
    let batches =
        [300, 400, 20, 350, 0, 300].into_iter().zip(1..).map(|(rows, seed)| keyed(seed, rows, 900, Range::Tame));
    let batches = batches.collect::<Vec<_>>();
    let aggregates = || vec![col("f64").sum().alias("f"), len().alias("n"), col("price").sum().alias("p")];
    for (mode, left_bytes) in
        [(OutputMode::Complete, None), (OutputMode::Update, None), (OutputMode::Complete, Some(100_000))]
    {
        let kept = Chain::new(&batches[0].schema()).kept([col("key")], aggregates(), Over::Always, mode);
        let stages = stages(kept.first(5, [SortBy::from(col("f")).descending()]));
        for fault in [Fault::Lose, Fault::Exhaust, Fault::Confuse] {
            for at in 0..22 {
                let faults = Faults::new((0..at).map(|_| None).chain([Some(fault)]));
                // Another device is there at once, or only for the fourth batch.
                let (hold, held) = channel();
                let is_held = at % 2 == 1;
                let faults = match is_held {
                    true => faults.with_openings([OpeningFault::Held(held)]),
                    false => faults.opened_at_once(),
                };
                let wish = Wish { left_bytes, ..tiny(wish(&adapter, Tier::Wide)) };
                let gpu = GpuBackend::open(wish).unwrap().with_faults(faults);
                let (mut life, mut by_cpu) = (Life::new(&gpu, &stages[0]), Life::new(&CpuBackend::new(), &stages[0]));
                let mut hold = Some(hold);
                for (number, batch) in batches.iter().enumerate() {
                    if number == 4 {
                        hold = None;
                        gpu.settle();
                    }
                    let what = format!("{fault:?} at {at}, batch {number}, {mode}, {left_bytes:?}");
                    same_first(&mut life, &mut by_cpu, &stages, batch, &what);
                    // Some store what changes, some look now and then, some never.
                    if at % 3 == 1 || (at % 3 == 2 && number % 3 == 2) {
                        assert_eq!(life.kept.changes().unwrap(), by_cpu.kept.changes().unwrap(), "{what}");
                    }
                    if (at + number) % 4 == 3 {
                        assert_batches_equal(&life.kept.scan().unwrap(), &by_cpu.kept.scan().unwrap());
                    }
                    assert_eq!(life.kept.groups(), by_cpu.kept.groups(), "{what}");
                }
                assert_eq!(life.kept.snapshot().unwrap(), by_cpu.kept.snapshot().unwrap(), "{fault:?} at {at}");
                drop(hold);
                // With the device a batch may be lost, and what was kept there.
                assert!(is_held || gpu.counts().fallen_back <= 2, "{:?}", gpu.counts());
            }
        }
    }
}

#[test]
fn stages_are_told_of_it_only_where_nobody_takes_other_rows() {
    let schema = narrow_schema(&["u8", "i64", "f64"]);
    let aggregates = || vec![col("i64").sum().alias("s"), col("f64").mean().alias("m")];
    let kept = || Chain::new(&schema).kept([col("u8")], aggregates(), Over::Always, OutputMode::Complete);
    let best = |chain: Chain| match &chain.stages()[0].end {
        End::Keep(keep) => keep.best,
        other => panic!("{other:?}"),
    };
    let by = || [SortBy::from(col("s")).descending()];
    let found = best(kept().first(4, by())).unwrap();
    assert_eq!((found.rows, found.column, found.descending, found.nulls_first), (4, 1, true, false));
    assert_eq!(best(kept().sorted_first(4, by())), Some(found));
    let renamed = kept().select([col("m"), col("s").alias("t"), col("u8")]);
    assert_eq!(best(renamed.first(4, [SortBy::from(col("t"))])).map(|best| best.column), Some(1));
    // What is computed of rows can fail, whichever they are; and a filter takes others.
    assert_eq!(best(kept().first(4, [SortBy::from(col("s") * 2)])), None);
    assert_eq!(best(kept().select([(col("s") * 2).alias("s")]).first(4, by())), None);
    assert_eq!(best(kept().filter(col("m").gt(0.0)).first(4, by())), None);
    let batches = Over::Batches { size: Duration::from_secs(1), slide: None };
    assert_eq!(
        best(Chain::new(&schema).kept([col("u8")], aggregates(), batches, OutputMode::Complete).first(4, by())),
        None
    );
}

#[test]
fn explain_says_where_the_first_groups_are_picked() {
    let Some(adapter) = adapter() else { return };
    let placement = Placement { device: Device::Gpu, adapter: Some(adapter), strict: true, without_cache: true };
    let schema = narrow_schema(&["u8", "i64", "f64"]);
    let said = |by: &str| {
        let aggregates = vec![col("i64").sum().alias("s"), col("f64").mean().alias("m")];
        let kept = Chain::new(&schema).kept([col("u8")], aggregates, Over::Always, OutputMode::Complete);
        Dispatcher::new(placement.clone()).choose(&stages(kept.first(4, [SortBy::from(col(by))]))[0]).unwrap().1
    };
    assert!(said("s").starts_with("as asked, with the first groups picked there, by "), "{}", said("s"));
    let by_mean =
        "as asked, with the first groups picked on the cpu, because \"m\" is a mean, which the host makes, by ";
    assert!(said("m").starts_with(by_mean), "{}", said("m"));
    assert!(said("u8").contains("because they are ordered by a key, which the host has, by "), "{}", said("u8"));
}

#[test]
fn a_query_for_the_first_groups_gives_what_it_gives_on_the_cpu() {
    let Some(adapter) = adapter() else { return };
    let gpu = Placement { device: Device::Gpu, adapter: Some(adapter), strict: false, without_cache: true };
    let batches = [1, 2, 3].map(|seed| keyed(seed, 2000, 3000, Range::Tame));
    let answer = |placement: Placement| {
        let clock = VirtualClock::at(Duration::ZERO);
        let builder = StreamingContext::builder("first").trigger(Trigger::AvailableNow).clock(clock);
        let context = builder.placement(placement).build().unwrap();
        let source = QueueSource::of(batches[0].schema(), batches.to_vec()).unwrap();
        let sink = MemorySink::new();
        let keyed = context.source("rows", source).unwrap().key_by([col("key")]);
        let totals = keyed.running([col("price").sum().alias("total"), len().alias("n")]);
        totals.top_n(25, [SortBy::from(col("total")).descending()]).write(sink.clone()).unwrap();
        context.start().unwrap().await_termination().unwrap();
        sink.rows().unwrap().unwrap()
    };
    assert_batches_equal(&answer(gpu), &answer(Device::Cpu.into()));
}
