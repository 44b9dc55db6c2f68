//! `pelton bench`: how fast is this machine, on rows that are made up or on your own?
//!
//! A suite (`suite`) is a table of cases: rows (`data`) and a chain in SQL (`chain`). Each case is checked, then
//! measured (`session`) against the speed of memory (`bandwidth`) and, if asked, against Polars; `report` says what
//! came out. docs/bench.md explains every figure.

mod answers;
mod bandwidth;
mod beside;
mod chain;
mod data;
mod engine;
mod file;
mod measure;
mod peer;
#[cfg(feature = "polars")]
mod polars;
mod report;
mod restart;
mod session;
mod skew;
mod suite;
mod text;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::exit::Exit;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::THREADS_MAX;
use beside::Wanted;
use chain::Query;
pub use peer::{ChainText, OtherChain, OtherEngine};
use session::{Session, Task};
use suite::{Chain, GROUPBY, SCAN, Suite, TEXT, TPCH};

/// Measures filter, map and keyed reduce on this machine, beside the speed of its memory and Polars.
///
/// Rows are made in memory before anything is timed; every answer is checked, and a wrong one fails the command.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  pelton bench groupby
  pelton bench groupby --case text --rows 20M --polars
  pelton bench groupby --case int/100 --beside-batches 64Ki
  pelton bench tpch --json tpch.json --html tpch.html
  pelton bench scan --device gpu,auto
  pelton bench file rides.parquet --filter 'fare > 0' --key city --aggregate 'avg(fare) as fare'")]
pub(super) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Keyed reduce: sum, mean and count by keys of all kinds, few and many, even and skewed
    Groupby(OfSuite),
    /// Filters that keep 1 to 99 % of the rows, computed columns, a filtered sum of products
    Scan(OfSuite),
    /// Queries 1 and 6 of TPC-H over lineitem, with decimals and with floats
    Tpch(OfSuite),
    /// Files of NDJSON, CSV and plain lines, read and reduced in each run
    Text(OfSuite),
    /// A chain of your own over a file of your own
    File(OfFile),
}

#[derive(Debug, Args)]
struct OfSuite {
    /// Rows of each case; tpch: about so many
    #[arg(long, default_value = "4M", value_parser = count)]
    rows: usize,
    /// Only cases whose name contains this text; again for more
    #[arg(long = "case", value_name = "TEXT")]
    cases: Vec<String>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Args)]
struct OfFile {
    /// The file: Parquet, Arrow, CSV or NDJSON, by its ending. All of it is read before anything is timed
    data: PathBuf,
    /// Keeps the rows for which this is true
    #[arg(long, value_name = "SQL")]
    filter: Option<String>,
    /// A column of the answer, or that keys and aggregates see; again for more
    #[arg(long, value_name = "SQL")]
    select: Vec<String>,
    /// What rows are grouped by; again for more
    #[arg(long = "key", value_name = "SQL")]
    keys: Vec<String>,
    /// What is made of each group, or of all rows; again for more
    #[arg(long = "aggregate", value_name = "SQL")]
    aggregates: Vec<String>,
    /// Writes the answer: as Parquet, Arrow, CSV or NDJSON, by its ending
    #[arg(long, value_name = "FILE")]
    answer: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// How to measure, and where to say what came out.
#[derive(Debug, Args)]
struct Options {
    /// Times that each engine runs each case, after one run that is not timed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Threads of each engine [default: one a core]
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Runs each case in micro-batches of so many rows, one after another [default: all rows are one batch]
    #[arg(long, value_parser = count)]
    batch_rows: Option<usize>,
    /// Runs each case also in micro-batches of so many rows, in turn with all rows as one batch
    #[arg(long, value_name = "ROWS", value_parser = count, conflicts_with = "batch_rows")]
    beside_batches: Option<usize>,
    /// Gives the engine all micro-batches at once
    #[arg(long, requires = "batch_rows")]
    at_once: bool,
    /// How floats are added up
    #[arg(long, value_enum, default_value_t = Floats::Exact)]
    floats: Floats,
    /// Devices that run each case beside the CPU, in turn with it: gpu, auto
    #[arg(long = "device", value_enum, value_delimiter = ',', value_name = "DEVICE")]
    devices: Vec<Wanted>,
    /// Part of the name of the GPU's adapter [default: the most able one]
    #[arg(long, requires = "devices")]
    adapter: Option<String>,
    /// Writes the results as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes the results as a page with bars
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Runs Polars on the same rows, in turn
    #[arg(long)]
    polars: bool,
}

/// How floats are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Floats {
    /// The exact sum, rounded once
    Exact,
    /// Additions in one fixed order, each of them rounded
    Ordered,
}

impl Floats {
    fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Ordered => "ordered",
        }
    }
}

/// A number of rows: `4000000`, `4M`, `64Ki`.
fn count(text: &str) -> Result<usize, String> {
    const UNITS: [(&str, usize); 7] =
        [("", 1), ("k", 1000), ("K", 1000), ("M", 1_000_000), ("G", 1_000_000_000), ("Ki", 1 << 10), ("Mi", 1 << 20)];
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let rows = number.parse::<usize>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    match rows {
        Some(rows) if (1..=ROWS_MAX).contains(&rows) => Ok(rows),
        Some(_) => Err(format!("rows are counted from 1 to {ROWS_MAX}")),
        None => Err("write a number of rows as 4000000, 4M or 64Ki".to_owned()),
    }
}

/// Rows of a case at most: row numbers are 32 bits in many places.
const ROWS_MAX: usize = 4_000_000_000;

impl Bench {
    pub(super) fn execute(&self) -> Result<Exit> {
        self.execute_beside(None)
    }

    /// Measures another engine, too, if one is given.
    pub(super) fn execute_beside(&self, other: Option<&dyn OtherEngine>) -> Result<Exit> {
        let options = self.options();
        let threads = options.threads()?;
        if options.polars && other.is_some() {
            return Err(Error::new(ErrorKind::InvalidOption, "one engine is measured beside ours")
                .advice("leave --polars out, or use pelton bench"));
        }
        if matches!(self.what, What::Text(_)) && options.batch_rows.or(options.beside_batches).is_some() {
            return Err(Error::new(ErrorKind::InvalidOption, "a file is read in batches of the reader's size")
                .advice("leave --batch-rows and --beside-batches out"));
        }
        if options.polars {
            if !cfg!(feature = "polars") {
                return Err(Error::new(ErrorKind::Unsupported, "this program is built without Polars")
                    .advice("build it with it: cargo build --release --features polars"));
            }
            if let Some(exit) = restart::with_polars_threads(threads)? {
                return Ok(exit);
            }
        }
        let (suite, tasks) = self.tasks()?;
        Session::new(suite, options, threads, other)?.run(&tasks)?;
        Ok(Exit::Well)
    }

    fn options(&self) -> &Options {
        match &self.what {
            What::Groupby(suite) | What::Scan(suite) | What::Tpch(suite) | What::Text(suite) => &suite.options,
            What::File(file) => &file.options,
        }
    }

    /// What is measured, under which name.
    fn tasks(&self) -> Result<(String, Vec<Task>)> {
        let (suite, of) = match &self.what {
            What::Groupby(of) => (&GROUPBY, of),
            What::Scan(of) => (&SCAN, of),
            What::Tpch(of) => (&TPCH, of),
            What::Text(of) => (&TEXT, of),
            What::File(file) => return file.task().map(|task| (format!("file {}", file.data.display()), vec![task])),
        };
        Ok((suite.name.to_owned(), of.tasks(suite)?))
    }
}

impl Options {
    fn threads(&self) -> Result<usize> {
        let threads = self.threads.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
        if threads > THREADS_MAX {
            return Err(Error::new(ErrorKind::InvalidOption, format!("{threads} threads are too many"))
                .advice(format!("give at most {THREADS_MAX}; one a core is best")));
        }
        Ok(threads)
    }
}

impl OfSuite {
    fn tasks(&self, suite: &Suite) -> Result<Vec<Task>> {
        let is_wanted =
            |name: &str| self.cases.is_empty() || self.cases.iter().any(|text| name.contains(text.as_str()));
        let wanted = suite.cases.iter().filter(|case| is_wanted(case.name));
        let task = |case: &suite::Case| {
            let query = Query::parse(&case.chain)?;
            let rows = session::Rows::Made(case.rows, self.rows);
            Ok(Task { name: case.name.to_owned(), rows, query, answer: None })
        };
        let tasks = wanted.map(task).collect::<Result<Vec<_>>>()?;
        if tasks.is_empty() {
            let names = suite.cases.iter().map(|case| case.name).collect::<Vec<_>>().join(", ");
            let message = format!("no case of {} has \"{}\" in its name", suite.name, self.cases.join("\" or \""));
            return Err(Error::new(ErrorKind::InvalidOption, message).advice(format!("there are {names}")));
        }
        Ok(tasks)
    }
}

impl OfFile {
    fn task(&self) -> Result<Task> {
        fn texts(texts: &[String]) -> Vec<&str> {
            texts.iter().map(String::as_str).collect()
        }
        let (select, keys, aggregates) = (texts(&self.select), texts(&self.keys), texts(&self.aggregates));
        let chain = Chain { filter: self.filter.as_deref(), select: &select, keys: &keys, aggregates: &aggregates };
        if chain.filter.is_none() && select.is_empty() && keys.is_empty() && aggregates.is_empty() {
            return Err(Error::new(ErrorKind::InvalidOption, "there is nothing to compute")
                .advice("say it by --filter, --select, --key and --aggregate"));
        }
        let query = Query::parse(&chain)?;
        let rows = file::read(&self.data)?;
        // Columns that are not read would only be carried about.
        let typed = query.typed(rows.schema_ref())?;
        let columns = typed.columns(rows.schema_ref()).into_iter().collect::<Vec<_>>();
        let name = self.data.file_stem().map_or_else(|| "file".to_owned(), |stem| stem.to_string_lossy().into_owned());
        let answer = self.answer.as_deref().map(file::Answer::create).transpose()?;
        Ok(Task { name, rows: session::Rows::Read(rows.project(&columns)?), query, answer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command line that is nothing but `bench`.
    #[derive(clap::Parser)]
    pub(super) struct Line {
        #[command(flatten)]
        pub(super) bench: Bench,
    }

    #[test]
    fn rows_are_counted_with_units() {
        let counts = [("1", 1), ("4M", 4_000_000), ("64Ki", 65_536), ("2k", 2000), ("4G", 4_000_000_000)];
        for (text, rows) in counts {
            assert_eq!(count(text), Ok(rows), "{text}");
        }
        for wrong in ["", "M", "1.5M", "4m", "0", "4001M", "99999999999G", "-1"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
    }
}
