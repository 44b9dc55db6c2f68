//! Typed expressions print as the expressions they came from, with every conversion shown.

use std::fmt;

use super::aggregate;
use super::identifier;
use crate::expr::{Expr, Function, TypedAggregate, TypedExpr, TypedNode};

impl TypedExpr {
    /// The expression without types. Typed again against the same schema it gives an equal result.
    pub fn to_expr(&self) -> Expr {
        let boxed = |input: &Self| Box::new(input.to_expr());
        match &self.node {
            TypedNode::Column(_, name) => Expr::Column(name.clone()),
            TypedNode::Literal(value) => Expr::Literal(value.clone()),
            TypedNode::Unary(op, input) => Expr::Unary(*op, boxed(input)),
            TypedNode::Binary(left, op, right) => Expr::Binary(boxed(left), *op, boxed(right)),
            TypedNode::Cast(input, mode) => Expr::Cast { input: boxed(input), to: self.data_type.clone(), mode: *mode },
            TypedNode::Case(branches, otherwise) => Expr::Case {
                branches: branches.iter().map(|(when, then)| (when.to_expr(), then.to_expr())).collect(),
                otherwise: otherwise.as_deref().map(boxed),
            },
            TypedNode::IsIn(input, members) => Expr::IsIn(boxed(input), members.clone()),
            TypedNode::Call(function, arguments) => {
                let arguments: Vec<Expr> = arguments.iter().map(Self::to_expr).collect();
                match (function, arguments.as_slice()) {
                    (Function::Field(field), [Expr::Column(column)]) => Expr::Column(format!("{column}.{field}")),
                    _ => Expr::Call(function.clone(), arguments),
                }
            }
        }
    }
}

impl fmt::Display for TypedExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_expr().fmt(f)
    }
}

impl fmt::Display for TypedAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let input = self.input.as_ref().map(TypedExpr::to_expr);
        let filter = self.filter.as_ref().map(TypedExpr::to_expr);
        aggregate(f, &self.function, input.as_ref(), filter.as_ref())?;
        write!(f, " AS {}", identifier(&self.name))
    }
}
