//! Columns of nulls: those that a file lacks, and those that nobody looks at.
//!
//! Each reader hands some out, and a reader is made for each part of a file. Those of numbers, dates and times lie in the same memory,
//! which is zero and never written: of sixteen columns of which four are read, the others took a quarter of all
//! memory that a Parquet file was read with.

use std::sync::LazyLock;

use arrow_array::{ArrayRef, make_array, new_null_array};
use arrow_buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer};
use arrow_data::ArrayData;
use arrow_schema::DataType;

use crate::limits::ROWS_PER_READ_MAX;

/// Bytes of the widest value that lies in the shared memory.
const WIDTH_MAX: usize = 16;

static ZEROS: LazyLock<Buffer> = LazyLock::new(|| MutableBuffer::from_len_zeroed(WIDTH_MAX * ROWS_PER_READ_MAX).into());

/// So many nulls of a type.
pub(super) fn null_rows(data_type: &DataType, rows: usize) -> ArrayRef {
    let is_shared = data_type.primitive_width().is_some_and(|width| width <= WIDTH_MAX) && rows <= ROWS_PER_READ_MAX;
    if !is_shared {
        return new_null_array(data_type, rows);
    }
    let validity = NullBuffer::new(BooleanBuffer::new(Buffer::clone(&ZEROS), 0, rows));
    let data = ArrayData::builder(data_type.clone()).len(rows).add_buffer(Buffer::clone(&ZEROS)).nulls(Some(validity));
    data.build().map_or_else(|_| new_null_array(data_type, rows), make_array)
}

#[cfg(test)]
mod tests {
    use arrow_schema::{Field, TimeUnit};

    use super::*;

    #[test]
    fn nulls_of_every_type_are_those_of_the_library() {
        let types = [
            DataType::Null,
            DataType::Boolean,
            DataType::Int8,
            DataType::UInt64,
            DataType::Float64,
            DataType::Decimal128(15, 2),
            DataType::Decimal256(50, 2),
            DataType::Date32,
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Utf8,
            DataType::List(Field::new_list_field(DataType::Int8, true).into()),
            DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8)),
        ];
        for data_type in types {
            for rows in [0, 1, 65, ROWS_PER_READ_MAX, ROWS_PER_READ_MAX + 1] {
                let (made, library) = (null_rows(&data_type, rows), new_null_array(&data_type, rows));
                assert_eq!(&made, &library, "{rows} of {data_type}");
                assert_eq!(made.null_count(), library.null_count());
            }
        }
        let addresses =
            [DataType::Int8, DataType::Date32].map(|one| null_rows(&one, 10).to_data().buffers()[0].as_ptr());
        assert_eq!(addresses[0], addresses[1]);
    }
}
