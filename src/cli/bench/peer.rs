//! Another engine beside ours: what it gets, and what it gives back. `crates/compare` runs `DataFusion` through it.

use std::any::Any;
use std::fmt;

use super::chain::Query;
use crate::columnar::RecordBatch;
use crate::error::Result;

/// An engine to be measured beside ours, on the same rows and threads.
pub trait OtherEngine: Sync {
    /// Its name, in tables and messages.
    fn name(&self) -> &'static str;

    /// A chain over these rows, ready to run on so many threads.
    ///
    /// # Errors
    /// Why it cannot run the chain; the case is then measured without it.
    fn prepare(&self, chain: &ChainText, rows: &RecordBatch, threads: usize) -> Result<Box<dyn OtherChain>>;
}

/// A chain that another engine is ready to run.
pub trait OtherChain {
    /// Computes the answer and throws it away: only this is timed. What it gives is dropped after the clock has stopped.
    ///
    /// # Errors
    /// What the engine says.
    fn run(&self) -> Result<Box<dyn Any>>;

    /// The answer, to be compared with ours.
    ///
    /// # Errors
    /// What the engine says.
    fn answer(&self) -> Result<RecordBatch>;
}

/// A chain in SQL: filter, then columns, then groups; what is empty is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainText {
    /// The rows that are kept.
    pub filter: Option<String>,
    /// The columns, with their names; all if there are none.
    pub select: Vec<String>,
    /// What rows are grouped by, with names.
    pub keys: Vec<String>,
    /// What is made of each group, or of all rows, with names.
    pub aggregates: Vec<String>,
}

impl ChainText {
    pub(super) fn of(query: &Query) -> Self {
        fn texts<T: fmt::Display>(parts: &[T]) -> Vec<String> {
            parts.iter().map(ToString::to_string).collect()
        }
        Self {
            filter: query.filter.as_ref().map(ToString::to_string),
            select: texts(&query.select),
            keys: texts(&query.keys),
            aggregates: texts(&query.aggregates),
        }
    }

    /// The chain as one query of this table.
    ///
    /// ```
    /// use pelton::cli::bench::ChainText;
    ///
    /// let texts = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect::<Vec<_>>();
    /// let chain = ChainText {
    ///     filter: Some("i > 3".to_owned()),
    ///     select: texts(&[]),
    ///     keys: texts(&["k"]),
    ///     aggregates: texts(&["sum(i) AS total"]),
    /// };
    /// assert_eq!(chain.query("rows"), "SELECT k, sum(i) AS total FROM (SELECT * FROM rows WHERE i > 3) GROUP BY 1");
    /// ```
    pub fn query(&self, table: &str) -> String {
        let columns = if self.select.is_empty() { "*".to_owned() } else { self.select.join(", ") };
        let filter = self.filter.as_ref().map_or(String::new(), |filter| format!(" WHERE {filter}"));
        let rows = format!("SELECT {columns} FROM {table}{filter}");
        if self.aggregates.is_empty() {
            return rows;
        }
        let columns: Vec<&str> = self.keys.iter().chain(&self.aggregates).map(String::as_str).collect();
        let groups: Vec<String> = (1..=self.keys.len()).map(|place| place.to_string()).collect();
        let groups = if groups.is_empty() { String::new() } else { format!(" GROUP BY {}", groups.join(", ")) };
        format!("SELECT {} FROM ({rows}){groups}", columns.join(", "))
    }
}
