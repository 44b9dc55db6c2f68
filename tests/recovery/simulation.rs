//! Whole lives of queries in a simulated world: a clock that leaps, storage and sinks in memory with seeded faults, and a
//! source of seeded rows. After any number of deaths the sink has what it has in a world without faults, batch by batch; and
//! on the way the order of what is written is as `docs/recovery.md` says.
//!
//! `PELTON_SEEDS` says how many worlds (default 200); a world is made again from its seed.

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, StringArray, TimestampSecondArray};
use pelton::checkpoint::{CheckpointOptions, Store};
use pelton::columnar::pretty;
use pelton::connectors::generator::{GeneratorSource, Pace};
use pelton::connectors::{OutputBatch, Repeat, Sink, WriteReport};
use pelton::error::Place;
use pelton::prelude::*;
use pelton::runtime::{BatchSize, CheckpointPlace, MemoryBudget, Totals};

use crate::common::Random;
use crate::common::leap_clock::LeapClock;
use crate::queries::{self, Query};

/// What outlives a process.
#[derive(Debug, Clone, Default)]
struct World {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    /// What readers find of each batch.
    output: Arc<Mutex<BTreeMap<u64, String>>>,
    locked: Arc<AtomicBool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What goes wrong in a life of a process.
#[derive(Clone)]
struct Fate {
    random: Arc<Mutex<Random>>,
    /// Of a thousand steps.
    errors: usize,
    deaths: usize,
    is_dead: Arc<AtomicBool>,
    clock: LeapClock,
}

impl Fate {
    fn kind(seed: u64) -> Self {
        Self::new(seed, 0, 0, LeapClock::at(Duration::from_secs(1_000)))
    }

    fn new(seed: u64, errors: usize, deaths: usize, clock: LeapClock) -> Self {
        let random = Arc::new(Mutex::new(Random::new(seed)));
        Self { random, errors, deaths, is_dead: Arc::default(), clock }
    }

    /// The same fate for another part of the process: it dies as a whole, and chances are its own.
    fn of_another_part(&self, seed: u64) -> Self {
        Self { random: Arc::new(Mutex::new(Random::new(seed))), ..self.clone() }
    }

    /// Nothing happens in a process that has died.
    fn assert_alive(&self) {
        if self.is_dead.load(Ordering::SeqCst) {
            die();
        }
    }

    /// Does a step: it may fail or end the process, before or after its effect.
    fn step<T>(&self, effect: impl FnOnce() -> T) -> Result<T> {
        self.assert_alive();
        let (chance, is_after) = {
            let mut random = lock(&self.random);
            self.clock.pass(Duration::from_micros(random.below(5_000) as u64));
            (random.below(1_000), random.below(2) == 1)
        };
        let fails = chance < self.errors + self.deaths;
        let done = (!fails || is_after).then(effect);
        match done {
            Some(done) if !fails => Ok(done),
            _ if chance < self.deaths => {
                self.is_dead.store(true, Ordering::SeqCst);
                die()
            }
            _ => Err(Error::new(ErrorKind::Connector, "a fault that passes").retry_later()),
        }
    }
}

fn die() -> ! {
    panic!("the process dies")
}

/// Storage in memory.
struct MemoryStore {
    world: World,
    fate: Fate,
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryStore")
    }
}

struct Lock(Arc<AtomicBool>);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl MemoryStore {
    fn take_lock(&self) {
        assert!(!self.world.locked.swap(true, Ordering::SeqCst), "the life before has let go of the checkpoint");
    }

    /// A batch is committed when sinks have it and its state is safe.
    fn assert_may_commit(&self, batch: u64) {
        assert!(lock(&self.world.output).contains_key(&batch), "batch {batch} is committed before a sink has it");
        let files = lock(&self.world.files);
        for operator in files.keys().filter_map(|name| name.strip_prefix("operators/")) {
            let state = format!("state/{operator}/{batch:020}.changes");
            assert!(files.contains_key(&state), "batch {batch} is committed before its state: {state}");
        }
    }

    fn below(&self, folder: &str, is_folder: bool) -> Vec<String> {
        let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let files = lock(&self.world.files);
        let rests = files.keys().filter_map(|name| name.strip_prefix(&start));
        let mut found = rests
            .filter_map(|rest| match rest.split_once('/') {
                Some((folder, _)) => is_folder.then(|| folder.to_owned()),
                None => (!is_folder).then(|| rest.to_owned()),
            })
            .collect::<Vec<_>>();
        found.dedup();
        found
    }
}

impl Store for MemoryStore {
    fn list(&self, folder: &str) -> Result<Vec<String>> {
        Ok(self.below(folder, false))
    }

    fn folders(&self, folder: &str) -> Result<Vec<String>> {
        Ok(self.below(folder, true))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let content = lock(&self.world.files).get(name).cloned();
        content.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such file").at(self.place(name)))
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        if let Some(batch) = name.strip_prefix("commits/") {
            self.assert_may_commit(batch.parse().unwrap());
        }
        self.fate.step(|| drop(lock(&self.world.files).insert(name.to_owned(), content.to_vec())))
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.fate.step(|| drop(lock(&self.world.files).remove(name)))
    }

    fn lock(&self) -> Result<Box<dyn Send + Sync>> {
        self.take_lock();
        Ok(Box::new(Lock(Arc::clone(&self.world.locked))))
    }

    fn place(&self, name: &str) -> Place {
        Place::file(name)
    }
}

/// A sink whose batches replace themselves.
struct MemorySink {
    world: World,
    fate: Fate,
}

impl MemorySink {
    /// A batch is written when its offsets are safe and the batch before is committed.
    fn assert_may_write(&self, batch: u64) {
        let has = |log: &str, batch: u64| lock(&self.world.files).contains_key(&format!("{log}/{batch:020}"));
        assert!(has("offsets", batch), "batch {batch} is written before its offsets");
        if let Some(before) = batch.checked_sub(1) {
            assert!(has("commits", before), "batch {batch} is written before the commit of {before}");
        }
    }
}

impl Sink for MemorySink {
    fn open(&mut self, _: &SchemaRef) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, batch: &OutputBatch<'_>) -> Result<WriteReport> {
        self.assert_may_write(batch.batch_id);
        let rows = batch.partitions.iter().flatten().cloned().collect::<Vec<_>>();
        let text = pretty::table(&rows, 10_000);
        let count = rows.iter().map(|rows| rows.num_rows() as u64).sum();
        self.fate.step(|| drop(lock(&self.world.output).insert(batch.batch_id, text)))?;
        Ok(WriteReport { rows: count, bytes: 0 })
    }

    fn repeat(&self) -> Repeat {
        Repeat::Replaces
    }
}

/// Visits by number, the same for the same seed: about four a second, some of them late.
fn visits(seed: u64, rows: u64, per_batch: u64) -> GeneratorSource {
    let schema = Arc::new(Schema::new(vec![
        Field::new("time", DataType::Timestamp(TimeUnit::Second, None), true),
        Field::new("city", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
    ]));
    let made = Arc::clone(&schema);
    let make = move |first: u64, rows: usize| {
        let mut columns = (Vec::new(), Vec::new(), Vec::new());
        for number in (first..).take(rows) {
            let mut random = Random::new(seed ^ (number << 20));
            let time = i64::try_from(number / 4).unwrap() - i64::try_from(random.below(10)).unwrap();
            columns.0.push((random.below(50) > 0).then_some(time));
            columns.1.push((random.below(20) > 0).then(|| random.pick(&["Oslo", "Rome", "Lima", "Bonn", "Kyiv"])));
            columns.2.push((random.below(20) > 0).then(|| i64::try_from(random.below(100)).unwrap()));
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampSecondArray::from(columns.0)),
            Arc::new(StringArray::from(columns.1)),
            Arc::new(Int64Array::from(columns.2)),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&made), columns).unwrap())
    };
    GeneratorSource::from_fn(schema, Pace::PerBatch(per_batch), make).rows_total(rows)
}

/// What is the same in all lives of a world.
#[derive(Debug)]
struct Setting {
    seed: u64,
    query: &'static str,
    rows: u64,
    per_batch: u64,
    options: CheckpointOptions,
    is_by_interval: bool,
}

impl Setting {
    fn of(seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            seed,
            query: queries::ALL[random.below(queries::ALL.len())].name,
            rows: 40 + random.below(200) as u64,
            per_batch: 10 + random.below(30) as u64,
            options: CheckpointOptions { snapshot_every: 1 + random.below(5) as u64, retain: random.below(6) as u64 },
            is_by_interval: random.below(2) == 1,
        }
    }

    fn query(&self) -> &'static Query {
        queries::by_name(self.query)
    }

    /// A life of the query, to its end or its death.
    fn live(&self, world: &World, fate: &Fate, partitions: usize) -> Result<Totals> {
        let store = MemoryStore { world: world.clone(), fate: fate.clone() };
        let trigger =
            if self.is_by_interval { Trigger::Interval(Duration::from_millis(20)) } else { Trigger::AvailableNow };
        let context = StreamingContext::builder(self.query)
            .trigger(trigger)
            .partitions(partitions)
            .retries(2, Duration::from_millis(50))
            .clock(fate.clock.clone())
            .memory_budget(MemoryBudget::new(1 << 20))
            .batch_size(BatchSize { max_latency: Some(Duration::from_secs(10)), ..BatchSize::default() })
            .checkpoint_at(CheckpointPlace { store: Arc::new(store), options: self.options })
            .build()?;
        let visits = context.source("visits", visits(self.seed, self.rows, self.per_batch))?;
        let sink = MemorySink { world: world.clone(), fate: fate.of_another_part(self.seed ^ 0x51) };
        (self.query().stream)(&visits)?.write(sink)?;
        context.start()?.await_termination()
    }
}

#[test]
fn any_world_ends_as_one_without_faults() {
    let seeds = env::var("PELTON_SEEDS").map_or(200, |seeds| seeds.parse().unwrap());
    let (mut deaths, mut faults) = (0_u64, 0_u64);
    for seed in 0..seeds {
        let setting = Setting::of(seed);
        let expected = World::default();
        let totals = setting.live(&expected, &Fate::kind(seed), 2).unwrap();
        assert_eq!(totals.rows_in, setting.rows, "{setting:?}");
        let world = World::default();
        let clock = LeapClock::at(Duration::from_secs(1_000));
        for life in 0_u64.. {
            let mut random = Random::new(seed ^ (life << 32));
            // In the end the world becomes kind, or nothing would ever come to its end.
            let (errors, die) = if life < 6 { (random.below(60), random.below(60)) } else { (0, 0) };
            let fate = Fate::new(random.bits(), errors, die, clock.clone());
            // Rows that are passed on keep their partitions.
            let partitions = if setting.query == "rows" { 2 } else { 1 + random.below(3) };
            match catch_unwind(AssertUnwindSafe(|| setting.live(&world, &fate, partitions))) {
                Ok(Ok(_)) => break,
                _ if fate.is_dead.load(Ordering::SeqCst) => deaths += 1,
                Ok(Err(error)) => {
                    assert!(error.to_string().contains("a fault that passes"), "{setting:?}, life {life}: {error}");
                    faults += 1;
                }
                Err(panic) => std::panic::resume_unwind(panic),
            }
            assert!(life < 7, "{setting:?}: a kind world has no deaths");
        }
        assert_eq!(*lock(&world.output), *lock(&expected.output), "{setting:?}");
    }
    assert!(deaths > seeds / 2 && faults > 0, "{deaths} deaths and {faults} faults are no simulation");
}
