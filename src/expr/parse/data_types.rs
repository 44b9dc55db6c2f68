//! Types from SQL text. Names with a number of bits mean bits (`int8` is one byte), as in Rust, Arrow and Polars.

use sqlparser::ast::{ArrayElemTypeDef, DataType as Tree, ExactNumberInfo, StructField, TimezoneInfo};
use sqlparser::tokenizer::Location;

use super::Reader;
use crate::columnar::{DataType, Field, TimeUnit};
use crate::error::{Error, Result};
use crate::suggest;

/// Names that `sqlparser` does not know, and those most likely meant by a misspelt one.
const NAMES: [&str; 29] = [
    "bigint",
    "binary",
    "binary_view",
    "boolean",
    "date",
    "decimal",
    "dictionary",
    "double",
    "duration_ms",
    "duration_ns",
    "duration_s",
    "duration_us",
    "float",
    "int",
    "integer",
    "interval",
    "large_binary",
    "large_text",
    "real",
    "smallint",
    "string",
    "text",
    "text_view",
    "timestamp",
    "timestamp_ms",
    "timestamp_ns",
    "timestamp_s",
    "timestamp_us",
    "varchar",
];

impl Reader<'_> {
    /// A type; `at` is where it stands in the text.
    pub(super) fn data_type(&self, tree: &Tree, at: Location) -> Result<DataType> {
        Ok(match tree {
            Tree::Bool | Tree::Boolean => DataType::Boolean,
            Tree::TinyInt(_) | Tree::Int8(_) => DataType::Int8,
            Tree::SmallInt(_) | Tree::Int2(_) | Tree::Int16 => DataType::Int16,
            Tree::Int(_) | Tree::Integer(_) | Tree::Int4(_) | Tree::Int32 => DataType::Int32,
            Tree::BigInt(_) | Tree::Int64 => DataType::Int64,
            Tree::UTinyInt | Tree::UInt8 | Tree::TinyIntUnsigned(_) => DataType::UInt8,
            Tree::USmallInt | Tree::UInt16 | Tree::SmallIntUnsigned(_) => DataType::UInt16,
            Tree::UInt32 | Tree::IntUnsigned(_) | Tree::IntegerUnsigned(_) => DataType::UInt32,
            Tree::UBigInt | Tree::UInt64 | Tree::BigIntUnsigned(_) => DataType::UInt64,
            Tree::Real | Tree::Float4 | Tree::Float32 | Tree::Float(_) => DataType::Float32,
            Tree::Double(_) | Tree::DoublePrecision | Tree::Float8 | Tree::Float64 => DataType::Float64,
            Tree::Decimal(digits) | Tree::Numeric(digits) | Tree::Dec(digits) => self.decimal(*digits, at)?,
            Tree::Date | Tree::Date32 => DataType::Date32,
            Tree::Timestamp(precision, zone) => {
                let zone = match zone {
                    TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => Some("UTC".into()),
                    TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => None,
                };
                DataType::Timestamp(self.unit_of(*precision, at)?, zone)
            }
            Tree::Datetime(precision) => DataType::Timestamp(self.unit_of(*precision, at)?, None),
            Tree::Interval { .. } => DataType::Duration(TimeUnit::Microsecond),
            Tree::Text | Tree::String(_) | Tree::Varchar(_) | Tree::Char(_) | Tree::CharacterVarying(_) => {
                DataType::Utf8
            }
            Tree::Binary(_) | Tree::Varbinary(_) | Tree::Blob(_) | Tree::Bytea | Tree::Bytes(_) => DataType::Binary,
            Tree::Array(ArrayElemTypeDef::SquareBracket(item, _) | ArrayElemTypeDef::AngleBracket(item)) => {
                DataType::new_list(self.data_type(item, at)?, true)
            }
            Tree::Struct(fields, _) => {
                let fields = fields.iter().map(|field| self.struct_field(field, at)).collect::<Result<Vec<_>>>()?;
                DataType::Struct(fields.into())
            }
            Tree::Custom(name, modifiers) => return self.custom(&name.to_string(), modifiers, at),
            other => return Err(self.unknown_type(&other.to_string(), at)),
        })
    }

    fn struct_field(&self, field: &StructField, at: Location) -> Result<Field> {
        let Some(name) = &field.field_name else {
            return Err(Error::invalid_query(format!("a field of a struct has no name{}", self.place(at))));
        };
        Ok(Field::new(&name.value, self.data_type(&field.field_type, at)?, true))
    }

    fn decimal(&self, digits: ExactNumberInfo, at: Location) -> Result<DataType> {
        let (precision, scale) = match digits {
            ExactNumberInfo::None => (38, 9),
            ExactNumberInfo::Precision(precision) => (precision, 0),
            ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
        };
        match (u8::try_from(precision), i8::try_from(scale)) {
            (Ok(precision @ 1..=38), Ok(scale)) if scale >= 0 && scale.unsigned_abs() <= precision => {
                Ok(DataType::Decimal128(precision, scale))
            }
            _ => Err(Error::invalid_query(format!("there is no decimal({precision}, {scale}){}", self.place(at)))
                .advice("a decimal has 1 to 38 digits, and at most as many of them after the point")),
        }
    }

    fn unit_of(&self, precision: Option<u64>, at: Location) -> Result<TimeUnit> {
        match precision {
            Some(0) => Ok(TimeUnit::Second),
            Some(3) => Ok(TimeUnit::Millisecond),
            None | Some(6) => Ok(TimeUnit::Microsecond),
            Some(9) => Ok(TimeUnit::Nanosecond),
            Some(other) => Err(Error::invalid_query(format!("there is no timestamp({other}){}", self.place(at)))
                .advice("timestamps count 0, 3, 6 or 9 digits of a second")),
        }
    }

    fn custom(&self, name: &str, modifiers: &[String], at: Location) -> Result<DataType> {
        let name = name.to_ascii_lowercase();
        let unit = match name.rsplit_once('_').map(|(_, unit)| unit) {
            Some("s") => TimeUnit::Second,
            Some("ms") => TimeUnit::Millisecond,
            Some("ns") => TimeUnit::Nanosecond,
            _ => TimeUnit::Microsecond,
        };
        Ok(match (name.as_str(), modifiers) {
            ("timestamp_s" | "timestamp_ms" | "timestamp_us" | "timestamp_ns", []) => DataType::Timestamp(unit, None),
            ("timestamp_s" | "timestamp_ms" | "timestamp_us" | "timestamp_ns", [zone]) => {
                DataType::Timestamp(unit, Some(zone.as_str().into()))
            }
            ("duration_s" | "duration_ms" | "duration_us" | "duration_ns" | "duration", []) => DataType::Duration(unit),
            ("usmallint", []) => DataType::UInt16,
            ("utinyint", []) => DataType::UInt8,
            ("uinteger", []) => DataType::UInt32,
            ("str" | "utf8", []) => DataType::Utf8,
            ("large_text", []) => DataType::LargeUtf8,
            ("text_view", []) => DataType::Utf8View,
            ("large_binary", []) => DataType::LargeBinary,
            ("binary_view", []) => DataType::BinaryView,
            ("dictionary", [keys, values]) => {
                DataType::Dictionary(Box::new(super::parse_data_type(keys)?), Box::new(super::parse_data_type(values)?))
            }
            _ => return Err(self.unknown_type(&name, at)),
        })
    }

    fn unknown_type(&self, name: &str, at: Location) -> Error {
        let name = name.to_ascii_lowercase();
        Error::invalid_query(format!("there is no type \"{name}\"{}", self.place(at)))
            .advice(suggest::advice(&name, "types", NAMES))
    }
}
