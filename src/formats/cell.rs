//! The text of one value, to the value. Strict: what would lose something is refused.
//!
//! These functions know nothing of files and columns. They say only in which way a text is wrong; whoever calls them
//! knows the text, the type and the place, and makes the sentence.

use arrow_array::timezone::Tz;
use arrow_schema::TimeUnit;
use chrono::{DateTime, TimeZone};

use crate::formats::dates::usual_date;
use crate::formats::digits::{Pointed, ZEROS, eight_byte_integer, eight_digits, not_digits};

/// In which way a text is not a value of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is not written like one.
    Shape,
    /// It is one, but outside the type's range.
    Range,
    /// It is one, but with more digits after the point than the type keeps.
    Finer,
    /// There is no value, and the column must have one.
    Missing,
}

type Parsed<T> = Result<T, Wrong>;

/// A whole number: an optional sign and digits.
#[inline]
pub(super) fn integer<T: TryFrom<i128>>(text: &[u8]) -> Parsed<T> {
    let (negative, digits) = sign(text);
    let magnitude = i128::from(magnitude(digits)?);
    T::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| Wrong::Range)
}

#[inline]
fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

#[inline]
fn magnitude(digits: &[u8]) -> Parsed<u64> {
    /// Any number of this many decimal digits fits a `u64`.
    const SAFE_DIGITS: usize = 19;
    if digits.is_empty() {
        return Err(Wrong::Shape);
    }
    if digits.len() > SAFE_DIGITS {
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(Wrong::Shape);
        }
        let value = digits.iter().try_fold(0u64, |value, digit| {
            value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit - b'0')))
        });
        return value.ok_or(Wrong::Range);
    }
    let mut value = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Wrong::Shape);
        }
        value = value * 10 + u64::from(digit);
    }
    Ok(value)
}

/// A number with digits, a point and an exponent, taken apart as far as the fast path needs it.
struct Digits {
    negative: bool,
    mantissa: u64,
    /// How many of the digits stand after the point.
    fraction: usize,
}

/// Takes apart a float of at most 19 digits and no exponent: most of them.
#[inline]
fn short_float(text: &[u8]) -> Option<Digits> {
    let (negative, digits) = sign(text);
    let mut mantissa = 0u64;
    let mut point = None;
    for (index, byte) in digits.iter().enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        } else if *byte == b'.' && point.is_none() {
            point = Some(index);
        } else {
            return None;
        }
    }
    let count = digits.len() - usize::from(point.is_some());
    let fraction = point.map_or(0, |point| digits.len() - point - 1);
    (1..=19).contains(&count).then_some(Digits { negative, mantissa, fraction })
}

pub(super) const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// A float: digits with an optional point and exponent, or `NaN`, `inf`, `-inf` in any case.
///
/// If the digits fit 53 bits and the power of ten is exact, one division rounds correctly (Clinger's fast path);
/// everything else goes to the standard library.
#[inline]
pub(super) fn float64(text: &[u8]) -> Parsed<f64> {
    if let Some(Digits { negative, mantissa, fraction }) = short_float(text)
        && mantissa <= 1 << 53
        && fraction < POWERS_OF_TEN.len()
    {
        #[expect(clippy::cast_precision_loss, reason = "at most 53 bits: exact")]
        let value = mantissa as f64 / POWERS_OF_TEN[fraction];
        return Ok(if negative { -value } else { value });
    }
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Wrong::Shape)
}

/// As [`float64`] of the text from `start` to `end`. One of at most eight bytes, with others behind it, is read at once:
/// without a branch for each digit, which nobody could foresee.
#[inline(always)]
pub(super) fn float64_within(bytes: &[u8], start: usize, end: usize, pointed: &mut Pointed) -> Parsed<f64> {
    if end - start <= 8
        && let Some(word) = bytes.get(start..).and_then(|rest| rest.first_chunk())
        && let Some((negative, mantissa, fraction)) = pointed.read(u64::from_le_bytes(*word), end - start)
    {
        #[expect(clippy::cast_precision_loss, reason = "at most eight digits: exact")]
        let value = mantissa as f64 / POWERS_OF_TEN[fraction];
        // No branch: signs come as they like.
        return Ok(f64::from_bits(value.to_bits() | u64::from(negative) << 63));
    }
    float64(&bytes[start..end])
}

/// As [`decimal`] of the text from `start` to `end`; one of at most eight bytes, with others behind it, is read at once.
#[inline(always)]
pub(super) fn decimal_within(
    bytes: &[u8],
    (start, end): (usize, usize),
    (precision, scale): (u8, i8),
    pointed: &mut Pointed,
) -> Parsed<i128> {
    /// Eight digits and six zeros.
    const DIGITS_MAX: u8 = 14;
    if end - start <= 8
        && precision >= DIGITS_MAX
        && let Some(word) = bytes.get(start..).and_then(|rest| rest.first_chunk())
        && let Some((negative, mantissa, fraction)) = pointed.read(u64::from_le_bytes(*word), end - start)
        && let Some(missing) = usize::try_from(scale).ok().and_then(|scale| scale.checked_sub(fraction))
        && missing < 7
    {
        const POWERS: [u64; 7] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];
        let value = i128::from(mantissa * POWERS[missing]);
        return Ok(if negative { -value } else { value });
    }
    decimal(&bytes[start..end], precision, scale)
}

/// As [`integer`] of the text from `start` to `end`; one of at most eight bytes, with others behind it, is read at once.
#[inline(always)]
pub(super) fn integer_within<T: TryFrom<i128> + TryFrom<i64>>(bytes: &[u8], start: usize, end: usize) -> Parsed<T> {
    if end - start <= 8
        && let Some(word) = bytes.get(start..).and_then(|rest| rest.first_chunk())
        && let Some(value) = eight_byte_integer(u64::from_le_bytes(*word), end - start)
        && let Ok(value) = T::try_from(value)
    {
        return Ok(value);
    }
    integer(&bytes[start..end])
}

/// The whole number at the front of a JSON text, and its length; nothing if it is written in an unusual way. What follows
/// it is for the caller to look at.
#[inline(always)]
pub(super) fn leading_integer(text: &[u8]) -> Option<(i64, usize)> {
    /// Any number of this many decimal digits fits an `i64`.
    const SAFE_DIGITS: usize = 18;
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let (mut value, mut at) = (0, start);
    if let Some(word) = text.get(at..).and_then(|rest| rest.first_chunk())
        && let values = u64::from_le_bytes(*word) ^ ZEROS
        && not_digits(values) == 0
    {
        (value, at) = (eight_digits(values).cast_signed(), at + 8);
    }
    while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
        if at - start == SAFE_DIGITS {
            return None;
        }
        value = value * 10 + i64::from(digit);
        at += 1;
    }
    let (digits, begins_with_zero) = (at - start, text.get(start) == Some(&b'0'));
    (digits == 1 || digits > 1 && !begins_with_zero).then_some((if negative { -value } else { value }, at))
}

/// The float at the front of a JSON text, and its length; nothing if it is written in an unusual way.
#[inline(always)]
pub(super) fn leading_float(text: &[u8]) -> Option<(f64, usize)> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let digit = |at: usize| text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9);
    let (mut mantissa, mut at) = (0u64, start);
    while let Some(value) = digit(at) {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(value));
        at += 1;
    }
    let whole = at - start;
    if whole == 0 || whole > 1 && text.get(start) == Some(&b'0') {
        return None;
    }
    let mut fraction = 0;
    if text.get(at) == Some(&b'.') {
        at += 1;
        while let Some(value) = digit(at) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(value));
            at += 1;
            fraction += 1;
        }
        if fraction == 0 {
            return None;
        }
    }
    if whole + fraction > 19 || mantissa > 1 << 53 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 53 bits: exact")]
    let value = mantissa as f64 / POWERS_OF_TEN[fraction];
    Some((if negative { -value } else { value }, at))
}

/// The same for single precision, rounded once.
#[inline]
pub(super) fn float32(text: &[u8]) -> Parsed<f32> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Wrong::Shape)
}

/// A decimal with this many digits, and this many of them after the point. No exponent.
pub(super) fn decimal(text: &[u8], precision: u8, scale: i8) -> Parsed<i128> {
    let (negative, digits) = sign(text);
    let point = digits.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(Wrong::Shape);
    }
    if !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(Wrong::Shape);
    }
    // The digits that the type keeps: all before the point, and `scale` after it.
    let scale = i64::from(scale);
    let kept = usize::try_from(scale).unwrap_or(0).min(fraction.len());
    if fraction[kept..].iter().any(|digit| *digit != b'0') {
        return Err(Wrong::Finer);
    }
    let unscaled = whole.iter().chain(&fraction[..kept]).try_fold(0i128, |value, digit| {
        value.checked_mul(10).and_then(|value| value.checked_add(i128::from(digit - b'0')))
    });
    let mut unscaled = unscaled.ok_or(Wrong::Range)?;
    let missing = scale - i64::try_from(kept).map_err(|_| Wrong::Range)?;
    let power = 10i128.checked_pow(u32::try_from(missing.unsigned_abs()).map_err(|_| Wrong::Range)?);
    let power = power.ok_or(Wrong::Range)?;
    if missing >= 0 {
        unscaled = unscaled.checked_mul(power).ok_or(Wrong::Range)?;
    } else if unscaled % power == 0 {
        unscaled /= power;
    } else {
        return Err(Wrong::Finer);
    }
    let limit = 10i128.checked_pow(u32::from(precision));
    if limit.is_some_and(|limit| unscaled >= limit) {
        return Err(Wrong::Range);
    }
    Ok(if negative { -unscaled } else { unscaled })
}

/// `true` or `false`, in any case.
#[inline]
pub(super) fn boolean(text: &[u8]) -> Parsed<bool> {
    if text.eq_ignore_ascii_case(b"true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case(b"false") {
        Ok(false)
    } else {
        Err(Wrong::Shape)
    }
}

/// Bytes written as pairs of hexadecimal digits, appended to `to`. After an error `to` may hold some of them.
pub(super) fn hex(text: &[u8], to: &mut Vec<u8>) -> Parsed<()> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(Wrong::Shape),
    };
    let pairs = text.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(Wrong::Shape);
    }
    for pair in pairs {
        to.push(digit(pair[0])? << 4 | digit(pair[1])?);
    }
    Ok(())
}

/// A date, `2026-03-01`, as days since 1970-01-01. Years outside 0 to 9999 have a sign: `+12026-03-01`.
#[inline]
pub(super) fn date(text: &[u8]) -> Parsed<i32> {
    if let Some(day) = text.try_into().ok().and_then(usual_date) {
        return Ok(day);
    }
    let mut rest = text;
    let days = calendar_day(&mut rest)?;
    if rest.is_empty() { i32::try_from(days).map_err(|_| Wrong::Range) } else { Err(Wrong::Shape) }
}

/// How many of the unit make a second.
pub(super) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// A point in time: a date, `T` or a space, a time of day, perhaps a fraction and a zone offset (RFC 3339), as units
/// since 1970-01-01T00:00:00Z. A date alone is its midnight. Without an offset the time is local to `zone`, or UTC if
/// there is none.
pub(super) fn timestamp(text: &[u8], unit: TimeUnit, zone: Option<&Tz>) -> Parsed<i64> {
    let mut rest = text;
    let days = i128::from(calendar_day(&mut rest)?);
    let mut seconds = days * 86_400;
    let mut parts = 0;
    let mut offset = None;
    if !rest.is_empty() {
        if !(eat(&mut rest, b'T') || eat(&mut rest, b' ') || eat(&mut rest, b't')) {
            return Err(Wrong::Shape);
        }
        seconds += i128::from(time_of_day(&mut rest)?);
        parts = fraction(&mut rest, unit)?;
        offset = zone_offset(&mut rest)?;
    }
    if !rest.is_empty() {
        return Err(Wrong::Shape);
    }
    seconds -= match (offset, zone) {
        (Some(offset), _) => i128::from(offset),
        (None, Some(zone)) => i128::from(local_offset(zone, seconds)?),
        (None, None) => 0,
    };
    let units = seconds * i128::from(per_second(unit)) + i128::from(parts);
    i64::try_from(units).map_err(|_| Wrong::Range)
}

fn eat(rest: &mut &[u8], byte: u8) -> bool {
    match rest.split_first() {
        Some((first, tail)) if *first == byte => {
            *rest = tail;
            true
        }
        _ => false,
    }
}

/// The next `count` bytes, all digits, as a number.
#[inline]
fn digits(rest: &mut &[u8], count: usize) -> Parsed<i64> {
    let (head, tail) = rest.split_at_checked(count).ok_or(Wrong::Shape)?;
    let mut value = 0;
    for byte in head {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(Wrong::Shape);
        }
        value = value * 10 + i64::from(digit);
    }
    *rest = tail;
    Ok(value)
}

fn calendar_day(rest: &mut &[u8]) -> Parsed<i64> {
    let negative = rest.first() == Some(&b'-');
    let signed = eat(rest, b'-') || eat(rest, b'+');
    let width = if signed { rest.iter().take_while(|byte| byte.is_ascii_digit()).count() } else { 4 };
    // Twelve digits of years are more than 2^63 seconds.
    if !(4..=12).contains(&width) {
        return Err(Wrong::Shape);
    }
    let year = digits(rest, width)?;
    let year = if negative { -year } else { year };
    if !eat(rest, b'-') {
        return Err(Wrong::Shape);
    }
    let month = digits(rest, 2)?;
    if !eat(rest, b'-') {
        return Err(Wrong::Shape);
    }
    let day = digits(rest, 2)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return Err(Wrong::Shape);
    }
    Ok(days_from_civil(year, month, day))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant's `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn time_of_day(rest: &mut &[u8]) -> Parsed<i64> {
    let hour = digits(rest, 2)?;
    if !eat(rest, b':') {
        return Err(Wrong::Shape);
    }
    let minute = digits(rest, 2)?;
    let second = if eat(rest, b':') { digits(rest, 2)? } else { 0 };
    if hour > 23 || minute > 59 || second > 59 {
        return Err(Wrong::Shape);
    }
    Ok(hour * 3600 + minute * 60 + second)
}

/// The digits after a point, in units.
fn fraction(rest: &mut &[u8], unit: TimeUnit) -> Parsed<i64> {
    if !eat(rest, b'.') {
        return Ok(0);
    }
    let width = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut left = per_second(unit);
    let mut parts = 0;
    for byte in &rest[..width] {
        let digit = i64::from(byte - b'0');
        left /= 10;
        if left == 0 && digit != 0 {
            return Err(Wrong::Finer);
        }
        parts += digit * left;
    }
    *rest = &rest[width..];
    if width == 0 { Err(Wrong::Shape) } else { Ok(parts) }
}

/// `Z`, `+02:00`, `+0200` or `+02`, in seconds; nothing if there is none.
fn zone_offset(rest: &mut &[u8]) -> Parsed<Option<i64>> {
    if eat(rest, b'Z') || eat(rest, b'z') {
        return Ok(Some(0));
    }
    let negative = match rest.first() {
        Some(b'-') => true,
        Some(b'+') => false,
        _ => return Ok(None),
    };
    *rest = &rest[1..];
    let hours = digits(rest, 2)?;
    let minutes = if eat(rest, b':') || !rest.is_empty() { digits(rest, 2)? } else { 0 };
    if hours > 23 || minutes > 59 {
        return Err(Wrong::Shape);
    }
    let seconds = hours * 3600 + minutes * 60;
    Ok(Some(if negative { -seconds } else { seconds }))
}

/// How far local time is ahead of UTC where clocks show this many seconds. Where they show it twice, the earlier.
fn local_offset(zone: &Tz, local: i128) -> Parsed<i64> {
    let local = i64::try_from(local).map_err(|_| Wrong::Range)?;
    let naive = DateTime::from_timestamp(local, 0).ok_or(Wrong::Range)?.naive_utc();
    let there = zone.from_local_datetime(&naive).earliest().ok_or(Wrong::Range)?;
    Ok(local - there.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_reach_their_extremes_and_no_further() {
        assert_eq!(integer::<i64>(b"-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(integer::<i64>(b"9223372036854775808"), Err(Wrong::Range));
        assert_eq!(integer::<u64>(b"18446744073709551615"), Ok(u64::MAX));
        assert_eq!(integer::<u64>(b"18446744073709551616"), Err(Wrong::Range));
        assert_eq!(integer::<u8>(b"-1"), Err(Wrong::Range));
        assert_eq!(integer::<i8>(b"0000000000000000000000127"), Ok(127));
        for text in ["", "-", "+", "1.0", "1e3", " 1", "1 ", "--1", "1_000", "12345678901234567890x"] {
            assert_eq!(integer::<i64>(text.as_bytes()), Err(Wrong::Shape), "{text}");
        }
    }

    #[test]
    fn floats_equal_those_of_the_standard_library() {
        for text in [
            "0",
            "-0",
            "1.5",
            "-1.5",
            "123456.789",
            "0.1",
            "1e22",
            "1e-7",
            "9007199254740993",
            "9007199254740992",
            "0.0000000000000000000001",
            "1.7976931348623157e308",
            "5e-324",
            "1e400",
            "12345678901234567890.5",
            "inf",
            "-Infinity",
            "5.",
            ".5",
            "+7.25",
        ] {
            let expected: f64 = text.parse().unwrap();
            assert_eq!(float64(text.as_bytes()).unwrap().to_bits(), expected.to_bits(), "{text}");
        }
        assert!(float64(b"NaN").unwrap().is_nan());
        for text in ["", ".", "-", "1,5", "1.2.3", "abc", "1e", " 1"] {
            assert_eq!(float64(text.as_bytes()), Err(Wrong::Shape), "{text}");
        }
    }

    #[test]
    fn short_floats_equal_those_of_the_standard_library_in_every_form() {
        // All texts of up to five of these bytes, with other bytes behind them.
        let letters = b"-+.0179e";
        let mut pointed = Pointed::at(2);
        for length in 0..=5u32 {
            for number in 0..8usize.pow(length) {
                let text: Vec<u8> = (0..length).map(|place| letters[number >> (3 * place) & 7]).collect();
                let mut bytes = text.clone();
                bytes.extend_from_slice(b";987.654");
                let expected = float64(&text);
                let parsed: Option<f64> = std::str::from_utf8(&text).unwrap().parse().ok();
                assert_eq!(expected.ok().map(f64::to_bits), parsed.map(f64::to_bits), "{text:?}");
                let found = float64_within(&bytes, 0, text.len(), &mut pointed);
                assert_eq!(found.ok().map(f64::to_bits), parsed.map(f64::to_bits), "{:?}", str::from_utf8(&text));
            }
        }
        for text in [
            "12345678", "-1234567", "123.4567", "-12.3456", ".1234567", "1234567.", "99999999", "-.5", "1.2.3",
            "12/45", "12:45",
        ] {
            let bytes = format!("{text}\n0000000");
            let parsed: Option<f64> = text.parse().ok();
            let found = float64_within(bytes.as_bytes(), 0, text.len(), &mut pointed);
            assert_eq!(found.ok().map(f64::to_bits), parsed.map(f64::to_bits), "{text}");
        }
    }

    #[test]
    fn leading_numbers_equal_the_whole_texts() {
        let texts =
            ["0", "7", "-1", "12345678", "123456789", "-12345678", "999999999999999999", "1234567890123", "10", "-90"];
        for text in texts {
            for behind in ["", ",", "}\n", ".5", "e3", "x123456789"] {
                let both = format!("{text}{behind}");
                let expected = Some((text.parse::<i64>().unwrap(), text.len()));
                assert_eq!(leading_integer(both.as_bytes()), expected, "{both}");
            }
            let expected = text.parse::<f64>().unwrap();
            let found = leading_float(format!("{text},").as_bytes());
            if let Some((value, length)) = found {
                assert_eq!((value.to_bits(), length), (expected.to_bits(), text.len()), "{text}");
            }
        }
        for text in ["", "-", "01", "-00", "1234567890123456789", "x", "+1", "00000000", "012345678"] {
            assert_eq!(leading_integer(text.as_bytes()), None, "{text}");
        }
        for (text, length) in [("1.5", 3), ("-0.25,", 5), ("0.1}", 3), ("-0", 2), ("123456.789]", 10)] {
            let expected: f64 = text[..length].parse().unwrap();
            let found = leading_float(text.as_bytes()).map(|(value, length)| (value.to_bits(), length));
            assert_eq!(found, Some((expected.to_bits(), length)), "{text}");
        }
        for text in ["", "-", "01.5", "1.", ".5", "9007199254740993", "12345678901234567890.5", "x"] {
            assert_eq!(leading_float(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn decimals_refuse_what_they_cannot_keep() {
        assert_eq!(decimal(b"-12.340", 6, 2), Ok(-1234));
        assert_eq!(decimal(b".5", 6, 2), Ok(50));
        assert_eq!(decimal(b"12.345", 6, 2), Err(Wrong::Finer));
        assert_eq!(decimal(b"10000", 6, 2), Err(Wrong::Range));
        assert_eq!(decimal(b"99999999999999999999999999999999999999", 38, 0), Ok(10i128.pow(38) - 1));
        assert_eq!(decimal(b"999999999999999999999999999999999999999", 38, 0), Err(Wrong::Range));
        assert_eq!(decimal(b"1200", 4, -2), Ok(12));
        assert_eq!(decimal(b"1250", 4, -2), Err(Wrong::Finer));
        assert_eq!(decimal(b"1e3", 6, 2), Err(Wrong::Shape));
        assert_eq!(decimal(b".", 6, 2), Err(Wrong::Shape));
    }

    #[test]
    fn timestamps_are_read_as_rfc_3339_says() {
        let millis = |text: &str| timestamp(text.as_bytes(), TimeUnit::Millisecond, None);
        assert_eq!(millis("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(millis("2000-02-29 23:59:59.123"), Ok(951_868_799_123));
        assert_eq!(millis("2000-03-01T01:59:59.123+02:00"), Ok(951_868_799_123));
        assert_eq!(millis("1969-12-31"), Ok(-86_400_000));
        assert_eq!(millis("1969-12-31T23:59:59.999Z"), Ok(-1));
        assert_eq!(millis("1970-01-01T00:00:00.0010Z"), Ok(1));
        assert_eq!(millis("1970-01-01T00:00:00.0011Z"), Err(Wrong::Finer));
        for text in ["1999-02-29", "2000-13-01", "2000-01-01T24:00:00", "2000-1-1", "now", "", "2000-01-01T00:00:00+"] {
            assert_eq!(millis(text), Err(Wrong::Shape), "{text}");
        }
        assert_eq!(timestamp(b"2262-04-12", TimeUnit::Nanosecond, None), Err(Wrong::Range));
    }

    #[test]
    fn local_times_follow_their_zone() {
        let berlin: Tz = "Europe/Berlin".parse().unwrap();
        let read = |text: &str| timestamp(text.as_bytes(), TimeUnit::Second, Some(&berlin));
        assert_eq!(read("2026-07-01T12:00:00"), read("2026-07-01T10:00:00Z"));
        assert_eq!(read("2026-01-01T12:00:00"), read("2026-01-01T11:00:00Z"));
        assert_eq!(read("2026-03-29T02:30:00"), Err(Wrong::Range), "clocks skipped this time");
    }

    #[test]
    fn usual_dates_equal_those_of_the_calendar() {
        for (year, month) in (0..=9999i64).flat_map(|year| (0..=13).map(move |month| (year, month))) {
            for day in [0, 1, 15, 27, 28, 29, 30, 31, 32] {
                let text = format!("{year:04}-{month:02}-{day:02}");
                let is_date = (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
                let expected = is_date.then(|| days_from_civil(year, month, day));
                assert_eq!(date(text.as_bytes()).ok().map(i64::from), expected, "{text}");
            }
        }
        for text in ["2026/03/01", "2026-03-0a", "20260-3-01", "2026-03-1", "2026-03-011"] {
            assert_eq!(date(text.as_bytes()), Err(Wrong::Shape), "{text}");
        }
    }

    #[test]
    fn short_decimals_equal_long_ones() {
        for text in
            ["0", "17", "-17.5", "45983.16", "0.04", ".5", "5.", "-.25", "12345678", "1.234567", "1.2.3", "1e3", ""]
        {
            for (precision, scale) in [(15, 2), (38, 6), (18, 0), (16, 8), (4, 2), (20, -2)] {
                let expected = decimal(text.as_bytes(), precision, scale);
                let bytes = format!("{text}|000000000");
                for mut pointed in (0..8).map(Pointed::at) {
                    let read = decimal_within(bytes.as_bytes(), (0, text.len()), (precision, scale), &mut pointed);
                    assert_eq!(read, expected, "{text}");
                }
            }
        }
    }

    #[test]
    fn dates_cover_the_whole_type() {
        assert_eq!(date(b"1970-01-02"), Ok(1));
        assert_eq!(date(b"-0001-12-31"), Ok(-719_529));
        assert_eq!(date(b"+5881580-07-11"), Ok(i32::MAX));
        assert_eq!(date(b"-5877641-06-23"), Ok(i32::MIN));
        assert_eq!(date(b"+5881580-07-12"), Err(Wrong::Range));
    }
}
