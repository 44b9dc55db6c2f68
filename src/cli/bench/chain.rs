//! A chain of a suite or of the command line, read from SQL and typed against the columns of its rows.

use std::collections::BTreeSet;

use super::suite::Chain;
use crate::columnar::{Field, RecordBatch, Schema};
use crate::error::{Error, Result};
use crate::expr::{Aggregate, AggregateFunction, Expr, TypedAggregate, TypedExpr, parse};

/// A chain as expressions.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) filter: Option<Expr>,
    pub(super) select: Vec<Expr>,
    pub(super) keys: Vec<Expr>,
    pub(super) aggregates: Vec<Aggregate>,
}

/// A chain whose columns are resolved. Keys and aggregates see the columns that are selected, if any are.
#[derive(Debug)]
pub(super) struct TypedQuery {
    pub(super) filter: Option<TypedExpr>,
    /// What is selected, with names; empty if nothing is.
    pub(super) select: Vec<(String, TypedExpr)>,
    pub(super) keys: Vec<(String, TypedExpr)>,
    pub(super) aggregates: Vec<TypedAggregate>,
}

impl Query {
    /// Reads the texts.
    ///
    /// # Errors
    /// `InvalidQuery`, saying in which text and where in it.
    pub(super) fn parse(chain: &Chain<'_>) -> Result<Self> {
        let columns = |texts: &[&str]| {
            texts.iter().map(|text| told(text, parse::parse_projection(text))).collect::<Result<Vec<_>>>()
        };
        let aggregates = chain.aggregates.iter().map(|text| told(text, parse::parse_aggregate(text)));
        let query = Self {
            filter: chain.filter.map(|text| told(text, parse::parse_expr(text))).transpose()?,
            select: columns(chain.select)?,
            keys: columns(chain.keys)?,
            aggregates: aggregates.collect::<Result<_>>()?,
        };
        if query.is_keyed() && query.aggregates.is_empty() {
            return Err(
                Error::invalid_query("nothing is made of the groups").advice("add --aggregate 'count(*) as rows'")
            );
        }
        Ok(query)
    }

    /// Whether rows are grouped by keys, so that the order of the answer's rows means nothing.
    pub(super) fn is_keyed(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The same with ordered sums, means and variances of floats instead of exact ones.
    ///
    /// # Errors
    /// As for [`Query::typed`].
    pub(super) fn ordered(&self, schema: &Schema) -> Result<Self> {
        let typed = self.typed(schema)?;
        let mut ordered = self.clone();
        for (aggregate, typed) in ordered.aggregates.iter_mut().zip(&typed.aggregates) {
            let is_float = typed.input.as_ref().is_some_and(|input| input.data_type.is_floating());
            aggregate.function = match &aggregate.function {
                AggregateFunction::Sum if is_float => AggregateFunction::OrderedSum,
                AggregateFunction::Mean if is_float => AggregateFunction::OrderedMean,
                AggregateFunction::Variance(ddof) if is_float => AggregateFunction::OrderedVariance(*ddof),
                AggregateFunction::StdDev(ddof) if is_float => AggregateFunction::OrderedStdDev(*ddof),
                other => other.clone(),
            };
        }
        Ok(ordered)
    }

    /// Resolves the columns.
    ///
    /// # Errors
    /// `InvalidQuery` for columns and types that do not fit.
    pub(super) fn typed(&self, schema: &Schema) -> Result<TypedQuery> {
        let named = |exprs: &[Expr], schema: &Schema| {
            let typed = |expr: &Expr| Ok((expr.output_name(), expr.typed(schema)?));
            exprs.iter().map(typed).collect::<Result<Vec<_>>>()
        };
        let filter = self.filter.as_ref().map(|filter| filter.typed(schema)).transpose()?;
        let select = named(&self.select, schema)?;
        let fields = select.iter().map(|(name, expr)| Field::new(name, expr.data_type.clone(), expr.nullable));
        let selected = Schema::new(fields.collect::<Vec<_>>());
        let after = if select.is_empty() { schema } else { &selected };
        let keys = named(&self.keys, after)?;
        let aggregates = self.aggregates.iter().map(|one| one.typed(after)).collect::<Result<_>>()?;
        Ok(TypedQuery { filter, select, keys, aggregates })
    }
}

/// An error with the text that it is about.
fn told<T>(text: &str, result: Result<T>) -> Result<T> {
    result.map_err(|error| error.context(format!("in '{text}'")))
}

impl TypedQuery {
    /// The columns of the input that are read, by index.
    pub(super) fn columns(&self, schema: &Schema) -> BTreeSet<usize> {
        let mut read: BTreeSet<usize> = self.filter.iter().flat_map(TypedExpr::columns).collect();
        let keys = self.keys.iter().flat_map(|(_, key)| key.columns());
        let grouped: BTreeSet<usize> = keys.chain(self.aggregates.iter().flat_map(TypedAggregate::columns)).collect();
        let gives_rows = self.keys.is_empty() && self.aggregates.is_empty();
        match (self.select.is_empty(), gives_rows) {
            (true, true) => read.extend(0..schema.fields().len()),
            (true, false) => read.extend(grouped),
            (false, true) => read.extend(self.select.iter().flat_map(|(_, expr)| expr.columns())),
            (false, false) => read.extend(grouped.iter().flat_map(|index| self.select[*index].1.columns())),
        }
        read
    }

    /// Bytes of the columns that are read: values, offsets and the bits that mark nulls.
    ///
    /// # Errors
    /// A column whose layout has no size.
    pub(super) fn bytes(&self, batch: &RecordBatch) -> Result<u64> {
        let columns = self.columns(batch.schema_ref());
        let sizes = columns.into_iter().map(|index| Ok(batch.column(index).to_data().get_slice_memory_size()? as u64));
        sizes.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::data;
    use crate::cli::bench::suite::{GROUPBY, Rows, SCAN, TPCH};

    #[test]
    fn every_chain_of_the_suites_is_right() {
        for case in GROUPBY.cases.iter().chain(SCAN.cases) {
            let rows = data::make(case.rows, 3).unwrap();
            Query::parse(&case.chain).unwrap().typed(rows.schema_ref()).unwrap();
        }
        TPCH.cases.iter().for_each(|case| drop(Query::parse(&case.chain).unwrap()));
    }

    #[test]
    fn bytes_are_those_of_the_columns_that_are_read() {
        let rows = data::make(Rows::Values, 1000).unwrap();
        let bytes = |chain: Chain<'_>| Query::parse(&chain).unwrap().typed(rows.schema_ref()).unwrap().bytes(&rows);
        let all = Chain { filter: Some("i < 10"), ..Chain::default() };
        assert_eq!(bytes(all).unwrap(), 20_000, "rows that leave whole are read whole");
        assert_eq!(bytes(Chain { select: &["f"], ..all }).unwrap(), 16_000);
        let through = Chain { select: &["f * g as p", "i + 1 as j"], aggregates: &["sum(p)"], ..Chain::default() };
        assert_eq!(bytes(through).unwrap(), 12_000, "what is computed for nobody is not read");
    }

    #[test]
    fn only_arithmetic_of_floats_is_put_in_order() {
        let rows = data::make(Rows::Values, 10).unwrap();
        let aggregates = ["sum(i) as a", "avg(f) as b", "sum(g) as c", "min(f) as d", "avg(i) as e", "var(g) as h"];
        let query = Query::parse(&Chain { aggregates: &aggregates, ..Chain::default() }).unwrap();
        let ordered = query.ordered(rows.schema_ref()).unwrap();
        let texts: Vec<String> = ordered.aggregates.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "sum(i) AS a",
                "ordered_mean(f) AS b",
                "ordered_sum(g) AS c",
                "min(f) AS d",
                "mean(i) AS e",
                "ordered_var(g) AS h"
            ]
        );
    }

    #[test]
    fn a_mistake_is_told_with_its_text() {
        let wrong = Chain { filter: Some("i <"), ..Chain::default() };
        assert!(Query::parse(&wrong).unwrap_err().to_string().starts_with("in 'i <': "));
        let nothing = Chain { keys: &["k"], ..Chain::default() };
        assert!(Query::parse(&nothing).unwrap_err().to_string().contains("--aggregate"));
    }
}
