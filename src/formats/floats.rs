//! Floats of many fields at once: short ones, with as many digits behind the point as the first of them.
//!
//! The bytes of each field are a word, and the words go through the same steps side by side; for one alone they are in
//! [`digits`](crate::formats::digits). What is written otherwise is found on the way, and read by itself.

use fearless_simd::{Level, Simd, dispatch};
use fearless_simd_macros::simd;

use crate::formats::cell;
use crate::formats::digits::{Pointed, ZEROS, not_digits};
use crate::formats::spans::{NullWords, Spans};

/// Fields that are read at once.
const AT_ONCE: usize = 64;

/// Fields side by side.
struct Lanes {
    /// The first eight bytes of each.
    words: [u64; AT_ONCE],
    lengths: [u64; AT_ONCE],
    /// What is read.
    values: [f64; AT_ONCE],
    /// No bit where that is the number.
    bad: [u64; AT_ONCE],
}

impl Lanes {
    fn new() -> Self {
        Self { words: [0; AT_ONCE], lengths: [0; AT_ONCE], values: [0.0; AT_ONCE], bad: [0; AT_ONCE] }
    }

    /// Takes fields from a row on; false if there are too few, or too few bytes behind one.
    fn take(&mut self, spans: &Spans<'_>, row: usize) -> bool {
        if spans.rows < row + AT_ONCE {
            return false;
        }
        for (lane, (word, length)) in self.words.iter_mut().zip(&mut self.lengths).enumerate() {
            let (start, end) = spans.at(row + lane);
            let Some(eight) = spans.bytes.get(start..).and_then(|rest| rest.first_chunk()) else { return false };
            (*word, *length) = (u64::from_le_bytes(*eight), (end - start) as u64);
        }
        true
    }
}

impl Spans<'_> {
    /// As [`Spans::run`] of floats.
    pub(super) fn run_floats(&self, from: usize, nulls: &NullWords<'_>, values: &mut Vec<f64>) -> usize {
        let mut pointed = Pointed::at(1);
        let mut row = from;
        // Behind a null, which ends a run, the few that are left come one by one.
        if from == 0 && nulls.only_empty {
            let mut lanes = Lanes::new();
            while lanes.take(self, row) {
                let first = usize::try_from(lanes.lengths[0]).ok().filter(|length| *length <= 8);
                let first = first.and_then(|length| pointed.read(lanes.words[0], length));
                let Some((_, _, fraction @ 1..)) = first else { break };
                let all = dispatch!(Level::new(), simd => read_all(simd, &mut lanes, fraction));
                values.extend_from_slice(&lanes.values);
                for lane in (0..AT_ONCE).filter(|lane| !all && lanes.bad[*lane] != 0) {
                    let (start, end) = self.at(row + lane);
                    let place = values.len() - AT_ONCE + lane;
                    match cell::float64_within(self.bytes, start, end, &mut pointed) {
                        Ok(value) if start < end => values[place] = value,
                        _ => {
                            values.truncate(place);
                            return row + lane - from;
                        }
                    }
                }
                row += AT_ONCE;
            }
        }
        let read = |start, end| cell::float64_within(self.bytes, start, end, &mut pointed).ok();
        row - from + self.run(row, nulls, values, read)
    }
}

/// Reads numbers with so many digits behind the point, from one to seven. Gives whether all were so written.
#[simd]
fn read_all<S: Simd>(_: S, lanes: &mut Lanes, fraction: usize) -> bool {
    const POINT: u64 = b'.' as u64;
    const PAIRS: u64 = 0x00ff_00ff_00ff_00ff;
    const FOURS: u64 = 0x0000_ffff_0000_ffff;
    // Whole numbers of at most 52 bits are floats behind this exponent; vectors have no conversion of their own everywhere.
    const EXPONENT: f64 = (1_u64 << 52) as f64;
    let Lanes { words, lengths, values, bad } = lanes;
    let point = 8 * (7 - fraction.min(7));
    let power = cell::POWERS_OF_TEN[fraction.min(7)];
    let mut all_bad = 0;
    for (((word, length), value), bad) in words.iter().zip(lengths).zip(values).zip(bad) {
        let negative = u64::from(word & 0xff == u64::from(b'-'));
        let digits = length.wrapping_sub(negative);
        // The text at the top of the word, zeros below it.
        let text = word << (64_u64.wrapping_sub(*length << 3) & 63);
        let before = text & !(u64::MAX << point);
        let behind = text & (u64::MAX << point << 8);
        // What is below the first digit: of the sign, too.
        let below = u64::MAX << (72_u64.wrapping_sub(digits << 3) & 63);
        let eight = ((behind | before << 8) ^ ZEROS) & below;
        let is_other = u64::from(*length > 8) | u64::from(*length < 2 + negative);
        *bad = is_other | ((text >> point) & 0xff) ^ POINT | not_digits(eight);
        all_bad |= *bad;
        let firsts = eight & PAIRS;
        let pairs = (firsts << 3) + (firsts << 1) + ((eight >> 8) & PAIRS);
        let firsts = pairs & FOURS;
        let fours = (firsts << 6) + (firsts << 5) + (firsts << 2) + ((pairs >> 16) & FOURS);
        let whole = (fours & 0xffff_ffff) * 10_000 + (fours >> 32);
        let size = (f64::from_bits(EXPONENT.to_bits() | whole) - EXPONENT) / power;
        *value = f64::from_bits(size.to_bits() | negative << 63);
    }
    all_bad == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields of one column, as a reader gives them.
    fn fields(texts: &[&str]) -> (Vec<u8>, Vec<u32>) {
        let (mut bytes, mut bounds) = (Vec::new(), vec![0]);
        for text in texts {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(b'\n');
            bounds.push(u32::try_from(bytes.len()).expect("few bytes"));
        }
        bytes.extend_from_slice(b"-1.5,1.5\n");
        (bytes, bounds)
    }

    fn holds(texts: &[&str]) {
        let (bytes, bounds) = fields(texts);
        let spans = Spans { bytes: &bytes, bounds: &bounds, fields: 1, stride: 1, field: 0, rows: texts.len() };
        for words in [vec![Vec::new()], vec![b"7.5".to_vec()]] {
            let nulls = NullWords::new(&words);
            let is_number = |text: &&&str| !words.iter().any(|word| word == text.trim_end().as_bytes());
            let expected =
                texts.iter().take_while(is_number).map_while(|text| cell::float64(text.trim_end().as_bytes()).ok());
            let expected: Vec<u64> = expected.map(f64::to_bits).collect();
            let mut values = vec![0.5];
            assert_eq!(spans.run_floats(0, &nulls, &mut values), expected.len(), "{texts:?}");
            let bits: Vec<u64> = values[1..].iter().map(|value| value.to_bits()).collect();
            assert_eq!(bits, expected, "{texts:?}");
        }
    }

    #[test]
    fn floats_side_by_side_are_those_read_one_by_one() {
        let numbers = [
            "1.5", "-1.5", "0.0", "-0.0", "12.3", "-99.9", "123456.7", "-12345.6", ".5", "-.5", "1.5\r", "-23.4\r",
            "9.9",
        ];
        let others = [
            "",
            "-",
            "x",
            "1.25",
            "17",
            "-17",
            "1.",
            "5.-",
            "--.1",
            "-1-.5",
            "1e3",
            "12345678.9",
            "1.5.5",
            "NaN",
            "7.5",
            "1\u{e9}.5",
            " 1.5",
            "+1.5",
            "\r",
            "1234567.",
            ".1234567",
            "0.123456",
        ];
        let usual: Vec<&str> = numbers.iter().copied().cycle().take(150).collect();
        holds(&usual);
        for other in others {
            for place in [0, 1, 63, 64, 65, 100, 127, 128, 149] {
                let mut texts = usual.clone();
                texts[place] = other;
                holds(&texts);
            }
        }
        for pattern in [&["1.25", "1.5", "17"][..], &["0.1234567", "1.1"], &["1.234567"], &["-0.12345", "33.12345"]] {
            holds(&pattern.iter().copied().cycle().take(200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_level_reads_the_same() {
        let best = Level::new();
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        let lower =
            [best.as_avx2().map(Level::Avx2), best.as_sse4_2().map(Level::Sse4_2), best.as_sse2().map(Level::Sse2)];
        #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
        let lower: [Option<Level>; 0] = [];
        let bytes = *b"0-+.19x;";
        for level in std::iter::once(best).chain(lower.into_iter().flatten()) {
            // All texts of five of these bytes, of which only some count.
            for number in (0..8_usize.pow(5)).step_by(AT_ONCE) {
                for length in 0..=5 {
                    let mut lanes = Lanes::new();
                    for (lane, word) in lanes.words.iter_mut().enumerate() {
                        let mut text = *b"........";
                        (0..5).for_each(|place| text[place] = bytes[(number + lane) >> (3 * place) & 7]);
                        *word = u64::from_le_bytes(text);
                    }
                    lanes.lengths.fill(length);
                    for fraction in 1..=3 {
                        dispatch!(level, simd => read_all(simd, &mut lanes, fraction));
                        for (lane, word) in lanes.words.iter().enumerate() {
                            let text = word.to_le_bytes();
                            let text = &text[..usize::try_from(length).expect("few")];
                            let point = text.iter().position(|byte| *byte == b'.');
                            let is_so = point.is_some_and(|point| text.len() - point - 1 == fraction);
                            let expected = cell::float64(text).ok().filter(|_| is_so && text[0] != b'+');
                            let read = (lanes.bad[lane] == 0).then_some(lanes.values[lane].to_bits());
                            assert_eq!(read, expected.map(f64::to_bits), "{level:?} {text:?} {fraction}");
                        }
                    }
                }
            }
        }
    }
}
