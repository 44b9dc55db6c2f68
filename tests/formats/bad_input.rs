//! Bad input: each case with its place and sentence, and what each policy makes of it.

use pelton::columnar::{DataType, Field, Schema, TimeUnit};
use pelton::error::{Domain, ErrorKind, Place};
use pelton::formats::{BadRecordPolicy, FormatOptions};

use crate::support::{csv, file, named_file, ndjson, read, read_bytes, rows, text};

/// Expects the read to fail at line, byte and column with a message that holds `says`.
fn fails(options: &FormatOptions, bytes: impl AsRef<[u8]>, at: (u64, u64, Option<&str>), says: &str) {
    let file = file(bytes);
    let error = read(options, file.path()).unwrap_err();
    let (line, byte, column) = at;
    let mut place = Place::file(file.path()).line(line).byte(byte);
    place.column = column.map(str::to_owned);
    assert_eq!(error.kind(), ErrorKind::BadRecord, "{error}");
    assert_eq!(error.domain(), Domain::External);
    assert_eq!(*error.place(), place, "{error}");
    assert!(error.message().contains(says), "{error}");
    assert!(error.to_string().contains("on_bad_record"), "the advice is there: {error}");
}

fn numbers() -> [(&'static str, DataType); 2] {
    [("a", DataType::Int64), ("b", DataType::Utf8)]
}

#[test]
fn bad_utf8_in_text_is_placed_to_the_byte() {
    let bytes = b"fine\nab\xffcd\nlast".to_vec();
    fails(&text(), &bytes, (2, 7, None), "byte 0xff is not UTF-8");
    let (batch, report) = read_bytes(&text().with_policy(BadRecordPolicy::Drop), &bytes).unwrap();
    assert_eq!(rows(&batch), [r#"{"line":"fine"}"#, r#"{"line":"last"}"#]);
    assert_eq!((report.dropped, report.nulled, report.examples.len()), (1, 0, 1));
    let (batch, report) = read_bytes(&text().with_policy(BadRecordPolicy::Null), &bytes).unwrap();
    assert_eq!(rows(&batch), [r#"{"line":"fine"}"#, "{}", r#"{"line":"last"}"#]);
    assert_eq!((report.dropped, report.nulled, report.examples.len()), (0, 1, 1));
}

#[test]
fn bad_csv_fields_are_placed_to_the_field() {
    let csv = csv(&numbers());
    fails(&csv, "a,b\n1,x\nseven,y\n", (3, 8, Some("a")), "\"seven\" is not an Int64");
    fails(&csv, "a,b\n1,x\n\"1 \",y\n", (3, 9, Some("a")), "\"1 \" is not an Int64");
    fails(&csv, "a,b\n1.0,y\n", (2, 4, Some("a")), "\"1.0\" is not an Int64");
    fails(&csv, "a,b\n9223372036854775808,y\n", (2, 4, Some("a")), "outside the range of Int64");
    fails(&csv, "a,b\n1,\"x\ny\"\n2,\"z\"!\n", (4, 14, Some("b")), "follows the closing quote");
    fails(&csv, b"a,b\n1,x\n2,y\xff\n", (3, 11, Some("b")), "byte 0xff is not UTF-8");
}

#[test]
fn ragged_csv_records_are_bad_records() {
    let csv = csv(&numbers());
    fails(&csv, "a,b\n1,x\n2\n3,z\n", (3, 8, None), "has 1 fields where 2 are expected");
    fails(&csv, "a,b\n1,x,y\n", (2, 4, None), "has 3 fields where 2 are expected");
    let (batch, report) = read_bytes(&csv.with_policy(BadRecordPolicy::Null), "a,b\n1,x\n2\n3,z\n").unwrap();
    assert_eq!(rows(&batch), [r#"{"a":1,"b":"x"}"#, "{}", r#"{"a":3,"b":"z"}"#]);
    assert_eq!(report.nulled, 1);
}

#[test]
fn an_unclosed_quote_is_one_bad_line() {
    let csv = csv(&numbers());
    fails(&csv, "a,b\n1,\"x\n2,y\n", (2, 4, None), "a quoted field is not closed");
    let (batch, _) = read_bytes(&csv.with_policy(BadRecordPolicy::Drop), "a,b\n1,\"x\n2,y\n").unwrap();
    assert_eq!(rows(&batch), [r#"{"a":2,"b":"y"}"#]);
}

#[test]
fn null_policy_keeps_the_good_fields_of_a_csv_record() {
    let csv = csv(&[("a", DataType::Int64), ("b", DataType::Utf8), ("c", DataType::Boolean)]);
    let (batch, report) =
        read_bytes(&csv.with_policy(BadRecordPolicy::Null), b"a,b,c\nx,\xff,maybe\n2,ok,TRUE\n,\"\",\n").unwrap();
    assert_eq!(rows(&batch), ["{}", r#"{"a":2,"b":"ok","c":true}"#, r#"{"b":""}"#]);
    assert_eq!(report.nulled, 1, "one record, however many fields");
    assert_eq!(report.examples[0].reason, "\"x\" is not an Int64");
}

#[test]
fn a_required_csv_column_may_not_be_empty() {
    let schema = Schema::new(vec![Field::new("a", DataType::Int64, false), Field::new("b", DataType::Utf8, true)]);
    let mut options = csv(&[]);
    options.schema = Some(schema.into());
    fails(&options, "a,b\n,x\n", (2, 4, Some("a")), "an Int64 is required");
    let error = options.with_policy(BadRecordPolicy::Null).build(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.message().contains("\"a\""), "{error}");
}

#[test]
fn csv_columns_are_found_by_name_and_others_passed_over() {
    let csv = csv(&numbers());
    let (batch, _) = read_bytes(&csv, "x,b,a\nno number,hello,7\n").unwrap();
    assert_eq!(rows(&batch), [r#"{"a":7,"b":"hello"}"#]);
}

#[test]
fn a_missing_csv_column_is_named_with_its_near_name() {
    let mut options = csv(&[("city", DataType::Utf8), ("age", DataType::Int64)]);
    let file = file("City ,age\nx,1\n");
    let error = read(&options, file.path()).unwrap_err();
    assert_eq!(error.place().column.as_deref(), Some("city"));
    assert!(error.to_string().contains("did you mean \"City \"?"), "{error}");
    options.allow_missing_columns = Some(true);
    assert_eq!(rows(&read(&options, file.path()).unwrap().0), [r#"{"age":1}"#]);
}

#[test]
fn a_doubled_csv_name_is_refused_only_if_it_is_wished() {
    assert!(read_bytes(&csv(&[("a", DataType::Int64)]), "a,a\n1,2\n").is_err());
    assert!(read_bytes(&csv(&[("b", DataType::Int64)]), "a,a,b\n1,2,3\n").is_ok());
}

#[test]
fn bad_json_is_placed_to_the_byte() {
    let json = ndjson(&numbers());
    fails(&json, "{\"a\":1}\n{\"a\":}\n", (2, 13, None), "a value is needed here");
    fails(&json, "{\"a\":1}\n{\"a\":1", (2, 14, None), "the JSON ends early");
    fails(&json, "[1]\n", (1, 0, None), "an object is needed here");
    fails(&json, "{} x\n", (1, 3, None), "something follows the object");
    fails(&json, "{\"b\":\"\\ud800\"}\n", (1, 12, None), "half of a surrogate pair");
    fails(&json, b"{\"b\":\"\xff\"}\n", (1, 6, None), "byte 0xff is not UTF-8");
    fails(&json, format!("{{\"z\":{}", "[".repeat(100_000)), (1, 133, None), "nested too deeply");
}

#[test]
fn json_values_of_another_type_are_bad_values() {
    let json = ndjson(&numbers());
    fails(&json, "{\"a\":\"12\"}", (1, 5, Some("a")), "is not an Int64");
    fails(&json, "{\"a\":12.0}", (1, 5, Some("a")), "\"12.0\" is not an Int64");
    fails(&json, "{\"a\":1e3}", (1, 5, Some("a")), "is not an Int64");
    fails(&json, "{\"a\":true}", (1, 5, Some("a")), "is not an Int64");
    fails(&json, "{\"a\":[1]}", (1, 5, Some("a")), "is not an Int64");
    fails(&json, "{\"b\":12}", (1, 5, Some("b")), "\"12\" is not a Utf8");
    fails(&json, "{\"a\":9223372036854775808}", (1, 5, Some("a")), "outside the range");
    let json = json.with_policy(BadRecordPolicy::Null);
    let (batch, report) = read_bytes(&json, "{\"a\":\"12\",\"b\":\"x\"}\n{\"a\":{\"q\":[1]},\"b\":3}\n{bad\n").unwrap();
    assert_eq!(rows(&batch), [r#"{"b":"x"}"#, "{}", "{}"]);
    assert_eq!(report.nulled, 3);
}

#[test]
fn nested_json_faults_name_their_path() {
    let point = DataType::Struct(vec![Field::new("x", DataType::Float64, true)].into());
    let json = ndjson(&[("p", DataType::new_list(point, true)), ("n", DataType::Int64)]);
    fails(&json, "{\"p\":[{\"x\":1},{\"x\":\"y\"}]}", (1, 19, Some("p[1].x")), "the string \"y\" is not a Float64");
    let text = "{\"p\":[{\"x\":1},{\"x\":\"y\"},{\"x\":3}],\"n\":4}";
    let (batch, report) = read_bytes(&json.with_policy(BadRecordPolicy::Null), text).unwrap();
    assert_eq!(rows(&batch), [r#"{"p":[{"x":1.0},{},{"x":3.0}],"n":4}"#]);
    assert_eq!(report.examples[0].place.column.as_deref(), Some("p[1].x"));
}

#[test]
fn json_takes_any_order_extra_missing_and_doubled_fields() {
    let list = DataType::new_list(DataType::Int64, true);
    let json = ndjson(&[("a", DataType::Int64), ("b", DataType::Utf8), ("l", list)]);
    let text = "\
        {\"b\":\"x\",\"a\":1}\n\
        { \"extra\" : {\"q\":[1,{\"r\":null}]} , \"\\u0061\" : 2 }\n\
        \n\
        {\"a\":1,\"a\":null,\"l\":[1,2],\"l\":[3],\"b\":\"p\",\"b\":\"q\\n\\u00e9\"}\n";
    let (batch, report) = read_bytes(&json, text).unwrap();
    let expected = [r#"{"a":1,"b":"x"}"#, r#"{"a":2}"#, r#"{"b":"q\né","l":[3]}"#];
    assert_eq!(rows(&batch), expected);
    assert_eq!(report.repeated, 3, "each name that came again is counted");
}

#[test]
fn a_bad_record_leaves_no_trace_in_nested_columns() {
    let fields = vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Utf8, true)];
    let json = ndjson(&[
        ("s", DataType::Struct(fields.into())),
        ("l", DataType::new_list(DataType::Utf8, true)),
        ("t", DataType::Utf8),
    ]);
    let good = r#"{"s":{"x":1,"y":"a"},"l":["p","q"],"t":"z"}"#;
    let cut: Vec<&str> = (1..good.len()).map(|end| &good[..end]).collect();
    let text = format!("{good}\n{}\n{good}\n", cut.join("\n"));
    let (batch, report) = read_bytes(&json.with_policy(BadRecordPolicy::Drop), text).unwrap();
    assert_eq!(rows(&batch), [good, good]);
    assert_eq!(report.dropped, cut.len() as u64);
    assert_eq!(report.examples.len(), pelton::limits::BAD_RECORD_EXAMPLES_MAX);
}

#[test]
fn numbers_in_json_timestamps_count_units() {
    let json = ndjson(&[("t", DataType::Timestamp(TimeUnit::Millisecond, None)), ("f", DataType::Float64)]);
    let text = "{\"t\":1000,\"f\":1}\n{\"t\":\"1970-01-01 00:00:02\",\"f\":\"Infinity\"}\n";
    let (batch, _) = read_bytes(&json, text).unwrap();
    let expected = csv(&[("t", DataType::Timestamp(TimeUnit::Millisecond, None)), ("f", DataType::Float64)]);
    assert_eq!(batch, read_bytes(&expected, "t,f\n1970-01-01T00:00:01,1\n1970-01-01T00:00:02,inf\n").unwrap().0);
}

#[test]
fn a_record_longer_than_allowed_is_one_bad_record() {
    let longest = pelton::limits::RECORD_BYTES_MAX;
    for (length, fine) in [(longest, true), (longest + 1, false), (longest + 1_000_000, false)] {
        for end in ["\n", "\r\n", ""] {
            let bytes = format!("before\n{}{end}{}", "x".repeat(length), if end.is_empty() { "" } else { "after\n" });
            let (batch, report) = read_bytes(&text().with_policy(BadRecordPolicy::Drop), &bytes).unwrap();
            let good = 1 + usize::from(fine) + usize::from(!end.is_empty());
            assert_eq!((batch.num_rows(), report.dropped), (good, u64::from(!fine)), "{length} {end:?}");
            assert_eq!(report.bytes, bytes.len() as u64);
        }
    }
    let bytes = format!("a,b\n1,\"{}\n2,y\n", "x".repeat(longest + 10));
    fails(&csv(&numbers()), &bytes, (2, 4, None), "the record is longer than");
    let (batch, _) = read_bytes(&csv(&numbers()).with_policy(BadRecordPolicy::Drop), &bytes).unwrap();
    assert_eq!(rows(&batch), [r#"{"a":2,"b":"y"}"#]);
}

#[test]
fn long_texts_are_cut_in_messages() {
    let error = read_bytes(&csv(&numbers()), format!("a,b\n{},y\n", "é".repeat(5000))).unwrap_err();
    assert!(error.message().contains("…"), "{error}");
    assert!(error.message().chars().count() < 120, "{error}");
}

#[test]
fn empty_files_have_no_rows() {
    for options in [text(), csv(&numbers()), ndjson(&numbers())] {
        for bytes in ["", "\u{feff}"] {
            assert_eq!(read_bytes(&options, bytes).unwrap().0.num_rows(), 0, "{options:?}");
        }
        for name in [".gz", ".zst"] {
            let file = named_file(name, "");
            assert_eq!(read(&options, file.path()).unwrap().0.num_rows(), 0, "{options:?} {name}");
        }
    }
    assert_eq!(read_bytes(&csv(&numbers()), "a,b").unwrap().0.num_rows(), 0);
}

#[test]
fn files_that_cannot_be_opened_are_typed_errors() {
    let directory = tempfile::tempdir().unwrap();
    for options in [text(), csv(&numbers()), ndjson(&numbers())] {
        let format = options.build(None).unwrap();
        let split = |path: &std::path::Path| pelton::formats::Split { path: path.to_owned(), range: 0..9, bytes: 9 };
        let gone = directory.path().join("gone.csv");
        let error = format.open(&split(&gone)).err().unwrap();
        assert_eq!((error.kind(), error.place().file.as_deref()), (ErrorKind::NotFound, Some(gone.as_path())));
        let error = format.open(&split(directory.path())).err().unwrap();
        assert_eq!((error.kind(), error.place().file.as_deref()), (ErrorKind::Connector, Some(directory.path())));
    }
}
