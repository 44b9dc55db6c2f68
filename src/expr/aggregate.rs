//! What a keyed reduce makes of all rows of a group.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Expr, TypedExpr};
use crate::columnar::{DataType, Field};

/// An aggregate: a function, the values it sees, the rows it sees, and its name.
///
/// ```
/// use pelton::expr::{col, len, lit};
///
/// let errors = len().filter(col("status").gt_eq(lit(500))).alias("errors");
/// assert_eq!(errors.to_string(), "count(*) FILTER (WHERE status >= 500) AS errors");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// What is made of the values.
    pub function: AggregateFunction,
    /// The values; none for [`AggregateFunction::Len`].
    pub input: Option<Expr>,
    /// Rows for which this is not true are left out.
    pub filter: Option<Expr>,
    /// The column's name, if it is not the one [`Aggregate::output_name`] makes up.
    pub name: Option<String>,
}

/// What is made of the values of a group. Nulls are skipped, except by `Len`, `First` and `Last`; a group without values
/// gives null, except for the counts, which give 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum AggregateFunction {
    /// `() -> Int64`. Rows.
    Len,
    /// `(any) -> Int64`. Values that are not null.
    Count,
    /// `(number or duration)`. Signed integers give `Int64`, unsigned `UInt64`, floats `Float64` (the exact sum, rounded
    /// once), decimals `Decimal128(38, scale)`, durations the same type. Out of range is an error that names the column and the key.
    Sum,
    /// `(plain) -> same`. NaN only if there is nothing else; of equal zeros, -0.0.
    Min,
    /// `(plain) -> same`. NaN only if there is nothing else; of equal zeros, 0.0.
    Max,
    /// `(number) -> Float64`. The exact sum, divided by the count, rounded.
    Mean,
    /// `(float) -> Float64`. The sum by plain additions in one fixed order, each of them rounded: row by row inside a cut
    /// (a partition of a batch; of a program's input, 1,048,576 rows), then cut by cut.
    OrderedSum,
    /// `(float) -> Float64`. That sum, divided by the count.
    OrderedMean,
    /// `(float) -> Float64`, with the degrees of freedom taken off the count. By one pass of plain arithmetic in the same
    /// order (Welford inside a cut, Chan's formula between cuts). Null if nothing is left to divide by.
    OrderedVariance(u8),
    /// `(float) -> Float64`. The square root of that variance.
    OrderedStdDev(u8),
    /// `(number) -> Float64`, with the degrees of freedom taken off the count. Null if nothing is left to divide by.
    Variance(u8),
    /// `(number) -> Float64`. The square root of the variance.
    StdDev(u8),
    /// `(any) -> same`. The value in the first row.
    First,
    /// `(any) -> same`. The value in the last row.
    Last,
    /// `(plain) -> Int64`. Different values that are not null.
    NUnique,
    /// `(number) -> Float64`. The share lies in 0..=1; linear interpolation between the two nearest values.
    Quantile(#[serde(with = "crate::columnar::scalar::float_bits")] f64),
    /// `(Boolean) -> Boolean`. Whether one is true.
    Any,
    /// `(Boolean) -> Boolean`. Whether none is false.
    All,
    /// `(text) -> text`. In row order, with this separator.
    Concat(String),
}

impl AggregateFunction {
    /// The function's name in SQL text and in column names.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Len | Self::Count => "count",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Mean => "mean",
            Self::OrderedSum => "ordered_sum",
            Self::OrderedMean => "ordered_mean",
            Self::OrderedVariance(0) => "ordered_var_pop",
            Self::OrderedVariance(_) => "ordered_var",
            Self::OrderedStdDev(0) => "ordered_std_pop",
            Self::OrderedStdDev(_) => "ordered_std",
            Self::Variance(0) => "var_pop",
            Self::Variance(_) => "var",
            Self::StdDev(0) => "std_pop",
            Self::StdDev(_) => "std",
            Self::First => "first",
            Self::Last => "last",
            Self::NUnique => "n_unique",
            Self::Quantile(_) => "quantile",
            Self::Any => "any",
            Self::All => "all",
            Self::Concat(_) => "concat",
        }
    }
}

impl AggregateFunction {
    /// Whether the answer depends on where rows are cut, so that cuts must lie at places of their own.
    pub fn is_ordered(&self) -> bool {
        matches!(self, Self::OrderedSum | Self::OrderedMean | Self::OrderedVariance(_) | Self::OrderedStdDev(_))
    }

    /// Whether the answer depends on the order of a group's rows.
    pub fn follows_order(&self) -> bool {
        self.is_ordered() || matches!(self, Self::First | Self::Last | Self::Concat(_))
    }
}

/// The number of rows.
pub fn len() -> Aggregate {
    Aggregate::new(AggregateFunction::Len, None)
}

impl Aggregate {
    /// An aggregate of these values.
    pub fn new(function: AggregateFunction, input: Option<Expr>) -> Self {
        Self { function, input, filter: None, name: None }
    }

    /// The same under another name.
    #[must_use]
    pub fn alias(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The same over the rows for which the condition is true.
    #[must_use]
    pub fn filter(mut self, condition: Expr) -> Self {
        self.filter = Some(match self.filter {
            Some(filter) => filter.and(condition),
            None => condition,
        });
        self
    }

    /// The name of the column it makes: its alias, else that of its input, else `len`. As in Polars.
    pub fn output_name(&self) -> String {
        match (&self.name, &self.input) {
            (Some(name), _) => name.clone(),
            (None, Some(input)) => input.output_name(),
            (None, None) => "len".to_owned(),
        }
    }
}

/// An aggregate whose input and result are typed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TypedAggregate {
    /// What is made of the values.
    pub function: AggregateFunction,
    /// The values.
    pub input: Option<TypedExpr>,
    /// A `Boolean`: rows for which it is not true are left out.
    pub filter: Option<TypedExpr>,
    /// Name of the result's column.
    pub name: String,
    /// Type of the result.
    pub data_type: DataType,
}

impl TypedAggregate {
    /// The column it makes. Counts are never null; any other aggregate is, of no values.
    pub fn field(&self) -> Field {
        let never_null =
            matches!(self.function, AggregateFunction::Len | AggregateFunction::Count | AggregateFunction::NUnique);
        Field::new(self.name.as_str(), self.data_type.clone(), !never_null)
    }

    /// The columns that it reads, by index.
    pub fn columns(&self) -> BTreeSet<usize> {
        self.input.iter().chain(&self.filter).flat_map(TypedExpr::columns).collect()
    }

    /// The same over columns that lie elsewhere.
    #[must_use]
    pub fn map_columns(&self, to: &dyn Fn(usize) -> usize) -> Self {
        Self {
            input: self.input.as_ref().map(|input| input.map_columns(to)),
            filter: self.filter.as_ref().map(|filter| filter.map_columns(to)),
            ..self.clone()
        }
    }
}
