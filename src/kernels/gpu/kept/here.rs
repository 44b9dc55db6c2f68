//! Groups while they are kept on a device: their keys and the host's copy, and the device that has them.

#![expect(clippy::cast_possible_truncation, reason = "group ids fit u32: given out by GroupIds")]

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_schema::Field;
use arrow_select::concat::concat;
use arrow_select::take::take;

use super::device::{Delta, OnDevice};
use super::encode::spans;
use super::layout::{Given, Layout};
use super::part::{Part, Parts};
use super::plan::KeptPlan;
use super::{confuse, on_cpu};
use crate::columnar::RecordBatch;
use crate::error::{Error, Result};
use crate::kernels::cpu::group_ids::GroupIds;
use crate::kernels::cpu::reduce::absorb::Reduced;
use crate::kernels::cpu::reduce::{Groups, KeyedReduce};
use crate::kernels::cpu::stage::CpuStage;
use crate::kernels::gpu::device::Device;
use crate::kernels::gpu::grid::Span;
use crate::kernels::gpu::groups::GroupPlan;
use crate::kernels::gpu::plan::Work;
use crate::kernels::gpu::reduce::GROUPS_FIRST;
use crate::kernels::gpu::stage::Shared;
use crate::kernels::gpu::trouble::Trouble;
use crate::kernels::gpu::worker::Worker;
use crate::kernels::keep::has_key;
use crate::kernels::{Kept, Moment};

/// Groups whose state is on a device.
pub(super) struct Here {
    layout: Layout,
    keys: Vec<Field>,
    ids: GroupIds,
    /// How many groups there are; keys beyond are of a batch that was not taken in.
    groups: usize,
    /// The words of all groups, as the latest batch left them.
    copy: Vec<u32>,
    /// None until they are sent, and again once their layout is another one.
    device: Option<OnDevice>,
    /// For each group a number that rises with each part that touches it: none is marked twice in a part.
    marks: Vec<u32>,
    mark: u32,
    /// The groups that the latest batch touched, in the order of their first rows, and their keys.
    touched: Vec<u32>,
    touched_keys: Vec<ArrayRef>,
}

/// A part of a batch, ready to be taken in: groups on the device, or those that the CPU holds.
enum Source<'a> {
    Left(&'a super::Left),
    Cpu(Reduced),
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
            copy: Vec::new(),
            device: None,
            marks: Vec::new(),
            mark: 0,
            touched: Vec::new(),
            touched_keys: Vec::new(),
        };
        if cpu.groups() > 0 {
            for stored in cpu.snapshot()? {
                let groups = reduce.restore(&stored)?.settled()?;
                let reduced = groups.reduced()?;
                here.widen(&spans(&here.layout, &reduced));
                here.copy = here.layout.encode(&reduced)?;
                here.groups = groups.len();
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

    fn widen(&mut self, more: &[(usize, Span)]) {
        if let Some(wider) = self.layout.widened(more) {
            self.copy = self.layout.moved(&self.copy, &wider);
            (self.layout, self.device) = (wider, None);
        }
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

    /// Takes a batch in. After trouble the first [`Here::len`] groups are as they were.
    pub(super) fn take_in(
        &mut self,
        shared: &Shared,
        plan: &KeptPlan,
        parts: &mut Parts,
    ) -> Result<Result<(), Trouble>> {
        let pipelines = shared.pipelines();
        let device = pipelines.device();
        if device.is_lost() {
            return Ok(Err(Trouble::Lost("and no other could be opened".to_owned())));
        }
        if self.device.as_ref().is_some_and(|kept| !Arc::ptr_eq(kept.device(), device)) {
            self.device = None;
        }
        let Work::Groups(groups) = &shared.plan.work else { return Err(Error::internal("rows were to be kept")) };
        let moment = parts.moment;
        let settled = std::mem::take(&mut parts.parts).into_iter().map(|part| settled(shared, part, device, &moment));
        parts.parts = settled.collect::<Result<_>>()?;
        let mut sources = Vec::with_capacity(parts.parts.len());
        let mut keys = Vec::with_capacity(parts.parts.len());
        let mut more = Vec::new();
        for part in &parts.parts {
            match part {
                Part::Left(left) => {
                    more.extend(left.floats.iter().map(|slots| (slots.number, slots.span)));
                    keys.push((left.keys.clone(), left.groups.len()));
                    sources.push(Source::Left(left));
                }
                Part::Here(groups) => {
                    let reduced = groups.reduced()?;
                    more.extend(spans(&self.layout, &reduced));
                    keys.push((groups.keys()?, groups.len()));
                    sources.push(Source::Cpu(reduced));
                }
            }
        }
        self.widen(&more);
        let ids = keys.iter().map(|(keys, groups)| self.number(keys, *groups)).collect::<Result<Vec<_>>>()?;
        if !self.touch(&keys, &ids)? {
            return Ok(Err(Trouble::Rejected("two groups of a batch have one key".to_owned())));
        }
        let after = self.numbers();
        match self.run(shared, (plan, groups), &sources, &ids, after) {
            Ok(changed) => {
                let words = self.layout.words();
                self.copy.resize(after * words, 0);
                for (&id, changed) in self.touched.iter().zip(changed.chunks_exact(words)) {
                    self.copy[id as usize * words..][..words].copy_from_slice(changed);
                }
                self.groups = after;
                for part in std::mem::take(&mut parts.parts) {
                    if let Part::Left(left) = part {
                        shared.keep_slots(left.device, left.slots);
                    }
                }
                Ok(Ok(()))
            }
            Err(trouble) => {
                if let (Trouble::Lost(_) | Trouble::Late(_), Some(kept)) = (&trouble, self.device.take()) {
                    kept.device().give_up();
                }
                Ok(Err(trouble))
            }
        }
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

    /// Runs the submission; gives the words of the groups that were touched.
    fn run(
        &mut self,
        shared: &Shared,
        (plan, groups): (&KeptPlan, &GroupPlan),
        sources: &[Source<'_>],
        ids: &[Vec<u32>],
        after: usize,
    ) -> Result<Vec<u32>, Trouble> {
        let pipelines = shared.pipelines();
        let (device, words) = (pipelines.device(), self.layout.words());
        let fault = shared.faults.next();
        confuse(fault, device)?;
        let kept = match &mut self.device {
            Some(kept) if kept.words() == words => kept,
            kept => {
                let mut worker = Worker::new(Arc::clone(device), shared.holder.stopwatch());
                worker.fault = fault;
                let room = shared.holder.wish().groups_first.unwrap_or(GROUPS_FIRST);
                kept.insert(OnDevice::load(worker, &self.copy, words, room)?)
            }
        };
        kept.worker.fault = fault;
        let mut deltas = Vec::with_capacity(sources.len());
        for (source, ids) in sources.iter().zip(ids).filter(|(_, ids)| !ids.is_empty()) {
            let slot_bits = device.tier.slot_bits();
            deltas.push(match source {
                Source::Left(left) => Delta {
                    given: left.slots.clone(),
                    words: left.stride * slot_bits / 32,
                    fields: self.layout.fields(&Given::by_device(groups, &left.floats, slot_bits)),
                    pairs: left.groups.iter().zip(ids).map(|(&group, &id)| [group, id]).collect(),
                },
                Source::Cpu(reduced) => {
                    let encoded = self.layout.encode(reduced);
                    let encoded = encoded.map_err(|error| Trouble::Rejected(error.to_string()))?;
                    Delta {
                        given: kept.given(&encoded)?,
                        words,
                        fields: self.layout.fields(&self.layout.as_given()),
                        pairs: (0_u32..).zip(ids).map(|(group, &id)| [group, id]).collect(),
                    }
                }
            });
        }
        kept.merge(plan, &pipelines, &deltas, (self.groups, after), &self.touched)
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

    /// The first so many groups, as they are stored.
    pub(super) fn stored(&self, reduce: &KeyedReduce, groups: usize) -> Result<RecordBatch> {
        self.first(reduce, groups)?.store()
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

/// Has the CPU run what was left on another device, or on one that is gone.
fn settled(shared: &Shared, part: Part, device: &Arc<Device>, moment: &Moment) -> Result<Part> {
    match part {
        Part::Left(left) if !Arc::ptr_eq(&left.device, device) => {
            Ok(Part::Here(CpuStage::groups_of(on_cpu(shared, Part::Left(left), moment)?)?))
        }
        other => Ok(other),
    }
}
