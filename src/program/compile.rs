//! From a chain to a program: planned, checked and placed by the parts that serve queries, once.

use std::fmt;
use std::sync::Arc;

use super::chain::Chain;
use crate::columnar::SchemaRef;
use crate::dispatch::{Dispatcher, Placed, Placement};
use crate::error::{Error, Result};
use crate::kernels::DeviceChoice;
use crate::plan::explain;
use crate::plan::stage::{Registry, SourceId, Stage, StageId, StageInput};
use crate::plan::{self, LogicalPlan, QueryPlan};

/// A chain compiled for rows of one schema. Cloning it is cheap, and it may run in many threads at once.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, StringArray};
/// use pelton::prelude::*;
///
/// let cities: ArrayRef = Arc::new(StringArray::from(vec!["Oslo", "Rome", "Oslo"]));
/// let ages: ArrayRef = Arc::new(Int64Array::from(vec![17, 30, 40]));
/// let people = RecordBatch::try_from_iter([("city", cities), ("age", ages)])?;
///
/// let chain = Chain::new().filter(col("age").gt_eq(18)).key_by([col("city")]).aggregate([col("age").mean().alias("age")]);
/// let program = Program::compile(&people.schema(), &chain, Device::Auto)?;
/// let answer = program.run(&people)?;
/// assert_eq!((answer.num_rows(), answer.schema()), (2, program.output_schema()));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Program(pub(super) Arc<Compiled>);

/// What the clones of a program share.
pub(super) struct Compiled {
    /// Of the rows that it takes.
    pub(super) input_schema: SchemaRef,
    pub(super) logical: Arc<LogicalPlan>,
    registry: Registry,
    pub(super) plan: QueryPlan,
    /// The stages of the plan, ready to run: each takes what the one before it gives.
    pub(super) placed: Vec<Placed>,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Program\n{}", self.explain())
    }
}

impl Program {
    /// Compiles a chain for rows of this schema.
    ///
    /// # Errors
    /// `InvalidQuery` or `Unsupported`: any mistake in the chain, with the operation it stands in.
    pub fn compile(schema: &SchemaRef, chain: &Chain, device: impl Into<Placement>) -> Result<Self> {
        Self::compile_on(schema, chain, &Dispatcher::new(device))
    }

    /// As [`Program::compile`], on what this dispatcher has.
    pub(crate) fn compile_on(schema: &SchemaRef, chain: &Chain, dispatcher: &Dispatcher) -> Result<Self> {
        let logical = chain.plan(schema);
        let plan = plan::plan(&[Arc::clone(&logical)])?;
        if !plan.stages.iter().all(follows_the_one_before) || plan.outputs != [StageId(plan.stages.len() - 1)] {
            return Err(Error::internal("the stages of a chain do not follow one another"));
        }
        let registry = chain.registry().clone();
        let placed = plan.stages.iter().map(|stage| dispatcher.place(stage, &registry)).collect::<Result<_>>()?;
        Ok(Self(Arc::new(Compiled { input_schema: Arc::clone(schema), logical, registry, plan, placed })))
    }

    /// The schema that the program was compiled for.
    pub fn input_schema(&self) -> SchemaRef {
        Arc::clone(&self.0.input_schema)
    }

    /// The schema of its answers.
    pub fn output_schema(&self) -> SchemaRef {
        Arc::clone(&self.0.plan.stage(self.0.plan.outputs[0]).output_schema)
    }

    /// How the first stage that groups by keys finds its groups, as [`Program::explain`] says it.
    pub fn group_ids(&self) -> Option<String> {
        self.0.placed.iter().find_map(|placed| placed.stage.group_ids())
    }

    /// What the stages ran on that may run on either device, in the runs since somebody last asked.
    pub fn choices(&self) -> Vec<DeviceChoice> {
        self.0.placed.iter().filter_map(|placed| placed.stage.choice()).collect()
    }

    /// What it does: the chain as it was said, the fused stages, what each runs on and why, and how groups are found: which
    /// ways are possible, or, after a run, which one the latest rows made it take, and which device was chosen for them.
    pub fn explain(&self) -> String {
        let Compiled { logical, registry, plan, placed, .. } = self.0.as_ref();
        let runs_on = |stage: &Stage| {
            let Placed { backend, reason, stage } = &placed[stage.id.0];
            let group_ids = stage.group_ids().map_or(String::new(), |text| format!("\n  {text}"));
            let latest = stage.latest_choice().map_or(String::new(), |text| format!("\n  of the latest rows: {text}"));
            format!("{backend} ({reason}){group_ids}{latest}")
        };
        let stages = explain::physical(plan, registry, &["rows".to_owned()], &runs_on);
        format!("{}\n{stages}", explain::logical(logical))
    }
}

fn follows_the_one_before(stage: &Stage) -> bool {
    let expected = match stage.id {
        StageId(0) => StageInput::Source(SourceId(0)),
        StageId(id) => StageInput::Stage(StageId(id - 1)),
    };
    stage.inputs == [expected]
}
