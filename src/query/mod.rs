//! A streaming query as its user sees it.
//!
//! A [`StreamingContext`] holds the options of a query and gives out [`DStream`]s; operations on a stream build up a
//! plan; output operations (`write`, `print`, `foreach_batch`) check it; `start` runs it and gives a
//! [`RunningQuery`](crate::runtime::RunningQuery).

pub mod builder;
pub mod cell;
pub mod context;
pub mod dstream;
pub mod fold;
mod initial;
pub mod keyed;
mod lines;
pub mod rule;
pub mod state;
pub mod table;
mod windows;

#[cfg(feature = "polars")]
mod frames;

pub use builder::ContextBuilder;
pub use cell::{Cell, Row};
pub use context::StreamingContext;
pub use dstream::DStream;
pub use fold::WindowReduce;
pub use keyed::KeyedDStream;
pub use rule::Rule;
pub use state::State;
pub use table::{JoinOn, StaticTable};
