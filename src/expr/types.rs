//! Typed expressions: what backends see.
//!
//! Every column is an index, every conversion is a [`TypedNode::Cast`] or a literal of the right type, and every user
//! mistake has been found ([`super::typing`]). What backends can meet:
//!
//! | node | operands | result |
//! |---|---|---|
//! | `Not`, `And`, `Or`, conditions | `Boolean` | `Boolean` |
//! | comparison, `IsIn` | both of one plain type | `Boolean` |
//! | | a `Dictionary(_, V)` column and a literal (or members) of `V` | `Boolean` |
//! | `+ - *` `//` `%` | both of one integer or float type | the same |
//! | `/` | both of one float type | the same |
//! | `+ - * / // %` | two decimals, **each with its own precision and scale** | by the rules of `arrow-arith` |
//! | `-` | two timestamps of one type | `Duration` of their unit |
//! | `-` | two dates | `Duration(Second)` |
//! | `+ -` | `Timestamp(u, zone)` and `Duration(u)`, in this order | the same timestamp |
//! | `+ -` | two durations of one unit | the same |
//! | text functions | `Utf8`, whatever the layout of the column | see [`Function`] |
//!
//! Text literals have the layout of what they are compared with (`Utf8View` beside a view column, the values' layout
//! beside a dictionary), which is what the comparison kernels of `arrow-ord` take. Two columns are compared as they are
//! if they have one type, else as `Utf8`. Zones differ only where it does not matter: two timestamps are first cast to
//! one zone.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{BinaryOp, CastMode, Function, UnaryOp};
use crate::columnar::{DataType, Field, Scalar};

/// An expression whose columns are resolved and whose conversions are all written out.
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
    /// An operation on two values; see the [module](self) for their types.
    Binary(Box<TypedExpr>, BinaryOp, Box<TypedExpr>),
    /// The value as the expression's type.
    Cast(Box<TypedExpr>, CastMode),
    /// The first branch whose condition is true. All values have the expression's type.
    Case(Vec<(TypedExpr, TypedExpr)>, Option<Box<TypedExpr>>),
    /// Whether the value is in the set. Members have the value's type (for a dictionary: that of its values), or are
    /// null.
    IsIn(Box<TypedExpr>, Vec<Scalar>),
    /// A function of several values.
    Call(Function, Vec<TypedExpr>),
}

impl TypedExpr {
    /// The value of the column at `index`.
    pub fn column(index: usize, field: &Field) -> Self {
        Self {
            node: TypedNode::Column(index, field.name().clone()),
            data_type: field.data_type().clone(),
            nullable: field.is_nullable(),
        }
    }

    /// The same value for every row, of this type. The value must be one that the type holds.
    pub fn literal(value: Scalar, data_type: DataType) -> Self {
        let nullable = value.is_null();
        Self { node: TypedNode::Literal(value), data_type, nullable }
    }

    /// The value, if it is the same for every row.
    pub fn as_literal(&self) -> Option<&Scalar> {
        match &self.node {
            TypedNode::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// The column's index, if this is a column as it is.
    pub fn as_column(&self) -> Option<usize> {
        match &self.node {
            TypedNode::Column(index, _) => Some(*index),
            _ => None,
        }
    }

    /// The expressions directly below this one.
    pub fn children(&self) -> Vec<&Self> {
        match &self.node {
            TypedNode::Column(..) | TypedNode::Literal(_) => Vec::new(),
            TypedNode::Unary(_, input) | TypedNode::Cast(input, _) | TypedNode::IsIn(input, _) => vec![input],
            TypedNode::Binary(left, _, right) => vec![left, right],
            TypedNode::Case(branches, otherwise) => {
                let branches = branches.iter().flat_map(|(condition, value)| [condition, value]);
                branches.chain(otherwise.as_deref()).collect()
            }
            TypedNode::Call(_, arguments) => arguments.iter().collect(),
        }
    }

    /// Calls `f` with the index of every column in the expression, as often as it occurs.
    pub fn for_each_column(&self, f: &mut dyn FnMut(usize)) {
        match self.as_column() {
            Some(index) => f(index),
            None => self.children().into_iter().for_each(|child| child.for_each_column(f)),
        }
    }

    /// The indices of all columns in the expression.
    pub fn columns(&self) -> BTreeSet<usize> {
        let mut columns = BTreeSet::new();
        self.for_each_column(&mut |index| {
            columns.insert(index);
        });
        columns
    }

    /// The same expression over columns that moved: `to` gives the new index of each.
    #[must_use]
    pub fn map_columns(&self, to: &dyn Fn(usize) -> usize) -> Self {
        self.replace_columns(&|column| match &column.node {
            TypedNode::Column(index, name) => {
                Self { node: TypedNode::Column(to(*index), name.clone()), ..column.clone() }
            }
            _ => column.clone(),
        })
    }

    /// The same expression with other expressions in the place of its columns; `to` is given each column. What takes
    /// the place of a column must have its type.
    #[must_use]
    pub fn replace_columns(&self, to: &dyn Fn(&Self) -> Self) -> Self {
        let below = |input: &Self| Box::new(input.replace_columns(to));
        let node = match &self.node {
            TypedNode::Column(..) => return to(self),
            TypedNode::Literal(value) => TypedNode::Literal(value.clone()),
            TypedNode::Unary(op, input) => TypedNode::Unary(*op, below(input)),
            TypedNode::Binary(left, op, right) => TypedNode::Binary(below(left), *op, below(right)),
            TypedNode::Cast(input, mode) => TypedNode::Cast(below(input), *mode),
            TypedNode::Case(branches, otherwise) => TypedNode::Case(
                branches.iter().map(|(when, then)| (when.replace_columns(to), then.replace_columns(to))).collect(),
                otherwise.as_deref().map(below),
            ),
            TypedNode::IsIn(input, members) => TypedNode::IsIn(below(input), members.clone()),
            TypedNode::Call(function, arguments) => TypedNode::Call(
                function.clone(),
                arguments.iter().map(|argument| argument.replace_columns(to)).collect(),
            ),
        };
        Self { node, data_type: self.data_type.clone(), nullable: self.nullable }
    }
}
