//! Starting, watching, stopping: exit codes, progress, interrupts, readers that leave.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{pelton, run, standard_error, standard_output, with_pipeline};

/// Made-up people without end, a batch every ten milliseconds.
const ENDLESS: &str = r#"
trigger = "10ms"
[[source]]
name = "people"
type = "generator"
kind = "people"
rows_per_batch = 1000
[[sink]]
name = "out"
type = "print"
from = "people"
rows = 1000
"#;

fn interrupt(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn an_interrupt_finishes_what_was_read() {
    let directory = with_pipeline(
        &ENDLESS
            .replace("type = \"print\"", "type = \"files\"\npath = \"out\"\nformat = \"csv\"")
            .replace("rows = 1000\n", ""),
    );
    let mut command = pelton(directory.path());
    let mut child = command.args(["run", "p.toml", "--progress", "json"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut records = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    records.read_line(&mut first).unwrap();
    interrupt(&child);
    let mut rest = String::new();
    records.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");

    let records = format!("{first}{rest}");
    let rows_out = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["rows_out"].as_u64().unwrap();
    let told: u64 = records.lines().map(rows_out).sum();
    let mut written = 0;
    for entry in fs::read_dir(directory.path().join("out")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        assert_eq!(path.extension().unwrap(), "csv", "nothing half written is left");
        written += fs::read_to_string(path).unwrap().lines().count() as u64 - 1;
    }
    assert!(told >= 1000);
    assert_eq!(written, told);
}

#[test]
fn further_interrupts_end_even_a_query_that_is_stuck() {
    // Nobody reads what is printed: the pipe fills up, and the batch can never be finished.
    let directory = with_pipeline(ENDLESS);
    let mut child = pelton(directory.path())
        .args(["run", "p.toml", "--set", "sink.out.rows=100000", "--set", "source.people.rows_per_batch=100000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    printed.read_line(&mut line).unwrap();
    assert!(line.starts_with("batch 0 of \"out\" at "), "{line}");
    let status = loop {
        interrupt(&child);
        std::thread::sleep(Duration::from_millis(50));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
    };
    assert_eq!(status.code(), Some(130));
}

#[test]
fn a_reader_that_leaves_ends_the_program_quietly() {
    let directory = with_pipeline(ENDLESS);
    for arguments in [&["run", "p.toml"][..], &["generate", "ads", "--rows", "10000000"]] {
        let mut child =
            pelton(directory.path()).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut printed = BufReader::new(child.stdout.take().unwrap());
        printed.read_line(&mut String::new()).unwrap();
        drop(printed);
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), standard_error(&output).as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn progress_is_silent_in_a_pipe_and_a_json_object_a_batch_if_asked() {
    let directory = with_pipeline(&ENDLESS.replace("10ms", "available_now"));
    let base = ["run", "p.toml", "--set", "source.people.rows=2500"];
    assert_eq!(standard_error(&run(directory.path(), &base)), "");
    let output = run(directory.path(), &[base.as_slice(), &["--progress", "json"]].concat());
    let records = standard_error(&output);
    let rows = records.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["rows_in"].as_u64());
    assert_eq!(rows.collect::<Vec<_>>(), [Some(1000), Some(1000), Some(500)]);
    assert_eq!(standard_output(&output).lines().filter(|line| line.starts_with("batch ")).count(), 3);
}

const NUMBERS: &str = r#"
trigger = "available_now"
[[source]]
name = "numbers"
type = "files"
path = "numbers.csv"
schema = { number = "int" }
[[sink]]
type = "print"
from = "numbers"
"#;

#[test]
fn bad_records_fail_are_dropped_or_are_null_as_asked() {
    let directory = with_pipeline(NUMBERS);
    fs::write(directory.path().join("numbers.csv"), "number\n1\ntwo\n3\n").unwrap();
    let output = run(directory.path(), &["run", "p.toml"]);
    let error = standard_error(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("numbers.csv, line 3") && error.contains("on_bad_record"), "{error}");
    for (policy, rows, counted) in [("drop", "2 rows", "dropped"), ("null", "3 rows", "nulled")] {
        let set = format!("source.numbers.on_bad_record={policy}");
        let output = run(directory.path(), &["run", "p.toml", "--set", &set, "--progress", "json"]);
        assert_eq!(output.status.code(), Some(0));
        let printed = standard_output(&output);
        assert!(printed.lines().next().unwrap().ends_with(rows), "{printed}");
        let record = serde_json::from_str::<serde_json::Value>(&standard_error(&output)).unwrap();
        assert_eq!(record[counted], 1);
        assert!(record["bad_records"][0].as_str().unwrap().contains("line 3"), "{record}");

        let unasked = standard_error(&run(directory.path(), &["run", "p.toml", "--set", &set]));
        assert!(
            unasked.contains("1 bad record") && unasked.lines().count() == 1,
            "nothing is lost silently: {unasked}"
        );
        let silent = run(directory.path(), &["run", "p.toml", "--set", &set, "--progress", "none"]);
        assert_eq!(standard_error(&silent), "", "silence was asked for");
    }
}

#[test]
fn bad_records_are_put_aside_and_too_many_stop_the_query() {
    let directory = with_pipeline(&format!("{NUMBERS}\n[quarantine]\npath = \"aside\"\n"));
    fs::write(directory.path().join("numbers.csv"), "number\n1\ntwo\n3\n").unwrap();
    let policy = "source.numbers.on_bad_record=quarantine";
    let output = run(directory.path(), &["run", "p.toml", "--set", policy, "--set", "bad_records_max=1"]);
    assert_eq!((output.status.code(), standard_error(&output).contains("1 bad record in quarantine")), (Some(0), true));
    let kept = fs::read_to_string(directory.path().join("aside/part-00000000000000000000-00000.ndjson")).unwrap();
    let kept = serde_json::from_str::<serde_json::Value>(&kept).unwrap();
    assert_eq!((&kept["record"], &kept["line"], &kept["source"]), (&"two".into(), &3.into(), &"numbers".into()));

    let again = ["run", "p.toml", "--set", policy, "--set", "quarantine.existing=remove"];
    let output = run(directory.path(), &[again.as_slice(), &["--set", "bad_records_max={share=0.3}"]].concat());
    let error = standard_error(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("1 of 3 records of the batch are bad") && error.contains("line 3"), "{error}");

    let refused = |set: &[&str]| {
        let output = run(directory.path(), &[&["check", "p.toml"], set].concat());
        assert_eq!(output.status.code(), Some(2), "{set:?}");
        standard_error(&output)
    };
    let error = refused(&["--set", "bad_records_max={share=2}"]);
    assert!(error.contains("\"share\" takes a number from 0 to 1"), "{error}");
    let error = refused(&["--set", "quarantine.paht=x"]);
    assert!(error.contains("did you mean \"path\"?"), "{error}");
    let error = refused(&["--set", "source.numbers.on_bad_value={numbr='drop'}"]);
    assert!(error.contains("did you mean \"number\"?"), "{error}");
    fs::write(directory.path().join("p.toml"), NUMBERS).unwrap();
    let error = refused(&["--set", policy]);
    assert!(error.contains("add a [quarantine]") || error.contains("the query has none"), "{error}");
}

#[test]
fn profiles_are_a_table_for_people_and_json_for_programs() {
    let directory = with_pipeline(
        r#"
trigger = "available_now"
[[source]]
name = "visits"
type = "files"
path = "visits.csv"
profile = ["city", "n"]
schema = { city = "text", n = "bigint", note = "text" }
[[stream]]
name = "all"
from = "visits"
steps = [{ count = true }]
[[sink]]
type = "print"
from = "all"
"#,
    );
    fs::write(directory.path().join("visits.csv"), "city,n,note\nOslo,1,a\nRome,2,b\n,3,c\nOslo,4,d\n").unwrap();
    let output = run(directory.path(), &["run", "p.toml"]);
    let told = standard_error(&output);
    assert!(output.status.success(), "{told}");
    let row = |start: &str| told.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
    assert!(told.contains("profile of \"visits\""), "{told}");
    assert!(row("city").contains("Oslo (2), Rome (1)"), "{told}");
    assert!(!row("n ").is_empty() && row("note").is_empty(), "{told}");
    assert!(!standard_output(&output).contains("profile"), "answers alone are on standard output");

    let output = run(directory.path(), &["run", "p.toml", "--progress", "json"]);
    let told = standard_error(&output);
    let record: serde_json::Value = serde_json::from_str(told.trim()).unwrap();
    let city = &record["profiles"][0]["columns"][0];
    assert_eq!((&city["nulls"], &city["distinct"], &city["min"]), (&1.into(), &2.into(), &"Oslo".into()), "{city}");
    assert_eq!(standard_error(&run(directory.path(), &["run", "p.toml", "--progress", "none"])), "");

    let output = run(directory.path(), &["run", "p.toml", "--set", "source.visits.profile=town"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(standard_error(&output).contains("there is no column \"town\" that could be profiled"));
}

#[test]
fn once_takes_all_there_is_whatever_the_limits() {
    let directory = with_pipeline(&NUMBERS.replace("numbers.csv", "*.csv"));
    for name in ["a.csv", "b.csv", "c.csv"] {
        fs::write(directory.path().join(name), "number\n1\n2\n").unwrap();
    }
    for limits in ["limits={files=1}", "source.numbers.limits={files=1,bytes=9}"] {
        let output = run(directory.path(), &["run", "p.toml", "--trigger", "once", "--set", limits]);
        let printed = standard_output(&output);
        let batches: Vec<&str> = printed.lines().filter(|line| line.contains("batch ")).collect();
        assert!(batches.len() == 1 && batches[0].ends_with("6 rows"), "{limits}: {printed}{}", standard_error(&output));
    }
}

#[test]
fn exit_codes_say_whose_move_it_is() {
    let directory = with_pipeline(NUMBERS);
    let code = |arguments: &[&str]| run(directory.path(), arguments).status.code();
    assert_eq!(code(&["--help"]), Some(0));
    assert_eq!(code(&["run"]), Some(2), "no pipeline is named");
    assert_eq!(code(&["run", "nowhere.toml"]), Some(2), "the pipeline does not exist");
    assert_eq!(code(&["run", "p.toml"]), Some(1), "the data does not exist");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let socket = format!(
        "retries = 0\n[[source]]\nname = \"s\"\ntype = \"socket\"\naddress = \"{free}\"\nformat = \"text\"\nattempts = 1\n\
         [[sink]]\ntype = \"print\"\nfrom = \"s\"\n"
    );
    fs::write(directory.path().join("socket.toml"), socket).unwrap();
    assert_eq!(code(&["run", "socket.toml"]), Some(3), "the peer may come back");
}

#[test]
fn what_was_written_as_files_is_read_back() {
    for format in ["csv", "ndjson", "parquet", "arrow"] {
        let sink = format!("type = \"files\"\npath = \"out\"\nformat = \"{format}\"\n");
        let text =
            ENDLESS.replace("10ms", "available_now").replace("type = \"print\"\n", &sink).replace("rows = 1000\n", "");
        let directory = with_pipeline(&text);
        let output = run(directory.path(), &["run", "p.toml", "--set", "source.people.rows=2500"]);
        assert_eq!(standard_error(&output), "", "{format}");
        let back = format!(
            "trigger = \"once\"\n[[source]]\nname = \"p\"\ntype = \"files\"\npath = \"out\"\nformat = \"{format}\"\n\
             [[stream]]\nname = \"c\"\nfrom = \"p\"\nsteps = [{{ aggregate = [\"count(*) AS people\", \"sum(age) AS ages\"] }}]\n\
             [[sink]]\ntype = \"print\"\nfrom = \"c\"\n"
        );
        fs::write(directory.path().join("back.toml"), back).unwrap();
        let output = run(directory.path(), &["run", "back.toml"]);
        let printed = standard_output(&output);
        assert!(printed.contains("2500 │"), "{format}: {printed}{}", standard_error(&output));
    }
}
