//! The program as people use it: arguments in, text and exit codes out.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod bench;
mod checkpoints;
mod generating;
mod inferring;
mod mistakes;
mod operations;
mod pipelines;
mod running;
mod state;
#[path = "../common/tree.rs"]
mod tree;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program, started in a directory.
fn pelton(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pelton"));
    // What is measured of a GPU is not kept: tests leave nothing behind.
    command.current_dir(directory).env("PELTON_CACHE", "off");
    command
}

/// Runs the program to its end.
fn run(directory: &Path, arguments: &[&str]) -> Output {
    pelton(directory).args(arguments).output().unwrap()
}

fn repository() -> PathBuf {
    tree::root()
}

/// A directory with a file `p.toml` of this text.
fn with_pipeline(text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("p.toml"), text).unwrap();
    directory
}

fn standard_output(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn standard_error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
