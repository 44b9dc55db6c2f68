//! Typed expressions over whole columns.
//!
//! [`compile`] turns the tree of a [`TypedExpr`] into a tree of closures, with everything done that does not depend on
//! data: regular expressions compiled, time patterns read, sets built. [`Node::evaluate`] runs it on one batch, operand
//! by operand, each in one loop over a column. Constants are never spread into columns.
//!
//! What each operation means stands in `docs/semantics.md` and in [`crate::expr::function`]; the slow twin of
//! everything here is [`crate::kernels::project::reference`].

mod arithmetic;
mod bits;
mod calendar;
mod case;
mod case_text;
mod cast;
mod checked;
mod compare;
mod decimal;
mod is_in;
mod lists;
mod logic;
mod math;
pub(super) mod native;
pub(super) mod operand;
mod parse_number;
mod pick;
mod stored_time;
pub(super) mod text;
mod text_parts;
mod time;
mod time_cast;
mod time_pattern;
mod vectors;

use std::fmt;
use std::sync::Arc;

use arrow_array::ArrayRef;

use self::case::Case;
use self::operand::Operand;
use crate::columnar::data_type::is_text;
use crate::columnar::{DataType, Scalar};
use crate::error::{Error, Result};
use crate::expr::{BinaryOp, Function, TypedExpr, TypedNode};
use crate::kernels::cpu::hash::hash_operands;
use crate::kernels::site::Site;

/// One operation, ready to run on operands of any number of rows.
type Apply = Box<dyn Fn(&[Operand], &Scope<'_>, &Site) -> Result<Operand> + Send + Sync>;

/// The columns that an expression sees.
pub(crate) struct Scope<'a> {
    /// Columns by index; those that the expression does not use may have any length.
    columns: &'a [ArrayRef],
    rows: usize,
    /// The row of the batch that each row here was, if some were left out.
    origin: Option<&'a [usize]>,
}

impl<'a> Scope<'a> {
    pub(crate) fn of(columns: &'a [ArrayRef], rows: usize) -> Self {
        Self { columns, rows, origin: None }
    }

    /// The row of the batch, for messages.
    fn origin(&self, row: usize) -> usize {
        self.origin.and_then(|origin| origin.get(row)).copied().unwrap_or(row)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.site.fmt(f)
    }
}

/// A compiled expression.
pub(crate) struct Node {
    site: Site,
    kind: Kind,
}

enum Kind {
    Column(usize),
    Constant(ArrayRef),
    Apply(Apply, Vec<Node>),
    Case(Box<Case>),
}

/// Does all work that does not depend on data.
pub(crate) fn compile(expr: &TypedExpr) -> Result<Node> {
    let site = Site::of(expr);
    let to = &expr.data_type;
    let one = |apply, input: &TypedExpr| Ok::<_, Error>(Kind::Apply(apply, vec![compile(input)?]));
    let kind = match &expr.node {
        TypedNode::Column(index, _) => Kind::Column(*index),
        TypedNode::Literal(value) => Kind::Constant(Scalar::to_array(std::slice::from_ref(value), to)?),
        TypedNode::Unary(op, input) => one(logic::prepare_unary(*op), input)?,
        TypedNode::Binary(left, op, right) => {
            Kind::Apply(prepare_binary(left, *op, right, to), vec![compile(left)?, compile(right)?])
        }
        TypedNode::Cast(input, mode) => one(cast::prepare(to, *mode), input)?,
        TypedNode::Case(branches, otherwise) => Kind::Case(Box::new(Case::compile(branches, otherwise.as_deref())?)),
        TypedNode::IsIn(input, members) => one(is_in::prepare(&input.data_type, members)?, input)?,
        TypedNode::Call(function, arguments) => {
            let of_text = !matches!(function, Function::Least | Function::Greatest | Function::Coalesce);
            let nodes = arguments
                .iter()
                .map(|argument| compile(if of_text { any_layout(argument) } else { argument }))
                .collect::<Result<_>>()?;
            Kind::Apply(prepare_call(function, arguments, to)?, nodes)
        }
    };
    Ok(Node { site, kind })
}

/// A text before it was cast to the plain layout: kernels read every layout, and a dictionary's values once.
fn any_layout(argument: &TypedExpr) -> &TypedExpr {
    let is_text_leaf = |data_type: &DataType| match data_type {
        DataType::Dictionary(_, values) => is_text(values),
        other => is_text(other),
    };
    match &argument.node {
        TypedNode::Cast(input, _) if argument.data_type == DataType::Utf8 && is_text_leaf(&input.data_type) => input,
        _ => argument,
    }
}

fn prepare_binary(left: &TypedExpr, op: BinaryOp, right: &TypedExpr, to: &DataType) -> Apply {
    match op {
        op if op.is_comparison() => compare::prepare(op),
        op if op.is_logical() => logic::prepare_binary(op),
        op => arithmetic::prepare(&left.data_type, op, &right.data_type, to),
    }
}

fn prepare_call(function: &Function, arguments: &[TypedExpr], to: &DataType) -> Result<Apply> {
    use Function as F;
    Ok(match function {
        F::Abs | F::Round(_) | F::Floor | F::Ceil | F::Sqrt | F::Exp | F::Ln | F::Log | F::Pow => {
            math::prepare(function, to)
        }
        F::Least | F::Greatest | F::Coalesce => pick::prepare(function),
        F::Hash => Box::new(|operands, _, _| hash_operands(operands)),
        F::Length
        | F::LengthBytes
        | F::Lower
        | F::Upper
        | F::Trim
        | F::Normalize
        | F::Contains
        | F::StartsWith
        | F::EndsWith => text::prepare(function, arguments)?,
        F::Matches(_) | F::Extract(_, _) | F::Replace | F::ReplaceRegex(_, _) | F::Concat | F::Substring => {
            text_parts::prepare(function)?
        }
        F::Split(_) => text_parts::prepare_split(function, to)?,
        F::ParseTimestamp { format, unit, lossy } => time_pattern::prepare_parse(format, *unit, *lossy)?,
        F::FormatTimestamp(format) => time_pattern::prepare_format(format)?,
        F::Truncate(_) | F::Part(_) | F::Epoch(_) => time::prepare(function, &arguments[0].data_type)?,
        F::Window { .. } | F::Session { .. } => return Err(Error::internal("a window among the values of a row")),
        F::Field(_) | F::ListLength | F::ListGet | F::ListSum | F::ListMean | F::ListMin | F::ListMax => {
            lists::prepare(function, to)
        }
    })
}

impl Node {
    /// The values for the rows of the scope.
    pub(crate) fn evaluate(&self, scope: &Scope<'_>) -> Result<Operand> {
        match &self.kind {
            Kind::Column(index) => match scope.columns.get(*index) {
                Some(column) => Ok(Operand::Column(Arc::clone(column))),
                None => Err(self.site.unknown(&"a column that the batch does not have")),
            },
            Kind::Constant(value) => Ok(Operand::Constant(Arc::clone(value))),
            Kind::Apply(apply, inputs) => {
                let operands = inputs.iter().map(|input| input.evaluate(scope)).collect::<Result<Vec<_>>>()?;
                let answer = apply(&operands, scope, &self.site)?;
                debug_assert_eq!(answer.data_type(), &self.site.data_type, "{:?}", self.site);
                Ok(answer)
            }
            Kind::Case(case) => case.evaluate(scope, &self.site),
        }
    }
}
