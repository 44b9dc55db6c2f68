//! Everything that a stream can do can be said in a pipeline, and means the same.

use std::fs;

use crate::{repository, run, standard_error, standard_output, with_pipeline};

const VISITS: &str = "city,age,tags\nrome,30,a b\nparis,,b\nrome,50,\noslo,30,c a\nrome,30,a b\n";
const TOWNS: &str = "town,land,since\nrome,italy,1970-01-01T00:00:00.010\nparis,france,1970-01-01T00:00:00.005\n";

/// The rows that come out of the steps, a line each.
fn rows(steps: &str) -> Vec<String> {
    let text = format!(
        "trigger = \"once\"\n[[source]]\nname = \"visits\"\ntype = \"files\"\npath = \"visits.csv\"\n\
         schema = \"city text, age int, tags text\"\n[[table]]\nname = \"towns\"\npath = \"towns.csv\"\n\
         [[stream]]\nname = \"s\"\nfrom = \"visits\"\nsteps = [{steps}]\n\
         [[stream]]\nname = \"twice\"\nfrom = [\"s\", \"s\"]\n\
         [[sink]]\ntype = \"files\"\nformat = \"csv\"\nheader = false\npath = \"out\"\nfrom = \"s\"\n\
         [[sink]]\ntype = \"files\"\nformat = \"csv\"\nheader = false\npath = \"twice\"\nfrom = \"twice\"\n"
    );
    let directory = with_pipeline(&text);
    fs::write(directory.path().join("visits.csv"), VISITS).unwrap();
    fs::write(directory.path().join("towns.csv"), TOWNS).unwrap();
    let output = run(directory.path(), &["run", "p.toml"]);
    assert_eq!(output.status.code(), Some(0), "{steps}: {}", standard_error(&output));
    let read = |folder: &str| {
        let mut files =
            fs::read_dir(directory.path().join(folder)).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
        files.retain(|file| file.is_file());
        files.sort();
        files
            .iter()
            .flat_map(|file| fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    };
    let (once, twice): (Vec<String>, Vec<String>) = (read("out"), read("twice"));
    assert_eq!(twice.len(), 2 * once.len(), "a union has the rows of both");
    once
}

#[test]
fn rules_say_what_becomes_of_rows_that_break_them() {
    let steps = "{ validate = [{ not_null = \"age\", else = \"drop\" }, { check = \"age < 50\", name = \"young\", else = \"drop\" }, \
                 { found_in = \"towns\", on = { city = \"town\" } }] }";
    assert_eq!(rows(steps), ["rome,30,a b", "oslo,30,c a", "rome,30,a b"]);
    assert_eq!(rows("{ validate = { found_in = \"towns\", on = { city = \"town\" }, else = \"drop\" } }").len(), 4);
    let once = ["rome,30,a b", "paris,,b", "oslo,30,c a"];
    assert_eq!(rows("{ validate = { unique = \"city\", else = \"drop\" } }"), once);
    assert_eq!(rows("{ validate = { unique = [\"city\"], ttl = \"1h\", name = \"a city\", else = \"drop\" } }"), once);
    assert_eq!(rows("{ validate = { unique = true, else = \"drop\" } }").len(), 4);
    assert_eq!(rows("{ validate = { unique = true } }").len(), 5);
    let windows = "{ with_columns = \"cast(coalesce(age, 0) AS timestamp_s) AS t\" }, { watermark = \"t\", delay = \"1h\" }, \
                   { validate = { unique = \"city\", window = \"40s\", else = \"drop\" } }, { select = [\"city\", \"age\"] }";
    assert_eq!(rows(windows), ["rome,30", "paris,", "rome,50", "oslo,30"]);
}

#[test]
fn every_operation_can_be_said() {
    for (steps, expected) in [
        ("", &["rome,30,a b", "paris,,b", "rome,50,", "oslo,30,c a", "rome,30,a b"][..]),
        ("{ select = [\"upper(city) AS c\", \"age + 1\"] }", &["ROME,31", "PARIS,", "ROME,51", "OSLO,31", "ROME,31"]),
        (
            "{ select = \"age\" }, { with_columns = [\"age * 2 AS d\", \"-age AS age\"] }",
            &["-30,60", ",", "-50,100", "-30,60", "-30,60"],
        ),
        ("{ filter = \"age > 30\" }", &["rome,50,"]),
        ("{ filter = [\"age = 30\", \"city = 'oslo'\"] }", &["oslo,30,c a"]),
        (
            "{ select = [\"city\", \"tags\"] }, { flat_map = \"split(tags, ' ') AS tags\" }",
            &["rome,a", "rome,b", "paris,b", "oslo,c", "oslo,a", "rome,a", "rome,b"],
        ),
        ("{ distinct = true }", &["rome,30,a b", "paris,,b", "rome,50,", "oslo,30,c a"]),
        ("{ drop_duplicates = true }", &["rome,30,a b", "paris,,b", "rome,50,", "oslo,30,c a"]),
        (
            "{ drop_duplicates = [\"city\"], ttl = \"1h\", name = \"cities\" }",
            &["rome,30,a b", "paris,,b", "oslo,30,c a"],
        ),
        ("{ key_by = \"city\", running = \"count(*) AS n\", ttl = \"1h\" }", &["rome,3", "paris,1", "oslo,1"]),
        (
            "{ select = [\"city AS town\", \"city\"] }, \
             { key_by = \"town\", running = \"min(city) AS land\", initial_state = \"towns\" }",
            &["rome,italy", "paris,france", "oslo,oslo"],
        ),
        (
            "{ with_columns = \"cast(coalesce(age, 0) AS timestamp_ms) AS t\" }, \
             { key_by = [\"city\", \"session_window(t, '5ms')\"], aggregate = \"count(*) AS n\" }, { select = [\"city\", \"n\"] }",
            &["paris,1", "rome,2", "oslo,1", "rome,1"],
        ),
        (
            "{ with_columns = \"cast(coalesce(age, 0) AS timestamp_ms) AS t\" }, \
             { join_asof = \"towns\", on = { city = \"town\" }, times = { t = \"since\" }, tolerance = \"25ms\" }, { select = [\"city\", \"land\"] }",
            &["rome,italy", "paris,", "rome,", "oslo,", "rome,italy"],
        ),
        ("{ key_by = \"city\", aggregate = \"sum(age) AS s\", over_rows = 3 }", &["rome,110"]),
        ("{ aggregate = [\"count(*) AS n\", \"max(age) AS most\"], over_rows = 3, every_rows = 2 }", &["2,30", "3,50"]),
        ("{ distinct = \"city\" }", &["rome,30,a b", "paris,,b", "oslo,30,c a"]),
        (
            "{ key_by = \"city\", aggregate = [\"count(*) AS n\", \"sum(age) AS s\"] }, { sort = \"city\" }",
            &["oslo,1,30", "paris,1,", "rome,3,110"],
        ),
        (
            "{ key_by = [\"city\", \"age\"], count = true }, { sort = [\"city\", \"age DESC\"] }",
            &["oslo,30,1", "paris,,1", "rome,50,1", "rome,30,2"],
        ),
        ("{ aggregate = \"count(*) FILTER (WHERE age = 30) AS n\" }", &["3"]),
        ("{ count = true }", &["5"]),
        ("{ count_by_value = \"city\" }, { top_n = 1, by = \"count DESC\" }", &["rome,3"]),
        (
            "{ join = \"towns\", on = { city = \"town\" } }, { select = [\"city\", \"land\"] }",
            &["rome,italy", "paris,france", "rome,italy", "rome,italy"],
        ),
        (
            "{ join = \"towns\", on = { city = \"town\" }, how = \"left\" }, { filter = \"land IS NULL\" }, { select = \"city\" }",
            &["oslo"],
        ),
        ("{ select = \"city AS town\" }, { join = \"towns\", on = \"town\", how = \"anti\" }", &["oslo"]),
        (
            "{ select = \"city AS town\" }, { join = \"towns\", on = [\"town\"], how = \"semi\" }, { count = true }",
            &["4"],
        ),
        ("{ select = \"age\" }, { sort = \"age NULLS FIRST\" }, { limit = 2 }", &["", "30"]),
        ("{ repartition = 3 }, { count = true }", &["5"]),
        ("{ cache = true }, { limit = 1 }", &["rome,30,a b"]),
    ] {
        assert_eq!(rows(steps), expected, "{steps}");
    }
}

#[test]
fn steps_shown_in_the_documentation_are_right() {
    let documentation = fs::read_to_string(repository().join("docs/pipelines.md")).unwrap();
    let example = documentation.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let directory = with_pipeline(example);
    let file = directory.path().join("p.toml").display().to_string();
    let output = run(&repository(), &["run", &file]);
    assert!(standard_output(&output).contains("mean_age"), "{}", standard_error(&output));
}

#[test]
fn two_streams_are_joined_within_an_interval_and_what_is_open_is_flushed() {
    let text = r#"
trigger = "available_now"
on_end = "flush"
[[source]]
name = "views"
type = "files"
path = "views.csv"
schema = { ad = "text", viewed = "timestamp" }
[[source]]
name = "clicks"
type = "files"
path = "clicks.csv"
schema = { ad = "text", clicked = "timestamp" }
[[stream]]
name = "late_clicks"
from = "clicks"
steps = [{ watermark = "clicked", delay = "1m" }]
[[stream]]
name = "both"
from = "views"
steps = [
    { watermark = "viewed", delay = "1m" },
    { join_within = "late_clicks", on = "ad", times = { viewed = "clicked" }, after = "10m", how = "left" },
    { with_columns = "clicked IS NOT NULL AS hit" },
    { select = ["ad", "hit"] },
]
[[sink]]
type = "files"
from = "both"
path = "out"
format = "csv"
"#;
    let directory = with_pipeline(text);
    fs::write(directory.path().join("views.csv"), "ad,viewed\na,2026-01-01 10:00:00\nb,2026-01-01 10:00:00\n").unwrap();
    let clicks = "ad,clicked\nb,2026-01-01 10:10:01\na,2026-01-01 10:10:00\na,2026-01-01 09:59:59\n";
    fs::write(directory.path().join("clicks.csv"), clicks).unwrap();
    let output = run(directory.path(), &["run", "p.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    let mut files =
        fs::read_dir(directory.path().join("out")).unwrap().map(|file| file.unwrap().path()).collect::<Vec<_>>();
    files.retain(|file| file.is_file());
    files.sort();
    let rows = files.iter().map(|file| fs::read_to_string(file).unwrap().lines().skip(1).collect::<Vec<_>>().join(";"));
    assert_eq!(rows.collect::<Vec<_>>(), ["a,true", "b,false"]);

    let wrong = text.replace("{ viewed = \"clicked\" }", "[\"viewed\", \"clicked\"]");
    let output = run(with_pipeline(&wrong).path(), &["check", "p.toml"]);
    assert!(standard_error(&output).contains("no such file"), "sources come first: {}", standard_error(&output));
    fs::write(directory.path().join("wrong.toml"), wrong).unwrap();
    let output = run(directory.path(), &["check", "wrong.toml"]);
    assert!(standard_error(&output).contains("a column of time, or a pair of them"), "{}", standard_error(&output));
}
