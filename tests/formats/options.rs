//! Options are checked before anything is read, and columns can be found by looking.

use pelton::columnar::{DataType, TimeUnit};
use pelton::error::ErrorKind;
use pelton::formats::{BadRecordPolicy, FormatKind, FormatOptions, infer, schema_of};

use crate::support::{csv, file, schema, text};

fn refused(options: &FormatOptions, says: &str) {
    let error = options.build(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
    assert!(error.message().contains(says), "{error}");
}

#[test]
fn options_that_cannot_be_meant_are_refused() {
    let good = csv(&[("a", DataType::Int64)]);
    assert!(good.build(None).is_ok());
    let with = |change: fn(&mut FormatOptions)| {
        let mut options = good.clone();
        change(&mut options);
        options
    };
    refused(&with(|options| options.delimiter = Some("::".into())), "delimiter is \"::\"");
    refused(&with(|options| options.delimiter = Some(String::new())), "delimiter is empty");
    refused(&with(|options| options.delimiter = Some("\"".into())), "not different");
    refused(&with(|options| options.null_values = Some(vec!["a,b".into()])), "null_values holds");
    refused(&with(|options| options.infer_records = Some(0)), "infer_records is 0");
    refused(&with(|options| options.schema = None), "nothing says which columns");
    refused(&with(|options| options.kind = FormatKind::Ndjson).clone_with_header(), "header is an option of csv");
    refused(&with(|options| options.kind = FormatKind::Text), "text has no schema");
    refused(&csv(&[("a", DataType::Int64), ("a", DataType::Utf8)]), "names the column \"a\" twice");
    refused(&csv(&[("l", DataType::new_list(DataType::Int64, true))]), "which CSV cannot hold");
    refused(&csv(&[("t", DataType::Timestamp(TimeUnit::Second, Some("Mars".into())))]), "unknown time zone \"Mars\"");
}

trait CloneWithHeader {
    fn clone_with_header(&self) -> Self;
}

impl CloneWithHeader for FormatOptions {
    fn clone_with_header(&self) -> Self {
        Self { header: Some(true), ..self.clone() }
    }
}

#[test]
fn options_come_from_pipeline_files_and_unknown_keys_are_refused() {
    let text = r#"{"kind":"csv","delimiter":";","header":false,"null_values":["","NA"],"on_bad_record":"drop"}"#;
    let options: FormatOptions = serde_json::from_str(text).unwrap();
    assert_eq!((options.kind, options.policy()), (FormatKind::Csv, BadRecordPolicy::Drop));
    assert_eq!(serde_json::to_string(&options).unwrap(), text);
    assert!(serde_json::from_str::<FormatOptions>(r#"{"kind":"csv","delimeter":";"}"#).is_err());
}

#[test]
fn kinds_are_told_by_names() {
    for (name, kind) in [
        ("a.csv", Some(FormatKind::Csv)),
        ("a.b.CSV.gz", Some(FormatKind::Csv)),
        ("x/a.ndjson.zst", Some(FormatKind::Ndjson)),
        ("a.parquet", Some(FormatKind::Parquet)),
        ("a.log", Some(FormatKind::Text)),
        ("a", None),
        ("a.gz", None),
    ] {
        assert_eq!(FormatKind::of_name(name.as_ref()), kind, "{name}");
    }
}

#[test]
fn csv_columns_are_inferred_from_their_first_records() {
    let file = file(
        "i,f,b,d,t,s,e,m\n1,1,true,2026-01-01,2026-01-01,x,,1\n-2,2.5,FALSE,2026-01-02,2026-01-01 10:00:00,5,,x\n",
    );
    let options = FormatOptions::new(FormatKind::Csv);
    let expected = schema(&[
        ("i", DataType::Int64),
        ("f", DataType::Float64),
        ("b", DataType::Boolean),
        ("d", DataType::Date32),
        ("t", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ("s", DataType::Utf8),
        ("e", DataType::Utf8),
        ("m", DataType::Utf8),
    ]);
    assert_eq!(infer(&options, file.path()).unwrap(), expected);
    assert_eq!(options.build(Some(file.path())).unwrap().schema(), expected);
    let mut one = options.clone();
    one.infer_records = Some(1);
    assert_eq!(infer(&one, file.path()).unwrap().field(7).data_type(), &DataType::Int64);
    let names = schema_of(&options, file.path()).unwrap();
    assert!(names.fields().iter().all(|field| *field.data_type() == DataType::Utf8));
    let mut headless = options;
    headless.header = Some(false);
    assert_eq!(infer(&headless, file.path()).unwrap().field(0).name(), "column_1");
}

#[test]
fn ndjson_columns_are_inferred_from_their_first_records() {
    let file = file(
        "{\"b\":1,\"a\":\"x\"}\n\nnot json\n{\"b\":2.5,\"s\":{\"x\":true},\"l\":[1,null],\"t\":\"2026-01-01T00:00:00Z\"}\n",
    );
    let inferred = infer(&FormatOptions::new(FormatKind::Ndjson), file.path()).unwrap();
    let inner = vec![pelton::columnar::Field::new("x", DataType::Boolean, true)];
    let expected = schema(&[
        ("a", DataType::Utf8),
        ("b", DataType::Float64),
        ("l", DataType::new_list(DataType::Int64, true)),
        ("s", DataType::Struct(inner.into())),
        ("t", DataType::Timestamp(TimeUnit::Microsecond, None)),
    ]);
    assert_eq!(inferred, expected);
}

#[test]
fn nothing_can_be_inferred_from_nothing() {
    for kind in [FormatKind::Csv, FormatKind::Ndjson] {
        let file = file("\n");
        let error = infer(&FormatOptions::new(kind), file.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{error}");
        assert_eq!(error.place().file.as_deref(), Some(file.path()));
    }
    assert_eq!(text().build(None).unwrap().schema().field(0).name(), pelton::formats::LINE_COLUMN);
}
