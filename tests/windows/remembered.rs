//! Closures over what they remember of each key: `kernels::map_state::reference` for the kernel, and models of a few lines
//! for what users write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::keep::Moment;
use pelton::kernels::{Backend, Kept, Partial, map_state};
use pelton::plan::stage::{End, Registry};
use pelton::plan::state_function::{KeyAnswers, KeyCalls, StateAfter, StateFunction};
use pelton::prelude::*;

use crate::common::Random;
use crate::oracle::{BATCHES, batch, run};
use crate::{Stage, lines, seconds, visits};

type Visit = (Option<i64>, String, i64);

fn rows(seed: u64, number: usize) -> Vec<Visit> {
    let rows = batch(seed, number);
    let times = arrow_cast::cast(rows.column(0), &DataType::Int64).unwrap();
    let (times, numbers) = (times.as_primitive::<Int64Type>(), rows.column(2).as_primitive::<Int64Type>());
    let cities = rows.column(1).as_string::<i32>();
    let row = |row| (times.is_valid(row).then(|| times.value(row)), cities.value(row).to_owned(), numbers.value(row));
    (0..rows.num_rows()).map(row).collect()
}

/// Compares a query with what a model gives for each batch, in one life and in many.
fn compare(name: &str, describe: impl Fn(&DStream) -> DStream, model: impl Fn(u64) -> Vec<Vec<String>>) {
    for seed in 0..4 {
        let expected = model(seed);
        for batches_a_life in [BATCHES, 1, 5] {
            let answers = run(seed, &describe, batches_a_life);
            for (number, (answer, expected)) in answers.iter().zip(&expected).enumerate() {
                let place = format!("{name}, seed {seed}, batch {number}, {batches_a_life} batches a life");
                assert_eq!(lines(answer), expected.join("\n"), "{place}");
            }
            assert_eq!(answers.len(), expected.len());
        }
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Seen {
    visits: u64,
    sum: i64,
}

#[test]
fn a_row_for_each_row_and_one_more_when_time_is_over() {
    let describe = |visits: &DStream| {
        let keyed = visits.key_by([col("city")]).ttl(seconds(3));
        keyed.map_with_state([col("n")], |_: &Option<String>, n: Option<i64>, seen: &mut State<Seen>| {
            let mut now = seen.remove().unwrap_or(Seen { visits: 0, sum: 0 });
            let Some(n) = n else { return (-1, now.sum) };
            now.visits += 1;
            now.sum += n;
            let answer = (i64::try_from(now.visits).unwrap(), now.sum);
            seen.set(now);
            answer
        })
    };
    let model = |seed| {
        // Cities in the order in which they are known, with visits, sum and time of the latest batch.
        let mut known: Vec<(String, i64, i64, usize)> = Vec::new();
        let answer = |number: usize| {
            let mut answer = Vec::new();
            for (_, city, n) in rows(seed, number) {
                let place = known.iter().position(|one| one.0 == city).unwrap_or_else(|| {
                    known.push((city.clone(), 0, 0, number));
                    known.len() - 1
                });
                let one = &mut known[place];
                (one.1, one.2, one.3) = (one.1 + 1, one.2 + n, number);
                answer.push(format!("{city} {} {}", one.1, one.2));
            }
            known.retain(|(city, _, sum, last)| {
                if number - last >= 3 {
                    answer.push(format!("{city} -1 {sum}"));
                }
                number - last < 3
            });
            answer
        };
        (0..BATCHES).map(answer).collect()
    };
    compare("map", describe, model);
}

#[test]
fn all_values_of_a_key_at_once_and_what_is_remembered_comes_out() {
    let describe =
        |mode| {
            move |visits: &DStream| {
                let keyed = visits.key_by([col("city")]).output_mode(mode);
                keyed.update_state_by_key([col("n")], |_: &Option<String>, n: Vec<i64>, most: Option<i64>| {
                    if n.contains(&7) { None } else { n.into_iter().chain(most).max() }
                })
            }
        };
    let model = |mode: OutputMode| {
        move |seed| {
            let mut known: Vec<(String, i64)> = Vec::new();
            let answer = |number: usize| {
                let mut by_city: Vec<(String, Vec<i64>)> = Vec::new();
                for (_, city, n) in rows(seed, number) {
                    match by_city.iter_mut().find(|one| one.0 == city) {
                        Some(one) => one.1.push(n),
                        None => by_city.push((city, vec![n])),
                    }
                }
                let mut touched = Vec::new();
                for (city, numbers) in by_city {
                    let place = known.iter().position(|one| one.0 == city);
                    if numbers.contains(&7) {
                        place.map(|place| known.remove(place));
                        continue;
                    }
                    let most = numbers.into_iter().chain(place.map(|place| known[place].1)).max().unwrap();
                    match place {
                        Some(place) => known[place].1 = most,
                        None => known.push((city.clone(), most)),
                    }
                    touched.push((city, most));
                }
                let shown = if mode == OutputMode::Complete { &known } else { &touched };
                shown.iter().map(|(city, most)| format!("{city} {most}")).collect()
            };
            (0..BATCHES).map(answer).collect()
        }
    };
    compare("update", describe(OutputMode::Update), model(OutputMode::Update));
    compare("update, all", describe(OutputMode::Complete), model(OutputMode::Complete));
}

#[test]
fn event_time_ends_what_a_closure_remembers() {
    let describe = |visits: &DStream| {
        let keyed = visits.with_watermark("time", seconds(4)).key_by([col("city")]);
        let values = [col("time").cast(DataType::Int64)];
        keyed.flat_map_with_state(
            values,
            |_: &Option<String>, time: Option<Option<i64>>, seen: &mut State<(u64, i64)>| {
                let (count, newest) = seen.remove().unwrap_or((0, i64::MIN));
                if seen.is_timed_out() {
                    return Some((count, newest));
                }
                let now = (count + 1, newest.max(time.flatten().unwrap_or(i64::MIN)));
                seen.set(now);
                if now.1 > i64::MIN {
                    seen.expire_at((now.1 + 2) * 1_000_000);
                }
                None
            },
        )
    };
    let model = |seed| {
        let mut known: Vec<(String, u64, i64)> = Vec::new();
        let mut horizon = i64::MIN;
        let answer = |number: usize| {
            let mut answer = Vec::new();
            let all = rows(seed, number);
            for (time, city, _) in &all {
                let place = known.iter().position(|one| one.0 == *city).unwrap_or_else(|| {
                    known.push((city.clone(), 0, i64::MIN));
                    known.len() - 1
                });
                let one = &mut known[place];
                (one.1, one.2) = (one.1 + 1, one.2.max(time.unwrap_or(i64::MIN)));
            }
            horizon = all.iter().filter_map(|row| row.0).map(|time| time - 4).chain([horizon]).max().unwrap();
            known.retain(|(city, count, newest)| {
                let is_here = all.iter().any(|row| row.1 == *city);
                let is_over = !is_here && *newest > i64::MIN && newest + 2 <= horizon;
                if is_over {
                    answer.push(format!("{city} {count} {newest}"));
                }
                !is_over
            });
            answer
        };
        (0..BATCHES).map(answer).collect()
    };
    compare("event time", describe, model);
}

/// Counts rows; odd counts end after 2 seconds of batches, others at an event time; a count that is a multiple of 5 is
/// forgotten at once.
struct Counting;

impl StateFunction for Counting {
    fn call(&self, calls: &KeyCalls<'_>) -> Result<KeyAnswers> {
        let mut answers = KeyAnswers::default();
        let (mut counts, mut of) = (Vec::new(), Vec::new());
        let mut start = 0;
        for (key, (&end, state)) in calls.ends.iter().zip(calls.states).enumerate() {
            let before = state.map_or(0, |state| u64::from(state[0]));
            let count = before + (end - start) as u64;
            for place in calls.places[start..end].iter().copied().chain(calls.is_timed_out.then_some(0)) {
                answers.places.push(place);
                of.push(u32::try_from(key).unwrap());
                counts.push(i64::try_from(count).unwrap() + if calls.is_timed_out { 1_000 } else { 0 });
            }
            start = end;
            let now = i64::try_from(calls.time.as_micros()).unwrap();
            let is_odd = count % 2 == 1;
            answers.states.push(StateAfter {
                state: (!calls.is_timed_out && !count.is_multiple_of(5))
                    .then(|| vec![u8::try_from(count % 250).unwrap()]),
                until: is_odd.then_some(now + 2_000_000),
                until_event: (!is_odd).then(|| calls.horizon.unwrap_or(0) + 3_000_000),
            });
        }
        let of = arrow_array::UInt32Array::from(of);
        for key in calls.keys {
            answers.rows.push(arrow_select::take::take(key, &of, None)?);
        }
        answers.rows.push(Arc::new(arrow_array::Int64Array::from(counts)));
        Ok(answers)
    }

    fn show(&self, _: &[ArrayRef], _: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        Err(Error::new(ErrorKind::Internal, "it shows nothing"))
    }

    fn check(&self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// A stage of this function over floats and texts with nulls, NaN and zeros of both signs.
fn stage_of_counting() -> (pelton::plan::stage::Stage, Registry) {
    let context = StreamingContext::builder("plan").build().unwrap();
    let source = pelton::connectors::queue::QueueSource::of(odd_keys(&mut Random::new(0), 0).schema(), []).unwrap();
    let stream = context.source("rows", source).unwrap().key_by([col("a"), col("b")]);
    let stream =
        stream.map_with_state([col("n")], |_: &(Option<f64>, Option<String>), _: Option<i64>, _: &mut State<u8>| 0_i64);
    let plan = pelton::plan::plan(&[Arc::clone(stream.plan())]).unwrap();
    let stage = plan.stages.into_iter().find(|stage| matches!(stage.end, End::MapState(_))).unwrap();
    let mut registry = Registry::default();
    registry.add_state_function("counting", Arc::new(Counting));
    (stage, registry)
}

fn odd_keys(random: &mut Random, rows: usize) -> RecordBatch {
    let floats = [None, Some(f64::NAN), Some(-f64::NAN), Some(0.0), Some(-0.0), Some(1.5)];
    let texts = [None, Some(""), Some("a")];
    let a: ArrayRef = Arc::new((0..rows).map(|_| random.pick(&floats)).collect::<arrow_array::Float64Array>());
    let b: ArrayRef = Arc::new((0..rows).map(|_| random.pick(&texts)).collect::<arrow_array::StringArray>());
    let n: ArrayRef = Arc::new((0..rows).map(|_| Some(1)).collect::<arrow_array::Int64Array>());
    RecordBatch::try_from_iter_with_nullable([("a", a, true), ("b", b, true), ("n", n, true)]).unwrap()
}

#[test]
fn the_kernel_gives_what_its_reference_gives() {
    let (stage, registry) = stage_of_counting();
    let End::MapState(map) = &stage.end else { panic!("another stage") };
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let prepared = CpuBackend::new().prepare(&stage, &registry).unwrap();
        let mut kept = prepared.keep().unwrap();
        let (mut history, mut saved): (Vec<(RecordBatch, Moment)>, Vec<Vec<RecordBatch>>) = (Vec::new(), Vec::new());
        let mut horizon = None;
        for number in 0..25_u64 {
            let rows = random.pick(&[0, 1, 5, 12, 64, 65]);
            let rows = odd_keys(&mut random, rows);
            let before = horizon;
            horizon = Some(i64::try_from(number).unwrap() * 1_500_000);
            let time = Duration::from_secs(number);
            let moment = Moment { time, previous: None, horizon_before: before, horizon };
            history.push((rows.clone(), moment));
            let expected = map_state::reference(map, &Counting, &stage.output_schema, &history).unwrap();
            let cut = random.below(rows.num_rows() + 1);
            let parts = [rows.slice(0, cut), rows.slice(cut, rows.num_rows() - cut)];
            let partials = parts.map(|part| Partial::Rows(vec![part])).into_iter().collect();
            let answer = kept.absorb(partials, &moment).unwrap().concat();
            assert_eq!(answer.len(), 1);
            crate::common::assert_batches_equal(&answer[0], &expected);
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

fn restored(mut kept: Box<dyn Kept>, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Box<dyn Kept> {
    kept.restore(snapshot, changes).unwrap();
    kept
}

#[test]
fn a_batch_that_fails_leaves_nothing_behind_and_time_alone_runs_a_batch() {
    let stage = Stage::new(|visits| {
        let keyed = visits.key_by([col("city")]).ttl(seconds(5));
        keyed.map_with_state([col("n")], |_: &String, n: Option<i64>, sum: &mut State<i64>| {
            let now = sum.get().unwrap_or(&0) + n.unwrap_or(0);
            sum.set(now);
            if n.is_none() {
                sum.remove();
            }
            now
        })
    });
    assert_eq!(stage.batch(&[(1, "Oslo", 1), (1, "Rome", 2), (1, "Oslo", 3)]), "Oslo 1\nRome 2\nOslo 4");
    stage.clock.advance(seconds(4));
    assert!(stage.query.tick().unwrap().is_none(), "nothing is due, and there are no rows");
    stage.clock.advance(seconds(1));
    assert_eq!(stage.query.tick().unwrap().unwrap().groups, 0);
    assert_eq!(lines(&stage.sink.batches().pop().unwrap().1), "Oslo 4\nRome 2");
    assert!(stage.query.tick().unwrap().is_none());
}

#[test]
fn a_panic_is_an_error_that_names_the_closure() {
    let stage = Stage::new(|visits| {
        visits.key_by([col("city")]).named("sums").map_with_state(
            [col("n")],
            |_: &String, n: Option<i64>, _: &mut State<i64>| {
                assert!(n != Some(13), "unlucky");
                0_i64
            },
        )
    });
    stage.queue.push(vec![visits(&[(1, "Oslo", 13)])]).unwrap();
    let error = stage.query.tick().unwrap_err().to_string();
    assert!(error.contains("closure") && error.contains("sums") && error.contains("unlucky"), "{error}");
}

fn on_checkpoint<S>(folder: &std::path::Path) -> Result<()>
where
    S: serde::Serialize + serde::de::DeserializeOwned + Default + 'static,
{
    let builder = StreamingContext::builder("types").trigger(Trigger::AvailableNow);
    let context = builder.checkpoint(folder.join("checkpoint")).build()?;
    let lines = context.text_file_stream(folder)?.key_by([col("line")]).named("memory");
    let lines = lines.map_with_state([], |_: &String, _: Option<()>, state: &mut State<S>| {
        state.set(S::default());
        0_i64
    });
    lines.write(pelton::connectors::memory::MemorySink::new())?;
    context.start()?.await_termination().map(drop)
}

mod first {
    #[derive(Default, serde::Serialize, serde::Deserialize)]
    pub(super) struct Cart {
        items: u32,
    }
}

mod grown {
    #[derive(Default, serde::Serialize, serde::Deserialize)]
    pub(super) struct Cart {
        items: u64,
        #[serde(default)]
        names: Vec<String>,
    }
}

mod other {
    #[derive(Default, serde::Serialize, serde::Deserialize)]
    pub(super) struct Cart {
        items: String,
    }
}

#[test]
fn a_type_that_cannot_read_what_is_stored_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "x\ny\n").unwrap();
    on_checkpoint::<first::Cart>(folder.path()).unwrap();
    let error = on_checkpoint::<other::Cart>(folder.path()).unwrap_err().to_string();
    assert!(error.contains("\"memory\"") && error.contains("no Cart any more"), "{error}");
    let error = on_checkpoint::<u64>(folder.path()).unwrap_err().to_string();
    assert!(error.contains("state of type Cart"), "{error}");
    // Another module, a wider number and a field with a default are no other type.
    on_checkpoint::<grown::Cart>(folder.path()).unwrap();
}

#[test]
fn mistakes_are_found_before_the_start() {
    let error = |describe: fn(&DStream) -> DStream| {
        let context = StreamingContext::builder("mistakes").build().unwrap();
        let source = pelton::connectors::queue::QueueSource::of(visits(&[]).schema(), []).unwrap();
        describe(&context.source("visits", source).unwrap()).schema().unwrap_err().to_string()
    };
    let said = error(|visits| {
        visits
            .key_by([col("city")])
            .map_with_state([col("n")], |_: &String, _: Option<(i64, i64)>, _: &mut State<u8>| 0_i64)
    });
    assert!(said.contains("1 expressions for the value, but the function takes 2"), "{said}");
    let said = error(|visits| {
        let keyed = visits.key_by([col("city")]).output_mode(OutputMode::Append);
        keyed.map_with_state([col("n")], |_: &String, _: Option<i64>, _: &mut State<u8>| 0_i64)
    });
    assert!(said.contains("never is"), "{said}");
    let said = error(|visits| {
        let keyed = visits.key_by([col("city")]).output_mode(OutputMode::Complete);
        keyed.map_with_state([col("n")], |_: &String, _: Option<i64>, _: &mut State<u8>| 0_i64)
    });
    assert!(said.contains("update_state_by_key"), "{said}");
    let said = error(|visits| {
        let keyed = visits.key_by([col("city")]).ttl(Duration::ZERO);
        keyed.map_with_state([col("n")], |_: &String, _: Option<i64>, _: &mut State<u8>| 0_i64)
    });
    assert!(said.contains("no time"), "{said}");
}

#[test]
fn what_is_remembered_is_explained() {
    let context = StreamingContext::builder("explained").build().unwrap();
    let source = pelton::connectors::queue::QueueSource::of(visits(&[]).schema(), []).unwrap();
    let keyed = context.source("visits", source).unwrap().key_by([col("city")]).named("sums").ttl(seconds(60));
    let stream = keyed.map_with_state([col("n")], |_: &String, _: Option<i64>, _: &mut State<BTreeMap<u8, i64>>| 0_i64);
    stream.print(1).unwrap();
    let text = context.explain().unwrap();
    assert!(text.contains("key_by.map_with_state [city] closure(n) with BTreeMap<u8, i64>"), "{text}");
    assert!(text.contains("keep \"sums\" by [city]: BTreeMap<u8, i64>, for 60s without rows, by closure"), "{text}");
}
