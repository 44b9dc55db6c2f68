//! A function of the user's over keys and what is remembered of them, as the engine sees it: many keys at a time, in
//! columns, and what is remembered as bytes.

use std::time::Duration;

use crate::columnar::ArrayRef;
use crate::error::{Error, Result};

/// Keys that a function is called for, with their rows and what is remembered of them.
#[derive(Debug, Clone, Copy)]
pub struct KeyCalls<'a> {
    /// A column for each key column, a row for each key.
    pub keys: &'a [ArrayRef],
    /// What the function sees of the rows: those of the first key, then those of the second.
    pub values: &'a [ArrayRef],
    /// Where the rows of each key end.
    pub ends: &'a [usize],
    /// The place that each row has in the batch. What is given for a row takes its place.
    pub places: &'a [u32],
    /// What is remembered of each key.
    pub states: &'a [Option<&'a [u8]>],
    /// Whether they have no rows, and are called because their time is over.
    pub is_timed_out: bool,
    /// Whether there is a watermark that tells how far event time has come.
    pub has_watermark: bool,
    /// When the batch was cut.
    pub time: Duration,
    /// How far event time had come before the batch, in microseconds since the Unix epoch; of keys whose time is over, how
    /// far it has come with the batch.
    pub horizon: Option<i64>,
}

/// What a function gives for keys.
#[derive(Debug, Default)]
pub struct KeyAnswers {
    /// The rows.
    pub rows: Vec<ArrayRef>,
    /// The place of each: of the row of the batch it was given for; of keys whose time is over, the number of the key.
    pub places: Vec<u32>,
    /// What has become of each key.
    pub states: Vec<StateAfter>,
}

/// What has become of what is remembered of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateAfter {
    /// What is remembered from now on; nothing if the key is forgotten.
    pub state: Option<Vec<u8>>,
    /// The time of batches from which on it is timed out, in microseconds since the Unix epoch.
    pub until: Option<i64>,
    /// The event time from which on it is timed out, likewise.
    pub until_event: Option<i64>,
}

/// A function of the user's over keys and what is remembered of them.
///
/// # Contract
/// 1. What it gives for a key depends on the key, its rows in order, what is remembered, and the times alone. *Cannot be
///    checked: a batch that is run again then gives something else.*
/// 2. `states` has an entry for each key, and `places` one for each row that is given. *Asserted.*
pub trait StateFunction: Send + Sync {
    /// Calls it for each key, in order.
    ///
    /// # Errors
    /// Bytes that are no state of its own, or what its own code says.
    fn call(&self, calls: &KeyCalls<'_>) -> Result<KeyAnswers>;

    /// The rows that show what is remembered, without a call: one for each key.
    ///
    /// # Errors
    /// Bytes that are no state of its own; a function that cannot show it.
    fn show(&self, keys: &[ArrayRef], states: &[&[u8]]) -> Result<Vec<ArrayRef>>;

    /// The states that rows of a table make, to begin with: these columns hold the state of a key in each row.
    ///
    /// # Errors
    /// Which row is none; a function that cannot begin so.
    fn begin(&self, names: &[&str], columns: &[ArrayRef]) -> Result<Vec<Vec<u8>>> {
        let _ = (names, columns);
        Err(Error::invalid_query("this function cannot begin with rows of a table"))
    }

    /// Whether bytes are a state of its own.
    ///
    /// # Errors
    /// Why they are not.
    fn check(&self, state: &[u8]) -> Result<()>;
}
