//! From the description of a query to fused stages, once, when the query starts.
//!
//! ```text
//! LogicalPlan ──analyze──▶ Node (typed) ──optimize──▶ Node ──fuse──▶ [Stage]
//! what the user said       every mistake found        less work     what backends run
//! ```
//!
//! Nothing here runs a query, and nothing here holds a connector: sources, closures and tables are ids.

pub mod analyze;
mod analyze_asof;
mod analyze_keep;
mod analyze_state;
mod analyze_streams;
pub mod asof;
mod best;
mod bounds;
pub mod codes;
pub mod explain;
pub mod fold_function;
pub mod fuse;
pub mod initial;
pub mod keep;
pub mod logical;
pub mod operator;
pub mod optimize;
pub mod rules;
mod share;
pub mod stage;
pub mod state_function;
pub mod table_origin;

pub use fuse::QueryPlan;
pub use logical::LogicalPlan;

use std::sync::Arc;

use crate::error::Result;

/// Plans a query: one plan for all its outputs, so that what they share is planned, read and computed once.
///
/// # Errors
/// `InvalidQuery` or `Unsupported`: a mistake of the user's, with the operation it stands in.
pub fn plan(outputs: &[Arc<LogicalPlan>]) -> Result<QueryPlan> {
    let nodes = analyze::analyze_all(outputs)?;
    let nodes = optimize::optimize(&share::shared_once(&nodes));
    let mut plan = fuse::fuse(&nodes);
    best::tell(&mut plan);
    Ok(plan)
}
