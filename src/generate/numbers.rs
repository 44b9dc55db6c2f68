//! `numbers`: lines of numbers separated by spaces, for the program that averages each line. Like input from people,
//! some lines hold a word and some hold nothing.

use std::sync::Arc;

use super::draw::{Draw, index};
use super::text_column::TextColumn;
use super::{Generator, Options, TextForm, batch_of, row_numbers, schema_of};
use crate::columnar::{DataType, RecordBatch, SchemaRef};
use crate::error::Result;

const WORDS: [&str; 6] = ["n/a", "none", "twelve", "NaN", "-", "3,5"];
const NUMBERS_PER_LINE_MAX: u64 = 8;
/// Of 100 lines: so many are empty, so many hold a word among the numbers.
const EMPTY: u64 = 3;
const WORDY: u64 = 5;

#[derive(Debug)]
struct Numbers {
    schema: SchemaRef,
    kind: Draw,
    length: Draw,
    number: Draw,
    word: Draw,
}

pub(super) fn make(seed: u64, _options: &Options) -> Result<Arc<dyn Generator>> {
    Ok(Arc::new(Numbers {
        schema: schema_of(&[("line", DataType::Utf8)]),
        kind: Draw::new(seed, 0),
        length: Draw::new(seed, 1),
        number: Draw::new(seed, 2),
        word: Draw::new(seed, 3),
    }))
}

impl Numbers {
    fn add_line(&self, lines: &mut TextColumn, row: u64) {
        let kind = self.kind.below(row, 100);
        if kind < EMPTY {
            return;
        }
        let length = 1 + self.length.below(row, NUMBERS_PER_LINE_MAX);
        let word_at = (kind < EMPTY + WORDY).then(|| self.word.bits(row) % length);
        for place in 0..length {
            if place > 0 {
                lines.add(" ");
            }
            if word_at == Some(place) {
                lines.add(WORDS[index(self.word.bits(row) / length % WORDS.len() as u64)]);
            } else {
                self.add_number(lines, row * NUMBERS_PER_LINE_MAX + place);
            }
        }
    }

    /// A whole number or one with a decimal, now and then negative.
    fn add_number(&self, lines: &mut TextColumn, place: u64) {
        let bits = self.number.bits(place);
        if bits & 7 == 0 {
            lines.add("-");
        }
        lines.digits((bits >> 8) % 1000, 1);
        if bits >> 3 & 3 == 0 {
            lines.add(".").digits((bits >> 32) % 10, 1);
        }
    }
}

impl Generator for Numbers {
    fn name(&self) -> &'static str {
        "numbers"
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn text_form(&self) -> TextForm {
        TextForm::Lines
    }

    fn rows(&self, first_row: u64, rows: usize) -> Result<RecordBatch> {
        let numbers = row_numbers(first_row, rows)?;
        let mut lines = TextColumn::with_capacity(rows, 20);
        for row in numbers {
            self.add_line(&mut lines, row);
            lines.end();
        }
        batch_of(&self.schema, vec![lines.finish()?])
    }
}
