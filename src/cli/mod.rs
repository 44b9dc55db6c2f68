//! The command line: `pelton run pipeline.toml`.
//!
//! One file per subcommand. Answers go to standard output, everything about them (progress, errors) to standard error.
//! Nothing here computes: a subcommand reads its arguments, calls the library, and says how it went by an exit code.

pub mod bench;
mod check;
mod checkpoint;
mod completions;
mod devices;
mod exit;
mod explain;
mod figures;
mod generate;
mod infer;
mod interrupt;
pub mod pipeline;
mod profile;
mod progress;
mod run;
mod state;
mod verify;

use std::io::{self, Write};
use std::panic;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::error::Result;
use crate::formats::panic_becomes_error;
use exit::Exit;
use pipeline::Pipeline;

/// Spark Streaming's model at hardware speed: streaming queries over files, sockets and made-up rows.
#[derive(Debug, Parser)]
#[command(name = "pelton", version, about, after_help = exit::HELP, max_term_width = 100, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Explain(explain::Explain),
    Devices(devices::Devices),
    Bench(bench::Bench),
    Checkpoint(checkpoint::Checkpoint),
    State(state::State),
    Verify(verify::Verify),
    Generate(generate::Generate),
    Infer(infer::Infer),
    Completions(completions::Completions),
}

/// A pipeline file, and what is said anew.
#[derive(Debug, Args)]
struct PipelineArguments {
    /// The pipeline file: TOML, described in docs/pipelines.md
    file: PathBuf,
    /// Says a value of the file anew; tables in lists go by their name or, counted from 0, their place
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
}

impl PipelineArguments {
    fn read(&self) -> Result<Pipeline> {
        let mut pipeline = Pipeline::read(&self.file)?;
        self.sets.iter().try_for_each(|set| pipeline.set(set))?;
        Ok(pipeline)
    }
}

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    let arguments = match CommandLine::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => {
            // Help and mistakes alike; nobody is left to tell if this cannot be written.
            drop(answer.print());
            return if answer.use_stderr() { Exit::Usage.into() } else { Exit::Well.into() };
        }
    };
    quiet_handled_panics();
    let result = match arguments.command {
        Command::Run(run) => run.execute(),
        Command::Check(check) => check.execute(),
        Command::Explain(explain) => explain.execute(),
        Command::Devices(devices) => devices.execute(),
        Command::Bench(bench) => bench.execute(),
        Command::Checkpoint(checkpoint) => checkpoint.execute(),
        Command::State(state) => state.execute(),
        Command::Verify(verify) => verify.execute(),
        Command::Generate(generate) => generate.execute(),
        Command::Infer(infer) => infer.execute(),
        Command::Completions(completions) => completions.execute(),
    };
    #[cfg(feature = "gpu")]
    crate::dispatch::settle();
    exit_of(result)
}

/// A damaged file is told by the error that it becomes, once.
fn quiet_handled_panics() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        if !panic_becomes_error() {
            usual(what);
        }
    }));
}

/// Runs `bench` with the arguments of this process, beside an engine that this program does not know.
pub fn bench_beside(other: &dyn bench::OtherEngine) -> ExitCode {
    #[derive(Debug, Parser)]
    #[command(max_term_width = 100, arg_required_else_help = true)]
    struct BenchLine {
        #[command(flatten)]
        bench: bench::Bench,
    }
    match BenchLine::try_parse() {
        Ok(line) => exit_of(line.bench.execute_beside(Some(other))),
        Err(answer) => {
            // As in `main`.
            drop(answer.print());
            if answer.use_stderr() { Exit::Usage.into() } else { Exit::Well.into() }
        }
    }
}

fn exit_of(result: Result<Exit>) -> ExitCode {
    let exit = result.unwrap_or_else(|error| {
        let exit = Exit::of(&error);
        if exit != Exit::Well {
            tell(&format!("error: {error}"));
        }
        exit
    });
    exit.into()
}

/// Writes an answer to standard output.
fn answer(text: &str) -> Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(exit::cannot_answer)
}

/// Writes a line to standard error, if anybody is there to read it.
fn tell(line: &str) {
    drop(writeln!(io::stderr().lock(), "{line}"));
}
