//! Typing: an expression and a schema give a typed expression, or an error that says what is wrong and what was meant.
//!
//! What flows: names become indices, implicit conversions become casts (`coerce`), literals take the type of
//! what they meet (`literal`), and each operator and function checks its operands (`operators`,
//! `signature`). It does not compute anything: a constant expression stays an expression.

use std::collections::BTreeSet;

use super::coerce::{Purpose, common_type, condition, convert, describe};
use super::literal::{bend, time_zone};
use super::operators;
use super::signature;
use super::{CastMode, Expr, Function, TypedExpr, TypedNode};
use crate::columnar::data_type::{self, leaf};
use crate::columnar::{DataType, Scalar, Schema};
use crate::error::{Error, Result};
use crate::suggest;

impl Expr {
    /// The expression with its columns resolved in `schema` and all conversions written out.
    ///
    /// ```
    /// use pelton::columnar::{DataType, Field, Schema};
    /// use pelton::expr::{col, lit};
    ///
    /// let schema = Schema::new(vec![Field::new("campaign_id", DataType::Int32, false)]);
    /// let typed = (col("campaign_id") + lit(1)).typed(&schema)?;
    /// assert_eq!(typed.data_type, DataType::Int32);
    ///
    /// let error = col("campaing_id").typed(&schema).unwrap_err();
    /// assert_eq!(error.to_string(), "there is no column \"campaing_id\"; did you mean \"campaign_id\"?");
    /// # Ok::<(), pelton::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidQuery`: an unknown column, field or time zone, operands or arguments of the wrong type, a pattern that
    /// cannot be read. `Unsupported`: a column of a type that the engine does not take.
    pub fn typed(&self, schema: &Schema) -> Result<TypedExpr> {
        expression(self, schema).map_err(|error| match self {
            Self::Column(_) | Self::Literal(_) => error,
            _ => in_expression(error, &self.to_string()),
        })
    }
}

/// The error, with the expression it is about; long ones are cut.
pub(super) fn in_expression(error: Error, text: &str) -> Error {
    const SHOWN_MAX: usize = 160;
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let more = if shown.len() < text.len() { " ..." } else { "" };
    error.context(format!("in `{shown}{more}`"))
}

/// Refuses two columns of one name.
///
/// ```
/// let error = pelton::expr::check_names(["city", "age", "city"]).unwrap_err();
/// assert_eq!(error.to_string(), "two columns are named \"city\"; rename one of them: `... as other_name`");
/// ```
///
/// # Errors
/// `InvalidQuery`, with the name.
pub fn check_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut seen = BTreeSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(Error::invalid_query(format!("two columns are named \"{name}\""))
            .advice("rename one of them: `... as other_name`")),
    }
}

/// One expression, and what is below it.
pub(super) fn expression(expr: &Expr, schema: &Schema) -> Result<TypedExpr> {
    match expr {
        Expr::Column(name) => column(name, schema),
        Expr::Literal(value) => Ok(TypedExpr::literal(value.clone(), value.data_type())),
        Expr::Alias(input, _) => expression(input, schema),
        Expr::Unary(op, input) => operators::unary(*op, expression(input, schema)?),
        Expr::Binary(left, op, right) => operators::binary(expression(left, schema)?, *op, expression(right, schema)?),
        Expr::Cast { input, to, mode } => cast(expression(input, schema)?, to, *mode),
        Expr::Case { branches, otherwise } => case(branches, otherwise.as_deref(), schema),
        Expr::IsIn(input, members) => is_in(expression(input, schema)?, members),
        Expr::Call(function, arguments) => {
            let arguments = arguments.iter().map(|argument| expression(argument, schema)).collect::<Result<_>>()?;
            signature::call(function, arguments)
        }
    }
}

/// The column of the full name, or the field of a struct that a dotted name leads to.
fn column(name: &str, schema: &Schema) -> Result<TypedExpr> {
    if let Some((index, field)) = schema.column_with_name(name) {
        data_type::check(name, field.data_type())?;
        return Ok(TypedExpr::column(index, field));
    }
    // The longest prefix that is a column wins: columns may have dots in their names.
    let dots = name.char_indices().filter(|(_, c)| *c == '.').map(|(at, _)| at).collect::<Vec<_>>();
    for at in dots.into_iter().rev() {
        if let Some((index, field)) = schema.column_with_name(&name[..at]) {
            data_type::check(name, field.data_type())?;
            let whole = TypedExpr::column(index, field);
            return name[at + 1..]
                .split('.')
                .try_fold(whole, |inner, part| signature::call(&Function::Field(part.to_owned()), vec![inner]));
        }
    }
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    Err(Error::invalid_query(format!("there is no column \"{name}\"")).advice(suggest::advice(name, "columns", names)))
}

fn cast(input: TypedExpr, to: &DataType, mode: CastMode) -> Result<TypedExpr> {
    data_type::check("cast", to).map_err(|_| {
        Error::invalid_query(format!("cannot cast to {to}"))
            .advice("cast to another type: the engine does not take this one")
    })?;
    if let DataType::Timestamp(_, Some(zone)) = to {
        time_zone(zone)?;
    }
    if !arrow_cast::can_cast_types(&input.data_type, to) {
        let message = format!("cannot cast {} to {to}", describe(&input));
        return Err(Error::invalid_query(message).advice("there is no meaning for it: use a function that makes one"));
    }
    let nullable = input.nullable || mode == CastMode::Lossy;
    if input.data_type == *to && input.as_literal().is_none() {
        return Ok(input);
    }
    Ok(TypedExpr { node: TypedNode::Cast(Box::new(input), mode), data_type: to.clone(), nullable })
}

fn case(branches: &[(Expr, Expr)], otherwise: Option<&Expr>, schema: &Schema) -> Result<TypedExpr> {
    if branches.is_empty() {
        return Err(
            Error::invalid_query("a choice without any WHEN").advice("write `case when condition then value end`")
        );
    }
    let conditions = branches
        .iter()
        .map(|(when, _)| condition(expression(when, schema)?, "the condition of WHEN"))
        .collect::<Result<Vec<_>>>()?;
    let values = branches.iter().map(|(_, then)| expression(then, schema)).collect::<Result<Vec<_>>>()?;
    let otherwise = otherwise.map(|value| expression(value, schema)).transpose()?;
    let all: Vec<&TypedExpr> = values.iter().chain(&otherwise).collect();
    let data_type = common_type(&all, Purpose::Compute, "choose between")?;
    let nullable = otherwise.is_none() || all.iter().any(|value| value.nullable);
    let values = values.into_iter().map(|value| convert(value, &data_type)).collect::<Result<Vec<_>>>()?;
    let otherwise = otherwise.map(|value| convert(value, &data_type)).transpose()?.map(Box::new);
    let branches = conditions.into_iter().zip(values).collect();
    Ok(TypedExpr { node: TypedNode::Case(branches, otherwise), data_type, nullable })
}

fn is_in(value: TypedExpr, members: &[Scalar]) -> Result<TypedExpr> {
    let literals: Vec<TypedExpr> =
        members.iter().map(|member| TypedExpr::literal(member.clone(), member.data_type())).collect();
    let all: Vec<&TypedExpr> = std::iter::once(&value).chain(&literals).collect();
    let data_type = common_type(&all, Purpose::Compare, "look for")?;
    operators::comparable(&value, "IN")?;
    // A dictionary stays one if its values already have the type.
    let value = if *leaf(&value.data_type) == data_type { value } else { convert(value, &data_type)? };
    let members = members
        .iter()
        .map(|member| {
            bend(member, &data_type)?
                .ok_or_else(|| Error::internal(format!("{member:?} was found to fit {data_type}, but does not")))
        })
        .collect::<Result<Vec<_>>>()?;
    let nullable = value.nullable || members.iter().any(Scalar::is_null);
    Ok(TypedExpr { node: TypedNode::IsIn(Box::new(value), members), data_type: DataType::Boolean, nullable })
}
