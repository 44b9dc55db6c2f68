//! Every mistake in a pipeline is told before anything starts: where it is, what is wrong, what was probably meant.

use crate::{run, standard_error, with_pipeline};

/// A pipeline without mistakes. Each test makes one.
const RIGHT: &str = r#"name = "people"
trigger = "available_now"

[[source]]
name = "people"
type = "generator"
kind = "people"
rows = 10

[[stream]]
name = "adults"
from = "people"
steps = [
    { filter = "age >= 18" },
    { key_by = "city", aggregate = ["count(*) AS adults"] },
]

[[sink]]
type = "print"
from = "adults"
"#;

/// What `check` says of the pipeline with `from` replaced by `to`.
#[track_caller]
fn told(from: &str, to: &str) -> String {
    assert!(RIGHT.contains(from), "{from}");
    let directory = with_pipeline(&RIGHT.replacen(from, to, 1));
    let output = run(directory.path(), &["check", "p.toml"]);
    assert_eq!(output.status.code(), Some(2), "{}", standard_error(&output));
    standard_error(&output)
}

#[test]
fn without_a_mistake_all_is_right() {
    let directory = with_pipeline(RIGHT);
    assert_eq!(run(directory.path(), &["check", "p.toml"]).status.code(), Some(0));
}

#[test]
fn mistakes_in_rules_are_told_with_their_place() {
    let said = |rule: &str| told("{ filter = \"age >= 18\" }", &format!("{{ validate = [{rule}] }}"));
    for (rule, expected) in [
        ("{ chek = \"age > 1\" }", "p.toml:14:21: a rule has no key \"chek\"; did you mean \"check\"?"),
        ("{ name = \"a\" }", "p.toml:14:19: a rule says nothing; add check"),
        ("{ check = \"age > 1\", not_null = \"age\" }", "a rule says one thing; write two rules"),
        ("{ check = \"age + 1\" }", "not Boolean"),
        ("{ not_null = \"agee\" }", "did you mean \"age\"?"),
        ("{ check = \"age > 1\", else = \"dropp\" }", "\"else\" cannot be \"dropp\"; did you mean \"drop\"?"),
        ("{ check = \"age > 1\", on = \"age\" }", "\"on\" goes with \"found_in\""),
        ("{ check = \"age > 1\", ttl = \"1h\" }", "\"ttl\" goes with \"unique\""),
        ("{ unique = \"age\", window = \"1h\", ttl = \"1h\" }", "\"window\" and \"ttl\" exclude each other"),
        ("{ unique = \"age\", window = \"1h\" }", "say how late rows may come, with with_watermark"),
        ("{ unique = \"agee\" }", "did you mean \"age\"?"),
        ("{ found_in = \"towns\", on = \"age\" }", "there is no table \"towns\""),
        ("{ check = \"age > 1\", else = \"quarantine\" }", "a rule puts records in quarantine, and the query has none"),
    ] {
        let told = said(rule);
        assert!(told.contains(expected), "{rule}: {told}");
    }
}

#[test]
fn mistakes_are_told_with_place_and_advice() {
    for (from, to, expected) in [
        (
            "trigger =",
            "threads = 1000000\ntrigger =",
            "p.toml:2:11: \"threads\" takes a whole number from 1 to 4096, not the number 1000000",
        ),
        ("trigger =", "triger =", "p.toml:2:1: a pipeline has no key \"triger\"; did you mean \"trigger\"?"),
        (
            "available_now",
            "availabel_now",
            "p.toml:2:11: \"trigger\" cannot be \"availabel_now\"; did you mean \"available_now\"?",
        ),
        (
            "\"available_now\"",
            "\"1 parsec\"",
            "p.toml:2:11: '1 parsec' is not a span of time: there is no unit \"parsec\"; write it as '10 seconds' or '1 hour 30 minutes'",
        ),
        ("\"available_now\"", "1", "p.toml:2:11: \"trigger\" takes a text in quotes, not the number 1"),
        (
            "type = \"generator\"",
            "type = \"genrator\"",
            "p.toml:6:8: \"type\" cannot be \"genrator\"; did you mean \"generator\"?",
        ),
        (
            "kind = \"people\"",
            "knid = \"people\"",
            "p.toml:7:1: a [[source]] of type \"generator\" has no key \"knid\"; did you mean \"kind\"?",
        ),
        ("kind = \"people\"\n", "", "p.toml:4:1: a [[source]] of type \"generator\" has no \"kind\"; add it"),
        ("rows = 10", "rows = \"ten\"", "p.toml:8:8: \"rows\" takes a whole number from 0 on, not the text \"ten\""),
        (
            "from = \"people\"",
            "from = \"poeple\"",
            "p.toml:12:8: there is no source or stream \"poeple\"; did you mean \"people\"?",
        ),
        ("{ filter", "{ fliter", "p.toml:14:7: a step has no key \"fliter\"; did you mean \"filter\"?"),
        (
            "{ filter = \"age >= 18\" }",
            "{}",
            "p.toml:14:5: a step does nothing; write an operation, such as { filter = \"age > 18\" }",
        ),
        (
            "{ filter = \"age >= 18\" }",
            "{ filter = \"age >= 18\", limit = 3 }",
            "p.toml:14:5: a step does one thing, not \"filter\" and \"limit\"; write two steps, in the order in which they should happen",
        ),
        (
            ", aggregate = [\"count(*) AS adults\"]",
            "",
            "p.toml:15:16: nothing is made of the groups of \"key_by\"; add aggregate = [\"count(*) AS rows\", ...] or count = true to the same step",
        ),
        (
            "{ filter = \"age >= 18\" }",
            "{ join = \"towns\", on = \"city\" }",
            "p.toml:14:14: there is no table \"towns\"; there are no tables",
        ),
        (
            "[[sink]]\ntype = \"print\"\nfrom = \"adults\"\n",
            "",
            "p.toml:1:1: a pipeline has no [[sink]]; add one; docs/pipelines.md shows how",
        ),
    ] {
        assert_eq!(told(from, to), format!("error: {expected}\n"));
    }
}

#[test]
fn mistakes_in_expressions_name_column_or_character() {
    for (from, to, parts) in [
        ("age >= 18", "agge >= 18", &["p.toml:14:16: ", "there is no column \"agge\"", "did you mean \"age\"?"][..]),
        ("age >= 18", "age >= ", &["p.toml:14:16: ", "expected an expression, found the end"]),
        ("age >= 18", "age >> 18", &["p.toml:14:16: ", "character 5"]),
        ("age >= 18", "age + 18", &["p.toml:14:16: ", "is Int64, not Boolean"]),
        ("age >= 18", "age >= 'old'", &["p.toml:14:16: "]),
        (
            "age >= 18",
            "lowr(city) = 'a'",
            &["p.toml:14:16: ", "there is no function \"lowr\"", "did you mean \"lower\"?"],
        ),
        (
            "age >= 18",
            "cast(age as intt) > 1",
            &["p.toml:14:16: ", "there is no type \"intt\"", "did you mean \"int\"?"],
        ),
        ("\"city\"", "\"town\"", &["p.toml:15:16: ", "there is no column \"town\"", "city"]),
        ("count(*) AS adults", "sum(name)", &["p.toml:15:37: ", "sum"]),
        ("count(*) AS adults", "total(age)", &["p.toml:15:37: ", "total"]),
    ] {
        let told = told(from, to);
        for part in parts {
            assert!(told.contains(part), "{to}: {told}");
        }
    }
}

#[test]
fn what_a_file_cannot_hold_is_told_before_it_is_written() {
    for (format, step, expected) in [
        ("text", "", "plain text cannot be written; write csv, ndjson, parquet or arrow"),
        (
            "csv",
            "{ select = \"split(name, ' ') AS words\" },",
            "column \"words\" of type List(Utf8) cannot be written as CSV; write NDJSON, Parquet or Arrow instead",
        ),
    ] {
        let sink = format!("[[sink]]\ntype = \"files\"\npath = \"out\"\nformat = \"{format}\"\nfrom = \"adults\"\n");
        let text = RIGHT.split("[[stream]]").next().unwrap().to_owned();
        let text = format!("{text}[[stream]]\nname = \"adults\"\nfrom = \"people\"\nsteps = [{step}]\n{sink}");
        let directory = with_pipeline(&text);
        let told = standard_error(&run(directory.path(), &["check", "p.toml"]));
        assert_eq!(told, format!("error: p.toml:14:1: {expected}\n"));
    }
}

#[test]
fn a_stream_used_too_early_is_told_from_a_wrong_name() {
    let told = told("from = \"people\"", "from = \"late\"\n[[stream]]\nname = \"late\"\nfrom = \"people\"");
    let expected =
        "error: p.toml:12:8: the stream \"late\" comes only later; put a stream below those it takes its rows from\n";
    assert_eq!(told, expected);
}

#[test]
fn text_that_is_not_toml_is_pointed_at() {
    let told = told("rows = 10", "rows = = 10");
    assert!(told.starts_with("error: p.toml:8:8: this is not TOML: "), "{told}");
}

#[test]
fn set_arguments_are_blamed_by_themselves() {
    let directory = with_pipeline(RIGHT);
    for (set, expected) in [
        ("trigger", "--set trigger: \"trigger\" gives no value; write --set key=value, for example --set trigger=once"),
        (
            "trigger=tomorrow",
            "--set trigger=tomorrow: \"trigger\" cannot be \"tomorrow\"; take \"available_now\", \"once\", or an interval such as \"1s\"",
        ),
        ("source.poeple.rows=1", "--set source.poeple.rows=1: there is no source \"poeple\"; did you mean \"people\"?"),
        ("name.x=1", "--set name.x=1: \"name\" is a single value and has no \"x\""),
    ] {
        let output = run(directory.path(), &["check", "p.toml", "--set", set]);
        assert_eq!((output.status.code(), standard_error(&output)), (Some(2), format!("error: {expected}\n")));
    }
}
