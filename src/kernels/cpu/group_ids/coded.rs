//! Ids of keys that come as few codes: booleans, columns of nulls only, dictionaries.

#![expect(clippy::cast_possible_truncation, reason = "ids fit u32: the caller has checked")]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow_schema::DataType;

use super::Ticket;
use super::method::Method;
use super::table::NONE;
use crate::error::{Error, ErrorKind, Result};

/// Ids of false, true and null.
#[derive(Default)]
pub(super) struct BooleanTicket {
    ids: [Option<u32>; 3],
    keys: Vec<Option<bool>>,
}

impl Ticket for BooleanTicket {
    fn assign(&mut self, column: &ArrayRef, ids: &mut Vec<u32>) -> Result<()> {
        ids.extend(column.as_boolean().iter().map(|value| {
            let code = value.map_or(2, usize::from);
            *self.ids[code].get_or_insert_with(|| {
                self.keys.push(value);
                self.keys.len() as u32 - 1
            })
        }));
        Ok(())
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn keys(&self) -> Result<ArrayRef> {
        Ok(Arc::new(BooleanArray::from(self.keys.clone())))
    }

    fn method(&self) -> Method {
        Method::Places
    }

    fn clear(&mut self) {
        self.ids = [None; 3];
        self.keys.clear();
    }
}

/// The one id of a column in which everything is null.
#[derive(Default)]
pub(super) struct NullTicket {
    is_seen: bool,
}

impl Ticket for NullTicket {
    fn assign(&mut self, column: &ArrayRef, ids: &mut Vec<u32>) -> Result<()> {
        self.is_seen |= !column.is_empty();
        ids.resize(ids.len() + column.len(), 0);
        Ok(())
    }

    fn len(&self) -> usize {
        usize::from(self.is_seen)
    }

    fn keys(&self) -> Result<ArrayRef> {
        Ok(new_null_array(&DataType::Null, self.len()))
    }

    fn method(&self) -> Method {
        Method::Places
    }

    fn clear(&mut self) {
        self.is_seen = false;
    }
}

/// Ids of dictionary codes: each value of a dictionary is looked up once, when a row first uses it.
pub(super) struct DictionaryTicket {
    data_type: DataType,
    values: Box<dyn Ticket>,
    /// The dictionary met last, and the ids of its codes.
    latest: Option<(ArrayRef, Vec<u32>)>,
}

impl DictionaryTicket {
    pub(super) fn new(data_type: DataType, values: Box<dyn Ticket>) -> Self {
        Self { data_type, values, latest: None }
    }
}

impl Ticket for DictionaryTicket {
    fn assign(&mut self, column: &ArrayRef, ids: &mut Vec<u32>) -> Result<()> {
        let dictionary = column.as_any_dictionary();
        let values = dictionary.values();
        let (_, known) = match self.latest.take() {
            Some(latest) if Arc::ptr_eq(&latest.0, values) => self.latest.insert(latest),
            // The last place is that of the null.
            _ => self.latest.insert((Arc::clone(values), vec![NONE; values.len() + 1])),
        };
        let nulls = dictionary.nulls().filter(|nulls| nulls.null_count() > 0);
        let mut codes = if values.is_empty() { vec![0; dictionary.len()] } else { dictionary.normalized_keys() };
        if let Some(nulls) = nulls {
            codes.iter_mut().zip(nulls).filter(|(_, is_valid)| !is_valid).for_each(|(code, _)| *code = values.len());
        }
        let mut fresh = Vec::new();
        for &code in &codes {
            if known[code] == NONE {
                known[code] = 0;
                fresh.push((code < values.len()).then_some(code as u32));
            }
        }
        if !fresh.is_empty() {
            let new = arrow_select::take::take(values, &UInt32Array::from(fresh.clone()), None)?;
            let mut new_ids = Vec::with_capacity(fresh.len());
            self.values.assign(&new, &mut new_ids)?;
            for (code, id) in fresh.into_iter().zip(new_ids) {
                known[code.map_or(values.len(), |code| code as usize)] = id;
            }
        }
        ids.extend(codes.iter().map(|&code| known[code]));
        Ok(())
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn keys(&self) -> Result<ArrayRef> {
        arrow_cast::cast(&self.values.keys()?, &self.data_type).map_err(|_| {
            let message = format!("{} different keys do not fit {}", self.values.len(), self.data_type);
            Error::new(ErrorKind::Overflow, message).advice("cast the key to its plain type")
        })
    }

    fn method(&self) -> Method {
        Method::Codes
    }

    fn clear(&mut self) {
        self.latest = None;
        self.values.clear();
    }
}
