//! Where the records and fields of CSV lie.
//!
//! The rules are those of RFC 4180 with the usual liberties. A field that begins with a quote runs to the closing quote;
//! inside, two quotes stand for one, and delimiters and line ends are ordinary. A quote later in a field is an ordinary
//! character. A record ends with LF or CRLF outside of quotes, or with the file.

use crate::formats::lines::line_length;
use crate::limits::FIELDS_MAX;

/// How the text of a field is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As it is.
    Plain,
    /// In quotes (which are not part of the span).
    Quoted,
    /// In quotes, and with doubled quotes inside.
    Escaped,
    /// In quotes, with something between the closing quote and the delimiter.
    Broken,
}

/// A field: a range of bytes of its record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
}

/// What marks records and fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::formats) struct Marks {
    pub(in crate::formats) delimiter: u8,
    pub(in crate::formats) quote: Option<u8>,
    /// A line that begins with this is not a record.
    pub(in crate::formats) comment: Option<u8>,
}

/// Measures records and finds their fields.
#[derive(Debug)]
pub(super) struct Scanner {
    pub(super) marks: Marks,
    /// The fields of the record last measured, one more than [`FIELDS_MAX`] at most; none for a comment.
    pub(super) spans: Vec<Span>,
    /// Line ends inside the fields of the record last measured.
    pub(super) inner_lines: u64,
}

impl Scanner {
    pub(super) fn new(marks: Marks) -> Self {
        Self { marks, spans: Vec::new(), inner_lines: 0 }
    }

    /// The length of the record at the front of `bytes`, with its line end; nothing if it does not end there.
    #[inline]
    pub(super) fn length(&mut self, bytes: &[u8], all: bool) -> Option<usize> {
        self.spans.clear();
        self.inner_lines = 0;
        if self.marks.comment.is_some() && bytes.first().copied() == self.marks.comment {
            return line_length(bytes, all);
        }
        let mut at = 0;
        loop {
            let next = match self.marks.quote {
                Some(quote) if bytes.get(at) == Some(&quote) => self.quoted(bytes, at, quote, all)?,
                _ => self.plain(bytes, at, all)?,
            };
            match next {
                Next::Field(start) => at = start,
                Next::Record(length) => return Some(length),
            }
        }
    }

    #[inline]
    fn found(&mut self, span: Span) {
        if self.spans.len() <= FIELDS_MAX {
            self.spans.push(span);
        }
    }

    /// Whether the record last measured is an empty line.
    pub(super) fn is_blank(&self) -> bool {
        matches!(self.spans.as_slice(), [Span { start, end, kind: Kind::Plain }] if start == end)
    }

    /// Whether the record last measured has more fields than a record may have.
    pub(super) fn has_too_many(&self) -> bool {
        self.spans.len() > FIELDS_MAX
    }

    #[inline]
    fn plain(&mut self, bytes: &[u8], start: usize, all: bool) -> Option<Next> {
        let delimiter = self.marks.delimiter;
        let end = bytes[start..].iter().position(|byte| *byte == delimiter || *byte == b'\n');
        let end = match end {
            Some(end) => start + end,
            None if all => bytes.len(),
            None => return None,
        };
        if bytes.get(end) == Some(&delimiter) {
            self.found(Span { start, end, kind: Kind::Plain });
            return Some(Next::Field(end + 1));
        }
        let text_end = if end > start && bytes[end - 1] == b'\r' { end - 1 } else { end };
        self.found(Span { start, end: text_end, kind: Kind::Plain });
        Some(Next::Record(bytes.len().min(end + 1)))
    }

    fn quoted(&mut self, bytes: &[u8], opening: usize, quote: u8, all: bool) -> Option<Next> {
        let start = opening + 1;
        let mut kind = Kind::Quoted;
        let mut from = start;
        let closing = loop {
            let closing = from + memchr::memchr(quote, &bytes[from..])?;
            match bytes.get(closing + 1) {
                Some(next) if *next == quote => {
                    kind = Kind::Escaped;
                    from = closing + 2;
                }
                None if !all => return None,
                _ => break closing,
            }
        };
        self.inner_lines += memchr::memchr_iter(b'\n', &bytes[start..closing]).count() as u64;
        let after = closing + 1;
        let (end, next) = match &bytes[after..] {
            [] => (closing, Next::Record(after)),
            [b'\n', ..] => (closing, Next::Record(after + 1)),
            [b'\r', b'\n', ..] => (closing, Next::Record(after + 2)),
            [b'\r'] if all => (closing, Next::Record(after + 1)),
            [byte, ..] if *byte == self.marks.delimiter => (closing, Next::Field(after + 1)),
            _ => {
                // Something follows the closing quote: the field goes on, as a plain one, to the next mark.
                let next = self.plain(bytes, after, all)?;
                let rest = self.spans.pop()?;
                kind = Kind::Broken;
                (rest.end, next)
            }
        };
        let start = if kind == Kind::Broken { opening } else { start };
        self.found(Span { start, end, kind });
        Some(next)
    }
}

#[derive(Debug, Clone, Copy)]
enum Next {
    /// The next field begins here.
    Field(usize),
    /// The record ends here.
    Record(usize),
}

/// Writes the text of a field whose quotes are doubled to `to`.
pub(super) fn unescape(text: &[u8], quote: u8, to: &mut Vec<u8>) {
    to.clear();
    let mut rest = text;
    while let Some(at) = memchr::memchr(quote, rest) {
        to.extend_from_slice(&rest[..=at]);
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    to.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Option<(usize, Vec<(String, Kind)>)> {
        let marks = Marks { delimiter: b',', quote: Some(b'"'), comment: Some(b'#') };
        let mut scanner = Scanner::new(marks);
        let length = scanner.length(text.as_bytes(), true)?;
        Some((length, scanner.spans.iter().map(|span| (text[span.start..span.end].to_owned(), span.kind)).collect()))
    }

    fn spans(expected: &[(&str, Kind)]) -> Vec<(String, Kind)> {
        expected.iter().map(|(text, kind)| ((*text).to_owned(), *kind)).collect()
    }

    #[test]
    fn fields_are_found_with_and_without_quotes() {
        use Kind::{Broken, Escaped, Plain, Quoted};
        assert_eq!(fields("a,b\nc"), Some((4, spans(&[("a", Plain), ("b", Plain)]))));
        assert_eq!(fields("a,b\r\nc"), Some((5, spans(&[("a", Plain), ("b", Plain)]))));
        assert_eq!(fields("a,"), Some((2, spans(&[("a", Plain), ("", Plain)]))));
        assert_eq!(fields("\"a,\nb\",\"\"\r\n"), Some((11, spans(&[("a,\nb", Quoted), ("", Quoted)]))));
        assert_eq!(fields("\"a\"\"b\""), Some((6, spans(&[("a\"\"b", Escaped)]))));
        assert_eq!(fields("\"a\"x,b\n"), Some((7, spans(&[("\"a\"x", Broken), ("b", Plain)]))));
        assert_eq!(fields("5\" disk,b\n"), Some((10, spans(&[("5\" disk", Plain), ("b", Plain)]))));
        assert_eq!(fields("#a,\"b\nc"), Some((6, spans(&[]))));
        assert_eq!(fields("\"a,b\n"), None);
    }
}
