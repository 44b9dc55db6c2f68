//! Keyed reduce: the fast kernels against the slow reference, exact sums against arithmetic of the tests' own, and the
//! common ground with Polars.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a test that cannot go on should stop; random values are cut to the width of their type"
)]

mod data;
mod exact_sum;
mod gathered;
mod late_nulls;
mod polars_oracle;
mod stored;
mod tickets;
mod twins;
