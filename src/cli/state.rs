//! `pelton state`: what a query keeps from batch to batch, read from its checkpoint.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::answer;
use super::exit::Exit;
use crate::checkpoint::{self, FolderStore};
use crate::columnar::{RecordBatch, pretty};
use crate::dispatch::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::expr::parse;
use crate::formats::{self, FormatKind, FormatOptions};
use crate::program::{Chain, Program};
use crate::runtime::executor::kept_groups;

/// Lists, filters and exports the state in a checkpoint. The query may run meanwhile.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pelton state checkpoints/ads
  pelton state checkpoints/ads views --where \"views > 100\" --rows 20
  pelton state checkpoints/ads views --out views.parquet")]
pub(super) struct State {
    /// The folder of the checkpoint
    folder: PathBuf,
    /// The operator whose groups are wanted; without it all operators are listed
    operator: Option<String>,
    /// Only groups for which this condition in SQL is true
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// The state after this batch; the newest committed one if not given
    #[arg(long)]
    batch: Option<u64>,
    /// How many groups are shown
    #[arg(long, default_value_t = 20)]
    rows: usize,
    /// Writes all of them to a file of this name instead: .parquet, .csv, .ndjson or .arrow
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl State {
    pub(super) fn execute(&self) -> Result<Exit> {
        let store = FolderStore::new(&self.folder);
        let identity = checkpoint::identity(&store)?;
        let report = checkpoint::verify(&store)?;
        let Some(newest) = report.committed else {
            answer("no batch is committed yet\n")?;
            return Ok(Exit::Well);
        };
        let batch = self.batch.unwrap_or(newest);
        if batch != newest && !report.sound.contains(&batch) {
            return Err(not_kept(batch, &report.sound));
        }
        let groups = |operator: &str| {
            let definition = checkpoint::definition(&store, operator)?;
            kept_groups(&definition, &checkpoint::read_state(&store, operator, batch)?)
        };
        let Some(operator) = &self.operator else {
            let mut text = format!("after batch {batch}\n");
            let mut failed = None;
            for (operator, keeps) in &identity.operators {
                let _ = match groups(operator) {
                    Ok(groups) => writeln!(text, "{operator}  {} groups  {keeps}", groups.num_rows()),
                    // The others can be looked at all the same.
                    Err(error) => {
                        failed.get_or_insert(error);
                        writeln!(text, "{operator}  cannot be read  {keeps}")
                    }
                };
            }
            answer(&text)?;
            return failed.map_or(Ok(Exit::Well), Err);
        };
        if !identity.operators.contains_key(operator) {
            let known = identity.operators.keys().cloned().collect::<Vec<_>>().join(", ");
            let message = format!("no operator \"{operator}\" keeps state here");
            return Err(Error::new(ErrorKind::InvalidOption, message).advice(format!("there are: {known}")));
        }
        let mut rows = groups(operator)?;
        if let Some(condition) = &self.condition {
            let chain = Chain::new().filter(parse::parse_expr(condition)?);
            rows = Program::compile(&rows.schema(), &chain, Device::Cpu)?.run(&rows)?;
        }
        match &self.out {
            Some(file) => export(file, &rows)?,
            None => answer(&format!("{}{} groups\n", pretty::table(&[rows.clone()], self.rows), rows.num_rows()))?,
        }
        Ok(Exit::Well)
    }
}

/// The error of a batch whose state is not there.
fn not_kept(batch: u64, sound: &[u64]) -> Error {
    let advice = match sound {
        [] => "no batch of this checkpoint is sound".to_owned(),
        [only] => format!("that after batch {only} is"),
        [first, .., last] => format!("those after batches {first} to {last} are, as far as they are sound"),
    };
    let message = format!("the state after batch {batch} is not there, or cannot be read");
    Error::new(ErrorKind::InvalidOption, message).advice(advice)
}

fn export(file: &Path, rows: &RecordBatch) -> Result<()> {
    let kind = FormatKind::of_name(file).ok_or_else(|| {
        let message = format!("\"{}\" does not say what kind of file it is", file.display());
        Error::new(ErrorKind::InvalidOption, message).advice("let its name end in .parquet, .csv, .ndjson or .arrow")
    })?;
    let failed = |doing| move |error| Error::io(file, doing, error);
    let output = BufWriter::new(File::create(file).map_err(failed("create the file"))?);
    let mut encoder = formats::encoder(&FormatOptions::new(kind), &rows.schema(), Box::new(output))?;
    encoder.write(rows)?;
    encoder.finish()?.flush().map_err(failed("write the file"))
}
