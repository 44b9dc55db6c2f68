//! Kernels that move rows: each equals its slow reference on random columns, and Polars where both mean the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod asof;
mod explode;
mod join;
mod polars_oracle;
mod random;
mod repartition;
mod sort;
