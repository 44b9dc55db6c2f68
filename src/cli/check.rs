//! `pelton check`: is the pipeline right?

use clap::Args;

use super::exit::Exit;
use super::pipeline::Surroundings;
use super::{PipelineArguments, answer, tell};
use crate::error::Result;

/// Checks a pipeline without running it.
///
/// Opens its sources, reads its tables, types every expression and places every stage; no row is read from a stream
/// and nothing is written. Where a query has a checkpoint, and a source or sink does not keep the promise that each row comes
/// exactly once, that is told as a warning.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    pipeline: PipelineArguments,
}

impl Check {
    pub(super) fn execute(&self) -> Result<Exit> {
        let context = self.pipeline.read()?.context(&Surroundings::default())?;
        context.check()?;
        context.weaknesses().iter().for_each(|weakness| tell(&format!("warning: {weakness}")));
        answer(&format!("{} is right\n", self.pipeline.file.display()))?;
        Ok(Exit::Well)
    }
}
