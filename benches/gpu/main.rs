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

mod expected;
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

use crate::expected::{Found, better};
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
    let mut found = Found::default();
    measure_link(&adapter, rows, &mut found);
    measure_chains(&adapter, rows);
    measure_sums(&adapter, rows, &mut found);
    measure_groups(&adapter, rows, &mut found);
    state::measure(&adapter, rows);
    found.tell(adapter.is_software());
}

/// What the link and a submission cost.
fn measure_link(adapter: &AdapterInfo, rows: usize, found: &mut Found) {
    let link = Link::open(&adapter.name);
    println!("{}\n", link.described);
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
        let speed = largest as f64 / link.upload_by(largest, threads);
        println!("| {largest} bytes | {threads} | {:.2} | {in_place} |", speed / 1e9);
        found.up = found.up.max(speed);
    }
    let (median, late) = link.round_trip();
    println!("\nRound trip of 64 bytes: {:.0} µs, 99 in 100 within {:.0} µs.", 1e6 * median, 1e6 * late);
    let bytes =
        largest.min(adapter.binding_bytes_max).next_multiple_of(4096).min(adapter.binding_bytes_max / 4096 * 4096);
    found.copy = 2.0 * bytes as f64 / link.copy(bytes);
    probes::measure(&link, bytes, found.copy);
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

/// Sums of rows that lie on the device, held against what it copies: by the bytes of a row as it came, though fewer travel.
fn measure_sums(adapter: &AdapterInfo, rows: usize, found: &mut Found) {
    println!("\n| resident | rows | tier | M rows/s | of the copy |\n|---|---|---|---|---|");
    let batch = keyed(rows, 1 << 20, 0.0, 1);
    let sums = || vec![col("value").sum().alias("sum"), len().alias("n")];
    for (name, filter, bytes) in [("sum", None, 8.0), ("filtered sum", Some(col("key").lt(1 << 19)), 16.0)] {
        for tier in [Tier::Portable, Tier::Wide].into_iter().filter(|tier| *tier <= adapter.tier) {
            let wish = Wish { adapter: Some(adapter.name.clone()), tier: Some(tier), ..Wish::default() };
            let stage = stage(&batch, filter.clone(), Vec::new(), sums());
            let ([_, resident], _) = seconds(&wish, &stage, &batch);
            let speed = rows as f64 / resident;
            let share = speed * bytes / found.copy;
            println!("| {name} | {rows} | {tier} | {:.1} | {share:.2} |", speed / 1e6);
            if filter.is_some() {
                better(&mut found.filtered_sum, share);
            } else {
                better(&mut found.sum, share);
                let ([fixed, _], _) = seconds(&wish, &stage, &batch.slice(0, batch.num_rows().min(256)));
                found.fixed = Some(found.fixed.map_or(fixed, |known| known.min(fixed)));
            }
        }
    }
}

/// Where groups of so many are added up: wherever it suits them, and for even keys each way that may be worth it, so that the
/// numbers at which one overtakes another can be read off.
fn ways(groups: u64, is_even: bool) -> impl Iterator<Item = (Option<Spread>, &'static str)> {
    let forced = [
        (Spread::Local, "in workgroups", groups <= 1024),
        (Spread::Copied, "in copies", (256..=100_000).contains(&groups)),
        (Spread::One, "in one table", groups >= 256),
        (Spread::Parted, "in parts", groups >= 100_000),
    ];
    let forced = forced.into_iter().filter(move |(_, _, is_worth_it)| is_even && *is_worth_it);
    std::iter::once((None, "where it suits")).chain(forced.map(|(spread, name, _)| (Some(spread), name)))
}

/// Keyed reduces of few to many groups, even and skewed, on the lowest tier and the highest one: where one way of grouping
/// overtakes another.
fn measure_groups(adapter: &AdapterInfo, rows: usize, found: &mut Found) {
    println!(
        "\n| groups | keys | tier | added up | M rows/s | resident, M rows/s | of the copy |\n|---|---|---|---|---|---|---|"
    );
    let counts = [1, 16, 256, 4096, 100_000, 1_000_000, 10_000_000];
    for groups in counts.into_iter().filter(|&groups| groups <= rows as u64) {
        // Dense keys are numbers of groups as they are; others are found by hashing.
        let dense = (groups <= 4096).then_some(("dense", 0.0, 1));
        let others = [("even", 0.0, 7919), ("Zipf 1.0", 1.0, 7919), ("Zipf 1.5", 1.5, 7919)];
        for (keys, exponent, apart) in dense.into_iter().chain(others) {
            let batch = keyed(rows, groups, exponent, apart);
            let sums = vec![col("value").sum().alias("sum"), len().alias("n")];
            let stage = stage(&batch, None, vec![col("key")], sums);
            let mut expected = None;
            for tier in [Tier::Portable, Tier::Wide].into_iter().filter(|tier| *tier <= adapter.tier) {
                for (spread, added) in ways(groups, keys == "even") {
                    let name = Some(adapter.name.clone());
                    let wish = Wish { adapter: name, tier: Some(tier), spread, ..Wish::default() };
                    let ([whole, resident], answer) = seconds(&wish, &stage, &batch);
                    assert_eq!(&answer, expected.get_or_insert_with(|| answer.clone()), "{tier}, {added}");
                    // A key and a value.
                    let share = 16.0 * rows as f64 / resident / found.copy;
                    match (groups, keys, spread) {
                        (4096, "dense", None) => better(&mut found.dense_groups, share),
                        (100_000, "even", None) => better(&mut found.some_groups, rows as f64 / resident),
                        (10_000_000, "even", None) => better(&mut found.many_groups, rows as f64 / resident),
                        _ => {}
                    }
                    let [whole, resident] = [whole, resident].map(|seconds| rows as f64 / seconds / 1e6);
                    println!("| {groups} | {keys} | {tier} | {added} | {whole:.1} | {resident:.1} | {share:.2} |");
                }
            }
        }
    }
}

/// What a keyed reduce takes with all that a query waits for, and the part from its submissions to their answers; and its
/// answer.
fn seconds(wish: &Wish, stage: &Stage, batch: &RecordBatch) -> ([f64; 2], Vec<Vec<RecordBatch>>) {
    let stopwatch = Stopwatch::new(Arc::new(SystemClock::new()));
    let ready = |backend: GpuBackend| backend.strict().prepare(stage, &Registry::default()).unwrap();
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

/// Keys that lie so far apart, of which the k-th is as frequent as k to the power of minus the exponent, and values.
fn keyed(rows: usize, groups: u64, exponent: f64, apart: i64) -> RecordBatch {
    let mut state = 3_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let zipf = Zipf::new(groups as f64, exponent);
    #[expect(clippy::cast_possible_truncation, reason = "a number of a group")]
    let mut key = || zipf.draw(&mut draw) as i64 * apart;
    let keys: ArrayRef = Arc::new((0..rows).map(|_| key()).collect::<Int64Array>());
    let values: ArrayRef = Arc::new((0..rows as i64).map(|row| row % 1000).collect::<Int64Array>());
    RecordBatch::try_from_iter([("key", keys), ("value", values)]).unwrap()
}

/// Draws from 1 to a number by Zipf's law. Source: Hörmann and Derflinger, "Rejection-inversion to generate variates from
/// monotone discrete distributions" (1996).
struct Zipf {
    count: f64,
    exponent: f64,
    /// What areas are drawn from, and how near to its number a draw is taken as it is.
    areas: [f64; 2],
    near: f64,
}

impl Zipf {
    fn new(count: f64, exponent: f64) -> Self {
        let zipf = Self { count, exponent, areas: [0.0; 2], near: 0.0 };
        let areas = [zipf.area(1.5) - 1.0, zipf.area(count + 0.5)];
        let near = 2.0 - zipf.place(zipf.area(2.5) - 2.0_f64.powf(-exponent));
        Self { areas, near, ..zipf }
    }

    /// What lies below the curve up to a place.
    fn area(&self, place: f64) -> f64 {
        let power = 1.0 - self.exponent;
        if power == 0.0 { place.ln() } else { (place.powf(power) - 1.0) / power }
    }

    /// The place of an area.
    fn place(&self, area: f64) -> f64 {
        let power = 1.0 - self.exponent;
        if power == 0.0 { area.exp() } else { (area * power + 1.0).powf(1.0 / power) }
    }

    fn draw(&self, mut share: impl FnMut() -> f64) -> f64 {
        loop {
            let area = self.areas[1] + share() * (self.areas[0] - self.areas[1]);
            let place = self.place(area);
            let number = place.round().clamp(1.0, self.count);
            let is_in = area >= self.area(number + 0.5) - number.powf(-self.exponent);
            if number - place <= self.near || is_in {
                return number;
            }
        }
    }
}

fn stage(batch: &RecordBatch, filter: Option<Expr>, keys: Vec<Expr>, aggregates: Vec<Aggregate>) -> Stage {
    let source = LogicalPlan::Source { source: SourceId(0), name: "rows".to_owned(), schema: batch.schema() };
    let mut input = Arc::new(source);
    if let Some(predicate) = filter {
        input = Arc::new(LogicalPlan::Filter { input, predicate });
    }
    let reduce = LogicalPlan::Reduce { input, keys, aggregates };
    plan(&[Arc::new(reduce)]).unwrap().stages.remove(0)
}
