//! The CPU backend.

mod bytes;
pub mod explode;
pub mod join;
mod join_index;
pub mod repartition;
mod row_keys;
pub mod sort;
mod sort_keys;
mod words;
