//! Data at rest: Arrow arrays, plus the little that Arrow does not have.
//!
//! A [`RecordBatch`] is a set of equally long columns under a schema. Columns are the arrays of arrow-rs, so batches
//! come from and go to other Arrow programs without a copy. This module adds single values ([`Scalar`]), the rules on
//! which types the engine takes ([`data_type`]), and frames of Polars (feature `polars`).
//!
//! It knows nothing of expressions, devices or streams.

mod bounds;
pub mod data_type;
pub mod pretty;
pub mod scalar;

#[cfg(feature = "polars")]
pub mod polars;

pub use arrow_array::{ArrayRef, RecordBatch};
pub use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
pub use bounds::{Bound, Keeps};
pub use scalar::Scalar;
