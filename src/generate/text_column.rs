//! Builds a column of strings piece by piece, without formatting machinery: text is most of the work of a sample stream.

use std::sync::Arc;

use arrow_array::StringArray;
use arrow_buffer::{Buffer, OffsetBuffer, ScalarBuffer};

use crate::columnar::ArrayRef;
use crate::error::{Error, Result};

/// Strings under construction.
#[derive(Debug)]
pub(super) struct TextColumn {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl TextColumn {
    pub(super) fn with_capacity(rows: usize, bytes_per_row: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self { bytes: Vec::with_capacity(rows * bytes_per_row), ends }
    }

    /// Adds to the current string.
    #[inline]
    pub(super) fn add(&mut self, text: &str) -> &mut Self {
        self.bytes.extend_from_slice(text.as_bytes());
        self
    }

    /// Adds a number in decimal digits, at least `width` of them.
    #[inline]
    pub(super) fn digits(&mut self, mut number: u64, width: usize) -> &mut Self {
        const WIDTH_MAX: usize = 20;
        let mut digits = [b'0'; WIDTH_MAX];
        let mut start = WIDTH_MAX;
        while number > 0 || start == WIDTH_MAX {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        self.bytes.extend_from_slice(&digits[start.min(WIDTH_MAX - width)..]);
        self
    }

    /// Ends the current string.
    #[inline]
    pub(super) fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }

    pub(super) fn finish(self) -> Result<ArrayRef> {
        let too_long = |error| Error::internal("a generated text column has more than 2 GiB").because(error);
        let ends = self.ends.into_iter().map(i32::try_from).collect::<Result<Vec<i32>, _>>().map_err(too_long)?;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(ends));
        let strings = StringArray::try_new(offsets, Buffer::from_vec(self.bytes), None)
            .map_err(|error| Error::internal("a generated text column is not UTF-8").because(error))?;
        Ok(Arc::new(strings))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;

    use super::*;

    #[test]
    fn digits_are_padded_to_the_width_and_never_cut() {
        let mut column = TextColumn::with_capacity(5, 4);
        column.digits(0, 1).end();
        column.digits(7, 3).end();
        column.add("ad-").digits(1234, 2).end();
        column.digits(u64::MAX, 1).end();
        column.end();
        let column = column.finish().unwrap();
        let strings: Vec<&str> = column.as_string::<i32>().iter().flatten().collect();
        assert_eq!(strings, ["0", "007", "ad-1234", "18446744073709551615", ""]);
    }
}
