//! The CPU backend.

mod bytes;
mod eval;
pub mod explode;
pub mod filter;
pub mod hash;
pub mod join;
mod join_index;
pub mod project;
pub mod repartition;
mod row_keys;
pub mod sort;
mod sort_keys;
mod words;
