//! Sample streams give the same rows however they are asked for, today and in every later version.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_select::concat::concat_batches;
use pelton::columnar::RecordBatch;
use pelton::error::ErrorKind;
use pelton::generate::{Generator, Options, Skew, campaigns, generator, kinds, text, write_text};
use pelton::limits::{GENERATED_ROW_NUMBER_MAX, ROWS_PER_GENERATED_BATCH_MAX};

const SEED: u64 = 42;

fn plain(kind: &str) -> std::sync::Arc<dyn Generator> {
    generator(kind, SEED, &Options::default()).unwrap()
}

/// FNV-1a, 64 bits.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn as_text(generator: &dyn Generator, first_row: u64, rows: u64) -> Vec<u8> {
    let mut text = Vec::new();
    let bytes = write_text(generator, first_row, rows, &mut text).unwrap();
    assert_eq!(bytes, text.len() as u64);
    text
}

fn strings(batch: &RecordBatch, column: &str) -> Vec<String> {
    batch.column_by_name(column).unwrap().as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

#[test]
fn any_cut_gives_the_same_rows() {
    for (kind, _) in kinds() {
        for options in [
            Options::default(),
            Options { skew: Skew::Zipf, keys: Some(10), events_per_second: Some(3), late_ms: 5000 },
        ] {
            let generator = generator(kind, SEED, &options).unwrap();
            let whole = generator.rows(1000, 500).unwrap();
            for cuts in [vec![500], vec![0, 1, 499, 0], vec![63, 64, 65, 308], vec![1; 500]] {
                let mut next = 1000;
                let mut parts = Vec::new();
                for rows in cuts {
                    parts.push(generator.rows(next, rows).unwrap());
                    next += rows as u64;
                }
                assert_eq!(concat_batches(&generator.schema(), &parts).unwrap(), whole, "{kind}");
            }
        }
    }
}

#[test]
fn rows_fit_their_schema_and_hold_no_nulls() {
    for (kind, _) in kinds() {
        let generator = plain(kind);
        assert_eq!(generator.name(), kind);
        let batch = generator.rows(0, 4097).unwrap();
        assert_eq!(batch.schema(), generator.schema());
        assert_eq!(batch.num_rows(), 4097);
        assert!(batch.columns().iter().all(|column| column.null_count() == 0), "{kind}");
        assert_eq!(generator.rows(7, 0).unwrap().num_rows(), 0);
    }
}

#[test]
fn another_seed_gives_other_rows() {
    for (kind, _) in kinds() {
        let other = generator(kind, SEED + 1, &Options::default()).unwrap();
        assert_ne!(other.rows(0, 10).unwrap(), plain(kind).rows(0, 10).unwrap(), "{kind}");
    }
}

/// If this fails, every recorded measurement and every expected answer over sample data has lost its meaning. Change a
/// number here only together with all of them.
#[test]
fn rows_never_change_by_accident() {
    let expected = [
        ("ads", 0x920a_5e3a_a3c9_5339),
        ("measurements", 0x8de0_438a_3bb2_0934),
        ("groupby", 0xa890_36dd_2ba6_a1de),
        ("access_log", 0x40c1_da91_637f_2153),
        ("people", 0x8137_f95a_1c76_7fd4),
        ("numbers", 0xd459_f929_0582_760f),
    ];
    let zipf = Options { skew: Skew::Zipf, ..Options::default() };
    let found: Vec<(&str, u64)> = kinds()
        .map(|(kind, _)| {
            let mut text = as_text(&*plain(kind), 123_456, 20_000);
            text.extend(as_text(&*generator(kind, 7, &zipf).unwrap(), 1 << 40, 1000));
            (kind, checksum(&text))
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn each_ad_has_a_campaign() {
    let table = campaigns().unwrap();
    let known: std::collections::BTreeSet<String> = strings(&table, "ad_id").into_iter().collect();
    assert_eq!(known.len(), table.num_rows());
    let shown: std::collections::BTreeSet<String> =
        strings(&plain("ads").rows(0, 50_000).unwrap(), "ad_id").into_iter().collect();
    assert_eq!(shown, known);
}

#[test]
fn event_times_never_fall_unless_events_may_be_late() {
    let times = |options: &Options| -> Vec<i64> {
        let batch = generator("ads", SEED, options).unwrap().rows(0, 10_000).unwrap();
        batch.column_by_name("event_time").unwrap().as_primitive::<Int64Type>().values().to_vec()
    };
    let on_time = times(&Options { events_per_second: Some(100), ..Options::default() });
    assert!(on_time.is_sorted());
    assert_eq!(on_time[9_999] - on_time[0], 99_990);
    let late = times(&Options { events_per_second: Some(100), late_ms: 3000, ..Options::default() });
    assert!(!late.is_sorted());
    let lateness: Vec<i64> = on_time.iter().zip(&late).map(|(on_time, late)| on_time - late).collect();
    assert_eq!((lateness.iter().min(), lateness.iter().max()), (Some(&0), Some(&3000)));
}

#[test]
fn temperatures_have_one_decimal_and_some_names_several_bytes_a_letter() {
    let batch = plain("measurements").rows(0, 20_000).unwrap();
    let temperatures = batch.column_by_name("temperature").unwrap().as_primitive::<Float64Type>();
    for value in temperatures.values() {
        assert_eq!(value.to_bits(), ((value * 10.0).round() / 10.0).to_bits());
        assert!((-99.9..=99.9).contains(value));
    }
    let names: std::collections::BTreeSet<String> = strings(&batch, "station").into_iter().collect();
    assert_eq!(names.len(), 480);
    assert!(names.iter().any(|name| !name.is_ascii()));
    let text = String::from_utf8(as_text(&*plain("measurements"), 0, 1000)).unwrap();
    for line in text.lines() {
        let (_, temperature) = line.split_once(';').unwrap();
        let (_, decimals) = temperature.split_once('.').unwrap();
        assert_eq!(decimals.len(), 1, "{line}");
    }
}

#[test]
fn groupby_keys_have_their_cardinalities() {
    let batch = plain("groupby").rows(0, 50_000).unwrap();
    let distinct = |column: &str| strings(&batch, column).into_iter().collect::<std::collections::BTreeSet<_>>().len();
    assert_eq!(distinct("s_lo"), 100);
    assert!(distinct("s_mid") > 35_000);
    let high = batch.column_by_name("k_hi").unwrap().as_primitive::<Int64Type>();
    assert!(high.values().iter().all(|key| *key >= 0));
    assert!(high.values().iter().any(|key| *key > 1 << 61));
}

#[test]
fn access_log_lines_are_in_the_combined_format() {
    let form = regex::Regex::new(
        r#"^198\.1[89]\.\d+\.\d+ - \S+ \[03/Mar/2025:\d\d:\d\d:\d\d \+0000\] "[A-Z]+ /\S* HTTP/1\.1" (\d{3}) (\d+|-) "[^"]+" "[^"]+"$"#,
    )
    .unwrap();
    let mut classes = std::collections::BTreeSet::new();
    for line in strings(&plain("access_log").rows(0, 5000).unwrap(), "line") {
        let fields = form.captures(&line).unwrap_or_else(|| panic!("{line}"));
        classes.insert(fields[1].chars().next());
    }
    assert_eq!(classes.into_iter().flatten().collect::<String>(), "2345");
    let later = plain("access_log").rows(86_400 * 50, 1).unwrap();
    assert!(strings(&later, "line")[0].contains("[04/Mar/2025:09:00:00 +0000]"));
}

#[test]
fn numbers_have_empty_lines_words_and_mostly_numbers() {
    let lines = strings(&plain("numbers").rows(0, 2000).unwrap(), "line");
    let is_number = |word: &str| word.parse::<f64>().is_ok_and(f64::is_finite);
    let good = lines.iter().filter(|line| !line.is_empty() && line.split(' ').all(is_number)).count();
    let empty = lines.iter().filter(|line| line.is_empty()).count();
    assert!(good > 1700, "{good}");
    assert!((20..120).contains(&empty), "{empty}");
    assert!(good + empty < 2000);
}

#[test]
fn json_lines_are_json() {
    let text = String::from_utf8(as_text(&*plain("ads"), 0, 100)).unwrap();
    let batch = plain("ads").rows(0, 100).unwrap();
    assert_eq!(text.lines().count(), 100);
    for (line, user) in text.lines().zip(strings(&batch, "user_id")) {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["user_id"], user);
        assert!(event["event_time"].is_i64());
    }
}

#[test]
fn a_table_is_written_with_its_header() {
    let mut text = Vec::new();
    let bytes = text::write_table(&campaigns().unwrap(), &mut text).unwrap();
    assert_eq!(bytes, text.len() as u64);
    assert!(text.starts_with(b"ad_id,campaign_id\nad-0000,campaign-000\n"));
    assert!(text.ends_with(b"ad-0999,campaign-099\n"));
}

#[test]
fn a_writer_that_fails_is_an_error() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let error = write_text(&*plain("people"), 0, 1, &mut Full).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connector);
}

#[test]
fn what_cannot_be_made_is_an_error_that_says_what_can() {
    let refused = |kind: &str, options: &Options| generator(kind, SEED, options).unwrap_err();
    let error = refused("reklame", &Options::default());
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.to_string().contains("access_log"), "{error}");
    let error = refused("acces_log", &Options::default());
    assert_eq!(error.to_string(), "there is no sample stream \"acces_log\"; did you mean \"access_log\"?");
    for (kind, keys) in [
        ("ads", 0x920a_5e3a_a3c9_5339),
        ("measurements", 481),
        ("groupby", 5_000_001),
        ("access_log", 0x40c1_da91_637f_2153),
        ("people", 13),
    ] {
        let error = refused(kind, &Options { keys: Some(keys), ..Options::default() });
        assert_eq!(error.kind(), ErrorKind::InvalidOption, "{kind}");
    }
    refused("ads", &Options { events_per_second: Some(0), ..Options::default() });
    refused("access_log", &Options { late_ms: u64::MAX, ..Options::default() });
}

#[test]
fn rows_beyond_the_limits_are_an_error() {
    for (kind, _) in kinds() {
        let generator = plain(kind);
        assert_eq!(generator.rows(GENERATED_ROW_NUMBER_MAX - 1, 1).unwrap().num_rows(), 1);
        for (first, rows) in [
            (GENERATED_ROW_NUMBER_MAX, 1),
            (GENERATED_ROW_NUMBER_MAX - 1, 2),
            (u64::MAX, 1),
            (0, ROWS_PER_GENERATED_BATCH_MAX + 1),
            (0, usize::MAX),
        ] {
            assert_eq!(generator.rows(first, rows).unwrap_err().kind(), ErrorKind::InvalidOption, "{kind}");
        }
    }
}

#[test]
fn options_are_read_from_pipeline_files_and_typing_mistakes_found() {
    let options: Options = serde_json::from_str(r#"{"skew": "zipf", "late_ms": 5}"#).unwrap();
    assert_eq!(options, Options { skew: Skew::Zipf, late_ms: 5, ..Options::default() });
    assert!(serde_json::from_str::<Options>(r#"{"late": 5}"#).is_err());
}

#[cfg(feature = "cli")]
mod lineitem {
    use pelton::generate::lineitem::{lineitem, schema, write_lineitem};

    use super::*;

    fn rows(parts: u32) -> RecordBatch {
        let batches: Vec<RecordBatch> = (1..=parts)
            .flat_map(|part| lineitem(0.01, part, parts).unwrap().collect::<Vec<_>>())
            .collect::<Result<_, _>>()
            .unwrap();
        concat_batches(&schema(), &batches).unwrap()
    }

    #[test]
    fn parts_put_together_are_the_table() {
        let whole = rows(1);
        assert_eq!(whole.num_rows(), 60_175, "the number of rows that TPC-H's own program makes");
        assert_eq!(rows(3), whole);
    }

    #[test]
    fn batches_and_text_say_the_same() {
        let mut text = Vec::new();
        let bytes = write_lineitem(0.001, 1, 1, &mut text).unwrap();
        assert_eq!(bytes, text.len() as u64);
        let batch = lineitem(0.001, 1, 1).unwrap().next().unwrap().unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), batch.num_rows());
        let cell =
            |column: usize, row: usize| arrow_cast::display::array_value_to_string(batch.column(column), row).unwrap();
        for (row, line) in text.lines().enumerate() {
            let fields: Vec<&str> = line.split('|').collect();
            assert_eq!(fields.len(), 17);
            for column in (0..16).filter(|column| *column != 4) {
                assert_eq!(fields[column], cell(column, row), "row {row}, column {column}");
            }
            assert_eq!(format!("{}.00", fields[4]), cell(4, row));
        }
    }

    #[test]
    fn impossible_parts_and_scale_factors_are_errors() {
        for (scale_factor, part, parts) in
            [(0.0, 1, 1), (-1.0, 1, 1), (f64::NAN, 1, 1), (f64::INFINITY, 1, 1), (1.0, 0, 1), (1.0, 2, 1), (1.0, 1, 0)]
        {
            let error = lineitem(scale_factor, part, parts).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidOption);
        }
    }
}
