//! What the filters of a query ask of single columns of a source, before anything else has looked at its rows.
//!
//! A source that leaves such rows out itself changes no answer: only filters would have seen them. Rules, watermarks and
//! whatever else counts rows end the search.

use super::QueryPlan;
use super::stage::{SourceId, Step};
use crate::columnar::data_type::{is_number, is_text, is_time, leaf};
use crate::columnar::{Bound, Keeps, Scalar};
use crate::expr::{BinaryOp, TypedExpr, TypedNode};

impl QueryPlan {
    /// The bounds of the columns of a source that a row must be within to be looked at; none if several stages read it.
    pub fn bounds(&self, source: SourceId) -> Vec<Bound> {
        let Some(stage) = self.only_reader(source) else { return Vec::new() };
        let mut at: Vec<usize> = (0..stage.input_schema.fields().len()).collect();
        let mut bounds = Vec::new();
        for step in &stage.steps {
            match step {
                Step::Filter { predicate } => collect(predicate, &at, &mut bounds),
                Step::Project { columns, .. } => {
                    let passed = columns.iter().map(|column| column.expr.as_column().map(|index| at[index]));
                    match passed.collect() {
                        Some(passed) => at = passed,
                        None => break,
                    }
                }
                _ => break,
            }
        }
        bounds
    }
}

/// The bounds among the conditions that must all hold.
fn collect(condition: &TypedExpr, at: &[usize], bounds: &mut Vec<Bound>) {
    let TypedNode::Binary(left, op, right) = &condition.node else { return };
    let keeps = match op {
        BinaryOp::And => {
            collect(left, at, bounds);
            collect(right, at, bounds);
            return;
        }
        BinaryOp::Eq => Keeps::Equal,
        BinaryOp::Lt => Keeps::Less,
        BinaryOp::LtEq => Keeps::AtMost,
        BinaryOp::Gt => Keeps::Greater,
        BinaryOp::GtEq => Keeps::AtLeast,
        _ => return,
    };
    bounds.extend(bound(left, keeps, right, at).or_else(|| bound(right, keeps.swapped(), left, at)));
}

fn bound(column: &TypedExpr, keeps: Keeps, value: &TypedExpr, at: &[usize]) -> Option<Bound> {
    let (index, value) = (column.as_column()?, value.as_literal()?);
    // Of a column of codes the texts count.
    let of = leaf(&column.data_type);
    if !(is_number(of) || is_time(of) || is_text(of)) || value.is_null() {
        return None;
    }
    let value = Scalar::to_array(std::slice::from_ref(value), of).ok()?;
    Some(Bound { column: *at.get(index)?, keeps, value })
}
