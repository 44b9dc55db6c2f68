//! Whether an expression can fail on data. What cannot may be computed for rows that nobody asked for.

use crate::columnar::DataType;
use crate::columnar::data_type::is_time;
use crate::expr::{BinaryOp, CastMode, Function, TypedExpr, TypedNode, UnaryOp};

/// Errs on the side of yes.
pub(super) fn can_fail(expr: &TypedExpr) -> bool {
    match &expr.node {
        TypedNode::Column(..) | TypedNode::Literal(_) => false,
        TypedNode::Unary(op, input) => *op == UnaryOp::Negate && !expr.data_type.is_floating() || can_fail(input),
        TypedNode::Binary(left, op, right) => {
            operator_can_fail(*op, &expr.data_type) || can_fail(left) || can_fail(right)
        }
        TypedNode::Cast(input, mode) => cast_can_fail(&input.data_type, *mode, &expr.data_type) || can_fail(input),
        TypedNode::Case(branches, otherwise) => {
            branches.iter().any(|(condition, value)| can_fail(condition) || can_fail(value))
                || otherwise.as_deref().is_some_and(can_fail)
        }
        TypedNode::IsIn(input, _) => can_fail(input),
        TypedNode::Call(function, arguments) => {
            function_can_fail(function, &expr.data_type) || arguments.iter().any(can_fail)
        }
    }
}

fn operator_can_fail(op: BinaryOp, to: &DataType) -> bool {
    let arithmetic = !op.is_comparison() && !op.is_logical();
    arithmetic && !to.is_floating() && !(op == BinaryOp::Modulo && to.is_integer())
}

fn cast_can_fail(from: &DataType, mode: CastMode, to: &DataType) -> bool {
    let into_float = to.is_floating() && (from.is_integer() || from.is_floating());
    mode == CastMode::Checked && from != to && !into_float
}

fn function_can_fail(function: &Function, to: &DataType) -> bool {
    use Function as F;
    match function {
        F::Abs | F::Round(_) | F::Floor | F::Ceil => !to.is_floating(),
        F::ParseTimestamp { lossy, .. } => !lossy,
        F::Truncate(_) | F::Part(_) | F::Epoch(_) | F::FormatTimestamp(_) | F::ListSum => true,
        other => is_time(to) && !matches!(other, F::Coalesce | F::Least | F::Greatest | F::Field(_) | F::ListGet),
    }
}
