//! Where a stage runs, and why.
//!
//! A [`Dispatcher`] holds the backends of a query. It asks each whether it can run a stage, places the stage when the
//! query starts, and tells the reason in one sentence, which `explain` prints. A stage that may run on either device
//! (`auto`) chooses anew for each piece of a batch, by what was measured (`chooser`) on the GPU that was found (`search`).

#[cfg(feature = "gpu")]
mod auto;
#[cfg(feature = "gpu")]
mod auto_state;
#[cfg(feature = "gpu")]
mod auto_task;
#[cfg(feature = "gpu")]
mod calibration;
#[cfg(feature = "gpu")]
mod chooser;
#[cfg(feature = "gpu")]
mod pipelines;
#[cfg(feature = "gpu")]
mod search;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

#[cfg(feature = "gpu")]
pub use self::calibration::Calibration;
#[cfg(feature = "gpu")]
pub use self::search::{calibrate, settle};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cpu::CpuBackend;
use crate::kernels::reference_stage::ReferenceBackend;
use crate::kernels::{Backend, PreparedStage};
use crate::plan::stage::{Registry, Stage};

/// What the user wants stages to run on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// Whichever is faster, by what was measured. A software adapter is only considered if it is named.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A GPU; what does not run there runs on the CPU.
    Gpu,
    /// The slow, obvious kernels that all others are tested against. For finding out who is wrong.
    Reference,
}

/// What the user wants stages to run on, in full. A [`Device`] alone will do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// The device.
    pub device: Device,
    /// Part of the name of the GPU's adapter; without it `PELTON_ADAPTER`, else the most able one that is no software.
    pub adapter: Option<String>,
    /// Whether it is an error if a stage or a batch does not run on the device that was asked for.
    pub strict: bool,
    /// Whether what was measured of a GPU and compiled for it is not kept in files for the next run (see `docs/gpu.md`).
    pub without_cache: bool,
}

impl From<Device> for Placement {
    fn from(device: Device) -> Self {
        Self { device, ..Self::default() }
    }
}

/// The backends of a query.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    placement: Placement,
    /// Those that serve the wish, the first choice first.
    backends: Vec<Arc<dyn Backend>>,
    /// Why the first choice is not there at all.
    missing: Option<String>,
    /// What chooses between the CPU and a GPU, if it is to be chosen; it is the first backend then.
    #[cfg(feature = "gpu")]
    auto: Option<Arc<auto::AutoBackend>>,
}

/// A stage in its place.
pub struct Placed {
    /// The backend's name.
    pub backend: String,
    /// Why there, in one sentence.
    pub reason: String,
    /// The stage, ready to run.
    pub stage: Arc<dyn PreparedStage>,
}

impl fmt::Debug for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Placed").field("backend", &self.backend).field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl Dispatcher {
    /// The backends that serve this wish.
    pub fn new(placement: impl Into<Placement>) -> Self {
        let placement = placement.into();
        let cpu = || -> Arc<dyn Backend> { Arc::new(CpuBackend::new()) };
        #[cfg(feature = "gpu")]
        if placement.device == Device::Auto {
            return Self::auto(placement);
        }
        let (backends, missing) = match placement.device {
            Device::Auto | Device::Cpu => (vec![cpu()], None),
            Device::Reference => (vec![Arc::new(ReferenceBackend::new()) as Arc<dyn Backend>], None),
            Device::Gpu => match gpu(&placement) {
                Ok(gpu) if placement.strict => (vec![gpu], None),
                Ok(gpu) => (vec![gpu, cpu()], None),
                Err(error) => (Vec::new(), Some(error)),
            },
        };
        let missing = missing.map(|error| error.to_string());
        Self {
            placement,
            backends,
            missing,
            #[cfg(feature = "gpu")]
            auto: None,
        }
    }

    /// With nothing but this backend.
    #[cfg(feature = "gpu")]
    pub(crate) fn only(backend: Arc<dyn Backend>) -> Self {
        let placement = Placement { device: Device::Gpu, strict: true, ..Placement::default() };
        Self { placement, backends: vec![backend], missing: None, auto: None }
    }

    /// With a choice between the CPU and a GPU, if there may be one.
    #[cfg(feature = "gpu")]
    fn auto(placement: Placement) -> Self {
        let named = adapter(&placement);
        let search = search::Search::of(named.clone(), !placement.without_cache);
        let missing = match named {
            // Who names an adapter expects it to be there from the first batch on. What else goes wrong than that there is none
            // is told by the stages, which run on the CPU.
            Some(_) => {
                let error = search.now().err().filter(|error| error.kind() == ErrorKind::NotFound);
                error.map(ToString::to_string)
            }
            None if search::may_be_there() => None,
            None => Some("there is no GPU here".to_owned()),
        };
        let cpu: Arc<dyn Backend> = Arc::new(CpuBackend::new());
        let auto = missing.is_none().then(|| Arc::new(auto::AutoBackend::new(search)));
        let first = auto.iter().map(|auto| Arc::clone(auto) as Arc<dyn Backend>);
        Self { placement, backends: first.chain([cpu]).collect(), missing, auto }
    }

    /// A stage's backend and the reason for it.
    ///
    /// # Errors
    /// `Unsupported` if no backend can run the stage, with the reason of each.
    pub fn choose(&self, stage: &Stage) -> Result<(Arc<dyn Backend>, String)> {
        let mut refusals = Vec::new();
        for backend in &self.backends {
            match backend.supports(stage) {
                Ok(()) => {
                    let manner = backend.manner().map(|manner| format!(", by {manner}")).unwrap_or_default();
                    return Ok((
                        Arc::clone(backend),
                        format!("{}{manner}", self.reason(stage, backend.as_ref(), &refusals)),
                    ));
                }
                // What may run on either is refused by the GPU.
                Err(reason) if self.placement.device == Device::Auto => refusals.push(format!("gpu: {reason}")),
                Err(reason) => refusals.push(format!("{}: {reason}", backend.name())),
            }
        }
        refusals.extend(self.missing.clone());
        let message = format!("stage {} runs nowhere: {}", stage.id.0, refusals.join("; "));
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    /// Why a stage runs on this backend.
    fn reason(&self, stage: &Stage, backend: &dyn Backend, refusals: &[String]) -> String {
        if let Some(refusal) = refusals.first() {
            return format!("not on the {refusal}");
        }
        match self.placement.device {
            Device::Auto => self.outlook(stage),
            _ => match backend.leaves(stage) {
                Some(rest) => format!("as asked, with {rest}"),
                None => "as asked".to_owned(),
            },
        }
    }

    /// What `auto` expects of a stage that no backend refuses.
    #[cfg(feature = "gpu")]
    fn outlook(&self, stage: &Stage) -> String {
        match (&self.auto, &self.missing) {
            (Some(auto), _) => auto.outlook(stage),
            (None, missing) => missing.clone().unwrap_or_else(|| "there is no GPU here".to_owned()),
        }
    }

    #[cfg(not(feature = "gpu"))]
    #[expect(clippy::unused_self, reason = "as with the feature")]
    fn outlook(&self, _: &Stage) -> String {
        "this program is built without the feature `gpu`".to_owned()
    }

    /// Chooses a backend and prepares the stage there.
    ///
    /// # Errors
    /// As [`Dispatcher::choose`], and what the backend finds wrong with the stage.
    pub fn place(&self, stage: &Stage, registry: &Registry) -> Result<Placed> {
        let (backend, reason) = self.choose(stage)?;
        Ok(Placed { backend: backend.name().to_owned(), reason, stage: backend.prepare(stage, registry)? })
    }
}

/// The adapter that was named, in the placement or by the environment.
#[cfg(feature = "gpu")]
fn adapter(placement: &Placement) -> Option<String> {
    placement.adapter.clone().or_else(|| std::env::var("PELTON_ADAPTER").ok()).filter(|name| !name.is_empty())
}

#[cfg(feature = "gpu")]
fn gpu(placement: &Placement) -> Result<Arc<dyn Backend>> {
    use crate::kernels::gpu::{GpuBackend, Wish};
    let pipelines = if placement.without_cache { None } else { pipelines::store() };
    let backend = GpuBackend::open(Wish { adapter: adapter(placement), pipelines, ..Wish::default() })?;
    Ok(Arc::new(if placement.strict { backend.strict() } else { backend }))
}

#[cfg(not(feature = "gpu"))]
fn gpu(_: &Placement) -> Result<Arc<dyn Backend>> {
    Err(Error::new(ErrorKind::Unsupported, "this program is built without the feature `gpu`")
        .advice("use device = \"cpu\" or \"auto\""))
}
