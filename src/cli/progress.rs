//! What is shown of a running query, on standard error: a live line for people, JSON for programs, or nothing.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::figures::{counted, grouped, rough, time};
use super::pipeline::Surroundings;
use super::tell;
use crate::kernels::spill::Spilled;
use crate::runtime::progress::{Allowed, Memory, Queue, RuleCount, SourceProfile, StageDevice, StageFlow};
use crate::runtime::{Progress, Totals};

/// How often the live line moves.
const TICK: Duration = Duration::from_millis(100);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Show {
    /// A line that changes
    Live,
    /// A JSON object for each batch
    Json,
    /// Nothing
    None,
}

/// Shows the progress of one query.
#[derive(Debug)]
pub(super) struct Display {
    show: Show,
    is_asked: bool,
    line: Option<ProgressBar>,
}

impl Display {
    /// Shows progress as asked, else a live line if standard error is a terminal.
    pub(super) fn new(asked: Option<Show>) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let show = asked.unwrap_or(if is_terminal { Show::Live } else { Show::None });
        let line = (show == Show::Live && is_terminal).then(|| {
            let line = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {wide_msg}") {
                line.set_style(style);
            }
            line.set_message("waiting for rows");
            line.enable_steady_tick(TICK);
            line
        });
        Self { show, is_asked: asked.is_some(), line }
    }

    /// Whether a person watches.
    pub(super) fn is_seen(&self) -> bool {
        self.line.is_some()
    }

    /// Whether tables for people may follow the run: unless records or silence were asked for.
    pub(super) fn is_for_people(&self) -> bool {
        !self.is_asked || self.show == Show::Live
    }

    /// Where a pipeline finds its progress shown, and its tables printed without tearing the live line.
    pub(super) fn surroundings(&self) -> Surroundings {
        let surroundings = Surroundings::default();
        match (&self.line, self.show) {
            (Some(line), _) => {
                let (above, sums) = (line.clone(), Arc::new(Mutex::new(Totals::default())));
                let line = line.clone();
                surroundings.print_to(move || Box::new(AboveLine { line: above.clone() })).on_progress(
                    move |progress| {
                        progress.warnings.iter().for_each(|warning| line.println(format!("warning: {warning}")));
                        line.set_message(live_line(progress, &sums));
                    },
                )
            }
            (None, Show::Json) => surroundings.on_progress(|progress| {
                if let Ok(record) = serde_json::to_string(&Record::of(progress)) {
                    tell(&record);
                }
            }),
            (None, Show::Live | Show::None) => surroundings,
        }
    }

    /// Takes the live line away.
    pub(super) fn finish(&self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }

    /// Says in a line what the query did; unless silence was asked for, bad records are told of even where nobody watches.
    pub(super) fn summarize(&self, totals: &Totals) {
        let bad = bad_records(totals);
        if self.is_seen() {
            tell(&summary(totals));
        } else if !self.is_asked && !bad.is_empty() {
            tell(&format!("{}{bad}; --progress json names them", counted(totals.rows_in, "row")));
        }
    }
}

/// Standard output, written above the live line.
struct AboveLine {
    line: ProgressBar,
}

impl Write for AboveLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.suspend(|| io::stdout().write(bytes))
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.line.suspend(|| {
            let mut output = io::stdout().lock();
            output.write_all(bytes).and_then(|()| output.flush())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

fn live_line(progress: &Progress, sums: &Mutex<Totals>) -> String {
    let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
    sums.batches += 1;
    sums.rows_in += progress.rows_in;
    sums.rows_out += progress.rows_out;
    sums.dropped += progress.dropped;
    sums.nulled += progress.nulled;
    sums.quarantined += progress.quarantined;
    sums.rejected += progress.rejected;
    sums.late += progress.late + progress.untimed;
    format!(
        "{} rows/s, {} late, {}, {} rows in, {} out{}{}{}",
        rough(progress.rows_per_second()),
        time(progress.scheduling_delay),
        batches(sums.batches),
        grouped(sums.rows_in),
        grouped(sums.rows_out),
        bad_records(&sums),
        left_out(sums.late),
        waiting(&progress.queue),
    )
}

fn batches(count: u64) -> String {
    if count == 1 { "1 batch".to_owned() } else { format!("{} batches", grouped(count)) }
}

fn waiting(queue: &Queue) -> String {
    match queue {
        Queue { files: 0, bytes: 0, rows: 0 } => String::new(),
        Queue { files: 0, bytes: 0, rows } => format!(", {} waiting", counted(*rows, "row")),
        Queue { files, bytes, .. } => {
            format!(", {} waiting ({})", counted(*files, "file"), super::figures::bytes(*bytes))
        }
    }
}

fn bad_records(totals: &Totals) -> String {
    let told = |count: u64, what: &str| match count {
        0 => String::new(),
        count => format!(", {} {what}", counted(count, "bad record")),
    };
    let rejected = match totals.rejected {
        0 => String::new(),
        count => format!(", {} dropped by rules", counted(count, "row")),
    };
    told(totals.dropped, "dropped")
        + &told(totals.nulled, "read in part")
        + &told(totals.quarantined, "in quarantine")
        + &rejected
}

fn left_out(late: u64) -> String {
    if late == 0 { String::new() } else { format!(", {} too late for their windows", counted(late, "row")) }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn summary(totals: &Totals) -> String {
    let rate = totals.rows_in as f64 / totals.busy.as_secs_f64().max(1e-9);
    format!(
        "{}, {} in, {} out, {} at work ({} rows/s){}{}{}",
        batches(totals.batches),
        counted(totals.rows_in, "row"),
        grouped(totals.rows_out),
        time(totals.busy),
        rough(rate),
        bad_records(totals),
        left_out(totals.late),
        pruned(totals.pruned),
    )
}

fn pruned(rows: u64) -> String {
    if rows == 0 { String::new() } else { format!(", {} left out as they were read", counted(rows, "row")) }
}

/// A progress record as JSON: flat, with times in milliseconds.
#[derive(Serialize)]
struct Record<'a> {
    query: &'a str,
    batch_id: u64,
    time_ms: u128,
    rows_in: u64,
    pruned: u64,
    repeated: u64,
    bytes_in: u64,
    rows_out: u64,
    bytes_out: u64,
    dropped: u64,
    nulled: u64,
    quarantined: u64,
    rejected: u64,
    rules: &'a [RuleCount],
    stages: &'a [StageFlow],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    devices: &'a [StageDevice],
    late: u64,
    untimed: u64,
    groups: u64,
    bad_records: &'a [String],
    partitions: usize,
    scheduling_delay_ms: f64,
    cut_ms: f64,
    compute_ms: f64,
    save_ms: f64,
    reading_threads_ms: f64,
    write_ms: f64,
    commit_ms: f64,
    total_ms: f64,
    waiting: Queue,
    allowed: Allowed,
    memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spilled: Option<Spilled>,
    retries: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    read_again: bool,
    fallen_back: u64,
    warnings: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    profiles: &'a [SourceProfile],
}

impl<'a> Record<'a> {
    fn of(progress: &'a Progress) -> Self {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let phases = &progress.phases;
        Self {
            query: &progress.query,
            batch_id: progress.batch_id,
            time_ms: progress.time.as_millis(),
            rows_in: progress.rows_in,
            pruned: progress.pruned,
            repeated: progress.repeated,
            bytes_in: progress.bytes_in,
            rows_out: progress.rows_out,
            bytes_out: progress.bytes_out,
            dropped: progress.dropped,
            nulled: progress.nulled,
            quarantined: progress.quarantined,
            rejected: progress.rejected,
            rules: &progress.rules,
            stages: &progress.stages,
            devices: &progress.devices,
            late: progress.late,
            untimed: progress.untimed,
            groups: progress.groups,
            bad_records: &progress.bad_records,
            partitions: progress.partitions,
            scheduling_delay_ms: ms(progress.scheduling_delay),
            cut_ms: ms(phases.cut),
            compute_ms: ms(phases.compute),
            save_ms: ms(phases.save),
            reading_threads_ms: ms(phases.reading_threads),
            write_ms: ms(phases.write),
            commit_ms: ms(phases.commit),
            total_ms: ms(phases.total),
            waiting: progress.queue,
            allowed: progress.allowed,
            memory: progress.memory,
            spilled: progress.spilled,
            retries: progress.retries,
            read_again: progress.read_again,
            fallen_back: progress.fallen_back,
            warnings: &progress.warnings,
            profiles: &progress.profiles,
        }
    }
}
