//! What a device can do, and what Pelton makes of it, beside the CPU on the same rows: a record in Markdown.
//!
//! `cargo bench --bench gpu` prints it; `PELTON_ADAPTER` chooses an adapter, `PELTON_BENCH_ROWS` the rows of the largest
//! batch. All figures of chains are `gpu_with_copies`: rows go up and answers come down in every run.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot go on should stop; its record goes to standard output; it measures time"
)]

mod link;
mod probes;
mod state;

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array};
use pelton::clock::SystemClock;
use pelton::dispatch::Placement;
use pelton::kernels::gpu::{AdapterInfo, GpuBackend, Spread, Stopwatch, Tier, Wish, adapters};
use pelton::kernels::{Backend, PreparedStage};
use pelton::plan::stage::{Registry, SourceId, Stage};
use pelton::plan::{LogicalPlan, plan};
use pelton::prelude::*;

use crate::link::{Link, best};

fn main() {
    let wanted = std::env::var("PELTON_ADAPTER").ok().map(|name| name.to_lowercase());
    let is_meant =
        |adapter: &AdapterInfo| wanted.as_ref().is_none_or(|name| adapter.name.to_lowercase().contains(name));
    let Some(adapter) = adapters().unwrap().into_iter().find(is_meant) else {
        println!("SKIPPED: there is no such adapter");
        return;
    };
    let rows = std::env::var("PELTON_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(16_000_000);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    println!("# {adapter}\n");
    println!("{}; driver {}; {threads} threads of the CPU; at most {rows} rows.\n", adapter.tier, adapter.driver);
    if adapter.is_software() {
        println!("A software adapter: these figures say nothing of a GPU.\n");
    }
    measure_link(&adapter, rows);
    measure_chains(&adapter, rows);
    measure_groups(&adapter, rows);
    state::measure(&adapter, rows);
}

/// What the link and a submission cost.
fn measure_link(adapter: &AdapterInfo, rows: usize) {
    let link = Link::open(&adapter.name);
    println!("| copies | bytes | GB/s |\n|---|---|---|");
    let largest = (8 * rows as u64).next_multiple_of(4096).min(adapter.buffer_bytes_max / 2).min(512 << 20);
    for bytes in [largest / 64, largest / 8, largest].map(|bytes| bytes.next_multiple_of(4096)) {
        let speed = |seconds: f64| bytes as f64 / seconds / 1e9;
        println!("| up | {bytes} | {:.2} |", speed(link.upload(bytes)));
        println!("| down | {bytes} | {:.2} |", speed(link.download(bytes)));
        // A copy reads and writes each byte.
        println!("| on the device | {bytes} | {:.2} |", 2.0 * speed(link.copy(bytes)));
    }
    println!("\n| up, into memory of the host | threads | GB/s | without the copy, GB/s |\n|---|---|---|---|");
    for threads in [1, 2, 4, 8, 16] {
        let in_place = link
            .upload_in_place(largest, threads)
            .map_or("-".to_owned(), |seconds| format!("{:.2}", largest as f64 / seconds / 1e9));
        let speed = largest as f64 / link.upload_by(largest, threads) / 1e9;
        println!("| {largest} bytes | {threads} | {speed:.2} | {in_place} |");
    }
    let (median, late) = link.round_trip();
    println!("\nRound trip of 64 bytes: {:.0} µs, 99 in 100 within {:.0} µs.", 1e6 * median, 1e6 * late);
    let bytes =
        largest.min(adapter.binding_bytes_max).next_multiple_of(4096).min(adapter.binding_bytes_max / 4096 * 4096);
    probes::measure(&link, bytes, 2.0 * bytes as f64 / link.copy(bytes));
}

/// Whole numbers, floats, and keys of the kinds that matter: even ones of several counts, and skewed ones.
fn batch(rows: usize) -> RecordBatch {
    let mut state = 7_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(state >> 33).unwrap()
    };
    let draws: Vec<i64> = (0..rows).map(|_| random()).collect();
    let column =
        |of: &dyn Fn(i64) -> i64| -> ArrayRef { Arc::new(draws.iter().map(|&draw| of(draw)).collect::<Int64Array>()) };
    let spread = |draw: i64, groups: i64| draw % groups * 2_654_435_761;
    let floats: ArrayRef = Arc::new(draws.iter().map(|&draw| draw as f64 / 64.0).collect::<Float64Array>());
    RecordBatch::try_from_iter([
        ("value", column(&|draw| draw % 1000)),
        ("float", floats),
        ("few", column(&|draw| draw % 4096)),
        ("some", column(&|draw| spread(draw, 100_000))),
        ("many", column(&|draw| spread(draw, 10_000_000))),
        ("skewed", column(&|draw| if draw % 10 == 0 { spread(draw, 100_000) } else { 5 })),
    ])
    .unwrap()
}

/// Chains on both devices, at several sizes.
fn measure_chains(adapter: &AdapterInfo, rows_max: usize) {
    let sums = || [len().alias("n"), col("value").sum().alias("sum")];
    let keyed = |key: &str| Chain::new().key_by([col(key)]).aggregate(sums());
    let chains = [
        ("sum", Chain::new().aggregate(sums())),
        ("filtered sum", Chain::new().filter(col("value").lt(500)).aggregate(sums())),
        ("exact float sum", Chain::new().aggregate([col("float").sum().alias("sum")])),
        (
            "filter, product",
            Chain::new().filter(col("value").lt(500)).select([(col("value") * 3).alias("x"), col("few")]),
        ),
        ("4,096 groups", keyed("few")),
        ("100,000 groups", keyed("some")),
        ("10,000,000 groups", keyed("many")),
        ("skewed groups", keyed("skewed")),
    ];
    println!("| chain | rows | cpu M rows/s | gpu M rows/s | gpu / cpu |\n|---|---|---|---|---|");
    let all = batch(rows_max);
    let placement =
        Placement { device: Device::Gpu, adapter: Some(adapter.name.clone()), strict: true, ..Placement::default() };
    for (name, chain) in chains {
        let cpu = Program::compile(&all.schema(), &chain, Device::Cpu).unwrap();
        let gpu = Program::compile(&all.schema(), &chain, placement.clone()).unwrap();
        for rows in [rows_max / 256, rows_max / 16, rows_max].into_iter().filter(|&rows| rows > 0) {
            let some = all.slice(0, rows);
            assert_eq!(cpu.run(&some).unwrap(), gpu.run(&some).unwrap(), "{name}, {rows} rows");
            let [cpu, gpu] = [&cpu, &gpu].map(|program| best(|| drop(program.run(&some).unwrap())));
            let speed = |seconds: f64| rows as f64 / seconds / 1e6;
            println!("| {name} | {rows} | {:.1} | {:.1} | {:.2} |", speed(cpu), speed(gpu), cpu / gpu);
        }
    }
}

/// Keyed reduces of few to many groups, even and skewed, on every tier: where one way of grouping overtakes another. From many
/// groups on, also where they would be added up if nobody chose.
fn measure_groups(adapter: &AdapterInfo, rows: usize) {
    println!("\n| groups | keys | tier | added up | M rows/s | resident, M rows/s |\n|---|---|---|---|---|---|");
    for groups in [1, 16, 256, 4096, 65_536, 1 << 20, 1 << 24].into_iter().filter(|&groups| groups <= rows as u64) {
        for (keys, power) in [("even", 1), ("skewed", 3)] {
            let batch = keyed(rows, groups, power);
            let mut expected = None;
            for tier in Tier::ALL.into_iter().filter(|tier| *tier <= adapter.tier) {
                let all = [None, Some(Spread::One), Some(Spread::Parted)];
                for spread in &all[..if groups < 65_536 { 1 } else { all.len() }] {
                    let name = Some(adapter.name.clone());
                    let wish = Wish { adapter: name, tier: Some(tier), spread: *spread, ..Wish::default() };
                    let added = spread.map_or("where it suits", |spread| match spread {
                        Spread::Parted => "in parts",
                        _ => "in one table",
                    });
                    let ([whole, resident], answer) = seconds(&wish, &batch);
                    assert_eq!(&answer, expected.get_or_insert_with(|| answer.clone()), "{tier}, {added}");
                    let [whole, resident] = [whole, resident].map(|seconds| rows as f64 / seconds / 1e6);
                    println!("| {groups} | {keys} | {tier} | {added} | {whole:.1} | {resident:.1} |");
                }
            }
        }
    }
}

/// What a keyed reduce takes with all that a query waits for, and the part from its submissions to their answers; and its
/// answer.
fn seconds(wish: &Wish, batch: &RecordBatch) -> ([f64; 2], Vec<Vec<RecordBatch>>) {
    let stage = stage(batch);
    let stopwatch = Stopwatch::new(Arc::new(SystemClock::new()));
    let ready = |backend: GpuBackend| backend.strict().prepare(&stage, &Registry::default()).unwrap();
    let run = |prepared: &dyn PreparedStage| {
        let mut task = prepared.begin().unwrap();
        task.push(batch).unwrap();
        prepared.merge(vec![task.finish().unwrap()]).unwrap()
    };
    let plain = ready(GpuBackend::open(wish.clone()).unwrap());
    let answer = run(plain.as_ref());
    let whole = best(|| drop(run(plain.as_ref())));
    let timed = ready(GpuBackend::open_timed(wish.clone(), Some(stopwatch.clone())).unwrap());
    // The first run compiles shaders, and finds out how many groups there are.
    let times = (0..5).map(|_| {
        drop(run(timed.as_ref()));
        stopwatch.take().as_secs_f64()
    });
    let resident = times.skip(1).fold(f64::INFINITY, f64::min);
    ([whole, resident], answer)
}

/// Sums by spread keys. With a higher power the first keys are more frequent.
fn keyed(rows: usize, groups: u64, power: i32) -> RecordBatch {
    let mut state = 3_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    #[expect(clippy::cast_possible_truncation, reason = "a number of a group")]
    let key = |share: f64| (share.powi(power) * groups as f64) as i64 * 7919;
    let keys: ArrayRef = Arc::new((0..rows).map(|_| key(draw())).collect::<Int64Array>());
    let values: ArrayRef = Arc::new((0..rows as i64).map(|row| row % 1000).collect::<Int64Array>());
    RecordBatch::try_from_iter([("key", keys), ("value", values)]).unwrap()
}

fn stage(batch: &RecordBatch) -> Stage {
    let source = LogicalPlan::Source { source: SourceId(0), name: "rows".to_owned(), schema: batch.schema() };
    let (keys, aggregates) = (vec![col("key")], vec![col("value").sum().alias("sum"), len().alias("n")]);
    let reduce = LogicalPlan::Reduce { input: Arc::new(source), keys, aggregates };
    plan(&[Arc::new(reduce)]).unwrap().stages.remove(0)
}
