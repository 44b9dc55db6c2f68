//! What a query asks of single columns, so that parts of files which hold no such row need not be read.
//!
//! A bound says less than the filter it comes from: rows that it lets pass are still looked at. A format that knows the
//! least and the greatest value of a part leaves the part out if no value between them would do, and counts its rows.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, UInt32Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Decimal64Array, Scalar};
use arrow_buffer::BooleanBuffer;
use arrow_ord::cmp;

use crate::columnar::DataType;
use crate::error::Result;

/// Which values of a column are kept. A null never is.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The column, by index.
    pub column: usize,
    /// How they compare with the value.
    pub keeps: Keeps,
    /// One value of the column's type.
    pub value: ArrayRef,
}

/// How the values that are kept compare with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// They are less.
    Less,
    /// They are not greater.
    AtMost,
    /// They are equal.
    Equal,
    /// They are not less.
    AtLeast,
    /// They are greater.
    Greater,
}

impl Keeps {
    /// Of the value, not of the column: `5 < a` is `a > 5`.
    #[must_use]
    pub fn swapped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::AtMost => Self::AtLeast,
            Self::Equal => Self::Equal,
            Self::AtLeast => Self::AtMost,
            Self::Greater => Self::Less,
        }
    }

    /// Whether a value is kept that compares so with the other.
    pub(crate) fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Less => order == Less,
            Self::AtMost => order != Greater,
            Self::Equal => order == Equal,
            Self::AtLeast => order != Less,
            Self::Greater => order == Greater,
        }
    }
}

impl Bound {
    /// A bit for each part, of which the least and greatest values are given, null where they are not known: whether it may
    /// hold a value that is kept. Values of another type than the bound's say nothing.
    #[cfg_attr(
        not(any(feature = "parquet", test)),
        expect(dead_code, reason = "no other format says what its parts hold")
    )]
    pub(crate) fn may_hold(&self, least: &ArrayRef, most: &ArrayRef) -> Result<BooleanBuffer> {
        let of_other_type = [least, most].iter().any(|known| known.data_type() != self.value.data_type());
        if of_other_type || self.value.len() != 1 || self.value.is_null(0) {
            return Ok(BooleanBuffer::new_set(least.len()));
        }
        if self.value.data_type().is_floating() {
            return self.floats(least, most);
        }
        let value = Scalar::new(ArrayRef::clone(&self.value));
        Ok(match self.keeps {
            Keeps::Less => unless_false(&cmp::lt(least, &value)?),
            Keeps::AtMost => unless_false(&cmp::lt_eq(least, &value)?),
            Keeps::Equal => &unless_false(&cmp::lt_eq(least, &value)?) & &unless_false(&cmp::gt_eq(most, &value)?),
            Keeps::AtLeast => unless_false(&cmp::gt_eq(most, &value)?),
            Keeps::Greater => unless_false(&cmp::gt(most, &value)?),
        })
    }

    /// A bit for each value of a column: whether it is kept. Nothing if they cannot be compared with the bound's. What is
    /// left out the filter behind the bound leaves out as well.
    pub(crate) fn kept(&self, column: &ArrayRef) -> Result<Option<BooleanBuffer>> {
        if let Some(codes) = column.as_dictionary_opt::<UInt32Type>() {
            let Some(kept) = self.kept(codes.values())? else { return Ok(None) };
            // A row without a code may have any number in its place.
            let is_kept = |row: usize| codes.is_valid(row) && kept.value(codes.keys().value(row) as usize);
            return Ok(Some(BooleanBuffer::collect_bool(codes.len(), is_kept)));
        }
        let Some(value) = self.value_as(column.data_type()) else { return Ok(None) };
        if column.data_type().is_floating() {
            return self.kept_floats(column, &value).map(Some);
        }
        let value = Scalar::new(value);
        let answers = match self.keeps {
            Keeps::Less => cmp::lt(column, &value)?,
            Keeps::AtMost => cmp::lt_eq(column, &value)?,
            Keeps::Equal => cmp::eq(column, &value)?,
            Keeps::AtLeast => cmp::gt_eq(column, &value)?,
            Keeps::Greater => cmp::gt(column, &value)?,
        };
        Ok(Some(match answers.nulls() {
            Some(nulls) => answers.values() & nulls.inner(),
            None => answers.values().clone(),
        }))
    }

    /// The value as one of a column of this type, which may be a narrower one.
    fn value_as(&self, column: &DataType) -> Option<ArrayRef> {
        let own = self.value.data_type();
        if self.value.len() != 1 || self.value.is_null(0) {
            return None;
        }
        match (own, column) {
            (DataType::Decimal128(..), DataType::Decimal64(precision, scale))
                if *own == DataType::Decimal128(*precision, *scale) =>
            {
                let value = i64::try_from(self.value.as_primitive::<Decimal128Type>().value(0)).ok()?;
                let value = Decimal64Array::from_value(value, 1).with_precision_and_scale(*precision, *scale);
                Some(Arc::new(value.ok()?))
            }
            (DataType::Dictionary(_, values), _) if **values == *column => arrow_cast::cast(&self.value, column).ok(),
            _ => (own == column).then(|| ArrayRef::clone(&self.value)),
        }
    }

    /// Zeros of both signs are equal; NaN is kept by all, since filters know better where it stands.
    fn kept_floats(&self, column: &ArrayRef, value: &ArrayRef) -> Result<BooleanBuffer> {
        let wide = |array: &ArrayRef| arrow_cast::cast(array, &DataType::Float64);
        let (column, value) = (wide(column)?, wide(value)?);
        let (column, value) = (column.as_primitive::<Float64Type>(), value.as_primitive::<Float64Type>().value(0));
        Ok(BooleanBuffer::collect_bool(column.len(), |row| {
            let order = column.value(row).partial_cmp(&value);
            column.is_valid(row) && order.is_none_or(|order| self.keeps.holds(order))
        }))
    }

    /// NaN is above all numbers and in no statistics: nothing is known of what is greater.
    fn floats(&self, least: &ArrayRef, most: &ArrayRef) -> Result<BooleanBuffer> {
        let wide = |array: &ArrayRef| arrow_cast::cast(array, &DataType::Float64);
        let (least, most, value) = (wide(least)?, wide(most)?, wide(&self.value)?);
        let (least, most) = (least.as_primitive::<Float64Type>(), most.as_primitive::<Float64Type>());
        let value = value.as_primitive::<Float64Type>().value(0);
        let known = |array: &arrow_array::Float64Array, part: usize| array.is_valid(part).then(|| array.value(part));
        Ok(BooleanBuffer::collect_bool(least.len(), |part| {
            let (least, most) = (known(least, part), known(most, part));
            match self.keeps {
                // NaN among the statistics says nothing.
                Keeps::Less => least.is_none_or(|least| !matches!(least.partial_cmp(&value), Some(Greater | Equal))),
                Keeps::AtMost => least.is_none_or(|least| least.partial_cmp(&value) != Some(Greater)),
                Keeps::Equal => {
                    least.is_none_or(|least| least.partial_cmp(&value) != Some(Greater))
                        && most.is_none_or(|most| most.partial_cmp(&value) != Some(Less))
                }
                Keeps::AtLeast | Keeps::Greater => true,
            }
        }))
    }
}

/// Null is true here: what is not known may be.
fn unless_false(answers: &BooleanArray) -> BooleanBuffer {
    match answers.nulls() {
        Some(nulls) => answers.values() | &!nulls.inner(),
        None => answers.values().clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Decimal128Array, DictionaryArray, Float64Array, Int64Array, StringArray};

    use super::*;

    const ALL: [Keeps; 5] = [Keeps::Less, Keeps::AtMost, Keeps::Equal, Keeps::AtLeast, Keeps::Greater];

    fn bound(keeps: Keeps, value: ArrayRef) -> Bound {
        Bound { column: 0, keeps, value }
    }

    #[test]
    fn a_part_is_left_out_only_if_no_value_of_it_would_do() {
        let parts = [(1, 3), (3, 3), (4, 9), (-5, 0), (0, 5)];
        let least: ArrayRef = Arc::new(Int64Array::from_iter_values(parts.map(|part| part.0)));
        let most: ArrayRef = Arc::new(Int64Array::from_iter_values(parts.map(|part| part.1)));
        for value in -6..=10_i64 {
            for keeps in ALL {
                let found =
                    bound(keeps, Arc::new(Int64Array::from(vec![value]))).may_hold(&least, &most).expect("bits");
                for (index, (from, to)) in parts.into_iter().enumerate() {
                    let does = |other: i64| match keeps {
                        Keeps::Less => other < value,
                        Keeps::AtMost => other <= value,
                        Keeps::Equal => other == value,
                        Keeps::AtLeast => other >= value,
                        Keeps::Greater => other > value,
                    };
                    assert_eq!(found.value(index), (from..=to).any(does), "{from} to {to}, {keeps:?} {value}");
                }
            }
        }
    }

    #[test]
    fn values_are_kept_whatever_type_they_are_read_as() {
        let numbers = [Some(-3_i32), None, Some(0), Some(7), Some(8)];
        let whole = numbers.map(|number| number.map(i64::from)).to_vec();
        let decimal = |values: Vec<Option<i128>>| {
            Decimal128Array::from(values).with_precision_and_scale(12, 2).expect("a decimal")
        };
        let narrow = Decimal64Array::from(whole.clone()).with_precision_and_scale(12, 2).expect("a decimal");
        let texts: Vec<Option<String>> =
            numbers.iter().map(|number| number.map(|number| format!("{number:+}"))).collect();
        let codes: DictionaryArray<UInt32Type> = texts.iter().map(Option::as_deref).collect();
        let wide = decimal(numbers.iter().map(|number| number.map(i128::from)).collect());
        let floats: Float64Array = numbers.iter().map(|number| number.map(f64::from)).collect();
        let columns: [(ArrayRef, ArrayRef); 6] = [
            (Arc::new(Int64Array::from(whole)), Arc::new(Int64Array::from(vec![7]))),
            (Arc::new(wide), Arc::new(decimal(vec![Some(7)]))),
            (Arc::new(narrow), Arc::new(decimal(vec![Some(7)]))),
            (Arc::new(floats), Arc::new(Float64Array::from(vec![7.0]))),
            (Arc::new(StringArray::from(texts)), Arc::new(StringArray::from(vec!["+7"]))),
            (Arc::new(codes), Arc::new(StringArray::from(vec!["+7"]))),
        ];
        for (column, value) in columns {
            for keeps in ALL {
                let kept = bound(keeps, Arc::clone(&value)).kept(&column).expect("bits").expect("of one type");
                // As texts with a sign, numbers are in another order: + is before -.
                let below = if value.data_type() == &DataType::Utf8 { [false, true] } else { [true, true] };
                let (less, equal) = (keeps.holds(Less), keeps.holds(Equal));
                let greater = keeps.holds(Greater);
                let first = if below[0] { less } else { greater };
                assert_eq!(
                    kept.iter().collect::<Vec<_>>(),
                    [first, false, less, equal, greater],
                    "{keeps:?} {column:?}"
                );
            }
        }
    }

    #[test]
    fn floats_that_are_no_numbers_are_left_to_the_filter() {
        let column: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, -0.0, 0.0]));
        let kept = |keeps, value: f64| {
            let kept = bound(keeps, Arc::new(Float64Array::from(vec![value]))).kept(&column).expect("bits");
            kept.expect("floats").iter().collect::<Vec<_>>()
        };
        assert_eq!(kept(Keeps::Less, 0.0), [true, false, false]);
        assert_eq!(kept(Keeps::Equal, 0.0), [true, true, true]);
        assert_eq!(kept(Keeps::Equal, f64::NAN), [true, true, true]);
    }

    #[test]
    fn what_cannot_be_compared_is_kept() {
        let column: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert!(bound(Keeps::Equal, Arc::clone(&number)).kept(&column).expect("bits").is_none());
        let huge = Decimal128Array::from(vec![i128::from(i64::MAX) + 1]).with_precision_and_scale(38, 0);
        let narrow = Decimal64Array::from(vec![1]).with_precision_and_scale(18, 0).expect("a decimal");
        let huge = bound(Keeps::Less, Arc::new(huge.expect("a decimal")));
        assert!(huge.kept(&(Arc::new(narrow) as ArrayRef)).expect("bits").is_none());
    }

    #[test]
    fn what_is_not_known_is_read() {
        let unknown: ArrayRef = Arc::new(Int64Array::from(vec![None, None]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let null: ArrayRef = Arc::new(Int64Array::from(vec![None]));
        let one: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        for keeps in ALL {
            for (value, known) in [(&one, &unknown), (&one, &text), (&null, &unknown)] {
                let found = bound(keeps, Arc::clone(value)).may_hold(known, known).expect("bits");
                assert_eq!(found.count_set_bits(), 2, "{keeps:?} {value:?}");
            }
        }
    }

    #[test]
    fn floats_may_be_nan_and_zero_has_two_signs() {
        let least: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, 1.0, f64::NAN]));
        let most: ArrayRef = Arc::new(Float64Array::from(vec![0.0, 2.0, f64::NAN]));
        let bits = |keeps, value: f64| {
            let found = bound(keeps, Arc::new(Float64Array::from(vec![value]))).may_hold(&least, &most).expect("bits");
            found.iter().collect::<Vec<_>>()
        };
        assert_eq!(bits(Keeps::Greater, 100.0), [true, true, true], "NaN is greater");
        assert_eq!(bits(Keeps::Equal, 0.0), [true, false, true]);
        assert_eq!(bits(Keeps::Equal, -0.0), [true, false, true]);
        assert_eq!(bits(Keeps::Less, 0.0), [false, false, true]);
        assert_eq!(bits(Keeps::AtMost, -0.0), [true, false, true]);
        assert_eq!(bits(Keeps::Less, f64::NAN), [true, true, true]);
    }
}
