//! State that begins with a table: it goes on as if the rows behind the table had come before, and is taken in once.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray};
use pelton::clock::VirtualClock;
use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::prelude::*;

use crate::oracle::{BATCHES, batch, run};
use crate::{Stage, lines, seconds, visits};

fn table(columns: &[(&str, ArrayRef)]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(name, column)| (*name, Arc::clone(column), true)))
        .unwrap()
}

fn texts(texts: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

fn numbers(numbers: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(numbers.to_vec()))
}

/// All aggregates that can begin with their answers, over values that may be missing, and under filters.
fn aggregates() -> Vec<Aggregate> {
    let n = || col("n");
    let some = || when(n().gt(0)).then(n()).otherwise(lit(Scalar::Null)).cast(DataType::Int64);
    vec![
        len().alias("len"),
        some().count().alias("count"),
        some().sum().alias("sum"),
        n().sum().filter(n().gt(10)).alias("large"),
        (n().cast(DataType::Float64) / lit(8.0)).sum().alias("floats"),
        n().cast(DataType::Decimal128(10, 2)).sum().alias("decimals"),
        some().min().alias("least"),
        n().max().alias("most"),
        n().cast(DataType::Decimal128(10, 2)).max().alias("most decimal"),
        col("time").max().alias("newest"),
        col("city").min().alias("least text"),
        n().cast(DataType::Utf8).max().alias("most text"),
        n().first().alias("first"),
        n().last().alias("last"),
        n().gt(0).any().alias("any"),
        n().gt(0).all().alias("all"),
    ]
}

/// Batches of a query that gives all groups each time.
fn answers(describe: impl FnOnce(&DStream) -> DStream, batches: impl Iterator<Item = RecordBatch>) -> Vec<RecordBatch> {
    let clock = VirtualClock::at(seconds(1));
    let context = StreamingContext::builder("all").trigger(Trigger::Manual).clock(clock.clone()).build().unwrap();
    let (queue, source) = QueueSource::new(visits(&[]).schema());
    let sink = MemorySink::new();
    describe(&context.source("visits", source).unwrap()).write(sink.clone()).unwrap();
    let query = context.start().unwrap();
    for rows in batches {
        clock.advance(seconds(1));
        queue.push(vec![rows]).unwrap();
        query.tick().unwrap().unwrap();
    }
    sink.batches().into_iter().map(|(_, rows)| rows).collect()
}

#[test]
fn a_query_that_begins_with_answers_goes_on_as_if_their_rows_had_come() {
    let all = |keyed: KeyedDStream| keyed.output_mode(OutputMode::Complete).running(aggregates());
    for keys in [vec![col("city")], vec![]] {
        for seed in 0..6 {
            let whole = answers(|visits| all(visits.key_by(keys.clone())), (0..BATCHES).map(|one| batch(seed, one)));
            for cut in [1, 3, 7] {
                let begins = whole[cut - 1].clone();
                let rest = |ttl: bool| {
                    let describe = |visits: &DStream| {
                        let keyed = visits.key_by(keys.clone()).initial_state(begins.clone());
                        all(if ttl { keyed.ttl(seconds(1_000)) } else { keyed })
                    };
                    answers(describe, (cut..BATCHES).map(|one| batch(seed, one)))
                };
                assert_eq!(rest(false), whole[cut..], "seed {seed}, from batch {cut}, {} keys", keys.len());
                if !keys.is_empty() {
                    assert_eq!(rest(true), whole[cut..], "seed {seed}, from batch {cut}, with a time to live");
                }
            }
        }
    }
}

#[test]
fn a_table_is_taken_in_once_however_often_a_query_is_started() {
    let known = || table(&[("n", numbers(&[100, 200])), ("city", texts(&["Nowhere", "Rome"]))]);
    let sums: &dyn Fn(&DStream) -> DStream = &|visits| {
        let keyed = visits.key_by([col("city")]).initial_state(known()).output_mode(OutputMode::Complete);
        keyed.running([col("n").sum().alias("n")])
    };
    let closures: &dyn Fn(&DStream) -> DStream = &|visits| {
        let keyed = visits.key_by([col("city")]).initial_state(known()).output_mode(OutputMode::Complete);
        keyed.update_state_by_key([col("n")], |_: &String, n: Vec<i64>, sum: Option<i64>| {
            Some(n.iter().sum::<i64>() + sum.unwrap_or(0))
        })
    };
    for describe in [sums, closures] {
        for seed in 0..3 {
            let mut model: Vec<(String, i64)> = vec![("Nowhere".into(), 100), ("Rome".into(), 200)];
            for batches_a_life in [BATCHES, 1, 5] {
                let answers = run(seed, describe, batches_a_life);
                let mut now = model.clone();
                for (number, answer) in answers.iter().enumerate() {
                    let rows = lines(&batch(seed, number));
                    for row in rows.lines() {
                        let mut words = row.split(' ').skip(1);
                        let (city, n) = (words.next().unwrap(), words.next().unwrap().parse::<i64>().unwrap());
                        match now.iter_mut().find(|one| one.0 == city) {
                            Some(one) => one.1 += n,
                            None => now.push((city.to_owned(), n)),
                        }
                    }
                    let expected = now.iter().map(|(city, n)| format!("{city} {n}")).collect::<Vec<_>>().join("\n");
                    assert_eq!(lines(answer), expected, "seed {seed}, batch {number}, {batches_a_life} batches a life");
                }
                assert_eq!(answers.len(), BATCHES);
            }
            model.clear();
        }
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Seen {
    visits: u64,
    sum: i64,
}

#[test]
fn closures_begin_with_structs_tuples_and_pairs_and_time_is_counted_from_the_first_batch() {
    let known = table(&[("sum", numbers(&[10, 20])), ("visits", numbers(&[1, 2])), ("city", texts(&["a", "b"]))]);
    let stage = Stage::new(|visits| {
        let keyed = visits.key_by([col("city")]).initial_state(known).ttl(seconds(2));
        keyed.map_with_state([col("n")], |_: &String, n: Option<i64>, seen: &mut State<Seen>| {
            let Some(n) = n else { return seen.get().map_or(-1, |seen| -seen.sum) };
            let seen_before = seen.remove().unwrap_or(Seen { visits: 0, sum: 0 });
            seen.set(Seen { visits: seen_before.visits + 1, sum: seen_before.sum + n });
            seen_before.sum + n
        })
    });
    assert_eq!(stage.batch(&[(0, "a", 1), (0, "c", 5)]), "a 11\nc 5");
    assert_eq!(stage.batch(&[(0, "a", 1)]), "a 12");
    assert_eq!(stage.batch(&[(0, "a", 1)]), "a 13\nb -20\nc -5", "two seconds after the first batch");

    let pairs = Stage::new(|visits| {
        let known = [("b".to_owned(), (1_u8, "x".to_owned())), ("a".to_owned(), (2, "y".to_owned()))];
        let keyed = visits.key_by([col("city")]).initial_pairs(known).unwrap();
        keyed.output_mode(OutputMode::Complete).update_state_by_key([], |_: &String, rows: Vec<()>, last| {
            let (count, name): (u8, String) = last.unwrap_or_default();
            Some((count + u8::try_from(rows.len()).unwrap(), name))
        })
    });
    assert_eq!(pairs.batch(&[(0, "a", 1), (0, "c", 1), (0, "a", 1)]), "b 1 x\na 4 y\nc 1 ");
}

fn refused(stream: impl FnOnce(&DStream) -> DStream) -> String {
    let context = StreamingContext::builder("mistakes").trigger(Trigger::Manual).build().unwrap();
    let source = QueueSource::of(visits(&[]).schema(), []).unwrap();
    let stream = stream(&context.source("visits", source).unwrap());
    match stream.write(MemorySink::new()) {
        Err(error) => format!("at once: {error}"),
        Ok(()) => format!("at the start: {}", context.start().unwrap_err()),
    }
}

#[test]
fn a_beginning_that_cannot_be_is_refused_before_the_start() {
    let by_city = |visits: &DStream, table: RecordBatch| visits.key_by([col("city")]).initial_state(table);
    let sums = |table: RecordBatch| {
        refused(|visits| by_city(visits, table).running([col("n").sum().alias("n"), len().alias("len")]))
    };
    let all =
        |cities: &[&str], n: ArrayRef, len: &[i64]| table(&[("city", texts(cities)), ("n", n), ("len", numbers(len))]);
    let said = sums(table(&[("town", texts(&["a"])), ("n", numbers(&[1])), ("len", numbers(&[1]))]));
    assert!(said.starts_with("at once: ") && said.contains("initial state") && said.contains("city"), "{said}");
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
    let said = sums(all(&["a"], floats, &[1]));
    assert!(said.starts_with("at once: ") && said.contains("\"n\"") && said.contains("Float64"), "{said}");
    let said = sums(all(&["a", "b", "a"], numbers(&[1, 2, 3]), &[1, 1, 1]));
    assert!(said.starts_with("at the start: ") && said.contains("a key comes twice: city = a"), "{said}");
    let said = sums(all(&["a"], numbers(&[1]), &[-1]));
    assert!(said.contains("row 0") && said.contains("no count"), "{said}");
    let said =
        refused(|visits| by_city(visits, all(&["a"], numbers(&[1]), &[1])).running([col("n").mean().alias("n")]));
    assert!(said.starts_with("at once: ") && said.contains("sums and counts"), "{said}");
    let said = refused(|visits| {
        let two = table(&[("len", numbers(&[1, 2]))]);
        visits.key_by([]).initial_state(two).running([len().alias("len")])
    });
    assert!(said.contains("one state to begin with, not 2"), "{said}");

    let one = || all(&["a"], numbers(&[1]), &[1]);
    assert!(refused(|visits| by_city(visits, one()).aggregate([len()])).contains("outlives its batch"));
    assert!(refused(|visits| by_city(visits, one()).reduce(col("n"), |a: i64, b| a + b)).contains("outlives"));
    assert!(refused(|visits| by_city(visits, one()).over_batches(seconds(9), None, [len()])).contains("a window"));
    assert!(refused(|visits| by_city(visits, one()).count_window(9, [len()])).contains("a window"));

    let closure = |keyed: KeyedDStream| {
        keyed.update_state_by_key([col("n")], |_: &String, n: Vec<i64>, sum: Option<i64>| {
            Some(n.iter().sum::<i64>() + sum.unwrap_or(0))
        })
    };
    let said = refused(|visits| closure(by_city(visits, table(&[("city", texts(&["a"]))]))));
    assert!(said.starts_with("at once: ") && said.contains("nothing beside them"), "{said}");
    let said = refused(|visits| closure(by_city(visits, table(&[("city", texts(&["a"])), ("sum", texts(&["x"]))]))));
    assert!(said.starts_with("at the start: ") && said.contains("row 0 of the initial state is no i64"), "{said}");
    let pairs = |visits: &DStream| visits.key_by([col("city")]).initial_pairs([("a".to_owned(), 1_i32)]).unwrap();
    let said = refused(|visits| closure(pairs(visits)));
    assert!(said.starts_with("at once: ") && said.contains("i32") && said.contains("i64"), "{said}");
    let said = refused(|visits| closure(visits.key_by([col("city")]).initial_pairs([(1_i64, 1_i64)]).unwrap()));
    assert!(said.contains("keys of the pairs"), "{said}");
    let said = refused(|visits| pairs(visits).running([len().alias("len")]));
    assert!(said.contains("give a table"), "{said}");
}
