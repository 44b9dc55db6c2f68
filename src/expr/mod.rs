//! What is computed per row: expressions, as data.
//!
//! An [`Expr`] is a tree that names columns. It is typed once against a schema ([`typing`]) and becomes a [`TypedExpr`]
//! ([`types`]), in which every column is an index, every conversion is written out and every user mistake has been found.
//! Backends see typed expressions only. Names are those of Polars; in text the same expressions are SQL ([`parse`], feature
//! `sql`).
//!
//! ```
//! use pelton::expr::{col, lit, when};
//!
//! let adult = col("age").gt_eq(lit(18));
//! let label = when(adult).then(lit("adult")).otherwise(lit("child")).alias("label");
//! assert_eq!(label.to_string(), "CASE WHEN age >= 18 THEN 'adult' ELSE 'child' END AS label");
//! ```

pub mod aggregate;
mod aggregate_typing;
mod builder;
mod coerce;
pub mod display;
pub mod function;
pub mod literal;
mod operators;
#[cfg(feature = "sql")]
pub mod parse;
mod signature;
pub mod span;
pub mod time_pattern;
pub mod types;
pub mod typing;

pub use aggregate::{Aggregate, AggregateFunction, TypedAggregate, len};
pub use builder::{
    When, WhenThen, all_of, any_of, cast, coalesce, col, greatest, least, lit, session_window, sliding_window, when,
    window,
};
pub use function::{DatePart, Function};
pub use types::{TypedExpr, TypedNode};
pub use typing::check_names;

use serde::{Deserialize, Serialize};

use crate::columnar::{DataType, Scalar};

/// A computation on the columns of one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Expr {
    /// The value of a column.
    Column(String),
    /// The same value for every row. Its type bends to what it meets: `col("i8") + lit(1)` is an `Int8`.
    Literal(Scalar),
    /// The value of an expression under another name.
    Alias(Box<Expr>, String),
    /// An operation on one value.
    Unary(UnaryOp, Box<Expr>),
    /// An operation on two values.
    Binary(Box<Expr>, BinaryOp, Box<Expr>),
    /// The value as another type.
    Cast {
        /// The value.
        input: Box<Expr>,
        /// The type wanted.
        to: DataType,
        /// What happens to a value that the type cannot hold.
        mode: CastMode,
    },
    /// The value of the first branch whose condition is true, else `otherwise`, else null.
    Case {
        /// Conditions and values, tried in order.
        branches: Vec<(Expr, Expr)>,
        /// The value when no condition is true.
        otherwise: Option<Box<Expr>>,
    },
    /// Whether the value is one of these literals. Null if the value is null, or if it is not found and a member is null.
    IsIn(Box<Expr>, Vec<Scalar>),
    /// A function of several values.
    Call(Function, Vec<Expr>),
}

/// Operations on one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum UnaryOp {
    /// Logical not; null stays null.
    Not,
    /// Minus.
    Negate,
    /// Whether there is no value. Never null.
    IsNull,
    /// Whether there is a value. Never null.
    IsNotNull,
    /// Whether a float is not a number. Null stays null.
    IsNan,
}

/// Operations on two values. Null with anything is null, except in `And` and `Or`, which follow SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BinaryOp {
    /// Sum. Integers and decimals: an error when out of range. Also time plus duration.
    Add,
    /// Difference. Two timestamps or dates give a duration.
    Subtract,
    /// Product.
    Multiply,
    /// Quotient; integers give a `Float64`, decimals a decimal.
    Divide,
    /// Quotient of integers, rounded down; null when the divisor is 0.
    FloorDivide,
    /// What `FloorDivide` leaves, with the sign of the divisor; null when an integer divisor is 0.
    Modulo,
    /// Equal. NaN equals NaN; -0.0 equals 0.0.
    Eq,
    /// Not equal.
    NotEq,
    /// Less. NaN is greater than every other float.
    Lt,
    /// Less or equal.
    LtEq,
    /// Greater.
    Gt,
    /// Greater or equal.
    GtEq,
    /// Both. False with null is false.
    And,
    /// Either. True with null is true.
    Or,
}

impl BinaryOp {
    /// Whether the result is the answer to a comparison.
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::NotEq | Self::Lt | Self::LtEq | Self::Gt | Self::GtEq)
    }

    /// The comparison with its sides in the other order.
    #[must_use]
    pub fn swapped(self) -> Self {
        match self {
            Self::Lt => Self::Gt,
            Self::LtEq => Self::GtEq,
            Self::Gt => Self::Lt,
            Self::GtEq => Self::LtEq,
            other => other,
        }
    }

    /// Whether this is `And` or `Or`.
    pub fn is_logical(self) -> bool {
        matches!(self, Self::And | Self::Or)
    }
}

/// What a cast does with a value that the new type cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CastMode {
    /// It is an error that names the column and the value.
    Checked,
    /// It becomes null.
    Lossy,
}
