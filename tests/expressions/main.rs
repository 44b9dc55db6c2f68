//! Expressions from the outside: what they are typed as, what mistakes are called, and how they print and are read.

#[cfg(feature = "sql")]
mod agreement;
mod mistakes;
#[cfg(feature = "sql")]
mod reading;
#[cfg(feature = "sql")]
mod round_trip;
mod typing;

use pelton::columnar::{DataType, Field, Schema, TimeUnit};

/// A column of most types; those whose name ends in `_n` are nullable.
fn schema() -> Schema {
    let text = DataType::Utf8;
    let point = DataType::Struct(
        vec![Field::new("x", DataType::Float64, false), Field::new("label", DataType::Utf8, true)].into(),
    );
    Schema::new(vec![
        Field::new("ok", DataType::Boolean, false),
        Field::new("i8", DataType::Int8, false),
        Field::new("i16", DataType::Int16, false),
        Field::new("i32", DataType::Int32, false),
        Field::new("i64", DataType::Int64, false),
        Field::new("i64_n", DataType::Int64, true),
        Field::new("u8", DataType::UInt8, false),
        Field::new("u32", DataType::UInt32, false),
        Field::new("u64", DataType::UInt64, false),
        Field::new("f32", DataType::Float32, false),
        Field::new("f64", DataType::Float64, false),
        Field::new("price", DataType::Decimal128(15, 2), false),
        Field::new("day", DataType::Date32, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        Field::new("at_s", DataType::Timestamp(TimeUnit::Second, None), false),
        Field::new("at_utc", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
        Field::new("at_berlin", DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into())), false),
        Field::new("took", DataType::Duration(TimeUnit::Millisecond), false),
        Field::new("text", text.clone(), false),
        Field::new("text_n", text.clone(), true),
        Field::new("large", DataType::LargeUtf8, false),
        Field::new("view", DataType::Utf8View, false),
        Field::new("city", DataType::Dictionary(Box::new(DataType::Int32), Box::new(text.clone())), false),
        Field::new("bytes", DataType::Binary, false),
        Field::new("point", point, true),
        Field::new("numbers", DataType::new_list(DataType::Int32, true), false),
        Field::new("words", DataType::new_list(text, true), false),
        Field::new("nothing", DataType::Null, true),
        Field::new("a.b", DataType::Int16, false),
    ])
}
