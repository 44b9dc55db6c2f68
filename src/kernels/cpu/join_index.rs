//! From keys to the rows of a static table: the hash tables of a join.
//!
//! ```text
//! keys of one column, fixed width ─▶ words ─▶ Dense: a slot for each word of a small range
//!                                         └─▶ Words: open addressing, word and entry side by side
//! text, binary ─────────────────────▶ bytes ─▶ Bytes: open addressing, hash and entry; keys in one arena
//! several columns, decimals ────────▶ row format ─▶ Bytes
//! ```
//!
//! An entry is a number given in the order of first occurrence; [`super::join`] says what it stands for. The tables are
//! built once and only read afterwards.

use std::hash::{BuildHasher, Hasher};

use arrow_array::{Array, ArrayRef};
use arrow_buffer::NullBuffer;
use arrow_row::{RowConverter, SortField};
use foldhash::fast::FixedState;

use super::bytes::{same_kind, with_bytes};
use super::row_keys::canonical;
use super::words::with_words;
use crate::columnar::DataType;
use crate::error::{Error, Result};

/// No entry: the key is null or not in the table.
pub(super) const NONE: u32 = u32::MAX;

/// Which kind of table holds the keys.
pub(super) enum KeyIndex {
    Dense(DenseIndex),
    Words(WordIndex),
    Bytes(BytesIndex),
    Rows { converter: RowConverter, types: Vec<DataType>, index: BytesIndex },
}

impl KeyIndex {
    /// An index of these keys (columns of one length, no dictionaries), and the entry of each row.
    pub(super) fn build(columns: &[ArrayRef]) -> Result<(Self, Vec<u32>)> {
        let rows = columns.first().map_or(0, Array::len);
        let valid = valid_rows(columns);
        if let [column] = columns {
            let words = with_words!(column, words => words.collect::<Vec<u64>>());
            if let Some(words) = words {
                return Ok(Self::of_words(&words, valid.as_ref()));
            }
            let mut index = BytesIndex::with_capacity(rows);
            let entries = with_bytes!(column, bytes => index.insert_all(bytes, rows, valid.as_ref()));
            if let Some(entries) = entries {
                return Ok((Self::Bytes(index), entries));
            }
        }
        let columns = canonical(columns)?;
        let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
        let keys = converter.convert_columns(&columns)?;
        let mut index = BytesIndex::with_capacity(rows);
        let entries = index.insert_all(|row| keys.row(row).data(), rows, valid.as_ref());
        Ok((Self::Rows { converter, types, index }, entries))
    }

    fn of_words(words: &[u64], valid: Option<&NullBuffer>) -> (Self, Vec<u32>) {
        let is_valid = |row: usize| valid.is_none_or(|valid| valid.is_valid(row));
        let mut entries = vec![NONE; words.len()];
        let keys = || words.iter().enumerate().filter(|(row, _)| is_valid(*row));
        match DenseIndex::for_range(keys().map(|(_, word)| *word), words.len()) {
            Some(mut index) => {
                keys().for_each(|(row, word)| entries[row] = index.insert(*word));
                (Self::Dense(index), entries)
            }
            None => {
                let mut index = WordIndex::with_capacity(words.len());
                keys().for_each(|(row, word)| entries[row] = index.insert(*word));
                (Self::Words(index), entries)
            }
        }
    }

    /// The entry of each row of these columns, or [`NONE`]. Types are those of the index, text in any layout.
    pub(super) fn find(&self, columns: &[ArrayRef]) -> Result<Vec<u32>> {
        let valid = valid_rows(columns);
        let rows = columns.first().map_or(0, Array::len);
        let mut entries: Vec<u32> = match self {
            Self::Dense(index) => with_words!(&columns[0], words => words.map(|word| index.find(word)).collect()),
            Self::Words(index) => with_words!(&columns[0], words => words.map(|word| index.find(word)).collect()),
            Self::Bytes(index) => {
                with_bytes!(&columns[0], bytes => (0..rows).map(|row| index.find(bytes(row))).collect())
            }
            Self::Rows { converter, types, index } => {
                let columns = canonical(columns)?;
                let columns =
                    columns.iter().zip(types).map(|(column, of_index)| Ok(arrow_cast::cast(column, of_index)?));
                let keys = converter.convert_columns(&columns.collect::<Result<Vec<_>>>()?)?;
                Some((0..rows).map(|row| index.find(keys.row(row).data())).collect())
            }
        }
        .ok_or_else(|| Error::internal(format!("keys of type {} were looked up", columns[0].data_type())))?;
        if let Some(valid) = valid.filter(|valid| valid.null_count() > 0) {
            entries.iter_mut().zip(&valid).for_each(|(entry, valid)| *entry = if valid { *entry } else { NONE });
        }
        Ok(entries)
    }

    /// Puts something else in the place of each entry.
    pub(super) fn replace_entries(&mut self, with: &[u32]) {
        let replace = |entry: &mut u32| {
            if *entry != NONE {
                *entry = with[*entry as usize];
            }
        };
        match self {
            Self::Dense(index) => index.slots.iter_mut().for_each(replace),
            Self::Words(index) => index.slots.iter_mut().map(|slot| &mut slot.1).for_each(replace),
            Self::Bytes(index) | Self::Rows { index, .. } => {
                index.slots.iter_mut().map(|slot| &mut slot.entry).for_each(replace);
            }
        }
    }
}

/// Rows in which no column is null; `None` if that is all rows.
fn valid_rows(columns: &[ArrayRef]) -> Option<NullBuffer> {
    columns.iter().fold(None, |valid, column| NullBuffer::union(valid.as_ref(), column.logical_nulls().as_ref()))
}

/// Whether keys of these types can be looked up in one another.
pub(super) fn comparable(left: &DataType, right: &DataType) -> bool {
    match (left, right) {
        (DataType::Timestamp(left, _), DataType::Timestamp(right, _)) => left == right,
        _ => left == right || same_kind(left, right),
    }
}

/// A slot for each word between the smallest and the largest key.
pub(super) struct DenseIndex {
    smallest: u64,
    slots: Vec<u32>,
    entries: u32,
}

impl DenseIndex {
    /// Empty, for keys in a range that is not much larger than their number; `None` if it is.
    fn for_range(keys: impl Iterator<Item = u64>, rows: usize) -> Option<Self> {
        let (smallest, largest) = keys.fold((u64::MAX, 0), |(low, high), word| (low.min(word), high.max(word)));
        let range = usize::try_from(largest.checked_sub(smallest)?).ok()?;
        (range <= rows.max(128).saturating_mul(8)).then(|| Self { smallest, slots: vec![NONE; range + 1], entries: 0 })
    }

    fn insert(&mut self, word: u64) -> u32 {
        let slot = &mut self.slots[usize::try_from(word - self.smallest).unwrap_or(usize::MAX)];
        if *slot == NONE {
            *slot = self.entries;
            self.entries += 1;
        }
        *slot
    }

    fn find(&self, word: u64) -> u32 {
        let slot = usize::try_from(word.wrapping_sub(self.smallest)).unwrap_or(usize::MAX);
        self.slots.get(slot).copied().unwrap_or(NONE)
    }
}

/// Open addressing with linear probing, at most half full; a slot without entry is empty.
pub(super) struct WordIndex {
    slots: Vec<(u64, u32)>,
    mask: usize,
    entries: u32,
}

impl WordIndex {
    fn with_capacity(keys: usize) -> Self {
        let slots = (keys * 2).next_power_of_two().max(2);
        Self { slots: vec![(0, NONE); slots], mask: slots - 1, entries: 0 }
    }

    fn insert(&mut self, word: u64) -> u32 {
        let mut at = hash_word(word) & self.mask;
        loop {
            let slot = &mut self.slots[at];
            if slot.1 == NONE {
                *slot = (word, self.entries);
                self.entries += 1;
                return slot.1;
            }
            if slot.0 == word {
                return slot.1;
            }
            at = (at + 1) & self.mask;
        }
    }

    #[inline]
    fn find(&self, word: u64) -> u32 {
        let mut at = hash_word(word) & self.mask;
        loop {
            let (key, entry) = self.slots[at];
            if entry == NONE || key == word {
                return entry;
            }
            at = (at + 1) & self.mask;
        }
    }
}

/// Both halves of a product with a constant (the fractional bits of the golden ratio): every bit of the word reaches
/// the low bits that pick the slot.
#[expect(clippy::cast_possible_truncation, reason = "the halves of a product, and any bits will do for a hash")]
fn hash_word(word: u64) -> usize {
    let product = u128::from(word ^ 0x2545_F491_4F6C_DD1D) * 0x9E37_79B9_7F4A_7C15;
    (product as u64 ^ (product >> 64) as u64) as usize
}

/// Open addressing over byte strings, at most half full; the keys lie one after another in an arena.
pub(super) struct BytesIndex {
    slots: Vec<BytesSlot>,
    mask: usize,
    arena: Vec<u8>,
    entries: u32,
}

#[derive(Clone, Copy)]
struct BytesSlot {
    start: usize,
    length: usize,
    hash: u32,
    entry: u32,
}

impl BytesIndex {
    fn with_capacity(keys: usize) -> Self {
        let slots = (keys * 2).next_power_of_two().max(2);
        let empty = BytesSlot { start: 0, length: 0, hash: 0, entry: NONE };
        Self { slots: vec![empty; slots], mask: slots - 1, arena: Vec::new(), entries: 0 }
    }

    fn insert_all<'a>(
        &mut self,
        keys: impl Fn(usize) -> &'a [u8],
        rows: usize,
        valid: Option<&NullBuffer>,
    ) -> Vec<u32> {
        let is_valid = |row: usize| valid.is_none_or(|valid| valid.is_valid(row));
        (0..rows).map(|row| if is_valid(row) { self.insert(keys(row)) } else { NONE }).collect()
    }

    fn insert(&mut self, key: &[u8]) -> u32 {
        let (position, hash) = hash_bytes(key);
        let at = self.slot_of(key, position, hash);
        if self.slots[at].entry == NONE {
            self.slots[at] = BytesSlot { start: self.arena.len(), length: key.len(), hash, entry: self.entries };
            self.arena.extend_from_slice(key);
            self.entries += 1;
        }
        self.slots[at].entry
    }

    #[inline]
    fn find(&self, key: &[u8]) -> u32 {
        let (position, hash) = hash_bytes(key);
        self.slots[self.slot_of(key, position, hash)].entry
    }

    /// The slot that holds the key, or the empty one where it belongs.
    #[inline]
    fn slot_of(&self, key: &[u8], position: usize, hash: u32) -> usize {
        let mut at = position & self.mask;
        loop {
            let slot = &self.slots[at];
            let is_key = || slot.hash == hash && self.arena[slot.start..slot.start + slot.length] == *key;
            if slot.entry == NONE || is_key() {
                return at;
            }
            at = (at + 1) & self.mask;
        }
    }
}

/// Where the search starts, and what is compared before the bytes are.
#[expect(clippy::cast_possible_truncation, reason = "any bits will do for a hash")]
fn hash_bytes(key: &[u8]) -> (usize, u32) {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(key);
    let hash = hasher.finish();
    (hash as usize, (hash >> 32) as u32)
}
