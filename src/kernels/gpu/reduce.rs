//! Runs a keyed reduce on a device and reads what its groups hold.
//!
//! The host chooses how groups are found, gives the table room, and doubles it when it was too small: nothing has been
//! added to any group by then. Keys do not come back; each group's first row does, and the CPU makes the keys of it.

#![expect(clippy::cast_possible_truncation, reason = "numbers of rows and places in buffers are words of 32 bits")]

use arrow_array::{ArrayRef, RecordBatch};
use arrow_select::interleave::interleave_record_batch;

use super::groups::{FIRST, Feed, GroupPlan, Part, ROWS, Sum, Take};
use super::kind::Kind;
use super::pack::Gathered;
use super::pipelines::Pipelines;
use super::plan::StagePlan;
use super::rows::column;
use super::shader::{TILE, number};
use super::trouble::Trouble;
use super::worker::{Role, Worker};
use crate::error::{Error, Result};
use crate::kernels::cpu::reduce::absorb::{Made, Reduced, Totals};
use crate::kernels::cpu::stage::CpuTask;
use crate::kernels::exact_sum::{Fixed, FloatTotal};

/// Groups that there is room for at first.
const GROUPS_FIRST: usize = 4096;

/// Groups by number: at most so many, or as many as there are rows.
const NUMBERS_MAX: usize = 1 << 16;

/// Workgroups that walk over the rows of a batch.
const WORKGROUPS_MAX: usize = 4096;

/// What a device made of the rows of a batch.
pub(super) struct Reduction {
    /// The slots of each group that has rows, in the order of the first rows.
    groups: Vec<Vec<u64>>,
    first_rows: Vec<usize>,
    floats: Vec<FloatSlots>,
}

/// Where a float sum lies, for one batch.
#[derive(Debug, Clone, Copy)]
struct FloatSlots {
    number: usize,
    first: usize,
    limbs: usize,
    grid: u32,
}

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
    Ok(sorted(slots, stride, words, floats))
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
        let (grid, limbs) = gathered.span(flat, &stage.columns).grid(gathered.rows, slot_bits);
        let first = stride;
        stride += limbs;
        numbers[number..number + 3].copy_from_slice(&[first as u32, limbs as u32, grid]);
        floats.push(FloatSlots { number, first, limbs, grid });
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
    std::iter::once(&take.first)
        .chain(&take.again)
        .try_for_each(|shader| worker.run(encoder, &pipelines.get(shader)?, workgroups))
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

/// The groups that have rows, in the order of these.
fn sorted(slots: &[u32], stride: usize, words: usize, floats: Vec<FloatSlots>) -> Reduction {
    let slot = |group: &[u32], place: usize| {
        let low = u64::from(group[place * words]);
        if words == 2 { u64::from(group[place * words + 1]) << 32 | low } else { low }
    };
    let groups = slots.chunks_exact(stride * words).filter(|group| slot(group, FIRST) != 0);
    // The complement of the first row's number.
    let mut found: Vec<(usize, &[u32])> = groups.map(|group| (!(slot(group, FIRST) as u32) as usize, group)).collect();
    found.sort_unstable_by_key(|(row, _)| *row);
    let groups = found.iter().map(|(_, group)| (0..stride).map(|place| slot(group, place)).collect()).collect();
    Reduction { groups, first_rows: found.into_iter().map(|(row, _)| row).collect(), floats }
}

impl Reduction {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The first row of each group, as it came into the stage.
    pub(super) fn firsts(&self, pieces: &[RecordBatch]) -> Result<RecordBatch> {
        let (mut piece, mut before) = (0, 0);
        let mut places = Vec::with_capacity(self.first_rows.len());
        for &row in &self.first_rows {
            while row >= before + pieces[piece].num_rows() {
                before += pieces[piece].num_rows();
                piece += 1;
            }
            places.push((piece, row - before));
        }
        Ok(interleave_record_batch(&pieces.iter().collect::<Vec<_>>(), &places)?)
    }

    /// What the CPU goes on with.
    pub(super) fn reduced(&self, plan: &GroupPlan, slot_bits: usize) -> Result<Reduced> {
        let parts = plan.parts.iter().map(|&(feed, part)| self.made(&plan.feeds[feed], part, slot_bits));
        Ok(Reduced { rows: self.counts(ROWS), parts: parts.collect::<Result<_>>()? })
    }

    fn counts(&self, slot: usize) -> Vec<i64> {
        self.groups.iter().map(|group| group[slot].cast_signed()).collect()
    }

    fn made(&self, feed: &Feed, part: Part, slot_bits: usize) -> Result<Made> {
        let seen = self.counts(feed.seen);
        let mut made = Made { seen, ..Made::default() };
        match (part, feed.sum, feed.min, feed.max) {
            (Part::Total, Some(Sum::Whole { first, limbs }), ..) => {
                let total = |group: &Vec<u64>| Fixed(limbs_of(&group[first..first + limbs], slot_bits));
                made.totals = Some(Totals::Whole(self.groups.iter().map(total).collect()));
            }
            (Part::Total, Some(Sum::Float { flags, number }), ..) => {
                let slots = self.floats.iter().find(|slots| slots.number == number);
                let total =
                    |group: &Vec<u64>| slots.map(|slots| slots.total(group, flags, slot_bits)).unwrap_or_default();
                made.totals = Some(Totals::Float(self.groups.iter().map(total).collect()));
            }
            (Part::Min, _, Some(slot), _) => made.best = Some(self.best(feed, slot, true, slot_bits)?),
            (Part::Max, _, _, Some(slot)) => made.best = Some(self.best(feed, slot, false, slot_bits)?),
            _ => {}
        }
        Ok(made)
    }

    /// The values that were kept, as a column of the values' type.
    fn best(&self, feed: &Feed, slot: usize, is_least: bool, slot_bits: usize) -> Result<ArrayRef> {
        let internal = || Error::internal("a device kept values of a type that it does not know");
        let data_type = feed.data_type().ok_or_else(internal)?;
        let kind = Kind::of(data_type).ok_or_else(internal)?;
        let words = self.groups.iter().flat_map(|group| {
            let kept = match (kind.words(), slot_bits) {
                (1, _) | (_, 64) => group[slot],
                // The high word came first.
                _ => group[slot] << 32 | group[slot + 1],
            };
            value(kind, kept, is_least)
        });
        let words: Vec<u32> = words.collect();
        column(data_type, kind, &words, None)
    }
}

/// The words of the value whose rank was kept; NaN if none was.
fn value(kind: Kind, kept: u64, is_least: bool) -> Vec<u32> {
    let narrow = if is_least { !(kept as u32) } else { kept as u32 };
    let wide = if is_least { !kept } else { kept };
    let halves = |wide: u64| vec![wide as u32, (wide >> 32) as u32];
    match kind {
        Kind::F32 if kept == 0 => vec![f32::NAN.to_bits()],
        Kind::F64 if kept == 0 => halves(f64::NAN.to_bits()),
        Kind::F32 => vec![if narrow >> 31 == 1 { narrow ^ (1 << 31) } else { !narrow }],
        Kind::F64 => halves(if wide >> 63 == 1 { wide ^ (1 << 63) } else { !wide }),
        Kind::Signed(_) => vec![narrow ^ (1 << 31)],
        Kind::I64 => halves(wide ^ (1 << 63)),
        _ if kind.words() == 2 => halves(wide),
        _ => vec![narrow],
    }
}

/// Slots as limbs of 64 bits, the sign spread to the highest.
fn limbs_of<const N: usize>(slots: &[u64], slot_bits: usize) -> [u64; N] {
    let negative = slots.last().is_some_and(|last| last >> (slot_bits - 1) == 1);
    let sign = if negative { u64::MAX } else { 0 };
    let mut limbs = [sign; N];
    for (place, &slot) in slots.iter().enumerate() {
        let Some(limb) = limbs.get_mut(place * slot_bits / 64) else { break };
        *limb = match (slot_bits, place % 2) {
            (64, _) => slot,
            (_, 0) => sign << 32 | slot,
            (_, _) => *limb & 0xffff_ffff | slot << 32,
        };
    }
    limbs
}

impl FloatSlots {
    fn total(&self, group: &[u64], flags: usize, slot_bits: usize) -> FloatTotal {
        let mut total = FloatTotal::default();
        for (bit, value) in [(1, f64::NAN), (2, f64::INFINITY), (4, f64::NEG_INFINITY)] {
            if group[flags] & bit != 0 {
                total.special.add(value);
            }
        }
        // 2,046 exponents, 53 digits and what many rows add fit 34 limbs, and so does every grid.
        let limbs = Fixed::<36>(limbs_of(&group[self.first..self.first + self.limbs], slot_bits));
        total.finite.add_fixed(&limbs, self.grid - 1);
        total
    }
}

/// The groups' first rows are a part of the input.
pub(super) fn absorb(
    task: &mut CpuTask,
    reduction: &Reduction,
    plan: &GroupPlan,
    pieces: &[RecordBatch],
    slot_bits: usize,
) -> Result<()> {
    if reduction.is_empty() {
        return Ok(());
    }
    task.absorb(reduction.firsts(pieces)?, &reduction.reduced(plan, slot_bits)?)
}
