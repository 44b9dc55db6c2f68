//! The keys of rows in a form that is quick to compare, and the order of rows by them.
//!
//! ```text
//! one column of fixed width ─▶ Words: (word, row) packed into one integer, so that equal words go by row
//! one column of bytes ───────▶ Bytes: the first eight bytes after the common prefix packed in the same way,
//! several columns ─▶ row format ─┘    the rest compared only where those are equal
//! ```
//!
//! Packed keys are spread over buckets by their leading bits until a bucket is small, then sorted; the scatter keeps
//! the order of rows, so the whole is stable.

use std::cmp::Ordering;

use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::SortOptions;

use super::bytes::{is_bytes, with_bytes};
use super::row_keys::{canonical, plain};
use super::words::with_words;
use crate::error::Result;
use crate::kernels::row_number;

/// The keys of a run of rows.
pub(super) struct Keys {
    values: Values,
    /// Which rows have a key; `None` if all.
    valid: Option<NullBuffer>,
    nulls_first: bool,
    rows: usize,
}

enum Values {
    /// Ordered as the rows are to be: already turned around for a descending order.
    Words(Vec<u64>),
    Bytes {
        array: ArrayRef,
        descending: bool,
    },
    Rows(Rows),
    /// Nothing tells rows apart.
    Equal,
}

/// What is asked of an order.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    /// All rows.
    All,
    /// All rows, which consist of a few sorted runs.
    Runs,
    /// The first rows.
    First(usize),
}

/// The key of the last row that is kept by a top-n, against which further rows are held.
#[derive(Debug, Clone)]
pub(super) enum Bound {
    Null,
    Word(u64),
    Bytes(Vec<u8>),
}

impl Keys {
    /// The keys in these columns, most significant first.
    pub(super) fn new(columns: &[ArrayRef], options: &[SortOptions], rows: usize) -> Result<Self> {
        row_number(rows)?;
        if let ([column], [options]) = (columns, options) {
            let column = plain(column)?;
            let flip = if options.descending { u64::MAX } else { 0 };
            let words = with_words!(&column, words => words.map(|word| word ^ flip).collect());
            let valid = column.logical_nulls().filter(|nulls| nulls.null_count() > 0);
            let single = |values| Self { values, valid, nulls_first: options.nulls_first, rows };
            if let Some(words) = words {
                return Ok(single(Values::Words(words)));
            }
            if is_bytes(column.data_type()) {
                return Ok(single(Values::Bytes { array: column, descending: options.descending }));
            }
        }
        let values = if columns.is_empty() {
            Values::Equal
        } else {
            let columns = canonical(columns)?;
            let fields = columns.iter().zip(options);
            let fields = fields.map(|(column, &order)| SortField::new_with_options(column.data_type().clone(), order));
            Values::Rows(RowConverter::new(fields.collect())?.convert_columns(&columns)?)
        };
        Ok(Self { values, valid: None, nulls_first: false, rows })
    }

    /// The rows in order, or the first of them.
    pub(super) fn order(&self, how: How) -> Vec<u32> {
        let nulls: Vec<u32> = match &self.valid {
            Some(valid) => (0u32..).zip(valid).filter(|(_, valid)| !valid).map(|(row, _)| row).collect(),
            None => Vec::new(),
        };
        let values: Vec<u32> = self.ordered_values(how).into_iter().map(row_of).collect();
        let (mut first, then) = if self.nulls_first { (nulls, values) } else { (values, nulls) };
        first.extend(then);
        if let How::First(limit) = how {
            first.truncate(limit);
        }
        first
    }

    fn ordered_values(&self, how: How) -> Vec<u128> {
        match &self.values {
            Values::Words(words) => arranged(self.pack(|row| words[row]), how, Ord::cmp),
            Values::Bytes { array, descending } => {
                with_bytes!(array, bytes => self.ordered_bytes(bytes, *descending, how)).unwrap_or_default()
            }
            Values::Rows(rows) => self.ordered_bytes(|row| rows.row(row).data(), false, how),
            Values::Equal => self.pack(|_| 0),
        }
    }

    fn ordered_bytes<'a>(&'a self, bytes: impl Fn(usize) -> &'a [u8], descending: bool, how: How) -> Vec<u128> {
        let shape = Shape::of(self.valid_rows().map(|row| bytes(row as usize)));
        let rest = |row: usize| &bytes(row)[shape.common..];
        let flip = if descending { u64::MAX } else { 0 };
        if shape.longest - shape.common < 8 {
            // Seven bytes and the length tell such keys apart.
            return arranged(self.pack(|row| (leading_word(rest(row)) | rest(row).len() as u64) ^ flip), how, Ord::cmp);
        }
        arranged(self.pack(|row| leading_word(rest(row)) ^ flip), how, |a, b| {
            let words = word_of(*a).cmp(&word_of(*b));
            let whole = || {
                let bytes = rest(row_of(*a) as usize).cmp(rest(row_of(*b) as usize));
                if descending { bytes.reverse() } else { bytes }
            };
            words.then_with(whole).then_with(|| a.cmp(b))
        })
    }

    /// The rows that have a key, each with a word.
    fn pack(&self, word: impl Fn(usize) -> u64) -> Vec<u128> {
        let packed = |row: u32| pack(word(row as usize), row);
        match &self.valid {
            None => (0u32..).take(self.rows).map(packed).collect(),
            Some(_) => self.valid_rows().map(packed).collect(),
        }
    }

    fn valid_rows(&self) -> impl Iterator<Item = u32> {
        (0u32..).take(self.rows).filter(|&row| self.is_valid(row as usize))
    }

    fn is_valid(&self, row: usize) -> bool {
        self.valid.as_ref().is_none_or(|valid| valid.is_valid(row))
    }

    /// The key of a row.
    pub(super) fn bound(&self, row: usize) -> Bound {
        if !self.is_valid(row) {
            return Bound::Null;
        }
        match &self.values {
            Values::Words(words) => Bound::Word(words[row]),
            Values::Bytes { array, .. } => {
                Bound::Bytes(with_bytes!(array, bytes => bytes(row).to_vec()).unwrap_or_default())
            }
            Values::Rows(rows) => Bound::Bytes(rows.row(row).data().to_vec()),
            Values::Equal => Bound::Null,
        }
    }

    /// The rows that come before a bound, in the order they stand.
    pub(super) fn before(&self, bound: &Bound) -> Vec<u32> {
        let rows = (0u32..).take(self.rows);
        if let (Values::Words(words), None, Bound::Word(bound)) = (&self.values, &self.valid, bound) {
            return rows.zip(words).filter(|(_, word)| *word < bound).map(|(row, _)| row).collect();
        }
        rows.filter(|&row| {
            let row = row as usize;
            match (self.is_valid(row), bound) {
                (false, Bound::Null) => false,
                (false, _) => self.nulls_first,
                (true, Bound::Null) => !self.nulls_first && !matches!(self.values, Values::Equal),
                (true, bound) => self.value_is_before(row, bound),
            }
        })
        .collect()
    }

    fn value_is_before(&self, row: usize, bound: &Bound) -> bool {
        match (&self.values, bound) {
            (Values::Words(words), Bound::Word(bound)) => words[row] < *bound,
            (Values::Bytes { array, descending }, Bound::Bytes(bound)) => {
                let ordering = with_bytes!(array, bytes => bytes(row).cmp(bound.as_slice()));
                ordering == Some(if *descending { Ordering::Greater } else { Ordering::Less })
            }
            (Values::Rows(rows), Bound::Bytes(bound)) => rows.row(row).data() < bound.as_slice(),
            _ => false,
        }
    }
}

/// Sorts packed keys.
fn arranged(mut packed: Vec<u128>, how: How, compare: impl Fn(&u128, &u128) -> Ordering) -> Vec<u128> {
    match how {
        How::All => bucket_sort(&mut packed, &mut Vec::new(), &|bucket| bucket.sort_unstable_by(&compare)),
        How::Runs => packed.sort_by(&compare),
        How::First(limit) => {
            if limit > 0 && limit < packed.len() {
                packed.select_nth_unstable_by(limit - 1, &compare);
            }
            packed.truncate(limit);
            packed.sort_unstable_by(&compare);
        }
    }
    packed
}

fn pack(word: u64, row: u32) -> u128 {
    u128::from(word) << 32 | u128::from(row)
}

#[expect(clippy::cast_possible_truncation, reason = "takes the parts out that `pack` put in")]
fn row_of(packed: u128) -> u32 {
    packed as u32
}

#[expect(clippy::cast_possible_truncation, reason = "takes the parts out that `pack` put in")]
fn word_of(packed: u128) -> u64 {
    (packed >> 32) as u64
}

/// What the keys have in common.
struct Shape {
    /// How many leading bytes all keys share.
    common: usize,
    /// Bytes of the longest key.
    longest: usize,
}

impl Shape {
    fn of<'a>(mut keys: impl Iterator<Item = &'a [u8]>) -> Self {
        let Some(first) = keys.next() else { return Self { common: 0, longest: 0 } };
        let (mut common, mut longest) = (first.len(), first.len());
        for key in keys {
            longest = longest.max(key.len());
            if key.len() < common || key[..common] != first[..common] {
                common = key.iter().zip(&first[..common]).take_while(|(a, b)| a == b).count();
            }
        }
        Self { common, longest }
    }
}

/// The first eight bytes as an integer ordered as they are; missing ones are 0.
fn leading_word(bytes: &[u8]) -> u64 {
    if let Some(word) = bytes.first_chunk::<8>() {
        return u64::from_be_bytes(*word);
    }
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(word)
}

/// Items below which a bucket is sorted by comparing: it then lies in a first-level cache.
const BUCKET_ITEMS: usize = 1024;
/// Leading bits that a scatter looks at: its 2048 write positions stay in the caches.
const BUCKET_BITS: u32 = 11;

/// Sorts by the words: spreads them over buckets by the bits in which they differ, until `leaf` can sort a bucket.
fn bucket_sort(items: &mut [u128], scratch: &mut Vec<u128>, leaf: &dyn Fn(&mut [u128])) {
    let (low, high) = items.iter().fold((u64::MAX, 0), |(low, high), &item| {
        let word = word_of(item);
        (low.min(word), high.max(word))
    });
    if items.len() <= BUCKET_ITEMS || low == high {
        return leaf(items);
    }
    let bits = u64::BITS - (high - low).leading_zeros();
    let shift = bits.saturating_sub(BUCKET_BITS);
    #[expect(clippy::cast_possible_truncation, reason = "at most BUCKET_BITS bits are left")]
    let bucket = |item: u128| ((word_of(item) - low) >> shift) as usize;
    let mut ends = vec![0usize; bucket(u128::from(high) << 32) + 1];
    let mut sorted = true;
    let mut previous = 0;
    for &item in items.iter() {
        ends[bucket(item)] += 1;
        sorted &= previous <= word_of(item);
        previous = word_of(item);
    }
    if sorted {
        return leaf(items);
    }
    let mut next = 0;
    for end in &mut ends {
        next += std::mem::replace(end, next);
    }
    if scratch.len() < items.len() {
        scratch.resize(items.len(), 0);
    }
    for &item in items.iter() {
        let at = &mut ends[bucket(item)];
        scratch[*at] = item;
        *at += 1;
    }
    items.copy_from_slice(&scratch[..items.len()]);
    let mut start = 0;
    for end in ends {
        if end - start > 1 {
            bucket_sort(&mut items[start..end], scratch, leaf);
        }
        start = end;
    }
}
