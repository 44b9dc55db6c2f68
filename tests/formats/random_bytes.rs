//! Bytes that nobody wrote: every decoder ends, without a panic, and says the same however the file is cut.
//!
//! Half of the inputs are valid documents with some bytes changed, taken out or doubled: these reach deeper than noise.

use std::path::Path;

use pelton::columnar::{DataType, Field, TimeUnit};
use pelton::error::Result;
use pelton::formats::{BadRecordPolicy, FormatKind, FormatOptions, ReadReport};
use proptest::prelude::*;

use crate::support::{csv, file, ndjson, rows, text};

/// `PROPTEST_CASES` takes more of them.
fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(usual))
}

fn columns() -> Vec<(&'static str, DataType)> {
    let inner = vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Utf8, true)];
    vec![
        ("i", DataType::Int32),
        ("f", DataType::Float64),
        ("t", DataType::Utf8),
        ("b", DataType::Boolean),
        ("d", DataType::Decimal128(10, 2)),
        ("at", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("day", DataType::Date32),
        ("l", DataType::new_list(DataType::Int64, true)),
        ("s", DataType::Struct(inner.into())),
    ]
}

const JSON: &str = "{\"i\":1,\"f\":-2.5e3,\"t\":\"a\\u00e9\\n\",\"b\":true,\"d\":\"1.25\",\"at\":\"2026-03-01T09:30:00.5Z\",\
                    \"day\":\"2026-03-01\",\"l\":[1,null,3],\"s\":{\"x\":4,\"y\":\"z\"},\"other\":[{}]}\n\n{\"i\":null}\r\n";
const CSV: &str = "i,f,t,b,d,at,day\n1,-2.5e3,\"a\n\"\"b\"\"\",true,1.25,2026-03-01 09:30:00.5,2026-03-01\r\n,,,,,,\n";

/// Rows, records put aside and report of a file under a cut; or the error.
fn read(options: &FormatOptions, path: &Path, target: u64) -> Result<(Vec<String>, Vec<Vec<u8>>, ReadReport)> {
    let format = options.build(None)?;
    let (mut all, mut aside, mut report) = (Vec::new(), Vec::new(), ReadReport::default());
    for split in format.splits(path, std::fs::metadata(path).unwrap().len(), target)? {
        let mut reader = format.open(&split)?;
        while let Some(batch) = reader.next_batch()? {
            all.extend(rows(&batch));
        }
        aside.extend(reader.take_aside().into_iter().map(|record| record.bytes));
        report.absorb(reader.report());
    }
    Ok((all, aside, report))
}

/// The decoders of lines, under every policy: they end, count the same under every cut, and never fail but by policy.
fn holds(options: &FormatOptions, bytes: &[u8], target: u64) {
    let file = file(bytes);
    for policy in [BadRecordPolicy::Drop, BadRecordPolicy::Null, BadRecordPolicy::Quarantine, BadRecordPolicy::Fail] {
        let options = options.clone().with_policy(policy);
        let whole = read(&options, file.path(), u64::MAX);
        if policy == BadRecordPolicy::Fail {
            assert_eq!(whole.is_ok(), read(&options, file.path(), target).is_ok());
            continue;
        }
        // A header that lacks a column ends the reading.
        let Ok((rows, aside, report)) = whole else {
            assert!(options.kind == FormatKind::Csv, "only a header can fail: {bytes:?}");
            continue;
        };
        assert_eq!(report.rows, rows.len() as u64);
        assert_eq!(report.quarantined, aside.len() as u64);
        let (cut_rows, cut_aside, cut) = read(&options, file.path(), target).unwrap();
        assert_eq!((&cut_rows, &cut_aside), (&rows, &aside), "{policy:?}, {target}: {bytes:?}");
        let counts = |report: &ReadReport| (report.rows, report.dropped, report.nulled, report.quarantined);
        assert_eq!(counts(&cut), counts(&report));
        assert_eq!(cut.checksum, report.checksum, "{policy:?}, {target}: {bytes:?}");
    }
}

/// Documents with some bytes changed, taken out or doubled.
fn worn(document: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0u8..4, any::<u8>());
    (1usize..4, prop::collection::vec(change, 0..6)).prop_map(move |(times, changes)| {
        let mut bytes = document.repeat(times).into_bytes();
        for (at, kind, byte) in changes {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, byte),
                _ => bytes.insert(at, b"\"{}[],\n\\"[usize::from(byte) % 8]),
            }
            if bytes.is_empty() {
                break;
            }
        }
        bytes
    })
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(prop::sample::select(b"{}[]\",:\\\n\r 0eE+-.tfn\xff".to_vec()), 0..200),
    ]
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn ndjson_ends_on_any_bytes(bytes in prop_oneof![worn(JSON), noise()], target in 1u64..64) {
        holds(&ndjson(&columns()), &bytes, target);
    }

    #[test]
    fn csv_ends_on_any_bytes(bytes in prop_oneof![worn(CSV), noise()], target in 1u64..64, header: bool) {
        let plain = columns().into_iter().filter(|(_, data_type)| !data_type.is_nested()).collect::<Vec<_>>();
        let mut options = csv(&plain);
        options.header = Some(header);
        options.allow_missing_columns = Some(true);
        holds(&options, &bytes, target);
    }

    #[test]
    fn text_ends_on_any_bytes(bytes in noise(), target in 1u64..64) {
        holds(&text(), &bytes, target);
    }

    #[test]
    fn inference_ends_on_any_bytes(bytes in prop_oneof![worn(JSON), worn(CSV), noise()]) {
        for kind in [FormatKind::Csv, FormatKind::Ndjson, FormatKind::Parquet, FormatKind::Arrow] {
            let file = file(&bytes);
            if let Ok(schema) = pelton::formats::infer(&FormatOptions::new(kind), file.path()) {
                // What was inferred can be read, or is refused for a reason.
                let options = FormatOptions::new(kind).with_schema(schema);
                drop(read(&options, file.path(), u64::MAX));
            }
        }
    }
}

/// A container of some rows, with some bytes changed.
fn container_ends(kind: FormatKind, changes: &[(prop::sample::Index, u8)]) {
    let options = csv(&[("i", DataType::Int64), ("t", DataType::Utf8)]);
    let lines = (0..100).map(|n| format!("{n},text {n}\n")).collect::<String>();
    let (batch, _) = crate::support::read_bytes(&options, format!("i,t\n{lines}")).unwrap();
    let path = tempfile::NamedTempFile::new().unwrap();
    let writer = Box::new(path.reopen().unwrap());
    let mut encoder = pelton::formats::encoder(&FormatOptions::new(kind), &batch.schema(), writer).unwrap();
    encoder.write(&batch).unwrap();
    drop(encoder.finish().unwrap());
    let mut bytes = std::fs::read(path.path()).unwrap();
    for (at, byte) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *byte;
    }
    let damaged = file(&bytes);
    let options = FormatOptions::new(kind).with_schema(batch.schema());
    if let Ok((rows, _, report)) = read(&options, damaged.path(), 1) {
        assert_eq!(report.rows, rows.len() as u64);
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn arrow_ends_on_damaged_files(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        container_ends(FormatKind::Arrow, &changes);
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn parquet_ends_on_damaged_files(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        container_ends(FormatKind::Parquet, &changes);
    }
}
