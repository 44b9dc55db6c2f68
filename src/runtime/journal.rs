//! The checkpoint of a running query: what is written down around each batch, and how a query goes on from it.
//!
//! The loop in `life` calls `Journal::begin` when a batch has been cut and `Journal::commit` when all sinks have it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::executor::Executor;
use super::micro_batch::MicroBatch;
use super::scheduler::QueryDefinition;
use super::watermarks::EventTime;
use crate::checkpoint::{Checkpoint, CheckpointOptions, CommitEntry, Identity, OffsetEntry, Store};
use crate::connectors::{OffsetRange, Replay, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::Checksum;
use crate::plan::stage::SourceId;

/// Where a query keeps its checkpoint, and how.
#[derive(Debug, Clone)]
pub struct CheckpointPlace {
    /// The storage.
    pub store: Arc<dyn Store>,
    /// How often, and how long.
    pub options: CheckpointOptions,
}

/// Where a query went on when it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The newest batch that an earlier life of the query committed.
    pub committed: Option<u64>,
    /// Batches that were begun and are run again.
    pub repeated: Vec<u64>,
    /// Sources whose rows of those batches are lost, because they cannot be read again in another process.
    pub lost: Vec<String>,
}

/// A checkpoint in use.
#[derive(Debug)]
pub(super) struct Journal {
    checkpoint: Checkpoint,
    /// The names of the sources, in their order.
    sources: Vec<String>,
    /// What batches that run again read the first time.
    first_read: BTreeMap<u64, BTreeMap<String, Checksum>>,
}

/// A journal, and what to begin with.
pub(super) struct Resumed {
    pub(super) journal: Journal,
    pub(super) next_batch: u64,
    /// Batches to run before any other, in order.
    pub(super) pending: Vec<MicroBatch>,
    pub(super) recovery: Recovery,
}

impl Journal {
    /// Opens the checkpoint and brings sources and sinks to where it stands.
    pub(super) fn open(place: &CheckpointPlace, query: &str, definition: &mut QueryDefinition) -> Result<Resumed> {
        let sources = unique_names(definition.sources.iter().map(|(name, _)| name.as_str()));
        let operators = definition.executor.operators();
        let identity = Identity { query: query.to_owned(), sources: sources.clone(), operators };
        let (checkpoint, resumption) = Checkpoint::open(Arc::clone(&place.store), place.options, &identity)
            .map_err(|error| error.context("while opening the checkpoint"))?;
        for (operator, definition) in definition.executor.definitions()? {
            checkpoint.define(&operator, &definition)?;
        }
        let mut recovery = Recovery { committed: resumption.committed(), ..Recovery::default() };
        let mut pending: Vec<MicroBatch> = Vec::new();
        let mut first_read = BTreeMap::new();
        for entry in &resumption.pending {
            recovery.repeated.push(entry.batch);
            first_read.insert(entry.batch, entry.checksums.clone());
            let ranges = sources.iter().map(|name| entry.ranges.get(name).cloned()).collect();
            let (is_last, tables) = (entry.is_last, entry.tables.clone());
            pending.push(MicroBatch { id: entry.batch, time: entry.time, ranges, is_last, tables });
        }
        for (index, (name, (_, source))) in sources.iter().zip(&mut definition.sources).enumerate() {
            if source.replay() != Replay::Always {
                let lost = pending.iter_mut().filter_map(|batch| batch.ranges[index].take()).count();
                if lost > 0 {
                    recovery.lost.push(name.clone());
                }
                continue;
            }
            let mut read = resumption.positions.ranges.get(name).cloned().unwrap_or_default();
            read.extend(pending.iter().filter_map(|batch| batch.ranges[index].clone()));
            if !read.is_empty() {
                source.resume(&read).map_err(|error| error.context(format!("while source \"{name}\" goes on")))?;
            }
        }
        if let Some(committed) = resumption.committed() {
            let event_time = serde_json::from_value(resumption.event_time.clone()).map_err(|error| {
                let message = format!("the event time of batch {committed} is not what this release writes: {error}");
                Error::new(ErrorKind::Corrupt, message).because(error)
            })?;
            definition.executor.restore(event_time, |operator| checkpoint.load_state(operator, committed))?;
        }
        let is_new = resumption.next_batch == 0 && pending.is_empty();
        for (name, sink) in definition.all_sinks().filter(|_| !is_new) {
            let resumed = sink.resume(resumption.next_batch);
            resumed.map_err(|error| error.context(format!("while sink \"{name}\" goes on")))?;
        }
        let journal = Self { checkpoint, sources, first_read };
        Ok(Resumed { journal, next_batch: resumption.next_batch, pending, recovery })
    }

    /// Writes down what a batch reads.
    pub(super) fn begin(&self, batch: &MicroBatch) -> Result<()> {
        let ranges = self.ranges(batch).collect();
        let (checksums, is_last) = (BTreeMap::new(), batch.is_last);
        let tables = batch.tables.clone();
        let entry = OffsetEntry { batch: batch.id, time: batch.time, ranges, checksums, is_last, tables };
        self.checkpoint.begin_batch(&entry)
    }

    /// Writes down what a batch has read, before anything of it is written; if it was read in an earlier life, it must be
    /// the same: sinks may have a part of it.
    pub(super) fn note_read(&self, batch: &MicroBatch, read: &BTreeMap<SourceId, Checksum>) -> Result<()> {
        let named = read.iter().filter(|(_, checksum)| checksum.bytes > 0);
        let checksums = named.filter_map(|(source, checksum)| Some((self.sources.get(source.0)?.clone(), *checksum)));
        let checksums = checksums.collect::<BTreeMap<_, _>>();
        let first = self.first_read.get(&batch.id).filter(|first| !first.is_empty());
        let Some(first) = first else {
            if checksums.is_empty() {
                return Ok(());
            }
            let (ranges, is_last) = (self.ranges(batch).collect(), batch.is_last);
            let tables = batch.tables.clone();
            let entry = OffsetEntry { batch: batch.id, time: batch.time, ranges, checksums, is_last, tables };
            return self.checkpoint.begin_batch(&entry);
        };
        let changed = first.iter().find(|(source, checksum)| checksums.get(*source) != Some(checksum));
        changed.map_or(Ok(()), |(source, before)| {
            let now = checksums.get(source).copied().unwrap_or_default();
            Err(input_changed(batch.id, source, *before, now))
        })
    }

    /// Writes down what a batch made of the state: after it was computed, before it is committed.
    pub(super) fn save_state(&self, batch: &MicroBatch, executor: &mut Executor) -> Result<()> {
        let is_snapshot_due = self.checkpoint.is_snapshot_due(batch.id);
        executor.save(is_snapshot_due, &mut |operator, part, rows| {
            self.checkpoint.save_state(operator, batch.id, part, rows)
        })
    }

    /// Writes down that a batch is done.
    pub(super) fn commit(
        &mut self,
        batch: &MicroBatch,
        rows_out: u64,
        event_time: &EventTime,
        sources: &[(String, Box<dyn Source>)],
    ) -> Result<()> {
        let event_time = serde_json::to_value(event_time).map_err(|error| {
            Error::internal(format!("the event time of a batch cannot be written down: {error}")).because(error)
        })?;
        let entry = CommitEntry { batch: batch.id, rows_out, event_time };
        let ranges = self.ranges(batch).collect::<Vec<_>>();
        let names = self.sources.clone();
        self.checkpoint.commit_batch(&entry, ranges, |name, ranges| {
            match names.iter().position(|known| known == name) {
                Some(index) => sources[index].1.compact(ranges),
                None => Ok(ranges),
            }
        })
    }

    fn ranges<'a>(&'a self, batch: &'a MicroBatch) -> impl Iterator<Item = (String, OffsetRange)> + 'a {
        let named = self.sources.iter().zip(&batch.ranges);
        named.filter_map(|(name, range)| Some((name.clone(), range.clone()?)))
    }
}

fn input_changed(batch: u64, source: &str, before: Checksum, now: Checksum) -> Error {
    let shown = |sum: Checksum| format!("{} bytes with checksum {:08x}", sum.bytes, sum.crc);
    let message = format!(
        "the input of source \"{source}\" changed since batch {batch} was first read: it was {}, and is {}",
        shown(before),
        shown(now)
    );
    Error::new(ErrorKind::Corrupt, message).advice(
        "bring the input back as it was; or, to go on with what is there now, roll the checkpoint back with --recut",
    )
}

/// The names, made different: a second `logs` becomes `logs#2`.
fn unique_names<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut unique: Vec<String> = Vec::new();
    for name in names {
        let numbered = (2..).map(|number| format!("{name}#{number}"));
        let free = std::iter::once(name.to_owned()).chain(numbered).find(|name| !unique.contains(name));
        unique.extend(free);
    }
    unique
}
