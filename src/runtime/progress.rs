//! What is told about a batch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::budget::MemoryBudget;
use crate::connectors::ReadLimits;
use crate::error::Result;
use crate::formats::ReadReport;
use crate::kernels::spill::Spilled;
use crate::kernels::{DeviceChoice, Flow};
use crate::limits::PROGRESS_RECORDS_MAX;
use crate::plan::rules::Verdict;
use crate::profile::{ColumnProfile, Profile};

/// What one micro-batch did and how long each part took.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Progress {
    /// The query.
    pub query: String,
    /// The batch.
    pub batch_id: u64,
    /// When it was cut, as time since the Unix epoch.
    pub time: Duration,
    /// Rows read.
    pub rows_in: u64,
    /// Rows that readers left out, since the query's filters would not let them pass.
    pub pruned: u64,
    /// How often a name came again in one object of NDJSON: its last value counts.
    pub repeated: u64,
    /// Bytes read from the sources, before decompression.
    pub bytes_in: u64,
    /// Rows written, all sinks together.
    pub rows_out: u64,
    /// Bytes written, by the sinks that know.
    pub bytes_out: u64,
    /// Records left out because they could not be read.
    pub dropped: u64,
    /// Records read with nulls in place of what could not be read.
    pub nulled: u64,
    /// Records left out because they could not be read, and rows left out because they broke a rule, that are kept in the
    /// quarantine.
    pub quarantined: u64,
    /// Rows left out because they broke a rule, and not kept.
    pub rejected: u64,
    /// How many rows broke each rule.
    pub rules: Vec<RuleCount>,
    /// Where the rows of each stage went, of the stages whose backend counts them: every row that came in is accounted for.
    pub stages: Vec<StageFlow>,
    /// What the stages ran on that may run on either device, and why.
    pub devices: Vec<StageDevice>,
    /// Rows that windows left out because they came after their windows were closed.
    pub late: u64,
    /// Rows that windows left out because they have no time.
    pub untimed: u64,
    /// Groups that are kept from batch to batch.
    pub groups: u64,
    /// The first few records that could not be read as they should: place and reason.
    pub bad_records: Vec<String>,
    /// Partitions that were read.
    pub partitions: usize,
    /// How late the batch was cut, after it was due.
    pub scheduling_delay: Duration,
    /// Time spent in each phase.
    pub phases: Phases,
    /// What waits in the sources.
    pub queue: Queue,
    /// How much the batch was allowed to take of its sources.
    pub allowed: Allowed,
    /// How much of the memory budget was in use when the batch had been written, if there is a budget.
    pub memory: Option<Memory>,
    /// What of the groups has no room in memory and lies on disk, if there is a budget and something that may lie there.
    pub spilled: Option<Spilled>,
    /// How often something failed and was tried again.
    pub retries: u32,
    /// Whether the batch was read a second time, because what a source believed of it was false: that records of a CSV file
    /// end where lines do. Nothing of the first time is counted elsewhere.
    pub read_again: bool,
    /// Pieces of the batch that a device could not finish and that were run again on the CPU.
    pub fallen_back: u64,
    /// What should be looked at, although every answer is right.
    pub warnings: Vec<String>,
    /// What the columns hold that are profiled, of the sources that gave rows.
    pub profiles: Vec<SourceProfile>,
}

/// What the profiled columns of a source hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceProfile {
    /// The source.
    pub source: String,
    /// Its columns.
    pub columns: Vec<ColumnProfile>,
}

/// Where the rows of a stage went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StageFlow {
    /// The stage, as `explain` numbers it.
    pub stage: usize,
    /// Its rows.
    #[serde(flatten)]
    pub flow: Flow,
}

/// What a stage ran on that may run on either device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageDevice {
    /// The stage, as `explain` numbers it.
    pub stage: usize,
    /// What was chosen for its rows.
    #[serde(flatten)]
    pub choice: DeviceChoice,
}

/// How many rows broke a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleCount {
    /// The rule.
    pub name: Arc<str>,
    /// What becomes of such rows.
    pub verdict: Verdict,
    /// How many there were.
    pub broken: u64,
}

/// Where the time of a batch went, on the clock on the wall unless said otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Phases {
    /// Asking the sources what there is.
    pub cut: Duration,
    /// Reading and computing, which happen together.
    pub compute: Duration,
    /// Of that, reading and decoding: the sum over all threads.
    pub reading_threads: Duration,
    /// Handing what changed of the state to the thread that writes the checkpoint, and waiting until it has written down
    /// what the batch reads. What the thread does while the loop goes on is not in these figures.
    pub save: Duration,
    /// Writing to the sinks.
    pub write: Duration,
    /// Waiting for the commit to be written down, as far as the next batch had not begun, and telling the sources.
    pub commit: Duration,
    /// All of the above.
    pub total: Duration,
}

/// What waits in the sources, as far as they know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
}

/// How much a batch was allowed to take, all sources together; where one of them has no bound there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Allowed {
    /// Bytes.
    pub bytes: Option<u64>,
    /// Rows.
    pub rows: Option<u64>,
    #[serde(skip)]
    sources: usize,
}

impl Allowed {
    /// Adds what may be taken of another source.
    pub(super) fn add(&mut self, limits: &ReadLimits) {
        let is_first = self.sources == 0;
        let sum = |so_far: Option<u64>, one: Option<u64>| match is_first {
            true => one,
            false => so_far.zip(one).map(|(so_far, one)| so_far.saturating_add(one)),
        };
        (self.bytes, self.rows) = (sum(self.bytes, limits.bytes_max), sum(self.rows, limits.rows_max));
        self.sources += 1;
    }
}

/// The memory budget of a query, at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Bytes that were read and not yet committed, of all queries that share the budget.
    pub in_flight: u64,
    /// Bytes that may be.
    pub budget: u64,
}

impl Memory {
    pub(super) fn of(budget: &MemoryBudget) -> Self {
        Self { in_flight: budget.in_flight(), budget: budget.total() }
    }
}

impl Progress {
    /// Rows read per second of the batch.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn rows_per_second(&self) -> f64 {
        self.rows_in as f64 / self.phases.total.as_secs_f64().max(1e-9)
    }

    pub(super) fn add_reading(&mut self, report: &ReadReport) {
        self.rows_in += report.rows;
        self.pruned += report.pruned;
        self.repeated += report.repeated;
        self.bytes_in += report.bytes;
        self.dropped += report.dropped;
        self.nulled += report.nulled;
        self.quarantined += report.quarantined;
        self.bad_records.extend(report.examples.iter().map(|bad| format!("{}: {}", bad.place, bad.reason)));
    }
}

/// Called with each record, on the query's thread.
pub type Listener = Arc<dyn Fn(&Progress) + Send + Sync>;

/// Sums over all batches of a query.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Batches.
    pub batches: u64,
    /// Rows read.
    pub rows_in: u64,
    /// Rows that readers left out, since filters would not let them pass.
    pub pruned: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Rows written.
    pub rows_out: u64,
    /// Records left out.
    pub dropped: u64,
    /// Records read in part.
    pub nulled: u64,
    /// Records and rows left out and kept in the quarantine.
    pub quarantined: u64,
    /// Rows left out because they broke a rule.
    pub rejected: u64,
    /// Rows that windows left out: too late, or without a time.
    pub late: u64,
    /// Time in batches.
    pub busy: Duration,
}

/// The latest records of a query and the sums over all of them.
#[derive(Debug, Default)]
pub(super) struct ProgressLog(Mutex<Records>);

#[derive(Debug, Default)]
struct Records {
    latest: VecDeque<Progress>,
    totals: Totals,
    /// Profiles over all batches, by the names of their sources.
    profiles: BTreeMap<String, Profile>,
}

impl ProgressLog {
    /// Adds what a batch held.
    pub(super) fn add_profile(&self, source: &str, profile: &Profile) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match records.profiles.get_mut(source) {
            Some(whole) => whole.absorb(profile),
            None => drop(records.profiles.insert(source.to_owned(), profile.clone())),
        }
    }

    pub(super) fn profiles(&self) -> Result<Vec<SourceProfile>> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = |(source, profile): (&String, &Profile)| {
            Ok(SourceProfile { source: source.clone(), columns: profile.columns()? })
        };
        records.profiles.iter().map(shown).collect()
    }

    pub(super) fn push(&self, progress: Progress) {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let totals = &mut records.totals;
        totals.batches += 1;
        totals.rows_in += progress.rows_in;
        totals.pruned += progress.pruned;
        totals.bytes_in += progress.bytes_in;
        totals.rows_out += progress.rows_out;
        totals.dropped += progress.dropped;
        totals.nulled += progress.nulled;
        totals.quarantined += progress.quarantined;
        totals.rejected += progress.rejected;
        totals.late += progress.late + progress.untimed;
        totals.busy += progress.phases.total;
        if records.latest.len() == PROGRESS_RECORDS_MAX {
            records.latest.pop_front();
        }
        records.latest.push_back(progress);
    }

    pub(super) fn latest(&self) -> Vec<Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).latest.iter().cloned().collect()
    }

    pub(super) fn totals(&self) -> Totals {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).totals
    }
}
