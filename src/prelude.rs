//! The names that most programs import.

pub use crate::columnar::{DataType, Field, RecordBatch, Scalar, Schema, SchemaRef, TimeUnit};
pub use crate::connectors::ReadLimits;
pub use crate::dispatch::Device;
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::expr::{
    Aggregate, DatePart, Expr, coalesce, col, greatest, least, len, lit, session_window, sliding_window, when, window,
};
pub use crate::plan::asof::AsofStrategy;
pub use crate::plan::keep::OutputMode;
pub use crate::plan::logical::{Remember, SortBy};
pub use crate::plan::operator::StreamJoinKind;
pub use crate::plan::rules::Verdict;
pub use crate::plan::stage::JoinKind;
pub use crate::program::{Chain, KeyedChain, Partial, Program};
pub use crate::query::{DStream, JoinOn, KeyedDStream, Rule, State, StaticTable, StreamingContext, WindowReduce};
pub use crate::runtime::{BadRecordsMax, OnEnd, Progress, RunningQuery, StateHandle, StopMode, Trigger};
