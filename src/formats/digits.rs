//! Numbers of up to eight characters, read as one word: without a branch for each digit, which nobody could foresee.

/// Eight digits `0`.
pub(super) const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);

/// Bits in the bytes that are no digits; the bytes come with `0` taken from each. A wrong hit comes only above a right one.
#[inline(always)]
pub(super) fn not_digits(values: u64) -> u64 {
    const TO_HIGH_BIT: u64 = u64::from_ne_bytes([0x76; 8]);
    const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    (values.wrapping_add(TO_HIGH_BIT) | values) & HIGH_BITS
}

/// The number that eight digits make, the first of them in the lowest byte; `0` was taken from each.
#[inline(always)]
pub(super) fn eight_digits(values: u64) -> u64 {
    let pairs = values.wrapping_mul(2561) >> 8;
    let fours = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(6_553_601) >> 16;
    (fours & 0x0000_ffff_0000_ffff).wrapping_mul(42_949_672_960_001) >> 32
}

/// Sign, digits and digits behind the point of the number in the first `length` bytes of a word; nothing if it is written
/// in another way.
#[inline(always)]
pub(super) fn eight_bytes(word: u64, length: usize) -> Option<(bool, u64, usize)> {
    const POINTS: u64 = u64::from_ne_bytes([b'.'; 8]);
    const LOW_BITS: u64 = u64::from_ne_bytes([0x7f; 8]);
    let negative = length > 0 && word & 0xff == u64::from(b'-');
    let length = length - usize::from(negative);
    if length == 0 {
        return None;
    }
    // The text at the top of the word, zeros below it.
    let text = (word >> (8 * u32::from(negative))) << (64 - 8 * length);
    let no_point = text ^ POINTS;
    let point = !(((no_point & LOW_BITS) + LOW_BITS) | no_point | LOW_BITS);
    let (digits, count, fraction) = if point == 0 {
        (text, length, 0)
    } else {
        let place = point.trailing_zeros() / 8;
        let before = text & !(u64::MAX << (8 * place));
        let behind = text & (u64::MAX << (8 * place) << 8);
        (behind | before << 8, length - 1, 7 - place as usize)
    };
    if count == 0 || point & point.wrapping_sub(1) != 0 {
        return None;
    }
    let filler = (1 << (64 - 8 * count)) - 1;
    let values = (digits | ZEROS & filler) ^ ZEROS;
    (not_digits(values) == 0).then(|| (negative, eight_digits(values), fraction))
}

/// Reads numbers that mostly have as many digits behind the point as the one before: then the point need not be looked for.
pub(super) struct Pointed {
    /// Digits behind the point of the latest number that had one.
    fraction: usize,
    /// At which bit of a word the point stands if the number ends with the word.
    point: u32,
}

impl Pointed {
    /// With so many digits behind the point of the first number, fewer than eight.
    pub(super) fn at(fraction: usize) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "less than eight")]
        let point = 8 * (7 - fraction.min(7) as u32);
        Self { fraction: fraction.min(7), point }
    }

    /// As [`eight_bytes`].
    #[inline(always)]
    pub(super) fn read(&mut self, word: u64, length: usize) -> Option<(bool, u64, usize)> {
        const POINT: u64 = b'.' as u64;
        let negative = word & 0xff == u64::from(b'-');
        // A point and a digit at least.
        if length >= 2 + usize::from(negative) && length <= 8 {
            // The text at the top of the word, zeros below it.
            let text = word << (64 - 8 * length);
            if (text >> self.point) & 0xff == POINT {
                let before = text & !(u64::MAX << self.point);
                let behind = text & (u64::MAX << self.point << 8);
                // What is below the first digit: of the sign, too.
                let below = u64::MAX << (72 - 8 * (length - usize::from(negative)));
                let values = ((behind | before << 8) ^ ZEROS) & below;
                if not_digits(values) == 0 {
                    return Some((negative, eight_digits(values), self.fraction));
                }
            }
        }
        let read = eight_bytes(word, length);
        if let Some((_, _, fraction @ 1..)) = read {
            *self = Self::at(fraction);
        }
        read
    }
}

/// The whole number in the first `length` bytes of a word; nothing if it is written in another way than with digits and
/// perhaps a minus.
#[inline(always)]
pub(super) fn eight_byte_integer(word: u64, length: usize) -> Option<i64> {
    let negative = length > 0 && word & 0xff == u64::from(b'-');
    let digits = length - usize::from(negative);
    if digits == 0 {
        return None;
    }
    let text = (word >> (8 * u32::from(negative))) << (64 - 8 * digits);
    let filler = (1_u64 << (8 * (8 - digits))).wrapping_sub(1);
    let values = (text | ZEROS & filler) ^ ZEROS;
    let value = eight_digits(values).cast_signed();
    (not_digits(values) == 0).then_some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_integers_are_those_of_the_standard_library_and_nothing_else_is_one() {
        let texts = [
            "0", "7", "-7", "00", "-0", "12345678", "-1234567", "99999999", "", "-", "+5", "1.5", "5.", "1e3", " 1",
            "--1",
        ];
        for text in texts {
            let mut word = [b'9'; 8];
            word[..text.len()].copy_from_slice(text.as_bytes());
            // A sign of plus is left to those who read byte by byte.
            let expected = if text.starts_with('+') { None } else { text.parse().ok() };
            assert_eq!(eight_byte_integer(u64::from_le_bytes(word), text.len()), expected, "{text}");
        }
    }

    #[test]
    fn a_point_that_is_expected_changes_nothing() {
        let bytes = *b"0-+.19x;";
        // All texts of up to five of these bytes, and some of eight.
        for length in 0..=5_u32 {
            for number in 0..8_usize.pow(length) {
                let mut word = *b"........";
                for place in 0..length {
                    word[place as usize] = bytes[number >> (3 * place) & 7];
                }
                let (word, length) = (u64::from_le_bytes(word), length as usize);
                let expected = eight_bytes(word, length);
                for fraction in 0..8 {
                    assert_eq!(Pointed::at(fraction).read(word, length), expected, "{word:x} {length} {fraction}");
                }
            }
        }
        for text in
            [b"12345.67", b"-1234.56", b".1234567", b"1234567.", b"-.123456", b"-123456.", b"12.45.67", b"--.34567"]
        {
            let word = u64::from_le_bytes(*text);
            for (length, fraction) in (0..=8).flat_map(|length| (0..8).map(move |fraction| (length, fraction))) {
                let expected = eight_bytes(word, length);
                assert_eq!(Pointed::at(fraction).read(word, length), expected, "{text:?} {length} {fraction}");
            }
        }
    }

    #[test]
    fn any_byte_that_is_no_digit_is_seen_in_any_place() {
        for place in 0..8 {
            for byte in 0..=255_u8 {
                let mut word = *b"12345678";
                word[place] = byte;
                let text = std::str::from_utf8(&word).ok().filter(|text| !text.starts_with('+'));
                let expected = text.and_then(|text| text.parse().ok());
                assert_eq!(eight_byte_integer(u64::from_le_bytes(word), 8), expected, "{byte} at {place}");
            }
        }
    }
}
