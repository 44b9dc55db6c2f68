//! Writing expressions in Rust, with the names of Polars.

use std::ops;
use std::time::Duration;

use super::aggregate::{Aggregate, AggregateFunction};
use super::{BinaryOp, CastMode, DatePart, Expr, Function, UnaryOp};
use crate::columnar::{DataType, Scalar, TimeUnit};

/// The value of the column of this name. A dot takes a struct apart if no column has the full name.
pub fn col(name: impl Into<String>) -> Expr {
    Expr::Column(name.into())
}

/// The same value for every row.
pub fn lit(value: impl Into<Scalar>) -> Expr {
    Expr::Literal(value.into())
}

/// The windows of this size that a time lies in: a key for [`key_by`](crate::query::DStream::key_by). They begin at
/// multiples of the size since 1970-01-01T00:00:00Z; see [`sliding_window`] for windows that overlap.
pub fn window(time: Expr, size: Duration) -> Expr {
    sliding_window(time, size, size)
}

/// The session that a time lies in: a key for [`key_by`](crate::query::DStream::key_by). A session holds the rows of a key
/// between which there is never a pause as long as the gap; it ends a gap after its last row.
pub fn session_window(time: Expr, gap: Duration) -> Expr {
    let gap = i64::try_from(gap.as_nanos()).unwrap_or(i64::MAX);
    time.call(Function::Session { gap })
}

/// The windows of this size that a time lies in, of which one begins every `slide`.
pub fn sliding_window(time: Expr, size: Duration, slide: Duration) -> Expr {
    let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    time.call(Function::Window { size: nanos(size), slide: nanos(slide) })
}

/// The first value that is not null.
pub fn coalesce(values: impl IntoIterator<Item = Expr>) -> Expr {
    Expr::Call(Function::Coalesce, values.into_iter().collect())
}

/// The smallest of several values (`min_horizontal` in Polars).
pub fn least(values: impl IntoIterator<Item = Expr>) -> Expr {
    Expr::Call(Function::Least, values.into_iter().collect())
}

/// The largest of several values (`max_horizontal` in Polars).
pub fn greatest(values: impl IntoIterator<Item = Expr>) -> Expr {
    Expr::Call(Function::Greatest, values.into_iter().collect())
}

/// Whether all conditions hold; true without conditions.
pub fn all_of(conditions: impl IntoIterator<Item = Expr>) -> Expr {
    conditions.into_iter().reduce(Expr::and).unwrap_or_else(|| lit(true))
}

/// Whether any condition holds; false without conditions.
pub fn any_of(conditions: impl IntoIterator<Item = Expr>) -> Expr {
    conditions.into_iter().reduce(Expr::or).unwrap_or_else(|| lit(false))
}

/// The value as another type; a value that the type cannot hold is an error.
pub fn cast(input: Expr, to: DataType) -> Expr {
    input.cast(to)
}

/// Starts a choice: `when(condition).then(value).otherwise(other)`.
pub fn when(condition: Expr) -> When {
    When { branches: Vec::new(), condition }
}

/// A choice that waits for a value.
#[derive(Debug, Clone)]
pub struct When {
    branches: Vec<(Expr, Expr)>,
    condition: Expr,
}

impl When {
    /// The value if the condition is true.
    pub fn then(mut self, value: Expr) -> WhenThen {
        self.branches.push((self.condition, value));
        WhenThen { branches: self.branches }
    }
}

/// A choice that can be ended or continued.
#[derive(Debug, Clone)]
pub struct WhenThen {
    branches: Vec<(Expr, Expr)>,
}

impl WhenThen {
    /// Another condition, tried if those before are not true.
    pub fn when(self, condition: Expr) -> When {
        When { branches: self.branches, condition }
    }

    /// The value if no condition is true.
    pub fn otherwise(self, value: Expr) -> Expr {
        Expr::Case { branches: self.branches, otherwise: Some(Box::new(value)) }
    }

    /// Null if no condition is true.
    pub fn otherwise_null(self) -> Expr {
        Expr::Case { branches: self.branches, otherwise: None }
    }
}

macro_rules! binary_methods {
    ($($(#[$doc:meta])* $name:ident => $op:ident),* $(,)?) => {
        $($(#[$doc])* #[must_use] pub fn $name(self, other: impl Into<Expr>) -> Self {
            Self::Binary(Box::new(self), BinaryOp::$op, Box::new(other.into()))
        })*
    };
}

macro_rules! call_methods {
    ($($(#[$doc:meta])* $name:ident ( $($argument:ident),* ) => $function:expr),* $(,)?) => {
        $($(#[$doc])* #[must_use] pub fn $name(self, $($argument: impl Into<Expr>),*) -> Self {
            Self::Call($function, vec![self, $($argument.into()),*])
        })*
    };
}

macro_rules! aggregate_methods {
    ($($(#[$doc:meta])* $name:ident => $function:ident),* $(,)?) => {
        $($(#[$doc])* pub fn $name(self) -> Aggregate {
            Aggregate::new(AggregateFunction::$function, Some(self))
        })*
    };
}

/// Comparison, logic and arithmetic. `+ - * / % !` work as operators too.
impl Expr {
    binary_methods! {
        /// Equal; NaN equals NaN.
        eq => Eq,
        /// Not equal.
        not_eq => NotEq,
        /// Less.
        lt => Lt,
        /// Less or equal.
        lt_eq => LtEq,
        /// Greater.
        gt => Gt,
        /// Greater or equal.
        gt_eq => GtEq,
        /// Both; SQL's rules for null.
        and => And,
        /// Either; SQL's rules for null.
        or => Or,
        /// Integer quotient, rounded down; null for a divisor of 0.
        floor_div => FloorDivide,
    }

    /// The value under another name.
    #[must_use]
    pub fn alias(self, name: impl Into<String>) -> Self {
        Self::Alias(Box::new(self), name.into())
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_null(self) -> Self {
        Self::Unary(UnaryOp::IsNull, Box::new(self))
    }

    /// Whether there is a value.
    #[must_use]
    pub fn is_not_null(self) -> Self {
        Self::Unary(UnaryOp::IsNotNull, Box::new(self))
    }

    /// Whether a float is not a number.
    #[must_use]
    pub fn is_nan(self) -> Self {
        Self::Unary(UnaryOp::IsNan, Box::new(self))
    }

    /// The value as another type; a value that the type cannot hold is an error.
    #[must_use]
    pub fn cast(self, to: DataType) -> Self {
        Self::Cast { input: Box::new(self), to, mode: CastMode::Checked }
    }

    /// The value as another type; a value that the type cannot hold becomes null.
    #[must_use]
    pub fn cast_lossy(self, to: DataType) -> Self {
        Self::Cast { input: Box::new(self), to, mode: CastMode::Lossy }
    }

    /// Whether the value is one of these.
    #[must_use]
    pub fn is_in<T: Into<Scalar>>(self, set: impl IntoIterator<Item = T>) -> Self {
        Self::IsIn(Box::new(self), set.into_iter().map(Into::into).collect())
    }

    /// Whether the value lies between two others, both included.
    #[must_use]
    pub fn between(self, low: impl Into<Expr>, high: impl Into<Expr>) -> Self {
        self.clone().gt_eq(low).and(self.lt_eq(high))
    }

    /// The value, or the nearer of these if it lies outside of them. A bound that is null is none.
    #[must_use]
    pub fn clip(self, low: impl Into<Expr>, high: impl Into<Expr>) -> Self {
        let (low, high) = (low.into(), high.into());
        let is_low = self.clone().lt(low.clone());
        when(is_low).then(low).when(self.clone().gt(high.clone())).then(high).otherwise(self)
    }

    /// The value, or another where it is null.
    #[must_use]
    pub fn fill_null(self, other: impl Into<Expr>) -> Self {
        coalesce([self, other.into()])
    }
}

/// Functions.
impl Expr {
    call_methods! {
        /// Without sign.
        abs() => Function::Abs,
        /// The largest whole number not above.
        floor() => Function::Floor,
        /// The smallest whole number not below.
        ceil() => Function::Ceil,
        /// Square root.
        sqrt() => Function::Sqrt,
        /// e to this power.
        exp() => Function::Exp,
        /// Natural logarithm.
        ln() => Function::Ln,
        /// Logarithm to a base.
        log(base) => Function::Log,
        /// To a power.
        pow(exponent) => Function::Pow,
        /// A hash, the same on every machine.
        hash() => Function::Hash,
        /// Characters of a text.
        length() => Function::Length,
        /// Bytes of a text or binary value.
        length_bytes() => Function::LengthBytes,
        /// In lower case.
        lower() => Function::Lower,
        /// In upper case.
        upper() => Function::Upper,
        /// Without white space at both ends.
        trim() => Function::Trim,
        /// In Unicode's normalization form C, in which equal texts have equal bytes.
        normalize() => Function::Normalize,
        /// Whether a text occurs in this one.
        contains(text) => Function::Contains,
        /// Whether this text starts with another.
        starts_with(text) => Function::StartsWith,
        /// Whether this text ends with another.
        ends_with(text) => Function::EndsWith,
        /// Part of a text: 0-based start (negative from the end) and length, in characters.
        substring(start, length) => Function::Substring,
        /// Every occurrence of a plain text replaced.
        replace(from, to) => Function::Replace,
        /// Values in a list.
        list_length() => Function::ListLength,
        /// The 0-based item of a list, negative from the end; null outside.
        list_get(index) => Function::ListGet,
        /// Sum of a list.
        list_sum() => Function::ListSum,
        /// Mean of a list.
        list_mean() => Function::ListMean,
        /// Smallest of a list.
        list_min() => Function::ListMin,
        /// Largest of a list.
        list_max() => Function::ListMax,
    }

    fn call(self, function: Function) -> Self {
        Self::Call(function, vec![self])
    }

    /// Rounded half away from zero to this many digits after the point.
    #[must_use]
    pub fn round(self, digits: u32) -> Self {
        self.call(Function::Round(digits))
    }

    /// The parts of a text between separators, as a list.
    #[must_use]
    pub fn split(self, separator: impl Into<String>) -> Self {
        self.call(Function::Split(Some(separator.into())))
    }

    /// The words of a text, as a list: what stands between runs of white space.
    #[must_use]
    pub fn split_whitespace(self) -> Self {
        self.call(Function::Split(None))
    }

    /// A capture group of the first match of a regular expression; null without a match.
    #[must_use]
    pub fn extract(self, regex: impl Into<String>, group: u32) -> Self {
        self.call(Function::Extract(regex.into(), group))
    }

    /// Whether a regular expression matches anywhere.
    #[must_use]
    pub fn matches(self, regex: impl Into<String>) -> Self {
        self.call(Function::Matches(regex.into()))
    }

    /// Every match of a regular expression replaced.
    #[must_use]
    pub fn replace_regex(self, regex: impl Into<String>, with: impl Into<String>) -> Self {
        self.call(Function::ReplaceRegex(regex.into(), with.into()))
    }

    /// A timestamp in microseconds, read by a strftime pattern; text that does not fit is an error.
    #[must_use]
    pub fn parse_timestamp(self, format: impl Into<String>) -> Self {
        self.call(Function::ParseTimestamp { format: format.into(), unit: TimeUnit::Microsecond, lossy: false })
    }

    /// A timestamp in microseconds, read by a strftime pattern; text that does not fit becomes null.
    #[must_use]
    pub fn parse_timestamp_lossy(self, format: impl Into<String>) -> Self {
        self.call(Function::ParseTimestamp { format: format.into(), unit: TimeUnit::Microsecond, lossy: true })
    }

    /// Time as text, by a strftime pattern.
    #[must_use]
    pub fn format_timestamp(self, format: impl Into<String>) -> Self {
        self.call(Function::FormatTimestamp(format.into()))
    }

    /// The start of the span of this length that holds the time. Spans of 0 are refused when the query is typed.
    #[must_use]
    pub fn truncate(self, span: Duration) -> Self {
        self.call(Function::Truncate(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// A part of the date or the time of day.
    #[must_use]
    pub fn part(self, part: DatePart) -> Self {
        self.call(Function::Part(part))
    }

    /// Whether this is a [`window`] or a [`session_window`], under another name perhaps: it can stand among the keys of a stream only.
    pub fn is_window(&self) -> bool {
        match self {
            Self::Alias(inner, _) => inner.is_window(),
            other => matches!(other, Self::Call(Function::Window { .. } | Function::Session { .. }, _)),
        }
    }

    /// Units since 1970-01-01T00:00:00Z, or in a span of time.
    #[must_use]
    pub fn epoch(self, unit: TimeUnit) -> Self {
        self.call(Function::Epoch(unit))
    }

    /// A field of a struct.
    #[must_use]
    pub fn field(self, name: impl Into<String>) -> Self {
        self.call(Function::Field(name.into()))
    }
}

/// Aggregates: what a keyed reduce makes of all values of a group. Nulls are skipped, except by `first` and `last`.
impl Expr {
    aggregate_methods! {
        /// Values that are not null.
        count => Count,
        /// Sum; null without values.
        sum => Sum,
        /// Smallest; NaN only if there is nothing else.
        min => Min,
        /// Largest; NaN only if there is nothing else.
        max => Max,
        /// Arithmetic mean.
        mean => Mean,
        /// Sum of floats by plain additions in one fixed order ([`AggregateFunction::OrderedSum`]): faster where memory is
        /// not the limit, and rounded at each step.
        ordered_sum => OrderedSum,
        /// That sum, divided by the count.
        ordered_mean => OrderedMean,
        /// The value of the first row, null or not.
        first => First,
        /// The value of the last row, null or not.
        last => Last,
        /// Different values.
        n_unique => NUnique,
        /// Whether any value is true.
        any => Any,
        /// Whether all values are true.
        all => All,
    }

    /// Variance; `ddof` is taken off the count in the divisor (1 for a sample).
    pub fn var(self, ddof: u8) -> Aggregate {
        Aggregate::new(AggregateFunction::Variance(ddof), Some(self))
    }

    /// Variance of floats by plain arithmetic in one fixed order ([`AggregateFunction::OrderedVariance`]).
    pub fn ordered_var(self, ddof: u8) -> Aggregate {
        Aggregate::new(AggregateFunction::OrderedVariance(ddof), Some(self))
    }

    /// The square root of [`Expr::ordered_var`].
    pub fn ordered_std(self, ddof: u8) -> Aggregate {
        Aggregate::new(AggregateFunction::OrderedStdDev(ddof), Some(self))
    }

    /// Standard deviation; `ddof` is taken off the count in the divisor (1 for a sample).
    pub fn std(self, ddof: u8) -> Aggregate {
        Aggregate::new(AggregateFunction::StdDev(ddof), Some(self))
    }

    /// The value below which this share of the values lies, between 0 and 1, linearly interpolated.
    pub fn quantile(self, share: f64) -> Aggregate {
        Aggregate::new(AggregateFunction::Quantile(share), Some(self))
    }

    /// All texts in row order, one after another.
    pub fn concat(self, separator: impl Into<String>) -> Aggregate {
        Aggregate::new(AggregateFunction::Concat(separator.into()), Some(self))
    }
}

macro_rules! operators {
    ($($trait:ident :: $method:ident => $op:ident),* $(,)?) => {
        $(impl<T: Into<Expr>> ops::$trait<T> for Expr {
            type Output = Expr;

            fn $method(self, other: T) -> Expr {
                Self::Binary(Box::new(self), BinaryOp::$op, Box::new(other.into()))
            }
        })*
    };
}

operators! {
    Add::add => Add, Sub::sub => Subtract, Mul::mul => Multiply, Div::div => Divide, Rem::rem => Modulo,
}

impl ops::Not for Expr {
    type Output = Self;

    fn not(self) -> Self {
        Self::Unary(UnaryOp::Not, Box::new(self))
    }
}

impl ops::Neg for Expr {
    type Output = Self;

    fn neg(self) -> Self {
        Self::Unary(UnaryOp::Negate, Box::new(self))
    }
}

/// Any native value is a literal: `col("age").gt(18)`.
impl<T: Into<Scalar>> From<T> for Expr {
    fn from(value: T) -> Self {
        lit(value)
    }
}
