//! `AND`, `OR`, `NOT` by the three-valued logic of SQL, minus, and the questions about null and NaN.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, BooleanArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};

use super::bits::test_each;
use super::native::{Ordered, by_number};
use super::operand::{natives, shape, shaped};
use super::{Apply, arithmetic};
use crate::expr::{BinaryOp, UnaryOp};

pub(super) fn prepare_unary(op: UnaryOp) -> Apply {
    match op {
        UnaryOp::Not => Box::new(|operands, _, _| {
            let input = operands[0].array().as_boolean();
            Ok(operands[0].with(Arc::new(BooleanArray::new(!input.values(), input.nulls().cloned()))))
        }),
        UnaryOp::Negate => Box::new(|operands, scope, site| arithmetic::negate(&operands[0], scope, site)),
        UnaryOp::IsNull => Box::new(|operands, _, _| {
            let present = present(operands[0].array());
            Ok(operands[0].with(Arc::new(BooleanArray::new(!&present, None))))
        }),
        UnaryOp::IsNotNull => Box::new(|operands, _, _| {
            let present = present(operands[0].array());
            Ok(operands[0].with(Arc::new(BooleanArray::new(present, None))))
        }),
        UnaryOp::IsNan => Box::new(|operands, _, site| {
            let values = operands[0].decoded()?;
            let array = values.array();
            let bits = by_number!(array.data_type(), T => {
                test_each(natives::<T>(array)?, Ordered::not_a_number)
            }, _ => return Err(site.unknown(array.data_type())));
            Ok(values.with(Arc::new(BooleanArray::new(bits, array.logical_nulls()))))
        }),
    }
}

pub(super) fn prepare_binary(op: BinaryOp) -> Apply {
    Box::new(move |operands, _, _| {
        let (rows, constant) = shape(operands);
        let (left, right) = (operands[0].clone().into_column(rows)?, operands[1].clone().into_column(rows)?);
        let answer = connect(left.as_boolean(), op, right.as_boolean());
        Ok(shaped(Arc::new(answer), constant))
    })
}

/// Which values are not null.
fn present(values: &dyn Array) -> BooleanBuffer {
    values.logical_nulls().map_or_else(|| BooleanBuffer::new_set(values.len()), NullBuffer::into_inner)
}

/// `AND` or `OR`. Without nulls it is one bitwise operation; with nulls the answer is known where both sides are, and
/// where one side decides alone: a false one for `AND`, a true one for `OR`.
fn connect(left: &BooleanArray, op: BinaryOp, right: &BooleanArray) -> BooleanArray {
    let is_and = op == BinaryOp::And;
    if left.null_count() == 0 && right.null_count() == 0 {
        let both = if is_and { left.values() & right.values() } else { left.values() | right.values() };
        return BooleanArray::new(both, None);
    }
    let (left_known, right_known) = (present(left), present(right));
    let decides =
        |values: &BooleanBuffer, known: &BooleanBuffer| if is_and { &!values & known } else { values & known };
    let (left_alone, right_alone) = (decides(left.values(), &left_known), decides(right.values(), &right_known));
    let decided = &left_alone | &right_alone;
    let known = &(&left_known & &right_known) | &decided;
    // Where both are known and neither decides, both are the neutral value.
    BooleanArray::new(if is_and { !&decided } else { decided }, Some(NullBuffer::new(known)))
}
