//! The GPU backend: fused stages as compute shaders on any Vulkan, Metal or DX12 adapter, with the bits of the CPU.
//!
//! A stage becomes a `plan`: the columns that travel (`columns`), WGSL made of the user's expressions (`code`) around
//! the operations in `shaders/`, and what comes back: rows (`rows`) or groups (`groups`, `reduce`). Rows go up packed
//! (`pack`); groups come back as exact totals, which the CPU's end of the stage takes in, so that partials of both
//! merge. A device is a disposable cache: whatever goes wrong with it (`trouble`), the batch is run again on the CPU.
//! What cannot run here with the bits of the CPU is refused, with the reason in one sentence.

mod adapters;
mod cached;
mod calibrate;
mod code;
mod columns;
mod device;
mod feed;
mod fit;
mod grid;
mod groups;
mod holder;
mod kept;
mod kind;
mod line;
mod narrow;
mod pack;
mod patience;
mod pipelines;
mod plan;
mod prune;
mod reduce;
mod reduction;
mod rows;
mod shader;
mod stage;
mod stopwatch;
mod task;
mod tier;
mod traffic;
mod trouble;
mod worker;

use std::sync::Arc;

pub use self::adapters::{AdapterInfo, Wish, adapters};
pub use self::cached::PipelineStore;
pub use self::calibrate::Rates;
use self::holder::Holder;
pub use self::kept::{StatePlace, StateWork};
use self::plan::StagePlan;
pub use self::shader::Spread;
pub use self::stage::GpuStage;
pub use self::stopwatch::Stopwatch;
pub use self::task::{GATHERED_BYTES_MAX, GpuTask, gathered_bytes};
pub use self::tier::Tier;
pub use self::traffic::Traffic;
use self::trouble::Record;
pub use self::trouble::{Counts, Fault, Faults, OpeningFault};
use super::cpu::stage::CpuStage;
use super::{Backend, PreparedStage};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::stage::{End, Registry, Stage};

/// Runs stages on one adapter.
#[derive(Debug)]
pub struct GpuBackend {
    holder: Arc<Holder>,
    record: Arc<Record>,
    faults: Faults,
    is_strict: bool,
}

impl GpuBackend {
    /// Opens a device on the adapter that is meant.
    ///
    /// # Errors
    /// `NotFound` if there is no such adapter, `Unsupported` if it gives no device, or none within half a minute.
    pub fn open(wish: Wish) -> Result<Self> {
        Self::open_timed(wish, None)
    }

    /// As [`GpuBackend::open`], with a stopwatch for the work on the device alone.
    ///
    /// # Errors
    /// As [`GpuBackend::open`].
    pub fn open_timed(wish: Wish, stopwatch: Option<Stopwatch>) -> Result<Self> {
        let holder = Arc::new(Holder::open(wish, stopwatch, None)?);
        Ok(Self { holder, record: Arc::default(), faults: Faults::default(), is_strict: false })
    }

    /// As [`GpuBackend::open`], with trouble made on purpose from the first opening on. For tests.
    ///
    /// # Errors
    /// As [`GpuBackend::open`].
    pub fn open_faulty(wish: Wish, faults: Faults) -> Result<Self> {
        let holder = Arc::new(Holder::open(wish, None, faults.next_opening())?);
        Ok(Self { holder, record: Arc::default(), faults, is_strict: false })
    }

    /// The same backend, for which a batch that does not run on the device is an error.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.is_strict = true;
        self
    }

    /// The same backend, with trouble made on purpose. For tests.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.faults = faults;
        self
    }

    /// Another backend on the same device, which counts for itself what it does.
    #[must_use]
    pub fn beside(&self) -> Self {
        let (holder, faults) = (Arc::clone(&self.holder), self.faults.clone());
        Self { holder, record: Arc::default(), faults, is_strict: self.is_strict }
    }

    /// Measures the device and the way to it, in a fraction of a second.
    ///
    /// # Errors
    /// `Unsupported` if it does not even copy bytes, or not within half a minute.
    pub fn calibrate(&self, clock: &Arc<dyn Clock>) -> Result<Rates> {
        self.holder.measure(Arc::clone(clock), self.faults.next_opening())
    }

    /// Prepares a stage whose tasks can be told, piece by piece, what to run on the device.
    ///
    /// # Errors
    /// As [`Backend::prepare`].
    pub fn prepare_stage(&self, stage: &Stage, registry: &Registry) -> Result<GpuStage> {
        let plan = StagePlan::of(stage, self.tier()).map_err(|reason| Error::new(ErrorKind::Unsupported, reason))?;
        let cpu = CpuStage::prepare(stage, registry)?;
        let (holder, record) = (Arc::clone(&self.holder), Arc::clone(&self.record));
        GpuStage::new(holder, record, self.faults.clone(), self.is_strict, plan, cpu)
    }

    /// The adapter.
    pub fn adapter(&self) -> &AdapterInfo {
        &self.holder.adapter
    }

    /// Waits for a device that is being opened in the place of one that was lost.
    pub fn settle(&self) {
        self.holder.settle();
    }

    /// What the device has done so far.
    pub fn counts(&self) -> Counts {
        Counts { submissions: self.holder.latest().submissions(), ..self.record.counts() }
    }

    fn tier(&self) -> Tier {
        self.holder.latest().tier
    }
}

impl Backend for GpuBackend {
    fn name(&self) -> &'static str {
        "gpu"
    }

    fn manner(&self) -> Option<String> {
        Some(format!("{} with {}", self.holder.adapter, self.tier()))
    }

    fn supports(&self, stage: &Stage) -> Result<(), String> {
        StagePlan::of(stage, self.tier()).map(drop)
    }

    fn leaves(&self, stage: &Stage) -> Option<String> {
        leaves(stage, self.tier())
    }

    fn group_ids(&self, stage: &Stage) -> Option<String> {
        StagePlan::of(stage, self.tier()).ok()?.group_ids()
    }

    fn prepare(&self, stage: &Stage, registry: &Registry) -> Result<Arc<dyn PreparedStage>> {
        Ok(Arc::new(self.prepare_stage(stage, registry)?))
    }
}

/// Why no device runs a stage, in one sentence; none if there may be one that does.
pub fn refusal(stage: &Stage) -> Option<String> {
    StagePlan::of(stage, Tier::Portable).err()
}

/// What of a stage that runs on a device is left to the CPU, if anything.
fn leaves(stage: &Stage, tier: Tier) -> Option<String> {
    let left = match &stage.end {
        End::Emit | End::Reduce { .. } => None,
        End::Keep(_) => {
            let plan = StagePlan::of(stage, tier).ok()?;
            return match plan.kept()? {
                Err(reason) => Some(format!("what is kept from batch to batch on the cpu, because {reason}")),
                Ok(kept) => kept.best.as_ref().map(|best| match best {
                    Ok(_) => "the first groups picked there".to_owned(),
                    Err(reason) => format!("the first groups picked on the cpu, because {reason}"),
                }),
            };
        }
        End::MapState(_) | End::FoldWindows(_) | End::DropDuplicates(_) | End::JoinStreams(_) => None,
        End::Sort { .. } => Some("sorting"),
        End::Distinct { .. } => Some("finding distinct rows"),
        End::Limit(_) => Some("the limit"),
        End::Repartition(_) => Some("repartitioning"),
        End::ReduceWith { .. } | End::Transform { .. } => Some("your function"),
    };
    left.map(|left| format!("{left} on the cpu"))
}

/// All shaders of a stage for a tier, each with its name, without any device. For tests.
///
/// # Errors
/// Why the stage does not run on a device, in one sentence.
pub fn shaders(stage: &Stage, tier: Tier) -> Result<Vec<(&'static str, String)>, String> {
    let mut plan = StagePlan::of(stage, tier)?;
    Ok(plan.shaders().into_iter().map(|shader| (shader.operation.name(), shader.text.clone())).collect())
}
