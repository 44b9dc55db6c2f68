//! The files in `datasets/samples` are what the generators make, byte for byte.
//!
//! `PELTON_BLESS=1 cargo test --test samples` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[path = "../common/tree.rs"]
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pelton::generate::{Options, campaigns, generator, text, write_text};

const SEED: u64 = 5;
const BYTES_MAX: u64 = 100_000;

/// Folder, ending, kind, files, rows in each, events in a second, lateness in milliseconds. The files of a folder
/// follow each other: together they are one stream.
type Sample = (&'static str, &'static str, &'static str, u64, u64, Option<u64>, u64);

const SAMPLES: [Sample; 5] = [
    ("access_log", "log", "access_log", 1, 400, Some(1), 0),
    ("ads", "ndjson", "ads", 3, 500, Some(50), 2_000),
    ("measurements", "txt", "measurements", 1, 5_000, None, 0),
    ("numbers", "txt", "numbers", 3, 200, None, 0),
    ("people", "csv", "people", 3, 300, None, 0),
];

/// Each sample's path in `datasets/samples` and bytes.
fn samples() -> Vec<(String, Vec<u8>)> {
    let mut table = Vec::new();
    text::write_table(&campaigns().unwrap(), &mut table).unwrap();
    let mut samples = vec![("campaigns.csv".to_owned(), table)];
    for (folder, ending, kind, files, rows, events_per_second, late_ms) in SAMPLES {
        let options = Options { events_per_second, late_ms, ..Options::default() };
        let generator = generator(kind, SEED, &options).unwrap();
        for file in 0..files {
            let mut bytes = Vec::new();
            write_text(&*generator, file * rows, rows, &mut bytes).unwrap();
            samples.push((format!("{folder}/part-{file}.{ending}"), bytes));
        }
    }
    samples
}

fn folder() -> PathBuf {
    tree::root().join("datasets/samples")
}

#[test]
fn bundled_samples_are_what_the_generators_make() {
    let bless = std::env::var_os("PELTON_BLESS").is_some();
    for (path, bytes) in samples() {
        let full = folder().join(&path);
        if bless {
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            fs::write(&full, &bytes).unwrap();
        }
        let found = fs::read(&full).unwrap_or_else(|error| panic!("datasets/samples/{path}: {error}"));
        assert!(found == bytes, "datasets/samples/{path} is not what the generators make");
        assert!(bytes.len() as u64 <= BYTES_MAX, "datasets/samples/{path} has {} bytes", bytes.len());
    }
}

#[test]
fn every_bundled_file_is_a_sample_and_described() {
    let readme = fs::read_to_string(folder().parent().unwrap().join("README.md")).unwrap();
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for (path, bytes) in samples() {
        *made.entry(path.split('/').next().unwrap().to_owned()).or_default() += bytes.len();
    }
    for (name, bytes) in &made {
        let row = readme.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("datasets/README.md does not describe {name}"));
        let bytes = format!("| {},{:03} |", bytes / 1000, bytes % 1000);
        assert!(row.contains(&bytes), "datasets/README.md: {name} has {bytes} bytes");
    }
    assert_eq!(files_below(&folder(), ""), samples().into_iter().map(|(path, _)| path).collect());
}

fn files_below(folder: &Path, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
        if entry.path().is_dir() {
            found.extend(files_below(&entry.path(), &format!("{name}/")));
        } else {
            found.insert(name);
        }
    }
    found
}

#[test]
fn the_sample_log_has_every_class_of_status_in_several_minutes() {
    let (_, log) = samples().into_iter().find(|(path, _)| path.starts_with("access_log/")).unwrap();
    let log = String::from_utf8(log).unwrap();
    let minutes: BTreeSet<&str> = log.lines().map(|line| &line[line.find('[').unwrap()..][..18]).collect();
    let classes: BTreeSet<char> =
        log.lines().map(|line| line.split("\" ").nth(1).unwrap().chars().next().unwrap()).collect();
    assert_eq!(minutes.len(), 7);
    assert_eq!(classes, BTreeSet::from(['2', '3', '4', '5']));
}
