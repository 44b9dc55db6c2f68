//! Group ids: which rows have equal keys.
//!
//! Keys of some columns come in, batch by batch; out comes a number for each row: equal for equal keys, dense from 0, in
//! the order of each group's first row, and stable over all batches. What is made of the groups is decided elsewhere.
//!
//! Keys are equal if all their columns are. Null equals null; NaN equals NaN, whatever its bits; -0.0 equals 0.0. A key
//! comes out with the canonical NaN and with 0.0. Types with values of several parts, lists and structs, are no keys.

use crate::columnar::{ArrayRef, Scalar};
use crate::error::{Error, ErrorKind, Result};

/// The groups met so far, by comparing each row with every group: slow and obvious.
#[derive(Debug, Clone, Default)]
pub struct Reference {
    /// The keys of each group.
    pub keys: Vec<Vec<Scalar>>,
}

impl Reference {
    /// The id of each row.
    ///
    /// # Errors
    /// `Unsupported` for lists and structs.
    pub fn assign(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<usize>> {
        let ids = (0..rows).map(|row| {
            let key =
                keys.iter().map(|column| canonical(Scalar::from_array(column, row)?)).collect::<Result<Vec<_>>>()?;
            Ok(self.keys.iter().position(|known| *known == key).unwrap_or_else(|| {
                self.keys.push(key);
                self.keys.len() - 1
            }))
        });
        ids.collect()
    }
}

/// The value that stands for all equal ones: infinities and numbers for themselves, one zero for both, and, since NaN
/// does not equal itself, a text for NaN.
fn canonical(value: Scalar) -> Result<Scalar> {
    Ok(match value {
        Scalar::Float64(float) if float.is_nan() => Scalar::Utf8(NAN.to_owned()),
        Scalar::Float64(0.0) => Scalar::Float64(0.0),
        Scalar::List(_) | Scalar::Struct(_) => {
            return Err(Error::new(ErrorKind::Unsupported, "lists and structs cannot be keys"));
        }
        other => other,
    })
}

const NAN: &str = "NaN";

/// A canonical key as the value it stands for, in a column that is made of floats or not.
pub fn key_value(key: &Scalar, is_float: bool) -> Scalar {
    match key {
        Scalar::Utf8(text) if is_float && text == NAN => Scalar::Float64(f64::NAN),
        other => other.clone(),
    }
}
