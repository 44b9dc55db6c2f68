//! The CPU backend.

mod bytes;
mod eval;
pub mod explode;
pub mod filter;
pub mod group_ids;
pub mod hash;
pub mod join;
mod join_index;
mod native;
pub mod project;
pub mod reduce;
pub mod repartition;
mod row_keys;
pub mod sort;
mod sort_keys;
mod words;
