//! A stage that runs on the CPU or on the GPU, piece by piece, whichever is expected to be faster.
//!
//! A task (`auto_task`) decides for each span of rows, and what a span has taken is learned here, for all tasks of the stage.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::auto_state::{AutoKept, StateChooser};
use super::auto_task::AutoTask;
use super::chooser::{Choice, Chooser, Costs, Side, Work};
use super::search::{Machine, Search};
use crate::clock::SystemClock;
use crate::columnar::RecordBatch;
use crate::error::Result;
use crate::kernels::cpu::CpuBackend;
use crate::kernels::gpu::{GpuStage, Traffic, refusal};
use crate::kernels::{
    AddedCuts, Backend, DeviceChoice, Findings, Flow, Kept, Moment, Notice, Partial, Partitions, PreparedStage,
    Sighting, StageTask,
};
use crate::plan::stage::{End, Registry, Stage};

/// The backend's name.
pub(super) const NAME: &str = "cpu or gpu";

/// Rows of a stage after which a GPU is looked for: what is less is done before one is found.
const ROWS_BEFORE_SEARCH: u64 = 1 << 20;

/// Sizes that `explain` asks for, as powers of two.
const SIZES_TOLD: std::ops::RangeInclusive<u32> = 10..=22;

/// Chooses between the CPU and a GPU.
#[derive(Debug)]
pub(super) struct AutoBackend {
    search: Search,
    /// Whether it was told that a GPU could not be opened or measured.
    is_told: Arc<AtomicBool>,
}

impl AutoBackend {
    pub(super) fn new(search: Search) -> Self {
        Self { search, is_told: Arc::default() }
    }

    pub(super) fn stage(&self, stage: &Stage, registry: &Registry) -> Result<AutoStage> {
        let shared = Shared {
            stage: stage.clone(),
            registry: registry.clone(),
            search: self.search.clone(),
            is_told: Arc::clone(&self.is_told),
            clock: SystemClock::new(),
            rows: AtomicU64::new(0),
            both: OnceLock::new(),
            told: Mutex::default(),
            latest: Mutex::default(),
        };
        Ok(AutoStage { cpu: CpuBackend::new().prepare(stage, registry)?, shared: Arc::new(shared) })
    }

    /// What is expected of a stage, in one sentence.
    pub(super) fn outlook(&self, stage: &Stage) -> String {
        let machine = match self.search.found() {
            None => return "on the cpu until much has come, then whichever is faster if there is a gpu".to_owned(),
            Some(Err(reason)) => return format!("on the cpu: {reason}"),
            Some(Ok(machine)) => machine,
        };
        let prepared = machine.backend.beside().prepare_stage(stage, &Registry::default());
        let Ok(prepared) = prepared else { return "whichever is faster, as measured in each batch".to_owned() };
        let both = Both::new(prepared, machine);
        let adapter = machine.backend.adapter();
        let is_faster = |&size: &u32| both.lock().peek(both.work(1 << size)).side == Side::Gpu;
        let kept = match (&stage.end, both.gpu.kept_refusal()) {
            (End::Keep(_), Some(reason)) => {
                format!("; what is kept from batch to batch is on the cpu, because {reason}")
            }
            (End::Keep(_), None) => "; what is kept from batch to batch is where that is faster".to_owned(),
            _ => String::new(),
        };
        let outlook = match SIZES_TOLD.into_iter().find(is_faster) {
            Some(size) => format!(
                "whichever is faster: by calibrated rates {adapter} is from about {} rows a piece on, and what is measured counts more",
                1_u64 << size
            ),
            None => format!(
                "whichever is faster: by calibrated rates {adapter} is not, however many rows there are, and what is measured counts more"
            ),
        };
        outlook + &kept
    }
}

impl Backend for AutoBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn supports(&self, stage: &Stage) -> Result<(), String> {
        refusal(stage).map_or(Ok(()), Err)
    }

    fn prepare(&self, stage: &Stage, registry: &Registry) -> Result<Arc<dyn PreparedStage>> {
        Ok(Arc::new(self.stage(stage, registry)?))
    }
}

/// A stage that may run on either.
pub(super) struct AutoStage {
    /// What there is as long as no GPU has been found.
    cpu: Arc<dyn PreparedStage>,
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    stage: Stage,
    registry: Registry,
    search: Search,
    is_told: Arc<AtomicBool>,
    pub(super) clock: SystemClock,
    /// Rows that came before a GPU was looked for.
    rows: AtomicU64,
    /// None inside if there is no GPU, or none that runs the stage.
    both: OnceLock<Option<Both>>,
    told: Mutex<DeviceChoice>,
    latest: Mutex<Option<String>>,
}

/// The stage on the device that was found, which has the CPU beside it.
pub(super) struct Both {
    pub(super) gpu: GpuStage,
    /// Bits of a row as it lies.
    bits: u64,
    chooser: Mutex<Chooser>,
    /// Where what is kept is to lie.
    pub(super) state: Mutex<StateChooser>,
    /// Rows of the task that was done last, at most one span; 0 before there was one.
    pub(super) expected: AtomicUsize,
    /// Whether the device has run the stage: the first time, and the first time after trouble, shaders are compiled.
    is_warm: AtomicBool,
}

impl Both {
    fn new(gpu: GpuStage, machine: &Machine) -> Self {
        let traffic = gpu.traffic();
        let (cpu, device) = costs(&traffic, machine);
        let chooser = Mutex::new(Chooser::new(cpu, device));
        let state = Mutex::new(StateChooser::new(machine, gpu.picks_first()));
        let (expected, is_warm) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { gpu, bits: traffic.bits_up, chooser, state, expected, is_warm }
    }

    pub(super) fn lock(&self) -> std::sync::MutexGuard<'_, Chooser> {
        self.chooser.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What would be chosen now.
    pub(super) fn peek(&self, work: Work) -> Choice {
        self.ask(work, |chooser| chooser.peek(work))
    }

    /// Chooses for a piece that is done next.
    pub(super) fn choose(&self, work: Work) -> Choice {
        self.ask(work, |chooser| chooser.choose(work))
    }

    /// A device that is lost cannot be chosen.
    fn ask(&self, work: Work, ask: impl FnOnce(&mut Chooser) -> Choice) -> Choice {
        if self.gpu.is_there() {
            return ask(&mut self.lock());
        }
        self.is_warm.store(false, Ordering::Relaxed);
        self.lock().peek(work).without_gpu()
    }

    pub(super) fn work(&self, rows: usize) -> Work {
        let rows = rows as u64;
        Work { rows, bytes: rows * self.bits / 8, sent: rows * self.gpu.sent_bits().unwrap_or(self.bits) / 8 }
    }
}

/// What a stage is expected to cost on the CPU and on the GPU, before it was measured.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn costs(traffic: &Traffic, machine: &Machine) -> (Costs, Costs) {
    let (rates, cpu) = (machine.calibration.rates, machine.calibration.cpu);
    // Rough, since what expressions and keys really cost is found out at the first piece.
    let (row, grouped_row, device_row) = (1e-9, 8e-9, 2e-10);
    let per_row = if traffic.has_groups { row + grouped_row } else { row };
    let down = traffic.bits_down as f64 / 8.0 / rates.down;
    (
        Costs { fixed: 5e-6, per_row, per_byte: 1.0 / cpu, per_sent: 0.0 },
        Costs {
            fixed: 2.0 * rates.round_trip,
            per_row: device_row + down,
            per_byte: 0.0,
            per_sent: 1.0 / rates.up + traffic.passes as f64 / rates.copy,
        },
    )
}

impl Shared {
    /// Both devices, once there are both.
    pub(super) fn both(&self) -> Option<&Both> {
        if self.both.get().is_none() {
            let found = self.search.found()?;
            let prepare = |machine: &Machine| {
                let gpu = machine.backend.beside().prepare_stage(&self.stage, &self.registry).ok()?;
                Some(Both::new(gpu, machine))
            };
            self.both.get_or_init(|| found.ok().and_then(prepare));
        }
        self.both.get().and_then(Option::as_ref)
    }

    /// Rows have come that no GPU could be asked for.
    fn saw(&self, rows: usize) {
        let before = self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        if before + rows as u64 >= ROWS_BEFORE_SEARCH && self.both.get().is_none() {
            self.search.begin();
        }
    }

    /// A span is done; so many of its rows the CPU did in the GPU's stead.
    fn tell(&self, choice: &Choice, work: Work, fallen_back: u64, seconds: f64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let on_gpu = if choice.side == Side::Gpu { work.rows.saturating_sub(fallen_back) } else { 0 };
        told.gpu_rows += on_gpu;
        told.cpu_rows += work.rows - on_gpu;
        told.predicted_ms += 1e3 * choice.expected_of(choice.side);
        told.measured_ms += 1e3 * seconds;
        told.reason = reason(choice, work, fallen_back);
        let latest = format!("{}; it took {:.3} ms", told.reason, 1e3 * seconds);
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(latest);
    }

    /// A span is done, in so many seconds, and so many of its rows the CPU did in the GPU's stead: it teaches something, and is told.
    pub(super) fn done(&self, choice: &Choice, work: Work, run: Result<(f64, u64)>) -> Result<()> {
        let Some(both) = self.both() else { return run.map(drop) };
        let (seconds, fallen_back) = match run {
            Ok(done) => done,
            Err(error) => {
                // Whoever tries next need not wait for this one.
                both.lock().learn(choice, work, None);
                return Err(error);
            }
        };
        if choice.side == Side::Gpu && fallen_back > 0 {
            // The time is that of the trouble and of the CPU, and another device may have to compile the shaders again.
            both.is_warm.store(false, Ordering::Relaxed);
            both.lock().fell_back(choice);
        } else {
            // The first time on a device, its shaders were compiled: that says nothing of the next time.
            let says = choice.side == Side::Cpu || both.is_warm.swap(true, Ordering::Relaxed);
            both.lock().learn(choice, work, says.then_some(seconds));
        }
        self.tell(choice, work, fallen_back, seconds);
        Ok(())
    }

    /// What is kept lies on this side.
    pub(super) fn tell_state(&self, text: String) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).state = text;
    }

    /// The stage that makes one of what tasks gave: any can, but the one that began them has their tables back.
    fn one<'a>(&'a self, cpu: &'a dyn PreparedStage) -> &'a dyn PreparedStage {
        self.both.get().and_then(Option::as_ref).map_or(cpu, |both| &both.gpu)
    }
}

/// Why, in one sentence.
fn reason(choice: &Choice, work: Work, fallen_back: u64) -> String {
    let (side, other) = match choice.side {
        Side::Cpu => (Side::Cpu, Side::Gpu),
        Side::Gpu => (Side::Gpu, Side::Cpu),
    };
    let expected = format!(
        "{:.3} ms for {} rows, and the {} {:.3} ms",
        1e3 * choice.expected_of(side),
        work.rows,
        other.name(),
        1e3 * choice.expected_of(other)
    );
    let source = match choice.measured {
        [true, true] => "as measured",
        [false, false] => "by calibrated rates",
        _ => "as far as measured",
    };
    let name = side.name();
    let is_expected = format!("is expected to take {expected}, {source}");
    match (choice.is_trial, choice.in_trouble) {
        _ if fallen_back > 0 => format!("the {name} {is_expected}; it was in trouble, so the cpu did it"),
        (_, true) => format!("the {} is in trouble, so the {name} does it: it {is_expected}", other.name()),
        (true, false) => format!("the {name} is tried to see what it takes now: it {is_expected}"),
        (false, false) => format!("the {name} {is_expected}"),
    }
}

impl fmt::Debug for AutoStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AutoStage").field("search", &self.shared.search).finish_non_exhaustive()
    }
}

impl PreparedStage for AutoStage {
    fn begin(&self) -> Result<Box<dyn StageTask>> {
        self.begin_at(&Moment::default())
    }

    fn begin_at(&self, moment: &Moment) -> Result<Box<dyn StageTask>> {
        let shared = Arc::clone(&self.shared);
        if let Some(both) = shared.both() {
            let (task, rows_max) = (both.gpu.begin_task(moment)?, both.gpu.rows_max());
            return Ok(Box::new(AutoTask::new(shared, task, rows_max)));
        }
        let task = self.cpu.begin_at(moment)?;
        Ok(if shared.search.found().is_some() { task } else { Box::new(EarlyTask { shared, task }) })
    }

    /// As long as there is no GPU: what has begun on the CPU stays there.
    fn begin_turns(&self) -> Result<Option<Box<dyn StageTask>>> {
        let shared = Arc::clone(&self.shared);
        if shared.both().is_some() {
            return Ok(None);
        }
        let begun = self.cpu.begin_turns()?;
        Ok(begun.map(|task| if shared.search.found().is_some() { task } else { Box::new(EarlyTask { shared, task }) }))
    }

    fn keep(&self) -> Result<Box<dyn Kept>> {
        Ok(Box::new(AutoKept::new(self.cpu.keep()?, Arc::clone(&self.shared))))
    }

    fn merge(&self, partials: Vec<Partial>) -> Result<Partitions> {
        self.shared.one(self.cpu.as_ref()).merge(partials)
    }

    fn combine(&self, partials: Vec<Partial>) -> Result<Vec<Partial>> {
        self.shared.one(self.cpu.as_ref()).combine(partials)
    }

    fn add_cuts(&self, before: Option<Partial>, cuts: Vec<Partial>) -> Result<AddedCuts> {
        // What a GPU could have taken over goes on in tasks that ask for one.
        match self.shared.both() {
            Some(_) => Ok((before.into_iter().chain(cuts).collect(), Vec::new())),
            None => self.cpu.add_cuts(before, cuts),
        }
    }

    fn give_back(&self, partial: Partial) {
        self.cpu.give_back(partial);
    }

    fn group_ids(&self) -> Option<String> {
        self.shared.both.get().and_then(Option::as_ref).map_or(&*self.cpu, |both| &both.gpu).group_ids()
    }

    fn notice(&self) -> Notice {
        let mut notice = self.shared.one(self.cpu.as_ref()).notice();
        // Once for all stages of a query.
        if let Some(error) = self.shared.search.trouble()
            && !self.shared.is_told.swap(true, Ordering::Relaxed)
        {
            notice.failures.push(format!("no GPU is used: {error}"));
        }
        notice
    }

    fn choice(&self) -> Option<DeviceChoice> {
        let mut told = std::mem::take(&mut *self.shared.told.lock().unwrap_or_else(PoisonError::into_inner));
        told.device = match (told.cpu_rows, told.gpu_rows) {
            (0, 0) => return None,
            (_, 0) => Side::Cpu.name(),
            (0, _) => Side::Gpu.name(),
            (_, _) => "cpu and gpu",
        };
        Some(told)
    }

    fn latest_choice(&self) -> Option<String> {
        self.shared.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn store(&self, partials: Vec<Partial>) -> Result<RecordBatch> {
        self.cpu.store(partials)
    }

    fn restore(&self, batch: &RecordBatch) -> Result<Partial> {
        self.cpu.restore(batch)
    }
}

/// A task that began before a GPU was found: it runs on the CPU and counts.
struct EarlyTask {
    shared: Arc<Shared>,
    task: Box<dyn StageTask>,
}

impl StageTask for EarlyTask {
    fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        self.shared.saw(batch.num_rows());
        self.task.push(batch)
    }

    fn begin_turn(&mut self, turn: u64) -> Result<()> {
        self.task.begin_turn(turn)
    }

    fn settle(&mut self) -> Result<()> {
        self.task.settle()
    }

    fn sighting(&self) -> Sighting {
        self.task.sighting()
    }

    fn flow(&self) -> Option<Flow> {
        self.task.flow()
    }

    fn take_findings(&mut self) -> Findings {
        self.task.take_findings()
    }

    fn finish(self: Box<Self>) -> Result<Partial> {
        self.task.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use arrow_array::{ArrayRef, Float64Array, Int64Array, StringArray};

    use super::*;
    use crate::columnar::SchemaRef;
    use crate::expr::{Aggregate, Expr, col, len};
    use crate::kernels::gpu::{Fault, Faults, OpeningFault};
    use crate::plan::stage::SourceId;
    use crate::plan::{LogicalPlan, plan};

    /// A search that has found the first adapter there is, software too, for pieces of few rows. None without one.
    fn search(rows_max: usize) -> Option<Search> {
        faulty(rows_max, Faults::default())
    }

    fn faulty(rows_max: usize, faults: Faults) -> Option<Search> {
        Search::faulty_for_test(adapter()?, rows_max, faults)
    }

    fn adapter() -> Option<String> {
        Some(crate::kernels::gpu::adapters().unwrap().into_iter().next()?.name)
    }

    fn rows(count: i64, seed: i64) -> RecordBatch {
        let numbers = |factor: i64| (0..count).map(move |row| (row * factor + seed) * 7919 % 1009);
        let floats: ArrayRef = Arc::new(numbers(3).map(|n| n as f64 / 7.0).collect::<Float64Array>());
        let texts: ArrayRef = Arc::new(numbers(5).map(|n| Some(format!("t{}", n % 37))).collect::<StringArray>());
        let whole: ArrayRef = Arc::new(numbers(1).map(|n| (n % 11 != 0).then_some(n)).collect::<Int64Array>());
        RecordBatch::try_from_iter_with_nullable([("n", whole, true), ("f", floats, true), ("t", texts, true)]).unwrap()
    }

    fn stages(schema: &SchemaRef) -> Vec<Stage> {
        let source = || {
            Arc::new(LogicalPlan::Source { source: SourceId(0), name: "rows".to_owned(), schema: Arc::clone(schema) })
        };
        let kept = || Arc::new(LogicalPlan::Filter { input: source(), predicate: col("n").gt(300) });
        let columns: Vec<Expr> = vec![col("t"), (col("n") * 3).alias("x")];
        let aggregates: Vec<Aggregate> =
            vec![len().alias("rows"), col("n").sum().alias("s"), col("f").mean().alias("m")];
        let plans = [
            LogicalPlan::Select { input: kept(), columns },
            LogicalPlan::Reduce { input: kept(), keys: vec![col("t")], aggregates },
        ];
        plans.into_iter().map(|one| plan(&[Arc::new(one)]).unwrap().stages.remove(0)).collect()
    }

    fn answer(stage: &dyn PreparedStage, partials: Vec<Partial>, schema: &SchemaRef) -> RecordBatch {
        arrow_select::concat::concat_batches(schema, &stage.merge(partials).unwrap().concat()).unwrap()
    }

    /// Costs by which this side always wins before it is measured.
    fn set(both: &Both, side: Side) {
        let (cheap, dear) = (1e-12, 1e3);
        let of = |one: Side| Costs { per_row: if one == side { cheap } else { dear }, ..Costs::default() };
        *both.lock() = Chooser::new(of(Side::Cpu), of(Side::Gpu));
        both.is_warm.store(false, Ordering::Relaxed);
    }

    #[test]
    fn answers_are_the_same_wherever_pieces_run_and_all_rows_are_told() {
        let Some(search) = search(700) else { return };
        let pieces: Vec<RecordBatch> =
            [1, 699, 700, 701, 5, 2500, 64, 1300].into_iter().zip(1..).map(|(count, seed)| rows(count, seed)).collect();
        let total: u64 = pieces.iter().map(|piece| piece.num_rows() as u64).sum();
        for stage in stages(&pieces[0].schema()) {
            let cpu = CpuBackend::new().prepare(&stage, &Registry::default()).unwrap();
            let mut task = cpu.begin().unwrap();
            pieces.iter().for_each(|piece| task.push(piece).unwrap());
            let expected = answer(cpu.as_ref(), vec![task.finish().unwrap()], &stage.output_schema);
            for pattern in 0..12_u32 {
                let auto = AutoBackend::new(search.clone());
                let prepared = auto.stage(&stage, &Registry::default()).unwrap();
                let both = prepared.shared.both().unwrap();
                let mut task = prepared.begin().unwrap();
                for (place, piece) in pieces.iter().enumerate() {
                    let side = match pattern {
                        0 => Side::Cpu,
                        1 => Side::Gpu,
                        _ if (pattern >> (place % 4)) & 1 == 0 => Side::Cpu,
                        _ => Side::Gpu,
                    };
                    set(both, side);
                    both.expected.store((pattern as usize % 3) * 400, Ordering::Relaxed);
                    task.push(piece).unwrap();
                }
                let given = answer(&prepared, vec![task.finish().unwrap()], &stage.output_schema);
                assert_eq!(given, expected, "pattern {pattern}");
                let told = prepared.choice().unwrap();
                assert_eq!(told.cpu_rows + told.gpu_rows, total, "{told:?}");
                assert!(pattern != 0 || (told.device == "cpu" && told.gpu_rows == 0), "{told:?}");
                assert!(pattern != 1 || (told.device == "gpu" && told.cpu_rows == 0), "{told:?}");
                assert!(told.reason.contains("is expected to take"), "{told:?}");
                assert_eq!(prepared.choice(), None, "it is told once");
            }
        }
    }

    /// Costs by which this side always wins, and times of pieces of so many rows on the device that bear them out.
    fn set_measured(both: &Both, side: Side, rows: usize) {
        set(both, side);
        let work = both.work(rows);
        let expected = both.lock().peek(work).expected_of(Side::Gpu);
        let choice = both.lock().given(Side::Gpu, work);
        (0..7).for_each(|_| both.lock().learn(&choice, work, Some(expected)));
        both.is_warm.store(true, Ordering::Relaxed);
    }

    #[test]
    fn up_to_three_spans_are_on_their_way_where_the_device_is_preferred_and_each_is_told_and_timed() {
        for faults in
            [vec![], vec![Some(Fault::Exhaust)], vec![None, None, Some(Fault::Lose)], vec![None, Some(Fault::Lose)]]
        {
            let has_trouble = !faults.is_empty();
            let Some(search) = faulty(300, Faults::new(faults).opened_at_once()) else { return };
            let all = rows(3300, 3);
            for stage in stages(&all.schema()) {
                let cpu = CpuBackend::new().prepare(&stage, &Registry::default()).unwrap();
                let mut task = cpu.begin().unwrap();
                task.push(&all).unwrap();
                let expected = answer(cpu.as_ref(), vec![task.finish().unwrap()], &stage.output_schema);
                let prepared = AutoBackend::new(search.clone()).stage(&stage, &Registry::default()).unwrap();
                let both = prepared.shared.both().unwrap();
                both.gpu.look_at(&all);
                let gpu_task = both.gpu.begin_task(&Moment::default()).unwrap();
                let mut task = Box::new(AutoTask::new(Arc::clone(&prepared.shared), gpu_task, both.gpu.rows_max()));
                let mut under_way = Vec::new();
                for piece in (0..10).map(|place| all.slice(300 * place, 300)) {
                    set_measured(both, Side::Gpu, 300);
                    task.push(&piece).unwrap();
                    under_way.push(task.under_way.len());
                }
                assert!(under_way.iter().all(|&spans| spans <= 3), "{under_way:?}");
                assert!(has_trouble || under_way[3..].iter().all(|&spans| spans == 3), "{under_way:?}");
                // The CPU's rows come behind all of them.
                set_measured(both, Side::Cpu, 300);
                task.push(&all.slice(3000, 300)).unwrap();
                assert!(task.under_way.is_empty());
                let given =
                    answer(&prepared, vec![(task as Box<dyn StageTask>).finish().unwrap()], &stage.output_schema);
                assert_eq!(given, expected);
                let told = prepared.choice().unwrap();
                assert_eq!(told.cpu_rows + told.gpu_rows, 3300, "{told:?}");
                assert_eq!(told.cpu_rows == 300, !has_trouble || prepared.notice().fallen_back == 0, "{told:?}");
                assert!(told.measured_ms > 0.0 && told.gpu_rows > 0, "{told:?}");
            }
        }
    }

    #[test]
    fn a_span_that_tries_the_device_or_is_the_first_of_its_size_is_waited_for_alone() {
        let Some(search) = search(300) else { return };
        let all = rows(1200, 4);
        let prepared = AutoBackend::new(search).stage(&stages(&all.schema())[1], &Registry::default()).unwrap();
        let both = prepared.shared.both().unwrap();
        let gpu_task = both.gpu.begin_task(&Moment::default()).unwrap();
        let mut task = AutoTask::new(Arc::clone(&prepared.shared), gpu_task, both.gpu.rows_max());
        set(both, Side::Gpu);
        task.push(&all.slice(0, 300)).unwrap();
        assert!(task.under_way.is_empty(), "nothing was measured");
        set_measured(both, Side::Gpu, 300);
        task.push(&all.slice(300, 300)).unwrap();
        assert_eq!(task.under_way.len(), 1);
    }

    #[test]
    fn what_the_cpu_did_in_place_of_a_lost_device_teaches_nothing_of_it() {
        let (hold, held) = channel();
        let faults = Faults::new([None, None, Some(Fault::Lose)]).with_openings([OpeningFault::Held(held)]);
        let Some(search) = faulty(1000, faults) else { return };
        let batch = rows(900, 1);
        let stage = &stages(&batch.schema())[1];
        let prepared = AutoBackend::new(search.clone()).stage(stage, &Registry::default()).unwrap();
        let both = prepared.shared.both().unwrap();
        set(both, Side::Gpu);
        let work = || both.work(900);
        let run = || {
            let mut task = prepared.begin().unwrap();
            task.push(&batch).unwrap();
            prepared.merge(vec![task.finish().unwrap()]).unwrap();
            (prepared.choice().unwrap(), prepared.notice().fallen_back)
        };
        // The first one compiles shaders.
        let (told, _) = run();
        assert_eq!((told.device, both.lock().peek(work()).measured), ("gpu", [false, false]));
        assert_eq!(run().0.device, "gpu");
        let known = both.lock().peek(work());
        assert_eq!(known.measured, [false, true]);
        let (told, fallen_back) = run();
        assert_eq!((told.device, told.cpu_rows, told.gpu_rows, fallen_back), ("cpu", 900, 0, 1));
        assert!(told.reason.ends_with("; it was in trouble, so the cpu did it"), "{told:?}");
        assert_eq!(both.lock().peek(work()).expected[Side::Gpu as usize], known.expected[Side::Gpu as usize]);
        // As long as another one is being opened it is not even asked.
        for _ in 0..3 {
            let (told, fallen_back) = run();
            assert_eq!((told.device, told.cpu_rows, fallen_back), ("cpu", 900, 0));
            assert!(
                told.reason.starts_with("the gpu is in trouble, so the cpu does it: it is expected to"),
                "{told:?}"
            );
        }
        let expected = |both: &Both| both.lock().peek(work()).expected[Side::Gpu as usize];
        assert_eq!(expected(both), known.expected[Side::Gpu as usize]);
        drop(hold);
        search.found().unwrap().unwrap().backend.settle();
        // The new one compiles shaders, too: its first piece says nothing, and its second one does.
        set(both, Side::Gpu);
        for measured in [[false, false], [false, true]] {
            let (told, fallen_back) = run();
            assert_eq!((told.device, fallen_back), ("gpu", 0));
            assert_eq!(both.lock().peek(work()).measured, measured);
        }
    }

    #[test]
    fn a_device_is_expected_to_get_what_really_travels() {
        let Some(search) = search(1000) else { return };
        let batch = rows(900, 1);
        let stage = &stages(&batch.schema())[1];
        let prepared = AutoBackend::new(search).stage(stage, &Registry::default()).unwrap();
        let both = prepared.shared.both().unwrap();
        // A code, a whole number and a float.
        let bytes = [32 + 64 + 64, 32 + 16 + 64, 8 + 16 + 64].map(|bits| 800 * bits / 8);
        let work = |sent: u64| Work { rows: 800, bytes: bytes[0], sent };
        assert_eq!(both.work(800), work(bytes[0]));
        both.gpu.look_at(&batch);
        assert_eq!(both.work(800), work(bytes[1]));
        set(both, Side::Gpu);
        let mut task = prepared.begin().unwrap();
        task.push(&batch).unwrap();
        task.finish().unwrap();
        assert_eq!(both.work(800), work(bytes[2]));
    }

    #[test]
    fn tasks_that_began_before_a_gpu_was_found_merge_with_later_ones() {
        let Some(search) = search(1000) else { return };
        let (early, late) = (rows(3000, 1), rows(4000, 2));
        for stage in stages(&early.schema()) {
            let cpu = CpuBackend::new().prepare(&stage, &Registry::default()).unwrap();
            let partial = |prepared: &dyn PreparedStage, batch: &RecordBatch| {
                let mut task = prepared.begin().unwrap();
                task.push(batch).unwrap();
                task.finish().unwrap()
            };
            let both = vec![partial(cpu.as_ref(), &early), partial(cpu.as_ref(), &late)];
            let expected = answer(cpu.as_ref(), both, &stage.output_schema);
            let unfound = AutoBackend::new(Search::unfound_for_test());
            let before = unfound.prepare(&stage, &Registry::default()).unwrap();
            let first = partial(before.as_ref(), &early);
            assert_eq!(before.choice(), None);
            let after = AutoBackend::new(search.clone()).prepare(&stage, &Registry::default()).unwrap();
            let given = answer(after.as_ref(), vec![first, partial(after.as_ref(), &late)], &stage.output_schema);
            assert_eq!(given, expected);
        }
    }

    #[test]
    fn a_driver_that_hangs_while_a_gpu_is_opened_or_measured_is_told_once_and_the_cpu_does_all() {
        let Some(adapter) = adapter() else { return };
        let batch = rows(900, 1);
        let stages = stages(&batch.schema());
        let opened = "no GPU is used: a GPU was to be opened: its driver has not answered within ";
        let measured = "was to be measured: its driver has not answered within ";
        for (is_opened, said, time) in [(false, opened, 20), (true, measured, 3000)] {
            let (hold, held) = channel();
            let before = is_opened.then_some(OpeningFault::AtOnce);
            let faults = Faults::default().with_openings(before.into_iter().chain([OpeningFault::Held(held)]));
            let search = Search::troubled_for_test(adapter.clone(), faults, Duration::from_millis(time));
            let auto = AutoBackend::new(search);
            assert!(auto.outlook(&stages[1]).starts_with("on the cpu: "), "{}", auto.outlook(&stages[1]));
            let mut told = Vec::new();
            for stage in &stages {
                let cpu = CpuBackend::new().prepare(stage, &Registry::default()).unwrap();
                let prepared = auto.stage(stage, &Registry::default()).unwrap();
                let run = |prepared: &dyn PreparedStage| {
                    let mut task = prepared.begin().unwrap();
                    task.push(&batch).unwrap();
                    answer(prepared, vec![task.finish().unwrap()], &stage.output_schema)
                };
                for _ in 0..2 {
                    assert_eq!(run(&prepared), run(cpu.as_ref()));
                    told.extend(prepared.notice().warnings());
                }
            }
            assert!(told.len() == 1 && told[0].contains(said), "{told:?}");
            drop(hold);
        }
    }

    #[test]
    fn the_outlook_says_what_is_expected_and_why() {
        let schema = rows(1, 1).schema();
        let stage = &stages(&schema)[1];
        let unfound = AutoBackend::new(Search::unfound_for_test());
        assert!(unfound.outlook(stage).contains("until much has come"));
        let Some(search) = search(1000) else { return };
        let outlook = AutoBackend::new(search).outlook(stage);
        assert!(outlook.starts_with("whichever is faster: by calibrated rates "), "{outlook}");
    }
}
