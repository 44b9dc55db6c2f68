//! JSON objects to rows, straight into the columns.
//!
//! The schema leads: a name is expected where it stood in the schema, and looked up only if it is not there. A value of
//! another type than its column's is a bad value, not converted: `"12"` is no integer, and neither is `12.0`.

use arrow_schema::{DataType, Field, FieldRef, Schema};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::error::Result;
use crate::formats::BadRecordPolicy;
use crate::formats::bad_records::Policies;
use crate::formats::cell;
use crate::formats::cell::Wrong;
use crate::formats::column::{Column, Rows, Values};
use crate::formats::json::left_out::{Late, in_quotes};
use crate::formats::json::syntax::{Cursor, NotJson};
use crate::formats::json::template::Template;
use crate::formats::kept_rows::Test;
use crate::formats::lines::{Fault, Outcome, RecordDecoder, Room, Taken, line_length, shown};
use crate::formats::text::not_utf8;
use crate::formats::wording;

/// The names of an object's fields, and what lies within them.
pub(super) struct Names {
    names: Vec<Box<[u8]>>,
    index: HashMap<Box<[u8]>, usize, FixedState>,
    within: Vec<Within>,
    /// What happens to records with a bad value in each; empty if all are treated as the source says.
    policies: Vec<BadRecordPolicy>,
    /// Whether names that are not among these are told.
    watched: bool,
    /// Of columns that bounds ask for, the names in quotes; empty if there are no bounds.
    asked: Vec<Option<Box<[u8]>>>,
}

/// What lies within a value.
pub(super) enum Within {
    Nothing,
    Items(Box<Within>),
    Fields(Names),
}

impl Names {
    fn new<'a>(fields: impl Iterator<Item = &'a FieldRef>) -> Self {
        let mut names = Self {
            names: Vec::new(),
            index: HashMap::default(),
            within: Vec::new(),
            policies: Vec::new(),
            watched: false,
            asked: Vec::new(),
        };
        for (index, field) in fields.enumerate() {
            let name = field.name().as_bytes().to_vec().into_boxed_slice();
            names.index.insert(name.clone(), index);
            names.names.push(name);
            names.within.push(Within::new(field));
        }
        names
    }

    /// Whether names that are not among these are told.
    pub(super) fn are_watched(&self) -> bool {
        self.watched
    }

    /// What lies within the values of a column.
    pub(super) fn within(&self, index: usize) -> &Within {
        &self.within[index]
    }

    /// The name in quotes of a column that a bound asks for.
    #[inline]
    pub(super) fn asked(&self, index: usize) -> Option<&[u8]> {
        self.asked.get(index)?.as_deref()
    }

    #[inline]
    pub(super) fn find(&self, name: &[u8], expected: usize) -> Option<usize> {
        match self.names.get(expected) {
            Some(there) if **there == *name => Some(expected),
            _ => self.index.get(name).copied(),
        }
    }
}

impl Within {
    fn new(field: &Field) -> Self {
        match field.data_type() {
            DataType::List(item) | DataType::LargeList(item) => Self::Items(Box::new(Self::new(item))),
            DataType::Struct(fields) => Self::Fields(Names::new(fields.iter())),
            _ => Self::Nothing,
        }
    }
}

/// Why a record gives no row.
pub(super) enum Stop {
    /// It is not JSON.
    Syntax(NotJson),
    /// A value is not of its column's type.
    Value(Box<Fault>),
}

impl From<NotJson> for Stop {
    fn from(not_json: NotJson) -> Self {
        Self::Syntax(not_json)
    }
}

pub(super) type Parse<T> = Result<T, Stop>;

pub(super) struct JsonDecoder {
    names: Names,
    work: Work,
    /// How records were written last.
    template: Option<Template>,
    /// Templates made of late that were good for nothing.
    vain: u32,
}

/// What parsing a record needs besides the names.
pub(super) struct Work {
    /// For bad values of the field that is being read.
    policy: BadRecordPolicy,
    pub(super) unescaped: Vec<u8>,
    /// Values that were passed over until it is known whether their row is left out.
    pub(super) late: Vec<Late>,
    /// The first value of the record that became null because it could not be read.
    pub(super) mended: Option<Box<Fault>>,
    /// The first name that is not in the schema.
    pub(super) new_column: Option<String>,
    /// How often a name came again in its object.
    repeated: u64,
}

impl JsonDecoder {
    pub(super) fn new(schema: &Schema, policies: &Policies, watches_columns: bool, tests: &[Test]) -> Self {
        let work = Work {
            policy: policies.record,
            unescaped: Vec::new(),
            late: Vec::new(),
            mended: None,
            new_column: None,
            repeated: 0,
        };
        let mut names = Names::new(schema.fields().iter());
        if !policies.columns.is_empty() {
            names.policies = policies.of_columns(schema);
        }
        names.watched = watches_columns;
        if !tests.is_empty() {
            let is_asked = |index: usize| tests.iter().any(|test| test.column == index);
            let all = names.names.iter().enumerate();
            names.asked = all.map(|(index, name)| is_asked(index).then(|| in_quotes(name))).collect();
        }
        Self { names, work, template: None, vain: 0 }
    }
}

/// Rows at once by which a template was worth making.
const WORTH_ROWS: usize = 16;

/// Templates in a row that were good for nothing, until only one record in as many becomes one.
const VAIN_MAX: u32 = 64;

impl RecordDecoder for JsonDecoder {
    #[inline]
    fn length(&mut self, bytes: &[u8], all: bool) -> Option<usize> {
        line_length(bytes, all)
    }

    fn new_column(&self) -> Option<&str> {
        self.work.new_column.as_deref()
    }

    fn repeated(&self) -> u64 {
        self.work.repeated
    }

    fn take_good(&mut self, bytes: &[u8], room: &Room, rows: &mut Rows) -> Taken {
        let Some(template) = &self.template else { return Taken::default() };
        let before = rows.count;
        let taken = template.take_good(bytes, room, &self.names, &mut self.work, rows);
        if let Some(name) =
            template.new_column.as_ref().filter(|_| rows.count > before && self.work.new_column.is_none())
        {
            self.work.new_column = Some(name.clone());
        }
        if taken.rows >= WORTH_ROWS {
            self.vain = 0;
        }
        taken
    }

    fn decode(&mut self, record: &[u8], rows: &mut Rows) -> Result<Outcome> {
        if let Err(error) = std::str::from_utf8(record) {
            return Ok(Outcome::Bad(Box::new(not_utf8(record, error))));
        }
        let mut cursor = Cursor::new(record);
        if cursor.peek().is_none() {
            return Ok(Outcome::Nothing);
        }
        if !rows.tests.is_empty() {
            let is_left_out = self.work.leaves_out(&self.names, record, rows).unwrap_or(false);
            rows.abandon_row();
            if is_left_out {
                rows.pruned += 1;
                self.learn(record, &rows.columns);
                return Ok(Outcome::Nothing);
            }
        }
        self.work.mended = None;
        let row = rows.count;
        let parsed =
            self.work.object(&self.names, &mut cursor, &mut rows.columns, row).and_then(|()| match cursor.peek() {
                None => Ok(()),
                Some(_) => Ok(cursor.wrong("something follows the object")?),
            });
        Ok(match parsed {
            Ok(()) => match self.work.mended.take() {
                Some(fault) => Outcome::Mended(fault),
                None => {
                    self.learn(record, &rows.columns);
                    Outcome::Row
                }
            },
            Err(Stop::Value(fault)) => Outcome::Bad(fault),
            Err(Stop::Syntax(NotJson { at, reason })) => {
                let near = &record[at.min(record.len()).saturating_sub(20)..];
                let reason = format!("{reason}: {}", shown(near.trim_ascii_end()));
                Outcome::Bad(Box::new(Fault::new(at, reason)))
            }
        })
    }
}

impl JsonDecoder {
    /// Makes a template of a good record: records like it may follow. Seldom, where templates were good for nothing.
    fn learn(&mut self, record: &[u8], columns: &[Column]) {
        if self.vain < VAIN_MAX || self.vain.is_multiple_of(VAIN_MAX) {
            self.template = Template::of(record, &self.names, columns);
        }
        self.vain = self.vain.wrapping_add(1);
    }
}

impl Work {
    /// Reads an object into columns that have `row` values each.
    fn object(&mut self, names: &Names, cursor: &mut Cursor<'_>, columns: &mut [Column], row: usize) -> Parse<()> {
        let start = cursor.at;
        cursor.expect(b'{', "an object is needed here")?;
        let mut expected = 0;
        let mut more = !cursor.eat(b'}');
        while more {
            cursor.expect(b'"', "an object needs a name in quotes here")?;
            let name = match cursor.string(&mut self.unescaped)? {
                Some(name) => name,
                None => &self.unescaped,
            };
            let found = names.find(name, expected);
            if found.is_none() && names.watched && self.new_column.is_none() {
                self.new_column = Some(String::from_utf8_lossy(name).into_owned());
            }
            cursor.expect(b':', "a name needs : behind it")?;
            match found {
                None => cursor.skip(&mut self.unescaped)?,
                Some(index) => {
                    expected = index + 1;
                    let column = &mut columns[index];
                    if column.len() > row {
                        // The name came before: the last one wins.
                        column.truncate(row);
                        self.repeated += 1;
                    }
                    if let Some(policy) = names.policies.get(index) {
                        self.policy = *policy;
                    }
                    let fresh = self.mended.is_none();
                    let read = self.value(&names.within[index], cursor, column);
                    self.locate(fresh, read, || column.field.name().clone())?;
                }
            }
            more = cursor.eat(b',');
            if !more {
                cursor.expect(b'}', "an object needs , or } here")?;
            }
        }
        for (index, column) in columns.iter_mut().enumerate().filter(|(_, column)| column.len() == row) {
            if !column.field.is_nullable() {
                let reason = wording::reason(Wrong::Missing, "", column.field.data_type());
                let mut fault = Fault::in_column(start, column.field.name(), reason);
                fault.policy = Some(names.policies.get(index).copied().unwrap_or(self.policy));
                return Err(Stop::Value(Box::new(fault)));
            }
            column.push_null();
        }
        Ok(())
    }

    /// Puts a step before the path of a fault that was found in a value: one that ends the record, or the record's
    /// first mended one if there was none before (`fresh`).
    #[inline]
    fn locate(&mut self, fresh: bool, read: Parse<()>, step: impl Fn() -> String) -> Parse<()> {
        fn put(step: String, fault: &mut Fault) {
            let within = fault.column.take().unwrap_or_default();
            let dot = if within.is_empty() || within.starts_with('[') { "" } else { "." };
            fault.column = Some(format!("{step}{dot}{within}"));
        }
        if fresh && let Some(mended) = &mut self.mended {
            put(step(), mended);
        }
        read.map_err(|stop| match stop {
            Stop::Value(mut fault) => {
                put(step(), &mut fault);
                Stop::Value(fault)
            }
            syntax @ Stop::Syntax(_) => syntax,
        })
    }

    pub(super) fn value(&mut self, within: &Within, cursor: &mut Cursor<'_>, column: &mut Column) -> Parse<()> {
        let first = cursor.peek();
        let start = cursor.at;
        let wrong = match first {
            Some(b'"') => {
                cursor.at += 1;
                self.string(cursor, column)?
            }
            Some(b'-' | b'0'..=b'9') => number(cursor.number()?, column),
            Some(b't') => {
                cursor.word(b"true")?;
                boolean(true, column)
            }
            Some(b'f') => {
                cursor.word(b"false")?;
                boolean(false, column)
            }
            Some(b'n') => {
                cursor.word(b"null")?;
                null(column)
            }
            Some(b'[') if matches!(within, Within::Items(_)) => return self.list(within, cursor, column),
            Some(b'{') if matches!(within, Within::Fields(_)) => return self.fields(within, cursor, column),
            _ => {
                cursor.skip(&mut self.unescaped)?;
                Err(Wrong::Shape)
            }
        };
        match wrong {
            Ok(()) => Ok(()),
            Err(wrong) => self.bad_value(wrong, start, &cursor.text[start..cursor.at], column),
        }
    }

    /// Reads a string behind its opening quote.
    #[inline]
    fn string(&mut self, cursor: &mut Cursor<'_>, column: &mut Column) -> Parse<Result<(), Wrong>> {
        if let Values::Text(values) = &mut column.values {
            if let Err(error) = cursor.string_into(&mut values.bytes) {
                values.abandon_value();
                return Err(error.into());
            }
            values.end_value();
            column.pushed();
            return Ok(Ok(()));
        }
        let text = match cursor.string(&mut self.unescaped)? {
            Some(text) => text,
            None => &self.unescaped,
        };
        Ok(match (&column.values, text) {
            (
                Values::Coded(_) | Values::Date(_) | Values::Timestamp(..) | Values::Decimal(..) | Values::Binary(..),
                text,
            ) => column.push_text(text),
            // What JSON has no number for.
            (Values::Float32(_) | Values::Float64(_), b"NaN" | b"Infinity" | b"-Infinity") => column.push_text(text),
            _ => Err(Wrong::Shape),
        })
    }

    fn list(&mut self, within: &Within, cursor: &mut Cursor<'_>, column: &mut Column) -> Parse<()> {
        let (Within::Items(within), Values::List(_, item)) = (within, &mut column.values) else {
            return Ok(cursor.wrong("a list is not expected here")?);
        };
        cursor.expect(b'[', "a list is needed here")?;
        let mut more = !cursor.eat(b']');
        let mut index = 0;
        while more {
            let fresh = self.mended.is_none();
            let read = self.value(within, cursor, item);
            self.locate(fresh, read, || format!("[{index}]"))?;
            index += 1;
            more = cursor.eat(b',');
            if !more {
                cursor.expect(b']', "a list needs , or ] here")?;
            }
        }
        column.end_list();
        Ok(())
    }

    fn fields(&mut self, within: &Within, cursor: &mut Cursor<'_>, column: &mut Column) -> Parse<()> {
        let (Within::Fields(names), Values::Struct(len, columns)) = (within, &mut column.values) else {
            return Ok(cursor.wrong("an object is not expected here")?);
        };
        let row = *len;
        self.object(names, cursor, columns, row)?;
        column.end_struct();
        Ok(())
    }

    #[cold]
    fn bad_value(&mut self, wrong: Wrong, start: usize, text: &[u8], column: &mut Column) -> Parse<()> {
        // "12" and 12 must differ in the message.
        let shown = match text {
            [b'"', string @ .., b'"'] => format!("the string {}", shown(string)),
            other => shown(other),
        };
        let mut fault = Box::new(Fault::new(start, wording::reason(wrong, &shown, column.field.data_type())));
        fault.policy = Some(self.policy);
        if self.policy != BadRecordPolicy::Null {
            return Err(Stop::Value(fault));
        }
        column.push_null();
        if self.mended.is_none() {
            self.mended = Some(fault);
        }
        Ok(())
    }
}

#[inline]
fn number(text: &[u8], column: &mut Column) -> Result<(), Wrong> {
    match &mut column.values {
        Values::Timestamp(values, _, _) => {
            values.push(cell::integer(text)?);
            column.pushed();
            Ok(())
        }
        Values::Text(_) | Values::Coded(_) | Values::Binary(..) | Values::Boolean(_) | Values::Date(_) => {
            Err(Wrong::Shape)
        }
        _ => column.push_text(text),
    }
}

fn boolean(value: bool, column: &mut Column) -> Result<(), Wrong> {
    let Values::Boolean(values) = &mut column.values else { return Err(Wrong::Shape) };
    values.push(value);
    column.pushed();
    Ok(())
}

fn null(column: &mut Column) -> Result<(), Wrong> {
    if !column.field.is_nullable() {
        return Err(Wrong::Missing);
    }
    column.push_null();
    Ok(())
}
