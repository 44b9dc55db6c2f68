//! Keyed reduce beside the group-by of Polars, on the same columns and the same number of threads.
//!
//! `POLARS_MAX_THREADS` sets the threads of both. With one, the rows are one partition; with more, a partition for each
//! thread, merged at the end. Rows come in batches of the size that a reader hands on. Before a case is timed, the two
//! answers are compared.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_wrap,
    reason = "a benchmark that cannot go on should stop; random values are cut to the width of their type"
)]

use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pelton::expr::{AggregateFunction, TypedAggregate, TypedExpr, TypedNode};
use pelton::kernels::cpu::reduce::KeyedReduce;
use pelton::limits::ROWS_PER_READ_MAX;
use polars::prelude as pl;
use rayon::prelude::*;

/// As the command line: both engines get their memory from the same place.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn total_rows() -> usize {
    std::env::var("PELTON_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(4_000_000)
}

/// A group-by: the same columns and aggregates for both engines.
struct Case {
    name: &'static str,
    keys: Vec<ArrayRef>,
    aggregates: Vec<TypedAggregate>,
    expressions: Vec<pl::Expr>,
}

fn mix(seed: u64) -> u64 {
    let z = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A random number below `end` for each row.
fn numbers(seed: u64, end: u64) -> impl Iterator<Item = u64> {
    (0..total_rows() as u64).map(move |row| mix(mix(seed) ^ row.wrapping_mul(0x9e37_79b9_7f4a_7c15)) % end)
}

fn integers(end: u64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(numbers(1, end).map(|number| number as i64)))
}

fn sparse(end: u64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(numbers(1, end).map(|number| mix(number) as i64)))
}

fn texts(seed: u64, end: u64) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(numbers(seed, end).map(|number| format!("id{number:010}"))))
}

/// The values: `x` whole numbers, `y` floats, `keep` true in three of four rows.
struct Values {
    x: ArrayRef,
    y: ArrayRef,
    keep: BooleanArray,
}

impl Values {
    fn new() -> Self {
        Self {
            x: Arc::new(Int64Array::from_iter_values(numbers(7, 1000).map(|number| number as i64))),
            y: Arc::new(Float64Array::from_iter_values(numbers(8, 1 << 53).map(|number| number as f64 / 1e13))),
            keep: numbers(9, 4).map(|number| Some(number > 0)).collect(),
        }
    }
}

fn aggregate(function: AggregateFunction, input: Option<(usize, DataType)>, data_type: DataType) -> TypedAggregate {
    let input = input.map(|(place, data_type)| {
        let node = TypedNode::Column(place, ["x", "y"][place].to_owned());
        TypedExpr { node, data_type, nullable: false }
    });
    TypedAggregate { name: function.name().to_owned(), function, input, filter: None, data_type }
}

fn cases() -> Vec<Case> {
    use AggregateFunction as Function;
    let sum_x = || aggregate(Function::Sum, Some((0, DataType::Int64)), DataType::Int64);
    let mean_y = || aggregate(Function::Mean, Some((1, DataType::Float64)), DataType::Float64);
    let len = || aggregate(Function::Len, None, DataType::Int64);
    let min_x = || aggregate(Function::Min, Some((0, DataType::Int64)), DataType::Int64);
    let max_y = || aggregate(Function::Max, Some((1, DataType::Float64)), DataType::Float64);
    let usual = |name, keys| Case {
        name,
        keys,
        aggregates: vec![sum_x(), mean_y(), len()],
        expressions: vec![
            pl::col("x").sum().alias("a0"),
            pl::col("y").mean().alias("a1"),
            pl::len().cast(pl::DataType::Int64).alias("a2"),
        ],
    };
    let keep = |aggregate: TypedAggregate| TypedAggregate {
        filter: Some(TypedExpr {
            node: TypedNode::Column(2, "keep".to_owned()),
            data_type: DataType::Boolean,
            nullable: false,
        }),
        ..aggregate
    };
    vec![
        usual("integers_100", vec![integers(100)]),
        usual("integers_100k", vec![integers(100_000)]),
        usual("sparse_1m", vec![sparse(1_000_000)]),
        usual("texts_100", vec![texts(1, 100)]),
        usual("texts_100k", vec![texts(1, 100_000)]),
        usual("two_columns_10k", vec![integers(100), texts(2, 100)]),
        usual("two_columns_1m", vec![integers(1000), texts(2, 1000)]),
        Case {
            name: "float_mean_100k",
            keys: vec![integers(100_000)],
            aggregates: vec![mean_y()],
            expressions: vec![pl::col("y").mean().alias("a0")],
        },
        Case {
            name: "min_max_100k",
            keys: vec![integers(100_000)],
            aggregates: vec![min_x(), max_y()],
            expressions: vec![pl::col("x").min().alias("a0"), pl::col("y").max().alias("a1")],
        },
        Case {
            name: "filtered_sum_100k",
            keys: vec![integers(100_000)],
            aggregates: vec![keep(sum_x())],
            expressions: vec![pl::col("x").filter(pl::col("keep")).sum().alias("a0")],
        },
    ]
}

/// Batch by batch through one partition a thread, then merged.
fn pelton(case: &Case, values: &Values, threads: usize) -> RecordBatch {
    let fields: Vec<Field> = case
        .keys
        .iter()
        .enumerate()
        .map(|(place, key)| Field::new(format!("k{place}"), key.data_type().clone(), false))
        .collect();
    let reduce = KeyedReduce::prepare(&fields, &case.aggregates).unwrap();
    let partition = total_rows().div_ceil(threads);
    let run = |from: usize| {
        let mut groups = reduce.begin().unwrap();
        let end = (from + partition).min(total_rows());
        for from in (from..end).step_by(ROWS_PER_READ_MAX) {
            let rows = ROWS_PER_READ_MAX.min(end - from);
            let keys: Vec<_> = case.keys.iter().map(|key| key.slice(from, rows)).collect();
            let input = |aggregate: &TypedAggregate| match &aggregate.input.as_ref()?.node {
                TypedNode::Column(0, _) => Some(values.x.slice(from, rows)),
                _ => Some(values.y.slice(from, rows)),
            };
            let filter =
                |aggregate: &TypedAggregate| Some(aggregate.filter.as_ref().map(|_| values.keep.slice(from, rows)));
            let inputs: Vec<_> = case.aggregates.iter().map(input).collect();
            let filters: Vec<_> = case.aggregates.iter().filter_map(filter).collect();
            groups.update(&keys, &inputs, &filters, rows).unwrap();
        }
        groups
    };
    let starts: Vec<usize> = (0..total_rows()).step_by(partition).collect();
    let partials = if threads == 1 { vec![run(0)] } else { starts.into_par_iter().map(run).collect() };
    reduce.finish_all(partials).unwrap()
}

fn series(name: &str, array: &ArrayRef) -> pl::Column {
    match array.data_type() {
        DataType::Int64 => pl::Column::new(name.into(), array.as_primitive::<Int64Type>().values().to_vec()),
        DataType::Float64 => pl::Column::new(name.into(), array.as_primitive::<Float64Type>().values().to_vec()),
        DataType::Boolean => pl::Column::new(name.into(), array.as_boolean().iter().collect::<Vec<_>>()),
        _ => pl::Column::new(name.into(), array.as_string::<i32>().iter().collect::<Vec<_>>()),
    }
}

fn frame(case: &Case, values: &Values) -> pl::DataFrame {
    let mut columns: Vec<_> =
        case.keys.iter().enumerate().map(|(place, key)| series(&format!("k{place}"), key)).collect();
    let keep: ArrayRef = Arc::new(values.keep.clone());
    columns.extend([series("x", &values.x), series("y", &values.y), series("keep", &keep)]);
    pl::DataFrame::new(total_rows(), columns).unwrap()
}

fn polars(case: &Case, frame: &pl::DataFrame) -> pl::DataFrame {
    use pl::IntoLazy;
    let keys: Vec<pl::Expr> = (0..case.keys.len()).map(|place| pl::col(format!("k{place}"))).collect();
    frame.clone().lazy().group_by(keys).agg(case.expressions.clone()).collect().unwrap()
}

/// Panics unless both answers hold the same groups; floats may differ by the rounding of Polars' additions.
fn assert_same(ours: &RecordBatch, theirs: &pl::DataFrame, keys: usize) {
    assert_eq!(ours.num_rows(), theirs.height());
    let rendered = |values: Vec<Vec<String>>| {
        let mut rows: Vec<String> = (0..ours.num_rows())
            .map(|row| values.iter().map(|column| column[row].as_str()).collect::<Vec<_>>().join("|"))
            .collect();
        rows.sort();
        rows
    };
    let ours_columns = ours.columns().iter().map(|column| match column.data_type() {
        DataType::Float64 => column.as_primitive::<Float64Type>().values().iter().map(|v| format!("{v:.6e}")).collect(),
        DataType::Int64 => column.as_primitive::<Int64Type>().values().iter().map(ToString::to_string).collect(),
        _ => column.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect(),
    });
    let theirs_columns = (0..ours.num_columns()).map(|place| {
        let name = if place < keys { format!("k{place}") } else { format!("a{}", place - keys) };
        let column = theirs.column(&name).unwrap();
        match column.dtype() {
            pl::DataType::Float64 => column.f64().unwrap().iter().map(|v| format!("{:.6e}", v.unwrap())).collect(),
            pl::DataType::Int64 => column.i64().unwrap().iter().map(|v| v.unwrap().to_string()).collect(),
            _ => column.str().unwrap().iter().map(|text| text.unwrap().to_owned()).collect(),
        }
    });
    assert!(rendered(ours_columns.collect()) == rendered(theirs_columns.collect()), "the answers differ");
}

fn reduce(criterion: &mut Criterion) {
    let threads = std::env::var("POLARS_MAX_THREADS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    // Both engines take the number from the environment, before their first use.
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let values = Values::new();
    for case in cases() {
        let frame = frame(&case, &values);
        assert_same(&pelton(&case, &values, threads), &polars(&case, &frame), case.keys.len());
        let mut group = criterion.benchmark_group(format!("reduce/{}/threads_{threads}", case.name));
        group.throughput(Throughput::Elements(total_rows() as u64)).sample_size(10);
        group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
        group.bench_function("pelton", |bencher| bencher.iter(|| pelton(&case, &values, threads)));
        group.bench_function("polars", |bencher| bencher.iter(|| polars(&case, &frame)));
        group.finish();
    }
}

criterion_group!(benches, reduce);
criterion_main!(benches);
