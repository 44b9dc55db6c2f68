//! A function of the user's over the rows of each key and over what it remembers of the key, from batch to batch.
//!
//! # Contract
//! 1. The function is called once for each key of the batch, with the key's rows in order and what is remembered; then, once
//!    for each key without rows whose time is over, as timed out. A key of the batch is never timed out by it. *(tested)*
//! 2. Time is over when the time of the batch has reached `until`, or the event time of the batch `until_event`. *(tested)*
//! 3. What is given for rows comes in the order of the rows; then what is given for keys whose time is over, in the order in
//!    which they are remembered since. With `Complete`, one row a key that is remembered, in that order. *(tested)*
//! 4. The answer does not depend on how the batch was cut into partitions, and not on whether what is remembered has been
//!    stored and restored in between. *(tested)*
//! 5. If the function fails, nothing of the batch has been taken in. *(tested)*

use std::sync::Arc;

use arrow_array::{ArrayRef, UInt32Array};
use arrow_select::concat::concat_batches;
use arrow_select::take::take;

use super::group_ids;
use super::keep::{Moment, under};
use crate::columnar::{RecordBatch, Scalar, SchemaRef};
use crate::error::{Error, Result};
use crate::plan::keep::OutputMode;
use crate::plan::operator::MapState;
use crate::plan::state_function::{KeyAnswers, KeyCalls, StateAfter, StateFunction};

/// A moment as state functions count: microseconds since the Unix epoch.
pub(crate) fn micros(time: std::time::Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// Holds a function to its promise: as many fates as keys, as many places as rows.
pub(crate) fn check_answers(name: &str, answers: &KeyAnswers, keys: usize) -> Result<()> {
    let rows = answers.places.len();
    if answers.states.len() != keys || answers.rows.iter().any(|column| column.len() != rows) {
        let message = format!("the function \"{name}\" gave {} states for {keys} keys", answers.states.len());
        return Err(Error::internal(message));
    }
    Ok(())
}

/// Whether time is over.
pub(crate) fn is_due(after: &StateAfter, moment: &Moment) -> bool {
    let is_reached = |until: Option<i64>, now: Option<i64>| until.zip(now).is_some_and(|(until, now)| now >= until);
    is_reached(after.until, Some(micros(moment.time))) || is_reached(after.until_event, moment.horizon)
}

struct Known {
    /// The number of the key.
    key: usize,
    after: StateAfter,
}

/// The answer to the last of several batches, by the book: all of them are run anew, one key at a time, over a list of
/// what is remembered. The rows are those that reach the function, keys first.
///
/// # Errors
/// What the function says.
pub fn reference(
    map: &MapState,
    function: &dyn StateFunction,
    schema: &SchemaRef,
    history: &[(RecordBatch, Moment)],
) -> Result<RecordBatch> {
    let mut numbers = group_ids::Reference::default();
    let mut keys_seen: Vec<Vec<ArrayRef>> = Vec::new();
    let mut known: Vec<Known> = Vec::new();
    let mut answer = RecordBatch::new_empty(Arc::clone(schema));
    for (rows, moment) in history {
        let keys = &rows.columns()[..map.keys.len()];
        let ids = numbers.assign(keys, rows.num_rows())?;
        let mut touched = ids.clone();
        let mut seen = std::collections::BTreeSet::new();
        touched.retain(|&id| seen.insert(id));
        let mut given: Vec<(u32, RecordBatch)> = Vec::new();
        for &id in &touched {
            let mine: Vec<u32> = (0_u32..).zip(&ids).filter(|(_, other)| **other == id).map(|(row, _)| row).collect();
            let taken = |column: &ArrayRef| take(column, &UInt32Array::from(mine.clone()), None);
            let columns = rows.columns().iter().map(taken).collect::<Result<Vec<_>, _>>()?;
            if id == keys_seen.len() {
                keys_seen.push(canonical_key(&numbers.keys[id], &map.keys)?);
            }
            let place = known.iter().position(|one| one.key == id);
            let before = place.and_then(|place| known[place].after.state.clone());
            let calls = KeyCalls {
                keys: &keys_seen[id],
                values: &columns[map.keys.len()..],
                ends: &[mine.len()],
                places: &mine,
                states: &[before.as_deref()],
                is_timed_out: false,
                has_watermark: !map.watermarks.is_empty(),
                time: moment.time,
                horizon: moment.horizon_before,
            };
            let mut answers = function.call(&calls)?;
            given.extend(single_rows(schema, &mut answers)?);
            remember(&mut known, place, id, answers.states.remove(0));
        }
        given.sort_by_key(|(place, _)| *place);
        let due = known.iter().filter(|one| is_due(&one.after, moment) && !touched.contains(&one.key));
        for id in due.map(|one| one.key).collect::<Vec<_>>() {
            let place = known.iter().position(|one| one.key == id);
            let before = place.and_then(|place| known[place].after.state.clone());
            let none: Vec<ArrayRef> =
                rows.columns()[map.keys.len()..].iter().map(|column| column.slice(0, 0)).collect();
            let calls = KeyCalls {
                keys: &keys_seen[id],
                values: &none,
                ends: &[0],
                places: &[],
                states: &[before.as_deref()],
                is_timed_out: true,
                has_watermark: !map.watermarks.is_empty(),
                time: moment.time,
                horizon: moment.horizon,
            };
            let mut answers = function.call(&calls)?;
            given.extend(single_rows(schema, &mut answers)?);
            remember(&mut known, place, id, answers.states.remove(0));
        }
        if map.mode == OutputMode::Complete {
            given.clear();
            for one in &known {
                let state = one.after.state.as_deref().unwrap_or_default();
                let columns = function.show(&keys_seen[one.key], &[state])?;
                given.push((0, under(schema, columns, 1)?));
            }
        }
        answer = concat_batches(schema, given.iter().map(|(_, rows)| rows))?;
    }
    Ok(answer)
}

/// A key as it comes out, a row for each of its columns.
pub(super) fn canonical_key(key: &[Scalar], columns: &[crate::plan::stage::NamedExpr]) -> Result<Vec<ArrayRef>> {
    let one = |(value, column): (&Scalar, &crate::plan::stage::NamedExpr)| {
        let data_type = &column.expr.data_type;
        Scalar::to_array(&[group_ids::key_value(value, data_type.is_floating())], data_type)
    };
    key.iter().zip(columns).map(one).collect()
}

fn single_rows(schema: &SchemaRef, answers: &mut KeyAnswers) -> Result<Vec<(u32, RecordBatch)>> {
    let rows = under(schema, std::mem::take(&mut answers.rows), answers.places.len())?;
    Ok(answers.places.iter().enumerate().map(|(row, &place)| (place, rows.slice(row, 1))).collect())
}

/// A key that is remembered stays in its place; one that is forgotten and comes again is the newest.
fn remember(known: &mut Vec<Known>, place: Option<usize>, key: usize, after: StateAfter) {
    match (place, after.state.is_some()) {
        (Some(place), true) => known[place].after = after,
        (Some(place), false) => drop(known.remove(place)),
        (None, true) => known.push(Known { key, after }),
        (None, false) => {}
    }
}
