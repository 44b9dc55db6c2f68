//! Which entries of a dictionary a filter keeps, and which rows those are.

use std::ops::Range;

use ::parquet::errors::Result;
use fearless_simd::{Level, Simd, dispatch};
use fearless_simd_macros::simd;

use super::hybrid::damage;
use super::lane::UNKNOWN_CODE;

/// What stands behind all entries of a dictionary. Shifted by the place of a row among eight, it is in the upper byte.
const BEYOND: u16 = 1 << 8;

/// Rows that are decided together.
const EIGHT: usize = 8;

/// For each number of eight bits the places of those that are set, one after another.
static PLACES: [[u8; EIGHT]; 256] = {
    let mut places = [[0; EIGHT]; 256];
    let mut bits = 0;
    while bits < places.len() {
        let (mut bit, mut count) = (0_u8, 0);
        while bit < 8 {
            if bits >> bit & 1 == 1 {
                places[bits][count] = bit;
                count += 1;
            }
            bit += 1;
        }
        bits += 1;
    }
    places
};

/// For each entry of a dictionary 1 if it is kept and 0 if not, and behind them [`BEYOND`].
pub(super) struct Passes {
    all: Vec<u16>,
    level: Level,
}

impl Passes {
    pub(super) fn new(is_kept: &[bool]) -> Self {
        let all = is_kept.iter().map(|is_kept| u16::from(*is_kept)).chain([BEYOND]).collect();
        Self { all, level: Level::new() }
    }

    /// Takes those out of `rows[from]`, which are rows of `piece`, whose code is not kept, or that have no value; moves the others to
    /// the place `to` and on, and says how many they are.
    ///
    /// # Errors
    /// Codes that the dictionary does not have.
    pub(super) fn retain(
        &self,
        codes: &[u32],
        piece: Range<usize>,
        is_valid: Option<impl Fn(usize) -> bool>,
        rows: &mut [u32],
        (from, to): (Range<usize>, usize),
    ) -> Result<usize> {
        let codes = codes.get(..piece.end).ok_or_else(|| damage(UNKNOWN_CODE))?;
        let (kept, seen) = match is_valid {
            Some(is_valid) => retain_some(&self.all, codes, rows, (from, to), is_valid),
            None if from.len() == piece.len() => {
                let (codes, first, to) = (&codes[piece.start..], piece.start, &mut rows[to..from.end]);
                dispatch!(self.level, simd => retain_of_all(simd, &self.all, codes, first, to))
            }
            None => retain_some(&self.all, codes, rows, (from, to), |_| true),
        };
        if seen >= BEYOND { Err(damage(UNKNOWN_CODE)) } else { Ok(kept) }
    }
}

/// All rows from `first` on are asked for: eight at once, without a branch that hangs on their codes.
#[simd]
#[expect(clippy::cast_possible_truncation, reason = "a tile has a few thousand rows; the lower byte is what is kept")]
fn retain_of_all<S: Simd>(_: S, passes: &[u16], codes: &[u32], first: usize, to: &mut [u32]) -> (usize, u16) {
    let (mut kept, mut seen, mut row) = (0, 0, first as u32);
    let (eights, rest) = codes.as_chunks::<EIGHT>();
    for eight in eights {
        let mut bits = 0;
        for (place, code) in eight.iter().enumerate() {
            bits |= of(passes, *code) << place;
        }
        seen |= bits;
        // What stands behind those that are kept is written over, or cut off at the end.
        if let Some(to) = to.get_mut(kept..).and_then(<[u32]>::first_chunk_mut::<EIGHT>) {
            *to = PLACES[usize::from(bits as u8)].map(|place| row + u32::from(place));
        }
        kept += (bits as u8).count_ones() as usize;
        row += EIGHT as u32;
    }
    for code in rest {
        let passes = of(passes, *code);
        seen |= passes;
        to[kept] = row;
        kept += usize::from(passes & 1);
        row += 1;
    }
    (kept, seen)
}

/// What the entry brings, without a branch.
#[inline(always)]
fn of(passes: &[u16], code: u32) -> u16 {
    passes[(code as usize).min(passes.len() - 1)]
}

#[inline(always)]
fn retain_some(
    passes: &[u16],
    codes: &[u32],
    rows: &mut [u32],
    (from, to): (Range<usize>, usize),
    is_valid: impl Fn(usize) -> bool,
) -> (usize, u16) {
    let (mut kept, mut seen) = (to, 0);
    for index in from {
        let row = rows[index];
        // Nulls have no code.
        let code = codes.get(row as usize).copied().unwrap_or(u32::MAX);
        let passes = if is_valid(row as usize) { of(passes, code) } else { 0 };
        seen |= passes;
        rows[kept] = row;
        kept += usize::from(passes & 1);
    }
    (kept - to, seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_by_their_codes_whichever_are_asked_for() {
        let passes = Passes::new(&[true, false, false, true, true, false, false]);
        for (len, start) in [0, 1, 7, 8, 9, 63, 64, 65, 1000].into_iter().flat_map(|len| [(len, 0), (len, 5)]) {
            let codes: Vec<u32> = (0..start + len).map(|row| (row * row % 11 % 7).try_into().unwrap()).collect();
            for every in [1, 2, 5] {
                let asked: Vec<u32> = (start..start + len).step_by(every).map(|row| row.try_into().unwrap()).collect();
                let is_kept = |row: &&u32| matches!(codes[**row as usize], 0 | 3 | 4);
                for is_null in [|_| false, |row: usize| row.is_multiple_of(3)] {
                    let expected: Vec<u32> =
                        asked.iter().filter(is_kept).filter(|row| !is_null(**row as usize)).copied().collect();
                    // Behind two rows of an earlier piece that were kept, and one that was not.
                    let mut rows = [&[100, 101, 102][..], &asked].concat();
                    let is_valid = Some(|row: usize| !is_null(row)).filter(|_| len == 0 || is_null(0));
                    let place = (3..rows.len(), 2);
                    let kept = passes.retain(&codes, start..start + len, is_valid, &mut rows, place).unwrap();
                    assert_eq!(rows[2..2 + kept], expected, "{len} from {start}, each {every}.");
                    assert_eq!(rows[..2], [100, 101]);
                }
            }
        }
    }

    #[test]
    fn codes_that_the_dictionary_does_not_have_are_a_damage_but_not_under_nulls() {
        let passes = Passes::new(&[true, false]);
        for place in 0..20 {
            let mut codes = vec![1; 20];
            codes[place] = 2;
            let everything: Vec<u32> = (0..20).collect();
            let none: Option<fn(usize) -> bool> = None;
            let mut rows = everything.clone();
            assert!(passes.retain(&codes, 0..20, none, &mut rows, (0..20, 0)).is_err());
            let mut rows = everything.clone();
            assert_eq!(passes.retain(&codes, 0..20, Some(|row| row != place), &mut rows, (0..20, 0)).unwrap(), 0);
            let mut rows: Vec<u32> = everything.iter().copied().filter(|row| *row as usize != place).collect();
            assert_eq!(passes.retain(&codes, 0..20, none, &mut rows, (0..19, 0)).unwrap(), 0);
        }
    }
}
