//! The first of rows that are equal in some columns, of all batches, or of those that can still be told apart.
//!
//! # Contract
//! 1. A row comes out if no row with its key is remembered; its key is remembered from then on. Rows keep their order.
//!    Keys are equal as groups are: null equals null, NaN equals NaN, -0.0 equals 0.0. *(tested)*
//! 2. With a time by batches, a key is forgotten once it has had no rows for that long. Within a watermark, once event time
//!    has come as far as the time of its first row and the delay; rows behind the horizon that the batch before left, and
//!    rows without a time, are counted and left out. *(tested)*
//! 3. The answer does not depend on partitions, and not on whether keys have been stored and restored in between. *(tested)*

use arrow_array::BooleanArray;
use arrow_select::filter::filter_record_batch;

use super::group_ids;
use super::keep::Moment;
use super::map_state::micros;
use super::project;
use crate::columnar::{DataType, RecordBatch, Scalar};
use crate::error::{Error, Result};
use crate::plan::keep::nanos_of;
use crate::plan::operator::{DropDuplicates, Memory};

/// The answer to the last of several batches, by the book: each row is compared with all that were remembered.
///
/// # Errors
/// `Unsupported` for types that cannot be compared.
pub fn reference(drop: &DropDuplicates, history: &[(RecordBatch, Moment)]) -> Result<RecordBatch> {
    let mut numbers = group_ids::Reference::default();
    // Keys, and the time of batches or of events at which each is forgotten.
    let mut known: Vec<(usize, Option<i64>)> = Vec::new();
    let mut answer = None;
    for (rows, moment) in history {
        let keys = drop.columns.iter().map(|key| project::reference(&key.expr, rows)).collect::<Result<Vec<_>>>()?;
        let ids = numbers.assign(&keys, rows.num_rows())?;
        let now = micros(moment.time);
        if let Memory::Batches(_) = drop.memory {
            known.retain(|(_, until)| until.is_none_or(|until| until > now));
        }
        let mut is_first = Vec::new();
        for (row, id) in ids.into_iter().enumerate() {
            let until = match &drop.memory {
                Memory::Always => None,
                Memory::Batches(ttl) => Some(now.saturating_add(micros(*ttl))),
                Memory::Watermark { time, unit, delay } => {
                    let time = project::reference(&time.expr, rows)?;
                    let Scalar::Int64(time) = Scalar::from_array(&arrow_cast::cast(&time, &DataType::Int64)?, row)?
                    else {
                        is_first.push(false);
                        continue;
                    };
                    let time = micros_of(time, nanos_of(*unit));
                    if moment.horizon_before.is_some_and(|horizon| time < horizon) {
                        is_first.push(false);
                        continue;
                    }
                    Some(time.saturating_add(micros(*delay)))
                }
            };
            let place = known.iter().position(|(other, _)| *other == id);
            is_first.push(place.is_none());
            match place {
                None => known.push((id, until)),
                Some(place) if matches!(drop.memory, Memory::Batches(_)) => known[place].1 = until,
                Some(_) => {}
            }
        }
        if let (Memory::Watermark { .. }, Some(horizon)) = (&drop.memory, moment.horizon) {
            known.retain(|(_, until)| until.is_none_or(|until| until > horizon));
        }
        answer = Some(filter_record_batch(rows, &BooleanArray::from(is_first))?);
    }
    answer.ok_or_else(|| Error::internal("no batch has no answer"))
}

/// A time as microseconds, rounded down.
pub(crate) fn micros_of(time: i64, nanos: i64) -> i64 {
    let micros = (i128::from(time) * i128::from(nanos)).div_euclid(1_000);
    i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX })
}
