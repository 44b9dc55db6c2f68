//! Where a stage runs, and why.
//!
//! A [`Dispatcher`] holds the backends of a query. It asks each whether it can run a stage, places the stage when the
//! query starts, and tells the reason in one sentence, which `explain` prints.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::kernels::cpu::CpuBackend;
use crate::kernels::reference_stage::ReferenceBackend;
use crate::kernels::{Backend, PreparedStage};
use crate::plan::stage::{Registry, Stage};

/// What the user wants stages to run on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// Whatever is fastest.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The slow, obvious kernels that all others are tested against. For finding out who is wrong.
    Reference,
}

/// The backends of a query.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    device: Device,
    backends: Vec<Arc<dyn Backend>>,
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
    pub fn new(device: Device) -> Self {
        let backend: Arc<dyn Backend> = match device {
            Device::Auto | Device::Cpu => Arc::new(CpuBackend::new()),
            Device::Reference => Arc::new(ReferenceBackend::new()),
        };
        Self { device, backends: vec![backend] }
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
                    let reason = match self.device {
                        Device::Auto => "the only backend in this program",
                        Device::Cpu | Device::Reference => "as asked",
                    };
                    let manner = backend.manner().map(|manner| format!(", by {manner}")).unwrap_or_default();
                    return Ok((Arc::clone(backend), format!("{reason}{manner}")));
                }
                Err(reason) => refusals.push(format!("{}: {reason}", backend.name())),
            }
        }
        let message = format!("stage {} runs nowhere: {}", stage.id.0, refusals.join("; "));
        Err(Error::new(ErrorKind::Unsupported, message))
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
