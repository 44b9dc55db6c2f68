//! Which rows a filter would keep, known before the rest of their fields has been read.
//!
//! A bound asks for one column's values only. They are read first, and of rows that do not keep it nothing else is. What
//! such a test lets pass is looked at again with the whole batch ([`Bound::kept`]); so it may say yes too often, and never
//! no too often.

use arrow_array::cast::AsArray;
use arrow_array::types as arrow;
use arrow_array::{Array, ArrayRef};
use arrow_schema::TimeUnit;

use crate::formats::column::{Column, Values};
use crate::formats::{Bound, Keeps};

/// What a bound asks of the values of a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Test {
    /// The column, by index.
    pub(super) column: usize,
    asks: Asks,
}

#[derive(Debug, Clone, PartialEq)]
enum Asks {
    /// Whole numbers, times and decimals without their points, from the first to the second.
    Within(i128, i128),
    Float(Keeps, f64),
    Text(Keeps, Vec<u8>),
}

/// Rows of which it is not known yet whether they pass: many, or one.
pub(super) trait InQuestion {
    fn retain(&mut self, passes: impl FnMut(&u32) -> bool);
}

impl InQuestion for Vec<u32> {
    fn retain(&mut self, passes: impl FnMut(&u32) -> bool) {
        Self::retain(self, passes);
    }
}

impl InQuestion for Option<u32> {
    fn retain(&mut self, passes: impl FnMut(&u32) -> bool) {
        *self = self.take().filter(passes);
    }
}

impl Test {
    /// The test of a bound for values that grow so; nothing if there is none for their type.
    pub(super) fn of(bound: &Bound, column: &Column) -> Option<Self> {
        let (value, keeps) = (&bound.value, bound.keeps);
        if value.len() != 1 || value.is_null(0) || column.is_idle() {
            return None;
        }
        macro_rules! number {
            ($($type:ident),+) => {
                None$(.or_else(|| value.as_primitive_opt::<arrow::$type>().map(|value| i128::from(value.value(0)))))+
            };
        }
        let asks = match &column.values {
            Values::Text(_) | Values::Coded(_) => Asks::Text(keeps, text(value)?),
            _ if value.data_type() != column.field.data_type() => return None,
            Values::Float64(_) => Asks::Float(keeps, value.as_primitive_opt::<arrow::Float64Type>()?.value(0)),
            Values::Timestamp(_, unit, _) => within(
                keeps,
                match unit {
                    TimeUnit::Second => number!(TimestampSecondType),
                    TimeUnit::Millisecond => number!(TimestampMillisecondType),
                    TimeUnit::Microsecond => number!(TimestampMicrosecondType),
                    TimeUnit::Nanosecond => number!(TimestampNanosecondType),
                }?,
            ),
            Values::Decimal(..) => within(keeps, value.as_primitive_opt::<arrow::Decimal128Type>()?.value(0)),
            Values::Int8(_) | Values::Int16(_) | Values::Int32(_) | Values::Int64(_) | Values::Date(_) => {
                within(keeps, number!(Int8Type, Int16Type, Int32Type, Int64Type, Date32Type)?)
            }
            Values::UInt8(_) | Values::UInt16(_) | Values::UInt32(_) | Values::UInt64(_) => {
                within(keeps, number!(UInt8Type, UInt16Type, UInt32Type, UInt64Type)?)
            }
            _ => return None,
        };
        Some(Self { column: bound.column, asks })
    }

    /// Whether a text of the column passes, of one that is made of texts.
    #[inline]
    pub(super) fn keeps_text(&self, text: &[u8]) -> bool {
        match &self.asks {
            Asks::Text(Keeps::Equal, bound) => text == bound.as_slice(),
            Asks::Text(keeps, bound) => keeps.holds(text.cmp(bound)),
            Asks::Within(..) | Asks::Float(..) => true,
        }
    }
}

fn text(value: &ArrayRef) -> Option<Vec<u8>> {
    let value = arrow_cast::cast(value, &arrow_schema::DataType::Utf8).ok()?;
    Some(value.as_string_opt::<i32>()?.value(0).as_bytes().to_vec())
}

fn within(keeps: Keeps, value: i128) -> Asks {
    match keeps {
        Keeps::Less => Asks::Within(i128::MIN, value.saturating_sub(1)),
        Keeps::AtMost => Asks::Within(i128::MIN, value),
        Keeps::Equal => Asks::Within(value, value),
        Keeps::AtLeast => Asks::Within(value, i128::MAX),
        Keeps::Greater => Asks::Within(value.saturating_add(1), i128::MAX),
    }
}

impl Column {
    /// Whether the latest value passes a test. A null does not.
    #[inline]
    pub(super) fn is_latest_kept(&self, test: &Test) -> bool {
        let mut row = Some(0);
        self.retain_passing(test, 1, &mut row);
        row.is_some() && !self.is_latest_null()
    }

    /// Takes those out of `rows` whose values do not pass a test; the latest `count` values are meant, and rows count from
    /// the first of them. None of the column may be null.
    #[inline]
    pub(super) fn retain_passing(&self, test: &Test, count: usize, rows: &mut impl InQuestion) {
        let first = self.len().saturating_sub(count);
        macro_rules! numbers {
            ($values:expr) => {{
                let latest = $values.get(first..).unwrap_or_default();
                if let Asks::Within(least, most) = test.asks {
                    rows.retain(|row| {
                        let value = latest.get(*row as usize).copied().map(i128::from);
                        value.is_none_or(|value| least <= value && value <= most)
                    });
                }
            }};
        }
        match (&self.values, &test.asks) {
            (Values::Int8(values), _) => numbers!(values),
            (Values::Int16(values), _) => numbers!(values),
            (Values::Int32(values) | Values::Date(values), _) => numbers!(values),
            (Values::Int64(values) | Values::Timestamp(values, ..), _) => numbers!(values),
            (Values::UInt8(values), _) => numbers!(values),
            (Values::UInt16(values), _) => numbers!(values),
            (Values::UInt32(values), _) => numbers!(values),
            (Values::UInt64(values), _) => numbers!(values),
            (Values::Decimal(values, ..), _) => numbers!(values),
            (Values::Float64(values), Asks::Float(keeps, bound)) => {
                let latest = values.get(first..).unwrap_or_default();
                rows.retain(|row| {
                    let order = latest.get(*row as usize).and_then(|value| value.partial_cmp(bound));
                    order.is_none_or(|order| keeps.holds(order))
                });
            }
            (Values::Text(values), Asks::Text(keeps, bound)) => {
                rows.retain(|row| keeps.holds(values.get(first + *row as usize).cmp(bound)));
            }
            (Values::Coded(codes), Asks::Text(keeps, bound)) => {
                rows.retain(|row| keeps.holds(codes.get(first + *row as usize).cmp(bound)));
            }
            _ => {}
        }
    }
}
