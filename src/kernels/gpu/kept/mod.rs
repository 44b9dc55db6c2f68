//! State in device memory: groups that outlive their batch, where they lie and who leads.
//!
//! ```text
//!            keys ▶ numbers (host)                    changed groups
//! batch ─▶ groups of the batch ─▶ taken in ─▶ kept ───────────────▶ the host's copy ─▶ rows out, storage
//!          (stay on the device)   (device)   (device)
//! ```
//!
//! The host knows which key has which number; the device holds what the groups of these numbers have ([`layout`]). A batch
//! is reduced as ever, but its groups stay there, and a second submission takes them in, makes more room if that is needed,
//! and brings back what the groups that the batch touched hold now ([`device`]). With these the host keeps its copy up to
//! date: it is what comes out, what is stored, and what is looked at while batches go on.
//!
//! The copy is changed once all of a submission is known to be good, and the rows of a batch are held until then. So
//! whatever goes wrong, the copy is what was kept before the batch: the CPU goes on from it ([`KeptGroups`], which then
//! leads) with the batch from its rows, and nothing is counted twice. Later batches try a device again.
//!
//! Where only the best groups are taken, they are picked on the device ([`best`]), and of all others nothing comes back: the
//! copy falls behind, and the batches since are held ([`held`]) until somebody asks, or there are too many of them.
//!
//! [`KeptGroups`]: crate::kernels::cpu

mod best;
mod device;
mod encode;
mod held;
mod here;
mod layout;
mod part;
mod plan;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::ArrayRef;

use self::here::{Here, Wanted};
pub(super) use self::part::{LEFT_BYTES_MAX, Left, Part, Parts};
pub(super) use self::plan::KeptPlan;
use super::stage::Shared;
use super::trouble::Trouble;
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, Result};
use crate::kernels::cpu::reduce::KeyedReduce;
use crate::kernels::keep::under;
use crate::kernels::spill::Room;
use crate::kernels::{Kept, Moment, Partial, Partitions, PreparedStage, StageTask};
use crate::plan::keep::OutputMode;

/// Batches that the CPU takes in at most before a device that failed is tried again.
const PAUSE_MAX: u32 = 64;

/// Groups that are kept on a device, or by the CPU as long as there is trouble.
pub(super) struct GpuKept {
    stage: KeptStage,
    /// Who looks at what is kept may have to fetch it from the device first.
    lead: Mutex<Lead>,
}

/// Says, batch by batch, whether what is kept is to lie on the device.
pub trait StatePlace: Send {
    /// A batch is about to be taken in: whether that is to be done on the device.
    fn is_on_device(&mut self, work: &StateWork) -> bool;

    /// It was taken in, on the device or by the CPU, without trouble.
    fn took_in(&mut self, on_device: bool);

    /// What is kept stays with the CPU from now on, for this reason.
    fn stays_with_cpu(&mut self, why: &str);
}

/// What there is to do for a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateWork {
    /// Groups of the batch, those of each part by themselves.
    pub groups: u64,
    /// Groups that are kept.
    pub kept: u64,
    /// Whether all of them come out.
    pub gives_all: bool,
    /// Whether they lie on the device.
    pub is_there: bool,
}

/// What does not change.
struct KeptStage {
    shared: Arc<Shared>,
    reduce: KeyedReduce,
    /// Of what comes out.
    schema: SchemaRef,
    mode: OutputMode,
}

/// Who has what is kept.
struct Lead {
    /// Leads while nothing is on a device.
    cpu: Box<dyn Kept>,
    here: Option<Here>,
    /// Batches that the CPU takes in before a device is tried, and how many it is to be the next time; none if it is not
    /// tried any more.
    pause: Option<(u32, u32)>,
    /// Whether somebody stores what batches change, so that all of it comes back at once.
    is_stored: bool,
    /// Who says where it is to lie; without, on the device whenever it can.
    place: Option<Box<dyn StatePlace>>,
}

impl GpuKept {
    /// Nothing yet; none if the groups of the stage are not kept on a device.
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Option<Self>> {
        if !matches!(shared.plan.kept(), Some(Ok(_))) {
            return Ok(None);
        }
        Self::led_by(shared, shared.cpu.keep()?, None).map(Some)
    }

    /// What the CPU has kept so far; it goes where the other says.
    pub(super) fn led_by(shared: &Arc<Shared>, cpu: Box<dyn Kept>, place: Option<Box<dyn StatePlace>>) -> Result<Self> {
        let kept = shared.cpu.kept_reduce();
        let (reduce, keep, schema) = kept.ok_or_else(|| Error::internal("a stage without groups keeps some"))?;
        let (reduce, schema) = (reduce.clone(), Arc::clone(schema));
        let lead = Lead { cpu, here: None, pause: Some((0, 1)), is_stored: false, place };
        let stage = KeptStage { shared: Arc::clone(shared), reduce, schema, mode: keep.mode };
        Ok(Self { stage, lead: Mutex::new(lead) })
    }

    fn both(&mut self) -> (&KeptStage, &mut Lead) {
        (&self.stage, self.lead.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// What leads, when the host knows all that there is to know.
    fn settled(&self) -> Result<MutexGuard<'_, Lead>> {
        let mut lead = self.lead.lock().unwrap_or_else(PoisonError::into_inner);
        lead.catch_up(&self.stage)?;
        Ok(lead)
    }
}

impl KeptStage {
    fn plan(&self) -> Result<&KeptPlan> {
        match self.shared.plan.kept() {
            Some(Ok(plan)) => Ok(plan),
            _ => Err(Error::internal("groups are kept on a device, but their plan is not")),
        }
    }

    fn rows(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        under(&self.schema, rows.columns().to_vec(), rows.num_rows())
    }
}

impl Lead {
    /// Whether a device is to be tried for this batch.
    fn tries_device(&mut self, stage: &KeptStage) -> bool {
        match &mut self.pause {
            None => false,
            // The CPU goes on while another device is being opened; that is no failure of its.
            Some((0, _)) => !stage.shared.is_opening(),
            Some((left, _)) => {
                *left -= 1;
                // Tasks of the next batch leave their groups on the device, if it is tried.
                stage.shared.keeps_groups.store(*left == 0 && self.place.is_none(), Ordering::Relaxed);
                false
            }
        }
    }

    /// Whether a batch is to be taken in on the device.
    fn wants_device(&mut self, stage: &KeptStage, parts: &Parts) -> bool {
        let Some(place) = &mut self.place else { return true };
        let kept = self.here.as_ref().map_or_else(|| self.cpu.groups(), |here| here.len() as u64);
        let groups = parts.parts.iter().map(|part| part.groups() as u64).sum();
        let (gives_all, is_there) = (stage.mode == OutputMode::Complete, self.here.is_some());
        place.is_on_device(&StateWork { groups, kept, gives_all, is_there })
    }

    /// A batch was taken in, without trouble.
    fn took_in(&mut self, stage: &KeptStage) {
        if let Some(place) = &mut self.place {
            let on_device = self.here.is_some();
            // Tasks of the next batch leave their groups where those are that are kept.
            stage.shared.keeps_groups.store(on_device, Ordering::Relaxed);
            place.took_in(on_device);
        }
    }

    /// Takes a batch in on the device. Whatever the trouble, what is kept is as it was, and the CPU has it.
    fn take_in(&mut self, stage: &KeptStage, parts: &mut Parts) -> Result<Result<(), Trouble>> {
        let plan = stage.plan()?;
        let mut here = match self.here.take() {
            Some(here) => here,
            None => Here::of(plan, &stage.reduce, self.cpu.as_mut())?,
        };
        let is_picked = matches!(plan.best, Some(Ok(_)));
        let is_copied = std::mem::take(&mut self.is_stored) || !is_picked;
        let wanted = Wanted { is_copied, is_of_all: stage.mode == OutputMode::Complete };
        let taken = here.take_in(&stage.shared, plan, parts, wanted)?;
        if taken.is_ok() {
            if self.cpu.groups() > 0 {
                self.cpu = stage.shared.cpu.keep()?;
            }
            self.here = Some(here);
        } else if self.cpu.groups() == 0 {
            // Else the CPU still has what the device was to have.
            here.leave_to(&stage.shared, &stage.reduce, self.cpu.as_mut())?;
        }
        Ok(taken)
    }

    /// Has the host know all that the device has taken in; in trouble, the CPU goes on.
    fn catch_up(&mut self, stage: &KeptStage) -> Result<()> {
        let Some(here) = self.here.as_mut().filter(|here| here.is_behind()) else { return Ok(()) };
        if let Err(trouble) = here.catch_up(&stage.shared, stage.plan()?) {
            self.leave_to_cpu(stage)?;
            self.fell_back(stage, trouble)?;
        }
        Ok(())
    }

    /// The CPU has what is kept from now on.
    fn leave_to_cpu(&mut self, stage: &KeptStage) -> Result<()> {
        match self.here.take() {
            Some(here) => here.leave_to(&stage.shared, &stage.reduce, self.cpu.as_mut()),
            None => Ok(()),
        }
    }

    fn fell_back(&mut self, stage: &KeptStage, trouble: Trouble) -> Result<()> {
        let trouble = match trouble {
            // Limits stay as they are.
            Trouble::TooLarge(text) => {
                self.place.iter_mut().for_each(|place| place.stays_with_cpu(&text));
                self.pause = None;
                Trouble::Outgrown(text)
            }
            other => {
                self.pause = self.pause.map(|(_, next)| (next, (2 * next).min(PAUSE_MAX)));
                other
            }
        };
        stage.shared.keeps_groups.store(false, Ordering::Relaxed);
        stage.shared.fell_back(&trouble)
    }

    /// What comes out after a batch that a device has taken in.
    fn answer(&mut self, stage: &KeptStage) -> Result<RecordBatch> {
        let (reduce, is_of_all) = (&stage.reduce, stage.mode == OutputMode::Complete);
        let Some(here) = &mut self.here else { return Ok(RecordBatch::new_empty(reduce.output_schema())) };
        match here.best(reduce, is_of_all)? {
            Some(best) => best.finish(),
            None if is_of_all => here.all(reduce)?.finish(),
            None => here.touched(reduce)?.finish(),
        }
    }
}

/// A part as the CPU goes on with it: what was left on a device is run again from its rows.
pub(super) fn on_cpu(shared: &Shared, part: Part, moment: &Moment) -> Result<Partial> {
    let pieces = match part {
        Part::Here(groups) => return Ok(shared.cpu.partial_of(*groups)),
        Part::Left(Left { pieces, .. }) | Part::Rows(pieces) => pieces,
    };
    let mut task = shared.cpu.begin_task(moment)?;
    pieces.iter().try_for_each(|piece| task.push(piece))?;
    task.finish()
}

impl Kept for GpuKept {
    fn absorb(&mut self, partials: Vec<Partial>, moment: &Moment) -> Result<Partitions> {
        let (stage, lead) = self.both();
        let mut parts = Parts::of(partials)?;
        let (tries, wants) = (lead.tries_device(stage), lead.wants_device(stage, &parts));
        let mut is_well = true;
        if tries && wants {
            match lead.take_in(stage, &mut parts)? {
                Ok(()) => {
                    lead.pause = Some((0, 1));
                    stage.shared.record.took_in();
                    let answer = stage.rows(&lead.answer(stage)?)?;
                    lead.took_in(stage);
                    return Ok(vec![vec![answer]]);
                }
                Err(trouble) => lead.fell_back(stage, trouble)?,
            }
            is_well = false;
        } else {
            // Rather than to run again what the device has taken in.
            lead.catch_up(stage)?;
        }
        lead.leave_to_cpu(stage)?;
        let partials = parts.parts.into_iter().map(|part| on_cpu(&stage.shared, part, &parts.moment));
        let answer = lead.cpu.absorb(partials.collect::<Result<_>>()?, moment)?;
        if is_well {
            lead.took_in(stage);
        }
        Ok(answer)
    }

    fn changes(&mut self) -> Result<Vec<RecordBatch>> {
        let (stage, lead) = self.both();
        lead.is_stored = true;
        lead.catch_up(stage)?;
        match &lead.here {
            Some(here) => Ok(vec![here.touched(&stage.reduce)?.store()?]),
            None => lead.cpu.changes(),
        }
    }

    fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        let (stage, lead) = self.both();
        lead.catch_up(stage)?;
        match &lead.here {
            Some(here) => Ok(vec![here.stored(&stage.reduce)?]),
            None => lead.cpu.snapshot(),
        }
    }

    fn restore(&mut self, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Result<()> {
        let (_, lead) = self.both();
        lead.here = None;
        lead.cpu.restore(snapshot, changes)
    }

    fn can_spill(&self) -> bool {
        self.lead.lock().unwrap_or_else(PoisonError::into_inner).cpu.can_spill()
    }

    /// A bound on memory is kept by the CPU, which then leads.
    fn spill_to(&mut self, room: &Room) {
        let (stage, lead) = self.both();
        lead.pause = None;
        stage.shared.keeps_groups.store(false, Ordering::Relaxed);
        lead.cpu.spill_to(room);
    }

    fn uses_threads(&self) -> bool {
        self.lead.lock().unwrap_or_else(PoisonError::into_inner).cpu.uses_threads()
    }

    fn groups(&self) -> u64 {
        let lead = self.lead.lock().unwrap_or_else(PoisonError::into_inner);
        lead.here.as_ref().map_or_else(|| lead.cpu.groups(), |here| here.len() as u64)
    }

    fn scan(&self) -> Result<RecordBatch> {
        let lead = self.settled()?;
        match &lead.here {
            Some(here) => self.stage.rows(&here.all(&self.stage.reduce)?.finish()?),
            None => lead.cpu.scan(),
        }
    }

    fn get(&self, key: &[ArrayRef]) -> Result<RecordBatch> {
        let lead = self.settled()?;
        match &lead.here {
            Some(here) => self.stage.rows(&here.of_key(&self.stage.reduce, key)?.finish()?),
            None => lead.cpu.get(key),
        }
    }
}
