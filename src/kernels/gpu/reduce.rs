//! Runs a keyed reduce on a device.
//!
//! The host chooses how groups are found, gives the table room, and doubles it when it was too small: nothing has been
//! added to any group by then. What the groups hold is read in `reduction`.

#![expect(clippy::cast_possible_truncation, reason = "numbers of rows and places in buffers are words of 32 bits")]

use super::feed::{Squares, Sum};
use super::groups::{GroupPlan, Take};
use super::pack::Gathered;
use super::pipelines::Pipelines;
use super::plan::StagePlan;
use super::reduction::{FloatSlots, Limbs, Reduction};
use super::shader::{TILE, number};
use super::trouble::Trouble;
use super::worker::{Role, Worker};

/// Groups that there is room for at first.
const GROUPS_FIRST: usize = 4096;

/// Groups by number: at most so many, or as many as there are rows.
const NUMBERS_MAX: usize = 1 << 16;

/// Workgroups that walk over the rows of a batch.
const WORKGROUPS_MAX: usize = 4096;

/// How many groups to expect.
#[derive(Debug)]
pub(super) struct Room(usize);

impl Room {
    /// For so many groups, or as many as usual.
    pub(super) fn new(first: Option<usize>) -> Self {
        Self(first.unwrap_or(GROUPS_FIRST).max(1))
    }

    /// At least as many groups as others have found.
    pub(super) fn learn(&mut self, others: usize) {
        self.0 = self.0.max(others);
    }

    /// Groups that there is room for.
    pub(super) fn groups(&self) -> usize {
        self.0
    }
}

/// How the groups of a batch are found.
enum Way<'a> {
    Number { take: &'a Take, groups: usize },
    Hash,
}

/// Runs a batch.
pub(super) fn run(
    stage: &StagePlan,
    plan: &GroupPlan,
    worker: &mut Worker,
    pipelines: &Pipelines,
    gathered: &Gathered,
    room: &mut Room,
) -> Result<Reduction, Trouble> {
    let slot_bits = worker.device.tier.slot_bits();
    let mut numbers = vec![0_u32; plan.numbers];
    let (floats, stride) = place_floats(stage, plan, gathered, slot_bits, &mut numbers);
    numbers[number::STRIDE] = stride as u32;
    let (slots, groups, count) = match way(plan, gathered, &mut numbers) {
        Way::Number { take, groups } => {
            numbers[number::GROUPS_MAX] = groups as u32;
            (by_number(take, worker, pipelines, gathered, &numbers, groups * stride * slot_bits / 8)?, groups, groups)
        }
        Way::Hash => by_hash(plan, worker, pipelines, gathered, &mut numbers, room)?,
    };
    let words = slot_bits / 32;
    let slots = slots.get(..count.min(groups) * stride * words).unwrap_or(&slots);
    let texts = plan.feeds.iter().map(|feed| gathered.values(feed.ranks(&stage.columns)?).cloned()).collect();
    Ok(Reduction::new(slots, (stride, words), floats, texts))
}

/// Gives float sums their limbs, behind all other slots; gives the slots of a group.
fn place_floats(
    stage: &StagePlan,
    plan: &GroupPlan,
    gathered: &Gathered,
    slot_bits: usize,
    numbers: &mut [u32],
) -> (Vec<FloatSlots>, usize) {
    let (mut floats, mut stride) = (Vec::new(), plan.slots);
    for feed in &plan.feeds {
        let (Some(Sum::Float { number, .. }), Some(flat)) = (feed.sum, &feed.flat) else { continue };
        let span = gathered.span(flat, &stage.columns);
        let mut take = |limbs: usize| {
            stride += limbs;
            Limbs { first: stride - limbs, limbs }
        };
        let (grid, limbs) = span.grid(gathered.rows, slot_bits);
        let sum = take(limbs);
        numbers[number..number + 3].copy_from_slice(&[sum.first as u32, limbs as u32, grid]);
        let mut squares = None;
        if let Some(Squares::Float { number, .. }) = feed.squares {
            let limbs = take(span.square_limbs(gathered.rows, slot_bits));
            numbers[number..number + 2].copy_from_slice(&[limbs.first as u32, limbs.limbs as u32]);
            squares = Some(limbs);
        }
        floats.push(FloatSlots { number, span, grid, sum, squares });
    }
    (floats, stride)
}

/// By number, if all keys are in small ranges.
fn way<'a>(plan: &'a GroupPlan, gathered: &Gathered, numbers: &mut [u32]) -> Way<'a> {
    let (Some(keys), Some(take)) = (&plan.ranged, &plan.by_number) else { return Way::Hash };
    let most = NUMBERS_MAX.max(gathered.rows);
    let mut groups = 1_usize;
    for key in keys {
        let Some((least, count)) = gathered.range(key.column) else { return Way::Hash };
        groups = groups.saturating_mul(count as usize);
        if groups > most {
            return Way::Hash;
        }
        let least = least.cast_unsigned();
        numbers[key.number..key.number + 3].copy_from_slice(&[least as u32, (least >> 32) as u32, count]);
    }
    Way::Number { take, groups }
}

fn by_number(
    take: &Take,
    worker: &mut Worker,
    pipelines: &Pipelines,
    gathered: &Gathered,
    numbers: &[u32],
    bytes: usize,
) -> Result<Vec<u32>, Trouble> {
    worker.upload(gathered, &gathered.place(numbers))?;
    worker.room(Role::State, bytes as u64)?;
    let mut encoder = worker.begin()?;
    worker.clear(&mut encoder, Role::State, bytes as u64)?;
    run_take(take, worker, pipelines, gathered, &mut encoder)?;
    let (status, mut parts) = worker.finish(encoder, &[(Role::State, 0, bytes as u64)])?;
    if status.failed > 0 {
        return Err(Trouble::Value);
    }
    if status.full > 0 {
        return Err(Trouble::Rejected("a group has a number out of range".to_owned()));
    }
    Ok(parts.pop().unwrap_or_default())
}

fn run_take(
    take: &Take,
    worker: &Worker,
    pipelines: &Pipelines,
    gathered: &Gathered,
    encoder: &mut wgpu::CommandEncoder,
) -> Result<(), Trouble> {
    let workgroups = gathered.rows.div_ceil(TILE).min(WORKGROUPS_MAX) as u32;
    take.passes.iter().try_for_each(|shader| worker.run(encoder, &pipelines.get(shader)?, workgroups))
}

/// Finds groups by hashing, with more room each time it was not enough. Gives the slots, the room, and the groups.
fn by_hash(
    plan: &GroupPlan,
    worker: &mut Worker,
    pipelines: &Pipelines,
    gathered: &Gathered,
    numbers: &mut [u32],
    room: &mut Room,
) -> Result<(Vec<u32>, usize, usize), Trouble> {
    let Some(([keys, ticket], take)) = &plan.by_hash else {
        return Err(Trouble::Rejected("the keys are not in small ranges".to_owned()));
    };
    let (rows, slot_bytes) = (gathered.rows as u64, worker.device.tier.slot_bits() / 8);
    let workgroups = gathered.rows.div_ceil(TILE) as u32;
    let stride = numbers[number::STRIDE] as usize;
    worker.room(Role::MaskOrKeys, 4 * rows * plan.key_words as u64)?;
    worker.room(Role::TilesOrTickets, 4 * rows)?;
    loop {
        let groups = room.0.min(gathered.rows.max(1));
        // Half of the slots stay empty.
        let table = (2 * groups).next_power_of_two();
        (numbers[number::TABLE_SLOTS], numbers[number::GROUPS_MAX]) = (table as u32, groups as u32);
        let (table_bytes, bytes) = (4 * table as u64, (groups * stride * slot_bytes) as u64);
        worker.upload(gathered, &gathered.place(numbers))?;
        worker.room(Role::OutputOrTable, table_bytes)?;
        worker.room(Role::Groups, table_bytes)?;
        worker.room(Role::State, bytes)?;
        let mut encoder = worker.begin()?;
        worker.clear(&mut encoder, Role::OutputOrTable, table_bytes)?;
        worker.clear(&mut encoder, Role::State, bytes)?;
        for shader in [keys, ticket] {
            worker.run(&mut encoder, &pipelines.get(shader)?, workgroups)?;
        }
        run_take(take, worker, pipelines, gathered, &mut encoder)?;
        let (status, mut parts) = worker.finish(encoder, &[(Role::State, 0, bytes)])?;
        if status.failed > 0 {
            return Err(Trouble::Value);
        }
        if status.full == 0 {
            let count = status.groups as usize;
            room.0 = room.0.max(count + count / 4);
            return Ok((parts.pop().unwrap_or_default(), groups, count));
        }
        if groups == gathered.rows.max(1) && table >= 16 * groups {
            return Err(Trouble::Rejected("the table of groups is full although it has room".to_owned()));
        }
        room.0 = (4 * groups).max(status.groups as usize);
    }
}
