//! Stages are plain data: a plan written as JSON is the same plan when it is read.

use std::sync::Arc;

use pelton::connectors::queue::QueueSource;
use pelton::plan::{QueryPlan, plan};
use pelton::prelude::*;

use crate::common::Random;
use crate::random::{schema, tree};

fn stream() -> (StreamingContext, DStream) {
    let context = StreamingContext::builder("plan").build().unwrap();
    let stream = context.source("rows", QueueSource::new(schema()).1).unwrap();
    (context, stream)
}

#[track_caller]
fn assert_makes_the_round_trip(streams: &[&DStream]) {
    let plans = streams.iter().map(|stream| Arc::clone(stream.plan())).collect::<Vec<_>>();
    let there = plan(&plans).unwrap();
    let text = serde_json::to_string(&there).unwrap();
    let back: QueryPlan = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
    assert_eq!(format!("{back:?}"), format!("{there:?}"), "{text}");
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
}

#[test]
fn plans_of_random_chains_make_the_round_trip_through_json() {
    for seed in 0..500 {
        let (_context, stream) = stream();
        let [left, right] = tree(&mut Random::new(seed), &stream);
        assert_makes_the_round_trip(&[&left, &right]);
    }
}

#[test]
fn what_json_has_no_numbers_for_makes_the_round_trip() {
    let (_context, stream) = stream();
    let numbers = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.1 + 0.2, 5e-324, f64::MAX];
    for number in numbers {
        assert_makes_the_round_trip(&[&stream.filter(col("f").eq(lit(number)))]);
    }
    for number in [i64::MIN, i64::MAX] {
        assert_makes_the_round_trip(&[&stream.filter(col("k").eq(lit(number)))]);
    }
    assert_makes_the_round_trip(&[&stream.filter(col("d").lt(lit(u64::MAX)))]);
    // Shares whose shortest texts are long.
    let mut random = Random::new(1);
    for _ in 0..2000 {
        let share = random.share() * random.share();
        assert_makes_the_round_trip(&[&stream.aggregate([col("f").quantile(share)])]);
    }
}

#[test]
fn closures_and_tables_are_names_in_a_plan() {
    let (_context, stream) = stream();
    let mapped = stream.map_batches(schema(), |batch| Ok(batch.clone()));
    let reduced = mapped.key_by([col("t")]).reduce(col("n"), |a: i64, b: i64| a.min(b));
    assert_makes_the_round_trip(&[&mapped.cache(), &reduced]);
}
