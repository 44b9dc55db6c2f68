//! Fields of many records, one after another, on their way into one column.
//!
//! Where each field lies is known before; a column then takes those of one place in each record in a loop of its own,
//! without a question for each what type it has, and with nothing that one value must wait for another for.

use crate::formats::cell;
use crate::formats::column::{Column, Values};
use crate::formats::digits::Pointed;

/// The fields at one place of some records.
pub(super) struct Spans<'a> {
    pub(super) bytes: &'a [u8],
    /// Where the first record begins, and the places behind the delimiter or line end of each field.
    pub(super) bounds: &'a [u32],
    /// Fields a record.
    pub(super) fields: usize,
    /// How far behind one record the next one begins in `bounds`: one more than the fields if each has its beginning.
    pub(super) stride: usize,
    /// Which of them.
    pub(super) field: usize,
    /// How many records.
    pub(super) rows: usize,
}

impl Spans<'_> {
    /// Where the field of a record begins and ends.
    #[inline(always)]
    pub(super) fn at(&self, row: usize) -> (usize, usize) {
        let place = row * self.stride + self.field;
        let (start, behind) = (self.bounds[place] as usize, self.bounds[place + 1] as usize);
        let end = behind - 1;
        let has_return = self.field + 1 == self.fields && end > start && self.bytes[end - 1] == b'\r';
        (start, end - usize::from(has_return))
    }

    /// The field of a record; nothing if it is null, or there is no such record.
    pub(super) fn text(&self, row: usize, nulls: &NullWords<'_>) -> Option<&[u8]> {
        let (start, end) = (row < self.rows).then(|| self.at(row))?;
        let text = &self.bytes[start..end];
        (!nulls.holds(text)).then_some(text)
    }

    /// Appends what `read` makes of the fields from a row on, by where they begin and end, up to the first that is null or
    /// of which it makes nothing, and says how many these are.
    ///
    /// A function of its own for each that reads: one with all of them would need more registers than there are.
    #[inline(never)]
    pub(super) fn run<T: Copy + Default>(
        &self,
        from: usize,
        nulls: &NullWords<'_>,
        values: &mut Vec<T>,
        mut read: impl FnMut(usize, usize) -> Option<T>,
    ) -> usize {
        let (bytes, fields) = (self.bytes, self.fields);
        let is_last = self.field + 1 == fields;
        let len = values.len();
        values.resize(len + self.rows.saturating_sub(from), T::default());
        let mut records = self.bounds.get(from * self.stride + self.field..).unwrap_or_default();
        let mut row = len;
        while let (Some(value), Some(&[start, behind])) = (values.get_mut(row), records.first_chunk()) {
            let (start, mut end) = (start as usize, behind as usize - 1);
            if is_last && end > start && bytes[end - 1] == b'\r' {
                end -= 1;
            }
            let is_null = if nulls.only_empty { start == end } else { nulls.holds(&bytes[start..end]) };
            let read = if is_null { None } else { read(start, end) };
            let Some(read) = read else { break };
            *value = read;
            records = records.get(self.stride..).unwrap_or_default();
            row += 1;
        }
        values.truncate(row);
        row - len
    }
}

/// Texts that stand for null.
pub(super) struct NullWords<'a> {
    words: &'a [Vec<u8>],
    /// Whether only the empty text does.
    pub(super) only_empty: bool,
}

impl<'a> NullWords<'a> {
    pub(super) fn new(words: &'a [Vec<u8>]) -> Self {
        Self { words, only_empty: matches!(words, [word] if word.is_empty()) }
    }

    #[inline(always)]
    fn holds(&self, text: &[u8]) -> bool {
        if self.only_empty { text.is_empty() } else { self.words.iter().any(|word| word.as_slice() == text) }
    }
}

impl Column {
    /// Appends the values of the fields, which are UTF-8, up to the first that is none. Gives how many there are before it;
    /// no more than these have been appended.
    pub(super) fn push_spans(&mut self, spans: &Spans<'_>, nulls: &NullWords<'_>) -> usize {
        let mut row = 0;
        while row < spans.rows {
            let run = match self.push_run(spans, row, nulls) {
                Some(run) => {
                    self.pushed_all(run);
                    run
                }
                None => self.push_each(spans, row, nulls),
            };
            row += run;
            if row < spans.rows {
                let (start, end) = spans.at(row);
                if !(nulls.holds(&spans.bytes[start..end]) && self.field.is_nullable()) {
                    return row;
                }
                self.push_null();
                row += 1;
            }
        }
        row
    }

    /// Appends to `values` alone those of the fields from a row on, up to the first that is null or no value, and says how
    /// many these are; nothing for a type that has no loop of its own.
    #[inline(always)]
    fn push_run(&mut self, spans: &Spans<'_>, from: usize, nulls: &NullWords<'_>) -> Option<usize> {
        let bytes = spans.bytes;
        macro_rules! values {
            ($values:ident, |$start:ident, $end:ident| $read:expr) => {
                Some(spans.run(from, nulls, $values, |$start, $end| $read.ok()))
            };
        }
        macro_rules! integers {
            ($values:ident) => {
                values!($values, |start, end| cell::integer_within(bytes, start, end))
            };
        }
        let mut pointed = Pointed::at(1);
        match &mut self.values {
            Values::Text(values) => Some(values.push_spans(spans, from, nulls)),
            Values::Coded(codes) => Some(codes.push_spans(spans, from, nulls)),
            Values::Float64(values) => Some(spans.run_floats(from, nulls, values)),
            Values::Int32(values) => integers!(values),
            Values::Int64(values) | Values::Duration(values, _) => integers!(values),
            Values::Date(values) => values!(values, |start, end| cell::date(&bytes[start..end])),
            Values::Decimal(values, precision, scale) => {
                let digits = (*precision, *scale);
                values!(values, |start, end| cell::decimal_within(bytes, (start, end), digits, &mut pointed))
            }
            _ => None,
        }
    }

    /// The same of any type, value by value.
    fn push_each(&mut self, spans: &Spans<'_>, from: usize, nulls: &NullWords<'_>) -> usize {
        let good = |column: &mut Self, row| {
            let (start, end) = spans.at(row);
            let text = &spans.bytes[start..end];
            !nulls.holds(text) && column.push_text(text).is_ok()
        };
        (from..spans.rows).take_while(|row| good(self, *row)).count()
    }
}
