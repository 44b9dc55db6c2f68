//! Operators, conditions and choices: every tree that is not a call, a literal or a type.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CaseWhen, CastKind, CeilFloorKind, Expr as Tree, Spanned, Subscript, UnaryOperator,
    Value,
};

use super::Reader;
use super::functions::part_of;
use crate::columnar::Scalar;
use crate::error::{Error, Result};
use crate::expr::{BinaryOp, CastMode, Expr, Function, UnaryOp, all_of, any_of, coalesce, lit};

impl Reader<'_> {
    /// A tree as an expression.
    pub(super) fn scalar(&self, tree: &Tree) -> Result<Expr> {
        // Small frames: the tree may be deep. What has little to say stands in functions of its own.
        match tree {
            Tree::Nested(inner) => self.scalar(inner),
            Tree::BinaryOp { left, op, right } => self.binary(left, op, right, tree),
            Tree::UnaryOp { op, expr } => self.unary(*op, expr, tree),
            Tree::Function(call) => self.call(call, tree),
            Tree::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Tree::Identifier(_) | Tree::CompoundIdentifier(_) | Tree::CompoundFieldAccess { .. } => self.name(tree),
            Tree::Value(_) | Tree::TypedString(_) | Tree::Interval(_) | Tree::Array(_) => self.fixed_value(tree),
            Tree::Cast { .. }
            | Tree::Extract { .. }
            | Tree::Ceil { .. }
            | Tree::Floor { .. }
            | Tree::Substring { .. }
            | Tree::Trim { .. } => self.written_call(tree),
            other => self.condition(other),
        }
    }

    fn name(&self, tree: &Tree) -> Result<Expr> {
        match tree {
            Tree::Identifier(name) => Ok(Expr::Column(name.value.clone())),
            Tree::CompoundIdentifier(names) => {
                Ok(Expr::Column(names.iter().map(|name| name.value.as_str()).collect::<Vec<_>>().join(".")))
            }
            Tree::CompoundFieldAccess { root, access_chain } => {
                access_chain.iter().try_fold(self.scalar(root)?, |whole, access| self.access(whole, access))
            }
            other => Err(self.refused(other)),
        }
    }

    fn fixed_value(&self, tree: &Tree) -> Result<Expr> {
        Ok(Expr::Literal(match tree {
            Tree::Value(value) => self.value(value)?,
            Tree::TypedString(typed) => self.typed_string(typed, tree)?,
            Tree::Interval(interval) => self.interval(interval, tree)?,
            Tree::Array(array) => {
                let items = array.elem.iter().map(|item| self.literal(item, "a list"));
                Scalar::List(items.collect::<Result<_>>()?)
            }
            other => return Err(self.refused(other)),
        }))
    }

    /// Functions that have a syntax of their own.
    fn written_call(&self, tree: &Tree) -> Result<Expr> {
        let below = |tree: &Tree| self.scalar(tree);
        Ok(match tree {
            Tree::Cast { kind, expr, data_type, .. } => {
                let mode = match kind {
                    CastKind::Cast | CastKind::DoubleColon => CastMode::Checked,
                    CastKind::TryCast | CastKind::SafeCast => CastMode::Lossy,
                };
                let to = self.data_type(data_type, tree.span().start)?;
                Expr::Cast { input: Box::new(below(expr)?), to, mode }
            }
            Tree::Extract { field, expr, .. } => {
                let part = part_of(&field.to_string()).map_err(|error| self.beside(error, expr))?;
                below(expr)?.part(part)
            }
            Tree::Ceil { expr, field: CeilFloorKind::DateTimeField(_) } => below(expr)?.ceil(),
            Tree::Floor { expr, field: CeilFloorKind::DateTimeField(_) } => below(expr)?.floor(),
            Tree::Substring { expr, substring_from, substring_for, .. } => {
                let start = substring_from.as_deref().map_or(Ok(lit(1)), below)?;
                let length = substring_for.as_deref().map_or(Ok(lit(i64::MAX)), below)?;
                let start = self.position(start, expr)?;
                below(expr)?.substring(start, length)
            }
            Tree::Trim { expr, trim_where: None, trim_what: None, trim_characters: None } => below(expr)?.trim(),
            other => return Err(self.refused(other)),
        })
    }

    fn condition(&self, tree: &Tree) -> Result<Expr> {
        let below = |tree: &Tree| self.scalar(tree);
        Ok(match tree {
            Tree::IsNull(input) => below(input)?.is_null(),
            Tree::IsNotNull(input) => below(input)?.is_not_null(),
            Tree::IsTrue(input) => coalesce([below(input)?, lit(false)]),
            Tree::IsNotTrue(input) => !coalesce([below(input)?, lit(false)]),
            Tree::IsFalse(input) => coalesce([!below(input)?, lit(false)]),
            Tree::IsNotFalse(input) => coalesce([below(input)?, lit(true)]),
            Tree::IsNotDistinctFrom(left, right) => same(below(left)?, below(right)?),
            Tree::IsDistinctFrom(left, right) => !same(below(left)?, below(right)?),
            Tree::InList { expr, list, negated } => {
                let members = list.iter().map(below).collect::<Result<Vec<_>>>()?;
                negate_if(*negated, is_in(below(expr)?, members))
            }
            Tree::Between { expr, negated, low, high } => {
                negate_if(*negated, below(expr)?.between(below(low)?, below(high)?))
            }
            Tree::Like { negated, expr, pattern, escape_char, .. } => {
                let text = below(expr)?;
                negate_if(*negated, self.like(text, pattern, escape_char.as_deref(), false)?)
            }
            Tree::ILike { negated, expr, pattern, escape_char, .. } => {
                let text = below(expr)?;
                negate_if(*negated, self.like(text, pattern, escape_char.as_deref(), true)?)
            }
            Tree::RLike { negated, expr, pattern, .. } => {
                negate_if(*negated, below(expr)?.matches(self.text_literal(pattern, "a regular expression")?))
            }
            other => return Err(self.refused(other)),
        })
    }

    fn access(&self, whole: Expr, access: &AccessExpr) -> Result<Expr> {
        match access {
            AccessExpr::Dot(Tree::Identifier(name)) => Ok(match whole {
                Expr::Column(column) => Expr::Column(format!("{column}.{}", name.value)),
                whole => whole.field(name.value.clone()),
            }),
            AccessExpr::Subscript(Subscript::Index { index }) => match self.scalar(index)? {
                Expr::Literal(Scalar::Utf8(name)) => Ok(whole.field(name)),
                position => {
                    let position = self.position(position, index)?;
                    Ok(whole.list_get(position))
                }
            },
            AccessExpr::Dot(other) => Err(self.wrong(other, "the name of a field is expected")),
            AccessExpr::Subscript(Subscript::Slice { .. }) => {
                Err(Error::invalid_query("parts of lists cannot be taken").advice("take one item: list[1]"))
            }
        }
    }

    /// A 1-based SQL position as a 0-based one.
    pub(super) fn position(&self, position: Expr, tree: &Tree) -> Result<Expr> {
        match &position {
            Expr::Literal(Scalar::Int64(0)) => Err(self
                .wrong(tree, "there is no position 0")
                .advice("positions in SQL text count from 1, or from -1 at the end")),
            Expr::Literal(Scalar::Int64(at)) if *at > 0 => Ok(lit(at - 1)),
            Expr::Literal(_) => Ok(position),
            computed => Ok(match crate::expr::display::to_one(computed) {
                Some(from_zero) => from_zero.clone(),
                None => crate::expr::display::shift_from_one(position),
            }),
        }
    }

    fn unary(&self, op: UnaryOperator, input: &Tree, tree: &Tree) -> Result<Expr> {
        match (op, input) {
            (UnaryOperator::Minus, Tree::Value(number)) if matches!(number.value, Value::Number(..)) => {
                Ok(Expr::Literal(self.negative(number)?))
            }
            (UnaryOperator::Minus, _) => Ok(-self.scalar(input)?),
            (UnaryOperator::Plus, _) => self.scalar(input),
            (UnaryOperator::Not | UnaryOperator::BangNot, _) => Ok(!self.scalar(input)?),
            (other, _) => Err(self.wrong(tree, format!("the operator `{other}` is not known"))),
        }
    }

    fn binary(&self, left: &Tree, op: &BinaryOperator, right: &Tree, tree: &Tree) -> Result<Expr> {
        if *op == BinaryOperator::StringConcat {
            return self.concat(left, right);
        }
        let Some(op) = operator(op) else { return Err(self.unknown_operator(op, tree)) };
        let (left, right) = (self.scalar(left)?, self.scalar(right)?);
        Ok(Expr::Binary(Box::new(left), op, Box::new(right)))
    }

    fn unknown_operator(&self, op: &BinaryOperator, tree: &Tree) -> Error {
        let hint = match op {
            BinaryOperator::Arrow | BinaryOperator::LongArrow => "fields of structs are written `a.b`",
            BinaryOperator::BitwiseXor | BinaryOperator::PGExp => "powers are written pow(x, y)",
            _ => "the operators are + - * / // % = <> < <= > >= and or not ||",
        };
        self.wrong(tree, format!("the operator `{op}` is not known")).advice(hint)
    }

    /// A chain of `||` without parentheses is one call.
    fn concat(&self, left: &Tree, right: &Tree) -> Result<Expr> {
        let right = self.scalar(right)?;
        let is_chain = matches!(left, Tree::BinaryOp { op: BinaryOperator::StringConcat, .. });
        let mut parts = match self.scalar(left)? {
            Expr::Call(Function::Concat, parts) if is_chain => parts,
            part => vec![part],
        };
        parts.push(right);
        Ok(Expr::Call(Function::Concat, parts))
    }

    fn case(&self, operand: Option<&Tree>, conditions: &[CaseWhen], otherwise: Option<&Tree>) -> Result<Expr> {
        let operand = operand.map(|operand| self.scalar(operand)).transpose()?;
        let branch = |branch: &CaseWhen| {
            let condition = self.scalar(&branch.condition)?;
            let condition = match &operand {
                Some(operand) => operand.clone().eq(condition),
                None => condition,
            };
            Ok((condition, self.scalar(&branch.result)?))
        };
        let branches = conditions.iter().map(branch).collect::<Result<_>>()?;
        let otherwise = otherwise.map(|value| self.scalar(value)).transpose()?.map(Box::new);
        Ok(Expr::Case { branches, otherwise })
    }

    /// SQL that is read but has no place in a stream: what to use instead.
    fn refused(&self, tree: &Tree) -> Error {
        let (what, instead) = match tree {
            Tree::Subquery(_) | Tree::Exists { .. } | Tree::InSubquery { .. } => {
                ("queries inside expressions are not known", "join with a table instead")
            }
            Tree::SimilarTo { .. } => ("`similar to` is not known", "use regexp_matches(text, 'regular expression')"),
            Tree::AtTimeZone { .. } => {
                ("`at time zone` is not known", "cast instead: cast(x as timestamp_us('Europe/Berlin'))")
            }
            Tree::Position { .. } => ("position is not known", "use contains(text, part) or regexp_extract"),
            Tree::Trim { .. } => ("trim takes nothing but a text", "use regexp_replace to take other signs away"),
            Tree::Ceil { .. } | Tree::Floor { .. } => ("floor and ceil take one number", "use round(x, digits)"),
            Tree::Wildcard(_) | Tree::QualifiedWildcard(..) => ("`*` is not an expression", "name the columns"),
            Tree::Tuple(_) => ("several values in parentheses are not one value", "write them one by one"),
            Tree::Lambda(_) => ("functions in text are not known", "use map_batches from Rust"),
            Tree::Collate { .. } => ("`collate` is not known", "text is compared byte by byte"),
            Tree::JsonAccess { .. } => ("paths into JSON are not known", "fields of structs are written `a.b`"),
            _ => ("this part of SQL is not known", "docs/expressions.md lists all that can be said"),
        };
        self.wrong(tree, what).advice(instead)
    }

    /// A literal, where nothing else can stand.
    pub(super) fn literal(&self, tree: &Tree, whose: &str) -> Result<Scalar> {
        match self.scalar(tree)? {
            Expr::Literal(value) => Ok(value),
            _ => Err(self
                .wrong(tree, format!("{whose} takes fixed values only, but `{tree}` is not one"))
                .advice("write a number, a text in single quotes, true, false or null")),
        }
    }

    /// A text in quotes, where nothing else can stand.
    pub(super) fn text_literal(&self, tree: &Tree, what: &str) -> Result<String> {
        match self.literal(tree, what)? {
            Scalar::Utf8(text) => Ok(text),
            _ => Err(self.wrong(tree, format!("{what} must be a text in single quotes, not `{tree}`"))),
        }
    }

    /// The error, with the place of a tree near it.
    pub(super) fn beside(&self, error: Error, tree: &Tree) -> Error {
        error.context(format!("in `{tree}`{}", self.place(tree.span().start)))
    }
}

fn operator(op: &BinaryOperator) -> Option<BinaryOp> {
    Some(match op {
        BinaryOperator::Plus => BinaryOp::Add,
        BinaryOperator::Minus => BinaryOp::Subtract,
        BinaryOperator::Multiply => BinaryOp::Multiply,
        BinaryOperator::Divide => BinaryOp::Divide,
        BinaryOperator::DuckIntegerDivide => BinaryOp::FloorDivide,
        BinaryOperator::Modulo => BinaryOp::Modulo,
        BinaryOperator::Eq => BinaryOp::Eq,
        BinaryOperator::NotEq => BinaryOp::NotEq,
        BinaryOperator::Lt => BinaryOp::Lt,
        BinaryOperator::LtEq => BinaryOp::LtEq,
        BinaryOperator::Gt => BinaryOp::Gt,
        BinaryOperator::GtEq => BinaryOp::GtEq,
        BinaryOperator::And => BinaryOp::And,
        BinaryOperator::Or => BinaryOp::Or,
        _ => return None,
    })
}

fn negate_if(negated: bool, condition: Expr) -> Expr {
    if negated { Expr::Unary(UnaryOp::Not, Box::new(condition)) } else { condition }
}

/// Equal, or both null.
fn same(left: Expr, right: Expr) -> Expr {
    let both_null = all_of([left.clone().is_null(), right.clone().is_null()]);
    coalesce([left.eq(right), both_null])
}

fn is_in(value: Expr, members: Vec<Expr>) -> Expr {
    let literals: Option<Vec<Scalar>> = members
        .iter()
        .map(|member| match member {
            Expr::Literal(literal) => Some(literal.clone()),
            _ => None,
        })
        .collect();
    match literals {
        Some(literals) => Expr::IsIn(Box::new(value), literals),
        None => any_of(members.into_iter().map(|member| value.clone().eq(member))),
    }
}
