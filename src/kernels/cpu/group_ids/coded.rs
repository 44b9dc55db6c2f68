//! Ids of keys that come as few codes: booleans, columns of nulls only, dictionaries.

#![expect(clippy::cast_possible_truncation, reason = "ids fit u32: the caller has checked")]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
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
    codes: CodeIds,
}

impl DictionaryTicket {
    pub(super) fn new(data_type: DataType, values: Box<dyn Ticket>) -> Self {
        Self { data_type, values, codes: CodeIds::default() }
    }
}

/// The dictionary met last, and the ids of its codes.
#[derive(Default)]
pub(super) struct CodeIds(Option<(ArrayRef, Vec<u32>)>);

impl CodeIds {
    /// Appends the id of each row; false, and anything there, if it is another dictionary, or a row has none yet or is null.
    pub(super) fn find(&self, column: &ArrayRef, ids: &mut Vec<u32>) -> bool {
        let dictionary = column.as_any_dictionary();
        let known = self.0.as_ref().filter(|(latest, _)| Arc::ptr_eq(latest, dictionary.values()));
        let (Some((_, known)), Some(codes)) = (known, dictionary.keys().as_primitive_opt::<UInt32Type>()) else {
            return false;
        };
        if codes.null_count() > 0 {
            return false;
        }
        let before = ids.len();
        ids.extend(codes.values().iter().map(|&code| known[code as usize]));
        ids[before..].iter().fold(0, |most, &id| most.max(id)) < NONE
    }

    /// Appends the id of each row; `assign` gives the ids of values.
    pub(super) fn assign(
        &mut self,
        column: &ArrayRef,
        ids: &mut Vec<u32>,
        assign: impl FnOnce(&ArrayRef, &mut Vec<u32>) -> Result<()>,
    ) -> Result<()> {
        // Nearly always all codes have been met before.
        let before = ids.len();
        if self.find(column, ids) {
            return Ok(());
        }
        ids.truncate(before);
        let dictionary = column.as_any_dictionary();
        let values = dictionary.values();
        let (_, known) = match self.0.take() {
            Some(latest) if Arc::ptr_eq(&latest.0, values) => self.0.insert(latest),
            // The last place is that of the null.
            _ => self.0.insert((Arc::clone(values), vec![NONE; values.len() + 1])),
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
            assign(&new, &mut new_ids)?;
            for (code, id) in fresh.into_iter().zip(new_ids) {
                known[code.map_or(values.len(), |code| code as usize)] = id;
            }
        }
        ids.extend(codes.iter().map(|&code| known[code]));
        Ok(())
    }

    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

/// The values of rows of which nearly each has a code of its own: then codes spare nothing.
pub(super) fn one_by_one(column: &ArrayRef) -> Result<Option<ArrayRef>> {
    let dictionary = column.as_any_dictionary();
    let (values, rows) = (dictionary.values(), dictionary.len());
    if values.len() < rows {
        return Ok(None);
    }
    let codes = dictionary.keys().as_primitive_opt::<UInt32Type>().filter(|codes| codes.nulls().is_none());
    let are_rows = |codes: &UInt32Array| codes.values().iter().zip(0_u32..).all(|(&code, row)| code == row);
    if values.len() == rows && codes.is_some_and(are_rows) {
        return Ok(Some(Arc::clone(values)));
    }
    Ok(Some(arrow_cast::cast(column, values.data_type())?))
}

impl Ticket for DictionaryTicket {
    fn assign(&mut self, column: &ArrayRef, ids: &mut Vec<u32>) -> Result<()> {
        let Self { values, codes, .. } = self;
        codes.assign(column, ids, |new, ids| values.assign(new, ids))
    }

    fn find(&self, column: &ArrayRef, ids: &mut Vec<u32>) -> bool {
        self.codes.find(column, ids)
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
        self.codes.clear();
        self.values.clear();
    }
}
