//! The GPU that `auto` may choose: looked for, opened and measured once a process.
//!
//! Loading the drivers and measuring take a good part of a second. So a GPU that nobody has named is looked for by a
//! thread of its own, and only once so much has come that it could pay; whoever asks before works on the CPU.

use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
#[cfg(test)]
use std::time::Duration;

use super::calibration::{self, Calibration};
use super::pipelines;
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, ErrorKind, Result};
#[cfg(test)]
use crate::kernels::gpu::Faults;
use crate::kernels::gpu::{AdapterInfo, GpuBackend, Wish};

/// A GPU, with what it can do.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) backend: GpuBackend,
    pub(super) calibration: Calibration,
}

/// A search for a GPU, and what it has found.
#[derive(Debug, Clone)]
pub(super) struct Search(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    adapter: Option<String>,
    keeps: bool,
    has_begun: AtomicBool,
    found: OnceLock<Result<Machine>>,
}

/// All searches of this process: those for the same are one.
static SEARCHES: Mutex<Vec<Search>> = Mutex::new(Vec::new());

/// Threads that search.
static THREADS: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

impl Search {
    /// For an adapter of this name, or for any that is no software. `keeps` says whether rates may be kept in a file.
    pub(super) fn of(adapter: Option<String>, keeps: bool) -> Self {
        let mut searches = SEARCHES.lock().unwrap_or_else(PoisonError::into_inner);
        let same = searches.iter().find(|search| search.0.adapter == adapter && search.0.keeps == keeps);
        same.cloned().unwrap_or_else(|| {
            let search = Self::alone(adapter, keeps);
            searches.push(search.clone());
            search
        })
    }

    fn alone(adapter: Option<String>, keeps: bool) -> Self {
        Self(Arc::new(Inner { adapter, keeps, has_begun: AtomicBool::new(false), found: OnceLock::new() }))
    }

    /// One that has found this adapter, on which pieces have few rows, with trouble made on purpose.
    #[cfg(test)]
    pub(super) fn faulty_for_test(adapter: String, rows_max: usize, faults: Faults) -> Option<Self> {
        let wish = Wish { adapter: Some(adapter), rows_max: Some(rows_max), ..Wish::default() };
        let search = Self::alone(None, false);
        let faulty = |machine: Machine| Machine { backend: machine.backend.with_faults(faults), ..machine };
        let found = || machine(GpuBackend::open(wish)?, false).map(faulty);
        search.0.found.get_or_init(found).is_ok().then_some(search)
    }

    /// One that has looked for this adapter, whose driver makes this trouble while it is opened and measured.
    #[cfg(test)]
    pub(super) fn troubled_for_test(adapter: String, faults: Faults, opening_time: Duration) -> Self {
        let wish = Wish { adapter: Some(adapter), opening_time: Some(opening_time), ..Wish::default() };
        let search = Self::alone(None, false);
        search.0.found.get_or_init(|| machine(GpuBackend::open_faulty(wish, faults)?, false));
        search
    }

    /// One that nobody has begun.
    #[cfg(test)]
    pub(super) fn unfound_for_test() -> Self {
        Self::alone(Some("no such adapter".to_owned()), false)
    }

    /// What was found; none as long as nobody has looked.
    pub(super) fn found(&self) -> Option<Result<&Machine, &Error>> {
        self.0.found.get().map(Result::as_ref)
    }

    /// Looks now, and waits for it.
    pub(super) fn now(&self) -> Result<&Machine, &Error> {
        let look = || {
            let pipelines = if self.0.keeps { pipelines::store() } else { None };
            let wish = Wish { adapter: self.0.adapter.clone(), pipelines, ..Wish::default() };
            machine(GpuBackend::open(wish)?, self.0.keeps)
        };
        self.0.found.get_or_init(look).as_ref()
    }

    /// What went wrong with a GPU that is there; none as long as nobody has looked, or if there is none.
    pub(super) fn trouble(&self) -> Option<&Error> {
        self.found()?.err().filter(|error| error.kind() != ErrorKind::NotFound)
    }

    /// Has a thread look, once.
    pub(super) fn begin(&self) {
        if self.0.has_begun.swap(true, Ordering::Relaxed) {
            return;
        }
        let search = self.clone();
        // What comes of it is asked for later.
        let thread = std::thread::Builder::new().name("pelton-gpu".to_owned()).spawn(move || {
            let _ = search.now();
        });
        // Without a thread there is no GPU, and the CPU does all.
        THREADS.lock().unwrap_or_else(PoisonError::into_inner).extend(thread.ok());
    }
}

/// Waits for threads that look for a GPU: a process that ends while a driver is being loaded may crash in it.
pub fn settle() {
    let threads = std::mem::take(&mut *THREADS.lock().unwrap_or_else(PoisonError::into_inner));
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

/// Whether there may be a GPU that is no software; without loading its driver, which takes long. Linux shows devices as
/// files; other systems are not asked.
pub(super) fn may_be_there() -> bool {
    const FILES: [&str; 5] = ["/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kgsl-3d0", "/dev/mali0"];
    if !cfg!(target_os = "linux") {
        return true;
    }
    let renders = std::fs::read_dir("/dev/dri").is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("renderD")))
    });
    renders || FILES.iter().any(|file| Path::new(file).exists())
}

fn machine(backend: GpuBackend, keeps: bool) -> Result<Machine> {
    let calibration = calibrated(&backend, keeps)?;
    Ok(Machine { backend, calibration })
}

/// What is kept of the adapter, or what is measured now.
fn calibrated(backend: &GpuBackend, keeps: bool) -> Result<Calibration> {
    let folder = calibration::folder().filter(|_| keeps);
    let adapter = backend.adapter();
    if let Some(kept) = folder.as_ref().and_then(|folder| Calibration::load(folder, adapter)) {
        return Ok(kept);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let calibration = Calibration { rates: backend.calibrate(&clock)?, cpu: cpu_rate(clock.as_ref()) };
    if let Some(folder) = folder {
        calibration.store(&folder, adapter);
    }
    Ok(calibration)
}

/// What an adapter can do, by the rates that are kept of it or measured now.
///
/// # Errors
/// As [`GpuBackend::open`] and [`GpuBackend::calibrate`].
pub fn calibrate(adapter: &AdapterInfo) -> Result<Calibration> {
    let wish = Wish { adapter: Some(adapter.name.clone()), ..Wish::default() };
    calibrated(&GpuBackend::open(wish)?, true)
}

/// Bytes a second that this thread adds up: the best of a few times.
#[expect(clippy::cast_precision_loss, reason = "a measured number has few digits")]
fn cpu_rate(clock: &dyn Clock) -> f64 {
    const WORDS: usize = 1 << 20;
    let words = vec![1_u64; WORDS];
    let time = |_| {
        let started = clock.now();
        black_box(black_box(&words).iter().copied().fold(0, u64::wrapping_add));
        clock.now().saturating_sub(started)
    };
    let best = (0..5).map(time).min().unwrap_or_default();
    size_of_val(words.as_slice()) as f64 / best.as_secs_f64().max(1e-6)
}
