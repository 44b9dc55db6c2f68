//! `pelton generate`, and what needs no pipeline.

use std::fs;

use crate::{repository, run, standard_error, standard_output};

#[test]
fn the_same_seed_gives_the_same_rows_however_they_are_cut() {
    let directory = tempfile::tempdir().unwrap();
    let made = |arguments: &[&str]| run(directory.path(), &[&["generate"], arguments].concat());
    let all = made(&["ads", "--rows", "1000", "--seed", "5"]);
    assert_eq!(all.stdout, made(&["ads", "--rows", "1000", "--seed", "5"]).stdout);
    assert_ne!(all.stdout, made(&["ads", "--rows", "1000", "--seed", "6"]).stdout);

    let output = made(&["ads", "--rows", "1000", "--seed", "5", "--files", "3", "--out", "ads"]);
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    let parts = (0..3).flat_map(|part| fs::read(directory.path().join(format!("ads/part-{part}.ndjson"))).unwrap());
    assert!(parts.eq(all.stdout.iter().copied()), "the files are the stream, cut");
    assert_eq!(fs::read_dir(directory.path().join("ads")).unwrap().count(), 3, "nothing is left beside them");
}

#[test]
fn bundled_samples_can_be_made_by_the_program() {
    let made = run(&repository(), &["generate", "numbers", "--rows", "200", "--seed", "5"]);
    assert_eq!(made.stdout, fs::read(repository().join("datasets/samples/numbers/part-0.txt")).unwrap());
    let made = run(&repository(), &["generate", "campaigns"]);
    assert_eq!(made.stdout, fs::read(repository().join("datasets/samples/campaigns.csv")).unwrap());
}

#[test]
fn every_kind_can_be_written_in_every_format() {
    let directory = tempfile::tempdir().unwrap();
    for kind in ["ads", "measurements", "groupby", "access_log", "people", "numbers", "campaigns", "lineitem"] {
        let all = [None, Some("csv"), Some("ndjson"), Some("parquet"), Some("arrow")];
        // TPC-H's text takes seconds to prepare in a build without optimisation.
        let formats = if kind == "lineitem" { &all[3..4] } else { &all[..] };
        for format in formats {
            let mut arguments = vec!["generate", kind, "--out", "rows"];
            match kind {
                "campaigns" => {}
                "lineitem" => arguments.extend(["--scale", "0.0001"]),
                _ => arguments.extend(["--rows", "100"]),
            }
            arguments.extend(format.map(|format| ["--format", format]).into_iter().flatten());
            let output = run(directory.path(), &arguments);
            assert_eq!((output.status.code(), standard_error(&output).as_str()), (Some(0), ""), "{arguments:?}");
            assert!(fs::metadata(directory.path().join("rows")).unwrap().len() > 500, "{arguments:?}");
        }
    }
}

#[test]
fn a_rate_changes_no_row() {
    let directory = tempfile::tempdir().unwrap();
    let made = |rate: &[&str]| run(directory.path(), &[&["generate", "people", "--rows", "300"], rate].concat()).stdout;
    assert_eq!(made(&["--rate", "100000"]), made(&[]));
}

#[test]
fn impossible_wishes_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (&["people", "--files", "3"][..], "error: standard output is not several files; name a directory by --out\n"),
        (&["lineitem", "--rows", "3"], "error: lineitem has as many rows as it has; leave --rows out\n"),
        (
            &["people", "--format", "parquet", "--rate", "5"],
            "error: a single file of this format cannot be paced; add --files\n",
        ),
    ] {
        let output = run(directory.path(), &[&["generate"], arguments].concat());
        assert_eq!((output.status.code(), standard_error(&output).as_str()), (Some(2), expected));
    }
}

#[test]
fn devices_are_told_plainly() {
    let told = standard_output(&run(&repository(), &["devices"]));
    assert!(told.contains("cpu ") && told.contains("SIMD: "), "{told}");
    assert!(told.contains("\ngpu     "), "{told}");
    let (adapters, rates) = (told.matches("buffers of ").count(), told.matches("GB/s up, ").count());
    assert_eq!(adapters, rates, "{told}");
}

#[test]
fn shells_are_told_how_to_complete() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(standard_output(&run(&repository(), &["completions", shell])).contains("pelton"), "{shell}");
    }
}
