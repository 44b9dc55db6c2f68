//! The program `pelton`. All of it is in [`pelton::cli`].

use std::ffi::{c_int, c_long};
use std::process::ExitCode;

use libmimalloc_sys::{mi_option_get, mi_option_set};

/// Tables and columns come and go with every batch. The system's allocator on Linux gives their memory back each time
/// and faults it in again; this one keeps it, and in pages large enough that random looks into a table of megabytes find
/// their addresses cached. A program that embeds the library chooses its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The option `mi_option_purge_delay` of mimalloc 3, by its place in `mimalloc.h`: for how many milliseconds freed memory is kept.
const PURGE_DELAY: c_int = 15;
/// What it is if nobody has said otherwise.
const PURGE_DELAY_USUAL_MS: c_long = 1_000;
/// What it is here. Batches ask for the same memory again, seconds later: of millions of groups a gigabyte, and clearing
/// that anew is a tenth of the time. `MIMALLOC_PURGE_DELAY` says otherwise.
const PURGE_DELAY_MS: c_long = 10_000;

fn main() -> ExitCode {
    // SAFETY: any number may be asked for; for one that is no option it answers 0.
    if unsafe { mi_option_get(PURGE_DELAY) } == PURGE_DELAY_USUAL_MS {
        // SAFETY: options must not be set by several threads, and there is no other yet.
        unsafe { mi_option_set(PURGE_DELAY, PURGE_DELAY_MS) };
    }
    pelton::cli::main()
}
