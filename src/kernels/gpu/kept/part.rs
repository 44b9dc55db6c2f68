//! What a task hands over where groups stay on the device: parts of its rows, in order, some of them on the device and some
//! with the CPU.
//!
//! The rows of what lies on the device are held until they have been taken in: if it is lost, the CPU runs them.

use std::fmt;

use arrow_array::{ArrayRef, RecordBatch};

use crate::error::{Error, Result};
use crate::kernels::cpu::reduce::Groups;
use crate::kernels::cpu::stage::CpuStage;
use crate::kernels::gpu::device::Lent;
use crate::kernels::gpu::reduction::FloatSlots;
use crate::kernels::{Moment, Partial};

/// Bytes of rows and groups that a task leaves with a device at most; what is more comes back, piece by piece.
pub(in crate::kernels::gpu) const LEFT_BYTES_MAX: u64 = 256 << 20;

/// What a task hands over.
#[derive(Default)]
pub(in crate::kernels::gpu) struct Parts {
    pub(in crate::kernels::gpu) parts: Vec<Part>,
    /// When the batch was cut.
    pub(in crate::kernels::gpu) moment: Moment,
}

/// A part of the rows of a task.
pub(in crate::kernels::gpu) enum Part {
    Left(Left),
    Here(Box<Groups>),
    /// Rows that were left on a device that has taken them in.
    Rows(Vec<RecordBatch>),
}

impl Part {
    /// How many groups it has, as far as that is known.
    pub(super) fn groups(&self) -> usize {
        match self {
            Self::Left(left) => left.groups.len(),
            Self::Here(groups) => groups.len(),
            Self::Rows(_) => 0,
        }
    }
}

/// Groups that lie on a device.
pub(in crate::kernels::gpu) struct Left {
    /// What they hold, `stride` slots each.
    pub(in crate::kernels::gpu) slots: Lent,
    pub(in crate::kernels::gpu) stride: usize,
    pub(in crate::kernels::gpu) floats: Vec<FloatSlots>,
    /// Their numbers there, and their keys, in the order of their first rows.
    pub(in crate::kernels::gpu) groups: Vec<u32>,
    pub(in crate::kernels::gpu) keys: Vec<ArrayRef>,
    /// All rows.
    pub(in crate::kernels::gpu) pieces: Vec<RecordBatch>,
}

impl Parts {
    pub(in crate::kernels::gpu) fn at(moment: &Moment) -> Self {
        Self { parts: Vec::new(), moment: *moment }
    }

    /// What tasks handed over, in order; those that leave nothing on a device hand over what the CPU's do.
    pub(super) fn of(partials: Vec<Partial>) -> Result<Self> {
        let mut all = Self::default();
        for partial in partials {
            match partial {
                Partial::Groups(any) if any.is::<Self>() => {
                    let parts = any.downcast::<Self>().map_err(|_| foreign())?;
                    all.moment = parts.moment;
                    all.parts.extend(parts.parts);
                }
                other => all.parts.push(Part::Here(Box::new(CpuStage::groups_of(other)?))),
            }
        }
        Ok(all)
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}

fn foreign() -> Error {
    Error::internal("what stays on a device was given the partials of another stage")
}
