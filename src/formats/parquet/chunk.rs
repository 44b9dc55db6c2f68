//! The rows of one column chunk, tile by tile, from its pages.
//!
//! A tile's values are not made here: it is told where they are ([`Piece`]), so that only those of rows that are kept have
//! to be made. Pages of which no row is asked for are neither unpacked nor, where the file says where they lie, read.

use std::ops::Range;

use ::parquet::basic::{Encoding, Type};
use ::parquet::column::page::{Page, PageReader};
use ::parquet::errors::Result;
use ::parquet::file::metadata::ColumnChunkMetaData;
use ::parquet::file::page_index::offset_index::PageLocation;
use ::parquet::file::serialized_reader::SerializedPageReader;
use bytes::Bytes;

use super::hybrid::{Hybrid, damage};
use super::source::Source;

/// Codes are taken out one by one if fewer than this part of a tile's rows is asked for: those of all rows at once take about as long.
const FEW: usize = 6;

/// How a value lies in a page or dictionary that is not packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// So many bytes, the lowest first.
    Little(usize),
    /// So many bytes of one number, the highest first.
    Big(usize),
    /// A length of four bytes and as many bytes.
    Text,
}

impl Stored {
    /// How values of a physical type lie; nothing for types that are not read here.
    pub(super) fn of(physical: Type, length: i32) -> Option<Self> {
        match physical {
            Type::INT32 | Type::FLOAT => Some(Self::Little(4)),
            Type::INT64 | Type::DOUBLE => Some(Self::Little(8)),
            Type::FIXED_LEN_BYTE_ARRAY => usize::try_from(length).ok().filter(|length| *length > 0).map(Self::Big),
            Type::BYTE_ARRAY => Some(Self::Text),
            _ => None,
        }
    }

    /// Bytes of a value, where all have as many.
    pub(super) fn width(self) -> Option<usize> {
        match self {
            Self::Little(width) | Self::Big(width) => Some(width),
            Self::Text => None,
        }
    }
}

/// Rows of a tile whose values are in one place.
#[derive(Debug)]
pub(super) struct Piece {
    /// These rows, counted from the first of the tile.
    pub(super) rows: Range<usize>,
    pub(super) values: Values,
    /// Whether some may be null: then [`Chunk::is_valid`] knows, and so do codes of plain values.
    pub(super) has_nulls: bool,
}

/// Where the values of a piece are.
#[derive(Debug)]
pub(super) enum Values {
    /// In the dictionary, at the codes.
    Coded,
    /// Here, one after another; if some rows are null, at the codes.
    Plain(Bytes),
}

/// A dictionary page, as it is.
#[derive(Debug)]
pub(super) struct DictionaryPage {
    pub(super) bytes: Bytes,
    pub(super) count: usize,
}

/// What is left of a data page.
struct Open {
    rows: usize,
    /// Which rows have a value; nothing if all do.
    levels: Option<Hybrid>,
    values: OpenValues,
}

enum OpenValues {
    Coded(Hybrid),
    Plain(Bytes),
}

/// A column chunk that is being read.
pub(super) struct Chunk {
    pages: SerializedPageReader<Source>,
    stored: Stored,
    may_be_null: bool,
    /// Rows in pages that are not open yet.
    closed_rows: usize,
    open: Option<Open>,
    has_dictionary: bool,
    /// Rows that nobody asked for, and that were not passed over yet.
    skipped: usize,
    /// The codes of the tile's rows, where a piece has any.
    codes: Vec<u32>,
    /// Which rows of the tile have a value, in pieces that may have nulls.
    valid: Vec<u32>,
    pieces: Vec<Piece>,
}

/// Whether all pages of a chunk are written in ways that are read here.
pub(super) fn is_readable(chunk: &ColumnChunkMetaData) -> bool {
    let column = chunk.column_descr();
    let is_known = |encoding| {
        matches!(encoding, Encoding::PLAIN | Encoding::RLE | Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY)
            || is_packed(encoding)
    };
    column.max_rep_level() == 0
        && column.max_def_level() <= 1
        && column.path().parts().len() == 1
        && chunk.num_values() >= 0
        && chunk.encodings().all(is_known)
}

/// Whether that is how levels were written long ago; some writers name it even where there are none.
#[expect(deprecated, reason = "files last longer than formats")]
fn is_packed(encoding: Encoding) -> bool {
    encoding == Encoding::BIT_PACKED
}

impl Chunk {
    /// # Errors
    /// A compression that is not known.
    pub(super) fn new(
        source: Source,
        chunk: &ColumnChunkMetaData,
        stored: Stored,
        rows: usize,
        places: Option<Vec<PageLocation>>,
    ) -> Result<Self> {
        Ok(Self {
            pages: SerializedPageReader::new(source.into(), chunk, rows, places)?,
            stored,
            may_be_null: chunk.column_descr().max_def_level() > 0,
            closed_rows: rows,
            open: None,
            has_dictionary: false,
            skipped: 0,
            codes: Vec::new(),
            valid: Vec::new(),
            pieces: Vec::new(),
        })
    }

    /// Nobody asks for the next so many rows.
    pub(super) fn skip(&mut self, rows: usize) {
        self.skipped += rows;
    }

    /// The pieces of the latest tile, in order.
    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The codes of those of the latest tile's rows that were asked for.
    pub(super) fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// Whether a row of the latest tile, in a piece that may have nulls, has a value.
    pub(super) fn is_valid(&self, row: usize) -> bool {
        self.valid.get(row).is_some_and(|level| *level == 1)
    }

    /// Makes the next so many rows the tile, of which these are asked for. A dictionary that comes on the way is handed over.
    ///
    /// # Errors
    /// Pages that are not what they should be, or too few.
    pub(super) fn next_tile(
        &mut self,
        rows: usize,
        asked: &[u32],
        dictionary: &mut dyn FnMut(DictionaryPage) -> Result<()>,
    ) -> Result<()> {
        self.pieces.clear();
        self.codes.resize(rows, 0);
        self.pass_over(dictionary)?;
        let mut at = 0;
        while at < rows {
            while self.open.as_ref().is_none_or(|page| page.rows == 0) {
                self.open_page(dictionary)?;
            }
            let Some(page) = &mut self.open else { break };
            let end = at + page.rows.min(rows - at);
            let valid = match &mut page.levels {
                Some(levels) => {
                    self.valid.resize(rows, 0);
                    levels.read(&mut self.valid[at..end])?;
                    Some(&self.valid[at..end])
                }
                None => None,
            };
            page.rows -= end - at;
            let has_nulls = valid.is_some();
            let values = match (&mut page.values, valid) {
                (OpenValues::Coded(codes), None) if asked.len() * FEW < rows => {
                    let from = asked.partition_point(|row| (*row as usize) < at);
                    codes.read_at(&mut self.codes[at..end], row_number(at), &asked[from..])?;
                    Values::Coded
                }
                (values, valid) => values.take(&mut self.codes[at..end], valid, self.stored)?,
            };
            self.pieces.push(Piece { rows: at..end, values, has_nulls });
            at = end;
        }
        Ok(())
    }

    fn pass_over(&mut self, dictionary: &mut dyn FnMut(DictionaryPage) -> Result<()>) -> Result<()> {
        while self.skipped > 0 {
            if let Some(page) = self.open.as_mut().filter(|page| page.rows > 0) {
                let some = page.rows.min(self.skipped);
                page.skip(some, self.stored)?;
                self.skipped -= some;
                continue;
            }
            let next = self.pages.peek_next_page()?.ok_or_else(|| damage("there are fewer rows than it says"))?;
            match next.num_levels.or(next.num_rows) {
                Some(rows) if !next.is_dict && rows <= self.skipped => {
                    self.closed_rows =
                        self.closed_rows.checked_sub(rows).ok_or_else(|| damage("there are more rows than it says"))?;
                    self.pages.skip_next_page()?;
                    self.skipped -= rows;
                }
                _ => self.open_page(dictionary)?,
            }
        }
        Ok(())
    }

    fn open_page(&mut self, dictionary: &mut dyn FnMut(DictionaryPage) -> Result<()>) -> Result<()> {
        // Its bytes are let go of before those of the next one are asked for.
        self.open = None;
        let page = self.pages.get_next_page()?.ok_or_else(|| damage("there are fewer rows than it says"))?;
        let (encoding, count) = (page.encoding(), page.num_values() as usize);
        let (levels, values) = match page {
            Page::DictionaryPage { buf, .. } => {
                if self.has_dictionary || !matches!(encoding, Encoding::PLAIN | Encoding::PLAIN_DICTIONARY) {
                    return Err(damage("there is a dictionary that is not expected"));
                }
                self.has_dictionary = true;
                return dictionary(DictionaryPage { bytes: buf, count });
            }
            Page::DataPage { buf, .. } if !self.may_be_null => (None, buf),
            Page::DataPage { buf, def_level_encoding, .. } if is_packed(def_level_encoding) => {
                let end = count.div_ceil(8).min(buf.len());
                (Some(Hybrid::packed(buf.slice(..end), 1, count)?), buf.slice(end..))
            }
            Page::DataPage { buf, def_level_encoding, .. } => {
                if def_level_encoding != Encoding::RLE {
                    return Err(damage("levels are written in a way that is not known"));
                }
                let length = buf.first_chunk().map(|four| u32::from_le_bytes(*four) as usize);
                let end = length.and_then(|length| length.checked_add(4)).filter(|end| *end <= buf.len());
                let end = end.ok_or_else(|| damage("levels are cut off"))?;
                (levels_of(buf.slice(4..end), count)?, buf.slice(end..))
            }
            Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
                let start = rep_levels_byte_len as usize;
                let end = start.checked_add(def_levels_byte_len as usize).filter(|end| *end <= buf.len());
                let end = end.ok_or_else(|| damage("levels are cut off"))?;
                let levels = if self.may_be_null { levels_of(buf.slice(start..end), count)? } else { None };
                (levels, buf.slice(end..))
            }
        };
        self.closed_rows =
            self.closed_rows.checked_sub(count).ok_or_else(|| damage("there are more rows than it says"))?;
        self.open = Some(Open { rows: count, levels, values: self.values_of(values, encoding)? });
        Ok(())
    }

    fn values_of(&self, bytes: Bytes, encoding: Encoding) -> Result<OpenValues> {
        match encoding {
            Encoding::PLAIN if self.stored != Stored::Text => Ok(OpenValues::Plain(bytes)),
            Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => {
                if !self.has_dictionary {
                    return Err(damage("there are codes and no dictionary"));
                }
                // A page of nulls may have nothing more.
                let width = bytes.first().copied().unwrap_or_default();
                Ok(OpenValues::Coded(Hybrid::new(bytes.slice(bytes.len().min(1)..), width)?))
            }
            _ => Err(damage("values are written in a way that it does not tell")),
        }
    }
}

/// Which of so many rows have a value; nothing if all do.
fn levels_of(bytes: Bytes, count: usize) -> Result<Option<Hybrid>> {
    let mut levels = Hybrid::new(bytes, 1)?;
    let is_trivial = count == 0 || levels.is_all(count, 1)?;
    Ok((!is_trivial).then_some(levels))
}

impl Open {
    /// Passes over rows that it has.
    fn skip(&mut self, rows: usize, stored: Stored) -> Result<()> {
        self.rows -= rows;
        let mut values = rows;
        if let Some(levels) = &mut self.levels {
            values = 0;
            let (mut left, mut some) = (rows, [0; 512]);
            while left > 0 {
                let some = &mut some[..left.min(512)];
                levels.read(some)?;
                values += some.iter().filter(|level| **level == 1).count();
                left -= some.len();
            }
        }
        match &mut self.values {
            OpenValues::Coded(codes) => codes.skip(values),
            OpenValues::Plain(bytes) => split(bytes, values, stored).map(|_| ()),
        }
    }
}

impl OpenValues {
    /// Takes the values of as many rows as there are codes to fill. Of rows of which some may be null codes say where the
    /// value is.
    fn take(&mut self, codes: &mut [u32], valid: Option<&[u32]>, stored: Stored) -> Result<Values> {
        let Some(valid) = valid else {
            return match self {
                Self::Coded(hybrid) => hybrid.read(codes).map(|()| Values::Coded),
                Self::Plain(bytes) => split(bytes, codes.len(), stored).map(Values::Plain),
            };
        };
        let count = valid.iter().filter(|level| **level == 1).count();
        let values = match self {
            Self::Coded(hybrid) => {
                hybrid.read(&mut codes[..count])?;
                // From the last on, so that none is written over before it has been moved.
                let mut next = count;
                for row in (0..codes.len()).rev() {
                    let has_value = valid[row] == 1;
                    next -= usize::from(has_value);
                    codes[row] = if has_value { codes[next] } else { 0 };
                }
                Values::Coded
            }
            Self::Plain(bytes) => {
                let mut next = 0;
                for (code, level) in codes.iter_mut().zip(valid) {
                    *code = next;
                    next += u32::from(*level == 1);
                }
                Values::Plain(split(bytes, count, stored)?)
            }
        };
        Ok(values)
    }
}

/// A tile has a few thousand rows.
fn row_number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}

/// Takes so many values off the front.
fn split(bytes: &mut Bytes, count: usize, stored: Stored) -> Result<Bytes> {
    let size = stored.width().and_then(|width| width.checked_mul(count)).filter(|size| *size <= bytes.len());
    Ok(bytes.split_to(size.ok_or_else(|| damage("there are fewer values than rows"))?))
}
