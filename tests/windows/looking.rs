//! What a running query keeps, seen from outside.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pelton::connectors::queue::QueueSource;
use pelton::prelude::*;

use crate::{Stage, lines, seconds, visits};

#[test]
fn a_running_aggregate_can_be_looked_at_between_batches() {
    let stage = Stage::new(|visits| {
        visits.key_by([col("city")]).named("cities").running([len().alias("visits"), col("n").mean().alias("mean")])
    });
    assert_eq!(stage.query.states(), ["cities"]);
    let cities = stage.query.state("cities").unwrap();
    assert_eq!((cities.len().unwrap(), cities.is_empty().unwrap()), (0, true));
    assert_eq!(lines(&cities.get(["Oslo"]).unwrap()), "");
    stage.batch(&[(0, "Oslo", 1), (0, "Rome", 2), (0, "Oslo", 4)]);
    stage.batch(&[(0, "Lima", 7)]);
    assert_eq!(lines(&cities.scan().unwrap()), "Oslo 2 2.5\nRome 1 2.0\nLima 1 7.0");
    assert_eq!(lines(&cities.get(["Rome"]).unwrap()), "Rome 1 2.0");
    assert_eq!(lines(&cities.get(["Bonn"]).unwrap()), "");
    assert_eq!(cities.len().unwrap(), 3, "looking for a key does not make it");
    assert_eq!(stage.batch(&[(0, "Bonn", 1)]), "Bonn 1 1.0");
    stage.query.stop(StopMode::Graceful);
    stage.query.await_termination().unwrap();
    assert_eq!(cities.scan().unwrap().num_rows(), 4, "what the latest batch left stays to be seen");
}

#[test]
fn keys_are_found_as_groups_are_made() {
    let stage = Stage::new(|visits| {
        let float = when(col("n").gt(5)).then(lit(f64::NAN)).otherwise(col("n") * lit(-0.0));
        let float = when(col("n").eq(3)).then(lit(Scalar::Null)).otherwise(float).cast(DataType::Float64);
        visits.key_by([col("city"), float.alias("float")]).named("both").running([len().alias("visits")])
    });
    let both = stage.query.state("both").unwrap();
    stage.batch(&[(0, "Oslo", 9), (0, "Oslo", 1), (0, "Oslo", 3), (0, "Rome", 9), (0, "Oslo", 8)]);
    let get = |float: Scalar| lines(&both.get([Scalar::from("Oslo"), float]).unwrap());
    assert_eq!(get(Scalar::Float64(-f64::NAN)), "Oslo NaN 2");
    assert_eq!(get(Scalar::Float64(-0.0)), "Oslo 0.0 1");
    assert_eq!(get(Scalar::Null), "Oslo  1");
    let said = |key: Vec<Scalar>| both.get(key).unwrap_err();
    assert_eq!(said(vec!["Oslo".into()]).kind(), ErrorKind::InvalidOption);
    let error = said(vec!["Oslo".into(), "x".into()]);
    assert!(error.kind() == ErrorKind::InvalidOption && error.to_string().contains("\"float\" is Float64"), "{error}");
}

#[test]
fn windows_sessions_and_rows_to_come_can_be_looked_at() {
    type Describe = fn(KeyedDStream) -> DStream;
    let cases: [(&str, Describe, &str); 3] = [
        ("windows-1", |keyed| keyed.aggregate([len().alias("visits")]), "Oslo 0 10 2\nOslo 10 20 1"),
        ("batches-1", |keyed| keyed.over_batches(seconds(5), None, [len().alias("visits")]), "Oslo 3"),
        ("rows-1", |keyed| keyed.count_window(2, [col("n").sum().alias("n")]), "Oslo 4"),
    ];
    for (name, make, expected) in cases {
        let stage = Stage::new(|visits| {
            let visits = visits.with_watermark("time", seconds(50));
            let window = if name == "windows-1" { Some(window(col("time"), seconds(10))) } else { None };
            make(visits.key_by([col("city")].into_iter().chain(window)))
        });
        stage.batch(&[(1, "Oslo", 1), (2, "Rome", 2), (3, "Oslo", 3)]);
        stage.batch(&[(11, "Oslo", 4)]);
        let state = stage.query.state(name).unwrap();
        assert_eq!(lines(&state.get(["Oslo"]).unwrap()), expected, "{name}");
    }
}

#[test]
fn what_functions_remember_can_be_looked_at() {
    let stage = Stage::new(|visits| {
        let keyed = visits.key_by([col("city")]).named("sums").ttl(seconds(2));
        keyed.update_state_by_key([col("n")], |_: &String, numbers: Vec<i64>, sum: Option<i64>| {
            Some(numbers.iter().sum::<i64>() + sum.unwrap_or(0))
        })
    });
    let sums = stage.query.state("sums").unwrap();
    stage.batch(&[(0, "Oslo", 1), (0, "Rome", 2)]);
    stage.batch(&[(0, "Oslo", 4)]);
    let state = |city: &str| {
        let rows = sums.get([city]).unwrap();
        (0..rows.num_rows()).map(|row| Scalar::from_array(rows.column(1), row).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((state("Oslo"), state("Rome"), state("Lima")), (vec!["5".into()], vec!["2".into()], vec![]));
    assert_eq!(sums.scan().unwrap().num_rows(), 2);
}

#[test]
fn names_that_are_not_there_are_told() {
    let stage = Stage::new(|visits| visits.key_by([col("city")]).named("cities").running([len()]));
    let said = stage.query.state("towns").unwrap_err().to_string();
    assert!(said.contains("keeps no \"towns\"") && said.contains("\"cities\""), "{said}");
}

#[test]
fn who_looks_while_a_batch_runs_sees_what_it_left_and_never_its_middle() {
    let context = StreamingContext::builder("whole").trigger(Trigger::Manual).build().unwrap();
    let (queue, source) = QueueSource::new(visits(&[]).schema());
    let totals = context.source("visits", source).unwrap().key_by([col("city")]).named("cities");
    let slow = |_: u64, _: &[RecordBatch]| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        Ok(())
    };
    totals.running([len().alias("visits")]).foreach_batch(slow).unwrap();
    let query = context.start().unwrap();
    let cities = query.state("cities").unwrap();
    let is_done = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (cities, is_done) = (cities.clone(), Arc::clone(&is_done));
        std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !is_done.load(Ordering::SeqCst) {
                seen.push(lines(&cities.scan().unwrap()));
            }
            seen
        })
    };
    for number in 0..30 {
        queue.push(vec![visits(&[(0, "Oslo", number), (0, "Rome", number)])]).unwrap();
        query.tick().unwrap().unwrap();
        assert_eq!(lines(&cities.scan().unwrap()), format!("Oslo {0}\nRome {0}", number + 1));
    }
    is_done.store(true, Ordering::SeqCst);
    for seen in watcher.join().unwrap() {
        let counts = seen.lines().map(|line| line.split(' ').next_back().unwrap()).collect::<Vec<_>>();
        assert!(counts.is_empty() || counts.len() == 2 && counts[0] == counts[1], "{seen:?}");
    }
}

#[test]
fn a_sink_that_looks_is_told_that_it_cannot() {
    let context = StreamingContext::builder("inside").trigger(Trigger::Manual).build().unwrap();
    let (queue, source) = QueueSource::new(visits(&[]).schema());
    let inside: Arc<std::sync::Mutex<Option<StateHandle>>> = Arc::default();
    let handle = Arc::clone(&inside);
    let totals = context.source("visits", source).unwrap().key_by([col("city")]).named("cities").running([len()]);
    totals
        .foreach_batch(move |_, _| {
            let state = handle.lock().unwrap();
            state.as_ref().map_or(Ok(()), |state| state.scan().map(drop))
        })
        .unwrap();
    let query = context.start().unwrap();
    *inside.lock().unwrap() = Some(query.state("cities").unwrap());
    queue.push(vec![visits(&[(0, "Oslo", 1)])]).unwrap();
    let said = query.tick().unwrap_err().to_string();
    assert!(said.contains("in the middle of a batch"), "{said}");
    let cities = query.state("cities").unwrap();
    query.await_termination().unwrap_err();
    assert_eq!(cities.scan().unwrap_err().kind(), ErrorKind::Closed);
}
