//! Joins with a static table by time.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampMillisecondArray, TimestampSecondArray};
use pelton::connectors::queue::QueueSource;
use pelton::kernels::cpu::join_asof::PreparedAsof;
use pelton::kernels::join_asof::reference;
use pelton::plan::asof::AsofJoin;
use pelton::plan::stage::Step;
use pelton::prelude::*;

use crate::random::Random;

const STRATEGIES: [AsofStrategy; 3] = [AsofStrategy::Backward, AsofStrategy::Forward, AsofStrategy::Nearest];

/// Trades and prices with times in different units; many times and keys are equal, some are missing.
fn random_rows(random: &mut Random, rows: usize, is_table: bool) -> RecordBatch {
    let symbols = [None, Some("A"), Some("B"), Some("C")];
    let floats = [None, Some(f64::NAN), Some(0.0), Some(-0.0)];
    let mut second = || (random.below(10) > 0).then(|| i64::try_from(random.below(40)).unwrap());
    let seconds: Vec<Option<i64>> = (0..rows).map(|_| second()).collect();
    let time: ArrayRef = match is_table {
        true => Arc::new(TimestampSecondArray::from(seconds)),
        false => Arc::new(
            seconds.into_iter().map(|time| time.map(|time| time * 1_000)).collect::<TimestampMillisecondArray>(),
        ),
    };
    let symbol: ArrayRef = Arc::new((0..rows).map(|_| symbols[random.below(4)]).collect::<StringArray>());
    let float: ArrayRef = Arc::new((0..rows).map(|_| floats[random.below(4)]).collect::<Float64Array>());
    let row: ArrayRef = Arc::new((0..i64::try_from(rows).unwrap()).collect::<Int64Array>());
    let names = if is_table { ["since", "symbol", "float", "price"] } else { ["traded", "symbol", "float", "row"] };
    let columns = names.into_iter().zip([time, symbol, float, row]).map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// The join as it is planned.
fn planned(
    stream: &RecordBatch,
    table: &RecordBatch,
    on: &[&str],
    strategy: AsofStrategy,
    tolerance: Option<u64>,
) -> AsofJoin {
    let context = StreamingContext::builder("plan").build().unwrap();
    let rows = context.source("rows", QueueSource::of(stream.schema(), []).unwrap()).unwrap();
    let others = if on.contains(&"float") { vec![] } else { vec![col("float").alias("other")] };
    let symbol = if on.contains(&"symbol") { vec![] } else { vec![col("symbol").alias("another")] };
    let kept = ["traded", "row"].into_iter().chain(on.iter().copied()).map(col);
    let rows = rows.select(kept.chain(others).chain(symbol));
    let tolerance = tolerance.map(Duration::from_secs);
    let joined = rows.join_asof(table.clone(), on.iter().copied(), ("traded", "since"), strategy, tolerance).unwrap();
    let plan = pelton::plan::plan(&[Arc::clone(joined.plan())]).unwrap();
    let steps = plan.stages.iter().flat_map(|stage| &stage.steps);
    steps.filter_map(|step| if let Step::JoinAsof(join) = step { Some(join.clone()) } else { None }).next().unwrap()
}

/// The columns of the stream that the plan has left for the join, in its order.
fn arriving(stream: &RecordBatch, join: &AsofJoin) -> RecordBatch {
    let names = join.schema.fields().iter().take(join.schema.fields().len() - join.right_columns.len());
    let old = |name: &str| {
        match name {
            "other" => "float",
            "another" => "symbol",
            name => name,
        }
        .to_owned()
    };
    let columns = names.map(|field| {
        let column = stream.column_by_name(&old(field.name())).unwrap();
        (field.name().as_str(), Arc::clone(column), true)
    });
    RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap()
}

#[test]
fn rows_are_taken_as_the_reference_takes_them() {
    let mut random = Random::new(11);
    for (rows, table_rows) in [(0, 5), (5, 0), (40, 1), (65, 63), (100, 200)] {
        let (stream, table) = (random_rows(&mut random, rows, false), random_rows(&mut random, table_rows, true));
        for on in [&[][..], &["symbol"], &["symbol", "float"]] {
            for strategy in STRATEGIES {
                for tolerance in [None, Some(0), Some(2), Some(1_000_000)] {
                    let join = planned(&stream, &table, on, strategy, tolerance);
                    let batch = arriving(&stream, &join);
                    let prepared = PreparedAsof::prepare(&join, &table).unwrap();
                    let place = format!("{strategy}, {tolerance:?}, on {on:?}, {rows} and {table_rows} rows");
                    assert_eq!(prepared.probe(&batch).unwrap(), reference(&join, &table, &batch).unwrap(), "{place}");
                }
            }
        }
    }
}

/// The example of Polars' documentation: gross domestic products and populations of years.
#[test]
fn each_strategy_takes_another_row() {
    let years = |years: &[i64]| -> ArrayRef { Arc::new(TimestampSecondArray::from(years.to_vec())) };
    let gdp: ArrayRef = Arc::new(Int64Array::from(vec![4164, 4411, 4566, 4696, 4827]));
    let population: ArrayRef = Arc::new(Float64Array::from(vec![82.19, 82.66, 83.12]));
    let table = RecordBatch::try_from_iter([
        ("date", years(&[20160101, 20170101, 20180101, 20190101, 20200101])),
        ("gdp", gdp),
    ]);
    let rows =
        RecordBatch::try_from_iter([("date", years(&[20160301, 20180801, 20190101])), ("population", population)]);
    let (table, rows) = (table.unwrap(), rows.unwrap());
    for (strategy, expected) in [
        (AsofStrategy::Backward, [4164, 4566, 4696]),
        (AsofStrategy::Forward, [4411, 4696, 4696]),
        (AsofStrategy::Nearest, [4164, 4566, 4696]),
    ] {
        let context = StreamingContext::builder("gdp").trigger(Trigger::AvailableNow).build().unwrap();
        let source = QueueSource::of(rows.schema(), [rows.clone()]).unwrap();
        let sink = pelton::connectors::memory::MemorySink::new();
        let stream = context.source("population", source).unwrap();
        let joined = stream.join_asof(table.clone(), [""; 0], ("date", "date"), strategy, None).unwrap();
        joined.write(sink.clone()).unwrap();
        context.start().unwrap().await_termination().unwrap();
        let answer = sink.rows().unwrap().unwrap();
        let names: Vec<String> = answer.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["date", "population", "gdp"]);
        assert_eq!(answer.column(2).as_ref(), &Int64Array::from(expected.to_vec()), "{strategy}");
    }
}

#[test]
fn joins_that_cannot_be_are_refused() {
    let mut random = Random::new(1);
    let (stream, table) = (random_rows(&mut random, 3, false), random_rows(&mut random, 3, true));
    let error = |on: &[&str], times: (&str, &str), tolerance: Option<Duration>| {
        let context = StreamingContext::builder("mistakes").build().unwrap();
        let rows = context.source("rows", QueueSource::of(stream.schema(), []).unwrap()).unwrap();
        let rows = rows.select([col("traded"), col("row"), col("symbol").alias("name")]);
        let on = on.iter().map(|&name| (name, "symbol")).collect::<Vec<_>>();
        rows.join_asof(table.clone(), on, times, AsofStrategy::Backward, tolerance).unwrap_err().to_string()
    };
    assert!(error(&["row"], ("traded", "since"), None).contains("cast one of them"));
    assert!(error(&["nmae"], ("traded", "since"), None).contains("name"));
    assert!(error(&["name"], ("row", "since"), None).contains("not a timestamp"));
    assert!(error(&["name"], ("traded", "price"), None).contains("not a timestamp"));
    assert!(error(&["name"], ("traded", "since"), Some(Duration::from_micros(1))).contains("finer than the times"));
}
