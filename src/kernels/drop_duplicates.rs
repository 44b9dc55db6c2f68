//! The first of rows that are equal in some columns, of all batches, or of those that can still be told apart.
//!
//! # Contract
//! 1. A row comes out if no row with its key is remembered; its key is remembered from then on. Rows keep their order.
//!    Keys are equal as groups are: null equals null, NaN equals NaN, -0.0 equals 0.0. *(tested)*
//! 2. Of a rule, the other rows are counted and go the way of its verdict; a row with a null in its key breaks nothing and
//!    is not remembered. *(tested)*
//! 3. With a time by batches, a key is forgotten once it has had no rows for that long. Within a watermark, once event time
//!    has come as far as the time of its first row and the delay; rows behind the horizon that the batch before left, and
//!    rows without a time, are counted and left out. In windows, a key is remembered for each window, and forgotten once
//!    that is closed; rows of windows that the batch before closed, and rows without a time, are counted and left out.
//!    *(tested)*
//! 4. The answer does not depend on partitions, and not on whether keys have been stored and restored in between. *(tested)*

use std::sync::Arc;

use arrow_array::{Array, BooleanArray};
use arrow_select::filter::filter_record_batch;

use super::group_ids;
use super::keep::Moment;
use super::map_state::micros;
use super::project;
use super::validate::{Broken, Findings, broken};
use crate::columnar::{DataType, RecordBatch, Scalar};
use crate::error::{Error, Result};
use crate::plan::keep::nanos_of;
use crate::plan::operator::{DropDuplicates, Memory};
use crate::plan::rules::Verdict;
use crate::plan::stage::NamedExpr;

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is the first of its key.
    First,
    /// Its key is remembered.
    Again,
    /// It has no time, or comes when it cannot be told from a duplicate any more.
    Late,
}

/// The answer to the last of several batches, by the book, and what its rule found: each row is compared with all that were
/// remembered.
///
/// # Errors
/// `Unsupported` for types that cannot be compared; `BadRecord` for the first row that breaks a rule whose verdict is `fail`.
pub fn reference(drop: &DropDuplicates, history: &[(RecordBatch, Moment)]) -> Result<(RecordBatch, Findings)> {
    let Some((rows, _)) = history.last() else { return Err(Error::internal("no batch has no answer")) };
    let fates = fates(drop, history)?;
    let mut findings = Findings::default();
    let mut goes_on = Vec::with_capacity(rows.num_rows());
    for (row, fate) in fates.into_iter().enumerate() {
        let verdict = drop.rule.as_ref().filter(|_| fate == Fate::Again).map(|rule| (rule, rule.verdict));
        if let Some((rule, verdict)) = verdict {
            *findings.broken.entry(rule.id).or_default() += 1;
            match verdict {
                Verdict::Keep => {}
                Verdict::Drop => findings.dropped += 1,
                Verdict::Quarantine => {
                    findings.quarantined += 1;
                    findings.aside.push(Broken { rows: rows.slice(row, 1), rules: vec![Arc::clone(&rule.name)] });
                }
                Verdict::Fail => return Err(broken(rule, rows, row)),
            }
        }
        goes_on.push(fate == Fate::First || matches!(verdict, Some((_, Verdict::Keep))));
    }
    Ok((filter_record_batch(rows, &BooleanArray::from(goes_on))?, findings))
}

/// What becomes of the rows of the last of several batches.
///
/// # Errors
/// `Unsupported` for types that cannot be compared.
pub fn fates(drop: &DropDuplicates, history: &[(RecordBatch, Moment)]) -> Result<Vec<Fate>> {
    let mut numbers = group_ids::Reference::default();
    // Keys, and the time of batches or of events at which each is forgotten.
    let mut known: Vec<(usize, Option<i64>)> = Vec::new();
    let mut fates = Vec::new();
    for (rows, moment) in history {
        let keys =
            drop.keys().into_iter().map(|key| project::reference(&key.expr, rows)).collect::<Result<Vec<_>>>()?;
        let ids = numbers.assign(&keys, rows.num_rows())?;
        let now = micros(moment.time);
        if let Memory::Batches(_) = drop.memory {
            known.retain(|(_, until)| until.is_none_or(|until| until > now));
        }
        fates.clear();
        for (row, id) in ids.into_iter().enumerate() {
            let Some(until) = forgotten(&drop.memory, rows, row, moment)? else {
                fates.push(Fate::Late);
                continue;
            };
            if drop.rule.is_some() && keys.iter().any(|key| key.is_null(row)) {
                fates.push(Fate::First);
                continue;
            }
            let place = known.iter().position(|(other, _)| *other == id);
            fates.push(if place.is_none() { Fate::First } else { Fate::Again });
            match place {
                None => known.push((id, until)),
                Some(place) if matches!(drop.memory, Memory::Batches(_)) => known[place].1 = until,
                Some(_) => {}
            }
        }
        let by_event = matches!(drop.memory, Memory::Watermark { .. } | Memory::Window { .. });
        if let (true, Some(horizon)) = (by_event, moment.horizon) {
            known.retain(|(_, until)| until.is_none_or(|until| until > horizon));
        }
    }
    Ok(fates)
}

/// When the key of a row is forgotten, if ever; none at all if the row is late.
fn forgotten(memory: &Memory, rows: &RecordBatch, row: usize, moment: &Moment) -> Result<Option<Option<i64>>> {
    let whole = |expr: &NamedExpr| -> Result<Option<i64>> {
        let numbers = arrow_cast::cast(&project::reference(&expr.expr, rows)?, &DataType::Int64)?;
        Ok(if let Scalar::Int64(number) = Scalar::from_array(&numbers, row)? { Some(number) } else { None })
    };
    Ok(match memory {
        Memory::Always => Some(None),
        Memory::Batches(ttl) => Some(Some(micros(moment.time).saturating_add(micros(*ttl)))),
        Memory::Watermark { time, unit, delay } => {
            let time = whole(time)?.map(|time| micros_of(time, nanos_of(*unit)));
            let time = time.filter(|time| moment.horizon_before.is_none_or(|horizon| *time >= horizon));
            time.map(|time| Some(time.saturating_add(micros(*delay))))
        }
        Memory::Window { pane, windows } => {
            let end = whole(pane)?.map(|window| windows.micros(windows.end(window)));
            end.filter(|end| moment.horizon_before.is_none_or(|horizon| *end > horizon)).map(Some)
        }
    })
}

/// A time as microseconds, rounded down.
pub(crate) fn micros_of(time: i64, nanos: i64) -> i64 {
    let micros = (i128::from(time) * i128::from(nanos)).div_euclid(1_000);
    i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX })
}
