//! What state begins with: the rows of a table, made fit for what keeps them. They are looked at when a query starts, and taken in with
//! its first batch, whose time is theirs; from then on they are in no way different from what rows brought.

use arrow_array::{Array, ArrayRef};
use arrow_cast::display::array_value_to_string;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::SchemaRef;

use super::group_ids::GroupIds;
use crate::columnar::DataType;
use crate::error::{Error, Result};
use crate::plan::initial::Initial;
use crate::plan::stage::Registry;

/// The columns of a table that state begins with.
#[derive(Debug, Clone)]
pub(super) struct InitialRows {
    /// The name of each column.
    pub(super) names: Vec<String>,
    pub(super) columns: Vec<ArrayRef>,
    pub(super) rows: usize,
    /// The first so many are keys.
    pub(super) keys: usize,
    pub(super) is_stored: bool,
}

impl InitialRows {
    /// What a stage begins with, with the first columns in the types of these; none where there is no registry, as where
    /// only stored state is looked at.
    pub(super) fn find(
        initial: Option<&Initial>,
        registry: &Registry,
        (keys, types): (usize, &[DataType]),
    ) -> Result<Option<Self>> {
        let Some(initial) = initial else { return Ok(None) };
        let Ok((_, table)) = registry.table(initial.table) else { return Ok(None) };
        let schema: SchemaRef = table.schema();
        let mut names = Vec::new();
        let mut columns = Vec::new();
        for (place, &index) in initial.columns.iter().enumerate() {
            let (name, column) = (schema.field(index).name().clone(), table.column(index));
            columns.push(match types.get(place) {
                Some(data_type) => cast(column, data_type, &name)?,
                None => ArrayRef::clone(column),
            });
            names.push(name);
        }
        let (rows, is_stored) = (table.num_rows(), initial.is_stored);
        let found = Self { names, columns, rows, keys, is_stored };
        found.check_keys()?;
        Ok(Some(found))
    }

    pub(super) fn keys(&self) -> &[ArrayRef] {
        &self.columns[..self.keys]
    }

    /// What stands beside the keys.
    pub(super) fn others(&self) -> (Vec<&str>, &[ArrayRef]) {
        (self.names[self.keys..].iter().map(String::as_str).collect(), &self.columns[self.keys..])
    }

    /// Each key may come once.
    fn check_keys(&self) -> Result<()> {
        let keys = self.keys();
        if keys.is_empty() {
            let is_one = self.rows == 1;
            let message = format!("without keys there is one state to begin with, not {}", self.rows);
            return if is_one { Ok(()) } else { Err(Error::invalid_query(message).advice("give a table of one row")) };
        }
        let mut ids = Vec::new();
        let mut group_ids = GroupIds::new(keys.iter().map(|key| key.data_type()))?;
        group_ids.assign(keys, &mut ids)?;
        let mut seen = vec![false; group_ids.len()];
        let twice =
            ids.iter().position(|&id| usize::try_from(id).is_ok_and(|id| std::mem::replace(&mut seen[id], true)));
        let Some(row) = twice else { return Ok(()) };
        let shown = self.names.iter().zip(keys).map(|(name, key)| {
            let value = if key.is_null(row) { "null".to_owned() } else { array_value_to_string(key, row)? };
            Ok(format!("{name} = {value}"))
        });
        let shown = shown.collect::<Result<Vec<_>>>()?.join(", ");
        let message = format!("in the initial state, a key comes twice: {shown}");
        Err(Error::invalid_query(message).advice("give each key once, for example by adding up its rows first"))
    }
}

fn cast(column: &ArrayRef, data_type: &DataType, name: &str) -> Result<ArrayRef> {
    if column.data_type() == data_type {
        return Ok(ArrayRef::clone(column));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, data_type, &options).map_err(|error| {
        let message = format!("in the initial state, a value of column \"{name}\" is no {data_type}: {error}");
        Error::invalid_query(message).because(error)
    })
}
