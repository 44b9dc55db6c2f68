//! The peer: Polars runs the same chain on the same columns. Feature `polars`.
//!
//! A typed chain is written as a lazy query, conversions included, so that both engines compute the same thing. What
//! cannot be said to Polars is refused with the reason, and the case is then measured without it.

use std::sync::Arc;

use polars::prelude::{self as pl, IntoLazy, LazyFileListReader};

use super::chain::TypedQuery;
use super::text::TextFile;
use crate::columnar::polars::{from_frame_whole, to_frame};
use crate::columnar::{DataType, Field, RecordBatch, Scalar, Schema};
use crate::error::{Error, ErrorKind, Result};
use crate::expr::{AggregateFunction, BinaryOp, CastMode, TypedAggregate, TypedExpr, TypedNode, UnaryOp};
use crate::generate::TextForm;

/// A chain as Polars runs it, with the rows in one piece.
pub(super) struct Peer {
    query: pl::LazyFrame,
}

impl Peer {
    /// The chain over these rows.
    ///
    /// # Errors
    /// `Unsupported`: what cannot be said to Polars.
    pub(super) fn new(query: &TypedQuery, rows: &RecordBatch) -> Result<Self> {
        Self::over(query, to_frame(rows)?.lazy())
    }

    /// The chain over the rows of a file, which each run reads.
    ///
    /// # Errors
    /// `Unsupported`: what cannot be said to Polars.
    pub(super) fn over_file(query: &TypedQuery, file: &TextFile) -> Result<Self> {
        Self::over(query, scan(file)?)
    }

    fn over(query: &TypedQuery, mut lazy: pl::LazyFrame) -> Result<Self> {
        if let Some(filter) = &query.filter {
            lazy = lazy.filter(expression(filter)?);
        }
        let named = |columns: &[(String, TypedExpr)]| {
            let one = |(name, expr): &(String, TypedExpr)| Ok(expression(expr)?.alias(name.as_str()));
            columns.iter().map(one).collect::<Result<Vec<_>>>()
        };
        if !query.select.is_empty() {
            lazy = lazy.select(named(&query.select)?);
        }
        if !query.aggregates.is_empty() {
            let aggregates = query.aggregates.iter().map(aggregate).collect::<Result<Vec<_>>>()?;
            lazy = match query.keys.as_slice() {
                [] => lazy.select(aggregates),
                keys => lazy.group_by(named(keys)?).agg(aggregates),
            };
        }
        Ok(Self { query: lazy })
    }

    /// The answer, as Polars has it.
    pub(super) fn frame(&self) -> Result<pl::DataFrame> {
        self.query.clone().collect().map_err(|error| {
            Error::new(ErrorKind::Unsupported, format!("Polars refuses the query: {error}")).because(error)
        })
    }

    /// The answer as a batch.
    pub(super) fn answer(&self) -> Result<RecordBatch> {
        from_frame_whole(&self.frame()?)
    }
}

/// A file as Polars reads it, with the columns that ours has.
fn scan(file: &TextFile) -> Result<pl::LazyFrame> {
    let path = file.path().to_str().ok_or_else(|| unsaid("a path that is no text"))?;
    let schema = Arc::clone(to_frame(&RecordBatch::new_empty(file.schema()))?.schema());
    let separated = |separator, header| {
        let reader = pl::LazyCsvReader::new(path.into()).with_separator(separator).with_has_header(header);
        reader.with_schema(Some(Arc::clone(&schema)))
    };
    let lazy = match file.form() {
        TextForm::Json => pl::LazyJsonLineReader::new(path.into()).with_schema(Some(schema)).finish(),
        TextForm::Separated { separator, header } => separated(separator, header).finish(),
        // No line has this byte in it.
        TextForm::Lines => separated(0x1f, false).with_quote_char(None).finish(),
    };
    lazy.map_err(|error| unsaid(&format!("the file ({error})")))
}

/// The columns of the answer in which Polars has 0 for no values: sums.
pub(super) fn zero_for_nothing(query: &TypedQuery) -> Vec<usize> {
    let functions = query.aggregates.iter().map(|aggregate| &aggregate.function);
    let is_sum = |function| matches!(function, &AggregateFunction::Sum | &AggregateFunction::OrderedSum);
    let sums = functions.enumerate().filter(|(_, function)| is_sum(*function));
    sums.map(|(place, _)| query.keys.len() + place).collect()
}

fn aggregate(aggregate: &TypedAggregate) -> Result<pl::Expr> {
    let values = || -> Result<pl::Expr> {
        let Some(input) = &aggregate.input else { return Err(unsaid("an aggregate without values")) };
        // Polars adds up in the type of the column, where ours takes a wider one.
        let widened = matches!(aggregate.function, AggregateFunction::Sum | AggregateFunction::OrderedSum)
            && input.data_type != aggregate.data_type
            && !matches!(aggregate.data_type, DataType::Decimal128(..));
        let values = expression(input)?;
        let values = if widened { values.cast(data_type(&aggregate.data_type)?) } else { values };
        match &aggregate.filter {
            Some(filter) => Ok(values.filter(expression(filter)?)),
            None => Ok(values),
        }
    };
    let made = match &aggregate.function {
        AggregateFunction::Len => match &aggregate.filter {
            Some(filter) => expression(filter)?.sum(),
            None => pl::len(),
        },
        AggregateFunction::Count => values()?.count(),
        AggregateFunction::Sum | AggregateFunction::OrderedSum => values()?.sum(),
        AggregateFunction::Mean | AggregateFunction::OrderedMean => values()?.mean(),
        AggregateFunction::Min => values()?.min(),
        AggregateFunction::Max => values()?.max(),
        AggregateFunction::Variance(ddof) | AggregateFunction::OrderedVariance(ddof) => values()?.var(*ddof),
        AggregateFunction::StdDev(ddof) | AggregateFunction::OrderedStdDev(ddof) => values()?.std(*ddof),
        other => return Err(unsaid(&format!("the aggregate {}", other.name()))),
    };
    Ok(made.alias(aggregate.name.as_str()))
}

fn expression(expr: &TypedExpr) -> Result<pl::Expr> {
    Ok(match &expr.node {
        TypedNode::Column(_, name) => pl::col(name.as_str()),
        TypedNode::Literal(value) => literal(value, &expr.data_type)?,
        TypedNode::Unary(operation, input) => {
            let input = expression(input)?;
            match operation {
                UnaryOp::Not => input.not(),
                UnaryOp::Negate => -input,
                UnaryOp::IsNull => input.is_null(),
                UnaryOp::IsNotNull => input.is_not_null(),
                UnaryOp::IsNan => input.is_nan(),
            }
        }
        TypedNode::Binary(left, BinaryOp::Multiply, right) => {
            let (left, right) = (expression(left)?, expression(right)?);
            // Polars rounds a product of decimals to the larger scale of the two: one of them gets the scale of the
            // exact product first.
            let is_decimal = matches!(expr.data_type, DataType::Decimal128(..));
            let left = if is_decimal { left.cast(data_type(&expr.data_type)?) } else { left };
            left * right
        }
        TypedNode::Binary(left, operation, right) => binary(expression(left)?, *operation, expression(right)?),
        TypedNode::Cast(input, mode) => {
            let to = data_type(&expr.data_type)?;
            let input = expression(input)?;
            if *mode == CastMode::Checked { input.strict_cast(to) } else { input.cast(to) }
        }
        TypedNode::Case(branches, otherwise) => {
            let last = match otherwise {
                Some(value) => expression(value)?,
                None => literal(&Scalar::Null, &expr.data_type)?,
            };
            branches.iter().rev().try_fold(last, |otherwise, (condition, value)| {
                Ok::<_, Error>(pl::when(expression(condition)?).then(expression(value)?).otherwise(otherwise))
            })?
        }
        TypedNode::IsIn(..) => return Err(unsaid("in (…)")),
        TypedNode::Call(function, _) => return Err(unsaid(&format!("the function {function:?}"))),
    })
}

fn binary(left: pl::Expr, operation: BinaryOp, right: pl::Expr) -> pl::Expr {
    match operation {
        BinaryOp::Add => left + right,
        BinaryOp::Subtract => left - right,
        BinaryOp::Multiply => left * right,
        BinaryOp::Divide => left / right,
        BinaryOp::FloorDivide => left.floor_div(right),
        BinaryOp::Modulo => left % right,
        BinaryOp::Eq => left.eq(right),
        BinaryOp::NotEq => left.neq(right),
        BinaryOp::Lt => left.lt(right),
        BinaryOp::LtEq => left.lt_eq(right),
        BinaryOp::Gt => left.gt(right),
        BinaryOp::GtEq => left.gt_eq(right),
        BinaryOp::And => left.and(right),
        BinaryOp::Or => left.or(right),
    }
}

/// A column of one type, carried over to Polars as columns are.
fn carried(values: &[Scalar], to: &DataType) -> Result<pl::Column> {
    let schema = Schema::new(vec![Field::new("literal", to.clone(), true)]);
    let batch = RecordBatch::try_new(schema.into(), vec![Scalar::to_array(values, to)?])?;
    let frame = to_frame(&batch)?;
    frame.columns().first().cloned().ok_or_else(|| Error::internal("a column was lost on the way to Polars"))
}

fn data_type(to: &DataType) -> Result<pl::DataType> {
    Ok(carried(&[], to)?.dtype().clone())
}

fn literal(value: &Scalar, data_type: &DataType) -> Result<pl::Expr> {
    let column = carried(std::slice::from_ref(value), data_type)?;
    let value = column.get(0).map_err(|error| unsaid(&format!("the value {value:?} ({error})")))?.into_static();
    Ok(pl::lit(pl::Scalar::new(column.dtype().clone(), value)))
}

fn unsaid(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} is not translated for Polars"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::chain::Query;
    use crate::cli::bench::data;
    use crate::cli::bench::suite::{Chain, GROUPBY, Rows, SCAN};

    #[test]
    fn every_chain_of_the_suites_can_be_said() {
        for case in GROUPBY.cases.iter().chain(SCAN.cases) {
            let rows = data::make(case.rows, 500).unwrap();
            let query = Query::parse(&case.chain).unwrap().typed(rows.schema_ref()).unwrap();
            Peer::new(&query, &rows).unwrap().answer().unwrap();
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused_by_name() {
        let rows = data::make(Rows::Values, 3).unwrap();
        let query = Chain { aggregates: &["median(f)"], ..Chain::default() };
        let query = Query::parse(&query).unwrap().typed(rows.schema_ref()).unwrap();
        let error = Peer::new(&query, &rows).err().unwrap();
        assert_eq!(error.to_string(), "the aggregate quantile is not translated for Polars");
    }
}
