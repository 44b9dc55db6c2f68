//! Rows that are filtered and computed on a device are those of the CPU.

use std::sync::Arc;

use pelton::columnar::{DataType, RecordBatch, TimeUnit};
use pelton::expr::{CastMode, Expr, coalesce, col, greatest, least, lit, when};
use pelton::kernels::Backend;
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::gpu::{GpuBackend, Tier, Wish};
use pelton::plan::stage::Registry;

use crate::common::{Range, random_batch, ranged_batch};
use crate::support::{Chain, Everywhere, adapter, cut, narrow_schema, run, run_prepared, schema, wish};

/// The sizes at which bits, words, tiles and scans begin anew.
const SIZES: [usize; 14] = [0, 1, 63, 64, 65, 255, 256, 257, 4095, 4096, 4097, 65_535, 65_536, 65_537];

/// Conditions on every kind of value.
pub(crate) fn conditions() -> Vec<Expr> {
    vec![
        col("i8").lt(col("i16")),
        col("i32").gt_eq(-20).and(col("u8").not_eq(3)),
        col("i64").lt_eq(5).or(col("flag")),
        col("u64").gt(6).and(!col("flag")),
        col("u32").is_in([1, 2, 3]).or(col("u16").is_null()),
        col("f64").lt(0.5),
        col("f32").gt_eq(col("f64")),
        col("f64").is_nan().or(col("f32").eq(-0.0)),
        col("day").gt(lit("2001-09-09").cast(DataType::Date32)),
        col("at").lt(col("day").cast(DataType::Timestamp(TimeUnit::Millisecond, None))),
        col("price").gt(col("price").fill_null(1)).or(col("price").lt(7)),
        col("name").contains("a").or(col("name").is_null()),
        col("name").length().gt(4).and(col("flag").is_not_null()),
    ]
}

/// Values of every kind; with tame numbers all can be computed.
pub(crate) fn projections() -> Vec<Expr> {
    let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
    let expressions = vec![
        col("i8") + col("i8"),
        col("i16") - col("i16") * 3,
        col("i32") * col("i32") + 1,
        col("i64") * col("i64") - col("i64"),
        col("u8") + col("u8"),
        col("u32") * col("u32"),
        col("u64") * 3 + col("u64"),
        -col("i64"),
        -col("f64"),
        col("i32").floor_div(col("i8")),
        col("i64") % col("i16"),
        col("u64") % 7,
        col("u16").floor_div(col("u16")),
        col("i64").abs(),
        col("f32").abs(),
        col("i64").cast(DataType::Float64),
        col("u64").cast(DataType::Float64),
        col("f32").cast(DataType::Float64),
        col("i64").cast_lossy(DataType::Int8),
        col("u64").cast_lossy(DataType::UInt8),
        col("i16").cast_lossy(DataType::UInt32),
        col("i32").cast(DataType::Boolean),
        col("f64").cast(DataType::Boolean),
        col("flag").cast(DataType::Int32),
        when(col("i32").gt(0)).then(col("i64")).when(col("flag")).then(lit(7)).otherwise_null(),
        when(col("i8").not_eq(0)).then(lit(100).floor_div(col("i8"))).otherwise(lit(-1)),
        coalesce([col("i16").cast(DataType::Int64), col("i64"), lit(0)]),
        least([col("i32"), col("i16").cast(DataType::Int32), lit(3)]),
        greatest([col("u32"), col("u16").cast(DataType::UInt32)]),
        col("day") - lit("2001-09-09").cast(DataType::Date32),
        col("at") + col("span").cast(DataType::Duration(TimeUnit::Millisecond)),
        col("at").cast(DataType::Timestamp(TimeUnit::Second, None)),
        col("day").cast(milliseconds),
        col("at").cast(DataType::Date32),
        col("at").truncate(std::time::Duration::from_secs(600)),
        col("price") + col("price"),
        col("price") * col("price"),
        -col("price"),
        col("i32").cast(DataType::Decimal128(14, 3)) - col("price"),
        col("f64").lt(col("f32")),
        col("name").length() + col("i64"),
        col("flag").and(col("i8").gt(0)).or(col("u8").is_null()),
    ];
    expressions.into_iter().enumerate().map(|(place, expr)| expr.alias(format!("x{place}"))).collect()
}

fn tame(seed: u64, rows: usize) -> RecordBatch {
    ranged_batch(seed, rows, &schema(), 0.15, Range::Tame)
}

fn wild(seed: u64, rows: usize) -> RecordBatch {
    random_batch(seed, rows, &schema(), 0.15)
}

#[test]
fn every_condition_keeps_the_same_rows() {
    let Some(everywhere) = Everywhere::new() else { return };
    for (place, predicate) in conditions().into_iter().enumerate() {
        let stage = Chain::new(&schema()).filter(predicate).stage();
        everywhere.agree(&stage, &wild(place as u64, 1000));
    }
}

#[test]
fn every_projection_has_the_same_values() {
    let Some(everywhere) = Everywhere::new() else { return };
    for (place, some) in projections().chunks(10).enumerate() {
        let stage = Chain::new(&schema()).select(some.iter().cloned().chain([col("name")])).stage();
        everywhere.agree(&stage, &tame(place as u64, 700));
        let stage = Chain::new(&schema()).filter(col("i32").gt(-30)).select(some.iter().cloned()).stage();
        everywhere.agree(&stage, &tame(place as u64 + 10, 700));
    }
}

#[test]
fn extremes_give_the_same_values_or_the_same_error() {
    let Some(everywhere) = Everywhere::new() else { return };
    for (place, projection) in projections().into_iter().enumerate() {
        let stage = Chain::new(&schema()).select([projection]).stage();
        everywhere.agree(&stage, &wild(place as u64, 40));
    }
}

#[test]
fn sizes_around_the_borders_of_tiles_keep_the_order() {
    let Some(everywhere) = Everywhere::new() else { return };
    for rows in SIZES {
        let predicate = col("i64").gt(0).or(col("flag"));
        let schema = narrow_schema(&["i64", "flag", "name", "id"]);
        let stage = Chain::new(&schema)
            .filter(predicate)
            .select([col("id"), (col("i64") * 2).alias("twice"), col("name"), col("flag")])
            .stage();
        everywhere.agree(&stage, &ranged_batch(rows as u64, rows, &schema, 0.15, Range::Tame));
    }
}

#[test]
fn all_rows_or_none_may_stay() {
    let Some(everywhere) = Everywhere::new() else { return };
    for predicate in [col("id").is_not_null(), col("id").is_null(), lit(true).and(col("flag").is_not_null())] {
        let stage = Chain::new(&schema()).filter(predicate).select([(col("id") * 2).alias("x"), col("name")]).stage();
        everywhere.agree(&stage, &tame(3, 3000));
    }
}

#[test]
fn a_branch_that_is_not_reached_raises_no_error() {
    let Some(everywhere) = Everywhere::new() else { return };
    let huge = || lit(i64::MAX) + col("id").abs();
    let guarded = when(col("id").eq(0)).then(huge()).otherwise(lit(1));
    let stage = Chain::new(&schema()).select([guarded.alias("x")]).stage();
    everywhere.agree(&stage, &wild(5, 300));
    let stage = Chain::new(&schema()).filter(col("i8").is_null()).select([(huge() * lit(0)).alias("x")]).stage();
    everywhere.agree(&stage, &wild(5, 300));
    let cast = Expr::Cast { input: Box::new(col("id")), to: DataType::UInt8, mode: CastMode::Checked };
    everywhere.agree(&Chain::new(&schema()).select([cast.alias("x")]).stage(), &wild(6, 300));
}

#[test]
fn hundreds_of_batches_of_changing_sizes_keep_their_rows_and_their_order() {
    let Some(adapter) = adapter() else { return };
    let schema = narrow_schema(&["i32", "flag", "i64", "id"]);
    let all = ranged_batch(10, 9000, &schema, 0.1, Range::Tame);
    let computed = || [col("id"), (col("i64") * 3).alias("x"), col("flag")];
    let filtered = Chain::new(&schema).filter(col("i32").gt(-20).or(col("flag"))).select(computed()).stage();
    for (stage, tier) in Tier::ALL
        .into_iter()
        .flat_map(|tier| [(filtered.clone(), tier), (Chain::new(&schema).select(computed()).stage(), tier)])
    {
        let gpu = GpuBackend::open(Wish { rows_max: Some(1531), ..wish(&adapter, tier) }).unwrap().strict();
        let prepared = gpu.prepare(&stage, &Registry::default()).unwrap();
        for round in 0..150 {
            let rows = [1, 255, 256, 257, 1531, 1532, 64, 4097, 900, 3000][round % 10] + round / 10;
            let batch = cut(&all.slice(round * 29, rows));
            let given = run_prepared(prepared.as_ref(), &stage, &batch).unwrap();
            assert!(given == run(&CpuBackend::new(), &stage, &batch).unwrap(), "{tier}, round {round}, {rows} rows");
        }
    }
}

#[test]
fn many_batches_of_a_task_follow_one_another() {
    let Some(everywhere) = Everywhere::with(|wish| Wish { rows_max: Some(700), ..wish }) else {
        return;
    };
    let stage = Chain::new(&schema())
        .filter(col("i32").gt(-50))
        .select([col("id"), (col("i32") + 1).alias("next"), col("name")])
        .stage();
    everywhere.agree(&stage, &tame(8, 5000));
    let sliced = Arc::new(tame(9, 3000)).slice(77, 2500);
    everywhere.agree(&stage, &sliced);
}
