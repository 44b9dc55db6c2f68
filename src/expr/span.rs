//! Spans of time as text: `10 seconds`, `1 hour 30 minutes`, `250ms`.

use std::fmt::Write;

use crate::error::{Error, Result};

/// Names of units, and their length in nanoseconds; the first of each length is the one that is printed.
const UNITS: [(&str, i64); 30] = [
    ("day", 86_400_000_000_000),
    ("days", 86_400_000_000_000),
    ("d", 86_400_000_000_000),
    ("week", 604_800_000_000_000),
    ("weeks", 604_800_000_000_000),
    ("w", 604_800_000_000_000),
    ("hour", 3_600_000_000_000),
    ("hours", 3_600_000_000_000),
    ("h", 3_600_000_000_000),
    ("minute", 60_000_000_000),
    ("minutes", 60_000_000_000),
    ("min", 60_000_000_000),
    ("mins", 60_000_000_000),
    ("m", 60_000_000_000),
    ("second", 1_000_000_000),
    ("seconds", 1_000_000_000),
    ("sec", 1_000_000_000),
    ("secs", 1_000_000_000),
    ("s", 1_000_000_000),
    ("millisecond", 1_000_000),
    ("milliseconds", 1_000_000),
    ("millis", 1_000_000),
    ("ms", 1_000_000),
    ("microsecond", 1_000),
    ("microseconds", 1_000),
    ("micros", 1_000),
    ("us", 1_000),
    ("nanosecond", 1),
    ("nanoseconds", 1),
    ("ns", 1),
];

/// Nanoseconds in a span written as numbers with units.
///
/// ```
/// use pelton::expr::span;
///
/// assert_eq!(span::parse("1 minute 30 seconds")?, 90_000_000_000);
/// assert_eq!(span::parse("-250ms")?, -250_000_000);
/// # Ok::<(), pelton::error::Error>(())
/// ```
///
/// # Errors
/// An unknown unit, a missing number, or more than a 64-bit count of nanoseconds (292 years).
pub fn parse(text: &str) -> Result<i64> {
    let mut rest = text.trim();
    let negative = rest.starts_with('-');
    rest = rest.strip_prefix(['-', '+']).unwrap_or(rest).trim_start();
    let mut total: i64 = 0;
    if rest.is_empty() {
        return Err(unreadable(text, "there is no number in it"));
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let number: i64 = number.parse().map_err(|_| unreadable(text, "every part is a whole number with a unit"))?;
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let nanos = unit_nanos(unit).ok_or_else(|| {
            let found = match unit {
                "" if after.starts_with('.') => "every part is a whole number with a unit".to_owned(),
                "" => "a number has no unit".to_owned(),
                unit => unknown_unit(unit),
            };
            unreadable(text, &found)
        })?;
        total = number
            .checked_mul(nanos)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(|| unreadable(text, "it is longer than 292 years"))?;
        rest = after.trim_start_matches([' ', ',']);
    }
    Ok(if negative { -total } else { total })
}

/// Nanoseconds in the unit of this name, in any case, singular or plural.
pub fn unit_nanos(name: &str) -> Option<i64> {
    let name = name.to_ascii_lowercase();
    UNITS.iter().find(|(unit, _)| *unit == name).map(|(_, nanos)| *nanos)
}

/// A span as text that [`parse`] reads.
pub fn format(nanos: i64) -> String {
    if nanos == 0 {
        return "0 seconds".to_owned();
    }
    let mut text = if nanos < 0 { "-".to_owned() } else { String::new() };
    let mut rest = nanos.unsigned_abs();
    let mut separator = "";
    for unit in ["day", "hour", "minute", "second", "millisecond", "microsecond", "nanosecond"] {
        let length = unit_nanos(unit).map_or(1, i64::unsigned_abs);
        let count = rest / length;
        rest %= length;
        if count > 0 {
            let plural = if count == 1 { "" } else { "s" };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}{count} {unit}{plural}");
            separator = " ";
        }
    }
    text
}

fn unknown_unit(unit: &str) -> String {
    match unit.to_ascii_lowercase().as_str() {
        "month" | "months" | "year" | "years" | "quarter" | "quarters" => {
            format!("a {unit} has no fixed length: use days")
        }
        _ => format!("there is no unit \"{unit}\""),
    }
}

fn unreadable(text: &str, why: &str) -> Error {
    Error::invalid_query(format!("'{text}' is not a span of time: {why}"))
        .advice("write it as '10 seconds' or '1 hour 30 minutes'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_span_is_read_back_as_it_was_written() {
        for nanos in [0, 1, -1, 999, 1_000, 90_000_000_000, 86_400_000_000_001, i64::MAX, -i64::MAX] {
            assert_eq!(parse(&format(nanos)).unwrap(), nanos, "{}", format(nanos));
        }
        assert_eq!(parse("2w, 3 D 4h").unwrap(), 2 * 604_800_000_000_000 + 3 * 86_400_000_000_000 + 14_400_000_000_000);
    }

    #[test]
    fn mistakes_are_named() {
        let error = |text: &str| parse(text).unwrap_err().to_string();
        let advice = "; write it as '10 seconds' or '1 hour 30 minutes'";
        assert_eq!(error("10"), format!("'10' is not a span of time: a number has no unit{advice}"));
        assert_eq!(error(" "), format!("' ' is not a span of time: there is no number in it{advice}"));
        assert_eq!(
            error("1 month"),
            format!("'1 month' is not a span of time: a month has no fixed length: use days{advice}")
        );
        assert!(error("300 years").contains("no fixed length"));
        assert!(error("9999999 days").contains("longer than 292 years"));
        assert!(error("1.5 s").contains("every part is a whole number"));
    }
}
