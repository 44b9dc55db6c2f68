//! What can go wrong with a device, and how often it did.
//!
//! Whatever it is, the batch is run again on the CPU from its input, so that no answer changes. Tests make trouble on
//! purpose with [`Faults`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::Notice;

/// Why a device did not finish a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The device is gone; another one may be opened.
    Lost(String),
    /// It has no memory left.
    OutOfMemory(String),
    /// It did not answer in time.
    Late(String),
    /// The driver refused a pipeline or a command.
    Rejected(String),
    /// The batch needs more than the device's limits allow.
    TooLarge(String),
    /// What is kept from batch to batch needs more than they allow.
    Outgrown(String),
    /// Its keys meet in the table of groups, however large that is.
    Crowded,
    /// A value cannot be computed: no fault of the device's. The CPU makes the error.
    Value,
}

impl Trouble {
    /// Whether fewer rows may fare better.
    pub(super) fn is_of_size(&self) -> bool {
        matches!(self, Self::TooLarge(_) | Self::OutOfMemory(_))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(text) => write!(f, "the device was lost: {text}"),
            Self::OutOfMemory(text) => write!(f, "the device has no memory left: {text}"),
            Self::Late(text) => write!(f, "the device did not answer in time: {text}"),
            Self::Rejected(text) => write!(f, "the driver refused: {text}"),
            Self::TooLarge(text) => write!(f, "the batch is too large for the device: {text}"),
            Self::Outgrown(text) => {
                write!(f, "what is kept has outgrown the device, and is with the cpu from now on: {text}")
            }
            Self::Crowded => {
                f.write_str("the keys of the batch meet in one stretch of the table of groups, by whatever hash")
            }
            Self::Value => f.write_str("a value cannot be computed"),
        }
    }
}

/// How often a batch had to be run again on the CPU, and why the last time.
#[derive(Debug, Default)]
pub(super) struct Record {
    batches: AtomicU64,
    fallen_back: AtomicU64,
    /// Of those, how many somebody has asked for.
    told: AtomicU64,
    latest: Mutex<Option<String>>,
    /// Batches that did not fit the device and were cut in two.
    halved: AtomicU64,
    /// Batches that were taken into state on the device.
    taken_in: AtomicU64,
    /// Groups of state whose values came back.
    groups_read: AtomicU64,
    /// Batches that were on their way at a time, at most.
    at_once: AtomicU64,
}

impl Record {
    /// A batch that the device has done.
    pub(super) fn done(&self) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// A batch that did not fit the device and was cut in two.
    pub(super) fn halved(&self) {
        self.halved.fetch_add(1, Ordering::Relaxed);
    }

    /// So many batches are on their way.
    pub(super) fn are_on_their_way(&self, batches: usize) {
        self.at_once.fetch_max(batches as u64, Ordering::Relaxed);
    }

    /// A batch that was taken into state on the device.
    pub(super) fn took_in(&self) {
        self.taken_in.fetch_add(1, Ordering::Relaxed);
    }

    /// Groups of state whose values came back.
    pub(super) fn read_groups(&self, groups: usize) {
        self.groups_read.fetch_add(groups as u64, Ordering::Relaxed);
    }

    /// A batch that the CPU has to do.
    pub(super) fn fell_back(&self, trouble: &Trouble) {
        self.fallen_back.fetch_add(1, Ordering::Relaxed);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble.to_string());
    }

    /// What there is to be known since somebody last asked.
    pub(super) fn notice(&self) -> Notice {
        let all = self.fallen_back.load(Ordering::Relaxed);
        let fallen_back = all - self.told.swap(all, Ordering::Relaxed).min(all);
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        Notice { fallen_back, reason: latest.clone().filter(|_| fallen_back > 0), failures: Vec::new() }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            batches: self.batches.load(Ordering::Relaxed),
            fallen_back: self.fallen_back.load(Ordering::Relaxed),
            halved: self.halved.load(Ordering::Relaxed),
            taken_in: self.taken_in.load(Ordering::Relaxed),
            groups_read: self.groups_read.load(Ordering::Relaxed),
            at_once: self.at_once.load(Ordering::Relaxed),
            submissions: 0,
            latest: self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// What a device has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Batches that it finished.
    pub batches: u64,
    /// Batches that were run again on the CPU because of trouble.
    pub fallen_back: u64,
    /// Batches that did not fit it and were cut in two: each half is a batch, too.
    pub halved: u64,
    /// Batches that it took into the state that it keeps.
    pub taken_in: u64,
    /// Groups of that state whose values came back.
    pub groups_read: u64,
    /// Batches that were on their way to it, through it and back at a time, at most.
    pub at_once: u64,
    /// Submissions to the device that there is now, whoever has made them.
    pub submissions: u64,
    /// What the trouble was, the last time.
    pub latest: Option<String>,
}

/// Trouble made on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device is destroyed.
    Lose,
    /// It is asked for more memory than there is.
    Exhaust,
    /// It is given no time.
    Hurry,
    /// It is given a shader that cannot be compiled.
    Confuse,
    /// Its driver does not come back from compiling a shader.
    Stall,
    /// Nor from making a buffer.
    HangMaking,
    /// Nor from a submission.
    HangSubmitting,
    /// Nor from waiting for an answer.
    HangWaiting,
}

impl Fault {
    /// Whether a call for a batch does not come back.
    pub(super) fn hangs(self) -> bool {
        matches!(self, Self::HangMaking | Self::HangSubmitting | Self::HangWaiting)
    }
}

/// What becomes of a device that is opened or measured, on purpose: mostly one in the place of one that was lost.
#[derive(Debug)]
pub enum OpeningFault {
    /// It is there before the next batch.
    AtOnce,
    /// It is only opened when the other end sends something, or is dropped: until then its driver hangs.
    Held(Receiver<()>),
    /// It is held back in the same way, and cannot be opened then.
    Fails(Receiver<()>),
}

impl OpeningFault {
    /// Whether batches wait for it.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(self, Self::AtOnce)
    }

    /// Lets the device be opened when it is time, or not.
    pub(super) fn strike(self) -> Result<()> {
        match self {
            Self::AtOnce => Ok(()),
            Self::Held(end) => {
                // That the other end is dropped says the same.
                let _ = end.recv();
                Ok(())
            }
            Self::Fails(end) => {
                let _ = end.recv();
                Err(Error::new(ErrorKind::Unsupported, "a test has asked for it"))
            }
        }
    }
}

/// A row of faults, one for each batch to come; `None` leaves a batch alone. Another row is for devices that are opened or
/// measured.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    batches: Arc<Mutex<VecDeque<Option<Fault>>>>,
    openings: Arc<Mutex<VecDeque<OpeningFault>>>,
}

impl Faults {
    /// These faults, one after another.
    pub fn new(faults: impl IntoIterator<Item = Option<Fault>>) -> Self {
        Self { batches: Arc::new(Mutex::new(faults.into_iter().collect())), openings: Arc::default() }
    }

    /// With these, one after another, for devices that are opened, mostly in the place of lost ones, or measured.
    #[must_use]
    pub fn with_openings(self, openings: impl IntoIterator<Item = OpeningFault>) -> Self {
        Self { openings: Arc::new(Mutex::new(openings.into_iter().collect())), ..self }
    }

    /// With devices that are there before the next batch, whenever one was lost.
    #[must_use]
    pub fn opened_at_once(self) -> Self {
        self.with_openings((0..16).map(|_| OpeningFault::AtOnce))
    }

    /// The fault of the next batch.
    pub(super) fn next(&self) -> Option<Fault> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).pop_front().flatten()
    }

    /// That of the next device.
    pub(super) fn next_opening(&self) -> Option<OpeningFault> {
        self.openings.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}
