//! Rules through whole queries: what becomes of rows that break them, and what is counted.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use pelton::connectors::queue::QueueSource;
use pelton::runtime::Totals;

use super::*;

/// `city` and `n`, some null.
fn batch(rows: &[(Option<&str>, Option<i64>)]) -> RecordBatch {
    let cities: ArrayRef = Arc::new(rows.iter().map(|(city, _)| *city).collect::<StringArray>());
    let numbers: ArrayRef = Arc::new(rows.iter().map(|(_, n)| *n).collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([("city", cities, true), ("n", numbers, true)]).unwrap()
}

fn some_rows() -> RecordBatch {
    batch(&[
        (Some("Oslo"), Some(1)),
        (Some("Rome"), Some(-2)),
        (None, Some(3)),
        (Some("Bonn"), None),
        (Some("x"), Some(-5)),
    ])
}

struct Ran {
    good: Vec<String>,
    aside: Vec<String>,
    totals: Totals,
    progress: Vec<Progress>,
}

/// Runs batches through a stream, each in a micro-batch of its own.
fn run_with(
    batches: &[RecordBatch],
    partitions: usize,
    describe: impl Fn(&DStream) -> DStream,
    most: BadRecordsMax,
) -> Result<Ran> {
    let builder = StreamingContext::builder("visits").trigger(Trigger::AvailableNow).partitions(partitions);
    let context = builder.bad_records_max(most).build()?;
    let (good, aside) = (MemorySink::new(), MemorySink::new());
    context.quarantine(aside.clone())?;
    let (queue, source) = QueueSource::new(batches[0].schema());
    batches.iter().try_for_each(|batch| queue.push(vec![batch.clone()]))?;
    queue.close();
    describe(&context.source("visits", source)?).write(good.clone())?;
    let query = context.start()?;
    let totals = query.await_termination()?;
    Ok(Ran { good: lines(&good), aside: lines(&aside), totals, progress: query.progress() })
}

fn run(batches: &[RecordBatch], describe: impl Fn(&DStream) -> DStream) -> Result<Ran> {
    run_with(batches, 1, describe, BadRecordsMax::default())
}

/// Name and count of each rule in the first batch.
fn counts(ran: &Ran) -> Vec<(String, u64)> {
    ran.progress[0].rules.iter().map(|rule| (rule.name.to_string(), rule.broken)).collect()
}

#[test]
fn each_verdict_does_what_it_says_and_every_rule_counts_every_row() {
    let ran = run(&[some_rows()], |visits| {
        visits.validate([
            Rule::not_null(["city"]).or_quarantine().named("city"),
            Rule::between("n", 0, 10).or_drop(),
            Rule::length("city", 2, 10).or_quarantine(),
            Rule::one_of("city", ["Oslo", "Bonn"]),
            Rule::matches("city", "^[A-Z]"),
            Rule::holds(col("n").gt(100).or(col("n").lt(100))).or_fail(),
        ])
    })
    .unwrap();
    assert_eq!(ran.good, [r#"{"city":"Oslo","n":1}"#, r#"{"city":"Bonn"}"#], "null is not out of range");
    assert_eq!(
        ran.aside,
        [
            r#"{"batch":0,"rule":"city","reason":"the row breaks the rule \"city\"","record":"{\"city\":null,\"n\":3}"}"#,
            r#"{"batch":0,"rule":"length(city) >= 2 AND length(city) <= 10","reason":"the row breaks the rule \"length(city) >= 2 AND length(city) <= 10\"","record":"{\"city\":\"x\",\"n\":-5}"}"#,
        ]
    );
    let expected = [1, 2, 1, 2, 1, 0];
    assert_eq!(counts(&ran).iter().map(|(_, broken)| *broken).collect::<Vec<_>>(), expected, "{:?}", counts(&ran));
    assert_eq!((ran.totals.rows_in, ran.totals.rows_out, ran.totals.rejected, ran.totals.quarantined), (5, 2, 1, 2));
    assert_eq!(ran.progress[0].rules[1].verdict, Verdict::Drop);
}

#[test]
fn a_row_that_must_not_be_stops_the_query_and_is_shown() {
    let fails = |visits: &DStream| visits.validate([Rule::holds(col("n").gt(-3)).named("positive").or_fail()]);
    let error = run(&[some_rows()], fails).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRecord);
    assert!(error.to_string().contains("a row breaks the rule \"positive\": city = x, n = -5"), "{error}");
    let wider = |visits: &DStream| visits.validate([Rule::holds(col("n").gt(-6)).or_fail()]);
    assert_eq!(run(&[some_rows()], wider).unwrap().good.len(), 5);
}

#[test]
fn a_foreign_key_must_be_found_and_null_is_not_looked_for() {
    let cities: ArrayRef = Arc::new(StringArray::from(vec![Some("Oslo"), Some("Rome"), Some("Oslo"), None]));
    let table = RecordBatch::try_from_iter_with_nullable([("name", cities, true)]).unwrap();
    let ran = run(&[some_rows()], |visits| {
        visits.validate([Rule::found_in(StaticTable::new("cities", table.clone()), [("city", "name")]).or_drop()])
    })
    .unwrap();
    assert_eq!(counts(&ran), [("city in cities".to_owned(), 2)]);
    assert_eq!(ran.good, [r#"{"city":"Oslo","n":1}"#, r#"{"city":"Rome","n":-2}"#, r#"{"n":3}"#]);
}

#[test]
fn rows_are_counted_and_kept_once_however_many_branches_use_them() {
    let context = StreamingContext::builder("visits").trigger(Trigger::AvailableNow).build().unwrap();
    let aside = MemorySink::new();
    context.quarantine(aside.clone()).unwrap();
    let (queue, source) = QueueSource::new(some_rows().schema());
    queue.push(vec![some_rows()]).unwrap();
    queue.close();
    let visits = context.source("visits", source).unwrap();
    let valid = visits.validate([Rule::not_null(["city"]).or_quarantine()]);
    let (all, few, counted) = (MemorySink::new(), MemorySink::new(), MemorySink::new());
    valid.write(all.clone()).unwrap();
    let big = valid.filter(col("n").gt(0));
    big.select([col("n")]).write(few.clone()).unwrap();
    big.key_by([]).aggregate([len().alias("rows")]).write(counted.clone()).unwrap();
    let query = context.start().unwrap();
    let totals = query.await_termination().unwrap();
    assert_eq!((totals.quarantined, query.progress()[0].rules[0].broken), (1, 1));
    assert_eq!(lines(&aside).len(), 1);
    assert_eq!(lines(&all).len(), 4);
    assert_eq!((lines(&few), lines(&counted)), (vec![r#"{"n":1}"#.to_owned()], vec![r#"{"rows":1}"#.to_owned()]));
}

#[test]
fn a_filter_stays_behind_the_rules_and_columns_that_only_rules_read_are_there() {
    let ran = run(&[some_rows()], |visits| {
        let valid = visits.validate([Rule::holds(col("n").gt_eq(0)), Rule::not_null(["city"]).or_drop()]);
        valid.filter(col("city").not_eq("Oslo")).select([col("city")])
    })
    .unwrap();
    assert_eq!(ran.good, [r#"{"city":"Rome"}"#, r#"{"city":"Bonn"}"#, r#"{"city":"x"}"#]);
    assert_eq!(counts(&ran).iter().map(|(_, broken)| *broken).collect::<Vec<_>>(), [2, 1]);
    // What is kept of a row is all of it, though nothing else needs the column.
    let kept = run(&[some_rows()], |visits| {
        visits.validate([Rule::not_null(["city"]).or_quarantine()]).key_by([]).aggregate([len().alias("rows")])
    })
    .unwrap();
    assert!(kept.aside[0].contains(r#"{\"city\":null,\"n\":3}"#), "{:?}", kept.aside);
}

/// The rows of each batch are one list of this.
type Rows<'a> = [(Option<&'a str>, Option<i64>)];

#[test]
fn of_rows_with_one_key_the_first_that_other_rules_let_through_keeps_it_over_all_batches() {
    let first: &Rows<'_> =
        &[(Some("Oslo"), Some(-1)), (Some("Oslo"), Some(1)), (None, Some(2)), (Some("Oslo"), Some(3))];
    let second: &Rows<'_> =
        &[(None, Some(4)), (Some("Rome"), Some(5)), (Some("Oslo"), Some(6)), (Some("Rome"), Some(7))];
    let batches = [batch(first), batch(second)];
    let judged = |verdict: Verdict| {
        run(&batches, |visits| {
            let once = Rule::unique(["city"]).verdict(verdict);
            visits.validate([once, Rule::holds(col("n").gt_eq(0)).named("n").or_drop()])
        })
    };
    let broken = |ran: &Ran| {
        let of_batch = |progress: &Progress| progress.rules.iter().map(|rule| rule.broken).collect::<Vec<_>>();
        ran.progress.iter().map(of_batch).collect::<Vec<_>>()
    };
    let ran = judged(Verdict::Drop).unwrap();
    let good = [r#"{"city":"Oslo","n":1}"#, r#"{"n":2}"#, r#"{"n":4}"#, r#"{"city":"Rome","n":5}"#];
    assert_eq!(ran.good, good, "null breaks nothing");
    assert_eq!(counts(&ran)[0].0, "unique city");
    assert_eq!(broken(&ran), [[1, 1], [2, 0]]);
    assert_eq!((ran.totals.rejected, ran.totals.quarantined, ran.totals.rows_out), (4, 0, 4));
    let ran = judged(Verdict::Keep).unwrap();
    assert_eq!((ran.good.len(), broken(&ran), ran.totals.rejected), (7, vec![vec![1, 1], vec![2, 0]], 1));
    let ran = judged(Verdict::Quarantine).unwrap();
    assert_eq!(ran.good, good);
    assert_eq!((ran.totals.quarantined, ran.totals.rejected), (3, 1));
    assert_eq!(ran.aside.len(), 3);
    let kept = r#"{"batch":1,"rule":"unique city","reason":"the row breaks the rule \"unique city\"","record":"{\"city\":\"Oslo\",\"n\":6}"}"#;
    assert_eq!(ran.aside[1], kept);
    let error = judged(Verdict::Fail).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRecord);
    assert!(error.to_string().contains("\"unique city\": city = Oslo, n = 3"), "{error}");
}

#[test]
fn several_keys_that_may_come_once_look_one_after_the_other_and_branches_count_once() {
    let context = StreamingContext::builder("visits").trigger(Trigger::AvailableNow).build().unwrap();
    let aside = MemorySink::new();
    context.quarantine(aside.clone()).unwrap();
    let rows: &Rows<'_> = &[(Some("a"), Some(1)), (Some("a"), Some(2)), (Some("b"), Some(2)), (Some("c"), Some(1))];
    let (queue, source) = QueueSource::new(batch(rows).schema());
    queue.push(vec![batch(rows)]).unwrap();
    queue.close();
    let rules = [Rule::unique(["city"]).or_quarantine(), Rule::unique(["n"]).or_drop(), Rule::unique([""; 0])];
    let valid = context.source("visits", source).unwrap().validate(rules);
    let (all, few) = (MemorySink::new(), MemorySink::new());
    valid.write(all.clone()).unwrap();
    valid.filter(col("n").gt(1)).select([col("city")]).write(few.clone()).unwrap();
    let query = context.start().unwrap();
    let totals = query.await_termination().unwrap();
    let counted = query.progress()[0].rules.iter().map(|rule| (rule.name.to_string(), rule.broken)).collect::<Vec<_>>();
    let named = |name: &str, rows| (name.to_owned(), rows);
    assert_eq!(counted, [named("unique city", 1), named("unique n", 1), named("unique", 0)]);
    assert_eq!((totals.quarantined, totals.rejected), (1, 1));
    assert_eq!(lines(&all), [r#"{"city":"a","n":1}"#, r#"{"city":"b","n":2}"#]);
    assert_eq!((lines(&few), lines(&aside).len()), (vec![r#"{"city":"b"}"#.to_owned()], 1));
}

#[test]
fn what_is_kept_of_a_duplicate_is_all_of_it_and_too_many_of_them_stop_the_query() {
    let rows: &Rows<'_> = &[(Some("a"), Some(1)), (Some("a"), Some(2)), (Some("a"), Some(3))];
    let describe = |visits: &DStream| visits.validate([Rule::unique(["city"]).or_quarantine()]).select([col("city")]);
    let ran = run(&[batch(rows)], describe).unwrap();
    assert!(ran.aside[0].contains(r#"{\"city\":\"a\",\"n\":2}"#), "{:?}", ran.aside);
    let most = BadRecordsMax { records: Some(1), share: None };
    let error = run_with(&[batch(rows)], 1, describe, most).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("2 rows break the rule \"unique city\""), "{error}");
    let mistake =
        |rules: Vec<Rule>| run(&[batch(rows)], |visits| visits.validate(rules.clone())).map(|_| ()).unwrap_err();
    assert!(mistake(vec![Rule::unique(["cty"])]).to_string().contains("city"));
    let twice = mistake(vec![Rule::unique(["city"]), Rule::unique(["city"])]);
    assert!(twice.to_string().contains("two rules \"unique city\""), "{twice}");
}

#[test]
fn counts_and_quarantine_do_not_depend_on_cuts_and_partitions() {
    let rows = |row: usize| {
        let city = ["Oslo", "Rome", "x", "Bonn"][row % 4];
        (
            (!row.is_multiple_of(7)).then_some(city),
            (!row.is_multiple_of(5)).then_some(i64::try_from(row % 11).unwrap() - 3),
        )
    };
    let all = (0..40_000).map(rows).collect::<Vec<_>>();
    let whole = batch(&all);
    let describe = |visits: &DStream| {
        visits
            .validate([
                Rule::not_null(["city"]).or_quarantine(),
                Rule::holds(col("n").gt_eq(0)).or_drop(),
                Rule::length("city", 2, 9),
                Rule::unique(["city", "n"]),
            ])
            .key_by([col("city")])
            .aggregate([len().alias("rows"), col("n").sum().alias("n")])
    };
    let ran =
        |partitions| run_with(std::slice::from_ref(&whole), partitions, describe, BadRecordsMax::default()).unwrap();
    let expected = ran(1);
    assert_eq!(expected.totals.quarantined, 40_000_u64.div_ceil(7));
    for partitions in [2, 3, 8] {
        let ran = ran(partitions);
        assert_eq!((&ran.good, counts(&ran)), (&expected.good, counts(&expected)), "{partitions}");
        assert_eq!(ran.aside, expected.aside, "{partitions}");
    }
}

#[test]
fn rows_that_rules_leave_out_count_as_bad() {
    let drop = |visits: &DStream| visits.validate([Rule::holds(col("n").gt_eq(0)).named("sign").or_drop()]);
    let most = |records| BadRecordsMax { records: Some(records), share: None };
    assert_eq!(run_with(&[some_rows()], 1, drop, most(2)).unwrap().totals.rejected, 2);
    let error = run_with(&[some_rows()], 1, drop, most(1)).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("2 of 5 records of the batch are bad"), "{error}");
    assert!(error.contains("2 rows break the rule \"sign\""), "{error}");
}

#[test]
fn mistakes_in_rules_are_found_before_the_start() {
    let said = |rules: Vec<Rule>| run(&[some_rows()], |visits| visits.validate(rules.clone())).map(|_| ()).unwrap_err();
    let refused = |rules: Vec<Rule>, says: &str| {
        let error = said(rules);
        assert_eq!(error.kind(), ErrorKind::InvalidQuery);
        assert!(error.to_string().contains(says), "{error}");
    };
    refused(vec![], "at least one rule");
    refused(vec![Rule::not_null(["town"])], "town");
    refused(vec![Rule::holds(col("n") + 1)], "not Boolean");
    refused(vec![Rule::not_null(["n"]), Rule::not_null(["n"]).or_drop()], "two rules");
    refused(vec![Rule::found_in(StaticTable::new("t", some_rows()), [("city", "n")])], "cast one of them");
    let context = StreamingContext::builder("visits").build().unwrap();
    let (_queue, source) = QueueSource::new(some_rows().schema());
    let visits = context.source("visits", source).unwrap();
    visits.validate([Rule::not_null(["n"]).or_quarantine()]).print(0).unwrap();
    assert!(context.start().unwrap_err().to_string().contains("a rule puts records in quarantine"));
}
