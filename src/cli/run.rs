//! `pelton run`: runs a pipeline until it ends or is stopped.

#![expect(clippy::doc_markdown, reason = "comments on arguments are help texts, which have no markdown")]

use std::sync::Arc;

use clap::Args;

use super::exit::Exit;
use super::interrupt::Interrupts;
use super::progress::{Display, Show};
use super::{PipelineArguments, profile, tell};
use crate::error::Result;
use crate::runtime::Recovery;

/// Runs a pipeline until its input ends or Ctrl-C stops it.
///
/// The first Ctrl-C finishes what was read and stops, a second one stops at once.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pelton run pipelines/access_log.toml
  pelton run pipelines/average.toml --trigger 1s --set source.lines.path=incoming/
  pelton run pipelines/ads.toml --progress json 2> progress.ndjson")]
pub(super) struct Run {
    #[command(flatten)]
    pipeline: PipelineArguments,
    /// When batches are cut: available_now, once, or an interval such as 1s; the same as --set trigger=...
    #[arg(long, value_name = "WHEN")]
    trigger: Option<String>,
    /// What is shown on standard error: a live line, a JSON object per batch, or nothing [default: live on a terminal]
    #[arg(long, value_name = "HOW")]
    progress: Option<Show>,
}

impl Run {
    pub(super) fn execute(&self) -> Result<Exit> {
        let mut pipeline = self.pipeline.read()?;
        if let Some(trigger) = &self.trigger {
            pipeline.set(&format!("trigger={trigger}"))?;
        }
        let display = Display::new(self.progress);
        let context = pipeline.context(&display.surroundings())?;
        let interrupts = Interrupts::listen(display.is_seen())?;
        let query = Arc::new(context.start()?);
        interrupts.concern(&query);
        query.recovery().into_iter().flat_map(said).for_each(|line| tell(&line));
        let result = query.await_termination();
        display.finish();
        let totals = result?;
        if interrupts.were_urgent() {
            return Ok(Exit::Interrupted);
        }
        display.summarize(&totals);
        if display.is_for_people() {
            for held in query.profiles()? {
                tell(&profile::table(&held)?);
            }
        }
        Ok(Exit::Well)
    }
}

/// Where the query goes on, for people; nothing if it is new.
fn said(recovery: &Recovery) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(batch) = recovery.committed {
        lines.push(format!("going on after batch {batch}"));
    }
    if let (Some(first), Some(last)) = (recovery.repeated.first(), recovery.repeated.last()) {
        lines.push(match first == last {
            true => format!("batch {first} was begun and not committed: it is run again"),
            false => format!("batches {first} to {last} were begun and not committed: they are run again"),
        });
    }
    for source in &recovery.lost {
        let what = "what it gave to the batches that are run again is lost: it cannot be read again in another process";
        lines.push(format!("source \"{source}\": {what}"));
    }
    lines
}
