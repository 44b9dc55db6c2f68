//! Minimum and maximum of texts and bytes, by the order of their bytes.

use std::sync::Arc;

use arrow_array::builder::LargeBinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::state::{Mapping, Refusal, Rows, State, needed, same};
use crate::columnar::data_type;
use crate::error::{Error, Result};

/// The minimum, or the maximum.
pub(super) struct ExtremeBytes<const IS_MAX: bool> {
    data_type: DataType,
    best: Vec<Option<Box<[u8]>>>,
}

impl<const IS_MAX: bool> ExtremeBytes<IS_MAX> {
    pub(super) fn new(data_type: DataType) -> Self {
        Self { data_type, best: Vec::new() }
    }

    /// Takes a value in; it is copied only if it wins.
    fn offer(best: &mut Option<Box<[u8]>>, value: &[u8]) {
        let wins = match best {
            None => true,
            Some(best) if IS_MAX => value > &**best,
            Some(best) => value < &**best,
        };
        if wins {
            *best = Some(value.into());
        }
    }

    fn bytes(&self) -> ArrayRef {
        let mut bytes = LargeBinaryBuilder::new();
        self.best.iter().for_each(|best| bytes.append_option(best.as_deref()));
        Arc::new(bytes.finish())
    }
}

/// Runs `step` on each selected row and its bytes.
pub(super) fn each_bytes(rows: &Rows<'_>, array: &ArrayRef, mut step: impl FnMut(usize, &[u8])) -> Result<()> {
    macro_rules! run {
        ($array:expr) => {{
            let array = $array;
            match &rows.selection {
                None => (0..rows.len).for_each(|row| step(row, array.value(row).as_ref())),
                Some(selection) => selection.set_indices().for_each(|row| step(row, array.value(row).as_ref())),
            }
        }};
    }
    match array.data_type() {
        DataType::Utf8 => run!(array.as_string::<i32>()),
        DataType::LargeUtf8 => run!(array.as_string::<i64>()),
        DataType::Utf8View => run!(array.as_string_view()),
        DataType::Binary => run!(array.as_binary::<i32>()),
        DataType::LargeBinary => run!(array.as_binary::<i64>()),
        DataType::BinaryView => run!(array.as_binary_view()),
        other => return Err(Error::internal(format!("a column of type {other} met an aggregate of bytes"))),
    }
    Ok(())
}

impl<const IS_MAX: bool> State for ExtremeBytes<IS_MAX> {
    fn update(&mut self, rows: &Rows<'_>, input: Option<&ArrayRef>) -> Result<()> {
        let Self { best, .. } = self;
        best.resize(rows.groups, None);
        each_bytes(rows, needed(input)?, |row, value| Self::offer(&mut best[rows.ids.of(row) as usize], value))
    }

    fn merge(&mut self, later: &dyn State, mapping: &Mapping<'_>) -> Result<()> {
        let later = same::<Self>(later)?;
        self.best.resize(mapping.groups, None);
        for (from, to) in mapping.pairs() {
            if let Some(value) = &later.best[from] {
                Self::offer(&mut self.best[to], value);
            }
        }
        Ok(())
    }

    fn store(&self) -> Result<ArrayRef> {
        Ok(self.bytes())
    }

    fn restore(&mut self, column: &ArrayRef) -> Result<()> {
        let bytes = column.as_binary_opt::<i64>().ok_or_else(|| Error::internal("bytes are stored as bytes"))?;
        self.best = bytes.iter().map(|best| best.map(Into::into)).collect();
        Ok(())
    }

    fn finish(&mut self) -> Result<ArrayRef, Refusal> {
        let bytes = self.bytes();
        let plain = if data_type::is_text(&self.data_type) { cast(&bytes, &DataType::LargeUtf8)? } else { bytes };
        cast(&plain, &self.data_type)
    }
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, Refusal> {
    Ok(arrow_cast::cast(array, to)?)
}
