//! The device of a backend: opened once, and again by a thread of its own when it was lost.
//!
//! Opening takes a good part of a second. Batches go on on the CPU meanwhile; those of a strict backend wait. Whoever asks for
//! the device takes over what the thread has opened, and with the last stage that may ask it is waited for: a process that ends
//! while a driver is at work may crash in it. A driver that hangs is not waited for any longer than `patience` says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::adapters::{AdapterInfo, Wish, open};
use super::calibrate::{Rates, measure};
use super::device::Device;
use super::patience::within;
use super::stopwatch::Stopwatch;
use super::trouble::{Faults, OpeningFault, Trouble};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// How often a lost device is replaced, or another one is tried.
const REPLACEMENTS_MAX: u32 = 3;

/// The device of a backend, and the one that is to replace it.
#[derive(Debug)]
pub(super) struct Holder {
    wish: Wish,
    pub(super) adapter: AdapterInfo,
    stopwatch: Option<Stopwatch>,
    present: Mutex<Present>,
}

#[derive(Debug)]
struct Present {
    device: Arc<Device>,
    /// How many were opened in its place, or were to be.
    replacements: u32,
    opening: Option<Opening>,
    /// Why devices could not be opened, until it is told.
    failures: Vec<String>,
}

/// A device that is being opened.
#[derive(Debug)]
struct Opening {
    thread: Result<JoinHandle<Result<Device, String>>, String>,
    /// Whether a test has asked that no batch comes before it.
    is_awaited: bool,
}

impl Opening {
    fn begin(wish: Wish, faults: &Faults) -> Self {
        let fault = faults.next_opening();
        let is_awaited = fault.as_ref().is_some_and(|fault| fault.is_awaited());
        let thread = std::thread::Builder::new().name("pelton-gpu".to_owned());
        let thread =
            thread.spawn(move || open(wish, fault).map(|(_, device)| device).map_err(|error| error.to_string()));
        Self { thread: thread.map_err(|error| error.to_string()), is_awaited }
    }

    fn is_finished(&self) -> bool {
        self.thread.as_ref().map_or(true, JoinHandle::is_finished)
    }

    fn join(self) -> Result<Device, String> {
        self.thread?.join().unwrap_or_else(|_| Err("its driver panicked".to_owned()))
    }
}

impl Present {
    /// Waits for a device that is being opened, and puts it in the place of the lost one.
    fn take_over(&mut self, opening: Opening) -> Result<(), String> {
        match opening.join() {
            Ok(device) => {
                self.device = Arc::new(device);
                Ok(())
            }
            Err(error) => {
                self.failures.push(error.clone());
                Err(error)
            }
        }
    }
}

impl Holder {
    pub(super) fn open(wish: Wish, stopwatch: Option<Stopwatch>, fault: Option<OpeningFault>) -> Result<Self> {
        let (adapter, device) = open(wish.clone(), fault)?;
        let present = Present { device: Arc::new(device), replacements: 0, opening: None, failures: Vec::new() };
        Ok(Self { wish, adapter, stopwatch, present: Mutex::new(present) })
    }

    /// Measures the device. One that hangs meanwhile is given up.
    pub(super) fn measure(&self, clock: Arc<dyn Clock>, fault: Option<OpeningFault>) -> Result<Rates> {
        let device = self.latest();
        let (measured, what) = (Arc::clone(&device), format!("the adapter {} was to be measured", self.adapter));
        let failed = format!("the adapter {} could not be measured", self.adapter);
        let rates = within(self.wish.patience(), &what, move || {
            fault.map_or(Ok(()), OpeningFault::strike)?;
            measure(&measured, clock.as_ref()).map_err(|trouble| {
                Error::new(ErrorKind::Unsupported, format!("{failed}: {trouble}"))
                    .advice("look for a newer driver, or use device = \"cpu\"")
            })
        });
        if rates.is_err() {
            device.give_up();
        }
        rates
    }

    pub(super) fn stopwatch(&self) -> Option<Stopwatch> {
        self.stopwatch.clone()
    }

    pub(super) fn wish(&self) -> &Wish {
        &self.wish
    }

    fn lock(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device, lost or not; the one that replaces it has the same tier.
    pub(super) fn latest(&self) -> Arc<Device> {
        Arc::clone(&self.lock().device)
    }

    /// The device, or the one that replaces it. Once it is lost, another one is being opened; `waits` says whether it is
    /// waited for.
    pub(super) fn device(&self, faults: &Faults, waits: bool) -> Result<Arc<Device>, Trouble> {
        let mut present = self.lock();
        while present.device.is_lost() {
            let opening = match present.opening.take() {
                Some(opening) => opening,
                None if present.replacements < REPLACEMENTS_MAX => {
                    present.replacements += 1;
                    // What was compiled before could be why it was lost.
                    let adapter = Some(self.adapter.name.clone());
                    Opening::begin(Wish { adapter, pipelines: None, ..self.wish.clone() }, faults)
                }
                None => {
                    let why = present.failures.last().map(|why| format!(": {why}")).unwrap_or_default();
                    return Err(Trouble::Lost(format!("no other could be opened{why}")));
                }
            };
            if !(waits || opening.is_awaited || opening.is_finished()) {
                present.opening = Some(opening);
                return Err(Trouble::Lost("another one is being opened".to_owned()));
            }
            if let (Err(error), false) = (present.take_over(opening), waits) {
                return Err(Trouble::Lost(format!("it could not be opened again: {error}")));
            }
        }
        Ok(Arc::clone(&present.device))
    }

    /// Whether the device is lost and another one is being opened; from now on, if it was not yet.
    pub(super) fn is_opening(&self, faults: &Faults) -> bool {
        self.device(faults, false).is_err() && self.lock().opening.is_some()
    }

    /// Waits for a device that is being opened.
    pub(super) fn settle(&self) {
        let mut present = self.lock();
        if let Some(opening) = present.opening.take() {
            // Why it failed is among what is to be told.
            let _ = present.take_over(opening);
        }
    }

    /// Why devices could not be opened since somebody last asked.
    pub(super) fn failures(&self) -> Vec<String> {
        let failures = std::mem::take(&mut self.lock().failures);
        failures.into_iter().map(|why| format!("a lost device could not be opened again: {why}")).collect()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.settle();
    }
}
