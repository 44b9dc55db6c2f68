//! However a file is cut, its rows are the same.

use pelton::columnar::DataType;
use pelton::error::Place;
use pelton::formats::{BadRecordPolicy, FormatOptions};
use proptest::prelude::*;

use crate::support::{csv, drain, file, ndjson, read_cut, text};

/// Rows, counts and bytes of a file are the same in every cut.
fn check_cuts(options: &FormatOptions, bytes: &[u8], targets: impl IntoIterator<Item = u64>) {
    let file = file(bytes);
    let format = options.build(None).unwrap();
    let (whole, whole_report) = read_cut(&*format, file.path(), u64::MAX).unwrap();
    assert_eq!(whole_report.bytes, bytes.len() as u64 - u64::from(bytes.starts_with(b"\xef\xbb\xbf")) * 3);
    for target in targets {
        let (cut, report) = read_cut(&*format, file.path(), target).unwrap();
        assert_eq!(cut, whole, "splits of {target} bytes");
        assert_eq!((report.dropped, report.nulled), (whole_report.dropped, whole_report.nulled), "{target}");
        assert_eq!(report.bytes, whole_report.bytes, "{target}");
        let places = |report: &pelton::formats::ReadReport| {
            report.examples.iter().map(|bad| (bad.place.byte, bad.place.column.clone())).collect::<Vec<_>>()
        };
        assert_eq!(places(&report), places(&whole_report), "{target}");
    }
}

#[test]
fn small_text_files_read_the_same_in_every_cut() {
    for bytes in ["", "\n", "a", "a\n", "\n\n", "a\nb", "a\r\nb\r\n", "\r\n", "ä\n\nöü\nx", "\u{feff}a\nb\n"] {
        check_cuts(&text(), bytes.as_bytes(), 1..=bytes.len() as u64 + 1);
    }
}

#[test]
fn a_quoted_line_end_is_never_a_border() {
    let bytes = "a,b\n1,\"x\ny\"\n2,\"\"\"\n\"\"\n\"\r\n3,5\" disk\n4,\"\n\n\n\n\"\n\n5,z";
    check_cuts(&csv(&[("a", DataType::Int64), ("b", DataType::Utf8)]), bytes.as_bytes(), 1..=bytes.len() as u64);
}

#[test]
fn a_header_behind_long_comments_is_found_by_every_split() {
    let mut options = csv(&[("b", DataType::Utf8), ("a", DataType::Int64)]);
    options.comment = Some("#".into());
    let bytes = "\u{feff}# \"one\n# two\n\n# three, a long one\na,b\n1,x\n# \" four\n2,y\n";
    check_cuts(&options, bytes.as_bytes(), 1..=bytes.len() as u64);
}

#[test]
fn an_unclosed_quote_costs_one_line_in_every_cut() {
    let options = csv(&[("a", DataType::Int64), ("b", DataType::Utf8)]).with_policy(BadRecordPolicy::Drop);
    let bytes = "a,b\n1,x\n2,\"open\n3,y\n4,z\n";
    let (batch, report) = crate::support::read_bytes(&options, bytes).unwrap();
    assert_eq!((batch.num_rows(), report.dropped), (3, 1));
    check_cuts(&options, bytes.as_bytes(), 1..=bytes.len() as u64);
}

#[test]
fn a_record_behind_a_byte_order_mark_is_read_once_in_every_cut() {
    let mut options = csv(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
    options.header = Some(false);
    for first in ["1,x", "1,\"x\ny\"", "", "\r"] {
        let bytes = format!("\u{feff}{first}\n2,5\" disk\n3,z\n");
        check_cuts(&options, bytes.as_bytes(), 1..=bytes.len() as u64);
    }
}

fn records(record: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (prop::collection::vec((record, prop::sample::select(vec!["\n", "\r\n"])), 0..30), any::<bool>()).prop_map(
        |(records, ended)| {
            let mut text: String = records.into_iter().flat_map(|(record, end)| [record, end.to_owned()]).collect();
            if !ended {
                text.truncate(text.trim_end_matches(['\n', '\r']).len());
            }
            text
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn text_reads_the_same_in_every_cut(bytes in prop::collection::vec(prop::sample::select(b"ab\n\r\xc3\xa4\xff".to_vec()), 0..120)) {
        for policy in [BadRecordPolicy::Drop, BadRecordPolicy::Null] {
            check_cuts(&text().with_policy(policy), &bytes, [1, 2, 3, 7, 20, 50]);
        }
    }

    #[test]
    fn any_bytes_read_as_csv_the_same_in_every_cut(bytes in prop::collection::vec(prop::sample::select(b"a1,,\"\"\n\n\r\xff#".to_vec()), 0..120)) {
        for policy in [BadRecordPolicy::Drop, BadRecordPolicy::Null] {
            let mut options = csv(&[("a", DataType::Int64), ("b", DataType::Utf8)]).with_policy(policy);
            options.header = Some(false);
            options.comment = Some("#".into());
            check_cuts(&options, &bytes, [1, 2, 3, 7, 20, 50]);
        }
    }

    #[test]
    fn json_reads_the_same_in_every_cut(bytes in records(prop::sample::select(vec![
        String::new(), r#"{"a":1,"b":"x"}"#.into(), r#"{"b":"é\n"}"#.into(), r#"{"a":"x"}"#.into(), "{".into(), "[]".into(),
    ]))) {
        for policy in [BadRecordPolicy::Drop, BadRecordPolicy::Null] {
            let options = ndjson(&[("a", DataType::Int64), ("b", DataType::Utf8)]).with_policy(policy);
            check_cuts(&options, bytes.as_bytes(), [1, 2, 3, 7, 20, 50]);
        }
    }
}

#[test]
fn files_larger_than_a_block_read_the_same_in_every_cut() {
    // Records of every length up to some thousands, over two megabytes, so that blocks end everywhere in a record.
    let mut lines = String::from("n,text\n");
    for n in 0..1500usize {
        let filler = "é\"\"\n".repeat(n % 700);
        lines.push_str(&format!("{n},\"{filler}\"\n"));
    }
    assert!(lines.len() > 2_000_000);
    let options = csv(&[("n", DataType::Int64), ("text", DataType::Utf8)]);
    check_cuts(&options, lines.as_bytes(), [100_000, 524_288, 524_289, 1 << 20]);
    let text_options = text();
    check_cuts(&text_options, lines.as_bytes(), [100_000, 524_288, 524_289, 1 << 20]);
}

/// What the reader of the first split takes for the header, the readers of the others must.
#[test]
fn a_header_of_spaces_or_delimiters_alone_is_a_header_in_every_split() {
    let columns = [("a", DataType::Int64), ("b", DataType::Utf8)];
    for header in [" ", "\t", " \t ", "\r", "\n\r\n \n", "\"\""] {
        let bytes = format!("{header}\n1\t2\n3\n \n\"4\"\n5\t6\n ");
        for delimiter in ['\t', ','] {
            let mut options = csv(&columns).with_policy(BadRecordPolicy::Drop);
            options.header = Some(true);
            options.delimiter = Some(delimiter.to_string());
            options.allow_missing_columns = Some(true);
            check_cuts(&options, bytes.as_bytes(), 1..bytes.len() as u64);
        }
    }
}

#[test]
fn batches_end_at_the_largest_read() {
    for rows in [16_383, 16_384, 16_385, 65_537] {
        let bytes = "x\n".repeat(rows);
        let file = file(&bytes);
        let (batch, _) = read_cut(&*text().build(None).unwrap(), file.path(), u64::MAX).unwrap();
        assert_eq!(batch.num_rows(), rows);
    }
}

#[test]
fn a_stream_that_gives_single_bytes_reads_the_same() {
    struct Dribble(std::io::Cursor<Vec<u8>>);
    impl std::io::Read for Dribble {
        fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
            let most = to.len().min(1);
            self.0.read(&mut to[..most])
        }
    }
    let bytes = b"\xef\xbb\xbfa,b\n1,\"x\r\ny\"\r\n2,\"\"\r\n".to_vec();
    let options = csv(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
    let lines = options.build_lines(None).unwrap();
    let all = lines.reader_of(Box::new(std::io::Cursor::new(bytes.clone())), Place::default());
    let dribbled = lines.reader_of(Box::new(Dribble(std::io::Cursor::new(bytes))), Place::default());
    let (all, report) = drain(&lines.schema(), all).unwrap();
    assert_eq!((all.clone(), report), drain(&lines.schema(), dribbled).unwrap());
    assert_eq!(all.num_rows(), 2);
}
