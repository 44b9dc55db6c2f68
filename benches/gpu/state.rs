//! Running totals batch by batch: kept by the CPU, kept by the CPU of what the device reduced, and kept on the device; where
//! all groups that a batch touches come out, and where only the first of all groups are taken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pelton::kernels::cpu::CpuBackend;
use pelton::kernels::gpu::{AdapterInfo, GpuBackend, Wish};
use pelton::kernels::{Backend, Kept, Moment, PreparedStage};
use pelton::plan::logical::{Over, SortBy};
use pelton::plan::stage::{Registry, SourceId, Stage};
use pelton::plan::{LogicalPlan, plan};
use pelton::prelude::*;

use crate::keyed;

/// Batches of a run; the first ones bring most groups and do not count.
const BATCHES: usize = 12;
const BATCHES_FIRST: usize = 4;

/// Groups that are taken where not all are.
const FIRST: usize = 10;

/// Who works on batches, and who keeps what they leave.
struct Way {
    name: &'static str,
    tasks: Arc<dyn PreparedStage>,
    kept: Box<dyn Kept>,
    /// What takes the first groups, if not all are taken.
    first: Option<Arc<dyn PreparedStage>>,
}

impl Way {
    fn run(&mut self, batch: &RecordBatch, number: u64) -> Vec<RecordBatch> {
        let time = Duration::from_secs(number);
        let moment = Moment { time, ..Moment::default() };
        let mut task = self.tasks.begin_at(&moment).unwrap();
        task.push(batch).unwrap();
        let rows = self.kept.absorb(vec![task.finish().unwrap()], &moment).unwrap().concat();
        let Some(first) = &self.first else { return rows };
        let mut task = first.begin_at(&moment).unwrap();
        rows.iter().for_each(|rows| task.push(rows).unwrap());
        first.merge(vec![task.finish().unwrap()]).unwrap().concat()
    }
}

/// Prints millions of rows a second for batches of a sixteenth of the rows, each of other keys of the same range.
pub(super) fn measure(adapter: &AdapterInfo, rows: usize) {
    println!(
        "\n| running totals: groups | taken | rows of a batch | who keeps them | M rows/s |\n|---|---|---|---|---|"
    );
    let rows = (rows / 16).max(1);
    for groups in [256, 4096, 65_536, 1 << 20].into_iter().filter(|&groups| groups <= 4 * rows as u64) {
        let all = keyed(BATCHES * rows, groups, 0.0, 7919);
        for (first, taken) in [(None, "touched".to_owned()), (Some(FIRST), format!("first {FIRST} of all"))] {
            measure_ways(adapter, &all, &stages(&all, first), (groups, &taken));
        }
    }
}

fn measure_ways(adapter: &AdapterInfo, all: &RecordBatch, stages: &[Stage], (groups, taken): (u64, &str)) {
    let rows = all.num_rows() / BATCHES;
    let wish = Wish { adapter: Some(adapter.name.clone()), ..Wish::default() };
    let gpu = GpuBackend::open(wish).unwrap().strict();
    let by_cpu = |stage: &Stage| CpuBackend::new().prepare(stage, &Registry::default()).unwrap();
    let cpu = by_cpu(&stages[0]);
    let prepared = || gpu.prepare(&stages[0], &Registry::default()).unwrap();
    let (mixed, on_device) = (prepared(), prepared());
    let way = |name, kept: Box<dyn Kept>, tasks| Way { name, tasks, kept, first: stages.get(1).map(by_cpu) };
    let mut ways = [
        way("cpu", cpu.keep().unwrap(), Arc::clone(&cpu)),
        way("cpu, of what the gpu reduced", cpu.keep().unwrap(), mixed),
        way("gpu", on_device.keep().unwrap(), on_device),
    ];
    let mut seconds = [0.0; 3];
    for number in 0..BATCHES {
        let batch = all.slice(number * rows, rows);
        let mut expected = None;
        for (way, seconds) in ways.iter_mut().zip(&mut seconds) {
            let started = Instant::now();
            let answer = way.run(&batch, number as u64);
            if number >= BATCHES_FIRST {
                *seconds += started.elapsed().as_secs_f64();
            }
            assert_eq!(&answer, expected.get_or_insert_with(|| answer.clone()), "{}", way.name);
        }
    }
    assert_eq!(gpu.counts().taken_in, BATCHES as u64, "{:?}", gpu.counts());
    for (way, seconds) in ways.iter().zip(seconds) {
        let speed = ((BATCHES - BATCHES_FIRST) * rows) as f64 / seconds / 1e6;
        println!("| {groups} | {taken} | {rows} | {} | {speed:.1} |", way.name);
    }
}

/// What is kept, and who takes the first groups if not all are taken.
fn stages(batch: &RecordBatch, first: Option<usize>) -> Vec<Stage> {
    let source = LogicalPlan::Source { source: SourceId(0), name: "rows".to_owned(), schema: batch.schema() };
    let keep = LogicalPlan::Keep {
        input: Arc::new(source),
        name: None,
        keys: vec![col("key")],
        aggregates: vec![col("value").sum().alias("sum"), len().alias("n"), col("value").max().alias("most")],
        over: Over::Always,
        ttl: None,
        initial: None,
        mode: Some(if first.is_some() { OutputMode::Complete } else { OutputMode::Update }),
    };
    let by = vec![SortBy::from(col("sum")).descending()];
    let keep = Arc::new(keep);
    let all = match first {
        None => keep,
        limit => Arc::new(LogicalPlan::Sort { input: keep, by, limit }),
    };
    plan(&[all]).unwrap().stages
}
