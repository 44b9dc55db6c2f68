//! The same chain on other devices, beside the CPU on the same rows.
//!
//! `gpu_with_copies` is what a query gets: rows go up, answers come down. `gpu_resident` is the part of it from a
//! submission to its answer, when the rows are in the device's memory already; it is measured apart, by one thread, and
//! held against the speed at which the device copies its own memory.

use std::any::Any;
use std::sync::Arc;

use clap::ValueEnum;
use rayon::ThreadPool;

use super::answers::{Other, compare};
use super::chain::Query;
use super::engine::Engine;
use super::measure::{Run, Times};
use crate::columnar::{RecordBatch, SchemaRef};
use crate::dispatch::{Device, Placement};
use crate::error::{Error, Result};

/// A device that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Wanted {
    /// The CPU: what the others are held against, always measured
    Cpu,
    /// A GPU
    Gpu,
    /// Whichever is faster
    Auto,
}

impl Wanted {
    fn device(self) -> Device {
        match self {
            Self::Cpu => Device::Cpu,
            Self::Gpu => Device::Gpu,
            Self::Auto => Device::Auto,
        }
    }
}

/// What a device gave in one case.
#[derive(Debug, Clone)]
pub(super) struct OnDevice {
    /// `gpu_with_copies`, `gpu_resident`, `auto` or [`MICRO_BATCHES`].
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
    /// Bytes a second that the device copies, where that is what counts.
    pub(super) bandwidth: Option<f64>,
    /// What there is to say: what `auto` has chosen.
    pub(super) note: Option<String>,
}

/// The name of the line about the CPU itself, when its rows come in micro-batches.
pub(super) const MICRO_BATCHES: &str = "micro_batches";

impl OnDevice {
    /// The CPU, whose rows came in micro-batches.
    pub(super) fn in_micro_batches(times: Times) -> Self {
        Self { name: MICRO_BATCHES, outcome: Outcome::Measured(times), bandwidth: None, note: None }
    }
}

/// Times, or why there are none.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Measured(Times),
    Refused(String),
}

/// The devices that are measured beside the CPU.
#[derive(Debug)]
pub(super) struct Beside {
    wanted: Vec<Wanted>,
    adapter: Option<String>,
}

/// A chain on one of them.
pub(super) struct Prepared {
    wanted: Wanted,
    engine: Result<Engine>,
}

impl Beside {
    pub(super) fn new(wanted: &[Wanted], adapter: Option<&str>) -> Self {
        let mut wanted: Vec<Wanted> = wanted.iter().copied().filter(|wanted| *wanted != Wanted::Cpu).collect();
        wanted.sort_by_key(|wanted| *wanted as usize);
        wanted.dedup();
        let named = || std::env::var("PELTON_ADAPTER").ok();
        Self { wanted, adapter: adapter.map(str::to_owned).or_else(named) }
    }

    /// The names of the lines that each case has.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let names = |wanted: &Wanted| match wanted {
            Wanted::Cpu => &[][..],
            Wanted::Gpu => &["gpu_with_copies", "gpu_resident"],
            Wanted::Auto => &["auto"],
        };
        self.wanted.iter().flat_map(names).copied().collect()
    }

    /// The chain on each device.
    pub(super) fn prepare(&self, schema: &SchemaRef, query: &Query, pool: &Arc<ThreadPool>) -> Vec<Prepared> {
        let prepare = |&wanted: &Wanted| {
            let (device, strict) = (wanted.device(), wanted == Wanted::Gpu);
            let placement = Placement { device, adapter: self.adapter.clone(), strict, ..Placement::default() };
            Prepared { wanted, engine: Engine::compile(schema, query, placement, pool) }
        };
        self.wanted.iter().map(prepare).collect()
    }
}

impl Prepared {
    /// Whether the answer is that of the CPU, to the last bit.
    ///
    /// # Errors
    /// The first difference.
    pub(super) fn check(
        &mut self,
        run: &dyn Fn(&Engine) -> Result<RecordBatch>,
        cpu: &RecordBatch,
        keys: usize,
    ) -> Result<()> {
        let Ok(engine) = &self.engine else { return Ok(()) };
        match run(engine) {
            Ok(answer) => compare(&answer, cpu, keys, Other { name: "the cpu", rounds: false, sums: &[] }),
            Err(error) => {
                self.engine = Err(error);
                Ok(())
            }
        }
    }

    /// What is run in turn with the others; none if the device refuses.
    pub(super) fn runs<'a>(&'a self, run: &'a dyn Fn(&Engine) -> Result<RecordBatch>) -> Option<Run<'a>> {
        let engine = self.engine.as_ref().ok()?;
        engine.choices();
        Some(Box::new(move || Ok(Box::new(run(engine)?) as Box<dyn Any>)))
    }

    /// The lines of this device, with the times that were measured.
    pub(super) fn lines(
        &self,
        times: Option<Times>,
        resident: impl FnOnce() -> Result<OnDevice>,
    ) -> Result<Vec<OnDevice>> {
        let name = if self.wanted == Wanted::Gpu { "gpu_with_copies" } else { "auto" };
        let line = |outcome, note| OnDevice { name, outcome, bandwidth: None, note };
        let engine = match &self.engine {
            Err(error) => return Ok(vec![line(Outcome::Refused(error.message().to_owned()), None)]),
            Ok(engine) => engine,
        };
        let times = times.ok_or_else(|| Error::internal("a device was not measured"))?;
        let choices = engine.choices();
        let note = choices.first().map(|choice| {
            format!("{} rows on the cpu, {} on the gpu; {}", choice.cpu_rows, choice.gpu_rows, choice.reason)
        });
        let mut lines = vec![line(Outcome::Measured(times), note)];
        if self.wanted == Wanted::Gpu {
            lines.push(resident()?);
        }
        Ok(lines)
    }
}

/// The time on the device alone, by one thread.
#[cfg(feature = "gpu")]
pub(super) fn resident(
    beside: &Beside,
    query: &Query,
    rows: &RecordBatch,
    batches: &[RecordBatch],
    runs: usize,
) -> Result<OnDevice> {
    use crate::clock::SystemClock;
    use crate::dispatch::{Dispatcher, calibrate};
    use crate::kernels::gpu::{GpuBackend, Stopwatch, Wish};

    let stopwatch = Stopwatch::new(Arc::new(SystemClock::new()));
    let wish = Wish { adapter: beside.adapter.clone(), ..Wish::default() };
    let backend = GpuBackend::open_timed(wish, Some(stopwatch.clone()))?.strict();
    let bandwidth = calibrate(backend.adapter())?.rates.copy;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = Arc::new(pool.map_err(|error| Error::internal("a thread could not be started").because(error))?);
    let engine = Engine::compile_on(&rows.schema(), query, &Dispatcher::only(Arc::new(backend)), &pool)?;
    let mut times = Vec::with_capacity(runs);
    // The first time shaders are compiled and buffers made.
    for _ in 0..=runs {
        stopwatch.take();
        engine.run_in_turn(batches)?;
        times.push(stopwatch.take());
    }
    let outcome = Outcome::Measured(Times::of(times.split_off(1))?);
    Ok(OnDevice { name: "gpu_resident", outcome, bandwidth: Some(bandwidth), note: None })
}

#[cfg(not(feature = "gpu"))]
pub(super) fn resident(_: &Beside, _: &Query, _: &RecordBatch, _: &[RecordBatch], _: usize) -> Result<OnDevice> {
    Err(Error::internal("a device was measured without the feature `gpu`"))
}
