//! Many good CSV records at once: no quotes, no comments, as many fields as there should be, each a value of its column.
//!
//! Some records at a time: first one walk over the delimiters and line ends says where fields lie, then each column takes
//! its fields of all these records in a loop that knows its type; what nobody reads costs no more than finding its end.
//! The first record that is written otherwise ends the walk, and leaves no trace.

use crate::formats::column::Rows;
use crate::formats::csv::CsvOptions;
use crate::formats::csv::decode::Layout;
use crate::formats::lines::{Room, Taken};
use crate::formats::marks::Marked;
use crate::formats::spans::{NullWords, Spans};
use crate::limits::RECORD_BYTES_MAX;

/// Records whose fields are looked for before columns take them, at most: so few that their bytes are still in a first-level
/// cache.
const RECORDS_AT_ONCE: usize = 128;

/// The same at first: one that is no good costs the work for those behind it.
const RECORDS_AT_FIRST: usize = 8;

/// What the walk needs beside the bytes; made once for a file.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Where the first record begins, and behind each mark: the place of what follows it.
    bounds: Vec<u32>,
}

/// Appends the rows of as many records as are good.
pub(super) fn take_good(
    bytes: &[u8],
    room: &Room,
    (options, layout, walk): (&CsvOptions, &Layout, &mut Walk),
    rows: &mut Rows,
) -> Taken {
    let delimiter = options.marks.delimiter;
    let mut marked = Marked::new(bytes, [delimiter, b'\n', options.marks.quote.unwrap_or(delimiter)]);
    // What is idle text is only passed over: it may be any text.
    let wanted = |target: &Option<usize>| target.filter(|target| !rows.columns[*target].is_idle_text());
    let targets: Vec<Option<usize>> = layout.targets.iter().map(wanted).collect();
    let nulls = NullWords::new(&options.null_words);
    let mut taken = Taken::default();
    let mut at_once = RECORDS_AT_FIRST;
    loop {
        let room = Room { rows: (room.rows - taken.rows).min(at_once), bytes: room.bytes };
        let found = walk.records(bytes, taken.bytes, &room, (options, targets.len()), &mut marked);
        let mut spans = Spans { bytes, bounds: &walk.bounds, fields: targets.len(), field: 0, rows: found };
        for (field, target) in targets.iter().enumerate() {
            if let Some(column) = target.and_then(|target| rows.columns.get_mut(target)) {
                spans.field = field;
                spans.rows = column.push_spans(&spans, &nulls);
            }
        }
        let good = spans.rows;
        for missing in &layout.missing {
            (0..good).for_each(|_| rows.columns[*missing].push_null());
        }
        rows.took(good);
        let end = spans.end_of(good).unwrap_or(taken.bytes);
        taken = Taken { rows: taken.rows + good, bytes: end };
        if good < at_once {
            return taken;
        }
        at_once = (2 * at_once).min(RECORDS_AT_ONCE);
    }
}

impl Walk {
    /// Finds records that have so many fields and no quotes, from `start` on, and says how many.
    fn records(
        &mut self,
        bytes: &[u8],
        start: usize,
        room: &Room,
        (options, fields): (&CsvOptions, usize),
        marked: &mut Marked<'_>,
    ) -> usize {
        let delimiter = options.marks.delimiter;
        self.bounds.clear();
        let mut start = start;
        // Blocks are far smaller than that; a longer one is read record by record.
        let Ok(first) = u32::try_from(start) else { return 0 };
        if fields == 0 || u32::try_from(bytes.len()).is_err() {
            return 0;
        }
        self.bounds.push(first);
        let mut found = 0;
        'records: while found < room.rows && start < room.bytes {
            if options.marks.comment.is_some() && bytes.get(start).copied() == options.marks.comment {
                break;
            }
            for index in 1..=fields {
                let Some(mark) = marked.next() else { break 'records };
                let due = if index == fields { b'\n' } else { delimiter };
                if bytes[mark] != due {
                    break 'records;
                }
                self.bounds.push(behind(mark));
            }
            let end = self.bounds.last().map_or(start, |end| *end as usize);
            if end - start > RECORD_BYTES_MAX {
                break;
            }
            start = end;
            found += 1;
        }
        found
    }
}

/// The place behind a mark.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "there are fewer bytes than that, which was looked at before")]
fn behind(mark: usize) -> u32 {
    mark as u32 + 1
}
