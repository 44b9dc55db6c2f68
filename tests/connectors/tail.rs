use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use pelton::connectors::tail::TailSource;
use pelton::connectors::{Available, OffsetRange, ReadLimits, Source};
use pelton::error::ErrorKind;
use tempfile::TempDir;

use crate::contract::check_source;
use crate::lines::SlowLines;
use crate::tables::{lines, next, rows, text};

fn follow(path: &Path) -> TailSource {
    TailSource::new(path, SlowLines::of_streams())
}

fn append(path: &Path, content: &str) {
    File::options().create(true).append(true).open(path).unwrap().write_all(content.as_bytes()).unwrap();
}

fn next_lines(source: &mut TailSource) -> Vec<String> {
    let range = next(source);
    lines(source, &range)
}

fn assert_nothing(source: &mut TailSource) {
    assert_eq!(source.next_range(&ReadLimits::default()).unwrap(), Available::Nothing);
}

#[test]
fn a_growing_file_keeps_the_contract() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    let all: Vec<String> = (0_u32..300).map(|line| "x".repeat(usize::try_from(line * 7 % 40).unwrap())).collect();
    append(&path, &(all.join("\n") + "\n"));
    for split_bytes in [1, 100, 1 << 20] {
        check_source(&mut || Box::new(follow(&path).split_bytes(split_bytes)), &text(&all));
    }
}

#[test]
fn lines_around_the_edges_of_blocks_are_found() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    let all: Vec<String> = [65_534, 65_535, 65_536, 0, 200_000, 1].map(|length| "y".repeat(length)).into();
    append(&path, &(all.join("\n") + "\n"));
    check_source(&mut || Box::new(follow(&path).split_bytes(1)), &text(&all));
}

#[test]
fn a_line_counts_once_it_is_complete() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    let mut source = follow(&path);
    assert_nothing(&mut source);
    append(&path, "on");
    assert_nothing(&mut source);
    append(&path, "e\ntwo\nthr");
    assert_eq!(next_lines(&mut source), ["one", "two"]);
    assert_nothing(&mut source);
    append(&path, "ee\n");
    assert_eq!(next_lines(&mut source), ["three"]);
}

#[test]
fn a_rotated_file_is_read_to_its_end_and_left_once_the_new_one_has_content() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    let old = folder.path().join("log.1");
    append(&path, "1\n");
    let mut source = follow(&path);
    assert_eq!(next_lines(&mut source), ["1"]);
    fs::rename(&path, &old).unwrap();
    append(&old, "2\n");
    assert_eq!(next_lines(&mut source), ["2"]);
    append(&path, "");
    assert_nothing(&mut source);
    append(&old, "3\n4 without an end");
    assert_eq!(next_lines(&mut source), ["3"]);
    assert_nothing(&mut source);
    append(&path, "5\n");
    assert_eq!(next_lines(&mut source), ["4 without an end"]);
    assert_eq!(next_lines(&mut source), ["5"]);
    assert_nothing(&mut source);
}

#[test]
fn planned_lines_can_be_read_until_committed_even_if_their_file_was_rotated_and_removed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    append(&path, "1\n");
    let mut source = follow(&path);
    let first = next(&mut source);
    fs::rename(&path, folder.path().join("log.1")).unwrap();
    append(&path, "2\n");
    let second = next(&mut source);
    fs::remove_file(folder.path().join("log.1")).unwrap();
    assert_eq!(rows(&mut source, &first, 1), text(&["1"]));
    source.commit(&first).unwrap();
    assert_eq!(rows(&mut source, &second, 1), text(&["2"]));
    assert_eq!(source.read(&first, 1).map(|_| ()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_truncated_file_is_read_anew_and_what_was_cut_away_is_an_error() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    append(&path, "a long line\n");
    let mut source = follow(&path);
    let range = next(&mut source);
    fs::write(&path, "new\n").unwrap();
    assert_eq!(source.read(&range, 1).map(|_| ()).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(next_lines(&mut source), ["new"]);
}

#[test]
fn a_second_life_goes_on_in_the_rotated_file_and_then_in_the_new_one() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    append(&path, "1\n2\n");
    let limits = ReadLimits { bytes_max: Some(2), ..ReadLimits::default() };
    let Available::Range(done) = follow(&path).next_range(&limits).unwrap() else { panic!("no range") };
    fs::rename(&path, folder.path().join("log.1")).unwrap();
    append(&path, "3\n");
    let mut source = follow(&path);
    source.resume(&[done]).unwrap();
    assert_eq!(next_lines(&mut source), ["2"]);
    assert_eq!(next_lines(&mut source), ["3"]);
}

#[test]
fn the_backlog_is_what_was_written_and_not_planned() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("log");
    append(&path, "1\n");
    let mut source = follow(&path);
    let _: OffsetRange = next(&mut source);
    append(&path, "23\n4");
    assert_eq!(source.backlog().bytes, Some(4));
}

#[test]
fn a_directory_cannot_be_followed() {
    let folder = TempDir::new().unwrap();
    let error = follow(folder.path()).next_range(&ReadLimits::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connector);
}
