//! `COALESCE`, `LEAST` and `GREATEST`: one of several values of one type.

use arrow_array::cast::AsArray;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{Array, ArrayRef};
use arrow_buffer::{BooleanBuffer, NullBuffer};

use super::case::select;
use super::compare::compare;
use super::native::{Ordered, by_number};
use super::operand::{Operand, logical, natives, physical, primitive, shape, shaped};
use super::{Apply, Site};
use crate::error::Result;
use crate::expr::{BinaryOp, Function};

pub(super) fn prepare(function: &Function) -> Apply {
    match function {
        Function::Coalesce => Box::new(|operands, _, _| coalesce(operands)),
        Function::Least => Box::new(|operands, _, site| outermost(operands, BinaryOp::Lt, site)),
        _ => Box::new(|operands, _, site| outermost(operands, BinaryOp::Gt, site)),
    }
}

fn coalesce(operands: &[Operand]) -> Result<Operand> {
    let (rows, constant) = shape(operands);
    let mut answer = operands[0].clone();
    for next in &operands[1..] {
        let present = match answer.array().logical_nulls() {
            None => break,
            Some(nulls) if answer.is_constant() && nulls.is_null(0) => {
                answer = next.clone();
                continue;
            }
            Some(_) if answer.is_constant() => break,
            Some(nulls) => nulls.into_inner(),
        };
        answer = select(&present, &answer, next)?;
    }
    Ok(shaped(answer.into_column(rows)?, constant))
}

fn outermost(operands: &[Operand], op: BinaryOp, site: &Site) -> Result<Operand> {
    let (rows, constant) = shape(operands);
    let mut answer = operands[0].clone().into_column(rows)?;
    for next in &operands[1..] {
        answer = closer(&answer, &next.clone().into_column(rows)?, op, site)?;
    }
    Ok(shaped(answer, constant))
}

/// Row by row the one of two that is further out; nulls and NaN only if there is nothing else; of equals the first.
pub(super) fn closer(first: &ArrayRef, second: &ArrayRef, op: BinaryOp, site: &Site) -> Result<ArrayRef> {
    let (left, right) = (physical(first)?, physical(second)?);
    by_number!(left.data_type(), T => {
        return logical(&closer_numbers::<T>(&left, &right, op == BinaryOp::Lt)?, first.data_type());
    }, _ => ());
    let (first, second) = (Operand::Column(left), Operand::Column(right));
    let second_wins = compare(&second, op, &first, site)?;
    let wins = second_wins.array().as_boolean();
    let len = wins.len();
    let valid = |operand: &Operand| {
        operand.array().logical_nulls().map_or_else(|| BooleanBuffer::new_set(len), NullBuffer::into_inner)
    };
    let known = wins.nulls().map_or_else(|| wins.values().clone(), |nulls| wins.values() & nulls.inner());
    let only_second = &!&valid(&first) & &valid(&second);
    select(&(&known | &only_second), &second, &first)?.into_column(len)
}

fn closer_numbers<T: ArrowPrimitiveType>(first: &ArrayRef, second: &ArrayRef, least: bool) -> Result<ArrayRef>
where
    T::Native: Ordered,
{
    let (left, right) = (natives::<T>(first)?, natives::<T>(second)?);
    let beats = |a: T::Native, b: T::Native| {
        let further = if least { b.below(a) } else { a.below(b) };
        if a.not_a_number() | b.not_a_number() { a.not_a_number() & !b.not_a_number() } else { further }
    };
    let pairs = left.iter().zip(right);
    let (a_nulls, b_nulls) = (first.nulls(), second.nulls());
    if a_nulls.is_none() && b_nulls.is_none() {
        return Ok(primitive::<T>(pairs.map(|(a, b)| if beats(*a, *b) { *b } else { *a }).collect(), None));
    }
    let valid = |nulls: Option<&NullBuffer>, row| nulls.is_none_or(|nulls| nulls.is_valid(row));
    let values = pairs.enumerate().map(|(row, (a, b))| match (valid(a_nulls, row), valid(b_nulls, row)) {
        (false, _) => *b,
        (true, false) => *a,
        (true, true) => {
            if beats(*a, *b) {
                *b
            } else {
                *a
            }
        }
    });
    let values = values.collect();
    let either = match (a_nulls, b_nulls) {
        (Some(a), Some(b)) => Some(NullBuffer::new(a.inner() | b.inner())),
        _ => None,
    };
    Ok(primitive::<T>(values, either.filter(|nulls| nulls.null_count() > 0)))
}
