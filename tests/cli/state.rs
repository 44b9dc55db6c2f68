//! Windows, watermarks and running aggregates in pipeline files.

use std::fs;

use crate::{run, standard_error, standard_output, with_pipeline};

fn pipeline(steps: &str) -> String {
    format!(
        "trigger = \"available_now\"\nlimits = {{ files = 1 }}\n[[source]]\nname = \"visits\"\ntype = \"files\"\n\
         path = \"in/*.csv\"\nschema = \"time timestamp, city text\"\n[[stream]]\nname = \"s\"\nfrom = \"visits\"\n\
         steps = [{steps}]\n[[sink]]\ntype = \"files\"\nfrom = \"s\"\npath = \"out\"\nformat = \"csv\"\n"
    )
}

/// The rows that the steps give, without headers.
fn answer(steps: &str) -> String {
    let directory = with_pipeline(&pipeline(steps));
    fs::create_dir(directory.path().join("in")).unwrap();
    let files = ["00:00:01,Oslo\n2026-01-01T00:00:12,Oslo", "00:00:03,Rome\n2026-01-01T00:00:31,Oslo"];
    for (number, rows) in files.iter().enumerate() {
        let text = format!("time,city\n2026-01-01T{rows}\n");
        fs::write(directory.path().join(format!("in/{number}.csv")), text).unwrap();
    }
    let output = run(directory.path(), &["run", "p.toml", "--progress", "none"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", standard_error(&output), standard_output(&output));
    let mut files =
        fs::read_dir(directory.path().join("out")).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    files.retain(|file| file.is_file());
    files.sort();
    let rows =
        files.iter().map(|file| fs::read_to_string(file).unwrap().lines().skip(1).collect::<Vec<_>>().join("\n"));
    rows.collect::<Vec<_>>().join("\n--\n")
}

#[test]
fn windows_running_aggregates_and_late_rows_can_be_said_in_a_pipeline() {
    let windows = "{ watermark = \"time\", delay = \"2s\" }, \
                   { key_by = [\"window(time, '10s') AS w\"], aggregate = [\"count(*) AS n\"] }";
    let (first, second) = ("2026-01-01T00:00:00,2026-01-01T00:00:10,1", "2026-01-01T00:00:10,2026-01-01T00:00:20,1");
    assert_eq!(answer(windows), format!("{first}\n--\n{second}"), "the row at 3 comes too late");
    let late = "{ watermark = \"time\", delay = \"2s\" }, { late_rows = \"window(time, '10s')\" }";
    assert_eq!(answer(late), "2026-01-01T00:00:03,Rome");
    let running = "{ key_by = \"city\", running = [\"count(*) AS n\"], mode = \"complete\", name = \"cities\" }";
    assert_eq!(answer(running), "Oslo,2\n--\nOslo,3\nRome,1");
    assert_eq!(answer("{ aggregate = [\"count(*) AS n\"], over = \"1 hour\" }"), "2\n--\n4");
}

#[test]
fn mistakes_in_windows_are_told_with_their_place() {
    let mistake = |steps: &str| {
        standard_error(&run(with_pipeline(&pipeline(steps).replace("in/*.csv", "*.csv")).path(), &["check", "p.toml"]))
    };
    let said = mistake("{ key_by = \"city\", running = [\"count(*) AS n\"], over = \"1s\" }");
    assert!(said.contains("\"running\" is over all batches"), "{said}");
    let said = mistake("{ key_by = \"city\", aggregate = [\"count(*) AS n\"], mode = \"update\" }");
    assert!(said.contains("all come out") && said.contains("use running"), "{said}");
    let said = mistake("{ key_by = \"city\", aggregate = [\"count(*) AS n\"], over = \"1s\", mode = \"update\" }");
    assert!(said.contains("all its groups"), "{said}");
    let said = mistake("{ watermark = \"time\" }");
    assert!(said.contains("\"delay\""), "{said}");
}

#[test]
fn the_state_of_a_checkpoint_is_listed_filtered_and_exported() {
    let steps = "{ key_by = \"city\", running = [\"count(*) AS n\"], name = \"cities\" }";
    let directory = with_pipeline(&format!("checkpoint = \"checkpoint\"\n{}", pipeline(steps)));
    fs::create_dir(directory.path().join("in")).unwrap();
    fs::write(directory.path().join("in/0.csv"), "time,city\n,Oslo\n,Rome\n,Oslo\n").unwrap();
    let output = run(directory.path(), &["run", "p.toml", "--progress", "none"]);
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    let state = |arguments: &[&str]| {
        let output = run(directory.path(), &[&["state", "checkpoint"], arguments].concat());
        standard_output(&output) + &standard_error(&output)
    };
    assert!(state(&[]).contains("cities  2 groups"), "{}", state(&[]));
    let busy = state(&["cities", "--where", "n > 1"]);
    assert!(busy.contains("Oslo") && !busy.contains("Rome") && busy.contains("1 groups"), "{busy}");
    state(&["cities", "--out", "cities.csv"]);
    let exported = fs::read_to_string(directory.path().join("cities.csv")).unwrap();
    assert_eq!(exported, "city,n\nOslo,2\nRome,1\n");
    assert!(state(&["citys"]).contains("there are: cities"));
    let gone = state(&["cities", "--batch", "7"]);
    assert!(gone.contains("batch 7 is not there") && gone.contains("that after batch 0 is"), "{gone}");
    // What is kept of one operator cannot be read: the list says so, and of the others what they are.
    fs::write(directory.path().join("checkpoint/operators/cities"), "nothing").unwrap();
    let damaged = state(&[]);
    assert!(damaged.contains("cities  cannot be read") && damaged.contains("operators/cities"), "{damaged}");
}
