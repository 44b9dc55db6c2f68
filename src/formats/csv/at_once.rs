//! Many good CSV records at once: no quotes, no comments, as many fields as there should be, each a value of its column.
//!
//! Some records at a time: first one walk over the delimiters and line ends says where fields lie, then each column takes
//! its fields of all these records in a loop that knows its type; what nobody reads costs no more than finding its end.
//! The first record that is written otherwise ends the walk, and leaves no trace.

use crate::formats::column::Rows;
use crate::formats::csv::CsvOptions;
use crate::formats::csv::decode::Layout;
use crate::formats::csv::walk::Walk;
use crate::formats::lines::{Room, Taken};
use crate::formats::spans::{NullWords, Spans};

/// Records whose fields are looked for before columns take them, at most: so few that their bytes are still in a first-level
/// cache.
const RECORDS_AT_ONCE: usize = 128;

/// The same at first: one that is no good costs the work for those behind it.
const RECORDS_AT_FIRST: usize = 8;

/// Appends the rows of as many records as are good.
pub(super) fn take_good(
    bytes: &[u8],
    room: &Room,
    (options, layout, walk): (&CsvOptions, &Layout, &mut Walk),
    rows: &mut Rows,
) -> Taken {
    // What is idle text is only passed over: it may be any text.
    let wanted = |target: &Option<usize>| target.filter(|target| !rows.columns[*target].is_idle_text());
    let targets: Vec<Option<usize>> = layout.targets.iter().map(wanted).collect();
    let nulls = NullWords::new(&options.null_words);
    let mut taken = Taken::default();
    let mut at_once = RECORDS_AT_FIRST;
    if targets.is_empty() {
        return taken;
    }
    walk.begin(bytes);
    loop {
        let wanted = (room.rows - taken.rows).min(at_once);
        let found = walk.find(bytes, &options.marks, targets.len(), (wanted, room.bytes));
        let mut spans = Spans { bytes, bounds: walk.bounds(), fields: targets.len(), field: 0, rows: found };
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
        walk.take(good, targets.len());
        at_once = (2 * at_once).min(RECORDS_AT_ONCE);
    }
}
