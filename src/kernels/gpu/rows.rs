//! Rows that leave a device: which of them stay, and the columns that were computed.
//!
//! Columns that only pass through never come back: the host has them, and picks the rows that stay by the mask.

#![expect(clippy::cast_possible_truncation, reason = "numbers of rows and places in buffers are words of 32 bits")]

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, make_array};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::DataType;

use super::kind::Kind;
use super::pack::Gathered;
use super::pipelines::Pipelines;
use super::plan::{Output, RowPlan, Written, truth_bit};
use super::shader::{TILE, number};
use super::trouble::Trouble;
use super::worker::{Role, Sent, Wanted, Worker};
use crate::columnar::SchemaRef;
use crate::error::{Error, Result};
use crate::kernels::cpu::filter::Mask;
use crate::kernels::cpu::project::Program;

/// What a device made of the rows of a batch.
pub(super) struct Made {
    /// A bit for each row that stays; all do if none.
    mask: Option<BooleanBuffer>,
    /// The columns that were computed.
    columns: Vec<ArrayRef>,
    kept: usize,
}

/// The rows of a batch of one task.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Guess {
    /// Rows that stayed last time, and of how many.
    kept: usize,
    rows: usize,
}

impl Guess {
    /// Rows that will stay, with some room.
    fn of(&self, rows: usize) -> usize {
        let share = (rows * self.kept).checked_div(self.rows);
        share.map_or(rows / 2, |share| (share * 5 / 4 + TILE).min(rows))
    }
}

/// A batch that was submitted.
pub(super) struct Begun {
    sent: Sent,
    /// Where the flags of rows, and then each written column, begin, and how many bytes a row has there.
    places: Vec<(u64, u64)>,
    /// Rows that come back at once.
    guessed: usize,
}

/// Submits a batch.
pub(super) fn begin(
    plan: &RowPlan,
    worker: &mut Worker,
    pipelines: &Pipelines,
    gathered: &Arc<Gathered>,
    guess: &Guess,
) -> Result<Begun, Trouble> {
    let rows = gathered.rows;
    // First the word of flags of each row, then the columns one after the other.
    let mut numbers = vec![0; number::WRITTEN];
    let mut words = 0;
    let mut places = Vec::new();
    for width in std::iter::once(1).chain(plan.written.iter().map(|column| column.kind.words())) {
        numbers.push(words as u32);
        places.push((4 * words as u64, 4 * width as u64));
        words += width * rows;
    }
    let packed = gathered.place(&numbers);
    let tiles = rows.div_ceil(TILE);
    let workgroups = tiles as u32;
    let mask_bytes = (tiles * TILE / 8) as u64;
    if plan.mark.is_some() {
        worker.room(Role::MaskOrKeys, mask_bytes)?;
        worker.room(Role::TilesOrTickets, 4 * tiles as u64)?;
    }
    if plan.write.is_some() {
        worker.room(Role::OutputOrTable, 4 * words as u64)?;
    } else {
        places.clear();
    }
    // What does not fit is found out before rows are packed.
    worker.upload(gathered, packed)?;
    let mut encoder = worker.begin()?;
    if let Some([mark, scan]) = &plan.mark {
        worker.run(&mut encoder, &pipelines.get(mark)?, workgroups)?;
        worker.run(&mut encoder, &pipelines.get(scan)?, 1)?;
    }
    if let Some(write) = &plan.write {
        worker.run(&mut encoder, &pipelines.get(write)?, workgroups)?;
    }
    let guessed = if plan.mark.is_some() { guess.of(rows) } else { rows };
    let mut wanted = wanted(&places, 0, guessed);
    if plan.mark.is_some() {
        wanted.push((Role::MaskOrKeys, 0, mask_bytes));
    }
    Ok(Begun { sent: worker.submit(encoder, &wanted)?, places, guessed })
}

/// So many rows of what was written, from one on.
fn wanted(places: &[(u64, u64)], from: usize, count: usize) -> Vec<Wanted> {
    let part = |&(place, width): &(u64, u64)| (Role::OutputOrTable, place + width * from as u64, width * count as u64);
    places.iter().map(part).collect()
}

/// Waits for a batch.
pub(super) fn end(
    begun: &Begun,
    plan: &RowPlan,
    worker: &mut Worker,
    gathered: &Gathered,
    guess: &mut Guess,
) -> Result<Made, Trouble> {
    let (rows, Begun { sent, places, guessed }) = (gathered.rows, begun);
    let (status, mut parts) = worker.receive(sent)?;
    if status.failed > 0 {
        return Err(Trouble::Value);
    }
    let kept = if plan.mark.is_some() { status.kept as usize } else { rows };
    let mask = plan.mark.as_ref().and_then(|_| parts.pop());
    if kept > *guessed && !places.is_empty() {
        let more = worker.read(&wanted(places, *guessed, kept - guessed))?;
        parts.iter_mut().zip(more).for_each(|(part, more)| part.extend(more));
    }
    (guess.kept, guess.rows) = (kept, rows);
    let columns = if parts.is_empty() { Vec::new() } else { columns(plan, &parts, kept) };
    let mask = mask.map(|words| BooleanBuffer::new(Buffer::from_vec(words), 0, rows));
    let columns = columns.into_iter().collect::<Result<Vec<_>>>();
    Ok(Made { mask, columns: columns.map_err(|error| Trouble::Rejected(error.to_string()))?, kept })
}

fn columns(plan: &RowPlan, parts: &[Vec<u32>], kept: usize) -> Vec<Result<ArrayRef>> {
    let flags = &parts[0];
    let of = |(place, (written, words)): (usize, (&Written, &Vec<u32>))| {
        let bits = |bit: usize| BooleanBuffer::collect_bool(kept, |row| (flags[row] >> bit) & 1 == 1);
        let nulls = written.nullable.then(|| NullBuffer::new(bits(place))).filter(|nulls| nulls.null_count() > 0);
        if written.kind == Kind::Bool {
            return Ok(Arc::new(BooleanArray::new(bits(truth_bit(place)), nulls)) as ArrayRef);
        }
        column(&written.data_type, written.kind, &words[..written.kind.words() * kept], nulls)
    };
    plan.written.iter().zip(&parts[1..]).enumerate().map(of).collect()
}

/// A column made of words.
pub(super) fn column(data_type: &DataType, kind: Kind, words: &[u32], nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    fn cut<N: ArrowNativeType>(words: &[u32], cut: impl Fn(u32) -> N) -> Buffer {
        Buffer::from_vec(words.iter().map(|&word| cut(word)).collect::<Vec<N>>())
    }
    let values = match kind {
        Kind::Signed(8) | Kind::Unsigned(8) => cut(words, |word| word as u8),
        Kind::Signed(16) | Kind::Unsigned(16) => cut(words, |word| word as u16),
        // Decimals want to lie on more than a word's boundary.
        Kind::I128 => {
            let (quads, _) = words.as_chunks::<4>();
            let wide = |quad: &[u32; 4]| quad.iter().rev().fold(0_u128, |wide, &word| wide << 32 | u128::from(word));
            Buffer::from_vec(quads.iter().map(|quad| wide(quad).cast_signed()).collect::<Vec<i128>>())
        }
        _ if kind.words() == 2 => {
            let (pairs, _) = words.as_chunks::<2>();
            let wide = |pair: &[u32; 2]| u64::from(pair[1]) << 32 | u64::from(pair[0]);
            Buffer::from_vec(pairs.iter().map(wide).collect::<Vec<u64>>())
        }
        _ => Buffer::from_vec(words.to_vec()),
    };
    let builder = ArrayData::builder(data_type.clone()).len(words.len() / kind.words()).add_buffer(values);
    Ok(make_array(builder.nulls(nulls).build()?))
}

/// How the answer's columns are put together.
pub(super) struct Assembler {
    outputs: Vec<(Output, Option<Program>)>,
    schema: SchemaRef,
}

impl Assembler {
    pub(super) fn new(plan: &RowPlan, schema: SchemaRef) -> Result<Self> {
        let program = |output: &Output| match output {
            Output::Device(_) => Ok(None),
            Output::Host(expr) => Program::prepare(expr).map(Some),
        };
        let outputs = plan.outputs.iter().map(|output| Ok((output.clone(), program(output)?)));
        Ok(Self { outputs: outputs.collect::<Result<_>>()?, schema })
    }

    /// The rows that stay, piece by piece.
    pub(super) fn rows(&self, made: &Made, pieces: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        let (mut from, mut written) = (0, 0);
        let mut batches = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let kept = match &made.mask {
                None => piece.clone(),
                Some(mask) => {
                    let bits = mask.slice(from, piece.num_rows());
                    Mask::new(bits).apply(piece)?
                }
            };
            from += piece.num_rows();
            let rows = kept.num_rows();
            if rows > 0 {
                batches.push(self.assemble(made, &kept, written)?);
            }
            written += rows;
        }
        if written != made.kept {
            return Err(Error::internal("a device counted other rows than it marked"));
        }
        Ok(batches)
    }

    fn assemble(&self, made: &Made, kept: &RecordBatch, from: usize) -> Result<RecordBatch> {
        let column = |(output, program): &(Output, Option<Program>)| match (output, program) {
            (Output::Device(place), _) => Ok(made.columns[*place].slice(from, kept.num_rows())),
            (Output::Host(_), Some(program)) => program.evaluate(kept),
            (Output::Host(_), None) => Err(Error::internal("a column of the host has no program")),
        };
        let columns = self.outputs.iter().map(column).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(kept.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}
