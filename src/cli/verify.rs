//! `pelton verify`: compares the files that a sink has written with its manifests.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::answer;
use super::exit::Exit;
use crate::connectors::manifest;
use crate::error::{Error, ErrorKind, Place, Result};

/// Reads all files that a sink of type "files" has written, and says which are missing or damaged.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pelton verify views/")]
pub(super) struct Verify {
    /// The folder of the output
    folder: PathBuf,
}

impl Verify {
    pub(super) fn execute(&self) -> Result<Exit> {
        let report = manifest::verify(&self.folder)?;
        let mut text = String::new();
        for (file, what) in &report.damages {
            let _ = writeln!(text, "damaged    {}: {what}", file.display());
        }
        for file in &report.unnamed {
            let _ = writeln!(text, "unnamed    {}: of a batch that is not complete", file.display());
        }
        let manifest::Report { batches, files, rows, bytes, damages, .. } = &report;
        let _ = writeln!(
            text,
            "batches    {batches} with {files} files, {rows} rows, {bytes} bytes; {} damaged",
            damages.len()
        );
        answer(&text)?;
        if damages.is_empty() {
            return Ok(Exit::Well);
        }
        let message = format!("{} files are not what was written", damages.len());
        Err(Error::new(ErrorKind::Corrupt, message)
            .at(Place::file(&self.folder))
            .advice("write these batches again, for example by `pelton checkpoint rollback`"))
    }
}
