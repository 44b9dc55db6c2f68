//! Every bundled pipeline prints what it should.
//!
//! `PELTON_BLESS=1 cargo test --test cli` writes the expected texts anew.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::{repository, run, standard_error, standard_output};

/// Pipelines, their source, and the folder and pattern of the samples it reads.
const PIPELINES: [(&str, &str, &str, &str); 6] = [
    ("average", "lines", "numbers", "*.txt"),
    ("people_per_city", "people", "people", "*.csv"),
    ("adults", "people", "people", "*.csv"),
    ("access_log", "log", "access_log", "*.log"),
    ("ads", "events", "ads", "*.ndjson"),
    ("ad_windows", "events", "ads", "*.ndjson"),
];

#[test]
fn bundled_pipelines_print_what_is_expected() {
    for (pipeline, source, samples, pattern) in PIPELINES {
        let copies = copied_in_order(samples);
        let path = format!("source.{source}.path={}/{pattern}", copies.path().display());
        let file = format!("pipelines/{pipeline}.toml");
        let output = run(&repository(), &["run", &file, "--set", &path]);
        assert_eq!((output.status.code(), standard_error(&output).as_str()), (Some(0), ""), "{pipeline}");
        let expected = repository().join(format!("tests/cli/expected/{pipeline}.txt"));
        let printed = without_times(&standard_output(&output));
        if std::env::var_os("PELTON_BLESS").is_some() {
            fs::write(&expected, &printed).unwrap();
        }
        assert_eq!(printed, fs::read_to_string(&expected).unwrap(), "{pipeline}");
    }
}

#[test]
fn batches_and_partitions_do_not_change_what_a_pipeline_prints() {
    let copies = copied_in_order("people");
    let path = format!("source.people.path={}", copies.path().display());
    let base = ["run", "pipelines/people_per_city.toml", "--set", &path];
    let usual = without_times(&standard_output(&run(&repository(), &base)));
    for change in ["partitions=1", "partitions=7", "source.people.split_bytes=1000", "trigger=once", "device=reference"]
    {
        let arguments = [base.as_slice(), &["--set", change]].concat();
        assert_eq!(without_times(&standard_output(&run(&repository(), &arguments))), usual, "{change}");
    }
}

#[test]
fn every_pipeline_in_the_repository_is_right_and_can_be_explained() {
    let mut seen = 0;
    for entry in fs::read_dir(repository().join("pipelines")).unwrap() {
        let file = entry.unwrap().path().display().to_string();
        let checked = run(&repository(), &["check", &file]);
        let needs_postgres = fs::read_to_string(&file).unwrap().contains("type = \"postgres\"");
        if needs_postgres && !cfg!(feature = "postgres") {
            let said = standard_error(&checked);
            assert!(said.contains("built without PostgreSQL") && said.contains("--features postgres"), "{said}");
            continue;
        }
        assert_eq!(standard_output(&checked), format!("{file} is right\n"), "{}", standard_error(&checked));
        let explained = standard_output(&run(&repository(), &["explain", &file]));
        assert!(explained.contains("stage 0 of "), "{explained}");
        seen += 1;
    }
    assert_eq!(seen, PIPELINES.len() + usize::from(cfg!(feature = "postgres")));
}

#[test]
fn the_examples_of_the_help_are_right() {
    let help =
        [run(&repository(), &["--help"]), run(&repository(), &["run", "--help"])].map(|help| standard_output(&help));
    let mut seen = 0;
    for example in help.iter().flat_map(|help| help.lines()).filter_map(|line| line.strip_prefix("  pelton run ")) {
        let words = example.split(' ').collect::<Vec<_>>();
        let mut arguments = vec!["check".to_owned(), words[0].to_owned()];
        for pair in words.windows(2).filter(|pair| pair[0] == "--set") {
            arguments.extend(["--set".to_owned(), pair[1].replace("incoming/", "datasets/samples/numbers/")]);
        }
        let output = run(&repository(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(0), "{example}: {}", standard_error(&output));
        seen += 1;
    }
    assert_eq!(seen, 5);
}

/// The samples, modified one after another in the order of their names, which a checkout does not promise.
fn copied_in_order(samples: &str) -> tempfile::TempDir {
    let copies = tempfile::tempdir().unwrap();
    let from = repository().join("datasets/samples").join(samples);
    let mut names = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    names.sort();
    for (index, name) in names.iter().enumerate() {
        let copy = copies.path().join(name.file_name().unwrap());
        fs::copy(name, &copy).unwrap();
        modified_at(&copy, index);
    }
    copies
}

fn modified_at(file: &Path, second: usize) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + second as u64);
    fs::File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
}

/// The printed tables without the times of their batches.
fn without_times(printed: &str) -> String {
    let line = |line: &str| match (line.split_once(" at "), line.split_once(" UTC, ")) {
        (Some((batch, _)), Some((_, rows))) => format!("{batch}, {rows}\n"),
        _ => format!("{line}\n"),
    };
    printed.lines().map(line).collect()
}
