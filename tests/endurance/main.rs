//! The memory of a query does not grow with the batches that it has run, and a restart takes no more than there is room for.
//!
//! Counted are the bytes that are in use, by the allocator of this test program. The long form also looks at what the system
//! says of the process:
//!
//! ```console
//! PELTON_BATCHES=100800 cargo test --release --test endurance -- --nocapture
//! ```

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_array::{ArrayRef, Int64Array, TimestampMillisecondArray};
use pelton::checkpoint::{CheckpointOptions, FolderStore};
use pelton::connectors::generator::{GeneratorSource, Pace};
use pelton::prelude::*;
use pelton::runtime::{BatchSize, CheckpointPlace, MemoryBudget};

/// The system's allocator, with the bytes that are in use, and the most that were since somebody looked.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

/// One test at a time: what is counted is that of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator as it is; counting touches one number only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let before = IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        MOST.fetch_max(before + layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(place, layout) }
    }
}

const ROWS_PER_BATCH: u64 = 20;

/// Batches of the quick form: a multiple of those of two windows of a minute, and of those between snapshots.
const QUICK: u64 = 600;

/// Rows of a few hundred keys, a second of event time a batch.
fn events() -> GeneratorSource {
    let schema = Schema::new(vec![
        Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        Field::new("key", DataType::Int64, false),
    ]);
    let schema = Arc::new(schema);
    let made = Arc::clone(&schema);
    let rows = move |first: u64, rows: usize| {
        let numbers = || (first..).take(rows).map(|number| i64::try_from(number).unwrap());
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(numbers().map(|n| n * 50)));
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers().map(|n| n * 7_919 % 500)));
        Ok(RecordBatch::try_new(Arc::clone(&made), vec![times, keys]).unwrap())
    };
    GeneratorSource::from_fn(schema, Pace::PerBatch(ROWS_PER_BATCH), rows)
}

/// Runs so many batches of queries that keep something, and gives what `look` says after each of these.
fn run<T>(batches: u64, look_after: [u64; 2], look: impl Fn() -> T) -> [T; 2] {
    let folder = tempfile::tempdir().unwrap();
    let place = CheckpointPlace {
        store: Arc::new(FolderStore::new(folder.path()).sync(false)),
        options: CheckpointOptions { snapshot_every: 10, retain: 50 },
    };
    let size = BatchSize { max_latency: Some(Duration::from_secs(3_600)), max_rows: Some(1_000), max_bytes: None };
    let context = StreamingContext::builder("endurance")
        .trigger(Trigger::Manual)
        .partitions(2)
        .checkpoint_at(place)
        .batch_size(size)
        .memory_budget(MemoryBudget::new(1 << 30))
        .build()
        .unwrap();
    let events = context.source("events", events()).unwrap().with_watermark("time", Duration::from_secs(2));
    let counts = events.key_by([col("key")]).running([len().alias("n"), col("time").max().alias("latest")]);
    counts.foreach_batch(|_, _| Ok(())).unwrap();
    let minutes =
        events.key_by([col("key"), window(col("time"), Duration::from_secs(60))]).aggregate([len().alias("n")]);
    minutes.foreach_batch(|_, _| Ok(())).unwrap();
    let unique = events.drop_duplicates_within_watermark(["key", "time"]);
    unique.foreach_batch(|_, _| Ok(())).unwrap();
    context.max_rows_per_second("events", 1 << 40).unwrap();
    let query = context.start().unwrap();
    let mut seen = Vec::new();
    for batch in 0..batches {
        let progress = query.tick().unwrap().unwrap();
        assert_eq!((progress.batch_id, progress.rows_in), (batch, ROWS_PER_BATCH));
        if look_after.contains(&(batch + 1)) {
            seen.push(look());
        }
    }
    query.stop(StopMode::Graceful);
    query.await_termination().unwrap();
    seen.try_into().ok().unwrap()
}

/// What the system says that the process holds in memory, in KiB; nothing where it does not say.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn the_memory_in_use_does_not_grow_from_batch_to_batch() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let batches = std::env::var("PELTON_BATCHES").map_or(QUICK, |batches| batches.parse().unwrap());
    assert!(batches >= QUICK && batches.is_multiple_of(QUICK), "PELTON_BATCHES is a multiple of {QUICK}");
    // Both lie at the same place between snapshots, and of the windows.
    let first = if batches == QUICK { QUICK / 2 } else { batches / 10 };
    let look = || (IN_USE.load(Ordering::Relaxed), resident());
    let [(bytes, pages), (bytes_after, pages_after)] = run(batches, [first, batches], look);
    println!("after {first} batches {bytes} bytes in use, {pages:?} KiB resident");
    println!("after {batches} batches {bytes_after} bytes in use, {pages_after:?} KiB resident");
    // Tables and buffers that double now and then are all there is.
    assert!(bytes_after < bytes + (64 << 10), "{bytes} bytes in use became {bytes_after}");
    // The pages of a process say something only after it has run for a while.
    if let (Some(before), Some(after)) = (pages, pages_after)
        && batches >= 10_000
    {
        assert!(after < before + before / 10 + 4_096, "{before} KiB resident became {after}");
    }
}

/// What keeps something, over rows of keys.
type Describe = fn(&DStream) -> DStream;

/// How many keys the queries of a restart hold.
const HELD: i64 = 40_000;

#[test]
fn a_restart_takes_in_key_group_by_key_group() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let kinds: [(&str, Describe); 7] = [
        ("running", |keys| keys.key_by([col("key")]).running([len().alias("n"), col("key").sum().alias("sum")])),
        ("duplicates", |keys| keys.drop_duplicates(["key"])),
        ("remembered", |keys| {
            keys.key_by([col("key")]).map_with_state(
                [col("key")],
                |_: &i64, key: Option<i64>, state: &mut State<i64>| {
                    state.set(key.unwrap_or(0));
                    key.unwrap_or(0)
                },
            )
        }),
        ("forgetful", |keys| keys.key_by([col("key")]).ttl(Duration::from_secs(1 << 30)).running([len().alias("n")])),
        ("counted", |keys| keys.key_by([col("key")]).count_window(3, [len().alias("n")])),
        ("sessions", |keys| {
            let keys = keys.with_watermark("time", Duration::from_secs(3_600));
            keys.key_by([col("key"), session_window(col("time"), Duration::from_secs(60))])
                .aggregate([len().alias("n")])
        }),
        ("folded", |keys| {
            let sum = WindowReduce::by(|a: i64, b: i64| a + b);
            let day = Duration::from_secs(1 << 30);
            keys.key_by([col("key")]).reduce_over_batches([col("key")], day, Some(day), sum)
        }),
    ];
    for (name, describe) in kinds {
        let folder = tempfile::tempdir().unwrap();
        let start = |room: Option<u64>| {
            let place = CheckpointPlace {
                store: Arc::new(FolderStore::new(folder.path().join("checkpoint")).sync(false)),
                options: CheckpointOptions { snapshot_every: 2, retain: 50 },
            };
            let mut builder =
                StreamingContext::builder("restart").trigger(Trigger::Manual).partitions(2).checkpoint_at(place);
            if let Some(room) = room {
                builder = builder.state_memory(room).spill_folder(folder.path().join("spill"));
            }
            let context = builder.build().unwrap();
            let rows = |first: u64, rows: usize| {
                let keys: ArrayRef =
                    Arc::new((first..).take(rows).map(|key| i64::try_from(key).ok()).collect::<Int64Array>());
                let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![0; rows]));
                Ok(RecordBatch::try_from_iter([("time", times), ("key", keys)]).unwrap())
            };
            let schema = rows(0, 0).unwrap().schema();
            let keys = GeneratorSource::from_fn(schema, Pace::PerBatch(u64::try_from(HELD / 4).unwrap()), rows);
            describe(&context.source("keys", keys).unwrap()).foreach_batch(|_, _| Ok(())).unwrap();
            context.start().unwrap()
        };
        let end = |query: RunningQuery| {
            query.stop(StopMode::Graceful);
            query.await_termination().unwrap();
        };
        let query = start(None);
        (0..4).for_each(|_| drop(query.tick().unwrap().unwrap()));
        end(query);
        // The most that is in use while the query starts, beyond what was before.
        let most = |room: Option<u64>| {
            let before = IN_USE.load(Ordering::Relaxed);
            MOST.store(before, Ordering::Relaxed);
            let query = start(room);
            let held = query.state(query.states()[0]).unwrap().len().unwrap();
            assert_eq!(held, u64::try_from(HELD).unwrap(), "{name}");
            let most = MOST.load(Ordering::Relaxed) - before;
            end(query);
            most
        };
        let (roomy, cramped) = (most(None), most(Some(1)));
        println!("{name}: {roomy} bytes to start with room for all, {cramped} without");
        assert!(cramped < roomy / 2, "{name}: {cramped} bytes, where {roomy} are taken with room for all");
    }
}
