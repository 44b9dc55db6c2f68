//! Groups that outlive the batch: a device reduces the rows of each batch, and what is kept is the same as by the CPU.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow_select::concat::concat_batches;
use pelton::clock::VirtualClock;
use pelton::connectors::memory::MemorySink;
use pelton::connectors::queue::QueueSource;
use pelton::dispatch::Placement;
use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::gpu::{Fault, Faults, GpuBackend, Tier, Wish};
use pelton::kernels::{Backend, Moment, Sighting};
use pelton::plan::logical::Over;
use pelton::plan::stage::{Registry, Stage};
use pelton::prelude::*;

use crate::common::{Range, assert_batches_equal, ranged_batch};
use crate::support::{Chain, Everywhere, adapter, cut, narrow_schema, wish};

const NAMES: [&str; 8] = ["name", "u8", "i64", "f64", "price", "at", "flag", "id"];

fn aggregates() -> Vec<Aggregate> {
    vec![
        len().alias("n"),
        col("i64").sum().alias("sum"),
        col("f64").sum().alias("floats"),
        col("f64").var(1).alias("var"),
        col("price").max().alias("most"),
        col("name").min().alias("least"),
        col("f64").mean().filter(col("flag")).alias("mean"),
    ]
}

/// Running totals and windows of every kind that keeps groups.
fn stages() -> Vec<Stage> {
    let rows = || Chain::new(&narrow_schema(&NAMES));
    let millis = Duration::from_millis;
    let batches = |slide| Over::Batches { size: Duration::from_secs(3), slide };
    let tumbling = || window(col("at"), millis(40));
    let sliding = || sliding_window(col("at"), millis(60), millis(20));
    let filtered = || rows().filter(col("u8").lt(9));
    let all = [
        filtered().kept([col("u8")], aggregates(), Over::Always, OutputMode::Update),
        rows().kept([col("name"), col("u8")], aggregates(), Over::Always, OutputMode::Complete),
        rows().kept([], aggregates(), Over::Always, OutputMode::Update),
        filtered().kept([col("name")], aggregates(), batches(None), OutputMode::Complete),
        rows().kept([col("u8")], aggregates(), batches(Some(Duration::from_secs(2))), OutputMode::Complete),
        rows().kept([col("u8"), tumbling()], aggregates(), Over::Event, OutputMode::Append),
        rows().kept([tumbling()], aggregates(), Over::Event, OutputMode::Update),
        rows().kept([col("name"), sliding()], aggregates(), Over::Event, OutputMode::Append),
        rows().kept([col("u8"), session_window(col("at"), millis(15))], aggregates(), Over::Event, OutputMode::Append),
    ];
    all.into_iter().map(Chain::stage).collect()
}

fn batches(rows: &[usize]) -> Vec<RecordBatch> {
    let batch = |(seed, &rows)| ranged_batch(seed as u64, rows, &narrow_schema(&NAMES), 0.1, Range::Tame);
    rows.iter().enumerate().map(batch).collect()
}

/// What each batch gave, what was seen of time, and what is kept at the end.
fn run(backend: &dyn Backend, stage: &Stage, batches: &[RecordBatch]) -> (Vec<RecordBatch>, Sighting, RecordBatch) {
    backend.supports(stage).unwrap_or_else(|reason| panic!("{} refuses: {reason}", backend.name()));
    let prepared = backend.prepare(stage, &Registry::default()).unwrap();
    let mut kept = prepared.keep().unwrap();
    let (mut answers, mut seen) = (Vec::new(), Sighting::default());
    let mut moment = Moment::default();
    for batch in batches {
        moment = Moment { time: moment.time + Duration::from_secs(1), previous: Some(moment.time), ..moment };
        let mut partials = Vec::new();
        for pieces in cut(batch) {
            let mut task = prepared.begin_at(&moment).unwrap();
            pieces.iter().for_each(|piece| task.push(piece).unwrap());
            task.settle().unwrap();
            task.flow().unwrap().check(pieces.iter().map(|piece| piece.num_rows() as u64).sum()).unwrap();
            seen.absorb(&task.sighting());
            partials.push(task.finish().unwrap());
        }
        // The watermark is 20 ms behind the newest time.
        moment.horizon = seen.newest.values().min().map(|newest| newest - 20_000).max(moment.horizon_before);
        let answer = kept.absorb(partials, &moment).unwrap().concat();
        answers.push(concat_batches(&stage.output_schema, &answer).unwrap());
        moment.horizon_before = moment.horizon;
    }
    (answers, seen, kept.scan().unwrap())
}

#[track_caller]
fn agree(backend: &dyn Backend, stage: &Stage, batches: &[RecordBatch]) {
    let (answers, seen, kept) = run(&CpuBackend::new(), stage, batches);
    let (found, found_seen, found_kept) = run(backend, stage, batches);
    assert_eq!(found_seen, seen);
    for (found, expected) in found.iter().zip(&answers).chain([(&found_kept, &kept)]) {
        assert_batches_equal(found, expected);
    }
}

#[test]
fn every_kind_of_window_gives_what_the_cpu_gives() {
    let Some(everywhere) = Everywhere::with(|wish| Wish { rows_max: Some(150), groups_first: Some(8), ..wish }) else {
        return;
    };
    let batches = batches(&[200, 1, 0, 65, 400, 300]);
    for stage in stages() {
        for gpu in &everywhere.gpus {
            agree(gpu, &stage, &batches);
            assert_eq!(gpu.counts().fallen_back, 0, "{:?}", gpu.counts());
        }
    }
}

#[test]
fn a_batch_that_fails_half_way_is_not_in_the_state_twice() {
    let Some(adapter) = adapter() else { return };
    let batches = batches(&[300, 400, 300]);
    for fault in [Fault::Lose, Fault::Hurry, Fault::Confuse, Fault::Stall] {
        for stage in [&stages()[0], &stages()[5]] {
            let wish = Wish { rows_max: Some(100), ..wish(&adapter, Tier::Wide) };
            let faults = Faults::new([None, Some(fault), None, None, None, Some(fault)]).opened_at_once();
            let backend = GpuBackend::open(wish).unwrap().with_faults(faults);
            agree(&backend, stage, &batches);
            let counts = backend.counts();
            assert!(counts.fallen_back == 2 && counts.batches > 4, "{fault:?}: {counts:?}");
        }
    }
}

#[test]
fn progress_records_tell_where_the_rows_of_a_device_went() {
    let Some(adapter) = adapter() else { return };
    let (adapter, without_cache) = (Some(adapter), true);
    let gpu = Placement { device: Device::Gpu, adapter, strict: true, without_cache };
    let told = |placement: Placement| {
        let records: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&records);
        let clock = VirtualClock::at(Duration::ZERO);
        let context = StreamingContext::builder("flows")
            .trigger(Trigger::AvailableNow)
            .clock(clock)
            .placement(placement)
            .on_progress(move |one| {
                let text = format!("{} {} {} {:?}", one.late, one.untimed, one.groups, one.stages);
                heard.lock().unwrap().push(text);
            })
            .build()
            .unwrap();
        let source = QueueSource::of(narrow_schema(&NAMES), batches(&[500, 300, 300])).unwrap();
        let rows = context.source("rows", source).unwrap().with_watermark("at", Duration::from_millis(5));
        let sink = MemorySink::new();
        let keyed = rows.filter(col("u8").lt(9)).key_by([col("u8"), window(col("at"), Duration::from_millis(30))]);
        keyed.aggregate(aggregates()).write(sink.clone()).unwrap();
        context.start().unwrap().await_termination().unwrap();
        let records = records.lock().unwrap().clone();
        (records, sink.rows().unwrap().unwrap())
    };
    let ((records, rows), (expected, expected_rows)) = (told(gpu), told(Device::Cpu.into()));
    assert_eq!(records, expected);
    assert_batches_equal(&rows, &expected_rows);
}
