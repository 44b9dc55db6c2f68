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

#[test]
fn probe() {
    let cases = [
        (
            "keyed",
            Chain::new().key_by([col("k")]).aggregate([
                col("n").sum().alias("s"),
                col("f").mean().alias("m"),
                len().alias("c"),
            ]),
        ),
        ("keyed text", Chain::new().key_by([col("t")]).aggregate([col("n").sum().alias("s")])),
        (
            "filter keyed",
            Chain::new().filter(col("n").gt(0)).key_by([col("k")]).aggregate([
                col("n").sum().alias("s"),
                col("f").mean().alias("m"),
                len().alias("c"),
            ]),
        ),
        ("filter", Chain::new().filter(col("n").gt(0))),
        ("select", Chain::new().select([(col("k") + 1).alias("k")])),
        ("global", Chain::new().aggregate([col("f").sum().alias("s")])),
    ];
    for (name, chain) in cases {
        let program = Program::compile(&schema(), &chain, Device::Auto).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let counts = [100, 1000, 16_000, 32_000, 64_000, 128_000]
            .map(|len| pool.install(|| requests(&program, &[rows(0, len)])));
        println!("{name}: {counts:?}");
    }
}
