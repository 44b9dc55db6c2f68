//! Whole numbers that travel in fewer bits are the same on the device, whatever their range and where it lies.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, TimestampMillisecondArray,
    UInt32Array, UInt64Array,
};
use pelton::expr::{Aggregate, col, len};
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::gpu::Wish;

use crate::common::{Random, assert_batches_equal};
use crate::support::{Chain, Everywhere, run};

const ROWS: usize = 700;

/// Numbers of a range, with both ends, and nulls above numbers that lie elsewhere or not.
fn numbers(random: &mut Random, least: i128, distance: u128) -> Vec<Option<i128>> {
    let mut number = || {
        let wide = u128::from(random.bits()) << 64 | u128::from(random.bits());
        least.wrapping_add_unsigned(if distance == u128::MAX { wide } else { wide % (distance + 1) })
    };
    let mut all = (0..ROWS).map(|_| Some(number())).collect::<Vec<_>>();
    (all[3], all[ROWS - 5]) = (Some(least), Some(least.wrapping_add_unsigned(distance)));
    (0..ROWS).step_by(11).for_each(|row| all[row] = None);
    all
}

fn decimals(numbers: Vec<Option<i128>>, digits: u8) -> ArrayRef {
    let numbers = numbers.into_iter().collect::<Decimal128Array>();
    Arc::new(numbers.with_precision_and_scale(digits, 2).unwrap())
}

/// Columns of every type that may become narrow, of this range; each begins where its type is about to end, too.
fn batch(random: &mut Random, distance: u128) -> RecordBatch {
    let distance_32 = distance.min(u32::MAX.into());
    let distance_64 = distance.min(u64::MAX.into());
    let mut ends = |least: i128, most: i128, distance: u128| {
        let high = most.wrapping_sub_unsigned(distance);
        let begin = random.pick(&[least, high, least.max(high.min(0)), least.max(high.min(-3))]);
        numbers(random, begin, distance)
    };
    let i32s = ends(i32::MIN.into(), i32::MAX.into(), distance_32);
    let days = ends(-1_000_000, 1_000_000, distance_32.min(2_000_000));
    let u32s = ends(0, u32::MAX.into(), distance_32);
    let i64s = ends(i64::MIN.into(), i64::MAX.into(), distance_64);
    let at = ends(-(1 << 52), 1 << 52, distance_64.min(1 << 53));
    let u64s = ends(0, u64::MAX.into(), distance_64);
    let most = 10_i128.pow(38) - 1;
    let (wide, small) = (ends(-most, most, distance), ends(-(1 << 50), 1 << 50, distance.min(1 << 51)));
    let narrow = |number: Option<i128>| number.map(|number| number as i64);
    RecordBatch::try_from_iter([
        ("i32", Arc::new(i32s.iter().map(|n| n.map(|n| n as i32)).collect::<Int32Array>()) as ArrayRef),
        ("day", Arc::new(days.iter().map(|n| n.map(|n| n as i32)).collect::<Date32Array>())),
        ("u32", Arc::new(u32s.iter().map(|n| n.map(|n| n as u32)).collect::<UInt32Array>())),
        ("i64", Arc::new(i64s.into_iter().map(narrow).collect::<Int64Array>())),
        ("at", Arc::new(at.into_iter().map(narrow).collect::<TimestampMillisecondArray>())),
        ("u64", Arc::new(u64s.iter().map(|n| n.map(|n| n as u64)).collect::<UInt64Array>())),
        ("wide", decimals(wide, 38)),
        ("small", decimals(small, 18)),
    ])
    .unwrap()
}

const NAMES: [&str; 8] = ["i32", "day", "u32", "i64", "at", "u64", "wide", "small"];

fn extremes() -> Vec<Aggregate> {
    let both = |name: &&str| [col(*name).min().alias(format!("{name}0")), col(*name).max().alias(format!("{name}1"))];
    let means = ["i32", "u32", "i64", "u64", "small"].map(|name| col(name).mean().alias(format!("{name}2")));
    NAMES.iter().flat_map(both).chain(means).chain([len().alias("n")]).collect()
}

#[test]
fn numbers_of_any_range_are_the_same() {
    // Pieces of their own ranges, too.
    let Some(everywhere) = Everywhere::with(|wish| Wish { rows_max: Some(333), ..wish }) else { return };
    let mut random = Random::new(21);
    let distances = [
        0,
        1,
        2,
        3,
        9,
        15,
        16,
        255,
        256,
        65_535,
        65_536,
        (1 << 32) - 1,
        1 << 32,
        u64::MAX.into(),
        1 << 64,
        10_u128.pow(38),
    ];
    for distance in distances {
        let batch = batch(&mut random, distance);
        everywhere.agree(&Chain::new(&batch.schema()).reduce([], extremes()).stage(), &batch);
        for name in ["i32", "u64", "wide", "at"] {
            everywhere.agree(&Chain::new(&batch.schema()).reduce([col(name)], extremes()).stage(), &batch);
        }
    }
}

#[test]
fn few_bits_written_by_several_threads_are_the_same() {
    let Some(everywhere) = Everywhere::new() else { return };
    let rows = (2_i64 << 20) + 77;
    let numbers = |most: i64| (0..rows).map(move |row| row * 7919 % 1_000_003 % most);
    let batch = RecordBatch::try_from_iter([
        ("bit", Arc::new(numbers(2).collect::<Int64Array>()) as ArrayRef),
        ("two", Arc::new(numbers(3).map(|n| n as u32 + 7).collect::<UInt32Array>())),
        ("four", Arc::new(numbers(13).map(|n| n as i32 - 5).collect::<Int32Array>())),
    ]);
    let batch = batch.unwrap();
    // Pieces of odd lengths, so that values of two of them share a byte.
    let pieces = vec![vec![
        batch.slice(0, 999_999),
        batch.slice(999_999, 3),
        batch.slice(1_000_002, batch.num_rows() - 1_000_002),
    ]];
    let all = [col("bit").sum().alias("b"), col("two").sum().alias("t"), len().alias("n")];
    let stage = Chain::new(&batch.schema()).reduce([col("four")], all).stage();
    let expected = run(&CpuBackend::new(), &stage, &pieces).unwrap();
    for gpu in &everywhere.gpus {
        assert_batches_equal(&run(gpu, &stage, &pieces).unwrap(), &expected);
    }
}

#[test]
fn computed_and_filtered_numbers_are_the_same() {
    let Some(everywhere) = Everywhere::new() else { return };
    let mut random = Random::new(22);
    for distance in [0, 1, 3, 12, 200, 256, 65_536, 1 << 32, 1 << 40] {
        let batch = batch(&mut random, distance);
        let made = [
            col("i32").is_null().alias("a"),
            col("day").gt(col("i32").cast(pelton::columnar::DataType::Date32)).alias("b"),
            (col("small") * 2).alias("c"),
            (col("i64") % 7).alias("d"),
            (col("u32") % 3).alias("e"),
            col("u64").gt(col("i64")).alias("f"),
            col("wide").gt(col("small")).alias("g"),
        ];
        everywhere.agree(&Chain::new(&batch.schema()).filter(col("i32").gt(col("u32"))).select(made).stage(), &batch);
    }
}

#[test]
fn nothing_and_nothing_but_nulls_travel_well() {
    let Some(everywhere) = Everywhere::new() else { return };
    let mut random = Random::new(23);
    let batch = batch(&mut random, 1000);
    let nulls = batch.columns().iter().map(|column| arrow_array::new_null_array(column.data_type(), 65)).collect();
    let nulls = RecordBatch::try_new(batch.schema(), nulls).unwrap();
    for rows in [nulls, batch.slice(7, 0), batch.slice(3, 1)] {
        everywhere.agree(&Chain::new(&batch.schema()).reduce([col("i64")], extremes()).stage(), &rows);
    }
}
