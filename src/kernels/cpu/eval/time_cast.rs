//! Casts between times: other units, dates and timestamps, wall clocks and instants.

use arrow_array::types::{Date32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;

use super::calendar::Zone;
use super::operand::{logical, natives, physical, primitive, valid};
use super::stored_time::nanos_per_unit;
use crate::columnar::DataType;
use crate::error::{Error, Result};

pub(super) fn is_time_cast(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Duration, Timestamp};
    matches!((from, to), (Timestamp(..) | Date32, Timestamp(..)) | (Timestamp(..), Date32) | (Duration(_), Duration(_)))
}

/// The same time in another type, rounded down; null where it does not fit.
///
/// A timestamp without a zone shows a wall clock. Given a zone, it becomes the instant at which that zone's clocks show
/// it; an instant without its zone becomes what the zone's clocks show.
pub(super) fn between_times(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let from = array.data_type();
    let (Some(from_nanos), Some(to_nanos)) = (nanos_per_unit(from), nanos_per_unit(to)) else {
        return Err(Error::internal(format!("no cast from {from} to {to}")));
    };
    let stored = physical(array)?;
    let values: Vec<i64> = match stored.data_type() {
        DataType::Int64 => natives::<Int64Type>(&stored)?.to_vec(),
        _ => natives::<arrow_array::types::Int32Type>(&stored)?.iter().map(|day| i64::from(*day)).collect(),
    };
    let change = Change::of(from, to)?;
    let scaled = |value: i64| {
        if from_nanos > to_nanos {
            value.checked_mul(from_nanos / to_nanos)
        } else {
            Some(value.div_euclid(to_nanos / from_nanos))
        }
    };
    let convert = |value: i64| {
        let value = match change {
            Change::None => scaled(value)?,
            _ => change.moved(value.into(), from_nanos.into(), to_nanos.into())?,
        };
        if *to == DataType::Date32 { i32::try_from(value).ok().map(i64::from) } else { Some(value) }
    };
    let converted: Vec<Option<i64>> = values.into_iter().map(convert).collect();
    let known = (0..converted.len()).map(|row| valid(array.nulls(), row) && converted[row].is_some());
    let nulls = Some(NullBuffer::from_iter(known)).filter(|nulls| nulls.null_count() > 0);
    let values = converted.into_iter().map(Option::unwrap_or_default);
    if *to == DataType::Date32 {
        let days = values.map(|day| i32::try_from(day).unwrap_or_default()).collect();
        return Ok(primitive::<Date32Type>(days, nulls));
    }
    logical(&primitive::<Int64Type>(values.collect(), nulls), to)
}

/// What happens between the clocks of two types.
enum Change {
    None,
    /// From an instant to what the clocks of its zone show.
    ToWall(Zone),
    /// From what clocks of a zone show to the instant.
    ToInstant(Zone),
}

impl Change {
    fn of(from: &DataType, to: &DataType) -> Result<Self> {
        let zone = |data_type: &DataType| match data_type {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let change = match (zone(from), zone(to)) {
            (Some(zone), None) => Self::ToWall(Zone::of(Some(&zone))?),
            (None, Some(zone)) => Self::ToInstant(Zone::of(Some(&zone))?),
            _ => Self::None,
        };
        Ok(match change {
            Self::ToWall(Zone::Fixed(0)) | Self::ToInstant(Zone::Fixed(0)) => Self::None,
            other => other,
        })
    }

    /// The value on the other clock and in the other unit, by way of nanoseconds that nothing can overflow.
    fn moved(&self, value: i128, from_nanos: i128, to_nanos: i128) -> Option<i64> {
        const SECOND: i128 = 1_000_000_000;
        let nanos = value * from_nanos;
        let second = i64::try_from(nanos.div_euclid(SECOND)).ok()?;
        let moved = match self {
            Self::None => second,
            Self::ToWall(zone) => second.checked_add(zone.ahead_at(second)?)?,
            Self::ToInstant(zone) => zone.second_at(second)?,
        };
        let nanos = i128::from(moved) * SECOND + nanos.rem_euclid(SECOND);
        i64::try_from(nanos.div_euclid(to_nanos)).ok()
    }
}
