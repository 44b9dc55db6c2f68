//! Texts and other values of different lengths, end to end in one run of bytes: how columns of them grow.

use arrow_array::StringArray;
use arrow_buffer::{OffsetBuffer, ScalarBuffer};

use crate::error::Result;
use crate::formats::spans::{NullWords, Spans};

/// Values of different lengths, end to end.
#[derive(Debug)]
pub(super) struct Bytes {
    pub(super) bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl Bytes {
    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), offsets: vec![0] }
    }

    /// Appends the value that stands in other bytes. Short ones are copied with what follows them, which a fixed number of
    /// bytes makes cheap, and what is too much is taken off again.
    #[inline(always)]
    pub(super) fn push_within(&mut self, bytes: &[u8], start: usize, end: usize) {
        self.append_within(bytes, start, end);
        self.end_value();
    }

    #[inline(always)]
    fn append_within(&mut self, bytes: &[u8], start: usize, end: usize) {
        match bytes[start..].first_chunk::<16>() {
            Some(short) if end - start <= short.len() => {
                let len = self.bytes.len() + (end - start);
                self.bytes.extend_from_slice(short);
                self.bytes.truncate(len);
            }
            _ => self.bytes.extend_from_slice(&bytes[start..end]),
        }
    }

    /// Appends the texts of fields from a row on, up to the first that is null, and says how many.
    pub(super) fn push_spans(&mut self, spans: &Spans<'_>, from: usize, nulls: &NullWords<'_>) -> usize {
        let mut offsets = std::mem::take(&mut self.offsets);
        let taken = spans.run(from, nulls, &mut offsets, |start, end| {
            self.append_within(spans.bytes, start, end);
            Some(offset(self.bytes.len()))
        });
        self.offsets = offsets;
        taken
    }

    /// Ends the value whose bytes were just appended to `bytes`.
    #[inline]
    pub(super) fn end_value(&mut self) {
        self.offsets.push(offset(self.bytes.len()));
    }

    #[inline]
    pub(super) fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.end_value();
    }

    /// Forgets bytes that were appended since the last value ended.
    pub(super) fn abandon_value(&mut self) {
        self.truncate(self.offsets.len() - 1);
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        let end = self.offsets.last().copied().unwrap_or_default();
        self.bytes.truncate(usize::try_from(end).unwrap_or_default());
    }

    pub(super) fn finish(&mut self) -> (OffsetBuffer<i32>, Vec<u8>) {
        let mut next = Self { bytes: Vec::with_capacity(self.bytes.len()), offsets: Vec::new() };
        next.offsets.reserve(self.offsets.len());
        next.offsets.push(0);
        let done = std::mem::replace(self, next);
        (OffsetBuffer::new(ScalarBuffer::from(done.offsets)), done.bytes)
    }

    /// How many values have ended.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// A value that has ended.
    #[inline]
    pub(super) fn get(&self, index: usize) -> &[u8] {
        let end = |place: usize| usize::try_from(self.offsets[place]).unwrap_or_default();
        &self.bytes[end(index)..end(index + 1)]
    }

    /// Keeps of the latest `count` values only these, which are in order and count from the first of them.
    pub(super) fn retain_latest(&mut self, count: usize, rows: &[u32]) {
        let first = self.len() - count;
        let kept: Vec<Vec<u8>> = rows.iter().map(|row| self.get(first + *row as usize).to_vec()).collect();
        self.truncate(first);
        kept.iter().for_each(|value| self.push(value));
    }

    /// The values, which must be UTF-8, as an array of their own.
    pub(super) fn to_array(&self) -> Result<StringArray> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets.clone()));
        Ok(StringArray::try_new(offsets, self.bytes.clone().into(), None)?)
    }
}

/// A length as Arrow's offsets have it.
pub(super) fn offset(len: usize) -> i32 {
    i32::try_from(len).expect("a reader ends a batch long before it holds 2 GiB")
}
