//! A function of the user's that makes one value of two, over windows of the latest batches, as the engine sees it: values in
//! columns, keys as slots.

use crate::columnar::{ArrayRef, DataType};
use crate::error::Result;

/// A function of the user's that makes one value of two.
///
/// # Contract
/// 1. Associative; an inverse takes the earlier of two values out of what the function made of them. *Cannot be checked: the
///    answer then depends on where batches are cut.*
/// 2. `fold` gives one value for each key that has one, and says of which. *Asserted.*
pub trait FoldFunction: Send + Sync {
    /// One value for each key whose rows hold one: the rows of the first key, then those of the second, up to `ends`.
    ///
    /// # Errors
    /// What the user's code says.
    fn fold(&self, values: &[ArrayRef], ends: &[usize]) -> Result<FoldedKeys>;

    /// No values yet, of a window of so many microseconds.
    fn begin(&self, size: i64) -> Box<dyn Folds>;

    /// The types in which keys are shown to a function that says which of them stay; none without one.
    fn asks(&self) -> Option<Vec<DataType>>;
}

/// One value for each of some keys.
#[derive(Debug, Default)]
pub struct FoldedKeys {
    /// The values.
    pub columns: Vec<ArrayRef>,
    /// The number of the key of each, rising.
    pub keys: Vec<u32>,
}

/// What is held of the values of a window. Times are those of batches, in microseconds.
pub trait Folds: Send {
    /// Adds a value to each of these slots, later than all that they have.
    ///
    /// # Errors
    /// `Internal` for columns that are not the function's.
    fn add(&mut self, slots: &[u32], time: i64, values: &[ArrayRef]) -> Result<()>;

    /// Takes the earliest value of each of these slots away, which are these, at the time of a batch.
    ///
    /// # Errors
    /// As for [`Folds::add`].
    fn leave(&mut self, slots: &[u32], now: i64, values: &[ArrayRef]) -> Result<()>;

    /// Holds nothing of these slots any more.
    fn clear(&mut self, slots: &[u32]);

    /// One value for each of these slots, of all that it has.
    ///
    /// # Errors
    /// `Internal` for a slot that has nothing.
    fn totals(&self, slots: &[u32], now: i64) -> Result<Vec<ArrayRef>>;

    /// Says what all values of these slots together are, where that does not follow from those that are left.
    ///
    /// # Errors
    /// As for [`Folds::add`].
    fn set(&mut self, slots: &[u32], totals: &[ArrayRef]) -> Result<()>;

    /// Which of these slots stay, by the user's word; their keys are in the types that were asked for.
    ///
    /// # Errors
    /// As for [`Folds::totals`].
    fn keeps(&self, keys: &[ArrayRef], slots: &[u32]) -> Result<Vec<bool>>;
}
