//! `pelton checkpoint`: looks at what a query left behind, checks it, and goes back to a batch.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::answer;
use super::exit::Exit;
use crate::checkpoint::{self, FolderStore, Report};
use crate::error::{Error, ErrorKind, Result};

/// Looks at the checkpoint of a query, checks it, or goes back to a batch.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pelton checkpoint show checkpoints/ads
  pelton checkpoint verify checkpoints/ads
  pelton checkpoint rollback checkpoints/ads --to 1041")]
pub(super) struct Checkpoint {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Says whose it is, how far the query has come, and where it would go on
    Show {
        /// The folder of the checkpoint
        folder: PathBuf,
    },
    /// Reads every file, names what is damaged and the newest batch that is sound
    Verify {
        /// The folder of the checkpoint
        folder: PathBuf,
    },
    /// Goes back to a batch; the batches after it are run again
    Rollback {
        /// The folder of the checkpoint
        folder: PathBuf,
        /// The batch that is the last one done
        #[arg(long, value_name = "BATCH")]
        to: u64,
        /// Forgets how later batches were cut: they may be cut otherwise, and sinks then see other batches
        #[arg(long)]
        recut: bool,
    },
}

impl Checkpoint {
    pub(super) fn execute(&self) -> Result<Exit> {
        match &self.what {
            What::Show { folder } => answer(&show(&FolderStore::new(folder))?)?,
            What::Verify { folder } => {
                let report = checkpoint::verify(&FolderStore::new(folder))?;
                answer(&verdict(&report))?;
                if !report.damages.is_empty() {
                    let message = format!("{} of {} files are damaged", report.damages.len(), report.files);
                    return Err(Error::new(ErrorKind::Corrupt, message).advice(report.advice()));
                }
            }
            What::Rollback { folder, to, recut } => {
                checkpoint::rollback(&FolderStore::new(folder), *to, *recut)?;
                answer(&format!("the query goes on after batch {to}\n"))?;
            }
        }
        Ok(Exit::Well)
    }
}

fn show(store: &FolderStore) -> Result<String> {
    let identity = checkpoint::identity(store)?;
    let report = checkpoint::verify(store)?;
    let mut text = format!("query      {}\n", identity.query);
    for source in &identity.sources {
        let _ = writeln!(text, "source     {source}");
    }
    for (operator, keeps) in &identity.operators {
        let _ = writeln!(text, "operator   {operator}: {keeps}");
    }
    let committed = report.committed.map_or_else(|| "nothing yet".to_owned(), |batch| format!("batch {batch}"));
    let _ = writeln!(text, "committed  {committed}");
    for batch in &report.pending {
        let entry = checkpoint::offsets(store, *batch)?;
        let _ = writeln!(text, "begun      batch {batch}, cut at {} s, is run again", entry.time.as_secs());
        for (source, range) in &entry.ranges {
            let _ = writeln!(text, "           {source}: {}", range.0);
        }
    }
    text.push_str(&verdict(&report));
    Ok(text)
}

fn verdict(report: &Report) -> String {
    let mut text = String::new();
    for damage in &report.damages {
        let _ = writeln!(text, "damaged    {}: {}", damage.file, damage.what);
    }
    let back = match (report.sound.first(), report.sound.last()) {
        (Some(first), Some(last)) => format!("can go back to batches {first} to {last}"),
        _ => "no batch to go back to".to_owned(),
    };
    let _ = writeln!(text, "files      {}, {} damaged; {back}", report.files, report.damages.len());
    text
}
