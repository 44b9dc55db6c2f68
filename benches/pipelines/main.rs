//! Whole queries, from bytes to answers, beside Polars on the same data in the same run, both on all threads.
//!
//! Ours runs as a stream: files are listed, cut into a micro-batch, decoded, computed and handed to a sink, with the
//! threads of the query started and stopped in each measurement. Polars scans the same files, or collects the same frame,
//! with its streaming engine. Both answers are compared once before anything is measured.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pelton::columnar::polars::to_frame;
use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::formats::{FormatKind, FormatOptions};
use pelton::generate::{Options, campaigns, generator, write_text};
use pelton::prelude::*;
use polars::prelude::{self as pl, IntoLazy, LazyFileListReader};

/// As the command line: both engines get their memory from the same place.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of each query; `PELTON_BENCH_ROWS` makes them fewer.
fn rows() -> u64 {
    std::env::var("PELTON_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(2_000_000)
}

const SEED: u64 = 5;
const FILES: u64 = 4;

/// Writes the rows of a kind as text into files of equal size.
fn write_files(kind: &str, folder: &Path, extension: &str) -> u64 {
    let generator = generator(kind, SEED, &Options::default()).unwrap();
    let each = rows() / FILES;
    (0..FILES)
        .map(|file| {
            let path = folder.join(format!("{kind}-{file}.{extension}"));
            let mut out = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
            write_text(generator.as_ref(), file * each, each, &mut out).unwrap()
        })
        .sum()
}

/// Runs a described query to its end and gives all it wrote.
fn run(describe: impl Fn(&StreamingContext) -> Result<DStream>) -> RecordBatch {
    let context = StreamingContext::builder("bench").trigger(Trigger::AvailableNow).build().unwrap();
    let sink = MemorySink::new();
    describe(&context).unwrap().write(sink.clone()).unwrap();
    context.start().unwrap().await_termination().unwrap();
    sink.rows().unwrap().unwrap()
}

fn whole(batch: &RecordBatch, column: &str) -> Vec<i64> {
    let mut values = batch.column_by_name(column).unwrap().as_primitive::<Int64Type>().values().to_vec();
    values.sort_unstable();
    values
}

fn whole_of(frame: &pl::DataFrame, column: &str) -> Vec<i64> {
    let column = frame.column(column).unwrap().cast(&pl::DataType::Int64).unwrap();
    let mut values: Vec<i64> = column.i64().unwrap().into_no_null_iter().collect();
    values.sort_unstable();
    values
}

/// Views per campaign and ten seconds, from NDJSON, joined with a table.
fn ads_per_campaign(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write_files("ads", folder.path(), "ndjson");
    let campaigns = campaigns().unwrap();
    let schema = generator("ads", SEED, &Options::default()).unwrap().schema();
    let format = FormatOptions::new(FormatKind::Ndjson).with_schema(schema).build(None).unwrap();
    let ours = || {
        run(|context| {
            Ok(context
                .file_stream(folder.path(), Arc::clone(&format))?
                .filter(col("event_type").eq("view"))
                .join_static(StaticTable::new("campaigns", campaigns.clone()), ["ad_id"], JoinKind::Inner)?
                .key_by([col("campaign_id"), (col("event_time").floor_div(10_000_i64)).alias("window")])
                .count())
        })
    };
    let table = to_frame(&campaigns).unwrap().lazy();
    let files = pl::PlRefPath::new(format!("{}/*.ndjson", folder.path().display()).as_str());
    let peer_schema = {
        let text = ["user_id", "page_id", "ad_id", "ad_type", "event_type"];
        let mut schema: pl::Schema =
            text.iter().map(|name| pl::Field::new((*name).into(), pl::DataType::String)).collect();
        schema.insert("event_time".into(), pl::DataType::Int64);
        schema.insert("ip_address".into(), pl::DataType::String);
        Arc::new(schema)
    };
    let theirs = || {
        let reader = pl::LazyJsonLineReader::new(files.clone()).with_schema(Some(Arc::clone(&peer_schema)));
        let windows = pl::col("event_time").floor_div(pl::lit(10_000_i64)).alias("window");
        reader
            .finish()
            .unwrap()
            .filter(pl::col("event_type").eq(pl::lit("view")))
            .join(table.clone(), [pl::col("ad_id")], [pl::col("ad_id")], pl::JoinArgs::new(pl::JoinType::Inner))
            .group_by([pl::col("campaign_id"), windows])
            .agg([pl::len().alias("count")])
            .collect_with_engine(pl::Engine::Streaming)
            .unwrap()
            .unwrap_single()
    };
    assert_eq!(whole(&ours(), "count"), whole_of(&theirs(), "count"), "the answers differ");
    let mut group = c.benchmark_group(format!("pipeline/ads_ndjson_per_campaign/{}_rows", rows()));
    group.sample_size(10).throughput(Throughput::Bytes(bytes));
    group.bench_function("cpu", |b| b.iter(|| black_box(ours())));
    group.bench_function("polars", |b| b.iter(|| black_box(theirs())));
    group.finish();
}

/// Least, mean and greatest temperature per station, from `station;temperature`.
fn measurements_per_station(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write_files("measurements", folder.path(), "csv");
    let schema = generator("measurements", SEED, &Options::default()).unwrap().schema();
    let mut options = FormatOptions::new(FormatKind::Csv).with_schema(Arc::clone(&schema));
    options.delimiter = Some(";".into());
    options.header = Some(false);
    let format = options.build(None).unwrap();
    let temperature = || col(schema.field(1).name().as_str());
    let ours = || {
        run(|context| {
            Ok(context
                .file_stream(folder.path(), Arc::clone(&format))?
                .key_by([col(schema.field(0).name().as_str())])
                .aggregate([
                    temperature().min().alias("least"),
                    temperature().mean().alias("mean"),
                    temperature().max().alias("greatest"),
                    len().alias("count"),
                ]))
        })
    };
    let files = pl::PlRefPath::new(format!("{}/*.csv", folder.path().display()).as_str());
    let peer_schema: pl::Schema = [("station", pl::DataType::String), ("temperature", pl::DataType::Float64)]
        .into_iter()
        .map(|(name, data_type)| pl::Field::new(name.into(), data_type))
        .collect();
    let peer_schema = Arc::new(peer_schema);
    let theirs = || {
        pl::LazyCsvReader::new(files.clone())
            .with_separator(b';')
            .with_has_header(false)
            .with_schema(Some(Arc::clone(&peer_schema)))
            .finish()
            .unwrap()
            .group_by([pl::col("station")])
            .agg([
                pl::col("temperature").min().alias("least"),
                pl::col("temperature").mean().alias("mean"),
                pl::col("temperature").max().alias("greatest"),
                pl::len().alias("count"),
            ])
            .collect_with_engine(pl::Engine::Streaming)
            .unwrap()
            .unwrap_single()
    };
    let (mine, peer) = (ours(), theirs());
    assert_eq!(whole(&mine, "count"), whole_of(&peer, "count"), "the counts differ");
    let greatest = |batch: &RecordBatch| {
        batch
            .column_by_name("greatest")
            .unwrap()
            .as_primitive::<Float64Type>()
            .values()
            .iter()
            .copied()
            .fold(f64::MIN, f64::max)
    };
    let theirs_greatest = peer.column("greatest").unwrap().f64().unwrap().into_no_null_iter().fold(f64::MIN, f64::max);
    assert!(greatest(&mine) == theirs_greatest, "the maxima differ");
    let mut group = c.benchmark_group(format!("pipeline/measurements_text_per_station/{}_rows", rows()));
    group.sample_size(10).throughput(Throughput::Bytes(bytes));
    group.bench_function("cpu", |b| b.iter(|| black_box(ours())));
    group.bench_function("polars", |b| b.iter(|| black_box(theirs())));
    group.finish();
}

/// Filter, product and keyed reduce over columns that already lie in memory.
fn columns_per_key(c: &mut Criterion) {
    let batch =
        generator("groupby", SEED, &Options::default()).unwrap().rows(0, usize::try_from(rows()).unwrap()).unwrap();
    let frame = to_frame(&batch).unwrap();
    let keys: [(&str, &[&str]); 5] = [
        ("100_int_keys", &["k_lo"]),
        ("100_000_int_keys", &["k_mid"]),
        ("sparse_int_keys", &["k_hi"]),
        ("100_000_text_keys", &["s_mid"]),
        ("two_keys", &["k_lo", "s_lo"]),
    ];
    for (case, keys) in keys {
        let ours = || {
            run(|context| {
                let source = QueueSource::of(batch.schema(), [batch.clone()])?;
                let stream = context.source("groupby", source)?.filter(col("i").gt(10_000));
                let product = (col("f") * col("g")).sum().alias("product");
                let keys = keys.iter().map(|key| col(*key));
                Ok(stream.key_by(keys).aggregate([col("i").sum().alias("total"), product, len().alias("count")]))
            })
        };
        let theirs = || {
            let keys = keys.iter().map(|key| pl::col(*key)).collect::<Vec<_>>();
            let product = (pl::col("f") * pl::col("g")).sum().alias("product");
            let total = pl::col("i").cast(pl::DataType::Int64).sum().alias("total");
            let rows = frame.clone().lazy().filter(pl::col("i").gt(pl::lit(10_000)));
            rows.group_by(keys).agg([total, product, pl::len().alias("count")]).collect().unwrap()
        };
        let (mine, peer) = (ours(), theirs());
        assert_eq!(whole(&mine, "count"), whole_of(&peer, "count"), "the counts differ");
        assert_eq!(whole(&mine, "total"), whole_of(&peer, "total"), "the totals differ");
        let mut group = c.benchmark_group(format!("pipeline/filter_product_reduce_by_{case}/{}_rows", rows()));
        group.sample_size(10).throughput(Throughput::Elements(rows()));
        group.bench_function("cpu", |b| b.iter(|| black_box(ours())));
        group.bench_function("polars", |b| b.iter(|| black_box(theirs())));
        group.finish();
    }
}

/// Rows that leave as they came: filters over all columns, text among them.
fn kept_rows(c: &mut Criterion) {
    let batch =
        generator("groupby", SEED, &Options::default()).unwrap().rows(0, usize::try_from(rows()).unwrap()).unwrap();
    let frame = to_frame(&batch).unwrap();
    let greatest = batch.column_by_name("i").unwrap().as_primitive::<Int64Type>().iter().flatten().max().unwrap_or(0);
    for percent in [1, 50, 99] {
        let bound = greatest / 100 * percent;
        let ours = || {
            let context = StreamingContext::builder("bench").trigger(Trigger::AvailableNow).build().unwrap();
            let stream = context.source("groupby", QueueSource::of(batch.schema(), [batch.clone()]).unwrap()).unwrap();
            stream
                .filter(col("i").lt(bound))
                .foreach_batch(|_, rows| {
                    black_box(rows);
                    Ok(())
                })
                .unwrap();
            context.start().unwrap().await_termination().unwrap().rows_out
        };
        let theirs = || frame.clone().lazy().filter(pl::col("i").lt(pl::lit(bound))).collect().unwrap();
        assert_eq!(ours(), theirs().height() as u64, "the answers differ");
        let mut group = c.benchmark_group(format!("pipeline/filter_keep_{percent}pc_of_all_columns/{}_rows", rows()));
        group.sample_size(10).throughput(Throughput::Elements(rows()));
        group.bench_function("cpu", |b| b.iter(|| black_box(ours())));
        group.bench_function("polars", |b| b.iter(|| black_box(theirs())));
        group.finish();
    }
}

criterion_group!(pipelines, ads_per_campaign, measurements_per_station, columns_per_key, kept_rows);
criterion_main!(pipelines);
