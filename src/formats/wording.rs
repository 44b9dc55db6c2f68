//! The sentences about values that cannot be read, the same for every format.

use arrow_schema::{DataType, TimeUnit};

use crate::formats::cell::Wrong;

/// Why this text (as shown, quoted and cut) is no value of this type.
#[cold]
pub(super) fn reason(wrong: Wrong, shown: &str, data_type: &DataType) -> String {
    // What it is for the user: that texts are kept as codes is nothing he said, or nothing wrong.
    let data_type = match data_type {
        DataType::Dictionary(_, values) => values,
        other => other,
    };
    let wanted = named(data_type);
    match wrong {
        Wrong::Shape => format!("{shown} is not {wanted}{}", hint(data_type)),
        Wrong::Range => format!("{shown} is outside the range of {data_type}"),
        Wrong::Finer => format!("{shown} has more digits after the point than {data_type} keeps"),
        Wrong::Missing => format!("there is no value, but {wanted} is required"),
    }
}

fn named(data_type: &DataType) -> String {
    let name = data_type.to_string();
    // "an Int64", "a UInt64", "a Boolean": by the sound of the name.
    let article = if name.starts_with("Int") { "an" } else { "a" };
    format!("{article} {name}")
}

fn hint(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => " (true or false)",
        DataType::Date32 => " (as in 2026-03-01)",
        DataType::Timestamp(TimeUnit::Second, _) => " (as in 2026-03-01T09:30:00Z)",
        DataType::Timestamp(_, _) => " (as in 2026-03-01T09:30:00.5Z)",
        _ => "",
    }
}
