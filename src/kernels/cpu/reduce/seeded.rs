//! Groups made of their answers, for state that begins with a table: a count is what is kept of a count, and a sum of a sum.
//!
//! The columns are made that [`Groups::store`](super::Groups::store) would make of such groups, so that there is one way in.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StructArray};
use arrow_schema::{DataType, Field, Fields};

use super::KeyedReduce;
use super::feed::Feed;
use super::lane_sum::{Total, Wide};
use super::laned::{Laned, What, values};
use super::stored_total;
use crate::columnar::data_type;
use crate::error::{Error, Result};
use crate::expr::{AggregateFunction, TypedAggregate};
use crate::kernels::cpu::native;
use crate::kernels::exact_sum::FloatTotal;
use crate::kernels::keep::under;

impl KeyedReduce {
    /// Stored groups with these keys and answers, a row a group. Aggregates must be of those whose answers say all that is
    /// kept of them.
    ///
    /// # Errors
    /// `InvalidQuery` for answers that no rows can have.
    pub(in crate::kernels::cpu) fn seeded(
        &self,
        keys: &[ArrayRef],
        answers: &[ArrayRef],
        rows: usize,
    ) -> Result<RecordBatch> {
        let empty = self.begin()?;
        let aggregates = &self.0.aggregates;
        let mut columns = keys.to_vec();
        let (of_lanes, counts) = empty.laned.seeded(aggregates, answers, rows)?;
        columns.extend(of_lanes);
        for (place, (aggregate, answer)) in aggregates.iter().zip(answers).enumerate() {
            if !empty.laned.holds(place) {
                columns.push(state(aggregate, answer, &counts)?);
            }
        }
        under(&self.stored_schema()?, columns, rows)
    }
}

/// What an aggregate that is not in lanes stores for an answer, of groups of so many rows.
fn state(aggregate: &TypedAggregate, answer: &ArrayRef, rows: &[i64]) -> Result<ArrayRef> {
    let input = aggregate.input.as_ref().map_or(&aggregate.data_type, |input| values(&input.data_type));
    Ok(match &aggregate.function {
        AggregateFunction::First | AggregateFunction::Last => {
            let field = Arc::new(Field::new("value", answer.data_type().clone(), true));
            // A null is that of a row, if there is one that was seen for sure.
            let seen =
                |(group, &rows): (usize, &i64)| answer.is_valid(group) || (aggregate.filter.is_none() && rows > 0);
            let seen = rows.iter().enumerate().map(seen).collect::<Vec<_>>();
            Arc::new(StructArray::new(Fields::from(vec![field]), vec![Arc::clone(answer)], native::validity(&seen)))
        }
        _ if *input == DataType::Null => arrow_array::new_null_array(input, answer.len()),
        AggregateFunction::Min | AggregateFunction::Max if data_type::is_text(input) || data_type::is_binary(input) => {
            // Texts by way of large ones: views are not made bytes at once.
            let text = if data_type::is_text(input) { &DataType::LargeUtf8 } else { input };
            arrow_cast::cast(&arrow_cast::cast(answer, text)?, &DataType::LargeBinary)?
        }
        _ => arrow_cast::cast(answer, input)?,
    })
}

impl Laned {
    /// What [`Laned::store`] would store of groups with these answers, of all aggregates; and how many rows they have.
    fn seeded(
        &self,
        aggregates: &[TypedAggregate],
        answers: &[ArrayRef],
        groups: usize,
    ) -> Result<(Vec<ArrayRef>, Vec<i64>)> {
        let feeds = (0..self.feeds.len()).map(|feed| self.values_of(feed, aggregates, answers, groups));
        let counts = feeds.collect::<Result<Vec<_>>>()?;
        let mut columns: Vec<ArrayRef> = Vec::new();
        let rows = rows_of(&counts, groups)?;
        if self.needs_rows {
            columns.push(Arc::new(Int64Array::from(rows.clone())));
        } else if let Some(group) = rows.iter().position(|&rows| rows == 0) {
            return Err(refused(group, "an answer is null that never is"));
        }
        for (place, (feed, counts)) in self.feeds.iter().zip(counts).enumerate() {
            if feed.can_miss {
                columns.push(Arc::new(counts.values.into_iter().collect::<Int64Array>()));
            }
            let answer =
                |what| self.answer_of(place, what, answers).ok_or_else(|| Error::internal("a lane has no answer"));
            let input = aggregates[feed.place].input.as_ref().map(|input| values(&input.data_type));
            if feed.sum.is_some() {
                let is_floating = input.is_some_and(DataType::is_floating);
                columns.push(stored_total::column(totals(answer(What::Sum)?)?.into_iter(), is_floating)?);
            }
            for (what, least) in [(What::Min, &feed.min), (What::Max, &feed.max)] {
                if least.is_some() {
                    let column = answer(what)?;
                    columns
                        .push(input.map_or_else(|| Ok(Arc::clone(column)), |input| arrow_cast::cast(column, input))?);
                }
            }
        }
        Ok((columns, rows))
    }

    /// The answer that says this of a feed.
    fn answer_of<'a>(&self, feed: usize, what: What, answers: &'a [ArrayRef]) -> Option<&'a ArrayRef> {
        let mut both = self.parts.iter().zip(answers);
        both.find(|(part, _)| part.is_some_and(|part| part.feed == feed && part.what == what)).map(|(_, answer)| answer)
    }

    /// How many values the groups have, as their count says, or at least.
    fn values_of(
        &self,
        place: usize,
        aggregates: &[TypedAggregate],
        answers: &[ArrayRef],
        groups: usize,
    ) -> Result<Counts> {
        let feed: &Feed = &self.feeds[place];
        let counted = self.answer_of(place, What::Count, answers).map(|answer| answer.as_primitive::<Int64Type>());
        let others = [What::Sum, What::Min, What::Max].map(|what| self.answer_of(place, what, answers));
        let mut all = Counts { is_counted: counted.is_some(), is_of_all_rows: !feed.can_miss, values: Vec::new() };
        for group in 0..groups {
            let has = others.iter().flatten().map(|answer| answer.is_valid(group)).collect::<Vec<_>>();
            let some = has.contains(&true);
            let count = match counted {
                None => i64::from(some),
                Some(counted) if counted.is_valid(group) && counted.value(group) >= 0 => counted.value(group),
                Some(_) => {
                    return Err(refused(group, &format!("\"{}\" is no count", aggregates[feed.place].name)));
                }
            };
            if has.iter().any(|has| *has != (count > 0)) {
                let message = format!(
                    "what is said of the values of \"{}\" does not fit: some say that there are none",
                    aggregates[feed.place].name
                );
                return Err(refused(group, &message));
            }
            all.values.push(count);
        }
        Ok(all)
    }
}

/// How many rows the groups have: as many as is said, or enough for the values.
fn rows_of(feeds: &[Counts], groups: usize) -> Result<Vec<i64>> {
    let of_group = |group: usize| {
        let most = feeds.iter().map(|feed| feed.values[group]).max().unwrap_or(1);
        let of_all = || feeds.iter().filter(|feed| feed.is_of_all_rows);
        let said = of_all().find(|feed| feed.is_counted).map(|feed| feed.values[group]);
        let has_none = of_all().any(|feed| feed.values[group] == 0);
        let rows = said.unwrap_or(if has_none { 0 } else { most.max(1) });
        let fits = |feed: &Counts| match (feed.is_of_all_rows, feed.is_counted) {
            (true, true) => feed.values[group] == rows,
            (true, false) => (feed.values[group] > 0) == (rows > 0),
            (false, _) => feed.values[group] <= rows,
        };
        match feeds.iter().all(fits) {
            true => Ok(rows),
            false => {
                Err(refused(group, &format!("its counts do not fit each other: they would be those of {rows} rows")))
            }
        }
    };
    (0..groups).map(of_group).collect()
}

/// How many values groups have under a feed.
struct Counts {
    /// Whether that is known, or only whether there are some.
    is_counted: bool,
    /// Whether every row counts.
    is_of_all_rows: bool,
    values: Vec<i64>,
}

fn refused(group: usize, what: &str) -> Error {
    Error::invalid_query(format!("row {group} of the initial state: {what}"))
        .advice("give answers that the query itself could have given")
}

/// Sums as totals; null is nothing.
fn totals(sums: &ArrayRef) -> Result<Vec<Total>> {
    if sums.data_type().is_floating() {
        let floats = arrow_cast::cast(sums, &DataType::Float64)?;
        let floats: &Float64Array = floats.as_primitive();
        let total = |sum: Option<f64>| {
            let mut total = FloatTotal::default();
            total.add(sum.unwrap_or(0.0));
            Total::Float(Box::new(total))
        };
        return Ok(floats.iter().map(total).collect());
    }
    let whole = whole_numbers(sums)?;
    let total = |(row, value): (usize, i128)| {
        let mut total = Wide::default();
        total.add_whole(if sums.is_valid(row) { value } else { 0 });
        Total::Whole(total)
    };
    Ok(whole.into_iter().enumerate().map(total).collect())
}

fn whole_numbers(sums: &ArrayRef) -> Result<Vec<i128>> {
    Ok(match sums.data_type() {
        DataType::Decimal128(..) => native::values::<i128>(sums)?.to_vec(),
        DataType::UInt64 => native::values::<u64>(sums)?.iter().map(|&value| value.into()).collect(),
        _ => native::values::<i64>(sums)?.iter().map(|&value| value.into()).collect(),
    })
}
