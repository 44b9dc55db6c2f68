//! Kernels beside Polars, on the same data in the same run.
//!
//! Ids are `operation/case/size/engine`. Our kernels run on one thread; set `POLARS_MAX_THREADS=1` for a comparison of
//! one thread with one thread. Both answers are compared once before they are timed.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]

mod data;
mod filter;
mod project;

use criterion::{Criterion, criterion_group, criterion_main};

/// As the command line: both engines get their memory from the same place.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A batch that stays in cache, and one that does not; or one of `PELTON_BENCH_ROWS` rows.
fn sizes() -> Vec<(String, usize)> {
    match std::env::var("PELTON_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()) {
        Some(rows) => vec![(format!("{rows}_rows"), rows)],
        None => vec![("16Ki_rows".to_owned(), 1 << 14), ("1Mi_rows".to_owned(), 1 << 20)],
    }
}

fn settings() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(std::time::Duration::from_millis(100))
        .measurement_time(std::time::Duration::from_millis(400))
}

criterion_group! {
    name = kernels;
    config = settings();
    targets = filter::all, project::all
}
criterion_main!(kernels);
