//! SQL text of a pipeline file as expressions, with the place of what cannot be read.

use super::document::Node;
use crate::columnar::DataType;
use crate::error::Result;
use crate::expr::parse;
use crate::expr::{Aggregate, Expr};
use crate::plan::logical::SortBy;

/// A value without a name: a condition.
pub(super) fn condition(node: &Node) -> Result<Expr> {
    parse::parse_expr(node.text()?).map_err(|error| node.spot.blame(error))
}

/// A column, with or without a name: `price * 2 AS double_price`.
pub(super) fn column(node: &Node) -> Result<Expr> {
    parse::parse_projection(node.text()?).map_err(|error| node.spot.blame(error))
}

pub(super) fn aggregate(node: &Node) -> Result<Aggregate> {
    parse::parse_aggregate(node.text()?).map_err(|error| node.spot.blame(error))
}

pub(super) fn data_type(node: &Node) -> Result<DataType> {
    parse::parse_data_type(node.text()?).map_err(|error| node.spot.blame(error))
}

/// An expression to sort by, and how: `bytes DESC NULLS FIRST`.
pub(super) fn order(node: &Node) -> Result<SortBy> {
    let (expr, descending, nulls_first) = parse::parse_order(node.text()?).map_err(|error| node.spot.blame(error))?;
    Ok(SortBy { expr, descending, nulls_first })
}
