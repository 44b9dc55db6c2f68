//! `pelton explain`: what would run, and where?

use clap::Args;

use super::exit::Exit;
use super::pipeline::Surroundings;
use super::{PipelineArguments, answer};
use crate::error::Result;

/// Shows what a pipeline does: its operations, the stages made of them, and what each runs on and why.
#[derive(Debug, Args)]
pub(super) struct Explain {
    #[command(flatten)]
    pipeline: PipelineArguments,
}

impl Explain {
    pub(super) fn execute(&self) -> Result<Exit> {
        let context = self.pipeline.read()?.context(&Surroundings::default())?;
        answer(&context.explain()?)?;
        Ok(Exit::Well)
    }
}
