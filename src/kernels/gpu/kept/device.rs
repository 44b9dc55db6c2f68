//! What is kept, in the memory of one device: loading it, growing, taking a batch in and telling what that has changed, all
//! in one submission.

#![expect(clippy::cast_possible_truncation, reason = "numbers of groups and places in buffers are words of 32 bits")]

use std::num::NonZeroU64;
use std::sync::Arc;

use super::layout::Field;
use super::plan::KeptPlan;
use crate::kernels::gpu::device::Device;
use crate::kernels::gpu::pipelines::Pipelines;
use crate::kernels::gpu::shader::TILE;
use crate::kernels::gpu::trouble::Trouble;
use crate::kernels::gpu::worker::{Role, Worker};

/// Bytes on whose multiples a shader may begin to see a buffer, on every device.
const ALIGNMENT: usize = 256;

/// Workgroups that walk over groups.
const WORKGROUPS_MAX: usize = 4096;

/// Words that shaders count: invocations that walk over them may step behind the last one.
const WORDS_MAX: usize = 1 << 31;

/// What is kept, on one device.
pub(super) struct OnDevice {
    pub(super) worker: Worker,
    /// Words of a group.
    words: usize,
}

/// Groups to be taken in.
pub(super) struct Delta {
    /// What they hold.
    pub(super) given: wgpu::Buffer,
    /// Words of one of them.
    pub(super) words: usize,
    pub(super) fields: Vec<Field>,
    /// For each its number there, and its number among those that are kept.
    pub(super) pairs: Vec<[u32; 2]>,
}

impl OnDevice {
    /// Sends what is kept to a device: so many words a group, and room for so many groups at least.
    pub(super) fn load(mut worker: Worker, kept: &[u32], words: usize, room: usize) -> Result<Self, Trouble> {
        let room = room.max(kept.len() / words) * words * 4;
        worker.fresh(Role::State, room as u64)?;
        worker.send(Role::State, kept)?;
        Ok(Self { worker, words })
    }

    pub(super) fn device(&self) -> &Arc<Device> {
        &self.worker.device
    }

    /// Words of a group.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// Groups from the host, which become a buffer.
    pub(super) fn given(&mut self, words: &[u32]) -> Result<wgpu::Buffer, Trouble> {
        let role = Role::MaskOrKeys;
        self.worker.fresh(role, 4 * words.len().max(1) as u64)?;
        self.worker.send(role, words)?;
        self.worker.take(role).ok_or_else(|| Trouble::Rejected("groups could not be sent".to_owned()))
    }

    /// Takes groups in, so that of `before` groups there are `after`; gives the words of the groups `changed`.
    pub(super) fn merge(
        &mut self,
        plan: &KeptPlan,
        pipelines: &Pipelines,
        deltas: &[Delta],
        (before, after): (usize, usize),
        changed: &[u32],
    ) -> Result<Vec<u32>, Trouble> {
        let (merge, rows) = (pipelines.get(&plan.merge)?, pipelines.get(&plan.rows)?);
        let mut sent = Vec::new();
        let mut sections = Vec::with_capacity(deltas.len() + 1);
        let mut section = |words: &mut dyn Iterator<Item = u32>| {
            let from = sent.len();
            sent.extend(words);
            let size = 4 * (sent.len() - from) as u64;
            sent.resize(sent.len().next_multiple_of(ALIGNMENT / 4), 0);
            sections.push(NonZeroU64::new(size).map(|size| (4 * from as u64, size)));
        };
        for delta in deltas {
            let pairs_at = 5 + delta.fields.as_flattened().len();
            let head = [delta.pairs.len(), delta.fields.len(), delta.words, self.words, pairs_at];
            let head = head.into_iter().map(|number| number as u32);
            let fields = delta.fields.as_flattened().iter().copied();
            section(&mut head.chain(fields).chain(delta.pairs.as_flattened().iter().copied()));
        }
        section(&mut [changed.len() as u32, self.words as u32].into_iter().chain(changed.iter().copied()));
        let wanted = (changed.len() * self.words * 4) as u64;
        if after * self.words > WORDS_MAX {
            return Err(Trouble::TooLarge(format!("{after} groups have more words than shaders count")));
        }
        let worker = &mut self.worker;
        worker.room(Role::Batch, 4 * sent.len() as u64)?;
        worker.room(Role::Status, 16)?;
        worker.room(Role::OutputOrTable, wanted.max(4))?;
        let smaller = grow(worker, (before, after), self.words)?;
        worker.send(Role::Batch, &sent)?;
        let mut encoder = worker.begin()?;
        if let Some(smaller) = &smaller {
            worker.copy(&mut encoder, smaller, Role::State, (before * self.words * 4) as u64)?;
        }
        let workgroups = |work: usize| work.div_ceil(TILE).min(WORKGROUPS_MAX) as u32;
        for (delta, part) in deltas.iter().zip(&sections) {
            worker.put(Role::MaskOrKeys, delta.given.clone());
            worker.run_on(&mut encoder, &merge, workgroups(delta.pairs.len()), *part)?;
        }
        if let (Some(part), true) = (sections.last(), wanted > 0) {
            worker.run_on(&mut encoder, &rows, workgroups(changed.len() * self.words), *part)?;
        }
        let (_, mut parts) = worker.finish(encoder, &[(Role::OutputOrTable, 0, wanted)])?;
        worker.take(Role::MaskOrKeys);
        Ok(parts.pop().unwrap_or_default())
    }
}

/// Doubles the memory of what is kept, if it is too small; gives what it was before.
fn grow(worker: &mut Worker, (before, after): (usize, usize), words: usize) -> Result<Option<wgpu::Buffer>, Trouble> {
    let bytes = (after * words * 4) as u64;
    if worker.size(Role::State) >= bytes {
        return Ok(None);
    }
    let doubled = (2 * before * words * 4) as u64;
    let smaller = worker.take(Role::State);
    worker.fresh(Role::State, doubled.min(worker.bytes_max() / 4 * 4).max(bytes))?;
    Ok(smaller.filter(|_| before > 0))
}
