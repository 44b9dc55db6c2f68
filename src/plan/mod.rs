//! From the description of a query to fused stages.

pub mod stage;
