//! Operators that keep something from batch to batch, as plain data: what the engine asks of each of them, and those that
//! are no keyed reduce. The keyed reduce is [`Keep`](super::keep::Keep).

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::keep::{OutputMode, WatermarkId};
use super::stage::{FunctionId, NamedExpr};
use crate::columnar::TimeUnit;

/// What every operator that keeps something from batch to batch says of itself.
pub trait Operator {
    /// The name by which a checkpoint knows it.
    fn name(&self) -> &str;

    /// What a checkpoint remembers of it: another text is another state.
    fn description(&self) -> String;

    /// The watermarks that say how far event time has come for it.
    fn watermarks(&self) -> &[WatermarkId];
}

/// A function of the user's over the rows of a key and what is remembered of the key.
///
/// The rows that reach it have the key columns first, then the values that the function sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapState {
    /// The operator's name.
    pub name: String,
    /// The key columns.
    pub keys: Vec<NamedExpr>,
    /// The function.
    pub function: FunctionId,
    /// The Rust type of what is remembered, without the paths of modules.
    pub state_type: String,
    /// What is remembered of a key without rows for this long is timed out.
    pub ttl: Option<Duration>,
    /// `Update` gives what the function gives; `Complete` all that is remembered.
    pub mode: OutputMode,
    /// The watermarks that the function may ask.
    pub watermarks: Vec<WatermarkId>,
}

impl Operator for MapState {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> String {
        format!("[{}] a state of type {}", columns(&self.keys), self.state_type)
    }

    fn watermarks(&self) -> &[WatermarkId] {
        &self.watermarks
    }
}

/// The first of rows that are equal in some columns, of all batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DropDuplicates {
    /// The operator's name.
    pub name: String,
    /// The columns that are compared: each is a column of the rows.
    pub columns: Vec<NamedExpr>,
    /// When a key is forgotten.
    pub memory: Memory,
    /// The watermarks that say when.
    pub watermarks: Vec<WatermarkId>,
}

/// How long a key is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Memory {
    /// For good.
    Always,
    /// As long as it has had rows in the batches of this time.
    Batches(Duration),
    /// Until the watermark has passed the time of its first row by the delay that rows are allowed.
    Watermark {
        /// The column of event time.
        time: NamedExpr,
        /// Its unit.
        unit: TimeUnit,
        /// The delay.
        delay: Duration,
    },
}

impl DropDuplicates {
    /// The columns it reads, by index.
    pub fn reads(&self) -> BTreeSet<usize> {
        let time = if let Memory::Watermark { time, .. } = &self.memory { Some(time) } else { None };
        self.columns.iter().chain(time).flat_map(|column| column.expr.columns()).collect()
    }

    /// The same over rows whose columns lie elsewhere.
    #[must_use]
    pub fn map_columns(&self, to: &dyn Fn(usize) -> usize) -> Self {
        let moved = |column: &NamedExpr| NamedExpr { name: column.name.clone(), expr: column.expr.map_columns(to) };
        let mut drop = Self { columns: self.columns.iter().map(moved).collect(), ..self.clone() };
        if let Memory::Watermark { time, .. } = &mut drop.memory {
            *time = moved(time);
        }
        drop
    }
}

impl Operator for DropDuplicates {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> String {
        let memory = match &self.memory {
            Memory::Always | Memory::Batches(_) => "rows seen",
            Memory::Watermark { .. } => "rows seen within the watermark",
        };
        format!("[{}] {memory}", columns(&self.columns))
    }

    fn watermarks(&self) -> &[WatermarkId] {
        &self.watermarks
    }
}

/// Names and types of columns, as descriptions have them.
pub(super) fn columns(columns: &[NamedExpr]) -> String {
    columns.iter().map(|key| format!("{} {}", key.name, key.expr.data_type)).collect::<Vec<_>>().join(", ")
}
