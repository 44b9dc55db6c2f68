//! Typing: an expression and a schema give a typed expression, or an error that names the column.

use serde::{Deserialize, Serialize};

use super::{BinaryOp, CastMode, Function, UnaryOp};
use crate::columnar::{DataType, Scalar};

/// An expression whose columns are resolved and whose conversions are all written out: operands of an arithmetic or
/// comparison operator have one type, conditions are `Boolean`, arguments have the type their function takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TypedExpr {
    /// What is computed.
    pub node: TypedNode,
    /// The type of the result.
    pub data_type: DataType,
    /// Whether the result can be null.
    pub nullable: bool,
}

/// The cases of a [`TypedExpr`]; they mirror those of [`super::Expr`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TypedNode {
    /// The column at this index. The name is for messages.
    Column(usize, String),
    /// The same value for every row; of the expression's type.
    Literal(Scalar),
    /// An operation on one value.
    Unary(UnaryOp, Box<TypedExpr>),
    /// An operation on two values of one type (except time with duration).
    Binary(Box<TypedExpr>, BinaryOp, Box<TypedExpr>),
    /// The value as the expression's type.
    Cast(Box<TypedExpr>, CastMode),
    /// The first branch whose condition is true. All values have the expression's type.
    Case(Vec<(TypedExpr, TypedExpr)>, Option<Box<TypedExpr>>),
    /// Whether the value is in the set. Members have the value's type, or are null.
    IsIn(Box<TypedExpr>, Vec<Scalar>),
    /// A function of several values.
    Call(Function, Vec<TypedExpr>),
}
