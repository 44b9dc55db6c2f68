//! Partials as columns, so that they can leave the process: to another machine, or into a snapshot.
//!
//! What is stored is a [`RecordBatch`] whose schema carries the number of its format. Which columns there are is the
//! business of the backend; this module stamps them, and says what is wrong when other ones come back.
//!
//! # Contract
//! `restore` of what `store` gave, before or after any lossless transport (Arrow IPC for example), merges and finishes to the
//! same bits as the partial itself. *(tested)* Other columns are a typed error that names the difference, never a
//! wrong answer. *(tested)*

use std::sync::Arc;

use crate::columnar::{RecordBatch, Schema, SchemaRef};
use crate::error::{Error, ErrorKind, Place, Result};

/// The entry of a schema's metadata that says which format its columns have.
pub const FORMAT_ENTRY: &str = "pelton.format";

/// The format that is written and read. It changes when the columns of any partial do.
pub const FORMAT: &str = "1";

/// The schema with the number of the format.
pub(crate) fn stamped(schema: Schema) -> SchemaRef {
    let mut metadata = schema.metadata.clone();
    metadata.insert(FORMAT_ENTRY.to_owned(), FORMAT.to_owned());
    Arc::new(schema.with_metadata(metadata))
}

/// Holds a batch that is to be restored to the fields that are expected, and to the format.
pub(crate) fn check(batch: &RecordBatch, expected: &Schema) -> Result<()> {
    let schema = batch.schema_ref();
    match schema.metadata.get(FORMAT_ENTRY).map(String::as_str) {
        Some(FORMAT) => {}
        Some(other) => {
            let message = format!("a partial is stored in format {other}; this version reads format {FORMAT}");
            return Err(Error::new(ErrorKind::Unsupported, message)
                .advice("finish it with the version that stored it, or compute it again"));
        }
        None => {
            let message = format!("a batch is not a stored partial: its schema has no entry \"{FORMAT_ENTRY}\"");
            return Err(
                Error::new(ErrorKind::InvalidOption, message).advice("restore what was stored, metadata included")
            );
        }
    }
    let foreign = |column: &str, message: String| {
        Err(Error::new(ErrorKind::InvalidOption, message)
            .at(Place::default().column(column))
            .advice("restore a partial by the same chain, compiled for the same schema"))
    };
    for (got, wanted) in schema.fields().iter().zip(expected.fields()) {
        let (name, wanted_name) = (got.name(), wanted.name());
        if name != wanted_name {
            return foreign(name, format!("a stored partial has column \"{name}\" in the place of \"{wanted_name}\""));
        }
        let (got, wanted) = (got.data_type(), wanted.data_type());
        if got != wanted {
            return foreign(name, format!("a stored partial has {got} in the place of {wanted}"));
        }
    }
    let (got, wanted) = (schema.fields().len(), expected.fields().len());
    if got != wanted {
        return foreign("", format!("a stored partial has {got} columns in the place of {wanted}"));
    }
    for (column, field) in batch.columns().iter().zip(expected.fields()) {
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(corrupt(format!("column \"{}\" has nulls", field.name())));
        }
    }
    Ok(())
}

/// The error for stored bytes that nothing could have stored.
pub(crate) fn corrupt(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Corrupt, format!("a stored partial is damaged: {what}"))
        .advice("compute it again from its rows")
}
