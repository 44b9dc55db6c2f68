//! Programs on batches of every size: what a run costs beside the work itself, and what all threads make of a large one.
//!
//! `PELTON_BENCH_ROWS` sets the rows of the largest batch. The smallest shows the overhead of a run; a batch of up to
//! 32,768 rows runs on one thread, a larger one on all threads of rayon's pool (`RAYON_NUM_THREADS`).

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

use std::time::Duration;

use arrow_select::concat::concat_batches;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pelton::generate::{Options, generator};
use pelton::prelude::*;

fn rows_max() -> usize {
    std::env::var("PELTON_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(8_000_000)
}

fn chains() -> [(&'static str, Chain); 4] {
    let totals = || [col("i").sum().alias("sum"), col("f").mean().alias("mean"), len().alias("rows")];
    [
        ("keyed_100", Chain::new().key_by([col("k_lo")]).aggregate(totals())),
        ("keyed_many", Chain::new().key_by([col("k_hi")]).aggregate(totals())),
        ("filter_keyed_100", Chain::new().filter(col("i").gt(2)).key_by([col("k_lo")]).aggregate(totals())),
        ("filter_product", Chain::new().filter(col("i").gt(2)).aggregate([(col("f") * col("i")).sum().alias("sum")])),
    ]
}

fn programs(criterion: &mut Criterion) {
    let source = generator("groupby", 7, &Options::default()).unwrap();
    let parts = (0..rows_max()).step_by(1 << 20);
    let parts = parts.map(|from| source.rows(from as u64, (rows_max() - from).min(1 << 20)).unwrap());
    let all = concat_batches(&source.schema(), &parts.collect::<Vec<_>>()).unwrap();
    for (name, chain) in chains() {
        let program = Program::compile(&source.schema(), &chain, Device::Auto).unwrap();
        let mut group = criterion.benchmark_group(format!("program/{name}"));
        for rows in [1, 1_000, 1 << 16, 1 << 20, rows_max()].into_iter().filter(|rows| *rows <= rows_max()) {
            let batch = all.slice(0, rows);
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(format!("{rows}_rows/cpu"), |b| b.iter(|| program.run(&batch).unwrap()));
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = programs
}
criterion_main!(benches);
