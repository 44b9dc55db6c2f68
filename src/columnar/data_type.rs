//! Which Arrow types the engine takes, and the questions that typing and kernels ask about them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::error::{Error, ErrorKind, Result};

/// Whether values are text, in any of Arrow's layouts.
pub fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// The type of the values, whether or not they are held in a dictionary.
pub fn leaf(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => leaf(values),
        other => other,
    }
}

/// The type in which columns of texts are read as codes.
pub fn coded_text() -> DataType {
    DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8))
}

/// The same columns, of which those of plain text among `coded`, by index, are codes.
pub fn with_coded(schema: &Schema, coded: &BTreeSet<usize>) -> SchemaRef {
    let field = |(index, field): (usize, &Arc<Field>)| match field.data_type() {
        DataType::Utf8 if coded.contains(&index) => Arc::new(field.as_ref().clone().with_data_type(coded_text())),
        _ => Arc::clone(field),
    };
    let fields = schema.fields().iter().enumerate().map(field).collect::<Vec<_>>();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// Whether values are bytes, in any of Arrow's layouts.
pub fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// Whether values can be counted with: integers, floats, decimals.
pub fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_floating() || matches!(data_type, DataType::Decimal128(_, _))
}

/// Whether values are points or spans in time.
pub fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Timestamp(_, _) | DataType::Duration(_))
}

/// Whether values have an order and can be keys: everything but lists and structs.
pub fn is_plain(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null | DataType::Boolean => true,
        DataType::Dictionary(_, values) => is_plain(values),
        other => is_number(other) || is_time(other) || is_text(other) || is_binary(other),
    }
}

/// Refuses the types that the engine does not take.
///
/// # Errors
/// `Unsupported`, with the cast to use instead.
pub fn check(column: &str, data_type: &DataType) -> Result<()> {
    let fine = match data_type {
        DataType::List(item) | DataType::LargeList(item) => return check(column, item.data_type()),
        DataType::Struct(fields) => {
            return fields.iter().try_for_each(|field| check(&format!("{column}.{}", field.name()), field.data_type()));
        }
        other => is_plain(other),
    };
    if fine {
        return Ok(());
    }
    let message = format!("column \"{column}\" has type {data_type}, which is not supported");
    Err(Error::new(ErrorKind::Unsupported, message).advice(match data_type {
        DataType::Decimal256(_, _) => "cast it to decimal(38, scale) before it enters the stream",
        DataType::Date64 => "cast it to a date or a timestamp before it enters the stream",
        _ => "cast it before it enters the stream",
    }))
}
