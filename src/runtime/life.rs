//! The loop around a query's batches: wait, cut, read and compute, write, commit, tell.
//!
//! Each query has a thread of its own; tasks run on the pool. The loop is the only one that touches sources and sinks.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::budget::Credit;
use super::executor::{Computed, Readers};
use super::journal::{Journal, Resumed};
use super::micro_batch::MicroBatch;
use super::pace::{Done, Pace, SourceRead};
use super::progress::{Allowed, Memory, Phases, Progress, Queue, RuleCount, SourceProfile};
use super::quarantine;
use super::scheduler::{QueryDefinition, QueryOptions, Shared, Tick};
use super::tables;
use super::trigger::{IDLE_WAIT, OnEnd, Trigger};
use crate::columnar::SchemaRef;
use crate::connectors::{Available, OutputBatch, ReadLimits, Replay, WriteReport};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::kernels::Findings;
use crate::plan::rules::{RuleLabel, Verdict};
use crate::plan::stage::SourceId;

/// How often a query with a manual trigger looks whether it should stop.
const STOP_CHECK: Duration = Duration::from_millis(20);

/// What looking at the sources gave.
enum Cut {
    Batch(MicroBatch),
    Nothing,
    /// Nothing may be read before this time.
    Later(Duration),
    Ended,
}

/// The query's thread.
pub(super) struct Life {
    definition: QueryDefinition,
    schemas: Vec<SchemaRef>,
    options: QueryOptions,
    shared: Arc<Shared>,
    ticked: Receiver<Tick>,
    next_batch_id: u64,
    journal: Option<Journal>,
    /// Batches that an earlier life of the query began and did not commit: they come first, as they were.
    pending: VecDeque<MicroBatch>,
    /// When the latest batch began to be cut.
    cut_began: Duration,
    /// When the present batch was due, for triggers that say so.
    due: Option<Duration>,
    /// Notices about the input that were told: once is enough.
    told: BTreeSet<String>,
    /// What is to be told with the next batch.
    to_tell: Vec<String>,
    /// The latest batch, while its commit is being written down: it is in all sinks, and nobody has been told.
    unsettled: Option<Unsettled>,
    pace: Pace,
    /// Sources, by index, that believed what may have been false: they do so no more.
    doubted: BTreeSet<usize>,
    /// What the latest cut was allowed to take.
    allowed: Allowed,
    /// The bytes that the latest cut was allowed to take, until they are known to be fewer.
    credit: Option<Credit>,
}

/// A batch that is in all sinks.
struct Unsettled {
    batch: MicroBatch,
    progress: Progress,
    /// What was read of each source.
    read: Vec<SourceRead>,
    /// Given back with it.
    credit: Option<Credit>,
}

impl Life {
    pub(super) fn new(
        definition: QueryDefinition,
        schemas: Vec<SchemaRef>,
        options: QueryOptions,
        shared: Arc<Shared>,
        ticked: Receiver<Tick>,
        resumed: Option<Resumed>,
    ) -> Self {
        let (journal, next_batch_id, pending) = match resumed {
            Some(Resumed { journal, next_batch, pending, .. }) => {
                (Some(journal), next_batch + pending.len() as u64, pending.into())
            }
            None => (None, 0, VecDeque::new()),
        };
        let rates = definition.sources.iter().map(|(name, _)| options.max_rows_per_second.get(name).copied());
        let interval = match options.trigger {
            Trigger::Interval(interval) => interval,
            _ => Duration::ZERO,
        };
        let pace = Pace::new(options.batch_size, options.backpressure, rates, interval);
        Self {
            definition,
            schemas,
            options,
            shared,
            ticked,
            next_batch_id,
            journal,
            pending,
            cut_began: Duration::ZERO,
            due: None,
            told: BTreeSet::new(),
            to_tell: Vec::new(),
            unsettled: None,
            pace,
            doubted: BTreeSet::new(),
            allowed: Allowed::default(),
            credit: None,
        }
    }

    pub(super) fn run(mut self) {
        let result = match self.options.trigger {
            Trigger::Interval(_) => self.run_by_interval(),
            Trigger::AvailableNow => self.run_available(),
            Trigger::Once => self.run_once(),
            Trigger::Manual => self.run_by_hand(),
        };
        let result = result.and_then(|()| self.flush());
        // What is in the sinks is committed, whatever ended the query.
        let settled = self.settle().map(drop);
        let result = result.and(settled).and_then(|()| self.wind_down());
        self.stop_sources();
        let Self { definition, journal, shared, .. } = self;
        // Connectors are gone and the checkpoint is free before anybody is told that the query has ended.
        drop(definition);
        drop(journal);
        shared.end(result);
    }

    fn now(&self) -> Duration {
        self.options.clock.now()
    }

    fn stop_sources(&mut self) {
        self.definition.sources.iter_mut().for_each(|(_, source)| source.stop());
    }

    fn run_by_interval(&mut self) -> Result<()> {
        let start = self.now();
        let mut due = start;
        while !self.shared.is_stopping() {
            let delay = self.now().saturating_sub(due);
            // Batches have the time at which they were due, so that windows over batches hold equally many.
            self.due = self.options.trigger.has_grid().then_some(due);
            let was_idle = match self.cut(None)? {
                Cut::Ended => return Ok(()),
                Cut::Nothing | Cut::Later(_) => true,
                Cut::Batch(batch) => {
                    self.run_batch(batch, delay)?;
                    false
                }
            };
            due = self.options.trigger.next_due(start, due, self.now(), was_idle);
            if due > self.now() {
                self.settle()?;
            }
            self.options.clock.sleep_until(due, &self.shared.wake);
        }
        Ok(())
    }

    fn run_available(&mut self) -> Result<()> {
        while !self.shared.is_stopping() {
            match self.cut(None)? {
                Cut::Batch(batch) => self.run_batch(batch, Duration::ZERO)?,
                Cut::Later(from) => {
                    self.settle()?;
                    self.options.clock.sleep_until(from, &self.shared.wake);
                }
                Cut::Nothing | Cut::Ended => break,
            }
        }
        Ok(())
    }

    fn run_once(&mut self) -> Result<()> {
        while let Some(batch) = self.pending.pop_front() {
            self.run_batch(batch, Duration::ZERO)?;
        }
        self.options.limits = ReadLimits { is_lifted: true, ..ReadLimits::default() };
        if let Cut::Batch(batch) = self.cut(None)? {
            self.run_batch(batch, Duration::ZERO)?;
        }
        Ok(())
    }

    fn run_by_hand(&mut self) -> Result<()> {
        while !self.shared.is_stopping() {
            let reply = match self.ticked.recv_timeout(STOP_CHECK) {
                Ok(reply) => reply,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let result = match self.cut(None) {
                // Whoever asks for one batch at a time is told when all of it is done.
                Ok(Cut::Batch(batch)) => self.run_into_sinks(batch, Duration::ZERO).and_then(|()| self.settle()),
                Ok(Cut::Nothing | Cut::Later(_) | Cut::Ended) => Ok(None),
                Err(error) => Err(error),
            };
            let failed = result.as_ref().err().map(|error| Error::new(error.kind(), error.to_string()));
            // Whoever asked may have gone; the batch has been run all the same.
            drop(reply.send(result));
            failed.map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// At the end of all rows, closes what is still open, if that is asked for: in a batch of its own without rows. What it
    /// gives may be open in a later stage; that takes a batch more.
    fn flush(&mut self) -> Result<()> {
        let is_wanted = self.options.on_end == OnEnd::Flush && !self.shared.is_stopping();
        // A closure may ask for more time each time it is out; that must not go on for ever.
        for _ in 0..self.definition.executor.operators().len() {
            if !is_wanted || !self.definition.executor.has_open() {
                break;
            }
            self.cut_began = self.now();
            let time = self.definition.executor.cut_at().map_or(self.cut_began, |before| self.cut_began.max(before));
            let ranges = vec![None; self.definition.sources.len()];
            let tables = self.definition.executor.table_versions();
            let batch = MicroBatch { id: self.next_batch_id, time, ranges, is_last: true, tables };
            self.begin(&batch);
            self.run_batch(batch, Duration::ZERO)?;
        }
        Ok(())
    }

    /// After a graceful stop, sources that cannot replay are emptied; then the sinks are closed.
    fn wind_down(&mut self) -> Result<()> {
        if self.shared.is_stopping() && !self.shared.is_abandoned() {
            self.stop_sources();
            while let Cut::Batch(batch) = self.cut(Some(Replay::UntilCommitted))? {
                self.run_batch(batch, Duration::ZERO)?;
            }
        }
        self.settle()?;
        for (name, sink) in self.definition.all_sinks() {
            sink.close().map_err(|error| error.context(format!("while closing sink \"{name}\"")))?;
        }
        Ok(())
    }

    /// Cuts a batch off the sources, or off those of one kind, and notes what it reads. What is pending comes first.
    fn cut(&mut self, only: Option<Replay>) -> Result<Cut> {
        match self.cut_now(only)? {
            // A source may have nothing, and no memory be left, because the latest batch is not committed.
            Cut::Nothing | Cut::Later(_) if self.unsettled.is_some() => {
                self.settle()?;
                self.cut_now(only)
            }
            cut => Ok(cut),
        }
    }

    fn cut_now(&mut self, only: Option<Replay>) -> Result<Cut> {
        self.cut_began = self.now();
        if let Some(batch) = self.pending.pop_front() {
            return Ok(Cut::Batch(batch));
        }
        let time = self.due.map_or(self.cut_began, |due| due.min(self.cut_began));
        // The clock may have been set back since the latest batch, in another life of the query perhaps.
        let time = self.definition.executor.cut_at().map_or(time, |before| time.max(before));
        // What is emptied before the end is so whatever its pace.
        let is_paced = only.is_none();
        self.credit = self.options.memory.as_ref().map(|memory| memory.take(memory.total().div_ceil(2)));
        let memory = self.credit.as_ref().map(Credit::bytes).filter(|_| is_paced && !self.options.limits.is_lifted);
        if memory == Some(0) {
            return Ok(Cut::Later(self.cut_began + IDLE_WAIT));
        }
        self.allowed = Allowed::default();
        let mut later: Option<Duration> = None;
        let mut all_ended = true;
        let mut ranges = Vec::with_capacity(self.definition.sources.len());
        for index in 0..self.definition.sources.len() {
            if only.is_some_and(|kind| self.definition.sources[index].1.replay() != kind) {
                ranges.push(None);
                continue;
            }
            let mut limits = self.options.limits;
            if is_paced {
                let counts_rows = self.definition.sources[index].1.counts_rows();
                match self.pace.limits(index, &self.options.limits, counts_rows, memory, self.cut_began) {
                    Ok(paced) => limits = paced,
                    Err(from) => {
                        later = Some(later.map_or(from, |later| later.min(from)));
                        all_ended = false;
                        ranges.push(None);
                        continue;
                    }
                }
            }
            self.allowed.add(&limits);
            let available = self.retried(&mut 0, |life| {
                let (name, source) = &mut life.definition.sources[index];
                source.next_range(&limits).map_err(|error| error.context(format!("source \"{name}\"")))
            })?;
            all_ended &= available == Available::Ended;
            ranges.push(if let Available::Range(range) = available { Some(range) } else { None });
        }
        if ranges.iter().all(Option::is_none) && (all_ended || only.is_some() || !self.runs_empty_batches(time)) {
            self.credit = None;
            return Ok(match later {
                Some(from) => Cut::Later(from),
                None if all_ended => Cut::Ended,
                None => Cut::Nothing,
            });
        }
        self.to_tell.extend(self.definition.executor.reload_tables()?);
        let tables = self.definition.executor.table_versions();
        let batch = MicroBatch { id: self.next_batch_id, time, ranges, is_last: false, tables };
        self.begin(&batch);
        Ok(Cut::Batch(batch))
    }

    /// Notes what a batch reads, from which on it is a batch.
    fn begin(&mut self, batch: &MicroBatch) {
        if let Some(journal) = &mut self.journal {
            journal.begin(batch);
        }
        self.next_batch_id += 1;
    }

    /// Whether a batch without rows is run, because time alone changes the answer.
    fn runs_empty_batches(&self, now: Duration) -> bool {
        let has_beat = self.options.trigger.has_grid() || self.options.trigger == Trigger::Manual;
        has_beat && self.definition.executor.waits_for_time(now)
    }

    /// Runs a batch. With a checkpoint its commit is then being written down, while the next batch is cut and computed;
    /// [`Life::settle`] waits for it.
    fn run_batch(&mut self, batch: MicroBatch, scheduling_delay: Duration) -> Result<()> {
        self.run_into_sinks(batch, scheduling_delay)?;
        match self.journal.as_ref().is_none_or(Journal::has_committed) {
            true => self.settle().map(drop),
            false => Ok(()),
        }
    }

    /// Runs a batch from its ranges into the sinks.
    fn run_into_sinks(&mut self, batch: MicroBatch, scheduling_delay: Duration) -> Result<()> {
        let versions = self.definition.executor.table_versions();
        self.to_tell.extend(tables::differences(batch.id, &batch.tables, &versions));
        let mut retries = 0;
        let started = self.now();
        let computed = self.retried(&mut retries, |life| life.compute(&batch))?;
        let computed_at = self.now();
        let mut credit = self.credit.take();
        if let (None, Some(memory)) = (&credit, &self.options.memory) {
            credit = Some(memory.take(0));
        }
        if let Some(credit) = &mut credit {
            credit.becomes(computed.report.bytes);
        }
        if let Some(journal) = &mut self.journal {
            journal.note_read(&batch, &computed.checksums)?;
            journal.save_state(&batch, &mut self.definition.executor, self.options.pool.as_deref())?;
            journal.wait_until_begun()?;
        }
        let saved_at = self.now();
        // The batch before is committed by now: sinks are never more than one batch ahead of the commits.
        self.settle()?;
        let settled_at = self.now();
        let written = self.write(&batch, &computed, &mut retries)?;
        if let Some(journal) = &mut self.journal {
            journal.commit(&batch, written.rows, &computed.event_time, &self.definition.sources)?;
        }
        self.definition.executor.finish_batch(computed.event_time.clone());
        let done = self.now();
        let mut progress = Progress {
            query: self.shared.name().to_owned(),
            batch_id: batch.id,
            time: batch.time,
            rows_out: written.rows,
            bytes_out: written.bytes,
            partitions: computed.partitions,
            fallen_back: computed.notice.fallen_back,
            warnings: computed.notice.warnings(),
            scheduling_delay,
            retries,
            read_again: computed.read_again,
            late: computed.seen.late,
            rejected: computed.findings.dropped,
            rules: self.rule_counts(&computed.findings),
            stages: computed.flows.clone(),
            devices: computed.devices.clone(),
            untimed: computed.seen.untimed,
            groups: computed.groups,
            spilled: computed.spilled,
            queue: self.queue(),
            allowed: std::mem::take(&mut self.allowed),
            memory: self.options.memory.as_ref().map(Memory::of),
            phases: Phases {
                cut: started.saturating_sub(self.cut_began),
                compute: computed_at.saturating_sub(started),
                reading_threads: computed.reading,
                save: saved_at.saturating_sub(computed_at),
                write: done.saturating_sub(settled_at),
                commit: Duration::ZERO,
                total: done.saturating_sub(self.cut_began).saturating_sub(settled_at.saturating_sub(saved_at)),
            },
            ..Progress::default()
        };
        progress.add_reading(&computed.report);
        progress.quarantined += computed.findings.quarantined;
        let new = computed.report.notices.iter().filter(|notice| self.told.insert((*notice).clone()));
        progress.warnings.extend(new.cloned());
        progress.warnings.append(&mut self.to_tell);
        for (source, profile) in &computed.profiles {
            let Some((name, _)) = self.definition.sources.get(source.0) else { continue };
            progress.profiles.push(SourceProfile { source: name.clone(), columns: profile.columns()? });
            self.shared.log.add_profile(name, profile);
        }
        let read = (0..self.definition.sources.len()).map(|source| computed.read.get(&SourceId(source)).copied());
        let read = read.map(Option::unwrap_or_default).collect();
        self.unsettled = Some(Unsettled { batch, progress, read, credit });
        Ok(())
    }

    /// Waits until the commit of the latest batch is written down, and tells the sources and those who listen.
    fn settle(&mut self) -> Result<Option<Progress>> {
        let Some(Unsettled { batch, mut progress, read, credit }) = self.unsettled.take() else { return Ok(None) };
        let from = self.now();
        if let Some(journal) = &self.journal {
            journal.wait_until_committed()?;
            progress.retries += journal.take_retries();
        }
        for ((name, source), range) in self.definition.sources.iter_mut().zip(&batch.ranges) {
            if let Some(range) = range {
                source.commit(range).map_err(|error| error.context(format!("while committing to \"{name}\"")))?;
            }
        }
        drop(credit);
        let at = self.now();
        let waited = at.saturating_sub(from);
        progress.phases.commit = waited;
        progress.phases.total += waited;
        self.pace.learn(&Done { at, read: &read, took: progress.phases.total, delay: progress.scheduling_delay });
        self.shared.log.push(progress.clone());
        self.options.listeners.iter().for_each(|listener| listener(&progress));
        Ok(Some(progress))
    }

    fn compute(&mut self, batch: &MicroBatch) -> Result<Computed> {
        let computed = self.read_and_compute(batch);
        let checked = computed.and_then(|computed| self.check(&computed).map(|()| computed));
        checked.map_err(|error| error.context(format!("batch {}", batch.id)))
    }

    /// Reads a batch as its sources believe it to be, and again if that was false.
    fn read_and_compute(&mut self, batch: &MicroBatch) -> Result<Computed> {
        let mut readers: Vec<Readers> = Vec::with_capacity(batch.ranges.len());
        let mut believing = Vec::new();
        let sources = self.definition.sources.iter_mut().zip(&batch.ranges);
        for (index, ((name, source), range)) in sources.enumerate() {
            let opened = match range {
                None => Ok((Vec::new(), false)),
                Some(range) if self.doubted.contains(&index) => {
                    source.read(range, self.options.partitions).map(|readers| (readers, false))
                }
                Some(range) => source.read_believing(range, self.options.partitions),
            };
            let (opened, believes) = opened.map_err(|error| error.context(format!("source \"{name}\"")))?;
            readers.push(opened);
            believing.extend(believes.then_some(index));
        }
        let (pool, clock) = (self.options.pool.as_deref(), self.options.clock.as_ref());
        let computed = self.definition.executor.run(batch, readers, pool, clock, &self.shared.abandon);
        // How much may lie aside for the quarantine is bounded for all tasks together: what one of them read falsely may
        // make another fail.
        let may_be_false = |error: &Error| error.kind() == ErrorKind::Corrupt || self.definition.quarantine.is_some();
        if believing.is_empty() || !computed.as_ref().is_err_and(may_be_false) || self.shared.is_abandoned() {
            return computed;
        }
        self.doubted.extend(believing);
        self.read_and_compute(batch).map(|computed| Computed { read_again: true, ..computed })
    }

    /// The rules of the query, and how many rows of a batch broke each.
    fn rule_counts(&self, findings: &Findings) -> Vec<RuleCount> {
        let count = |rule: &RuleLabel| RuleCount {
            name: Arc::clone(&rule.name),
            verdict: rule.verdict,
            broken: findings.broken.get(&rule.id).copied().unwrap_or_default(),
        };
        self.definition.executor.rules().into_iter().map(count).collect()
    }

    /// Whether the batch may be written, after all that was wrong with its records.
    fn check(&self, computed: &Computed) -> Result<()> {
        if !computed.quarantined.is_empty() && self.definition.quarantine.is_none() {
            return Err(quarantine::missing("a source"));
        }
        let (report, findings) = (&computed.report, &computed.findings);
        let mut examples =
            report.examples.iter().map(|bad| format!("{}: {}", bad.place, bad.reason)).collect::<Vec<_>>();
        let broken =
            self.rule_counts(findings).into_iter().filter(|rule| rule.broken > 0 && rule.verdict > Verdict::Keep);
        examples.extend(broken.map(|rule| format!("{} rows break the rule \"{}\"", rule.broken, rule.name)));
        let all = report.rows + report.dropped + report.quarantined;
        let bad = report.bad_records() + findings.dropped + findings.quarantined;
        self.options.bad_records_max.check(bad, all, &examples)
    }

    fn write(&mut self, batch: &MicroBatch, computed: &Computed, retries: &mut u32) -> Result<WriteReport> {
        let mut total = WriteReport::default();
        for (index, partitions) in computed.outputs.iter().enumerate() {
            if self.shared.is_abandoned() {
                return Err(Error::new(ErrorKind::Closed, "the query was stopped"));
            }
            let report = self.retried(retries, |life| {
                let schema = &life.schemas[index];
                let output = OutputBatch { batch_id: batch.id, time: batch.time, schema, partitions };
                let (name, sink) = &mut life.definition.sinks[index];
                let written = sink.write(&output);
                written.map_err(|error| error.context(format!("sink \"{name}\", batch {}", batch.id)))
            })?;
            total.rows += report.rows;
            total.bytes += report.bytes;
        }
        self.write_quarantine(batch, computed, retries)?;
        Ok(total)
    }

    /// What the batch left out and keeps goes to a sink of its own, under the batch's id.
    fn write_quarantine(&mut self, batch: &MicroBatch, computed: &Computed, retries: &mut u32) -> Result<()> {
        if self.definition.quarantine.is_none() {
            return Ok(());
        }
        let sources = self.definition.sources.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        let schema = quarantine::schema();
        let partitions = quarantine::rows(&schema, batch.id, &computed.quarantined, &sources)?;
        self.retried(retries, |life| {
            let output = OutputBatch { batch_id: batch.id, time: batch.time, schema: &schema, partitions: &partitions };
            let Some(sink) = &mut life.definition.quarantine else { return Ok(()) };
            let written = sink.write(&output);
            written.map(drop).map_err(|error| error.context(format!("{}, batch {}", quarantine::NAME, batch.id)))
        })
    }

    fn queue(&self) -> Queue {
        let mut queue = Queue::default();
        for (_, source) in &self.definition.sources {
            let backlog = source.backlog();
            queue.files += backlog.files.unwrap_or(0);
            queue.bytes += backlog.bytes.unwrap_or(0);
            queue.rows += backlog.rows.unwrap_or(0);
        }
        queue
    }

    /// Does something again, after growing waits, while it fails for causes that may pass.
    fn retried<T>(&mut self, retries: &mut u32, mut work: impl FnMut(&mut Self) -> Result<T>) -> Result<T> {
        let mut wait = self.options.retry_wait;
        let mut tried = 0;
        loop {
            match work(self) {
                Err(error)
                    if error.retry() == Retry::Later
                        && tried < self.options.retries_max
                        && !self.shared.is_stopping() =>
                {
                    tried += 1;
                    *retries += 1;
                    self.options.clock.sleep_until(self.now() + wait, &self.shared.wake);
                    wait = wait.saturating_mul(2);
                }
                result => return result,
            }
        }
    }
}
