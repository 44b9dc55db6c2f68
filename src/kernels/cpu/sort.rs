//! Rows in order: each partition sorts its own, then the runs are merged. With a limit a partition never holds more than
//! a few times that many rows, and looks at most further rows only once.

use arrow_array::{ArrayRef, UInt32Array};
use arrow_schema::SortOptions;
use arrow_select::concat::{concat, concat_batches};
use arrow_select::take::{take, take_record_batch};

use super::sort_keys::{Bound, How, Keys};
use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::Result;
use crate::limits::ROWS_PER_READ_MAX;

/// Rows beside the keys they are ordered by.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// The rows.
    pub batch: RecordBatch,
    /// The keys, most significant first, as long as the batch.
    pub keys: Vec<ArrayRef>,
}

impl Keyed {
    fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    fn slice(&self, start: usize, rows: usize) -> Self {
        let keys = self.keys.iter().map(|key| key.slice(start, rows)).collect();
        Self { batch: self.batch.slice(start, rows), keys }
    }

    /// These rows, in this order; the same arrays if that is all of them as they stand.
    fn take(self, rows: Vec<u32>) -> Result<Self> {
        if rows.len() == self.rows() && rows.iter().zip(0u32..).all(|(&row, index)| row == index) {
            return Ok(self);
        }
        let rows = UInt32Array::from(rows);
        let keys = self.keys.iter().map(|key| Ok(take(key, &rows, None)?)).collect::<Result<_>>()?;
        Ok(Self { batch: take_record_batch(&self.batch, &rows)?, keys })
    }

    fn concat(schema: &SchemaRef, mut parts: Vec<Self>, keys: usize) -> Result<Option<Self>> {
        if parts.len() <= 1 {
            return Ok(parts.pop());
        }
        let batch = concat_batches(schema, parts.iter().map(|part| &part.batch))?;
        let key = |index: usize| -> Result<ArrayRef> {
            Ok(concat(&parts.iter().map(|part| part.keys[index].as_ref()).collect::<Vec<_>>())?)
        };
        Ok(Some(Self { batch, keys: (0..keys).map(key).collect::<Result<_>>()? }))
    }
}

/// Collects the rows of one partition and puts them in order. The contract is that of [`crate::kernels::sort`].
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch};
/// use arrow_schema::SortOptions;
/// use pelton::kernels::cpu::sort::{Sorter, merge};
///
/// let column = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
/// let batch = RecordBatch::try_from_iter([("n", column(vec![3, 1, 2]))])?;
/// let options = vec![SortOptions { descending: true, nulls_first: false }];
///
/// let mut sorter = Sorter::new(batch.schema(), options.clone(), Some(2));
/// sorter.push(batch.clone(), vec![batch.column(0).clone()])?;
/// let run = sorter.finish()?;
/// let top = merge(&batch.schema(), vec![run], &options, Some(2))?;
/// assert_eq!(top.column(0), &column(vec![3, 2]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Sorter {
    schema: SchemaRef,
    options: Vec<SortOptions>,
    limit: Option<usize>,
    parts: Vec<Keyed>,
    rows: usize,
    /// The key of the last row that counts, once there are as many as the limit.
    bound: Option<Bound>,
}

impl Sorter {
    /// Without rows yet.
    pub fn new(schema: SchemaRef, options: Vec<SortOptions>, limit: Option<usize>) -> Self {
        Self { schema, options, limit, parts: Vec::new(), rows: 0, bound: None }
    }

    /// Adds rows and their keys.
    ///
    /// # Errors
    /// `Unsupported` for more rows than can be numbered.
    pub fn push(&mut self, batch: RecordBatch, keys: Vec<ArrayRef>) -> Result<()> {
        let part = Keyed { batch, keys };
        let Some(limit) = self.limit else {
            self.keep(part);
            return Ok(());
        };
        let mut start = 0;
        while limit > 0 && start < part.rows() {
            let rows = (part.rows() - start).min(ROWS_PER_READ_MAX);
            self.push_narrowed(part.slice(start, rows), limit)?;
            start += rows;
        }
        Ok(())
    }

    /// Adds those rows that can be among the first.
    fn push_narrowed(&mut self, part: Keyed, limit: usize) -> Result<()> {
        let keys = Keys::new(&part.keys, &self.options, part.rows())?;
        let candidates = match &self.bound {
            Some(bound) => keys.before(bound),
            None if part.rows() > limit => {
                let mut first = keys.order(How::First(limit));
                first.sort_unstable();
                first
            }
            None => (0u32..).take(part.rows()).collect(),
        };
        if !candidates.is_empty() {
            self.keep(part.take(candidates)?);
        }
        if self.rows >= limit.saturating_mul(2).max(limit.saturating_add(ROWS_PER_READ_MAX))
            || (self.bound.is_none() && self.rows >= limit)
        {
            self.shrink(limit)?;
        }
        Ok(())
    }

    fn keep(&mut self, part: Keyed) {
        self.rows += part.rows();
        if part.rows() > 0 {
            self.parts.push(part);
        }
    }

    /// Drops what is no longer among the first.
    fn shrink(&mut self, limit: usize) -> Result<()> {
        let parts = std::mem::take(&mut self.parts);
        self.rows = 0;
        let Some(all) = Keyed::concat(&self.schema, parts, self.options.len())? else { return Ok(()) };
        let keys = Keys::new(&all.keys, &self.options, all.rows())?;
        let first = keys.order(How::First(limit));
        if let Some(&last) = first.last().filter(|_| first.len() == limit) {
            self.bound = Some(keys.bound(last as usize));
        }
        self.keep(all.take(first)?);
        Ok(())
    }

    /// The rows in order.
    ///
    /// # Errors
    /// `Unsupported` for more rows than can be numbered.
    pub fn finish(self) -> Result<Keyed> {
        ordered(&self.schema, self.parts, &self.options, self.limit, false)
    }
}

/// Merges the runs that the partitions gave, in the order of the partitions.
///
/// # Errors
/// `Unsupported` for more rows than can be numbered.
pub fn merge(
    schema: &SchemaRef,
    runs: Vec<Keyed>,
    options: &[SortOptions],
    limit: Option<usize>,
) -> Result<RecordBatch> {
    Ok(merge_keyed(schema, runs, options, limit)?.batch)
}

/// As [`merge`], with the keys, so that what it gives can be merged again.
///
/// # Errors
/// As [`merge`].
pub fn merge_keyed(
    schema: &SchemaRef,
    runs: Vec<Keyed>,
    options: &[SortOptions],
    limit: Option<usize>,
) -> Result<Keyed> {
    let mut runs: Vec<Keyed> = runs.into_iter().filter(|run| run.rows() > 0).collect();
    if let (1, None) = (runs.len(), limit) {
        return Ok(runs.swap_remove(0));
    }
    ordered(schema, runs, options, limit, true)
}

/// The rows of these batches in order. `keys[i]` are those of `batches[i]`.
///
/// # Errors
/// `Unsupported` for more rows than can be numbered.
pub fn sort(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    keys: &[Vec<ArrayRef>],
    options: &[SortOptions],
    limit: Option<usize>,
) -> Result<RecordBatch> {
    let mut sorter = Sorter::new(SchemaRef::clone(schema), options.to_vec(), limit);
    for (batch, keys) in batches.iter().zip(keys) {
        sorter.push(batch.clone(), keys.clone())?;
    }
    Ok(sorter.finish()?.batch)
}

fn ordered(
    schema: &SchemaRef,
    parts: Vec<Keyed>,
    options: &[SortOptions],
    limit: Option<usize>,
    runs: bool,
) -> Result<Keyed> {
    let Some(all) = Keyed::concat(schema, parts, options.len())? else {
        return Ok(Keyed { batch: RecordBatch::new_empty(SchemaRef::clone(schema)), keys: Vec::new() });
    };
    let keys = Keys::new(&all.keys, options, all.rows())?;
    let rows = match limit {
        Some(limit) => keys.order(How::First(limit)),
        None => keys.order(if runs { How::Runs } else { How::All }),
    };
    drop(keys);
    all.take(rows)
}
