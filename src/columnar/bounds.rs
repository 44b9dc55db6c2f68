//! What a query asks of single columns, so that parts of files which hold no such row need not be read.
//!
//! A bound says less than the filter it comes from: rows that it lets pass are still looked at. A format that knows the
//! least and the greatest value of a part leaves the part out if no value between them would do, and counts its rows.

use std::cmp::Ordering::{Equal, Greater, Less};

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, BooleanArray, Scalar};
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
    use std::sync::Arc;

    use arrow_array::{Float64Array, Int64Array, StringArray};

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
