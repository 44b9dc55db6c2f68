//! What moves when a row runs on a device: what the choice between it and the CPU is foretold from.

use super::plan::{StagePlan, Work};

/// What moves for a batch on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Bits of a row that go up, as they lie: of whole numbers most often fewer do.
    pub bits_up: u64,
    /// Bits of a row that come down; answers of groups are not foretold.
    pub bits_down: u64,
    /// How often the device reads what came up.
    pub passes: u64,
    /// Whether rows are put into groups.
    pub has_groups: bool,
}

impl Traffic {
    pub(super) fn of(plan: &StagePlan) -> Self {
        let bits_up = plan.columns.0.iter().map(|column| column.kind.bits() as u64).sum();
        match &plan.work {
            Work::Rows(rows) => {
                let written: u64 = rows.written.iter().map(|column| 32 * column.kind.words() as u64).sum();
                let flags = if rows.write.is_some() { 32 } else { 0 };
                let passes = u64::from(rows.mark.is_some()) + u64::from(rows.write.is_some());
                Self { bits_up, bits_down: u64::from(rows.mark.is_some()) + written + flags, passes, has_groups: false }
            }
            Work::Groups(_) => Self { bits_up, bits_down: 0, passes: 3, has_groups: true },
        }
    }
}
