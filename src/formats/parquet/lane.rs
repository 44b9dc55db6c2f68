//! The values of one column that rows which are kept bring: copied from where they lie in pages, or looked up in the
//! dictionary, straight to the engine's type.

use std::ops::Range;
use std::sync::Arc;

use ::parquet::errors::Result;
use arrow_array::types::UInt32Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, StringArray, UInt32Array, make_array};
use arrow_buffer::{ArrowNativeType, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_data::ArrayData;
use bytes::Bytes;

use super::chunk::{Chunk, DictionaryPage, Piece, Stored, Values};
use super::hybrid::damage;
use super::passes::Passes;
use crate::columnar::DataType;
use crate::columnar::data_type::coded_text;
use crate::formats::Bound;

/// A column's values, which grow until they are taken.
pub(super) struct Lane {
    data_type: DataType,
    stored: Stored,
    values: Typed,
    /// The entries of the dictionary as they lie in its page, if they are no texts.
    dictionary: Bytes,
    /// Which of the values are none, from the first of these on.
    valid: Vec<bool>,
    /// Which entries of the dictionary keep all bounds; nothing if there is no bound or no dictionary.
    passes: Option<Passes>,
}

enum Typed {
    Four(Vec<u32>),
    Eight(Vec<u64>),
    Sixteen(Vec<i128>),
    Texts { dictionary: ArrayRef, codes: Vec<u32> },
}

/// A value of a type that values of a page are read as.
trait Value: ArrowNativeType {
    fn of(stored: Stored, bytes: &[u8]) -> Self;
}

#[inline(always)]
fn four(bytes: &[u8]) -> [u8; 4] {
    bytes.first_chunk().copied().unwrap_or_default()
}

#[inline(always)]
fn eight(bytes: &[u8]) -> [u8; 8] {
    bytes.first_chunk().copied().unwrap_or_default()
}

impl Value for u32 {
    #[inline(always)]
    fn of(_: Stored, bytes: &[u8]) -> Self {
        Self::from_le_bytes(four(bytes))
    }
}

impl Value for u64 {
    #[inline(always)]
    fn of(_: Stored, bytes: &[u8]) -> Self {
        Self::from_le_bytes(eight(bytes))
    }
}

impl Value for i128 {
    #[inline(always)]
    fn of(stored: Stored, bytes: &[u8]) -> Self {
        match stored {
            Stored::Little(4) => Self::from(i32::from_le_bytes(four(bytes))),
            Stored::Big(_) => {
                let sign = if bytes.first().is_some_and(|first| *first >= 0x80) { 0xff } else { 0 };
                let mut sixteen = [sign; 16];
                let some = bytes.len().min(16);
                sixteen[16 - some..].copy_from_slice(&bytes[bytes.len() - some..]);
                Self::from_be_bytes(sixteen)
            }
            _ => Self::from(i64::from_le_bytes(eight(bytes))),
        }
    }
}

/// Appends the values of these rows of a piece.
fn extend<V: Value>(
    values: &mut Vec<V>,
    stored: Stored,
    dictionary: &Bytes,
    (chunk, piece): (&Chunk, &Piece),
    rows: &[u32],
) -> Result<()> {
    let bytes = match &piece.values {
        Values::Coded => dictionary,
        Values::Plain(bytes) => bytes,
    };
    // A loop for each way that values lie, in which it is known.
    match stored {
        Stored::Little(4) => {
            let all = bytes.as_chunks::<4>().0;
            pick(values, chunk, piece, rows, |place| all.get(place).map(|value| V::of(Stored::Little(4), value)))
        }
        Stored::Little(8) => {
            let all = bytes.as_chunks::<8>().0;
            pick(values, chunk, piece, rows, |place| all.get(place).map(|value| V::of(Stored::Little(8), value)))
        }
        _ => {
            let width = stored.width().unwrap_or_default();
            let value = |place: usize| bytes.get(place * width..(place + 1) * width);
            pick(values, chunk, piece, rows, |place| value(place).map(|value| V::of(stored, value)))
        }
    }
}

/// Appends a value for each of these rows, given the value at a place.
#[inline(always)]
fn pick<V: Value>(
    values: &mut Vec<V>,
    chunk: &Chunk,
    piece: &Piece,
    rows: &[u32],
    value: impl Fn(usize) -> Option<V>,
) -> Result<()> {
    let mut is_there = true;
    let mut checked = |value: Option<V>| {
        is_there &= value.is_some();
        value.unwrap_or_default()
    };
    let codes = chunk.codes();
    let coded = |row: usize| codes.get(row).and_then(|code| value(*code as usize));
    match &piece.values {
        _ if piece.has_nulls => values.extend(rows.iter().map(|row| match *row as usize {
            row if chunk.is_valid(row) => checked(coded(row)),
            _ => V::default(),
        })),
        Values::Coded => values.extend(rows.iter().map(|row| checked(coded(*row as usize)))),
        Values::Plain(_) => {
            let first = piece.rows.start;
            values.extend(rows.iter().map(|row| checked(value((*row as usize).wrapping_sub(first)))));
        }
    }
    match (&piece.values, is_there) {
        (_, true) => Ok(()),
        (Values::Coded, false) => Err(damage(UNKNOWN_CODE)),
        (Values::Plain(_), false) => Err(damage("there are fewer values than rows")),
    }
}

pub(super) const UNKNOWN_CODE: &str = "there is a code that the dictionary does not have";

fn native_array<V: ArrowNativeType>(
    data_type: &DataType,
    values: Vec<V>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let data = ArrayData::builder(data_type.clone()).len(values.len()).add_buffer(Buffer::from_vec(values));
    Ok(make_array(data.nulls(nulls).build()?))
}

/// All values that lie one after another.
fn all_of<V: Value>(stored: Stored, bytes: &[u8]) -> Vec<V> {
    let width = stored.width().unwrap_or(usize::MAX);
    bytes.chunks_exact(width).map(|value| V::of(stored, value)).collect()
}

/// The texts of a dictionary page.
fn texts(page: &DictionaryPage) -> Result<ArrayRef> {
    let cut_off = || damage("the dictionary is cut off");
    // Each text takes four bytes at least.
    let mut ends = Vec::with_capacity(page.count.min(page.bytes.len() / 4) + 1);
    let mut bytes = Vec::with_capacity(page.bytes.len());
    let mut rest: &[u8] = &page.bytes;
    ends.push(0);
    for _ in 0..page.count {
        let (length, behind) = rest.split_first_chunk().ok_or_else(cut_off)?;
        let (text, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(cut_off)?;
        bytes.extend_from_slice(text);
        ends.push(i32::try_from(bytes.len()).map_err(|_| damage("the dictionary is too large"))?);
        rest = behind;
    }
    Ok(Arc::new(StringArray::try_new(OffsetBuffer::new(ends.into()), bytes.into(), None)?))
}

impl Lane {
    /// A column of such values, as it is wished; nothing if that takes more than copying.
    pub(super) fn new(has: &DataType, wants: &DataType, stored: Stored) -> Option<Self> {
        let is_as_wished = has == wants;
        let values = match (wants, stored) {
            (wants, Stored::Text) if *wants == coded_text() && (*has == DataType::Utf8 || is_as_wished) => {
                Typed::Texts { dictionary: Arc::new(StringArray::new_null(0)), codes: Vec::new() }
            }
            (
                DataType::Int32 | DataType::UInt32 | DataType::Float32 | DataType::Date32 | DataType::Time32(_),
                Stored::Little(4),
            ) if is_as_wished => Typed::Four(Vec::new()),
            (
                DataType::Int64
                | DataType::UInt64
                | DataType::Float64
                | DataType::Timestamp(..)
                | DataType::Time64(_)
                | DataType::Duration(_),
                Stored::Little(8),
            ) if is_as_wished => Typed::Eight(Vec::new()),
            (DataType::Decimal128(..), Stored::Little(_) | Stored::Big(1..=16)) if is_as_wished => {
                Typed::Sixteen(Vec::new())
            }
            _ => return None,
        };
        Some(Self {
            data_type: wants.clone(),
            stored,
            values,
            dictionary: Bytes::new(),
            valid: Vec::new(),
            passes: None,
        })
    }

    /// The same with room for so many values. Values that move while they grow touch new memory for each size.
    pub(super) fn with_room(mut self, rows: usize) -> Self {
        match &mut self.values {
            Typed::Four(values) => values.reserve(rows),
            Typed::Eight(values) => values.reserve(rows),
            Typed::Sixteen(values) => values.reserve(rows),
            Typed::Texts { codes, .. } => codes.reserve(rows),
        }
        self
    }

    /// Takes a new dictionary in, and asks its entries the bounds of the column.
    pub(super) fn set_dictionary(&mut self, page: &DictionaryPage, bounds: &[Bound]) -> Result<()> {
        if let Typed::Texts { dictionary, .. } = &mut self.values {
            *dictionary = texts(page)?;
            self.passes = passing(bounds, dictionary)?.map(|passes| Passes::new(&passes));
            return Ok(());
        }
        let width = self.stored.width().unwrap_or_default();
        let size = page.count.checked_mul(width).filter(|size| *size <= page.bytes.len());
        self.dictionary = page.bytes.slice(..size.ok_or_else(|| damage("the dictionary is cut off"))?);
        if bounds.is_empty() {
            return Ok(());
        }
        let array = match &self.values {
            Typed::Eight(_) => native_array(&self.data_type, all_of::<u64>(self.stored, &self.dictionary), None)?,
            Typed::Sixteen(_) => native_array(&self.data_type, all_of::<i128>(self.stored, &self.dictionary), None)?,
            _ => native_array(&self.data_type, all_of::<u32>(self.stored, &self.dictionary), None)?,
        };
        self.passes = passing(bounds, &array)?.map(|passes| Passes::new(&passes));
        Ok(())
    }

    /// Takes those out of the rows of the latest tile that do not keep these bounds of the column.
    pub(super) fn retain(&mut self, chunk: &Chunk, bounds: &[Bound], rows: &mut Vec<u32>) -> Result<()> {
        let (mut from, mut kept) = (0, 0);
        for piece in chunk.pieces() {
            let until = from + rows[from..].partition_point(|row| (*row as usize) < piece.rows.end);
            if let (Values::Coded, Some(passes)) = (&piece.values, &self.passes) {
                let is_valid = |row: usize| chunk.is_valid(row);
                let is_valid = piece.has_nulls.then_some(is_valid);
                kept += passes.retain(chunk.codes(), piece.rows.clone(), is_valid, rows, (from..until, kept))?;
            } else if let Values::Plain(_) = &piece.values {
                let own = self.len();
                self.extend(chunk, piece, &rows[from..until])?;
                let passes = passing(bounds, &self.taken_from(own)?)?;
                let mut next = passes.iter().flatten();
                let is_kept = |row: usize| {
                    let passes = next.next().is_none_or(|passes| *passes);
                    passes && (!piece.has_nulls || chunk.is_valid(row))
                };
                if passes.is_some() {
                    kept = compact(rows, from..until, kept, is_kept);
                } else {
                    kept = compact(rows, from..until, kept, |_| true);
                }
            } else {
                kept = compact(rows, from..until, kept, |_| true);
            }
            from = until;
        }
        rows.truncate(kept);
        Ok(())
    }

    fn len(&self) -> usize {
        match &self.values {
            Typed::Four(values) => values.len(),
            Typed::Eight(values) => values.len(),
            Typed::Sixteen(values) => values.len(),
            Typed::Texts { codes, .. } => codes.len(),
        }
    }

    /// Takes the values off again that came behind so many.
    fn taken_from(&mut self, len: usize) -> Result<ArrayRef> {
        let data_type = &self.data_type;
        match &mut self.values {
            Typed::Four(values) => native_array(data_type, values.split_off(len), None),
            Typed::Eight(values) => native_array(data_type, values.split_off(len), None),
            Typed::Sixteen(values) => native_array(data_type, values.split_off(len), None),
            Typed::Texts { .. } => Err(damage("there are texts outside of the dictionary")),
        }
    }

    /// Appends the values of these rows of the latest tile.
    pub(super) fn push(&mut self, chunk: &Chunk, rows: &[u32]) -> Result<()> {
        let mut from = 0;
        for piece in chunk.pieces() {
            let until = from + rows[from..].partition_point(|row| (*row as usize) < piece.rows.end);
            let some = &rows[from..until];
            if piece.has_nulls {
                self.valid.resize(self.len(), true);
                self.valid.extend(some.iter().map(|row| chunk.is_valid(*row as usize)));
            }
            self.extend(chunk, piece, some)?;
            from = until;
        }
        Ok(())
    }

    fn extend(&mut self, chunk: &Chunk, piece: &Piece, rows: &[u32]) -> Result<()> {
        match &mut self.values {
            Typed::Four(values) => extend(values, self.stored, &self.dictionary, (chunk, piece), rows),
            Typed::Eight(values) => extend(values, self.stored, &self.dictionary, (chunk, piece), rows),
            Typed::Sixteen(values) => extend(values, self.stored, &self.dictionary, (chunk, piece), rows),
            Typed::Texts { dictionary, codes } => {
                let (all, mut most) = (chunk.codes(), None);
                codes.extend(rows.iter().map(|row| {
                    let row = *row as usize;
                    if piece.has_nulls && !chunk.is_valid(row) {
                        return 0;
                    }
                    let code = all.get(row).copied().unwrap_or(u32::MAX);
                    most = most.max(Some(code));
                    code
                }));
                if most.is_some_and(|code| code as usize >= dictionary.len()) {
                    Err(damage(UNKNOWN_CODE))
                } else {
                    Ok(())
                }
            }
        }
    }

    /// All values as an array; there are none afterwards.
    pub(super) fn finish(&mut self, room: usize) -> Result<ArrayRef> {
        let nulls = (!self.valid.is_empty()).then(|| {
            self.valid.resize(self.len(), true);
            NullBuffer::from(std::mem::take(&mut self.valid))
        });
        let data_type = &self.data_type;
        match &mut self.values {
            Typed::Four(values) => native_array(data_type, replaced(values, room), nulls),
            Typed::Eight(values) => native_array(data_type, replaced(values, room), nulls),
            Typed::Sixteen(values) => native_array(data_type, replaced(values, room), nulls),
            Typed::Texts { dictionary, codes } => {
                let codes = UInt32Array::new(ScalarBuffer::from(replaced(codes, room)), nulls);
                Ok(Arc::new(DictionaryArray::<UInt32Type>::try_new(codes, Arc::clone(dictionary))?))
            }
        }
    }
}

fn replaced<V>(values: &mut Vec<V>, room: usize) -> Vec<V> {
    std::mem::replace(values, Vec::with_capacity(room))
}

/// For each value whether it keeps all bounds that it can be compared with; nothing if there are none.
fn passing(bounds: &[Bound], values: &ArrayRef) -> Result<Option<Vec<bool>>> {
    let mut all: Option<Vec<bool>> = None;
    for bound in bounds {
        let Some(kept) = bound.kept(values).map_err(|error| damage(error.message()))? else { continue };
        let all = all.get_or_insert_with(|| vec![true; values.len()]);
        all.iter_mut().zip(&kept).for_each(|(all, kept)| *all &= kept);
    }
    Ok(all)
}

/// Moves those of `rows[from]` that are kept to the place `to` and on, and says where they end.
#[inline(always)]
fn compact(rows: &mut [u32], from: Range<usize>, mut to: usize, mut is_kept: impl FnMut(usize) -> bool) -> usize {
    for index in from {
        let row = rows[index];
        rows[to] = row;
        to += usize::from(is_kept(row as usize));
    }
    to
}
