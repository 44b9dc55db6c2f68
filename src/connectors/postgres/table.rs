//! The table that rows go to: made if it is missing, looked at if it is there. What it could not take is found before the
//! first batch, and nothing that it would round off silently is let through.

use postgres::Client;

use super::quoted;
use crate::columnar::{DataType, Field, SchemaRef};
use crate::error::{Error, ErrorKind, Place, Result};

/// The type of a column in a table that is made for it.
///
/// # Errors
/// `Unsupported` for what no column holds.
pub(super) fn sql_type(field: &Field) -> Result<String> {
    Ok(match plain(field.data_type()) {
        DataType::Null => "text".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint".to_owned(),
        DataType::Int32 | DataType::UInt16 => "integer".to_owned(),
        DataType::Int64 | DataType::UInt32 => "bigint".to_owned(),
        DataType::UInt64 => "numeric(20)".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        DataType::Decimal128(precision, scale) => {
            let (digits, scale) = digits(*precision, *scale);
            format!("numeric({}, {scale})", digits + scale)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
        DataType::Duration(_) => "interval".to_owned(),
        DataType::List(_) | DataType::LargeList(_) | DataType::Struct(_) => "jsonb".to_owned(),
        other => {
            let message = format!("the column \"{}\" is {other}, which the sink cannot write to a table", field.name());
            return Err(Error::new(ErrorKind::Unsupported, message).advice("cast it, for example to text"));
        }
    })
}

fn plain(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain(values),
        other => other,
    }
}

/// Digits before the point and after it.
fn digits(precision: u8, scale: i8) -> (i32, i32) {
    let (precision, scale) = (i32::from(precision), i32::from(scale));
    ((precision - scale).max(0), scale.max(0))
}

/// A column of a table that is there.
struct Found {
    name: String,
    /// As PostgreSQL calls it inside: `int8`, `varchar`.
    type_name: String,
    /// As people call it: `bigint`, `numeric(10,2)`.
    shown: String,
    modifier: i32,
    /// Whether every row must say a value.
    is_needed: bool,
    is_generated: bool,
}

/// The statement that makes the table.
pub(super) fn create(table: &str, schema: &SchemaRef, key: &[String], version: i32) -> Result<String> {
    let column = |field: &Field| -> Result<String> {
        let needed = if field.is_nullable() { "" } else { " NOT NULL" };
        Ok(format!("{} {}{needed}", quoted(field.name()), sql_type(field)?))
    };
    let mut columns = schema.fields().iter().map(|field| column(field)).collect::<Result<Vec<_>>>()?;
    if !key.is_empty() {
        let is_nullable =
            key.iter().any(|key| schema.column_with_name(key).is_some_and(|(_, field)| field.is_nullable()));
        // One row for each key, the null among them; older servers hold every null for another one.
        let unique = match (is_nullable, version >= NULLS_NOT_DISTINCT_FROM) {
            (false, _) => "PRIMARY KEY",
            (true, true) => "UNIQUE NULLS NOT DISTINCT",
            (true, false) => "UNIQUE",
        };
        let key = key.iter().map(|key| quoted(key)).collect::<Vec<_>>().join(", ");
        columns.push(format!("{unique} ({key})"));
    }
    Ok(format!("CREATE TABLE {table} ({})", columns.join(", ")))
}

/// The first version of the server that can hold nulls to be equal in an index.
const NULLS_NOT_DISTINCT_FROM: i32 = 150_000;

/// Whether a table has this name, for this user.
pub(super) fn is_there(client: &mut Client, table: &str) -> Result<bool, postgres::Error> {
    Ok(client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table])?.get(0))
}

/// Whether rows of this schema fit the table; what does not, in a sentence.
pub(super) fn misfits(client: &mut Client, table: &str, schema: &SchemaRef) -> Result<Vec<String>, postgres::Error> {
    let text = "SELECT a.attname::text, t.typname::text, format_type(a.atttypid, a.atttypmod), a.atttypmod, \
                a.attnotnull AND NOT a.atthasdef AND a.attidentity = '', a.attgenerated <> '' OR a.attidentity = 'a' \
                FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
                WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";
    let found = client.query(text, &[&table])?;
    let found = found.iter().map(|row| Found {
        name: row.get(0),
        type_name: row.get(1),
        shown: row.get(2),
        modifier: row.get(3),
        is_needed: row.get(4),
        is_generated: row.get(5),
    });
    let found = found.collect::<Vec<_>>();
    let mut misfits = Vec::new();
    for field in schema.fields() {
        let name = field.name();
        match found.iter().find(|column| column.name == *name) {
            None => misfits.push(format!("it has no column \"{name}\"")),
            Some(column) if column.is_generated => {
                misfits.push(format!("its column \"{name}\" is made by the server itself"));
            }
            Some(column) if !fits(field, column) => {
                misfits.push(format!(
                    "its column \"{name}\" is {}, which does not hold {}",
                    column.shown,
                    field.data_type()
                ));
            }
            Some(_) => {}
        }
    }
    let others = found.iter().filter(|column| column.is_needed && schema.column_with_name(&column.name).is_none());
    misfits
        .extend(others.map(|column| format!("its column \"{}\" needs a value, and the rows have none", column.name)));
    Ok(misfits)
}

/// Whether a unique index on these columns holds nulls to be equal; none if there is no such index.
pub(super) fn unique_index(client: &mut Client, table: &str, key: &[String]) -> Result<Option<bool>, postgres::Error> {
    let nulls = match version(client)? >= NULLS_NOT_DISTINCT_FROM {
        true => "i.indnullsnotdistinct",
        false => "false",
    };
    let text = format!(
        "SELECT bool_or({nulls}) FROM pg_index i WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid \
         AND i.indpred IS NULL AND i.indexprs IS NULL AND \
         (SELECT array_agg(a.attname::text ORDER BY a.attname::text) FROM pg_attribute a \
          WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0 : i.indnkeyatts - 1])) = \
         (SELECT array_agg(name ORDER BY name) FROM unnest($2::text[]) name)"
    );
    Ok(client.query_one(&text, &[&table, &key])?.get(0))
}

pub(super) fn version(client: &mut Client) -> Result<i32, postgres::Error> {
    Ok(client.query_one("SELECT current_setting('server_version_num')::int", &[])?.get(0))
}

/// Whether a column takes all values of a type as they are.
fn fits(field: &Field, column: &Found) -> bool {
    let name = column.type_name.as_str();
    if matches!(name, "text" | "varchar") {
        return true;
    }
    let one_of = |names: &[&str]| names.contains(&name);
    // Of numeric: digits before the point and after it; none if there is no bound.
    let bounds = (column.modifier >= 4).then(|| {
        let (precision, scale) = ((column.modifier - 4) >> 16, (column.modifier - 4) & 0x7ff);
        // Eleven bits with a sign.
        let scale = if scale >= 0x400 { scale - 0x800 } else { scale };
        (precision - scale, scale)
    });
    let numeric = |before: i32, after: i32| {
        name == "numeric" && bounds.is_none_or(|(digits, scale)| digits >= before && scale >= after)
    };
    let has_micros = column.modifier == -1 || column.modifier == 6;
    match plain(field.data_type()) {
        DataType::Null => true,
        DataType::Boolean => one_of(&["bool"]),
        DataType::Int8 => one_of(&["int2", "int4", "int8", "float4", "float8"]) || numeric(3, 0),
        DataType::UInt8 => one_of(&["int2", "int4", "int8", "float4", "float8"]) || numeric(3, 0),
        DataType::Int16 => one_of(&["int2", "int4", "int8", "float4", "float8"]) || numeric(5, 0),
        DataType::UInt16 => one_of(&["int4", "int8", "float4", "float8"]) || numeric(5, 0),
        DataType::Int32 => one_of(&["int4", "int8", "float8"]) || numeric(10, 0),
        DataType::UInt32 => one_of(&["int8", "float8"]) || numeric(10, 0),
        DataType::Int64 => one_of(&["int8"]) || numeric(19, 0),
        DataType::UInt64 => numeric(20, 0),
        DataType::Float32 => one_of(&["float4"]),
        DataType::Float64 => one_of(&["float8"]),
        DataType::Decimal128(precision, scale) => {
            let (before, after) = digits(*precision, *scale);
            numeric(before, after)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            one_of(&["bpchar", "citext", "json", "jsonb", "uuid", "inet", "cidr", "xml", "name"]) || is_own(name)
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => one_of(&["bytea"]),
        DataType::Date32 => one_of(&["date", "timestamp", "timestamptz"]),
        DataType::Timestamp(_, None) => name == "timestamp" && has_micros,
        DataType::Timestamp(_, Some(_)) => name == "timestamptz" && has_micros,
        DataType::Duration(_) => name == "interval" && column.modifier == -1,
        DataType::List(_) | DataType::LargeList(_) | DataType::Struct(_) => one_of(&["json", "jsonb"]),
        _ => false,
    }
}

/// Whether it is no type that every server has: an enumeration, a domain. The server turns the text into it, or refuses it.
fn is_own(name: &str) -> bool {
    const KNOWN: [&str; 21] = [
        "bool",
        "bytea",
        "int2",
        "int4",
        "int8",
        "float4",
        "float8",
        "numeric",
        "money",
        "date",
        "time",
        "timetz",
        "timestamp",
        "timestamptz",
        "interval",
        "bit",
        "varbit",
        "oid",
        "point",
        "tsvector",
        "macaddr",
    ];
    !KNOWN.contains(&name) && !name.starts_with('_')
}

/// Refuses a table that does not fit, with all that does not.
pub(super) fn refuse(place: Place, misfits: &[String], created: &str) -> Error {
    Error::new(ErrorKind::InvalidQuery, format!("the table does not fit the rows: {}", misfits.join("; ")))
        .at(place)
        .advice(format!("cast the columns in the query, or change the table; one that fits is made by: {created}"))
}
