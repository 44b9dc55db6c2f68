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
mod task;
mod terms;

use self::numbers::{Numbers, Room, Rows};
use self::source::Source;
use self::terms::{LINE, Terms};
use super::reduce::few::{Masks, ROWS};
use super::reduce::{Groups, KeyedReduce};
use super::step::read_key;
use crate::columnar::{ArrayRef, RecordBatch};
use crate::expr::{TypedExpr, TypedNode};
use crate::plan::stage::{End, NamedExpr, Stage, Step};

/// Where so few of the rows are kept, one in this many, these are read one by one.
const SPARSE: usize = 8;

/// Rows between those that are computed and those whose memory is asked for.
const AHEAD: usize = 2 * ROWS;

/// From more columns no sums are made this way.
const SOURCES_MAX: usize = 16;

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
        let mut source = |column: usize| {
            columns.iter().position(|&other| other == column).unwrap_or_else(|| {
                columns.push(column);
                columns.len() - 1
            })
        };
        let terms = match steps.next() {
            None => Terms::default(),
            Some(Step::Filter { predicate }) => Terms::compile(predicate, &mut source)?,
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
            let mut place = |input| numbers.compile(input, &mut |column| before(column).map(&mut source));
            inputs.push(match &aggregate.input {
                None => None,
                Some(input) => Some(place(input)?),
            });
        }
        let keys = keys.iter().map(|key| column(read_key(&key.expr)).and_then(before)).collect::<Option<_>>()?;
        if columns.len() > SOURCES_MAX {
            return None;
        }
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
        let (rows, Some(count)) = (tile.num_rows(), groups.few()) else { return NOTHING };
        let mut sources = [Source::Int8(&[]); SOURCES_MAX];
        for (source, &column) in sources.iter_mut().zip(&self.columns) {
            let Some(found) = Source::of(tile.column(column)) else { return NOTHING };
            *source = found;
        }
        let sources = &sources[..self.columns.len()];
        let mut kept = rows;
        if self.filters() {
            if rows >= TILE_MAX || !self.terms.ask(sources, rows, bits, lines) {
                return NOTHING;
            }
            words.clear();
            words.extend(bits.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)));
            kept = words.iter().map(|word| word.count_ones() as usize).sum();
        }
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
                if !self.take_rows(Rows::Numbered(chosen), sources, groups, (room, masks), |_| ()) {
                    return Taken { rows: chosen[0] as usize, kept: chunk * ROWS };
                }
            }
            return Taken { rows, kept };
        }
        keys.clear();
        keys.extend(self.keys.iter().map(|&key| ArrayRef::clone(tile.column(key))));
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
            let ahead = |step| self.ask_ahead(sources, rows, from, step);
            if !self.take_rows(Rows::Span(from, len), sources, groups, (room, masks), ahead) {
                return Taken { rows: from, kept: done };
            }
            done += kept;
        }
        Taken { rows, kept }
    }

    /// Takes some rows in; false, and nothing done, if a number may not fit. Calls `between` before each step, which are counted.
    fn take_rows(
        &self,
        rows: Rows<'_>,
        sources: &[Source<'_>],
        groups: &mut Groups,
        (room, masks): (&mut Room, &Masks),
        mut between: impl FnMut(usize),
    ) -> bool {
        if !self.numbers.compute(sources, rows, room, &mut between) {
            return false;
        }
        let mut steps = self.numbers.steps()..;
        groups.take_made(masks, |place| {
            steps.next().into_iter().for_each(&mut between);
            Some(self.numbers.result(self.inputs[place]?, sources, rows, room))
        })
    }

    /// Asks for memory that a later step needs, evenly over all steps, so that it is on its way while these compute: the
    /// numbers of rows some way behind those from `from` on, and of those of the next tile what the filter asks of all.
    fn ask_ahead(&self, sources: &[Source<'_>], rows: usize, from: usize, step: usize) {
        let steps = self.numbers.steps() + self.sums;
        let (first, end) = (ROWS * step / steps, ROWS * (step + 1) / steps);
        for (place, source) in sources.iter().enumerate() {
            let ahead = if Some(place) == self.terms.first() { rows } else { AHEAD };
            source.prefetch(from + ahead + first, end - first);
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

#[cfg(test)]
#[expect(clippy::cast_possible_wrap, reason = "any numbers will do")]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, StringArray};

    use super::*;
    use crate::columnar::{DataType, Field};
    use crate::expr::{Aggregate, Expr, TypedAggregate, col, len, lit};
    use crate::plan::stage::StageId;

    /// Each row's letters, two decimals, and numbers.
    fn tile(rows: usize) -> RecordBatch {
        let decimals = |of: fn(i128) -> i128| -> ArrayRef {
            let values = (0..rows).map(|row| of(row as i128));
            Arc::new(Decimal128Array::from_iter_values(values).with_precision_and_scale(15, 2).unwrap())
        };
        let columns: [(&str, ArrayRef); 7] = [
            ("letter", Arc::new((0..rows).map(|row| Some(["A", "N", "R"][row % 3])).collect::<StringArray>())),
            ("status", Arc::new((0..rows).map(|row| Some(["F", "O"][row % 2])).collect::<StringArray>())),
            ("price", decimals(|row| row * 1_001)),
            ("discount", decimals(|row| row % 11)),
            ("i", Arc::new((0..rows).map(|row| Some(row as i64)).collect::<Int64Array>())),
            ("f", Arc::new((0..rows).map(|row| Some(row as f64 / 10.0)).collect::<Float64Array>())),
            ("g", Arc::new((0..rows).map(|row| Some((row % 7) as f32)).collect::<Float32Array>())),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    /// What of the tile is taken in once its keys are known; none if the stage has no such way.
    fn taken(tile: &RecordBatch, filter: Option<Expr>, keys: &[&str], aggregates: Vec<Aggregate>) -> Option<Taken> {
        let schema = tile.schema();
        let named = |key: &&str| {
            let expr = match schema.field_with_name(key).unwrap().data_type() {
                // Plans group by the texts, not by the codes.
                DataType::Dictionary(_, texts) => col(*key).cast(texts.as_ref().clone()),
                _ => col(*key),
            };
            NamedExpr { name: (*key).to_owned(), expr: expr.typed(&schema).unwrap() }
        };
        let keys: Vec<NamedExpr> = keys.iter().map(named).collect();
        let aggregates: Vec<TypedAggregate> = aggregates.iter().map(|one| one.typed(&schema).unwrap()).collect();
        let fields: Vec<Field> =
            keys.iter().map(|key| Field::new(&key.name, key.expr.data_type.clone(), key.expr.nullable)).collect();
        let reduce = KeyedReduce::prepare(&fields, &aggregates).unwrap();
        let stage = Stage {
            id: StageId(0),
            inputs: Vec::new(),
            input_schema: Arc::clone(&schema),
            steps: filter.iter().map(|one| Step::Filter { predicate: one.typed(&schema).unwrap() }).collect(),
            end: End::Reduce { keys: keys.clone(), aggregates: aggregates.clone() },
            output_schema: reduce.output_schema(),
        };
        let direct = Direct::compile(&stage, &reduce)?;
        let mut groups = reduce.begin().unwrap();
        if !keys.is_empty() {
            let columns: Vec<ArrayRef> = direct.keys.iter().map(|&key| ArrayRef::clone(tile.column(key))).collect();
            let program = |one: &TypedAggregate| {
                let program = crate::kernels::cpu::project::Program::prepare(one.input.as_ref()?).unwrap();
                Some(program.evaluate(tile).unwrap())
            };
            let inputs: Vec<_> = aggregates.iter().map(program).collect();
            groups.update(&columns, &inputs, &vec![None; inputs.len()], tile.num_rows()).unwrap();
        }
        Some(direct.take_in(tile, &mut groups, &mut Scratch::default()))
    }

    #[test]
    fn keys_that_come_as_codes_are_known_as_well() {
        let plain = tile(3_000);
        let mut columns = plain.columns().to_vec();
        columns[0] = arrow_cast::cast(&columns[0], &crate::columnar::data_type::coded_text()).unwrap();
        let names = plain.schema();
        let names = names.fields().iter().map(|field| field.name().clone());
        let coded = RecordBatch::try_from_iter(names.zip(columns)).unwrap();
        for keys in [&["letter"][..], &["letter", "status"]] {
            let filter = Some(col("i").lt(lit(2_000_i64)));
            assert_eq!(taken(&coded, filter, keys, sums()), Some(Taken { rows: 3_000, kept: 2_000 }), "{keys:?}");
        }
    }

    fn sums() -> Vec<Aggregate> {
        let sale = || col("price") * (lit(1) - col("discount"));
        vec![
            sale().sum().alias("sale"),
            col("price").mean().alias("price"),
            (col("f") * col("g")).sum().alias("f"),
            len(),
        ]
    }

    /// The answers are compared with the reference elsewhere; here it is seen that this way is really gone.
    #[test]
    fn tiles_of_numbers_and_letters_are_taken_in_as_a_whole() {
        for rows in [1, 63, 64, 65, 511, 512, 513, 4095, 4096, 4097] {
            let tile = tile(rows);
            let all = Some(Taken { rows, kept: rows });
            assert_eq!(taken(&tile, None, &[], sums()), all);
            assert_eq!(taken(&tile, None, &["letter", "status"], sums()), all);
            assert_eq!(taken(&tile, None, &["status"], sums()), all);
            for most in [0, rows / 20, rows / 3, rows] {
                let kept = Some(Taken { rows, kept: most });
                let filter = col("i").lt(most as i64).and(col("f").gt_eq(-1.0));
                assert_eq!(taken(&tile, Some(filter.clone()), &[], sums()), kept, "{most} of {rows}");
                if most > rows / 4 {
                    assert_eq!(taken(&tile, Some(filter), &["letter"], sums()), kept, "{most} of {rows}, by key");
                }
            }
        }
    }

    #[test]
    fn what_may_not_fit_is_left_from_its_rows_on() {
        let tile = tile(2_000);
        let with = |place: usize, column: ArrayRef| {
            let mut columns = tile.columns().to_vec();
            columns[place] = column;
            RecordBatch::try_new(tile.schema(), columns).unwrap()
        };
        let odd = |row: i64| if row == 1_700 { i64::MAX } else { row };
        let wide = with(4, Arc::new((0..2_000).map(|row| Some(odd(row))).collect::<Int64Array>()));
        let plus = || vec![(col("i") + 1).sum().alias("sum")];
        assert_eq!(taken(&wide, None, &[], plus()), Some(Taken { rows: 1_536, kept: 1_536 }));
        let (few, kept) = (col("price").lt(lit(1_001)).or(col("i").gt(0)), col("f").gt_eq(190.0));
        assert_eq!(taken(&wide, Some(few), &[], plus()), None, "a filter that is no row of comparisons");
        assert_eq!(taken(&wide, Some(kept), &[], plus()), Some(Taken { rows: 2_000, kept: 100 }));
        let float = |row: i32| if row == 600 { f64::NAN } else { f64::from(row) };
        let wild = with(5, Arc::new((0..2_000).map(|row| Some(float(row))).collect::<Float64Array>()));
        assert_eq!(taken(&wild, None, &[], sums()), Some(Taken { rows: 512, kept: 512 }));
    }

    #[test]
    fn other_ends_types_and_keys_go_another_way() {
        let tile = tile(100);
        assert_eq!(taken(&tile, None, &[], vec![col("f").min().alias("least")]), None);
        assert_eq!(taken(&tile, None, &[], vec![col("letter").count().alias("letters")]), None);
        assert_eq!(taken(&tile, None, &["i"], sums()), Some(NOTHING), "too many groups");
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![1; 100]));
        let tile = RecordBatch::try_from_iter([("k", narrow), ("f", ArrayRef::clone(tile.column(5)))]).unwrap();
        assert_eq!(taken(&tile, None, &["k"], vec![col("f").sum()]), Some(NOTHING), "keys that are no letters");
    }
}
