//! Rows of two streams beside each other whose keys are equal and whose times are close.
//!
//! # Contract
//! 1. A row of the left stream and one of the right match if their keys are equal, none of them null, and the time of the
//!    right row lies from `before` before to `after` after that of the left. Each pair comes once, in the batch in which the
//!    later of its rows comes. *(tested)*
//! 2. Pairs come in the order of their later rows, where rows of the left stream come first in a batch; of one such row, in the
//!    order of the times of the other rows, then of their arrival. *(tested)*
//! 3. A row is forgotten once no row can come any more that would match it, by the horizon that a batch leaves. If no row has
//!    matched it, it comes out then beside nulls where the kind of the join wants that; after the pairs, by time and then by
//!    arrival. *(tested)*
//! 4. Rows behind the horizon that the batch before left, and rows without a time, are counted and left out. *(tested)*
//! 5. With `takes_latest`, contracts 1 to 3 are others: a row of the left stream comes once, when no row can come any more
//!    that is not later than it, by the horizon that a batch leaves; beside the latest row of the right stream whose key is
//!    equal and whose time is not later, and not older than `before`: of one time, the one that arrived last. Without such a
//!    row it comes beside nulls if the kind is `left`. By time, then by arrival. *(tested)*
//! 6. The answer does not depend on partitions, and not on whether rows have been stored and restored in between. *(tested)*

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_select::concat::concat_batches;

use super::drop_duplicates::micros_of;
use super::group_ids;
use super::keep::{Moment, under};
use crate::columnar::{RecordBatch, Scalar, SchemaRef};
use crate::error::Result;
use crate::plan::keep::nanos_of;
use crate::plan::operator::JoinStreams;

/// The event time, in microseconds, at which a row is forgotten.
pub(crate) fn forgotten_at(join: &JoinStreams, is_right: bool, time: i64) -> i64 {
    micros_of(time.saturating_add(join.waits(is_right)), nanos_of(join.unit)).saturating_add(1)
}

/// Whether a left and a right time are close enough.
pub(crate) fn is_close(join: &JoinStreams, left: i64, right: i64) -> bool {
    right >= left.saturating_sub(join.before) && right <= left.saturating_add(join.after)
}

struct Seen {
    is_right: bool,
    key: Option<usize>,
    time: i64,
    /// Keys and columns, nulls in those of the other side.
    row: RecordBatch,
    is_matched: bool,
    is_forgotten: bool,
}

/// The answer to the last of several batches, by the book: each row is compared with all that came before it.
///
/// # Errors
/// `Unsupported` for types that cannot be compared.
pub fn reference(join: &JoinStreams, schema: &SchemaRef, history: &[(RecordBatch, Moment)]) -> Result<RecordBatch> {
    let mut numbers = group_ids::Reference::default();
    let mut seen: Vec<Seen> = Vec::new();
    let mut given = Vec::new();
    for (rows, moment) in history {
        given.clear();
        let keys = &rows.columns()[JoinStreams::KEYS_FROM..JoinStreams::KEYS_FROM + join.keys.len()];
        let ids = numbers.assign(keys, rows.num_rows())?;
        let (sides, times) = (rows.column(0).as_boolean(), rows.column(1).as_primitive::<Int64Type>());
        for (row, &id) in ids.iter().enumerate() {
            let is_late =
                |time| moment.horizon_before.is_some_and(|horizon| micros_of(time, nanos_of(join.unit)) < horizon);
            if times.is_null(row) || is_late(times.value(row)) {
                continue;
            }
            let key = keys.iter().all(|key| key.is_valid(row)).then_some(id);
            // Keys come out as the values that stand for all equal ones.
            let canonical = numbers.keys[id].iter().zip(keys).map(|(value, column)| {
                let value = group_ids::key_value(value, column.data_type().is_floating());
                Scalar::to_array(&[value], column.data_type())
            });
            let mut columns = canonical.collect::<Result<Vec<_>>>()?;
            let rest = &rows.columns()[JoinStreams::KEYS_FROM + keys.len()..];
            columns.extend(rest.iter().map(|column| column.slice(row, 1)));
            let mut new = Seen {
                is_right: sides.value(row),
                key,
                time: times.value(row),
                row: under(schema, columns, 1)?,
                is_matched: false,
                is_forgotten: false,
            };
            let mut matches = Vec::new();
            let others = seen.iter_mut().enumerate();
            for (place, other) in others.filter(|(_, other)| !join.takes_latest && !other.is_forgotten) {
                let (left, right) = if new.is_right { (other.time, new.time) } else { (new.time, other.time) };
                if new.key.is_some()
                    && other.key == new.key
                    && other.is_right != new.is_right
                    && is_close(join, left, right)
                {
                    (other.is_matched, new.is_matched) = (true, true);
                    matches.push((other.time, place));
                }
            }
            matches.sort_unstable();
            for (_, place) in matches {
                let (left, right) =
                    if new.is_right { (&seen[place].row, &new.row) } else { (&new.row, &seen[place].row) };
                given.push(beside(join, schema, left, right)?);
            }
            seen.push(new);
        }
        if join.takes_latest {
            given.extend(latest(join, schema, &mut seen, moment)?);
            continue;
        }
        let mut over = Vec::new();
        for (place, one) in seen.iter_mut().enumerate().filter(|(_, one)| !one.is_forgotten) {
            one.is_forgotten =
                moment.horizon.is_some_and(|horizon| horizon >= forgotten_at(join, one.is_right, one.time));
            if one.is_forgotten && !one.is_matched && join.kind.gives_unmatched(one.is_right) {
                over.push((one.time, place));
            }
        }
        over.sort_unstable();
        given.extend(over.into_iter().map(|(_, place)| seen[place].row.clone()));
    }
    Ok(concat_batches(schema, &given)?)
}

/// The rows of the left stream whose latest rows are known now.
fn latest(join: &JoinStreams, schema: &SchemaRef, seen: &mut [Seen], moment: &Moment) -> Result<Vec<RecordBatch>> {
    let is_known = |one: &Seen| {
        let known_at = forgotten_at(join, false, one.time);
        !one.is_right && !one.is_forgotten && moment.horizon.is_some_and(|horizon| horizon >= known_at)
    };
    let mut known: Vec<usize> = (0..seen.len()).filter(|&place| is_known(&seen[place])).collect();
    known.sort_by_key(|&place| seen[place].time);
    let mut given = Vec::new();
    for place in known {
        seen[place].is_forgotten = true;
        let left = &seen[place];
        let matches = seen.iter().filter(|right| {
            right.is_right && left.key.is_some() && right.key == left.key && is_close(join, left.time, right.time)
        });
        // The last of those with the largest time.
        match matches.max_by_key(|right| right.time) {
            Some(right) => given.push(beside(join, schema, &left.row, &right.row)?),
            None if join.kind.gives_unmatched(false) => given.push(left.row.clone()),
            None => {}
        }
    }
    Ok(given)
}

fn beside(join: &JoinStreams, schema: &SchemaRef, left: &RecordBatch, right: &RecordBatch) -> Result<RecordBatch> {
    let right_from = join.keys.len() + join.left;
    let columns = left.columns()[..right_from].iter().chain(&right.columns()[right_from..]).cloned();
    under(schema, columns.collect(), 1)
}
