//! Groups that are reduced on a device are those of the CPU, to the last bit of float sums.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int64Array, StringArray,
    StringViewArray, UInt64Array,
};
use pelton::columnar::{DataType, Field, RecordBatch, Schema};
use pelton::expr::{Aggregate, Expr, col, len, lit};
use pelton::kernels::gpu::{Spread, Wish};

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
    all.extend([col("i64").mean(), col("price").min(), col("price").max(), col("name").min(), col("name").max()]);
    all.extend([col("flag").min(), col("flag").max(), col("flag").any(), col("flag").all()]);
    for name in ["i8", "i64", "u32", "u64", "price", "f32", "f64"] {
        all.extend([col(name).var(1), col(name).std(0)]);
    }
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

/// As many keys as asked for whose hashes are all the same: of `shaders/reduce_keys.wgsl`, turned round.
fn of_one_hash(keys: usize) -> Vec<i64> {
    const FACTOR: u32 = 0x85eb_ca6b;
    let inverse = (0..5).fold(1_u32, |x, _| x.wrapping_mul(2_u32.wrapping_sub(FACTOR.wrapping_mul(x))));
    let mixed = |sum: u32| sum ^ (sum >> 13);
    let unmixed = |sum: u32| sum ^ (sum >> 13) ^ (sum >> 26);
    let wanted = unmixed(0x1234_5678).wrapping_mul(inverse);
    let high = |low: u32| mixed((0x9e37_79b9 ^ low).wrapping_mul(FACTOR)) ^ wanted;
    (0..keys as u32).map(|low| (u64::from(high(low)) << 32 | u64::from(low)) as i64).collect()
}

#[test]
fn keys_chosen_for_their_hashes_lose_no_row_and_end() {
    let mut random = Random::new(20);
    // As many as probes are made, and more; alone, and among others; each in some rows.
    let batches = [(512, 0, 3), (514, 0, 1), (700, 0, 2), (3000, 0, 2), (900, 5000, 1)].map(|(keys, others, times)| {
        let mut all = of_one_hash(keys).repeat(times);
        all.extend((0..others).map(|_| random.bits() as i64));
        for place in (1..all.len()).rev() {
            all.swap(place, random.below(place + 1));
        }
        let values: ArrayRef = Arc::new((0..all.len() as i64).collect::<Int64Array>());
        let keys: ArrayRef = Arc::new(Int64Array::from(all));
        RecordBatch::try_from_iter([("key", keys), ("value", values)]).unwrap()
    });
    for spread in [None, Some(Spread::Parted), Some(Spread::Local)] {
        let Some(everywhere) = Everywhere::with(|wish| Wish { spread, ..wish }) else { return };
        for batch in &batches {
            let sums = [len().alias("n"), col("value").sum().alias("s"), col("value").max().alias("m")];
            everywhere.agree(&Chain::new(&batch.schema()).reduce([col("key")], sums).stage(), batch);
        }
    }
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

/// Groups of 40 keys of columns under these names.
fn keyed(rows: usize, columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let keys: ArrayRef = Arc::new((0..rows as i64).map(|row| row % 40).collect::<Int64Array>());
    RecordBatch::try_from_iter(std::iter::once(("k", keys)).chain(columns)).unwrap()
}

#[test]
fn extremes_and_variances_of_wide_numbers_are_exact() {
    let Some(everywhere) = Everywhere::new() else { return };
    let mut random = Random::new(16);
    let rows = 700;
    let most = 10_i128.pow(38) - 1;
    // Of every length, and neighbours that differ in one word only.
    let decimal = |random: &mut Random| match random.below(6) {
        0 => random.pick(&[most, -most, most - 1, 1 - most, 0, 1 << 64, -(1 << 64), 1 << 96]),
        1 => (i128::from(random.bits()) << 64 >> (64 + random.below(40))) + random.below(3) as i128,
        _ => {
            let wide = i128::from(random.bits() as i64) << 61 | i128::from(random.bits());
            wide % (10_i128.pow(random.below(38) as u32 + 1))
        }
    };
    let decimals = (0..rows).map(|_| Some(decimal(&mut random)).filter(|_| random.below(9) > 0));
    let decimals = decimals.collect::<Decimal128Array>().with_precision_and_scale(38, 3).unwrap();
    let edges = [i64::MIN, i64::MAX, i64::MIN + 1, 0, -1];
    let whole = (0..rows).map(|_| if random.below(4) == 0 { random.pick(&edges) } else { random.bits() as i64 });
    let whole: ArrayRef = Arc::new(whole.collect::<Int64Array>());
    let unsigned: ArrayRef = Arc::new((0..rows).map(|row| u64::MAX - (row % 7) as u64).collect::<UInt64Array>());
    let batch = keyed(rows, vec![("d", Arc::new(decimals)), ("i", whole), ("u", unsigned)]);
    let all = [
        col("d").min().alias("a"),
        col("d").max().alias("b"),
        col("d").var(0).alias("c"),
        col("d").std(1).alias("e"),
        col("i").var(1).alias("f"),
        col("i").min().alias("g"),
        col("u").var(0).alias("h"),
        col("u").mean().alias("j"),
        col("d").mean().alias("l"),
        col("d").min().filter(col("i").gt(0)).alias("m"),
    ];
    for keys in [vec![], vec![col("k")], vec![(col("k") % 3).alias("rest")], vec![col("d")]] {
        everywhere.agree(&Chain::new(&batch.schema()).reduce(keys, all.clone()).stage(), &batch);
    }
}

#[test]
fn variances_of_floats_of_any_size_are_exact() {
    let Some(everywhere) = Everywhere::new() else { return };
    let mut random = Random::new(17);
    let rows = 800;
    // Near 1, of every size, subnormal, and with what is not finite.
    let floats: [Vec<f64>; 5] = [
        (0..rows).map(|_| 1e6 + random.share()).collect(),
        (0..rows)
            .map(|_| f64::from_bits(random.bits()))
            .map(|value| if value.is_finite() { value } else { 0.0 })
            .collect(),
        (0..rows).map(|row| 5e-324 * (row % 9) as f64).collect(),
        (0..rows).map(|row| if row % 97 == 0 { f64::INFINITY } else { random.share() }).collect(),
        (0..rows).map(|row| if row % 41 == 0 { f64::NAN } else { 0.0 }).collect(),
    ];
    for floats in floats {
        let narrow = floats.iter().map(|&value| value as f32).collect::<Float32Array>();
        let batch = keyed(rows, vec![("x", Arc::new(Float64Array::from(floats))), ("y", Arc::new(narrow))]);
        let all = [
            col("x").var(1).alias("a"),
            col("x").std(0).alias("b"),
            col("y").var(0).alias("c"),
            col("x").sum().alias("d"),
            col("x").abs().var(1).alias("e"),
            col("x").var(200).alias("f"),
        ];
        for keys in [vec![], vec![col("k")], vec![(col("k") % 7).alias("rest")]] {
            everywhere.agree(&Chain::new(&batch.schema()).reduce(keys, all.clone()).stage(), &batch);
        }
    }
}

#[test]
fn batches_of_other_sizes_of_floats_meet_in_one_variance() {
    let Some(everywhere) = Everywhere::with(|wish| Wish { rows_max: Some(120), ..wish }) else { return };
    let mut random = Random::new(18);
    let rows = 1500;
    let size = |row: usize| 10_f64.powi([0, 0, 12, -9, 140, 0][row / 250]);
    let floats = (0..rows).map(|row| random.share() * size(row)).collect::<Vec<_>>();
    let batch = keyed(rows, vec![("x", Arc::new(Float64Array::from(floats)))]);
    let all = [col("x").var(1).alias("a"), col("x").std(0).filter(col("x").gt(0.25)).alias("b")];
    for keys in [vec![], vec![col("k")]] {
        everywhere.agree(&Chain::new(&batch.schema()).reduce(keys, all.clone()).stage(), &batch);
    }
}

#[test]
fn least_and_greatest_texts_are_those_of_their_bytes() {
    let Some(everywhere) = Everywhere::with(|wish| Wish { rows_max: Some(333), ..wish }) else { return };
    let mut random = Random::new(19);
    let rows = 900;
    let words = ["", "a", "aa", "b", "\u{e4}", "\u{10ffff}", "Z", "zz", "a\0", "same"];
    let texts = (0..rows).map(|_| Some(random.pick(&words)).filter(|_| random.below(5) > 0)).collect::<Vec<_>>();
    let codes: ArrayRef = Arc::new(texts.iter().copied().collect::<DictionaryArray<Int32Type>>());
    let bytes = texts.iter().map(|text| text.map(str::as_bytes)).collect::<BinaryArray>();
    let views = texts.iter().copied().collect::<StringViewArray>();
    let batch = keyed(
        rows,
        vec![
            ("t", Arc::new(texts.into_iter().collect::<StringArray>())),
            ("c", codes),
            ("b", Arc::new(bytes)),
            ("v", Arc::new(views)),
        ],
    );
    let mut all = Vec::new();
    for name in ["t", "c", "b", "v"] {
        all.extend([col(name).min().alias(format!("{name}0")), col(name).max().alias(format!("{name}1"))]);
    }
    all.extend([col("t").count().alias("n"), col("t").max().filter(col("k").lt(3)).alias("some")]);
    for keys in [vec![], vec![col("k")], vec![col("t")], vec![col("c"), (col("k") % 5).alias("rest")]] {
        everywhere.agree(&Chain::new(&batch.schema()).reduce(keys, all.clone()).stage(), &batch);
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
