//! Many good CSV records at once: no quotes, no comments, as many fields as there should be, each a value of its column.
//!
//! One walk over the delimiters and line ends fills the columns; what nobody reads costs no more than finding its end. The
//! first record that is written otherwise ends the walk, and leaves no trace.

use crate::formats::column::Rows;
use crate::formats::csv::CsvOptions;
use crate::formats::csv::decode::Layout;
use crate::formats::lines::{Room, Taken};
use crate::formats::marks::Marked;
use crate::limits::RECORD_BYTES_MAX;

/// Appends the rows of as many records as are good.
pub(super) fn take_good(bytes: &[u8], room: &Room, options: &CsvOptions, layout: &Layout, rows: &mut Rows) -> Taken {
    let delimiter = options.marks.delimiter;
    let quote = options.marks.quote.unwrap_or(delimiter);
    let Some(last) = layout.targets.len().checked_sub(1) else { return Taken::default() };
    // What is idle text is only passed over: it may be any text.
    let wanted = |target: &Option<usize>| target.filter(|target| !rows.columns[*target].is_idle_text());
    let targets: Vec<Option<usize>> = layout.targets.iter().map(wanted).collect();
    let only_empty_is_null = matches!(options.null_words.as_slice(), [word] if word.is_empty());
    let is_null = |text: &[u8]| match only_empty_is_null {
        true => text.is_empty(),
        false => options.null_words.iter().any(|word| word.as_slice() == text),
    };
    let mut marked = Marked::new(bytes, [delimiter, b'\n', quote]);
    let mut taken = Taken::default();
    'records: while taken.rows < room.rows && taken.bytes < room.bytes {
        if options.marks.comment.is_some() && bytes.get(taken.bytes).copied() == options.marks.comment {
            break;
        }
        let mut start = taken.bytes;
        for (index, target) in targets.iter().enumerate() {
            let Some(mark) = marked.next() else { break 'records };
            let end = if index == last {
                if bytes[mark] != b'\n' {
                    break 'records;
                }
                mark - usize::from(mark > start && bytes[mark - 1] == b'\r')
            } else {
                if bytes[mark] != delimiter {
                    break 'records;
                }
                mark
            };
            if let Some(column) = target.and_then(|target| rows.columns.get_mut(target)) {
                if is_null(&bytes[start..end]) {
                    if !column.field.is_nullable() {
                        break 'records;
                    }
                    column.push_null();
                } else if !column.push_within(bytes, start, end) {
                    break 'records;
                }
            }
            start = mark + 1;
        }
        if start - taken.bytes > RECORD_BYTES_MAX {
            break;
        }
        for missing in &layout.missing {
            rows.columns[*missing].push_null();
        }
        taken = Taken { rows: taken.rows + 1, bytes: start };
    }
    rows.took(taken.rows);
    taken
}
