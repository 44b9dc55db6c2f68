//! What functions take and give: their signatures, as documented at [`Function`], made checkable.

use super::coerce::{Purpose, common_type, convert, decoded, describe, number};
use super::literal::unit_nanos;
use super::operators::comparable;
use super::time_pattern;
use super::{DatePart, Function, TypedExpr, TypedNode};
use crate::columnar::data_type::{is_binary, is_number, is_plain, is_text, leaf};
use crate::columnar::{DataType, Scalar, TimeUnit};
use crate::error::{Error, Result};
use crate::suggest;

const NANOS_PER_DAY: i64 = 86_400_000_000_000;

/// The type of a result, and whether it can be null although no argument is.
struct Answer {
    data_type: DataType,
    nullable: bool,
}

fn gives(data_type: DataType) -> Answer {
    Answer { data_type, nullable: false }
}

fn may_lack(data_type: DataType) -> Answer {
    Answer { data_type, nullable: true }
}

/// A call of a function with typed arguments.
pub(super) fn call(function: &Function, arguments: Vec<TypedExpr>) -> Result<TypedExpr> {
    check_count(function, arguments.len())?;
    match function {
        Function::Abs | Function::Round(_) | Function::Floor | Function::Ceil => {
            let arguments = each(arguments, |value| number(value, function.name()))?;
            let answer = gives(arguments[0].data_type.clone());
            Ok(made(function, arguments, answer))
        }
        Function::Sqrt | Function::Exp | Function::Ln | Function::Log | Function::Pow => {
            let float = |value| convert(number(value, function.name())?, &DataType::Float64);
            Ok(made(function, each(arguments, float)?, gives(DataType::Float64)))
        }
        Function::Least | Function::Greatest | Function::Coalesce => several(function, arguments),
        Function::Hash => {
            arguments.iter().try_for_each(|value| comparable(value, "hash"))?;
            let mut call = made(function, arguments, gives(DataType::UInt64));
            call.nullable = false;
            Ok(call)
        }
        Function::Truncate(_) | Function::Part(_) | Function::Epoch(_) | Function::FormatTimestamp(_) => {
            time(function, arguments)
        }
        Function::Window { .. } | Function::Session { .. } => {
            let error = Error::invalid_query("a window stands among the keys of a stream, and nowhere else");
            Err(error.advice("group by it: key_by([..., window(...)]); truncate(time, span) is the start of a span"))
        }
        Function::Field(name) => field(name, arguments),
        Function::ListLength
        | Function::ListGet
        | Function::ListSum
        | Function::ListMean
        | Function::ListMin
        | Function::ListMax => list(function, arguments),
        _ => text_call(function, arguments),
    }
}

fn made(function: &Function, arguments: Vec<TypedExpr>, answer: Answer) -> TypedExpr {
    let nullable = answer.nullable || arguments.iter().any(|argument| argument.nullable);
    TypedExpr { node: TypedNode::Call(function.clone(), arguments), data_type: answer.data_type, nullable }
}

fn each(arguments: Vec<TypedExpr>, f: impl Fn(TypedExpr) -> Result<TypedExpr>) -> Result<Vec<TypedExpr>> {
    arguments.into_iter().map(f).collect()
}

fn check_count(function: &Function, found: usize) -> Result<()> {
    let (least, most) = match function {
        Function::Log | Function::Pow | Function::Contains | Function::StartsWith | Function::EndsWith => (2, 2),
        Function::ListGet => (2, 2),
        Function::Substring | Function::Replace => (3, 3),
        Function::Least | Function::Greatest | Function::Coalesce | Function::Hash | Function::Concat => {
            (1, usize::MAX)
        }
        _ => (1, 1),
    };
    if (least..=most).contains(&found) {
        return Ok(());
    }
    let wanted = match (least, most) {
        (1, usize::MAX) => "at least 1 argument".to_owned(),
        (1, _) => "1 argument".to_owned(),
        _ => format!("{least} arguments"),
    };
    Err(Error::invalid_query(format!("{} takes {wanted}, but {found} are given", function.name())))
}

/// The first, smallest or largest of values of one type.
fn several(function: &Function, arguments: Vec<TypedExpr>) -> Result<TypedExpr> {
    let all: Vec<&TypedExpr> = arguments.iter().collect();
    let doing = if *function == Function::Coalesce { "choose between" } else { "compare" };
    let data_type = common_type(&all, Purpose::Compute, doing)?;
    if *function != Function::Coalesce {
        arguments.iter().try_for_each(|value| comparable(value, function.name()))?;
    }
    let arguments = each(arguments, |value| convert(value, &data_type))?;
    let nullable = arguments.iter().all(|value| value.nullable);
    Ok(TypedExpr { node: TypedNode::Call(function.clone(), arguments), data_type, nullable })
}

fn text_call(function: &Function, mut arguments: Vec<TypedExpr>) -> Result<TypedExpr> {
    let name = function.name();
    let answer = match function {
        Function::Length => gives(DataType::Int64),
        Function::LengthBytes => {
            let bytes = is_binary(leaf(&arguments[0].data_type));
            let first = arguments.remove(0);
            arguments.push(if bytes { convert(first, &DataType::Binary)? } else { text(first, name)? });
            return Ok(made(function, arguments, gives(DataType::Int64)));
        }
        Function::Contains | Function::StartsWith | Function::EndsWith => gives(DataType::Boolean),
        Function::Concat => {
            return Ok(made(function, each(arguments, as_text)?, gives(DataType::Utf8)));
        }
        Function::Substring => {
            if matches!(arguments[2].as_literal(), Some(Scalar::Int64(length)) if *length < 0) {
                return Err(Error::invalid_query(format!("substring: the length {} is negative", arguments[2])));
            }
            let positions = arguments.split_off(1);
            arguments.extend(each(positions, |value| whole_number(value, name))?);
            let first = arguments.remove(0);
            arguments.insert(0, text(first, name)?);
            return Ok(made(function, arguments, gives(DataType::Utf8)));
        }
        Function::Split(_) => gives(DataType::new_list(DataType::Utf8, true)),
        Function::Extract(pattern, group) => {
            let groups = regular_expression(pattern)?.captures_len();
            if usize::try_from(*group).is_ok_and(|group| group >= groups) {
                let message = format!("the regular expression '{pattern}' has no group {group}");
                return Err(Error::invalid_query(message).advice(match groups {
                    1 => "group 0 is the whole match; put ( ) around the part you want".to_owned(),
                    _ => format!("its groups are 0 (the whole match) to {}", groups - 1),
                }));
            }
            may_lack(DataType::Utf8)
        }
        Function::Matches(pattern) => {
            regular_expression(pattern)?;
            gives(DataType::Boolean)
        }
        Function::ReplaceRegex(pattern, _) => {
            regular_expression(pattern)?;
            gives(DataType::Utf8)
        }
        Function::ParseTimestamp { format, unit, lossy } => {
            let zone = time_pattern::parsing(format)?.has_offset.then(|| "UTC".into());
            Answer { data_type: DataType::Timestamp(*unit, zone), nullable: *lossy }
        }
        _ => gives(DataType::Utf8),
    };
    let arguments = each(arguments, |value| text(value, name))?;
    Ok(made(function, arguments, answer))
}

/// A text in the plain layout.
fn text(value: TypedExpr, whose: &str) -> Result<TypedExpr> {
    if is_text(leaf(&value.data_type)) || value.data_type == DataType::Null {
        return convert(value, &DataType::Utf8);
    }
    let message = format!("{whose} takes text, but {} is none", describe(&value));
    Err(Error::invalid_query(message).advice("cast it: cast(x as text)"))
}

/// Any plain value, written out.
fn as_text(value: TypedExpr) -> Result<TypedExpr> {
    if is_text(leaf(&value.data_type)) || value.data_type == DataType::Null {
        return convert(value, &DataType::Utf8);
    }
    if !is_plain(&value.data_type) {
        let message = format!("concat takes text, but {} is none", describe(&value));
        return Err(Error::invalid_query(message).advice("take a field or an item of it"));
    }
    let nullable = value.nullable;
    let node = TypedNode::Cast(Box::new(value), super::CastMode::Checked);
    Ok(TypedExpr { node, data_type: DataType::Utf8, nullable })
}

fn whole_number(value: TypedExpr, whose: &str) -> Result<TypedExpr> {
    if leaf(&value.data_type).is_integer() || value.data_type == DataType::Null {
        return convert(value, &DataType::Int64);
    }
    let message = format!("{whose} takes positions that are whole numbers, but {} is none", describe(&value));
    Err(Error::invalid_query(message).advice("cast it: cast(x as bigint)"))
}

fn regular_expression(pattern: &str) -> Result<regex::Regex> {
    regex::Regex::new(pattern).map_err(|error| {
        // The last line says what is wrong; those before it draw the place.
        let text = error.to_string();
        let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Error::invalid_query(format!("the regular expression '{pattern}' cannot be read: {why}"))
            .advice("see https://docs.rs/regex for the syntax; \\ before a sign takes it as it is")
            .because(error)
    })
}

fn time(function: &Function, mut arguments: Vec<TypedExpr>) -> Result<TypedExpr> {
    let name = function.name();
    let Some(value) = arguments.pop() else { return Err(Error::internal("a call without arguments")) };
    let value = decoded(value)?;
    let value = if value.data_type == DataType::Null {
        convert(value, &DataType::Timestamp(TimeUnit::Microsecond, None))?
    } else {
        value
    };
    let of_day = || DataType::Timestamp(TimeUnit::Second, None);
    let (value, data_type) = match (&value.data_type, function) {
        (DataType::Date32 | DataType::Timestamp(..), Function::Truncate(span)) => {
            check_span(*span, &value)?;
            let same = value.data_type.clone();
            (value, same)
        }
        (
            DataType::Date32,
            Function::Part(DatePart::Hour | DatePart::Minute | DatePart::Second | DatePart::Millisecond),
        ) => (convert(value, &of_day())?, DataType::Int32),
        (DataType::Date32 | DataType::Timestamp(..), Function::Part(_)) => (value, DataType::Int32),
        (DataType::Date32 | DataType::Timestamp(..) | DataType::Duration(_), Function::Epoch(_)) => {
            (value, DataType::Int64)
        }
        (DataType::Date32, Function::FormatTimestamp(format)) => {
            time_pattern::formatting(format, false)?;
            (convert(value, &of_day())?, DataType::Utf8)
        }
        (DataType::Timestamp(_, zone), Function::FormatTimestamp(format)) => {
            time_pattern::formatting(format, zone.is_some())?;
            (value, DataType::Utf8)
        }
        (found, _) => {
            let hint = match found {
                text if is_text(text) => "read the text as a time first: strptime(text, '%Y-%m-%d %H:%M:%S')",
                integer if integer.is_integer() => "cast it: cast(x as timestamp), if it counts microseconds",
                _ => "use a column of timestamps",
            };
            let message = format!("{name} takes a timestamp or a date, but {} is none", describe(&value));
            return Err(Error::invalid_query(message).advice(hint));
        }
    };
    Ok(made(function, vec![value], gives(data_type)))
}

fn check_span(span: i64, value: &TypedExpr) -> Result<()> {
    if span <= 0 {
        return Err(Error::invalid_query("truncate takes a span of time above 0").advice("for example '10 seconds'"));
    }
    let (least, what) = match value.data_type {
        DataType::Timestamp(TimeUnit::Second, _) => (unit_nanos(TimeUnit::Second), "seconds"),
        DataType::Timestamp(TimeUnit::Millisecond, _) => (unit_nanos(TimeUnit::Millisecond), "milliseconds"),
        DataType::Timestamp(TimeUnit::Microsecond, _) => (unit_nanos(TimeUnit::Microsecond), "microseconds"),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => (1, "nanoseconds"),
        _ => (NANOS_PER_DAY, "days"),
    };
    if span % least == 0 {
        return Ok(());
    }
    let span = super::span::format(span);
    let message = format!("truncate: {} counts whole {what}, and {span} is no multiple of them", describe(value));
    Err(Error::invalid_query(message).advice("cast it to a timestamp of a finer unit: cast(x as timestamp_ns)"))
}

fn field(name: &str, mut arguments: Vec<TypedExpr>) -> Result<TypedExpr> {
    let whole = arguments.remove(0);
    let DataType::Struct(fields) = &whole.data_type else {
        let message = format!("cannot take the field \"{name}\" of {}, which is not a struct", describe(&whole));
        return Err(Error::invalid_query(message));
    };
    let Some((_, found)) = fields.find(name) else {
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let message = format!("{} has no field \"{name}\"", describe(&whole));
        return Err(Error::invalid_query(message).advice(suggest::advice(name, "fields", names)));
    };
    let answer = Answer { data_type: found.data_type().clone(), nullable: found.is_nullable() };
    Ok(made(&Function::Field(name.to_owned()), vec![whole], answer))
}

fn list(function: &Function, mut arguments: Vec<TypedExpr>) -> Result<TypedExpr> {
    let name = function.name();
    let values = arguments.remove(0);
    let (DataType::List(item) | DataType::LargeList(item)) = &values.data_type else {
        let message = format!("{name} takes a list, but {} is none", describe(&values));
        return Err(Error::invalid_query(message).advice("split(text, ',') makes a list of a text"));
    };
    let item = item.data_type().clone();
    let wrong_item = |wanted: &str| {
        let message = format!("{name} takes a list of {wanted}, but {} is none", describe(&values));
        Err(Error::invalid_query(message))
    };
    let answer = match function {
        Function::ListLength => gives(DataType::Int64),
        Function::ListGet => may_lack(item),
        Function::ListSum | Function::ListMean if !is_number(&item) => return wrong_item("numbers"),
        Function::ListSum => may_lack(sum_type(&item)),
        Function::ListMean => may_lack(DataType::Float64),
        _ if !is_plain(&item) => return wrong_item("values that have an order"),
        _ => may_lack(item),
    };
    let positions = each(arguments, |value| whole_number(value, name))?;
    let arguments = std::iter::once(values).chain(positions).collect();
    Ok(made(function, arguments, answer))
}

/// The type of a sum of numbers of this type.
pub(super) fn sum_type(data_type: &DataType) -> DataType {
    match data_type {
        signed if signed.is_signed_integer() => DataType::Int64,
        unsigned if unsigned.is_unsigned_integer() => DataType::UInt64,
        DataType::Decimal128(_, scale) => DataType::Decimal128(38, *scale),
        DataType::Duration(unit) => DataType::Duration(*unit),
        _ => DataType::Float64,
    }
}
