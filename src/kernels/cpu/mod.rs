//! The CPU backend: fused stages by kernels that work on whole columns of a batch.

mod aged;
mod bytes;
mod count_windows;
mod direct;
mod drop_duplicates;
#[cfg(feature = "gpu")]
mod elsewhere;
mod eval;
mod event_time;
pub mod explode;
pub mod filter;
mod fold_keys;
mod fold_pieces;
mod fold_windows;
mod function;
pub mod group_ids;
pub mod hash;
mod held_keys;
mod initial;
pub mod join;
pub mod join_asof;
mod join_index;
mod join_streams;
mod keep;
mod key_group;
mod key_groups;
mod key_numbers;
mod map_state;
pub(crate) mod native;
mod pane_stacks;
mod prefetch;
pub mod project;
pub mod reduce;
mod reduce_tasks;
pub mod repartition;
mod row_keys;
mod seen;
mod sessions;
pub mod simd;
pub mod sort;
mod sort_keys;
mod spare;
pub(crate) mod stage;
mod step;
mod stored;
pub mod validate;
mod words;

use std::sync::Arc;

use super::{Backend, PreparedStage};
use crate::error::Result;
use crate::plan::stage::{Registry, Stage};

/// Runs every stage, on every machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct CpuBackend;

impl CpuBackend {
    /// The backend.
    pub fn new() -> Self {
        Self
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn manner(&self) -> Option<String> {
        Some(format!("{} instructions", simd::level_name()))
    }

    fn supports(&self, _stage: &Stage) -> Result<(), String> {
        Ok(())
    }

    fn prepare(&self, stage: &Stage, registry: &Registry) -> Result<Arc<dyn PreparedStage>> {
        simd::check()?;
        Ok(Arc::new(stage::CpuStage::prepare(stage, registry)?))
    }
}
