//! Sums and differences of times, and what can be asked of one: parts, the start of its span, units since the epoch.

use arrow_array::types::{Date32Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;

use super::calendar::Date;
use super::calendar::{SECONDS_PER_DAY, Zone, date_of, days_of, per_second, range_of_days};
use super::checked::checked_i64;
use super::operand::{Operand, common_nulls, logical, physical, primitive, shape, stored, valid};
use super::stored_time::{NANOS_PER_SECOND, nanos_per_unit, widened};
use super::{Apply, Scope, Site};
use crate::columnar::{DataType, TimeUnit};
use crate::error::Result;
use crate::expr::{BinaryOp, DatePart, Function};

/// Time plus or minus time, in the unit of the site.
pub(super) fn add(operands: &[Operand; 2], op: BinaryOp, scope: &Scope<'_>, site: &Site) -> Result<ArrayRef> {
    let units = [operands[0].data_type(), operands[1].data_type(), &site.data_type].map(nanos_per_unit);
    let [Some(left), Some(right), Some(to)] = units else { return Err(site.unknown(&op)) };
    let operands = stored(operands)?;
    let narrow = operands.iter().any(|operand| *operand.data_type() == DataType::Int32);
    if left == right && left == to && !narrow {
        return logical(&checked_i64(&operands, op, scope, site)?, &site.data_type);
    }
    let (a, b) = (widened(operands[0].array())?, widened(operands[1].array())?);
    let nulls = common_nulls(&operands);
    let (rows, _) = shape(&operands);
    let mut values = Vec::with_capacity(rows);
    for row in 0..rows {
        let (a, b) = (i128::from(a[operands[0].at(row)]), i128::from(b[operands[1].at(row)]));
        let b = if op == BinaryOp::Subtract { -b } else { b };
        let nanos = a * i128::from(left) + b * i128::from(right);
        match i64::try_from(nanos.div_euclid(to.into())) {
            Ok(value) => values.push(value),
            Err(_) if !valid(nulls.as_ref(), row) => values.push(0),
            Err(_) => return Err(site.overflow(scope.origin(row))),
        }
    }
    narrowed(values, nulls, scope, site)
}

/// Integers as the time that the site makes; days have 32 bits.
fn narrowed(values: Vec<i64>, nulls: Option<NullBuffer>, scope: &Scope<'_>, site: &Site) -> Result<ArrayRef> {
    if site.data_type != DataType::Date32 {
        return logical(&primitive::<Int64Type>(values, nulls), &site.data_type);
    }
    let mut days = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        match i32::try_from(*value) {
            Ok(day) => days.push(day),
            Err(_) if !valid(nulls.as_ref(), row) => days.push(0),
            Err(_) => return Err(site.overflow(scope.origin(row))),
        }
    }
    Ok(primitive::<Date32Type>(days, nulls))
}

pub(super) fn prepare(function: &Function, from: &DataType) -> Result<Apply> {
    let zone = match from {
        DataType::Timestamp(_, zone) => Zone::of(zone.as_deref())?,
        _ => Zone::Fixed(0),
    };
    let (function, from) = (function.clone(), from.clone());
    Ok(Box::new(move |operands, scope, site| {
        let operand = operands[0].decoded()?;
        let Some(nanos) = nanos_per_unit(&from) else {
            return if from == DataType::Null { Ok(Operand::null(&site.data_type)) } else { Err(site.unknown(&from)) };
        };
        let times =
            Times { values: widened(&physical(operand.array())?)?, nulls: operand.array().nulls(), nanos, zone };
        let answer = match &function {
            Function::Truncate(span) => times.truncated(*span, scope, site)?,
            Function::Part(part) => times.parts(*part, scope, site)?,
            Function::Epoch(unit) => times.epoch(*unit, scope, site)?,
            other => return Err(site.unknown(other)),
        };
        Ok(operand.with(answer))
    }))
}

/// A column of times in units of this many nanoseconds.
struct Times<'a> {
    values: Vec<i64>,
    nulls: Option<&'a NullBuffer>,
    nanos: i64,
    zone: Zone,
}

impl Times<'_> {
    fn known(&self, row: usize) -> bool {
        valid(self.nulls, row)
    }

    fn truncated(&self, span: i64, scope: &Scope<'_>, site: &Site) -> Result<ArrayRef> {
        let whole_days = span % (SECONDS_PER_DAY * NANOS_PER_SECOND) == 0;
        let local = whole_days && !matches!(self.zone, Zone::Fixed(0));
        let quick = !local && span % self.nanos == 0;
        let values = if quick {
            self.truncated_quickly(span / self.nanos, scope, site)?
        } else {
            let floor = |value| if local { self.floor_local(value, span) } else { self.floor(value, span) };
            self.each(|value| floor(value).ok_or(()), |row| site.overflow(scope.origin(row)))?
        };
        narrowed(values, self.nulls.cloned(), scope, site)
    }

    /// Spans of whole units: one remainder a row. Only the very first span of all can begin out of range.
    fn truncated_quickly(&self, span: i64, scope: &Scope<'_>, site: &Site) -> Result<Vec<i64>> {
        let mut any = false;
        let floor = |value: i64| value.overflowing_sub(value.rem_euclid(span));
        let values: Vec<i64> = self
            .values
            .iter()
            .map(|value| {
                let (start, overflow) = floor(*value);
                any |= overflow;
                start
            })
            .collect();
        let fault = |row: &usize| floor(self.values[*row]).1 && self.known(*row);
        match any.then(|| (0..values.len()).find(fault)).flatten() {
            Some(row) => Err(site.overflow(scope.origin(row))),
            None => Ok(values),
        }
    }

    fn floor(&self, value: i64, span: i64) -> Option<i64> {
        let nanos = i128::from(value) * i128::from(self.nanos);
        let start = nanos - nanos.rem_euclid(span.into());
        i64::try_from(start.div_euclid(self.nanos.into())).ok()
    }

    /// Whole days on the wall clock of a zone.
    fn floor_local(&self, value: i64, span: i64) -> Option<i64> {
        let units = NANOS_PER_SECOND / self.nanos;
        let second = value.div_euclid(units);
        let wall = second.checked_add(self.zone.ahead_at(second)?)?;
        let start = wall.checked_sub(wall.rem_euclid(span / NANOS_PER_SECOND))?;
        self.zone.second_at(start)?.checked_mul(units)
    }

    fn epoch(&self, unit: TimeUnit, scope: &Scope<'_>, site: &Site) -> Result<ArrayRef> {
        let to = NANOS_PER_SECOND / per_second(unit);
        let values = if to >= self.nanos {
            let divisor = to / self.nanos;
            self.values.iter().map(|value| value.div_euclid(divisor)).collect()
        } else {
            let factor = self.nanos / to;
            self.each(|value| value.checked_mul(factor).ok_or(()), |row| site.overflow(scope.origin(row)))?
        };
        Ok(primitive::<Int64Type>(values, self.nulls.cloned()))
    }

    /// A value for each row; the error is raised only for rows that are not null.
    fn each(
        &self,
        value: impl Fn(i64) -> Result<i64, ()>,
        fault: impl Fn(usize) -> crate::error::Error,
    ) -> Result<Vec<i64>> {
        let mut values = Vec::with_capacity(self.values.len());
        for (row, stored) in self.values.iter().enumerate() {
            match value(*stored) {
                Ok(value) => values.push(value),
                Err(()) if !self.known(row) => values.push(0),
                Err(()) => return Err(fault(row)),
            }
        }
        Ok(values)
    }

    fn parts(&self, part: DatePart, scope: &Scope<'_>, site: &Site) -> Result<ArrayRef> {
        let (first, last) = range_of_days();
        let day_units = (SECONDS_PER_DAY * NANOS_PER_SECOND) / self.nanos;
        let low = first.saturating_mul(day_units);
        let high = (last + 1).saturating_mul(day_units).saturating_sub(i64::from(last < i64::MAX / day_units));
        let outside = |value: i64| value < low || value > high;
        let fault = |row: &usize| outside(self.values[*row]) && self.known(*row);
        if self.values.iter().any(|value| outside(*value))
            && let Some(row) = (0..self.values.len()).find(fault)
        {
            return Err(site.outside_calendar(scope.origin(row)));
        }
        let values = match (self.zone, self.nanos) {
            (Zone::Fixed(0), 1) => self.parts_in::<NANOS_PER_SECOND>(part),
            (Zone::Fixed(0), 1_000) => self.parts_in::<1_000_000>(part),
            (Zone::Fixed(0), 1_000_000) => self.parts_in::<1_000>(part),
            (Zone::Fixed(0), NANOS_PER_SECOND) => self.parts_in::<1>(part),
            (Zone::Fixed(0), _) => self.values.iter().map(|day| part_of(part, *day, 0, 0)).collect(),
            _ => self.local_parts(part, scope, site)?,
        };
        Ok(primitive::<Int32Type>(values, self.nulls.cloned()))
    }

    /// Parts in UTC, for a number of units in a second that the compiler knows.
    #[expect(clippy::cast_possible_truncation, reason = "parts of a day are small")]
    fn parts_in<const UNITS: i64>(&self, part: DatePart) -> Vec<i32> {
        let values = self.values.iter();
        let per_day = UNITS * SECONDS_PER_DAY;
        match part {
            DatePart::Hour => values.map(|v| (v.rem_euclid(per_day) / (UNITS * 3_600)) as i32).collect(),
            DatePart::Minute => values.map(|v| (v.rem_euclid(UNITS * 3_600) / (UNITS * 60)) as i32).collect(),
            DatePart::Second => values.map(|v| (v.rem_euclid(UNITS * 60) / UNITS) as i32).collect(),
            DatePart::Millisecond => values.map(|v| (v.rem_euclid(UNITS) * 1_000 / UNITS) as i32).collect(),
            date => values.map(|v| part_of(date, v.div_euclid(per_day), 0, 0)).collect(),
        }
    }

    fn local_parts(&self, part: DatePart, scope: &Scope<'_>, site: &Site) -> Result<Vec<i32>> {
        let units = NANOS_PER_SECOND / self.nanos;
        let (first, last) = range_of_days();
        let mut values = Vec::with_capacity(self.values.len());
        for (row, value) in self.values.iter().enumerate() {
            if !self.known(row) {
                values.push(0);
                continue;
            }
            let second = value.div_euclid(units);
            let wall = self.zone.ahead_at(second).map(|ahead| second + ahead);
            let wall = wall.filter(|wall| (first..=last).contains(&wall.div_euclid(SECONDS_PER_DAY)));
            let Some(wall) = wall else { return Err(site.outside_calendar(scope.origin(row))) };
            let milli = value.rem_euclid(units) * 1_000 / units;
            values.push(part_of(part, wall.div_euclid(SECONDS_PER_DAY), wall.rem_euclid(SECONDS_PER_DAY), milli));
        }
        Ok(values)
    }
}

/// A part of a day, a second in it and a millisecond in that.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "years of the calendar and parts of days are small")]
fn part_of(part: DatePart, days: i64, second: i64, milli: i64) -> i32 {
    let january = |year| days_of(Date { year, month: 1, day: 1 });
    (match part {
        DatePart::Year => date_of(days).year,
        DatePart::Quarter => (date_of(days).month + 2) / 3,
        DatePart::Month => date_of(days).month,
        DatePart::Week => {
            // A week belongs to the year of its Thursday. 1970-01-01 was one.
            let thursday = days - (days + 3).rem_euclid(7) + 3;
            (thursday - january(date_of(thursday).year)) / 7 + 1
        }
        DatePart::Day => date_of(days).day,
        DatePart::DayOfWeek => (days + 3).rem_euclid(7) + 1,
        DatePart::DayOfYear => days - january(date_of(days).year) + 1,
        DatePart::Hour => second / 3_600,
        DatePart::Minute => second / 60 % 60,
        DatePart::Second => second % 60,
        DatePart::Millisecond => milli,
    }) as i32
}
