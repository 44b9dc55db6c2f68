//! `pelton bench` on few rows: what it says, not how fast it is.

use std::fs;

use serde_json::Value;

use crate::{repository, run, standard_error, standard_output};

#[test]
fn a_suite_is_told_as_table_json_and_page() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["bench", "groupby", "--rows", "3000", "--runs", "2", "--threads", "2"];
    let files = ["--json", "out.json", "--html", "out.html", "--case", "int/100", "--case", "two/100"];
    let output = run(directory.path(), &[&arguments[..], &files].concat());
    assert_eq!((output.status.code(), standard_error(&output).as_str()), (Some(0), ""));
    let table = standard_output(&output);
    let cases = ["int/100", "int/100k", "int/100k/zipf1.0", "int/100k/zipf1.5", "int/100/nulls", "two/100"];
    for case in cases {
        assert!(table.lines().any(|line| line.split_whitespace().next() == Some(case)), "{case} is missing:\n{table}");
    }
    assert!(
        table.contains("2 threads") && table.contains("% of memory") && table.contains("answers checked: "),
        "{table}"
    );

    let document: Value = serde_json::from_slice(&fs::read(directory.path().join("out.json")).unwrap()).unwrap();
    assert_eq!((&document["format"], &document["suite"], &document["runs"]), (&1.into(), &"groupby".into(), &2.into()));
    assert_eq!(document["machine"]["threads"], 2);
    assert!(document["machine"]["memory_bytes_per_second"].as_f64().unwrap() > 0.0);
    let first = &document["results"][0];
    assert_eq!((&first["case"], &first["rows"], &first["answer_rows"]), (&"int/100".into(), &3000.into(), &100.into()));
    assert_eq!(first["bytes"], 3000 * 20);
    let is_positive = |key: &str| first[key].as_f64().is_some_and(|figure| figure > 0.0);
    for key in ["best_seconds", "median_seconds", "rows_per_second", "bytes_per_second", "share_of_memory"] {
        assert!(is_positive(key), "{key}: {first}");
    }
    assert!(first["times_polars"].is_null());

    let page = fs::read_to_string(directory.path().join("out.html")).unwrap();
    assert!(
        page.starts_with("<!doctype html>") && page.contains("<svg") && page.contains("int/100k/zipf1.5"),
        "{page}"
    );
}

#[test]
fn micro_batches_give_the_same_answer_rows() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["bench", "scan", "--rows", "5k", "--runs", "1", "--batch-rows", "1Ki", "--json", "out.json"];
    let output = run(directory.path(), &arguments);
    assert_eq!((output.status.code(), standard_error(&output).as_str()), (Some(0), ""));
    assert!(standard_output(&output).contains("micro-batches of 1,024 rows"));
    let document: Value = serde_json::from_slice(&fs::read(directory.path().join("out.json")).unwrap()).unwrap();
    assert_eq!(document["batch_rows"], 1024);
    let rows = |case: &str| {
        let results = document["results"].as_array().unwrap();
        results.iter().find(|result| result["case"] == case).unwrap()["answer_rows"].as_u64().unwrap()
    };
    assert_eq!((rows("map"), rows("filter-product-sum")), (5000, 1));
    assert!(rows("filter/1%") < rows("filter/50%") && rows("filter/50%") < rows("filter/99%"));
    let output = run(directory.path(), &[&arguments[..], &["--at-once"]].concat());
    assert!(standard_output(&output).contains("micro-batches of 1,024 rows at once"), "{}", standard_error(&output));
}

#[test]
fn a_chain_of_ones_own_runs_over_a_file_of_ones_own() {
    let directory = tempfile::tempdir().unwrap();
    let make = ["generate", "groupby", "--rows", "2500", "--format", "parquet", "--out", "rows.parquet"];
    assert_eq!(run(directory.path(), &make).status.code(), Some(0));
    let bench = ["bench", "file", "rows.parquet", "--runs", "1", "--filter", "i > 1000", "--key", "s_lo"];
    let aggregates = ["--aggregate", "sum(i) as total", "--aggregate", "avg(f)", "--json", "out.json"];
    let output = run(directory.path(), &[&bench[..], &aggregates].concat());
    assert_eq!((output.status.code(), standard_error(&output).as_str()), (Some(0), ""));
    let document: Value = serde_json::from_slice(&fs::read(directory.path().join("out.json")).unwrap()).unwrap();
    let result = &document["results"][0];
    assert_eq!((&result["case"], &result["rows"]), (&"rows".into(), &2500.into()));
    assert_eq!(result["answer_rows"], 100);
    for file in ["answer.arrow", "answer.csv"] {
        let output = run(directory.path(), &[&bench[..], &aggregates, &["--answer", file]].concat());
        assert_eq!((output.status.code(), standard_error(&output).as_str()), (Some(0), ""));
    }
    let answer = fs::read_to_string(directory.path().join("answer.csv")).unwrap();
    assert!(answer.starts_with("s_lo,total,") && answer.lines().count() == 101, "{answer}");
}

#[test]
fn micro_batches_have_a_line_beside_that_of_one_batch() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["bench", "groupby", "--case", "two/100", "--rows", "5k", "--runs", "1", "--json", "out.json"];
    let output = run(directory.path(), &[&arguments[..], &["--beside-batches", "1Ki"]].concat());
    assert_eq!((output.status.code(), standard_error(&output).as_str()), (Some(0), ""));
    let table = standard_output(&output);
    assert!(
        table.contains("one batch, and micro-batches of 1,024 rows") && table.contains("· micro_batches"),
        "{table}"
    );
    let document: Value = serde_json::from_slice(&fs::read(directory.path().join("out.json")).unwrap()).unwrap();
    assert_eq!((&document["beside_batches"], &document["batch_rows"]), (&1024.into(), &Value::Null));
    assert!(document["results"][0]["devices"]["micro_batches"]["times_cpu"].as_f64().unwrap() > 0.0);
}

#[test]
fn files_of_text_are_a_suite() {
    let directory = tempfile::tempdir().unwrap();
    let output = run(directory.path(), &["bench", "text", "--rows", "3000", "--runs", "1", "--json", "out.json"]);
    assert_eq!((output.status.code(), standard_error(&output).as_str()), (Some(0), ""));
    let document: Value = serde_json::from_slice(&fs::read(directory.path().join("out.json")).unwrap()).unwrap();
    let results = document["results"].as_array().unwrap();
    let names: Vec<&str> = results.iter().map(|result| result["case"].as_str().unwrap()).collect();
    assert_eq!(names, ["ndjson/ads", "csv/measurements", "csv/people", "lines/access_log"]);
    assert!(results.iter().all(|result| result["bytes"].as_u64().unwrap() > 3000 * 5), "{document}");
}

#[test]
fn mistakes_are_told_before_anything_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let make = ["generate", "groupby", "--rows", "10", "--format", "parquet", "--out", "rows.parquet"];
    assert_eq!(run(directory.path(), &make).status.code(), Some(0));
    let told = |arguments: &[&str]| {
        let output = run(directory.path(), &[&["bench"], arguments].concat());
        assert_eq!(standard_output(&output), "", "{arguments:?}");
        (output.status.code(), standard_error(&output))
    };
    for (arguments, expected) in [
        (
            &["file", "rows.parquet"][..],
            "error: there is nothing to compute; say it by --filter, --select, --key and --aggregate\n",
        ),
        (
            &["file", "rows.parquet", "--filter", "lowr(s_lo) = 'x'"],
            "error: in 'lowr(s_lo) = 'x'': there is no function \"lowr\" at character 1; did you mean \"lower\"?\n",
        ),
        (
            &["file", "rows.parquet", "--key", "k_lo"],
            "error: nothing is made of the groups; add --aggregate 'count(*) as rows'\n",
        ),
        (
            &["file", "rows", "--filter", "i > 1"],
            "error: the name of the file does not say its format (rows); let it end in .parquet, .arrow, .csv or .ndjson\n",
        ),
        (
            &["groupby", "--threads", "1000000"],
            "error: 1000000 threads are too many; give at most 4096; one a core is best\n",
        ),
        (
            &["text", "--beside-batches", "1Ki"],
            "error: a file is read in batches of the reader's size; leave --batch-rows and --beside-batches out\n",
        ),
        (
            &["file", "rows.parquet", "--filter", "i > 1", "--answer", "rows"],
            "error: the name of the file does not say its format (rows); let it end in .parquet, .arrow, .csv or .ndjson\n",
        ),
    ] {
        assert_eq!(told(arguments), (Some(2), expected.to_owned()));
    }
    let (code, text) = told(&["file", "rows.parquet", "--filter", "k_low > 1"]);
    assert!(code == Some(2) && text.contains("k_low") && text.contains("did you mean \"k_lo\"?"), "{text}");
    let (code, text) = told(&["scan", "--case", "nothing"]);
    assert!(
        code == Some(2) && text.contains("no case of scan has \"nothing\" in its name; there are filter/1%, "),
        "{text}"
    );
    let (code, text) = told(&["tpch", "--batch-rows", "64 Kib"]);
    assert!(code == Some(2) && text.contains("write a number of rows as 4000000, 4M or 64Ki"), "{text}");
    let (code, text) = told(&["scan", "--json", "missing/out.json"]);
    assert!(code == Some(1) && text.contains("cannot write the results"), "{text}");
    let (code, text) = told(&["file", "missing.parquet", "--filter", "i > 1"]);
    assert!(code == Some(1) && text.contains("missing.parquet"), "{text}");
    if !cfg!(feature = "polars") {
        let expected =
            "error: this program is built without Polars; build it with it: cargo build --release --features polars\n";
        assert_eq!(told(&["scan", "--polars"]), (Some(2), expected.to_owned()));
    }
}

/// The peer's answers are checked too: a case on which the engines disagree fails the command.
#[cfg(feature = "polars")]
#[test]
fn polars_gives_the_same_answers() {
    let directory = tempfile::tempdir().unwrap();
    for (suite, cases) in [("groupby", 28), ("scan", 7)] {
        let arguments = ["bench", suite, "--rows", "3000", "--runs", "1", "--polars", "--json", "out.json"];
        let output = run(directory.path(), &arguments);
        assert_eq!((output.status.code(), standard_error(&output).as_str()), (Some(0), ""));
        let document: Value = serde_json::from_slice(&fs::read(directory.path().join("out.json")).unwrap()).unwrap();
        let results = document["results"].as_array().unwrap();
        assert_eq!(results.len(), cases);
        assert!(results.iter().all(|result| result["times_polars"].as_f64().is_some()), "{results:?}");
    }
}

#[test]
fn queries_of_tpch_run_on_decimals_and_floats() {
    let directory = tempfile::tempdir().unwrap();
    let polars: &[&str] = if cfg!(feature = "polars") { &["--polars"] } else { &[] };
    let output = run(directory.path(), &[&["bench", "tpch", "--rows", "2000", "--runs", "1"], polars].concat());
    assert_eq!((output.status.code(), standard_error(&output).as_str()), (Some(0), ""));
    let table = standard_output(&output);
    for case in ["q1/decimal", "q6/decimal", "q1/float", "q6/float"] {
        assert!(table.contains(case), "{table}");
    }
}

#[test]
fn other_devices_are_measured_beside_the_cpu() {
    let told = standard_output(&run(&repository(), &["devices"]));
    let named = told.lines().find_map(|line| line.strip_prefix("gpu     ")?.split_once(" ("));
    let Some((adapter, _)) = named.filter(|_| told.contains("buffers of ")) else { return };
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["bench", "groupby", "--rows", "3000", "--runs", "2", "--case", "two/100", "--device", "gpu,auto"];
    let output = run(directory.path(), &[&arguments[..], &["--adapter", adapter, "--json", "out.json"]].concat());
    // Drivers may have something to say, too.
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    let table = standard_output(&output);
    for line in ["· gpu_with_copies", "· gpu_resident", "· auto"] {
        let found = table.lines().find(|found| found.starts_with(line));
        assert!(found.is_some_and(|found| found.contains(" × cpu")), "{line} is missing:\n{table}");
    }
    assert!(table.contains("all rows of all devices against the cpu, bit for bit"), "{table}");
    let document: Value = serde_json::from_slice(&fs::read(directory.path().join("out.json")).unwrap()).unwrap();
    let devices = &document["results"][0]["devices"];
    assert!(devices["gpu_resident"]["share_of_device_memory"].as_f64().unwrap() > 0.0, "{devices}");
    assert!(devices["auto"]["note"].as_str().unwrap().contains("is expected to take"), "{devices}");
}

#[test]
fn a_device_that_is_not_there_is_told_and_the_cpu_is_measured() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["bench", "groupby", "--rows", "100", "--runs", "1", "--case", "two/100"];
    let output = run(directory.path(), &[&arguments[..], &["--device", "gpu", "--adapter", "no such"]].concat());
    // Drivers may have something to say, too.
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    let table = standard_output(&output);
    assert!(table.contains("· gpu_with_copies") && table.contains("no adapter's name has"), "{table}");
}
