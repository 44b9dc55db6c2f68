//! Times from text and to text, by patterns of `chrono` and by ISO 8601.
//!
//! Patterns of fixed-width numbers, which are nearly all in use, are read by a loop of our own; a text that it does not
//! take goes to `chrono`, whose word is final.

use std::fmt::Write as _;

use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;
use chrono::format::{Item, Parsed, StrftimeItems, parse};
use chrono::{DateTime, FixedOffset, NaiveDateTime, NaiveTime};

use super::calendar::{Date, SECONDS_PER_DAY, Zone, days_in_month, days_of, per_second};
use super::operand::{Operand, logical, once_per_value, physical, primitive, valid};
use super::parse_number::{digits, parse_date};
use super::stored_time::{nanos_per_unit, widened};
use super::text::{Texts, with_text};
use super::{Apply, Site};
use crate::columnar::{DataType, TimeUnit};
use crate::error::{Error, Result};

/// A pattern, read once.
struct Pattern {
    items: Vec<Item<'static>>,
    /// The same, if it is made of fixed-width numbers and literals.
    quick: Option<Vec<Step>>,
    has_time: bool,
}

#[derive(Clone, Copy)]
enum Step {
    Year,
    Month,
    /// `Jan` to `Dec`.
    MonthName,
    Day,
    Hour,
    Minute,
    Second,
    /// `.` and one to nine digits, or nothing.
    Fraction,
    /// `+hhmm` or `-hhmm`.
    Offset,
    Literal(u8),
}

/// Seconds since the epoch in UTC (or of a wall clock), and nanoseconds in the second.
#[derive(Clone, Copy)]
struct Moment {
    second: i64,
    nano: i64,
}

impl Moment {
    /// In units, rounded down.
    fn in_unit(self, unit: TimeUnit) -> Option<i64> {
        let per_second = per_second(unit);
        self.second.checked_mul(per_second)?.checked_add(self.nano / (1_000_000_000 / per_second))
    }

    fn of(time: NaiveDateTime) -> Self {
        let time = time.and_utc();
        Self { second: time.timestamp(), nano: time.timestamp_subsec_nanos().into() }
    }
}

impl Pattern {
    fn of(format: &str) -> Result<Self> {
        let items = StrftimeItems::new(format).parse_to_owned().map_err(|error| {
            Error::invalid_query(format!("\"{format}\" is not a pattern for times: {error}"))
                .advice("see the strftime letters of the chrono crate")
                .because(error)
        })?;
        let has_time = ["%H", "%I", "%k", "%l", "%T", "%R", "%c", "%r", "%X", "%s", "%+"]
            .iter()
            .any(|letter| format.contains(letter));
        Ok(Self { items, quick: steps(format), has_time })
    }

    fn read(&self, text: &str) -> Option<Moment> {
        self.quick.as_deref().and_then(|steps| read_steps(text.as_bytes(), steps)).or_else(|| self.read_by_chrono(text))
    }

    fn read_by_chrono(&self, text: &str) -> Option<Moment> {
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, self.items.iter()).ok()?;
        if !self.has_time {
            return Some(Moment::of(parsed.to_naive_date().ok()?.and_time(NaiveTime::MIN)));
        }
        if parsed.offset().is_some() {
            return Some(Moment::of(parsed.to_datetime().ok()?.naive_utc()));
        }
        Some(Moment::of(parsed.to_naive_datetime_with_offset(0).ok()?))
    }
}

fn steps(format: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut letters = format.bytes();
    while let Some(letter) = letters.next() {
        if letter != b'%' {
            // White space in a pattern stands for any amount of it; one blank is tried here.
            if !letter.is_ascii() {
                return None;
            }
            steps.push(Step::Literal(letter));
            continue;
        }
        let date = [Step::Year, Step::Literal(b'-'), Step::Month, Step::Literal(b'-'), Step::Day];
        let time = [Step::Hour, Step::Literal(b':'), Step::Minute, Step::Literal(b':'), Step::Second];
        match letters.next()? {
            b'Y' => steps.push(Step::Year),
            b'm' => steps.push(Step::Month),
            b'b' => steps.push(Step::MonthName),
            b'd' => steps.push(Step::Day),
            b'H' => steps.push(Step::Hour),
            b'M' => steps.push(Step::Minute),
            b'S' => steps.push(Step::Second),
            b'z' => steps.push(Step::Offset),
            b'F' => steps.extend(date),
            b'T' => steps.extend(time),
            b'.' if letters.next()? == b'f' => steps.push(Step::Fraction),
            _ => return None,
        }
    }
    let has = |wanted: fn(&Step) -> bool| steps.iter().filter(|step| wanted(step)).count() == 1;
    let date = has(|step| matches!(step, Step::Year))
        && has(|step| matches!(step, Step::Month | Step::MonthName))
        && has(|step| matches!(step, Step::Day));
    let times = [
        has(|step| matches!(step, Step::Hour)),
        has(|step| matches!(step, Step::Minute)),
        has(|step| matches!(step, Step::Second)),
    ];
    (date
        && (times == [true; 3]
            || !steps
                .iter()
                .any(|step| matches!(step, Step::Hour | Step::Minute | Step::Second | Step::Offset | Step::Fraction))))
    .then_some(steps)
}

/// Reads a text that follows the steps to the letter; `None` sends it to `chrono`.
fn read_steps(text: &[u8], steps: &[Step]) -> Option<Moment> {
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let (mut year, mut month, mut day, mut clock, mut nano, mut ahead) = (0, 0, 0, 0, 0, 0);
    let mut rest = text;
    for step in steps {
        let width = match step {
            Step::Year => 4,
            Step::MonthName => 3,
            Step::Offset => 5,
            Step::Literal(_) => 1,
            Step::Fraction => match rest {
                [b'.', digits @ ..] => 1 + digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
                _ => 0,
            },
            _ => 2,
        };
        let (part, after) = rest.split_at_checked(width)?;
        rest = after;
        match step {
            Step::Year => year = digits(part)?,
            Step::Month => month = digits(part)?,
            Step::MonthName => {
                let (names, _) = MONTHS.as_chunks::<3>();
                month = i64::try_from(names.iter().position(|name| name == part)?).ok()? + 1;
            }
            Step::Day => day = digits(part)?,
            Step::Hour => clock += Some(digits(part)?).filter(|hour| *hour < 24)? * 3_600,
            Step::Minute => clock += Some(digits(part)?).filter(|minute| *minute < 60)? * 60,
            Step::Second => clock += Some(digits(part)?).filter(|second| *second < 60)?,
            Step::Fraction => nano = read_fraction(part)?,
            Step::Offset => ahead = read_offset(part)?,
            Step::Literal(letter) => (part[0] == *letter).then_some(())?,
        }
    }
    let fits = rest.is_empty() && (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    let second = days_of(Date { year, month, day }) * SECONDS_PER_DAY + clock - ahead;
    fits.then_some(Moment { second, nano })
}

/// `.` and one to nine digits, as nanoseconds; nothing is 0.
fn read_fraction(part: &[u8]) -> Option<i64> {
    let Some((_, fraction)) = part.split_first() else { return Some(0) };
    let missing = 9_usize.checked_sub(fraction.len()).filter(|missing| *missing < 9)?;
    Some(digits(fraction)? * 10_i64.pow(u32::try_from(missing).ok()?))
}

/// `+hhmm` or `-hhmm`, in seconds ahead of UTC.
fn read_offset(part: &[u8]) -> Option<i64> {
    let (sign, clock) = part.split_first()?;
    let clock = digits(clock)?;
    let ahead = (clock / 100) * 3_600 + Some(clock % 100).filter(|minute| *minute < 60)? * 60;
    let fits = clock / 100 < 24;
    match sign {
        b'+' => Some(ahead),
        b'-' => Some(-ahead),
        _ => None,
    }
    .filter(|_| fits)
}

pub(super) fn prepare_parse(format: &str, unit: TimeUnit, lossy: bool) -> Result<Apply> {
    let (pattern, format) = (Pattern::of(format)?, format.to_owned());
    Ok(Box::new(move |operands, scope, site| {
        if operands[0].is_null_constant() {
            return Ok(Operand::null(&site.data_type));
        }
        let kernel = |operands: &[Operand]| {
            let answer = read_each(operands[0].array(), site, |text| pattern.read(text)?.in_unit(unit))?;
            Ok(operands[0].with(answer))
        };
        if lossy {
            return once_per_value(operands, kernel);
        }
        let operand = operands[0].decoded()?;
        let answer = kernel(std::slice::from_ref(&operand))?;
        let (before, after) = (operand.array().nulls(), answer.array().nulls());
        let lost = (0..operand.array().len()).find(|row| valid(before, *row) && !valid(after, *row));
        match lost.filter(|_| after.is_some()) {
            None => Ok(answer),
            Some(row) => with_text!(operand.array(), texts => {
                Err(site.unreadable_time(texts.value(row), &format, scope.origin(row)))
            }, else => Err(site.unknown(operand.data_type()))),
        }
    }))
}

/// Stored integers read from text; null where there is no time in it.
fn read_each(array: &ArrayRef, site: &Site, read: impl Fn(&str) -> Option<i64>) -> Result<ArrayRef> {
    let values = with_text!(array, texts => {
        texts.iter().map(|text| text.and_then(&read)).collect::<Vec<_>>()
    }, else => return Err(site.unknown(array.data_type())));
    stored_times(values, &site.data_type)
}

fn stored_times(values: Vec<Option<i64>>, to: &DataType) -> Result<ArrayRef> {
    let nulls = NullBuffer::from_iter(values.iter().map(Option::is_some));
    let values = values.into_iter().map(Option::unwrap_or_default).collect();
    logical(&primitive::<Int64Type>(values, Some(nulls).filter(|nulls| nulls.null_count() > 0)), to)
}

/// Timestamps from texts of ISO 8601, for casts: `YYYY-MM-DD`, then `T` or a blank and `HH:MM[:SS[.fraction]]`, then
/// `Z` or `+HH:MM`. Without an offset the text shows a wall clock: that of the zone, if there is one.
pub(super) fn parse_iso(array: &ArrayRef, unit: TimeUnit, zone: Option<&str>, to: &DataType) -> Result<ArrayRef> {
    let zone = Zone::of(zone)?;
    let values = with_text!(array, texts => {
        texts.iter().map(|text| read_iso(text?.as_bytes(), zone)?.in_unit(unit)).collect()
    }, else => return Err(Error::internal(format!("no timestamps in {}", array.data_type()))));
    stored_times(values, to)
}

fn read_iso(text: &[u8], zone: Zone) -> Option<Moment> {
    let (date, rest) = text.split_at_checked(10)?;
    let midnight = i64::from(parse_date(date)?) * SECONDS_PER_DAY;
    let wall = |second| Some(Moment { second: zone.second_at(second)?, nano: 0 });
    if rest.is_empty() {
        return wall(midnight);
    }
    let [b'T' | b' ', h0, h1, b':', m0, m1, rest @ ..] = rest else { return None };
    let hour = digits(&[*h0, *h1]).filter(|hour| *hour < 24)?;
    let minute = digits(&[*m0, *m1]).filter(|minute| *minute < 60)?;
    let (second, rest) = match rest {
        [b':', s0, s1, rest @ ..] => (digits(&[*s0, *s1]).filter(|second| *second < 60)?, rest),
        _ => (0, rest),
    };
    let width = match rest {
        [b'.', digits @ ..] => 1 + digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let (fraction, rest) = rest.split_at(width);
    let nano = read_fraction(fraction)?;
    let clock = midnight + hour * 3_600 + minute * 60 + second;
    let second = match rest {
        [] => wall(clock)?.second,
        [b'Z'] => clock,
        [sign, h0, h1, b':', m0, m1] => clock - read_offset(&[*sign, *h0, *h1, *m0, *m1])?,
        _ => return None,
    };
    Some(Moment { second, nano })
}

pub(super) fn prepare_format(format: &str) -> Result<Apply> {
    let items = Pattern::of(format)?.items;
    Ok(Box::new(move |operands, scope, site| {
        let operand = operands[0].decoded()?;
        if operand.is_null_constant() {
            return Ok(Operand::null(&site.data_type));
        }
        let array = operand.array();
        let Some(nanos) = nanos_per_unit(array.data_type()) else { return Err(site.unknown(array.data_type())) };
        let zone = match array.data_type() {
            DataType::Timestamp(_, zone) => Zone::of(zone.as_deref())?,
            _ => Zone::Fixed(0),
        };
        let values = widened(&physical(array)?)?;
        let mut out = Texts::with_capacity(values.len(), values.len() * 20);
        for (row, value) in values.iter().enumerate() {
            if valid(array.nulls(), row) {
                let shown = shown_at(*value, nanos, zone).ok_or_else(|| site.outside_calendar(scope.origin(row)))?;
                write!(out.text, "{}", shown.format_with_items(items.iter()))
                    .map_err(|_| site.unknown(&"a pattern that asks for what a time does not have"))?;
            }
            out.end()?;
        }
        Ok(operand.with(out.finish(array.nulls().cloned())?))
    }))
}

/// The instant of a stored value with its zone's offset; `None` outside the calendar.
fn shown_at(value: i64, nanos: i64, zone: Zone) -> Option<DateTime<FixedOffset>> {
    let total = i128::from(value) * i128::from(nanos);
    let second = i64::try_from(total.div_euclid(1_000_000_000)).ok()?;
    let nano = u32::try_from(total.rem_euclid(1_000_000_000)).ok()?;
    let ahead = i32::try_from(zone.ahead_at(second)?).ok()?;
    let instant = DateTime::from_timestamp(second, nano)?;
    instant.naive_utc().checked_add_signed(chrono::Duration::seconds(ahead.into()))?;
    Some(instant.with_timezone(&FixedOffset::east_opt(ahead)?))
}
