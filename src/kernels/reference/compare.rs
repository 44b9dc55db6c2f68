//! The order of values.

use std::cmp::Ordering;

use super::arithmetic::integer;
use crate::columnar::Scalar;

/// The order of two values of one type. NaN equals NaN and is above all; -0.0 equals 0.0.
pub(super) fn order(a: &Scalar, b: &Scalar) -> Ordering {
    match (a, b) {
        (Scalar::Float64(a), Scalar::Float64(b)) => match (a.is_nan(), b.is_nan()) {
            (false, false) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (a, b) => a.cmp(&b),
        },
        (Scalar::Boolean(a), Scalar::Boolean(b)) => a.cmp(b),
        (Scalar::Utf8(a), Scalar::Utf8(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Scalar::Binary(a), Scalar::Binary(b)) => a.cmp(b),
        _ => integer(a).cmp(&integer(b)),
    }
}

/// The first value that no other is further out than; nulls and NaN only if there is nothing else.
pub(super) fn outermost(values: Vec<Scalar>, direction: Ordering) -> Scalar {
    let is_nan = |value: &Scalar| matches!(value, Scalar::Float64(value) if value.is_nan());
    let known: Vec<Scalar> = values.into_iter().filter(|value| !value.is_null()).collect();
    let numbers: Vec<Scalar> = known.iter().filter(|value| !is_nan(value)).cloned().collect();
    let candidates = if numbers.is_empty() { known } else { numbers };
    let further = |best: Scalar, next: Scalar| if order(&next, &best) == direction { next } else { best };
    candidates.into_iter().reduce(further).unwrap_or(Scalar::Null)
}
