//! What closures remember in the beginning: rows of a table, or pairs, as states of the closure's own type.
//!
//! A row becomes a state by way of serde, as what was stored does: a single column is its value, several are the fields of
//! a struct by their names; `_1`, `_2`, … are those of a tuple.

use std::sync::Arc;

use arrow_array::types::{Decimal128Type, DecimalType};
use arrow_array::{ArrayRef, LargeBinaryArray};
use serde::de::DeserializeOwned;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::cell::Row;
use super::state::{read, short_name, write};
use crate::columnar::{DataType, Field, RecordBatch, Scalar, Schema};
use crate::error::{Error, Result};

/// The keys of pairs in their columns, and one of the bytes of their states.
pub(super) fn initial_pairs<K: Row, S: Serialize>(pairs: impl IntoIterator<Item = (K, S)>) -> Result<RecordBatch> {
    let (keys, states): (Vec<K>, Vec<S>) = pairs.into_iter().unzip();
    let bytes = states.iter().map(write).collect::<Result<Vec<_>>>()?;
    let mut fields = K::fields();
    fields.push(Field::new("state", DataType::LargeBinary, false));
    let mut columns = K::columns(keys);
    columns.push(Arc::new(LargeBinaryArray::from_iter_values(bytes)));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The states that the rows of columns make, as bytes.
pub(super) fn initial_states<S: Serialize + DeserializeOwned>(
    names: &[&str],
    columns: &[ArrayRef],
) -> Result<Vec<Vec<u8>>> {
    let rows = columns.first().map_or(0, |column| column.len());
    let is_tuple = names.iter().enumerate().all(|(place, name)| *name == format!("_{}", place + 1));
    let state = |row: usize| -> Result<Vec<u8>> {
        let values = columns.iter().map(|column| Scalar::from_array(column, row)).collect::<Result<Vec<_>>>()?;
        let forms = match values.as_slice() {
            [one] => vec![to_bytes(&Value(one))?, to_bytes(&Fields(names, &values))?],
            _ if is_tuple => vec![to_bytes(&Items(&values))?],
            _ => vec![to_bytes(&Fields(names, &values))?],
        };
        let mut read_as = forms.iter().map(|form| read::<S>(form));
        let Some(first) = read_as.next() else { return Err(Error::internal("a row without a form")) };
        let made = first.or_else(|first| read_as.next().and_then(Result::ok).ok_or(first));
        made.and_then(|state| write(&state)).map_err(|error| {
            let message = format!("row {row} of the initial state is no {}: {}", short_name::<S>(), error.message());
            Error::invalid_query(message)
                .advice(
                    "name the columns as the fields of the state, or _1, _2, … for a tuple; one column is its value",
                )
                .because(error)
        })
    };
    (0..rows).map(state).collect()
}

fn to_bytes(form: &impl Serialize) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(form).map_err(|error| {
        Error::invalid_query(format!("a row of the initial state cannot be written down: {error}")).because(error)
    })
}

/// A value as serde has it: times as whole numbers of their unit, decimals as texts.
struct Value<'a>(&'a Scalar);

struct Fields<'a>(&'a [&'a str], &'a [Scalar]);

struct Items<'a>(&'a [Scalar]);

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Scalar::Null => to.serialize_none(),
            Scalar::Boolean(value) => to.serialize_bool(*value),
            Scalar::Int64(value) | Scalar::Timestamp(value, ..) | Scalar::Duration(value, _) => {
                to.serialize_i64(*value)
            }
            Scalar::UInt64(value) => to.serialize_u64(*value),
            Scalar::Float64(value) => to.serialize_f64(*value),
            Scalar::Decimal128 { unscaled, precision, scale } => {
                to.serialize_str(&Decimal128Type::format_decimal(*unscaled, *precision, *scale))
            }
            Scalar::Utf8(text) => to.serialize_str(text),
            Scalar::Binary(bytes) => to.serialize_bytes(bytes),
            Scalar::Date32(days) => to.serialize_i32(*days),
            Scalar::List(items) | Scalar::Struct(items) => Items(items).serialize(to),
        }
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0.iter().zip(self.1) {
            map.serialize_entry(name, &Value(value))?;
        }
        map.end()
    }
}

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut items = to.serialize_seq(Some(self.0.len()))?;
        for item in self.0 {
            items.serialize_element(&Value(item))?;
        }
        items.end()
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Float64Array, Int64Array, StringArray};

    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Seen {
        visits: u32,
        name: Option<String>,
    }

    fn numbers() -> ArrayRef {
        Arc::new(Int64Array::from(vec![1, 300]))
    }

    fn names() -> ArrayRef {
        Arc::new(StringArray::from(vec![Some("a"), None]))
    }

    #[test]
    fn rows_become_values_structs_and_tuples() {
        let states = initial_states::<u16>(&["anything"], &[numbers()]).unwrap();
        assert_eq!(states.iter().map(|state| read::<u16>(state).unwrap()).collect::<Vec<_>>(), [1, 300]);
        let states = initial_states::<Seen>(&["name", "visits"], &[names(), numbers()]).unwrap();
        assert_eq!(read::<Seen>(&states[1]).unwrap(), Seen { visits: 300, name: None });
        let states = initial_states::<(i64, Option<String>)>(&["_1", "_2"], &[numbers(), names()]).unwrap();
        assert_eq!(read::<(i64, Option<String>)>(&states[0]).unwrap(), (1, Some("a".to_owned())));
    }

    #[test]
    fn rows_that_are_no_state_are_told_with_their_number() {
        let error = initial_states::<u8>(&["n"], &[numbers()]).unwrap_err();
        assert!(error.message().starts_with("row 1 of the initial state is no u8"), "{error}");
        assert!(initial_states::<Seen>(&["name", "visit"], &[names(), numbers()]).is_err(), "never by place");
        assert!(initial_states::<(i64, Option<String>)>(&["a", "b"], &[numbers(), names()]).is_err());
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
        assert!(initial_states::<i64>(&["n"], &[floats]).is_err(), "a fraction is no whole number");
    }
}
