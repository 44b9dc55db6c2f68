//! Which groups stay on a device from batch to batch, or why they do not.

use super::best::BestPlan;
use super::layout::Layout;
use crate::kernels::gpu::code::Refusal;
use crate::kernels::gpu::groups::GroupPlan;
use crate::kernels::gpu::shader::{Operation, Shader};
use crate::plan::keep::{Keep, Span};

/// How groups are kept on a device.
#[derive(Debug, Clone)]
pub(in crate::kernels::gpu) struct KeptPlan {
    /// Before there are any groups.
    pub(super) layout: Layout,
    /// Tells of the groups of a batch that stay.
    pub(in crate::kernels::gpu) firsts: Shader,
    pub(super) merge: Shader,
    pub(super) rows: Shader,
    /// How the best groups are picked, if no others are taken, or why they are not.
    pub(in crate::kernels::gpu) best: Option<Result<BestPlan, Refusal>>,
}

impl KeptPlan {
    /// For what is kept of the groups of a plan.
    ///
    /// # Errors
    /// Why they do not stay on a device, in one sentence.
    pub(in crate::kernels::gpu) fn of(keep: &Keep, plan: &GroupPlan) -> Result<Self, Refusal> {
        let refuse = |what: &str| Err(format!("{what} are kept there"));
        match () {
            () if keep.span != Span::Always => return refuse("windows"),
            () if keep.ttl.is_some() => return refuse("groups with a time to live"),
            () if keep.initial.is_some() => return refuse("groups that begin with rows of a table"),
            () => {}
        }
        let names = keep.aggregates.iter().map(|one| one.name.as_str()).collect::<Vec<_>>();
        let layout = Layout::of(plan, &names)?;
        let shader =
            |operation, bindings: &[u32]| Shader { operation, bindings: bindings.to_vec(), ..Shader::default() };
        let best = BestPlan::of(keep, &layout);
        Ok(Self {
            layout,
            firsts: shader(Operation::KeepFirsts, &[4, 6]),
            merge: shader(Operation::KeepMerge, &[2, 6]),
            rows: shader(Operation::KeepRows, &[4, 6]),
            best,
        })
    }

    pub(in crate::kernels::gpu) fn shaders(&mut self) -> Vec<&mut Shader> {
        let mut all = vec![&mut self.firsts, &mut self.merge, &mut self.rows];
        if let Some(Ok(best)) = &mut self.best {
            all.extend(best.shaders());
        }
        all
    }
}
