//! Keyed reduce over sessions: windows of event time that are as long as rows keep coming.
//!
//! What is kept, and which rows come out, is that of [`super::keep`]; this is what differs.
//!
//! # Contract
//! 1. A row joins an open session of its key if its time lies less than the gap behind the session's last row, or less than
//!    the gap before its first; it may join two sessions to one. A session ends a gap after its last row. *(tested)*
//! 2. A session is closed once its end does not lie behind the horizon that a batch leaves. A row is late if the end of a
//!    session of its own would not lie behind the horizon of the batch before; it is counted and left out. *(tested)*
//! 3. `append` gives each session once, when it is closed; `update` those that the batch made or changed, as they are now;
//!    `complete` all, and nothing closes. Sessions come by their first rows, of one time in the order in which they were made.
//!    A session that is put together from others is the earliest of them, unless rows of the batch come before. *(tested)*
//! 4. `first`, `last` and `concat` take the parts that a session is put together from by their first times: open sessions,
//!    and runs of rows of the batch, which are taken by time. *(tested)*

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array};
use arrow_select::concat::concat_batches;

use super::group_ids;
use super::keep::{Moment, chosen, fields, first_open_pane, under};
use super::reduce::{self, ReduceInput};
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::Result;
use crate::plan::keep::{Keep, OutputMode, Windows};

#[derive(Debug, Clone)]
struct Session {
    key: usize,
    first: i64,
    last: i64,
    number: usize,
    is_new: bool,
    /// Its rows: the batch, and the row there.
    rows: Vec<(usize, usize)>,
}

/// The answer to the last of several batches, by the book: each row is a session of its own, and sessions are put together
/// until none are close.
///
/// # Errors
/// Overflow of a total.
pub fn reference(
    keep: &Keep,
    windows: &Windows,
    schema: &SchemaRef,
    history: &[(ReduceInput, Moment)],
) -> Result<RecordBatch> {
    let mut numbers = group_ids::Reference::default();
    let mut open: Vec<Session> = Vec::new();
    let mut given = Vec::new();
    let mut next = 0;
    for (batch, (input, moment)) in history.iter().enumerate() {
        let place = input.keys.len() - 1;
        let keys = numbers.assign(&input.keys[..place], input.rows)?;
        let times = input.keys[place].as_primitive::<Int64Type>();
        let first_open = first_open_pane(keep, moment.horizon_before);
        let in_time = |row: &usize| times.is_valid(*row) && first_open.is_none_or(|open| times.value(*row) >= open);
        let mut order: Vec<usize> = Vec::new();
        let mut rows: Vec<usize> = (0..input.rows).filter(in_time).collect();
        rows.iter().for_each(|&row| {
            if !order.contains(&keys[row]) {
                order.push(keys[row]);
            }
        });
        rows.sort_by_key(|&row| times.value(row));
        let mut touched = Vec::new();
        for key in order {
            let (mine, others): (Vec<Session>, Vec<Session>) = open.into_iter().partition(|session| session.key == key);
            let of_key = rows.iter().filter(|&&row| keys[row] == key);
            let alone = of_key.map(|&row| {
                let time = times.value(row);
                Session { key, first: time, last: time, number: usize::MAX, is_new: true, rows: vec![(batch, row)] }
            });
            let mut all = joined(joined(alone.collect(), windows.size).into_iter().chain(mine).collect(), windows.size);
            for session in &mut all {
                if session.number == usize::MAX {
                    session.number = next;
                    next += 1;
                }
                if std::mem::replace(&mut session.is_new, false) {
                    touched.push(session.clone());
                }
            }
            open = others.into_iter().chain(all).collect();
        }
        let over = first_open_pane(keep, moment.horizon);
        let (closed, stay) = open.into_iter().partition(|session| over.is_some_and(|over| session.last < over));
        open = stay;
        given = match keep.mode {
            OutputMode::Append => closed,
            OutputMode::Update => touched,
            OutputMode::Complete => open.clone(),
        };
    }
    given.sort_by_key(|session| (session.first, session.number));
    let rows = given.iter().map(|session| row_of(keep, windows, schema, session, history));
    Ok(concat_batches(schema, &rows.collect::<Result<Vec<_>>>()?)?)
}

/// Sessions of one key put together. `is_new` says whether rows of the batch are among them.
fn joined(mut sessions: Vec<Session>, gap: i64) -> Vec<Session> {
    sessions.sort_by_key(|session| (session.first, session.is_new));
    let mut all: Vec<Session> = Vec::new();
    for session in sessions {
        match all.last_mut() {
            Some(before) if session.first < before.last + gap => {
                before.last = before.last.max(session.last);
                before.is_new |= session.is_new;
                before.rows.extend(session.rows);
            }
            _ => all.push(session),
        }
    }
    all
}

fn row_of(
    keep: &Keep,
    windows: &Windows,
    schema: &SchemaRef,
    session: &Session,
    history: &[(ReduceInput, Moment)],
) -> Result<RecordBatch> {
    let single = |&(batch, row): &(usize, usize)| {
        let input = &history[batch].0;
        let mut one = chosen(input, &(0..input.rows).map(|other| Some(other == row)).collect::<BooleanArray>())?;
        if let Some(last) = one.keys.last_mut() {
            *last = Arc::new(Int64Array::from(vec![0]));
        }
        Ok(one)
    };
    let inputs = session.rows.iter().map(single).collect::<Result<Vec<_>>>()?;
    let rows = reduce::reference(&fields(keep), &keep.aggregates, &inputs)?;
    let time = |at: i64| -> Result<ArrayRef> {
        let time: ArrayRef = Arc::new(Int64Array::from(vec![at]));
        Ok(arrow_cast::cast(&time, &windows.time_type())?)
    };
    let place = keep.keys.len() - 1;
    let mut columns = rows.columns()[..place].to_vec();
    columns.push(time(session.first)?);
    columns.push(time(session.last + windows.size)?);
    columns.extend_from_slice(&rows.columns()[place + 1..]);
    under(schema, columns, 1)
}
