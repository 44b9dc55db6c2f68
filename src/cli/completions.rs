//! `pelton completions`: what a shell needs to complete arguments.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::exit::Exit;
use super::{CommandLine, answer};
use crate::error::Result;

/// Writes the completions for a shell.
///
/// For bash: pelton completions bash > ~/.local/share/bash-completion/completions/pelton
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn execute(&self) -> Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut CommandLine::command(), "pelton", &mut script);
        answer(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Well)
    }
}
