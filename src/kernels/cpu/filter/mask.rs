//! Which rows are kept, and what picks them out of columns.

use std::cell::OnceCell;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_buffer::BooleanBuffer;
use arrow_select::filter::{FilterBuilder, FilterPredicate};
use fearless_simd::Level;

use super::columns;
use crate::error::Result;
use crate::kernels::cpu::simd;

/// Up to one row in this many, rows are picked by their numbers: that costs a load per kept row, whereas going through
/// a column costs as much for each row that is left out.
const SPARSE: usize = 8;

/// The rows that a predicate keeps: one bit a row.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, BooleanArray, Int64Array};
/// use pelton::columnar::RecordBatch;
/// use pelton::kernels::cpu::filter::Mask;
///
/// let ages: ArrayRef = Arc::new(Int64Array::from(vec![7, 41, 30]));
/// let mask = Mask::of(&BooleanArray::from(vec![Some(true), None, Some(true)]));
/// assert_eq!((mask.rows(), mask.kept()), (3, 2));
/// assert_eq!(*mask.picker().pick(&ages)?, Int64Array::from(vec![7, 30]));
/// # Ok::<(), pelton::error::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Mask {
    bits: BooleanBuffer,
    kept: usize,
}

impl Mask {
    /// Keeps the rows whose answer is true; null is not.
    pub fn of(answers: &BooleanArray) -> Self {
        Self::new(match answers.nulls() {
            Some(nulls) if nulls.null_count() > 0 => answers.values() & nulls.inner(),
            _ => answers.values().clone(),
        })
    }

    /// Keeps the rows whose bit is set.
    pub fn new(bits: BooleanBuffer) -> Self {
        let kept = bits.count_set_bits();
        Self { bits, kept }
    }

    /// Keeps the rows that both keep.
    ///
    /// # Panics
    /// If they are for different numbers of rows.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self::new(&self.bits & &other.bits)
    }

    /// The rows that there are.
    pub fn rows(&self) -> usize {
        self.bits.len()
    }

    /// The rows that are kept.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// A bit for each row, set if it is kept.
    pub fn bits(&self) -> &BooleanBuffer {
        &self.bits
    }

    /// The kept rows of a batch, in order. Nothing is copied if that is all or none.
    ///
    /// # Errors
    /// `Internal` if the batch has other rows than the mask.
    pub fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if self.kept == self.rows() {
            return Ok(batch.clone());
        }
        if self.kept == 0 {
            return Ok(batch.slice(0, 0));
        }
        let picker = self.picker();
        let columns = batch.columns().iter().map(|column| picker.pick(column)).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.kept));
        Ok(RecordBatch::try_new_with_options(Arc::clone(batch.schema_ref()), columns, &options)?)
    }

    /// What picks the kept rows out of any number of columns.
    pub fn picker(&self) -> Picker<'_> {
        let words: Vec<u64> = self.bits.bit_chunks().iter_padded().take(self.rows().div_ceil(64)).collect();
        let is_sparse = self.kept <= self.rows() / SPARSE && u32::try_from(self.rows()).is_ok();
        let numbers = is_sparse.then(|| row_numbers(&words, self.kept));
        Picker { mask: self, level: simd::level(), words, numbers, others: OnceCell::new() }
    }
}

/// The numbers of the rows whose bits are set.
#[expect(clippy::cast_possible_truncation, reason = "the caller has fewer rows than u32 can count")]
fn row_numbers(words: &[u64], kept: usize) -> Vec<u32> {
    let mut numbers = Vec::with_capacity(kept);
    for (index, word) in words.iter().enumerate() {
        let mut left = *word;
        while left != 0 {
            numbers.push((index * 64) as u32 + left.trailing_zeros());
            left &= left - 1;
        }
    }
    numbers
}

/// Picks the kept rows out of columns. What all columns need is made once.
#[derive(Debug)]
pub struct Picker<'a> {
    mask: &'a Mask,
    pub(super) level: Level,
    /// The mask in words, from its first row on; bits beyond the last row are not set.
    pub(super) words: Vec<u64>,
    /// The kept rows by number, if they are few.
    pub(super) numbers: Option<Vec<u32>>,
    /// For types without a kernel of ours.
    others: OnceCell<FilterPredicate>,
}

impl Picker<'_> {
    /// The values of the kept rows, in order.
    ///
    /// # Errors
    /// `Internal` if the column has other rows than the mask.
    pub fn pick(&self, column: &ArrayRef) -> Result<ArrayRef> {
        columns::pick(self, column)
    }

    pub(super) fn rows(&self) -> usize {
        self.mask.rows()
    }

    pub(super) fn kept(&self) -> usize {
        self.mask.kept
    }

    /// The same by Arrow's kernels.
    pub(super) fn pick_by_arrow(&self, column: &ArrayRef) -> Result<ArrayRef> {
        let predicate = self
            .others
            .get_or_init(|| FilterBuilder::new(&BooleanArray::new(self.mask.bits.clone(), None)).optimize().build());
        Ok(predicate.filter(column)?)
    }
}
