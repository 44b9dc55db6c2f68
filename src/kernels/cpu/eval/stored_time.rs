//! Times as they are stored: integers, and what one of them stands for.

use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};

use super::calendar::{SECONDS_PER_DAY, per_second};
use super::operand::natives;
use crate::columnar::DataType;
use crate::error::Result;

pub(super) const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Nanoseconds in one stored unit of a time.
pub(super) fn nanos_per_unit(data_type: &DataType) -> Option<i64> {
    match data_type {
        DataType::Timestamp(unit, _) | DataType::Duration(unit) => Some(NANOS_PER_SECOND / per_second(*unit)),
        DataType::Date32 => Some(SECONDS_PER_DAY * NANOS_PER_SECOND),
        _ => None,
    }
}

/// Stored integers in 64 bits.
pub(super) fn widened(array: &ArrayRef) -> Result<Vec<i64>> {
    if *array.data_type() == DataType::Int32 {
        return Ok(natives::<Int32Type>(array)?.iter().map(|value| i64::from(*value)).collect());
    }
    Ok(natives::<Int64Type>(array)?.to_vec())
}
