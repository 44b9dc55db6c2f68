//! Reading CSV and NDJSON on one thread, beside Polars on one thread (`POLARS_MAX_THREADS=1`), on the same seeded bytes
//! in memory. Throughput is in bytes of the file.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail where it stands")]

use std::fmt::Write;
use std::hint::black_box;
use std::io::Cursor;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pelton::columnar::{DataType, Field, Schema};
use pelton::error::Place;
use pelton::formats::{FormatKind, FormatOptions};
use polars::prelude as pl;
use polars::prelude::SerReader;

/// As the command line: both engines get their memory from the same place.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes of each file; 50 for each of `PELTON_BENCH_ROWS`, if that is set.
fn file_bytes() -> usize {
    let rows = std::env::var("PELTON_BENCH_ROWS").ok().and_then(|rows| rows.parse::<usize>().ok());
    rows.map_or(100 << 20, |rows| rows * 50)
}

/// A small generator of numbers: the data is the same in every run.
struct Seeded(u64);

impl Seeded {
    #[expect(clippy::cast_possible_truncation, reason = "there are few cities")]
    fn city(&mut self) -> &'static str {
        CITIES[self.below(CITIES.len() as u64) as usize]
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn columns() -> Vec<(&'static str, DataType)> {
    vec![
        ("id", DataType::Int64),
        ("city", DataType::Utf8),
        ("age", DataType::Int32),
        ("price", DataType::Float64),
        ("active", DataType::Boolean),
        ("page", DataType::Utf8),
    ]
}

fn schema() -> std::sync::Arc<Schema> {
    Schema::new(columns().into_iter().map(|(name, kind)| Field::new(name, kind, true)).collect::<Vec<_>>()).into()
}

fn polars_schema() -> pl::SchemaRef {
    let kind = |kind| match kind {
        DataType::Int64 => pl::DataType::Int64,
        DataType::Int32 => pl::DataType::Int32,
        DataType::Float64 => pl::DataType::Float64,
        DataType::Boolean => pl::DataType::Boolean,
        _ => pl::DataType::String,
    };
    columns().into_iter().map(|(name, of)| pl::Field::new(name.into(), kind(of))).collect::<pl::Schema>().into()
}

fn fill(header: &str, mut row: impl FnMut(&mut Seeded, &mut String)) -> Vec<u8> {
    let mut seeded = Seeded(42);
    let mut text = String::with_capacity(file_bytes() + 1000);
    text.push_str(header);
    while text.len() < file_bytes() {
        row(&mut seeded, &mut text);
    }
    text.into_bytes()
}

const CITIES: [&str; 8] = ["Bern", "Lagos", "Kyoto", "São Paulo", "Oslo", "Quito", "Addis Ababa", "Perth"];

fn csv_bytes() -> Vec<u8> {
    fill("id,city,age,price,active,page\n", |seeded, text| {
        let (id, city, age) = (seeded.below(1 << 31), seeded.city(), seeded.below(99));
        let (price, active, page) = (seeded.below(100_000) as f64 / 100.0, seeded.below(2) == 1, seeded.below(5000));
        writeln!(text, "{id},{city},{age},{price},{active},/shop/item/{page}?from=search").unwrap();
    })
}

fn ndjson_bytes() -> Vec<u8> {
    fill("", |seeded, text| {
        let (id, city, age) = (seeded.below(1 << 31), seeded.city(), seeded.below(99));
        let (price, active, page) = (seeded.below(100_000) as f64 / 100.0, seeded.below(2) == 1, seeded.below(5000));
        writeln!(
            text,
            r#"{{"id":{id},"city":"{city}","age":{age},"price":{price},"active":{active},"page":"/shop/item/{page}"}}"#
        )
        .unwrap();
    })
}

fn read(options: &FormatOptions, bytes: &'static [u8]) -> u64 {
    let lines = options.build_lines(None).unwrap();
    let mut reader = lines.reader_of(Box::new(Cursor::new(bytes)), Place::default());
    while let Some(batch) = reader.next_batch().unwrap() {
        black_box(batch);
    }
    reader.report().rows
}

fn text_formats(criterion: &mut Criterion) {
    // The work is a second per round: ten rounds tell enough.
    let csv: &'static [u8] = csv_bytes().leak();
    let ndjson: &'static [u8] = ndjson_bytes().leak();
    let options = |kind| FormatOptions::new(kind).with_schema(schema());

    let mut group = criterion.benchmark_group("csv");
    group.sample_size(10).throughput(Throughput::Bytes(csv.len() as u64));
    group.bench_function("pelton", |bencher| bencher.iter(|| read(&options(FormatKind::Csv), csv)));
    group.bench_function("polars", |bencher| {
        bencher.iter(|| {
            let options = pl::CsvReadOptions::default().with_schema(Some(polars_schema())).with_n_threads(Some(1));
            options.into_reader_with_file_handle(Cursor::new(csv)).finish().unwrap()
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("ndjson");
    group.sample_size(10).throughput(Throughput::Bytes(ndjson.len() as u64));
    group.bench_function("pelton", |bencher| bencher.iter(|| read(&options(FormatKind::Ndjson), ndjson)));
    group.bench_function("polars", |bencher| {
        bencher.iter(|| {
            let reader = pl::JsonReader::new(Cursor::new(ndjson)).with_json_format(pl::JsonFormat::JsonLines);
            reader.with_schema(polars_schema()).finish().unwrap()
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("text");
    group.sample_size(10).throughput(Throughput::Bytes(csv.len() as u64));
    group.bench_function("pelton", |bencher| bencher.iter(|| read(&FormatOptions::new(FormatKind::Text), csv)));
    group.finish();
}

criterion_group!(benches, text_formats);
criterion_main!(benches);
