//! A join by time with a static table, as plain data: each row beside the row of the table that was the latest at its time.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::stage::TableId;
use crate::columnar::SchemaRef;
use crate::expr::TypedExpr;

/// A join with a static table by time. Each row of the stream comes once, beside at most one row of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AsofJoin {
    /// The table.
    pub table: TableId,
    /// Columns of the stream that must be equal, by index; there may be none. Null never matches.
    pub left_keys: Vec<usize>,
    /// Columns of the table, by index, of the same types.
    pub right_keys: Vec<usize>,
    /// The time of a row of the stream: an `Int64`.
    pub left_time: TypedExpr,
    /// The time of a row of the table, in the same unit, over the columns of the table.
    pub right_time: TypedExpr,
    /// Which row is taken.
    pub strategy: AsofStrategy,
    /// How far apart the times may be, at most; without it, any distance will do.
    pub tolerance: Option<i64>,
    /// Columns of the table to add, by index.
    pub right_columns: Vec<usize>,
    /// The schema afterwards: all columns of the stream, then those added.
    pub schema: SchemaRef,
}

/// Which row of a table a row of the stream is put beside, as Polars names them. Of rows of one time the table's order
/// decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AsofStrategy {
    /// The last one whose time is not later.
    Backward,
    /// The first one whose time is not earlier.
    Forward,
    /// The last one of those whose times are nearest.
    Nearest,
}

impl AsofStrategy {
    /// Its name in plans and pipelines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backward => "backward",
            Self::Forward => "forward",
            Self::Nearest => "nearest",
        }
    }
}

impl fmt::Display for AsofStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl AsofJoin {
    /// The columns of the stream that it reads, by index.
    pub fn reads(&self) -> impl Iterator<Item = usize> {
        self.left_keys.iter().copied().chain(self.left_time.columns())
    }
}
