//! Fields of many records, one after another, on their way into one column.
//!
//! Where each field lies is known before; a column then takes those of one place in each record in a loop of its own,
//! without a question for each what type it has, and with nothing that one value must wait for another for.

use crate::formats::cell;
use crate::formats::column::{Column, Values};

/// The fields at one place of some records.
pub(super) struct Spans<'a> {
    pub(super) bytes: &'a [u8],
    /// Where the first record begins, and the places behind the delimiter or line end of each field.
    pub(super) bounds: &'a [u32],
    /// Fields a record.
    pub(super) fields: usize,
    /// Which of them.
    pub(super) field: usize,
    /// How many records.
    pub(super) rows: usize,
}

impl Spans<'_> {
    /// Where the field of a record begins and ends.
    #[inline(always)]
    fn at(&self, row: usize) -> (usize, usize) {
        let place = row * self.fields + self.field;
        let (start, behind) = (self.bounds[place] as usize, self.bounds[place + 1] as usize);
        let end = behind - 1;
        let has_return = self.field + 1 == self.fields && end > start && self.bytes[end - 1] == b'\r';
        (start, end - usize::from(has_return))
    }

    /// Where the first so many records end.
    pub(super) fn end_of(&self, rows: usize) -> Option<usize> {
        self.bounds.get(rows * self.fields).map(|end| *end as usize)
    }
}

/// Texts that stand for null.
pub(super) struct NullWords<'a> {
    words: &'a [Vec<u8>],
    only_empty: bool,
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
        macro_rules! run {
            (|$start:ident, $end:ident| $push:expr) => {{
                let mut row = from;
                while row < spans.rows {
                    let ($start, $end) = spans.at(row);
                    if nulls.holds(&bytes[$start..$end]) || !$push {
                        break;
                    }
                    row += 1;
                }
                Some(row - from)
            }};
        }
        macro_rules! values {
            ($values:ident, |$start:ident, $end:ident| $read:expr) => {{
                $values.reserve(spans.rows - from);
                run!(|$start, $end| match $read {
                    Ok(value) => {
                        $values.push(value);
                        true
                    }
                    Err(_) => false,
                })
            }};
        }
        macro_rules! integers {
            ($values:ident) => {
                values!($values, |start, end| cell::integer_within(bytes, start, end))
            };
        }
        match &mut self.values {
            Values::Text(values) => run!(|start, end| {
                values.push_within(bytes, start, end);
                true
            }),
            Values::Coded(codes) => run!(|start, end| {
                codes.push_within(bytes, start, end);
                true
            }),
            Values::Float64(values) => values!(values, |start, end| cell::float64_within(bytes, start, end)),
            Values::Int32(values) => integers!(values),
            Values::Int64(values) | Values::Duration(values, _) => integers!(values),
            Values::Date(values) => values!(values, |start, end| cell::date(&bytes[start..end])),
            Values::Decimal(values, precision, scale) => {
                let (precision, scale) = (*precision, *scale);
                values!(values, |start, end| cell::decimal_within(bytes, start, end, precision, scale))
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
