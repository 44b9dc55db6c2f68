//! What is known of one column.

use std::hash::BuildHasher;

use arrow_array::{Array, ArrayRef};
use foldhash::quality::FixedState;

use super::distinct::Distinct;
use super::frequent::MostFrequent;
use super::quantiles::Quantiles;
use super::value::{KEPT_BYTES, Met, Real, Value, each, is_known, text};
use super::{ColumnProfile, FREQUENT_SHOWN, Frequent, Quantile, SHARES};
use crate::columnar::DataType;
use crate::error::Result;

#[derive(Debug, Clone)]
pub(super) struct Sketch {
    data_type: DataType,
    rows: u64,
    nulls: u64,
    min: Option<Value>,
    max: Option<Value>,
    distinct: Distinct,
    frequent: MostFrequent,
    quantiles: Quantiles,
    /// Whether a value was longer than what is kept of it, so that different values may be counted as one.
    is_cut: bool,
    hasher: FixedState,
}

impl Sketch {
    pub(super) fn new(data_type: &DataType) -> Self {
        Self {
            data_type: data_type.clone(),
            rows: 0,
            nulls: 0,
            min: None,
            max: None,
            distinct: Distinct::new(),
            frequent: MostFrequent::default(),
            quantiles: Quantiles::default(),
            is_cut: false,
            hasher: FixedState::default(),
        }
    }

    pub(super) fn push(&mut self, array: &ArrayRef) -> Result<()> {
        self.rows += array.len() as u64;
        self.nulls += array.logical_null_count() as u64;
        if is_known(&self.data_type) { each(array, |met| self.value(met)) } else { Ok(()) }
    }

    fn value(&mut self, met: Met<'_>) {
        let kept = met.kept();
        let hash = match met {
            Met::Whole(value) => self.hasher.hash_one(value),
            Met::Real(value) => self.hasher.hash_one(Real::new(value).get().to_bits()),
            Met::Bytes(bytes) => self.hasher.hash_one(bytes),
        };
        self.distinct.push(hash);
        match met {
            Met::Real(value) if value.is_nan() => {}
            #[expect(clippy::cast_precision_loss, reason = "a quantile is told to fewer bits than that")]
            Met::Whole(value) => self.quantiles.push(value as f64),
            Met::Real(value) => self.quantiles.push(value),
            Met::Bytes(_) => {}
        }
        if !matches!(met, Met::Real(value) if value.is_nan()) {
            self.see(&kept);
        }
        let is_long = matches!(met, Met::Bytes(bytes) if bytes.len() > KEPT_BYTES);
        self.is_cut |= is_long;
        let hash = match &kept {
            Value::Bytes(bytes) if is_long => self.hasher.hash_one(&**bytes),
            _ => hash,
        };
        self.frequent.push(hash, kept, 1);
    }

    /// Moves the extremes.
    fn see(&mut self, value: &Value) {
        if self.min.as_ref().is_none_or(|min| value < min) {
            self.min = Some(value.clone());
        }
        if self.max.as_ref().is_none_or(|max| value > max) {
            self.max = Some(value.clone());
        }
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        self.rows += other.rows;
        self.nulls += other.nulls;
        other.min.iter().chain(&other.max).for_each(|value| self.see(value));
        self.distinct.absorb(&other.distinct);
        self.frequent.absorb(&other.frequent);
        self.quantiles.absorb(&other.quantiles);
        self.is_cut |= other.is_cut;
    }

    pub(super) fn shown(&self, name: &str) -> Result<ColumnProfile> {
        let shown = |value: &Value| text(value, &self.data_type);
        let exact = self.frequent.exact_len().filter(|_| !self.is_cut);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate of a count, at least 0"
        )]
        let estimate = || self.distinct.estimate().round() as u64;
        let shares = SHARES.iter().zip(self.quantiles.at(&SHARES));
        let quantile = |(share, value): (&f64, f64)| Ok(Quantile { share: *share, value: shown(&self.near(value))? });
        let frequent = |(value, count): (&Value, u64)| {
            Ok(Frequent { value: shown(value)?, count, count_max: count + self.frequent.fallen })
        };
        Ok(ColumnProfile {
            column: name.to_owned(),
            rows: self.rows,
            nulls: self.nulls,
            distinct: exact.map_or_else(estimate, |len| len as u64),
            distinct_is_exact: exact.is_some(),
            min: self.min.as_ref().map(shown).transpose()?,
            max: self.max.as_ref().map(shown).transpose()?,
            quantiles: match self.data_type {
                DataType::Boolean => Vec::new(),
                _ => shares.map(quantile).collect::<Result<_>>()?,
            },
            frequent: self.frequent.first(FREQUENT_SHOWN).into_iter().map(frequent).collect::<Result<_>>()?,
        })
    }

    /// A value of the column's kind, within its extremes.
    fn near(&self, value: f64) -> Value {
        let value = match &self.min {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "as far as it lies beyond the extremes it is moved back"
            )]
            Some(Value::Whole(_)) => Value::Whole(value.round() as i128),
            _ => Value::Real(Real::new(value)),
        };
        match (&self.min, &self.max) {
            (Some(min), _) if value < *min => min.clone(),
            (_, Some(max)) if value > *max => max.clone(),
            _ => value,
        }
    }
}
