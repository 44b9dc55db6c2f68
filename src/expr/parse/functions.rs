//! The names of all functions in SQL text, and what each becomes.

use sqlparser::ast::{ObjectName, ObjectNamePart};

use crate::columnar::TimeUnit;
use crate::error::{Error, Result};
use crate::expr::{DatePart, Function};
use crate::suggest;

/// The name of a function, in lower case.
pub(super) fn name_of(name: &ObjectName) -> String {
    let parts = name.0.iter().map(|part| match part {
        ObjectNamePart::Identifier(part) => part.value.to_ascii_lowercase(),
        other => other.to_string(),
    });
    parts.collect::<Vec<_>>().join(".")
}

/// How the arguments of a function become ours.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    /// All arguments are values.
    Values(Function),
    /// `(time)`: a part of it.
    Part(DatePart),
    /// `(text, regular expression)` and the like: some arguments are fixed when the query starts.
    Fixed(Fixed),
}

/// Functions some of whose arguments are fixed when the query starts, or change places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fixed {
    Round,
    /// `(base, number)`, or `(number)` to base 10.
    Log,
    /// Logarithm to this base.
    LogTo(i64),
    IsNan,
    NullIf,
    Clip,
    If,
    Substring,
    Split,
    RegexpExtract,
    RegexpMatches,
    RegexpReplace,
    ParseTimestamp {
        lossy: bool,
    },
    FormatTimestamp,
    /// `(time, span)`.
    Truncate,
    Session,
    Window,
    /// `(span, time)`.
    TimeBucket,
    /// `(unit, time)`.
    DateTrunc,
    /// `(part, time)`.
    DatePart,
    StructExtract,
    ListGet,
}

/// The name, and what it becomes.
pub(super) fn form(name: &str) -> Option<Form> {
    use Fixed as F;
    let values = |function| Form::Values(function);
    Some(match name {
        "abs" => values(Function::Abs),
        "round" => Form::Fixed(F::Round),
        "floor" => values(Function::Floor),
        "ceil" | "ceiling" => values(Function::Ceil),
        "sqrt" => values(Function::Sqrt),
        "exp" => values(Function::Exp),
        "ln" => values(Function::Ln),
        "log" => Form::Fixed(F::Log),
        "log2" => Form::Fixed(F::LogTo(2)),
        "log10" => Form::Fixed(F::LogTo(10)),
        "pow" | "power" => values(Function::Pow),
        "isnan" => Form::Fixed(F::IsNan),
        "least" => values(Function::Least),
        "greatest" => values(Function::Greatest),
        "coalesce" | "ifnull" => values(Function::Coalesce),
        "nullif" => Form::Fixed(F::NullIf),
        "clip" => Form::Fixed(F::Clip),
        "if" => Form::Fixed(F::If),
        "hash" => values(Function::Hash),
        "length" | "char_length" => values(Function::Length),
        "octet_length" => values(Function::LengthBytes),
        "lower" => values(Function::Lower),
        "upper" => values(Function::Upper),
        "trim" => values(Function::Trim),
        "normalize" => values(Function::Normalize),
        "contains" => values(Function::Contains),
        "starts_with" => values(Function::StartsWith),
        "ends_with" => values(Function::EndsWith),
        "concat" => values(Function::Concat),
        "substring" | "substr" => Form::Fixed(F::Substring),
        "split" | "string_split" => Form::Fixed(F::Split),
        "regexp_extract" => Form::Fixed(F::RegexpExtract),
        "regexp_matches" => Form::Fixed(F::RegexpMatches),
        "replace" => values(Function::Replace),
        "regexp_replace" => Form::Fixed(F::RegexpReplace),
        "strptime" | "to_timestamp" => Form::Fixed(F::ParseTimestamp { lossy: false }),
        "try_strptime" => Form::Fixed(F::ParseTimestamp { lossy: true }),
        "strftime" => Form::Fixed(F::FormatTimestamp),
        "truncate" => Form::Fixed(F::Truncate),
        "session_window" => Form::Fixed(F::Session),
        "window" => Form::Fixed(F::Window),
        "time_bucket" => Form::Fixed(F::TimeBucket),
        "date_trunc" => Form::Fixed(F::DateTrunc),
        "date_part" => Form::Fixed(F::DatePart),
        "epoch" => values(Function::Epoch(TimeUnit::Second)),
        "epoch_ms" => values(Function::Epoch(TimeUnit::Millisecond)),
        "epoch_us" => values(Function::Epoch(TimeUnit::Microsecond)),
        "epoch_ns" => values(Function::Epoch(TimeUnit::Nanosecond)),
        "struct_extract" => Form::Fixed(F::StructExtract),
        "list_length" | "array_length" => values(Function::ListLength),
        "list_get" | "list_extract" => Form::Fixed(F::ListGet),
        "list_sum" => values(Function::ListSum),
        "list_mean" | "list_avg" => values(Function::ListMean),
        "list_min" => values(Function::ListMin),
        "list_max" => values(Function::ListMax),
        other => return DATE_PARTS.iter().find(|(part, _)| *part == other).map(|(_, part)| Form::Part(*part)),
    })
}

/// Names of the functions above, without the parts of dates.
const NAMES: [&str; 65] = [
    "abs",
    "array_length",
    "ceil",
    "ceiling",
    "char_length",
    "clip",
    "coalesce",
    "concat",
    "contains",
    "date_part",
    "date_trunc",
    "ends_with",
    "epoch",
    "epoch_ms",
    "epoch_ns",
    "epoch_us",
    "exp",
    "floor",
    "greatest",
    "hash",
    "if",
    "ifnull",
    "isnan",
    "least",
    "length",
    "list_avg",
    "list_extract",
    "list_get",
    "list_length",
    "list_max",
    "list_mean",
    "list_min",
    "list_sum",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "normalize",
    "nullif",
    "octet_length",
    "pow",
    "power",
    "regexp_extract",
    "regexp_matches",
    "regexp_replace",
    "replace",
    "round",
    "split",
    "sqrt",
    "starts_with",
    "strftime",
    "string_split",
    "strptime",
    "struct_extract",
    "substr",
    "substring",
    "time_bucket",
    "to_timestamp",
    "trim",
    "truncate",
    "try_strptime",
    "upper",
    "session_window",
    "window",
];

/// Parts of dates and of times of day: in `extract`, in `date_part`, and as functions.
const DATE_PARTS: [(&str, DatePart); 14] = [
    ("year", DatePart::Year),
    ("quarter", DatePart::Quarter),
    ("month", DatePart::Month),
    ("week", DatePart::Week),
    ("day", DatePart::Day),
    ("isodow", DatePart::DayOfWeek),
    ("dayofweek", DatePart::DayOfWeek),
    ("doy", DatePart::DayOfYear),
    ("dayofyear", DatePart::DayOfYear),
    ("hour", DatePart::Hour),
    ("minute", DatePart::Minute),
    ("second", DatePart::Second),
    ("millisecond", DatePart::Millisecond),
    ("milliseconds", DatePart::Millisecond),
];

/// All names of functions in SQL text.
///
/// ```
/// assert!(pelton::expr::parse::function_names().any(|name| name == "regexp_extract"));
/// ```
pub fn function_names() -> impl Iterator<Item = &'static str> + Clone {
    NAMES.into_iter().chain(DATE_PARTS.iter().map(|(name, _)| *name))
}

/// The part of a date or of a time of day of this name.
pub(super) fn part_of(name: &str) -> Result<DatePart> {
    let lower = name.trim_matches('\'').to_ascii_lowercase();
    DATE_PARTS.iter().find(|(part, _)| *part == lower).map(|(_, part)| *part).ok_or_else(|| {
        let hint = if lower == "dow" {
            "did you mean \"isodow\" (1 is Monday, 7 is Sunday)?".to_owned()
        } else {
            suggest::advice(&lower, "parts", DATE_PARTS.iter().map(|(part, _)| *part))
        };
        Error::invalid_query(format!("a time has no part \"{lower}\"")).advice(hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_name_is_a_function() {
        for name in function_names() {
            assert!(form(name).is_some(), "{name}");
        }
    }
}
