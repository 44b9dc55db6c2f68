//! Literals from SQL text.

use sqlparser::ast::{Expr as Tree, Interval, Spanned, TypedString, Value, ValueWithSpan};

use super::Reader;
use crate::columnar::{DataType, Scalar, TimeUnit};
use crate::error::{Error, Result};
use crate::expr::{literal, span};

impl Reader<'_> {
    pub(super) fn value(&self, value: &ValueWithSpan) -> Result<Scalar> {
        Ok(match &value.value {
            Value::Number(digits, _) => {
                number(digits, "").ok_or_else(|| self.wrong(value, format!("{digits} is not a number that fits")))?
            }
            Value::SingleQuotedString(text) => Scalar::Utf8(text.clone()),
            Value::Boolean(value) => Scalar::Boolean(*value),
            Value::Null => Scalar::Null,
            Value::HexStringLiteral(digits) => Scalar::Binary(
                bytes(digits).ok_or_else(|| self.wrong(value, format!("X'{digits}' is not a row of bytes")))?,
            ),
            other => {
                return Err(self
                    .wrong(value, format!("the literal {other} is not known"))
                    .advice("write text in single quotes, with '' for a quote"));
            }
        })
    }

    /// A number after a minus.
    pub(super) fn negative(&self, value: &ValueWithSpan) -> Result<Scalar> {
        match &value.value {
            Value::Number(digits, _) => {
                number(digits, "-").ok_or_else(|| self.wrong(value, format!("-{digits} is not a number that fits")))
            }
            _ => self.value(value),
        }
    }

    /// `DATE '2024-01-31'` and its like.
    pub(super) fn typed_string(&self, typed: &TypedString, tree: &Tree) -> Result<Scalar> {
        let text = match &typed.value.value {
            Value::SingleQuotedString(text) => text,
            other => return Err(self.wrong(tree, format!("a text is expected, not {other}"))),
        };
        let data_type = self.data_type(&typed.data_type, tree.span().start)?;
        let value = match &data_type {
            DataType::Date32 => literal::date(text),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => literal::timestamp(text, zone.as_deref()),
            other => match literal::read(text, other)? {
                Some(value) => Ok(value),
                None => Err(Error::invalid_query(format!("'{text}' is not a value of type {other}"))),
            },
        };
        value.map_err(|error| self.beside(error, tree))
    }

    /// `INTERVAL '10 seconds'`, `INTERVAL 10 SECOND`, `INTERVAL '10' SECOND`.
    pub(super) fn interval(&self, interval: &Interval, tree: &Tree) -> Result<Scalar> {
        let mut text = match self.literal(&interval.value, "an interval")? {
            Scalar::Utf8(text) => text,
            Scalar::Int64(count) => count.to_string(),
            _ => return Err(self.wrong(tree, "an interval is a text such as '10 seconds'")),
        };
        if let Some(unit) = &interval.leading_field {
            text = format!("{text} {unit}");
        }
        if interval.last_field.is_some() {
            return Err(self
                .wrong(tree, "intervals from unit to unit are not known")
                .advice("write '1 hour 30 minutes'"));
        }
        let nanos = span::parse(&text).map_err(|error| self.beside(error, tree))?;
        Ok(if nanos % 1_000 == 0 {
            Scalar::Duration(nanos / 1_000, TimeUnit::Microsecond)
        } else {
            Scalar::Duration(nanos, TimeUnit::Nanosecond)
        })
    }
}

/// An integer if it is written as one, else a float.
fn number(digits: &str, sign: &str) -> Option<Scalar> {
    let text = format!("{sign}{}", digits.replace('_', ""));
    if text.contains(['.', 'e', 'E']) {
        return text.parse().ok().filter(|value: &f64| value.is_finite()).map(Scalar::Float64);
    }
    text.parse().map(Scalar::Int64).or_else(|_| text.parse().map(Scalar::UInt64)).ok()
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2))
        .map(|pair| u8::from_str_radix(pair?, 16).ok())
        .collect()
}
