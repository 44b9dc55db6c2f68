//! How expressions print in plans, errors and column names: as the SQL text that [`super::parse`] reads back.
//!
//! Parentheses stand only where they are needed. What SQL cannot say prints as its nearest: literals of unsigned type
//! lose the sign rule, durations come back in microseconds, lists and structs as values print as tuples.

mod literals;
mod names;
mod typed;

pub(crate) use names::{identifier, quoted, symbol, type_name, unit_name};

use std::fmt;

use super::span;
use super::{Aggregate, AggregateFunction, BinaryOp, CastMode, DatePart, Expr, Function, UnaryOp};
use crate::columnar::{Scalar, TimeUnit};

/// How tightly an expression holds together; a looser one inside a tighter one needs parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Or,
    And,
    Not,
    Is,
    Comparison,
    Sum,
    Product,
    Minus,
    Atom,
}

impl Binding {
    fn of(expr: &Expr) -> Self {
        match expr {
            Expr::Alias(input, _) => Self::of(input),
            Expr::Unary(op, _) => match op {
                UnaryOp::Not => Self::Not,
                UnaryOp::Negate => Self::Minus,
                UnaryOp::IsNull | UnaryOp::IsNotNull => Self::Is,
                UnaryOp::IsNan => Self::Atom,
            },
            Expr::Binary(_, op, _) => Self::of_operator(*op),
            Expr::IsIn(..) => Self::Comparison,
            Expr::Call(Function::Concat, arguments) if arguments.len() > 1 => Self::Product,
            _ => Self::Atom,
        }
    }

    fn of_operator(op: BinaryOp) -> Self {
        match op {
            BinaryOp::Or => Self::Or,
            BinaryOp::And => Self::And,
            BinaryOp::Add | BinaryOp::Subtract => Self::Sum,
            BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::FloorDivide | BinaryOp::Modulo => Self::Product,
            _ => Self::Comparison,
        }
    }
}

/// An operand, in parentheses unless it binds at least this tightly.
struct Operand<'a>(&'a Expr, Binding);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = unaliased(self.0);
        if Binding::of(inner) >= self.1 { write!(f, "{inner}") } else { write!(f, "({inner})") }
    }
}

/// A name means something at the top only.
fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(input, _) => unaliased(input),
        other => other,
    }
}

impl Binding {
    /// What an operand on the right must hold at least, as operators are read from the left.
    fn tighter(self) -> Self {
        match self {
            Self::Or => Self::And,
            Self::And => Self::Not,
            Self::Not => Self::Is,
            Self::Is => Self::Comparison,
            Self::Comparison => Self::Sum,
            Self::Sum => Self::Product,
            Self::Product => Self::Minus,
            Self::Minus | Self::Atom => Self::Atom,
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(name) => f.write_str(&names::column(name)),
            Self::Literal(value) => literals::write(f, value),
            Self::Alias(input, name) => write!(f, "{} AS {}", unaliased(input), identifier(name)),
            Self::Unary(UnaryOp::Not, input) => write!(f, "NOT {}", Operand(input, Binding::Not)),
            // A number after a minus would become one literal.
            Self::Unary(UnaryOp::Negate, input) => match unaliased(input) {
                Self::Literal(_) => write!(f, "-({input})"),
                input => write!(f, "-{}", Operand(input, Binding::Atom)),
            },
            Self::Unary(UnaryOp::IsNull, input) => write!(f, "{} IS NULL", Operand(input, Binding::Comparison)),
            Self::Unary(UnaryOp::IsNotNull, input) => write!(f, "{} IS NOT NULL", Operand(input, Binding::Comparison)),
            Self::Unary(UnaryOp::IsNan, input) => write!(f, "isnan({})", unaliased(input)),
            Self::Binary(left, op, right) => {
                let binding = Binding::of_operator(*op);
                // Comparisons in comparisons are clearer in parentheses.
                let least = if op.is_comparison() { Binding::Sum } else { binding };
                write!(f, "{} {} {}", Operand(left, least), symbol(*op), Operand(right, binding.tighter()))
            }
            Self::Cast { input, to, mode } => {
                let cast = if *mode == CastMode::Checked { "CAST" } else { "TRY_CAST" };
                write!(f, "{cast}({} AS {})", unaliased(input), type_name(to))
            }
            Self::Case { branches, otherwise } => {
                f.write_str("CASE")?;
                for (when, then) in branches {
                    write!(f, " WHEN {} THEN {}", unaliased(when), unaliased(then))?;
                }
                if let Some(otherwise) = otherwise {
                    write!(f, " ELSE {}", unaliased(otherwise))?;
                }
                f.write_str(" END")
            }
            Self::IsIn(input, members) => {
                write!(f, "{} IN (", Operand(input, Binding::Sum))?;
                for (index, member) in members.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    literals::write(f, member)?;
                }
                f.write_str(")")
            }
            Self::Call(function, arguments) => call(f, function, arguments),
        }
    }
}

fn call(f: &mut fmt::Formatter<'_>, function: &Function, arguments: &[Expr]) -> fmt::Result {
    match (function, arguments) {
        (Function::Concat, [first, rest @ ..]) if !rest.is_empty() => {
            // Only a chain without parentheses is read as one call.
            write!(f, "{}", Operand(first, Binding::Minus))?;
            rest.iter().try_for_each(|part| write!(f, " || {}", Operand(part, Binding::Minus)))
        }
        // SQL names the base first.
        (Function::Log, [number, base]) => write!(f, "log({}, {})", unaliased(base), unaliased(number)),
        (Function::Part(part), [time]) => write!(f, "EXTRACT({} FROM {})", part.name(), unaliased(time)),
        (Function::Substring, [text, start, length]) => {
            write!(f, "substring({}, {}", unaliased(text), unaliased(&position_from_one(start)))?;
            if *length == Expr::Literal(Scalar::Int64(i64::MAX)) {
                return f.write_str(")");
            }
            write!(f, ", {})", unaliased(length))
        }
        (Function::ListGet, [list, index]) => {
            write!(f, "list_get({}, {})", unaliased(list), unaliased(&position_from_one(index)))
        }
        _ => {
            write!(f, "{}(", function.name())?;
            for (index, argument) in arguments.iter().enumerate() {
                let separator = if index == 0 { "" } else { ", " };
                write!(f, "{separator}{}", unaliased(argument))?;
            }
            for parameter in parameters(function) {
                write!(f, ", {parameter}")?;
            }
            f.write_str(")")
        }
    }
}

/// What follows the arguments: the parts of the function that are known before the stream starts.
fn parameters(function: &Function) -> Vec<String> {
    match function {
        Function::Round(0) | Function::Split(None) => Vec::new(),
        Function::Extract(regex, 0) => vec![quoted(regex)],
        Function::Round(digits) => vec![digits.to_string()],
        Function::Split(Some(separator)) => vec![quoted(separator)],
        Function::Extract(regex, group) => vec![quoted(regex), group.to_string()],
        Function::Matches(regex) => vec![quoted(regex)],
        Function::ReplaceRegex(regex, with) => vec![quoted(regex), quoted(with)],
        Function::ParseTimestamp { format, unit, .. } => match unit {
            TimeUnit::Microsecond => vec![quoted(format)],
            unit => vec![quoted(format), quoted(unit_name(*unit))],
        },
        Function::FormatTimestamp(format) => vec![quoted(format)],
        Function::Truncate(nanos) => vec![quoted(&span::format(*nanos))],
        Function::Session { gap } => vec![quoted(&span::format(*gap))],
        Function::Window { size, slide } if size == slide => vec![quoted(&span::format(*size))],
        Function::Window { size, slide } => vec![quoted(&span::format(*size)), quoted(&span::format(*slide))],
        Function::Field(name) => vec![quoted(name)],
        _ => Vec::new(),
    }
}

/// A position counted from 0 as SQL counts it: from 1, or from -1 at the end.
fn position_from_one(position: &Expr) -> Expr {
    match position {
        Expr::Literal(Scalar::Int64(at)) if *at < 0 => position.clone(),
        Expr::Literal(Scalar::Int64(at)) if *at < i64::MAX => Expr::Literal(Scalar::Int64(at + 1)),
        other => match from_one(other) {
            Some(inner) if to_one(inner).is_none() => inner.clone(),
            _ => shift_to_one(other),
        },
    }
}

/// `CASE WHEN n > 0 THEN n - 1 ELSE n END`: what a computed SQL position means here.
pub(crate) fn shift_from_one(position: Expr) -> Expr {
    shifted(position, BinaryOp::Gt, BinaryOp::Subtract)
}

fn shift_to_one(position: &Expr) -> Expr {
    shifted(position.clone(), BinaryOp::GtEq, BinaryOp::Add)
}

fn shifted(position: Expr, compare: BinaryOp, step: BinaryOp) -> Expr {
    let literal = |value| Box::new(Expr::Literal(Scalar::Int64(value)));
    let when = Expr::Binary(Box::new(position.clone()), compare, literal(0));
    let then = Expr::Binary(Box::new(position.clone()), step, literal(1));
    Expr::Case { branches: vec![(when, then)], otherwise: Some(Box::new(position)) }
}

fn otherwise_of(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Case { otherwise: Some(otherwise), .. } => Some(otherwise),
        _ => None,
    }
}

/// The position that [`shift_from_one`] was given to make this.
fn from_one(expr: &Expr) -> Option<&Expr> {
    otherwise_of(expr).filter(|inner| shift_from_one((*inner).clone()) == *expr)
}

/// The 0-based position of which this is the 1-based twin.
pub(crate) fn to_one(expr: &Expr) -> Option<&Expr> {
    otherwise_of(expr).filter(|inner| shift_to_one(inner) == *expr)
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        aggregate(f, &self.function, self.input.as_ref().map(unaliased), self.filter.as_ref().map(unaliased))?;
        match &self.name {
            Some(name) => write!(f, " AS {}", identifier(name)),
            None => Ok(()),
        }
    }
}

fn aggregate(
    f: &mut fmt::Formatter<'_>,
    function: &AggregateFunction,
    input: Option<&Expr>,
    filter: Option<&Expr>,
) -> fmt::Result {
    write!(f, "{}(", function.name())?;
    match input {
        Some(input) => write!(f, "{input}")?,
        None => f.write_str("*")?,
    }
    match function {
        AggregateFunction::Variance(ddof)
        | AggregateFunction::StdDev(ddof)
        | AggregateFunction::OrderedVariance(ddof)
        | AggregateFunction::OrderedStdDev(ddof)
            if *ddof > 1 =>
        {
            write!(f, ", {ddof}")?;
        }
        AggregateFunction::Quantile(share) => write!(f, ", {share:?}")?,
        AggregateFunction::Concat(separator) => write!(f, ", {}", quoted(separator))?,
        _ => {}
    }
    f.write_str(")")?;
    match filter {
        Some(filter) => write!(f, " FILTER (WHERE {filter})"),
        None => Ok(()),
    }
}

impl DatePart {
    /// The part's name in SQL text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Quarter => "quarter",
            Self::Month => "month",
            Self::Week => "week",
            Self::Day => "day",
            Self::DayOfWeek => "isodow",
            Self::DayOfYear => "doy",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Second => "second",
            Self::Millisecond => "millisecond",
        }
    }
}

impl Expr {
    /// The name of the column this makes: its alias, else that of the leftmost column in it, else `literal`. As in
    /// Polars.
    pub fn output_name(&self) -> String {
        self.leftmost_name().unwrap_or_else(|| "literal".to_owned())
    }

    fn leftmost_name(&self) -> Option<String> {
        match self {
            Self::Alias(_, name) | Self::Column(name) => Some(name.clone()),
            Self::Literal(_) => None,
            Self::Unary(_, input) | Self::Cast { input, .. } | Self::IsIn(input, _) => input.leftmost_name(),
            Self::Binary(left, _, right) => left.leftmost_name().or_else(|| right.leftmost_name()),
            Self::Case { branches, otherwise } => branches
                .iter()
                .find_map(|(_, value)| value.leftmost_name())
                .or_else(|| otherwise.as_ref().and_then(|value| value.leftmost_name())),
            Self::Call(_, arguments) => arguments.iter().find_map(Self::leftmost_name),
        }
    }
}
