//! Connectors with the formats that users meet.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use pelton::connectors::directory::DirectorySource;
use pelton::connectors::files::FilesSink;
use pelton::connectors::tail::TailSource;
use pelton::connectors::{OutputBatch, ReadLimits, Sink, Source};
use pelton::error::ErrorKind;
use pelton::formats::{BadRecordPolicy, FormatKind, FormatOptions, ReadReport};
use tempfile::TempDir;

use crate::contract::check_source;
use crate::tables::{next, number_schema, rows};

/// Rows with nulls, quotes and line ends, and text that needs escapes.
fn people(range: std::ops::Range<i64>) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("score", DataType::Float64, true),
    ]);
    let ids = Int64Array::from_iter(range.clone().map(|id| (id % 5 != 0).then_some(id)));
    let names = StringArray::from_iter_values(range.clone().map(|id| format!("name \"{id}\", the {id}th")));
    let scores =
        Float64Array::from_iter(range.map(|id| (id % 7 != 0).then(|| f64::from(i32::try_from(id).unwrap()) / 8.0)));
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(names), Arc::new(scores)];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

#[test]
fn what_a_query_writes_another_reads_in_every_format() {
    for kind in [FormatKind::Csv, FormatKind::Ndjson, FormatKind::Parquet, FormatKind::Arrow] {
        let folder = TempDir::new().unwrap();
        let all = people(0..30);
        let schema = all.schema();
        let mut sink = FilesSink::of(folder.path(), FormatOptions::new(kind));
        sink.open(&schema).unwrap();
        for (batch_id, (from, to)) in [(0, 13), (13, 13), (13, 30)].into_iter().enumerate() {
            let middle = (from + to) / 2;
            let partitions = vec![vec![people(from..middle)], vec![people(middle..to)]];
            let batch = OutputBatch {
                batch_id: batch_id as u64,
                time: Duration::ZERO,
                schema: &schema,
                partitions: &partitions,
            };
            let report = sink.write(&batch).unwrap();
            assert_eq!(report.bytes > 0, from < to, "{kind:?}");
        }
        // Written within one tick of the file system's clock they would come by name; a slow machine must not matter.
        for (index, path) in sorted(&folder).into_iter().enumerate() {
            let time = std::time::UNIX_EPOCH + Duration::from_secs(index as u64);
            fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
        }
        let format = FormatOptions::new(kind).with_schema(Arc::clone(&schema)).build(None).unwrap();
        let fresh = || DirectorySource::new(folder.path(), Arc::clone(&format)).unwrap().split_bytes(100);
        check_source(&mut || Box::new(fresh()), &all);
    }
}

fn sorted(folder: &TempDir) -> Vec<std::path::PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    paths
}

#[test]
fn a_growing_csv_file_is_read_with_its_header_in_every_cut() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log.csv");
    let lines: String = (0..50).map(|id| format!("{id}\n")).collect();
    fs::write(&path, format!("number\n{lines}")).unwrap();
    let format = FormatOptions::new(FormatKind::Csv).with_schema(number_schema()).build_lines(None).unwrap();
    let fresh = || TailSource::new(&path, Arc::clone(&format)).split_bytes(10);
    check_source(&mut || Box::new(fresh()), &crate::tables::numbers(0..50));
}

#[test]
fn bad_records_are_counted_through_files_read_one_after_another() {
    let folder = TempDir::new().unwrap();
    for name in ["a.csv", "b.csv", "c.csv"] {
        fs::write(folder.path().join(name), "number\n1\nnot a number\n2\n").unwrap();
    }
    let options = FormatOptions::new(FormatKind::Csv).with_schema(number_schema());
    let format = options.clone().with_policy(BadRecordPolicy::Drop).build(None).unwrap();
    let mut source = DirectorySource::new(folder.path(), format).unwrap();
    let range = next(&mut source);
    assert_eq!(rows(&mut source, &range, 2).num_rows(), 6);
    let mut report = ReadReport::default();
    for mut reader in source.read(&range, 2).unwrap() {
        while reader.next_batch().unwrap().is_some() {}
        report.absorb(reader.report());
    }
    assert_eq!((report.rows, report.dropped, report.examples.len()), (6, 3, 3));

    let mut source = DirectorySource::new(folder.path(), options.build(None).unwrap()).unwrap();
    let range = next(&mut source);
    let error = source.read(&range, 1).unwrap().remove(0).next_batch().unwrap_err();
    assert_eq!((error.kind(), error.place().line), (ErrorKind::BadRecord, Some(3)), "{error}");
}

#[test]
fn a_truncated_parquet_file_is_an_error_that_names_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cut.parquet");
    fs::File::create(&path).unwrap().write_all(b"PAR1 and then nothing").unwrap();
    let format = FormatOptions::new(FormatKind::Parquet).with_schema(number_schema()).build(None).unwrap();
    let mut source = DirectorySource::new(folder.path(), format).unwrap();
    for _ in 0..2 {
        let error = source.next_range(&ReadLimits::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("cut.parquet"), "{error}");
    }
}

#[test]
fn what_a_format_cannot_hold_is_told_when_the_query_starts() {
    let folder = TempDir::new().unwrap();
    let nested = Field::new("list", DataType::new_list(DataType::Int64, true), true);
    let mut sink = FilesSink::of(folder.path(), FormatOptions::new(FormatKind::Csv));
    assert_eq!(sink.open(&Arc::new(Schema::new(vec![nested]))).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn the_first_file_is_known_before_the_first_batch() {
    let folder = TempDir::new().unwrap();
    let format = FormatOptions::new(FormatKind::Text).build(None).unwrap();
    let source = DirectorySource::new(folder.path(), format).unwrap();
    assert_eq!(source.first_file().unwrap(), None);
    for (name, seconds) in [("b", 1), ("a", 2), ("empty", 0)] {
        let path = folder.path().join(name);
        fs::write(&path, if name == "empty" { "" } else { "line" }).unwrap();
        let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
        fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
    }
    assert_eq!(source.first_file().unwrap(), Some(folder.path().join("b")));
}
