//! The checkpoint of a running query: what is written down around each batch, and how a query goes on from it.
//!
//! The loop in `life` calls `Journal::begin` when a batch has been cut and `Journal::commit` when all sinks have it. Both
//! hand notes to a thread that writes them (`runtime/scribe.rs`); the loop waits before a sink is written, for what the batch
//! reads and for the commit of the batch before, and before sources and listeners are told that a batch is done.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::executor::Executor;
use super::micro_batch::MicroBatch;
use super::scheduler::{QueryDefinition, QueryOptions, Shared};
use super::scribe::{Note, Patience, Scribe};
use super::watermarks::EventTime;
use crate::checkpoint::{Checkpoint, CheckpointOptions, CommitEntry, Identity, OffsetEntry, Positions, Store};
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
    scribe: Scribe,
    options: CheckpointOptions,
    /// The names of the sources, in their order.
    sources: Vec<String>,
    /// What has been read of the sources up to the latest commit that was handed over.
    positions: Positions,
    /// The number of the latest note of what a batch reads.
    begun: u64,
    /// The number of the latest commit.
    committed: u64,
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
    pub(super) fn open(
        place: &CheckpointPlace,
        options: &QueryOptions,
        shared: &Arc<Shared>,
        definition: &mut QueryDefinition,
    ) -> Result<Resumed> {
        let sources = unique_names(definition.sources.iter().map(|(name, _)| name.as_str()));
        let operators = definition.executor.operators();
        let of_parts = sources.iter().zip(&definition.sources).filter(|(_, (_, source))| source.has_parts());
        let sources_of_parts = of_parts.map(|(name, _)| name.clone()).collect();
        let identity = Identity { query: options.name.clone(), sources: sources.clone(), sources_of_parts, operators };
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
            let load = |operator: &str| checkpoint.load_state(operator, committed);
            definition.executor.restore(event_time, options.pool.as_deref(), load)?;
        }
        let is_new = resumption.next_batch == 0 && pending.is_empty();
        for (name, sink) in definition.all_sinks().filter(|_| !is_new) {
            let resumed = sink.resume(resumption.next_batch);
            resumed.map_err(|error| error.context(format!("while sink \"{name}\" goes on")))?;
        }
        let patience = Patience {
            retries_max: options.retries_max,
            retry_wait: options.retry_wait,
            clock: Arc::clone(&options.clock),
            shared: Arc::clone(shared),
        };
        let scribe = Scribe::start(checkpoint, patience)?;
        let positions = resumption.positions;
        let journal = Self { scribe, options: place.options, sources, positions, begun: 0, committed: 0, first_read };
        Ok(Resumed { journal, next_batch: resumption.next_batch, pending, recovery })
    }

    /// Notes what a batch reads.
    pub(super) fn begin(&mut self, batch: &MicroBatch) {
        self.note_offsets(batch, BTreeMap::new());
    }

    fn note_offsets(&mut self, batch: &MicroBatch, checksums: BTreeMap<String, Checksum>) {
        let ranges = self.ranges(batch).collect();
        let (is_last, tables) = (batch.is_last, batch.tables.clone());
        let entry = OffsetEntry { batch: batch.id, time: batch.time, ranges, checksums, is_last, tables };
        self.begun = self.scribe.note(Note::Offsets(entry));
    }

    /// Notes what a batch has read, before anything of it is written; if it was read in an earlier life, it must be
    /// the same: sinks may have a part of it.
    pub(super) fn note_read(&mut self, batch: &MicroBatch, read: &BTreeMap<SourceId, Checksum>) -> Result<()> {
        let named = read.iter().filter(|(_, checksum)| checksum.bytes > 0);
        let checksums = named.filter_map(|(source, checksum)| Some((self.sources.get(source.0)?.clone(), *checksum)));
        let checksums = checksums.collect::<BTreeMap<_, _>>();
        let first = self.first_read.get(&batch.id).filter(|first| !first.is_empty());
        let Some(first) = first else {
            if !checksums.is_empty() {
                self.note_offsets(batch, checksums);
            }
            return Ok(());
        };
        let changed = first.iter().find(|(source, checksum)| checksums.get(*source) != Some(checksum));
        changed.map_or(Ok(()), |(source, before)| {
            let now = checksums.get(source).copied().unwrap_or_default();
            Err(input_changed(batch.id, source, *before, now))
        })
    }

    /// Notes what a batch made of the state: after it was computed, before it is committed.
    pub(super) fn save_state(
        &mut self,
        batch: &MicroBatch,
        executor: &mut Executor,
        pool: Option<&rayon::ThreadPool>,
    ) -> Result<()> {
        let is_snapshot_due = self.options.is_snapshot_due(batch.id);
        executor.save(is_snapshot_due, pool, &mut |operator, part, rows| {
            self.scribe.note(Note::State { operator: operator.to_owned(), batch: batch.id, part, rows });
            Ok(())
        })
    }

    /// Waits until it is written down what the latest batch reads, and that all before it are done.
    pub(super) fn wait_until_begun(&self) -> Result<()> {
        self.scribe.wait_for(self.begun)
    }

    /// Notes that a batch is done, and all of its rows are where readers find them.
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
        for (source, range) in self.ranges(batch).collect::<Vec<_>>() {
            self.positions.ranges.entry(source).or_default().push(range);
        }
        let is_due = self.options.is_snapshot_due(batch.id);
        if is_due {
            for (name, (_, source)) in self.sources.iter().zip(sources) {
                if let Some(ranges) = self.positions.ranges.get_mut(name) {
                    *ranges = source.compact(std::mem::take(ranges))?;
                }
            }
        }
        let positions = is_due.then(|| self.positions.clone());
        self.committed = self.scribe.note(Note::Commit(entry, positions));
        Ok(())
    }

    /// Waits until it is written down that the latest batch is done.
    pub(super) fn wait_until_committed(&self) -> Result<()> {
        self.scribe.wait_for(self.committed)
    }

    /// Whether it is written down that the latest batch is done.
    pub(super) fn has_committed(&self) -> bool {
        self.scribe.has_written(self.committed)
    }

    /// How often notes were tried again since the last call.
    pub(super) fn take_retries(&self) -> u32 {
        self.scribe.take_retries()
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
