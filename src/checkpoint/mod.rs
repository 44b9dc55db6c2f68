//! What a query leaves on storage so that it can go on after any death of its process.
//!
//! ```text
//! query                      whose checkpoint it is: name, sources, operators that keep state
//! offsets/<batch>            what a batch reads, written before it is computed
//! commits/<batch>            the batch is in all sinks and its state is safe, written last
//! positions/<batch>          what the sources need to go on after the batch, now and then
//! operators/<operator>       what it keeps, so that its state can be read without the query
//! state/<operator>/<batch>.changes     the groups that the batch touched
//! state/<operator>/<batch>.snapshot    all groups, now and then
//! lock                       held while a query runs
//! ```
//!
//! A query goes on after the newest batch that is committed. Batches that have offsets but no commit are run again, with
//! the same cuts, the same time and the same state, so that a sink that replaces repeated batches ends up with the same
//! bytes. All files are written as a whole or not at all ([`store`]), checked ([`frame`]), and never guessed around:
//! what is damaged is named, and the newest sound batch is offered ([`verify`]).
//!
//! This module knows nothing of how a batch is computed; `runtime` calls it at the right moments.

mod entries;
mod examine;
pub mod frame;
mod spare_files;
mod state;
pub mod store;

pub use entries::{CommitEntry, Identity, OffsetEntry, Positions};
pub use examine::{Damage, Report, rollback, verify};
pub use state::{StatePart, StateParts, read_state};
pub(crate) use state::{open_rows, seal_rows};
pub use store::{FolderStore, Store, StoreStep};

use std::fmt;
use std::sync::Arc;

use self::entries::{Log, QUERY};
use crate::columnar::RecordBatch;
use crate::error::{Error, ErrorKind, Result};

/// How often snapshots are taken, and how far back a query can be rolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointOptions {
    /// Batches from one snapshot to the next; in between only what a batch changed is written.
    pub snapshot_every: u64,
    /// Batches that stay at least, to roll back to.
    pub retain: u64,
}

impl CheckpointOptions {
    /// Whether the state of all operators, and the positions of the sources, are written as a whole after this batch.
    pub fn is_snapshot_due(&self, batch: u64) -> bool {
        batch.saturating_add(1).is_multiple_of(self.snapshot_every)
    }
}

impl Default for CheckpointOptions {
    fn default() -> Self {
        Self { snapshot_every: 10, retain: 100 }
    }
}

/// The checkpoint of a running query. It is locked as long as this lives.
pub struct Checkpoint {
    store: Arc<dyn Store>,
    options: CheckpointOptions,
    _lock: Box<dyn Send + Sync>,
    /// The oldest batch that may have files.
    oldest: u64,
    operators: Vec<String>,
}

/// Where a query goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resumption {
    /// The first batch that is not committed.
    pub next_batch: u64,
    /// What the committed batches read, by the names of the sources.
    pub positions: Positions,
    /// Batches that were begun and not committed, in order.
    pub pending: Vec<OffsetEntry>,
    /// How far event time had come after the last committed batch, in words of the runtime's own.
    pub event_time: serde_json::Value,
}

impl Resumption {
    /// The newest committed batch.
    pub fn committed(&self) -> Option<u64> {
        self.next_batch.checked_sub(1)
    }
}

impl Checkpoint {
    /// Takes a checkpoint in use, or begins one, for this query.
    ///
    /// # Errors
    /// `Connector` if another process uses it, `InvalidQuery` if it belongs to another query or the query has changed in
    /// what it reads or keeps, `Corrupt` with the place of the damage and the newest sound batch.
    pub fn open(store: Arc<dyn Store>, options: CheckpointOptions, identity: &Identity) -> Result<(Self, Resumption)> {
        if options.snapshot_every == 0 {
            let error = Error::new(ErrorKind::InvalidOption, "snapshots after every 0 batches are not possible");
            return Err(error.advice("give at least 1"));
        }
        let lock = store.lock()?;
        let is_new = !store.list("")?.iter().any(|name| name == QUERY);
        if is_new {
            begin(store.as_ref(), identity)?;
        } else {
            let known = entries::read(store.as_ref(), QUERY, QUERY).map_err(|error| advise(store.as_ref(), error))?;
            check_same(&known, identity).map_err(|error| error.at(store.place("")))?;
        }
        let resumption = examine::resumption(store.as_ref()).map_err(|error| advise(store.as_ref(), error))?;
        let oldest = Log::Offsets.batches(store.as_ref())?.first().copied().unwrap_or(resumption.next_batch);
        let operators = identity.operators.keys().cloned().collect();
        Ok((Self { store, options, _lock: lock, oldest, operators }, resumption))
    }

    /// Writes down what a batch reads, before it is computed.
    ///
    /// # Errors
    /// Storage that cannot be written to.
    pub fn begin_batch(&self, entry: &OffsetEntry) -> Result<()> {
        entries::write(self.store.as_ref(), &Log::Offsets.file(entry.batch), Log::Offsets.folder(), entry)
    }

    /// Writes down what an operator keeps, in words of the runtime's own, for those who look at its state.
    ///
    /// # Errors
    /// Storage that cannot be written to.
    pub fn define(&self, operator: &str, definition: &str) -> Result<()> {
        entries::write(self.store.as_ref(), &entries::definition_file(operator), entries::OPERATORS, &definition)
    }

    /// Writes what a batch made of the state of an operator: what it changed, or all of it.
    ///
    /// # Errors
    /// Storage that cannot be written to.
    pub fn save_state(&self, operator: &str, batch: u64, part: StatePart, rows: &[RecordBatch]) -> Result<()> {
        state::write(self.store.as_ref(), operator, batch, part, rows)
    }

    /// The state of an operator after this batch.
    ///
    /// # Errors
    /// `Corrupt`, with the place of the damage and the newest sound batch.
    pub fn load_state(&self, operator: &str, batch: u64) -> Result<StateParts> {
        read_state(self.store.as_ref(), operator, batch).map_err(|error| advise(self.store.as_ref(), error))
    }

    /// Commits a batch: it is in all sinks, and its state has been saved. `positions` are what the sources need to go on
    /// after it, given when a snapshot is due.
    ///
    /// # Errors
    /// Storage that cannot be written to.
    pub fn commit_batch(&mut self, entry: &CommitEntry, positions: Option<&Positions>) -> Result<()> {
        let store = self.store.as_ref();
        if let Some(positions) = positions {
            entries::write(store, &Log::Positions.file(entry.batch), Log::Positions.folder(), positions)?;
        }
        entries::write(store, &Log::Commits.file(entry.batch), Log::Commits.folder(), entry)?;
        if positions.is_some() { self.forget_old(entry.batch) } else { Ok(()) }
    }

    /// Removes what is older than the newest snapshot that is old enough.
    fn forget_old(&mut self, batch: u64) -> Result<()> {
        let Some(wanted) = batch.checked_sub(self.options.retain) else { return Ok(()) };
        let every = self.options.snapshot_every;
        // Snapshots are taken after the batches every - 1, 2 × every - 1, …
        let Some(kept) = ((wanted + 1) / every * every).checked_sub(1) else { return Ok(()) };
        let store = self.store.as_ref();
        // Oldest first: what is left at any moment has no gap.
        for old in self.oldest..kept {
            store.delete(&Log::Offsets.file(old))?;
            store.delete(&Log::Commits.file(old))?;
            if self.options.is_snapshot_due(old) {
                store.delete(&Log::Positions.file(old))?;
            }
            for operator in &self.operators {
                state::delete(store, operator, old)?;
            }
        }
        self.oldest = self.oldest.max(kept);
        Ok(())
    }
}

/// The first thing that is written.
fn begin(store: &dyn Store, identity: &Identity) -> Result<()> {
    for log in Log::ALL {
        if let Some(batch) = log.batches(store)?.first() {
            let message = format!("there are batches from {batch} on, but nothing says of which query");
            return Err(Error::new(ErrorKind::Corrupt, message)
                .at(store.place(QUERY))
                .advice("bring the file \"query\" back, or give the query a new checkpoint"));
        }
    }
    entries::write(store, QUERY, QUERY, identity)
}

/// Whose checkpoint this is, without using it.
///
/// # Errors
/// `NotFound` if it is none, `Corrupt` if it is damaged.
pub fn identity(store: &dyn Store) -> Result<Identity> {
    entries::read(store, QUERY, QUERY).map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, "there is no checkpoint here").at(store.place("")).because(error)
        }
        _ => error,
    })
}

/// The entry of a batch in the offset log.
///
/// # Errors
/// `NotFound` without one, `Corrupt` if it is damaged.
pub fn offsets(store: &dyn Store, batch: u64) -> Result<OffsetEntry> {
    entries::read(store, &Log::Offsets.file(batch), Log::Offsets.folder())
}

/// What was written of an operator by [`Checkpoint::define`].
///
/// # Errors
/// `NotFound` without one, `Corrupt` if it is damaged.
pub fn definition(store: &dyn Store, operator: &str) -> Result<String> {
    entries::read(store, &entries::definition_file(operator), entries::OPERATORS)
}

/// The error, with the newest sound batch as advice if something is damaged.
fn advise(store: &dyn Store, error: Error) -> Error {
    if error.kind() != ErrorKind::Corrupt {
        return error;
    }
    match verify(store) {
        Ok(report) => error.advice(report.advice()),
        Err(_) => error,
    }
}

/// Refuses a query that has changed in what it reads or keeps; tells what still fits.
fn check_same(known: &Identity, now: &Identity) -> Result<()> {
    if known.query != now.query {
        let message = format!("the checkpoint belongs to the query \"{}\", not to \"{}\"", known.query, now.query);
        return Err(Error::invalid_query(message).advice("give each query a checkpoint of its own"));
    }
    let mut differences = Vec::new();
    let mut fits = Vec::new();
    for source in &known.sources {
        let have_parts = [known, now].map(|identity| identity.sources_of_parts.contains(source));
        match (now.sources.contains(source), have_parts) {
            (false, _) => differences.push(format!("source \"{source}\" is gone")),
            (true, [true, false]) => {
                differences
                    .push(format!("source \"{source}\" told the event times of its parts apart, and now does not"));
            }
            (true, [false, true]) => {
                differences.push(format!("source \"{source}\" now tells the event times of its parts apart"));
            }
            (true, _) => fits.push(format!("source \"{source}\"")),
        }
    }
    for (operator, keeps) in &known.operators {
        match now.operators.get(operator) {
            Some(now) if now == keeps => fits.push(format!("operator \"{operator}\"")),
            Some(now) => differences.push(format!("operator \"{operator}\" kept {keeps} and now keeps {now}")),
            None => differences.push(format!("operator \"{operator}\" is gone")),
        }
    }
    for operator in now.operators.keys().filter(|operator| !known.operators.contains_key(*operator)) {
        differences.push(format!("operator \"{operator}\" is new and would have missed earlier batches"));
    }
    if differences.is_empty() {
        return Ok(());
    }
    let fits = if fits.is_empty() { "nothing".to_owned() } else { fits.join(", ") };
    let message = format!("the query has changed: {}; what still fits: {fits}", differences.join(", "));
    Err(Error::invalid_query(message).advice("take the change back, or start anew with a new checkpoint"))
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint").field("store", &self.store).finish_non_exhaustive()
    }
}
