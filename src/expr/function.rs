//! The functions that expressions can call: one list, with the meaning of each.
//!
//! Unless said otherwise: any null argument gives null; text arguments may have any of Arrow's text layouts and text
//! results are `Utf8`; positions count characters (Unicode scalar values) from 0 in Rust and from 1 in SQL text.

use serde::{Deserialize, Serialize};

use crate::columnar::TimeUnit;

/// A function. Parameters that must be known before the stream starts are part of the variant; the others are
/// expressions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Function {
    // ── numbers ──
    /// `(number) -> same`. Without sign. Integers: an error when out of range.
    Abs,
    /// `(number) -> same`. Rounded half away from zero to this many digits after the point. Integers are unchanged.
    Round(u32),
    /// `(number) -> same`. The largest whole number not above.
    Floor,
    /// `(number) -> same`. The smallest whole number not below.
    Ceil,
    /// `(number) -> Float64`. NaN for negative values.
    Sqrt,
    /// `(number) -> Float64`. e to this power.
    Exp,
    /// `(number) -> Float64`. Natural logarithm; NaN for negative values, -inf for 0.
    Ln,
    /// `(number, base) -> Float64`. `ln(number) / ln(base)`; exactly rounded functions are used for base 2 and 10.
    Log,
    /// `(number, exponent) -> Float64`.
    Pow,
    /// `(value, ...) -> same`. The smallest of several; nulls and NaN are skipped unless there is nothing else.
    Least,
    /// `(value, ...) -> same`. The largest of several; nulls and NaN are skipped unless there is nothing else.
    Greatest,

    // ── any type ──
    /// `(value, ...) -> same`. The first that is not null.
    Coalesce,
    /// `(value, ...) -> UInt64`. A hash that is the same on every machine, run and layout of equal values; null hashes
    /// too. Defined by `kernels::hash`.
    Hash,

    // ── text ──
    /// `(text) -> Int64`. Characters.
    Length,
    /// `(text or binary) -> Int64`. Bytes.
    LengthBytes,
    /// `(text) -> text`. In lower case.
    Lower,
    /// `(text) -> text`. In upper case.
    Upper,
    /// `(text) -> text`. Without white space at both ends.
    Trim,
    /// `(text) -> text`. In Unicode's normalization form C, in which equal texts have equal bytes.
    Normalize,
    /// `(text, text) -> Boolean`. Whether the second occurs in the first.
    Contains,
    /// `(text, text) -> Boolean`.
    StartsWith,
    /// `(text, text) -> Boolean`.
    EndsWith,
    /// `(text, text, ...) -> text`. One after another. Other plain types are cast to text first.
    Concat,
    /// `(text, Int64 start, Int64 length) -> text`. From the 0-based character `start` (negative counts from the end),
    /// at most `length` characters.
    Substring,
    /// `(text, separator) -> List<text>`. The empty text gives one empty part; an empty separator splits into
    /// characters; `None` splits at runs of white space and gives no empty parts.
    Split(Option<String>),
    /// `(text) -> text`. The capture group of this number in the first match of the regular expression; null without
    /// a match. Group 0 is the whole match.
    Extract(Regex, u32),
    /// `(text) -> Boolean`. Whether the regular expression matches anywhere.
    Matches(Regex),
    /// `(text, from, to) -> text`. Every occurrence of a plain text replaced.
    Replace,
    /// `(text) -> text`. Every match of the regular expression replaced; `$1` and `${name}` stand for groups.
    ReplaceRegex(Regex, String),
    /// `(text) -> Timestamp(unit, None or "UTC")`. Read by this pattern of `chrono` (strftime letters). With an offset
    /// in the pattern (`%z`) the result is in UTC, else it has no zone. Text that does not fit: null if lossy, else an
    /// error.
    ParseTimestamp {
        /// The pattern.
        format: String,
        /// Unit of the result.
        unit: TimeUnit,
        /// Whether text that does not fit is null.
        lossy: bool,
    },
    /// `(timestamp or date) -> text`. Written by this pattern of `chrono`, in the value's own zone.
    FormatTimestamp(String),

    // ── time ──
    /// `(timestamp or date) -> same`. The start of the span that holds the value; spans are counted from
    /// 1970-01-01T00:00:00 in the value's zone for spans of whole days, else from the epoch. In nanoseconds, above 0.
    Truncate(i64),
    /// `(timestamp or date) -> Int32`. A part of the date or the time of day, in the value's zone.
    Part(DatePart),
    /// `(timestamp, date or duration) -> Int64`. Units since the epoch, or in the span; rounded down.
    Epoch(TimeUnit),

    /// `(timestamp) -> windows`. Stands among the keys of a stream only, where it groups rows by the sessions that they make
    /// together: a session ends when there has been no row for the gap, in nanoseconds.
    Session {
        /// The gap.
        gap: i64,
    },
    /// `(timestamp) -> windows`. Stands among the keys of a stream only, where it groups rows by the windows that their
    /// time lies in. In nanoseconds, above 0.
    Window {
        /// The length of a window.
        size: i64,
        /// From the start of one window to that of the next.
        slide: i64,
    },

    // ── lists and structs ──
    /// `(struct) -> the field`.
    Field(String),
    /// `(list) -> Int64`. Values in the list, nulls counted.
    ListLength,
    /// `(list, Int64 index) -> item`. The 0-based item, negative from the end; null outside.
    ListGet,
    /// `(list of numbers) -> Int64, UInt64, Float64 or decimal`. Nulls are skipped; null if nothing is left.
    ListSum,
    /// `(list of numbers) -> Float64`. Nulls are skipped; null if nothing is left.
    ListMean,
    /// `(list) -> item`. Nulls and NaN are skipped; null if nothing is left.
    ListMin,
    /// `(list) -> item`. Nulls and NaN are skipped; null if nothing is left.
    ListMax,
}

impl Function {
    /// The function's name in messages and in SQL text.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Abs => "abs",
            Self::Round(_) => "round",
            Self::Floor => "floor",
            Self::Ceil => "ceil",
            Self::Sqrt => "sqrt",
            Self::Exp => "exp",
            Self::Ln => "ln",
            Self::Log => "log",
            Self::Pow => "pow",
            Self::Least => "least",
            Self::Greatest => "greatest",
            Self::Coalesce => "coalesce",
            Self::Hash => "hash",
            Self::Length => "length",
            Self::LengthBytes => "octet_length",
            Self::Lower => "lower",
            Self::Upper => "upper",
            Self::Trim => "trim",
            Self::Normalize => "normalize",
            Self::Contains => "contains",
            Self::StartsWith => "starts_with",
            Self::EndsWith => "ends_with",
            Self::Concat => "concat",
            Self::Substring => "substring",
            Self::Split(_) => "split",
            Self::Extract(..) => "regexp_extract",
            Self::Matches(_) => "regexp_matches",
            Self::Replace => "replace",
            Self::ReplaceRegex(..) => "regexp_replace",
            Self::ParseTimestamp { lossy: false, .. } => "strptime",
            Self::ParseTimestamp { lossy: true, .. } => "try_strptime",
            Self::FormatTimestamp(_) => "strftime",
            Self::Truncate(_) => "truncate",
            Self::Part(_) => "extract",
            Self::Epoch(TimeUnit::Second) => "epoch",
            Self::Epoch(TimeUnit::Millisecond) => "epoch_ms",
            Self::Epoch(TimeUnit::Microsecond) => "epoch_us",
            Self::Epoch(TimeUnit::Nanosecond) => "epoch_ns",
            Self::Session { .. } => "session_window",
            Self::Window { .. } => "window",
            Self::Field(_) => "struct_extract",
            Self::ListLength => "list_length",
            Self::ListGet => "list_get",
            Self::ListSum => "list_sum",
            Self::ListMean => "list_mean",
            Self::ListMin => "list_min",
            Self::ListMax => "list_max",
        }
    }
}

/// The text of a regular expression in the syntax of the `regex` crate. Checked when the query is typed.
pub type Regex = String;

/// Parts of a date or a time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DatePart {
    /// The year.
    Year,
    /// 1 to 4.
    Quarter,
    /// 1 to 12.
    Month,
    /// 1 to 53, by ISO 8601.
    Week,
    /// Day of the month, 1 to 31.
    Day,
    /// 1 (Monday) to 7 (Sunday), by ISO 8601.
    DayOfWeek,
    /// 1 to 366.
    DayOfYear,
    /// 0 to 23.
    Hour,
    /// 0 to 59.
    Minute,
    /// 0 to 59.
    Second,
    /// Milliseconds within the second, 0 to 999.
    Millisecond,
}
