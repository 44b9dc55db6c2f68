//! What it costs to keep something from batch to batch: a checkpoint, batches without rows, keys that are held but not
//! touched, and windows that overlap. Each ratio that matters is between two lines of one run.
//!
//! | ids | what is compared |
//! |---|---|
//! | `state/ads_windows` | the ad-events query (views per campaign and 10 seconds) without a checkpoint, with one, and with one that is brought to the disk |
//! | `state/empty_batch` | batches without rows, likewise: a thousand in a row, and one that another thread asks for and waits for |
//! | `state/touch` | a tenth of a million keys that are touched, of as many and of a hundred times as many that are held |
//! | `state/recovery` | reading the state of a running aggregate from the storage and taking it in: bytes of its files a second |
//! | `state/window` | windows of 60 seconds, one after another and one a second: of sums, and of quantiles |

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray};
use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use pelton::checkpoint::{Checkpoint, CheckpointOptions, FolderStore, Identity, StatePart, read_state};
use pelton::connectors::queue::QueueSource;
use pelton::generate::{Options, campaigns, generator};
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::keep::Moment;
use pelton::kernels::{Backend, Kept, PreparedStage};
use pelton::plan::stage::Registry;
use pelton::prelude::*;
use pelton::runtime::CheckpointPlace;

/// As the command line.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rows of each query; `PELTON_BENCH_ROWS` makes them fewer.
fn rows() -> usize {
    std::env::var("PELTON_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(2_000_000)
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(format!("state/{name}"));
    group.sample_size(10).measurement_time(Duration::from_secs(4));
    group
}

/// No checkpoint; one; one that is brought to the disk.
const WAYS: [(&str, Option<bool>); 3] =
    [("plain", None), ("checkpoint", Some(false)), ("checkpoint_synced", Some(true))];

/// A query, and the folder of its checkpoint.
fn context(trigger: Trigger, sync: Option<bool>) -> (StreamingContext, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let builder = StreamingContext::builder("bench").trigger(trigger);
    let builder = match sync {
        None => builder,
        Some(sync) => builder.checkpoint_at(CheckpointPlace {
            store: Arc::new(FolderStore::new(folder.path()).sync(sync)),
            options: CheckpointOptions::default(),
        }),
    };
    (builder.build().unwrap(), folder)
}

fn ads_windows(criterion: &mut Criterion) {
    const BATCHES: usize = 8;
    let each = rows() / BATCHES;
    let ads = generator("ads", 5, &Options { late_ms: 500, ..Options::default() }).unwrap();
    let batches: Vec<RecordBatch> = (0..BATCHES).map(|batch| ads.rows((batch * each) as u64, each).unwrap()).collect();
    let mut group = group(criterion, "ads_windows");
    // Removed at the end: where thousands of files were removed a moment ago, ext4 takes several times as long to make one.
    let mut folders = Vec::new();
    group.throughput(Throughput::Elements((BATCHES * each) as u64));
    for (way, sync) in WAYS {
        group.bench_function(format!("{}_rows/{way}", BATCHES * each), |bencher| {
            let prepare = || {
                let (context, folder) = context(Trigger::AvailableNow, sync);
                let source = QueueSource::of(batches[0].schema(), batches.clone()).unwrap();
                let views = context.source("ads", source).unwrap();
                let views = views
                    .with_columns([col("event_time")
                        .cast(DataType::Timestamp(TimeUnit::Millisecond, None))
                        .alias("time")])
                    .with_watermark("time", Duration::from_secs(1))
                    .filter(col("event_type").eq("view"))
                    .join_static(campaigns().unwrap(), ["ad_id"], JoinKind::Inner)
                    .unwrap()
                    .key_by([col("campaign_id"), window(col("time"), Duration::from_secs(10))])
                    .aggregate([len().alias("views")]);
                views
                    .foreach_batch(|_, rows| {
                        black_box(rows);
                        Ok(())
                    })
                    .unwrap();
                (context, folder)
            };
            bencher.iter_batched(
                prepare,
                |(context, folder)| {
                    assert_eq!(context.start().unwrap().await_termination().unwrap().batches, BATCHES as u64);
                    folders.push(folder);
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    drop(folders);
}

fn empty_batch(criterion: &mut Criterion) {
    const BATCHES: usize = 1_000;
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let rows = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
    // A window over batches moves without rows.
    let count = |context: &StreamingContext, source: QueueSource| {
        let stream = context.source("n", source).unwrap().count_by_window(Duration::from_secs(1), None);
        stream.foreach_batch(|_, _| Ok(())).unwrap();
    };
    let mut group = group(criterion, "empty_batch");
    let mut folders = Vec::new();
    for (way, sync) in WAYS {
        group.bench_function(format!("{BATCHES}_in_a_row/{way}"), |bencher| {
            let prepare = || {
                let (context, folder) = context(Trigger::AvailableNow, sync);
                let batches = std::iter::once(rows.clone()).chain(std::iter::repeat_n(rows.slice(0, 0), BATCHES - 1));
                count(&context, QueueSource::of(rows.schema(), batches).unwrap());
                (context, folder)
            };
            let run = |(context, folder): (StreamingContext, _)| {
                assert_eq!(context.start().unwrap().await_termination().unwrap().batches, BATCHES as u64);
                folders.push(folder);
            };
            bencher.iter_batched(prepare, run, BatchSize::PerIteration);
        });
        // From another thread: handed over and back.
        let (context, _folder) = context(Trigger::Manual, sync);
        let (queue, source) = QueueSource::new(rows.schema());
        count(&context, source);
        let query = context.start().unwrap();
        queue.push(vec![rows.clone()]).unwrap();
        group.bench_function(format!("asked_for/{way}"), |bencher| bencher.iter(|| query.tick().unwrap().unwrap()));
    }
    group.finish();
    drop(folders);
}

/// The prepared stage of a stream that keeps something, over these columns.
fn stage(rows: &RecordBatch, describe: impl FnOnce(&DStream) -> DStream) -> Arc<dyn PreparedStage> {
    let (context, _folder) = context(Trigger::Manual, None);
    let (_queue, source) = QueueSource::new(rows.schema());
    let stream = describe(&context.source("rows", source).unwrap());
    let plan = pelton::plan::plan(&[Arc::clone(stream.plan())]).unwrap();
    let stage = plan.stages.iter().find(|stage| stage.operator().is_some()).unwrap();
    CpuBackend::new().prepare(stage, &Registry::default()).unwrap()
}

/// The threads that a query on this machine would have.
fn pool() -> &'static rayon::ThreadPool {
    static POOL: std::sync::LazyLock<rayon::ThreadPool> =
        std::sync::LazyLock::new(|| rayon::ThreadPoolBuilder::new().build().unwrap());
    &POOL
}

/// Runs a batch of rows through the stage and into what it keeps.
fn absorb(stage: &Arc<dyn PreparedStage>, kept: &mut dyn Kept, rows: &RecordBatch, moment: &Moment) -> usize {
    let mut task = stage.begin_at(moment).unwrap();
    task.push(rows).unwrap();
    let partials = vec![task.finish().unwrap()];
    let given = pool().install(|| kept.absorb(partials, moment)).unwrap();
    given.iter().flatten().map(RecordBatch::num_rows).sum()
}

/// Rows of keys that lie anywhere in a range.
fn keyed(range: usize, rows: usize, seed: u64) -> RecordBatch {
    let key = |row: u64| i64::try_from((row + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) % range as u64).unwrap();
    let keys: ArrayRef = Arc::new((0..rows as u64).map(|row| Some(key(row))).collect::<Int64Array>());
    let numbers: ArrayRef = Arc::new((0_i64..).take(rows).map(Some).collect::<Int64Array>());
    RecordBatch::try_from_iter([("key", keys), ("n", numbers)]).unwrap()
}

/// All keys of a range, so that all are held.
fn all_keys(range: std::ops::Range<usize>) -> RecordBatch {
    let keys: ArrayRef = Arc::new(range.clone().map(|key| Some(i64::try_from(key).unwrap())).collect::<Int64Array>());
    let numbers: ArrayRef = Arc::new(range.map(|_| Some(1)).collect::<Int64Array>());
    RecordBatch::try_from_iter([("key", keys), ("n", numbers)]).unwrap()
}

fn touch(criterion: &mut Criterion) {
    type Describe = fn(&DStream) -> DStream;
    let operators: [(&str, Describe); 2] = [
        ("running", |rows| rows.key_by([col("key")]).running([len().alias("n"), col("n").sum().alias("sum")])),
        ("drop_duplicates", |rows| {
            rows.select([col("key")]).drop_duplicates_by(["key"], Remember::Batches(Duration::from_secs(1 << 30)), None)
        }),
    ];
    let touched = rows() / 20;
    let mut group = group(criterion, "touch");
    group.throughput(Throughput::Elements(touched as u64));
    for (name, describe) in operators {
        for held in [touched, touched * 100] {
            let stage = stage(&keyed(1, 0, 0), describe);
            let mut kept = stage.keep().unwrap();
            let moment = Moment::default();
            for from in (0..held).step_by(1_000_000) {
                absorb(&stage, kept.as_mut(), &all_keys(from..held.min(from + 1_000_000)), &moment);
            }
            assert_eq!(kept.groups(), held as u64);
            let batches: Vec<RecordBatch> = (0..8).map(|seed| keyed(held, touched, seed * 1_000_003)).collect();
            let mut next = batches.iter().cycle();
            group.bench_function(format!("{name}/{touched}_of_{held}"), |bencher| {
                bencher.iter(|| absorb(&stage, kept.as_mut(), next.next().unwrap(), &moment));
            });
        }
    }
    group.finish();
}

/// A batch of events, `number` seconds of them later than the first: a thousand keys.
fn events(number: usize, seconds: usize, rows: usize) -> RecordBatch {
    let time = |row: usize| i64::try_from(number * seconds * 1_000 + row * seconds * 1_000 / rows).unwrap();
    let times: ArrayRef = Arc::new((0..rows).map(|row| Some(time(row))).collect::<TimestampMillisecondArray>());
    let keys = keyed(1_000, rows, number as u64);
    RecordBatch::try_from_iter([
        ("time", times),
        ("key", Arc::clone(keys.column(0))),
        ("n", Arc::clone(keys.column(1))),
    ])
    .unwrap()
}

fn windows(criterion: &mut Criterion) {
    const SECONDS: u32 = 10;
    let each = rows() / 4;
    let batches: Vec<RecordBatch> = (0..12).map(|number| events(number, SECONDS as usize, each)).collect();
    let mut group = group(criterion, "window");
    group.throughput(Throughput::Elements((each * batches.len()) as u64));
    let slides = [("tumbling_60s", 60), ("sliding_60s_by_10s", 10), ("sliding_60s_by_1s", 1)];
    let kinds: [(&str, &[Aggregate]); 2] = [
        ("", &[len().alias("rows"), col("n").sum().alias("sum")]),
        ("quantile_", &[col("n").quantile(0.9).alias("p90")]),
    ];
    for ((kind, aggregates), (name, slide)) in kinds.iter().flat_map(|kind| slides.map(|slide| (kind, slide))) {
        group.bench_function(format!("{kind}{name}"), |bencher| {
            let stage = stage(&batches[0], |rows| {
                let window = sliding_window(col("time"), Duration::from_secs(60), Duration::from_secs(slide));
                let rows = rows.with_watermark("time", Duration::ZERO);
                rows.key_by([col("key"), window]).aggregate(aggregates.iter().cloned())
            });
            bencher.iter(|| {
                let mut kept = stage.keep().unwrap();
                let mut horizon = None;
                let mut given = 0;
                for (number, rows) in (0_i64..).zip(&batches) {
                    let before = horizon;
                    horizon = Some((number + 1) * i64::from(SECONDS) * 1_000_000 - 1_000);
                    let moment = Moment { horizon_before: before, horizon, ..Moment::default() };
                    given += absorb(&stage, kept.as_mut(), rows, &moment);
                }
                given
            });
        });
    }
    group.finish();
}

/// A checkpoint whose operator holds this many keys: a snapshot, and what some batches changed after it. Gives its bytes.
fn stored_state(folder: &std::path::Path, stage: &Arc<dyn PreparedStage>, held: usize) -> u64 {
    let identity = Identity { operators: [("keys".to_owned(), String::new())].into(), ..Identity::default() };
    let store = Arc::new(FolderStore::new(folder).sync(false));
    let (checkpoint, _) = Checkpoint::open(store, CheckpointOptions::default(), &identity).unwrap();
    let mut kept = stage.keep().unwrap();
    let moment = Moment::default();
    for from in (0..held).step_by(1_000_000) {
        absorb(stage, kept.as_mut(), &all_keys(from..held.min(from + 1_000_000)), &moment);
    }
    checkpoint.save_state("keys", 0, StatePart::Snapshot, &pool().install(|| kept.snapshot()).unwrap()).unwrap();
    for batch in 1..6 {
        absorb(stage, kept.as_mut(), &keyed(held, held / 100, batch * 1_000_003), &moment);
        checkpoint.save_state("keys", batch, StatePart::Changes, &pool().install(|| kept.changes()).unwrap()).unwrap();
    }
    let files = std::fs::read_dir(folder.join("state/keys")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// A state of about 500 bytes for each row of the other benchmarks: 1 GB.
fn recovery(criterion: &mut Criterion) {
    let held = rows() * 12;
    let folder = tempfile::tempdir().unwrap();
    let stage = stage(&keyed(1, 0, 0), |rows| {
        rows.key_by([col("key")]).running([len().alias("n"), col("n").sum().alias("sum")])
    });
    let bytes = stored_state(folder.path(), &stage, held);
    let store = FolderStore::new(folder.path());
    let mut group = group(criterion, "recovery");
    group.throughput(Throughput::Bytes(bytes));
    group.bench_function(format!("{held}_keys_{}_MB", bytes / 1_000_000), |bencher| {
        bencher.iter(|| {
            let state = read_state(&store, "keys", 5).unwrap();
            let mut kept = stage.keep().unwrap();
            pool().install(|| kept.restore(&state.snapshot.unwrap(), &state.changes)).unwrap();
            assert_eq!(kept.groups(), held as u64);
            kept
        });
    });
    group.finish();
}

criterion_group!(all, ads_windows, empty_batch, touch, windows, recovery);
criterion_main!(all);
