//! Batches from and to other threads of the same process, with backpressure both ways.
//!
//! A channel into a query holds at most so many bytes of rows that are not committed: when it is full, [`send`] blocks
//! and [`try_send`] gives the batch back. A channel out of a query holds at most so many micro-batches: when it is full,
//! the query waits for the receiver.
//!
//! [`send`]: ChannelSender::send
//! [`try_send`]: ChannelSender::try_send

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use arrow_select::concat::concat_batches;

use crate::columnar::{RecordBatch, SchemaRef};
use crate::connectors::held_rows::{HeldRows, bytes_of, read_batches};
use crate::connectors::queue::check_schema;
use crate::connectors::{
    Available, Backlog, OffsetRange, OutputBatch, ReadLimits, Repeat, Replay, Sink, Source, WriteReport,
};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::BatchReader;

/// A channel into a query that holds at most `capacity_bytes` of rows; a single batch is taken even if it is larger.
///
/// ```
/// use pelton::columnar::{DataType, Field, RecordBatch, Schema};
/// use pelton::connectors::channel::{Sent, channel};
/// use std::sync::Arc;
///
/// let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Int64, false)]));
/// let values = Arc::new(arrow_array::Int64Array::from(vec![1, 2, 3]));
/// let batch = RecordBatch::try_new(Arc::clone(&schema), vec![values]).expect("columns fit the schema");
///
/// let (sender, _source) = channel(schema, 16);
/// sender.send(batch.clone())?;
/// assert!(matches!(sender.try_send(batch)?, Sent::Full(_)));
/// # Ok::<(), pelton::error::Error>(())
/// ```
pub fn channel(schema: SchemaRef, capacity_bytes: u64) -> (ChannelSender, ChannelSource) {
    let shared = Arc::new(Shared {
        schema,
        capacity_bytes,
        state: Mutex::new(State { rows: HeldRows::default(), senders: 1, open: true }),
        room: Condvar::new(),
    });
    (ChannelSender { shared: Arc::clone(&shared) }, ChannelSource { shared })
}

#[derive(Debug)]
struct Shared {
    schema: SchemaRef,
    capacity_bytes: u64,
    state: Mutex<State>,
    /// Rung when rows are committed or the channel is closed.
    room: Condvar,
}

#[derive(Debug)]
struct State {
    rows: HeldRows,
    senders: usize,
    open: bool,
}

impl Shared {
    /// The state is valid at every moment, even if another thread panicked while holding it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().open = false;
        self.room.notify_all();
    }

    fn has_room(&self, state: &State, bytes: u64) -> bool {
        state.rows.bytes() == 0 || state.rows.bytes().saturating_add(bytes) <= self.capacity_bytes
    }
}

/// The end of a channel at which rows are put in. Clones share the channel; it ends when the last of them is dropped.
#[derive(Debug)]
pub struct ChannelSender {
    shared: Arc<Shared>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Sent {
    /// It is in the channel.
    Accepted,
    /// The channel is full; here it is again.
    Full(RecordBatch),
}

impl ChannelSender {
    /// Puts a batch in, and waits for room if there is none.
    ///
    /// # Errors
    /// `Closed` if the channel was closed or the query has ended, `InvalidOption` for a batch of another schema.
    pub fn send(&self, batch: RecordBatch) -> Result<()> {
        check_schema(&self.shared.schema, &batch)?;
        let bytes = bytes_of(&batch);
        let state = self.shared.lock();
        let waited = self.shared.room.wait_while(state, |state| state.open && !self.shared.has_room(state, bytes));
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if !state.open {
            return Err(closed());
        }
        state.rows.push(batch, bytes);
        Ok(())
    }

    /// Puts a batch in if there is room for it.
    ///
    /// # Errors
    /// As for [`ChannelSender::send`].
    pub fn try_send(&self, batch: RecordBatch) -> Result<Sent> {
        check_schema(&self.shared.schema, &batch)?;
        let bytes = bytes_of(&batch);
        let mut state = self.shared.lock();
        if !state.open {
            return Err(closed());
        }
        if !self.shared.has_room(&state, bytes) {
            return Ok(Sent::Full(batch));
        }
        state.rows.push(batch, bytes);
        Ok(Sent::Accepted)
    }

    /// Ends the channel for all senders. What is in it is still read.
    pub fn close(&self) {
        self.shared.close();
    }
}

impl Clone for ChannelSender {
    fn clone(&self) -> Self {
        self.shared.lock().senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for ChannelSender {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.senders -= 1;
        state.open &= state.senders > 0;
    }
}

/// Reads what [`ChannelSender`]s put in. Dropping it closes the channel.
#[derive(Debug)]
pub struct ChannelSource {
    shared: Arc<Shared>,
}

impl Source for ChannelSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.shared.schema)
    }

    fn replay(&self) -> Replay {
        Replay::UntilCommitted
    }

    fn counts_rows(&self) -> bool {
        true
    }

    fn next_range(&mut self, limits: &ReadLimits) -> Result<Available> {
        let mut state = self.shared.lock();
        match state.rows.take(limits) {
            Some(range) => Ok(Available::Range(OffsetRange::write(&range)?)),
            None if state.open => Ok(Available::Nothing),
            None => Ok(Available::Ended),
        }
    }

    fn read(&mut self, range: &OffsetRange, partitions: usize) -> Result<Vec<Box<dyn BatchReader>>> {
        let batches = self.shared.lock().rows.rows(&range.parse::<Range<u64>>()?)?;
        Ok(read_batches(&batches, partitions))
    }

    fn commit(&mut self, range: &OffsetRange) -> Result<()> {
        self.shared.lock().rows.commit(&range.parse::<Range<u64>>()?);
        self.shared.room.notify_all();
        Ok(())
    }

    fn backlog(&self) -> Backlog {
        Backlog { files: None, bytes: None, rows: Some(self.shared.lock().rows.waiting()) }
    }

    fn stop(&mut self) {
        self.shared.close();
    }
}

impl Drop for ChannelSource {
    fn drop(&mut self) {
        self.shared.close();
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the channel is closed: no query reads from it any more")
}

/// Sends each micro-batch, as one batch of rows with its id, to a [`ChannelReceiver`].
#[derive(Debug)]
pub struct ChannelSink {
    sender: crossbeam_channel::Sender<(u64, RecordBatch)>,
}

/// The end of a [`ChannelSink`] at which batches come out; an iterator that ends with the query.
#[derive(Debug)]
pub struct ChannelReceiver {
    receiver: crossbeam_channel::Receiver<(u64, RecordBatch)>,
}

impl ChannelSink {
    /// A channel out of a query that holds at most `capacity` micro-batches, and at least one.
    pub fn new(capacity: usize) -> (Self, ChannelReceiver) {
        let (sender, receiver) = crossbeam_channel::bounded(capacity.max(1));
        (Self { sender }, ChannelReceiver { receiver })
    }
}

impl ChannelReceiver {
    /// What has come, without waiting.
    pub fn try_next(&self) -> Option<(u64, RecordBatch)> {
        self.receiver.try_recv().ok()
    }
}

impl Iterator for ChannelReceiver {
    type Item = (u64, RecordBatch);

    fn next(&mut self) -> Option<Self::Item> {
        self.receiver.recv().ok()
    }
}

impl Sink for ChannelSink {
    fn open(&mut self, _: &SchemaRef) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, batch: &OutputBatch<'_>) -> Result<WriteReport> {
        let rows = concat_batches(batch.schema, batch.partitions.iter().flatten())?;
        let report = WriteReport { rows: rows.num_rows() as u64, bytes: bytes_of(&rows) };
        self.sender.send((batch.batch_id, rows)).map_err(|_| {
            Error::new(ErrorKind::Closed, "nobody receives any more: the other end of the channel was dropped")
                .advice("keep the ChannelReceiver as long as the query runs")
        })?;
        Ok(report)
    }

    fn repeat(&self) -> Repeat {
        Repeat::Appends
    }
}
