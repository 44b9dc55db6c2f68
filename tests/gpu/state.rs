//! State in device memory: what each batch gives, changes and stores is what the CPU gives, changes and stores, byte by byte,
//! whatever happens to the device.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use arrow_array::{ArrayRef, Float64Array, Int64Array};
use arrow_select::concat::concat_batches;
use pelton::clock::VirtualClock;
use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::dispatch::{Dispatcher, Placement};
use pelton::error::Result;
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::gpu::{Counts, Fault, Faults, GpuBackend, OpeningFault, Tier, Wish};
use pelton::kernels::{Backend, Kept, Moment, PreparedStage};
use pelton::plan::logical::Over;
use pelton::plan::stage::{Registry, Stage};
use pelton::prelude::*;

use crate::common::{Random, Range, assert_batches_equal, ranged_batch};
use crate::support::{Chain, Everywhere, adapter, cut, narrow_schema, wish};

const NAMES: [&str; 14] =
    ["name", "u8", "i8", "i32", "i64", "u64", "f32", "f64", "price", "at", "flag", "id", "day", "u32"];

/// All that can be kept on a device, so that no total leaves its range.
fn aggregates() -> Vec<Aggregate> {
    let mut all = vec![len(), col("name").count(), col("i64").sum(), col("price").sum(), col("price").mean()];
    for name in ["i8", "i32", "u8", "u32", "f32", "f64"] {
        all.extend([col(name).sum(), col(name).mean(), col(name).min(), col(name).max(), col(name).count()]);
    }
    for name in ["i64", "u64", "day", "at", "price", "flag"] {
        all.extend([col(name).min(), col(name).max()]);
    }
    for name in ["i8", "i64", "u64", "price"] {
        all.extend([col(name).var(1), col(name).std(0)]);
    }
    all.extend([col("flag").any(), col("flag").all(), col("id").sum(), col("id").max(), col("id").var(0)]);
    all.extend([col("f64").mean().filter(col("flag")), col("i32").sum().filter(col("u8").gt(3))]);
    all.into_iter().enumerate().map(|(place, one)| one.alias(format!("a{place}"))).collect()
}

fn stage(keys: impl IntoIterator<Item = Expr>, aggregates: Vec<Aggregate>, mode: OutputMode) -> Stage {
    Chain::new(&narrow_schema(&NAMES)).filter(col("u8").lt(200)).kept(keys, aggregates, Over::Always, mode).stage()
}

/// Without keys, by number, by hashing, by texts, and by so many keys that most rows bring a group.
fn stages() -> Vec<Stage> {
    vec![
        stage([col("u8")], aggregates(), OutputMode::Update),
        stage([col("name"), col("i8")], aggregates(), OutputMode::Complete),
        stage([], aggregates(), OutputMode::Update),
        stage([col("f64"), col("price"), col("flag")], aggregates(), OutputMode::Update),
        stage([col("i64"), col("u8"), col("name")], vec![col("id").sum().alias("s")], OutputMode::Complete),
        stage([col("i32")], vec![col("price").min().alias("l"), col("flag").any().alias("a")], OutputMode::Update),
        stage([], vec![col("i64").var(1).alias("v")], OutputMode::Complete),
    ]
}

fn batches(rows: &[usize], seed: u64) -> Vec<RecordBatch> {
    let batch = |(place, &rows)| ranged_batch(seed + place as u64, rows, &narrow_schema(&NAMES), 0.1, Range::Tame);
    rows.iter().enumerate().map(batch).collect()
}

/// A stage with what it keeps.
pub(crate) struct Life {
    stage: Stage,
    prepared: Arc<dyn PreparedStage>,
    pub(crate) kept: Box<dyn Kept>,
    moment: Moment,
}

impl Life {
    pub(crate) fn new(backend: &dyn Backend, stage: &Stage) -> Self {
        backend.supports(stage).unwrap_or_else(|reason| panic!("{} refuses: {reason}", backend.name()));
        let prepared = backend.prepare(stage, &Registry::default()).unwrap();
        let kept = prepared.keep().unwrap();
        Self { stage: stage.clone(), prepared, kept, moment: Moment::default() }
    }

    /// What a batch gives.
    pub(crate) fn run(&mut self, partitions: &[Vec<RecordBatch>]) -> Result<RecordBatch> {
        let time = self.moment.time + Duration::from_secs(1);
        self.moment = Moment { time, previous: Some(self.moment.time), ..self.moment };
        let mut partials = Vec::new();
        for pieces in partitions {
            let mut task = self.prepared.begin_at(&self.moment)?;
            for piece in pieces {
                task.push(piece)?;
            }
            task.settle()?;
            task.flow().unwrap().check(pieces.iter().map(|piece| piece.num_rows() as u64).sum())?;
            partials.push(task.finish()?);
        }
        let answer = self.kept.absorb(partials, &self.moment)?.concat();
        Ok(concat_batches(&self.stage.output_schema, &answer)?)
    }
}

/// Both must give, change and store the same.
#[track_caller]
fn same(one: &mut Life, other: &mut Life, partitions: &[Vec<RecordBatch>], what: &str) {
    let (given, expected) = (one.run(partitions), other.run(partitions));
    let (given, expected) = match (given, expected) {
        (Ok(given), Ok(expected)) => (given, expected),
        (given, expected) => panic!("{what}: {given:?}, {expected:?}"),
    };
    if given != expected {
        eprintln!("{what}: another answer");
    }
    assert_batches_equal(&given, &expected);
    assert_eq!(one.kept.groups(), other.kept.groups(), "{what}");
    let pairs = [
        ("changes", one.kept.changes().unwrap(), other.kept.changes().unwrap()),
        ("snapshot", one.kept.snapshot().unwrap(), other.kept.snapshot().unwrap()),
        ("scan", vec![one.kept.scan().unwrap()], vec![other.kept.scan().unwrap()]),
    ];
    for (kind, one, other) in pairs {
        assert_eq!(one.len(), other.len(), "{what}: {kind}");
        for (one, other) in one.iter().zip(&other) {
            assert_eq!(one.schema(), other.schema(), "{what}: {kind}");
            assert!(one == other, "{what}: {kind} differ:\n{one:?}\n{other:?}");
        }
    }
}

pub(crate) fn tiny(wish: Wish) -> Wish {
    Wish { rows_max: Some(150), groups_first: Some(1), ..wish }
}

#[test]
fn every_aggregate_is_kept_on_every_tier_and_grows_from_one_group() {
    let Some(everywhere) = Everywhere::with(tiny) else { return };
    let batches = batches(&[200, 1, 0, 65, 400, 300], 1);
    for (place, stage) in stages().iter().enumerate() {
        for gpu in &everywhere.gpus {
            let (before, mut life) = (gpu.counts().taken_in, Life::new(gpu, stage));
            let mut by_cpu = Life::new(&CpuBackend::new(), stage);
            for (number, batch) in batches.iter().enumerate() {
                let what = format!("stage {place}, batch {number}, {:?}", gpu.manner());
                same(&mut life, &mut by_cpu, &cut(batch), &what);
            }
            let counts = gpu.counts();
            assert_eq!((counts.taken_in - before, counts.fallen_back), (batches.len() as u64, 0), "{counts:?}");
        }
    }
}

#[test]
fn groups_that_come_back_and_groups_that_stay_are_taken_in_in_their_order() {
    let Some(adapter) = adapter() else { return };
    let batches = batches(&[700, 900, 20], 80);
    // Room for none, for some, and for all of a task's.
    for left_bytes in [0, 40_000, 1 << 30] {
        for stage in [&stages()[1], &stages()[3]] {
            let wish = Wish { left_bytes: Some(left_bytes), ..tiny(wish(&adapter, Tier::Wide)) };
            let gpu = GpuBackend::open(wish).unwrap().strict();
            let (mut life, mut by_cpu) = (Life::new(&gpu, stage), Life::new(&CpuBackend::new(), stage));
            for batch in &batches {
                same(&mut life, &mut by_cpu, &cut(batch), &format!("{left_bytes} bytes"));
            }
            assert_eq!(gpu.counts().taken_in, 3);
        }
    }
}

#[test]
fn a_single_group_is_looked_up_by_its_key() {
    let Some(adapter) = adapter() else { return };
    let stage = stage([col("u8"), col("name")], aggregates(), OutputMode::Update);
    let gpu = GpuBackend::open(tiny(wish(&adapter, Tier::Portable))).unwrap().strict();
    let (mut life, mut by_cpu) = (Life::new(&gpu, &stage), Life::new(&CpuBackend::new(), &stage));
    for batch in batches(&[100, 300], 50) {
        same(&mut life, &mut by_cpu, &cut(&batch), "look up");
    }
    let all = by_cpu.kept.scan().unwrap();
    for row in [0, 7, all.num_rows() - 1] {
        let key = all.columns()[..2].iter().map(|column| column.slice(row, 1)).collect::<Vec<_>>();
        assert_batches_equal(&life.kept.get(&key).unwrap(), &by_cpu.kept.get(&key).unwrap());
        assert_eq!(life.kept.get(&key).unwrap().num_rows(), 1);
    }
    let absent: Vec<ArrayRef> = vec![
        Arc::new(arrow_array::UInt8Array::from(vec![255])),
        Arc::new(arrow_array::StringArray::from(vec!["no such name"])),
    ];
    assert_eq!(life.kept.get(&absent).unwrap().num_rows(), 0);
}

#[test]
fn hundreds_of_batches_of_skewed_and_growing_keys_give_no_other_answer() {
    let Some(everywhere) = Everywhere::with(|wish| Wish { rows_max: Some(701), groups_first: Some(5), ..wish }) else {
        return;
    };
    let all = || {
        let value = || col("value");
        vec![len().alias("n"), value().sum().alias("s"), value().min().alias("l"), col("float").sum().alias("f")]
    };
    let mut random = Random::new(3);
    let batch = |random: &mut Random, number: u64| {
        let rows = [0, 1, 63, 64, 65, 255, 256, 257, 900][random.below(9)];
        let known = 20 + 9 * number as usize;
        let key = |random: &mut Random| if random.below(3) > 0 { 7 } else { i64::MAX - random.below(known) as i64 };
        let keys: ArrayRef = Arc::new((0..rows).map(|_| key(random)).collect::<Int64Array>());
        let values: ArrayRef = Arc::new((0..rows).map(|_| random.bits() as i64 >> 20).collect::<Int64Array>());
        let floats: ArrayRef = Arc::new((0..rows).map(|_| random.share() - 0.5).collect::<Float64Array>());
        RecordBatch::try_from_iter([("key", keys), ("value", values), ("float", floats)]).unwrap()
    };
    let schema = batch(&mut random, 0).schema();
    let stage = Chain::new(&schema).kept([col("key")], all(), Over::Always, OutputMode::Update).stage();
    for gpu in &everywhere.gpus {
        let (mut life, mut by_cpu) = (Life::new(gpu, &stage), Life::new(&CpuBackend::new(), &stage));
        for number in 0..220 {
            let batch = batch(&mut random, number);
            let (given, expected) = (life.run(&cut(&batch)).unwrap(), by_cpu.run(&cut(&batch)).unwrap());
            assert!(given == expected, "batch {number}, {:?}", gpu.manner());
        }
        assert!(life.kept.scan().unwrap() == by_cpu.kept.scan().unwrap(), "{:?}", gpu.manner());
        assert_eq!(gpu.counts().fallen_back, 0);
    }
}

#[test]
fn boundary_sizes_of_batches_and_groups_are_kept() {
    let Some(adapter) = adapter() else { return };
    let key = |rows: usize| (0..rows as i64).collect::<Int64Array>();
    for tier in [Tier::Portable, Tier::Wide] {
        let gpu = GpuBackend::open(Wish { groups_first: Some(1), ..wish(&adapter, tier) }).unwrap().strict();
        let sizes: &[usize] = match tier {
            Tier::Wide => &[1, 63, 64, 65, 255, 256, 257],
            _ => &[1, 64, 4095, 4096, 4097, 65_535, 65_536, 65_537],
        };
        for &rows in sizes {
            let keys: ArrayRef = Arc::new(key(rows));
            let batch = RecordBatch::try_from_iter([("key", keys)]).unwrap();
            let all = vec![len().alias("n"), col("key").sum().alias("s")];
            let stage = Chain::new(&batch.schema()).kept([col("key")], all, Over::Always, OutputMode::Update).stage();
            let (mut life, mut by_cpu) = (Life::new(&gpu, &stage), Life::new(&CpuBackend::new(), &stage));
            let half = batch.slice(0, rows / 2);
            for batch in [&half, &batch, &half] {
                let batch = vec![vec![batch.clone()]];
                assert!(life.run(&batch).unwrap() == by_cpu.run(&batch).unwrap(), "{rows} rows, {tier}");
            }
            assert!(life.kept.scan().unwrap() == by_cpu.kept.scan().unwrap(), "{rows} rows, {tier}");
        }
    }
}

#[test]
fn floats_of_other_sizes_in_later_batches_stay_exact() {
    let Some(everywhere) = Everywhere::with(tiny) else { return };
    let mut random = Random::new(8);
    let sizes = [0.0, 1.0, 1e12, 1e-9, 0.0, -1e140, 5e-324, 1e300, -1e300, f64::INFINITY, f64::NAN];
    let batches = sizes.map(|size| {
        let keys: ArrayRef = Arc::new((0..90).map(|row| row % 7).collect::<Int64Array>());
        let floats: ArrayRef = Arc::new((0..90).map(|_| (random.share() - 0.5) * size).collect::<Float64Array>());
        RecordBatch::try_from_iter([("key", keys), ("x", floats)]).unwrap()
    });
    let all = vec![col("x").sum().alias("s"), col("x").mean().alias("m"), col("x").min().alias("l")];
    let stage = Chain::new(&batches[0].schema()).kept([col("key")], all, Over::Always, OutputMode::Update).stage();
    for gpu in &everywhere.gpus {
        let (mut life, mut by_cpu) = (Life::new(gpu, &stage), Life::new(&CpuBackend::new(), &stage));
        for (number, batch) in batches.iter().enumerate() {
            same(&mut life, &mut by_cpu, &cut(batch), &format!("floats, batch {number}, {:?}", gpu.manner()));
        }
    }
}

/// Runs batches with a fault at this place of the row of all submissions; gives what was counted.
fn with_fault(adapter: &str, stage: &Stage, batches: &[RecordBatch], (fault, at): (Fault, usize)) -> Counts {
    let faults = Faults::new((0..at).map(|_| None).chain([Some(fault)])).opened_at_once();
    let wish = Wish { rows_max: Some(100), groups_first: Some(1), ..wish(adapter, Tier::Wide) };
    let backend = GpuBackend::open(wish).unwrap().with_faults(faults);
    let (mut life, mut by_cpu) = (Life::new(&backend, stage), Life::new(&CpuBackend::new(), stage));
    for (number, batch) in batches.iter().enumerate() {
        same(&mut life, &mut by_cpu, &cut(batch), &format!("{fault:?} at {at}, batch {number}"));
    }
    backend.counts()
}

#[test]
fn a_fault_at_any_submission_changes_no_byte_and_the_device_goes_on() {
    let Some(adapter) = adapter() else { return };
    let batches = batches(&[180, 120, 150, 90], 20);
    let few = || {
        vec![len().alias("n"), col("f64").sum().alias("f"), col("i64").max().alias("m"), col("price").sum().alias("p")]
    };
    let keyed = stage([col("u8")], few(), OutputMode::Update);
    // Two tasks of one or two submissions, and then what takes their groups in.
    for fault in [Fault::Lose, Fault::Exhaust, Fault::Hurry, Fault::Confuse, Fault::Stall] {
        for at in 0..13 {
            let counts = with_fault(&adapter, &keyed, &batches, (fault, at));
            assert!(counts.fallen_back <= 1 && counts.taken_in >= 2, "{fault:?} at {at}: {counts:?}");
        }
    }
    // Of tasks and of what takes groups in.
    for fault in [Fault::HangMaking, Fault::HangSubmitting, Fault::HangWaiting] {
        for at in [0, 1, 3, 4, 7, 8] {
            let counts = with_fault(&adapter, &keyed, &batches, (fault, at));
            assert!(counts.fallen_back == 1 && counts.taken_in >= 2, "{fault:?} at {at}: {counts:?}");
        }
    }
    let total = stage([], few(), OutputMode::Complete);
    for at in [2, 5] {
        with_fault(&adapter, &total, &batches, (Fault::Lose, at));
    }
}

#[test]
fn a_device_that_is_lost_for_good_leaves_the_state_to_the_cpu() {
    let Some(adapter) = adapter() else { return };
    let stage = stage([col("u8")], vec![len().alias("n"), col("f64").mean().alias("m")], OutputMode::Update);
    let backend = GpuBackend::open(tiny(wish(&adapter, Tier::Wide))).unwrap();
    let faults = std::iter::repeat_n(None, 8).chain(std::iter::repeat_n(Some(Fault::Lose), 200));
    let backend = backend.with_faults(Faults::new(faults).opened_at_once());
    let (mut life, mut by_cpu) = (Life::new(&backend, &stage), Life::new(&CpuBackend::new(), &stage));
    for (number, batch) in batches(&[120; 12], 30).iter().enumerate() {
        same(&mut life, &mut by_cpu, &cut(batch), &format!("batch {number}"));
    }
    let counts = backend.counts();
    assert!(counts.taken_in >= 1 && counts.taken_in < 6 && counts.latest.is_some(), "{counts:?}");
}

#[test]
fn state_goes_on_with_the_cpu_until_another_device_is_there() {
    let Some(adapter) = adapter() else { return };
    let batches = batches(&[180, 120, 150, 90, 130, 110, 140], 50);
    let few = vec![len().alias("n"), col("f64").sum().alias("f"), col("i64").max().alias("m")];
    let stage = stage([col("u8")], few, OutputMode::Update);
    for at in 0..10 {
        let (hold, held) = channel();
        let faults = Faults::new((0..at).map(|_| None).chain([Some(Fault::Lose)]));
        let faults = faults.with_openings([OpeningFault::Held(held)]);
        let wish = Wish { rows_max: Some(100), groups_first: Some(1), ..wish(&adapter, Tier::Wide) };
        let backend = GpuBackend::open(wish).unwrap().with_faults(faults);
        let (mut life, mut by_cpu) = (Life::new(&backend, &stage), Life::new(&CpuBackend::new(), &stage));
        let mut hold = Some(hold);
        let mut taken_in = 0;
        for (number, batch) in batches.iter().enumerate() {
            if number == 5 {
                taken_in = backend.counts().taken_in;
                hold = None;
                backend.settle();
            }
            same(&mut life, &mut by_cpu, &cut(batch), &format!("lost at {at}, batch {number}"));
        }
        drop(hold);
        let counts = backend.counts();
        // While there was no device nothing was taken in there, and soon after it was.
        assert!(taken_in <= 2 && counts.taken_in > taken_in, "lost at {at}: {taken_in}, {counts:?}");
    }
}

#[test]
fn state_too_large_for_the_device_goes_on_with_the_cpu_and_is_told() {
    let Some(adapter) = adapter() else { return };
    let wish = Wish { bytes_max: Some(1 << 15), ..tiny(wish(&adapter, Tier::Portable)) };
    let stage = stage([col("i64"), col("u8")], vec![len().alias("n"), col("id").sum().alias("s")], OutputMode::Update);
    let backend = GpuBackend::open(wish.clone()).unwrap();
    let (mut life, mut by_cpu) = (Life::new(&backend, &stage), Life::new(&CpuBackend::new(), &stage));
    for (number, batch) in batches(&[450; 9], 40).iter().enumerate() {
        same(&mut life, &mut by_cpu, &cut(batch), &format!("batch {number}"));
    }
    let counts = backend.counts();
    assert!((2..9).contains(&counts.taken_in) && counts.fallen_back >= 1, "{counts:?}");
    let told = counts.latest.unwrap();
    let expected = "what is kept has outgrown the device, and is with the cpu from now on: ";
    assert!(told.starts_with(expected) && told.contains("a buffer has 32768"), "{told}");
    // Who is strict is told at once.
    let strict = GpuBackend::open(wish).unwrap().strict();
    let mut life = Life::new(&strict, &stage);
    let error = batches(&[450; 9], 40).iter().find_map(|batch| life.run(&cut(batch)).err()).unwrap().to_string();
    assert!(error.starts_with("a batch did not run on the device: what is kept has outgrown"), "{error}");
}

#[test]
fn a_total_that_leaves_its_range_batch_by_batch_is_the_same_error() {
    let Some(everywhere) = Everywhere::new() else { return };
    let rows = |values: Vec<i64>| {
        let keys: ArrayRef = Arc::new((0..values.len() as i64).collect::<Int64Array>());
        RecordBatch::try_from_iter([("key", keys), ("value", Arc::new(Int64Array::from(values)) as ArrayRef)]).unwrap()
    };
    let batches = [rows(vec![1, i64::MAX]), rows(vec![2, i64::MIN]), rows(vec![3, i64::MAX]), rows(vec![4, i64::MAX])];
    let sum = vec![col("value").sum().alias("total")];
    for mode in [OutputMode::Update, OutputMode::Complete] {
        let chain = Chain::new(&batches[0].schema());
        let stage = chain.kept([col("key")], sum.clone(), Over::Always, mode).stage();
        let errors = |backend: &dyn Backend| {
            let mut life = Life::new(backend, &stage);
            let cut = |batch: &RecordBatch| vec![vec![batch.clone()]];
            batches.iter().map(|batch| life.run(&cut(batch)).map_err(|error| error.to_string())).collect::<Vec<_>>()
        };
        let expected = errors(&CpuBackend::new());
        assert!(expected[2].is_ok() && expected[3].as_ref().unwrap_err().contains("\"total\""), "{expected:?}");
        for gpu in &everywhere.gpus {
            assert_eq!(errors(gpu), expected, "{:?}", gpu.manner());
        }
    }
}

#[test]
fn what_is_stored_goes_on_on_the_other_side() {
    let Some(everywhere) = Everywhere::with(tiny) else { return };
    let batches = batches(&[150, 90, 1, 120, 80], 60);
    for stage in stages().into_iter().take(4) {
        for gpu in &everywhere.gpus {
            let cpu = CpuBackend::new();
            let (mut whole, mut life) = (Life::new(&cpu, &stage), Life::new(gpu, &stage));
            let (mut snapshot, mut changes) = (Vec::new(), Vec::new());
            for (number, batch) in batches.iter().enumerate() {
                same(&mut life, &mut whole, &cut(batch), &format!("batch {number}, {:?}", gpu.manner()));
                if number % 3 == 1 {
                    (snapshot, changes) = (life.kept.snapshot().unwrap(), Vec::new());
                } else {
                    changes.push(life.kept.changes().unwrap());
                }
                // Each batch runs on the other side of the one before.
                let moment = life.moment;
                life = if number % 2 == 0 { Life::new(&cpu, &stage) } else { Life::new(gpu, &stage) };
                life.kept.restore(&snapshot, &changes).unwrap();
                life.moment = moment;
            }
        }
    }
}

#[test]
fn what_is_not_kept_on_a_device_is_told() {
    let Some(adapter) = adapter() else { return };
    let placement = Placement { device: Device::Gpu, adapter: Some(adapter), strict: true, without_cache: true };
    let reason = |stage: &Stage| Dispatcher::new(placement.clone()).choose(stage).unwrap().1;
    let by = |aggregate: Aggregate| stage([col("u8")], vec![aggregate.alias("x")], OutputMode::Update);
    let kept = reason(&by(col("f64").sum()));
    assert!(kept.starts_with("as asked, by "), "{kept}");
    let texts = reason(&by(col("name").min()));
    let said = "as asked, with what is kept from batch to batch on the cpu, because \"x\" compares texts, which never travel, by ";
    assert!(texts.starts_with(said), "{texts}");
    let squares = reason(&by(col("f64").var(1)));
    assert!(squares.contains("because \"x\" squares floats, by "), "{squares}");
    let rows = Chain::new(&narrow_schema(&NAMES));
    let over = window(col("at"), Duration::from_secs(1));
    let windows = rows.kept([col("u8"), over], vec![len().alias("n")], Over::Event, OutputMode::Append).stage();
    let windows = reason(&windows);
    assert!(windows.contains("on the cpu, because windows are kept there, by "), "{windows}");
}

/// All files below a folder, by their paths there.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            all.extend(files(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            all.insert(name, fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn checkpoints_of_both_devices_are_the_same_files_and_each_opens_on_the_other() {
    let Some(adapter) = adapter() else { return };
    let gpu = Placement { device: Device::Gpu, adapter: Some(adapter), strict: true, without_cache: true };
    let cpu = Placement::from(Device::Cpu);
    let batches = batches(&[200, 150, 100, 250, 60, 90], 70);
    let run = |folder: &Path, placement: &Placement, rows: &[RecordBatch]| {
        let clock = VirtualClock::at(Duration::ZERO);
        let builder = StreamingContext::builder("state").trigger(Trigger::AvailableNow).clock(clock);
        let context = builder.placement(placement.clone()).checkpoint(folder).build().unwrap();
        let source = QueueSource::of(narrow_schema(&NAMES), rows.to_vec()).unwrap();
        let sink = MemorySink::new();
        let keyed = context.source("rows", source).unwrap().key_by([col("name"), col("u8")]);
        let aggregates = aggregates().into_iter().take(40).collect::<Vec<_>>();
        keyed.running(aggregates).write(sink.clone()).unwrap();
        context.start().unwrap().await_termination().unwrap();
        sink.rows().unwrap()
    };
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (one, other) = (folders[0].path(), folders[1].path());
    // A queue is told all it has given before, and goes on behind that.
    for (until, placements) in [(2, [&gpu, &cpu]), (4, [&cpu, &gpu]), (6, [&gpu, &gpu])] {
        let answers = [run(one, placements[0], &batches[..until]), run(other, placements[1], &batches[..until])];
        assert_eq!(answers[0], answers[1], "until batch {until}");
        let [one, other] = [files(one), files(other)];
        assert!(one.keys().any(|name| name.starts_with("state")), "{:?}", one.keys());
        assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>(), "until batch {until}");
        for (name, bytes) in one.iter().filter(|(name, _)| name.starts_with("state")) {
            assert!(bytes == &other[name], "{name} is another file until batch {until}");
        }
    }
}
