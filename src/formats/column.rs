//! Columns that grow value by value and can take values back.
//!
//! A record that turns out to be bad halfway must leave no trace, hence [`Column::truncate`], which the builders of
//! arrow-rs do not have. Values enter as text ([`Column::push_text`]), as null, or, for lists and structs, through the
//! JSON decoder, which takes columns apart itself. A finished column gives its memory to an Arrow array without a copy.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::builder::BooleanBufferBuilder;
use arrow_array::timezone::Tz;
use arrow_array::types as arrow;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, LargeListArray, ListArray, NullArray,
    PrimitiveArray, StringArray, StructArray,
};
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow_select::filter::filter_record_batch;
use serde::{Deserialize, Serialize};

use crate::columnar::RecordBatch;
use crate::columnar::data_type::{coded_text, with_coded};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::Bound;
use crate::formats::bytes::{Bytes, offset};
use crate::formats::cell;
use crate::formats::cell::Wrong;
use crate::formats::codes::Codes;
use crate::formats::kept_rows::Test;
use crate::formats::nulls::null_rows;
use crate::limits::ROWS_PER_READ_MAX;

/// How bytes are written in text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BinaryText {
    /// Two hexadecimal digits a byte.
    #[default]
    Hex,
    /// As they are. CSV only: JSON cannot hold any bytes.
    Raw,
}

/// The values of a column, by how they are kept.
#[derive(Debug)]
pub(super) enum Values {
    Null(usize),
    Boolean(Vec<bool>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt8(Vec<u8>),
    UInt16(Vec<u16>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>, u8, i8),
    Date(Vec<i32>),
    Timestamp(Vec<i64>, TimeUnit, Option<Tz>),
    Duration(Vec<i64>, TimeUnit),
    Text(Bytes),
    /// Texts of a dictionary with 32-bit keys.
    Coded(Box<Codes>),
    Binary(Bytes, BinaryText),
    List(Vec<i32>, Box<Column>),
    Struct(usize, Vec<Column>),
}

/// A column that grows.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) field: Arc<Field>,
    pub(super) values: Values,
    /// Made when the first null comes.
    validity: Option<BooleanBufferBuilder>,
    /// Nobody looks at the values: they are checked, and null when the column is finished.
    is_idle: bool,
    /// Rows before those in `values` that are not kept, because nobody looks at them.
    passed: usize,
    /// What an idle column gives, as many as a read has rows; made when it is first needed.
    nulls: Option<ArrayRef>,
}

/// Does the same to the vector of values inside any variant but text, lists and structs.
macro_rules! with_vec {
    ($values:expr, $vec:ident => $do:expr, $($rest:tt)*) => {
        match $values {
            Values::Boolean($vec) => $do,
            Values::Int8($vec) => $do,
            Values::Int16($vec) => $do,
            Values::Int32($vec) => $do,
            Values::Int64($vec) => $do,
            Values::UInt8($vec) => $do,
            Values::UInt16($vec) => $do,
            Values::UInt32($vec) => $do,
            Values::UInt64($vec) => $do,
            Values::Float32($vec) => $do,
            Values::Float64($vec) => $do,
            Values::Decimal($vec, _, _) => $do,
            Values::Date($vec) => $do,
            Values::Timestamp($vec, _, _) => $do,
            Values::Duration($vec, _) => $do,
            $($rest)*
        }
    };
}

impl Column {
    pub(super) fn new(field: &Arc<Field>, binary: BinaryText) -> Result<Self> {
        let values = Self::values_of(field, field.data_type(), binary)?;
        let field = Arc::clone(field);
        Ok(Self { field, values, validity: None, is_idle: false, passed: 0, nulls: None })
    }

    fn values_of(field: &Field, data_type: &DataType, binary: BinaryText) -> Result<Values> {
        Ok(match data_type {
            DataType::Null => Values::Null(0),
            DataType::Boolean => Values::Boolean(Vec::new()),
            DataType::Int8 => Values::Int8(Vec::new()),
            DataType::Int16 => Values::Int16(Vec::new()),
            DataType::Int32 => Values::Int32(Vec::new()),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::UInt8 => Values::UInt8(Vec::new()),
            DataType::UInt16 => Values::UInt16(Vec::new()),
            DataType::UInt32 => Values::UInt32(Vec::new()),
            DataType::UInt64 => Values::UInt64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Decimal128(precision, scale) => Values::Decimal(Vec::new(), *precision, *scale),
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Timestamp(unit, zone) => {
                let zone = zone.as_deref().map(|zone| parse_zone(field.name(), zone)).transpose()?;
                Values::Timestamp(Vec::new(), *unit, zone)
            }
            DataType::Duration(unit) => Values::Duration(Vec::new(), *unit),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Values::Text(Bytes::new()),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Values::Binary(Bytes::new(), binary),
            coded if *coded == coded_text() => Values::Coded(Box::new(Codes::new())),
            DataType::Dictionary(_, values) => Self::values_of(field, values, binary)?,
            DataType::List(item) | DataType::LargeList(item) => {
                Values::List(vec![0], Box::new(Self::new(item, binary)?))
            }
            DataType::Struct(fields) => {
                Values::Struct(0, fields.iter().map(|field| Self::new(field, binary)).collect::<Result<_>>()?)
            }
            other => {
                let message = format!("column \"{}\" of type {other} cannot be read from text", field.name());
                return Err(Error::new(ErrorKind::Unsupported, message).advice("read it as text and cast it"));
            }
        })
    }

    /// How many values there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.passed + self.kept()
    }

    /// How many values are kept.
    fn kept(&self) -> usize {
        with_vec!(&self.values, values => values.len(),
            Values::Null(len) | Values::Struct(len, _) => *len,
            Values::Text(values) | Values::Binary(values, _) => values.len(),
            Values::Coded(codes) => codes.len(),
            Values::List(offsets, _) => offsets.len() - 1,
        )
    }

    /// Takes back all values from the one numbered `len` on.
    pub(super) fn truncate(&mut self, len: usize) {
        let len = len.saturating_sub(self.passed);
        with_vec!(&mut self.values, values => values.truncate(len),
            Values::Null(old) => *old = len.min(*old),
            Values::Text(values) | Values::Binary(values, _) => values.truncate(len),
            Values::Coded(codes) => codes.truncate(len),
            Values::List(offsets, item) => {
                offsets.truncate(len + 1);
                let end = offsets.last().copied().unwrap_or_default();
                item.truncate(usize::try_from(end).unwrap_or_default());
            }
            Values::Struct(old, fields) => {
                *old = len.min(*old);
                for field in fields {
                    field.truncate(len);
                }
            }
        );
        if let Some(validity) = &mut self.validity {
            validity.truncate(len);
        }
    }

    /// Appends a null, whether or not the column may hold one: that is for the caller to know.
    pub(super) fn push_null(&mut self) {
        let len = self.kept();
        with_vec!(&mut self.values, values => values.push(<_>::default()),
            Values::Null(len) => *len += 1,
            Values::Text(values) | Values::Binary(values, _) => values.end_value(),
            Values::Coded(codes) => codes.push_nothing(),
            Values::List(offsets, item) => offsets.push(offset(item.len())),
            Values::Struct(len, fields) => {
                *len += 1;
                for field in fields {
                    field.push_null();
                }
            }
        );
        let validity = self.validity.get_or_insert_with(|| {
            let mut validity = BooleanBufferBuilder::new(len + 1);
            validity.append_n(len, true);
            validity
        });
        validity.append(false);
    }

    /// Keeps of the latest `count` values, none of which is null, only these, which are in order and count from the first
    /// of them. Not of lists and structs.
    pub(super) fn retain_latest(&mut self, count: usize, rows: &[u32]) {
        with_vec!(&mut self.values, values => retain_latest(values, count, rows),
            Values::Text(values) | Values::Binary(values, _) => values.retain_latest(count, rows),
            Values::Coded(codes) => codes.retain_latest(count, rows),
            Values::Null(len) => *len = *len - count + rows.len(),
            Values::List(..) | Values::Struct(..) => {}
        );
    }

    pub(super) fn is_latest_null(&self) -> bool {
        self.validity.as_ref().is_some_and(|validity| !validity.is_empty() && !validity.get_bit(validity.len() - 1))
    }

    /// Whether a null may be among the values.
    pub(super) fn may_hold_nulls(&self) -> bool {
        self.validity.is_some()
    }

    /// Whether nobody looks at the values.
    pub(super) fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Whether nobody looks at the values, which are texts: it is enough that they are there.
    pub(super) fn is_idle_text(&self) -> bool {
        self.is_idle && self.holds_text()
    }

    /// Whether the values are text, and so must be UTF-8.
    #[inline]
    pub(super) fn holds_text(&self) -> bool {
        matches!(self.values, Values::Text(_) | Values::Coded(_))
    }

    /// Whether an empty text is a value: of text and of bytes.
    #[inline]
    pub(super) fn may_be_empty(&self) -> bool {
        matches!(self.values, Values::Text(_) | Values::Coded(_) | Values::Binary(_, _))
    }

    /// Notes that a value was appended to `values`.
    #[inline]
    pub(super) fn pushed(&mut self) {
        if let Some(validity) = &mut self.validity {
            validity.append(true);
        }
    }

    /// Notes that so many values were appended to `values`.
    pub(super) fn pushed_all(&mut self, count: usize) {
        if let Some(validity) = &mut self.validity {
            validity.append_n(count, true);
        }
    }

    /// Ends a list with the items that were appended to its item column.
    pub(super) fn end_list(&mut self) {
        if let Values::List(offsets, item) = &mut self.values {
            offsets.push(offset(item.len()));
            self.pushed();
        }
    }

    /// Ends a struct whose fields were all appended to their columns.
    pub(super) fn end_struct(&mut self) {
        if let Values::Struct(len, _) = &mut self.values {
            *len += 1;
            self.pushed();
        }
    }

    /// Appends the value that this text stands for. Text must be UTF-8 where the column holds text.
    #[inline]
    pub(super) fn push_text(&mut self, text: &[u8]) -> Result<(), Wrong> {
        match &mut self.values {
            Values::Null(_) | Values::List(_, _) | Values::Struct(_, _) => return Err(Wrong::Shape),
            Values::Boolean(values) => values.push(cell::boolean(text)?),
            Values::Int8(values) => values.push(cell::integer(text)?),
            Values::Int16(values) => values.push(cell::integer(text)?),
            Values::Int32(values) => values.push(cell::integer(text)?),
            Values::Int64(values) | Values::Duration(values, _) => values.push(cell::integer(text)?),
            Values::UInt8(values) => values.push(cell::integer(text)?),
            Values::UInt16(values) => values.push(cell::integer(text)?),
            Values::UInt32(values) => values.push(cell::integer(text)?),
            Values::UInt64(values) => values.push(cell::integer(text)?),
            Values::Float32(values) => values.push(cell::float32(text)?),
            Values::Float64(values) => values.push(cell::float64(text)?),
            Values::Decimal(values, precision, scale) => values.push(cell::decimal(text, *precision, *scale)?),
            Values::Date(values) => values.push(cell::date(text)?),
            Values::Timestamp(values, unit, zone) => values.push(cell::timestamp(text, *unit, zone.as_ref())?),
            Values::Text(values) | Values::Binary(values, BinaryText::Raw) => values.push(text),
            Values::Coded(codes) => codes.push(text),
            Values::Binary(values, BinaryText::Hex) => {
                if let Err(wrong) = cell::hex(text, &mut values.bytes) {
                    values.abandon_value();
                    return Err(wrong);
                }
                values.end_value();
            }
        }
        self.pushed();
        Ok(())
    }

    /// Nulls in place of the values that nobody looks at.
    fn finish_idle(&mut self) -> ArrayRef {
        let len = self.len();
        self.pass_to(0);
        match &self.nulls {
            Some(nulls) if nulls.len() >= len => nulls.slice(0, len),
            _ => {
                let nulls = null_rows(self.field.data_type(), len.max(ROWS_PER_READ_MAX));
                self.nulls.insert(nulls).slice(0, len)
            }
        }
    }

    /// Forgets the values of all rows; there are so many then.
    fn pass_to(&mut self, rows: usize) {
        self.passed = 0;
        self.truncate(0);
        self.validity = None;
        self.passed = rows;
    }

    /// The values as an array; the column is empty afterwards and expects about as many again.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        if self.is_idle {
            return Ok(self.finish_idle());
        }
        let nulls = self.validity.take().map(|mut validity| NullBuffer::new(validity.finish()));
        let data_type = self.field.data_type();
        macro_rules! primitive {
            ($type:ty, $values:expr) => {
                finish_primitive::<$type>($values, nulls, data_type)
            };
        }
        let array: ArrayRef = match &mut self.values {
            Values::Null(len) => Arc::new(NullArray::new(std::mem::take(len))),
            Values::Boolean(values) => Arc::new(BooleanArray::new(BooleanBuffer::from(take(values)), nulls)),
            Values::Int8(values) => primitive!(arrow::Int8Type, values),
            Values::Int16(values) => primitive!(arrow::Int16Type, values),
            Values::Int32(values) => primitive!(arrow::Int32Type, values),
            Values::Int64(values) => primitive!(arrow::Int64Type, values),
            Values::UInt8(values) => primitive!(arrow::UInt8Type, values),
            Values::UInt16(values) => primitive!(arrow::UInt16Type, values),
            Values::UInt32(values) => primitive!(arrow::UInt32Type, values),
            Values::UInt64(values) => primitive!(arrow::UInt64Type, values),
            Values::Float32(values) => primitive!(arrow::Float32Type, values),
            Values::Float64(values) => primitive!(arrow::Float64Type, values),
            Values::Decimal(values, _, _) => primitive!(arrow::Decimal128Type, values),
            Values::Date(values) => primitive!(arrow::Date32Type, values),
            Values::Timestamp(values, unit, _) => match unit {
                TimeUnit::Second => primitive!(arrow::TimestampSecondType, values),
                TimeUnit::Millisecond => primitive!(arrow::TimestampMillisecondType, values),
                TimeUnit::Microsecond => primitive!(arrow::TimestampMicrosecondType, values),
                TimeUnit::Nanosecond => primitive!(arrow::TimestampNanosecondType, values),
            },
            Values::Duration(values, unit) => match unit {
                TimeUnit::Second => primitive!(arrow::DurationSecondType, values),
                TimeUnit::Millisecond => primitive!(arrow::DurationMillisecondType, values),
                TimeUnit::Microsecond => primitive!(arrow::DurationMicrosecondType, values),
                TimeUnit::Nanosecond => primitive!(arrow::DurationNanosecondType, values),
            },
            Values::Text(values) => {
                let (offsets, bytes) = values.finish();
                Arc::new(StringArray::try_new(offsets, bytes.into(), nulls)?)
            }
            Values::Coded(codes) => codes.finish(nulls)?,
            Values::Binary(values, _) => {
                let (offsets, bytes) = values.finish();
                Arc::new(BinaryArray::try_new(offsets, bytes.into(), nulls)?)
            }
            Values::List(offsets, item) => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])));
                finish_list(offsets, item, nulls, data_type)?
            }
            Values::Struct(len, fields) => {
                let names: Fields = fields.iter().map(|column| Arc::clone(&column.field)).collect();
                let columns = fields.iter_mut().map(Self::finish).collect::<Result<Vec<_>>>()?;
                Arc::new(StructArray::try_new_with_length(names, columns, nulls, std::mem::take(len))?)
            }
        };
        // Layouts that are not grown directly: views, large offsets, dictionaries.
        if array.data_type() == data_type { Ok(array) } else { Ok(arrow_cast::cast(&array, data_type)?) }
    }
}

/// Keeps of the latest `count` values only these, which are in order and count from the first of them.
pub(super) fn retain_latest<T: Copy>(values: &mut Vec<T>, count: usize, rows: &[u32]) {
    let first = values.len() - count;
    for (to, from) in (first..).zip(rows) {
        values[to] = values[first + *from as usize];
    }
    values.truncate(first + rows.len());
}

fn take<T>(values: &mut Vec<T>) -> Vec<T> {
    let next = Vec::with_capacity(values.len());
    std::mem::replace(values, next)
}

fn finish_primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> ArrayRef {
    let array = PrimitiveArray::<T>::new(ScalarBuffer::from(take(values)), nulls);
    // A dictionary's values get their own type by the cast that follows.
    let same = T::DATA_TYPE == *data_type || PrimitiveArray::<T>::is_compatible(data_type);
    Arc::new(if same { array.with_data_type(data_type.clone()) } else { array })
}

fn finish_list(
    offsets: OffsetBuffer<i32>,
    item: &mut Column,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef> {
    let field = Arc::clone(&item.field);
    let items = item.finish()?;
    if matches!(data_type, DataType::LargeList(_)) {
        let offsets = OffsetBuffer::new(offsets.iter().map(|offset| i64::from(*offset)).collect());
        return Ok(Arc::new(LargeListArray::try_new(field, offsets, items, nulls)?));
    }
    Ok(Arc::new(ListArray::try_new(field, offsets, items, nulls)?))
}

fn parse_zone(column: &str, zone: &str) -> Result<Tz> {
    zone.parse().map_err(|_| {
        Error::new(ErrorKind::InvalidOption, format!("column \"{column}\" has the unknown time zone \"{zone}\""))
            .advice("use a name such as \"Europe/Berlin\" or an offset such as \"+02:00\"")
    })
}

/// The columns of a schema, growing row by row.
#[derive(Debug)]
pub(super) struct Rows {
    schema: SchemaRef,
    pub(super) columns: Vec<Column>,
    pub(super) count: usize,
    /// Rows that do not keep these are left out of a batch, and counted.
    bounds: Vec<Bound>,
    /// What the bounds ask of values as they come.
    pub(super) tests: Vec<Test>,
    pub(super) pruned: u64,
}

impl Rows {
    /// The columns in `idle`, by index, are checked and come out null; they may hold null.
    pub(super) fn new(schema: &SchemaRef, binary: BinaryText, idle: &BTreeSet<usize>) -> Result<Self> {
        let mut columns = schema.fields().iter().map(|field| Column::new(field, binary)).collect::<Result<Vec<_>>>()?;
        for (index, column) in columns.iter_mut().enumerate() {
            column.is_idle = idle.contains(&index);
        }
        let schema = Arc::clone(schema);
        Ok(Self { schema, columns, count: 0, bounds: Vec::new(), tests: Vec::new(), pruned: 0 })
    }

    /// The same, of rows that keep these bounds.
    pub(super) fn keeping(mut self, bounds: &[Bound]) -> Self {
        self.bounds = bounds.to_vec();
        let test = |bound: &Bound| Test::of(bound, self.columns.get(bound.column)?);
        self.tests = bounds.iter().filter_map(test).collect();
        self
    }

    /// Whether the row whose values were just appended to the columns that are tested is one that the bounds leave out.
    /// Nothing is known if one of them has no value for it.
    pub(super) fn leave_out_latest(&self) -> bool {
        let is_there = |test: &Test| self.columns[test.column].len() == self.count + 1;
        self.tests.iter().all(is_there) && !self.tests.iter().all(|test| self.columns[test.column].is_latest_kept(test))
    }

    /// Which of so many rows, whose values stand at the end of the columns that are tested, may keep all bounds; nothing if
    /// a null is among these values.
    pub(super) fn passing(&self, count: usize) -> Option<Vec<u32>> {
        if self.tests.iter().any(|test| self.columns[test.column].may_hold_nulls()) {
            return None;
        }
        let mut rows: Vec<u32> = (0..u32::try_from(count).ok()?).collect();
        self.tests.iter().for_each(|test| self.columns[test.column].retain_passing(test, count, &mut rows));
        Some(rows)
    }

    /// Notes so many whole rows that were appended, but for the values of idle columns. What was appended behind them is
    /// taken back.
    pub(super) fn took(&mut self, rows: usize) {
        self.count += rows;
        for column in &mut self.columns {
            if column.is_idle {
                column.pass_to(self.count);
            } else {
                column.truncate(self.count);
            }
        }
    }

    /// Takes back what was appended to columns since the last whole row.
    pub(super) fn abandon_row(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.count);
        }
    }

    /// Appends a row without values.
    pub(super) fn push_null_row(&mut self) {
        for column in &mut self.columns {
            column.push_null();
        }
        self.count += 1;
    }

    /// All rows that keep the bounds as a batch; there are none afterwards.
    pub(super) fn finish(&mut self) -> Result<RecordBatch> {
        let batch = self.finish_all()?;
        let mut all: Option<BooleanBuffer> = None;
        for bound in &self.bounds {
            // Of columns that nobody looks at nothing is known.
            let column = self.columns.get(bound.column).filter(|column| !column.is_idle);
            let Some(kept) = column.map(|_| bound.kept(batch.column(bound.column))).transpose()?.flatten() else {
                continue;
            };
            all = Some(all.map_or_else(|| kept.clone(), |all| &all & &kept));
        }
        let Some(kept) = all.filter(|all| all.count_set_bits() < all.len()) else { return Ok(batch) };
        let kept = filter_record_batch(&batch, &BooleanArray::new(kept, None))?;
        self.pruned += (batch.num_rows() - kept.num_rows()) as u64;
        Ok(kept)
    }

    fn finish_all(&mut self) -> Result<RecordBatch> {
        let columns = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>>>()?;
        let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut self.count)));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// The first column, or field of a struct, that may not be null; with its path.
pub(super) fn first_not_nullable(schema: &Schema) -> Option<String> {
    fn within(path: String, field: &Field) -> Option<String> {
        if !field.is_nullable() {
            return Some(path);
        }
        match field.data_type() {
            DataType::Struct(fields) => {
                fields.iter().find_map(|child| within(format!("{path}.{}", child.name()), child))
            }
            DataType::List(item) | DataType::LargeList(item) => within(format!("{path}[]"), item),
            _ => None,
        }
    }
    schema.fields().iter().find_map(|field| within(field.name().clone(), field))
}

/// The schema with these columns, by index, as codes; nothing if one of them is no plain text.
pub(super) fn coded_schema(schema: &SchemaRef, columns: &BTreeSet<usize>) -> Option<SchemaRef> {
    let is_text = |index: &usize| schema.fields().get(*index).is_some_and(|field| *field.data_type() == DataType::Utf8);
    columns.iter().all(is_text).then(|| with_coded(schema, columns))
}

/// The columns, by index, that nobody looks at and that may be null instead.
pub(super) fn idle_columns(schema: &Schema, read: &BTreeSet<usize>) -> BTreeSet<usize> {
    let is_idle =
        |(index, field): (usize, &Arc<Field>)| (field.is_nullable() && !read.contains(&index)).then_some(index);
    schema.fields().iter().enumerate().filter_map(is_idle).collect()
}
