//! How often one run asks for memory, counted by the allocator of this test program.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use arrow_array::{Array, ArrayRef};
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

/// Requests of one run on this thread, after others of the same kind, and those that its answer is made of.
fn requests(program: &Program, batches: &[RecordBatch]) -> (usize, usize) {
    let one = || {
        let before = REQUESTS.get();
        let answer = program.run_all(batches).unwrap();
        let after = REQUESTS.get();
        (after - before, parts(&answer))
    };
    // A table for few keys is made once, after some thousand rows.
    for _ in 0..4 {
        one();
    }
    let (before, now) = (one(), one());
    assert_eq!(before, now, "the state is steady");
    now
}

/// What an answer cannot be without: a list of columns, and for each an array; for each of its buffers and bitmaps the
/// bytes and their owner.
fn parts(answer: &RecordBatch) -> usize {
    let column = |column: &ArrayRef| {
        let data = column.to_data();
        1 + 2 * (data.buffers().len() + usize::from(data.nulls().is_some()))
    };
    1 + answer.columns().iter().map(column).sum::<usize>()
}

/// A chain, how often one run of it on a batch within one tile may ask for memory beside its answer, and how often more
/// for each tile.
///
/// What asks: lists of partials and partitions; counts and other columns on the way to the answer; for each tile, the
/// columns that filters and expressions make. Tables, lanes and lists of columns stay from run to run. Nothing asks for
/// each row or group, but for each group whose exact sum has values 2^31 apart or more.
struct Budget {
    name: &'static str,
    chain: Chain,
    run: usize,
    tile: usize,
}

fn budgets() -> [Budget; 7] {
    let totals = || [col("n").sum().alias("sum"), col("n").mean().alias("mean"), len().alias("rows")];
    let small = || Chain::new().filter(col("n").gt(0));
    let keyed = |keys: &[&str]| Chain::new().key_by(keys.iter().map(|key| col(*key))).aggregate(totals());
    let twice = (col("k") + 1).alias("k");
    [
        Budget { name: "select", chain: Chain::new().select([twice]), run: 8, tile: 12 },
        Budget { name: "filter", chain: small().select([col("k"), col("f")]), run: 32, tile: 46 },
        Budget { name: "reduce", chain: Chain::new().aggregate(totals()), run: 16, tile: 3 },
        Budget { name: "keyed", chain: keyed(&["k"]), run: 16, tile: 5 },
        Budget { name: "two keys", chain: keyed(&["t", "k"]), run: 36, tile: 7 },
        Budget { name: "by text", chain: Chain::new().count_by_value(col("t")), run: 14, tile: 3 },
        Budget { name: "filter, keyed", chain: small().key_by([col("k")]).aggregate(totals()), run: 48, tile: 40 },
    ]
}

/// On a pool of one thread, so that large inputs are counted, too.
fn on_one_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work)
}

#[test]
fn a_run_asks_for_little_memory_but_that_of_its_answer() {
    for Budget { name, chain, run, tile } in budgets() {
        let program = Program::compile(&schema(), &chain, Device::Auto).unwrap();
        for len in [1, 1_000, 16_384, 65_536] {
            let (counted, answer) = on_one_thread(|| requests(&program, &[rows(0, len)]));
            let beside = counted.saturating_sub(answer);
            let allowed = run + (len.div_ceil(16_384) - 1) * tile;
            println!("{name}: {len} rows: {counted} requests, {answer} of them for the answer");
            assert!(beside <= allowed, "{name}: {beside} requests beside the answer for {len} rows, not {allowed}");
        }
    }
}

#[test]
fn a_further_tile_or_batch_asks_for_little_memory() {
    for Budget { name, chain, tile, .. } in budgets() {
        let program = Program::compile(&schema(), &chain, Device::Auto).unwrap();
        // Seven more tiles would be enough rows for ids that are given anew, once.
        let [one, more] = [1, 7].map(|tiles| on_one_thread(|| requests(&program, &[rows(0, tiles * 16_384)]).0));
        let batches = (0..8).map(|number| rows(number * 1_000, 1_000)).collect::<Vec<_>>();
        let (many, _) = on_one_thread(|| requests(&program, &batches));
        let further = |count: usize, of: usize| count.saturating_sub(one).div_ceil(of);
        let (by_tile, by_batch) = (further(more, 6), further(many, 7));
        println!("{name}: {one} requests, {by_tile} for each further tile, {by_batch} for each further batch");
        assert!(by_tile <= tile, "{name}: {by_tile} requests for each further tile, {tile} are allowed");
        assert!(by_batch <= tile, "{name}: {by_batch} requests for each further batch, {tile} are allowed");
    }
}

/// Rows of small batches wait for others: a list of columns each, and a list of batches now and then.
#[test]
fn a_batch_that_is_pushed_asks_for_little_memory() {
    for Budget { name, chain, tile, .. } in
        budgets().into_iter().filter(|budget| !["select", "filter"].contains(&budget.name))
    {
        let program = Program::compile(&schema(), &chain, Device::Auto).unwrap();
        let batches = (0..99).map(|number| rows(number * 1_000, 1_000)).collect::<Vec<_>>();
        let counted = on_one_thread(|| {
            let mut partial = program.begin();
            // All keys have come, and lists are as long as they get; and there are too few rows for ids that are given anew.
            batches.iter().for_each(|batch| partial.push(batch).unwrap());
            let before = REQUESTS.get();
            batches[..33].iter().for_each(|batch| partial.push(batch).unwrap());
            REQUESTS.get() - before
        });
        println!("{name}: {counted} requests for 33 batches");
        assert!(
            counted <= 33 * (tile + 1),
            "{name}: {counted} requests for 33 batches, {} are allowed",
            33 * (tile + 1)
        );
    }
}

#[test]
fn nothing_of_an_earlier_batch_is_held() {
    for Budget { name, chain, .. } in budgets() {
        let program = Program::compile(&schema(), &chain, Device::Auto).unwrap();
        let columns = rows(0, 1_000).columns().iter().map(|column| copied(column)).collect();
        let batch = RecordBatch::try_new(schema(), columns).unwrap();
        for _ in 0..2 {
            drop(program.run(&batch).unwrap());
        }
        let partial = program.partial(&batch).unwrap();
        drop(partial.finish().unwrap());
        let holders = batch.columns().iter().map(std::sync::Arc::strong_count).max();
        assert_eq!(holders, Some(1), "{name}: a column is held after its run");
        let owners = batch.columns().iter().flat_map(|column| column.to_data().buffers().to_vec());
        // The batch itself and the copy just made.
        owners.for_each(|buffer| assert!(buffer.strong_count() <= 2, "{name}: bytes are held after their run"));
    }
}

/// The same values in bytes of their own.
fn copied(column: &ArrayRef) -> ArrayRef {
    let all = arrow_array::UInt32Array::from_iter_values(0..u32::try_from(column.len()).unwrap());
    arrow_select::take::take(column, &all, None).unwrap()
}
