//! Objects that are written like the one before: the same names in the same order, with the same blanks.
//!
//! Nearly all NDJSON is written by one program after one pattern. So what stands between two values is not taken apart
//! again but compared with what stood there last, and each value goes straight to its column. An object that differs ends
//! the walk and leaves no trace; the careful decoder reads it, and a new template may be made of it.

use crate::formats::cell;
use crate::formats::column::{Column, Rows, Values};
use crate::formats::json::decode::{Names, Work};
use crate::formats::json::left_out::{Late, is_latest_left_out};
use crate::formats::json::syntax::Cursor;
use crate::formats::kept_rows::Test;
use crate::formats::lines::{Room, Taken};
use crate::formats::marks::{line_without, plain_run};
use crate::limits::RECORD_BYTES_MAX;

/// How an object is written.
pub(super) struct Template {
    values: Vec<Value>,
    /// What stands behind the last value, with the line end.
    end: Between,
    /// Columns that the object does not have.
    missing: Vec<usize>,
    /// How many values there are up to the last one that a bound asks for.
    asked: usize,
    /// Whether a column that a bound asks for is missing, and so null: all objects written so are left out.
    lacks_asked: bool,
    /// The first name that is not in the schema, if such are told.
    pub(super) new_column: Option<String>,
}

struct Value {
    /// What stands before it, from the end of the value before.
    before: Between,
    goes_to: Target,
}

/// Where a value goes.
enum Target {
    /// Nowhere: any JSON will do.
    Nothing,
    /// Nowhere, but it must be a string.
    IdleText,
    Column(usize),
}

/// The first values of an object.
struct Front {
    /// How many.
    values: usize,
    /// Where the last one ends.
    end: usize,
}

/// What became of the first values of an object, which are good.
enum Walked {
    /// They are in the columns.
    Front(Front),
    /// A bound leaves the object out, and the next one begins at `end`. If `has_put`, columns hold parts of it.
    LeftOut { end: usize, has_put: bool },
}

/// Bytes between two values.
struct Between {
    bytes: Box<[u8]>,
    /// The first of them, and which bits these are: compared as one number.
    head: u128,
    mask: u128,
}

impl Between {
    fn new(bytes: &[u8]) -> Self {
        const HEAD_BYTES: usize = 16;
        let mut head = [0; HEAD_BYTES];
        let length = bytes.len().min(HEAD_BYTES);
        head[..length].copy_from_slice(&bytes[..length]);
        let mask = if length == HEAD_BYTES { u128::MAX } else { (1 << (8 * length)) - 1 };
        Self { bytes: bytes.into(), head: u128::from_le_bytes(head), mask }
    }

    /// Where the value behind these bytes begins, if they stand here.
    #[inline(always)]
    fn pass(&self, text: &[u8], at: usize) -> Option<usize> {
        let rest = text.get(at..)?;
        let stands = match rest.first_chunk() {
            Some(head) => {
                u128::from_le_bytes(*head) & self.mask == self.head
                    && (self.bytes.len() <= head.len() || rest[head.len()..].starts_with(&self.bytes[head.len()..]))
            }
            None => rest.starts_with(&self.bytes),
        };
        stands.then(|| at + self.bytes.len())
    }
}

impl Template {
    /// That of a good object, with its line end; nothing if a name comes twice or no line end is there.
    pub(super) fn of(record: &[u8], names: &Names, columns: &[Column]) -> Option<Self> {
        let mut cursor = Cursor::new(record);
        let mut unescaped = Vec::new();
        let (mut values, mut seen, mut from) = (Vec::new(), vec![false; columns.len()], 0);
        let (mut asked, mut new_column) = (0, None);
        cursor.expect(b'{', "").ok()?;
        let mut more = !cursor.eat(b'}');
        while more {
            cursor.expect(b'"', "").ok()?;
            let name = cursor.string(&mut unescaped).ok()?.unwrap_or(&unescaped);
            let column = names.find(name, values.len());
            cursor.expect(b':', "").ok()?;
            cursor.peek();
            let before = Between::new(&record[from..cursor.at]);
            let goes_to = match column {
                None => {
                    if names.are_watched() && new_column.is_none() {
                        new_column = Some(String::from_utf8_lossy(name).into_owned());
                    }
                    Target::Nothing
                }
                Some(index) => {
                    if names.asked(index).is_some() {
                        asked = values.len() + 1;
                    }
                    if std::mem::replace(seen.get_mut(index)?, true) {
                        return None;
                    }
                    if columns[index].is_idle_text() { Target::IdleText } else { Target::Column(index) }
                }
            };
            values.push(Value { before, goes_to });
            cursor.skip(&mut unescaped).ok()?;
            from = cursor.at;
            more = cursor.eat(b',');
            if !more {
                cursor.expect(b'}', "").ok()?;
            }
        }
        let end = record.get(from..).filter(|end| end.ends_with(b"\n"))?;
        let missing: Vec<usize> = (0..columns.len()).filter(|index| !seen[*index]).collect();
        let is_null = |index: &usize| names.asked(*index).is_some() && columns[*index].field.is_nullable();
        let lacks_asked = missing.iter().any(is_null);
        Some(Self { values, end: Between::new(end), missing, asked, lacks_asked, new_column })
    }

    /// Appends the rows of as many objects as are written so.
    pub(super) fn take_good(
        &self,
        bytes: &[u8],
        room: &Room,
        names: &Names,
        work: &mut Work,
        rows: &mut Rows,
    ) -> Taken {
        if self.asked > 0 || self.lacks_asked {
            self.take::<true>(bytes, room, names, work, rows)
        } else {
            self.take::<false>(bytes, room, names, work, rows)
        }
    }

    /// The same; `ASKED` says whether bounds ask for values.
    #[inline(always)]
    fn take<const ASKED: bool>(
        &self,
        bytes: &[u8],
        room: &Room,
        names: &Names,
        work: &mut Work,
        rows: &mut Rows,
    ) -> Taken {
        let mut taken = Taken::default();
        let mut left_out = 0;
        while taken.rows < room.rows && taken.bytes < room.bytes {
            let mut front = Front { values: 0, end: taken.bytes };
            if ASKED {
                match self.front(bytes, taken.bytes, names, work, (&mut rows.columns, &rows.tests)) {
                    Some(Walked::Front(until)) => front = until,
                    Some(Walked::LeftOut { end, has_put }) if end - taken.bytes <= RECORD_BYTES_MAX => {
                        for test in rows.tests.iter().filter(|_| has_put) {
                            rows.columns[test.column].truncate(rows.count + taken.rows - left_out);
                        }
                        left_out += 1;
                        taken = Taken { rows: taken.rows + 1, bytes: end };
                        continue;
                    }
                    _ => break,
                }
            }
            match self.row(bytes, &front, names, work, &mut rows.columns) {
                Some(end) if end - taken.bytes <= RECORD_BYTES_MAX => {
                    taken = Taken { rows: taken.rows + 1, bytes: end };
                }
                _ => break,
            }
        }
        rows.took(taken.rows - left_out);
        rows.pruned += left_out as u64;
        taken
    }

    /// Takes the values of the object here up to the last one that a bound asks for. Nothing as in [`Template::row`].
    fn front(
        &self,
        bytes: &[u8],
        at: usize,
        names: &Names,
        work: &mut Work,
        (columns, tests): (&mut [Column], &[Test]),
    ) -> Option<Walked> {
        let (mut at, mut has_put) = (at, false);
        work.late.clear();
        for (index, value) in self.values[..self.asked].iter().enumerate() {
            at = value.before.pass(bytes, at)?;
            let start = at;
            let Some((column, in_quotes)) = value.column().and_then(|column| Some((column, names.asked(column)?)))
            else {
                at = skip(bytes, at, work)?;
                if !value.is_good_if_skipped(bytes, start) {
                    work.late.push(Late { value: index, start, end: at });
                }
                continue;
            };
            let known = value.plain_text(bytes, at, &columns[column]);
            let is_left_out = match known {
                Some(text) => {
                    at += text.len() + 2;
                    tests.iter().any(|test| test.column == column && !test.keeps_text(text))
                }
                None => {
                    at = value.take(bytes, at, names, work, columns)?;
                    // A value has ended where what follows it is what should.
                    let next = self.values.get(index + 1).map_or(&self.end, |next| &next.before);
                    next.pass(bytes, at)?;
                    has_put = true;
                    is_latest_left_out(column, &columns[column], tests)
                }
            };
            if is_left_out {
                // Where the name may come again the careful decoder has a look at all of it.
                let end = at + line_without(&bytes[at..], in_quotes)?;
                return (bytes[end - 1] == b'\n').then_some(Walked::LeftOut { end, has_put });
            }
            if known.is_some() {
                value.take(bytes, start, names, work, columns)?;
                has_put = true;
            }
        }
        if self.lacks_asked {
            let end = self.rest(bytes, at, work)?;
            return Some(Walked::LeftOut { end, has_put });
        }
        for index in 0..work.late.len() {
            let Late { value, start, end } = work.late[index];
            if self.values[value].take(bytes, start, names, work, columns)? != end {
                return None;
            }
        }
        Some(Walked::Front(Front { values: self.asked, end: at }))
    }

    /// Where the next object begins, if what is behind the values that bounds ask for is JSON.
    fn rest(&self, bytes: &[u8], mut at: usize, work: &mut Work) -> Option<usize> {
        for value in &self.values[self.asked..] {
            at = skip(bytes, value.before.pass(bytes, at)?, work)?;
        }
        self.end.pass(bytes, at)
    }

    /// Appends the row of the object here, of which some values were taken, and gives where the next one begins. Nothing if
    /// it is written otherwise, or is not good; then columns may hold parts of it.
    #[inline(always)]
    fn row(
        &self,
        bytes: &[u8],
        front: &Front,
        names: &Names,
        work: &mut Work,
        columns: &mut [Column],
    ) -> Option<usize> {
        let mut at = front.end;
        for value in &self.values[front.values..] {
            at = value.before.pass(bytes, at)?;
            at = value.take(bytes, at, names, work, columns)?;
        }
        for missing in &self.missing {
            if !columns[*missing].field.is_nullable() {
                return None;
            }
            columns[*missing].push_null();
        }
        self.end.pass(bytes, at)
    }
}

impl Value {
    /// The column it goes to.
    #[inline(always)]
    fn column(&self) -> Option<usize> {
        match self.goes_to {
            Target::Column(index) => Some(index),
            Target::Nothing | Target::IdleText => None,
        }
    }

    /// The text here, if it is one without escapes and goes to a column of texts.
    #[inline(always)]
    fn plain_text<'a>(&self, bytes: &'a [u8], at: usize, column: &Column) -> Option<&'a [u8]> {
        if !column.holds_text() {
            return None;
        }
        let end = end_of_string(bytes, at)?;
        (bytes[end] == b'"').then(|| &bytes[at + 1..end])
    }

    /// Whether nothing else need be done with the value here, which is JSON.
    #[inline(always)]
    fn is_good_if_skipped(&self, bytes: &[u8], at: usize) -> bool {
        match self.goes_to {
            Target::Nothing => true,
            Target::IdleText => bytes.get(at) == Some(&b'"'),
            Target::Column(_) => false,
        }
    }

    /// Takes the value here, and gives its end. Nothing if it is not good, or needs a closer look.
    #[inline(always)]
    fn take(&self, bytes: &[u8], at: usize, names: &Names, work: &mut Work, columns: &mut [Column]) -> Option<usize> {
        match self.goes_to {
            Target::IdleText if bytes.get(at) != Some(&b'"') => None,
            Target::Nothing | Target::IdleText => skip(bytes, at, work),
            Target::Column(index) => match put(bytes, at, &mut columns[index])? {
                Put::Until(end) => Some(end),
                Put::Unknown => {
                    work.mended = None;
                    let within = names.within(index);
                    let end = within_line(bytes, at, |cursor| work.value(within, cursor, &mut columns[index]).ok())?;
                    work.mended.is_none().then_some(end)
                }
            },
        }
    }
}

/// Passes over the value here, which may be any JSON, and gives its end.
#[inline(always)]
fn skip(bytes: &[u8], at: usize, work: &mut Work) -> Option<usize> {
    match bytes.get(at)? {
        b'"' => {
            let end = end_of_string(bytes, at)?;
            if bytes[end] == b'"' {
                return Some(end + 1);
            }
        }
        b'-' | b'0'..=b'9' => {
            let mut cursor = Cursor { text: bytes, at };
            return cursor.number().ok().map(|_| cursor.at);
        }
        _ => {}
    }
    within_line(bytes, at, |cursor| cursor.skip(&mut work.unescaped).ok())
}

/// Where the string that begins here stops being plain: at its closing quote, if all is well.
#[inline(always)]
fn end_of_string(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let end = at + 1 + plain_run(&bytes[at + 1..]);
    (end < bytes.len()).then_some(end)
}

/// Reads a value that must end in this line, and gives its end.
#[cold]
fn within_line(bytes: &[u8], at: usize, read: impl FnOnce(&mut Cursor<'_>) -> Option<()>) -> Option<usize> {
    let line = at + memchr::memchr(b'\n', bytes.get(at..)?)?;
    let mut cursor = Cursor { text: &bytes[..line], at };
    read(&mut cursor)?;
    Some(cursor.at)
}

/// What became of a value.
enum Put {
    /// It is in its column, and ends here.
    Until(usize),
    /// It is of a type that only the careful decoder knows.
    Unknown,
}

/// Appends the value here to its column. Nothing if it needs a closer look.
#[inline(always)]
fn put(bytes: &[u8], at: usize, column: &mut Column) -> Option<Put> {
    let first = *bytes.get(at)?;
    if first == b'n' {
        if !(bytes[at..].starts_with(b"null") && column.field.is_nullable()) {
            return None;
        }
        column.push_null();
        return Some(Put::Until(at + 4));
    }
    macro_rules! integer {
        ($values:ident) => {{
            let (value, length) = cell::leading_integer(&bytes[at..])?;
            $values.push(value.try_into().ok()?);
            at + length
        }};
    }
    let end = match &mut column.values {
        Values::Text(values) => {
            let end = end_of_string(bytes, at)?;
            if bytes[end] == b'"' {
                values.push_within(bytes, at + 1, end);
                end + 1
            } else {
                let mut cursor = Cursor { text: bytes, at: at + 1 };
                if cursor.string_into(&mut values.bytes).is_err() {
                    values.abandon_value();
                    return None;
                }
                values.end_value();
                cursor.at
            }
        }
        Values::Coded(codes) => {
            let end = end_of_string(bytes, at)?;
            if bytes[end] != b'"' {
                return Some(Put::Unknown);
            }
            codes.push_within(bytes, at + 1, end);
            end + 1
        }
        Values::Int64(values) | Values::Duration(values, _) => integer!(values),
        Values::Timestamp(values, _, _) if first != b'"' => integer!(values),
        Values::Int32(values) => integer!(values),
        Values::Int16(values) => integer!(values),
        Values::Int8(values) => integer!(values),
        Values::UInt64(values) => integer!(values),
        Values::UInt32(values) => integer!(values),
        Values::UInt16(values) => integer!(values),
        Values::UInt8(values) => integer!(values),
        Values::Float64(values) => {
            let (value, length) = cell::leading_float(&bytes[at..])?;
            values.push(value);
            at + length
        }
        Values::Boolean(values) => {
            let value = bytes[at..].starts_with(b"true");
            if !(value || bytes[at..].starts_with(b"false")) {
                return None;
            }
            values.push(value);
            at + if value { 4 } else { 5 }
        }
        Values::Timestamp(..) | Values::Date(_) => {
            let end = end_of_string(bytes, at).filter(|end| bytes[*end] == b'"')?;
            column.push_text(&bytes[at + 1..end]).ok()?;
            return Some(Put::Until(end + 1));
        }
        _ => return Some(Put::Unknown),
    };
    column.pushed();
    Some(Put::Until(end))
}
