//! Sums straight from columns: filter, expressions and sums of numbers in one pass over a tile, with no column made between.
//!
//! ```text
//! terms: a bit a row ──▶ numbers: a few hundred rows in 64-bit lanes ──▶ reduce::few: sums under masks
//! ```
//!
//! A stage goes this way if its filter is made of comparisons of columns with constants, and its end sums and counts numbers
//! that are made by additions, subtractions, multiplications and divisions, of all rows or by key. A tile goes this way if
//! nothing in it is null, its groups are few and known, and all that is computed is proven to fit 64 bits. The general way, step
//! by step, takes all others, and words the errors; both give the same answer.

mod lanes;
mod numbers;
mod source;
mod terms;

use self::numbers::{Numbers, Room, Rows};
use self::source::Source;
use self::terms::{LINE, Terms};
use super::reduce::few::{Masks, ROWS};
use super::reduce::{Groups, KeyedReduce};
use crate::columnar::{ArrayRef, RecordBatch};
use crate::expr::{TypedExpr, TypedNode};
use crate::plan::stage::{End, NamedExpr, Stage, Step};

/// Where so few of the rows are kept, one in this many, these are read one by one.
const SPARSE: usize = 8;

/// Rows between those that are computed and those whose memory is asked for.
const AHEAD: usize = 2 * ROWS;

/// So many rows a tile has at most: their lines can be counted by `u16`.
const TILE_MAX: usize = LINE << 16;

/// Rows of a word of bits.
const WORD_ROWS: usize = 64;

/// A stage that can go this way. Columns are those of the batch behind the first picks.
#[derive(Debug)]
pub(super) struct Direct {
    terms: Terms,
    numbers: Numbers,
    /// For each aggregate the place of its input.
    inputs: Vec<Option<usize>>,
    keys: Vec<usize>,
    /// How many different inputs there are.
    sums: usize,
    /// All columns whose numbers are read.
    columns: Vec<usize>,
}

/// What a task keeps for its memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    bits: Vec<u8>,
    lines: Vec<u16>,
    words: Vec<u64>,
    places: Vec<u32>,
    keys: Vec<ArrayRef>,
    room: Room,
    masks: Masks,
}

/// What of a tile was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// So many rows, from the first one on.
    pub(super) rows: usize,
    /// How many of them the filter kept.
    pub(super) kept: usize,
}

/// Nothing was.
const NOTHING: Taken = Taken { rows: 0, kept: 0 };

impl Direct {
    /// The way for a stage, if there is one.
    pub(super) fn compile(stage: &Stage, reduce: &KeyedReduce) -> Option<Self> {
        let End::Reduce { keys, aggregates } = &stage.end else { return None };
        if !reduce.takes_numbers() {
            return None;
        }
        let mut steps = stage.steps.iter().skip_while(|step| picked(step).is_some());
        let mut columns = Vec::new();
        let mut uses = |column: usize| {
            if !columns.contains(&column) {
                columns.push(column);
            }
        };
        let terms = match steps.next() {
            None => Terms::default(),
            Some(Step::Filter { predicate }) => Terms::compile(predicate, &mut uses)?,
            Some(_) => return None,
        };
        // What is picked behind the filter has other indexes there.
        let behind = match steps.next() {
            None => None,
            Some(step) => Some(picked(step)?),
        };
        if steps.next().is_some() {
            return None;
        }
        let before = |column: usize| behind.as_ref().map_or(Some(column), |behind| behind.get(column).copied());
        let mut numbers = Numbers::default();
        let mut inputs = Vec::new();
        for aggregate in aggregates {
            let mut place = |input| numbers.compile(input, &before, &mut uses);
            inputs.push(match &aggregate.input {
                None => None,
                Some(input) => Some(place(input)?),
            });
        }
        let keys = keys.iter().map(|key| column(&key.expr).and_then(before)).collect::<Option<_>>()?;
        let mut sums: Vec<_> = inputs.iter().flatten().collect();
        sums.sort_unstable();
        sums.dedup();
        let sums = sums.len();
        Some(Self { terms, numbers, inputs, keys, sums, columns })
    }

    /// Whether rows may be left out.
    pub(super) fn filters(&self) -> bool {
        !self.terms.is_empty()
    }

    /// Takes in as many rows of a tile, from the first one on, as can go this way.
    pub(super) fn take_in(&self, tile: &RecordBatch, groups: &mut Groups, scratch: &mut Scratch) -> Taken {
        let Scratch { bits, lines, words, places, keys, room, masks } = scratch;
        let (rows, count) = (tile.num_rows(), groups.few());
        let has_numbers = |&column: &usize| Source::of(tile.column(column)).is_some();
        let Some(count) = count.filter(|_| rows < TILE_MAX && self.columns.iter().all(has_numbers)) else {
            return NOTHING;
        };
        let source = |column: usize| Source::of(tile.column(column));
        let kept = if self.filters() {
            let Some(kept) = self.terms.ask(source, rows, bits, lines) else { return NOTHING };
            words.clear();
            words.extend(bits.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)));
            kept
        } else {
            rows
        };
        if kept == 0 {
            return Taken { rows, kept };
        }
        let is_sparse = kept <= rows / SPARSE;
        if is_sparse && !self.keys.is_empty() {
            return NOTHING;
        }
        if is_sparse {
            list(words, places);
            for (chunk, chosen) in places.chunks(ROWS).enumerate() {
                masks.set_all(chosen.len());
                if !self.take_rows(Rows::Numbered(chosen), &source, groups, (room, masks), |_| ()) {
                    return Taken { rows: chosen[0] as usize, kept: chunk * ROWS };
                }
            }
            return Taken { rows, kept };
        }
        keys.clear();
        keys.extend(self.keys.iter().map(|&key| tile.column(key).clone()));
        if !keys.is_empty() && !groups.find(keys) {
            keys.clear();
            return NOTHING;
        }
        keys.clear();
        let mut done = 0;
        for from in (0..rows).step_by(ROWS) {
            let len = ROWS.min(rows - from);
            let words = self.filters().then(|| &words[from / WORD_ROWS..][..len.div_ceil(WORD_ROWS)]);
            let kept = words.map_or(len, |words| words.iter().map(|word| word.count_ones() as usize).sum());
            if kept == 0 {
                continue;
            }
            match (words, groups.found(from, len)) {
                (_, Some(ids)) if !self.keys.is_empty() => {
                    masks.set_groups(ids, count, words.unwrap_or(&ALL));
                }
                (Some(words), _) if kept < len => masks.set_kept(len, words),
                _ => masks.set_all(len),
            }
            let ahead = |step| self.ask_ahead(&source, rows, from, step);
            if !self.take_rows(Rows::Span(from, len), &source, groups, (room, masks), ahead) {
                return Taken { rows: from, kept: done };
            }
            done += kept;
        }
        Taken { rows, kept }
    }

    /// Takes some rows in; false, and nothing done, if a number may not fit. Calls `between` before each step, which are counted.
    fn take_rows<'a>(
        &self,
        rows: Rows<'_>,
        source: &impl Fn(usize) -> Option<Source<'a>>,
        groups: &mut Groups,
        (room, masks): (&mut Room, &Masks),
        mut between: impl FnMut(usize),
    ) -> bool {
        if !self.numbers.compute(source, rows, room, &mut between) {
            return false;
        }
        let mut steps = self.numbers.steps()..;
        groups.take_made(masks, |place| {
            steps.next().into_iter().for_each(&mut between);
            Some(self.numbers.result(self.inputs[place]?, source, rows, room))
        })
    }

    /// Asks for memory that a later step needs, evenly over all steps, so that it is on its way while these compute: the
    /// numbers of rows some way behind those from `from` on, and of those of the next tile what the filter asks of all.
    fn ask_ahead<'a>(&self, source: &impl Fn(usize) -> Option<Source<'a>>, rows: usize, from: usize, step: usize) {
        let steps = self.numbers.steps() + self.sums;
        let (first, end) = (ROWS * step / steps, ROWS * (step + 1) / steps);
        for &column in &self.columns {
            let ahead = if Some(column) == self.terms.first() { rows } else { AHEAD };
            source(column).iter().for_each(|source| source.prefetch(from + ahead + first, end - first));
        }
    }
}

/// Bits of rows that are all kept.
static ALL: [u64; ROWS / WORD_ROWS] = [u64::MAX; ROWS / WORD_ROWS];

/// The columns that a step picks, if that is all that it does.
fn picked(step: &Step) -> Option<Vec<usize>> {
    let Step::Project { columns, .. } = step else { return None };
    columns.iter().map(|one: &NamedExpr| column(&one.expr)).collect()
}

fn column(expr: &TypedExpr) -> Option<usize> {
    match &expr.node {
        TypedNode::Column(index, _) => Some(*index),
        _ => None,
    }
}

/// The numbers of the rows whose bits are set.
#[expect(clippy::cast_possible_truncation, reason = "a tile has fewer rows than u32 can count")]
fn list(words: &[u64], places: &mut Vec<u32>) {
    places.clear();
    for (index, word) in words.iter().enumerate() {
        let mut left = *word;
        while left != 0 {
            places.push((index * WORD_ROWS) as u32 + left.trailing_zeros());
            left &= left - 1;
        }
    }
}
