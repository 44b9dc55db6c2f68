//! A checkpoint that was written once and lies beside this file: later releases open it and go on, or refuse it in so many
//! words.
//!
//! `form_1/checkpoint` is what five batches left, and `form_1/expected.txt` what three more gave. Both are written anew by
//! `PELTON_WRITE_FORM=1 cargo test --test recovery older::a_checkpoint_is_written`, which is right only where the form of
//! checkpoints changes: then into a folder of its own, beside this one, whose checkpoint from then on is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, StringArray, TimestampSecondArray};
use pelton::checkpoint::{CheckpointOptions, FolderStore, verify};
use pelton::columnar::pretty;
use pelton::connectors::generator::{GeneratorSource, Pace};
use pelton::connectors::memory::MemorySink;
use pelton::prelude::*;
use pelton::runtime::CheckpointPlace;

use crate::common::leap_clock::LeapClock;
use crate::copy_folder;

/// Batches behind which the checkpoint was written.
const BATCHES: usize = 5;
const BATCHES_MORE: usize = 3;

fn folder() -> PathBuf {
    crate::tree::root().join("tests/recovery/form_1")
}

/// Rows that follow from their numbers alone, and always will.
fn visits() -> GeneratorSource {
    let schema = Arc::new(Schema::new(vec![
        Field::new("time", DataType::Timestamp(TimeUnit::Second, None), true),
        Field::new("city", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
    ]));
    let made = Arc::clone(&schema);
    let make = move |first: u64, rows: usize| {
        let numbers = || (i64::try_from(first).unwrap()..).take(rows);
        let cities = ["Oslo", "Rome", "Lima", "Bonn"];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(numbers().map(|n| Some(n / 4 - n * 7 % 5)).collect::<TimestampSecondArray>()),
            Arc::new(
                numbers().map(|n| cities.get(usize::try_from(n * 3 % 5).unwrap()).copied()).collect::<StringArray>(),
            ),
            Arc::new(numbers().map(|n| (n % 11 != 5).then_some(n * 17 % 29)).collect::<Int64Array>()),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&made), columns).unwrap())
    };
    GeneratorSource::from_fn(schema, Pace::PerBatch(16), make)
}

/// Runs so many batches of a query with operators of the kinds that keep something; what each batch gave, as tables.
fn run(checkpoint: &Path, batches: usize, done: usize) -> Result<String> {
    let seconds = Duration::from_secs;
    let clock = LeapClock::at(seconds(1_000 + done as u64));
    let store = Arc::new(FolderStore::new(checkpoint).sync(false));
    let options = CheckpointOptions { snapshot_every: 3, retain: 1 };
    let context = StreamingContext::builder("older")
        .trigger(Trigger::Manual)
        .clock(clock.clone())
        .partitions(1)
        .checkpoint_at(CheckpointPlace { store, options })
        .build()?;
    let visits = context.source("visits", visits())?;
    let timed = visits.with_watermark("time", seconds(3));
    let aggregates = [len().alias("visits"), col("n").sum().alias("sum"), col("n").std(1).alias("std")];
    let remembered = visits.key_by([col("city")]).named("sums").ttl(seconds(60));
    let remembered =
        remembered.map_with_state([col("n")], |city: &Option<String>, n: Option<i64>, sum: &mut State<(u64, i64)>| {
            let (count, before) = sum.get().copied().unwrap_or_default();
            sum.set((count + 1, before + n.unwrap_or(0)));
            (city.clone(), count, before)
        });
    let outputs = [
        visits.key_by([col("city")]).named("running").running(aggregates),
        timed
            .key_by([col("city"), window(col("time"), seconds(6))])
            .named("windows")
            .aggregate([col("n").max().alias("most")]),
        timed.key_by([session_window(col("time"), seconds(2))]).named("sessions").aggregate([len().alias("visits")]),
        remembered,
        visits.drop_duplicates_by(["n"], Remember::Always, Some("unique")),
    ];
    let mut sinks = Vec::new();
    for output in outputs {
        let sink = MemorySink::new();
        output.write(sink.clone())?;
        sinks.push(sink);
    }
    let query = context.start()?;
    let mut text = String::new();
    for _ in 0..batches {
        clock.pass(seconds(1));
        let batch = query.tick()?.unwrap().batch_id;
        for (number, sink) in sinks.iter().enumerate() {
            let (_, rows) = sink.batches().pop().unwrap();
            text.push_str(&format!("batch {batch}, output {number}\n{}\n", pretty::table(&[rows], 1_000)));
        }
    }
    query.stop(StopMode::Graceful);
    query.await_termination()?;
    Ok(text)
}

/// A copy of the checkpoint that may be changed.
fn copied() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&folder().join("checkpoint"), copy.path());
    copy
}

/// Writes the checkpoint that the other tests open, if it is asked to.
#[test]
fn a_checkpoint_is_written() {
    if std::env::var("PELTON_WRITE_FORM").is_err() {
        return;
    }
    let checkpoint = folder().join("checkpoint");
    fs::remove_dir_all(folder()).unwrap_or_default();
    run(&checkpoint, BATCHES, 0).unwrap();
    fs::remove_file(checkpoint.join("lock")).unwrap_or_default();
    fs::write(folder().join("expected.txt"), run(copied().path(), BATCHES_MORE, BATCHES).unwrap()).unwrap();
}

#[test]
fn a_checkpoint_of_an_older_release_opens_and_the_query_goes_on() {
    let expected = fs::read_to_string(folder().join("expected.txt")).unwrap().replace("\r\n", "\n");
    let copy = copied();
    let report = verify(&FolderStore::new(copy.path())).unwrap();
    assert!(report.damages.is_empty() && report.committed == Some(BATCHES as u64 - 1), "{:?}", report.damages);
    assert_eq!(run(copy.path(), BATCHES_MORE, BATCHES).unwrap(), expected);
    // And that is what a query gives that was never stopped.
    let whole = tempfile::tempdir().unwrap();
    let unbroken = run(whole.path(), BATCHES + BATCHES_MORE, 0).unwrap();
    assert!(unbroken.ends_with(&expected), "{unbroken}");
}

#[test]
fn a_checkpoint_of_another_form_is_refused_with_both_forms_named() {
    let newest = format!("{:020}", BATCHES - 1);
    for file in ["query".to_owned(), format!("offsets/{newest}"), format!("commits/{newest}")] {
        let copy = copied();
        let place = copy.path().join(&file);
        let sound = fs::read(&place).unwrap();
        let opening = b"pelton checkpoint 1 ";
        assert!(sound.starts_with(opening), "{file}");
        let mut other = b"pelton checkpoint 27 ".to_vec();
        other.extend(&sound[opening.len()..]);
        fs::write(&place, other).unwrap();
        let forms = "has form 27; this release reads form 1";
        let damages = verify(&FolderStore::new(copy.path())).unwrap().damages;
        assert!(damages.len() == 1 && damages[0].what.contains(forms), "{file}: {damages:?}");
        let error = run(copy.path(), 1, BATCHES).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{file}: {error}");
        assert!(error.to_string().contains(forms), "{file}: {error}");
    }
}
