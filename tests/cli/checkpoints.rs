//! Pipelines that go on from a checkpoint, and `pelton checkpoint`.

use std::fs;

use crate::{run, standard_error, standard_output, with_pipeline};

const PIPELINE: &str = r#"
trigger = "available_now"
checkpoint = { path = "checkpoint", sync = false, snapshot_every = 2, retain = 4 }
limits = { rows = 100 }
[[source]]
name = "people"
type = "generator"
kind = "people"
rows = 500
rows_per_batch = 100
[[sink]]
type = "files"
from = "people"
path = "out"
format = "csv"
"#;

#[test]
fn a_pipeline_goes_on_where_it_stood() {
    let directory = with_pipeline(PIPELINE);
    let output = run(directory.path(), &["run", "p.toml", "--progress", "none"]);
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    let files = || fs::read_dir(directory.path().join("out")).unwrap().count();
    let before = files();
    let output = run(directory.path(), &["run", "p.toml", "--progress", "none"]);
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    assert!(standard_error(&output).contains("going on after batch 4"), "{}", standard_error(&output));
    assert_eq!(files(), before, "nothing came twice");
}

#[test]
fn a_checkpoint_is_shown_verified_and_rolled_back() {
    let directory = with_pipeline(PIPELINE);
    run(directory.path(), &["run", "p.toml", "--progress", "none"]);
    let shown = standard_output(&run(directory.path(), &["checkpoint", "show", "checkpoint"]));
    assert!(shown.contains("query      p\nsource     people\ncommitted  batch 4\n"), "{shown}");
    let output = run(directory.path(), &["checkpoint", "rollback", "checkpoint", "--to", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    let shown = standard_output(&run(directory.path(), &["checkpoint", "show", "checkpoint"]));
    assert!(shown.contains("committed  batch 2\nbegun      batch 3,"), "{shown}");
    let output = run(directory.path(), &["run", "p.toml", "--progress", "none"]);
    assert!(standard_error(&output).contains("batches 3 to 4 were begun"), "{}", standard_error(&output));

    let file = directory.path().join("checkpoint/commits/00000000000000000004");
    let mut content = fs::read(&file).unwrap();
    content[40] ^= 1;
    fs::write(&file, content).unwrap();
    let output = run(directory.path(), &["checkpoint", "verify", "checkpoint"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(standard_output(&output).contains("damaged    commits/00000000000000000004"));
    assert!(standard_error(&output).contains("rollback --to 3"), "{}", standard_error(&output));
    let output = run(directory.path(), &["checkpoint", "show", "nowhere"]);
    assert!(standard_error(&output).contains("there is no checkpoint here"), "{}", standard_error(&output));
}

#[test]
fn written_files_are_verified_and_read_by_their_manifests() {
    let directory = with_pipeline(PIPELINE);
    run(directory.path(), &["run", "p.toml", "--progress", "none"]);
    let output = run(directory.path(), &["verify", "out"]);
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    assert!(standard_output(&output).contains("500 rows"), "{}", standard_output(&output));
    let second = r#"
trigger = "available_now"
[[source]]
name = "people"
type = "files"
path = "out"
format = "csv"
manifest = true
[[stream]]
name = "rows"
from = "people"
steps = [{ count = true }]
[[sink]]
type = "print"
from = "rows"
"#;
    fs::write(directory.path().join("second.toml"), second).unwrap();
    fs::write(directory.path().join("out/part-00000000000000000099-00000.csv"), "not complete").unwrap();
    let output = run(directory.path(), &["run", "second.toml", "--progress", "none"]);
    assert!(standard_output(&output).contains("500"), "{}{}", standard_output(&output), standard_error(&output));

    let mut files =
        fs::read_dir(directory.path().join("out")).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    files.retain(|file| file.is_file());
    files.sort();
    let mut content = fs::read(&files[1]).unwrap();
    content[30] ^= 1;
    fs::write(&files[1], content).unwrap();
    let output = run(directory.path(), &["verify", "out"]);
    assert_eq!(output.status.code(), Some(1));
    let said = standard_output(&output);
    assert!(said.contains("damaged") && said.contains("its checksum is") && said.contains("unnamed"), "{said}");
    let output = run(directory.path(), &["verify", "checkpoint"]);
    assert!(standard_error(&output).contains("no manifests here"), "{}", standard_error(&output));
}

#[test]
fn a_sink_that_may_give_rows_twice_is_warned_of() {
    let warned = |text: &str| {
        let directory = with_pipeline(text);
        let output = run(directory.path(), &["check", "p.toml"]);
        assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
        standard_error(&output)
    };
    assert_eq!(warned(PIPELINE), "");
    let print = "[[sink]]\ntype = \"print\"\nfrom = \"people\"\n";
    let both = format!("{PIPELINE}{print}");
    assert!(warned(&both).starts_with("warning: sink \"print\" gives at least once"), "{}", warned(&both));
    let without = both.replace("checkpoint =", "# checkpoint =");
    assert_eq!(warned(&without), "", "without a checkpoint nothing is promised");
}

#[test]
fn how_much_a_batch_takes_can_be_said() {
    let bounds = "batch = { max_latency = \"1s\", max_bytes = \"1 MiB\", max_rows = 40 }\nmemory = \"2 MiB\"\n";
    let text = PIPELINE.replace("limits = { rows = 100 }\n", bounds);
    let text = text.replace("rows = 500\n", "rows = 500\nmax_rows_per_second = 100000\n");
    let directory = with_pipeline(&text);
    let output = run(directory.path(), &["run", "p.toml", "--progress", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    let told = standard_error(&output);
    assert!(told.contains("\"rows_in\":40,") && told.contains("\"budget\":2097152"), "{told}");
    for (from, to, expected) in [
        ("\"1s\"", "\"0s\"", "\"max_latency\" takes more than no time"),
        ("max_rows = 40", "max_row = 40", "batch has no key \"max_row\""),
        ("\"2 MiB\"", "0", "\"memory\" takes a whole number from 1 on"),
        ("memory =", "backpressure = true\nmemory =", "\"backpressure\" needs a \"trigger\" that is an interval"),
        ("memory =", "backpressure = { min_rate = 0 }\nmemory =", "the rates of backpressure are numbers above 0"),
        ("max_rows_per_second = 100000", "max_rows_per_second = 0", "takes a whole number from 1 on"),
    ] {
        assert!(text.contains(from), "{from}");
        let directory = with_pipeline(&text.replace(from, to));
        let output = run(directory.path(), &["check", "p.toml"]);
        assert_eq!(output.status.code(), Some(2), "{to}");
        assert!(standard_error(&output).contains(expected), "{to}: {}", standard_error(&output));
    }
}
