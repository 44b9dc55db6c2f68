//! Texts as codes: a column whose values are few is read as numbers that stand for them.
//!
//! Each text is looked up by its bytes where they lie in the record, so that it is neither copied nor hashed again later.
//! Codes stay over all batches of a reader, and batches between which no new text came share one array of values. A
//! column with more values than are worth a table ([`CODED_TEXTS_MAX`], [`CODED_BYTES_MAX`]) goes on without one: then each
//! row of a batch brings its own value, in the same type.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow_array::types::UInt32Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, StringArray, UInt32Array};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::error::{Error, Result};
use crate::formats::bytes::Bytes;
use crate::formats::column::retain_latest;
use crate::formats::spans::{NullWords, Spans};
use crate::limits::{CODED_BYTES_MAX, CODED_TEXTS_MAX};

/// Texts of so many bytes are compared as one number, whose last byte is their length.
const SHORT_BYTES: usize = 15;

/// No code: an empty slot.
const NONE: u16 = u16::MAX;

const _: () = assert!(CODED_TEXTS_MAX < NONE as usize, "codes must fit slots");

/// So many slots a text at least: where two texts want one slot, which of them it is cannot be foreseen.
const SLOTS_PER_TEXT: usize = 8;

/// A column of texts that grows, as codes.
#[derive(Debug)]
pub(super) struct Codes {
    /// The code of each row; of rows without a text any.
    rows: Vec<u32>,
    texts: Texts,
    /// The texts as an array; made anew when there are more.
    values: Option<ArrayRef>,
    /// Once there were too many texts: those of the rows, one after another.
    plain: Option<Bytes>,
}

/// Different texts, by code.
#[derive(Debug)]
struct Texts {
    all: Bytes,
    /// Of short texts, by code: the bytes and their number. Zero for others, which no text is.
    words: Vec<u128>,
    /// Codes of short texts, by the highest bits of the hash of their words; few of them are used.
    slots: Vec<u16>,
    /// Which bits of a hash choose a slot: those from here on.
    shift: u32,
    /// Codes of longer texts with their hashes.
    long: HashTable<(u64, u32)>,
    hasher: FixedState,
}

/// Bits of the first so many bytes.
const MASKS: [u128; SHORT_BYTES + 1] = {
    let mut masks = [0; SHORT_BYTES + 1];
    let mut length = 0;
    while length <= SHORT_BYTES {
        masks[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    masks
};

/// Sixteen bytes, of which the first `length` are a text, as its word.
#[inline(always)]
fn word_of(sixteen: [u8; 16], length: usize) -> u128 {
    // One more, so that the empty text is not zero.
    u128::from_le_bytes(sixteen) & MASKS[length] | (length as u128 + 1) << (8 * SHORT_BYTES)
}

/// A short text as a word, wherever it stands.
fn padded(text: &[u8]) -> u128 {
    let mut sixteen = [0; 16];
    sixteen[..text.len()].copy_from_slice(text);
    word_of(sixteen, text.len())
}

/// A hash, of which the highest bits are the best.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "halves are taken apart on purpose")]
fn hash(word: u128) -> u64 {
    const MULTIPLIERS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];
    let (low, high) = (word as u64, (word >> 64) as u64);
    low.wrapping_mul(MULTIPLIERS[0]) ^ high.wrapping_mul(MULTIPLIERS[1])
}

impl Texts {
    fn new() -> Self {
        const SLOT_BITS: u32 = 6;
        Self {
            all: Bytes::new(),
            words: Vec::new(),
            slots: vec![NONE; 1 << SLOT_BITS],
            shift: u64::BITS - SLOT_BITS,
            long: HashTable::new(),
            hasher: FixedState::default(),
        }
    }

    /// The code of the text that a word stands for, if it has one; else the slot where it belongs.
    #[inline(always)]
    fn find(&self, word: u128) -> std::result::Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = self.first_slot(word);
        loop {
            let code = self.slots[slot];
            if code == NONE {
                return Err(slot);
            }
            if self.words[usize::from(code)] == word {
                return Ok(code.into());
            }
            slot = (slot + 1) & mask;
        }
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "there are fewer slots than that")]
    fn first_slot(&self, word: u128) -> usize {
        (hash(word) >> self.shift) as usize
    }

    fn find_long(&self, text: &[u8], hash: u64) -> Option<u32> {
        let same = |&(other, code): &(u64, u32)| other == hash && self.all.get(code as usize) == text;
        self.long.find(hash, same).map(|(_, code)| *code)
    }

    /// The code of the text that stands in other bytes, if it is short and has one; those behind it are read, too.
    #[inline(always)]
    fn find_within(&self, bytes: &[u8], start: usize, end: usize) -> Option<u32> {
        let length = end - start;
        if length > SHORT_BYTES {
            return None;
        }
        let sixteen = bytes.get(start..)?.first_chunk()?;
        self.find(word_of(*sixteen, length)).ok()
    }

    /// Gives a new text the next code; nothing if there is no room for more.
    #[cold]
    fn insert(&mut self, text: &[u8]) -> Option<u32> {
        if self.words.len() == CODED_TEXTS_MAX || self.all.bytes.len() + text.len() > CODED_BYTES_MAX {
            return None;
        }
        let code = u16::try_from(self.words.len()).ok()?;
        self.all.push(text);
        if text.len() > SHORT_BYTES {
            let hash = self.hasher.hash_one(text);
            self.words.push(0);
            self.long.insert_unique(hash, (hash, code.into()), |(hash, _)| *hash);
            return Some(code.into());
        }
        self.words.push(padded(text));
        if SLOTS_PER_TEXT * self.words.len() > self.slots.len() {
            self.slots = vec![NONE; 2 * self.slots.len()];
            self.shift -= 1;
            for (code, word) in (0..).zip(&self.words).filter(|(_, word)| **word != 0) {
                if let Err(slot) = self.find(*word) {
                    self.slots[slot] = code;
                }
            }
        } else if let Err(slot) = self.find(padded(text)) {
            self.slots[slot] = code;
        }
        Some(code.into())
    }
}

impl Codes {
    pub(super) fn new() -> Self {
        Self { rows: Vec::new(), texts: Texts::new(), values: None, plain: None }
    }

    pub(super) fn len(&self) -> usize {
        self.plain.as_ref().map_or(self.rows.len(), Bytes::len)
    }

    pub(super) fn truncate(&mut self, len: usize) {
        match &mut self.plain {
            Some(plain) => plain.truncate(len),
            None => self.rows.truncate(len),
        }
    }

    /// Appends a row whose text does not count.
    pub(super) fn push_nothing(&mut self) {
        match &mut self.plain {
            Some(plain) => plain.end_value(),
            None => self.rows.push(0),
        }
    }

    /// Appends a text, which must be UTF-8.
    pub(super) fn push(&mut self, text: &[u8]) {
        if self.plain.is_none() {
            let known = if text.len() <= SHORT_BYTES {
                self.texts.find(padded(text)).ok()
            } else {
                self.texts.find_long(text, self.texts.hasher.hash_one(text))
            };
            if let Some(code) = known.or_else(|| self.texts.insert(text)) {
                self.rows.push(code);
                return;
            }
            self.give_up();
        }
        if let Some(plain) = &mut self.plain {
            plain.push(text);
        }
    }

    /// As [`Codes::push`] of the text that stands in other bytes: those behind it are read, too, and taken off again.
    #[inline(always)]
    pub(super) fn push_within(&mut self, bytes: &[u8], start: usize, end: usize) {
        if self.plain.is_none()
            && let Some(code) = self.texts.find_within(bytes, start, end)
        {
            self.rows.push(code);
            return;
        }
        self.push(&bytes[start..end]);
    }

    /// Appends the texts of fields, which are UTF-8, from a row on, up to the first that is null, and says how many.
    pub(super) fn push_spans(&mut self, spans: &Spans<'_>, from: usize, nulls: &NullWords<'_>) -> usize {
        let mut row = from;
        while row < spans.rows {
            if self.plain.is_none() {
                let texts = &self.texts;
                row += spans.run(row, nulls, &mut self.rows, |start, end| texts.find_within(spans.bytes, start, end));
            }
            let Some(text) = spans.text(row, nulls) else { break };
            self.push(text);
            row += 1;
        }
        row - from
    }

    /// The text of a row that has one.
    pub(super) fn get(&self, row: usize) -> &[u8] {
        match &self.plain {
            Some(plain) => plain.get(row),
            None => self.texts.all.get(self.rows[row] as usize),
        }
    }

    /// Keeps of the latest `count` rows only these, which are in order and count from the first of them.
    pub(super) fn retain_latest(&mut self, count: usize, rows: &[u32]) {
        match &mut self.plain {
            Some(plain) => plain.retain_latest(count, rows),
            None => retain_latest(&mut self.rows, count, rows),
        }
    }

    /// Goes on without codes, for good.
    #[cold]
    fn give_up(&mut self) {
        let mut plain = Bytes::new();
        for code in std::mem::take(&mut self.rows) {
            // Rows without a text may have come before the first text.
            let text = if self.texts.words.is_empty() { &[] } else { self.texts.all.get(code as usize) };
            plain.push(text);
        }
        (self.plain, self.texts, self.values) = (Some(plain), Texts::new(), None);
    }

    /// The rows as an array; there are none afterwards.
    pub(super) fn finish(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let (codes, values): (Vec<u32>, ArrayRef) = if let Some(plain) = &mut self.plain {
            let (offsets, bytes) = plain.finish();
            let values = StringArray::try_new(offsets, bytes.into(), None)?;
            let rows = u32::try_from(values.len()).map_err(|_| Error::internal("a batch has billions of rows"))?;
            ((0..rows).collect(), Arc::new(values))
        } else {
            let next = Vec::with_capacity(self.rows.len());
            let codes = std::mem::replace(&mut self.rows, next);
            let values = match self.values.take().filter(|values| values.len() == self.texts.words.len()) {
                Some(values) => values,
                None => Arc::new(self.texts.all.to_array()?) as ArrayRef,
            };
            self.values = Some(Arc::clone(&values));
            (codes, values)
        };
        let codes = UInt32Array::new(ScalarBuffer::from(codes), nulls);
        Ok(Arc::new(DictionaryArray::<UInt32Type>::try_new(codes, values)?))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;

    use super::*;

    /// The texts that a finished column holds.
    fn texts(array: &ArrayRef) -> Vec<Option<String>> {
        let dictionary = array.as_dictionary::<UInt32Type>();
        let texts = dictionary.downcast_dict::<StringArray>().expect("texts");
        texts.into_iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn texts_of_every_length_are_told_apart_and_keep_their_codes() {
        let mut codes = Codes::new();
        let all: Vec<String> = (0..40).flat_map(|length| ["a", "b", "\0"].map(|text| text.repeat(length))).collect();
        let line = all.join(";") + ";and more bytes behind the last";
        let mut first = None;
        for round in 0..3 {
            let mut start = 0;
            for (index, text) in all.iter().enumerate() {
                if (index + round) % 2 == 0 {
                    codes.push_within(line.as_bytes(), start, start + text.len());
                } else {
                    codes.push(text.as_bytes());
                }
                start += text.len() + 1;
            }
            let array = codes.finish(None).expect("an array");
            assert_eq!(texts(&array), all.iter().cloned().map(Some).collect::<Vec<_>>(), "round {round}");
            let dictionary = array.as_dictionary::<UInt32Type>();
            // Three texts of no bytes are one.
            assert_eq!(dictionary.values().len(), all.len() - 2);
            let first = first.get_or_insert_with(|| Arc::clone(dictionary.values()));
            assert!(Arc::ptr_eq(first, dictionary.values()), "the same values in round {round}");
        }
    }

    #[test]
    fn too_many_texts_are_given_one_by_one_from_the_first_row_of_their_batch_on() {
        let mut codes = Codes::new();
        for batch in 0..3 {
            let all: Vec<String> = (0..CODED_TEXTS_MAX * 2 / 3).map(|index| format!("text {batch} {index}")).collect();
            codes.push_nothing();
            all.iter().for_each(|text| codes.push(text.as_bytes()));
            codes.push(b"taken back");
            codes.truncate(all.len() + 1);
            let array = codes.finish(None).expect("an array");
            assert_eq!(texts(&array)[1..], all.iter().cloned().map(Some).collect::<Vec<_>>(), "batch {batch}");
            let values = array.as_dictionary::<UInt32Type>().values().len();
            assert_eq!(values, all.len() + 1, "batch {batch}");
        }
        assert!(codes.plain.is_some());
    }

    #[test]
    fn many_bytes_are_too_much_as_well() {
        let mut codes = Codes::new();
        let long = "x".repeat(CODED_BYTES_MAX / 4);
        let all: Vec<String> = (0..6).map(|index| format!("{index}{long}")).collect();
        all.iter().for_each(|text| codes.push(text.as_bytes()));
        let array = codes.finish(None).expect("an array");
        assert_eq!(texts(&array), all.into_iter().map(Some).collect::<Vec<_>>());
        assert!(codes.plain.is_some());
    }

    #[test]
    fn rows_without_a_text_need_no_text() {
        let mut codes = Codes::new();
        codes.push_nothing();
        codes.push_nothing();
        let array = codes.finish(Some(NullBuffer::new_null(2))).expect("an array");
        assert_eq!(texts(&array), vec![None, None]);
        assert_eq!(codes.len(), 0);
    }
}
