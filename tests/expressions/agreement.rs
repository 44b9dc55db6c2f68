//! What typing promises is what the kernels give: the same type and, where no null is promised, no null, from the
//! reference and from the CPU, with equal values.

#![expect(clippy::cast_sign_loss, reason = "rows are few and counted from 0")]

use std::sync::Arc;

use pelton::columnar::{ArrayRef, DataType, RecordBatch, Scalar};
use pelton::expr::parse::parse_expr;
use pelton::kernels::cpu::project::Program;
use pelton::kernels::project::reference;

use super::schema;

/// Texts over all columns of the test schema, at least one for each operator, function and conversion.
const TEXTS: [&str; 85] = [
    "i8 + 1",
    "u8 - 1",
    "i8 + 300",
    "u64 + i8",
    "u64 < i64",
    "u64 > -1",
    "-u32",
    "i32 / 2",
    "i32 // 2",
    "i32 % i64_n",
    "f32 * 2",
    "f32 / f64",
    "price + price",
    "price * price",
    "price / 3",
    "price // 2",
    "price % 2",
    "1 - price",
    "price * i32",
    "price + f64",
    "price > 0.055",
    "price in (1, 2.5)",
    "i8 in (1, 300, null)",
    "city = 'Paris'",
    "city in ('Paris', 'Rome')",
    "city = view",
    "city = city",
    "view < 'm'",
    "large >= 'a'",
    "'b' > city",
    "bytes = 'x'",
    "lower(city) || '-' || upper(view) || i8",
    "length(large)",
    "octet_length(bytes)",
    "contains(city, 'a')",
    "view like 'a%b'",
    "starts_with(text, view)",
    "trim(text_n)",
    "normalize(text_n)",
    "substring(text, 1, 2)",
    "substring(text, i8 + 1)",
    "split(text, ' ')[1]",
    "split(text)",
    "regexp_extract(text, '(\\w)', 1)",
    "regexp_replace(city, 'a', 'b')",
    "replace(text, 'a', 'b')",
    "day < '2024-01-31'",
    "day < at",
    "at < '2024-01-31'",
    "at_s < '2024-01-31 00:00:00.5'",
    "at_utc < at_berlin",
    "at_berlin < '2024-07-01 12:00:00'",
    "at - at_s",
    "at - day",
    "day - day",
    "at_s + took",
    "day + interval '36 hours'",
    "interval '1 second' + at_berlin",
    "took * 2",
    "took / 2",
    "took / interval '1 second'",
    "took + interval '1 microsecond'",
    "-took",
    "truncate(at_berlin, '1 day')",
    "truncate(day, '7 days')",
    "extract(hour from day)",
    "extract(isodow from at_berlin)",
    "strftime(day, '%Y-%m-%d %H')",
    "strftime(at_berlin, '%z')",
    "try_strptime(text, '%Y-%m-%d %T %z')",
    "epoch_ms(day)",
    "epoch(took)",
    "case when ok then i8 else f64 end",
    "case when ok then null else city end",
    "coalesce(i64_n, 0)",
    "coalesce(text_n, city, '?')",
    "least(i8, f64, null)",
    "greatest(city, view)",
    "hash(i8, text_n)",
    "point.x + 1",
    "nothing = i8",
    "list_sum(numbers) + list_mean(numbers)",
    "list_max(words)",
    "list_get(numbers, -1)",
    "sqrt(u8) + log(2, i8) + pow(f32, 2) + round(f64, 1) + isnan(f64)::int",
];

/// A row of zeros, a row of ones, and a row with other values; nulls where they are allowed.
fn batch() -> RecordBatch {
    let schema = Arc::new(schema());
    let value = |data_type: &DataType, row: i64| sample(data_type, row);
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| {
            let null = |row| field.is_nullable() && row == 2;
            let rows = (0..4).map(|row| if null(row) { Scalar::Null } else { value(field.data_type(), row) });
            Scalar::to_array(&rows.collect::<Vec<_>>(), field.data_type()).expect("values of the type")
        })
        .collect();
    RecordBatch::try_new(schema, columns).expect("a batch")
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "rows are 0 to 3")]
fn sample(data_type: &DataType, row: i64) -> Scalar {
    match data_type {
        DataType::Null => Scalar::Null,
        DataType::Boolean => Scalar::Boolean(row % 2 == 0),
        DataType::Float32 | DataType::Float64 => Scalar::Float64(row as f64 / 2.0),
        DataType::Decimal128(precision, scale) => {
            Scalar::Decimal128 { unscaled: i128::from(row) * 125, precision: *precision, scale: *scale }
        }
        DataType::Date32 => Scalar::Date32(row as i32 * 10_000),
        DataType::Timestamp(unit, zone) => Scalar::Timestamp(row * 1_000_000, *unit, zone.clone()),
        DataType::Duration(unit) => Scalar::Duration(row * 1_500, *unit),
        DataType::Binary => Scalar::Binary(vec![b'x'; row as usize]),
        DataType::List(item) => Scalar::List((0..row).map(|index| sample(item.data_type(), index)).collect()),
        DataType::Struct(fields) => Scalar::Struct(fields.iter().map(|field| sample(field.data_type(), row)).collect()),
        DataType::Dictionary(_, values) => sample(values, row),
        unsigned if unsigned.is_unsigned_integer() => Scalar::UInt64(row as u64 + 1),
        integer if integer.is_integer() => Scalar::Int64(row),
        _ => Scalar::Utf8(["", "Paris", "a b", "zürich"][row as usize].to_owned()),
    }
}

/// Why the kernels do not give what typing promises, if they do not.
fn broken_promise(text: &str, batch: &RecordBatch) -> Result<Option<String>, pelton::error::Error> {
    let typed = parse_expr(text)?.typed(batch.schema_ref())?;
    let slow = reference(&typed, batch)?;
    let fast = Program::prepare(&typed)?.evaluate(batch)?;
    for found in [&slow, &fast] {
        if found.data_type() != &typed.data_type {
            return Ok(Some(format!("{} promised, {} given", typed.data_type, found.data_type())));
        }
        if !typed.nullable && found.logical_null_count() > 0 {
            return Ok(Some("a null where none was promised".to_owned()));
        }
    }
    let values = |array: &ArrayRef| -> Result<Vec<Scalar>, _> {
        (0..array.len()).map(|row| Scalar::from_array(array, row)).collect()
    };
    // As text, because NaN is not equal to itself.
    let (slow, fast) = (format!("{:?}", values(&slow)?), format!("{:?}", values(&fast)?));
    Ok((slow != fast).then(|| format!("{slow} by the reference, {fast} by the CPU")))
}

#[test]
fn kernels_give_what_typing_promises() {
    let batch = batch();
    let broken: Vec<String> = TEXTS
        .iter()
        .filter_map(|text| match broken_promise(text, &batch) {
            Ok(None) => None,
            Ok(Some(why)) => Some(format!("{text}: {why}")),
            Err(error) => Some(format!("{text}: {error}")),
        })
        .collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn typed_expressions_are_typed_as_themselves() {
    for text in TEXTS {
        let typed = parse_expr(text).and_then(|expr| expr.typed(&schema())).expect(text);
        let again = typed.to_expr().typed(&schema()).expect(text);
        assert_eq!(again.data_type, typed.data_type, "{text}: {typed}");
    }
}
