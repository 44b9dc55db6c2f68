//! Wherever what groups hold is added up (one table, whole or in parts, the memory of workgroups, copies of a table), it is
//! the same.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use pelton::expr::{Aggregate, col, len, lit};
use pelton::kernels::Backend;
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::gpu::{GpuBackend, Spread, Tier, Wish};
use pelton::plan::keep::OutputMode;
use pelton::plan::logical::Over;
use pelton::plan::stage::Registry;

use crate::common::{Random, Range, random_batch, ranged_batch};
use crate::state::Life;
use crate::support::{Chain, Everywhere, adapter, cut, narrow_schema, run, schema, wish};

const SPREADS: [Spread; 4] = [Spread::One, Spread::Local, Spread::Copied, Spread::Parted];

fn everywhere(spread: Spread) -> Option<Everywhere> {
    Everywhere::with(|wish| Wish { spread: Some(spread), groups_first: Some(30), ..wish })
}

/// Sums of every width, with their squares, and extremes of one, two and four words.
fn aggregates() -> Vec<Aggregate> {
    let mut all = vec![len(), col("name").count(), col("price").sum(), col("price").var(1), col("flag").any()];
    for name in ["i8", "u32", "f32", "f64"] {
        all.extend([col(name).sum(), col(name).var(0), col(name).min(), col(name).max()]);
    }
    for name in ["i64", "u64", "price", "name"] {
        all.extend([col(name).min(), col(name).max()]);
    }
    all.extend([col("i64").mean(), col("i32").sum().filter(col("flag")), col("u64").var(1)]);
    all.into_iter().enumerate().map(|(place, one)| one.alias(format!("a{place}"))).collect()
}

#[test]
fn every_aggregate_is_the_same_wherever_it_is_added_up() {
    // Other tests have them in one table.
    for spread in [Spread::Local, Spread::Copied, Spread::Parted] {
        let Some(everywhere) = everywhere(spread) else { return };
        // One group, few, as many as there are rows, and by hashing.
        let keys = [vec![], vec![col("u8") % 5], vec![col("u8")], vec![col("name"), col("i8")], vec![col("i64")]];
        for (seed, keys) in keys.into_iter().enumerate() {
            let named = keys.into_iter().enumerate().map(|(place, key)| key.alias(format!("k{place}")));
            let stage = Chain::new(&schema()).filter(col("i32").lt(60)).reduce(named, aggregates()).stage();
            everywhere.agree(&stage, &random_batch(seed as u64, 1100, &schema(), 0.15));
        }
    }
}

/// Keys of which one has nearly all rows.
fn skewed(random: &mut Random, rows: usize, others: usize) -> RecordBatch {
    let key = |random: &mut Random| if random.below(8) > 0 { 3 } else { random.below(others) as i64 };
    let keys: ArrayRef = Arc::new((0..rows).map(|_| key(random)).collect::<Int64Array>());
    let values: ArrayRef = Arc::new((0..rows).map(|_| random.bits() as i64 >> 18).collect::<Int64Array>());
    let floats: ArrayRef = Arc::new((0..rows).map(|_| random.share() - 0.5).collect::<Float64Array>());
    RecordBatch::try_from_iter([("key", keys), ("value", values), ("float", floats)]).unwrap()
}

fn of_values() -> Vec<Aggregate> {
    let value = || col("value");
    vec![
        len().alias("n"),
        value().sum().alias("s"),
        value().min().alias("l"),
        value().max().alias("m"),
        col("float").sum().alias("f"),
    ]
}

#[test]
fn groups_that_have_no_room_near_by_are_added_up_elsewhere() {
    let mut random = Random::new(5);
    let batch = skewed(&mut random, 30_000, 9000);
    // The keys are numbers of a small range, and no column at all.
    for key in [col("key"), col("key") * 3] {
        let stage = Chain::new(&batch.schema()).reduce([key.alias("k")], of_values()).stage();
        for spread in SPREADS {
            let Some(everywhere) = everywhere(spread) else { return };
            everywhere.agree(&stage, &batch);
        }
    }
}

#[test]
fn hundreds_of_batches_lose_no_row_wherever_it_is_added_up() {
    let Some(adapter) = adapter() else { return };
    let mut random = Random::new(6);
    let schema = skewed(&mut random, 1, 1).schema();
    for key in [col("key"), col("key") * 3] {
        let stage = Chain::new(&schema).reduce([key.alias("k")], of_values()).stage();
        for (spread, tier) in [Spread::Local, Spread::Copied, Spread::Parted]
            .into_iter()
            .flat_map(|one| Tier::ALL.map(|tier| (one, tier)))
        {
            let wish = Wish { spread: Some(spread), rows_max: Some(2003), ..wish(&adapter, tier) };
            let gpu = GpuBackend::open(wish).unwrap().strict();
            for round in 0..60 {
                let rows = [1, 255, 256, 257, 900, 2003, 4100][round % 7];
                let batch = cut(&skewed(&mut random, rows, 1 + 40 * (round % 5)));
                let (given, expected) =
                    (run(&gpu, &stage, &batch).unwrap(), run(&CpuBackend::new(), &stage, &batch).unwrap());
                assert!(given == expected, "{spread:?}, {tier}, round {round}");
            }
        }
    }
}

#[test]
fn parts_of_any_size_lose_no_row() {
    let Some(everywhere) = Everywhere::with(|wish| Wish { spread: Some(Spread::Parted), ..wish }) else { return };
    let mut random = Random::new(8);
    // Around what a workgroup puts into parts; few groups and nearly as many as rows; all rows, some, one and none stay.
    for (place, rows) in [1, 255, 4095, 4096, 4097, 8191, 20_000, 65_537].into_iter().enumerate() {
        let batch = skewed(&mut random, rows, [3, 50_000][place % 2]);
        for kept in [lit(true), col("value").gt(0), col("key").eq(3), col("value").is_null()] {
            let chain = Chain::new(&batch.schema()).filter(kept);
            everywhere.agree(&chain.reduce([(col("key") * 3).alias("k")], of_values()).stage(), &batch);
        }
    }
}

#[test]
fn groups_that_are_kept_are_the_same_wherever_a_batch_is_added_up() {
    let names = ["u8", "i64", "f64", "price"];
    let aggregates = || {
        vec![len().alias("n"), col("f64").sum().alias("f"), col("price").max().alias("p"), col("i64").min().alias("l")]
    };
    for spread in SPREADS {
        let Some(everywhere) = everywhere(spread) else { return };
        for key in [col("u8"), col("i64")] {
            let chain = Chain::new(&narrow_schema(&names));
            let stage = chain.kept([key], aggregates(), Over::Always, OutputMode::Update).stage();
            for gpu in &everywhere.gpus {
                let (mut life, mut by_cpu) = (Life::new(gpu, &stage), Life::new(&CpuBackend::new(), &stage));
                for (seed, rows) in [(1, 700), (2, 40), (3, 900)] {
                    let batch = cut(&ranged_batch(seed, rows, &narrow_schema(&names), 0.1, Range::Tame));
                    assert!(life.run(&batch).unwrap() == by_cpu.run(&batch).unwrap(), "{spread:?}, {:?}", gpu.manner());
                }
                assert!(life.kept.scan().unwrap() == by_cpu.kept.scan().unwrap(), "{spread:?}, {:?}", gpu.manner());
            }
        }
    }
}

#[test]
fn where_groups_are_added_up_follows_from_their_number_and_is_told() {
    let Some(adapter) = adapter() else { return };
    let gpu = GpuBackend::open(wish(&adapter, Tier::Portable)).unwrap().strict();
    let told = |groups: i64, rows: i64, is_hashed: bool| {
        let keys: ArrayRef = Arc::new((0..rows).map(|row| row % groups).collect::<Int64Array>());
        let batch = RecordBatch::try_from_iter([("key", keys)]).unwrap();
        let key = if is_hashed { col("key") * 3 } else { col("key") };
        let stage = Chain::new(&batch.schema()).reduce([key.alias("k")], [len().alias("n")]).stage();
        let prepared = gpu.prepare(&stage, &Registry::default()).unwrap();
        // How many groups there are is known from the first batch on.
        for _ in 0..2 {
            let mut task = prepared.begin().unwrap();
            task.push(&batch).unwrap();
            prepared.merge(vec![task.finish().unwrap()]).unwrap();
        }
        prepared.group_ids().unwrap()
    };
    let near = told(12, 20_000, true);
    assert!(
        near.starts_with("on the gpu 12 groups by hashing, added up in the memory of workgroups, 16 copies each"),
        "{near}"
    );
    // Null has a number of its own.
    let near = told(12, 20_000, false);
    assert!(near.starts_with("on the gpu 13 groups by number, added up in the memory of workgroups, 16 "), "{near}");
    let copied = told(5000, 200_000, true);
    assert!(copied.starts_with("on the gpu 5000 groups by hashing, added up in 5 copies of a table"), "{copied}");
    let one = told(30_000, 40_000, true);
    assert!(one.starts_with("on the gpu 30000 groups by hashing, added up in one table;"), "{one}");
    let parted = told(800_000, 900_000, true);
    let expected = "on the gpu 800000 groups by hashing, added up in one table, in 256 parts one after the other";
    assert!(parted.starts_with(expected), "{parted}");
}
