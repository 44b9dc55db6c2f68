//! `AND`, `OR`, `NOT` by the three-valued logic of SQL, minus, and the questions about null and NaN.

use std::sync::Arc;

use arrow_arith::boolean;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray};

use super::bits::test_each;
use super::native::{Ordered, by_number};
use super::operand::{natives, shape, shaped};
use super::{Apply, arithmetic};
use crate::error::Result;
use crate::expr::{BinaryOp, UnaryOp};

pub(super) fn prepare_unary(op: UnaryOp) -> Apply {
    match op {
        UnaryOp::Not => Box::new(|operands, _, _| {
            let answer = boolean::not(operands[0].array().as_boolean())?;
            Ok(operands[0].with(Arc::new(answer)))
        }),
        UnaryOp::Negate => Box::new(|operands, scope, site| arithmetic::negate(&operands[0], scope, site)),
        UnaryOp::IsNull => {
            Box::new(|operands, _, _| Ok(operands[0].with(Arc::new(boolean::is_null(operands[0].array())?))))
        }
        UnaryOp::IsNotNull => {
            Box::new(|operands, _, _| Ok(operands[0].with(Arc::new(boolean::is_not_null(operands[0].array())?))))
        }
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
        let answer = connect(&left, op, &right)?;
        Ok(shaped(Arc::new(answer), constant))
    })
}

fn connect(left: &ArrayRef, op: BinaryOp, right: &ArrayRef) -> Result<BooleanArray> {
    Ok(match op {
        BinaryOp::And => boolean::and_kleene(left.as_boolean(), right.as_boolean())?,
        _ => boolean::or_kleene(left.as_boolean(), right.as_boolean())?,
    })
}
