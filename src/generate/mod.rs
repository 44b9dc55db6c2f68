//! Sample streams: seeded rows that look like real ones, for trying things out, for tests and for measuring.
//!
//! A [`Generator`] is addressed by row number. Row 1,000,000 is the same whether it is made alone, in a batch of ten or
//! in a stream from row 0, because each value is a hash of seed, column and row (`draw`). So a stream can be cut,
//! repeated and made by many threads, and its replay needs no log. Arithmetic on integers and exactly rounded floats
//! only: the rows are the same on every machine.
//!
//! `lineitem` of TPC-H (feature `cli`) is the exception: its rules allow parts, not rows, so it is a stream of its own.
//! Nothing here paces a stream (the connectors do) or writes files other than [`text`].

mod access_log;
mod ads;
pub(crate) mod draw;
mod groupby;
#[cfg(feature = "cli")]
pub mod lineitem;
mod measurements;
mod numbers;
mod people;
pub mod text;
mod text_column;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::columnar::{DataType, Field, RecordBatch, Schema, SchemaRef};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{GENERATED_ROW_NUMBER_MAX, ROWS_PER_GENERATED_BATCH_MAX};
use crate::suggest;

pub use ads::campaigns;
pub use text::{TextForm, write_text};

/// Rows made from their numbers.
///
/// # Contract
/// 1. Row `n` is the same whenever and in whatever batch it is asked for. *(tested)*
/// 2. No column ever holds a null. *(tested)*
pub trait Generator: Send + Sync + fmt::Debug {
    /// Its kind, e.g. `ads`.
    fn name(&self) -> &'static str;

    /// The schema of its rows.
    fn schema(&self) -> SchemaRef;

    /// How its rows are usually written as text.
    fn text_form(&self) -> TextForm;

    /// The rows `first_row .. first_row + rows`.
    ///
    /// # Errors
    /// `InvalidOption` for more than [`ROWS_PER_GENERATED_BATCH_MAX`] rows at once or a row number beyond
    /// [`GENERATED_ROW_NUMBER_MAX`].
    fn rows(&self, first_row: u64, rows: usize) -> Result<RecordBatch>;
}

/// What can be chosen about a sample stream beside its seed. A generator leaves alone what does not concern it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How many distinct keys there are: users of `ads`, stations of `measurements`, `k_hi` of `groupby`, hosts of
    /// `access_log`. Each kind has its own usual number.
    pub keys: Option<u64>,
    /// How unevenly the keys occur.
    pub skew: Skew,
    /// Events in one second of event time. Each kind has its own usual number.
    pub events_per_second: Option<u64>,
    /// Event times are up to this many milliseconds late. Without it they never fall.
    pub late_ms: u64,
}

/// How unevenly keys occur.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Skew {
    /// All equally often.
    #[default]
    Uniform,
    /// As in Zipf's law with exponent 1: a key of rank `r` occurs about `1/r` as often as the first. In steps: ranks
    /// `2^l .. 2^(l+1)` occur equally often, which needs no logarithm and is therefore the same on every machine.
    Zipf,
}

type Make = fn(u64, &Options) -> Result<Arc<dyn Generator>>;

/// All kinds, with what their rows are.
const KINDS: [(&str, &str, Make); 6] = [
    ("ads", "events of an advertising system: views, clicks and purchases, with user, page, ad and time", ads::make),
    ("measurements", "a weather station's name and a temperature with one decimal", measurements::make),
    (
        "groupby",
        "keys of low, middle and high cardinality, as integers and strings, with numbers to add up",
        groupby::make,
    ),
    ("access_log", "lines of a web server's access log in Apache's combined format", access_log::make),
    ("people", "name, age and city", people::make),
    ("numbers", "lines of numbers separated by spaces; some hold words, some are empty", numbers::make),
];

/// The kinds that [`generator`] knows, each with a sentence on its rows.
pub fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> + Clone {
    KINDS.iter().map(|(name, about, _)| (*name, *about))
}

/// The sample stream of this kind.
///
/// ```
/// use pelton::generate::{Options, generator};
///
/// let people = generator("people", 7, &Options::default())?;
/// let some = people.rows(1_000_000, 3)?;
/// assert_eq!(some.num_rows(), 3);
/// assert_eq!(some.slice(1, 1), people.rows(1_000_001, 1)?);
/// # Ok::<(), pelton::error::Error>(())
/// ```
///
/// # Errors
/// `InvalidOption` for a kind that does not exist or options outside their range.
pub fn generator(kind: &str, seed: u64, options: &Options) -> Result<Arc<dyn Generator>> {
    let Some((_, _, make)) = KINDS.iter().find(|(name, _, _)| *name == kind) else {
        return Err(Error::new(ErrorKind::InvalidOption, format!("there is no sample stream \"{kind}\""))
            .advice(suggest::advice(kind, "kinds", kinds().map(|(name, _)| name))));
    };
    make(seed, options)
}

/// The numbers of the rows asked for, if they can be given.
fn row_numbers(first_row: u64, rows: usize) -> Result<Range<u64>> {
    if rows > ROWS_PER_GENERATED_BATCH_MAX {
        return Err(Error::new(ErrorKind::InvalidOption, format!("{rows} rows are too many for one generated batch"))
            .advice(format!("ask for at most {ROWS_PER_GENERATED_BATCH_MAX} rows at a time")));
    }
    match first_row.checked_add(rows as u64) {
        Some(end) if end <= GENERATED_ROW_NUMBER_MAX => Ok(first_row..end),
        _ => Err(Error::new(ErrorKind::InvalidOption, format!("a sample stream has no row {first_row} + {rows}"))
            .advice(format!("row numbers end at {GENERATED_ROW_NUMBER_MAX}"))),
    }
}

/// The number of keys asked for, or the usual one, if it lies in `1 ..= max`.
fn key_count(options: &Options, usual: u64, max: u64) -> Result<u64> {
    match options.keys.unwrap_or(usual) {
        keys if (1..=max).contains(&keys) => Ok(keys),
        keys => Err(Error::new(ErrorKind::InvalidOption, format!("{keys} distinct keys are not possible"))
            .advice(format!("set keys to a number from 1 to {max}"))),
    }
}

fn schema_of(fields: &[(&str, DataType)]) -> SchemaRef {
    // Nullable like every column that is read from a file, so that a sample stream can stand in for one.
    Arc::new(Schema::new(
        fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect::<Vec<_>>(),
    ))
}

fn batch_of(schema: &SchemaRef, columns: Vec<crate::columnar::ArrayRef>) -> Result<RecordBatch> {
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|error| Error::internal("a sample stream's columns do not fit its schema").because(error))
}
