//! Functions of lists and structs.

use std::cmp::Ordering;

use super::At;
use super::arithmetic::{fit, integer};
use super::compare::outermost;
use crate::columnar::{DataType, Scalar};
use crate::error::Result;
use crate::expr::Function;

pub(super) fn call(function: &Function, values: &[Scalar], from: &DataType, at: &At<'_>) -> Result<Scalar> {
    if let (Function::Field(name), Scalar::Struct(fields), DataType::Struct(types)) = (function, &values[0], from) {
        let (index, _) = types.find(name).ok_or_else(|| at.unknown(name))?;
        return Ok(fields[index].clone());
    }
    let Scalar::List(items) = &values[0] else { return Err(at.unknown(function)) };
    let known: Vec<Scalar> = items.iter().filter(|item| !item.is_null()).cloned().collect();
    match function {
        Function::ListLength => Ok(Scalar::Int64(i64::try_from(items.len()).unwrap_or(i64::MAX))),
        Function::ListGet => {
            let index = integer(&values[1]).ok_or_else(|| at.unknown(&values[1]))?;
            let index = if index < 0 { index + items.len() as i128 } else { index };
            let item = usize::try_from(index).ok().and_then(|index| items.get(index));
            Ok(item.cloned().unwrap_or(Scalar::Null))
        }
        Function::ListMin => Ok(outermost(known, Ordering::Less)),
        Function::ListMax => Ok(outermost(known, Ordering::Greater)),
        _ if known.is_empty() => Ok(Scalar::Null),
        Function::ListSum => sum(&known, at),
        _ => Ok(Scalar::Float64(mean(&known))),
    }
}

fn sum(items: &[Scalar], at: &At<'_>) -> Result<Scalar> {
    if let Some(sum) = float_sum(items) {
        return Ok(Scalar::Float64(sum));
    }
    let sum = items.iter().try_fold(0_i128, |sum, item| sum.checked_add(integer(item)?));
    sum.and_then(|sum| fit(sum, at.to())).ok_or_else(|| at.overflow())
}

/// In the order of the list.
fn float_sum(items: &[Scalar]) -> Option<f64> {
    items.iter().try_fold(0.0, |sum, item| match item {
        Scalar::Float64(value) => Some(sum + value),
        _ => None,
    })
}

fn mean(items: &[Scalar]) -> f64 {
    let scaled = |item: &Scalar| match item {
        Scalar::Decimal128 { unscaled, scale, .. } => *unscaled as f64 / 10_f64.powi((*scale).into()),
        _ => 0.0,
    };
    let sum = match &items[0] {
        Scalar::Decimal128 { .. } => items.iter().map(scaled).sum(),
        Scalar::Float64(_) => float_sum(items).unwrap_or(0.0),
        _ => items.iter().filter_map(integer).sum::<i128>() as f64,
    };
    sum / items.len() as f64
}
