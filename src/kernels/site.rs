//! Where in an expression a value could not be computed, in words for the user.
//!
//! Both the reference and the CPU kernels report through a [`Site`], so that one mistake reads the same everywhere.

use crate::columnar::{DataType, Scalar};
use crate::error::{Error, ErrorKind, Place};
use crate::expr::{TypedExpr, TypedNode};

/// An expression as its errors name it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Site {
    /// The expression as SQL text, in quotes.
    text: String,
    /// The leftmost column in it.
    column: Option<String>,
    /// What it makes.
    pub(crate) data_type: DataType,
}

impl Site {
    pub(crate) fn of(expr: &TypedExpr) -> Self {
        Self { text: format!("`{expr}`"), column: leftmost_column(expr), data_type: expr.data_type.clone() }
    }

    fn place(&self) -> Place {
        self.column.iter().fold(Place::default(), |place, column| place.column(column))
    }

    /// A result left the range of its type.
    pub(crate) fn overflow(&self, row: usize) -> Error {
        let message = format!("{} overflowed {} in row {row}", self.text, self.data_type);
        Error::new(ErrorKind::Overflow, message).at(self.place()).advice("cast the operands to a wider type first")
    }

    /// A checked cast met a value that the new type cannot hold.
    pub(crate) fn uncastable(&self, value: &str, row: usize) -> Error {
        let message = format!("{value} in row {row} of {} is not a valid {}", self.text, self.data_type);
        let kind = ErrorKind::Overflow;
        Error::new(kind, message).at(self.place()).advice("use a lossy cast (TRY_CAST in SQL) to read it as null")
    }

    /// A text does not follow the pattern for times.
    pub(crate) fn unreadable_time(&self, value: &str, format: &str, row: usize) -> Error {
        let message = format!("\"{value}\" in row {row} of {} does not follow the pattern \"{format}\"", self.text);
        let kind = ErrorKind::Overflow;
        Error::new(kind, message).at(self.place()).advice("read it lossily to have null instead")
    }

    /// A time lies outside the calendar.
    pub(crate) fn outside_calendar(&self, row: usize) -> Error {
        let message = format!("the time in row {row} of {} lies outside the calendar", self.text);
        let kind = ErrorKind::Overflow;
        Error::new(kind, message).at(self.place()).advice("check the unit of the column")
    }

    /// Typing let something through that no kernel knows.
    pub(crate) fn unknown(&self, what: &dyn std::fmt::Debug) -> Error {
        Error::internal(format!("no kernel for {} of type {}: {what:?}", self.text, self.data_type))
    }
}

/// A value as errors show it: text in quotes, numbers plain.
pub(crate) fn show(value: &Scalar) -> String {
    match value {
        Scalar::Null => "null".to_owned(),
        Scalar::Boolean(value) => value.to_string(),
        Scalar::Int64(value) => value.to_string(),
        Scalar::UInt64(value) => value.to_string(),
        Scalar::Float64(value) => format!("{value:?}"),
        Scalar::Utf8(value) => format!("{value:?}"),
        Scalar::Decimal128 { unscaled, scale, .. } => format!("{unscaled}e{}", -i32::from(*scale)),
        Scalar::Date32(days) => format!("day {days}"),
        Scalar::Timestamp(value, unit, _) | Scalar::Duration(value, unit) => format!("{value} {unit:?}s"),
        other => format!("{other:?}"),
    }
}

fn leftmost_column(expr: &TypedExpr) -> Option<String> {
    match &expr.node {
        TypedNode::Column(_, name) => Some(name.clone()),
        TypedNode::Literal(_) => None,
        TypedNode::Unary(_, input) | TypedNode::Cast(input, _) | TypedNode::IsIn(input, _) => leftmost_column(input),
        TypedNode::Binary(left, _, right) => leftmost_column(left).or_else(|| leftmost_column(right)),
        TypedNode::Case(branches, otherwise) => {
            let values = branches.iter().flat_map(|(condition, value)| [value, condition]);
            values.chain(otherwise.as_deref()).find_map(leftmost_column)
        }
        TypedNode::Call(_, arguments) => arguments.iter().find_map(leftmost_column),
    }
}
