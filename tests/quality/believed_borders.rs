//! Nothing of a false reading is left: a CSV file is cut where a line ends in quotes, what follows looks like rows, bad
//! records and broken rules, and the query does as if it had been cut between records.

use std::sync::Arc;

use pelton::checkpoint::{CheckpointOptions, FolderStore};
use pelton::connectors::directory::DirectorySource;
use pelton::runtime::CheckpointPlace;

use super::*;

/// Three splits of plain rows, then rows of which most of the text is in quotes, with every kind of line in it.
fn text(bad: &str, quoted: &str) -> String {
    let plain: String = (0..20).map(|n| format!("Oslo,{n}\n")).collect();
    let inner = |n: usize| format!("\"Bonn,{n}\nRome,7\n{quoted}Lima,-5\n\"\"two\"\",\n\",{n}\nOslo,{n}\n{bad}");
    format!("city,n\n{plain}{}", (0..50).map(inner).collect::<String>())
}

/// What a query over a file gives and tells.
#[derive(Debug, PartialEq)]
struct Ran {
    good: Vec<String>,
    counts: Vec<String>,
    aside: Vec<String>,
    told: String,
}

struct Way<'a> {
    partitions: usize,
    split_bytes: u64,
    policy: BadRecordPolicy,
    verdict: fn(Rule) -> Rule,
    has_quarantine: bool,
    /// A checkpoint, and a file while which is there the sink fails.
    folder: Option<&'a Path>,
}

impl Way<'_> {
    /// What came of it, and whether it was read again.
    fn run(&self, input: &Path) -> Result<(Ran, bool)> {
        let mut builder =
            StreamingContext::builder("visits").trigger(Trigger::AvailableNow).partitions(self.partitions);
        if let Some(folder) = self.folder {
            let store = Arc::new(FolderStore::new(folder.join("checkpoint")).sync(false));
            builder = builder.checkpoint_at(CheckpointPlace { store, options: CheckpointOptions::default() });
        }
        let context = builder.build()?;
        let (good, counts, aside) = (MemorySink::new(), MemorySink::new(), MemorySink::new());
        if self.has_quarantine {
            context.quarantine(aside.clone())?;
        }
        let format = visits().with_policy(self.policy).build(None)?;
        let source = DirectorySource::new(input, format)?.split_bytes(self.split_bytes);
        let stream = context.source("visits", source)?;
        context.profile("visits", None)?;
        let rule = (self.verdict)(Rule::between("n", 0, 50));
        let valid = stream.validate([rule, Rule::length("city", 1, 9)]);
        let running = valid.key_by([col("city")]).running([len().alias("rows"), col("n").sum().alias("sum")]);
        running.write(counts.clone())?;
        match self.folder {
            Some(folder) if folder.join("fails").exists() => {
                let fails = |_: u64, _: &[RecordBatch]| Err(Error::new(ErrorKind::Connector, "the sink fails"));
                valid.write(pelton::connectors::for_each::ForEachSink::new(fails))?;
            }
            _ => valid.write(good.clone())?,
        };
        let query = context.start()?;
        let totals = query.await_termination()?;
        let progress = query.progress();
        let rules: Vec<_> = progress.iter().flat_map(|batch| &batch.rules).map(|rule| rule.broken).collect();
        let flows: Vec<_> = progress.iter().flat_map(|batch| batch.stages.iter().map(|stage| stage.flow)).collect();
        let places = progress.iter().flat_map(|batch| &batch.bad_records).map(|bad| without_line(bad));
        let told = format!(
            "{:?} {rules:?} {flows:?} {:?} {:?}",
            (totals.rows_in, totals.bytes_in, totals.rows_out, totals.dropped, totals.nulled, totals.quarantined),
            places.collect::<Vec<_>>(),
            query.profiles()?
        );
        let aside = lines(&aside).iter().map(|line| without_line(line)).collect();
        let ran = Ran { good: lines(&good), counts: lines(&counts), aside, told };
        Ok((ran, progress.iter().any(|batch| batch.read_again)))
    }
}

/// Only the reader of a file's first part knows lines.
fn without_line(told: &str) -> String {
    let pattern = regex::Regex::new(r#", line \d+|"line":\d+,"#).unwrap();
    pattern.replace(told, "").into_owned()
}

/// Reads a file in every way and compares with a reader that has it all. Gives how often it was read again.
fn compare(text: &str, policy: BadRecordPolicy, verdict: fn(Rule) -> Rule, has_quarantine: bool) -> usize {
    let input = tempfile::tempdir().unwrap();
    fs::write(input.path().join("a.csv"), text).unwrap();
    let run = |partitions, split_bytes| {
        let way = Way { partitions, split_bytes, policy, verdict, has_quarantine, folder: None };
        way.run(input.path()).map_err(|error| without_line(&error.to_string()))
    };
    let expected = run(1, u64::MAX).map(|(ran, read_again)| {
        assert!(!read_again, "there is one part");
        ran
    });
    let mut again = 0;
    for partitions in [2, 3, 5, 7, 16] {
        for split_bytes in [40, 33] {
            let ran = run(partitions, split_bytes).map(|(ran, read_again)| {
                again += usize::from(read_again);
                ran
            });
            assert_eq!(ran, expected, "{partitions} parts of {split_bytes} bytes");
        }
    }
    again
}

#[test]
fn rows_bad_records_and_broken_rules_are_those_of_the_file() {
    let keeps: fn(Rule) -> Rule = |rule| rule;
    let bad = "Rome,two\nLima,-9\nBonn\n";
    for policy in [BadRecordPolicy::Drop, BadRecordPolicy::Null, BadRecordPolicy::Quarantine] {
        assert!(compare(&text(bad, "a,b\n1,2,3\n"), policy, Rule::or_quarantine, true) > 3, "{policy:?}");
    }
    assert!(compare(&text(bad, ""), BadRecordPolicy::Drop, keeps, false) > 3);
    assert!(compare(&text(bad, ""), BadRecordPolicy::Drop, Rule::or_drop, false) > 3);
}

/// Under the policy `fail` a bad record that only a false reading sees does not stop the query, and neither does a row that
/// only it takes for one that must not be.
#[test]
fn what_only_a_false_reading_sees_fails_nothing() {
    for quoted in ["", "a,b\n1,2,3\n"] {
        assert!(compare(&text("", quoted), BadRecordPolicy::Fail, Rule::or_fail, false) > 3);
    }
}

/// The error is the first one of the file, whether it stands before or behind a false border.
#[test]
fn the_error_is_that_of_the_file() {
    for bad_row in [0, 5, 31, 49] {
        for bad in ["Rome,two\n", "Bonn\n", "Rome,51\n"] {
            let mut rows = 0;
            let mut text: String = text("@\n", "a,b\n");
            while let Some(at) = text.find("@\n") {
                text.replace_range(at..at + 2, if rows == bad_row { bad } else { "" });
                rows += 1;
            }
            for has_quarantine in [false, true] {
                assert_eq!(compare(&text, BadRecordPolicy::Fail, Rule::or_fail, has_quarantine), 0, "{bad_row} {bad}");
            }
        }
    }
}

/// A plain file is read once, and the same.
#[test]
fn what_is_believed_of_a_file_without_line_ends_in_quotes_is_true() {
    let records = |n: usize| format!("\"Bonn, {n}\",{n}\n\"\"\"two\"\"\",{n}\nRome,two\n\"Lima\",-9\nBonn\n");
    let text = format!("city,n\n{}", (0..60).map(records).collect::<String>());
    assert_eq!(compare(&text, BadRecordPolicy::Quarantine, Rule::or_quarantine, true), 0);
}

/// What was read, by its checksum, is the same for another life with other parts.
#[test]
fn a_batch_runs_again_after_a_death_with_any_parts() {
    let input = tempfile::tempdir().unwrap();
    fs::write(input.path().join("a.csv"), text("Rome,two\n", "a,b\n")).unwrap();
    let run = |partitions: usize, folder: Option<&Path>| {
        let (policy, verdict) = (BadRecordPolicy::Drop, Rule::or_drop as fn(Rule) -> Rule);
        Way { partitions, split_bytes: 40, policy, verdict, has_quarantine: false, folder }.run(input.path())
    };
    let (expected, _) = run(1, None).unwrap();
    for (before, after) in [(1, 4), (4, 1), (3, 7), (7, 2), (2, 2)] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("fails"), "").unwrap();
        let died = run(before, Some(folder.path())).unwrap_err();
        assert_eq!(died.kind(), ErrorKind::Connector, "{died}");
        fs::remove_file(folder.path().join("fails")).unwrap();
        let (ran, read_again) = run(after, Some(folder.path())).unwrap();
        assert_eq!(ran, expected, "{before} parts, then {after}");
        assert_eq!(read_again, after > 1);
    }
}
