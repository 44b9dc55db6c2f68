//! Where the fields of good CSV records lie: records of as many fields as there should be, without quotes.
//!
//! A window of 64 bytes at a time: one comparison gives a bit for each mark, delimiters and line ends, in it. A record is
//! good if its line end is the mark it should be, counted from the first; so nobody looks at the single delimiters.

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};

use crate::formats::csv::scan::Marks;
use crate::limits::RECORD_BYTES_MAX;

/// Bytes looked at in one step.
const WINDOW_BYTES: usize = 64;

/// Places written down without asking whether there are more.
const PLACES_AT_ONCE: usize = 8;

/// The fields of records that are found and not taken yet, in bytes of which there are fewer than 32 bits count.
#[derive(Debug)]
pub(super) struct Walk {
    level: Level,
    /// Where the first record begins, then behind each mark: the place of what follows it.
    bounds: Vec<u32>,
    /// How many of these there are.
    filled: usize,
    /// Whole good records among them.
    records: usize,
    /// Where the next window begins.
    next: usize,
    /// Whether nothing more is good, or nothing more is there.
    ended: bool,
}

impl Walk {
    pub(super) fn new() -> Self {
        Self::with_level(Level::new())
    }

    fn with_level(level: Level) -> Self {
        Self { level, bounds: Vec::new(), filled: 0, records: 0, next: 0, ended: true }
    }

    /// Begins with the first of some bytes, of which there may be too many.
    pub(super) fn begin(&mut self, bytes: &[u8]) {
        self.bounds.resize(self.bounds.len().max(1), 0);
        self.bounds[0] = 0;
        (self.filled, self.records, self.next) = (1, 0, 0);
        // Blocks are far smaller than that; a longer one is read record by record.
        self.ended = u32::try_from(bytes.len()).is_err();
    }

    /// Finds good records of so many fields, which is not none, and says how many there are up to so many. They begin
    /// before a place.
    pub(super) fn find(
        &mut self,
        bytes: &[u8],
        marks: &Marks,
        fields: usize,
        (wanted, before): (usize, usize),
    ) -> usize {
        if self.records < wanted && !self.ended {
            dispatch!(self.level, simd => search(simd, self, bytes, marks, (fields, wanted)));
        }
        let found = self.records.min(wanted);
        if before >= bytes.len() && marks.comment.is_none() && bytes.len() <= RECORD_BYTES_MAX {
            return found;
        }
        let is_good = |bounds: &&[u32]| {
            let (begin, end) = (bounds[0] as usize, bounds[fields] as usize);
            begin < before
                && end - begin <= RECORD_BYTES_MAX
                && (marks.comment.is_none() || bytes.get(begin).copied() != marks.comment)
        };
        let starts = (0..found).map(|record| &self.bounds[record * fields..=(record + 1) * fields]);
        starts.take_while(is_good).count()
    }

    /// Where the fields of the records lie that were found last.
    pub(super) fn bounds(&self) -> &[u32] {
        &self.bounds[..self.filled]
    }

    /// Where the first so many records end.
    pub(super) fn end_of(&self, records: usize, fields: usize) -> usize {
        self.bounds[records * fields] as usize
    }

    /// Writes down where the fields of some records lie, each with its beginning.
    pub(super) fn chosen(&self, records: &[u32], fields: usize, to: &mut Vec<u32>) {
        to.clear();
        for record in records {
            to.extend_from_slice(&self.bounds[*record as usize * fields..=(*record as usize + 1) * fields]);
        }
    }

    /// Forgets the first so many records.
    pub(super) fn take(&mut self, records: usize, fields: usize) {
        self.bounds.copy_within(records * fields..self.filled, 0);
        self.filled -= records * fields;
        self.records -= records;
    }
}

/// Looks at windows until there are as many records as are wanted.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "there are fewer bytes than that, which was looked at before")]
fn search<S: Simd>(simd: S, walk: &mut Walk, bytes: &[u8], marks: &Marks, (fields, wanted): (usize, usize)) {
    let line_end = u8x64::splat(simd, b'\n');
    let delimiter = u8x64::splat(simd, marks.delimiter);
    let quote = u8x64::splat(simd, marks.quote.unwrap_or_default());
    let may_be_quoted = if marks.quote.is_some() { u64::MAX } else { 0 };
    while walk.records < wanted && !walk.ended {
        let (window, there) = match bytes.get(walk.next..).and_then(|rest| rest.first_chunk::<WINDOW_BYTES>()) {
            Some(window) => (u8x64::from_slice(simd, window), u64::MAX),
            None => {
                walk.ended = true;
                let rest = bytes.get(walk.next..).unwrap_or_default();
                let mut window = [0; WINDOW_BYTES];
                window[..rest.len()].copy_from_slice(rest);
                (u8x64::from_slice(simd, &window), (1 << rest.len()) - 1)
            }
        };
        let mut line_ends = window.simd_eq(line_end).to_bitmask() & there;
        let mut marked = line_ends | window.simd_eq(delimiter).to_bitmask() & there;
        let quotes = window.simd_eq(quote).to_bitmask() & there & may_be_quoted;
        if quotes != 0 {
            // The record with the quote is not looked at, and so is none behind it.
            line_ends &= (quotes & quotes.wrapping_neg()) - 1;
            walk.ended = true;
        }
        let before = walk.filled - 1;
        let mut due = (walk.records + 1) * fields;
        while line_ends != 0 {
            let up_to = line_ends ^ line_ends.wrapping_sub(1);
            if before + (marked & up_to).count_ones() as usize != due {
                walk.ended = true;
                break;
            }
            walk.records += 1;
            due += fields;
            line_ends &= line_ends.wrapping_sub(1);
        }
        if walk.bounds.len() < walk.filled + WINDOW_BYTES {
            walk.bounds.resize(2 * walk.filled + WINDOW_BYTES, 0);
        }
        let behind = walk.next as u32 + 1;
        let places = &mut walk.bounds[walk.filled..][..WINDOW_BYTES];
        walk.filled += marked.count_ones() as usize;
        for some in places.as_chunks_mut::<PLACES_AT_ONCE>().0 {
            // What is behind the last mark means nothing, and is written over.
            for place in some {
                *place = behind.wrapping_add(marked.trailing_zeros());
                marked &= marked.wrapping_sub(1);
            }
            if marked == 0 {
                break;
            }
        }
        walk.next += WINDOW_BYTES;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same, byte by byte.
    fn slow(bytes: &[u8], marks: &Marks, fields: usize) -> Vec<u32> {
        let (mut bounds, mut record) = (vec![0], Vec::new());
        for (place, byte) in (1..).zip(bytes) {
            if Some(*byte) == marks.quote {
                break;
            }
            if *byte == marks.delimiter || *byte == b'\n' {
                record.push(place);
                if (*byte == b'\n') != (record.len() == fields) {
                    break;
                }
                if *byte == b'\n' {
                    bounds.append(&mut record);
                }
            }
        }
        bounds
    }

    fn levels() -> Vec<Level> {
        let best = Level::new();
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        let lower =
            [best.as_avx2().map(Level::Avx2), best.as_sse4_2().map(Level::Sse4_2), best.as_sse2().map(Level::Sse2)];
        #[cfg(not(any(target_arch = "x86", target_arch = "x86_64")))]
        let lower: [Option<Level>; 0] = [];
        std::iter::once(best).chain(lower.into_iter().flatten()).collect()
    }

    fn holds(bytes: &[u8], quote: Option<u8>, fields: usize) {
        let marks = Marks { delimiter: b';', quote, comment: None };
        let expected = slow(bytes, &marks, fields);
        for level in levels() {
            for wanted in [1, 3, 200] {
                let mut walk = Walk::with_level(level);
                walk.begin(bytes);
                let mut bounds = vec![0];
                loop {
                    let found = walk.find(bytes, &marks, fields, (wanted, usize::MAX));
                    bounds.extend_from_slice(&walk.bounds()[1..=found * fields]);
                    walk.take(found, fields);
                    if found == 0 {
                        break;
                    }
                }
                assert_eq!(bounds, expected, "{level:?} {wanted} {fields} {:?}", String::from_utf8_lossy(bytes));
            }
        }
    }

    #[test]
    fn fields_are_those_found_byte_by_byte_at_every_length_of_what_stands_before() {
        for pad in 0..=130 {
            let line = |text: &str| format!("{text};b;c\n");
            let mut text = line(&"x".repeat(pad));
            text.extend((0..20).map(|number| line(&"y".repeat(number % 7))));
            for end in (0..text.len()).rev().take(80).chain([0, 1, 63, 64, 65, text.len()]) {
                holds(&text.as_bytes()[..end.min(text.len())], Some(b'"'), 3);
            }
        }
    }

    #[test]
    fn what_is_written_otherwise_ends_the_walk_wherever_it_stands() {
        let good = "ab;cd\n".repeat(30);
        for place in 0..good.len() {
            for byte in [b'"', b';', b'\n', b'x'] {
                let mut bytes = good.clone().into_bytes();
                bytes[place] = byte;
                holds(&bytes, Some(b'"'), 2);
                holds(&bytes, None, 2);
            }
        }
    }

    #[test]
    fn records_of_one_field_and_of_more_than_a_window_holds() {
        holds("a\nb\n\n\nlast".as_bytes(), None, 1);
        holds(";;\n".repeat(90).as_bytes(), None, 3);
        let wide = format!("{}\n", ";".repeat(300)).repeat(5);
        holds(wide.as_bytes(), None, 301);
        holds(wide.as_bytes(), None, 300);
        holds(wide.as_bytes(), None, 302);
    }

    #[test]
    fn records_begin_before_a_place_and_are_no_comments() {
        let marks = Marks { delimiter: b';', quote: None, comment: Some(b'#') };
        let mut walk = Walk::new();
        let mut found = |bytes: &[u8], before| {
            walk.begin(bytes);
            walk.find(bytes, &marks, 2, (9, before))
        };
        let text = b"a;b\nc;d\n#;f\ng;h\n";
        assert_eq!(found(text, usize::MAX), 2);
        assert_eq!(found(text, 5), 2);
        assert_eq!(found(text, 4), 1);
        assert_eq!(found(text, 0), 0);
    }
}
