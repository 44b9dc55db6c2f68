//! What an expression gives for a batch: a column, or one value for all its rows.
//!
//! Constants stay constants through every kernel; a column is made of one only where the caller must have a column.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{ArrowPrimitiveType, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Datum, PrimitiveArray, UInt32Array, new_null_array};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_cast::cast;
use arrow_select::take::take;

use crate::columnar::DataType;
use crate::error::{Error, Result};

/// A column of a batch, or one value (an array of length 1) that stands for every row.
#[derive(Debug, Clone)]
pub(crate) enum Operand {
    Column(ArrayRef),
    Constant(ArrayRef),
}

impl Datum for Operand {
    fn get(&self) -> (&dyn Array, bool) {
        match self {
            Self::Column(array) => (array, false),
            Self::Constant(array) => (array, true),
        }
    }
}

impl Operand {
    pub(crate) fn null(data_type: &DataType) -> Self {
        Self::Constant(new_null_array(data_type, 1))
    }

    pub(crate) fn array(&self) -> &ArrayRef {
        let (Self::Column(array) | Self::Constant(array)) = self;
        array
    }

    pub(crate) fn data_type(&self) -> &DataType {
        self.array().data_type()
    }

    pub(crate) fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }

    /// Whether this is a constant null.
    pub(crate) fn is_null_constant(&self) -> bool {
        matches!(self, Self::Constant(array) if array.logical_null_count() == 1)
    }

    /// The same shape with other values.
    pub(crate) fn with(&self, array: ArrayRef) -> Self {
        match self {
            Self::Column(_) => Self::Column(array),
            Self::Constant(_) => Self::Constant(array),
        }
    }

    /// The position of the value for a row.
    pub(crate) fn at(&self, row: usize) -> usize {
        match self {
            Self::Column(_) => row,
            Self::Constant(_) => 0,
        }
    }

    /// The values for all rows.
    pub(crate) fn into_column(self, rows: usize) -> Result<ArrayRef> {
        match self {
            Self::Column(array) => Ok(array),
            Self::Constant(array) if array.logical_null_count() == 1 => Ok(new_null_array(array.data_type(), rows)),
            Self::Constant(array) => Ok(take(&array, &UInt32Array::from(vec![0; rows]), None)?),
        }
    }

    /// The same values without a dictionary.
    pub(crate) fn decoded(&self) -> Result<Self> {
        match self.data_type() {
            DataType::Dictionary(_, values) => Ok(self.with(cast(self.array(), values)?)),
            _ => Ok(self.clone()),
        }
    }
}

/// Runs a kernel that cannot fail once for each value of a dictionary, if the first operand is one and the others are
/// constant; else on operands without dictionaries.
pub(crate) fn once_per_value(operands: &[Operand], kernel: impl Fn(&[Operand]) -> Result<Operand>) -> Result<Operand> {
    if let [Operand::Column(array), constants @ ..] = operands
        && matches!(array.data_type(), DataType::Dictionary(_, _))
        && constants.iter().all(Operand::is_constant)
    {
        let dictionary = array.as_any_dictionary();
        let values = dictionary.values();
        if values.len() <= array.len() {
            let mut inner = vec![Operand::Column(Arc::clone(values))];
            inner.extend_from_slice(constants);
            let answers = kernel(&inner)?.into_column(values.len())?;
            return Ok(Operand::Column(take(&answers, dictionary.keys(), None)?));
        }
    }
    kernel(&operands.iter().map(Operand::decoded).collect::<Result<Vec<_>>>()?)
}

/// The rows and the shape of what a kernel makes of these operands: constant if all of them are.
pub(crate) fn shape(operands: &[Operand]) -> (usize, bool) {
    match operands.iter().find(|operand| !operand.is_constant()) {
        Some(column) => (column.array().len(), false),
        None => (1, true),
    }
}

/// What a kernel made, in the shape that [`shape`] told.
pub(crate) fn shaped(array: ArrayRef, constant: bool) -> Operand {
    if constant { Operand::Constant(array) } else { Operand::Column(array) }
}

/// The rows at which every operand has a value. The answer has as many rows as [`shape`] says; no constant is null.
pub(crate) fn common_nulls(operands: &[Operand]) -> Option<NullBuffer> {
    let columns = operands.iter().filter(|operand| !operand.is_constant());
    columns.fold(None, |nulls, operand| NullBuffer::union(nulls.as_ref(), operand.array().logical_nulls().as_ref()))
}

/// Whether this row has a value.
pub(super) fn valid(nulls: Option<&NullBuffer>, row: usize) -> bool {
    nulls.is_none_or(|nulls| nulls.is_valid(row))
}

/// The nulls of a column that takes `yes` where `first` is set, and `no` elsewhere.
pub(super) fn selected_nulls(first: &BooleanBuffer, yes: &Operand, no: &Operand) -> Option<NullBuffer> {
    let validity = |operand: &Operand| match operand.array().nulls() {
        None => None,
        Some(nulls) if !operand.is_constant() => Some(nulls.inner().clone()),
        Some(nulls) if nulls.is_null(0) => Some(BooleanBuffer::new_unset(first.len())),
        Some(_) => None,
    };
    let bits = match (validity(yes), validity(no)) {
        (None, None) => return None,
        (Some(yes), None) => &yes | &!first,
        (None, Some(no)) => &no | first,
        (Some(yes), Some(no)) => &(&yes & first) | &(&no & &!first),
    };
    Some(NullBuffer::new(bits)).filter(|nulls| nulls.null_count() > 0)
}

/// The native values of an array that is known to be of this physical type.
pub(crate) fn natives<T: ArrowPrimitiveType>(array: &dyn Array) -> Result<&[T::Native]> {
    match array.as_any().downcast_ref::<PrimitiveArray<T>>() {
        Some(array) => Ok(array.values()),
        None => Err(Error::internal(format!("expected {}, found {}", T::DATA_TYPE, array.data_type()))),
    }
}

/// Times as the integers they are stored as; every other array as it is. No value is copied.
pub(crate) fn physical(array: &ArrayRef) -> Result<ArrayRef> {
    let to = match array.data_type() {
        DataType::Timestamp(_, _) | DataType::Duration(_) => Int64Type::DATA_TYPE,
        DataType::Date32 => Int32Type::DATA_TYPE,
        _ => return Ok(Arc::clone(array)),
    };
    relabelled(array, to)
}

/// The other way round: stored integers as times.
pub(crate) fn logical(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    match data_type {
        DataType::Timestamp(_, _) | DataType::Duration(_) | DataType::Date32 | DataType::Decimal128(_, _) => {
            relabelled(array, data_type.clone())
        }
        _ => Ok(Arc::clone(array)),
    }
}

fn relabelled(array: &ArrayRef, data_type: DataType) -> Result<ArrayRef> {
    if *array.data_type() == data_type {
        return Ok(Arc::clone(array));
    }
    Ok(arrow_array::make_array(array.to_data().into_builder().data_type(data_type).build()?))
}

/// A primitive array of these values.
pub(crate) fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls))
}

/// An array behind a reference count, for kernels that return Booleans.
pub(super) fn boolean(bits: BooleanBuffer, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(BooleanArray::new(bits, nulls))
}

/// The arrays of both operands as their stored integers.
pub(super) fn stored(operands: &[Operand; 2]) -> Result<[Operand; 2]> {
    let [left, right] = operands;
    Ok([left.with(physical(left.array())?), right.with(physical(right.array())?)])
}
