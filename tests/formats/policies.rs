//! What policies make of bad records: those put aside come with their bytes, and columns may have a policy of their own.

use std::path::Path;

use pelton::columnar::{DataType, Field, Schema};
use pelton::error::ErrorKind;
use pelton::formats::{BadRecordPolicy, FormatOptions, ReadReport, SetAside};
use pelton::limits::{LONG_RECORD_KEPT_BYTES, RECORD_BYTES_MAX};

use crate::support::{csv, file, ndjson, read_bytes, rows, text};

/// All that a file's readers put aside when it is cut so, with the rows and the report.
fn aside(options: &FormatOptions, path: &Path, target: u64) -> (Vec<String>, Vec<SetAside>, ReadReport) {
    let format = options.build(None).unwrap();
    let (mut all, mut records, mut report) = (Vec::new(), Vec::new(), ReadReport::default());
    for split in format.splits(path, std::fs::metadata(path).unwrap().len(), target).unwrap() {
        let mut reader = format.open(&split).unwrap();
        while let Some(batch) = reader.next_batch().unwrap() {
            all.extend(rows(&batch));
        }
        records.extend(reader.take_aside());
        assert!(reader.take_aside().is_empty(), "what was taken is gone");
        report.absorb(reader.report());
    }
    (all, records, report)
}

/// Byte, column and bytes of each record that a file's readers put aside. The line is known at the start of a file only.
fn put_aside(options: &FormatOptions, path: &Path, target: u64) -> Vec<(u64, Option<String>, Vec<u8>)> {
    let (_, records, report) = aside(options, path, target);
    assert_eq!(report.quarantined, records.len() as u64);
    assert_eq!((report.dropped, report.nulled), (0, 0));
    let one = |one: SetAside| {
        assert_eq!(one.record.place.file.as_deref(), Some(path));
        assert!(!one.record.reason.is_empty());
        (one.record.place.byte.unwrap(), one.record.place.column, one.bytes)
    };
    records.into_iter().map(one).collect()
}

fn numbers() -> [(&'static str, DataType); 2] {
    [("a", DataType::Int64), ("b", DataType::Utf8)]
}

#[test]
fn records_are_put_aside_as_they_came_however_the_file_is_cut() {
    let quarantine = BadRecordPolicy::Quarantine;
    let record = |byte: u64, column: Option<&str>, bytes: &[u8]| (byte, column.map(str::to_owned), bytes.to_vec());
    let lines = file(b"fine\nab\xffcd\r\n\xfe");
    let expected = [record(7, None, b"ab\xffcd"), record(12, None, b"\xfe")];
    for target in [1, 2, 5, 7, u64::MAX] {
        assert_eq!(put_aside(&text().with_policy(quarantine), lines.path(), target), expected, "{target}");
    }
    let fields = file("a,b\n1,x\nseven,\"y\nz\"\r\n2\n3,ok\n\"4\n");
    let expected = [record(8, Some("a"), b"seven,\"y\nz\""), record(21, None, b"2"), record(28, None, b"\"4")];
    for target in [1, 3, 8, 20, u64::MAX] {
        assert_eq!(put_aside(&csv(&numbers()).with_policy(quarantine), fields.path(), target), expected, "{target}");
    }
    let objects = file("{\"a\":1}\n{\"a\":\"1\",\"b\":\"x\"}\n\n{\"a\":\n{\"b\":\"y\"}\n");
    let expected = [record(13, Some("a"), b"{\"a\":\"1\",\"b\":\"x\"}"), record(33, None, b"{\"a\":")];
    for target in [1, 3, 8, 20, u64::MAX] {
        assert_eq!(
            put_aside(&ndjson(&numbers()).with_policy(quarantine), objects.path(), target),
            expected,
            "{target}"
        );
    }
}

#[test]
fn of_a_record_that_is_too_long_the_start_is_kept() {
    let mut bytes = vec![b'x'; RECORD_BYTES_MAX + 1];
    bytes.extend_from_slice(b"\n1,fine\n");
    let options = csv(&numbers()).with_policy(BadRecordPolicy::Quarantine);
    let mut options = options;
    options.header = Some(false);
    let (rows, records, report) = aside(&options, file(bytes).path(), u64::MAX);
    assert_eq!(rows, [r#"{"a":1,"b":"fine"}"#]);
    assert_eq!((report.quarantined, records.len()), (1, 1));
    assert_eq!(records[0].bytes, vec![b'x'; LONG_RECORD_KEPT_BYTES]);
    assert!(records[0].record.reason.contains("longer than"));
}

#[test]
fn more_than_memory_allows_stops_the_reader() {
    // Seventeen records of 16 MiB are more than 256 MiB.
    let mut record = vec![b'{'; RECORD_BYTES_MAX];
    record.push(b'\n');
    let bytes = record.repeat(17);
    let format = ndjson(&numbers()).with_policy(BadRecordPolicy::Quarantine).build_lines(None).unwrap();
    let mut reader = format.reader_of(Box::new(std::io::Cursor::new(bytes)), pelton::error::Place::default());
    let error = reader.next_batch().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRecord);
    assert!(error.to_string().contains("268435456 bytes"), "{error}");
}

#[test]
fn a_column_may_have_a_policy_of_its_own() {
    let columns = [("a", DataType::Int64), ("b", DataType::Int64), ("c", DataType::Int64)];
    let csv_text = "a,b,c\n1,1,1\nx,2,2\n3,x,3\n4,4,x\nx,5,x\nx,x,6\n7\n";
    let json_text = "{\"a\":1,\"b\":1,\"c\":1}\n{\"a\":\"x\",\"b\":2,\"c\":2}\n{\"a\":3,\"b\":\"x\",\"c\":3}\n\
                     {\"a\":4,\"b\":4,\"c\":\"x\"}\n{\"a\":\"x\",\"b\":5,\"c\":\"x\"}\n\
                     {\"a\":\"x\",\"b\":\"x\",\"c\":6}\n{\"a\":\n";
    for (mut options, text) in [(csv(&columns), csv_text), (ndjson(&columns), json_text)] {
        options.on_bad_record = Some(BadRecordPolicy::Drop);
        options.on_bad_value.insert("a".to_owned(), BadRecordPolicy::Null);
        options.on_bad_value.insert("b".to_owned(), BadRecordPolicy::Quarantine);
        let (rows, records, report) = aside(&options, file(text).path(), u64::MAX);
        let expected = [r#"{"a":1,"b":1,"c":1}"#, r#"{"b":2,"c":2}"#];
        assert_eq!(rows, expected, "the rest is dropped or put aside");
        let counts = (report.nulled, report.quarantined, report.dropped);
        assert_eq!(counts, (1, 2, 3), "a record counts once, by the first value that is not made null: {report:?}");
        assert_eq!(records.iter().map(|one| one.record.place.line).collect::<Vec<_>>().len(), 2);

        options.on_bad_value.insert("c".to_owned(), BadRecordPolicy::Fail);
        let error = read_bytes(&options, text).unwrap_err();
        assert_eq!((error.kind(), error.place().column.as_deref()), (ErrorKind::BadRecord, Some("c")));
    }
}

#[test]
fn a_nested_value_has_the_policy_of_its_column() {
    let inner = DataType::Struct(vec![Field::new("x", DataType::Int64, true)].into());
    let mut options = ndjson(&[("o", inner), ("p", DataType::Int64)]);
    options.on_bad_value.insert("o".to_owned(), BadRecordPolicy::Null);
    options.on_bad_value.insert("p".to_owned(), BadRecordPolicy::Drop);
    let text = "{\"o\":{\"x\":\"no\"},\"p\":1}\n{\"p\":\"no\",\"o\":{\"x\":2}}\n{\"o\":{\"x\":3},\"p\":3}\n";
    let (batch, report) = read_bytes(&options, text).unwrap();
    assert_eq!(rows(&batch), [r#"{"o":{},"p":1}"#, r#"{"o":{"x":3},"p":3}"#]);
    assert_eq!((report.nulled, report.dropped), (1, 1));
}

#[test]
fn policies_of_columns_that_cannot_be_are_refused() {
    let refused = |options: &FormatOptions, says: &str| {
        let error = options.build(None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption);
        assert!(error.to_string().contains(says), "{error}");
    };
    let mut options = csv(&numbers());
    options.on_bad_value.insert("bb".to_owned(), BadRecordPolicy::Null);
    refused(&options, "did you mean \"b\"?");
    let mut options = text();
    options.on_bad_value.insert("line".to_owned(), BadRecordPolicy::Drop);
    refused(&options, "on_bad_value is an option of csv, ndjson");
    let mut options = csv(&[]);
    options.schema = Some(Schema::new(vec![Field::new("a", DataType::Int64, false)]).into());
    options.on_bad_value.insert("a".to_owned(), BadRecordPolicy::Null);
    refused(&options, "must not be null");
}
