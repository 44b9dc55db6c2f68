//! `concat`: texts are kept with their group, and put together at the end.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::LargeUtf8Type;
use arrow_array::{ArrayRef, GenericByteArray, LargeBinaryArray};
use arrow_buffer::{Buffer, OffsetBuffer};
use arrow_schema::DataType;

use super::extreme_bytes::each_bytes;
use super::state::{Mapping, NOT_TAKEN, Refusal, Rows, State, needed, same};
use super::stored_lists;
use crate::error::{Error, Result};
use crate::kernels::cpu::native;
use crate::kernels::stored;

pub(super) struct Concat {
    data_type: DataType,
    separator: String,
    groups: usize,
    /// The texts one after another, and for each its group and its end.
    bytes: Vec<u8>,
    texts: Vec<(u32, usize)>,
}

impl Concat {
    pub(super) fn new(data_type: DataType, separator: String) -> Self {
        Self { data_type, separator, groups: 0, bytes: Vec::new(), texts: Vec::new() }
    }

    fn push(&mut self, group: u32, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.texts.push((group, self.bytes.len()));
    }

    /// Group and text of each.
    fn texts(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let starts = std::iter::once(0).chain(self.texts.iter().map(|&(_, end)| end));
        starts.zip(&self.texts).map(|(start, &(group, end))| (group, &self.bytes[start..end]))
    }
}

impl State for Concat {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        self.groups = rows.groups;
        each_bytes(rows, needed(input)?, |row, text| self.push(rows.ids.of(row), text))
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        self.groups = mapping.groups;
        let groups = mapping.table();
        for (group, text) in same::<Self>(later)?.texts() {
            let group = groups[group as usize];
            if group != NOT_TAKEN {
                self.push(group, text);
            }
        }
        Ok(())
    }

    fn store(&self) -> Result<ArrayRef> {
        let texts: ArrayRef = Arc::new(LargeBinaryArray::from_iter_values(self.texts().map(|(_, text)| text)));
        stored_lists::column(self.groups, self.texts.iter().map(|&(group, _)| group), &texts)
    }

    fn restore(&mut self, column: &ArrayRef) -> Result<()> {
        self.groups = column.len();
        let (texts, groups) = stored_lists::items(column)?;
        let texts = texts.as_binary_opt::<i64>().ok_or_else(|| Error::internal("texts are stored as bytes"))?;
        for (text, group) in texts.iter().zip(groups) {
            let text = text.unwrap_or_default();
            if std::str::from_utf8(text).is_err() {
                return Err(stored::corrupt("a text is not UTF-8"));
            }
            self.push(group, text);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, Refusal> {
        let separator = self.separator.as_bytes();
        let mut lengths = vec![0; self.groups];
        let mut present = vec![false; self.groups];
        for (group, text) in self.texts() {
            let group = group as usize;
            lengths[group] += text.len() + if present[group] { separator.len() } else { 0 };
            present[group] = true;
        }
        let offsets = OffsetBuffer::<i64>::from_lengths(lengths.iter().copied());
        let ends = lengths.iter().scan(0, |end, length| Some(std::mem::replace(end, *end + length)));
        // Where the next text of each group goes, and whether it is not the first.
        let mut next: Vec<(usize, bool)> = ends.map(|start| (start, false)).collect();
        let mut joined = vec![0; lengths.iter().sum()];
        for (group, text) in self.texts() {
            let (place, is_later) = &mut next[group as usize];
            for part in [if *is_later { separator } else { &[] }, text] {
                joined[*place..*place + part.len()].copy_from_slice(part);
                *place += part.len();
            }
            *is_later = true;
        }
        let nulls = native::validity(&present);
        let plain: ArrayRef =
            Arc::new(GenericByteArray::<LargeUtf8Type>::try_new(offsets, Buffer::from_vec(joined), nulls)?);
        Ok(arrow_cast::cast(&plain, &self.data_type)?)
    }
}
