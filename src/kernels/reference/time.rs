//! Functions of times, on the calendar of `chrono`.

use std::sync::Arc;

use arrow_array::timezone::Tz;
use chrono::format::{Parsed, StrftimeItems, parse};
use chrono::{DateTime, Datelike, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Timelike};

use super::At;
use super::arithmetic::fit;
use crate::columnar::{DataType, Scalar, TimeUnit};
use crate::error::Result;
use crate::expr::{DatePart, Function};

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const NANOS_PER_DAY: i128 = 86_400 * NANOS_PER_SECOND;

fn nanos_per(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => NANOS_PER_SECOND,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    }
}

/// A time or span in nanoseconds.
pub(super) fn nanos_of(value: &Scalar) -> Option<i128> {
    match value {
        Scalar::Timestamp(value, unit, _) | Scalar::Duration(value, unit) => {
            Some(i128::from(*value) * nanos_per(*unit))
        }
        Scalar::Date32(days) => Some(i128::from(*days) * NANOS_PER_DAY),
        _ => None,
    }
}

/// Nanoseconds as a time or span of this type, rounded down, if it fits.
pub(super) fn of_nanos(nanos: i128, to: &DataType) -> Option<Scalar> {
    let unit = match to {
        DataType::Timestamp(unit, _) | DataType::Duration(unit) => nanos_per(*unit),
        _ => NANOS_PER_DAY,
    };
    fit(nanos.div_euclid(unit), to)
}

/// Nanoseconds since the epoch on a wall clock without offset.
fn nanos_of_naive(time: NaiveDateTime) -> i128 {
    let instant = time.and_utc();
    i128::from(instant.timestamp()) * NANOS_PER_SECOND + i128::from(instant.timestamp_subsec_nanos())
}

fn naive(nanos: i128) -> Option<NaiveDateTime> {
    let second = i64::try_from(nanos.div_euclid(NANOS_PER_SECOND)).ok()?;
    let nano = u32::try_from(nanos.rem_euclid(NANOS_PER_SECOND)).ok()?;
    Some(DateTime::from_timestamp(second, nano)?.naive_utc())
}

fn zone_of(zone: Option<&Arc<str>>) -> Option<Tz> {
    zone.map_or("+00:00", AsRef::as_ref).parse().ok()
}

/// What clocks of a zone show at an instant, both in nanoseconds; `None` outside the calendar.
pub(super) fn wall_of(instant: i128, zone: Option<&Arc<str>>) -> Option<i128> {
    let offset = zone_of(zone)?.offset_from_utc_datetime(&naive(instant)?).fix();
    let wall = naive(instant)?.checked_add_signed(TimeDelta::seconds(offset.local_minus_utc().into()))?;
    Some(nanos_of_naive(wall))
}

/// The instant at which clocks of a zone show this: the earlier of two; if none, the end of the gap.
pub(super) fn instant_of(wall: i128, zone: Option<&Arc<str>>) -> Option<i128> {
    let zone = zone_of(zone)?;
    let mut shown = naive(wall)?;
    loop {
        if let Some(instant) = zone.from_local_datetime(&shown).earliest() {
            return Some(nanos_of_naive(instant.naive_utc()));
        }
        // Gaps end on whole seconds.
        shown = shown.with_nanosecond(0)?.checked_add_signed(TimeDelta::seconds(1))?;
    }
}

pub(super) fn call(function: &Function, value: &Scalar, at: &At<'_>) -> Result<Scalar> {
    if let Function::ParseTimestamp { format, lossy, .. } = function {
        let Scalar::Utf8(text) = value else { return Err(at.unknown(value)) };
        return match read(text, format).and_then(|nanos| of_nanos(nanos, at.to())) {
            Some(time) => Ok(time),
            None if *lossy => Ok(Scalar::Null),
            None => Err(at.site().unreadable_time(text, format, at.row)),
        };
    }
    let nanos = nanos_of(value).ok_or_else(|| at.unknown(value))?;
    let zone = match value {
        Scalar::Timestamp(_, _, zone) => zone.as_ref(),
        _ => None,
    };
    let outside = || at.site().outside_calendar(at.row);
    match function {
        Function::Truncate(span) => truncate(nanos, (*span).into(), zone)
            .and_then(|start| of_nanos(start, at.to()))
            .ok_or_else(|| at.overflow()),
        Function::Epoch(unit) => fit(nanos.div_euclid(nanos_per(*unit)), &DataType::Int64).ok_or_else(|| at.overflow()),
        Function::Part(part) => {
            let wall = wall_of(nanos, zone).and_then(naive).ok_or_else(outside)?;
            Ok(Scalar::Int64(part_of(*part, wall)))
        }
        Function::FormatTimestamp(format) => {
            let instant = naive(nanos).ok_or_else(outside)?;
            wall_of(nanos, zone).ok_or_else(outside)?;
            let zone = zone_of(zone).ok_or_else(|| at.unknown(value))?;
            let offset = zone.offset_from_utc_datetime(&instant).fix();
            Ok(instant.and_utc().with_timezone(&offset).format(format).to_string().into())
        }
        other => Err(at.unknown(other)),
    }
}

fn truncate(nanos: i128, span: i128, zone: Option<&Arc<str>>) -> Option<i128> {
    let down = |nanos: i128| nanos.div_euclid(span) * span;
    if span % NANOS_PER_DAY == 0 && zone.is_some() && zone.is_some_and(|zone| &**zone != "UTC") {
        return instant_of(down(wall_of(nanos, zone)?), zone);
    }
    Some(down(nanos))
}

fn part_of(part: DatePart, wall: NaiveDateTime) -> i64 {
    match part {
        DatePart::Year => wall.year().into(),
        DatePart::Quarter => wall.quarter().into(),
        DatePart::Month => wall.month().into(),
        DatePart::Week => wall.iso_week().week().into(),
        DatePart::Day => wall.day().into(),
        DatePart::DayOfWeek => wall.weekday().number_from_monday().into(),
        DatePart::DayOfYear => wall.ordinal().into(),
        DatePart::Hour => wall.hour().into(),
        DatePart::Minute => wall.minute().into(),
        DatePart::Second => wall.second().into(),
        DatePart::Millisecond => (wall.nanosecond() / 1_000_000).into(),
    }
}

/// Nanoseconds since the epoch, read by a pattern.
fn read(text: &str, format: &str) -> Option<i128> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, StrftimeItems::new(format)).ok()?;
    if parsed.offset().is_some() {
        return Some(nanos_of_naive(parsed.to_datetime().ok()?.naive_utc()));
    }
    let has_time = parsed.hour_mod_12().is_some() || parsed.hour_div_12().is_some() || parsed.timestamp().is_some();
    if has_time {
        return Some(nanos_of_naive(parsed.to_naive_datetime_with_offset(0).ok()?));
    }
    Some(nanos_of_naive(parsed.to_naive_date().ok()?.and_time(NaiveTime::MIN)))
}
