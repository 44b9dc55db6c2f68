//! The program `pelton`. All of it is in [`pelton::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    pelton::cli::main()
}
