//! Batches to CSV.
//!
//! Null is an empty field, an empty text is `""`: so they differ when read back. A text is put in quotes when it holds a
//! mark or a line end, or could be taken for a null or a comment.

use std::io::Write;

use crate::columnar::{RecordBatch, SchemaRef};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::Encoder;
use crate::formats::column::BinaryText;
use crate::formats::csv::CsvOptions;
use crate::formats::printer::{plain_layout, printer};
use crate::formats::writing::{writer_failed, written_by_rows};

pub(in crate::formats) struct CsvEncoder {
    writer: Box<dyn Write + Send>,
    options: CsvOptions,
    quote: u8,
    bytes: Vec<u8>,
}

impl CsvEncoder {
    /// Writes the header at once, if there is one.
    pub(in crate::formats) fn new(
        schema: &SchemaRef,
        writer: Box<dyn Write + Send>,
        options: CsvOptions,
    ) -> Result<Self> {
        let Some(quote) = options.marks.quote else {
            return Err(Error::new(ErrorKind::InvalidOption, "CSV cannot be written without a quote")
                .advice("leave out the option `quote`, or give a character"));
        };
        if options.binary == BinaryText::Raw {
            return Err(Error::new(ErrorKind::InvalidOption, "CSV is written with bytes in hexadecimal digits only")
                .advice("leave out the option `binary`"));
        }
        let mut encoder = Self { writer, options, quote, bytes: Vec::new() };
        if encoder.options.header {
            for (index, field) in schema.fields().iter().enumerate() {
                encoder.separate(index);
                encoder.text(field.name().as_bytes());
            }
            encoder.bytes.push(b'\n');
            encoder.flush_bytes()?;
        }
        Ok(encoder)
    }

    fn separate(&mut self, column: usize) {
        if column > 0 {
            self.bytes.push(self.options.marks.delimiter);
        }
    }

    fn text(&mut self, text: &[u8]) {
        let marks = &self.options.marks;
        let is_mark =
            |byte: &u8| *byte == marks.delimiter || *byte == self.quote || matches!(byte, b'\n' | b'\r' | 0xef);
        let is_comment = marks.comment.is_some() && text.first().copied() == marks.comment;
        // A first field that begins with the first byte of a byte order mark (0xef) would lose it, hence its quotes.
        if !(is_comment || text.iter().any(is_mark) || text.is_empty() || self.is_null_word(text)) {
            self.bytes.extend_from_slice(text);
            return;
        }
        self.bytes.push(self.quote);
        for byte in text {
            if *byte == self.quote {
                self.bytes.push(self.quote);
            }
            self.bytes.push(*byte);
        }
        self.bytes.push(self.quote);
    }

    fn is_null_word(&self, text: &[u8]) -> bool {
        self.options.null_words.iter().any(|word| word == text)
    }

    fn flush_bytes(&mut self) -> Result<()> {
        let written = self.writer.write_all(&self.bytes);
        self.bytes.clear();
        written.map_err(writer_failed)
    }
}

impl Encoder for CsvEncoder {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let schema = batch.schema();
        let null_word = self.options.null_words.first().cloned().unwrap_or_default();
        let mut columns = Vec::with_capacity(batch.num_columns());
        for (field, array) in schema.fields().iter().zip(batch.columns()) {
            let array = plain_layout(array)?;
            columns.push((arrow_array::Array::logical_nulls(&array), printer(&array, field.name())?));
        }
        let mut text = Vec::new();
        written_by_rows(batch.num_rows(), |row| {
            for (index, (nulls, print)) in columns.iter().enumerate() {
                self.separate(index);
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    self.bytes.extend_from_slice(&null_word);
                } else {
                    text.clear();
                    print(row, &mut text);
                    self.text(&text);
                }
            }
            self.bytes.push(b'\n');
            if self.bytes.len() >= crate::formats::writing::BLOCK_BYTES { self.flush_bytes() } else { Ok(()) }
        })?;
        self.flush_bytes()
    }

    fn finish(mut self: Box<Self>) -> Result<Box<dyn Write + Send>> {
        self.writer.flush().map_err(writer_failed)?;
        Ok(self.writer)
    }
}
