//! What is kept from batch to batch and has no room in memory: how much room there is, and what a backend asks of the place
//! where the rest lies. The place itself is the runtime's: kernels do no I/O.
//!
//! # Contract
//! 1. What is put away is given back as it was, or there is an error: never something else. *(tested)*
//! 2. Answers do not depend on the room. *(tested)*

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::columnar::RecordBatch;
use crate::error::Result;

/// Where parts of what is kept lie that have no room in memory. Each has a number.
pub trait Shelf: Send + Sync + fmt::Debug {
    /// Puts a part away; gives its bytes there.
    ///
    /// # Errors
    /// A full disk, a folder that is gone.
    fn put(&self, number: u64, rows: &RecordBatch) -> Result<u64>;

    /// A part as it was put away.
    ///
    /// # Errors
    /// `Corrupt` if it is not what was put away.
    fn get(&self, number: u64) -> Result<RecordBatch>;

    /// Removes a part, if that is possible.
    fn remove(&self, number: u64);

    /// Removes everything: nothing is put or given any more.
    fn end(&self) {}
}

/// What lies on a shelf, and what went there and back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Spilled {
    /// Key groups that are on disk: parts of many groups, and panes of few.
    pub key_groups: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Bytes of what is in memory, about.
    pub in_memory: u64,
    /// Key groups that have been read back, since the query started.
    pub read_back: u64,
}

/// The memory that what is kept may take, and the shelf for what is more. Clones share it.
#[derive(Debug, Clone)]
pub struct Room(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    shelf: Box<dyn Shelf>,
    bytes: u64,
    in_memory: AtomicU64,
    away: AtomicU64,
    bytes_away: AtomicU64,
    read_back: AtomicU64,
    /// The number of the next part that is put away.
    next: AtomicU64,
}

impl Room {
    /// Room for so many bytes, and a shelf.
    pub fn new(bytes: u64, shelf: Box<dyn Shelf>) -> Self {
        let zero = AtomicU64::default;
        Self(Arc::new(Inside {
            shelf,
            bytes,
            in_memory: zero(),
            away: zero(),
            bytes_away: zero(),
            read_back: zero(),
            next: zero(),
        }))
    }

    /// Whether more is in memory than there is room for.
    pub(crate) fn is_full(&self) -> bool {
        self.0.in_memory.load(Ordering::Relaxed) > self.0.bytes
    }

    /// What lies on the shelf.
    pub fn spilled(&self) -> Spilled {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let Inside { away, bytes_away, in_memory, read_back, .. } = &*self.0;
        Spilled { key_groups: of(away), bytes: of(bytes_away), in_memory: of(in_memory), read_back: of(read_back) }
    }

    /// Nothing is put away or read back any more, though parts may still be there.
    pub(crate) fn end(&self) {
        self.0.shelf.end();
    }

    /// Counts something in memory.
    pub(crate) fn weigh(&self, bytes: u64) -> Weight {
        self.0.in_memory.fetch_add(bytes, Ordering::Relaxed);
        Weight { room: self.clone(), bytes }
    }

    /// Puts a part away.
    pub(crate) fn put(&self, rows: &RecordBatch) -> Result<Away> {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let bytes = self.0.shelf.put(number, rows)?;
        self.0.away.fetch_add(1, Ordering::Relaxed);
        self.0.bytes_away.fetch_add(bytes, Ordering::Relaxed);
        Ok(Away { room: self.clone(), number, bytes, rows: rows.num_rows() })
    }
}

/// Something that is counted in memory until this is dropped.
#[derive(Debug)]
pub(crate) struct Weight {
    room: Room,
    bytes: u64,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.room.0.in_memory.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A part on the shelf; it is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Away {
    room: Room,
    number: u64,
    bytes: u64,
    rows: usize,
}

impl Away {
    /// How many rows it has.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// The rows, as they were put away.
    pub(crate) fn get(&self) -> Result<RecordBatch> {
        self.room.0.read_back.fetch_add(1, Ordering::Relaxed);
        self.room.0.shelf.get(self.number)
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.room.0.shelf.remove(self.number);
        self.room.0.away.fetch_sub(1, Ordering::Relaxed);
        self.room.0.bytes_away.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
