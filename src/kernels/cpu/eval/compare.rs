//! Comparisons: `=`, `<>`, `<`, `<=`, `>`, `>=`.
//!
//! Numbers and times run in loops of our own, because the order of floats is ours (NaN equals NaN and is above all,
//! -0.0 equals 0.0); text, bytes and Booleans run in Arrow's kernels.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use arrow_cast::cast;
use arrow_ord::cmp;
use arrow_select::take::take;

use super::native::by_number;
use super::operand::{Operand, common_nulls, natives, physical, shape, shaped};
use super::vectors::{Compared, Pairs, Question};
use super::{Apply, Site};
use crate::columnar::DataType;
use crate::columnar::data_type::{is_binary, is_text};
use crate::error::Result;
use crate::expr::BinaryOp;

pub(super) fn prepare(op: BinaryOp) -> Apply {
    Box::new(move |operands, _, site| compare(&operands[0], op, &operands[1], site))
}

/// `left op right`, null where either is null.
pub(super) fn compare(left: &Operand, op: BinaryOp, right: &Operand, site: &Site) -> Result<Operand> {
    if left.is_null_constant() || right.is_null_constant() {
        return Ok(Operand::null(&DataType::Boolean));
    }
    if let Some(answer) = by_dictionary(left, op, right, site)? {
        return Ok(answer);
    }
    if let Some(answer) = by_dictionary(right, op.swapped(), left, site)? {
        return Ok(answer);
    }
    let (left, right) = (left.decoded()?, right.decoded()?);
    let (left, right) = (left.with(physical(left.array())?), right.with(physical(right.array())?));
    by_number!(left.data_type(), T => return numbers::<T>(&left, op, &right, site), _ => ());
    let right = same_layout(&left, right)?;
    let answer = match op {
        BinaryOp::Eq => cmp::eq(&left, &right)?,
        BinaryOp::NotEq => cmp::neq(&left, &right)?,
        BinaryOp::Lt => cmp::lt(&left, &right)?,
        BinaryOp::LtEq => cmp::lt_eq(&left, &right)?,
        BinaryOp::Gt => cmp::gt(&left, &right)?,
        BinaryOp::GtEq => cmp::gt_eq(&left, &right)?,
        other => return Err(site.unknown(&other)),
    };
    let (_, constant) = shape(&[left, right]);
    Ok(shaped(Arc::new(answer), constant))
}

/// A dictionary against a constant: each different value is compared once.
fn by_dictionary(left: &Operand, op: BinaryOp, right: &Operand, site: &Site) -> Result<Option<Operand>> {
    let Operand::Column(array) = left else { return Ok(None) };
    if !right.is_constant() || !matches!(array.data_type(), DataType::Dictionary(_, _)) {
        return Ok(None);
    }
    let dictionary = array.as_any_dictionary();
    if dictionary.values().len() > array.len() {
        return Ok(None);
    }
    let values = compare(&Operand::Column(Arc::clone(dictionary.values())), op, right, site)?;
    let answers = values.into_column(dictionary.values().len())?;
    Ok(Some(Operand::Column(take(&answers, dictionary.keys(), None)?)))
}

/// The right side in the layout of the left, for text and bytes.
fn same_layout(left: &Operand, right: Operand) -> Result<Operand> {
    let (wanted, found) = (left.data_type(), right.data_type());
    let mixed = wanted != found && (is_text(wanted) && is_text(found) || is_binary(wanted) && is_binary(found));
    if mixed { Ok(right.with(cast(right.array(), wanted)?)) } else { Ok(right) }
}

fn numbers<T: ArrowPrimitiveType>(left: &Operand, op: BinaryOp, right: &Operand, site: &Site) -> Result<Operand>
where
    T::Native: Compared,
{
    let nulls = common_nulls(&[left.clone(), right.clone()]);
    // All six are one of two questions, or its opposite: two loops a type are compiled, not six.
    let bits = match op {
        BinaryOp::Eq => rows::<T>(left, right, Question::Same)?,
        BinaryOp::NotEq => !&rows::<T>(left, right, Question::Same)?,
        BinaryOp::Lt => rows::<T>(left, right, Question::Below)?,
        BinaryOp::GtEq => !&rows::<T>(left, right, Question::Below)?,
        BinaryOp::Gt => rows::<T>(right, left, Question::Below)?,
        BinaryOp::LtEq => !&rows::<T>(right, left, Question::Below)?,
        other => return Err(site.unknown(&other)),
    };
    let answer: ArrayRef = Arc::new(BooleanArray::new(bits, nulls));
    Ok(shaped(answer, left.is_constant() && right.is_constant()))
}

fn rows<T: ArrowPrimitiveType>(left: &Operand, right: &Operand, question: Question) -> Result<BooleanBuffer>
where
    T::Native: Compared,
{
    let (left_values, right_values) = (natives::<T>(left.array())?, natives::<T>(right.array())?);
    let pairs = match (left.is_constant(), right.is_constant()) {
        (false, true) => Pairs::RightConstant(left_values, right_values[0]),
        (true, false) => Pairs::LeftConstant(left_values[0], right_values),
        _ => Pairs::Each(left_values, right_values),
    };
    Ok(T::Native::compare(question, &pairs))
}
