//! Parts of a source whose event times are told apart: each has a watermark, and windows wait for the slowest.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use pelton::checkpoint::{CheckpointOptions, FolderStore};
use pelton::clock::VirtualClock;
use pelton::connectors::directory::DirectorySource;
use pelton::connectors::memory::MemorySink;
use pelton::formats::{FormatKind, FormatOptions};
use pelton::prelude::*;
use pelton::runtime::CheckpointPlace;

use crate::{lines, seconds, visits};

/// What a server wrote: the file, and the seconds of its visits.
type Written<'a> = (&'a str, &'a [i64]);

/// The sums by window and city, batch by batch. Each batch reads what was written before it, a second after the last one.
fn sums(by_folder: bool, idle: bool, batches: &[&[Written<'_>]], batches_a_life: usize) -> Vec<String> {
    let (logs, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (sink, clock) = (MemorySink::new(), VirtualClock::at(seconds(0)));
    for life in batches.chunks(batches_a_life) {
        let store = Arc::new(FolderStore::new(state.path()).sync(false));
        let options = CheckpointOptions { snapshot_every: 3, retain: 100 };
        let builder = StreamingContext::builder("folders").trigger(Trigger::Manual).clock(clock.clone());
        let context = builder.checkpoint_at(CheckpointPlace { store, options }).build().unwrap();
        let format = FormatOptions::new(FormatKind::Csv).with_schema(visits(&[]).schema()).build(None).unwrap();
        let source = DirectorySource::new(logs.path(), format).unwrap().recursive(true);
        let visits = context.source("visits", source.event_time_by_folder(by_folder)).unwrap();
        let visits = match idle {
            true => visits.with_watermark_or_idle("time", seconds(2), seconds(3)),
            false => visits.with_watermark("time", seconds(2)),
        };
        let sums = visits.key_by([window(col("time"), seconds(10)), col("city")]).aggregate([col("n").sum()]);
        sums.write(sink.clone()).unwrap();
        let query = context.start().unwrap();
        for written in life {
            written.iter().for_each(|(name, times)| write(&logs.path().join(name), times));
            clock.advance(seconds(1));
            query.tick().unwrap().unwrap();
        }
        query.stop(StopMode::Now);
        query.await_termination().unwrap();
    }
    sink.batches().into_iter().map(|(_, rows)| lines(&rows)).collect()
}

fn write(path: &Path, times: &[i64]) {
    let row = |second: &i64| format!("1970-01-01T00:{:02}:{:02},Oslo,1\n", second / 60, second % 60);
    let rows = times.iter().map(row).collect::<String>();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("time,city,n\n{rows}")).unwrap();
}

/// One server is ahead, the other behind; then the second falls silent, and comes again.
const BATCHES: &[&[Written<'_>]] = &[
    &[("ahead/0.csv", &[1, 30]), ("behind/0.csv", &[2, 3])],
    &[("ahead/1.csv", &[45]), ("behind/1.csv", &[9, 14])],
    &[("ahead/2.csv", &[50])],
    &[("ahead/3.csv", &[61])],
    &[("ahead/4.csv", &[65])],
    &[("ahead/5.csv", &[70]), ("behind/2.csv", &[59, 62])],
    &[("ahead/6.csv", &[90])],
];

#[test]
fn windows_wait_for_the_slowest_folder() {
    let told_apart = sums(true, false, BATCHES, 100);
    // The one behind comes to 14, less the delay: the first window is closed. Then it holds all up until it comes again.
    assert_eq!(
        told_apart,
        ["", "Oslo 0 10 4", "", "", "", "Oslo 10 20 1\nOslo 30 40 1\nOslo 40 50 1\nOslo 50 60 2", ""]
    );
    // As one stream, what the one behind brings is late.
    let as_one = sums(false, false, BATCHES, 100);
    assert_eq!(as_one[..2], ["Oslo 0 10 3\n", "Oslo 30 40 1"].map(str::trim_end));
}

#[test]
fn a_folder_that_has_been_idle_is_not_waited_for() {
    let sums = sums(true, true, BATCHES, 100);
    // After three seconds without rows, the time is that of the one ahead: 65 less 2 closes all before 60. The first rows of
    // the other are late then; those of open windows count.
    assert_eq!(sums[..4], ["", "Oslo 0 10 4", "", ""]);
    assert_eq!(sums[4], "Oslo 10 20 1\nOslo 30 40 1\nOslo 40 50 1\nOslo 50 60 1");
    assert_eq!(sums[5..], ["", ""]);
}

#[test]
fn lives_change_nothing() {
    for idle in [false, true] {
        let whole = sums(true, idle, BATCHES, 100);
        for batches_a_life in 1..4 {
            assert_eq!(sums(true, idle, BATCHES, batches_a_life), whole, "idle {idle}, {batches_a_life} a life");
        }
    }
}
