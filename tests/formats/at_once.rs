//! Records that are taken many at once give what each gives by itself, and columns that nobody looks at are checked.
//!
//! By itself a record is never taken at once: its reader has seen nothing yet that it could be like.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, Scalar, StringArray,
    TimestampMillisecondArray,
};
use arrow_cast::cast;
use arrow_ord::cmp;
use arrow_select::filter::filter_record_batch;
use pelton::columnar::data_type::{coded_text, with_coded};
use pelton::columnar::{DataType, Field, Schema, TimeUnit};
use pelton::error::{ErrorKind, Place};
use pelton::formats::{BadRecordPolicy, Bound, CheckedRows, FormatOptions, Keeps, ReadReport, SetAside};
use pelton::limits::ROWS_PER_READ_MAX;
use proptest::prelude::*;

use crate::support::{csv, file, ndjson, read_cut, rows, text};

/// Rows, what was put aside, and the report.
type Read = (Vec<String>, Vec<(Vec<u8>, String, Option<String>)>, ReadReport);

fn read(options: &FormatOptions, bytes: &str) -> Read {
    let lines = options.build_lines(None).unwrap();
    let mut reader = lines.reader_of(Box::new(std::io::Cursor::new(bytes.to_owned())), Place::default());
    let (mut all, mut aside) = (Vec::new(), Vec::new());
    while let Some(batch) = reader.next_batch().unwrap() {
        all.extend(rows(&batch));
    }
    let told = |one: SetAside| (one.bytes, one.record.reason, one.record.place.column);
    aside.extend(reader.take_aside().into_iter().map(told));
    (all, aside, reader.report())
}

/// Reads records together and each by itself, behind a header if there is one.
fn holds(options: &FormatOptions, header: &str, records: &[String]) {
    for policy in [BadRecordPolicy::Drop, BadRecordPolicy::Null, BadRecordPolicy::Quarantine] {
        let options = options.clone().with_policy(policy);
        let together = read(&options, &format!("{header}{}", records.concat()));
        let (mut all, mut aside, mut report) = (Vec::new(), Vec::new(), ReadReport::default());
        for record in records {
            let (rows, set_aside, of_one) = read(&options, &format!("{header}{record}"));
            all.extend(rows);
            aside.extend(set_aside);
            report.absorb(of_one);
        }
        assert_eq!((&together.0, &together.1), (&all, &aside), "{policy:?}: {records:?}");
        let mut codes = options.clone();
        codes.schema = options.schema.as_ref().map(|schema| with_coded(schema, &BTreeSet::from([0])));
        let as_codes = read(&codes, &format!("{header}{}", records.concat()));
        assert_eq!(as_codes, together, "texts as codes, {policy:?}: {records:?}");
        let counts = |report: &ReadReport| (report.rows, report.dropped, report.nulled, report.quarantined);
        assert_eq!(counts(&together.2), counts(&report), "{policy:?}: {records:?}");
    }
}

fn columns() -> Vec<(&'static str, DataType)> {
    vec![
        ("t", DataType::Utf8),
        ("i", DataType::Int32),
        ("f", DataType::Float64),
        ("b", DataType::Boolean),
        ("d", DataType::Decimal128(15, 2)),
        ("at", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("day", DataType::Date32),
    ]
}

/// JSON values of all kinds, fitting and not.
fn json_value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "\"plain\"",
        "\"\"",
        "\"longer than sixteen bytes\"",
        "\"esc\\\\aped \\\"\\u00e9\"",
        "\"é\"",
        "\"bad \\q\"",
        "\"ctrl\u{1}\"",
        "1",
        "-7",
        "0",
        "01",
        "-",
        "1.5",
        "-0.25",
        "1e3",
        "1234567890123",
        "99999999999999999999",
        "0.1",
        "2.",
        "true",
        "false",
        "null",
        "nul",
        "\"2026-03-01\"",
        "\"2026-03-01T09:30:00.5Z\"",
        "\"12.25\"",
        "[1,2]",
        "{\"x\":[]}",
        "[1,",
        "\"open",
    ])
}

/// Objects that mostly are written alike, and differ here and there.
fn json_records() -> impl Strategy<Value = Vec<String>> {
    let usual =
        ["\"some text\"", "42", "1.5", "true", "\"12.25\"", "1700000000000", "\"2026-03-01\"", "{\"deep\":[1]}"];
    let names = ["t", "i", "f", "b", "d", "at", "day", "other"];
    let change = (0..40usize, 0..8usize, json_value(), 0..6u8);
    (0..3usize, prop::collection::vec(change, 0..8)).prop_map(move |(style, changes)| {
        let (colon, comma, end) = [(":", ",", "}\n"), (": ", ", ", "}\n"), (" :", " ,", " }\r\n")][style];
        let record = |number: usize| {
            let mut fields: Vec<(String, String)> =
                names.iter().zip(usual).map(|(name, value)| ((*name).to_owned(), value.to_owned())).collect();
            let mut tail = end.to_owned();
            for (_, place, value, kind) in changes.iter().filter(|change| change.0 == number) {
                match kind {
                    0 | 1 => fields[*place].1 = (*value).to_owned(),
                    2 => fields.swap(*place, 0),
                    3 => fields[*place].0 = names[(*place + 1) % names.len()].to_owned(),
                    4 => tail = "\n".to_owned(),
                    _ => fields[*place].0 = "unknown".to_owned(),
                }
            }
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\"{colon}{value}")).collect();
            format!("{{{}{tail}", fields.join(comma))
        };
        (0..40).map(record).collect()
    })
}

fn csv_value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "\"\"",
        "\"quoted, with comma\"",
        "\"doubled \"\" quote\"",
        "\"broken\"x",
        "5\" disk",
        "é",
        "longer than sixteen bytes",
        "1",
        "-7",
        "+3",
        "007",
        "1.5",
        "-12.25",
        ".5",
        "5.",
        "1e3",
        "1234567.25",
        "NaN",
        "inf",
        "true",
        "FALSE",
        "x",
        "2026-03-01",
        "2026-02-30",
        "2026-03-01 09:30:00.5",
        "NA",
        "1,2",
        "#",
    ])
}

fn csv_records() -> impl Strategy<Value = Vec<String>> {
    let usual = ["some text", "42", "1.5", "true", "12.25", "2026-03-01 09:30", "2026-03-01"];
    let change = (0..40usize, 0..7usize, csv_value(), 0..6u8);
    (any::<bool>(), prop::collection::vec(change, 0..8)).prop_map(move |(returns, changes)| {
        let record = |number: usize| {
            let mut fields: Vec<&str> = usual.to_vec();
            for (_, place, value, kind) in changes.iter().filter(|change| change.0 == number) {
                match kind {
                    0..=3 => {
                        let place = *place % fields.len();
                        fields[place] = value;
                    }
                    4 => fields.push(value),
                    _ => fields.truncate(1),
                }
            }
            format!("{}{}", fields.join(","), if returns { "\r\n" } else { "\n" })
        };
        (0..40).map(record).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(200)
    ))]

    #[test]
    fn objects_taken_at_once_are_those_read_alone(records in json_records()) {
        holds(&ndjson(&columns()), "", &records);
    }

    #[test]
    fn csv_records_taken_at_once_are_those_read_alone(records in csv_records(), words: bool, comments: bool) {
        let mut options = csv(&columns());
        if words {
            options.null_values = Some(vec!["NA".into(), String::new()]);
        }
        options.comment = comments.then(|| "#".into());
        holds(&options, "t,i,f,b,d,at,day\n", &records);
    }

    #[test]
    fn rows_that_a_filter_leaves_out_are_those_it_would_leave_out_later(
        records in csv_records(),
        asked in prop::collection::vec((0..6usize, 0..5usize, any::<bool>()), 1..3),
        looked_at in prop::collection::btree_set(0..7usize, 0..7),
    ) {
        leaves_out(&csv(&columns()), "t,i,f,b,d,at,day\n", &records, &asked, &looked_at);
    }

    #[test]
    fn objects_that_a_filter_leaves_out_are_those_it_would_leave_out_later(
        records in json_records(),
        asked in prop::collection::vec((0..6usize, 0..5usize, any::<bool>()), 1..3),
        looked_at in prop::collection::btree_set(0..7usize, 0..7),
    ) {
        leaves_out(&ndjson(&columns()), "", &records, &asked, &looked_at);
    }

    #[test]
    fn lines_taken_at_once_are_those_of_the_standard_library(lines in "[ab\r\n]{0,200}b") {
        // The last line ends with the text: of a return there the library thinks otherwise.
        let expected: Vec<String> =
            lines.lines().map(|line| serde_json::json!({ "line": line }).to_string()).collect();
        assert_eq!(read(&text(), &lines).0, expected, "{lines:?}");
    }
}

/// A bound of a column, and the rows of a batch that keep all of some.
fn bound(column: usize, keeps: usize, usual: bool) -> Bound {
    let value: ArrayRef = match (column, usual) {
        (0, true) => Arc::new(StringArray::from(vec!["some text"])),
        (0, false) => Arc::new(StringArray::from(vec!["longer than sixteen bytes"])),
        (1, usual) => Arc::new(Int32Array::from(vec![if usual { 42 } else { 3 }])),
        (2, usual) => Arc::new(Float64Array::from(vec![if usual { 1.5 } else { -12.25 }])),
        (3, usual) => Arc::new(Date32Array::from(vec![if usual { 20_513 } else { 0 }])),
        (4, usual) => Arc::new(
            Decimal128Array::from(vec![if usual { 1_225 } else { -1 }]).with_precision_and_scale(15, 2).unwrap(),
        ),
        (_, usual) => Arc::new(TimestampMillisecondArray::from(vec![if usual { 1_772_357_400_000 } else { 7 }])),
    };
    let keeps = [Keeps::Less, Keeps::AtMost, Keeps::Equal, Keeps::AtLeast, Keeps::Greater][keeps];
    Bound { column: if column == 3 { 6 } else { column }, keeps, value }
}

fn that_keep(batch: &RecordBatch, bounds: &[Bound]) -> RecordBatch {
    bounds.iter().fold(batch.clone(), |batch, bound| {
        let (column, value) = (batch.column(bound.column), Scalar::new(Arc::clone(&bound.value)));
        let keeps = match bound.keeps {
            Keeps::Less => cmp::lt(column, &value),
            Keeps::AtMost => cmp::lt_eq(column, &value),
            Keeps::Equal => cmp::eq(column, &value),
            Keeps::AtLeast => cmp::gt_eq(column, &value),
            Keeps::Greater => cmp::gt(column, &value),
        };
        filter_record_batch(&batch, &keeps.unwrap()).unwrap()
    })
}

/// Of bad records and rows that are left out no others come than before, whatever the cut; all records are accounted for.
fn leaves_out(
    options: &FormatOptions,
    header: &str,
    records: &[String],
    asked: &[(usize, usize, bool)],
    looked_at: &BTreeSet<usize>,
) {
    let bounds: Vec<Bound> = asked.iter().map(|(column, keeps, usual)| bound(*column, *keeps, *usual)).collect();
    let file = file(format!("{header}{}", records.concat()));
    for policy in [BadRecordPolicy::Drop, BadRecordPolicy::Null, BadRecordPolicy::Quarantine] {
        let mut options = options.clone().with_policy(policy);
        let plain = options.build(None).unwrap();
        assert!(plain.bounded(&bounds).is_none(), "all rows are checked if nothing else is asked for");
        options.checked_rows = Some(CheckedRows::Kept);
        let bounded = options.build(None).unwrap().bounded(&bounds).unwrap();
        let (all, all_report) = read_cut(&*plain, file.path(), u64::MAX).unwrap();
        let (some, report) = read_cut(&*bounded, file.path(), u64::MAX).unwrap();
        assert_eq!(
            rows(&that_keep(&some, &bounds)),
            rows(&that_keep(&all, &bounds)),
            "{policy:?} {bounds:?} {records:?}"
        );
        let not_rows = |report: &ReadReport| report.rows + report.pruned + report.dropped + report.quarantined;
        assert_eq!(not_rows(&report), not_rows(&all_report), "{policy:?} {bounds:?} {records:?}");
        assert!(report.bad_records() <= all_report.bad_records());
        let counts = |report: &ReadReport| {
            let bad = (report.dropped, report.nulled, report.quarantined);
            (report.rows, report.pruned, bad, report.repeated, report.examples.clone())
        };
        let places = |report: &ReadReport| {
            let of_byte = |bad: &pelton::formats::BadRecord| (bad.place.byte, bad.reason.clone());
            report.examples.iter().map(of_byte).collect::<Vec<_>>()
        };
        // Lines are cut at any byte, so that there would be thousands of cuts of one byte.
        let targets: &[u64] = if header.is_empty() { &[90, 700] } else { &[1, 100, 700] };
        for target in targets.iter().copied() {
            let (cut, of_cut) = read_cut(&*bounded, file.path(), target).unwrap();
            assert_eq!(rows(&cut), rows(&some), "{policy:?} {target} {bounds:?} {records:?}");
            assert_eq!(places(&of_cut), places(&report), "{policy:?} {target} {bounds:?} {records:?}");
            let (of_cut, of_all) = (counts(&of_cut), counts(&report));
            assert_eq!((of_cut.0, of_cut.1, of_cut.2, of_cut.3), (of_all.0, of_all.1, of_all.2, of_all.3));
        }
        let looked_at = looked_at.iter().copied().chain(bounds.iter().map(|bound| bound.column)).collect();
        let few = bounded.narrowed(&looked_at).unwrap_or_else(|| Arc::clone(&bounded));
        assert_eq!(counts(&read_cut(&*few, file.path(), u64::MAX).unwrap().1), counts(&report), "{looked_at:?}");
        let coded = bounded.coded(&BTreeSet::from([0])).unwrap();
        let (texts, of_coded) = read_cut(&*coded, file.path(), u64::MAX).unwrap();
        assert_eq!((rows(&texts), counts(&of_coded)), (rows(&some), counts(&report)), "as codes");
    }
}

/// What a filter leaves out is not looked at any further, if that is asked for; what it asks for is.
#[test]
fn values_of_rows_that_are_left_out_are_not_checked() {
    let good = "1,x,1.5\n".repeat(300);
    let mut options = csv(&[("n", DataType::Int64), ("t", DataType::Utf8), ("f", DataType::Float64)]);
    options.checked_rows = Some(CheckedRows::Kept);
    let bound = Bound { column: 0, keeps: Keeps::AtMost, value: Arc::new(Int64Array::from(vec![5])) };
    let format = options.build(None).unwrap().bounded(&[bound]).unwrap();
    let read = |line: &str| {
        let file = file(format!("n,t,f\n{good}{line}\n{good}"));
        let read = read_cut(&*format, file.path(), u64::MAX);
        read.map(|(batch, report)| (batch.num_rows(), report.pruned, report.bad_records()))
    };
    for left_out in ["6,x,1.5", "6,x,no number", "6,\"broken\"x,1", ",x,no number", "\"6\",\"a\nb\",y"] {
        assert_eq!(read(left_out).unwrap(), (600, 1, 0), "{left_out}");
    }
    assert_eq!(read("5,x,2").unwrap(), (601, 0, 0));
    for bad in ["5,x,no number", "no number,x,1", "6,x", "6,x,1,2", "5,\"broken\"x,1"] {
        let error = read(bad).unwrap_err();
        assert_eq!((error.kind(), error.place().line), (ErrorKind::BadRecord, Some(302)), "{bad}");
    }
}

/// The same of objects, which are read up to the first value that a filter does not keep. The last one of a repeated name
/// counts, so where it might come again nothing is left out early.
#[test]
fn objects_are_read_up_to_the_first_value_that_is_not_kept() {
    let good = "{\"x\":[1],\"n\":1,\"t\":\"x\",\"f\":1.5}\n".repeat(300);
    let mut options = ndjson(&[("n", DataType::Int64), ("t", DataType::Utf8), ("f", DataType::Float64)]);
    options.checked_rows = Some(CheckedRows::Kept);
    let of = |column, value: ArrayRef| Bound { column, keeps: Keeps::AtMost, value };
    let bounds = [of(0, Arc::new(Int64Array::from(vec![5]))), of(1, Arc::new(StringArray::from(vec!["x"])))];
    let plain = options.build(None).unwrap();
    let format = plain.bounded(&bounds).unwrap();
    let read = |line: &str| {
        let file = file(format!("{good}{line}\n{good}"));
        let [first, second] = [u64::MAX, 1000].map(|target| {
            let read = read_cut(&*format, file.path(), target);
            read.map(|(batch, report)| (batch.num_rows(), report.pruned, report.bad_records(), report.repeated))
        });
        assert_eq!(first.as_ref().ok(), second.as_ref().ok(), "{line}");
        first
    };
    for left_out in [
        "{\"x\":[1],\"n\":6,\"t\":\"x\",\"f\":1.5}",
        "{\"x\":[1],\"n\":6,\"t\":7,\"f\":\"no number\"}",
        "{\"x\":[1],\"n\":6,\"t\":and so on",
        "{\"x\":[1],\"n\":1,\"t\":\"y\",\"f\":\"no number\"}",
        "{\"x\":[1],\"n\":1,\"t\":\"\\u0079\",\"f\":0}",
        "{\"x\":[1],\"n\":null,\"t\":7}",
        "{\"f\":\"no number\",\"t\":\"x\"}",
        "{\"f\":\"no number\",\"n\":7}",
        "{}",
    ] {
        assert_eq!(read(left_out).unwrap(), (600, 1, 0, 0), "{left_out}");
    }
    for kept in
        ["{\"n\":5,\"t\":\"\",\"f\":2}", "{\"t\":\"a\\nb\",\"n\":-5}", "{\"x\":[1],\"n\":0,\"t\":\"\\u0061\",\"f\":0}"]
    {
        assert_eq!(read(kept).unwrap(), (601, 0, 0, 0), "{kept}");
    }
    for (again, expected) in [
        ("{\"x\":[1],\"n\":6,\"t\":\"x\",\"n\":5}", (601, 0, 0, 1)),
        ("{\"x\":[1],\"n\":6,\"t\":\"x\",\"\\u006e\":5}", (601, 0, 0, 1)),
        ("{\"x\":[1],\"n\":5,\"t\":\"x\",\"n\":6}", (600, 1, 0, 1)),
        ("{\"x\":[1],\"n\":6,\"t\":\"x\",\"n\":7}", (600, 1, 0, 1)),
        ("{\"n\":6,\"y\":{\"n\":5}}", (600, 1, 0, 0)),
        ("{\"x\":[1],\"n\":6,\"t\":\"n\",\"f\":1.5}", (600, 1, 0, 0)),
    ] {
        assert_eq!(read(again).unwrap(), expected, "{again}");
    }
    for bad in [
        "{\"x\":[1],\"n\":5,\"t\":\"x\",\"f\":\"no number\"}",
        "{\"x\":[1],\"n\":\"6\",\"t\":\"y\",\"f\":1.5}",
        "{\"x\":[1],\"n\":6.5,\"t\":\"y\",\"f\":1.5}",
        "{\"x\":[1],\"n\":06,\"t\":\"y\",\"f\":1.5}",
        "{\"x\":[1,\"n\":6,\"t\":\"y\",\"f\":1.5}",
        "{\"x\":[1],\"n\":6,\"t\":\"n\",\"f\":\"no number\"}",
        "{\"x\":[1]} {\"n\":6}",
    ] {
        let error = read(bad).unwrap_err();
        assert_eq!((error.kind(), error.place().line), (ErrorKind::BadRecord, Some(301)), "{bad}");
    }
    assert!(
        ndjson(&[("n", DataType::Int64)]).build(None).unwrap().bounded(&bounds[..1]).is_none(),
        "only if asked for"
    );
}

/// What an object is left out for does not hang on how the one before it was written: neither where the name of a value
/// that a bound leaves out comes again, nor where a bound asks for a value that is not there.
#[test]
fn objects_are_left_out_for_the_same_reason_however_they_are_read() {
    let mut options = ndjson(&[("n", DataType::Int64), ("t", DataType::Utf8), ("f", DataType::Float64)]);
    options = options.with_policy(BadRecordPolicy::Drop);
    options.checked_rows = Some(CheckedRows::Kept);
    let of = |column, value: ArrayRef| Bound { column, keeps: Keeps::AtMost, value };
    let bounds = [of(0, Arc::new(Int64Array::from(vec![5]))), of(1, Arc::new(StringArray::from(vec!["x"])))];
    let format = options.build(None).unwrap().bounded(&bounds).unwrap();
    let lines = [
        ("{\"n\":1,\"t\":\"x\",\"f\":1.5}", (1, 0, 0)),
        ("{\"n\":6,\"t\":\"y\",\"f\":1.5}", (0, 1, 0)),
        ("{\"n\":6,\"t\":\"y\",\"n\":true}", (0, 0, 1)),
        ("{\"n\":6,\"t\":\"y\",\"n\":7}", (0, 1, 0)),
        ("{\"n\":1,\"f\":1.5}", (0, 1, 0)),
        ("{\"n\":1,\"f\":true}", (0, 1, 0)),
        ("{\"n\":1,\"f\":tru}", (0, 0, 1)),
        ("{\"n\":true,\"f\":1.5}", (0, 0, 1)),
        ("{\"n\":6,\"f\":tru}", (0, 1, 0)),
        ("{\"f\":1.5}", (0, 1, 0)),
        ("{\"f\":1.5} x", (0, 0, 1)),
    ];
    for (before, _) in lines {
        for (line, (rows, pruned, bad)) in lines {
            let file = file(format!("{before}\n{before}\n{before}\n{line}\n{line}\n{line}\n"));
            let counts = |skip| {
                let (_, report) = read_cut(&*format, file.path(), skip).unwrap();
                (report.rows, report.pruned, report.bad_records())
            };
            let alone = lines.iter().find(|(other, _)| *other == before).unwrap().1;
            let expected = (3 * (alone.0 + rows), 3 * (alone.1 + pruned), 3 * (alone.2 + bad));
            assert_eq!((counts(u64::MAX), counts(10)), (expected, expected), "{before} {line}");
        }
    }
}

/// A new column is told by rows that are given, however they are read, and by none that are left out.
#[test]
fn new_columns_of_objects_that_are_left_out_are_not_told() {
    let sample = file("{\"n\":1}\n");
    let mut options = FormatOptions::new(pelton::formats::FormatKind::Ndjson);
    options.checked_rows = Some(CheckedRows::Kept);
    let bound = Bound { column: 0, keeps: Keeps::AtMost, value: Arc::new(Int64Array::from(vec![5])) };
    let format = options.build(Some(sample.path())).unwrap().bounded(&[bound]).unwrap();
    let lines = |values: &[i64]| values.iter().map(|n| format!("{{\"n\":{n},\"new\":1}}\n")).collect::<String>();
    for (values, notices) in [([6, 7, 8, 9], 0), ([6, 7, 8, 1], 1), ([1, 7, 8, 9], 1)] {
        let file = file(lines(&values));
        let (_, report) = read_cut(&*format, file.path(), u64::MAX).unwrap();
        assert_eq!(report.notices.len(), notices, "{values:?}");
    }
}

/// Of two columns that a filter asks for, the second may end earlier, at a value that cannot be read: rows are chosen by the
/// values that both have, and not by those of other rows.
#[test]
fn columns_that_a_filter_asks_for_may_end_at_different_rows() {
    let names = [("a", DataType::Int64), ("b", DataType::Int64), ("t", DataType::Utf8)];
    let line = |row: usize| match row {
        100 | 101 | 250 => format!("{},no number,x{row}\n", row % 7),
        170 => format!("no number,{},x{row}\n", row % 5),
        _ => format!("{},{},x{row}\n", row % 7, row % 5),
    };
    let file = file(format!("a,b,t\n{}", (0..400).map(line).collect::<String>()));
    let at_most = |column, value| {
        let value: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        Bound { column, keeps: Keeps::AtMost, value }
    };
    let bounds = [at_most(0, 3), at_most(1, 2)];
    for policy in [BadRecordPolicy::Drop, BadRecordPolicy::Null] {
        let mut options = csv(&names).with_policy(policy);
        let (all, _) = read_cut(&*options.build(None).unwrap(), file.path(), u64::MAX).unwrap();
        options.checked_rows = Some(CheckedRows::Kept);
        let bounded = options.build(None).unwrap().bounded(&bounds).unwrap();
        let (some, report) = read_cut(&*bounded, file.path(), u64::MAX).unwrap();
        assert_eq!(rows(&that_keep(&some, &bounds)), rows(&that_keep(&all, &bounds)), "{policy:?}");
        assert!(report.pruned > 200, "rows are left out while they are read: {}", report.pruned);
    }
}

/// Rows, counts and reasons do not hang on which columns somebody looks at; the others are null.
#[test]
fn columns_that_nobody_looks_at_are_checked_and_null() {
    let json = (0..100).map(|n| match n {
        40 => "{\"t\":\"x\",\"i\":\"no number\",\"f\":1}\n".to_owned(),
        50 => "{\"t\":7,\"i\":1,\"f\":1}\n".to_owned(),
        60 => "{\"t\":\"\\q\",\"i\":1,\"f\":1}\n".to_owned(),
        70 => "{\"i\":null,\"f\":2.5}\n".to_owned(),
        n => format!("{{\"t\":\"text {n}\",\"i\":{n},\"f\":{n}.5}}\n"),
    });
    let fields = (0..100).map(|n| match n {
        40 => "x,no number,1\n".to_owned(),
        50 => "\"x\"y,1,1\n".to_owned(),
        60 => "too,few\n".to_owned(),
        70 => ",,2.5\n".to_owned(),
        n => format!("text {n},{n},{n}.5\n"),
    });
    let columns = [("t", DataType::Utf8), ("i", DataType::Int64), ("f", DataType::Float64)];
    for (options, bytes) in [
        (ndjson(&columns), json.collect::<String>()),
        (csv(&columns), format!("t,i,f\n{}", fields.collect::<String>())),
    ] {
        let file = file(&bytes);
        for policy in [BadRecordPolicy::Drop, BadRecordPolicy::Null, BadRecordPolicy::Quarantine] {
            let format = options.clone().with_policy(policy).build(None).unwrap();
            let whole = format.splits(file.path(), bytes.len() as u64, u64::MAX).unwrap().remove(0);
            let read = |format: &dyn pelton::formats::Format| {
                let mut reader = format.open(&whole).unwrap();
                let mut batches = Vec::new();
                while let Some(batch) = reader.next_batch().unwrap() {
                    batches.push(batch);
                }
                let aside: Vec<Vec<u8>> = reader.take_aside().into_iter().map(|aside| aside.bytes).collect();
                (arrow_select::concat::concat_batches(&format.schema(), &batches).unwrap(), aside, reader.report())
            };
            let (all, aside, report) = read(&*format);
            assert_eq!(report.bad_records(), 3);
            for looked_at in 0u8..8 {
                let looked_at: BTreeSet<usize> = (0..3).filter(|column| looked_at >> column & 1 == 1).collect();
                let narrowed = format.narrowed(&looked_at).unwrap_or_else(|| Arc::clone(&format));
                let (some, some_aside, some_report) = read(&*narrowed);
                assert_eq!((&some_aside, &some_report), (&aside, &report), "{looked_at:?}");
                for column in 0..3 {
                    if looked_at.contains(&column) {
                        assert_eq!(some.column(column), all.column(column));
                    } else {
                        assert_eq!(some.column(column).null_count(), all.num_rows());
                    }
                }
            }
        }
    }
}

/// A format that gives texts as codes gives the same texts, places of bad records and counts; also of more texts than are
/// worth codes, and in as many batches.
#[test]
fn texts_read_as_codes_are_the_same_texts() {
    let lines = 3 * ROWS_PER_READ_MAX / 2;
    // Few texts at first, then ever new ones; some escaped, some empty, some null, some too long for a word.
    let text = |n: usize| match n % 7 {
        0 => format!("{}", n / 7 % 10),
        1 => format!("a longer text than others {}", n % 3),
        2 if n > lines / 3 => format!("new {n}"),
        3 => String::new(),
        _ => format!("é{}", n % 5),
    };
    let json = |n: usize| match n % 11 {
        0 => format!("{{\"n\":{n},\"t\":\"esc\\u0061ped\\n{}\"}}\n", text(n)),
        1 => format!("{{\"n\":{n},\"t\":null}}\n"),
        2 if n.is_multiple_of(5) => format!("{{\"n\":{n},\"t\":{n}}}\n"),
        _ => format!("{{\"n\":{n},\"t\":\"{}\"}}\n", text(n)),
    };
    let fields = |n: usize| match n % 11 {
        0 => format!("{n},\"quoted, {}\"\n", text(n)),
        1 => format!("{n},\"\"\n"),
        2 if n.is_multiple_of(5) => format!("no number,{}\n", text(n)),
        _ => format!("{n},{}\n", text(n)),
    };
    let columns = [("n", DataType::Int64), ("t", DataType::Utf8)];
    for (options, column, bytes) in [
        (ndjson(&columns), 1, (0..lines).map(json).collect::<String>()),
        (csv(&columns), 1, format!("n,t\n{}", (0..lines).map(fields).collect::<String>())),
        (crate::support::text(), 0, (0..lines).map(|n| text(n) + "\n").collect()),
    ] {
        let file = file(&bytes);
        for policy in [BadRecordPolicy::Drop, BadRecordPolicy::Null, BadRecordPolicy::Quarantine] {
            let format = options.clone().with_policy(policy).build(None).unwrap();
            let coded = format.coded(&BTreeSet::from([column])).unwrap();
            assert_eq!(*coded.schema().field(column).data_type(), coded_text());
            for target in [u64::MAX, 100_000] {
                let read = |format: &dyn pelton::formats::Format| {
                    let (mut batches, mut aside, mut report) = (Vec::new(), Vec::new(), ReadReport::default());
                    for split in format.splits(file.path(), bytes.len() as u64, target).unwrap() {
                        let mut reader = format.open(&split).unwrap();
                        while let Some(batch) = reader.next_batch().unwrap() {
                            let texts = cast(batch.column(column), &DataType::Utf8).unwrap();
                            batches.push((batch.num_rows(), texts));
                        }
                        aside.extend(reader.take_aside());
                        report.absorb(reader.report());
                    }
                    (batches, aside, report)
                };
                assert_eq!(read(&*coded), read(&*format), "{} {policy:?} {target}", format.name());
            }
        }
        assert!(options.build(None).unwrap().coded(&BTreeSet::from([7])).is_none(), "no such column");
    }
}

#[test]
fn a_required_column_is_read_even_if_nobody_looks() {
    let mut options = ndjson(&[]);
    options.schema = Some(Schema::new(vec![Field::new("a", DataType::Int64, false)]).into());
    assert!(options.build(None).unwrap().narrowed(&BTreeSet::new()).is_none());
    let many = "{\"a\":1}\n".repeat(50);
    let file = file(format!("{many}{{\"a\":null}}\n"));
    let error = crate::support::read(&options, file.path()).unwrap_err();
    assert_eq!((error.kind(), error.place().line), (ErrorKind::BadRecord, Some(51)));
}
