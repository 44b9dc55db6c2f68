//! Objects that a filter leaves out, known before the rest of their line is read.
//!
//! Fields are read in their order. The values that bounds ask for go to their columns, all others before them need only be
//! JSON; at the first one that is not within its bounds the object is left out, and what stands behind it is not looked at.
//! But the last one of a repeated name counts: where the name of that value might come again the object is read as any other.
//! Whether a line is left out so hangs on its bytes alone, however it is read: the walk by template leaves out no others.

use crate::formats::column::{Column, Rows};
use crate::formats::json::decode::{Names, Parse, Work};
use crate::formats::json::syntax::Cursor;
use crate::formats::kept_rows::Test;
use crate::formats::marks::line_without;

/// A value that was passed over.
pub(super) struct Late {
    /// Which of the object's it is.
    pub(super) value: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A name as it stands in an object, if without escapes. A line end never does: what is before it must be enough.
pub(super) fn in_quotes(name: &[u8]) -> Box<[u8]> {
    let quoted = [b"\"", name, b"\""].concat();
    quoted.split(|byte| *byte == b'\n').next().unwrap_or_default().into()
}

/// Whether the latest value of a column is one that a bound leaves out.
#[inline]
pub(super) fn is_latest_left_out(index: usize, column: &Column, tests: &[Test]) -> bool {
    tests.iter().any(|test| test.column == index && !column.is_latest_kept(test))
}

impl Work {
    /// Whether the object of this line is left out. Columns that bounds ask for may hold parts of it then.
    pub(super) fn leaves_out(&mut self, names: &Names, record: &[u8], rows: &mut Rows) -> Parse<bool> {
        let mut cursor = Cursor::new(record);
        cursor.expect(b'{', "an object is needed here")?;
        let mut expected = 0;
        let mut more = !cursor.eat(b'}');
        while more {
            cursor.expect(b'"', "an object needs a name in quotes here")?;
            let name = cursor.string(&mut self.unescaped)?.unwrap_or(&self.unescaped);
            let found = names.find(name, expected);
            cursor.expect(b':', "a name needs : behind it")?;
            expected = found.map_or(expected, |index| index + 1);
            match found.and_then(|index| Some((index, names.asked(index)?))) {
                None => cursor.skip(&mut self.unescaped)?,
                Some((index, in_quotes)) => {
                    let column = &mut rows.columns[index];
                    if column.len() > rows.count {
                        return Ok(false);
                    }
                    self.mended = None;
                    self.value(names.within(index), &mut cursor, column)?;
                    if self.mended.is_some() {
                        return Ok(false);
                    }
                    if is_latest_left_out(index, column, &rows.tests) {
                        return Ok(line_without(&record[cursor.at..], in_quotes).is_some());
                    }
                }
            }
            more = cursor.eat(b',');
            if !more {
                cursor.expect(b'}', "an object needs , or } here")?;
            }
        }
        // What is not there is null.
        let lacks = |test: &Test| {
            let column = &rows.columns[test.column];
            column.len() == rows.count && column.field.is_nullable()
        };
        Ok(cursor.peek().is_none() && rows.tests.iter().any(lacks))
    }
}
