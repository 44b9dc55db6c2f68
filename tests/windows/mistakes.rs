//! What means nothing is refused before the start, with the way out.

use pelton::prelude::*;

use crate::{seconds, visits};

fn error(stream: impl FnOnce(&DStream) -> DStream) -> String {
    let context = StreamingContext::builder("mistakes").build().unwrap();
    let source = pelton::connectors::queue::QueueSource::of(visits(&[]).schema(), []).unwrap();
    stream(&context.source("visits", source).unwrap()).schema().unwrap_err().to_string()
}

#[test]
fn output_modes_that_mean_nothing_are_refused() {
    let by_city = |visits: &DStream| visits.key_by([col("city")]);
    let said = error(|visits| by_city(visits).output_mode(OutputMode::Append).running([len()]));
    assert!(said.contains("never is") && said.contains("update or complete"), "{said}");
    let by_time = |visits: &DStream| visits.key_by([window(col("time"), seconds(1))]);
    let said = error(|visits| by_time(visits).output_mode(OutputMode::Append).aggregate([len()]));
    assert!(said.contains("without a watermark") && said.contains("with_watermark"), "{said}");
    let said = error(|visits| by_city(visits).output_mode(OutputMode::Update).over_batches(seconds(1), None, [len()]));
    assert!(said.contains("all its groups"), "{said}");
    let said = error(|visits| by_city(visits).output_mode(OutputMode::Update).aggregate([len()]));
    assert!(said.contains("all come out") && said.contains("use running"), "{said}");
}

#[test]
fn windows_that_cannot_be_are_refused() {
    let key = |key: Expr| error(|visits| visits.key_by([key]).aggregate([len()]));
    assert!(key(window(col("city"), seconds(1))).contains("not a timestamp"));
    assert!(key(window(col("time"), seconds(0))).contains("longer than nothing"));
    assert!(key(window(col("time"), std::time::Duration::from_millis(1))).contains("finer than its time"));
    assert!(key(sliding_window(col("time"), seconds(1), seconds(2))).contains("rows between would be lost"));
    assert!(key(session_window(col("time"), seconds(0))).contains("longer than nothing"));
    assert!(key(session_window(col("city"), seconds(1))).contains("not a timestamp"));
    assert!(key(sliding_window(col("time"), seconds(1), seconds(0))).contains("longer than nothing"));
    let said = error(|visits| visits.select([window(col("time"), seconds(1))]));
    assert!(said.contains("stands among the keys"), "{said}");
    let said = error(|visits| {
        visits.key_by([window(col("time"), seconds(1)), window(col("time"), seconds(2)).alias("w")]).aggregate([len()])
    });
    assert!(said.contains("several windows"), "{said}");
    let said = error(|visits| visits.key_by([window(col("time"), seconds(1))]).running([len()]));
    assert!(said.contains("use aggregate"), "{said}");
}

#[test]
fn windows_of_rows_that_cannot_be_are_refused() {
    let by_city = |visits: &DStream| visits.key_by([col("city")]);
    assert!(error(|visits| by_city(visits).count_window(0, [len()])).contains("at least one row"));
    assert!(error(|visits| by_city(visits).count_window_sliding(3, 0, [len()])).contains("at least one row"));
    assert!(error(|visits| by_city(visits).count_window_sliding(3, 4, [len()])).contains("would be lost"));
    assert!(error(|visits| by_city(visits).count_window(u64::MAX, [len()])).contains("more than a window"));
    assert!(error(|visits| by_city(visits).ttl(seconds(1)).count_window(3, [len()])).contains("how many rows"));
    let said = error(|visits| by_city(visits).output_mode(OutputMode::Update).count_window(3, [len()]));
    assert!(said.contains("comes once"), "{said}");
    let said = error(|visits| visits.key_by([window(col("time"), seconds(1))]).count_window(3, [len()]));
    assert!(said.contains("take the window out"), "{said}");
}

#[test]
fn a_ttl_that_means_nothing_is_refused() {
    let ttl = |keys: Vec<Expr>, make: fn(KeyedDStream) -> DStream| {
        error(move |visits| make(visits.key_by(keys).ttl(seconds(1))))
    };
    assert!(ttl(vec![], |keyed| keyed.running([len()])).contains("one group"));
    assert!(ttl(vec![col("city")], |keyed| keyed.aggregate([len()])).contains("outlives"));
    assert!(ttl(vec![col("city")], |keyed| keyed.over_batches(seconds(9), None, [len()])).contains("size"));
    let window = || window(col("time"), seconds(1));
    assert!(ttl(vec![window()], |keyed| keyed.aggregate([len()])).contains("watermark"));
    assert!(error(|visits| visits.key_by([col("city")]).ttl(seconds(0)).running([len()])).contains("no time"));
}

#[test]
fn watermarks_and_names_that_cannot_be_are_refused() {
    assert!(error(|visits| visits.with_watermark("city", seconds(1))).contains("not a timestamp"));
    assert!(error(|visits| visits.with_watermark("tme", seconds(1))).contains("time"));
    assert!(error(|visits| visits.late_rows(col("time"))).contains("no window"));
    assert!(error(|visits| visits.late_rows(window(col("time"), seconds(1)))).contains("no row is late"));
    let named = |name: &str| error(|visits| visits.key_by([col("city")]).named(name).running([len()]));
    assert!(named("../x").contains("becomes a folder"));
    let said = error(|visits| {
        let first = visits.key_by([col("city")]).named("a").running([col("n").max().alias("n")]);
        first.key_by([col("city")]).named("a").running([len()])
    });
    assert!(said.contains("two operators that keep state are called \"a\""), "{said}");
}
