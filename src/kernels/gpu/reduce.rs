//! Runs a keyed reduce on a device.
//!
//! The host chooses how groups are found, gives the table room, and doubles it when it was too small: nothing has been
//! added to any group by then. What the groups hold is read in `reduction`, or stays on the device for those that are kept
//! (`kept`): then only their first rows come back.

#![expect(clippy::cast_possible_truncation, reason = "numbers of rows and places in buffers are words of 32 bits")]

use std::fmt;
use std::sync::Arc;

use super::device::Lent;
use super::feed::{Feed, Squares, Sum};
use super::groups::{ByHash, GroupPlan, Take};
use super::pack::Gathered;
use super::pipelines::Pipelines;
use super::plan::StagePlan;
use super::reduction::{FloatSlots, Limbs, Reduction};
use super::shader::{PART_ROWS, PARTS, PARTS_WORDS, Shader, Spread, TILE, number, table_slots};
use super::trouble::Trouble;
use super::worker::{Role, STATUS_BYTES, Sent, Wanted, Worker};

/// Groups that there is room for at first.
pub(super) const GROUPS_FIRST: usize = 4096;

/// Groups by number: at most so many, or as many as there are rows.
const NUMBERS_MAX: usize = 1 << 16;

/// Workgroups that walk over the rows of a batch.
const WORKGROUPS_MAX: usize = 4096;

/// Rows that a group must have on average if it is worth it to add it up in more than one place.
const ROWS_OF_COPY_MIN: usize = 8;

/// Copies of what groups hold in the memory of a workgroup, at most: neighbouring rows add to different ones.
const LOCAL_COPIES_MAX: usize = 16;

/// Copies of what groups hold that workgroups share, at most.
const COPIES_MAX: usize = 32;

/// Bytes that stay in a device's cache: no interface tells its size. Large devices of several makers have 32 MiB and more, of
/// which keys and values want their share.
const CACHE_BYTES: usize = 16 << 20;

/// Bytes of a group that is found by hashing, beside what it holds: two words of two slots.
const FOUND_BYTES: usize = 16;

/// How often a batch is given another hash because its keys meet in one stretch of the table. By chance none ever needs one,
/// and who has chosen keys for a hash has not chosen them for the next one.
const HASHES_MAX: u32 = 3;

/// Bytes of what says where parts lie.
const PARTS_BYTES: u64 = 4 * PARTS_WORDS as u64;

/// How many groups to expect, and what became of the latest batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    groups: usize,
    spread: Option<Spread>,
    /// Groups of the latest batch that was found by hashing.
    found: Option<usize>,
    /// Whether there has been a batch.
    is_known: bool,
    /// Whether the batch at hand had more groups than the memory of workgroups has room for.
    was_crowded: bool,
    /// What hashes of keys begin with.
    salt: u32,
    pub(super) latest: Option<Added>,
}

impl Room {
    /// For so many groups, or as many as usual; added up there, or wherever suits them.
    pub(super) fn new(first: Option<usize>, spread: Option<Spread>) -> Self {
        let groups = first.unwrap_or(GROUPS_FIRST).max(1);
        Self { groups, spread, found: None, is_known: false, was_crowded: false, salt: 0, latest: None }
    }

    /// At least as many groups as others have found; and how many they found the last time.
    pub(super) fn learn(&mut self, others: usize, latest: Option<Added>) {
        self.groups = self.groups.max(others);
        self.found = latest.filter(|added| !added.by_number).map(|added| added.groups);
        self.is_known |= latest.is_some();
    }

    /// Whether there has been a batch: what the first one finds out, others need not.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// What a batch has found out that is done now.
    pub(super) fn take_over(&mut self, done: Self) {
        *self = Self { groups: self.groups.max(done.groups), is_known: true, ..done };
    }

    /// Groups that there is room for.
    pub(super) fn groups(&self) -> usize {
        self.groups
    }
}

/// How the groups of a batch were found, and where they were added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) groups: usize,
    pub(super) by_number: bool,
    pub(super) spread: Spread,
    pub(super) copies: usize,
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { groups, copies, .. } = self;
        let way = if self.by_number { "by number" } else { "by hashing" };
        write!(f, "{groups} groups {way}, added up ")?;
        match self.spread {
            Spread::One => f.write_str("in one table"),
            Spread::Local => write!(f, "in the memory of workgroups, {copies} copies each"),
            Spread::Copied => write!(f, "in {copies} copies of a table"),
            Spread::Parted => write!(f, "in one table, in {PARTS} parts one after the other"),
        }
    }
}

/// Where groups are added up, in so many copies; in the memory of workgroups so many groups have a place.
#[derive(Debug, Clone, Copy)]
struct Places {
    spread: Spread,
    copies: usize,
    local: usize,
}

/// What there is to be known of a batch whose groups are to be added up.
#[derive(Debug, Clone, Copy)]
struct Crowd {
    rows: usize,
    /// How many groups are expected, and how many there are at most.
    expected: usize,
    most: usize,
    /// Slots of a group, and their bits.
    stride: usize,
    slot_bits: usize,
    is_hashed: bool,
}

impl Places {
    fn of(crowd: Crowd, room: &Room) -> Self {
        let Crowd { rows, expected, most, stride, slot_bits, is_hashed } = crowd;
        let slots = table_slots(slot_bits);
        // A few more than the last time.
        let local = (expected + expected / 4).clamp(1, most.max(1));
        let has_room = local * stride <= slots && !room.was_crowded;
        let copies_max = (8 * CACHE_BYTES / (stride * slot_bits).saturating_mul(most).max(1)).min(COPIES_MAX);
        let copies = copies_max.min(rows / (ROWS_OF_COPY_MIN * expected).max(1));
        let has_many = expected * (stride * slot_bits / 8 + FOUND_BYTES) > CACHE_BYTES;
        let spread = room.spread.unwrap_or(match () {
            () if has_room && rows >= ROWS_OF_COPY_MIN * expected => Spread::Local,
            () if copies > 1 => Spread::Copied,
            () if has_many => Spread::Parted,
            () => Spread::One,
        });
        match spread {
            Spread::Local if has_room => {
                let copies = (slots / (local * stride)).clamp(1, LOCAL_COPIES_MAX);
                Self { spread, copies, local }
            }
            Spread::Copied if copies_max > 1 => Self { spread, copies: copies.max(2), local: 0 },
            Spread::Parted if is_hashed => Self { spread, copies: 1, local: 0 },
            _ => Self { spread: Spread::One, copies: 1, local: 0 },
        }
    }

    /// Notes it in the header; gives the bytes of all copies that are not those of workgroups, and of one.
    fn bytes(&self, numbers: &mut [u32], (groups, stride): (usize, usize), slot_bits: usize) -> [u64; 2] {
        let size = if self.spread == Spread::Local { self.local } else { groups } * stride;
        numbers[number::LOCAL_GROUPS] = self.local as u32;
        (numbers[number::COPIES], numbers[number::TABLE_SIZE]) = (self.copies as u32, size as u32);
        let copies = if self.spread == Spread::Copied { self.copies } else { 1 };
        [copies, 1].map(|copies| (copies * groups * stride * slot_bits / 8) as u64)
    }

    /// Workgroups that take in so many rows: each gives its table out once.
    fn workgroups(&self, rows: usize) -> u32 {
        let most = rows.div_ceil(TILE).min(WORKGROUPS_MAX);
        match self.spread {
            Spread::Local => most.min((rows / (ROWS_OF_COPY_MIN * self.local).max(1)).max(1)) as u32,
            _ => most as u32,
        }
    }
}

/// How the groups of a batch are found.
enum Way<'a> {
    Number { take: &'a Take, groups: usize },
    Hash,
}

/// Groups that have stayed on the device.
pub(super) struct Scratch {
    /// What they hold, `stride` slots each.
    pub(super) slots: Lent,
    pub(super) stride: usize,
    pub(super) floats: Vec<FloatSlots>,
    /// The numbers of those that have rows, in the order of their first rows, and these.
    pub(super) groups: Vec<u32>,
    pub(super) first_rows: Vec<usize>,
    /// How many rows there are in all groups.
    pub(super) rows: usize,
}

/// What runs a batch: the plan, the pipelines of a device, and if groups stay there, the shader that tells of them.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) stage: &'a StagePlan,
    pub(super) plan: &'a GroupPlan,
    pub(super) pipelines: &'a Pipelines,
    pub(super) firsts: Option<&'a Shader>,
}

/// A batch that was submitted.
pub(super) struct Begun {
    floats: Vec<FloatSlots>,
    stride: usize,
    /// How many groups there is room for, and how many there could be.
    groups: usize,
    most: usize,
    /// Slots of the table, if groups are found by hashing.
    table: Option<usize>,
    places: Places,
    sent: Sent,
}

impl Run<'_> {
    /// Submits a batch.
    pub(super) fn begin(self, worker: &mut Worker, gathered: &Arc<Gathered>, room: &Room) -> Result<Begun, Trouble> {
        let slot_bits = worker.device.tier.slot_bits();
        let mut numbers = vec![0_u32; self.plan.numbers];
        let (floats, stride) = place_floats(self.stage, self.plan, gathered, slot_bits, &mut numbers);
        numbers[number::STRIDE] = stride as u32;
        let rows = gathered.rows;
        // Few of the numbers may have a group: what has no room by number may have some by hashing.
        let has_room = |groups: usize| (groups * stride * slot_bits / 8) as u64 <= worker.bytes_max();
        match way(self.plan, gathered, &mut numbers) {
            Way::Number { take, groups } if has_room(groups) || self.plan.by_hash.is_none() => {
                numbers[number::GROUPS_MAX] = groups as u32;
                let crowd = Crowd { rows, expected: groups, most: groups, stride, slot_bits, is_hashed: false };
                let places = Places::of(crowd, room);
                let bytes = places.bytes(&mut numbers, (groups, stride), slot_bits);
                let sent = self.by_number((take, places), worker, gathered, &numbers, (groups, bytes))?;
                Ok(Begun { floats, stride, groups, most: groups, table: None, places, sent })
            }
            Way::Number { .. } | Way::Hash => {
                let most = fitting(stride * slot_bits / 8, worker.bytes_max() - STATUS_BYTES);
                let groups = room.groups.min(rows.max(1)).min(most);
                // Half of the slots stay empty.
                let table = (2 * groups).next_power_of_two();
                (numbers[number::TABLE_SLOTS], numbers[number::GROUPS_MAX]) = (table as u32, groups as u32);
                numbers[number::SALT] = room.salt;
                let expected = room.found.unwrap_or(groups).min(groups);
                let crowd = Crowd { rows, expected, most: groups, stride, slot_bits, is_hashed: true };
                let places = Places::of(crowd, room);
                let bytes = places.bytes(&mut numbers, (groups, stride), slot_bits);
                let sent = self.by_hash(places, worker, gathered, &numbers, (groups, table, bytes))?;
                Ok(Begun { floats, stride, groups, most, table: Some(table), places, sent })
            }
        }
    }

    /// Waits for a batch; all that the groups hold comes back.
    pub(super) fn reduction(
        self,
        begun: Begun,
        worker: &mut Worker,
        gathered: &Arc<Gathered>,
        room: &mut Room,
    ) -> Result<Reduction, Trouble> {
        let found = self.end(begun, worker, gathered, room)?;
        let words = worker.device.tier.slot_bits() / 32;
        let slots = found.words.get(..found.count.min(found.groups) * found.stride * words).unwrap_or(&found.words);
        let texts = |feed: &Feed| gathered.values(feed.ranks(&self.stage.columns)?).cloned();
        let texts = self.plan.feeds.iter().map(texts).collect();
        Ok(Reduction::new(slots, (found.stride, words), found.floats, texts))
    }

    /// Waits for a batch whose groups stay on the device.
    pub(super) fn leave(
        self,
        begun: Begun,
        worker: &mut Worker,
        gathered: &Arc<Gathered>,
        room: &mut Room,
    ) -> Result<Scratch, Trouble> {
        let found = self.end(begun, worker, gathered, room)?;
        // The complement of the first row's number.
        let with_rows = found.words.iter().zip(0_u32..).filter(|(first, _)| **first != 0);
        let mut groups = with_rows.map(|(&first, group)| ((!first) as usize, group)).collect::<Vec<_>>();
        groups.sort_unstable();
        let (first_rows, groups) = groups.into_iter().unzip();
        let slots = worker.take(Role::State).ok_or_else(|| Trouble::Rejected("groups are not there".to_owned()))?;
        let slots = Lent::new(slots, &worker.device);
        Ok(Scratch { slots, stride: found.stride, floats: found.floats, groups, first_rows, rows: found.rows })
    }

    /// Waits for a batch; if there was too little room for its groups, it runs again with more.
    fn end(
        self,
        mut begun: Begun,
        worker: &mut Worker,
        gathered: &Arc<Gathered>,
        room: &mut Room,
    ) -> Result<Found, Trouble> {
        let mut hashes = 0;
        loop {
            let (status, mut parts) = worker.receive(&begun.sent)?;
            if status.failed > 0 {
                return Err(Trouble::Value);
            }
            let Begun { groups, places: Places { spread, copies, .. }, .. } = begun;
            let count = if begun.table.is_some() { status.groups as usize } else { groups };
            if status.full == 0 {
                let by_number = begun.table.is_none();
                room.latest = Some(Added { groups: count, by_number, spread, copies });
                room.was_crowded = false;
                if !by_number {
                    room.groups = room.groups.max(count + count / 4);
                    room.found = Some(count);
                }
                let (words, rows) = (parts.pop().unwrap_or_default(), status.kept as usize);
                return Ok(Found { words, stride: begun.stride, floats: begun.floats, groups, count, rows });
            }
            if begun.table.is_none() {
                return Err(Trouble::Rejected("a group has a number out of range".to_owned()));
            }
            if spread == Spread::Local && !room.was_crowded {
                // Perhaps only the memory of workgroups was too small.
                room.was_crowded = true;
            } else if count > groups && groups >= begun.most {
                let text = format!("of its groups {groups} have room in a buffer, and there are more");
                return Err(Trouble::TooLarge(text));
            } else if count > groups {
                room.groups = (4 * groups).max(count).max(room.groups);
            } else if hashes < HASHES_MAX {
                // There is room, but the keys meet in one stretch of the table.
                hashes += 1;
                room.salt = room.salt.wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15);
            } else {
                return Err(Trouble::Crowded);
            }
            begun = self.begin(worker, gathered, room)?;
        }
    }

    fn by_number(
        self,
        (take, places): (&Take, Places),
        worker: &mut Worker,
        gathered: &Arc<Gathered>,
        numbers: &[u32],
        (groups, [all, bytes]): (usize, [u64; 2]),
    ) -> Result<Sent, Trouble> {
        // What does not fit is found out before rows are packed.
        worker.room(Role::State, all)?;
        worker.upload(gathered, gathered.place(numbers))?;
        let mut encoder = worker.begin()?;
        worker.clear(&mut encoder, Role::State, all)?;
        run_take((take, places, groups), worker, self.pipelines, gathered, &mut encoder)?;
        let wanted = self.wanted(worker, (groups, bytes), &mut encoder)?;
        worker.submit(encoder, &[wanted])
    }

    fn by_hash(
        self,
        places: Places,
        worker: &mut Worker,
        gathered: &Arc<Gathered>,
        numbers: &[u32],
        (groups, table, [all, bytes]): (usize, usize, [u64; 2]),
    ) -> Result<Sent, Trouble> {
        let Some(ByHash { keys, ticket, parting, parted_ticket, take }) = self.plan.by_hash.as_deref() else {
            return Err(Trouble::Rejected("the keys are not in small ranges".to_owned()));
        };
        let (rows, table_bytes) = (gathered.rows as u64, 4 * table as u64);
        worker.room(Role::MaskOrKeys, 4 * rows * self.plan.key_words as u64)?;
        worker.room(Role::TilesOrTickets, 4 * rows)?;
        let is_parted = places.spread == Spread::Parted;
        if is_parted {
            worker.room(Role::Order, 8 * rows)?;
            worker.room(Role::Parts, PARTS_BYTES)?;
        }
        worker.room(Role::OutputOrTable, table_bytes)?;
        worker.room(Role::Groups, table_bytes)?;
        worker.room(Role::State, all)?;
        worker.upload(gathered, gathered.place(numbers))?;
        let mut encoder = worker.begin()?;
        worker.clear(&mut encoder, Role::OutputOrTable, table_bytes)?;
        worker.clear(&mut encoder, Role::State, all)?;
        if is_parted {
            worker.clear(&mut encoder, Role::Parts, PARTS_BYTES)?;
        }
        let mut run = |worker: &Worker, shader: &Shader, rows_each: usize| {
            worker.run(&mut encoder, &self.pipelines.get(shader)?, gathered.rows.div_ceil(rows_each) as u32)
        };
        run(worker, keys, TILE)?;
        if is_parted {
            parting.iter().try_for_each(|shader| run(worker, shader, PART_ROWS))?;
            run(worker, parted_ticket, TILE)?;
        } else {
            run(worker, ticket, TILE)?;
        }
        run_take((take, places, groups), worker, self.pipelines, gathered, &mut encoder)?;
        let wanted = self.wanted(worker, (groups, bytes), &mut encoder)?;
        worker.submit(encoder, &[wanted])
    }

    /// What comes back: what groups hold, or only where each that stays on the device begins.
    fn wanted(
        self,
        worker: &mut Worker,
        (groups, bytes): (usize, u64),
        encoder: &mut wgpu::CommandEncoder,
    ) -> Result<Wanted, Trouble> {
        let Some(firsts) = self.firsts else { return Ok((Role::State, 0, bytes)) };
        let bytes = 4 * groups as u64;
        worker.room(Role::OutputOrTable, bytes)?;
        let workgroups = groups.div_ceil(TILE).min(WORKGROUPS_MAX) as u32;
        worker.run(encoder, &self.pipelines.get(firsts)?, workgroups)?;
        Ok((Role::OutputOrTable, 0, bytes))
    }
}

/// What was found.
struct Found {
    /// What groups hold, or the complements of their first rows.
    words: Vec<u32>,
    stride: usize,
    floats: Vec<FloatSlots>,
    /// How many groups there is room for, and how many there are.
    groups: usize,
    count: usize,
    /// Rows of groups that stay.
    rows: usize,
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
        let mut span = gathered.span(flat, &stage.columns);
        if matches!(plan.kept, Some(Ok(_))) {
            span = span.aligned(slot_bits as u32);
        }
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

/// Groups found by hashing, of so many bytes each, that buffers have room for: what they hold, which comes back behind the
/// status, and the table that says where.
fn fitting(group_bytes: usize, bytes_max: u64) -> usize {
    let slots = usize::try_from(bytes_max / 4).unwrap_or(usize::MAX).max(2);
    let table = if slots.is_power_of_two() { slots } else { slots.next_power_of_two() / 2 };
    (table / 2).min(slots * 4 / group_bytes.max(1)).max(1)
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

fn run_take(
    (take, places, groups): (&Take, Places, usize),
    worker: &Worker,
    pipelines: &Pipelines,
    gathered: &Gathered,
    encoder: &mut wgpu::CommandEncoder,
) -> Result<(), Trouble> {
    let workgroups = places.workgroups(gathered.rows);
    for (shader, fold) in take.passes(places.spread).iter().zip(&take.fold) {
        worker.run(encoder, &pipelines.get(shader)?, workgroups)?;
        if places.spread == Spread::Copied {
            let workgroups = groups.div_ceil(TILE).clamp(1, WORKGROUPS_MAX) as u32;
            worker.run(encoder, &pipelines.get(fold)?, workgroups)?;
        }
    }
    Ok(())
}
