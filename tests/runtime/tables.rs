//! Static tables that are read again when their files change.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pelton::checkpoint::{CheckpointOptions, FolderStore};
use pelton::connectors::generator::{GeneratorSource, Pace};
use pelton::connectors::memory::MemorySink;
use pelton::formats::{Format, FormatKind, FormatOptions};
use pelton::prelude::*;
use pelton::runtime::CheckpointPlace;

fn format() -> Arc<dyn Format> {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)]);
    FormatOptions::new(FormatKind::Csv).with_schema(Arc::new(schema)).build(None).unwrap()
}

/// Writes the table beside its place and renames it there, with a time of modification of its own.
fn write(path: &Path, text: &str, seconds: u64) {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
    fs::File::options().write(true).open(&draft).unwrap().set_modified(time).unwrap();
    fs::rename(draft, path).unwrap();
}

/// Numbers from 1 on, one a batch, beside their names in a table.
fn start(table: &Path, sink: &MemorySink, checkpoint: Option<&Path>) -> RunningQuery {
    let builder = StreamingContext::builder("names").trigger(Trigger::Manual);
    let builder = match checkpoint {
        None => builder,
        Some(folder) => builder.checkpoint_at(CheckpointPlace {
            store: Arc::new(FolderStore::new(folder).sync(false)),
            options: CheckpointOptions::default(),
        }),
    };
    let context = builder.build().unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let columns = Arc::clone(&schema);
    let ids = move |first: u64, rows: usize| {
        let ids = (first..first + rows as u64).map(|id| i64::try_from(id % 2 + 1).unwrap());
        let ids: arrow_array::ArrayRef = Arc::new(ids.collect::<arrow_array::Int64Array>());
        Ok(RecordBatch::try_new(Arc::clone(&columns), vec![ids])?)
    };
    let source = GeneratorSource::from_fn(schema, Pace::PerBatch(2), ids);
    let table = StaticTable::watched(table, &format()).unwrap().named("names");
    let named = context.source("ids", source).unwrap().join_static(table, ["id"], JoinKind::Left).unwrap();
    named.write(sink.clone()).unwrap();
    context.start().unwrap()
}

/// The names that the next batch gives, and its warnings.
fn batch(query: &RunningQuery, sink: &MemorySink) -> (Vec<String>, Vec<String>) {
    let progress = query.tick().unwrap().unwrap();
    let (_, rows) = sink.batches().pop().unwrap();
    let name = |row| match Scalar::from_array(rows.column(1), row).unwrap() {
        Scalar::Utf8(name) => name,
        _ => "-".to_owned(),
    };
    ((0..rows.num_rows()).map(name).collect(), progress.warnings)
}

#[test]
fn a_change_is_noticed_between_batches_and_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("names.csv");
    write(&table, "id,name\n1,one\n", 1);
    let sink = MemorySink::new();
    let query = start(&table, &sink, None);
    assert_eq!(batch(&query, &sink), (vec!["one".into(), "-".into()], vec![]));
    write(&table, "id,name\n1,eins\n2,zwei\n", 2);
    let (names, warnings) = batch(&query, &sink);
    assert_eq!(names, ["eins", "zwei"]);
    assert_eq!(warnings, ["table \"names\" has changed and was read again: 2 rows, after 1"]);
    assert_eq!(batch(&query, &sink), (vec!["eins".into(), "zwei".into()], vec![]));
    // The same size, at another time.
    write(&table, "id,name\n1,unos\n2,duos\n", 3);
    assert_eq!(batch(&query, &sink).0, ["unos", "duos"]);
}

#[test]
fn a_table_that_is_gone_or_cannot_be_read_stays_as_it_was_and_that_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("names.csv");
    write(&table, "id,name\n1,one\n", 1);
    let sink = MemorySink::new();
    let query = start(&table, &sink, None);
    for (text, seconds) in [(Some("id,name\nx,one\n"), 2), (None, 3)] {
        match text {
            Some(text) => write(&table, text, seconds),
            None => fs::remove_file(&table).unwrap(),
        }
        let (names, warnings) = batch(&query, &sink);
        assert_eq!(names, ["one", "-"]);
        assert!(warnings.len() == 1 && warnings[0].contains("stays as it was"), "{warnings:?}");
        assert_eq!(batch(&query, &sink).1, Vec::<String>::new(), "told once");
    }
    write(&table, "id,name\n2,two\n", 4);
    assert_eq!(batch(&query, &sink).0, ["-", "two"]);
}

#[test]
fn a_batch_that_runs_again_with_another_version_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (table, checkpoint) = (folder.path().join("names.csv"), folder.path().join("checkpoint"));
    write(&table, "id,name\n1,one\n", 1);
    let sink = MemorySink::new();
    let query = start(&table, &sink, Some(&checkpoint));
    for _ in 0..3 {
        batch(&query, &sink);
    }
    query.stop(StopMode::Now);
    query.await_termination().unwrap();
    drop(query);
    // As if the process had died before the last commit.
    fs::remove_file(checkpoint.join(format!("commits/{:020}", 2))).unwrap();
    let again = start(&table, &sink, Some(&checkpoint));
    assert_eq!(batch(&again, &sink), (vec!["one".into(), "-".into()], vec![]), "the same version, nothing to tell");
    again.stop(StopMode::Now);
    again.await_termination().unwrap();
    drop(again);
    fs::remove_file(checkpoint.join(format!("commits/{:020}", 2))).unwrap();
    write(&table, "id,name\n1,eins\n", 2);
    let again = start(&table, &sink, Some(&checkpoint));
    let (names, warnings) = batch(&again, &sink);
    assert_eq!(names, ["eins", "-"]);
    let expected =
        "batch 2 runs again with another version of table \"names\": its rows may differ from those of before";
    assert_eq!(warnings, [expected]);
    assert_eq!(batch(&again, &sink).1, Vec::<String>::new(), "the next batch is cut with the new version");
}
