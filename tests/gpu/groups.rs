//! Groups that are reduced on a device are those of the CPU, to the last bit of float sums.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Float64Array, Int64Array};
use pelton::columnar::{DataType, Field, RecordBatch, Schema};
use pelton::expr::{Aggregate, Expr, col, len, lit};
use pelton::kernels::gpu::Wish;

use crate::common::{Random, Range, random_batch, ranged_batch};
use crate::support::{Chain, Everywhere, narrow_schema, schema};

/// Sums, means, counts and extremes of every type that has them, so that no total leaves its range.
fn aggregates() -> Vec<Aggregate> {
    let mut all = vec![len().alias("n"), col("name").count(), col("price").sum(), col("price").mean()];
    for name in ["i8", "i16", "i32", "u8", "u16", "u32", "f32", "f64"] {
        all.extend([col(name).sum(), col(name).mean(), col(name).min(), col(name).max(), col(name).count()]);
    }
    for name in ["i64", "u64", "day", "at", "span"] {
        all.extend([col(name).min(), col(name).max()]);
    }
    all.push(col("i64").mean());
    let named = |(place, one): (usize, Aggregate)| one.alias(format!("a{place}"));
    all.into_iter().enumerate().map(named).collect()
}

fn keys() -> Vec<Vec<Expr>> {
    vec![
        vec![],
        vec![col("u8")],
        vec![col("i8"), col("flag")],
        vec![col("name")],
        vec![col("i64")],
        vec![col("f64"), col("name")],
        vec![(col("i32") % 10).alias("digit")],
        vec![col("price"), col("day"), col("f32")],
    ]
}

#[test]
fn every_key_and_aggregate_gives_the_same_groups() {
    let Some(everywhere) = Everywhere::new() else { return };
    for (seed, keys) in keys().into_iter().enumerate() {
        let stage = Chain::new(&schema()).reduce(keys, aggregates()).stage();
        everywhere.agree(&stage, &random_batch(seed as u64, 900, &schema(), 0.15));
    }
}

#[test]
fn filters_before_and_inside_a_reduce_count_the_same_rows() {
    let Some(everywhere) = Everywhere::new() else { return };
    let some = [
        len().filter(col("flag")).alias("flags"),
        col("i32").sum().filter(col("i8").gt(0)).alias("some"),
        col("f64").min().filter(col("name").contains("a")).alias("least"),
        col("i32").mean().alias("mean"),
        col("i32").sum().alias("sum"),
    ];
    for keys in [vec![], vec![col("u16")], vec![col("name"), col("flag")]] {
        let stage = Chain::new(&schema()).filter(col("i32").lt(50).or(col("flag"))).reduce(keys, some.clone()).stage();
        everywhere.agree(&stage, &random_batch(11, 3000, &schema(), 0.2));
    }
}

#[test]
fn a_filter_that_keeps_nothing_leaves_no_group_but_the_one_without_keys() {
    let Some(everywhere) = Everywhere::new() else { return };
    for keys in [vec![], vec![col("u16")], vec![col("i64")]] {
        let stage = Chain::new(&schema()).filter(col("id").is_null()).reduce(keys, aggregates()).stage();
        everywhere.agree(&stage, &random_batch(12, 300, &schema(), 0.2));
    }
}

#[test]
fn sizes_around_the_borders_of_tiles_give_the_same_groups() {
    let Some(everywhere) = Everywhere::new() else { return };
    for rows in [0, 1, 63, 64, 65, 255, 256, 257, 4095, 4096, 4097, 65_535, 65_536, 65_537] {
        let schema = narrow_schema(&["u8", "i16", "i64", "f64"]);
        let batch = ranged_batch(rows as u64, rows, &schema, 0.1, Range::Tame);
        let few = [len().alias("n"), col("i64").sum().alias("sum"), col("f64").sum().alias("floats")];
        // By number, and by hashing.
        for keys in [vec![col("u8")], vec![col("i16"), (col("i16") % 3).alias("rest")]] {
            everywhere.agree(&Chain::new(&schema).reduce(keys, few.clone()).stage(), &batch);
        }
    }
}

#[test]
fn a_table_that_is_too_small_grows() {
    let Some(everywhere) = Everywhere::with(|wish| Wish { groups_first: Some(3), ..wish }) else { return };
    let stage = Chain::new(&schema()).reduce([(col("id") % 1_000_003).alias("k")], [len().alias("n"), col("id").max()]);
    everywhere.agree(&stage.stage(), &random_batch(13, 5000, &schema(), 0.0));
}

#[test]
fn skewed_keys_and_few_groups_lose_no_row() {
    let Some(everywhere) = Everywhere::new() else { return };
    let mut random = Random::new(14);
    let rows = 70_000;
    let skewed = |random: &mut Random| if random.below(10) > 0 { 7 } else { i64::MAX - random.below(5000) as i64 };
    let keys: ArrayRef = Arc::new((0..rows).map(|_| skewed(&mut random)).collect::<Int64Array>());
    let values: ArrayRef = Arc::new((0..rows).map(|_| random.bits() as i64 >> 20).collect::<Int64Array>());
    let batch = RecordBatch::try_from_iter([("key", keys), ("value", values)]).unwrap();
    let all = [
        len().alias("n"),
        col("value").sum().alias("s"),
        col("value").min().alias("l"),
        col("value").mean().alias("m"),
    ];
    everywhere.agree(&Chain::new(&batch.schema()).reduce([col("key")], all).stage(), &batch);
}

#[test]
fn float_sums_of_any_size_are_exact() {
    let Some(everywhere) = Everywhere::new() else { return };
    let schema = Arc::new(Schema::new(vec![
        Field::new("k", DataType::Int64, false),
        Field::new("wide", DataType::Float64, false),
        Field::new("narrow", DataType::Float32, false),
    ]));
    let mut random = Random::new(15);
    for (round, finite) in [true, true, false].into_iter().enumerate() {
        let rows = 600;
        let float = |random: &mut Random| loop {
            let value = f64::from_bits(random.bits());
            if value.is_finite() || !finite {
                return value;
            }
        };
        let keys: ArrayRef = Arc::new((0..rows).map(|row| row % 40).collect::<Int64Array>());
        // Large values that cancel each other, and what is left.
        let wide = (0..rows).map(|row| if row % 3 == 0 { float(&mut random) } else { 1.0 / (row + 1) as f64 });
        let mut wide = wide.collect::<Vec<_>>();
        if round == 0 {
            (0..rows as usize / 2).for_each(|row| wide[row + rows as usize / 2 / 40 * 40] = -wide[row]);
        }
        let narrow = (0..rows).map(|_| f32::from_bits(random.bits() as u32));
        let narrow = narrow.map(|value| if finite && !value.is_finite() { 0.5 } else { value });
        let columns: Vec<ArrayRef> =
            vec![keys, Arc::new(Float64Array::from(wide)), Arc::new(narrow.collect::<Float32Array>())];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let all = [
            col("wide").sum().alias("a"),
            col("wide").mean().alias("b"),
            col("narrow").sum().alias("c"),
            col("narrow").mean().alias("d"),
            col("wide").abs().sum().alias("e"),
        ];
        everywhere.agree(&Chain::new(&schema).reduce([col("k")], all.clone()).stage(), &batch);
        everywhere.agree(&Chain::new(&schema).reduce([], all).stage(), &batch);
    }
}

#[test]
fn a_total_that_leaves_its_range_is_the_same_error() {
    let Some(everywhere) = Everywhere::new() else { return };
    let values: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1, i64::MIN, 5]));
    let keys: ArrayRef = Arc::new(Int64Array::from(vec![1, 1, 2, 2]));
    let batch = RecordBatch::try_from_iter([("key", keys), ("value", values)]).unwrap();
    let sum = || [col("value").sum().alias("s")];
    everywhere.agree(&Chain::new(&batch.schema()).reduce([col("key")], sum()).stage(), &batch);
    // The total alone decides: it may leave the range on its way.
    everywhere.agree(&Chain::new(&batch.schema()).reduce([], sum()).stage(), &batch);
    let inner = (col("value") + lit(1)).sum().alias("s");
    everywhere.agree(&Chain::new(&batch.schema()).reduce([col("key")], [inner]).stage(), &batch);
}

#[test]
fn hundreds_of_batches_of_changing_sizes_give_no_other_answer() {
    let Some(everywhere) = Everywhere::with(|wish| Wish { rows_max: Some(401), groups_first: Some(16), ..wish }) else {
        return;
    };
    let few = [len().alias("n"), col("i64").min().alias("l"), col("f64").sum().alias("s"), col("i32").sum().alias("i")];
    let stage = Chain::new(&schema()).filter(col("i8").gt(-90)).reduce([col("name"), col("u8")], few).stage();
    for seed in 0..4 {
        let rows = 1 + Random::new(seed).below(6000);
        everywhere.agree(&stage, &ranged_batch(seed, rows, &schema(), 0.1, Range::Tame));
    }
}
