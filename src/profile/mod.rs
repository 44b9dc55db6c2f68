//! What the columns of a stream hold, in a few kilobytes a column: nulls, extremes, how many different values, quantiles and
//! the most frequent values.
//!
//! Batches go into a [`Profile`]; profiles of parts are put together, and the answer does not hang on how the rows were cut:
//! nulls and extremes are exact, sketches of distinct values and quantiles are sums and maxima, and of the most frequent
//! values the bound is told with each. A [`ColumnProfile`] is what is shown. Columns of lists and structs tell rows and
//! nulls alone.

mod distinct;
mod frequent;
mod quantiles;
mod sketch;
mod value;

use serde::Serialize;

use crate::columnar::{RecordBatch, Schema, SchemaRef};
use crate::error::{Error, Result};
use sketch::Sketch;

/// What is known of some columns of a stream.
#[derive(Debug, Clone)]
pub struct Profile {
    schema: SchemaRef,
    columns: Vec<(usize, Sketch)>,
}

/// What a column holds. Values are shown as Arrow prints them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnProfile {
    /// The column.
    pub column: String,
    /// Rows, with those that are null.
    pub rows: u64,
    /// Rows that are null.
    pub nulls: u64,
    /// How many different values there are, null not counted.
    pub distinct: u64,
    /// Whether that is exact; otherwise its standard error is 1.6 % ([`DISTINCT_ERROR`]).
    pub distinct_is_exact: bool,
    /// The least value but NaN; of texts and bytes the first 64 bytes.
    pub min: Option<String>,
    /// The greatest.
    pub max: Option<String>,
    /// Of numbers and times, in rising order of their shares.
    pub quantiles: Vec<Quantile>,
    /// The most frequent values, first the most frequent.
    pub frequent: Vec<Frequent>,
}

/// A value that a share of all values does not exceed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quantile {
    /// The share, of all values that are neither null nor NaN.
    pub share: f64,
    /// The value, or one that differs from it by [`QUANTILE_ERROR`] of it at most.
    pub value: String,
}

/// A value that is frequent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Frequent {
    /// The value; of texts and bytes the first 64 bytes.
    pub value: String,
    /// Rows that have it, at least.
    pub count: u64,
    /// Rows that have it, at most: no more than one in 256 of all rows above `count`, and as many if the column has at
    /// most 256 different values. A value with more rows than that is never missing.
    pub count_max: u64,
}

/// The standard error of an estimate of distinct values, as a share of it: 1.04 / √4096.
pub const DISTINCT_ERROR: f64 = 0.016_25;

/// How far a quantile may be from the value that it stands for, as a share of it.
pub const QUANTILE_ERROR: f64 = 1.0 / 256.0;

/// The shares whose quantiles are shown.
const SHARES: [f64; 6] = [0.01, 0.25, 0.5, 0.75, 0.95, 0.99];

/// How many of the most frequent values are shown.
const FREQUENT_SHOWN: usize = 10;

impl Profile {
    /// Of nothing yet: of the columns at these places.
    ///
    /// # Errors
    /// `Internal` for a place that the schema does not have.
    pub fn new(schema: &SchemaRef, columns: &[usize]) -> Result<Self> {
        let sketch = |place: &usize| match schema.fields().get(*place) {
            Some(field) => Ok((*place, Sketch::new(field.data_type()))),
            None => Err(Error::internal(format!("column {place} of {} is to be profiled", schema.fields().len()))),
        };
        let columns = columns.iter().map(sketch).collect::<Result<_>>()?;
        Ok(Self { schema: SchemaRef::clone(schema), columns })
    }

    /// Where the columns stand.
    pub fn places(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(|(place, _)| *place)
    }

    /// Takes rows in.
    ///
    /// # Errors
    /// `Internal` for a batch of another schema.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        for (place, sketch) in &mut self.columns {
            let column = batch.columns().get(*place);
            sketch.push(column.ok_or_else(|| Error::internal("a batch lacks a column that is profiled"))?)?;
        }
        Ok(())
    }

    /// Takes in what another profile of the same columns knows of other rows.
    pub fn absorb(&mut self, other: &Self) {
        for ((_, sketch), (_, other)) in self.columns.iter_mut().zip(&other.columns) {
            sketch.absorb(other);
        }
    }

    /// What is shown.
    ///
    /// # Errors
    /// A value that cannot be shown.
    pub fn columns(&self) -> Result<Vec<ColumnProfile>> {
        self.columns.iter().map(|(place, sketch)| sketch.shown(self.schema.field(*place).name())).collect()
    }
}

/// Where the columns of these names stand; all columns if none are named.
///
/// # Errors
/// `InvalidOption` for a name that the schema does not have.
pub fn places(schema: &Schema, names: Option<&[String]>) -> Result<Vec<usize>> {
    let Some(names) = names else { return Ok((0..schema.fields().len()).collect()) };
    let place = |name: &String| {
        schema.index_of(name).map_err(|_| {
            let known = schema.fields().iter().map(|field| field.name().as_str());
            let message = format!("there is no column \"{name}\" that could be profiled");
            Error::new(crate::error::ErrorKind::InvalidOption, message)
                .advice(crate::suggest::advice(name, "columns", known))
        })
    };
    names.iter().map(place).collect()
}
