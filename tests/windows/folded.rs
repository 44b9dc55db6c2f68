//! Windows over batches by closures: `kernels::fold_windows::reference` for the kernel, Spark's own way for what an inverse makes of the
//! window before, and floats that must not depend on when a query was stopped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray};
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::keep::Moment;
use pelton::kernels::{Backend, Kept, Partial, fold_windows};
use pelton::plan::fold_function::FoldFunction;
use pelton::plan::stage::{End, Registry, Stage as PlanStage};
use pelton::prelude::*;

use crate::common::{Random, assert_batches_equal};
use crate::oracle::{BATCHES, batch, run};
use crate::{Stage, lines, seconds, visits};

/// Puts texts in a row: associative, but not commutative.
fn joined() -> WindowReduce<(String, i64)> {
    WindowReduce::by(|a: (String, i64), b: (String, i64)| (a.0 + &b.0, a.1.max(b.1)))
}

/// Takes the earlier text off the front.
fn joined_with_inverse() -> WindowReduce<(String, i64)> {
    let both = |a: (String, i64), b: (String, i64)| (a.0 + &b.0, a.1 + b.1);
    let inverse = |all: (String, i64), left: (String, i64)| {
        (all.0.strip_prefix(&left.0).expect("the earlier is in front").to_owned(), all.1 - left.1)
    };
    WindowReduce::by(both).inverse(inverse)
}

fn odd_rows(random: &mut Random, rows: usize) -> RecordBatch {
    let floats = [None, Some(f64::NAN), Some(-f64::NAN), Some(0.0), Some(-0.0), Some(1.5)];
    let texts = [None, Some(""), Some("a"), Some("b"), Some("cd")];
    let key: ArrayRef = Arc::new((0..rows).map(|_| random.pick(&floats)).collect::<Float64Array>());
    let text: ArrayRef = Arc::new((0..rows).map(|_| random.pick(&texts)).collect::<StringArray>());
    let n: ArrayRef =
        Arc::new((0..rows).map(|_| Some(i64::try_from(random.below(9)).unwrap())).collect::<Int64Array>());
    RecordBatch::try_from_iter_with_nullable([("key", key, true), ("text", text, true), ("n", n, true)]).unwrap()
}

/// The stage of a window, and its function in a registry of its own.
fn stage(size: u64, slide: Option<u64>, has_keys: bool, reduce: WindowReduce<(String, i64)>) -> (PlanStage, Registry) {
    let context = StreamingContext::builder("plan").build().unwrap();
    let source = pelton::connectors::queue::QueueSource::of(odd_rows(&mut Random::new(0), 0).schema(), []).unwrap();
    let keys = if has_keys { vec![col("key")] } else { vec![] };
    let stream = context.source("rows", source).unwrap();
    let values = [col("text"), col("n")];
    let stream = stream.reduce_by_key_and_window_with(keys, values, seconds(size), slide.map(seconds), reduce.clone());
    let plan = pelton::plan::plan(&[Arc::clone(stream.plan())]).unwrap();
    let stage = plan.stages.into_iter().find(|stage| matches!(stage.end, End::FoldWindows(_))).unwrap();
    let mut registry = Registry::default();
    registry.add_fold_function("joined", Arc::new(reduce));
    (stage, registry)
}

fn restored(mut kept: Box<dyn Kept>, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Box<dyn Kept> {
    kept.restore(snapshot, changes).unwrap();
    kept
}

#[test]
fn the_kernel_gives_what_its_reference_gives() {
    let shapes = [(1, None, true), (3, None, true), (7, Some(2), true), (5, Some(3), false), (40, None, true)];
    for (shape, (size, slide, has_keys)) in shapes.into_iter().enumerate() {
        for seed in 0..4 {
            let mut random = Random::new(seed * 100 + shape as u64);
            let (stage, registry) = stage(size, slide, has_keys, joined());
            let End::FoldWindows(fold) = &stage.end else { panic!("another stage") };
            let prepared = CpuBackend::new().prepare(&stage, &registry).unwrap();
            let mut kept = prepared.keep().unwrap();
            let (mut history, mut saved) = (Vec::new(), Vec::<Vec<RecordBatch>>::new());
            let mut time = 0;
            for number in 0..40_u64 {
                let rows = random.pick(&[0, 0, 1, 5, 12, 64]);
                let all = odd_rows(&mut random, rows);
                let rows = if has_keys { all } else { all.project(&[1, 2]).unwrap() };
                let previous = (number > 0).then(|| seconds(time));
                // Now and then time stands still, or leaps.
                time += random.pick(&[0, 1, 1, 1, 2, 9]);
                let moment = Moment { time: seconds(time), previous, ..Moment::default() };
                history.push((rows.clone(), moment));
                let (came, goes) = (rows.schema(), &stage.output_schema);
                let expected = fold_windows::reference(fold, &joined(), (&came, goes), &history).unwrap();
                let cut = random.below(rows.num_rows() + 1);
                let parts = [rows.slice(0, cut), rows.slice(cut, rows.num_rows() - cut)];
                let partials = parts.map(|part| Partial::Rows(vec![part])).into_iter().collect();
                let answer = kept.absorb(partials, &moment).unwrap().concat();
                assert_batches_equal(&answer[0], &expected);
                if slide.is_none() {
                    assert_batches_equal(&kept.scan().unwrap(), &expected);
                }
                saved.push(kept.changes().unwrap());
                match random.below(4) {
                    0 => kept = restored(prepared.keep().unwrap(), &[], &saved),
                    1 => {
                        let snapshot = kept.snapshot().unwrap();
                        kept = restored(prepared.keep().unwrap(), &snapshot, &[]);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Rows of a batch: city and number.
fn rows(seed: u64, number: usize) -> Vec<(String, i64)> {
    let rows = lines(&batch(seed, number));
    let row = |line: &str| {
        let mut words = line.split(' ').skip(1);
        (words.next().unwrap().to_owned(), words.next().unwrap().parse().unwrap())
    };
    rows.lines().map(row).collect()
}

fn compare(name: &str, describe: impl Fn(&DStream) -> DStream, model: impl Fn(u64) -> Vec<Vec<String>>) {
    for seed in 0..4 {
        let expected = model(seed);
        for batches_a_life in [BATCHES, 1, 5] {
            let answers = run(seed, &describe, batches_a_life);
            assert_eq!(answers.len(), expected.len());
            for (number, (answer, expected)) in answers.iter().zip(&expected).enumerate() {
                let mut given = lines(answer).lines().map(str::to_owned).collect::<Vec<_>>();
                given.sort();
                assert_eq!(given, *expected, "{name}, seed {seed}, batch {number}, {batches_a_life} batches a life");
            }
        }
    }
}

/// What Spark's `ReducedWindowedDStream` does, batch by batch: of the values before, those that left are taken out by the inverse
/// and those that came are added; then the filter looks at all of them.
fn spark(seed: u64, size: usize, keeps: Option<fn(i64) -> bool>) -> Vec<Vec<String>> {
    let sums = |number: usize| {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        rows(seed, number).into_iter().for_each(|(city, n)| *sums.entry(city).or_default() += n);
        sums
    };
    let mut totals: BTreeMap<String, i64> = BTreeMap::new();
    // Since when what is summed counts: a key that was let go of begins anew.
    let mut since: BTreeMap<String, usize> = BTreeMap::new();
    let answer = |number: usize| {
        if let Some(old) = number.checked_sub(size) {
            for (city, n) in sums(old) {
                if since.get(&city).is_some_and(|since| *since <= old) {
                    *totals.get_mut(&city).unwrap() -= n;
                }
            }
        }
        for (city, n) in sums(number) {
            *totals.entry(city.clone()).or_default() += n;
            since.entry(city).or_insert(number);
        }
        if let Some(keeps) = keeps {
            totals.retain(|_, total| keeps(*total));
            since.retain(|city, _| totals.contains_key(city));
        }
        totals.iter().map(|(city, total)| format!("{city} {total}")).collect()
    };
    (0..BATCHES).map(answer).collect()
}

fn sums() -> WindowReduce<i64> {
    WindowReduce::by(|a: i64, b| a + b).inverse(|sum, left| sum - left)
}

#[test]
fn an_inverse_makes_of_the_window_before_what_spark_makes_of_it_in_one_life_or_in_many() {
    for size in [1, 3, 5] {
        let window = |reduce: WindowReduce<i64>| {
            move |visits: &DStream| {
                let size = seconds(size as u64);
                visits.reduce_by_key_and_window_with([col("city")], [col("n")], size, None, reduce.clone())
            }
        };
        compare("all keys stay", window(sums()), |seed| spark(seed, size, None));
        let some = sums().keep_if(|_: &Option<String>, sum: &i64| sum % 3 != 0);
        compare("some keys stay", window(some), |seed| spark(seed, size, Some(|sum| sum % 3 != 0)));
    }
}

#[test]
fn an_inverse_and_none_agree_where_keys_have_rows() {
    for slide in [None, Some(seconds(2))] {
        let window = |reduce: WindowReduce<(String, i64)>| {
            move |visits: &DStream| {
                let values = [col("city"), col("n")];
                let keys = [col("n") % lit(5)];
                visits.reduce_by_key_and_window_with(keys, values, seconds(4), slide, reduce.clone())
            }
        };
        for seed in 0..4 {
            let plain = WindowReduce::by(|a: (String, i64), b: (String, i64)| (a.0 + &b.0, a.1 + b.1));
            let expected = run(seed, window(plain), BATCHES);
            for batches_a_life in [BATCHES, 1, 5] {
                let inverse = joined_with_inverse().keep_if(|_: &i64, all: &(String, i64)| !all.0.is_empty());
                let answers = run(seed, window(inverse), batches_a_life);
                assert_eq!(
                    answers.iter().map(lines).collect::<Vec<_>>(),
                    expected.iter().map(lines).collect::<Vec<_>>()
                );
            }
        }
    }
}

#[test]
fn floats_are_the_same_bit_for_bit_whenever_a_query_was_stopped() {
    let tenths = || col("n").cast(DataType::Float64) / lit(10.0);
    let plain = || WindowReduce::by(|a: f64, b| a + b);
    for reduce in [plain(), plain().inverse(|sum, left| sum - left)] {
        let window = |visits: &DStream| {
            visits.reduce_by_key_and_window_with([col("city")], [tenths()], seconds(5), None, reduce.clone())
        };
        for seed in 0..4 {
            let expected = run(seed, window, BATCHES);
            for batches_a_life in [1, 2, 5] {
                let answers = run(seed, window, batches_a_life);
                assert_eq!(answers.len(), expected.len());
                answers.iter().zip(&expected).for_each(|(one, other)| assert_batches_equal(one, other));
            }
        }
    }
}

#[test]
fn a_window_calls_the_closure_a_few_times_for_each_value_however_long_it_is() {
    let calls = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let stage = Stage::new(|visits| {
        let most = WindowReduce::by(move |a: i64, b: i64| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            a.max(b)
        });
        visits.reduce_by_window_with([col("n")], seconds(100), None, most)
    });
    for number in 0..400 {
        let newest =
            (number - 99..=number).filter(|number| *number >= 0).map(|number| number * 37 % 101).max().unwrap();
        assert_eq!(stage.batch(&[(0, "a", number * 37 % 101)]), newest.to_string());
    }
    let calls = calls.load(std::sync::atomic::Ordering::Relaxed);
    assert!(calls <= 3 * 400, "{calls} calls");
}

#[test]
fn what_cannot_be_is_refused_before_the_start_and_a_panic_names_the_closure() {
    let error = |describe: &dyn Fn(&DStream) -> DStream| {
        let context = StreamingContext::builder("mistakes").build().unwrap();
        let source = pelton::connectors::queue::QueueSource::of(visits(&[]).schema(), []).unwrap();
        describe(&context.source("visits", source).unwrap()).schema().unwrap_err().to_string()
    };
    let by_city = |visits: &DStream| visits.key_by([col("city")]);
    let reduce = |keyed: KeyedDStream, reduce| keyed.reduce_over_batches([col("n")], seconds(3), None, reduce);
    let said = error(&|visits| reduce(by_city(visits).output_mode(OutputMode::Update), sums()));
    assert!(said.contains("output mode") && said.contains("leave it out"), "{said}");
    assert!(error(&|visits| reduce(by_city(visits).ttl(seconds(1)), sums())).contains("a ttl means nothing"));
    let known = visits(&[]);
    assert!(error(&|visits| reduce(by_city(visits).initial_state(known.clone()), sums())).contains("initial state"));
    let said = error(&|visits| reduce(visits.key_by([window(col("time"), seconds(1))]), sums()));
    assert!(said.contains("take the window out"), "{said}");
    let said = error(&|visits| visits.reduce_by_window_with([col("n"), col("n")], seconds(3), None, sums()));
    assert!(said.contains("2 expressions for the value, but the function takes 1"), "{said}");
    let said = error(&|visits| visits.reduce_by_window_with([col("n")], Duration::ZERO, None, sums()));
    assert!(said.contains("longer than nothing"), "{said}");
    let plain = || WindowReduce::by(|a: i64, b| a + b);
    let said = error(&|visits| reduce(by_city(visits), plain().keep_if(|_: &String, _| true)));
    assert!(said.contains("without an inverse"), "{said}");
    let said = error(&|visits| reduce(by_city(visits), sums().keep_if(|_: &(String, i64), _| true)));
    assert!(said.contains("keep_if takes keys"), "{said}");

    let stage = Stage::new(|visits| {
        let unlucky = WindowReduce::by(|a: i64, b| {
            assert!(b != 13, "unlucky");
            a + b
        });
        by_city(visits).named("sums").reduce_over_batches([col("n")], seconds(3), None, unlucky)
    });
    assert_eq!(stage.batch(&[(0, "Oslo", 1)]), "Oslo 1");
    stage.queue.push(vec![visits(&[(1, "Oslo", 13)])]).unwrap();
    stage.clock.advance(seconds(1));
    let error = stage.query.tick().unwrap_err().to_string();
    assert!(error.contains("closure") && error.contains("sums") && error.contains("unlucky"), "{error}");
}

#[test]
fn what_is_kept_can_be_looked_at_and_functions_say_which_keys_they_ask_for() {
    let stage = Stage::new(|visits| {
        let keyed = visits.key_by([col("city")]).named("sums");
        keyed.reduce_over_batches([col("n")], seconds(2), Some(seconds(2)), WindowReduce::by(|a: i64, b| a + b))
    });
    assert_eq!(stage.batch(&[(0, "Oslo", 1), (0, "Rome", 2)]), "");
    let state = stage.query.state("sums").unwrap();
    assert_eq!(lines(&state.scan().unwrap()), "Oslo 1\nRome 2");
    assert_eq!(lines(&state.get(["Rome"]).unwrap()), "Rome 2");
    assert_eq!(stage.batch(&[(0, "Rome", 3)]), "Oslo 1\nRome 5");
    assert_eq!(stage.batch(&[]), "");
    assert_eq!(lines(&state.scan().unwrap()), "Rome 3");
    assert_eq!(sums().asks(), None);
    assert_eq!(sums().keep_if(|_: &(i8, String), _| true).asks(), Some(vec![DataType::Int8, DataType::Utf8]));
}
