//! Functions of lists and structs.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Decimal128Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, UInt64Array};
use arrow_buffer::NullBuffer;
use arrow_select::nullif::nullif;
use arrow_select::take::take;

use super::native::by_integer;
use super::operand::{Operand, common_nulls, logical, natives, primitive, shape, shaped};
use super::{Apply, Scope, Site, cast, pick};
use crate::columnar::DataType;
use crate::error::Result;
use crate::expr::{BinaryOp, Function};

pub(super) fn prepare(function: &Function, to: &DataType) -> Apply {
    let (function, to) = (function.clone(), to.clone());
    Box::new(move |operands, scope, site| {
        if operands.iter().any(Operand::is_null_constant) {
            return Ok(Operand::null(&to));
        }
        if let Function::Field(name) = &function {
            return Ok(operands[0].with(field(operands[0].array(), name, site)?));
        }
        let lists = Lists::of(operands[0].array(), site)?;
        let answer = match &function {
            Function::ListLength => lists.lengths(),
            Function::ListGet => return lists.get(operands),
            Function::ListSum => lists.sums(scope, site)?,
            Function::ListMean => lists.means(site)?,
            Function::ListMin => lists.outermost(BinaryOp::Lt, site)?,
            _ => lists.outermost(BinaryOp::Gt, site)?,
        };
        Ok(operands[0].with(answer))
    })
}

fn field(array: &ArrayRef, name: &str, site: &Site) -> Result<ArrayRef> {
    let parent = array.as_struct_opt().ok_or_else(|| site.unknown(array.data_type()))?;
    let column = parent.column_by_name(name).ok_or_else(|| site.unknown(&name))?;
    match parent.nulls() {
        Some(present) if *column.data_type() != DataType::Null => {
            Ok(nullif(column, &BooleanArray::new(!present.inner(), None))?)
        }
        _ => Ok(Arc::clone(column)),
    }
}

/// A column of lists, whatever the width of its offsets.
struct Lists<'a> {
    items: &'a ArrayRef,
    /// Where each list begins and ends in the items; empty for null.
    ranges: Vec<std::ops::Range<usize>>,
    nulls: Option<&'a NullBuffer>,
}

impl<'a> Lists<'a> {
    fn of(array: &'a ArrayRef, site: &Site) -> Result<Self> {
        fn range(start: usize, end: usize, present: bool) -> std::ops::Range<usize> {
            if present { start..end } else { 0..0 }
        }
        let present = |row| array.is_valid(row);
        let (items, ranges) = match array.data_type() {
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let at = |row: usize| usize::try_from(list.value_offsets()[row]).unwrap_or(0);
                (list.values(), (0..list.len()).map(|row| range(at(row), at(row + 1), present(row))).collect())
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                let at = |row: usize| usize::try_from(list.value_offsets()[row]).unwrap_or(0);
                (list.values(), (0..list.len()).map(|row| range(at(row), at(row + 1), present(row))).collect())
            }
            other => return Err(site.unknown(other)),
        };
        Ok(Self { items, ranges, nulls: array.nulls() })
    }

    fn lengths(&self) -> ArrayRef {
        let lengths = self.ranges.iter().map(|range| i64::try_from(range.len()).unwrap_or(i64::MAX));
        primitive::<Int64Type>(lengths.collect(), self.nulls.cloned())
    }

    /// The items at one place a row; null where there is none.
    fn take(&self, places: impl Iterator<Item = Option<usize>>) -> Result<ArrayRef> {
        let places: UInt64Array = places.map(|place| place.and_then(|place| u64::try_from(place).ok())).collect();
        Ok(take(self.items, &places, None)?)
    }

    fn get(&self, operands: &[Operand]) -> Result<Operand> {
        let (rows, constant) = shape(operands);
        let wanted = natives::<Int64Type>(operands[1].array())?;
        let nulls = common_nulls(operands);
        let place = |row: usize| {
            let range = &self.ranges[operands[0].at(row)];
            let index = wanted[operands[1].at(row)];
            let length = i64::try_from(range.len()).ok()?;
            let index = if index < 0 { index.checked_add(length)? } else { index };
            let inside = (0..length).contains(&index) && nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            inside.then(|| range.start + usize::try_from(index).unwrap_or(0))
        };
        Ok(shaped(self.take((0..rows).map(place))?, constant))
    }

    /// The items of each list that are not null.
    fn known(&self, items: &ArrayRef) -> impl Fn(usize) -> bool + use<> {
        let nulls = items.logical_nulls();
        move |place| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(place))
    }

    fn sums(&self, scope: &Scope<'_>, site: &Site) -> Result<ArrayRef> {
        let items = self.decoded()?;
        let (to, from) = (&site.data_type, items.data_type());
        if to.is_floating() {
            let wide = cast::lossy(&items, &DataType::Float64)?;
            return cast::lossy(
                &self.fold::<Float64Type, _>(
                    &wide,
                    0.0,
                    |sum, value| Some(sum + value),
                    |sum| Ok(*sum),
                    scope,
                    site,
                )?,
                to,
            );
        }
        if let DataType::Decimal128(precision, _) = to {
            let bound = 10_i128.checked_pow((*precision).into()).unwrap_or(i128::MAX);
            let fits = |sum: &i128| if sum.abs() < bound { Ok(*sum) } else { Err(()) };
            let sums = self.fold::<Decimal128Type, _>(&items, 0, i128::checked_add, fits, scope, site)?;
            return logical(&sums, to);
        }
        by_integer!(from, T => {
            let add = |sum: i128, value| Some(sum + i128::from(value));
            match to {
                DataType::Int64 => {
                    self.fold_into::<T, Int64Type, _>(&items, 0, add, |sum| i64::try_from(*sum).map_err(drop), scope, site)
                }
                DataType::UInt64 => {
                    self.fold_into::<T, UInt64Type, _>(&items, 0, add, |sum| u64::try_from(*sum).map_err(drop), scope, site)
                }
                other => Err(site.unknown(other)),
            }
        }, _ => Err(site.unknown(from)))
    }

    fn decoded(&self) -> Result<ArrayRef> {
        Ok(Arc::clone(Operand::Column(Arc::clone(self.items)).decoded()?.array()))
    }

    fn fold<T: ArrowPrimitiveType, S: Copy>(
        &self,
        items: &ArrayRef,
        zero: S,
        add: impl Fn(S, T::Native) -> Option<S>,
        finish: impl Fn(&S) -> Result<T::Native, ()>,
        scope: &Scope<'_>,
        site: &Site,
    ) -> Result<ArrayRef> {
        self.fold_into::<T, T, S>(items, zero, add, finish, scope, site)
    }

    /// Folds the items of each list that are not null; null if there are none.
    fn fold_into<T: ArrowPrimitiveType, U: ArrowPrimitiveType, S: Copy>(
        &self,
        items: &ArrayRef,
        zero: S,
        add: impl Fn(S, T::Native) -> Option<S>,
        finish: impl Fn(&S) -> Result<U::Native, ()>,
        scope: &Scope<'_>,
        site: &Site,
    ) -> Result<ArrayRef> {
        let (values, known) = (natives::<T>(items)?, self.known(items));
        let mut sums = Vec::with_capacity(self.ranges.len());
        let mut some = Vec::with_capacity(self.ranges.len());
        for (row, range) in self.ranges.iter().enumerate() {
            let places = || range.clone().filter(|place| known(*place));
            let sum = places().try_fold(zero, |sum, place| add(sum, values[place])).ok_or(());
            let any = places().next().is_some();
            let sum = sum.and_then(|sum| if any { finish(&sum) } else { Ok(U::Native::default()) });
            sums.push(sum.map_err(|()| site.overflow(scope.origin(row)))?);
            some.push(any);
        }
        Ok(primitive::<U>(sums, Some(NullBuffer::from(some)).filter(|nulls| nulls.null_count() > 0)))
    }

    fn means(&self, site: &Site) -> Result<ArrayRef> {
        let items = self.decoded()?;
        let known = self.known(&items);
        let counts: Vec<usize> =
            self.ranges.iter().map(|range| range.clone().filter(|place| known(*place)).count()).collect();
        let totals: Vec<f64> = self.totals(&items, &known, site)?;
        let values =
            totals.iter().zip(&counts).map(|(total, count)| if *count == 0 { 0.0 } else { total / *count as f64 });
        let nulls = NullBuffer::from_iter(counts.iter().map(|count| *count > 0));
        Ok(primitive::<Float64Type>(values.collect(), Some(nulls).filter(|nulls| nulls.null_count() > 0)))
    }

    /// Sums as floats, in the order of the list; those of integers are exact until they become one.
    fn totals(&self, items: &ArrayRef, known: &impl Fn(usize) -> bool, site: &Site) -> Result<Vec<f64>> {
        let ranges = self.ranges.iter().map(|range| range.clone().filter(|place| known(*place)));
        Ok(match items.data_type() {
            DataType::Float32 | DataType::Float64 => {
                let wide = cast::lossy(items, &DataType::Float64)?;
                let values = natives::<Float64Type>(&wide)?;
                ranges.map(|range| range.fold(0.0, |sum, place| sum + values[place])).collect()
            }
            DataType::Decimal128(_, scale) => {
                let values = natives::<Decimal128Type>(items)?;
                let divisor = 10_f64.powi((*scale).into());
                let sum =
                    |range: &mut dyn Iterator<Item = usize>| range.map(|place| values[place] as f64 / divisor).sum();
                ranges.map(|mut range| sum(&mut range)).collect()
            }
            other => by_integer!(other, T => {
                let values = natives::<T>(items)?;
                ranges.map(|range| range.map(|place| i128::from(values[place])).sum::<i128>() as f64).collect()
            }, _ => return Err(site.unknown(other))),
        })
    }

    /// The smallest or largest item of each list: the lists are walked in step, item by item.
    fn outermost(&self, op: BinaryOp, site: &Site) -> Result<ArrayRef> {
        let items = self.decoded()?;
        let longest = self.ranges.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        let column =
            |index: usize| self.ranges.iter().map(move |range| (index < range.len()).then_some(range.start + index));
        let lists = Lists { items: &items, ranges: Vec::new(), nulls: None };
        let mut best = lists.take(column(0))?;
        for index in 1..longest {
            best = pick::closer(&best, &lists.take(column(index))?, op, site)?;
        }
        cast::lossy(&best, &site.data_type)
    }
}
