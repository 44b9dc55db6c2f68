//! Records that cannot be read, through whole queries: the quarantine, and too many of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pelton::checkpoint::{CheckpointOptions, FolderStore};
use pelton::runtime::CheckpointPlace;

use super::*;

/// Writes files of which each third record is bad.
fn lay_out(folder: &Path, files: usize) {
    fs::create_dir_all(folder).unwrap();
    for file in 0..files {
        let record = |row: usize| match row % 3 {
            0 => format!("Oslo,{}\n", file * 100 + row),
            1 => format!("Rome,{row}\n"),
            _ => format!("Bonn,number {file}.{row}\n"),
        };
        let text = format!("city,n\n{}", (0..30).map(record).collect::<String>());
        fs::write(folder.join(format!("{file}.csv")), text).unwrap();
    }
}

fn files_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn bad_records_go_to_the_quarantine_and_good_ones_to_the_sink() {
    let input = tempfile::tempdir().unwrap();
    let text = b"city,n\nOslo,1\nRome,two\nBonn,3\nLima\n\xff,5\n".to_vec();
    fs::write(input.path().join("a.csv"), text).unwrap();
    let context = StreamingContext::builder("visits").trigger(Trigger::AvailableNow).partitions(1).build().unwrap();
    let (good, aside) = (MemorySink::new(), MemorySink::new());
    context.quarantine(aside.clone()).unwrap();
    let format = visits().with_policy(BadRecordPolicy::Quarantine).build(None).unwrap();
    let source = pelton::connectors::directory::DirectorySource::new(input.path(), format).unwrap();
    context.source("visits", source).unwrap().write(good.clone()).unwrap();
    let query = context.start().unwrap();
    let totals = query.await_termination().unwrap();
    assert_eq!((totals.rows_in, totals.rows_out, totals.quarantined, totals.dropped), (2, 2, 3, 0));
    assert_eq!(lines(&good), [r#"{"city":"Oslo","n":1}"#, r#"{"city":"Bonn","n":3}"#]);
    let name = input.path().join("a.csv");
    let place = |byte: u64, line: u64| {
        format!(r#"{{"batch":0,"source":"visits","file":"{}","byte":{byte},"line":{line},"#, name.display())
    };
    assert_eq!(
        lines(&aside),
        [
            place(19, 3) + r#""column":"n","reason":"\"two\" is not an Int64","record":"Rome,two"}"#,
            place(30, 5) + r#""reason":"the record has 1 fields where 2 are expected: \"Lima\"","record":"Lima"}"#,
            place(35, 6) + r#""column":"city","reason":"byte 0xff is not UTF-8 in \"�\"","bytes":"ff2c35"}"#,
        ]
    );
    let progress = &query.progress()[0];
    assert_eq!((progress.quarantined, progress.bad_records.len()), (3, 3));
}

#[test]
fn a_quarantine_is_the_same_after_a_stop_at_every_batch() {
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 5);
    let run = |folder: &Path, stops: bool| {
        loop {
            let store = Arc::new(FolderStore::new(folder.join("checkpoint")).sync(false));
            let context = StreamingContext::builder("visits")
                .trigger(Trigger::Manual)
                .limits(ReadLimits { files_max: Some(1), ..ReadLimits::default() })
                .partitions(2)
                .checkpoint_at(CheckpointPlace { store, options: CheckpointOptions::default() })
                .build()
                .unwrap();
            let ndjson = FormatOptions::new(FormatKind::Ndjson);
            context.quarantine(FilesSink::of(folder.join("aside"), ndjson.clone())).unwrap();
            let format = visits().with_policy(BadRecordPolicy::Quarantine).build(None).unwrap();
            let stream = context.file_stream(input.path(), format).unwrap();
            let counts = stream.key_by([col("city")]).running([len().alias("n")]);
            counts.write(FilesSink::of(folder.join("good"), ndjson)).unwrap();
            let query = context.start().unwrap();
            let mut has_more = query.tick().unwrap().is_some();
            while has_more && !stops {
                has_more = query.tick().unwrap().is_some();
            }
            query.stop(StopMode::Graceful);
            query.await_termination().unwrap();
            if !has_more {
                return (files_of(&folder.join("good")), files_of(&folder.join("aside")));
            }
        }
    };
    let (undisturbed, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = run(undisturbed.path(), false);
    assert_eq!(expected.1.len(), 5, "a file a batch");
    assert_eq!(run(stopped.path(), true), expected);
}

#[test]
fn the_quarantine_does_not_depend_on_partitions_but_for_lines() {
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 7);
    let records = |partitions: usize, split_bytes: u64| {
        let context =
            StreamingContext::builder("visits").trigger(Trigger::Once).partitions(partitions).build().unwrap();
        let aside = MemorySink::new();
        context.quarantine(aside.clone()).unwrap();
        let format = visits().with_policy(BadRecordPolicy::Quarantine).build(None).unwrap();
        let source = pelton::connectors::directory::DirectorySource::new(input.path(), format).unwrap();
        let stream = context.source("visits", source.split_bytes(split_bytes)).unwrap();
        // Two outputs read the source once.
        stream.filter(col("n").gt(3)).print(0).unwrap();
        stream.count().print(0).unwrap();
        context.start().unwrap().await_termination().unwrap();
        let rows = aside.rows().unwrap().unwrap();
        let without_line = (0..rows.num_columns()).filter(|column| *column != 4).collect::<Vec<_>>();
        self::rows(&rows.project(&without_line).unwrap())
    };
    let expected = records(1, u64::MAX);
    assert_eq!(expected.len(), 70);
    for (partitions, split_bytes) in [(1, 10), (3, 50), (8, 7), (2, 1)] {
        assert_eq!(records(partitions, split_bytes), expected, "{partitions} partitions, {split_bytes} bytes");
    }
}

#[test]
fn a_source_that_needs_a_quarantine_does_not_start_without() {
    let input = tempfile::tempdir().unwrap();
    let format = visits().with_policy(BadRecordPolicy::Quarantine).build(None).unwrap();
    let context = StreamingContext::builder("visits").build().unwrap();
    context.file_stream(input.path(), Arc::clone(&format)).unwrap().print(0).unwrap();
    let error = context.start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidQuery);
    assert!(error.to_string().contains("puts records in quarantine, and the query has none"), "{error}");
    context.quarantine(MemorySink::new()).unwrap();
    assert!(context.quarantine(MemorySink::new()).is_err(), "one is enough");
    context.check().unwrap();
    let file = input.path().join("table.csv");
    fs::write(&file, "city,n\n").unwrap();
    assert!(StaticTable::read(&file, &format).unwrap_err().to_string().contains("a table has no quarantine"));
}

/// What a batch with one bad record of four does under a bound.
fn bounded(policy: BadRecordPolicy, most: BadRecordsMax) -> Result<u64> {
    let input = tempfile::tempdir().unwrap();
    fs::write(input.path().join("a.csv"), "city,n\nOslo,1\nRome,two\nBonn,3\nLima,4\n").unwrap();
    let context = StreamingContext::builder("visits").trigger(Trigger::AvailableNow).bad_records_max(most).build()?;
    let (good, aside) = (MemorySink::new(), MemorySink::new());
    context.quarantine(aside.clone())?;
    context.file_stream(input.path(), visits().with_policy(policy).build(None)?)?.write(good.clone())?;
    let result = context.start()?.await_termination();
    if result.is_err() {
        assert!(good.batches().is_empty() && aside.batches().is_empty(), "nothing of the batch is written");
    }
    result.map(|totals| totals.rows_out)
}

#[test]
fn too_many_bad_records_stop_the_query_with_examples() {
    let records = |records| BadRecordsMax { records: Some(records), share: None };
    let share = |share| BadRecordsMax { records: None, share: Some(share) };
    for (policy, rows) in [(BadRecordPolicy::Drop, 3), (BadRecordPolicy::Null, 4), (BadRecordPolicy::Quarantine, 3)] {
        assert_eq!(bounded(policy, records(1)).unwrap(), rows);
        assert_eq!(bounded(policy, share(0.25)).unwrap(), rows);
        for most in [records(0), share(0.24), BadRecordsMax { records: Some(9), share: Some(0.1) }] {
            let error = bounded(policy, most).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BadRecord);
            let text = error.to_string();
            assert!(text.contains("1 of 4 records of the batch are bad"), "{text}");
            assert!(text.contains("a.csv, line 3, byte 19, column \"n\": \"two\" is not an Int64"), "{text}");
        }
    }
    let error = StreamingContext::builder("visits").bad_records_max(share(1.5)).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
}

#[test]
fn a_quarantine_that_fails_is_tried_again_and_then_ends_the_query() {
    /// Fails so often.
    struct Failing(u32);
    impl pelton::connectors::Sink for Failing {
        fn open(&mut self, _: &SchemaRef) -> Result<()> {
            Ok(())
        }
        fn write(&mut self, _: &pelton::connectors::OutputBatch<'_>) -> Result<pelton::connectors::WriteReport> {
            if self.0 == 0 {
                return Ok(pelton::connectors::WriteReport::default());
            }
            self.0 -= 1;
            Err(Error::new(ErrorKind::Connector, "full").retry_later())
        }
        fn repeat(&self) -> pelton::connectors::Repeat {
            pelton::connectors::Repeat::Replaces
        }
    }
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 1);
    let run = |failures: u32| {
        let builder = StreamingContext::builder("visits").trigger(Trigger::AvailableNow);
        let context = builder.retries(2, Duration::ZERO).build()?;
        context.quarantine(Failing(failures))?;
        let format = visits().with_policy(BadRecordPolicy::Quarantine).build(None)?;
        context.file_stream(input.path(), format)?.print(0)?;
        let query = context.start()?;
        query.await_termination()?;
        Ok::<_, Error>(query.progress()[0].retries)
    };
    assert_eq!(run(2).unwrap(), 2);
    assert!(run(3).unwrap_err().to_string().contains("quarantine, batch 0: full"));
}
