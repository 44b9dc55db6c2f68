//! The meaning of expressions, one value at a time: slow, obvious, and what every backend is tested against.
//!
//! Values are [`Scalar`]s, calendars are those of `chrono`, texts are taken apart by `str`. Nothing here is shared with
//! the kernels, but for the words of error messages.

mod arithmetic;
mod cast;
mod compare;
mod lists;
mod numbers;
mod text;
mod time;

use std::cmp::Ordering;

use crate::columnar::{DataType, RecordBatch, Scalar};
use crate::error::Result;
use crate::expr::{BinaryOp, CastMode, Function, TypedExpr, TypedNode, UnaryOp};
use crate::kernels::hash;
use crate::kernels::site::{Site, show};

/// Where a value is computed: what its errors name.
struct At<'a> {
    expr: &'a TypedExpr,
    row: usize,
}

impl At<'_> {
    fn to(&self) -> &DataType {
        &self.expr.data_type
    }

    fn site(&self) -> Site {
        Site::of(self.expr)
    }

    fn overflow(&self) -> crate::error::Error {
        self.site().overflow(self.row)
    }

    fn unknown(&self, what: &dyn std::fmt::Debug) -> crate::error::Error {
        self.site().unknown(what)
    }
}

/// The value of an expression in one row of a batch.
pub(super) fn value(expr: &TypedExpr, batch: &RecordBatch, row: usize) -> Result<Scalar> {
    let at = At { expr, row };
    match &expr.node {
        TypedNode::Column(index, _) => Scalar::from_array(batch.column(*index), row),
        TypedNode::Literal(literal) => Ok(literal.clone()),
        TypedNode::Unary(op, input) => unary(*op, value(input, batch, row)?, &at),
        TypedNode::Binary(left, op, right) => {
            let (a, b) = (value(left, batch, row)?, value(right, batch, row)?);
            binary(a, *op, b, &at)
        }
        TypedNode::Cast(input, mode) => cast_value(value(input, batch, row)?, &input.data_type, *mode, &at),
        TypedNode::Case(branches, otherwise) => {
            for (condition, chosen) in branches {
                if value(condition, batch, row)? == Scalar::Boolean(true) {
                    return value(chosen, batch, row);
                }
            }
            otherwise.as_ref().map_or(Ok(Scalar::Null), |other| value(other, batch, row))
        }
        TypedNode::IsIn(input, members) => Ok(is_in(&value(input, batch, row)?, members)),
        TypedNode::Call(function, arguments) => {
            let values = arguments.iter().map(|argument| value(argument, batch, row)).collect::<Result<Vec<_>>>()?;
            call(function, values, arguments, &at)
        }
    }
}

fn unary(op: UnaryOp, value: Scalar, at: &At<'_>) -> Result<Scalar> {
    match (op, value) {
        (UnaryOp::IsNull, value) => Ok(Scalar::Boolean(value.is_null())),
        (UnaryOp::IsNotNull, value) => Ok(Scalar::Boolean(!value.is_null())),
        (_, Scalar::Null) => Ok(Scalar::Null),
        (UnaryOp::Not, Scalar::Boolean(value)) => Ok(Scalar::Boolean(!value)),
        (UnaryOp::IsNan, Scalar::Float64(value)) => Ok(Scalar::Boolean(value.is_nan())),
        (UnaryOp::IsNan, _) => Ok(Scalar::Boolean(false)),
        (UnaryOp::Negate, value) => arithmetic::negate(&value, at),
        (op, value) => Err(at.unknown(&(op, value))),
    }
}

fn binary(a: Scalar, op: BinaryOp, b: Scalar, at: &At<'_>) -> Result<Scalar> {
    if op.is_logical() {
        return Ok(logical(&a, op, &b));
    }
    if a.is_null() || b.is_null() {
        return Ok(Scalar::Null);
    }
    if !op.is_comparison() {
        return arithmetic::calculate(&a, op, &b, at);
    }
    let order = compare::order(&a, &b);
    Ok(Scalar::Boolean(match op {
        BinaryOp::Eq => order == Ordering::Equal,
        BinaryOp::NotEq => order != Ordering::Equal,
        BinaryOp::Lt => order == Ordering::Less,
        BinaryOp::LtEq => order != Ordering::Greater,
        BinaryOp::Gt => order == Ordering::Greater,
        _ => order != Ordering::Less,
    }))
}

/// The three-valued logic of SQL, where null is "unknown".
fn logical(a: &Scalar, op: BinaryOp, b: &Scalar) -> Scalar {
    let decisive = Scalar::Boolean(op == BinaryOp::Or);
    if *a == decisive || *b == decisive {
        decisive
    } else if a.is_null() || b.is_null() {
        Scalar::Null
    } else {
        Scalar::Boolean(op == BinaryOp::And)
    }
}

fn is_in(value: &Scalar, members: &[Scalar]) -> Scalar {
    if value.is_null() {
        return Scalar::Null;
    }
    let mut present = members.iter().filter(|member| !member.is_null());
    if present.any(|member| compare::order(value, member) == Ordering::Equal) {
        return Scalar::Boolean(true);
    }
    if members.iter().any(Scalar::is_null) { Scalar::Null } else { Scalar::Boolean(false) }
}

fn cast_value(value: Scalar, from: &DataType, mode: CastMode, at: &At<'_>) -> Result<Scalar> {
    if value.is_null() {
        return Ok(Scalar::Null);
    }
    match cast::cast(&value, from, at.to())? {
        Some(value) => Ok(value),
        None if mode == CastMode::Lossy => Ok(Scalar::Null),
        None => Err(at.site().uncastable(&show(&value), at.row)),
    }
}

fn call(function: &Function, values: Vec<Scalar>, arguments: &[TypedExpr], at: &At<'_>) -> Result<Scalar> {
    use Function as F;
    match function {
        F::Coalesce => return Ok(values.into_iter().find(|value| !value.is_null()).unwrap_or(Scalar::Null)),
        F::Least => return Ok(compare::outermost(values, Ordering::Less)),
        F::Greatest => return Ok(compare::outermost(values, Ordering::Greater)),
        F::Hash => {
            let words = values.iter().map(hash::words).collect::<Result<Vec<_>>>()?.concat();
            return Ok(Scalar::UInt64(words.into_iter().fold(hash::SEED, hash::fold)));
        }
        _ if values.iter().any(Scalar::is_null) => return Ok(Scalar::Null),
        _ => {}
    }
    match function {
        F::Abs | F::Round(_) | F::Floor | F::Ceil | F::Sqrt | F::Exp | F::Ln | F::Log | F::Pow => {
            numbers::call(function, &values, at)
        }
        F::Truncate(_) | F::Part(_) | F::Epoch(_) | F::ParseTimestamp { .. } | F::FormatTimestamp(_) => {
            time::call(function, &values[0], at)
        }
        F::Field(_) | F::ListLength | F::ListGet | F::ListSum | F::ListMean | F::ListMin | F::ListMax => {
            lists::call(function, &values, &arguments[0].data_type, at)
        }
        _ => text::call(function, &values, at),
    }
}
