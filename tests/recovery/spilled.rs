//! State that has no room in memory: answers are the same bytes, and what goes wrong on disk is said.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pelton::checkpoint::CheckpointOptions;
use pelton::prelude::*;

use crate::common::leap_clock::LeapClock;
use crate::queries::{self, Query};
use crate::{Site, files, lay_out, undisturbed};

/// These keep nothing.
const STAY: &[&str] = &["rows", "batches"];

fn can_spill(query: &Query) -> bool {
    !STAY.contains(&query.name)
}

/// A site where state has next to no room.
fn cramped(input: &Path, folder: &Path) -> Site {
    let mut site = Site::new(input, folder);
    site.state_memory = Some(1);
    site
}

fn by_hand(site: &Site, query: &Query, partitions: usize) -> Result<RunningQuery> {
    let builder = StreamingContext::builder(query.name).trigger(Trigger::Manual).partitions(partitions);
    site.start_as(query, site.store(), CheckpointOptions { snapshot_every: 4, retain: 100 }, builder)
}

/// The files of what is put away.
fn put_away(site: &Site) -> Vec<PathBuf> {
    let files =
        fs::read_dir(site.spill.join("0")).map(|files| files.map(|file| file.unwrap().path()).collect::<Vec<_>>());
    let mut files = files.unwrap_or_default();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "spilled"));
    files.sort();
    files
}

#[test]
fn state_without_room_in_memory_gives_the_same_bytes() {
    /// One a batch. Windows over batches would go on without rows for ever.
    const FILES: usize = 9;
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), FILES);
    for query in queries::ALL {
        let expected = undisturbed(input.path(), query);
        let folder = tempfile::tempdir().unwrap();
        let site = cramped(input.path(), folder.path());
        let running = by_hand(&site, query, 2).unwrap();
        let mut most = 0;
        for _ in 0..FILES {
            let progress = running.tick().unwrap().unwrap();
            let spilled = progress.spilled.unwrap_or_default();
            assert_eq!(progress.spilled.is_some(), can_spill(query), "{}", query.name);
            assert_eq!(put_away(&site).len() as u64, spilled.key_groups, "{}", query.name);
            assert_eq!(spilled.key_groups == 0, spilled.bytes == 0);
            assert!(spilled.in_memory <= 1, "{spilled:?}");
            most = most.max(spilled.key_groups);
        }
        running.stop(StopMode::Graceful);
        running.await_termination().unwrap();
        assert_eq!(site.written(), expected, "{}", query.name);
        assert_eq!(most > 0, can_spill(query), "{}", query.name);
        assert!(query.name != "wide" || most > 100, "{most} key groups");
        assert!(!site.spill.join("0").exists(), "{}: nothing stays behind", query.name);
    }
}

#[test]
fn a_checkpoint_is_the_same_whether_there_was_room_or_not() {
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 9);
    for query in queries::ALL.iter().filter(|query| can_spill(query)) {
        let state = |memory: Option<u64>| {
            let folder = tempfile::tempdir().unwrap();
            let mut site = Site::new(input.path(), folder.path());
            site.state_memory = memory;
            // Times of batches are part of what is stored.
            let clock = LeapClock::at(Duration::from_secs(1_000_000));
            for _ in 0..3 {
                let builder = StreamingContext::builder(query.name).trigger(Trigger::Manual).clock(clock.clone());
                let options = CheckpointOptions { snapshot_every: 2, retain: 100 };
                let running = site.start_as(query, site.store(), options, builder).unwrap();
                for _ in 0..3 {
                    clock.pass(Duration::from_secs(1));
                    running.tick().unwrap().unwrap();
                }
                running.stop(StopMode::Graceful);
                running.await_termination().unwrap();
            }
            let operators = fs::read_dir(site.checkpoint.join("state")).unwrap().map(|entry| entry.unwrap().path());
            operators.map(|path| (path.file_name().unwrap().to_owned(), files(&path))).collect::<BTreeMap<_, _>>()
        };
        let expected = state(None);
        assert!(expected.values().all(|files| files.len() > 9), "{}: there is something to compare", query.name);
        assert_eq!(state(Some(1)), expected, "{}", query.name);
    }
}

#[test]
fn state_without_room_goes_on_in_another_life_with_other_threads() {
    /// One a batch, and a batch a life. Windows over batches would go on without rows for ever.
    const FILES: usize = 9;
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), FILES);
    for query in queries::ALL.iter().filter(|query| can_spill(query)) {
        let expected = undisturbed(input.path(), query);
        let folder = tempfile::tempdir().unwrap();
        let mut site = cramped(input.path(), folder.path());
        for life in 0..FILES {
            // Now and then there is room.
            site.state_memory = (life % 3 != 2).then_some(1);
            let running = by_hand(&site, query, [1, 3, 2, 7][life % 4]).unwrap();
            let progress = running.tick().unwrap().unwrap();
            assert_eq!(progress.batch_id, life as u64);
            running.stop(StopMode::Graceful);
            running.await_termination().unwrap();
        }
        assert_eq!(site.written(), expected, "{}", query.name);
    }
}

#[test]
fn what_a_dead_process_left_is_removed_and_two_queries_have_a_folder_each() {
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 3);
    let folder = tempfile::tempdir().unwrap();
    let site = cramped(input.path(), folder.path());
    fs::create_dir_all(site.spill.join("0")).unwrap();
    fs::write(site.spill.join("0/999.spilled"), "left behind").unwrap();
    let query = queries::by_name("wide");
    let first = by_hand(&site, query, 2).unwrap();
    assert!(put_away(&site).is_empty());
    let mut other = cramped(input.path(), &folder.path().join("other"));
    other.spill.clone_from(&site.spill);
    let second = by_hand(&other, query, 2).unwrap();
    first.tick().unwrap().unwrap();
    second.tick().unwrap().unwrap();
    assert!(site.spill.join("1").exists() && !put_away(&site).is_empty());
    for running in [&first, &second] {
        running.stop(StopMode::Graceful);
        running.await_termination().unwrap();
    }
    assert_eq!(fs::read_dir(&site.spill).unwrap().count(), 0);
}

#[test]
fn a_disk_that_takes_nothing_more_ends_the_query_with_advice_and_it_goes_on_later() {
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 5);
    let query = queries::by_name("wide");
    let expected = undisturbed(input.path(), query);
    let folder = tempfile::tempdir().unwrap();
    let site = cramped(input.path(), folder.path());
    let running = by_hand(&site, query, 2).unwrap();
    running.tick().unwrap().unwrap();
    // A file stands where the folder was.
    fs::remove_dir_all(site.spill.join("0")).unwrap();
    fs::write(site.spill.join("0"), "").unwrap();
    let error = running.tick().unwrap_err();
    assert!(error.to_string().contains("state that has no room in memory"), "{error}");
    assert!(error.to_string().contains("make room on the disk"), "{error}");
    drop(running);
    fs::remove_file(site.spill.join("0")).unwrap();
    site.run(query, site.store()).unwrap();
    assert_eq!(site.written(), expected);
}

#[test]
fn a_damaged_byte_of_what_was_put_away_is_found() {
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 5);
    // One group without keys: each batch reads it back; and all kinds that keep single keys, of which each batch has most.
    for name in ["total", "sessions", "joined", "as of", "counted", "forgetful", "remembered", "unique", "folded"] {
        let folder = tempfile::tempdir().unwrap();
        let site = cramped(input.path(), folder.path());
        let running = by_hand(&site, queries::by_name(name), 2).unwrap();
        running.tick().unwrap().unwrap();
        let all = put_away(&site);
        for file in &all {
            let mut bytes = fs::read(file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(file, bytes).unwrap();
        }
        let error = running.tick().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
        let file = error.place().file.clone().unwrap();
        assert!(all.contains(&file), "{name}: {error}");
        assert!(error.place().byte.is_some(), "{name}: {error}");
    }
}

#[test]
fn a_spill_folder_that_cannot_be_made_is_told_at_the_start() {
    let input = tempfile::tempdir().unwrap();
    lay_out(input.path(), 3);
    let folder = tempfile::tempdir().unwrap();
    let mut site = cramped(input.path(), folder.path());
    fs::write(folder.path().join("file"), "").unwrap();
    site.spill = folder.path().join("file/spill");
    let error = by_hand(&site, queries::by_name("wide"), 2).unwrap_err();
    assert!(error.to_string().contains("cannot take the folder"), "{error}");
}
