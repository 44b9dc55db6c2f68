//! What a stage keeps from batch to batch, with the CPU or in the memory of the GPU that was found, wherever a batch is
//! expected to be taken in faster.
//!
//! State is not tried here and there as pieces are, since it would have to move. It moves once it has cost more where it is
//! than the move costs: so it never costs much more than twice what the best place would have, whatever is measured.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use arrow_array::ArrayRef;

use super::auto::Shared;
use super::chooser::{Choice, Chooser, Costs, Side, Work};
use super::search::Machine;
use crate::clock::Clock;
use crate::columnar::RecordBatch;
use crate::error::{Error, Result};
use crate::kernels::gpu::{StatePlace, StateWork};
use crate::kernels::spill::Room;
use crate::kernels::{Findings, Kept, Moment, Partial, Partitions};

/// Bytes of a group, roughly: what aggregates hold is found out at the first batch.
const GROUP_BYTES: f64 = 64.0;

/// Seconds that it takes on the host to find a group by its key.
const FIND: f64 = 4e-8;

/// Seconds that it takes the CPU to take a group in, and to make a row of it.
const TAKE_IN: f64 = 3e-8;

/// Where what is kept is to lie.
#[derive(Debug)]
pub(super) struct StateChooser {
    chooser: Chooser,
    /// Seconds that it takes to move a group.
    to_move: f64,
    /// Seconds that were lost since it lies where it lies, as far as is known.
    lost: f64,
}

impl StateChooser {
    /// For a device of which only the first groups come back, or all that a batch touches.
    pub(super) fn new(machine: &Machine, picks_first: bool) -> Self {
        let rates = machine.calibration.rates;
        let back = if picks_first { 0.0 } else { GROUP_BYTES / rates.down + TAKE_IN };
        let cpu = Costs { fixed: 5e-6, per_row: FIND + 2.0 * TAKE_IN, ..Costs::default() };
        let per_row = FIND + 8.0 / rates.up + 2.0 * GROUP_BYTES / rates.copy + back;
        let gpu = Costs { fixed: 2.0 * rates.round_trip, per_row, ..Costs::default() };
        Self::of(cpu, gpu, FIND + TAKE_IN + GROUP_BYTES / rates.up.min(rates.down))
    }

    pub(super) fn of(cpu: Costs, gpu: Costs, to_move: f64) -> Self {
        Self { chooser: Chooser::new(cpu, gpu), to_move, lost: 0.0 }
    }

    /// Where a batch is to be taken in.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn choose(&mut self, work: &StateWork) -> (Choice, Work) {
        let rows = if work.gives_all { work.groups + work.kept } else { work.groups };
        let piece = Work { rows, bytes: 0, sent: 0 };
        let (here, there) = if work.is_there { (Side::Gpu, Side::Cpu) } else { (Side::Cpu, Side::Gpu) };
        let known = self.chooser.given(here, piece);
        self.lost = (self.lost + known.expected_of(here) - known.expected_of(there)).max(0.0);
        let moves = self.lost > work.kept as f64 * self.to_move;
        if moves {
            self.lost = 0.0;
        }
        (self.chooser.given(if moves { there } else { here }, piece), piece)
    }
}

/// What is kept, with the CPU until a GPU is found that can keep it.
pub(super) struct AutoKept {
    /// None only while it is handed over.
    kept: Option<Box<dyn Kept>>,
    shared: Arc<Shared>,
    /// Whether it stays as it is: the device may have it, or it never will.
    is_settled: bool,
}

impl AutoKept {
    pub(super) fn new(kept: Box<dyn Kept>, shared: Arc<Shared>) -> Self {
        Self { kept: Some(kept), shared, is_settled: false }
    }

    fn kept(&self) -> Result<&dyn Kept> {
        self.kept.as_deref().ok_or_else(handed_over)
    }

    fn kept_mut(&mut self) -> Result<&mut (dyn Kept + 'static)> {
        self.kept.as_deref_mut().ok_or_else(handed_over)
    }

    /// Lets a device have it, once one has been found.
    fn settle(&mut self) -> Result<()> {
        if self.is_settled {
            return Ok(());
        }
        let Some(both) = self.shared.both() else { return Ok(()) };
        self.is_settled = true;
        if both.gpu.kept_refusal().is_none()
            && let Some(kept) = self.kept.take()
        {
            let place = Place { shared: Arc::clone(&self.shared), begun: None, has_been_there: false, stays: None };
            self.kept = Some(both.gpu.keep_placed(kept, Box::new(place))?);
        }
        Ok(())
    }
}

fn handed_over() -> Error {
    Error::internal("what is kept was handed over and did not come back")
}

impl Kept for AutoKept {
    fn absorb(&mut self, partials: Vec<Partial>, moment: &Moment) -> Result<Partitions> {
        self.settle()?;
        self.kept_mut()?.absorb(partials, moment)
    }

    fn take_findings(&mut self) -> Findings {
        self.kept.as_mut().map(|kept| kept.take_findings()).unwrap_or_default()
    }

    fn changes(&mut self) -> Result<Vec<RecordBatch>> {
        self.kept_mut()?.changes()
    }

    fn snapshot(&mut self) -> Result<Vec<RecordBatch>> {
        self.kept_mut()?.snapshot()
    }

    fn restore(&mut self, snapshot: &[RecordBatch], changes: &[Vec<RecordBatch>]) -> Result<()> {
        self.kept_mut()?.restore(snapshot, changes)
    }

    fn can_spill(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.can_spill())
    }

    /// A bound on memory is kept by the CPU.
    fn spill_to(&mut self, room: &Room) {
        self.is_settled = true;
        if let Some(kept) = &mut self.kept {
            kept.spill_to(room);
        }
    }

    fn uses_threads(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.uses_threads())
    }

    fn due(&self) -> Option<i64> {
        self.kept.as_ref().and_then(|kept| kept.due())
    }

    fn end(&self) -> Option<i64> {
        self.kept.as_ref().and_then(|kept| kept.end())
    }

    fn groups(&self) -> u64 {
        self.kept.as_ref().map_or(0, |kept| kept.groups())
    }

    fn scan(&self) -> Result<RecordBatch> {
        self.kept()?.scan()
    }

    fn get(&self, key: &[ArrayRef]) -> Result<RecordBatch> {
        self.kept()?.get(key)
    }
}

/// Says where a batch is taken in, and learns from what that took.
struct Place {
    shared: Arc<Shared>,
    begun: Option<Begun>,
    /// Whether the device has taken a batch in: the first time, shaders are compiled.
    has_been_there: bool,
    /// Why the CPU has what is kept whatever it costs, if it has.
    stays: Option<String>,
}

/// A batch that is being taken in.
struct Begun {
    choice: Choice,
    piece: Work,
    at: Duration,
    /// Whether what is kept moves with it.
    moves: bool,
}

impl Place {
    fn chooser(&self) -> Option<MutexGuard<'_, StateChooser>> {
        Some(self.shared.both()?.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StatePlace for Place {
    fn is_on_device(&mut self, work: &StateWork) -> bool {
        if self.stays.is_some() {
            return false;
        }
        let at = self.shared.clock.now();
        let Some((choice, piece)) = self.chooser().map(|mut chooser| chooser.choose(work)) else { return false };
        let is_on_device = choice.side == Side::Gpu;
        self.begun = Some(Begun { choice, piece, at, moves: is_on_device != work.is_there });
        is_on_device
    }

    fn stays_with_cpu(&mut self, why: &str) {
        self.stays = Some(format!("on the cpu, because it has outgrown the gpu: {why}"));
    }

    fn took_in(&mut self, on_device: bool) {
        if let Some(stays) = &self.stays {
            return self.shared.tell_state(stays.clone());
        }
        let Some(Begun { choice, piece, at, moves }) = self.begun.take() else { return };
        let seconds = self.shared.clock.now().saturating_sub(at).as_secs_f64();
        let is_first = on_device && !std::mem::replace(&mut self.has_been_there, true);
        let as_chosen = on_device == (choice.side == Side::Gpu);
        if let Some(mut chooser) = self.chooser() {
            let says = as_chosen && !moves && !is_first;
            chooser.chooser.learn(&choice, piece, says.then_some(seconds));
        }
        let (side, other) = if on_device { (Side::Gpu, Side::Cpu) } else { (Side::Cpu, Side::Gpu) };
        let text = format!(
            "on the {}: to take in a batch is expected to take {:.3} ms there, and {:.3} ms on the {}",
            side.name(),
            1e3 * choice.expected_of(side),
            1e3 * choice.expected_of(other),
            other.name()
        );
        self.shared.tell_state(text);
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float64Array, Int64Array};
    use arrow_select::concat::concat_batches;

    use super::*;
    use crate::columnar::SchemaRef;
    use crate::dispatch::auto::{AutoBackend, Both};
    use crate::dispatch::search::Search;
    use crate::expr::{col, len};
    use crate::kernels::cpu::CpuBackend;
    use crate::kernels::gpu::{Fault, Faults};
    use crate::kernels::{Backend, PreparedStage};
    use crate::plan::keep::OutputMode;
    use crate::plan::logical::{Over, SortBy};
    use crate::plan::stage::{Registry, SourceId, Stage};
    use crate::plan::{LogicalPlan, plan};

    fn search(faults: Faults) -> Option<Search> {
        let adapter = crate::kernels::gpu::adapters().unwrap().into_iter().next()?.name;
        Search::faulty_for_test(adapter, 150, faults)
    }

    fn rows(count: i64, seed: i64) -> RecordBatch {
        let numbers = |factor: i64| (0..count).map(move |row| (row * factor + seed) * 7919 % 1009);
        let keys: ArrayRef = Arc::new(numbers(1).map(|n| n % 401).collect::<Int64Array>());
        let floats: ArrayRef = Arc::new(numbers(3).map(|n| n as f64 / 7.0).collect::<Float64Array>());
        let whole: ArrayRef = Arc::new(numbers(5).map(|n| (n % 11 != 0).then_some(n)).collect::<Int64Array>());
        RecordBatch::try_from_iter_with_nullable([("k", keys, true), ("f", floats, true), ("n", whole, true)]).unwrap()
    }

    /// Running totals, all of them and the first of them.
    fn stages(schema: &SchemaRef) -> Vec<Stage> {
        let (name, schema) = ("rows".to_owned(), Arc::clone(schema));
        let source = Arc::new(LogicalPlan::Source { source: SourceId(0), name, schema });
        let kept = |mode| {
            let (input, over) = (Arc::clone(&source), Over::Always);
            let aggregates = vec![len().alias("rows"), col("n").sum().alias("s"), col("f").mean().alias("m")];
            let (keys, mode) = (vec![col("k")], Some(mode));
            LogicalPlan::Keep { input, name: None, keys, aggregates, over, ttl: None, initial: None, mode }
        };
        let by = || vec![SortBy::from(col("s")).descending()];
        let first = |mode| LogicalPlan::Sort { input: Arc::new(kept(mode)), by: by(), limit: Some(400) };
        let plans = [kept(OutputMode::Update), kept(OutputMode::Complete), first(OutputMode::Complete)];
        plans.into_iter().map(|one| plan(&[Arc::new(one)]).unwrap().stages.remove(0)).collect()
    }

    /// Costs by which this side always wins before it is measured.
    fn costs(side: Side) -> (Costs, Costs) {
        let of = |one: Side| Costs { per_row: if one == side { 1e-12 } else { 1e3 }, ..Costs::default() };
        (of(Side::Cpu), of(Side::Gpu))
    }

    fn set(both: &Both, pieces: Side, state: Side) {
        let (cpu, gpu) = costs(pieces);
        *both.lock() = Chooser::new(cpu, gpu);
        let (cpu, gpu) = costs(state);
        *both.state.lock().unwrap() = StateChooser::of(cpu, gpu, 0.0);
    }

    fn side(is_gpu: bool) -> Side {
        if is_gpu { Side::Gpu } else { Side::Cpu }
    }

    fn take_in(stage: &dyn PreparedStage, kept: &mut dyn Kept, batch: &RecordBatch, number: usize) -> RecordBatch {
        let time = Duration::from_secs(number as u64 + 1);
        let moment = Moment { time, ..Moment::default() };
        let middle = batch.num_rows() / 3;
        let partials = [batch.slice(0, middle), batch.slice(middle, batch.num_rows() - middle)].map(|part| {
            let mut task = stage.begin_at(&moment).unwrap();
            task.push(&part).unwrap();
            task.settle().unwrap();
            task.finish().unwrap()
        });
        let answer = kept.absorb(partials.into_iter().collect(), &moment).unwrap().concat();
        concat_batches(&answer[0].schema(), &answer).unwrap()
    }

    /// Runs batches with state where `place` says, beside the CPU; gives what was told of state.
    fn compare(
        search: &Search,
        stage: &Stage,
        batches: &[RecordBatch],
        place: impl Fn(usize) -> (Side, Side),
    ) -> Vec<String> {
        let cpu = CpuBackend::new().prepare(stage, &Registry::default()).unwrap();
        let auto = AutoBackend::new(search.clone()).stage(stage, &Registry::default()).unwrap();
        let (mut by_cpu, mut by_auto) = (cpu.keep().unwrap(), auto.keep().unwrap());
        let mut told = Vec::new();
        for (number, batch) in batches.iter().enumerate() {
            let (pieces, state) = place(number);
            set(auto.shared.both().unwrap(), pieces, state);
            let expected = take_in(cpu.as_ref(), by_cpu.as_mut(), batch, number);
            let given = take_in(&auto, by_auto.as_mut(), batch, number);
            // Where only the first groups are taken, others may be missing, and there are more than come out.
            assert!(given == expected, "batch {number}");
            if number % 3 == 1 {
                assert_eq!(by_auto.changes().unwrap(), by_cpu.changes().unwrap(), "batch {number}");
                assert_eq!(by_auto.snapshot().unwrap(), by_cpu.snapshot().unwrap(), "batch {number}");
            }
            assert_eq!(by_auto.groups(), by_cpu.groups());
            told.push(auto.choice().map(|told| told.state).unwrap_or_default());
        }
        assert_eq!(by_auto.scan().unwrap(), by_cpu.scan().unwrap());
        told
    }

    fn batches() -> Vec<RecordBatch> {
        [200, 1, 350, 90, 400, 64, 300, 250].into_iter().zip(1..).map(|(count, seed)| rows(count, seed)).collect()
    }

    #[test]
    fn state_moves_between_devices_and_no_answer_changes() {
        let Some(search) = search(Faults::default()) else { return };
        let batches = batches();
        for stage in stages(&batches[0].schema()) {
            for pattern in 0..10_usize {
                let place = |number: usize| match pattern {
                    0 => (Side::Gpu, Side::Gpu),
                    1 => (Side::Cpu, Side::Gpu),
                    2 => (Side::Gpu, Side::Cpu),
                    _ => (side((pattern >> (number % 3)) & 1 == 0), side((pattern >> (number % 2)) & 1 == 1)),
                };
                let told = compare(&search, &stage, &batches, place);
                let is_all =
                    |side: &str| told.iter().all(|text| text.starts_with(&format!("on the {side}: to take in")));
                assert!(pattern > 1 || is_all("gpu"), "{told:?}");
                assert!(pattern != 2 || is_all("cpu"), "{told:?}");
            }
        }
    }

    #[test]
    fn a_device_that_is_lost_with_state_that_auto_put_there_changes_no_answer() {
        let batches = batches();
        for fault in [Fault::Lose, Fault::Exhaust, Fault::Confuse] {
            for at in 0..14 {
                let faults = Faults::new((0..at).map(|_| None).chain([Some(fault)])).opened_at_once();
                let Some(search) = search(faults) else { return };
                let stage = &stages(&batches[0].schema())[[0, 2][at % 2]];
                // The batch before the last one has the state back with the CPU.
                compare(&search, stage, &batches, |number| (side(at % 3 > 0), side(number != 6)));
            }
        }
    }

    #[test]
    fn without_a_gpu_state_stays_with_the_cpu_and_nothing_is_told() {
        let batches = batches();
        let stage = &stages(&batches[0].schema())[0];
        let auto = AutoBackend::new(Search::unfound_for_test()).stage(stage, &Registry::default()).unwrap();
        let mut kept = auto.keep().unwrap();
        take_in(&auto, kept.as_mut(), &batches[0], 0);
        assert!(kept.groups() > 20 && auto.choice().is_none());
    }

    #[test]
    fn state_moves_once_it_has_cost_more_than_the_move_and_not_for_less() {
        let per_row = |per_row: f64| Costs { per_row, ..Costs::default() };
        let mut chooser = StateChooser::of(per_row(1.0), per_row(0.5), 10.0);
        let work = |is_there| StateWork { groups: 100, kept: 1000, gives_all: false, is_there };
        // A batch costs 50 too much, and the move 10,000.
        let moved = (1..).find(|_| chooser.choose(&work(false)).0.side == Side::Gpu);
        assert_eq!(moved, Some(201));
        // In truth the device is slower, and is left when that has cost as much again.
        let back = (1..).find(|_| {
            let (choice, piece) = chooser.choose(&work(true));
            if choice.side == Side::Gpu {
                chooser.chooser.learn(&choice, piece, Some(300.0));
            }
            choice.side == Side::Cpu
        });
        assert!(back.is_some_and(|back| (50..60).contains(&back)), "{back:?}");
        for _ in 0..100_000 {
            let (choice, piece) = chooser.choose(&work(false));
            assert_eq!(choice.side, Side::Cpu);
            chooser.chooser.learn(&choice, piece, Some(100.0));
        }
    }
}
