//! `pelton generate`: seeded sample streams, as files or on standard output, at once or at a set pace.

#![expect(clippy::doc_markdown, reason = "comments on arguments are help texts, which have no markdown")]

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use super::exit::Exit;
use crate::clock::{Clock, SystemClock, Wake};
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::{FormatKind, FormatOptions, encoder};
use crate::generate::{self, Generator, Options, Skew, TextForm, lineitem, write_text};
use crate::limits::ROWS_PER_READ_MAX;

/// Makes sample rows: the same seed gives the same rows, on every machine.
///
/// Kinds: ads (events as NDJSON), measurements (name;value), groupby (keys and numbers), access_log (Apache's combined
/// format), people (CSV), numbers (lines of numbers), campaigns (the table that ads refer to), lineitem (of TPC-H).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pelton generate people --rows 5
  pelton generate ads --rows 1000000 --files 10 --out ads/
  pelton generate numbers --rows 100000 --files 100 --rate 5000 --out incoming/
  pelton generate lineitem --scale 0.1 --format parquet --out lineitem.parquet")]
pub(super) struct Generate {
    /// What the rows are
    #[arg(value_parser = kinds())]
    kind: String,
    /// How many rows in all [default: 1000; lineitem: as --scale says; campaigns: all there are]
    #[arg(long)]
    rows: Option<u64>,
    /// What makes these rows differ from others
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A file, or a directory for several; - is standard output
    #[arg(long, default_value = "-", value_name = "PATH")]
    out: PathBuf,
    /// How rows are written [default: the form that is usual for the kind]
    #[arg(long)]
    format: Option<Format>,
    /// Spreads the rows over this many files, each complete when it appears
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    files: Option<u32>,
    /// Rows a second; without it as fast as possible
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// lineitem: the scale factor; 1 is about six million rows
    #[arg(long, default_value_t = 0.01)]
    scale: f64,
    /// How many distinct keys there are [default: what is usual for the kind]
    #[arg(long)]
    keys: Option<u64>,
    /// Keys occur as in Zipf's law, and not all equally often
    #[arg(long)]
    zipf: bool,
    /// Event times are up to this many milliseconds late
    #[arg(long, default_value_t = 0)]
    late_ms: u64,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Ndjson,
    Parquet,
    Arrow,
}

impl Format {
    fn kind(self) -> FormatKind {
        match self {
            Self::Csv => FormatKind::Csv,
            Self::Ndjson => FormatKind::Ndjson,
            Self::Parquet => FormatKind::Parquet,
            Self::Arrow => FormatKind::Arrow,
        }
    }
}

fn kinds() -> PossibleValuesParser {
    PossibleValuesParser::new(generate::kinds().map(|(name, _)| name).chain(["campaigns", "lineitem"]))
}

/// Where the rows come from.
enum Rows {
    Stream(Arc<dyn Generator>),
    Campaigns(RecordBatch),
    Lineitem { scale: f64 },
}

/// A part of the rows: what one file holds.
#[derive(Debug, Clone, Copy)]
struct Part {
    index: u32,
    of: u32,
    first_row: u64,
    rows: u64,
}

impl Generate {
    pub(super) fn execute(&self) -> Result<Exit> {
        let rows = self.rows()?;
        let total = self.rows.unwrap_or(1000);
        let is_directory = self.out.is_dir() || self.out.as_os_str().as_encoded_bytes().ends_with(b"/");
        let files = self.files.or(is_directory.then_some(1));
        if let (Some(_), None, Rows::Lineitem { .. } | Rows::Campaigns(_)) = (self.rate, files, &rows) {
            return Err(invalid(format!("{} comes in files only when it is paced", self.kind)).advice("add --files"));
        }
        match (files, self.out.as_os_str() == "-") {
            (Some(_), true) => Err(invalid("standard output is not several files").advice("name a directory by --out")),
            (Some(files), false) => self.write_files(&rows, total, files),
            (None, is_standard_output) => {
                let part = Part { index: 0, of: 1, first_row: 0, rows: total };
                if is_standard_output {
                    self.write(&rows, part, Box::new(io::stdout()), self.rate)?;
                } else {
                    self.write_file(&rows, part, &self.out, self.rate)?;
                }
                Ok(Exit::Well)
            }
        }
    }

    fn rows(&self) -> Result<Rows> {
        let of_its_own = |other: &str| {
            if self.rows.is_some() {
                return Err(invalid(format!("{other} has as many rows as it has")).advice("leave --rows out"));
            }
            Ok(())
        };
        match self.kind.as_str() {
            "lineitem" => {
                of_its_own("lineitem")?;
                Ok(Rows::Lineitem { scale: self.scale })
            }
            "campaigns" => {
                of_its_own("campaigns")?;
                Ok(Rows::Campaigns(generate::campaigns()?))
            }
            kind => {
                let skew = if self.zipf { Skew::Zipf } else { Skew::Uniform };
                let options = Options { keys: self.keys, skew, late_ms: self.late_ms, ..Options::default() };
                Ok(Rows::Stream(generate::generator(kind, self.seed, &options)?))
            }
        }
    }

    fn write_files(&self, rows: &Rows, total: u64, files: u32) -> Result<Exit> {
        if matches!(rows, Rows::Campaigns(_)) {
            return Err(invalid("campaigns is one table").advice("leave --files out"));
        }
        fs::create_dir_all(&self.out).map_err(|error| Error::io(&self.out, "make the directory", error))?;
        let (clock, wake) = (SystemClock::new(), Wake::new());
        let start = clock.now();
        let digits = (files - 1).to_string().len();
        for index in 0..files {
            let border =
                |index: u32| u64::try_from(u128::from(total) * u128::from(index) / u128::from(files)).unwrap_or(total);
            let (first_row, end) = (border(index), border(index + 1));
            if let Some(rate) = self.rate {
                clock.sleep_until(start + due(end, rate), &wake);
            }
            let part = Part { index, of: files, first_row, rows: end - first_row };
            let name = format!("part-{index:0digits$}.{}", self.extension(rows));
            // Files are paced one by one, and each is written at once.
            self.write_file(rows, part, &self.out.join(name), None)?;
        }
        Ok(Exit::Well)
    }

    /// Writes a file beside and renames it, so that it is complete when it is seen.
    fn write_file(&self, rows: &Rows, part: Part, path: &Path, rate: Option<u64>) -> Result<()> {
        let name = path.file_name().ok_or_else(|| invalid(format!("\"{}\" names no file", path.display())))?;
        let beside = path.with_file_name(format!(".{}.tmp", name.to_string_lossy()));
        let failed = |doing| move |error| Error::io(path, doing, error);
        let file = File::create(&beside).map_err(failed("create the file"))?;
        let written = self.write(rows, part, Box::new(BufWriter::new(file)), rate);
        let published = written.and_then(|()| fs::rename(&beside, path).map_err(failed("rename the file")));
        if published.is_err() {
            // What went wrong is told; that a half written file could not be removed as well would hide it.
            drop(fs::remove_file(&beside));
        }
        published
    }

    /// Writes rows, at this rate line by line.
    fn write(&self, rows: &Rows, part: Part, output: Box<dyn Write + Send>, rate: Option<u64>) -> Result<()> {
        let mut output = match rate {
            Some(rate) => Box::new(PacedLines::new(output, rate)),
            None => output,
        };
        let Some(format) = self.format else {
            match rows {
                Rows::Stream(generator) => write_text(generator.as_ref(), part.first_row, part.rows, &mut output)?,
                Rows::Campaigns(table) => generate::text::write_table(table, &mut output)?,
                Rows::Lineitem { scale } => lineitem::write_lineitem(*scale, part.index + 1, part.of, &mut output)?,
            };
            return output.flush().map_err(cannot_write);
        };
        if rate.is_some() && matches!(format, Format::Parquet | Format::Arrow) {
            return Err(invalid("a single file of this format cannot be paced").advice("add --files"));
        }
        encode(format, rows, part, output)
    }

    fn extension(&self, rows: &Rows) -> &'static str {
        match (self.format, rows) {
            (Some(format), _) => format.kind().name(),
            (None, Rows::Campaigns(_)) => "csv",
            (None, Rows::Lineitem { .. }) => "tbl",
            (None, Rows::Stream(generator)) => match generator.text_form() {
                TextForm::Json => "ndjson",
                TextForm::Separated { header: true, .. } => "csv",
                TextForm::Lines if generator.name() == "access_log" => "log",
                TextForm::Lines | TextForm::Separated { .. } => "txt",
            },
        }
    }
}

fn encode(format: Format, rows: &Rows, part: Part, output: Box<dyn Write + Send>) -> Result<()> {
    let options = FormatOptions::new(format.kind());
    let make = |schema: &SchemaRef| encoder(&options, schema, output);
    let encoder = match rows {
        Rows::Stream(generator) => {
            let mut encoder = make(&generator.schema())?;
            let mut done = 0;
            while done < part.rows {
                let next =
                    usize::try_from(part.rows - done).map_or(ROWS_PER_READ_MAX, |left| left.min(ROWS_PER_READ_MAX));
                encoder.write(&generator.rows(part.first_row + done, next)?)?;
                done += next as u64;
            }
            encoder
        }
        Rows::Campaigns(table) => {
            let mut encoder = make(&table.schema())?;
            encoder.write(table)?;
            encoder
        }
        Rows::Lineitem { scale } => {
            let mut encoder = make(&lineitem::schema())?;
            for batch in lineitem::lineitem(*scale, part.index + 1, part.of)? {
                encoder.write(&batch?)?;
            }
            encoder
        }
    };
    encoder.finish()?.flush().map_err(cannot_write)
}

/// When this row is due, after the start.
fn due(row: u64, rate: u64) -> Duration {
    let nanos = u128::from(row) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Lets lines pass at a set rate, in small heaps.
struct PacedLines {
    output: Box<dyn Write + Send>,
    clock: SystemClock,
    start: Duration,
    rate: u64,
    lines: u64,
}

impl PacedLines {
    /// Heaps of lines in a second.
    const HEAPS_PER_SECOND: u64 = 20;

    fn new(output: Box<dyn Write + Send>, rate: u64) -> Self {
        let clock = SystemClock::new();
        let start = clock.now();
        Self { output, clock, start, rate, lines: 0 }
    }
}

impl Write for PacedLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let heap = (self.rate / Self::HEAPS_PER_SECOND).max(1);
        let ends = memchr::memchr_iter(b'\n', bytes).take(usize::try_from(heap).unwrap_or(usize::MAX));
        let (count, end) = ends.fold((0, bytes.len()), |(count, _), end| (count + 1, end + 1));
        self.clock.sleep_until(self.start + due(self.lines, self.rate), &Wake::new());
        self.output.write_all(&bytes[..end])?;
        self.output.flush()?;
        self.lines += count;
        Ok(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOption, message)
}

fn cannot_write(error: io::Error) -> Error {
    Error::new(ErrorKind::Connector, format!("cannot write the rows: {error}")).retry_later().because(error)
}
