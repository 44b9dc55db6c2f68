//! What a task notes beside what it computes: of time, of rules, and where its rows went.

use crate::kernels::{Findings, Flow, Sighting};

/// The notes of one task.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) sighting: Sighting,
    pub(super) findings: Findings,
    pub(super) flow: Flow,
}

/// What a step does to the number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It leaves rows out.
    Filters,
    /// It makes any number of them.
    Changes,
    /// Nothing, or it counts for itself.
    None,
}

impl Seen {
    /// What rules found since the last call.
    pub(super) fn take_findings(&mut self) -> Findings {
        self.flow.rejected += self.findings.dropped;
        self.flow.quarantined += self.findings.quarantined;
        std::mem::take(&mut self.findings)
    }

    /// Notes what a step made of some rows.
    pub(super) fn note(&mut self, effect: Effect, came: usize, went: usize) {
        match effect {
            Effect::Filters => self.flow.filter(came, went),
            Effect::Changes => self.flow.change(came, went),
            Effect::None => {}
        }
    }

    /// Where all rows went so far. Findings have been taken.
    pub(super) fn flow(&self) -> Flow {
        Flow { late: self.sighting.late + self.sighting.untimed, ..self.flow }
    }
}
