//! How often one run asks for memory, counted by the allocator of this test program.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use pelton::prelude::*;

use crate::chains::{rows, schema};

/// The system's allocator, with a count of requests for each thread: tests that run beside these are not seen.
struct Counting;

thread_local! {
    static REQUESTS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    REQUESTS.with(|requests| requests.set(requests.get() + 1));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator as it is; counting touches only a thread's own number, which
// needs no memory and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Requests of one run on this thread, after others of the same kind.
fn requests(program: &Program, batches: &[RecordBatch]) -> usize {
    let one = || {
        let before = REQUESTS.get();
        let answer = program.run_all(batches).unwrap();
        let after = REQUESTS.get();
        drop(answer);
        after - before
    };
    let _ = (one(), one());
    let (third, fourth) = (one(), one());
    assert_eq!(third, fourth, "the state is steady");
    fourth
}

/// A chain, how often one run of it on a batch within one tile may ask for memory, and how often more for each tile.
///
/// What asks: the task and its partial, the states of the groups, the columns of the answer; for each tile, the columns
/// that filters and expressions make. Nothing asks for each row, and for each group only what doubles when it is full.
struct Budget {
    name: &'static str,
    chain: Chain,
    run: usize,
    tile: usize,
}

fn budgets() -> [Budget; 6] {
    let totals = || [col("n").sum().alias("sum"), col("f").mean().alias("mean"), len().alias("rows")];
    let small = || Chain::new().filter(col("n").gt(0));
    [
        Budget { name: "select", chain: Chain::new().select([(col("k") + 1).alias("k")]), run: 16, tile: 12 },
        Budget { name: "filter", chain: small().select([col("k"), col("f")]), run: 44, tile: 48 },
        Budget { name: "reduce", chain: Chain::new().aggregate([col("f").sum().alias("f")]), run: 60, tile: 30 },
        Budget { name: "keyed", chain: Chain::new().key_by([col("k")]).aggregate(totals()), run: 150, tile: 35 },
        Budget { name: "filter, keyed", chain: small().key_by([col("k")]).aggregate(totals()), run: 190, tile: 80 },
        Budget { name: "by text", chain: Chain::new().count_by_value(col("t")), run: 90, tile: 15 },
    ]
}

/// On a pool of one thread, so that large inputs are counted, too.
fn on_one_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work)
}

#[test]
fn requests_for_memory_do_not_grow_with_the_rows_of_a_tile() {
    for Budget { name, chain, run, .. } in budgets() {
        let program = Program::compile(&schema(), &chain, Device::Auto).unwrap();
        for len in [1, 1_000, 4_000, 16_384] {
            let counted = on_one_thread(|| requests(&program, &[rows(0, len)]));
            assert!(counted <= run, "{name}: {counted} requests for {len} rows, {run} are allowed");
        }
    }
}

#[test]
fn a_further_tile_or_batch_asks_for_little_memory() {
    for Budget { name, chain, tile, .. } in budgets() {
        let program = Program::compile(&schema(), &chain, Device::Auto).unwrap();
        let [one, more] = [1, 8].map(|tiles| on_one_thread(|| requests(&program, &[rows(0, tiles * 16_384)])));
        let batches = (0..8).map(|number| rows(number * 1_000, 1_000)).collect::<Vec<_>>();
        let many = on_one_thread(|| requests(&program, &batches));
        let [by_tile, by_batch] = [more, many].map(|count| count.saturating_sub(one).div_ceil(7));
        println!("{name}: {one} requests, {by_tile} for each further tile, {by_batch} for each further batch");
        assert!(by_tile <= tile, "{name}: {by_tile} requests for each further tile, {tile} are allowed");
        assert!(by_batch <= tile, "{name}: {by_batch} requests for each further batch, {tile} are allowed");
    }
}
