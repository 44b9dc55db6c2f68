//! `pelton check`: is the pipeline right?

use clap::Args;

use super::exit::Exit;
use super::pipeline::Surroundings;
use super::{PipelineArguments, answer};
use crate::error::Result;

/// Checks a pipeline without running it.
///
/// Opens its sources, reads its tables, types every expression and places every stage; no row is read from a stream
/// and nothing is written.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    pipeline: PipelineArguments,
}

impl Check {
    pub(super) fn execute(&self) -> Result<Exit> {
        self.pipeline.read()?.context(&Surroundings::default())?.check()?;
        answer(&format!("{} is right\n", self.pipeline.file.display()))?;
        Ok(Exit::Well)
    }
}
