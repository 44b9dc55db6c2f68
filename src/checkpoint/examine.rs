//! Looking at a checkpoint from outside: where a query would go on, what is damaged, which batch is the newest sound one,
//! and going back to a batch.

use std::collections::BTreeSet;

use super::entries::{self, CommitEntry, Log, OffsetEntry, Positions, QUERY};
use super::state::{self, StatePart};
use super::store::Store;
use super::{Identity, Resumption};
use crate::error::{Error, ErrorKind, Result};

/// What was found by reading every file of a checkpoint.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Files that were read.
    pub files: usize,
    /// The newest committed batch.
    pub committed: Option<u64>,
    /// Batches that were begun and not committed.
    pub pending: Vec<u64>,
    /// Files that are not what was written.
    pub damages: Vec<Damage>,
    /// The batches that a query can be rolled back to, rising. The last one is the newest sound one.
    pub sound: Vec<u64>,
}

/// A file that is not what was written.
#[derive(Debug, Clone)]
pub struct Damage {
    /// The file, within the checkpoint.
    pub file: String,
    /// What is wrong with it, and at which byte.
    pub what: String,
}

impl Report {
    /// What to do about the damage, in one sentence.
    pub fn advice(&self) -> String {
        match self.sound.last() {
            Some(batch) => format!(
                "batch {batch} is the newest that is sound: `pelton checkpoint rollback --to {batch}` goes back to it, \
                 and the batches after it are run again"
            ),
            None => "no batch of it is sound: bring the files back from elsewhere, or start anew with a new checkpoint"
                .to_owned(),
        }
    }
}

/// Where a query goes on.
pub(super) fn resumption(store: &dyn Store) -> Result<Resumption> {
    let (offsets, commits) = (Log::Offsets.batches(store)?, Log::Commits.batches(store)?);
    let committed = commits.last().copied();
    let next_batch = committed.map_or(0, |batch| batch + 1);
    let known = Log::Positions.batches(store)?;
    let known = known.into_iter().rfind(|&batch| batch < next_batch);
    let mut positions: Positions = match known {
        Some(batch) => entries::read(store, &Log::Positions.file(batch), Log::Positions.folder())?,
        None => Positions::default(),
    };
    for batch in known.map_or(0, |batch| batch + 1)..next_batch {
        for (source, range) in offsets_of(store, batch)?.ranges {
            positions.ranges.entry(source).or_default().push(range);
        }
    }
    let mut pending = Vec::new();
    let newest = offsets.last().map_or(next_batch, |batch| batch + 1);
    for batch in next_batch..newest {
        pending.push(offsets_of(store, batch)?);
    }
    let event_time = match committed {
        Some(batch) => {
            let entry: CommitEntry = entries::read(store, &Log::Commits.file(batch), Log::Commits.folder())?;
            entry.event_time
        }
        None => serde_json::Value::Null,
    };
    Ok(Resumption { next_batch, positions, pending, event_time })
}

fn offsets_of(store: &dyn Store, batch: u64) -> Result<OffsetEntry> {
    entries::read(store, &Log::Offsets.file(batch), Log::Offsets.folder()).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::Corrupt, format!("the offsets of batch {batch} are missing"))
            .at(error.place().clone()),
        _ => error,
    })
}

/// Reads every file of a checkpoint and says what is damaged. Changes nothing, and needs no lock.
///
/// # Errors
/// Storage that cannot be read; `NotFound` if there is no checkpoint.
pub fn verify(store: &dyn Store) -> Result<Report> {
    let mut reading = Reading { report: Report::default(), good: BTreeSet::new() };
    if !store.list("")?.iter().any(|name| name == QUERY) {
        return Err(Error::new(ErrorKind::NotFound, "there is no checkpoint here").at(store.place("")));
    }
    let mut operators: BTreeSet<String> = store.folders(state::FOLDER)?.into_iter().collect();
    reading.read(QUERY.to_owned(), || {
        // Also those of which nothing is there.
        operators.extend(entries::read::<Identity>(store, QUERY, QUERY)?.operators.into_keys());
        Ok(())
    })?;
    for log in Log::ALL {
        for batch in log.batches(store)? {
            let (file, kind) = (log.file(batch), log.folder());
            let read = || match log {
                Log::Offsets => entries::read::<OffsetEntry>(store, &file, kind).map(drop),
                Log::Commits => entries::read::<CommitEntry>(store, &file, kind).map(drop),
                Log::Positions => entries::read::<Positions>(store, &file, kind).map(drop),
            };
            reading.read(file.clone(), read)?;
        }
    }
    for operator in store.list(entries::OPERATORS)? {
        let file = entries::definition_file(&operator);
        reading.read(file.clone(), || entries::read::<String>(store, &file, entries::OPERATORS).map(drop))?;
    }
    for operator in &operators {
        for (batch, part) in state::files(store, operator)? {
            let read = || state::read_file(store, operator, batch, part).map(drop);
            reading.read(state::file(operator, batch, part), read)?;
        }
    }
    let commits = Log::Commits.batches(store)?;
    let Reading { mut report, good } = reading;
    report.committed = commits.last().copied();
    if let Some(batch) = report.committed {
        let is_known = |file: &String| report.damages.iter().any(|damage| damage.file == *file);
        let missing = lacking(&good, &operators, batch).filter(|either| !either.iter().any(is_known));
        let what = "it is missing, and the query cannot go on after the newest batch without it";
        let missing = missing.flat_map(|either| either.into_iter().next_back());
        let missing = missing.map(|file| Damage { file, what: what.to_owned() }).collect::<Vec<_>>();
        report.damages.extend(missing);
    }
    let next = report.committed.map_or(0, |batch| batch + 1);
    report.pending = Log::Offsets.batches(store)?.into_iter().filter(|batch| *batch >= next).collect();
    report.sound = commits.into_iter().filter(|&batch| is_sound(&good, &operators, batch)).collect();
    Ok(report)
}

struct Reading {
    report: Report,
    good: BTreeSet<String>,
}

impl Reading {
    fn read(&mut self, file: String, read: impl FnOnce() -> Result<()>) -> Result<()> {
        self.report.files += 1;
        match read() {
            Ok(()) => {
                self.good.insert(file);
            }
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {
                self.report.damages.push(Damage { file, what: error.to_string() });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Whether all is good that a query needs to go on after this batch.
fn is_sound(good: &BTreeSet<String>, operators: &BTreeSet<String>, batch: u64) -> bool {
    lacking(good, operators, batch).next().is_none()
}

/// What a query needs to go on after this batch and is not good or not there, of each log and each operator the latest: files
/// of which one would do.
fn lacking(good: &BTreeSet<String>, operators: &BTreeSet<String>, batch: u64) -> impl Iterator<Item = Vec<String>> {
    let has = |file: &String| good.contains(file);
    let one = |file: String| (!has(&file)).then(|| vec![file]);
    // From a whole one on, step by step.
    let chain = |whole: &dyn Fn(u64) -> String, step: &dyn Fn(u64) -> String| {
        let mut at = batch;
        while !has(&whole(at)) {
            if !has(&step(at)) {
                return Some(vec![whole(at), step(at)]);
            }
            at = at.checked_sub(1)?;
        }
        None
    };
    let logs = [
        one(QUERY.to_owned()),
        one(Log::Commits.file(batch)),
        chain(&|at| Log::Positions.file(at), &|at| Log::Offsets.file(at)),
    ];
    let state = |operator: &String| {
        let file = |part: StatePart| move |at| state::file(operator, at, part);
        chain(&file(StatePart::Snapshot), &file(StatePart::Changes))
    };
    let states = operators.iter().map(state).collect::<Vec<_>>();
    logs.into_iter().chain(states).flatten()
}

/// Goes back to a batch: what later batches committed is forgotten, and they are run again with the same cuts; or with
/// new ones, if `recut`. Damaged files that are not needed are removed.
///
/// # Errors
/// `InvalidOption` for a batch that cannot be gone back to, `Connector` while a query runs on the checkpoint.
pub fn rollback(store: &dyn Store, to: u64, recut: bool) -> Result<()> {
    let _lock = store.lock()?;
    let report = verify(store)?;
    if !report.sound.contains(&to) {
        let message = format!("batch {to} cannot be gone back to");
        let advice = match (report.sound.first(), report.sound.last()) {
            (Some(first), Some(last)) => format!("choose a sound batch from {first} to {last}"),
            _ => report.advice(),
        };
        return Err(Error::new(ErrorKind::InvalidOption, message).advice(advice));
    }
    // Commits first, newest first: at every moment the rest is a checkpoint that a query can go on from.
    for log in [Log::Commits, Log::Positions, Log::Offsets] {
        let later = log.batches(store)?.into_iter().rev().filter(|&batch| batch > to);
        if log != Log::Offsets || recut {
            later.map(|batch| log.file(batch)).try_for_each(|file| store.delete(&file))?;
        }
    }
    for operator in store.folders(state::FOLDER)? {
        for (batch, part) in state::files(store, &operator)? {
            if batch > to {
                store.delete(&state::file(&operator, batch, part))?;
            }
        }
    }
    report.damages.iter().try_for_each(|damage| store.delete(&damage.file))?;
    // Batches behind a gap cannot be run again as they were: sources would not know what lies in the gap.
    let kept = Log::Offsets.batches(store)?.into_iter().filter(|&batch| batch > to);
    let behind_gap = kept.zip(to + 1..).filter(|(batch, expected)| batch != expected).map(|(batch, _)| batch);
    behind_gap.map(|batch| Log::Offsets.file(batch)).try_for_each(|file| store.delete(&file))
}
