//! Stages made of plans, and the backends that they run on.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow_select::concat::concat_batches;
use pelton::columnar::{DataType, Field, RecordBatch, Schema, SchemaRef, TimeUnit};
use pelton::error::Result;
use pelton::expr::{Aggregate, Expr};
use pelton::kernels::cpu::{CpuBackend, simd};
use pelton::kernels::gpu::{GpuBackend, Tier, Wish, adapters};
use pelton::kernels::reference_stage::ReferenceBackend;
use pelton::kernels::{Backend, PreparedStage};
use pelton::plan::keep::OutputMode;
use pelton::plan::logical::{Over, SortBy};
use pelton::plan::stage::{End, Registry, SourceId, Stage};
use pelton::plan::{LogicalPlan, plan};

use crate::common::assert_batches_equal;

/// The adapter that tests run on: the one that is named, or the first one, software adapters too.
pub(crate) fn adapter() -> Option<String> {
    let named = std::env::var("PELTON_ADAPTER").ok();
    let found = named.or_else(|| adapters().unwrap().into_iter().next().map(|adapter| adapter.name));
    if found.is_none() {
        let is_required = std::env::var("PELTON_REQUIRE_GPU").is_ok_and(|value| value == "1");
        assert!(!is_required, "there is no adapter, and PELTON_REQUIRE_GPU=1 requires one");
        eprintln!("SKIPPED: this machine has no adapter for a GPU, not even a software one");
    }
    found
}

/// What a test asks of a device. One tier copies rows, the others read them where the host has written them, if they can.
pub(crate) fn wish(adapter: &str, tier: Tier) -> Wish {
    let in_place = Some(tier != Tier::Subgroups);
    Wish { adapter: Some(adapter.to_owned()), tier: Some(tier), in_place, ..Wish::default() }
}

/// A plan above rows of this schema.
#[derive(Clone)]
pub(crate) struct Chain(Arc<LogicalPlan>);

impl Chain {
    pub(crate) fn new(schema: &SchemaRef) -> Self {
        let (name, schema) = ("rows".to_owned(), Arc::clone(schema));
        Self(Arc::new(LogicalPlan::Source { source: SourceId(0), name, schema }))
    }

    pub(crate) fn filter(self, predicate: Expr) -> Self {
        Self(Arc::new(LogicalPlan::Filter { input: self.0, predicate }))
    }

    pub(crate) fn select(self, columns: impl IntoIterator<Item = Expr>) -> Self {
        Self(Arc::new(LogicalPlan::Select { input: self.0, columns: columns.into_iter().collect() }))
    }

    pub(crate) fn reduce(
        self,
        keys: impl IntoIterator<Item = Expr>,
        aggregates: impl IntoIterator<Item = Aggregate>,
    ) -> Self {
        let (keys, aggregates) = (keys.into_iter().collect(), aggregates.into_iter().collect());
        Self(Arc::new(LogicalPlan::Reduce { input: self.0, keys, aggregates }))
    }

    /// What comes out of groups that outlive the batch; the event time of windows is `at`.
    pub(crate) fn kept(
        self,
        keys: impl IntoIterator<Item = Expr>,
        aggregates: Vec<Aggregate>,
        over: Over,
        mode: OutputMode,
    ) -> Self {
        let (input, delay) = (self.0, Duration::from_millis(20));
        let input = match over {
            Over::Event => Arc::new(LogicalPlan::Watermark { input, column: "at".to_owned(), delay, idle_after: None }),
            _ => input,
        };
        let (keys, mode) = (keys.into_iter().collect(), Some(mode));
        Self(Arc::new(LogicalPlan::Keep { input, name: None, keys, aggregates, over, ttl: None, initial: None, mode }))
    }

    /// The first rows by an order.
    pub(crate) fn first(self, rows: usize, by: impl IntoIterator<Item = SortBy>) -> Self {
        Self(Arc::new(LogicalPlan::Sort { input: self.0, by: by.into_iter().collect(), limit: Some(rows) }))
    }

    /// All rows by an order, and the first of them.
    pub(crate) fn sorted_first(self, rows: usize, by: impl IntoIterator<Item = SortBy>) -> Self {
        let sorted = Arc::new(LogicalPlan::Sort { input: self.0, by: by.into_iter().collect(), limit: None });
        Self(Arc::new(LogicalPlan::Limit { input: sorted, rows }))
    }

    /// All stages of the plan, in order.
    pub(crate) fn stages(self) -> Vec<Stage> {
        plan(&[self.0]).unwrap_or_else(|error| panic!("{error}")).stages
    }

    /// The only stage of the plan.
    pub(crate) fn stage(self) -> Stage {
        let mut stages = self.stages();
        assert_eq!(stages.len(), 1);
        stages.remove(0)
    }
}

/// Runs a stage on partitions, each of them in pieces.
#[expect(clippy::panic_in_result_fn, reason = "what runs to an error is compared; that a stage is refused is none")]
pub(crate) fn run(backend: &dyn Backend, stage: &Stage, partitions: &[Vec<RecordBatch>]) -> Result<RecordBatch> {
    backend.supports(stage).unwrap_or_else(|reason| panic!("{} refuses: {reason}", backend.name()));
    run_prepared(backend.prepare(stage, &Registry::default())?.as_ref(), stage, partitions)
}

/// The same, of a stage that goes on.
pub(crate) fn run_prepared(
    prepared: &dyn PreparedStage,
    stage: &Stage,
    partitions: &[Vec<RecordBatch>],
) -> Result<RecordBatch> {
    let mut partials = Vec::new();
    for pieces in partitions {
        let mut task = prepared.begin()?;
        for piece in pieces {
            task.push(piece)?;
        }
        partials.push(task.finish()?);
    }
    let batches = prepared.merge(partials)?.concat();
    Ok(concat_batches(&stage.output_schema, &batches)?)
}

/// A batch in two partitions of several pieces of odd lengths.
pub(crate) fn cut(batch: &RecordBatch) -> Vec<Vec<RecordBatch>> {
    let rows = batch.num_rows();
    let middle = rows / 3;
    let pieces = |from: usize, to: usize| {
        let step = ((to - from) / 3).max(1);
        let pieces = (from..to).step_by(step).map(|start| batch.slice(start, step.min(to - start)));
        pieces.collect::<Vec<_>>()
    };
    vec![pieces(0, middle), pieces(middle, rows)]
}

/// The same stage on all backends: the reference, the CPU with every level of vector instructions, and every tier of the device.
pub(crate) struct Everywhere {
    slow: ReferenceBackend,
    cpu: CpuBackend,
    pub(crate) gpus: Vec<GpuBackend>,
}

impl Everywhere {
    /// None if there is no adapter. The devices are shared by all tests.
    pub(crate) fn new() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Everywhere>> = OnceLock::new();
        SHARED.get_or_init(|| Self::with(|wish| wish)).as_ref()
    }

    /// With other wishes.
    pub(crate) fn with(change: impl Fn(Wish) -> Wish) -> Option<Self> {
        let adapter = adapter()?;
        let open = |tier| GpuBackend::open(change(wish(&adapter, tier))).unwrap().strict();
        let gpus = Tier::ALL.into_iter().map(open).collect();
        Some(Self { slow: ReferenceBackend::new(), cpu: CpuBackend::new(), gpus })
    }

    /// The answers must be the same, bit by bit; or all must be errors of one kind and message.
    #[track_caller]
    pub(crate) fn agree(&self, stage: &Stage, batch: &RecordBatch) {
        let whole = vec![vec![batch.clone()]];
        let expected = run(&self.cpu, stage, &whole);
        for level in simd::available().into_iter().filter(|level| simd::name_of(*level) != simd::level_name()) {
            let answer = simd::with_level(level, || run(&self.cpu, stage, &whole));
            compare(simd::name_of(level), &answer, &expected);
        }
        if is_worth_the_wait(stage, batch.num_rows(), &expected) {
            match (run(&self.slow, stage, &whole), &expected) {
                (Err(error), Err(expected)) => assert_eq!(error.kind(), expected.kind()),
                (answer, expected) => compare("the reference", &answer, expected),
            }
        }
        for gpu in &self.gpus {
            let name = gpu.manner().unwrap_or_default();
            compare(&name, &run(gpu, stage, &whole), &expected);
            let is_cut = run(gpu, stage, &cut(batch));
            compare(&format!("{name}, in pieces"), &is_cut, &run(&self.cpu, stage, &cut(batch)));
            let counts = gpu.counts();
            assert_eq!(counts.fallen_back, 0, "{name}: {counts:?}");
            assert!(expected.is_err() || batch.num_rows() == 0 || counts.batches > 0, "{name} did nothing");
        }
    }
}

/// Whether the reference runs, too: it looks for the group of a row among all of them.
fn is_worth_the_wait(stage: &Stage, rows: usize, expected: &Result<RecordBatch>) -> bool {
    let looks = |answer: &RecordBatch| rows * answer.num_rows();
    rows <= 5000 || matches!(stage.end, End::Emit) || expected.as_ref().is_ok_and(|answer| looks(answer) < 30_000_000)
}

#[track_caller]
fn compare(who: &str, answer: &Result<RecordBatch>, expected: &Result<RecordBatch>) {
    match (answer, expected) {
        (Ok(answer), Ok(expected)) => {
            if answer != expected {
                eprintln!("{who} gives another answer");
            }
            assert_batches_equal(answer, expected);
        }
        (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected.to_string(), "{who}"),
        (answer, expected) => panic!("{who} gives {answer:?} and not {expected:?}"),
    }
}

/// A column of every type that travels, and texts.
pub(crate) fn schema() -> SchemaRef {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        field("flag", DataType::Boolean),
        field("i8", DataType::Int8),
        field("i16", DataType::Int16),
        field("i32", DataType::Int32),
        field("i64", DataType::Int64),
        field("u8", DataType::UInt8),
        field("u16", DataType::UInt16),
        field("u32", DataType::UInt32),
        field("u64", DataType::UInt64),
        field("f32", DataType::Float32),
        field("f64", DataType::Float64),
        field("day", DataType::Date32),
        field("at", DataType::Timestamp(TimeUnit::Millisecond, None)),
        field("span", DataType::Duration(TimeUnit::Microsecond)),
        field("price", DataType::Decimal128(12, 2)),
        field("name", DataType::Utf8),
        Field::new("id", DataType::Int64, false),
    ]))
}

/// Few columns, for many rows.
pub(crate) fn narrow_schema(names: &[&str]) -> SchemaRef {
    let all = schema();
    Arc::new(Schema::new(names.iter().map(|name| all.field_with_name(name).unwrap().clone()).collect::<Vec<_>>()))
}
