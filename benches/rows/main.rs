//! Kernels that move rows, beside Polars on the same data in the same run. One million rows of stream each.
//!
//! Our kernels run on one thread; hold Polars to one with `POLARS_MAX_THREADS=1`, which the names of the results tell.
//! Both sides' answers are compared once before anything is measured. Polars builds its hash table in every join; ours is
//! measured with the build (`build+probe`) and, as in a running stream, without it (`probe`).

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::hint::black_box;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SortOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pelton::kernels::cpu::explode::explode;
use pelton::kernels::cpu::join::PreparedJoin;
use pelton::kernels::cpu::sort::sort;
use pelton::plan::stage::{Join, JoinKind, TableId};
use polars::prelude::{
    Column, DataFrame, DataFrameJoinOps, ExplodeOptions, IntoLazy, JoinArgs, JoinType, MaintainOrderJoin, NamedFrom,
    Series, SortMultipleOptions, col,
};

/// As the command line: both engines get their memory from the same place.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of each stream; `PELTON_BENCH_ROWS` makes them fewer.
fn rows() -> usize {
    std::env::var("PELTON_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1_000_000)
}

/// A column as each side holds it.
struct Twin {
    ours: ArrayRef,
    theirs: Series,
}

fn random(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |step: u64| {
        let mixed = (step ^ (seed << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 29)
    })
}

fn integers(values: impl Iterator<Item = i64>) -> Twin {
    let values: Vec<i64> = values.collect();
    Twin { theirs: Series::new("k".into(), &values), ours: Arc::new(Int64Array::from(values)) }
}

fn texts(values: impl Iterator<Item = i64>) -> Twin {
    let values: Vec<String> = values.map(|value| format!("campaign-{value:08}")).collect();
    Twin { theirs: Series::new("k".into(), &values), ours: Arc::new(StringArray::from(values)) }
}

fn floats() -> Twin {
    let values: Vec<f64> = random(3).take(rows()).map(|bits| (bits >> 11) as f64 / 1e12 - 1000.0).collect();
    Twin { theirs: Series::new("k".into(), &values), ours: Arc::new(Float64Array::from(values)) }
}

/// Keys below a bound.
fn keys(seed: u64, bound: usize) -> impl Iterator<Item = i64> {
    random(seed).take(rows()).map(move |bits| i64::try_from(bits % bound as u64).unwrap())
}

/// The column beside one that numbers the rows.
fn numbered(column: &Twin, number: &str) -> (RecordBatch, DataFrame) {
    let numbers: Vec<i64> = (0..i64::try_from(column.ours.len()).unwrap()).collect();
    let theirs: Vec<Column> = vec![column.theirs.clone().into(), Series::new(number.into(), &numbers).into()];
    let numbers: ArrayRef = Arc::new(Int64Array::from(numbers));
    let ours = RecordBatch::try_from_iter([("k", Arc::clone(&column.ours)), (number, numbers)]).unwrap();
    (ours, DataFrame::new(column.ours.len(), theirs).unwrap())
}

fn assert_same_numbers(ours: &RecordBatch, theirs: &DataFrame, number: &str) {
    let ours = ours.column_by_name(number).unwrap().as_primitive::<Int64Type>().values().to_vec();
    let theirs: Vec<i64> = theirs.column(number).unwrap().i64().unwrap().into_no_null_iter().collect();
    assert!(ours == theirs, "our rows differ from those of Polars");
}

fn peer() -> &'static str {
    if std::env::var("POLARS_MAX_THREADS").as_deref() == Ok("1") { "polars_1_thread" } else { "polars_all_threads" }
}

fn joins(criterion: &mut Criterion) {
    let cases = [
        ("int_1k", integers(0..1000), integers(keys(1, 1000))),
        ("int_1m", integers((0..1_000_000).map(|key| key * 7919)), integers(keys(1, 1_000_000).map(|key| key * 7919))),
        ("text_1k", texts(0..1000), texts(keys(2, 1000))),
        ("text_1m", texts(0..1_000_000), texts(keys(2, 1_000_000))),
    ];
    for (name, table, stream) in cases {
        let (table, their_table) = numbered(&table, "matched");
        let (stream, their_stream) = numbered(&stream, "row");
        let added = Arc::new(Field::new("matched", DataType::Int64, true));
        let fields: Vec<_> = stream.schema().fields().iter().cloned().chain([added]).collect();
        let join = Join {
            table: TableId(0),
            kind: JoinKind::Inner,
            left_keys: vec![0],
            right_keys: vec![0],
            right_columns: vec![1],
            schema: Arc::new(Schema::new(fields)),
        };
        let prepared = PreparedJoin::prepare(&join, &table).unwrap();
        let theirs = || {
            let mut args = JoinArgs::new(JoinType::Inner);
            args.maintain_order = MaintainOrderJoin::Left;
            their_stream.join(&their_table, ["k"], ["k"], args, None).unwrap()
        };
        assert_same_numbers(&prepared.probe(&stream).unwrap(), &theirs(), "matched");
        let mut group = criterion.benchmark_group(format!("join/{name}"));
        group.throughput(Throughput::Elements(rows() as u64));
        group.bench_function("probe", |b| b.iter(|| prepared.probe(black_box(&stream)).unwrap()));
        group.bench_function("build+probe", |b| {
            b.iter(|| PreparedJoin::prepare(&join, black_box(&table)).unwrap().probe(&stream).unwrap());
        });
        group.bench_function(peer(), |b| b.iter(theirs));
        group.finish();
    }
}

fn sorts(criterion: &mut Criterion) {
    let cases = [
        ("i64", integers(random(5).take(rows()).map(u64::cast_signed))),
        ("f64", floats()),
        ("text", texts(keys(6, 10_000_000))),
        ("text_1k", texts(keys(6, 1000))),
    ];
    let options = [SortOptions { descending: false, nulls_first: false }];
    for (name, column) in cases {
        let (batch, frame) = numbered(&column, "row");
        let schema = batch.schema();
        let keys = [vec![Arc::clone(batch.column(0))]];
        for limit in [None, Some(100u32)] {
            let ours = || {
                sort(&schema, std::slice::from_ref(&batch), &keys, &options, limit.map(|rows| rows as usize)).unwrap()
            };
            let theirs = || {
                let order = SortMultipleOptions::default().with_maintain_order(true);
                match limit {
                    None => frame.sort(["k"], order).unwrap(),
                    Some(rows) => frame.clone().lazy().sort_by_exprs([col("k")], order).limit(rows).collect().unwrap(),
                }
            };
            assert_same_numbers(&ours(), &theirs(), "row");
            let operation = if limit.is_some() { "top_100" } else { "sort" };
            let mut group = criterion.benchmark_group(format!("{operation}/{name}"));
            group.throughput(Throughput::Elements(rows() as u64));
            group.bench_function("ours", |b| b.iter(ours));
            group.bench_function(peer(), |b| b.iter(theirs));
            group.finish();
        }
    }
}

fn explodes(criterion: &mut Criterion) {
    let lists = keys(7, 10).take(rows() / 4).map(|length| Some((0..length).map(Some).collect::<Vec<_>>()));
    let lists: Vec<Option<Vec<Option<i64>>>> = lists.collect();
    let series = lists.iter().flatten().map(|list| Series::new("".into(), list)).collect::<Vec<_>>();
    let ours: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
    let (batch, frame) = numbered(&Twin { ours, theirs: Series::new("k".into(), series) }, "row");
    let item = Field::new("k", DataType::Int64, true);
    let schema = Arc::new(Schema::new(vec![item, Field::new("row", DataType::Int64, true)]));
    let ours = || explode(&batch, 0, &schema).unwrap();
    let theirs = || frame.explode(["k"], ExplodeOptions { empty_as_null: false, keep_nulls: false }).unwrap();
    assert_same_numbers(&ours(), &theirs(), "row");
    assert_same_numbers(&ours(), &theirs(), "k");
    let mut group = criterion.benchmark_group("explode/i64");
    group.throughput(Throughput::Elements(ours().num_rows() as u64));
    group.bench_function("ours", |b| b.iter(ours));
    group.bench_function(peer(), |b| b.iter(theirs));
    group.finish();
}

criterion_group! {
    name = row_kernels;
    config = Criterion::default().sample_size(10).warm_up_time(std::time::Duration::from_millis(500)).measurement_time(std::time::Duration::from_secs(2));
    targets = joins, sorts, explodes
}
criterion_main!(row_kernels);
