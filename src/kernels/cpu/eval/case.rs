//! `CASE`: of several values, the first whose condition is true.
//!
//! Everything is computed for every row and chosen from. Only if that fails (an overflow, a cast), each part is computed
//! again for the rows that need it, so that a value nobody chose raises no error.

use arrow_array::cast::AsArray;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use arrow_select::filter::{FilterBuilder, prep_null_mask_filter};
use arrow_select::interleave::interleave;
use arrow_select::zip::zip;

use super::case_text::select_texts;
use super::native::by_number;
use super::operand::{Operand, logical, natives, physical, primitive, selected_nulls};
use super::{Node, Scope, Site, compile};
use crate::columnar::DataType;
use crate::error::Result;
use crate::expr::{TypedExpr, TypedNode};
use crate::kernels::cpu::simd::compiled_for;

/// A compiled choice.
pub(super) struct Case {
    branches: Vec<(Node, Node)>,
    otherwise: Option<Node>,
    /// Columns that conditions and values use.
    used: Vec<usize>,
}

impl Case {
    pub(super) fn compile(branches: &[(TypedExpr, TypedExpr)], otherwise: Option<&TypedExpr>) -> Result<Self> {
        let parts = || branches.iter().flat_map(|(condition, value)| [condition, value]).chain(otherwise);
        let mut used = Vec::new();
        parts().for_each(|part| collect_columns(part, &mut used));
        used.sort_unstable();
        used.dedup();
        let both = |(condition, value)| Ok((compile(condition)?, compile(value)?));
        let branches = branches.iter().map(|(condition, value)| both((condition, value))).collect::<Result<_>>()?;
        Ok(Self { branches, otherwise: otherwise.map(compile).transpose()?, used })
    }

    pub(super) fn evaluate(&self, scope: &Scope<'_>, site: &Site) -> Result<Operand> {
        self.choose(scope, &site.data_type).or_else(|_| self.compute_chosen(scope, &site.data_type))
    }

    /// Everything for every row; from the last branch to the first, each takes the rows that are its own.
    fn choose(&self, scope: &Scope<'_>, to: &DataType) -> Result<Operand> {
        let mut answer = match &self.otherwise {
            Some(value) => value.evaluate(scope)?,
            None => Operand::null(to),
        };
        for (condition, value) in self.branches.iter().rev() {
            let chosen = chosen_rows(condition.evaluate(scope)?, scope.rows)?;
            answer = select(&chosen, &value.evaluate(scope)?, &answer)?;
        }
        Ok(answer)
    }

    /// Each condition for the rows still open, each value for the rows that chose it.
    fn compute_chosen(&self, scope: &Scope<'_>, to: &DataType) -> Result<Operand> {
        let mut open: Vec<usize> = (0..scope.rows).collect();
        let mut parts = Vec::new();
        let mut places = vec![(0, 0); scope.rows];
        for (condition, value) in &self.branches {
            if open.is_empty() {
                break;
            }
            let chosen = self.on_rows(&open, scope, |scope| chosen_rows(condition.evaluate(scope)?, scope.rows))?;
            let (mut mine, mut others) = (Vec::new(), Vec::new());
            for (row, chosen) in open.iter().zip(&chosen) {
                if chosen { mine.push(*row) } else { others.push(*row) }
            }
            self.add_part(value, &mine, scope, &mut parts, &mut places)?;
            open = others;
        }
        match &self.otherwise {
            Some(value) => self.add_part(value, &open, scope, &mut parts, &mut places)?,
            None => {
                open.iter().for_each(|row| places[*row] = (parts.len(), 0));
                parts.push(Operand::null(to).into_column(1)?);
            }
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        Ok(Operand::Column(interleave(&parts, &places)?))
    }

    fn add_part(
        &self,
        value: &Node,
        rows: &[usize],
        scope: &Scope<'_>,
        parts: &mut Vec<ArrayRef>,
        places: &mut [(usize, usize)],
    ) -> Result<()> {
        if rows.is_empty() && !parts.is_empty() {
            return Ok(());
        }
        for (position, row) in rows.iter().enumerate() {
            places[*row] = (parts.len(), position);
        }
        parts.push(match rows {
            [] => arrow_array::new_empty_array(&value.site.data_type),
            rows => self.on_rows(rows, scope, |scope| value.evaluate(scope)?.into_column(scope.rows))?,
        });
        Ok(())
    }

    /// Runs `work` on a scope of these rows only.
    fn on_rows<T>(&self, rows: &[usize], scope: &Scope<'_>, work: impl FnOnce(&Scope<'_>) -> Result<T>) -> Result<T> {
        if rows.len() == scope.rows {
            return work(scope);
        }
        let mut kept = vec![false; scope.rows];
        rows.iter().for_each(|row| kept[*row] = true);
        let filter = FilterBuilder::new(&BooleanArray::from(kept)).optimize().build();
        let mut columns = scope.columns.to_vec();
        for index in &self.used {
            columns[*index] = filter.filter(&columns[*index])?;
        }
        let origin: Vec<usize> = rows.iter().map(|row| scope.origin(*row)).collect();
        work(&Scope { columns: &columns, rows: rows.len(), origin: Some(&origin) })
    }
}

fn collect_columns(expr: &TypedExpr, into: &mut Vec<usize>) {
    match &expr.node {
        TypedNode::Column(index, _) => into.push(*index),
        TypedNode::Literal(_) => {}
        TypedNode::Unary(_, input) | TypedNode::Cast(input, _) | TypedNode::IsIn(input, _) => {
            collect_columns(input, into);
        }
        TypedNode::Binary(left, _, right) => [left, right].into_iter().for_each(|side| collect_columns(side, into)),
        TypedNode::Case(branches, otherwise) => {
            branches.iter().flat_map(|(a, b)| [a, b]).for_each(|part| collect_columns(part, into));
            otherwise.iter().for_each(|part| collect_columns(part, into));
        }
        TypedNode::Call(_, arguments) => arguments.iter().for_each(|part| collect_columns(part, into)),
    }
}

/// The rows for which a condition is true; null is not.
fn chosen_rows(condition: Operand, rows: usize) -> Result<BooleanBuffer> {
    let array = condition.into_column(rows)?;
    let answers = array.as_boolean();
    Ok(if answers.null_count() == 0 {
        answers.values().clone()
    } else {
        prep_null_mask_filter(answers).values().clone()
    })
}

/// For each row the value of one side.
pub(super) fn select(first: &BooleanBuffer, yes: &Operand, no: &Operand) -> Result<Operand> {
    let data_type = yes.data_type().clone();
    let (left, right) = (yes.with(physical(yes.array())?), no.with(physical(no.array())?));
    let chosen = by_number!(left.data_type(), T => select_numbers::<T>(first, &left, &right)?, _ => {
        match left.data_type() {
            other if other != right.data_type() => zip(&BooleanArray::new(first.clone(), None), &left, &right)?,
            DataType::Utf8 | DataType::Binary => select_texts::<i32>(first, &left, &right)?,
            DataType::LargeUtf8 | DataType::LargeBinary => select_texts::<i64>(first, &left, &right)?,
            _ => zip(&BooleanArray::new(first.clone(), None), &left, &right)?,
        }
    });
    Ok(Operand::Column(logical(&chosen, &data_type)?))
}

fn select_numbers<T: ArrowPrimitiveType>(first: &BooleanBuffer, yes: &Operand, no: &Operand) -> Result<ArrayRef> {
    let (left, right) = (natives::<T>(yes.array())?, natives::<T>(no.array())?);
    let values = match (yes.is_constant(), no.is_constant()) {
        (true, true) => pick_each(first, |_| left[0], |_| right[0]),
        (true, false) => pick_each(first, |_| left[0], |row| right[row]),
        (false, true) => pick_each(first, |row| left[row], |_| right[0]),
        (false, false) => compiled_for!([as_avx512], pick_pairs(first, left, right), else {
            pick_each(first, |row| left[row], |row| right[row])
        }),
    };
    let nulls = selected_nulls(first, yes, no);
    logical(&primitive::<T>(values, nulls), yes.data_type())
}

/// One of two values for each row, 64 rows a step: the bits of a word become a mask, not branches.
fn pick_each<A: Copy>(first: &BooleanBuffer, yes: impl Fn(usize) -> A, no: impl Fn(usize) -> A) -> Vec<A> {
    let bits = first.bit_chunks();
    let mut values = Vec::with_capacity(first.len());
    let mut add = |word: u64, from: usize, rows: usize| {
        values.extend((0..rows).map(|bit| {
            let (yes, no) = (yes(from + bit), no(from + bit));
            if word >> bit & 1 == 1 { yes } else { no }
        }));
    };
    for (index, word) in bits.iter().enumerate() {
        add(word, index * 64, 64);
    }
    add(bits.remainder_bits(), first.len() - bits.remainder_len(), bits.remainder_len());
    values
}

/// The same for two columns: with mask registers, 64 choices are a few blends.
#[inline(always)]
fn pick_pairs<A: Copy>(first: &BooleanBuffer, yes: &[A], no: &[A]) -> Vec<A> {
    let (yes_chunks, yes_rest) = yes.as_chunks::<64>();
    let (no_chunks, no_rest) = no.as_chunks::<64>();
    let mut values = Vec::with_capacity(first.len());
    let bits = first.bit_chunks();
    for ((word, yes), no) in bits.iter().zip(yes_chunks).zip(no_chunks) {
        let mut chosen = *no;
        for (place, value) in chosen.iter_mut().enumerate() {
            *value = if word >> place & 1 == 1 { yes[place] } else { *value };
        }
        values.extend_from_slice(&chosen);
    }
    let word = bits.remainder_bits();
    let rest = yes_rest.iter().zip(no_rest).enumerate();
    values.extend(rest.map(|(place, (yes, no))| if word >> place & 1 == 1 { *yes } else { *no }));
    values
}
