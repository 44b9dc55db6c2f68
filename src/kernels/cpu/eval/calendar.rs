//! Days to dates and back (the proleptic Gregorian calendar), and the wall clocks of zones.
//!
//! The arithmetic of whole columns, without a type for each date. The calendar ends where that of `chrono` does.

use arrow_array::timezone::Tz;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Offset, TimeZone};

use crate::columnar::TimeUnit;
use crate::error::{Error, ErrorKind, Result};

pub(super) const SECONDS_PER_DAY: i64 = 86_400;

/// The first and the last day of the calendar, counted from 1970-01-01.
pub(super) fn range_of_days() -> (i64, i64) {
    (days_from_date(NaiveDate::MIN), days_from_date(NaiveDate::MAX))
}

fn days_from_date(date: NaiveDate) -> i64 {
    date.signed_duration_since(NaiveDate::default()).num_days()
}

/// A date taken apart.
#[derive(Clone, Copy)]
pub(super) struct Date {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
}

/// The date of a day counted from 1970-01-01. Years are taken to begin in March, so that the leap day comes last.
#[inline]
pub(super) fn date_of(days: i64) -> Date {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    Date { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
}

/// The day of a date, counted from 1970-01-01.
#[inline]
pub(super) fn days_of(date: Date) -> i64 {
    let year = date.year - i64::from(date.month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if date.month > 2 { date.month - 3 } else { date.month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + date.day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The length of a month.
#[inline]
pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Units in a second.
pub(super) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// How far wall clocks are ahead of UTC.
#[derive(Clone, Copy)]
pub(super) enum Zone {
    /// Always this many seconds.
    Fixed(i64),
    /// By the rules of a place.
    Named(Tz),
}

impl Zone {
    pub(super) fn of(name: Option<&str>) -> Result<Self> {
        let Some(name) = name else { return Ok(Self::Fixed(0)) };
        if matches!(name, "UTC" | "Etc/UTC" | "GMT" | "Z") {
            return Ok(Self::Fixed(0));
        }
        let zone: Tz = name.parse().map_err(|error| {
            Error::new(ErrorKind::InvalidQuery, format!("\"{name}\" is not a time zone"))
                .advice("write a name such as Europe/Berlin or an offset such as +02:00")
                .because(error)
        })?;
        if name.starts_with(['+', '-']) {
            let offset = zone.offset_from_utc_datetime(&NaiveDateTime::default());
            return Ok(Self::Fixed(offset.fix().local_minus_utc().into()));
        }
        Ok(Self::Named(zone))
    }

    /// Seconds to add to UTC for the wall clock at an instant; `None` outside the calendar.
    pub(super) fn ahead_at(self, second: i64) -> Option<i64> {
        match self {
            Self::Fixed(0) => Some(0),
            Self::Fixed(ahead) => DateTime::from_timestamp(second, 0).map(|_| ahead),
            Self::Named(zone) => {
                let instant = DateTime::from_timestamp(second, 0)?.naive_utc();
                Some(zone.offset_from_utc_datetime(&instant).fix().local_minus_utc().into())
            }
        }
    }

    /// The second in UTC at which a wall clock shows this; the earlier of two. A wall clock that skips it: the first
    /// second after the gap. `None` outside the calendar.
    pub(super) fn second_at(self, wall: i64) -> Option<i64> {
        match self {
            Self::Fixed(0) => Some(wall),
            Self::Fixed(ahead) => DateTime::from_timestamp(wall, 0).map(|_| wall - ahead),
            Self::Named(zone) => {
                let shown = DateTime::from_timestamp(wall, 0)?.naive_utc();
                if let Some(instant) = zone.from_local_datetime(&shown).earliest() {
                    return Some(instant.timestamp());
                }
                // Within a gap: the rules before it still lead to an instant after it.
                let before =
                    zone.offset_from_utc_datetime(&DateTime::from_timestamp(wall - SECONDS_PER_DAY, 0)?.naive_utc());
                let late = wall - i64::from(before.fix().local_minus_utc());
                let after = self.ahead_at(late)?;
                let mut second = late;
                while self.ahead_at(second - 1)? == after {
                    second -= 1;
                }
                Some(second)
            }
        }
    }
}
