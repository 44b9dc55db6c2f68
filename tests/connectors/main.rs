//! One contract, run on every connector, and what is particular to each.

mod channel;
mod contract;
mod directory;
mod files;
mod functions;
mod lines;
mod queue;
mod tables;
