//! What can be done to a batch, and the one interface between the engine and the backends that do it.
//!
//! Each operation has one name and stands in two places: `kernels/<op>.rs` holds its contract and a slow, obvious
//! `reference`, the oracle of all tests; `kernels/cpu/<op>.rs` holds the fast twin. Kernels do no I/O, read no clock and
//! keep no memory of earlier batches of their own: same input, same answer. Groups that outlive their batch are an object
//! that the runtime owns ([`keep`]).

pub mod count_windows;
pub mod cpu;
pub mod drop_duplicates;
pub mod exact_sum;
pub mod explode;
pub mod filter;
pub mod flow;
pub mod fold_windows;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod group_ids;
pub mod hash;
pub mod join;
pub mod join_asof;
pub mod join_streams;
pub mod keep;
pub mod map_state;
pub mod project;
pub mod reduce;
mod reference;
pub mod reference_stage;
pub mod repartition;
pub mod sessions;
mod site;
pub mod sort;
pub mod spill;
pub mod stored;
pub mod user_function;
pub mod validate;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::columnar::RecordBatch;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::ROW_NUMBERS_MAX;
use crate::plan::stage::{Registry, Stage};

pub use flow::Flow;
pub use keep::{Kept, Moment, Sighting};
pub use validate::Findings;

/// What a stage gives: for each partition its batches, in order. Empty batches may be left out.
pub type Partitions = Vec<Vec<RecordBatch>>;

/// What there is once cuts were added up: partials, in order, and tasks that have nothing left and may take another cut.
pub type AddedCuts = (Vec<Partial>, Vec<Box<dyn StageTask>>);

/// A way to run fused stages.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Short name used by `explain`, in progress records and benchmark ids, e.g. `cpu`.
    fn name(&self) -> &str;

    /// What of the machine it uses, if there is a choice: which vector instructions, for example.
    fn manner(&self) -> Option<String> {
        None
    }

    /// Whether `stage` can run here; if not, the reason, which `explain` prints.
    ///
    /// # Errors
    /// The reason, in one sentence.
    fn supports(&self, stage: &Stage) -> Result<(), String>;

    /// What of a stage that it supports it leaves to the CPU, if anything, or does by the way.
    fn leaves(&self, _stage: &Stage) -> Option<String> {
        None
    }

    /// How the groups of a stage may be found and where they may be added up, before there were any rows.
    fn group_ids(&self, _stage: &Stage) -> Option<String> {
        None
    }

    /// Does all work that does not depend on data. Called once, when a query starts.
    ///
    /// # Errors
    /// What is wrong with the stage or its functions.
    fn prepare(&self, stage: &Stage, registry: &Registry) -> Result<Arc<dyn PreparedStage>>;
}

/// A stage ready to run on many batches, from many threads.
///
/// # Contract
/// 1. Pure: equal input gives equal output on every backend, however it is cut into batches and partitions, up to
///    `docs/semantics.md`. *(tested)*
/// 2. Rows keep the order of partitions and of batches in them, unless the stage sorts. *(tested)*
/// 3. What cannot be computed is an error, never a short or zero-filled output. *(tested)*
pub trait PreparedStage: Send + Sync {
    /// Starts the work on one partition of one micro-batch.
    ///
    /// # Errors
    /// None once the stage has been prepared, save for faults of the backend.
    fn begin(&self) -> Result<Box<dyn StageTask>>;

    /// As [`PreparedStage::begin`], for a stage that asks how late it is.
    ///
    /// # Errors
    /// As for [`PreparedStage::begin`].
    fn begin_at(&self, moment: &Moment) -> Result<Box<dyn StageTask>> {
        let _ = moment;
        self.begin()
    }

    /// Starts a task that takes turns with others of its kind: each takes in stretches of the rows, in turns that have numbers
    /// ([`StageTask::begin_turn`]), and merging what they give is merging what tasks gave that had the same stretches one
    /// after another. None where that cannot be, since the order of rows counts.
    ///
    /// # Errors
    /// As for [`PreparedStage::begin`].
    fn begin_turns(&self) -> Result<Option<Box<dyn StageTask>>> {
        Ok(None)
    }

    /// No groups yet, for a stage whose groups outlive their batch: its partials are taken in there, and not merged.
    ///
    /// # Errors
    /// `Unsupported` by a backend that cannot keep groups.
    fn keep(&self) -> Result<Box<dyn Kept>> {
        Err(Error::new(ErrorKind::Unsupported, "this backend keeps no state from batch to batch")
            .advice("run the query on the cpu"))
    }

    /// Puts together what the tasks of all partitions gave, in the order of the partitions.
    ///
    /// # Errors
    /// Overflow while partial aggregates are merged, or a user's function that failed.
    fn merge(&self, partials: Vec<Partial>) -> Result<Partitions>;

    /// Puts partials together in their order, without ending the stage, so that fewer are held: merging what this gives
    /// is merging what it was given. Those that cannot be put together stay as they are.
    ///
    /// # Errors
    /// As for [`PreparedStage::merge`].
    fn combine(&self, partials: Vec<Partial>) -> Result<Vec<Partial>> {
        Ok(partials)
    }

    /// Puts the partials of cuts behind what was made of all cuts before, if there were some. Gives the partials that there are
    /// then, in their order, and tasks that have nothing left and may take another cut.
    ///
    /// # Errors
    /// As for [`PreparedStage::merge`].
    fn add_cuts(&self, before: Option<Partial>, cuts: Vec<Partial>) -> Result<AddedCuts> {
        Ok((before.into_iter().chain(cuts).collect(), Vec::new()))
    }

    /// Takes back what nobody needs any more: its memory may serve another task.
    fn give_back(&self, partial: Partial) {
        drop(partial);
    }

    /// How a keyed reduce finds the groups of its rows: what is possible before the first run, and what the rows of the
    /// latest run made of it afterwards. For people; none if there is nothing to tell.
    fn group_ids(&self) -> Option<String> {
        None
    }

    /// What there is to be known since somebody last asked.
    fn notice(&self) -> Notice {
        Notice::default()
    }

    /// What was chosen for the rows since somebody last asked; none by a backend that does not choose.
    fn choice(&self) -> Option<DeviceChoice> {
        None
    }

    /// What was chosen for the latest rows and why, and what they took, in one sentence, as often as it is asked; none by a
    /// backend that does not choose, or before there were rows.
    fn latest_choice(&self) -> Option<String> {
        None
    }

    /// Partials, in their order, as columns that can leave the process: see [`stored`].
    ///
    /// # Errors
    /// As for [`PreparedStage::merge`]; `Unsupported` by a backend whose partials cannot be stored.
    fn store(&self, partials: Vec<Partial>) -> Result<RecordBatch> {
        drop(partials);
        Err(cannot_store())
    }

    /// The partial that [`PreparedStage::store`] made columns of, in this or another process.
    ///
    /// # Errors
    /// `InvalidOption` for columns that this stage does not store, `Unsupported` for another format, `Corrupt` for what
    /// nothing can have stored.
    fn restore(&self, batch: &RecordBatch) -> Result<Partial> {
        let _ = batch;
        Err(cannot_store())
    }
}

/// Where rows of a stage ran that may run on either device, and why.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DeviceChoice {
    /// `cpu`, `gpu`, or `cpu and gpu`.
    pub device: &'static str,
    /// Rows that ran on the CPU.
    pub cpu_rows: u64,
    /// Rows that ran on the GPU.
    pub gpu_rows: u64,
    /// Milliseconds that the work was expected to take, the sum over all threads.
    pub predicted_ms: f64,
    /// Milliseconds that it took.
    pub measured_ms: f64,
    /// Why, in one sentence: that of the latest choice.
    pub reason: String,
    /// Where what is kept from batch to batch lies if that is chosen, and why, in one sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
}

/// What a backend wants people to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notice {
    /// Pieces of a batch that a device could not finish and that were run again on the CPU.
    pub fallen_back: u64,
    /// Why, the last time.
    pub reason: Option<String>,
    /// What else went wrong with a device, each told once.
    pub failures: Vec<String>,
}

impl Notice {
    /// Adds what another backend wants people to know.
    pub fn add(&mut self, other: Self) {
        self.fallen_back += other.fallen_back;
        self.reason = other.reason.or_else(|| self.reason.take());
        self.failures.extend(other.failures);
    }

    /// The sentences for people, if there is something to say.
    pub fn warnings(&self) -> Vec<String> {
        let reason = self.reason.as_ref().filter(|_| self.fallen_back > 0);
        let fallen_back =
            |reason| format!("{} pieces of the batch were run again on the CPU: {reason}", self.fallen_back);
        self.failures.iter().cloned().chain(reason.map(fallen_back)).collect()
    }
}

/// The work on one partition.
pub trait StageTask: Send {
    /// Runs the steps on the next batch of the partition.
    ///
    /// # Errors
    /// A value that cannot be computed, or a user's function that failed.
    fn push(&mut self, batch: &RecordBatch) -> Result<()>;

    /// The rows from now on belong to this turn: they come after all rows of earlier turns, whichever task takes them in, and
    /// in the order of the tasks within the turn. Turn 0 has begun before; turns rise. Only for tasks of
    /// [`PreparedStage::begin_turns`].
    ///
    /// # Errors
    /// `Internal` by other tasks.
    fn begin_turn(&mut self, turn: u64) -> Result<()> {
        Err(Error::internal(format!("a task that takes no turns was told of turn {turn}")))
    }

    /// Runs rows that wait for more, since all have been pushed: what is told of the task is whole afterwards.
    ///
    /// # Errors
    /// As for [`StageTask::push`].
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }

    /// What the task has seen of time so far.
    fn sighting(&self) -> Sighting {
        Sighting::default()
    }

    /// Where the rows went that were pushed so far; none by a backend that does not count them.
    fn flow(&self) -> Option<Flow> {
        None
    }

    /// What rules found in the rows since the last call.
    fn take_findings(&mut self) -> Findings {
        Findings::default()
    }

    /// Ends the partition.
    ///
    /// # Errors
    /// As for [`StageTask::push`].
    fn finish(self: Box<Self>) -> Result<Partial>;
}

/// What a task gives.
pub enum Partial {
    /// Rows, in order.
    Rows(Vec<RecordBatch>),
    /// Groups that wait to be merged with those of the other partitions; the type belongs to the backend.
    Groups(Box<dyn std::any::Any + Send>),
}

impl Partial {
    /// The rows of a stage that does not group.
    ///
    /// # Errors
    /// `Internal` for groups.
    pub fn into_rows(self) -> Result<Vec<RecordBatch>> {
        match self {
            Self::Rows(rows) => Ok(rows),
            Self::Groups(_) => Err(Error::internal("a stage was given the partials of another")),
        }
    }
}

impl fmt::Debug for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(batches) => f.debug_tuple("Rows").field(&batches.len()).finish(),
            Self::Groups(_) => f.write_str("Groups"),
        }
    }
}

fn cannot_store() -> Error {
    Error::new(ErrorKind::Unsupported, "this backend cannot store what a stage holds")
        .advice("run the stage on the cpu")
}

/// A row's number as kernels that move rows hold it.
///
/// # Errors
/// `Unsupported` for more rows than [`ROW_NUMBERS_MAX`] in one place.
pub(crate) fn row_number(row: usize) -> Result<u32> {
    match u32::try_from(row) {
        Ok(number) if row <= ROW_NUMBERS_MAX => Ok(number),
        _ => {
            Err(Error::new(ErrorKind::Unsupported, format!("more than {ROW_NUMBERS_MAX} rows are to be moved at once"))
                .advice("bound the batch, for example with max_bytes_per_batch, or use a smaller table"))
        }
    }
}
