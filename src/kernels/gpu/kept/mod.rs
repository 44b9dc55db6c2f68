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
//! [`KeptGroups`]: crate::kernels::cpu

mod device;
mod encode;
mod here;
mod layout;
mod part;
mod plan;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow_array::ArrayRef;

use self::here::Here;
pub(super) use self::part::{LEFT_BYTES_MAX, Left, Part, Parts};
pub(super) use self::plan::KeptPlan;
use super::stage::Shared;
use super::trouble::{Fault, Trouble};
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::Result;
use crate::kernels::cpu::reduce::KeyedReduce;
use crate::kernels::keep::under;
use crate::kernels::spill::Room;
use crate::kernels::{Kept, Moment, Partial, Partitions, PreparedStage, StageTask};
use crate::plan::keep::OutputMode;

/// Batches that the CPU takes in at most before a device that failed is tried again.
const PAUSE_MAX: u32 = 64;

/// Groups that are kept on a device, or by the CPU as long as there is trouble.
pub(super) struct GpuKept {
    shared: Arc<Shared>,
    reduce: KeyedReduce,
    /// Of what comes out.
    schema: SchemaRef,
    mode: OutputMode,
    /// Leads while nothing is on a device.
    cpu: Box<dyn Kept>,
    here: Option<Here>,
    /// Batches that the CPU takes in before a device is tried, and how many it is to be the next time; none if it is not
    /// tried any more.
    pause: Option<(u32, u32)>,
}

impl GpuKept {
    /// Nothing yet; none if the groups of the stage are not kept on a device.
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Option<Self>> {
        let Some((reduce, keep, schema)) = shared.cpu.kept_reduce() else { return Ok(None) };
        if !matches!(shared.plan.kept(), Some(Ok(_))) {
            return Ok(None);
        }
        Ok(Some(Self {
            shared: Arc::clone(shared),
            reduce: reduce.clone(),
            schema: Arc::clone(schema),
            mode: keep.mode,
            cpu: shared.cpu.keep()?,
            here: None,
            pause: Some((0, 1)),
        }))
    }

    /// Whether a device is to be tried for this batch.
    fn tries_device(&mut self) -> bool {
        match &mut self.pause {
            None => false,
            Some((0, _)) => true,
            Some((left, _)) => {
                *left -= 1;
                // Tasks of the next batch leave their groups on the device, if it is tried.
                self.shared.keeps_groups.store(*left == 0, Ordering::Relaxed);
                false
            }
        }
    }

    /// Takes a batch in on the device. Whatever the trouble, what is kept is as it was.
    fn take_in(&mut self, parts: &mut Parts) -> Result<Result<(), Trouble>> {
        let Some(Ok(plan)) = self.shared.plan.kept() else { return Ok(Err(Trouble::Value)) };
        let mut here = match self.here.take() {
            Some(here) => here,
            None => Here::of(plan, &self.reduce, self.cpu.as_mut())?,
        };
        let before = here.len();
        let taken = here.take_in(&self.shared, plan, parts)?;
        match taken {
            Ok(()) if self.cpu.groups() > 0 => self.cpu = self.shared.cpu.keep()?,
            Ok(()) => {}
            // The CPU already has it if it has just been asked for it.
            Err(_) if self.cpu.groups() > 0 => return Ok(taken),
            Err(_) => {
                if before > 0 {
                    self.cpu.restore(&[here.stored(&self.reduce, before)?], &[])?;
                }
                return Ok(taken);
            }
        }
        self.here = Some(here);
        Ok(taken)
    }

    fn fell_back(&mut self, trouble: &Trouble) -> Result<()> {
        self.pause = match (trouble, self.pause) {
            // Limits stay as they are.
            (Trouble::TooLarge(_), _) | (_, None) => None,
            (_, Some((_, next))) => Some((next, (2 * next).min(PAUSE_MAX))),
        };
        self.shared.keeps_groups.store(false, Ordering::Relaxed);
        self.shared.fell_back(trouble)
    }
}

/// A part as the CPU goes on with it: what was left on a device is run again from its rows.
pub(super) fn on_cpu(shared: &Shared, part: Part, moment: &Moment) -> Result<Partial> {
    match part {
        Part::Here(groups) => Ok(shared.cpu.partial_of(groups)),
        Part::Left(left) => {
            let mut task = shared.cpu.begin_task(moment)?;
            left.pieces.iter().try_for_each(|piece| task.push(piece))?;
            task.finish()
        }
    }
}

impl Kept for GpuKept {
    fn absorb(&mut self, partials: Vec<Partial>, moment: &Moment) -> Result<Partitions> {
        let mut parts = Parts::of(partials)?;
        if self.tries_device() {
            match self.take_in(&mut parts)? {
                Ok(()) => {
                    self.pause = Some((0, 1));
                    self.shared.record.took_in();
                    let rows = match (&self.here, self.mode) {
                        (Some(here), OutputMode::Complete) => here.all(&self.reduce)?.finish()?,
                        (Some(here), _) => here.touched(&self.reduce)?.finish()?,
                        (None, _) => RecordBatch::new_empty(self.reduce.output_schema()),
                    };
                    return Ok(vec![vec![self.rows(&rows)?]]);
                }
                Err(trouble) => self.fell_back(&trouble)?,
            }
        }
        if let Some(here) = self.here.take() {
            self.cpu.restore(&[here.stored(&self.reduce, here.len())?], &[])?;
        }
        let partials = parts.parts.into_iter().map(|part| on_cpu(&self.shared, part, &parts.moment));
        self.cpu.absorb(partials.collect::<Result<_>>()?, moment)
    }

    fn changes(&mut self) -> Result<Vec<RecordBatch>> {
        match &self.here {
            Some(here) => Ok(vec![here.touched(&self.reduce)?.store()?]),
            None => self.cpu.changes(),
        }
    }

    fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        match &self.here {
            Some(here) => Ok(vec![here.stored(&self.reduce, here.len())?]),
            None => self.cpu.snapshot(),
        }
    }

    fn restore(&mut self, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Result<()> {
        self.here = None;
        self.cpu.restore(snapshot, changes)
    }

    fn can_spill(&self) -> bool {
        self.cpu.can_spill()
    }

    /// A bound on memory is kept by the CPU, which then leads.
    fn spill_to(&mut self, room: &Room) {
        self.pause = None;
        self.shared.keeps_groups.store(false, Ordering::Relaxed);
        self.cpu.spill_to(room);
    }

    fn uses_threads(&self) -> bool {
        self.cpu.uses_threads()
    }

    fn groups(&self) -> u64 {
        self.here.as_ref().map_or_else(|| self.cpu.groups(), |here| here.len() as u64)
    }

    fn scan(&self) -> Result<RecordBatch> {
        match &self.here {
            Some(here) => self.rows(&here.all(&self.reduce)?.finish()?),
            None => self.cpu.scan(),
        }
    }

    fn get(&self, key: &[ArrayRef]) -> Result<RecordBatch> {
        match &self.here {
            Some(here) => self.rows(&here.of_key(&self.reduce, key)?.finish()?),
            None => self.cpu.get(key),
        }
    }
}

impl GpuKept {
    fn rows(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        under(&self.schema, rows.columns().to_vec(), rows.num_rows())
    }
}

/// Trouble on purpose, if a test has asked for some, at the beginning of a batch.
fn confuse(fault: Option<Fault>, device: &super::device::Device) -> Result<(), Trouble> {
    if fault == Some(Fault::Confuse) {
        device.pipeline("confused", "this is no shader", &[])?;
    }
    Ok(())
}
