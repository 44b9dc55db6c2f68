//! `pelton infer` says what a pipeline can read.

use std::fs;

use crate::{run, standard_error, standard_output, with_pipeline};

/// What `infer` prints of a file, made into a pipeline that counts its rows and columns.
fn inferred(name: &str, content: &[u8], arguments: &[&str]) -> (String, String) {
    let directory = with_pipeline("");
    fs::write(directory.path().join(name), content).unwrap();
    let output = run(directory.path(), &[&["infer", name], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    let said = standard_output(&output);
    let source = said.lines().find_map(|line| line.strip_prefix("name = ")).unwrap();
    let sink = format!("[[sink]]\ntype = \"files\"\nformat = \"ndjson\"\npath = \"out\"\nfrom = {source}\n");
    fs::write(directory.path().join("p.toml"), format!("trigger = \"once\"\n{said}{sink}")).unwrap();
    let output = run(directory.path(), &["run", "p.toml"]);
    assert_eq!(output.status.code(), Some(0), "{said}{}", standard_error(&output));
    let mut written = fs::read_dir(directory.path().join("out")).unwrap().map(|entry| entry.unwrap().path());
    let file = written.find(|path| path.is_file()).unwrap();
    (said, fs::read_to_string(file).unwrap())
}

#[test]
fn what_is_inferred_reads_the_file() {
    let csv = "id,is ok,when,\"a \"\"b\"\"\"\n1,true,2026-03-01,x\n2,false,2026-03-02,\n";
    let (said, rows) = inferred("visits.csv", csv.as_bytes(), &[]);
    let expected = "[[source]]\nname = \"visits\"\ntype = \"files\"\npath = \"visits.csv\"\nformat = \"csv\"\n\
                    [source.schema]\nid = \"int64\"\n\"is ok\" = \"boolean\"\nwhen = \"date\"\n\"a \\\"b\\\"\" = \"text\"\n";
    assert_eq!(said, expected);
    assert!(rows.starts_with("{\"id\":1,\"is ok\":true,\"when\":\"2026-03-01\",\"a \\\"b\\\"\":\"x\"}\n"), "{rows}");

    let json = "{\"n\":1.5,\"tags\":[\"a\"],\"at\":{\"x y\":1}}\n{\"n\":2,\"tags\":[],\"at\":null}\n";
    let (said, rows) = inferred("a.ndjson", json.as_bytes(), &[]);
    assert!(said.contains("n = \"double\"\ntags = \"text[]\"\n") && said.contains("at = \"struct("), "{said}");
    assert!(rows.starts_with("{\"at\":{\"x y\":1},\"n\":1.5,\"tags\":[\"a\"]}\n"), "{rows}");

    let (said, _) = inferred("t.tbl", b"1|a\n2|b\n", &["--format", "csv", "--delimiter", "|", "--no-header"]);
    assert!(said.contains("delimiter = \"|\"\nheader = false\n[source.schema]\ncolumn_1 = \"int64\"\n"), "{said}");
    let (said, _) = inferred("lines.log", b"a\nb\n", &[]);
    assert!(said.ends_with("format = \"text\"\n"), "{said}");
}

#[test]
fn more_records_tell_more() {
    let text = format!("n\n{}x\n", "1\n".repeat(1000));
    let directory = with_pipeline("");
    fs::write(directory.path().join("n.csv"), text).unwrap();
    let said = |records: &str| standard_output(&run(directory.path(), &["infer", "n.csv", "--records", records]));
    assert!(said("1000").ends_with("n = \"int64\"\n"));
    assert!(said("1001").ends_with("n = \"text\"\n"));
}

#[test]
fn files_that_say_nothing_are_refused() {
    let directory = with_pipeline("");
    for (name, content, code, says) in [
        ("empty.csv", "", 2, "holds no record"),
        ("a.unknown", "x\n", 2, "add --format"),
        ("twice.csv", "a,a\n1,2\n", 1, "twice"),
    ] {
        fs::write(directory.path().join(name), content).unwrap();
        let output = run(directory.path(), &["infer", name]);
        assert_eq!((output.status.code(), standard_output(&output)), (Some(code), String::new()), "{name}");
        assert!(standard_error(&output).contains(says), "{name}: {}", standard_error(&output));
    }
    assert_eq!(run(directory.path(), &["infer", "nowhere.csv"]).status.code(), Some(1));
}

#[test]
fn a_file_that_makes_its_library_panic_is_told_once() {
    use std::sync::atomic::{AtomicBool, Ordering};

    static HAS_PANICKED: AtomicBool = AtomicBool::new(false);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| match pelton::formats::panic_becomes_error() {
        true => HAS_PANICKED.store(true, Ordering::SeqCst),
        false => usual(panic),
    }));
    let directory = with_pipeline("");
    fs::write(directory.path().join("a.csv"), "n\n1\n").unwrap();
    let pipeline = "trigger = \"once\"\n[[source]]\nname = \"a\"\ntype = \"files\"\npath = \"a.csv\"\nformat = \"csv\"\n\
                    schema = \"n int32\"\n[[sink]]\ntype = \"files\"\nformat = \"arrow\"\npath = \"out\"\nfrom = \"a\"\n";
    fs::write(directory.path().join("p.toml"), pipeline).unwrap();
    let output = run(directory.path(), &["run", "p.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", standard_error(&output));
    let mut written = fs::read_dir(directory.path().join("out")).unwrap().map(|entry| entry.unwrap().path());
    let sound = fs::read(written.find(|path| path.extension().is_some_and(|end| end == "arrow")).unwrap()).unwrap();

    let damaged = directory.path().join("damaged.arrow");
    let options = pelton::formats::FormatOptions::new(pelton::formats::FormatKind::Arrow);
    let panics = |at: &usize| {
        let mut bytes = sound.clone();
        bytes[*at] ^= 0x11;
        fs::write(&damaged, bytes).unwrap();
        // What comes of it is asked of the program below.
        drop(pelton::formats::infer(&options, &damaged));
        HAS_PANICKED.load(Ordering::SeqCst)
    };
    // Should none be found any more: the library has learnt to give errors, and this test can go.
    (0..sound.len()).rev().find(panics).expect("a byte whose change makes the library panic");
    let output = run(directory.path(), &["infer", "damaged.arrow"]);
    assert_eq!(output.status.code(), Some(1));
    let said = standard_error(&output);
    assert!(said.starts_with("error: ") && said.contains("damaged.arrow") && !said.contains("panicked"), "{said}");
}
