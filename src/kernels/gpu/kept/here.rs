//! Groups while they are kept on a device: their keys and the host's copy, and the device that has them.

#![expect(clippy::cast_possible_truncation, reason = "group ids fit u32: given out by GroupIds")]

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_schema::Field;
use arrow_select::concat::concat;
use arrow_select::take::take;

use super::best::Picked;
use super::device::{Back, Batch, Delta, Given as Taken, OnDevice};
use super::encode::spans;
use super::held::Held;
use super::layout::{Given, Layout};
use super::on_cpu;
use super::part::{Part, Parts};
use super::plan::KeptPlan;
use crate::columnar::RecordBatch;
use crate::error::{Error, Result};
use crate::kernels::cpu::group_ids::GroupIds;
use crate::kernels::cpu::reduce::absorb::Reduced;
use crate::kernels::cpu::reduce::{Groups, KeyedReduce};
use crate::kernels::cpu::stage::CpuStage;
use crate::kernels::gpu::device::Device;
use crate::kernels::gpu::grid::Span;
use crate::kernels::gpu::line::Line;
use crate::kernels::gpu::pipelines::Pipelines;
use crate::kernels::gpu::plan::Work;
use crate::kernels::gpu::reduce::GROUPS_FIRST;
use crate::kernels::gpu::stage::Shared;
use crate::kernels::gpu::trouble::{Fault, Trouble};
use crate::kernels::keep::has_key;
use crate::kernels::{Kept, Moment};

/// Groups whose state is on a device.
pub(super) struct Here {
    layout: Layout,
    keys: Vec<Field>,
    ids: GroupIds,
    /// How many groups there are; keys beyond are of a batch that was not taken in.
    groups: usize,
    /// The words of groups, as the latest batch left them but for those that are stale.
    copy: Arc<Vec<u32>>,
    /// How many groups there were when the copy was last up to date; later ones are stale.
    copied: usize,
    /// Groups of which the device knows more than the copy.
    stale: Vec<u32>,
    is_stale: Vec<bool>,
    /// The batches that made them so.
    held: Held,
    /// None until they are sent, and again once their layout is another one.
    device: Option<OnDevice>,
    /// For each group a number that rises with each part that touches it: none is marked twice in a part.
    marks: Vec<u32>,
    mark: u32,
    /// The groups that the latest batch touched, in the order of their first rows, and their keys.
    touched: Vec<u32>,
    touched_keys: Vec<ArrayRef>,
    /// The best groups after the latest batch, if they were picked.
    picked: Option<Picked>,
    /// The keys of all groups, while there are no more than these.
    all_keys: Vec<ArrayRef>,
}

/// What is wanted of a batch beside its being taken in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Whether the copy is to be up to date at once.
    pub(super) is_copied: bool,
    /// Whether the best of all groups are wanted, or of those that the batch touches.
    pub(super) is_of_all: bool,
}

/// What a batch is taken in with.
#[derive(Clone, Copy)]
struct On<'a> {
    shared: &'a Arc<Shared>,
    plan: &'a KeptPlan,
    pipelines: &'a Arc<Pipelines>,
}

/// A part of a batch, ready to be taken in: groups on the device, or those that the CPU holds.
enum Source<'a> {
    Left(&'a super::Left),
    Cpu(Reduced),
}

/// The parts of a batch, the keys of their groups, and what their floats need.
struct Sources<'a> {
    sources: Vec<Source<'a>>,
    keys: Vec<(Vec<ArrayRef>, usize)>,
    spans: Vec<(usize, Span)>,
}

impl Here {
    /// What the CPU has kept so far.
    pub(super) fn of(plan: &KeptPlan, reduce: &KeyedReduce, cpu: &mut dyn Kept) -> Result<Self> {
        let keys = reduce.keys().to_vec();
        let mut here = Self {
            layout: plan.layout.clone(),
            ids: GroupIds::new(keys.iter().map(Field::data_type))?,
            keys,
            groups: 0,
            copy: Arc::default(),
            copied: 0,
            stale: Vec::new(),
            is_stale: Vec::new(),
            held: Held::default(),
            device: None,
            marks: Vec::new(),
            mark: 0,
            touched: Vec::new(),
            touched_keys: Vec::new(),
            picked: None,
            all_keys: Vec::new(),
        };
        if cpu.groups() > 0 {
            for stored in cpu.snapshot()? {
                let groups = reduce.restore(&stored)?.settled()?;
                let reduced = groups.reduced()?;
                if let Some(wider) = here.layout.widened(&spans(&here.layout, &reduced)) {
                    here.layout = wider;
                }
                here.copy = Arc::new(here.layout.encode(&reduced)?);
                (here.groups, here.copied) = (groups.len(), groups.len());
                let ids = here.number(&groups.keys()?, groups.len())?;
                if ids.iter().zip(0_u32..).any(|(&id, row)| id != row) {
                    return Err(Error::internal("groups are not in the order of their keys"));
                }
            }
        }
        Ok(here)
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.groups
    }

    /// The numbers of so many groups by their keys. Keys that are new get the next numbers.
    fn number(&mut self, keys: &[ArrayRef], groups: usize) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        if keys.is_empty() {
            ids.resize(groups, 0);
        } else {
            self.ids.assign(keys, &mut ids)?;
        }
        Ok(ids)
    }

    /// How many groups have a number, those of a batch included that is being taken in.
    fn numbers(&self) -> usize {
        // Without keys there is a group before there is a row.
        if self.keys.is_empty() { 1 } else { self.ids.len() }
    }

    /// Takes a batch in. After trouble the first [`Here::copied`] groups of the copy are as they were, and what is held was
    /// taken in since.
    pub(super) fn take_in(
        &mut self,
        shared: &Arc<Shared>,
        plan: &KeptPlan,
        parts: &mut Parts,
        wanted: Wanted,
    ) -> Result<Result<(), Trouble>> {
        // One device from here to the end, even if it is lost and replaced meanwhile.
        let pipelines = match shared.pipelines() {
            Ok(pipelines) => pipelines,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let (device, on) = (pipelines.device(), On { shared, plan, pipelines: &pipelines });
        if self.device.as_ref().is_some_and(|kept| !Arc::ptr_eq(kept.device(), device)) {
            self.device = None;
            if !self.stale.is_empty() {
                return Ok(Err(Trouble::Lost("with what it had taken in".to_owned())));
            }
        }
        let moment = parts.moment;
        let settled = std::mem::take(&mut parts.parts).into_iter().map(|part| settled(shared, part, device, &moment));
        parts.parts = settled.collect::<Result<_>>()?;
        let Sources { sources, keys, spans } = self.sources(&parts.parts)?;
        if let Some(wider) = self.layout.widened(&spans) {
            // What is kept is sent anew, so it has to be known first.
            if let Err(trouble) = self.catch_up_on(on) {
                return Ok(Err(trouble));
            }
            self.copy = Arc::new(self.layout.moved(&self.copy, &wider));
            (self.layout, self.device) = (wider, None);
        }
        let ids = keys.iter().map(|(keys, groups)| self.number(keys, *groups)).collect::<Result<Vec<_>>>()?;
        if !self.touch(&keys, &ids)? {
            return Ok(Err(Trouble::Rejected("two groups of a batch have one key".to_owned())));
        }
        let after = self.numbers();
        let group_bytes = 4 * self.layout.words();
        let is_copied = wanted.is_copied || !self.held.has_room(shared, parts, group_bytes);
        let run = self.run(on, &sources, &ids, after, Wanted { is_copied, ..wanted });
        drop(sources);
        if let Err(trouble) = run {
            return Ok(Err(self.give_up(trouble)));
        }
        let must_look = !is_copied && self.picked.is_none();
        if must_look && let Err(trouble) = self.catch_up_on(on) {
            return Ok(Err(trouble));
        }
        let parts = Parts { parts: std::mem::take(&mut parts.parts), moment };
        if is_copied || must_look {
            release(shared, parts);
        } else {
            self.held.push(shared, parts, group_bytes);
        }
        Ok(Ok(()))
    }

    /// What is to be taken in of a batch.
    fn sources<'a>(&self, parts: &'a [Part]) -> Result<Sources<'a>> {
        let mut all = Sources { sources: Vec::new(), keys: Vec::new(), spans: Vec::new() };
        for part in parts {
            match part {
                Part::Left(left) => {
                    all.spans.extend(left.floats.iter().map(|slots| (slots.number, slots.span)));
                    all.keys.push((left.keys.clone(), left.groups.len()));
                    all.sources.push(Source::Left(left));
                }
                Part::Here(groups) => {
                    let reduced = groups.reduced()?;
                    all.spans.extend(spans(&self.layout, &reduced));
                    all.keys.push((groups.keys()?, groups.len()));
                    all.sources.push(Source::Cpu(reduced));
                }
                Part::Rows(_) => return Err(Error::internal("a device was given rows to keep")),
            }
        }
        Ok(all)
    }

    /// Nobody goes on with a device that was lost.
    fn give_up(&mut self, trouble: Trouble) -> Trouble {
        if let (Trouble::Lost(_) | Trouble::Late(_), Some(kept)) = (&trouble, self.device.take()) {
            kept.device().give_up();
        }
        trouble
    }

    /// Whether the device knows more than the copy.
    pub(super) fn is_behind(&self) -> bool {
        !self.stale.is_empty()
    }

    /// Brings the copy up to date.
    pub(super) fn catch_up(&mut self, shared: &Arc<Shared>, plan: &KeptPlan) -> Result<(), Trouble> {
        if self.stale.is_empty() {
            return Ok(());
        }
        let pipelines = shared.pipelines()?;
        self.catch_up_on(On { shared, plan, pipelines: &pipelines })
    }

    fn catch_up_on(&mut self, on: On<'_>) -> Result<(), Trouble> {
        if self.stale.is_empty() {
            return Ok(());
        }
        let On { shared, pipelines, .. } = on;
        let device = self.device.as_mut().filter(|device| Arc::ptr_eq(device.device(), pipelines.device()));
        let Some(device) = device else { return Err(Trouble::Lost("with what it had taken in".to_owned())) };
        let fault = shared.faults.next();
        let back = self.stale.clone();
        let batch = Batch { deltas: Vec::new(), groups: (self.groups, self.groups), back, best: None };
        let run = pipelines.device().trip(fault).and_then(|()| device.run(shared, pipelines, fault, batch));
        match run {
            Ok(back) => {
                self.copied(shared, &back.words, self.groups);
                Ok(())
            }
            Err(trouble) => Err(self.give_up(trouble)),
        }
    }

    /// Notes the words of all groups that were stale.
    fn copied(&mut self, shared: &Shared, changed: &[u32], groups: usize) {
        shared.record.read_groups(self.stale.len());
        let words = self.layout.words();
        let copy = Arc::make_mut(&mut self.copy);
        copy.resize(groups * words, 0);
        for (id, changed) in std::mem::take(&mut self.stale).into_iter().zip(changed.chunks_exact(words)) {
            copy[id as usize * words..][..words].copy_from_slice(changed);
            self.is_stale[id as usize] = false;
        }
        (self.copied, self.held) = (groups, Held::default());
    }

    /// Finds the groups that a batch touches, each once, in the order of the parts; and their keys. False if a part has two
    /// of one key, which a device could not take in at once.
    fn touch(&mut self, keys: &[(Vec<ArrayRef>, usize)], ids: &[Vec<u32>]) -> Result<bool> {
        if self.mark > u32::MAX / 2 {
            self.marks.fill(0);
            self.mark = 0;
        }
        self.marks.resize(self.numbers(), 0);
        let before = self.mark;
        let (mut rows, mut row) = (Vec::new(), 0_u32);
        self.touched.clear();
        if self.keys.is_empty() {
            (self.touched, self.touched_keys) = (vec![0], Vec::new());
            return Ok(ids.iter().all(|ids| ids.len() <= 1));
        }
        for ids in ids {
            self.mark += 1;
            for &id in ids {
                let latest = std::mem::replace(&mut self.marks[id as usize], self.mark);
                if latest == self.mark {
                    return Ok(false);
                }
                if latest <= before {
                    self.touched.push(id);
                    rows.push(row);
                }
                row += 1;
            }
        }
        let rows = UInt32Array::from(rows);
        let column = |(place, field): (usize, &Field)| -> Result<ArrayRef> {
            // Keys that came as codes are put together with others.
            let plain = keys.iter().map(|(keys, _)| match keys[place].data_type() == field.data_type() {
                true => Ok(Arc::clone(&keys[place])),
                false => arrow_cast::cast(&keys[place], field.data_type()),
            });
            let plain = plain.collect::<Result<Vec<_>, _>>()?;
            let all = plain.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>();
            if all.is_empty() {
                return Ok(arrow_array::new_empty_array(field.data_type()));
            }
            Ok(take(&concat(&all)?, &rows, None)?)
        };
        self.touched_keys = self.keys.iter().enumerate().map(column).collect::<Result<_>>()?;
        Ok(true)
    }

    /// Runs the submission. Only if all of it went well anything is noted.
    fn run(
        &mut self,
        on: On<'_>,
        sources: &[Source<'_>],
        ids: &[Vec<u32>],
        after: usize,
        wanted: Wanted,
    ) -> Result<(), Trouble> {
        let On { shared, plan, pipelines } = on;
        let fault = shared.faults.next();
        pipelines.device().trip(fault)?;
        let deltas = self.deltas(on, sources, ids, fault)?;
        self.is_stale.resize(after, false);
        let fresh = self.touched.iter().copied().filter(|&id| !self.is_stale[id as usize]).collect::<Vec<_>>();
        let stale = [self.stale.as_slice(), &fresh].concat();
        let back = if wanted.is_copied { stale.clone() } else { Vec::new() };
        let best = plan.best.as_ref().and_then(|best| best.as_ref().ok()).map(|best| {
            let (items, list) =
                if wanted.is_of_all { (after, Vec::new()) } else { (self.touched.len(), self.touched.clone()) };
            (best.ask(&self.layout, items, !wanted.is_of_all), list)
        });
        let Some(kept) = &mut self.device else { return Err(Trouble::Rejected("nothing was loaded".to_owned())) };
        let batch = Batch { deltas, groups: (self.groups, after), back, best };
        let Back { words, picked } = kept.run(shared, pipelines, fault, batch)?;
        for id in fresh {
            self.is_stale[id as usize] = true;
        }
        (self.groups, self.stale, self.picked) = (after, stale, picked);
        shared.record.read_groups(self.picked.as_ref().map_or(0, |picked| picked.places.len()));
        if wanted.is_copied {
            self.copied(shared, &words, after);
        }
        Ok(())
    }

    /// What is taken in, on a device that has what is kept.
    fn deltas(
        &mut self,
        on: On<'_>,
        sources: &[Source<'_>],
        ids: &[Vec<u32>],
        fault: Option<Fault>,
    ) -> Result<Vec<Delta>, Trouble> {
        let On { shared, pipelines, .. } = on;
        let Work::Groups(groups) = &shared.plan.work else {
            return Err(Trouble::Rejected("rows were to be kept".to_owned()));
        };
        let (device, words) = (pipelines.device(), self.layout.words());
        match &mut self.device {
            Some(kept) if kept.words() == words => {}
            kept => {
                let line = Line::open(device, shared.holder.stopwatch())?;
                let room = shared.holder.wish().groups_first.unwrap_or(GROUPS_FIRST);
                *kept = Some(OnDevice::load(line, fault, Arc::clone(&self.copy), words, room)?);
            }
        }
        let mut deltas = Vec::with_capacity(sources.len());
        for (source, ids) in sources.iter().zip(ids).filter(|(_, ids)| !ids.is_empty()) {
            let slot_bits = device.tier.slot_bits();
            deltas.push(match source {
                Source::Left(left) => Delta {
                    given: Taken::There(left.slots.shared()),
                    words: left.stride * slot_bits / 32,
                    fields: self.layout.fields(&Given::by_device(groups, &left.floats, slot_bits)),
                    pairs: left.groups.iter().zip(ids).map(|(&group, &id)| [group, id]).collect(),
                },
                Source::Cpu(reduced) => {
                    let encoded = self.layout.encode(reduced);
                    let encoded = encoded.map_err(|error| Trouble::Rejected(error.to_string()))?;
                    Delta {
                        given: Taken::Here(encoded),
                        words,
                        fields: self.layout.fields(&self.layout.as_given()),
                        pairs: (0_u32..).zip(ids).map(|(group, &id)| [group, id]).collect(),
                    }
                }
            });
        }
        Ok(deltas)
    }

    /// The CPU goes on with what is kept: from the copy, with what was taken in since.
    pub(super) fn leave_to(self, shared: &Shared, reduce: &KeyedReduce, cpu: &mut dyn Kept) -> Result<()> {
        if self.copied > 0 {
            cpu.restore(&[self.first(reduce, self.copied)?.store()?], &[])?;
        }
        self.held.run_again(shared, cpu)
    }

    /// The groups with these words, under their keys.
    fn groups_of(&self, reduce: &KeyedReduce, words: &[u32], keys: &[ArrayRef]) -> Result<Groups> {
        let mut groups = reduce.begin()?.settled()?;
        groups.absorb(keys, &self.layout.reduced(words)?)?;
        Ok(groups)
    }

    /// The first so many groups, or all.
    fn first(&self, reduce: &KeyedReduce, groups: usize) -> Result<Groups> {
        let keys = self.ids.keys()?.iter().map(|keys| keys.slice(0, groups)).collect::<Vec<_>>();
        self.groups_of(reduce, &self.copy[..groups * self.layout.words()], &keys)
    }

    /// All groups.
    pub(super) fn all(&self, reduce: &KeyedReduce) -> Result<Groups> {
        self.first(reduce, self.groups)
    }

    /// All groups, as they are stored.
    pub(super) fn stored(&self, reduce: &KeyedReduce) -> Result<RecordBatch> {
        self.all(reduce)?.store()
    }

    /// The best groups, if they were picked by the latest batch.
    pub(super) fn best(&mut self, reduce: &KeyedReduce, is_of_all: bool) -> Result<Option<Groups>> {
        let Some(picked) = self.picked.take() else { return Ok(None) };
        if is_of_all && self.all_keys.first().is_none_or(|keys| keys.len() < self.groups) {
            self.all_keys = self.ids.keys()?;
        }
        let keys = if is_of_all { &self.all_keys } else { &self.touched_keys };
        let places = UInt32Array::from(picked.places);
        let keys = keys.iter().map(|keys| take(keys, &places, None)).collect::<Result<Vec<_>, _>>()?;
        self.groups_of(reduce, &picked.words, &keys).map(Some)
    }

    /// Some groups, under their keys.
    fn some(&self, reduce: &KeyedReduce, ids: &[u32], keys: &[ArrayRef]) -> Result<Groups> {
        let size = self.layout.words();
        let words = ids.iter().flat_map(|&id| &self.copy[id as usize * size..][..size]).copied().collect::<Vec<_>>();
        self.groups_of(reduce, &words, keys)
    }

    /// The groups that the latest batch touched.
    pub(super) fn touched(&self, reduce: &KeyedReduce) -> Result<Groups> {
        self.some(reduce, &self.touched, &self.touched_keys)
    }

    /// The group of a key, if there is one.
    pub(super) fn of_key(&self, reduce: &KeyedReduce, key: &[ArrayRef]) -> Result<Groups> {
        let keys = self.ids.keys()?;
        let ids = has_key(&keys, key, self.groups)?.values().set_indices().map(|id| id as u32).collect::<Vec<_>>();
        let rows = UInt32Array::from(ids.clone());
        let keys = keys.iter().map(|keys| take(keys, &rows, None)).collect::<Result<Vec<_>, _>>()?;
        self.some(reduce, &ids, &keys)
    }
}

/// What is of no more use on the device goes to the next batch.
fn release(shared: &Shared, parts: Parts) {
    for part in parts.parts {
        if let Part::Left(left) = part {
            shared.keep_slots(left.slots);
        }
    }
}

/// Has the CPU run what was left on another device, or on one that is gone.
fn settled(shared: &Shared, part: Part, device: &Arc<Device>, moment: &Moment) -> Result<Part> {
    match part {
        Part::Left(left) if !Arc::ptr_eq(left.slots.device(), device) => {
            Ok(Part::Here(Box::new(CpuStage::groups_of(on_cpu(shared, Part::Left(left), moment)?)?)))
        }
        other => Ok(other),
    }
}
