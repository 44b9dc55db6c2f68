//! The GPU backend: the same bits as the reference and the CPU on every tier, what it refuses, and what it does in trouble.
//!
//! Without an adapter all but the shaders' own tests say that they are skipped; with `PELTON_REQUIRE_GPU=1` they fail.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on should stop, and say so")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "random bits are cut to the width of their type; numbers of rows are small"
)]

mod auto;
mod best;
mod cached;
#[path = "../common/mod.rs"]
mod common;
mod engine;
mod groups;
mod kept;
mod large;
mod moving;
mod narrow;
mod refusals;
mod rows;
mod shaders;
mod spread;
mod state;
mod support;
mod trouble;
