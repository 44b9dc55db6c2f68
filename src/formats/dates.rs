//! Dates as nearly all are written, `2026-03-01`: read as two words, without a branch for each digit.

use crate::formats::digits::{ZEROS, not_digits};

/// Years whose months are in the table.
const YEARS: std::ops::Range<u32> = 1900..2100;

/// Where each month of these years begins, in days since 1970-01-01, and the end of the last.
static MONTHS: [i32; 12 * (YEARS.end - YEARS.start) as usize + 1] = {
    let mut months = [0; 12 * (YEARS.end - YEARS.start) as usize + 1];
    // From 1900-01-01.
    let (mut day, mut month) = (-25_567, 0);
    while month < months.len() {
        months[month] = day;
        #[expect(clippy::cast_possible_truncation, reason = "there are few months")]
        let year = YEARS.start + month as u32 / 12;
        let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        day += match month % 12 {
            1 if is_leap => 29,
            1 => 28,
            3 | 5 | 8 | 10 => 30,
            _ => 31,
        };
        month += 1;
    }
    months
};

/// A date of these years as days since 1970-01-01; nothing if it is another, or none.
#[inline(always)]
pub(super) fn usual_date(text: &[u8; 10]) -> Option<i32> {
    /// The places of the dashes among the first eight bytes.
    const DASHES: u64 = 0xff00_00ff_0000_0000;
    let [a, b, c, d, e, f, g, h, i, j] = *text;
    let front = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    let day = u64::from(u16::from_le_bytes([i, j]));
    let values = (front & 0xffff_ffff | (front >> 40 & 0xffff) << 32 | day << 48) ^ ZEROS;
    if front & DASHES != u64::from_le_bytes(*b"\0\0\0\0-\0\0-") || not_digits(values) != 0 {
        return None;
    }
    // Two digits each are a number of their own 16 bits: century, year of it, month, day.
    let pairs = values.wrapping_mul(2561) >> 8;
    #[expect(clippy::cast_possible_truncation, reason = "one byte of it")]
    let pair = |place: u32| (pairs >> (16 * place)) as u32 & 0xff;
    let (year, month, day) = (100 * pair(0) + pair(1), pair(2), pair(3));
    if !YEARS.contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let place = (12 * (year - YEARS.start) + month - 1) as usize;
    let &[begin, end] = MONTHS.get(place..)?.first_chunk()?;
    let date = begin + day.cast_signed() - 1;
    (begin <= date && date < end).then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dates_of_these_years_are_read() {
        for (year, month) in (1890..2110).flat_map(|year| (0..=13).map(move |month| (year, month))) {
            for day in 0..=33 {
                let text = format!("{year:04}-{month:02}-{day:02}");
                let days = chrono::NaiveDate::from_ymd_opt(year, month, day)
                    .filter(|_| (1900..2100).contains(&year))
                    .map(|date| date.to_epoch_days());
                assert_eq!(usual_date(text.as_bytes().try_into().expect("ten bytes")), days, "{text}");
            }
        }
    }

    #[test]
    fn any_other_byte_in_any_place_makes_it_none() {
        for place in 0..10 {
            for byte in (0..=255_u8).filter(|byte| !byte.is_ascii_digit()) {
                let mut text = *b"1998-11-12";
                text[place] = byte;
                let expected = (byte == b'-' && (place == 4 || place == 7)).then_some(10_542);
                assert_eq!(usual_date(&text), expected, "{byte} at {place}");
            }
        }
    }
}
