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
    let is_tested = |target: usize| rows.tests.iter().any(|test| test.column == target);
    let (tested, others): (Vec<_>, Vec<_>) = targets
        .iter()
        .enumerate()
        .filter_map(|(field, target)| target.map(|target| (field, target)))
        .partition(|(_, target)| is_tested(*target));
    let is_there = |column: usize| tested.iter().any(|(_, target)| *target == column);
    let may_test = !rows.tests.is_empty() && rows.tests.iter().all(|test| is_there(test.column));
    let mut chosen = Vec::new();
    walk.begin(bytes);
    loop {
        let wanted = (room.rows - taken.rows).min(at_once);
        let found = walk.find(bytes, &options.marks, targets.len(), (wanted, room.bytes));
        let fields = targets.len();
        let mut spans = Spans { bytes, bounds: walk.bounds(), fields, stride: fields, field: 0, rows: found };
        push(&tested, &mut spans, &nulls, rows);
        let mut good = spans.rows;
        tested.iter().for_each(|(_, target)| rows.columns[*target].truncate(rows.count + good));
        // Of rows that the filter leaves out nothing else is read.
        let passing = if may_test { rows.passing(good).filter(|rows| rows.len() < good) } else { None };
        if let Some(passing) = &passing {
            tested.iter().for_each(|(_, target)| rows.columns[*target].retain_latest(good, passing));
            walk.chosen(passing, fields, &mut chosen);
            spans = Spans { bounds: &chosen, stride: fields + 1, rows: passing.len(), ..spans };
        }
        push(&others, &mut spans, &nulls, rows);
        let added = spans.rows;
        good = match &passing {
            Some(passing) => passing.get(added).map_or(good, |first_left| *first_left as usize),
            None => added,
        };
        for missing in &layout.missing {
            (0..added).for_each(|_| rows.columns[*missing].push_null());
        }
        rows.took(added);
        rows.pruned += (good - added) as u64;
        taken = Taken { rows: taken.rows + good, bytes: walk.end_of(good, fields) };
        if good < at_once {
            return taken;
        }
        walk.take(good, fields);
        at_once = (2 * at_once).min(RECORDS_AT_ONCE);
    }
}

/// Appends the values of these fields to their columns, up to the first record of which one is not good.
fn push(fields: &[(usize, usize)], spans: &mut Spans<'_>, nulls: &NullWords<'_>, rows: &mut Rows) {
    for (field, target) in fields {
        spans.field = *field;
        spans.rows = rows.columns[*target].push_spans(spans, nulls);
    }
}
