//! Whole queries: an answer does not depend on the road taken to it.
//!
//! `cases/` holds queries as pipeline files with the answers expected of them; `PELTON_BLESS=1` writes those anew. Each
//! is run in many ways (see [`roads`]) that must give the same text, bit for bit. `chains` does the same with random
//! operations on random rows, and shows that the stages they become are plain data.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod chains;
mod inputs;
mod plain_data;
mod random;
mod roads;
mod sharing;

#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};

use roads::{BATCH_ROADS, Case, ROW_ROADS, Road};

/// The cases of a folder, by name.
fn cases(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/queries/cases").join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "toml")).collect();
    cases.sort();
    cases
}

/// Compares the answer of the plainest road with the one expected, or writes that anew.
fn check_expected(file: &Path, answer: &str) -> Result<(), String> {
    let expected = file.with_extension("expected.csv");
    if std::env::var_os("PELTON_BLESS").is_some() {
        fs::write(&expected, answer).unwrap();
        return Ok(());
    }
    let expected = fs::read_to_string(&expected).unwrap_or_default();
    same(answer, &expected).map_err(|difference| format!("{}: not as expected: {difference}", file.display()))
}

/// The first line in which two texts differ.
fn same(left: &str, right: &str) -> Result<(), String> {
    if left == right {
        return Ok(());
    }
    let (mut lefts, mut rights) = (left.split('\n'), right.split('\n'));
    for line in 1.. {
        let (left, right) = (lefts.next(), rights.next());
        if left != right {
            return Err(format!("line {line} is {left:?}, and not {right:?}"));
        }
    }
    unreachable!("texts that differ differ in a line")
}

/// Runs each case of a folder along each of the roads; all disagreements are told at once.
fn travel(folder: &str, roads: &[Road]) {
    let mut failures = Vec::new();
    let cases = cases(folder);
    assert!(!cases.is_empty());
    for file in cases {
        let case = Case::read(&file);
        let plain = match case.answer(&roads[0]) {
            Ok(plain) => plain,
            Err(error) => {
                failures.push(format!("{}: {error}", file.display()));
                continue;
            }
        };
        failures.extend(check_expected(&file, &plain).err());
        for road in &roads[1..] {
            let outcome = case.answer(road).and_then(|answer| same(&answer, &plain));
            failures.extend(outcome.err().map(|what| format!("{}: {}: {what}", file.display(), road.name)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn row_by_row_answers_do_not_depend_on_the_road() {
    travel("rows", ROW_ROADS);
}

#[test]
fn answers_of_whole_batches_do_not_depend_on_the_road() {
    travel("batches", BATCH_ROADS);
}
