//! Polars takes the number of its threads from the environment, which a running process cannot change safely: the program
//! starts itself again with it.

use std::process::Command;

use crate::cli::exit::Exit;
use crate::error::{Error, ErrorKind, Result};

const THREADS: &str = "POLARS_MAX_THREADS";

/// Runs this command in another process, whose Polars has this number of threads, unless this one is it already.
pub(super) fn with_polars_threads(threads: usize) -> Result<Option<Exit>> {
    let wanted = threads.to_string();
    if std::env::var(THREADS).is_ok_and(|set| set == wanted) {
        return Ok(None);
    }
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Connector, format!("cannot start this program again for Polars: {error}"))
            .advice(format!("set {THREADS}={threads} yourself"))
            .because(error)
    };
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    let status = command.args(std::env::args_os().skip(1)).env(THREADS, wanted).status().map_err(failed)?;
    Ok(Some(Exit::of_code(status.code())))
}
