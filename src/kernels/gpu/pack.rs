//! A batch packed for a device: a header, then each column, then its bits of validity.
//!
//! Nothing is widened on the way: a column of bytes travels as bytes, a condition as a bit a row, and whole numbers of 32 bits
//! and more as their distances from the least one where these have fewer bits (`narrow`). Columns begin on [`ALIGNMENT`] bytes.

#![expect(clippy::cast_possible_truncation, reason = "places in a buffer are words of 32 bits: its size is checked")]

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use arrow_data::ArrayData;
use arrow_ord::sort::sort_to_indices;
use arrow_select::take::take;
use rayon::prelude::*;

use super::columns::{Column, Columns, Source};
use super::grid::Span;
use super::kind::Kind;
use super::narrow::{self, Extremes, Tight, Width};
use super::shader::{COLUMN_WORDS, numbers_at};
use crate::columnar::DataType;
use crate::error::{Error, Result};
use crate::expr::TypedExpr;
use crate::kernels::cpu::group_ids::GroupIds;
use crate::kernels::cpu::project::Program;

/// Bytes on whose multiples columns begin.
const ALIGNMENT: usize = 256;

/// How the columns of a stage are made on the host.
#[derive(Debug)]
pub(super) struct Packer {
    columns: Vec<(Column, Option<Program>)>,
}

/// The columns of a batch, piece by piece.
pub(super) struct Gathered {
    pub(super) rows: usize,
    columns: Vec<GatheredColumn>,
}

struct GatheredColumn {
    kind: Kind,
    pieces: Vec<ArrayRef>,
    /// The least and the greatest value, where they have been looked for.
    extremes: Option<Extremes>,
    width: Width,
    /// How many different codes there are, if these are codes.
    codes: Option<usize>,
    /// The values, least first, if these are ranks.
    values: Option<ArrayRef>,
}

/// Where everything lies.
pub(super) struct Packed {
    header: Vec<u32>,
    /// For each column the bytes at which its values and its bits of validity begin.
    places: Vec<(usize, Option<usize>)>,
    pub(super) bytes: usize,
}

impl Packer {
    pub(super) fn new(columns: &Columns) -> Result<Self> {
        let program = |column: &Column| match &column.source {
            Source::Input(_) => Ok(None),
            Source::Hosted(expr) | Source::Coded(expr) | Source::Ranked(expr) => Program::prepare(expr).map(Some),
        };
        let columns = columns.0.iter().map(|column| Ok((column.clone(), program(column)?)));
        Ok(Self { columns: columns.collect::<Result<_>>()? })
    }

    /// Computes what the host has to compute.
    ///
    /// # Errors
    /// A value made of texts that cannot be computed: which row has it is for the CPU to say.
    pub(super) fn gather(&self, pieces: &[RecordBatch]) -> Result<Gathered> {
        let rows = pieces.iter().map(RecordBatch::num_rows).sum();
        let columns = self.columns.iter().map(|(column, program)| gather_column(column, program.as_ref(), pieces));
        Ok(Gathered { rows, columns: columns.collect::<Result<_>>()? })
    }
}

/// Rows that are looked at before any were packed.
const LOOKED_AT_MAX: usize = 1 << 14;

impl Packer {
    /// About as many bits as a row of these travels in; what the host computes counts as it is.
    pub(super) fn bits_of(&self, rows: &RecordBatch) -> u64 {
        let rows = rows.slice(0, rows.num_rows().min(LOOKED_AT_MAX));
        let width = |column: &Column| match &column.source {
            Source::Input(index) if narrow::may_be_narrow(column.kind) => {
                narrow::extremes(&[Arc::clone(rows.column(*index))]).ok().map(|found| Width::of(column.kind, found))
            }
            _ => None,
        };
        let bits = |(column, _): &(Column, Option<Program>)| width(column).unwrap_or(Width::whole(column.kind)).bits;
        self.columns.iter().map(bits).sum::<usize>() as u64
    }
}

fn gather_column(column: &Column, program: Option<&Program>, pieces: &[RecordBatch]) -> Result<GatheredColumn> {
    let made = |piece: &RecordBatch| match (&column.source, program) {
        (Source::Input(index), _) => Ok(Arc::clone(piece.column(*index))),
        (_, Some(program)) => program.evaluate(piece),
        (_, None) => Err(Error::internal("a column of a device has no program")),
    };
    let mut arrays = pieces.iter().map(made).collect::<Result<Vec<_>>>()?;
    let (mut codes, mut values) = (None, None);
    if let Source::Ranked(_) = &column.source {
        values = Some(ranked(&mut arrays)?);
    }
    if let Source::Coded(expr) = &column.source {
        let mut ids = GroupIds::new([&expr.data_type])?;
        let mut of_rows = Vec::new();
        for array in &mut arrays {
            ids.assign(&[Arc::clone(array)], &mut of_rows)?;
            *array = Arc::new(UInt32Array::from(of_rows.clone()));
        }
        codes = Some(ids.len());
    }
    let known = codes.or(values.as_ref().map(|values| values.len()));
    let extremes = match known {
        Some(known) => Some((0, known.saturating_sub(1) as i128)),
        None if narrow::may_be_narrow(column.kind) => Some(narrow::extremes(&arrays)?),
        None => None,
    };
    let width = extremes.map_or(Width::whole(column.kind), |extremes| Width::of(column.kind, extremes));
    Ok(GatheredColumn { kind: column.kind, pieces: arrays, extremes, width, codes, values })
}

/// Puts ranks in the place of texts or bytes; gives the values in their order.
fn ranked(pieces: &mut [ArrayRef]) -> Result<ArrayRef> {
    let plain = |array: &ArrayRef| match array.data_type() {
        DataType::Dictionary(_, values) => arrow_cast::cast(array, values),
        _ => Ok(Arc::clone(array)),
    };
    let all = pieces.iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    let data_type = all.first().map_or(DataType::Utf8, |array| array.data_type().clone());
    let mut ids = GroupIds::new([&data_type])?;
    let mut codes = Vec::with_capacity(all.len());
    for array in &all {
        let mut of_rows = Vec::new();
        ids.assign(&[Arc::clone(array)], &mut of_rows)?;
        codes.push(of_rows);
    }
    let values = ids.keys()?.pop().ok_or_else(|| Error::internal("values were numbered and are gone"))?;
    // Of nulls nobody asks the rank.
    let order = sort_to_indices(&values, None, None)?;
    let mut ranks = vec![0_u32; values.len()];
    (0_u32..).zip(order.values()).for_each(|(rank, &id)| ranks[id as usize] = rank);
    for ((piece, array), codes) in pieces.iter_mut().zip(&all).zip(codes) {
        let ranks = codes.into_iter().map(|id| ranks[id as usize]).collect::<Vec<_>>();
        *piece = Arc::new(UInt32Array::new(ranks.into(), array.logical_nulls()));
    }
    Ok(take(&values, &order, None)?)
}

impl Gathered {
    /// The least value of a column and how many there are up to the greatest; null has a number of its own, the last.
    /// None if the numbers do not fit 31 bits.
    pub(super) fn range(&self, column: usize) -> Option<(i64, u32)> {
        let column = &self.columns[column];
        if let Some(codes) = column.codes {
            return Some((0, u32::try_from(codes.max(1)).ok()?));
        }
        let (least, most) = column.extremes.map_or_else(|| narrow::extremes(&column.pieces).ok(), Some)?;
        // One number more, for null.
        let count = if least > most { 1 } else { most - least + 2 };
        let least = if least > most { 0 } else { least };
        // Numbers without a sign are compared as they are, so that their lowest 64 bits will do.
        Some((least as i64, u32::try_from(count).ok().filter(|&count| count < 1 << 31)?))
    }

    /// Bits that a row travels in.
    pub(super) fn bits(&self) -> u64 {
        self.columns.iter().map(|column| column.width.bits).sum::<usize>() as u64
    }

    /// The values of a column of ranks, least first.
    pub(super) fn values(&self, column: usize) -> Option<&ArrayRef> {
        self.columns[column].values.as_ref()
    }

    /// The exponents of all floats in the columns that these expressions of the input can see.
    pub(super) fn span(&self, expr: &TypedExpr, columns: &Columns) -> Span {
        let used = expr.columns();
        let of = |(column, gathered): (&Column, &GatheredColumn)| {
            let counts = match &column.source {
                Source::Input(input) => used.contains(input),
                Source::Hosted(_) => true,
                Source::Coded(_) | Source::Ranked(_) => false,
            };
            let pieces = gathered.pieces.iter().filter(|_| counts && column.kind.is_float());
            pieces.fold(Span::NONE, |span, piece| span.and(Span::of_column(piece)))
        };
        let all = columns.0.iter().zip(&self.columns).map(of);
        all.fold(Span::of_constants(expr), Span::and)
    }

    /// Finds a place for everything. `numbers` are those that kernels ask for by name.
    pub(super) fn place(&self, numbers: &[u32]) -> Packed {
        let mut header = vec![0; numbers_at(self.columns.len())];
        header[0] = self.rows as u32;
        header.extend_from_slice(numbers);
        let mut bytes = (4 * header.len()).next_multiple_of(ALIGNMENT);
        let mut take = |more: usize| {
            let place = bytes;
            bytes += more.next_multiple_of(ALIGNMENT);
            place
        };
        let mut places = Vec::with_capacity(self.columns.len());
        for (column, header) in self.columns.iter().zip(header[1..].chunks_exact_mut(COLUMN_WORDS)) {
            let values = take((self.rows * column.width.bits).div_ceil(8));
            let has_nulls = column.pieces.iter().any(|piece| piece.null_count() > 0);
            let validity = has_nulls.then(|| take(self.rows.div_ceil(8)));
            header[0] = (values / 4) as u32;
            header[1] = validity.map_or(0, |at| (at / 4) as u32);
            header[2..].copy_from_slice(&column.width.words());
            places.push((values, validity));
        }
        Packed { header, places, bytes }
    }

    /// Whether several threads are worth it.
    pub(super) fn is_much(&self) -> bool {
        let bits = self.columns.iter().map(|column| column.width.bits).sum::<usize>();
        (self.rows * bits.max(8)) / 8 >= 2 * PART_BYTES
    }

    /// Writes everything into mapped memory, by several threads if it is much.
    pub(super) fn write(&self, packed: &Packed, target: &wgpu::Buffer) -> Result<(), wgpu::MapRangeError> {
        let mut parts = vec![Part { at: 0, bytes: 4 * packed.header.len(), source: Lies::Header(&packed.header) }];
        for (column, &(values, validity)) in self.columns.iter().zip(&packed.places) {
            let bytes = (self.rows * column.width.bits).div_ceil(8);
            match column.kind {
                Kind::Bool => parts.push(Part { at: values, bytes: self.rows.div_ceil(8), source: Lies::Bits(column) }),
                _ => {
                    // Fewer bits than a byte take as long to make.
                    let most = PART_BYTES * column.width.bits.min(8) / 8;
                    parts.extend((0..bytes).step_by(most).map(|from| Part {
                        at: values + from,
                        bytes: most.min(bytes - from),
                        source: Lies::Values { column, from },
                    }));
                }
            }
            if let Some(at) = validity {
                parts.push(Part { at, bytes: self.rows.div_ceil(8), source: Lies::Validity(column) });
            }
        }
        let write = |part: Part<'_>| part.write(self.rows, target);
        match self.is_much() && rayon::current_num_threads() > 1 {
            true => parts.into_par_iter().try_for_each(write),
            false => parts.into_iter().try_for_each(write),
        }
    }
}

impl GatheredColumn {
    /// Writes the values of some rows as they travel; `write` gets them in order, with the byte at which they begin.
    fn write(&self, values: &ArrayData, rows: Range<usize>, mut write: impl FnMut(usize, &[u8])) {
        if !self.width.is_whole(self.kind) {
            return self.width.write(values, rows, self.kind, write);
        }
        let (width, offset) = (self.kind.bits() / 8, values.offset());
        write(0, &values.buffers()[0].as_slice()[(offset + rows.start) * width..(offset + rows.end) * width]);
    }

    /// The same for all pieces at once, where several values share a byte.
    fn write_tight(&self, rows: Range<usize>, mut write: impl FnMut(usize, &[u8])) {
        let (mut tight, mut at) = (Tight::new(self.width.bits), 0);
        for piece in &self.pieces {
            let data = piece.to_data();
            let (first, last) = (rows.start.max(at), rows.end.min(at + data.len()));
            if first < last {
                let distances = |_, distances: &[u8]| tight.push(distances, &mut write);
                self.width.in_bytes().write(&data, first - at..last - at, self.kind, distances);
            }
            at += data.len();
        }
        tight.flush(&mut write);
    }
}

/// Bytes that a thread writes in a row, of several bytes a value or of one: an eighth of it is a multiple of what mapped memory
/// is cut by.
const PART_BYTES: usize = 1 << 20;

/// A part of a packed batch: where it begins, and how many bytes it has.
struct Part<'a> {
    at: usize,
    bytes: usize,
    source: Lies<'a>,
}

/// Where the bytes of a part lie.
enum Lies<'a> {
    Header(&'a [u32]),
    /// The values of a column as they travel, from this byte of all on.
    Values {
        column: &'a GatheredColumn,
        from: usize,
    },
    Bits(&'a GatheredColumn),
    Validity(&'a GatheredColumn),
}

impl Part<'_> {
    fn write(self, rows: usize, target: &wgpu::Buffer) -> Result<(), wgpu::MapRangeError> {
        // Parts begin at multiples of this, and behind each there is room up to the next one.
        let end = self.at + self.bytes.next_multiple_of(8);
        let mut view = target.get_mapped_range_mut(self.at as u64..end as u64)?;
        match self.source {
            Lies::Header(header) => view.slice(..self.bytes).copy_from_slice(bytemuck::cast_slice(header)),
            Lies::Bits(column) => {
                write_bits(column.pieces.iter().map(|piece| Ok(piece.as_boolean().values().clone())), rows, &mut view);
            }
            Lies::Validity(column) => {
                let bits = |piece: &ArrayRef| piece.nulls().map(|nulls| nulls.inner().clone()).ok_or(piece.len());
                write_bits(column.pieces.iter().map(bits), rows, &mut view);
            }
            Lies::Values { column, from } if column.width.bits < 8 => {
                let in_byte = 8 / column.width.bits;
                let rows = from * in_byte..rows.min((from + self.bytes) * in_byte);
                column.write_tight(rows, |place, bytes| {
                    view.slice(place..place + bytes.len()).copy_from_slice(bytes);
                });
            }
            Lies::Values { column, from } => {
                let (width, mut at) = (column.width.bits / 8, 0);
                for piece in &column.pieces {
                    let data = piece.to_data();
                    let (first, last) = (from.max(at), (from + self.bytes).min(at + data.len() * width));
                    if first < last {
                        let rows = (first - at) / width..(last - at) / width;
                        column.write(&data, rows, |place, bytes| {
                            let place = first - from + place;
                            view.slice(place..place + bytes.len()).copy_from_slice(bytes);
                        });
                    }
                    at += data.len() * width;
                }
            }
        }
        Ok(())
    }
}

/// Writes bits, piece by piece; a piece whose bits are all set only says how many there are.
fn write_bits(
    pieces: impl Iterator<Item = Result<BooleanBuffer, usize>>,
    rows: usize,
    target: &mut wgpu::BufferViewMut,
) {
    let mut all = BooleanBufferBuilder::new(rows);
    for piece in pieces {
        match piece {
            Ok(bits) => all.append_buffer(&bits),
            Err(len) => all.append_n(len, true),
        }
    }
    target.slice(..all.as_slice().len()).copy_from_slice(all.as_slice());
}
