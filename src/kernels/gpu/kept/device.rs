//! What is kept, in the memory of one device: loading it, growing, taking a batch in, telling what that has changed and
//! picking the best groups, all in one submission.

#![expect(clippy::cast_possible_truncation, reason = "numbers of groups and places in buffers are words of 32 bits")]

use std::num::NonZeroU64;
use std::sync::Arc;

use super::best::{BestPlan, DIGITS, Picked, Question};
use super::layout::Field;
use super::plan::KeptPlan;
use crate::kernels::gpu::device::Device;
use crate::kernels::gpu::line::Line;
use crate::kernels::gpu::pipelines::Pipelines;
use crate::kernels::gpu::shader::TILE;
use crate::kernels::gpu::stage::Shared;
use crate::kernels::gpu::trouble::{Fault, Trouble};
use crate::kernels::gpu::worker::{Role, Worker};

/// Bytes on whose multiples a shader may begin to see a buffer, on every device.
const ALIGNMENT: usize = 256;

/// Workgroups that walk over groups.
const WORKGROUPS_MAX: usize = 4096;

/// Words that shaders count: invocations that walk over them may step behind the last one.
const WORDS_MAX: usize = 1 << 31;

/// What is kept, on one device.
pub(super) struct OnDevice {
    line: Line,
    /// Words of a group.
    words: usize,
}

/// What a batch asks for.
pub(super) struct Batch {
    /// Groups that are taken in.
    pub(super) deltas: Vec<Delta>,
    /// How many groups there are before and after that.
    pub(super) groups: (usize, usize),
    /// Those whose words come back.
    pub(super) back: Vec<u32>,
    /// How the best of the first groups, or of these, are picked.
    pub(super) best: Option<(Question, Vec<u32>)>,
}

/// What comes back of a batch.
pub(super) struct Back {
    pub(super) words: Vec<u32>,
    /// None if no groups were asked for, or all are to be looked at.
    pub(super) picked: Option<Picked>,
}

/// Groups to be taken in.
pub(super) struct Delta {
    /// What they hold.
    pub(super) given: Given,
    /// Words of one of them.
    pub(super) words: usize,
    pub(super) fields: Vec<Field>,
    /// For each its number there, and its number among those that are kept.
    pub(super) pairs: Vec<[u32; 2]>,
}

/// Where groups lie that are to be taken in.
pub(super) enum Given {
    /// On the device; none only if a buffer was let go of that is needed.
    There(Option<wgpu::Buffer>),
    /// With the host.
    Here(Vec<u32>),
}

impl OnDevice {
    /// Sends what is kept to a device: so many words a group, and room for so many groups at least.
    pub(super) fn load(
        mut line: Line,
        fault: Option<Fault>,
        kept: Arc<Vec<u32>>,
        words: usize,
        room: usize,
    ) -> Result<Self, Trouble> {
        let room = room.max(kept.len() / words) * words * 4;
        line.run(fault, move |worker| {
            worker.fresh(Role::State, room as u64)?;
            worker.send(Role::State, &kept)
        })?;
        Ok(Self { line, words })
    }

    pub(super) fn device(&self) -> &Arc<Device> {
        self.line.device()
    }

    /// Words of a group.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// Runs what a batch asks for, in one submission.
    pub(super) fn run(
        &mut self,
        shared: &Arc<Shared>,
        pipelines: &Arc<Pipelines>,
        fault: Option<Fault>,
        batch: Batch,
    ) -> Result<Back, Trouble> {
        let (words, shared, pipelines) = (self.words, Arc::clone(shared), Arc::clone(pipelines));
        self.line.run(fault, move |worker| match shared.plan.kept() {
            Some(Ok(plan)) => run(worker, plan, &pipelines, words, batch),
            _ => Err(Trouble::Rejected("groups are kept on a device, but their plan is not".to_owned())),
        })
    }
}

/// Groups that are to be taken in, as a buffer.
fn buffer(worker: &mut Worker, given: Given) -> Result<wgpu::Buffer, Trouble> {
    let role = Role::MaskOrKeys;
    let buffer = match given {
        Given::There(buffer) => buffer,
        Given::Here(words) => {
            worker.fresh(role, 4 * words.len().max(1) as u64)?;
            worker.send(role, &words)?;
            worker.take(role)
        }
    };
    buffer.ok_or_else(|| Trouble::Rejected("groups could not be sent".to_owned()))
}

fn run(
    worker: &mut Worker,
    plan: &KeptPlan,
    pipelines: &Pipelines,
    words: usize,
    batch: Batch,
) -> Result<Back, Trouble> {
    let (before, after) = batch.groups;
    if after * words > WORDS_MAX {
        return Err(Trouble::TooLarge(format!("{after} groups have more words than shaders count")));
    }
    let mut sent = Sent::default();
    for delta in &batch.deltas {
        sent.delta(delta, words);
    }
    let rows = sent.section([batch.back.len() as u32, words as u32].into_iter().chain(batch.back.iter().copied()));
    let best = plan.best.as_ref().and_then(|best| best.as_ref().ok()).zip(batch.best);
    let best = best.map(|(best, (question, list))| {
        let section = sent.section(question.head.iter().copied().chain(list));
        (best, question, section)
    });
    let wanted = (batch.back.len() * words * 4) as u64;
    worker.room(Role::Batch, 4 * sent.words.len() as u64)?;
    worker.room(Role::Status, 16)?;
    worker.room(Role::OutputOrTable, wanted.max(4))?;
    if let Some((_, question, _)) = &best {
        worker.room(Role::TilesOrTickets, 8 * question.items.max(1) as u64)?;
        worker.room(Role::Groups, question.found_bytes().0)?;
    }
    let given = batch.deltas.into_iter().map(|delta| Ok((buffer(worker, delta.given)?, delta.pairs.len())));
    let given = given.collect::<Result<Vec<_>, Trouble>>()?;
    let smaller = grow(worker, (before, after), words)?;
    worker.send(Role::Batch, &sent.words)?;
    let mut encoder = worker.begin()?;
    if let Some(smaller) = &smaller {
        worker.copy(&mut encoder, smaller, Role::State, (before * words * 4) as u64)?;
    }
    let merge = pipelines.get(&plan.merge)?;
    for ((given, groups), part) in given.into_iter().zip(&sent.deltas) {
        worker.put(Role::MaskOrKeys, given);
        worker.run_on(&mut encoder, &merge, workgroups(groups), *part)?;
    }
    if wanted > 0 {
        worker.run_on(&mut encoder, &pipelines.get(&plan.rows)?, workgroups(batch.back.len() * words), rows)?;
    }
    let mut back = vec![(Role::OutputOrTable, 0, wanted)];
    if let Some((best, question, part)) = &best {
        pick(worker, pipelines, (best, question, *part), &mut encoder)?;
        back.push((Role::Groups, 0, question.found_bytes().0));
    }
    let (_, mut parts) = worker.finish(encoder, &back)?;
    worker.take(Role::MaskOrKeys);
    let found = best.as_ref().and_then(|_| parts.pop());
    let picked = best.zip(found).and_then(|((_, question, _), found)| question.answer(&found));
    Ok(Back { words: parts.pop().unwrap_or_default(), picked })
}

/// The words that go up: sections, of which shaders see one each.
#[derive(Default)]
struct Sent {
    words: Vec<u32>,
    deltas: Vec<Section>,
}

/// The first byte, and how many; none if there are none.
type Section = Option<(u64, NonZeroU64)>;

impl Sent {
    fn section(&mut self, words: impl Iterator<Item = u32>) -> Section {
        let from = self.words.len();
        self.words.extend(words);
        let size = 4 * (self.words.len() - from) as u64;
        self.words.resize(self.words.len().next_multiple_of(ALIGNMENT / 4), 0);
        NonZeroU64::new(size).map(|size| (4 * from as u64, size))
    }

    fn delta(&mut self, delta: &Delta, words: usize) {
        let fields = delta.fields.as_flattened();
        let head = [delta.pairs.len(), delta.fields.len(), delta.words, words, 5 + fields.len()];
        let head = head.into_iter().map(|number| number as u32);
        let section = self.section(head.chain(fields.iter().chain(delta.pairs.as_flattened()).copied()));
        self.deltas.push(section);
    }
}

/// Enough to walk over so many groups or words.
fn workgroups(work: usize) -> u32 {
    work.div_ceil(TILE).min(WORKGROUPS_MAX) as u32
}

/// Records that the best groups are picked.
fn pick(
    worker: &Worker,
    pipelines: &Pipelines,
    (plan, question, part): (&BestPlan, &Question, Section),
    encoder: &mut wgpu::CommandEncoder,
) -> Result<(), Trouble> {
    worker.clear(encoder, Role::Groups, question.found_bytes().1)?;
    let all = workgroups(question.items).max(1);
    worker.run_on(encoder, &pipelines.get(&plan.rank)?, all, part)?;
    if !question.takes_all() {
        let (digit, bound) = (pipelines.get(&plan.digit)?, pipelines.get(&plan.bound)?);
        for _ in 0..DIGITS {
            worker.run_on(encoder, &digit, all, part)?;
            worker.run_on(encoder, &bound, 1, part)?;
        }
    }
    worker.run_on(encoder, &pipelines.get(&plan.pick)?, all, part)
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
