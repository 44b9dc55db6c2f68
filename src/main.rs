//! The program `pelton`. All of it is in [`pelton::cli`].

use std::process::ExitCode;

/// Tables and columns come and go with every batch. The system's allocator on Linux gives their memory back each time
/// and faults it in again; this one keeps it, and in pages large enough that random looks into a table of megabytes find
/// their addresses cached. A program that embeds the library chooses its own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pelton::cli::main()
}
