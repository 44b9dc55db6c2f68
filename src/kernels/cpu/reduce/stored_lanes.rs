//! What lanes hold as columns, and back.
//!
//! The number of rows of each group, if somebody counts them; then for each feed the number of its values, if rows can
//! be missed (1 stands for any where it is only asked whether there are some), the total of its sum, its ordered sum, its least and its greatest value. Names are those of the first aggregate that asked.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::lane_least::LaneLeast;
use super::lane_ordered;
use super::laned::{Laned, values};
use super::lanes::ROWS;
use super::stored_total;
use crate::error::{Error, Result};
use crate::expr::TypedAggregate;
use crate::kernels::cpu::native;
use crate::kernels::stored;

impl Laned {
    /// The columns with their names, a row a group.
    pub(super) fn store(&self, aggregates: &[TypedAggregate], groups: usize) -> Result<Vec<(String, ArrayRef)>> {
        let mut columns = Vec::new();
        if self.needs_rows {
            let of_lane = self.rows.filter(|_| !self.may_wait).map(|lane| self.lanes.sums(lane).take(groups).collect());
            let rows = of_lane.unwrap_or_else(|| vec![1; groups]);
            columns.push(("rows".to_owned(), native::column::<i64>(&DataType::Int64, rows, None)?));
        }
        for feed in &self.feeds {
            let aggregate = &aggregates[feed.place];
            let counts = self.counts(feed, groups);
            let mut push = |what: &str, column| columns.push((format!("{}: {what}", aggregate.name), column));
            if feed.can_miss {
                let counts = match counts.clone() {
                    None => vec![1; groups],
                    Some(counts) if self.may_wait => counts.into_iter().map(|count| count.min(1)).collect(),
                    Some(counts) => counts,
                };
                push("values", native::column(&DataType::Int64, counts, None)?);
            }
            let input = || aggregate.input.as_ref().map(|input| values(&input.data_type)).ok_or_else(without_input);
            if let Some((sum, first)) = &feed.sum {
                let totals = (0..groups).map(|group| sum.total(&self.lanes, *first, group));
                push("total", stored_total::column(totals, input()?.is_floating())?);
            }
            if let Some((_, lane)) = &feed.ordered {
                push("ordered total", lane_ordered::store(&self.lanes, *lane, groups)?);
            }
            let present = counts.map_or_else(|| vec![true; groups], |counts| counts.iter().map(|&n| n > 0).collect());
            for (what, least) in [("least", &feed.min), ("greatest", &feed.max)] {
                if let Some((least, lane)) = least {
                    push(what, least.values(input()?, &self.lanes, *lane, &present)?);
                }
            }
        }
        Ok(columns)
    }

    /// Takes the groups of stored columns in; there are none yet. Columns are taken off the front.
    pub(super) fn restore(&mut self, columns: &mut &[ArrayRef], groups: usize) -> Result<()> {
        let mut next = || {
            let (first, rest) = columns.split_first().ok_or_else(|| stored::corrupt("columns are missing"))?;
            *columns = rest;
            Ok::<_, Error>(first)
        };
        self.lanes.grow(groups);
        let rows = self.needs_rows.then(|| counts(next()?)).transpose()?;
        if let (Some(lane), Some(rows)) = (self.rows, &rows) {
            self.lanes.sums_mut(lane).zip(rows).for_each(|(slot, &rows)| *slot = rows);
        }
        for place in 0..self.feeds.len() {
            if let (true, Some(rows)) = (self.feeds[place].can_miss, &rows) {
                let values = counts(next()?)?;
                let are_missed = if self.may_wait { values.contains(&0) } else { values != *rows };
                if are_missed && !self.has_missed() {
                    self.make_missed(std::iter::empty());
                    if let Some(lane) = self.rows {
                        self.lanes.sums_mut(lane).zip(rows).for_each(|(slot, &rows)| *slot = rows);
                    }
                }
                if let Some(lane) = self.feeds[place].missed {
                    for ((slot, values), rows) in self.lanes.sums_mut(lane).zip(values).zip(rows) {
                        *slot = rows - values;
                    }
                }
            }
            let feed = &mut self.feeds[place];
            if let Some((sum, first)) = &mut feed.sum {
                sum.restore(&stored_total::totals(next()?)?, &mut self.lanes, *first)?;
            }
            if let Some((_, lane)) = &feed.ordered {
                lane_ordered::restore(&mut self.lanes, *lane, next()?)?;
            }
            for (least, lane) in feed.min.iter_mut().chain(&mut feed.max) {
                let numbers = numbers(&mut **least, next()?)?;
                self.lanes.leasts_mut(*lane).zip(numbers).for_each(|(slot, number)| *slot = number);
            }
        }
        Ok(())
    }
}

/// Counts of rows or values, none below zero.
fn counts(column: &ArrayRef) -> Result<Vec<i64>> {
    let counts =
        column.as_primitive_opt::<Int64Type>().ok_or_else(|| stored::corrupt("counts are not whole numbers"))?;
    if counts.null_count() > 0 || counts.values().iter().any(|&count| count < 0) {
        return Err(stored::corrupt("a count is null or below zero"));
    }
    Ok(counts.values().to_vec())
}

/// What the lane of each group holds for its value.
fn numbers(least: &mut dyn LaneLeast, column: &ArrayRef) -> Result<Vec<i64>> {
    least.start(column)?;
    let keep = |row| if column.is_valid(row) { -1 } else { 0 };
    let mut numbers = Vec::with_capacity(column.len());
    for from in (0..column.len()).step_by(ROWS) {
        let rows = from..column.len().min(from + ROWS);
        let keep: Vec<i64> = rows.clone().map(keep).collect();
        least.feed(rows, Some(&keep));
        numbers.extend_from_slice(&least.numbers()[..keep.len()]);
    }
    Ok(numbers)
}

fn without_input() -> Error {
    Error::internal("an aggregate of values came without its input")
}
