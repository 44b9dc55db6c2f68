//! Patterns of times (strftime letters, as `chrono` reads them): what one says, and whether it can work at all.

use chrono::format::{Fixed, Item, Numeric, StrftimeItems};
use chrono::{DateTime, NaiveDate, NaiveDateTime};

use crate::error::{Error, Result};

/// What a pattern says of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimePattern {
    /// An offset from UTC, so that the text names an instant.
    pub has_offset: bool,
    /// A time of day; without one, text is read as midnight.
    pub has_time: bool,
}

/// What a pattern for reading text says.
///
/// ```
/// use pelton::expr::time_pattern::parsing;
///
/// assert!(parsing("%d/%b/%Y:%H:%M:%S %z")?.has_offset);
/// assert!(!parsing("%Y-%m-%d")?.has_time);
/// assert!(parsing("%H:%M").is_err(), "a time of day alone is no timestamp");
/// # Ok::<(), pelton::error::Error>(())
/// ```
///
/// # Errors
/// `InvalidQuery` for a letter that does not exist, or a pattern that does not say enough to make a timestamp.
pub fn parsing(pattern: &str) -> Result<TimePattern> {
    let items = items(pattern)?;
    let says = TimePattern { has_offset: items.iter().any(is_offset), has_time: items.iter().any(is_time) };
    // The pattern says enough if it reads what it writes.
    let Some(sample) = DateTime::from_timestamp(1_706_695_445, 0) else {
        return Err(Error::internal("a sample timestamp is out of range"));
    };
    let text = sample.format_with_items(items.iter()).to_string();
    let enough = match says {
        TimePattern { has_offset: true, .. } => DateTime::parse_from_str(&text, pattern).is_ok(),
        TimePattern { has_time: true, .. } => NaiveDateTime::parse_from_str(&text, pattern).is_ok(),
        _ => NaiveDate::parse_from_str(&text, pattern).is_ok(),
    };
    if enough {
        return Ok(says);
    }
    Err(Error::invalid_query(format!("the pattern '{pattern}' does not say enough to make a timestamp"))
        .advice("it needs a year, month and day, and, if any time of day, hour and minute: '%Y-%m-%d %H:%M:%S'"))
}

/// Checks a pattern for writing times.
///
/// # Errors
/// `InvalidQuery` for a letter that does not exist, or a zone or offset where the time has none.
pub(super) fn formatting(pattern: &str, has_zone: bool) -> Result<()> {
    let items = items(pattern)?;
    if !has_zone && items.iter().any(|item| is_offset(item) || matches!(item, Item::Fixed(Fixed::TimezoneName))) {
        return Err(Error::invalid_query(format!("the pattern '{pattern}' writes a zone, but the time has none"))
            .advice("leave %z and %Z out, or cast the time to a timestamp with a time zone"));
    }
    Ok(())
}

fn items(pattern: &str) -> Result<Vec<Item<'_>>> {
    let items: Vec<Item<'_>> = StrftimeItems::new(pattern).collect();
    if pattern.is_empty() || items.contains(&Item::Error) {
        return Err(Error::invalid_query(format!("'{pattern}' is not a pattern of times"))
            .advice("use the letters of strftime: '%Y-%m-%d %H:%M:%S'; %% is a percent sign"));
    }
    Ok(items)
}

fn is_offset(item: &Item<'_>) -> bool {
    matches!(
        item,
        Item::Fixed(
            Fixed::TimezoneOffset
                | Fixed::TimezoneOffsetZ
                | Fixed::TimezoneOffsetColon
                | Fixed::TimezoneOffsetColonZ
                | Fixed::TimezoneOffsetDoubleColon
                | Fixed::TimezoneOffsetTripleColon
                | Fixed::RFC2822
                | Fixed::RFC3339
        )
    )
}

fn is_time(item: &Item<'_>) -> bool {
    match item {
        Item::Numeric(number, _) => matches!(
            number,
            Numeric::Hour
                | Numeric::Hour12
                | Numeric::Minute
                | Numeric::Second
                | Numeric::Nanosecond
                | Numeric::Timestamp
        ),
        Item::Fixed(fixed) => {
            !matches!(
                fixed,
                Fixed::ShortMonthName
                    | Fixed::LongMonthName
                    | Fixed::ShortWeekdayName
                    | Fixed::LongWeekdayName
                    | Fixed::TimezoneName
            ) && !is_offset(item)
                || matches!(fixed, Fixed::RFC2822 | Fixed::RFC3339)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_that_cannot_make_a_timestamp_are_refused() {
        for pattern in ["", "%H:%M:%S", "%Y-%m", "%Y-%m-%d %H", "%Q", "%Y-%m-%d %"] {
            assert!(parsing(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn offsets_and_times_of_day_are_seen() {
        let says = |has_offset, has_time| TimePattern { has_offset, has_time };
        assert_eq!(parsing("%Y-%m-%d").unwrap(), says(false, false));
        assert_eq!(parsing("%s").unwrap(), says(false, true));
        assert_eq!(parsing("%F %T%.3f").unwrap(), says(false, true));
        assert_eq!(parsing("%Y-%m-%dT%H:%M:%S%:z").unwrap(), says(true, true));
        assert_eq!(parsing("%+").unwrap(), says(true, true));
        assert_eq!(parsing("%d.%m.%y %I:%M %p").unwrap(), says(false, true));
    }

    #[test]
    fn a_zone_is_not_written_where_there_is_none() {
        assert!(formatting("%Y %z", false).is_err());
        assert!(formatting("%Y %z", true).is_ok());
    }
}
