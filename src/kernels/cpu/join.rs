//! Looking rows up in a static table: a hash table built once, then one probe a row and no allocation a row.
//!
//! While keys of the table are unique, an entry of the index is a row of the table, and a batch whose rows all match
//! keeps its columns as they are. Else an entry is a range in the list of rows, which lie in the order of the table.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::array::AnyDictionaryArray;
use arrow_array::cast::AsArray;
use arrow_array::types::UInt32Type;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatchOptions, UInt32Array, new_null_array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_select::filter::FilterBuilder;
use arrow_select::take::take;

use super::join_index::{KeyIndex, NONE, comparable};
use super::row_keys::plain;
use crate::columnar::{DataType, RecordBatch};
use crate::error::{Error, Result};
use crate::kernels::row_number;
use crate::plan::stage::{Join, JoinKind};

/// A static table, ready to be looked up from many threads.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
/// use arrow_schema::{DataType, Field, Schema};
/// use pelton::kernels::cpu::join::PreparedJoin;
/// use pelton::plan::stage::{Join, JoinKind, TableId};
///
/// let ids = |ids: Vec<i64>| Arc::new(Int64Array::from(ids)) as ArrayRef;
/// let names: ArrayRef = Arc::new(StringArray::from(vec!["one", "two"]));
/// let table = RecordBatch::try_from_iter([("id", ids(vec![1, 2])), ("name", names)])?;
/// let fields = vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)];
/// let join = Join {
///     table: TableId(0),
///     kind: JoinKind::Inner,
///     left_keys: vec![0],
///     right_keys: vec![0],
///     right_columns: vec![1],
///     schema: Arc::new(Schema::new(fields)),
/// };
/// let prepared = PreparedJoin::prepare(&join, &table)?;
/// let stream = RecordBatch::try_from_iter([("id", ids(vec![2, 3, 2]))])?;
/// assert_eq!(prepared.probe(&stream)?.num_rows(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PreparedJoin {
    join: Join,
    key_types: Vec<DataType>,
    index: KeyIndex,
    matches: Matches,
    /// The columns of the table that are added.
    added: Vec<ArrayRef>,
    /// Dictionaries that were looked up of late, and the entries of their values.
    known: Mutex<VecDeque<(ArrayRef, Arc<[u32]>)>>,
}

/// Dictionaries whose entries are remembered: about one for each thread, since readers give all batches the same.
const KNOWN_MAX: usize = 16;

/// What an entry of the index stands for.
enum Matches {
    /// A row of the table.
    Row,
    /// The rows `rows[starts[entry]..starts[entry + 1]]` of the table.
    Rows { starts: Vec<u32>, rows: Vec<u32> },
}

impl PreparedJoin {
    /// Builds the hash table.
    ///
    /// # Errors
    /// `Unsupported` for a table of more rows than can be numbered.
    pub fn prepare(join: &Join, table: &RecordBatch) -> Result<Self> {
        row_number(table.num_rows())?;
        let keys: Vec<ArrayRef> =
            join.right_keys.iter().map(|&column| plain(table.column(column))).collect::<Result<_>>()?;
        let (mut index, entries) = KeyIndex::build(&keys)?;
        let (starts, rows) = rows_of_entries(&entries);
        let matches = if starts.len() == rows.len() + 1 {
            index.replace_entries(&rows);
            Matches::Row
        } else {
            Matches::Rows { starts, rows }
        };
        Ok(Self {
            join: join.clone(),
            key_types: keys.iter().map(|key| key.data_type().clone()).collect(),
            index,
            matches,
            added: join.right_columns.iter().map(|&column| Arc::clone(table.column(column))).collect(),
            known: Mutex::default(),
        })
    }

    /// Looks up the rows of a batch.
    ///
    /// # Errors
    /// `Unsupported` if more rows come out than can be numbered, `Internal` for keys of other types than the table's.
    pub fn probe(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        row_number(batch.num_rows())?;
        let entries = self.find(batch)?;
        match (self.join.kind, &self.matches) {
            (JoinKind::Semi, _) => self.keep(batch, &entries, |entry| entry != NONE),
            (JoinKind::Anti, _) => self.keep(batch, &entries, |entry| entry == NONE),
            (JoinKind::Inner, Matches::Row) => self.inner_unique(batch, entries),
            (JoinKind::Left, Matches::Row) => {
                self.assemble(batch.num_rows(), batch.columns().to_vec(), &optional(entries))
            }
            (kind, Matches::Rows { starts, rows }) => {
                let (left, right) = pairs(&entries, starts, rows, kind == JoinKind::Left)?;
                let columns = batch.columns().iter().map(|values| Ok(take(values, &left, None)?));
                self.assemble(left.len(), columns.collect::<Result<_>>()?, &right)
            }
        }
    }

    /// A bit for each row whose keys no row of the table has. A null among them is not looked for.
    pub(super) fn missing(&self, batch: &RecordBatch) -> Result<BooleanBuffer> {
        let entries = self.find(batch)?;
        let missing = BooleanBuffer::collect_bool(entries.len(), |row| entries[row] == NONE);
        let keys = self.join.left_keys.iter().filter_map(|&key| batch.column(key).logical_nulls());
        Ok(keys.fold(missing, |missing, nulls| &missing & nulls.inner()))
    }

    fn find(&self, batch: &RecordBatch) -> Result<Vec<u32>> {
        let keys: Vec<&ArrayRef> = self.join.left_keys.iter().map(|&column| batch.column(column)).collect();
        if let [key] = keys[..]
            && let DataType::Dictionary(_, _) = key.data_type()
        {
            let dictionary = key.as_any_dictionary();
            if dictionary.values().len() <= key.len() {
                return self.find_by_code(dictionary);
            }
        }
        let keys = keys.into_iter().map(plain).collect::<Result<Vec<_>>>()?;
        self.find_plain(&keys)
    }

    /// Looks each value of a dictionary up once, and no value of one that came before.
    fn find_by_code(&self, dictionary: &dyn AnyDictionaryArray) -> Result<Vec<u32>> {
        let of_values = self.entries_of(dictionary.values())?;
        if let Some(codes) = dictionary.keys().as_primitive_opt::<UInt32Type>()
            && codes.null_count() == 0
        {
            let entry = |code: &u32| of_values.get(*code as usize).copied().unwrap_or(NONE);
            return Ok(codes.values().iter().map(entry).collect());
        }
        let of_values = UInt32Array::from(of_values.to_vec());
        let entries = take(&of_values, dictionary.keys(), None)?;
        let entries = entries.as_primitive::<UInt32Type>();
        Ok(entries.iter().map(|entry| entry.unwrap_or(NONE)).collect())
    }

    /// The entries of the values of a dictionary.
    fn entries_of(&self, values: &ArrayRef) -> Result<Arc<[u32]>> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, entries)) = known().iter().find(|(other, _)| Arc::ptr_eq(other, values)) {
            return Ok(Arc::clone(entries));
        }
        let entries: Arc<[u32]> = self.find_plain(&[plain(values)?])?.into();
        let mut known = known();
        known.truncate(KNOWN_MAX - 1);
        known.push_front((Arc::clone(values), Arc::clone(&entries)));
        Ok(entries)
    }

    fn find_plain(&self, keys: &[ArrayRef]) -> Result<Vec<u32>> {
        for (key, of_table) in keys.iter().zip(&self.key_types) {
            if !comparable(key.data_type(), of_table) {
                let types = format!("{} and {of_table}", key.data_type());
                return Err(Error::internal(format!("a join compares keys of the types {types}")));
            }
        }
        self.index.find(keys)
    }

    fn keep(&self, batch: &RecordBatch, entries: &[u32], keep: impl Fn(u32) -> bool) -> Result<RecordBatch> {
        let kept = BooleanBuffer::collect_bool(entries.len(), |row| keep(entries[row]));
        let columns = filtered(batch, kept)?;
        let rows = columns.1;
        self.assemble(rows, columns.0, &UInt32Array::from(Vec::<u32>::new()))
    }

    fn inner_unique(&self, batch: &RecordBatch, mut entries: Vec<u32>) -> Result<RecordBatch> {
        let matched = BooleanBuffer::collect_bool(entries.len(), |row| entries[row] != NONE);
        let (columns, rows) = filtered(batch, matched)?;
        if rows < entries.len() {
            entries.retain(|&entry| entry != NONE);
        }
        self.assemble(rows, columns, &UInt32Array::from(entries))
    }

    /// The columns of the stream beside the rows of the table.
    fn assemble(&self, rows: usize, mut columns: Vec<ArrayRef>, right: &UInt32Array) -> Result<RecordBatch> {
        for values in &self.added {
            let nothing = values.is_empty() || right.null_count() == right.len();
            columns.push(if nothing { new_null_array(values.data_type(), rows) } else { take(values, right, None)? });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.join.schema), columns, &options)?)
    }
}

/// The columns with the rows that are kept, and how many those are; the same arrays if that is all.
fn filtered(batch: &RecordBatch, kept: BooleanBuffer) -> Result<(Vec<ArrayRef>, usize)> {
    let rows = kept.count_set_bits();
    if rows == batch.num_rows() {
        return Ok((batch.columns().to_vec(), rows));
    }
    let filter = FilterBuilder::new(&BooleanArray::new(kept, None)).optimize().build();
    let columns = batch.columns().iter().map(|values| Ok(filter.filter(values)?));
    Ok((columns.collect::<Result<_>>()?, rows))
}

/// For each entry where its rows start in the second list, which holds them in the order of the table.
fn rows_of_entries(entries: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let count = entries.iter().filter(|&&entry| entry != NONE).max().map_or(0, |&last| last as usize + 1);
    let mut starts = vec![0u32; count + 1];
    for &entry in entries.iter().filter(|&&entry| entry != NONE) {
        starts[entry as usize + 1] += 1;
    }
    for entry in 0..count {
        starts[entry + 1] += starts[entry];
    }
    let mut next = starts.clone();
    let mut rows = vec![0u32; starts[count] as usize];
    for (row, &entry) in (0u32..).zip(entries).filter(|(_, entry)| **entry != NONE) {
        let at = &mut next[entry as usize];
        rows[*at as usize] = row;
        *at += 1;
    }
    (starts, rows)
}

/// Rows of the table with nulls for those that have none.
fn optional(entries: Vec<u32>) -> UInt32Array {
    let found = NullBuffer::new(BooleanBuffer::collect_bool(entries.len(), |row| entries[row] != NONE));
    if found.null_count() == 0 {
        return UInt32Array::from(entries);
    }
    let rows: Vec<u32> = entries.into_iter().map(|entry| if entry == NONE { 0 } else { entry }).collect();
    UInt32Array::new(rows.into(), Some(found))
}

/// Each row of the stream beside each of its matches; with `all`, rows without a match too.
fn pairs(entries: &[u32], starts: &[u32], rows: &[u32], all: bool) -> Result<(UInt32Array, UInt32Array)> {
    let range = |entry: u32| starts[entry as usize] as usize..starts[entry as usize + 1] as usize;
    let matches = entries.iter().map(|&entry| if entry == NONE { usize::from(all) } else { range(entry).len() });
    let total: usize = matches.sum();
    row_number(total)?;
    let (mut left, mut right) = (Vec::with_capacity(total), Vec::with_capacity(total));
    for (row, &entry) in (0u32..).zip(entries) {
        if entry != NONE {
            let matches = &rows[range(entry)];
            left.extend(std::iter::repeat_n(row, matches.len()));
            right.extend_from_slice(matches);
        } else if all {
            left.push(row);
            right.push(NONE);
        }
    }
    Ok((UInt32Array::from(left), optional(right)))
}

impl fmt::Debug for PreparedJoin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedJoin").field("join", &self.join).finish_non_exhaustive()
    }
}
