//! Ids of texts and bytes. Up to 7 bytes are packed into a word, up to 15 into two (`packed`), and need no look at the bytes again;
//! longer ones are compared with an arena.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "ids fit u32: the caller has checked; no allocation is longer than i64"
)]

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ByteArrayType, ByteViewType, LargeBinaryType, LargeUtf8Type};
use arrow_array::{Array, ArrayRef, GenericByteArray};
use arrow_buffer::{ArrowNativeType, Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;
use fearless_simd::{Simd, dispatch};
use fearless_simd_macros::simd;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::Ticket;
use super::apart::{Apart, as_found};
use super::coded::{CodeIds, one_by_one};
use super::letters::{LETTER_MAX, Letters};
use super::method::Method;
use super::packed::{MIDDLE_MAX, SHORT_MAX, Texts, pack, pack_short};
use super::pairs::Grid;
use super::primitive::each_null;
use super::table::{AT_ONCE, NONE, Table, list_none};
use crate::columnar::data_type;
use crate::error::{Error, Result};
use crate::kernels::cpu::prefetch::prefetch_rows;
use crate::kernels::cpu::simd;

/// Ids of the values of one column of texts or bytes.
pub(super) struct BytesTicket {
    data_type: DataType,
    keys: Arena,
    null_id: Option<u32>,
    /// Of the short ones those of one byte at most, once they have stood by themselves.
    letters: Letters,
    short: Table<u64>,
    /// All of middle length, and those of the short ones that have stood beside longer ones.
    middle: Table<[u64; 2]>,
    long: HashTable<(u64, u32)>,
    hasher: FixedState,
    /// Of columns that came as codes.
    codes: CodeIds,
}

/// The key of each id, one after another.
struct Arena {
    bytes: Vec<u8>,
    ends: Vec<i64>,
}

impl Arena {
    fn push(&mut self, key: &[u8]) -> u32 {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len() as i64);
        self.ends.len() as u32 - 2
    }

    fn len(&self) -> usize {
        self.ends.len() - 1
    }

    #[expect(clippy::cast_sign_loss, reason = "the ends are lengths; signed because Arrow's offsets are")]
    fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        &self.bytes[self.ends[id] as usize..self.ends[id + 1] as usize]
    }
}

impl BytesTicket {
    pub(super) fn new(data_type: DataType) -> Self {
        Self {
            data_type,
            keys: Arena { bytes: Vec::new(), ends: vec![0] },
            null_id: None,
            letters: Letters::new(),
            short: Table::new(),
            middle: Table::new(),
            long: HashTable::new(),
            hasher: FixedState::default(),
            codes: CodeIds::default(),
        }
    }

    fn all<'a>(&mut self, values: impl Iterator<Item = Option<&'a [u8]>>, ids: &mut Vec<u32>) {
        ids.extend(values.map(|value| match value {
            Some(value) => self.id(value),
            None => self.null_id(),
        }));
    }

    #[inline]
    fn id(&mut self, value: &[u8]) -> u32 {
        let next = self.keys.len() as u32;
        let id = match value.len() {
            ..=SHORT_MAX => self.short.find_or_insert(pack_short(value), next),
            8..=MIDDLE_MAX => self.middle.find_or_insert(pack(value), next),
            _ => return self.long_id(value),
        };
        if id == next {
            self.keys.push(value);
        }
        id
    }

    fn long_id(&mut self, value: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(value);
        let keys = &self.keys;
        let same = |&(other, id): &(u64, u32)| other == hash && keys.get(id) == value;
        if let Some(&(_, id)) = self.long.find(hash, same) {
            return id;
        }
        let id = self.keys.push(value);
        self.long.insert_unique(hash, (hash, id), |&(hash, _)| hash);
        id
    }

    /// The ids of texts of one byte at most, if that is what all are.
    fn find_letters<T: ByteArrayType>(&self, array: &GenericByteArray<T>, ids: &mut Vec<u32>) -> bool {
        let (bytes, offsets) = (array.value_data(), array.value_offsets());
        if array.null_count() > 0 || Texts::of(bytes, offsets).longest() > LETTER_MAX {
            return false;
        }
        ids.resize(array.len(), 0);
        !self.letters.find_all(bytes, offsets, ids)
    }

    /// Some rows at a time: all are packed and hashed, then all are looked up, both without a branch that hangs on the
    /// texts. What is new, long or null comes last, in the order of the rows.
    fn offsets<T: ByteArrayType>(&mut self, array: &GenericByteArray<T>, ids: &mut Vec<u32>) {
        let (bytes, offsets) = (array.value_data(), array.offsets());
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        let (mut words, mut pairs, mut left) = ([0; AT_ONCE], [[0; 2]; AT_ONCE], [0; AT_ONCE]);
        let before = ids.len();
        ids.resize(before + array.len(), 0);
        for (chunk, ids) in ids[before..].chunks_mut(AT_ONCE).enumerate() {
            let (from, rows) = (chunk * AT_ONCE, ids.len());
            let ends = &offsets[from..=from + rows];
            let next = ends[rows].as_usize();
            prefetch_rows(bytes, next, next - ends[0].as_usize());
            prefetch_rows(offsets, from + rows, AT_ONCE);
            let texts = Texts::of(bytes, ends);
            let (are_letters, are_short) = (texts.longest() <= LETTER_MAX, texts.are_short());
            let absent = nulls.map(|nulls| nulls.slice(from, rows));
            let is_some_left = if are_letters {
                let is_some_left = self.letters.find_all(bytes, ends, ids);
                let null_id = self.null_id.unwrap_or(NONE);
                absent.iter().for_each(|absent| each_null(absent, |row| ids[row] = null_id));
                is_some_left || absent.is_some() && null_id == NONE
            } else if are_short && absent.is_none() && find_apart(&self.short, &texts, as_found, ids) {
                false
            } else if are_short {
                let words = &mut words[..rows];
                texts.pack_words(words);
                absent.iter().for_each(|absent| each_null(absent, |row| words[row] = NULL_SHORT));
                self.short.find_all(words, ids)
            } else {
                let pairs = &mut pairs[..rows];
                texts.pack_pairs(pairs);
                absent.iter().for_each(|absent| each_null(absent, |row| pairs[row] = NULL_MIDDLE));
                self.middle.find_all(pairs, ids)
            };
            if is_some_left {
                let count = list_none(ids, &mut left);
                for row in left[..count].iter().copied().map(usize::from) {
                    let id = &mut ids[row];
                    let is_null = absent.as_ref().is_some_and(|absent| absent.is_null(row));
                    let value = texts.get(row);
                    *id = if is_null { self.null_id() } else { self.id(value) };
                    // From now on they are found as others are.
                    match (are_letters, are_short) {
                        (true, _) if is_null => {}
                        (true, _) => self.letters.set(value, *id),
                        (_, true) if is_null => {
                            self.short.find_or_insert(words[row], *id);
                        }
                        (_, false) if is_null || value.len() <= SHORT_MAX => {
                            self.middle.find_or_insert(pairs[row], *id);
                        }
                        _ => {}
                    }
                }
            }
        }
        self.short.looked(array.len());
        self.middle.looked(array.len());
    }

    /// As [`Ticket::find_pairs`].
    fn pairs<T: ByteArrayType>(&self, array: &GenericByteArray<T>, firsts: &mut [u32], grid: Grid<'_>) -> usize {
        let (bytes, offsets) = (array.value_data(), array.offsets());
        if array.null_count() > 0 || self.short.apart().is_none() {
            return 0;
        }
        let mut found = [0; AT_ONCE];
        for (chunk, firsts) in firsts.chunks_mut(AT_ONCE).enumerate() {
            let (from, rows) = (chunk * AT_ONCE, firsts.len());
            let ends = &offsets[from..=from + rows];
            let next = ends[rows].as_usize();
            prefetch_rows(bytes, next, next - ends[0].as_usize());
            prefetch_rows(offsets, from + rows, AT_ONCE);
            let found = &mut found[..rows];
            found.copy_from_slice(firsts);
            if !find_apart(&self.short, &Texts::of(bytes, ends), move |first, second| grid.id(first, second), found) {
                return from;
            }
            firsts.copy_from_slice(found);
        }
        firsts.len()
    }

    fn null_id(&mut self) -> u32 {
        *self.null_id.get_or_insert_with(|| self.keys.push(&[]))
    }

    fn views<T: ByteViewType>(&mut self, array: &arrow_array::GenericByteViewArray<T>, ids: &mut Vec<u32>) {
        self.all(array.iter().map(|value| value.map(AsRef::as_ref)), ids);
    }
}

/// Stands for the null among short texts: the place of its length says more than any has.
const NULL_SHORT: u64 = u64::MAX;

/// The same among texts of middle length.
const NULL_MIDDLE: [u64; 2] = [1, u64::MAX];

/// The ids of short texts, by one look each, or what `turned` makes of them; false, and anything there, if they do not lie apart or one
/// has no id.
fn find_apart<O: ArrowNativeType>(
    table: &Table<u64>,
    texts: &Texts<'_, O>,
    turned: impl Fn(u32, u32) -> u32,
    ids: &mut [u32],
) -> bool {
    let Some(apart) = table.apart() else { return false };
    dispatch!(simd::level(), simd => find_words(simd, apart, texts, turned, ids))
}

#[simd]
fn find_words<S: Simd, O: ArrowNativeType>(
    _: S,
    apart: &Apart<u64>,
    texts: &Texts<'_, O>,
    turned: impl Fn(u32, u32) -> u32,
    ids: &mut [u32],
) -> bool {
    let ids = &mut ids[..texts.rows()];
    match texts.words() {
        Some(words) => apart.find(words, turned, ids),
        None => texts.are_short() && apart.find((0..texts.rows()).map(|row| pack_short(texts.get(row))), turned, ids),
    }
}

/// The bytes of texts, if each is one.
fn letters<T: ByteArrayType>(array: &GenericByteArray<T>) -> Option<&[u8]> {
    #[simd]
    fn are_letters<S: Simd, O: ArrowNativeType>(_: S, offsets: &[O]) -> bool {
        let pairs = offsets.iter().zip(offsets.iter().skip(1));
        pairs.fold(true, |all, (start, end)| all & (end.as_usize().wrapping_sub(start.as_usize()) == 1))
    }
    let offsets = array.value_offsets();
    if array.null_count() > 0 || !dispatch!(simd::level(), simd => are_letters(simd, offsets)) {
        return None;
    }
    array.value_data().get(offsets[0].as_usize()..offsets[array.len()].as_usize())
}

impl Ticket for BytesTicket {
    fn assign(&mut self, column: &ArrayRef, ids: &mut Vec<u32>) -> Result<()> {
        match column.data_type() {
            DataType::Utf8 => self.offsets(column.as_string::<i32>(), ids),
            DataType::LargeUtf8 => self.offsets(column.as_string::<i64>(), ids),
            DataType::Utf8View => self.views(column.as_string_view(), ids),
            DataType::Binary => self.offsets(column.as_binary::<i32>(), ids),
            DataType::LargeBinary => self.offsets(column.as_binary::<i64>(), ids),
            DataType::BinaryView => self.views(column.as_binary_view(), ids),
            DataType::Dictionary(_, of) if **of == self.data_type => {
                if let Some(values) = one_by_one(column)? {
                    return self.assign(&values, ids);
                }
                let mut codes = std::mem::take(&mut self.codes);
                codes.assign(column, ids, |new, ids| self.assign(new, ids))?;
                self.codes = codes;
            }
            other => return Err(Error::internal(format!("a column of type {other} met group ids of bytes"))),
        }
        Ok(())
    }

    fn letters<'a>(&self, column: &'a ArrayRef) -> Option<&'a [u8]> {
        match column.data_type() {
            DataType::Utf8 => letters(column.as_string::<i32>()),
            DataType::LargeUtf8 => letters(column.as_string::<i64>()),
            DataType::Binary => letters(column.as_binary::<i32>()),
            DataType::LargeBinary => letters(column.as_binary::<i64>()),
            _ => None,
        }
    }

    fn letter(&self, id: u32) -> Option<u8> {
        match self.keys.get(id) {
            &[letter] if self.null_id != Some(id) => Some(letter),
            _ => None,
        }
    }

    fn find(&self, column: &ArrayRef, ids: &mut Vec<u32>) -> bool {
        match column.data_type() {
            DataType::Utf8 => self.find_letters(column.as_string::<i32>(), ids),
            DataType::LargeUtf8 => self.find_letters(column.as_string::<i64>(), ids),
            DataType::Binary => self.find_letters(column.as_binary::<i32>(), ids),
            DataType::LargeBinary => self.find_letters(column.as_binary::<i64>(), ids),
            DataType::Dictionary(..) => self.codes.find(column, ids),
            _ => false,
        }
    }

    fn find_pairs(&self, column: &ArrayRef, firsts: &mut [u32], grid: Grid<'_>) -> usize {
        match column.data_type() {
            DataType::Utf8 => self.pairs(column.as_string::<i32>(), firsts, grid),
            DataType::LargeUtf8 => self.pairs(column.as_string::<i64>(), firsts, grid),
            DataType::Binary => self.pairs(column.as_binary::<i32>(), firsts, grid),
            DataType::LargeBinary => self.pairs(column.as_binary::<i64>(), firsts, grid),
            _ => 0,
        }
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn keys(&self) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.keys.ends.clone()));
        let values = Buffer::from_vec(self.keys.bytes.clone());
        let nulls = super::null_at(self.null_id, self.keys.len());
        let plain: ArrayRef = if data_type::is_text(&self.data_type) {
            Arc::new(GenericByteArray::<LargeUtf8Type>::try_new(offsets, values, nulls)?)
        } else {
            Arc::new(GenericByteArray::<LargeBinaryType>::try_new(offsets, values, nulls)?)
        };
        Ok(arrow_cast::cast(&plain, &self.data_type)?)
    }

    fn method(&self) -> Method {
        Method::Bytes
    }

    fn clear(&mut self) {
        self.keys.bytes.clear();
        self.keys.ends.truncate(1);
        self.null_id = None;
        self.letters.clear();
        self.short.clear();
        self.middle.clear();
        self.long.clear();
        self.codes.clear();
    }
}
