//! Calls of functions.

use sqlparser::ast::{Expr as Tree, Function as Call, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::Reader;
use super::aggregates::{aggregate_names, is_aggregate};
use super::functions::{Fixed, Form, form, function_names, name_of, part_of};
use crate::columnar::{Scalar, TimeUnit};
use crate::error::{Error, Result};
use crate::expr::{Expr, Function, lit, span, when};
use crate::suggest;

/// The arguments of a call that are expressions; none if one of them is something else, such as `*`.
pub(super) fn arguments_of(call: &Call) -> Option<Vec<&Tree>> {
    match &call.args {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::Subquery(_) => None,
        FunctionArguments::List(list) if list.clauses.is_empty() => list
            .args
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(tree)) => Some(tree),
                _ => None,
            })
            .collect(),
        FunctionArguments::List(_) => None,
    }
}

impl Reader<'_> {
    pub(super) fn call(&self, call: &Call, tree: &Tree) -> Result<Expr> {
        let name = name_of(&call.name);
        if call.over.is_some() {
            let hint = "group by a key and a window of time instead: key_by(..., window(...))";
            return Err(self.wrong(tree, "window functions (`over`) are not known").advice(hint));
        }
        let Some(form) = form(&name) else { return Err(self.unknown(&name, tree)) };
        let Some(arguments) = arguments_of(call).filter(|_| call.filter.is_none()) else {
            let message = format!("{name} takes values in parentheses and nothing else");
            return Err(self.wrong(tree, message).advice("write them separated by commas"));
        };
        match form {
            Form::Values(function) => {
                let values = arguments.into_iter().map(|value| self.scalar(value)).collect::<Result<_>>()?;
                Ok(Expr::Call(function, values))
            }
            Form::Part(part) => match arguments.as_slice() {
                [time] => Ok(self.scalar(time)?.part(part)),
                other => Err(self.wrong_count(&name, tree, "one time", other.len())),
            },
            Form::Fixed(fixed) => self.fixed(&name, fixed, &arguments, tree),
        }
    }

    fn unknown(&self, name: &str, tree: &Tree) -> Error {
        if is_aggregate(name) {
            let hint = match name {
                "min" => "for the smallest of several values in a row use least(a, b)",
                "max" => "for the largest of several values in a row use greatest(a, b)",
                _ => "list it under the aggregates of a keyed reduce, then compute with its result",
            };
            return self
                .wrong(tree, format!("{name} is an aggregate: it cannot stand inside an expression"))
                .advice(hint);
        }
        let hint = match name {
            "now" | "current_timestamp" | "current_date" | "random" | "uuid" => {
                "an answer must not depend on when it is computed: take the time from a column".to_owned()
            }
            _ => {
                let names = function_names().chain(aggregate_names());
                suggest::meant(name, names, "docs/expressions.md lists all functions")
            }
        };
        self.wrong(tree, format!("there is no function \"{name}\"")).advice(hint)
    }

    fn wrong_count(&self, name: &str, tree: &Tree, wanted: &str, found: usize) -> Error {
        let are = if found == 1 { "is" } else { "are" };
        self.wrong(tree, format!("{name} takes {wanted}, but {found} {are} given"))
    }

    fn fixed(&self, name: &str, fixed: Fixed, arguments: &[&Tree], tree: &Tree) -> Result<Expr> {
        let value = |tree: &Tree| self.scalar(tree);
        let count = |wanted: &str| self.wrong_count(name, tree, wanted, arguments.len());
        match (fixed, arguments) {
            (Fixed::Round, [number]) => Ok(value(number)?.round(0)),
            (Fixed::Round, [number, digits]) => Ok(value(number)?.round(self.count(digits, "the number of digits")?)),
            (Fixed::Round, _) => Err(count("a number, and digits after the point")),
            (Fixed::Log, [number]) => Ok(value(number)?.log(10)),
            (Fixed::Log, [base, number]) => Ok(value(number)?.log(value(base)?)),
            (Fixed::Log, _) => Err(count("a base and a number")),
            (Fixed::LogTo(base), [number]) => Ok(value(number)?.log(base)),
            (Fixed::LogTo(_), _) => Err(count("one number")),
            (Fixed::IsNan, [number]) => Ok(value(number)?.is_nan()),
            (Fixed::IsNan, _) => Err(count("one number")),
            (Fixed::NullIf, [first, second]) => {
                let first = value(first)?;
                Ok(when(first.clone().eq(value(second)?)).then(lit(Scalar::Null)).otherwise(first))
            }
            (Fixed::NullIf, _) => Err(count("two values")),
            (Fixed::Clip, [number, low, high]) => Ok(value(number)?.clip(value(low)?, value(high)?)),
            (Fixed::Clip, _) => Err(count("a value and two bounds")),
            (Fixed::If, [condition, then, otherwise]) => {
                Ok(when(value(condition)?).then(value(then)?).otherwise(value(otherwise)?))
            }
            (Fixed::If, _) => Err(count("a condition and two values")),
            (Fixed::Substring, [text, start, rest @ ..]) if rest.len() < 2 => {
                let length = rest.first().map_or(Ok(lit(i64::MAX)), |length| value(length))?;
                Ok(value(text)?.substring(self.position(value(start)?, start)?, length))
            }
            (Fixed::Substring, _) => Err(count("a text, a position and a length")),
            (Fixed::StructExtract, [whole, field]) => {
                Ok(value(whole)?.field(self.text_literal(field, "the name of a field")?))
            }
            (Fixed::StructExtract, _) => Err(count("a struct and the name of a field")),
            (Fixed::ListGet, [list, index]) => Ok(value(list)?.list_get(self.position(value(index)?, index)?)),
            (Fixed::ListGet, _) => Err(count("a list and a position")),
            (
                Fixed::Split | Fixed::RegexpExtract | Fixed::RegexpMatches | Fixed::RegexpReplace,
                [text, parameters @ ..],
            ) => self.text_call(name, fixed, value(text)?, parameters, tree),
            (Fixed::Split | Fixed::RegexpExtract | Fixed::RegexpMatches | Fixed::RegexpReplace, []) => {
                Err(count("a text and more"))
            }
            _ => self.time_call(name, fixed, arguments, tree),
        }
    }

    fn text_call(&self, name: &str, fixed: Fixed, text: Expr, parameters: &[&Tree], tree: &Tree) -> Result<Expr> {
        let regex = |tree: &Tree| self.text_literal(tree, "a regular expression");
        match (fixed, parameters) {
            (Fixed::Split, []) => Ok(text.split_whitespace()),
            (Fixed::Split, [separator]) => Ok(text.split(self.text_literal(separator, "a separator")?)),
            (Fixed::RegexpExtract, [pattern]) => Ok(text.extract(regex(pattern)?, 0)),
            (Fixed::RegexpExtract, [pattern, group]) => {
                Ok(text.extract(regex(pattern)?, self.count(group, "the number of a group")?))
            }
            (Fixed::RegexpMatches, [pattern]) => Ok(text.matches(regex(pattern)?)),
            (Fixed::RegexpReplace, [pattern, with]) => {
                Ok(text.replace_regex(regex(pattern)?, self.text_literal(with, "the replacement")?))
            }
            (Fixed::RegexpReplace, [pattern, with, flags])
                if self.text_literal(flags, "the flags").is_ok_and(|flags| flags == "g") =>
            {
                Ok(text.replace_regex(regex(pattern)?, self.text_literal(with, "the replacement")?))
            }
            (_, other) => {
                let wanted = match fixed {
                    Fixed::Split => "a text and a separator",
                    Fixed::RegexpExtract => "a text, a regular expression and the number of a group",
                    Fixed::RegexpMatches => "a text and a regular expression",
                    _ => "a text, a regular expression and its replacement",
                };
                Err(self.wrong_count(name, tree, wanted, other.len() + 1))
            }
        }
    }

    fn time_call(&self, name: &str, fixed: Fixed, arguments: &[&Tree], tree: &Tree) -> Result<Expr> {
        let value = |tree: &Tree| self.scalar(tree);
        let pattern = |tree: &Tree| self.text_literal(tree, "a pattern of times");
        match (fixed, arguments) {
            (Fixed::ParseTimestamp { lossy }, [text, format, rest @ ..]) if rest.len() < 2 => {
                let unit = rest.first().map_or(Ok(TimeUnit::Microsecond), |unit| self.unit(unit))?;
                let function = Function::ParseTimestamp { format: pattern(format)?, unit, lossy };
                Ok(Expr::Call(function, vec![value(text)?]))
            }
            (Fixed::FormatTimestamp, [time, format]) => Ok(value(time)?.format_timestamp(pattern(format)?)),
            (Fixed::Truncate, [time, length]) | (Fixed::TimeBucket, [length, time]) => {
                Ok(Expr::Call(Function::Truncate(self.span(length)?), vec![value(time)?]))
            }
            (Fixed::Session, [time, gap]) => {
                Ok(Expr::Call(Function::Session { gap: self.span(gap)? }, vec![value(time)?]))
            }
            (Fixed::Window, [time, size, rest @ ..]) if rest.len() < 2 => {
                let size = self.span(size)?;
                let slide = rest.first().map_or(Ok(size), |slide| self.span(slide))?;
                Ok(Expr::Call(Function::Window { size, slide }, vec![value(time)?]))
            }
            (Fixed::DateTrunc, [unit, time]) => {
                let written = self.text_literal(unit, "a unit of time")?;
                let nanos = match written.to_ascii_lowercase().as_str() {
                    "week" | "weeks" => None,
                    name => span::unit_nanos(name),
                };
                let nanos = nanos.ok_or_else(|| {
                    self.wrong(*unit, format!("date_trunc does not know the unit \"{written}\"")).advice(
                        "it knows day, hour, minute, second, millisecond, microsecond and nanosecond; \
                         for longer ones use year(t), month(t) or week(t) as keys",
                    )
                })?;
                Ok(Expr::Call(Function::Truncate(nanos), vec![value(time)?]))
            }
            (Fixed::DatePart, [part, time]) => {
                let name = self.text_literal(part, "a part of a time")?;
                Ok(value(time)?.part(part_of(&name).map_err(|error| self.beside(error, tree))?))
            }
            (_, other) => {
                let wanted = match fixed {
                    Fixed::ParseTimestamp { .. } => "a text and a pattern",
                    Fixed::FormatTimestamp => "a time and a pattern",
                    Fixed::Truncate => "a time and a span of time",
                    Fixed::TimeBucket => "a span of time and a time",
                    Fixed::Session => "a time and the gap between sessions",
                    Fixed::Window => "a time, the size of a window, and its slide",
                    Fixed::DateTrunc => "a unit and a time",
                    _ => "a part and a time",
                };
                Err(self.wrong_count(name, tree, wanted, other.len()))
            }
        }
    }

    /// Nanoseconds of a span: a text or an interval.
    fn span(&self, tree: &Tree) -> Result<i64> {
        match self.literal(tree, "a span of time")? {
            Scalar::Utf8(text) => span::parse(&text).map_err(|error| self.beside(error, tree)),
            Scalar::Duration(micros, TimeUnit::Microsecond) => Ok(micros.saturating_mul(1_000)),
            Scalar::Duration(nanos, _) => Ok(nanos),
            _ => Err(self.wrong(tree, "a span of time is a text such as '10 seconds'")),
        }
    }

    fn unit(&self, tree: &Tree) -> Result<TimeUnit> {
        match self.text_literal(tree, "a unit of time")?.as_str() {
            "s" => Ok(TimeUnit::Second),
            "ms" => Ok(TimeUnit::Millisecond),
            "us" => Ok(TimeUnit::Microsecond),
            "ns" => Ok(TimeUnit::Nanosecond),
            other => Err(self.wrong(tree, format!("there is no unit '{other}'")).advice("use 's', 'ms', 'us' or 'ns'")),
        }
    }

    /// A whole number that is fixed when the query starts.
    fn count(&self, tree: &Tree, what: &str) -> Result<u32> {
        match self.literal(tree, what)? {
            Scalar::Int64(count) => u32::try_from(count).ok(),
            _ => None,
        }
        .ok_or_else(|| self.wrong(tree, format!("{what} must be a whole number from 0, not `{tree}`")))
    }
}
