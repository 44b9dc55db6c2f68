//! A run from the first case to the last: make the rows, check the answers, measure, tell.

use std::any::Any;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use rayon::ThreadPool;

use super::answers::{Other, compare};
use super::beside::{Beside, MICRO_BATCHES, OnDevice, resident};
use super::chain::{Query, TypedQuery};
use super::engine::Engine;
use super::file::Answer;
use super::measure::{Run, in_turn};
use super::peer::{ChainText, OtherEngine};
use super::report::{Measured, Peer, Setup, html, json, table::Table};
use super::text::TextFile;
use super::{Floats, Options, bandwidth, data, suite};
use crate::cli::{answer, devices};
use crate::columnar::RecordBatch;
use crate::dispatch::Device;
use crate::error::{Error, ErrorKind, Result};

/// Rows whose answer is compared with the reference's, which is slow.
const REFERENCE_ROWS: usize = 2000;

/// One case to be measured.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) name: String,
    pub(super) rows: Rows,
    pub(super) query: Query,
    /// Where the answer goes, if anywhere.
    pub(super) answer: Option<Answer>,
}

/// Where the rows of a case come from.
#[derive(Debug)]
pub(super) enum Rows {
    /// Made up, so many.
    Made(suite::Rows, usize),
    Read(RecordBatch),
}

/// A run.
pub(super) struct Session<'a> {
    suite: String,
    options: &'a Options,
    other: Option<&'a dyn OtherEngine>,
    beside: Beside,
    pool: Arc<ThreadPool>,
    status: Status,
}

/// Rows that were made last, for the next case if it takes the same.
type Kept = Option<(suite::Rows, RecordBatch)>;

impl<'a> Session<'a> {
    pub(super) fn new(
        suite: String,
        options: &'a Options,
        threads: usize,
        other: Option<&'a dyn OtherEngine>,
    ) -> Result<Self> {
        for file in options.json.iter().chain(&options.html) {
            // Found out now, not after minutes of measuring.
            let opened = fs::OpenOptions::new().write(true).create(true).truncate(false).open(file);
            opened.map_err(|error| Error::io(file, "write the results", error))?;
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("bench-{index}"));
        let pool = pool.build().map_err(|error| {
            Error::new(ErrorKind::Connector, format!("cannot start {threads} threads: {error}")).because(error)
        })?;
        let beside = Beside::new(&options.devices, options.adapter.as_deref());
        Ok(Self { suite, options, other, beside, pool: Arc::new(pool), status: Status::new() })
    }

    /// Measures every case and writes all reports.
    pub(super) fn run(&self, tasks: &[Task]) -> Result<()> {
        let setup = self.setup();
        let micro_batches = self.options.beside_batches.map(|_| MICRO_BATCHES);
        let lines = micro_batches.into_iter().chain(self.beside.names());
        let lines = lines.map(|name| format!("· {name}")).collect::<Vec<_>>();
        let names = tasks.iter().map(|task| task.name.as_str()).chain(lines.iter().map(String::as_str));
        let table = Table::new(names, &setup);
        self.status.clear();
        answer(&table.header(&setup))?;
        let mut results = Vec::with_capacity(tasks.len());
        let mut kept = Kept::None;
        for (index, task) in tasks.iter().enumerate() {
            let place = format!("{}/{} {}", index + 1, tasks.len(), task.name);
            let measured = self
                .measure(task, &place, &mut kept)
                .map_err(|error| error.context(format!("in case {}", task.name)))?;
            self.status.clear();
            answer(&table.line(&measured))?;
            results.push(measured);
        }
        answer(&format!("\n{}\n", self.checked()))?;
        let write = |file: &Path, text: String| {
            fs::write(file, text).map_err(|error| Error::io(file, "write the results", error))
        };
        if let Some(file) = &self.options.json {
            write(file, json::write(&setup, &results)?)?;
        }
        if let Some(file) = &self.options.html {
            write(file, html::write(&setup, &results))?;
        }
        Ok(())
    }

    fn setup(&self) -> Setup {
        self.status.say("measuring the speed of memory");
        Setup {
            suite: self.suite.clone(),
            processor: devices::processor_name().unwrap_or_else(|| "unknown processor".to_owned()),
            simd: devices::simd().to_owned(),
            threads: self.pool.current_num_threads(),
            bandwidth: self.pool.install(bandwidth::measure),
            runs: self.runs(),
            batch_rows: self.options.batch_rows,
            beside_batches: self.options.beside_batches,
            at_once: self.options.at_once,
            floats: self.options.floats.name(),
            peer: self.peer_name(),
        }
    }

    fn checked(&self) -> String {
        let mut reference = format!("the first {REFERENCE_ROWS} rows against the reference, bit for bit");
        if !self.beside.names().is_empty() {
            reference.push_str("; all rows of all devices against the cpu, bit for bit");
        }
        match self.peer_name() {
            Some(peer) => format!("answers checked: {reference}; all rows against {peer}, floats within 1e-9"),
            None => format!("answers checked: {reference}"),
        }
    }

    /// The engine that is measured beside ours.
    fn peer_name(&self) -> Option<&'static str> {
        self.other.map(OtherEngine::name).or_else(|| self.options.polars.then_some("Polars"))
    }

    fn measure(&self, task: &Task, place: &str, kept: &mut Kept) -> Result<Measured> {
        let rows = self.rows(task, place, kept)?;
        let (schema, asked) = (rows.schema(), &task.query);
        let ordered = (self.options.floats == Floats::Ordered).then(|| asked.ordered(&schema)).transpose()?;
        let query = ordered.as_ref().unwrap_or(asked);
        let typed = query.typed(&schema)?;
        let engine = Engine::compile(&schema, query, Device::Cpu, &self.pool)?;
        self.status.say(&format!("{place}: checking the answer"));
        self.check_by_reference(&engine, query, &rows)?;
        let batches = cut(&rows, self.options.batch_rows.unwrap_or(rows.num_rows()));
        let file = match task.rows {
            Rows::Made(suite::Rows::Text(kind), count) => Some(TextFile::make(kind, count)?.narrowed(&typed)),
            _ => None,
        };
        let run_on = |engine: &Engine| match &file {
            Some(file) => engine.run_file(file),
            None if self.options.at_once => engine.run(&batches),
            None => engine.run_in_turn(&batches),
        };
        let run = || run_on(&engine);
        let first = run()?;
        if file.is_some() {
            let other = Other { name: "the same rows in memory", rounds: false, sums: &[] };
            compare(&first, &engine.run(&batches)?, query.keys.len(), other)?;
        }
        if let Some(answer) = &task.answer {
            answer.write(&first)?;
        }
        let micro_batches = self.options.beside_batches.map(|size| cut(&rows, size));
        if let Some(batches) = &micro_batches {
            let other = Other { name: "one batch", rounds: false, sums: &[] };
            compare(&engine.run_in_turn(batches)?, &first, query.keys.len(), other)?;
        }
        let mut devices = self.beside.prepare(&schema, query, &self.pool);
        devices.iter_mut().try_for_each(|device| device.check(&run_on, &first, query.keys.len()))?;
        let peer = match self.other {
            Some(other) if file.is_some() => {
                Asked::Refuses(format!("{} is given rows in memory, not files", other.name()))
            }
            Some(other) => self.other(other, asked, &rows, &first)?,
            None => self.peer(&typed, &rows, file.as_ref(), &first)?,
        };

        self.status.say(&format!("{place}: measuring"));
        let mut engines: Vec<Run<'_>> = vec![Box::new(|| Ok(Box::new(run()?) as Box<dyn Any>))];
        let refused = match peer {
            Asked::No => Peer::NotAsked,
            Asked::Refuses(reason) => Peer::Refused(reason),
            Asked::Runs(run) => {
                engines.push(run);
                Peer::NotAsked
            }
        };
        if let Some(batches) = &micro_batches {
            engines.push(Box::new(|| Ok(Box::new(engine.run_in_turn(batches)?) as Box<dyn Any>)));
        }
        let peers = engines.len();
        let are_run: Vec<bool> =
            devices.iter().map(|device| device.runs(&run_on).map(|run| engines.push(run)).is_some()).collect();
        let mut times = in_turn(&mut engines, self.runs())?;
        let mut of_devices = times.split_off(peers).into_iter();
        let in_batches = if micro_batches.is_some() { times.pop() } else { None };
        let mut times = times.into_iter();
        let ours = times.next().ok_or_else(|| Error::internal("nothing was measured"))?;
        let in_batches = in_batches.map(OnDevice::in_micro_batches).into_iter();
        let resident = || resident(&self.beside, query, &rows, &batches, self.runs());
        let lines = devices
            .iter()
            .zip(are_run)
            .map(|(device, is_run)| device.lines(if is_run { of_devices.next() } else { None }, resident));
        let lines = lines.collect::<Result<Vec<_>>>()?;
        Ok(Measured {
            devices: in_batches.chain(lines.concat()).collect(),
            case: task.name.clone(),
            rows: rows.num_rows() as u64,
            answer_rows: first.num_rows() as u64,
            bytes: file.as_ref().map_or_else(|| typed.bytes(&rows), |file| Ok(file.bytes()))?,
            ours,
            group_ids: engine.group_ids(),
            peer: times.next().map_or(refused, Peer::Measured),
        })
    }

    fn rows(&self, task: &Task, place: &str, kept: &mut Kept) -> Result<RecordBatch> {
        let (what, rows) = match (&task.rows, &kept) {
            (Rows::Read(rows), _) => return Ok(rows.clone()),
            (Rows::Made(what, _), Some((last, rows))) if what == last => return Ok(rows.clone()),
            (Rows::Made(what, rows), _) => (*what, *rows),
        };
        // Two sets of rows never lie in memory together.
        *kept = None;
        self.status.say(&format!("{place}: making rows"));
        let made = self.pool.install(|| data::make(what, rows))?;
        *kept = Some((what, made.clone()));
        Ok(made)
    }

    fn check_by_reference(&self, engine: &Engine, query: &Query, rows: &RecordBatch) -> Result<()> {
        let few = [rows.slice(0, rows.num_rows().min(REFERENCE_ROWS))];
        let reference = Engine::compile(&rows.schema(), query, Device::Reference, &self.pool)?.run(&few)?;
        let other = Other { name: "the reference", rounds: false, sums: &[] };
        compare(&engine.run(&few)?, &reference, query.keys.len(), other)
    }

    /// The other engine, once it has given the same answer.
    fn other<'q>(
        &self,
        other: &dyn OtherEngine,
        query: &Query,
        rows: &RecordBatch,
        ours: &RecordBatch,
    ) -> Result<Asked<'q>> {
        let prepared = other.prepare(&ChainText::of(query), rows, self.pool.current_num_threads());
        match prepared.and_then(|chain| Ok((chain.answer()?, chain))) {
            Ok((answer, chain)) => {
                compare(ours, &answer, query.keys.len(), Other { name: other.name(), rounds: true, sums: &[] })?;
                Ok(Asked::Runs(Box::new(move || chain.run())))
            }
            Err(error) => Ok(Asked::Refuses(error.message().to_owned())),
        }
    }

    /// Polars, if it is asked for, once it has given the same answer.
    #[cfg(feature = "polars")]
    fn peer<'q>(
        &self,
        query: &TypedQuery,
        rows: &RecordBatch,
        file: Option<&TextFile>,
        ours: &RecordBatch,
    ) -> Result<Asked<'q>> {
        if !self.options.polars {
            return Ok(Asked::No);
        }
        let peer = match file {
            Some(file) => super::polars::Peer::over_file(query, file),
            None => super::polars::Peer::new(query, rows),
        };
        let peer = match peer {
            Ok(peer) => peer,
            Err(error) => return Ok(Asked::Refuses(error.message().to_owned())),
        };
        match peer.answer() {
            Ok(answer) => {
                let other = Other { name: "Polars", rounds: true, sums: &super::polars::zero_for_nothing(query) };
                compare(ours, &answer, query.keys.len(), other)?;
            }
            Err(error) => return Ok(Asked::Refuses(error.message().to_owned())),
        }
        Ok(Asked::Runs(Box::new(move || Ok(Box::new(peer.frame()?) as Box<dyn Any>))))
    }

    /// Without the feature nobody is asked; the command line has refused `--polars`.
    #[cfg(not(feature = "polars"))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "as with the feature")]
    fn peer<'q>(&self, _: &TypedQuery, _: &RecordBatch, _: Option<&TextFile>, _: &RecordBatch) -> Result<Asked<'q>> {
        Ok(Asked::No)
    }

    fn runs(&self) -> usize {
        usize::try_from(self.options.runs).unwrap_or(usize::MAX)
    }
}

/// The rows in batches of this size.
fn cut(rows: &RecordBatch, size: usize) -> Vec<RecordBatch> {
    let all = rows.num_rows();
    (0..all.max(1)).step_by(size.max(1)).map(|from| rows.slice(from, size.min(all - from))).collect()
}

/// What became of the wish for a peer.
enum Asked<'a> {
    No,
    Refuses(String),
    Runs(Run<'a>),
}

/// One line on the terminal about what is going on; nothing if standard error is not one.
struct Status {
    is_seen: bool,
}

impl Status {
    fn new() -> Self {
        Self { is_seen: std::io::stderr().is_terminal() }
    }

    fn say(&self, text: &str) {
        self.show(&format!("\r\x1b[2K{text} …"));
    }

    fn clear(&self) {
        self.show("\r\x1b[2K");
    }

    fn show(&self, text: &str) {
        if self.is_seen {
            let mut output = std::io::stderr().lock();
            // If it cannot be written, nobody misses it.
            drop(output.write_all(text.as_bytes()).and_then(|()| output.flush()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::beside::Outcome;
    use crate::cli::bench::peer::OtherChain;
    use crate::program::Program;

    /// Stands in for another engine: ours again, on what it is told; and it spoils an answer if it is asked to.
    struct Stand {
        is_wrong: bool,
        refuses: bool,
    }

    struct StandChain(Program, RecordBatch, bool);

    impl OtherEngine for Stand {
        fn name(&self) -> &'static str {
            "Stand"
        }

        fn prepare(&self, chain: &ChainText, rows: &RecordBatch, threads: usize) -> Result<Box<dyn OtherChain>> {
            if threads != 2 {
                return Err(Error::internal("the stand-in was given another number of threads"));
            }
            if self.refuses {
                return Err(Error::new(ErrorKind::Unsupported, "not today"));
            }
            let query = chain.query("rows");
            if query != "SELECT k, sum(i) AS total FROM (SELECT * FROM rows WHERE i > 5) GROUP BY 1" {
                return Err(Error::internal(format!("the stand-in was given another query: {query}")));
            }
            let (filter, aggregate) = (chain.filter.as_deref().unwrap(), chain.aggregates[0].as_str());
            let filter = crate::expr::parse::parse_expr(filter)?;
            let aggregate = crate::expr::parse::parse_aggregate(aggregate)?;
            let chain =
                crate::program::Chain::new().filter(filter).key_by([crate::expr::col("k")]).aggregate([aggregate]);
            let program = Program::compile(&rows.schema(), &chain, Device::Cpu)?;
            Ok(Box::new(StandChain(program, rows.clone(), self.is_wrong)))
        }
    }

    impl OtherChain for StandChain {
        fn run(&self) -> Result<Box<dyn Any>> {
            Ok(Box::new(self.answer()?))
        }

        fn answer(&self) -> Result<RecordBatch> {
            let rows = if self.2 { self.1.slice(1, self.1.num_rows() - 1) } else { self.1.clone() };
            self.0.run(&rows)
        }
    }

    fn measured(other: &Stand) -> Result<Measured> {
        measured_with(other, &[])
    }

    fn measured_with(other: &Stand, options: &[&str]) -> Result<Measured> {
        let words = ["bench", "groupby", "--runs", "2"].iter().chain(options);
        let line = <crate::cli::bench::tests::Line as clap::Parser>::parse_from(words);
        let session = Session::new("test".to_owned(), line.bench.options(), 2, Some(other))?;
        let chain = suite::Chain { filter: Some("i > 5"), keys: &["k"], aggregates: &["sum(i) as total"], select: &[] };
        let rows = Rows::Made(suite::GROUPBY.cases[1].rows, 3000);
        let task = Task { name: "one".to_owned(), rows, query: Query::parse(&chain)?, answer: None };
        session.measure(&task, "1/1", &mut None)
    }

    #[test]
    fn another_engine_is_checked_and_measured() {
        let measured = measured(&Stand { is_wrong: false, refuses: false }).unwrap();
        assert!(measured.times_peer().is_some_and(|ratio| ratio > 0.0));
    }

    #[test]
    fn micro_batches_are_measured_beside_all_rows_at_once() {
        for floats in ["exact", "ordered"] {
            let options = ["--beside-batches", "1Ki", "--floats", floats];
            let measured = measured_with(&Stand { is_wrong: false, refuses: false }, &options).unwrap();
            assert_eq!(measured.devices[0].name, MICRO_BATCHES);
            assert!(matches!(&measured.devices[0].outcome, Outcome::Measured(times) if !times.median().is_zero()));
            assert!(measured.times_peer().is_some());
        }
    }

    #[test]
    fn files_of_text_are_read_in_each_run_and_give_what_the_same_rows_in_memory_give() {
        let polars: &[&str] = if cfg!(feature = "polars") { &["--polars"] } else { &[] };
        let words = ["bench", "text", "--runs", "1"].iter().chain(polars);
        let line = <crate::cli::bench::tests::Line as clap::Parser>::parse_from(words);
        let session = Session::new("text".to_owned(), line.bench.options(), 2, None).unwrap();
        for case in suite::TEXT.cases {
            let query = Query::parse(&case.chain).unwrap();
            let task = Task { name: case.name.to_owned(), rows: Rows::Made(case.rows, 40_000), query, answer: None };
            let measured = session.measure(&task, "1/1", &mut None).unwrap();
            assert!(measured.bytes > 40_000 && measured.answer_rows > 0, "{}", case.name);
            assert_eq!(measured.peer_times().is_some(), cfg!(feature = "polars"), "{}: {:?}", case.name, measured.peer);
        }
    }

    #[test]
    fn a_wrong_answer_of_another_engine_is_an_error_and_a_refusal_is_not() {
        let error = measured(&Stand { is_wrong: true, refuses: false }).unwrap_err();
        assert!(error.to_string().contains("of Stand"), "{error}");
        let refused = measured(&Stand { is_wrong: false, refuses: true }).unwrap();
        assert!(matches!(refused.peer, Peer::Refused(reason) if reason == "not today"));
    }
}
