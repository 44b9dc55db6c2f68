//! Expressions, aggregates, orders, types and schemas from SQL text, as pipeline files and the command line write them.
//!
//! The text is read by the `sqlparser` crate; this module turns its tree into ours and says, for SQL that has no place
//! in a stream, what to use instead. `docs/expressions.md` lists all that can be said. Names of columns are taken as
//! they are written, case included; names of functions and types in any case.
//!
//! ```
//! use pelton::expr::{col, lit, parse};
//!
//! assert_eq!(parse::parse_expr("age >= 18 and city = 'Paris'")?, col("age").gt_eq(lit(18)).and(col("city").eq("Paris")));
//! assert_eq!(parse::parse_aggregate("sum(bytes) as total")?, col("bytes").sum().alias("total"));
//!
//! let error = parse::parse_expr("lowr(city)").unwrap_err();
//! assert_eq!(error.to_string(), "there is no function \"lowr\" at character 1; did you mean \"lower\"?");
//! # Ok::<(), pelton::error::Error>(())
//! ```

mod aggregates;
mod calls;
mod data_types;
mod functions;
mod patterns;
mod scalars;
mod values;

use std::any::TypeId;

use sqlparser::ast::Spanned;
use sqlparser::dialect::{Dialect, DuckDbDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use super::{Aggregate, Expr};
use crate::columnar::{DataType, Field, Schema};
use crate::error::{Error, Result};

pub use aggregates::aggregate_names;
pub use functions::function_names;

/// Operators on the way from the outermost expression to the innermost at most: the tree must fit the stack.
const DEPTH_MAX: usize = 300;

/// One expression, for example `price * 2`.
///
/// # Errors
/// `InvalidQuery`, with the character at which the text stops making sense.
pub fn parse_expr(text: &str) -> Result<Expr> {
    read(text, |reader, parser| reader.expression(parser))
}

/// One expression with or without a name, for example `price * 2 as double_price`.
///
/// # Errors
/// As for [`parse_expr`].
pub fn parse_projection(text: &str) -> Result<Expr> {
    read(text, |reader, parser| {
        let expr = reader.expression(parser)?;
        Ok(match reader.alias(parser)? {
            Some(name) => expr.alias(name),
            None => expr,
        })
    })
}

/// One aggregate, for example `sum(bytes) filter (where status >= 500) as bytes_of_errors`.
///
/// # Errors
/// As for [`parse_expr`].
pub fn parse_aggregate(text: &str) -> Result<Aggregate> {
    read(text, |reader, parser| {
        let call = parser.parse_expr().map_err(|error| reader.unreadable(error))?;
        let mut aggregate = reader.aggregate(&call)?;
        if parser.parse_keyword(Keyword::WHERE) {
            aggregate = aggregate.filter(reader.expression(parser)?);
        }
        Ok(match reader.alias(parser)? {
            Some(name) => aggregate.alias(name),
            None => aggregate,
        })
    })
}

/// What rows are ordered by: an expression, whether the largest comes first, and whether nulls come first, for example
/// `minute desc nulls first`. Nulls come last unless the text says otherwise.
///
/// # Errors
/// As for [`parse_expr`].
pub fn parse_order(text: &str) -> Result<(Expr, bool, bool)> {
    read(text, |reader, parser| {
        let expr = reader.expression(parser)?;
        let descending = parser.parse_keyword(Keyword::DESC);
        if !descending {
            let _the_default = parser.parse_keyword(Keyword::ASC);
        }
        let nulls_first = parser.parse_keywords(&[Keyword::NULLS, Keyword::FIRST]);
        if !nulls_first {
            let _the_default = parser.parse_keywords(&[Keyword::NULLS, Keyword::LAST]);
        }
        Ok((expr, descending, nulls_first))
    })
}

/// A type, for example `bigint`, `uint8`, `decimal(12, 2)`, `timestamp with time zone` or `text[]`.
///
/// ```
/// use pelton::columnar::DataType;
/// use pelton::expr::parse::parse_data_type;
///
/// assert_eq!(parse_data_type("decimal(12, 2)")?, DataType::Decimal128(12, 2));
/// assert_eq!(parse_data_type("int[]")?, DataType::new_list(DataType::Int32, true));
/// # Ok::<(), pelton::error::Error>(())
/// ```
///
/// # Errors
/// As for [`parse_expr`].
pub fn parse_data_type(text: &str) -> Result<DataType> {
    read(text, |reader, parser| {
        let at = parser.peek_token().span.start;
        let data_type = parser.parse_data_type().map_err(|error| reader.unreadable(error))?;
        reader.data_type(&data_type, at)
    })
}

/// A schema: names with types, separated by commas, `not null` where nulls are not allowed.
///
/// ```
/// let schema = pelton::expr::parse::parse_schema("station text not null, temperature double")?;
/// assert_eq!(schema.fields().len(), 2);
/// assert!(!schema.field(0).is_nullable());
/// # Ok::<(), pelton::error::Error>(())
/// ```
///
/// # Errors
/// As for [`parse_expr`]; also two columns of one name.
pub fn parse_schema(text: &str) -> Result<Schema> {
    read(text, |reader, parser| {
        let mut fields = Vec::new();
        loop {
            let name = parser.parse_identifier().map_err(|error| reader.unreadable(error))?.value;
            let at = parser.peek_token().span.start;
            let data_type = parser.parse_data_type().map_err(|error| reader.unreadable(error))?;
            let required = parser.parse_keywords(&[Keyword::NOT, Keyword::NULL]);
            if !required {
                let _the_default = parser.parse_keyword(Keyword::NULL);
            }
            fields.push(Field::new(name, reader.data_type(&data_type, at)?, !required));
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        super::check_names(fields.iter().map(|field: &Field| field.name().as_str()))?;
        Ok(Schema::new(fields))
    })
}

/// Reads a whole text by `with`.
fn read<T>(text: &str, with: impl FnOnce(&Reader<'_>, &mut Parser<'_>) -> Result<T>) -> Result<T> {
    let reader = Reader { text };
    let tokens =
        Tokenizer::new(&Text, text).tokenize_with_location().map_err(|error| reader.unreadable(error.into()))?;
    if depth(&tokens) > DEPTH_MAX {
        return Err(Error::invalid_query(format!("the expression is nested more than {DEPTH_MAX} deep"))
            .advice("compute it in several columns, one after another; `x in (...)` replaces many `or`"));
    }
    let mut parser = Parser::new(&Text).with_recursion_limit(100).with_tokens_with_locations(tokens);
    if parser.peek_token().token == Token::EOF {
        return Err(Error::invalid_query("the text is empty").advice("write an expression such as `price * 2`"));
    }
    let made = with(&reader, &mut parser)?;
    let next = parser.peek_token();
    if next.token == Token::EOF {
        return Ok(made);
    }
    let message = format!("`{}` is not expected{}", next.token, reader.place(next.span.start));
    Err(Error::invalid_query(message).advice(match &next.token {
        Token::Word(_) => "a name for the column follows the word `as`",
        Token::Comma => "write one expression only",
        Token::Eq => "compare with a single `=`",
        _ => "write an operator between two values",
    }))
}

/// A bound on the depth of the tree: operators in a row, plus those around the parentheses they stand in.
fn depth(tokens: &[TokenWithSpan]) -> usize {
    // Operators so far at each level of parentheses, and in all of them.
    let mut levels = vec![0];
    let (mut depth, mut deepest) = (0, 0);
    for token in tokens {
        let (operators, ends, opens) = match &token.token {
            Token::Whitespace(_) | Token::Number(..) | Token::SingleQuotedString(_) | Token::EOF => (0, false, false),
            Token::Comma => (0, true, true),
            Token::RParen | Token::RBracket => (0, true, false),
            Token::LParen | Token::LBracket => (1, false, true),
            Token::Word(word) => match word.keyword {
                Keyword::END => (0, true, false),
                Keyword::WHEN | Keyword::THEN | Keyword::ELSE => (0, true, true),
                Keyword::CASE => (1, false, true),
                Keyword::AND | Keyword::OR | Keyword::NOT | Keyword::IS => (1, false, false),
                _ => (0, false, false),
            },
            _ => (1, false, false),
        };
        if ends {
            depth -= levels.pop().unwrap_or_default();
        }
        depth += operators;
        match levels.last_mut() {
            Some(level) => *level += operators,
            None => levels.push(operators),
        }
        if opens {
            levels.push(0);
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// What SQL we read: that of `DuckDB`, without names for arguments, so that `any(status = 500)` is a comparison.
#[derive(Debug)]
struct Text;

impl Dialect for Text {
    fn dialect(&self) -> TypeId {
        TypeId::of::<DuckDbDialect>()
    }

    fn is_identifier_start(&self, c: char) -> bool {
        c.is_alphabetic() || c == '_'
    }

    fn is_identifier_part(&self, c: char) -> bool {
        c.is_alphanumeric() || c == '_' || c == '$'
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        true
    }

    fn supports_notnull_operator(&self) -> bool {
        true
    }

    fn allow_extract_custom(&self) -> bool {
        true
    }

    fn allow_extract_single_quotes(&self) -> bool {
        true
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        true
    }

    fn supports_comma_separated_trim(&self) -> bool {
        true
    }
}

/// Turns trees of `sqlparser` into ours; knows the text, to say where in it a mistake is.
struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn expression(&self, parser: &mut Parser<'_>) -> Result<Expr> {
        let tree = parser.parse_expr().map_err(|error| self.unreadable(error))?;
        self.scalar(&tree)
    }

    fn alias(&self, parser: &mut Parser<'_>) -> Result<Option<String>> {
        if !parser.parse_keyword(Keyword::AS) {
            return Ok(None);
        }
        parser.parse_identifier().map(|name| Some(name.value)).map_err(|error| self.unreadable(error))
    }

    /// An error about a part of the text.
    fn wrong(&self, part: &impl Spanned, what: impl std::fmt::Display) -> Error {
        Error::invalid_query(format!("{what}{}", self.place(part.span().start)))
    }

    /// ` at character 7`, counted from 1 over the whole text, if the place is known.
    fn place(&self, at: Location) -> String {
        if at.line == 0 {
            return String::new();
        }
        let line = usize::try_from(at.line).unwrap_or(usize::MAX);
        let before: usize = self.text.split_inclusive('\n').take(line - 1).map(|line| line.chars().count()).sum();
        let column = usize::try_from(at.column).unwrap_or(usize::MAX);
        format!(" at character {}", before.saturating_add(column))
    }

    /// What `sqlparser` says, with the place in our way of counting.
    fn unreadable(&self, error: ParserError) -> Error {
        let said = match error {
            ParserError::TokenizerError(said) | ParserError::ParserError(said) => said,
            ParserError::RecursionLimitExceeded => {
                return Error::invalid_query("the expression is nested too deeply")
                    .advice("compute it in several columns, one after another");
            }
        };
        let (what, at) = said.split_once(" at Line: ").unwrap_or((&said, ""));
        let place = at.split_once(", Column: ").and_then(|(line, column)| {
            Some(self.place(Location { line: line.parse().ok()?, column: column.parse().ok()? }))
        });
        let what =
            what.replace("Expected: ", "expected ").replace("found: EOF", "found the end").replace("found: ", "found ");
        let place = place.unwrap_or_default();
        Error::invalid_query(format!("cannot read `{}`: {what}{place}", self.text.trim()))
            .advice("docs/expressions.md lists all that can be said")
    }
}
