//! Batches from a list: each entry is exactly one micro-batch. For tests, and for programs that cut their own batches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::columnar::{RecordBatch, SchemaRef};
use crate::connectors::held_rows::read_batches;
use crate::connectors::{Available, Backlog, OffsetRange, ReadLimits, Replay, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::BatchReader;

/// Gives out queued batches, one entry a micro-batch, whatever the limits say.
///
/// ```
/// use pelton::columnar::{DataType, Field, Schema};
/// use pelton::connectors::queue::QueueSource;
/// use pelton::connectors::{Available, ReadLimits, Source};
/// use std::sync::Arc;
///
/// let schema = Arc::new(Schema::new(vec![Field::new("line", DataType::Utf8, false)]));
/// let (queue, mut source) = QueueSource::new(schema);
/// queue.push(vec![])?;
/// queue.close();
/// assert!(matches!(source.next_range(&ReadLimits::default())?, Available::Range(_)));
/// assert_eq!(source.next_range(&ReadLimits::default())?, Available::Ended);
/// # Ok::<(), pelton::error::Error>(())
/// ```
#[derive(Debug)]
pub struct QueueSource {
    schema: SchemaRef,
    queue: Arc<Mutex<Entries>>,
}

/// The end of a [`QueueSource`] at which batches are put in. It never blocks and has no bound.
#[derive(Debug, Clone)]
pub struct Queue {
    schema: SchemaRef,
    entries: Arc<Mutex<Entries>>,
}

#[derive(Debug, Default)]
struct Entries {
    /// Entries that are not committed, oldest first.
    held: VecDeque<Vec<RecordBatch>>,
    /// The number of the oldest of them.
    first: u64,
    /// The number of the next one to give out.
    next: u64,
    closed: bool,
}

impl QueueSource {
    /// An empty queue, open.
    pub fn new(schema: SchemaRef) -> (Queue, Self) {
        let entries = Arc::<Mutex<Entries>>::default();
        (Queue { schema: Arc::clone(&schema), entries: Arc::clone(&entries) }, Self { schema, queue: entries })
    }

    /// A queue that holds these batches, one a micro-batch, and is closed.
    ///
    /// # Errors
    /// As for [`Queue::push`].
    pub fn of(schema: SchemaRef, batches: impl IntoIterator<Item = RecordBatch>) -> Result<Self> {
        let (queue, source) = Self::new(schema);
        batches.into_iter().try_for_each(|batch| queue.push(vec![batch]))?;
        queue.close();
        Ok(source)
    }
}

impl Queue {
    /// Adds a micro-batch; without rows it is one all the same.
    ///
    /// # Errors
    /// `InvalidOption` for a batch of another schema, `Closed` after [`Queue::close`].
    pub fn push(&self, batches: Vec<RecordBatch>) -> Result<()> {
        for batch in &batches {
            check_schema(&self.schema, batch)?;
        }
        let mut entries = lock(&self.entries);
        if entries.closed {
            return Err(Error::new(ErrorKind::Closed, "the queue is closed"));
        }
        entries.held.push_back(batches);
        Ok(())
    }

    /// Says that nothing more will come.
    pub fn close(&self) {
        lock(&self.entries).closed = true;
    }
}

impl Source for QueueSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn replay(&self) -> Replay {
        Replay::UntilCommitted
    }

    fn next_range(&mut self, _: &ReadLimits) -> Result<Available> {
        let mut entries = lock(&self.queue);
        if entries.next < entries.first + entries.held.len() as u64 {
            let range = OffsetRange::write(&entries.next)?;
            entries.next += 1;
            return Ok(Available::Range(range));
        }
        Ok(if entries.closed { Available::Ended } else { Available::Nothing })
    }

    fn read(&mut self, range: &OffsetRange, partitions: usize) -> Result<Vec<Box<dyn BatchReader>>> {
        let number: u64 = range.parse()?;
        let entries = lock(&self.queue);
        let index = number.checked_sub(entries.first).and_then(|index| usize::try_from(index).ok());
        let batches = index.and_then(|index| entries.held.get(index)).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("entry {number} of the queue is not held any more"))
                .advice("a queue cannot replay what an earlier process read; use a source that keeps its data")
        })?;
        Ok(read_batches(batches, partitions))
    }

    fn commit(&mut self, range: &OffsetRange) -> Result<()> {
        let number: u64 = range.parse()?;
        let mut entries = lock(&self.queue);
        while entries.first <= number && entries.held.pop_front().is_some() {
            entries.first += 1;
        }
        Ok(())
    }

    fn backlog(&self) -> Backlog {
        let entries = lock(&self.queue);
        let waiting = usize::try_from(entries.next - entries.first).unwrap_or(usize::MAX);
        let rows = entries.held.iter().skip(waiting).flatten().map(|batch| batch.num_rows() as u64).sum();
        Backlog { files: None, bytes: None, rows: Some(rows) }
    }

    fn stop(&mut self) {
        lock(&self.queue).closed = true;
    }
}

/// Refuses a batch whose columns differ from the schema of its source.
pub(crate) fn check_schema(schema: &SchemaRef, batch: &RecordBatch) -> Result<()> {
    if batch.schema_ref().fields() == schema.fields() {
        return Ok(());
    }
    let show = |schema: &SchemaRef| {
        let columns = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
        columns.collect::<Vec<_>>().join(", ")
    };
    let (expected, given) = (show(schema), show(batch.schema_ref()));
    Err(Error::new(ErrorKind::InvalidOption, format!("a batch of ({given}) was sent where ({expected}) is expected"))
        .advice("columns must agree in order, name, type and whether they may be null"))
}

/// The entries are valid at every moment, even if another thread panicked while holding them.
fn lock(entries: &Mutex<Entries>) -> std::sync::MutexGuard<'_, Entries> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}
