//! Columns read here and by the library: the same rows, for every type, way of writing, bound and cut.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, Encoding, ZstdLevel};
use ::parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Date32Array, Decimal128Array, Int16Array, ListArray,
    PrimitiveArray, StringArray, TimestampMicrosecondArray,
};
use arrow_select::concat::concat_batches;
use tempfile::NamedTempFile;

use super::ParquetFormat;
use crate::columnar::{DataType, RecordBatch};
use crate::error::{ErrorKind, Result};
use crate::formats::{Bound, Format, Keeps, ReadReport};

/// Numbers without order, from 0 to `below`, of the row numbers.
fn scattered(row: usize, below: usize) -> usize {
    (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 17) % below
}

fn numbers<T: ArrowPrimitiveType>(rows: usize, value: impl Fn(usize) -> Option<T::Native>) -> ArrayRef {
    Arc::new((0..rows).map(value).collect::<PrimitiveArray<T>>())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "any numbers will do")]
fn table(rows: usize) -> RecordBatch {
    let decimal = |precision: u8, value: &dyn Fn(usize) -> Option<i128>| -> ArrayRef {
        let values: Decimal128Array = (0..rows).map(value).collect();
        Arc::new(values.with_precision_and_scale(precision, 2).expect("a decimal"))
    };
    let extremes = [f64::NAN, -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 1.5, -2.5e300];
    let runs = |row: usize| row / 37 % 5;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("few", numbers::<Int32Type>(rows, |row| Some(scattered(row, 13) as i32 - 6))),
        ("runs", numbers::<Int64Type>(rows, |row| Some(runs(row) as i64))),
        ("many", numbers::<Int64Type>(rows, |row| Some((scattered(row, usize::MAX) as i64).wrapping_mul(77)))),
        ("nulls", numbers::<Int64Type>(rows, |row| (scattered(row, 3) > 0).then(|| scattered(row, 100) as i64))),
        ("rare_null", numbers::<UInt32Type>(rows, |row| (row % 5000 != 7).then_some(u32::MAX - runs(row) as u32))),
        ("none", numbers::<Int32Type>(rows, |_| None)),
        ("one", numbers::<UInt64Type>(rows, |_| Some(u64::MAX))),
        ("float", numbers::<Float64Type>(rows, |row| Some(extremes[scattered(row, 8)]))),
        ("short", numbers::<Float32Type>(rows, |row| (runs(row) > 0).then(|| scattered(row, 40_000) as f32 / 7.0))),
        ("day", Arc::new((0..rows).map(|row| Some(row as i32 / 100 - 50)).collect::<Date32Array>())),
        (
            "time",
            Arc::new((0..rows).map(|row| Some(scattered(row, 1 << 50) as i64)).collect::<TimestampMicrosecondArray>()),
        ),
        ("d9", decimal(9, &|row| Some(scattered(row, 1000) as i128 - 500))),
        ("d15", decimal(15, &|row| (runs(row) != 3).then(|| scattered(row, 1 << 40) as i128 - 99))),
        ("d30", decimal(30, &|row| Some((scattered(row, 700) as i128 - 350) << 70))),
        (
            "text",
            Arc::new((0..rows).map(|row| Some(["", "a", "bc", "grün"][scattered(row, 4)])).collect::<StringArray>()),
        ),
        (
            "maybe",
            Arc::new((0..rows).map(|row| (runs(row) > 1).then(|| format!("t{}", runs(row)))).collect::<StringArray>()),
        ),
        ("long", Arc::new((0..rows).map(|row| Some(format!("no other is {row}"))).collect::<StringArray>())),
        // Types that the library reads.
        ("yes", Arc::new((0..rows).map(|row| Some(scattered(row, 2) == 1)).collect::<BooleanArray>())),
        ("small", Arc::new((0..rows).map(|row| Some(scattered(row, 99) as i16)).collect::<Int16Array>())),
        (
            "list",
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
                (0..rows).map(|row| Some((0..row % 3).map(|n| Some(n as i64)))),
            )),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .expect("a batch")
}

fn written(all: &RecordBatch, properties: WriterPropertiesBuilder) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a file");
    let mut writer =
        ArrowWriter::try_new(file.reopen().expect("a file"), all.schema(), Some(properties.build())).expect("a writer");
    for from in (0..all.num_rows()).step_by(5000) {
        writer.write(&all.slice(from, 5000.min(all.num_rows() - from))).expect("room");
    }
    writer.close().expect("room");
    file
}

fn ways() -> Vec<(&'static str, WriterPropertiesBuilder)> {
    let small = || WriterProperties::builder().set_data_page_row_count_limit(777).set_write_batch_size(100);
    vec![
        ("as usual", WriterProperties::builder()),
        ("small pages", small()),
        ("small pages, zstd", small().set_compression(Compression::ZSTD(ZstdLevel::default()))),
        ("no dictionary", small().set_dictionary_enabled(false).set_compression(Compression::SNAPPY)),
        ("full dictionaries", small().set_dictionary_page_size_limit(2000)),
        (
            "second version",
            small().set_writer_version(WriterVersion::PARQUET_2_0).set_compression(Compression::LZ4_RAW),
        ),
        (
            "differences",
            small()
                .set_dictionary_enabled(false)
                .set_column_encoding("many".into(), Encoding::DELTA_BINARY_PACKED)
                .set_column_encoding("float".into(), Encoding::BYTE_STREAM_SPLIT),
        ),
        ("small groups", small().set_max_row_group_row_count(Some(1234))),
    ]
}

#[expect(clippy::panic_in_result_fn, reason = "a test may fail")]
fn read(format: &dyn Format, path: &Path, target: u64) -> Result<(RecordBatch, ReadReport)> {
    let bytes = std::fs::metadata(path).expect("a file").len();
    let (mut batches, mut report) = (Vec::new(), ReadReport::default());
    for split in format.splits(path, bytes, target)? {
        let mut reader = format.open(&split)?;
        while let Some(batch) = reader.next_batch()? {
            assert!(batch.num_rows() > 0 && batch.num_rows() <= crate::limits::ROWS_PER_READ_MAX);
            batches.push(batch);
        }
        report.absorb(reader.report());
    }
    Ok((concat_batches(&format.schema(), &batches)?, report))
}

/// The same format for both ways: columns as codes, some unread, some rows left out.
fn both(format: &ParquetFormat) -> [ParquetFormat; 2] {
    [false, true].map(|by_library| ParquetFormat { by_library, ..format.clone() })
}

fn plain(batch: &RecordBatch) -> Vec<ArrayRef> {
    let text = |column: &ArrayRef| match column.data_type() {
        DataType::Dictionary(..) => arrow_cast::cast(column, &DataType::Utf8).expect("texts"),
        _ => Arc::clone(column),
    };
    batch.columns().iter().map(text).collect()
}

fn assert_same(format: &ParquetFormat, path: &Path, targets: &[u64], told: &str) {
    for &target in targets {
        let [here, by_library] = both(format).map(|format| read(&format, path, target).expect("rows"));
        assert_eq!(here.1, by_library.1, "{told}");
        for (index, (here, by_library)) in plain(&here.0).iter().zip(plain(&by_library.0)).enumerate() {
            assert_eq!(here, &by_library, "{told}, column {index}, {target} bytes");
        }
    }
}

fn format_of(all: &RecordBatch) -> ParquetFormat {
    let texts: BTreeSet<usize> =
        (0..all.num_columns()).filter(|column| *all.column(*column).data_type() == DataType::Utf8).collect();
    let plain = ParquetFormat::new(all.schema(), false, true);
    let coded = crate::formats::column::coded_schema(&plain.schema, &texts).expect("texts");
    ParquetFormat { schema: coded, ..plain }
}

#[test]
fn both_ways_give_the_same_rows() {
    for rows in [1, 8, 4095, 4097, 9_000] {
        let all = table(rows);
        for (told, properties) in ways() {
            let file = written(&all, properties);
            assert_same(&format_of(&all), file.path(), &[1, u64::MAX], told);
            let (read, report) = read(&ParquetFormat::new(all.schema(), false, true), file.path(), 1).expect("rows");
            assert_eq!((read, report.rows), (all.clone(), rows as u64), "{told}");
            for column in (0..all.num_columns()).filter(|_| rows == 4095) {
                // Without those that the library reads tiles are of another size.
                let unread = (0..all.num_columns()).filter(|other| *other != column && *other > 1).collect();
                assert_same(&ParquetFormat { unread, ..format_of(&all) }, file.path(), &[1], told);
            }
        }
    }
}

#[test]
fn both_ways_leave_out_the_same_rows() {
    const ALL: [Keeps; 5] = [Keeps::Less, Keeps::AtMost, Keeps::Equal, Keeps::AtLeast, Keeps::Greater];
    let all = table(5_000);
    let format = format_of(&all);
    let bound = |column: usize, keeps: usize| Bound {
        column,
        keeps: ALL[keeps % 5],
        value: all.column(column).slice(scattered(column + keeps, 5_000), 1),
    };
    for (way, (told, properties)) in ways().into_iter().enumerate() {
        let file = written(&all, properties);
        for column in 0..17 {
            let bounds = [bound(column, column + way), bound((column + 9) % 17, column + way + 2)];
            for count in 1..=2 {
                let bounds = bounds[..count].to_vec();
                let told = format!("{told}, {bounds:?}");
                // Also without columns that the library reads, so that tiles are of another size.
                for unread in [BTreeSet::new(), (16..all.num_columns()).collect()] {
                    let format = ParquetFormat { bounds: bounds.clone(), unread, ..format.clone() };
                    assert_same(&format, file.path(), &[u64::MAX], &told);
                }
            }
        }
    }
}

/// Whatever bytes of a file are changed: rows or an error that says where, both of which the library gives as well.
#[test]
fn damaged_pages_are_an_error_with_a_place() {
    let all = table(3_000);
    let unread: BTreeSet<usize> = (16..all.num_columns()).collect();
    let mut errors = 0;
    for (told, properties) in ways() {
        let file = written(&all, properties);
        let bytes = std::fs::read(file.path()).expect("a file");
        for round in 0..60 {
            let at = 4 + scattered(round * 7 + told.len(), bytes.len() - 4);
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (round % 8);
            if round % 3 == 0 {
                damaged[at..bytes.len().min(at + 9)].fill(if round % 2 == 0 { 0xff } else { 0 });
            }
            std::fs::write(file.path(), &damaged).expect("room");
            let format = ParquetFormat { unread: unread.clone(), ..format_of(&all) };
            if let Err(error) = read(&format, file.path(), u64::MAX) {
                assert!(
                    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::BadRecord),
                    "{told}, byte {at}: {error}"
                );
                assert_eq!(error.place().file.as_deref(), Some(file.path()), "{error}");
                errors += usize::from(error.message().contains("row group") && error.place().column.is_some());
            }
        }
    }
    assert!(errors > 20, "{errors} errors tell group and column");
}
