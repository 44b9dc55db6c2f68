//! How fast sample streams are made: they must never be what a measurement waits for.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pelton::generate::{Options, generator, kinds, write_text};
use pelton::limits::ROWS_PER_READ_MAX;

/// Rows in each run: 1 Mi, or what the environment says.
fn rows() -> u64 {
    std::env::var("PELTON_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(1 << 20)
}

fn sample_streams(criterion: &mut Criterion) {
    let rows = rows();
    let mut group = criterion.benchmark_group("generate");
    group.throughput(Throughput::Elements(rows)).sample_size(10);
    for (kind, _) in kinds() {
        let generator = generator(kind, 1, &Options::default()).expect("every kind works with usual options");
        group.bench_function(format!("{kind}/{rows}_rows/cpu"), |bencher| {
            bencher.iter(|| {
                for first in (0..rows).step_by(ROWS_PER_READ_MAX) {
                    black_box(generator.rows(first, ROWS_PER_READ_MAX).expect("the rows are within the limits"));
                }
            });
        });
        group.bench_function(format!("{kind}_as_text/{rows}_rows/cpu"), |bencher| {
            bencher.iter(|| write_text(&*generator, 0, rows, &mut std::io::sink()).expect("a sink takes everything"));
        });
    }
    group.finish();
}

criterion_group!(benches, sample_streams);
criterion_main!(benches);
